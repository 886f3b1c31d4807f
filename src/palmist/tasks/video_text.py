"""What `palmist train` does with the task egovideo: clips and captions to vectors of one space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from palmist.checkpoint import Checkpoint, load_checkpoint, with_weights
from palmist.config import TrainConfig, build_config
from palmist.errors import InputError
from palmist.models.clip_weights import load_clip
from palmist.models.egovideo import PRESETS, EgoVideo, EgoVideoConfig
from palmist.skeleton import mirror_words
from palmist.tasks.labelled import preset_settings
from palmist.tasks.videos import VideoDataConfig, video_dataset
from palmist.text.byte_pairs import BytePairs, learn_merges, load_merges
from palmist.video_sets.dataset import ClipConfig, VideoDataset
from palmist.video_text.captions import CAPTIONS, captions_of, classes_of, hand_boxes, labelled
from palmist.video_text.dataset import CaptionedDataset

_LEARN_FROM = 100_000  # captions that byte pairs are learnt from, at most about

__all__ = ["VideoTextDataConfig", "VideoTextTask", "load_video_text_network"]


@dataclass(frozen=True)
class VideoTextDataConfig(VideoDataConfig):
    """`data` of the task egovideo: that of all video tasks, and the captions.

    captions: "narrations" (the label and how each hand moves), "labels" (the label alone),
    "texts" (the sentences of a set of clips with texts), or a file of `palmist narrate` (.jsonl), whose narrations are found by
    the videos' names. merges: a local file of CLIP's byte pairs; None: `learnt` pairs are learnt from the captions. weights: a
    local file of CLIP's weights to begin from. mix has to be None.
    """

    captions: str = "narrations"
    merges: str | None = None
    learnt: int = 510


class VideoTextTask:
    """Train EgoVideo on one set of videos."""

    def __init__(self) -> None:
        self._train: CaptionedDataset | None = None
        self._tokenizer: BytePairs | None = None

    def _read(self, config: TrainConfig) -> VideoTextDataConfig:
        data = build_config(VideoTextDataConfig, config.data, "data")
        if data.mix is not None:
            raise InputError("data.mix is given, and clips with captions cannot be mixed; remove it")
        return data

    def _settings(self, config: TrainConfig) -> EgoVideoConfig:
        """With the clip's frames and size; the vocabulary is known when the tokenizer is."""
        clip = self._read(config).clip
        settings = preset_settings(config.model, PRESETS, "egovideo")
        settings["size"] = clip.size
        key = "dense_frames" if settings["dense_frames"] is not None else "sparse_frames"
        settings[key] = clip.frames
        return build_config(EgoVideoConfig, settings, "model")

    def _captioned(self, clips: VideoDataset, config: TrainConfig, part: str) -> CaptionedDataset:
        data = self._read(config)
        ((name, entry),) = getattr(data, part).items()
        captions = captions_of(data.captions, name, entry, clips.videos)
        if self._tokenizer is None:
            self._tokenizer = _tokenizer(data, captions)
        settings = self._settings(config)
        return CaptionedDataset(
            clips,
            captions,
            self._tokenizer,
            settings.text_length,
            train=part == "sets",
            classes=classes_of(clips.videos) if settings.loss == "ego_nce" else None,
            boxes=hand_boxes(name, entry, clips.videos) if settings.hand_boxes else None,
            sparse=settings.frames // settings.sparse_frames,
        )

    def train_data(self, config: TrainConfig) -> CaptionedDataset:
        clips = video_dataset(self._read(config), "sets")
        if clips is None:
            raise InputError("data.sets is empty; name one set of videos, for example rendered: {}")
        self._train = self._captioned(clips, config, "sets")
        return self._train

    def validation_data(self, config: TrainConfig) -> CaptionedDataset | None:
        clips = video_dataset(self._read(config), "validation")
        return None if clips is None else self._captioned(clips, config, "validation")

    def build_model(self, config: TrainConfig) -> nn.Module:
        torch.manual_seed(config.seed)
        if self._tokenizer is None:
            self.train_data(config)
        assert self._tokenizer is not None
        network = EgoVideo(replace(self._settings(config), vocabulary=self._tokenizer.size))
        weights = self._read(config).weights
        if weights is not None:
            begin_from_clip(network, weights)
        return network

    def collect(self, model: nn.Module, config: TrainConfig) -> Checkpoint:
        assert isinstance(model, EgoVideo)
        assert self._tokenizer is not None
        data = self._read(config)
        facts: dict[str, Any] = {
            "model": "egovideo", "egovideo": asdict(model.config), "clip": asdict(data.clip), "captions": data.captions,
            "tokenizer": self._tokenizer.to_json(),
        }  # fmt: skip
        ((name, entry),) = data.sets.items()
        if self._train is not None and self._train.clips.videos.labels:  # the classes that are tried where nobody names any
            facts["labels"] = [labelled(label, name, entry) for label in self._train.clips.videos.labels]
        card = f"Captions: {data.captions if data.captions in CAPTIONS else 'narrations of a file'}."
        if self._train is not None:
            facts["videos_skipped"] = len(self._train.clips.faults)
            card += f" Training data: {self._train.clips.report(with_reason=False)}."
        return Checkpoint(dict(model.state_dict()), facts, {}, card)


def begin_from_clip(network: EgoVideo, path: str | Path) -> None:
    """Put CLIP's weights of a local file into both towers; times, adapters, fusion and boxes stay as they are.

    InputError for weights that do not fit: another size, a stem, or another vocabulary.
    """
    config = network.config
    side = config.size // config.patch
    state = load_clip(path, (side, side), config.text_length)
    own = network.state_dict()
    for name, tensor in own.items():
        new = name in ("vision.time", "log_scale") or name.startswith(("vision.adapters.", "fusion.", "boxes."))
        if name not in state and not new:
            raise InputError(f"{path} has no {name}; expected CLIP's weights for this model, with stem none")
        if name in state and state[name].shape != tensor.shape:
            found, expected = tuple(state[name].shape), tuple(tensor.shape)
            raise InputError(
                f"{path} holds {name} of shape {found}; expected {expected}; take the preset of that CLIP (base: ViT-B/16, "
                "large: ViT-L/14@336) and give its merges file as data.merges"
            )
    network.load_state_dict({name: state[name] for name in own if name in state and name != "log_scale"}, strict=False)


def _tokenizer(data: VideoTextDataConfig, captions: Sequence[Sequence[str]]) -> BytePairs:
    """From the user's file, or learnt from the captions and their mirrored forms."""
    if data.merges is not None:
        return BytePairs(load_merges(data.merges))
    every = max(1, len(captions) // _LEARN_FROM)
    texts = [text for number in range(0, len(captions), every) for text in captions[number]]
    return BytePairs(learn_merges([*texts, *(mirror_words(text) for text in texts)], data.learnt))


def load_video_text_network(path: str | Path) -> tuple[EgoVideo, ClipConfig, BytePairs]:
    """Network in evaluation mode, its clips and its tokenizer; InputError for a checkpoint of another kind."""
    checkpoint = load_checkpoint(path, "egovideo")
    network = with_weights(EgoVideo(build_config(EgoVideoConfig, checkpoint.config["egovideo"], str(path))), checkpoint)
    clip = build_config(ClipConfig, checkpoint.config["clip"], str(path))
    return network, clip, BytePairs.from_json(checkpoint.config["tokenizer"])

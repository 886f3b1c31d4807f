"""What `palmist train` can train on videos: EMIM and its rival, plain UniFormer.

The data of these tasks (`VideoDataConfig`, `read_videos`, `video_dataset`) know nothing of the network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from palmist.checkpoint import Checkpoint, load_checkpoint, with_weights
from palmist.config import TrainConfig, build_config
from palmist.errors import InputError
from palmist.models import uniformer
from palmist.models.uniformer import UniFormer, UniFormerConfig
from palmist.tasks.labelled import preset_settings
from palmist.video_sets import (
    VIDEO_SETS,
    AugmentationConfig,
    DirectionsConfig,
    DirectionVideos,
    MixConfig,
    RenderedConfig,
    StoredVideos,
    TrackConfig,
    TrackReader,
    Videos,
    rendered_videos,
    video_set,
)
from palmist.video_sets.dataset import ClipConfig, VideoDataset
from palmist.video_text import TextClip, text_set
from palmist.video_text.text_videos import TextVideos

__all__ = ["VideoDataConfig", "VideoSetConfig", "VideoTask", "load_video_network", "read_videos", "video_dataset"]

KINDS = tuple(uniformer.PRESETS)
#: Sets of `palmist.video_text.TEXT_SETS` whose clips a video-text model is trained on.
_WHOLE_TEXT_SETS = ("ego_hod", "egoclip")
TRAINING_TEXT_SETS = (*_WHOLE_TEXT_SETS, "epic_kitchens", "egtea")


@dataclass(frozen=True)
class VideoSetConfig:
    """One data set of videos.

    kind: a reader's name (`palmist.video_sets.VIDEO_SETS`, or for the task egovideo one of `TRAINING_TEXT_SETS`), "rendered" or
    "directions"; None: the key that it stands under.
    root: folder of the data set; videos: its folder of videos, where it is called otherwise; split: official part.
    limit: at most so many videos, evenly spaced. options: of RenderedConfig or DirectionsConfig.
    """

    kind: str | None = None
    root: str | None = None
    videos: str | None = None
    split: str | None = None
    limit: int | None = None
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class VideoDataConfig:
    """`data` of the tasks on videos.

    sets: one data set under its name, to train on; validation: the same for validation. clip: frames and size. augment: None
    for none; mix: MixUp and CutMix, None for neither. repeats: differently augmented clips of each video that is read;
    workers: threads that decode; short_side: pixels to scale to while decoding, None for as they are.
    weights: a local file of UniFormer weights to begin from.
    """

    sets: dict[str, VideoSetConfig] = field(default_factory=dict)
    validation: dict[str, VideoSetConfig] = field(default_factory=dict)
    clip: ClipConfig = field(default_factory=ClipConfig)
    augment: AugmentationConfig | None = None
    mix: MixConfig | None = None
    repeats: int = 1
    workers: int = 0
    short_side: int | None = None
    weights: str | None = None


def read_videos(name: str, config: VideoSetConfig, short_side: int | None = None) -> Videos:
    """The labelled videos of one set. InputError for an unknown kind, missing lists, or no labelled video."""
    kind = config.kind or name
    if kind == "directions":
        made = build_config(DirectionsConfig, config.options, f"{name}.options")
        return DirectionVideos(made if config.limit is None else replace(made, videos=min(made.videos, config.limit)))
    if kind == "rendered":
        drawn = build_config(RenderedConfig, config.options, f"{name}.options")
        return rendered_videos(drawn if config.limit is None else replace(drawn, limit=config.limit))
    if kind in TRAINING_TEXT_SETS:
        return _text_videos(name, kind, config, short_side)
    if kind not in VIDEO_SETS:
        known = ", ".join([*VIDEO_SETS, *TRAINING_TEXT_SETS, "rendered", "directions"])
        raise InputError(f"unknown kind of videos '{kind}'; expected one of {known}")
    if config.root is None:
        raise InputError(f"set '{name}' has no root; expected the folder where {kind} lies")
    if config.options:
        raise InputError(f"set '{name}' has options, which {kind} does not know; expected root, videos and split")
    listed = video_set(kind).read(config.root, videos=config.videos).of_split(config.split)
    entries = [entry for entry in listed.entries if entry.label is not None]
    if not entries:
        raise InputError(f"set '{name}' has no labelled video of split {config.split}; expected a part with labels, as train")
    if config.limit is not None and config.limit < len(entries):
        entries = [entries[place] for place in np.linspace(0, len(entries) - 1, max(1, config.limit)).round().astype(int)]
    return StoredVideos(entries, listed.labels, short_side)


def _text_videos(name: str, kind: str, config: VideoSetConfig, short_side: int | None) -> TextVideos:
    """Clips with texts, which a video-text model learns from."""
    if config.root is None:
        raise InputError(f"set '{name}' has no root; expected the folder where {kind} lies")
    if config.videos or config.options:
        raise InputError(f"set '{name}' has videos or options, which {kind} does not know; expected root, split and limit")
    found: Any = text_set(kind).read(config.root)
    if kind in _WHOLE_TEXT_SETS and config.split is not None:
        raise InputError(f"set '{name}' has split {config.split}, but {kind} is for training as a whole; remove it")
    default = {"epic_kitchens": "train", "egtea": "train1"}.get(kind)
    clips: Sequence[TextClip] = found if kind in _WHOLE_TEXT_SETS else found.of_split(config.split or default)
    if config.limit is not None and config.limit < len(clips):
        clips = [clips[int(place)] for place in np.linspace(0, len(clips) - 1, max(1, config.limit)).round()]
    if not len(clips):
        raise InputError(f"set '{name}' has no clip of split {config.split}; expected a part with texts, as train")
    return TextVideos(clips, short_side)


def video_dataset(data: VideoDataConfig, part: str, tracks: TrackConfig | None = None) -> VideoDataset | None:
    """Batches of clips: "sets" augmented as `data` says, "validation" the middle view of each video; None for no set. With
    `tracks` every clip has point tracks."""
    sets: Mapping[str, VideoSetConfig] = getattr(data, part)
    if not sets:
        return None
    if len(sets) > 1:
        raise InputError(f"data.{part} names {len(sets)} sets ({', '.join(sets)}); expected one, as labels differ between sets")
    ((name, entry),) = sets.items()
    videos = read_videos(name, entry, data.short_side)
    reader = None if tracks is None else TrackReader(videos, tracks)
    if part == "sets":
        return VideoDataset(videos, data.clip, data.augment, data.mix, data.repeats, data.workers, reader)
    return VideoDataset(videos, data.clip, workers=data.workers, tracks=reader)


class VideoTask:
    """Train EMIM or plain UniFormer on one set of labelled videos."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._train: VideoDataset | None = None

    def _read(self, config: TrainConfig) -> VideoDataConfig:
        return build_config(VideoDataConfig, config.data, "data")

    def _dataset(self, config: TrainConfig, part: str) -> VideoDataset | None:
        return video_dataset(self._read(config), part)

    def train_data(self, config: TrainConfig) -> VideoDataset:
        data = self._dataset(config, "sets")
        if data is None:
            raise InputError("data.sets is empty; name one set of videos, for example directions: {}")
        self._train = data
        return data

    def validation_data(self, config: TrainConfig) -> VideoDataset | None:
        found = self._dataset(config, "validation")
        if found is not None and self._train is not None and found.videos.labels != self._train.videos.labels:
            raise InputError(
                f"data.validation has {len(found.videos.labels)} labels, which are not the {len(self._train.videos.labels)} of "
                "data.sets; expected another part of the same set"
            )
        return found

    def _labels(self, config: TrainConfig) -> tuple[str, ...]:
        if self._train is None:
            self.train_data(config)
        assert self._train is not None
        return self._train.videos.labels

    def build_model(self, config: TrainConfig) -> nn.Module:
        torch.manual_seed(config.seed)
        data = self._read(config)
        settings = preset_settings(config.model, uniformer.PRESETS[self.kind], self.kind)
        settings |= {"labels": list(self._labels(config)), "frames": data.clip.frames, "size": data.clip.size}
        network = UniFormer(build_config(UniFormerConfig, settings, "model"))
        if data.weights is not None:
            uniformer.load_weights(network, data.weights)
        return network

    def collect(self, model: nn.Module, config: TrainConfig) -> Checkpoint:
        assert isinstance(model, UniFormer)
        facts: dict[str, Any] = {"model": self.kind, self.kind: asdict(model.config), "clip": asdict(self._read(config).clip)}
        card = ""
        if self._train is not None:
            facts["videos_skipped"] = len(self._train.faults)
            card = f"Training data: {self._train.report(with_reason=False)}."
        return Checkpoint(dict(model.state_dict()), facts, {}, card)


def load_video_network(path: str | Path) -> tuple[str, UniFormer, ClipConfig]:
    """Kind, network in evaluation mode and the clips that it was trained on; InputError for a checkpoint of another kind."""
    checkpoint = load_checkpoint(path, *KINDS)
    kind = checkpoint.kind
    network = with_weights(UniFormer(build_config(UniFormerConfig, checkpoint.config[kind], str(path))), checkpoint)
    return kind, network, build_config(ClipConfig, checkpoint.config["clip"], str(path))

"""What `palmist train` does with the task trec: TRec on one set of labelled videos with their point tracks."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from palmist.checkpoint import Checkpoint, load_checkpoint, with_weights
from palmist.config import TrainConfig, build_config, merge
from palmist.errors import InputError
from palmist.models.resnet import load_backbone
from palmist.models.trec import INPUTS, PRESETS, TRec, TRecConfig
from palmist.tasks.labelled import preset_settings
from palmist.tasks.videos import VideoDataConfig, VideoSetConfig, VideoTask, video_dataset
from palmist.video_sets import TrackConfig
from palmist.video_sets.dataset import ClipConfig, VideoDataset

__all__ = ["TRecDataConfig", "TRecTask", "load_trec", "with_true_tracks"]


@dataclass(frozen=True)
class TRecDataConfig(VideoDataConfig):
    """`data` of the task trec: that of all video tasks, and how points are tracked. weights: a local file of ResNet-18 weights
    (torchvision's or timm's) to begin from; mix has to be None."""

    tracks: TrackConfig = field(default_factory=TrackConfig)


def with_true_tracks(entry: VideoSetConfig, name: str, tracks: TrackConfig) -> VideoSetConfig:
    """The settings of a set, of which the drawing keeps its tracks where the truth is wanted."""
    if tracks.tracker != "truth" or (entry.kind or name) != "rendered":
        return entry
    return replace(entry, options=merge({"settings": {"tracks": tracks.points}}, entry.options))


class TRecTask(VideoTask):
    """Train TRec, or one of its twins that see less (`inputs`)."""

    def __init__(self) -> None:
        super().__init__("trec")

    def _read(self, config: TrainConfig) -> TRecDataConfig:
        data = build_config(TRecDataConfig, config.data, "data")
        if data.mix is not None:
            raise InputError("data.mix is given, and tracks of two clips cannot be mixed; remove it")
        sets, validation = (
            {name: with_true_tracks(entry, name, data.tracks) for name, entry in part.items()}
            for part in (data.sets, data.validation)
        )
        return replace(data, sets=sets, validation=validation)

    def _settings(self, config: TrainConfig) -> TRecConfig:
        """Without the labels, which are known when the videos are listed."""
        clip = self._read(config).clip
        settings = preset_settings(config.model, PRESETS, "trec") | {"frames": clip.frames, "size": clip.size}
        return build_config(TRecConfig, settings, "model")

    def _dataset(self, config: TrainConfig, part: str) -> VideoDataset | None:
        data = self._read(config)
        needed = INPUTS[self._settings(config).inputs].tracks != "none"
        return video_dataset(data, part, data.tracks if needed else None)

    def build_model(self, config: TrainConfig) -> nn.Module:
        torch.manual_seed(config.seed)
        network = TRec(replace(self._settings(config), labels=self._labels(config)))
        weights = self._read(config).weights
        if weights is not None:
            load_backbone(network.backbone, weights)
        return network

    def collect(self, model: nn.Module, config: TrainConfig) -> Checkpoint:
        assert isinstance(model, TRec)
        data, settings = self._read(config), model.config
        facts: dict[str, Any] = {
            "model": "trec", "trec": asdict(settings), "clip": asdict(data.clip), "tracks": asdict(data.tracks)
        }  # fmt: skip
        card = f"Inputs: {settings.inputs.replace('_', ' ')}."
        if INPUTS[settings.inputs].tracks != "none":
            card += f" Tracks: {data.tracks.description}."
        if self._train is not None:
            facts["videos_skipped"] = len(self._train.faults)
            card += f" Training data: {self._train.report(with_reason=False)}."
        return Checkpoint(dict(model.state_dict()), facts, {}, card)


def load_trec(path: str | Path) -> tuple[TRec, ClipConfig, TrackConfig]:
    """Network in evaluation mode, the clips that it was trained on and how their points were tracked; InputError for a
    checkpoint of another kind."""
    checkpoint = load_checkpoint(path, "trec")
    network = with_weights(TRec(build_config(TRecConfig, checkpoint.config["trec"], str(path))), checkpoint)
    clip = build_config(ClipConfig, checkpoint.config["clip"], str(path))
    tracks = build_config(TrackConfig, checkpoint.config["tracks"], str(path))
    return network, clip, tracks

"""G-HTT's trainings: the two blocks, one after the other, and the refiner.

``ghtt_p`` takes every recording whatever its labels, and so does ``ghtt_refine``, for a finished P-block's refiner alone;
``ghtt_a`` takes labelled ones and a finished P-block, which stays frozen.
All read the project's open data by name, or a user's store by path.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from palmist.checkpoint import Checkpoint, load_checkpoint, load_model_state
from palmist.config import TrainConfig, build_config, merge
from palmist.errors import InputError
from palmist.inputs.action_bank import ActionDataset, ActionGroup
from palmist.inputs.pose_bank import NoiseConfig, PoseBank, WindowDataset, mirror_sequence
from palmist.inputs.windows import PoseSequence, to_pose_sequence
from palmist.models.ghtt import PRESETS, GHTTConfig
from palmist.models.ghtt_action_block import ABlockConfig
from palmist.models.ghtt_pose_block import PBlock, PBlockConfig
from palmist.recording import Recording
from palmist.tasks.labelled import LabelledDataConfig, LabelledTask, SetConfig, load_recordings, preset_settings

__all__ = ["ActionTask", "PoseTask", "RefineTask", "load_p_block"]


@dataclass(frozen=True)
class PoseDataConfig:
    """`data` of the task ghtt_p."""

    sets: dict[str, SetConfig] = field(default_factory=dict)
    validation: dict[str, SetConfig] = field(default_factory=dict)
    mirror: bool = False
    noise: NoiseConfig = field(default_factory=NoiseConfig)
    cut_probability: float = 0.25
    clean_probability: float = 0.0


@dataclass(frozen=True)
class RefineDataConfig(PoseDataConfig):
    """`data` of the task ghtt_refine. p_checkpoint: the folder of a finished P-block."""

    p_checkpoint: str = ""


@dataclass(frozen=True)
class ActionDataConfig(LabelledDataConfig):
    """`data` of the task ghtt_a. p_checkpoint: the folder of a finished P-block."""

    p_checkpoint: str = ""


def _sequences(recordings: list[Recording], rate: float) -> list[PoseSequence]:
    return [to_pose_sequence(recording, rate) for recording in recordings]


class PoseTask:
    """Train a P-block on all recordings, whatever their labels."""

    data_config: type[PoseDataConfig] = PoseDataConfig

    def _data(self, config: TrainConfig, name: str) -> WindowDataset | None:
        data = build_config(self.data_config, config.data, "data")
        sets: Mapping[str, SetConfig] = getattr(data, name)
        if not sets:
            return None
        model = self._model_config(config)
        sequences: list[PoseSequence] = []
        chances: list[np.ndarray] = []
        for key, entry in sets.items():
            recordings = [r for r in load_recordings(key, entry) if r.valid.any()]
            here = _sequences(recordings, model.rate)
            if data.mirror and name == "sets":
                here = here + [mirror_sequence(sequence) for sequence in here]
            frames = sum(len(sequence) for sequence in here)
            sequences += here
            chances.append(np.full(len(here), entry.share / frames))
        return WindowDataset(
            PoseBank(sequences),
            np.concatenate(chances),
            clip_length=model.clip_length,
            cut_probability=data.cut_probability if name == "sets" else 0.0,
            clean_probability=data.clean_probability if name == "sets" else 0.0,
            noise=data.noise,
            stride=1 if name == "sets" else model.clip_length,
        )

    def _model_config(self, config: TrainConfig) -> PBlockConfig:
        return build_config(PBlockConfig, _ghtt_settings(config.model, "p"), "model")

    def train_data(self, config: TrainConfig) -> WindowDataset:
        data = self._data(config, "sets")
        if data is None:
            raise InputError("data.sets is empty; name at least one set, for example asl_words: {}")
        return data

    def validation_data(self, config: TrainConfig) -> WindowDataset | None:
        return self._data(config, "validation")

    def build_model(self, config: TrainConfig) -> nn.Module:
        torch.manual_seed(config.seed)
        return PBlock(self._model_config(config))

    def collect(self, model: nn.Module, config: TrainConfig) -> Checkpoint:
        block = model
        assert isinstance(block, PBlock)
        state = {f"p.{name}": tensor for name, tensor in block.state_dict().items()}
        settings = {"model": "ghtt", "ghtt": GHTTConfig(block.config, None).to_dict()}
        return Checkpoint(state, settings, {}, card="")


def _ghtt_settings(model: Mapping[str, Any], part: str) -> dict[str, Any]:
    """The settings of one block, "p" or "a", of a G-HTT preset."""
    return preset_settings(model, {name: getattr(preset, part) for name, preset in PRESETS.items()}, "ghtt")


def load_p_block(path: str | Path) -> PBlock:
    """The P-block of a G-HTT checkpoint, in evaluation mode and without gradients."""
    checkpoint = load_checkpoint(path, "ghtt")
    settings = GHTTConfig.from_dict(checkpoint.config["ghtt"])
    block = PBlock(settings.p)
    state = {name[2:]: tensor for name, tensor in checkpoint.state.items() if name.startswith("p.")}
    load_model_state(block, state)
    return block.eval().requires_grad_(False)


class RefinerTraining(nn.Module):
    """A P-block of which only the refiner learns."""

    def __init__(self, block: PBlock) -> None:
        super().__init__()
        self.block = block.requires_grad_(False)
        assert block.refiner is not None
        block.refiner.requires_grad_(True)

    def loss(self, batch: Mapping[str, Any], generator: torch.Generator | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        return self.block.refinement_loss(batch)


class RefineTask(PoseTask):
    """Train the refiner of a finished P-block (deviation 17), all else frozen: an A-block over it stays valid."""

    data_config = RefineDataConfig

    def _finished(self, config: TrainConfig) -> PBlock:
        data = build_config(RefineDataConfig, config.data, "data")
        if not data.p_checkpoint:
            raise InputError("data.p_checkpoint is empty; name the folder of a finished P-block, such as runs/p_small/last")
        return load_p_block(data.p_checkpoint)

    def _model_config(self, config: TrainConfig) -> PBlockConfig:
        wanted = build_config(PBlockConfig, _ghtt_settings(config.model, "p"), "model")
        if not wanted.refine_layers:
            raise InputError("model.refine_layers is 0, so there is nothing to train; expected 1 or more")
        return replace(self._finished(config).config, refine_layers=wanted.refine_layers)

    def build_model(self, config: TrainConfig) -> nn.Module:
        torch.manual_seed(config.seed)
        block = PBlock(self._model_config(config))
        block.load_state_dict(self._finished(config).state_dict(), strict=False)
        return RefinerTraining(block)

    def collect(self, model: nn.Module, config: TrainConfig) -> Checkpoint:
        assert isinstance(model, RefinerTraining)
        return super().collect(model.block, config)


class ActionTask(LabelledTask):
    """Train an A-block on labelled recordings over a frozen P-block."""

    data_config = ActionDataConfig

    def _rate(self, config: TrainConfig) -> float:
        return load_p_block(self._read(config).p_checkpoint).config.rate

    def _dataset(self, config: TrainConfig, groups: list[ActionGroup], use_augmentation: bool) -> ActionDataset:
        data: ActionDataConfig = self._read(config)
        return ActionDataset(
            groups,
            load_p_block(data.p_checkpoint),
            use_augmentation=use_augmentation,
            whole_probability=data.whole_probability,
            max_clips=data.max_clips,
            config=build_config(ABlockConfig, _ghtt_settings(config.model, "a"), "model"),
        )

    def build_model(self, config: TrainConfig) -> nn.Module:
        from palmist.models.ghtt_action_block import ABlock

        torch.manual_seed(config.seed)
        labels, features = self._features(config)
        block = load_p_block(self._read(config).p_checkpoint)
        settings = merge(
            _ghtt_settings(config.model, "a"),
            {"mid_level_dim": block.config.width, "label_dim": features.shape[1], "labels": list(labels)},
        )
        model = ABlock(build_config(ABlockConfig, settings, "model"))
        model.set_labels(labels, features)
        return model

    def collect(self, model: nn.Module, config: TrainConfig) -> Checkpoint:
        from palmist.models.ghtt_action_block import ABlock

        assert isinstance(model, ABlock)
        block = load_p_block(self._read(config).p_checkpoint)
        whole = GHTTConfig(block.config, model.config)
        state = {f"p.{name}": tensor for name, tensor in block.state_dict().items()}
        state.update({f"a.{name}": tensor for name, tensor in model.state_dict().items()})
        return Checkpoint(state, self._facts("ghtt", whole.to_dict()), {}, card="")

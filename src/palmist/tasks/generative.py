"""What `palmist train` can train besides G-HTT: the rivals that predict, on labelled recordings as the A-block sees them.

``flattened`` is one VAE over frames; PoseGPT comes in two steps, ``posegpt_codec`` on all recordings whatever their labels,
then ``posegpt`` over a finished codec on labelled ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from palmist.checkpoint import Checkpoint, load_checkpoint, with_weights
from palmist.config import TrainConfig, build_config, merge
from palmist.errors import InputError
from palmist.inputs.action_bank import ActionDataset, ActionGroup, HandStore
from palmist.inputs.augment import AugmentConfig, HandBatch
from palmist.inputs.pose_bank import add_pose_noise
from palmist.inputs.windows import to_pose_sequence
from palmist.models.baselines import flattened, posegpt
from palmist.pose_vector import EncodedPose, encode, reset_first_motion
from palmist.tasks.labelled import LabelledTask, load_recordings, preset_settings
from palmist.tasks.rivals import RivalDataConfig

__all__ = ["CodecTask", "FlattenedTask", "PoseGPTTask", "load_flattened", "load_posegpt"]


@dataclass(frozen=True)
class MotionDataConfig(RivalDataConfig):
    """`data` of the three tasks: the rivals' settings, of which PoseGPT uses no noise, and PoseGPT's finished codec."""

    max_clips: int = 7
    codec_checkpoint: str = ""


def _encoded(hands: HandBatch, space: str) -> EncodedPose:
    """Pose vectors with the first seen frame's motion reset; nothing is known in padding."""
    code = encode(hands.joints, hands.known & hands.frames[..., None, None], space)
    vector, known = reset_first_motion(code.vector, code.known, code.palms.valid)
    return code._replace(vector=vector, known=known)


class _MotionDataset(ActionDataset):
    def __init__(self, groups: list[ActionGroup], data: MotionDataConfig, use_augmentation: bool) -> None:
        super().__init__(
            groups,
            None,
            use_augmentation=use_augmentation,
            whole_probability=data.whole_probability,
            max_clips=data.max_clips,
        )
        self.data = data


class SplitMotion(_MotionDataset):
    """Batches of the flattened VAE: all frames observed, or a uniform number of them and the rest as the future."""

    def _finish(
        self, hands: HandBatch, start: Tensor, label: Tensor, group: ActionGroup, generator: torch.Generator
    ) -> dict[str, Tensor]:
        code = _encoded(hands, group.space)
        B, frames = hands.frames.shape
        length = hands.frames.sum(1)
        part = (torch.rand(B, generator=generator) * (length - 1)).long() + 1
        whole = torch.rand(B, generator=generator) < self.whole_probability
        observed = torch.where(whole, length, part)
        order = torch.arange(frames)
        seen, ahead = order < observed[:, None], (observed[:, None] + order) < length[:, None]
        rows, later = torch.arange(B)[:, None], (observed[:, None] + order).clamp_max(frames - 1)
        most, rest = int(observed.max()), max(1, int((length - observed).max()))
        noisy = add_pose_noise(code.vector, code.known, generator, self.data.noise)
        clean = torch.rand((B, 1, 1), generator=generator) < self.data.clean_probability
        given, seen_known = torch.where(clean, code.vector, noisy), code.known & seen.unsqueeze(-1)
        return {
            "observed": given[:, :most], "observed_clean": code.vector[:, :most], "observed_known": seen_known[:, :most],
            "observed_axes": code.depth_axes[:, :most], "observed_frames": seen[:, :most],
            "future": code.vector[rows, later][:, :rest],
            "future_known": (code.known[rows, later] & ahead.unsqueeze(-1))[:, :rest],
            "future_axes": code.depth_axes[rows, later][:, :rest], "future_frames": ahead[:, :rest],
            "label": label, "candidates": group.candidates.expand(B, -1), "first": start,
        }  # fmt: skip


class MotionFrames(_MotionDataset):
    """Batches of PoseGPT's codec: an even number of frames of 141 numbers each."""

    def _finish(
        self, hands: HandBatch, start: Tensor, label: Tensor, group: ActionGroup, generator: torch.Generator
    ) -> dict[str, Tensor]:
        code = _encoded(hands, group.space)
        odd = hands.frames.shape[1] % 2
        vector, known = (F.pad(part, (0, 0, 0, odd)) for part in (code.vector, code.known))
        frames = posegpt.to_frames(vector, known, planar=group.space == "planar")
        return {"frames": frames.frames, "known": frames.known, "mask": F.pad(hands.frames, (0, odd))}


class MotionCodes(MotionFrames):
    """Batches of PoseGPT's prior: a finished codec's codes, labels and lengths."""

    def __init__(
        self, groups: list[ActionGroup], data: MotionDataConfig, use_augmentation: bool, codec: posegpt.MotionCodec
    ) -> None:
        super().__init__(groups, data, use_augmentation)
        self.codec = codec

    def _finish(
        self, hands: HandBatch, start: Tensor, label: Tensor, group: ActionGroup, generator: torch.Generator
    ) -> dict[str, Tensor]:
        batch = super()._finish(hands, start, label, group, generator)
        with torch.no_grad():
            codes = self.codec.encode(batch["frames"], batch["known"])
        valid = batch["mask"].unflatten(1, (-1, 2)).any(-1)
        return {"codes": codes, "valid": valid, "label": label, "length": 2 * valid.sum(1)}


class _MotionTask(LabelledTask):
    """What the three tasks share."""

    data_config = MotionDataConfig
    presets: ClassVar[Mapping[str, Any]] = {}

    def _settings(self, config: TrainConfig) -> dict[str, Any]:
        return preset_settings(config.model, self.presets, config.task)

    def _rate(self, config: TrainConfig) -> float:
        return float(self._settings(config)["rate"])


class FlattenedTask(_MotionTask):
    """Train the flattened VAE."""

    presets: ClassVar[Mapping[str, Any]] = flattened.PRESETS

    def _dataset(self, config: TrainConfig, groups: list[ActionGroup], use_augmentation: bool) -> ActionDataset:
        return SplitMotion(groups, self._read(config), use_augmentation)

    def build_model(self, config: TrainConfig) -> nn.Module:
        torch.manual_seed(config.seed)
        labels, features = self._features(config)
        settings = merge(self._settings(config), {"label_dim": features.shape[1], "labels": list(labels)})
        model = flattened.FlattenedVAE(build_config(flattened.FlattenedConfig, settings, "model"))
        model.set_labels(labels, features)
        return model

    def collect(self, model: nn.Module, config: TrainConfig) -> Checkpoint:
        assert isinstance(model, flattened.FlattenedVAE)
        return Checkpoint(dict(model.state_dict()), self._facts("flattened", asdict(model.config)), {}, card="")


class CodecTask(_MotionTask):
    """Train PoseGPT's auto-encoder on all recordings whatever their labels."""

    presets: ClassVar[Mapping[str, Any]] = posegpt.PRESETS

    def _labels(self, data: Any) -> tuple[str, ...]:
        return ("",)

    def _groups(self, data: Any, name: str, labels: tuple[str, ...], rate: float) -> list[ActionGroup]:
        groups = []
        for key, entry in getattr(data, name).items():
            spaces: dict[str, list[Any]] = {}
            for recording in load_recordings(key, entry):
                if recording.valid.any() and len(recording) > 1:
                    sequence = to_pose_sequence(recording, rate)
                    spaces.setdefault(sequence.space, []).append(sequence)
            for space, sequences in spaces.items():
                change = build_config(AugmentConfig, entry.augment, f"data.sets.{key}.augment")
                group = ActionGroup(
                    key, HandStore(sequences), torch.zeros(len(sequences), dtype=torch.long),
                    torch.ones(1, dtype=torch.bool), space, entry.share / len(spaces), augment=change,
                )  # fmt: skip
                groups.append(group)
        return groups

    def _dataset(self, config: TrainConfig, groups: list[ActionGroup], use_augmentation: bool) -> ActionDataset:
        return MotionFrames(groups, self._read(config), use_augmentation)

    def build_model(self, config: TrainConfig) -> nn.Module:
        torch.manual_seed(config.seed)
        return posegpt.MotionCodec(build_config(posegpt.PoseGPTConfig, self._settings(config), "model"))

    def collect(self, model: nn.Module, config: TrainConfig) -> Checkpoint:
        assert isinstance(model, posegpt.MotionCodec)
        settings = {"model": "posegpt_codec", "posegpt": asdict(model.config)}
        return Checkpoint(dict(model.state_dict()), settings, {}, card="")


class PoseGPTTask(_MotionTask):
    """Train PoseGPT's prior over a finished codec, which stays as it is."""

    presets: ClassVar[Mapping[str, Any]] = posegpt.PRESETS

    def _codec(self, config: TrainConfig) -> posegpt.MotionCodec:
        data: MotionDataConfig = self._read(config)
        if not data.codec_checkpoint:
            raise InputError("data.codec_checkpoint is empty; name the folder of a finished codec, such as runs/codec/last")
        return _load_codec(data.codec_checkpoint)

    def _dataset(self, config: TrainConfig, groups: list[ActionGroup], use_augmentation: bool) -> ActionDataset:
        return MotionCodes(groups, self._read(config), use_augmentation, self._codec(config))

    def build_model(self, config: TrainConfig) -> nn.Module:
        torch.manual_seed(config.seed)
        labels, features = self._features(config)
        codec = self._codec(config)
        of_codec = ("codec_layers", "codec_width", "codec_heads", "codebooks", "centroids", "code_dim", "rate")
        fixed = {name: getattr(codec.config, name) for name in of_codec}
        settings = merge(self._settings(config), {**fixed, "label_dim": features.shape[1], "labels": list(labels)})
        model = posegpt.PoseGPT(build_config(posegpt.PoseGPTConfig, settings, "model"))
        model.codec.load_state_dict(codec.state_dict())
        model.set_labels(labels, features)
        return model

    def collect(self, model: nn.Module, config: TrainConfig) -> Checkpoint:
        assert isinstance(model, posegpt.PoseGPT)
        return Checkpoint(dict(model.state_dict()), self._facts("posegpt", asdict(model.config)), {}, card="")


def _load_codec(path: str | Path) -> posegpt.MotionCodec:
    checkpoint = load_checkpoint(path, "posegpt_codec")
    return with_weights(posegpt.MotionCodec(posegpt.PoseGPTConfig(**checkpoint.config["posegpt"])), checkpoint)


def load_flattened(path: str | Path) -> flattened.FlattenedVAE:
    """A trained flattened VAE, in evaluation mode and without gradients; InputError for another kind of checkpoint."""
    checkpoint = load_checkpoint(path, "flattened")
    return with_weights(flattened.FlattenedVAE(flattened.FlattenedConfig(**checkpoint.config["flattened"])), checkpoint)


def load_posegpt(path: str | Path) -> posegpt.PoseGPT:
    """A trained PoseGPT, in evaluation mode and without gradients; InputError for another kind of checkpoint."""
    checkpoint = load_checkpoint(path, "posegpt")
    return with_weights(posegpt.PoseGPT(posegpt.PoseGPTConfig(**checkpoint.config["posegpt"])), checkpoint)

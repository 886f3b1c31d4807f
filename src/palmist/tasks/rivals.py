"""What `palmist train` can train besides G-HTT: the rivals that recognise whole recordings, on the A-block's data.

They see the same people, the same augmentation and the same batches of recordings as the A-block (`palmist.tasks`), frame by
frame instead of clip by clip.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from palmist.checkpoint import Checkpoint, load_checkpoint, with_weights
from palmist.config import TrainConfig, build_config, merge
from palmist.inputs.action_bank import ActionDataset, ActionGroup, pad_sequences
from palmist.inputs.augment import HandBatch
from palmist.inputs.pose_bank import NoiseConfig, add_pose_noise
from palmist.inputs.windows import body_context, to_pose_sequence
from palmist.models.baselines import htt, recognition_only
from palmist.models.baselines.flattened import FlattenedVAE
from palmist.models.label_table import learnt_labels
from palmist.pose_vector import encode, reset_first_motion
from palmist.recording import Recording
from palmist.tasks.labelled import LabelledDataConfig, LabelledTask, preset_settings

__all__ = ["FrameDataset", "FrameTokens", "RivalTask", "frame_tokens", "load_rival", "recognise_rival"]

RATE = 30.0  # of the sequences; a rival at half of it takes every second frame
Rival = htt.HTT | recognition_only.RecognitionOnly
_KINDS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "htt": (htt.HTT, htt.HTTConfig, dict(htt.PRESETS)),
    "recognition_only": (
        recognition_only.RecognitionOnly, recognition_only.RecognitionOnlyConfig, dict(recognition_only.PRESETS),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class RivalDataConfig(LabelledDataConfig):
    """`data` of the rivals' tasks: the A-block's settings without the P-block, and the noise that HTT refines."""

    noise: NoiseConfig = field(default_factory=NoiseConfig)
    clean_probability: float = 0.35


@dataclass(frozen=True)
class FrameTokens:
    """frames, known (B, T, 153); mask (B, T); context (B, T, 26) with context_known (B, T)."""

    frames: Tensor
    known: Tensor
    mask: Tensor
    context: Tensor
    context_known: Tensor


def frame_tokens(hands: HandBatch, space: str) -> FrameTokens:
    """Recordings as the rivals see them: pose vectors of all frames, and the body context."""
    known = hands.known & hands.frames[..., None, None]
    encoded = encode(hands.joints, known, space)
    context, context_known = body_context(
        hands.joints, known, encoded.palms.rotation, encoded.palms.valid, hands.body, hands.body_known
    )
    vector, vector_known = reset_first_motion(encoded.vector, encoded.known, encoded.palms.valid)
    return FrameTokens(vector, vector_known, hands.frames, context, context_known & hands.frames)


class FrameDataset(ActionDataset):
    """Batches of augmented recordings, every second frame if the rival works at half the rate."""

    def __init__(self, groups: list[ActionGroup], data: RivalDataConfig, step: int, use_augmentation: bool) -> None:
        super().__init__(
            groups,
            None,
            use_augmentation=use_augmentation,
            whole_probability=data.whole_probability,
            max_clips=data.max_clips,
        )
        self.noise, self.clean_probability, self.step = data.noise, data.clean_probability, step

    def _finish(
        self, hands: HandBatch, start: Tensor, label: Tensor, group: ActionGroup, generator: torch.Generator
    ) -> dict[str, Tensor]:
        hands = HandBatch(*(getattr(hands, name)[:, :: self.step] for name in hands.__dataclass_fields__))
        tokens = frame_tokens(hands, group.space)
        noisy = add_pose_noise(tokens.frames, tokens.known, generator, self.noise)
        kept = torch.rand((len(label), 1, 1), generator=generator) < self.clean_probability
        return {
            "frames": torch.where(kept, tokens.frames, noisy), "frames_clean": tokens.frames, "known": tokens.known,
            "mask": tokens.mask, "context": tokens.context, "context_known": tokens.context_known, "label": label,
            "candidates": group.candidates.expand(len(label), -1),
        }  # fmt: skip


class RivalTask(LabelledTask):
    """Train HTT or the recognition-only transformer."""

    data_config = RivalDataConfig

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def _settings(self, config: TrainConfig) -> dict[str, Any]:
        return preset_settings(config.model, _KINDS[self.kind][2], self.kind)

    def _rate(self, config: TrainConfig) -> float:
        return RATE

    def _dataset(self, config: TrainConfig, groups: list[ActionGroup], use_augmentation: bool) -> FrameDataset:
        return FrameDataset(groups, self._read(config), round(RATE / self._settings(config)["rate"]), use_augmentation)

    def build_model(self, config: TrainConfig) -> nn.Module:
        torch.manual_seed(config.seed)
        labels, features = self._features(config)
        settings = merge(self._settings(config), {"label_dim": features.shape[1], "labels": list(labels)})
        network, kind = _KINDS[self.kind][:2]
        model: Rival = network(build_config(kind, settings, "model"))
        model.set_labels(labels, features)
        return model

    def collect(self, model: nn.Module, config: TrainConfig) -> Checkpoint:
        return Checkpoint(dict(model.state_dict()), self._facts(self.kind, asdict(model.config)), {}, card="")  # type: ignore[call-overload]


def load_rival(path: str | Path) -> Rival:
    """A trained rival, in evaluation mode and without gradients; InputError for a checkpoint of another kind."""
    checkpoint = load_checkpoint(path, *_KINDS)
    network, config, _ = _KINDS[checkpoint.kind]
    return with_weights(network(config(**checkpoint.config[checkpoint.kind])), checkpoint)


@torch.no_grad()
def recognise_rival(
    model: Rival | FlattenedVAE, items: list[tuple[Recording, str]], labels: tuple[str, ...], batch_size: int = 256
) -> tuple[Tensor, Tensor]:
    """Recognise whole recordings among `labels`.

    Returns:
        probabilities (N, L) and the true index (N,).
    """
    learnt = learnt_labels(model.config.labels, labels)  # the others get probability 0
    step = round(RATE / model.config.rate)
    found = []
    for first in range(0, len(items), batch_size):
        part = items[first : first + batch_size]
        sequences = [to_pose_sequence(recording) for recording, _ in part]
        hands = pad_sequences(sequences)
        hands = HandBatch(*(getattr(hands, name)[:, ::step] for name in hands.__dataclass_fields__))
        tokens = frame_tokens(hands, sequences[0].space)
        body = () if isinstance(model, FlattenedVAE) else (tokens.context, tokens.context_known)
        share = torch.zeros(len(part), len(labels))
        found_here = model.recognise(tokens.frames, tokens.known, tokens.mask, learnt.candidates, *body)
        share[:, learnt.columns] = found_here[:, learnt.rows]
        found.append(share)
    return torch.cat(found), torch.tensor([labels.index(label) for _, label in items])

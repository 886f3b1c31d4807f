"""What `palmist train` can train on body and hands: BHaRNet, its experts alone, and one graph of both."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from palmist.checkpoint import Checkpoint, load_checkpoint, with_weights
from palmist.config import TrainConfig, build_config, merge
from palmist.inputs.action_bank import ActionDataset, ActionGroup, pad_sequences
from palmist.inputs.augment import HandBatch, TrackingFaults, add_tracking_faults
from palmist.inputs.body_hand import body_hand_input
from palmist.inputs.windows import REFERENCE_HAND_SIZE, to_pose_sequence
from palmist.models.bharnet import PRESETS, BHaRNet, BHaRNetConfig, fuse
from palmist.models.label_table import learnt_labels
from palmist.recording import Recording
from palmist.tasks.labelled import LabelledDataConfig, LabelledTask, preset_settings

__all__ = ["SkeletonDataset", "SkeletonTask", "load_bharnet", "recognise_batches", "recognise_skeletons", "skeleton_batch"]


@dataclass(frozen=True)
class SkeletonDataConfig(LabelledDataConfig):
    """`data` of the task bharnet. lose_hand: chance that one hand of two is lost in the whole recording; faults: what else a
    tracker does wrong."""

    whole_probability: float = 1.0
    max_clips: int = 64
    lose_hand: float = 0.1
    faults: TrackingFaults = field(default_factory=TrackingFaults)


class SkeletonDataset(ActionDataset):
    """Batches of augmented recordings, body and hands."""

    def __init__(self, groups: list[ActionGroup], data: SkeletonDataConfig, frames: int, use_augmentation: bool) -> None:
        super().__init__(
            groups,
            None,
            use_augmentation=use_augmentation,
            whole_probability=data.whole_probability,
            max_clips=data.max_clips,
        )
        self.frames = frames
        self.lose_hand = data.lose_hand if use_augmentation else 0.0
        self.faults = data.faults

    def _finish(
        self, hands: HandBatch, start: Tensor, label: Tensor, group: ActionGroup, generator: torch.Generator
    ) -> dict[str, Tensor]:
        if self.use_augmentation and self.faults.share:
            hands = add_tracking_faults(hands, self.faults, REFERENCE_HAND_SIZE, generator)
        batch = body_hand_input(hands, self.frames, group.space == "metric")
        if self.lose_hand:
            # A sign without any hand is no sign: only one of two hands is taken away.
            both = batch["hands_known"].flatten(3).any(-1).all(2)[..., None]  # (B, 1, 1)
            lost = both & (torch.rand((len(label), 1, 1), generator=generator) < self.lose_hand)
            side = torch.randint(2, (len(label), 1, 1), generator=generator)
            kept = ~(lost & (side == torch.arange(2)))[..., None, None]
            batch["hands_known"] = batch["hands_known"] & kept
            batch["hands"] = batch["hands"] * kept.unsqueeze(-1)
        return {**batch, "label": label, "candidates": group.candidates.expand(len(label), -1)}


class SkeletonTask(LabelledTask):
    """Train BHaRNet or one of its rivals (`model.experts`); a subclass names another network on the same batches."""

    data_config = SkeletonDataConfig
    kind: ClassVar[str] = "bharnet"
    network: ClassVar[type[nn.Module]] = BHaRNet
    network_config: ClassVar[type] = BHaRNetConfig
    presets: ClassVar[Mapping[str, Any]] = PRESETS

    def _config(self, config: TrainConfig, labels: Sequence[str] = ()) -> Any:
        settings = merge(preset_settings(config.model, self.presets, self.kind), {"labels": list(labels)})
        return build_config(self.network_config, settings, "model")

    def _rate(self, config: TrainConfig) -> float:
        return self._config(config).rate

    def _dataset(self, config: TrainConfig, groups: list[ActionGroup], use_augmentation: bool) -> SkeletonDataset:
        return SkeletonDataset(groups, self._read(config), self._config(config).frames, use_augmentation)

    def build_model(self, config: TrainConfig) -> nn.Module:
        torch.manual_seed(config.seed)
        return self.network(self._config(config, self._labels(self._read(config))))

    def collect(self, model: Any, config: TrainConfig) -> Checkpoint:
        facts = {"model": self.kind, self.kind: asdict(model.config), "taxonomies": self._taxonomies}
        return Checkpoint(dict(model.state_dict()), facts, {}, card="")


def load_bharnet(path: str | Path) -> BHaRNet:
    """A trained BHaRNet, in evaluation mode and without gradients; InputError for a checkpoint of another kind."""
    checkpoint = load_checkpoint(path, "bharnet")
    return with_weights(BHaRNet(build_config(BHaRNetConfig, checkpoint.config["bharnet"], "bharnet")), checkpoint)


class Timing(Protocol):
    """What a network's configuration says of the frames that it takes: how many, how many a second."""

    @property
    def frames(self) -> int: ...

    @property
    def rate(self) -> float: ...


def skeleton_batch(recordings: Sequence[Recording], config: Timing) -> dict[str, Tensor]:
    """Whole recordings of one space as a batch (`body_hand_input`)."""
    sequences = [to_pose_sequence(recording, config.rate) for recording in recordings]
    return body_hand_input(pad_sequences(sequences), config.frames, sequences[0].space == "metric")


@torch.no_grad()
def recognise_skeletons(
    model: BHaRNet, items: Sequence[tuple[Recording, str]], labels: tuple[str, ...], batch_size: int = 128
) -> tuple[dict[str, Tensor], Tensor]:
    """Recognise whole recordings among `labels`.

    Returns:
        probabilities (N, L) of the fusion ("fused") and of every head by its name, and the true index (N,). Labels that the
        model does not know have probability 0.
    """
    parts = [[recording for recording, _ in items[first : first + batch_size]] for first in range(0, len(items), batch_size)]
    found = recognise_batches(model, (skeleton_batch(part, model.config) for part in parts), labels)
    return found, torch.tensor([labels.index(label) for _, label in items])


@torch.no_grad()
def recognise_batches(model: BHaRNet, batches: Iterable[dict[str, Tensor]], labels: tuple[str, ...]) -> dict[str, Tensor]:
    """`recognise_skeletons` of batches that are there already."""
    learnt = learnt_labels(model.config.labels, labels)
    found: dict[str, list[Tensor]] = {}
    for batch in batches:
        scores = model(**batch)
        opinions = {"fused": fuse(scores, model.config.fusion, learnt.candidates), **scores.logits}
        for name, values in opinions.items():
            share = torch.zeros(len(values), len(labels))
            shares = values.masked_fill(~learnt.candidates, float("-inf")).softmax(-1)
            share[:, learnt.columns] = shares[:, learnt.rows]
            found.setdefault(name, []).append(share)
    return {name: torch.cat(parts) for name, parts in found.items()}

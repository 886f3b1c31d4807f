"""Training of the feature network that FID compares motions with (`palmist.models.feature_network`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from palmist.checkpoint import Checkpoint, load_checkpoint, with_weights
from palmist.config import TrainConfig, build_config, merge
from palmist.errors import InputError
from palmist.inputs.pose_bank import PoseBank
from palmist.inputs.windows import to_pose_sequence
from palmist.models.feature_network import PRESETS, FeatureNetwork, FeatureNetworkConfig
from palmist.pose_vector import reset_first_motion
from palmist.tasks.labelled import SetConfig, labelled_parts, load_recordings

__all__ = ["FeatureTask", "SequenceDataset", "load_feature_network"]


@dataclass(frozen=True)
class FeatureDataConfig:
    """`data` of the task feature_network: labelled sets; crops of ``shortest`` to ``longest`` frames."""

    sets: dict[str, SetConfig] = field(default_factory=dict)
    text_encoder: str = "auto"
    rate: float = 30.0
    shortest: int = 48
    longest: int = 112


class SequenceDataset:
    """Random crops of labelled recordings as pose vectors, every label with the same chance."""

    def __init__(self, bank: PoseBank, label: np.ndarray, shortest: int, longest: int) -> None:
        self.bank, self.label, self.shortest, self.longest = bank, label, shortest, longest
        counts = np.bincount(label)
        self.weights = 1.0 / counts[label]

    def __len__(self) -> int:
        return len(self.bank)

    def batch(self, indices: np.ndarray, generator: torch.Generator) -> dict[str, Tensor]:
        """frames, known (B, T, 153), mask (B, T), label (B,): see `FeatureNetwork.loss`."""
        first = torch.from_numpy(self.bank.offsets[indices])
        length = torch.from_numpy(self.bank.offsets[indices + 1]) - first
        drawn = torch.randint(self.shortest, self.longest + 1, (len(indices),), generator=generator)
        crop = torch.minimum(drawn, length)
        start = (torch.rand(len(indices), generator=generator) * (length - crop + 1)).long()
        step = torch.arange(self.longest)
        mask = step < crop[:, None]
        frame = (first + start)[:, None] + step
        frame = frame.clamp_max(len(self.bank.vector) - 1)
        known = self.bank.known[frame] & mask.unsqueeze(-1)
        vector, known = reset_first_motion(self.bank.vector[frame], known, self.bank.valid[frame] & mask.unsqueeze(-1))
        return {"frames": vector, "known": known, "mask": mask, "label": torch.from_numpy(self.label[indices])}


class FeatureTask:
    """Train the feature network on action recognition (metrics specification, 3.3)."""

    def _items(self, config: TrainConfig) -> tuple[FeatureDataConfig, list[Any], list[str], tuple[str, ...]]:
        data = build_config(FeatureDataConfig, config.data, "data")
        parts = [
            part
            for key, entry in data.sets.items()
            for recording in load_recordings(key, entry)
            for part in labelled_parts(recording, entry.span)
        ]
        if not parts:
            raise InputError("data.sets holds no labelled recording; name at least one labelled set")
        return data, [r for r, _ in parts], [t for _, t in parts], tuple(sorted({t for _, t in parts}))

    def train_data(self, config: TrainConfig) -> SequenceDataset:
        data, recordings, texts, labels = self._items(config)
        bank = PoseBank([to_pose_sequence(recording, data.rate) for recording in recordings])
        return SequenceDataset(bank, np.array([labels.index(text) for text in texts]), data.shortest, data.longest)

    def validation_data(self, config: TrainConfig) -> SequenceDataset | None:
        return None

    def build_model(self, config: TrainConfig) -> nn.Module:
        from palmist.text.encoder import encode_labels

        torch.manual_seed(config.seed)
        data, _, _, labels = self._items(config)
        features, _ = encode_labels(labels, data.text_encoder)
        changes = dict(config.model)
        preset = PRESETS[str(changes.pop("preset", "small"))].to_dict()
        settings = merge(preset, {**changes, "label_dim": features.shape[1], "labels": list(labels)})
        network = FeatureNetwork(build_config(FeatureNetworkConfig, settings, "model"))
        network.set_labels(labels, torch.as_tensor(features))
        return network

    def collect(self, model: nn.Module, config: TrainConfig) -> Checkpoint:
        assert isinstance(model, FeatureNetwork)
        settings: Mapping[str, Any] = {"model": "feature_network", "feature_network": model.config.to_dict()}
        return Checkpoint(dict(model.state_dict()), settings, {}, card="")


def load_feature_network(path: Any) -> FeatureNetwork:
    """A trained feature network, in evaluation mode."""
    checkpoint = load_checkpoint(path, "feature_network")
    return with_weights(FeatureNetwork(FeatureNetworkConfig.from_dict(checkpoint.config["feature_network"])), checkpoint)

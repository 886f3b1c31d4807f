"""What `palmist train` can train as the plainest network: a small transformer on BHaRNet's data (`palmist.tasks.skeletons`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn

from palmist.checkpoint import Checkpoint, load_checkpoint, load_model_state
from palmist.config import TrainConfig, build_config, merge
from palmist.errors import InputError
from palmist.inputs.action_bank import ActionGroup
from palmist.models.baselines.plain_transformer import PRESETS, PlainTransformer, PlainTransformerConfig
from palmist.recording import Recording
from palmist.tasks.labelled import LabelledTask, preset_settings
from palmist.tasks.skeletons import SkeletonDataConfig, SkeletonDataset, skeleton_batch

__all__ = ["PlainTask", "load_plain", "recognise_plain"]


class PlainTask(LabelledTask):
    """Train the plain transformer."""

    data_config = SkeletonDataConfig

    def _config(self, config: TrainConfig, labels: Sequence[str] = ()) -> PlainTransformerConfig:
        settings = merge(preset_settings(config.model, PRESETS, "plain_transformer"), {"labels": list(labels)})
        return build_config(PlainTransformerConfig, settings, "model")

    def _rate(self, config: TrainConfig) -> float:
        return self._config(config).rate

    def _dataset(self, config: TrainConfig, groups: list[ActionGroup], use_augmentation: bool) -> SkeletonDataset:
        return SkeletonDataset(groups, self._read(config), self._config(config).frames, use_augmentation)

    def build_model(self, config: TrainConfig) -> nn.Module:
        torch.manual_seed(config.seed)
        return PlainTransformer(self._config(config, self._labels(self._read(config))))

    def collect(self, model: nn.Module, config: TrainConfig) -> Checkpoint:
        assert isinstance(model, PlainTransformer)
        facts = {"model": "plain_transformer", "plain_transformer": asdict(model.config), "taxonomies": self._taxonomies}
        return Checkpoint(dict(model.state_dict()), facts, {}, card="")


def load_plain(path: str | Path) -> PlainTransformer:
    """A trained plain transformer, in evaluation mode and without gradients; InputError for a checkpoint of another kind."""
    checkpoint = load_checkpoint(path)
    kind = str(checkpoint.config.get("model"))
    if kind != "plain_transformer":
        raise InputError(f"{path} holds a model of kind '{kind}'; expected plain_transformer")
    model = PlainTransformer(build_config(PlainTransformerConfig, checkpoint.config[kind], kind))
    load_model_state(model, checkpoint.state, str(path))
    return model.eval().requires_grad_(False)


@torch.no_grad()
def recognise_plain(
    model: PlainTransformer, items: Sequence[tuple[Recording, str]], labels: tuple[str, ...], batch_size: int = 256
) -> tuple[Tensor, Tensor]:
    """Recognise whole recordings among `labels`.

    Returns:
        probabilities (N, L), 0 for labels that the model does not know, and the true index (N,).
    """
    table = {name: row for row, name in enumerate(model.config.labels)}
    learnt = [i for i, name in enumerate(labels) if name in table]
    rows = [table[labels[i]] for i in learnt]
    found = torch.zeros(len(items), len(labels))
    for first in range(0, len(items), batch_size):
        recordings = [recording for recording, _ in items[first : first + batch_size]]
        batch = skeleton_batch(recordings, model.config)
        shares = model(batch["hands"], batch["hands_known"])[:, rows].softmax(-1)
        found[first : first + len(recordings), learnt] = shares
    return found, torch.tensor([labels.index(label) for _, label in items])

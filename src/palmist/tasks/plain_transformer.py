"""What `palmist train` can train as the plainest network: a small transformer on BHaRNet's data (`palmist.tasks.skeletons`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from palmist.checkpoint import load_checkpoint, with_weights
from palmist.config import build_config
from palmist.models.baselines.plain_transformer import PRESETS, PlainTransformer, PlainTransformerConfig
from palmist.models.label_table import learnt_labels
from palmist.recording import Recording
from palmist.tasks.skeletons import SkeletonTask, skeleton_batch

__all__ = ["PlainTask", "load_plain", "recognise_plain"]

KIND = "plain_transformer"


class PlainTask(SkeletonTask):
    """Train the plain transformer."""

    kind, network, network_config, presets = KIND, PlainTransformer, PlainTransformerConfig, PRESETS


def load_plain(path: str | Path) -> PlainTransformer:
    """A trained plain transformer, in evaluation mode and without gradients; InputError for a checkpoint of another kind."""
    checkpoint = load_checkpoint(path, KIND)
    return with_weights(PlainTransformer(build_config(PlainTransformerConfig, checkpoint.config[KIND], KIND)), checkpoint)


@torch.no_grad()
def recognise_plain(
    model: PlainTransformer, items: Sequence[tuple[Recording, str]], labels: tuple[str, ...], batch_size: int = 256
) -> tuple[Tensor, Tensor]:
    """Recognise whole recordings among `labels`.

    Returns:
        probabilities (N, L), 0 for labels that the model does not know, and the true index (N,).
    """
    learnt = learnt_labels(model.config.labels, labels)
    found = torch.zeros(len(items), len(labels))
    for first in range(0, len(items), batch_size):
        recordings = [recording for recording, _ in items[first : first + batch_size]]
        batch = skeleton_batch(recordings, model.config)
        shares = model(batch["hands"], batch["hands_known"])[:, learnt.rows].softmax(-1)
        found[first : first + len(recordings), learnt.columns] = shares
    return found, torch.tensor([labels.index(label) for _, label in items])

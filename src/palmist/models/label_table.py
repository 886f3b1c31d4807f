"""Actions as text features: a bottleneck is named by the cosine to each projected label (G-HTT, Eq. 4 and 5)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from palmist.errors import InputError
from palmist.models.global_batch import masked_mean
from palmist.models.layers import Linear


class LabelTable(nn.Module):
    """L labels' text features (L, label_dim), projected to the network's width D.

    Example:
        >>> table = LabelTable(2, 8, 32)
        >>> table.set_features(torch.randn(2, 8))
        >>> table.similarities(torch.randn(5, 32)).shape
        torch.Size([5, 2])
    """

    def __init__(self, labels: int, label_dim: int, width: int, temperature: float = 0.07) -> None:
        super().__init__()
        self.temperature = temperature
        self.project = Linear(label_dim, width)
        nn.init.xavier_uniform_(self.project.weight)
        nn.init.zeros_(self.project.bias)
        self.register_buffer("features", torch.zeros(labels, label_dim))
        self.features: Tensor

    def __len__(self) -> int:
        return len(self.features)

    def set_features(self, features: Tensor, names: Sequence[str] | None = None) -> None:
        """Text features (L, label_dim), one per label, normalised to length 1 here; InputError for a wrong shape."""
        expected = (len(self) if names is None else len(names), self.features.shape[1])
        self.features = unit_features(features, expected, self.project.weight)

    def similarities(self, latent: Tensor) -> Tensor:
        """Cosine between (B, D) and every projected label -> (B, L)."""
        return F.normalize(latent, dim=-1) @ F.normalize(self.project(self.features), dim=-1).T

    def scores(self, latent: Tensor, candidates: Tensor | None = None) -> Tensor:
        """Similarities over the temperature (B, L); minus infinity outside `candidates` ((L,) or (B, L) bool)."""
        scores = self.similarities(latent).float() / self.temperature
        return scores if candidates is None else scores.masked_fill(~candidates, float("-inf"))

    def loss(self, latent: Tensor, label: Tensor, candidates: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """L1 distance to the true label's projection, cross-entropy of the scores, and accuracy; label -1 does not count."""
        if not len(self):
            zero = latent.sum() * 0
            return zero, zero, zero
        labelled, index = label >= 0, label.clamp_min(0)
        distance = masked_mean((latent - self.project(self.features)[index]).abs().float(), labelled.unsqueeze(-1))
        return distance, *cross_entropy(self.scores(latent, candidates), label)


class LearntLabels(NamedTuple):
    """Which of some labels a network has learnt. columns: their places among the labels; rows: their rows in the network's
    own list (N,); candidates: (L,) bool over that list."""

    columns: list[int]
    rows: Tensor
    candidates: Tensor


def learnt_labels(own: Sequence[str], labels: Sequence[str]) -> LearntLabels:
    """The labels that stand in a network's own list.

    >>> learnt_labels(("cup", "book"), ("pen", "cup")).columns
    [1]
    """
    table = {name: row for row, name in enumerate(own)}
    columns = [place for place, name in enumerate(labels) if name in table]
    rows = torch.tensor([table[labels[place]] for place in columns], dtype=torch.long)
    candidates = torch.zeros(len(table), dtype=torch.bool)
    candidates[rows] = True
    return LearntLabels(columns, rows, candidates)


def unit_features(features: Tensor, expected: tuple[int, int], weight: Tensor) -> Tensor:
    """Text features of the expected shape (L, label_dim), normalised to length 1, of `weight`'s type and place; InputError for
    another shape."""
    if tuple(features.shape) != expected:
        raise InputError(
            f"label features have shape {tuple(features.shape)}, expected {expected}, one row per label; encode each label "
            "once with the text encoder of this network"
        )
    return F.normalize(features.detach().to(weight), dim=-1)


def cross_entropy(scores: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """Mean cross-entropy and accuracy of scores (B, L) for labels (B,); label -1 does not count."""
    labelled, index = label >= 0, label.clamp_min(0)
    entropy = -scores.log_softmax(-1).gather(1, index.unsqueeze(1)).squeeze(1)
    entropy = torch.where(labelled, entropy, torch.zeros_like(entropy))
    return masked_mean(entropy, labelled), masked_mean((scores.argmax(-1) == label).to(scores.dtype), labelled)


def over_windows(probabilities: Callable[..., Tensor], size: int, mask: Tensor, *given: Tensor | None) -> Tensor:
    """Label probabilities of long recordings: those of windows of `size` frames, added and divided by their sum (HTT).

    probabilities: called with every window's first frame number and its part of `mask` (B, T), the frames that a row has,
    and of each of `given` (B, T, ...); returns (B, L). InputError for no frames.
    """
    total: Tensor | None = None
    for start in range(0, mask.shape[1], size):
        part = slice(start, start + size)
        inside = mask[:, part]
        share = probabilities(start, inside, *(None if values is None else values[:, part] for values in given))
        share = share * inside.any(1, keepdim=True)
        total = share if total is None else total + share
    if total is None:
        raise InputError("there are no frames to recognise; give at least one")
    return total / total.sum(1, keepdim=True).clamp_min(1e-9)

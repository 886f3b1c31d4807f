"""Which windows and which random numbers belong to a step: functions of (seed, step) alone.

Nothing is carried from step to step, so a resumed run and a run with another number of processes see the same.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch

# Streams: a random number is used for one purpose only.
_ORDER, _DRAW, _AUGMENTATION, _LOSS, _GLOBAL, _VALIDATION = range(6)


class Sampler:
    """Chooses the windows of every step.

    Without weights, passes over the shuffled windows are laid end to end and step s takes the next `batch_size` of
    them, so every window comes once per pass, whatever the batch size. With `repeats` every window comes so many times in
    a row, and a batch has as many fewer different ones.
    """

    def __init__(self, windows: int, batch_size: int, seed: int, weights: Any = None, repeats: int = 1) -> None:
        self.windows, self.batch_size, self.seed, self.repeats = windows, batch_size // repeats, seed, repeats
        self._pass: tuple[int, np.ndarray] | None = None
        self._cumulative: np.ndarray | None = None
        if weights is not None:
            weights = np.asarray(weights, dtype=np.float64)
            self._cumulative = np.cumsum(weights / weights.sum())

    def indices(self, step: int) -> np.ndarray:
        """The global batch of a step: (batch_size,) int64 window numbers."""
        return np.repeat(self._different(step), self.repeats)

    def _different(self, step: int) -> np.ndarray:
        if self._cumulative is not None:
            drawn = _numpy_generator(self.seed, _DRAW, step).random(self.batch_size)
            chosen = np.searchsorted(self._cumulative, drawn, side="right")
            return np.minimum(chosen, self.windows - 1).astype(np.int64)
        positions = np.arange(step * self.batch_size, (step + 1) * self.batch_size)
        chosen = np.empty(self.batch_size, dtype=np.int64)
        for number in np.unique(positions // self.windows):
            here = positions // self.windows == number
            chosen[here] = self._order(int(number))[positions[here] % self.windows]
        return chosen

    def _order(self, number: int) -> np.ndarray:
        if self._pass is None or self._pass[0] != number:
            self._pass = (number, _numpy_generator(self.seed, _ORDER, number).permutation(self.windows))
        return self._pass[1]


def augmentation_generator(seed: int, step: int) -> torch.Generator:
    """For `dataset.batch` of this step."""
    return _torch_generator(seed, _AUGMENTATION, step)


def loss_generator(seed: int, step: int) -> torch.Generator:
    """For `model.loss` of this step."""
    return _torch_generator(seed, _LOSS, step)


def validation_generator(seed: int, batch: int) -> torch.Generator:
    """For one validation batch; the same in every validation, so that their losses can be compared."""
    return _torch_generator(seed, _VALIDATION, batch)


def seed_global_generators(seed: int, step: int, rank: int) -> None:
    """Seed Python's, numpy's and torch's own generators (dropout uses the last one) for this step and process."""
    value = _entropy(seed, _GLOBAL, step, rank)
    random.seed(value)
    np.random.seed(value % 2**32)
    torch.manual_seed(value)


def _entropy(*key: int) -> int:
    return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _numpy_generator(*key: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(key))


def _torch_generator(*key: int) -> torch.Generator:
    return torch.Generator().manual_seed(_entropy(*key))

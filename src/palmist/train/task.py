"""What the training loop asks of the thing that it trains."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from palmist.checkpoint import Checkpoint
from palmist.config import TrainConfig


class BatchedDataset(Protocol):
    """Training windows by number, a whole batch at a time.

    It may also have `weights`: (len,) non-negative numbers; windows are then drawn with these chances (with repetition)
    instead of in shuffled passes, for example to mix data sets 1:1:2. And `repeats`: every window comes so many times in a
    row, for example as differently augmented clips of one reading of a video; `batch_size` counts them all.
    """

    def __len__(self) -> int: ...

    def batch(self, indices: np.ndarray, generator: torch.Generator) -> dict[str, Tensor]:
        """The windows `indices` (B,); every tensor has B rows.

        In training `indices` is the *global* batch in every process, so augmentation drawn from `generator` (CPU,
        seeded alike everywhere) does not depend on the number of processes; the loop then cuts out the process's rows. A
        data set that reads slowly may leave the other rows empty (`palmist.models.global_batch.rows_of_share`).
        """
        ...


class Task(Protocol):
    """One kind of training. The loop calls, once in every process: train_data, validation_data, build_model.

    With several processes on one machine the task is sent to each, so it should be a small object of a class at module
    level that loads its data in these methods.
    """

    def train_data(self, config: TrainConfig) -> BatchedDataset: ...

    def validation_data(self, config: TrainConfig) -> BatchedDataset | None: ...

    def build_model(self, config: TrainConfig) -> nn.Module:
        """A network with `loss(batch, generator) -> (scalar, parts)`.

        The generator lives on the CPU and is seeded alike in all processes, anew for every step. `parts` maps names to
        scalars, for the log. With several processes the batch also has `rows` = (first row, rows of the global batch);
        see `palmist.models.global_batch` for what the loss does with it and for masked means.
        """
        ...

    def collect(self, model: nn.Module, config: TrainConfig) -> Checkpoint:
        """What a checkpoint of the model holds; the loop adds the facts of the run as config["training"]."""
        ...

"""A small task for the tests of the training loop, and a command that trains it: toy_task.py RUN [--key value]."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from palmist.checkpoint import Checkpoint
from palmist.config import TrainConfig
from palmist.errors import InputError
from palmist.models.egovideo import info_nce
from palmist.models.global_batch import gather_rows, masked_mean
from palmist.models.layers import sample_latent
from palmist.train import TrainingInterrupted, train_from_file

WIDTH = 6


class ToyData:
    """Noisy pairs; row i knows its first `i % WIDTH` outputs only, so the shares of a batch know unequal numbers."""

    def __init__(self, windows: int) -> None:
        generator = np.random.default_rng(0)
        self.x = torch.from_numpy(generator.standard_normal((windows, WIDTH)).astype(np.float32))
        self.y = torch.tanh(self.x @ torch.from_numpy(generator.standard_normal((WIDTH, WIDTH)).astype(np.float32)))

    def __len__(self) -> int:
        return len(self.x)

    def batch(self, indices: np.ndarray, generator: torch.Generator) -> dict[str, Tensor]:
        rows = torch.from_numpy(indices)
        noise = 0.1 * torch.randn((len(rows), WIDTH), generator=generator)
        known = torch.arange(WIDTH) < (rows % WIDTH).unsqueeze(1)
        time.sleep(float(os.environ.get("TOY_PAUSE", "0")))  # so that a test can interrupt in time
        return {"x": self.x[rows] + noise, "y": self.y[rows], "known": known, "index": rows}


class ToyNet(nn.Module):
    """A variational network with dropout, a masked mean, a comparison of all rows with all others, and a branch that is left
    unused in half of the steps."""

    def __init__(self, hidden: int, dropout: float, explode_at: int | None) -> None:
        super().__init__()
        self.hidden, self.explode_at = hidden, explode_at
        self.encode = nn.Linear(WIDTH, 2 * hidden)
        self.dropout = nn.Dropout(dropout)
        self.decode = nn.Linear(hidden, WIDTH)
        self.skip = nn.Linear(WIDTH, WIDTH)
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))

    def loss(self, batch: dict[str, Tensor], generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        mean, log_variance = self.encode(batch["x"]).chunk(2, dim=-1)
        code = sample_latent(mean, log_variance, 1.0, generator, batch.get("rows"))
        out = self.decode(self.dropout(code))
        if torch.rand((), generator=generator) < 0.5:
            out = out + self.skip(batch["x"])
        error = masked_mean((out - batch["y"]).abs(), batch["known"])
        kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(-1).mean()
        contrast = info_nce(gather_rows(out) @ gather_rows(batch["y"]).t())
        if self.training:
            self.calls += 1
            if self.explode_at is not None and int(self.calls) == self.explode_at:
                kl = kl * torch.inf
        return error + 1e-3 * kl + 0.1 * contrast, {"error": error, "kl": kl, "contrast": contrast.detach()}


class ToyTask:
    def train_data(self, config: TrainConfig) -> ToyData:
        return ToyData(config.data.get("windows", 40))

    def validation_data(self, config: TrainConfig) -> ToyData | None:
        return ToyData(13) if config.data.get("validation", True) else None

    def build_model(self, config: TrainConfig) -> ToyNet:
        return ToyNet(8, config.model.get("dropout", 0.0), config.model.get("explode_at"))

    def collect(self, model: nn.Module, config: TrainConfig) -> Checkpoint:
        return Checkpoint(model.state_dict(), {"model": "toy"}, {"scale": np.arange(3.0)}, "# Toy\n")


def main(arguments: list[str]) -> int:
    run, words = arguments[0], arguments[1:]
    resume = run if "--again" in words else None
    words = [word for word in words if word != "--again"]
    config = Path(run).parent / "toy.yaml"
    try:
        train_from_file(config, words if resume else [*words, "--out", run], resume, tasks={"toy": ToyTask})
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    except TrainingInterrupted:
        return 130
    return 0


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main(sys.argv[1:]))

"""Stochastic gradient descent with Nesterov's momentum: its step by hand, and a resumed run that equals an unbroken one."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from safetensors.torch import load_file

sys.path.insert(0, str(Path(__file__).parent))
from toy_task import ToyTask

from palmist.config import TrainConfig
from palmist.train import train
from palmist.train.loop import make_optimizer


def test_two_steps_by_hand() -> None:
    config = TrainConfig(task="toy", steps=1, optimizer="sgd", learning_rate=0.1, momentum=0.5, weight_decay=0.2)
    weight = torch.tensor([1.0], requires_grad=True)
    optimizer = make_optimizer(config, [weight])
    for _ in range(2):
        weight.grad = torch.tensor([3.0])
        optimizer.step()
    # g = 3 + 0.2 w; v = 0.5 v + g; w = w - 0.1 (g + 0.5 v): g is 3.2, then 3.104 for w = 0.52, and v 3.2, then 4.704.
    torch.testing.assert_close(weight.detach(), torch.tensor([0.52 - 0.1 * (3.104 + 0.5 * 4.704)]))


def test_a_resumed_run_equals_an_unbroken_one(tmp_path: Path) -> None:
    def config(steps: int) -> TrainConfig:
        return TrainConfig(
            task="toy", steps=steps, optimizer="sgd", learning_rate=0.05, batch_size=8, checkpoint_every=6, tensorboard=False
        )

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    train(config(12), ToyTask(), tmp_path / "whole")
    train(config(6), ToyTask(), tmp_path / "broken")
    train(config(12), ToyTask(), tmp_path / "broken", resume=True)
    torch.set_num_threads(threads)
    whole, broken = (load_file(tmp_path / run / "last" / "model.safetensors") for run in ("whole", "broken"))
    assert all(torch.equal(whole[name], broken[name]) for name in whole)
    assert "sgd, batch 8" in (tmp_path / "whole" / "last" / "card.md").read_text()

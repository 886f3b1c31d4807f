"""Two processes on the CPU train as one does with the same global batch."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
from test_resume import CONFIG, TASKS, log_entries, start, wait_until

from palmist.checkpoint import load_checkpoint
from palmist.train import train_from_file

WORDS = ["--model.dropout", "0", "--log-every", "1", "--steps", "30", "--learning-rate", "0.003"]


def test_two_processes_give_the_loss_curve_of_one(tmp_path: Path) -> None:
    """Augmentation, latent noise, a masked mean with unequal counts, a branch by chance, clipping and averaging; the
    two processes are interrupted on the way and go on."""
    (tmp_path / "toy.yaml").write_text(CONFIG)
    pair = tmp_path / "pair"
    process = start(pair, *WORDS, "--processes", "2")
    wait_until(lambda: (pair / "early" / "model.safetensors").exists(), process)
    process.send_signal(signal.SIGINT)  # to the parent process only; it tells the others
    _, message = process.communicate(timeout=60)
    assert process.returncode == 130, message
    assert "Traceback" not in message
    stopped = load_checkpoint(pair / "last").config["training"]["step"]
    assert 0 < stopped < 30
    process = start(pair, *WORDS, "--again", pause=0)
    _, message = process.communicate(timeout=120)
    assert process.returncode == 0, message

    single = train_from_file(tmp_path / "toy.yaml", [*WORDS, "--out", str(tmp_path / "single")], tasks=TASKS)
    ours, theirs = log_entries(pair), log_entries(single)
    assert [(entry["step"], entry["split"]) for entry in ours] == [(entry["step"], entry["split"]) for entry in theirs]
    assert len([entry for entry in ours if entry["split"] == "train"]) == 30
    for one, two in zip(ours, theirs, strict=True):
        assert one["loss"] == pytest.approx(two["loss"], abs=1e-5)
        assert one["parts"] == pytest.approx(two["parts"], abs=1e-5)
    first, second = load_checkpoint(pair / "last"), load_checkpoint(single / "last")
    assert first.config["training"]["processes"] == 2
    for name, tensor in first.state.items():
        torch.testing.assert_close(tensor, second.state[name], rtol=0, atol=1e-4)

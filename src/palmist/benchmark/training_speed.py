"""How much faster a training step is that keeps its memory: `palmist benchmark speed --only training`.

What `palmist.train.memory` asks of the C library holds for a whole process, so each side is a process of its own, in turn: it
makes the task of a configuration, takes a few steps on the same rows, and says how much CPU time each took after the first and
what the last loss was. The losses are first found equal to the last bit.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import numpy as np
import torch

from palmist.benchmark.speed import _ratio, _seconds
from palmist.config import TrainConfig, load_config
from palmist.errors import InputError
from palmist.evaluation.benchmark_record import BenchmarkRecord
from palmist.tasks import TASKS
from palmist.train.memory import keep_freed_memory

__all__ = ["CONFIGS", "steps", "training"]

#: network -> its configuration, and settings that differ.
CONFIGS: dict[str, tuple[str, dict[str, object]]] = {
    "stgcnpp_published": (
        "configs/bharnet/bharnet_small.yaml",
        {
            "model.preset": "paper", "model.experts": ["unified"], "model.pool_attention": False, "model.body_graph": "upper7",
            "model.frames": 20, "model.rate": 20.0,
        },
    ),
    "ghtt_p_small": ("configs/ghtt/p_small.yaml", {}),
    "emim_small": ("configs/emim/directions.yaml", {"data.validation": {}}),
}  # fmt: skip
_STEPS = 3
_PROGRAM = (
    "import json, sys\nfrom palmist.benchmark.training_speed import steps\nprint(json.dumps(steps(*json.loads(sys.argv[1]))))\n"
)


def steps(file: str, settings: dict[str, object], keep: bool) -> tuple[list[float], float]:
    """CPU seconds of each step after the first, and the last loss; keep: with memory kept, for the whole process."""
    torch.set_num_threads(1)
    if keep and not keep_freed_memory():
        raise InputError("the C library of this system cannot be told to keep memory; expected Linux with glibc")
    config = load_config(TrainConfig, file, settings)
    task = TASKS[config.task]()
    data = task.train_data(config)
    torch.manual_seed(0)
    model = task.build_model(config).train()
    rows = np.arange(config.batch_size // getattr(data, "repeats", 1))
    seconds, last = [], 0.0
    for step in range(1 + _STEPS):
        start = time.process_time()
        batch = data.batch(rows, torch.Generator().manual_seed(step))
        model.zero_grad(set_to_none=True)
        loss, _ = model.loss(batch, torch.Generator().manual_seed(step))
        loss.backward()
        seconds.append(time.process_time() - start)
        last = float(loss.detach())
    return seconds[1:], last


def training(repeats: int) -> list[BenchmarkRecord]:
    """CPU seconds of one step, forward and backward, of each of CONFIGS, and how many times faster it is with memory kept."""
    records = []
    for name, (file, settings) in CONFIGS.items():
        sides = [_side(file, settings, keep) for _ in range(max(2, repeats // 3)) for keep in (False, True)]
        losses = {loss for _, loss in sides}
        if len(losses) > 1:
            raise InputError(f"the losses of {name} differ between processes: {sorted(losses)}; expected the same")
        seconds = np.stack([np.stack([column for column, _ in sides[side::2]]) for side in (0, 1)])  # (2, repeats, steps)
        given_back, kept = np.median(seconds, axis=2)
        records += [
            _seconds(f"speed/training/{name}_given_back/cpu_seconds", given_back),
            _seconds(f"speed/training/{name}_kept/cpu_seconds", kept),
            _ratio(f"speed/training/{name}_kept_over_given_back/ratio", given_back, kept),
        ]
    return records


def _side(file: str, settings: dict[str, object], keep: bool) -> tuple[np.ndarray, float]:
    """CPU seconds of the steps after the first, and the last loss."""
    words = json.dumps([file, settings, keep])
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", _PROGRAM, words], capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise InputError(f"a training step of {file} could not be timed: {done.stderr.strip().splitlines()[-1]}")
    seconds, loss = json.loads(done.stdout.splitlines()[-1])
    return np.array(seconds), float(loss)

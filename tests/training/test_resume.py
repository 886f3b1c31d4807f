"""A run that is killed or interrupted ends with the same weights, bit for bit, as one that was left alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

sys.path.insert(0, str(Path(__file__).parent))
from toy_task import ToyTask

from palmist.checkpoint import load_checkpoint, load_model_state
from palmist.config import TrainConfig
from palmist.errors import InputError
from palmist.train import learning_rate, train, train_from_file
from palmist.train.sampling import Sampler

CONFIG = """
task: toy
steps: 60
batch_size: 8
learning_rate: 0.01
weight_decay: 0.1
schedule: cosine
warmup_steps: 5
gradient_clip: 0.5
validate_every: 12
checkpoint_every: 7
log_every: 5
ema_decay: 0.95
tensorboard: false
model: {dropout: 0.2}
"""
TASKS = {"toy": ToyTask}
started: list[subprocess.Popen[str]] = []


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    while started:  # only after a failure is one still running
        started.pop().kill()


@pytest.fixture(scope="module")
def config_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("toy") / "toy.yaml"
    file.write_text(CONFIG)
    return file


@pytest.fixture(scope="module")
def whole(config_file: Path) -> Path:
    """A run that nobody interrupts."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    run = train_from_file(config_file, {"out": str(config_file.parent / "whole")}, tasks=TASKS)
    torch.set_num_threads(threads)
    return run


def start(run: Path, *words: str, pause: float = 0.05) -> subprocess.Popen[str]:
    command = [sys.executable, str(Path(__file__).parent / "toy_task.py"), str(run), *words]
    environment = {**os.environ, "TOY_PAUSE": str(pause)}
    started.append(subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True))
    return started[-1]


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert process.poll() is None, f"the run ended too early: {process.stderr and process.stderr.read()}"
        assert time.monotonic() < end, "nothing happened for a minute"
        time.sleep(0.01)


def log_entries(run: Path) -> list[dict[str, Any]]:
    entries = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [{key: value for key, value in entry.items() if key != "windows_per_second"} for entry in entries]


def assert_same_run(run: Path, other: Path) -> None:
    for name in ("last", "best", "early"):
        weights = [(folder / name / "model.safetensors").read_bytes() for folder in (run, other)]
        assert weights[0] == weights[1], name
    files = [next((folder / "state").glob("step-*/tensors.safetensors")) for folder in (run, other)]
    first, second = (load_file(file) for file in files)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert log_entries(run) == log_entries(other)


def test_killed_twice_and_resumed_equals_uninterrupted(config_file: Path, whole: Path) -> None:
    run = config_file.parent / "killed"
    process = start(run)
    wait_until(lambda: (run / "log.jsonl").exists() and not list((run / "state").glob("step-*")), process)
    process.send_signal(signal.SIGKILL)  # before the first state
    assert process.wait() == -signal.SIGKILL
    process = start(run, "--again")
    wait_until(lambda: any(folder.name >= "step-00000014" for folder in (run / "state").glob("step-*")), process)
    time.sleep(0.12)  # somewhere between two states
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    with (run / "log.jsonl").open("a") as log:
        log.write('{"step": 1')  # the half line that a killed process may leave
    reached = max(int(folder.name[5:]) for folder in (run / "state").glob("step-*"))
    assert 14 <= reached < 60
    train_from_file(None, {}, resume=run, tasks=TASKS)
    assert_same_run(run, whole)


def test_interrupt_writes_a_usable_checkpoint_and_says_how_to_go_on(config_file: Path, whole: Path) -> None:
    run = config_file.parent / "interrupted"
    process = start(run)
    wait_until(lambda: (run / "early" / "model.safetensors").exists(), process)
    process.send_signal(signal.SIGINT)
    _, message = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"of 60; the checkpoint is in {run / 'last'}; go on with: palmist train --resume {run}" in message
    assert "Traceback" not in message
    checkpoint = load_checkpoint(run / "last")
    step = checkpoint.config["training"]["step"]
    assert f"stopped at step {step} of 60" in message
    assert 0 < step < 60
    load_model_state(ToyTask().build_model(TrainConfig(task="toy", steps=1)), checkpoint.state)
    train_from_file(config_file, {}, resume=run, tasks=TASKS)
    assert_same_run(run, whole)


def test_a_whole_run_learns_and_leaves_its_checkpoints(whole: Path) -> None:
    entries = log_entries(whole)
    training = [entry for entry in entries if entry["split"] == "train"]
    validation = [entry for entry in entries if entry["split"] == "validation"]
    assert [entry["step"] for entry in training] == list(range(5, 61, 5))
    assert [entry["step"] for entry in validation] == [12, 24, 36, 48, 60]
    assert training[-1]["loss"] < 0.8 * training[0]["loss"]
    assert set(training[0]["parts"]) == {"error", "kl", "contrast"}
    best, last = load_checkpoint(whole / "best"), load_checkpoint(whole / "last")
    assert best.config["training"]["validation_loss"] == min(entry["loss"] for entry in validation)
    assert last.config["training"]["step"] == 60
    assert load_checkpoint(whole / "early").config["training"]["step"] == 3
    assert best.config["model"] == "toy"
    assert best.statistics["scale"].tolist() == [0, 1, 2]
    assert "- wall time" in best.card
    assert not [file for file in whole.rglob("*") if file.suffix in (".pt", ".pth", ".ckpt", ".pkl")]


def test_the_saved_model_is_the_moving_average(config_file: Path, whole: Path) -> None:
    state = load_file(next((whole / "state").glob("step-*/tensors.safetensors")))
    saved = load_checkpoint(whole / "last").state
    assert torch.equal(saved["encode.weight"], state["average/0"])
    assert not torch.equal(saved["encode.weight"], state["model/encode.weight"])


def test_resuming_a_finished_run_changes_nothing(whole: Path) -> None:
    before = (whole / "last" / "model.safetensors").stat().st_mtime_ns
    assert train_from_file(None, {}, resume=whole, tasks=TASKS) == whole
    assert (whole / "last" / "model.safetensors").stat().st_mtime_ns == before


def test_a_run_may_be_made_longer_unless_its_schedule_depends_on_the_length(config_file: Path, whole: Path) -> None:
    with pytest.raises(InputError, match=r"has steps 60, this configuration has 70"):
        train_from_file(None, {"steps": 70}, resume=whole, tasks=TASKS)
    long = train_from_file(config_file, {"schedule": "constant", "out": str(whole.parent / "long")}, tasks=TASKS)
    short = train_from_file(config_file, {"schedule": "constant", "steps": 31, "out": str(whole.parent / "short")}, tasks=TASKS)
    train_from_file(None, {"steps": 60}, resume=short, tasks=TASKS)
    assert (long / "last/model.safetensors").read_bytes() == (short / "last/model.safetensors").read_bytes()


def test_a_loss_that_is_not_finite_stops_with_the_step_and_the_part(config_file: Path) -> None:
    run = config_file.parent / "exploded"
    with pytest.raises(InputError, match=r"the loss part 'kl' became inf in step 9; .*learning_rate \(now 0\.01\)"):
        train_from_file(config_file, {"model.explode_at": 9, "out": str(run)}, tasks=TASKS)
    kept = load_checkpoint(run / "last")
    assert kept.config["training"]["step"] == 8
    assert all(bool(torch.isfinite(tensor).all()) for tensor in kept.state.values())


def test_what_does_not_fit_is_refused(config_file: Path, whole: Path) -> None:
    def attempt(resume: Path | None = None, **settings: object) -> None:
        overrides = {"out": str(config_file.parent / "refused"), **settings} if resume is None else settings
        train_from_file(config_file, overrides, resume, tasks=TASKS)

    with pytest.raises(InputError, match="already holds a run; go on with --resume"):
        attempt(out=str(whole))
    with pytest.raises(InputError, match=r"has learning_rate 0\.01, this configuration has 0\.1"):
        attempt(whole, learning_rate=0.1)
    with pytest.raises(InputError, match=r"no run in .*config\.json is missing"):
        attempt(config_file.parent / "nowhere")
    with pytest.raises(InputError, match="unknown task 'tay'; the nearest known task is 'toy'"):
        attempt(task="tay")
    with pytest.raises(InputError, match="use --config FILE"):
        train_from_file(None, tasks=TASKS)
    with pytest.raises(InputError, match="holds no window"):
        attempt(**{"data.windows": 0})


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_gpu_settings_are_refused_on_the_cpu(tmp_path: Path) -> None:
    for precision in ("16-mixed", "bf16-mixed"):
        with pytest.raises(InputError, match=f"precision is '{precision}', but this run is on the CPU"):
            train(TrainConfig(task="toy", steps=1, precision=precision), ToyTask(), tmp_path / "run")
    with pytest.raises(InputError, match="PyTorch finds no GPU"):
        train(TrainConfig(task="toy", steps=1, accelerator="gpu"), ToyTask(), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_other_data_and_damaged_states_are_refused_on_resuming(config_file: Path, tmp_path: Path) -> None:
    short = {"steps": 4, "checkpoint_every": 2, "out": str(tmp_path / "run")}
    run = train_from_file(config_file, short, tasks=TASKS)

    class OtherData(ToyTask):
        def train_data(self, config: TrainConfig) -> Any:
            return super().train_data(config.model_copy(update={"data": {"windows": 41}}))

    with pytest.raises(InputError, match="was trained on 40 windows, the data now has 41"):
        train_from_file(None, {}, resume=run, tasks={"toy": OtherData})
    tensors = next((run / "state").glob("step-*/tensors.safetensors"))
    os.truncate(tensors, tensors.stat().st_size // 2)
    with pytest.raises(InputError, match="is cut off or damaged"):
        train_from_file(None, {}, resume=run, tasks=TASKS)


def test_learning_rate_schedules() -> None:
    cosine = TrainConfig(task="t", steps=100, learning_rate=1.0, schedule="cosine", warmup_steps=10)
    assert [learning_rate(cosine, step, 100) for step in (0, 4, 9, 10, 55)] == pytest.approx([0.1, 0.5, 1.0, 1.0, 0.5])
    assert learning_rate(cosine, 99, 100) < 1e-3
    constant = TrainConfig(task="t", steps=100, learning_rate=1.0)
    assert {learning_rate(constant, step, 100) for step in range(100)} == {1.0}


def test_every_pass_takes_every_window_once_in_a_new_order() -> None:
    sampler = Sampler(windows=10, batch_size=4, seed=1)
    drawn = [int(index) for step in range(5) for index in sampler.indices(step)]
    assert sorted(drawn[:10]) == sorted(drawn[10:]) == list(range(10))
    assert drawn[:10] != drawn[10:]
    fresh = Sampler(windows=10, batch_size=4, seed=1)
    assert fresh.indices(2).tolist() == drawn[8:12]  # no history needed
    assert Sampler(windows=10, batch_size=4, seed=2).indices(0).tolist() != drawn[:4]
    assert sorted(set(Sampler(windows=3, batch_size=8, seed=0).indices(0).tolist())) == [0, 1, 2]


def test_weights_set_the_shares_of_the_windows() -> None:
    sampler = Sampler(windows=4, batch_size=4000, seed=0, weights=[1, 1, 2, 0])
    counts = torch.bincount(torch.from_numpy(sampler.indices(3)), minlength=4) / 4000
    assert counts.tolist() == pytest.approx([0.25, 0.25, 0.5, 0.0], abs=0.03)

"""kill -9 at random points: what was finished stays whole, and the next run goes on and ends as one that nobody killed.

A command is added to COMMANDS with what it writes and how to go on; the short form kills each a few times, the slow form more
often and trains a real network.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from narrated_clips import write_clip
from palmist.checkpoint import load_checkpoint
from palmist.demo_data import demo_recordings
from palmist.narration.output import narration_of, read_lines
from palmist.search import ClipIndex
from palmist.store import Store, write_store
from palmist.train.state import read_state

pytestmark = [pytest.mark.timeout(600), pytest.mark.filterwarnings("ignore")]
TOY = Path(__file__).parents[1] / "training/toy_task.py"
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "TOY_PAUSE": "0.01"}
CLIPS = 30  # of the videos below, of 0.2 seconds
PALMIST = [sys.executable, "-c", "from palmist.cli import main; main()"]


@dataclass(frozen=True)
class Killed:
    """command(folder, again): the words; written(folder): how much is there, a number that grows until the end; whole(folder):
    asserts that what is there is whole; same(a, b): asserts that two finished folders hold the same."""

    command: Callable[[Path, bool], list[str]]
    written: Callable[[Path], float]
    whole: Callable[[Path], None]
    same: Callable[[Path, Path], None]


# ------------------------------------------------------------------------------------------------------ palmist prepare


def prepare(folder: Path, again: bool) -> list[str]:
    return [*PALMIST, "prepare", "asl_letters", "--out", str(folder / "store")]


def store_bytes(folder: Path) -> float:
    file = folder / "store/joints.npy"
    return file.stat().st_size if file.is_file() else 0


def store_is_whole(folder: Path) -> None:
    if (folder / "store/index.json").is_file():
        store = Store.open(folder / "store")
        assert store.verify() == []
        assert store.report is not None
        assert "has not finished" in store.report


def stores_are_the_same(one: Path, other: Path) -> None:
    files = sorted(file.name for file in (one / "store").iterdir())
    assert files == sorted(file.name for file in (other / "store").iterdir())
    assert "unfinished.json" not in files
    for name in files:
        assert (one / "store" / name).read_bytes() == (other / "store" / name).read_bytes(), name


# -------------------------------------------------------------------------------------------------------- palmist train

TOY_CONFIG = """
task: toy
steps: 400
batch_size: 8
learning_rate: 0.01
validate_every: 50
checkpoint_every: 20
log_every: 20
tensorboard: false
model: {dropout: 0.2}
"""


def train_toy(folder: Path, again: bool) -> list[str]:
    (folder / "toy.yaml").write_text(TOY_CONFIG)
    words = ["--again"] if again and (folder / "run/config.json").is_file() else []
    return [sys.executable, str(TOY), str(folder / "run"), *words]


def train_small(folder: Path, again: bool) -> list[str]:
    if again and (folder / "run/config.json").is_file():
        return [*PALMIST, "train", "--resume", str(folder / "run")]
    config = Path(__file__).parents[2] / "configs/ghtt/p_small.yaml"
    changes = {
        "out": folder / "run", "steps": 40, "batch_size": 8, "checkpoint_every": 4, "validate_every": 10, "log_every": 2,
        "model.width": 32, "model.layers": 1, "model.feedforward": 64, "tensorboard": "false",
    }  # fmt: skip
    return [
        *PALMIST,
        "train",
        "--config",
        str(config),
        *(word for key, value in changes.items() for word in (f"--{key}", str(value))),
    ]


def steps_done(folder: Path) -> float:
    states = sorted((folder / "run/state").glob("step-*"))
    if states:
        return 1 + int(states[-1].name.removeprefix("step-"))
    return float((folder / "run/config.json").is_file())


def run_is_whole(folder: Path) -> None:
    for name in ("last", "best"):
        if (folder / "run" / name).is_dir():
            load_checkpoint(folder / "run" / name)
    if steps_done(folder) > 1:
        read_state(folder / "run")  # the newest; an older one may be half taken away


def runs_are_the_same(one: Path, other: Path) -> None:
    """Every checkpoint of the one is there in the other, with the same weights; without validation there is no best one."""
    names = {folder.name for folder in (other / "run").iterdir() if (folder / "model.safetensors").is_file()}
    assert "last" in names
    for name in sorted(names):
        first, second = (load_file(folder / "run" / name / "model.safetensors") for folder in (one, other))
        assert first.keys() == second.keys()
        assert all(np.array_equal(first[key], second[key]) for key in first), name


# ------------------------------------------------------------------------------------------------------ palmist narrate


def videos_of(folder: Path) -> Path:
    """Three tiny videos with detections beside them, the same ones for all folders of a test."""
    videos = folder.parent / "videos"
    for name, frames in (("a", 50), ("b", 45), ("c", 55)):  # an index knows a video again by its bytes
        if not (videos / f"{name}.mp4").is_file():
            write_clip(videos, name, frames, step=(ord(name) - 98, -2.0))
    return videos


def narrate(folder: Path, again: bool) -> list[str]:
    videos = videos_of(folder)
    detector = ["--detector", "detections", "--detections", str(videos / "detections")]
    return [*PALMIST, "narrate", str(videos), *detector, "--clip-seconds", "0.2", "--out", str(folder / "narrated")]


def narrated_bytes(folder: Path) -> float:
    file = folder / "narrated/narrations.jsonl"
    return file.stat().st_size if file.is_file() else 0


def narrations_are_whole(folder: Path) -> None:
    """Every line but a cut last one is a narration; the csv is there when all is done, and not before."""
    file = folder / "narrated/narrations.jsonl"
    if file.is_file():
        found = [narration_of(line).text for line in read_lines(file)]
        assert len(found) >= file.read_bytes().count(b"\n") - 1
        assert len(found) == CLIPS or not (folder / "narrated/narrations.csv").exists()


def narrations_are_the_same(one: Path, other: Path) -> None:
    for name in ("narrations.jsonl", "narrations.csv"):
        assert (one / "narrated" / name).read_bytes() == (other / "narrated" / name).read_bytes(), name
    assert len(list(read_lines(one / "narrated/narrations.jsonl"))) == CLIPS


# -------------------------------------------------------------------------------------------------------- palmist index

#: Each clip is written at once, and not with those of 20 seconds, so that there is something to be killed in.
INDEX = "import palmist.search.index as index; index._SECONDS = 0.0; from palmist.cli import main; main()"


def index(folder: Path, again: bool) -> list[str]:
    words = ["index", str(videos_of(folder)), "--clip-seconds", "0.2", "--out", str(folder / "index")]
    return [sys.executable, "-c", INDEX, *words]


def indexed_clips(folder: Path) -> float:
    files = list((folder / "index/segments").glob("*.faiss")) if (folder / "index/segments").is_dir() else []
    return len(files) + 0.5 * (folder / "index/index.json").is_file()


def index_is_whole(folder: Path) -> None:
    """It opens, and what it holds is found."""
    if (folder / "index/index.json").is_file():
        opened = ClipIndex.open(folder / "index")
        assert len({(clip.digest, clip.number) for clip in opened.clips}) == len(opened)


def indexes_are_the_same(one: Path, other: Path) -> None:
    """The same clips with the same vectors; a run that begins anew puts small segments together."""
    first, second = (ClipIndex.open(folder / "index") for folder in (one, other))
    assert set(first.clips) == set(second.clips)
    assert len(first) == len(second) == CLIPS
    vectors = [dict(zip(opened.clips, opened._flat.reconstruct_n(0, CLIPS), strict=True)) for opened in (first, second)]
    for clip, vector in vectors[0].items():
        np.testing.assert_array_equal(vector, vectors[1][clip])


COMMANDS = {
    "prepare": Killed(prepare, store_bytes, store_is_whole, stores_are_the_same),
    "train": Killed(train_toy, steps_done, run_is_whole, runs_are_the_same),
    "train_small": Killed(train_small, steps_done, run_is_whole, runs_are_the_same),
    "narrate": Killed(narrate, narrated_bytes, narrations_are_whole, narrations_are_the_same),
    "index": Killed(index, indexed_clips, index_is_whole, indexes_are_the_same),
}


def run(command: list[str]) -> None:
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def kill_until_done(name: str, folder: Path, goals: list[float]) -> int:
    """Kill the command each time it has written up to a goal, then let it end; how often it was really killed."""
    what, killed = COMMANDS[name], 0
    for goal in goals:
        process = subprocess.Popen(
            what.command(folder, killed > 0), env=ENVIRONMENT, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        end = time.monotonic() + 120
        while process.poll() is None and what.written(folder) < goal and time.monotonic() < end:
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
        what.whole(folder)
    run(what.command(folder, True))
    return killed


def kill_at_random(name: str, tmp_path: Path, kills: int, seed: int) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    killed.mkdir()
    run(COMMANDS[name].command(whole, False))
    everything = COMMANDS[name].written(whole)
    generator = random.Random(seed)
    goals = [1.0, *sorted(generator.uniform(0.02, 0.95) * everything for _ in range(kills - 1))]
    times = kill_until_done(name, killed, goals)
    print(f"{name}: killed {times} times")
    assert times >= min(kills, 2)
    COMMANDS[name].same(killed, whole)


def test_prepare_killed_and_begun_again(tmp_path: Path) -> None:
    kill_at_random("prepare", tmp_path, 2, seed=0)


def test_training_killed_and_begun_again(tmp_path: Path) -> None:
    kill_at_random("train", tmp_path, 2, seed=0)


def test_narrating_killed_and_begun_again(tmp_path: Path) -> None:
    kill_at_random("narrate", tmp_path, 2, seed=0)


def test_indexing_killed_and_begun_again(tmp_path: Path) -> None:
    pytest.importorskip("faiss")
    kill_at_random("index", tmp_path, 2, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", COMMANDS)
def test_killed_many_times(name: str, seed: int, tmp_path: Path) -> None:
    kill_at_random(name, tmp_path, 6, seed=1 + seed)


def test_an_unfinished_store_is_gone_on_with_only_by_the_same_command(tmp_path: Path) -> None:
    from palmist.errors import InputError

    recording = demo_recordings()[0]
    store = Store.create(tmp_path / "s", made_of={"dataset": "a"})
    store.extend([recording])
    store.close()
    with pytest.raises(InputError, match="unfinished store of another data set"):
        write_store(tmp_path / "s", [], made_of={"dataset": "b"})
    with pytest.raises(InputError, match="already holds a store"):
        write_store(tmp_path / "s", [])
    assert "has not finished" in str(Store.open(tmp_path / "s").report)
    assert write_store(tmp_path / "s", [recording], made_of={"dataset": "a"}).names == [recording.name]


def test_an_unfinished_store_that_holds_nothing_stands_in_nobodys_way(tmp_path: Path) -> None:
    Store.create(tmp_path / "s", made_of={"dataset": "a"}).close()
    assert len(write_store(tmp_path / "s", demo_recordings()[:1], made_of={"dataset": "b"})) == 1


def test_a_best_checkpoint_that_was_being_replaced_is_there_again(tmp_path: Path) -> None:
    """Killed between the two renames of a replacement, and never better afterwards."""
    run(train_toy(tmp_path, False))
    best = tmp_path / "run/best"
    content = (best / "model.safetensors").read_bytes()
    best.rename(tmp_path / "run/.best.old")
    (tmp_path / "run/finished").unlink(missing_ok=True)
    run(train_toy(tmp_path, True))
    assert (best / "model.safetensors").read_bytes() == content

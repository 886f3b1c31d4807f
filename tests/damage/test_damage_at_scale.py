"""The generator of damaged inputs: its judge finds every kind of fault, a small draw finds none, and so says the record."""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from palmist.errors import InputError
from palmist.recording import Recording

ROOT = Path(__file__).resolve().parents[2]
RECORD = ROOT / "benchmarks/results/damage.json"
sys.path.insert(0, str(ROOT / "tools"))

from damage_at_scale import BAD, run_target  # noqa: E402
from fuzzing import bench  # noqa: E402
from fuzzing.inputs import DAMAGES  # noqa: E402
from fuzzing.targets import TARGETS  # noqa: E402
from fuzzing.targets.target import Target  # noqa: E402

SMALL = ["recording", "store", "fpha", "point_tracks", "hand_detections", "training_state", "plain_pickle", "benchmark_records"]


def write(folder: Path) -> None:
    folder.mkdir()
    (folder / "numbers.txt").write_text("1 2 3\n4 5 6\n")


def read_well(folder: Path, out: Path) -> list[int]:
    try:
        return [int(word) for word in (folder / "numbers.txt").read_text().split()]
    except (OSError, ValueError) as error:
        raise InputError(f"it holds no numbers ({type(error).__name__})") from error


def once_damaged(fault: Callable[[], Any]) -> Callable[[Path, Path], Any]:
    """A reader with a fault that shows on damaged files only; it reads no pipes and devices."""

    def read(folder: Path, out: Path) -> Any:
        file = folder / "numbers.txt"
        whole = file.is_file() and file.read_bytes() == b"1 2 3\n4 5 6\n"
        return [1, 2, 3, 4, 5, 6] if whole else fault()

    return read


def backwards() -> Recording:
    joints = np.zeros((2, 2, 21, 3), np.float32)
    return Recording.trusted(joints=joints, valid=np.zeros((2, 2), bool), time=np.array([1.0, 0.0]), space="metric", name="x")


FAULTS: dict[str, Callable[[], Any]] = {
    "crash": lambda: {}["missing"],
    "hang": lambda: time.sleep(30),
    "memory": lambda: np.ones(10**13),
    "escape": lambda: Path("../escaped.txt").write_text("x"),
    "silent": backwards,
}


@pytest.mark.parametrize("outcome", FAULTS)
def test_the_judge_finds_a_faulty_reader(outcome: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "SECONDS", 1)
    cases = list(run_target(Target("faulty", write, once_damaged(FAULTS[outcome])), 3, 0, tmp_path))
    assert len(cases) == 3
    assert outcome in {case.outcome for case in cases}
    assert {case.outcome for case in cases} <= {outcome, "harmless"}  # such as a file beside it


def test_the_end_of_the_process_and_a_connection_are_found(tmp_path: Path) -> None:
    ended = list(run_target(Target("ends", write, once_damaged(lambda: os._exit(3))), 2, 0, tmp_path / "a"))
    assert "crash" in {case.outcome for case in ended}
    asks = once_damaged(lambda: socket.create_connection(("127.0.0.1", 9), 0.1))
    assert "escape" in {case.outcome for case in run_target(Target("asks", write, asks), 2, 0, tmp_path / "b")}


def test_a_sound_reader_passes_and_a_seed_repeats_itself(tmp_path: Path) -> None:
    first, second = (list(run_target(Target("sound", write, read_well), 12, 3, tmp_path / name)) for name in "ab")
    assert [(case.damage, case.file, case.outcome) for case in first] == [
        (case.damage, case.file, case.outcome) for case in second
    ]
    assert len({case.damage for case in first}) > 3
    # the sound reader waits on a pipe as Path.read_text does: that is a hang, and all the rest is fine
    assert not {case.outcome for case in first if case.damage not in ("pipe_instead", "endless_device_instead")} & set(BAD)


def test_damages_are_functions_of_their_seed() -> None:
    text = b'{"a": 1, "b": [2.5, "x"]}\n'
    for damage in DAMAGES:
        if damage.apply is not None and "json" in damage.kinds:
            assert damage.apply(random.Random(4), text) == damage.apply(random.Random(4), text), damage.name


def test_a_small_draw_finds_nothing(tmp_path: Path) -> None:
    words = ["--cases", "300", "--seed", "11", "--only", *SMALL, "--json", str(tmp_path / "record.json")]
    done = subprocess.run(
        [sys.executable, "tools/damage_at_scale.py", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    record = json.loads((tmp_path / "record.json").read_text())
    assert record["cases"] >= 290
    assert set(record["by_target"]) == set(SMALL)


def test_the_record_says_that_nothing_was_found() -> None:
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    assert record["format"] == "palmist-damage-record"
    assert record["cases"] >= 10_000
    assert (
        record["cases"]
        == sum(record["outcomes"].values())
        == sum(map(lambda row: sum(row.values()), record["by_target"].values()))
    )
    assert {name: record["outcomes"][name] for name in BAD} == dict.fromkeys(BAD, 0)
    assert record["bad"] == []
    assert set(record["by_target"]) == set(TARGETS)
    assert all(sum(row.values()) > 0 for row in record["by_target"].values())
    assert {damage.name for damage in DAMAGES} == set(record["by_damage"])
    assert str(ROOT) not in RECORD.read_text(encoding="utf-8")

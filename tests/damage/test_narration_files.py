"""Files of narrations cut, changed and killed anywhere: whole lines stay, the rest is done again; the command: test_kill.py."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from palmist.narration.output import NarrationFolder, read_lines

SETTINGS = {"source": "x"}
PATHS = (str(Path(__file__).parent), str(Path(__file__).parents[1]))  # of the tests' own modules


def line(number: int) -> dict:
    return {
        "uid": f"clip {number}", "dataset": "video", "video_id": "v", "start_second": float(number),
        "end_second": number + 1.0, "text": f"The right hand moves up {'é' * number}.", "template": "", "facts": {},
        "rewrite": {"outcome": "template", "reason": ""}, "hands_seen": 1.0,
    }  # fmt: skip


@pytest.fixture
def whole(tmp_path: Path) -> bytes:
    with NarrationFolder(tmp_path / "whole", SETTINGS) as folder:
        for number in range(4):
            folder.append(line(number))
    return (tmp_path / "whole" / "narrations.jsonl").read_bytes()


def test_cut_anywhere(whole: bytes, tmp_path: Path) -> None:
    head = whole.index(b"\n") + 1
    ends = [place + 1 for place, letter in enumerate(whole) if letter == 10]
    out = tmp_path / "cut"
    out.mkdir()
    near = {end + step for end in ends for step in (-2, -1, 0, 1)}
    for end in sorted({head, len(whole), *range(head, len(whole), 61), *near}):
        if not head <= end <= len(whole):
            continue
        (out / "narrations.jsonl").write_bytes(whole[:end])
        with NarrationFolder(out, SETTINGS) as folder:
            there = sum(place <= end for place in ends) - 1
            assert len(folder) == there
            assert folder.dropped == (end not in ends)
            for number in range(there, 4):
                folder.append(line(number))
        assert (out / "narrations.jsonl").read_bytes() == whole
        assert len((out / "narrations.csv").read_text().splitlines()) == 5


def test_an_empty_file_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / "narrations.jsonl").write_bytes(b"")
    with NarrationFolder(tmp_path, SETTINGS) as folder:
        folder.append(line(0))
    assert len(list(read_lines(tmp_path / "narrations.jsonl"))) == 1


@pytest.mark.parametrize("seed", range(20))
def test_bytes_changed_in_the_middle(seed: int, whole: bytes, tmp_path: Path) -> None:
    generator = np.random.default_rng(seed)
    lines = whole.splitlines(keepends=True)
    bad = bytearray(lines[2])
    place = int(generator.integers(0, len(bad) - 1))
    bad[place : place + 3] = b'\x00"\xff'
    lines[2] = bytes(bad)
    (tmp_path / "narrations.jsonl").write_bytes(b"".join(lines))
    with NarrationFolder(tmp_path, SETTINGS) as folder:
        assert folder.dropped >= 1
        assert "clip 1" not in folder
        folder.expect(f"clip {number}" for number in range(4))
        folder.append(line(1))
    assert (tmp_path / "narrations.jsonl").read_bytes() == whole


WRITER = """
import sys
sys.path[:0] = sys.argv[2:]
from test_narration_files import SETTINGS, line
from palmist.narration.output import NarrationFolder

folder = NarrationFolder(sys.argv[1], SETTINGS)
for number in range(100_000):
    folder.append(line(number % 900))
    print(number, flush=True)
"""


def test_killed_while_writing(tmp_path: Path) -> None:
    arguments = [sys.executable, "-c", WRITER, str(tmp_path / "out"), *PATHS]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        for text in writer.stdout:
            if int(text) >= 12:
                writer.kill()
                break
        reported = max([int(text), *(int(rest) for rest in writer.stdout if rest.endswith("\n"))])
    with NarrationFolder(tmp_path / "out", SETTINGS) as folder:
        assert len(folder) in (reported + 1, reported + 2)  # the last one may be written and not yet reported
        for number in range(len(folder)):
            assert folder.line(f"clip {number}") == line(number)
    found = [json.loads(text) for text in (tmp_path / "out" / "narrations.jsonl").read_text().splitlines()[1:]]
    assert found == [line(number) for number in range(len(found))]

"""DHG-14/28 and SHREC'17: joints by hand, both label sets, the wrong set, lists and files that stopped half-way."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from palmist.cli import app
from palmist.errors import InputError
from palmist.readers.dhg import read_dhg
from palmist.readers.dhg_example import write_dhg_example, write_shrec17_example
from palmist.readers.gesture_folders import FINGERS, GESTURES
from palmist.readers.shrec17 import read_shrec17

ESSAI = "gesture_1/finger_1/subject_1/essai_1"
SPANS = "informations_troncage_sequences.txt"


@pytest.fixture
def dhg(tmp_path: Path) -> Path:
    return write_dhg_example(tmp_path / "dhg")


@pytest.fixture
def shrec(tmp_path: Path) -> Path:
    return write_shrec17_example(tmp_path / "shrec")


def change_lines(file: Path, change: Callable[[list[str]], list[str]]) -> None:
    file.write_text("\n".join(change(file.read_text().splitlines())) + "\n")


def test_one_line_by_hand(dhg: Path) -> None:
    """Joint i of 22 at (i, 2 i, 30) cm: 0 is the wrist, 1 the palm's centre, which is dropped, the rest move up by one."""
    line = " ".join(f"{i / 100} {i / 50} 0.3" for i in range(22))
    change_lines(dhg / ESSAI / "skeleton_world.txt", lambda lines: [line, *lines[1:]])
    hand = next(read_dhg(dhg)).joints[0, 1]
    for canonical, source in ((0, 0), (1, 2), (4, 5), (5, 6), (9, 10), (20, 21)):
        np.testing.assert_allclose(hand[canonical], [source / 100, source / 50, 0.3], atol=1e-6)


def test_a_frame_of_zeros_is_not_valid(shrec: Path) -> None:
    change_lines(shrec / ESSAI / "skeletons_world.txt", lambda lines: [*lines[:7], "0 " * 66, *lines[8:]])
    assert np.flatnonzero(~next(read_shrec17(shrec)).valid[:, 1]).tolist() == [7]


def test_28_labels_are_the_14_in_two_ways(dhg: Path, shrec: Path) -> None:
    assert (len(set(GESTURES)), FINGERS) == (14, ("one finger", "whole hand"))
    for recordings in (list(read_dhg(dhg, classes=28)), list(read_shrec17(shrec, classes=28))):
        last = recordings[-1]  # gesture 14, finger 2
        assert last.segments[0].label == "shake with whole hand"
        assert last.segments[0].verb == "shake"
        assert (last.provenance["label14"], last.provenance["label28"], last.subject) == (14, 28, "2")


def test_the_last_frame_of_a_dhg_gesture_may_be_the_number_of_frames_but_no_more(dhg: Path) -> None:
    def end(frame: int) -> None:
        change_lines(dhg / SPANS, lambda lines: [f"1 1 1 1 5 {frame}", *lines[1:]])

    for frame, stop in ((49, 50), (50, 50)):  # 50 frames, 0 to 49
        end(frame)
        recording = next(read_dhg(dhg))
        assert recording.frames_of(recording.segments[0]) == slice(5, stop)
    end(51)
    with pytest.raises(InputError, match="holds 50 frames, but its gesture runs from 5 to 51; it may be cut off"):
        next(read_dhg(dhg))


def test_the_other_set_is_recognised(dhg: Path, shrec: Path) -> None:
    with pytest.raises(InputError, match="it is another set, run palmist prepare shrec17"):
        next(read_dhg(shrec, whole=True))
    with pytest.raises(InputError, match="it is another set, run palmist prepare dhg"):
        next(read_shrec17(dhg))


def test_dhg_as_a_whole_needs_no_list(dhg: Path) -> None:
    (dhg / SPANS).unlink()
    assert [r.segments[0].end for r in read_dhg(dhg, whole=True)] == pytest.approx([50 / 30, 44 / 30, 36 / 30, 60 / 30])


def strange_gesture(root: Path) -> None:
    shutil.move(root / "gesture_14", root / "gesture_15")
    change_lines(root / SPANS, lambda lines: [*lines[:-1], "15 2 2 5 5 54"])


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda root: (root / SPANS).unlink(), f"{SPANS} does not exist"),
        (lambda root: change_lines(root / SPANS, lambda lines: lines[1:]), "does not list .*essai_1; expected a line for each"),
        (
            lambda root: change_lines(root / SPANS, lambda lines: ["1 1 1 1 5", *lines[1:]]),
            "line 1: found 5 numbers, expected 6",
        ),
        (lambda root: change_lines(root / SPANS, lambda lines: ["1 1 1 1 5 x", *lines[1:]]), "expected a whole number"),
        (lambda root: change_lines(root / SPANS, lambda lines: ["1 1 1 1 9 5", *lines[1:]]), "its gesture runs from 9 to 5"),
        (lambda root: change_lines(root / ESSAI / "skeleton_world.txt", lambda lines: lines[:30]), "holds 30 frames, but"),
        (lambda root: (root / ESSAI / "skeleton_world.txt").write_text(""), "is empty; expected 66"),
        (
            lambda root: change_lines(root / ESSAI / "skeleton_world.txt", lambda lines: ["a" + lines[0], *lines[1:]]),
            "not a number",
        ),
        (strange_gesture, "gesture 15, finger 2; expected gestures 1 to 14"),
    ],
)
def test_damage_ends_the_command_with_code_2_and_one_sentence(
    dhg: Path, tmp_path: Path, damage: Callable[[Path], object], says: str
) -> None:
    damage(dhg)
    with pytest.raises(InputError, match=says):
        list(read_dhg(dhg))
    result = CliRunner().invoke(app, ["prepare", "dhg", "--root", str(dhg), "--out", str(tmp_path / "store")])
    assert result.exit_code == 2
    assert "Traceback" not in result.output


def test_shrec_labels_are_those_of_the_lists_however_they_are_ordered(shrec: Path) -> None:
    """Labels of another numbering, gestures first with one finger and then with the whole hand, are passed through."""
    for file in (shrec / "train_gestures.txt", shrec / "test_gestures.txt"):
        rows = [line.split() for line in file.read_text().splitlines()]
        file.write_text("".join(f"{g} {f} {s} {e} {g} {14 * (int(f) - 1) + int(g)} {n}\n" for g, f, s, e, _, _, n in rows))
    assert [r.provenance["label28"] for r in read_shrec17(shrec)] == [1, 15, 7, 28]
    assert [r.segments[0].label for r in read_shrec17(shrec, classes=28)][1] == "grab with whole hand"


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (["1 1 1 1 1 1 50", "1 2 2 1 2 2 44"], "finger 2 has label 2 of 14, which contradicts another line"),
        (["1 1 1 1 1 1 50", "1 2 2 1 1 1 44"], "finger 2 has label 1 of 28, which contradicts another line"),
        (["1 1 1 1 1 1 50", "1 1 1 1 1 1 50"], r"\(1, 1, 1, 1\) stands there twice"),
        (["1 1 1 1 1 1 50", "14 2 2 5 14 28 60"], r"test_gestures\.txt: .*\(14, 2, 2, 5\) stands there twice"),
        (["1 1 1 1 15 1 50"], "label 15 of .*; expected 1 to 14"),
        ([], "train_gestures.txt is empty; expected 7 numbers"),
    ],
)
def test_shrec_lists_that_contradict_themselves_are_refused(shrec: Path, lines: list[str], says: str) -> None:
    (shrec / "train_gestures.txt").write_text("".join(f"{line}\n" for line in lines))
    with pytest.raises(InputError, match=says):
        list(read_shrec17(shrec))


def test_shrec_files_may_hold_more_frames_than_listed_but_no_fewer(shrec: Path) -> None:
    def listed(frames: int) -> None:
        change_lines(shrec / "train_gestures.txt", lambda lines: [f"1 1 1 1 1 1 {frames}", *lines[1:]])

    listed(49)
    assert len(next(read_shrec17(shrec))) == 50
    listed(51)
    with pytest.raises(InputError, match=r"holds 50 frames, but train_gestures\.txt names 51; it may be cut off"):
        next(read_shrec17(shrec))


def test_shrec_missing_test_list_is_named(shrec: Path) -> None:
    (shrec / "test_gestures.txt").unlink()
    with pytest.raises(InputError, match=r"test_gestures\.txt does not exist"):
        list(read_shrec17(shrec))


@pytest.mark.parametrize("name", ["dhg", "shrec17"])
def test_28_classes_from_the_command_line(name: str, tmp_path: Path) -> None:
    from palmist.store import Store

    words = ["prepare", name, "--example", "--root", str(tmp_path / "set"), "--out", str(tmp_path / "store")]
    result = CliRunner().invoke(app, [*words, "--option", "classes=28"])
    assert result.exit_code == 0, result.output
    labels = {recording.segments[0].label for recording in Store.open(tmp_path / "store")}
    assert {"grab with one finger", "grab with whole hand"} <= labels

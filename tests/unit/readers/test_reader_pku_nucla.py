"""PKU-MMD: untrimmed videos, instances cut out of them, detection labels; N-UCLA: JSON clips, gaps in the labels."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from palmist.errors import InputError
from palmist.readers.kinect_example import example_bodies
from palmist.readers.kinect_sets_example import FRAMES, VIDEOS, write_n_ucla_example, write_pku_mmd_example
from palmist.readers.n_ucla import ACTIONS as UCLA_ACTIONS
from palmist.readers.n_ucla import n_ucla_clips, read_n_ucla
from palmist.readers.pku_mmd import ACTIONS, pku_mmd_clips, read_pku_mmd


@pytest.fixture
def pku(tmp_path: Path) -> Path:
    return write_pku_mmd_example(tmp_path / "pku")


@pytest.fixture
def ucla(tmp_path: Path) -> Path:
    return write_n_ucla_example(tmp_path / "ucla")


def test_untrimmed_videos_keep_their_instances(pku: Path) -> None:
    whole = {clip.name: clip for clip in pku_mmd_clips(pku, "untrimmed")}
    assert list(whole) == [f"pku_mmd/{name}" for name in VIDEOS]
    clip = whole["pku_mmd/0002-L"]
    assert (clip.persons, len(clip), clip.layout, clip.camera, clip.label) == (2, FRAMES, "kinect25", 1, None)
    found = [(s.label, round(30 * s.start), round(30 * s.end)) for s in clip.segments]
    assert found == [("stand up", 5, 30), ("shaking hands", 45, 80), ("writing", 90, 118)]
    assert clip.provenance["instances"] == [list(one) for one in VIDEOS["0002-L"]]
    assert clip.splits == {"cross_subject": "train", "cross_view": "test"}
    first, state = example_bodies(FRAMES)
    np.testing.assert_allclose(clip.keypoint[0], first, atol=1e-5)
    np.testing.assert_array_equal(clip.mask[0], state > 0)
    assert np.flatnonzero(clip.mask[1].any(1)).tolist() == list(range(40, 90))


def test_instances_are_cut_out_with_the_persons_that_are_there(pku: Path) -> None:
    whole = next(pku_mmd_clips(pku, "untrimmed"))
    parts = {clip.name: clip for clip in pku_mmd_clips(pku)}
    assert len(parts) == sum(map(len, VIDEOS.values()))
    single, pair = parts["pku_mmd/0002-L/00"], parts["pku_mmd/0002-L/01"]
    assert (single.persons, len(single), single.label, single.label_number, single.segments) == (1, 25, "stand up", 34, ())
    assert (pair.persons, len(pair), pair.label_number, pair.provenance["instance"]) == (2, 35, 14, [14, 45, 80, 2])
    np.testing.assert_array_equal(pair.keypoint, whole.keypoint[:, 45:80])
    assert [len(c) for c in pku_mmd_clips(pku, end_inclusive=True)][:3] == [26, 36, 29]


def test_recordings_carry_the_chosen_split(pku: Path) -> None:
    splits = {r.name: r.split for r in read_pku_mmd(pku, split="cross_view")}
    assert splits["pku_mmd/0002-L/01#2"] == "test"
    assert splits["pku_mmd/0003-R/00"] == "train"
    assert {r.split for r in read_pku_mmd(pku) if "0003" in r.name} == {"test"}
    assert len(ACTIONS) == len(set(ACTIONS)) == 51


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda r: shutil.rmtree(r / "label"), "has no folder with labels"),
        (lambda r: [f.unlink() for f in (r / "skeleton").iterdir()], "holds no NNNN-V.skeleton"),
        (lambda r: (r / "label/0002-M.label").unlink(), "0002-M.label does not exist"),
        (lambda r: (r / "label/0002-L.label").write_text("34,5,30\n"), "line 1: found 3 numbers, expected label,start"),
        (lambda r: (r / "label/0002-L.label").write_text("52,5,30,1\n"), "line 1: label 52; expected 1 to 51"),
        (
            lambda r: (r / "label/0002-L.label").write_text("1,2,9,1\n1,130,140,1\n"),
            "line 2: frames 130 to 140 of a video of 120",
        ),
        (lambda r: (r / "label/0002-L.label").write_text("a,2,9,1\n"), "a number in line 1 is 'a'"),
        (lambda r: (r / "skeleton/0002-L.skeleton").write_text("1 2 3\n"), "line 1: found 3 numbers, expected 150"),
        (lambda r: (r / "skeleton/0002-L.skeleton").write_text(" ".join(["x"] * 150)), "line 1: found 'x', expected a number"),
        (lambda r: (r / "skeleton/0002-L.skeleton").write_text("\n"), "is empty"),
        (lambda r: (r / "split/cross-view.txt").unlink(), "has no cross-view.txt"),
        (lambda r: (r / "split/cross-view.txt").write_text("a\n0002-L\n"), "found 2 lines, expected four"),
        (lambda r: (r / "split/cross-view.txt").write_text("a\n0002L\nb\n0003-R\n"), "'0002L' among the names to train on"),
    ],
)
def test_what_is_missing_or_damaged_in_pku_mmd_is_named(pku: Path, damage: object, says: str) -> None:
    damage(pku)  # type: ignore[operator]
    with pytest.raises(InputError, match=says):
        list(pku_mmd_clips(pku))


def test_an_end_behind_the_video_is_cut_to_it(pku: Path) -> None:
    (pku / "label/0003-R.label").write_text("8,100,500,1\n")
    assert len(list(pku_mmd_clips(pku))[-1]) == 20


def test_options_of_pku_mmd(pku: Path) -> None:
    with pytest.raises(InputError, match="instances or untrimmed"):
        pku_mmd_clips(pku, "whole")
    with pytest.raises(InputError, match="cross_subject, cross_view"):
        read_pku_mmd(pku, split="xsub")


def test_clips_of_ucla_have_labels_without_gaps(ucla: Path) -> None:
    found = {clip.name.partition("/")[2]: clip for clip in n_ucla_clips(ucla)}
    assert {name: clip.label_number for name, clip in found.items()} == {
        "a01_s01_e00_v01": 1, "a02_s01_e01_v02": 2, "a08_s02_e00_v03": 7, "a12_s10_e03_v03": 10,
    }  # fmt: skip
    clip = found["a12_s10_e03_v03"]
    assert (clip.label, clip.subject, clip.camera, clip.repetition, clip.splits) == (
        "carry",
        "10",
        3,
        3,
        {"cross_view": "test"},
    )
    assert (clip.layout, clip.persons, len(clip)) == ("kinect20", 1, 45)
    raw = json.loads((ucla / "all_sqe/a12_s10_e03_v03.json").read_text())["skeletons"]
    np.testing.assert_array_equal(clip.keypoint[0], np.array(raw, np.float32))
    assert list(UCLA_ACTIONS) == [1, 2, 3, 4, 5, 6, 8, 9, 11, 12]
    assert [r.split for r in read_n_ucla(ucla, test_view=1)] == ["test", "train", "train", "train"]


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda r: shutil.rmtree(r), "is not a folder"),
        (lambda r: shutil.rmtree(r / "all_sqe"), "holds no aAA_sSS_eEE_vVV.json"),
        (lambda r: (r / "all_sqe/a07_s01_e00_v01.json").write_text("{}"), "called action 7"),
        (lambda r: (r / "all_sqe/a01_s01_e00_v01.json").write_text("{}"), "expected 'skeletons'"),
        (lambda r: (r / "all_sqe/a01_s01_e00_v01.json").write_text('{"skeletons": []}'), "holds no frames"),
        (lambda r: (r / "all_sqe/a01_s01_e00_v01.json").write_text('{"skeletons": [[[1, 2, 3]]]}'), r"expected \(1, 20, 3\)"),
        (lambda r: (r / "all_sqe/a01_s01_e00_v01.json").write_text('{"skel'), "not whole JSON"),
    ],
)
def test_what_is_missing_or_damaged_in_ucla_is_named(ucla: Path, damage: object, says: str) -> None:
    damage(ucla)  # type: ignore[operator]
    with pytest.raises(InputError, match=says):
        list(n_ucla_clips(ucla))


def test_the_view_that_tests_is_checked(ucla: Path) -> None:
    with pytest.raises(InputError, match="expected 1, 2 or 3"):
        n_ucla_clips(ucla, 4)

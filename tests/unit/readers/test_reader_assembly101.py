"""Assembly101: both pose releases, three kinds of annotation, and their quirks."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from palmist.errors import InputError
from palmist.readers.assembly101 import read_assembly101
from palmist.readers.assembly101_example import FRAMES, MISSING, SEQUENCES, write_assembly101_example
from palmist.readers.example_motion import example_hands

TRAIN, VALIDATION, TEST = (f"assembly101/{sequence}" for _, sequence in SEQUENCES)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_assembly101_example(tmp_path_factory.mktemp("assembly101") / "set")


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "set"))


def read(root: Path, **options: object) -> dict:
    return {recording.name: recording for recording in read_assembly101(root, **options)}  # type: ignore[arg-type]


def test_poses_are_metres_left_hand_first_without_the_thumbs_base(root: Path) -> None:
    recording = read(root)[TRAIN]
    expected = example_hands(FRAMES, 60.0)
    for joint in (0, 4, 5, 8, 20):
        np.testing.assert_allclose(recording.joints[:40, :, joint], expected[:40, :, joint], atol=1e-6)
    assert recording.absent_joints == (1,)
    assert not recording.known[:, :, 1].any()
    assert (recording.space, recording.frame, recording.subject) == ("metric", "world", "9011")


def test_labels_count_at_30_and_poses_at_60(root: Path) -> None:
    recording = read(root)[TRAIN]
    assert np.diff(recording.time) == pytest.approx(1 / 60)
    first = recording.segments[0]
    assert (first.start, first.end) == (pytest.approx(4 / 30), pytest.approx(1.0))
    inside = (recording.time >= first.start - 1e-9) & (recording.time < first.end - 1e-9)
    assert np.flatnonzero(inside)[[0, -1]].tolist() == [8, 59]


def test_a_segment_is_taken_once_although_every_view_repeats_it_and_segments_may_overlap(root: Path) -> None:
    segments = read(root)[TRAIN].segments
    assert [s.label for s in segments] == ["pick up wheel", "screw chassis", "put down wheel"]
    assert segments[1].start < segments[0].end
    assert (segments[0].verb, segments[0].noun) == ("pick up", "wheel")


def test_the_test_file_has_no_labels(root: Path) -> None:
    recording = read(root)[TEST]
    assert recording.split == "test"
    assert recording.segments == ()
    assert recording.provenance["unlabelled_segments"][0] == [pytest.approx(4 / 30), 1.0]


def test_newer_release_lacks_frames_and_the_older_one_has_confidences(root: Path) -> None:
    newer = read(root, release="newer")[TRAIN]
    assert len(newer) == FRAMES
    assert np.flatnonzero(~newer.valid.any(1)).tolist() == list(MISSING)
    assert newer.provenance["missing_frames"] == 3
    older = read(root, release="older")[TRAIN]
    assert older.valid[:, 0].all()
    assert np.flatnonzero(~older.valid[:, 1]).tolist() == list(range(FRAMES - 6, FRAMES))
    assert read(root)[TRAIN].provenance["pose_file"].startswith("landmarks3D/")  # the newer one is preferred


def test_a_sequence_that_begins_late_keeps_its_clock(root: Path) -> None:
    file = root / "AssemblyPoses/landmarks3D" / f"{SEQUENCES[0][1]}.json"
    frames = {key: value for key, value in json.loads(file.read_text()).items() if int(key) >= 12}
    file.write_text(json.dumps(frames))
    assert read(root)[TRAIN].time[0] == pytest.approx(0.2)


def test_anticipation_files_use_other_column_names_and_the_bare_sequence(root: Path) -> None:
    recording = read(root, annotations="anticipation")[VALIDATION]
    assert [s.label for s in recording.segments] == ["pick up wheel", "screw chassis", "put down wheel"]
    assert read(root, annotations="anticipation")[TEST].split is None


def test_coarse_labels_come_from_two_files_a_sequence(root: Path) -> None:
    segments = read(root, annotations="coarse")[TRAIN].segments
    assert [(s.label, round(s.start * 30), round(s.end * 30)) for s in segments] == [
        ("attach wheel", 2, 40), ("screw chassis", 40, 80), ("detach wheel", 81, 88),
    ]  # fmt: skip


def test_end_frames_may_belong_to_segments(root: Path) -> None:
    assert read(root, end_inclusive=True)[TRAIN].segments[0].end == pytest.approx(31 / 30)


def test_annotated_sequences_without_poses_are_counted_in_a_warning(root: Path) -> None:
    (root / "AssemblyPoses/landmarks3D" / f"{SEQUENCES[1][1]}.json").unlink()
    with pytest.warns(UserWarning, match="1 annotated sequences have no poses"):
        assert VALIDATION not in read(root)


def cut(path: Path) -> None:
    path.write_text(path.read_text()[:-200])


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda root: shutil.rmtree(root), "is not a folder"),
        (lambda root: (shutil.rmtree(root / "AssemblyPoses"), shutil.rmtree(root / "poses@60fps")), "no folder with poses"),
        (lambda root: shutil.rmtree(root / "fine-grained-annotations"), "no fine annotations"),
        (lambda root: cut(root / "AssemblyPoses/landmarks3D" / f"{SEQUENCES[0][1]}.json"), "not whole JSON"),
        (lambda root: [f.unlink() for f in (root / "fine-grained-annotations").glob("[tv]*.csv")], "has none of train.csv"),
        (lambda root: (root / "fine-grained-annotations/train.csv").write_text("id,clip\n1,a\n"), "expected one called video"),
        (
            lambda root: (root / "AssemblyPoses/landmarks3D" / f"{SEQUENCES[0][1]}.json").write_text('{"0": {"0": [[1, 2]]}}'),
            r"found numbers of shape \(1, 2\), expected \(21, 3\)",
        ),
    ],
)
def test_what_is_missing_or_damaged_is_named(root: Path, damage: object, says: str) -> None:
    damage(root)  # type: ignore[operator]
    with pytest.raises(InputError, match=says):
        read(root)


def test_options_are_checked(root: Path) -> None:
    with pytest.raises(InputError, match="expected one of fine"):
        read(root, annotations="gross")
    with pytest.raises(InputError, match="newer or older"):
        read(root, release="2021")

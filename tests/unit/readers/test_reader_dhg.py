"""DHG-14/28 and SHREC'17, and what H2O's files pass through."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from palmist.errors import InputError
from palmist.readers.dhg import read_dhg
from palmist.readers.dhg_example import SEQUENCES, write_dhg_example, write_shrec17_example
from palmist.readers.example_motion import example_hands
from palmist.readers.h2o import read_h2o
from palmist.readers.h2o_example import write_h2o_example
from palmist.readers.shrec17 import read_shrec17


@pytest.fixture
def dhg(tmp_path: Path) -> Path:
    return write_dhg_example(tmp_path / "dhg")


@pytest.fixture
def shrec(tmp_path: Path) -> Path:
    return write_shrec17_example(tmp_path / "shrec")


def test_one_right_hand_without_the_palms_centre(dhg: Path) -> None:
    recording = next(read_dhg(dhg))
    assert not recording.valid[:, 0].any()
    np.testing.assert_allclose(recording.joints[:, 1], example_hands(50, 30.0)[:, 1], atol=1e-5)
    line = (dhg / "gesture_1/finger_1/subject_1/essai_1/skeleton_world.txt").read_text().splitlines()[0].split()
    np.testing.assert_allclose(recording.joints[0, 1, 1], np.array(line[6:9], float), atol=1e-6)  # third point: thumb's base


def test_the_gesture_is_the_listed_part_of_a_dhg_sequence(dhg: Path) -> None:
    (segment,) = next(read_dhg(dhg)).segments
    assert (segment.start, segment.end, segment.label) == (pytest.approx(5 / 30), pytest.approx(45 / 30), "grab")
    (segment,) = next(read_dhg(dhg, whole=True)).segments
    assert segment.end == pytest.approx(50 / 30)


def test_14_and_28_classes(dhg: Path, shrec: Path) -> None:
    assert [r.segments[0].label for r in read_dhg(dhg, classes=28)][:2] == ["grab with one finger", "grab with whole hand"]
    assert [r.provenance["label28"] for r in read_shrec17(shrec)] == [1, 2, 13, 28]
    with pytest.raises(InputError, match="14 or 28"):
        next(read_dhg(dhg, classes=7))


def test_shrec_splits_come_from_its_lists(shrec: Path) -> None:
    assert [r.split for r in read_shrec17(shrec)] == ["train", "train", "train", "test"]
    assert [len(r) for r in read_shrec17(shrec)] == [entry[4] for entry in SEQUENCES]


def test_the_archives_own_top_folder_is_found(shrec: Path, tmp_path: Path) -> None:
    outer = tmp_path / "outer"
    outer.mkdir()
    shutil.move(shrec, outer / "HandGestureDataset_SHREC2017")
    assert len(list(read_shrec17(outer))) == 4


def test_listed_sequences_that_are_not_there_are_counted(shrec: Path) -> None:
    shutil.rmtree(shrec / "gesture_7")
    with pytest.warns(UserWarning, match="1 listed sequences"):
        assert len(list(read_shrec17(shrec))) == 3


FIRST = "gesture_1/finger_1/subject_1/essai_1/skeletons_world.txt"


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda root: (root / "train_gestures.txt").unlink(), "train_gestures.txt does not exist"),
        (lambda root: (root / FIRST).write_text((root / FIRST).read_text().rsplit(" ", 1)[0]), "found 65 numbers, expected 66"),
        (lambda root: (root / FIRST).write_text("\n".join((root / FIRST).read_text().splitlines()[:20])), "names 50; it may"),
        (lambda root: (root / "train_gestures.txt").write_text("1 1 1 1 1 29 50\n"), "label 29 of .*expected 1 to 28"),
        (lambda root: [shutil.rmtree(path) for path in root.glob("gesture_*")], "has no gesture_1"),
    ],
)
def test_what_is_missing_or_damaged_is_named(shrec: Path, damage: object, says: str) -> None:
    damage(shrec)  # type: ignore[operator]
    with pytest.raises(InputError, match=says):
        list(read_shrec17(shrec))


def test_h2o_passes_mano_and_object_numbers_through(tmp_path: Path) -> None:
    root = write_h2o_example(tmp_path / "h2o")
    file = root / "subject1/h1/0/cam4/hand_pose_MANO/000003.txt"
    file.write_text(" ".join(str(float(i)) for i in range(124)))
    recording = next(read_h2o(root, mano=True, object_poses=True))
    assert recording.provenance["mano"]["3"][62] == 62.0
    assert len(recording.provenance["object_pose"]["0"]) == 64
    assert "mano" not in next(read_h2o(root)).provenance
    file.write_text(" ".join("0" for _ in range(118)))  # 59 a hand, as the set's README says
    with pytest.raises(InputError, match="118 numbers; expected 124"):
        next(read_h2o(root, mano=True))

"""FPHA: joint order, units, camera, split file, sequences to leave out, object poses."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from palmist.errors import InputError
from palmist.readers.example_motion import example_hands
from palmist.readers.fpha import CAMERA_ROTATION, CAMERA_TRANSLATION, read_fpha, read_subject_info
from palmist.readers.fpha_example import WITH_OBJECT, write_fpha_example

FIRST = "Subject_1/open_juice_bottle/1"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_fpha_example(tmp_path_factory.mktemp("fpha") / "set")


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "set"))


def read(root: Path, **options: str) -> dict:
    return {recording.name.removeprefix("fpha/"): recording for recording in read_fpha(root, **options)}


def test_one_right_hand_in_metres(root: Path) -> None:
    recording = read(root)[FIRST]
    assert not recording.valid[:, 0].any()
    assert recording.valid[:, 1].all()
    np.testing.assert_allclose(recording.joints[:, 1], example_hands(40, 30.0)[:, 1], atol=1e-6)


def test_the_five_knuckles_come_first_and_then_finger_by_finger(root: Path) -> None:
    numbers = (root / "Hand_pose_annotation_v1" / FIRST / "skeleton.txt").read_text().splitlines()[0].split()
    points = np.array(numbers[1:], float).reshape(21, 3) / 1000
    hand = read(root)[FIRST].joints[0, 1]
    for source, joint in ((1, 1), (2, 5), (5, 17), (6, 2), (8, 4), (9, 6), (20, 20)):
        np.testing.assert_allclose(hand[joint], points[source], atol=1e-6)


def test_camera_frame_is_that_of_the_rgb_camera(root: Path) -> None:
    world, camera = read(root)[FIRST], read(root, frame="camera")[FIRST]
    expected = world.joints[:, 1] * 1000 @ np.array(CAMERA_ROTATION).T + CAMERA_TRANSLATION
    np.testing.assert_allclose(camera.joints[:, 1] * 1000, expected, atol=1e-3)
    pose = world.camera["pose"]
    back = camera.joints[0, 1] @ pose[:3, :3].T + pose[:3, 3]
    np.testing.assert_allclose(back, world.joints[0, 1], atol=1e-6)
    np.testing.assert_allclose(camera.camera["pose"], np.eye(4))


def test_splits_by_list_and_by_person(root: Path) -> None:
    assert {name: r.split for name, r in read(root).items()} == {
        FIRST: "train", "Subject_2/open_juice_bottle/1": "test", "Subject_3/pour_milk/2": "test",
    }  # fmt: skip
    assert read(root, split="cross_subject")["Subject_3/pour_milk/2"].split == "train"


def test_sequences_that_the_authors_leave_out_are_left_out(root: Path) -> None:
    assert (root / "Hand_pose_annotation_v1/Subject_2/close_milk/4/skeleton.txt").is_file()
    assert "Subject_2/close_milk/4" not in read(root, split="cross_subject")


def test_action_words(root: Path) -> None:
    (segment,) = read(root)[FIRST].segments
    assert (segment.label, segment.verb, segment.noun) == ("open juice bottle", "open", "juice bottle")
    assert segment.end == pytest.approx(40 / 30)


def test_object_matrices_are_written_by_columns_in_millimetres(root: Path) -> None:
    frame, matrix = read(root)[WITH_OBJECT].provenance["object_pose"][1]
    assert frame == 1
    np.testing.assert_allclose(np.array(matrix)[:3, 3], [0.01, 0.02, 0.3])
    np.testing.assert_allclose(np.array(matrix)[:2, :2], [[0, -1], [1, 0]])


def test_subject_info_has_three_header_lines(root: Path) -> None:
    assert read_subject_info(root / "Subjects_info/Subject_1_info.txt") == {("open_juice_bottle", 1): 40}


def test_a_missing_frame_is_not_valid(root: Path) -> None:
    file = root / "Hand_pose_annotation_v1" / FIRST / "skeleton.txt"
    lines = file.read_text().splitlines()
    file.write_text("\n".join(lines[:5] + lines[7:]) + "\n")
    recording = read(root)[FIRST]
    assert np.flatnonzero(~recording.valid[:, 1]).tolist() == [5, 6]
    assert recording.provenance["missing_frames"] == 2


def shorten(root: Path) -> None:
    file = root / "Hand_pose_annotation_v1" / FIRST / "skeleton.txt"
    file.write_text(file.read_text()[:-40])


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda root: shutil.rmtree(root / "Hand_pose_annotation_v1"), "no hand poses"),
        (shorten, "line 40: found .* numbers, expected 64"),
        (lambda root: (root / "Hand_pose_annotation_v1" / FIRST / "skeleton.txt").write_text(""), "is empty"),
        (lambda root: (root / "data_split_action_recognition.txt").write_text("a/b/1 3\n"), "begins with 'Training'"),
        (lambda root: [f.unlink() for f in root.rglob("skeleton.txt")], "holds no Subject_1/ACTION/1/skeleton.txt"),
    ],
)
def test_what_is_missing_or_damaged_is_named(root: Path, damage: object, says: str) -> None:
    damage(root)  # type: ignore[operator]
    with pytest.raises(InputError, match=says):
        read(root)


def test_without_the_split_file_there_is_a_warning_and_no_split(root: Path) -> None:
    (root / "data_split_action_recognition.txt").unlink()
    with pytest.warns(UserWarning, match="no split"):
        assert read(root)[FIRST].split is None

"""AssemblyHands: right hand first, every second frame, versions, cameras and boxes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from palmist.errors import InputError
from palmist.readers.assembly101_example import write_assembly101_example
from palmist.readers.assemblyhands import read_assemblyhands, read_boxes
from palmist.readers.assemblyhands_example import CAMERA, RUNS, UNSEEN, write_assemblyhands_example
from palmist.readers.example_motion import example_hands


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_assemblyhands_example(tmp_path_factory.mktemp("assemblyhands") / "set")


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "set"))


def joint_file(root: Path, split: str) -> Path:
    return root / "annotations" / split / f"assemblyhands_{split}_joint_3d_v1-1.json"


def test_the_right_hand_comes_first_in_the_file_and_the_left_in_a_recording(root: Path) -> None:
    recording = next(read_assemblyhands(root))
    _, sequence, first, count = RUNS[0]
    expected = example_hands(first + 2 * count, 60.0)[first::2][:count]
    np.testing.assert_allclose(recording.joints[:3], expected[:3], atol=1e-6)
    raw = json.loads(joint_file(root, "train").read_text())["annotations"][sequence][f"{first:06d}"]["world_coord"]
    np.testing.assert_allclose(recording.joints[0, 1, 0], np.array(raw[20]) / 1000, atol=1e-6)  # wrist of the right hand
    np.testing.assert_allclose(recording.joints[0, 0, 8], np.array(raw[21 + 4]) / 1000, atol=1e-6)  # left index tip


def test_frames_are_every_second_of_60_hz_from_an_odd_or_even_number(root: Path) -> None:
    train, val, test = read_assemblyhands(root)
    assert [recording.time[0] * 60 for recording in (train, val, test)] == pytest.approx([9, 4, 7])
    assert np.diff(train.time) == pytest.approx(1 / 30)
    assert [recording.split for recording in (train, val, test)] == ["train", "val", "test"]


def test_a_joint_that_is_not_annotated_is_not_known(root: Path) -> None:
    recording = next(read_assemblyhands(root))
    row, joint = UNSEEN  # joint 24 of the file: the fourth of the left index, its knuckle
    assert joint == 24
    unknown = np.argwhere(~recording.known).tolist()
    assert unknown == [[row, 0, 1]]


def test_frames_left_out_in_the_middle_are_not_valid(root: Path) -> None:
    file = joint_file(root, "train")
    data = json.loads(file.read_text())
    frames = data["annotations"][RUNS[0][1]]
    del frames[f"{RUNS[0][2] + 10:06d}"]
    file.write_text(json.dumps(data))
    recording = next(read_assemblyhands(root))
    assert np.flatnonzero(~recording.valid.any(1)).tolist() == [5]
    assert recording.provenance["missing_frames"] == 1


def test_a_camera_is_given_as_camera_to_world_in_metres(root: Path) -> None:
    recording = next(read_assemblyhands(root, camera=CAMERA))
    assert recording.camera is not None
    pose = recording.camera["pose"][0]
    # x_camera = R x_world + t with R = diag(1, -1, -1) and t = (0, 0.2, 0.6): the camera stands at -R^T t.
    np.testing.assert_allclose(pose[:3, 3], [0.0, 0.2, 0.6])
    np.testing.assert_allclose(pose[:3, :3], np.diag([1.0, -1.0, -1.0]))
    assert recording.camera["intrinsics"][2:] == (318.5, 241.5)


def test_boxes_hold_the_projected_hand_and_leave_out_what_is_not_in_view(root: Path) -> None:
    boxes = read_boxes(root, "train")[(RUNS[0][1], CAMERA)]
    first = RUNS[0][2]
    assert set(boxes[first]) == {"right"}
    recording = next(read_assemblyhands(root, camera=CAMERA))
    camera = recording.joints[1, 0] @ np.diag([1.0, -1.0, -1.0]) + [0.0, 0.2, 0.6]
    pixels = 320.0 * camera[:, :2] / camera[:, 2:] + [318.5, 241.5]
    np.testing.assert_allclose(boxes[first + 2]["left"][:2], pixels.min(0), atol=0.02)


def test_actions_come_from_assembly101_by_name_and_time(root: Path, tmp_path: Path) -> None:
    labels = write_assembly101_example(tmp_path / "labels")
    train = next(read_assemblyhands(root, labels=labels))
    assert [segment.label for segment in train.segments] == ["pick up wheel", "screw chassis", "put down wheel"]
    short = list(read_assemblyhands(root, labels=labels))[2]
    assert short.segments == ()  # the test files have no labels


def other_version(root: Path) -> None:
    file = joint_file(root, "train")
    file.rename(file.with_name(file.name.replace("v1-1", "v1-0")))


def both_parities(root: Path) -> None:
    file = joint_file(root, "train")
    file.write_text(file.read_text().replace(f'"{RUNS[0][2] + 2:06d}"', f'"{RUNS[0][2] + 3:06d}"'))


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda root: shutil.rmtree(root / "annotations"), "no annotations; expected annotations"),
        (lambda root: [shutil.rmtree(root / "annotations" / s) for s in ("train", "val", "test")], "none of the folders"),
        (other_version, "found assemblyhands_train_joint_3d_v1-0.json; expected version v1-1"),
        (both_parities, "both parities"),
        (lambda root: joint_file(root, "train").write_text('{"annotations": {"a'), "not whole JSON"),
        (lambda root: joint_file(root, "train").write_text('{"images": []}'), "found images, expected 'annotations'"),
    ],
)
def test_what_is_missing_or_damaged_is_named(root: Path, damage: object, says: str) -> None:
    damage(root)  # type: ignore[operator]
    with pytest.raises(InputError, match=says):
        list(read_assemblyhands(root))


def test_a_split_that_was_not_downloaded_is_left_out_with_a_warning(root: Path) -> None:
    shutil.rmtree(root / "annotations" / "test")
    with pytest.warns(UserWarning, match="test not found"):
        assert len(list(read_assemblyhands(root))) == 2

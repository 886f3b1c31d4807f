"""H2O beyond the round trip: five cameras, numbers passed through, end frames, downloads that stopped half-way."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from palmist.cli import app
from palmist.errors import InputError
from palmist.readers.h2o import read_h2o, read_split
from palmist.readers.h2o_example import FRAMES, write_h2o_example

TRAIN = ("train",)
CAM4 = "subject1/h1/0/cam4"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_h2o_example(tmp_path_factory.mktemp("h2o") / "set")


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Path:
    """A copy to damage: the labels, and the head camera of subject 1 with everything in it."""
    target = tmp_path / "set"
    shutil.copytree(made / "action_labels", target / "action_labels")
    shutil.copytree(made / CAM4, target / CAM4)
    lines = (target / "action_labels/action_train.txt").read_text().splitlines()
    kept = [line for line in lines if "subject2" not in line]
    (target / "action_labels/action_train.txt").write_text("\n".join(kept) + "\n")
    return target


@pytest.mark.parametrize("camera", [0, 1, 2, 3])
def test_each_fixed_camera_stands_still_and_sees_the_world_of_the_head_camera(made: Path, camera: int) -> None:
    fixed, head = next(read_h2o(made, TRAIN, camera=camera)), next(read_h2o(made, TRAIN))
    np.testing.assert_allclose(fixed.joints, head.joints, atol=1e-5)
    assert (fixed.name, fixed.provenance["camera"]) == (f"h2o/subject1/h1/0/cam{camera}", camera)
    assert np.ptp(fixed.camera["pose"], axis=0).max() == 0
    assert np.ptp(head.camera["pose"], axis=0).max() > 0.01


def test_no_two_cameras_share_a_pose(made: Path) -> None:
    poses = [next(read_h2o(made, TRAIN, camera=camera)).camera["pose"][0] for camera in range(5)]
    gaps = [np.abs(a - b).max() for i, a in enumerate(poses) for b in poses[:i]]
    assert min(gaps) > 1e-3


def test_cam_pose_is_camera_to_world_row_by_row(root: Path) -> None:
    """A quarter turn about z and a shift, by hand: (x, y, z) -> (-y + 1, x + 2, z + 3)."""
    (root / CAM4 / "cam_pose/000005.txt").write_text("0 -1 0 1  1 0 0 2  0 0 1 3  0 0 0 1\n")
    numbers = np.array((root / CAM4 / "hand_pose/000005.txt").read_text().split(), float)
    x, y, z = numbers[65:68]  # right wrist: after 64 numbers of the left hand and the right hand's flag
    joints = next(read_h2o(root, TRAIN)).joints
    np.testing.assert_allclose(joints[5, 1, 0], [1 - y, 2 + x, 3 + z], atol=1e-6)


def test_mano_numbers_are_those_of_the_file_62_a_hand(root: Path) -> None:
    mano = next(read_h2o(root, TRAIN, mano=True)).provenance["mano"]
    assert len(mano) == FRAMES
    assert (len(mano["7"]), mano["7"][0], mano["7"][62]) == (124, 1.0, 1.0)  # the two flags
    assert mano["7"][1] == pytest.approx(1.007)
    assert mano["7"][61] == pytest.approx(61.007)
    assert mano["7"][63] == pytest.approx(101.007)


def test_object_points_and_matrix_are_both_kept(root: Path) -> None:
    recording = next(read_h2o(root, TRAIN, object_poses=True))
    points, matrix = recording.provenance["object_pose"]["3"], recording.provenance["object_pose_RT"]["3"]
    assert (len(points), len(matrix), points[0], matrix[0]) == (64, 17, 5.0, 5.0)  # class 5 is milk
    assert recording.objects[3] == "milk"
    assert [matrix[4], matrix[8], matrix[12]] == pytest.approx(points[1:4], abs=1e-7)  # translation = the centre
    shutil.rmtree(root / CAM4 / "obj_pose")
    only = next(read_h2o(root, TRAIN, object_poses=True))
    assert "object_pose" not in only.provenance
    assert only.objects[3] == "milk"  # the class comes from the other folder
    shutil.rmtree(root / CAM4 / "obj_pose_RT")
    assert next(read_h2o(root, TRAIN)).objects is None
    with pytest.raises(InputError, match="neither obj_pose nor obj_pose_RT"):
        next(read_h2o(root, TRAIN, object_poses=True))


def test_a_split_file_with_and_without_the_label_column(tmp_path: Path) -> None:
    file = tmp_path / "action_test.txt"
    header = "id path start_act end_act start_frame end_frame\n"
    file.write_text(header + "1 subject4/h2/2 5 30 0 47\n2 subject4/h2/2 30 40 0 47 34\n")
    without, with_label = read_split(file)
    assert (without.start, without.end, without.action) == (5, 30, None)
    assert (with_label.start, with_label.end, with_label.action) == (30, 40, 34)
    file.write_text(header + "1 subject4/h2/2 5 30 0 47 37\n")
    with pytest.raises(InputError, match="line 2: action label 37; expected 0 to 36"):
        read_split(file)


@pytest.mark.parametrize(("inclusive", "stop"), [(False, 44), (True, 45)])
def test_the_end_frame_belongs_to_the_segment_only_if_asked(root: Path, inclusive: bool, stop: int) -> None:
    recording = next(read_h2o(root, TRAIN, end_inclusive=inclusive))
    assert recording.frames_of(recording.segments[1]) == slice(22, stop)


def cut(root: Path, first: int) -> None:
    for file in (root / CAM4).rglob("[0-9]*.txt"):
        if int(file.stem) >= first:
            file.unlink()


def test_a_sequence_may_end_with_its_last_segment_but_not_before(root: Path) -> None:
    cut(root, 44)  # the last segment is 22 to 44, its last frame 43
    assert len(next(read_h2o(root, TRAIN))) == 44
    cut(root, 43)
    with pytest.raises(InputError, match="holds frames up to 42, but the split file names a segment up to frame 44"):
        next(read_h2o(root, TRAIN))


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("camera=5", "camera is 5; expected 0 to 3"),
        ("camera=-1", "camera is -1; expected 0 to 3"),
        ("splits=train,dev", "splits names dev; expected some of train, val, test"),
        ("frame=image", "frame is 'image'; expected 'world' or 'camera'"),
    ],
)
def test_options_out_of_range_say_what_there_is(root: Path, tmp_path: Path, option: str, says: str) -> None:
    words = ["prepare", "h2o", "--root", str(root), "--out", str(tmp_path / "store"), "--option", option]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 2
    assert says in " ".join(result.output.split())


def test_a_camera_that_was_not_downloaded_is_named(root: Path) -> None:
    with pytest.raises(InputError, match=r"cam2/hand_pose is missing or empty; expected one file per frame"):
        next(read_h2o(root, TRAIN, camera=2))


def test_a_missing_mano_folder_is_named_only_when_it_is_asked_for(root: Path) -> None:
    shutil.rmtree(root / CAM4 / "hand_pose_MANO")
    assert next(read_h2o(root, TRAIN)).known.all()
    with pytest.raises(InputError, match="hand_pose_MANO is missing or empty"):
        next(read_h2o(root, TRAIN, mano=True))

"""FPHA: joint order, units, camera, split file, sequences to leave out, object poses."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from palmist.cli import app
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


POSES = "Hand_pose_annotation_v1"


def change_lines(file: Path, change: object) -> None:
    file.write_text("\n".join(change(file.read_text().splitlines())) + "\n")  # type: ignore[operator]


def test_one_line_by_hand(root: Path) -> None:
    """Source joint i at (i, 10 i, 300) mm: thumb tip is source 8, little finger's base source 5."""
    points = " ".join(f"{i} {10 * i} 300" for i in range(21))
    change_lines(root / POSES / FIRST / "skeleton.txt", lambda lines: ["0000 " + points, *lines[1:]])
    hand = read(root)[FIRST].joints[0, 1]
    np.testing.assert_allclose(hand[4], [0.008, 0.080, 0.3], atol=1e-7)
    np.testing.assert_allclose(hand[17], [0.005, 0.050, 0.3], atol=1e-7)
    np.testing.assert_allclose(hand[12], [0.014, 0.140, 0.3], atol=1e-7)


def test_a_world_point_in_the_camera_by_hand(root: Path) -> None:
    """World (0, 0, 1000) mm: third column of R times 1000 plus t = (26.68256, -1.51846, 1003.89777) mm."""
    file = root / POSES / FIRST / "skeleton.txt"

    def put(lines: list[str]) -> list[str]:
        words = lines[0].split()
        words[1:4] = ["0", "0", "1000"]
        return [" ".join(words), *lines[1:]]

    change_lines(file, put)
    wrist = read(root, frame="camera")[FIRST].joints[0, 1, 0]
    np.testing.assert_allclose(wrist, [0.02668256, -0.00151846, 1.00389777], atol=1e-6)


def test_the_newer_folder_name_is_read_too(root: Path) -> None:
    (root / POSES).rename(root / f"{POSES}_1")
    assert set(read(root)) == {FIRST, "Subject_2/open_juice_bottle/1", "Subject_3/pour_milk/2"}


@pytest.mark.filterwarnings("ignore:.*fewer frames")
def test_lines_out_of_order_are_sorted_and_the_first_frame_is_time_zero(root: Path) -> None:
    before = read(root)[FIRST]
    change_lines(root / POSES / FIRST / "skeleton.txt", lambda lines: list(reversed(lines[10:])))
    after = read(root)[FIRST]
    np.testing.assert_array_equal(after.joints, before.joints[10:])
    assert after.time[0] == 0.0


def test_a_hand_of_zeros_is_not_valid(root: Path) -> None:
    change_lines(root / POSES / FIRST / "skeleton.txt", lambda lines: ["0000 " + "0 " * 63, *lines[1:]])
    assert read(root)[FIRST].valid[:2, 1].tolist() == [False, True]


def test_listed_sequences_without_poses_are_counted_in_a_warning(root: Path) -> None:
    shutil.rmtree(root / POSES / "Subject_3")
    with pytest.warns(UserWarning, match=r"1 listed sequences have no poses, such as Subject_3/pour_milk/2"):
        assert len(read(root)) == 2


def test_fewer_frames_than_the_subjects_info_names_are_counted_in_a_warning(root: Path) -> None:
    change_lines(root / POSES / FIRST / "skeleton.txt", lambda lines: lines[:39])
    with pytest.warns(UserWarning, match=f"1 sequences have fewer frames than Subjects_info says, such as {FIRST}"):
        read(root)


def test_label_of_the_split_file_is_kept_and_its_headings_may_carry_counts(root: Path) -> None:
    file = root / "data_split_action_recognition.txt"
    change_lines(file, lambda lines: [line.replace("Test ", "Testing ") for line in lines])
    recordings = read(root)
    assert {name: r.provenance["label"] for name, r in recordings.items()} == {
        FIRST: 21, "Subject_2/open_juice_bottle/1": 21, "Subject_3/pour_milk/2": 27,
    }  # fmt: skip
    assert recordings["Subject_3/pour_milk/2"].split == "test"


def repeat(root: Path) -> None:
    change_lines(root / POSES / FIRST / "skeleton.txt", lambda lines: [*lines, lines[6]])


def metres(root: Path) -> None:
    def scale(lines: list[str]) -> list[str]:
        return [" ".join([w[0], *(f"{float(x) / 1000:.7f}" for x in w[1:])]) for w in map(str.split, lines)]

    change_lines(root / POSES / FIRST / "skeleton.txt", scale)


def halve_frame_number(root: Path) -> None:
    change_lines(root / POSES / FIRST / "skeleton.txt", lambda lines: ["0.5" + lines[0][4:], *lines[1:]])


def cut_objects(root: Path) -> None:
    file = root / "Object_6D_pose_annotation_v1" / WITH_OBJECT / "object_pose.txt"
    file.write_text(file.read_text()[:-12])


def drop_test_block(root: Path) -> None:
    change_lines(root / "data_split_action_recognition.txt", lambda lines: lines[: [x[:4] for x in lines].index("Test")])


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (repeat, "frame 6 stands there twice; expected each frame once"),
        (metres, "from the wrist, expected about 90 millimetres; multiply metres by 1000"),
        (halve_frame_number, "frame number 0.5; expected a whole number"),
        (cut_objects, "object_pose.txt, line 3: found .* numbers, expected 17"),
        (drop_test_block, "expected some under 'Training' and some under 'Test'"),
    ],
)
def test_damage_ends_the_command_with_code_2_and_one_sentence(root: Path, tmp_path: Path, damage: object, says: str) -> None:
    damage(root)  # type: ignore[operator]
    with pytest.raises(InputError, match=says):
        read(root)
    result = CliRunner().invoke(app, ["prepare", "fpha", "--root", str(root), "--out", str(tmp_path / "store")])
    assert result.exit_code == 2
    assert "Traceback" not in result.output


@pytest.mark.parametrize("options", [{"split": "val"}, {"frame": "image"}])
def test_options_that_do_not_exist_are_refused(root: Path, options: dict[str, str]) -> None:
    with pytest.raises(InputError, match="expected '"):
        read(root, **options)

"""Every reader: the open sets as they lie in data/, and H2O through a made-up set in its exact layout."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from palmist.errors import InputError
from palmist.readers import OPEN_SETS, READERS, data_root, open_data, reader
from palmist.readers.h2o import ACTIONS, read_h2o
from palmist.readers.h2o_example import FRAMES, write_h2o_example
from palmist.recording import Recording
from palmist.recording_file import read_recording, write_recording
from palmist.store import write_store

COUNTS = {"asl_words": 3868, "asl_letters": 3121, "reach_to_grasp": 715, "leap_recordings": 14}


@pytest.mark.parametrize("name", OPEN_SETS)
def test_open_sets_are_complete_with_unique_names(name):
    recordings = open_data(name)
    assert len(recordings) == COUNTS[name]
    assert len({r.name for r in recordings}) == len(recordings)
    assert all(r.name.startswith(f"{name}/") for r in recordings)
    assert all((r.joints[~r.present] == 0).all() for r in recordings)


@pytest.mark.parametrize("name", OPEN_SETS)
def test_open_sets_carry_a_licence_beside_the_data(name):
    folder = data_root() / str(READERS[name].folder)
    assert any(file.name.startswith("LICENSE") and file.stat().st_size > 500 for file in folder.iterdir())
    assert READERS[name].licence in (data_root() / "README.md").read_text()


def test_asl_words_against_the_file():
    recordings = open_data("asl_words")
    raw = np.load(data_root() / "asl_words" / "asl_words.npz", allow_pickle=False)
    left, right, pose = raw["left"], raw["right"], raw["pose"]
    for i in (0, 137, 2400, 3867):
        r = recordings[i]
        np.testing.assert_allclose(r.joints[:, 0], left[i] / 8000, atol=1e-6)
        np.testing.assert_allclose(r.joints[:, 1], right[i] / 8000, atol=1e-6)
        np.testing.assert_array_equal(r.valid, np.stack([raw["left_ok"][i], raw["right_ok"][i]], 1))
        visible = raw["pose_visibility"][i] >= 128
        np.testing.assert_array_equal(r.body.valid, visible)
        np.testing.assert_allclose(r.body.joints[visible], (pose[i] / 8000)[visible], atol=1e-6)
    assert Counter(r.subject for r in recordings) == {"S1": 2400, "S2": 1408, "S3": 60}
    labels = Counter(r.segments[0].label for r in recordings)
    assert len(labels) == 16
    assert labels["idle"] == 390
    assert labels["coffee"] == 300
    first = recordings[0]
    assert (first.space, first.aspect_assumed, first.provenance["source_class"]) == ("image", True, "-")
    assert first.rate == pytest.approx(20.0)
    assert first.segments[0].end == pytest.approx(1.0)


def test_asl_letters_labels_do_not_collide_with_words():
    letters = {r.segments[0].label for r in open_data("asl_letters")}
    words = {r.segments[0].label for r in open_data("asl_words")}
    assert len(letters) == 28
    assert {"letter a", "no sign", "letter space"} <= letters
    assert not letters & words


def test_reach_to_grasp_against_the_file():
    recordings = open_data("reach_to_grasp")
    raw = np.load(data_root() / "reach_to_grasp" / "reach_to_grasp.npz", allow_pickle=False)
    i = 334
    start, stop = raw["offsets"][i : i + 2]
    broken = recordings[i]
    assert len(broken) == stop - start - 1  # the last time stamp of this one is broken
    assert "clock jumps" in broken.provenance["dropped_frames"]
    assert sum("dropped_frames" in r.provenance for r in recordings) == 1
    r = recordings[5]
    start, stop = raw["offsets"][5:7]
    xy, conf = raw["xy"][start:stop] / 16, raw["conf"][start:stop]
    known = r.known
    for hand, first in enumerate((8, 29)):
        found = conf[:, first : first + 21] > 0
        palm = found[:, [0, 5, 9, 13, 17]].sum(1)
        np.testing.assert_array_equal(r.valid[:, hand], found[:, 0] & (palm >= 3))
        np.testing.assert_array_equal(known[:, hand], found & r.valid[:, hand, None])
        np.testing.assert_allclose(r.joints[:, hand][known[:, hand]][:, :2], xy[:, first : first + 21][known[:, hand]])
    assert not r.joints[..., 2].any()
    assert Counter(r.segments[0].label for r in recordings).keys() == {"grasp small", "grasp medium", "grasp large"}
    assert Counter(r.subject for r in recordings).keys() == {f"P{i}" for i in range(1, 9)}
    for r in recordings:
        begin, end = r.provenance["reach_phase"]
        assert r.time[0] <= begin < end <= r.time[-1]


def test_reach_to_grasp_joint_at_zero_is_not_found_whatever_its_confidence(tmp_path):
    raw = np.load(data_root() / "reach_to_grasp" / "reach_to_grasp.npz", allow_pickle=False)
    one = {key: raw[key][:1] for key in ("subject", "label", "trial", "rtg_onset_end")}
    one |= {key: raw[key][:100].copy() for key in ("xy", "conf", "time")}
    one |= {key: raw[key] for key in ("classes", "joint_names", "scale", "conf_scale")}
    one["xy"][7, 29 + 8] = 0
    one["conf"][7] = 50
    np.savez(tmp_path / "reach_to_grasp.npz", offsets=np.array([0, 100]), **one)
    (recording,) = READERS["reach_to_grasp"].read(tmp_path)
    assert not recording.known[7, 1, 8]
    assert recording.known[7, 1, 7]


def test_reach_to_grasp_left_body_is_left_hand():
    """The tracker's left wrist of the body and the left hand's wrist are the same place; likewise right."""
    from palmist.skeleton import BODY_SIDES

    near = {True: [], False: []}
    for r in open_data("reach_to_grasp")[::40]:
        for side, joint in enumerate(BODY_SIDES[r.body.layout].wrist):
            for other in (0, 1):
                both = r.body.valid[:, joint] & r.known[:, other, 0]
                gap = np.linalg.norm(r.body.joints[:, joint] - r.joints[:, other, 0], axis=-1)[both]
                near[side == other].append(np.median(gap))
    assert np.median(near[True]) < 8
    assert np.median(near[False]) > 30


def test_leap_recordings_are_metres_with_a_palm_centre():
    recordings = {r.name: r for r in open_data("leap_recordings")}
    grab = recordings["leap_recordings/grab"]
    assert (grab.space, grab.frame, grab.root) == ("metric", "device", "palm_centre")
    bone = np.linalg.norm(np.diff(grab.joints[:, 1, 5:9], axis=1), axis=-1)
    assert 0.01 < bone.min() < bone.max() < 0.06
    assert bone.std(0).max() < 1e-5  # the hand model is rigid
    assert sum(len(r) for r in recordings.values()) == 6452
    assert 1.0 / np.diff(grab.time).max() < 40 < grab.rate  # irregular on purpose


def test_open_data_is_read_once_and_returns_a_fresh_list():
    first = open_data("leap_recordings")
    first.clear()
    again = open_data("leap_recordings")
    assert len(again) == 14
    assert again[0] is open_data("leap_recordings")[0]


def test_unknown_gated_or_misplaced_data_say_what_to_do(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="unknown data set 'mnist'; expected one of asl_words"):
        reader("mnist")
    with pytest.raises(InputError, match="palmist prepare h2o --root"):
        open_data("h2o")
    monkeypatch.setenv("PALMIST_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match="PALMIST_DATA"):
        open_data("asl_words")
    monkeypatch.setenv("PALMIST_DATA", str(tmp_path))
    with pytest.raises(InputError, match=r"asl_words\.npz does not exist"):
        open_data("asl_words")


def assert_same_motion(found: Recording, expected: Recording) -> None:
    np.testing.assert_array_equal(found.joints, expected.joints)
    np.testing.assert_array_equal(found.known, expected.known)
    np.testing.assert_array_equal(found.time, expected.time)
    for name in ("segments", "provenance", "subject", "session", "name", "space", "frame", "root", "aspect", "objects"):
        assert getattr(found, name) == getattr(expected, name), name
    if expected.body is not None:
        np.testing.assert_array_equal(found.body.joints, expected.body.joints)


@pytest.mark.parametrize("name", OPEN_SETS)
def test_every_open_set_survives_the_store_and_the_file(name, tmp_path):
    recordings = open_data(name)[:: max(1, COUNTS[name] // 12)]
    store = write_store(tmp_path / "s", recordings)
    for found, expected in zip(store, recordings, strict=True):
        assert_same_motion(found, expected)
    assert_same_motion(read_recording(write_recording(tmp_path / "one", recordings[-1])), recordings[-1])


# --------------------------------------------------------------------------------------------------------------------
# H2O


@pytest.fixture(scope="module")
def h2o(tmp_path_factory) -> Path:
    return write_h2o_example(tmp_path_factory.mktemp("h2o") / "root")


def copy_of(h2o: Path, tmp_path: Path, subject: str) -> Path:
    """A copy to damage, with one subject and only what the reader opens: thousands of small files are slow to copy."""
    root = tmp_path / "r"
    root.mkdir()
    shutil.copytree(h2o / "action_labels", root / "action_labels")
    unread = shutil.ignore_patterns("cam[0-3]", "hand_pose_MANO", "obj_pose_RT", "verb_label")
    shutil.copytree(h2o / subject, root / subject, ignore=unread)
    return root


def test_h2o_action_table():
    assert len(ACTIONS) == 36
    numbered = {i + 1: action for i, action in enumerate(ACTIONS)}
    assert numbered[1] == ("grab", "book")
    assert numbered[16] == ("place", "cappuccino")
    assert numbered[19] == ("open", "chips")
    assert numbered[23] == ("pour", "milk")
    assert numbered[27] == ("take out", "cappuccino")
    assert numbered[30] == ("put in", "cappuccino")
    assert numbered[34] == ("read", "espresso")
    assert numbered[36] == ("squeeze", "lotion")


def test_h2o_sequences_segments_and_splits(h2o):
    recordings = list(READERS["h2o"].read(h2o))
    assert [(r.name, r.split, r.subject) for r in recordings] == [
        ("h2o/subject1/h1/0", "train", "subject1"),
        ("h2o/subject2/k1/1", "train", "subject2"),
        ("h2o/subject3/o1/0", "val", "subject3"),
        ("h2o/subject4/h2/2", "test", "subject4"),
    ]
    first, test = recordings[0], recordings[-1]
    assert [(s.label, s.verb, s.noun) for s in first.segments] == [
        ("grab milk", "grab", "milk"),
        ("place milk", "place", "milk"),
    ]
    assert first.frames_of(first.segments[0]) == slice(2, 20)  # end exclusive
    assert (len(first), first.rate, first.frame) == (FRAMES, pytest.approx(30.0), "world")
    assert first.objects[5] == "milk"
    assert first.camera["intrinsics"] == (636.66, 636.25, 635.28, 366.87)
    assert test.segments == ()
    assert test.provenance["unlabelled_segments"] == [[5 / 30, 30 / 30]]
    assert first.known.all()


def test_h2o_all_cameras_see_the_same_world(h2o):
    """The check of the set's authors: world hands agree within 1e-5 m; and camera frames do not."""
    for head, fixed in zip(read_h2o(h2o), read_h2o(h2o, camera=0), strict=True):
        np.testing.assert_allclose(head.joints, fixed.joints, atol=1e-5)
    head, fixed = next(read_h2o(h2o, frame="camera")), next(read_h2o(h2o, camera=0, frame="camera"))
    assert np.abs(head.joints - fixed.joints).max() > 1e-2
    world = np.einsum("tij,thkj->thki", head.camera["pose"][:, :3, :3], head.joints) + head.camera["pose"][:, None, None, :3, 3]
    np.testing.assert_allclose(world, next(read_h2o(h2o)).joints, atol=1e-5)


def test_h2o_inclusive_end(h2o):
    first = next(read_h2o(h2o, end_inclusive=True))
    assert first.frames_of(first.segments[0]) == slice(2, 21)


def test_h2o_test_labels_in_the_last_column(tmp_path):
    root = write_h2o_example(tmp_path / "r", test_labels=True)
    (test,) = read_h2o(root, splits=("test",))
    assert [s.label for s in test.segments] == ["read book"]


def test_h2o_test_labels_from_frame_files(h2o, tmp_path):
    root = copy_of(h2o, tmp_path, "subject4")
    folder = root / "subject4/h2/2/cam4/action_label"
    folder.mkdir()
    for t in range(FRAMES):
        (folder / f"{t:06d}.txt").write_text("34\n" if 5 <= t < 30 else "0\n")
    (test,) = read_h2o(root, splits=("test",))
    assert [s.label for s in test.segments] == ["read espresso"]


def test_h2o_missing_frames_and_unflagged_hands_are_unknown(h2o, tmp_path):
    root = copy_of(h2o, tmp_path, "subject1")
    camera = root / "subject1/h1/0/cam4"
    (camera / "hand_pose/000007.txt").unlink()
    (camera / "cam_pose/000009.txt").unlink()
    file = camera / "hand_pose/000003.txt"
    numbers = file.read_text().split()
    numbers[64] = "0"  # right hand not annotated
    file.write_text(" ".join(numbers))
    recording = next(read_h2o(root))
    assert len(recording) == FRAMES
    expected = np.ones((FRAMES, 2), bool)
    expected[[7, 9]] = False
    expected[3, 1] = False
    np.testing.assert_array_equal(recording.valid, expected)
    assert recording.provenance["missing_frames"] == 2
    assert next(read_h2o(root, frame="camera")).valid[9].all()


def test_h2o_subject_folders_may_have_a_suffix_and_may_be_missing(h2o, tmp_path):
    root = copy_of(h2o, tmp_path, "subject1")
    (root / "subject1").rename(root / "subject1_pose_v1_1")
    with pytest.warns(UserWarning, match="subject2 not found"):
        names = [r.name for r in read_h2o(root, splits=("train",))]
    assert names == ["h2o/subject1/h1/0"]


def break_labels(root: Path) -> None:
    shutil.rmtree(root / "action_labels")


def break_split(root: Path) -> None:
    (root / "action_labels/action_val.txt").unlink()


def break_row(root: Path) -> None:
    file = root / "action_labels/action_train.txt"
    file.write_text(file.read_text().replace("subject1/h1/0 5 2", "subject1/h1/0 2"))


def break_subjects(root: Path) -> None:
    for subject in root.glob("subject*"):
        shutil.rmtree(subject)


def break_hands(root: Path) -> None:
    shutil.rmtree(root / "subject1/h1/0/cam4/hand_pose")


def break_poses(root: Path) -> None:
    shutil.rmtree(root / "subject1/h1/0/cam4/cam_pose")


def break_numbers(root: Path) -> None:
    (root / "subject1/h1/0/cam4/hand_pose/000004.txt").write_text("1 0.5 0.25")


def break_text(root: Path) -> None:
    (root / "subject1/h1/0/cam4/hand_pose/000004.txt").write_text("one two")


@pytest.mark.filterwarnings("ignore:.*left out")
@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (break_labels, r"no action_labels/action_train\.txt.*unpack label_split\.zip"),
        (break_split, r"action_val\.txt does not exist"),
        (break_row, "line 2: found 6 columns, expected 7"),
        (break_subjects, r"holds none of subject1.*subject1/h1/0/cam4/hand_pose/000000\.txt"),
        (break_hands, "hand_pose is missing or empty; expected one file per frame"),
        (break_poses, "cam_pose is missing or empty"),
        (break_numbers, r"000004\.txt holds 3 numbers; expected 128"),
        (break_text, "not a number"),
    ],
)
def test_h2o_says_what_is_missing(h2o, tmp_path, damage, sentence):
    root = copy_of(h2o, tmp_path, "subject1")
    damage(root)
    with pytest.raises(InputError, match=sentence):
        list(read_h2o(root))
    with pytest.raises(InputError, match="not a folder"):
        list(read_h2o(tmp_path / "nowhere"))

"""SkeletonClip: checks, the way through Recordings, stores and files, and clips of the open words."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import tiny_recording
from palmist.damage import check
from palmist.errors import InputError
from palmist.readers import open_data
from palmist.recording import ActionSegment
from palmist.skeleton_clip import SkeletonClip, clips_of, read_clip, write_clip
from palmist.store import write_store

ARRAYS = ("keypoint", "mask", "score", "hands", "hand_valid", "hand_score")


def tiny_clip(persons: int = 2, frames: int = 12, seed: int = 0, with_hands: bool = True, **changes: Any) -> SkeletonClip:
    generator = np.random.default_rng(seed)
    mask = generator.random((persons, frames, 25)) > 0.1
    fields: dict[str, Any] = {
        "keypoint": generator.normal(size=(persons, frames, 25, 3)),
        "mask": mask,
        "layout": "kinect25",
        "fps": 30.0,
        "name": f"tiny/{seed}",
        "score": np.where(mask, 0.5, 0),
        "label": "clapping",
        "label_number": 10,
        "subject": "3",
        "camera": 2,
        "setup": 1,
        "repetition": 1,
        "splits": {"xsub": "test", "xview": "train"},
        "provenance": {"tracking_ids": ["7", "9"]},
    }
    if with_hands:
        fields |= {
            "hands": generator.normal(scale=0.1, size=(persons, 2, frames, 21, 3)),
            "hand_valid": generator.random((persons, 2, frames)) > 0.3,
        }
    return SkeletonClip(**{**fields, **changes})


def assert_same(found: SkeletonClip, expected: SkeletonClip) -> None:
    for spec in dataclasses.fields(SkeletonClip):
        a, b = getattr(found, spec.name), getattr(expected, spec.name)
        if spec.name in ARRAYS and b is not None:
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b, err_msg=spec.name)
        else:
            assert a == b, spec.name


def test_unknown_joints_are_zero_and_nan_is_unknown() -> None:
    keypoint = np.ones((1, 2, 25, 3))
    keypoint[0, 1, 4, 2] = np.nan
    mask = np.ones((1, 2, 25), bool)
    mask[0, 0, 3] = False
    clip = SkeletonClip(keypoint, mask, "kinect25", fps=30)
    assert not clip.mask[0, 1, 4]
    assert clip.mask.sum() == 48
    assert not clip.keypoint[0, 0, 3].any()
    assert not clip.keypoint[0, 1, 4].any()
    with pytest.raises(ValueError, match="read-only"):
        clip.keypoint[0, 0, 0] = 1


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"layout": "kinect"}, "unknown body layout"),
        ({"keypoint": np.zeros((2, 12, 20, 3))}, r"shape \(2, 12, 20, 3\); layout 'kinect25' expects"),
        ({"keypoint": np.zeros((0, 12, 25, 3)), "mask": np.zeros((0, 12, 25), bool)}, "at least one person"),
        ({"mask": np.ones((2, 12), bool)}, "one flag per joint"),
        ({"keypoint": np.full((2, 12, 25, 3), 900.0), "mask": np.ones((2, 12, 25), bool)}, "divide millimetres by 1000"),
        ({"fps": 0}, "positive number"),
        ({"space": "camera"}, "space is 'camera'"),
        ({"camera": "2"}, "camera is '2'; expected a whole number"),
        ({"score": np.full((2, 12, 25), 2.0)}, "numbers from 0 to 1"),
        ({"hands": np.zeros((2, 12, 2, 21, 3))}, r"expected \(2, 2 hands, 12 frames, 21"),
        ({"hand_valid": None}, "hands came without hand_valid"),
        ({"hands": None}, "came without hands"),
        ({"segments": ("clap",)}, "expected ActionSegment"),
    ],
)
def test_wrong_parts_are_refused_with_a_sentence(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        tiny_clip(**changes)


@pytest.mark.parametrize("hands", [True, False])
def test_a_clip_comes_back_from_its_store(tmp_path: Path, hands: bool) -> None:
    clips = [
        tiny_clip(2, seed=1, with_hands=hands),
        tiny_clip(1, seed=2, with_hands=hands),
        tiny_clip(3, 5, seed=3, with_hands=hands),
    ]
    store = write_store(tmp_path / "s", (part for clip in clips for part in clip.to_recordings("xsub")))
    assert store.names == ["tiny/1", "tiny/1#2", "tiny/2", "tiny/3", "tiny/3#2", "tiny/3#3"]
    assert {recording.split for recording in store} == {"test"}
    assert [segment.label for segment in store[0].segments] == ["clapping"]
    for found, expected in zip(clips_of(store), clips, strict=True):
        assert_same(found, expected)


def test_one_person_may_lack_hands_that_the_other_has(tmp_path: Path) -> None:
    clip = tiny_clip(2)
    valid = clip.hand_valid.copy()
    valid[0] = False
    score = np.full((2, 2, 12, 21), 0.5)
    clip = clip.replace(hand_valid=valid, hand_score=np.where(valid[..., None], score, 0))
    (found,) = clips_of(write_store(tmp_path / "s", clip.to_recordings()))
    np.testing.assert_array_equal(found.hands, clip.hands)
    np.testing.assert_array_equal(found.hand_valid, clip.hand_valid)
    np.testing.assert_array_equal(found.hand_score, clip.hand_score)


def test_a_clip_comes_back_from_its_file(tmp_path: Path) -> None:
    flat = tiny_clip(1, with_hands=False)
    flat = flat.replace(keypoint=flat.keypoint[..., :2], space="planar", segments=(ActionSegment(0.0, 0.2, "clap"),))
    for clip in (tiny_clip(), flat):
        assert_same(read_clip(write_clip(tmp_path / "clip", clip)), clip)
    (found,) = clips_of(flat.to_recordings())
    assert_same(found, flat)


def test_files_that_are_no_clips_are_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", keypoint=np.zeros(3))
    with pytest.raises(InputError, match="is not a skeleton clip"):
        read_clip(tmp_path / "other.npz")
    path = write_clip(tmp_path / "clip", tiny_clip())
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(InputError, match="cut off or damaged"):
        read_clip(path)


def test_slices_take_segments_along() -> None:
    clip = tiny_clip(frames=30, segments=(ActionSegment(0.1, 0.4, "a"), ActionSegment(0.5, 0.9, "b")))
    part = clip.slice(6, 18)
    np.testing.assert_array_equal(part.keypoint, clip.keypoint[:, 6:18])
    np.testing.assert_array_equal(part.hands, clip.hands[:, :, 6:18])
    assert [(s.label, round(s.start, 6), round(s.end, 6)) for s in part.segments] == [("a", 0, 0.2), ("b", 0.3, 0.4)]
    with pytest.raises(InputError, match="is empty"):
        clip.slice(30)


def test_recordings_of_the_open_words_are_clips() -> None:
    recording = next(r for r in open_data("asl_words") if r.valid.any())
    clip = SkeletonClip.from_recording(recording)
    assert (clip.persons, len(clip), clip.joints, clip.layout) == (1, 20, 25, "mediapipe25")
    assert clip.hands.shape == (1, 2, 20, 21, 3)
    assert (clip.label, clip.subject, clip.space, clip.hand_space) == (recording.segments[0].label, "S2", "image", "image")
    np.testing.assert_array_equal(clip.hands[0, 1], recording.joints[:, 1])
    np.testing.assert_array_equal(clip.hand_valid[0], recording.valid.T)
    back = clip.to_recording()
    np.testing.assert_array_equal(back.joints, recording.joints)
    np.testing.assert_array_equal(back.body.joints, recording.body.joints)
    assert [r.label for r in clips_of([recording, recording])] == [clip.label] * 2


def test_interpolated_and_absent_joints_are_not_taken_for_measured() -> None:
    marks = np.zeros((24, 2), bool)
    marks[3, 0] = True
    body = tiny_clip(1, 24, with_hands=False).to_recording().body
    recording = tiny_recording(24, body=body, interpolated=marks, absent_joints=(1,))
    clip = SkeletonClip.from_recording(recording)
    assert not clip.hand_valid[0, 0, 3]
    assert clip.hand_valid.sum() == 47
    assert not clip.hand_score[..., 1].any()
    with pytest.raises(InputError, match="has no body"):
        SkeletonClip.from_recording(tiny_recording())


def test_hands_in_another_space_do_not_go_into_one_recording() -> None:
    clip = tiny_clip(hand_space="image")
    with pytest.raises(InputError, match="drop the hands"):
        clip.to_recording()
    bare = clip.replace(hands=None, hand_valid=None, hand_score=None, hand_space=None)
    assert bare.to_recording(1).body.layout == "kinect25"
    with pytest.raises(InputError, match="has no person 2"):
        bare.to_recording(2)


def test_a_body_without_hands_is_no_damage() -> None:
    report = check(tiny_clip(with_hands=False).to_recording())
    assert report.ok
    assert [finding.kind for finding in report.findings] == ["body_only"]

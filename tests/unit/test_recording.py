"""Recording: shapes, masks, read-only arrays and the sentences of its errors."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import smooth_hands, tiny_body, tiny_recording
from palmist.errors import InputError
from palmist.recording import ActionSegment, Body, Recording


def test_clean_recording_is_kept_as_it_is():
    joints = smooth_hands(24)
    recording = tiny_recording(24, joints=joints)
    np.testing.assert_array_equal(recording.joints, joints)
    assert recording.known.all()
    assert recording.rate == pytest.approx(30.0)
    assert len(recording) == 24


def test_arrays_are_read_only_and_not_shared_with_the_caller():
    joints = smooth_hands(8)
    recording = tiny_recording(8, joints=joints)
    joints[0, 0, 0, 0] = 99.0
    assert recording.joints[0, 0, 0, 0] != 99.0
    with pytest.raises(ValueError, match="read-only"):
        recording.joints[0, 0, 0, 0] = 1.0


def test_nan_joint_becomes_unknown_and_zero():
    joints = smooth_hands(8)
    joints[2, 1, 8, 1] = np.nan
    joints[3, 0, 5] = np.inf
    recording = tiny_recording(8, joints=joints)
    assert not recording.known[2, 1, 8]
    assert not recording.known[3, 0, 5]
    assert recording.known.sum() == 8 * 42 - 2
    assert recording.valid.all()
    assert (recording.joints[2, 1, 8] == 0).all()
    assert np.isfinite(recording.joints).all()


def test_hand_without_its_root_is_not_valid():
    joints = smooth_hands(8)
    joints[2, 1, 0] = np.nan
    recording = tiny_recording(8, joints=joints)
    assert not recording.valid[2, 1]
    assert (recording.joints[2, 1] == 0).all()
    confidence = np.ones((8, 2, 21))
    confidence[4, 0, 0] = 0
    assert not tiny_recording(8, confidence=confidence).valid[4, 0]


def test_invalid_hands_and_absent_joints_are_zero_and_unknown():
    valid = np.ones((8, 2), bool)
    valid[:3, 0] = False
    recording = tiny_recording(8, valid=valid, absent_joints=(1,))
    assert not recording.known[:3, 0].any()
    assert not recording.known[:, :, 1].any()
    assert not recording.joints[:3, 0].any()
    assert not recording.joints[:, :, 1].any()
    assert recording.known.sum() == (16 - 3) * 20


def test_interpolated_hands_are_present_but_never_known():
    interpolated = np.zeros((8, 2), bool)
    interpolated[5, 1] = True
    recording = tiny_recording(8, interpolated=interpolated)
    assert recording.present[5, 1].all()
    assert not recording.known[5, 1].any()
    assert recording.joints[5, 1].any()


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_nothing_unknown_has_a_value_and_nothing_known_is_changed(data):
    joints = smooth_hands(5)
    seed = data.draw(st.integers(0, 2**31))
    generator = np.random.default_rng(seed)
    broken = joints.copy()
    broken[generator.random(joints.shape) < data.draw(st.sampled_from([0.01, 0.1, 0.5]))] = np.nan
    valid = generator.random((5, 2)) < 0.8
    recording = tiny_recording(5, joints=broken, valid=valid)
    known = recording.known
    assert (recording.joints[~recording.present] == 0).all()
    np.testing.assert_array_equal(recording.joints[known], joints[known])
    # literal version of the rule
    finite = np.isfinite(broken).all(-1)
    for t in range(5):
        for hand in range(2):
            for joint in range(21):
                assert known[t, hand, joint] == (valid[t, hand] and finite[t, hand, 0] and finite[t, hand, joint])


def test_slice_shares_memory_and_keeps_overlapping_segments(full_recording):
    part = full_recording.slice(4, 12)
    assert len(part) == 8
    assert np.shares_memory(part.joints, full_recording.joints)
    np.testing.assert_array_equal(part.time, full_recording.time[4:12])
    np.testing.assert_array_equal(part.known, full_recording.known[4:12])
    np.testing.assert_array_equal(part.body.joints, full_recording.body.joints[4:12])
    np.testing.assert_array_equal(part.camera["pose"], full_recording.camera["pose"][4:12])
    assert part.objects == full_recording.objects[4:12]
    assert part.segments == full_recording.segments
    assert len(full_recording.slice(-3)) == 3
    early = tiny_recording(segments=(ActionSegment(0.0, 0.1, "wave"), ActionSegment(0.5, 0.6, "clap")))
    assert [s.label for s in early.slice(10).segments] == ["clap"]
    with pytest.raises(InputError, match=r"empty.*24 frames"):
        early.slice(30)


def test_frames_of_a_segment_end_is_exclusive():
    recording = tiny_recording(30)
    assert recording.frames_of(ActionSegment(3 / 30, 6 / 30, "x")) == slice(3, 6)


def test_replace_checks_again(recording):
    assert recording.replace(name="other").name == "other"
    with pytest.raises(InputError, match="space"):
        recording.replace(space="feet")


def test_rate_of_one_frame_is_nan():
    assert math.isnan(tiny_recording(1, segments=()).rate)


WRONG = [
    ({"joints": np.zeros((24, 2, 22, 3))}, "found 22 joints per hand, expected 21"),
    ({"joints": np.zeros((24, 21, 3))}, r"shape \(24, 21, 3\); expected \(frames, 2 hands"),
    ({"joints": np.zeros((0, 2, 21, 3))}, "0 frames"),
    ({"joints": np.full((24, 2, 21, 3), np.nan)}, "every joint is NaN"),
    ({"joints": np.full((24, 2, 21, 3), "a")}, "type <U1"),
    ({"joints": smooth_hands(24) * 1000}, "divide millimetres by 1000"),
    ({"joints": smooth_hands(24) * 1000, "space": "image"}, "divide pixels"),
    ({"valid": np.ones((23, 2), bool)}, r"expected \(24, 2\)"),
    ({"valid": np.full((24, 2), 0.5)}, "true/false"),
    ({"time": np.arange(23.0)}, r"expected \(24,\)"),
    ({"time": np.r_[np.arange(23.0), 5.0]}, "goes from 22 s to 5 s at frame 23"),
    ({"time": np.zeros(24)}, "23 such steps"),
    ({"time": np.r_[np.arange(23.0), np.nan]}, "1 of 24 times are NaN"),
    ({"confidence": np.full((24, 2, 21), 2.0)}, "from 0 to 1"),
    ({"confidence": np.ones((24, 2))}, r"expected \(24, 2, 21\)"),
    ({"interpolated": np.ones((24, 1), bool)}, "interpolated"),
    ({"root": "elbow"}, "root is 'elbow'; expected one of wrist, palm_centre"),
    ({"absent_joints": (0,)}, "from 1 to 20"),
    ({"aspect": -1.0}, "aspect"),
    ({"body": tiny_body(23)}, "body has 23 frames and the hands 24"),
    ({"objects": ("cup",)}, "expected 24, one name per frame"),
    ({"camera": {"pose": np.eye(3)}}, "camera pose"),
    ({"segments": ("wave",)}, "ActionSegment"),
]


@pytest.mark.parametrize(("changes", "sentence"), WRONG, ids=[s for _, s in WRONG])
def test_wrong_input_is_refused_with_one_sentence(changes, sentence):
    with pytest.raises(InputError, match=sentence) as caught:
        tiny_recording(24, **changes)
    assert "\n" not in str(caught.value)


def test_segments_must_run_forwards():
    with pytest.raises(InputError, match="expected start before end"):
        ActionSegment(1.0, 1.0, "wave")


def test_body_masks_nan_and_refuses_other_layouts():
    joints = np.ones((4, 8, 3))
    joints[1, 2, 0] = np.nan
    body = Body(joints, np.ones((4, 8), bool), "openpose8")
    assert not body.valid[1, 2]
    assert (body.joints[1, 2] == 0).all()
    with pytest.raises(InputError, match="unknown body layout"):
        Body(joints, np.ones((4, 8), bool), "body99")
    with pytest.raises(InputError, match=r"expects \(frames, 25, 3\)"):
        Body(joints, np.ones((4, 8), bool), "mediapipe25")


def test_empty_recording_without_hands_is_allowed():
    recording = Recording(np.zeros((3, 2, 21, 3)), np.zeros((3, 2), bool), np.arange(3.0), "metric")
    assert not recording.known.any()

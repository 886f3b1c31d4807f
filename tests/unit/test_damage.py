"""Each kind of damage is put into a clean recording, found, named and, where possible, repaired."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import smooth_hands, tiny_body, tiny_recording
from palmist.damage import check, repair
from palmist.recording import Recording
from palmist.track_faults import frames_in_time_order, runs


def kinds(recording: Recording) -> set[str]:
    return {finding.kind for finding in check(recording).findings}


def only(recording: Recording, kind: str):
    (finding,) = check(recording).of_kind(kind)
    return finding


def swapped(recording: Recording, frames) -> Recording:
    joints, valid = recording.joints.copy(), recording.valid.copy()
    joints[frames], valid[frames] = joints[frames][:, ::-1], valid[frames][:, ::-1]
    return recording.replace(joints=joints, valid=valid)


@pytest.mark.parametrize("space", ["metric", "planar", "image"])
def test_a_clean_recording_has_no_findings_and_is_returned_as_it_is(space):
    scale = 400 if space == "planar" else 1
    recording = tiny_recording(40, joints=smooth_hands(40) * scale, space=space)
    report = check(recording)
    assert report.findings == ()
    assert report.ok
    assert repair(recording) is recording


def test_runs():
    assert runs(np.array([0, 1, 1, 0, 1], bool)) == [(1, 3), (4, 5)]
    assert runs(np.zeros(3, bool)) == []


def test_short_gap_is_found_filled_and_marked():
    clean = tiny_recording(40)
    valid = clean.valid.copy()
    valid[10:13, 1] = False
    broken = clean.replace(valid=valid)
    finding = only(broken, "gap")
    assert (finding.hand, finding.frames, finding.repairable) == ("right", ((10, 13),), True)
    assert "right hand missing for 3 frames (0.10 s) at frame 10" in finding.sentence
    mended = repair(broken)
    assert mended.valid.all()
    np.testing.assert_array_equal(np.argwhere(mended.interpolated), [[10, 1], [11, 1], [12, 1]])
    assert not mended.known[10:13, 1].any()
    assert mended.known.sum() == broken.known.sum()  # nothing invented is known
    first, last = clean.joints[9, 1], clean.joints[13, 1]
    np.testing.assert_allclose(mended.joints[11, 1], (first + last) / 2, atol=1e-6)
    np.testing.assert_allclose(mended.joints[10:13, 1], clean.joints[10:13, 1], atol=5e-3)
    assert mended.provenance["repaired_frames"] == {"left": [], "right": [[10, 13]]}
    assert mended.provenance["repairs"][0]["sentence"] == "right hand interpolated in 3 frames"
    assert "gap" not in kinds(mended)


def test_interpolation_follows_irregular_times():
    time = np.r_[np.arange(5) / 30, 0.15 + np.arange(1), 0.23 + np.arange(1)]
    time = np.array([0.0, 0.03, 0.06, 0.07, 0.14, 0.17])
    joints = smooth_hands(6)
    joints[:, 1] += np.arange(6)[:, None, None] * 0.01
    valid = np.ones((6, 2), bool)
    valid[3, 1] = False
    mended = repair(tiny_recording(6, joints=joints, time=time, valid=valid, segments=()))
    expected = joints[2, 1] + (joints[4, 1] - joints[2, 1]) * (0.07 - 0.06) / (0.14 - 0.06)
    np.testing.assert_allclose(mended.joints[3, 1], expected, atol=1e-6)


def test_long_gaps_and_the_ends_stay_empty():
    valid = np.ones((40, 2), bool)
    valid[10:20, 0] = False
    valid[35:, 1] = False
    broken = tiny_recording(40, valid=valid)
    assert not only(broken, "gap").repairable
    assert only(broken, "absent").severity == "info"
    assert repair(broken) is broken


def test_joints_unknown_on_one_side_of_a_gap_stay_unknown():
    clean = tiny_recording(20)
    confidence = np.ones((20, 2, 21), np.float32)
    confidence[9, 0, 8] = 0
    valid = clean.valid.copy()
    valid[10, 0] = False
    mended = repair(clean.replace(valid=valid, confidence=confidence))
    assert mended.valid[10, 0]
    assert not mended.present[10, 0, 8]
    assert mended.present[10, 0].sum() == 20


def test_never_seen_hands():
    valid = np.ones((20, 2), bool)
    valid[:, 0] = False
    report = check(tiny_recording(20, valid=valid))
    assert [(f.kind, f.severity) for f in report.findings] == [("never_seen", "info")]
    assert report.ok
    nobody = check(tiny_recording(20, valid=np.zeros((20, 2), bool)))
    assert [f.kind for f in nobody.findings] == ["no_hands"]
    assert not nobody.ok


def test_nan_joints_are_counted_joint_by_joint():
    joints = smooth_hands(20)
    joints[4:7, 1, 20] = np.nan
    joints[2, 0, 8, 1] = np.inf
    found = {(f.hand, f.joint): f for f in check(tiny_recording(20, joints=joints)).of_kind("unknown_joint")}
    assert set(found) == {("right", "little_tip"), ("left", "index_tip")}
    assert found["right", "little_tip"].sentence == "right little_tip unknown in 3 of 20 frames"
    assert found["right", "little_tip"].frames == ((4, 7),)


def test_absent_joints_are_no_damage():
    assert check(tiny_recording(20, absent_joints=(1,))).findings == ()


@pytest.mark.parametrize("frames", [slice(12, 18), slice(30, 40), [5, 6, 20]])
def test_swapped_sides_are_found_and_exchanged_back(frames):
    clean = tiny_recording(40)
    broken = swapped(clean, frames)
    finding = only(broken, "swapped_sides")
    mask = np.zeros(40, bool)
    mask[frames] = True
    assert finding.frames == tuple(runs(mask))
    mended = repair(broken)
    np.testing.assert_array_equal(mended.joints, clean.joints)
    assert mended.confidence is None
    assert mended.interpolated is None
    assert kinds(mended) == set()
    assert "jump" not in kinds(broken)  # told once


def test_swapped_single_hand():
    """The right hand alone, called left for some frames."""
    valid = np.ones((40, 2), bool)
    valid[:, 0] = False
    clean = tiny_recording(40, valid=valid)
    broken = swapped(clean, slice(10, 16))
    assert only(broken, "swapped_sides").frames == ((10, 16),)
    np.testing.assert_array_equal(repair(broken).joints, clean.joints)


def test_hands_that_pass_each_other_are_not_swapped():
    frames = 60
    joints = smooth_hands(frames)
    share = np.linspace(0, 1, frames)[:, None, None]
    joints[:, 0, :, 0] += 0.3 * share[..., 0]
    joints[:, 1, :, 0] -= 0.3 * share[..., 0]
    assert "swapped_sides" not in kinds(tiny_recording(frames, joints=joints))


def test_spikes_of_hand_and_joint_become_unknown_and_gaps_are_marked():
    clean = tiny_recording(40)
    joints = clean.joints.copy()
    joints[15, 1] += 0.4
    joints[22, 0, 12] += 0.3
    broken = clean.replace(joints=joints)
    assert only(broken, "spike").frames == ((15, 16),)
    joint = only(broken, "joint_spike")
    assert (joint.hand, joint.joint, joint.frames) == ("left", "middle_tip", ((22, 23),))
    mended = repair(broken)
    assert not mended.known[15, 1].any()
    assert mended.interpolated[15, 1]
    np.testing.assert_allclose(mended.joints[15, 1], clean.joints[15, 1], atol=2e-3)
    assert not mended.known[22, 0, 12]
    assert mended.known[22, 0].sum() == 20
    assert kinds(mended) == {"interpolated", "unknown_joint"}


def test_a_jump_that_stays_is_reported_not_repaired():
    joints = smooth_hands(40)
    joints[20:, 1] += 1.0
    broken = tiny_recording(40, joints=joints)
    finding = only(broken, "jump")
    assert (finding.hand, finding.frames, finding.repairable) == ("right", ((20, 21),), False)
    assert repair(broken) is broken


def test_bones_that_grow():
    clean = tiny_recording(40)
    joints = clean.joints.copy()
    joints[10:30:2, 1, 5:9] += (joints[10:30:2, 1, 5:6] - joints[10:30:2, 1, :1]) * 0.5
    finding = only(clean.replace(joints=joints), "bone_length")
    assert finding.hand == "right"
    assert "wrist to index_mcp" in finding.sentence
    assert len(finding.frames) == 10


def test_frozen_frames():
    joints = smooth_hands(40)
    joints[12:25, 0] = joints[12, 0]
    finding = only(tiny_recording(40, joints=joints), "frozen")
    assert (finding.hand, finding.frames) == ("left", ((12, 25),))


def test_doubled_hand():
    joints = smooth_hands(40)
    joints[8:11, 0] = joints[8:11, 1] + 1e-3
    assert only(tiny_recording(40, joints=joints), "doubled_hand").frames == ((8, 11),)


@pytest.mark.parametrize("factor", [0.1, 5.0])
def test_wrong_scale(factor):
    findings = check(tiny_recording(20, joints=smooth_hands(20) * factor)).of_kind("wrong_scale")
    assert {f.hand for f in findings} == {"left", "right"}
    assert f"{9 * factor:.3g} cm long; expected 5 to 15 cm" in findings[0].sentence
    assert all(f.severity == "error" for f in findings)


def test_wrong_scale_looks_at_the_finger_where_the_root_is_a_palm_centre():
    joints = smooth_hands(20)
    joints[:, :, 0] = joints[:, :, [5, 9, 13, 17]].mean(2)
    assert "wrong_scale" not in kinds(tiny_recording(20, joints=joints, root="palm_centre"))
    assert "wrong_scale" in kinds(tiny_recording(20, joints=joints, root="wrist"))


def test_flat_recording_declared_metric():
    joints = smooth_hands(20)
    joints[..., 2] = 0.5
    assert "z is the same everywhere" in only(tiny_recording(20, joints=joints), "flat").sentence
    assert "flat" not in kinds(tiny_recording(20, joints=joints * [400, 400, 0], space="planar"))


def test_pauses_and_irregular_rates():
    time = np.arange(40) / 30.0
    time[20:] += 1.0
    assert only(tiny_recording(40, time=time), "pause").frames == ((20, 21),)
    uneven = np.cumsum(np.where(np.arange(40) % 4, 1 / 30, 2 / 30))
    assert "irregular_rate" in kinds(tiny_recording(40, time=uneven))


def test_report_is_plain_json():
    joints = smooth_hands(20)
    joints[3, 1] = np.nan
    report = check(tiny_recording(20, joints=joints))
    data = json.loads(json.dumps(report.to_json()))
    assert data["ok"] is False
    assert data["repairable"] is True
    assert data["findings"][0]["frames"] == [[3, 4]]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.one_of(st.integers(-5, 12), st.just(None)), min_size=1, max_size=9))
def test_longest_increasing_subsequence_against_all_subsets(values):
    """Literal: try every subset of frames, forwards and backwards."""
    time = np.array([np.nan if v is None else float(v) for v in values])
    best = 0
    for bits in range(1, 2 ** len(time)):
        chosen = time[[i for i in range(len(time)) if bits >> i & 1]]
        if np.isfinite(chosen).all() and ((np.diff(chosen) > 0).all() or (np.diff(chosen) < 0).all()):
            best = max(best, len(chosen))
    order = frames_in_time_order(time)
    assert len(order) == best
    assert (np.diff(time[order]) > 0).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_repair_never_makes_anything_known_and_is_done_after_one_pass(seed):
    generator = np.random.default_rng(seed)
    joints = smooth_hands(30, seed)
    joints[generator.random((30, 2, 21)) < 0.03] = np.nan
    joints[generator.integers(0, 30, 2), generator.integers(0, 2, 2)] += 0.5
    valid = generator.random((30, 2)) < 0.9
    broken = tiny_recording(30, joints=joints, valid=valid, body=tiny_body(30))
    mended = repair(broken)
    assert mended.known.sum() <= broken.known.sum()
    assert (mended.joints[~mended.present] == 0).all()
    if not check(broken).of_kind("swapped_sides"):
        assert not (mended.known & ~broken.known).any()
        np.testing.assert_array_equal(mended.joints[mended.known], broken.joints[mended.known])
    again = repair(mended)
    np.testing.assert_array_equal(again.joints, mended.joints)
    np.testing.assert_array_equal(again.known, mended.known)


def test_the_rarer_labelling_is_called_swapped():
    """Sides that are exchanged for most of the recording cannot be told from sides exchanged at its beginning."""
    broken = swapped(tiny_recording(40), slice(6, 40))
    assert only(broken, "swapped_sides").frames == ((0, 6),)


def test_interpolated_hands_are_no_neighbours_to_interpolate_from():
    clean = tiny_recording(20)
    valid, interpolated = clean.valid.copy(), np.zeros((20, 2), bool)
    valid[10, 1] = False
    interpolated[9, 1] = True
    mended = repair(clean.replace(valid=valid, interpolated=interpolated))
    assert not mended.valid[10, 1]
    assert not mended.interpolated[10, 1]

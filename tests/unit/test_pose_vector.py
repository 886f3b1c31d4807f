"""The 153-number pose vector: the self-checks of the specification (3.5) and what masks must guarantee."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from palmist import geometry, pose_vector
from palmist.palm_template import palm_template
from palmist.readers import open_data

T = 24


def moving_hands(seed: int = 0, frames: int = T, rigid: bool = True) -> torch.Tensor:
    """Two hands (T, 2, 21, 3) float64 in metres that turn, travel and, unless rigid, bend."""
    generator = torch.Generator().manual_seed(seed)
    shape = torch.randn(2, 21, 3, generator=generator, dtype=torch.float64) * 0.03
    shape[:, [0, 5, 9, 13, 17]] = palm_template() * 0.09
    walk = torch.randn(frames, 2, 3, generator=generator, dtype=torch.float64).cumsum(0)
    rotation = geometry.axis_angle_to_matrix(walk * 0.1)
    joints = shape @ rotation + (walk * 0.02).unsqueeze(2)
    bend = torch.randn(frames, 2, 21, 3, generator=generator, dtype=torch.float64) * 0.002
    return joints if rigid else joints + bend


ALL = torch.ones(T, 2, 21, dtype=torch.bool)


def rebuild(code: pose_vector.EncodedPose, planar: bool = False) -> torch.Tensor:
    rotation, translation, _ = pose_vector.observed_palm(code.palms, first=True)
    return pose_vector.decode(code.vector, rotation, translation, code.palms.size, planar)


def test_wrist_is_the_origin_and_the_hand_has_unit_palm_size() -> None:
    vector = pose_vector.encode(moving_hands(rigid=False), ALL).vector
    local = vector[:, :126].reshape(T, 2, 21, 3)
    assert local[:, :, 0].abs().max() < 1e-9
    assert local[:, :, [5, 9, 13, 17]].norm(dim=-1).mean(-1).sub(1).abs().max() < 1e-9


def test_round_trip_of_a_hand_of_constant_size() -> None:
    joints = moving_hands()
    code = pose_vector.encode(joints, ALL)
    torch.testing.assert_close(rebuild(code), joints, rtol=0, atol=1e-9)
    # With s the mean over the observation, as at test time.
    rotation, translation, _ = pose_vector.observed_palm(code.palms, first=True)
    mean = pose_vector.mean_hand_size(code.palms)
    torch.testing.assert_close(pose_vector.decode(code.vector, rotation, translation, mean), joints, rtol=0, atol=1e-9)


def test_a_varying_size_differs_by_the_size_ratio_only() -> None:
    joints = moving_hands(rigid=False)
    code = pose_vector.encode(joints, ALL)
    torch.testing.assert_close(rebuild(code), joints, rtol=0, atol=1e-9)
    rotation, translation, _ = pose_vector.observed_palm(code.palms, first=True)
    mean = pose_vector.mean_hand_size(code.palms)
    back = pose_vector.decode(code.vector, rotation, translation, mean)
    ratio = (mean / code.palms.size)[..., None, None]
    expected = joints[:, :, :1] + (joints - joints[:, :, :1]) * ratio
    torch.testing.assert_close(back, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize(("dtype", "limit"), [(torch.float64, 1e-6), (torch.float32, 1e-4)])
def test_round_trip_on_a_real_recording_with_gaps(dtype: torch.dtype, limit: float) -> None:
    recording = next(r for r in open_data("leap_recordings") if r.name.endswith("confidence_74fps"))
    joints, known = torch.from_numpy(np.array(recording.joints)).to(dtype), torch.from_numpy(np.array(recording.known))
    assert not known.all()
    error = (rebuild(pose_vector.encode(joints, known)) - joints).norm(dim=-1)[known]
    assert error.max() < limit


def test_accumulated_motions_are_the_true_local_to_base() -> None:
    code = pose_vector.encode(moving_hands(), ALL)
    rotation, translation = pose_vector.accumulate(code.vector)
    world = geometry.invert(code.palms.rotation, code.palms.translation)
    base = (code.palms.rotation[:1], code.palms.translation[:1])
    expected = geometry.compose(world, base)
    torch.testing.assert_close(rotation, expected[0], rtol=0, atol=1e-9)
    torch.testing.assert_close(translation, 10 * expected[1], rtol=0, atol=1e-8)
    torch.testing.assert_close(rotation[0], torch.eye(3, dtype=torch.float64).expand(2, 3, 3))


def test_one_rigid_motion_of_everything_leaves_every_vector_unchanged() -> None:
    joints = moving_hands(rigid=False)
    turn = geometry.axis_angle_to_matrix(torch.tensor([0.4, -1.1, 0.3], dtype=torch.float64))
    moved = joints @ turn + torch.tensor([0.3, -0.2, 0.9], dtype=torch.float64)
    same = pose_vector.encode(moved, ALL).vector
    torch.testing.assert_close(same, pose_vector.encode(joints, ALL).vector, rtol=0, atol=1e-9)


def test_the_inter_hand_part_takes_left_local_to_right_local() -> None:
    joints = moving_hands()
    code = pose_vector.encode(joints, ALL)
    part = code.vector[:, pose_vector.INTER_HAND]
    turn, shift = geometry.rotation_6d_to_matrix(part[:, :6]), part[:, 6:]
    left = geometry.transform(joints[:, 0], code.palms.rotation[:, 0], code.palms.translation[:, 0])
    right = geometry.transform(joints[:, 0], code.palms.rotation[:, 1], code.palms.translation[:, 1])
    torch.testing.assert_close(geometry.transform(left, turn, shift), right, rtol=0, atol=1e-9)


def test_a_hand_that_was_away_comes_back_with_its_motion_since_it_was_last_seen() -> None:
    joints, known = moving_hands(), ALL.clone()
    known[5:9, 1] = False
    code = pose_vector.encode(joints, known)
    assert not code.known[5:9, pose_vector.RIGHT_MOTION].any()
    assert code.known[9, pose_vector.RIGHT_MOTION].all()
    back = rebuild(code)
    torch.testing.assert_close(back[known], joints[known], rtol=0, atol=1e-9)


def test_values_of_unknown_joints_are_never_used() -> None:
    joints, known = moving_hands(), ALL.clone()
    known[3, 0] = False  # a whole hand
    known[7, 1, 13] = False  # a knuckle
    known[8, 1, 4] = False  # a fingertip
    other = torch.where(known.unsqueeze(-1), joints, torch.full_like(joints, 77.0))
    first, second = pose_vector.encode(joints, known), pose_vector.encode(other, known)
    torch.testing.assert_close(first.vector, second.vector, rtol=0, atol=0)
    assert torch.equal(first.known, second.known)
    assert not first.known[8, 63 + 12 : 63 + 15].any()


def test_without_wrist_or_knuckles_there_is_no_palm_frame() -> None:
    known = ALL.clone()
    known[4, 0, 0] = False
    known[6, 1, [5, 9, 13]] = False
    valid = pose_vector.fit_palm_frames(moving_hands(), known).valid
    assert valid.sum() == 2 * T - 2
    assert not valid[4, 0]
    assert not valid[6, 1]


def test_planar_recordings_know_nothing_of_depth() -> None:
    joints = moving_hands(rigid=False) * torch.tensor([1.0, 1.0, 0.0], dtype=torch.float64)
    code = pose_vector.encode(joints, ALL, "planar")
    local_known = code.known[:, :126].reshape(T, 2, 21, 3)
    assert local_known[..., :2].all()
    assert not local_known[..., 2].any()
    assert not code.known[:, [128, 131, 134, 146, 149, 152]].any()
    torch.testing.assert_close(rebuild(code, planar=True), joints, rtol=0, atol=1e-9)
    # Whatever a network says about depth, a planar decode stays in the plane.
    loud = torch.where(code.known, code.vector, torch.full_like(code.vector, 0.3))
    loud[0, 126:144] = code.vector[0, 126:144]
    rotation, translation, _ = pose_vector.observed_palm(code.palms, first=True)
    again = pose_vector.decode(loud, rotation, translation, code.palms.size, planar=True)
    torch.testing.assert_close(again, joints, rtol=0, atol=1e-9)


def test_depth_axes_hide_a_shift_along_the_viewing_direction() -> None:
    joints = moving_hands()
    code = pose_vector.encode(joints, ALL, "image")
    pushed = joints.clone()
    pushed[10:, 1, :, 2] += 0.5  # the right hand jumps away from the camera: nobody could have seen it
    other = pose_vector.encode(pushed, ALL, "image")
    residual = (other.vector - code.vector)[10, 135 + 6 : 144]
    assert residual.norm() > 4.0
    axis = code.depth_axes[10, 1]
    assert (residual - (residual @ axis) * axis).norm() < 1e-9
    inter = (other.vector - code.vector)[12, 150:153]
    axis = code.depth_axes[12, 2]
    assert inter.norm() > 0.4
    assert (inter - (inter @ axis) * axis).norm() < 1e-9
    assert pose_vector.encode(joints, ALL, "metric").depth_axes.abs().max() == 0


def test_reset_gives_the_first_seen_frame_the_identity() -> None:
    joints, known = moving_hands(), ALL.clone()
    known[:4, 0] = False
    code = pose_vector.encode(joints, known)
    vector, flags = pose_vector.reset_first_motion(code.vector[2:], code.known[2:], code.palms.valid[2:])
    identity = torch.tensor([1.0, 0, 0, 0, 1, 0, 0, 0, 0], dtype=torch.float64)
    torch.testing.assert_close(vector[0, pose_vector.RIGHT_MOTION], identity)
    torch.testing.assert_close(vector[2, pose_vector.LEFT_MOTION], identity)
    assert not flags[0, pose_vector.RIGHT_MOTION].any()
    assert flags[3, pose_vector.LEFT_MOTION].all()
    torch.testing.assert_close(vector[5], code.vector[7])


@pytest.mark.parametrize("first_seen", [0, 5])
def test_trajectory_consistency_keeps_both_ends(first_seen: int) -> None:
    joints, known = moving_hands(), ALL.clone()
    known[:first_seen, 1] = False
    known[-2:, 1] = False
    code = pose_vector.encode(joints, known)
    noise = torch.randn(T, 153, dtype=torch.float64, generator=torch.Generator().manual_seed(3)) * 0.02
    moved = torch.where(code.known, code.vector + noise, code.vector)
    fixed = pose_vector.trajectory_consistency(moved, code.vector, code.palms.valid)
    rotation, translation = pose_vector.accumulate(fixed)
    true_rotation, true_translation = pose_vector.accumulate(code.vector)
    for hand, ends in ((0, (0, T - 1)), (1, (first_seen, T - 3))):
        for frame in ends:
            torch.testing.assert_close(rotation[frame, hand], true_rotation[frame, hand], rtol=0, atol=1e-9)
            torch.testing.assert_close(translation[frame, hand], true_translation[frame, hand], rtol=0, atol=1e-9)
    middle = T // 2
    assert (translation[middle] - true_translation[middle]).abs().max() > 1e-4
    torch.testing.assert_close(fixed[:, :126], moved[:, :126])


def test_the_observed_hand_size_rules_not_the_decoded_one() -> None:
    joints = moving_hands()
    code = pose_vector.encode(joints, ALL)
    swollen = code.vector.clone()
    swollen[:, :126] *= 1.7
    rotation, translation, _ = pose_vector.observed_palm(code.palms, first=True)
    size = pose_vector.mean_hand_size(code.palms)
    back = pose_vector.decode(swollen, rotation, translation, size)
    torch.testing.assert_close(back, joints, rtol=0, atol=1e-9)
    unit = pose_vector.renormalize_hands(swollen)
    torch.testing.assert_close(unit, code.vector, rtol=0, atol=1e-9)


def test_planar_predictions_take_the_size_of_the_last_frames() -> None:
    size = torch.tensor([[0.1, 0.1]] * 5 + [[0.2, 0.1]] * 3)
    valid = torch.ones(8, 2, dtype=torch.bool)
    valid[7, 1] = False
    palms = pose_vector.PalmFrames(torch.eye(3).expand(8, 2, 3, 3), torch.zeros(8, 2, 3), size, valid)
    assert pose_vector.observed_hand_size(palms, planar=True).tolist() == pytest.approx([0.2, 0.1])
    assert pose_vector.observed_hand_size(palms).tolist() == pytest.approx([1.1 / 8, 0.1])

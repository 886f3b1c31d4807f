"""Pose metrics: hand-worked cases, invariances, masks and empty input."""

import warnings

import numpy as np
import pytest
import torch

from palmist.errors import InputError
from palmist.metrics import pose


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture
def truth(rng):
    return rng.normal(scale=0.05, size=(6, 2, 21, 3)) + rng.normal(size=(6, 2, 1, 3))


def rotation(rng, dimensions=3):
    q, _ = np.linalg.qr(rng.normal(size=(dimensions, dimensions)))
    q[:, 0] *= np.sign(np.linalg.det(q))
    return q


def test_ra_is_zero_for_a_translated_and_scaled_copy(truth):
    copy = 1.7 * truth + np.array([0.3, -2.0, 5.0])
    assert pose.mpjpe_ra(copy, truth).value == pytest.approx(0, abs=1e-12)
    assert pose.mpjpe_ra(copy, truth).n == 12


def test_ra_sees_rotation(truth, rng):
    assert pose.mpjpe_ra(truth @ rotation(rng), truth).value > 0.01


def test_pa_is_zero_for_a_moved_turned_and_scaled_copy(truth, rng):
    copy = 0.4 * truth @ rotation(rng) + 3.0
    assert pose.mpjpe_pa(copy, truth).value == pytest.approx(0, abs=1e-12)


def test_pa_is_not_zero_for_a_mirrored_hand(truth):
    assert pose.mpjpe_pa(truth * [-1, 1, 1], truth).value > 0.005


def test_pa_in_the_plane(truth, rng):
    flat = truth[..., :2]
    assert pose.mpjpe_pa(2 * flat @ rotation(rng, 2) + 1, flat).value == pytest.approx(0, abs=1e-12)
    assert pose.mpjpe_pa(flat * [-1, 1], flat).value > 0.005


def test_the_thumb_base_changes_neither(truth):
    moved = truth.copy()
    moved[..., 1, :] += 0.2
    assert pose.mpjpe_ra(moved, truth).value == 0
    assert pose.mpjpe_pa(moved, truth).value == pytest.approx(0, abs=1e-12)
    assert pose.mepe(moved, truth).value == pytest.approx(0.2 * np.sqrt(3) / 21)


def test_moving_only_the_wrist_changes_pa(truth):
    moved = truth.copy()
    moved[..., 0, :] += 0.05
    assert pose.mpjpe_pa(moved, truth).value > 1e-3


def test_ra_by_hand():
    # knuckles at distance 1; the estimate is twice as large, and one fingertip is off by 0.19 after scaling
    truth = np.zeros((21, 3))
    truth[:, 0] = 1.0
    truth[0] = 0
    estimate = 2 * truth
    estimate[8, 1] += 0.38
    assert pose.mpjpe_ra(estimate, truth).value == pytest.approx(0.01)


def test_mepe_by_hand():
    truth = np.zeros((2, 21, 3))
    estimate = truth + np.array([3.0, 4.0, 0.0])
    assert pose.mepe(estimate, truth) == pose.Metric(5.0, 2)


def test_unknown_joints_never_count(truth, rng):
    estimate = truth + rng.normal(scale=0.01, size=truth.shape)
    known = np.ones(truth.shape[:-1], bool)
    known[2:4, 0, 12] = False
    expected = [f(estimate, truth, known) for f in (pose.mpjpe_ra, pose.mpjpe_pa, pose.mepe)]
    spoilt, spoilt_truth = estimate.copy(), truth.copy()
    spoilt[2:4, 0, 12], spoilt_truth[2:4, 0, 12] = 1e9, np.nan
    actual = [f(spoilt, spoilt_truth, known) for f in (pose.mpjpe_ra, pose.mpjpe_pa, pose.mepe)]
    assert actual == expected
    assert pose.mepe(estimate, truth).value != expected[2].value


def test_a_hand_without_its_palm_does_not_count_for_ra(truth):
    known = np.ones(truth.shape[:-1], bool)
    known[0, 0, 9] = False
    result = pose.mpjpe_ra_errors(truth, truth, known)
    assert not result.counted[0, 0]
    assert np.isnan(result.error[0, 0])
    assert result.counted.sum() == 11


def test_both_hands_pool_with_equal_weight(truth):
    estimate = truth.copy()
    estimate[:, 0] += 1.0
    known = np.ones(truth.shape[:-1], bool)
    known[1:, 1] = False  # six left frames are wrong, one right frame is right
    assert pose.mepe(estimate, truth, known).value == pytest.approx(np.sqrt(3) * 6 / 7)


@pytest.mark.parametrize("metric", [pose.mpjpe_ra, pose.mpjpe_pa, pose.mepe, pose.bone_length_error])
def test_nothing_known_gives_nan_and_no_warning(metric, truth):
    for mask, joints in ((np.zeros(truth.shape[:-1], bool), truth), (np.zeros((0, 2, 21), bool), truth[:0])):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            result = metric(joints * np.nan, joints, mask)
        assert np.isnan(result.value)
        assert result.n == 0


@pytest.mark.parametrize("metric", [pose.mpjpe_ra, pose.mpjpe_pa])
def test_zero_size_hands_are_guarded(metric, truth):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        collapsed = metric(np.zeros_like(truth), truth)
        assert collapsed.n == 12
        assert collapsed.value > 0.02
        assert metric(truth, np.zeros_like(truth)).n == 0


def test_bone_length_by_hand():
    truth = np.zeros((1, 21, 3))
    truth[0, 8, 0] = 3.0
    estimate = truth.copy()
    estimate[0, 8, 0] = 5.0
    assert pose.bone_length_error(estimate, truth) == pytest.approx((2 / 20, 20, None))
    known = np.ones((1, 21), bool)
    known[0, 7] = False  # the bone 7-8 is gone, and with it 6-7
    assert pose.bone_length_error(estimate, truth, known) == pytest.approx((0, 18, None))


def test_jerk_of_a_cubic_is_constant():
    rate = 30.0
    time = np.arange(20) / rate
    joints = np.zeros((20, 2, 21, 3))
    joints[..., 0] = (time**3 + 4 * time**2 - time)[:, None, None]
    result = pose.jerk(joints, rate)
    assert result.value == pytest.approx(6.0, rel=1e-6)
    assert result.n == 17 * 42
    assert pose.jerk_error(joints + 5.0, joints, rate).value == pytest.approx(0, abs=1e-9)
    assert pose.jerk_error(2 * joints, joints, rate).value == pytest.approx(6.0, rel=1e-6)


def test_jerk_needs_four_known_frames():
    joints = np.random.default_rng(0).normal(size=(8, 21, 3))
    known = np.ones((8, 21), bool)
    known[4] = False
    assert pose.jerk(joints, 30.0, known).n == 21  # only frames 0..3
    assert pose.jerk(joints[:3], 30.0).n == 0
    with pytest.raises(InputError, match="positive"):
        pose.jerk(joints, 0.0)


def test_refine_error_ratio(truth):
    known = np.ones(truth.shape[:-1], bool)
    known[0] = False
    noisy, refined = truth + 0.02, truth + 0.01
    refined[0] = 99
    result = pose.refine_error_ratio(refined, noisy, truth, known)
    assert result.value == pytest.approx(0.5)
    assert result.n == 5 * 42
    assert np.isnan(pose.refine_error_ratio(refined, truth, truth, known).value)


def test_torch_and_numpy_agree(truth, rng):
    estimate = truth + rng.normal(scale=0.01, size=truth.shape)
    for metric in (pose.mpjpe_ra, pose.mpjpe_pa, pose.mepe):
        assert metric(torch.tensor(estimate, requires_grad=True), torch.tensor(truth)) == metric(estimate, truth)


def test_wrong_shapes_are_refused(truth):
    with pytest.raises(InputError, match="shape"):
        pose.mepe(truth[:3], truth)
    with pytest.raises(InputError, match="known"):
        pose.mepe(truth, truth, np.ones((6, 2), bool))
    with pytest.raises(InputError, match="21 joints"):
        pose.mpjpe_ra(truth[..., :20, :], truth[..., :20, :])


def test_a_nan_estimate_is_an_error_not_a_gap(truth):
    estimate = truth.copy()
    estimate[2, 1, 8] = np.nan
    for metric in (pose.mpjpe_ra, pose.mpjpe_pa, pose.mepe, pose.bone_length_error):
        with pytest.raises(InputError, match="nan"):
            metric(estimate, truth)

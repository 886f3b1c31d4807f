"""Motion metrics: hand-worked cases, invariances, masks and empty input."""

import math
import warnings

import numpy as np
import pytest
import torch

from palmist.errors import InputError
from palmist.metrics import motion


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def line(offsets, frames=4, joints=21):
    """Futures (K, T, J, 3) that stay at x = offset."""
    futures = np.zeros((len(offsets), frames, joints, 3))
    futures[..., 0] = np.asarray(offsets, float)[:, None, None]
    return futures


def test_ade_fde_by_hand():
    truth = np.zeros((4, 21, 3))
    futures = line([1.0, 3.0])
    futures[1, -1, :, 0] = 0.5
    result = motion.displacement(futures, truth)
    assert result.ade == pytest.approx([1.0, 9.5 / 4])
    assert result.fde == pytest.approx([1.0, 0.5])
    assert result.mean() == pytest.approx((1 + 9.5 / 4) / 2)
    assert (result.best("ade"), result.best("fde")) == (1.0, 0.5)  # each chooses its own future
    assert result.n == 84


def test_the_final_frame_is_the_last_known_one():
    truth, futures = np.zeros((4, 21, 3)), np.zeros((1, 4, 21, 3))
    futures[0, :, :, 0] = np.array([1.0, 2.0, 3.0, 4.0])[:, None]
    known = np.ones((4, 21), bool)
    known[3] = False
    known[2, 1:] = False
    assert motion.displacement(futures, truth, known).fde == pytest.approx([3.0])
    assert motion.displacement(futures, truth, known).ade == pytest.approx([(21 * 3 + 3) / 43])


def test_unknown_joints_never_count(rng):
    truth = rng.normal(size=(5, 3, 21, 3))
    futures = rng.normal(size=(5, 4, 3, 21, 3))
    known = rng.random((5, 3, 21)) > 0.3
    expected = motion.displacement(futures, truth, known)
    spoilt_truth = np.where(known[..., None], truth, np.nan)
    spoilt = np.where(known[:, None, ..., None], futures, np.inf)
    actual = motion.displacement(spoilt, spoilt_truth, known)
    for a, b in zip(actual, expected, strict=True):
        np.testing.assert_array_equal(a, b)


def test_best_is_at_most_the_mean_and_equal_for_one_sample(rng):
    truth, futures = rng.normal(size=(9, 6, 20, 3)), rng.normal(size=(9, 20, 6, 20, 3))
    for metric in (motion.ade, motion.fde):
        assert metric(futures, truth, best=True).value < metric(futures, truth).value
        one = futures[:, :1]
        assert metric(one, truth, best=True) == metric(one, truth)


def test_coordinate_subset_and_windows(rng):
    truth, futures = rng.normal(size=(9, 6, 20, 3)), rng.normal(size=(9, 5, 6, 20, 3))
    flat = motion.ade(futures[..., :2], truth[..., :2])
    futures[..., 2] = np.nan
    result = motion.ade(futures, truth, coordinates=(0, 1))
    assert result == flat
    assert result.n == 9
    assert result.interval[0] < result.value < result.interval[1]
    each = [motion.displacement(futures[i], truth[i], coordinates=(0, 1)).mean() for i in range(9)]
    assert result.value == pytest.approx(np.mean(each))


def test_windows_without_anything_known_drop_out(rng):
    truth, futures = rng.normal(size=(3, 6, 20, 3)), rng.normal(size=(3, 5, 6, 20, 3))
    known = np.ones((3, 6, 20), bool)
    known[1] = False
    assert motion.ade(futures, truth, known).n == 2
    assert motion.ade(futures, truth, known).value == pytest.approx(motion.ade(futures[::2], truth[::2]).value)


def test_nothing_known_gives_nan_and_no_warning(rng):
    truth, futures = rng.normal(size=(6, 20, 3)), rng.normal(size=(5, 6, 20, 3))
    nothing = np.zeros((6, 20), bool)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for best in (False, True):
            assert math.isnan(motion.ade(futures, truth, nothing, best=best).value)
            assert motion.fde(futures, truth, nothing, best=best).n == 0
            error, n = motion.error_by_horizon(futures, truth, nothing, best=best)
            assert np.isnan(error).all()
            assert n.tolist() == [0] * 6
        assert math.isnan(motion.apd(futures, nothing))
        assert math.isnan(motion.apd_dlow(futures, nothing))
        assert motion.ade(futures[:, :0], truth[:0]).n == 0


def test_horizon_by_hand():
    truth = np.zeros((2, 3, 21, 3))
    futures = np.zeros((2, 2, 3, 21, 3))
    futures[0, 0, :, :, 0] = np.array([1.0, 2.0, 3.0])[:, None]
    futures[0, 1, :, :, 0] = 1.5
    known = np.ones((2, 3, 21), bool)
    known[1, 1:] = False
    error, n = motion.error_by_horizon(futures, truth, known)
    assert error == pytest.approx([(1.25 + 0) / 2, 1.75, 2.25])
    assert n.tolist() == [2, 1, 1]
    best, _ = motion.error_by_horizon(futures, truth, known, best=True)
    assert best == pytest.approx([0.75, 1.5, 1.5])


def test_apd_of_equal_samples_is_zero(rng):
    same = np.repeat(rng.normal(size=(1, 8, 20, 3)), 20, axis=0)
    assert motion.apd(same) == 0
    assert motion.apd_dlow(same) == 0


def test_apd_of_two_groups():
    futures = line([0.0] * 10 + [2.5] * 10)
    assert motion.apd(futures) == pytest.approx(2.5 * 100 / 190)
    assert motion.apd_dlow(futures) == pytest.approx(2.5 * np.sqrt(4 * 21) * 100 / 190)


def test_apd_leaves_unknown_frames_out(rng):
    futures = rng.normal(size=(6, 8, 20, 3))
    known = np.arange(8) < 5
    expected = motion.apd(futures[:, :5])
    futures[:, 5:] = np.nan
    assert motion.apd(futures, known) == pytest.approx(expected, rel=1e-6)
    assert motion.apd(futures, np.repeat(known[:, None], 20, 1)) == pytest.approx(expected, rel=1e-6)
    assert math.isnan(motion.apd(futures[:1]))


def test_apd_does_not_depend_on_the_order_or_a_rigid_motion(rng):
    futures = rng.normal(size=(7, 8, 20, 3))
    q, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    assert motion.apd(futures[::-1] @ q + 4.0) == pytest.approx(motion.apd(futures))


def test_fid_of_a_set_with_itself_is_zero(rng):
    for n, width in ((400, 24), (30, 64)):
        x = rng.normal(size=(n, width)) * 3
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            value = motion.frechet_distance(x, x.copy()).value
        assert value <= 1e-6 * np.trace(np.cov(x.T))


def test_fid_of_a_shifted_normal_tends_to_the_squared_shift(rng):
    shift = np.array([1.0, -2.0, 0.5, 0.0])
    a, b = rng.normal(size=(40000, 4)), rng.normal(size=(40000, 4)) + shift
    assert motion.frechet_distance(a, b).value == pytest.approx(shift @ shift, rel=0.03)


def test_fid_by_hand():
    # variances 1 and 4 in one dimension, means 0 and 3: 9 + (1 - 2)^2
    a = np.array([[-1.0], [0.0], [1.0]])
    b = 2 * a + 3
    assert motion.frechet_distance(a, b) == pytest.approx((10.0, 3, 3, 1))


def test_fid_warns_when_the_covariance_lacks_rank(rng):
    with pytest.warns(UserWarning, match="10 against 400 samples with 12"):
        result = motion.frechet_distance(rng.normal(size=(10, 12)), rng.normal(size=(400, 12)))
    assert result[1:] == (10, 400, 12)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        motion.frechet_distance(rng.normal(size=(12, 12)), rng.normal(size=(400, 12)))


def test_fid_refuses_what_it_cannot_compare(rng):
    assert math.isnan(motion.frechet_distance(rng.normal(size=(1, 3)), rng.normal(size=(9, 3))).value)
    with pytest.raises(InputError, match="width"):
        motion.frechet_distance(rng.normal(size=(9, 3)), rng.normal(size=(9, 4)))
    with pytest.raises(InputError, match="finite"):
        motion.frechet_distance(np.full((9, 3), np.nan), rng.normal(size=(9, 3)))


def test_torch_and_numpy_agree(rng):
    truth, futures = rng.normal(size=(2, 6, 20, 3)), rng.normal(size=(2, 5, 6, 20, 3))
    assert motion.ade(torch.tensor(futures), torch.tensor(truth)) == motion.ade(futures, truth)
    assert motion.apd(torch.tensor(futures[0])) == motion.apd(futures[0])
    x = rng.normal(size=(30, 4))
    assert motion.frechet_distance(torch.tensor(x), x + 1) == motion.frechet_distance(x, x + 1)


def test_wrong_shapes_are_refused(rng):
    truth, futures = rng.normal(size=(6, 20, 3)), rng.normal(size=(5, 6, 20, 3))
    with pytest.raises(InputError, match="without the futures"):
        motion.ade(futures[:, :4], truth)
    with pytest.raises(InputError, match="without the futures"):
        motion.ade(truth, truth)
    with pytest.raises(InputError, match="known"):
        motion.ade(futures, truth, np.ones(6, bool))
    with pytest.raises(InputError, match="frames"):
        motion.apd(futures, np.ones(7, bool))
    with pytest.raises(InputError, match="expected"):
        motion.apd(truth)


def test_a_nan_prediction_is_an_error_not_a_gap(rng):
    truth, futures = rng.normal(size=(3, 6, 20, 3)), rng.normal(size=(3, 5, 6, 20, 3))
    futures[1, 2, 3, 4, 0] = np.nan
    for call in (motion.ade, motion.fde, motion.error_by_horizon):
        with pytest.raises(InputError, match="nan"):
            call(futures, truth)
    for call in (motion.apd, motion.apd_dlow):
        with pytest.raises(InputError, match="nan"):
            call(futures[1])

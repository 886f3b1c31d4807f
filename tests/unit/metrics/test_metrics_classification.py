"""Classification metrics and intervals: hand-worked cases, ties, empty input."""

import math
import warnings

import numpy as np
import pytest
import torch

from palmist.errors import InputError
from palmist.metrics import classification as c
from palmist.metrics import intervals


def test_top_k_by_hand():
    scores = np.array([[0.1, 0.5, 0.4], [0.7, 0.2, 0.1], [0.2, 0.3, 0.5]])
    labels = [1, 1, 0]
    assert c.top_k_accuracy(scores, labels).value == pytest.approx(1 / 3)
    assert c.top_k_accuracy(scores, labels, 2).value == pytest.approx(2 / 3)
    assert c.top_k_accuracy(scores, labels, 5).value == 1
    assert c.top_k_accuracy(torch.tensor(scores), torch.tensor(labels)).n == 3


def test_ties_go_to_the_lower_class():
    scores = np.zeros((3, 4))
    assert c.ranks(scores, [0, 1, 3]).tolist() == [0, 1, 3]
    assert c.top_k_accuracy(scores, [0, 1, 3]).value == pytest.approx(1 / 3)


def test_unlabelled_samples_never_count():
    scores = np.eye(3)[[0, 1, 2, 0]]
    assert c.top_k_accuracy(scores, [0, -1, 1, -1]) == c.top_k_accuracy(scores[[0, 2]], [0, 1])
    assert c.confusion_matrix([0, 1], [-1, 0], 2).tolist() == [[0, 1], [0, 0]]


def test_mean_class_accuracy_by_hand():
    predictions, labels = [0, 0, 0, 1, 1], [0, 0, 0, 0, 1]
    assert c.confusion_matrix(predictions, labels, 3).tolist() == [[3, 1, 0], [0, 1, 0], [0, 0, 0]]
    result = c.mean_class_accuracy(predictions, labels, 3)  # class 2 has no sample and is left out
    assert result.value == pytest.approx((0.75 + 1.0) / 2)
    assert result.n == 5
    assert result.interval[0] < result.value <= result.interval[1] <= 1


def test_mean_class_accuracy_equals_top_1_on_balanced_data():
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(6), 30)
    predictions = np.where(rng.random(180) < 0.7, labels, rng.integers(0, 6, 180))
    assert c.mean_class_accuracy(predictions, labels, 6).value == pytest.approx(c.accuracy(predictions, labels).value)


def test_class_recall_of_an_absent_class_is_nan():
    recall = c.class_recall(np.array([[3, 1], [0, 0]]))
    assert recall[0] == 0.75
    assert np.isnan(recall[1])


def test_sum_over_windows_keeps_the_order_of_first_sight():
    ids, sums = c.sum_over_windows([[0.6, 0.4], [0.5, 0.5], [0.1, 0.9]], ["b", "a", "b"])
    assert ids.tolist() == ["b", "a"]
    np.testing.assert_allclose(sums, [[0.7, 1.3], [0.5, 0.5]])


def test_a_segment_counts_once():
    probabilities = [[0.6, 0.4], [0.1, 0.9], [0.8, 0.2]]
    result = c.segment_accuracy(probabilities, [5, 5, 2], [1, 1, 1])
    assert result.value == 0.5
    assert result.n == 2
    assert result.interval == intervals.wilson_interval(1, 2)
    with pytest.raises(InputError, match="one label"):
        c.segment_accuracy(probabilities, [5, 5, 2], [1, 0, 1])


def test_empty_input_gives_nan_and_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for result in (
            c.top_k_accuracy(np.zeros((0, 3)), []),
            c.top_k_accuracy(np.zeros((2, 3)), [-1, -1]),
            c.accuracy([], []),
            c.mean_class_accuracy([], [], 4),
            c.segment_accuracy(np.zeros((0, 3)), [], []),
        ):
            assert math.isnan(result.value)
            assert result.n == 0


def test_wrong_input_is_refused():
    with pytest.raises(InputError, match="nan"):
        c.top_k_accuracy([[np.nan, 1.0]], [0])
    with pytest.raises(InputError, match="below"):
        c.top_k_accuracy([[0.0, 1.0]], [2])
    with pytest.raises(InputError, match="one label per"):
        c.accuracy([1, 2], [1])
    with pytest.raises(InputError, match="outside"):
        c.confusion_matrix([5], [0], 3)


def test_wilson_by_hand():
    low, high = intervals.wilson_interval(8, 10)
    assert (low, high) == pytest.approx((0.4901625, 0.9433178), abs=1e-6)  # textbook value
    assert intervals.wilson_interval(0, 10)[0] == 0
    assert intervals.wilson_interval(10, 10)[1] == 1
    assert intervals.wilson_interval(0, 0) == (0, 1)
    with pytest.raises(InputError, match="successes"):
        intervals.wilson_interval(3, 2)


def test_wilson_covers_the_true_share():
    rng = np.random.default_rng(1)
    bounds = [intervals.wilson_interval(int(k), 50) for k in rng.binomial(50, 0.9, 2000)]
    assert np.mean([low <= 0.9 <= high for low, high in bounds]) == pytest.approx(0.95, abs=0.03)


def test_bootstrap_covers_the_mean_and_repeats_with_its_seed():
    values = np.random.default_rng(2).normal(5, 1, 400)
    low, high = intervals.bootstrap_interval(values, seed=4)
    assert (low, high) == intervals.bootstrap_interval(values, seed=4)
    assert (low, high) != intervals.bootstrap_interval(values, seed=5)
    assert high - low == pytest.approx(2 * 1.96 / 20, rel=0.15)


def test_bootstrap_over_groups_is_wider_for_copies():
    rng = np.random.default_rng(3)
    groups = np.repeat(np.arange(20), 25)
    values = rng.normal(size=20)[groups]  # 25 copies per group: 20 independent numbers, not 500
    narrow, wide = intervals.bootstrap_interval(values), intervals.bootstrap_interval(values, groups=groups)
    assert (wide[1] - wide[0]) > 3 * (narrow[1] - narrow[0])
    with pytest.raises(InputError, match="one id per value"):
        intervals.bootstrap_interval(values, groups=groups[:3])


def test_mean_metric_ignores_nan_items():
    assert intervals.mean_metric([1.0, np.nan, 3.0]) == intervals.Metric(2.0, 2)
    assert intervals.mean_metric([np.nan]).n == 0


def test_calibration_error_by_hand():
    # bin (0.8, 0.9]: two samples sure by 0.9, one right, gap 0.4; bin (0.5, 0.6]: one, sure by 0.6 and right, gap 0.4
    probabilities = [[0.9, 0.1], [0.9, 0.1], [0.4, 0.6]]
    found = c.expected_calibration_error(probabilities, [0, 1, 1], bins=10)
    assert found.value == pytest.approx((2 * 0.4 + 1 * 0.4) / 3)
    assert found.n == 3
    # in a single bin the gaps cancel: mean confidence 0.8, accuracy 2/3
    assert c.expected_calibration_error(probabilities, [0, 1, 1], bins=1).value == pytest.approx(0.8 - 2 / 3)


def test_a_bin_ends_with_its_upper_edge():
    """0.5 and 0.51 lie in different bins of two: (0, 0.5] and (0.5, 1]."""
    rows = np.array([[0.5, 0.25, 0.25], [0.51, 0.25, 0.24]])
    assert c.expected_calibration_error(rows, [0, 1], bins=2).value == pytest.approx((0.5 + 0.51) / 2)
    assert c.expected_calibration_error(rows, [0, 1], bins=1).value == pytest.approx(0.505 - 0.5)


def test_who_is_as_often_right_as_sure_has_no_calibration_error():
    rows = np.tile([0.75, 0.25], (8, 1))
    assert c.expected_calibration_error(rows, [0, 0, 0, 1] * 2).value == pytest.approx(0)
    assert c.expected_calibration_error(np.eye(3), [0, 1, -1]).value == 0
    assert math.isnan(c.expected_calibration_error(np.zeros((0, 3)), []).value)


def test_likelihood_by_hand():
    found = c.negative_log_likelihood([[0.5, 0.5], [0.2, 0.8], [1.0, 0.0]], [0, 1, -1])
    assert found.value == pytest.approx(-(math.log(0.5) + math.log(0.8)) / 2)
    assert found.n == 2
    assert c.negative_log_likelihood([[1.0, 0.0]], [1]).value == pytest.approx(-math.log(1e-12))


def test_scores_that_are_no_probabilities_are_refused():
    for measure in (c.expected_calibration_error, c.negative_log_likelihood):
        with pytest.raises(InputError, match="no probabilities"):
            measure([[2.0, 1.0]], [0])
    with pytest.raises(InputError, match="at least 1"):
        c.expected_calibration_error([[0.5, 0.5]], [0], bins=0)

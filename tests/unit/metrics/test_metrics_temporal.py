"""Intervals and moments in time: hand-worked cases, thresholds, refused input."""

import math

import numpy as np
import pytest

from palmist.errors import InputError
from palmist.metrics import temporal as t
from palmist.metrics.temporal import Detection


def test_overlap_by_hand():
    found = t.interval_iou([[0, 2], [4, 4]], [[1, 3], [0, 1], [5, 6], [4, 4]])
    assert found.tolist() == [[1 / 3, 0.5, 0, 0], [0, 0, 0, 0]]


def test_moments_by_hand():
    answers = [[[0, 10]], [[0, 4], [20, 30]], [], [[50, 60], [0, 1], [0, 1], [0, 1], [0, 1], [0, 10]]]
    found = t.moment_retrieval(answers, [[0, 8], [20, 28], [0, 5], [0, 10]])
    assert found.recall[1, 0.3][:2] == (0.25, 4)  # IoU 0.8, 0, none, 0
    assert found.recall[1, 0.5].value == 0.25
    assert found.recall[5, 0.5].value == 0.5  # the sixth answer of the last query is too late
    assert found.mean_iou.value == pytest.approx(0.2)
    assert found.recall[5, 0.5].interval[0] < 0.5 < found.recall[5, 0.5].interval[1]


def test_an_overlap_at_the_threshold_does_not_count_for_moments_and_does_for_detection():
    assert t.moment_retrieval([[[0, 1]]], [[0, 2]]).recall[1, 0.5].value == 0
    assert t.moment_retrieval([[[0, 1.01]]], [[0, 2]]).recall[1, 0.5].value == 1
    found = t.temporal_detection([Detection("a", 1, 0, 1, 0.9)], [Detection("a", 1, 0, 2)])
    assert found.average_precision[0.5].value == 1


def test_average_precision_by_hand():
    truth = [
        Detection("a", "cut", 0, 10),
        Detection("a", "cut", 20, 30),
        Detection("b", "cut", 0, 10),
        Detection("b", "mix", 5, 6),
    ]
    found = [
        Detection("a", "cut", 0, 10, 0.9),  # right
        Detection("a", "cut", 0, 9, 0.8),  # the same moment again: wrong
        Detection("b", "cut", 0, 4, 0.7),  # IoU 0.4
        Detection("c", "cut", 0, 10, 0.6),  # another video: wrong
        Detection("a", "cut", 21, 30, 0.5),  # right
        Detection("b", "cook", 0, 10, 0.99),  # no such truth: does not count
    ]
    measured = t.temporal_detection(found, truth)
    strict = (1 + 2 / 5) / 3  # precision 1, then 2 of 5
    loose = (1 + 2 / 3 + 3 / 5) / 3
    assert measured.average_precision[0.5].value == pytest.approx(strict / 2)  # mix was not found at all
    assert measured.average_precision[0.4].value == pytest.approx(loose / 2)
    assert measured.mean_average_precision.value == pytest.approx((4 * loose + strict) / 10)
    assert measured.mean_average_precision.n == 4
    assert measured.recall.value == pytest.approx((1 / 3 + 0) / 2)  # of a: the two best cover one; of b: IoU 0.4
    more = t.temporal_detection(found, truth, recall_answers=2)
    assert more.recall.value == pytest.approx((2 / 3 + 0) / 2)


def test_precision_is_made_to_fall_with_recall():
    truth = [Detection("a", 0, 0, 1), Detection("a", 0, 5, 6)]
    found = [Detection("a", 0, 8, 9, 3.0), Detection("a", 0, 0, 1, 2.0), Detection("a", 0, 5, 6, 1.0)]
    assert t.temporal_detection(found, truth).mean_average_precision.value == pytest.approx(2 / 3)  # not (1/2 + 2/3) / 2


def test_an_answer_takes_a_second_moment_when_its_best_is_taken():
    truth = [Detection("a", 0, 0, 10), Detection("a", 0, 0, 8)]
    found = [Detection("a", 0, 0, 10, 0.9), Detection("a", 0, 0, 10, 0.8)]
    assert t.temporal_detection(found, truth).mean_average_precision.value == 1


def test_the_truth_itself_is_perfect_and_order_does_not_matter():
    rng = np.random.default_rng(0)
    starts = rng.uniform(0, 50, 40)
    truth = [Detection(f"v{i % 5}", i % 3, s, s + 1 + i / 10, 0.5 + i / 100) for i, s in enumerate(starts)]
    assert t.temporal_detection(truth, truth).mean_average_precision.value == 1
    assert t.temporal_detection(truth, truth).recall.value == 1
    noisy = [d._replace(start=d.start + 0.7, end=d.end + 0.7) for d in truth]
    shuffled = [noisy[i] for i in rng.permutation(40)]
    one, other = t.temporal_detection(noisy, truth), t.temporal_detection(shuffled, truth[::-1])
    assert one.mean_average_precision.value == pytest.approx(other.mean_average_precision.value)
    assert 0 < one.mean_average_precision.value < 1


def test_nothing_true_and_nothing_found():
    assert math.isnan(t.temporal_detection([], []).mean_average_precision.value)
    assert t.temporal_detection([], [Detection("a", 0, 0, 1)]).mean_average_precision[:2] == (0, 1)


def test_state_changes_and_their_moment_by_hand():
    assert t.state_change_accuracy([True, False, True], [True, True, True]).value == pytest.approx(2 / 3)
    found = t.keyframe_error([8, 0, 15], [240, 240, 240], [150, math.nan, 240], 30, [True, False, True])
    assert found[:2] == (pytest.approx((1.0 + 0.5) / 2), 2)  # |120 - 150| / 30 and |225 - 240| / 30


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: t.interval_iou([[2, 1]], [[0, 1]]), "from 2 to 1 s"),
        (lambda: t.interval_iou([[0, math.nan]], [[0, 1]]), "from 0 to nan s"),
        (lambda: t.interval_iou([0, 1], [[0, 1]]), r"shape \(2,\)"),
        (lambda: t.moment_retrieval([[]], [[0, 1], [0, 1]]), "1 lists of answers came with 2 true"),
        (lambda: t.temporal_detection([Detection("a", 0, 3, 1)], []), "a found interval of a runs from 3 to 1 s"),
        (lambda: t.temporal_detection([Detection("a", 0, 0, 1, math.nan)], []), "with score nan"),
        (lambda: t.state_change_accuracy([0.7], [True]), "expected booleans"),
        (lambda: t.keyframe_error([16], [240], [3], [30], [True]), "expected 0 to 15"),
        (lambda: t.keyframe_error([1], [240], [math.nan], [30], [True]), "no frame of it"),
        (lambda: t.keyframe_error([1, 2], [240] * 2, [3] * 2, [30] * 2, [True]), "2 slots came with 1 state changes"),
    ],
)
def test_refused_with_a_sentence(call, said):
    with pytest.raises(InputError, match=said):
        call()

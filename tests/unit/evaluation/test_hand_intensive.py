"""The declared hand actions and their accuracy."""

from __future__ import annotations

import math

import numpy as np

from palmist.evaluation.hand_intensive import PALMIST_HAND_8_V1, PALMIST_HAND_27_V1, subset_accuracy
from palmist.readers.ntu_names import ACTIONS


def test_the_list_of_version_one_never_changes() -> None:
    assert sorted(PALMIST_HAND_27_V1) == [
        11, 12, 13, 29, 30, 31, 34, 54, 67, 69, 70, 71, 72, 73, 74, 75, 76, 77, 78, 81, 82, 83, 84, 85, 86, 93, 120,
    ]  # fmt: skip
    assert list(PALMIST_HAND_8_V1) == [11, 12, 13, 29, 30, 31, 34, 54]
    assert [PALMIST_HAND_27_V1[number] for number in (67, 71, 120)] == ["hush", "make OK sign", "rock-paper-scissors"]
    assert all(ACTIONS[number - 1] == name for number, name in PALMIST_HAND_27_V1.items())


def test_accuracy_counts_only_samples_of_the_list() -> None:
    labels = np.array([10, 11, 0, 5, 119, -1, 66])  # A11, A12, A1, A6, A120, unlabelled, A67
    predictions = np.array([10, 0, 0, 5, 119, 3, 66])
    found = subset_accuracy(predictions, labels)
    assert (found.value, found.n) == (0.75, 4)
    assert subset_accuracy(predictions + 1, np.where(labels < 0, -1, labels + 1), first=1) == found
    assert subset_accuracy(predictions, labels, PALMIST_HAND_8_V1).n == 2
    assert math.isnan(subset_accuracy([1], [1]).value)
    assert subset_accuracy([0], [0], first=1).n == 0  # index 0 is no action where action 1 has index 1

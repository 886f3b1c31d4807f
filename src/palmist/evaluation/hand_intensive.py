"""A declared list of NTU RGB+D 120 actions that are told apart by the hands, under our own name.

BHaRNet's authors speak of NTU-Hand 11 and 27 and have not published which actions these are; this is not their list. Once
published under a version a list here never changes: another choice gets another name.

>>> sorted(PALMIST_HAND_27_V1)[:3], PALMIST_HAND_27_V1[71]
([11, 12, 13], 'make OK sign')
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from palmist.metrics.classification import accuracy
from palmist.metrics.intervals import ArrayLike, Metric, as_array
from palmist.readers.ntu_names import ACTIONS

__all__ = ["PALMIST_HAND_8_V1", "PALMIST_HAND_27_V1", "subset_accuracy"]

_NUMBERS = (11, 12, 13, 29, 30, 31, 34, 54, 67, *range(69, 79), *range(81, 87), 93, 120)

#: Action number (1-120) -> name, 27 actions of NTU RGB+D 120.
PALMIST_HAND_27_V1: Mapping[int, str] = {number: ACTIONS[number - 1] for number in _NUMBERS}

#: The eight of them that are in NTU RGB+D 60.
PALMIST_HAND_8_V1: Mapping[int, str] = {number: name for number, name in PALMIST_HAND_27_V1.items() if number <= 60}


def subset_accuracy(
    predictions: ArrayLike, labels: ArrayLike, numbers: Collection[int] = PALMIST_HAND_27_V1, first: int = 0
) -> Metric:
    """Accuracy over the samples whose true action is in `numbers`, with its Wilson interval; any class may be predicted.

    predictions, labels: (N,) class indices, below 0 = not labelled; first: the index that action 1 has (0, or 1 where
    indices are the set's own numbers).
    """
    truth = as_array(labels, np.int64).ravel()
    inside = np.isin(truth + 1 - first, list(numbers)) & (truth >= first)
    return accuracy(predictions, np.where(inside, truth, -1))

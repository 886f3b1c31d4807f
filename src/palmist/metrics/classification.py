"""How often the right action is named (pure functions, numpy or torch in).

Letters: N samples, L classes, S segments. A label below 0 means "not labelled": that sample never counts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from palmist.errors import InputError
from palmist.metrics.intervals import Array, ArrayLike, Metric, as_array, wilson_interval


def ranks(scores: ArrayLike, labels: ArrayLike) -> Array:
    """Place of the true class among the scores, (N,), 0 = first; -1 for unlabelled.

    Ties: the lower class index is first.

    scores: (N, L) any numbers, larger is better; labels: (N,) class indices.
    """
    scores, labels = _check(scores, labels)
    labelled = labels >= 0
    true = np.take_along_axis(scores, np.where(labelled, labels, 0)[:, None], axis=1)
    earlier = np.arange(scores.shape[1])[None] < labels[:, None]
    place = ((scores > true) | ((scores == true) & earlier)).sum(1)
    return np.where(labelled, place, -1)


def top_k_accuracy(scores: ArrayLike, labels: ArrayLike, k: int = 1) -> Metric:
    """Share of labelled samples whose true class is among the first k scores, with its Wilson interval.

    scores: (N, L); labels: (N,). Example: top_k_accuracy([[0.2, 0.8]], [1]).value is 1.
    """
    place = ranks(scores, labels)
    place = place[place >= 0]
    return _share(int((place < k).sum()), len(place))


def accuracy(predictions: ArrayLike, labels: ArrayLike) -> Metric:
    """Share of labelled samples predicted right, with its Wilson interval. predictions, labels: (N,) class indices."""
    predictions, labels = as_array(predictions, np.int64).ravel(), as_array(labels, np.int64).ravel()
    _same_length(predictions, labels)
    labelled = labels >= 0
    return _share(int((predictions == labels)[labelled].sum()), int(labelled.sum()))


def confusion_matrix(predictions: ArrayLike, labels: ArrayLike, classes: int) -> Array:
    """Counts (L, L): row = true class, column = predicted class. Unlabelled samples are left out."""
    predictions, labels = as_array(predictions, np.int64).ravel(), as_array(labels, np.int64).ravel()
    _same_length(predictions, labels)
    kept = labels >= 0
    predictions, labels = predictions[kept], labels[kept]
    if len(labels) and (max(labels.max(), predictions.max()) >= classes or predictions.min() < 0):
        raise InputError(f"A class index lies outside 0..{classes - 1}; give the number of classes of the label table.")
    return np.bincount(labels * classes + predictions, minlength=classes * classes).reshape(classes, classes)


def class_recall(confusion: ArrayLike) -> Array:
    """Recall of each class (L,), nan for a class without samples. confusion: (L, L) as of `confusion_matrix`."""
    counts = as_array(confusion, np.float64)
    totals = counts.sum(1)
    return np.divide(np.diagonal(counts), totals, out=np.full(len(totals), np.nan), where=totals > 0)


def mean_class_accuracy(predictions: ArrayLike, labels: ArrayLike, classes: int) -> Metric:
    """Mean of the per-class recalls over the classes that occur; n counts labelled samples.

    The interval is normal-theory over the classes' own binomial errors (each recall shrunk as by Wilson), 95 %.
    """
    confusion = confusion_matrix(predictions, labels, classes)
    recall = class_recall(confusion)
    present = ~np.isnan(recall)
    n = int(confusion.sum())
    if not n:
        return Metric(math.nan, 0)
    totals = confusion.sum(1)[present]
    shrunk = (np.diagonal(confusion)[present] + 2) / (totals + 4)  # Agresti and Coull: never a zero variance
    error = 1.959964 * math.sqrt(float((shrunk * (1 - shrunk) / totals).sum())) / len(totals)
    value = float(recall[present].mean())
    return Metric(value, n, (max(0.0, value - error), min(1.0, value + error)))


def sum_over_windows(probabilities: ArrayLike, segments: Sequence[Any] | ArrayLike) -> tuple[Array, Array]:
    """Sum the class probabilities of all windows of each segment (HTT): ids (S,) in first-seen order, sums (S, L).

    probabilities: (N, L); segments: (N,) the segment each window belongs to (numbers or names).
    """
    probabilities = as_array(probabilities, np.float64)
    ids, first, inverse = np.unique(as_array(segments), return_index=True, return_inverse=True)
    if probabilities.ndim != 2 or len(inverse) != len(probabilities):
        raise InputError(
            f"Probabilities of shape {probabilities.shape} came with {len(inverse)} segment ids; give (N, L) and N ids."
        )
    order = np.argsort(first)
    place = np.empty(len(ids), int)
    place[order] = np.arange(len(ids))
    sums = np.zeros((len(ids), probabilities.shape[1]))
    np.add.at(sums, place[inverse.ravel()], probabilities)
    return ids[order], sums


def segment_accuracy(probabilities: ArrayLike, segments: Sequence[Any] | ArrayLike, labels: ArrayLike, k: int = 1) -> Metric:
    """Top-k accuracy over action segments, each counted once however many windows it has, with its Wilson interval.

    probabilities: (N, L) per window; segments: (N,) ids; labels: (N,) the segment's label, repeated for each window.
    """
    labels = as_array(labels, np.int64).ravel()
    names = as_array(segments).ravel()
    ids, sums = sum_over_windows(probabilities, names)
    _same_length(names, labels)
    per_segment = np.empty(len(ids), np.int64)
    for i, name in enumerate(ids):
        own = np.unique(labels[names == name])
        if len(own) != 1:
            raise InputError(f"Segment {name!r} has windows with different labels {own.tolist()}; a segment has one label.")
        per_segment[i] = own[0]
    return top_k_accuracy(sums, per_segment, k)


def expected_calibration_error(probabilities: ArrayLike, labels: ArrayLike, bins: int = 15) -> Metric:
    """How far confidence lies from accuracy: the mean gap over bins of the largest probability, weighted by their samples.

    Guo et al., On calibration of modern neural networks (ICML 2017), equation 3; bins of equal width, (0, 1/M] to ((M-1)/M, 1].

    Args:
        probabilities: (N, L), rows of sum 1. labels: (N,) class indices, below 0: does not count. bins: M.

    Raises InputError for rows that are no probabilities, or fewer than one bin.
    Example: expected_calibration_error([[0.8, 0.2], [0.8, 0.2]], [0, 1]).value is 0.3: sure by 0.8, right in half.
    """
    probabilities, labels = _check_probabilities(probabilities, labels)
    if bins < 1:
        raise InputError(f"{bins} bins were asked for; expected at least 1 (15 is common).")
    kept = labels >= 0
    probabilities, labels = probabilities[kept], labels[kept]
    if not len(labels):
        return Metric(math.nan, 0)
    confidence = probabilities.max(1)
    right = probabilities.argmax(1) == labels
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    # |sum of right - sum of confidence| in a bin is its gap times its samples
    gaps = np.abs(np.bincount(place, right, bins) - np.bincount(place, confidence, bins))
    return Metric(float(gaps.sum() / len(labels)), len(labels))


def negative_log_likelihood(probabilities: ArrayLike, labels: ArrayLike, least: float = 1e-12) -> Metric:
    """Mean of -ln of the true class's probability, in nats; probabilities below `least` count as `least`.

    probabilities: (N, L), rows of sum 1; labels: (N,) class indices, below 0: does not count.
    """
    probabilities, labels = _check_probabilities(probabilities, labels)
    kept = labels >= 0
    true = np.take_along_axis(probabilities[kept], labels[kept][:, None], axis=1)
    return Metric(float(-np.log(np.maximum(true, least)).mean()), len(true)) if len(true) else Metric(math.nan, 0)


def _share(successes: int, n: int) -> Metric:
    return Metric(successes / n, n, wilson_interval(successes, n)) if n else Metric(math.nan, 0)


def _same_length(first: Array, second: Array) -> None:
    if len(first) != len(second):
        raise InputError(f"{len(first)} predictions came with {len(second)} labels; give one label per prediction.")


def _check(scores: ArrayLike, labels: ArrayLike) -> tuple[Array, Array]:
    scores, labels = as_array(scores, np.float64), as_array(labels, np.int64).ravel()
    if scores.ndim != 2:
        raise InputError(f"Scores have shape {scores.shape}; expected (samples, classes).")
    _same_length(scores, labels)
    if np.isnan(scores).any():
        raise InputError("Scores hold nan; every class needs a number (a model that diverged gives nan).")
    if len(labels) and labels.max() >= scores.shape[1]:
        raise InputError(f"Label {labels.max()} was given with scores of {scores.shape[1]} classes; labels must be below that.")
    return scores, labels


def _check_probabilities(probabilities: ArrayLike, labels: ArrayLike) -> tuple[Array, Array]:
    probabilities, labels = _check(probabilities, labels)
    if probabilities.size and (probabilities.min() < -1e-6 or np.abs(probabilities.sum(1) - 1).max() > 1e-3):
        raise InputError("Rows were found that are no probabilities; expected numbers of at least 0 that sum to 1 (a softmax).")
    return probabilities, labels

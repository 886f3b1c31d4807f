"""When something happens: intervals found in time, and moments (pure functions, numpy or torch in).

- `moment_retrieval`: Ego4D's natural language queries, the answer to a question is one interval (measures of GroundNLQ);
- `temporal_detection`: Ego4D's moment queries, PKU-MMD and other sets where intervals of many classes are to be found;
- `state_change_accuracy`, `keyframe_error`: Ego4D's state changes and their point of no return (measures of EgoVLP).

Intervals are (start, end) in seconds, end not before start. Moment retrieval counts an overlap strictly above its threshold, as
GroundNLQ does; detection counts one at the threshold too, as the evaluation of ActivityNet does, from which Ego4D's comes.

Letters: Q queries, K answers of a query, N, M intervals.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from palmist.errors import InputError
from palmist.metrics.classification import accuracy
from palmist.metrics.intervals import Array, ArrayLike, Metric, as_array, mean_metric, wilson_interval

__all__ = [
    "Detection",
    "MomentRetrieval",
    "TemporalDetection",
    "interval_iou",
    "keyframe_error",
    "moment_retrieval",
    "state_change_accuracy",
    "temporal_detection",
]

#: Overlaps at which detections are judged; Ego4D's own set is not known for EgoVideo's printed value.
DETECTION_THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5)


class Detection(NamedTuple):
    """An interval of a class in a video; `score` counts for found ones, not for true ones."""

    video: Hashable
    label: Hashable
    start: float
    end: float
    score: float = 1.0


class MomentRetrieval(NamedTuple):
    """recall[k, threshold]: share of queries with one of the first k answers above the threshold; mean_iou: of the first."""

    recall: dict[tuple[int, float], Metric]
    mean_iou: Metric


class TemporalDetection(NamedTuple):
    """mean_average_precision: over classes and thresholds; average_precision[threshold]: over classes; recall: see
    `temporal_detection`. n counts true intervals; intervals of the means draw classes."""

    mean_average_precision: Metric
    average_precision: dict[float, Metric]
    recall: Metric


def interval_iou(first: ArrayLike, second: ArrayLike) -> Array:
    """Overlap over union of every interval of `first` (N, 2) with every one of `second` (M, 2): (N, M) in 0..1.

    Two intervals of no length have 0. Raises InputError for other shapes, nan, or an end before its start.

    >>> interval_iou([[0, 2]], [[1, 3], [0, 1], [5, 6]])
    array([[0.33333333, 0.5       , 0.        ]])
    """
    one, other = _intervals(first), _intervals(second)
    low = np.maximum(one[:, None, 0], other[None, :, 0])
    high = np.minimum(one[:, None, 1], other[None, :, 1])
    shared = np.maximum(high - low, 0)
    union = (one[:, 1] - one[:, 0])[:, None] + (other[:, 1] - other[:, 0])[None] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def moment_retrieval(
    answers: Sequence[ArrayLike],
    truth: ArrayLike,
    first: Iterable[int] = (1, 5),
    thresholds: Iterable[float] = (0.3, 0.5),
) -> MomentRetrieval:
    """Share of queries answered, an overlap counting **above** the threshold only, and the mean overlap of the first answers.

    answers: for each query its intervals (K, 2), best first, none if nothing was found; truth: (Q, 2).

    >>> moment_retrieval([[[0, 1], [0, 2]]], [[0, 2]]).recall[1, 0.5].value    # half is not above half
    0.0
    """
    true = _intervals(truth)
    if len(answers) != len(true):
        raise InputError(f"{len(answers)} lists of answers came with {len(true)} true intervals; give one list per query")
    overlaps = [
        interval_iou(own, true[number : number + 1])[:, 0] if len(own) else np.zeros(0) for number, own in enumerate(answers)
    ]
    limits = tuple(thresholds)
    recall: dict[tuple[int, float], Metric] = {}
    for k in first:
        best = np.array([found[:k].max(initial=0) for found in overlaps])
        recall |= {(k, limit): _share(int((best > limit).sum()), len(best)) for limit in limits}
    return MomentRetrieval(recall, mean_metric([found[0] if len(found) else 0.0 for found in overlaps], interval=True))


def temporal_detection(
    found: Iterable[Detection],
    truth: Iterable[Detection],
    thresholds: Sequence[float] = DETECTION_THRESHOLDS,
    recall_threshold: float = 0.5,
    recall_answers: int = 1,
) -> TemporalDetection:
    """Mean average precision of intervals found in videos, and how many of the true ones the best answers cover.

    Each class on its own: found intervals go by falling score, over all videos; each takes the true interval of its video
    that it overlaps most, among those not yet taken, if the overlap reaches the threshold, else it is wrong. Average precision
    is the area under precision, made to fall with recall, as ActivityNet and PASCAL VOC do. Classes without a true interval do
    not count.

    recall (R@kx of Ego4D, k = `recall_answers`): in a video that has n true intervals of a class, those that overlap one of the
    class's k n best answers by `recall_threshold` or more; share of true intervals for each class, then mean over classes.
    """
    true, guesses = _by_class(truth, "true"), _by_class(found, "found")
    total = sum(len(own) for own in true.values())
    if not total:
        nothing = Metric(math.nan, 0)
        return TemporalDetection(nothing, dict.fromkeys(thresholds, nothing), nothing)
    precision = np.array([_average_precision(guesses.get(label, []), own, thresholds) for label, own in true.items()])
    covered = [_coverage(guesses.get(label, []), own, recall_threshold, recall_answers) for label, own in true.items()]
    each = {limit: _over_classes(precision[:, place], total) for place, limit in enumerate(thresholds)}
    return TemporalDetection(_over_classes(precision.mean(1), total), each, _over_classes(np.array(covered), total))


def state_change_accuracy(predicted: ArrayLike, truth: ArrayLike) -> Metric:
    """Share of clips (OSCC) of which it is told right whether an object changes its state. predicted, truth: (N,) booleans."""
    told, changes = as_array(predicted), as_array(truth)
    if told.dtype != bool or changes.dtype != bool:
        raise InputError(f"state changes are {told.dtype} and {changes.dtype}; expected booleans, for example scores > 0.5")
    return accuracy(told, changes)


def keyframe_error(
    slots: ArrayLike, lengths: ArrayLike, keyframes: ArrayLike, rates: ArrayLike, changes: ArrayLike, count: int = 16
) -> Metric:
    """Mean distance in seconds of the predicted from the true moment of change (PNR), over clips that have one.

    slots (N,): which of `count` evenly spaced frames is named, 0 to count - 1; lengths (N,): frames of the clip; keyframes
    (N,): the true frame, from the clip's first; rates (N,): frames per second; changes (N,): booleans, False: not counted.
    Error of a clip: |slot length / count - keyframe| / rate (EgoVLP).
    """
    named, counted = as_array(slots, np.float64).ravel(), as_array(changes, bool).ravel()
    parts = [np.broadcast_to(as_array(part, np.float64), named.shape) for part in (lengths, keyframes, rates)]
    if len(counted) != len(named):
        raise InputError(f"{len(named)} slots came with {len(counted)} state changes; give one of each per clip")
    if len(named) and not 0 <= named.min() <= named.max() <= count - 1:
        raise InputError(f"slots run from {named.min():g} to {named.max():g}; expected 0 to {count - 1}")
    size, frame, rate = (part[counted] for part in parts)
    if (rate <= 0).any() or np.isnan(frame).any():
        raise InputError("a clip with a state change has no frame of it or no rate above 0; expected both")
    return mean_metric(np.abs(named[counted] * size / count - frame) / rate, interval=True)


def _average_precision(found: list[Detection], truth: list[Detection], thresholds: Sequence[float]) -> Array:
    """Of one class, (thresholds,)."""
    order = sorted(found, key=lambda guess: -guess.score)  # stable: equal scores stay in the order given
    of_video = _by_video(truth)
    spans = {video: np.array([own[2:4] for own in others]) for video, others in of_video.items()}
    overlaps = [interval_iou([guess[2:4]], spans[guess.video])[0] if guess.video in spans else np.zeros(0) for guess in order]
    result = np.zeros(len(thresholds))
    for place, limit in enumerate(thresholds):
        taken = {video: np.zeros(len(own), bool) for video, own in of_video.items()}
        right = np.zeros(len(order))
        for number, (guess, overlap) in enumerate(zip(order, overlaps, strict=True)):
            free = np.where(taken[guess.video], -1.0, overlap) if len(overlap) else overlap
            if len(free) and free.max() >= limit:
                taken[guess.video][free.argmax()] = True
                right[number] = 1
        hits = right.cumsum()
        best = np.maximum.accumulate((hits / np.arange(1, len(order) + 1))[::-1])[::-1]
        result[place] = (best * right).sum() / len(truth)
    return result


def _coverage(found: list[Detection], truth: list[Detection], limit: float, answers: int) -> float:
    guesses, covered = _by_video(sorted(found, key=lambda guess: -guess.score)), 0
    for video, own in _by_video(truth).items():
        chosen = guesses.get(video, [])[: answers * len(own)]
        if chosen:
            overlap = interval_iou([guess[2:4] for guess in chosen], [moment[2:4] for moment in own])
            covered += int((overlap >= limit).any(0).sum())
    return covered / len(truth)


def _by_class(detections: Iterable[Detection], what: str) -> dict[Hashable, list[Detection]]:
    classes = defaultdict(list)
    for detection in detections:
        if not (detection.start <= detection.end and math.isfinite(detection.score)):
            raise InputError(
                f"a {what} interval of {detection.video} runs from {detection.start} to {detection.end} s with score "
                f"{detection.score}; expected an end not before the start and a number"
            )
        classes[detection.label].append(detection)
    return classes


def _by_video(detections: Iterable[Detection]) -> dict[Hashable, list[Detection]]:
    videos = defaultdict(list)
    for detection in detections:
        videos[detection.video].append(detection)
    return videos


def _over_classes(values: Array, n: int) -> Metric:
    return mean_metric(values, interval=True)._replace(n=n)


def _share(successes: int, n: int) -> Metric:
    return Metric(successes / n, n, wilson_interval(successes, n)) if n else Metric(math.nan, 0)


def _intervals(values: ArrayLike) -> Array:
    spans = as_array(values, np.float64)
    if spans.size == 0:
        return spans.reshape(0, 2)
    if spans.ndim != 2 or spans.shape[1] != 2:
        raise InputError(f"intervals have shape {spans.shape}; expected (N, 2), start and end in seconds")
    if not (spans[:, 0] <= spans[:, 1]).all():
        wrong = spans[~(spans[:, 0] <= spans[:, 1])][0]
        raise InputError(f"an interval runs from {wrong[0]:g} to {wrong[1]:g} s; expected an end not before the start")
    return spans

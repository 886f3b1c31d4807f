"""Average precision of hand-object detections, as 100DOH's authors measure it (Shan et al., CVPR 2020).

A detection counts as right when the true box that it overlaps most is overlapped by more than 0.5, was not found by a better
detection, and agrees in what is asked: side, contact state, the box of the thing that is touched, or all of these. A wrong
one does not use its true box up. All detections of all frames are ranked together by score.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from palmist.errors import InputError
from palmist.metrics.intervals import Metric
from palmist.perception.objects import HandBox, HandObjects

__all__ = ["DETECTION_KINDS", "average_precision", "detection_ap"]

_LEAST_OVERLAP = 0.5
_Condition = Callable[[HandBox, HandObjects, HandBox, HandObjects], bool]


def average_precision(right: Sequence[bool] | np.ndarray, truths: int, eleven_points: bool = False) -> float:
    """Area under precision over recall, each precision raised to the best one at that recall or further on.

    right: (N,) whether each detection is right, best score first. truths: how many there are to find.
    eleven_points: mean of the precision at recalls 0, 0.1, ..., 1 (PASCAL VOC until 2009) in the area's place.
    nan without truths.
    """
    if truths < 1:
        return math.nan
    found = np.cumsum(np.asarray(right, np.float64))
    if len(found) and found[-1] > truths:
        raise InputError(f"{int(found[-1])} right detections were given for {truths} truths; expected at most as many")
    recall = found / truths
    precision = found / np.arange(1, len(found) + 1)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    if eleven_points:
        return float(np.mean([best[recall >= level - 1e-12].max(initial=0.0) for level in np.linspace(0, 1, 11)]))
    return float((np.diff(recall, prepend=0.0) * best).sum())


def detection_ap(
    found: Sequence[HandObjects], truth: Sequence[HandObjects], kind: str = "hand", eleven_points: bool = False
) -> Metric:
    """Average precision over frames; found, truth: one HandObjects per frame, found with all scores (thresholds of 0).

    kind, one of DETECTION_KINDS: "hand" and "object" ask for the box alone; "hand+side", "hand+state" and "hand+object" for
    that as well (object: both touch nothing, or things that overlap by more than 0.5), "all" for everything.

    n is the number of true boxes. Raises InputError for an unknown kind, or lists of different lengths.

    >>> detection_ap([detector.detect(time, image) for image, time in frames], truth, "all").value
    """
    if kind not in DETECTION_KINDS:
        raise InputError(f"there is no detection metric '{kind}'; expected one of {', '.join(DETECTION_KINDS)}")
    if len(found) != len(truth):
        raise InputError(f"{len(found)} frames of detections came with {len(truth)} true ones; expected as many")
    ranked: list[tuple[float, bool]] = []
    count = 0
    for seen, real in zip(found, truth, strict=True):
        boxes = real.objects if kind == "object" else real.hands
        own = seen.objects if kind == "object" else seen.hands
        count += len(boxes)
        taken: set[int] = set()
        for place in sorted(range(len(own)), key=lambda n: -own[n].score):
            shares = [_overlap(own[place].box, other.box, 1.0) for other in boxes]
            best = int(np.argmax(shares)) if shares else -1
            right = bool(shares) and shares[best] > _LEAST_OVERLAP and best not in taken
            if right and kind != "object":
                right = DETECTION_KINDS[kind](seen.hands[place], seen, real.hands[best], real)
            if right:
                taken.add(best)
            ranked.append((own[place].score, right))
    # Frames may be ranked one by one first: of two detections on one true box the better one comes first anyway.
    ranked.sort(key=lambda pair: -pair[0])
    return Metric(average_precision([right for _, right in ranked], count, eleven_points), count)


def _anything(hand: HandBox, seen: HandObjects, other: HandBox, real: HandObjects) -> bool:
    return True


def _same_side(hand: HandBox, seen: HandObjects, other: HandBox, real: HandObjects) -> bool:
    return hand.side == other.side


def _same_state(hand: HandBox, seen: HandObjects, other: HandBox, real: HandObjects) -> bool:
    return hand.contact == other.contact


def _same_object(hand: HandBox, seen: HandObjects, other: HandBox, real: HandObjects) -> bool:
    if hand.object is None or other.object is None:
        return hand.object is other.object
    return _overlap(seen.objects[hand.object].box, real.objects[other.object].box, 0.0) > _LEAST_OVERLAP


def _same_all(hand: HandBox, seen: HandObjects, other: HandBox, real: HandObjects) -> bool:
    return all(same(hand, seen, other, real) for same in (_same_side, _same_state, _same_object))


#: What `detection_ap` can ask for.
DETECTION_KINDS: dict[str, _Condition] = {
    "hand": _anything,
    "object": _anything,
    "hand+side": _same_side,
    "hand+state": _same_state,
    "hand+object": _same_object,
    "all": _same_all,
}


def _overlap(one: np.ndarray, two: np.ndarray, end: float) -> float:
    """Intersection over union of two boxes (4,); end: 1 where the last pixel is part of a box, as 100DOH counts hands."""
    low, high = np.maximum(one[:2], two[:2]), np.minimum(one[2:], two[2:])
    common = float(np.prod(np.maximum(high - low + end, 0)))
    whole = float(np.prod(one[2:] - one[:2] + end) + np.prod(two[2:] - two[:2] + end)) - common
    return common / whole if whole > 0 else 0.0

"""Rows of 100DOH's detector (Shan et al., CVPR 2020) and HandObjects, both ways.

A hand is 10 numbers: x0, y0, x1, y1 (pixels), score, contact state (place in CONTACTS), magnitude, dx, dy, side (0 left,
1 right). An object is 5 or more of which the first 5 count: box and score. The hand's thing lies near the hand's centre moved
by its offset: 1000 pixels x magnitude along (dx, dy).

Public code writes (dx, dy) with length 0.1, as its network gives it, and moves by 10000 x magnitude; other programs write unit
vectors. Only the direction is read here, so that both mean the same.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from palmist.errors import InputError
from palmist.perception.objects import CONTACTS, OFFSET_UNIT, HandBox, HandObjects, ObjectBox, match_object

__all__ = ["HAND_COLUMNS", "OBJECT_COLUMNS", "THRESHOLD", "check_rows", "from_rows", "to_rows"]

HAND_COLUMNS = 10
OBJECT_COLUMNS = 5
THRESHOLD = 0.5
_DIRECTION_LENGTH = 0.1  # of (dx, dy) in the rows that public code writes


def check_rows(rows: object, what: str, least: int, most: int) -> np.ndarray:
    """(N, least to most) float64 of a table; None and empty tables are (0, least). Raises InputError for anything else."""
    if rows is None:
        return np.zeros((0, least))
    try:
        table = np.asarray(rows, np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{what} is no table of numbers ({error}); expected rows of {least} numbers") from error
    if table.size == 0 and table.ndim <= 2:
        return np.zeros((0, least))
    if table.ndim != 2 or not least <= table.shape[1] <= most:
        count = str(least) if least == most else f"{least} to {most}"
        raise InputError(f"{what} has shape {table.shape}; expected (detections, {count})")
    if not np.isfinite(table).all():
        raise InputError(f"{what} is NaN or infinite in row {int((~np.isfinite(table)).any(1).argmax())}; leave such rows out")
    return table


def from_rows(
    hands: np.ndarray,
    objects: np.ndarray,
    hand_threshold: float = THRESHOLD,
    object_threshold: float = THRESHOLD,
    names: Sequence[str | None] | None = None,
) -> HandObjects:
    """The hands and objects whose score is above its threshold; a hand with a contact state above 0 gets its object.

    hands (N, 10), objects (M, 5 or more) as in the module's text; names: of the objects, None for unknown.

    Raises InputError for rows of another width, and for boxes, states and sides that do not exist.
    """
    hands = check_rows(hands, "hand_dets", HAND_COLUMNS, HAND_COLUMNS)
    objects = check_rows(objects, "obj_dets", OBJECT_COLUMNS, HAND_COLUMNS)
    names = [None] * len(objects) if names is None else names
    things = tuple(
        ObjectBox(row[:4], float(row[4]), name) for row, name in zip(objects, names, strict=True) if row[4] > object_threshold
    )
    found = []
    for row in hands:
        if row[4] <= hand_threshold:
            continue
        state, side = _whole(row[5], "contact state"), _whole(row[9], "side")
        length = float(np.hypot(row[7], row[8]))
        direction = row[7:9] / length if length > 0 else np.zeros(2)
        touched = match_object(row[:4], (row[6], *direction), things) if state > 0 else None
        found.append(HandBox(row[:4], float(row[4]), side, state, touched))
    return HandObjects(tuple(found), things)


def to_rows(found: HandObjects) -> tuple[np.ndarray, np.ndarray]:
    """hands (N, 10) and objects (M, 5); what `from_rows` with thresholds of 0 gives back, except for points and names.

    The offset leads from the hand's centre to its object's, (dx, dy) with length 0.1. A hand in contact with no known object
    gets the offset 0, and `from_rows` will give it the nearest object.
    """
    objects = np.array([[*thing.box, thing.score] for thing in found.objects]).reshape(-1, OBJECT_COLUMNS)
    hands = np.zeros((len(found.hands), HAND_COLUMNS))
    for row, hand in zip(hands, found.hands, strict=True):
        row[:4], row[4], row[5], row[9] = hand.box, hand.score, hand.contact, hand.side
        if hand.object is not None:
            thing = found.objects[hand.object].box
            offset = (thing[:2] + thing[2:] - hand.box[:2] - hand.box[2:]) / 2
            length = float(np.linalg.norm(offset))
            row[6] = length / OFFSET_UNIT
            row[7:9] = _DIRECTION_LENGTH * offset / length if length > 0 else 0.0
    return hands, objects


def _whole(value: float, what: str) -> int:
    if value != int(value):
        raise InputError(f"a hand has the {what} {value}; expected a whole number, states 0 to 4: {', '.join(CONTACTS)}")
    return int(value)

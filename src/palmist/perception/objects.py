"""Hands and the things that they act on, in one frame: what every hand-object detector gives, and what such a detector is.

The fields and states are those of 100DOH's detector (Shan et al., CVPR 2020), so that its files and networks fit as they are.
Pixels: x right, y down, boxes x0, y0, x1, y1. Sides are the person's own in an image that is not mirrored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from palmist.errors import InputError

__all__ = ["CONTACTS", "HandBox", "HandObjectDetector", "HandObjects", "ObjectBox", "match_object"]

CONTACTS = ("none", "self", "other person", "portable object", "stationary object")
OFFSET_UNIT = 1000.0  # pixels of one unit of 100DOH's offset magnitude, after its network's own factor of 0.1


@dataclass(frozen=True, eq=False)
class HandBox:
    """One hand of one frame.

    box: (4,) x0, y0, x1, y1 pixels; score: 0 to 1; side: 0 left, 1 right; contact: place in CONTACTS.
    object: place of the thing that it touches among the frame's objects, None for none or unknown.
    points: (21, 2) pixels in Palmist's joint order, where the detector knows them.

    Raises InputError for a box that is no box, a side or a state that does not exist.
    """

    box: np.ndarray
    score: float
    side: int
    contact: int = 0
    object: int | None = None
    points: np.ndarray | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "box", _box(self.box, "a hand"))
        if self.side not in (0, 1):
            raise InputError(f"a hand has side {self.side}; expected 0 (left) or 1 (right)")
        if self.contact not in range(len(CONTACTS)):
            raise InputError(f"a hand has contact state {self.contact}; expected 0 to 4, that is {', '.join(CONTACTS)}")


@dataclass(frozen=True, eq=False)
class ObjectBox:
    """One thing of one frame: box (4,) x0, y0, x1, y1 pixels; score: 0 to 1; name: what it is, None where nobody said."""

    box: np.ndarray
    score: float = 1.0
    name: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "box", _box(self.box, "an object"))


@dataclass(frozen=True)
class HandObjects:
    """What a detector found in one frame. Raises InputError for a hand whose object is not among the objects."""

    hands: tuple[HandBox, ...] = ()
    objects: tuple[ObjectBox, ...] = ()

    def __post_init__(self) -> None:
        for hand in self.hands:
            if hand.object is not None and not 0 <= hand.object < len(self.objects):
                raise InputError(
                    f"a hand touches object {hand.object}; expected one of the frame's {len(self.objects)} objects"
                )


class HandObjectDetector(Protocol):
    """Finds hands and the things that they touch, frame by frame in the order of time; a new one for every video."""

    def detect(self, time: float, frame: np.ndarray) -> HandObjects:
        """One frame: time in seconds, frame (H, W, 3) uint8 RGB."""
        ...

    def describe(self) -> Mapping[str, Any]:
        """JSON-like facts: name, version, settings."""
        ...


def match_object(box: np.ndarray, offset: Sequence[float], objects: Sequence[ObjectBox]) -> int | None:
    """The object that a hand of 100DOH's detector touches: the one whose centre is nearest to the hand's centre moved by its
    offset (magnitude, dx, dy), magnitude in units of 1000 px. None without objects. The caller asks only for hands whose
    contact state is above 0."""
    if not objects:
        return None
    magnitude, dx, dy = (float(value) for value in offset)
    hand = np.asarray(box, np.float64)
    target = (hand[:2] + hand[2:]) / 2 + OFFSET_UNIT * magnitude * np.array([dx, dy])
    centres = np.array([(thing.box[:2] + thing.box[2:]) / 2 for thing in objects])
    return int(np.linalg.norm(centres - target, axis=1).argmin())


def _box(value: np.ndarray, what: str) -> np.ndarray:
    box = np.array(value, np.float64)
    if box.shape != (4,) or not np.isfinite(box).all() or box[2] < box[0] or box[3] < box[1]:
        raise InputError(
            f"{what} has the box {np.asarray(value).tolist()}; expected x0, y0, x1, y1 in pixels, x0 <= x1, y0 <= y1"
        )
    box.flags.writeable = False
    return box

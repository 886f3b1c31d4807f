"""A path as straight pieces with names: "up", then "to the right", then still.

The path is smoothed, cut at its corners (Douglas and Peucker, 1973), and each piece named by the direction from its start to
its end. Lengths are in hand sizes, the square root of the area of the hand's box, and in diagonals of the picture.

Letters: T frames. Pixels: x right, y down.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace

import numpy as np

from palmist.errors import InputError
from palmist.narration.facts import DIRECTIONS, STAYS, Piece

__all__ = ["PieceSettings", "direction_of", "motion_pieces"]


@dataclass(frozen=True)
class PieceSettings:
    """What counts as motion.

    smoothing: seconds of the moving mean, none at low rates; tolerance: a path is cut where it leaves the straight line by
    more than so many hand sizes; least_hands, least_diagonal: a piece that is shorter than so many hand sizes or diagonals
    "stays"; least_rest: a rest of so many seconds before or behind a motion is a piece of its own.
    """

    smoothing: float = 0.1
    tolerance: float = 0.35
    least_hands: float = 0.6
    least_diagonal: float = 0.03
    least_rest: float = 0.4


def direction_of(dx: float, dy: float) -> str:
    """The one of eight DIRECTIONS nearest to a displacement, x right, y down.

    >>> direction_of(0.0, -3.0)
    'up'
    """
    return DIRECTIONS[round(math.atan2(dy, dx) / (math.pi / 4)) % 8]


def motion_pieces(
    path: np.ndarray, time: np.ndarray, diagonal: float, size: float, settings: PieceSettings | None = None
) -> tuple[Piece, ...]:
    """The pieces of a path, in the order of time; neighbours of the same direction are one.

    Args:
        path: (T, 2) pixels, NaN where it is not known: nothing is said about what happened in such a gap.
        time: (T,) seconds. diagonal: of the picture in pixels. size: of the hand (or thing) in pixels.
    """
    settings = settings or PieceSettings()
    path, time = np.asarray(path, np.float64), np.asarray(time, np.float64)
    if path.ndim != 2 or path.shape[1] != 2 or time.shape != (len(path),):
        raise InputError(f"a path has shape {path.shape} and times {time.shape}; expected (frames, 2) and (frames,)")
    least = max(settings.least_hands * size, settings.least_diagonal * diagonal)
    pieces: list[Piece] = []
    for start, stop in _runs(np.isfinite(path).all(1)):
        points = _smooth(path[start:stop], time[start:stop], settings.smoothing)
        corners = _corners(points, settings.tolerance * size)
        found = []
        for first, last in itertools.pairwise(corners):
            found += _pieces(points, time[start:stop], first, last, diagonal, least, settings)
        if stop - start == 1:
            found = [Piece(float(time[start]), float(time[start]), STAYS, 0.0)]
        pieces += found
    return _merged(pieces)


def _runs(known: np.ndarray) -> list[tuple[int, int]]:
    """(start, stop) of each stretch of true entries."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], known, [False]]).astype(np.int8)))
    return [(int(start), int(stop)) for start, stop in edges.reshape(-1, 2)]


def _smooth(points: np.ndarray, time: np.ndarray, seconds: float) -> np.ndarray:
    """Moving mean over so many seconds, whose window shrinks towards both ends, so that they stay where they are."""
    step = float(np.median(np.diff(time))) if len(time) > 1 else 0.0
    half = int(seconds / step / 2 + 1e-6) if step > 0 else 0
    total = np.concatenate([np.zeros((1, 2)), np.cumsum(points, 0)])
    place = np.arange(len(points))
    reach = np.minimum(half, np.minimum(place, len(points) - 1 - place))
    mean: np.ndarray = (total[place + reach + 1] - total[place - reach]) / (2 * reach + 1)[:, None]
    return mean


def _corners(points: np.ndarray, tolerance: float) -> list[int]:
    """Places at which the path is cut, its ends among them."""
    kept, open_pieces = {0, len(points) - 1}, [(0, len(points) - 1)]
    while open_pieces:
        first, last = open_pieces.pop()
        if last - first < 2:
            continue
        between = points[first + 1 : last]
        start, along = points[first], points[last] - points[first]
        share = np.clip((between - start) @ along / max(float(along @ along), 1e-12), 0, 1)
        distance = np.linalg.norm(between - start - share[:, None] * along, axis=1)
        worst = int(distance.argmax())
        if distance[worst] > tolerance:
            corner = first + 1 + worst
            kept.add(corner)
            open_pieces += [(first, corner), (corner, last)]
    return sorted(kept)


def _pieces(
    points: np.ndarray, time: np.ndarray, first: int, last: int, diagonal: float, least: float, settings: PieceSettings
) -> list[Piece]:
    """One straight part; where the path waits before it or behind it for long, the rest is a piece of its own."""
    moved = points[last] - points[first]
    length = float(np.hypot(*moved))
    if length < least:
        return [Piece(float(time[first]), float(time[last]), STAYS, length / diagonal)]
    part = points[first : last + 1]
    away = np.linalg.norm(part - part[0], axis=1) > least / 4
    short_of = np.linalg.norm(part - part[-1], axis=1) > least / 4
    begin, end = first + max(int(away.argmax()) - 1, 0), last - max(int(short_of[::-1].argmax()) - 1, 0)
    begin = begin if time[begin] - time[first] >= settings.least_rest else first
    end = end if time[last] - time[end] >= settings.least_rest else last
    out = [Piece(float(time[begin]), float(time[end]), direction_of(*moved.tolist()), length / diagonal)]
    if begin > first:
        out.insert(0, Piece(float(time[first]), float(time[begin]), STAYS, 0.0))
    if end < last:
        out.append(Piece(float(time[end]), float(time[last]), STAYS, 0.0))
    return out


def _merged(pieces: list[Piece]) -> tuple[Piece, ...]:
    """Neighbours of one direction as one piece."""
    out: list[Piece] = []
    for piece in pieces:
        if out and out[-1].direction == piece.direction:
            out[-1] = replace(out[-1], end=piece.end, distance=out[-1].distance + piece.distance)
        else:
            out.append(piece)
    return tuple(out)

"""The camera's own motion, measured on the background: where each frame's pixels lie in the first picture.

Points are followed from frame to frame; those on hands and things are left out, and from the others a similarity (shift, turn,
zoom) is fitted that most of them agree with. The steps are chained back to frame 0. A background that moves by itself, water or
a crowd, cannot be told from a camera that moves.

Pixels: x right, y down. Letters: T frames, N points.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from palmist.errors import InputError
from palmist.perception.points import LucasKanade, PointTracker, PointTracks, random_points
from palmist.perception.video import Frame

__all__ = ["CameraMotion", "CameraSettings", "background_tracks", "camera_motion", "similarity"]

_ROUNDS = 10  # of reweighting


@dataclass(frozen=True)
class CameraSettings:
    """How the camera's motion is measured.

    points: followed at once, drawn anew where they are lost; least_points: fewer in the background give no motion; margin:
    by how much of its size a box is enlarged before the points in it are left out; least_spread: share of the picture's
    diagonal that the points must be spread over (standard deviation) for turn and zoom to be told, else they give a shift
    alone; reach: pixels, at a diagonal of 320, beyond which a point hardly counts.
    """

    points: int = 400
    least_points: int = 12
    margin: float = 0.25
    least_spread: float = 0.08
    reach: float = 0.5


@dataclass(frozen=True, eq=False)
class CameraMotion:
    """matrices (T, 2, 3): pixels of each frame -> pixels of frame 0; known (T,) bool: the step from the frame before was
    measured (where it was not, the camera is taken to stand still); points (T,): how many points the step rests on."""

    matrices: np.ndarray
    known: np.ndarray
    points: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))

    def __post_init__(self) -> None:
        matrices = np.array(self.matrices, np.float64)
        known = np.array(self.known, bool)
        if matrices.ndim != 3 or matrices.shape[1:] != (2, 3) or known.shape != (len(matrices),):
            raise InputError(
                f"camera matrices have shape {matrices.shape} and known {known.shape}; expected (frames, 2, 3) and (frames,)"
            )
        if not np.isfinite(matrices).all():
            raise InputError("some camera matrices are NaN or infinite; expected numbers, with known false where unknown")
        object.__setattr__(self, "matrices", matrices)
        object.__setattr__(self, "known", known)

    @classmethod
    def still(cls, frames: int, known: bool = True) -> CameraMotion:
        """A camera that does not move, or of which nothing is known."""
        return cls(np.tile(np.eye(2, 3), (frames, 1, 1)), np.full(frames, known), np.zeros(frames, np.int64))

    def take(self, frames: Sequence[int]) -> CameraMotion:
        """The motion at some frames: a step between two of them is known if all steps in between are."""
        rows = np.asarray(frames, np.int64)
        unknown = np.cumsum(~self.known)[rows]
        known = np.diff(unknown, prepend=unknown[:1]) == 0
        points = self.points[rows] if len(self.points) else self.points
        return CameraMotion(self.matrices[rows], known, points)

    def apply(self, points: np.ndarray) -> np.ndarray:
        """Pixels of each frame (T, ..., 2) as pixels of frame 0; NaN stays NaN."""
        extra = (1,) * (points.ndim - 2)
        linear = self.matrices[:, :, :2].reshape(-1, *extra, 2, 2)
        shift = self.matrices[:, :, 2].reshape(-1, *extra, 2)
        moved: np.ndarray = (linear @ points[..., None])[..., 0] + shift
        return moved

    def to_json(self) -> dict[str, Any]:
        """Plain values; `from_json` reads them."""
        return {"matrices": np.round(self.matrices, 6).tolist(), "known": self.known.tolist()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> CameraMotion:
        """What `to_json` gave. Raises InputError for anything else."""
        try:
            return cls(np.array(data["matrices"], np.float64).reshape(-1, 2, 3), np.array(data["known"], bool))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"this is no camera motion ({error}); expected what Palmist's narration wrote") from error


def background_tracks(
    frames: Iterable[Frame], tracker: PointTracker | None = None, settings: CameraSettings | None = None
) -> PointTracks:
    """Random points of the whole picture, followed through all frames; by default Lucas-Kanade, which draws lost points anew.

    Frames are read once, one after the other. Raises InputError for no frames or frames that change their size.
    """
    settings = settings or CameraSettings()
    tracker = tracker or LucasKanade(reseed=True)
    pairs = iter(frames)
    first = next(pairs, None)
    if first is None:
        raise InputError("found 0 frames to narrate; expected at least one")
    height, width = first.image.shape[:2]
    queries = random_points(settings.points, width, height, np.random.default_rng(0))

    def again() -> Iterable[Frame]:
        yield first
        yield from pairs

    return tracker(again(), queries)


def camera_motion(
    tracks: PointTracks, boxes: Sequence[np.ndarray] | None = None, settings: CameraSettings | None = None
) -> CameraMotion:
    """The camera's motion from point tracks.

    boxes: for each of the T frames (N, 4) x0, y0, x1, y1 pixels of hands and things, whose points are left out.
    """
    settings = settings or CameraSettings()
    count = len(tracks.tracks)
    if boxes is not None and len(boxes) != count:
        raise InputError(f"boxes were given for {len(boxes)} frames and points for {count}; expected the same frames")
    reach = settings.reach * float(np.hypot(tracks.width, tracks.height)) / 320
    assert tracks.seeded is not None  # PointTracks fills it
    motion = CameraMotion.still(count)
    matrices, known, used = motion.matrices, motion.known, np.zeros(count, np.int64)
    free = [
        tracks.visible[t] & ~_in_boxes(tracks.tracks[t], None if boxes is None else boxes[t], settings.margin)
        for t in range(count)
    ]
    for t in range(1, count):
        chosen = free[t] & free[t - 1] & ~tracks.seeded[t]
        here, before = tracks.tracks[t, chosen].astype(np.float64), tracks.tracks[t - 1, chosen].astype(np.float64)
        used[t] = len(here)
        step = np.eye(2, 3)
        known[t] = len(here) >= settings.least_points
        if known[t]:
            spread = float(np.hypot(*here.std(0))) / float(np.hypot(tracks.width, tracks.height))
            step = similarity(here, before, reach, shift_only=spread < settings.least_spread)
        matrices[t] = _compose(matrices[t - 1], step)
    return CameraMotion(matrices, known, used)


def similarity(source: np.ndarray, target: np.ndarray, reach: float, shift_only: bool = False) -> np.ndarray:
    """(2, 3) shift, turn and zoom that takes most of source (N, 2) to target (N, 2).

    Starts from the median shift and is reweighted: a point that is off by much more than `reach` pixels hardly counts
    (Geman-McClure). The scale of the weights shrinks to `reach` round by round, so that a first guess may be poor.
    """
    shift = np.median(target - source, axis=0)
    matrix = np.concatenate([np.eye(2), shift[:, None]], 1)
    for number in range(_ROUNDS):
        error = np.linalg.norm(source @ matrix[:, :2].T + matrix[:, 2] - target, axis=1)
        scale = reach * 8 ** max(0.0, 1 - number / (_ROUNDS / 2))
        weight = 1 / (1 + (error / scale) ** 2) ** 2
        weight /= max(float(weight.sum()), 1e-12)
        middle, goal = weight @ source, weight @ target
        if shift_only:
            matrix = np.concatenate([np.eye(2), (goal - middle)[:, None]], 1)
            continue
        x, y = (source - middle).T
        u, v = (target - goal).T
        power = float(weight @ (x * x + y * y))
        if power < 1e-9:
            break
        a, b = float(weight @ (x * u + y * v)) / power, float(weight @ (x * v - y * u)) / power
        linear = np.array([[a, -b], [b, a]])
        matrix = np.concatenate([linear, (goal - linear @ middle)[:, None]], 1)
    return matrix


def _compose(outer: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """First `inner`, then `outer`, both (2, 3)."""
    return np.concatenate([outer[:, :2] @ inner[:, :2], outer[:, :2] @ inner[:, 2:] + outer[:, 2:]], 1)


def _in_boxes(points: np.ndarray, boxes: np.ndarray | None, margin: float) -> np.ndarray:
    """(N,) which points lie in one of the boxes, each enlarged by `margin` of its size to every side."""
    inside = np.zeros(len(points), bool)
    for x0, y0, x1, y1 in () if boxes is None else np.asarray(boxes, np.float64).reshape(-1, 4):
        wider, higher = margin * (x1 - x0), margin * (y1 - y0)
        inside |= (points >= (x0 - wider, y0 - higher)).all(1) & (points <= (x1 + wider, y1 + higher)).all(1)
    return inside

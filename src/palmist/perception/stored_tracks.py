"""Point tracks that are made once and kept: read again while video, tracker and settings are the same, else made anew.

>>> queries = Queries(points=900, seed=0, name="cups.mp4")
>>> tracks = stored_tracks("cups.mp4.tracks.npz", LucasKanade(), frames, queries, rate=12.0)

The file is `PointTracks.save`'s: tracks, visible, round-trip error, times, width and height, the tracker with its version and
settings; among these the queries and the video's rate. Never a pickle, written whole or not at all.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from palmist.errors import InputError
from palmist.perception.points import PointTracker, PointTracks, load_point_tracks, random_points
from palmist.perception.video import Frame

__all__ = ["Queries", "foreground_points", "named_generator", "stored_tracks", "track"]


@dataclass(frozen=True)
class Queries:
    """Random points of a video's first frame: how many, and what they are drawn from, a seed and the video's name."""

    points: int = 900
    seed: int = 0
    name: str = ""

    def draw(self, width: int, height: int) -> np.ndarray:
        """(points, 2) float32 pixels."""
        return random_points(self.points, width, height, named_generator(self.seed, self.name))


def named_generator(seed: int, name: str) -> np.random.Generator:
    """Random numbers that belong to a seed and a name, on every machine the same."""
    digest = hashlib.sha256(name.encode()).digest()
    return np.random.default_rng(np.random.SeedSequence([seed, int.from_bytes(digest[:16], "little")]))


def _settings(tracker: PointTracker, queries: Queries, rate: float | None) -> dict[str, Any]:
    """As they come back from a file."""
    plain = {**tracker.settings, "queries": asdict(queries), "rate": rate}
    settings: dict[str, Any] = json.loads(json.dumps(plain))
    return settings


def track(frames: Iterable[Frame], tracker: PointTracker, queries: Queries, rate: float | None = None) -> PointTracks:
    """Follow random points of the first frame through all frames; the settings of the result hold queries and rate."""
    pairs = iter(frames)
    first = next(pairs, None)
    if first is None:
        raise InputError("found 0 frames to track in; expected at least one")
    height, width = first[0].shape[:2]

    def again() -> Iterable[Frame]:
        yield first
        yield from pairs

    found = tracker(again(), queries.draw(width, height))
    return replace(found, settings=_settings(tracker, queries, rate))


def stored_tracks(
    path: str | Path,
    tracker: PointTracker,
    frames: Callable[[], Iterable[Frame]],
    queries: Queries,
    rate: float | None = None,
    shape: tuple[int, int, int] | None = None,
) -> PointTracks:
    """The tracks in `path` if they were made of this video in this way; else they are made and written there.

    Args:
        frames: gives the video's frames, called only when it has to be tracked.
        rate: frames per second, None if not known.
        shape: frames, height, width of the video; tracks of a video of another shape are made anew. None is not compared.

    Raises InputError for a damaged file, one that is not of point tracks, or a folder that cannot be written to.
    """
    path = Path(path)
    if path.exists():
        kept = load_point_tracks(path)
        made_by: tuple[str, str, Mapping[str, Any]] = (kept.tracker, kept.tracker_version, kept.settings)
        fits = shape is None or shape == (len(kept.tracks), kept.height, kept.width)
        if fits and made_by == (tracker.name, tracker.version, _settings(tracker, queries, rate)):
            return kept
    made = track(frames(), tracker, queries, rate)
    made.save(path)
    return made


def foreground_points(tracks: np.ndarray, bandwidth: str | float = "scott") -> np.ndarray:
    """Which points do not move as most of them do: (T, P, 2) pixels -> (P,) bool.

    A kernel density estimate of the points' motion, the mean length of their steps, has its peak at the background. Foreground
    is where the density at a point's own motion is less than half of the highest one found. All points where all move alike.

    Args:
        bandwidth: "scott" or "silverman", or a factor times the spread of the motion.
    """
    motion = np.linalg.norm(np.diff(tracks.astype(np.float64), axis=0), axis=-1).mean(0) if len(tracks) > 1 else None
    if motion is None or np.ptp(motion) < 1e-9:
        return np.ones(tracks.shape[1], bool)
    from scipy.stats import gaussian_kde

    density = gaussian_kde(motion, bandwidth)(motion)  # type: ignore[arg-type]
    chosen: np.ndarray = density < 0.5 * density.max()
    return chosen if chosen.any() else np.ones(len(chosen), bool)

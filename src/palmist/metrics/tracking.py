"""How well points are tracked: the three measures of TAP-Vid (Doersch et al. 2022, arXiv 2211.03726, section 3.3).

All take tracks (T, N, 2) in pixels and flags (T, N), visible = True. Points start from queries: a point counts on the frames
behind its own query frame only ("first" mode), which is frame 0 unless `query_frames` (N,) says otherwise.

TAP-Vid scales all videos to 256x256 before it measures: pass `size` = (width, height) of the tracked frames for that,
or None to take pixels as they are. TAP-Vid averages the values of videos; average over videos what these give for each.

Letters: T frames, N points.
"""

from __future__ import annotations

import math

import numpy as np

from palmist.errors import InputError
from palmist.metrics.intervals import Array, ArrayLike, Metric, as_array

#: Pixels of the 256x256 image.
THRESHOLDS = (1.0, 2.0, 4.0, 8.0, 16.0)
SCALED_SIDE = 256.0


def points_within(
    tracks: ArrayLike,
    true_tracks: ArrayLike,
    true_visible: ArrayLike,
    size: tuple[int, int] | None = None,
    query_frames: ArrayLike | None = None,
) -> tuple[Metric, ...]:
    """Share of the truly visible points that are tracked to less than 1, 2, 4, 8 and 16 pixels, one Metric each.

    What the tracker says of visibility does not matter here. n: truly visible points that count.
    """
    distance, shown, counted = _distances(tracks, true_tracks, true_visible, size, query_frames)
    shown = shown & counted
    n = int(shown.sum())
    return tuple(_ratio(int(((distance < limit) & shown).sum()), n) for limit in THRESHOLDS)


def delta_avg(
    tracks: ArrayLike,
    true_tracks: ArrayLike,
    true_visible: ArrayLike,
    size: tuple[int, int] | None = None,
    query_frames: ArrayLike | None = None,
) -> Metric:
    """Mean of `points_within` over the five thresholds ("< delta^x_avg" of TAP-Vid), 0 to 1.

    >>> delta_avg([[[0, 0]], [[3, 0]]], [[[0, 0]], [[0, 0]]], [[True], [True]]).value    # 3 px off: within 4, 8 and 16
    0.6
    """
    return _mean(points_within(tracks, true_tracks, true_visible, size, query_frames))


def occlusion_accuracy(visible: ArrayLike, true_visible: ArrayLike, query_frames: ArrayLike | None = None) -> Metric:
    """Share of points and frames whose visibility is told right ("OA"), 0 to 1. n: points and frames that count."""
    told, shown = _flags(visible, "visible"), _flags(true_visible, "true_visible")
    if told.shape != shown.shape:
        raise InputError(f"visible has shape {told.shape} and true_visible {shown.shape}; expected the same, (frames, points)")
    counted = _counted(shown.shape, query_frames)
    return _ratio(int(((told == shown) & counted).sum()), int(counted.sum()))


def average_jaccard(
    tracks: ArrayLike,
    visible: ArrayLike,
    true_tracks: ArrayLike,
    true_visible: ArrayLike,
    size: tuple[int, int] | None = None,
    query_frames: ArrayLike | None = None,
) -> Metric:
    """Position and visibility in one number ("AJ"), 0 to 1: the mean over the five thresholds of TP / (P + FP).

    TP: said to be visible, visible, and closer than the threshold. P: truly visible. FP: said to be visible, but truly
    hidden or not closer than the threshold. n: P + the points that are said to be visible while hidden.
    """
    distance, shown, counted = _distances(tracks, true_tracks, true_visible, size, query_frames)
    told = _flags(visible, "visible")
    if told.shape != shown.shape:
        raise InputError(f"visible has shape {told.shape} and true_visible {shown.shape}; expected the same, (frames, points)")
    told, shown = told & counted, shown & counted
    parts = []
    for limit in THRESHOLDS:
        right = told & shown & (distance < limit)
        parts.append(_ratio(int(right.sum()), int(shown.sum()) + int((told & ~right).sum())))
    return Metric(_mean(tuple(parts)).value, int((told | shown).sum()))


def _distances(
    tracks: ArrayLike,
    true_tracks: ArrayLike,
    true_visible: ArrayLike,
    size: tuple[int, int] | None,
    query_frames: ArrayLike | None,
) -> tuple[Array, Array, Array]:
    """Distance (T, N), true visibility (T, N) and the mask (T, N) of what counts."""
    found, true = as_array(tracks, np.float64), as_array(true_tracks, np.float64)
    shown = _flags(true_visible, "true_visible")
    if found.ndim != 3 or found.shape[2] != 2 or found.shape != true.shape:
        raise InputError(f"tracks have shape {found.shape} and {true.shape}; expected the same, (frames, points, 2)")
    if shown.shape != found.shape[:2]:
        raise InputError(f"true_visible has shape {shown.shape}; expected {found.shape[:2]}, one flag per frame and point")
    scale = np.ones(2) if size is None else SCALED_SIDE / np.asarray(size, np.float64)
    # Where a point is hidden its true place may be unknown (NaN): such a distance is within no threshold.
    return np.linalg.norm((found - true) * scale, axis=-1), shown, _counted(shown.shape, query_frames)


def _counted(shape: tuple[int, ...], query_frames: ArrayLike | None) -> Array:
    frames, points = shape
    start = np.zeros(points, np.int64) if query_frames is None else as_array(query_frames, np.int64)
    if start.shape != (points,):
        raise InputError(f"query_frames has shape {start.shape}; expected ({points},), one frame number per point")
    return np.arange(frames)[:, None] > start[None]


def _flags(values: ArrayLike, what: str) -> Array:
    flags = as_array(values)
    if flags.dtype != bool or flags.ndim != 2:
        raise InputError(f"{what} has shape {flags.shape} and type {flags.dtype}; expected (frames, points) bool")
    return flags


def _ratio(part: int, whole: int) -> Metric:
    return Metric(part / whole if whole else math.nan, whole)


def _mean(metrics: tuple[Metric, ...]) -> Metric:
    return Metric(float(np.mean([metric.value for metric in metrics])), metrics[0].n)

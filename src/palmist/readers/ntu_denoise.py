"""Which of the bodies that Kinect found are people: the rules by which PySKL's files were made.

For more than one body: tracks of 11 frames or fewer go; tracks that are wider than 0.8 times their height in most frames
go (chairs and tables); the rest, sorted by how much they move, fill two slots without overlap in time; empty frames at the
ends go. Thresholds: PySKL (kennymckormick/pyskl).

Our choice where the rules leave room: the last track is never dropped, so that a sample keeps somebody; ties keep the
file's order; a track that finds both slots taken is dropped.
"""

from __future__ import annotations

import numpy as np

__all__ = ["pick_people"]

LONGEST_GLIMPSE = 11  # frames
WIDTH_TO_HEIGHT = 0.8
WIDE_SHARE = 0.69754
SLOTS = 2


def pick_people(seen: np.ndarray, position: np.ndarray) -> tuple[np.ndarray, slice, int]:
    """Which track fills which slot when.

    Args:
        seen: (M, T) bool. position: (M, T, V, 3) metres, y up; NaN and joints of zeros count as unknown.

    Returns:
        owner (2 or fewer slots, frames) int: the track in each slot and frame, -1 for nobody; the slice of frames that is
        kept; how many tracks were dropped. Slots that stay empty are left out, but for the first one.
    """
    position = np.where(np.asarray(position.any(-1))[..., None], position, np.nan)
    tracks = [int(track) for track in np.flatnonzero(seen.any(1))]
    if len(tracks) > 1:
        tracks = _drop(tracks, [track for track in tracks if seen[track].sum() <= LONGEST_GLIMPSE])
    if len(tracks) > 1:
        tracks = _drop(tracks, [track for track in tracks if _is_wide(position[track][seen[track]])])
    if len(tracks) > 1:
        motion = {track: _motion(position[track][seen[track]]) for track in tracks}
        tracks.sort(key=lambda track: -motion[track])
    owner = np.full((SLOTS, seen.shape[1]), -1)
    placed = 0
    for track in tracks:
        for slot in range(SLOTS):
            if (owner[slot, seen[track]] < 0).all():
                owner[slot, seen[track]] = track
                placed += 1
                break
    frames = np.flatnonzero((owner >= 0).any(0))
    kept = slice(int(frames[0]), int(frames[-1]) + 1) if len(frames) else slice(0, seen.shape[1])
    used = max(1, int((owner >= 0).any(1).sum()))
    return owner[:used, kept], kept, int(seen.any(1).sum()) - placed


def _drop(tracks: list[int], bad: list[int]) -> list[int]:
    """tracks without the bad ones; where all are bad, the first of them stays."""
    return [track for track in tracks if track not in bad] or tracks[:1]


def _is_wide(points: np.ndarray) -> bool:
    """points (T, V, 3) of one track: wider than high in most frames."""
    points = points[~np.isnan(points).all((1, 2))]
    extent = np.nanmax(points, 1) - np.nanmin(points, 1)  # (T, 3)
    return bool(len(points)) and bool((extent[:, 0] > WIDTH_TO_HEIGHT * extent[:, 1]).mean() >= WIDE_SHARE)


def _motion(points: np.ndarray) -> float:
    """Variance of the coordinates over joints and time, summed over x, y and z."""
    points = points.reshape(-1, 3)
    points = points[~np.isnan(points).any(1)]
    return float(points.var(axis=0).sum()) if len(points) else 0.0

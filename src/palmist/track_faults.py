"""Faults of hand tracks, found on plain arrays: runs of frames, broken clocks, exchanged sides, spikes.

The thresholds are in palm lengths, so that they hold for metres, pixels and fractions of an image alike. damage.py
turns what is found here into reports and repairs.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import pairwise

import numpy as np

from palmist.recording import Recording
from palmist.skeleton import PALM

#: Neighbouring frames further apart than this many seconds are not compared.
LONGEST_LINK = 0.25
_SWAP_RATIO = 0.5  # exchanging sides must at least halve the distance travelled
_SPIKE_PALMS = 1.0  # a spike leaves and comes back by more than this many palm lengths


def runs(mask: np.ndarray) -> list[tuple[int, int]]:
    """(start, stop) of every run of True in a (T,) mask: [F, T, T, F, T] -> [(1, 3), (4, 5)]."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    return [(int(start), int(stop)) for start, stop in edges.reshape(-1, 2)]


def frames_in_time_order(time: np.ndarray) -> np.ndarray:
    """Indices of the most frames whose times strictly increase (backwards if that keeps more frames)."""
    forwards = _longest_increasing(time)
    backwards = len(time) - 1 - _longest_increasing(time[::-1])
    return forwards if len(forwards) >= len(backwards) else backwards


def _longest_increasing(values: np.ndarray) -> np.ndarray:
    """Indices of a longest strictly increasing subsequence of the finite values (patience sorting, N log N)."""
    tails: list[float] = []
    positions: list[int] = []
    before = np.full(len(values), -1)
    for i, value in enumerate(values.tolist()):
        if not np.isfinite(value):
            continue
        slot = bisect_left(tails, value)
        before[i] = positions[slot - 1] if slot else -1
        if slot == len(tails):
            tails.append(value)
            positions.append(i)
        else:
            tails[slot], positions[slot] = value, i
    chain: list[int] = []
    i = positions[-1] if positions else -1
    while i >= 0:
        chain.append(i)
        i = int(before[i])
    return np.array(chain[::-1], dtype=np.int64)


def gap_seconds(time: np.ndarray, gap: tuple[int, int]) -> float:
    """Seconds without the hand: its missing frames times the mean step between its neighbours (3 frames at 30 per
    second are 0.1 s), rounded to microseconds so that such a gap compares equal to 0.1."""
    start, stop = gap
    return round(float((time[stop] - time[start - 1]) * (stop - start) / (stop - start + 1)), 6)


def joint_points(recording: Recording) -> np.ndarray:
    """(T, 2, 21, D) in one unit for every axis: metres, pixels, or image heights; depth only where it is measured."""
    if recording.space == "metric":
        return recording.joints
    scale = np.array([recording.aspect or 1.0, 1.0] if recording.space == "image" else [1.0, 1.0], np.float32)
    return recording.joints[..., :2] * scale


def palm_centres(recording: Recording) -> tuple[np.ndarray, np.ndarray, float]:
    """Palm centres (T, 2, D), which are known (T, 2), and the usual length of the palm.

    The length is from wrist to middle knuckle, or of the middle finger where the root is a palm centre.
    """
    points, known = joint_points(recording), recording.known
    weight = known[:, :, list(PALM)].astype(np.float32)
    total = weight.sum(-1)
    centres = (points[:, :, list(PALM)] * weight[..., None]).sum(2) / np.maximum(total, 1)[..., None]
    first, last = (9, 0) if recording.root == "wrist" else (12, 9)
    both = known[:, :, first] & known[:, :, last]
    lengths = np.linalg.norm(points[:, :, first] - points[:, :, last], axis=-1)[both]
    return centres, total > 0, float(np.median(lengths)) if len(lengths) else 0.0


def swapped_frames(recording: Recording) -> np.ndarray:
    """(T,) bool: frames whose sides are exchanged, judged by where the hands were just before.

    A swap is where exchanging the sides at least halves the distance travelled, and the hands would otherwise leap by
    more than a palm each (or one hand vanishes and the other side appears in its place). Frames between an odd and an
    even swap belong to one of two labellings; the rarer one is called swapped.
    """
    centres, known, palm = palm_centres(recording)
    flipped = np.zeros(len(recording), bool)
    if palm == 0:
        return flipped
    seen = np.flatnonzero(known.any(1))
    exchanged = False
    for before, now in pairwise(seen):
        flipped[before] = exchanged
        near = recording.time[now] - recording.time[before] <= LONGEST_LINK
        if near and _sides_exchange(centres[before], known[before], centres[now], known[now], palm):
            exchanged = not exchanged
    if len(seen):
        flipped[seen[-1]] = exchanged
    if flipped[seen].sum() * 2 > len(seen):
        flipped[seen] = ~flipped[seen]
    return flipped


def _sides_exchange(before: np.ndarray, known_before: np.ndarray, now: np.ndarray, known_now: np.ndarray, palm: float) -> bool:
    if known_before.all() and known_now.all():
        kept = np.linalg.norm(now - before, axis=-1).sum()
        crossed = np.linalg.norm(now - before[::-1], axis=-1).sum()
        return bool(kept > 2 * palm and crossed < _SWAP_RATIO * kept)
    if known_before.sum() == 1 and known_now.sum() == 1 and not (known_before & known_now).any():
        moved = np.linalg.norm(now[known_now][0] - before[known_before][0])
        return bool(moved < _SWAP_RATIO * palm)
    return False


def find_spikes(recording: Recording) -> tuple[np.ndarray, np.ndarray]:
    """(T, 2) hands and (T, 2, 21) joints that leap away for one frame and come back.

    A hand is compared by its palm centre, a joint by its place relative to the root; both steps must exceed a palm
    length and be five times the way between the neighbours.
    """
    centres, seen, palm = palm_centres(recording)
    hands = np.zeros(seen.shape, bool)
    joints = np.zeros(recording.joints.shape[:3], bool)
    if palm == 0 or len(recording) < 3:
        return hands, joints
    near = recording.time[2:] - recording.time[:-2] <= LONGEST_LINK

    def leaps(points: np.ndarray, known: np.ndarray) -> np.ndarray:
        away = np.linalg.norm(points[1:-1] - points[:-2], axis=-1)
        back = np.linalg.norm(points[1:-1] - points[2:], axis=-1)
        across = np.linalg.norm(points[2:] - points[:-2], axis=-1)
        least = np.minimum(away, back)
        all_known = known[:-2] & known[1:-1] & known[2:]
        close = near.reshape(-1, *[1] * (known.ndim - 1))
        return all_known & close & (least > _SPIKE_PALMS * palm) & (least > 5 * across)

    points, known = joint_points(recording), recording.known
    hands[1:-1] = leaps(centres, seen)
    joints[1:-1] = leaps(points - points[:, :, :1], known)
    joints[..., 0] = False
    joints &= ~hands[:, :, None]
    lost_root = joints.sum(-1) > 10  # most joints leap relative to the root: the root leapt
    hands |= lost_root
    joints &= ~lost_root[:, :, None]
    return hands, joints


def swap_edges(recording: Recording) -> np.ndarray:
    """Frames where a run of swapped sides begins or ends: their jump is told already."""
    swapped = swapped_frames(recording)
    edges = np.zeros(len(swapped), bool)
    edges[1:] = swapped[1:] != swapped[:-1]
    return edges

"""Real hand motion for tiny data sets in other sets' layouts: a take of leap_recordings, both hands, metres."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

__all__ = ["example_hands"]


@lru_cache(maxsize=8)
def _take(rate: float) -> np.ndarray:
    from palmist.inputs.windows import to_pose_sequence
    from palmist.readers import open_data

    recordings = open_data("leap_recordings")
    best = max(recordings, key=lambda recording: int(recording.valid.any(1).sum()))
    sequence = to_pose_sequence(best, rate)
    side = int(sequence.known[:, :, 0].sum(0).argmax())
    seen = sequence.known[:, side].all(-1).numpy()
    hand = sequence.joints[:, side].numpy()[seen]
    mirrored = hand * np.array([-1.0, 1.0, 1.0]) + np.array([0.3, 0.0, 0.0])
    pair = (hand, mirrored) if side == 0 else (mirrored, hand)
    return np.stack(pair, axis=1).astype(np.float64)


def example_hands(frames: int, rate: float, start: int = 0) -> np.ndarray:
    """(frames, 2, 21, 3) metres, left hand first, canonical order: one recorded hand, and its mirror image.

    Leap Motion's playback recordings, Apache-2.0 (data/leap_recordings). The take repeats, back and forth, where it is
    too short.
    """
    take = _take(rate)
    loop = np.concatenate([take, take[::-1]])
    return loop[(start + np.arange(frames)) % len(loop)]

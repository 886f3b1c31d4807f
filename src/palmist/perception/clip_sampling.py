"""Which frames of a video a clip takes (pure functions on frame indices).

Without a generator every choice is the middle one, as for tests; with one it is random, as for training.
"""

from __future__ import annotations

import numpy as np

from palmist.errors import InputError


def segment_indices(frames: int, segments: int, generator: np.random.Generator | None = None) -> np.ndarray:
    """One frame index from each of `segments` equal parts of a video, (segments,) int64, never decreasing.

    Parts are [i * frames / segments, (i + 1) * frames / segments). A video with fewer frames than segments gives some
    frames twice. Source: temporal segment networks (Wang et al. 2016), section 3.2.

    >>> segment_indices(100, 4)
    array([12, 37, 62, 87])
    """
    _check(frames, segments, "segments")
    places = np.full(segments, 0.5) if generator is None else generator.random(segments)
    return np.minimum(((np.arange(segments) + places) * frames / segments).astype(np.int64), frames - 1)


def dense_indices(
    frames: int, length: int, stride: int = 1, start: int | None = None, generator: np.random.Generator | None = None
) -> np.ndarray:
    """Indices of `length` frames, `stride` apart, (length,) int64; what lies beyond the end repeats the last frame.

    start: index of the first one; None takes the middle of the video, or a random place if a generator is given.

    >>> dense_indices(10, 4, stride=2)
    array([1, 3, 5, 7])
    """
    _check(frames, length, "length")
    _check(frames, stride, "stride")
    if start is None:
        spare = max(0, frames - (length - 1) * stride - 1)
        start = spare // 2 if generator is None else int(generator.integers(spare + 1))
    elif not 0 <= start < frames:
        raise InputError(f"the clip starts at frame {start}; expected 0 to {frames - 1}, the video has {frames} frames")
    return np.minimum(start + stride * np.arange(length, dtype=np.int64), frames - 1)


def segment_view_indices(
    frames: int, segments: int, view: int = 0, views: int = 1, generator: np.random.Generator | None = None
) -> np.ndarray:
    """Segment sampling as EMIM trains and tests, (segments,) int64: parts of (frames - 1) / segments frames.

    With a generator a random place in each part. Without one, clip `view` of `views`: the (view + 1) / (views + 1)-th place
    of each part, rounded down, so that several clips of one video interleave. Source: the method's published loaders.

    >>> segment_view_indices(41, 4), segment_view_indices(41, 4, view=1, views=2)
    (array([ 5, 15, 25, 35]), array([ 6, 16, 26, 36]))
    """
    _check(frames, segments, "segments")
    _check_view(view, views)
    size = (frames - 1) / segments
    places = np.full(segments, (view + 1) / (views + 1)) if generator is None else generator.random(segments)
    return ((np.arange(segments) + places) * size).astype(np.int64)


def dense_view_indices(
    frames: int,
    length: int,
    step: float = 1.0,
    view: int = 0,
    views: int = 1,
    generator: np.random.Generator | None = None,
) -> np.ndarray:
    """Indices of `length` frames, `step` apart, (length,) int64; what lies beyond the end repeats the last frame.

    step: frames, may be a fraction: a clip of every 4th frame at 30 per second from a video at 25 has 4 * 25 / 30. With a
    generator the clip starts anywhere; without one, clip `view` of `views` spread evenly from the first to the last start
    (one alone stands in the middle).

    >>> dense_view_indices(100, 4, 8, view=2, views=3)
    array([75, 83, 91, 99])
    """
    _check(frames, length, "length")
    _check_view(view, views)
    if not step > 0:
        raise InputError(f"the step between frames is {step}; expected a number above 0")
    spare = max(0.0, frames - 1 - step * (length - 1))
    place = 0.5 if views == 1 else view / (views - 1)
    start = spare * (place if generator is None else generator.random())
    return np.minimum((start + step * np.arange(length) + 1e-6).astype(np.int64), frames - 1)


def _check_view(view: int, views: int) -> None:
    if not 0 <= view < views:
        raise InputError(f"the clip is number {view} of {views}; expected 0 to {max(views, 1) - 1}")


def _check(frames: int, number: int, what: str) -> None:
    if frames < 1:
        raise InputError(f"the video has {frames} frames; expected at least one")
    if number < 1:
        raise InputError(f"{what} is {number}; expected 1 or more")

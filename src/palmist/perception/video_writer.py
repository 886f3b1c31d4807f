"""Frames and their times into an H.264 .mp4 file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from fractions import Fraction
from itertools import count, zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from palmist.errors import InputError

#: Time stamps are whole multiples of this many seconds, the usual clock of video.
CLOCK = Fraction(1, 90_000)


def write_video(
    path: str | Path,
    images: Iterable[np.ndarray],
    time: Iterable[float] | None = None,
    rate: float = 30.0,
    quality: int = 20,
) -> Path:
    """Write an H.264 .mp4 that every browser plays; its time stamps are `time`, to 1/90000 s.

    images: (H, W, 3) uint8 RGB each, streamed, all of one size; an odd side grows by one repeated row or column, as the
    format asks. time: seconds, strictly increasing, not negative; None: regular at `rate` frames per second. quality:
    constant rate factor, 0 (lossless) to 51, lower is better. The file appears under its name only once it is whole.

    Returns the path. Raises InputError for no frames, a wrong type or shape, times that do not fit, an unwritable path.
    """
    import av

    path = Path(path)
    if path.suffix.lower() not in (".mp4", ".m4v", ".mov"):
        raise InputError(f"{path} does not end in .mp4; expected an .mp4 file name, the format that is written")
    if not rate > 0:
        raise InputError(f"rate is {rate}; expected frames per second, a positive number")
    frames = _checked(images, (number / rate for number in count()) if time is None else time, time is not None)
    first = next(frames, None)
    if first is None:
        raise InputError(f"0 frames given for {path}; expected at least one image")
    unfinished = path.with_name(f".{path.stem}.unfinished{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # The index goes to the front, so that a cut copy still plays up to the cut.
        with av.open(str(unfinished.resolve()), "w", options={"movflags": "+faststart"}) as container:
            _encode(container, first, frames, rate, quality)
        unfinished.replace(path)
    except (av.FFmpegError, OSError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path} cannot be written ({reason}); expected a folder that can be written to") from error
    finally:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
    return path


def _encode(
    container: Any, first: tuple[np.ndarray, float], rest: Iterator[tuple[np.ndarray, float]], rate: float, quality: int
) -> None:
    import av

    image, seconds = first
    shape = image.shape
    stream = container.add_stream("libx264", rate=Fraction(rate).limit_denominator(1001))
    stream.height, stream.width = shape[0] + shape[0] % 2, shape[1] + shape[1] % 2
    stream.pix_fmt = "yuv420p"
    stream.codec_context.time_base = CLOCK
    stream.options = {"crf": str(quality), "preset": "veryfast"}
    previous = -1
    pending: tuple[np.ndarray, float] | None = first
    number = 0
    while pending is not None:
        image, seconds = pending
        if image.shape != shape:
            raise InputError(f"image {number} has shape {image.shape} and the first {shape}; expected all of one size")
        stamp = round(seconds / CLOCK)
        if stamp <= previous:
            raise InputError(
                f"time must increase from frame to frame but frame {number} is at {seconds:.6g} s, "
                f"after {float(previous * CLOCK):.6g} s; sort the frames or drop repeated ones"
            )
        padded = np.pad(image, ((0, shape[0] % 2), (0, shape[1] % 2), (0, 0)), mode="edge")
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(padded), format="rgb24")
        frame.pts, frame.time_base, previous = stamp, CLOCK, stamp
        container.mux(stream.encode(frame))
        pending, number = next(rest, None), number + 1
    container.mux(stream.encode())


def _checked(images: Iterable[np.ndarray], time: Iterable[float], timed: bool) -> Iterator[tuple[np.ndarray, float]]:
    """Pairs of image and seconds; the two must be of one length when both were given."""
    pairs = zip_longest(images, time) if timed else zip(images, time, strict=False)
    for number, (image, seconds) in enumerate(pairs):
        if image is None or seconds is None:
            missing, there = ("images", "times") if image is None else ("times", "images")
            raise InputError(f"found {number} {missing} but more {there}; expected one time in seconds per image")
        image = np.asarray(image)
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
            raise InputError(
                f"image {number} has shape {image.shape} and type {image.dtype}; expected (height, width, 3) uint8 RGB"
            )
        if not (np.isfinite(seconds) and seconds >= 0):
            raise InputError(f"frame {number} is at {seconds} s; expected a time of 0 s or later")
        yield image, float(seconds)

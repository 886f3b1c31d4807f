"""Tiny videos for tests, made with PyAV alone: every frame carries its own number as eight black or white squares."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

WIDTH, HEIGHT, BITS = 128, 96, 8
_CELL = WIDTH // BITS


def numbered_image(number: int) -> np.ndarray:
    """(96, 128, 3) uint8: the bits of `number` along the top; red, green, blue and white corners are not all alike."""
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for bit in range(BITS):
        if number >> bit & 1:
            image[:32, bit * _CELL : (bit + 1) * _CELL] = 255
    image[32:, : WIDTH // 2] = (220, 30, 30)
    image[32:, WIDTH // 2 :] = (30, 30, 220)
    return image


def number_of(image: np.ndarray) -> int:
    """The number in an upright image, of any size with the same aspect."""
    height, width = image.shape[:2]
    row, cell = image[height // 6], width / BITS
    return sum(1 << bit for bit in range(BITS) if row[int((bit + 0.5) * cell)].mean() > 128)


def write_tiny(
    path: Path,
    frames: int = 40,
    *,
    times: np.ndarray | None = None,
    codec: str = "libx264",
    counter_clockwise: int = 0,
    mirrored: bool = False,
    keyframe_every: int = 10,
    options: dict[str, str] | None = None,
    noise: float = 0.0,
) -> Path:
    """A video of `frames` numbered images at 25 per second, or at `times` (seconds); noise: standard deviation."""
    clock = Fraction(1, 90_000) if codec == "libx264" else Fraction(1, 25)
    times = np.arange(frames) / 25 if times is None else times
    generator = np.random.default_rng(0)
    with av.open(str(path), "w", options=options or {}) as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "rgb8" if codec == "gif" else "yuv420p"
        stream.codec_context.time_base = clock
        stream.codec_context.gop_size = keyframe_every
        if counter_clockwise or mirrored:
            stream.set_display_rotation(counter_clockwise, hflip=mirrored)
        for number, second in enumerate(times):
            image = numbered_image(number)
            if noise:
                image = np.clip(image + generator.normal(0, noise, image.shape), 0, 255).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = round(second / clock), clock
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_sound(path: Path, seconds: float = 0.5) -> Path:
    """A file with sound and no picture."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44_100)
        samples = np.zeros((1, int(seconds * 44_100)), np.float32)
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 44_100, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_no_frames(path: Path) -> Path:
    """A container with a video stream in which there is not one frame."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        container.start_encoding()
    return path

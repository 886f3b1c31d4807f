"""The direction task: a textured patch moves over a still textured background, and only its direction tells the label.

Both textures are noise drawn anew for each video, of one kind, and the patch begins anywhere and comes back in on the other
side, so that no single frame, and no set of frames without their order, tells the sign of the direction. Videos are made when
they are asked for, from (seed, number) alone.

Letters: T frames, S side in pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from palmist.errors import InputError
from palmist.video_sets.videos import OpenVideo

__all__ = ["DIRECTIONS", "DirectionVideos", "DirectionsConfig"]

#: label -> (x, y) to the right and down
DIRECTIONS: dict[str, tuple[int, int]] = {
    "moving right": (1, 0),
    "moving down and right": (1, 1),
    "moving down": (0, 1),
    "moving down and left": (-1, 1),
    "moving left": (-1, 0),
    "moving up and left": (-1, -1),
    "moving up": (0, -1),
    "moving up and right": (1, -1),
}


@dataclass(frozen=True)
class DirectionsConfig:
    """videos: how many; frames, size: T and S; directions: 8, 4, or 2 (right and left); patch: its side as a share of S, from
    and to; speed: pixels a frame, from and to; grain: size of the noise in pixels, from and to; seed."""

    videos: int = 20000
    frames: int = 8
    size: int = 64
    directions: int = 8
    patch: tuple[float, float] = (0.4, 0.7)
    speed: tuple[float, float] = (5.0, 11.0)
    grain: tuple[float, float] = (2.0, 5.0)
    seed: int = 0

    def __post_init__(self) -> None:
        if self.videos < 1 or self.frames < 2 or self.size < 16 or self.seed < 0:
            raise InputError(
                f"found {self.videos} videos of {self.frames} frames of {self.size} pixels and seed {self.seed}; expected at "
                "least 1, 2, 16 and 0"
            )
        if self.directions not in (2, 4, 8):
            raise InputError(f"directions is {self.directions}; expected 2, 4 or 8")
        if not 0 < self.patch[0] <= self.patch[1] <= 1:
            raise InputError(f"patch is {self.patch[0]} to {self.patch[1]}; expected shares of the side, up to 1")


class DirectionVideos:
    """The videos of a configuration (`palmist.video_sets.videos.Videos`); every direction equally often.

    Example:
        >>> videos = DirectionVideos(DirectionsConfig(videos=16))
        >>> videos.open(3).read(np.arange(8)).shape, videos.labels[videos.label[3]]
        ((8, 64, 64, 3), 'moving down and left')
    """

    def __init__(self, config: DirectionsConfig) -> None:
        self.config = config
        self.labels: tuple[str, ...] = tuple(DIRECTIONS)[:: 8 // config.directions]
        self.label = np.arange(config.videos, dtype=np.int64) % len(self.labels)
        self.names: Sequence[str] = [f"directions/{config.seed}/{number}" for number in range(config.videos)]
        self.replaced: dict[str, int] = {}

    def __len__(self) -> int:
        return self.config.videos

    def open(self, number: int) -> OpenVideo:
        return _Moving(self.config, number, DIRECTIONS[self.labels[int(self.label[number])]])


class _Moving:
    rate = None

    def __init__(self, config: DirectionsConfig, number: int, direction: tuple[int, int]) -> None:
        # No number is drawn from the label: two videos of one number and different directions begin with the same frame.
        self.frames, size = config.frames, config.size
        generator = np.random.default_rng(np.random.SeedSequence([config.seed, number]))
        grain = generator.uniform(*config.grain)
        self.background, self.patch = (_texture(size, grain, generator) for _ in range(2))
        width, height = (round(size * share) for share in generator.uniform(*config.patch, 2))
        self.mask = np.zeros((size, size, 1), np.float32)
        self.mask[:height, :width] = 1
        self.start = generator.uniform(0, size, 2)
        self.step = generator.uniform(*config.speed) * np.array(direction) / math.hypot(*direction)

    def read(self, indices: np.ndarray) -> np.ndarray:
        images = [self._frame(int(index)) for index in indices]
        return np.stack(images)

    def _frame(self, index: int) -> np.ndarray:
        x, y = self.start + index * self.step
        mask, patch = (_roll(part, x, y) for part in (self.mask, self.patch))
        return np.clip(self.background + mask * (patch - self.background) + 0.5, 0, 255).astype(np.uint8)


def _texture(size: int, grain: float, generator: np.random.Generator) -> np.ndarray:
    """(S, S, 3) float32: coloured noise that fits together at its edges, of random mean and contrast."""
    noise = generator.standard_normal((size, size, 3)).astype(np.float32)
    border = math.ceil(3 * grain)
    noise = np.pad(noise, ((border, border), (border, border), (0, 0)), mode="wrap")
    smooth = np.asarray(cv2.GaussianBlur(noise, (0, 0), grain)[border:-border, border:-border], np.float32)
    smooth = smooth / smooth.std()
    return 128 + generator.uniform(-30, 30, 3).astype(np.float32) + generator.uniform(25, 50) * smooth


def _roll(image: np.ndarray, x: float, y: float) -> np.ndarray:
    """The image (S, S, C) moved by (x, y) pixels, coming in again on the other side; linear between pixels."""
    left, top = math.floor(x), math.floor(y)
    for axis, whole, part in ((1, left, x - left), (0, top, y - top)):
        moved = np.roll(image, whole, axis)
        image = (1 - part) * moved + part * np.roll(moved, 1, axis)
    return image.astype(np.float32)

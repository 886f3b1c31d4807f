"""Readings as still pictures: moments side by side, for notebooks and reports.

>>> picture = draw_reading(palmist.load().read("coffee.npz"))
>>> picture.save("coffee.png")

A notebook shows a `Picture` that ends a cell. Colours are those of the overlay (`palmist.view.overlay`).

Letters: T frames, N moments, K futures, S side of a panel in pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from palmist.errors import InputError
from palmist.reading import Reading
from palmist.recording import Recording
from palmist.view.overlay import RAW, SIDES, draw_fan, draw_hands, draw_text

__all__ = ["Picture", "Place", "draw_reading", "draw_recording"]

_PAPER = 34  # grey level of an empty panel
_MARGIN = 0.12  # share of a panel that stays empty on each side


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture, pixels (H, W, 3) uint8 RGB."""

    pixels: np.ndarray

    def __repr__(self) -> str:
        return f"Picture({self.pixels.shape[1]}x{self.pixels.shape[0]})"

    def save(self, path: str | Path) -> Path:
        """Write it as .png; InputError for another ending."""
        path = Path(path)
        if path.suffix.lower() != ".png":
            raise InputError(f"{path} does not end in .png; expected a .png file name, the format that is written")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self._repr_png_())
        return path

    def _repr_png_(self) -> bytes:
        import cv2

        return bytes(cv2.imencode(".png", np.ascontiguousarray(self.pixels[..., ::-1]))[1])


def draw_recording(recording: Recording, moments: int = 4, size: int = 240) -> Picture:
    """Known joints at `moments` times that divide the recording evenly, side by side, seen from the front.

    Raises InputError if no joint is known, or for fewer than one moment.
    """
    frames = _moments(len(recording), moments)
    place = Place(recording, [recording.joints[recording.known]])
    panels = []
    for frame in frames:
        panel = _panel(size)
        draw_hands(panel, place(recording.joints[frame]), recording.known[frame], SIDES)
        draw_text(panel, f"{recording.time[frame]:.2f} s", (8, size - 10), 0.5)
        panels.append(panel)
    return Picture(np.concatenate(panels, 1))


def draw_reading(reading: Reading, moments: int = 4, size: int = 240) -> Picture:
    """Observed joints in grey, refined ones in colour at `moments` times, and, where futures were asked for, a last panel
    with all of them as a fan, the most likely one in gold, over the last refined hands.

    Raises InputError if no joint is known, or for fewer than one moment.
    """
    recording, known = reading.recording, reading.recording.known
    hands = np.asarray(reading.futures_known[:, 0], bool)
    drawn = len(reading.futures) > 0 and bool(hands.any())
    likely = reading.futures[reading.most_likely][:, reading.futures_known] if drawn else np.zeros((0, 3))
    shown = [reading.refined[reading.refined_known], recording.joints[known], likely.reshape(-1, 3)]
    place = Place(recording, shown)
    panels = []
    for frame in _moments(len(recording), moments):
        panel = _panel(size)
        draw_hands(panel, place(reading.refined[frame]), reading.refined_known[frame], SIDES)
        draw_hands(panel, place(recording.joints[frame]), known[frame], (RAW, RAW), 1)  # thin, on top: else they hide it
        draw_text(panel, f"{recording.time[frame]:.2f} s", (8, size - 10), 0.5)
        panels.append(panel)
    if drawn:
        panel = _panel(size)
        last = int(np.flatnonzero(reading.refined_known.any((1, 2)))[-1])
        draw_hands(panel, place(reading.refined[last]), reading.refined_known[last], SIDES)
        draw_fan(panel, place(reading.futures), hands, reading.most_likely)
        draw_text(panel, f"to {reading.futures_time[-1]:.2f} s", (8, size - 10), 0.5)
        panels.append(panel)
    return Picture(np.concatenate(panels, 1))


class Place:
    """Joints in a recording's own coordinates to fractions of a square panel that holds all `shown` points (N, 3)."""

    def __init__(self, recording: Recording, shown: list[np.ndarray]) -> None:
        upward = recording.space == "metric" and recording.frame in ("world", "device")
        wide = recording.aspect or 1.0 if recording.space == "image" else 1.0
        self.scale = np.array([wide, -1.0 if upward else 1.0])
        points = np.concatenate([part.reshape(-1, 3)[:, :2] for part in shown]) * self.scale
        if not len(points):
            raise InputError(f"no joint of {recording.name} is known; expected a recording with a hand to draw")
        low, high = points.min(0), points.max(0)
        self.centre = (low + high) / 2
        self.span = max(float((high - low).max()), 1e-9) / (1 - 2 * _MARGIN)

    def __call__(self, joints: np.ndarray) -> np.ndarray:
        return (np.asarray(joints)[..., :2] * self.scale - self.centre) / self.span + 0.5


def _moments(frames: int, count: int) -> np.ndarray:
    if count < 1:
        raise InputError(f"{count} moments were asked for; expected at least 1")
    return np.unique(np.linspace(0, frames - 1, count).round().astype(int))


def _panel(size: int) -> np.ndarray:
    panel = np.full((size, size, 3), _PAPER, np.uint8)
    panel[:, -1] = _PAPER // 2
    return panel

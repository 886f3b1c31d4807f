"""Tiny videos with detections beside them, for narration: the right hand moves, holding a thing; the left stays."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from palmist.narration.many import DetectorChoice
from palmist.narration.sources import Span
from palmist.perception.hand_object_files import DetectedHandObjects, write_hand_objects
from palmist.perception.objects import HandObjectDetector
from tiny_video import HEIGHT, WIDTH, write_tiny


def write_clip(folder: Path, name: str, frames: int = 25, step: tuple[float, float] = (0.0, -2.0), start: float = 0.0) -> Path:
    """NAME.mp4 and detections/NAME.npz; the right hand moves by `step` pixels per frame for as long as it is in the picture."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "detections").mkdir(exist_ok=True)
    times = np.arange(frames) / 25
    hands, objects = [], []
    for n in range(frames):
        x, y = (np.array([80.0, 70.0]) + np.minimum(n, 28) * np.array(step)).clip(5, [WIDTH - 25, HEIGHT - 25])
        right = [x, y, x + 20, y + 20, 0.9, 3, 0.0, 0.0, 0.0, 1]
        left = [10, 60, 30, 80, 0.9, 0, 0.0, 0.0, 0.0, 0]
        hands.append(np.array([right, left], np.float64))
        objects.append(np.array([[x + 5, y + 12, x + 25, y + 32, 0.9]], np.float64).clip(0, 127))
    found = DetectedHandObjects(times, tuple(hands), tuple(objects), (WIDTH, HEIGHT))
    write_hand_objects(folder / "detections" / f"{name}.npz", found)
    return write_tiny(folder / f"{name}.mp4", frames, times=times + start)


@dataclass(frozen=True)
class Deadly(DetectorChoice):
    """Takes its process with it at video b."""

    def open(self, span: Span | None = None) -> HandObjectDetector:
        if span is not None and span.video_id == "b":
            os._exit(1)
        return super().open(span)

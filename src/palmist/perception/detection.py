"""What a hand tracker finds in one frame, and what a hand tracker is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from palmist.errors import InputError


@dataclass(frozen=True, eq=False)
class HandDetection:
    """One hand in one frame.

    side: 0 left, 1 right: the person's own, in an image that is not mirrored
    score: 0.5 to 1, how sure the tracker is of the side (it is the weight of the side's vote)
    image: (21, 3) x, y as fractions of the image's width and height (x right, y down), z relative to the wrist in image
        widths, smaller = nearer
    world: (21, 3) metres relative to the hand's own centre, axes as the camera's (x right, y down, z forward), or None
    translation: (3,) metres, the place of world's origin in the camera's frame, where the tracker knows it, or None

    Joints in Palmist's order (skeleton.JOINT_NAMES).
    """

    side: int
    score: float
    image: np.ndarray
    world: np.ndarray | None = None
    translation: np.ndarray | None = None


class HandTracker(Protocol):
    """Finds hands frame by frame. Frames come in the order of time; a new tracker for every video."""

    def detect(self, time: float, frame: np.ndarray) -> Sequence[HandDetection]:
        """The hands of one frame: time in seconds, frame (H, W, 3) uint8 RGB."""
        ...

    def describe(self) -> Mapping[str, Any]:
        """JSON-like facts for the recording's provenance: name, version, settings."""
        ...


@dataclass(frozen=True, eq=False)
class BodyDetection:
    """The upper body in one frame: joints (25, 3) of layout "mediapipe25", x and y as fractions of the image and z in
    image widths relative to the hips, visible (25,) bool."""

    joints: np.ndarray
    visible: np.ndarray


class BodyTracker(Protocol):
    """Finds one person's body frame by frame."""

    def detect(self, time: float, frame: np.ndarray) -> BodyDetection | None: ...

    def describe(self) -> Mapping[str, Any]: ...


def check_frame(frame: np.ndarray) -> np.ndarray:
    """The frame, if it is (H, W, 3) uint8; else InputError."""
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8 or 0 in frame.shape:
        raise InputError(f"a frame has shape {frame.shape} and type {frame.dtype}; expected (height, width, 3) RGB uint8")
    return frame

"""Small whole examples that several targets begin with."""

from __future__ import annotations

import numpy as np

from palmist.recording import ActionSegment, Body, Recording
from palmist.skeleton import BODY_LAYOUTS


def example_recording(frames: int = 24, name: str = "example") -> Recording:
    """Recorded hands with every optional field: gaps, confidences, a body, a moving camera, objects, two actions."""
    from palmist.readers.example_motion import example_hands

    generator = np.random.default_rng(5)
    confidence = generator.uniform(0.1, 1.0, (frames, 2, 21)).astype(np.float32)
    valid = np.ones((frames, 2), bool)
    valid[4:6, 0] = False
    pose = np.repeat(np.eye(4)[None], frames, 0)
    pose[:, :3, 3] = generator.normal(size=(frames, 3))
    body = generator.normal(size=(frames, len(BODY_LAYOUTS["openpose8"]), 3))
    return Recording(
        joints=example_hands(frames, 30.0, 0),
        valid=valid,
        time=np.arange(frames) / 30.0,
        space="metric",
        name=name,
        confidence=confidence,
        body=Body(body, np.ones(body.shape[:2], bool), "openpose8"),
        camera={"intrinsics": (636.0, 636.0, 635.0, 366.0), "width": 1280, "height": 720, "pose": pose},
        objects=tuple("cup" if frame > 5 else "" for frame in range(frames)),
        segments=(ActionSegment(0.0, 0.4, "take cup", verb="take", noun="cup"), ActionSegment(0.4, 0.8, "drink")),
        subject="A",
        session="first",
        split="train",
        source="example",
        provenance={"made": "example", "numbers": [1, 2.5, None]},
    )


def moving_square(frames: int = 12) -> np.ndarray:
    images = np.full((frames, 48, 64, 3), 40, np.uint8)
    for number in range(frames):
        images[number, 10:30, 2 + 3 * number : 22 + 3 * number] = (200, 120, 30)
    return images

"""Small fixtures that every test may use: tiny synthetic recordings of smoothly moving hands."""

from __future__ import annotations

import numpy as np
import pytest

from palmist.recording import ActionSegment, Body, Recording
from palmist.skeleton import BODY_LAYOUTS


def smooth_hands(frames: int, seed: int = 0, rate: float = 30.0) -> np.ndarray:
    """(frames, 2, 21, 3) float32 metres: two open hands, 0.3 m apart, that turn, drift and curl smoothly."""
    generator = np.random.default_rng(seed)
    hand = np.zeros((21, 3))
    for finger, x in enumerate((-0.04, -0.02, 0.0, 0.02, 0.04)):
        for joint in range(4):
            hand[1 + 4 * finger + joint] = (x, 0.05 + 0.02 * joint if finger == 0 else 0.09 + 0.025 * joint, 0.0)
    time = np.arange(frames) / rate
    joints = np.zeros((frames, 2, 21, 3))
    for side in range(2):
        phase = generator.uniform(0, 2 * np.pi, 3)
        angle = 0.6 * np.sin(2 * time + phase[0])
        curl = 0.01 * np.sin(3 * time + phase[1])[:, None] * np.linspace(0, 1, 21)
        shape = np.repeat(hand[None], frames, 0)
        shape[..., 0] *= 1 if side else -1
        shape[..., 2] += curl
        turned = shape.copy()
        turned[..., 0] = np.cos(angle)[:, None] * shape[..., 0] - np.sin(angle)[:, None] * shape[..., 2]
        turned[..., 2] = np.sin(angle)[:, None] * shape[..., 0] + np.cos(angle)[:, None] * shape[..., 2]
        x = 0.15 * (1 if side else -1) + 0.05 * np.sin(time + phase[2])
        centre = np.stack([x, 0.05 * time, np.full(frames, 0.5)], -1)
        joints[:, side] = turned + centre[:, None]
    return joints.astype(np.float32)


def tiny_recording(frames: int = 24, seed: int = 0, **changes: object) -> Recording:
    """A clean metric recording of `frames` frames at 30 per second, with one labelled segment."""
    fields: dict[str, object] = {
        "joints": smooth_hands(frames, seed),
        "valid": np.ones((frames, 2), bool),
        "time": np.arange(frames) / 30.0,
        "space": "metric",
        "name": f"tiny/{seed:03d}",
        "segments": (ActionSegment(0.0, frames / 30.0, "turn left", verb="turn", noun="left cup"),),
        "subject": "A",
        "provenance": {"made": "synthetic"},
    }
    return Recording(**{**fields, **changes})  # type: ignore[arg-type]


def tiny_body(frames: int = 24, layout: str = "openpose8", seed: int = 0) -> Body:
    """A body with one joint that is never seen."""
    generator = np.random.default_rng(seed)
    count = len(BODY_LAYOUTS[layout])
    valid = np.ones((frames, count), bool)
    valid[:, -1] = False
    return Body(generator.normal(size=(frames, count, 3)), valid, layout)


@pytest.fixture
def recording() -> Recording:
    return tiny_recording()


@pytest.fixture
def full_recording() -> Recording:
    """A recording that uses every optional field, with gaps and unknown joints."""
    generator = np.random.default_rng(5)
    frames = 18
    confidence = generator.uniform(0.1, 1.0, (frames, 2, 21)).astype(np.float32)
    confidence[3, 1, 7] = 0
    valid = np.ones((frames, 2), bool)
    valid[4:7, 0] = False
    interpolated = np.zeros((frames, 2), bool)
    interpolated[8, 1] = True
    pose = np.repeat(np.eye(4)[None], frames, 0)
    pose[:, :3, 3] = generator.normal(size=(frames, 3))
    return tiny_recording(
        frames,
        seed=5,
        valid=valid,
        confidence=confidence,
        interpolated=interpolated,
        absent_joints=(1,),
        body=tiny_body(frames),
        camera={"intrinsics": (636.0, 636.0, 635.0, 366.0), "width": 1280, "height": 720, "pose": pose},
        objects=tuple("left cup" if i > 5 else "" for i in range(frames)),
        session="first",
        split="train",
        source="test",
    )

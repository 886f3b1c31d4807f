"""Real upper-body motion as Kinect would give it, for tiny data sets in other sets' layouts: signers of asl_words, metres.

The signers' joints are image coordinates with a relative depth; here they are scaled to shoulders of 0.36 m and set 2.5 m
in front of the camera. Joints that the recordings do not have (knees, ankles, feet) are 0 with tracking state 0.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from palmist.skeleton import BODY_LAYOUTS

__all__ = ["camera_to_colour", "example_bodies"]

SHOULDERS, DISTANCE = 0.36, 2.5  # metres
FOCAL, CENTRE = 1081.4, (959.5, 539.5)  # pixels, about those of Kinect's colour camera
_CLIPS = 12

#: Kinect joint -> the joints of layout "mediapipe25" whose mean it is taken to be.
_MADE_OF: dict[str, tuple[str, ...]] = {
    "spine_base": ("left_hip", "right_hip"),
    "spine_mid": ("left_hip", "right_hip", "left_shoulder", "right_shoulder"),
    "spine_shoulder": ("left_shoulder", "right_shoulder"),
    "neck": ("left_shoulder", "right_shoulder", "mouth_left", "mouth_right"),
    "head": ("nose", "left_eye", "right_eye"),
    **{
        f"{side}_{joint}": tuple(f"{side}_{source}" for source in sources)
        for side in ("left", "right")
        for joint, sources in (
            ("shoulder", ("shoulder",)),
            ("elbow", ("elbow",)),
            ("wrist", ("wrist",)),
            ("hand", ("wrist", "index", "little")),
            ("hand_tip", ("index", "little")),
            ("thumb", ("thumb",)),
            ("hip", ("hip",)),
        )
    },
}


def example_bodies(frames: int, start: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(frames, 25, 3) metres in Kinect's axes (y up), layout "kinect25", and (frames, 25) tracking states 0, 1 or 2.

    Sequences of asl_words (MIT, data/asl_words), one after the other, back and forth where they are too short.
    """
    joints, state = _motion()
    order = np.concatenate([np.arange(len(joints)), np.arange(len(joints))[::-1]])
    chosen = order[(start + np.arange(frames)) % len(order)]
    return joints[chosen].copy(), state[chosen].copy()


@lru_cache(maxsize=1)
def _motion() -> tuple[np.ndarray, np.ndarray]:
    from palmist.readers import open_data

    source, target = BODY_LAYOUTS["mediapipe25"], BODY_LAYOUTS["kinect25"]
    found: list[np.ndarray] = []
    for recording in open_data("asl_words"):
        body, aspect = recording.body, recording.aspect or 1.0
        if body is not None and body.valid.all():
            found.append(body.joints.astype(np.float64) * (aspect, 1.0, aspect))
        if len(found) == _CLIPS:
            break
    seen = np.concatenate(found)  # (T, 25, 3), x right, y down, z away relative to the hips, in image heights
    left, right = source.index("left_shoulder"), source.index("right_shoulder")
    unit = SHOULDERS / np.linalg.norm(seen[:, left, :2] - seen[:, right, :2], axis=-1).mean()
    hips = seen[:, [source.index("left_hip"), source.index("right_hip")]].mean((0, 1))
    metres = (seen - hips) * (unit, -unit, unit) + (0.0, -0.3, DISTANCE)
    joints = np.zeros((len(metres), len(target), 3))
    state = np.zeros(joints.shape[:2], np.int64)
    for name, sources in _MADE_OF.items():
        joints[:, target.index(name)] = metres[:, [source.index(one) for one in sources]].mean(1)
        state[:, target.index(name)] = 1 if len(sources) > 2 else 2
    return joints, state


def camera_to_colour(points: np.ndarray) -> np.ndarray:
    """(..., 3) metres, y up -> (..., 2) pixels of the 1920 x 1080 colour frame, of a pinhole camera in the same place."""
    depth = np.where(points[..., 2] > 0, points[..., 2], 1.0)
    x, y = FOCAL * points[..., 0] / depth + CENTRE[0], CENTRE[1] - FOCAL * points[..., 1] / depth
    return np.where(np.asarray(points.any(-1))[..., None], np.stack([x, y], -1), 0.0)

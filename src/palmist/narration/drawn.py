"""Recordings as a hand-object detector would see their drawings: boxes around the projected joints of each hand.

What is drawn is known, so that no pixel has to be looked at: the narration of a recording takes a few milliseconds.
"""

from __future__ import annotations

import numpy as np

from palmist.perception.objects import HandBox, HandObjects
from palmist.recording import Recording
from palmist.render.settings import RenderSettings
from palmist.render.stage import apply_affine, camera_path, set_stage

__all__ = ["drawn_detections"]

_MARGIN = 0.1  # of a hand's box on each side: joints lie inside the skin
_LEAST = 11  # known joints inside the picture that make a hand


def drawn_detections(recording: Recording, settings: RenderSettings, seed: int = 0) -> tuple[np.ndarray, list[HandObjects]]:
    """Times (T,) in seconds and the hands of each frame, in pixels of the picture of `settings.size` that
    `palmist.render.render_clip` draws. InputError when nothing is known in any frame."""
    stage = set_stage(recording, settings, seed)
    camera = camera_path(seed, recording.name, stage.time, settings.size, settings.camera_motion)
    joints = apply_affine(camera, stage.joints[..., :2])  # (T, 2, 21, 2)
    inside = stage.known & np.all((joints >= -0.5) & (joints < settings.size - 0.5), axis=-1)
    frames = []
    for points, known in zip(joints, inside, strict=True):
        hands = []
        for side in (0, 1):
            if known[side].sum() < _LEAST:
                continue
            low, high = points[side][known[side]].min(0), points[side][known[side]].max(0)
            edge = _MARGIN * (high - low)
            box = np.clip(np.concatenate([low - edge, high + edge]), -0.5, settings.size - 0.5)
            hands.append(HandBox(box, 1.0, side, points=points[side]))
        frames.append(HandObjects(tuple(hands)))
    return np.array(stage.time), frames

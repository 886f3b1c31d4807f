"""One recording drawn in memory: frames and everything that is known about them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from palmist.recording import Recording
from palmist.render.held import draw_held, held_patches
from palmist.render.parts import lay_out
from palmist.render.scene import backdrop, paint, textures
from palmist.render.settings import RenderSettings, random_stream
from palmist.render.stage import camera_path, set_stage
from palmist.render.truth import Truth, know

__all__ = ["Clip", "render_clip"]


@dataclass(frozen=True)
class Clip:
    """A drawn recording: frames (T, S, S, 3) uint8 RGB; parts (T, S, S) uint8, which part each pixel shows
    (`palmist.render.parts.part_code`, 0 background); truth, see `palmist.render.Truth`.
    """

    frames: np.ndarray
    parts: np.ndarray
    truth: Truth


def render_clip(recording: Recording, settings: RenderSettings | None = None, seed: int = 0) -> Clip:
    """Draw one recording; the same recording, settings and seed give the same pixels.

    Nothing that is drawn depends on the recording's label: looks, background, camera and tracks come from random streams of
    (seed, the recording's name), or with appearance="subject" the looks from (seed, subject).

    Raises InputError when neither hand nor body is known in any frame, or the seed is negative.

    >>> clip = render_clip(palmist.open_data("asl_words")[0], RenderSettings(size=112), seed=1)
    >>> clip.frames.shape, clip.truth.joints.shape
    ((20, 112, 112, 3), (20, 2, 21, 2))
    """
    settings = settings or RenderSettings()
    stage = set_stage(recording, settings, seed)
    camera = camera_path(seed, recording.name, stage.time, settings.size, settings.camera_motion)
    key = f"subject {recording.subject}" if settings.appearance == "subject" and recording.subject else recording.name
    looks = textures(stage, settings, seed, key)
    behind = backdrop(settings, seed, recording.name, stage.time)
    held = None
    if settings.held is not None:
        generator = random_stream(seed, "held", recording.name)
        held = draw_held(settings.held, stage, generator)
        looks = replace(looks, held=held_patches(held, generator))
    scene = lay_out(stage, camera, held)
    frames, parts = paint(scene, looks, behind, camera, settings.size)
    return Clip(frames, parts, know(recording, stage, scene, camera, behind, parts, settings, seed))

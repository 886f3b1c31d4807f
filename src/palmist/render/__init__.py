"""Recordings drawn as video with known truth: joints, point tracks, camera, labels. See docs/rendered-data.md.

>>> clip = render_clip(palmist.open_data("asl_words")[0], RenderSettings(size=112), seed=0)
>>> clip.frames.shape
(20, 112, 112, 3)
"""

from palmist.render.clip import Clip, render_clip
from palmist.render.folder import RenderedClip, read_rendered, render_folder
from palmist.render.held import is_held
from palmist.render.parts import hand_of_code
from palmist.render.settings import BACKGROUNDS, HELD_THINGS, RenderSettings
from palmist.render.truth import Truth, read_truth

__all__ = [
    "BACKGROUNDS",
    "HELD_THINGS",
    "Clip",
    "RenderSettings",
    "RenderedClip",
    "Truth",
    "hand_of_code",
    "is_held",
    "read_rendered",
    "read_truth",
    "render_clip",
    "render_folder",
]

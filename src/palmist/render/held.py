"""Things in a hand: a ball, a bottle, a box or a book of known name, drawn only where `RenderSettings.held` asks for one.

A thing keeps its place in the palm and its angle to it, lies before the palm where the palm is seen and behind the hand where
its back is, and has no depth of its own. Its colour says nothing about its name.

Letters: T frames, P capsules, Q polygons, V corners.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from palmist.render.appearance import CapsulePatches, PolygonPatches, noise
from palmist.render.parts import TORSO, Capsules, Polygons, part_code
from palmist.render.stage import Stage

__all__ = ["Held", "draw_held", "held_parts", "held_patches", "is_held"]

#: name -> half its length and half its width in metres.
_HALF_SIZES = {"ball": (0.0, 0.036), "bottle": (0.085, 0.03), "box": (0.045, 0.04), "book": (0.115, 0.08)}
_NUMBER = TORSO + 1  # and the next one: a bottle's neck
_BEFORE, _BEHIND = -0.012, 0.025  # metres from the palm; the forearm begins 0.03 behind it


@dataclass(frozen=True)
class Held:
    """One thing in one hand (0 left, 1 right): half (2,) metres along and across its own axis; angle (radians) of that axis to
    the fingers; shift (2,) metres of its middle from the knuckles, along the fingers and across; colour (3,) RGB.
    """

    name: str
    hand: int
    half: np.ndarray
    angle: float
    shift: np.ndarray
    colour: np.ndarray


def is_held(code: np.ndarray) -> np.ndarray:
    """Whether entries of a part map show a held thing."""
    return np.asarray(code) >= part_code(_NUMBER, 0)


def draw_held(name: str, stage: Stage, generator: np.random.Generator) -> Held:
    """The thing that a stream of random numbers gives, in the hand that is seen in more frames."""
    size, side = generator.uniform(0.85, 1.2), int(generator.integers(2))
    angle = np.pi / 2 + generator.normal(0, 0.35)
    shift = np.array([generator.uniform(-0.01, 0.03), generator.uniform(-0.02, 0.02)])
    colour = generator.uniform(25, 235, 3)
    seen = stage.known[:, :, 0].sum(0)
    hand = side if seen[0] == seen[1] else int(seen.argmax())
    return Held(name, hand, size * np.array(_HALF_SIZES[name]), float(angle), shift, colour)


def held_parts(
    held: Held, middle: np.ndarray, wrists: np.ndarray, scale: np.ndarray, facing: np.ndarray, palms: Polygons
) -> Capsules | Polygons:
    """The thing's parts in picture pixels.

    Args:
        middle, wrists: (T, 2, 2) the middle knuckle and the wrist of both hands. scale: (T, 2) pixels per metre. facing:
        (T, 2), 0 where the palm is seen. palms: the drawn palms.
    """
    hand, metre = held.hand, scale[:, held.hand, None]
    forward = middle[:, hand] - wrists[:, hand]
    forward = forward / np.maximum(np.linalg.norm(forward, axis=-1, keepdims=True), 1e-3)
    across = np.stack([-forward[:, 1], forward[:, 0]], -1)
    centre = middle[:, hand] + metre * (held.shift[0] * forward + held.shift[1] * across)
    along = np.cos(held.angle) * forward + np.sin(held.angle) * across
    beside = np.stack([-along[:, 1], along[:, 0]], -1)
    drawn = palms.drawn[:, [hand]]
    depth = palms.depth[:, [hand]] + np.where(facing[:, [hand]] == 0, _BEFORE, _BEHIND) * metre
    length, width = held.half[0] * metre, held.half[1] * metre
    code = np.full((len(metre), 1), part_code(_NUMBER, 0), np.uint8)
    patch = np.zeros((len(metre), 1), np.int64)
    if held.name in ("box", "book"):
        corners = np.stack(
            [centre + a * length * along + b * width * beside for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1))], 1
        )[:, None]
        axes = np.stack([along * length, beside * width], -1)[:, None]
        return Polygons(corners, 0.004 * metre, centre[:, None], axes, depth, drawn, code, patch)
    # A ball is a capsule with next to no length, which still says how its texture turns.
    half = np.maximum(length, 0.1 * width)
    pieces = [(centre - half * along, centre + half * along, width)]
    if held.name == "bottle":
        pieces.append((centre + half * along, centre + 1.7 * half * along, 0.4 * width))
    count = len(pieces)
    start, end = (np.stack([piece[i] for piece in pieces], 1) for i in range(2))
    radius = np.concatenate([piece[2] for piece in pieces], 1)
    depths = depth + 1e-3 * np.arange(count) * metre
    codes = np.repeat(np.array([[part_code(_NUMBER + i, 0) for i in range(count)]], np.uint8), len(metre), 0)
    every = np.repeat(drawn, count, 1)
    return Capsules(start, end, radius, radius, np.ones(count, bool), depths, every, codes, np.zeros_like(codes, np.int64))


def held_patches(held: Held, generator: np.random.Generator) -> CapsulePatches | PolygonPatches:
    """The thing's paint: its colour with blotches and a lighter band across."""
    texels = 48
    if held.name in ("box", "book"):
        empty = PolygonPatches(np.zeros((0, 0, 3), np.float32), (texels // 2, texels // 2), (-1.3, -1.3), (1.3, 1.3))
        height, width = empty.height, empty.width
    else:
        height, width = 2 * (texels // 4) + 2, texels + 2 * (texels // 4) + 2
    grain = noise(generator, max(height, width))[:height, :width]
    paint = held.colour * (1 + 0.14 * grain[..., None])
    first = int(generator.integers(width // 2))
    paint[:, first : first + width // 4] += generator.uniform(-60, 60, 3)
    atlas = np.clip(paint, 10, 250).astype(np.float32)
    if held.name in ("box", "book"):
        return PolygonPatches(atlas, empty.texels, empty.first, empty.last)
    return CapsulePatches(atlas, texels, texels // 4)

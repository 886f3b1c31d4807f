"""How people and rooms look: numbers drawn from a seed, and the texture patches that are painted with them.

Colours are RGB float32, 0 to 255. Patches lie in the part's own coordinates, so that texture moves with the part.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

__all__ = [
    "CapsulePatches",
    "Look",
    "PolygonPatches",
    "background_texture",
    "draw_look",
    "hand_patches",
    "noise",
    "palm_patches",
]

_DARK_SKIN, _LIGHT_SKIN = np.array([74.0, 47.0, 36.0]), np.array([240.0, 200.0, 176.0])
_HAIR = np.array([[28, 22, 20], [70, 45, 30], [120, 85, 50], [190, 160, 110], [125, 125, 125]], np.float64)


@dataclass(frozen=True)
class Look:
    """One person in one light: skin (back of the hand), palm, nail, hair, shirt and sleeve colours (3,); how the sleeve is
    woven, whether the forearm is bare; light (3,) a unit vector towards the light (x right, y down, z to the camera), ambient
    and diffuse strength. Drawn without any knowledge of what the hands do.
    """

    skin: np.ndarray
    palm: np.ndarray
    nail: np.ndarray
    hair: np.ndarray
    shirt: np.ndarray
    stripes: float
    bare_forearm: bool
    light: np.ndarray
    ambient: float
    diffuse: float


def draw_look(generator: np.random.Generator) -> Look:
    """The looks that a stream of random numbers gives."""
    tone = generator.uniform()
    skin = _DARK_SKIN + tone * (_LIGHT_SKIN - _DARK_SKIN) + generator.normal(0, 6, 3)
    palm = skin + (0.55 - 0.35 * tone) * (np.array([236.0, 186.0, 166.0]) - skin)
    nail = skin + 0.5 * (np.array([250.0, 220.0, 214.0]) - skin)
    hair = _HAIR[generator.integers(len(_HAIR))] * generator.uniform(0.7, 1.2)
    shirt = _bright_colour(generator)
    stripes = float(generator.choice([0.0, 0.0, 0.25, 0.5]))
    bare = bool(generator.uniform() < 0.4)
    light = np.array([generator.uniform(-0.6, 0.6), generator.uniform(-0.9, -0.1), 1.0])
    ambient = generator.uniform(0.4, 0.6)
    return Look(
        np.clip(skin, 20, 250), np.clip(palm, 20, 250), np.clip(nail, 20, 255), np.clip(hair, 5, 250), shirt, stripes, bare,
        light / np.linalg.norm(light), float(ambient), float(1.05 - ambient),
    )  # fmt: skip


def _bright_colour(generator: np.random.Generator) -> np.ndarray:
    hue, saturation, value = generator.uniform(0, 180), generator.uniform(30, 200), generator.uniform(60, 235)
    pixel = np.array([[[hue, saturation, value]]], np.uint8)
    return cv2.cvtColor(pixel, cv2.COLOR_HSV2RGB)[0, 0].astype(np.float64)


def noise(generator: np.random.Generator, size: int, coarsest: int = 4, persistence: float = 0.75) -> np.ndarray:
    """(size, size) float32 noise of many octaves, mean 0, deviation 1, within -2.5..2.5.

    Octaves are drawn from coarse to fine out of a stream of their own, so that a larger picture shows the same blotches.
    """
    own = generator.spawn(1)[0]
    total = np.zeros((size, size), np.float32)
    cells, weight = coarsest, 1.0
    while cells <= max(size // 2, coarsest):
        grid = own.standard_normal((cells, cells), np.float32)
        total += weight * cv2.resize(grid, (size, size), interpolation=cv2.INTER_LINEAR)
        cells, weight = cells * 2, weight * persistence
    total -= total.mean()
    return np.clip(total / max(float(total.std()), 1e-6), -2.5, 2.5)


# --------------------------------------------------------------------------------------------------------------------
# Patches of parts


@dataclass(frozen=True)
class CapsulePatches:
    """Textures of capsules, one below the other in `atlas` (rows, width, 3) float32.

    A patch has `across` texels to each side of the bone, `across` texels of cap at either end and `along` texels between;
    one texel of margin goes all around. `rows[i]` is the first row of patch i.
    """

    atlas: np.ndarray
    along: int
    across: int

    @property
    def height(self) -> int:
        return 2 * self.across + 2

    @staticmethod
    def grid(along: int, across: int) -> tuple[np.ndarray, np.ndarray]:
        """Texel centres: position along the bone (0 at its start, 1 at its end) (1, W) and across in radii (H, 1)."""
        u = (np.arange(along + 2 * across + 2) - 0.5 - across) / along
        v = (np.arange(2 * across + 2) - 0.5 - across) / across
        return u[None].astype(np.float32), v[:, None].astype(np.float32)


@dataclass(frozen=True)
class PolygonPatches:
    """Textures of flat parts, one below the other in `atlas`: `texels` (2,) per unit of the part's two axes, covering
    first..last (2, 2) of those units; `height` rows each.
    """

    atlas: np.ndarray
    texels: tuple[int, int]
    first: tuple[float, float]
    last: tuple[float, float]

    @property
    def height(self) -> int:
        return int(np.ceil((self.last[1] - self.first[1]) * self.texels[1])) + 1

    @property
    def width(self) -> int:
        return int(np.ceil((self.last[0] - self.first[0]) * self.texels[0])) + 1


def _crop(generator: np.random.Generator, tile: np.ndarray, height: int, width: int) -> np.ndarray:
    y = int(generator.integers(max(tile.shape[0] - height, 0) + 1))
    x = int(generator.integers(max(tile.shape[1] - width, 0) + 1))
    part = tile[y : y + height, x : x + width]
    if part.shape != (height, width):  # a part larger than the tile repeats it mirrored
        part = np.pad(part, ((0, height - part.shape[0]), (0, width - part.shape[1])), mode="symmetric")
    return part


def _tinted(colour: np.ndarray, grain: np.ndarray, contrast: float) -> np.ndarray:
    """A colour with lighter and darker spots; the darker ones are redder, as on skin."""
    strength = np.array([0.13, 0.17, 0.19], np.float32) * contrast
    return (colour.astype(np.float32) * (1 + grain[..., None] * strength)).astype(np.float32)


def hand_patches(generator: np.random.Generator, look: Look, tile: np.ndarray, scale: float, contrast: float) -> CapsulePatches:
    """15 finger bones x 2 hands x 2 faces (0 palm side, 1 back), in this order, at `scale` texels per metre."""
    along, across = int(np.clip(round(0.03 * scale), 4, 64)), int(np.clip(round(0.008 * scale), 2, 20))
    u, v = CapsulePatches.grid(along, across)
    crease = np.exp(-(((u - 0.03) / 0.07) ** 2)) + np.exp(-(((u - 0.97) / 0.07) ** 2))
    nail = ((u - 0.75) / 0.38) ** 2 + (v / 0.62) ** 2 < 1
    patches = []
    for _ in range(2):
        for bone in range(15):
            for face in range(2):
                grain = _crop(generator, tile, len(v), u.shape[1])
                patch = _tinted(look.skin if face else look.palm, grain, contrast)
                patch *= (1 - (0.16 if face else 0.22) * crease)[..., None]
                if face and bone % 3 == 2:
                    patch[nail] = 0.3 * patch[nail] + 0.7 * look.nail.astype(np.float32)
                patches.append(patch)
    return CapsulePatches(np.concatenate(patches), along, across)


def limb_patches(generator: np.random.Generator, look: Look, tile: np.ndarray, scale: float, contrast: float) -> CapsulePatches:
    """Left and right upper arm, left and right forearm, head, neck, at `scale` texels per metre of the body."""
    along, across = int(np.clip(round(0.22 * scale), 6, 200)), int(np.clip(round(0.045 * scale), 3, 64))
    u, v = CapsulePatches.grid(along, across)
    patches = []
    for part in range(6):
        grain = _crop(generator, tile, len(v), u.shape[1])
        if part == 4:
            patch = _tinted(look.skin, grain, contrast)
            hairy = (u < 0.12 + 0.1 * v**2) & (v < 9)
            patch[hairy] = _tinted(look.hair, grain, 1.5 * contrast)[hairy]
            for side in (-0.38, 0.38):
                eye = ((u - 0.42) / 0.13) ** 2 + ((v - side) / 0.14) ** 2 < 1
                patch[eye] = 0.25 * patch[eye] + 10
            mouth = ((u - 1.02) / 0.1) ** 2 + (v / 0.34) ** 2 < 1
            patch[mouth] *= np.array([0.8, 0.5, 0.5], np.float32)
        elif part == 5 or (part >= 2 and look.bare_forearm):
            patch = _tinted(look.skin, grain, contrast)
        else:
            patch = _cloth(look, grain, u + 0 * v, contrast)
            if part >= 2:
                patch[np.broadcast_to(u > 0.93, grain.shape)] *= 0.75  # the cuff
        patches.append(patch)
    return CapsulePatches(np.concatenate(patches), along, across)


def _cloth(look: Look, grain: np.ndarray, position: np.ndarray, contrast: float) -> np.ndarray:
    stripes = 1 - look.stripes * (np.sin(position * 40) > 0.3)
    return (look.shirt.astype(np.float32) * ((1 + 0.12 * max(contrast, 0.3) * grain) * stripes)[..., None]).astype(np.float32)


def palm_patches(generator: np.random.Generator, look: Look, tile: np.ndarray, scale: float, contrast: float) -> PolygonPatches:
    """Left and right palm x 2 faces (palm, back): axis 0 from the wrist to the middle knuckle, axis 1 from the little
    finger's knuckle to the index finger's.
    """
    texels = (int(np.clip(round(0.09 * scale), 8, 200)), int(np.clip(round(0.065 * scale), 6, 150)))
    empty = PolygonPatches(np.zeros((0, 0, 3), np.float32), texels, (-0.5, -1.4), (1.6, 1.6))
    u = empty.first[0] + np.arange(empty.width) / texels[0]
    v = empty.first[1] + np.arange(empty.height)[:, None] / texels[1]
    patches = []
    for _ in range(2):
        for face in range(2):
            grain = _crop(generator, tile, empty.height, empty.width)
            patch = _tinted(look.skin if face else look.palm, grain, contrast)
            if face == 0:  # the three lines of a palm
                lines = np.exp(-(((v - 0.05 - 0.5 * (u - 0.1) ** 2) / 0.04) ** 2)) * (u > 0.1) * (u < 0.8)
                lines = lines + np.exp(-(((u - 0.74 - 0.12 * v) / 0.035) ** 2)) * (np.abs(v) < 0.45)
                lines = lines + np.exp(-(((u - 0.58 - 0.25 * v) / 0.035) ** 2)) * (np.abs(v) < 0.5)
                patch *= (1 - 0.3 * np.clip(lines, 0, 1))[..., None].astype(np.float32)
            else:  # tendons towards the knuckles
                ridges = np.cos(2 * np.pi * 3 * (v + 0.02)) * np.clip(u - 0.3, 0, 1)
                patch *= (1 + 0.07 * ridges)[..., None].astype(np.float32)
            patches.append(patch)
    return PolygonPatches(np.concatenate(patches), texels, empty.first, empty.last)


def torso_patch(generator: np.random.Generator, look: Look, tile: np.ndarray, scale: float, contrast: float) -> PolygonPatches:
    """The shirt: axis 0 from the right to the left shoulder, axis 1 from the shoulders to the hips."""
    texels = (int(np.clip(round(0.34 * scale), 8, 300)), int(np.clip(round(0.45 * scale), 8, 400)))
    empty = PolygonPatches(np.zeros((0, 0, 3), np.float32), texels, (-0.9, -0.4), (0.9, 1.4))
    grain = _crop(generator, tile, empty.height, empty.width)
    v = empty.first[1] + np.arange(empty.height)[:, None] / texels[1] + np.zeros((1, empty.width))
    return PolygonPatches(_cloth(look, grain, v, contrast), texels, empty.first, empty.last)


# --------------------------------------------------------------------------------------------------------------------
# Backgrounds


def background_texture(generator: np.random.Generator, kind: str, size: int) -> np.ndarray:
    """(size, size, 3) float32: "plain" is one colour; else noise, a chequered floor, a gradient or random shapes, with
    grain over it.
    """
    first, second = _bright_colour(generator), _bright_colour(generator)
    if kind == "plain":
        return np.broadcast_to(first.astype(np.float32), (size, size, 3)).copy()
    style = generator.choice(["noise", "checker", "gradient", "shapes"])
    grain = noise(generator, size, persistence=0.8)
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) / size - 0.5
    angle = generator.uniform(0, np.pi)
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    if style == "checker":
        cells = generator.integers(4, 14)
        mix = ((np.floor(along * cells) + np.floor(across * cells)) % 2).astype(np.float32)
    elif style == "gradient":
        mix = np.clip(along + 0.5, 0, 1)
    else:
        mix = np.clip(0.5 + 0.3 * noise(generator, size, coarsest=3), 0, 1)
    picture = (first + mix[..., None] * (second - first)).astype(np.float32)
    if style == "shapes":
        _scatter_shapes(generator, picture)
    strength = generator.uniform(0.04, 0.16)
    return np.clip(picture * (1 + strength * grain[..., None]), 0, 255).astype(np.float32)


def _scatter_shapes(generator: np.random.Generator, picture: np.ndarray) -> None:
    size = len(picture)
    for _ in range(int(generator.integers(12, 30))):
        colour = tuple(float(c) for c in _bright_colour(generator))
        x, y, length = (int(n) for n in generator.uniform((0, 0, 0.04), (1, 1, 0.22)) * size)
        if generator.uniform() < 0.5:
            cv2.circle(picture, (x, y), length // 2 + 1, colour, -1)
        else:
            turn = cv2.boxPoints(((x, y), (length + 2, int(generator.uniform(0.3, 2) * length) + 2), generator.uniform(0, 90)))
            cv2.fillPoly(picture, [turn.astype(np.int32)], colour)

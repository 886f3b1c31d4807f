"""Pixels: parts are shaded in small boxes, many at a time, and painted over one another from back to front.

Capsules and polygons are signed distances, so that edges are smooth without drawing larger and shrinking.
Letters: N parts of one kind, h x w the largest of their boxes.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from palmist.render.appearance import (
    CapsulePatches,
    Look,
    PolygonPatches,
    background_texture,
    draw_look,
    hand_patches,
    limb_patches,
    noise,
    palm_patches,
    torso_patch,
)
from palmist.render.parts import Capsules, Polygons, Scene
from palmist.render.settings import RenderSettings, random_stream
from palmist.render.stage import Stage, background_path, compose_affine

__all__ = ["Backdrop", "Textures", "backdrop", "paint", "textures"]

_MARGIN = 0.3  # of the picture's width, to each side of the background's texture
_BOX_PIXELS = 400_000  # shaded at once: what stays in a cache
_LONGEST_MAP = 32_000  # rows that OpenCV can remap at once


@dataclass(frozen=True)
class Textures:
    """A person's looks and the patches of all parts."""

    look: Look
    fingers: CapsulePatches
    palms: PolygonPatches
    limbs: CapsulePatches
    torso: PolygonPatches
    held: CapsulePatches | PolygonPatches | None = None


def textures(stage: Stage, settings: RenderSettings, seed: int, key: str) -> Textures:
    """What the stream of `key` gives: about one texel per pixel of the hands and body on this stage."""
    generator = random_stream(seed, "appearance", key)
    look = draw_look(generator)
    seen = stage.scale[stage.scale > 0]
    hand_scale = float(np.median(seen)) if len(seen) else 1.0
    body_scale = stage.body_scale if stage.body_known.any() else 0.5 * hand_scale
    tile = noise(generator, 256)
    contrast = settings.texture
    return Textures(
        look,
        hand_patches(generator, look, tile, hand_scale, contrast),
        palm_patches(generator, look, tile, hand_scale, contrast),
        limb_patches(generator, look, tile, body_scale, contrast),
        torso_patch(generator, look, tile, body_scale, contrast),
    )


@dataclass(frozen=True)
class Backdrop:
    """kind: "static", "moving" or "plain"; texture (G, G, 3) float32 with a margin around the stage; motion (T, 2, 3): where a
    point given by its stage pixels in frame 0 is on the stage in each frame.
    """

    kind: str
    texture: np.ndarray
    motion: np.ndarray


def backdrop(settings: RenderSettings, seed: int, name: str, time: np.ndarray) -> Backdrop:
    """The background of one recording."""
    generator = random_stream(seed, "background", name)
    lot = str(generator.choice(["static", "moving", "plain"]))
    kind = lot if settings.background == "mixed" else settings.background
    motion = np.tile(np.eye(2, 3), (len(time), 1, 1))
    path = background_path(generator, time, settings.size)
    if kind == "moving":
        motion = path
    return Backdrop(kind, background_texture(generator, kind, int(settings.size * (1 + 2 * _MARGIN))), motion)


def paint(scene: Scene, looks: Textures, behind: Backdrop, camera: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw every frame.

    Returns frames (T, S, S, 3) uint8 RGB and the part map (T, S, S) uint8: `parts.part_code` of what is seen, 0 background.
    """
    frames = np.empty((len(camera), size, size, 3), np.uint8)
    part_map = np.zeros((len(camera), size, size), np.uint8)
    margin = int(size * _MARGIN)
    on_stage = np.array([[1.0, 0.0, -margin], [0.0, 1.0, -margin]])
    views = compose_affine(compose_affine(camera, behind.motion), on_stage)
    step = 8
    for first in range(0, len(camera), step):
        part = slice(first, min(first + step, len(camera)))
        boxes: list[list[_Box]] = [[] for _ in range(part.stop - part.start)]
        _shade_capsules(scene.limbs, looks.limbs, looks.look, part, size, boxes)
        _shade_polygons(scene.torso, looks.torso, looks.look, part, size, boxes)
        _shade_capsules(scene.fingers, looks.fingers, looks.look, part, size, boxes)
        _shade_polygons(scene.palms, looks.palms, looks.look, part, size, boxes)
        if isinstance(scene.held, Capsules) and isinstance(looks.held, CapsulePatches):
            _shade_capsules(scene.held, looks.held, looks.look, part, size, boxes)
        elif isinstance(scene.held, Polygons) and isinstance(looks.held, PolygonPatches):
            _shade_polygons(scene.held, looks.held, looks.look, part, size, boxes)
        for offset, stack in enumerate(boxes):
            frame = first + offset
            canvas = cv2.warpAffine(
                behind.texture, views[frame], (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
            )
            codes = part_map[frame]
            for box in sorted(stack, key=lambda box: -box.depth):
                area = canvas[box.rows, box.columns]
                area *= box.through
                area += box.paint
                np.copyto(codes[box.rows, box.columns], box.code, where=box.solid)
            np.clip(canvas + 0.5, 0, 255.5, out=canvas)
            frames[frame] = canvas
    return frames, part_map


@dataclass(frozen=True)
class _Box:
    """One shaded part: what it adds, what it lets through (h, w, 1), where it is solid, and where it goes."""

    depth: float
    code: int
    rows: slice
    columns: slice
    paint: np.ndarray
    through: np.ndarray
    solid: np.ndarray


def _clip_boxes(low: np.ndarray, high: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """First and last pixel (N, 2) of boxes inside the picture; empty where last < first."""
    first = np.clip(np.floor(np.nan_to_num(low)) - 1, 0, size).astype(np.int64)
    last = np.clip(np.ceil(np.nan_to_num(high)) + 1, -1, size - 1).astype(np.int64)
    return first, last


def _batches(extent: np.ndarray) -> list[np.ndarray]:
    """Split parts of (N,) box sides into batches of like size that stay within the cache."""
    order = np.argsort(extent)
    batches: list[np.ndarray] = []
    start = 0
    while start < len(order):
        stop = start + 1
        while stop < len(order):
            side = int(extent[order[stop]])
            count = stop + 1 - start
            if count * side * side > _BOX_PIXELS or count * side > _LONGEST_MAP:
                break
            if side > 1.6 * extent[order[start]] + 8:
                break
            stop += 1
        batches.append(order[start:stop])
        start = stop
    return batches


def _shade_capsules(
    capsules: Capsules, patches: CapsulePatches, look: Look, part: slice, size: int, boxes: list[list[_Box]]
) -> None:
    frame, which = np.nonzero(capsules.drawn[part])
    start, end = capsules.start[part][frame, which], capsules.end[part][frame, which]
    r0, r1 = capsules.start_radius[part][frame, which], capsules.end_radius[part][frame, which]
    low = np.minimum(start - r0[:, None], end - r1[:, None])
    high = np.maximum(start + r0[:, None], end + r1[:, None])
    first, last = _clip_boxes(low, high, size)
    sides = last - first + 1
    inside = np.flatnonzero((sides > 0).all(1))
    depth, code = capsules.depth[part][frame, which], capsules.code[part][frame, which]
    patch, tip = capsules.patch[part][frame, which], capsules.open_end[which]
    for batch in _batches(sides[inside].max(1)):
        n = inside[batch]
        width, height = sides[n].max(0)
        offset = (first[n] - start[n]).astype(np.float32)
        x = (offset[:, :1] + np.arange(width, dtype=np.float32))[:, None, :]
        y = (offset[:, 1:] + np.arange(height, dtype=np.float32))[:, :, None]
        vector = (end[n] - start[n]).astype(np.float32)
        length = np.linalg.norm(vector, axis=-1)
        unit = np.where(length[:, None] > 1e-3, vector / np.maximum(length, 1e-3)[:, None], np.array([1, 0], np.float32))
        ux, uy, ll = unit[:, 0, None, None], unit[:, 1, None, None], length[:, None, None]
        ra, rb = (r[n].astype(np.float32)[:, None, None] for r in (r0, r1))
        along, across = x * ux + y * uy, y * ux - x * uy
        on_bone = np.clip(along, 0, ll)
        past = along - on_bone
        t = on_bone / np.maximum(ll, 1e-3)
        radius = ra + (rb - ra) * t
        cover = radius + 0.5 - np.sqrt(past * past + across * across)
        np.clip(cover, 0, 1, out=cover)
        q, e = np.clip(across / radius, -1, 1), np.clip(past / radius, -1, 1)
        # Only a fingertip is round along the bone: elsewhere the next bone goes on.
        lean = np.where(e > 0, e, 0) * tip[n].astype(np.float32)[:, None, None]
        up = np.sqrt(np.clip(1 - q * q - lean * lean, 0, 1))
        lx, ly, lz = (np.float32(c) for c in look.light)
        lit = q * (ly * ux - lx * uy) + lean * (lx * ux + ly * uy) + lz * up
        lit = np.float32(look.ambient) + np.float32(look.diffuse) * np.maximum(lit, 0)
        lit *= 0.72 + 0.28 * up  # less light reaches the sides, which lie between other fingers
        row = (patch[n] * patches.height).astype(np.float32)[:, None, None]
        map_x = patches.across * (1 + e) + patches.along * t + np.float32(0.5)
        map_y = patches.across * (1 + q) + np.float32(0.5) + row
        colour = _sample(patches.atlas, map_x, map_y)
        colour *= (lit * cover)[..., None]
        _file(boxes, frame[n], depth[n], code[n], first[n], last[n], colour, cover)


def _shade_polygons(
    polygons: Polygons, patches: PolygonPatches, look: Look, part: slice, size: int, boxes: list[list[_Box]]
) -> None:
    frame, which = np.nonzero(polygons.drawn[part])
    corners = polygons.corners[part][frame, which]
    radius = polygons.radius[part][frame, which]
    origin = polygons.origin[part][frame, which]
    inverse = np.linalg.inv(polygons.axes[part][frame, which])
    first, last = _clip_boxes(corners.min(1) - radius[:, None], corners.max(1) + radius[:, None], size)
    sides = last - first + 1
    inside = np.flatnonzero((sides > 0).all(1))
    depth, code = polygons.depth[part][frame, which], polygons.code[part][frame, which]
    patch = polygons.patch[part][frame, which]
    for batch in _batches(sides[inside].max(1)):
        n = inside[batch]
        width, height = sides[n].max(0)
        x = (first[n, :1] + np.arange(width)).astype(np.float32)[:, None, :]
        y = (first[n, 1:] + np.arange(height)).astype(np.float32)[:, :, None]
        away, nx, ny = _distance(corners[n].astype(np.float32), x, y)
        r = radius[n].astype(np.float32)[:, None, None]
        cover = np.clip(r - away + 0.5, 0, 1)
        # Rounded towards the edge, flat in the middle.
        bend = np.clip((away + 2 * r) / np.maximum(3 * r, 1e-3), 0, 1)
        bend *= bend
        lx, ly, lz = (np.float32(c) for c in look.light)
        up = np.sqrt(1 - 0.85 * bend * bend)
        lit = bend * (lx * nx + ly * ny) + lz * up
        lit = np.float32(look.ambient) + np.float32(look.diffuse) * np.maximum(lit, 0)
        lit *= 0.72 + 0.28 * up
        m = inverse[n].astype(np.float32)[:, :, :, None, None]
        ox, oy = (origin[n, i].astype(np.float32)[:, None, None] for i in range(2))
        u = m[:, 0, 0] * (x - ox) + m[:, 0, 1] * (y - oy)
        v = m[:, 1, 0] * (x - ox) + m[:, 1, 1] * (y - oy)
        row = (patch[n] * patches.height).astype(np.float32)[:, None, None]
        map_x = np.clip((u - patches.first[0]) * patches.texels[0], 0, patches.width - 1)
        map_y = np.clip((v - patches.first[1]) * patches.texels[1], 0, patches.height - 1) + row
        colour = _sample(patches.atlas, map_x, map_y)
        colour *= (lit * cover)[..., None]
        _file(boxes, frame[n], depth[n], code[n], first[n], last[n], colour, cover)


def _distance(corners: np.ndarray, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Signed distance (N, h, w) to polygons (N, V, 2), negative inside (nonzero winding), and the outward direction."""
    shape = np.broadcast_shapes(x.shape, y.shape)
    best = np.full(shape, np.inf, np.float32)
    nx, ny = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    winding = np.zeros(shape, np.int8)
    following = np.roll(corners, -1, axis=1)
    for i in range(corners.shape[1]):
        ax, ay = (corners[:, i, k, None, None] for k in range(2))
        bx, by = (following[:, i, k, None, None] for k in range(2))
        ex, ey = bx - ax, by - ay
        px, py = x - ax, y - ay
        square = ex * ex + ey * ey
        t = np.clip((px * ex + py * ey) / np.maximum(square, 1e-6), 0, 1)
        dx, dy = px - t * ex, py - t * ey
        distance = dx * dx + dy * dy
        closer = distance < best
        np.copyto(best, distance, where=closer)
        np.copyto(nx, dx, where=closer)
        np.copyto(ny, dy, where=closer)
        left = ex * py - ey * px
        winding += (ay <= y) & (by > y) & (left > 0)
        winding -= (ay > y) & (by <= y) & (left < 0)
    length = np.sqrt(best)
    sign = np.where(winding != 0, np.float32(-1), np.float32(1))
    away = sign / np.maximum(length, 1e-3)
    return length * sign, nx * away, ny * away


def _sample(atlas: np.ndarray, map_x: np.ndarray, map_y: np.ndarray) -> np.ndarray:
    count, height, width = np.broadcast_shapes(map_x.shape, map_y.shape)
    map_x, map_y = (np.ascontiguousarray(np.broadcast_to(m, (count, height, width)), np.float32) for m in (map_x, map_y))
    flat = (count * height, width)
    colour = cv2.remap(atlas, map_x.reshape(flat), map_y.reshape(flat), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return colour.reshape(count, height, width, 3)


def _file(
    boxes: list[list[_Box]],
    frame: np.ndarray,
    depth: np.ndarray,
    code: np.ndarray,
    first: np.ndarray,
    last: np.ndarray,
    colour: np.ndarray,
    cover: np.ndarray,
) -> None:
    """Put the shaded boxes of a batch, without what lies beyond each, to the frames they belong to."""
    through = (1 - cover)[..., None]
    solid = cover > 0.5
    for i in range(len(frame)):
        (x0, y0), (x1, y1) = first[i], last[i] + 1
        cut = (i, slice(0, y1 - y0), slice(0, x1 - x0))
        box = _Box(float(depth[i]), int(code[i]), slice(y0, y1), slice(x0, x1), colour[cut], through[cut], solid[cut])
        boxes[frame[i]].append(box)

"""Points of frame 0 and where they are in every frame: on the background, or fixed to a capsule or a polygon."""

from __future__ import annotations

import numpy as np

from palmist.render.parts import Capsules, Polygons, Scene, hand_of_code
from palmist.render.settings import RenderSettings, random_stream
from palmist.render.stage import apply_affine

__all__ = ["follow"]


def follow(
    scene: Scene, background: np.ndarray, parts: np.ndarray, settings: RenderSettings, seed: int, name: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pick points in frame 0 and follow what they lie on.

    Args:
        background: (T, 2, 3) where a background point is in the picture, given by its stage pixels in frame 0.
        parts: (T, S, S) the part map.

    Returns:
        positions (T, N, 2) float64 px, known (T, N) bool (the part is drawn in this frame), part codes (N,) uint8.
    """
    points = _pick(parts[0], settings, random_stream(seed, "tracks", name))
    frames, count = len(parts), len(points)
    whole = np.floor(points + 0.5).astype(np.int64)
    codes = parts[0][whole[:, 1], whole[:, 0]]
    positions = np.zeros((frames, count, 2))
    known = np.zeros((frames, count), bool)
    free = np.flatnonzero(codes == 0)
    first = background[0]
    on_stage = np.linalg.solve(first[:, :2], (points[free] - first[:, 2]).T).T
    positions[:, free] = apply_affine(background, on_stage[None])
    known[:, free] = True
    held_round = (scene.held,) if isinstance(scene.held, Capsules) else ()
    held_flat = (scene.held,) if isinstance(scene.held, Polygons) else ()
    for group in (scene.fingers, scene.limbs, *held_round):
        for part in range(group.drawn.shape[1]):
            here = np.flatnonzero(group.drawn[0, part] & (codes == group.code[0, part]))
            if len(here):
                positions[:, here] = _on_capsule(group, part, points[here])
                known[:, here] = group.drawn[:, part, None]
    for flat in (scene.palms, scene.torso, *held_flat):
        for part in range(flat.drawn.shape[1]):
            here = np.flatnonzero(flat.drawn[0, part] & (codes == flat.code[0, part]))
            if len(here):
                positions[:, here] = _on_polygon(flat, part, points[here])
                known[:, here] = flat.drawn[:, part, None]
    return positions, known, codes


def _pick(codes: np.ndarray, settings: RenderSettings, generator: np.random.Generator) -> np.ndarray:
    """(N, 2) points of the picture: a share on the hands (as far as any are seen), the others anywhere."""
    size, count = len(codes), settings.tracks
    rows, columns = np.nonzero(hand_of_code(codes) >= 0)
    on_hands = round(count * settings.hand_tracks) if len(rows) else 0
    anywhere = generator.uniform(-0.5, size - 0.5 - 1e-9, (count - on_hands, 2))
    lot = generator.integers(max(len(rows), 1), size=on_hands)
    chosen = np.stack([columns[lot], rows[lot]], -1) if on_hands else np.zeros((0, 2))
    return np.concatenate([chosen + generator.uniform(-0.5, 0.5 - 1e-9, (on_hands, 2)), anywhere])


def _axis(group: Capsules, part: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Length (T,), unit vector along (T, 2) and across (T, 2) of one capsule, as the painter takes them."""
    vector = group.end[:, part] - group.start[:, part]
    length = np.linalg.norm(vector, axis=-1)
    unit = np.where(length[:, None] > 1e-3, vector / np.maximum(length, 1e-3)[:, None], [1.0, 0.0])
    return length, unit, np.stack([-unit[:, 1], unit[:, 0]], -1)


def _on_capsule(group: Capsules, part: int, points: np.ndarray) -> np.ndarray:
    """Barycentric along the bone, in radii across it and beyond its ends: (T, n, 2)."""
    length, unit, normal = _axis(group, part)
    start, r0, r1 = group.start[:, part], group.start_radius[:, part], group.end_radius[:, part]
    offset = points - start[0]
    along, across = offset @ unit[0], offset @ normal[0]
    on_bone = np.clip(along, 0, length[0])
    t = on_bone / max(length[0], 1e-3)
    radius = r0[0] + (r1[0] - r0[0]) * t
    q, e = across / radius, (along - on_bone) / radius
    radii = r0[:, None] + (r1 - r0)[:, None] * t
    along_now = t * length[:, None] + e * radii
    return start[:, None] + along_now[..., None] * unit[:, None] + (q * radii)[..., None] * normal[:, None]


def _on_polygon(flat: Polygons, part: int, points: np.ndarray) -> np.ndarray:
    """Fixed in the frame of the polygon's two axes: (T, n, 2)."""
    origin, axes = flat.origin[:, part], flat.axes[:, part]
    inside = np.linalg.solve(axes[0], (points - origin[0]).T).T
    return origin[:, None] + (axes[:, None] @ inside[..., None])[..., 0]

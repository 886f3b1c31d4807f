"""The parts that are drawn: capsules along bones and rounded polygons, for all frames at once, in picture pixels.

Letters: T frames, P capsules, Q polygons, V corners. A part has a number (`FINGER`, `PALM`, `LIMB`, `TORSO`) and one or two
faces; what the picture's part map holds is `part_code(number, face)`, 0 for the background.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from palmist.render.stage import BODY, Stage, apply_affine

if TYPE_CHECKING:
    from palmist.render.held import Held

__all__ = ["Capsules", "Polygons", "Scene", "hand_of_code", "lay_out", "part_code"]

#: (start, end) joints of the 15 bones that are drawn as capsules, thumb first, base to tip; the palm covers the others.
FINGER_BONES = tuple((1 + 4 * finger + k, 2 + 4 * finger + k) for finger in range(5) for k in range(3))
#: Half the thickness in metres at each joint of a hand with the reference size.
JOINT_RADIUS = np.array(
    [
        0.020, 0.0135, 0.0115, 0.0100, 0.0080,
        0.0100, 0.0092, 0.0082, 0.0068,
        0.0102, 0.0094, 0.0084, 0.0070,
        0.0098, 0.0088, 0.0078, 0.0066,
        0.0090, 0.0078, 0.0068, 0.0058,
    ]
)  # fmt: skip
_KNUCKLES = [5, 9, 13, 17]
_PALM_RADIUS = 0.008
_HAND_PARTS = 16  # 15 finger bones and the palm
LIMBS = ("left_upper_arm", "right_upper_arm", "left_forearm", "right_forearm", "head", "neck")
_FIRST_LIMB = 2 * _HAND_PARTS
TORSO = _FIRST_LIMB + len(LIMBS)


def part_code(number: int | np.ndarray, face: int | np.ndarray) -> int | np.ndarray:
    """What the part map holds where this face of this part is seen."""
    return 1 + 2 * number + face


def hand_of_code(code: np.ndarray) -> np.ndarray:
    """0 left hand, 1 right hand, -1 anything else, for entries of a part map."""
    number = (np.asarray(code, np.int64) - 1) // 2
    return np.where((np.asarray(code) > 0) & (number < _FIRST_LIMB), number // _HAND_PARTS, -1)


def codes_at_joint(hand: int, joint: int) -> set[int]:
    """Part codes that show a joint: the bones that meet in it, and the palm."""
    numbers = {hand * _HAND_PARTS + i for i, bone in enumerate(FINGER_BONES) if joint in bone}
    if joint in (0, 1, 2, *_KNUCKLES):
        numbers.add(hand * _HAND_PARTS + 15)
    return {int(part_code(number, face)) for number in numbers for face in (0, 1)}


@dataclass(frozen=True)
class Capsules:
    """start, end (T, P, 2) px; start_radius, end_radius (T, P) px; open_end (P,) bool: the end is round in shading too (a
    fingertip); depth (T, P): painted from high to low; drawn (T, P) bool; code (T, P) uint8, see `part_code`; patch (T, P):
    which texture.
    """

    start: np.ndarray
    end: np.ndarray
    start_radius: np.ndarray
    end_radius: np.ndarray
    open_end: np.ndarray
    depth: np.ndarray
    drawn: np.ndarray
    code: np.ndarray
    patch: np.ndarray


@dataclass(frozen=True)
class Polygons:
    """corners (T, Q, V, 2) px; radius (T, Q) px around them; origin (T, Q, 2) and axes (T, Q, 2, 2) (columns): the frame in
    which the texture lies; depth, drawn, code, patch as in Capsules.
    """

    corners: np.ndarray
    radius: np.ndarray
    origin: np.ndarray
    axes: np.ndarray
    depth: np.ndarray
    drawn: np.ndarray
    code: np.ndarray
    patch: np.ndarray


@dataclass(frozen=True)
class Scene:
    """Everything that is drawn: the hands' fingers (30 capsules) and palms, arms, head and neck (6 capsules), the torso, and
    what is held, if anything is.
    """

    fingers: Capsules
    palms: Polygons
    limbs: Capsules
    torso: Polygons
    held: Capsules | Polygons | None = None


def lay_out(stage: Stage, camera: np.ndarray, held: Held | None = None) -> Scene:
    """All parts of all frames after the camera's motion `camera` (T, 2, 3)."""
    zoom = np.sqrt(np.abs(np.linalg.det(camera[:, :, :2])))
    joints = apply_affine(camera, stage.joints[..., :2])
    wrists = apply_affine(camera, stage.wrists[..., :2])
    scale = stage.scale * zoom[:, None]
    facing, slope, knuckle_middle, palm_drawn = _palm_frame(stage, joints, wrists)
    fingers = _fingers(stage, joints, scale, facing)
    palms = _palms(stage, joints, wrists, scale, facing, slope, knuckle_middle, palm_drawn)
    body = apply_affine(camera, stage.body)
    limbs, torso = _body(stage, body, wrists, knuckle_middle, palm_drawn, zoom, scale, palms.depth)
    if held is None:
        return Scene(fingers, palms, limbs, torso)
    from palmist.render.held import held_parts

    return Scene(fingers, palms, limbs, torso, held_parts(held, knuckle_middle, wrists, scale, facing, palms))


def _palm_frame(stage: Stage, joints: np.ndarray, wrists: np.ndarray) -> tuple[np.ndarray, ...]:
    """Which face of each hand is seen (0 palm, 1 back), the step from knuckle to knuckle, where the middle finger's knuckle
    is by a straight line through the known ones, and whether a palm can be drawn (wrist and two knuckles known).
    """
    weight = stage.known[:, :, _KNUCKLES].astype(np.float64)[..., None]
    count = np.maximum(weight.sum(2), 1)
    index = np.arange(4.0)[:, None]
    mean_index = (weight * index).sum(2) / count
    mean = (weight * joints[:, :, _KNUCKLES]).sum(2) / count
    spread = (weight * (index - mean_index[:, :, None]) ** 2).sum(2)
    away = weight * (index - mean_index[:, :, None])
    slope = (away * (joints[:, :, _KNUCKLES] - mean[:, :, None])).sum(2) / np.maximum(spread, 1e-9)
    middle = mean + (1 - mean_index) * slope
    drawn = stage.known[:, :, 0] & (weight.sum((2, 3)) >= 2)
    forward, to_index = middle - wrists, -slope
    cross = forward[..., 0] * to_index[..., 1] - forward[..., 1] * to_index[..., 0]
    # Fingers up and palm to the camera, the right hand's index finger lies to the right of its little finger.
    facing = np.stack([cross[:, 0] > 0, cross[:, 1] < 0], 1).astype(np.int64)
    return facing, slope, middle, drawn


def _fingers(stage: Stage, joints: np.ndarray, scale: np.ndarray, facing: np.ndarray) -> Capsules:
    frames = len(joints)
    first, second = (np.array([bone[i] for bone in FINGER_BONES]) for i in range(2))
    phalanx = np.tile(np.arange(3), 5)
    # Where depth says nothing, the outer bones lie over the inner ones and the thumb over the fingers.
    order = 0.004 * phalanx + 0.001 * (4 - np.arange(15) // 3)
    depth = (stage.depth[:, :, first] + stage.depth[:, :, second]) / 2 - order * scale[..., None]
    number = np.arange(15) + _HAND_PARTS * np.arange(2)[:, None]
    flat = (frames, 30)
    return Capsules(
        joints[:, :, first].reshape(*flat, 2),
        joints[:, :, second].reshape(*flat, 2),
        (scale[..., None] * JOINT_RADIUS[first]).reshape(flat),
        (scale[..., None] * JOINT_RADIUS[second]).reshape(flat),
        np.tile(phalanx == 2, 2),
        depth.reshape(flat),
        (stage.known[:, :, first] & stage.known[:, :, second] & (scale > 0)[..., None]).reshape(flat),
        np.asarray(part_code(number, facing[..., None])).reshape(flat).astype(np.uint8),
        ((np.arange(2)[:, None] * 15 + np.arange(15)) * 2 + facing[..., None]).reshape(flat),
    )


def _palms(
    stage: Stage,
    joints: np.ndarray,
    wrists: np.ndarray,
    scale: np.ndarray,
    facing: np.ndarray,
    slope: np.ndarray,
    middle: np.ndarray,
    drawn: np.ndarray,
) -> Polygons:
    forward, across = middle - wrists, -3 * slope
    knuckles = [np.where(stage.known[:, :, [j], None], joints[:, :, [j]], 0)[:, :, 0] for j in _KNUCKLES]
    for i, joint in enumerate(_KNUCKLES):  # a knuckle that is not known is drawn nowhere but on the line of the others
        knuckles[i] = np.where(stage.known[:, :, joint, None], knuckles[i], middle + (i - 1) * slope)
    base = wrists + 0.3 * across + 0.3 * forward
    thumb = np.where(stage.known[:, :, 1, None], joints[:, :, 1], base)
    thumb2 = np.where(stage.known[:, :, 2, None], joints[:, :, 2], knuckles[0])
    web = 0.35 * thumb2 + 0.35 * knuckles[0] + 0.3 * (wrists + 0.5 * forward + 0.3 * across)
    corners = np.stack([wrists + 0.24 * across, thumb, web, *knuckles, wrists - 0.24 * across], 2)
    palm_joints = [0, *_KNUCKLES]
    weight = stage.known[:, :, palm_joints]
    depth = (stage.depth[:, :, palm_joints] * weight).sum(-1) / np.maximum(weight.sum(-1), 1)
    axes = _sound_axes(np.stack([forward, across], -1), 0.015 * scale)
    number = np.arange(2) * _HAND_PARTS + 15
    code = np.asarray(part_code(number, facing)).astype(np.uint8)
    patch = np.arange(2) * 2 + facing
    return Polygons(corners, _PALM_RADIUS * scale, wrists, axes, depth + 0.004 * scale, drawn & (scale > 0), code, patch)


def _sound_axes(axes: np.ndarray, least: np.ndarray) -> np.ndarray:
    """Axes whose singular values are at least `least`: a palm seen edge-on keeps a texture that can be sampled."""
    u, s, v = np.linalg.svd(axes)
    floor = np.maximum(least, 1e-3)[..., None]
    return (u * np.maximum(s, floor)[..., None, :]) @ v


def _body(
    stage: Stage,
    body: np.ndarray,
    wrists: np.ndarray,
    knuckle_middle: np.ndarray,
    palm_drawn: np.ndarray,
    zoom: np.ndarray,
    hand_scale: np.ndarray,
    palm_depth: np.ndarray,
) -> tuple[Capsules, Polygons]:
    frames = len(body)
    here = {name: body[:, i] for i, name in enumerate(BODY)}
    there = {name: stage.body_known[:, i] for i, name in enumerate(BODY)}
    scale = stage.body_scale * zoom
    shape = (frames, len(LIMBS))
    start, end = np.zeros((*shape, 2)), np.zeros((*shape, 2))
    radii = np.zeros((2, *shape))
    depth, drawn = np.zeros(shape), np.zeros(shape, bool)
    far = 1e6
    for side, name in enumerate(("left", "right")):
        shoulder, elbow, wrist = (f"{name}_{joint}" for joint in ("shoulder", "elbow", "wrist"))
        hand = palm_drawn[:, side]
        start[:, side], end[:, side] = here[shoulder], here[elbow]
        radii[:, :, side] = np.array([[0.055], [0.045]]) * scale
        drawn[:, side] = there[shoulder] & there[elbow] & (scale > 0)
        depth[:, side] = far
        arm = side + 2
        tip = np.where(hand[:, None], wrists[:, side, :2], here[wrist])
        end[:, arm] = tip
        # As thick as the hand's wrist where it ends, as the body's elbow where it begins.
        thin = np.where(hand, 0.024 * hand_scale[:, side], 0.03 * scale)
        elbow_known = there[elbow] & (scale > 0)
        stub = tip + 1.3 * (tip - knuckle_middle[:, side])
        start[:, arm] = np.where(elbow_known[:, None], here[elbow], stub)
        drawn[:, arm] = hand | (elbow_known & there[wrist])
        radii[0, :, arm] = np.where(elbow_known, 0.045 * scale, 0.034 * hand_scale[:, side])
        radii[1, :, arm] = np.maximum(thin, 0.5)
        # Right behind its own hand; without a hand behind both.
        depth[:, arm] = np.where(hand, palm_depth[:, side] + 0.03 * hand_scale[:, side], far / 2)
    middle = (here["left_shoulder"] + here["right_shoulder"]) / 2
    across = here["left_shoulder"] - here["right_shoulder"]
    shoulders = there["left_shoulder"] & there["right_shoulder"] & (scale > 0)
    down = _down(across, here["hips"] - middle, there["hips"])
    head = np.where(there["head"][:, None], here["head"], middle - 0.25 * scale[:, None] * down)
    start[:, 4], end[:, 4] = (head + length * scale[:, None] * down for length in (-0.075, 0.055))
    radii[:, :, 4] = np.array([[0.092], [0.072]]) * scale
    start[:, 5], end[:, 5] = head, middle
    radii[:, :, 5] = np.array([[0.04], [0.05]]) * scale
    drawn[:, 4:6] = shoulders[:, None]
    depth[:, 4], depth[:, 5] = 2 * far, 3 * far
    code = np.broadcast_to(part_code(_FIRST_LIMB + np.arange(len(LIMBS)), 0), shape).astype(np.uint8)
    patch = np.broadcast_to(np.arange(len(LIMBS)), shape)
    open_end = np.array([False, False, False, False, True, False])
    limbs = Capsules(start, end, radii[0], radii[1], open_end, depth, drawn, code, patch)
    hips = np.where(there["hips"][:, None], here["hips"], middle + 0.5 * scale[:, None] * down)
    ends = 0.85 * across[:, None] * np.array([0.5, -0.5])[:, None]
    corners = np.concatenate([middle[:, None] + ends, hips[:, None] - 0.8 * ends], 1)[:, None]
    axes = _sound_axes(np.stack([across, hips - middle], -1), 0.1 * scale)
    torso = Polygons(
        corners, 0.05 * scale[:, None], middle[:, None], axes[:, None], np.full((frames, 1), 4 * far), shoulders[:, None],
        np.full((frames, 1), part_code(TORSO, 0), np.uint8), np.zeros((frames, 1), np.int64),
    )  # fmt: skip
    return limbs, torso


def _down(across: np.ndarray, to_hips: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Unit vectors (T, 2) down the spine: towards the hips, else at a right angle to the shoulders, down in the picture."""
    normal = np.stack([-across[:, 1], across[:, 0]], -1)
    normal *= np.where(normal[:, 1:] < 0, -1.0, 1.0)
    vector = np.where(known[:, None], to_hips, normal)
    return vector / np.maximum(np.linalg.norm(vector, axis=-1, keepdims=True), 1e-6)

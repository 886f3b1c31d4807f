"""From a recording to the stage: joints, body and depth in pixels of a square picture, before the camera moves.

Letters: T frames, H = 2 hands, J = 21 joints. Pixels: x right, y down, the centre of the first pixel is (0, 0). Depth is
in pixels of the picture too (what one pixel covers at the hands), smaller = nearer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from palmist.errors import InputError
from palmist.recording import Recording
from palmist.render.settings import RenderSettings, random_stream
from palmist.skeleton import BODY_LAYOUTS

__all__ = ["HAND_SIZE", "NothingToDrawError", "Stage", "apply_affine", "camera_path", "compose_affine", "set_stage"]

#: Metres from the wrist to the knuckles of the hand that is drawn (sizes of parts are given for it).
HAND_SIZE = 0.09
#: Shoulder width in metres that gives a body its scale.
SHOULDER_WIDTH = 0.34
_KNUCKLES = [5, 9, 13, 17]
#: Body points that are drawn, whatever the layout.
BODY = (
    "left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist", "hips", "head",
)  # fmt: skip
#: Where each body point comes from: the mean of those joints of the layout that are known.
_BODY_SOURCES = {
    **{name: (name,) for name in BODY[:6]},
    "hips": ("left_hip", "right_hip", "mid_hip"),
    "head": ("nose", "left_eye", "right_eye", "left_ear", "right_ear"),
}


class NothingToDrawError(InputError):
    """A recording in which neither hand nor body is known."""


@dataclass(frozen=True)
class Stage:
    """A recording in stage pixels.

    Attributes:
        joints: (T, 2, 21, 3) float64 x, y and depth relative to the wrist; known: (T, 2, 21) bool.
        depth: (T, 2, 21) what the painter sorts by: comparable between the hands as far as hand_order_known says.
        wrists: (T, 2, 3) where the palm begins: joint 0, or for recordings whose root is the palm's centre a point as
            far behind it as the knuckles are in front.
        scale: (T, 2) pixels per metre of a hand with the reference size.
        body: (T, 8, 2) see BODY, body_known: (T, 8) bool, body_scale: pixels per metre, 0 without a body.
        depth_known: False for planar recordings; hand_order_known: (T,) bool, which hand is nearer is recorded.
        time: (T,) seconds; rate: frames per second.
        projection: how the recording's coordinates became stage pixels, as plain values.
    """

    joints: np.ndarray
    known: np.ndarray
    depth: np.ndarray
    wrists: np.ndarray
    scale: np.ndarray
    body: np.ndarray
    body_known: np.ndarray
    body_scale: float
    depth_known: bool
    hand_order_known: np.ndarray
    time: np.ndarray
    rate: float
    projection: dict[str, Any]


def set_stage(recording: Recording, settings: RenderSettings, seed: int) -> Stage:
    """Project a recording into the picture.

    image: the picture is the middle square of the recorded image (aspect 1 where none is recorded); z has the scale of x.
    planar: everything recorded fits the picture. metric: a pinhole camera; recordings in a camera's frame are seen from that
    camera, others from 2.5 times their extent (0.6 m at least) away, looking along -z with y up; the focal length is chosen so
    that everything fits.

    A recording in which only the body is known is drawn without hands. Raises NothingToDrawError (an
    InputError) when nothing at all is known.
    """
    time, joints, known, body, body_known = _frames(recording, settings)
    if not known[:, :, 0].any() and not (settings.body and body_known.any()):
        raise NothingToDrawError(f"{recording.name}: neither hand nor body is known in any frame; expected something to draw")
    wrists = _wrists(joints, known, recording.root)
    aspect = (recording.aspect or 1.0) if recording.space == "image" else 1.0
    for points in (joints, wrists, body):
        points *= (aspect, 1.0, aspect)
    sizes, measured = _hand_sizes(joints, known, wrists)
    projection: dict[str, Any] = {"space": recording.space, "aspect": aspect}
    nearer = np.ones(sizes.shape)
    if recording.space == "metric":
        nearer = _pinhole(recording, joints, known, wrists, body, projection)
    zoom, shift = _fit(recording, settings, aspect, joints[known], body[body_known])
    for points in (joints, wrists, body):
        points *= zoom
        points[..., :2] += shift
    projection |= {"zoom": zoom, "shift": shift.tolist()}
    scale = _hand_scale(recording.space, sizes * zoom, measured, nearer)
    depth, order_known = _depth(recording, seed, joints, known, body, body_known, settings.size)
    joints[..., 2] -= joints[:, :, :1, 2].copy()
    joints[~known] = 0
    body_scale = _body_scale(body, body_known)
    if not settings.body:
        body_known = np.zeros_like(body_known)
    return Stage(
        joints, known, depth, wrists, scale, body[..., :2], body_known, body_scale, recording.space != "planar", order_known,
        time, settings.rate or (recording.rate if len(recording) > 1 else 1.0), projection,
    )  # fmt: skip


def _frames(recording: Recording, settings: RenderSettings) -> tuple[np.ndarray, ...]:
    """time, joints, known, body points and which are known, at the rate that was asked for."""
    time = np.asarray(recording.time)
    joints, known = np.array(recording.joints, np.float64), np.array(recording.known)
    body, body_known = _body_points(recording)
    if settings.rate is None or len(recording) == 1:
        return time, joints, known, body, body_known
    from palmist.inputs.windows import frame_grid, resample  # brings torch, which drawing recorded frames does not need

    grid = frame_grid(time, settings.rate)
    joints, known = resample(time, joints, known, grid)
    body, body_known = resample(time, body, body_known, grid)
    return grid, joints, known, body, body_known


def _body_points(recording: Recording) -> tuple[np.ndarray, np.ndarray]:
    points = np.zeros((len(recording), len(BODY), 3))
    known = np.zeros((len(recording), len(BODY)), bool)
    if recording.body is None:
        return points, known
    names = BODY_LAYOUTS[recording.body.layout]
    for i, name in enumerate(BODY):
        there = [names.index(source) for source in _BODY_SOURCES[name] if source in names]
        if there:
            valid = recording.body.valid[:, there]
            count = valid.sum(1)
            total = np.where(valid[..., None], recording.body.joints[:, there], 0).sum(1)
            points[:, i] = total / np.maximum(count, 1)[:, None]
            known[:, i] = count > 0
    return points, known


def _wrists(joints: np.ndarray, known: np.ndarray, root: str) -> np.ndarray:
    wrists = joints[:, :, 0].copy()
    if root == "palm_centre":
        weight = known[:, :, _KNUCKLES][..., None]
        count = weight.sum(2)
        knuckles = (joints[:, :, _KNUCKLES] * weight).sum(2) / np.maximum(count, 1)
        wrists += np.where(count > 0, wrists - knuckles, 0)
    return wrists


def _hand_sizes(joints: np.ndarray, known: np.ndarray, wrists: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean distance from the wrist to the known knuckles (T, 2), and where it could be measured."""
    weight = known[:, :, _KNUCKLES] & known[:, :, :1]
    lengths = np.linalg.norm(joints[:, :, _KNUCKLES] - wrists[:, :, None], axis=-1)
    return (lengths * weight).sum(-1) / np.maximum(weight.sum(-1), 1), weight.any(-1)


def _pinhole(
    recording: Recording,
    joints: np.ndarray,
    known: np.ndarray,
    wrists: np.ndarray,
    body: np.ndarray,
    projection: dict[str, Any],
) -> np.ndarray:
    """Turn metric points, in place, into (x D/Z, y D/Z, Z) of a camera, D the mean distance of the hands.

    Returns (T, 2) how much larger than at D each hand looks.
    """
    seen = joints[known] if known.any() else body.reshape(-1, 3)
    if recording.frame == "camera" and seen[:, 2].min() > 0.05:
        turn, shift = np.eye(3), np.zeros(3)
    else:
        turn = np.diag([1.0, -1.0, -1.0])
        distance = max(0.6, 2.5 * float(np.ptp(seen, axis=0).max()))
        shift = np.array([0.0, 0.0, distance]) - turn @ seen.mean(0)
    for points in (joints, wrists, body):
        points[:] = points @ turn.T + shift
    middle = float((seen @ turn.T + shift)[:, 2].mean())
    nearer = middle / np.maximum(wrists[..., 2], 1e-3)
    for points in (joints, wrists, body):
        points[..., :2] *= middle / np.maximum(points[..., 2:], 1e-3)
    projection |= {"rotation": turn.tolist(), "translation": shift.tolist(), "distance": middle}
    return nearer


def _fit(
    recording: Recording, settings: RenderSettings, aspect: float, hands: np.ndarray, body: np.ndarray
) -> tuple[float, np.ndarray]:
    """Pixels per unit, and where the origin lies in the picture."""
    middle_pixel = (settings.size - 1) / 2
    if recording.space == "image" and (settings.framing == "scene" or not len(hands)):
        zoom = settings.size / min(aspect, 1.0)
        return zoom, middle_pixel - zoom * np.array([aspect, 1.0]) / 2
    corners = [np.quantile(hands[:, :2], share, axis=0) for share in (0.005, 0.995) if len(hands)]
    if len(body) and settings.body and (settings.framing == "scene" or not corners):
        corners += [np.quantile(body[:, :2], share, axis=0) for share in (0.05, 0.95)]
    low, high = np.min(corners, axis=0), np.max(corners, axis=0)
    zoom = settings.size / max(float((high - low).max()) * 1.3, 1e-9)
    return zoom, middle_pixel - zoom * (low + high) / 2


def _hand_scale(space: str, sizes: np.ndarray, measured: np.ndarray, nearer: np.ndarray) -> np.ndarray:
    """(T, 2) pixels per metre of a hand of reference size, so that fingers keep their width when a hand tilts."""
    out = np.zeros(sizes.shape)
    for hand in range(2):
        seen = measured[:, hand]
        if not seen.any():
            continue
        if space == "planar":  # without depth a tilted palm only looks smaller
            out[:, hand] = np.quantile(sizes[seen, hand], 0.8)
            continue
        median = np.median(sizes[seen, hand])
        out[:, hand] = median * nearer[:, hand]
        if space == "image":
            out[:, hand] = np.clip(_smooth(sizes[:, hand], seen, 5), 0.7 * median, 1.4 * median)
    return out / HAND_SIZE


def _smooth(values: np.ndarray, known: np.ndarray, width: int) -> np.ndarray:
    """Moving mean over known frames; frames without a neighbour take the nearest known value."""
    index = np.flatnonzero(known)
    filled = np.interp(np.arange(len(values)), index, values[index])
    padded = np.pad(filled, width // 2, mode="edge")
    return np.convolve(padded, np.full(width, 1 / width), mode="valid")


def _depth(
    recording: Recording, seed: int, joints: np.ndarray, known: np.ndarray, body: np.ndarray, body_known: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Depth for the painter and whether the order of the hands is recorded.

    Hand trackers give depth from each hand's own wrist; the body tracker's wrists, where it sees both, place the hands behind
    one another. Otherwise the nearer hand is drawn by lot, once for the recording.
    """
    depth = joints[..., 2].copy()
    frames = len(depth)
    if recording.space == "metric":
        return depth, np.ones(frames, bool)
    left, right = BODY.index("left_wrist"), BODY.index("right_wrist")
    both = body_known[:, left] & body_known[:, right]
    if recording.space == "image" and both.any():
        gap = _smooth(body[:, right, 2] - body[:, left, 2], both, 7)
    else:
        both = np.zeros(frames, bool)
        gap = np.full(frames, random_stream(seed, "order", recording.name).choice([-1.0, 1.0]) * size / 4)
    depth -= depth[:, :, :1].copy()
    depth[:, 1] += gap[:, None]
    return np.where(known, depth, 0), both


def _body_scale(body: np.ndarray, known: np.ndarray) -> float:
    both = known[:, 0] & known[:, 1]
    if not both.any():
        return 0.0
    return float(np.median(np.linalg.norm(body[both, 0, :2] - body[both, 1, :2], axis=-1))) / SHOULDER_WIDTH


# --------------------------------------------------------------------------------------------------------------------
# Camera and background paths: similarities as (T, 2, 3) matrices.


def _waves(generator: np.random.Generator, time: np.ndarray, count: int, highest: float) -> np.ndarray:
    """(count, T) smooth random curves within -1..1: three sines each, 0.1 to `highest` Hz."""
    frequency = generator.uniform(0.1, highest, (count, 3, 1))
    phase = generator.uniform(0, 2 * np.pi, (count, 3, 1))
    weight = generator.uniform(0.2, 1.0, (count, 3, 1))
    weight /= weight.sum(1, keepdims=True)
    return (weight * np.sin(2 * np.pi * frequency * (time - time[0]) + phase)).sum(1)


def _similarity(zoom: np.ndarray, angle: np.ndarray, shift: np.ndarray, centre: float) -> np.ndarray:
    """Zoom and turn about (centre, centre), then shift: (T, 2, 3)."""
    cosine, sine = zoom * np.cos(angle), zoom * np.sin(angle)
    linear = np.stack([np.stack([cosine, -sine], -1), np.stack([sine, cosine], -1)], -2)
    middle = np.array([centre, centre])
    return np.concatenate([linear, (shift + middle - linear @ middle)[..., None]], -1)


def camera_path(seed: int, name: str, time: np.ndarray, size: int, amount: float) -> np.ndarray:
    """(T, 2, 3): stage pixels to picture pixels in every frame."""
    x, y, turn, zoom = _waves(random_stream(seed, "camera", name), time, 4, 0.9) * amount
    return _similarity(np.exp(0.08 * zoom), np.radians(5.0) * turn, 0.05 * size * np.stack([x, y], -1), (size - 1) / 2)


def background_path(generator: np.random.Generator, time: np.ndarray, size: int) -> np.ndarray:
    """(T, 2, 3): where a point of the background, given by its stage pixels in frame 0, is in each frame."""
    curves = _waves(generator, time, 3, 0.5)
    x, y, zoom = curves - curves[:, :1]
    zeros = np.zeros(len(time))
    return _similarity(np.exp(0.12 * zoom), zeros, 0.2 * size * np.stack([x, y], -1), (size - 1) / 2)


def apply_affine(matrices: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(T, 2, 3) times points (T, ..., 2), or (1, ..., 2) that are the same in every frame."""
    extra = (1,) * (points.ndim - 2)
    linear = matrices[:, :, :2].reshape(len(matrices), *extra, 2, 2)
    shift = matrices[:, :, 2].reshape(len(matrices), *extra, 2)
    return (linear @ points[..., None])[..., 0] + shift


def compose_affine(outer: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """First `inner`, then `outer`, both (T, 2, 3) or broadcastable."""
    linear = outer[..., :2] @ inner[..., :2]
    shift = (outer[..., :2] @ inner[..., 2:]) + outer[..., 2:]
    return np.concatenate([linear, shift], -1)

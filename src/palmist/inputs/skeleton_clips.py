"""Skeleton clips as graph networks take them: M persons about one joint, a part of the clip brought to a number of frames.

The chain of CTR-GCN and DeGCN (specification, 8.1) with the newer paper's choice to leave skeletons in the sensor's own frame
("calibration-free"): no rotation towards a canonical body unless asked for.

Letters: B clips, M persons, T frames of a clip, F frames of the network, V body joints.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from palmist.errors import InputError
from palmist.geometry import axis_angle_to_matrix
from palmist.skeleton import BODY_LAYOUTS, BODY_SIDES, body_centre
from palmist.skeleton_clip import SkeletonClip

__all__ = ["ClipArrays", "ClipInput", "clip_batch", "prepare_clip", "read_between", "rotate_batch"]

#: Ends of the spine, lower first, of the layouts that have one.
_SPINES = {"kinect25": ("spine_base", "spine_mid"), "kinect20": ("hip_centre", "spine")}
_WRIST, _KNUCKLE = 0, 9


@dataclass(frozen=True)
class ClipInput:
    """persons: M; those seen longest are taken. centre: the joint to subtract, None = the layout's own (`body_centre`).
    align: turn clips so that the first person's spine is z and the shoulders, left to right, lie along x (metres only).
    """

    persons: int = 2
    centre: str | None = None
    align: bool = False

    def __post_init__(self) -> None:
        if self.persons < 1:
            raise InputError(f"persons is {self.persons}; expected 1 or more")


@dataclass(frozen=True)
class ClipArrays:
    """A clip about its centre, all persons there: body (M, T, V, 3), hands (M, 2, T, 21, 3), 0 where not known.

    solid, hands_solid: whether depth is measured like width (metres), so that any rotation makes sense.
    """

    body: np.ndarray
    body_known: np.ndarray
    hands: np.ndarray
    hands_known: np.ndarray
    solid: bool
    hands_solid: bool

    def __len__(self) -> int:
        return self.body.shape[1]


def prepare_clip(clip: SkeletonClip, settings: ClipInput, hand_origin: str = "body") -> ClipArrays:
    """A clip without its empty frames, about the centre joint of the first frame that knows it.

    Bodies stay in metres; those of images come in shoulder widths (median over the clip). With hand_origin "body" hands are
    in the body's frame and unit; with "wrist" each is taken from its wrist, in hand sizes (wrist to middle knuckle, median over
    the clip), so that they may be of another space than the body.

    Raises InputError for a centre that the layout lacks, for hands of another space with hand_origin "body", and for align
    without a metric spine.
    """
    hands, hands_known = _hands(clip)
    seen = np.asarray(clip.mask.any(-1) | hands_known.any((1, 3)))  # (persons, T)
    persons = np.argsort(-seen.sum(1), kind="stable")[: settings.persons]
    frames = np.flatnonzero(seen[persons].any(0)) if bool(seen.any()) else np.arange(len(clip))
    known, hands_known = clip.mask[persons][:, frames], hands_known[persons][:, :, frames]
    hands = hands[persons][:, :, frames]
    body = _upright(clip.keypoint[persons][:, frames], clip.space, clip.aspect)
    origin, unit = _origin(body, known, clip.layout, settings.centre), _unit(body, known, clip)
    if hand_origin == "wrist":
        hands, hands_known = _from_wrists(hands, hands_known)
    elif clip.hands is not None and clip.hand_space != clip.space:
        raise InputError(
            f"'{clip.name}' has hands in space '{clip.hand_space}' and a body in '{clip.space}'; expected one space, or "
            "model.hand_origin wrist, which takes each hand from its own wrist"
        )
    else:
        hands = (hands - origin) / unit
    body = (body - origin) / unit
    if settings.align:
        turn = _canonical(body, known, clip)
        body, hands = body @ turn, hands @ turn if clip.hand_space == clip.space else hands
    return ClipArrays(
        np.where(known[..., None], body, 0).astype(np.float32),
        known,
        np.where(hands_known[..., None], hands, 0).astype(np.float32),
        hands_known,
        clip.space == "metric",
        clip.hand_space == "metric",
    )


def clip_batch(
    clips: list[ClipArrays], persons: int, frames: int, starts: np.ndarray, lengths: np.ndarray
) -> dict[str, Tensor]:
    """Parts of clips, each brought to `frames` frames, as BHaRNet takes them.

    Args:
        clips: B of them, of one layout. persons: M; clips with fewer are filled up with persons who are never seen.
        starts, lengths: (B,) first frame and number of frames of the part.

    Returns:
        body (B, M, F, V, 3), body_known (B, M, F, V), hands (B, M, 2, F, 21, 3), hands_known (B, M, 2, F, 21).
    """
    count, joints = len(clips), clips[0].body.shape[2]
    body = np.zeros((count, persons, frames, joints, 3), np.float32)
    hands = np.zeros((count, persons, 2, frames, 21, 3), np.float32)
    body_known, hands_known = np.zeros(body.shape[:-1], bool), np.zeros(hands.shape[:-1], bool)
    for row, clip in enumerate(clips):
        # Frames as areas, not as points (no corners aligned), as in the public feeders.
        place = (np.arange(frames) + 0.5) * lengths[row] / frames - 0.5
        place = starts[row] + np.clip(place, 0, lengths[row] - 1)
        there = len(clip.body)
        body[row, :there], body_known[row, :there] = read_between(clip.body, clip.body_known, place)
        if clip.hands_known.any():
            flat = clip.hands.reshape(-1, *clip.hands.shape[2:]), clip.hands_known.reshape(-1, *clip.hands.shape[2:4])
            values, known = read_between(*flat, place)
            hands[row, :there] = values.reshape(there, 2, *values.shape[1:])
            hands_known[row, :there] = known.reshape(there, 2, *known.shape[1:])
    arrays = {"body": body, "body_known": body_known, "hands": hands, "hands_known": hands_known}
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def read_between(values: np.ndarray, known: np.ndarray, place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """values (I, T, V, C) at fractional frames `place` (F,): mixed where both neighbours are known, else the nearer one.

    Returns values (I, F, V, C), 0 where not known, and known (I, F, V): the nearer neighbour is.
    """
    left = np.floor(place).astype(int)
    right = np.minimum(left + 1, values.shape[1] - 1)
    weight = (place - left)[:, None]  # (F, 1), of the right neighbour
    nearer = np.where(weight[:, 0] < 0.5, left, right)
    found = known[:, nearer]
    both = known[:, left] & known[:, right]
    share = weight[..., None].astype(values.dtype)
    mixed = values[:, left] * (1 - share) + values[:, right] * share
    out = np.where(both[..., None], mixed, values[:, nearer])
    return np.where(found[..., None], out, 0), found


def rotate_batch(batch: dict[str, Tensor], angles: Tensor, clips: list[ClipArrays]) -> None:
    """Turn every clip about x, then y, then z by its angles (B, 3) in radians, in place; about z alone without solid depth."""
    flat = torch.tensor([0.0, 0.0, 1.0])
    for name, solid in (("body", [clip.solid for clip in clips]), ("hands", [clip.hands_solid for clip in clips])):
        used = torch.where(torch.tensor(solid).unsqueeze(1), angles, angles * flat)
        turns = [axis_angle_to_matrix(used * axis) for axis in torch.eye(3)]  # of rows, (B, 3, 3)
        turn = turns[0] @ turns[1] @ turns[2]
        values = batch[name]
        batch[name] = (values.flatten(1, -2) @ turn).view_as(values)


# --------------------------------------------------------------------------------------------------------------------
# One clip's frame of reference


def _hands(clip: SkeletonClip) -> tuple[np.ndarray, np.ndarray]:
    """hands (persons, 2, T, 21, 3) and known (persons, 2, T, 21), not known where the clip has none."""
    if clip.hands is None or clip.hand_valid is None or clip.hand_space is None:
        shape = (clip.persons, 2, len(clip), 21)
        return np.zeros((*shape, 3), np.float32), np.zeros(shape, bool)
    known = np.repeat(clip.hand_valid[..., None], 21, -1)
    known = known if clip.hand_score is None else known & (clip.hand_score > 0)
    return _upright(clip.hands, clip.hand_space, clip.aspect), known


def _upright(points: np.ndarray, space: str, aspect: float | None) -> np.ndarray:
    """(..., 2 or 3) -> (..., 3) with x and y in one unit: fractions of an image become widths of it."""
    if points.shape[-1] == 2:
        points = np.concatenate([points, np.zeros_like(points[..., :1])], -1)
    if space == "image" and aspect is not None:
        points = points * np.array([1.0, 1.0 / aspect, 1.0], np.float32)
    return points


def _origin(body: np.ndarray, known: np.ndarray, layout: str, centre: str | None) -> np.ndarray:
    """(3,): the centre joint in the first frame that knows it, of the person seen longest; else the middle of that frame."""
    names = BODY_LAYOUTS[layout]
    if centre is not None and centre not in names:
        raise InputError(f"layout '{layout}' has no joint '{centre}' to centre on; expected one of {', '.join(names)}")
    joint = body_centre(layout) if centre is None else names.index(centre)
    frames, persons = np.nonzero(known[:, :, joint].T)
    if len(frames):
        return np.asarray(body[persons[0], frames[0], joint])
    frames = np.flatnonzero(known.any((0, 2)))
    return np.asarray(body[:, frames[0]][known[:, frames[0]]].mean(0)) if len(frames) else np.zeros(3, np.float32)


def _unit(body: np.ndarray, known: np.ndarray, clip: SkeletonClip) -> float:
    """1 for metres, else the median width of the shoulders."""
    if clip.space == "metric":
        return 1.0
    left, right = BODY_SIDES[clip.layout].shoulder
    both = known[:, :, left] & known[:, :, right]
    width = np.linalg.norm((body[:, :, left] - body[:, :, right])[both][:, :2], axis=-1)
    return float(np.median(width)) if len(width) and np.median(width) > 1e-6 else 1.0


def _from_wrists(hands: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Hands (M, 2, T, 21, 3) from their wrists in hand sizes; a hand without its wrist, or of no size, is not known."""
    known = known & known[..., _WRIST : _WRIST + 1]
    away = hands - hands[..., _WRIST : _WRIST + 1, :]
    sized = known[..., _KNUCKLE]
    size = float(np.median(np.linalg.norm(away[..., _KNUCKLE, :][sized], axis=-1))) if sized.any() else 0.0
    return (away / size, known) if size > 1e-6 else (np.zeros_like(hands), np.zeros_like(known))


def _canonical(body: np.ndarray, known: np.ndarray, clip: SkeletonClip) -> np.ndarray:
    """(3, 3) for rows: z along the spine, x along the shoulders' part across it, of the first frame that shows both."""
    if clip.space != "metric" or clip.layout not in _SPINES:
        raise InputError(
            f"'{clip.name}' is a body of layout '{clip.layout}' in space '{clip.space}'; align expects metres and one of "
            f"{', '.join(_SPINES)}; leave align off"
        )
    names, sides = BODY_LAYOUTS[clip.layout], BODY_SIDES[clip.layout].shoulder
    joints = [*(names.index(name) for name in _SPINES[clip.layout]), *sides]
    frames, persons = np.nonzero(known[:, :, joints].all(-1).T)
    if not len(frames):
        return np.eye(3, dtype=np.float32)
    low, high, left, right = body[persons[0], frames[0], joints].astype(np.float64)
    up = (high - low) / max(float(np.linalg.norm(high - low)), 1e-9)
    across = (right - left) - ((right - left) @ up) * up
    across = across / max(float(np.linalg.norm(across)), 1e-9)
    return np.stack([across, np.cross(up, across), up], -1).astype(np.float32)

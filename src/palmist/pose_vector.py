"""Two hands' joints to G-HTT's per-frame pose vector of 153 numbers, and back.

Source: "Generative Hierarchical Temporal Transformer for Hand Pose and Action Modeling" (G-HTT), arXiv 2311.17366,
section on the pose representation and Eq. 3. Row-vector transforms throughout: ``x_local = x_world @ R + c``.

===========  ======  ====================================================================  ======================
slice        size    content                                                               scale
===========  ======  ====================================================================  ======================
0:63         21 x 3  left joints in the left palm frame, divided by the hand size s        none; wrist = 0
63:126       21 x 3  right joints likewise                                                 none
126:135      6 + 3   left palm motion, local(t) -> local(t-1): 6D rotation, translation    translation 10 x metres
135:144      6 + 3   right palm motion likewise                                            translation 10 x metres
144:153      6 + 3   left local -> right local, same frame                                 translation in metres
===========  ======  ====================================================================  ======================

Where a recording does not know a number, the vector holds a neutral one (0, or the identity rotation) and ``known`` is
False. Three additions to the paper, all needed by recordings that are not complete metric 3D:

1. A hand that was out of sight comes back with its motion since it was *last seen*, so that accumulation stays exact.
2. ``planar`` recordings (no depth) turn in the image plane only; everything that involves depth is unknown.
3. ``image`` recordings (2.5D) know depth inside a hand but not the hand's distance: of every translation the component
   along the viewing direction is unknown. ``depth_axes`` holds that direction so that a loss can leave it out.

Letters: T frames, H hands (2: left, right), J joints (21).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from palmist import geometry
from palmist.palm_template import PALM_JOINTS, palm_template

__all__ = [
    "DIM",
    "INTER_HAND",
    "LEFT_JOINTS",
    "LEFT_MOTION",
    "MOTION_SCALE",
    "RIGHT_JOINTS",
    "RIGHT_MOTION",
    "THUMB_CMC_SLOTS",
    "EncodedPose",
    "PalmFrames",
    "accumulate",
    "decode",
    "encode",
    "fit_palm_frames",
    "hand_sizes",
    "last_palm",
    "mean_hand_size",
    "observed_hand_size",
    "observed_palm",
    "renormalize_hands",
    "reset_first_motion",
    "trajectory_consistency",
]

DIM = 153
LEFT_JOINTS = slice(0, 63)
RIGHT_JOINTS = slice(63, 126)
LEFT_MOTION = slice(126, 135)
RIGHT_MOTION = slice(135, 144)
INTER_HAND = slice(144, 153)
MOTION_SCALE = 10.0
THUMB_CMC_SLOTS = (slice(3, 6), slice(66, 69))
IDENTITY_6D = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


class PalmFrames(NamedTuple):
    """Palm frames of both hands in every frame: ``x_local = x_world @ rotation + translation``."""

    rotation: Tensor  # (..., T, 2, 3, 3)
    translation: Tensor  # (..., T, 2, 3) metres
    size: Tensor  # (..., T, 2) metres: mean distance from the wrist to the four finger MCPs
    valid: Tensor  # (..., T, 2) bool


class EncodedPose(NamedTuple):
    """A recording as pose vectors, with masks that say what is known."""

    vector: Tensor  # (..., T, 153)
    known: Tensor  # (..., T, 153) bool
    depth_axes: Tensor  # (..., T, 3, 3): for left motion, right motion, inter-hand; unit vector or zeros
    palms: PalmFrames


def fit_palm_frames(joints: Tensor, known: Tensor, template: Tensor | None = None, planar: bool = False) -> PalmFrames:
    """Fit the palm frame of each hand in each frame (specification: wrist and finger MCPs against a rigid template).

    Args:
        joints: (..., T, 2, 21, 3) in metres (or pseudo-metres), any static frame.
        known: (..., T, 2, 21) bool. A hand is valid when its wrist and at least two MCPs are known.
        template: (2, 5, 3), the palm of the left and right hand with the wrist at the origin; ours if absent.
        planar: turn in the x-y plane only.

    Returns:
        The frames, in the dtype of ``joints``; the fit itself runs in float64. Invalid hands hold the identity.
    """
    palm = joints[..., PALM_JOINTS, :].to(torch.float64)
    palm_known = known[..., PALM_JOINTS]
    reference = (palm_template() if template is None else template).to(palm)
    valid = palm_known[..., 0] & (palm_known[..., 1:].sum(-1) >= 2)
    weights = palm_known.to(palm.dtype)
    filled = torch.where(palm_known.unsqueeze(-1), palm, torch.zeros_like(palm))
    fit = geometry.fit_rigid_planar if planar else geometry.fit_rigid
    rotation, _ = fit(filled, reference, weights)
    wrist = filled[..., 0, :]
    size = _hand_size(filled, weights, reference)
    valid = valid & (size > 1e-9)
    identity = torch.eye(3, dtype=palm.dtype, device=palm.device)
    rotation = torch.where(valid[..., None, None], rotation, identity)
    translation = -(wrist.unsqueeze(-2) @ rotation).squeeze(-2)
    translation = torch.where(valid[..., None], translation, torch.zeros_like(translation))
    size = torch.where(valid, size, torch.zeros_like(size))
    return PalmFrames(rotation.to(joints), translation.to(joints), size.to(joints), valid)


def hand_sizes(joints: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Hand size s of each hand in each frame without fitting a frame: (..., T, 2) sizes and (..., T, 2) bool."""
    palm = joints[..., PALM_JOINTS, :]
    palm_known = known[..., PALM_JOINTS]
    filled = torch.where(palm_known.unsqueeze(-1), palm, torch.zeros_like(palm))
    valid = palm_known[..., 0] & (palm_known[..., 1:].sum(-1) >= 2)
    return _hand_size(filled, palm_known.to(palm.dtype), palm_template().to(palm)), valid


def _hand_size(palm: Tensor, weights: Tensor, reference: Tensor) -> Tensor:
    """Mean wrist-to-MCP distance; with MCPs unknown, that of the known ones scaled by the template's proportions."""
    distance = torch.linalg.vector_norm(palm[..., 1:, :] - palm[..., :1, :], dim=-1) * weights[..., 1:]
    proportion = torch.linalg.vector_norm(reference[..., 1:, :], dim=-1)
    expected = (proportion * weights[..., 1:]).sum(-1).clamp_min(1e-12)
    scaled = distance.sum(-1) * proportion.mean(-1) / expected
    return torch.where(weights[..., 1:].bool().all(-1), distance.mean(-1), scaled)


def _hold_last_seen(valid: Tensor) -> tuple[Tensor, Tensor]:
    """For (..., T, 2) flags: the index of the last seen frame before each frame, and whether there is one."""
    count = valid.shape[-2]
    index = torch.arange(count, device=valid.device).unsqueeze(-1).expand_as(valid)
    seen = torch.where(valid, index, torch.full_like(index, -1))
    last = torch.cummax(seen, dim=-2).values
    previous = torch.cat([torch.full_like(last[..., :1, :], -1), last[..., :-1, :]], dim=-2)
    return previous.clamp_min(0), previous >= 0


def _gather_frames(values: Tensor, index: Tensor) -> Tensor:
    """values (..., T, 2, *rest) taken at frame index (..., T, 2) of the same hand."""
    rest = values.dim() - index.dim()
    expanded = index.reshape(*index.shape, *([1] * rest)).expand(*index.shape, *values.shape[index.dim() :])
    return values.gather(index.dim() - 2, expanded)


def encode(joints: Tensor, known: Tensor, space: str = "metric", template: Tensor | None = None) -> EncodedPose:
    """Encode joints as pose vectors; the first frame's motion is the identity (specification, section 3).

    Args:
        joints: (..., T, 2, 21, 3) in metres or pseudo-metres; a static frame of reference.
        known: (..., T, 2, 21) bool.
        space: "metric", "image" (2.5D: z runs away from the camera) or "planar" (z is not known).
        template: (2, 5, 3), see :func:`fit_palm_frames`.

    Returns:
        Vectors, masks, depth axes and palm frames. Float64 input keeps the round trip below 1e-6 m.

    Example:
        >>> joints = torch.randn(30, 2, 21, 3) * 0.05
        >>> encode(joints, torch.ones(30, 2, 21, dtype=torch.bool)).vector.shape
        torch.Size([30, 153])
    """
    planar = space == "planar"
    palms = fit_palm_frames(joints, known, template, planar)
    rotation, translation, size, valid = palms
    local = joints @ rotation + translation.unsqueeze(-2)
    local = local / size.clamp_min(1e-9)[..., None, None]
    joint_known = known & valid.unsqueeze(-1)
    local = torch.where(joint_known.unsqueeze(-1), local, torch.zeros_like(local))
    joints_known = joint_known.unsqueeze(-1).expand(local.shape)

    previous, has_previous = _hold_last_seen(valid)
    before_r, before_c = _gather_frames(rotation, previous), _gather_frames(translation, previous)
    motion_r = rotation.transpose(-1, -2) @ before_r
    motion_c = before_c - (translation.unsqueeze(-2) @ motion_r).squeeze(-2)
    moved = valid & has_previous
    identity = torch.tensor(IDENTITY_6D, dtype=joints.dtype, device=joints.device)
    motion = torch.cat([geometry.matrix_to_rotation_6d(motion_r), MOTION_SCALE * motion_c], dim=-1)
    neutral = torch.cat([identity, identity.new_zeros(3)])
    motion = torch.where(moved.unsqueeze(-1), motion, neutral)

    both = valid.all(-1)
    inter_r = rotation[..., 0, :, :].transpose(-1, -2) @ rotation[..., 1, :, :]
    inter_c = translation[..., 1, :] - (translation[..., 0, :].unsqueeze(-2) @ inter_r).squeeze(-2)
    inter = torch.cat([geometry.matrix_to_rotation_6d(inter_r), inter_c], dim=-1)
    inter = torch.where(both.unsqueeze(-1), inter, neutral)

    vector = torch.cat([local.flatten(-3), motion.flatten(-2), inter], dim=-1)
    transform_known = torch.cat([moved, both.unsqueeze(-1)], dim=-1).unsqueeze(-1).expand(*moved.shape[:-1], 3, 9)
    if planar:
        in_plane = torch.tensor([1, 1, 0, 1, 1, 0, 1, 1, 0], dtype=torch.bool, device=joints.device)
        transform_known = transform_known & in_plane
        joints_known = joints_known & in_plane[:3]
    vector_known = torch.cat([joints_known.flatten(-3), transform_known.flatten(-2)], dim=-1)
    axes = _depth_axes(rotation, before_r, space)
    return EncodedPose(vector, vector_known, axes, palms)


def _depth_axes(rotation: Tensor, before: Tensor, space: str) -> Tensor:
    """The camera's viewing direction in the frames in which the three translations are written."""
    if space == "metric":
        return rotation.new_zeros(*rotation.shape[:-3], 3, 3)
    # e_z @ R is the third row of R.
    return torch.cat([before[..., 2, :], rotation[..., 1:2, 2, :]], dim=-2)


def reset_first_motion(vector: Tensor, known: Tensor, valid: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Give each hand the identity motion in the first frame in which it is seen: there is nothing to move from.

    Every sequence that a network is fed starts so (specification, 3.3).

    Args:
        vector, known: (..., T, 153).
        valid: (..., T, 2) bool, frames in which each hand was seen; frame 0 counts as the first seen if absent.

    Returns:
        Copies of both; the reset motions are not known.
    """
    vector, known = vector.clone(), known.clone()
    neutral = torch.tensor([*IDENTITY_6D, 0.0, 0.0, 0.0], dtype=vector.dtype, device=vector.device)
    for hand, part in enumerate((LEFT_MOTION, RIGHT_MOTION)):
        if valid is None:
            start = torch.zeros(vector.shape[:-1], dtype=torch.bool, device=vector.device)
        else:
            seen = valid[..., hand]
            start = seen & (seen.cumsum(-1) == 1)
        start[..., 0] = True
        vector[..., part] = torch.where(start.unsqueeze(-1), neutral, vector[..., part])
        known[..., part] &= ~start.unsqueeze(-1)
    return vector, known


def _motions(vector: Tensor, planar: bool) -> tuple[Tensor, Tensor]:
    """Per-frame palm motions of both hands: rotation (..., T, 2, 3, 3), translation (..., T, 2, 3) in 10 x metres."""
    motion = torch.stack([vector[..., LEFT_MOTION], vector[..., RIGHT_MOTION]], dim=-2)
    if planar:
        zero = torch.zeros_like(motion[..., 0])
        first_x, first_y = motion[..., 0], motion[..., 1]
        six = torch.stack([first_x, first_y, zero, -first_y, first_x, zero], dim=-1)
        translation = torch.stack([motion[..., 6], motion[..., 7], zero], dim=-1)
        return geometry.rotation_6d_to_matrix(six), translation
    return geometry.rotation_6d_to_matrix(motion[..., :6]), motion[..., 6:]


def accumulate(vector: Tensor, planar: bool = False) -> tuple[Tensor, Tensor]:
    """Accumulate palm motions into local(t) -> base, base = the frame before the first (paper Eq. 3).

    ``R_acc(t) = R_m(t) R_acc(t-1)`` and ``c_acc(t) = c_m(t) R_acc(t-1) + c_acc(t-1)``.

    Args:
        vector: (..., T, 153).

    Returns:
        rotation (..., T, 2, 3, 3) and translation (..., T, 2, 3) in 10 x metres.
    """
    rotations, translations = _motions(vector, planar)
    total_r, total_c = rotations[..., 0, :, :, :], translations[..., 0, :, :]
    out_r, out_c = [total_r], [total_c]
    for t in range(1, vector.shape[-2]):
        step_r, step_c = rotations[..., t, :, :, :], translations[..., t, :, :]
        total_c = (step_c.unsqueeze(-2) @ total_r).squeeze(-2) + total_c
        total_r = step_r @ total_r
        out_r.append(total_r)
        out_c.append(total_c)
    return torch.stack(out_r, dim=-4), torch.stack(out_c, dim=-3)


def renormalize_hands(vector: Tensor, known_palm: Tensor | None = None) -> Tensor:
    """Divide both hands' local joints by their own palm size, so that they are hands of size 1 again.

    ``known_palm`` (..., 2) bool leaves a hand as it is where False (a hand that was never observed).
    """
    local = vector[..., :126].reshape(*vector.shape[:-1], 2, 21, 3)
    size = _local_size(local)
    size = torch.where(size > 1e-6, size, torch.ones_like(size))
    if known_palm is not None:
        size = torch.where(known_palm, size, torch.ones_like(size))
    return torch.cat([(local / size[..., None, None]).flatten(-3), vector[..., 126:]], dim=-1)


def _local_size(local: Tensor) -> Tensor:
    palm = local[..., PALM_JOINTS, :]
    return torch.linalg.vector_norm(palm[..., 1:, :] - palm[..., :1, :], dim=-1).mean(-1)


def decode(vector: Tensor, base_rotation: Tensor, base_translation: Tensor, size: Tensor, planar: bool = False) -> Tensor:
    """Pose vectors back to joints; the inter-hand part is not used (specification, 3.4).

    Args:
        vector: (..., T, 153); its motions accumulate from the frame before its first.
        base_rotation: (..., 2, 3, 3), base_translation: (..., 2, 3) metres: palm frames (world -> local) of that frame.
        size: (..., 2) or, frame by frame, (..., T, 2) metres: the *observed* hand size; a decoded hand is first
            brought to unit palm size.
        planar: keep the motion in the x-y plane, z = 0.

    Returns:
        joints (..., T, 2, 21, 3) in metres, in the frame of the palms.
    """
    rotation, translation = accumulate(vector, planar)
    local = vector[..., :126].reshape(*vector.shape[:-1], 2, 21, 3)
    if planar:
        local = local * local.new_tensor([1.0, 1.0, 0.0])
    own = _local_size(local)
    # A hand with unknown MCPs has no size of its own: its joints are already in units of s.
    complete = (torch.linalg.vector_norm(local[..., PALM_JOINTS[1:], :], dim=-1) > 1e-6).all(-1)
    own = torch.where(complete, own.clamp_min(1e-6), torch.ones_like(own))
    per_frame = size if size.dim() == vector.dim() else size.unsqueeze(-2)
    local = local * (per_frame / own)[..., None, None]
    base = local @ rotation + (translation / MOTION_SCALE).unsqueeze(-2)
    back = base_rotation.transpose(-1, -2).unsqueeze(-4)
    return (base - base_translation[..., None, :, None, :]) @ back


def observed_palm(palms: PalmFrames, first: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """The palm frame of the last (or ``first``) seen frame per hand: rotation (..., 2, 3, 3), translation, valid."""
    valid = palms.valid
    count = valid.shape[-2]
    order = torch.arange(count, device=valid.device).unsqueeze(-1).expand_as(valid)
    if first:
        index = torch.where(valid, order, torch.full_like(order, count)).amin(-2).clamp_max(count - 1)
    else:
        index = torch.where(valid, order, torch.full_like(order, -1)).amax(-2).clamp_min(0)
    index = index.unsqueeze(-2)
    rotation = _gather_frames(palms.rotation, index).squeeze(-4)
    translation = _gather_frames(palms.translation, index).squeeze(-3)
    return rotation, translation, valid.any(-2)


def last_palm(palms: PalmFrames) -> tuple[Tensor, Tensor]:
    """The palm frame of the last seen frame per hand: rotation (..., 2, 3, 3) and translation (..., 2, 3)."""
    rotation, translation, _ = observed_palm(palms)
    return rotation, translation


def mean_hand_size(palms: PalmFrames) -> Tensor:
    """Mean hand size over the frames in which each hand was seen, (..., 2) metres; 0 for a hand never seen."""
    weight = palms.valid.to(palms.size.dtype)
    return (palms.size * weight).sum(-2) / weight.sum(-2).clamp_min(1.0)


def observed_hand_size(palms: PalmFrames, planar: bool = False) -> Tensor:
    """The hand size that predictions are given, (..., 2) metres: the observed mean (specification, 3.4).

    In planar recordings, where a hand that turns changes its size, the one in the last frame that saw it.
    """
    if not planar:
        return mean_hand_size(palms)
    later = palms.valid.flip(-2).long().cumsum(-2).flip(-2)  # how often the hand is seen from a frame on
    return mean_hand_size(palms._replace(valid=palms.valid & (later <= 1)))


def trajectory_consistency(refined: Tensor, observed: Tensor, valid: Tensor, planar: bool = False) -> Tensor:
    """Make refined palms end where the observed ones end (specification, 9.1).

    The transform that is missing between the refined and the observed palm pose at the last valid frame is applied to
    frame i as the fraction (i - first) / (last - first) of the frames in which the hand was seen (axis-angle and
    translation both scaled linearly). Both ends then keep the input's global palm pose.

    Args:
        refined, observed: (..., T, 153), both starting with the identity motion at frame 0.
        valid: (..., T, 2) bool, frames in which each hand was observed.

    Returns:
        (..., T, 153): ``refined`` with corrected palm motions. Hands seen in fewer than two frames stay as they are.
    """
    fine_r, fine_c = accumulate(refined, planar)
    true_r, true_c = accumulate(observed, planar)
    count = valid.shape[-2]
    order = torch.arange(count, device=valid.device).unsqueeze(-1).expand_as(valid)
    last = torch.where(valid, order, torch.zeros_like(order)).amax(-2, keepdim=True)  # (..., 1, 2)
    end = (_gather_frames(fine_r, last).squeeze(-4), _gather_frames(fine_c, last).squeeze(-3))
    goal = (_gather_frames(true_r, last).squeeze(-4), _gather_frames(true_c, last).squeeze(-3))
    # local -> base (refined) -> base (observed): the error acts in the base frame, about the refined palm.
    error_r = end[0].transpose(-1, -2) @ goal[0]
    error_c = goal[1] - end[1]
    first = torch.where(valid, order, torch.full_like(order, count)).amin(-2, keepdim=True).clamp_max(count - 1)
    span = last - first
    fraction = ((order - first) / span.clamp_min(1)).clamp(0.0, 1.0) * (span > 0)
    angle = geometry.matrix_to_axis_angle(error_r).unsqueeze(-3) * fraction.unsqueeze(-1)
    new_r = fine_r @ geometry.axis_angle_to_matrix(angle)
    new_c = fine_c + error_c.unsqueeze(-3) * fraction.unsqueeze(-1)
    return _with_trajectory(refined, new_r, new_c)


def _with_trajectory(vector: Tensor, rotation: Tensor, translation: Tensor) -> Tensor:
    """Replace the palm motions of ``vector`` by those of the given local(t) -> base transforms (10 x metres)."""
    before_r, before_c = rotation[..., :-1, :, :, :], translation[..., :-1, :, :]
    back = before_r.transpose(-1, -2)
    step_r = rotation[..., 1:, :, :, :] @ back
    step_c = ((translation[..., 1:, :, :] - before_c).unsqueeze(-2) @ back).squeeze(-2)
    first_r, first_c = rotation[..., :1, :, :, :], translation[..., :1, :, :]
    steps_r, steps_c = torch.cat([first_r, step_r], dim=-4), torch.cat([first_c, step_c], dim=-3)
    motion = torch.cat([geometry.matrix_to_rotation_6d(steps_r), steps_c], dim=-1)
    return torch.cat([vector[..., :126], motion.flatten(-2), vector[..., INTER_HAND]], dim=-1)

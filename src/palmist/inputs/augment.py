"""Augmentation of hand and body recordings for the A-block: what varies between people and cameras, not between actions.

Everything acts on a batch of joints in model space (`palmist.inputs.windows`), so that pose vectors, palm frames and the body
context, computed afterwards, stay consistent. Every random number comes from the generator that is handed in.

Letters: B batch, T frames, H hands (2), J joints (21).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from palmist import geometry

__all__ = [
    "AugmentConfig", "HandBatch", "TrackingFaults", "add_tracking_faults", "augment", "make_unsigned", "resize_frames",
    "time_warp",
]  # fmt: skip


@dataclass(frozen=True)
class HandBatch:
    """Joints (B, T, 2, 21, 3) and known (B, T, 2, 21); body points (B, T, 7, 3) and known (B, T, 7); frames (B, T) bool."""

    joints: Tensor
    known: Tensor
    body: Tensor
    body_known: Tensor
    frames: Tensor

    def rows(self, index: Tensor) -> HandBatch:
        """The given rows, (N,) long."""
        return HandBatch(*(getattr(self, name)[index] for name in self.__dataclass_fields__))


@dataclass(frozen=True)
class AugmentConfig:
    """Standard deviations; lengths of the body in shoulder widths, of the hand in hand sizes, angles in radians."""

    crop: float = 0.25  # the largest part that is cut off at either end in time
    speed_bend: float = 0.4  # log of the exponent that bends time
    amplitude: float = 0.3  # log scale of each hand's path about its own mean
    reach: float = 0.15  # log scale of positions about the shoulders
    width: float = 0.1  # further log scale of x alone (unknown aspect ratio, turned shoulders)
    shift: float = 0.12  # both hands against the shoulders
    hand_shift: float = 0.06  # each hand by itself
    turn: float = 0.2  # both hands' directions (camera and torso)
    hand_turn: float = 0.15  # each hand by itself
    hand_shape: float = 0.05  # log scale of each joint's distance from the wrist
    joint_offset: float = 0.03  # a joint's constant error
    joint_noise: float = 0.02  # a joint's error per frame
    lose_frame: float = 0.1  # chance that a hand is lost in a frame
    lose_body: float = 0.05  # chance that the whole body is not seen


@dataclass(frozen=True)
class TrackingFaults:
    """What a tracker does wrong in some recordings, from none to these amounts.

    share: chance of each fault in a recording. lose_frames: largest share of frames in which nothing at all is seen. noise:
    largest standard deviation of every joint of hands and body in each frame, in hand sizes.
    """

    share: float = 0.5
    lose_frames: float = 0.5
    noise: float = 0.15


def _normal(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=generator)


def _uniform(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=generator)


def time_warp(batch: HandBatch, crop: float, bend: float, generator: torch.Generator) -> HandBatch:
    """Cut both ends by up to ``crop`` of the length and bend time by a power law; the number of frames stays.

    Values are interpolated between neighbours that both know them; rows keep their own length (``frames``).
    """
    B, T = batch.frames.shape
    length = batch.frames.sum(1, keepdim=True).clamp_min(2)
    start, stop = _uniform((B, 1), generator) * crop, 1 - _uniform((B, 1), generator) * crop
    exponent = torch.exp(bend * (2 * _uniform((B, 1), generator) - 1))
    place = (torch.arange(T).unsqueeze(0) / (length - 1)).clamp(max=1.0)
    return _read_between(batch, (start + (stop - start) * place**exponent) * (length - 1), batch.frames)


def resize_frames(batch: HandBatch, frames: int) -> HandBatch:
    """Every recording brought to `frames` frames over its own length; what is between two frames is mixed from both."""
    length = batch.frames.sum(1, keepdim=True)
    if bool((length == frames).all()):
        return HandBatch(*(getattr(batch, name)[:, :frames] for name in batch.__dataclass_fields__))
    position = torch.linspace(0, 1, frames).unsqueeze(0) * (length - 1).clamp_min(0)
    inside = (length > 0).expand(-1, frames)
    if batch.frames.shape[1] == 1:  # nothing to mix
        first = torch.zeros(frames, dtype=torch.long)
        return HandBatch(*(getattr(batch, name)[:, first] for name in batch.__dataclass_fields__))
    return _read_between(batch, position, inside)


def _read_between(batch: HandBatch, position: Tensor, frames: Tensor) -> HandBatch:
    """The batch at fractional frames `position` (B, F); known where both neighbours are, or the nearest one is."""
    B, count = position.shape
    left = position.floor().long().clamp_max(batch.frames.shape[1] - 2)
    weight = position - left

    def mix(values: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
        rows = torch.arange(B).unsqueeze(1)
        near = known[rows, left] & known[rows, left + 1]
        beside = weight.reshape(B, count, *([1] * (known.dim() - 2))) < 0.5
        alone = torch.where(beside, known[rows, left], known[rows, left + 1])
        fraction = weight.reshape(B, count, *([1] * (values.dim() - 2)))
        blended = values[rows, left] * (1 - fraction) + values[rows, left + 1] * fraction
        nearest = torch.where(fraction < 0.5, values[rows, left], values[rows, left + 1])
        values = torch.where(near.unsqueeze(-1), blended, nearest)
        return torch.where(alone.unsqueeze(-1), values, torch.zeros_like(values)), alone

    joints, known = mix(batch.joints, batch.known)
    body, body_known = mix(batch.body, batch.body_known)
    return HandBatch(joints, known, body, body_known, frames)


def _rotations(shape: tuple[int, ...], sigma: float, planar: bool, generator: torch.Generator) -> Tensor:
    angle = _normal((*shape, 3), generator) * sigma
    if planar:
        angle = angle * torch.tensor([0.0, 0.0, 1.0])
    return geometry.axis_angle_to_matrix(angle)


def _mean_where(values: Tensor, known: Tensor) -> Tensor:
    """Mean over frames (dim 1) of values (B, T, ..., C) where known (B, T, ...)."""
    weight = known.to(values.dtype).unsqueeze(-1)
    return (values * weight).sum(1, keepdim=True) / weight.sum(1, keepdim=True).clamp_min(1.0)


def augment(batch: HandBatch, config: AugmentConfig, generator: torch.Generator, planar: bool = False) -> HandBatch:
    """A variation of each recording that another person before another camera might have given.

    Unknown joints stay unknown; more of them may become unknown. ``planar`` turns hands in the image plane only.
    """
    if config.crop or config.speed_bend:
        batch = time_warp(batch, config.crop, config.speed_bend, generator)
    B, T = batch.frames.shape
    joints, known = batch.joints, batch.known
    wrist, wrist_known = joints[:, :, :, 0], known[:, :, :, 0]
    shoulders = batch.body_known[..., 0] & batch.body_known[..., 1]
    middle = _mean_where((batch.body[..., 0, :] + batch.body[..., 1, :]) / 2, shoulders)  # (B, 1, 3)
    span = torch.linalg.vector_norm(batch.body[..., 0, :2] - batch.body[..., 1, :2], dim=-1, keepdim=True)
    span = _mean_where(span, shoulders)  # (B, 1, 1), 0 without a body
    span = torch.where(span > 1e-6, span, torch.full_like(span, 0.36))

    amplitude = torch.exp(config.amplitude * _normal((B, 1, 1, 1), generator))
    reach = torch.exp(config.reach * _normal((B, 1, 1, 1), generator))
    wide = reach * torch.exp(config.width * _normal((B, 1, 1, 1), generator))
    scale = torch.cat([wide, reach, reach], dim=-1)
    flat = torch.tensor([1.0, 1.0, 0.0])
    shift = _normal((B, 1, 1, 3), generator) * config.shift * flat
    own_shift = _normal((B, 1, 2, 3), generator) * config.hand_shift * flat
    moved = shift + own_shift

    centre = _mean_where(wrist, wrist_known)
    path = centre + (wrist - centre) * amplitude
    origin = middle.unsqueeze(2)
    path = origin + (path - origin) * scale + moved * span.unsqueeze(2)

    size = torch.linalg.vector_norm(joints[:, :, :, 9] - wrist, dim=-1)[..., None, None].clamp(0.0, 0.5)
    relative = (joints - wrist.unsqueeze(3)) * torch.exp(config.hand_shape * _normal((B, 1, 2, 21, 1), generator))
    jitter = config.joint_offset * _normal((B, 1, 2, 21, 3), generator)
    jitter = jitter + config.joint_noise * _normal((B, T, 2, 21, 3), generator)
    relative = relative + (jitter * torch.tensor([1.0, 1.0, 0.0]) if planar else jitter) * size
    relative[:, :, :, 0] = 0
    turn = _rotations((B, 1, 1), config.turn, planar, generator)
    own_turn = _rotations((B, 1, 2), config.hand_turn, planar, generator)
    joints = path.unsqueeze(3) + relative @ (own_turn @ turn)

    body = batch.body.clone()
    arms = origin + (body[:, :, 2:7] - origin) * scale + shift * span.unsqueeze(2)
    wrists_and_elbows = own_shift.repeat(1, 1, 2, 1) * span.unsqueeze(2)
    arms[:, :, :4] += wrists_and_elbows
    body[:, :, 2:7] = arms
    body_known = batch.body_known & (_uniform((B, 1, 1), generator) >= config.lose_body)

    kept = _uniform((B, T, 2), generator) >= config.lose_frame
    known = known & kept.unsqueeze(-1)
    return HandBatch(joints * known.unsqueeze(-1), known, body * body_known.unsqueeze(-1), body_known, batch.frames)


def add_tracking_faults(batch: HandBatch, faults: TrackingFaults, hand_size: float, generator: torch.Generator) -> HandBatch:
    """Recordings with whole frames lost and with noise on all joints, each in `faults.share` of them; `hand_size` in the
    batch's unit. Body points keep their depth. The other recordings are returned as they are."""
    B, T = batch.frames.shape

    def amount(most: float) -> Tensor:  # (B, 1)
        chosen = _uniform((B, 1), generator) < faults.share
        return chosen * most * _uniform((B, 1), generator)

    spread = (amount(faults.noise) * hand_size)[..., None, None]  # (B, 1, 1, 1)
    joints = batch.joints + spread.unsqueeze(-1) * _normal((B, T, 2, 21, 3), generator)
    body = batch.body + spread * _normal(tuple(batch.body.shape), generator) * torch.tensor([1.0, 1.0, 0.0])
    kept = _uniform((B, T), generator) >= amount(faults.lose_frames)
    known, body_known = batch.known & kept[..., None, None], batch.body_known & kept[..., None]
    return HandBatch(joints * known.unsqueeze(-1), known, body * body_known.unsqueeze(-1), body_known, batch.frames)


def _smooth_path(shape: tuple[int, int, int], knots: int, generator: torch.Generator) -> Tensor:
    """Random piecewise-linear paths (B, T, C) through ``knots`` standard normal points."""
    B, T, C = shape
    points = _normal((B, C, knots), generator)
    return torch.nn.functional.interpolate(points, size=T, mode="linear", align_corners=True).transpose(1, 2)


def make_unsigned(source: HandBatch, other: HandBatch, generator: torch.Generator) -> HandBatch:
    """Hands that move without making a sign: examples for a label such as "idle", of which a training set has few.

    The hand shapes pass from those of one recording to those of another; wrists run along random paths in front of the
    body and the hands turn at random; the left hand mostly rests out of sight. The bodies are the first recording's.
    """
    B, T = source.frames.shape
    midpoint = _uniform((B, 1), generator) * T
    blend = torch.sigmoid((torch.arange(T) - midpoint) / 2)[..., None, None, None]
    known = source.known & other.known
    wrist = source.joints[:, :, :, :1]
    shape = (source.joints - wrist) * (1 - blend) + (other.joints - other.joints[:, :, :, :1]) * blend
    shoulders = source.body_known[..., 0] & source.body_known[..., 1]
    middle = _mean_where((source.body[..., 0, :] + source.body[..., 1, :]) / 2, shoulders)
    span = _mean_where((source.body[..., 0, :1] - source.body[..., 1, :1]).abs(), shoulders).clamp_min(1e-3)

    box_size, box_start = torch.tensor([2.2, 2.8, 0.0]), torch.tensor([-1.1, -0.9, 0.0])
    start = _uniform((B, 1, 2, 3), generator) * box_size + box_start
    start = start + torch.tensor([[0.6, 0.0, 0.0], [-0.6, 0.0, 0.0]])  # left hand on its own side (+x in the image)
    pace = 0.7 * _uniform((B, 1, 1), generator)
    path = start + (_smooth_path((B, T, 6), 4, generator) * pace).view(B, T, 2, 3) * torch.tensor([1.0, 1.0, 0.0])
    path = middle.unsqueeze(2) + path * span.unsqueeze(2)
    first = geometry.axis_angle_to_matrix(_normal((B, 1, 2, 3), generator) * 0.6)
    later = geometry.axis_angle_to_matrix((_smooth_path((B, T, 6), 4, generator) * 0.4).view(B, T, 2, 3))
    joints = path.unsqueeze(3) + shape @ (first @ later)

    both_hands = _uniform((B, 1, 1), generator) < 0.25
    shown = torch.cat([both_hands.expand(B, T, 1), torch.ones(B, T, 1, dtype=torch.bool)], dim=-1)
    known = known & shown.unsqueeze(-1)
    body, body_known = source.body.clone(), source.body_known.clone()
    seen = known[:, :, :, 0]
    body[:, :, 4:6] = torch.where(seen.unsqueeze(-1), path, torch.zeros_like(path))
    body_known[:, :, 4:6] = seen
    elbow = (body[:, :, 0:2] + path) / 2 + torch.tensor([0.0, 0.3, 0.0]) * span.unsqueeze(2)
    body[:, :, 2:4] = torch.where(seen.unsqueeze(-1), elbow, body[:, :, 2:4])
    return replace(source, joints=joints * known.unsqueeze(-1), known=known, body=body, body_known=body_known)

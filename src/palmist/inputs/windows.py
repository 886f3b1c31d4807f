"""Recordings as the uniform sequences, clips and windows that networks take.

A :class:`PoseSequence` is a recording in *model space*: torch tensors at one rate, in metres. Recordings that are not
metric are scaled to pseudo-metres so that the median hand size is :data:`REFERENCE_HAND_SIZE`; nothing else is assumed
of them. Values are interpolated only between two known neighbouring frames, never across a gap and never beyond the end.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from palmist import pose_vector
from palmist.errors import InputError
from palmist.recording import Recording
from palmist.skeleton import BODY_LAYOUTS

__all__ = [
    "BODY_POINTS",
    "CONTEXT_CHANNELS",
    "REFERENCE_HAND_SIZE",
    "PoseSequence",
    "body_context",
    "frame_grid",
    "resample",
    "to_model_space",
    "to_pose_sequence",
]

#: Mean wrist-to-MCP distance in metres that non-metric recordings are scaled to (an adult hand).
REFERENCE_HAND_SIZE = 0.09
#: The body points that the body context reads; a layout that lacks one leaves it unknown.
BODY_POINTS = ("left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist", "nose")
#: Width of the body context, see :func:`body_context`.
CONTEXT_CHANNELS = 26
#: The longest pause in seconds across which two known frames are joined by interpolation.
LONGEST_JOIN = 0.1


@dataclass(frozen=True)
class PoseSequence:
    """A recording in model space at a uniform rate.

    Attributes:
        joints: (T, 2, 21, 3) float32 metres (pseudo-metres unless ``space`` is "metric"); unknown entries are 0.
        known: (T, 2, 21) bool.
        body: (T, 7, 3) float32, :data:`BODY_POINTS`, same unit; body_known: (T, 7) bool.
        time: (T,) float64 seconds of the recording's own clock.
        scale: (3,) float32, model space = recording x scale, per coordinate.
        space, rate, name: as in the recording; ``rate`` frames per second of this sequence.
    """

    joints: Tensor
    known: Tensor
    body: Tensor
    body_known: Tensor
    time: np.ndarray
    scale: Tensor
    space: str
    rate: float
    name: str = "sequence"

    def __len__(self) -> int:
        return len(self.joints)

    @property
    def planar(self) -> bool:
        return self.space == "planar"

    def slice(self, start: int, stop: int | None = None) -> PoseSequence:
        """Frames start..stop of this sequence."""
        part = slice(start, stop)
        return replace(
            self,
            joints=self.joints[part],
            known=self.known[part],
            body=self.body[part],
            body_known=self.body_known[part],
            time=self.time[part],
        )


def to_model_space(recording: Recording, frames: slice | None = None) -> Tensor:
    """The (3,) factors that bring a recording's coordinates to (pseudo-)metres.

    ``frames`` limits the hand-size estimate to what was observed, so that no future leaks into a prediction.

    Raises:
        InputError: a non-metric recording shows no complete palm from which to take the hand size.
    """
    if recording.space == "metric":
        return torch.ones(3)
    aspect = recording.aspect if recording.space == "image" and recording.aspect else 1.0
    stretch = torch.tensor([aspect, 1.0, aspect if recording.space == "image" else 0.0])
    part = slice(None) if frames is None else frames
    joints = torch.from_numpy(np.array(recording.joints[part])) * stretch
    sizes, valid = pose_vector.hand_sizes(joints, torch.from_numpy(np.array(recording.known[part])))
    seen = sizes[valid & (sizes > 0)]
    if len(seen) == 0:
        if recording.valid[part].any():
            raise InputError(
                f"{recording.name}: no frame shows a hand's wrist with two knuckles, which sets the scale of a "
                f"'{recording.space}' recording; expected at least one such frame (run palmist check)"
            )
        return stretch
    return stretch * (REFERENCE_HAND_SIZE / float(seen.median()))


def frame_grid(time: np.ndarray, rate: float, anchor: str = "start") -> np.ndarray:
    """Uniform times inside time[0]..time[-1]; ``anchor`` says whether the first or the last frame is hit exactly."""
    count = int(np.floor((time[-1] - time[0]) * rate + 1e-6)) + 1
    steps = np.arange(count) / rate
    return time[0] + steps if anchor == "start" else time[-1] - steps[::-1]


def resample(time: np.ndarray, values: np.ndarray, known: np.ndarray, grid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Linear interpolation between known neighbours.

    Args:
        time: (T,) seconds, increasing. values: (T, ..., 3). known: (T, ...) bool. grid: (G,) seconds.

    Returns:
        values (G, ..., 3) and known (G, ...): a value is known where both neighbouring frames know it and lie no
        further apart than the longest join (0.1 s, or 2.5 frames of a slower recording).
    """
    left = np.clip(np.searchsorted(time, grid + 1e-6, side="right") - 1, 0, len(time) - 1)
    right = np.minimum(left + 1, len(time) - 1)
    gap = time[right] - time[left]
    step = float(np.median(np.diff(time))) if len(time) > 1 else LONGEST_JOIN
    fraction = np.where(gap > 0, (grid - time[left]) / np.where(gap > 0, gap, 1.0), 0.0)
    exact = np.abs(fraction) * gap < 1e-4
    fraction = np.where(exact, 0.0, fraction)
    right = np.where(exact, left, right)
    near = exact | (gap <= max(LONGEST_JOIN, 2.5 * step) + 1e-9)
    inside = (grid >= time[0] - 1e-6) & (grid <= time[-1] + 1e-6)
    shape = (len(grid),) + (1,) * (known.ndim - 1)
    both = known[left] & known[right] & (near & inside).reshape(shape)
    weight = fraction.reshape((*shape, 1)).astype(values.dtype)
    mixed = values[left] * (1 - weight) + values[right] * weight
    return np.where(both[..., None], mixed, 0).astype(values.dtype), both


def to_pose_sequence(
    recording: Recording,
    rate: float = 30.0,
    grid: np.ndarray | None = None,
    anchor: str = "start",
    scale: Tensor | None = None,
) -> PoseSequence:
    """Bring a recording to model space at a uniform rate.

    Args:
        recording: any recording; unknown joints stay unknown.
        rate: frames per second (G-HTT: 30).
        grid: the times to sample instead, in seconds.
        anchor: whether the recording's first ("start") or last ("end") frame is hit exactly.
        scale: (3,) factors to use instead of :func:`to_model_space`.
    """
    times = frame_grid(recording.time, rate, anchor) if grid is None else grid
    factors = to_model_space(recording) if scale is None else scale
    multiply = factors.numpy()
    joints, known = resample(recording.time, np.asarray(recording.joints) * multiply, np.asarray(recording.known), times)
    body = np.zeros((len(times), len(BODY_POINTS), 3), np.float32)
    body_known = np.zeros((len(times), len(BODY_POINTS)), bool)
    if recording.body is not None:
        names = BODY_LAYOUTS[recording.body.layout]
        here = [i for i, point in enumerate(BODY_POINTS) if point in names]
        there = [names.index(BODY_POINTS[i]) for i in here]
        values = np.asarray(recording.body.joints)[:, there] * multiply
        body[:, here], body_known[:, here] = resample(recording.time, values, np.asarray(recording.body.valid)[:, there], times)
    return PoseSequence(
        joints=torch.from_numpy(joints),
        known=torch.from_numpy(known),
        body=torch.from_numpy(body),
        body_known=torch.from_numpy(body_known),
        time=times,
        scale=factors,
        space=recording.space,
        rate=rate,
        name=recording.name,
    )


def _masked_median(values: Tensor, known: Tensor) -> Tensor:
    """Median over the frame axis (-2) of values (..., T, C) where known (..., T); 0 where nothing is known."""
    filled = torch.where(known.unsqueeze(-1), values, torch.full_like(values, torch.nan))
    return torch.nanmedian(filled, dim=-2).values.nan_to_num(0.0)


def body_context(
    joints: Tensor, known: Tensor, palm_rotation: Tensor, palm_valid: Tensor, body: Tensor, body_known: Tensor
) -> tuple[Tensor, Tensor]:
    """Where the hands are by the body and which way the palms face: the A-block's body context.

    Positions are taken from the middle of the shoulders, in shoulder widths, x and y only (the median over the
    sequence of both, so that a nodding body does not move the hands). A wrist that the hand tracker lost is taken from
    the body tracker where that sees it. Without a body only the directions and which hands were seen are known.

    Args:
        joints (..., T, 2, 21, 3), known (..., T, 2, 21), palm_rotation (..., T, 2, 3, 3), palm_valid (..., T, 2):
            hands and their palm frames; body (..., T, 7, 3), body_known (..., T, 7): :data:`BODY_POINTS`.

    Returns:
        context (..., T, 26) and context_known (..., T) bool. Channels: per hand wrist x, y and whether it is known (6);
        per hand direction to the middle finger (6); per hand palm normal (6); elbows x, y (4); nose x, y (2); per hand
        whether it was seen (2). Unknown entries are 0.
    """
    shoulders = body_known[..., 0] & body_known[..., 1]
    middle = _masked_median((body[..., 0, :2] + body[..., 1, :2]) / 2, shoulders).unsqueeze(-2)
    span = torch.linalg.vector_norm(body[..., 0, :2] - body[..., 1, :2], dim=-1, keepdim=True)
    width = _masked_median(span, shoulders).unsqueeze(-2)
    has_body = (shoulders.any(-1, keepdim=True) & (width[..., 0] > 1e-6)).expand(shoulders.shape)
    width = width.clamp_min(1e-6)

    seen = palm_valid & known[..., 0]
    wrist_known = seen | body_known[..., 4:6]
    wrist = torch.where(seen.unsqueeze(-1), joints[..., 0, :2], body[..., 4:6, :2])
    points = torch.cat([wrist, body[..., 2:4, :2], body[..., 6:7, :2]], dim=-2)
    points_known = torch.cat([wrist_known, body_known[..., 2:4], body_known[..., 6:7]], dim=-1)
    points = ((points - middle.unsqueeze(-2)) / width.unsqueeze(-2)).clamp(-4.0, 4.0)
    points_known = points_known & has_body.unsqueeze(-1)
    points = torch.where(points_known.unsqueeze(-1), points, torch.zeros_like(points))
    flags = points_known[..., :2].to(points.dtype).unsqueeze(-1)
    wrists = torch.cat([points[..., :2, :], flags], dim=-1)
    turn = seen.to(points.dtype).unsqueeze(-1)
    forward, normal = palm_rotation[..., 0] * turn, palm_rotation[..., 2] * turn
    parts = [wrists, forward, normal, points[..., 2:4, :]]
    context = torch.cat([part.flatten(-2) for part in parts] + [points[..., 4, :], turn.squeeze(-1)], dim=-1)
    # Which way the palms face is known without a body as well.
    return context, has_body | seen.any(-1)

"""Body and hands of labelled recordings as skeleton networks take them: one frame of reference, a fixed number of frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from palmist.inputs.action_bank import pad_sequences
from palmist.inputs.augment import HandBatch, resize_frames
from palmist.inputs.windows import to_pose_sequence
from palmist.recording import Recording

__all__ = ["body_hand_input", "skeleton_batch"]

#: Shoulder width over hand size (wrist to knuckles), for recordings that show no shoulders.
_SHOULDERS_PER_HAND = 4.0
_LIMIT = 6.0  # shoulder widths; what lies further out is a tracker's error


def body_hand_input(batch: HandBatch, frames: int, metric: bool = False) -> dict[str, Tensor]:
    """One person's body and hands about the middle of the shoulders, in shoulder widths.

    The origin and the unit are medians over the recording, so the body may move. Without shoulders the origin is the mean
    place of the wrists and the unit four hand sizes. The depth of body points is left out unless the recording is metric.

    Args:
        batch: joints (B, T, 2, 21, 3), body points (B, T, 7, 3) in one unit. frames: F, to which each recording is brought.

    Returns:
        body (B, 1, F, 7, 3), body_known (B, 1, F, 7), hands (B, 1, 2, F, 21, 3), hands_known (B, 1, 2, F, 21); 0 where
        not known.
    """
    origin, unit = _frame_of_reference(batch)
    batch = resize_frames(batch, frames)
    known = batch.known & batch.frames[..., None, None]
    body_known = batch.body_known & batch.frames.unsqueeze(-1)
    hands = _scaled(batch.joints, known, origin[:, :, None], unit[:, :, None])
    body = _scaled(batch.body, body_known, origin, unit)
    if not metric:
        body = body * body.new_tensor([1.0, 1.0, 0.0])
    return {
        "body": body.unsqueeze(1),
        "body_known": body_known.unsqueeze(1),
        "hands": hands.transpose(1, 2).unsqueeze(1),
        "hands_known": known.transpose(1, 2).unsqueeze(1),
    }


def _scaled(points: Tensor, known: Tensor, origin: Tensor, unit: Tensor) -> Tensor:
    values = ((points - origin) / unit).clamp(-_LIMIT, _LIMIT)
    return torch.where(known.unsqueeze(-1), values, torch.zeros_like(values))


def _median(values: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Median over dim 1 of values (B, N, C) where known (B, N), and whether there was any (B, 1)."""
    filled = torch.where(known.unsqueeze(-1), values, torch.full_like(values, torch.nan))
    return filled.nanmedian(dim=1).values.nan_to_num(0.0), known.any(1, keepdim=True)


def _frame_of_reference(batch: HandBatch) -> tuple[Tensor, Tensor]:
    """origin (B, 1, 1, 3), depth 0, and unit (B, 1, 1, 1)."""
    inside = batch.frames.unsqueeze(-1)
    shoulders = (batch.body_known[..., :2] & inside).all(-1)
    left, right = batch.body[..., 0, :], batch.body[..., 1, :]
    middle, seen = _median((left + right) / 2, shoulders)
    width, _ = _median(torch.linalg.vector_norm((left - right)[..., :2], dim=-1, keepdim=True), shoulders)
    seen = seen & (width > 1e-6)
    palms = batch.known[..., 0] & batch.known[..., 9] & inside  # (B, T, 2)
    wrist, _ = _median(batch.joints[..., 0, :].flatten(1, 2), palms.flatten(1))
    reach = torch.linalg.vector_norm(batch.joints[..., 9, :] - batch.joints[..., 0, :], dim=-1, keepdim=True)
    size, _ = _median(reach.flatten(1, 2), palms.flatten(1))
    origin = torch.where(seen, middle, wrist) * middle.new_tensor([1.0, 1.0, 0.0])
    unit = torch.where(seen, width, _SHOULDERS_PER_HAND * size)
    return origin[:, None, None], torch.where(unit > 1e-6, unit, torch.ones_like(unit))[:, None, None]


class Timing(Protocol):
    """What a network's configuration says of the frames that it takes: how many, how many a second."""

    @property
    def frames(self) -> int: ...

    @property
    def rate(self) -> float: ...


def skeleton_batch(recordings: Sequence[Recording], config: Timing) -> dict[str, Tensor]:
    """Whole recordings of one space as a batch (`body_hand_input`)."""
    sequences = [to_pose_sequence(recording, config.rate) for recording in recordings]
    return body_hand_input(pad_sequences(sequences), config.frames, sequences[0].space == "metric")

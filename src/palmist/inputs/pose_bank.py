"""Recordings encoded once, side by side in memory, and the windows that the two G-HTT blocks are trained on.

A window never holds a value that its recording does not know: masks travel with the vectors, and the first frame in
which a window sees a hand has no motion to move from.

Letters: B batch, T frames of a clip (16), F frames of all recordings, H hands (2).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from palmist import geometry
from palmist.inputs.windows import PoseSequence
from palmist.pose_vector import DIM, INTER_HAND, LEFT_MOTION, MOTION_SCALE, RIGHT_MOTION, encode, reset_first_motion

__all__ = ["NoiseConfig", "PoseBank", "WindowDataset", "add_pose_noise", "mirror_sequence"]


@dataclass(frozen=True)
class NoiseConfig:
    """G-HTT's input noise (specification, 5.3): standard deviations."""

    joints: float = 0.025  # hand sizes
    motion_angle: float = math.pi / 144
    motion_shift: float = 0.0075  # metres
    inter_angle: float = math.pi / 36
    inter_shift: float = 0.05  # metres


def add_pose_noise(vector: Tensor, known: Tensor, generator: torch.Generator, config: NoiseConfig | None = None) -> Tensor:
    """Disturb pose vectors (..., 153) as a tracker would; unknown entries stay as they are."""
    config = config or NoiseConfig()
    noisy = vector.clone()
    noisy[..., :126] += config.joints * torch.randn((*vector.shape[:-1], 126), generator=generator)
    for part, angle, shift in (
        (LEFT_MOTION, config.motion_angle, config.motion_shift * MOTION_SCALE),
        (RIGHT_MOTION, config.motion_angle, config.motion_shift * MOTION_SCALE),
        (INTER_HAND, config.inter_angle, config.inter_shift),
    ):
        axis = torch.randn((*vector.shape[:-1], 3), generator=generator)
        axis = axis / torch.linalg.vector_norm(axis, dim=-1, keepdim=True).clamp_min(1e-9)
        size = angle * torch.randn((*vector.shape[:-1], 1), generator=generator)
        turned = geometry.rotation_6d_to_matrix(vector[..., part][..., :6]) @ geometry.axis_angle_to_matrix(axis * size)
        noisy[..., part.start : part.start + 6] = geometry.matrix_to_rotation_6d(turned)
        noisy[..., part.start + 6 : part.stop] += shift * torch.randn((*vector.shape[:-1], 3), generator=generator)
    return torch.where(known, noisy, vector)


def mirror_sequence(sequence: PoseSequence) -> PoseSequence:
    """The same hands in a mirror: x changes sign, left and right change places (of the body as well)."""
    flip = torch.tensor([-1.0, 1.0, 1.0])
    sides = [1, 0, 3, 2, 5, 4, 6]

    return replace(
        sequence,
        joints=sequence.joints.flip(1) * flip,
        known=sequence.known.flip(1),
        body=sequence.body[:, sides] * flip,
        body_known=sequence.body_known[:, sides],
        name=f"{sequence.name} (mirrored)",
    )


class PoseBank:
    """Encoded sequences, concatenated along time.

    Attributes:
        vector, known: (F, 153); axes: (F, 3, 3) depth axes; valid: (F, 2) bool.
        offsets: (S + 1,) int64: sequence i is frames offsets[i]:offsets[i + 1].
    """

    def __init__(self, sequences: Sequence[PoseSequence]) -> None:
        lengths = [len(sequence) for sequence in sequences]
        self.offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        frames = int(self.offsets[-1])
        self.vector, self.known = torch.zeros(frames, DIM), torch.zeros(frames, DIM, dtype=torch.bool)
        self.axes, self.valid = torch.zeros(frames, 3, 3), torch.zeros(frames, 2, dtype=torch.bool)
        alike: dict[tuple[int, str], list[int]] = {}
        for i, sequence in enumerate(sequences):
            alike.setdefault((len(sequence), sequence.space), []).append(i)
        for (length, space), members in alike.items():
            for part in (members[k : k + 512] for k in range(0, len(members), 512)):
                encoded = encode(
                    torch.stack([sequences[i].joints for i in part]),
                    torch.stack([sequences[i].known for i in part]),
                    space,
                )
                rows = torch.from_numpy(self.offsets[part])[:, None] + torch.arange(length)
                self.vector[rows], self.known[rows] = encoded.vector, encoded.known
                self.axes[rows], self.valid[rows] = encoded.depth_axes, encoded.palms.valid

    def __len__(self) -> int:
        return len(self.offsets) - 1


class WindowDataset:
    """P-block windows: an observed clip and the clip that follows it (specification, 5.1 and 5.3).

    With probability ``cut_probability`` only the first 2..T frames of the observed clip are given; the future then
    starts right after them. ``weights`` holds each window's chance to be drawn.
    """

    def __init__(
        self,
        bank: PoseBank,
        sequence_weights: np.ndarray | None = None,
        clip_length: int = 16,
        stride: int = 1,
        cut_probability: float = 0.25,
        clean_probability: float = 0.0,
        noise: NoiseConfig | None = None,
        least_observed: int = 4,
    ) -> None:
        self.bank, self.clip_length, self.cut_probability = bank, clip_length, cut_probability
        self.clean_probability = clean_probability
        self.noise = noise if noise is not None else NoiseConfig()
        starts, owners = [], []
        seen = torch.cat([torch.zeros(1, dtype=torch.long), bank.valid.any(-1).long().cumsum(0)])
        for i in range(len(bank)):
            first, end = int(bank.offsets[i]), int(bank.offsets[i + 1])
            here = np.arange(first, max(first + 1, end - least_observed + 1), stride)
            stop = np.minimum(here + clip_length, end)
            # A window in which no hand is ever seen teaches nothing.
            full = (seen[stop] - seen[here] >= 2).numpy()
            starts.append(here[full])
            owners.append(np.full(int(full.sum()), i))
        self.starts, self.owners = np.concatenate(starts), np.concatenate(owners)
        self.weights: np.ndarray | None = None
        if sequence_weights is not None:
            self.weights = np.asarray(sequence_weights, np.float64)[self.owners]

    def __len__(self) -> int:
        return len(self.starts)

    def batch(self, indices: np.ndarray, generator: torch.Generator) -> dict[str, Tensor]:
        """A P-block batch, see `palmist.models.ghtt_pose_block.PBlock.loss`."""
        T, B = self.clip_length, len(indices)
        cut = torch.rand(B, generator=generator) < self.cut_probability
        length = torch.randint(2, T + 1, (B,), generator=generator)
        length = torch.where(cut, length, torch.full_like(length, T))
        window = self.window(indices, length)
        clean = window["observed"]
        window["observed_clean"] = clean
        noisy = add_pose_noise(clean, window["observed_known"], generator, self.noise)
        untouched = torch.rand((B, 1, 1), generator=generator) < self.clean_probability
        window["observed"] = torch.where(untouched, clean, noisy)
        return window

    def window(self, indices: np.ndarray, length: Tensor) -> dict[str, Tensor]:
        """The clean windows, with ``length`` (B,) observed frames each."""
        bank, T = self.bank, self.clip_length
        start = torch.from_numpy(self.starts[indices])
        end = torch.from_numpy(bank.offsets[self.owners[indices] + 1])
        step = torch.arange(T)
        observed = start[:, None] + step
        observed_frames = (step < length[:, None]) & (observed < end[:, None])
        future = start[:, None] + length[:, None] + step
        future_frames = future < end[:, None]
        frames = torch.cat([observed, future], dim=1).clamp_max(len(bank.vector) - 1)
        inside = torch.cat([observed_frames, future_frames], dim=1)
        valid = bank.valid[frames] & inside.unsqueeze(-1)
        known = bank.known[frames] & inside.unsqueeze(-1)
        vector, known = reset_first_motion(bank.vector[frames], known, valid)
        axes = bank.axes[frames]
        return {
            "observed": vector[:, :T],
            "observed_known": known[:, :T],
            "observed_axes": axes[:, :T],
            "observed_frames": observed_frames,
            "future": vector[:, T:],
            "future_known": known[:, T:],
            "future_axes": axes[:, T:],
            "future_frames": future_frames,
        }

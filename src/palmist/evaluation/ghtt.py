"""What a G-HTT checkpoint is worth on recordings of people it has never seen: refinement, recognition, prediction.

Every number comes with n and, where it is a mean, an interval that resamples people, sessions or takes. Unknown joints
never count. Distances are in the unit of the data set's forecast protocol (`palmist.evaluation.forecasts`).

Letters: B batch, T frames, K futures, L labels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from palmist import pose_vector
from palmist.checkpoint import load_checkpoint, with_weights
from palmist.evaluation.forecasts import ForecastWindow
from palmist.inputs.action_bank import clip_tokens, pad_sequences
from palmist.inputs.pose_bank import NoiseConfig, PoseBank, WindowDataset, add_pose_noise
from palmist.inputs.windows import PoseSequence, to_model_space, to_pose_sequence
from palmist.models.ghtt import GHTT, GHTTConfig
from palmist.models.ghtt_flows import go_on_from_last_hand
from palmist.models.ghtt_pose_block import PBlock
from palmist.models.label_table import learnt_labels
from palmist.recording import Recording

__all__ = ["Recognition", "RefinementScore", "forecast", "load_ghtt", "recognise", "refine_vectors", "score_refinement"]


class Recognition(NamedTuple):
    """Probabilities (N, L') over the candidate labels, the true index (N,) among them, and their names."""

    probabilities: np.ndarray
    truth: np.ndarray
    labels: tuple[str, ...]

    @property
    def predicted(self) -> np.ndarray:
        return self.probabilities.argmax(1)


@torch.no_grad()
def recognise(model: GHTT, items: Sequence[tuple[Recording, str]], labels: Sequence[str], batch_size: int = 256) -> Recognition:
    """Recognise whole recordings among the given labels.

    Args:
        model: with an A-block whose label table holds some of ``labels``.
        items: (recording, its true label); more than 256 frames are read in windows whose probabilities are summed.
        labels: the candidate labels (the data set's own taxonomy); one that the model never learnt gets probability 0.
    """
    block = model.a
    assert block is not None
    learnt = learnt_labels(block.config.labels, labels)
    longest = block.config.max_clips * model.p.config.clip_length
    sequences = [to_pose_sequence(recording, model.p.config.rate) for recording, _ in items]
    order = sorted(range(len(items)), key=lambda i: len(sequences[i]))
    result = np.zeros((len(items), len(labels)), np.float64)
    for part in (order[i : i + batch_size] for i in range(0, len(order), batch_size)):
        frames = max(len(sequences[i]) for i in part)
        for first in range(0, frames, longest):
            owners = [i for i in part if len(sequences[i]) > first]
            hands = pad_sequences([sequences[i].slice(first, first + longest) for i in owners])
            tokens = clip_tokens(hands, sequences[owners[0]].space, model.p, block.config)
            phase = torch.arange(tokens.clips.shape[1]).expand(len(owners), -1) + first // model.p.config.clip_length
            code = block.encode(tokens.mid_levels, tokens.clips, phase, None, tokens.context, tokens.context_known)
            scores = block.similarities(code.mean)[:, learnt.rows] / block.config.temperature
            result[np.ix_(owners, learnt.columns)] += scores.softmax(-1).double().numpy()
    result /= result.sum(1, keepdims=True)
    truth = np.array([list(labels).index(label) for _, label in items])
    return Recognition(result, truth, tuple(labels))


Refine = Callable[[Tensor, Tensor, Tensor, bool], Tensor]
CLIP = 16  # frames of the clips that refinement is scored on


class RefinementScore(NamedTuple):
    """Per window, in hand sizes, and the group that an interval resamples; all (N,).

    refined, noisy: mean joint error in the palm frame after and before refinement; refined_wrist, noisy_wrist: the same
    with only the wrists aligned, which includes the palm's turn since the clip's start (the input noise on palm motion
    adds up over a clip, and the consistency step keeps the end where the noisy input has it); clean: how far refinement
    moves clean input, wrists aligned.
    """

    refined: np.ndarray
    noisy: np.ndarray
    refined_wrist: np.ndarray
    noisy_wrist: np.ndarray
    clean: np.ndarray
    groups: np.ndarray


@torch.no_grad()
def score_refinement(
    refine: Refine,
    sequences: Sequence[PoseSequence],
    groups: Sequence[str],
    seed: int = 0,
    noise: NoiseConfig | None = None,
) -> RefinementScore:
    """Refine every clip of the sequences from input with the specification's noise, and from clean input.

    Args:
        refine: clips (B, T, 153), known, frames, planar -> refined clips; `refine_vectors` with a P-block that never saw
            these people, say.
        sequences: recordings in model space; groups: what the interval resamples, one name per sequence.
    """
    chosen = [(s, g) for s, g in zip(sequences, groups, strict=True) if bool(s.known[..., 0].any())]
    planar = chosen[0][0].planar
    dataset = WindowDataset(PoseBank([s for s, _ in chosen]), stride=CLIP, cut_probability=0.0)
    generator = torch.Generator().manual_seed(seed)
    rows: list[np.ndarray] = []
    for part in np.array_split(np.arange(len(dataset)), max(1, len(dataset) // 256)):
        window = dataset.window(part, torch.full((len(part),), CLIP))
        clean, known, frames = window["observed"], window["observed_known"], window["observed_frames"]
        noisy = add_pose_noise(clean, known, generator, noise)
        refined = refine(noisy, known, frames, planar)
        truth, counted = _wrist_relative(clean, known, frames, planar)
        local, local_counted = _palm_frame(clean, known, frames, planar)
        row = [_mean_distance(_palm_frame(v, known, frames, planar)[0], local, local_counted) for v in (refined, noisy)]
        row += [_mean_distance(_wrist_relative(v, known, frames, planar)[0], truth, counted) for v in (refined, noisy)]
        kept = refine(clean, known, frames, planar)
        row.append(_mean_distance(_wrist_relative(kept, known, frames, planar)[0], truth, counted))
        rows.append(np.stack(row, 1))
    errors = np.concatenate(rows)
    owner = np.array([chosen[i][1] for i in dataset.owners])
    good = np.isfinite(errors).all(1)
    refined, before, refined_wrist, before_wrist, shift = errors[good].T
    return RefinementScore(refined, before, refined_wrist, before_wrist, shift, owner[good])


def refine_vectors(block: PBlock, vector: Tensor, known: Tensor, frames: Tensor, planar: bool) -> Tensor:
    """Refine clips (B, T, 153) and apply the trajectory consistency step; unknown hands keep neutral motions."""
    refined = block.encode(vector, known, frames).refined
    known = known & frames.unsqueeze(-1)
    # Motions that nobody observed are the identity, as in the input.
    motions = slice(126, 144)
    refined = torch.cat([refined[..., :126], torch.where(known, refined, vector)[..., motions], refined[..., 144:]], -1)
    valid = torch.stack([known[..., :63].any(-1), known[..., 63:126].any(-1)], dim=-1)
    return pose_vector.trajectory_consistency(refined, vector, valid, planar)


def smooth_vectors(width: float, vector: Tensor, known: Tensor, frames: Tensor, planar: bool) -> Tensor:
    """Smooth clips (B, T, 153) by a Gaussian of this width in frames, over known entries; motions stay as they are."""
    step = torch.arange(vector.shape[1])
    kernel = torch.exp(-0.5 * ((step[:, None] - step) / width) ** 2)
    there = (known & frames.unsqueeze(-1)).to(vector.dtype)
    mean = (kernel @ (vector * there)) / (kernel @ there).clamp_min(1e-9)
    return torch.cat([torch.where(known, mean, vector)[..., :126], vector[..., 126:]], dim=-1)


def _wrist_relative(vector: Tensor, known: Tensor, frames: Tensor, planar: bool) -> tuple[Tensor, Tensor]:
    """Joints relative to the wrist in hand sizes, (B, T, 2, 21, 3), and which of them count."""
    identity = torch.eye(3).expand(*vector.shape[:-2], 2, 3, 3)
    joints = pose_vector.decode(vector, identity, vector.new_zeros(*vector.shape[:-2], 2, 3), vector.new_ones(2), planar)
    counted = known[..., :126].reshape(*known.shape[:-1], 2, 21, 3).any(-1) & frames[..., None, None]
    return joints - joints[..., :1, :], counted


def _palm_frame(vector: Tensor, known: Tensor, frames: Tensor, planar: bool) -> tuple[Tensor, Tensor]:
    """Joints in the palm frame in hand sizes, (B, T, 2, 21, 3), and which of them count."""
    local = vector[..., :126].reshape(*vector.shape[:-1], 2, 21, 3)
    counted = known[..., :126].reshape(local.shape).any(-1) & frames[..., None, None]
    return local * local.new_tensor([1.0, 1.0, 0.0 if planar else 1.0]), counted


def _mean_distance(joints: Tensor, truth: Tensor, counted: Tensor) -> np.ndarray:
    """Mean distance per window over counted joints except the wrist, (B,); NaN where none counts."""
    counted = counted.clone()
    counted[..., 0] = False
    distance = torch.linalg.vector_norm(joints - truth, dim=-1)
    total = (distance * counted).sum((1, 2, 3)).double()
    number = counted.sum((1, 2, 3)).double()
    return np.asarray((total / number).numpy())


@dataclass(frozen=True)
class ForecastOptions:
    """flow: "p_a" (chained short-term) or "p_b" (through the A-block); factor: sampling factor f of the samples."""

    samples: int = 20
    factor: float = 5.0
    flow: str = "p_a"
    seed: int = 0


@torch.no_grad()
def forecast(
    block: PBlock, windows: Sequence[ForecastWindow], options: ForecastOptions | None = None
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Predict the future of protocol windows with the P-block: the clip that follows the observed one.

    Only observed frames are looked at, also for the scale and the hand size.

    Returns:
        Per window the deterministic future (1, T', 21, 3) and the samples (K, T', 21, 3), in the recording's own unit.
    """
    options = options or ForecastOptions()
    generator = torch.Generator().manual_seed(options.seed)
    sequences = [observed_sequence(window, block.config.rate, block.config.clip_length) for window in windows]
    certain: list[np.ndarray] = [np.zeros(0)] * len(windows)
    sampled: list[np.ndarray] = [np.zeros(0)] * len(windows)
    alike: dict[tuple[int, str], list[int]] = {}
    for i, sequence in enumerate(sequences):
        alike.setdefault((len(sequence), sequence.space), []).append(i)
    for (_, space), members in alike.items():
        for part in (members[k : k + 64] for k in range(0, len(members), 64)):
            chosen = [sequences[i] for i in part]
            futures = _next_clip(block, chosen, space, options, generator)  # (B, 1 + K, T, 2, 21, 3)
            for i, sequence, joints in zip(part, chosen, futures, strict=True):
                own = at_future_times(windows[i], sequence, joints.numpy())
                certain[i], sampled[i] = own[:1], own[1:]
    return certain, sampled


def observed_sequence(window: ForecastWindow, rate: float, longest: int) -> PoseSequence:
    """The observed frames of a window in model space; the last frame is hit exactly, at most ``longest`` frames."""
    part = window.observed
    seen = window.recording.slice(part.start or 0, part.stop)
    if part.step and part.step > 1:
        last = window.observed_frames[-1] - (part.start or 0)
        seen = seen.slice(0, int(last) + 1)
    sequence = to_pose_sequence(seen, rate, anchor="end", scale=to_model_space(seen))
    return sequence.slice(max(0, len(sequence) - longest))


def _next_clip(
    block: PBlock, sequences: Sequence[PoseSequence], space: str, options: ForecastOptions, generator: torch.Generator
) -> Tensor:
    T, planar = block.config.clip_length, space == "planar"
    hands = pad_sequences(sequences, T)
    encoded = pose_vector.encode(hands.joints, hands.known, space)
    vector, known = pose_vector.reset_first_motion(encoded.vector, encoded.known, encoded.palms.valid)
    code = block.encode(vector, known, hands.frames)
    B, K = len(sequences), options.samples
    spread = options.factor * block.skip_spread * (0.5 * code.log_variance).exp().unsqueeze(1)
    noise = torch.randn((B, K, code.mean.shape[1]), generator=generator)
    latent = torch.cat([code.mean.unsqueeze(1), code.mean.unsqueeze(1) + spread * noise], dim=1)
    predicted = block.continue_clip(latent, code.tokens, hands.frames, vector, known).flatten(0, 1)
    rotation, translation = pose_vector.last_palm(encoded.palms)
    size = pose_vector.observed_hand_size(encoded.palms, planar)
    joints = pose_vector.decode(
        predicted,
        rotation.repeat_interleave(K + 1, 0),
        translation.repeat_interleave(K + 1, 0),
        size.repeat_interleave(K + 1, 0),
        planar,
    )
    joints = joints.reshape(B, K + 1, T, 2, 21, 3)
    if block.config.residual:
        joints = go_on_from_last_hand(joints, vector, known & block.usable, encoded.palms, planar)
    return joints


def at_future_times(window: ForecastWindow, observed: PoseSequence, futures: np.ndarray) -> np.ndarray:
    """Predicted joints (K, T, 2, 21, 3) at ``rate`` to the window's own future times, unit and hand: (K, T', 21, 3).

    Before the first predicted frame the last observed pose is the neighbour; after the last one it is held.
    """
    recording, hand = window.recording, window.hand
    seen = np.nonzero(observed.known[:, hand, 0].numpy())[0]
    last = observed.joints[seen[-1] if len(seen) else -1, hand].numpy()
    track = np.concatenate([np.broadcast_to(last, (len(futures), 1, 21, 3)), futures[:, :, hand]], axis=1)
    times = (recording.time[window.future_frames] - observed.time[-1]) * observed.rate
    place = np.clip(times, 0, track.shape[1] - 1)
    left = np.minimum(place.astype(int), track.shape[1] - 2)
    weight = (place - left)[None, :, None, None]
    joints = track[:, left] * (1 - weight) + track[:, left + 1] * weight
    scale = observed.scale.numpy()
    return np.where(scale > 0, joints / np.where(scale > 0, scale, 1.0), 0.0)


def load_ghtt(path: str | Path) -> GHTT:
    """The G-HTT of a checkpoint, in evaluation mode and without gradients; the A-block is absent in a P run's."""
    checkpoint = load_checkpoint(path, "ghtt")
    return with_weights(GHTT(GHTTConfig.from_dict(checkpoint.config["ghtt"])), checkpoint)

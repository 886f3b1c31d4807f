"""Recognition over time: which action the frames up to each moment show.

Letters: F frames of a recording at the model's rate, T frames of a clip, N clips, M moments, D width, L labels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from palmist.inputs.windows import PoseSequence, body_context
from palmist.models.ghtt import GHTT, Clips, ClipSequence, cut_clips
from palmist.models.ghtt_action_block import clip_context
from palmist.models.ghtt_pose_block import clip_features
from palmist.pose_vector import EncodedPose, encode

__all__ = ["ActionCurve", "action_curve", "prefix_lengths"]

#: Moments read at once: bounds the memory of long recordings.
_CHUNK = 64
_MOST_MOMENTS = 300


@dataclass(frozen=True)
class ActionCurve:
    """frames (M,): how many frames each moment has seen; probabilities (M, L); overall (L,) of the whole recording."""

    frames: Tensor
    probabilities: Tensor
    overall: Tensor


def prefix_lengths(frames: int, rate: float, step: float = 0.1, least: int = 4) -> Tensor:
    """How many frames each moment has seen: about one moment every `step` seconds, 300 at most, the last one has all."""
    stride = max(1, round(step * rate), -(-frames // _MOST_MOMENTS))
    return torch.arange(frames, min(least, frames) - 1, -stride).flip(0)


@torch.no_grad()
def action_curve(model: GHTT, sequence: PoseSequence, candidates: Tensor, step: float = 0.1) -> ActionCurve:
    """Recognise a recording from its frames up to each moment (causal), and as a whole.

    Args:
        model: with an A-block.
        sequence: the recording in model space, F frames.
        candidates: (L,) bool, the labels to choose from.
        step: seconds between two moments.

    A moment reads the last 16 clips (the model's longest window) up to it; clips start at the recording's first frame.
    """
    T = model.p.config.clip_length
    assert model.a is not None
    encoded = encode(sequence.joints[None], sequence.known[None], sequence.space)
    context = _context(encoded, sequence) if model.a.context is not None else (None, None)
    clips = cut_clips(encoded, T, space=sequence.space, context=context[0], context_known=context[1])
    code = model.encode_clips(clips)
    features = clip_features(code.mean, code.tokens, clips.frames, model.a.config.pooled_tokens)
    overall = model.recognise_sequence(_windows(model, sequence, encoded, clips, features), candidates).probabilities[0]

    moments = prefix_lengths(len(sequence), sequence.rate, step)
    partial = _encode_partial(model, clips, moments)
    rows = []
    for part in torch.arange(len(moments)).split(_CHUNK):
        one = _up_to(model, sequence, encoded, clips, features[0], partial[part], moments[part])
        rows.append(model.recognise_sequence(one, candidates).probabilities)
    return ActionCurve(moments, torch.cat(rows), overall)


def _encode_partial(model: GHTT, clips: Clips, moments: Tensor) -> Tensor:
    """Mid-level of the clip that each moment cuts short, (M, D)."""
    assert model.a is not None
    T = model.p.config.clip_length
    index = (moments - 1) // T
    frames = torch.arange(T) < (moments - index * T)[:, None]
    means = []
    for part in torch.arange(len(moments)).split(256):
        inside = frames[part]
        code = model.p.encode(clips.vector[0, index[part]], clips.known[0, index[part]] & inside[..., None], inside)
        means.append(clip_features(code.mean, code.tokens, inside, model.a.config.pooled_tokens))
    return torch.cat(means)


def _up_to(
    model: GHTT,
    sequence: PoseSequence,
    encoded: EncodedPose,
    clips: Clips,
    whole: Tensor,
    partial: Tensor,
    moments: Tensor,
) -> ClipSequence:
    """What the A-block reads at each moment: whole clips, the clip that is cut short, and the context so far."""
    assert model.a is not None
    T, most = model.p.config.clip_length, model.a.config.max_clips
    last = (moments - 1) // T  # the clip that is cut short
    count = int(last.max()) + 1
    first = (last + 1 - most).clamp_min(0)  # of the window
    order = first[:, None] + torch.arange(min(count, most))
    valid = order <= last[:, None]
    mid_levels = whole[order.clamp_max(len(whole) - 1)]
    mid_levels = torch.where((order == last[:, None]).unsqueeze(-1), partial[:, None], mid_levels)
    context, known = (None, None)
    if model.a.context is not None:
        frames = (order[..., None] * T + torch.arange(T)).flatten(1)  # (M, N * T)
        inside = frames < moments[:, None]
        body, body_known = _context(encoded, sequence, frames.clamp_max(len(sequence) - 1), inside)
        index = order.clamp_max(len(whole) - 1)
        vector, seen = clips.vector[0, index], clips.known[0, index] & inside.unflatten(1, (-1, T)).unsqueeze(-1)
        parts = (body.unflatten(1, (-1, T)), body_known.unflatten(1, (-1, T)))
        context, known = clip_context(model.a.config, vector, seen, *parts)
    return ClipSequence(mid_levels, valid, order, context=context, context_known=known)


def _windows(model: GHTT, sequence: PoseSequence, encoded: EncodedPose, clips: Clips, means: Tensor) -> ClipSequence:
    """The whole recording; the context of each window of 16 clips is computed from that window alone."""
    assert model.a is not None
    whole = ClipSequence(means, clips.valid, clips.phase)
    if model.a.context is None:
        return whole
    T, count = clips.frames.shape[2], len(sequence)
    length = model.a.config.max_clips * T
    parts = []
    for start in range(0, count, length):
        frames = torch.arange(start, min(start + length, count))[None]
        parts.append(_context(encoded, sequence, frames, torch.ones_like(frames, dtype=torch.bool)))
    padding = clips.frames.shape[1] * T - count
    body = torch.nn.functional.pad(torch.cat([part[0] for part in parts], 1), (0, 0, 0, padding))
    body_known = torch.nn.functional.pad(torch.cat([part[1] for part in parts], 1), (0, padding))
    body, body_known = body.unflatten(1, (-1, T)), body_known.unflatten(1, (-1, T))
    context, known = clip_context(model.a.config, clips.vector, clips.known, body, body_known)
    return whole._replace(context=context, context_known=known)


def _context(
    encoded: EncodedPose, sequence: PoseSequence, frames: Tensor | None = None, inside: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Body context of frames (M, F) of the recording, of which only those `inside` are looked at."""
    if frames is None or inside is None:
        frames = torch.arange(len(sequence))[None]
        inside = torch.ones_like(frames, dtype=torch.bool)
    context, known = body_context(
        sequence.joints[frames],
        sequence.known[frames] & inside[..., None, None],
        encoded.palms.rotation[0, frames],
        encoded.palms.valid[0, frames] & inside[..., None],
        sequence.body[frames],
        sequence.body_known[frames] & inside[..., None],
    )
    return context, known & inside

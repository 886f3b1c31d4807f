"""What G-HTT's test-time flows take and give: an observation cut into clips, its code, sequences of clips, futures.

Letters: B batch, F frames of a recording, T frames of a clip, N clips, M future clips, K futures, H hands (2), D width.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from palmist.pose_vector import EncodedPose, PalmFrames, reset_first_motion


class Clips(NamedTuple):
    """An observation, cut into clips of T frames; rows with fewer clips are padded at the end.

    `palms.valid` is False outside `frames`.  The optional parts are what the A-block's clip-wise token may carry.
    """

    vector: Tensor  # (B, N, T, 153), in every clip the first motion of each hand reset
    known: Tensor  # (B, N, T, 153) bool
    frames: Tensor  # (B, N, T) bool
    palms: PalmFrames  # rotation (B, N, T, 2, 3, 3) and so on
    phase: Tensor  # (B, N) long: clips since the start of the action
    space: str = "metric"
    objects: Tensor | None = None  # (B, N, object_dim)
    objects_known: Tensor | None = None  # (B, N) bool
    context: Tensor | None = None  # (B, N, T, C) body context
    context_known: Tensor | None = None  # (B, N, T) bool

    @property
    def valid(self) -> Tensor:
        """(B, N) bool: clips with at least one frame."""
        return self.frames.any(dim=-1)

    @property
    def planar(self) -> bool:
        return self.space == "planar"

    def last(self) -> Clips:
        """Every row's last valid clip, N = 1."""
        index = last_index(self.valid)
        names = ("vector", "known", "frames", "phase", "objects", "objects_known", "context", "context_known")
        parts = {name: getattr(self, name) for name in names}
        taken: dict[str, Any] = {name: _take(part, index) for name, part in parts.items() if part is not None}
        return self._replace(palms=PalmFrames(*(_take(part, index) for part in self.palms)), **taken)

    def all_palms(self) -> PalmFrames:
        """The palm frames of all clips in a row: rotation (B, N * T, 2, 3, 3) and so on."""
        return PalmFrames(*(part.flatten(1, 2) for part in self.palms))


def last_index(valid: Tensor) -> Tensor:
    """Index of the last True per row, (B, N) bool -> (B,) long; 0 where there is none."""
    order = torch.arange(valid.shape[1], device=valid.device)
    return torch.where(valid, order, torch.zeros_like(order)).amax(dim=1)


def _take(values: Tensor, index: Tensor) -> Tensor:
    """values (B, N, ...) at index (B,) -> (B, 1, ...)."""
    return values[torch.arange(len(index), device=index.device), index].unsqueeze(1)


def cut_clips(
    encoded: EncodedPose,
    clip_length: int = 16,
    *,
    space: str = "metric",
    anchor: str = "start",
    frames: Tensor | None = None,
    first_phase: int = 0,
    context: Tensor | None = None,
    context_known: Tensor | None = None,
) -> Clips:
    """Cut encoded recordings into clips.

    Args:
        encoded: `palmist.pose_vector.encode` of joints (B, F, 2, 21, 3) at the model's rate.
        clip_length: T.
        space: the recordings' space, "metric", "image" or "planar".
        anchor: "start" begins the first clip at the first frame and leaves the last one partly empty (recognition of a
            whole action); "end" ends the last clip at the last frame and leaves the first one partly empty
            (prediction).
        frames: (B, F) bool, the frames that a row has; they come first.  All if absent.
        first_phase: number of clips between the start of the action and the first clip.
        context: (B, F, C) body context, with context_known (B, F) bool.

    Returns:
        N = ceil(F / T) clips.  A partly empty clip holds its frames in front, as in training.

    Example:
        >>> from palmist.pose_vector import encode
        >>> hands = encode(torch.randn(1, 40, 2, 21, 3) * 0.05, torch.ones(1, 40, 2, 21, dtype=torch.bool))
        >>> cut_clips(hands, anchor="end").frames.sum(-1)
        tensor([[ 8, 16, 16]])
    """
    B, F = encoded.vector.shape[:2]
    device, T = encoded.vector.device, clip_length
    lengths = torch.full((B,), F, device=device) if frames is None else frames.sum(dim=1)
    clip, step = torch.arange(-(-F // T), device=device), torch.arange(T, device=device)
    rest = lengths % T if anchor == "end" else torch.zeros_like(lengths)  # (B,) frames of a short first clip
    short = (rest > 0).unsqueeze(1) & (clip == 0)  # (B, N)
    start = clip * T - torch.where(rest > 0, T - rest, rest).unsqueeze(1)
    start = start.clamp_min(0)
    stop = torch.where(short, rest.unsqueeze(1), start + T).minimum(lengths.unsqueeze(1))
    index = start.unsqueeze(2) + step  # (B, N, T)
    inside = index < stop.unsqueeze(2)
    index = index.minimum((stop - 1).clamp_min(0).unsqueeze(2)).clamp_max(F - 1)
    row = torch.arange(B, device=device)[:, None, None]

    def cut(values: Tensor) -> Tensor:
        return values[row, index]

    palms = PalmFrames(*(cut(part) for part in encoded.palms))
    palms = palms._replace(valid=palms.valid & inside.unsqueeze(-1))
    known = cut(encoded.known) & inside.unsqueeze(-1)
    vector, known = reset_first_motion(cut(encoded.vector), known, palms.valid)
    return Clips(
        vector,
        known,
        inside,
        palms,
        (first_phase + clip).expand(B, -1),
        space,
        context=None if context is None else cut(context),
        context_known=None if context_known is None else cut(context_known) & inside,
    )


class EncodedClips(NamedTuple):
    """The P-block's code of every clip."""

    mean: Tensor  # (B, N, D) of the mid-level m
    log_variance: Tensor  # (B, N, D)
    tokens: Tensor  # (B, N, T, D)
    refined: Tensor  # (B, N, T, 153), before the trajectory consistency step


class ClipSequence(NamedTuple):
    """What the A-block reads: small enough to be kept while a stream goes on."""

    mid_levels: Tensor  # (B, N, D)
    valid: Tensor  # (B, N) bool
    phase: Tensor  # (B, N) long
    objects: Tensor | None = None  # (B, N, object_dim)
    objects_known: Tensor | None = None  # (B, N) bool
    context: Tensor | None = None  # (B, N, T, C), see `clip_context` of the A-block
    context_known: Tensor | None = None  # (B, N, T, C) bool
    encoded_context: Tensor | None = None  # (B, N, D) instead of the two

    def slice(self, start: int, stop: int | None = None) -> ClipSequence:
        """Clips start..stop."""
        return ClipSequence._make(None if part is None else part[:, start:stop] for part in self)

    def followed_by(self, other: ClipSequence) -> ClipSequence:
        """Both, one after the other; an optional part is kept if both have it."""
        pairs = zip(self, other, strict=True)
        return ClipSequence._make(None if a is None or b is None else torch.cat((a, b), dim=1) for a, b in pairs)


class Refined(NamedTuple):
    """Refined hands, clip by clip."""

    vector: Tensor  # (B, N, T, 153), after the trajectory consistency step
    joints: Tensor  # (B, N, T, 2, 21, 3) in the observation's (pseudo-)metres
    valid: Tensor  # (B, N, T, 2) bool


class Recognition(NamedTuple):
    """Which action it is."""

    probabilities: Tensor  # (B, L), they sum to 1
    label: Tensor  # (B,) long, the most probable one


class Futures(NamedTuple):
    """K possible continuations of F = 16 M frames."""

    joints: Tensor  # (B, K, F, 2, 21, 3) in the observation's (pseudo-)metres
    valid: Tensor  # (B, 2) bool: hands that the last observed clip shows; the others' joints mean nothing
    most_likely: Tensor  # (B,) long: the medoid of the K futures
    vector: Tensor  # (B, K, F, 153), motions accumulate from the last observed frame
    mid_levels: Tensor  # (B, K, M, D): what each future clip was decoded from


class LatestReading(NamedTuple):
    """One step of a stream."""

    refined: Refined  # of the latest clip
    recognition: Recognition | None
    futures: Futures
    sequence: ClipSequence  # past and latest clip; hand it back as `past` once the latest clip has ended

"""Labelled recordings as the A-block sees them: sequences of clips with mid-levels of a frozen P-block.

The specification computes mid-levels once per recording and adds Gaussian noise to them. Here they are computed anew for
each batch from *augmented* joints (deviation: with three signers the noise alone does not carry over to a fourth), which
`AugmentConfig` can switch off.

Letters: B batch, T frames of a clip, F frames of a recording, N clips, D width of mid-levels, L labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from palmist.errors import InputError
from palmist.inputs.augment import AugmentConfig, HandBatch, augment, make_unsigned
from palmist.inputs.windows import PoseSequence, body_context
from palmist.models.ghtt_action_block import ABlockConfig, clip_context
from palmist.models.ghtt_pose_block import PBlock, clip_features
from palmist.pose_vector import encode, reset_first_motion

CLIP_LENGTH = 16  # frames that crops and phases are counted in where there is no P-block

__all__ = ["ActionDataset", "ActionGroup", "ClipTokens", "HandStore", "clip_tokens", "pad_sequences"]


class ClipTokens(NamedTuple):
    """Per clip: mid-level mean (B, N, D), which clips exist (B, N), context and known (B, N, T, C) (`clip_context`)."""

    mid_levels: Tensor
    clips: Tensor
    context: Tensor | None
    context_known: Tensor | None
    width: int  # of a mid-level alone, without the pooled tokens


def pad_sequences(sequences: Sequence[PoseSequence], frames: int | None = None) -> HandBatch:
    """Stack sequences of different lengths; padding knows nothing."""
    longest = max(len(sequence) for sequence in sequences) if frames is None else frames

    def stack(name: str) -> Tensor:
        parts = [getattr(sequence, name)[:longest] for sequence in sequences]
        return torch.stack([F.pad(part, [0, 0] * (part.dim() - 1) + [0, longest - len(part)]) for part in parts])

    length = torch.tensor([min(len(sequence), longest) for sequence in sequences])
    inside = torch.arange(longest) < length[:, None]
    return HandBatch(stack("joints"), stack("known"), stack("body"), stack("body_known"), inside)


class HandStore:
    """Sequences of different lengths side by side in memory; `rows` pads those that are asked for to the longest of all."""

    def __init__(self, sequences: Sequence[PoseSequence]) -> None:
        lengths = torch.tensor([len(sequence) for sequence in sequences])
        self.length = lengths
        self.offset = lengths.cumsum(0) - lengths
        self.longest = int(lengths.max())
        self.joints, self.known, self.body, self.body_known = (
            torch.cat([getattr(sequence, name) for sequence in sequences]) for name in ("joints", "known", "body", "body_known")
        )

    def rows(self, index: Tensor) -> HandBatch:
        """The sequences `index` (N,) long, as `pad_sequences` of them all would hold them."""
        step = torch.arange(self.longest)
        inside = step < self.length[index, None]
        place = (self.offset[index, None] + step).clamp_max(len(self.joints) - 1)

        def take(values: Tensor) -> Tensor:
            mask = inside.reshape(*inside.shape, *([1] * (values.dim() - 1)))
            return torch.where(mask, values[place], torch.zeros((), dtype=values.dtype))

        return HandBatch(take(self.joints), take(self.known), take(self.body), take(self.body_known), inside)


def clip_tokens(batch: HandBatch, space: str, block: PBlock, config: ABlockConfig) -> ClipTokens:
    """Cut recordings into clips of the P-block's length and encode each; the last clip may be partial.

    ``config`` is that of the A-block which will read them: it says what belongs to a clip's tokens.
    """
    T = block.config.clip_length
    B, frames = batch.frames.shape
    pad = -frames % T
    known = batch.known & batch.frames[..., None, None]
    encoded = encode(batch.joints, known, space)
    context, context_known = body_context(
        batch.joints, known, encoded.palms.rotation, encoded.palms.valid, batch.body, batch.body_known
    )
    count = (frames + pad) // T

    def cut(values: Tensor) -> Tensor:
        tail = [0, 0] * (values.dim() - 2) + [0, pad]
        return F.pad(values, tail).reshape(B * count, T, *values.shape[2:])

    inside = cut(batch.frames)
    vector, vector_known = reset_first_motion(cut(encoded.vector), cut(encoded.known), cut(encoded.palms.valid))
    with torch.no_grad():
        code = block.encode(vector, vector_known, inside)
        mean = clip_features(code.mean, code.tokens, inside, config.pooled_tokens)
    clips = inside.reshape(B, count, T).any(-1)
    companion, companion_known = clip_context(config, vector, vector_known, cut(context), cut(context_known & batch.frames))
    return ClipTokens(
        mean.reshape(B, count, -1),
        clips,
        None if companion is None else companion.unflatten(0, (B, count)),
        None if companion_known is None else companion_known.unflatten(0, (B, count)),
        block.config.width,
    )


@dataclass
class ActionGroup:
    """Recordings of one taxonomy and one space.

    Attributes:
        hands: the recordings. label: (N,) row of the label table, -1 unlabelled. candidates: (L,) bool, the taxonomy.
        share: chance that a batch comes from this group.
        unsigned_label: row for synthetic recordings without a sign (`make_unsigned`), None for none.
    """

    name: str
    hands: HandBatch | HandStore
    label: Tensor
    candidates: Tensor
    space: str
    share: float = 1.0
    unsigned_label: int | None = None
    unsigned_share: float = 0.08
    augment: AugmentConfig = field(default_factory=AugmentConfig)

    def row_weights(self) -> Tensor:
        """Every label has the same chance, and within it every recording."""
        counts = torch.bincount(self.label.clamp_min(0), minlength=len(self.candidates)).clamp_min(1)
        return (self.label >= 0).double() / counts[self.label.clamp_min(0)]


class ActionDataset:
    """A-block batches, one group at a time; the group and its rows are drawn from the batch's generator.

    ``indices`` only say how many rows are wanted: recordings are drawn with the same chance for each label.
    """

    def __init__(
        self,
        groups: Sequence[ActionGroup],
        block: PBlock | None,
        use_augmentation: bool = True,
        whole_probability: float = 0.5,
        max_clips: int = 8,
        config: ABlockConfig | None = None,
    ) -> None:
        self.config = config or ABlockConfig(body_context=True)
        self.groups, self.block, self.use_augmentation = list(groups), block, use_augmentation
        self.clip_length = CLIP_LENGTH if block is None else block.config.clip_length
        self.whole_probability, self.max_clips = whole_probability, max_clips
        self.shares = torch.tensor([group.share for group in groups], dtype=torch.float64)
        self.rows = [group.row_weights() for group in groups]

    def __len__(self) -> int:
        return sum(int((group.label >= 0).sum()) for group in self.groups)

    def batch(self, indices: np.ndarray, generator: torch.Generator) -> dict[str, Tensor]:
        """An A-block batch, see `palmist.models.ghtt_action_block.ABlock.loss`."""
        number = int(torch.multinomial(self.shares, 1, generator=generator))
        group = self.groups[number]
        rows = torch.multinomial(self.rows[number], len(indices), replacement=True, generator=generator)
        return self._of_rows(group, rows, generator)

    def _of_rows(self, group: ActionGroup, rows: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        hands, label = group.hands.rows(rows), group.label[rows].clone()
        if group.unsigned_label is not None and self.use_augmentation:
            count = max(1, round(group.unsigned_share * len(rows)))
            others = rows[torch.randperm(len(rows), generator=generator)[:count]]
            without = make_unsigned(hands.rows(torch.arange(count)), group.hands.rows(others), generator)
            hands = HandBatch(
                *(torch.cat([getattr(without, n), getattr(hands, n)[count:]]) for n in hands.__dataclass_fields__)
            )
            label[:count] = group.unsigned_label
        if self.use_augmentation:
            hands = augment(hands, group.augment, generator, planar=group.space == "planar")
        hands, start = self._crop(hands, generator)
        return self._finish(hands, start, label, group, generator)

    def _finish(
        self, hands: HandBatch, start: Tensor, label: Tensor, group: ActionGroup, generator: torch.Generator
    ) -> dict[str, Tensor]:
        if self.block is None:
            raise InputError("this dataset has no P-block; clips need one")
        tokens = clip_tokens(hands, group.space, self.block, self.config)
        return self._split(tokens, start, label, group, generator)

    def _crop(self, hands: HandBatch, generator: torch.Generator) -> tuple[HandBatch, Tensor]:
        """A random part: the whole recording, or from a random start in its first 40 % on; at most ``max_clips``."""
        B, frames = hands.frames.shape
        length = hands.frames.sum(1)
        most = self.max_clips * self.clip_length
        latest = (0.4 * length).long()
        latest = torch.where(length > most, length - most, latest)
        start = (torch.rand(B, generator=generator) * (latest + 1)).long()
        whole = (torch.rand(B, generator=generator) < self.whole_probability) & (length <= most)
        start = torch.where(whole, torch.zeros_like(start), start)
        index = start[:, None] + torch.arange(min(frames, most))
        inside = index < length[:, None]
        rows = torch.arange(B)[:, None]
        index = index.clamp_max(frames - 1)
        cut = (getattr(hands, name)[rows, index] for name in ("joints", "known", "body", "body_known"))
        joints, known, body, body_known = cut
        return HandBatch(joints, known, body, body_known, inside), start

    def _split(
        self, tokens: ClipTokens, start: Tensor, label: Tensor, group: ActionGroup, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Observed and future clips: all observed, or a uniform number of them (specification, 6.6)."""
        B, N = tokens.clips.shape
        total = tokens.clips.sum(1).clamp_min(1)
        observed = (torch.rand(B, generator=generator) * total).long() + 1
        everything = torch.rand(B, generator=generator) < self.whole_probability
        observed = torch.where(everything, total, observed)
        order = torch.arange(N)
        phase = start[:, None] // self.clip_length + order
        ahead = (observed[:, None] + order).clamp_max(N - 1)
        future = (observed[:, None] + order) < total[:, None]
        most = max(1, int((total - observed).max()))
        rows = torch.arange(B)[:, None]
        batch = {
            "mid_levels": tokens.mid_levels,
            "clips": order < observed[:, None],
            "phase": phase,
            "future_mid_levels": tokens.mid_levels[rows, ahead][:, :most, : tokens.width],
            "future_clips": future[:, :most],
            "future_phase": phase[rows, ahead][:, :most],
            "label": label,
            "candidates": group.candidates.expand(B, -1),
        }
        if tokens.context is not None and tokens.context_known is not None:
            batch["context"], batch["context_known"] = tokens.context, tokens.context_known
        return batch


def as_json(group: ActionGroup, labels: Sequence[str]) -> dict[str, Any]:
    """What a checkpoint tells of a taxonomy: its labels, and to which recordings it belongs."""
    names = [labels[i] for i in torch.nonzero(group.candidates).flatten().tolist()]
    return {"labels": names, "space": group.space, "body": bool(group.hands.body_known.any())}

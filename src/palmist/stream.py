"""Streams: frames are read as they come, each at the same cost however long the stream has run.

A ring buffer holds the latest clip; the mid-levels of at most 15 clips before it are kept, never their frames. A step
refines the latest frame, recognises the action so far and samples futures.

Letters: T frames of a clip, K futures, H hands (2), L labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from palmist.errors import InputError
from palmist.models.ghtt import ClipSequence, cut_clips
from palmist.pose_vector import encode
from palmist.windows import BODY_POINTS, body_context

if TYPE_CHECKING:
    from palmist.reader import Reader

__all__ = ["Stream", "StreamStep"]


@dataclass(frozen=True, eq=False)
class StreamStep:
    """What one frame brought. Units and frame are those of the pushed joints, metres.

    time: seconds; refined (2, 21, 3) and valid (2,): the latest frame; probabilities (L,) with labels, label: the action
    so far (None without an A-block); futures (K, T, 2, 21, 3): the next clip; most_likely: one of the K.
    """

    time: float
    refined: np.ndarray
    valid: np.ndarray
    label: str | None
    probabilities: np.ndarray
    futures: np.ndarray
    most_likely: int


class Stream:
    """Reads hands frame by frame; make one with `Reader.stream`.

    Args:
        reader: the model.
        rate: frames per second of what is pushed; must be the model's rate (resample other cameras before).
        futures: K. factor: sampling factor. seed: of the samples. space: of the joints ("metric" or "image", in metres
            or pseudo-metres with hands of about 90 mm).
        labels: a taxonomy's name, or None for all labels.

    Example:
        >>> stream = palmist.load().stream(rate=30.0)
        >>> step = stream.push(joints, known, time)
    """

    def __init__(
        self,
        reader: Reader,
        rate: float = 30.0,
        futures: int = 20,
        factor: float = 5.0,
        seed: int = 0,
        space: str = "metric",
        labels: str | None = None,
    ) -> None:
        self.model, self.space, self.futures, self.factor = reader.model, space, futures, factor
        expected = self.model.p.config.rate
        if abs(rate - expected) > 0.01 * expected:
            raise InputError(f"the stream has {rate:g} frames/s, the model reads {expected:g}; push frames at that rate")
        if labels is not None and labels not in reader.taxonomies:
            known = ", ".join(reader.taxonomies) or "none"
            raise InputError(f"{reader.name} has no taxonomy '{labels}'; it has {known}")
        wanted = set(reader.taxonomies[labels]["labels"]) if labels is not None else set(reader.labels)
        self._candidates = torch.tensor([name in wanted for name in reader.labels], dtype=torch.bool)
        self._labels = tuple(name for name in reader.labels if name in wanted)
        self._generator = torch.Generator().manual_seed(seed)
        length = self.model.p.config.clip_length
        self._joints, self._known = torch.zeros(length, 2, 21, 3), torch.zeros(length, 2, 21, dtype=torch.bool)
        self._body = torch.zeros(length, len(BODY_POINTS), 3)
        self._body_known = torch.zeros(length, len(BODY_POINTS), dtype=torch.bool)
        self._count = 0  # frames in the ring
        self._clips_before = 0
        self._past: ClipSequence | None = None
        self._time = -np.inf

    def push(
        self,
        joints: np.ndarray,
        known: np.ndarray,
        time: float,
        body: np.ndarray | None = None,
        body_known: np.ndarray | None = None,
    ) -> StreamStep:
        """Read one more frame.

        Args:
            joints: (2, 21, 3) metres; known: (2, 21) bool. time: seconds, later than the frame before.
            body: (7, 3) `palmist.windows.BODY_POINTS`, same unit, with body_known (7,) bool.

        Raises:
            InputError: wrong shapes, or a time that does not increase.
        """
        if np.shape(joints) != (2, 21, 3) or np.shape(known) != (2, 21):
            raise InputError(
                f"a frame has joints {np.shape(joints)} and known {np.shape(known)}; expected (2, 21, 3) and (2, 21)"
            )
        if not time > self._time:
            raise InputError(f"the frame's time {time} s is not later than the one before ({self._time} s); push in order")
        self._time = time
        if self._count == len(self._joints):
            self._close_clip()
        index = self._count
        flags = torch.as_tensor(np.asarray(known, bool) & np.isfinite(joints).all(-1))
        self._joints[index] = torch.where(flags.unsqueeze(-1), torch.as_tensor(np.asarray(joints, np.float32)), 0.0)
        self._known[index] = flags
        self._body_known[index] = False if body_known is None else torch.as_tensor(body_known)
        self._body[index] = 0.0 if body is None else torch.as_tensor(np.asarray(body, np.float32))
        self._count += 1
        return self._read()

    def _close_clip(self) -> None:
        """The latest clip is full: keep its mid-level and start a new one."""
        self._past = self._sequence
        limit = 1 if self.model.a is None else self.model.a.config.max_clips - 1
        self._past = self._past.slice(max(0, self._past.valid.shape[1] - limit))
        self._clips_before += 1
        self._count = 0

    @torch.inference_mode()
    def _read(self) -> StreamStep:
        count = self._count
        joints, known = self._joints[None, :count], self._known[None, :count]
        code = encode(joints, known, self.space)
        context: tuple[Tensor, Tensor] | tuple[None, None] = (None, None)
        if self.model.a is not None and self.model.a.context is not None:
            palms = code.palms
            body = (self._body[None, :count], self._body_known[None, :count])
            context = body_context(joints, known, palms.rotation, palms.valid, *body)
        clip = cut_clips(
            code, len(self._joints), space=self.space, first_phase=self._clips_before,
            context=context[0], context_known=context[1],
        )  # fmt: skip
        latest = self.model.read_latest(
            clip, self._past, futures=self.futures, factor=self.factor, generator=self._generator,
            candidates=self._candidates if len(self._candidates) else None,
        )  # fmt: skip
        self._sequence = latest.sequence
        label, shares = None, np.zeros(0)
        if latest.recognition is not None and self._labels:
            shares = latest.recognition.probabilities[0, self._candidates].numpy().astype(np.float64)
            label = self._labels[int(shares.argmax())]
        valid = latest.refined.valid[0, 0, count - 1]
        refined = torch.where(valid[:, None, None], latest.refined.joints[0, 0, count - 1], 0.0)
        return StreamStep(
            self._time, refined.numpy(), valid.numpy(), label, shares, latest.futures.joints[0].numpy(),
            int(latest.futures.most_likely[0]),
        )  # fmt: skip

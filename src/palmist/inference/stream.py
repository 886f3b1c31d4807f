"""Streams: frames are read as they come, each at the same cost however long the stream has run.

A step looks at the latest clip (the model's 16 frames, which end at the newest one) and, for the action, at the clips
before it: their mid-levels were kept when they were the latest ones, so that only one clip is encoded per step. Frames
are kept for one clip, mid-levels for `memory` seconds.

Letters: T frames of a clip, K futures, H hands (2), L labels, N clips, P body points (7).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from palmist.errors import InputError
from palmist.inputs.windows import BODY_POINTS, REFERENCE_HAND_SIZE, body_context, resample
from palmist.models.ghtt import Clips, ClipSequence, cut_clips
from palmist.models.ghtt_flows import TEST_FACTOR
from palmist.models.ghtt_pose_block import neutral_vector
from palmist.pose_vector import LEFT_MOTION, PalmFrames, decode, encode, hand_sizes, mean_hand_size
from palmist.recording import SPACES

if TYPE_CHECKING:
    from palmist.reader import Reader

__all__ = ["Stream", "StreamStep"]

_SLOWEST, _FASTEST = 10.0, 1000.0  # frames per second
_SIZES_KEPT = 64


@dataclass(frozen=True, eq=False)
class StreamStep:
    """What one frame brought, in the unit and frame of the pushed joints.

    time: seconds; refined (2, 21, 3), known (2, 21) bool: the frame itself, unknown entries are 0; label: the action so
    far, None without an A-block, with probabilities (L,) of `Stream.labels`; futures (K, T, 2, 21, 3): the next clip at
    futures_time (T,); futures_valid (2,): hands that the latest clip shows; most_likely: one of the K.
    """

    time: float
    refined: np.ndarray
    known: np.ndarray
    label: str | None
    probabilities: np.ndarray
    futures: np.ndarray
    futures_time: np.ndarray
    futures_valid: np.ndarray
    most_likely: int

    @property
    def valid(self) -> np.ndarray:
        """(2,) bool: the hand was seen in this frame."""
        return np.asarray(self.known[:, 0])


class _Frame(NamedTuple):
    """One pushed frame, in model space."""

    joints: np.ndarray  # (2, 21, 3)
    known: np.ndarray  # (2, 21)
    body: np.ndarray  # (P, 3)
    body_known: np.ndarray  # (P,)


class Stream:
    """Reads hands frame by frame; make one with `Reader.stream`.

    Args:
        reader: the model.
        rate: frames per second of what is pushed, 10 to 1000; other rates than the model's are resampled.
        futures: K. factor: sampling factor. seed: of the samples.
        space: of the joints, as in Recording: "metric" (metres), "image" or "planar"; aspect: image width / height.
        labels: a taxonomy's name, a list of your own labels, or None: the taxonomies of this space, else all labels.
        memory: seconds that the action is recognised from, at least one clip.

    Attributes:
        labels: L names.

    Example:
        >>> stream = palmist.load().stream(rate=30.0)
        >>> step = stream.push(joints, known, time)     # (2, 21, 3), (2, 21), seconds
        >>> step.label, step.futures.shape
        ('coffee', (20, 16, 2, 21, 3))
    """

    def __init__(
        self,
        reader: Reader,
        rate: float = 30.0,
        futures: int = 20,
        factor: float = TEST_FACTOR,
        seed: int = 0,
        space: str = "metric",
        aspect: float | None = None,
        labels: str | Sequence[str] | None = None,
        memory: float = 3.2,
    ) -> None:
        if space not in SPACES:
            raise InputError(f"space is {space!r}; expected one of {', '.join(SPACES)}")
        if not _SLOWEST <= rate <= _FASTEST:
            raise InputError(f"the stream has {rate:g} frames/s; expected {_SLOWEST:g} to {_FASTEST:g}")
        if futures < 0 or not factor >= 0 or not memory >= 0:
            raise InputError(f"futures {futures}, factor {factor} and memory {memory} must be 0 or more")
        self.model, self.labels, self._candidates = reader.label_choice(space, None, labels)
        self.space, self.futures, self.factor = space, futures, factor
        self._generator = torch.Generator().manual_seed(seed)
        self._rate = self.model.p.config.rate
        T = self.model.p.config.clip_length
        self._clip_seconds = T / self._rate
        longest = 1 if self.model.a is None else self.model.a.config.max_clips
        self._clips = min(longest, max(1, round(memory / self._clip_seconds)))
        width = (aspect or 1.0) if space == "image" else 1.0
        self._stretch = np.array([width, 1.0, {"metric": 1.0, "image": width, "planar": 0.0}[space]], np.float32)
        self._sizes: deque[float] = deque(maxlen=_SIZES_KEPT)
        # A frame more than a clip lasts, so that its first moment lies between two.
        self._frames: deque[_Frame] = deque(maxlen=int(np.ceil(self._clip_seconds * rate)) + 2)
        self._times: deque[float] = deque(maxlen=self._frames.maxlen)
        self._past: deque[tuple[float, ClipSequence]] = deque(maxlen=int(self._clips * self._clip_seconds * rate) + 2)
        self._tolerance = 0.6 / min(rate, self._rate)

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
            joints: (2, 21, 3) in the stream's space; known: (2, 21) bool. NaN is unknown. A hand without its wrist is
                not seen. time: seconds, later than the frame before.
            body: (7, 3) `palmist.inputs.windows.BODY_POINTS` in the same space, with body_known (7,) bool.

        Raises:
            InputError: wrong shapes, or a time that does not increase.
        """
        frame = self._check(joints, known, time, body, body_known)
        self._frames.append(frame)
        self._times.append(time)
        return self._read()

    def _check(
        self, joints: np.ndarray, known: np.ndarray, time: float, body: np.ndarray | None, body_known: np.ndarray | None
    ) -> _Frame:
        if np.shape(joints) != (2, 21, 3) or np.shape(known) != (2, 21):
            raise InputError(
                f"a frame has joints {np.shape(joints)} and known {np.shape(known)}; expected (2, 21, 3) and (2, 21)"
            )
        points = len(BODY_POINTS)
        if body is not None:
            flags = np.zeros(0) if body_known is None else body_known
            if np.shape(body) != (points, 3) or np.shape(flags) != (points,):
                raise InputError(
                    f"a body has shape {np.shape(body)} and body_known {np.shape(flags)}; expected ({points}, 3) and "
                    f"({points},): {', '.join(BODY_POINTS)}"
                )
        if not np.isfinite(time) or (self._times and not time > self._times[-1]):
            before = f"the one before ({self._times[-1]} s)" if self._times else "the start"
            raise InputError(f"the frame's time {time} s is not later than {before}; push frames in order")
        hands, seen = _masked(joints, known)
        seen = seen & seen[:, :1]
        if body is None or body_known is None:
            return _Frame(hands, seen, np.zeros((points, 3), np.float32), np.zeros(points, bool))
        return _Frame(hands, seen, *_masked(body, body_known))

    def _scale(self) -> np.ndarray:
        """(3,) to model space, from the hand sizes of the latest frames: nothing of the future, nothing of long ago."""
        if self.space == "metric":
            return self._stretch
        newest = self._frames[-1]
        sizes, valid = hand_sizes(torch.from_numpy(newest.joints * self._stretch), torch.from_numpy(newest.known))
        self._sizes.extend(sizes[valid & (sizes > 0)].tolist())
        return self._stretch * np.float32(REFERENCE_HAND_SIZE / np.median(self._sizes)) if self._sizes else self._stretch

    def _latest_clip(self, scale: np.ndarray) -> Clips:
        """The latest T moments of the model's clock that the kept frames cover; the newest frame is the last one."""
        T = self.model.p.config.clip_length
        times = np.array(self._times)
        count = min(T, int((times[-1] - times[0]) * self._rate + 1e-3) + 1)
        grid = times[-1] - np.arange(count)[::-1] / self._rate
        joints, known, body, body_known = (np.stack(part) for part in zip(*self._frames, strict=True))
        hands, hands_known = (torch.from_numpy(part)[None] for part in resample(times, joints * scale, known, grid))
        encoded = encode(hands, hands_known, self.space)
        context = context_known = None
        if self.model.a is not None and self.model.a.context is not None:
            points = (torch.from_numpy(part)[None] for part in resample(times, body * scale, body_known, grid))
            context, context_known = body_context(hands, hands_known, encoded.palms.rotation, encoded.palms.valid, *points)
        return cut_clips(encoded, T, space=self.space, context=context, context_known=context_known)

    @torch.inference_mode()
    def _read(self) -> StreamStep:
        model, now = self.model, self._times[-1]
        scale = self._scale()
        clip = self._latest_clip(scale)
        code = model.encode_clips(clip)
        latest = model.clip_sequence(clip, code)
        sequence = _joined([*self._before(now), latest])
        self._past.append((now, latest))
        label, shares = None, np.zeros(0)
        if model.a is not None and self.labels:
            found = model.recognise_sequence(sequence, self._candidates).probabilities[0, self._candidates]
            shares = found.numpy().astype(np.float64)
            label = self.labels[int(shares.argmax())]
        inverse = np.where(scale > 0, 1 / np.where(scale > 0, scale, 1), 0).astype(np.float32)
        known = self._frames[-1].known & self._usable
        hands = np.where(known[..., None], self._refined(clip, code.refined) * inverse, 0)
        T = model.p.config.clip_length
        futures, valid, most_likely = np.zeros((self.futures, T, 2, 21, 3), np.float32), np.zeros(2, bool), 0
        if self.futures:
            ahead = model.predict_long(clip, 1, self.futures, self.factor, self._generator, code=code)
            valid, most_likely = ahead.valid[0].numpy(), int(ahead.most_likely[0])
            futures = np.where(valid[:, None, None], ahead.joints[0].numpy() * inverse, 0)
        return StreamStep(now, hands, known, label, shares, futures, now + np.arange(1, T + 1) / self._rate, valid, most_likely)

    def _refined(self, clip: Clips, vector: torch.Tensor) -> np.ndarray:
        """The newest frame refined, (2, 21, 3) in model space.

        The trajectory consistency step (`TestTimeFlows.refine`) leaves the last frame at its observed palm pose, so it
        is decoded from there, without the frames before it.
        """
        last = int(clip.frames[0, 0].sum()) - 1
        palms = PalmFrames(*(part[0, 0, last] for part in clip.palms))
        size = palms.size if self.space != "metric" else mean_hand_size(clip.all_palms())[0]
        still = torch.cat((vector[0, 0, last, : LEFT_MOTION.start], neutral_vector()[LEFT_MOTION.start :]))
        joints = decode(still[None], palms.rotation, palms.translation, size, clip.planar)[0]
        return joints.numpy()

    @property
    def _usable(self) -> np.ndarray:
        usable = np.ones(21, bool)
        usable[1] = not self.model.p.config.drop_thumb_cmc
        return usable

    def _before(self, now: float) -> list[ClipSequence]:
        """The clips that ended one, two, ... clip lengths ago, oldest first; a pause in the stream ends the search."""
        found: list[ClipSequence] = []
        kept: Iterator[tuple[float, ClipSequence]] = reversed(self._past)
        entry = next(kept, None)
        for number in range(1, self._clips):
            wanted = now - number * self._clip_seconds
            while entry is not None and entry[0] > wanted + self._tolerance:
                entry = next(kept, None)
            if entry is None or entry[0] < wanted - self._tolerance:
                break
            best = entry
            following = next(kept, None)  # the nearest of those within reach
            while following is not None and abs(following[0] - wanted) < abs(best[0] - wanted):
                best, following = following, next(kept, None)
            found.append(best[1])
            entry = following
        return found[::-1]


def _masked(values: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """float32 with 0 wherever an entry is unknown or not finite, and the mask."""
    numbers = np.asarray(values, np.float32)
    mask = np.asarray(known, bool) & np.isfinite(numbers).all(-1)
    return np.where(mask[..., None], numbers, 0), mask


def _joined(clips: Sequence[ClipSequence]) -> ClipSequence:
    """One after the other, with the phase counted from the first: a stream has no start of the action."""
    parts = zip(*clips, strict=True)
    joined = ClipSequence._make(None if part[0] is None else torch.cat(part, dim=1) for part in parts)
    return joined._replace(phase=torch.arange(len(clips))[None])

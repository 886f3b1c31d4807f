"""Reader: a source in, Readings out; whole recordings here, streams in `palmist.inference.stream`.

>>> import palmist
>>> reader = palmist.load("ghtt-small")
>>> reading = reader.read("coffee.npz", futures=20, horizon=1.0)
>>> reading.label
'coffee'
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import torch
from torch import Tensor

from palmist.checkpoint import load_checkpoint, with_weights
from palmist.errors import InputError
from palmist.files.input_files import damage_named
from palmist.inference.action_curve import action_curve
from palmist.inference.recogniser import RECOGNISERS, Recogniser, choose_labels, recognise_over_time
from palmist.inputs.windows import PoseSequence, body_context, resample, to_pose_sequence
from palmist.model_zoo import DEFAULT_MODEL, checkpoint_path
from palmist.models.ghtt import GHTT, Clips, Futures, GHTTConfig, cut_clips
from palmist.models.ghtt_clips import EncodedClips
from palmist.pose_vector import encode, mean_hand_size
from palmist.reading import Reading
from palmist.recording import Recording
from palmist.store import Store, open_source

if TYPE_CHECKING:
    from palmist.inference.live import LiveStep
    from palmist.inference.stream import Stream
    from palmist.perception.detection import HandTracker

__all__ = ["Reader", "load"]

Labels = str | Sequence[str] | None
Source = Recording | Store | str | Path
Frames = Iterable[tuple[np.ndarray, float]]
#: The longest future: the paper's horizon is 96 frames (3.2 s).
LONGEST_HORIZON = 60.0


def load(name_or_path: str | Path = DEFAULT_MODEL) -> Reader:
    """A Reader with the weights of a checkpoint.

    Args:
        name_or_path: a model that `palmist models` lists, or the folder of a checkpoint.

    Raises:
        InputError: no such checkpoint; it is damaged; a tensor is missing or of a wrong shape (named).

    Example:
        >>> reader = palmist.load("ghtt-small")
    """
    path = checkpoint_path(name_or_path)
    checkpoint = load_checkpoint(path)
    config = checkpoint.config
    name = str(name_or_path) if str(name_or_path) == path.name else "/".join(path.parts[-2:])
    if config.get("model") in RECOGNISERS:
        poses = load(DEFAULT_MODEL)
        return Reader(poses.model, name, recogniser=RECOGNISERS[config["model"]](checkpoint, path))
    if config.get("model") != "ghtt" or not isinstance(config.get("ghtt"), dict):
        raise InputError(
            f"{path} holds a model of kind {config.get('model')!r}; expected a G-HTT checkpoint, such as palmist train "
            f"writes for the tasks ghtt_p and ghtt_a, or one of a recogniser: {', '.join(RECOGNISERS)}"
        )
    with damage_named(path / "config.json", "the settings of a G-HTT"):
        model = GHTT(GHTTConfig.from_dict(config["ghtt"]))
        return Reader(with_weights(model, checkpoint), name, config)


class Reader:
    """Reads recordings with one model: refines the poses, recognises the action, predicts futures.

    Make one with `palmist.load`. It keeps no state between recordings.

    Attributes:
        model: the network; name: of the checkpoint; taxonomies: name -> {"labels", "space", "body"}; recogniser: what
            recognises in the place of the network's A-block, or None.
    """

    def __init__(
        self,
        model: GHTT,
        name: str = "model",
        config: Mapping[str, Any] | None = None,
        recogniser: Recogniser | None = None,
    ) -> None:
        config = config or {}
        self.model, self.name, self.recogniser = model, name, recogniser
        self.taxonomies: Mapping[str, Any] = config.get("taxonomies", {}) if recogniser is None else recogniser.taxonomies
        self.text_encoder: str = config.get("text_encoder", "auto")
        self._with_own_labels: dict[tuple[str, ...], GHTT] = {}

    def __repr__(self) -> str:
        return f"Reader({self.name!r}, {len(self.labels)} labels)"

    @property
    def labels(self) -> tuple[str, ...]:
        """Every label that the model was trained with; empty for a P-block alone."""
        if self.recogniser is not None:
            return self.recogniser.labels
        return () if self.model.a is None else self.model.a.config.labels

    # --------------------------------------------------------------------------------------------------- sources

    def read(
        self,
        source: Source,
        futures: int = 20,
        horizon: float = 1.0,
        observe_until: float | None = None,
        seed: int = 0,
        labels: Labels = None,
        factor: float = 5.0,
    ) -> Reading:
        """Read one recording.

        Args:
            source: a Recording, the path of one (.npz), or a store with a single recording (`read_all` reads more).
            futures: K, how many samples; 0 for none. horizon: seconds ahead.
            observe_until: seconds on the recording's clock; later frames are not looked at, but kept as the truth to
                compare with. None: the whole recording is observed.
            seed: of the samples.
            labels: the name of a taxonomy of the model, a list of your own labels, or None: the taxonomies of the
                recording's space that have a body as the recording does, else all labels.
            factor: sampling factor f; the larger, the more the futures differ (the paper's test time: 5).

        Raises:
            InputError: a wrong source or argument, in one sentence.

        Example:
            >>> reader.read("tea.npz", labels=["tea", "coffee", "water"]).label
            'tea'
        """
        recording = _single(source)
        _check_options(recording, futures, horizon, observe_until, factor)
        watch = _Watch()
        observed = _observed_part(recording, observe_until)
        sequence = to_pose_sequence(observed, self.model.p.config.rate, anchor="end")
        clips = self._clips(sequence)
        watch("prepare")
        code = self.model.encode_clips(clips)
        refined, refined_known = self._refine(observed, sequence, clips, code)
        watch("refine")
        recognised = self._recognise(observed, sequence, labels)
        watch("recognise")
        count = max(0, math.ceil(horizon * sequence.rate - 1e-6))
        predicted = self._predict(observed, sequence, clips, code, (futures, count, seed, factor))
        watch("futures")
        truth = _truth(recording, observed, predicted["futures_time"])
        return Reading(
            recording=observed,
            model=self.name,
            refined=refined,
            refined_known=refined_known,
            scale=sequence.scale.numpy().astype(np.float64),
            hand_size=_hand_size(clips),
            **recognised,
            **predicted,
            **truth,
            timing=watch.total(),
        )

    def read_all(
        self, source: Source | Sequence[Recording], progress: Callable[[Reading], object] | None = None, **options: Any
    ) -> Iterator[Reading]:
        """Read every recording of a store (or list), one after the other; options as in `read`.

        Example:
            >>> readings = list(reader.read_all("stores/asl_words", futures=0))
        """
        for recording in _several(source):
            reading = self.read(recording, **options)
            if progress is not None:
                progress(reading)
            yield reading

    @overload
    def stream(self, source: float = 30.0, *, rate: float | None = None, **options: Any) -> Stream: ...

    @overload
    def stream(
        self, source: Frames, *, rate: float | None = None, tracker: HandTracker | None = None, **options: Any
    ) -> Iterator[LiveStep]: ...

    def stream(
        self,
        source: float | Frames = 30.0,
        *,
        rate: float | None = None,
        tracker: HandTracker | None = None,
        **options: Any,
    ) -> Stream | Iterator[LiveStep]:
        """A stream that is read as it comes: of joints that you push, or of the frames of a video or webcam.

        Args:
            source: frames per second of the joints that will be pushed, see `palmist.inference.stream`; or frames: (image,
                time) pairs such as `palmist.perception.video.open_source` gives, see `palmist.inference.live.read_live`.
            rate: frames per second; with frames, None measures it.
            tracker: finds hands in frames; None: MediaPipe (the extra hands, and `palmist fetch hands`).
            options: of `Stream` (futures, labels, ...) and, with frames, of `read_live` (pace, every_frame).

        Example:
            >>> stream = reader.stream(rate=30.0)
            >>> step = stream.push(joints, known, time)     # (2, 21, 3), (2, 21), seconds
            >>> for step in reader.stream(open_source("webcam:0")):
            ...     print(step.reading.label, step.latency, step.dropped)
        """
        if self.recogniser is not None:
            raise InputError(f"{self.name} recognises whole recordings; stream with a G-HTT checkpoint such as {DEFAULT_MODEL}")
        if isinstance(source, (int, float)):
            from palmist.inference.stream import Stream

            if tracker is not None:
                raise InputError("a tracker needs frames; give frames as the first argument, or leave tracker out")
            return Stream(self, float(source if rate is None else rate), **options)
        from palmist.inference.live import read_live
        from palmist.perception.hands import MediaPipeHands

        return read_live(self, source, MediaPipeHands() if tracker is None else tracker, rate=rate, **options)

    # ---------------------------------------------------------------------------------------------------- labels

    def label_choice(self, space: str, body: bool | None, labels: Labels) -> tuple[GHTT, tuple[str, ...], Tensor]:
        """The model with the label table to use, the L' labels to choose from, and their rows in it, (L,) bool.

        Args:
            space: of the recording; body: whether it has a body, None if both will do; labels: as in `read`.
        """
        model = self.model
        if model.a is None or not self.labels:
            if labels is not None:
                raise InputError(f"{self.name} has a P-block only and recognises nothing; leave `labels` out")
            return model, (), torch.zeros(0, dtype=torch.bool)
        if labels is not None and not isinstance(labels, str):
            own = tuple(labels)
            return self._model_with(own), own, torch.ones(len(own), dtype=torch.bool)
        chosen: set[str] = set()
        if labels is not None:
            if labels not in self.taxonomies:
                known = ", ".join(self.taxonomies) or "none"
                raise InputError(f"{self.name} has no taxonomy '{labels}'; it has {known}; or give a list of labels")
            chosen = set(self.taxonomies[labels]["labels"])
        else:
            for entry in self.taxonomies.values():
                if entry["space"] == space and body in (None, entry["body"]):
                    chosen |= set(entry["labels"])
        table = model.a.config.labels
        names = tuple(name for name in table if name in chosen) or table
        return model, names, torch.tensor([name in names for name in table], dtype=torch.bool)

    def _model_with(self, labels: tuple[str, ...]) -> GHTT:
        """The model with another label table; the weights are shared."""
        if not labels:
            raise InputError("the list of labels is empty; give at least one label, or None for the model's own")
        if labels not in self._with_own_labels:
            from palmist.text.encoder import encode_labels

            features, encoder = encode_labels(labels, self.text_encoder)
            model = copy.copy(self.model)
            model._modules = dict(self.model._modules)
            block = copy.copy(self.model.a)
            assert block is not None
            block._buffers = dict(block._buffers)
            block._label_cache = None
            if features.shape[1] != block.config.label_dim:
                raise InputError(
                    f"{self.name} reads label features of {block.config.label_dim} numbers, the text encoder "
                    f"'{encoder}' makes {features.shape[1]}; use one of the model's own taxonomies"
                )
            block.set_labels(labels, torch.from_numpy(np.array(features)))
            model._modules["a"] = block
            self._with_own_labels[labels] = model
        return self._with_own_labels[labels]

    # ---------------------------------------------------------------------------------------------------- stages

    def _clips(self, sequence: PoseSequence) -> Clips:
        """Clips that end at the last observed frame."""
        encoded = encode(sequence.joints[None], sequence.known[None], sequence.space)
        context = known = None
        if self.model.a is not None and self.model.a.context is not None:
            palms = encoded.palms
            body = (sequence.body[None], sequence.body_known[None])
            context, known = body_context(sequence.joints[None], sequence.known[None], palms.rotation, palms.valid, *body)
        length = self.model.p.config.clip_length
        return cut_clips(encoded, length, space=sequence.space, anchor="end", context=context, context_known=known)

    def _refine(
        self, observed: Recording, sequence: PoseSequence, clips: Clips, code: EncodedClips
    ) -> tuple[np.ndarray, np.ndarray]:
        """Refined joints (T, 2, 21, 3) in the recording's own space, unit and time, and which are known."""
        fine = self.model.refine(clips, code, frame_size=sequence.space != "metric")
        joints = fine.joints[clips.frames].numpy()  # (F, 2, 21, 3), in order
        known = sequence.known.numpy() & fine.valid[clips.frames].numpy()[..., None] & self._usable
        return _to_own_frames(observed, sequence, joints, known)

    @property
    def _usable(self) -> np.ndarray:
        """(21,) bool: joints that the model knows of (preset paper leaves the thumb's base out)."""
        usable = np.ones(21, bool)
        usable[1] = not self.model.p.config.drop_thumb_cmc
        return usable

    def _recognise(self, observed: Recording, sequence: PoseSequence, labels: Labels) -> dict[str, Any]:
        if self.recogniser is not None:
            names, candidates = choose_labels(self.recogniser, self.name, observed.space, observed.body is not None, labels)
            found = recognise_over_time(self.recogniser, observed, candidates)
            return {"label": names[int(found["probabilities"].argmax())], "action_labels": names, **found}
        model, names, candidates = self.label_choice(observed.space, observed.body is not None, labels)
        if not names:
            return {}
        # Clips start at the first frame here, as in training.
        forward = to_pose_sequence(observed, sequence.rate, scale=sequence.scale)
        curve = action_curve(model, forward, candidates)
        overall = curve.overall[candidates].numpy().astype(np.float64)
        return {
            "label": names[int(overall.argmax())],
            "action_labels": names,
            "probabilities": overall,
            "action_time": np.asarray(forward.time[curve.frames.numpy() - 1]),
            "action_probabilities": curve.probabilities[:, candidates].numpy().astype(np.float64),
        }

    def _predict(
        self,
        observed: Recording,
        sequence: PoseSequence,
        clips: Clips,
        code: EncodedClips,
        wanted: tuple[int, int, int, float],
    ) -> dict[str, Any]:
        futures, frames, seed, factor = wanted
        hands = clips.last().palms.valid[0, 0].any(0).numpy()  # (2,)
        slots = self._usable.copy()
        slots[list(observed.absent_joints)] = False
        known = hands[:, None] & slots
        time_ahead = sequence.time[-1] + np.arange(1, frames + 1) / sequence.rate
        result: dict[str, Any] = {"futures_time": time_ahead, "futures_known": known, "most_likely": 0}
        empty = np.zeros((frames, 2, 21, 3), np.float32)
        result |= {"futures": np.zeros((futures, *empty.shape), np.float32), "deterministic": empty}
        if frames == 0 or not hands.any():
            return result | {"futures_known": known & (frames > 0)}
        generator = torch.Generator().manual_seed(seed)
        predict = self._predictor(sequence, clips, code, -(-frames // self.model.p.config.clip_length))
        certain = predict(1, 0.0, generator)
        result["deterministic"] = _to_own_space(certain.joints[0, 0, :frames].numpy(), sequence, known)
        if futures:
            samples = predict(futures, factor, generator)
            result["futures"] = _to_own_space(samples.joints[0, :, :frames].numpy(), sequence, known)
            result["most_likely"] = int(samples.most_likely[0])
        return result

    def _predictor(
        self, sequence: PoseSequence, clips: Clips, code: EncodedClips, count: int
    ) -> Callable[[int, float, torch.Generator], Futures]:
        """P.b, or P.a where the model has no A-block."""
        model = self.model
        if sequence.space == "metric":
            last, last_code, past = clips, code, None
        else:  # the hand's size changes with its distance: the last clip's is the one to go on with
            last, last_code = clips.last(), EncodedClips(*(part[:, -1:] for part in code))
            earlier = model.clip_sequence(clips, code).slice(0, -1)
            past = earlier if earlier.valid.shape[1] else None
        if model.a is None:
            return lambda futures, factor, generator: model.predict_short(
                last, count, futures, factor, generator, code=last_code
            )
        if past is not None:
            past = past.slice(max(0, past.valid.shape[1] - (model.a.config.max_clips - 1)))
        return lambda futures, factor, generator: model.predict_long(
            last, count, futures, factor, generator, code=last_code, past=past
        )


# --------------------------------------------------------------------------------------------------------------------
# In and out


class _Watch:
    """Milliseconds per stage."""

    def __init__(self) -> None:
        self._start = self._last = time.perf_counter()
        self._stages: dict[str, float] = {}

    def __call__(self, stage: str) -> None:
        now = time.perf_counter()
        self._stages[f"{stage}_ms"] = (now - self._last) * 1000
        self._last = now

    def total(self) -> dict[str, float]:
        return {**self._stages, "total_ms": (time.perf_counter() - self._start) * 1000}


def _several(source: Source | Sequence[Recording]) -> Sequence[Recording] | Store:
    if isinstance(source, Recording):
        return [source]
    if isinstance(source, str | Path):
        source = open_source(source)
    if isinstance(source, Store) and not len(source):
        raise InputError(f"{source.path} holds no recordings; fill it with palmist prepare")
    return source


def _single(source: Source) -> Recording:
    if isinstance(source, Recording):
        return source
    if not isinstance(source, Store | str | Path):
        raise InputError(f"found a {type(source).__name__} to read; expected a Recording or the path of one")
    recordings = _several(source)
    if len(recordings) != 1:
        raise InputError(f"{source} holds {len(recordings)} recordings; use read_all, or read one of them")
    return recordings[0]


def _check_options(recording: Recording, futures: int, horizon: float, observe_until: float | None, factor: float) -> None:
    if not isinstance(futures, int) or futures < 0:
        raise InputError(f"futures is {futures!r}; expected how many samples to draw, 0 or more")
    if not (math.isfinite(horizon) and 0 <= horizon <= LONGEST_HORIZON):
        raise InputError(f"horizon is {horizon} s; expected 0 to {LONGEST_HORIZON:g} s")
    if not (math.isfinite(factor) and factor >= 0):
        raise InputError(f"factor is {factor}; expected 0 or more (the paper uses 5)")
    if observe_until is not None and not observe_until >= recording.time[0]:
        raise InputError(
            f"observe_until is {observe_until} s, but {recording.name} starts at {recording.time[0]:.3f} s and ends at "
            f"{recording.time[-1]:.3f} s; expected a time between"
        )


def _observed_part(recording: Recording, until: float | None) -> Recording:
    if until is None:
        return recording
    return recording.slice(0, int(np.searchsorted(recording.time, until + 1e-6, side="right")))


def _hand_size(clips: Clips) -> float:
    """Mean observed hand size in metres of model space; 0 where no hand was seen."""
    size = mean_hand_size(clips.all_palms())[0]
    return float(size[size > 0].mean()) if bool((size > 0).any()) else 0.0


def _unscale(joints: np.ndarray, scale: Tensor) -> np.ndarray:
    """Model space to the recording's own; a coordinate that the recording does not have (planar z) is 0."""
    factors = scale.numpy()
    inverse = np.where(factors > 0, 1 / np.where(factors > 0, factors, 1), 0)
    return (joints * inverse).astype(np.float32)


def _to_own_space(joints: np.ndarray, sequence: PoseSequence, known: np.ndarray) -> np.ndarray:
    return np.where(known[..., None], _unscale(joints, sequence.scale), 0).astype(np.float32)


def _to_own_frames(
    observed: Recording, sequence: PoseSequence, joints: np.ndarray, known: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Refined frames of the model's rate (F, 2, 21, 3) at the recording's own times, only where it saw the joint.

    Between two refined frames their mixture; beside a gap, where only one is refined, the observed joint moved as
    refinement moved it in that frame.
    """
    fine = _unscale(joints, sequence.scale)
    moved = fine - _unscale(sequence.joints.numpy(), sequence.scale)
    values, inside = resample(sequence.time, fine, known, observed.time)
    place = np.clip((observed.time - sequence.time[0]) * sequence.rate, 0, len(sequence) - 1)
    result, result_known = np.where(inside[..., None], values, 0), inside
    for index in (np.floor(place).astype(int), np.ceil(place).astype(int)):
        near = np.abs(sequence.time[index] - observed.time) <= 1 / sequence.rate + 1e-6
        usable = known[index] & near[:, None, None] & ~result_known
        result = np.where(usable[..., None], np.asarray(observed.joints) + moved[index], result)
        result_known = result_known | usable
    result_known &= observed.known
    return np.where(result_known[..., None], result, 0).astype(np.float32), result_known


def _truth(recording: Recording, observed: Recording, future_time: np.ndarray) -> dict[str, Any]:
    """What really came, at the futures' times."""
    if len(recording) == len(observed) or not len(future_time):
        return {}
    joints, known = resample(recording.time, np.asarray(recording.joints), np.asarray(recording.known), future_time)
    return {"truth": joints, "truth_known": known} if known.any() else {}

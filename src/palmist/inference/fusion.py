"""Several models together: late fusion of calibrated probabilities over the labels that all of them know.

>>> together = load_fusion(["ghtt-small", "bharnet-words"])
>>> fused = together.read("coffee.npz")
>>> fused.label, [(member.name, member.label) for member in fused.members]
('coffee', [('ghtt-small', 'coffee'), ('bharnet-words', 'get')])

Models that read recordings of hands (G-HTT, BHaRNet) and models that read pixels (EMIM, TRec, EgoVideo) mix in any number. Of a
video the hands are tracked for the first kind, and the second sees the file itself; a recording has no pixels.

Each model's probabilities p_m over the shared labels are brought to its temperature (`palmist.inference.calibration`), then

    p  ~  prod_m  p_m ^ w_m,      sum of w_m = 1 (equal weights unless others are given)

the logarithmic opinion pool (Genest and Zidek, Statistical Science 1986; Hinton's product of experts with normalised weights).
A product, since a label must fit everything that was seen: a model that finds it impossible counts more than in a mean. Weights
that sum to one, since the models err on the same recordings: without, shared evidence would count twice and be too sure.

Letters: N samples or moments, L labels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from palmist.errors import InputError
from palmist.inference.calibration import LEAST, UNCALIBRATED, Calibration, load_calibration, temper
from palmist.inference.label_shares import LabelShares
from palmist.inference.read_video import VideoReading, read_video
from palmist.inference.recogniser import choose_labels
from palmist.inference.video_text import VideoTextReader, load_video_text
from palmist.inference.videos import VideoAction, VideoReader, load_video_reader
from palmist.model_zoo import VIDEO_KINDS, VIDEO_TEXT_KINDS, checkpoint_path, kind_of
from palmist.perception.detection import HandTracker
from palmist.reader import Labels, Reader, Source, load
from palmist.reading import Reading
from palmist.recording import Recording
from palmist.store import Store, open_source

__all__ = ["Fused", "Fusion", "Member", "MemberAnswer", "fuse", "load_fusion", "model_names"]

_SHARED = "shared"  # the taxonomy of the labels that all members know


def fuse(parts: Sequence[np.ndarray], weights: Sequence[float] | None = None) -> np.ndarray:
    """The normalised product of probabilities, each to the power of its weight.

    Args:
        parts: of every model (..., L), rows of sum 1; below 1e-6 counts as 1e-6.
        weights: one for each, made to sum to one; None: equal.

    Returns:
        (..., L), rows of sum 1.

    Example:
        >>> fuse([np.array([0.8, 0.2]), np.array([0.5, 0.5])]).round(3)     # square roots of 0.40 and 0.10
        array([0.667, 0.333])
    """
    shares = _shares(len(parts), weights)
    logits = sum(
        share * np.log(np.maximum(np.asarray(part, np.float64), LEAST)) for share, part in zip(shares, parts, strict=True)
    )
    return temper(np.exp(logits - np.max(logits, axis=-1, keepdims=True)), 1.0)


def _shares(count: int, weights: Sequence[float] | None) -> np.ndarray:
    """(M,) of sum 1."""
    chosen = np.ones(count) if weights is None else np.asarray(weights, np.float64)
    if chosen.shape != (count,) or not count:
        raise InputError(f"{chosen.size} weights were given for {count} models; expected one for each")
    if not np.isfinite(chosen).all() or (chosen < 0).any() or not chosen.sum() > 0:
        raise InputError(f"found the weights {chosen.tolist()}; expected numbers of at least 0, not all of them 0")
    return np.asarray(chosen / chosen.sum())


def plain_label(label: str) -> str:
    """What labels are compared by: small letters, blanks for underscores, a caption's label alone.

    >>> plain_label("The person signs thank-you."), plain_label("Take_out  cup")
    ('thank-you', 'take out cup')
    """
    from palmist.video_text.captions import label_of_caption

    return " ".join(label_of_caption(label).lower().replace("_", " ").split())


def model_names(text: str) -> tuple[str, ...]:
    """`--model a,b,c` as names; a folder whose own name has commas is one model.

    >>> model_names("ghtt-small, bharnet-words")
    ('ghtt-small', 'bharnet-words')
    """
    if "," not in text or Path(text).exists():
        return (text,)
    return tuple(part.strip() for part in text.split(","))


# --------------------------------------------------------------------------------------------------------------------
# Members and what they say


@dataclass(frozen=True, eq=False)
class Member:
    """One model of a fusion: what it is called, how it reads, how its probabilities are tempered."""

    name: str
    reader: Reader | VideoReader | VideoTextReader
    calibration: Calibration = UNCALIBRATED

    @property
    def sees(self) -> str:
        """ "hands" of recordings, or "pixels" of videos."""
        return "hands" if isinstance(self.reader, Reader) else "pixels"

    @cached_property
    def labels(self) -> dict[str, str]:
        """`plain_label` -> the model's own."""
        return {plain_label(label): label for label in self.reader.labels}


@dataclass(frozen=True, eq=False)
class MemberAnswer(LabelShares):
    """What one member says: tempered probabilities (L,) of the fusion's labels; weight: its share of the fusion."""

    name: str
    sees: str
    labels: tuple[str, ...]
    probabilities: np.ndarray
    weight: float
    calibration: Calibration

    def to_json(self) -> dict[str, Any]:
        """Plain values: model, sees, label, probability, probabilities by label, weight, calibration."""
        facts = {"weight": round(self.weight, 6), "calibration": self.calibration.to_json()}
        return {"model": self.name, "sees": self.sees, **self.shares_to_json(), **facts}


@dataclass(frozen=True, eq=False)
class Fused:
    """What all members say together.

    result: a Reading, whose poses and futures are those of the first G-HTT (else of the first model that reads hands), or a
    VideoAction where no member reads hands. members: what each says. video: of a video whose hands were tracked, with `result`
    as its reading.

    A Reading's probabilities are of all members; those over time (`action_probabilities`) of the members that read hands, as
    the others see a video as a whole.
    """

    result: Reading | VideoAction
    members: tuple[MemberAnswer, ...]
    video: VideoReading | None = None

    @property
    def label(self) -> str:
        assert self.result.label is not None
        return self.result.label

    @property
    def probability(self) -> float:
        return self.result.probability

    def to_json(self) -> dict[str, Any]:
        """The result's JSON, and members: a list of `MemberAnswer.to_json`."""
        return {**self.result.to_json(), "members": [member.to_json() for member in self.members]}


@dataclass(frozen=True)
class _Reads:
    """What `read_video` gives the tracked recording to."""

    read: Callable[..., Reading]


class _Said(NamedTuple):
    """A member's tempered probabilities (L,), and of a reader of hands its whole reading."""

    probabilities: np.ndarray
    reading: Reading | None = None


# --------------------------------------------------------------------------------------------------------------------
# The fusion


def load_fusion(names: str | Sequence[str | Path], weights: Sequence[float] | None = None) -> Fusion:
    """A fusion of models, each a name of `palmist models` or the folder of a checkpoint, with their calibrations.

    names: a list, or one text with commas between them.

    Raises InputError for an unknown model, one that recognises nothing, the same one twice, or models without common labels.
    """
    if isinstance(names, str):
        names = model_names(names)
    paths = [checkpoint_path(name) for name in names]
    places = [path.resolve() for path in paths]
    twice = next((str(name) for name, place in zip(names, places, strict=True) if places.count(place) > 1), None)
    if twice is not None:
        raise InputError(f"{twice} is there twice; name every model once, and give it a larger weight if it shall count more")
    return Fusion([_member(str(name), path) for name, path in zip(names, paths, strict=True)], weights)


def _member(name: str, path: Path) -> Member:
    kind, calibration = kind_of(name), load_calibration(path)
    shown = name if name == path.name else "/".join(path.parts[-2:])
    if kind in VIDEO_TEXT_KINDS:
        return Member(shown, load_video_text(name), calibration)
    return Member(shown, load_video_reader(name) if kind in VIDEO_KINDS else load(name), calibration)


@dataclass(frozen=True, eq=False)
class Fusion:
    """Models that answer together; make one with `load_fusion`.

    weights: one for each member, None: equal. labels: those that every member knows, as `plain_label`, in the order of the
    first. Raises InputError if a member has no labels, or fewer than two are common.
    """

    members: Sequence[Member]
    weights: Sequence[float] | None = None
    labels: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        _shares(len(self.members), self.weights)
        for member in self.members:
            if not member.labels:
                raise InputError(f"{member.name} has no labels to recognise; expected models that were trained to name actions")
            if len(member.labels) < len(member.reader.labels):
                raise InputError(
                    f"{member.name} has labels that differ in case or underscores alone; it cannot be aligned with others"
                )
        shared = tuple(label for label in self.members[0].labels if all(label in member.labels for member in self.members))
        if len(shared) < 2:
            known = "; ".join(f"{member.name} knows {_few(tuple(member.labels))}" for member in self.members)
            raise InputError(f"the models have {len(shared)} labels in common, expected at least 2: {known}; leave one out")
        object.__setattr__(self, "labels", shared)

    @property
    def name(self) -> str:
        return " + ".join(member.name for member in self.members)

    @property
    def taxonomies(self) -> dict[str, Any]:
        """Of all members that have some; the first counts where two have the same name."""
        found: dict[str, Any] = {}
        for member in self.members:
            found = {**getattr(member.reader, "taxonomies", {}), **found}
        return found

    @property
    def pose_reader(self) -> Reader | None:
        """Whose poses and futures a Reading gets: the first G-HTT's, else the first of those that read hands."""
        readers = [member.reader for member in self.members if isinstance(member.reader, Reader)]
        return next((reader for reader in readers if reader.recogniser is None), readers[0] if readers else None)

    def read(self, source: Source, labels: Labels = None, **options: Any) -> Fused:
        """Read one recording with every member.

        Args:
            source, options: as of `Reader.read` (futures, horizon, observe_until, seed, factor).
            labels: a taxonomy of a member, or a list of labels that all members know; None: as `Reader.read`, as far as they
                are common.

        Raises InputError if a member reads pixels, or for a wrong source, option or label.
        """
        pixels = [member.name for member in self.members if member.sees == "pixels"]
        if pixels:
            raise InputError(
                f"{', '.join(pixels)} sees the pixels of videos, and {_shown(source)} is a recording of hands; give a video "
                "or leave out what sees pixels"
            )
        return self._read_all_members(None, _one(source), labels, options)

    def read_all(self, source: Source | Sequence[Recording], **options: Any) -> Iterator[Fused]:
        """`read` of every recording of a store or list."""
        recordings = open_source(source) if isinstance(source, str | Path) else source
        if isinstance(recordings, Store) and not len(recordings):
            raise InputError(f"{recordings.path} holds no recordings; fill it with palmist prepare")
        for recording in [recordings] if isinstance(recordings, Recording) else recordings:
            yield self.read(recording, **options)

    def read_video(
        self,
        source: str | Path,
        tracker: HandTracker | None = None,
        labels: Labels = None,
        advance: Callable[[], None] | None = None,
        **options: Any,
    ) -> Fused:
        """Read a video file: hands are tracked once for the members that read hands, the others see the file.

        Args:
            tracker: finds hands in frames (`palmist.perception.hands`); only members that read pixels need none.
            labels, options: as of `read`. advance: called after every tracked frame, for a progress bar.

        Raises InputError if the file cannot be decoded, or shows no hand to members that read hands.
        """
        if self.pose_reader is None:
            return self._read_all_members(source, None, labels, options)
        if tracker is None:
            raise InputError(f"{self.pose_reader.name} reads hands, and nothing finds them in {source}; give a tracker")
        found: list[Fused] = []

        def read(recording: Recording, **options: Any) -> Reading:
            found.append(self._read_all_members(source, recording, labels, options))
            assert isinstance(found[0].result, Reading)
            return found[0].result

        video = read_video(source, _Reads(read), tracker, advance=advance, **options)
        return replace(found[0], video=video)

    # -------------------------------------------------------------------------------------------------- the parts

    def _read_all_members(
        self, video: str | Path | None, recording: Recording | None, labels: Labels, options: dict[str, Any]
    ) -> Fused:
        """Every member on what it sees: the video, or the recording of hands."""
        chosen = self._chosen(labels, recording)
        said = []
        for member in self.members:
            if isinstance(member.reader, Reader):
                assert recording is not None
                said.append(self._read_hands(member, recording, chosen, options))
            else:
                assert video is not None
                said.append(_read_pixels(member, video, chosen))
        return self._together(said, chosen, "" if video is None else Path(video).stem)

    def _chosen(self, labels: Labels, recording: Recording | None) -> tuple[str, ...]:
        """The labels to choose from, as `plain_label`."""
        if labels is None:
            narrowed = self.labels
            for member in self.members:
                if recording is not None and isinstance(member.reader, Reader):
                    usual = {plain_label(label) for label in _usual_labels(member.reader, recording)}
                    narrowed = tuple(label for label in narrowed if label in usual)
            return narrowed if len(narrowed) > 1 else self.labels
        if isinstance(labels, str) and labels not in self.taxonomies:
            known = ", ".join(self.taxonomies) or "none"
            raise InputError(f"{self.name} has no taxonomy '{labels}'; it has {known}; or give a list of labels")
        wanted = self.taxonomies[labels]["labels"] if isinstance(labels, str) else list(labels)
        plain = {plain_label(label) for label in wanted}
        if isinstance(labels, str):
            plain &= set(self.labels)
        unknown = sorted(plain - set(self.labels))
        if unknown or len(plain) < 2:
            found = (
                f"the label {unknown[0]!r} is not known to all of {self.name}"
                if unknown
                else f"{len(plain)} labels to choose from"
            )
            raise InputError(f"{found}; expected at least 2 of those that they share: {_few(self.labels)}")
        return tuple(label for label in self.labels if label in plain)

    def _read_hands(self, member: Member, recording: Recording, chosen: tuple[str, ...], options: dict[str, Any]) -> _Said:
        reader = member.reader
        assert isinstance(reader, Reader)
        own = [member.labels[label] for label in chosen]
        if reader is not self.pose_reader:  # only its answer is used
            options = {**options, "futures": 0, "horizon": 0.0}
        if reader.recogniser is not None:
            reading = reader.read(recording, labels=own, **options)
        else:
            # By a taxonomy, and not as a list: then its trained label features are used.
            entry = {"labels": own, "space": recording.space, "body": recording.body is not None}
            narrowed = Reader(reader.model, reader.name, {"taxonomies": {_SHARED: entry}})
            reading = narrowed.read(recording, labels=_SHARED, **options)
        probabilities = _columns(reading.probabilities, reading.action_labels, own)
        return _Said(temper(probabilities, member.calibration.temperature), reading)

    def _together(self, said: Sequence[_Said], chosen: tuple[str, ...], name: str = "") -> Fused:
        shares = _shares(len(said), self.weights)
        named = next((member for member in self.members if not isinstance(member.reader, VideoTextReader)), None)
        shown = chosen if named is None else tuple(named.labels[label] for label in chosen)  # a sentence is long
        answers = tuple(
            MemberAnswer(member.name, member.sees, shown, one.probabilities, float(share), member.calibration)
            for member, one, share in zip(self.members, said, shares, strict=True)
        )
        probabilities = fuse([one.probabilities for one in said], self.weights)
        if all(one.reading is None for one in said):
            return Fused(VideoAction(name, shown, probabilities), answers)
        return Fused(self._reading(said, chosen, shown, probabilities), answers)

    def _reading(
        self, said: Sequence[_Said], chosen: tuple[str, ...], shown: tuple[str, ...], probabilities: np.ndarray
    ) -> Reading:
        """The reading of `pose_reader` with the actions of all."""
        readings = [(member, one.reading) for member, one in zip(self.members, said, strict=True) if one.reading is not None]
        base = next(reading for member, reading in readings if member.reader is self.pose_reader)
        shares = _shares(len(said), self.weights)
        weights = [share for share, one in zip(shares, said, strict=True) if one.reading is not None]
        curves = [_curve(member, reading, chosen, base.action_time) for member, reading in readings]
        others = sum(float(reading.timing.get("total_ms", 0)) for _, reading in readings if reading is not base)
        timing = {**base.timing, "other_models_ms": others, "total_ms": base.timing.get("total_ms", 0) + others}
        return replace(
            base,
            model=self.name,
            label=shown[int(probabilities.argmax())],
            action_labels=shown,
            probabilities=probabilities,
            action_probabilities=fuse(curves, weights if sum(weights) > 0 else None),
            timing=timing,
        )


def _read_pixels(member: Member, source: str | Path, chosen: tuple[str, ...]) -> _Said:
    own = [member.labels[label] for label in chosen]
    reader = member.reader
    assert not isinstance(reader, Reader)
    action = reader.read(source, own) if isinstance(reader, VideoTextReader) else reader.read(source)
    return _Said(temper(_columns(action.probabilities, action.labels, own), member.calibration.temperature))


def _columns(probabilities: np.ndarray, labels: Sequence[str], wanted: Sequence[str]) -> np.ndarray:
    """Probabilities (..., L) of the wanted labels in their order, rows of sum 1."""
    names = list(labels)
    picked = np.asarray(probabilities, np.float64)[..., [names.index(label) for label in wanted]]
    picked = np.maximum(picked, np.finfo(np.float64).tiny)
    return np.asarray(picked / picked.sum(-1, keepdims=True))


def _curve(member: Member, reading: Reading, chosen: tuple[str, ...], time: np.ndarray) -> np.ndarray:
    """What the member had said by each moment of `time` (N,), (N, L): its last answer, before the first one nothing."""
    own = [member.labels[label] for label in chosen]
    place = np.searchsorted(reading.action_time, time + 1e-6) - 1
    nothing = np.full((1, len(chosen)), 1 / len(chosen))
    said = temper(_columns(reading.action_probabilities, reading.action_labels, own), member.calibration.temperature)
    return np.concatenate([nothing, said])[place + 1]


def _usual_labels(reader: Reader, recording: Recording) -> tuple[str, ...]:
    """What the reader chooses from by itself."""
    body = recording.body is not None
    if reader.recogniser is not None:
        return choose_labels(reader.recogniser, reader.name, recording.space, body, None)[0]
    return reader.label_choice(recording.space, body, None)[1]


def _one(source: Source) -> Recording:
    recordings = open_source(source) if isinstance(source, str | Path) else source
    if isinstance(recordings, Recording):
        return recordings
    if not isinstance(recordings, Store) or len(recordings) != 1:
        raise InputError(f"found {_shown(source)} to read; expected one recording (read_all reads a store)")
    return recordings[0]


def _shown(source: object) -> str:
    return source.name if isinstance(source, Recording) else str(source) if isinstance(source, str | Path) else "the source"


def _few(labels: tuple[str, ...], most: int = 8) -> str:
    return ", ".join(labels[:most]) + (f" and {len(labels) - most} more" if len(labels) > most else "")

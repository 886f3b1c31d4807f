"""SkeletonClip: one action sample of M persons, body joints and, where they are known, both hands of each.

A Recording holds two hands of one person. A sample of NTU RGB+D or PKU-MMD holds several persons, and its label is about
all of them; that is a SkeletonClip. In a store a clip is one Recording per person (`to_recordings`), which share their
clip's name in provenance["skeleton"]; `clips_of` joins them again. So stores, damage reports, splits and the viewer serve
skeletons as they are, and a Recording with a body (asl_words) is a clip of one person.

Letters: M persons, T frames, V body joints (skeleton.BODY_LAYOUTS), H = 2 hands (0 left, 1 right), J = 21 joints, C = 2
or 3 coordinates.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count, groupby
from pathlib import Path
from typing import Any

import numpy as np

from palmist.array_checks import as_confidence, as_flags, as_numbers, read_only, zero_unknown
from palmist.errors import InputError
from palmist.files.input_files import parse_json
from palmist.files.npz import load_arrays, save_arrays
from palmist.recording import SPACES, ActionSegment, Body, Recording
from palmist.recording_file import plain
from palmist.skeleton import BODY_LAYOUTS

__all__ = ["SkeletonClip", "clips_of", "read_clip", "write_clip"]

FORMAT = "palmist-skeleton-clip"
VERSION = 1
_LARGEST_METRIC = 50.0  # metres; a Kinect sees 8
_ARRAYS = ("keypoint", "mask", "score", "hands", "hand_valid", "hand_score")


@dataclass(frozen=True, eq=False)
class SkeletonClip:
    """Bodies, and hands where known, of one action sample; frozen, checked when it is made.

    Shapes and units
        keypoint (M, T, V, C) float32 in the unit of `space` (recording.SPACES); unknown entries are stored as 0
        mask (M, T, V) bool: the joint has a value
        score (M, T, V) float32 in 0..1 or None: how sure the source was (Kinect: 1 tracked, 0.5 inferred)
        hands (M, 2, T, 21, C') float32 or None, hand 0 left, joints as skeleton.JOINT_NAMES; in the unit of hand_space
        hand_valid (M, 2, T) bool: the hand was seen; hand_score (M, 2, T, 21) in 0..1 or None, 0 = joint unknown
        layout: a key of skeleton.BODY_LAYOUTS; fps: frames per second, regular; aspect: image width / height or None
        label: the action's name; label_number: its number as the set counts; segments: actions in untrimmed clips
        subject, camera, setup, repetition, splits (split name -> part, such as {"xsub": "train"}), source, provenance

    NaN and infinite coordinates become unknown joints. Arrays are read-only; writable ones are copied.

    Errors: InputError, one sentence, for wrong shapes, units or values.

    >>> clip = SkeletonClip(np.ones((2, 60, 25, 3)), np.ones((2, 60, 25), bool), "kinect25", fps=30.0)
    >>> clip.persons, len(clip), clip.joints
    (2, 60, 25)
    """

    keypoint: np.ndarray
    mask: np.ndarray
    layout: str
    fps: float
    name: str = "clip"
    space: str = "metric"
    score: np.ndarray | None = None
    hands: np.ndarray | None = None
    hand_valid: np.ndarray | None = None
    hand_score: np.ndarray | None = None
    hand_space: str | None = None
    label: str | None = None
    label_number: int | None = None
    aspect: float | None = None
    subject: str | None = None
    camera: int | None = None
    setup: int | None = None
    repetition: int | None = None
    splits: Mapping[str, str] = field(default_factory=dict)
    segments: tuple[ActionSegment, ...] = ()
    source: str | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.layout not in BODY_LAYOUTS:
            raise InputError(f"unknown body layout '{self.layout}'; expected one of {', '.join(BODY_LAYOUTS)}")
        _check_facts(self)
        keypoint = as_numbers(self.keypoint, np.float32, "keypoints")
        count = len(BODY_LAYOUTS[self.layout])
        if keypoint.ndim != 4 or 0 in keypoint.shape or keypoint.shape[2] != count or keypoint.shape[3] not in (2, 3):
            raise InputError(
                f"keypoint has shape {keypoint.shape}; layout '{self.layout}' expects (persons, frames, {count}, 2 or 3), "
                "at least one person and one frame"
            )
        mask = as_flags(self.mask, "mask")
        if mask.shape != keypoint.shape[:3]:
            raise InputError(f"mask has shape {mask.shape}; expected {keypoint.shape[:3]}, one flag per joint")
        finite = np.isfinite(keypoint).all(-1)
        if not finite.all():
            mask = read_only(mask & finite)
        keypoint = zero_unknown(keypoint, mask)
        if self.space == "metric" and keypoint.size and np.abs(keypoint).max() > _LARGEST_METRIC:
            raise InputError(
                f"a coordinate is {np.abs(keypoint).max():.4g} m in space 'metric'; expected metres; divide millimetres by "
                "1000, or use space 'planar' for pixels"
            )
        values: dict[str, Any] = {"keypoint": keypoint, "mask": mask, "score": as_confidence(self.score, mask.shape, "score")}
        values |= _hand_arrays(self, *keypoint.shape[:2])
        for name in ("splits", "provenance"):
            values[name] = dict(getattr(self, name))
        for name, value in (*values.items(), ("segments", tuple(self.segments))):
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        return self.keypoint.shape[1]

    def __repr__(self) -> str:
        hands = "" if self.hands is None else ", with hands"
        return f"SkeletonClip({self.name!r}, {self.persons} x {len(self)} frames, {self.layout}{hands}, {self.label!r})"

    @property
    def persons(self) -> int:
        """M."""
        return self.keypoint.shape[0]

    @property
    def joints(self) -> int:
        """V."""
        return self.keypoint.shape[2]

    @property
    def duration(self) -> float:
        """Seconds from the first frame to the end of the last one."""
        return len(self) / self.fps

    def slice(self, start: int, stop: int | None = None) -> SkeletonClip:
        """Frames start..stop (Python slice rules), shared memory; segments are kept where they overlap, on the new clock.

        Raises InputError when no frame is left.
        """
        first, last, _ = slice(start, stop).indices(len(self))
        if last <= first:
            raise InputError(f"slice {start}:{stop} of '{self.name}' is empty; it has {len(self)} frames")
        cut: dict[str, Any] = {}
        for name, axis in (("keypoint", 1), ("mask", 1), ("score", 1), ("hands", 2), ("hand_valid", 2), ("hand_score", 2)):
            value = getattr(self, name)
            cut[name] = None if value is None else value[(slice(None),) * axis + (slice(first, last),)]
        begin, end = first / self.fps, last / self.fps
        cut["segments"] = tuple(
            dataclasses.replace(segment, start=max(segment.start, begin) - begin, end=min(segment.end, end) - begin)
            for segment in self.segments
            if segment.start < end and segment.end > begin
        )
        return self.replace(**cut)

    def replace(self, **changes: Any) -> SkeletonClip:
        """A copy with some fields changed, checked like a new clip."""
        return dataclasses.replace(self, **changes)

    # ------------------------------------------------------------------------------------------------- as Recordings

    def to_recording(self, person: int = 0, split: str | None = None) -> Recording:
        """One person as a Recording: its body, and its hands where the clip has them in the same space.

        split: which of `splits` becomes the Recording's own split. Frame is "camera" for metres, else "image"; a label
        that is not among the segments becomes a segment over the whole clip. Two-dimensional joints get z = 0.

        Raises InputError for a person that is not there, or for hands in another space than the body.
        """
        if not 0 <= person < self.persons:
            raise InputError(f"'{self.name}' has no person {person}; it has {self.persons}, counted from 0")
        frames, segments = len(self), self.segments
        if self.hands is not None and self.hand_space != self.space:
            raise InputError(
                f"'{self.name}' has hands in space '{self.hand_space}' and a body in '{self.space}'; a Recording has one; drop "
                "the hands with clip.replace(hands=None, hand_valid=None, hand_score=None, hand_space=None)"
            )
        fields: dict[str, Any] = {"joints": np.zeros((frames, 2, 21, 3), np.float32), "valid": np.zeros((frames, 2), bool)}
        if self.hands is not None and self.hand_valid is not None:
            fields = {"joints": _deep(self.hands[person].swapaxes(0, 1)), "valid": self.hand_valid[person].T}
            fields["confidence"] = None if self.hand_score is None else self.hand_score[person].swapaxes(0, 1)
        if self.label is not None and not segments:
            segments = (ActionSegment(0.0, self.duration, self.label),)
        score = None if self.score is None else self.score[person]
        return Recording(
            **fields,
            time=np.arange(frames) / self.fps,
            space=self.space,
            name=self.name if person == 0 else f"{self.name}#{person + 1}",
            frame="camera" if self.space == "metric" else "image",
            aspect=self.aspect,
            body=Body(_deep(self.keypoint[person]), self.mask[person], self.layout, score),
            segments=segments,
            subject=self.subject,
            session=self.name,
            split=None if split is None else self.splits.get(split),
            source=self.source,
            provenance={**self.provenance, "skeleton": self._shared(person)},
        )

    def to_recordings(self, split: str | None = None) -> list[Recording]:
        """Every person as a Recording, `to_recording` each; `clips_of` is the way back."""
        return [self.to_recording(person, split) for person in range(self.persons)]

    def _shared(self, person: int) -> dict[str, Any]:
        """What a Recording has no field for."""
        shared = {name: getattr(self, name) for name in ("fps", "label", "label_number", "camera", "setup", "repetition")}
        own = {"clip": self.name, "person": person, "persons": self.persons, "coordinates": self.keypoint.shape[3]}
        return own | {"splits": dict(self.splits), "untrimmed": bool(self.segments)} | shared

    @classmethod
    def from_recording(cls, recording: Recording, fps: float | None = None) -> SkeletonClip:
        """A Recording with a body as a clip of one person: asl_words, a tracked video, or one row of a clip's own store.

        fps: None takes the Recording's median rate; frames count as regular. Hands that were interpolated are not valid
        (they were not measured). The label is that of the only segment, if there is one.

        Raises InputError without a body, or when the rate is not known.
        """
        if recording.body is None:
            raise InputError(f"recording '{recording.name}' has no body; expected one, such as those of asl_words")
        provenance = dict(recording.provenance)
        shared = provenance.pop("skeleton", {})
        rate = fps if fps is not None else shared.get("fps", recording.rate)
        if not (math.isfinite(rate) and rate > 0):
            raise InputError(f"recording '{recording.name}' has one frame, its rate is not known; pass fps")
        coordinates = int(shared.get("coordinates", 3))
        seen = recording.valid if recording.interpolated is None else recording.valid & ~recording.interpolated
        hands: dict[str, Any] = {}
        if recording.valid.any():
            hands = {"hands": recording.joints.swapaxes(0, 1)[None], "hand_valid": seen.T[None]}
            hands["hand_space"] = recording.space
            if recording.confidence is not None or recording.absent_joints:
                sure = recording.present if recording.confidence is None else recording.present * recording.confidence
                hands["hand_score"] = sure.swapaxes(0, 1)[None].astype(np.float32)
        labels = [segment.label for segment in recording.segments]
        whole = "label" in shared and not shared.get("untrimmed")
        return cls(
            keypoint=recording.body.joints[None, ..., :coordinates],
            mask=recording.body.valid[None],
            layout=recording.body.layout,
            fps=float(rate),
            name=shared.get("clip", recording.name),
            space=recording.space,
            score=None if recording.body.confidence is None else recording.body.confidence[None],
            **hands,
            label=shared["label"] if "label" in shared else labels[0] if len(labels) == 1 else None,
            label_number=shared.get("label_number"),
            aspect=recording.aspect,
            subject=recording.subject,
            camera=shared.get("camera"),
            setup=shared.get("setup"),
            repetition=shared.get("repetition"),
            splits=shared.get("splits", {"split": recording.split} if recording.split else {}),
            segments=() if whole else recording.segments,
            source=recording.source,
            provenance=provenance,
        )


def clips_of(recordings: Iterable[Recording]) -> Iterator[SkeletonClip]:
    """The clips of a store: Recordings that are persons of one clip, in a row, are joined again.

    Recordings of other readers become clips of one person each (they need a body).

    >>> for clip in clips_of(Store.open("stores/ntu60")): ...
    """

    own = count()

    def key(recording: Recording) -> object:
        return recording.provenance.get("skeleton", {}).get("clip", next(own))

    for _, group in groupby(recordings, key):
        persons = [SkeletonClip.from_recording(recording) for recording in group]
        first = persons[0]
        joined: dict[str, Any] = {}
        if any((other.layout, len(other)) != (first.layout, len(first)) for other in persons):
            raise InputError(f"the persons of clip '{first.name}' differ in layout or frames; prepare the store again")
        for name in _ARRAYS if len(persons) > 1 else ():
            parts = [getattr(person, name) for person in persons]
            like = next((part for part in parts if part is not None), None)
            if like is not None:
                joined[name] = np.concatenate([np.zeros_like(like) if part is None else part for part in parts])
        if len(persons) > 1:
            joined["hand_space"] = next((person.hand_space for person in persons if person.hand_space), None)
            if joined.get("hand_score") is not None:  # a person without scores is sure of its hands
                known = [p.hand_score is not None or p.hand_valid is None for p in persons]
                joined["hand_score"][~np.array(known)] = 1
        yield first.replace(**joined) if joined else first


# --------------------------------------------------------------------------------------------------------------------
# Files


def write_clip(path: str | Path, clip: SkeletonClip) -> Path:
    """Write one clip as .npz, without pickle, whole or not at all. Returns the path, ".npz" added if missing."""
    path = Path(path)
    if path.suffix != ".npz":
        path = path.with_name(path.name + ".npz")
    facts = {
        spec.name: getattr(clip, spec.name)
        for spec in dataclasses.fields(SkeletonClip)
        if spec.name not in (*_ARRAYS, "segments", "splits", "provenance")
    }
    facts["segments"] = [dataclasses.asdict(segment) for segment in clip.segments]
    facts |= {name: plain(getattr(clip, name), name) for name in ("splits", "provenance")}
    arrays: dict[str, Any] = {name: getattr(clip, name) for name in _ARRAYS if getattr(clip, name) is not None}
    arrays["metadata"] = json.dumps({"format": FORMAT, "version": VERSION, **facts}, ensure_ascii=False)
    save_arrays(path, arrays)
    return path


def read_clip(path: str | Path) -> SkeletonClip:
    """Read what `write_clip` wrote; InputError, one sentence that names the file, for anything else."""
    path = Path(path)
    arrays: dict[str, Any] = dict(load_arrays(path))
    facts = parse_json(str(arrays.pop("metadata", "null")), f"{path}: its metadata", "what write_clip writes")
    if not isinstance(facts, dict) or facts.pop("format", None) != FORMAT:
        raise InputError(f"{path} is not a skeleton clip; expected a file of write_clip; read recordings with read_recording")
    if (version := facts.pop("version", None)) != VERSION:
        raise InputError(f"{path} is of version {version}; this Palmist reads {VERSION}; update it: pip install -U palmist")
    try:
        facts["segments"] = tuple(ActionSegment(**segment) for segment in facts.get("segments", ()))
        return SkeletonClip(**arrays, **facts)
    except (TypeError, ValueError, LookupError, ArithmeticError, AttributeError) as error:
        if isinstance(error, InputError):
            raise InputError(f"{path}: {error}") from error
        raise InputError(f"{path} lacks a part or has an unknown one ({error}); write it again with write_clip") from error


# --------------------------------------------------------------------------------------------------------------------
# Checks


def _deep(points: np.ndarray) -> np.ndarray:
    """(..., 2 or 3) -> (..., 3), with z = 0."""
    return points if points.shape[-1] == 3 else np.concatenate([points, np.zeros_like(points[..., :1])], -1)


def _check_facts(clip: SkeletonClip) -> None:
    if not (isinstance(clip.fps, int | float) and math.isfinite(clip.fps) and clip.fps > 0):
        raise InputError(f"fps is {clip.fps!r}; expected frames per second, a positive number")
    for what, value in (("space", clip.space), ("hand_space", clip.hand_space or clip.space)):
        if value not in SPACES:
            raise InputError(f"{what} is {value!r}; expected one of {', '.join(SPACES)}")
    for what, text in (("name", clip.name), ("label", clip.label), ("subject", clip.subject), ("source", clip.source)):
        if not isinstance(text, str | None) or (what == "name" and text is None):
            raise InputError(f"{what} is {text!r}; expected text")
    for what in ("label_number", "camera", "setup", "repetition"):
        value = getattr(clip, what)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
            raise InputError(f"{what} is {value!r}; expected a whole number, 0 or more, or None")
    if any(not isinstance(segment, ActionSegment) for segment in clip.segments):
        raise InputError("segments holds something else than ActionSegment; expected ActionSegment(start, end, label)")
    if clip.aspect is not None and not (math.isfinite(clip.aspect) and clip.aspect > 0):
        raise InputError(f"aspect is {clip.aspect}; expected image width / height, a positive number, or None")


def _hand_arrays(clip: SkeletonClip, persons: int, frames: int) -> dict[str, Any]:
    if clip.hands is None:
        if clip.hand_valid is not None or clip.hand_score is not None:
            raise InputError("hand_valid or hand_score came without hands; expected hands (persons, 2, frames, 21, 2 or 3)")
        return {"hand_space": None}
    hands = as_numbers(clip.hands, np.float32, "hands")
    if hands.ndim != 5 or hands.shape[:4] != (persons, 2, frames, 21) or hands.shape[4] not in (2, 3):
        raise InputError(f"hands have shape {hands.shape}; expected ({persons}, 2 hands, {frames} frames, 21, 2 or 3)")
    if clip.hand_valid is None:
        raise InputError(f"hands came without hand_valid; expected flags ({persons}, 2, {frames}), False = not seen")
    valid = as_flags(clip.hand_valid, "hand_valid")
    if valid.shape != hands.shape[:3]:
        raise InputError(f"hand_valid has shape {valid.shape}; expected {hands.shape[:3]}, one flag per hand and frame")
    score = as_confidence(clip.hand_score, hands.shape[:4], "hand_score")
    known = np.repeat(valid[..., None], 21, -1) if score is None else valid[..., None] & (score > 0)
    finite = np.isfinite(hands).all(-1)
    if (known & ~finite).any():
        score = read_only(np.where(finite, 1.0 if score is None else score, 0).astype(np.float32))
        known = known & finite
    valid = read_only(valid & known.any(-1))
    return {
        "hands": zero_unknown(hands, known),
        "hand_valid": valid,
        "hand_score": score,
        "hand_space": clip.hand_space or clip.space,
    }

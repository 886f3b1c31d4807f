"""Recording: the one data type of Palmist. What was seen, with masks that say what is known.

Letters: T frames, H = 2 hands (0 left, 1 right), J = 21 joints (skeleton.JOINT_NAMES), V body joints.
"""

from __future__ import annotations

import builtins
import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

import numpy as np

from palmist.array_checks import as_confidence, as_flags, as_numbers, read_only, zero_unknown
from palmist.errors import InputError
from palmist.skeleton import BODY_LAYOUTS

#: metric: metres. image: x, y as fractions of the image's width and height (x right, y down) with a relative depth.
#: planar: pixels x, y; z is 0 and unknown.
SPACES = ("metric", "image", "planar")
FRAMES = ("camera", "world", "device", "image")
ROOTS = ("wrist", "palm_centre")

# Hands beyond these sizes are certainly in another unit; damage.check looks closer.
_LARGEST_METRIC_PALM = 1.0
_LARGEST_IMAGE_COORDINATE = 20.0


@dataclass(frozen=True)
class ActionSegment:
    """An action between two times (seconds, on the recording's own clock; end exclusive)."""

    start: float
    end: float
    label: str
    verb: str | None = None
    noun: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.label, str) or not isinstance(self.verb, str | None) or not isinstance(self.noun, str | None):
            raise InputError(
                f"an action segment has label {self.label!r}, verb {self.verb!r}, noun {self.noun!r}; "
                "expected text, or no verb or noun"
            )
        if not isinstance(self.start, Real) or not isinstance(self.end, Real):
            raise InputError(f"action segment '{self.label}' runs from {self.start!r} to {self.end!r}; expected seconds")
        if not (math.isfinite(self.start) and math.isfinite(self.end) and self.start < self.end):
            raise InputError(
                f"action segment '{self.label}' runs from {self.start} s to {self.end} s; expected start before end"
            )


@dataclass(frozen=True, eq=False)
class Body:
    """Body joints beside the hands: joints (T, V, 3) float32 in the recording's space and frame, valid (T, V) bool,
    layout a key of skeleton.BODY_LAYOUTS, confidence (T, V) float32 in 0..1 or None. Unknown joints are stored as 0."""

    joints: np.ndarray
    valid: np.ndarray
    layout: str
    confidence: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.layout not in BODY_LAYOUTS:
            raise InputError(f"unknown body layout '{self.layout}'; expected one of {', '.join(BODY_LAYOUTS)}")
        count = len(BODY_LAYOUTS[self.layout])
        joints = as_numbers(self.joints, np.float32, "body joints")
        valid = as_flags(self.valid, "body valid")
        if joints.ndim != 3 or joints.shape[1:] != (count, 3):
            raise InputError(f"body joints have shape {joints.shape}; layout '{self.layout}' expects (frames, {count}, 3)")
        if valid.shape != joints.shape[:2]:
            raise InputError(f"body valid has shape {valid.shape}; expected {joints.shape[:2]}, one flag per joint")
        finite = np.isfinite(joints).all(-1)
        if not finite.all():
            valid = read_only(valid & finite)
        confidence = as_confidence(self.confidence, valid.shape, "body confidence")
        object.__setattr__(self, "joints", zero_unknown(joints, valid))
        object.__setattr__(self, "valid", valid)
        object.__setattr__(self, "confidence", confidence)

    @classmethod
    def trusted(cls, joints: np.ndarray, valid: np.ndarray, layout: str, confidence: np.ndarray | None = None) -> Body:
        """Build without any check or copy, like Recording.trusted."""
        body = object.__new__(cls)
        body.__dict__.update(joints=joints, valid=valid, layout=layout, confidence=confidence)
        return body

    def take(self, frames: builtins.slice | np.ndarray) -> Body:
        """Some frames of it (a slice shares memory); they were checked already."""
        confidence = None if self.confidence is None else self.confidence[frames]
        return Body.trusted(self.joints[frames], self.valid[frames], self.layout, confidence)


@dataclass(frozen=True, eq=False)
class Recording:
    """Two hands over time, frozen, with everything a reader of the data needs to know about it.

    Shapes and units
        joints (T, 2, 21, 3) float32 in the unit of `space`; hand 0 left, 1 right; unknown entries are stored as 0
        valid (T, 2) bool: the hand is present in this frame
        time (T,) float64 seconds, strictly increasing, need not be regular
        space "metric" | "image" | "planar" (see SPACES); frame "camera" | "world" | "device" | "image"
        root: what joint 0 is, "wrist" or "palm_centre"
        absent_joints: canonical slots that the source never records, such as (1,) for the thumb's base
        aspect: image width / height for space "image", None if not recorded; aspect_assumed: it is a guess
        confidence (T, 2, 21) float32 in 0..1 or None; 0 = joint unknown
        interpolated (T, 2) bool or None: the hand was filled in by damage.repair; present, but never `known`
        body: optional Body; camera: optional mapping with "intrinsics" (fx, fy, cx, cy), "width", "height", "pose"
        (4, 4) or (T, 4, 4) camera-to-world; objects: per-frame object name or None, "" = unknown
        segments: labelled actions; subject, session, split, source: names or None; provenance: JSON-like facts

    Masks. `present` = valid and confidence > 0 and the joint is not absent; `known` = present and not interpolated.
    Only `known` entries may reach a loss or a metric. NaN and infinite coordinates are normal input: the joint gets
    confidence 0, and the hand becomes invalid where its root (joint 0) is unknown.

    Arrays are read-only; a writable array is copied, a read-only one (such as a memory map) is kept as it is.

    Errors: InputError, one sentence, for wrong shapes, units, times, dtypes or names, and when every coordinate is NaN.

    >>> recording = Recording(joints=np.zeros((30, 2, 21, 3)), valid=np.zeros((30, 2), bool),
    ...                       time=np.arange(30) / 30, space="metric")
    >>> len(recording), recording.rate
    (30, 30.0)
    """

    joints: np.ndarray
    valid: np.ndarray
    time: np.ndarray
    space: str
    name: str = "recording"
    frame: str = "camera"
    root: str = "wrist"
    absent_joints: tuple[int, ...] = ()
    aspect: float | None = None
    aspect_assumed: bool = False
    confidence: np.ndarray | None = None
    interpolated: np.ndarray | None = None
    body: Body | None = None
    camera: Mapping[str, Any] | None = None
    objects: tuple[str, ...] | None = None
    segments: tuple[ActionSegment, ...] = ()
    subject: str | None = None
    session: str | None = None
    split: str | None = None
    source: str | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_names(self)
        joints = check_joint_shape(as_numbers(self.joints, np.float32, "joints"))
        frames = len(joints)
        valid = as_flags(self.valid, "valid")
        if valid.shape != (frames, 2):
            raise InputError(f"valid has shape {valid.shape}; expected ({frames}, 2), one flag per frame and hand")
        time = check_time(self.time, frames)
        confidence = as_confidence(self.confidence, (frames, 2, 21), "confidence")
        joints, valid, confidence = _mask_unknown(joints, valid, confidence, self.absent_joints)
        interpolated = self.interpolated
        if interpolated is not None:
            interpolated = as_flags(interpolated, "interpolated")
            if interpolated.shape != (frames, 2):
                raise InputError(f"interpolated has shape {interpolated.shape}; expected ({frames}, 2)")
        _check_units(joints, valid, self.space)
        _check_parts(self, frames)
        for name, value in (
            ("joints", joints),
            ("valid", valid),
            ("time", time),
            ("confidence", confidence),
            ("interpolated", interpolated),
            ("camera", None if self.camera is None else dict(self.camera)),
            ("objects", None if self.objects is None else tuple(self.objects)),
            ("segments", tuple(self.segments)),
            ("provenance", dict(self.provenance)),
        ):
            object.__setattr__(self, name, value)

    @classmethod
    def trusted(cls, **fields: Any) -> Recording:
        """Build without any check or copy, for the store and for slices of a recording that was checked already."""
        recording = object.__new__(cls)
        for spec in dataclasses.fields(cls):
            if spec.name in fields:
                value = fields[spec.name]
            elif spec.default is not dataclasses.MISSING:
                value = spec.default
            else:
                value = {}
            recording.__dict__[spec.name] = value
        return recording

    def __len__(self) -> int:
        return len(self.joints)

    def __repr__(self) -> str:
        left, right = self.valid.mean(0)
        seen = f"left {left:.0%}, right {right:.0%}"
        return f"Recording({self.name!r}, {len(self)} frames, {self.duration:.2f} s, {self.space}, {seen})"

    @property
    def present(self) -> np.ndarray:
        """(T, 2, 21) bool: the joint has a value, measured or interpolated."""
        mask = np.repeat(self.valid[:, :, None], 21, axis=2)
        if self.confidence is not None:
            mask &= self.confidence > 0
        if self.absent_joints:
            mask[:, :, list(self.absent_joints)] = False
        return mask

    @property
    def known(self) -> np.ndarray:
        """(T, 2, 21) bool: the joint was measured. The only mask for losses and metrics."""
        mask = self.present
        if self.interpolated is not None:
            mask &= ~self.interpolated[:, :, None]
        return mask

    @property
    def rate(self) -> float:
        """Median frames per second; NaN for a single frame."""
        return float(1.0 / np.median(np.diff(self.time))) if len(self) > 1 else math.nan

    @property
    def duration(self) -> float:
        """Seconds from the first to the last frame."""
        return float(self.time[-1] - self.time[0])

    def frames_of(self, segment: ActionSegment) -> builtins.slice:
        """The frames whose time lies in [segment.start, segment.end), as a slice (it may be empty)."""
        start, stop = np.searchsorted(self.time, (segment.start, segment.end), side="left")
        return slice(int(start), int(stop))

    def slice(self, start: int, stop: int | None = None) -> Recording:
        """Frames start..stop (Python slice rules) as a Recording that shares memory with this one.

        Times stay on the same clock; segments that overlap the frames are kept with their own times.
        Raises InputError when no frame is left.
        """
        frames = slice(start, stop)
        first, last, _ = frames.indices(len(self))
        if last <= first:
            raise InputError(f"slice {start}:{stop} of '{self.name}' is empty; it has {len(self)} frames")
        time = self.time[frames]
        changes: dict[str, Any] = {"joints": self.joints[frames], "valid": self.valid[frames], "time": time}
        for name in ("confidence", "interpolated", "objects"):
            value = getattr(self, name)
            changes[name] = None if value is None else value[frames]
        if self.body is not None:
            changes["body"] = self.body.take(frames)
        if self.camera is not None and np.ndim(self.camera.get("pose", 0)) == 3:
            changes["camera"] = {**self.camera, "pose": self.camera["pose"][frames]}
        if self.segments:
            changes["segments"] = tuple(s for s in self.segments if s.end > time[0] and s.start <= time[-1])
        return Recording.trusted(**{**self.__dict__, **changes})

    def replace(self, **changes: Any) -> Recording:
        """A copy with some fields changed, checked like a new Recording."""
        return dataclasses.replace(self, **changes)


# --------------------------------------------------------------------------------------------------------------------
# Checks


def check_joint_shape(joints: np.ndarray) -> np.ndarray:
    """Return joints if they are (T, 2, 21, 3) with T > 0, else raise InputError that names what is wrong."""
    shape = joints.shape
    if len(shape) == 4 and shape[0] == 0:
        raise InputError("the recording has 0 frames; expected at least one")
    if len(shape) == 4 and shape[1] == 2 and shape[2] != 21 and shape[3] == 3:
        raise InputError(
            f"found {shape[2]} joints per hand, expected 21 (wrist, then 4 per finger from the thumb on, base to tip); "
            "reorder them with palmist.skeleton.to_canonical or set missing joints to NaN"
        )
    if len(shape) != 4 or shape[1:] != (2, 21, 3):
        raise InputError(
            f"joints have shape {shape}; expected (frames, 2 hands, 21 joints, 3 coordinates), left hand first; "
            "fill a hand that was not recorded with NaN"
        )
    return joints


def check_time(value: Any, frames: int) -> np.ndarray:
    """Times as (frames,) float64, finite and strictly increasing, else InputError."""
    time = as_numbers(value, np.float64, "times")
    if time.shape != (frames,):
        raise InputError(f"time has shape {time.shape}; expected ({frames},), one time in seconds per frame")
    if not np.isfinite(time).all():
        raise InputError(
            f"{int((~np.isfinite(time)).sum())} of {frames} times are NaN or infinite; expected seconds; "
            "palmist check --repair drops those frames"
        )
    steps = np.diff(time)
    if frames > 1 and not steps.min() > 0:
        index = int(np.argmax(steps <= 0))
        raise InputError(
            f"time must increase from frame to frame but goes from {time[index]:.6g} s to {time[index + 1]:.6g} s "
            f"at frame {index + 1} ({int((steps <= 0).sum())} such steps); sort or drop those frames, "
            "or run palmist check --repair"
        )
    return time


def _mask_unknown(
    joints: np.ndarray, valid: np.ndarray, confidence: np.ndarray | None, absent: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Turn NaN into masks: confidence 0 on the joint, no valid hand without its root, 0 in every unknown entry."""
    if not np.isfinite(joints).all():
        finite = np.isfinite(joints).all(-1)
        if not finite.any():
            raise InputError("every joint is NaN or infinite; expected at least one known joint in one frame")
        lost = ~finite & valid[:, :, None]
        lost[:, :, list(absent)] = False
        if lost[lost[:, :, 0] == 0].any():  # beyond those of hands that lose their root anyway
            confidence = np.ones(joints.shape[:3], np.float32) if confidence is None else confidence.copy()
            confidence[lost] = 0
            read_only(confidence)
        valid = read_only(valid & finite[:, :, 0])
    present = np.repeat(valid[:, :, None], 21, axis=2)
    if confidence is not None:
        rootless = valid & ~(confidence[:, :, 0] > 0)
        if rootless.any():
            valid = read_only(valid & ~rootless)
        present = valid[:, :, None] & (confidence > 0)
    if absent:
        present[:, :, list(absent)] = False
    return zero_unknown(joints, present), valid, confidence


def check_facts(recording: Recording) -> None:
    """InputError when a name, a segment, the camera or another fact beside the arrays is not what it should be."""
    _check_names(recording)
    _check_parts(recording, len(recording.joints))


def _check_units(joints: np.ndarray, valid: np.ndarray, space: str) -> None:
    if space == "metric" and valid.any():
        palm = joints[:, :, 9] - joints[:, :, 0]
        size = float(np.median(np.linalg.norm(palm[valid], axis=-1)))
        if size > _LARGEST_METRIC_PALM:
            raise InputError(
                f"the palm is {size:.3g} m long in space 'metric'; expected metres (about 0.1); "
                "divide millimetres by 1000, or use space 'planar' for pixels"
            )
    elif space == "image" and valid.any():
        largest = float(np.abs(joints[..., :2]).max())
        if largest > _LARGEST_IMAGE_COORDINATE:
            raise InputError(
                f"x or y reaches {largest:.4g} in space 'image'; "
                "expected fractions of the image's width and height (0 to 1); "
                "divide pixels by width and height, or use space 'planar'"
            )


def _check_names(recording: Recording) -> None:
    for what, value, allowed in (
        ("space", recording.space, SPACES),
        ("frame", recording.frame, FRAMES),
        ("root", recording.root, ROOTS),
    ):
        if not isinstance(value, str) or value not in allowed:
            raise InputError(f"{what} is {value!r}; expected one of {', '.join(allowed)}")
    if not isinstance(recording.name, str):
        raise InputError(f"name is {recording.name!r}; expected text")
    for what in ("subject", "session", "split", "source"):
        value = getattr(recording, what)
        if not isinstance(value, str | None):
            raise InputError(f"{what} is {value!r}; expected text, or None")
    absent = recording.absent_joints
    if not isinstance(absent, tuple) or any(not 0 < joint < 21 for joint in absent):
        raise InputError(f"absent_joints is {absent!r}; expected a tuple of joint numbers from 1 to 20")
    if recording.aspect is not None and not isinstance(recording.aspect, Real):
        raise InputError(f"aspect is {recording.aspect!r}; expected image width / height, a positive number, or None")
    if recording.aspect is not None and not (math.isfinite(recording.aspect) and recording.aspect > 0):
        raise InputError(f"aspect is {recording.aspect}; expected image width / height, a positive number, or None")


def _check_parts(recording: Recording, frames: int) -> None:
    body, objects, camera = recording.body, recording.objects, recording.camera
    if body is not None and len(body.joints) != frames:
        raise InputError(f"the body has {len(body.joints)} frames and the hands {frames}; expected the same number")
    if objects is not None and len(objects) != frames:
        raise InputError(f"objects names {len(objects)} frames; expected {frames}, one name per frame")
    if any(not isinstance(segment, ActionSegment) for segment in recording.segments):
        raise InputError("segments holds something else than ActionSegment; expected ActionSegment(start, end, label)")
    for what, value in (("camera", camera), ("provenance", recording.provenance)):
        if value is not None and not isinstance(value, Mapping):
            raise InputError(f"{what} is a {type(value).__name__}; expected names with values")
    if objects is not None and not all(isinstance(name, str) for name in objects):
        raise InputError("objects holds something else than text; expected one name per frame, empty where unknown")
    pose = None if camera is None else camera.get("pose")
    if pose is not None and np.shape(pose) not in ((4, 4), (frames, 4, 4)):
        raise InputError(f"camera pose has shape {np.shape(pose)}; expected (4, 4) or ({frames}, 4, 4), camera-to-world")

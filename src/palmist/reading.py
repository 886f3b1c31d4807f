"""Reading: what was understood of a recording. Refined hands, the action with its probability over time, futures.

Letters: T observed frames, T' future frames, H = 2 hands (0 left, 1 right), J = 21 joints, K futures, N moments,
L action labels. Coordinates are in the recording's own space and unit; frames T are the recording's own.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from palmist.errors import InputError
from palmist.recording import ActionSegment, Body, Recording
from palmist.skeleton import BODY_BONES

__all__ = ["FORMAT", "VERSION", "Reading"]

FORMAT = "palmist-reading"
VERSION = 1

#: Decimals in JSON: a micrometre, a hundredth of a pixel, a hundred-thousandth of the image.
_DECIMALS = {"metric": 6, "planar": 2, "image": 5}
_UNITS = {"metric": "m", "planar": "px", "image": "fraction of the image"}
_NOTES = {
    "planar": "planar: depth is not recorded, z is 0",
    "image": "2.5D: depth is relative, the hands' distance is not known",
}


@dataclass(frozen=True, eq=False)
class Reading:
    """What a model understood of the observed part of a recording.

    Fields
        recording: the observed part, as it was given (time, joints, masks, body, ...)
        model: name of the checkpoint
        refined (T, 2, 21, 3) float32, refined_known (T, 2, 21) bool: refined poses; nothing is refined that was not
            observed, unknown entries are 0
        label: recognised action or None; action_labels: L names; probabilities (L,) of the whole observed part
        action_time (N,) seconds, action_probabilities (N, L): what was recognised from the frames up to each moment
        futures (K, T', 2, 21, 3) samples, futures_time (T',) seconds, futures_known (2, 21) bool: hands that were seen
            lately and joints that the recording has; most_likely: the most central sample (the medoid)
        deterministic (T', 2, 21, 3): the future without sampling
        truth (T', 2, 21, 3), truth_known (T', 2, 21): what really came, where the recording goes on; else None
        scale (3,): model space (metres, or hands of 90 mm) = own space x scale; hand_size: metres in model space
        timing: milliseconds per stage, names end in "_ms"

    Example:
        >>> reading = palmist.load().read(recording)
        >>> reading.label, reading.futures.shape
        ('coffee', (20, 30, 2, 21, 3))
    """

    recording: Recording
    model: str
    refined: np.ndarray
    refined_known: np.ndarray
    futures: np.ndarray
    futures_time: np.ndarray
    futures_known: np.ndarray
    deterministic: np.ndarray
    most_likely: int
    scale: np.ndarray
    hand_size: float
    label: str | None = None
    action_labels: tuple[str, ...] = ()
    probabilities: np.ndarray = field(default_factory=lambda: np.zeros(0))
    action_time: np.ndarray = field(default_factory=lambda: np.zeros(0))
    action_probabilities: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    truth: np.ndarray | None = None
    truth_known: np.ndarray | None = None
    timing: Mapping[str, float] = field(default_factory=dict)

    def __repr__(self) -> str:
        action = f"{self.label} {self.probability:.0%}" if self.label is not None else "no action"
        return f"Reading({self.name!r}, {len(self.time)} frames, {action}, {len(self.futures)} futures)"

    # ------------------------------------------------------------------------------------------------ what was read

    @property
    def name(self) -> str:
        return self.recording.name

    @property
    def time(self) -> np.ndarray:
        """(T,) seconds of the observed frames."""
        return self.recording.time

    @property
    def observed(self) -> np.ndarray:
        """(T, 2, 21, 3) observed joints, as given."""
        return self.recording.joints

    @property
    def body(self) -> Body | None:
        return self.recording.body

    @property
    def refined_valid(self) -> np.ndarray:
        """(T, 2) bool: the hand was refined in this frame."""
        return np.asarray(self.refined_known[:, :, 0])

    @property
    def futures_valid(self) -> np.ndarray:
        """(T', 2) bool: the hand is predicted."""
        return np.broadcast_to(self.futures_known[:, 0], (len(self.futures_time), 2))

    @property
    def probability(self) -> float:
        """Of `label`; NaN without a label."""
        return float(self.probabilities.max()) if self.label is not None else math.nan

    @property
    def true_label(self) -> str | None:
        """The recording's own label that covers most of the observed part, None if it has none."""
        first, last = float(self.time[0]), float(self.time[-1])
        shares = [(min(s.end, last) - max(s.start, first), s.label) for s in self.recording.segments]
        shares = [share for share in shares if share[0] >= 0]
        return max(shares, key=lambda share: share[0])[1] if shares else None

    # ------------------------------------------------------------------------------------------------ how good it is

    def distance(self, first: np.ndarray, second: np.ndarray, known: np.ndarray) -> float:
        """Mean distance of joints (..., 2, 21, 3) over `known` (broadcast), in metres of model space; NaN for none."""
        gap = np.linalg.norm((np.asarray(first, np.float64) - second) * self.scale, axis=-1)
        known = np.broadcast_to(known, gap.shape)
        return float(gap[known].mean()) if known.any() else math.nan

    @property
    def shift(self) -> float:
        """How far refinement moved the joints, mean in metres of model space."""
        return self.distance(self.refined, self.observed, self.refined_known & self.recording.known)

    @property
    def spread(self) -> float:
        """Mean distance between two futures, over frames and joints, in metres of model space; NaN for fewer than 2."""
        count = len(self.futures)
        if count < 2 or not self.futures_known.any():
            return math.nan
        moved = (self.futures[:, :, self.futures_known].astype(np.float64) * self.scale).reshape(count, -1, 3)
        gaps = [np.linalg.norm(moved[i + 1 :] - moved[i], axis=-1).mean(-1) for i in range(count - 1)]
        return float(np.concatenate(gaps).mean())

    def future_error(self, which: str = "most_likely") -> float:
        """Mean distance to what really came, in metres of model space; NaN where that is not known.

        Args:
            which: "most_likely", "deterministic", "best" (the nearest sample), or "last_pose" (the last seen pose
                repeated: what a prediction has to beat).
        """
        if self.truth is None or self.truth_known is None:
            return math.nan
        known = self.truth_known & self.futures_known
        if which == "last_pose":
            last, seen = _last_pose(self.recording)
            return self.distance(last[None], self.truth, known & seen)
        _, seen = _last_pose(self.recording)
        known = known & seen  # the same joints for every row of a table
        if which == "deterministic":
            return self.distance(self.deterministic, self.truth, known)
        errors = [self.distance(future, self.truth, known) for future in self.futures]
        if not errors:
            return math.nan
        if which == "most_likely":
            return errors[self.most_likely]
        if which == "best":
            return min(errors)
        raise InputError(f"there is no future {which!r}; expected most_likely, deterministic, best or last_pose")

    def in_own_terms(self, metres: float) -> str:
        """A distance for people: millimetres of a metric recording, otherwise percent of the hand size."""
        if not math.isfinite(metres):
            return "–"
        if self.recording.space == "metric":
            return f"{metres * 1000:.1f} mm"
        return f"{metres / self.hand_size:.1%}" if self.hand_size > 0 else "–"

    # ------------------------------------------------------------------------------------------------ other forms

    def to_json(self) -> dict[str, Any]:
        """Plain lists and numbers for `json.dumps`; null marks an unknown coordinate.

        Keys: format "palmist-reading", version 1, name, model, space, unit, frame, aspect, absent_joints, rate,
        subject, label, probability, true_label;
        observed {time (T), joints (T, 2, 21, 3), valid (T, 2)}; refined {the same}; body {joints, valid, bones, layout}
        or null; actions {labels (L), time (N), probabilities (N, L), overall (L)} or null;
        futures {time (T'), joints (K, T', 2, 21, 3), valid (T', 2), most_likely, deterministic (T', 2, 21, 3)} or null;
        truth_future {time, joints, valid} or null; timing {stage_ms}; notes; attribution.
        It is also what `palmist.view.write_page` shows.
        """
        recording = self.recording
        rate = recording.rate
        return {
            "format": FORMAT,
            "version": VERSION,
            "name": recording.name,
            "model": self.model,
            "space": recording.space,
            "unit": _UNITS[recording.space],
            "frame": recording.frame,
            "aspect": recording.aspect,
            "absent_joints": list(recording.absent_joints),
            "rate": round(rate, 3) if math.isfinite(rate) else None,
            "subject": recording.subject,
            "label": self.label,
            "probability": None if self.label is None else round(self.probability, 4),
            "true_label": self.true_label,
            "observed": self._track(self.time, self.observed, recording.present),
            "refined": self._track(self.time, self.refined, self.refined_known),
            "body": self._body_json(),
            "actions": self._actions_json(),
            "futures": self._futures_json(),
            "truth_future": self._truth_json(),
            "timing": {name: round(value, 2) for name, value in self.timing.items()},
            "notes": self._notes(),
            "attribution": recording.source,
        }

    def _numbers(self, values: np.ndarray, known: np.ndarray) -> list[Any]:
        """Coordinates (..., 3) as nested lists, null where `known` (...) is False."""
        rounded = np.round(np.asarray(values, np.float64), _DECIMALS[self.recording.space]) + 0.0  # no -0.0
        known = np.broadcast_to(known, rounded.shape[:-1])
        if known.all():
            return list(rounded.tolist())
        holes = rounded.astype(object)
        holes[~known] = None
        return list(holes.tolist())

    def _track(self, time: np.ndarray, joints: np.ndarray, known: np.ndarray) -> dict[str, Any]:
        return {
            "time": _seconds(time),
            "joints": self._numbers(joints, known),
            "valid": np.broadcast_to(known[..., 0], joints.shape[:2]).tolist(),
        }

    def _body_json(self) -> dict[str, Any] | None:
        body = self.body
        if body is None:
            return None
        return {
            "layout": body.layout,
            "joints": self._numbers(body.joints, body.valid),
            "valid": body.valid.tolist(),
            "bones": [list(bone) for bone in BODY_BONES[body.layout]],
        }

    def _actions_json(self) -> dict[str, Any] | None:
        if self.label is None:
            return None
        return {
            "labels": list(self.action_labels),
            "time": _seconds(self.action_time),
            "probabilities": np.round(np.asarray(self.action_probabilities, np.float64), 4).tolist(),
            "overall": np.round(np.asarray(self.probabilities, np.float64), 4).tolist(),
        }

    def _futures_json(self) -> dict[str, Any] | None:
        if not len(self.futures_time):
            return None
        return {
            "time": _seconds(self.futures_time),
            "joints": self._numbers(self.futures, self.futures_known),
            "valid": self.futures_valid.tolist(),
            "most_likely": self.most_likely,
            "deterministic": self._numbers(self.deterministic, self.futures_known),
        }

    def _truth_json(self) -> dict[str, Any] | None:
        if self.truth is None or self.truth_known is None or not self.truth_known.any():
            return None
        return self._track(self.futures_time, self.truth, self.truth_known)

    def _notes(self) -> list[str]:
        recording = self.recording
        notes = [_NOTES[recording.space]] if recording.space in _NOTES else []
        if recording.space == "image" and recording.aspect_assumed:
            notes.append(f"the image's aspect ratio was not recorded; {recording.aspect:.3g} is assumed")
        if recording.root == "palm_centre":
            notes.append("joint 0 is the palm's centre, not the wrist")
        return notes

    def to_recording(self, future: str | int | None = None) -> Recording:
        """The refined hands as a Recording, with the recognised action as its segment.

        Args:
            future: None, or the future to append: "most_likely", "deterministic" or its number. Its frames are marked
                `interpolated`: present for display, never `known`, so that no prediction reaches a loss or a metric.
        """
        recording = self.recording
        confidence = self.refined_known.astype(np.float32)
        if recording.confidence is not None:
            confidence *= recording.confidence
        end = float(self.time[-1]) + (1 / recording.rate if len(self.time) > 1 else 1 / 30)
        segments = (ActionSegment(float(self.time[0]), end, self.label),) if self.label is not None else ()
        facts = {"model": self.model, "of": recording.name, "probability": self.probability if self.label else None}
        refined = recording.replace(
            joints=self.refined,
            valid=self.refined_valid,
            confidence=confidence,
            interpolated=None,
            segments=segments,
            provenance={**recording.provenance, "refined_by": facts},
        )
        return refined if future is None else self._append(refined, self._future(future), future)

    def _future(self, future: str | int) -> np.ndarray:
        if future == "deterministic":
            return self.deterministic
        number = self.most_likely if future == "most_likely" else future
        if not isinstance(number, int) or not 0 <= number < len(self.futures):
            raise InputError(
                f"there is no future {future!r}; expected most_likely, deterministic or a number below {len(self.futures)}"
            )
        return np.asarray(self.futures[number])

    def _append(self, refined: Recording, joints: np.ndarray, name: str | int) -> Recording:
        count, body, camera = len(joints), refined.body, refined.camera
        if body is not None:
            more = np.zeros((count, *body.joints.shape[1:]), np.float32)
            flags = np.zeros(more.shape[:2], bool)
            confidence = None if body.confidence is None else np.concatenate([body.confidence, flags.astype(np.float32)])
            body = Body(np.concatenate([body.joints, more]), np.concatenate([body.valid, flags]), body.layout, confidence)
        if camera is not None and np.ndim(camera.get("pose", 0)) == 3:
            last = np.repeat(np.asarray(camera["pose"])[-1:], count, 0)
            camera = {**camera, "pose": np.concatenate([camera["pose"], last])}
        assert refined.confidence is not None
        predicted = np.broadcast_to(self.futures_known, (count, 2, 21))
        return refined.replace(
            joints=np.concatenate([refined.joints, joints]),
            valid=np.concatenate([refined.valid, self.futures_valid]),
            time=np.concatenate([refined.time, self.futures_time]),
            confidence=np.concatenate([refined.confidence, predicted.astype(np.float32)]),
            interpolated=np.concatenate([np.zeros(refined.valid.shape, bool), self.futures_valid]),
            body=body,
            camera=camera,
            objects=None if refined.objects is None else (*refined.objects, *([""] * count)),
            provenance={**refined.provenance, "predicted": {"future": name, "frames": [len(refined), len(refined) + count]}},
        )

    def save(self, path: str | Path) -> Path:
        """Write the reading by the path's ending: .json (`to_json`), .npz (`to_recording`) or .html (a page)."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".json":
            path.write_text(json.dumps(self.to_json(), ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
            return path
        if path.suffix == ".npz":
            from palmist.recording_file import write_recording

            return write_recording(path, self.to_recording())
        if path.suffix in (".html", ".htm"):
            from palmist.view import write_page

            return write_page([self], path, title=self.name)
        raise InputError(f"{path} ends in {path.suffix or 'nothing'!r}; expected .json, .npz or .html")


def _seconds(time: np.ndarray) -> list[float]:
    return [round(float(moment), 6) for moment in time]


def _last_pose(recording: Recording) -> tuple[np.ndarray, np.ndarray]:
    """Each joint where it was last known, (2, 21, 3), and whether it ever was, (2, 21)."""
    known = recording.known
    frame = len(known) - 1 - np.argmax(known[::-1], axis=0)
    pose = np.take_along_axis(np.asarray(recording.joints), frame[None, ..., None], axis=0)[0]
    return pose, np.asarray(known.any(0))

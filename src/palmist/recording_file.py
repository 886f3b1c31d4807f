"""One recording in one .npz file, and the JSON form of everything in a Recording that is not an array.

`read_recording` also takes a user's own file. Its arrays:

    joints       (T, 2, 21, 3) numbers, left hand first, canonical joint order; NaN where unknown         [required]
    time         (T,) seconds, strictly increasing;  or rate: frames per second of regular frames         [one of them]
    valid        (T, 2) bool; without it a hand counts as seen where its wrist is finite and it is not all zeros
    confidence   (T, 2, 21) from 0 to 1, 0 = unknown          interpolated (T, 2) bool
    body_joints  (T, V, 3), body_valid (T, V) bool, body_confidence (T, V), body_layout: a key of skeleton.BODY_LAYOUTS
    camera_pose  (4, 4) or (T, 4, 4) camera-to-world
    space        "metric" (metres, the default), "image" (fractions of width and height) or "planar" (pixels)
    name, frame, root, subject, session, split, source: text;  aspect: number;  absent_joints: joint numbers
    metadata     JSON text with any of the fields above, segments, objects and provenance, as `write_recording` makes it
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from palmist.errors import InputError
from palmist.files.npz import load_arrays, save_arrays, text_of
from palmist.recording import ActionSegment, Body, Recording, check_joint_shape

FORMAT = "palmist-recording"
VERSION = 1

_TEXT_FIELDS = ("space", "name", "frame", "root", "subject", "session", "split", "source")
_DEFAULTS: dict[str, Any] = {
    "frame": "camera", "root": "wrist", "absent_joints": [], "aspect": None, "aspect_assumed": False, "camera": None,
    "objects": None, "segments": [], "subject": None, "session": None, "split": None, "source": None, "provenance": {},
}  # fmt: skip


def plain(value: Any, where: str) -> Any:
    """JSON-like copy of a value: numpy scalars and arrays become numbers and lists; InputError for anything else."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Mapping):
        return {str(key): plain(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, where) for item in value]
    raise InputError(f"{where} holds a {type(value).__name__}; expected numbers, text, lists and mappings only")


def metadata(recording: Recording) -> dict[str, Any]:
    """Everything of a recording but its arrays, ready for JSON; fields at their default are left out."""
    camera = recording.camera
    if camera is not None:
        camera = {key: value for key, value in camera.items() if key != "pose"}
    objects = recording.objects
    fields = {
        "name": recording.name,
        "space": recording.space,
        "frame": recording.frame,
        "root": recording.root,
        "absent_joints": list(recording.absent_joints),
        "aspect": recording.aspect,
        "aspect_assumed": recording.aspect_assumed,
        "camera": None if camera is None else plain(camera, "camera"),
        "objects": None if objects is None else _run_lengths(objects),
        "segments": [_segment_fields(segment) for segment in recording.segments],
        "subject": recording.subject,
        "session": recording.session,
        "split": recording.split,
        "source": recording.source,
        "provenance": plain(recording.provenance, "provenance"),
    }
    return {key: value for key, value in fields.items() if key not in _DEFAULTS or value != _DEFAULTS[key]}


def fields_from_metadata(meta: Mapping[str, Any]) -> dict[str, Any]:
    """The keyword arguments of Recording that `metadata` wrote."""
    fields = {key: value for key, value in meta.items() if key in _DEFAULTS or key in _TEXT_FIELDS}
    if "absent_joints" in fields:
        fields["absent_joints"] = tuple(int(joint) for joint in fields["absent_joints"])
    if fields.get("objects") is not None:
        fields["objects"] = tuple(name for name, count in fields["objects"] for _ in range(count))
    if "segments" in fields:
        fields["segments"] = tuple(ActionSegment(**segment) for segment in fields["segments"])
    if fields.get("camera") is not None and "intrinsics" in fields["camera"]:
        fields["camera"] = {**fields["camera"], "intrinsics": tuple(fields["camera"]["intrinsics"])}
    return fields


def _segment_fields(segment: ActionSegment) -> dict[str, Any]:
    fields: dict[str, Any] = {"start": float(segment.start), "end": float(segment.end), "label": segment.label}
    for key in ("verb", "noun"):
        if getattr(segment, key) is not None:
            fields[key] = getattr(segment, key)
    return fields


def _run_lengths(names: tuple[str, ...]) -> list[list[Any]]:
    """("cup", "cup", "") -> [["cup", 2], ["", 1]]: object names change rarely."""
    runs: list[list[Any]] = []
    for name in names:
        if runs and runs[-1][0] == name:
            runs[-1][1] += 1
        else:
            runs.append([name, 1])
    return runs


def write_recording(path: str | Path, recording: Recording) -> Path:
    """Write one recording as .npz, without pickle, whole or not at all. Returns the path, ".npz" added if missing."""
    path = Path(path)
    if path.suffix != ".npz":
        path = path.with_name(path.name + ".npz")
    head = {"format": FORMAT, "version": VERSION, **metadata(recording)}
    arrays: dict[str, Any] = {
        "joints": recording.joints,
        "valid": recording.valid,
        "time": recording.time,
        "space": recording.space,
        "metadata": json.dumps(head, ensure_ascii=False),
    }
    for key in ("confidence", "interpolated"):
        if getattr(recording, key) is not None:
            arrays[key] = getattr(recording, key)
    if recording.body is not None:
        arrays |= {
            "body_joints": recording.body.joints,
            "body_valid": recording.body.valid,
            "body_layout": recording.body.layout,
        }
        if recording.body.confidence is not None:
            arrays["body_confidence"] = recording.body.confidence
    if recording.camera is not None and "pose" in recording.camera:
        arrays["camera_pose"] = np.asarray(recording.camera["pose"], np.float64)
    save_arrays(path, arrays)
    return path


def read_recording(path: str | Path) -> Recording:
    """Read one recording from an .npz file: one of ours, or a user's own (arrays: see the head of this module).

    Raises InputError, one sentence that names the file, what was found, what was expected and how to mend it.

    >>> np.savez("wave.npz", joints=joints, rate=30.0, space="metric")
    >>> read_recording("wave.npz")
    Recording('wave', 120 frames, 3.97 s, metric, left 100%, right 100%)
    """
    fields = read_fields(path)
    try:
        return Recording(**fields)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def read_fields(path: str | Path) -> dict[str, Any]:
    """The keyword arguments of Recording as the file has them, before any check of values or times (for damage.py)."""
    path = Path(path)
    arrays = load_arrays(path)
    if "joints" not in arrays:
        raise InputError(
            f"{path} has no array 'joints'; it has {', '.join(arrays) or 'none'}; "
            "expected joints (frames, 2, 21, 3) and time (frames,) or rate"
        )
    try:
        fields: dict[str, Any] = {"name": path.stem, **_read_metadata(arrays)}
        fields["joints"] = _read_joints(arrays)
        fields["time"] = _read_time(arrays, len(fields["joints"]))
        fields["valid"] = arrays["valid"] if "valid" in arrays else _seen(fields["joints"])
        for key in ("confidence", "interpolated"):
            if key in arrays:
                fields[key] = arrays[key]
        if "body_joints" in arrays:
            joints = arrays["body_joints"]
            valid = arrays.get("body_valid", np.ones(joints.shape[:2], bool))
            layout = text_of(arrays, "body_layout") if "body_layout" in arrays else "mediapipe25"
            fields["body"] = Body(joints, valid, layout, arrays.get("body_confidence"))
        if "camera_pose" in arrays:
            fields["camera"] = {**(fields.get("camera") or {}), "pose": arrays["camera_pose"]}
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except (TypeError, ValueError, LookupError, ArithmeticError) as error:
        raise InputError(f"{path} holds an array of a wrong type or shape ({error}); expected numbers") from error
    return fields


def _read_metadata(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if "metadata" in arrays:
        try:
            meta = json.loads(str(arrays["metadata"]))
            if not isinstance(meta, dict):
                raise TypeError("it is not an object")
            if meta.get("format", FORMAT) != FORMAT or meta.get("version", VERSION) != VERSION:
                raise InputError(
                    f"format {meta.get('format')} version {meta.get('version')} is unknown; "
                    f"this Palmist reads {FORMAT} version {VERSION}; update Palmist with: pip install -U palmist"
                )
            fields |= fields_from_metadata(meta)
        except InputError:
            raise
        except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError) as error:
            raise InputError(f"the array 'metadata' is not the JSON text that Palmist writes ({error})") from error
    for key in _TEXT_FIELDS:
        if key in arrays:
            fields[key] = text_of(arrays, key)
    if "aspect" in arrays:
        fields["aspect"] = float(arrays["aspect"])
    if "absent_joints" in arrays:
        fields["absent_joints"] = tuple(int(joint) for joint in arrays["absent_joints"].ravel())
    if "space" not in fields:
        fields["space"] = "metric"
        fields["provenance"] = {**fields.get("provenance", {}), "space": "not stated by the file, taken as metric"}
    if "metadata" not in arrays and "frame" not in fields and fields["space"] != "metric":
        fields["frame"] = "image"
    return fields


def _read_joints(arrays: dict[str, np.ndarray]) -> np.ndarray:
    joints = arrays["joints"]
    if joints.dtype.kind not in "fiu":
        raise InputError(f"joints are of type {joints.dtype}; expected real numbers (float32)")
    check_joint_shape(joints)
    if not np.isfinite(joints).any():
        raise InputError("every joint is NaN or infinite; expected at least one known joint in one frame")
    return joints


def _read_time(arrays: dict[str, np.ndarray], frames: int) -> np.ndarray:
    if "time" in arrays:
        return arrays["time"]
    if "rate" not in arrays:
        raise InputError("it has neither 'time' (seconds, one per frame) nor 'rate' (frames per second); add one")
    rate = arrays["rate"]
    if rate.ndim != 0 or rate.dtype.kind not in "fiu" or not (np.isfinite(rate) and rate > 0):
        raise InputError(f"rate is {rate.tolist()}; expected frames per second, one positive number")
    return np.arange(frames) / float(rate)


def _seen(joints: np.ndarray) -> np.ndarray:
    """A hand of zeros is how most trackers write "not found"."""
    return np.isfinite(joints[:, :, 0]).all(-1) & (np.nan_to_num(joints) != 0).any((2, 3))

"""Checks the readings that a page is made from and packs them: joints as 16-bit numbers, all else as plain JSON.

Letters: T frames, H hands (2: left, right), J joints (21), V body joints, K futures, N moments, L action labels.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from palmist.errors import InputError

UNKNOWN = -32768  # the 16-bit code of a coordinate that nobody knows
_STEPS = 65534  # codes -32767 .. 32767 span the range of one axis
_SPACES = ("metric", "image", "planar")
_TEXTS = ("name", "subject", "true_label", "label", "unit", "model", "attribution", "root")


def pack_reading(reading: Mapping[str, Any] | Any) -> dict[str, Any]:
    """Check one reading and pack it for the page.

    `reading` is a mapping as described by `palmist.view.page.PageReading`, or an object whose `to_json()` gives such a
    mapping (or its JSON text). Raises `InputError` that names the reading and the field which is wrong.
    """
    source = _as_mapping(reading)
    name = str(source.get("name") or "recording")
    space = source.get("space", "metric")
    if space not in _SPACES:
        raise InputError(f"{name}: space is {space!r}, expected {' or '.join(_SPACES)}; give the recording's space.")
    absent = tuple(int(joint) for joint in source.get("absent_joints") or ())
    packed: dict[str, Any] = {key: str(source[key]) for key in _TEXTS if source.get(key) is not None}
    packed.update(name=name, space=space, **_axes(source, space))
    packed["rate"] = None if source.get("rate") is None else float(source["rate"])
    packed["notes"] = [str(note) for note in _texts(source.get("notes"))]
    packed["timing"] = _pack_timing(source.get("timing") or {}, f"{name}: timing")
    if source.get("observed") is None:
        raise InputError(f"{name}: there is no 'observed' track; give observed = {{time, joints, valid}}.")
    for key in ("observed", "refined", "truth_future"):
        if source.get(key) is not None:
            packed[key] = _pack_track(source[key], f"{name}: {key}", absent)
    if source.get("body") is not None:
        packed["body"] = _pack_body(source["body"], source["observed"], f"{name}: body")
    if source.get("futures") is not None and len(source["futures"].get("joints", "?")):  # none when no sample was asked for
        last = _last_valid(source.get("refined") or source["observed"])
        packed["futures"] = _pack_futures(source["futures"], f"{name}: futures", absent, last)
    if source.get("actions") is not None:
        packed["actions"] = _pack_actions(source["actions"], f"{name}: actions")
    return packed


def quantise(values: ArrayLike) -> dict[str, Any]:
    """Pack coordinates (..., C) as 16-bit numbers with a scale and an offset per axis; NaN stays unknown.

    Returns {"shape", "scale" (C,), "offset" (C,), "data": base64 of little-endian int16}; a value is
    code x scale + offset, off by at most half a step: 1/131068 of the range of its axis.

    >>> quantise([[0.0, 1.0], [2.0, float("nan")]])["shape"]
    [2, 2]
    """
    array = np.asarray(values, dtype=np.float64)
    flat = array.reshape(-1, array.shape[-1])
    known = np.isfinite(flat)
    low = np.min(np.where(known, flat, np.inf), axis=0, initial=np.inf)
    high = np.max(np.where(known, flat, -np.inf), axis=0, initial=-np.inf)
    low, high = np.where(np.isfinite(low), low, 0.0), np.where(np.isfinite(high), high, 0.0)
    offset = (low + high) / 2
    scale = np.where(high > low, (high - low) / _STEPS, 1.0)
    codes = np.where(known, np.rint((np.where(known, flat, 0.0) - offset) / scale), UNKNOWN)
    data = base64.b64encode(codes.astype("<i2").tobytes()).decode("ascii")
    return {"shape": list(array.shape), "scale": scale.tolist(), "offset": offset.tolist(), "data": data}


def dequantise(packed: Mapping[str, Any]) -> NDArray[np.float64]:
    """Undo `quantise`: what the page does in JavaScript. Unknown coordinates come back as NaN."""
    codes = np.frombuffer(base64.b64decode(packed["data"]), dtype="<i2").reshape(packed["shape"])
    values = codes * np.asarray(packed["scale"]) + np.asarray(packed["offset"])
    return np.where(codes == UNKNOWN, np.nan, values)


def _as_mapping(reading: Any) -> Mapping[str, Any]:
    if not isinstance(reading, Mapping) and hasattr(reading, "to_json"):
        reading = reading.to_json()
    if isinstance(reading, str):
        reading = json.loads(reading)
    if not isinstance(reading, Mapping):
        raise InputError(f"A page is made from readings; found {type(reading).__name__}; give Readings or mappings.")
    return reading


def _axes(source: Mapping[str, Any], space: str) -> dict[str, Any]:
    """Where up and near are, by the flags given or by the custom of the space (see PageReading)."""
    upward = space == "metric" and source.get("frame") in ("world", "device")
    y_axis = source.get("y_axis") or ("up" if upward else "down")
    z_axis = source.get("z_axis") or ("towards" if y_axis == "up" else "away")
    if y_axis not in ("up", "down") or z_axis not in ("towards", "away"):
        raise InputError(f"y_axis is {y_axis!r} and z_axis {z_axis!r}; expected 'up' or 'down', 'towards' or 'away'.")
    aspect = float(source.get("aspect") or 1.0) if space == "image" else 1.0
    return {"y_axis": y_axis, "z_axis": z_axis, "aspect": aspect}


def _pack_timing(timing: Mapping[str, Any], where: str) -> dict[str, float | str]:
    packed: dict[str, float | str] = {}
    for key, value in timing.items():
        if value is None:
            continue
        packed[str(key)] = value if isinstance(value, str) else float(value)
        if not isinstance(value, str) and not np.isfinite(value):
            raise InputError(f"{where}.{key} is {value}, expected seconds; leave it out if it was not measured.")
    return packed


def _texts(value: Any) -> Sequence[Any]:
    return () if value is None else (value,) if isinstance(value, str) else tuple(value)


def _array(value: Any, where: str, shape: tuple[int | None, ...]) -> NDArray[np.float64]:
    """A float array of that shape (None: any size); null becomes NaN."""
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{where} is not an array of numbers; expected shape {_shape_text(shape)}.") from None
    if array.ndim != len(shape) or any(want not in (None, got) for want, got in zip(shape, array.shape, strict=True)):
        raise InputError(f"{where} has shape {array.shape}, expected {_shape_text(shape)}.")
    return array


def _shape_text(shape: tuple[int | None, ...]) -> str:
    sizes = ", ".join("any" if size is None else str(size) for size in shape)
    return f"({sizes},)" if len(shape) == 1 else f"({sizes})"


def _times(value: Any, where: str, count: int | None = None) -> list[float]:
    time = _array(value, f"{where}.time", (count,))
    if len(time) == 0 or not np.isfinite(time).all() or (np.diff(time) <= 0).any():
        raise InputError(f"{where}.time must be increasing finite seconds, at least one; run palmist check --repair.")
    return [round(float(moment), 5) for moment in time]


def _hide(joints: NDArray[np.float64], valid: Any, where: str, absent: Sequence[int]) -> NDArray[np.float64]:
    """Joints with unknown entries as NaN: missing hands, absent slots, and any joint with one unknown coordinate."""
    joints = joints.copy()
    if valid is not None:
        joints[..., ~_array(valid, f"{where}.valid", joints.shape[-4:-2]).astype(bool), :, :] = np.nan
    if absent:
        joints[..., list(absent), :] = np.nan
    joints[~np.isfinite(joints).all(axis=-1)] = np.nan
    return joints


def _pack_track(track: Mapping[str, Any], where: str, absent: Sequence[int]) -> dict[str, Any]:
    joints = _array(track.get("joints"), f"{where}.joints", (None, 2, 21, 3))
    return {
        "time": _times(track.get("time"), where, len(joints)),
        "joints": quantise(_hide(joints, track.get("valid"), where, absent)),
    }


def _last_valid(track: Mapping[str, Any]) -> NDArray[np.bool_]:
    """(2,) which hands are known in the last frame: a model invents a pose for the others too, but nobody saw them."""
    last = np.asarray(track["joints"][-1], dtype=np.float64)
    seen = np.isfinite(last).all(axis=-1).any(axis=-1)
    valid = np.ones(2, dtype=np.bool_) if track.get("valid") is None else np.asarray(track["valid"][-1], dtype=np.bool_)
    return np.logical_and(seen, valid)


def _pack_futures(
    futures: Mapping[str, Any], where: str, absent: Sequence[int], last_valid: NDArray[np.bool_]
) -> dict[str, Any]:
    joints = _array(futures.get("joints"), f"{where}.joints", (None, None, 2, 21, 3))
    most_likely = int(futures.get("most_likely") or 0)
    if not 0 <= most_likely < len(joints):
        raise InputError(f"{where}.most_likely is {most_likely}, but there are {len(joints)} futures; count from 0.")
    valid = futures.get("valid")
    if valid is None:
        valid = np.broadcast_to(last_valid, joints.shape[1:3])
    return {
        "time": _times(futures.get("time"), where, joints.shape[1]),
        "joints": quantise(_hide(joints, valid, where, absent)),
        "most_likely": most_likely,
    }


def _pack_body(body: Mapping[str, Any], observed: Mapping[str, Any], where: str) -> dict[str, Any]:
    joints = _array(body.get("joints"), f"{where}.joints", (None, None, 3)).copy()
    if body.get("valid") is not None:
        joints[~_array(body["valid"], f"{where}.valid", joints.shape[:2]).astype(bool)] = np.nan
    joints[~np.isfinite(joints).all(axis=-1)] = np.nan
    bones = [[int(start), int(end)] for start, end in body.get("bones") or ()]
    if any(not 0 <= joint < joints.shape[1] for bone in bones for joint in bone):
        raise InputError(f"{where}.bones names a joint outside 0..{joints.shape[1] - 1}; give pairs of joint indices.")
    time = _times(body.get("time", observed.get("time")), where, len(joints))
    return {"time": time, "joints": quantise(joints), "bones": bones}


def _pack_actions(actions: Mapping[str, Any], where: str) -> dict[str, Any]:
    labels = [str(label) for label in actions.get("labels") or ()]
    time = _times(actions.get("time"), where)
    chances = _array(actions.get("probabilities"), f"{where}.probabilities", (len(time), len(labels)))
    if not ((chances >= -1e-6) & (chances <= 1 + 1e-6)).all():
        raise InputError(f"{where}.probabilities must lie between 0 and 1; apply softmax to the similarities first.")
    return {"labels": labels, "time": time, "probabilities": np.round(chances, 4).tolist()}

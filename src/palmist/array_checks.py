"""Arrays that enter a frozen data type: numbers, flags and confidences, checked, read-only, unknown entries 0."""

from __future__ import annotations

from typing import Any

import numpy as np

from palmist.errors import InputError

__all__ = ["as_confidence", "as_flags", "as_numbers", "read_only", "zero_unknown"]


def read_only(array: np.ndarray) -> np.ndarray:
    """The same array, which nobody can write to any more."""
    if array.flags.writeable:
        array.flags.writeable = False
    return array


def as_numbers(value: Any, dtype: type, what: str) -> np.ndarray:
    """A read-only array of numbers; writable input is copied so that nobody can change it from outside."""
    array = np.asarray(value)
    if array.dtype.kind not in "fiub":
        raise InputError(f"{what} are of type {array.dtype}; expected real numbers ({np.dtype(dtype).name})")
    if array.dtype == dtype and not array.flags.writeable:
        return array
    with np.errstate(over="ignore"):  # a float64 beyond float32 becomes infinite, which is then masked as unknown
        return read_only(array.astype(dtype))


def as_flags(value: Any, what: str) -> np.ndarray:
    """A read-only array of bool; 0 and 1 count as flags. InputError otherwise."""
    array = np.asarray(value)
    if array.dtype.kind in "iu" and array.size and array.min() >= 0 and array.max() <= 1:
        array = array.astype(bool)
    if array.dtype != bool:
        raise InputError(f"{what} is of type {array.dtype}; expected true/false flags (bool)")
    return read_only(array.copy()) if array.flags.writeable else array


def as_confidence(value: Any, shape: tuple[int, ...], what: str) -> np.ndarray | None:
    """None, or read-only float32 of this shape from 0 to 1, NaN taken as 0. InputError otherwise."""
    if value is None:
        return None
    confidence = as_numbers(value, np.float32, f"{what} values")
    if confidence.shape != shape:
        raise InputError(f"{what} has shape {confidence.shape}; expected {shape}, one number per joint")
    if np.isnan(confidence).any():
        confidence = read_only(np.nan_to_num(confidence, nan=0.0))
    if confidence.size and (confidence.min() < 0 or confidence.max() > 1):
        raise InputError(f"{what} runs from {confidence.min():.3g} to {confidence.max():.3g}; expected numbers from 0 to 1")
    return confidence


def zero_unknown(joints: np.ndarray, present: np.ndarray) -> np.ndarray:
    """joints with 0 wherever they are not present; copied only when something has to change."""
    if np.any(joints[~present]):  # NaN counts as nonzero
        joints = joints.copy()
        joints[~present] = 0
    return read_only(joints)

"""Probabilities that can be believed: one temperature for each model, fitted on people that the fitted network never saw.

    p' = softmax(log p / T)     Guo et al., On calibration of modern neural networks (ICML 2017), section 4.2

T above 1 makes a model less sure, T below 1 surer; which label is first never changes. A temperature lies beside the weights in
a checkpoint's folder as calibration.json, and says of which weights, from how many samples and of which data it came; a
checkpoint without one has the temperature 1.

Letters: N samples, L labels.

>>> temperature = fit_temperature(probabilities, truth)
>>> write_calibration("runs/mine/last", Calibration.of(probabilities, truth, "stores/mine, people anna and ben"))
>>> temper(probabilities, read_calibration("runs/mine/last").temperature)
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from palmist.checkpoint import WEIGHTS_FILE, file_checksum, write_text
from palmist.errors import InputError
from palmist.files.input_files import damage_named, read_json
from palmist.metrics.classification import expected_calibration_error, negative_log_likelihood

__all__ = ["FILE", "LEAST", "UNCALIBRATED", "Calibration", "fit_temperature", "read_calibration", "temper", "write_calibration"]

FILE = "calibration.json"
FORMAT, VERSION = "palmist-calibration", 1
#: Probabilities below this count as this, so that no model can rule a label out alone.
LEAST = 1e-6
_RANGE = (0.05, 20.0)  # of temperatures


def temper(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities (..., L) at another temperature, rows of sum 1.

    >>> temper(np.array([0.8, 0.2]), 2.0).round(3)
    array([0.667, 0.333])
    """
    if not (math.isfinite(temperature) and temperature > 0):
        raise InputError(f"found the temperature {temperature}; expected a finite number above 0 (1 changes nothing)")
    logits = np.log(np.maximum(np.asarray(probabilities, np.float64), LEAST)) / temperature
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    return np.asarray(weights / weights.sum(-1, keepdims=True))


def fit_temperature(probabilities: np.ndarray, truth: np.ndarray) -> float:
    """The temperature with the least negative log-likelihood, between 0.05 and 20.

    Args:
        probabilities: (N, L), rows of sum 1, of samples that the network was not trained on: on its training data it is far
            too sure. truth: (N,) true classes, below 0: does not count.

    Raises InputError if no sample counts, or rows are no probabilities.
    """
    from scipy.optimize import minimize_scalar

    probabilities, truth = np.asarray(probabilities, np.float64), np.asarray(truth)
    before = negative_log_likelihood(probabilities, truth)
    if not before.n:
        raise InputError(f"no sample of {len(truth)} has a label; expected some to fit a temperature on")

    def loss(log_temperature: float) -> float:
        return negative_log_likelihood(temper(probabilities, math.exp(log_temperature)), truth).value

    # In 1/T the loss is convex, so there is one valley.
    low, high = (math.log(bound) for bound in _RANGE)
    return float(math.exp(minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-5}).x))


@dataclass(frozen=True)
class Calibration:
    """A temperature and where it comes from.

    n: samples that it was fitted on; data: in words, which, and by which network; error_before, error_after: their expected
    calibration error (the samples of the fit themselves, no test).
    """

    temperature: float = 1.0
    n: int = 0
    data: str = ""
    error_before: float | None = None
    error_after: float | None = None

    def __post_init__(self) -> None:
        low, high = _RANGE
        if not low * 0.99 <= self.temperature <= high * 1.01:
            raise InputError(f"found the temperature {self.temperature}; expected a number from {low:g} to {high:g}")

    @classmethod
    def of(cls, probabilities: np.ndarray, truth: np.ndarray, data: str) -> Calibration:
        """Fitted on probabilities (N, L) and true classes (N,); see `fit_temperature`."""
        temperature = fit_temperature(probabilities, truth)
        before = expected_calibration_error(probabilities, truth)
        after = expected_calibration_error(temper(probabilities, temperature), truth)
        return cls(temperature, before.n, data, before.value, after.value)

    def to_json(self) -> dict[str, Any]:
        """Plain values: temperature, n, data, error_before, error_after."""
        before, after = (None if error is None else round(error, 6) for error in (self.error_before, self.error_after))
        return {
            "temperature": round(self.temperature, 6), "n": self.n, "data": self.data, "error_before": before,
            "error_after": after,
        }  # fmt: skip


#: Of a checkpoint without a calibration.json.
UNCALIBRATED = Calibration()


def write_calibration(checkpoint: str | Path, calibration: Calibration) -> Path:
    """Write calibration.json into a checkpoint's folder, marked with its weights. InputError if the folder is no checkpoint."""
    folder = Path(checkpoint)
    facts = {"format": FORMAT, "version": VERSION, "weights": _weights(folder), **calibration.to_json()}
    write_text(folder / FILE, json.dumps(facts, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    return folder / FILE


def read_calibration(checkpoint: str | Path) -> Calibration:
    """The calibration of a checkpoint's folder; `UNCALIBRATED` where there is no calibration.json.

    Raises InputError if the file is damaged, of an unknown version, or of other weights than lie beside it.
    """
    folder = Path(checkpoint)
    file = folder / FILE
    if not file.exists():
        return UNCALIBRATED
    facts = read_json(file, "the temperature of a checkpoint")
    if not isinstance(facts, dict) or facts.get("format") != FORMAT or facts.get("version") != VERSION:
        found = (facts.get("format"), facts.get("version")) if isinstance(facts, dict) else type(facts).__name__
        raise InputError(
            f"{file} is of format and version {found}; expected {FORMAT!r}, {VERSION}; delete it or calibrate again"
        )
    if facts.get("weights") != _weights(folder):
        raise InputError(f"{file} was fitted for other weights than lie beside it; delete it or calibrate again")
    with damage_named(file, "a temperature, n, data and calibration errors"):
        errors = [None if facts[name] is None else float(facts[name]) for name in ("error_before", "error_after")]
        return Calibration(float(facts["temperature"]), int(facts["n"]), str(facts["data"]), *errors)


def _weights(folder: Path) -> int:
    """The checksum that tells these weights from others."""
    if not (folder / WEIGHTS_FILE).is_file():
        raise InputError(f"{folder} holds no {WEIGHTS_FILE}; expected the folder of a checkpoint")
    return file_checksum(folder / WEIGHTS_FILE)

"""How motion prediction is scored on the open data sets: which windows, which joints, which unit.

- asl_words: one window per recording, 10 frames seen and 10 predicted, right hand, tracked in all 20 frames; x and y in
  shoulder widths.
- reach_to_grasp: 16 frames seen and 16 predicted, a window every 16 frames, right hand; x and y in pixels.
- leap_recordings: every 4th frame, 15 of these seen and 15 predicted, a window every 6 of these, each hand that is
  tracked in all 30; x, y and z in millimetres.

A joint counts in a predicted frame when it was really recorded there and in at least one observed frame. The error of a
window is the mean over all its counted joints and frames; the score is the mean over windows, with an interval that
resamples recording sessions (asl_words), people (reach_to_grasp) or takes (leap_recordings).

The shoulder width of an asl_words window is the mean distance of the two shoulders in x, y over its observed frames
(the future is never looked at). x is a fraction of the image's width and y of its height; the aspect ratio was not
recorded and is not corrected for here.

Repeating the last pose scores 0.261 shoulder widths (n 3,038), 7.85 px (n 6,678) and 36.0 mm (n 261) under these rules.
The READMEs of the data name 0.261, 10.8 and 36.0. Their 10.8 px count joints that the tracker did not find as if they
were at (0, 0); with them the same windows give 10.8 here too. Which windows of the leap takes they mean is not said:
every sixth start gives 36.0, other strides up to ten give 35.4 to 36.2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from palmist.errors import InputError
from palmist.metrics.accumulators import ForecastAccumulator
from palmist.metrics.intervals import Metric
from palmist.readers import open_data
from palmist.recording import Recording
from palmist.skeleton import BODY_SIDES


@dataclass(frozen=True)
class ForecastProtocol:
    """The rules of one data set. Frame numbers count every `step`-th frame of the recording.

    observed, predicted: frames; stride: frames between window starts; hands: 0 left, 1 right; whole: the hand must be
    tracked in every frame of the window; coordinates: those that count; unit: its name; groups: what intervals
    resample.
    """

    observed: int
    predicted: int
    step: int
    stride: int
    hands: tuple[int, ...]
    whole: bool
    coordinates: tuple[int, ...]
    unit: str
    groups: str


PROTOCOLS: dict[str, ForecastProtocol] = {
    "asl_words": ForecastProtocol(10, 10, 1, 20, (1,), True, (0, 1), "shoulder widths", "session"),
    "reach_to_grasp": ForecastProtocol(16, 16, 1, 16, (1,), False, (0, 1), "px", "subject"),
    "leap_recordings": ForecastProtocol(15, 15, 4, 6, (0, 1), True, (0, 1, 2), "mm", "name"),
}


@dataclass(frozen=True, eq=False)
class ForecastWindow:
    """One prediction task.

    recording: the whole recording; only its `observed` frames may be looked at. observed, future: slices of its
    frames (they may skip frames). hand: 0 left, 1 right. unit_length: one reported unit in the recording's own unit.
    coordinates: those that count. counted: (T', 21) bool, the joints of the future that count. group: what the interval
    resamples.
    """

    recording: Recording
    observed: slice
    future: slice
    hand: int
    unit_length: float
    coordinates: tuple[int, ...]
    counted: np.ndarray
    group: str

    @property
    def observed_frames(self) -> np.ndarray:
        """(T,) frame numbers of the recording."""
        return np.arange(len(self.recording))[self.observed]

    @property
    def future_frames(self) -> np.ndarray:
        """(T',) frame numbers of the recording."""
        return np.arange(len(self.recording))[self.future]

    @property
    def recording_unit(self) -> str:
        """Name of the reported unit."""
        return {"metric": "mm", "planar": "px", "image": "shoulder widths"}[self.recording.space]

    @property
    def truth(self) -> np.ndarray:
        """(T', 21, 3) joints of the hand in the future, in the recording's own unit and frame."""
        return self.recording.joints[self.future, self.hand]


def forecast_windows(name: str, recordings: Iterable[Recording] | None = None) -> Iterator[ForecastWindow]:
    """All windows of an open set, in order.

    name: a key of PROTOCOLS; recordings: a part of the set (a test split, say), all of it by default.
    Raises InputError for a set without a protocol.

    Example:
        >>> window = next(forecast_windows("reach_to_grasp"))
        >>> window.observed, window.future
        (slice(0, 16, 1), slice(16, 32, 1))
    """
    if name not in PROTOCOLS:
        raise InputError(f"there is no forecast protocol for '{name}'; expected one of {', '.join(PROTOCOLS)}")
    rules = PROTOCOLS[name]
    length = rules.observed + rules.predicted
    for recording in open_data(name) if recordings is None else recordings:
        known = recording.known[:: rules.step]  # (T, 2, 21)
        tracked = recording.valid[:: rules.step]
        group = str(getattr(recording, rules.groups))
        for hand in rules.hands:
            for start in range(0, len(known) - length + 1, rules.stride):
                middle, stop = start + rules.observed, start + length
                if rules.whole and not tracked[start:stop, hand].all():
                    continue
                counted = known[middle:stop, hand] & known[start:middle, hand].any(0)
                if not counted.any():
                    continue
                observed = slice(start * rules.step, middle * rules.step, rules.step)
                unit_length = _unit_length(recording, observed, rules.unit)
                if unit_length is None:
                    continue
                yield ForecastWindow(
                    recording,
                    observed,
                    slice(middle * rules.step, min(stop * rules.step, len(recording)), rules.step),
                    hand,
                    unit_length,
                    rules.coordinates,
                    counted,
                    group,
                )


def score_forecasts(
    windows: Sequence[ForecastWindow], predict: Callable[[ForecastWindow], np.ndarray]
) -> tuple[dict[str, Metric], np.ndarray]:
    """Score a predictor: `ade`, `ade_best`, `fde`, `fde_best` in the set's unit, and the error at each frame (T',).

    predict: gives (K, T', 21, 3) futures of the window's hand in the recording's own unit and frame, as absolute
    positions, not relative to the wrist; coordinates that do not count may hold anything.


    Example:
        >>> def repeat(window):
        ...     return last_pose_of(window)[None]
        >>> score_forecasts(list(forecast_windows("leap_recordings")), repeat)[0]["ade"].value      # mm
    """
    total = ForecastAccumulator()
    for first in range(0, len(windows), 64):  # many windows at once are faster, all of them too much memory
        part = windows[first : first + 64]
        total.update(
            np.stack([np.asarray(predict(window)) for window in part]),
            np.stack([window.truth for window in part]),
            np.stack([window.counted for window in part]),
            groups=[window.group for window in part],
            unit=[window.unit_length for window in part],
            coordinates=part[0].coordinates,
        )
    return total.compute(), total.horizon()[0]


def _unit_length(recording: Recording, observed: slice, unit: str) -> float | None:
    """One reported unit in the recording's own unit; None where it cannot be measured."""
    if unit == "mm":
        return 1e-3
    if unit == "px":
        return 1.0
    if recording.body is None:
        return None
    left, right = BODY_SIDES[recording.body.layout].shoulder
    seen = recording.body.valid[observed][:, [left, right]].all(1)
    if not seen.any():
        return None
    shoulders = recording.body.joints[observed][seen].astype(np.float64)[..., :2]
    width = float(np.linalg.norm(shoulders[:, left] - shoulders[:, right], axis=-1).mean())
    return width if width > 0 else None

"""Metrics gathered batch by batch, and merged across processes.

Each accumulator has `update(...)` for one batch, `merge(other)` to take in another process's share, and `compute()`.
They keep the per-item numbers, not running means, so that a merge in the same order equals one pass over everything,
and intervals can be resampled. All are plain dataclasses of numpy arrays: send them with
`torch.distributed.all_gather_object`, then merge in rank order.

Example:
    total = ClassificationAccumulator(classes=16)
    for scores, labels in batches:
        total.update(scores, labels)
    total.compute()["accuracy"]        # Metric(value, n, interval)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from palmist.errors import InputError
from palmist.metrics import classification, motion
from palmist.metrics.intervals import Array, ArrayLike, Metric, as_array, bootstrap_interval, mean_metric


@dataclass
class MeanAccumulator:
    """Mean of one number per item (for example `mpjpe_ra_errors(...).error`), nan items left out.

    With `groups` (person, recording) the interval resamples whole groups.
    """

    values: list[Array] = field(default_factory=list)
    groups: list[Any] = field(default_factory=list)

    def update(self, values: ArrayLike, groups: Sequence[Any] | None = None) -> None:
        """Add values of any shape; groups: one id per value, always given or never."""
        numbers = as_array(values, np.float64).ravel()
        ids = [] if groups is None else list(groups)
        held = sum(len(v) for v in self.values)
        if (ids and len(ids) != len(numbers)) or (len(numbers) and held and bool(ids) != bool(self.groups)):
            raise InputError(
                f"{len(numbers)} values came with {len(ids)} groups; give one id per value in every update, or never."
            )
        self.values.append(numbers)
        self.groups.extend(ids)

    def merge(self, other: MeanAccumulator) -> None:
        """Add everything that `other` gathered."""
        if other.values:
            self.update(np.concatenate(other.values), other.groups or None)

    def compute(self) -> Metric:
        """Mean, n and bootstrap interval."""
        numbers = np.concatenate([np.zeros(0), *self.values])
        return mean_metric(numbers, interval=True, groups=self.groups or None)


@dataclass
class RatioAccumulator:
    """Ratio of two pooled means over the same items (for example refined error over noisy error)."""

    numerators: list[Array] = field(default_factory=list)
    denominators: list[Array] = field(default_factory=list)

    def update(self, numerators: ArrayLike, denominators: ArrayLike) -> None:
        """Add item errors of equal shape; an item that is nan in either is left out."""
        top, bottom = as_array(numerators, np.float64).ravel(), as_array(denominators, np.float64).ravel()
        if top.shape != bottom.shape:
            raise InputError(f"{len(top)} numerators came with {len(bottom)} denominators; they must pair up.")
        kept = ~(np.isnan(top) | np.isnan(bottom))
        self.numerators.append(top[kept])
        self.denominators.append(bottom[kept])

    def merge(self, other: RatioAccumulator) -> None:
        """Add everything that `other` gathered."""
        self.numerators.extend(other.numerators)
        self.denominators.extend(other.denominators)

    def compute(self) -> Metric:
        """Ratio, n items and bootstrap interval; nan when the denominators sum to 0."""
        parts = (self.numerators, self.denominators)
        pairs = np.stack([np.concatenate([np.zeros(0), *part]) for part in parts], axis=1)
        if not pairs[:, 1].sum() > 0:
            return Metric(float("nan"), len(pairs))

        def ratio(rows: Array) -> float:
            total = rows[:, 1].sum()
            return float(rows[:, 0].sum() / total) if total > 0 else float("nan")

        return Metric(ratio(pairs), len(pairs), bootstrap_interval(pairs, statistic=ratio))


@dataclass
class ForecastAccumulator:
    """ADE and FDE (mean and best of K) and the error at each horizon, over windows of equal length."""

    errors: dict[str, list[Array]] = field(default_factory=lambda: {"ade": [], "ade_best": [], "fde": [], "fde_best": []})
    curves: list[Array] = field(default_factory=list)
    groups: list[Any] = field(default_factory=list)

    def update(
        self,
        futures: ArrayLike,
        truth: ArrayLike,
        known: ArrayLike | None = None,
        groups: Sequence[Any] | None = None,
        unit: ArrayLike = 1.0,
        coordinates: Sequence[int] | None = None,
    ) -> None:
        """Add windows: futures (W, K, T, J, C), truth (W, T, J, C), known (W, T, J).

        unit: length of one reported unit in input units, a number or one per window (W,), for example
        the shoulder width.
        groups: (W,) ids resampled together; without them each window is its own group.
        """
        futures, truth = as_array(futures), as_array(truth)
        if futures.ndim != 5:
            raise InputError(f"Futures have shape {futures.shape}; expected (windows, futures, T, J, C).")
        windows = len(futures)
        scale = np.broadcast_to(as_array(unit, np.float64), (windows,))
        if not (scale > 0).all():
            raise InputError("A unit is 0 or negative; leave out windows without a unit (no shoulders seen).")
        result = motion.displacement(futures, truth, known, coordinates)
        for which in ("ade", "fde"):
            self.errors[which].append(result.mean(which) / scale)
            self.errors[f"{which}_best"].append(result.best(which) / scale)
        self.curves.append(motion.horizon_curves(futures, truth, known, coordinates) / scale[:, None])
        start = len(self.groups)
        self.groups.extend([None] * windows if groups is None else list(groups))
        if len(self.groups) != start + windows:
            raise InputError(f"{windows} windows came with {len(self.groups) - start} groups; give one id per window.")

    def merge(self, other: ForecastAccumulator) -> None:
        """Add everything that `other` gathered. Equal group ids of both mean the same recording or person."""
        for name, parts in other.errors.items():
            self.errors[name].extend(parts)
        self.curves.extend(other.curves)
        self.groups.extend(other.groups)

    def compute(self) -> dict[str, Metric]:
        """`ade`, `ade_best`, `fde`, `fde_best`; n counts windows, intervals resample groups."""
        ids = [f"window {i}" if group is None else f"group {group}" for i, group in enumerate(self.groups)]
        return {
            name: mean_metric(np.concatenate([np.zeros(0), *parts]), interval=True, groups=ids)
            for name, parts in self.errors.items()
        }

    def horizon(self) -> tuple[Array, Array]:
        """Mean error at each predicted frame (T,) over windows, and the windows counted there (T,)."""
        if not self.curves:
            return np.zeros(0), np.zeros(0, int)
        table = np.concatenate(self.curves)
        seen = ~np.isnan(table)
        return motion.masked_mean(table, seen, axis=0), seen.sum(0)


@dataclass
class ClassificationAccumulator:
    """Top-1, top-5 and mean class accuracy; with segment ids, windows of one segment are summed first."""

    classes: int
    scores: list[Array] = field(default_factory=list)
    labels: list[Array] = field(default_factory=list)
    segments: list[Any] = field(default_factory=list)

    def update(self, scores: ArrayLike, labels: ArrayLike, segments: Sequence[Any] | None = None) -> None:
        """Add scores (N, L), labels (N,) and, always or never, segment ids (N,)."""
        table, truth = as_array(scores, np.float64), as_array(labels, np.int64).ravel()
        if table.ndim != 2 or table.shape[1] != self.classes or len(table) != len(truth):
            raise InputError(f"Scores {table.shape} and {len(truth)} labels were given; expected (N, {self.classes}) and N.")
        ids = [] if segments is None else list(segments)
        held = sum(len(part) for part in self.labels)
        if (ids and len(ids) != len(truth)) or (len(truth) and held and bool(ids) != bool(self.segments)):
            raise InputError(f"{len(truth)} labels came with {len(ids)} segment ids; give one each in every update, or never.")
        self.scores.append(table)
        self.labels.append(truth)
        self.segments.extend(ids)

    def merge(self, other: ClassificationAccumulator) -> None:
        """Add everything that `other` gathered."""
        if other.labels:
            self.update(np.concatenate(other.scores), np.concatenate(other.labels), other.segments or None)

    def compute(self) -> dict[str, Metric]:
        """`accuracy`, `top5_accuracy` and `mean_class_accuracy`."""
        scores = np.concatenate([np.zeros((0, self.classes)), *self.scores])
        labels = np.concatenate([np.zeros(0, np.int64), *self.labels])
        if self.segments:
            names = np.asarray(self.segments)
            ids, sums = classification.sum_over_windows(scores, names)
            classification.segment_accuracy(scores, names, labels)  # refuses a segment with two labels
            scores, labels = sums, np.array([labels[np.flatnonzero(names == name)[0]] for name in ids])
        place = scores.argmax(1) if len(scores) else np.zeros(0, np.int64)
        return {
            "accuracy": classification.top_k_accuracy(scores, labels, 1),
            "top5_accuracy": classification.top_k_accuracy(scores, labels, 5),
            "mean_class_accuracy": classification.mean_class_accuracy(place, labels, self.classes),
        }


@dataclass
class FeatureAccumulator:
    """Features of generated and of true sequences, for the FID of both pools."""

    features: list[Array] = field(default_factory=list)
    reference: list[Array] = field(default_factory=list)

    def update(self, features: ArrayLike | None = None, reference: ArrayLike | None = None) -> None:
        """Add generated features (N, D), true features (M, D), or both."""
        for rows, target in ((features, self.features), (reference, self.reference)):
            if rows is not None:
                target.append(as_array(rows, np.float64))

    def merge(self, other: FeatureAccumulator) -> None:
        """Add everything that `other` gathered."""
        self.features.extend(other.features)
        self.reference.extend(other.reference)

    def compute(self) -> motion.FrechetDistance:
        """The Frechet distance of the two pools; InputError when one of them is empty."""
        if not self.features or not self.reference:
            raise InputError("FID needs generated and true features; one of the two sets is empty.")
        return motion.frechet_distance(np.concatenate(self.features), np.concatenate(self.reference))

"""The value type of every metric, means over what is known, and confidence intervals (pure functions, numpy only)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np

from palmist.errors import InputError

Array = np.ndarray
ArrayLike = Any
"""A numpy array, a torch tensor (any device) or a nested sequence of numbers."""


class Metric(NamedTuple):
    """One measured number: its value, how many items it rests on and, where sampled, a confidence interval.

    With nothing to measure (empty or fully masked input) `value` is nan and `n` is 0.
    """

    value: float
    n: int
    interval: tuple[float, float] | None = None


def as_array(values: ArrayLike, dtype: Any = None) -> Array:
    """Give `values` as a numpy array, whether they are a torch tensor (on any device), an array or a sequence."""
    if hasattr(values, "detach"):  # a torch tensor, recognised without importing torch
        values = values.detach().cpu().numpy()
    return np.asarray(values, dtype=dtype)


def masked_mean(values: Array, known: Array, axis: int | tuple[int, ...] | None = None) -> Array:
    """Mean of `values` where `known`; nan where nothing is known. Unknown entries may hold anything, nan included.

    Example: masked_mean(np.array([1.0, 3.0, np.nan]), np.array([True, True, False])) gives 2.0.
    """
    known = np.broadcast_to(known, values.shape)
    count = known.sum(axis=axis)
    total = np.where(known, values, 0.0).sum(axis=axis)
    return np.divide(total, count, out=np.full(np.shape(total), np.nan), where=count > 0)


def mean_metric(values: ArrayLike, interval: bool = False, groups: Sequence[Any] | None = None, seed: int = 0) -> Metric:
    """Mean over the items whose value is not nan, with a bootstrap interval if asked.

    values: (N,) one number per item (window, sequence, segment); nan marks an item with nothing to measure.
    groups: (N,) an id per item (person, recording); whole groups are resampled, since neighbours are near copies.
    """
    numbers = as_array(values, np.float64).ravel()
    kept = ~np.isnan(numbers)
    numbers = numbers[kept]
    if not len(numbers):
        return Metric(math.nan, 0)
    if not interval:
        return Metric(float(numbers.mean()), len(numbers))
    ids = None if groups is None else np.asarray(groups)[kept]
    return Metric(float(numbers.mean()), len(numbers), bootstrap_interval(numbers, groups=ids, seed=seed))


def wilson_interval(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson score interval of a share, `successes` of `n` (E. B. Wilson, JASA 1927).

    Returns (low, high) within 0..1; (0, 1) when n is 0, since nothing is known then.
    Raises InputError when the counts do not fit together.
    Example: wilson_interval(8, 10) gives about (0.490, 0.943).
    """
    if not 0 <= successes <= n:
        raise InputError(f"{successes} successes of {n} were given; successes must lie between 0 and n.")
    if n == 0:
        return (0.0, 1.0)
    z = _normal_quantile(0.5 + confidence / 2)
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    # at 0 and n the bound is exactly 0 and 1; rounding must not leave it a little off
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == n else min(1.0, centre + half)
    return (low, high)


def bootstrap_interval(
    values: ArrayLike,
    groups: Sequence[Any] | Array | None = None,
    statistic: Callable[[Array], float] | None = None,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile bootstrap interval of a statistic (the mean by default) of per-item values.

    values: (N,) or (N, ...) one row per item. groups: (N,) ids; with them whole groups are drawn, so that several
    windows of one recording do not pretend to be independent. Returns (low, high); (nan, nan) for no items.
    The same seed gives the same interval.
    """
    items = as_array(values, np.float64)
    if len(items) == 0:
        return (math.nan, math.nan)
    draw = np.random.default_rng(seed)
    if groups is None:
        members = None
        count = len(items)
    else:
        ids = np.unique(np.asarray(groups), return_inverse=True)[1].ravel()
        if len(ids) != len(items):
            raise InputError(f"{len(ids)} group ids were given for {len(items)} values; give one id per value.")
        members = [np.flatnonzero(ids == group) for group in range(ids.max() + 1)]
        count = len(members)
    results = np.empty(resamples)
    for i in range(resamples):
        chosen = draw.integers(0, count, count)
        rows = chosen if members is None else np.concatenate([members[j] for j in chosen])
        results[i] = items[rows].mean() if statistic is None else statistic(items[rows])
    low, high = np.nanquantile(results, [(1 - confidence) / 2, (1 + confidence) / 2])
    return (float(low), float(high))


def over_seeds(values: ArrayLike, groups: ArrayLike, resamples: int = 2000, seed: int = 0) -> Metric:
    """Mean over seeds and items, with a bootstrap interval that draws both seeds and groups of items.

    values: (S, N) a row per trained model; an item that is nan for any of them does not count. groups: (N,) an id per item
    (person, session). n is the number of items.
    """
    numbers, ids = as_array(values, np.float64), np.asarray(groups)
    there = np.isfinite(numbers).all(0)
    numbers, ids = numbers[:, there], ids[there]
    if not numbers.size:
        return Metric(math.nan, 0)
    names, index = np.unique(ids, return_inverse=True)
    sums = np.stack([np.bincount(index, row, len(names)) for row in numbers])  # (S, G)
    counts = np.bincount(index, minlength=len(names))
    draw = np.random.default_rng(seed)
    means = []
    for _ in range(resamples):
        seeds, drawn = draw.integers(0, len(sums), len(sums)), draw.integers(0, len(names), len(names))
        means.append(sums[seeds][:, drawn].sum() / (len(sums) * counts[drawn].sum()))
    low, high = np.quantile(means, [0.025, 0.975])
    return Metric(float(numbers.mean()), int(there.sum()), (float(low), float(high)))


def _normal_quantile(probability: float) -> float:
    return NormalDist().inv_cdf(probability)

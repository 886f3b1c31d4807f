"""How good and how varied predicted motions are (pure functions, numpy or torch in, numpy out).

Letters: W windows, K futures, T predicted frames, J joints, C coordinates.
futures (..., K, T, J, C) and truth (..., T, J, C) share a frame and a unit, and errors come out in that unit;
`coordinates` picks some of C (for example (0, 1) for image x, y). `known` (..., T, J) marks the joints really
recorded in the future: no other joint ever counts, and with none known the value is nan and n is 0.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.spatial.distance import pdist

from palmist.errors import InputError
from palmist.metrics.intervals import Array, ArrayLike, Metric, as_array, masked_mean, mean_metric


class Displacement(NamedTuple):
    """Errors of every future: `ade` and `fde` (..., K), nan where nothing is known; `n` (...) joints counted."""

    ade: Array
    fde: Array
    n: Array

    def mean(self, which: str = "ade") -> Array:
        """Mean over the futures, (...)."""
        return getattr(self, which).mean(-1)

    def best(self, which: str = "ade") -> Array:
        """Best of K, (...): ADE and FDE choose their best future independently."""
        return getattr(self, which).min(-1)


def displacement(
    futures: ArrayLike, truth: ArrayLike, known: ArrayLike | None = None, coordinates: Sequence[int] | None = None
) -> Displacement:
    """Average and final displacement error of every future (ADE and FDE; G-HTT's APE and FPE).

    futures: (..., K, T, J, C); truth: (..., T, J, C); known: (..., T, J) bool.
    ADE of a future = mean distance over all known joints and frames; FDE = mean distance over the known joints of the
    last frame that has any. Raises InputError when shapes do not fit.

    Example: displacement(futures, truth).best() gives the best-of-K ADE of each window.
    """
    distance, mask = _distances(futures, truth, known, coordinates)
    spread_mask = np.broadcast_to(mask[..., None, :, :], distance.shape)
    ade = masked_mean(distance, spread_mask, axis=(-2, -1))
    frames = np.any(mask, axis=-1, keepdims=True)[..., 0]  # (..., T)
    steps = frames.shape[-1]
    last = steps - 1 - np.argmax(frames[..., ::-1], axis=-1) if steps else np.zeros(frames.shape[:-1], int)
    at_last = (np.arange(steps) == last[..., None])[..., None] & mask  # (..., T, J); nothing when no frame is known
    fde = masked_mean(distance, np.broadcast_to(at_last[..., None, :, :], distance.shape), axis=(-2, -1))
    return Displacement(ade, fde, mask.sum((-1, -2)))


def ade(
    futures: ArrayLike,
    truth: ArrayLike,
    known: ArrayLike | None = None,
    coordinates: Sequence[int] | None = None,
    best: bool = False,
    groups: Sequence[Any] | None = None,
) -> Metric:
    """ADE averaged over windows, with a bootstrap interval; n counts the windows that have something known.

    futures: (W, K, T, J, C) or (K, T, J, C). Mean over the K futures, or their minimum with `best`.
    groups: (W,) the recording or person of each window, resampled together.
    """
    return _over_windows(displacement(futures, truth, known, coordinates), "ade", best, groups)


def fde(
    futures: ArrayLike,
    truth: ArrayLike,
    known: ArrayLike | None = None,
    coordinates: Sequence[int] | None = None,
    best: bool = False,
    groups: Sequence[Any] | None = None,
) -> Metric:
    """FDE averaged over windows; arguments as in `ade`."""
    return _over_windows(displacement(futures, truth, known, coordinates), "fde", best, groups)


def error_by_horizon(
    futures: ArrayLike,
    truth: ArrayLike,
    known: ArrayLike | None = None,
    coordinates: Sequence[int] | None = None,
    best: bool = False,
) -> tuple[Array, Array]:
    """Mean joint error at each predicted frame: error (T,) and n (T,), the number of windows counted there.

    futures: (W, K, T, J, C) or (K, T, J, C). Each window counts once at each frame where it has a known joint. With
    `best` each window contributes the whole curve of its one future of least ADE, so that it is one motion.
    """
    curve = horizon_curves(futures, truth, known, coordinates, best)
    counted = ~np.isnan(curve)
    return masked_mean(curve, counted, axis=0), counted.sum(0)


def horizon_curves(
    futures: ArrayLike,
    truth: ArrayLike,
    known: ArrayLike | None = None,
    coordinates: Sequence[int] | None = None,
    best: bool = False,
) -> Array:
    """Mean joint error of each window at each predicted frame, (W, T), nan where nothing is known."""
    distance, mask = _distances(futures, truth, known, coordinates)
    K, T, J = distance.shape[-3:]
    distance, mask = distance.reshape(-1, K, T, J), mask.reshape(-1, 1, T, J)
    curves = masked_mean(distance, mask, axis=-1)  # (W, K, T)
    if not best:
        return curves.mean(1)
    total = masked_mean(distance, mask, axis=(-2, -1))  # (W, K)
    chosen = np.where(np.isnan(total), np.inf, total).argmin(-1)
    return np.take_along_axis(curves, chosen[:, None, None], axis=1)[:, 0]


def apd(futures: ArrayLike, known: ArrayLike | None = None, coordinates: Sequence[int] | None = None) -> float:
    """Average pairwise distance of one window's futures as in G-HTT: a mean joint distance, not a sequence norm.

    futures: (K, T, J, C), one hand, without the deterministic future (pass the 20 joints without the thumb CMC for the
    papers' figure); known: (T, J) or (T,) bool. Mean over the K (K - 1) / 2 pairs, the known frames and joints. Not
    comparable with `apd_dlow`. nan with fewer than two futures or nothing known. Distances are taken in float32, of
    positions relative to the first future, which is exact to about 1e-7 of the spread.

    Example: ten futures at 0 and ten at distance d give d * 100 / 190.
    """
    samples = _picked(futures, coordinates, dimensions=4)
    K = len(samples)
    points = _known_points(samples, known)
    if K < 2 or not points.size:
        return math.nan
    # relative to one future, so that float32 keeps the differences; coordinate first, so that passes are contiguous
    axes = np.ascontiguousarray((points - points[:1]).transpose(2, 0, 1), dtype=np.float32)
    M = axes.shape[2]
    squared, buffer = np.empty((K, M), np.float32), np.empty((K, M), np.float32)
    total = 0.0
    for shift in range(1, K):  # all pairs (a, a + shift) at once: K - 1 passes instead of K (K - 1) / 2
        s, b = squared[: K - shift], buffer[: K - shift]
        for i, axis in enumerate(axes):
            target = b if i else s
            np.subtract(axis[shift:], axis[:-shift], out=target)
            np.multiply(target, target, out=target)
            if i:
                np.add(s, b, out=s)
        np.sqrt(s, out=s)
        total += float(s.sum())
    if not math.isfinite(total):
        raise InputError("Futures hold nan or infinite numbers at known joints; only unknown joints may.")
    return total / (K * (K - 1) / 2 * M)


def apd_dlow(futures: ArrayLike, known: ArrayLike | None = None, coordinates: Sequence[int] | None = None) -> float:
    """Average pairwise distance in the convention of DLow (arXiv 2003.08386): Euclidean norm of whole sequences.

    Arguments as in `apd`. The value grows with the number of frames and joints: compare it at equal sizes only.
    """
    samples = _picked(futures, coordinates, dimensions=4)
    K = len(samples)
    kept = _known_points(samples, known).reshape(K, -1)
    if K < 2 or not kept.size:
        return math.nan
    value = float(pdist(kept.astype(np.float64, copy=False)).mean())
    if not math.isfinite(value):
        raise InputError("Futures hold nan or infinite numbers at known joints; only unknown joints may.")
    return value


class FrechetDistance(NamedTuple):
    """A Frechet distance with what it depends on: the two sample counts and the feature width.

    Values are comparable only at equal counts and with the same feature network; store its hash beside them.
    """

    value: float
    n: int
    n_reference: int
    width: int


def frechet_distance(features: ArrayLike, reference: ArrayLike) -> FrechetDistance:
    """FID: Frechet distance of Gaussians fitted to two feature sets, |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)).

    features: (N, D) of all generated samples pooled; reference: (M, D) of the true sequences. float64, covariances with
    n - 1. Warns when a set has fewer samples than D (its covariance then lacks rank, and the value depends strongly on
    n). nan when a set has fewer than two rows; InputError for widths that differ or values that are not finite.

    The trace of the square root is the sum of the singular values of F1 F2^T for any factors with F^T F = S, because
    the eigenvalues of S1 S2 are their squares. This never squares them, so it stays exact where S lacks rank, and needs
    no general matrix square root.

    Example: frechet_distance(x, x).value is 0 to rounding.
    """
    a, b = as_array(features, np.float64), as_array(reference, np.float64)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise InputError(f"Feature sets have shapes {a.shape} and {b.shape}; both must be (samples, the same width).")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise InputError("A feature set holds nan or infinite values; every feature must be finite.")
    (n, width), m = a.shape, len(b)
    if min(n, m) < 2:
        return FrechetDistance(math.nan, n, m, width)
    if min(n, m) < width:
        warnings.warn(
            f"FID of {n} against {m} samples with {width} features each: with fewer samples than features the "
            "covariance lacks rank and the value depends strongly on n; compare at equal n only.",
            stacklevel=2,
        )
    mean_a, mean_b = a.mean(0), b.mean(0)
    factor_a, trace_a = _covariance_factor(a - mean_a)
    factor_b, trace_b = _covariance_factor(b - mean_b)
    root = np.linalg.svd(factor_a @ factor_b.T, compute_uv=False).sum()
    value = ((mean_a - mean_b) ** 2).sum() + trace_a + trace_b - 2 * root
    return FrechetDistance(max(float(value), 0.0), n, m, width)


def _covariance_factor(centred: Array) -> tuple[Array, float]:
    """F (r, D) with F^T F = the covariance of centred rows (N, D), and its trace."""
    scaled = centred / math.sqrt(len(centred) - 1)
    n, width = scaled.shape
    if n <= width:
        return scaled, float((scaled * scaled).sum())
    covariance = scaled.T @ scaled
    trace = float(np.trace(covariance))
    try:
        factor = np.linalg.cholesky(covariance).T
        pivots = np.diagonal(factor)
        if pivots.min() > 1e-3 * pivots.max():
            return factor, trace
    except np.linalg.LinAlgError:
        pass
    # near a singular covariance squaring has already lost the small directions: factor the samples themselves
    return np.asarray(np.linalg.qr(scaled, mode="r")), trace


def _distances(
    futures: ArrayLike, truth: ArrayLike, known: ArrayLike | None, coordinates: Sequence[int] | None
) -> tuple[Array, Array]:
    """Distance (..., K, T, J) of every future to the truth, in float64, and known (..., T, J)."""
    predicted, true = _picked(futures, coordinates), _picked(truth, coordinates)
    if predicted.ndim != true.ndim + 1 or true.ndim < 3 or predicted.shape[:-4] + predicted.shape[-3:] != true.shape:
        raise InputError(
            f"Futures have shape {predicted.shape} and the truth {true.shape}; expected (..., futures, frames, joints, "
            "coordinates) and the same without the futures."
        )
    mask = np.ones(true.shape[:-1], bool) if known is None else as_array(known, bool)
    if mask.shape != true.shape[:-1]:
        raise InputError(f"`known` has shape {mask.shape}; a truth of shape {true.shape} needs {true.shape[:-1]}.")
    true = np.where(mask[..., None], true.astype(np.float64), 0.0)
    predicted = np.where(mask[..., None, :, :, None], predicted.astype(np.float64), 0.0)
    distance = np.linalg.norm(predicted - true[..., None, :, :, :], axis=-1)
    if not np.isfinite(distance).all():
        # a nan would silently leave the mean, and make a broken model look better
        raise InputError("Futures or truth hold nan or infinite numbers at known joints; only unknown joints may.")
    return distance, mask


def _picked(values: ArrayLike, coordinates: Sequence[int] | None, dimensions: int | None = None) -> Array:
    array = as_array(values)
    if dimensions is not None and array.ndim != dimensions:
        raise InputError(f"Futures have shape {array.shape}; expected (futures, frames, joints, coordinates).")
    if array.dtype not in (np.float32, np.float64):
        array = array.astype(np.float64)
    return array if coordinates is None else array[..., list(coordinates)]


def _known_points(samples: Array, known: ArrayLike | None) -> Array:
    """The joints and frames (K, M, C) of samples (K, T, J, C) that `known` (T,) or (T, J) marks."""
    K, T, J, C = samples.shape
    points = samples.reshape(K, T * J, C)
    if known is None:
        return points
    mask = as_array(known, bool)
    if mask.shape == (T,):
        mask = np.repeat(mask[:, None], J, axis=1)
    if mask.shape != (T, J):
        raise InputError(f"`known` has shape {mask.shape}; {T} frames of {J} joints need ({T},) or ({T}, {J}).")
    return points[:, mask.ravel()]


def _over_windows(errors: Displacement, which: str, best: bool, groups: Sequence[Any] | None) -> Metric:
    values = errors.best(which) if best else errors.mean(which)
    return mean_metric(np.atleast_1d(values), interval=np.ndim(values) > 0, groups=groups)

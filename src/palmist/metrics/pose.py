"""How far estimated hand joints are from the true ones (pure functions, numpy or torch in, numpy out).

Letters: T frames, J joints (21 per hand), C coordinates (3, or 2 for planar recordings).
Every function measures one hand per leading index and takes any leading shape, for example (T, 2, 21, 3) for both
hands or (T, 21, 3) for one; errors come out in the unit of the input (metres in gives metres; the papers print mm).
`known` (..., J) marks the joints that were really recorded: no other joint ever counts. Without it all count.
Definitions: G-HTT's evaluation (arXiv 2311.17366) and HTT (arXiv 2209.09484).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from palmist.errors import InputError
from palmist.metrics.intervals import Array, ArrayLike, Metric, as_array, masked_mean, mean_metric
from palmist.skeleton import BONES

JOINTS_20 = (0, *range(2, 21))
"""All joints without the thumb CMC, which Assembly101 does not annotate."""
JOINTS_19 = tuple(range(2, 21))
"""All joints without wrist and thumb CMC."""
KNUCKLES = (5, 9, 13, 17)


class HandErrors(NamedTuple):
    """Error per hand and frame: `error` (...) with nan where not counted, `counted` (...) bool."""

    error: Array
    counted: Array


def mpjpe_ra_errors(estimate: ArrayLike, truth: ArrayLike, known: ArrayLike | None = None) -> HandErrors:
    """Wrist-aligned, scale-equalised mean joint error of every hand and frame (metrics of G-HTT, MPJPE-RA).

    estimate, truth: (..., 21, C); known: (..., 21) bool. Both lose their own wrist; the estimate is scaled so that its
    mean wrist-to-knuckle distance (joints 5, 9, 13, 17) equals the truth's; the error is the mean distance over the 19
    joints without wrist and thumb CMC. A hand counts where wrist and knuckles are known; unknown joints are left out.
    An estimate of zero size is not scaled (its error is the size of the true hand).
    """
    estimate, truth, known = _prepare(estimate, truth, known)
    scaled, centred, counted = _equal_palms(estimate, truth, known)
    distance = np.linalg.norm(scaled - centred, axis=-1)[..., JOINTS_19]
    return _per_hand(distance, known[..., JOINTS_19], counted)


def mpjpe_ra(estimate: ArrayLike, truth: ArrayLike, known: ArrayLike | None = None) -> Metric:
    """MPJPE-RA pooled over all counted hands and frames, each with equal weight; see `mpjpe_ra_errors`.

    Example: mpjpe_ra(2 * truth + 0.1, truth).value is 0, since place and scale do not count.
    """
    return mean_metric(mpjpe_ra_errors(estimate, truth, known).error)


def mpjpe_pa_errors(estimate: ArrayLike, truth: ArrayLike, known: ArrayLike | None = None) -> HandErrors:
    """Mean joint error of every hand and frame after a similarity fit (MPJPE-PA): rotation, translation and scale.

    estimate, truth: (..., 21, C); known: (..., 21) bool. Fit and mean both use the 20 joints without the thumb CMC (the
    wrist included, since it is no longer zero by construction); reflection is not allowed, so a mirrored hand is wrong.
    A hand counts with at least three known joints (two in the plane) and a true size above 0.
    """
    estimate, truth, known = _prepare(estimate, truth, known)
    used = known[..., JOINTS_20]
    aligned = similarity_align(estimate[..., JOINTS_20, :], truth[..., JOINTS_20, :], used)
    distance = np.linalg.norm(aligned - truth[..., JOINTS_20, :], axis=-1)
    centre = masked_mean(truth[..., JOINTS_20, :], used[..., None], axis=-2)[..., None, :]
    apart = used & (truth[..., JOINTS_20, :] != centre).any(-1)
    counted = (used.sum(-1) >= truth.shape[-1]) & apart.any(-1)
    return _per_hand(distance, used, counted)


def mpjpe_pa(estimate: ArrayLike, truth: ArrayLike, known: ArrayLike | None = None) -> Metric:
    """MPJPE-PA pooled over all counted hands and frames, each with equal weight; see `mpjpe_pa_errors`."""
    return mean_metric(mpjpe_pa_errors(estimate, truth, known).error)


def mepe_errors(estimate: ArrayLike, truth: ArrayLike, known: ArrayLike | None = None) -> HandErrors:
    """Mean end-point error of every hand and frame over all 21 joints, in the input's own frame (HTT)."""
    estimate, truth, known = _prepare(estimate, truth, known)
    return _per_hand(np.linalg.norm(estimate - truth, axis=-1), known, np.ones(known.shape[:-1], bool))


def mepe(estimate: ArrayLike, truth: ArrayLike, known: ArrayLike | None = None) -> Metric:
    """MEPE pooled over all counted hands and frames, each with equal weight; see `mepe_errors`."""
    return mean_metric(mepe_errors(estimate, truth, known).error)


def bone_length_error(
    estimate: ArrayLike,
    truth: ArrayLike,
    known: ArrayLike | None = None,
    bones: tuple[tuple[int, int], ...] = BONES,
) -> Metric:
    """Mean absolute difference of bone lengths, over the bones whose two ends are known; n counts bones.

    estimate, truth: (..., 21, C); known: (..., 21) bool; bones: joint pairs, the 20 of the hand by default.
    """
    estimate, truth, known = _prepare(estimate, truth, known)
    first, second = np.asarray(bones).T
    lengths = [np.linalg.norm(x[..., first, :] - x[..., second, :], axis=-1) for x in (estimate, truth)]
    return _pooled(np.abs(lengths[0] - lengths[1]), known[..., first] & known[..., second])


def jerk(joints: ArrayLike, rate: float, known: ArrayLike | None = None) -> Metric:
    """Mean magnitude of jerk, the third difference over time divided by dt^3; n counts joints and frames.

    joints: (T, ..., J, C), frames first, evenly spaced at `rate` frames per second; known: (T, ..., J) bool.
    A third difference counts where all of its four frames are known. Unit: input unit / s^3.
    """
    values, known = _third_difference(joints, rate, known)
    return _pooled(np.linalg.norm(values, axis=-1), known)


def jerk_error(estimate: ArrayLike, truth: ArrayLike, rate: float, known: ArrayLike | None = None) -> Metric:
    """Mean distance between the jerk vectors of estimate and truth; arguments as in `jerk`.

    Jitter raises it even where each single pose is close; a constant offset leaves it at 0.
    """
    estimate, truth, known = _prepare(estimate, truth, known)
    values, known = _third_difference(estimate - truth, rate, known)
    return _pooled(np.linalg.norm(values, axis=-1), known)


def refine_error_ratio(refined: ArrayLike, noisy: ArrayLike, truth: ArrayLike, known: ArrayLike | None = None) -> Metric:
    """Error left by refinement: mean joint distance of the refined pose to the truth over that of the noisy input.

    refined, noisy, truth: (..., J, C); known: (..., J) bool; n counts joints. 1 = as bad as the input, 0 = perfect.
    Both errors are pooled over the same joints before dividing. The value is nan when the input has no error at all:
    use `mepe` of refined against truth there.
    """
    refined, truth, known = _prepare(refined, truth, known)
    noisy = _prepare(noisy, truth, known)[0]
    after = _pooled(np.linalg.norm(refined - truth, axis=-1), known)
    before = _pooled(np.linalg.norm(noisy - truth, axis=-1), known)
    if not before.value > 0:
        return Metric(float("nan"), before.n)
    return Metric(after.value / before.value, before.n)


def similarity_align(estimate: Array, truth: Array, known: Array) -> Array:
    """Move, turn (no reflection) and scale `estimate` (..., J, C) onto `truth` by least squares over the known joints.

    Source: S. Umeyama, PAMI 1991. An estimate without extent is placed on the truth's centre.
    """
    weight = known[..., None].astype(np.float64)
    count = np.maximum(weight.sum(-2, keepdims=True), 1.0)
    estimate_centre = (estimate * weight).sum(-2, keepdims=True) / count
    truth_centre = (truth * weight).sum(-2, keepdims=True) / count
    a, b = (estimate - estimate_centre) * weight, (truth - truth_centre) * weight
    u, s, vt = np.linalg.svd(np.swapaxes(a, -1, -2) @ b)  # row vectors: b ~ scale * a @ rotation
    flip = np.ones(s.shape)
    flip[..., -1] = np.where(np.linalg.det(u @ vt) < 0, -1.0, 1.0)
    rotation = (u * flip[..., None, :]) @ vt
    spread = (a * a).sum((-1, -2))
    scale = np.divide((s * flip).sum(-1), spread, out=np.zeros_like(spread), where=spread > 0)
    return scale[..., None, None] * ((estimate - estimate_centre) @ rotation) + truth_centre


def _prepare(estimate: ArrayLike, truth: ArrayLike, known: ArrayLike | None) -> tuple[Array, Array, Array]:
    """Check shapes; float64; unknown joints become 0 in both, so that nan there cannot spread."""
    estimate, truth = as_array(estimate, np.float64), as_array(truth, np.float64)
    if estimate.shape != truth.shape or truth.ndim < 2 or truth.shape[-1] not in (2, 3):
        raise InputError(
            f"The estimate has shape {estimate.shape} and the truth {truth.shape}; both must be (..., joints, 2 or 3)."
        )
    mask = np.ones(truth.shape[:-1], bool) if known is None else as_array(known, bool)
    if mask.shape != truth.shape[:-1]:
        raise InputError(f"`known` has shape {mask.shape}; joints of shape {truth.shape} need {truth.shape[:-1]}.")
    estimate, truth = np.where(mask[..., None], estimate, 0.0), np.where(mask[..., None], truth, 0.0)
    if not (np.isfinite(estimate).all() and np.isfinite(truth).all()):
        # a nan would silently leave the mean, and make a broken estimate look better
        raise InputError("The estimate or the truth holds nan or infinite numbers at known joints; only unknown may.")
    return estimate, truth, mask


def _equal_palms(estimate: Array, truth: Array, known: Array) -> tuple[Array, Array, Array]:
    """Both hands relative to their wrist, the estimate scaled to the truth's palm; and which hands allow this."""
    if truth.shape[-2] != 21:
        raise InputError(f"{truth.shape[-2]} joints were given; this error is defined for hands of 21 joints.")
    estimate, truth = estimate - estimate[..., :1, :], truth - truth[..., :1, :]
    size, true_size = (np.linalg.norm(x[..., KNUCKLES, :], axis=-1).mean(-1) for x in (estimate, truth))
    counted = known[..., (0, *KNUCKLES)].all(-1) & (true_size > 0)
    scale = np.divide(true_size, size, out=np.ones_like(size), where=size > 0)
    return estimate * scale[..., None, None], truth, counted


def _per_hand(distance: Array, known: Array, counted: Array) -> HandErrors:
    error = masked_mean(distance, known & counted[..., None], axis=-1)
    return HandErrors(error, counted & known.any(-1))


def _pooled(values: Array, known: Array) -> Metric:
    return Metric(float(masked_mean(values, known)), int(known.sum()))


def _third_difference(joints: ArrayLike, rate: float, known: ArrayLike | None) -> tuple[Array, Array]:
    if not rate > 0:
        raise InputError(f"The rate is {rate}; jerk needs a positive number of frames per second.")
    joints = as_array(joints, np.float64)
    joints, _, mask = _prepare(joints, joints, known)
    if len(joints) < 4:
        return np.zeros((0, *joints.shape[1:])), np.zeros((0, *mask.shape[1:]), bool)
    return np.diff(joints, n=3, axis=0) * rate**3, mask[3:] & mask[2:-1] & mask[1:-2] & mask[:-3]

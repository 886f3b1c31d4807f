"""Fast metrics against slow literal versions of their definitions."""

import warnings

import numpy as np
import pytest
import scipy.linalg
from scipy.spatial.transform import Rotation

from palmist.metrics import motion, pose


@pytest.fixture
def rng():
    return np.random.default_rng(5)


@pytest.fixture
def hands(rng):
    truth = rng.normal(scale=0.05, size=(7, 21, 3))
    return truth + rng.normal(scale=0.01, size=truth.shape), truth, rng.random((7, 21)) > 0.15


def literal_ra(estimate, truth, known):
    errors = []
    for x, y, k in zip(estimate, truth, known, strict=True):
        if not all(k[j] for j in (0, 5, 9, 13, 17)):
            continue
        x, y = x - x[0], y - y[0]
        size = np.mean([np.linalg.norm(y[j]) for j in (5, 9, 13, 17)])
        x = x * size / np.mean([np.linalg.norm(x[j]) for j in (5, 9, 13, 17)])
        errors.append(np.mean([np.linalg.norm(x[j] - y[j]) for j in range(2, 21) if k[j]]))
    return np.mean(errors), len(errors)


def literal_pa(estimate, truth, known):
    errors = []
    for x, y, k in zip(estimate, truth, known, strict=True):
        used = [j for j in range(21) if j != 1 and k[j]]
        x, y = x[used] - x[used].mean(0), y[used] - y[used].mean(0)
        turned = Rotation.align_vectors(y, x)[0].apply(x)  # proper rotations only
        scale = (turned * y).sum() / (turned * turned).sum()
        errors.append(np.mean(np.linalg.norm(scale * turned - y, axis=1)))
    return np.mean(errors), len(errors)


def test_mpjpe_ra(hands):
    assert pose.mpjpe_ra(*hands)[:2] == pytest.approx(literal_ra(*hands), rel=1e-12)


def test_mpjpe_pa(hands):
    assert pose.mpjpe_pa(*hands)[:2] == pytest.approx(literal_pa(*hands), rel=1e-9)


def test_mpjpe_pa_where_the_best_fit_would_be_a_reflection(rng):
    truth = rng.normal(size=(5, 21, 3))
    mirrored = truth * [1, 1, -1]
    known = np.ones((5, 21), bool)
    assert pose.mpjpe_pa(mirrored, truth)[:2] == pytest.approx(literal_pa(mirrored, truth, known), rel=1e-9)


def test_displacement(rng):
    truth, futures, known = rng.normal(size=(6, 21, 3)), rng.normal(size=(5, 6, 21, 3)), rng.random((6, 21)) > 0.4
    known[-1] = False
    result = motion.displacement(futures, truth, known)
    for k in range(5):
        distances = [np.linalg.norm(futures[k, f, j] - truth[f, j]) for f in range(6) for j in range(21) if known[f, j]]
        final = [np.linalg.norm(futures[k, 4, j] - truth[4, j]) for j in range(21) if known[4, j]]
        assert result.ade[k] == pytest.approx(np.mean(distances), rel=1e-12)
        assert result.fde[k] == pytest.approx(np.mean(final), rel=1e-12)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_apd(rng, dtype):
    futures = rng.normal(size=(9, 6, 20, 3)).astype(dtype)
    known = rng.random((6, 20)) > 0.3
    pairs, norms = [], []
    for a in range(9):
        for b in range(a + 1, 9):
            difference = futures[a].astype(np.float64) - futures[b]
            pairs.append(np.mean([np.linalg.norm(difference[f, j]) for f, j in np.argwhere(known)]))
            norms.append(np.sqrt((difference[known] ** 2).sum()))
    assert motion.apd(futures, known) == pytest.approx(np.mean(pairs), rel=1e-6)
    assert motion.apd_dlow(futures, known) == pytest.approx(np.mean(norms), rel=1e-12)


def test_apd_far_from_the_origin(rng):
    futures = 1e-3 * rng.normal(size=(9, 6, 20, 3))
    assert motion.apd(futures + 1000.0) == pytest.approx(motion.apd(futures), rel=1e-6)


def literal_fid(a, b):
    covariances = [np.cov(x, rowvar=False) for x in (a, b)]
    root = scipy.linalg.sqrtm(covariances[0] @ covariances[1]).real
    shift = a.mean(0) - b.mean(0)
    return shift @ shift + np.trace(covariances[0] + covariances[1] - 2 * root)


def specified_fid(a, b):
    """As written in the definition: eigenvalues of S1^(1/2) S2 S1^(1/2), negative ones clipped."""
    first, second = (np.cov(x, rowvar=False) for x in (a, b))
    values, vectors = np.linalg.eigh(first)
    root = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    inner = np.sqrt(np.clip(np.linalg.eigvalsh(root @ second @ root), 0, None)).sum()
    shift = a.mean(0) - b.mean(0)
    return shift @ shift + np.trace(first + second) - 2 * inner


def test_fid(rng):
    a = rng.normal(size=(300, 40)) @ rng.normal(size=(40, 40))
    b = rng.normal(size=(900, 40)) * rng.uniform(0.1, 3, 40) + 0.3
    value = motion.frechet_distance(a, b).value
    assert value == pytest.approx(literal_fid(a, b), rel=1e-8)
    assert value == pytest.approx(specified_fid(a, b), rel=1e-8)


@pytest.mark.parametrize(("n", "m"), [(20, 20), (20, 500), (500, 20)])
def test_fid_without_full_rank(rng, n, m):
    mix = rng.normal(size=(40, 40))
    a, b = rng.normal(size=(n, 40)) @ mix, rng.normal(size=(m, 40)) @ mix + 0.2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        value = motion.frechet_distance(a, b).value
    # the reference takes roots of eigenvalues that should be 0, so it is the less exact one here
    assert value == pytest.approx(specified_fid(a, b), rel=1e-6)


def test_fid_with_dead_and_nearly_dead_features(rng):
    """Features that never or hardly change: the fast factor must not be used there."""
    a, b = rng.normal(size=(200, 30)), rng.normal(size=(260, 30)) + 0.1
    a[:, 5], b[:, 5] = 0.7, 0.7
    a[:, 6] = a[:, 7] + 1e-9 * rng.normal(size=200)
    used = [i for i in range(30) if i != 5]
    value = motion.frechet_distance(a, b).value
    assert value == pytest.approx(motion.frechet_distance(a[:, used], b[:, used]).value, rel=1e-12)
    assert value == pytest.approx(specified_fid(a, b), rel=1e-6)
    assert motion.frechet_distance(a, a).value < 1e-9

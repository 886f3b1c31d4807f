"""Accumulators: batches in any cut, and merges, equal one pass over everything."""

import math
import pickle
import warnings

import numpy as np
import pytest

from palmist.errors import InputError
from palmist.metrics import accumulators as acc
from palmist.metrics import classification, motion, pose


@pytest.fixture
def rng():
    return np.random.default_rng(11)


def split(make, batches):
    """The same batches in one accumulator, and in two that are merged."""
    whole, first, second = make(), make(), make()
    for i, batch in enumerate(batches):
        whole.update(*batch)
        (first if i < 2 else second).update(*batch)
    first.merge(pickle.loads(pickle.dumps(second)))  # as another process would send it
    return whole, first


def test_mean_of_pose_errors(rng):
    truth = rng.normal(size=(10, 2, 21, 3))
    estimate = truth + rng.normal(scale=0.1, size=truth.shape)
    batches = [(pose.mepe_errors(estimate[i : i + 3], truth[i : i + 3]).error,) for i in range(0, 10, 3)]
    whole, merged = split(acc.MeanAccumulator, batches)
    assert merged.compute() == whole.compute()
    assert whole.compute()[:2] == pytest.approx(pose.mepe(estimate, truth)[:2])


def test_mean_with_groups(rng):
    batches = [(rng.normal(size=4), [f"person {i}"] * 4) for i in range(4)]
    whole, merged = split(acc.MeanAccumulator, batches)
    assert merged.compute() == whole.compute()
    with pytest.raises(InputError, match="never"):
        whole.update(rng.normal(size=4))


def test_ratio(rng):
    whole, merged = split(acc.RatioAccumulator, [(np.full(3, 1.0), np.full(3, i + 1.0)) for i in range(4)])
    assert whole.compute() == merged.compute()
    assert whole.compute().value == pytest.approx(1 / 2.5)
    assert math.isnan(acc.RatioAccumulator().compute().value)
    whole.update([np.nan, 1.0], [1.0, 1.0])
    assert whole.compute().n == 13


def test_forecast(rng):
    truth, futures = rng.normal(size=(8, 5, 21, 3)), rng.normal(size=(8, 4, 5, 21, 3))
    known = rng.random((8, 5, 21)) > 0.2
    known[3] = False
    groups = [i // 2 for i in range(8)]
    batches = [(futures[i : i + 2], truth[i : i + 2], known[i : i + 2], groups[i : i + 2]) for i in range(0, 8, 2)]
    whole, merged = split(acc.ForecastAccumulator, batches)
    assert merged.compute() == whole.compute()
    result = whole.compute()
    assert result["ade"] == motion.ade(futures, truth, known, groups=groups)
    assert result["fde_best"] == motion.fde(futures, truth, known, best=True, groups=groups)
    error, n = motion.error_by_horizon(futures, truth, known)
    np.testing.assert_allclose(whole.horizon()[0], error)
    assert whole.horizon()[1].tolist() == n.tolist()
    assert n.max() == 7


def test_forecast_in_units(rng):
    truth, futures = rng.normal(size=(2, 5, 21, 3)), rng.normal(size=(2, 4, 5, 21, 3))
    metres, units = acc.ForecastAccumulator(), acc.ForecastAccumulator()
    metres.update(futures * [[[[[2.0]]]], [[[[4.0]]]]], truth * [[[[2.0]]], [[[4.0]]]], unit=[2.0, 4.0])
    units.update(futures, truth)
    assert metres.compute()["ade"].value == pytest.approx(units.compute()["ade"].value)
    np.testing.assert_allclose(metres.horizon()[0], units.horizon()[0])
    with pytest.raises(InputError, match="unit"):
        units.update(futures, truth, unit=0.0)


def test_classification(rng):
    scores, labels = rng.random((12, 7)), rng.integers(0, 7, 12)
    batches = [(scores[i : i + 3], labels[i : i + 3]) for i in range(0, 12, 3)]
    whole, merged = split(lambda: acc.ClassificationAccumulator(7), batches)
    assert merged.compute() == whole.compute()
    assert whole.compute()["top5_accuracy"] == classification.top_k_accuracy(scores, labels, 5)
    assert whole.compute()["mean_class_accuracy"] == classification.mean_class_accuracy(scores.argmax(1), labels, 7)


def test_classification_over_segments(rng):
    scores, segments = rng.random((12, 3)), [f"segment {i // 2}" for i in range(12)]
    labels = np.repeat(rng.integers(0, 3, 6), 2)
    batches = [(scores[i : i + 3], labels[i : i + 3], segments[i : i + 3]) for i in range(0, 12, 3)]
    whole, merged = split(lambda: acc.ClassificationAccumulator(3), batches)
    assert merged.compute() == whole.compute()
    assert whole.compute()["accuracy"] == classification.segment_accuracy(scores, segments, labels)
    assert whole.compute()["accuracy"].n == 6


def test_features(rng):
    rows = rng.normal(size=(4, 20, 5))
    whole, merged = split(acc.FeatureAccumulator, [(part, part + 1) for part in rows])
    assert merged.compute() == whole.compute()
    assert whole.compute() == motion.frechet_distance(rows.reshape(-1, 5), rows.reshape(-1, 5) + 1)
    with pytest.raises(InputError, match="empty"):
        acc.FeatureAccumulator().compute()


def test_empty_accumulators_give_nan_and_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert math.isnan(acc.MeanAccumulator().compute().value)
        results = {**acc.ForecastAccumulator().compute(), **acc.ClassificationAccumulator(4).compute()}
        assert all(math.isnan(metric.value) and metric.n == 0 for metric in results.values())
        empty = acc.ClassificationAccumulator(4)
        empty.merge(acc.ClassificationAccumulator(4))
        assert empty.compute()["accuracy"].n == 0


def test_windows_without_groups_stay_apart_after_a_merge(rng):
    truth, futures = rng.normal(size=(4, 5, 21, 3)), rng.normal(size=(4, 4, 5, 21, 3))
    first, second, whole = acc.ForecastAccumulator(), acc.ForecastAccumulator(), acc.ForecastAccumulator()
    first.update(futures[:2], truth[:2])
    second.update(futures[2:], truth[2:])
    whole.update(futures, truth)
    first.merge(second)
    assert first.compute() == whole.compute()

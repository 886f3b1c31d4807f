"""Detection and moments in time against slow literal versions of their definitions."""

import numpy as np
import pytest

from palmist.metrics import temporal
from palmist.metrics.temporal import Detection


def overlap(one, other):
    shared = max(0.0, min(one[1], other[1]) - max(one[0], other[0]))
    union = (one[1] - one[0]) + (other[1] - other[0]) - shared
    return shared / union if union > 0 else 0.0


def literal_average_precision(found, truth, limit):
    """Area under the precision-recall curve, each precision raised to the best at a recall that is not lower."""
    taken, points, right = set(), [], 0
    for rank, guess in enumerate(sorted(found, key=lambda d: -d.score), 1):
        others = [(overlap(guess[2:4], t[2:4]), -i) for i, t in enumerate(truth) if t.video == guess.video and i not in taken]
        best = max(others, default=(-1.0, 0))
        if best[0] >= limit:
            taken.add(-best[1])
            right += 1
        points.append((right / len(truth), right / rank))
    area, before = 0.0, 0.0
    for recall, _ in points:
        area += (recall - before) * max((p for r, p in points if r >= recall), default=0.0)
        before = recall
    return area


def literal_recall(found, truth, limit, answers):
    covered = 0
    for moment in truth:
        beside = [t for t in truth if t.video == moment.video]
        chosen = sorted((d for d in found if d.video == moment.video), key=lambda d: -d.score)[: answers * len(beside)]
        covered += any(overlap(d[2:4], moment[2:4]) >= limit for d in chosen)
    return covered / len(truth)


def some(rng, count):
    starts, lengths = rng.uniform(0, 20, count), rng.uniform(0.5, 8, count)
    videos, labels, scores = rng.integers(0, 3, count), rng.integers(0, 3, count), rng.permutation(count)
    return [Detection(*row) for row in zip(videos, labels, starts, starts + lengths, scores + 1.0, strict=True)]


@pytest.mark.parametrize("seed", range(5))
def test_detection(seed):
    rng = np.random.default_rng(seed)
    truth, found = some(rng, 30), some(rng, 90)
    for answers in (1, 2):
        measured = temporal.temporal_detection(found, truth, (0.1, 0.3, 0.5), 0.3, answers)
        classes = sorted({moment.label for moment in truth})
        parts = [([d for d in found if d.label == k], [d for d in truth if d.label == k]) for k in classes]
        for limit in (0.1, 0.3, 0.5):
            literal = np.mean([literal_average_precision(*part, limit) for part in parts])
            assert measured.average_precision[limit].value == pytest.approx(literal, rel=1e-12)
        assert measured.recall.value == pytest.approx(np.mean([literal_recall(*part, 0.3, answers) for part in parts]))


def test_moments():
    rng = np.random.default_rng(9)
    truth = [(s, s + 4) for s in rng.uniform(0, 20, 60)]
    answers = [[(t[0] + d, t[1] + d) for d in rng.normal(0, 2, rng.integers(0, 8))] for t in truth]
    measured = temporal.moment_retrieval(answers, truth)
    for k in (1, 5):
        for limit in (0.3, 0.5):
            hits = [any(overlap(own, t) > limit for own in some[:k]) for some, t in zip(answers, truth, strict=True)]
            assert measured.recall[k, limit].value == pytest.approx(np.mean(hits))
    first = [overlap(some[0], t) if some else 0.0 for some, t in zip(answers, truth, strict=True)]
    assert measured.mean_iou.value == pytest.approx(np.mean(first))

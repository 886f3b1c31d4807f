"""Retrieval metrics against slow literal versions of their definitions."""

import math

import numpy as np
import pytest

from palmist.metrics import retrieval
from palmist.video_text.clips import TextClip
from palmist.video_text.epic_kitchens import EpicRetrieval


def literal_relevancy(verbs, nouns, other_verbs, other_nouns):
    rows = []
    for verb, own in zip(verbs, nouns, strict=True):
        row = []
        for other, theirs in zip(other_verbs, other_nouns, strict=True):
            union = set(own) | set(theirs)
            overlap = len(set(own) & set(theirs)) / len(union) if union else 0.0
            row.append(0.5 * (verb == other) + 0.5 * overlap)
        rows.append(row)
    return np.array(rows)


def literal_scores(similarity, relevance):
    precisions, gains = [], []
    for similar, relevant in zip(similarity, relevance, strict=True):
        ranked = [relevant[j] for j in sorted(range(len(similar)), key=lambda j: (-similar[j], j))]
        right = [r for r, value in enumerate(ranked, 1) if value == 1]
        if right:
            precisions.append(sum(sum(ranked[:r]) / r for r in right) / len(right))
        k = sum(value > 0 for value in ranked)
        if k:
            gain = sum(value / math.log2(r + 1) for r, value in enumerate(ranked[:k], 1))
            best = sum(value / math.log2(r + 1) for r, value in enumerate(sorted(ranked, reverse=True)[:k], 1))
            gains.append(gain / best)
    return np.mean(precisions), len(precisions), np.mean(gains), len(gains)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("block", [1, 50, 2_000_000])
def test_multi_instance_retrieval(ties, block, monkeypatch):
    monkeypatch.setattr(retrieval, "_BLOCK", block)
    rng = np.random.default_rng(7)
    verbs, others = rng.integers(0, 4, 40), rng.integers(0, 4, 25)
    nouns = [rng.choice(9, rng.integers(0, 4), replace=False).tolist() for _ in range(40)]
    theirs = [rng.choice(9, rng.integers(0, 4), replace=False).tolist() for _ in range(25)]
    relevance = retrieval.relevancy(verbs, nouns, others, theirs)
    assert np.array_equal(relevance, literal_relevancy(verbs, nouns, others, theirs))
    similarity = rng.normal(size=relevance.shape).round(1 if ties else 12)
    found = retrieval.multi_instance_retrieval(similarity, relevance)
    for direction, similar, relevant in (
        (found.video_to_text, similarity, relevance),
        (found.text_to_video, similarity.T, relevance.T),
    ):
        literal = literal_scores(similar, relevant)
        measured = (*direction.mean_average_precision[:2], *direction.ndcg[:2])
        assert measured == pytest.approx(literal, rel=1e-12)
        assert direction.left_out == len(similar) - literal[1]


def test_positives_are_the_sentences_above_the_threshold():
    rng = np.random.default_rng(8)
    nouns = [tuple(rng.integers(0, 9, rng.integers(0, 7)).tolist()) for _ in range(70)]
    clips = tuple(TextClip("v", None, 0, 1, ("x",), str(i), (int(rng.integers(5)),), nouns[i]) for i in range(40))
    part = EpicRetrieval(clips, ("x",) * 30, np.zeros(30, int), rng.integers(0, 5, 30), tuple(nouns[40:]))
    relevance = part.relevancy()
    assert (relevance == 0.1).any()  # at the threshold, which does not count
    for row in range(40):
        assert np.array_equal(part.positives(row), np.flatnonzero(relevance[row] > 0.1))
    assert np.array_equal(part.relevancy(slice(5, 9)), relevance[5:9])

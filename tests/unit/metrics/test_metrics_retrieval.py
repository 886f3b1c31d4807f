"""Retrieval metrics: hand-worked cases, invariances, ties, refused input."""

import math

import numpy as np
import pytest
import torch

from palmist.errors import InputError
from palmist.metrics import retrieval as r


def test_relevancy_by_hand():
    found = r.relevancy([7, 2], [{1, 2}, {3}], [7, 7, 2, 9], [[2, 1], [1], [4, 3, 5], []])
    assert found.tolist() == [[1.0, 0.75, 0.0, 0.0], [0.0, 0.0, 0.5 + 0.5 / 3, 0.0]]
    assert found.dtype == np.float64


def test_relevancy_is_exactly_one_for_long_noun_lists():
    nouns = [set(range(count)) for count in range(1, 12)]
    assert (np.diagonal(r.relevancy([3] * 11, nouns, [3] * 11, nouns)) == 1).all()


def test_two_empty_noun_sets_share_nothing():
    assert r.relevancy([1], [set()], [1], [set()]).tolist() == [[0.5]]


def test_graded_precision_and_gain_by_hand():
    relevance = np.array([[0.5, 1, 0, 1]])
    similarity = np.array([[4.0, 3.0, 2.0, 1.0]])
    assert r.mean_average_precision(similarity, relevance)[:2] == (0.6875, 1)  # a binary one would give 0.5
    assert r.ndcg(similarity, relevance).value == pytest.approx(0.60126, abs=5e-6)
    precise = (0.5 + 1 / math.log2(3)) / (1 + 1 / math.log2(3) + 0.25)
    assert r.ndcg(torch.tensor(similarity), torch.tensor(relevance)).value == pytest.approx(precise, rel=1e-12)


def test_nearly_right_is_not_right():
    almost = float(np.nextafter(1, 0))
    found = r.mean_average_precision([[3.0, 2.0, 1.0]], [[almost, 1.0, 0.95]])
    assert found.value == pytest.approx((almost + 1) / 2)  # at the second rank only
    assert r.mean_average_precision([[1.0]], [[almost]]).n == 0


def test_a_perfect_ranking_gives_one():
    rng = np.random.default_rng(1)
    relevance = rng.choice([0.0, 0.25, 0.5, 1.0], (9, 12))
    relevance[:, 0] = relevance[0] = 1
    found = r.multi_instance_retrieval(relevance, relevance)
    assert all(metric.value == pytest.approx(1, rel=1e-12) for part in found for metric in part[:2])
    assert found.mean.ndcg.n == 21


def test_permuting_videos_and_texts_changes_nothing():
    rng = np.random.default_rng(2)
    similarity, relevance = rng.normal(size=(14, 9)), rng.choice([0.0, 0.3, 0.5, 1.0], (14, 9))
    rows, columns = rng.permutation(14), rng.permutation(9)
    before = r.multi_instance_retrieval(similarity, relevance)
    after = r.multi_instance_retrieval(similarity[rows][:, columns], relevance[rows][:, columns])
    for one, other in zip(before, after, strict=True):
        assert [one[0].value, one[1].value, one.left_out] == pytest.approx([other[0].value, other[1].value, other.left_out])


def test_directions_are_transposes_and_the_mean_is_theirs():
    rng = np.random.default_rng(3)
    similarity, relevance = rng.normal(size=(6, 4)), rng.choice([0.0, 0.5, 1.0], (6, 4))
    found = r.multi_instance_retrieval(similarity, relevance)
    turned = r.multi_instance_retrieval(similarity.T, relevance.T)
    assert (found.video_to_text, found.text_to_video) == (turned.text_to_video, turned.video_to_text)
    for place in (0, 1):
        assert found.mean[place].value == pytest.approx((found[0][place].value + found[1][place].value) / 2)
        assert found.mean[place].interval[0] <= found.mean[place].value <= found.mean[place].interval[1]


def test_queries_without_relevant_items_are_left_out_and_counted():
    similarity = np.array([[2.0, 1.0], [2.0, 1.0], [2.0, 1.0]])
    relevance = np.array([[0.0, 1.0], [0.5, 0.0], [0.0, 0.0]])
    found = r.multi_instance_retrieval(similarity, relevance).video_to_text
    assert (found.mean_average_precision[:2], found.left_out) == ((0.5, 1), 2)
    assert found.ndcg.n == 2
    empty = r.mean_average_precision(similarity, np.zeros((3, 2)))
    assert math.isnan(empty.value)
    assert empty[1:] == (0, None)


def test_ties_go_to_the_lower_number():
    relevance = np.zeros((1, 40))
    relevance[0, 20] = 1
    assert r.mean_average_precision(np.zeros((1, 40)), relevance).value == pytest.approx(1 / 21)
    assert r.recall_at_k(np.zeros((3, 3)), 1).value == pytest.approx(1 / 3)


def test_recall_by_hand():
    similarity = np.array([[0.9, 0.5, 0.1], [0.8, 0.7, 0.6], [0.3, 0.2, 0.1]])
    assert [r.recall_at_k(similarity, k).value for k in (1, 2, 3)] == pytest.approx([1 / 3, 2 / 3, 1])
    assert r.recall_at_k(similarity, 1, [0, 0, 0]).value == 1
    assert r.recall_at_k(similarity[:, :2], 1, [1, 0, 0])[:2] == (2 / 3, 3)


def test_multiple_choice_per_type():
    similarity = np.array([[1, 5, 2, 0, 0], [9, 5, 2, 0, 0], [1, 1, 2, 0, 3], [0, 0, 0, 0, 0]])
    found = r.multiple_choice(similarity, [1, 1, 4, 0], [2, 2, 1, 1])
    assert list(found) == [1, 2]
    assert (found[1][:2], found[2][:2]) == ((1.0, 2), (0.5, 2))


def test_random_choices_are_right_a_fifth_of_the_time():
    rng = np.random.default_rng(4)
    found = r.multiple_choice(rng.normal(size=(20_000, 5)), rng.integers(0, 5, 20_000), ["x"] * 20_000)
    assert found["x"].value == pytest.approx(0.2, abs=0.01)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: r.relevancy([1, 2], [{1}], [1], [{1}]), "videos: 2 verbs came with 1 sets"),
        (lambda: r.ndcg([[1.0, 2.0]], [[1.0]]), r"\(1, 2\) came with relevancies \(1, 1\)"),
        (lambda: r.ndcg([[np.nan]], [[1.0]]), "hold nan"),
        (lambda: r.ndcg([[1.0]], [[1.5]]), "expected 0 to 1"),
        (lambda: r.ndcg([[1.0]], [[np.nan]]), "expected 0 to 1"),
        (lambda: r.ndcg([1.0], [1.0]), "expected \\(queries, items\\)"),
        (lambda: r.recall_at_k(np.zeros((3, 2))), "from 0 to 2; give the number of an item"),
        (lambda: r.recall_at_k(np.zeros((2, 2)), 0), "k is 0"),
        (lambda: r.multiple_choice(np.zeros((2, 5)), [0], [1, 1]), "2 questions came with 1 answers"),
        (lambda: r.multiple_choice(np.zeros((2, 5)), [0, 5], [1, 1]), "expected choices from 0 to 4"),
    ],
)
def test_refused_with_a_sentence(call, said):
    with pytest.raises(InputError, match=said):
        call()

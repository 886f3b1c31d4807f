"""How well videos and texts find each other (pure functions, numpy or torch in).

Multi-instance retrieval of EPIC-KITCHENS-100: a text can be right for many videos and a video for many texts, and half right
for more: `relevancy` grades every pair, `multi_instance_retrieval` measures both directions, each with mean average precision
and nDCG. Definitions are those of the challenge's own code (Wray et al., JPoSE, ICCV 2019; Damen et al., IJCV 2022), in which
the precision sums graded relevancies, not hits; published numbers rest on that.

One right answer per query: `recall_at_k`. One of a handful of choices (EgoMCQ of EgoVLP): `multiple_choice`.

Ties: the item with the lower number is ranked first.
Letters: Q queries, N items, V videos, T texts, K choices.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from palmist.errors import InputError
from palmist.metrics.intervals import Array, ArrayLike, Metric, as_array, mean_metric, wilson_interval

__all__ = [
    "Direction",
    "MultiInstanceRetrieval",
    "average_precisions",
    "mean_average_precision",
    "multi_instance_retrieval",
    "multiple_choice",
    "ndcg",
    "recall_at_k",
    "relevancy",
]

_BLOCK = 2_000_000  # pairs ranked at a time, to bound memory


class Direction(NamedTuple):
    """One direction of retrieval. left_out: queries without any item of relevancy 1, which the mean cannot count."""

    mean_average_precision: Metric
    ndcg: Metric
    left_out: int


class MultiInstanceRetrieval(NamedTuple):
    """Both directions and their mean.

    The mean's n counts the queries of both directions. Its interval has the mean bounds of the two, which is the widest that it
    can be: both rest on the same pairs, and how far they move together is not known.
    """

    video_to_text: Direction
    text_to_video: Direction
    mean: Direction


def relevancy(
    video_verbs: ArrayLike,
    video_nouns: Sequence[Collection[int]],
    text_verbs: ArrayLike,
    text_nouns: Sequence[Collection[int]],
) -> Array:
    """How right each text is for each video, (V, T) float64 in 0..1: half for the same verb, half for the nouns' IoU.

    video_verbs (V,), text_verbs (T,): class numbers; video_nouns, text_nouns: the set of noun classes of each. Two empty sets
    have IoU 0. A pair is 1 exactly if verb and noun set agree. Raises InputError for lengths that do not fit.

    >>> relevancy([1], [{3, 4}], [1, 1, 2], [{3, 4}, {4}, {5}])
    array([[1.  , 0.75, 0.  ]])
    """
    verbs, others = as_array(video_verbs, np.int64).ravel(), as_array(text_verbs, np.int64).ravel()
    for kind, numbers, nouns in (("videos", verbs, video_nouns), ("texts", others, text_nouns)):
        if len(numbers) != len(nouns):
            raise InputError(f"{kind}: {len(numbers)} verbs came with {len(nouns)} sets of nouns; give one of each per item")
    every = {noun for part in (*video_nouns, *text_nouns) for noun in part}
    classes = {noun: place for place, noun in enumerate(sorted(every))}
    video_has, text_has = _incidence(video_nouns, classes), _incidence(text_nouns, classes)  # (V, C), (T, C)
    video_count, text_count = video_has.sum(1), text_has.sum(1)
    result = np.empty((len(verbs), len(others)))
    for rows in _blocks(*result.shape):
        shared = (video_has[rows] @ text_has.T).astype(np.float64)  # whole numbers, exact in float32
        union = video_count[rows, None] + text_count[None] - shared
        overlap = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
        result[rows] = 0.5 * (verbs[rows, None] == others[None]) + 0.5 * overlap
    return result


def _incidence(sets: Sequence[Collection[int]], classes: dict[int, int]) -> Array:
    """(N, C) float32, 1 where the set of an item has the class."""
    has = np.zeros((len(sets), len(classes)), np.float32)
    for row, members in zip(has, sets, strict=True):
        row[[classes[noun] for noun in members]] = 1
    return has


def average_precisions(similarity: ArrayLike, relevance: ArrayLike) -> tuple[Array, Array]:
    """Average precision and nDCG of each query, (Q,) each; nan for a query without an item of relevancy 1, or above 0.

    similarity (Q, N): larger is nearer; relevance (Q, N): 0..1. With items ranked by similarity, r from 1:
    AP = mean over the ranks of items of relevancy exactly 1 of (sum of relevancies up to r) / r;
    nDCG = DCG / the best DCG, DCG = sum over the first k ranks of relevancy / log2(r + 1), k items being above 0.
    Raises InputError for shapes that differ, nan, or relevancies outside 0..1.
    """
    similar, relevant = _pairs(similarity, relevance)
    queries, items = similar.shape
    precision, gain = np.full(queries, np.nan), np.full(queries, np.nan)
    ranks = np.arange(1, items + 1)
    discount = 1 / np.log2(ranks + 1)
    for rows in _blocks(queries, items):
        own = np.ascontiguousarray(relevant[rows], np.float64)
        ranked = np.take_along_axis(own, _order(np.ascontiguousarray(similar[rows])), 1)
        right = ranked == 1
        count = right.sum(1)
        total = ((ranked.cumsum(1) / ranks) * right).sum(1)
        np.divide(total, count, out=precision[rows], where=count > 0)
        first = ranks <= (own > 0).sum(1)[:, None]
        best = (np.sort(own, 1)[:, ::-1] * first) @ discount
        np.divide((ranked * first) @ discount, best, out=gain[rows], where=best > 0)
    return precision, gain


def mean_average_precision(similarity: ArrayLike, relevance: ArrayLike, groups: Sequence[Hashable] | None = None) -> Metric:
    """Mean of the queries' average precisions (see `average_precisions`); n: queries that have an item of relevancy 1.

    groups (Q,): the interval draws whole groups (recordings, persons) of queries.

    >>> mean_average_precision([[4.0, 3.0, 2.0, 1.0]], [[0.5, 1, 0, 1]]).value
    0.6875
    """
    return mean_metric(average_precisions(similarity, relevance)[0], interval=True, groups=groups)


def ndcg(similarity: ArrayLike, relevance: ArrayLike, groups: Sequence[Hashable] | None = None) -> Metric:
    """Mean of the queries' normalised discounted cumulative gains; n: queries with an item of relevancy above 0."""
    return mean_metric(average_precisions(similarity, relevance)[1], interval=True, groups=groups)


def multi_instance_retrieval(
    similarity: ArrayLike,
    relevance: ArrayLike,
    video_groups: Sequence[Hashable] | None = None,
    text_groups: Sequence[Hashable] | None = None,
) -> MultiInstanceRetrieval:
    """Videos find texts, texts find videos, and the mean of both.

    similarity, relevance: (V, T), of every video with every text. Groups as in `mean_average_precision`.
    """
    similar, relevant = _pairs(similarity, relevance)
    videos = _direction(similar, relevant, video_groups)
    texts = _direction(similar.T, relevant.T, text_groups)
    mean = Direction(_mean(videos[0], texts[0]), _mean(videos[1], texts[1]), videos.left_out + texts.left_out)
    return MultiInstanceRetrieval(videos, texts, mean)


def recall_at_k(similarity: ArrayLike, k: int = 1, truth: ArrayLike | None = None) -> Metric:
    """Share of queries whose one right item is among the first k, with its Wilson interval.

    similarity: (Q, N); truth: (Q,) the number of the right item, None where query i goes with item i.
    """
    similar = _similarity(similarity)
    right = np.arange(len(similar)) if truth is None else as_array(truth, np.int64).ravel()
    if len(right) != len(similar) or (len(right) and not 0 <= right.min() <= right.max() < similar.shape[1]):
        raise InputError(
            f"{len(similar)} queries over {similar.shape[1]} items came with {len(right)} right answers"
            f"{f' from {right.min()} to {right.max()}' if len(right) else ''}; give the number of an item for each query"
        )
    if k < 1:
        raise InputError(f"k is {k}; expected 1 or more")
    own = np.take_along_axis(similar, right[:, None], 1)
    earlier = np.arange(similar.shape[1])[None] < right[:, None]
    place = ((similar > own) | ((similar == own) & earlier)).sum(1)
    return _share(place < k)


def multiple_choice(similarity: ArrayLike, answers: ArrayLike, types: Sequence[Hashable]) -> dict[Hashable, Metric]:
    """Share of questions answered right, for each type of question, with Wilson intervals; there is no mean over types.

    similarity: (Q, K) of each query with its own K choices; answers: (Q,) the right choice; types: (Q,), in EgoMCQ 1 = choices
    from different videos, 2 = from the same video. Types come out in sorted order.
    """
    similar, right = _similarity(similarity), as_array(answers, np.int64).ravel()
    if not len(similar) == len(right) == len(types):
        raise InputError(f"{len(similar)} questions came with {len(right)} answers and {len(types)} types; give one of each")
    if len(right) and not 0 <= right.min() <= right.max() < similar.shape[1]:
        raise InputError(f"answers run from {right.min()} to {right.max()}; expected choices from 0 to {similar.shape[1] - 1}")
    hit = similar.argmax(1) == right if len(similar) else np.zeros(0, bool)
    kinds = np.array([str(kind) for kind in types])
    return {kind: _share(hit[kinds == str(kind)]) for kind in sorted(set(types), key=str)}


def _direction(similar: Array, relevant: Array, groups: Sequence[Hashable] | None) -> Direction:
    precision, gain = average_precisions(similar, relevant)
    first, second = (mean_metric(values, interval=True, groups=groups) for values in (precision, gain))
    return Direction(first, second, int(np.isnan(precision).sum()))


def _mean(first: Metric, second: Metric) -> Metric:
    value = (first.value + second.value) / 2
    if first.interval is None or second.interval is None:
        return Metric(value, first.n + second.n)
    low, high = ((a + b) / 2 for a, b in zip(first.interval, second.interval, strict=True))
    return Metric(value, first.n + second.n, (low, high))


def _order(similar: Array) -> Array:
    """Items of each row by falling similarity, equals by number, (Q, N); only rows with equals pay for a stable sort."""
    order = np.argsort(-similar, 1)
    ranked = np.take_along_axis(similar, order, 1)
    tied = (ranked[:, 1:] == ranked[:, :-1]).any(1)
    if tied.any():
        order[tied] = np.argsort(-similar[tied], 1, kind="stable")
    return order


def _blocks(rows: int, columns: int) -> Iterator[slice]:
    step = max(1, _BLOCK // max(1, columns))
    return (slice(start, start + step) for start in range(0, rows, step))


def _share(hits: Array) -> Metric:
    successes, n = int(hits.sum()), len(hits)
    return Metric(successes / n, n, wilson_interval(successes, n)) if n else Metric(float("nan"), 0)


def _similarity(similarity: ArrayLike) -> Array:
    similar = as_array(similarity)
    if not np.issubdtype(similar.dtype, np.floating):
        similar = similar.astype(np.float64)
    if similar.ndim != 2 or not similar.shape[1]:
        raise InputError(f"similarities have shape {similar.shape}; expected (queries, items) with an item or more")
    if np.isnan(similar).any():
        raise InputError("similarities hold nan; expected a number for each pair (a model that diverged gives nan)")
    return similar


def _pairs(similarity: ArrayLike, relevance: ArrayLike) -> tuple[Array, Array]:
    similar, relevant = _similarity(similarity), as_array(relevance)
    if similar.shape != relevant.shape:
        raise InputError(f"similarities {similar.shape} came with relevancies {relevant.shape}; expected the same shape")
    if relevant.size and not (relevant.min() >= 0 and relevant.max() <= 1):
        raise InputError(f"relevancies run from {relevant.min()} to {relevant.max()}; expected 0 to 1")
    return similar, relevant

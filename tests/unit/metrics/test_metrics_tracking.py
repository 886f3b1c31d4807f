"""TAP-Vid's measures, against a literal version and worked examples."""

from __future__ import annotations

import math

import numpy as np
import pytest

from palmist.errors import InputError
from palmist.metrics.tracking import average_jaccard, delta_avg, occlusion_accuracy, points_within


def literal(tracks, visible, true, true_visible, size, start):
    """delta, OA and AJ by loops, written from the paper's text."""
    frames, points = visible.shape
    deltas, jaccards = [], []
    right_flags = flags = 0
    for limit in (1, 2, 4, 8, 16):
        near = shown = positive = true_positive = false_positive = 0
        right_flags = flags = 0
        for t in range(frames):
            for n in range(points):
                if t <= start[n]:
                    continue
                dx = (tracks[t, n, 0] - true[t, n, 0]) * 256 / size[0]
                dy = (tracks[t, n, 1] - true[t, n, 1]) * 256 / size[1]
                close = dx * dx + dy * dy < limit * limit
                flags += 1
                right_flags += visible[t, n] == true_visible[t, n]
                if true_visible[t, n]:
                    shown += 1
                    positive += 1
                    near += close
                if visible[t, n] and true_visible[t, n] and close:
                    true_positive += 1
                elif visible[t, n]:
                    false_positive += 1
        deltas.append(near / shown)
        jaccards.append(true_positive / (positive + false_positive))
    return np.mean(deltas), right_flags / flags, np.mean(jaccards)


@pytest.mark.parametrize("seed", range(5))
def test_equal_to_the_literal_version(seed):
    generator = np.random.default_rng(seed)
    true = generator.uniform(0, 100, (9, 7, 2))
    tracks = true + generator.normal(size=true.shape) * generator.uniform(0, 8, (9, 7, 1))
    visible, true_visible = generator.random((9, 7)) > 0.3, generator.random((9, 7)) > 0.3
    start = generator.integers(0, 5, 7)
    size = (120, 90)
    delta, accuracy, jaccard = literal(tracks, visible, true, true_visible, size, start)
    assert delta_avg(tracks, true, true_visible, size, start).value == pytest.approx(delta)
    assert occlusion_accuracy(visible, true_visible, start).value == pytest.approx(accuracy)
    assert average_jaccard(tracks, visible, true, true_visible, size, start).value == pytest.approx(jaccard)


def test_perfect_tracks_score_one():
    true = np.random.default_rng(0).uniform(0, 50, (4, 3, 2))
    shown = np.array([[1, 1, 1], [1, 0, 1], [1, 0, 0], [1, 1, 1]], bool)
    assert delta_avg(true, true, shown).value == 1
    assert occlusion_accuracy(shown, shown).value == 1
    assert average_jaccard(true, shown, true, shown).value == 1
    assert delta_avg(true, true, shown).n == 6  # frame 0 holds the queries and does not count


def test_a_point_three_pixels_off():
    true, shown = np.zeros((2, 1, 2)), np.ones((2, 1), bool)
    tracks = true + np.array([3.0, 0.0])
    assert [metric.value for metric in points_within(tracks, true, shown)] == [0, 0, 1, 1, 1]
    assert delta_avg(tracks, true, shown).value == pytest.approx(0.6)
    assert average_jaccard(tracks, shown, true, shown).value == pytest.approx(0.6)
    assert delta_avg(tracks, true, shown, size=(512, 512)).value == pytest.approx(0.8)  # 1.5 px of the scaled image


def test_a_false_alarm_lowers_the_jaccard_but_not_delta():
    true, shown = np.zeros((2, 2, 2)), np.array([[1, 1], [1, 0]], bool)
    told = np.ones((2, 2), bool)
    assert delta_avg(true, true, shown).value == 1
    assert average_jaccard(true, told, true, shown).value == pytest.approx(0.5)
    assert occlusion_accuracy(told, shown).value == pytest.approx(0.5)


def test_unknown_places_of_hidden_points_do_not_matter():
    true, shown = np.zeros((3, 1, 2)), np.array([[1], [0], [1]], bool)
    true[1] = np.nan
    assert delta_avg(np.zeros((3, 1, 2)), true, shown).value == 1
    assert average_jaccard(np.zeros((3, 1, 2)), shown, true, shown).value == 1


def test_nothing_to_measure_is_nan():
    empty = np.zeros((3, 2), bool)
    assert math.isnan(delta_avg(np.zeros((3, 2, 2)), np.zeros((3, 2, 2)), empty).value)
    assert math.isnan(average_jaccard(np.zeros((3, 2, 2)), empty, np.zeros((3, 2, 2)), empty).value)
    assert math.isnan(occlusion_accuracy(empty[:1], empty[:1]).value)


def test_wrong_shapes_are_refused():
    tracks, shown = np.zeros((3, 2, 2)), np.ones((3, 2), bool)
    with pytest.raises(InputError, match=r"\(3, 2, 2\) and \(2, 2, 2\)"):
        delta_avg(tracks, tracks[:2], shown)
    with pytest.raises(InputError, match=r"true_visible has shape \(2, 3\)"):
        delta_avg(tracks, tracks, shown.T)
    with pytest.raises(InputError, match="type float64"):
        occlusion_accuracy(shown.astype(float), shown)
    with pytest.raises(InputError, match="one frame number per point"):
        delta_avg(tracks, tracks, shown, query_frames=[0])

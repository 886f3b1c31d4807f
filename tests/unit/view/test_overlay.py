"""Overlays: what is known is drawn where it is, what is not known is not."""

from __future__ import annotations

import numpy as np

from palmist.view.overlay import GOLD, SIDES, draw_action, draw_fan, draw_hands


def frame() -> np.ndarray:
    return np.zeros((120, 200, 3), np.uint8)


def hands() -> np.ndarray:
    generator = np.random.default_rng(0)
    return (np.array([0.3, 0.5, 0]) + generator.uniform(-0.1, 0.1, (2, 21, 3)) + np.array([[[0]], [[0.4]]])).astype(np.float32)


def test_joints_are_drawn_in_their_places_and_colours() -> None:
    picture, joints = frame(), hands()
    draw_hands(picture, joints, np.ones((2, 21), bool))
    for hand, colour in enumerate(SIDES):
        x, y = np.round(joints[hand, 8, :2] * [200, 120]).astype(int)
        assert picture[y, x].tolist() == list(colour)


def test_an_unknown_hand_and_nan_are_not_drawn() -> None:
    picture, joints = frame(), hands()
    known = np.zeros((2, 21), bool)
    joints[0] = np.nan
    draw_hands(picture, joints, known)
    assert not picture.any()
    known[1] = True
    draw_hands(picture, joints, known)
    assert picture[:, :80].sum() == 0
    assert picture.any()


def test_the_most_likely_future_is_gold_and_lies_on_top() -> None:
    picture = frame()
    path = np.zeros((3, 10, 2, 21, 3), np.float32)
    path[..., 0] = np.linspace(0.1, 0.9, 10)[None, :, None, None]
    path[..., 1] = np.array([0.2, 0.5, 0.8])[:, None, None, None]
    draw_fan(picture, path, np.array([False, True]), 1)
    assert picture[60, 100].tolist() == list(GOLD)
    assert picture[24, 100].any()
    assert picture[24, 100].tolist() != list(GOLD)
    blank = frame()
    draw_fan(blank, path, np.array([False, False]), 1)
    draw_fan(blank, path[:0], np.array([True, True]), 0)
    assert not blank.any()


def test_bars_grow_with_the_probability() -> None:
    low, high = np.full((120, 200, 3), 90, np.uint8), np.full((120, 200, 3), 90, np.uint8)
    draw_action(low, ["tea", "coffee"], np.array([0.2, 0.1]))
    draw_action(high, ["tea", "coffee"], np.array([0.9, 0.1]))
    green = [int((picture[8:26, :, 1] == 110).sum()) for picture in (low, high)]
    assert green[0] < green[1]
    untouched = frame()
    draw_action(untouched, [], np.zeros(0))
    assert not untouched.any()


def test_joints_far_outside_do_not_overflow() -> None:
    picture = frame()
    draw_hands(picture, np.full((2, 21, 3), 1e9, np.float32), np.ones((2, 21), bool))

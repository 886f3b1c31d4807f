from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from palmist.errors import InputError
from palmist.inference.zero_shot import class_vectors, classify


class Words:
    """Texts to given vectors."""

    name, fingerprint, dimension = "words", "0", 2

    def __init__(self, known: dict[str, tuple[float, float]]) -> None:
        self.known = known
        self.asked: list[str] = []

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        self.asked += texts
        return np.array([self.known[text] for text in texts], np.float32)

    def embed_clip(self, frames: np.ndarray) -> np.ndarray:
        raise AssertionError("no clip is embedded here")


def test_by_hand() -> None:
    # cup: (1, 0) and (0, 1), mean (1, 1) / 2, made a unit vector; milk: one text.
    words = Words({"lift cup": (1, 0), "take the cup": (0, 1), "pour milk": (0.6, -0.8)})
    found = class_vectors(words, {"cup": ["Lift_cup", "take the  cup"], "milk": ["pour milk"]})
    np.testing.assert_allclose(found, [[0.5**0.5, 0.5**0.5], [0.6, -0.8]], atol=1e-6)
    assert found.dtype == np.float32


def test_texts_count_alike_however_long_their_vectors() -> None:
    found = class_vectors(Words({"a": (100, 0), "b": (0, 0.01)}), {"x": ["a", "b"]})
    np.testing.assert_allclose(found, [[0.5**0.5, 0.5**0.5]], atol=1e-6)


def test_templates() -> None:
    words = Words({"hands lift cup": (1, 0), "a video of lift cup": (0, 1), "hands idle": (1, 0), "a video of idle": (1, 0)})
    found = class_vectors(words, ["lift_cup", "Idle"], ["hands {}", "a video of {}"])
    np.testing.assert_allclose(found, [[0.5**0.5, 0.5**0.5], [1, 0]], atol=1e-6)
    assert len(words.asked) == 4


def test_a_shared_text_is_embedded_once() -> None:
    words = Words({"a": (1, 0), "b": (0, 1)})
    class_vectors(words, {"x": ["a", "b"], "y": ["a"]})
    assert sorted(words.asked) == ["a", "b"]


def test_order_of_classes_and_texts_does_not_matter() -> None:
    known = {name: tuple(np.random.default_rng(i).normal(size=2)) for i, name in enumerate("abcd")}
    one = class_vectors(Words(known), {"x": ["a", "b"], "y": ["c", "d"]})
    other = class_vectors(Words(known), {"y": ["d", "c"], "x": ["b", "a"]})
    np.testing.assert_allclose(one, other[::-1], atol=1e-6)


def test_probabilities_by_hand() -> None:
    classes = np.array([[1.0, 0], [0, 1], [-1, 0]])
    found = classify(np.array([1.0, 0]), classes, temperature=0.5)
    wanted = np.exp([2, 0, -2]) / np.exp([2, 0, -2]).sum()
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    many = classify(np.array([[1.0, 0], [0, 1]]), classes)
    assert many.argmax(1).tolist() == [0, 1]
    np.testing.assert_allclose(many.sum(1), 1, atol=1e-6)
    assert np.isfinite(classify(np.array([1.0, 0]), classes, temperature=1e-6)).all()
    assert classify(np.zeros((0, 2)), classes).shape == (0, 3)


@pytest.mark.parametrize(
    ("classes", "templates", "message"),
    [
        ([], ["{}"], "no class"),
        ("cup", ["{}"], "a single text"),
        (["a"], "{}", "a single text"),
        (["a", "A "], ["{}"], "'a' is there twice"),
        ([" "], ["{}"], "none of them empty"),
        ({"a": []}, ["{}"], "at least one"),
        ({"a": "b"}, ["{}"], "has the text 'b'"),
        (["a"], ["hands"], "the template 'hands'"),
        (["a"], [], "the template None"),
        ({"x": ["a", "b"]}, ["{}"], "have the mean zero"),
    ],
)
def test_wrong_classes_are_named(classes, templates, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InputError, match=message):
        class_vectors(Words({"a": (1, 0), "b": (-1, 0)}), classes, templates)


def test_wrong_vectors_are_named() -> None:
    with pytest.raises(InputError, match=r"expected \(N, E\) and \(C, E\)"):
        classify(np.zeros((2, 3)), np.zeros((4, 2)))
    with pytest.raises(InputError, match="not finite"):
        classify(np.array([[np.nan, 0]]), np.eye(2))
    with pytest.raises(InputError, match="above 0"):
        classify(np.eye(2), np.eye(2), temperature=0)

"""The scores of contacts found by motion, on made-up clips and answers."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from palmist.benchmark import narration_contacts
from palmist.benchmark.narration_contacts import held_boxes, score_contacts
from palmist.perception.objects import HandBox, HandObjects, ObjectBox
from palmist.render.held import _NUMBER
from palmist.render.parts import part_code

NEAR, FAR = np.array([0, 0, 10, 10.0]), np.array([40, 40, 60, 60.0])


def clip(frames: int) -> SimpleNamespace:
    """A thing at 0..9 x 0..9 in every frame but the last."""
    parts = np.zeros((frames, 64, 64), np.uint8)
    parts[:-1, :10, :10] = part_code(_NUMBER, 0)
    return SimpleNamespace(
        parts=parts, frames=np.zeros((frames, 64, 64, 3), np.uint8), truth=SimpleNamespace(time=np.arange(frames))
    )


def test_boxes_of_what_is_drawn() -> None:
    first, last = held_boxes(clip(2))
    assert first.tolist() == [0, 0, 10, 10]
    assert last is None


def test_scores_worked_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four frames: right with half of the box, missed, both hands said, said where nothing is held."""
    half = ObjectBox(np.array([0, 0, 10, 5.0]))
    whole = ObjectBox(NEAR)
    holds, empty = HandBox(NEAR, 1.0, 0, 3, 0), HandBox(NEAR, 1.0, 0)
    other, other_holds = HandBox(FAR, 1.0, 1), HandBox(FAR, 1.0, 1, 3, 0)
    answers = [
        HandObjects((holds, other), (half,)),
        HandObjects((empty, other)),
        HandObjects((holds, other_holds), (whole,)),
        HandObjects((holds, other), (whole,)),
    ]

    class Answers:
        def __init__(self, tracker: object) -> None:
            self._rest = iter(answers)

        def detect(self, time: float, frame: np.ndarray) -> HandObjects:
            return next(self._rest)

    monkeypatch.setattr(narration_contacts, "MotionHandObjects", Answers)
    scores = score_contacts([(clip(4), "wrist")])
    assert {name: (value.value, value.n) for name, value in scores.items()} == {
        "precision": (2 / 4, 4),
        "recall": (pytest.approx(2 / 3), 3),
        "object_iou": ((0.5 + 1) / 2, 2),
    }

"""Average precision of hand-object detections, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from palmist.errors import InputError
from palmist.metrics import average_precision, detection_ap
from palmist.perception.objects import HandBox, HandObjects, ObjectBox

HAND, THING, FAR = (np.array(box, float) for box in ([10, 10, 50, 50], [60, 10, 100, 50], [200, 200, 240, 240]))


def frame(box=HAND, score=1.0, side=0, contact=3, thing=THING) -> HandObjects:
    things = () if thing is None else (ObjectBox(thing, score),)
    return HandObjects((HandBox(box, score, side, contact, None if thing is None else 0),), things)


def test_area_of_a_ranking_worked_by_hand() -> None:
    # Right, wrong, right, wrong of 4: precisions 1, 1/2, 2/3, 1/2 at recalls 1/4, 1/4, 1/2, 1/2.
    assert average_precision([True, False, True, False], 4) == pytest.approx(1 / 4 * 1 + 1 / 4 * 2 / 3)
    # Recalls 0, 0.1, 0.2 take 1; 0.3, 0.4, 0.5 take 2/3; the other five 0.
    assert average_precision([True, False, True, False], 4, eleven_points=True) == pytest.approx((3 + 3 * 2 / 3) / 11)
    # A late rise counts for all recalls before it.
    assert average_precision([False, True, True], 2) == pytest.approx(2 / 3)
    assert average_precision([], 3) == 0
    assert math.isnan(average_precision([], 0))
    with pytest.raises(InputError, match="2 right detections were given for 1 truths"):
        average_precision([True, True], 1)


def test_each_kind_asks_for_its_own_thing() -> None:
    truth = [frame()]
    changed = {
        "same": frame(),
        "side": frame(side=1),
        "state": frame(contact=4),
        "object": frame(thing=FAR),
        "no object": frame(thing=None),
        "hand": frame(box=FAR),
    }
    right = {
        name: {
            kind
            for kind in ("hand", "object", "hand+side", "hand+state", "hand+object", "all")
            if detection_ap([found], truth, kind).value == 1
        }
        for name, found in changed.items()
    }
    every = {"hand", "object", "hand+side", "hand+state", "hand+object", "all"}
    assert right == {
        "same": every,
        "side": every - {"hand+side", "all"},
        "state": every - {"hand+state", "all"},
        "object": every - {"object", "hand+object", "all"},
        "no object": every - {"object", "hand+object", "all"},
        "hand": {"object"},
    }


def test_a_hand_that_touches_nothing_agrees_with_nothing() -> None:
    assert detection_ap([frame(thing=None)], [frame(thing=None)], "hand+object") == (1.0, 1, None)


def test_frames_are_ranked_together_and_a_double_counts_against() -> None:
    two = HandObjects((HandBox(HAND, 0.9, 0), HandBox(HAND + 1, 0.8, 0)))
    single = HandObjects((HandBox(FAR, 0.3, 1),))
    truth = [HandObjects((HandBox(HAND, 1.0, 0),)), HandObjects((HandBox(FAR, 1.0, 1),))]
    # 0.9 right, 0.8 a double, 0.3 right: 1/2 * 1 + 1/2 * 2/3.
    assert detection_ap([two, single], truth).value == pytest.approx(5 / 6)
    assert detection_ap([two, single], truth).n == 2
    assert detection_ap([single, two], truth[::-1]).value == pytest.approx(5 / 6)


def test_a_wrong_side_leaves_the_hand_to_the_next_detection() -> None:
    found = HandObjects((HandBox(HAND, 0.9, 1), HandBox(HAND, 0.8, 0)))
    assert detection_ap([found], [HandObjects((HandBox(HAND, 1.0, 0),))], "hand+side").value == pytest.approx(1 / 2)


def test_an_overlap_of_just_one_half_is_too_little() -> None:
    # With ends inside: 20 x 10 and its half 10 x 10.
    truth = [HandObjects((HandBox(np.array([0, 0, 19, 9.0]), 1.0, 0),))]
    half, more = (HandObjects((HandBox(np.array([0, 0, end, 9.0]), 1.0, 0),)) for end in (9, 10))
    assert detection_ap([half], truth).value == 0
    assert detection_ap([more], truth).value == 1


def test_wrong_questions_are_refused() -> None:
    with pytest.raises(InputError, match="no detection metric 'hands'"):
        detection_ap([], [], "hands")
    with pytest.raises(InputError, match="1 frames of detections came with 0 true ones"):
        detection_ap([frame()], [])
    assert math.isnan(detection_ap([frame()], [HandObjects()]).value)

"""Detections become tracks: sides mended, gaps filled, false hands dropped, things kept apart."""

from __future__ import annotations

import json

import numpy as np
import pytest

from palmist.errors import InputError
from palmist.narration.tracks import LinkSettings, Tracks, link_tracks
from palmist.perception.objects import HandBox, HandObjects, ObjectBox

SIZE = (320, 240)
LEFT, RIGHT = 0, 1


def box(x: float, y: float, size: float = 30.0) -> np.ndarray:
    return np.array([x - size / 2, y - size / 2, x + size / 2, y + size / 2])


def hand(x: float, y: float, side: int, **fields) -> HandBox:
    return HandBox(box(x, y), fields.pop("score", 0.9), side, **fields)


def two_hands(frames: int = 20, tags=lambda frame: (LEFT, RIGHT)) -> list[HandObjects]:
    """The left hand at x 80, the right one at x 240, both drifting down; tags: what the detector calls them in a frame."""
    return [HandObjects((hand(80, 60 + 3 * t, tags(t)[0]), hand(240, 100 + 2 * t, tags(t)[1]))) for t in range(frames)]


def link(detections: list[HandObjects], rate: float = 20.0, **settings) -> Tracks:
    return link_tracks(np.arange(len(detections)) / rate, SIZE, detections, LinkSettings(**settings))


def places(tracks: Tracks, side: str) -> np.ndarray:
    """(T,) x of the centre, NaN where unknown."""
    found = tracks.boxes(tracks.hand(side))
    return (found[:, 0] + found[:, 2]) / 2


@pytest.mark.parametrize(
    "tags",
    [
        lambda frame: (LEFT, RIGHT),
        lambda frame: (LEFT, LEFT),  # the published overlay's fault: both hands are called left
        lambda frame: (RIGHT, RIGHT),
        lambda frame: (RIGHT, LEFT) if 6 <= frame < 11 else (LEFT, RIGHT),  # switched for a quarter of the clip
        lambda frame: (LEFT, RIGHT) if frame % 3 else (RIGHT, LEFT),
    ],
)
def test_wrong_side_tags_are_mended(tags):
    tracks = link(two_hands(tags=tags))
    assert places(tracks, "left") == pytest.approx(np.full(20, 80.0))
    assert places(tracks, "right") == pytest.approx(np.full(20, 240.0))


def test_tags_win_over_the_expected_order_of_the_hands():
    """Crossed arms, seen by oneself: the left hand is on the right, and tagged so in all frames."""
    tracks = link(two_hands(tags=lambda frame: (RIGHT, LEFT)))
    assert places(tracks, "left") == pytest.approx(np.full(20, 240.0))


@pytest.mark.parametrize(("view", "left"), [("egocentric", 80.0), ("facing", 240.0)])
def test_the_view_decides_where_tags_say_nothing(view, left):
    tracks = link(two_hands(tags=lambda frame: (LEFT, LEFT)), view=view)
    assert places(tracks, "left") == pytest.approx(np.full(20, left))


def test_one_hand_is_never_both():
    tracks = link([HandObjects((hand(100, 100, LEFT), hand(102, 101, RIGHT, score=0.6))) for _ in range(10)])
    assert [track.side for track in tracks.hands] == ["left"]


def test_wrong_tags_of_one_hand_make_no_second_hand():
    """One right hand, called left in every fourth frame: no left hand comes up where it is."""
    detections = [HandObjects((hand(100 + 3 * t, 100, LEFT if t % 4 == 0 else RIGHT),)) for t in range(40)]
    tracks = link(detections)
    assert [track.side for track in tracks.hands] == ["right"]
    assert not any(record.filled for record in tracks.hand("right").records)


def test_hands_that_cross_keep_their_sides():
    detections = [HandObjects((hand(60 + 10 * t, 90, LEFT), hand(260 - 10 * t, 130, RIGHT))) for t in range(21)]
    tracks = link(detections)
    assert places(tracks, "left") == pytest.approx(60 + 10 * np.arange(21))


def test_short_gaps_are_filled_and_long_ones_are_not():
    detections = [HandObjects(() if t in (4, 5) or 10 <= t < 20 else (hand(50 + 4 * t, 80, RIGHT),)) for t in range(30)]
    tracks = link(detections, rate=20.0, longest_gap=0.3)
    x = places(tracks, "right")
    assert x[4] == pytest.approx(66.0)  # halfway between neighbours, as the hand moves evenly
    assert x[5] == pytest.approx(70.0)
    assert np.isnan(x[10:20]).all()
    filled = [record.frame for record in tracks.hand("right").records if record.filled]
    assert filled == [4, 5]
    assert all(record.score == 0 for record in tracks.hand("right").records if record.filled)


def test_points_are_interpolated_with_the_box():
    points = np.zeros((21, 2))
    detections = [HandObjects((hand(50.0, 80, RIGHT, points=points + t),) if t != 2 else ()) for t in range(5)]
    record = link(detections).hand("right").records[2]
    assert record.filled
    assert record.points == pytest.approx(points + 2)


def test_a_false_hand_far_away_is_dropped():
    detections = two_hands()
    for t in (0, 7, 8):
        detections[t] = HandObjects((*detections[t].hands[:1], hand(20, 220, RIGHT, score=0.95)))
    tracks = link(detections)
    x = places(tracks, "right")
    assert not (np.abs(x - 20) < 5).any()
    assert x[7] == pytest.approx(240.0)


def test_a_hand_that_is_seen_in_two_frames_is_dropped():
    detections = [HandObjects((hand(100, 100, RIGHT),)) for _ in range(20)]
    detections[5] = detections[6] = HandObjects((hand(100, 100, RIGHT), hand(220, 200, LEFT)))
    assert [track.side for track in link(detections).hands] == ["right"]
    assert [track.side for track in link(detections, least_frames=2).hands] == ["left", "right"]


def test_things_keep_their_numbers_and_the_hand_knows_which_it_holds():
    """A cup that the right hand carries past a bottle; their order in the detector's list changes."""
    detections = []
    for t in range(16):
        cup, bottle = ObjectBox(box(60 + 12 * t, 120, 24), 0.8, "cup"), ObjectBox(box(160, 80, 30), 0.9)
        objects = (cup, bottle) if t % 2 else (bottle, cup)
        detections.append(HandObjects((hand(60 + 12 * t, 140, RIGHT, contact=3, object=objects.index(cup)),), objects))
    tracks = link(detections)
    assert [thing.name for thing in tracks.objects] == [None, "cup"]
    assert [len(thing.records) for thing in tracks.objects] == [16, 16]
    assert {record.object for record in tracks.hand("right").records} == {1}
    assert {record.contact for record in tracks.hand("right").records} == {"portable object"}


def test_a_held_thing_that_leaps_is_still_the_same():
    detections = [
        HandObjects((hand(60 + 25 * t, 140, RIGHT, contact=3, object=0),), (ObjectBox(box(60 + 25 * t, 120, 20)),))
        for t in range(8)
    ]
    assert len(link(detections).objects) == 1
    loose = [HandObjects((), frame.objects) for frame in detections]
    assert len(link(loose, least_frames=1).objects) == 8


def test_json_round_trip():
    points = np.arange(42.0).reshape(21, 2)
    detections = two_hands(5)
    detections[2] = HandObjects(
        (hand(80, 66, LEFT, contact=3, object=0, points=points),), (ObjectBox(box(90, 70), 0.5, "cup"),)
    )
    tracks = link(detections, least_frames=1)
    back = Tracks.from_json(json.loads(json.dumps(tracks.to_json())))
    assert back.to_json() == tracks.to_json()
    assert back.hand("left").records[2].points == pytest.approx(points)
    assert back.hand("right").records[2].filled


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data.pop("time"),
        lambda data: data["hands"][0].update(side="middle"),
        lambda data: data["hands"][0]["records"][0].update(frame=99),
        lambda data: data["hands"][0]["records"][0].update(box=[1, 2, 3]),
        lambda data: data["hands"][0]["records"][0].update(contact="glue"),
    ],
)
def test_damaged_json_is_refused(spoil):
    data = link(two_hands(4)).to_json()
    spoil(data)
    with pytest.raises(InputError, match="no tracks"):
        Tracks.from_json(data)


def test_wrong_input_is_refused():
    with pytest.raises(InputError, match="a time for each"):
        link_tracks(np.arange(3.0), SIZE, two_hands(4))
    with pytest.raises(InputError, match="go backwards"):
        link_tracks(np.array([0.0, 2.0, 1.0, 3.0]), SIZE, two_hands(4))
    with pytest.raises(InputError, match="view is 'above'"):
        LinkSettings(view="above")


def test_nothing_found_is_no_track():
    tracks = link([HandObjects() for _ in range(5)])
    assert tracks.hands == ()
    assert tracks.objects == ()


def test_a_frame_alone_is_enough():
    tracks = link(two_hands(1))
    assert [track.side for track in tracks.hands] == ["left", "right"]

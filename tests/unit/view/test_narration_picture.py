"""The picture of a narrated clip: what is drawn lies where the tracks are."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from palmist.narration.camera_motion import CameraMotion
from palmist.narration.pipeline import Narration, narrate_detections
from palmist.perception.objects import HandBox, HandObjects, ObjectBox
from palmist.view.narration_picture import draw_narration
from palmist.view.overlay import GOLD, SIDES

SIZE = (640, 480)
TIME = np.arange(25) / 25


def narrated(sides: tuple[int, ...] = (1,), camera: CameraMotion | None = None) -> Narration:
    """Hands of 80 pixels that move right by 10 pixels a frame, the right one holding a thing."""
    detections = []
    for n in range(len(TIME)):
        hands = []
        for side in sides:
            top = 60 if side else 260
            box = np.array([100 + 10 * n, top, 180 + 10 * n, top + 80])
            hands.append(HandBox(box, 0.9, side, 3 * side, 0 if side else None))
        detections.append(HandObjects(tuple(hands), (ObjectBox(np.array([170 + 10 * n, 190, 240 + 10 * n, 240])),)))
    return narrate_detections(TIME, SIZE, detections, camera, source="cups")


def places(picture: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """(N, 2) x, y of the pixels of a colour."""
    return np.argwhere((np.abs(picture.astype(int) - colour) < 12).all(-1))[:, ::-1]


@pytest.fixture
def frame() -> np.ndarray:
    return np.zeros((SIZE[1], SIZE[0], 3), np.uint8)


def test_boxes_and_ways_lie_where_the_tracks_are(frame: np.ndarray) -> None:
    picture = draw_narration(frame, narrated())
    assert picture.shape[1] == 640
    assert picture.shape[0] > 480  # the sentence beneath
    hand = places(picture[:480], SIDES[1])
    assert hand[:, 0].min() < 150  # the way begins at x = 140
    assert hand[:, 0].max() > 370  # and ends at x = 380
    for corner in ((220, 60), (300, 140), (220, 140), (300, 60)):  # the box of the middle frame
        assert np.abs(hand - corner).max(1).min() <= 3
    assert len(places(picture[:480], GOLD))
    assert not len(places(picture[:480], SIDES[0]))
    assert (picture[480:] > 200).all(-1).any()  # letters
    assert not frame.any()  # the frame itself stays as it was


def test_sides_have_their_colours(frame: np.ndarray) -> None:
    picture = draw_narration(frame, narrated((0, 1)))
    assert places(picture[:240], SIDES[1]).any()
    assert places(picture[250:480], SIDES[0]).any()
    assert not len(places(picture[250:480], SIDES[1]))


def test_a_small_frame_is_enlarged_with_all_that_is_drawn() -> None:
    small = draw_narration(np.zeros((120, 160, 3), np.uint8), narrated())
    assert small.shape[1] == 640
    hand = places(small[:480], SIDES[1])
    assert np.abs(hand - (220, 60)).max(1).min() <= 3


def test_with_a_moving_camera_the_way_is_seen_from_the_middle_frame(frame: np.ndarray) -> None:
    """The camera goes along with the hand: in the scene the hand moves 20 pixels a frame, so the way is twice as long."""
    moves = np.tile(np.eye(2, 3), (25, 1, 1))
    moves[:, 0, 2] = 10 * np.arange(25)  # a pixel of frame n lies 10 n further right in frame 0
    hand = places(draw_narration(frame, narrated(camera=CameraMotion(moves, np.ones(25, bool))))[:480], SIDES[1])
    assert hand[:, 0].min() < 30  # 140 - 120
    assert hand[:, 0].max() > 490  # 380 + 120
    assert np.abs(hand - (220, 60)).max(1).min() <= 3  # the box stays


def test_a_clip_without_hands_and_one_of_one_frame(frame: np.ndarray) -> None:
    empty = narrate_detections(TIME, SIZE, [HandObjects()] * 25)
    assert draw_narration(frame, empty).shape[0] > 480
    one = narrate_detections(TIME[:1], SIZE, [HandObjects((HandBox(np.array([1, 1, 50, 50]), 0.9, 1),))])
    assert draw_narration(frame, one).shape[0] > 480


def test_long_sentences_are_broken_and_other_letters_shown_as_marks(frame: np.ndarray) -> None:
    short = draw_narration(frame, dataclasses.replace(narrated(), text="Up."))
    long = draw_narration(frame, dataclasses.replace(narrated(), text="Die Hand – oben " * 20 + "x" * 500))
    assert long.shape[0] > short.shape[0]
    assert long.shape[1] == short.shape[1] == 640


def test_names_of_boxes_at_one_place_do_not_cover_each_other(frame: np.ndarray) -> None:
    box, along = np.array([200.0, 200.0, 300.0, 300.0]), np.array([1, 0, 1, 0])
    hands = tuple(HandBox(box + 90 * side * along, 0.9, side, 3, 0) for side in range(2))
    found = [HandObjects(hands, (ObjectBox(box + 140 * along, name="object"),))] * 25
    picture = draw_narration(frame, narrate_detections(TIME, SIZE, found))[:480]
    for colour in (GOLD, *SIDES):
        filled = (np.abs(picture.astype(int) - colour) < 12).all(-1)
        assert filled.sum(1).max() > 40  # a whole row of the label's ground, which no other label hides
        rows = np.flatnonzero(filled.sum(1) > 40)
        assert len(rows) >= 10

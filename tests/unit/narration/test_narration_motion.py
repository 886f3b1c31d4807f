"""Paths become named pieces, tracks become facts, and a camera that moves is taken away."""

from __future__ import annotations

import itertools

import cv2
import numpy as np
import pytest

from palmist.errors import InputError
from palmist.narration.camera_motion import CameraMotion, background_tracks, camera_motion, similarity
from palmist.narration.describe_motion import DescribeSettings, describe_motion
from palmist.narration.facts import DIRECTIONS, STAYS
from palmist.narration.motion_pieces import PieceSettings, direction_of, motion_pieces
from palmist.narration.named_thing import named_thing
from palmist.narration.tracks import link_tracks
from palmist.perception.objects import HandBox, HandObjects, ObjectBox
from palmist.perception.video import Clip

PLAIN = PieceSettings(smoothing=0.0)


def pieces(path, rate: float = 20.0, size: float = 10.0, settings: PieceSettings = PLAIN):
    path = np.asarray(path, float)
    return motion_pieces(path, np.arange(len(path)) / rate, 100.0, size, settings)


def names(path, **options) -> list[str]:
    return [piece.direction for piece in pieces(path, **options)]


def line(start, end, count: int = 10) -> np.ndarray:
    return np.linspace(start, end, count)


# --------------------------------------------------------------------------------------------------------------------
# Pieces


def test_directions_are_the_eight_of_the_compass():
    assert [direction_of(np.cos(a), np.sin(a)) for a in np.arange(8) * np.pi / 4] == list(DIRECTIONS)
    assert direction_of(1.0, 0.41) == "right"  # 22.3 degrees
    assert direction_of(1.0, 0.42) == "down and to the right"  # 22.8 degrees
    assert direction_of(-1.0, -1e-9) == direction_of(-1.0, 1e-9) == "left"


def test_up_then_right_by_hand():
    path = np.concatenate([line((0, 50), (0, 10), 9), line((0, 10), (30, 10), 7)[1:]])
    up, right = pieces(path)
    assert (up.direction, right.direction) == ("up", "right")
    assert (up.start, up.end, right.end) == (0.0, 0.4, 0.7)
    assert (up.distance, right.distance) == pytest.approx((0.4, 0.3))


def test_small_motion_stays_and_noise_is_no_motion():
    assert names(line((0, 0), (5.9, 0))) == [STAYS]
    assert names(line((0, 0), (6.1, 0))) == ["right"]
    noise = np.random.default_rng(0).normal(size=(40, 2))
    assert names(noise) == [STAYS]
    assert names(line((0, 0), (0, -80), 40) + noise) == ["up"]


def test_the_picture_sets_a_least_motion_for_small_hands():
    assert names(line((0, 0), (2.9, 0)), size=1.0) == [STAYS]
    assert names(line((0, 0), (3.1, 0)), size=1.0) == ["right"]


def test_neighbours_of_one_direction_are_one_piece():
    bent = np.concatenate([line((0, 0), (30, 5)), line((30, 5), (60, -3))[1:]])  # within 22.5 degrees of "right" both
    (piece,) = pieces(bent, settings=PieceSettings(smoothing=0.0, tolerance=0.05))
    assert piece.direction == "right"
    assert piece.distance == pytest.approx((np.hypot(30, 5) + np.hypot(30, 8)) / 100)


def test_a_rest_between_two_motions_is_told():
    path = np.concatenate([line((0, 0), (30, 0)), np.tile((30.0, 0.0), (20, 1)), line((30, 0), (30, -30))])
    assert names(path) == ["right", STAYS, "up"]
    assert names(np.concatenate([np.tile((0.0, 0.0), (20, 1)), line((0, 0), (30, 0))])) == [STAYS, "right"]


def test_nothing_is_said_about_a_gap():
    path = np.concatenate([line((0, 0), (20, 0)), np.full((5, 2), np.nan), line((20, 90), (20, 60))])
    assert names(path) == ["right", "up"]  # and not "down", which nobody saw


def test_mirrored_reversed_and_scaled_paths():
    generator = np.random.default_rng(3)
    swap = {"left": "right", "right": "left"}
    for _ in range(20):
        path = np.cumsum(generator.normal(size=(6, 2)) * 20, 0)
        path = np.concatenate([line(a, b, 6) for a, b in itertools.pairwise(path)])
        found = names(path)
        mirrored = [" ".join(swap.get(word, word) for word in name.split()) for name in found]
        assert names(path * (-1, 1)) == mirrored
        assert names(path + np.array([1000, -300])) == found
        scaled = motion_pieces(path * 3, np.arange(len(path)) / 20, 300.0, 30.0, PLAIN)
        assert [piece.direction for piece in scaled] == found


def test_paths_of_a_wrong_shape_are_refused():
    with pytest.raises(InputError, match=r"\(5, 3\)"):
        pieces(np.zeros((5, 3)))


def test_one_frame_stays():
    assert names([(3.0, 4.0)]) == [STAYS]
    assert names(np.full((4, 2), np.nan)) == []


# --------------------------------------------------------------------------------------------------------------------
# Camera


def test_similarity_is_exact_without_noise_and_ignores_a_third_of_wrong_points():
    generator = np.random.default_rng(0)
    source = generator.uniform(0, 300, (90, 2))
    linear = 1.05 * np.array([[np.cos(0.1), -np.sin(0.1)], [np.sin(0.1), np.cos(0.1)]])
    target = source @ linear.T + (7, -4)
    assert similarity(source, target, 0.5) == pytest.approx(np.c_[linear, (7, -4)])
    target[:30] += (25, 10)
    assert similarity(source, target, 0.5) == pytest.approx(np.c_[linear, (7, -4)], abs=0.01)
    assert similarity(source[30:31], target[30:31], 0.5, shift_only=True)[:, :2] == pytest.approx(np.eye(2))


def panned_clip(frames: int = 12, step: tuple[float, float] = (4.0, -2.0)) -> tuple[Clip, np.ndarray]:
    """A texture that a moving camera sees, and in it a square hand that stands still in the picture: in truth it moves."""
    generator = np.random.default_rng(0)
    world = cv2.GaussianBlur(generator.normal(size=(300, 400, 3)), (0, 0), 2.5)
    world = np.clip(128 + 60 * world / world.std(), 0, 255).astype(np.uint8)
    corner = np.array([40, 80]) + np.arange(frames)[:, None] * np.array(step)
    images = np.stack([world[int(y) : int(y) + 160, int(x) : int(x) + 200] for x, y in corner]).copy()
    images[:, 60:100, 80:120] = cv2.resize(world[:20, :20], (40, 40))
    return Clip(images, np.arange(frames) / 20), corner - corner[0]


def test_a_pan_is_measured_and_the_hand_gets_its_motion_back():
    clip, moved = panned_clip()
    boxes = [np.array([[80.0, 60, 120, 100]])] * len(clip)
    camera = camera_motion(background_tracks(clip), boxes)
    assert camera.known.all()
    assert camera.matrices[:, :, 2] == pytest.approx(moved, abs=0.3)
    detections = [HandObjects((HandBox(boxes[0][0], 0.9, 1),)) for _ in clip.images]
    tracks = link_tracks(clip.time, (200, 160), detections)
    assert [p.direction for p in describe_motion(tracks).hands["right"].pieces] == [STAYS]
    found = describe_motion(tracks, camera).hands["right"].pieces
    assert [piece.direction for piece in found] == ["up and to the right"]


def test_hands_that_fill_the_picture_are_left_out():
    clip, _ = panned_clip()
    boxes = [np.array([[0.0, 0, 200, 160]])] * len(clip)
    camera = camera_motion(background_tracks(clip), boxes)
    assert not camera.known[1:].any()
    assert camera.matrices == pytest.approx(CameraMotion.still(len(clip)).matrices)


def test_a_plain_wall_gives_no_motion():
    clip = Clip(np.full((5, 80, 100, 3), 90, np.uint8), np.arange(5) / 10)
    camera = camera_motion(background_tracks(clip))
    assert camera.matrices == pytest.approx(CameraMotion.still(5).matrices, abs=1e-6)


def test_taking_frames_keeps_places_and_forgets_no_unknown_step():
    matrices = np.tile(np.eye(2, 3), (5, 1, 1))
    matrices[:, 0, 2] = np.arange(5)
    camera = CameraMotion(matrices, np.array([True, True, False, True, True]))
    part = camera.take([0, 3, 4])
    assert part.matrices[:, 0, 2].tolist() == [0, 3, 4]
    assert part.known.tolist() == [True, False, True]
    assert CameraMotion.from_json(part.to_json()).known.tolist() == [True, False, True]
    with pytest.raises(InputError, match="no camera motion"):
        CameraMotion.from_json({"matrices": [[1, 2]], "known": [True]})


def test_boxes_of_other_frames_are_refused():
    clip, _ = panned_clip(4)
    with pytest.raises(InputError, match="boxes were given for 3 frames"):
        camera_motion(background_tracks(clip), [np.zeros((0, 4))] * 3)


# --------------------------------------------------------------------------------------------------------------------
# Facts


def box(x: float, y: float, size: float = 30.0) -> np.ndarray:
    return np.array([x - size / 2, y - size / 2, x + size / 2, y + size / 2])


def facts(detections, camera=None, original=None, rate: float = 20.0, **settings):
    tracks = link_tracks(np.arange(len(detections)) / rate, (320, 240), detections)
    return describe_motion(tracks, camera, original, settings=DescribeSettings(**settings))


def holding(states: list[int], contact: int = 3) -> list[HandObjects]:
    """A right hand that carries a thing wherever states is 1; the thing lies to its left at first and above it at the end."""
    out = []
    for t, state in enumerate(states):
        thing = ObjectBox(box(60, 100) if t < len(states) / 2 else box(100, 60))
        out.append(HandObjects((HandBox(box(100, 100), 0.9, 1, contact * state, 0 if state else None),), (thing,)))
    return out


def test_contact_changes_that_last_are_told_and_flicker_is_not():
    states = [0] * 10 + [1] * 2 + [0] * 8 + [1] * 20  # two frames at 20 per second are 0.1 s
    hand = facts(holding(states)).hands["right"]
    assert hand.contact == "none"
    assert [(change.time, change.state) for change in hand.changes] == [(1.0, "portable object")]
    assert hand.object == 0
    often = facts(holding(states), steady=0.05).hands["right"]
    assert [change.state for change in often.changes] == ["portable object", "none", "portable object"]


def test_a_hand_that_touches_for_single_frames_holds_nothing():
    hand = facts(holding([1 if t % 6 == 0 else 0 for t in range(40)])).hands["right"]
    assert (hand.contact, hand.changes, hand.object) == ("none", (), None)
    dropping_out = facts(holding([0 if t % 4 == 0 else 1 for t in range(40)])).hands["right"]
    assert (dropping_out.contact, dropping_out.changes, dropping_out.object) == ("portable object", (), 0)


def test_where_the_thing_is_before_and_after():
    found = facts(holding([1] * 40))
    relations = [(r.subject, r.relation, r.other, r.when) for r in found.relations]
    assert relations == [("object 0", "left of", "right hand", "start"), ("object 0", "above", "right hand", "end")]


def test_hands_that_approach():
    detections = [HandObjects((HandBox(box(40 + 5 * t, 100), 0.9, 0), HandBox(box(280, 100), 0.9, 1))) for t in range(30)]
    found = facts(detections)
    assert [(r.subject, r.relation, r.other) for r in found.relations] == [("left hand", "approaches", "right hand")]
    assert list(found.hands) == ["left", "right"]  # the one that moves comes first
    backwards = facts(detections[::-1])
    assert backwards.relations[0].relation == "moves away from"


def test_the_caption_names_the_thing():
    detections = holding([1] * 40)
    assert facts(detections, original="#C C lifts the cup from the table").objects[0].name == "cup"
    assert facts(detections, original="#C C moves both hands").objects[0].name is None
    named = [HandObjects(frame.hands, (ObjectBox(frame.objects[0].box, 1.0, "mug"),)) for frame in detections]
    assert facts(named, original="#C C lifts the cup").objects[0].name == "mug"


def test_a_hand_that_is_hardly_seen_is_not_told_of():
    detections = [HandObjects((HandBox(box(100, 100), 0.9, 1),) if t < 6 else ()) for t in range(40)]
    assert not facts(detections).hands
    assert facts(detections, least_seen=0.1).hands["right"].seen == pytest.approx(6 / 40)


def test_a_hand_that_leaves_the_picture_keeps_its_speed():
    """Moving left at 10 pixels per frame, its box is cut off by the edge: the last centres would seem to slow down."""
    centres = 100 - 10 * np.arange(11)
    detections = [HandObjects((HandBox(np.clip(box(x, 100), 0, 320), 0.9, 1),)) for x in centres]
    (piece,) = facts(detections).hands["right"].pieces
    assert piece.distance == pytest.approx(100 / 400, abs=0.005)


@pytest.mark.parametrize(
    ("caption", "name"),
    [
        ("#C C picks up the cup from the table", "cup"),
        ("#C C moves the coffee cup with his right hand", "coffee cup"),
        ("The person pours a cup of tea into a bowl.", "cup of tea"),
        ("wash knife", "knife"),
        ("pick up plate", "plate"),
        ("#C C puts the knife and the fork on the table", None),
        ("#C C moves both hands", None),
        ("#C C raises her left hand", None),
        ("", None),
        (None, None),
    ],
)
def test_the_one_thing_of_a_caption(caption, name):
    assert named_thing(caption) == name

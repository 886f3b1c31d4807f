"""Things that hands carry, found by motion: drawn clips with known truth, the true joints in the tracker's place."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import cv2
import numpy as np
import pytest

from palmist.benchmark.narration_contacts import TrueHands, held_boxes
from palmist.errors import InputError
from palmist.perception.active_objects import MotionHandObjects
from palmist.perception.background_motion import background_motion
from palmist.perception.detection import HandDetection
from palmist.perception.hand_shape import forearm_mask, hand_box, hand_mask, palm_length, palm_motion
from palmist.perception.objects import HandObjects
from palmist.readers import open_data
from palmist.render import Clip, RenderSettings, render_clip

SETTINGS = {"size": 192, "framing": "hands", "tracks": 0, "rate": 20.0}


@cache
def drawn(held: str | None) -> Clip:
    """A right hand that opens and closes, two and a half seconds, over a texture and with a moving camera."""
    return render_clip(open_data("leap_recordings")[0], RenderSettings(**SETTINGS, held=held), 0)


def run(clip: Clip, frames: Sequence[np.ndarray] | None = None) -> list[HandObjects]:
    detector = MotionHandObjects(TrueHands(clip, "palm_centre"))
    images = clip.frames if frames is None else frames
    return [detector.detect(float(time), frame) for time, frame in zip(clip.truth.time, images, strict=True)]


@cache
def answers(held: str | None) -> list[HandObjects]:
    return run(drawn(held))


def overlap(one: np.ndarray, two: np.ndarray) -> float:
    low, high = np.maximum(one[:2], two[:2]), np.minimum(one[2:], two[2:])
    common = np.prod(np.maximum(high - low, 0))
    return float(common / (np.prod(one[2:] - one[:2]) + np.prod(two[2:] - two[:2]) - common))


def test_a_carried_bottle_is_found_and_its_box_is_near_the_truth() -> None:
    found, truth = answers("bottle"), held_boxes(drawn("bottle"))
    last = range(len(found) // 2, len(found))
    held = [n for n in last if found[n].hands[0].contact == 3]
    assert len(held) > 0.8 * len(last)
    shares = [overlap(found[n].objects[found[n].hands[0].object].box, truth[n]) for n in held]
    assert np.mean(shares) > 0.5
    assert all(0 < thing.score < 1 for n in held for thing in found[n].objects)


def test_an_empty_hand_carries_nothing() -> None:
    assert all(hand.contact == 0 and hand.object is None for frame in answers(None) for hand in frame.hands)


def test_nothing_is_said_before_the_hand_has_moved_twice() -> None:
    clip = drawn("bottle")
    assert answers("bottle")[0].hands[0].contact == 0
    still = [clip.frames[0]] * 10
    detector = MotionHandObjects(_Frozen(clip, "palm_centre"))
    assert all(not detector.detect(float(t), f).objects for t, f in zip(clip.truth.time, still, strict=False))


def test_a_thing_at_rest_stays_held_and_is_forgotten_at_last() -> None:
    clip = drawn("bottle")
    detector = MotionHandObjects(TrueHands(clip, "palm_centre", repeats=True))
    for time, frame in zip(clip.truth.time, clip.frames, strict=True):
        found = detector.detect(float(time), frame)
    assert found.objects
    end = float(clip.truth.time[-1])
    kept = [bool(detector.detect(end + 0.5 * n, clip.frames[-1]).objects) for n in range(1, 41)]
    assert all(kept[:4])  # two seconds
    assert not kept[-1]  # twenty


def test_a_thing_that_is_let_go_is_lost() -> None:
    """The hand goes on, the bottle is painted over: what is there then stands still with the background."""
    with_bottle, without = drawn("bottle"), drawn(None)
    third = len(with_bottle.frames) // 3
    frames = [*with_bottle.frames[:third], *without.frames[third:]]
    found = run(with_bottle, frames)
    assert found[third - 1].objects
    assert not found[-1].objects


def test_the_same_frames_give_the_same_answer_and_the_mirror_the_mirrored_one() -> None:
    clip = drawn("bottle")
    one, two = answers("bottle"), run(clip)
    assert [[hand.contact for hand in f.hands] for f in one] == [[hand.contact for hand in f.hands] for f in two]
    assert all(
        np.array_equal(a.box, b.box) for f, g in zip(one, two, strict=True) for a, b in zip(f.objects, g.objects, strict=True)
    )
    detector = MotionHandObjects(TrueHands(clip, "palm_centre", mirrored=True))
    shares = []
    for time, frame, plain in zip(clip.truth.time, clip.frames, one, strict=True):
        found = detector.detect(float(time), np.ascontiguousarray(frame[:, ::-1]))
        if plain.objects and found.objects:
            box = found.objects[0].box[[2, 1, 0, 3]]
            box[[0, 2]] = clip.frames.shape[2] - box[[0, 2]]
            shares.append(overlap(plain.objects[0].box, box))
    assert len(shares) > len(clip.frames) / 3
    assert np.median(shares) > 0.6


def test_larger_frames_give_larger_boxes() -> None:
    clip = drawn("bottle")
    large = [cv2.resize(frame, None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR) for frame in clip.frames[:40]]
    detector = MotionHandObjects(TrueHands(clip, "palm_centre"))
    found = [detector.detect(float(time), frame) for time, frame in zip(clip.truth.time, large, strict=False)]
    truth = held_boxes(clip)
    held = [n for n, frame in enumerate(found) if frame.objects]
    assert held
    assert np.mean([overlap(found[n].objects[0].box, 2 * truth[n]) for n in held]) > 0.4
    assert found[0].hands[0].points.max() > 192


def test_wrong_frames_and_times_are_refused() -> None:
    clip = drawn(None)
    detector = MotionHandObjects(TrueHands(clip, "palm_centre"))
    detector.detect(0.0, clip.frames[0])
    with pytest.raises(InputError, match=r"a frame is 96 x 96 after frames of \(192, 192\)"):
        detector.detect(0.1, clip.frames[0][:96, :96])
    with pytest.raises(InputError, match="times that increase"):
        detector.detect(0.0, clip.frames[0])
    assert detector.describe()["detector"] == "hands, and things by motion"


def test_frames_without_hands_are_empty() -> None:
    class Nobody:
        def detect(self, time: float, frame: np.ndarray) -> Sequence[HandDetection]:
            return []

        def describe(self) -> dict[str, str]:
            return {}

    detector = MotionHandObjects(Nobody())
    assert detector.detect(0.0, np.zeros((40, 60, 3), np.uint8)) == HandObjects()
    assert detector.detect(0.1, np.zeros((40, 60, 3), np.uint8)) == HandObjects()


# ------------------------------------------------------------------------------------------------------------- parts


def test_the_camera_is_found_behind_a_moving_patch() -> None:
    generator = np.random.default_rng(0)
    before = cv2.GaussianBlur(generator.integers(0, 256, (160, 240), np.uint8), (0, 0), 2)
    before = cv2.normalize(before, None, 0, 255, cv2.NORM_MINMAX)
    true = np.array([[1.01, -0.02, 3.0], [0.02, 1.01, -2.0]])
    after = cv2.warpAffine(before, true, (240, 160), borderMode=cv2.BORDER_REFLECT)
    after[60:100, 90:150] = before[50:90, 100:160]  # a thing of its own
    assert np.allclose(background_motion(before, after), true, atol=[[0.01, 0.01, 0.8]] * 2)
    mask = np.ones((160, 240), bool)
    mask[40:110, 80:170] = False
    assert np.allclose(background_motion(before, after, mask), true, atol=[[0.01, 0.01, 0.8]] * 2)


def test_a_plain_wall_counts_as_a_still_camera() -> None:
    wall = np.full((80, 80), 90, np.uint8)
    assert background_motion(wall, wall).tolist() == [[1, 0, 0], [0, 1, 0]]


def some_hand() -> np.ndarray:
    (hand,) = TrueHands(drawn(None), "palm_centre").detect(0.0, drawn(None).frames[0])
    return hand.image[:, :2] * 192 - 0.5


def test_palm_motion_gives_back_a_similarity_and_its_stiff_part() -> None:
    hand, angle = some_hand(), 0.4
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    moved = 1.3 * hand @ turn.T + (7, -4)
    assert np.allclose(palm_motion(hand, moved), np.column_stack([1.3 * turn, (7, -4)]))
    stiff = palm_motion(hand, moved, resize=False)
    assert np.allclose(stiff[:, :2], turn)
    palm = hand[[0, 5, 9, 13, 17]]
    assert np.allclose((palm @ stiff[:, :2].T + stiff[:, 2]).mean(0), moved[[0, 5, 9, 13, 17]].mean(0))


def test_masks_cover_the_drawn_hand() -> None:
    clip = drawn(None)
    points, parts = some_hand(), clip.parts[0]
    from palmist.render import hand_of_code

    hand = hand_of_code(parts) == 1
    mask = hand_mask(points, parts.shape)
    assert (mask & hand).sum() > 0.9 * hand.sum()
    assert mask.sum() < 2.2 * hand.sum()
    box = hand_box(points, *parts.shape[::-1])
    assert overlap(box, clip.truth.boxes[0, 1].astype(float)) > 0.8
    arm = forearm_mask(points, parts.shape)
    tip = np.round(points[12]).astype(int)
    behind = np.round(points[0] + 0.8 * (points[0] - points[9]) / np.linalg.norm(points[0] - points[9]) * palm_length(points))
    column, row = behind.astype(int)
    assert not arm[tip[1], tip[0]]
    if 0 <= row < arm.shape[0] and 0 <= column < arm.shape[1]:
        assert arm[row, column]


class _Frozen(TrueHands):
    """The first frame's hands, for ever."""

    def detect(self, time: float, frame: np.ndarray) -> Sequence[HandDetection]:
        self.next = 0
        return super().detect(time, frame)

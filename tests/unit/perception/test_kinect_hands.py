"""Hands on Kinect's crops: the way from a square back to the frame, sides, doubles, and what is not found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from palmist.errors import InputError
from palmist.perception.detection import HandDetection
from palmist.perception.kinect_hands import HAND_JOINTS, KinectHands, hand_square, kinect_hands, with_hands
from palmist.readers.ntu import read_ntu_clip
from palmist.readers.ntu_example import write_ntu60_example
from palmist.readers.ntu_file import KinectFile, read_skeleton_file
from palmist.skeleton import BODY_LAYOUTS
from palmist.skeleton_clip import clips_of

WIDTH, HEIGHT, FRAMES = 1280, 720, 3
DOT = 2  # pixels to each side of a dot's centre


def hand(x: float, y: float, size: float) -> np.ndarray:
    """(21, 2) pixels: five rays of dots from a wrist, upwards."""
    points = [(x, y)]
    for finger in range(5):
        for joint in range(4):
            points.append((x + size * 0.1 * (finger - 2) * (1 + joint / 3), y - size * (0.4 + 0.2 * joint)))
    return np.round(np.array(points))


def scene(persons: Sequence[Sequence[tuple[float, float, float] | None]]) -> tuple[list[np.ndarray], KinectFile, np.ndarray]:
    """Frames with dots, Kinect's file and the truth (M, 2, T, 21, 2) in pixels; persons: (wrist x, y, size) per side."""
    count = len(persons)
    truth = np.full((count, 2, FRAMES, 21, 2), np.nan)
    colour = np.zeros((count, FRAMES, 25, 2))
    frames = [np.zeros((HEIGHT, WIDTH, 3), np.uint8) for _ in range(FRAMES)]
    for m, sides in enumerate(persons):
        for side, place in enumerate(sides):
            for t in range(FRAMES):
                if place is None:
                    continue
                points = hand(place[0] + 5 * t, place[1], place[2])
                truth[m, side, t] = points
                for joint, (x, y) in enumerate(points.astype(int)):
                    frames[t][y - DOT : y + DOT + 1, x - DOT : x + DOT + 1] = (20 + 11 * joint, 100 + 100 * side, 50 + 40 * m)
                for place_, source in zip(HAND_JOINTS[side], (0, 9, 12, 3), strict=True):
                    colour[m, t, place_] = points[source] * 1920 / WIDTH
    seen = np.ones((count, FRAMES), bool)
    skeleton = KinectFile(
        ids=tuple("abc"[:count]),
        seen=seen,
        position=np.ones((count, FRAMES, 25, 3)),
        depth=colour,
        colour=colour,
        state=np.full((count, FRAMES, 25), 2, np.int8),
        hand_state=np.zeros((count, FRAMES, 2), np.int8),
    )
    return frames, skeleton, truth


class DotTracker:
    """Finds hands of dots: a joint is where the dots of its colour are."""

    made: ClassVar[list[DotTracker]] = []

    def __init__(self, wrong_sides: bool = False, sure: float = 0.9) -> None:
        self.wrong_sides, self.sure, self.closed, self.times = wrong_sides, sure, False, list[float]()
        DotTracker.made.append(self)

    def detect(self, time: float, frame: np.ndarray) -> list[HandDetection]:
        assert frame.shape == (224, 224, 3)
        self.times.append(time)
        found = []
        for person in range(3):
            for side in range(2):
                own = (np.abs(frame[..., 1].astype(int) - 100 - 100 * side) < 3) & (
                    abs(frame[..., 2].astype(int) - 50 - 40 * person) < 3
                )
                places = [np.argwhere(own & (abs(frame[..., 0].astype(int) - 20 - 11 * joint) < 3)) for joint in range(21)]
                if all(len(place) for place in places):
                    x_y = np.array([place.mean(0)[::-1] for place in places])
                    image = np.concatenate([(x_y + 0.5) / 224, np.full((21, 1), 0.1)], 1).astype(np.float32)
                    found.append(HandDetection(side != self.wrong_sides, self.sure, image))
        return found

    def describe(self) -> dict[str, Any]:
        return {"tracker": "dots"}

    def close(self) -> None:
        self.closed = True


def run(frames: list[np.ndarray], skeleton: KinectFile, make: Any = DotTracker) -> KinectHands:
    DotTracker.made = []
    return kinect_hands(((t / 30, frame) for t, frame in enumerate(frames)), skeleton, make)


def assert_found(found: KinectHands, truth: np.ndarray) -> None:
    known = np.isfinite(truth).all((3, 4))
    np.testing.assert_array_equal(found.valid, known)
    pixels = found.image[..., :2] * (WIDTH, HEIGHT) - 0.5  # pixel centres lie at one half
    assert np.abs(pixels - truth)[known].max() < 0.6


def test_hands_come_back_where_they_were_drawn() -> None:
    frames, skeleton, truth = scene([[(300, 400, 80), (600, 420, 90)], [(900, 300, 84), (1120, 600, 120)]])
    found = run(frames, skeleton)
    assert_found(found, truth)
    assert (found.size, found.facts) == ((WIDTH, HEIGHT), {"tracker": "dots"})
    np.testing.assert_allclose(found.score, 0.9)
    assert len(DotTracker.made) == 4  # one for each person and side
    assert all(tracker.closed and tracker.times == [0, 1 / 30, 2 / 30] for tracker in DotTracker.made)


def test_depth_is_in_frame_widths() -> None:
    frames, skeleton, _ = scene([[(300, 400, 80), None]])
    found = run(frames, skeleton)
    pixels = skeleton.colour[0, 0] * WIDTH / 1920
    length = hand_square(pixels, 0, WIDTH / 1920)[2]
    np.testing.assert_allclose(found.image[0, 0, 0, :, 2], 0.1 * length / WIDTH, rtol=1e-5)


def test_a_hand_that_is_not_there_is_missing_and_zero() -> None:
    frames, skeleton, truth = scene([[(300, 400, 80), None]])
    found = run(frames, skeleton)
    assert_found(found, truth)
    assert not found.image[0, 1].any()
    assert not found.score[0, 1].any()
    skeleton.seen[0, 1] = False
    assert np.flatnonzero(run(frames, skeleton).valid[0, 0]).tolist() == [0, 2]


def test_a_square_over_the_edge_of_the_frame() -> None:
    frames, skeleton, truth = scene([[(48, 90, 80), (1215, 715, 80)]])
    assert_found(run(frames, skeleton), truth)


def test_the_side_is_kinects_and_a_tracker_that_disagrees_lowers_the_score() -> None:
    frames, skeleton, truth = scene([[(300, 400, 80), (600, 420, 90)]])
    found = run(frames, skeleton, lambda: DotTracker(wrong_sides=True, sure=0.8))
    assert_found(found, truth)
    np.testing.assert_allclose(found.score, 0.2, atol=1e-6)
    np.testing.assert_allclose(run(frames, skeleton, lambda: DotTracker(True, 1.0)).score, 0.01)


def test_two_hands_in_one_square_go_to_their_own_sides() -> None:
    frames, skeleton, truth = scene([[(400, 400, 80), (470, 405, 80)]])
    assert_found(run(frames, skeleton), truth)


def test_one_hand_is_not_given_to_both_sides() -> None:
    frames, skeleton, truth = scene([[(400, 400, 80), None]])
    for side_joint, other in zip(HAND_JOINTS[1], HAND_JOINTS[0], strict=True):  # Kinect puts the right hand on the left one
        skeleton.colour[:, :, side_joint] = skeleton.colour[:, :, other] + 12
    assert_found(run(frames, skeleton), truth)


def test_another_persons_hand_far_from_kinects_wrist_is_left_alone() -> None:
    frames, skeleton, truth = scene([[(400, 400, 80), None], [None, (680, 400, 80)]])
    places = np.array([(570, 400), (570, 360), (570, 300), (560, 380)]) * 1920 / WIDTH
    skeleton.colour[0][:, list(HAND_JOINTS[1])] = places
    found = run(frames, skeleton)
    np.testing.assert_array_equal(found.valid[:, :, 0], np.isfinite(truth).all((3, 4))[:, :, 0])


def test_squares_need_a_wrist_or_a_hand() -> None:
    pixels = np.zeros((25, 2))
    pixels[21], pixels[22] = (100, 100), (110, 100)
    assert hand_square(pixels, 0) is None
    pixels[6] = (100, 150)
    left, top, length = hand_square(pixels, 0)
    assert (left, top, length) == (105 - 75, 125 - 75, 150)
    pixels[[21, 22]] = np.nan
    assert hand_square(pixels, 0) == (52, 102, 96)
    assert hand_square(pixels, 1) is None
    names = BODY_LAYOUTS["kinect25"]
    assert [[names[j].split("_")[0] for j in side] for side in HAND_JOINTS] == [["left"] * 4, ["right"] * 4]


def test_videos_of_another_length_or_size_are_refused() -> None:
    frames, skeleton, _ = scene([[(300, 400, 80), None]])
    with pytest.raises(InputError, match="the video has 0 frames"):
        run([], skeleton)
    with pytest.raises(InputError, match=r"more frames than its skeleton \(3\)"):
        run(frames * 2, skeleton)
    assert run([*frames, frames[0]], skeleton).valid[0, 0].all()
    assert run(frames[:2], skeleton).valid[0, 0].tolist() == [True, True, False]
    with pytest.raises(InputError, match="expected one size"):
        run([frames[0], frames[0][:100]], skeleton)
    assert all(tracker.closed for tracker in DotTracker.made)


def test_hands_join_the_clip_of_the_same_file(tmp_path: Path) -> None:
    file = write_ntu60_example(tmp_path) / "nturgb+d_skeletons/S001C003P002R001A050.skeleton"
    skeleton = read_skeleton_file(file)
    generator = np.random.default_rng(0)
    valid = generator.random((2, 2, 50)) > 0.4
    image = np.where(valid[..., None, None], generator.random((2, 2, 50, 21, 3)), 0).astype(np.float32)
    found = KinectHands(image, valid, np.where(valid, 0.7, 0).astype(np.float32), (1920, 1080), {"tracker": "dots"})
    clip = with_hands(read_ntu_clip(file, coordinates="colour"), found)
    assert skeleton.seen.shape == (clip.persons, len(clip))
    (back,) = clips_of(clip.to_recordings("xsub"))
    np.testing.assert_array_equal(back.hands, image)
    np.testing.assert_array_equal(back.hand_valid, valid)
    np.testing.assert_allclose(back.hand_score[valid], 0.7)
    assert back.provenance["hands"] == {"tracker": "dots"}
    metric = with_hands(read_ntu_clip(file), found)
    assert (metric.space, metric.hand_space) == ("metric", "image")
    with pytest.raises(InputError, match="read without denoise"):
        with_hands(clip.slice(0, 10), found)

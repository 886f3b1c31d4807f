"""Rows of 100DOH, files of detections, and their replay."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from palmist.errors import InputError
from palmist.perception.hand_object_files import (
    DetectedHandObjects,
    ReplayedHandObjects,
    read_hand_objects,
    read_helping_hands,
    write_hand_objects,
)
from palmist.perception.hand_object_rows import from_rows, to_rows
from palmist.perception.object_detectors import DETECTORS, make_detector
from palmist.perception.objects import HandBox, HandObjects, ObjectBox

# A hand around (100, 100) whose thing lies 80 pixels to the right: magnitude 0.08, direction of length 0.1.
HAND = [80, 90, 120, 110, 0.9, 3, 0.08, 0.1, 0.0, 1]
CUP, LID = [170, 90, 190, 110, 0.8], [90, 30, 110, 50, 0.7]
FRAME = np.zeros((200, 400, 3), np.uint8)


def detections(frames: int = 3, step: float = 0.5) -> DetectedHandObjects:
    generator = np.random.default_rng(0)
    hands, objects = [], []
    for n in range(frames):
        hands.append(np.array([HAND]) + np.array([n, 0, n, 0, -generator.uniform(0, 0.1), *[0] * 5]))
        objects.append(np.array([CUP, LID] if n != 1 else np.zeros((0, 5))))
    return DetectedHandObjects(np.arange(frames) * step, tuple(hands), tuple(objects), (400, 200), (), {"source": "a test"})


def test_rows_become_hands_with_their_objects() -> None:
    found = from_rows(np.array([HAND]), np.array([LID, CUP]))
    (hand,) = found.hands
    assert (hand.side, hand.contact, hand.score) == (1, 3, 0.9)
    assert hand.object == 1
    assert found.objects[1].box.tolist() == CUP[:4]


def test_the_direction_counts_whatever_its_length() -> None:
    # 80 pixels to the right of (100, 100) lies nearer to (180, 100) than to (100, 40); 8 pixels would not.
    rows = np.array([HAND] * 3, float)
    rows[1, 7] = 1.0  # a unit vector
    rows[2, 6:9] = 0.0  # no offset: the nearest of all
    assert [hand.object for hand in from_rows(rows, np.array([LID, CUP])).hands] == [1, 1, 0]


def test_thresholds_and_states_decide() -> None:
    rows = np.array([HAND] * 3, float)
    rows[0, 4], rows[1, 5] = 0.5, 0
    found = from_rows(rows, np.array([[*CUP[:4], 0.5], LID]))
    assert [hand.contact for hand in found.hands] == [0, 3]
    assert [hand.object for hand in found.hands] == [None, 0]
    assert [thing.score for thing in found.objects] == [0.7]
    assert len(from_rows(rows, np.array([CUP]), hand_threshold=0.0).hands) == 3


def test_there_and_back_again() -> None:
    things = (ObjectBox(np.array(CUP[:4]), 0.8), ObjectBox(np.array(LID[:4]), 0.7))
    hands = (
        HandBox(np.array(HAND[:4]), 0.9, 1, 3, 0),
        HandBox(np.array([0, 0, 10, 20]), 0.6, 0, 4, 1),
        HandBox(np.zeros(4), 0.6, 0),
    )
    hand_rows, object_rows = to_rows(HandObjects(hands, things))
    assert hand_rows[0] == pytest.approx(HAND)
    back = from_rows(hand_rows, object_rows, 0.0, 0.0)
    for one, two in zip(back.hands, hands, strict=True):
        assert np.array_equal(one.box, two.box)
        assert (one.score, one.side, one.contact, one.object) == (two.score, two.side, two.contact, two.object)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([HAND[:9]], r"hand_dets has shape \(1, 9\); expected \(detections, 10\)"),
        ([[*HAND[:9], 2]], "side 2"),
        ([[*HAND[:5], 7, *HAND[6:]]], "contact state 7"),
        ([[*HAND[:5], 2.5, *HAND[6:]]], "contact state 2.5"),
        ([[np.nan, *HAND[1:]]], "NaN or infinite in row 0"),
        ([[90, 90, 80, 110, *HAND[4:]]], "x0 <= x1"),
        ([["x"] * 10], "no table of numbers"),
    ],
)
def test_wrong_rows_are_refused(rows: list, message: str) -> None:
    with pytest.raises(InputError, match=message):
        from_rows(rows, np.zeros((0, 5)))  # type: ignore[arg-type]


@pytest.mark.parametrize("ending", ["npz", "json"])
@pytest.mark.parametrize("named", [False, True])
def test_files_give_back_every_bit(tmp_path: Path, ending: str, named: bool) -> None:
    names = (("cup", None), (), ("cup", "lid")) if named else ()
    found = detections()
    found = DetectedHandObjects(found.time / 3, found.hands, found.objects, found.size, names, found.facts)
    back = read_hand_objects(write_hand_objects(tmp_path / f"found.{ending}", found))
    assert np.array_equal(back.time, found.time)
    for one, two in zip((*back.hands, *back.objects), (*found.hands, *found.objects), strict=True):
        assert np.array_equal(one, two)
    assert (back.size, back.names, back.facts) == (found.size, found.names, found.facts)


@pytest.mark.parametrize("ending", ["npz", "json"])
def test_frames_without_anything_survive(tmp_path: Path, ending: str) -> None:
    empty = DetectedHandObjects(np.array([0.0, 0.1]), (np.zeros((0, 10)),) * 2, (np.zeros((0, 5)),) * 2, (64, 48))
    back = read_hand_objects(write_hand_objects(tmp_path / f"empty.{ending}", empty))
    assert back.time.tolist() == [0, 0.1]
    assert back.at(1) == HandObjects()


def test_a_pickle_of_plain_rows_is_read_and_runs_nothing(tmp_path: Path) -> None:
    path = tmp_path / "found.pkl"
    content = {
        "clip/frame_10.png": {"hand_dets": None, "obj_dets": None},
        "clip/frame_2.png": {
            "hand_dets": np.array([HAND], np.float32),
            "obj_dets": np.array([[*CUP, 0, 0, 0, 0, 0]], np.float32),
        },
    }
    path.write_bytes(pickle.dumps(content))
    found = read_hand_objects(path, rate=10, size=(400, 200))
    assert found.time.tolist() == [0, 0.1]
    assert len(found.at(0).hands) == 1
    assert found.at(1) == HandObjects()
    with pytest.raises(InputError, match="neither rate nor size"):
        read_hand_objects(path)

    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {tmp_path / 'run'}",)

    path.write_bytes(pickle.dumps({"frame": Trap()}))
    with pytest.raises(InputError, match="which is never loaded"):
        read_hand_objects(path, rate=10, size=(400, 200))
    assert not (tmp_path / "run").exists()


def test_damaged_files_are_refused_in_one_sentence(tmp_path: Path) -> None:
    whole = write_hand_objects(tmp_path / "found.npz", detections())
    (tmp_path / "cut.npz").write_bytes(whole.read_bytes()[:300])
    text = write_hand_objects(tmp_path / "found.json", detections()).read_text()
    (tmp_path / "cut.json").write_text(text[:300])
    (tmp_path / "new.json").write_text(text.replace('"version": 1', '"version": 9'))
    (tmp_path / "other.json").write_text("[1, 2]")
    (tmp_path / "late.json").write_text(text.replace('"time": 1.0', '"time": 0.1'))
    arrays = dict(np.load(whole))
    np.savez(tmp_path / "lost.npz", **{**arrays, "hand_frame": arrays["hand_frame"] + 3})
    np.savez(tmp_path / "lacks.npz", time=arrays["time"])
    for name, message in {
        "cut.npz": "cut off or damaged",
        "cut.json": "is not whole JSON",
        "new.json": "reads version 1",
        "other.json": "no palmist-hand-objects file",
        "late.json": "do not increase",
        "lost.npz": "does not name one of the 3 frames",
        "lacks.npz": "has no width, height, hand_frame",
        "none.json": "does not exist",
        "none.txt": "ends in '.txt'",
    }.items():
        with pytest.raises(InputError, match=message):
            read_hand_objects(tmp_path / name)


def test_replay_takes_the_nearest_frame_within_the_tolerance() -> None:
    replay = ReplayedHandObjects(detections())  # at 0, 0.5 and 1 s: half a step is 0.25 s
    left = {time: replay.detect(time, FRAME).hands for time in (-0.2, 0.2, 0.3, 1.2, 1.3)}
    assert [left[time][0].box[0] for time in (-0.2, 0.2, 0.3, 1.2)] == [80, 80, 81, 82]
    assert left[1.3] == ()
    strict = ReplayedHandObjects(detections(), tolerance=0.01)
    assert strict.detect(0.5, FRAME).hands
    assert not strict.detect(0.52, FRAME).hands


def test_replay_scales_to_the_video_and_refuses_other_proportions() -> None:
    replay = ReplayedHandObjects(detections(), hand_threshold=0.1)
    found = replay.detect(0.0, np.zeros((400, 800, 3), np.uint8))
    assert found.hands[0].box.tolist() == [160, 180, 240, 220]
    assert found.objects[found.hands[0].object].box.tolist() == [340, 180, 380, 220]
    with pytest.raises(InputError, match="the video is 300 x 300 pixels, its detections are of 400 x 200"):
        replay.detect(0.0, np.zeros((300, 300, 3), np.uint8))
    with pytest.raises(InputError, match="object threshold is 2"):
        ReplayedHandObjects(detections(), object_threshold=2)


CLIP = {
    "video_uid": "abc", "start_sec": 10.0, "end_sec": 12.0, "samples_sec": [10.0, 10.5, 11.0, 11.5],
    "object_boxes": {"cup": [[1, 2, 30, 40], None, [], [5, 5, 9, 9]], "lid": [None, None, None, [0, 0, 4, 4]]},
    "hand_boxes": {"hand1": [[50, 60, 90, 100]] * 4, "hand2": [None, [200, 60, 240, 100], None, None]},
}  # fmt: skip


def test_helping_hands_boxes(tmp_path: Path) -> None:
    path = tmp_path / "clips.json"
    path.write_text("\n".join(json.dumps({**CLIP, "start_sec": start}) for start in (10.0, 3.0)))
    found = read_helping_hands(path, "abc", 10.0)
    assert found.time.tolist() == [10, 10.5, 11, 11.5]
    assert [[hand.side for hand in found.at(n).hands] for n in range(4)] == [[0], [0, 1], [0], [0]]
    assert [[thing.name for thing in found.at(n).objects] for n in range(4)] == [["cup"], [], [], ["cup", "lid"]]
    assert all(hand.contact == 0 for n in range(4) for hand in found.at(n).hands)
    with pytest.raises(InputError, match="2 of its 2 clips fit video abc and start None"):
        read_helping_hands(path, "abc")
    path.write_text(json.dumps({**CLIP, "samples_sec": [0.0, 0.5, 1.0, 1.5]}))  # seconds of the clip
    assert read_helping_hands(path).time.tolist() == [10, 10.5, 11, 11.5]
    path.write_text(json.dumps({**CLIP, "hand_boxes": {"hand1": [[1, 2, 3, 4]]}}))
    with pytest.raises(InputError, match=r"hand1 has 1 boxes; expected one per sample \(4\)"):
        read_helping_hands(path)


def test_detectors_by_name(tmp_path: Path) -> None:
    assert set(DETECTORS) == {"mediapipe", "detections", "network"}
    path = write_hand_objects(tmp_path / "found.npz", detections())
    assert make_detector("detections", detections=path).detect(0.0, FRAME).hands
    for arguments, message in (
        ({"name": "dino"}, "no detector 'dino'; expected one of mediapipe, detections, network"),
        ({"name": "detections"}, "needs a file of detections"),
        ({"name": "network"}, "needs 100DOH's weights"),
        ({"name": "network", "weights": tmp_path / "none.pth"}, "does not exist"),
        ({"name": "network", "weights": "a.pth", "detections": path}, "'network' takes no detections"),
        ({"name": "detections", "weights": "a.pth", "detections": path}, "'detections' takes no weights"),
        ({"name": "mediapipe", "weights": tmp_path / "none.task"}, "not a file|optional part 'hands'"),
    ):
        with pytest.raises(InputError, match=message):
            make_detector(**arguments)

"""Hands from detections: identities and sides that stay, gaps that stay gaps, streams equal to whole files."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from palmist.errors import InputError, MissingExtraError
from palmist.files.fetch import find_model
from palmist.perception.detection import BodyDetection, HandDetection
from palmist.perception.hands import (
    HandFrame,
    HandStream,
    MediaPipeHands,
    assign_hands,
    hand_recording,
    identity_swaps,
    metric_recording,
    read_hand_detections,
    track_hands,
)
from palmist.recording import Recording
from palmist.recording_file import read_recording, write_recording
from palmist.skeleton import CONVENTIONS, JOINT_NAMES

WIDTH, HEIGHT, RATE = 64, 48, 30.0
ASPECT = WIDTH / HEIGHT
FRAME = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
LEFT, RIGHT = 0, 1


def open_hand(side: int) -> np.ndarray:
    """(21, 3) metres: a hand that shows its palm to the camera, fingers up, about its own centre."""
    hand = np.zeros((21, 3))
    for finger, x in enumerate((0.05, 0.025, 0.005, -0.015, -0.035)):
        for joint in range(4):
            up = 0.03 + 0.025 * joint if finger == 0 else 0.09 + 0.028 * joint
            hand[1 + 4 * finger + joint] = (x * (1 + 0.3 * joint), -up, -0.01 * joint)
    hand -= hand.mean(0)
    return hand * ((1, 1, 1) if side == RIGHT else (-1, 1, 1))


def detection(side: int, x: float, y: float = 0.5, named: int | None = None, score: float = 0.95) -> HandDetection:
    """A true left or right hand with its middle at (x, y) of the image, which the tracker calls `named`."""
    world = open_hand(side)
    image = np.concatenate([world[:, :2] * (1 / ASPECT, 1) + (x, y), world[:, 2:] - world[:1, 2:]], -1)
    return HandDetection(side if named is None else named, score, image.astype(np.float32), world.astype(np.float32))


class ScriptedTracker:
    """Returns what a test wrote down, frame by frame."""

    def __init__(self, script: list[list[HandDetection]]) -> None:
        self._script = iter(script)

    def detect(self, time: float, frame: np.ndarray) -> list[HandDetection]:
        return next(self._script)

    def describe(self) -> dict[str, object]:
        return {"tracker": "scripted", "version": "1"}


def frames(count: int, start: float = 0.0) -> list[tuple[float, np.ndarray]]:
    return [(start + i / RATE, FRAME) for i in range(count)]


def track(script: list[list[HandDetection]], **options: object) -> Recording:
    return track_hands(frames(len(script)), ScriptedTracker(script), **options)  # type: ignore[arg-type]


def wrist_x(recording: Recording, side: int) -> np.ndarray:
    return recording.joints[:, side, 0, 0]


def true_x(side: int, middles: np.ndarray) -> np.ndarray:
    return middles + open_hand(side)[0, 0] / ASPECT


# --------------------------------------------------------------------------------------------------------------------
# Identity and side


def crossing(name_of: Callable[[int, int], int]) -> tuple[list[list[HandDetection]], np.ndarray, np.ndarray]:
    """90 frames in which the hands change places, right over each other; name_of(frame, side) -> named."""
    left, right = np.linspace(0.25, 0.75, 90), np.linspace(0.75, 0.25, 90)
    script = [
        [detection(LEFT, left[i], 0.49, name_of(i, LEFT)), detection(RIGHT, right[i], 0.51, name_of(i, RIGHT))]
        for i in range(90)
    ]
    return script, left, right


def test_crossing_hands_keep_their_sides() -> None:
    script, left, right = crossing(lambda i, side: side)
    for i, hands in enumerate(script):
        if i % 2:
            hands.reverse()  # trackers promise no order
    recording = track(script)
    assert recording.valid.all()
    np.testing.assert_allclose(wrist_x(recording, LEFT), true_x(LEFT, left), atol=1e-6)
    np.testing.assert_allclose(wrist_x(recording, RIGHT), true_x(RIGHT, right), atol=1e-6)
    assert len(identity_swaps(recording)) == 0


def test_crossing_hands_that_the_tracker_loses_for_a_moment_come_back_as_themselves() -> None:
    script, left, right = crossing(lambda i, side: side if not 40 <= i < 52 else 1 - side)
    for i in range(42, 48):
        script[i] = []
    recording = track(script)
    seen = np.r_[0:42, 48:90]
    assert not recording.valid[42:48].any()
    assert recording.valid[seen].all()
    np.testing.assert_allclose(wrist_x(recording, LEFT)[seen], true_x(LEFT, left)[seen], atol=1e-6)
    np.testing.assert_allclose(wrist_x(recording, RIGHT)[seen], true_x(RIGHT, right)[seen], atol=1e-6)


@pytest.mark.parametrize("delay", [0.0, 0.5])
def test_flickering_sides_do_not_exchange_the_hands(delay: float) -> None:
    wrong = np.random.default_rng(0).random((120, 2)) < 0.3
    wrong[:3] = False  # without look-ahead the first frames have nothing else to go by
    script = [
        [detection(side, x, named=1 - side if wrong[i, side] else side) for side, x in ((LEFT, 0.7), (RIGHT, 0.3))]
        for i in range(120)
    ]
    as_named = [HandFrame(i / RATE, tuple(sorted(hands, key=lambda h: h.side))) for i, hands in enumerate(script)]
    both_named = [frame for frame in as_named if frame.hands[0].side != frame.hands[1].side]  # type: ignore[union-attr]
    assert len(identity_swaps(hand_recording(both_named, (WIDTH, HEIGHT)))) > 5  # what the tracker said does jump
    recording = track(script, delay=delay)
    assert recording.valid.all()
    assert len(identity_swaps(recording)) == 0
    np.testing.assert_allclose(wrist_x(recording, LEFT), true_x(LEFT, np.full(120, 0.7)), atol=1e-6)


def test_the_first_frames_get_the_side_that_later_frames_agree_on() -> None:
    script = [[detection(LEFT, 0.6, named=RIGHT if i < 4 else LEFT)] for i in range(60)]
    recording = track(script)
    assert recording.valid[:, LEFT].all()
    assert not recording.valid[:, RIGHT].any()
    live = track(script, delay=0.0)
    assert live.valid[0].tolist() == [False, True]  # nobody could know better then
    assert live.valid[-1].tolist() == [True, False]


def test_two_hands_of_one_side_become_left_and_right() -> None:
    script = [[detection(RIGHT, 0.3, score=0.99), detection(LEFT, 0.7, named=RIGHT, score=0.6)] for _ in range(30)]
    recording = track(script)
    assert recording.valid.all()
    np.testing.assert_allclose(wrist_x(recording, RIGHT), true_x(RIGHT, np.full(30, 0.3)), atol=1e-6)


def test_a_hand_that_is_found_twice_is_one_hand() -> None:
    script = [[detection(RIGHT, 0.3 + 0.004 * i), detection(RIGHT, 0.31 + 0.004 * i, 0.53, named=LEFT)] for i in range(40)]
    recording = track(script)
    assert recording.valid[:, RIGHT].all()
    assert not recording.valid[:, LEFT].any()


def test_a_doubled_hand_does_not_take_the_place_of_a_lost_one() -> None:
    script = [[detection(LEFT, 0.62), detection(RIGHT, 0.38)] for _ in range(30)]
    script += [[detection(LEFT, 0.62), detection(LEFT, 0.61, 0.52, named=RIGHT)] for _ in range(15)]
    recording = track(script)
    assert recording.valid[:, LEFT].all()
    assert recording.valid[:30, RIGHT].all()
    assert not recording.valid[30:, RIGHT].any()


def test_of_three_hands_the_two_that_are_followed_stay() -> None:
    script = [[detection(LEFT, 0.8), detection(RIGHT, 0.5)] for _ in range(60)]
    for i in range(20, 40):
        script[i].insert(0, detection(RIGHT, 0.1, 0.3, score=0.99))
    recording = track(script)
    assert recording.valid.all()
    np.testing.assert_allclose(wrist_x(recording, RIGHT), true_x(RIGHT, np.full(60, 0.5)), atol=1e-6)
    np.testing.assert_allclose(wrist_x(recording, LEFT), true_x(LEFT, np.full(60, 0.8)), atol=1e-6)


def test_a_ghost_of_one_frame_is_not_a_hand() -> None:
    script = [[detection(RIGHT, 0.3)] for _ in range(40)]
    script[20] = [*script[20], detection(LEFT, 0.9)]
    assert not track(script).valid[:, LEFT].any()


def test_a_missed_hand_keeps_its_side_against_a_ghost() -> None:
    script = [[detection(RIGHT, 0.2)] for _ in range(60)]
    for i in (30, 31):
        script[i] = [detection(RIGHT, 0.8)]  # something that is taken for a right hand where no hand was
    recording = track(script)
    assert not recording.valid[30:32, RIGHT].any()
    assert recording.valid[:30, RIGHT].all()
    assert recording.valid[32:, RIGHT].all()


def test_one_hand_leaves_and_the_other_comes_in_beside_it() -> None:
    script: list[list[HandDetection]] = [[detection(RIGHT, 0.5)] for _ in range(40)]
    script += [[] for _ in range(6)]
    script += [[detection(LEFT, 0.65)] for _ in range(40)]
    recording = track(script)
    assert recording.valid[:, RIGHT].tolist() == [True] * 40 + [False] * 46
    assert recording.valid[:, LEFT].tolist() == [False] * 46 + [True] * 40


def test_alternating_names_do_not_toss_a_hand_to_and_fro() -> None:
    script = [[detection(RIGHT, 0.5, named=LEFT if i // 6 % 2 else RIGHT)] for i in range(60)]
    assert track(script, delay=0.0).valid.tolist() == [[False, True]] * 60


def blind_crossing(shapes: tuple[int, int], middles: np.ndarray) -> tuple[Recording, np.ndarray]:
    """Hands that cross while nobody sees them for 4 frames, and whose sides the tracker knows before that only."""
    script = [
        [
            detection(shape, x, 0.5, named=side if i < 40 else RIGHT, score=0.95 if i < 40 else 0.5)
            for side, shape, x in ((LEFT, shapes[0], middles[i]), (RIGHT, shapes[1], 1 - middles[i]))
        ]
        for i in range(90)
    ]
    for i in range(43, 47):
        script[i] = []
    return track(script), np.r_[0:43, 47:90]


def test_hands_of_one_shape_are_told_apart_by_their_way() -> None:
    middles = np.concatenate([np.linspace(0.15, 0.35, 35), np.linspace(0.37, 0.63, 20), np.linspace(0.65, 0.7, 35)])
    recording, seen = blind_crossing((RIGHT, RIGHT), middles)
    assert recording.valid[seen].all()
    np.testing.assert_allclose(wrist_x(recording, LEFT)[seen], true_x(RIGHT, middles)[seen], atol=1e-6)


def test_hands_in_one_place_are_told_apart_by_their_shape() -> None:
    middles = np.concatenate([np.linspace(0.3, 0.49, 40), np.full(50, 0.49)])
    middles[47:] = 0.51  # they have changed places when they are seen again
    recording, seen = blind_crossing((LEFT, RIGHT), middles)
    assert recording.valid[seen].all()
    np.testing.assert_allclose(wrist_x(recording, LEFT)[seen], true_x(LEFT, middles)[seen], atol=1e-6)


def test_hands_in_one_place_and_of_one_shape_are_told_apart_by_the_trackers_word() -> None:
    middles = np.where(np.arange(90) < 45, 0.485, 0.515)
    script = [[detection(RIGHT, x, named=LEFT), detection(RIGHT, 1 - x)] for x in middles]
    for i in range(43, 47):
        script[i] = []
    recording, seen = track(script), np.r_[0:43, 47:90]
    np.testing.assert_allclose(wrist_x(recording, LEFT)[seen], true_x(RIGHT, middles)[seen], atol=1e-6)


def test_one_frame_is_enough_for_a_photo() -> None:
    recording = track([[detection(LEFT, 0.5)]])
    assert recording.valid.tolist() == [[True, False]]


def test_misses_stay_gaps_and_long_absence_does_not_change_the_side() -> None:
    script = [[detection(RIGHT, 0.3, named=RIGHT if i < 40 else LEFT, score=0.95 if i < 40 else 0.6)] for i in range(80)]
    script += [[detection(LEFT, 0.8), *hands] for hands in script[:20]]
    for i in (*range(10, 13), *range(40, 58)):
        script[i] = []
    recording = track(script)
    expected = np.array([bool(hands) for hands in script])
    np.testing.assert_array_equal(recording.valid[:, RIGHT], expected)
    assert not recording.joints[10:13].any()  # nothing invented
    assert recording.interpolated is None


# --------------------------------------------------------------------------------------------------------------------
# Streams, recordings


@pytest.mark.parametrize("delay", [0.0, 0.2, 0.5])
def test_a_stream_gives_what_the_whole_file_gives(delay: float) -> None:
    generator = np.random.default_rng(3)
    script, _, _ = crossing(lambda i, side: side if generator.random() < 0.8 else 1 - side)
    script = [[hand for hand in hands if generator.random() < 0.85] for hands in script]
    whole = track(script, delay=delay)
    stream = HandStream(ScriptedTracker(script), delay=delay)
    given: list[HandFrame] = []
    for i, (time, frame) in enumerate(frames(len(script))):
        given += stream.push(time, frame)
        assert i - len(given) < delay * RATE + 1  # no frame waits longer than the delay
    given += stream.finish()
    streamed = hand_recording(given, (WIDTH, HEIGHT))
    np.testing.assert_array_equal(streamed.time, whole.time)
    np.testing.assert_array_equal(streamed.valid, whole.valid)
    np.testing.assert_array_equal(streamed.joints, whole.joints)
    assert whole.valid.any(0).all()


def test_a_frame_that_was_given_out_does_not_depend_on_what_comes_a_delay_later() -> None:
    generator = np.random.default_rng(4)
    script, _, _ = crossing(lambda i, side: side if generator.random() < 0.7 else 1 - side)
    short, long = track(script[:60]), track(script)
    settled = 60 - 16
    np.testing.assert_array_equal(short.joints[:settled], long.joints[:settled])


def test_the_recording_says_what_it_is(tmp_path: Path) -> None:
    times = np.cumsum(np.random.default_rng(1).uniform(0.02, 0.05, 20))
    script = [[detection(LEFT, 0.6, score=0.8)] for _ in times]
    recording = track_hands(((t, FRAME) for t in times), ScriptedTracker(script), name="clip", source="clip.mp4")
    np.testing.assert_array_equal(recording.time, times)  # true times, not a nominal rate
    assert (recording.space, recording.frame, recording.name, recording.source) == ("image", "image", "clip", "clip.mp4")
    assert recording.aspect == pytest.approx(ASPECT)
    assert not recording.aspect_assumed
    assert recording.confidence is not None
    assert recording.confidence[:, LEFT] == pytest.approx(0.8)
    assert recording.joints[0, LEFT, 4, 2] == pytest.approx(-0.03)  # depth is kept
    for key in ("tracker", "version", "image_size", "camera", "side_delay_seconds"):
        assert key in recording.provenance
    back = read_recording(write_recording(tmp_path / "clip.npz", recording))
    np.testing.assert_array_equal(back.joints, recording.joints)


def test_a_body_comes_along() -> None:
    class OneBody:
        def detect(self, time: float, frame: np.ndarray) -> BodyDetection | None:
            return None if time < 0.1 else BodyDetection(np.full((25, 3), 0.5, np.float32), np.arange(25) < 15)

        def describe(self) -> dict[str, object]:
            return {"tracker": "one body"}

    recording = track_hands(frames(12), ScriptedTracker([[] for _ in range(12)]), body=OneBody())
    assert recording.body is not None
    assert recording.body.valid[:, 0].tolist() == [i / RATE >= 0.1 for i in range(12)]
    assert recording.body.valid[-1].sum() == 15
    assert recording.provenance["body_tracker"] == {"tracker": "one body"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "no frame"),
        ([(0.0, FRAME), (0.0, FRAME)], "increase"),
        ([(0.0, FRAME), (0.1, FRAME[:20])], "one size"),
        ([(0.0, FRAME.astype(np.float32))], "uint8"),
        ([(0.0, FRAME[..., 0])], "RGB"),
    ],
)
def test_wrong_frames_are_one_sentence(given: list[tuple[float, np.ndarray]], message: str) -> None:
    with pytest.raises(InputError, match=message):
        track_hands(given, ScriptedTracker([[], []]))


def test_mediapipe_numbers_joints_as_palmist_does() -> None:
    assert CONVENTIONS["mediapipe"].order == tuple(range(21))
    assert JOINT_NAMES[0] == "wrist"
    assert [JOINT_NAMES[i] for i in (4, 8, 12, 16, 20)] == [
        "thumb_tip", "index_tip", "middle_tip", "ring_tip", "little_tip",
    ]  # fmt: skip


# --------------------------------------------------------------------------------------------------------------------
# Metres


def seen_by(focal: float, size: tuple[int, int], joints: np.ndarray, side: int, scale: float = 1.0) -> HandDetection:
    """What a perfect tracker finds of joints (21, 3) metres in the camera's frame; `world` may be of another size."""
    flat = (joints[:, :2] / joints[:, 2:] * focal + (size[0] / 2, size[1] / 2)) / size
    image = np.concatenate([flat, joints[:, 2:] - joints[:1, 2:]], -1)
    return HandDetection(side, 0.9, image.astype(np.float32), ((joints - joints.mean(0)) * scale).astype(np.float32))


def test_metric_hands_stand_where_they_are() -> None:
    size, focal = (640, 480), 500.0
    places = np.stack([np.linspace(-0.1, 0.2, 10), np.linspace(0.1, -0.1, 10), np.linspace(0.4, 0.9, 10)], -1)
    truth = open_hand(RIGHT) + places[:, None]
    given = [HandFrame(t / RATE, (None, seen_by(focal, size, joints, RIGHT))) for t, joints in enumerate(truth)]
    recording = metric_recording(given, size, focal)
    assert recording.valid.tolist() == [[False, True]] * 10
    np.testing.assert_allclose(recording.joints[:, RIGHT], truth, atol=2e-3)
    assert recording.camera is not None
    assert recording.camera["intrinsics"] == (500.0, 500.0, 320.0, 240.0)
    assert "given" in recording.provenance["camera"]
    assumed = metric_recording(given, size)  # 640 px: as much farther away as the focal length is longer
    assert np.median(assumed.joints[:, RIGHT, 0, 2] / truth[:, 0, 2]) == pytest.approx(640 / 500, rel=0.02)
    assert "assumed" in assumed.provenance["camera"]


def test_a_hand_that_does_not_fit_its_image_is_not_placed() -> None:
    good = seen_by(500.0, (640, 480), open_hand(LEFT) + np.array([0, 0, 0.5]), LEFT)
    image = good.image.copy()
    image[:, :2] = np.random.default_rng(0).permutation(image[:, :2])
    bad = HandDetection(LEFT, 0.9, image, good.world)
    recording = metric_recording([HandFrame(0.0, (good, None)), HandFrame(0.1, (bad, None))], (640, 480), 500.0)
    assert recording.valid[:, LEFT].tolist() == [True, False]


# --------------------------------------------------------------------------------------------------------------------
# Other programs' detections


def detections_file(path: Path, **changes: object) -> Path:
    """30 frames, both hands, as one would write them from HaMeR; None takes a key out."""
    frame = np.repeat(np.arange(30), 2)
    side = np.tile([RIGHT, LEFT], 30)
    shift = np.where(side[:, None] == RIGHT, (-0.2, 0.0, 0.8), (0.2, 0.0, 0.8)) + frame[:, None] * (0.001, 0, 0)
    arrays: dict[str, object] = {
        "frame": frame,
        "side": side,
        "keypoints_3d": np.stack([open_hand(s) for s in side]),
        "camera_translation": shift,
        "width": 640,
        "height": 480,
        "focal": 600.0,
        "rate": 30.0,
        "source": "HaMeR",
        **changes,
    }
    np.savez(path, **{key: value for key, value in arrays.items() if value is not None})  # type: ignore[arg-type]
    return path


def test_detections_of_another_program_become_a_recording(tmp_path: Path) -> None:
    found = read_hand_detections(detections_file(tmp_path / "hamer.npz"))
    assert len(found.time) == 30
    recording = metric_recording(assign_hands(found), found.size, found.focal, facts=found.facts)
    assert recording.valid.all()
    np.testing.assert_allclose(recording.joints[3, LEFT], open_hand(LEFT) + np.array([0.203, 0, 0.8]), atol=1e-6)
    assert recording.provenance["tracker"] == "HaMeR"
    flat = hand_recording(assign_hands(found), found.size, facts=found.facts)
    assert wrist_x(flat, LEFT)[0] == pytest.approx((0.2 + open_hand(LEFT)[0, 0]) / 0.81 * 600 / 640 + 0.5, abs=0.02)


def test_the_recipe_for_hamer_writes_what_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    guide = (Path(__file__).resolve().parents[3] / "docs/own-data.md").read_text(encoding="utf-8")
    collect, write, read = re.findall(
        r"```python\n(.*?)```", guide.split("## Hands that another")[1].split("\n## ")[0], flags=re.S
    )
    hands = torch.tensor(np.stack([open_hand(RIGHT)] * 2))  # HaMeR computes every hand as a right one
    names: dict[str, object] = {
        "np": np,
        "collected": [],
        "scaled_focal_length": torch.tensor(600.0),
        "width": 640,
        "height": 480,
    }
    for number in range(5):
        names |= {"number": number, "batch": {"right": torch.tensor([1.0, 0.0])}, "out": {"pred_keypoints_3d": hands.clone()}}
        names["pred_cam_t_full"] = np.array([[-0.2, 0, 0.8], [0.2, 0, 0.8]])
        exec(compile(collect, "own-data.md", "exec"), names)
    exec(compile(write, "own-data.md", "exec"), names)
    exec(compile(read, "own-data.md", "exec"), names)
    recording = names["recording"]
    assert isinstance(recording, Recording)
    np.testing.assert_allclose(recording.joints[2, LEFT], open_hand(LEFT) + np.array([0.2, 0, 0.8]), atol=1e-6)


def test_pixels_alone_are_enough_for_image_space(tmp_path: Path) -> None:
    pixels = np.stack([(detection(RIGHT, 0.4).image[:, :2]) * (640, 480)] * 5)
    path = detections_file(
        tmp_path / "flat.npz", frame=np.array([0, 1, 2, 5, 6]), side=np.ones(5, int), keypoints_2d=pixels,
        keypoints_3d=None, camera_translation=None, focal=None, time=np.arange(8) / 25, rate=None,
    )  # fmt: skip
    found = read_hand_detections(path)
    recording = hand_recording(assign_hands(found), found.size, facts=found.facts)
    assert recording.valid[:, RIGHT].tolist() == [True, True, True, False, False, True, True, False]
    np.testing.assert_allclose(recording.joints[0, RIGHT, :, :2], detection(RIGHT, 0.4).image[:, :2], atol=1e-6)
    assert not metric_recording(assign_hands(found), found.size).valid.any()  # no 3D, no metres


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frame": None}, "frame"),
        ({"side": np.full(60, 2)}, "0 for a left"),
        ({"side": np.zeros(59, int)}, "side"),
        ({"keypoints_3d": np.zeros((60, 20, 3))}, r"\(60, 21, 3\)"),
        ({"keypoints_3d": np.full((60, 21, 3), np.nan)}, "NaN"),
        ({"keypoints_3d": np.stack([open_hand(1) * 1000] * 60)}, "millimetres"),
        ({"keypoints_3d": None}, "keypoints_2d"),
        ({"camera_translation": None}, "camera_translation"),
        ({"focal": None}, "focal"),
        ({"focal": -1.0}, "positive"),
        ({"width": None}, "width"),
        ({"rate": None}, "rate"),
        ({"time": np.arange(10) / 30, "rate": None}, "10 frames"),
        ({"time": np.zeros(30), "rate": None}, "increase"),
        ({"frame": np.repeat(np.arange(30), 2) - 1}, "from 0"),
        ({"score": np.full(60, 7.0)}, "score"),
        ({"joint_order": "alphabetical"}, "alphabetical"),
        ({"source": np.array([{}], dtype=object)}, "pickle"),
        ({"camera_translation": np.zeros((60, 3)) - (0, 0, 1)}, "behind the camera"),
    ],
)
def test_bad_detections_are_one_sentence(changes: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message) as error:
        read_hand_detections(detections_file(tmp_path / "bad.npz", **changes))
    assert "\n" not in str(error.value)


def test_a_cut_detections_file_is_one_sentence(tmp_path: Path) -> None:
    path = detections_file(tmp_path / "cut.npz")
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(InputError, match="cut off"):
        read_hand_detections(path)


# --------------------------------------------------------------------------------------------------------------------
# MediaPipe


def test_palmist_never_imports_mediapipe_by_itself() -> None:
    code = "import sys, palmist, palmist.cli, palmist.perception.hands; sys.exit('mediapipe' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_without_mediapipe_one_sentence_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "mediapipe" else found(name, *rest))
    with pytest.raises(MissingExtraError, match=r"palmist\[hands\]"):
        MediaPipeHands()


def test_without_the_model_one_sentence_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PALMIST_CACHE", str(tmp_path))
    monkeypatch.delenv("PALMIST_HAND_MODEL", raising=False)
    with pytest.raises(InputError, match="palmist fetch hands"):
        find_model("hands")


def test_mediapipe_itself_runs_quietly(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pytest.importorskip("mediapipe")
    try:
        model = find_model("hands")
    except InputError:
        pytest.skip("the model is not there: palmist fetch hands")
    capfd.readouterr()
    noise = np.random.default_rng(0).integers(0, 255, (240, 320, 3), dtype=np.uint8)
    with MediaPipeHands(model, mirrored=True) as tracker:
        recording = track_hands([(-0.5 + i / 30000, noise) for i in range(3)], tracker)  # times closer than milliseconds
    assert len(recording) == 3
    assert recording.provenance["mirrored"] is True
    assert capfd.readouterr().err == ""
    (tmp_path / "bad.task").write_bytes(b"no model")
    with pytest.raises(InputError, match=r"bad\.task"):
        MediaPipeHands(tmp_path / "bad.task")

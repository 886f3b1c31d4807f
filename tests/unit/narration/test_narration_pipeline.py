"""From frames to a sentence and back from JSON, and how narrations are measured."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from conftest import tiny_recording
from palmist.benchmark import narration_quality
from palmist.benchmark.narration_quality import Damage, Score, compare, damaged_detections, true_claims
from palmist.errors import InputError
from palmist.narration.claims import claims
from palmist.narration.pipeline import Narration, NarrationSettings, narrate_detections, narrate_frames
from palmist.perception.objects import HandBox, HandObjects, ObjectBox
from palmist.perception.video import Clip, Frame
from palmist.render import RenderSettings, render_clip

SIDE = 160
UP_THEN_RIGHT = [(60.0, 120.0 - 8 * t) for t in range(11)] + [(60.0 + 8 * t, 40.0) for t in range(1, 10)]


def box(x: float, y: float, size: float = 30.0) -> np.ndarray:
    return np.array([x - size / 2, y - size / 2, x + size / 2, y + size / 2])


def detections(way=UP_THEN_RIGHT) -> list[HandObjects]:
    """The right hand goes its way with a thing, the left one rests at the picture's lower left."""
    return [
        HandObjects((HandBox(box(*place), 0.9, 1, 3, 0), HandBox(box(20, 140), 0.8, 0)), (ObjectBox(box(*place, 16)),))
        for place in way
    ]


class Script:
    """A detector that gives what it was told, by the time of the frame, and remembers what it was asked."""

    def __init__(self, found: list[HandObjects], rate: float = 20.0) -> None:
        self.found, self.rate, self.asked = found, rate, []

    def detect(self, time: float, frame: np.ndarray) -> HandObjects:
        self.asked.append(round(time * self.rate))
        return self.found[self.asked[-1]]

    def describe(self) -> dict[str, str]:
        return {"name": "script"}


def textured(frames: int, pan: tuple[int, int] = (0, 0)) -> Clip:
    generator = np.random.default_rng(1)
    world = cv2.GaussianBlur(generator.normal(size=(400, 400, 3)), (0, 0), 2.0)
    world = np.clip(128 + 50 * world / world.std(), 0, 255).astype(np.uint8)
    corner = [(120 + t * pan[0], 120 + t * pan[1]) for t in range(frames)]
    return Clip(np.stack([world[y : y + SIDE, x : x + SIDE] for x, y in corner]), np.arange(frames) / 20)


EXPECTED = "The right hand moves up and then to the right, holding the cup; the left hand stays still."


def test_frames_become_the_sentence():
    script = Script(detections())
    narration = narrate_frames(textured(20), script, original="#C C moves the cup", source="clip")
    assert narration.text.startswith(EXPECTED)
    assert script.asked == list(range(20))
    assert (narration.source, narration.start, narration.end) == ("clip", 0.0, 0.95)
    assert narration.detector == {"name": "script"}
    assert narration.original == "#C C moves the cup"
    assert not narration.rewritten
    assert narration.camera is not None
    assert narration.camera.known.all()


def test_a_camera_that_follows_the_hand_changes_no_word():
    """The camera pans with the hand's first motion: in the picture, the hand stands still and everything else sinks."""
    way = [(60.0, 120.0 - 6 * t) for t in range(20)]
    seen = [(60.0, 120.0)] * 20  # what the detector sees
    clip = textured(20, pan=(0, -6))
    script = Script([HandObjects((HandBox(box(*place), 0.9, 1),)) for place in seen])
    assert narrate_frames(clip, script).text == "The right hand moves up."
    script = Script([HandObjects((HandBox(box(*place), 0.9, 1),)) for place in seen])
    settings = NarrationSettings(remove_camera=False)
    assert narrate_frames(clip, script, settings).text == "The right hand stays still."
    still = narrate_frames(textured(20), Script([HandObjects((HandBox(box(*place), 0.9, 1),)) for place in way]))
    assert still.text == "The right hand moves up."


def test_a_generator_of_frames_is_read_once():
    clip = textured(20)
    taken = []

    def frames():
        for number, frame in enumerate(clip):
            taken.append(number)
            yield frame

    assert narrate_frames(frames(), Script(detections())).text == narrate_frames(clip, Script(detections())).text
    assert taken == list(range(20))


@pytest.mark.parametrize("wrap", [lambda clip: clip, iter], ids=["clip", "generator"])
def test_the_detector_looks_at_as_many_frames_as_asked(wrap):
    script = Script(detections())
    narration = narrate_frames(wrap(textured(20)), script, NarrationSettings(samples=10), original="#C C moves the cup")
    assert script.asked == list(range(1, 20, 2))
    assert narration.text.startswith(EXPECTED)
    assert len(narration.tracks.time) == len(narration.camera.matrices) == 10
    assert narrate_frames(textured(4), Script(detections()), NarrationSettings(samples=10)).tracks.time.shape == (4,)


def test_detections_from_elsewhere_and_json():
    time = np.arange(20) / 20 + 3.0
    narration = narrate_detections(time, (SIDE, SIDE), detections(), original="#C C moves the cup", detector={"name": "x"})
    assert narration.text.startswith(EXPECTED)
    assert (narration.start, narration.end) == (3.0, 3.95)
    back = Narration.from_json(json.loads(json.dumps(narration.to_json())))
    assert back.to_json() == narration.to_json()
    assert back.facts == narration.facts
    with_camera = narrate_frames(textured(20), Script(detections()))
    assert Narration.from_json(with_camera.to_json()).camera.matrices.shape == (20, 2, 3)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        ({"format": "other"}, "this is other version 1"),
        ({"version": 9}, "version 9; this Palmist reads"),
        ({"facts": {}}, "no facts"),
        ({"start": "soon"}, "no narration"),
    ],
)
def test_damaged_json_is_refused(spoil, message):
    data = narrate_detections(np.arange(20) / 20, (SIDE, SIDE), detections()).to_json()
    with pytest.raises(InputError, match=message):
        Narration.from_json({**data, **spoil})


def test_wrong_input_is_refused():
    with pytest.raises(InputError, match="0 frames"):
        narrate_frames([], Script([]))
    with pytest.raises(InputError, match="0 frames"):
        narrate_frames([], Script([]), NarrationSettings(remove_camera=False))
    with pytest.raises(InputError, match="frames of one size"):
        narrate_frames([Frame(np.zeros((8 * n, 8, 3), np.uint8), 0.05 * n) for n in (4, 5)], Script(detections()))
    with pytest.raises(InputError, match="samples is 1"):
        NarrationSettings(samples=1)


def test_nothing_found():
    narration = narrate_frames(textured(5), Script([HandObjects()] * 5))
    assert narration.text == "No hand is seen clearly."


# --------------------------------------------------------------------------------------------------------------------
# How narrations are measured


@pytest.fixture(scope="module")
def drawn():
    return render_clip(tiny_recording(40), RenderSettings(size=96, background="static", camera_motion=1.0, tracks=0), seed=0)


def test_undamaged_boxes_with_the_true_camera_say_what_is_true(drawn):
    """Two hands that drift a little: the reference rule and the narration agree that they stay."""
    found, real = damaged_detections(drawn.truth, Damage(0, 0, 0, 0, 0), seed=0)
    assert [len(frame.hands) for frame in found] == [len(sides) for sides in real]
    narration = narrate_detections(drawn.truth.time, (96, 96), found)
    score = compare(narration, drawn.truth, found, real)
    assert score.right_side == score.found == sum(len(frame.hands) for frame in found)
    assert score.said + score.wrong == len(claims(narration.text))
    assert score.said + score.unsaid == len(true_claims(drawn.truth))


def test_damage_is_seeded_and_what_it_says(drawn):
    first, second = (damaged_detections(drawn.truth, Damage(), seed=1)[0] for _ in range(2))
    assert [[hand.box.tolist() for hand in frame.hands] for frame in first] == [
        [hand.box.tolist() for hand in frame.hands] for frame in second
    ]
    _, real = damaged_detections(drawn.truth, Damage(missed=1.0), seed=1)
    assert not any(real)
    found, real = damaged_detections(drawn.truth, Damage(0, 0, 0, all_left=1.0, false=0), seed=1)
    assert {hand.side for frame in found for hand in frame.hands} == {0}
    assert {side for sides in real for side in sides.values()} == {0, 1}


def test_turning_points_by_hand():
    """Up, then right, then back left: two corners; the wobble of 1 is none."""
    path = np.array([(0, 30), (0, 20), (1, 10), (0, 0), (10, 0), (20, 1), (30, 0), (20, 0), (10, 0)], float)
    parts = list(narration_quality._parts(path, least=8.0))
    assert [(start.tolist(), end.tolist()) for start, end in parts if np.hypot(*(end - start)) >= 8] == [
        ([0, 30], [0, 0]),
        ([0, 0], [30, 0]),
        ([30, 0], [10, 0]),
    ]


def test_the_camera_does_not_move_the_true_hands(drawn):
    """The same joints seen by a camera that stands still give the same claims, but for its first view."""
    still = render_clip(tiny_recording(40), RenderSettings(size=96, background="static", camera_motion=0.0, tracks=0), seed=0)
    assert true_claims(drawn.truth) == true_claims(still.truth)


def test_records_pool_the_clips():
    """Two clips: 3 of 4 said directions are true, 3 of 6 true ones are said, 9 of 10 hands have their side."""
    scores = [Score(2, 1, 1, 4, 5, 3, 2), Score(1, 0, 2, 5, 5, 1, 3)]
    rows = {r.name: r for r in narration_quality._records("narration", scores, ["a", "b"])}
    values = {name.rsplit("/", 1)[1]: record.value for name, record in rows.items()}
    assert values == pytest.approx({
        "direction_precision": 3 / 4,
        "direction_recall": 3 / 6,
        "direction_f1": 2 * 0.75 * 0.5 / 1.25,
        "direction_f1_within_45": 9 / 10,
        "side_accuracy": 9 / 10,
    })  # fmt: skip
    record = rows["hod/rendered/narration/direction_precision"]
    assert record.n == 4
    assert record.interval is not None
    assert record.interval[0] <= record.value <= record.interval[1]
    assert "side_accuracy" not in {
        r.name.rsplit("/", 1)[1] for r in narration_quality._records("narration_no_camera", scores, ["a", "b"])
    }

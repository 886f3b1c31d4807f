"""How true narrations are, on drawn clips whose motion is known: directions and sides, with and without the camera's motion.

Detections are the drawn hands' boxes, damaged in a stated way; the camera's motion is measured from the pixels. What the
sentence says (`claims`) is compared with the motion of the undamaged joints, seen from the first picture's camera and cut by a
rule of its own: at the turning points of the path, the extremes along four axes.

Letters: T frames, H = 2 hands (0 left, 1 right).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import astuple, dataclass, replace

import numpy as np

from palmist.evaluation.benchmark_record import BenchmarkRecord, make_record
from palmist.metrics.intervals import bootstrap_interval
from palmist.narration.camera_motion import background_tracks, camera_motion
from palmist.narration.claims import claims
from palmist.narration.facts import DIRECTIONS, SIDES, STAYS
from palmist.narration.motion_pieces import direction_of
from palmist.narration.pipeline import Narration, NarrationSettings, narrate_detections
from palmist.perception.objects import HandBox, HandObjects
from palmist.perception.video import Frame
from palmist.readers import open_data
from palmist.recording import Recording
from palmist.render import Clip, RenderSettings, Truth, render_clip
from palmist.render.folder import choose
from palmist.render.stage import apply_affine

__all__ = ["Damage", "Score", "compare", "damaged_detections", "drawn_clips", "narration", "true_claims"]

SEEDS = (0, 1, 2)
CLIPS = 80  # of asl_words for each seed, evenly spaced
WINDOW, RATE = 3.0, 20.0  # seconds and frames per second of what is cut from long takes
SETTINGS = RenderSettings(size=160, rate=RATE, background="static", camera_motion=2.0, tracks=0)
#: How the people of a set stand to the camera.
VIEWS = {"asl_words": "facing", "leap_recordings": "egocentric"}

LEAST_INSIDE = 0.5  # share of a hand's joints inside the picture, else nobody can say where it is
LEAST_SEEN = 0.2  # share of the frames in which a hand must be drawn to be spoken of
LEAST_MOTION = 0.6  # hand sizes between turning points from which on a hand moves
LONGEST_GAP = 0.3  # seconds without a recorded hand that do not cut its path


@dataclass(frozen=True)
class Damage:
    """How detections are made worse than the drawn hands' boxes.

    missed: share of hands that are not found; jitter: standard deviation of each edge, as a share of the box's size; wrong_tag:
    share of hands with the other side's tag; all_left: share of the clips with both hands in which every hand is tagged left;
    false: share of the frames with a box where no hand is, of the hands' size and a score of 0.3 to 0.7, where hands have 0.5
    to 1.
    """

    missed: float = 0.15
    jitter: float = 0.05
    wrong_tag: float = 0.15
    all_left: float = 0.1
    false: float = 0.15


@dataclass(frozen=True)
class Score:
    """Of one clip: directions said that are true, said that are not, true ones that are not said; hands that were found and
    given their true side, hands found; said and true directions that have a partner within 45 degrees."""

    said: int
    wrong: int
    unsaid: int
    right_side: int
    found: int
    said_nearly: int = 0
    true_nearly: int = 0


def damaged_detections(truth: Truth, damage: Damage, seed: int) -> tuple[list[HandObjects], list[dict[int, int]]]:
    """Detections of T frames, and for each the true side of the hands that are real, by their place."""
    generator = np.random.default_rng([seed, *truth.metadata["name"].encode()])
    drawn: np.ndarray = np.all(truth.boxes[..., 2:] > truth.boxes[..., :2], axis=-1)  # (T, 2)
    extent = truth.boxes[..., 2:] - truth.boxes[..., :2]
    typical = np.median(extent[drawn], axis=0) if drawn.any() else np.ones(2)
    side = truth.metadata["settings"]["size"]
    left_only = generator.random() < damage.all_left and bool(drawn.all(1).any())
    detections, real = [], []
    for frame in range(len(truth.time)):
        hands: list[HandBox] = []
        sides: dict[int, int] = {}
        for hand in range(2):
            missed, flipped = generator.random() < damage.missed, generator.random() < damage.wrong_tag
            edges, score = generator.normal(size=4) * damage.jitter, generator.uniform(0.5, 1.0)
            if missed or not drawn[frame, hand]:
                continue
            box = _ordered(truth.boxes[frame, hand] + edges * np.tile(extent[frame, hand], 2))
            sides[len(hands)] = hand
            hands.append(HandBox(box, score, 0 if left_only else hand ^ flipped))
        if generator.random() < damage.false:
            corner = generator.uniform(0, side - typical)
            box = np.concatenate([corner, corner + typical])
            hands.append(HandBox(box, generator.uniform(0.3, 0.7), int(generator.integers(2))))
        detections.append(HandObjects(tuple(hands)))
        real.append(sides)
    return detections, real


def true_claims(truth: Truth) -> frozenset[tuple[str, str]]:
    """Which way the hands really moved, in the form of `claims`.

    A hand's place is the mean of its joints, seen from the first picture's camera. Its path is cut at the turning points; a
    part that is LEAST_MOTION hand sizes long has the direction of its ends, and a hand without such a part stays.
    """
    inverse = _inverse(truth.camera)
    stage = apply_affine(inverse, truth.joints.astype(np.float64))
    first = apply_affine(np.repeat(truth.camera[:1], len(stage), 0), stage)
    out = set()
    for hand, side in enumerate(SIDES):
        drawn = (truth.boxes[:, hand, 2:] > truth.boxes[:, hand, :2]).all(-1)
        known = truth.known[:, hand]
        usable = truth.visible[:, hand].mean(1) >= LEAST_INSIDE
        if drawn.mean() < LEAST_SEEN or not (usable & drawn).any():
            continue
        extent = truth.boxes[drawn, hand, 2:] - truth.boxes[drawn, hand, :2]
        least = LEAST_MOTION * float(np.median(np.sqrt(extent.prod(-1))))
        place = np.where(known[..., None], first[:, hand], 0).sum(1) / np.maximum(known.sum(1), 1)[:, None]
        found = {
            direction_of(*(end - start))
            for path in _stretches(place, usable & drawn, truth.time)
            for start, end in _parts(path, least)
            if np.hypot(*(end - start)) >= least
        }
        out |= {(f"{side} hand", direction) for direction in found or {STAYS}}
    return frozenset(out)


def compare(narration: Narration, truth: Truth, detections: list[HandObjects], real: list[dict[int, int]]) -> Score:
    """What a narration says against what is true."""
    said, true = claims(narration.text), true_claims(truth)
    found = sum(map(len, real))
    right = 0
    for hand, side in enumerate(SIDES):
        track = narration.tracks.hand(side)
        for record in () if track is None else track.records:
            here = detections[record.frame].hands
            right += any(here[place].box is record.box for place, true_side in real[record.frame].items() if true_side == hand)
    nearly = [sum(any(_near(one, other) for other in others) for one in ones) for ones, others in ((said, true), (true, said))]
    return Score(len(said & true), len(said - true), len(true - said), right, found, *nearly)


def _near(one: tuple[str, str], other: tuple[str, str]) -> bool:
    """Whether two claims are of one hand and at most 45 degrees apart."""
    if one[0] != other[0] or STAYS in (one[1], other[1]):
        return one == other
    return (DIRECTIONS.index(one[1]) - DIRECTIONS.index(other[1])) % 8 in (0, 1, 7)


def drawn_clips(data: str, subjects: tuple[str, ...] | None, seed: int, limit: int = CLIPS) -> Iterator[Clip]:
    """Clips of a set, drawn with a camera that moves: whole recordings, or windows of long ones."""
    recordings = [recording for recording in open_data(data) if recording.valid.mean(0).max() > 0.5]
    if data == "asl_words":  # whose first frame is often of another place: the hand leaps
        recordings = [recording.slice(1, len(recording)) for recording in recordings if len(recording) > 1]
    if data == "leap_recordings":
        recordings = [window for recording in recordings for window in _windows(recording)]
    for recording in choose(recordings, subjects, limit):
        yield render_clip(recording, SETTINGS, seed)


def narration() -> list[BenchmarkRecord]:
    """Directions and sides on drawn clips of signs of S2, whom no threshold has seen, and of takes of leap_recordings."""
    scores: dict[str, list[Score]] = {"narration": [], "narration_no_camera": []}
    names: list[str] = []
    for seed in SEEDS:
        for data, subjects in (("asl_words", ("S2",)), ("leap_recordings", None)):
            for clip in drawn_clips(data, subjects, seed):
                names.append(clip.truth.metadata["name"])
                for row, score in measure(clip, VIEWS[data], seed).items():
                    scores[row].append(score)
    records = []
    for row, found in scores.items():
        records += _records(row, found, names)
    return records


def measure(clip: Clip, view: str, seed: int, settings: NarrationSettings | None = None) -> dict[str, Score]:
    """The scores of one clip, with the camera's motion taken away and without."""
    truth = clip.truth
    settings = settings or NarrationSettings()
    settings = replace(settings, link=replace(settings.link, view=view))
    detections, real = damaged_detections(truth, Damage(), seed)
    frames = (Frame(image, float(time)) for image, time in zip(clip.frames, truth.time, strict=True))
    boxes = [np.array([hand.box for hand in frame.hands]).reshape(-1, 4) for frame in detections]
    camera = camera_motion(background_tracks(frames, settings=settings.camera), boxes, settings.camera)
    size = (SETTINGS.size, SETTINGS.size)
    out = {}
    for row, moved in (("narration", camera), ("narration_no_camera", None)):
        result = narrate_detections(truth.time, size, detections, moved, settings)
        out[row] = compare(result, truth, detections, real)
    return out


def _records(row: str, scores: list[Score], names: list[str]) -> list[BenchmarkRecord]:
    counts = np.array([astuple(score) for score in scores], np.float64)
    command = "palmist benchmark quality --only narration  # drawn clips with a moving camera, damaged boxes"
    measures = {
        "direction_precision": (lambda c: c[:, 0].sum() / c[:, :2].sum(), int(counts[:, :2].sum())),
        "direction_recall": (lambda c: c[:, 0].sum() / c[:, [0, 2]].sum(), int(counts[:, [0, 2]].sum())),
        "direction_f1": (lambda c: 2 * c[:, 0].sum() / (2 * c[:, 0] + c[:, 1] + c[:, 2]).sum(), len(counts)),
        "direction_f1_within_45": (
            lambda c: c[:, 5:].sum() / (c[:, :2].sum() + c[:, [0, 2]].sum()),
            len(counts),
        ),
        "side_accuracy": (lambda c: c[:, 3].sum() / c[:, 4].sum(), int(counts[:, 4].sum())),
    }
    out = []
    for metric, (statistic, n) in measures.items():
        if row != "narration" and metric == "side_accuracy":
            continue
        interval = bootstrap_interval(counts, names, statistic)
        out.append(
            make_record(f"hod/rendered/{row}/{metric}", float(statistic(counts)), "share", n, command, interval, seeds=SEEDS)
        )
    return out


def _windows(recording: Recording) -> Iterator[Recording]:
    """Parts of WINDOW seconds, one after the other; what remains is left out, unless it is all there is."""
    time = np.asarray(recording.time)
    count = max(1, int((time[-1] - time[0]) // WINDOW))
    for number in range(count):
        start, stop = np.searchsorted(time, time[0] + np.array([number, number + 1]) * WINDOW)
        yield recording.slice(int(start), int(stop)).replace(name=f"{recording.name}/{number}")


# --------------------------------------------------------------------------------------------------------------------
# The true motion


def _inverse(matrices: np.ndarray) -> np.ndarray:
    """(T, 2, 3) that undo matrices (T, 2, 3)."""
    linear = np.linalg.inv(matrices[:, :, :2])
    return np.concatenate([linear, -linear @ matrices[:, :, 2:]], -1)


def _stretches(place: np.ndarray, known: np.ndarray, time: np.ndarray) -> Iterator[np.ndarray]:
    """Parts of a path without a gap that is longer than LONGEST_GAP."""
    frames = np.flatnonzero(known)
    cuts = np.flatnonzero(np.diff(time[frames]) > LONGEST_GAP) + 1
    for part in np.split(frames, cuts):
        yield place[part]


def _parts(path: np.ndarray, least: float) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Start and end of the parts between turning points: extremes along four axes that stand out by half of `least`."""
    turns = {0, len(path) - 1}
    for angle in np.arange(4) * np.pi / 4:
        turns |= _extremes(path @ np.array([np.cos(angle), np.sin(angle)]), least / 2)
    places = sorted(turns)
    for first, last in itertools.pairwise(places):
        yield path[first], path[last]


def _extremes(values: np.ndarray, prominence: float) -> set[int]:
    """Places of the turning points of a curve that goes back by more than `prominence` on both sides."""
    out: set[int] = set()
    low = high = 0
    rising: bool | None = None
    for place, value in enumerate(values):
        low = place if value < values[low] else low
        high = place if value > values[high] else high
        if rising is not False and values[high] - value > prominence:
            out |= {high} if rising else set()
            rising, low = False, place
        elif rising is not True and value - values[low] > prominence:
            out |= {low} if rising is False else set()
            rising, high = True, place
    return out


def _ordered(box: np.ndarray) -> np.ndarray:
    """With x0 <= x1 and y0 <= y1."""
    return np.concatenate([np.minimum(box[:2], box[2:]), np.maximum(box[:2], box[2:])])

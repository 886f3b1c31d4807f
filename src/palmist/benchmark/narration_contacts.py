"""What motion alone tells of hands that hold something: drawn clips with and without a thing, the true joints as tracker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from palmist.evaluation.benchmark_record import BenchmarkRecord, make_record
from palmist.metrics.intervals import Metric, bootstrap_interval
from palmist.perception.active_objects import MotionHandObjects
from palmist.perception.detection import HandDetection
from palmist.readers import open_data
from palmist.recording import Recording
from palmist.render import HELD_THINGS, Clip, RenderSettings, is_held, render_clip
from palmist.skeleton import PALM

__all__ = ["TrueHands", "contacts", "held_boxes", "score_contacts"]

_COMMAND = "palmist benchmark quality --only contacts"
_SIZE, _RATE = 256, 20.0
_PORTABLE = 3
#: Recordings of asl_words (spread evenly) and takes of leap_recordings that are drawn; each with every thing and with none.
_WORDS, _TAKES = 3, (0, 5, 13)


class TrueHands:
    """The joints of a drawn clip, frame by frame (a HandTracker): hands of which all joints are known and something is seen.

    root: of the recording; where joint 0 is the palm's centre, the wrist is put where it is drawn, as far behind the centre as
    the knuckles are before it. mirrored: for the clip's frames turned left to right. repeats: the last frame may come again.
    """

    def __init__(self, clip: Clip, root: str = "wrist", mirrored: bool = False, repeats: bool = False) -> None:
        self.clip, self.mirrored, self.next = clip, mirrored, 0
        self._root, self._repeats = root, repeats

    def detect(self, time: float, frame: np.ndarray) -> Sequence[HandDetection]:
        """The hands of the next frame; time and frame are not looked at."""
        number = min(self.next, len(self.clip.frames) - 1) if self._repeats else self.next
        truth, size = self.clip.truth, self.clip.frames.shape[1]
        self.next += 1
        found = []
        for side in range(2):
            if truth.known[number, side].all() and truth.boxes[number, side].any():
                places = (truth.joints[number, side].astype(np.float64) + 0.5) / size
                if self._root == "palm_centre":
                    places[0] = 2 * places[0] - places[list(PALM[1:])].mean(0)
                if self.mirrored:
                    places[:, 0] = 1 - places[:, 0]
                image = np.concatenate([places, np.zeros((21, 1))], 1)
                found.append(HandDetection(1 - side if self.mirrored else side, 1.0, image))
        return found

    def describe(self) -> Mapping[str, Any]:
        return {"tracker": "true joints of a drawn clip"}


def held_boxes(clip: Clip) -> list[np.ndarray | None]:
    """Box (4,) of the pixels that show the held thing in each frame, None where there are none."""
    boxes: list[np.ndarray | None] = []
    for parts in clip.parts:
        mask = is_held(parts)
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        boxes.append(np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float64) if len(rows) else None)
    return boxes


def score_contacts(clips: Sequence[tuple[Clip, str]]) -> dict[str, Metric]:
    """precision and recall of "holds something" over hands and frames, and the mean overlap of the thing's box where that
    is right; intervals by drawing whole clips.

    clips: each with the root of its recording ("wrist" or "palm_centre"). The hand that holds is the one nearest to the thing.
    A thing that is hidden from view counts as not held.
    """
    rows = []  # per clip: right, said, true, sum of overlaps
    for clip, root in clips:
        found = MotionHandObjects(TrueHands(clip, root))
        right = said = true = 0
        overlaps = 0.0
        for time, frame, box in zip(clip.truth.time, clip.frames, held_boxes(clip), strict=True):
            answer = found.detect(float(time), frame)
            holder = None
            if box is not None and answer.hands:
                middle = (box[:2] + box[2:]) / 2
                away = [np.linalg.norm((hand.box[:2] + hand.box[2:]) / 2 - middle) for hand in answer.hands]
                holder = int(np.argmin(away))
            true += holder is not None
            for number, hand in enumerate(answer.hands):
                if hand.contact == _PORTABLE and hand.object is not None:
                    said += 1
                    if number == holder and box is not None:
                        right += 1
                        overlaps += _overlap(answer.objects[hand.object].box, box)
        rows.append((right, said, true, overlaps))
    table = np.array(rows, np.float64)
    return {
        name: _ratio(table[:, [top, bottom]])
        for name, top, bottom in (("precision", 0, 1), ("recall", 0, 2), ("object_iou", 3, 0))
    }


def contacts() -> list[BenchmarkRecord]:
    """Drawn words and takes, with each thing of HELD_THINGS and with none: about one thousand frames."""
    words, takes = open_data("asl_words"), open_data("leap_recordings")
    signed = [word for word in words if word.valid.all()]
    chosen = [signed[int(place)] for place in np.linspace(0, len(signed) - 1, _WORDS)] + [takes[place] for place in _TAKES]
    clips = [
        (_draw(recording, held, seed), recording.root) for seed, recording in enumerate(chosen) for held in (None, *HELD_THINGS)
    ]
    return [
        make_record(f"hod/rendered/motion_contact/{name}", value.value, "share", value.n, _COMMAND, value.interval, seeds=(0,))
        for name, value in score_contacts(clips).items()
        if value.n
    ]


def _draw(recording: Recording, held: str | None, seed: int) -> Clip:
    return render_clip(recording, RenderSettings(size=_SIZE, rate=_RATE, framing="hands", tracks=0, held=held), seed)


def _ratio(counts: np.ndarray) -> Metric:
    """Sum of the first column by the sum of the second one (clips, 2); n is the latter."""
    n = int(counts[:, 1].sum())
    if not n:
        return Metric(float("nan"), 0)

    def ratio(rows: np.ndarray) -> float:
        return float(rows[:, 0].sum() / rows[:, 1].sum()) if rows[:, 1].sum() else float("nan")

    return Metric(ratio(counts), n, bootstrap_interval(counts, statistic=ratio))


def _overlap(one: np.ndarray, two: np.ndarray) -> float:
    low, high = np.maximum(one[:2], two[:2]), np.minimum(one[2:], two[2:])
    common = float(np.prod(np.maximum(high - low, 0)))
    whole = float(np.prod(one[2:] - one[:2]) + np.prod(two[2:] - two[:2])) - common
    return common / whole if whole > 0 else 0.0

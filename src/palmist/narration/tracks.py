"""Hands and things over time: one left and one right hand, every thing under one number, short gaps filled.

A detector looks at frames one by one: it misses hands, finds some that are none, tags both hands of a person as left. Here
each frame gets at most one left and one right hand, the best choice over the whole clip by score, side tag and nearness, so that
tags that are wrong now and then, or for both hands at once, are mended. One person is assumed.

Pixels of the frames: x right, y down. Letters: T frames, N detections of a frame.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from palmist.errors import InputError
from palmist.narration.facts import SIDES
from palmist.perception.objects import CONTACTS, HandBox, HandObjects, ObjectBox

__all__ = ["HandRecord", "HandTrack", "LinkSettings", "ObjectRecord", "ObjectTrack", "Tracks", "link_tracks"]

_VIEWS = ("egocentric", "facing", "unknown")
_MOST_HANDS = 4  # detections of a frame that are considered, the surest ones
_BEAM = 32  # hypotheses that are kept from frame to frame
_SAME_HAND = 0.7  # IoU from which on two boxes are one hand, found twice
_TAKEN = 0.7  # what it costs that a hand comes up, alone, where the other one has just been: that is the same hand
_NEW = 0.25  # what a hand costs that comes up out of nothing
_VIEW_PRIOR = 0.02  # what the expected order of the hands is worth per frame: it decides only where the tags do not


@dataclass(frozen=True, eq=False)
class HandRecord:
    """One hand in one frame. frame: its number; box: (4,) x0, y0, x1, y1 pixels; score: 0 to 1, 0 where filled; contact: one
    of CONTACTS; object: number of the ObjectTrack that it touches; points: (21, 2) pixels or None; filled: interpolated over
    frames in which the hand was not found."""

    frame: int
    box: np.ndarray
    score: float
    contact: str = CONTACTS[0]
    object: int | None = None
    points: np.ndarray | None = None
    filled: bool = False


@dataclass(frozen=True, eq=False)
class ObjectRecord:
    """One thing in one frame, see HandRecord."""

    frame: int
    box: np.ndarray
    score: float
    filled: bool = False


@dataclass(frozen=True, eq=False)
class HandTrack:
    """All that is known of one hand: side "left" or "right", records in the order of time, at most one per frame."""

    side: str
    records: tuple[HandRecord, ...]


@dataclass(frozen=True, eq=False)
class ObjectTrack:
    """All that is known of one thing: its number, its name where a detector gave one, records in the order of time."""

    number: int
    name: str | None
    records: tuple[ObjectRecord, ...]


@dataclass(frozen=True, eq=False)
class Tracks:
    """Hands and things of a clip. time (T,) seconds of the frames that were looked at; width, height: of the frames in pixels;
    hands: at most one track a side; objects: by number."""

    time: np.ndarray
    width: int
    height: int
    hands: tuple[HandTrack, ...] = ()
    objects: tuple[ObjectTrack, ...] = ()

    def hand(self, side: str) -> HandTrack | None:
        """The track of a side, None for a hand that was not seen."""
        return next((track for track in self.hands if track.side == side), None)

    def boxes(self, track: HandTrack | ObjectTrack) -> np.ndarray:
        """(T, 4) pixels, NaN where the track is not known."""
        out = np.full((len(self.time), 4), np.nan)
        for record in track.records:
            out[record.frame] = record.box
        return out

    def to_json(self) -> dict[str, Any]:
        """Plain values; `tracks_from_json` reads them."""
        return {
            "time": [round(float(time), 6) for time in self.time],
            "width": self.width,
            "height": self.height,
            "hands": [{"side": hand.side, "records": [_hand_json(record) for record in hand.records]} for hand in self.hands],
            "objects": [
                {"number": thing.number, "name": thing.name, "records": [_plain(record) for record in thing.records]}
                for thing in self.objects
            ],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Tracks:
        """What `to_json` gave. Raises InputError for anything else."""
        try:
            hands = tuple(HandTrack(str(row["side"]), tuple(map(_hand_record, row["records"]))) for row in data["hands"])
            objects = tuple(
                ObjectTrack(int(row["number"]), row["name"], tuple(map(_object_record, row["records"])))
                for row in data["objects"]
            )
            time = np.array(data["time"], np.float64)
            tracks = cls(time, int(data["width"]), int(data["height"]), hands, objects)
            frames = [record.frame for track in (*hands, *objects) for record in track.records]
            if time.ndim != 1 or any(not 0 <= frame < len(time) for frame in frames):
                raise ValueError("a record of a frame that does not exist")
            if any(hand.side not in SIDES for hand in hands):
                raise ValueError("a hand whose side is neither left nor right")
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"these are no tracks of hands ({error}); expected what Palmist's narration wrote") from error
        return tracks


def _plain(record: HandRecord | ObjectRecord) -> dict[str, Any]:
    box = [round(float(value), 2) for value in record.box]
    return {"frame": record.frame, "box": box, "score": round(float(record.score), 4), "filled": record.filled}


def _hand_json(record: HandRecord) -> dict[str, Any]:
    points = None if record.points is None else np.round(np.asarray(record.points, np.float64), 2).tolist()
    return {**_plain(record), "contact": record.contact, "object": record.object, "points": points}


def _object_record(data: Mapping[str, Any]) -> ObjectRecord:
    return ObjectRecord(int(data["frame"]), _box(data["box"]), float(data["score"]), bool(data["filled"]))


def _hand_record(data: Mapping[str, Any]) -> HandRecord:
    points = None if data["points"] is None else np.array(data["points"], np.float64).reshape(21, 2)
    touched = None if data["object"] is None else int(data["object"])
    if data["contact"] not in CONTACTS:
        raise ValueError(f"contact state {data['contact']!r}")
    box, filled = _box(data["box"]), bool(data["filled"])
    return HandRecord(int(data["frame"]), box, float(data["score"]), data["contact"], touched, points, filled)


def _box(values: Sequence[float]) -> np.ndarray:
    return np.array(values, np.float64).reshape(4)


# --------------------------------------------------------------------------------------------------------------------
# Linking


@dataclass(frozen=True)
class LinkSettings:
    """How detections become tracks.

    least_score: detections below it are left out; view: "egocentric" (a left hand is usually to the left of the right one),
    "facing" (a person who faces the camera: the other way round) or "unknown"; it decides only where the tags say nothing;
    tag_weight: what a hand of the other side's tag costs in a frame, where a sure detection is worth 1; reach_weight: what a
    hand size of motion from frame to frame costs; longest_gap: seconds without a hand, or thing, that are filled;
    memory: seconds after which a hand may come back anywhere; least_frames: tracks that are seen in fewer frames are dropped;
    least_overlap: IoU from which on a thing is the same as in the frame before.
    """

    least_score: float = 0.3
    view: str = "egocentric"
    tag_weight: float = 0.35
    reach_weight: float = 0.5
    longest_gap: float = 0.3
    memory: float = 0.7
    least_frames: int = 3
    least_overlap: float = 0.1

    def __post_init__(self) -> None:
        if self.view not in _VIEWS:
            raise InputError(f"view is {self.view!r}; expected one of {', '.join(_VIEWS)}")
        if not 0 <= self.least_score <= 1 or self.least_frames < 1:
            raise InputError(
                f"least_score is {self.least_score} and least_frames {self.least_frames}; expected 0 to 1 and at least 1"
            )


def link_tracks(
    time: np.ndarray | Sequence[float],
    size: tuple[int, int],
    detections: Sequence[HandObjects],
    settings: LinkSettings | None = None,
) -> Tracks:
    """Detections of T frames as tracks.

    time: (T,) seconds, never decreasing; size: width and height of the frames in pixels; detections: one per time. Raises
    InputError where they do not fit together.
    """
    settings = settings or LinkSettings()
    moments = np.asarray(time, np.float64)
    if moments.ndim != 1 or not len(moments) or len(moments) != len(detections):
        found = f"found {len(detections)} frames of detections and times of shape {moments.shape}"
        raise InputError(f"{found}; expected a time for each, and at least one")
    if not np.isfinite(moments).all() or (np.diff(moments) < 0).any():
        raise InputError("times are not finite or go backwards; expected seconds that never decrease")
    numbers, objects = _link_objects(moments, detections, settings)
    objects = [thing for thing in objects if len(thing.records) >= min(settings.least_frames, len(moments))]
    renamed = {thing.number: place for place, thing in enumerate(objects)}
    hands = []
    for side, chosen in zip(SIDES, _choose_hands(moments, detections, settings), strict=True):
        kept = _without_short(moments, chosen, settings)
        records = []
        for frame, hand in sorted(kept.items()):
            touched = None if hand.object is None else renamed.get(numbers[frame].get(hand.object, -1))
            state = CONTACTS[hand.contact]
            records.append(HandRecord(frame, hand.box, hand.score, state, touched if hand.contact else None, hand.points))
        if records:
            hands.append(HandTrack(side, _filled_hands(moments, records, settings.longest_gap)))
    things = tuple(
        ObjectTrack(renamed[thing.number], thing.name, _filled_objects(moments, thing.records, settings.longest_gap))
        for thing in objects
    )
    return Tracks(moments, int(size[0]), int(size[1]), tuple(hands), things)


#: Where a side was last: frame and place among its detections.
_Last = tuple[int, int] | None


class _Guess(NamedTuple):
    """One way of giving sides so far. worth: of it all; last: where left and right were last; pair: which detections of this
    frame are left and right, None for none; before: the guess one frame earlier."""

    worth: float
    last: tuple[_Last, _Last]
    pair: tuple[int | None, int | None] = (None, None)
    before: _Guess | None = None


def _choose_hands(
    time: np.ndarray, detections: Sequence[HandObjects], settings: LinkSettings
) -> tuple[dict[int, HandBox], dict[int, HandBox]]:
    """For each side frame -> hand: the best choice over all frames, by dynamic programming over where each hand was last.

    Guesses that agree on where both hands were last are compared once and for all, so that the answer is exact as long as no
    more than _BEAM of them are open.
    """
    hands: list[list[HandBox]] = []
    for frame in detections:
        sure = [hand for hand in frame.hands if hand.score >= settings.least_score]
        hands.append(sorted(sure, key=lambda hand: -hand.score)[:_MOST_HANDS])
    size = _median_size([hand.box for frame in hands for hand in frame])
    guesses = [_Guess(0.0, (None, None))]
    for number, found in enumerate(hands):
        options = [(pair, _worth(found, pair, settings)) for pair in _pairs(len(found))]
        lasts = {last for guess in guesses for last in guess.last}
        leaps = {
            (last, place): _leap(time, number, hand, last, hands, size, settings)
            for last in lasts
            for place, hand in enumerate(found)
        }
        kept = {last: last if last is not None and time[number] - time[last[0]] <= settings.memory else None for last in lasts}
        best: dict[tuple[_Last, _Last], _Guess] = {}
        for guess, ((left, right), alone) in itertools.product(guesses, options):
            was_left, was_right = guess.last
            worth = guess.worth + alone
            worth -= (0.0 if left is None else leaps[was_left, left]) + (0.0 if right is None else leaps[was_right, right])
            if (left is None) != (right is None):
                place, was, was_other = (left, was_left, was_right) if right is None else (right, was_right, was_left)
                worth -= _TAKEN if leaps[was_other, place] < min(_NEW, leaps[was, place]) else 0.0
            key = (
                kept[was_left] if left is None else (number, left),
                kept[was_right] if right is None else (number, right),
            )
            if key not in best or worth > best[key].worth:
                best[key] = _Guess(worth, key, (left, right), guess)
        guesses = sorted(best.values(), key=lambda guess: -guess.worth)[:_BEAM]
    chosen: tuple[dict[int, HandBox], dict[int, HandBox]] = ({}, {})
    guess: _Guess | None = guesses[0]
    for number in reversed(range(len(hands))):
        assert guess is not None
        for side, place in enumerate(guess.pair):
            if place is not None:
                chosen[side][number] = hands[number][place]
        guess = guess.before
    return chosen


def _pairs(count: int) -> list[tuple[int | None, int | None]]:
    """Every way of taking different ones of `count` hands, or none, for left and right."""
    options: list[int | None] = [None, *range(count)]
    return [(left, right) for left in options for right in options if left is None or left != right]


def _worth(found: Sequence[HandBox], pair: tuple[int | None, int | None], settings: LinkSettings) -> float:
    """What it is worth to take these hands of a frame for left and right, before it is known where these were."""
    chosen = [None if place is None else found[place] for place in pair]
    worth = 0.0
    for side, hand in enumerate(chosen):
        if hand is not None:
            worth += hand.score - (settings.tag_weight if hand.side != side else 0.0)
    left, right = chosen
    if left is not None and right is not None:
        order = {"egocentric": 1.0, "facing": -1.0, "unknown": 0.0}[settings.view]
        worth += _VIEW_PRIOR * order * float(np.sign(_centre(right.box)[0] - _centre(left.box)[0]))
        if _overlap(left.box, right.box) > _SAME_HAND:
            worth -= 1.0
    return worth


def _leap(
    time: np.ndarray,
    frame: int,
    hand: HandBox,
    last: _Last,
    hands: Sequence[Sequence[HandBox]],
    size: float,
    settings: LinkSettings,
) -> float:
    """What it costs that a side is here after it was at `last`: hand sizes of motion, over the frames that it had for it."""
    if last is None or time[frame] - time[last[0]] > settings.memory:
        return _NEW
    distance = float(np.hypot(*(_centre(hand.box) - _centre(hands[last[0]][last[1]].box)))) / size
    return settings.reach_weight * distance / float(np.sqrt(frame - last[0]))


def _without_short(time: np.ndarray, chosen: Mapping[int, HandBox], settings: LinkSettings) -> dict[int, HandBox]:
    """Stretches that gaps longer than the memory cut off, and that are seen in too few frames, are dropped."""
    kept: dict[int, HandBox] = {}
    stretch: list[int] = []
    frames = sorted(chosen)
    for place, frame in enumerate(frames):
        following = frames[place + 1] if place + 1 < len(frames) else None
        stretch.append(frame)
        if following is None or time[following] - time[frame] > settings.memory:
            if len(stretch) >= min(settings.least_frames, len(time)):
                kept |= {number: chosen[number] for number in stretch}
            stretch = []
    return kept


def _link_objects(
    time: np.ndarray, detections: Sequence[HandObjects], settings: LinkSettings
) -> tuple[list[dict[int, int]], list[ObjectTrack]]:
    """For each frame its objects' numbers, and the tracks, in the order in which they came up.

    A thing is the one before whose box overlaps most; one that the same side's tag holds is taken for the same within twice its
    size, however fast it moves.
    """
    numbers: list[dict[int, int]] = []
    tracks: list[list[ObjectRecord]] = []
    names: list[list[str]] = []
    holders: list[set[int]] = []
    for frame, found in enumerate(detections):
        places = [place for place, thing in enumerate(found.objects) if thing.score >= settings.least_score]
        held_by = [{hand.side for hand in found.hands if hand.object == place and hand.contact} for place in places]
        alive = [
            number
            for number, records in enumerate(tracks)
            if time[frame] - time[records[-1].frame] <= settings.longest_gap or records[-1].frame == frame - 1
        ]
        here: dict[int, int] = {}
        if places and alive:
            cost = np.array([
                [_object_cost(found.objects[place], tracks[number][-1], holders[number] & hands, settings) for number in alive]
                for place, hands in zip(places, held_by, strict=True)
            ])  # fmt: skip
            for row, column in zip(*linear_sum_assignment(cost), strict=True):
                if cost[row, column] < 1.0:
                    here[places[row]] = alive[column]
        for place, hands in zip(places, held_by, strict=True):
            thing = found.objects[place]
            if place not in here:
                here[place] = len(tracks)
                tracks.append([])
                names.append([])
                holders.append(set())
            number = here[place]
            tracks[number].append(ObjectRecord(frame, thing.box, thing.score))
            holders[number] = hands or holders[number]
            names[number] += [thing.name] if thing.name else []
        numbers.append(here)
    named = [max(sorted(set(given)), key=given.count) if given else None for given in names]
    return numbers, [ObjectTrack(n, named[n], tuple(records)) for n, records in enumerate(tracks)]


def _object_cost(thing: ObjectBox, last: ObjectRecord, same_hands: set[int], settings: LinkSettings) -> float:
    """Below 1 if a thing may be the one of a track: 0 for the same box."""
    overlap = _overlap(thing.box, last.box)
    if overlap >= settings.least_overlap:
        return 0.8 * (1 - overlap) - (0.1 if same_hands else 0.0)
    distance = float(np.hypot(*(_centre(thing.box) - _centre(last.box)))) / _median_size([thing.box, last.box])
    return 0.8 + 0.1 * distance / 2 if same_hands and distance < 2 else 2.0


# --------------------------------------------------------------------------------------------------------------------
# Gaps


def _filled_hands(time: np.ndarray, records: Sequence[HandRecord], longest: float) -> tuple[HandRecord, ...]:
    """With interpolated boxes and points in gaps of up to `longest` seconds; contact is that before the gap."""
    out: list[HandRecord] = []
    for record in records:
        if out and time[record.frame] - time[out[-1].frame] <= longest + 1e-9:
            before = out[-1]
            for frame, share in _between(time, before.frame, record.frame):
                box = (1 - share) * before.box + share * record.box
                points = None
                if before.points is not None and record.points is not None:
                    points = (1 - share) * before.points + share * record.points
                out.append(replace(before, frame=frame, box=box, score=0.0, points=points, filled=True))
        out.append(record)
    return tuple(out)


def _filled_objects(time: np.ndarray, records: Sequence[ObjectRecord], longest: float) -> tuple[ObjectRecord, ...]:
    out: list[ObjectRecord] = []
    for record in records:
        if out and time[record.frame] - time[out[-1].frame] <= longest + 1e-9:
            before = out[-1]
            for frame, share in _between(time, before.frame, record.frame):
                out.append(ObjectRecord(frame, (1 - share) * before.box + share * record.box, 0.0, True))
        out.append(record)
    return tuple(out)


def _between(time: np.ndarray, first: int, last: int) -> Iterable[tuple[int, float]]:
    """The frames between two, and how far on the way each is."""
    for frame in range(first + 1, last):
        whole = float(time[last] - time[first])
        yield frame, float(time[frame] - time[first]) / whole if whole > 0 else 0.5


def _centre(box: np.ndarray) -> np.ndarray:
    middle: np.ndarray = (box[:2] + box[2:]) / 2
    return middle


def _median_size(boxes: Sequence[np.ndarray]) -> float:
    """Square root of the area, at least a pixel; 1 for no boxes."""
    if not len(boxes):
        return 1.0
    array = np.asarray(boxes)
    return max(1.0, float(np.median(np.sqrt((array[:, 2] - array[:, 0]) * (array[:, 3] - array[:, 1])))))


def _overlap(first: np.ndarray, second: np.ndarray) -> float:
    """Intersection over union of two boxes."""
    shared = np.clip(np.minimum(first[2:], second[2:]) - np.maximum(first[:2], second[:2]), 0, None).prod()
    union = (first[2:] - first[:2]).prod() + (second[2:] - second[:2]).prod() - shared
    return float(shared / union) if union > 0 else 0.0

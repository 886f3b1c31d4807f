"""From tracks to facts: which way each hand and thing moved, what touched what, where they were at the start and at the end.

All lengths are measured after the camera's motion is taken away. Letters: T frames.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np

from palmist.narration.camera_motion import CameraMotion
from palmist.narration.facts import SIDES, ContactChange, Facts, HandFacts, ObjectFacts, Relation
from palmist.narration.motion_pieces import PieceSettings, motion_pieces
from palmist.narration.named_thing import named_thing
from palmist.narration.tracks import HandTrack, ObjectTrack, Tracks
from palmist.perception.objects import CONTACTS

__all__ = ["DescribeSettings", "describe_motion"]

_EDGE = 0.1  # of a box's usual size: as near as that to the picture's edge, it is cut off there


@dataclass(frozen=True)
class DescribeSettings:
    """What is told.

    least_seen: a hand or thing that is found in a smaller share of the frames is not told of; steady: seconds that a contact
    state must last to count; apart: hand sizes that two centres must be apart, along x or y, for "left of" or "above" to be
    said; nearer: share by which the distance of the hands must change for "approaches" or "moves away from"; fastest: hand
    sizes a second beyond which a track has leapt to another hand, so that no motion is told there.
    """

    least_seen: float = 0.2
    steady: float = 0.2
    apart: float = 0.5
    nearer: float = 0.3
    fastest: float = 20.0


def describe_motion(
    tracks: Tracks,
    camera: CameraMotion | None = None,
    original: str | None = None,
    pieces: PieceSettings | None = None,
    settings: DescribeSettings | None = None,
) -> Facts:
    """The facts of a clip.

    camera: of the same T frames; None for a camera that stands still. original: a caption whose one thing names the object that
    the hands touch longest, unless the detector named it. Hands come in the order of how far they move, farthest first.
    """
    settings = settings or DescribeSettings()
    camera = camera or CameraMotion.still(len(tracks.time))
    diagonal, frames = float(np.hypot(tracks.width, tracks.height)), len(tracks.time)
    paths, sizes, hands = {}, {}, {}
    for track in tracks.hands:
        seen = sum(not record.filled for record in track.records) / frames
        if seen < settings.least_seen:
            continue
        paths[track.side], sizes[track.side] = _path(tracks, track, camera, settings.fastest)
        found = motion_pieces(paths[track.side], tracks.time, diagonal, sizes[track.side], pieces)
        hands[track.side] = HandFacts(seen, found, *_contact(track, tracks.time, settings.steady))
    moved = {side: sum(piece.distance for piece in hand.pieces) for side, hand in hands.items()}
    ordered = sorted(hands, key=lambda side: (-moved[side], -hands[side].seen, SIDES.index(side)))
    told: list[ObjectFacts] = []
    numbers: dict[int, int] = {}
    for thing in tracks.objects:
        seen = sum(not record.filled for record in thing.records) / frames
        if seen < settings.least_seen:
            continue
        path, size = _path(tracks, thing, camera, settings.fastest)
        numbers[thing.number] = len(told)
        name = f"object {len(told)}"
        paths[name], sizes[name] = path, size
        told.append(ObjectFacts(thing.name, seen, motion_pieces(path, tracks.time, diagonal, size, pieces)))
    facts_of_hands = {side: _renumbered(hands[side], numbers) for side in ordered}
    told = _named(told, facts_of_hands, original)
    relations = _relations(paths, sizes, facts_of_hands, settings)
    return Facts(float(tracks.time[-1] - tracks.time[0]), facts_of_hands, tuple(told), relations)


def _path(tracks: Tracks, track: HandTrack | ObjectTrack, camera: CameraMotion, fastest: float) -> tuple[np.ndarray, float]:
    """(T, 2) centres in the first picture, NaN where unknown, and the median size in pixels."""
    boxes = _whole(tracks.boxes(track), tracks.width, tracks.height)
    extent = boxes[:, 2:] - boxes[:, :2]
    size = max(1.0, float(np.nanmedian(np.sqrt(extent[:, 0] * extent[:, 1]))))
    seen = np.array([record.frame for record in track.records if not record.filled], np.int64)
    return _without_leaps(camera.apply((boxes[:, :2] + boxes[:, 2:]) / 2), tracks.time, seen, fastest * size), size


def _without_leaps(path: np.ndarray, time: np.ndarray, seen: np.ndarray, fastest: float) -> np.ndarray:
    """The path with a gap wherever it moves by more than `fastest` pixels a second from one of the `seen` frames to the next:
    there another hand, or thing, was taken for this one."""
    steps = np.linalg.norm(np.diff(path[seen], axis=0), axis=1)
    cut: np.ndarray = path.copy()
    for number in np.flatnonzero(steps > fastest * np.maximum(np.diff(time[seen]), 1e-3)):
        first, last = int(seen[number]), int(seen[number + 1])
        cut[first + 1 : max(last, first + 2)] = np.nan
    return cut


def _whole(boxes: np.ndarray, width: int, height: int) -> np.ndarray:
    """Boxes (T, 4) that the picture's edge cuts off, made as wide and high as the others usually are: else a hand that leaves
    the picture seems to slow down. Those that are larger already, and tracks that lie at an edge throughout, stay."""
    out = boxes.copy()
    for low, high, limit in ((0, 2, width), (1, 3, height)):
        extent = boxes[:, high] - boxes[:, low]
        near = _EDGE * np.nanmedian(extent)
        at_start, at_end = boxes[:, low] <= near, boxes[:, high] >= limit - near
        free = np.isfinite(extent) & ~at_start & ~at_end
        if not free.any():
            continue
        usual = float(np.median(extent[free]))
        out[:, low] = np.where(at_start & ~at_end & (extent < usual), boxes[:, high] - usual, out[:, low])
        out[:, high] = np.where(at_end & ~at_start & (extent < usual), boxes[:, low] + usual, out[:, high])
    return out


# --------------------------------------------------------------------------------------------------------------------
# Contact


def _contact(track: HandTrack, time: np.ndarray, steady: float) -> tuple[str, tuple[ContactChange, ...], int | None]:
    """State at the start, the changes that last, and the object that is touched longest, None for a hand that touches none.

    A frame has the state that most frames around it have, `steady` seconds to both sides; a state that lasts less is left out.
    """
    moments = time[[record.frame for record in track.records]]
    stretches: list[tuple[str, float, float, list[int]]] = []  # state, from, until, objects touched
    for record, moment in zip(track.records, moments.tolist(), strict=True):
        near = [track.records[i].contact for i in np.flatnonzero(np.abs(moments - moment) <= steady + 1e-9)]
        state = max([record.contact, *CONTACTS], key=near.count)
        if not stretches or stretches[-1][0] != state:
            stretches.append((state, moment, moment, []))
        _, start, _, objects = stretches.pop()
        if record.object is not None and record.contact == state:
            objects.append(record.object)
        stretches.append((state, start, moment, objects))
    ends = [later[1] for later in stretches[1:]] + [stretches[-1][2] + _step(time)]
    lasting = [s for s, end in zip(stretches, ends, strict=True) if end - s[1] >= steady - 1e-9]
    lasting = lasting or [max(stretches, key=lambda stretch: stretch[2] - stretch[1])]
    changes: list[ContactChange] = []
    state = lasting[0][0]
    for following, start, _, objects in lasting[1:]:
        if following != state:
            changes.append(ContactChange(start, following, _most_common(objects)))
            state = following
    return lasting[0][0], tuple(changes), _most_common([number for stretch in lasting for number in stretch[3]])


def _most_common(numbers: list[int]) -> int | None:
    """The number that is there most often, the lowest of several; None for none."""
    counted = Counter(numbers)
    return max(sorted(counted), key=lambda number: counted[number]) if counted else None


def _step(time: np.ndarray) -> float:
    """Seconds between frames."""
    return float(np.median(np.diff(time))) if len(time) > 1 else 0.0


def _renumbered(hand: HandFacts, numbers: dict[int, int]) -> HandFacts:
    """With the numbers of the objects that are told of."""
    changes = tuple(
        replace(change, object=None if change.object is None else numbers.get(change.object)) for change in hand.changes
    )
    return replace(hand, changes=changes, object=None if hand.object is None else numbers.get(hand.object))


def _named(told: list[ObjectFacts], hands: dict[str, HandFacts], original: str | None) -> list[ObjectFacts]:
    """The caption's one thing is the object that hands touch, or the only one."""
    name = named_thing(original)
    if name is None or any(thing.name == name for thing in told):
        return told
    touched = {hand.object for hand in hands.values() if hand.object is not None}
    places = touched or set(range(len(told)))
    if len(places) != 1:
        return told
    place = places.pop()
    return [replace(thing, name=thing.name or name) if number == place else thing for number, thing in enumerate(told)]


# --------------------------------------------------------------------------------------------------------------------
# Relations


def _relations(
    paths: dict[str, np.ndarray], sizes: dict[str, float], hands: dict[str, HandFacts], settings: DescribeSettings
) -> tuple[Relation, ...]:
    """Where the object that a hand touches is relative to it, at the start and at the end; whether the hands approach."""
    out = []
    for side, hand in hands.items():
        thing = f"object {hand.object}"
        if hand.object is None or thing not in paths:
            continue
        both = np.isfinite(paths[side]).all(1) & np.isfinite(paths[thing]).all(1)
        if not both.any():
            continue
        offset = paths[thing][both] - paths[side][both]
        span = max(1, len(offset) // 8)
        start, end = (_where(part.mean(0), settings.apart * sizes[side]) for part in (offset[:span], offset[-span:]))
        if start is not None and start == end:
            out.append(Relation(thing, start, f"{side} hand", "throughout"))
        else:
            out += [Relation(thing, place, f"{side} hand", when) for place, when in ((start, "start"), (end, "end")) if place]
    if set(SIDES) <= set(hands):
        both = np.isfinite(paths["left"]).all(1) & np.isfinite(paths["right"]).all(1)
        if both.sum() >= 2:
            distance = np.linalg.norm(paths["left"] - paths["right"], axis=1)[both]
            span, size = max(1, len(distance) // 8), (sizes["left"] + sizes["right"]) / 2
            first, last = float(distance[:span].mean()), float(distance[-span:].mean())
            if abs(last - first) > max(settings.nearer * max(first, last), settings.apart * size):
                word = "approaches" if last < first else "moves away from"
                leading, other = list(hands)[:2]
                out.append(Relation(f"{leading} hand", word, f"{other} hand", "throughout"))
    return tuple(out)


def _where(offset: np.ndarray, least: float) -> str | None:
    """One of "left of", "right of", "above" and "below", None for about the same place."""
    x, y = offset.tolist()
    if max(abs(x), abs(y)) < least:
        return None
    if abs(x) >= abs(y):
        return "right of" if x > 0 else "left of"
    return "below" if y > 0 else "above"

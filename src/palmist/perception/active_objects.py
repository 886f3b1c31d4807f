"""The thing that each hand carries, found without weights: what moves as the palm moves and not as the background does.

Any HandTracker gives the hands. Whenever a hand has moved far enough against the background, every pixel near it is asked
which of two motions explains it better: the palm's own (a similarity, from its joints) or the background's (camera motion).
Pixel by pixel the answers add up in a map that moves along with the palm. What is clearly the palm's, is not hand or forearm,
and comes near fingers or knuckles, is the thing.

What follows from that, for better or worse:
- Colour, kind and training play no part; a thing is found only once it has been moved, after a few steps of the hand.
- A thing held at rest stays held, for about `memory` seconds; a thing let go is lost once the hand moves away from it.
- Contact is "portable object" or "none". Touching something that stands still looks the same as passing before it, and a hand
  on a body or another person's hand like one that holds: states 1, 2 and 4 of CONTACTS are never given.
- What the hand's outline covers is not found: a small ball, a pen in the fist. A thing that shows only on one side of the hand
  gets a box of what shows, and the hand's part of it is missing.
- Plain things before plain backgrounds look alike under both motions and are missed; so is what turns out of the picture.
- Sleeves, watches and a forearm that is bent far at the wrist move with the palm too and may be taken for a thing.
- Two hands on one thing give one object where their boxes mostly agree.

Letters: H rows, W columns of the working picture. Pixels: x right, y down.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np

from palmist.errors import InputError
from palmist.perception.background_motion import background_motion
from palmist.perception.detection import HandDetection, HandTracker, check_frame
from palmist.perception.hand_shape import forearm_mask, hand_box, hand_mask, palm_length, palm_motion, tip_mask
from palmist.perception.objects import HandBox, HandObjects, ObjectBox

__all__ = ["MotionHandObjects", "MotionSettings"]

_PORTABLE = 3  # place in CONTACTS


@dataclass(frozen=True)
class MotionSettings:
    """What may be tuned.

    long_side: of the picture that is worked on, pixels (larger frames are scaled down).
    step: how far, in palm lengths, a hand moves against the background before its motion is looked at; at least 2.5 pixels.
    slack: share of that way by which a motion may be wrong at a pixel.
    contrast: grey levels by which one motion must explain a pixel better to count fully.
    sure: evidence from which a pixel is the palm's; one step gives at most 1. Beside such pixels a third of it will do.
    most: where evidence stops growing.
    margin: around the hand's flesh, in palm lengths, where nothing is believed. reach: how near fingers the thing must come.
    least_area: of the thing's visible part, in square palm lengths; half of that is enough to keep it.
    memory: seconds in which evidence falls to 1 / e without motion. longest_miss: seconds that a lost hand is waited for.
    """

    long_side: int = 320
    step: float = 0.08
    slack: float = 0.2
    contrast: float = 12.0
    sure: float = 1.2
    most: float = 5.0
    margin: float = 0.08
    reach: float = 0.55
    least_area: float = 0.08
    memory: float = 10.0
    longest_miss: float = 0.5


class _Track:
    """One hand over time: its last joints (21, 2) working pixels, the evidence map (H, W) as of them, and the key frame that
    the next step is measured from."""

    def __init__(self, time: float, side: int, points: np.ndarray, picture: np.ndarray) -> None:
        self.side, self.time, self.points = side, time, points
        self.evidence: np.ndarray = np.zeros(picture.shape[:2], np.float32)
        self.key_picture, self.key_points = picture, points
        self.camera = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])  # from the key frame to the last one
        self.steps = 0
        self.holds = False


class MotionHandObjects:
    """Hands by a tracker, and the thing that each of them carries by motion: a HandObjectDetector, one per video.

    Args:
        tracker: finds hands in a frame, for example MediaPipeHands().
        settings: see MotionSettings.

    >>> detector = MotionHandObjects(MediaPipeHands())
    >>> for image, time in Video("cups.mp4"):
    ...     found = detector.detect(time, image)
    """

    def __init__(self, tracker: HandTracker, settings: MotionSettings | None = None) -> None:
        self._tracker, self._settings = tracker, settings or MotionSettings()
        self._tracks: list[_Track] = []
        self._size: tuple[int, int] | None = None  # width, height
        self._time = -float("inf")
        self._before: tuple[np.ndarray, np.ndarray] | None = None  # grey (H, W), background (H, W) of the last frame

    def detect(self, time: float, frame: np.ndarray) -> HandObjects:
        """The hands and carried things of one frame, in its own pixels; frame (height, width, 3) uint8 RGB.

        Raises InputError for a frame of another size than the first one, or a time that does not increase.
        """
        height, width = check_frame(frame).shape[:2]
        if self._size not in (None, (width, height)):
            raise InputError(f"a frame is {width} x {height} after frames of {self._size}; expected one size")
        if not time > self._time:
            raise InputError(f"a frame at {time} s follows one at {self._time} s; expected times that increase")
        self._size, self._time = (width, height), time
        hands = [hand for hand in self._tracker.detect(time, frame) if np.isfinite(hand.image[:, :2]).all()]
        scale = min(1.0, self._settings.long_side / max(width, height))
        small = frame if scale == 1 else cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        picture = cv2.GaussianBlur(small, (0, 0), 0.8).astype(np.float32)  # (H, W, 3)
        # Pixel numbers: the centre of the first pixel is (0, 0).
        places = [hand.image[:, :2].astype(np.float64) * (picture.shape[1], picture.shape[0]) - 0.5 for hand in hands]
        self._move_camera(small, places)
        tracks = self._follow(time, hands, places, picture)
        found = self._things(tracks, places, picture.shape[:2])
        return self._answer(hands, found, np.array([width / picture.shape[1], height / picture.shape[0]]))

    def describe(self) -> Mapping[str, Any]:
        return {"detector": "hands, and things by motion", **self._tracker.describe(), **asdict(self._settings)}

    def close(self) -> None:
        """Close the tracker, if it can be closed."""
        close = getattr(self._tracker, "close", None)
        if close is not None:
            close()

    def _move_camera(self, small: np.ndarray, places: Sequence[np.ndarray]) -> None:
        """Take the camera's motion since the last frame into every track."""
        grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
        background = np.ones(grey.shape, bool)
        for points in places:
            background &= ~(hand_mask(points, grey.shape, 0.3) | forearm_mask(points, grey.shape))
        if self._before is not None:
            motion = background_motion(self._before[0], grey, self._before[1])
            for track in self._tracks:
                track.camera = _after(motion, track.camera)
        self._before = (grey, background)

    def _follow(
        self, time: float, hands: Sequence[HandDetection], places: Sequence[np.ndarray], picture: np.ndarray
    ) -> list[_Track]:
        """The track of each hand, with this frame's evidence."""
        settings = self._settings
        self._tracks = [track for track in self._tracks if time - track.time <= settings.longest_miss]
        chosen: list[_Track | None] = [None] * len(hands)
        pairs = sorted(
            (_distance(track, hand.side, points), i, j)
            for i, track in enumerate(self._tracks)
            for j, (hand, points) in enumerate(zip(hands, places, strict=True))
        )
        taken: set[int] = set()
        for distance, i, j in pairs:
            if distance < 4 and i not in taken and chosen[j] is None:
                chosen[j] = self._tracks[i]
                taken.add(i)
        tracks = []
        for hand, points, old in zip(hands, places, chosen, strict=True):
            track = old
            if track is None:
                track = _Track(time, hand.side, points, picture)
                self._tracks.append(track)
            else:
                self._weigh(track, time, points, picture)
                track.side = hand.side
            tracks.append(track)
        return tracks

    def _weigh(self, track: _Track, time: float, points: np.ndarray, picture: np.ndarray) -> None:
        """Carry the evidence along with the palm and, after a step, add what the two pictures say."""
        settings = self._settings
        size = picture.shape[1], picture.shape[0]
        moved = palm_motion(track.points, points)
        track.evidence = cv2.warpAffine(track.evidence, moved, size, flags=cv2.INTER_LINEAR)
        track.evidence *= float(np.exp(-(time - track.time) / settings.memory))
        track.time, track.points = time, points
        palm = palm_motion(track.key_points, points)
        step = float(np.linalg.norm(_applied(palm, track.key_points) - _applied(track.camera, track.key_points), axis=1).mean())
        if step < max(2.5, settings.step * palm_length(points)):
            return
        slack = float(np.clip(settings.slack * step, 0.5, 5.0))
        still = _misfit(track.key_picture, picture, track.camera, slack)
        # A palm that tips looks shorter, and what it holds does not shrink with it: both are tried.
        stiff = palm_motion(track.key_points, points, resize=False)
        carried = np.minimum(*(_misfit(track.key_picture, picture, motion, slack) for motion in (palm, stiff)))
        answer = np.clip((still - carried) / settings.contrast, -1, 1) * _apart(palm, track.camera, picture.shape[:2])
        # Background that the hand has just uncovered fits no motion of the background; on plain walls it fits the palm's.
        flesh = hand_mask(track.key_points, picture.shape[:2], settings.margin).astype(np.uint8)
        uncovered = cv2.warpAffine(flesh, track.camera, size, flags=cv2.INTER_NEAREST) > 0
        answer[uncovered] = np.minimum(answer[uncovered], 0)
        track.evidence = np.clip(track.evidence + answer, -1, settings.most)
        track.key_picture, track.key_points = picture, points
        track.camera = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
        track.steps += 1

    def _things(
        self, tracks: Sequence[_Track], places: Sequence[np.ndarray], shape: tuple[int, int]
    ) -> list[tuple[np.ndarray, float] | None]:
        """Box (working pixels) and score of what each hand carries, None for nothing."""
        settings = self._settings
        hidden = np.zeros(shape, bool)
        for points in places:
            hidden |= hand_mask(points, shape, settings.margin) | forearm_mask(points, shape)
        found: list[tuple[np.ndarray, float] | None] = []
        for track in tracks:
            thing = None
            if track.steps >= 2:
                least = settings.least_area * palm_length(track.points) ** 2 * (0.5 if track.holds else 1.0)
                thing = _carried(track.evidence, settings.sure, hidden, tip_mask(track.points, shape, settings.reach), least)
            track.holds = thing is not None
            found.append(thing)
        return found

    def _answer(
        self, hands: Sequence[HandDetection], things: Sequence[tuple[np.ndarray, float] | None], zoom: np.ndarray
    ) -> HandObjects:
        """Boxes in the frame's own pixels; what two hands hold is one object where the boxes mostly agree."""
        assert self._size is not None
        objects: list[ObjectBox] = []
        boxes = []
        for hand, thing in zip(hands, things, strict=True):
            points = hand.image[:, :2].astype(np.float64) * self._size
            number = None
            if thing is not None:
                box = np.minimum(thing[0] * np.tile(zoom, 2), np.tile(self._size, 2).astype(np.float64))
                same = [n for n, other in enumerate(objects) if _overlap(other.box, box) > 0.5]
                if same:
                    number = same[0]
                else:
                    number = len(objects)
                    objects.append(ObjectBox(box, thing[1]))
            contact = 0 if number is None else _PORTABLE
            boxes.append(HandBox(hand_box(points, *self._size), float(hand.score), hand.side, contact, number, points))
        return HandObjects(tuple(boxes), tuple(objects))


def _carried(
    evidence: np.ndarray, sure: float, hidden: np.ndarray, near: np.ndarray, least: float
) -> tuple[np.ndarray, float] | None:
    """Box and score of the patches of evidence (H, W) that are not hidden and come near the fingers."""
    mask = ((evidence > sure / 3) & ~hidden).astype(np.uint8)
    mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    count, labels, _, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    clear = np.bincount(labels[evidence > sure], minlength=count)  # pixels of each patch that are surely the palm's
    touching = np.zeros(count, bool)
    touching[np.unique(labels[near & (evidence > sure)])] = True
    touching[0] = False
    touching &= clear >= least / 3
    if clear[touching].sum() < least:
        return None
    thing = touching[labels]
    rows, columns = np.flatnonzero(thing.any(1)), np.flatnonzero(thing.any(0))
    box = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float64)
    return box, float(1 - np.exp(-evidence[thing].mean() / sure))


def _misfit(before: np.ndarray, after: np.ndarray, motion: np.ndarray, slack: float) -> np.ndarray:
    """(H, W) float32 grey levels by which `after` differs from `before` (H, W, 3) moved by `motion`, as the mean over a small
    window. A pixel to every side is forgiven, and `slack` pixels of dense flow (DIS): joints are not exact, palms turn."""
    height, width = after.shape[:2]
    moved = cv2.warpAffine(before, motion, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    if slack > 1:
        new, old = (cv2.cvtColor(np.clip(image, 0, 255).astype(np.uint8), cv2.COLOR_RGB2GRAY) for image in (after, moved))
        flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST).calc(new, old, np.zeros((height, width, 2), np.float32))
        flow *= np.minimum(1, slack / np.maximum(np.linalg.norm(flow, axis=-1), 1e-6))[..., None]
        columns, rows = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
        moved = cv2.remap(moved, columns + flow[..., 0], rows + flow[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    window = np.ones((3, 3), np.uint8)
    off = np.maximum(after - cv2.dilate(moved, window), cv2.erode(moved, window) - after)
    return np.minimum(cv2.blur(np.maximum(off, 0).mean(2), (5, 5)), 40.0)


def _apart(one: np.ndarray, two: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """(H, W) float32, 0 to 1: whether two motions (2, 3) bring a pixel from places that are clearly apart."""
    back = [cv2.invertAffineTransform(motion) for motion in (one, two)]
    columns, rows = np.meshgrid(np.arange(shape[1]), np.arange(shape[0]))
    grid = np.stack([columns, rows, np.ones_like(columns)], -1).astype(np.float64)  # (H, W, 3)
    distance = np.linalg.norm(grid @ (back[0] - back[1]).T, axis=-1)
    return np.clip((distance - 1.0) / 1.5, 0, 1).astype(np.float32)


def _distance(track: _Track, side: int, points: np.ndarray) -> float:
    """How far a hand is from a track, in palm lengths; the other side counts as further away."""
    apart = float(np.linalg.norm(points.mean(0) - track.points.mean(0)))
    return apart / palm_length(points) + 1.5 * (side != track.side)


def _applied(motion: np.ndarray, points: np.ndarray) -> np.ndarray:
    return points @ motion[:, :2].T + motion[:, 2]


def _after(outer: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """First `inner`, then `outer`, both (2, 3)."""
    return np.concatenate([outer[:, :2] @ inner[:, :2], outer[:, :2] @ inner[:, 2:] + outer[:, 2:]], 1)


def _overlap(one: np.ndarray, two: np.ndarray) -> float:
    """Intersection over union of two boxes (4,)."""
    low, high = np.maximum(one[:2], two[:2]), np.minimum(one[2:], two[2:])
    common = float(np.prod(np.maximum(high - low, 0)))
    whole = float(np.prod(one[2:] - one[:2]) + np.prod(two[2:] - two[:2])) - common
    return common / whole if whole > 0 else 0.0

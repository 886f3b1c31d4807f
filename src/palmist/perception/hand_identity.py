"""Which detection is which hand: stable identities and sides for both hands, frame by frame.

Detections are joined into tracks by predicted place and shape; each track gathers votes for its side; after `delay`
seconds, when the votes of the frames ahead are in, a frame is given out with at most one left and one right hand.
One person is assumed: of two tracks that both claim to be the right hand, the less certain one is the left hand.
Frames are given out once and never changed, so a stream and a whole file get the same answer.

Letters: N detections, M tracks, J = 21 joints. Lengths are in image heights, or in hand sizes where said.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from palmist.perception.detection import HandDetection
from palmist.skeleton import PALM

#: Seconds of look-ahead before a frame is given out.
DELAY = 0.5
_LONGEST_MISS = 0.5  # seconds after which a hand that is not seen becomes a new track
_COAST = 0.15  # seconds that a hand that is not seen keeps its velocity
_GATE, _GATE_SPEED, _GATE_LIMIT = 1.0, 25.0, 3.0  # hand sizes, hand sizes per second (3 m/s), hand sizes
_OTHER_SIDE_GATE = 0.4  # share of the gate for a detection whose side is surely not the track's
_SHAPE_WEIGHT, _SIDE_WEIGHT = 0.7, 0.6
_SAME_HAND = 1.0  # hand sizes of mean joint distance below which two detections may be one hand
_TWO_HANDS = 0.8  # ... unless two tracks both expect a hand this near
_VOTE_MEMORY = 3.0  # seconds
_LONGEST_VOTE = 0.1  # seconds that one detection's vote counts at most
_STICKY = 0.5  # seconds of votes that it takes to change a side that was given out
_RETURN_VOTE, _RETURN_MEMORY, _RETURN_REACH = 0.7, 2.0, 1.5  # seconds, seconds, hand sizes
_SEEN_VOTE = 2 * (_VOTE_MEMORY + _RETURN_VOTE + _STICKY)  # more than any vote: a track goes to a side if one is free


class _Track:
    """One hand followed through the frames, before it is known which."""

    def __init__(self, time: float, points: np.ndarray, vote: float) -> None:
        self.first = self.last = time
        self.points, self.velocity = points, np.zeros(2)
        self.size = hand_size(points)
        self.vote = vote * _LONGEST_VOTE  # > 0: right
        self.seen = 1
        self.missed_after_first = self.welcomed = False
        self.side: int | None = None

    def expected(self, time: float) -> np.ndarray:
        """(21, 2) where the joints should be at `time`."""
        return self.points + self.velocity * min(time - self.last, _COAST)

    def add(self, time: float, points: np.ndarray, vote: float) -> None:
        step = time - self.last
        velocity = (points[list(PALM)].mean(0) - self.points[list(PALM)].mean(0)) / step
        self.velocity = velocity if self.seen == 1 else 0.5 * (self.velocity + velocity)
        self.points, self.last = points, time
        self.size = max(hand_size(points), 0.9 * self.size)  # a hand seen edge-on is no smaller hand
        self.vote = self.vote * math.exp(-step / _VOTE_MEMORY) + vote * min(step, _LONGEST_VOTE)
        self.seen += 1


@dataclass(frozen=True)
class _Waiting:
    """A frame that is not given out yet: its time, and its detections with their tracks."""

    time: float
    found: list[tuple[_Track, HandDetection]]


class HandIdentity:
    """Give every detection its hand.

    `push` takes the detections of the next frame and returns the frames that are decided by now, as
    (time, (left, right)), oldest first; `finish` returns the rest. Each of left and right is a HandDetection of that
    frame or None: nothing is ever filled in.

    Args:
        aspect: image width / height.
        delay: seconds of look-ahead; 0 gives each frame out at once and decides sides by what was seen so far.
    """

    def __init__(self, aspect: float, delay: float = DELAY) -> None:
        self._stretch = np.array([aspect, 1.0])
        self._delay = delay
        self._tracks: list[_Track] = []
        self._waiting: deque[_Waiting] = deque()
        self._last_seen: dict[int, tuple[float, np.ndarray]] = {}  # side: time and palm centre

    def push(self, time: float, detections: Sequence[HandDetection]) -> list[tuple[float, tuple[HandDetection | None, ...]]]:
        self._tracks = [track for track in self._tracks if time - track.last <= max(_LONGEST_MISS, self._delay)]
        self._waiting.append(_Waiting(time, self._join(time, detections)))
        out = []
        while self._waiting and self._waiting[0].time <= time - self._delay + 1e-9:
            out.append(self._decide(self._waiting.popleft()))
        return out

    def finish(self) -> list[tuple[float, tuple[HandDetection | None, ...]]]:
        out = [self._decide(frame) for frame in self._waiting]
        self._waiting.clear()
        return out

    # ----------------------------------------------------------------------------------------------------------------
    # Tracks

    def _join(self, time: float, detections: Sequence[HandDetection]) -> list[tuple[_Track, HandDetection]]:
        detections = [hand for hand in detections if np.isfinite(hand.image[:, :2]).all()]
        points = [hand.image[:, :2] * self._stretch for hand in detections]
        votes = [vote(hand) for hand in detections]
        place, cost = self._costs(time, points, votes)  # (M, N) each
        kept = self._without_duplicates(points, detections, place, cost)
        found: list[tuple[_Track, HandDetection]] = []
        taken: set[int] = set()
        matched: set[_Track] = set()
        if self._tracks and kept:
            rows, columns = linear_sum_assignment(np.minimum(cost[:, kept], 1e3))
            for row, column in zip(rows.tolist(), (kept[c] for c in columns.tolist()), strict=True):
                if cost[row, column] < 1e3:
                    track = self._tracks[row]
                    track.add(time, points[column], votes[column])
                    found.append((track, detections[column]))
                    taken.add(column)
                    matched.add(track)
        for track in self._tracks:
            track.missed_after_first |= track.seen == 1 and track not in matched
        for column in kept:
            if column not in taken:
                track = _Track(time, points[column], votes[column])
                self._tracks.append(track)
                found.append((track, detections[column]))
        return found

    def _costs(self, time: float, points: list[np.ndarray], votes: list[float]) -> tuple[np.ndarray, np.ndarray]:
        """(M, N) distance of the palms in hand sizes, and (M, N) cost of joining; impossible joins cost 1e6."""
        place = np.full((len(self._tracks), len(points)), 1e6)
        cost = place.copy()
        for i, track in enumerate(self._tracks):
            if time - track.last > _LONGEST_MISS:
                continue
            expected = track.expected(time)
            centre = expected[list(PALM)].mean(0)
            gate = min(_GATE + _GATE_SPEED * (time - track.last), _GATE_LIMIT)
            belief = math.tanh(3 * track.vote)
            for j, hand in enumerate(points):
                hand_centre = hand[list(PALM)].mean(0)
                disagreement = 0.5 * (1 - belief * votes[j])
                place[i, j] = np.linalg.norm(hand_centre - centre) / track.size
                if place[i, j] <= gate * (1 - (1 - _OTHER_SIDE_GATE) * disagreement):
                    shape = np.linalg.norm((hand - hand_centre) - (expected - centre), axis=1).mean() / track.size
                    cost[i, j] = place[i, j] + _SHAPE_WEIGHT * shape + _SIDE_WEIGHT * disagreement
        return place, cost

    @staticmethod
    def _without_duplicates(
        points: list[np.ndarray], detections: Sequence[HandDetection], place: np.ndarray, cost: np.ndarray
    ) -> list[int]:
        """The detections that are hands of their own; trackers often find one hand twice."""
        kept = list(range(len(points)))
        for i, j in itertools.combinations(range(len(points)), 2):
            if i not in kept or j not in kept:
                continue
            size = max(hand_size(points[i]), hand_size(points[j]))
            if np.linalg.norm(points[i] - points[j], axis=1).mean() >= _SAME_HAND * size:
                continue
            pairs = itertools.permutations(range(len(place)), 2)
            if any(place[a, i] < _TWO_HANDS and place[b, j] < _TWO_HANDS for a, b in pairs):
                continue  # hands that cross
            best = (min(cost[:, n].min(initial=1e6), 1e6) - detections[n].score for n in (i, j))
            first, second = best
            kept.remove(j if first <= second else i)
        return kept

    # ----------------------------------------------------------------------------------------------------------------
    # Sides

    def _decide(self, frame: _Waiting) -> tuple[float, tuple[HandDetection | None, ...]]:
        here = [(track, hand) for track, hand in frame.found if not (track.seen == 1 and track.missed_after_first)]
        for track, hand in here:
            if not track.welcomed:
                track.welcomed = True
                track.vote += self._vote_of_return(frame.time, track, hand)
        present = [track for track, _ in here]
        # A hand that is missed in this frame only still holds its side.
        held = [t for t in self._tracks if t not in present and t.side is not None and t.first <= frame.time <= t.last]
        best = max(self._assignments(present + held), key=self._worth)
        chosen: list[HandDetection | None] = [None, None]
        for side, owner in enumerate(best):
            for track, hand in here:
                if track is owner:
                    track.side = side
                    chosen[side] = hand
                    self._last_seen[side] = (frame.time, (hand.image[:, :2] * self._stretch)[list(PALM)].mean(0))
        return frame.time, tuple(chosen)

    @staticmethod
    def _assignments(tracks: list[_Track]) -> list[tuple[_Track | None, _Track | None]]:
        """Every way of giving the two sides to different tracks, or to none."""
        options: list[_Track | None] = [None, *tracks]
        return [(left, right) for left in options for right in options if left is None or left is not right]

    @staticmethod
    def _worth(pair: tuple[_Track | None, _Track | None]) -> float:
        worth = 0.0
        for side, track in enumerate(pair):
            if track is not None:
                worth += _SEEN_VOTE + (track.vote if side else -track.vote) + _STICKY * (track.side == side)
        return worth

    def _vote_of_return(self, time: float, track: _Track, hand: HandDetection) -> float:
        """A hand that comes up where one was lost is probably that one: a vote, > 0 for right."""
        centre = (hand.image[:, :2] * self._stretch)[list(PALM)].mean(0)
        near = [0.0, 0.0]
        for side, (when, where) in self._last_seen.items():
            distance = float(np.linalg.norm(centre - where)) / (_RETURN_REACH * track.size)
            near[side] = math.exp(-distance - (time - when) / _RETURN_MEMORY)
        return _RETURN_VOTE * (near[1] - near[0])


def vote(hand: HandDetection) -> float:
    """-1 (surely left) to 1 (surely right)."""
    certainty = max(2 * hand.score - 1, 0.05)  # a score of 0.5 still breaks a tie
    return certainty if hand.side else -certainty


def hand_size(points: np.ndarray) -> float:
    """Length of the palm of (21, 2) points, which turning out of the image plane shortens least."""
    index, middle, little, wrist = points[5], points[9], points[17], points[0]
    spans = (middle - wrist, index - wrist, little - wrist, 1.3 * (index - little))
    return max(1e-6, *(math.hypot(*span) for span in spans))

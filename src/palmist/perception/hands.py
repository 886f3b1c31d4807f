"""Hands from pixels: frames and a tracker in, a Recording with stable sides out; whole videos and streams alike.

A tracker (`HandTracker`) finds hands in single frames. `HandStream` gives every detection its hand (hand_identity.py)
and is what `track_hands` runs over a whole video, so that frame by frame gives the same as the whole file.

Letters: T frames, H = 2 hands (0 left, 1 right), J = 21 joints.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from palmist.errors import InputError
from palmist.perception.detection import BodyDetection, BodyTracker, HandDetection, HandTracker, check_frame
from palmist.perception.hand_camera import FOCAL_NOTE, assumed_focal, camera_joints
from palmist.perception.hand_detections_file import DetectedHands, read_hand_detections
from palmist.perception.hand_identity import DELAY, HandIdentity
from palmist.perception.mediapipe_tasks import MediaPipeBody, MediaPipeHands
from palmist.recording import Body, Recording
from palmist.skeleton import BODY_LAYOUTS
from palmist.track_faults import swap_edges

__all__ = [
    "BodyDetection", "BodyTracker", "DetectedHands", "HandDetection", "HandFrame", "HandStream", "HandTracker",
    "MediaPipeBody", "MediaPipeHands", "assign_hands", "hand_recording", "identity_swaps", "metric_recording",
    "read_hand_detections", "track_hands",
]  # fmt: skip


@dataclass(frozen=True, eq=False)
class HandFrame:
    """The hands of one frame, decided: time in seconds, hands (left, right), each a detection or None, and the body."""

    time: float
    hands: tuple[HandDetection | None, ...]
    body: BodyDetection | None = None


class HandStream:
    """Hands frame by frame.

    Args:
        tracker: finds hands in a frame.
        body: finds the body, or None.
        delay: seconds that a frame waits for the next ones before its sides are decided; 0: at once, with more errors.

    >>> stream = HandStream(MediaPipeHands())
    >>> for time, frame in frames:
    ...     for hands in stream.push(time, frame):
    ...         print(hands.time, hands.hands)
    >>> rest = stream.finish()
    """

    def __init__(self, tracker: HandTracker, body: BodyTracker | None = None, delay: float = DELAY) -> None:
        if not 0 <= delay < float("inf"):
            raise InputError(f"delay is {delay}; expected seconds, 0 or more")
        self._tracker, self._body, self._delay = tracker, body, delay
        self._identity: HandIdentity | None = None
        self._bodies: deque[BodyDetection | None] = deque()
        self._time = -float("inf")
        self.size: tuple[int, int] | None = None  # width, height

    def push(self, time: float, frame: np.ndarray) -> list[HandFrame]:
        """The next frame, (H, W, 3) uint8 RGB at `time` seconds; returns the frames that are decided by now, in order.

        Raises:
            InputError: a frame of another shape than the first one, or a time that does not increase.
        """
        height, width = check_frame(frame).shape[:2]
        if self._identity is None:
            self.size = (width, height)
            self._identity = HandIdentity(width / height, self._delay)
        if (width, height) != self.size:
            raise InputError(f"a frame is {width} x {height} after frames of {self.size}; expected one size")
        if not time > self._time:
            raise InputError(f"a frame at {time} s follows one at {self._time} s; expected times that increase")
        self._time = time
        self._bodies.append(None if self._body is None else self._body.detect(time, frame))
        return self._frames(self._identity.push(time, self._tracker.detect(time, frame)))

    def finish(self) -> list[HandFrame]:
        """The frames that still wait for their sides."""
        return [] if self._identity is None else self._frames(self._identity.finish())

    def _frames(self, decided: list[tuple[float, tuple[HandDetection | None, ...]]]) -> list[HandFrame]:
        return [HandFrame(time, hands, self._bodies.popleft()) for time, hands in decided]

    def facts(self) -> dict[str, Any]:
        """Provenance: trackers, image size, how sides were decided."""
        facts = {**self._tracker.describe(), "image_size": self.size, "side_delay_seconds": self._delay}
        if self._body is not None:
            facts["body_tracker"] = dict(self._body.describe())
        return facts


def track_hands(
    frames: Iterable[tuple[float, np.ndarray]],
    tracker: HandTracker,
    *,
    body: BodyTracker | None = None,
    delay: float = DELAY,
    space: str = "image",
    focal: float | None = None,
    name: str = "video",
    source: str | None = None,
) -> Recording:
    """Both hands of a video, with stable identities and sides.

    Args:
        frames: (time in seconds, (H, W, 3) uint8 RGB), times increasing; taken one by one, so a generator will do.
        tracker: finds hands in a frame, for example MediaPipeHands().
        body: also tracks the upper body; space "image" only.
        delay: seconds of look-ahead for the sides.
        space: "image": x, y as fractions of the image, z relative to the wrist, smaller nearer. "metric": metres in the
            camera's frame, see `metric_recording`, with focal in pixels (None: assumed).
        name, source: of the recording.

    Returns:
        A Recording with one entry per frame; a hand that was not found is not valid, nothing is filled in.

    Raises:
        InputError: no frame, frames of different shapes, times that do not increase.
    """
    if space not in ("image", "metric"):
        raise InputError(f"space is {space!r}; expected image or metric")
    stream = HandStream(tracker, body, delay)
    decided: list[HandFrame] = []
    for time, frame in frames:
        decided += stream.push(time, frame)
    decided += stream.finish()
    if stream.size is None:
        raise InputError("the video has no frame; expected at least one")
    if space == "metric":
        return metric_recording(decided, stream.size, focal, facts=stream.facts(), name=name, source=source)
    return hand_recording(decided, stream.size, facts=stream.facts(), name=name, source=source)


def assign_hands(found: DetectedHands, delay: float = DELAY) -> list[HandFrame]:
    """Stable identities and sides for detections that another program made (`read_hand_detections`).

    >>> found = read_hand_detections("hamer.npz")
    >>> recording = metric_recording(assign_hands(found), found.size, found.focal, facts=found.facts)
    """
    identity = HandIdentity(found.size[0] / found.size[1], delay)
    decided = [item for time, hands in zip(found.time, found.hands, strict=True) for item in identity.push(float(time), hands)]
    return [HandFrame(time, hands) for time, hands in decided + identity.finish()]


def hand_recording(
    frames: Iterable[HandFrame],
    size: tuple[int, int],
    *,
    facts: Mapping[str, Any] | None = None,
    name: str = "video",
    source: str | None = None,
) -> Recording:
    """Decided frames as a Recording of space "image" (see HandDetection.image); size: (width, height) in pixels.

    `confidence` is the tracker's score, the same for the 21 joints of a hand.
    """
    frames = list(frames)
    joints, score = _gather(frames, lambda hand: hand.image)
    outside = _outside(joints)
    provenance = {**(facts or {}), "joints_outside_image": outside, "camera": "not known: image coordinates only"}
    return _recording(
        frames, joints, score, space="image", frame="image", aspect=size[0] / size[1], body=_body(frames),
        name=name, source=source, provenance=provenance,
    )  # fmt: skip


def metric_recording(
    frames: Iterable[HandFrame],
    size: tuple[int, int],
    focal: float | None = None,
    *,
    facts: Mapping[str, Any] | None = None,
    name: str = "video",
    source: str | None = None,
) -> Recording:
    """Decided frames as a Recording in metres, frame "camera" (x right, y down, z forward).

    Where the tracker gave `translation`, it is used; else the world landmarks are placed by PnP so that they project
    onto the image landmarks of a pinhole camera with its principal point in the middle (hand_camera.py). The depth is as good
    as the focal length and as the hand size that the tracker assumes. Hands that cannot be placed are not valid.

    Args:
        size: (width, height) in pixels. focal: focal length in pixels; None: the longer side of the image.
    """
    frames = list(frames)
    pixels = assumed_focal(size) if focal is None else float(focal)
    if not 0 < pixels < float("inf"):
        raise InputError(f"focal is {focal}; expected the focal length in pixels, a positive number")
    errors: list[float] = []

    def place(hand: HandDetection) -> np.ndarray | None:
        placed = camera_joints(hand, size, pixels)
        if placed is None:
            return None
        errors.append(placed[1])
        return placed[0]

    joints, score = _gather(frames, place)
    note = FOCAL_NOTE if focal is None else "focal length given by the user"
    provenance = {
        **(facts or {}),
        "camera": f"pinhole, {note}, principal point in the middle, no distortion",
        "reprojection_error_pixels": round(float(np.median(errors)), 2) if errors else None,
    }
    return _recording(
        frames, joints, score, space="metric", frame="camera", name=name, source=source, provenance=provenance,
        camera={"intrinsics": (pixels, pixels, size[0] / 2, size[1] / 2), "width": size[0], "height": size[1]},
    )  # fmt: skip


def identity_swaps(recording: Recording) -> np.ndarray:
    """Frame numbers at which left and right trade places: (S,) int64, empty for stable tracks.

    Judged by the way that the hands travel (track_faults.swapped_frames), not by what any tracker said.
    """
    return np.flatnonzero(swap_edges(recording))


# --------------------------------------------------------------------------------------------------------------------
# Arrays


def _gather(frames: list[HandFrame], joints_of: Any) -> tuple[np.ndarray, np.ndarray]:
    """(T, 2, 21, 3) joints, NaN where there is no hand, and (T, 2) scores."""
    joints = np.full((len(frames), 2, 21, 3), np.nan, np.float32)
    score = np.zeros((len(frames), 2), np.float32)
    for t, side, hand in _each_hand(frames):
        points = joints_of(hand)
        if points is not None:
            joints[t, side] = points
            score[t, side] = hand.score
    return joints, score


def _each_hand(frames: list[HandFrame]) -> Iterator[tuple[int, int, HandDetection]]:
    for t, frame in enumerate(frames):
        for side, hand in enumerate(frame.hands):
            if hand is not None:
                yield t, side, hand


def _recording(frames: list[HandFrame], joints: np.ndarray, score: np.ndarray, **fields: Any) -> Recording:
    valid = np.isfinite(joints).all((2, 3))
    confidence = np.repeat(np.where(valid, np.clip(score, 0.01, 1), 0)[:, :, None], 21, axis=2)
    return Recording(
        joints=np.where(valid[:, :, None, None], joints, 0),
        valid=valid,
        time=np.array([frame.time for frame in frames], np.float64),
        confidence=confidence.astype(np.float32),
        **fields,
    )


def _outside(joints: np.ndarray) -> float:
    """Share of found joints that the tracker put outside the image: its guesses."""
    found = joints[np.isfinite(joints).all(-1)]
    return round(float(((found[:, :2] < 0) | (found[:, :2] > 1)).any(-1).mean()), 4) if len(found) else 0.0


def _body(frames: list[HandFrame]) -> Body | None:
    if all(frame.body is None for frame in frames):
        return None
    count = len(BODY_LAYOUTS["mediapipe25"])
    joints = np.zeros((len(frames), count, 3), np.float32)
    valid = np.zeros((len(frames), count), bool)
    for t, frame in enumerate(frames):
        if frame.body is not None:
            joints[t], valid[t] = frame.body.joints, frame.body.visible
    return Body(joints, valid, "mediapipe25")

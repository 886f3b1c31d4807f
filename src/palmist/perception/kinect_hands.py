"""Hands in NTU RGB+D's colour videos: Kinect says where they are and whose, a hand tracker finds their 21 joints.

In a whole 1920 x 1080 frame a hand is some 40 pixels wide and trackers miss it. Kinect's skeleton gives each joint's pixel
in the colour frame: a square around wrist, hand, tip and thumb of each side is cut out, enlarged, given to a tracker of its
own, and what it finds is set back into the frame. Sides are Kinect's; where the tracker calls the side otherwise, the score
falls. What is not found stays missing. Source of the scheme: our choice (BHaRNet's authors have not published theirs).

Letters: M persons, T frames, H = 2 hands (0 left, 1 right), J = 21 joints.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from palmist.errors import InputError
from palmist.perception.detection import HandDetection, HandTracker, check_frame
from palmist.readers.ntu_file import COLOUR_SIZE, KinectFile
from palmist.skeleton_clip import SkeletonClip

__all__ = ["HAND_JOINTS", "KinectHands", "hand_square", "kinect_hands", "with_hands"]

#: wrist, hand, hand tip, thumb of layout "kinect25": left, right.
HAND_JOINTS: tuple[tuple[int, ...], tuple[int, ...]] = ((6, 7, 21, 22), (10, 11, 23, 24))

MARGIN = 3.0  # side of the square in lengths of what Kinect's points span
SMALLEST = 96.0  # pixels, of the square
CROP = 224  # pixels that the square is enlarged to
_FAR = 0.35  # squares: a found wrist further than this from Kinect's is another hand
_LEAST = 0.01  # score of a hand that was found, whatever its side was taken for
_SLACK = 2  # frames that video and skeleton may differ by
_SAME = 0.5  # hand sizes: two sides' hands closer than this are one hand


@dataclass(frozen=True, eq=False)
class KinectHands:
    """What was found in one video.

    image: (M, 2, T, 21, 3) float32, x and y as fractions of the frame's width and height, z relative to the wrist in
    frame widths, smaller = nearer; 0 where nothing was found. valid: (M, 2, T) bool. score: (M, 2, T) float32 in 0..1, 0
    where missing; below 0.5 the tracker took it for the other side. size: (width, height). facts: of the tracker.
    """

    image: np.ndarray
    valid: np.ndarray
    score: np.ndarray
    size: tuple[int, int]
    facts: Mapping[str, Any]


def kinect_hands(
    frames: Iterable[tuple[float, np.ndarray]],
    skeleton: KinectFile,
    make_tracker: Callable[[], HandTracker],
    crop: int = CROP,
) -> KinectHands:
    """Both hands of every body that Kinect followed, frame by frame.

    Args:
        frames: (time in seconds, (H, W, 3) uint8 RGB) of the colour video, one per skeleton frame (two more or fewer at
            the end are put up with), taken one by one.
        skeleton: of the same sample (readers.ntu_file.read_skeleton_file); its pixels are of a 1920 x 1080 frame and
            are scaled to the frames' own size.
        make_tracker: makes a hand tracker, for example MediaPipeHands; one is made per person and side, because a tracker
            follows what it sees from frame to frame; trackers that can be closed are closed at the end.
        crop: pixels of the enlarged square.

    Raises:
        InputError: frames of different shapes, or fewer or more frames than the skeleton has.

    >>> found = kinect_hands(video_frames, read_skeleton_file(path), MediaPipeHands)
    >>> clip = with_hands(read_ntu_clip(path, coordinates="colour"), found)
    """
    persons, count = skeleton.seen.shape
    image = np.zeros((persons, 2, count, 21, 3), np.float32)
    score = np.zeros((persons, 2, count), np.float32)
    trackers: dict[tuple[int, int], HandTracker] = {}
    size: tuple[int, int] | None = None
    seen = 0
    try:
        for number, (time, frame) in enumerate(frames):
            height, width = check_frame(frame).shape[:2]
            size = (width, height) if size is None else size
            if (width, height) != size:
                raise InputError(
                    f"frame {number} is {width} x {height} after frames of {size[0]} x {size[1]}; expected one size"
                )
            if number >= count + _SLACK:
                raise InputError(f"the video has more frames than its skeleton ({count}); expected the same sample's files")
            if number >= count:
                continue
            seen += 1
            pixels = skeleton.colour[:, number] * (width / COLOUR_SIZE[0], height / COLOUR_SIZE[1])
            for person in np.flatnonzero(skeleton.seen[:, number]):
                for side in range(2):
                    square = hand_square(pixels[person], side, width / COLOUR_SIZE[0])
                    if square is None:
                        continue
                    key = (int(person), side)
                    if key not in trackers:
                        trackers[key] = make_tracker()
                    found = trackers[key].detect(time, _cut(frame, square, crop))
                    wrist = pixels[person, HAND_JOINTS[side][0]]
                    best = _nearest(found, square, wrist)
                    if best is not None:
                        image[person, side, number] = _into_frame(best.image, square, size)
                        score[person, side, number] = max(best.score if best.side == side else 1 - best.score, _LEAST)
            _drop_doubles(image[:, :, number], score[:, :, number], pixels, size)
        facts = dict(next(iter(trackers.values())).describe()) if trackers else {}
    finally:
        for tracker in trackers.values():
            getattr(tracker, "close", lambda: None)()
    if size is None or seen < count - _SLACK:
        raise InputError(f"the video has {seen} frames and its skeleton {count}; expected as many; the video may be cut off")
    valid = score > 0
    return KinectHands(np.where(valid[..., None, None], image, np.float32(0)), valid, score, size, facts)


def hand_square(pixels: np.ndarray, side: int, scale: float = 1.0) -> tuple[float, float, float] | None:
    """(left, top, length) in pixels of the square around one hand, or None where Kinect has no pixel of it.

    pixels: (25, 2) of one body; side 0 left, 1 right; scale: frame width / 1920, for the smallest square.
    """
    points = pixels[list(HAND_JOINTS[side])]
    known = np.isfinite(points).all(-1) & (points != 0).any(-1)
    if not known[:2].any():  # neither wrist nor hand
        return None
    points = points[known]
    low, high = points.min(0), points.max(0)
    length = max(MARGIN * float((high - low).max()), SMALLEST * scale)
    centre = (low + high) / 2
    return float(centre[0] - length / 2), float(centre[1] - length / 2), length


def _cut(frame: np.ndarray, square: tuple[float, float, float], crop: int) -> np.ndarray:
    """The square of the frame as (crop, crop, 3); what lies outside the frame repeats its edge."""
    left, top, length = square
    factor = crop / length
    # Pixel centres: crop x of frame x is (x + 0.5 - left) * factor - 0.5.
    shift = ((0.5 - left) * factor - 0.5, (0.5 - top) * factor - 0.5)
    matrix = np.array([[factor, 0.0, shift[0]], [0.0, factor, shift[1]]])
    return cv2.warpAffine(frame, matrix, (crop, crop), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _nearest(found: Sequence[HandDetection], square: tuple[float, float, float], wrist: np.ndarray) -> HandDetection | None:
    """The detection whose wrist is nearest to Kinect's (or to the middle), if it is near."""
    target = (wrist - square[:2]) / square[2]
    if not (np.isfinite(target).all() and wrist.any()):
        target = np.array([0.5, 0.5])
    apart = [float(np.linalg.norm(hand.image[0, :2] - target)) for hand in found]
    place = int(np.argmin(apart)) if apart else 0
    return found[place] if apart and apart[place] <= _FAR else None


def _into_frame(points: np.ndarray, square: tuple[float, float, float], size: tuple[int, int]) -> np.ndarray:
    """(21, 3) in fractions of the square -> in fractions of the frame; depth in frame widths."""
    left, top, length = square
    x, y = (left + points[:, 0] * length) / size[0], (top + points[:, 1] * length) / size[1]
    return np.stack([x, y, points[:, 2] * length / size[0]], -1)


def _drop_doubles(image: np.ndarray, score: np.ndarray, pixels: np.ndarray, size: tuple[int, int]) -> None:
    """Where a person's two sides found one and the same hand, the side whose Kinect wrist is further away loses it."""
    for person in np.flatnonzero((score > 0).all(1)):
        hands = image[person, ..., :2] * size  # (2, 21, 2) pixels
        extent = max(float(np.ptp(hand, axis=0).max()) for hand in hands)
        if np.linalg.norm(hands[0] - hands[1], axis=-1).mean() < _SAME * extent:
            wrists = pixels[person, [HAND_JOINTS[0][0], HAND_JOINTS[1][0]]]
            loser = int(np.argmax(np.linalg.norm(hands[:, 0] - wrists, axis=-1)))
            score[person, loser] = 0


def with_hands(clip: SkeletonClip, found: KinectHands) -> SkeletonClip:
    """The clip with the hands that were found beside its bodies, in space "image".

    A clip in colour coordinates (`read_ntu_clip(..., coordinates="colour")`) can then become Recordings with hands and
    body; one in metres keeps hands and body in two spaces. The bodies must be those of the same file, not denoised.

    Raises InputError when persons or frames do not fit.
    """
    if found.valid.shape[::2] != (clip.persons, len(clip)):
        raise InputError(
            f"'{clip.name}' has {clip.persons} persons and {len(clip)} frames, the hands {found.valid.shape[0]} and "
            f"{found.valid.shape[2]}; expected the same file, read without denoise"
        )
    score = np.repeat(found.score[..., None], 21, -1)
    return clip.replace(
        hands=found.image,
        hand_valid=found.valid,
        hand_score=score,
        hand_space="image",
        provenance={**clip.provenance, "hands": dict(found.facts)},
    )

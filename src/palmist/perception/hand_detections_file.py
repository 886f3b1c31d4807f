"""Hands that another program found (HaMeR, WiLoR, ...) in one .npz file. Its arrays, N detections:

frame               (N,) whole numbers: the frame of the detection, from 0                              [required]
side                (N,) 0 left, 1 right: the person's own                                              [required]
keypoints_2d        (N, 21, 2) pixels, x right, y down                     [this, or the next two and focal]
keypoints_3d        (N, 21, 3) metres, axes of the camera (x right, y down, z forward), about any origin
camera_translation  (N, 3) metres: what to add to keypoints_3d to get the camera's frame
score               (N,) 0.5 to 1, how sure the side is; without it 1
width, height       numbers: size of the image in pixels                                                [required]
focal               number: focal length in pixels that camera_translation was made with
time                (T,) seconds of all frames, increasing; or rate: frames per second [and frames: T]  [one of them]
joint_order         text: a name of skeleton.CONVENTIONS with one hand's order; without it "mediapipe"
source              text: the program and its version
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from palmist.errors import InputError
from palmist.files.npz import load_arrays, text_of
from palmist.perception.detection import HandDetection, check_frame
from palmist.recording import check_time
from palmist.skeleton import convention

_LARGEST_METRES = 1.0  # from joint to joint of one hand
_FARTHEST = 1000.0  # image sizes, of a joint
_LATEST = 1e9  # seconds
_LONGEST_VIDEO = 10_000_000  # frames


@dataclass(frozen=True, eq=False)
class DetectedHands:
    """Detections of a whole video: time (T,) seconds, hands: T lists of detections, size (width, height) in pixels,
    focal in pixels or None, facts for the provenance."""

    time: np.ndarray
    hands: tuple[tuple[HandDetection, ...], ...]
    size: tuple[int, int]
    focal: float | None
    facts: Mapping[str, Any]


def read_hand_detections(path: str | Path) -> DetectedHands:
    """Read the detections of another program; give them to `hands.assign_hands`.

    Raises:
        InputError: one sentence: the file is damaged or holds objects, or a key is missing, of a wrong shape or unit.
    """
    path = Path(path)
    arrays = load_arrays(path)
    try:
        return _detections(arrays)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


class ReplayedHands:
    """Detections of a file (`read_hand_detections`), frame by frame for the video that they were made of (a HandTracker).

    Raises:
        InputError: see `read_hand_detections`; on `detect`, a frame of another size, or more frames than the file has.
    """

    def __init__(self, path: str | Path) -> None:
        self._found, self._name, self._next = read_hand_detections(path), Path(path).name, 0

    def detect(self, time: float, frame: np.ndarray) -> Sequence[HandDetection]:
        """The next frame's detections; the time is the video's own and is not looked at."""
        height, width = check_frame(frame).shape[:2]
        if (width, height) != self._found.size:
            size = " x ".join(str(side) for side in self._found.size)
            raise InputError(f"the video is {width} x {height} pixels, {self._name} is of one of {size}; give that one")
        if self._next >= len(self._found.hands):
            raise InputError(f"the video goes on after the {self._next} frames of {self._name}; give the video it is of")
        self._next += 1
        return self._found.hands[self._next - 1]

    def describe(self) -> Mapping[str, Any]:
        return self._found.facts

    def close(self) -> None:
        """Nothing to close."""

    def __enter__(self) -> ReplayedHands:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _detections(arrays: dict[str, np.ndarray]) -> DetectedHands:
    frame = _whole(arrays, "frame")
    count = len(frame)
    side = _whole(arrays, "side")
    if side.shape != (count,) or (count and not np.isin(side, (0, 1)).all()):
        raise InputError("side must be one number per detection: 0 for a left hand, 1 for a right hand")
    size = (_positive(arrays, "width", whole=True), _positive(arrays, "height", whole=True))
    focal = float(_positive(arrays, "focal")) if "focal" in arrays else None
    flat, solid, shift = (
        _block(arrays, key, (count, *shape))
        for key, shape in (("keypoints_2d", (21, 2)), ("keypoints_3d", (21, 3)), ("camera_translation", (3,)))
    )
    score = _block(arrays, "score", (count,))
    score = np.ones(count) if score is None else score
    if count and not (score.min() >= 0 and score.max() <= 1):
        raise InputError(f"score runs from {score.min():.3g} to {score.max():.3g}; expected numbers from 0.5 to 1")
    if flat is None and (solid is None or shift is None or focal is None):
        raise InputError("it needs keypoints_2d, or keypoints_3d with camera_translation and focal")
    flat, solid = _reordered(arrays, flat, solid)
    if solid is not None and count and float(np.ptp(solid, axis=1).max()) > _LARGEST_METRES:
        raise InputError(
            f"a hand of keypoints_3d is {float(np.ptp(solid, axis=1).max()):.3g} m large; expected metres (about 0.2); "
            "divide millimetres by 1000"
        )
    image = _image_landmarks(flat, solid, shift, size, focal)
    if count and not np.abs(image).max() < _FARTHEST:
        raise InputError(f"a joint lies {np.abs(image).max():.3g} image sizes away; expected pixels in or near the picture")
    time = _time(arrays, frame)
    hands: list[list[HandDetection]] = [[] for _ in time]
    for n in range(count):
        hands[frame[n]].append(
            HandDetection(
                side=int(side[n]),
                score=float(max(score[n], 0.5)),
                image=image[n].astype(np.float32),
                world=None if solid is None else solid[n].astype(np.float32),
                translation=None if solid is None or shift is None else shift[n],
            )
        )
    facts = {
        "tracker": str(arrays["source"].reshape(-1)[0])
        if arrays.get("source", np.zeros(0)).size
        else "detections of another program",
        "image_size": size,
        "depth": "not known, 0" if solid is None else "from keypoints_3d",
    }
    return DetectedHands(time, tuple(map(tuple, hands)), size, focal, facts)


def _image_landmarks(
    flat: np.ndarray | None, solid: np.ndarray | None, shift: np.ndarray | None, size: tuple[int, int], focal: float | None
) -> np.ndarray:
    """(N, 21, 3) as HandDetection.image has them; z is 0 where there is no 3D."""
    if flat is None:
        assert solid is not None
        assert shift is not None
        assert focal is not None
        placed = solid + shift[:, None]
        if len(placed) and placed[..., 2].min() <= 0:
            raise InputError("keypoints_3d + camera_translation lies behind the camera; expected z forward, in metres")
        flat = placed[..., :2] / placed[..., 2:] * focal + (size[0] / 2, size[1] / 2)
    depth = np.zeros((len(flat), 21))
    if solid is not None:
        # Relative depth in image widths: metres times the hand's own scale in pixels per metre.
        spans = np.linalg.norm(solid[..., :2] - solid[..., :2].mean(1, keepdims=True), axis=-1).mean(1)
        pixels = np.linalg.norm(flat - flat.mean(1, keepdims=True), axis=-1).mean(1)
        depth = (solid[..., 2] - solid[:, :1, 2]) * (pixels / np.maximum(spans, 1e-9))[:, None] / size[0]
    return np.concatenate([flat / size, depth[..., None]], -1)


def _reordered(
    arrays: dict[str, np.ndarray], flat: np.ndarray | None, solid: np.ndarray | None
) -> tuple[np.ndarray | None, np.ndarray | None]:
    rule = convention(text_of(arrays, "joint_order") if "joint_order" in arrays else "mediapipe")
    if rule.absent:
        raise InputError("joint_order names an order without all 21 joints; write the joints in MediaPipe's order")
    order = list(rule.order)
    return (None if flat is None else flat[:, order]), (None if solid is None else solid[:, order])


def _time(arrays: dict[str, np.ndarray], frame: np.ndarray) -> np.ndarray:
    last = int(frame.max()) + 1 if len(frame) else 1
    if len(frame) and (frame.min() < 0 or last > _LONGEST_VIDEO):
        raise InputError(f"frame runs from {frame.min()} to {frame.max()}; expected frame numbers from 0")
    if "time" in arrays:
        time = check_time(arrays["time"], len(arrays["time"]) if arrays["time"].ndim == 1 else 0)
    elif "rate" in arrays:
        count = int(_positive(arrays, "frames", whole=True)) if "frames" in arrays else last
        time = np.arange(count) / float(_positive(arrays, "rate"))
    else:
        raise InputError("it has neither 'time' (seconds, one per frame of the video) nor 'rate' (frames per second); add one")
    if np.abs(time).max(initial=0) > _LATEST:
        raise InputError(f"time reaches {np.abs(time).max():.3g} s; expected seconds of a video, the file is damaged")
    if len(time) < last:
        raise InputError(f"frame goes up to {last - 1}, but there are {len(time)} frames; expected a time for every frame")
    return time


def _positive(arrays: dict[str, np.ndarray], key: str, whole: bool = False) -> Any:
    if key not in arrays:
        raise InputError(f"it has no '{key}'; it has {', '.join(arrays) or 'nothing'}")
    value = arrays[key]
    if value.ndim != 0 or value.dtype.kind not in "fiu" or not (np.isfinite(value) and value > 0):
        raise InputError(f"{key} is {value.tolist()!r}; expected one positive number")
    if whole and float(value) != int(value):
        raise InputError(f"{key} is {float(value)}; expected a whole number")
    return int(value) if whole else float(value)


def _whole(arrays: dict[str, np.ndarray], key: str) -> np.ndarray:
    if key not in arrays:
        raise InputError(f"it has no array '{key}'; it has {', '.join(arrays) or 'nothing'}")
    value = arrays[key]
    if value.ndim != 1 or value.dtype.kind not in "iufb" or (value.astype(np.int64, casting="unsafe") != value).any():
        raise InputError(f"{key} has shape {value.shape} and type {value.dtype}; expected one whole number per detection")
    return value.astype(np.int64)


def _block(arrays: dict[str, np.ndarray], key: str, shape: tuple[int, ...]) -> np.ndarray | None:
    """A finite float64 array of the shape, None where the file has none."""
    if key not in arrays:
        return None
    value = arrays[key]
    if value.dtype.kind not in "fiu" or value.shape != shape:
        raise InputError(f"{key} has shape {value.shape} and type {value.dtype}; expected numbers of shape {shape}")
    if not np.isfinite(value).all():
        bad = int((~np.isfinite(value)).reshape(len(value), -1).any(1).sum())
        raise InputError(f"{key} is NaN or infinite in {bad} of {len(value)} detections; leave such detections out")
    return value.astype(np.float64)

"""What came out of reading: one mark for equal values, and what does not hold of something that was accepted."""

from __future__ import annotations

import dataclasses
import hashlib
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from fuzzing.targets.target import Checked, OpenedStore, WatchedVideo
from palmist.damage import check
from palmist.errors import InputError
from palmist.perception.hand_detections_file import DetectedHands
from palmist.perception.points import PointTracks
from palmist.recording import Recording
from palmist.render.truth import Truth
from palmist.skeleton import BODY_LAYOUTS
from palmist.skeleton_clip import SkeletonClip

FAR = 1e9  # no pixel, metre or second of a real recording is beyond it


def fingerprint(value: Any) -> str:
    """The same for equal values: arrays, dataclasses, mappings, lists, plain values."""
    digest = hashlib.blake2b(digest_size=12)
    _add(digest, value)
    return digest.hexdigest()


def _add(digest: Any, value: Any) -> None:
    if isinstance(value, np.ndarray):
        digest.update(f"{value.dtype.kind}{value.shape}".encode())
        digest.update(np.ascontiguousarray(value, value.dtype.newbyteorder("=")).tobytes())
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        _add(digest, {field.name: getattr(value, field.name) for field in dataclasses.fields(value)})
    elif isinstance(value, Mapping):
        for key in sorted(value, key=str):
            digest.update(repr(key).encode("utf-8", "backslashreplace"))
            _add(digest, value[key])
    elif isinstance(value, list | tuple | set | frozenset):
        digest.update(b"(")
        for item in value:
            _add(digest, item)
        digest.update(b")")
    else:
        digest.update(f"{type(value).__name__}{value!r}".encode("utf-8", "backslashreplace"))


def faults(value: Any) -> list[str]:
    """What does not hold of something that was accepted; none if all is well."""
    if isinstance(value, Checked):
        return value.faults + faults(value.value)
    if isinstance(value, Recording):
        return _recording_faults(value)
    if isinstance(value, OpenedStore):
        return [] if value.changed else [fault for recording in value.recordings for fault in _recording_faults(recording)]
    if isinstance(value, SkeletonClip):
        return _clip_faults(value)
    if isinstance(value, PointTracks):
        return _number_faults("tracks", value.tracks) + _number_faults("time", value.time)
    if isinstance(value, Truth):
        return _truth_faults(value)
    if isinstance(value, DetectedHands):
        return _detection_faults(value)
    if isinstance(value, WatchedVideo):
        return _video_faults(value)
    if isinstance(value, list | tuple):
        return [fault for item in value for fault in faults(item)]
    return []


def _number_faults(what: str, array: np.ndarray) -> list[str]:
    if not np.isfinite(array).all():
        return [f"{what} is not finite"]
    return [f"{what} reaches {np.abs(array).max():.3g}"] if array.size and np.abs(array.astype(np.float64)).max() > FAR else []


def _text_faults(value: Any, names: tuple[str, ...]) -> list[str]:
    found = {name: getattr(value, name) for name in names}
    return [f"{name} is {type(text).__name__}" for name, text in found.items() if not isinstance(text, str | None)]


def _recording_faults(recording: Recording) -> list[str]:
    frames = len(recording.time)
    found = _text_faults(recording, ("name", "space", "frame", "root", "subject", "session", "split", "source"))
    if recording.joints.shape != (frames, 2, 21, 3) or recording.valid.shape != (frames, 2) or not frames:
        found.append(f"shapes {recording.joints.shape}, {recording.valid.shape}, {frames} times")
        return found
    if not np.isfinite(recording.joints).all():
        found.append("joints are not finite")
    if not np.isfinite(recording.time).all() or (np.diff(recording.time) <= 0).any():
        found.append("times do not rise")
    if recording.joints[~recording.present].any():
        found.append("unknown joints are not 0")
    if recording.body is not None:
        body = recording.body
        if body.joints.shape != (frames, len(BODY_LAYOUTS[body.layout]), 3) or not np.isfinite(body.joints).all():
            found.append("the body does not fit or is not finite")
    for segment in recording.segments:
        if not isinstance(segment.label, str) or not segment.start < segment.end:
            found.append(f"segment {segment}")
    if not found and (np.abs(recording.joints).max() > FAR or np.abs(recording.time).max() > FAR) and check(recording).ok:
        found.append("an absurd number is known, and check finds nothing")
    if not found and recording.body is not None and np.abs(recording.body.joints).max() > FAR and check(recording).ok:
        found.append("an absurd number is in the body, and check finds nothing")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            recording.replace()  # every check of a new Recording
        except InputError as error:
            found.append(f"not a Recording: {error}")
    return found


def _clip_faults(clip: SkeletonClip) -> list[str]:
    found = _text_faults(clip, ("name", "space", "label", "subject", "source"))
    found += _number_faults("keypoint", clip.keypoint)
    if not (np.isfinite(clip.fps) and clip.fps > 0):
        found.append(f"fps {clip.fps}")
    clip.replace()
    return found


def _truth_faults(truth: Truth) -> list[str]:
    frames = len(truth.time)
    found = [] if np.isfinite(truth.time).all() and (np.diff(truth.time) > 0).all() else ["times do not rise"]
    points = truth.tracks.shape[1] if truth.tracks.ndim == 3 else -1
    shapes = {
        "joints": (frames, 2, 21, 2), "known": (frames, 2, 21), "visible": (frames, 2, 21), "uncovered": (frames, 2, 21),
        "joints_25d": (frames, 2, 21, 3), "depth": (frames, 2, 21), "hand_order_known": (frames,), "boxes": (frames, 2, 4),
        "camera": (frames, 2, 3), "background_motion": (frames, 2, 3), "tracks": (frames, points, 2),
        "tracks_known": (frames, points), "tracks_visible": (frames, points), "track_parts": (points,),
    }  # fmt: skip
    for name, shape in shapes.items():
        array = getattr(truth, name)
        if array.shape != shape:
            found.append(f"{name} has shape {array.shape}")
        elif array.dtype.kind in "fiu":
            found += _number_faults(name, array)
        elif array.dtype != bool:
            found.append(f"{name} is {array.dtype}")
    return found


def _detection_faults(hands: DetectedHands) -> list[str]:
    found = _number_faults("time", hands.time)
    for one in (hand for frame in hands.hands for hand in frame):
        found += _number_faults("image", one.image)
        found += [] if one.world is None else _number_faults("world", one.world)
    if len(hands.hands) != len(hands.time) or (np.diff(hands.time) <= 0).any():
        found.append("times do not fit the frames")
    return found


def _video_faults(video: WatchedVideo) -> list[str]:
    time = video.clip.time
    found = [] if np.isfinite(time).all() and (np.diff(time) > 0).all() else ["times do not rise"]
    width, height = video.size
    if len(time) and video.clip.images.shape[1:] != (height, width, 3):
        found.append(f"frames {video.clip.images.shape} of {video.size}")
    return found if len(time) else [*found, "no frame"]

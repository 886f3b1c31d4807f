"""Hand-object detections of a whole video from a file: 100DOH's rows in .npz, .json or a plain pickle; Helping Hands' boxes.

.npz    width, height: of the frames, pixels; time (F,): seconds of every frame that was looked at, increasing;
        hand_frame (N,), hand_dets (N, 10); obj_frame (M,), obj_dets (M, 5 to 10): place of the row's frame in `time`;
        obj_name (M,): text, "" for unknown [optional]; source: text [optional]
.json   {"format": "palmist-hand-objects", "version": 1, "width", "height", "source",
        "frames": [{"time", "hand_dets": [[10 numbers]] or null, "obj_dets": [[5 to 10]] or null, "obj_name": [...]}]}
.pkl    {image name: {"hand_dets": array or None, "obj_dets": array or None}}, images in the order of the video: what users of
        100DOH's public code save. It is read without running anything in it (readers/plain_pickle.py).

The rows are those of hand_object_rows.py. Writing and reading .npz or .json gives the same numbers, bit for bit.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from palmist.errors import InputError
from palmist.files.input_files import parse_json, read_text
from palmist.files.npz import load_arrays, save_arrays
from palmist.perception.detection import check_frame
from palmist.perception.hand_object_rows import HAND_COLUMNS, OBJECT_COLUMNS, THRESHOLD, check_rows, from_rows
from palmist.perception.objects import HandObjects
from palmist.readers.plain_pickle import load_plain_pickle

__all__ = ["DetectedHandObjects", "ReplayedHandObjects", "read_hand_objects", "read_helping_hands", "write_hand_objects"]

FORMAT = "palmist-hand-objects"
VERSION = 1
_SAME_SHAPE = 0.02  # how much width / height may differ between the file's frames and the video's


@dataclass(frozen=True, eq=False)
class DetectedHandObjects:
    """Detections of a video. time (F,) float64 seconds, increasing; hands: F tables (n, 10); objects: F tables (m, 5 to 10);
    names: F tuples of m names or None; size: (width, height) pixels of the frames that were looked at; facts: provenance.

    Raises InputError for times that do not increase, tables of other shapes, numbers that are not finite.
    """

    time: np.ndarray
    hands: tuple[np.ndarray, ...]
    objects: tuple[np.ndarray, ...]
    size: tuple[int, int]
    names: tuple[tuple[str | None, ...], ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        time = np.array(self.time, np.float64)
        if time.ndim != 1 or not np.isfinite(time).all() or (np.diff(time) <= 0).any():
            raise InputError("the times of the frames are not finite or do not increase; expected seconds, one per frame")
        if not len(time) == len(self.hands) == len(self.objects):
            raise InputError(
                f"{len(time)} times came with {len(self.hands)} frames of hands and {len(self.objects)} of objects; "
                "expected one table of each per time"
            )
        if len(self.size) != 2 or not all(isinstance(side, int) and side > 0 for side in self.size):
            raise InputError(f"the size of the frames is {self.size}; expected width and height in whole pixels")
        hands = tuple(
            check_rows(rows, f"hand_dets of frame {n}", HAND_COLUMNS, HAND_COLUMNS) for n, rows in enumerate(self.hands)
        )
        objects = tuple(
            check_rows(rows, f"obj_dets of frame {n}", OBJECT_COLUMNS, HAND_COLUMNS) for n, rows in enumerate(self.objects)
        )
        names = self.names or tuple((None,) * len(rows) for rows in objects)
        if [len(row) for row in names] != [len(rows) for rows in objects]:
            raise InputError("the names of the objects are not as many as the objects; expected one, or null, for each row")
        for name, value in (("time", time), ("hands", hands), ("objects", objects), ("names", names)):
            object.__setattr__(self, name, value)

    def at(self, frame: int, hand_threshold: float = THRESHOLD, object_threshold: float = THRESHOLD) -> HandObjects:
        """What was found in frame number `frame` of the file, in its own pixels."""
        return from_rows(self.hands[frame], self.objects[frame], hand_threshold, object_threshold, self.names[frame])


class ReplayedHandObjects:
    """Detections of a file (path, or DetectedHandObjects), given out frame by frame: a HandObjectDetector.

    A video frame gets the detections of the file's nearest frame, if that is at most `tolerance` seconds away; None: half the
    file's median step. Boxes are scaled to the video's frames, which must have the same proportions.

    Raises:
        InputError: see `read_hand_objects`; a threshold outside 0 to 1; on `detect`, a frame of other proportions.

    >>> detector = ReplayedHandObjects("cups.hands.npz")
    >>> detector.detect(0.5, frame).hands
    """

    def __init__(
        self,
        found: DetectedHandObjects | str | Path,
        hand_threshold: float = THRESHOLD,
        object_threshold: float = THRESHOLD,
        tolerance: float | None = None,
    ) -> None:
        self._found = found if isinstance(found, DetectedHandObjects) else read_hand_objects(found)
        for what, value in (("hand", hand_threshold), ("object", object_threshold)):
            if not 0 <= value < 1:
                raise InputError(f"the {what} threshold is {value}; expected a score from 0 to below 1")
        if tolerance is not None and not tolerance >= 0:
            raise InputError(f"the tolerance is {tolerance}; expected seconds, 0 or more")
        step = float(np.median(np.diff(self._found.time))) if len(self._found.time) > 1 else 0.0
        self._tolerance = step / 2 + 1e-6 if tolerance is None else tolerance
        self._thresholds = (hand_threshold, object_threshold)

    def detect(self, time: float, frame: np.ndarray) -> HandObjects:
        """The detections nearest in time, in this frame's pixels; nothing where the file has none near."""
        height, width = check_frame(frame).shape[:2]
        own_width, own_height = self._found.size
        if abs(width / height * own_height / own_width - 1) > _SAME_SHAPE:
            raise InputError(
                f"the video is {width} x {height} pixels, its detections are of {own_width} x {own_height}; "
                "give the detections that were made of this video"
            )
        if not len(self._found.time):
            return HandObjects()
        nearest = int(np.abs(self._found.time - time).argmin())
        if abs(self._found.time[nearest] - time) > self._tolerance:
            return HandObjects()
        scale = np.array([width / own_width, height / own_height] * 2)
        hands, objects = self._found.hands[nearest].copy(), self._found.objects[nearest].copy()
        hands[:, :4] *= scale
        hands[:, 6] *= math.sqrt(scale[0] * scale[1])
        objects[:, :4] *= scale
        return from_rows(hands, objects, *self._thresholds, self._found.names[nearest])

    def describe(self) -> Mapping[str, Any]:
        hand, thing = self._thresholds
        settings = {"hand_threshold": hand, "object_threshold": thing, "tolerance_seconds": self._tolerance}
        return {"detector": "detections of a file", **self._found.facts, "size": self._found.size, **settings}


def read_hand_objects(path: str | Path, rate: float | None = None, size: tuple[int, int] | None = None) -> DetectedHandObjects:
    """Read a .npz, .json or .pkl of the module's text.

    rate: frames per second, size: (width, height); both are needed for a pickle, which holds neither, and only there.

    Raises InputError, one sentence, when the file is missing, damaged, of another format, or a pickle of more than plain data.
    """
    path = Path(path)
    if path.suffix not in (".npz", ".json", ".pkl", ".pickle"):
        raise InputError(f"{path} ends in '{path.suffix}'; expected detections in .npz, .json or .pkl")
    if path.suffix == ".npz":
        arrays = load_arrays(path)
    elif path.suffix == ".json":
        loaded = _load_json(path)
    else:
        loaded = load_plain_pickle(path)
    try:
        if path.suffix == ".npz":
            return _from_arrays(arrays)
        return _from_json(loaded) if path.suffix == ".json" else _from_pickle(loaded, rate, size)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def write_hand_objects(path: str | Path, found: DetectedHandObjects) -> Path:
    """Write detections to a .npz or .json file, exactly, and give its path. InputError for another ending."""
    path = Path(path)
    source = str(found.facts.get("source", ""))
    if path.suffix == ".npz":
        width = max([OBJECT_COLUMNS, *(rows.shape[1] for rows in found.objects if len(rows))])
        if any(len(rows) and rows.shape[1] != width for rows in found.objects):
            raise InputError("the object rows are not equally long in all frames; write them to a .json file")
        empty = [np.zeros((0, HAND_COLUMNS))], [np.zeros((0, width))]
        hands, objects = ([*first, *(rows for rows in rest if len(rows))] for first, rest in zip(
            empty, (found.hands, found.objects), strict=True))  # fmt: skip
        arrays = {
            "time": found.time, "width": np.array(found.size[0]), "height": np.array(found.size[1]),
            "hand_frame": _frames_of(found.hands), "hand_dets": np.concatenate(hands),
            "obj_frame": _frames_of(found.objects), "obj_dets": np.concatenate(objects), "source": np.array(source),
        }  # fmt: skip
        if any(name is not None for row in found.names for name in row):
            arrays["obj_name"] = np.array([name or "" for row in found.names for name in row])
        save_arrays(path, arrays)
        return path
    if path.suffix != ".json":
        raise InputError(f"{path} ends in '{path.suffix}'; expected .npz or .json")
    frames = [
        {"time": float(time), "hand_dets": hands.tolist(), "obj_dets": objects.tolist(), "obj_name": list(names)}
        for time, hands, objects, names in zip(found.time, found.hands, found.objects, found.names, strict=True)
    ]
    head = {"format": FORMAT, "version": VERSION, "width": found.size[0], "height": found.size[1], "source": source}
    try:
        path.write_text(json.dumps({**head, "frames": frames}) + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror or error}); expected a folder that exists") from error
    return path


def read_helping_hands(
    path: str | Path, video: str | None = None, start: float | None = None, size: tuple[int, int] = (640, 360)
) -> DetectedHandObjects:
    """One clip of the boxes that Helping Hands (Zhang et al., ICCV 2023) published for EgoClip.

    The file is JSON: one clip, a list of clips, or a clip per line, each with video_uid, start_sec, end_sec, samples_sec (F
    seconds, four), object_boxes (noun to its boxes) and hand_boxes (hand1, hand2).

    video, start: video_uid and start_sec of the wanted clip, where the file has several. size: of the frames that the boxes
    were found in, 640 pixels wide; their height is not in the file.

    Assumed, since no description says so: boxes are x0, y0, x1, y1 in those pixels, one per sample in their order, null or
    empty where there is none; hand1 is the left hand and hand2 the right; samples_sec are seconds of the video, unless they
    lie before start_sec, then of the clip. There are no scores (1 is given) and no contact states (none is given).

    Raises InputError for a file without that clip, or of other fields.
    """
    path = Path(path)
    clips = _load_json(path, lines=True)
    clips = clips if isinstance(clips, list) else [clips]
    try:
        chosen = [clip for clip in clips if _is_wanted(clip, video, start)]
        if len(chosen) != 1:
            raise InputError(
                f"{len(chosen)} of its {len(clips)} clips fit video {video} and start {start}; expected one; "
                "give video_uid and start_sec of a clip in the file"
            )
        return _helping_hands(chosen[0], size)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


# --------------------------------------------------------------------------------------------------------------------
# Forms


def _frames_of(tables: Sequence[np.ndarray]) -> np.ndarray:
    return np.repeat(np.arange(len(tables)), [len(rows) for rows in tables])


def _from_arrays(arrays: dict[str, np.ndarray]) -> DetectedHandObjects:
    needed = ("time", "width", "height", "hand_frame", "hand_dets", "obj_frame", "obj_dets")
    missing = [key for key in needed if key not in arrays]
    if missing:
        raise InputError(f"it has no {', '.join(missing)}; expected the arrays {', '.join(needed)}")
    count = len(arrays["time"]) if arrays["time"].ndim == 1 else 0
    tables, places = [], []
    for kind, least in (("hand", HAND_COLUMNS), ("obj", OBJECT_COLUMNS)):
        rows = check_rows(arrays[f"{kind}_dets"], f"{kind}_dets", least, HAND_COLUMNS)
        frame = arrays[f"{kind}_frame"]
        if frame.dtype.kind not in "iu" and len(rows):
            raise InputError(f"{kind}_frame has type {frame.dtype}; expected whole numbers")
        if frame.shape != (len(rows),) or (len(rows) and (frame.min() < 0 or frame.max() >= count)):
            raise InputError(f"{kind}_frame does not name one of the {count} frames for each of the {len(rows)} rows")
        places.append(frame)
        tables.append(tuple(rows[frame == n] if len(rows) else rows for n in range(count)))
    names: tuple[tuple[str | None, ...], ...] = ()
    if "obj_name" in arrays:
        if arrays["obj_name"].shape != places[1].shape or arrays["obj_name"].dtype.kind != "U":
            raise InputError(f"obj_name has shape {arrays['obj_name'].shape}; expected text, one per row of obj_dets")
        names = tuple(tuple(str(name) or None for name in arrays["obj_name"][places[1] == n]) for n in range(count))
    size = (_pixels(arrays["width"], "width"), _pixels(arrays["height"], "height"))
    return DetectedHandObjects(arrays["time"], tables[0], tables[1], size, names, _facts(arrays.get("source", "")))


def _from_json(loaded: Any) -> DetectedHandObjects:
    if not isinstance(loaded, dict) or loaded.get("format") != FORMAT:
        raise InputError(f"it is no {FORMAT} file; expected an object with that format, see write_hand_objects")
    if loaded.get("version") != VERSION:
        raise InputError(f"it has version {loaded.get('version')!r}; this program reads version {VERSION}; update palmist")
    frames = loaded.get("frames")
    if not isinstance(frames, list) or not all(isinstance(frame, dict) and _is_number(frame.get("time")) for frame in frames):
        raise InputError("its frames are no list of objects with a time; expected time, hand_dets and obj_dets in each")
    objects = tuple(check_rows(f.get("obj_dets"), "obj_dets", OBJECT_COLUMNS, HAND_COLUMNS) for f in frames)
    names = []
    for frame, rows in zip(frames, objects, strict=True):
        row = frame.get("obj_name") or [None] * len(rows)
        if not isinstance(row, list) or not all(name is None or isinstance(name, str) for name in row):
            raise InputError(f"obj_name is {row!r}; expected a list of text or null")
        names.append(tuple(row))
    hands = tuple(frame.get("hand_dets") for frame in frames)
    size = (_pixels(loaded.get("width"), "width"), _pixels(loaded.get("height"), "height"))
    time = np.array([frame["time"] for frame in frames], np.float64)
    return DetectedHandObjects(time, hands, objects, size, tuple(names), _facts(loaded.get("source", "")))


def _from_pickle(loaded: Any, rate: float | None, size: tuple[int, int] | None) -> DetectedHandObjects:
    if rate is None or size is None or not (math.isfinite(rate) and rate > 0):
        raise InputError("a pickle of detections says neither rate nor size; give frames per second, and width and height")
    if not isinstance(loaded, dict) or not all(
        isinstance(found, dict) and {"hand_dets", "obj_dets"} <= set(found) for found in loaded.values()
    ):
        raise InputError("it holds something else than image names with hand_dets and obj_dets each; expected those of 100DOH")
    ordered = sorted(loaded, key=_by_number)
    hands, objects = (tuple(loaded[name][key] for name in ordered) for key in ("hand_dets", "obj_dets"))
    return DetectedHandObjects(np.arange(len(ordered)) / rate, hands, objects, size, (), _facts("a pickle of 100DOH's rows"))


def _helping_hands(clip: Any, size: tuple[int, int]) -> DetectedHandObjects:
    needed = ("start_sec", "samples_sec", "object_boxes", "hand_boxes")
    missing = [key for key in needed if key not in clip]
    if missing:
        raise InputError(f"a clip has no {', '.join(missing)}; expected the fields {', '.join(needed)}")
    samples, start = clip["samples_sec"], clip["start_sec"]
    if not isinstance(samples, list) or not samples or not all(map(_is_number, [start, *samples])):
        raise InputError(f"samples_sec is {samples!r}; expected a list of seconds")
    if not isinstance(clip["hand_boxes"], dict) or not isinstance(clip["object_boxes"], dict):
        raise InputError("hand_boxes or object_boxes is no object; expected hand1 and hand2, and nouns, with their boxes")
    time = np.array(samples, np.float64)
    time = time + start if time.max() < start else time
    hands: list[list[list[float]]] = [[] for _ in samples]
    for side, key in enumerate(("hand1", "hand2")):
        for frame, box in _boxes(clip["hand_boxes"].get(key), key, len(samples)):
            hands[frame].append([*box, 1.0, 0, 0, 0, 0, side])
    objects: list[list[list[float]]] = [[] for _ in samples]
    names: list[list[str | None]] = [[] for _ in samples]
    for noun, boxes in clip["object_boxes"].items():
        for frame, box in _boxes(boxes, noun, len(samples)):
            objects[frame].append([*box, 1.0])
            names[frame].append(noun)
    hand_rows = tuple(check_rows(rows, "hand boxes", HAND_COLUMNS, HAND_COLUMNS) for rows in hands)
    object_rows = tuple(check_rows(rows, "object boxes", OBJECT_COLUMNS, OBJECT_COLUMNS) for rows in objects)
    facts = {**_facts("Helping Hands' boxes for EgoClip"), "video": clip.get("video_uid")}
    return DetectedHandObjects(time, hand_rows, object_rows, size, tuple(map(tuple, names)), facts)


def _boxes(boxes: Any, what: str, count: int) -> list[tuple[int, list[float]]]:
    """(sample, box) of every sample that has one."""
    if boxes is None:
        return []
    if not isinstance(boxes, list) or len(boxes) != count:
        raise InputError(
            f"{what} has {len(boxes) if isinstance(boxes, list) else 'no'} boxes; expected one per sample ({count})"
        )
    out = []
    for sample, box in enumerate(boxes):
        if not box:
            continue
        if not isinstance(box, list) or len(box) != 4 or not all(map(_is_number, box)):
            raise InputError(f"{what} has the box {box!r}; expected x0, y0, x1, y1 in pixels, or null")
        if box[2] > box[0] and box[3] > box[1]:
            out.append((sample, [float(side) for side in box]))
    return out


def _is_wanted(clip: Any, video: str | None, start: float | None) -> bool:
    if not isinstance(clip, dict):
        raise InputError("it holds something else than clips; expected objects with video_uid, samples_sec and boxes")
    given: Any = clip.get("start_sec")
    near = start is None or (_is_number(given) and abs(given - start) < 1e-3)
    return near and (video is None or clip.get("video_uid") == video)


def _load_json(path: Path, lines: bool = False) -> Any:
    expected = "a JSON file of detections"
    text = read_text(path, expected)
    rows = [line for line in text.splitlines() if line.strip()]
    try:
        return parse_json(text, str(path), expected)
    except InputError:
        if not lines or len(rows) < 2:
            raise
    return [parse_json(line, f"{path}, line {number}", expected) for number, line in enumerate(rows, 1)]


def _by_number(name: object) -> tuple[Any, ...]:
    """Sorts frame_2 before frame_10."""
    return tuple(int(part) if part.isdigit() else part for part in re.split(r"([0-9]+)", str(name)))


def _pixels(value: Any, what: str) -> int:
    number = np.asarray(value)
    if number.ndim or number.dtype.kind not in "iuf" or not (np.isfinite(number) and number > 0 and number == int(number)):
        raise InputError(f"{what} is {value!r}; expected whole pixels")
    return int(number)


def _facts(source: Any) -> dict[str, Any]:
    text = str(source)
    return {"source": text} if text else {}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max

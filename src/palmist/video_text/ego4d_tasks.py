"""Ego4D's tasks in time: questions about a video (NLQ), moments of a class (MQ), state changes and their moment (OSCC, PNR).

- `nlq_{train,val,test_unannotated}.json`: videos > clips (clip_uid, video_start_sec, video_end_sec) > annotations
  (annotation_uid) > language_queries (query, template, clip_start_sec, clip_end_sec). `read_ground_nlq` reads GroundNLQ's flat
  .jsonl: query, query_id (`<annotation_uid>_<number>`), duration, video_id (which is the clip_uid), timestamps [[start, end]].
- `moments_{train,val,test_unannotated}.json`: the same nesting with labels (label, start_time, end_time in the clip, primary).
- `fho_oscc-pnr_{train,val,test_unannotated}.json`: clips (unique_id, video_uid, state_change, parent_start_sec and so on).

Times of NLQ and MQ count from the start of the clip, which is a file of its own (`clips/<clip_uid>.mp4`). Of MQ only labels
with `primary` set count, as in its challenge. Entries of NLQ without a question are left out and counted.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from palmist.errors import InputError
from palmist.files.input_files import parse_json
from palmist.metrics.temporal import Detection
from palmist.readers.annotation_files import entry, find_below, read_json, read_lines
from palmist.video_text.clips import Listing, TextClip, VideoPlaces
from palmist.video_text.egoclip import EGO4D_VIDEOS

__all__ = [
    "LocalisedClip",
    "LocalisedClips",
    "Moment",
    "StateChange",
    "StateChanges",
    "nlq_submission",
    "read_ground_nlq",
    "read_mq",
    "read_nlq",
    "read_state_changes",
]

_CLIPS = ("clips/{video}.mp4", "v2/clips/{video}.mp4", "v1/clips/{video}.mp4", "videos/{video}.mp4")
_SPLITS = {"train": "train", "val": "val", "test": "test_unannotated"}
_FOLDERS = ("", "annotations/", "v2/annotations/", "v1/annotations/")


@dataclass(frozen=True, slots=True)
class Moment:
    """A span in a clip, seconds from the clip's start, with its class where it has one."""

    start: float
    end: float
    label: str | None = None


@dataclass(frozen=True, slots=True)
class LocalisedClip:
    """A whole clip (its `texts` is the question of NLQ) and where in it the answers are; none are known for the test part."""

    clip: TextClip
    moments: tuple[Moment, ...]


@dataclass(frozen=True)
class LocalisedClips:
    """Clips with moments, in file order. left_out: entries without a question (NLQ)."""

    items: tuple[LocalisedClip, ...]
    left_out: int = 0

    def of_split(self, split: str) -> tuple[LocalisedClip, ...]:
        """Those of train, val or test."""
        return tuple(item for item in self.items if item.clip.split == split)

    def truth(self) -> list[Detection]:
        """All moments as `palmist.metrics.temporal_detection` takes them, video = the clip's uid."""
        return [
            Detection(item.clip.video, moment.label, moment.start, moment.end) for item in self.items for moment in item.moments
        ]

    def listing(self) -> Listing:
        """Entries of each split, distinct clips, missing ones, moments and classes."""
        videos = {item.clip.video: item.clip.path for item in self.items}
        labels = {moment.label for item in self.items for moment in item.moments if moment.label is not None}
        facts = {"moments": sum(len(item.moments) for item in self.items)}
        facts |= {"classes": len(labels)} if labels else {}
        facts |= {"entries without a question": self.left_out} if self.left_out else {}
        splits = Counter(str(item.clip.split) for item in self.items)
        return Listing(dict(splits), len(videos), sum(path is None for path in videos.values()), facts)


@dataclass(frozen=True, slots=True)
class StateChange:
    """A span of about 8 s; whether an object changes its state in it, and at which frame from the span's first.

    changes: None where the set does not tell (the test part); keyframe: None where nothing changes or it is not told;
    frames: of the span; rate: frames per second. `palmist.metrics.keyframe_error` takes these.
    """

    clip: TextClip
    changes: bool | None
    keyframe: int | None
    frames: int
    rate: float


@dataclass(frozen=True)
class StateChanges:
    """All spans, in file order."""

    items: tuple[StateChange, ...]

    def of_split(self, split: str) -> tuple[StateChange, ...]:
        """Those of train, val or test."""
        return tuple(item for item in self.items if item.clip.split == split)

    def listing(self) -> Listing:
        """Spans of each split, videos, missing ones, and how many spans have a change."""
        videos = {item.clip.video: item.clip.path for item in self.items}
        splits = dict(Counter(str(item.clip.split) for item in self.items))
        facts = {"state changes": sum(bool(item.changes) for item in self.items)}
        return Listing(splits, len(videos), sum(path is None for path in videos.values()), facts)


def read_nlq(root: str | Path) -> LocalisedClips:
    """Ego4D's natural language queries: an item for each question. InputError, with file and place, for a damaged file."""
    items, left_out = [], 0
    for file, split, content, places in _parts(root, "nlq_{}.json"):
        for clip, duration, video in _clips(content, file):
            for annotation in _list(clip, "annotations", file, clip["clip_uid"]):
                uid = str(entry(annotation, "annotation_uid", file, f"clip {clip['clip_uid']}"))
                for number, query in enumerate(_list(annotation, "language_queries", file, uid)):
                    where = f"{file}, annotation {uid}, query {number}"
                    if not isinstance(query, Mapping) or not query.get("query"):
                        left_out += 1
                        continue
                    moments = _moments([query], "clip_start_sec", "clip_end_sec", None, where)
                    facts = {"video_uid": video, "annotation_uid": uid, "query_idx": number, "template": query.get("template")}
                    text = str(query["query"]).strip()
                    items.append(_item(clip["clip_uid"], duration, (text,), f"{uid}_{number}", moments, split, facts, places))
    return LocalisedClips(tuple(items), left_out)


def read_ground_nlq(file: str | Path, split: str | None = None, places: VideoPlaces | None = None) -> LocalisedClips:
    """GroundNLQ's flat list of questions, a JSON object a line; InputError, with file and line, for a damaged one."""
    file, items = Path(file), []
    for line, text in enumerate(read_lines(file, "GroundNLQ's list of questions"), 1):
        if not text.strip():
            continue
        where = f"{file}, line {line}"
        row = parse_json(text, where, "a question a line")
        video, uid, query = (str(entry(row, name, file, f"line {line}")) for name in ("video_id", "query_id", "query"))
        duration = _number(entry(row, "duration", file, f"line {line}"), where)
        annotation, _, number = uid.rpartition("_")
        if not annotation or not number.isdecimal():
            raise InputError(f"{where}: found the query_id {uid!r}; expected ANNOTATION_NUMBER")
        times = row.get("timestamps") or []
        if not isinstance(times, list) or not all(isinstance(span, list) and len(span) == 2 for span in times):
            raise InputError(f"{where}: found the timestamps {str(times)[:60]}; expected [[start, end]]")
        moments = _moments([{"start": start, "end": end} for start, end in times], "start", "end", None, where)
        facts = {"annotation_uid": annotation, "query_idx": int(number)}
        items.append(_item(video, duration, (query.strip(),), uid, moments, split, facts, places))
    return LocalisedClips(tuple(items))


def nlq_submission(items: Sequence[LocalisedClip], answers: Sequence[Sequence[Sequence[float]]]) -> list[dict[str, Any]]:
    """Answers as Ego4D's challenge takes them: clip_uid, annotation_uid, query_idx, predicted_times.

    answers: for each item its intervals (start, end) in seconds of the clip, best first.
    """
    if len(items) != len(answers):
        raise InputError(f"{len(items)} questions came with {len(answers)} lists of answers; give one list per question")
    return [
        {
            "clip_uid": item.clip.video,
            "annotation_uid": item.clip.extra["annotation_uid"],
            "query_idx": item.clip.extra["query_idx"],
            "predicted_times": [[float(start), float(end)] for start, end in own],
        }
        for item, own in zip(items, answers, strict=True)
    ]


def read_mq(root: str | Path) -> LocalisedClips:
    """Ego4D's moment queries: an item for each clip, with all its moments. InputError, with file and place, for damage."""
    items = []
    for file, split, content, places in _parts(root, "moments_{}.json"):
        for clip, duration, video in _clips(content, file):
            uid = clip["clip_uid"]
            labels = [
                label
                for annotation in (_list(clip, "annotations", file, uid) if split != "test" or "annotations" in clip else ())
                for label in (_list(annotation, "labels", file, uid) if isinstance(annotation, Mapping) else ())
                if isinstance(label, Mapping) and label.get("primary", True)
            ]
            moments = _moments(labels, "start_time", "end_time", "label", f"{file}, clip {uid}")
            items.append(_item(uid, duration, (), uid, moments, split, {"video_uid": video}, places))
    return LocalisedClips(tuple(items))


def read_state_changes(root: str | Path) -> StateChanges:
    """Ego4D's state changes (OSCC) and their moments (PNR). InputError, with file and place, for a damaged file."""
    items = []
    for file, split, content, _ in _parts(root, "fho_oscc-pnr_{}.json"):
        places = VideoPlaces(Path(root), EGO4D_VIDEOS)
        for number, row in enumerate(_list(content, "clips", file, "the file")):
            where = f"{file}, clip {number}"
            uid, video = (str(entry(row, name, file, f"clip {number}")) for name in ("unique_id", "video_uid"))
            names = ("parent_start_sec", "parent_end_sec", "parent_start_frame", "parent_end_frame")
            start, end, first, last = (_number(entry(row, name, file, f"clip {number}"), where) for name in names)
            if not (end > start and last > first):
                raise InputError(
                    f"{where}: runs from {start} to {end} s, frames {first:g} to {last:g}; expected an end after the start"
                )
            changes = row.get("state_change")
            moment = row.get("parent_pnr_frame") if changes else None
            keyframe = None if moment is None else round(_number(moment, where) - first)
            if keyframe is not None and not 0 <= keyframe <= last - first:
                raise InputError(f"{where}: the change is at frame {moment}; expected one from {first:g} to {last:g}")
            path, chunked = places.find(video)
            clip = TextClip(video, path, start, end, (), uid, split=split, chunked=chunked)
            rate = (last - first) / (end - start)
            items.append(StateChange(clip, None if changes is None else bool(changes), keyframe, round(last - first), rate))
    return StateChanges(tuple(items))


def _parts(root: str | Path, pattern: str) -> Iterator[tuple[Path, str, Any, VideoPlaces]]:
    """File, split and contents of each part that is there."""
    root = Path(root)
    folder = find_below(
        root, [f"{place}{pattern.format(name)}" for name in _SPLITS.values() for place in _FOLDERS], "list"
    ).parent
    places = VideoPlaces(root, _CLIPS)
    for split, name in _SPLITS.items():
        file = folder / pattern.format(name)
        if file.is_file():
            yield file, split, read_json(file, "Ego4D's annotations of that part"), places


def _clips(content: Any, file: Path) -> Iterator[tuple[Mapping[str, Any], float, str]]:
    """Each clip, its length in seconds and the video that it is of."""
    for number, video in enumerate(_list(content, "videos", file, "the file")):
        uid = str(entry(video, "video_uid", file, f"video {number}"))
        for clip in _list(video, "clips", file, uid):
            where = f"clip {entry(clip, 'clip_uid', file, uid)}"
            start, end = (
                _number(entry(clip, name, file, where), f"{file}, {where}") for name in ("video_start_sec", "video_end_sec")
            )
            if end < start:
                raise InputError(f"{file}, {where}: runs from {start} to {end} s; expected an end after the start")
            yield clip, end - start, uid


def _moments(rows: Sequence[Mapping[str, Any]], start: str, end: str, label: str | None, where: str) -> tuple[Moment, ...]:
    """The spans of the rows that have both times."""
    moments = []
    for row in rows:
        if row.get(start) is None or row.get(end) is None:
            continue  # of the test part
        times = max(_number(row[start], where), 0.0), _number(row[end], where)
        if times[1] < times[0]:
            raise InputError(f"{where}: found a moment from {times[0]} to {times[1]} s; expected an end not before the start")
        moments.append(Moment(*times, None if label is None else str(row.get(label))))
    return tuple(moments)


def _item(
    video: str,
    duration: float,
    texts: tuple[str, ...],
    uid: str,
    moments: tuple[Moment, ...],
    split: str | None,
    facts: Mapping[str, Any],
    places: VideoPlaces | None,
) -> LocalisedClip:
    path = places.find(video)[0] if places is not None else None
    return LocalisedClip(TextClip(video, path, 0.0, duration, texts, uid, split=split, extra=facts), moments)


def _list(item: Any, key: str, file: Path, where: str) -> list[Any]:
    found = entry(item, key, file, str(where))
    if not isinstance(found, list):
        raise InputError(f"{file}, {where}: {key} holds {type(found).__name__}; expected a list")
    return found


def _number(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise InputError(f"{where}: found {value!r}; expected a number")
    return float(value)

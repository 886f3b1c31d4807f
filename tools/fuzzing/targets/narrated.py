"""What narrating and searching read: lists of clips, detections, narrations of an earlier run, an index."""

from __future__ import annotations

import csv
import io
import json
import os
import pickle
import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from fuzzing.targets.examples import moving_square
from fuzzing.targets.target import Checked, Target
from palmist.errors import InputError
from palmist.narration import many, sources
from palmist.narration.many import DetectorChoice, Job
from palmist.narration.output import NarrationFolder, narration_of, read_lines
from palmist.narration.run import Summary, narrate_listing
from palmist.narration.sources import list_spans
from palmist.perception.hand_object_files import (
    DetectedHandObjects,
    ReplayedHandObjects,
    read_hand_objects,
    read_helping_hands,
    write_hand_objects,
)
from palmist.perception.video import write_video
from palmist.search import ClipIndex, index_videos, search_like, search_text
from palmist.tasks.videos import VideoSetConfig
from palmist.video_text.captions import captions_of

FRAMES, RATE, SIZE = 12, 12.0, (64, 48)
SETTINGS = {"source": "videos", "clip_seconds": 0.5}


# --------------------------------------------------------------------------------------------------------------------
# Detections


def _detections() -> DetectedHandObjects:
    """The right hand follows the square, holding something; the left stays."""
    hands, things = [], []
    for number in range(FRAMES):
        left = 2.0 + 3 * number
        right = [left, 10, left + 20, 30, 0.9, 3, 0.1, 0.0, 0.5, 1]
        hands.append(np.array([right, [2, 34, 14, 46, 0.8, 0, 0.0, 0.0, 0.0, 0]], np.float64))
        things.append(np.array([[left + 4, 20, left + 24, 36, 0.9]], np.float64))
    names = tuple(("cup",) for _ in range(FRAMES))
    return DetectedHandObjects(
        np.arange(FRAMES) / RATE, tuple(hands), tuple(things), SIZE, names, {"source": "example"}
    )  # fmt: skip


def _write_detections(name: str, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    found = _detections()
    if name.endswith(".pkl"):
        rows = zip(found.hands, found.objects, strict=True)
        images = {f"frame_{n}.png": {"hand_dets": hands, "obj_dets": things} for n, (hands, things) in enumerate(rows)}
        images["frame_3.png"] = {"hand_dets": None, "obj_dets": None}
        (folder / name).write_bytes(pickle.dumps(images))
    else:
        write_hand_objects(folder / name, found)


def _replay(found: DetectedHandObjects) -> Checked:
    """What is given out for every frame of the video; a hand or a thing lies nowhere absurd."""
    detector = ReplayedHandObjects(found)
    frames = [detector.detect(number / RATE, image) for number, image in enumerate(moving_square(FRAMES))]
    boxes = [box for table in (*found.hands, *found.objects) for box in table]
    faults = ["a box is not finite"] if boxes and not all(np.isfinite(box).all() for box in boxes) else []
    faults += ["times do not rise"] if (np.diff(found.time) <= 0).any() else []
    return Checked([found.time, found.size, found.names, frames], faults)


def _read_pickled(folder: Path, out: Path) -> Checked:
    return _replay(read_hand_objects(folder / "hands.pkl", RATE, SIZE))


def _write_helping_hands(folder: Path) -> None:
    folder.mkdir(parents=True)
    boxes = [[10.0 + 3 * n, 20.0, 60.0 + 3 * n, 80.0] for n in range(4)]
    clips = [
        {
            "video_uid": video, "start_sec": 3.0, "end_sec": 5.0, "samples_sec": [3.1, 3.6, 4.1, 4.6],
            "object_boxes": {"cup": boxes, "lid": [None, boxes[1], [], boxes[3]]},
            "hand_boxes": {"hand1": boxes, "hand2": [None, None, boxes[2], boxes[3]]},
        }
        for video in ("made-up-a", "made-up-b")
    ]  # fmt: skip
    (folder / "list.json").write_text(json.dumps(clips))
    (folder / "lines.jsonl").write_text("".join(json.dumps(clip) + "\n" for clip in clips))


def _read_helping_hands(folder: Path, out: Path) -> Any:
    return [_plain(read_helping_hands(folder / name, "made-up-b", 3.0)) for name in ("list.json", "lines.jsonl")]


def _plain(found: DetectedHandObjects) -> Any:
    return found.time, found.hands, found.objects, found.names, found.size


# --------------------------------------------------------------------------------------------------------------------
# Narrations


def _write_videos(folder: Path) -> None:
    """Two videos with detections beside them, and a list of three clips of them."""
    for name in ("a", "b"):
        write_video(folder / f"videos/{name}.mp4", list(moving_square(FRAMES)), rate=RATE)
        _write_detections(f"{name}.npz", folder / "detections")
    rows = (("a", 0.0, 1.0, "#C C lifts the cup"), ("b", 0.0, 1.0, ""), ("b", 0.5, 1.0, "['takes the lid', 'and waits']"))
    with (folder / "clips.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("dataset", "video_id", "start_second", "end_second", "text", "uid"))
        writer.writerows(("made", video, start, end, text, f"clip {n}") for n, (video, start, end, text) in enumerate(rows))


def _job(folder: Path) -> Job:
    return Job(DetectorChoice("detections", None, folder / "detections"))


def _narrate(folder: Path, out: Path) -> Checked:
    """Narrate the listed clips; a clip that cannot be is named in the summary."""
    _forget()
    summary = narrate_listing(list_spans(folder / "clips.csv", folder / "videos"), _job(folder))
    if not summary.rows:
        raise InputError("; ".join(summary.failures) or "nothing is said")  # as the command does
    return Checked([summary.rows, summary.failures], _row_faults(summary), bool(summary.failures))


def _forget() -> None:
    """What a process remembers of files that do not change while it runs; here they do."""
    many._shared.cache_clear()
    sources._video.cache_clear()


def _row_faults(summary: Summary) -> list[str]:
    found = [f"{row.uid} runs from {row.start} to {row.end} s" for row in summary.rows if not 0 <= row.start < row.end < 1e7]
    found += [f"the text of {row.uid} is {type(row.text).__name__}" for row in summary.rows if not isinstance(row.text, str)]
    return found + [
        f"no sentence: {line}" for line in summary.failures if "\n" in line or re.search(r"(Error|Exception): ", line)
    ]


def _write_narrations(folder: Path) -> None:
    """The two files of a run that was finished."""
    _write_videos(folder / "source")
    (folder / "narrated").mkdir()
    with NarrationFolder(folder / "narrated", SETTINGS) as into:
        narrate_listing(list_spans(folder / "source/videos", None, 0.5), _job(folder / "source"), into)


def _copied(folder: Path, out: Path, name: str) -> Path:
    """A copy that may be written to; folders stay folders."""
    copy = out / name
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir(parents=True)
    for path in sorted((folder / name).rglob("*")):
        target = copy / path.relative_to(folder / name)
        if path.is_dir():
            target.mkdir(parents=True, exist_ok=True)
        elif path.is_file():
            shutil.copyfile(path, target)
        elif path.is_symlink():
            target.symlink_to(os.readlink(path))
        else:
            os.mkfifo(target)
    return copy


def _go_on_narrating(folder: Path, out: Path) -> Checked:
    """The next run of a command: what is whole stays, the rest is done again, and both files say the same."""
    _forget()
    copy = _copied(folder, out, "narrated")
    listing = list_spans(folder / "source/videos", None, 0.5)
    with NarrationFolder(copy, SETTINGS) as into:
        summary = narrate_listing(listing, _job(folder / "source"), into)
    lines = list(read_lines(copy / "narrations.jsonl"))
    rows = list(csv.DictReader(io.StringIO((copy / "narrations.csv").read_text(encoding="utf-8"))))
    faults = _row_faults(summary)
    faults += [f"{span.uid} is missing" for span in listing.spans if span.uid not in {line["uid"] for line in lines}]
    if [row["uid"] for row in rows] != [line["uid"] for line in lines if line["hands_seen"] >= 0.5]:
        faults.append("the two files do not hold the same clips")
    return Checked([lines, rows], faults)


def _read_narrations(folder: Path, out: Path) -> Any:
    """As a page or a program that goes on with them reads narrations."""
    file = folder / "narrated/narrations.jsonl"
    found = [(line, narration_of(line)) for line in read_lines(file)]
    return [(line, narration.to_json()) for line, narration in found]


def _read_captions(folder: Path, out: Path) -> Any:
    """Narrations as the sentences that a video-text model is trained with."""
    videos = SimpleNamespace(names=["a", "b"], labels=(), label=np.full(2, -1))
    return captions_of(str(folder / "narrated/narrations.jsonl"), "mine", VideoSetConfig(), videos)


# --------------------------------------------------------------------------------------------------------------------
# The index of clips


class ColourEmbedder:
    """A stand-in for a video-text model: a clip is its mean colour, a sentence the letters in it."""

    name, fingerprint, dimension = "colours", "0123abcd", 4

    def embed_texts(self, texts: Any) -> np.ndarray:
        counts = np.array([[1.0, *(text.lower().count(letter) for letter in "rgb")] for text in texts])
        return (counts / np.linalg.norm(counts, axis=1, keepdims=True)).astype(np.float32)

    def embed_clip(self, frames: np.ndarray) -> np.ndarray:
        row = np.array([1.0, *(frames.reshape(-1, 3).mean(0) / 255)])
        return (row / np.linalg.norm(row)).astype(np.float32)


def _write_index(folder: Path) -> None:
    for name in ("a", "b"):
        images = list(moving_square(FRAMES)[:: -1 if name == "b" else 1])
        write_video(folder / f"videos/{name}.mp4", images, rate=RATE)
    for source in ("videos/a.mp4", "videos"):  # two segments
        index_videos(folder / source, folder / "index", ColourEmbedder(), 0.5)


def _clip_faults(clips: Any) -> list[str]:
    kinds = {"video": str, "digest": str, "number": int, "of": int, "start": float | int, "end": float | int, "name": str}
    found = [
        f"{name} is {getattr(clip, name)!r}" for clip in clips for name, kind in kinds.items()
        if not isinstance(getattr(clip, name), kind) or isinstance(getattr(clip, name), bool)
    ]  # fmt: skip
    return found or [
        f"{clip.name} runs from {clip.start} to {clip.end}" for clip in clips if not 0 <= clip.start < clip.end < 1e9
    ]


def _search(folder: Path, out: Path) -> Checked:
    """Open and search by a sentence and by a video, as `palmist search`."""
    index, embedder = ClipIndex.open(folder / "index"), ColourEmbedder()
    hits = search_text(index, embedder, "a red cup", 3) + search_like(index, embedder, folder / "videos/a.mp4", 3)
    faults = _clip_faults(index.clips) + ["a score is not finite" for hit in hits if not np.isfinite(hit.score)]
    return Checked([index.head, index.clips, hits], faults)


def _go_on_indexing(folder: Path, out: Path) -> Checked:
    """`palmist index` again, into a copy: all clips are in once and found."""
    copy = _copied(folder, out, "index")
    index_videos(folder / "videos", copy, ColourEmbedder(), 0.5)
    index = ClipIndex.open(copy)
    faults = _clip_faults(index.clips)
    numbers = [(clip.digest, clip.number) for clip in index.clips]
    if len(set(numbers)) != len(numbers):
        faults.append("a clip is in twice")
    return Checked([index.head, sorted(str(clip) for clip in index.clips)], faults)


TARGETS = (
    Target("hand_objects_npz", lambda folder: _write_detections("hands.npz", folder),
           lambda folder, out: _replay(read_hand_objects(folder / "hands.npz")), 1.2),
    Target("hand_objects_json", lambda folder: _write_detections("hands.json", folder),
           lambda folder, out: _replay(read_hand_objects(folder / "hands.json"))),
    Target("hand_objects_pickle", lambda folder: _write_detections("hands.pkl", folder), _read_pickled),
    Target("helping_hands", _write_helping_hands, _read_helping_hands),
    Target("clips_to_narrate", _write_videos, _narrate),
    Target("narrations_resumed", _write_narrations, _go_on_narrating, only=(".jsonl", ".csv")),
    Target("narrations_read", _write_narrations, _read_narrations, only=(".jsonl",)),
    Target("narrations_as_captions", _write_narrations, _read_captions, only=(".jsonl",)),
    Target("search_index", _write_index, _search, only=(".json", ".faiss")),
    Target("search_index_resumed", _write_index, _go_on_indexing),
)  # fmt: skip

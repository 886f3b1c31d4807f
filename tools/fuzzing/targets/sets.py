"""Data sets in their own layouts: of skeletons, of videos with labels, of videos with sentences."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from fuzzing.targets.target import Checked, Target
from palmist.readers import READERS, data_root, h2o_example
from palmist.recording import Recording
from palmist.video_sets import VIDEO_SETS, StoredVideos
from palmist.video_text import TEXT_SETS
from palmist.video_text.clips import TextClip
from palmist.video_text.ego4d_tasks import read_ground_nlq
from palmist.video_text.text_videos import TextVideos


def _write_h2o(root: Path) -> None:
    """One of its five cameras: 2,000 files instead of 10,000."""
    with mock.patch.object(h2o_example, "CAMERAS", (4,)):
        h2o_example.write_h2o_example(root)


def _small_open_set(name: str, root: Path) -> None:
    """The first few recordings of an open set, in its own layout."""
    entry = READERS[name]
    root.mkdir(parents=True)
    file = {"asl_words": "asl_words", "asl_letters": "asl_letters"}.get(name, name)
    with np.load(data_root() / str(entry.folder) / f"{file}.npz", allow_pickle=False) as archive:
        arrays = {key: archive[key] for key in archive.files}
    if name == "leap_recordings":
        take = next(key for key in arrays if key.endswith("__joints")).removesuffix("__joints")
        arrays = {key: array[:60] if key.startswith(f"{take}__") else array for key, array in arrays.items() if take in key}
    elif name == "reach_to_grasp":
        count = len(arrays["offsets"]) - 1
        stop = int(arrays["offsets"][3])
        frames = len(arrays["time"])
        arrays = {
            key: a[:stop]
            if a.shape[:1] == (frames,)
            else a[:3]
            if a.shape[:1] == (count,)
            else a[:4]
            if key == "offsets"
            else a
            for key, a in arrays.items()
        }
    else:
        count = len(arrays["label"])
        arrays = {key: array[:4] if array.shape[:1] == (count,) else array for key, array in arrays.items()}
    np.savez_compressed(root / f"{file}.npz", **arrays)


def _read_set(name: str, folder: Path, out: Path) -> list[Recording]:
    return list(READERS[name].read(folder / "root"))


def _read_videos(name: str, folder: Path, out: Path) -> Any:
    listed = VIDEO_SETS[name].read(folder / "root")
    videos = StoredVideos(listed.entries[:3], listed.labels)
    frames = []
    for number in range(len(videos)):
        video = videos.open(number)
        frames.append((video.frames, video.rate, video.read(np.array([0, video.frames // 2, video.frames - 1]))))
    entries = [dataclasses.replace(entry, path=Path(entry.path.name)) for entry in listed.entries]
    return entries, listed.labels, videos.replaced, frames


def _read_pickle(folder: Path, out: Path) -> Any:
    from palmist.readers.plain_pickle import load_plain_pickle

    return load_plain_pickle(folder / "root/ntu60_3danno.pkl")


def _read_texts(name: str, folder: Path, out: Path) -> Checked:
    """Every clip with its sentences, what else the set gives, and frames of the first videos that are there."""
    contents = TEXT_SETS[name].read(folder / "root")
    whole = list(contents) if isinstance(contents, Sequence) else contents
    clips = list(_clips_in(whole))
    videos = TextVideos([clip for clip in clips if clip.path is not None and clip.start < 1][:2])  # of an example: 0.5 s
    frames = [videos.open(number).read(np.array([0])) for number in range(len(videos))]
    listing = contents.listing()
    return Checked([_without_places(whole), listing, frames], [fault for clip in clips for fault in _text_faults(clip)])


def _write_flat_questions(folder: Path) -> None:
    """GroundNLQ's list of the example of Ego4D's questions."""
    TEXT_SETS["ego4d_nlq"].example(folder / "whole")
    shutil.move(folder / "whole/ground_nlq_train.jsonl", folder / "questions.jsonl")
    shutil.rmtree(folder / "whole")


def _read_flat_questions(folder: Path, out: Path) -> Checked:
    contents = read_ground_nlq(folder / "questions.jsonl", "train")
    faults = [fault for clip in _clips_in(contents) for fault in _text_faults(clip)]
    return Checked([_without_places(contents), contents.listing()], faults)


def _clips_in(value: Any) -> Iterator[TextClip]:
    if isinstance(value, TextClip):
        yield value
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from _clips_in(getattr(value, field.name))
    elif isinstance(value, Mapping):
        yield from _clips_in(list(value.values()))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _clips_in(item)


def _without_places(contents: Any) -> Any:
    if not dataclasses.is_dataclass(contents):
        return contents
    return {field.name: getattr(contents, field.name) for field in dataclasses.fields(contents) if field.name != "places"}


def _text_faults(clip: TextClip) -> list[str]:
    found = [f"{name} is {getattr(clip, name)!r}" for name in ("video", "uid") if not isinstance(getattr(clip, name), str)]
    found += [f"the sentence {text!r}" for text in clip.texts if not isinstance(text, str)]
    found += [f"the class {number!r}" for number in (*clip.verbs, *clip.nouns) if type(number) is not int or number < 0]
    if not isinstance(clip.label, str | None) or not 0 <= clip.start <= clip.end < 1e9:
        found.append(f"{clip.label!r} from {clip.start} to {clip.end} s")
    return found


TARGETS = (
    *(
        Target(
            name,
            (lambda folder, entry=entry: (_write_h2o if entry.name == "h2o" else entry.example)(folder / "root"))
            if entry.example
            else (lambda folder, name=name: _small_open_set(name, folder / "root")),
            partial(_read_set, name),
        )
        for name, entry in READERS.items()
    ),
    *(
        Target(name, lambda folder, entry=entry: entry.example(folder / "root"), partial(_read_videos, name))
        for name, entry in VIDEO_SETS.items()
    ),
    *(
        Target(name, lambda folder, entry=entry: entry.example(folder / "root"), partial(_read_texts, name))
        for name, entry in TEXT_SETS.items()
    ),
    Target("ground_nlq", _write_flat_questions, _read_flat_questions),
    Target("plain_pickle", lambda folder: READERS["pyskl"].example(folder / "root"), _read_pickle, 1.2),
)

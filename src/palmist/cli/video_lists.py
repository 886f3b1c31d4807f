"""What `palmist prepare` does with sets of videos: they are listed where they lie, and counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from palmist.cli.output import busy, console, say, table, write_json
from palmist.errors import InputError

if TYPE_CHECKING:
    from palmist.video_sets import VideoSet
    from palmist.video_text import TextSet

__all__ = ["run_prepare_texts", "run_prepare_videos"]


def run_prepare_videos(dataset: str, root: Path | None, out: Path | None, example: bool, json_file: str | None) -> None:
    """List a set of videos and say how to train on it; with `example` a made-up one is written to `root` first."""
    from palmist.video_sets import video_set

    entry = video_set(dataset)
    root = _root_of(entry, "videos, which are", root, out, example)
    listed = entry.read(root)
    splits = Counter(video.split or "all" for video in listed.entries)
    there = f"{len(listed.entries):,} videos of {len(listed.labels)} labels are listed"
    _show(dict(sorted(splits.items())), "videos", f"{there}; train on them with --data.sets.{dataset}.root {root}", json_file)
    facts = {"dataset": dataset, "videos": len(listed.entries), "labels": len(listed.labels), "splits": dict(splits)}
    write_json(json_file, {"format": "palmist-prepare-videos", "version": 1, **facts, "licence": entry.licence})


def run_prepare_texts(dataset: str, root: Path | None, out: Path | None, example: bool, json_file: str | None) -> None:
    """List a set of videos with sentences; with `example` a made-up one is written to `root` first."""
    from palmist.video_text import text_set

    entry = text_set(dataset)
    root = _root_of(entry, "videos with texts, which are", root, out, example)
    with busy(f"reading {dataset}"):
        found = entry.read(root).listing()
    there = f"{found.videos:,} videos are named, {found.missing:,} not found below {root}"
    facts = "".join(f", {count:,} {name}" for name, count in found.facts.items())
    _show(found.splits, "clips", f"{there}{facts}; read them with palmist.video_text", json_file)
    write_json(
        json_file,
        {
            "format": "palmist-prepare-texts", "version": 1, "dataset": dataset, "licence": entry.licence,
            "splits": dict(found.splits), "videos": found.videos, "missing_videos": found.missing, "facts": dict(found.facts),
        },
    )  # fmt: skip


def _root_of(entry: VideoSet | TextSet, what: str, root: Path | None, out: Path | None, example: bool) -> Path:
    """The folder where a set lies, with `example` filled first; InputError says what is missing or too much."""
    if out is not None:
        raise InputError(f"{entry.name} is a set of {what} read where they lie; leave --out {out} out")
    if root is None:
        raise InputError(f"{entry.name} needs --root DIR, the folder where it lies; fetch it from {entry.url}")
    if example:
        say(f"a made-up {entry.name} is written to {entry.example(root)}; nobody was recorded for it")
    if not root.is_dir():
        raise InputError(f"--root {root} is not a folder; expected the folder that holds {entry.name}")
    return root


def _show(splits: Mapping[str, int], what: str, sentence: str, json_file: str | None) -> None:
    """How many there are of each split, and a sentence."""
    shown, rows = console(json_file), table(None, ("split", "left"), (what, "right"))
    for split, count in splits.items():
        rows.add_row(split, f"{count:,}")
    shown.print(rows)
    shown.print(sentence, highlight=False, soft_wrap=True)

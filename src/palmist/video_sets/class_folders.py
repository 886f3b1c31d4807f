"""Any videos in a folder for each class: `ROOT/CLASS/VIDEO.mp4`, or `ROOT/SPLIT/CLASS/VIDEO.mp4` where the folders of root are
called train, val, validation or test. Labels are the names of the folders, sorted.
"""

from __future__ import annotations

from pathlib import Path

from palmist.errors import InputError
from palmist.video_sets.videos import VideoEntry, VideoList

__all__ = ["read_class_folders"]

SPLITS = ("train", "val", "validation", "test")
SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg")


def read_class_folders(root: str | Path, videos: str | None = None) -> VideoList:
    """All videos below root (or its folder `videos`). Raises InputError where there is none."""
    root = Path(root) if videos is None else Path(root) / videos
    if not root.is_dir():
        raise InputError(f"{root} is not a folder; expected one with a folder of videos for each class")
    inside = sorted(folder for folder in root.iterdir() if folder.is_dir() and not folder.name.startswith("."))
    split_up = bool(inside) and all(folder.name in SPLITS for folder in inside)
    parts = [(folder, folder.name) for folder in inside] if split_up else [(root, None)]
    entries = [
        VideoEntry(file, kind.name, split, file.relative_to(root).as_posix())
        for part, split in parts
        for kind in sorted(part.iterdir())
        if kind.is_dir()
        for file in sorted(kind.iterdir())
        if file.suffix.lower() in SUFFIXES
    ]
    if not entries:
        raise InputError(f"{root} has no video in a folder of its class; expected for example {root.name}/pour/first.mp4")
    return VideoList(tuple(entries), tuple(sorted({str(entry.label) for entry in entries})))

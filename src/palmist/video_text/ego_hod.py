"""EgoHOD: clips of Ego4D and of HowTo100M's head-camera videos with sentences that say how hands and objects move.

`ego_hod.csv` (852 MB) and `howto100m_hod.csv` (1.1 GB) on Hugging Face, columns dataset, video_id, start_second, end_second,
text, uid; the published files name some of them otherwise (`caption`), so each has several names here, and `columns` adds
yours. `text` is a sentence or a list of sentences written as Python writes it, of which training draws one. Videos lie in
pieces of 15 s: `ego4d/<video_id>/0000.mp4` and `howto/<video_id>/0000.mp4`. The files are indexed, not loaded: 28 bytes a
row.

Deviation 1: where there is no column `dataset`, the file's name decides between the two folders of videos; EgoVideo's loader
takes any such file for HowTo.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from palmist.errors import InputError
from palmist.video_text.clips import Listing, TextClip, VideoPlaces, caption_list
from palmist.video_text.lazy import LazySequence
from palmist.video_text.table_index import SpanTable

__all__ = ["EgoHod", "read_ego_hod"]

FILES = ("ego_hod.csv", "howto100m_hod.csv")
_COLUMNS = {
    "video": ("video_id", "video_uid", "vid"),
    "start": ("start_second", "start_sec", "clip_start", "start"),
    "end": ("end_second", "end_sec", "clip_end", "end"),
    "text": ("text", "caption", "clip_text"),
}
_OPTIONAL = {"dataset": ("dataset",), "uid": ("uid",)}
_VIDEOS = {"ego4d": ("ego4d/{video}", "videos/{video}"), "howto": ("howto/{video}", "videos/{video}")}


class EgoHod(LazySequence[TextClip]):
    """All rows of the files, one file after the other; a clip is made when it is asked for.

    A clip lasts 1 s at least, as in EgoVideo's training. `extra["dataset"]` is "ego4d" or "howto".
    """

    def __init__(self, tables: Sequence[SpanTable], root: Path) -> None:
        self.tables = tuple(tables)
        self.places = {name: VideoPlaces(root, patterns) for name, patterns in _VIDEOS.items()}
        self.ends = np.cumsum([len(table) for table in self.tables])

    def __len__(self) -> int:
        return int(self.ends[-1])

    def _item(self, number: int) -> TextClip:
        part = int(np.searchsorted(self.ends, number, side="right"))
        table = self.tables[part]
        own = number - (int(self.ends[part - 1]) if part else 0)
        row = table.row(own)
        dataset = _dataset(table, row)
        try:
            texts = caption_list(row["text"], "text")
        except InputError as error:
            raise InputError(f"{table.where(own)}, {error}") from error
        start = float(table.start[own])
        path, chunked = self.places[dataset].find(row["video"])
        return TextClip(
            row["video"], path, start, max(float(table.end[own]), start + 1), texts,
            row.get("uid") or f"{table.path.stem}_{own}", split="train", chunked=chunked, extra={"dataset": dataset},
        )  # fmt: skip

    def listing(self) -> Listing:
        """Rows of each file, distinct videos, those that are in no folder, and skipped rows."""
        videos = {name for table in self.tables for name in table.video_names}
        missing = sum(all(places.find(name)[0] is None for places in self.places.values()) for name in videos)
        facts = {"damaged rows": sum(table.skipped for table in self.tables)}
        return Listing({table.path.stem: len(table) for table in self.tables}, len(videos), missing, facts)


def read_ego_hod(root: str | Path, columns: Mapping[str, str] | None = None) -> EgoHod:
    """Index the files of `FILES` that are in `root`.

    columns: what a file calls "video", "start", "end", "text", "dataset" or "uid", where it is not one of the known names.
    Raises InputError for a missing file or column, or over 1 % of damaged rows.
    """
    root = Path(root)
    if not root.is_dir():
        raise InputError(f"{root} is not a folder; expected one with {FILES[0]} in it")
    files = [root / name for name in FILES if (root / name).is_file()]
    if not files:
        raise InputError(f"{root} has no list of clips; expected {' or '.join(FILES)} in it")
    named = dict(columns or {})
    unknown = set(named) - set(_COLUMNS) - set(_OPTIONAL)
    if unknown:
        raise InputError(f"columns names {', '.join(sorted(unknown))}; expected {', '.join([*_COLUMNS, *_OPTIONAL])}")
    needed, optional = (
        {name: ((named[name],) if name in named else names) for name, names in part.items()} for part in (_COLUMNS, _OPTIONAL)
    )
    return EgoHod([SpanTable(file, needed, optional) for file in files], root)


def _dataset(table: SpanTable, row: Mapping[str, str]) -> str:
    if "dataset" in row:
        return "ego4d" if row["dataset"] == "ego4d" else "howto"
    return "howto" if table.path.name.startswith("howto") else "ego4d"

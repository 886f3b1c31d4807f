"""EgoClip: 3.8 million spans of Ego4D's videos with a narration each, the training set of EgoVLP.

`egoclip.csv` is separated by **tabs**: clip_idx, video_uid, video_dur, narration_source, narration_ind, narration_time,
clip_start, clip_end, clip_text, tag_verb, tag_noun (118 verb and 582 noun classes, as Python lists in text). Spans that begin
before the video begin at 0. The file is indexed, not loaded: 28 bytes a row.
"""

from __future__ import annotations

from pathlib import Path

from palmist.readers.annotation_files import find_below
from palmist.video_text.clips import Listing, TextClip, VideoPlaces, class_list
from palmist.video_text.lazy import LazySequence
from palmist.video_text.table_index import SpanTable

__all__ = ["EGO4D_VIDEOS", "EgoClip", "read_egoclip"]

#: Where videos of Ego4D are looked for: whole files, then folders of 15 s pieces.
EGO4D_VIDEOS = (
    "full_scale/{video}.mp4",
    "v2/full_scale/{video}.mp4",
    "v1/full_scale/{video}.mp4",
    "videos/{video}.mp4",
    "ego4d/{video}",
    "videos/{video}",
)
_COLUMNS = {
    "video": ["video_uid"], "start": ["clip_start"], "end": ["clip_end"], "text": ["clip_text"],
    "verbs": ["tag_verb"], "nouns": ["tag_noun"],
}  # fmt: skip
_OPTIONAL = {name: [name] for name in ("clip_idx", "narration_source", "narration_time", "video_dur")}


class EgoClip(LazySequence[TextClip]):
    """All rows in file order; a clip is made when it is asked for. `skipped` damaged rows are left out."""

    def __init__(self, table: SpanTable, places: VideoPlaces) -> None:
        self.table, self.places, self.skipped = table, places, table.skipped

    def __len__(self) -> int:
        return len(self.table)

    def _item(self, number: int) -> TextClip:
        row = self.table.row(number)
        path, chunked = self.places.find(row["video"])
        try:
            verbs, nouns = class_list(row["verbs"], "tag_verb"), class_list(row["nouns"], "tag_noun")
        except ValueError as error:
            raise type(error)(f"{self.table.where(number)}, {error}") from error
        return TextClip(
            row["video"], path, float(self.table.start[number]), float(self.table.end[number]), (row["text"],),
            row.get("clip_idx", str(number)), verbs, nouns, None, "train", chunked,
            {name: row[name] for name in _OPTIONAL if name in row},
        )  # fmt: skip

    def listing(self) -> Listing:
        """Rows, videos, missing videos, and skipped rows."""
        names = self.table.video_names
        return Listing({"train": len(self)}, len(names), self.places.missing(names), {"damaged rows": self.skipped})


def read_egoclip(root: str | Path) -> EgoClip:
    """Index `egoclip.csv` in `root` (about 10 s and 110 MB of memory for all of it).

    Raises InputError for a missing file or column (commas in place of tabs), or over 1 % of damaged rows.
    """
    root = Path(root)
    file = find_below(root, ["egoclip.csv", "EgoClip/egoclip.csv", "annotations/egoclip.csv"], "list of clips")
    return EgoClip(SpanTable(file, _COLUMNS, _OPTIONAL, delimiter="\t"), VideoPlaces(root, EGO4D_VIDEOS))

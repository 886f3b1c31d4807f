"""Lists of Kinetics: `train.csv`, `val.csv`, `test.csv` with `PATH,LABEL` or `PATH LABEL` a line, label numbers from 0.

Paths are below the root, or below the folder that `videos` names; they may hold blanks. `labels.txt` or `kinetics_labels.txt`,
a name a line, names the labels if it is there; else their names are the numbers.
"""

from __future__ import annotations

from pathlib import Path

from palmist.errors import InputError
from palmist.files.input_files import read_text
from palmist.readers.annotation_files import whole_number
from palmist.video_sets.videos import VideoEntry, VideoList

__all__ = ["read_kinetics"]

SPLITS = ("train", "val", "test")
_NAMES = ("labels.txt", "kinetics_labels.txt")


def read_kinetics(root: str | Path, videos: str | None = None) -> VideoList:
    """Videos by csv lists. Raises InputError for no list, a damaged line, or a label beyond the names."""
    root = Path(root)
    if not root.is_dir():
        raise InputError(f"{root} is not a folder; expected one with train.csv in it")
    folder = root / videos if videos is not None else root
    rows: list[tuple[str, int, str]] = []
    for split in SPLITS:
        file = root / f"{split}.csv"
        for number, line in enumerate(read_text(file, encoding="utf-8-sig").splitlines() if file.is_file() else [], 1):
            if not line.strip():
                continue
            path, mark, label = line.strip().rpartition("," if "," in line else " ")
            if not mark or not path.strip():
                raise InputError(f"{file}, line {number}: found '{line}'; expected PATH,LABEL or PATH LABEL")
            rows.append((path.strip(), whole_number(label.strip(), file, f"the label in line {number}"), split))
    if not rows:
        raise InputError(f"{root} has no list of videos; expected train.csv or val.csv with PATH,LABEL in every line")
    lowest, highest = min(label for _, label, _ in rows), max(label for _, label, _ in rows)
    names_file = next((root / name for name in _NAMES if (root / name).is_file()), None)
    if names_file is not None:
        names = tuple(line.strip() for line in read_text(names_file, encoding="utf-8-sig").splitlines() if line.strip())
    else:
        digits = len(str(highest))
        names = tuple(f"{number:0{digits}d}" for number in range(highest + 1))
    if lowest < 0 or highest >= len(names):
        raise InputError(f"the lists in {root} have labels {lowest} to {highest}; expected 0 to {len(names) - 1}")
    entries = tuple(VideoEntry(folder / path, names[label], split, path) for path, label, split in rows)
    return VideoList(entries, names)

"""Diving48: competitive dives in 48 classes of take-off, somersaults, twists and position.

`Diving48_V2_train.json`, `Diving48_V2_test.json` (the cleaned labels): lists of objects with `vid_name`, `label` (a number) and
first and last frame, which are not needed as every dive has a file of its own; `Diving48_vocab.json`: the four parts of each
class's name. Videos `VID_NAME.mp4` in a folder `rgb`.
"""

from __future__ import annotations

from pathlib import Path

from palmist.errors import InputError
from palmist.readers.annotation_files import entry, find_below, read_json, whole_number
from palmist.video_sets.videos import VideoEntry, VideoList

__all__ = ["read_diving48"]


def read_diving48(root: str | Path, videos: str | None = None) -> VideoList:
    """Diving48 with the labels of version 2. videos: the folder of the .mp4 files below root.

    Raises InputError for a missing or damaged list, or a label that the vocabulary does not have.
    """
    root = Path(root)
    vocabulary = find_below(root, ["Diving48_vocab.json", "annotations/Diving48_vocab.json"], "vocabulary")
    names = read_json(vocabulary, "the names of the classes")
    if not isinstance(names, list) or not names:
        raise InputError(f"{vocabulary} holds {type(names).__name__}; expected a list with the parts of each class's name")
    labels = tuple(", ".join(map(str, name)) if isinstance(name, list) else str(name) for name in names)
    folder = find_below(root, [videos] if videos is not None else ["rgb", "videos", "."], "folder of videos")
    entries = []
    for split in ("train", "test"):
        file = vocabulary.with_name(f"Diving48_V2_{split}.json")
        items = read_json(file, "the list of that part")
        if not isinstance(items, list):
            raise InputError(f"{file} holds {type(items).__name__}; expected a list of videos; download it again")
        for number, item in enumerate(items):
            where = f"entry {number}"
            name = str(entry(item, "vid_name", file, where))
            label = whole_number(str(entry(item, "label", file, where)), file, f"the label of {where}")
            if not 0 <= label < len(labels):
                raise InputError(f"{file}, {where}: label {label}; expected 0 to {len(labels) - 1}, as in {vocabulary.name}")
            entries.append(VideoEntry(folder / f"{name}.mp4", labels[label], split, name))
    return VideoList(tuple(entries), labels)

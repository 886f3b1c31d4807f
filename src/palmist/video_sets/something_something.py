"""Something-Something v1 and v2: hands doing things with things, 174 templates as "Pushing [something] from left to right".

v2: `something-something-v2-{train,validation,test}.json` (lists of objects with `id`, `label`, `template`; the test list has
`id` alone), `something-something-v2-labels.json` (template without brackets -> number as text), videos `ID.webm`.
v1: `something-something-v1-{train,validation,test}.csv` (`id;label`), `something-something-v1-labels.csv` (a label a line, the
line is the number), pictures `ID/00001.jpg`, numbers from 1.
`read_frame_list` takes the lists that video networks are often trained from: `ID FRAMES LABEL` a line, pictures from 1.

The lists are given by the set's distribution; the names of the folders beside them are not, so several are tried, and
`videos` names another one. Both sets are for research after registration; nothing of them is carried here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from palmist.errors import InputError
from palmist.files.input_files import read_text
from palmist.readers.annotation_files import entry, find_below, read_json, whole_number
from palmist.video_sets.videos import VideoEntry, VideoList

__all__ = ["read_frame_list", "read_ssv1", "read_ssv2"]

RATE = 12.0  # of the pictures of v1 and of the videos of v2
SPLITS = ("train", "validation", "test")
_V1_PICTURES = "{:05d}.jpg"


def read_ssv2(root: str | Path, videos: str | None = None) -> VideoList:
    """Something-Something v2. videos: the folder of the .webm (or .mp4) files below root.

    Raises InputError for a missing or damaged list, or a label that the list of labels does not have.
    """
    root = Path(root)
    prefix = "something-something-v2-"
    names = [f"{prefix}labels.json", f"labels/{prefix}labels.json", "labels/labels.json"]
    labels_file = find_below(root, names, "list of labels")
    stem = prefix if labels_file.name.startswith(prefix) else ""
    labels = _v2_labels(labels_file)
    places = [videos] if videos is not None else ["20bn-something-something-v2", "videos", "."]
    folder = find_below(root, places, "folder of videos")
    entries: list[VideoEntry] = []
    suffix = ""
    for split in SPLITS:
        file = labels_file.with_name(f"{stem}{split}.json")
        if not file.is_file():
            continue
        listed = read_json(file, "the list of that part")
        if not isinstance(listed, list):
            raise InputError(f"{file} holds {type(listed).__name__}; expected a list of videos")
        for number, item in enumerate(listed):
            where = f"entry {number}"
            identity = str(entry(item, "id", file, where))
            label = _v2_label(item, labels, file, where)
            suffix = suffix or (".mp4" if (folder / f"{identity}.mp4").is_file() else ".webm")
            entries.append(VideoEntry(folder / f"{identity}{suffix}", label, split, identity, rate=RATE))
    if not entries:
        raise InputError(f"{labels_file.parent} has no list of videos; expected {stem}train.json; unpack the labels again")
    return VideoList(tuple(entries), labels)


def _v2_labels(file: Path) -> tuple[str, ...]:
    numbers = read_json(file, "the labels with their numbers")
    if not isinstance(numbers, Mapping) or not numbers:
        raise InputError(f'{file} does not map labels to numbers; expected an object such as {{"Holding something": "29"}}')
    rows = {whole_number(str(number), file, f"the number of '{label}'"): str(label) for label, number in numbers.items()}
    if sorted(rows) != list(range(len(numbers))):
        raise InputError(f"{file} numbers {len(numbers)} labels from {min(rows)} to {max(rows)}; expected 0, 1, 2 and so on")
    return tuple(rows[number] for number in range(len(rows)))


def _v2_label(item: Mapping[str, Any], labels: Iterable[str], file: Path, where: str) -> str | None:
    if "template" not in item:
        return None  # the test part
    label = str(item["template"]).replace("[", "").replace("]", "")
    if label not in labels:
        raise InputError(f"{file}, {where}: template '{label}' is not in the list of labels; expected both from one version")
    return label


def read_ssv1(root: str | Path, videos: str | None = None) -> VideoList:
    """Something-Something v1. videos: the folder with a folder of pictures for each video.

    Raises InputError for a missing or damaged list, or a label that the list of labels does not have.
    """
    root = Path(root)
    prefix = "something-something-v1-"
    labels_file = find_below(root, [f"{prefix}labels.csv", f"labels/{prefix}labels.csv"], "list of labels")
    labels = tuple(line.strip() for line in read_text(labels_file, encoding="utf-8-sig").splitlines() if line.strip())
    places = [videos] if videos is not None else ["20bn-something-something-v1", "videos", "."]
    folder = find_below(root, places, "folder of pictures")
    known, entries = set(labels), []
    for split in SPLITS:
        file = labels_file.with_name(f"{prefix}{split}.csv")
        lines = read_text(file, encoding="utf-8-sig").splitlines() if file.is_file() else []
        for number, line in enumerate(lines, 1):
            identity, semicolon, label = (part.strip() for part in line.partition(";"))
            if not identity:
                continue
            if split != "test" and label not in known:
                found = f"label '{label}', which is not in the list of labels" if semicolon else f"'{line}' without a label"
                raise InputError(f"{file}, line {number}: {found}; expected id;label")
            entries.append(
                VideoEntry(folder / identity, label or None, split, identity, pictures=_V1_PICTURES, rate=RATE)
            )  # fmt: skip
    if not entries:
        raise InputError(f"{labels_file.parent} has no list of videos; expected {prefix}train.csv; unpack the labels again")
    return VideoList(tuple(entries), labels)


def read_frame_list(
    file: str | Path, folder: str | Path, labels: Iterable[str], split: str | None = None, pictures: str = _V1_PICTURES
) -> VideoList:
    """A list with `ID FRAMES LABEL` a line: pictures of videos already taken apart, label numbers from 0.

    pictures: how the picture of a number is called, "{:05d}.jpg" for v1, "img_{:05d}.jpg" for v2 as such lists have it.
    Raises InputError for a damaged line.
    """
    file, folder, names, entries = Path(file), Path(folder), tuple(labels), []
    if not file.is_file():
        raise InputError(f"{file} does not exist; expected a list with ID FRAMES LABEL in every line")
    for number, line in enumerate(read_text(file).splitlines(), 1):
        words = line.split()
        if not words:
            continue
        if len(words) != 3:
            raise InputError(f"{file}, line {number}: found {len(words)} words; expected ID FRAMES LABEL")
        frames, label = (whole_number(word, file, f"a number in line {number}") for word in words[1:])
        if frames < 1 or not 0 <= label < len(names):
            raise InputError(
                f"{file}, line {number}: {frames} frames and label {label}; expected 1 or more and 0 to {len(names) - 1}"
            )
        entries.append(
            VideoEntry(folder / words[0], names[label], split, words[0], pictures=pictures, frames=frames, rate=RATE)
        )  # fmt: skip
    return VideoList(tuple(entries), names)

"""TACO: label lists of two-handed actions, a verb, a tool and what it is used on; 2,317 sequences, official splits.

    ROOT/v1_overall_data_sequences.txt            (verb, tool, target) SEQUENCE; also under data_lists/
    ROOT/v1_overall_data_train_test_split.txt     SEQUENCE,split: train, test_1, test_2, test_3, test_4
    ROOT/v1_egocentric_data_available_sequences.txt, v1_marker_removed_data_available_sequences.txt: as the first, fewer
    ROOT/*/(verb, tool, target)/SEQUENCE          the archives' own folders, read where the lists are not there (unverified)
    ROOT/poses/SEQUENCE.npz                       hands that the user tracked in the video; optional

A label is for the whole sequence. The set's own hand poses are pickles and stay unread. Licence of the lists: CC BY 4.0.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from palmist.errors import InputError
from palmist.files.input_files import read_text
from palmist.readers.annotation_files import find_below
from palmist.readers.labelled_video import Triplet, labelled_recordings
from palmist.recording import Recording

SOURCE = "TACO (github.com/leolyliu/TACO-Instructions)"
SPLITS = ("train", "test_1", "test_2", "test_3", "test_4")
_LISTS = {
    "overall": "v1_overall_data_sequences.txt",
    "egocentric": "v1_egocentric_data_available_sequences.txt",
    "marker_removed": "v1_marker_removed_data_available_sequences.txt",
}
_SPLIT_FILE = "v1_overall_data_train_test_split.txt"
_TRIPLET = r"\(([^,()]+), ([^,()]+), ([^,()]+)\)"
_LINE = re.compile(_TRIPLET + r" (\S+)$")
_FOLDER = re.compile(_TRIPLET + "$")


def read_taco(root: str | Path, sequences: str = "overall") -> list[Triplet]:
    """The sequences of TACO with triplet and split, in the order of their names.

    sequences: "overall" for all of them, "egocentric" or "marker_removed" for those that have these videos. Without the
    lists the triplets come from the archives' folder names and have no split.

    Raises InputError when neither lists nor such folders are there, or lists are damaged or do not fit each other.
    """
    if sequences not in _LISTS:
        raise InputError(f"sequences is {sequences!r}; expected one of {', '.join(_LISTS)}")
    root = Path(root)
    find_below(root, (".",), "lists")
    for folder in (root, root / "data_lists"):
        if (folder / _LISTS[sequences]).is_file():
            return _from_lists(folder, sequences)
    if sequences == "overall":
        found = _from_folders(root)
        if found:
            return found
    raise InputError(
        f"{root} has no {_LISTS[sequences]} and no folder called '(verb, tool, target)' with sequences; "
        "expected the lists there, fetch data_lists/ of the set's repository"
    )


def read_taco_poses(root: str | Path, sequences: str = "overall") -> Iterator[Recording]:
    """One Recording per sequence that was tracked (ROOT/poses/SEQUENCE.npz), with its label over all of it and its split.

    See `read_taco` and `labelled_recordings`.
    """
    return labelled_recordings(Path(root), "taco", SOURCE, read_taco(root, sequences))


def _from_lists(folder: Path, sequences: str) -> list[Triplet]:
    splits = _splits(folder / _SPLIT_FILE)
    file = folder / _LISTS[sequences]
    found: dict[str, Triplet] = {}
    for number, line in enumerate(read_text(file).splitlines(), 1):
        if not line.strip():
            continue
        match = _LINE.match(line.strip())
        if match is None:
            raise InputError(f"{file}, line {number}: found '{line}', expected '(verb, tool, target) SEQUENCE'")
        verb, tool, target, name = match.groups()
        if name in found:
            raise InputError(f"{file}, line {number}: {name} stands there twice; expected each sequence once")
        if name not in splits:
            raise InputError(f"{folder / _SPLIT_FILE} has no split for {name} of {file.name}; download both lists again")
        found[name] = Triplet(name, verb, tool, target, splits[name])
    if not found:
        raise InputError(f"{file} is empty; expected lines '(verb, tool, target) SEQUENCE'; download it again")
    if sequences == "overall" and len(splits) > len(found):
        raise InputError(
            f"{file} lists {len(found)} sequences, but {_SPLIT_FILE} {len(splits)}; expected the same ones; it may be cut off"
        )
    return [found[name] for name in sorted(found)]


def _splits(file: Path) -> dict[str, str]:
    """{sequence: split} of the split file."""
    if not file.is_file():
        raise InputError(f"{file} does not exist; expected it beside the lists of sequences")
    splits: dict[str, str] = {}
    for number, line in enumerate(read_text(file).splitlines(), 1):
        if not line.strip():
            continue
        name, _, split = line.strip().partition(",")
        if split not in SPLITS:
            raise InputError(f"{file}, line {number}: found '{line}', expected SEQUENCE,split with one of {', '.join(SPLITS)}")
        if splits.setdefault(name, split) != split:
            raise InputError(f"{file}, line {number}: {name} is in {split} here and in {splits[name]} before; expected one")
    return splits


def _from_folders(root: Path) -> list[Triplet]:
    """Triplets of the folders' names; a sequence that several archives hold comes once."""
    found: dict[str, Triplet] = {}
    for folder in (path for path in (*root.glob("*"), *root.glob("*/*")) if path.is_dir()):
        match = _FOLDER.match(folder.name)
        if match is None:
            continue
        for sequence in (path for path in folder.iterdir() if path.is_dir() or path.suffix == ".mp4"):
            triplet = Triplet(sequence.stem, *match.groups())
            if found.setdefault(sequence.stem, triplet) != triplet:
                raise InputError(f"{sequence} is '{triplet.label}', elsewhere '{found[sequence.stem].label}'; expected one")
    return [found[name] for name in sorted(found)]

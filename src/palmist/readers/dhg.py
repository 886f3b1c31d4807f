"""DHG-14/28 and SHREC'17: one right hand, 14 gestures made with one finger or the whole hand, metric 3D at 30 Hz.

    ROOT/gesture_1/finger_1/subject_1/essai_1/skeleton_world.txt (DHG) or skeletons_world.txt (SHREC'17)
    ROOT/informations_troncage_sequences.txt       DHG: gesture finger subject essai first last
    ROOT/train_gestures.txt, test_gestures.txt     SHREC'17: gesture finger subject essai label14 label28 frames

A line of a skeleton file is a frame: 22 joints x y z in metres, wrist, palm centre, then thumb to little finger from base
to tip. The palm centre has no place among the canonical 21 joints and is dropped. Numbers of folders and labels begin with
1; finger 1 is one finger, 2 the whole hand; label28 = 2 (gesture - 1) + finger. Format: the sets' own READMEs (from memory
of their public loaders: unverified on the real files, as is that every hand is a right one).
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from palmist.errors import InputError
from palmist.readers.annotation_files import find_below, whole_number
from palmist.recording import ActionSegment, Recording

RATE = 30.0
GESTURES = (
    "grab", "tap", "expand", "pinch", "rotation clockwise", "rotation counter-clockwise", "swipe right", "swipe left",
    "swipe up", "swipe down", "swipe x", "swipe plus", "swipe v", "shake",
)  # fmt: skip
FINGERS = ("one finger", "whole hand")
CANONICAL = (0, *range(2, 22))  # joint 1 of 22 is the palm's centre
Key = tuple[int, int, int, int]  # gesture, finger, subject, essai
_FOLDER = re.compile(r"gesture_(\d+)/finger_(\d+)/subject_(\d+)/essai_(\d+)$")


def read_dhg(root: str | Path, classes: int = 14, whole: bool = False) -> Iterator[Recording]:
    """One Recording per sequence of DHG-14/28; the gesture is the segment that informations_troncage_sequences.txt names.

    classes: 14, or 28 to tell one finger from the whole hand. whole: take the whole sequence as the gesture. Splits are by
    person (`subject`), the set's own protocol leaves one out.

    Raises InputError when a file is missing or does not hold what it should.
    """
    root = _found(Path(root), "skeleton_world.txt")
    spans: dict[Key, tuple[int, int]] = {}
    if not whole:
        for key, rest in _list(root / "informations_troncage_sequences.txt", 6):
            spans[key] = (rest[0], rest[1])
    for key, file in _files(root, "skeleton_world.txt"):
        if not whole and key not in spans:
            raise InputError(f"{root / 'informations_troncage_sequences.txt'} does not list {file.parent}; download it again")
        yield _read(file, key, "dhg", classes, spans.get(key), None)


def read_shrec17(root: str | Path, classes: int = 14) -> Iterator[Recording]:
    """One Recording per sequence of SHREC'17 that the train and test lists name, the gesture over all of it.

    classes: 14 or 28, see `read_dhg`. Listed sequences without a file are counted in a warning.

    Raises InputError when a list is missing or a file does not hold what it should.
    """
    root = _found(Path(root), "skeletons_world.txt")
    files = dict(_files(root, "skeletons_world.txt"))
    absent = 0
    for split in ("train", "test"):
        for key, rest in _list(root / f"{split}_gestures.txt", 7):
            if key not in files:
                absent += 1
                continue
            recording = _read(files[key], key, "shrec17", classes, None, split)
            if (rest[0], rest[1]) != (key[0], 2 * (key[0] - 1) + key[1]):
                raise InputError(
                    f"{root / f'{split}_gestures.txt'}: labels {rest[0]}, {rest[1]} do not belong to {files[key].parent}"
                )
            if len(recording) != rest[2]:
                raise InputError(f"{files[key]} holds {len(recording)} frames, but the list names {rest[2]}; it may be cut off")
            yield recording
    if absent:
        warnings.warn(f"{root}: {absent} listed sequences have no skeletons_world.txt", stacklevel=2)


def _found(root: Path, name: str) -> Path:
    """The folder that holds gesture_1 ... gesture_14, root itself or one below it."""
    if root.is_dir() and not any(root.glob("gesture_*")):
        inner = [path for path in sorted(root.iterdir()) if path.is_dir() and any(path.glob("gesture_*"))]
        root = inner[0] if inner else root
    if root.is_dir() and not any(root.glob("gesture_*")):
        raise InputError(
            f"{root} has no gesture_1; expected gesture_1/finger_1/subject_1/essai_1/{name} in it; unpack the archive"
        )
    return find_below(root, (".",), "gestures")


def _files(root: Path, name: str) -> list[tuple[Key, Path]]:
    found = []
    for file in root.glob(f"gesture_*/finger_*/subject_*/essai_*/{name}"):
        match = _FOLDER.search(file.parent.as_posix())
        if match:
            gesture, finger, subject, essai = (int(number) for number in match.groups())
            found.append(((gesture, finger, subject, essai), file))
    if not found:
        other = "skeletons_world.txt" if name == "skeleton_world.txt" else "skeleton_world.txt"
        if any(root.glob(f"gesture_*/finger_*/subject_*/essai_*/{other}")):
            right = "shrec17" if other == "skeletons_world.txt" else "dhg"
            raise InputError(f"{root} holds {other} files, expected {name}; it is another set, run palmist prepare {right}")
        raise InputError(f"{root} holds no gesture_1/finger_1/subject_1/essai_1/{name}; expected one in each folder")
    return sorted(found)


def _list(file: Path, columns: int) -> list[tuple[Key, list[int]]]:
    if not file.is_file():
        raise InputError(f"{file} does not exist; expected the list of sequences that comes with the set")
    rows = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        words = line.split()
        if not words:
            continue
        if len(words) != columns:
            raise InputError(f"{file}, line {number}: found {len(words)} numbers, expected {columns}")
        gesture, finger, subject, essai, *rest = (whole_number(word, file, f"a number in line {number}") for word in words)
        rows.append(((gesture, finger, subject, essai), rest))
    return rows


def _read(file: Path, key: Key, name: str, classes: int, span: tuple[int, int] | None, split: str | None) -> Recording:
    gesture, finger, subject, essai = key
    if classes not in (14, 28):
        raise InputError(f"classes is {classes}; expected 14 or 28")
    if not (1 <= gesture <= 14 and 1 <= finger <= 2):
        raise InputError(f"{file} stands under gesture {gesture}, finger {finger}; expected gestures 1 to 14 and fingers 1, 2")
    rows = [line.split() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    if not rows:
        raise InputError(f"{file} is empty; expected 66 numbers in each line; download it again")
    for number, row in enumerate(rows, 1):
        if len(row) != 66:
            raise InputError(f"{file}, line {number}: found {len(row)} numbers, expected 66 (22 joints); it may be cut off")
    try:
        points = np.array(rows, np.float64).reshape(-1, 22, 3)
    except ValueError as error:
        raise InputError(f"{file} holds something that is not a number ({error}); expected 66 in each line") from error
    joints, valid = np.zeros((len(points), 2, 21, 3)), np.zeros((len(points), 2), bool)
    joints[:, 1] = points[:, list(CANONICAL)]
    valid[:, 1] = np.any(points != 0, axis=(1, 2))
    label = GESTURES[gesture - 1] + (f" with {FINGERS[finger - 1]}" if classes == 28 else "")
    first, last = span if span is not None else (0, len(points) - 1)
    if last == len(points):  # an end that does not belong to the gesture: which it is, is unverified on the real list
        last -= 1
    if not 0 <= first <= last < len(points):
        raise InputError(f"{file} holds {len(points)} frames, but its gesture runs from {first} to {last}; it may be cut off")
    return Recording(
        joints=joints,
        valid=valid,
        time=np.arange(len(points)) / RATE,
        space="metric",
        name=f"{name}/g{gesture:02d}/f{finger}/s{subject:02d}/e{essai:02d}",
        frame="camera",
        segments=(ActionSegment(first / RATE, (last + 1) / RATE, label, verb=GESTURES[gesture - 1]),),
        subject=str(subject),
        session=f"g{gesture}f{finger}s{subject}e{essai}",
        split=split,
        source="DHG-14/28" if name == "dhg" else "SHREC'17 track, 3D hand gesture recognition",
        provenance={"fingers": FINGERS[finger - 1], "label14": gesture, "label28": 2 * (gesture - 1) + finger},
    )

"""What DHG-14/28 and SHREC'17 share: folders gesture_G/finger_F/subject_S/essai_E with one skeleton file each.

A line of a skeleton file is a frame: 22 joints x y z in metres, wrist, palm centre, then thumb to little finger from base
to tip. The palm centre has no place among the canonical 21 joints and is dropped. Folder numbers begin with 1; finger 1 is
one finger, finger 2 the whole hand. Unverified on the real files, as are the gestures' words and that every hand is a right
one.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from palmist.errors import InputError
from palmist.files.input_files import read_text
from palmist.readers.annotation_files import find_below, whole_number
from palmist.recording import ActionSegment, Recording

RATE = 30.0
GESTURES = (
    "grab", "tap", "expand", "pinch", "rotation clockwise", "rotation counter-clockwise", "swipe right", "swipe left",
    "swipe up", "swipe down", "swipe x", "swipe plus", "swipe v", "shake",
)  # fmt: skip
FINGERS = ("one finger", "whole hand")
CANONICAL = (0, *range(2, 22))  # joint 1 of 22 is the palm's centre
#: File name of the skeletons -> the data set that calls it so.
SKELETON_FILES = {"skeleton_world.txt": "dhg", "skeletons_world.txt": "shrec17"}
Key = tuple[int, int, int, int]  # gesture, finger, subject, essai
_FOLDER = re.compile(r"gesture_(\d+)/finger_(\d+)/subject_(\d+)/essai_(\d+)$")


def gesture_root(root: Path, name: str) -> Path:
    """The folder that holds gesture_1 ... gesture_14: root, or one below it. InputError when there is none.

    name: what the set calls its skeleton files, for the message.
    """
    if root.is_dir() and not any(root.glob("gesture_*")):
        inner = [path for path in sorted(root.iterdir()) if path.is_dir() and any(path.glob("gesture_*"))]
        root = inner[0] if inner else root
    if root.is_dir() and not any(root.glob("gesture_*")):
        raise InputError(
            f"{root} has no gesture_1; expected gesture_1/finger_1/subject_1/essai_1/{name} in it; unpack the archive"
        )
    return find_below(root, (".",), "gestures")


def gesture_files(root: Path, name: str) -> list[tuple[Key, Path]]:
    """((gesture, finger, subject, essai), skeleton file) in that order; InputError when there are none, or another set's."""
    found = []
    for file in root.glob(f"gesture_*/finger_*/subject_*/essai_*/{name}"):
        match = _FOLDER.search(file.parent.as_posix())
        if match:
            gesture, finger, subject, essai = (int(number) for number in match.groups())
            found.append(((gesture, finger, subject, essai), file))
    if not found:
        for other, dataset in SKELETON_FILES.items():
            if any(root.glob(f"gesture_*/finger_*/subject_*/essai_*/{other}")):
                raise InputError(
                    f"{root} holds {other} files, expected {name}; it is another set, run palmist prepare {dataset}"
                )
        raise InputError(f"{root} holds no gesture_1/finger_1/subject_1/essai_1/{name}; expected one in each folder")
    return sorted(found)


def gesture_rows(file: Path, columns: int) -> list[tuple[Key, list[int]]]:
    """The lines of a list of sequences: gesture, finger, subject, essai, and the other whole numbers; InputError if damaged."""
    if not file.is_file():
        raise InputError(f"{file} does not exist; expected the list of sequences that comes with the set")
    rows = []
    for number, line in enumerate(read_text(file).splitlines(), 1):
        words = line.split()
        if not words:
            continue
        if len(words) != columns:
            raise InputError(f"{file}, line {number}: found {len(words)} numbers, expected {columns}")
        gesture, finger, subject, essai, *rest = (whole_number(word, file, f"a number in line {number}") for word in words)
        rows.append(((gesture, finger, subject, essai), rest))
    if not rows:
        raise InputError(f"{file} is empty; expected {columns} numbers in each line; download it again")
    return rows


def check_classes(classes: int) -> None:
    """InputError unless classes is 14 or 28."""
    if classes not in (14, 28):
        raise InputError(f"classes is {classes}; expected 14 or 28")


def read_gesture(file: Path, key: Key, dataset: str, classes: int, span: tuple[int, int] | None = None) -> Recording:
    """One skeleton file as a Recording in metres, camera frame, right hand only; a hand of zeros is not valid.

    span: first and last frame of the gesture, from 0, both its own; None for all of the file. The label tells one finger
    from the whole hand for 28 classes. Raises InputError when the file or the folder's numbers are not what they should be.
    """
    gesture, finger, subject, essai = key
    if not (1 <= gesture <= 14 and 1 <= finger <= 2):
        raise InputError(f"{file} stands under gesture {gesture}, finger {finger}; expected gestures 1 to 14 and fingers 1, 2")
    points = _points(file)
    joints, valid = np.zeros((len(points), 2, 21, 3)), np.zeros((len(points), 2), bool)
    joints[:, 1] = points[:, list(CANONICAL)]
    valid[:, 1] = np.any(points != 0, axis=(1, 2))
    first, last = span if span is not None else (0, len(points) - 1)
    if last == len(points):  # an end that does not belong to the gesture: which it is, is unverified on the real list
        last -= 1
    if not 0 <= first <= last < len(points):
        raise InputError(f"{file} holds {len(points)} frames, but its gesture runs from {first} to {last}; it may be cut off")
    label = GESTURES[gesture - 1] + (f" with {FINGERS[finger - 1]}" if classes == 28 else "")
    return Recording(
        joints=joints,
        valid=valid,
        time=np.arange(len(points)) / RATE,
        space="metric",
        name=f"{dataset}/g{gesture:02d}/f{finger}/s{subject:02d}/e{essai:02d}",
        frame="camera",
        segments=(ActionSegment(first / RATE, (last + 1) / RATE, label, verb=GESTURES[gesture - 1]),),
        subject=str(subject),
        session=f"g{gesture}f{finger}s{subject}e{essai}",
        provenance={"fingers": FINGERS[finger - 1]},
    )


def _points(file: Path) -> np.ndarray:
    """(T, 22, 3) metres."""
    rows = [line.split() for line in read_text(file).splitlines() if line.strip()]
    if not rows:
        raise InputError(f"{file} is empty; expected 66 numbers in each line; download it again")
    for number, row in enumerate(rows, 1):
        if len(row) != 66:
            raise InputError(f"{file}, line {number}: found {len(row)} numbers, expected 66 (22 joints); it may be cut off")
    try:
        return np.array(rows, np.float64).reshape(-1, 22, 3)
    except ValueError as error:
        raise InputError(f"{file} holds something that is not a number ({error}); expected 66 in each line") from error

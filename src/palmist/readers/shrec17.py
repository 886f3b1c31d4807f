"""SHREC'17 track: one right hand, 14 gestures made with one finger or the whole hand, 28 people, metric 3D at 30 Hz.

    ROOT/gesture_1/finger_1/subject_1/essai_1/skeletons_world.txt     see gesture_folders
    ROOT/train_gestures.txt, test_gestures.txt                        gesture finger subject essai label14 label28 frames

The format is unverified on the real files. The two labels are passed through as the lists number them.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

from palmist.errors import InputError
from palmist.readers.gesture_folders import Key, check_classes, gesture_files, gesture_root, gesture_rows, read_gesture
from palmist.recording import Recording

SOURCE = "SHREC'17 track, 3D hand gesture recognition"
SKELETONS = "skeletons_world.txt"
SPLITS = ("train", "test")


def read_shrec17(root: str | Path, classes: int = 14) -> Iterator[Recording]:
    """One Recording per sequence of SHREC'17 that the train and test lists name, with its split, the gesture over all of it.

    Metres, camera frame, right hand only. classes: 14, or 28 to tell one finger from the whole hand; the lists' own numbers
    are in provenance["label14"] and ["label28"]. Listed sequences without a file are counted in a warning.

    Raises InputError when a list is missing, the lists contradict the folders or each other, or a file is cut off.
    """
    check_classes(classes)
    root = gesture_root(Path(root), SKELETONS)
    files = dict(gesture_files(root, SKELETONS))
    lists = _lists(root)
    for key, (split, label14, label28, frames) in lists.items():
        if key not in files:
            continue
        recording = read_gesture(files[key], key, "shrec17", classes)
        if len(recording) < frames:
            raise InputError(
                f"{files[key]} holds {len(recording)} frames, but {split}_gestures.txt names {frames}; it may be cut off"
            )
        provenance = {**recording.provenance, "label14": label14, "label28": label28}
        yield recording.replace(source=SOURCE, split=split, provenance=provenance)
    absent = sum(key not in files for key in lists)
    if absent:
        warnings.warn(f"{root}: {absent} listed sequences have no {SKELETONS}", stacklevel=2)


def _lists(root: Path) -> dict[Key, tuple[str, int, int, int]]:
    """{sequence: (split, label14, label28, frames)}; each label must stand for one gesture, or gesture and finger, alone."""
    found: dict[Key, tuple[str, int, int, int]] = {}
    meanings: dict[tuple[int, int], tuple[int, ...]] = {}
    numbers: dict[tuple[int, ...], int] = {}
    for split in SPLITS:
        file = root / f"{split}_gestures.txt"
        for key, (label14, label28, frames) in gesture_rows(file, 7):
            for count, label, meaning in ((14, label14, key[:1]), (28, label28, key[:2])):
                if not 1 <= label <= count:
                    raise InputError(f"{file}: label {label} of {key}; expected 1 to {count}")
                if meanings.setdefault((count, label), meaning) != meaning or numbers.setdefault(meaning, label) != label:
                    raise InputError(
                        f"{file}: gesture {key[0]}, finger {key[1]} has label {label} of {count}, which contradicts another "
                        "line; expected one label for each; download the lists again"
                    )
            if key in found:
                raise InputError(f"{file}: gesture, finger, subject, essai {key} stands there twice; expected each once")
            found[key] = (split, label14, label28, frames)
    return found

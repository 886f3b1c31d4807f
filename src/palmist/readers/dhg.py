"""DHG-14/28: one right hand, 14 gestures made with one finger or the whole hand, 20 people, metric 3D at 30 Hz.

    ROOT/gesture_1/finger_1/subject_1/essai_1/skeleton_world.txt      see gesture_folders
    ROOT/informations_troncage_sequences.txt                          gesture finger subject essai first last

The format is unverified on the real files, as is the order of the 28 labels: label28 = 2 (gesture - 1) + finger.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from palmist.errors import InputError
from palmist.readers.gesture_folders import Key, check_classes, gesture_files, gesture_root, gesture_rows, read_gesture
from palmist.recording import Recording

SOURCE = "DHG-14/28"
SKELETONS = "skeleton_world.txt"
SPANS = "informations_troncage_sequences.txt"


def read_dhg(root: str | Path, classes: int = 14, whole: bool = False) -> Iterator[Recording]:
    """One Recording per sequence of DHG-14/28; the gesture is the segment that informations_troncage_sequences.txt names.

    Metres, camera frame, right hand only. classes: 14, or 28 to tell one finger from the whole hand. whole: take the whole
    sequence as the gesture. There is no split: the set's own protocol leaves one person (`subject`) out.

    Raises InputError when a file is missing or does not hold what it should.
    """
    check_classes(classes)
    root = gesture_root(Path(root), SKELETONS)
    files = gesture_files(root, SKELETONS)
    spans: dict[Key, tuple[int, int]] = {}
    if not whole:
        spans = {key: (first, last) for key, (first, last) in gesture_rows(root / SPANS, 6)}
    for key, file in files:
        if not whole and key not in spans:
            raise InputError(f"{root / SPANS} does not list {file.parent}; expected a line for each; download it again")
        recording = read_gesture(file, key, "dhg", classes, spans.get(key))
        labels = {"label14": key[0], "label28": 2 * (key[0] - 1) + key[1]}
        yield recording.replace(source=SOURCE, provenance={**recording.provenance, **labels})

"""A tiny data set in FPHA's exact layout: a recorded hand of leap_recordings, made-up actions."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from palmist.errors import InputError
from palmist.readers.example_motion import example_hands
from palmist.skeleton import from_canonical

#: sequence, part of the action split, label, frames; the fourth is one that the authors leave out
SEQUENCES = (
    ("Subject_1/open_juice_bottle/1", "Training", 21, 40),
    ("Subject_2/open_juice_bottle/1", "Test", 21, 36),
    ("Subject_3/pour_milk/2", "Test", 27, 30),
    ("Subject_2/close_milk/4", "Training", 5, 20),
)
WITH_OBJECT = "Subject_3/pour_milk/2"


def write_fpha_example(root: str | Path) -> Path:
    """Write poses, split file, subject info and one object pose file below `root` (a new or empty folder); returns root."""
    root = Path(root)
    if root.exists() and any(root.iterdir()):
        raise InputError(f"{root} is not empty; expected a new folder for the example")
    info: dict[str, list[str]] = {}
    for place, (sequence, _, _, frames) in enumerate(SEQUENCES):
        folder = root / "Hand_pose_annotation_v1" / sequence
        folder.mkdir(parents=True)
        points = 1000.0 * from_canonical(example_hands(frames, 30.0, 10 * place), "fpha").reshape(frames, 63)
        lines = [f"{i:04d} " + " ".join(f"{number:.4f}" for number in row) for i, row in enumerate(points)]
        (folder / "skeleton.txt").write_text("\n".join(lines) + "\n")
        subject, action, take = sequence.split("/")
        info.setdefault(subject, ["Subject information", "action sequence frames", "-----"]).append(f"{action} {take} {frames}")
    (root / "Subjects_info").mkdir()
    for subject, lines in info.items():
        (root / "Subjects_info" / f"{subject}_info.txt").write_text("\n".join(lines) + "\n")
    split = []
    for part in ("Training", "Test"):
        split += [f"{part} {sum(s[1] == part for s in SEQUENCES)}"]
        split += [f"{sequence} {label}" for sequence, here, label, _ in SEQUENCES if here == part]
    (root / "data_split_action_recognition.txt").write_text("\n".join(split) + "\n")
    matrix = np.eye(4)
    matrix[:3, 3] = (10.0, 20.0, 300.0)
    matrix[:2, :2] = ((0.0, -1.0), (1.0, 0.0))
    folder = root / "Object_6D_pose_annotation_v1" / WITH_OBJECT
    folder.mkdir(parents=True)
    numbers = " ".join(f"{number:g}" for number in matrix.T.ravel())  # column by column
    (folder / "object_pose.txt").write_text("".join(f"{i:04d} {numbers}\n" for i in range(3)))
    return root

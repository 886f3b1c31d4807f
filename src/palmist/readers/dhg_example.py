"""Tiny data sets in the exact layouts of DHG-14/28 and SHREC'17: a recorded hand of leap_recordings, made-up gestures."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from palmist.errors import InputError
from palmist.readers.example_motion import example_hands
from palmist.readers.gesture_folders import CANONICAL

#: gesture, finger, subject, essai, frames
SEQUENCES = ((1, 1, 1, 1, 50), (1, 2, 2, 1, 44), (7, 1, 1, 3, 36), (14, 2, 2, 5, 60))


def _write_skeletons(root: Path, name: str) -> None:
    if root.exists() and any(root.iterdir()):
        raise InputError(f"{root} is not empty; expected a new folder for the example")
    for start, (gesture, finger, subject, essai, frames) in enumerate(SEQUENCES):
        hand = example_hands(frames, 30.0, 15 * start)[:, 1]
        points = np.zeros((frames, 22, 3))
        points[:, list(CANONICAL)] = hand
        points[:, 1] = hand[:, [0, 5, 9, 13, 17]].mean(1)
        folder = root / f"gesture_{gesture}" / f"finger_{finger}" / f"subject_{subject}" / f"essai_{essai}"
        folder.mkdir(parents=True)
        lines = [" ".join(f"{number:.6f}" for number in row) for row in points.reshape(frames, 66)]
        (folder / name).write_text("\n".join(lines) + "\n")


def write_dhg_example(root: str | Path) -> Path:
    """DHG-14/28 below `root` (a new or empty folder); returns root."""
    root = Path(root)
    _write_skeletons(root, "skeleton_world.txt")
    lines = [f"{g} {f} {s} {e} 5 {frames - 6}" for g, f, s, e, frames in SEQUENCES]
    (root / "informations_troncage_sequences.txt").write_text("\n".join(lines) + "\n")
    return root


def write_shrec17_example(root: str | Path) -> Path:
    """SHREC'17 below `root` (a new or empty folder); returns root."""
    root = Path(root)
    _write_skeletons(root, "skeletons_world.txt")
    lines = [f"{g} {f} {s} {e} {g} {2 * (g - 1) + f} {frames}" for g, f, s, e, frames in SEQUENCES]
    (root / "train_gestures.txt").write_text("\n".join(lines[:3]) + "\n")
    (root / "test_gestures.txt").write_text("\n".join(lines[3:]) + "\n")
    return root

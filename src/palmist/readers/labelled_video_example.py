"""Tiny data sets in the exact layouts of IPN Hand's and TACO's lists, with a recorded hand as if tracked in the videos."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from palmist.errors import InputError
from palmist.readers.example_motion import example_hands
from palmist.readers.ipn_hand import LABELS, NO_GESTURE
from palmist.readers.labelled_video import POSES
from palmist.recording import Recording
from palmist.recording_file import write_recording

__all__ = ["write_ipn_hand_example", "write_taco_example"]

RATE = 30.0
#: list, video, (code, first frame, last frame) one after the other
IPN_VIDEOS = (
    ("train", "1CM1_1_R_#217", (("D0X", 1, 30), ("B0A", 31, 90), ("G01", 91, 105))),
    ("train", "1CM1_2_R_#218", (("D0X", 1, 60), ("G05", 61, 84))),
    ("val", "4CM11_2_R_#12", (("D0X", 1, 9), ("G11", 10, 39))),
)
#: (verb, tool, target), sequence, split, whether the videos of egocentric and marker_removed are there
TACO_SEQUENCES = (
    (("stir", "spoon", "bowl"), "20231005_038", "train", True, True),
    (("stir", "spoon", "bowl"), "20231005_039", "test_1", True, False),
    (("pour in some", "kettle", "cup"), "20231006_001", "test_4", False, False),
)
TACO_FRAMES = 45


def write_ipn_hand_example(root: str | Path) -> Path:
    """Both pairs of IPN Hand's lists and poses for their videos below `root` (a new or empty folder); returns root.

    Raises InputError when root is not empty.
    """
    root = _new_folder(root)
    folder = root / "annotation_ipnGesture"
    folder.mkdir(parents=True)
    for name, index, codes in (
        ("", "classIndAll.txt", list(LABELS)),
        ("_but_None", "classIndAllbutNone.txt", [code for code in LABELS if code != NO_GESTURE]),
    ):
        # the official index has no line end after its last class
        (folder / index).write_text("\n".join(f"{number} {code}" for number, code in enumerate(codes, 1)))
        for split in ("train", "val"):
            lines = [
                f"./frames/{video} {codes.index(code) + 1} {first} {last}\n"
                for where, video, segments in IPN_VIDEOS
                for code, first, last in segments
                if where == split and code in codes
            ]
            (folder / f"{split}listall{name}.txt").write_text("".join(lines))
    for start, (_, video, segments) in enumerate(IPN_VIDEOS):
        _write_poses(root, video, segments[-1][2], 10 * start)
    return root


def write_taco_example(root: str | Path) -> Path:
    """TACO's four lists and poses for their sequences below `root` (a new or empty folder); returns root.

    Raises InputError when root is not empty.
    """
    root = _new_folder(root)
    folder = root / "data_lists"
    folder.mkdir(parents=True)
    lines = [(f"({', '.join(triplet)}) {name}\n", ego, clean) for triplet, name, _, ego, clean in TACO_SEQUENCES]
    (folder / "v1_overall_data_sequences.txt").write_text("".join(line for line, _, _ in lines))
    (folder / "v1_egocentric_data_available_sequences.txt").write_text("".join(line for line, ego, _ in lines if ego))
    (folder / "v1_marker_removed_data_available_sequences.txt").write_text("".join(line for line, _, clean in lines if clean))
    (folder / "v1_overall_data_train_test_split.txt").write_text("".join(f"{s[1]},{s[2]}\n" for s in TACO_SEQUENCES))
    for start, (_, name, *_) in enumerate(TACO_SEQUENCES):
        _write_poses(root, name, TACO_FRAMES, 10 * start)
    return root


def _new_folder(root: str | Path) -> Path:
    root = Path(root)
    if root.exists() and any(root.iterdir()):
        raise InputError(f"{root} is not empty; expected a new folder for the example")
    return root


def _write_poses(root: Path, name: str, frames: int, start: int) -> None:
    recording = Recording(
        joints=example_hands(frames, RATE, start),
        valid=np.ones((frames, 2), bool),
        time=np.arange(frames) / RATE,
        space="metric",
        name=name,
    )
    write_recording(root / POSES / f"{name}.npz", recording)

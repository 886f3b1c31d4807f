"""A tiny data set in Assembly101's exact layout: recorded hands of leap_recordings, made-up names and labels."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from palmist.errors import InputError
from palmist.readers.example_motion import example_hands
from palmist.skeleton import from_canonical

FRAMES = 180
VIEWS = ("C10095_rgb", "C10115_rgb", "HMC_84346135_mono10bit")
SEQUENCES = (
    ("train", "nusar-2021_action_both_9011-a01_9011_user_id_2021-02-01_153724"),
    ("validation", "nusar-2021_action_both_9012-c07_9012_user_id_2021-02-01_164345"),
    ("test", "nusar-2021_action_both_9013-b02_9013_user_id_2021-02-02_141736"),
)
#: id, verb, noun; start and end at 30 Hz of every sequence's segments
ACTIONS = (("pick up", "wheel"), ("screw", "chassis"), ("put down", "wheel"))
SEGMENTS = ((0, 4, 30), (1, 24, 60), (2, 62, 85))  # the first two overlap
MISSING = (50, 51, 52)


def write_assembly101_example(root: str | Path) -> Path:
    """Write both pose releases and all three kinds of annotation below `root` (a new or empty folder); returns root."""
    root = Path(root)
    if root.exists() and any(root.iterdir()):
        raise InputError(f"{root} is not empty; expected a new folder for the example")
    for number, (_, sequence) in enumerate(SEQUENCES):
        hands = example_hands(FRAMES, 60.0, 40 * number)
        _write_poses(root, sequence, hands)
    _write_fine(root / "fine-grained-annotations")
    _write_anticipation(root / "anticipation-annotations")
    _write_coarse(root / "coarse-annotations" / "coarse_labels")
    return root


def _write_poses(root: Path, sequence: str, hands: np.ndarray) -> None:
    landmarks = from_canonical(hands, "assembly101")
    landmarks[:, :, 20] = hands[:, :, [0, 5, 9, 13, 17]].mean(2)  # the palm's centre
    millimetres = np.round(1000 * landmarks, 4).tolist()
    older = [
        {
            "landmarks": {"0": frame[0], "1": frame[1]},
            "tracking_confidence": {"0": 1.0, "1": 0.0 if number >= FRAMES - 6 else 1.0},
        }
        for number, frame in enumerate(millimetres)
    ]
    newer = {str(number): {"0": frame[0], "1": frame[1]} for number, frame in enumerate(millimetres) if number not in MISSING}
    for folder, content in (("poses@60fps", older), ("AssemblyPoses/landmarks3D", newer)):
        (root / folder).mkdir(parents=True, exist_ok=True)
        (root / folder / f"{sequence}.json").write_text(json.dumps(content))


def _write_fine(folder: Path) -> None:
    folder.mkdir(parents=True)
    labelled = (
        "id,video,start_frame,end_frame,action_id,verb_id,noun_id,action_cls,verb_cls,noun_cls,toy_id,toy_name,is_shared,is_RGB"
    )
    for split, sequence in SEQUENCES:
        lines = [labelled if split != "test" else "id,video,start_frame,end_frame,toy_id,toy_name,is_shared,is_RGB"]
        for action, start, end in SEGMENTS:
            verb, noun = ACTIONS[action]
            for view in VIEWS:
                names = f",{action},{action},{action},{verb} {noun},{verb},{noun}" if split != "test" else ""
                rgb = str(not view.startswith("HMC"))
                lines.append(f"{len(lines) - 1},{sequence}/{view}.mp4,{start},{end}{names},a01,crane,True,{rgb}")
        (folder / f"{split}.csv").write_text("\n".join(lines) + "\n")
    rows = [f"{i},{i},{i},{i},{verb} {noun},{verb},{noun}" for i, (verb, noun) in enumerate(ACTIONS)]
    (folder / "actions.csv").write_text("\n".join(["id,action_id,verb_id,noun_id,action_cls,verb_cls,noun_cls", *rows]) + "\n")


def _write_anticipation(folder: Path) -> None:
    folder.mkdir(parents=True)
    for split, sequence in SEQUENCES[:2]:
        lines = ["id,video,start,end,action,verb,noun"]
        for action, start, end in SEGMENTS:
            verb, noun = ACTIONS[action]
            lines.append(f"{len(lines) - 1},{sequence},{start},{end},{verb} {noun},{verb},{noun}")
        (folder / f"{split}.csv").write_text("\n".join(lines) + "\n")


def _write_coarse(folder: Path) -> None:
    folder.mkdir(parents=True)
    for _, sequence in SEQUENCES:
        (folder / f"assembly_{sequence}.txt").write_text("2\t40\tattach wheel\n40\t80\tscrew chassis\n")
        (folder / f"disassembly_{sequence}.txt").write_text("81\t88\tdetach wheel\n")

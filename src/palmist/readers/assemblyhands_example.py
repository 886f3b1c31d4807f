"""A tiny data set in AssemblyHands' exact layout: recorded hands of leap_recordings, made-up cameras and boxes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from palmist.errors import InputError
from palmist.readers.assembly101_example import SEQUENCES
from palmist.readers.example_motion import example_hands
from palmist.skeleton import from_canonical

CAMERA = "HMC_84346135_mono10bit"
FOCAL, CENTRE, SIZE = 320.0, (318.5, 241.5), (636, 480)
#: split, sequence, first frame number (odd and even), annotated frames
RUNS = (
    ("train", SEQUENCES[0][1], 9, 60),
    ("val", SEQUENCES[1][1], 4, 60),
    ("test", SEQUENCES[2][1], 7, 40),
)
#: Frame and joint (in the file's own order) that are not annotated.
UNSEEN = (3, 24)


def write_assemblyhands_example(root: str | Path) -> Path:
    """Write the three kinds of annotation file of each split below `root` (a new or empty folder); returns root."""
    root = Path(root)
    if root.exists() and any(root.iterdir()):
        raise InputError(f"{root} is not empty; expected a new folder for the example")
    for split, sequence, first, count in RUNS:
        folder = root / "annotations" / split
        folder.mkdir(parents=True)
        frames = [first + 2 * i for i in range(count)]
        hands = example_hands(max(frames) + 1, 60.0)[frames]
        source = 1000.0 * from_canonical(hands, "assemblyhands").reshape(count, 42, 3)
        flags = np.ones((count, 42), int)
        flags[UNSEEN] = 0
        joints = {
            f"{frame:06d}": {"world_coord": source[i].round(4).tolist(), "joint_valid": flags[i].tolist()}
            for i, frame in enumerate(frames)
        }
        pose = np.hstack([np.diag([1.0, -1.0, -1.0]), [[0.0], [200.0], [600.0]]])
        extrinsics = {f"{frame:06d}": {CAMERA: pose.tolist()} for frame in frames}
        intrinsics = {CAMERA: [[FOCAL, 0.0, CENTRE[0]], [0.0, FOCAL, CENTRE[1]], [0.0, 0.0, 1.0]]}
        write = {
            "joint_3d": {"annotations": {sequence: joints}},
            "ego_calib": {"calibration": {sequence: {"intrinsics": intrinsics, "extrinsics": extrinsics}}},
            "ego_data": _boxes(sequence, frames, source, pose, flags),
        }
        for kind, content in write.items():
            (folder / f"assemblyhands_{split}_{kind}_v1-1.json").write_text(json.dumps(content))
    bones = ["# name id parent", *(f"joint_{i} {i} {20 if i % 4 == 3 else i + 1}" for i in range(20)), "wrist 20 -1"]
    (root / "annotations" / "skeleton.txt").write_text("\n".join(bones) + "\n")
    return root


def _boxes(
    sequence: str, frames: list[int], joints: np.ndarray, pose: np.ndarray, flags: np.ndarray
) -> dict[str, list[dict[str, object]]]:
    camera = joints @ pose[:, :3].T + pose[:, 3]
    pixels = FOCAL * camera[..., :2] / camera[..., 2:] + CENTRE
    images, annotations = [], []
    for i, frame in enumerate(frames):
        images.append(
            {
                "id": i, "seq_name": sequence, "camera": CAMERA, "frame_idx": frame,
                "file_name": f"{sequence}/{CAMERA}/{frame:06d}.jpg", "width": SIZE[0], "height": SIZE[1],
            }
        )  # fmt: skip
        corners = {
            side: [*pixels[i, part].min(0).round(2).tolist(), *pixels[i, part].max(0).round(2).tolist()]
            for side, part in (("right", slice(0, 21)), ("left", slice(21, 42)))
        }
        box = {**corners, "left": None} if i == 0 else corners
        annotations.append({"image_id": i, "bbox": box, "joint_valid": flags[i].tolist()})
    return {"images": images, "annotations": annotations}

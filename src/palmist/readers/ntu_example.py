"""A made-up NTU RGB+D in the official layout: real upper-body motion (kinect_example.py) under the set's names.

One person; two who talk; one whom Kinect loses and finds again under another id; one beside a chair taken for a person;
nobody; and a name of the authors' list of bad samples. The list lies in the folder, as the authors give it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from palmist.readers.kinect_example import camera_to_colour, example_bodies

__all__ = ["write_ntu60_example", "write_ntu120_example", "write_skeleton_file"]

FIRST_ID = 72057594037931101
MISSING = "S001C002P005R002A008"

#: Sample -> bodies, each (number of the tracking id, first frame, frames, metres to the side); frames of the file.
SAMPLES_60: dict[str, tuple[int, tuple[tuple[int, int, int, float], ...]]] = {
    "S001C001P001R001A010": (40, ((0, 0, 40, 0.0),)),
    "S001C002P003R002A012": (45, ((1, 0, 45, 0.0),)),
    "S001C003P002R001A050": (50, ((2, 0, 50, -0.5), (3, 4, 40, 0.5))),
    "S002C002P009R001A023": (60, ((4, 3, 22, 0.0), (5, 30, 28, 0.0))),
    "S002C001P003R001A034": (40, ((6, 0, 40, 0.0), (7, 10, 6, 1.0))),
    "S003C001P016R002A029": (30, ()),
    MISSING: (20, ()),
}
SAMPLES_120 = SAMPLES_60 | {
    "S018C001P045R001A071": (40, ((8, 0, 40, 0.0),)),
    "S019C003P008R002A120": (42, ((9, 0, 42, -0.6), (10, 0, 42, 0.6))),
}


def write_ntu60_example(root: Path) -> Path:
    """Write the made-up NTU RGB+D 60 below root and return root."""
    return _write(root, SAMPLES_60, "NTU_RGBD_samples_with_missing_skeletons.txt")


def write_ntu120_example(root: Path) -> Path:
    """Write the made-up NTU RGB+D 120 below root and return root."""
    return _write(root, SAMPLES_120, "NTU_RGBD120_samples_with_missing_skeletons.txt")


def _write(root: Path, samples: dict[str, tuple[int, tuple[tuple[int, int, int, float], ...]]], missing: str) -> Path:
    for number, (name, (frames, tracks)) in enumerate(samples.items()):
        folder = root / ("nturgb+d_skeletons" if int(name[1:4]) <= 17 else "nturgb+d_skeletons120")
        bodies = []
        for identity, first, length, side in tracks:
            joints, state = example_bodies(length, start=31 * number + 7 * identity)
            joints = np.where(state[..., None] > 0, joints + np.array([side, 0.0, 0.0]), 0.0)
            bodies.append((str(FIRST_ID + identity), first, joints, state))
        write_skeleton_file(folder / f"{name}.skeleton", frames, bodies)
    (root / missing).write_text(f"The following samples have missing skeletons:\n\n{MISSING}\n")
    return root


def write_skeleton_file(file: Path, frames: int, bodies: list[tuple[str, int, np.ndarray, np.ndarray]]) -> None:
    """A .skeleton file of bodies: (tracking id, first frame, joints (T, 25, 3) metres, states (T, 25))."""
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = [str(frames)]
    for frame in range(frames):
        there = [body for body in bodies if body[1] <= frame < body[1] + len(body[2])]
        lines.append(str(len(there)))
        for identity, first, joints, states in there:
            points, tracked = joints[frame - first], states[frame - first]
            colour = camera_to_colour(points)
            lines += [f"{identity} 0 1 2 1 3 0 0.01 -0.02 2", "25"]
            for point, pixel, state in zip(points, colour, tracked, strict=True):
                numbers = (*point, *(pixel / 3.75), *pixel, 0.0, 0.0, 0.0, 0.0)
                lines.append(" ".join([f"{number:.7g}" for number in numbers] + [str(int(state))]))
    file.write_text("\n".join(lines) + "\n")

"""A made-up PKU-MMD and a made-up N-UCLA in the official layouts: real upper-body motion (kinect_example.py)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from palmist.readers.kinect_example import example_bodies

__all__ = ["write_n_ucla_example", "write_pku_mmd_example"]

FRAMES = 120
#: Video -> lines label,start,end,confidence; the second body is there in frames 40 to 89.
VIDEOS: dict[str, tuple[tuple[int, int, int, int], ...]] = {
    "0002-L": ((34, 5, 30, 1), (14, 45, 80, 2), (51, 90, 118, 1)),
    "0002-M": ((34, 5, 30, 1), (14, 45, 80, 2)),
    "0003-R": ((8, 10, 60, 1),),
}
CLIPS = ("a01_s01_e00_v01", "a02_s01_e01_v02", "a08_s02_e00_v03", "a12_s10_e03_v03")


def write_pku_mmd_example(root: Path) -> Path:
    """Write the made-up PKU-MMD below root and return root."""
    for folder in ("skeleton", "label", "split"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for number, (name, instances) in enumerate(VIDEOS.items()):
        first, state = example_bodies(FRAMES, start=17 * number)
        second, _ = example_bodies(FRAMES, start=17 * number + 60)
        second[state > 0] += (0.8, 0.0, 0.0)
        second[:40] = second[90:] = 0
        rows = np.stack([first, second], 1).reshape(FRAMES, -1)
        text = "\n".join(" ".join(f"{value:.6g}" for value in row) for row in rows)
        (root / "skeleton" / f"{name}.skeleton").write_text(text + "\n")
        (root / "label" / f"{name}.label").write_text("".join(f"{','.join(map(str, one))}\n" for one in instances))
    for name, train, test in (("cross-subject", "0002-L, 0002-M, ", "0003-R, "), ("cross-view", "0002-M, 0003-R", "0002-L")):
        (root / "split" / f"{name}.txt").write_text(f"Training videos: \n{train}\nValidataion videos:\n{test}\n")
    return root


def write_n_ucla_example(root: Path) -> Path:
    """Write the made-up N-UCLA below root and return root."""
    folder = root / "all_sqe"
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(CLIPS):
        joints, _ = example_bodies(30 + 5 * number, start=23 * number)
        clip = joints[:, :20].copy()
        clip[:, 2] = joints[:, 20]  # Kinect v1 calls the place between the shoulders its third joint
        clip[:, 3] = joints[:, 3]
        rows = np.round(clip, 6).tolist()
        (folder / f"{name}.json").write_text(json.dumps({"file_name": name, "skeletons": rows}))
    return root

"""A made-up PySKL pickle: the made-up NTU RGB+D (ntu_example.py) as float16 arrays, Python's pickle of plain data."""

from __future__ import annotations

import pickle
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from palmist.readers.ntu import ntu_clips
from palmist.readers.ntu_example import write_ntu60_example

__all__ = ["write_pyskl_example"]


def write_pyskl_example(root: Path, denoise: bool = True, protocol: int = 4) -> Path:
    """Write ROOT/ntu60_3danno.pkl and return root."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        clips = [clip for clip in ntu_clips(write_ntu60_example(Path(folder)), 60, denoise) if clip.mask.any()]
    names = {clip.name: clip.name.partition("/")[2] for clip in clips}
    split: dict[str, list[str]] = {}
    for clip in clips:
        for which, part in clip.splits.items():
            split.setdefault(f"{which}_{'train' if part == 'train' else 'val'}", []).append(names[clip.name])
    annotations: list[dict[str, Any]] = [
        {
            "frame_dir": names[clip.name],
            "label": (clip.label_number or 1) - 1,
            "total_frames": len(clip),
            "keypoint": np.array(clip.keypoint, np.float16),
        }
        for clip in clips
    ]
    root.mkdir(parents=True, exist_ok=True)
    with (root / "ntu60_3danno.pkl").open("wb") as file:
        pickle.dump({"split": split, "annotations": annotations}, file, protocol=protocol)
    return root

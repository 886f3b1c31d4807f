"""PySKL's pickles: skeletons of many data sets in one file each, 3D of Kinect or 2D of an image estimator.

    ROOT/NAME.pkl      dict(split={name: [ids]}, annotations=[dict(frame_dir, label, total_frames, keypoint, ...)])

keypoint is (M, T, V, C) float16: V = 25 joints of Kinect v2 (C = 3, metres, denoised when the file was made), V = 17 of COCO
(C = 2, pixels, with keypoint_score and img_shape) or V = 20 of Kinect v1. Labels count from 0. The pickle is read without
running anything in it (plain_pickle.py), all of it at once. Format: kennymckormick/pyskl (Apache-2.0); the frame rate is not
recorded and taken as 30.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from palmist.errors import InputError
from palmist.readers.ntu_names import ACTIONS, parse_name
from palmist.readers.plain_pickle import load_plain_pickle
from palmist.recording import Recording
from palmist.skeleton_clip import SkeletonClip

__all__ = ["pyskl_clips", "read_pyskl"]

LAYOUTS = {25: "kinect25", 17: "coco17", 20: "kinect20"}
_PARTS = {"train": "train", "val": "test", "test": "test"}


def read_pyskl(root: str | Path, file: str = "", split: str = "") -> Iterator[Recording]:
    """One Recording per person and annotation (see skeleton_clip.py): metres for 3D, pixels (space "planar") for 2D.

    file: name of the pickle in root; "" takes the only one. split: "xsub", "xview", "xset" or another that the file has;
    its train, val and test parts become `split` of the Recordings ("val" is called "test"); "" leaves it empty.

    Raises InputError when the file is missing, is no such pickle, or asks for anything but plain data.
    """
    clips = pyskl_clips(root, file)
    first = next(clips, None)
    known = set() if first is None else set(first.provenance["split_names"])
    if split and split not in known:
        raise InputError(f"split is {split!r}; the pickle has {', '.join(sorted(known)) or 'none'}")
    return _recordings(first, clips, split or None)


def _recordings(first: SkeletonClip | None, rest: Iterator[SkeletonClip], split: str | None) -> Iterator[Recording]:
    if first is not None:
        yield from first.to_recordings(split)
    for clip in rest:
        yield from clip.to_recordings(split)


def pyskl_clips(root: str | Path, file: str = "", fps: float = 30.0) -> Iterator[SkeletonClip]:
    """Every annotation of a PySKL pickle as a SkeletonClip, in the file's order; options as of `read_pyskl`."""
    path = _find(Path(root), file)
    data = load_plain_pickle(path)
    if not isinstance(data, Mapping) or not isinstance(data.get("annotations"), list):
        raise InputError(f"{path} holds no PySKL data; expected a dict with 'split' and 'annotations'")
    splits = data.get("split")
    if not isinstance(splits, Mapping) or not all(isinstance(names, list) for names in splits.values()):
        raise InputError(f"{path}: 'split' is no dict of lists; expected split names such as xsub_train with lists of ids")
    belongs: dict[str, dict[str, str]] = {}
    split_names = set()
    for full, names in splits.items():
        name, _, part = str(full).rpartition("_")
        name, part = (name, _PARTS[part]) if name and part in _PARTS else ("split", _PARTS.get(str(full), str(full)))
        split_names.add(name)
        for one in names:
            belongs.setdefault(str(one), {})[name] = part
    facts = {"file": path.name, "split_names": sorted(split_names)}
    return (_clip(path, i, item, belongs, facts, fps) for i, item in enumerate(data["annotations"]))


def _find(root: Path, file: str) -> Path:
    if file:
        return root / file
    if not root.is_dir():
        raise InputError(f"{root} is not a folder; expected one with a PySKL pickle in it")
    files = sorted([*root.glob("*.pkl"), *root.glob("*.pickle")])
    if len(files) != 1:
        there = ", ".join(path.name for path in files) or "none"
        raise InputError(f"{root} holds {len(files)} pickles ({there}); expected one, or --option file=NAME.pkl")
    return files[0]


def _clip(
    path: Path, number: int, item: Any, belongs: Mapping[str, Mapping[str, str]], facts: dict[str, Any], fps: float
) -> SkeletonClip:
    where = f"{path}, annotation {number}"
    if not isinstance(item, Mapping) or not {"frame_dir", "label", "keypoint"} <= set(item):
        raise InputError(f"{where}: found {type(item).__name__} without frame_dir, label or keypoint; is it of another tool?")
    keypoint = item["keypoint"]
    if not isinstance(keypoint, np.ndarray) or keypoint.ndim != 4 or keypoint.shape[2] not in LAYOUTS or 0 in keypoint.shape:
        shape = keypoint.shape if isinstance(keypoint, np.ndarray) else type(keypoint).__name__
        raise InputError(f"{where}: keypoint is {shape}; expected (persons, frames, 17, 20 or 25 joints, 2 or 3)")
    score = item.get("keypoint_score")
    flat = keypoint.shape[3] == 2
    if score is not None and (not isinstance(score, np.ndarray) or score.shape != keypoint.shape[:3]):
        raise InputError(f"{where}: keypoint_score does not fit keypoint {keypoint.shape}; expected {keypoint.shape[:3]}")
    label = item["label"]
    if isinstance(label, bool) or not isinstance(label, int | np.integer) or label < 0:
        raise InputError(f"{where}: label is {label!r}; expected a class number from 0")
    identity = str(item["frame_dir"])
    shape = item.get("img_shape")
    size = [int(shape[1]), int(shape[0])] if isinstance(shape, tuple | list) and len(shape) == 2 else None
    extra: dict[str, Any] = {"label": str(int(label)), "label_number": int(label)}
    try:
        name = parse_name(identity)
        extra = {
            "label": ACTIONS[name.action - 1], "label_number": name.action, "subject": str(name.performer),
            "camera": name.camera, "setup": name.setup, "repetition": name.repetition,
        }  # fmt: skip
    except (InputError, IndexError):
        pass
    known = np.asarray(keypoint.any(-1)) if score is None else keypoint.any(-1) & (score > 0)
    return SkeletonClip(
        keypoint=keypoint,
        mask=known,
        layout=LAYOUTS[keypoint.shape[2]],
        fps=fps,
        name=f"pyskl/{path.stem}/{identity}",
        space="planar" if flat else "metric",
        score=None if score is None else np.clip(np.nan_to_num(score.astype(np.float32)), 0, 1),
        **extra,
        aspect=None if size is None or not all(size) else size[0] / size[1],
        splits=dict(belongs.get(identity, {})),
        source="PySKL (github.com/kennymckormick/pyskl)",
        provenance={**facts, "image_size": size, "rate": "not recorded, taken as 30 frames/s"},
    )

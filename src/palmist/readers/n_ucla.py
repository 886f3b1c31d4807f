"""Northwestern-UCLA: one person, ten actions, three Kinect v1 views, in the JSON form of CTR-GCN (nothing is shipped).

    ROOT/.../aAA_sSS_eEE_vVV.json     key "skeletons": T x 20 x 3, anywhere below ROOT

AA action (1-6, 8, 9, 11, 12), SS subject, EE episode, VV view. Cross-view: views 1 and 2 train, 3 tests (1,020 and 464
clips; other copies of the set differ by one). Counts and form: CTR-GCN. Not recorded: the unit (taken as metres) and the
rate (taken as 30).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from palmist.errors import InputError
from palmist.readers.annotation_files import entry, joint_block, read_json
from palmist.recording import Recording
from palmist.skeleton_clip import SkeletonClip

__all__ = ["ACTIONS", "n_ucla_clips", "read_n_ucla"]

RATE, JOINTS = 30.0, 20
SOURCE = "Northwestern-UCLA (wangjiangb.github.io/my_data.html)"

#: Action number in the file's name -> label 1 to 10 is its place here.
ACTIONS: dict[int, str] = {
    1: "pick up with one hand", 2: "pick up with two hands", 3: "drop trash", 4: "walk around", 5: "sit down", 6: "stand up",
    8: "donning", 9: "doffing", 11: "throw", 12: "carry",
}  # fmt: skip
_NAME = re.compile(r"a(\d{2})_s(\d{2})_e(\d{2})_v(\d{2})$")


def read_n_ucla(root: str | Path, test_view: int = 3) -> Iterator[Recording]:
    """One Recording per clip, a body of layout "kinect20"; split "cross_view" (test_view tests, the others train).

    Raises InputError when there are no files, a name is none of the set, or a file does not hold T x 20 x 3 numbers.
    """
    return (clip.to_recording(0, "cross_view") for clip in n_ucla_clips(root, test_view))


def n_ucla_clips(root: str | Path, test_view: int = 3) -> Iterator[SkeletonClip]:
    """Every file below root as a SkeletonClip, sorted by name; label_number is 1 to 10."""
    root = Path(root)
    if test_view not in (1, 2, 3):
        raise InputError(f"test_view is {test_view}; expected 1, 2 or 3")
    if not root.is_dir():
        raise InputError(f"{root} is not a folder; expected one with aAA_sSS_eEE_vVV.json files in it")
    files = sorted((file for file in root.rglob("a*.json") if _NAME.match(file.stem)), key=lambda file: file.stem)
    if not files:
        raise InputError(f"{root} holds no aAA_sSS_eEE_vVV.json; expected one for each clip; unpack the archive there")
    return (_read_clip(file, test_view) for file in files)


def _read_clip(file: Path, test_view: int) -> SkeletonClip:
    match = _NAME.match(file.stem)
    assert match is not None
    action, subject, episode, view = (int(number) for number in match.groups())
    if action not in ACTIONS or view not in (1, 2, 3):
        raise InputError(f"{file} is called action {action}, view {view}; expected actions {list(ACTIONS)} and views 1 to 3")
    rows = entry(read_json(file, "one clip"), "skeletons", file, "the whole file")
    if not isinstance(rows, list) or not rows:
        raise InputError(f"{file}: 'skeletons' holds no frames; expected T x {JOINTS} x 3 numbers; download it again")
    points = joint_block(rows, (len(rows), JOINTS, 3), file, "skeletons")
    return SkeletonClip(
        keypoint=points[None],
        mask=np.asarray(np.nan_to_num(points, nan=1.0).any(-1))[None],
        layout="kinect20",
        fps=RATE,
        name=f"n_ucla/{file.stem}",
        label=ACTIONS[action],
        label_number=list(ACTIONS).index(action) + 1,
        subject=str(subject),
        camera=view,
        repetition=episode,
        splits={"cross_view": "test" if view == test_view else "train"},
        source=SOURCE,
        provenance={"action_number": action, "rate": "not recorded, taken as 30 frames/s"},
    )

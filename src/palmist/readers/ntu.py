"""NTU RGB+D 60 and 120: skeletons of one to several people, Kinect v2, three cameras (research only; nothing is shipped).

    ROOT/.../SsssCcccPpppRrrrAaaa.skeleton     anywhere below ROOT (nturgb+d_skeletons, nturgb+d_skeletons120, ...)
    ROOT/*missing*.txt                         optional: the authors' list of samples to skip; else the same list from here

File format: ntu_file.py. Names, splits and actions: ntu_names.py. Unless asked to denoise, every body that Kinect followed
is a person of its own, with its tracking id, in the order of appearance: chairs that it took for people are among them.

Coordinates "camera" are metres, "colour" fractions of the 1920 x 1080 colour frame (space "image", z = 0, not recorded).
A joint counts as known where Kinect gave numbers other than zeros; `score` is 1 for tracked joints, 0.5 for inferred ones
and 0 for those not tracked.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from palmist.errors import InputError
from palmist.readers.ntu_denoise import pick_people
from palmist.readers.ntu_file import COLOUR_SIZE, RATE, KinectFile, read_skeleton_file
from palmist.readers.ntu_names import (
    ACTIONS,
    SPLITS_OF,
    SampleName,
    missing_samples,
    official_splits,
    parse_name,
    read_missing_list,
)
from palmist.recording import Recording
from palmist.skeleton_clip import SkeletonClip

__all__ = ["ntu_clips", "read_ntu60", "read_ntu120", "read_ntu_clip"]

SOURCE = "NTU RGB+D (rose1.ntu.edu.sg/dataset/actionRecognition)"
COORDINATES = ("camera", "colour")


def read_ntu60(
    root: str | Path, split: str = "xsub", denoise: bool = False, keep_missing: bool = False, coordinates: str = "camera"
) -> Iterator[Recording]:
    """NTU RGB+D 60, one Recording per person and sample (see skeleton_clip.py); samples of setups above 17 are left out.

    split: "xsub" or "xview" becomes `split` of the Recordings; all of them stand in provenance["skeleton"]["splits"].
    denoise: two people at most, by PySKL's rules (ntu_denoise.py). keep_missing: read listed bad samples too.
    coordinates: "camera" (metres) or "colour" (fractions of the colour frame).

    Raises InputError when ROOT holds no .skeleton file, for unknown options, and for a damaged file, with its line.
    """
    return _recordings(ntu_clips(root, 60, denoise, keep_missing, coordinates), split, 60)


def read_ntu120(
    root: str | Path, split: str = "xsub", denoise: bool = False, keep_missing: bool = False, coordinates: str = "camera"
) -> Iterator[Recording]:
    """NTU RGB+D 120: as `read_ntu60`, with all setups and the splits "xsub", "xset" and "one_shot"."""
    return _recordings(ntu_clips(root, 120, denoise, keep_missing, coordinates), split, 120)


def _recordings(clips: Iterator[SkeletonClip], split: str, edition: int) -> Iterator[Recording]:
    if split not in SPLITS_OF[edition]:
        raise InputError(f"split is {split!r}; NTU RGB+D {edition} has {', '.join(SPLITS_OF[edition])}")
    return (recording for clip in clips for recording in clip.to_recordings(split))


def ntu_clips(
    root: str | Path, edition: int = 60, denoise: bool = False, keep_missing: bool = False, coordinates: str = "camera"
) -> Iterator[SkeletonClip]:
    """Every sample below root as a SkeletonClip, sorted by name; options as of `read_ntu60`.

    A sample in which nobody was found is one person who is never seen. Listed bad samples are counted in a warning.
    """
    root = Path(root)
    if coordinates not in COORDINATES:
        raise InputError(f"coordinates is {coordinates!r}; expected camera or colour")
    if not root.is_dir():
        raise InputError(f"{root} is not a folder; expected one with the .skeleton files of NTU RGB+D in it")
    files = {file.stem: file for file in sorted(root.rglob("S*.skeleton"), reverse=True)}
    names = sorted((parse_name(stem), file) for stem, file in files.items())
    names = [(name, file) for name, file in names if edition == 120 or name.setup <= 17]
    if not names:
        raise InputError(
            f"{root} holds no SsssCcccPpppRrrrAaaa.skeleton of NTU RGB+D {edition}; expected nturgb+d_skeletons in it; "
            "unpack the archive there"
        )
    return _clips(names, edition, denoise, frozenset() if keep_missing else _missing(root), coordinates)


def _clips(
    names: list[tuple[SampleName, Path]], edition: int, denoise: bool, missing: frozenset[str], coordinates: str
) -> Iterator[SkeletonClip]:
    skipped = sum(str(name) in missing for name, _ in names)
    if skipped:
        warnings.warn(
            f"{skipped} of {len(names)} samples have bad skeletons (listed by the authors) and are skipped", stacklevel=2
        )
    for name, file in names:
        if str(name) not in missing:
            yield read_ntu_clip(file, edition, denoise, coordinates, name)


def _missing(root: Path) -> frozenset[str]:
    """The list that lies in root, else the one that comes with Palmist."""
    lists = sorted(file for file in root.glob("*.txt") if "missing" in file.name.lower())
    return frozenset().union(*(read_missing_list(file) for file in lists)) if lists else missing_samples()


def read_ntu_clip(
    file: str | Path, edition: int = 60, denoise: bool = False, coordinates: str = "camera", name: SampleName | None = None
) -> SkeletonClip:
    """One .skeleton file as a SkeletonClip of layout "kinect25"; name: None takes it from the file's name.

    Raises InputError when the file is damaged, or its name is none of the set.
    """
    file = Path(file)
    name = parse_name(file.stem) if name is None else name
    if not 1 <= name.action <= len(ACTIONS):
        raise InputError(f"{file} is called action {name.action}; expected 1 to {len(ACTIONS)}")
    found = read_skeleton_file(file)
    points = found.position if coordinates == "camera" else _colour_points(found)
    provenance: dict[str, Any] = {"bodies": len(found.ids), "tracking_ids": list(found.ids)}
    if not found.ids:
        points, score = np.zeros((1, found.seen.shape[1], 25, 3)), None
    elif denoise:
        owner, kept, dropped = pick_people(found.seen, found.position)
        points, score = _packed(points[:, kept], owner), _packed(found.state[:, kept] / 2, owner)
        provenance |= {"denoised": True, "bodies_dropped": dropped, "first_frame": kept.start}
    else:
        score = found.state / 2
    return SkeletonClip(
        keypoint=points,
        mask=np.nan_to_num(points, nan=1.0).any(-1),
        layout="kinect25",
        fps=RATE,
        name=f"ntu{edition}/{name}",
        space="metric" if coordinates == "camera" else "image",
        score=None if score is None else np.clip(score, 0, 1),
        label=ACTIONS[name.action - 1],
        label_number=name.action,
        aspect=None if coordinates == "camera" else COLOUR_SIZE[0] / COLOUR_SIZE[1],
        subject=str(name.performer),
        camera=name.camera,
        setup=name.setup,
        repetition=name.repetition,
        splits=official_splits(name, edition),
        source=SOURCE,
        provenance=provenance,
    )


def _colour_points(found: KinectFile) -> np.ndarray:
    """(M, T, 25, 3): x, y as fractions of the colour frame, z = 0; joints without a pixel stay 0."""
    fractions = found.colour / COLOUR_SIZE
    return np.concatenate([fractions, np.where(np.isnan(fractions[..., :1]), np.nan, 0)], -1)


def _packed(values: np.ndarray, owner: np.ndarray) -> np.ndarray:
    """values (M, T, ...) of tracks -> (slots, T, ...), 0 where a slot is empty."""
    taken = values[np.maximum(owner, 0), np.arange(owner.shape[1])[None]]
    return np.where((owner >= 0).reshape(*owner.shape, *[1] * (values.ndim - 2)), taken, 0)

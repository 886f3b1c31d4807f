"""PKU-MMD phase 1: untrimmed Kinect v2 skeletons of daily actions, three views (registration; nothing is shipped).

    ROOT/skeleton/NNNN-V.txt or .skeleton     per frame one line of 150 numbers: 2 bodies x 25 joints x (x y z), metres
    ROOT/label/NNNN-V.txt or .label           per instance one line label,start,end,confidence (1 sure, 2 less so)
    ROOT/split/cross-subject.txt, cross-view.txt        heading, names to train on, heading, names to test on

V is L, M or R. A body that is not there is a row of zeros. Format: ECHO960/PKU-MMD. Unverified on the real files: that
frames count from 0, that the end frame does not belong to an instance (option end_inclusive), the order of the action names
(the alphabet's), and the folders' names, of which several are looked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from palmist.errors import InputError
from palmist.files.input_files import read_text
from palmist.readers.annotation_files import find_below, whole_number
from palmist.recording import ActionSegment, Recording
from palmist.skeleton_clip import SkeletonClip

__all__ = ["ACTIONS", "Instance", "pku_mmd_clips", "read_pku_mmd"]

RATE, PERSONS, JOINTS = 30.0, 2, 25
SOURCE = "PKU-MMD (github.com/ECHO960/PKU-MMD)"
VIEWS = ("L", "M", "R")
FORMS = ("instances", "untrimmed")
SPLITS = {"cross_subject": "cross-subject", "cross_view": "cross-view"}
_SKELETONS = ("skeleton", "PKU_Skeleton_Renew", "PKUMMD/skeleton", "Data/skeleton")
_LABELS = ("label", "Train_Label_PKU_final", "PKUMMD/label", "Label")
_SPLITS = ("split", "Split", ".")
_NAME = re.compile(r"(\d{4})-([LMR])$")

#: Names of labels 1 to 51.
ACTIONS: tuple[str, ...] = (
    "bow", "brush hair", "brush teeth", "check time", "cheer up", "clapping", "cross hands in front", "drink water", "drop",
    "eat meal", "falling", "giving something", "hand waving", "shaking hands", "hopping", "hugging", "jump up", "kicking",
    "kicking something", "phone call", "pat on back", "pick up", "play with phone or tablet",
    "point finger at the other person", "point to something", "punch or slap", "pushing", "put on a hat",
    "put something inside pocket", "reading", "rub two hands", "salute", "sit down", "stand up", "take off a hat",
    "take off glasses", "take off jacket", "take out something from pocket", "taking a selfie", "tear up paper", "throw",
    "touch back", "touch chest", "touch head", "touch neck", "type on a keyboard", "fan self", "put on jacket",
    "put on glasses", "wipe face", "writing",
)  # fmt: skip


@dataclass(frozen=True)
class Instance:
    """One line of a label file: action number 1-51, first frame, the frame after the last, confidence 1 or 2."""

    label: int
    start: int
    stop: int
    confidence: int


def read_pku_mmd(
    root: str | Path, form: str = "instances", split: str = "cross_subject", end_inclusive: bool = False
) -> Iterator[Recording]:
    """One Recording per person and instance, or per person and untrimmed video (see skeleton_clip.py).

    form: "instances" cuts every labelled instance out; "untrimmed" keeps whole videos with their instances as segments.
    split: "cross_subject" or "cross_view" becomes `split`; both stand in provenance["skeleton"]["splits"].
    end_inclusive: whether the end frame of an instance belongs to it.

    Raises InputError when a folder or a file is missing or damaged; the sentence names the line.
    """
    if split not in SPLITS:
        raise InputError(f"split is {split!r}; expected one of {', '.join(SPLITS)}")
    clips = pku_mmd_clips(root, form, end_inclusive)
    return (recording for clip in clips for recording in clip.to_recordings(split))


def pku_mmd_clips(root: str | Path, form: str = "instances", end_inclusive: bool = False) -> Iterator[SkeletonClip]:
    """Every instance, or every untrimmed video, as a SkeletonClip, sorted by name; options as of `read_pku_mmd`.

    Detection labels are kept: an instance's own numbers stand in provenance["instance"], all of a video's in
    provenance["instances"], as [label, start, stop, confidence] in frames of the video.
    """
    root = Path(root)
    if form not in FORMS:
        raise InputError(f"form is {form!r}; expected instances or untrimmed")
    folder = find_below(root, _SKELETONS, "folder with skeletons")
    labels = find_below(root, _LABELS, "folder with labels")
    files = sorted(file for file in folder.iterdir() if _NAME.match(file.stem) and file.suffix in (".txt", ".skeleton"))
    if not files:
        raise InputError(f"{folder} holds no NNNN-V.skeleton; expected one for each video; unpack the archive there")
    return _clips(files, labels, _read_splits(find_below(root, _SPLITS, "split files")), form, end_inclusive)


def _clips(
    files: list[Path], labels: Path, splits: Mapping[str, Mapping[str, str]], form: str, end_inclusive: bool
) -> Iterator[SkeletonClip]:
    for file in files:
        keypoint, mask = _read_skeleton(file)
        own = labels / f"{file.stem}.txt"
        instances = _read_labels(own if own.is_file() else labels / f"{file.stem}.label", keypoint.shape[1], end_inclusive)
        facts = [[one.label, one.start, one.stop, one.confidence] for one in instances]
        seen = np.asarray(mask.any((1, 2)))
        whole = SkeletonClip(
            keypoint=keypoint[: 2 if seen[1] else 1],
            mask=mask[: 2 if seen[1] else 1],
            layout="kinect25",
            fps=RATE,
            name=f"pku_mmd/{file.stem}",
            camera=VIEWS.index(file.stem[-1]) + 1,
            splits=splits.get(file.stem, {}),
            segments=tuple(ActionSegment(one.start / RATE, one.stop / RATE, ACTIONS[one.label - 1]) for one in instances),
            source=SOURCE,
            provenance={"video": file.stem, "view": file.stem[-1], "instances": facts},
        )
        if form == "untrimmed":
            yield whole
            continue
        for number, one in enumerate(instances):
            part = whole.slice(one.start, one.stop)
            used = part.mask[-1].any() or part.persons == 1
            yield part.replace(
                keypoint=part.keypoint if used else part.keypoint[:1],
                mask=part.mask if used else part.mask[:1],
                name=f"{whole.name}/{number:02d}",
                label=ACTIONS[one.label - 1],
                label_number=one.label,
                segments=(),
                provenance={"video": file.stem, "view": file.stem[-1], "instance": facts[number]},
            )


def _read_skeleton(file: Path) -> tuple[np.ndarray, np.ndarray]:
    """(2, T, 25, 3) metres and (2, T, 25) bool; a body of zeros is not there."""
    width = PERSONS * JOINTS * 3
    lines = [line for line in read_text(file, encoding="ascii", errors="replace").splitlines() if line.strip()]
    if not lines:
        raise InputError(f"{file} is empty; expected {width} numbers in each line; download it again")
    try:
        numbers = np.array([line.split() for line in lines], np.float64)
    except ValueError:
        numbers = np.empty((0, 0))
    if numbers.shape != (len(lines), width):
        for at, line in enumerate(lines, 1):
            words = line.split()
            if len(words) != width:
                raise InputError(
                    f"{file}, line {at}: found {len(words)} numbers, expected {width} (2 bodies); it may be cut off"
                )
            for word in words:
                _number(word, file, at)
        raise InputError(f"{file} holds lines of different lengths; expected {width} numbers in each")
    points = numbers.reshape(-1, PERSONS, JOINTS, 3).swapaxes(0, 1)
    return points, np.asarray(np.nan_to_num(points, nan=1.0).any(-1))


def _number(word: str, file: Path, line: int) -> float:
    try:
        return float(word)
    except ValueError as error:
        raise InputError(f"{file}, line {line}: found {word[:20]!r}, expected a number") from error


def _read_labels(file: Path, frames: int, end_inclusive: bool) -> list[Instance]:
    if not file.is_file():
        raise InputError(f"{file} does not exist; expected the labels of that video, lines label,start,end,confidence")
    found = []
    for at, line in enumerate(read_text(file).splitlines(), 1):
        cells = [cell for cell in line.replace(",", " ").split() if cell]
        if not cells:
            continue
        if len(cells) != 4:
            raise InputError(f"{file}, line {at}: found {len(cells)} numbers, expected label,start,end,confidence")
        label, start, end, confidence = (whole_number(cell, file, f"a number in line {at}") for cell in cells)
        stop = min(end + end_inclusive, frames)
        if not 1 <= label <= len(ACTIONS):
            raise InputError(f"{file}, line {at}: label {label}; expected 1 to {len(ACTIONS)}")
        if not 0 <= start < stop:
            raise InputError(
                f"{file}, line {at}: frames {start} to {end} of a video of {frames}; expected its end after its start"
            )
        found.append(Instance(label, start, stop, confidence))
    return sorted(found, key=lambda one: (one.start, one.stop))


def _read_splits(folder: Path) -> dict[str, dict[str, str]]:
    """Video -> split -> train or test."""
    found: dict[str, dict[str, str]] = {}
    for name, stem in SPLITS.items():
        file = folder / f"{stem}.txt"
        if not file.is_file():
            raise InputError(f"{folder} has no {stem}.txt; expected the split files that come with the set")
        lines = [line for line in read_text(file).splitlines() if line.strip()]
        if len(lines) != 4:
            raise InputError(
                f"{file}: found {len(lines)} lines, expected four: heading, names to train on, heading, names to test on"
            )
        for part, line in (("train", lines[1]), ("test", lines[3])):
            for one in (word.strip() for word in line.split(",")):
                if one and not _NAME.match(one):
                    raise InputError(f"{file}: '{one[:30]}' among the names to {part} on; expected names like 0002-L")
                if one:
                    found.setdefault(one, {})[name] = part
    return found

"""Assembly101: toys taken apart and put together, two hands in metric 3D at 60 Hz (CC BY-NC 4.0; nothing is shipped).

    ROOT/poses@60fps/SEQUENCE.json                 older release: a list of frames
    ROOT/AssemblyPoses/landmarks3D/SEQUENCE.json   newer release: frame number -> hands; frames can be missing
    ROOT/fine-grained-annotations/{train,validation,test}.csv, actions.csv
    ROOT/anticipation-annotations/{train,validation,test}.csv
    ROOT/coarse-annotations/coarse_labels/{assembly,disassembly}_SEQUENCE.txt

Poses count frames at 60 Hz and labels at 30 Hz: label frame f is pose frame 2 f. Hand "0" is the left one, millimetres,
world frame, 21 landmarks in the tracker's order, which has no base of the thumb. Format: the set's own repositories.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from palmist.errors import InputError
from palmist.files.input_files import read_text
from palmist.readers.annotation_files import entry, find_below, joint_block, read_json, read_table, whole_number
from palmist.recording import ActionSegment, Recording
from palmist.skeleton import CONVENTIONS, to_canonical

POSE_RATE, LABEL_RATE = 60.0, 30.0
SOURCE = "Assembly101 (assembly-101.github.io)"
SPLITS = ("train", "validation", "test")
KINDS = ("fine", "coarse", "anticipation", "none")
RELEASES = {
    "newer": ("AssemblyPoses/landmarks3D", "landmarks3D"),
    "older": ("poses@60fps", "poses"),
}
_CSV_FOLDERS = {
    "fine": (
        "fine-grained-annotations",
        "annotations/fine-grained-annotations",
        "assembly101-annotations/fine-grained-annotations",
    ),
    "anticipation": ("anticipation-annotations", "annotations/anticipation-annotations", "action-anticipation"),
}
_COARSE_FOLDERS = ("coarse-annotations/coarse_labels", "annotations/coarse-annotations/coarse_labels", "coarse_labels")
_COLUMNS = (("video",), ("start_frame", "start"), ("end_frame", "end"))
_NAMES = (("action_cls", "action"), ("verb_cls", "verb"), ("noun_cls", "noun"))


@dataclass
class SequenceLabels:
    """The annotation of one sequence: labelled segments, [start, end] seconds without a label, and its split."""

    segments: list[ActionSegment] = field(default_factory=list)
    unlabelled: list[list[float]] = field(default_factory=list)
    split: str | None = None


def read_assembly101(
    root: str | Path, annotations: str = "fine", release: str = "auto", end_inclusive: bool = False
) -> Iterator[Recording]:
    """One Recording per pose file, metres, world frame, at 60 Hz, with its labelled segments and its split.

    annotations: "fine", "coarse", "anticipation" or "none". release: "newer", "older", or "auto", which takes the newer
    where both are there. end_inclusive: whether the end frame of a segment belongs to it. Segments come once, although
    the files repeat them for each camera view; those without a label (the test file has none) are listed in
    provenance["unlabelled_segments"], in seconds. A frame that is missing, or a hand with confidence 0, is not valid.
    Annotated sequences without a pose file are counted in a warning.

    Raises InputError when a needed folder or file is missing, or when a file does not hold what it should.
    """
    root = Path(root)
    if annotations not in KINDS:
        raise InputError(f"annotations is {annotations!r}; expected one of {', '.join(KINDS)}")
    if release not in ("auto", *RELEASES):
        raise InputError(f"release is {release!r}; expected auto, newer or older")
    wanted = list(RELEASES) if release == "auto" else [release]
    folder = find_below(root, [place for name in wanted for place in RELEASES[name]], "folder with poses")
    labels = read_labels(root, annotations, end_inclusive)
    files = sorted(folder.glob("*.json"))
    if not files:
        raise InputError(f"{folder} holds no SEQUENCE.json; expected one file for each sequence; unpack the poses there")
    absent = set(labels) - {file.stem for file in files}
    if absent:
        warnings.warn(f"{folder}: {len(absent)} annotated sequences have no poses, such as {min(absent)}", stacklevel=2)
    for file in files:
        yield _read_sequence(file, labels.get(file.stem, SequenceLabels()))


def read_labels(root: Path, kind: str, end_inclusive: bool = False) -> dict[str, SequenceLabels]:
    if kind == "none":
        return {}
    if kind == "coarse":
        return _read_coarse(find_below(root, _COARSE_FOLDERS, "coarse labels"), end_inclusive)
    folder = find_below(root, _CSV_FOLDERS[kind], f"{kind} annotations")
    found: dict[str, SequenceLabels] = {}
    seen: set[tuple[str, int, int, str]] = set()
    files = [folder / f"{split}.csv" for split in SPLITS if (folder / f"{split}.csv").is_file()]
    if not files:
        raise InputError(f"{folder} has none of {', '.join(f'{split}.csv' for split in SPLITS)}; expected at least one")
    for file in files:
        for row in read_table(file, _COLUMNS):
            sequence = row["video"].split("/")[0].removesuffix(".mp4")
            start, end = (whole_number(row[name], file, name) for name in ("start_frame", "end_frame"))
            action, verb, noun = (next((row[name] for name in names if row.get(name)), "") for names in _NAMES)
            if (sequence, start, end, action) in seen:
                continue  # the same segment for another camera view
            seen.add((sequence, start, end, action))
            labels = found.setdefault(sequence, SequenceLabels(split=file.stem))
            _add(labels, start, end, action, verb, noun, end_inclusive, file)
    return found


def _read_coarse(folder: Path, end_inclusive: bool) -> dict[str, SequenceLabels]:
    found: dict[str, SequenceLabels] = {}
    files = sorted(folder.glob("*.txt"))
    if not files:
        raise InputError(f"{folder} holds no assembly_SEQUENCE.txt; expected one or two files for each sequence")
    for file in files:
        phase, _, sequence = file.stem.partition("_")
        if phase not in ("assembly", "disassembly"):
            raise InputError(f"{file}: the name begins with '{phase}'; expected assembly_ or disassembly_")
        for number, line in enumerate(read_text(file).splitlines(), 1):
            cells = line.split("\t")
            if not line.strip():
                continue
            if len(cells) < 3:
                raise InputError(f"{file}, line {number}: found {len(cells)} columns, expected start, end, action by tabs")
            start, end = (whole_number(cell, file, f"a frame in line {number}") for cell in cells[:2])
            verb, _, noun = cells[2].partition(" ")
            _add(found.setdefault(sequence, SequenceLabels()), start, end, cells[2], verb, noun, end_inclusive, file)
    return found


def _add(
    labels: SequenceLabels, start: int, end: int, action: str, verb: str, noun: str, end_inclusive: bool, file: Path
) -> None:
    stop = end + 1 if end_inclusive else end
    if start < 0 or stop <= start:
        raise InputError(f"{file}: a segment runs from frame {start} to {end}; expected its end after its start")
    if action:
        labels.segments.append(
            ActionSegment(start / LABEL_RATE, stop / LABEL_RATE, action, verb=verb or None, noun=noun or None)
        )
    else:
        labels.unlabelled.append([start / LABEL_RATE, stop / LABEL_RATE])


def _read_sequence(file: Path, labels: SequenceLabels) -> Recording:
    frames = _frames(file)
    first, last = min(frames), max(frames)
    joints = np.zeros((last - first + 1, 2, 21, 3), np.float64)
    confidence = np.zeros((last - first + 1, 2), np.float64)
    for number, (hands, shares) in frames.items():
        for side, landmarks in hands.items():
            block = joint_block(landmarks, (21, 3), file, f"frame {number}, hand {side}")
            joints[number - first, int(side)] = block
            confidence[number - first, int(side)] = shares.get(side, 1.0) if np.any(block) else 0.0
    confidence = np.clip(np.nan_to_num(confidence), 0.0, 1.0)
    found = re.search(r"(\d+)_user_id", file.stem)
    provenance: dict[str, object] = {"label_rate": LABEL_RATE, "pose_file": f"{file.parent.name}/{file.name}"}
    missing = last - first + 1 - len(frames)
    if missing:
        provenance["missing_frames"] = missing
    if labels.unlabelled:
        provenance["unlabelled_segments"] = labels.unlabelled
    return Recording(
        joints=to_canonical(joints, "assembly101") / 1000.0,
        valid=confidence > 0,
        time=np.arange(first, last + 1) / POSE_RATE,
        space="metric",
        name=f"assembly101/{file.stem}",
        frame="world",
        absent_joints=CONVENTIONS["assembly101"].absent,
        confidence=np.repeat(confidence[:, :, None], 21, axis=2),
        segments=tuple(sorted(labels.segments, key=lambda segment: (segment.start, segment.end))),
        subject=found.group(1) if found else None,
        session=file.stem,
        split=labels.split,
        source=SOURCE,
        provenance=provenance,
    )


def _frames(file: Path) -> dict[int, tuple[dict[str, Any], dict[str, float]]]:
    """Pose frame -> (hand "0" or "1" -> 21 x 3 millimetres, hand -> confidence) of either release."""
    data = read_json(file, "the poses of one sequence, an object of frame numbers or a list of frames")
    frames: dict[int, tuple[dict[str, Any], dict[str, float]]] = {}
    if isinstance(data, list):
        for number, item in enumerate(data):
            shares = item.get("tracking_confidence") or {} if isinstance(item, dict) else {}
            frames[number] = (_hands(entry(item, "landmarks", file, f"frame {number}"), file, number), shares)
    elif isinstance(data, dict):
        for key, item in data.items():
            frames[whole_number(key, file, "a frame number")] = (_hands(item, file, key), {})
    if not frames:
        raise InputError(f"{file} holds no frames; expected an object of frame numbers or a list of frames; download it again")
    return frames


def _hands(item: Any, file: Path, number: object) -> dict[str, Any]:
    if not isinstance(item, dict) or not set(item) & {"0", "1"}:
        found = ", ".join(map(str, item)) if isinstance(item, dict) and item else "no hand"
        if isinstance(item, dict) and not item:
            return {}
        raise InputError(f"{file}, frame {number}: found {found}; expected the hands '0' and '1' with 21 x 3 numbers each")
    return {side: item[side] for side in ("0", "1") if item.get(side)}

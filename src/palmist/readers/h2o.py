"""H2O: two hands and an object, four people, 36 actions, metric 3D at 30 Hz (registration needed; nothing is shipped).

    ROOT/action_labels/action_train.txt, action_val.txt, action_test.txt     (also found in ROOT/label_split)
    ROOT/subject1/h1/0/cam4/hand_pose/000000.txt      128 numbers: [flag, 21 x 3] left, then right; metres, camera frame
                           /cam_pose/000000.txt       16 numbers: 4 x 4 camera-to-world, row by row
                           /obj_pose/000000.txt       class, 21 x 3   (or obj_pose_RT: class, 4 x 4); optional
                           /hand_pose_MANO/000000.txt 124 numbers: [flag, 3 translation, 48 pose, 10 shape] left, right
                           /action_label/000000.txt   one number; optional
                           /cam_intrinsics.txt        fx fy cx cy width height; optional

A folder of a subject may carry a suffix (subject1_pose_v1_1). Format: the set's own README and split files.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from palmist.errors import InputError
from palmist.files.input_files import read_text
from palmist.readers.annotation_files import whole_number
from palmist.recording import ActionSegment, Recording

RATE = 30.0
SOURCE = "H2O: 2 Hands Manipulating Objects (taeinkwon.com/projects/h2o)"
SPLITS = ("train", "val", "test")
#: cam0 to cam3 stand still, cam4 is on the head.
CAMERAS = (0, 1, 2, 3, 4)
OBJECTS = ("", "book", "espresso", "lotion", "spray", "milk", "cocoa", "chips", "cappuccino")

_ACTION_TABLE: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("grab", OBJECTS[1:]),
    ("place", OBJECTS[1:]),
    ("open", ("lotion", "milk", "chips")),
    ("close", ("lotion", "milk", "chips")),
    ("pour", ("milk",)),
    ("take out", ("espresso", "cocoa", "chips", "cappuccino")),
    ("put in", ("espresso", "cocoa", "cappuccino")),
    ("apply", ("lotion", "spray")),
    ("read", ("book", "espresso")),
    ("spray", ("spray",)),
    ("squeeze", ("lotion",)),
)
#: (verb, object) of the labels 1 to 36; ACTIONS[0] is label 1.
ACTIONS: tuple[tuple[str, str], ...] = tuple((verb, noun) for verb, nouns in _ACTION_TABLE for noun in nouns)


@dataclass(frozen=True)
class _SplitLine:
    """One line of a split file: frames as written, action 1 to 36 or None where the file has no labels."""

    sequence: str
    start: int
    end: int
    action: int | None


def read_h2o(
    root: str | Path,
    splits: tuple[str, ...] = SPLITS,
    camera: int = 4,
    frame: str = "world",
    end_inclusive: bool = False,
    mano: bool = False,
    object_poses: bool = False,
) -> Iterator[Recording]:
    """One Recording per sequence of the split files, with its labelled segments and its split.

    camera: 0 to 3 fixed, 4 head-mounted. frame: "world" (through cam_pose) or "camera". end_inclusive: whether the end
    frame of a segment belongs to it (HTT reads it so; the default is G-HTT's: it does not). Segments without a label
    (the official test file has none) take it from action_label files where they exist; else they are listed, in
    seconds, in provenance["unlabelled_segments"]. A frame whose file is missing, or in world frame its camera pose,
    has no valid hand. Subjects that were not downloaded are left out with a warning.

    mano, object_poses: pass the files' numbers through in provenance, {frame: numbers} in the camera frame and in the
    files' own order and unit. "mano": 124 numbers (the README's 59 a hand is a slip, they are 62); no MANO model is used.
    "object_pose": class and 21 x 3 points (centre, corners, edge midpoints); "object_pose_RT": class and 4 x 4 matrix;
    each where its folder is there, at least one must be.

    Raises InputError when a split file, a sequence, or a needed folder is missing, when a file does not hold the numbers
    it should, or when a segment ends after the last frame that is there (a half-finished download).
    """
    root = Path(root)
    if frame not in ("world", "camera"):
        raise InputError(f"frame is {frame!r}; expected 'world' or 'camera'")
    if camera not in CAMERAS:
        raise InputError(f"camera is {camera!r}; expected 0 to 3 (fixed) or 4 (head-mounted)")
    unknown = [split for split in splits if split not in SPLITS]
    if unknown:
        raise InputError(f"splits names {', '.join(unknown)}; expected some of {', '.join(SPLITS)}")
    folder = _labels_folder(root)
    absent: set[str] = set()
    found = 0
    for split in splits:
        sequences: dict[str, list[_SplitLine]] = {}
        for line in read_split(folder / f"action_{split}.txt"):
            sequences.setdefault(line.sequence, []).append(line)
        for sequence, lines in sequences.items():
            subject = sequence.split("/")[0]
            if _subject_folder(root, subject) is None:
                absent.add(subject)
                continue
            found += 1
            recording = _read_sequence(root, sequence, lines, split, camera, frame, end_inclusive)
            if mano or object_poses:
                recording = _with_numbers(root, recording, sequence, camera, mano, object_poses)
            yield recording
    if found == 0:
        raise InputError(
            f"{root} holds none of {', '.join(sorted(absent)) or 'the subjects'}; expected folders like "
            f"{root}/subject1/h1/0/cam{camera}/hand_pose/000000.txt; unpack the subjectN_pose archives there"
        )
    if absent:
        warnings.warn(f"{root}: {', '.join(sorted(absent))} not found, their sequences are left out", stacklevel=2)


def read_split(file: Path) -> list[_SplitLine]:
    """The lines of action_{train,val,test}.txt; a test file may lack labels, or carry them in its last column."""
    if not file.is_file():
        raise InputError(f"{file} does not exist; expected the split files of label_split.zip beside it")
    rows = [line.split() for line in read_text(file).splitlines() if line.strip()]
    if not rows or "path" not in rows[0]:
        raise InputError(f"{file} has no header; expected: id path [action_label] start_act end_act start_frame ...")
    header, lines = rows[0], []
    for number, row in enumerate(rows[1:], 2):
        columns = header
        if len(row) == len(header) + 1 and "action_label" not in header:
            columns = [*header, "action_label"]
        if len(row) != len(columns):
            raise InputError(f"{file}, line {number}: found {len(row)} columns, expected {len(columns)}")
        cells = dict(zip(columns, row, strict=True))
        try:
            action = int(cells["action_label"]) if "action_label" in cells else None
            line = _SplitLine(cells["path"], int(cells["start_act"]), int(cells["end_act"]), action)
        except (ValueError, KeyError) as error:
            raise InputError(f"{file}, line {number}: {error}; expected whole numbers but for the path") from error
        if line.action is not None and not 0 <= line.action <= len(ACTIONS):
            raise InputError(f"{file}, line {number}: action label {line.action}; expected 0 to {len(ACTIONS)}")
        lines.append(line)
    return lines


def _labels_folder(root: Path) -> Path:
    if not root.is_dir():
        raise InputError(f"{root} is not a folder; expected H2O with action_labels/ and subject1/ ... subject4/ in it")
    for candidate in (root / "action_labels", root / "label_split", root / "label_split" / "action_labels", root):
        if any((candidate / f"action_{split}.txt").is_file() for split in SPLITS):
            return candidate
    raise InputError(
        f"{root} has no action_labels/action_train.txt (nor _val, _test); "
        "unpack label_split.zip there so that ROOT/action_labels holds the three split files"
    )


def _subject_folder(root: Path, subject: str) -> Path | None:
    if (root / subject).is_dir():
        return root / subject
    return next((path for path in sorted(root.glob(f"{subject}_*")) if path.is_dir()), None)


def _read_sequence(
    root: Path, sequence: str, lines: list[_SplitLine], split: str, camera: int, frame: str, end_inclusive: bool
) -> Recording:
    subject, *rest = sequence.split("/")
    folder = (_subject_folder(root, subject) or root / subject).joinpath(*rest, f"cam{camera}")
    hands = _numbered(folder, "hand_pose", 128, needed=True)
    poses = _numbered(folder, "cam_pose", 16, needed=frame == "world")
    frames = max([*hands, *poses]) + 1
    last = max(line.end for line in lines)
    if last > frames:  # holds whether the end frame is meant to belong to the segment or not
        raise InputError(
            f"{folder} holds frames up to {frames - 1}, but the split file names a segment up to frame {last}; "
            "the download may be cut off, unpack the subject's archive again"
        )
    table = np.zeros((frames, 2, 64), np.float64)
    for index, numbers in hands.items():
        table[index] = numbers.reshape(2, 64)
    joints, valid = table[..., 1:].reshape(frames, 2, 21, 3), table[..., 0] == 1
    pose = np.repeat(np.eye(4)[None], frames, 0)
    for index, numbers in poses.items():
        pose[index] = numbers.reshape(4, 4)
    provenance: dict[str, object] = {"camera": camera, "end_frame": "inclusive" if end_inclusive else "exclusive"}
    missing = frames - len(hands)
    if frame == "world":
        # X_world = R X_camera + t
        joints = joints @ pose[:, None, :3, :3].swapaxes(-1, -2) + pose[:, None, None, :3, 3]
        posed = np.isin(np.arange(frames), list(poses))
        missing = frames - int((posed & np.isin(np.arange(frames), list(hands))).sum())
        valid &= posed[:, None]
    if missing:
        provenance["missing_frames"] = missing
    segments, unlabelled = _segments(folder, lines, end_inclusive)
    if unlabelled:
        provenance["unlabelled_segments"] = unlabelled
    return Recording(
        joints=joints,
        valid=valid,
        time=np.arange(frames) / RATE,
        space="metric",
        name=f"h2o/{sequence}" if camera == 4 else f"h2o/{sequence}/cam{camera}",
        frame=frame,
        camera=_camera(folder, pose if poses else None),
        objects=_objects(folder, frames),
        segments=segments,
        subject=subject,
        session=sequence,
        split=split,
        source=SOURCE,
        provenance=provenance,
    )


def _with_numbers(root: Path, recording: Recording, sequence: str, camera: int, mano: bool, object_poses: bool) -> Recording:
    """The recording with the numbers of MANO and object files in its provenance."""
    subject, *rest = sequence.split("/")
    folder = (_subject_folder(root, subject) or root / subject).joinpath(*rest, f"cam{camera}")
    provenance: dict[str, object] = dict(recording.provenance)
    if mano:
        files = _numbered(folder, "hand_pose_MANO", 124, needed=True)
        provenance["mano"] = {str(frame): numbers.tolist() for frame, numbers in files.items()}
    if object_poses:
        for name, key, count in (("obj_pose", "object_pose", 64), ("obj_pose_RT", "object_pose_RT", 17)):
            files = _numbered(folder, name, count, needed=False)
            if files:
                provenance[key] = {str(frame): numbers.tolist() for frame, numbers in files.items()}
        if not {"object_pose", "object_pose_RT"} & provenance.keys():
            raise InputError(f"{folder} has neither obj_pose nor obj_pose_RT; expected one of them for object_poses=true")
    return recording.replace(provenance=provenance)


def _segments(
    folder: Path, lines: list[_SplitLine], end_inclusive: bool
) -> tuple[tuple[ActionSegment, ...], list[list[float]]]:
    """Labelled segments in seconds, and [start, end] of those without a label (label 0 is background: none)."""
    labelled, unlabelled = [], []
    per_frame: dict[int, np.ndarray] | None = None
    for line in sorted(lines, key=lambda item: item.start):
        stop = line.end + 1 if end_inclusive else line.end
        action = line.action
        if action is None:
            if per_frame is None:
                per_frame = _numbered(folder, "action_label", 1, needed=False)
            votes = Counter(int(per_frame[i][0]) for i in range(line.start, stop) if i in per_frame and per_frame[i][0])
            action = votes.most_common(1)[0][0] if votes else 0
        if action:
            verb, noun = ACTIONS[action - 1]
            labelled.append(ActionSegment(line.start / RATE, stop / RATE, f"{verb} {noun}", verb=verb, noun=noun))
        else:
            unlabelled.append([line.start / RATE, stop / RATE])
    return tuple(labelled), unlabelled


def _camera(folder: Path, pose: np.ndarray | None) -> dict[str, object] | None:
    camera: dict[str, object] = {} if pose is None else {"pose": pose}
    file = folder / "cam_intrinsics.txt"
    if file.is_file():
        numbers = _numbers(file, 6)
        if not (np.isfinite(numbers).all() and (numbers[4:] >= 1).all() and (numbers[4:] < 1e6).all()):
            raise InputError(
                f"{file} holds {' '.join(map(str, numbers.tolist()))}; expected fx, fy, cx, cy, width and height of the image; "
                "copy the set's file again"
            )
        camera |= {"intrinsics": tuple(numbers[:4].tolist()), "width": int(numbers[4]), "height": int(numbers[5])}
    return camera or None


def _objects(folder: Path, frames: int) -> tuple[str, ...] | None:
    """The object's name in each frame, from obj_pose or obj_pose_RT; None when neither folder is there."""
    for name, count in (("obj_pose", 64), ("obj_pose_RT", 17)):
        classes = _numbered(folder, name, count, needed=False)
        if classes:
            names = [""] * frames
            for index, numbers in classes.items():
                kind = numbers[0]
                if not 0 <= kind < len(OBJECTS):  # neither is what is not finite
                    raise InputError(f"{folder / name}/{index:06d}.txt: object class {kind:g}; expected 0 to 8")
                if index < frames:
                    names[index] = OBJECTS[int(kind)]
            return tuple(names)
    return None


def _numbered(folder: Path, name: str, count: int, needed: bool) -> dict[int, np.ndarray]:
    """{frame: numbers} of all files like 000012.txt in a folder."""
    path = folder / name
    files = sorted(path.glob("[0-9]*.txt")) if path.is_dir() else []
    if needed and not files:
        raise InputError(
            f"{path} is missing or empty; expected one file per frame such as {path}/000000.txt with {count} numbers; "
            "unpack the subject's _pose archive"
        )
    return {whole_number(file.stem, file, "the frame in its name"): _numbers(file, count) for file in files}


def _numbers(file: Path, count: int) -> np.ndarray:
    words = read_text(file).split()
    try:
        numbers = np.array(words, np.float64)
    except ValueError as error:
        raise InputError(f"{file} holds something that is not a number ({error}); expected {count} numbers") from error
    if len(numbers) != count:
        raise InputError(f"{file} holds {len(numbers)} numbers; expected {count}; the file may be cut off")
    return numbers

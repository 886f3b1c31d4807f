"""FPHA (First-Person Hand Action): one right hand in metric 3D, 45 actions, six people (academic use; nothing is shipped).

    ROOT/Hand_pose_annotation_v1/Subject_1/ACTION/SEQUENCE/skeleton.txt    frame, 21 x 3 millimetres in the world; _v1_1 too
    ROOT/data_split_action_recognition.txt       "Training ...", lines "Subject_1/ACTION/SEQUENCE label", "Test ...", lines
    ROOT/Subjects_info/Subject_1_info.txt        three header lines, then action, sequence, frames; optional
    ROOT/Object_6D_pose_annotation_v1/Subject_1/ACTION/SEQUENCE/object_pose.txt   frame, 4 x 4 by columns; optional

Format: the set's own README.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from palmist.errors import InputError
from palmist.files.input_files import read_text
from palmist.readers.annotation_files import find_below, whole_number
from palmist.recording import ActionSegment, Recording
from palmist.skeleton import to_canonical

RATE = 30.0
SOURCE = "First-Person Hand Action Benchmark (guiggh.github.io/publications/first-person-hands)"
PLACES = ("Hand_pose_annotation_v1", "Hand_pose_annotation_v1_1")
OBJECTS = ("Object_6D_pose_annotation_v1", "Object_6D_pose_annotation_v1_1")
SPLIT_FILE = "data_split_action_recognition.txt"
#: Sequences that the authors say to leave out.
EXCLUDED = ("Subject_2/close_milk/4", "Subject_2/put_tea_bag/2", "Subject_4/flip_sponge/2")
#: World to RGB camera, millimetres: x_camera = R x_world + t.
CAMERA_ROTATION = (
    (0.999988496304, -0.00468848412856, 0.000982563360594),
    (0.00469115935266, 0.999985218048, -0.00273845880292),
    (-0.000969709653873, 0.00274303671904, 0.99999576807),
)
CAMERA_TRANSLATION = (25.7, 1.22, 3.902)
INTRINSICS, WIDTH, HEIGHT = (1395.749023, 1395.749268, 935.732544, 540.68103), 1920, 1080
#: Millimetres from wrist to middle knuckle; less is no hand in this unit.
SMALLEST_PALM = 5.0
#: The people that the pose protocol trains on; the others test.
CROSS_SUBJECT_TRAINING = ("Subject_1", "Subject_3", "Subject_4")


def read_fpha(root: str | Path, split: str = "action", frame: str = "world") -> Iterator[Recording]:
    """One Recording per sequence, metres, right hand only, the action over all of it; the RGB camera goes with it.

    split: "action" takes train and test from the split file, and only sequences that it lists where it is there;
    "cross_subject" is the pose protocol's. frame: "world" or "camera" (the RGB camera). The three sequences that the
    authors leave out are left out. Sequences with fewer frames than Subjects_info names are counted in a warning. The split
    file's label is in provenance["label"]. Object poses, where the folder is there, are in provenance["object_pose"]: the frame
    number and 4 x 4 object-to-world matrix (metres) of each annotated frame.

    Raises InputError when a needed folder or file is missing or does not hold what it should.
    """
    root = Path(root)
    if split not in ("action", "cross_subject"):
        raise InputError(f"split is {split!r}; expected 'action' or 'cross_subject'")
    if frame not in ("world", "camera"):
        raise InputError(f"frame is {frame!r}; expected 'world' or 'camera'")
    folder = find_below(root, PLACES, "hand poses")
    listed = read_action_split(root / SPLIT_FILE) if (root / SPLIT_FILE).is_file() else None
    if listed is None and split == "action":
        warnings.warn(f"{root / SPLIT_FILE} is not there: the recordings have no split", stacklevel=2)
    files = sorted(folder.glob("Subject_*/*/*/skeleton.txt"))
    if not files:
        raise InputError(f"{folder} holds no Subject_1/ACTION/1/skeleton.txt; unpack the hand pose archive there")
    names = {"/".join(file.parts[-4:-1]) for file in files}
    shorter: list[str] = []
    lengths = _listed_lengths(root)
    absent = set(listed or {}) - names - set(EXCLUDED)
    if absent:
        warnings.warn(f"{folder}: {len(absent)} listed sequences have no poses, such as {min(absent)}", stacklevel=2)
    for file in files:
        sequence = "/".join(file.parts[-4:-1])
        if sequence in EXCLUDED or (split == "action" and listed is not None and sequence not in listed):
            continue
        subject = file.parts[-4]
        part = "train" if subject in CROSS_SUBJECT_TRAINING else "test"
        if split == "action":
            part = listed[sequence][0] if listed is not None else ""
        recording = _read_sequence(root, file, sequence, part or None, frame)
        if len(recording) < lengths.get(sequence, 0):
            shorter.append(sequence)
        if listed is not None and sequence in listed:
            recording = recording.replace(provenance={**recording.provenance, "label": listed[sequence][1]})
        yield recording
    if shorter:
        warnings.warn(
            f"{folder}: {len(shorter)} sequences have fewer frames than Subjects_info says, such as {shorter[0]}; "
            "they may be cut off",
            stacklevel=2,
        )


def read_action_split(file: Path) -> dict[str, tuple[str, int]]:
    """ "Subject_1/ACTION/SEQUENCE" -> ("train" or "test", label) of data_split_action_recognition.txt."""
    listed: dict[str, tuple[str, int]] = {}
    part = ""
    for number, line in enumerate(read_text(file).splitlines(), 1):
        words = line.split()
        if not words:
            continue
        heading = next((name for name in ("train", "test") if words[0].lower().startswith(name)), None)
        if heading is not None:
            part = heading
            continue
        if not part or len(words) != 2:
            expected = "'Subject_1/ACTION/SEQUENCE label'" if part else "a line that begins with 'Training'"
            raise InputError(f"{file}, line {number}: found '{line}', expected {expected}")
        listed[words[0]] = (part, whole_number(words[1], file, f"the label in line {number}"))
    if {part for part, _ in listed.values()} != {"train", "test"}:
        raise InputError(f"{file} lists {len(listed)} sequences; expected some under 'Training' and some under 'Test'")
    return listed


def read_subject_info(file: Path) -> dict[tuple[str, int], int]:
    """(action, sequence) -> number of frames, of Subjects_info/Subject_N_info.txt; its first three lines are a header."""
    if not file.is_file():
        raise InputError(f"{file} does not exist; expected Subjects_info/Subject_N_info.txt")
    frames: dict[tuple[str, int], int] = {}
    for number, line in enumerate(read_text(file).splitlines()[3:], 4):
        words = line.split()
        if not words:
            continue
        if len(words) != 3:
            raise InputError(f"{file}, line {number}: found {len(words)} words, expected action, sequence, frames")
        sequence, count = (whole_number(word, file, f"a number in line {number}") for word in words[1:])
        frames[words[0], sequence] = count
    return frames


def _listed_lengths(root: Path) -> dict[str, int]:
    """ "Subject_1/ACTION/SEQUENCE" -> frames, of every info file that is there."""
    return {
        f"{file.name.removesuffix('_info.txt')}/{action}/{take}": frames
        for file in sorted(root.glob("Subjects_info/Subject_*_info.txt"))
        for (action, take), frames in read_subject_info(file).items()
    }


def _read_sequence(root: Path, file: Path, sequence: str, split: str | None, frame: str) -> Recording:
    table = _table(file, 64)
    numbers = _frame_numbers(table, file)
    order = np.argsort(numbers, kind="stable")
    numbers, points = numbers[order], table[order, 1:].reshape(-1, 1, 21, 3)
    if len(numbers) > 1 and (np.diff(numbers) <= 0).any():
        raise InputError(f"{file}: frame {numbers[1:][np.diff(numbers) <= 0][0]} stands there twice; expected each frame once")
    size = float(np.median(np.linalg.norm(points[:, 0, 3] - points[:, 0, 0], axis=-1)))
    if 0 < size < SMALLEST_PALM:
        raise InputError(
            f"{file}: the middle knuckle is {size:.3g} from the wrist, expected about 90 millimetres; multiply metres by 1000"
        )
    count = int(numbers[-1] - numbers[0]) + 1
    if frame == "camera":
        points = points @ np.array(CAMERA_ROTATION).T + np.array(CAMERA_TRANSLATION)
    joints, valid = np.zeros((count, 2, 21, 3)), np.zeros((count, 2), bool)
    rows = numbers - numbers[0]
    joints[rows] = to_canonical(points, "fpha") / 1000.0
    valid[rows, 1] = np.any(points != 0, axis=(1, 2, 3))
    pose = np.eye(4)
    if frame == "world":
        pose[:3, :3] = np.array(CAMERA_ROTATION).T
        pose[:3, 3] = -np.array(CAMERA_ROTATION).T @ np.array(CAMERA_TRANSLATION) / 1000.0
    subject, action, take = sequence.split("/")
    label = action.replace("_", " ")
    verb, _, noun = label.partition(" ")
    provenance: dict[str, object] = {"rate": "30 frames per second assumed"}
    if count > len(numbers):
        provenance["missing_frames"] = count - len(numbers)
    objects = next((root / place for place in OBJECTS if (root / place).is_dir()), None)
    if objects is not None and (objects / sequence / "object_pose.txt").is_file():
        provenance["object_pose"] = _object_poses(objects / sequence / "object_pose.txt")
    return Recording(
        joints=joints,
        valid=valid,
        time=np.arange(count) / RATE,
        space="metric",
        name=f"fpha/{sequence}",
        frame=frame,
        camera={"intrinsics": INTRINSICS, "width": WIDTH, "height": HEIGHT, "pose": pose},
        segments=(ActionSegment(0.0, count / RATE, label, verb=verb, noun=noun or None),),
        subject=subject,
        session=f"{subject}/{action}/{take}",
        split=split,
        source=SOURCE,
        provenance=provenance,
    )


def _object_poses(file: Path) -> list[list[object]]:
    """[frame, 4 x 4 matrix in metres] of each line; the file writes matrices column by column, millimetres."""
    table = _table(file, 17)
    poses: list[list[object]] = []
    for number, row in zip(_frame_numbers(table, file), table, strict=True):
        matrix = row[1:].reshape(4, 4).T.copy()
        matrix[:3, 3] /= 1000.0
        poses.append([int(number), matrix.tolist()])
    return poses


def _frame_numbers(table: np.ndarray, file: Path) -> np.ndarray:
    """The first column as whole numbers from 0, (rows,)."""
    column = table[:, 0]
    bad = ~(np.isfinite(column) & (column >= 0) & (column == np.round(column)))
    if bad.any():
        raise InputError(f"{file}: frame number {column[bad][0]:g}; expected a whole number first in each line")
    return column.astype(int)


def _table(file: Path, columns: int) -> np.ndarray:
    """The numbers of a text file, (rows, columns)."""
    rows = [line.split() for line in read_text(file).splitlines() if line.strip()]
    if not rows:
        raise InputError(f"{file} is empty; expected {columns} numbers in each line; download it again")
    for number, row in enumerate(rows, 1):
        if len(row) != columns:
            raise InputError(f"{file}, line {number}: found {len(row)} numbers, expected {columns}; it may be cut off")
    try:
        return np.array(rows, np.float64)
    except ValueError as error:
        raise InputError(f"{file} holds something that is not a number ({error}); expected {columns} in a line") from error

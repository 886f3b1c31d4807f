"""AssemblyHands: 3D joints for Assembly101's videos, two hands, metric, about 30 Hz (CC BY-NC 4.0; nothing is shipped).

    ROOT/annotations/SPLIT/assemblyhands_SPLIT_joint_3d_v1-1.json     42 x 3 millimetres in the world, 42 flags, by frame
                          /assemblyhands_SPLIT_ego_calib_v1-1.json    intrinsics by camera, world-to-camera by frame
                          /assemblyhands_SPLIT_ego_data_v1-1.json     images and boxes of the hands, COCO style

Frame numbers count at 60 Hz, and every second one is annotated; a sequence may begin with an odd or an even number. Joints
0-20 are the *right* hand, 21-41 the left one, each finger from its tip, the wrist last. Sequences are called as in
Assembly101, whose labels go with them. Format: the set's toolkit.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from palmist.errors import InputError
from palmist.files.input_files import damage_named
from palmist.readers.annotation_files import entry, find_below, joint_block, read_json, whole_number
from palmist.readers.assembly101 import read_labels
from palmist.recording import Recording
from palmist.skeleton import to_canonical

FRAME_RATE, STEP = 60.0, 2
SOURCE = "AssemblyHands (assemblyhands.github.io)"
SPLITS = ("train", "val", "test")
VERSION = "v1-1"


def read_assemblyhands(
    root: str | Path,
    splits: tuple[str, ...] = SPLITS,
    camera: str | None = None,
    labels: str | Path | None = None,
) -> Iterator[Recording]:
    """One Recording per sequence, metres, world frame, every second frame of 60 Hz, with each joint's own flag.

    splits: those to read; a split whose folder is not there is left out with a warning. camera: name of a head-mounted
    camera, such as "HMC_84346135_mono10bit", whose intrinsics and camera-to-world poses the recordings shall carry.
    labels: a folder of Assembly101, from whose fine-grained files the actions are taken by sequence and time.

    Raises InputError when no split is there, a file is missing or of another version, or does not hold what it should.
    """
    root = Path(root)
    folder = find_below(root, ("annotations", "assemblyhands_toolkit/data/annotations"), "annotations")
    actions = {} if labels is None else read_labels(Path(labels), "fine")
    there = [split for split in splits if (folder / split).is_dir()]
    if not there:
        raise InputError(f"{folder} has none of the folders {', '.join(splits)}; expected for example {folder}/val")
    if len(there) < len(splits):
        warnings.warn(f"{folder}: {', '.join(set(splits) - set(there))} not found and left out", stacklevel=2)
    for split in there:
        file = _file(folder, split, "joint_3d")
        sequences = entry(read_json(file, "the 3D joints"), "annotations", file, "top level")
        calibration: dict[str, Any] = {}
        if camera is not None:
            calibration_file = _file(folder, split, "ego_calib")
            content = read_json(calibration_file, "the cameras of that split")
            calibration = entry(content, "calibration", calibration_file, "top level")
        if not isinstance(sequences, Mapping):
            found = type(sequences).__name__
            raise InputError(f"{file}: 'annotations' is a {found}; expected sequences by name; download it again")
        for name, frames in sequences.items():
            with damage_named(f"{file}, {name}", "frames by number with joints in millimetres"):
                recording = _read_sequence(file, split, name, frames)
            if camera is not None:
                numbers = np.round(recording.time * FRAME_RATE).astype(int)
                recording = recording.replace(camera=_camera(calibration_file, calibration, name, camera, numbers))
            if name in actions:
                recording = recording.replace(segments=_within(actions[name].segments, recording))
            yield recording


def read_boxes(root: str | Path, split: str) -> dict[tuple[str, str], dict[int, dict[str, tuple[float, ...]]]]:
    """Boxes of the hands in the head-mounted cameras' images, pixels x0, y0, x1, y1.

    Returns:
        (sequence, camera) -> frame number at 60 Hz -> {"left": box, "right": box}, a hand out of view left out.
    """
    folder = find_below(Path(root), ("annotations", "assemblyhands_toolkit/data/annotations"), "annotations")
    file = _file(folder, split, "ego_data")
    data = read_json(file, "images and boxes")
    images = {image["id"]: image for image in entry(data, "images", file, "top level")}
    boxes: dict[tuple[str, str], dict[int, dict[str, tuple[float, ...]]]] = {}
    for item in entry(data, "annotations", file, "top level"):
        image = images.get(item.get("image_id"))
        if image is None:
            raise InputError(
                f"{file}: an annotation names image {item.get('image_id')}, which is not listed; download it again"
            )
        shown = {side: box for side, box in entry(item, "bbox", file, "an annotation").items() if box is not None}
        sides = {
            side: tuple(float(number) for number in joint_block(box, (4,), file, f"the {side} box"))
            for side, box in shown.items()
        }
        place = boxes.setdefault((str(image["seq_name"]), str(image["camera"])), {})
        place[whole_number(str(image["frame_idx"]), file, "frame_idx")] = sides
    return boxes


def _file(folder: Path, split: str, kind: str) -> Path:
    path = folder / split / f"assemblyhands_{split}_{kind}_{VERSION}.json"
    if not path.is_file():
        others = sorted(other.name for other in (folder / split).glob(f"*_{kind}_*.json"))
        found = f"found {', '.join(others)}" if others else "no other version is there either"
        raise InputError(f"{path} does not exist, {found}; expected version {VERSION} of the annotations")
    return path


def _read_sequence(file: Path, split: str, name: str, frames: dict[str, Any]) -> Recording:
    if not frames:
        raise InputError(f"{file}: sequence {name} has no frames; expected at least one; download the file again")
    numbers = sorted((whole_number(key, file, f"a frame number of {name}"), key) for key in frames)
    first, last = numbers[0][0], numbers[-1][0]
    if any((number - first) % STEP for number, _ in numbers):
        raise InputError(f"{file}: sequence {name} has frames of both parities; expected every second frame of 60 Hz")
    count = (last - first) // STEP + 1
    joints, flags = np.zeros((count, 42, 3)), np.zeros((count, 42))
    for number, key in numbers:
        row, where = (number - first) // STEP, f"{name}, frame {key}"
        joints[row] = joint_block(entry(frames[key], "world_coord", file, where), (42, 3), file, where)
        flags[row] = joint_block(entry(frames[key], "joint_valid", file, where), (42,), file, where)
    hands = to_canonical(joints.reshape(count, 2, 21, 3), "assemblyhands") / 1000.0
    known = to_canonical(flags.reshape(count, 2, 21, 1), "assemblyhands")[..., 0]
    provenance: dict[str, object] = {"first_frame_60hz": first}
    if count > len(numbers):
        provenance["missing_frames"] = count - len(numbers)
    return Recording(
        joints=hands,
        valid=known[:, :, 0] > 0,
        time=(first + STEP * np.arange(count)) / FRAME_RATE,
        space="metric",
        name=f"assemblyhands/{name}",
        frame="world",
        confidence=np.clip(known, 0.0, 1.0),
        session=name,
        split=split,
        source=SOURCE,
        provenance=provenance,
    )


def _within(segments: list[Any], recording: Recording) -> tuple[Any, ...]:
    """Segments that overlap the recording in time."""
    start, end = float(recording.time[0]), float(recording.time[-1])
    return tuple(sorted((s for s in segments if s.start <= end and s.end > start), key=lambda s: (s.start, s.end)))


def _camera(file: Path, calibration: dict[str, Any], name: str, camera: str, numbers: np.ndarray) -> dict[str, object]:
    """Intrinsics and camera-to-world poses in metres; a frame without a pose has NaN there."""
    cameras = entry(calibration, name, file, "calibration")
    matrix = joint_block(entry(cameras["intrinsics"], camera, file, f"{name}, intrinsics"), (3, 3), file, camera)
    poses = np.full((len(numbers), 4, 4), np.nan)
    for row, number in enumerate(numbers):
        there = cameras["extrinsics"].get(f"{number:06d}", {}).get(camera)
        if there is not None:
            world_to_camera = np.eye(4)
            world_to_camera[:3] = joint_block(there, (3, 4), file, f"{name}, frame {number}, {camera}")
            world_to_camera[:3, 3] /= 1000.0
            poses[row] = np.linalg.inv(world_to_camera)
    return {"intrinsics": (matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2]), "pose": poses}

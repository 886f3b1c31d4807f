"""One `.skeleton` file of NTU RGB+D: text of the Kinect v2, read whole and checked line by line.

    frames                                      once
    bodies                                      per frame
    id clipped left-confidence left-state right-confidence right-state restricted lean-x lean-y tracking    per body
    25                                          per body: how many joints
    x y z depth-x depth-y colour-x colour-y orientation-w -x -y -z tracking                                 per joint

x y z are metres in the depth camera's frame as Kinect gives it (x to its left, y up, z away from it), colour pixels lie
in the 1920 x 1080 colour frame. Format: shahroudy/NTURGB-D.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from palmist.errors import InputError
from palmist.files.input_files import read_text

__all__ = ["COLOUR_SIZE", "JOINTS", "RATE", "KinectFile", "read_skeleton_file"]

JOINTS = 25
RATE = 30.0
COLOUR_SIZE = (1920, 1080)  # width, height
_BODY_FIELDS, _JOINT_FIELDS = 10, 12
_NOT_A_NUMBER = re.compile(r"[-+]?\d\.#[A-Za-z]+\d*")  # how Windows prints NaN and infinity


@dataclass(frozen=True, eq=False)
class KinectFile:
    """What a .skeleton file holds, one row per body that Kinect followed, in the order of their first frames.

    ids: M tracking ids (text, too long for float64); seen (M, T) bool; position (M, T, 25, 3) metres; depth and colour
    (M, T, 25, 2) pixels; state (M, T, 25) int8: 2 tracked, 1 inferred, 0 not tracked; hand_state (M, T, 2) int8, left first:
    0 unknown, 1 not tracked, 2 open, 3 closed, 4 lasso. Entries of bodies that are not seen are 0.
    """

    ids: tuple[str, ...]
    seen: np.ndarray
    position: np.ndarray
    depth: np.ndarray
    colour: np.ndarray
    state: np.ndarray
    hand_state: np.ndarray


def read_skeleton_file(file: Path) -> KinectFile:
    """Read one file; its M may be 0 (nobody was found), its T is at least 1.

    Raises InputError, one sentence with the line, when the file is missing, cut off or holds something else.
    """
    if not file.is_file():
        raise InputError(f"{file} does not exist; expected a .skeleton file of NTU RGB+D")
    lines = read_text(file, encoding="ascii", errors="replace").splitlines()
    bodies, joint_lines, frames = _walk(file, lines)
    if not bodies:
        empty = np.zeros((0, frames, JOINTS, _JOINT_FIELDS))
        return _arrays((), np.zeros((0, frames), bool), empty, np.zeros((0, frames, 2), np.int8))
    numbers = _numbers(file, lines, joint_lines)  # (bodies, 25, 12)
    ids = tuple(dict.fromkeys(identity for _, identity, _ in bodies))
    rows = {identity: row for row, identity in enumerate(ids)}
    seen = np.zeros((len(ids), frames), bool)
    values = np.zeros((len(ids), frames, JOINTS, _JOINT_FIELDS))
    hand_state = np.zeros((len(ids), frames, 2), np.int8)
    who, when = np.array([rows[identity] for _, identity, _ in bodies]), np.array([frame for frame, _, _ in bodies])
    seen[who, when] = True
    values[who, when] = numbers
    hand_state[who, when] = [states for _, _, states in bodies]
    return _arrays(ids, seen, values, hand_state)


_Body = tuple[int, str, tuple[int, int]]  # frame, tracking id, hand states


def _walk(file: Path, lines: list[str]) -> tuple[list[_Body], list[int], int]:
    """The bodies, the numbers (from 0) of the first joint line of each, and how many frames there are."""
    frames = _count(file, lines, 0, "frames")
    if frames < 1:
        raise InputError(f"{file}, line 1: found {frames} frames, expected at least one; download it again")
    bodies: list[_Body] = []
    starts: list[int] = []
    at = 1
    for frame in range(frames):
        persons = _count(file, lines, at, f"bodies of frame {frame + 1} of {frames}")
        at += 1
        for _ in range(persons):
            words = lines[at].split() if at < len(lines) else []
            if len(words) != _BODY_FIELDS:
                raise InputError(
                    f"{file}, line {at + 1}: found {len(words)} values, expected {_BODY_FIELDS} of a body{_cut(at, lines)}"
                )
            joints = _count(file, lines, at + 1, "joints")
            if joints != JOINTS:
                raise InputError(f"{file}, line {at + 2}: found {joints} joints, expected {JOINTS}")
            if at + 2 + JOINTS > len(lines):
                raise InputError(
                    f"{file}, line {len(lines)}: the file ends inside a body of frame {frame + 1} of {frames}; it is cut off"
                )
            try:
                states = (int(float(words[3])), int(float(words[5])))
            except ValueError:
                states = (0, 0)
            bodies.append((frame, words[0], states))
            starts.append(at + 2)
            at += 2 + JOINTS
    if any(line.strip() for line in lines[at:]):
        raise InputError(f"{file}, line {at + 1}: found more after the last of {frames} frames; expected the end of the file")
    return bodies, starts, frames


def _count(file: Path, lines: list[str], at: int, what: str) -> int:
    text = lines[at].strip() if at < len(lines) else ""
    if not text.isdigit() or int(text) > 1_000_000:
        raise InputError(f"{file}, line {at + 1}: found {text[:40]!r}, expected the number of {what}{_cut(at, lines)}")
    return int(text)


def _cut(at: int, lines: list[str]) -> str:
    return "; the file is cut off" if at >= len(lines) - 1 else ""


def _numbers(file: Path, lines: list[str], starts: list[int]) -> np.ndarray:
    """(bodies, 25, 12): all joint lines in one call, and one by one only to say which of them is damaged."""
    chosen = [lines[i] for start in starts for i in range(start, start + JOINTS)]
    text = " ".join(chosen)
    if "#" in text:
        text = _NOT_A_NUMBER.sub("nan", text)
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)  # numpy's way to say that it stopped at a word
        try:
            numbers = np.fromstring(text, np.float64, sep=" ")
        except (DeprecationWarning, ValueError):
            numbers = np.empty(0)
    if len(numbers) == len(chosen) * _JOINT_FIELDS and all(line.strip().count(" ") == _JOINT_FIELDS - 1 for line in chosen):
        return numbers.reshape(-1, JOINTS, _JOINT_FIELDS)
    for start in starts:
        for at in range(start, start + JOINTS):
            words = _NOT_A_NUMBER.sub("nan", lines[at]).split()
            try:
                found = len([float(word) for word in words])
            except ValueError as error:
                raise InputError(f"{file}, line {at + 1}: {error}; expected {_JOINT_FIELDS} numbers of a joint") from error
            if found != _JOINT_FIELDS:
                raise InputError(f"{file}, line {at + 1}: found {found} numbers, expected {_JOINT_FIELDS} of a joint")
    return np.array([float(word) for line in chosen for word in _NOT_A_NUMBER.sub("nan", line).split()]).reshape(
        -1, JOINTS, _JOINT_FIELDS
    )


def _arrays(ids: tuple[str, ...], seen: np.ndarray, values: np.ndarray, hand_state: np.ndarray) -> KinectFile:
    state = np.nan_to_num(values[..., 11]).astype(np.int8)
    return KinectFile(ids, seen, values[..., :3], values[..., 3:5], values[..., 5:7], state, hand_state)

"""The files of a store around its arrays' rows: what columns there are, the index, and what of it can be trusted.

A store that was cut off anywhere is read up to its last whole recording: `read_index` stops at the first line that is not
whole, `whole_entries` at the first recording whose rows the arrays no longer hold.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from palmist.errors import InputError
from palmist.files.input_files import read_json
from palmist.files.whole_file import write_whole
from palmist.skeleton import BODY_LAYOUTS

FORMAT = "palmist-store"
VERSION = 1
LINE_VERSIONS = (1, 2)  # of an index line; 2: without rows for hands that are never seen
UNFINISHED = "unfinished.json"  # there while write_store fills a store
HEADER_BYTES = 128  # of every .npy here, so that the header can grow in place


@dataclass(frozen=True)
class Column:
    """One array of the store: its number type and the shape of one row."""

    dtype: np.dtype
    row: tuple[int, ...]

    @property
    def row_bytes(self) -> int:
        return self.dtype.itemsize * int(np.prod(self.row, dtype=np.int64))


COLUMNS: dict[str, Column] = {
    "joints": Column(np.dtype("<f4"), (2, 21, 3)),
    "valid": Column(np.dtype("?"), (2,)),
    "time": Column(np.dtype("<f8"), ()),
    "confidence": Column(np.dtype("<f4"), (2, 21)),
    "interpolated": Column(np.dtype("?"), (2,)),
    "body_joints": Column(np.dtype("<f4"), (3,)),  # one row per frame and body joint: layouts differ in length
    "body_valid": Column(np.dtype("?"), ()),
    "body_confidence": Column(np.dtype("<f4"), ()),
    "camera_pose": Column(np.dtype("<f8"), (4, 4)),
}


def header(column: Column, rows: int) -> bytes:
    """A .npy header, version 1.0, of exactly HEADER_BYTES."""
    text = f"{{'descr': '{column.dtype.str}', 'fortran_order': False, 'shape': {(rows, *column.row)}, }}"
    text = text.ljust(HEADER_BYTES - 11) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode("latin1")


def rows_used(entries: list[dict[str, Any]]) -> dict[str, int]:
    """How many rows of each array belong to recordings."""
    used = dict.fromkeys(COLUMNS, 0)
    for entry in entries:
        for name, (start, count, _) in entry["arrays"].items():
            used[name] = max(used[name], start + count)
    return used


def check_version(path: Path) -> list[str]:
    """Refuse another format or version; a cut-off index.json is forgiven: every index line names the version."""
    file = path / "index.json"
    try:
        head = read_json(file, "the version of a store")
    except InputError:
        return ["index.json is missing or cut off, the version was taken from index.jsonl"]
    if not isinstance(head, dict) or head.get("format") != FORMAT:
        raise InputError(f"{file} does not name the format '{FORMAT}'; expected a folder made by palmist prepare")
    _refuse_version(head.get("version"), path)
    return []


def _refuse_version(version: object, path: Path, known: tuple[int, ...] = (VERSION,)) -> None:
    if version not in known:
        raise InputError(
            f"{path} is a store of version {version}; this Palmist reads version {VERSION}; "
            "update it with: pip install -U palmist, or make the store again with palmist prepare"
        )


def read_index(file: Path) -> tuple[list[dict[str, Any]], str | None]:
    """Index entries up to the first line that is not complete, and a sentence about what was lost."""
    entries: list[dict[str, Any]] = []
    if not file.is_file():
        return entries, "index.jsonl is missing"
    lines = file.read_bytes().split(b"\n")
    unfinished = lines.pop()
    names: set[str] = set()
    used = dict.fromkeys(COLUMNS, 0)
    for number, line in enumerate(lines, 1):
        try:
            entry = _read_line(line)
            _refuse_version(entry["version"], file.parent, LINE_VERSIONS)
            _check_entry(entry, used)
            if entry["name"] in names:
                raise ValueError(f"'{entry['name']}' stands there twice")
        except InputError:
            raise
        except (ValueError, AttributeError, TypeError, LookupError, RecursionError):
            return entries, f"line {number} of index.jsonl is not readable, {len(lines) - number + 1} lines are lost"
        entries.append(entry)
        names.add(entry["name"])
        used |= {name: rows[0] + rows[1] for name, rows in entry["arrays"].items()}
    return entries, "index.jsonl ends inside a line" if unfinished else None


_CHECK = b', "check": '


def index_line(entry: dict[str, Any]) -> bytes:
    """An entry as a line that ends with the checksum of what stands before it."""
    text = json.dumps(entry, ensure_ascii=False).encode()
    return text[:-1] + _CHECK + str(zlib.crc32(text)).encode() + b"}\n"


def _read_line(line: bytes) -> dict[str, Any]:
    """The entry of a line; ValueError when it is no JSON or its checksum, if it has one, is another."""
    entry: dict[str, Any] = json.loads(line)
    if not {"version", "name", "frames", "arrays", "metadata"} <= entry.keys():
        raise ValueError("keys are missing")
    if "check" in entry:
        before, _, _ = line.rpartition(_CHECK)
        if zlib.crc32(before + b"}") != entry.pop("check"):
            raise ValueError("the checksum is another")
    return entry


def _check_entry(entry: dict[str, Any], used: Mapping[str, int]) -> None:
    """ValueError, TypeError or KeyError unless the rows of an entry follow those used so far and fit its frames."""
    frames, arrays = entry["frames"], entry["arrays"]
    if not isinstance(entry["name"], str) or not isinstance(entry["metadata"], dict) or not _is_count(frames) or not frames:
        raise TypeError("name, metadata or frames are of a wrong type")
    rows_of = dict.fromkeys(("joints", "valid", "time", "confidence", "interpolated"), frames)
    if "body_joints" in arrays:
        joints = len(BODY_LAYOUTS[entry["body_layout"]])
        rows_of |= dict.fromkeys(("body_joints", "body_valid", "body_confidence"), frames * joints)
    if "camera_pose" in arrays:
        rows_of["camera_pose"] = frames if entry["pose_per_frame"] else 1
    needed = {"time"} | ({"joints", "valid"} if "joints" in arrays or "body_joints" not in arrays else set())
    if not needed <= arrays.keys() or ("body_joints" in arrays) != ("body_valid" in arrays):
        raise KeyError("an array is missing")
    for name, (start, count, checksum) in arrays.items():
        if name not in COLUMNS:
            continue  # of a newer Palmist, which is said later
        if start != used[name] or count != rows_of[name] or not (_is_count(start) and _is_count(checksum)):
            raise ValueError(f"the rows of {name} do not follow those before, or are not as many as its frames")


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def whole_entries(path: Path, entries: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], str | None]:
    """The entries before the first one whose rows the array files no longer hold."""
    sizes = {name: file_size(path / f"{name}.npy") for name in COLUMNS}
    held = {name: max(0, sizes[name] - HEADER_BYTES) // column.row_bytes for name, column in COLUMNS.items()}
    for position, entry in enumerate(entries):
        for name, rows in entry["arrays"].items():
            if name not in held:
                raise InputError(f"{path} has an array '{name}' that this Palmist does not know; update Palmist")
            if rows[0] + rows[1] > held[name]:
                return entries[:position], (
                    f"{name}.npy is cut off inside recording '{entry['name']}', {len(entries) - position} of "
                    f"{len(entries)} recordings are lost"
                )
    used = rows_used(entries)
    expected = {name: HEADER_BYTES + used[name] * column.row_bytes for name, column in COLUMNS.items()}
    there = {name for name in COLUMNS if used[name] or (path / f"{name}.npy").is_file()}  # stores of older versions lack some
    if short := [name for name in COLUMNS if name in there and sizes[name] < expected[name]]:
        return entries, f"{', '.join(short)}.npy is cut off inside its header"
    if longer := [name for name in COLUMNS if sizes[name] > expected[name]]:
        return entries, f"{', '.join(longer)} holds rows that no index line names (an append was cut off or is running)"
    return entries, None


def file_size(file: Path) -> int:
    return file.stat().st_size if file.is_file() else 0


def rewrite_index(path: Path, entries: list[dict[str, Any]]) -> None:
    """Write the whole entries again, each file in one step, before the first append after a loss."""
    texts = {
        "index.jsonl": b"".join(index_line(entry) for entry in entries),
        "index.json": json.dumps({"format": FORMAT, "version": VERSION}).encode(),
    }
    for name, text in texts.items():
        write_part(path / name, text)


def write_part(file: Path, content: bytes) -> None:
    """A small file of a store, whole or not at all; InputError where it cannot be written."""
    try:
        write_whole(file, content)
    except OSError as error:
        raise InputError(f"{file} cannot be written ({error.strerror}); expected a file; make the store again") from error

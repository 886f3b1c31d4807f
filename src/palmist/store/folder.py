"""Recordings on disk: a folder of .npy arrays and an index, memory-mapped, safe against a crash while appending.

    index.json      {"format": "palmist-store", "version": 1}
    index.jsonl     one line per recording: name, frames, where its rows start in each array, checksums, metadata; "check",
                    the last key, is the CRC-32 of the line without it
    joints.npy      (frames, 2, 21, 3) float32      valid.npy (frames, 2) bool       time.npy (frames,) float64
    confidence.npy, interpolated.npy, body_joints.npy, body_valid.npy, body_confidence.npy, camera_pose.npy: only of
    recordings with them

A recording whose hands are never seen (a skeleton without hands) takes no rows of joints.npy and valid.npy; its index line
is of version 2.

Order of writing: arrays first, then fsync, then the index line, then fsync. A recording counts when its line is
complete and its arrays are long enough, whatever the .npy headers say (they are brought up to date when the store is
closed, so that numpy.load works on a closed store). A store that was cut off anywhere opens up to its last whole
recording and says so.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, overload

import numpy as np

from palmist.errors import InputError
from palmist.files.folder_lock import lock_folder
from palmist.files.input_files import damage_named, read_json
from palmist.recording import Body, Recording, check_facts
from palmist.recording_file import fields_from_metadata, metadata, read_recording
from palmist.store.index import (
    COLUMNS,
    FORMAT,
    HEADER_BYTES,
    LINE_VERSIONS,
    UNFINISHED,
    VERSION,
    check_version,
    file_size,
    header,
    index_line,
    read_index,
    rewrite_index,
    rows_used,
    whole_entries,
    write_part,
)

__all__ = ["Store", "open_source", "write_store"]


class Store:
    """A folder of recordings. Reads are memory-mapped: `store[i]` costs no copy, and slices of it neither.

    A sequence of Recordings: len(store), store[i], store[2:5] (a list), iteration, store["name"]; `names`, `index`
    (metadata per recording without touching arrays), `report` (what was lost when it was opened, else None).

    >>> with Store.create("out/store") as store:
    ...     store.extend(recordings)
    >>> Store.open("out/store")[0].slice(0, 16).joints.shape
    (16, 2, 21, 3)
    """

    def __init__(self, path: Path, index: list[dict[str, Any]], report: str | None) -> None:
        self.path = path
        self.report = report
        self._index = index
        self._position = {entry["name"]: i for i, entry in enumerate(index)}
        self._recordings: list[Recording | None] = [None] * len(index)
        self._maps: dict[str, np.ndarray] = {}
        self._files: dict[str, BinaryIO] = {}
        self._used = rows_used(index)  # rows that count, per array
        self._tail = dict(self._used)  # the same with those written but not yet in the index
        self._index_bytes = file_size(path / "index.jsonl")
        self._lock: int | None = None

    # ------------------------------------------------------------------------------------------------ open and create

    @classmethod
    def open(cls, path: str | Path) -> Store:
        """Open a store for reading (and appending). Warns, and sets `report`, when its end is not whole.

        Raises InputError when the folder is no store, or of a version that this Palmist does not read.
        """
        path = Path(path)
        if not (path / "index.json").is_file() and not (path / "index.jsonl").is_file():
            raise InputError(
                f"{path} is not a Palmist store (no index.json); expected a folder made by: "
                f"palmist prepare DATASET --root DIR --out {path}"
            )
        trouble = check_version(path)
        entries, lost = read_index(path / "index.jsonl")
        if lost:
            trouble.append(lost)
        whole, lost = whole_entries(path, entries)
        if lost:
            trouble.append(lost)
        if (path / UNFINISHED).is_file():
            trouble.append("the run that fills it has not finished; give its command again to go on")
        report = None
        if trouble:
            report = f"{path}: {'; '.join(trouble)}; opened up to the last whole recording ({len(whole)} recordings)"
            warnings.warn(report, stacklevel=2)
        return cls(path, whole, report)

    @classmethod
    def create(cls, path: str | Path, overwrite: bool = False, made_of: Mapping[str, Any] | None = None) -> Store:
        """Make an empty store. Refuses a folder that holds something, or with `overwrite` anything but a store.

        made_of: what it will be filled with (`write_store`); kept in unfinished.json until `finish`.
        """
        path = Path(path)
        if path.exists() and (not path.is_dir() or any(file.name != f"{UNFINISHED}.part" for file in path.iterdir())):
            names = ("index.json", "index.jsonl", UNFINISHED)
            is_store = any((path / name).is_file() for name in names)
            if not (overwrite and is_store):
                what = "already holds a store" if is_store else "exists and is not a store"
                fix = "pass overwrite or choose another folder" if is_store else "choose another folder"
                raise InputError(f"{path} {what}; expected a new or empty folder; {fix}")
            shutil.rmtree(path)
        path.mkdir(parents=True, exist_ok=True)
        if made_of is not None:
            write_part(path / UNFINISHED, json.dumps(dict(made_of)).encode())
        for name, column in COLUMNS.items():
            (path / f"{name}.npy").write_bytes(header(column, 0))
        (path / "index.jsonl").touch()
        write_part(path / "index.json", json.dumps({"format": FORMAT, "version": VERSION}).encode())
        return cls(path, [], None)

    # ----------------------------------------------------------------------------------------------------- reading

    def __len__(self) -> int:
        return len(self._index)

    @overload
    def __getitem__(self, key: int | str) -> Recording: ...
    @overload
    def __getitem__(self, key: slice) -> list[Recording]: ...
    def __getitem__(self, key: int | str | slice) -> Recording | list[Recording]:
        if isinstance(key, slice):
            return [self[i] for i in range(*key.indices(len(self)))]
        if isinstance(key, str):
            if key not in self._position:
                raise InputError(f"{self.path} has no recording '{key}'; it has {len(self)}, see Store.names")
            key = self._position[key]
        position = range(len(self))[key]  # negative and out-of-range as for any sequence
        recording = self._recordings[position]
        if recording is None:
            recording = self._recordings[position] = self._load(self._index[position])
        return recording

    def __iter__(self) -> Iterator[Recording]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        return f"Store({str(self.path)!r}, {len(self)} recordings, {sum(e['frames'] for e in self._index)} frames)"

    @property
    def names(self) -> list[str]:
        """Names of the recordings, in order; they are unique."""
        return [entry["name"] for entry in self._index]

    @property
    def index(self) -> tuple[Mapping[str, Any], ...]:
        """Per recording: name, frames, space, subject, segments, ... as plain values; touches no array."""
        return tuple({"name": e["name"], "frames": e["frames"], **e["metadata"]} for e in self._index)

    def verify(self) -> list[str]:
        """Names of recordings whose bytes differ from the checksums of their index line (reads everything)."""
        damaged = []
        for entry in self._index:
            if any(zlib.crc32(self._rows(name, rows).tobytes()) != rows[2] for name, rows in entry["arrays"].items()):
                damaged.append(entry["name"])
        return damaged

    def _rows(self, name: str, rows: Sequence[int]) -> np.ndarray:
        """Rows of one array, a read-only view of the memory map."""
        start, count = rows[0], rows[1]
        column = COLUMNS[name]
        if count == 0:
            return np.empty((0, *column.row), column.dtype)
        held = self._maps.get(name)
        if held is None or len(held) < start + count:
            file = self.path / f"{name}.npy"
            total = (file.stat().st_size - HEADER_BYTES) // column.row_bytes
            held = np.asarray(np.memmap(file, column.dtype, "r", HEADER_BYTES, (total, *column.row)))
            self._maps[name] = held
        return held[start : start + count]

    def _load(self, entry: dict[str, Any]) -> Recording:
        with damage_named(f"recording '{entry['name']}' of {self.path}", "what palmist prepare writes"):
            recording = self._build(entry)
            check_facts(recording)
            return recording

    def _build(self, entry: dict[str, Any]) -> Recording:
        arrays = {name: self._rows(name, rows) for name, rows in entry["arrays"].items()}
        fields = fields_from_metadata({"name": entry["name"], **entry["metadata"]})
        if "camera_pose" in arrays:
            pose = arrays.pop("camera_pose")
            fields["camera"] = {**(fields.get("camera") or {}), "pose": pose if entry["pose_per_frame"] else pose[0]}
        if "body_joints" in arrays:
            frames = entry["frames"]
            confidence = arrays.pop("body_confidence").reshape(frames, -1) if "body_confidence" in arrays else None
            fields["body"] = Body.trusted(
                arrays.pop("body_joints").reshape(frames, -1, 3),
                arrays.pop("body_valid").reshape(frames, -1),
                entry["body_layout"],
                confidence,
            )
        if "joints" not in arrays:
            arrays |= _unseen_hands(entry["frames"])
        return Recording.trusted(**fields, **arrays)

    # ----------------------------------------------------------------------------------------------------- writing

    def append(self, recording: Recording) -> None:
        """Add one recording; once this returns it survives a crash. For many, `extend` is faster."""
        self.extend([recording])

    def extend(
        self, recordings: Iterable[Recording], batch: int = 64, progress: Callable[[Recording], object] | None = None
    ) -> int:
        """Add recordings, safe on disk after every `batch`; `progress` is called with each. Returns how many."""
        count = 0
        pending: dict[str, dict[str, Any]] = {}
        try:
            for recording in recordings:
                if recording.name in self._position or recording.name in pending:
                    raise InputError(
                        f"{self.path} already has a recording '{recording.name}'; expected unique names; "
                        "rename it with recording.replace(name=...)"
                    )
                pending[recording.name] = self._write_arrays(recording)
                count += 1
                if progress is not None:
                    progress(recording)
                if len(pending) >= batch:
                    self._commit(list(pending.values()))
                    pending = {}
        finally:  # whatever stopped us, recordings that were written whole are kept
            self._commit(list(pending.values()))
        return count

    def _write_arrays(self, recording: Recording) -> dict[str, Any]:
        """Write the rows of one recording behind those counted so far and return its index line."""
        entry: dict[str, Any] = {"version": VERSION, "name": recording.name, "frames": len(recording), "arrays": {}}
        meta = metadata(recording)
        meta.pop("name")
        arrays: dict[str, np.ndarray | None] = {
            key: getattr(recording, key) for key in ("joints", "valid", "time", "confidence", "interpolated")
        }
        bare = recording.confidence is None and recording.interpolated is None and not recording.valid.any()
        if bare and recording.body is not None:
            entry["version"] = LINE_VERSIONS[-1]
            arrays = {"time": recording.time}
        if recording.body is not None:
            arrays |= {"body_joints": recording.body.joints.reshape(-1, 3), "body_valid": recording.body.valid.ravel()}
            if recording.body.confidence is not None:
                arrays["body_confidence"] = recording.body.confidence.ravel()
            entry["body_layout"] = recording.body.layout
        if recording.camera is not None and "pose" in recording.camera:
            pose = np.asarray(recording.camera["pose"], np.float64)
            entry["pose_per_frame"] = pose.ndim == 3
            arrays["camera_pose"] = pose.reshape(-1, 4, 4)
        files = self._open_for_writing()
        for name, array in arrays.items():
            if array is None:
                continue
            column = COLUMNS[name]
            rows = np.ascontiguousarray(array, column.dtype)
            start = self._tail[name]
            files[name].seek(HEADER_BYTES + start * column.row_bytes)
            data = rows.tobytes()
            files[name].write(data)
            entry["arrays"][name] = [start, len(rows), zlib.crc32(data)]
        for name, (start, count, _) in entry["arrays"].items():
            self._tail[name] = start + count
        return entry | {"metadata": meta}

    def _commit(self, lines: list[dict[str, Any]]) -> None:
        """Arrays to the disk, then the index lines: only then do the recordings count."""
        if not lines:
            return
        files = self._open_for_writing()
        for name in {name for line in lines for name in line["arrays"]}:
            files[name].flush()
            os.fsync(files[name].fileno())
        files["index"].write(b"".join(index_line(line) for line in lines))
        files["index"].flush()
        os.fsync(files["index"].fileno())
        for line in lines:
            self._position[line["name"]] = len(self._index)
            self._index.append(line)
            self._recordings.append(None)
        self._used = dict(self._tail)

    def _open_for_writing(self) -> dict[str, BinaryIO]:
        """Open the files, first cutting off whatever an interrupted append left behind the last whole recording."""
        if self._files:
            return self._files
        self._lock = lock_folder(self.path)
        if file_size(self.path / "index.jsonl") != self._index_bytes:
            self.close()
            raise InputError(f"{self.path} has changed since it was opened; open it again before appending")
        for name, column in COLUMNS.items():
            path = self.path / f"{name}.npy"
            rows = self._used[name]
            if path.exists() and not path.is_file():
                self.close()
                raise InputError(f"{path} is not a regular file; expected an array of the store; make the store again")
            file = path.open("r+b") if path.exists() else path.open("w+b")
            file.write(header(column, rows))  # the file may have been cut inside its header
            file.truncate(HEADER_BYTES + rows * column.row_bytes)
            self._files[name] = file
        if self.report is not None:
            rewrite_index(self.path, self._index)
        self._files["index"] = (self.path / "index.jsonl").open("ab")
        return self._files

    def close(self) -> None:
        """Bring the .npy headers up to date and close the files that were open for writing."""
        for name, file in self._files.items():
            if name != "index":
                file.truncate(HEADER_BYTES + self._used[name] * COLUMNS[name].row_bytes)
                file.seek(0)
                file.write(header(COLUMNS[name], self._used[name]))
            file.close()
        self._files = {}
        self._index_bytes = file_size(self.path / "index.jsonl")
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> Store:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __del__(self) -> None:
        with contextlib.suppress(Exception):
            self.close()


def _unseen_hands(frames: int) -> dict[str, np.ndarray]:
    """Two hands that are never seen, as views of one zero."""
    nothing = {"joints": np.zeros((), np.float32), "valid": np.zeros((), bool)}
    shapes = {"joints": (frames, 2, 21, 3), "valid": (frames, 2)}
    return {name: np.broadcast_to(value, shapes[name]) for name, value in nothing.items()}


def write_store(
    path: str | Path,
    recordings: Iterable[Recording],
    overwrite: bool = False,
    progress: Callable[[Recording], object] | None = None,
    made_of: Mapping[str, Any] | None = None,
) -> Store:
    """Write recordings into a new store and return it, open for reading.

    made_of: JSON-like facts of where the recordings come from. A store that a stopped or killed call with the same facts left
    unfinished is then gone on with: what it holds stays, and only the other recordings are written.
    """
    path = Path(path)
    store = None if overwrite or made_of is None else _unfinished(path, made_of)
    if store is None:
        store = Store.create(path, overwrite, made_of)
    with store:
        there = set(store.names)
        store.extend((recording for recording in recordings if recording.name not in there), progress=progress)
    (path / UNFINISHED).unlink(missing_ok=True)
    return Store.open(path)


def _unfinished(path: Path, made_of: Mapping[str, Any]) -> Store | None:
    """The store that a killed `write_store` of the same recordings left, None where there is none.

    One that was killed before its index was there, or whose recordings could not be read, holds nothing and is removed.
    """
    file, listed = path / UNFINISHED, path / "index.jsonl"
    if not file.is_file():
        return None
    if read_json(file, "what the store is made of") != json.loads(json.dumps(dict(made_of))):
        if not listed.is_file() or not listed.stat().st_size:
            shutil.rmtree(path)
            return None
        raise InputError(
            f"{path} is the unfinished store of another data set, folder or options; go on with those, pass overwrite or "
            "choose another folder"
        )
    if not (path / "index.json").is_file():
        shutil.rmtree(path)
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an end that is not whole is what is expected here
        return Store.open(path)


def open_source(path: str | Path) -> Store | list[Recording]:
    """Recordings of a path that a user typed: a store (folder) or one .npz file."""
    path = Path(path)
    if path.is_dir():
        return Store.open(path)
    return [read_recording(path)]

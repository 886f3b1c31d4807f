"""Reading and writing .npz files: never a pickle, one sentence when a file is missing or damaged, no half-written file."""

from __future__ import annotations

import contextlib
import math
import os
import struct
import threading
import tokenize
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from palmist.errors import InputError
from palmist.files.input_files import check_file, one_line

# What numpy, zipfile and zlib raise on files that are cut off or changed.
_DAMAGE = (
    OSError, ValueError, EOFError, KeyError, IndexError, SyntaxError, TypeError, OverflowError, MemoryError,
    NotImplementedError, UnicodeError, RuntimeError, struct.error, zipfile.BadZipFile, zlib.error, tokenize.TokenError,
)  # fmt: skip


#: An .npz may unpack to this many bytes, or to so many times its own size if that is more.
LARGEST_UNPACKED = 2**30
_LARGEST_RATIO = 100


def load_arrays(path: Path, keys: Iterable[str] | None = None) -> dict[str, np.ndarray]:
    """All arrays of an .npz (or those named in `keys`), read-only.

    Raises InputError, one sentence, when the file is missing, empty, cut off, no .npz, holds a pickle or lacks a key.
    """
    _check_start(path)
    arrays: dict[str, np.ndarray] = {}
    try:
        _check_sizes(path)
        with np.load(path, allow_pickle=False) as archive:
            wanted = list(archive.files) if keys is None else list(keys)
            missing = [key for key in wanted if key not in archive.files]
            if missing:
                raise InputError(f"{path} has no array {', '.join(missing)}; it has {', '.join(archive.files)}")
            for key in wanted:
                arrays[key] = np.asanyarray(archive[key])  # a member that is no .npy arrives as bytes
                arrays[key].flags.writeable = False
    except InputError:
        raise
    except _DAMAGE as error:
        if "allow_pickle" in str(error):
            raise _pickle_error(path) from error
        reason = one_line(error)
        raise InputError(
            f"{path} cannot be read as .npz, it is cut off or damaged ({reason}); copy or export it again"
        ) from error
    return arrays


def _check_count(path: Path, found: int) -> None:
    """ValueError when a zip's list of contents was read to another length than its end says: zipfile overlooks that."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 66_000))
        tail = file.read()
    place = tail.rfind(b"PK\x05\x06")
    count = int.from_bytes(tail[place + 10 : place + 12], "little")
    if place >= 0 and count != found and count != 0xFFFF:
        raise ValueError(f"its list of contents has {found} entries and says {count}")


def _check_sizes(path: Path) -> None:
    """ValueError when a header asks for more than its member holds, or the whole unpacks to far more than the file: numpy
    sets memory aside for what a header says before it reads."""
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        names = [member.filename for member in members]
        if len(set(names)) != len(names):
            raise ValueError(f"it holds {next(name for name in names if names.count(name) > 1)} twice")
        _check_count(path, len(members))
        total = sum(member.file_size for member in members)
        if total > max(LARGEST_UNPACKED, _LARGEST_RATIO * path.stat().st_size):
            raise ValueError(f"it unpacks to {total / 2**30:.1f} GiB, {path.stat().st_size / 2**20:.1f} MiB lie on the disk")
        for member in members:
            if member.filename.endswith(".npy"):
                with archive.open(member) as stream:
                    claimed = _claimed_bytes(stream)
                if claimed > member.file_size:
                    raise ValueError(f"{member.filename} says it has {claimed} bytes, it has {member.file_size}")


def _claimed_bytes(stream: IO[bytes]) -> int:
    """How many bytes the header of a .npy says that its array has; 0 where numpy will say what is wrong."""
    version = np.lib.format.read_magic(stream)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"version {version} of .npy")
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(stream)
    if min(shape, default=0) < 0:
        raise ValueError(f"an array of shape {shape}")
    return 0 if dtype.hasobject else math.prod(shape) * dtype.itemsize


def _check_start(path: Path) -> None:
    """Say what a file is by its first bytes, before numpy guesses."""
    check_file(path, "an .npz file")
    try:
        with path.open("rb") as file:
            start = file.read(6)
    except OSError as error:
        raise InputError(f"{path} cannot be opened ({error.strerror}); expected a readable .npz file") from error
    if not start:
        raise InputError(f"{path} is empty (0 bytes); expected an .npz file; copy or export it again")
    if start[:1] == b"\x80":
        raise _pickle_error(path)
    if start == b"\x93NUMPY":
        raise InputError(f"{path} is a single .npy array; expected an .npz with named arrays; save with numpy.savez")
    if start[:2] != b"PK":
        raise InputError(f"{path} is not an .npz file (it starts with {start!r}); save the arrays with numpy.savez")


def _pickle_error(path: Path) -> InputError:
    return InputError(
        f"{path} holds a pickle or Python objects, which are never loaded; "
        "expected plain arrays of numbers; save them with numpy.savez"
    )


def scaled(array: np.ndarray, scale: float | np.ndarray) -> np.ndarray:
    """Fixed-point integers times their scale, as read-only float32."""
    out = array.astype(np.float32)
    out *= np.float32(scale)
    out.flags.writeable = False
    return out


def text_of(arrays: Mapping[str, np.ndarray], key: str) -> str:
    """The one piece of text that an array holds; InputError for anything else."""
    if arrays[key].dtype.kind != "U" or arrays[key].ndim != 0:
        raise InputError(f"'{key}' is an array of type {arrays[key].dtype}; expected one piece of text")
    return str(arrays[key])


def save_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write a compressed .npz, whole or not at all; its folder is made. InputError when the place cannot be written to."""
    # Two threads or processes may write the same file.
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with unfinished.open("wb") as file:
            np.savez_compressed(file, **arrays)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"{path} cannot be written ({reason}); expected a folder that can be written to") from error
    finally:
        with contextlib.suppress(OSError):  # its folder may be none
            unfinished.unlink(missing_ok=True)

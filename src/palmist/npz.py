"""Reading and writing .npz files: never a pickle, one sentence when a file is missing or damaged, no half-written file."""

from __future__ import annotations

import contextlib
import os
import struct
import threading
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from palmist.errors import InputError

# What numpy, zipfile and zlib raise on files that are cut off or changed.
_DAMAGE = (
    OSError, ValueError, EOFError, KeyError, IndexError, SyntaxError, TypeError, OverflowError, MemoryError,
    NotImplementedError, UnicodeError, RuntimeError, struct.error, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


def load_arrays(path: Path, keys: Iterable[str] | None = None) -> dict[str, np.ndarray]:
    """All arrays of an .npz (or those named in `keys`), read-only.

    Raises InputError, one sentence, when the file is missing, empty, cut off, no .npz, holds a pickle or lacks a key.
    """
    _check_start(path)
    arrays: dict[str, np.ndarray] = {}
    try:
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
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"{path} cannot be read as .npz, it is cut off or damaged ({reason}); copy or export it again"
        ) from error
    return arrays


def _check_start(path: Path) -> None:
    """Say what a file is by its first bytes, before numpy guesses."""
    if path.is_dir():
        raise InputError(f"{path} is a folder; expected an .npz file")
    if not path.exists():
        raise InputError(f"{path} does not exist; expected an .npz file there")
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

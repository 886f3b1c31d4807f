"""Opening the .npz files of the open sets: never a pickle, and one sentence when a file is missing or damaged."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from palmist.errors import InputError


def load_arrays(path: Path, keys: Iterable[str] | None = None) -> dict[str, np.ndarray]:
    """All arrays of an .npz (or those named in `keys`), read-only.

    Raises InputError when the file is missing, empty, cut off, holds a pickle or lacks a key.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist; expected the data set's .npz file there")
    if path.stat().st_size == 0:
        raise InputError(f"{path} is empty (0 bytes); expected an .npz file; copy it again")
    arrays: dict[str, np.ndarray] = {}
    try:
        with np.load(path, allow_pickle=False) as archive:
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise InputError(f"{path} is a single .npy array; expected an .npz file with named arrays")
            wanted = list(archive.files) if keys is None else list(keys)
            missing = [key for key in wanted if key not in archive.files]
            if missing:
                raise InputError(f"{path} has no array {', '.join(missing)}; it has {', '.join(archive.files)}")
            for key in wanted:
                arrays[key] = archive[key]
                arrays[key].flags.writeable = False
    except InputError:
        raise
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        if "allow_pickle" in str(error) or "pickled" in str(error):
            raise InputError(
                f"{path} holds a pickle or Python objects, which are never loaded; "
                "expected plain numeric arrays in an .npz; save them with numpy.savez"
            ) from error
        raise InputError(
            f"{path} cannot be read as .npz (cut off or not a numpy file: {error}); copy or export it again"
        ) from error
    return arrays


def scaled(array: np.ndarray, scale: float | np.ndarray) -> np.ndarray:
    """Fixed-point integers times their scale, as read-only float32."""
    out = array.astype(np.float32)
    out *= np.float32(scale)
    out.flags.writeable = False
    return out

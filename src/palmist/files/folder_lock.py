"""One writer of a folder at a time."""

from __future__ import annotations

import os
from pathlib import Path

from palmist.errors import InputError


def lock_folder(path: Path) -> int | None:
    """Lock a folder; the lock ends with `os.close` of what is returned, or with the process, so a crash leaves none behind.

    None where the system has no such locks (Windows). InputError when another process holds it.
    """
    try:
        import fcntl
    except ImportError:  # not on Windows
        return None
    folder = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(folder)
        raise InputError(f"{path} is being written by another process; wait until it ends") from error
    return folder

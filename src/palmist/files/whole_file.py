"""Files that are there whole or not at all, also after a crash."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

__all__ = ["write_whole"]


def write_whole(file: Path, content: bytes | str) -> Path:
    """Write a file in one step, by way of FILE.part beside it; text is UTF-8. A killed writer leaves the old file as it was.

    Raises OSError, for example where the disk is full.
    """
    unfinished = file.with_name(f"{file.name}.part")
    with unfinished.open("wb") as stream:
        stream.write(content.encode() if isinstance(content, str) else content)
        stream.flush()
        os.fsync(stream.fileno())
    unfinished.replace(file)
    with suppress(OSError):  # not every system syncs folders
        folder = os.open(file.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    return file

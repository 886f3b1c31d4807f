"""Damage to the folder that holds a file: the file itself is not what it was."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from random import Random


def lose_the_file(r: Random, path: Path) -> None:
    path.unlink()


def folder_instead(r: Random, path: Path) -> None:
    path.unlink()
    path.mkdir()


def pipe_instead(r: Random, path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def endless_device_instead(r: Random, path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def link_to_itself(r: Random, path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def another_file_instead(r: Random, path: Path) -> None:
    """A sibling in its place, as two downloads under one name."""
    others = sorted(other for other in path.parent.iterdir() if other.is_file() and other != path)
    if others:
        shutil.copyfile(r.choice(others), path)


def odd_name(r: Random, path: Path) -> None:
    stem, suffix = path.stem, path.suffix
    new = r.choice(
        (
            f"{stem} (1){suffix}",
            f"{stem}{suffix}.part",
            f"-{stem}{suffix}",
            f"{stem}\n{suffix}",
            f"{stem}{suffix.upper()}",
            f"{stem}\u202e{suffix}",
        )
    )
    path.rename(path.with_name(new))


def file_beside_it(r: Random, path: Path) -> None:
    """What systems leave in folders."""
    name, content = r.choice(
        (("Thumbs.db", b"\0"), (".DS_Store", b"\0"), (f"._{path.name}", b"\0\5\x16\7"), (f"{path.stem}_copy{path.suffix}", b""))
    )
    if path.with_name(name) != path:
        path.with_name(name).write_bytes(content)

"""What `palmist read` prints and writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from palmist.errors import InputError

_VIDEO = {".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v"}


def refuse_video(source: str) -> None:
    """Say that pixels are not read here, before a video is mistaken for a broken recording."""
    if source.startswith("webcam:") or Path(source).suffix.lower() in _VIDEO:
        raise InputError(
            f"{source} is video, which this version does not read; give a recording of hand joints (.npz) or a store"
        )


def run_read(source: str, model: str, options: dict[str, Any], out: Path | None, json_file: str | None) -> None:
    refuse_video(source)
    raise InputError("reading is not there yet")

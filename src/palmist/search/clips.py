"""Videos cut into clips: what a source holds, where each clip begins and ends, and the frames that a model is shown.

Letters: T frames, H rows, W columns.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from palmist.errors import InputError
from palmist.perception.clip_sampling import segment_indices
from palmist.perception.video import Video

__all__ = ["FRAMES", "SourceVideo", "Span", "clip_frames", "cut_video", "find_videos", "video_digest"]

SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg")
FRAMES = 32  # that a model is shown of a clip; it takes as many of them as it was trained with
_SHORT_SIDE = 360  # pixels that frames are scaled down to: more than any of the models sees
_DIGEST_BYTES = 65_536


@dataclass(frozen=True)
class SourceVideo:
    """A video to index. name: of the recording that it was drawn from, or the file's within its folder."""

    path: Path
    name: str
    label: str | None = None


@dataclass(frozen=True)
class Span:
    """A clip of a video: start <= time < end in seconds on the video's own clock, number from 0 on."""

    number: int
    start: float
    end: float


def find_videos(source: str | Path, drawn: Path, progress: Callable[[str], object] | None = None) -> list[SourceVideo]:
    """The videos of what a user typed.

    Args:
        source: a video; a folder with videos anywhere in it; a folder made by `palmist render`; a store made by
            `palmist prepare`, a recording (.npz) or an open set's name, which are drawn as videos first.
        drawn: the folder for those drawings; a drawing that is there is kept.
        progress: called with each recording's name as it is drawn.

    Raises:
        InputError: there is no such source, or no video in it.
    """
    from palmist.render import read_rendered

    path, kind = Path(source), source_kind(source)
    if kind == "video":
        return [SourceVideo(path.resolve(), path.name)]
    if kind == "rendered":
        return [SourceVideo(clip.video.resolve(), clip.name, clip.label) for clip in read_rendered(path)]
    if kind == "recordings":
        return _draw(str(source), drawn, progress)
    files = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
    if not files:
        raise InputError(f"{path} holds no video; expected files such as {path.name}/cups.mp4 ({', '.join(SUFFIXES)})")
    return [SourceVideo(file.resolve(), file.relative_to(path).as_posix()) for file in files]


def source_kind(source: str | Path) -> str:
    """What a user typed: "video", "rendered", "recordings" or "folder". InputError when it is none of them."""
    from palmist.readers import OPEN_SETS

    path = Path(source)
    if path.is_file() and path.suffix.lower() in SUFFIXES:
        return "video"
    kind = _folder_format(path)
    if kind == "palmist-rendered":
        return "rendered"
    if (
        kind == "palmist-store"
        or (path.is_file() and path.suffix == ".npz")
        or (not path.exists() and str(source) in OPEN_SETS)
    ):
        return "recordings"
    if path.is_dir():
        return "folder"
    raise InputError(
        f"{source} is no video, folder, store or recording; expected one of them, or an open set: {', '.join(OPEN_SETS)}"
    )


def video_digest(path: Path) -> str:
    """A name for the file's content: from its size, its first and its last 64 KiB, so that long files cost no more."""
    digest = hashlib.sha256(str(path.stat().st_size).encode())
    with path.open("rb") as stream:
        digest.update(stream.read(_DIGEST_BYTES))
        stream.seek(max(0, path.stat().st_size - _DIGEST_BYTES))
        digest.update(stream.read(_DIGEST_BYTES))
    return digest.hexdigest()[:32]


def cut_video(video: Video, seconds: float) -> list[Span]:
    """The whole video in equal clips of about `seconds`, at least one: none is shorter than two thirds of it but an only one.

    Raises InputError for a length that is not above 0.

    >>> [(span.start, span.end) for span in cut_video(Video("nine_seconds.mp4"), 4.0)]
    [(0.0, 4.5), (4.5, 9.0)]
    """
    if not (math.isfinite(seconds) and seconds > 0):
        raise InputError(f"clips are asked for of {seconds} seconds, expected a number above 0")
    times = video.times
    step = 1 / video.info.rate if video.info.rate else (times[-1] - times[0]) / max(1, len(times) - 1)
    first, last = float(times[0]), float(times[-1] + step)
    count = min(max(1, round((last - first) / seconds)), len(times))
    edges = np.linspace(first, last, count + 1)
    return [Span(number, float(edges[number]), float(edges[number + 1])) for number in range(count)]


def clip_frames(video: Video, span: Span, frames: int = FRAMES) -> np.ndarray:
    """(T, H, W, 3) uint8 RGB: the middle frame of each of T equal parts of the clip; T is `frames`, or fewer where the clip has
    fewer. A span between two frames has the one that is on the screen."""
    times = video.times
    inside = times[(times >= span.start - 1e-6) & (times < span.end - 1e-6)]
    if not len(inside):
        inside = times[[max(0, int(np.searchsorted(times, span.start, side="right")) - 1)]]
    return video.read(inside[segment_indices(len(inside), min(frames, len(inside)))]).images


def open_video(path: Path) -> Video:
    """A video whose frames are scaled down to a shorter side of 360 pixels, never up."""
    video = Video(path)
    video.warn_if_cut()
    return Video(path, _SHORT_SIDE) if min(video.info.width, video.info.height) > _SHORT_SIDE else video


def _folder_format(path: Path) -> str | None:
    """The format that a folder's index.json names, None where there is none."""
    try:
        head = json.loads((path / "index.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return str(head.get("format")) if isinstance(head, dict) else None


def _draw(source: str, drawn: Path, progress: Callable[[str], object] | None) -> list[SourceVideo]:
    """Draw recordings as `palmist render` does; what an earlier run drew is kept."""
    from palmist.render import read_rendered, render_folder
    from palmist.render.folder import source_recordings

    recordings: Sequence = source_recordings(source)
    where = str(Path(source).resolve()) if Path(source).exists() else source
    folder = drawn / f"{Path(source).stem}-{hashlib.sha256(where.encode()).hexdigest()[:8]}"
    render_folder(recordings, folder, source=where, progress=progress)
    return [SourceVideo(clip.video.resolve(), clip.name, clip.label) for clip in read_rendered(folder)]

"""What is narrated: a video, a folder of videos, or a csv of clips; long videos are cut in spans.

Columns of the csv, by any of these names, separated by commas or tabs:

    video    video_id, video_uid                     the only two that have to be there, with start and end
    start    start_second, clip_start, start         seconds
    end      end_second, clip_end, end               seconds; a clip lasts at least one second, as EgoHOD's loader has it
    text     text, caption, clip_text, narration     the original caption; of a list of captions the first
    dataset  dataset                                 copied to the output
    uid      uid                                     copied to the output

These are EgoHOD's and EgoClip's (EgoVideo, ICLR 2025; EgoVLP, 2022). A video is ROOT/VIDEO_ID with a video's ending, or, as
EgoHOD stores it, a folder of 15-second chunks 0000.mp4, 0001.mp4, ...; that the number counts chunks is our reading.
"""

from __future__ import annotations

import ast
import csv
import functools
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from palmist.errors import InputError
from palmist.files.input_files import check_file
from palmist.perception.video import Frame, Video

__all__ = ["VIDEO_ENDINGS", "Listing", "Span", "frames_of", "list_spans"]

VIDEO_ENDINGS = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".gif", ".mpg", ".mpeg", ".ts", ".mts")
CHUNK = 15.0  # seconds of a chunk of EgoHOD's videos
_LONGEST = 1e6  # seconds
_COLUMNS = {
    "video": ("video_id", "video_uid"),
    "start": ("start_second", "clip_start", "start_sec", "start"),
    "end": ("end_second", "clip_end", "end_sec", "end"),
    "text": ("text", "caption", "clip_text", "narration"),
    "dataset": ("dataset",),
    "uid": ("uid",),
}


@dataclass(frozen=True)
class Span:
    """One clip: seconds start <= time < end of a video, on the video's own clock.

    path: of the file, or of a folder of chunks. video_id, dataset, uid: as the output has them; uid differs from span to span.
    text: the original caption, None without. last: the span reaches to the video's end, whatever its length was thought to be.
    """

    path: Path
    video_id: str
    start: float
    end: float
    uid: str = ""
    dataset: str = "video"
    text: str | None = None
    last: bool = False


@dataclass(frozen=True)
class Listing:
    """What a source holds: the spans in order, and one sentence for each video or row of which none could be made."""

    spans: tuple[Span, ...]
    failures: tuple[str, ...] = ()


def list_spans(source: str | Path, root: str | Path | None = None, clip_seconds: float = 4.0) -> Listing:
    """List the clips of a source.

    Args:
        source: a video, a folder of videos (with those in its folders), or a csv of clips.
        root: where the csv's videos lie, by default beside it.
        clip_seconds: length of the spans that videos are cut in; a rest shorter than half of it goes with the span before it.

    Raises:
        InputError: one sentence: there is no such source, a webcam, an empty folder, a csv without the columns or the rows.
    """
    if not (math.isfinite(clip_seconds) and 0.2 <= clip_seconds <= _LONGEST):
        raise InputError(f"--clip-seconds is {clip_seconds:g}; expected 0.2 seconds or more")
    if str(source).startswith("webcam"):
        raise InputError(f"{source} has no end, and narrating cuts a finished video in clips; record it and give the file")
    path = Path(source)
    if path.suffix.lower() in (".csv", ".tsv"):
        return _listed(path, path.parent if root is None else Path(root))
    if root is not None:
        raise InputError(f"--root {root} is for a csv of clips, and the source is {source}; leave it out")
    if path.is_dir():
        videos = sorted(file for file in path.rglob("*") if file.suffix.lower() in VIDEO_ENDINGS and file.is_file())
        if not videos:
            raise InputError(f"{path} holds no video; expected files that end with {', '.join(VIDEO_ENDINGS[:5])} or the like")
        names = [file.relative_to(path).as_posix() for file in videos]
    else:
        videos, names = [path], [path.name]
    stems = [name.removesuffix(Path(name).suffix) for name in names]
    several = Counter(stems)
    identities = [stem if several[stem] == 1 else name for stem, name in zip(stems, names, strict=True)]
    spans: list[Span] = []
    failures = []
    for video, identity in zip(videos, identities, strict=True):
        try:
            spans += _cut(video, identity, clip_seconds)
        except (InputError, OSError) as error:
            if not path.is_dir():
                raise
            failures.append(f"{identity}: {error}")
    return Listing(_named(spans), tuple(failures))


def frames_of(span: Span) -> Iterator[Frame]:
    """The frames of a span, one after the other, with times on the whole video's clock.

    Raises InputError if the video or a chunk of it cannot be read, or has no frame in the span.
    """
    empty = True
    if span.path.is_dir():
        for number in range(int(span.start // CHUNK), math.ceil(span.end / CHUNK)):
            begin = number * CHUNK
            chunk = span.path / f"{number:04d}.mp4"
            if not chunk.is_file() and not empty:
                break  # the clip was said to end later than the video does
            for image, time in _video(chunk).frames(max(span.start - begin, 0.0), span.end - begin):
                empty = False
                yield Frame(image, time + begin)
    else:
        for frame in _video(span.path).frames(span.start, None if span.last else span.end):
            empty = False
            yield frame
    if empty:
        raise InputError(
            f"{span.path.name} has no frame from {span.start:g} to {span.end:g} s; check the times of {span.video_id}"
        )


@functools.lru_cache(maxsize=4)
def _video(path: Path) -> Video:
    """The video, whose table of times is read once for all its spans. It holds no open file."""
    return Video(path)


def _cut(path: Path, identity: str, seconds: float) -> list[Span]:
    """Spans of equal length over a whole video, the last one up to half as long again, or half as short."""
    video = Video(path)
    video.warn_if_cut()
    start, length = video.info.start, video.info.duration
    if length is None:
        length = float(video.times[-1]) + 1 / (video.info.rate or 25.0) - start
    count = max(1, math.floor(length / seconds + 0.5))
    edges = [round(start + number * seconds, 6) for number in range(count)] + [round(start + max(length, 0.04), 6)]
    return [Span(path, identity, edge, end, last=number + 1 == count) for number, (edge, end) in enumerate(pairwise(edges))]


def _listed(path: Path, root: Path) -> Listing:
    if not root.is_dir():
        raise InputError(f"--root {root} is not a folder; expected the one that holds the videos of {path.name}")
    spans, failures = [], []
    found: dict[str, Path | str] = {}
    for line, row in _rows(path):
        try:
            span = _span(row, root, found)
        except InputError as error:
            failures.append(f"line {line}: {error}")
        else:
            spans.append(span)
    if not spans and not failures:
        raise InputError(f"{path} lists no clip; expected one per line below its head")
    return Listing(_named(spans), tuple(failures))


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Number of the line and our name -> value, for every row of the csv."""
    check_file(path, "a list of clips, csv with a line each")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            head = file.readline()
            file.seek(0)
            reader = csv.DictReader(file, delimiter="\t" if "\t" in head else ",", strict=True)
            columns = {
                ours: name for ours, names in _COLUMNS.items() if (name := _first(names, reader.fieldnames or ())) is not None
            }
            if missing := [ours for ours in ("video", "start", "end") if ours not in columns]:
                wanted = "; ".join(" or ".join(_COLUMNS[ours]) for ours in missing)
                raise InputError(
                    f"{path} has the columns {', '.join(reader.fieldnames or ()) or 'none'}; it also needs {wanted}"
                )
            for row in reader:
                yield reader.line_num, {ours: (row[name] or "").strip() for ours, name in columns.items()}
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text; export it again as csv in UTF-8") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error}); expected a list of clips") from error
    except csv.Error as error:
        raise InputError(f"{path} is no csv that can be read ({error}); export it again") from error


def _first(names: tuple[str, ...], columns: Any) -> str | None:
    return next((name for name in names if name in columns), None)


def _span(row: dict[str, str], root: Path, found: dict[str, Path | str]) -> Span:
    times = []
    for what in ("start", "end"):
        try:
            times.append(float(row[what]))
        except ValueError:
            times.append(math.nan)
        if not 0 <= times[-1] <= _LONGEST:
            raise InputError(f"the {what} is {row[what]!r}; expected seconds")
    start, end = times
    if end < start:
        raise InputError(f"the clip runs from {start:g} to {end:g} s; expected an end after its start")
    identity = row["video"]
    if identity not in found:
        try:
            found[identity] = _find(identity, root)
        except InputError as error:
            found[identity] = str(error)
    place = found[identity]
    if isinstance(place, str):
        raise InputError(place)
    dataset = row.get("dataset") or "video"
    return Span(place, identity, start, max(end, start + 1), row.get("uid", ""), dataset, _caption(row.get("text")))


def _find(identity: str, root: Path) -> Path:
    """The video of this name under the root; a name cannot lead out of it."""
    place = root / identity
    if not identity or not place.resolve().is_relative_to(root.resolve()):
        raise InputError(f"the video is {identity!r}; expected a name inside {root}")
    for candidate in (place, *(root / f"{identity}{ending}" for ending in VIDEO_ENDINGS)):
        if candidate.is_file() or (candidate.is_dir() and any(candidate.glob("[0-9][0-9][0-9][0-9].mp4"))):
            return candidate
    raise InputError(f"there is no video {identity} in {root}; fetch it, or give another --root")


def _caption(text: str | None) -> str | None:
    """One caption; of a list of them, written as Python writes it, the first."""
    if text and text.startswith("[") and text.endswith("]"):
        try:
            several = ast.literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            several = None
        if isinstance(several, list) and all(isinstance(one, str) for one in several):
            text = next((one.strip() for one in several if one.strip()), None)
    return text or None


def _named(spans: list[Span]) -> tuple[Span, ...]:
    """The spans with a uid each: their own, or video and times; what comes again gets a number."""
    used: set[str] = set()
    counts: dict[str, int] = {}
    out = []
    for span in spans:
        plain = span.uid or f"{span.video_id}_{span.start:.3f}_{span.end:.3f}"
        uid = plain
        while uid in used:
            counts[plain] = counts.get(plain, 1) + 1
            uid = f"{plain}#{counts[plain]}"
        used.add(uid)
        out.append(replace(span, uid=uid))
    return tuple(out)

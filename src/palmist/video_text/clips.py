"""What every set of clips with texts gives: clips, where their videos lie, and a count of what was found.

A clip is a span of a video with one or more sentences about it. The video is one file, or a folder of files of 15 s each, as
large collections are stored for training; `TextClip.pieces` gives the files that a span touches.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

from palmist.errors import InputError

__all__ = ["CHUNK_SECONDS", "Listing", "Piece", "TextClip", "TextContents", "VideoPlaces", "caption_list", "class_list"]

#: Length of the files of a video that is stored in pieces (EgoVideo's training data).
CHUNK_SECONDS = 15.0
LONGEST = 1e7  # seconds; no video is four months long
_MOST_CLASSES = 10**6  # a number beyond it is none of a class


class Piece(NamedTuple):
    """A part of one file: seconds from the file's own start."""

    path: Path
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class TextClip:
    """A span of a video and what is said about it.

    video: its id; path: its file, the folder of its 15 s pieces (`chunked`), None if it is not there; start, end: seconds in
    the whole video (in the file, for sets of trimmed clips); texts: one or more sentences, none where the set does not tell;
    uid: unique within the set; verbs, nouns: class numbers, from 0; label: the class name of sets that classify; split:
    official part; extra: what else the set says, by name.

    Raises InputError for times that are not numbers, begin before 0 or run backwards.
    """

    video: str
    path: Path | None
    start: float
    end: float
    texts: tuple[str, ...]
    uid: str
    verbs: tuple[int, ...] = ()
    nouns: tuple[int, ...] = ()
    label: str | None = None
    split: str | None = None
    chunked: bool = False
    extra: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}), compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.video, str) or not isinstance(self.uid, str):
            raise InputError(f"found the clip {self.uid!r} of the video {self.video!r}; expected text; download the list again")
        if not (0 <= self.start <= self.end < LONGEST):
            raise InputError(
                f"clip {self.uid} of video {self.video} runs from {self.start} to {self.end} s; expected seconds from 0 on, "
                f"below {LONGEST:g}, the end not before the start"
            )

    @property
    def seconds(self) -> float:
        """How long."""
        return self.end - self.start

    def pieces(self) -> tuple[Piece, ...]:
        """The files that the clip touches, in order. InputError if the video is not there.

        A folder of pieces holds 0000.mp4 (0 to 15 s), 0001.mp4 (15 to 30 s) and so on.
        """
        if self.path is None:
            raise InputError(f"video {self.video} of clip {self.uid} is not there; expected its file below the set's folder")
        if not self.chunked:
            return (Piece(self.path, self.start, self.end),)
        first, last = int(self.start // CHUNK_SECONDS), int(self.end // CHUNK_SECONDS)
        if last > first and self.end == last * CHUNK_SECONDS:
            last -= 1  # it ends where that piece begins
        return tuple(
            Piece(
                self.path / f"{number:04d}.mp4",
                max(self.start - number * CHUNK_SECONDS, 0.0),
                min(self.end - number * CHUNK_SECONDS, CHUNK_SECONDS),
            )
            for number in range(first, last + 1)
        )


@dataclass(frozen=True)
class Listing:
    """What was read: clips of each split, distinct videos, those of them that are not there, and further counts by name."""

    splits: Mapping[str, int]
    videos: int
    missing: int
    facts: Mapping[str, int] = field(default_factory=dict)


class TextContents(Protocol):
    """What a reader gives; all have a listing, the rest differs from set to set."""

    def listing(self) -> Listing:
        """Count what was read."""


class VideoPlaces:
    """Finds the videos of a set below its folder.

    patterns: relative paths with {video} in them, tried in this order; a path without a suffix is a folder of 15 s pieces.
    """

    def __init__(self, root: Path, patterns: Sequence[str]) -> None:
        self.root, self.patterns = root, tuple(patterns)
        self.found: dict[str, tuple[Path | None, bool]] = {}

    def find(self, video: str, **names: str) -> tuple[Path | None, bool]:
        """Where a video lies (None: nowhere), and whether it is a folder of pieces."""
        if not isinstance(video, str):
            raise InputError(f"the list in {self.root} names the video {video!r}; expected text; download the list again")
        if video not in self.found:
            self.found[video] = self._look(video, names)
        return self.found[video]

    def missing(self, videos: Iterable[str]) -> int:
        """How many of the videos are not there."""
        return sum(self.find(video)[0] is None for video in set(videos))

    def _look(self, video: str, names: Mapping[str, str]) -> tuple[Path | None, bool]:
        if ".." in Path(video).parts or Path(video).is_absolute():
            return None, False  # a name cannot lead out of the folder
        for pattern in self.patterns:
            path = self.root / pattern.format(video=video, **names)
            try:
                if path.suffix and path.is_file():
                    return path, False
                if not path.suffix and path.is_dir():
                    return path, True
            except (OSError, ValueError):  # a name that no file can have
                return None, False
        return None, False


def caption_list(text: str, where: str) -> tuple[str, ...]:
    """The sentences of a field that holds one sentence, or a list of sentences written as Python writes it.

    Raises InputError, which names `where`, for a list that is cut or holds something else. "[unsure] takes a cup" is a
    sentence.
    """
    text = text.strip()
    if not text.startswith("["):
        return (text,) if text else ()
    try:
        found = ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
        if text[1:].lstrip().startswith(("'", '"')):
            raise InputError(f"{where}: {text[:40]!r} is not a whole list of sentences; download the file again") from error
        return (text,)
    if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
        raise InputError(f"{where}: found {text[:40]!r}; expected a sentence or a list of sentences")
    return tuple(item.strip() for item in found if item.strip())


def class_list(value: Any, where: str) -> tuple[int, ...]:
    """The class numbers of a field: a list, a list written as Python writes it, or one number; none where it is empty.

    Raises InputError, which names `where`, for anything else.
    """
    if value is None or value != value or (isinstance(value, str) and value.strip() in ("", "None", "nan")):
        return ()  # as pandas writes what is not there
    found = value
    if isinstance(value, str):
        try:
            found = ast.literal_eval(value.strip())
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            found = None
    numbers = [found] if isinstance(found, (int, float)) else found
    if not isinstance(numbers, (list, tuple)) or not all(
        isinstance(n, int | float) and not isinstance(n, bool) and 0 <= n < _MOST_CLASSES and n == int(n) for n in numbers
    ):
        raise InputError(f"{where}: found {str(value)[:40]!r}; expected class numbers from 0 on, such as [3, 17]")
    return tuple(int(number) for number in numbers)

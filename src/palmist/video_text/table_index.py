"""Tables of millions of rows: read through once, kept on disk, any row given when it is asked for.

In memory are the byte where each row begins, its span and its video: 28 bytes a row, so 108 MB for the 3.8 million rows of
EgoClip, whatever the sentences are like.
"""

from __future__ import annotations

import csv
from array import array
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from palmist.errors import InputError
from palmist.video_text.clips import LONGEST

__all__ = ["SpanTable"]

_BAD_SHARE = 0.01  # of the rows may be damaged; more means a wrong separator or another file


class SpanTable:
    """A CSV file with a header, a span of a video in each row.

    columns: for each needed column the names that it may have in the file, first found wins; optional: those that may be
    missing; the keys "video", "start" and "end" must be among the needed ones. delimiter: "," or a tab.

    video_names: distinct videos in order of appearance; video (N,) int32 numbers of them; start, end (N,) float64 seconds;
    skipped: damaged rows (a wrong number of columns, times that are no numbers or run backwards), which are left out.

    Raises InputError if the file or a column is missing, it is no text, no row is whole, or over 1 % of the rows are damaged.
    """

    def __init__(
        self,
        path: Path,
        columns: Mapping[str, Sequence[str]],
        optional: Mapping[str, Sequence[str]] | None = None,
        delimiter: str = ",",
    ) -> None:
        if not path.is_file():
            raise InputError(f"{path} does not exist; expected the annotation file of that name")
        self.path, self.delimiter, self.skipped = path, delimiter, 0
        offsets, starts, ends, videos = array("q"), array("d"), array("d"), array("i")
        names: dict[str, int] = {}
        first_bad = ""
        with path.open("rb") as file:
            rows = self._rows(file)
            self.header = next(rows, (0, 0, []))[2]
            self.place = self._columns(columns, optional or {})
            for offset, line, fields in rows:
                wrong, span = self._span(fields)
                if wrong:
                    self.skipped += 1
                    first_bad = first_bad or f"line {line}: {wrong}"
                    continue
                offsets.append(offset)
                starts.append(span[0])
                ends.append(span[1])
                videos.append(names.setdefault(fields[self.place["video"]], len(names)))
        if self.skipped > _BAD_SHARE * (len(offsets) + self.skipped):
            total = len(offsets) + self.skipped
            raise InputError(f"{path}, {first_bad} ({self.skipped} such rows of {total}); is it another file, or cut?")
        if not offsets:
            raise InputError(f"{path} has a header and no rows; expected a clip in each row; download it again")
        # without a copy, which would double the memory while reading
        self.offset, self.video = np.frombuffer(offsets, np.int64), np.frombuffer(videos, np.int32)
        self.start, self.end = np.frombuffer(starts), np.frombuffer(ends)
        self.video_names = tuple(names)

    def __len__(self) -> int:
        return len(self.offset)

    def row(self, number: int) -> dict[str, str]:
        """The fields of a row by the names of `columns` and `optional`; InputError if the file has changed."""
        with self.path.open("rb") as file:
            file.seek(int(self.offset[number]))
            _, _, fields = next(self._rows(file), (0, 0, []))
        if len(fields) != len(self.header):
            raise InputError(f"{self.path} has changed since it was read; read it again")
        return {name: fields[place] for name, place in self.place.items()}

    def where(self, number: int) -> str:
        """The file and the line of a row, for an error."""
        with self.path.open("rb") as file:
            before = file.read(int(self.offset[number])).count(b"\n")
        return f"{self.path}, line {before + 1}"

    def _rows(self, file: BinaryIO) -> Iterator[tuple[int, int, list[str]]]:
        """Byte, line number and fields of each row; a quoted field may hold line breaks."""
        lines = _Lines(file)
        reader = csv.reader(lines, delimiter=self.delimiter)
        while True:
            offset, line = lines.position, reader.line_num + 1
            try:
                fields = next(reader)
            except StopIteration:
                return
            except UnicodeDecodeError as error:
                raise InputError(f"{self.path}, line {line} is not UTF-8 text ({error.reason}); download it again") from error
            except csv.Error as error:
                raise InputError(f"{self.path}, line {line}: {error}; expected a text table; download it again") from error
            if fields:
                yield offset, line, fields

    def _columns(self, columns: Mapping[str, Sequence[str]], optional: Mapping[str, Sequence[str]]) -> dict[str, int]:
        place = {}
        for name, names in {**columns, **optional}.items():
            found = next((each for each in names if each in self.header), None)
            if found is not None:
                place[name] = self.header.index(found)
            elif name in columns:
                separator = "tabs" if self.delimiter == "\t" else "commas"
                raise InputError(
                    f"{self.path} has the columns {', '.join(self.header)[:200] or '(none)'}; expected one called "
                    f"{' or '.join(names)}, with {separator} between columns"
                )
        return place

    def _span(self, fields: list[str]) -> tuple[str, tuple[float, float]]:
        """What is wrong with a row, "" if nothing, and its span; a start before 0 is 0."""
        if len(fields) != len(self.header):
            return f"found {len(fields)} columns, expected {len(self.header)}", (0.0, 0.0)
        texts = fields[self.place["start"]], fields[self.place["end"]]
        try:
            start, end = float(texts[0]), float(texts[1])
        except ValueError:
            return f"found the times {texts[0]!r} and {texts[1]!r}, expected seconds", (0.0, 0.0)
        start = max(start, 0.0)
        if not start <= end < LONGEST:
            return f"found a clip from {start} to {end} s, expected an end after the start", (0.0, 0.0)
        return "", (start, end)


class _Lines:
    """Lines as text, and the byte where the next one begins."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.position = file, file.tell()

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self.file.readline()
        if not line:
            raise StopIteration
        text = line.decode("utf-8-sig" if self.position == 0 else "utf-8")
        self.position += len(line)
        return text

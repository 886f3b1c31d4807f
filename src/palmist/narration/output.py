"""What is written: narrations.jsonl while the work goes on, narrations.csv from it at the end.

    narrations.jsonl   line 1: {"format": "palmist-narrations", "version": 1, "settings": {...}}
                       then one line per clip: a Narration (text, facts, tracks, ...) with uid, dataset, video_id, start_second,
                       end_second, template (the text before any rewriting), rewrite (its outcome) and hands_seen
    narrations.csv     dataset, video_id, start_second, end_second, text, uid: the columns that EgoHOD's loader reads

A clip counts when its line is whole. A process that is killed anywhere leaves whole lines and at most one cut one, which is
dropped; the next run does only what is missing. If a clip has two lines, the later one counts. At the end the lines are in the
order of the source and the csv says the same. Clips in which hands are seen in too few frames are in the JSONL alone.
"""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from palmist.errors import InputError
from palmist.files.input_files import check_file, decode_json
from palmist.narration.pipeline import Narration
from palmist.narration.rewrite import Rewrite
from palmist.narration.sources import Span

__all__ = ["COLUMNS", "NarrationFolder", "hands_seen", "line_of", "narration_of", "read_lines"]

FORMAT = "palmist-narrations"
VERSION = 1
COLUMNS = ("dataset", "video_id", "start_second", "end_second", "text", "uid")
#: Clips in which hands are seen in a smaller share of the frames are not in the csv.
LEAST_HANDS = 0.5
_OWN = ("uid", "dataset", "video_id", "start_second", "end_second", "template", "rewrite", "hands_seen")


def hands_seen(narration: Narration) -> float:
    """Share of the frames that were looked at in which at least one hand was found, 0 to 1."""
    seen = {record.frame for hand in narration.tracks.hands for record in hand.records if not record.filled}
    return len(seen) / len(narration.tracks.time)


def line_of(span: Span, narration: Narration, template: str, rewrite: Rewrite) -> dict[str, Any]:
    """The line of one clip as plain values; `narration` holds the text that counts, `template` the one before rewriting."""
    return {
        "uid": span.uid,
        "dataset": span.dataset,
        "video_id": span.video_id,
        "start_second": span.start,
        "end_second": span.end,
        "template": template,
        "rewrite": rewrite.to_json(),
        "hands_seen": round(hands_seen(narration), 4),
        **narration.to_json(),
    }


def narration_of(line: Mapping[str, Any]) -> Narration:
    """The Narration of a line. Raises InputError if it is none."""
    return Narration.from_json({name: value for name, value in line.items() if name not in _OWN})


def read_lines(path: str | Path) -> Iterator[dict[str, Any]]:
    """The clips of a narrations.jsonl, in its order, without the head; lines that are not whole are left out.

    Raises InputError if the file is not one of these.
    """
    path = Path(path)
    _read_head(path)
    with path.open("rb") as file:
        file.readline()
        for line in file:
            if (whole := _parsed(line)) is not None:
                yield whole


class NarrationFolder:
    """The two files of a run, opened or gone on with; a context manager that writes the csv when it is left, however that is.

    folder: made when needed. settings: all that the narrations depend on, as plain values; a folder that was begun with other
    settings is refused.
    dropped: how many damaged lines were found.

    Raises InputError for other settings, another version, a file that is not ours, or a folder that another run writes to.
    """

    def __init__(self, folder: str | Path, settings: Mapping[str, Any]) -> None:
        self.folder = Path(folder)
        self.lines, self.table = self.folder / "narrations.jsonl", self.folder / "narrations.csv"
        self._settings: dict[str, Any] = json.loads(json.dumps(settings))
        self._places: dict[str, int] = {}  # uid -> where its latest line begins
        self._states: dict[str, str] = {}  # uid -> outcome of its rewriting
        self._order: list[str] = []
        self._tidy = True  # lines are as they should be at the end
        self.dropped = 0
        if self.folder.exists() and not self.folder.is_dir():
            raise InputError(f"--out {self.folder} is a file; expected a folder, a new one or that of an earlier run")
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.table.is_dir():
            raise InputError(f"{self.table} is a folder; expected a file or nothing there; move it away, or give another --out")
        self._lock = _locked(self.folder)
        try:
            self._file = self._open()
        except BaseException:
            self._unlock()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if not self._file.closed:
                self.finish()
        finally:
            self._file.close()
            self._unlock()

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __contains__(self, uid: str) -> bool:
        return uid in self._places

    def __len__(self) -> int:
        return len(self._places)

    def outcome(self, uid: str) -> str:
        """How the rewriting of a clip that is done ended (rewrite.OUTCOMES)."""
        return self._states[uid]

    def line(self, uid: str) -> dict[str, Any]:
        """The latest line of a clip that is done."""
        self._file.seek(self._places[uid])
        return json.loads(self._file.readline())

    def expect(self, uids: Iterable[str]) -> None:
        """Say in which order the clips belong; others that are there come after them."""
        self._order = list(uids)

    def append(self, line: Mapping[str, Any]) -> None:
        """Write the line of one clip; when this returns, it survives whatever happens to the process."""
        data = json.dumps(line, separators=(",", ":"), allow_nan=False).encode() + b"\n"
        place = self._file.seek(0, os.SEEK_END)
        self._file.write(data)
        self._file.flush()
        os.fsync(self._file.fileno())
        self._note(line, place)

    def finish(self) -> None:
        """Bring the lines in order and write the csv that says the same."""
        expected = set(self._order)
        order = [uid for uid in self._order if uid in self._places]
        order += [uid for uid in self._places if uid not in expected]
        places = [self._places[uid] for uid in order]
        if not self._tidy or places != sorted(places):
            self._rewrite(order)
        unfinished = self.table.with_name(self.table.name + ".part")
        with unfinished.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(COLUMNS)
            for uid in order:
                line = self.line(uid)
                if line["hands_seen"] >= LEAST_HANDS:
                    writer.writerow([line[name] for name in COLUMNS])
        unfinished.replace(self.table)

    def _open(self) -> BinaryIO:
        """The file of lines, made new or read to its last whole line."""
        if not self.lines.exists() or not self.lines.stat().st_size:
            head = {"format": FORMAT, "version": VERSION, "settings": self._settings}
            unfinished = self.lines.with_name(self.lines.name + ".part")
            unfinished.write_text(json.dumps(head) + "\n", encoding="utf-8")
            unfinished.replace(self.lines)
            return self.lines.open("r+b")
        settings = _read_head(self.lines)["settings"]
        if settings != self._settings:
            raise InputError(
                f"{self.folder} was begun with {_differences(settings, self._settings)}; give these again, or another --out"
            )
        file = self.lines.open("r+b")
        place = len(file.readline())
        for data in file:
            if not data.endswith(b"\n"):
                file.truncate(place)  # cut by a kill
                self.dropped += 1
                break
            line = _parsed(data)
            if line is None:
                self.dropped += 1
                self._tidy = False
            else:
                self._note(line, place)
            place += len(data)
        return file

    def _note(self, line: Mapping[str, Any], place: int) -> None:
        self._tidy = self._tidy and line["uid"] not in self._places
        self._places[line["uid"]] = place
        self._states[line["uid"]] = line["rewrite"]["outcome"]

    def _rewrite(self, order: list[str]) -> None:
        """All lines anew in this order, each once."""
        unfinished = self.lines.with_name(self.lines.name + ".part")
        places: dict[str, int] = {}
        with unfinished.open("wb") as file:
            self._file.seek(0)
            file.write(self._file.readline())
            for uid in order:
                places[uid] = file.tell()
                self._file.seek(self._places[uid])
                file.write(self._file.readline())
            file.flush()
            os.fsync(file.fileno())
        self._file.close()
        unfinished.replace(self.lines)
        self._file, self._places, self._tidy = self.lines.open("r+b"), places, True


def _locked(folder: Path) -> int | None:
    """A lock on the folder that ends with the process; None where there are none such (Windows, some network drives)."""
    try:
        import fcntl
    except ImportError:
        return None
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise InputError(f"another run writes to {folder} now; wait for it, or give another folder with --out") from None
    except OSError:
        os.close(handle)
        return None
    return handle


def _start(path: Path) -> bytes:
    check_file(path, "narrations.jsonl as palmist narrate writes it")
    with path.open("rb") as file:
        return file.readline(1 << 20)


def _read_head(path: Path) -> dict[str, Any]:
    start = _start(path)
    try:
        head = decode_json(start)
        known = head["format"] == FORMAT and isinstance(head["settings"], dict) and "version" in head
    except (ValueError, LookupError, TypeError, RecursionError):
        known = False
    if not known:
        raise InputError(f"{path} is no file of narrations; expected narrations.jsonl as palmist narrate writes it")
    if head["version"] != VERSION:
        raise InputError(
            f"{path} is of version {head['version']}; this Palmist reads {VERSION}; give another folder with --out"
        )
    return head


def _parsed(data: bytes) -> dict[str, Any] | None:
    """A line that is whole and ours, else None."""
    try:
        line = decode_json(data)
        words = (*(line[name] for name in ("uid", "dataset", "video_id", "template", "text")), line["rewrite"]["outcome"])
        numbers = [line[name] for name in ("start_second", "end_second", "hands_seen")]
        facts = line["facts"]
    except (ValueError, TypeError, LookupError, RecursionError):
        return None
    whole = all(isinstance(word, str) for word in words) and isinstance(facts, dict)
    whole = whole and all(isinstance(number, int | float) and not isinstance(number, bool) for number in numbers)
    return line if whole and 0 <= numbers[0] < numbers[1] < math.inf and 0 <= numbers[2] <= 1 else None


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What was set otherwise, in words."""
    names = sorted(name for name in {*before, *now} if before.get(name) != now.get(name))
    return ", ".join(f"{name} {json.dumps(before.get(name))} instead of {json.dumps(now.get(name))}" for name in names)

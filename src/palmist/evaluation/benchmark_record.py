"""Benchmark records: the numbers of `benchmarks/results/*.json`, each with all that is needed to judge and repeat it.

A file holds a list of objects with `name`, `value`, `unit`, `n`, `interval`, `seeds`, `command`, `commit`, `machine`,
`date`. `name` is data/split/model/metric in lower case, for example
`asl_words/cross_signer_a/ghtt/accuracy`; writing merges by name, so a table can be regenerated row by row.
"""

from __future__ import annotations

import datetime
import json
import math
import platform
import re
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from importlib import metadata
from pathlib import Path
from typing import Any

from palmist.errors import InputError
from palmist.files.input_files import damage_named, read_json
from palmist.files.whole_file import write_whole

#: Begins the names of numbers of shortened trainings, which no results file takes (`palmist.benchmark.quick`).
QUICK = "quick/"
_NAME = re.compile(rf"({QUICK})?[a-z0-9_]+(/[a-z0-9_]+){{3}}")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_ABSOLUTE = re.compile(r"(^|[\s='\"])([/~]|[A-Za-z]:\\)")


@dataclass(frozen=True)
class BenchmarkRecord:
    """One number with its unit, sample count, interval, seeds, and where it comes from.

    name: data/split/model/metric, lower case letters, digits and _, with "quick/" before it for numbers of shortened trainings.
    value: finite. n: how many items it rests on.
    interval: (low, high) or None. seeds: the seeds averaged over. command: what regenerates it, without absolute
    paths. commit: of the code. machine: processor, threads and torch version only. date: YYYY-MM-DD.
    Raises InputError for anything else.
    """

    name: str
    value: float
    unit: str
    n: int
    interval: tuple[float, float] | None
    seeds: tuple[int, ...]
    command: str
    commit: str
    machine: str
    date: str

    def __post_init__(self) -> None:
        """Check every field and normalise sequences to tuples of plain numbers."""
        if not _NAME.fullmatch(self.name):
            raise InputError(
                f"Benchmark name {self.name!r} was found; expected data/split/model/metric in lower case letters, digits and _."
            )
        if not (_is_number(self.value) and math.isfinite(self.value)):
            raise InputError(f"{self.name}: the value is {self.value!r}; only a finite number can be recorded.")
        if isinstance(self.n, bool) or not _is_number(self.n) or self.n != int(self.n) or self.n < 1:
            raise InputError(f"{self.name}: n is {self.n!r}; expected the number of items measured, at least 1.")
        object.__setattr__(self, "value", float(self.value))
        object.__setattr__(self, "n", int(self.n))
        object.__setattr__(self, "seeds", tuple(int(seed) for seed in self.seeds))
        if self.interval is not None:
            bounds = tuple(float(bound) for bound in self.interval)
            if len(bounds) != 2 or not all(map(math.isfinite, bounds)) or bounds[0] > bounds[1]:
                raise InputError(f"{self.name}: the interval is {self.interval!r}; expected low and high, or none.")
            object.__setattr__(self, "interval", bounds)
        if not _DATE.fullmatch(self.date):
            raise InputError(f"{self.name}: the date is {self.date!r}; expected YYYY-MM-DD.")
        for field_name in ("command", "machine", "commit", "unit"):
            text = getattr(self, field_name)
            if not isinstance(text, str) or (not text and field_name != "unit") or _ABSOLUTE.search(text):
                raise InputError(
                    f"{self.name}: {field_name} is {text!r}; expected text without absolute paths, so that it holds "
                    "on any machine."
                )
        host = platform.node()
        # a host name can be as short as a word of a processor's name; only a long, whole one gives a machine away
        if len(host) > 5 and re.search(rf"(?<!\w){re.escape(host)}(?!\w)", self.machine):
            raise InputError(f"{self.name}: machine names this computer; use machine_description().")

    def to_json(self) -> dict[str, Any]:
        """The record as a JSON object, fields in documented order."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> BenchmarkRecord:
        """Read one JSON object; unknown or missing fields are errors."""
        expected = {f.name for f in fields(cls)}
        if set(data) != expected:
            raise InputError(f"A benchmark record has the fields {sorted(data)}; expected exactly {sorted(expected)}.")
        with damage_named("a benchmark record", "fields of the documented types"):
            return cls(**data)


def make_record(
    name: str,
    value: float,
    unit: str,
    n: int,
    command: str,
    interval: Sequence[float] | None = None,
    seeds: Iterable[int] = (),
    threads: int | None = None,
) -> BenchmarkRecord:
    """A record of a number measured now, here, with this code: fills commit, machine and date.

    Example: make_record("asl_words/cross_signer_a/ghtt/accuracy", *metric[:1], "share", metric.n,
    "palmist benchmark quality", metric.interval)
    """
    return BenchmarkRecord(
        name=name,
        value=value,
        unit=unit,
        n=n,
        interval=None if interval is None else (interval[0], interval[1]),
        seeds=tuple(seeds),
        command=command,
        commit=code_commit(),
        machine=machine_description(threads),
        date=datetime.date.today().isoformat(),
    )


def read_records(path: str | Path) -> list[BenchmarkRecord]:
    """Read a results file; a file that does not exist holds no records. InputError for a broken one."""
    path = Path(path)
    if not path.exists():
        return []
    items = read_json(path, "benchmark records; regenerate them with palmist benchmark")
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise InputError(f"{path.name} does not hold a list of records; regenerate it with palmist benchmark.")
    records = [BenchmarkRecord.from_json(item) for item in items]
    names = [record.name for record in records]
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"{path.name} holds {twice} twice; every name may occur once.")
    return records


def write_records(path: str | Path, records: Iterable[BenchmarkRecord]) -> list[BenchmarkRecord]:
    """Merge records into a results file by name, sorted by name; the file is replaced in one step.

    Returns all records the file now holds. InputError for quick numbers, which would be taken for real ones there.
    """
    records = list(records)
    if quick := [record.name for record in records if record.name.startswith(QUICK)]:
        raise InputError(f"{quick[0]} comes from a shortened training; results files hold whole ones, keep it with --json FILE")
    path = Path(path)
    merged = {record.name: record for record in read_records(path)}
    merged.update({record.name: record for record in records})
    ordered = [merged[name] for name in sorted(merged)]
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps([record.to_json() for record in ordered], indent=1, ensure_ascii=False, allow_nan=False)
    write_whole(path, text + "\n")
    return ordered


def machine_description(threads: int | None = None) -> str:
    """Processor model, threads and torch version, and nothing that names the computer.

    threads: threads used; torch's own setting by default. Example: "AMD EPYC, 1 thread, torch 2.13.0".
    """
    if threads is None:
        import torch

        threads = torch.get_num_threads()
    version = metadata.version("torch")
    return f"{_processor()}, {threads} thread{'s' if threads != 1 else ''}, torch {version}"


def code_commit() -> str:
    """Short commit of the code that runs, with "-modified" when tracked code differs from it, or "unknown"."""
    root = Path(__file__).resolve().parents[3]
    if not (root / ".git").exists():
        return "unknown"
    try:
        head = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], cwd=root, capture_output=True, text=True, check=True)
        changed = subprocess.run(
            ["git", "diff", "--quiet", "HEAD", "--", "src", "configs"], cwd=root, capture_output=True, check=False
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head.stdout.strip() + ("-modified" if changed.returncode else "")


def _processor() -> str:
    """The processor's model name, without clock marks such as (R)."""
    name = ""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.lower().startswith("model name"):
                name = line.split(":", 1)[1]
                break
    except OSError:
        pass
    name = name or platform.processor() or platform.machine() or "unknown processor"
    return re.sub(r"\s+", " ", name.replace("(R)", "").replace("(TM)", "").replace("/", " ")).strip()


def _is_number(value: object) -> bool:
    return hasattr(value, "__float__") and not isinstance(value, (str, bytes, bool))

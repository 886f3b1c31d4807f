"""`palmist benchmark`: every number of the tables, measured again.

Results are merged by name into benchmarks/results/quality.json and speed.json of the checkout that the command runs in.
"""

from __future__ import annotations

from pathlib import Path

from palmist.errors import InputError
from palmist.evaluation.benchmark_record import BenchmarkRecord, write_records

__all__ = ["run"]

RESULTS = Path("benchmarks/results")


def run(kind: str, only: str | None = None) -> list[BenchmarkRecord]:
    """Measure "quality" or "speed", all sections or one.

    Raises:
        InputError: another kind, an unknown section, or a folder that is not a checkout of the project.
    """
    if not RESULTS.is_dir() or not Path("configs/ghtt").is_dir():
        raise InputError(f"{Path.cwd().name} has no {RESULTS} and configs/ghtt; run benchmarks in a checkout of Palmist")
    if kind == "quality":
        from palmist.benchmark import quality

        sections = [only] if only is not None else list(quality.SECTIONS)
        records = []
        for section in sections:  # results are kept section by section, as a run takes hours
            records += write_section(kind, quality.run(section))
        return records
    if kind == "speed":
        from palmist.benchmark import speed

        return write_section(kind, speed.run(only))
    raise InputError(f"there is no benchmark '{kind}'; expected quality or speed")


def write_section(kind: str, records: list[BenchmarkRecord]) -> list[BenchmarkRecord]:
    """Merge records into the kind's results file."""
    write_records(RESULTS / f"{kind}.json", records)
    return records

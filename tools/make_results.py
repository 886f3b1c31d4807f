"""Write the short results table of README.md, between its markers, and docs/results.md, from benchmarks/results/*.json.

python tools/make_results.py [--check]     --check: say whether both are up to date, write nothing
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # for tests, which load this file by its path

from one_table import MODELS, one_table
from results_records import ROOT, number, records
from results_rows import HEADLINES, TABLES

__all__ = ["MODELS", "PAGE", "headlines", "one_table", "page", "records", "results", "updated"]

PAGE = ROOT / "docs/results.md"
PAGE_HEAD = """# Results

Every number of `palmist benchmark quality` and `palmist benchmark speed`, written by `python tools/make_results.py` from
`benchmarks/results`, where each stands with its commit, machine and date. Splits are by person (or take): nobody in a test was
in any training set of the model that is tested. Targets that are missed stand here as they are. G-HTT's own tables with rivals,
three seeds and equal budget: [ghtt-tables.md](ghtt-tables.md).
"""
START, END = "<!-- results -->", "<!-- /results -->"


def results() -> str:
    """The tables; a row without a record is left out, and so is a table without rows."""
    have, parts = records(), []
    for title, rows in TABLES:
        lines = []
        for text, name, goal in rows:
            if name not in have:
                continue
            record = have[name]
            interval = record["interval"]
            span = "" if interval is None else f"{number(interval[0])} – {number(interval[1])}"
            lines.append(f"| {text} | {number(record['value'])} {record['unit']} | {span} | {record['n']:,} | {goal} |")
        if lines:
            head = f"**{title}**\n\n| measured | value | interval | n | to beat |\n|---|---|---|---|---|"
            parts.append("\n".join([head, *lines]))
    return "\n\n".join(parts)


def headlines() -> str:
    """The README's table; a row without a record is left out."""
    have, lines = records(), []
    for text, name, other, called in HEADLINES:
        if name not in have:
            continue
        record = have[name]
        against = number(have[other]["value"]) if other in have else other
        unit = "" if record["unit"] in ("share", "ratio", "squared feature units") else f" {record['unit']}"
        interval = record["interval"]
        span = "" if interval is None else f" ({number(interval[0])} – {number(interval[1])})"
        lines.append(f"| {text} | **{number(record['value'])}**{unit}{span} | {against} ({called}) | {record['n']:,} |")
    return "\n".join(["| measured | Palmist (95 % interval) | against | n |", "|---|---|---|---|", *lines])


def updated(text: str) -> str:
    """README text with the table between the markers."""
    before, _, rest = text.partition(START)
    _, _, after = rest.partition(END)
    return f"{before}{START}\n{headlines()}\n{END}{after}"


def page() -> str:
    """docs/results.md."""
    return f"{PAGE_HEAD}\n{one_table(records())}\n\n## All measurements\n\n{results()}\n"


def main() -> None:
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    if "--check" in sys.argv:
        good = updated(text) == text and PAGE.is_file() and PAGE.read_text(encoding="utf-8") == page()
        raise SystemExit(0 if good else "README.md or docs/results.md is not up to date; run python tools/make_results.py")
    readme.write_text(updated(text), encoding="utf-8")
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()

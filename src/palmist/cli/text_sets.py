"""What `palmist prepare` does with sets of videos that have sentences: they are read where they lie, and counted."""

from __future__ import annotations

from pathlib import Path

from palmist.cli.output import busy, console, say, table, write_json
from palmist.errors import InputError
from palmist.video_text import text_set

__all__ = ["run_prepare_texts"]


def run_prepare_texts(dataset: str, root: Path | None, out: Path | None, example: bool, json_file: str | None) -> None:
    """List a set of videos with sentences; with `example` a made-up one is written to `root` first."""
    entry = text_set(dataset)
    if out is not None:
        raise InputError(f"{dataset} is a set of videos with texts, which is read where it lies; leave --out {out} out")
    if root is None:
        raise InputError(f"{dataset} needs --root DIR, the folder where it lies; fetch it from {entry.url}")
    if example:
        say(f"a made-up {dataset} is written to {entry.example(root)}; nobody was recorded for it")
    if not root.is_dir():
        raise InputError(f"--root {root} is not a folder; expected the folder that holds {dataset}")
    with busy(f"reading {dataset}"):
        found = entry.read(root).listing()
    shown, rows = console(json_file), table(None, ("split", "left"), ("clips", "right"))
    for split, count in found.splits.items():
        rows.add_row(split, f"{count:,}")
    shown.print(rows)
    there = f"{found.videos:,} videos are named, {found.missing:,} not found below {root}"
    facts = "".join(f", {count:,} {name}" for name, count in found.facts.items())
    shown.print(f"{there}{facts}; read them with palmist.video_text", highlight=False, soft_wrap=True)
    write_json(
        json_file,
        {
            "format": "palmist-prepare-texts", "version": 1, "dataset": dataset, "licence": entry.licence,
            "splits": dict(found.splits), "videos": found.videos, "missing_videos": found.missing, "facts": dict(found.facts),
        },
    )  # fmt: skip

"""What `palmist read` prints and writes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from palmist.cli.output import console, progress, table, write_json
from palmist.errors import InputError

if TYPE_CHECKING:
    from palmist.inference.fusion import Fusion
    from palmist.reader import Reader
    from palmist.reading import Reading

_VIDEO = {".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v"}


def is_video(source: str) -> bool:
    """Whether a source is a video file, by its name."""
    return Path(source).suffix.lower() in _VIDEO


def refuse_video(source: str) -> None:
    """Say that pixels are not read here, before a video is mistaken for a broken recording."""
    if source.startswith("webcam:") or is_video(source):
        raise InputError(f"{source} is video; give a recording of hand joints (.npz) or a store; palmist read makes one of it")


def run_read(source: str, model: str, options: dict[str, Any], out: Path | None, json_file: str | None) -> None:
    """Read every recording of the source: a table, and with --out a page and the refined recordings."""
    refuse_video(source)
    from palmist.reader import load
    from palmist.store import Store, open_source

    opened = open_source(source)
    count = len(opened) if isinstance(opened, Store) else 1
    reader = load(model)
    use_one_thread()
    options = own_labels(options, reader)
    readings: list[Reading] = []
    with progress("reading", count) as advance:
        for reading in reader.read_all(opened, **options):
            readings.append(reading)
            advance(reading.name)
    shown = console(json_file)
    shown.print(readings_table(readings))
    if out is not None:
        write_readings(readings, out, shown)
    write_json(json_file, {"readings": [reading.to_json() for reading in readings]})


def write_readings(readings: Sequence[Reading], out: Path, shown: Console) -> None:
    """A page of all, and each as a recording."""
    from palmist.view import write_page

    shown.print(f"page: {write_page(readings, out / 'palmist.html', title='Palmist')}", highlight=False)
    for reading in readings:
        reading.save(out / "recordings" / f"{reading.name.replace('/', '_')}.npz")


def own_labels(options: dict[str, Any], reader: Reader | Fusion) -> dict[str, Any]:
    """`--labels a,b,c` as a list, unless it names a taxonomy."""
    chosen = options.get("labels")
    if isinstance(chosen, str) and chosen not in reader.taxonomies and "," in chosen:
        return {**options, "labels": [part.strip() for part in chosen.split(",") if part.strip()]}
    return options


def use_one_thread() -> None:
    """Read on one core: a small network gains nothing from a second, and waits for it when that is busy elsewhere."""
    import torch

    torch.set_num_threads(1)


def readings_table(readings: Sequence[Reading]) -> Table:
    """One row per reading: what was read, how far refinement moved the joints, how far the futures lie apart, the error of
    the best future and of the last pose repeated, milliseconds.
    """
    made = table(
        None, ("recording", "left"), ("read", "left"), ("refined", "right"), ("spread", "right"), ("best", "right"),
        ("last pose", "right"), ("ms", "right"),
    )  # fmt: skip
    for reading in readings:
        read = "–" if reading.label is None else f"{escape(reading.label)} {reading.probability:.0%}"
        if reading.true_label is not None:
            right = reading.label == reading.true_label
            read += " [green]✓[/]" if right else f" [red]({escape(reading.true_label)})[/]"
        terms = reading.in_own_terms
        best, still = terms(reading.future_error("best")), terms(reading.future_error("last_pose"))
        time = f"{reading.timing.get('total_ms', 0):.0f}"
        # A data set's name in front of every recording would leave no room for the numbers.
        name = reading.name.split("/", 1)[-1]
        made.add_row(escape(name), read, terms(reading.shift), terms(reading.spread), best, still, time)
    return made

"""`palmist read`: what reads a source, and what is printed and written of recordings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from palmist.cli.options import JsonFile
from palmist.cli.output import console, progress, table, write_json
from palmist.errors import InputError
from palmist.model_zoo import DEFAULT_MODEL, VIDEO_KINDS, kind_of

if TYPE_CHECKING:
    from palmist.inference.fusion import Fusion
    from palmist.reader import Reader
    from palmist.reading import Reading

_VIDEO = {".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v"}


def read(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="A recording (.npz), a store, a video, or webcam:0.")],
    model: Annotated[
        str,
        typer.Option("--model", "-m", help="A model's name or a checkpoint's folder; several with commas answer together."),
    ] = DEFAULT_MODEL,
    futures: Annotated[int, typer.Option(min=0, max=1000, help="How many possible futures.")] = 20,
    horizon: Annotated[float, typer.Option(metavar="SECONDS", help="How far ahead.")] = 1.0,
    observe_until: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="Read only up to this time; the rest is the truth to compare with."),
    ] = None,
    labels: Annotated[
        str | None, typer.Option(help="A taxonomy of the model, or your own labels with commas between them.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the futures.")] = 0,
    factor: Annotated[float, typer.Option(min=0, help="How far the futures may stray (sampling factor).")] = 5.0,
    hands: Annotated[
        str,
        typer.Option(
            metavar="WHO",
            help="Video: who finds hands: mediapipe, estimator (or the folder of its checkpoint), a file of detections (.npz).",
        ),
    ] = "mediapipe",
    hand_model: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Video: your own .task model, else that of palmist fetch hands."),
    ] = None,
    mirrored: Annotated[bool, typer.Option("--mirrored", help="Video: mirrored, as selfie cameras give it.")] = False,
    live: Annotated[bool, typer.Option("--live", help="Video: read it at its own pace, as a webcam is read.")] = False,
    seconds: Annotated[float | None, typer.Option(min=0, help="Webcam and --live: stop after this time.")] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Webcam and --live: of the browser view; 0: a free one.")] = 0,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write a page, each reading as a recording, and a video's overlay.")
    ] = None,
    json_file: JsonFile = None,
) -> None:
    """Read recordings, a video or a webcam: refine the poses, recognise the action, predict futures."""
    from palmist.cli.video import HandOptions, LiveOptions, run_read_live, run_read_video, run_recognise_video

    options: dict[str, Any] = {
        "futures": futures, "horizon": horizon, "observe_until": observe_until, "seed": seed, "factor": factor,
        "labels": labels,
    }  # fmt: skip
    finder = HandOptions(hand_model, mirrored, hands)
    if "," in model and not Path(model).exists():
        from palmist.cli.fusion import run_read_together

        run_read_together(source, model, options, finder, live, out, json_file)
        return
    pixels_only = kind_of(model) in VIDEO_KINDS
    if pixels_only and (live or not is_video(source)):
        raise InputError(f"{model} reads video files, and the source is {source}; give a video, or leave --model out")
    if pixels_only:
        run_recognise_video(source, model, options, out, json_file)
    elif source.startswith("webcam:") or (live and is_video(source)):
        run_read_live(source, model, options, finder, LiveOptions(seconds, port), out, json_file)
    elif is_video(source):
        run_read_video(source, model, options, finder, out, json_file)
    else:
        run_read(source, model, options, out, json_file)


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

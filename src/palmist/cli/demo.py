"""`palmist demo`: shipped recordings of people that the shipped model never saw, and a video, read from end to end."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from palmist.cli.options import JsonFile, ModelName
from palmist.cli.output import console, progress, write_json
from palmist.cli.read import readings_table, use_one_thread
from palmist.model_zoo import DEFAULT_MODEL

if TYPE_CHECKING:
    from palmist.inference.read_video import VideoReading
    from palmist.reading import Reading

__all__ = ["demo", "read_demo", "run_demo"]

#: The share of each recording that is observed; the rest is the truth that the futures are compared with.
OBSERVED = 0.62
HORIZON = 1.0


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the page palmist_demo.html.")] = Path("out"),
    model: ModelName = DEFAULT_MODEL,
    json_file: JsonFile = None,
) -> None:
    """Read shipped recordings of people that the model never saw: a table here, and an HTML page."""
    run_demo(out, model, json_file)


def read_demo(model: str = "ghtt-small", futures: int = 20) -> list[Reading]:
    """Read them: the first part observed, the rest predicted and compared."""
    from palmist.demo_data import demo_recordings
    from palmist.reader import load

    reader = load(model)
    recordings = demo_recordings()
    readings = []
    with progress("reading", len(recordings)) as advance:
        for recording in recordings:
            until = float(recording.time[0] + OBSERVED * (recording.time[-1] - recording.time[0]))
            readings.append(reader.read(recording, futures=futures, horizon=HORIZON, observe_until=until))
            advance(recording.name)
    return readings


def read_demo_video(out: Path, model: str = "ghtt-small", futures: int = 20) -> tuple[VideoReading, Path]:
    """Read the shipped video's tracked hands and draw what was read onto its frames, OUT/palmist_demo_video.mp4."""
    from palmist.demo_data import demo_video
    from palmist.inference.read_video import read_tracked, write_overlay
    from palmist.reader import load

    reader, (video, recording) = load(model), demo_video()
    result = read_tracked(recording, reader, futures=futures, horizon=HORIZON)
    with progress("drawing the video", len(recording)) as advance:
        path = write_overlay(out / "palmist_demo_video.mp4", video, result, reader, futures, lambda: advance(""))
    return result, path


def run_demo(out: Path, model: str, json_file: str | None) -> Path:
    """Print the table and write OUT/palmist_demo.html."""
    from palmist.view import write_page

    use_one_thread()
    readings = read_demo(model)
    video, overlay = read_demo_video(out, model)
    readings.append(video.reading)
    title, beside = "Palmist: hands that the model has never seen", {video.reading.name: overlay}
    page = write_page(readings, out / "palmist_demo.html", title, beside)
    shown = console(json_file)
    shown.print(readings_table(readings))
    shown.print(
        f"\n{readings[0].model} read the first {OBSERVED:.0%} of each recording. refined: how far the joints were moved; "
        f"spread: how far 20 futures of {HORIZON:g} s lie apart; best: the error of the nearest one; last pose: that of "
        "repeating it. In hand sizes.",
        highlight=False,
    )
    raw, refined = video.jerk
    jerks = f"jerk {raw:.0f} hand sizes/s³ as tracked, {refined:.0f} refined"
    shown.print(f"The last one is a video, {len(video.recording)} frames: {jerks}.", highlight=False)
    shown.print(f"overlay: {overlay}", highlight=False, soft_wrap=True)
    shown.print(f"page: {page}", highlight=False, soft_wrap=True)
    write_json(json_file, {"readings": [reading.to_json() for reading in readings]})
    return page

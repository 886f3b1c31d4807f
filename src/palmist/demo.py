"""`palmist demo`: shipped recordings of people that the shipped model never saw, read from end to end."""

from __future__ import annotations

from pathlib import Path

from palmist.cli_output import console, progress, write_json
from palmist.cli_read import readings_table, use_one_thread
from palmist.demo_data import demo_recordings
from palmist.reader import load
from palmist.reading import Reading

__all__ = ["demo_recordings", "read_demo", "run_demo"]

#: The share of each recording that is observed; the rest is the truth that the futures are compared with.
OBSERVED = 0.62
HORIZON = 1.0


def read_demo(model: str = "ghtt-small", futures: int = 20) -> list[Reading]:
    """Read them: the first part observed, the rest predicted and compared."""
    reader = load(model)
    recordings = demo_recordings()
    readings = []
    with progress("reading", len(recordings)) as advance:
        for recording in recordings:
            until = float(recording.time[0] + OBSERVED * (recording.time[-1] - recording.time[0]))
            readings.append(reader.read(recording, futures=futures, horizon=HORIZON, observe_until=until))
            advance(recording.name)
    return readings


def run_demo(out: Path, model: str, json_file: str | None) -> Path:
    """Print the table and write OUT/palmist_demo.html."""
    from palmist.view import write_page

    use_one_thread()
    readings = read_demo(model)
    page = write_page(readings, out / "palmist_demo.html", title="Palmist: hands that the model has never seen")
    shown = console(json_file)
    shown.print(readings_table(readings))
    shown.print(
        f"\n{readings[0].model} read the first {OBSERVED:.0%} of each recording. refined: how far the joints were moved; "
        f"spread: how far 20 futures of {HORIZON:g} s lie apart; best: the error of the nearest one; last pose: that of "
        "repeating it. In hand sizes.",
        highlight=False,
    )
    shown.print(f"page: {page}", highlight=False, soft_wrap=True)
    write_json(json_file, {"readings": [reading.to_json() for reading in readings]})
    return page

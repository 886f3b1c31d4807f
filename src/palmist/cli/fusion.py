"""What `palmist read --model a,b,c` prints and writes: the answer of every model, and the one of all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from palmist.cli.output import console, progress, table, write_json
from palmist.cli.read import is_video, own_labels, use_one_thread, write_readings
from palmist.cli.video import HandOptions, print_tracking, write_video_reading
from palmist.errors import InputError

if TYPE_CHECKING:
    from palmist.inference.fusion import Fused, Fusion

_TOGETHER = "together"


def run_read_together(
    source: str,
    models: str,
    options: dict[str, Any],
    hands: HandOptions,
    live: bool,
    out: Path | None,
    json_file: str | None,
) -> None:
    """Read a recording, a store or a video with several models, names with commas between; see `palmist.inference.fusion`."""
    from palmist.inference.fusion import load_fusion

    if live or source.startswith("webcam:"):
        raise InputError(f"{source} is read live, which one model does; give one name to --model, or a file without --live")
    together = load_fusion(models)
    use_one_thread()
    options = own_labels(options, together)
    if is_video(source):
        _read_video(source, together, options, hands, out, json_file)
    else:
        _read_recordings(source, together, options, out, json_file)


def _read_recordings(source: str, together: Fusion, options: dict[str, Any], out: Path | None, json_file: str | None) -> None:
    from palmist.reading import Reading
    from palmist.store import Store, open_source

    opened = open_source(source)
    found: list[Fused] = []
    with progress("reading", len(opened) if isinstance(opened, Store) else 1) as advance:
        for fused in together.read_all(opened, **options):
            found.append(fused)
            advance(fused.result.name)
    shown = console(json_file)
    shown.print(fused_table(found))
    _print_uncalibrated(shown, together)
    if out is not None:
        write_readings([fused.result for fused in found if isinstance(fused.result, Reading)], out, shown)
    write_json(json_file, {"readings": [fused.to_json() for fused in found]})


def _read_video(
    source: str, together: Fusion, options: dict[str, Any], hands: HandOptions, out: Path | None, json_file: str | None
) -> None:
    from palmist.perception.video import Video

    pose_reader, shown = together.pose_reader, console(json_file)
    if pose_reader is None:
        fused = together.read_video(source, labels=options.get("labels"))
    else:
        with hands.open() as tracker, progress("tracking hands", Video(source).info.frames) as advance:
            fused = together.read_video(source, tracker, progress=lambda: advance(""), **options)
    shown.print(members_table(fused))
    _print_uncalibrated(shown, together)
    if fused.video is None:
        facts = {"format": "palmist-video-action", "version": 1, "model": together.name}
        write_json(json_file, {**facts, **fused.to_json()})
        if out is not None:
            shown.print("no model reads hands, so there is no page; --out writes nothing", highlight=False)
        return
    assert pose_reader is not None
    print_tracking(fused.video, shown)
    if out is not None:
        write_video_reading(source, fused.video, pose_reader, options["futures"], out, shown)
    write_json(json_file, {"readings": [fused.to_json()], "video": fused.video.to_json()})


def fused_table(found: Sequence[Fused]) -> Table:
    """One row per recording: what each model says, and all together; a mark where the recording's own label is known."""
    names = [member.name for member in found[0].members] if found else []
    made = table(None, ("recording", "left"), *((escape(name), "left") for name in names), (_TOGETHER, "left"), ("ms", "right"))
    for fused in found:
        true = getattr(fused.result, "true_label", None)
        answers = [_answer(member.label, member.probability, true) for member in fused.members]
        milliseconds = getattr(fused.result, "timing", {}).get("total_ms", 0)
        together = f"[bold]{_answer(fused.label, fused.probability, true)}[/]"
        name = fused.result.name.split("/", 1)[-1]
        made.add_row(escape(name), *answers, together, f"{milliseconds:.0f}")
    return made


def members_table(fused: Fused) -> Table:
    """One row per model and one for all: what it sees, its answer, its temperature."""
    made = table(None, ("model", "left"), ("sees", "left"), ("action", "left"), ("temperature", "right"))
    for member in fused.members:
        answer = _answer(member.label, member.probability, None)
        made.add_row(escape(member.name), member.sees, answer, f"{member.calibration.temperature:.2f}")
    made.add_row(f"[bold]{_TOGETHER}[/]", "", f"[bold]{_answer(fused.label, fused.probability, None)}[/]", "")
    return made


def _answer(label: str, probability: float, true: str | None) -> str:
    mark = "" if true is None else " [green]✓[/]" if label == true else f" [red]({escape(true)})[/]"
    return f"{escape(label)} {probability:.0%}{mark}"


def _print_uncalibrated(shown: Console, together: Fusion) -> None:
    """Whose probabilities are taken as they are."""
    names = [member.name for member in together.members if not member.calibration.n]
    if names:
        shown.print(f"not calibrated, temperature 1: {escape(', '.join(names))}", highlight=False)

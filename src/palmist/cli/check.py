"""`palmist check`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from palmist.cli.options import JsonFile
from palmist.cli.output import console, progress, say, table, write_json
from palmist.cli.read import refuse_video
from palmist.errors import InputError

if TYPE_CHECKING:
    from palmist.damage import DamageReport

__all__ = ["check"]


def check(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="A recording (.npz) or a store (folder).")],
    repair: Annotated[
        Path | None, typer.Option(metavar="OUT", help="Write what can be repaired: an .npz, or a store for a store.")
    ] = None,
    json_file: JsonFile = None,
) -> None:
    """Say what is damaged in recordings, and repair what can be repaired."""
    refuse_video(str(source))
    if source.is_dir():
        reports, lost = _check_store(source, repair)
    else:
        reports, lost = _check_file(source, repair)
    shown = console(json_file)
    findings = table(None, ("recording", "left"), ("", "left"), ("finding", "left"), ("mended by --repair", "left"))
    marks = {"error": "[red]error[/]", "warning": "[yellow]warning[/]", "info": "info"}
    for report in reports:
        for finding in report.findings:
            if finding.severity != "info" or len(reports) == 1:
                findings.add_row(report.name, marks[finding.severity], finding.sentence, "yes" if finding.repairable else "")
    if findings.row_count:
        shown.print(findings)
    bad = sum(not report.ok for report in reports)
    frames = sum(report.frames for report in reports)
    shown.print(f"{len(reports)} recordings, {frames} frames: {len(reports) - bad} sound, {bad} with damage")
    write_json(
        json_file,
        {
            "format": "palmist-check",
            "version": 1,
            "source": str(source),
            "ok": bad == 0 and lost is None,
            "lost": lost,
            "recordings": [report.to_json() for report in reports],
        },
    )


def _check_file(source: Path, out: Path | None) -> tuple[list[DamageReport], str | None]:
    from palmist.damage import check as check_recording
    from palmist.damage import repair as repair_recording
    from palmist.recording_file import write_recording

    report = check_recording(source)
    if out is not None:
        target = write_recording(out, repair_recording(source))
        say(f"repaired recording written to {target}")
    return [report], None


def _check_store(source: Path, out: Path | None) -> tuple[list[DamageReport], str | None]:
    from palmist.damage import check as check_recording
    from palmist.damage import repair as repair_recording
    from palmist.store import Store, write_store

    store = Store.open(source)
    lost = store.report
    reports = []
    with progress("checking", len(store)) as advance:
        damaged = set(store.verify())
        if damaged:
            names = ", ".join(sorted(damaged)[:3])
            lost = "; ".join(filter(None, (lost, f"bytes changed since they were written in {len(damaged)}: {names}")))
            say(f"warning: {lost}")
        for recording in store:
            reports.append(check_recording(recording))
            advance(recording.name)
    if not reports:
        raise InputError(f"{source} holds no recordings; fill it with palmist prepare")
    if out is not None:
        with progress("repairing", len(store)) as advance:
            write_store(out, (repair_recording(r) for r in store), progress=lambda r: advance(r.name))
        say(f"repaired store written to {out}")
    return reports, lost

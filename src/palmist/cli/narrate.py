"""`palmist narrate`: hands and things in clips, said in sentences; written as JSONL and csv."""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from palmist.cli.options import JsonFile
from palmist.cli.output import console, progress, say, table, write_json
from palmist.cli.read import use_one_thread
from palmist.errors import InputError

if TYPE_CHECKING:
    from palmist.narration.many import DetectorChoice, Outcome, RayOptions
    from palmist.narration.pipeline import Narration
    from palmist.narration.rewrite import Rewriter
    from palmist.narration.run import Summary

__all__ = ["LanguageModel", "narrate", "run_narrate"]

_MOST_ROWS = 60  # of the table; the files have them all
_MOST_FAILURES = 10


def narrate(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="A video, a folder of videos, or a csv of clips.")],
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for narrations.jsonl and .csv; a run goes on where one stopped.")
    ] = None,
    detector: Annotated[str, typer.Option(help="Who finds hands and things: mediapipe, detections or network.")] = "mediapipe",
    weights: Annotated[Path | None, typer.Option(metavar="FILE", help="Of the network, or MediaPipe's .task model.")] = None,
    detections: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Detections made before; for several videos a folder of such files.")
    ] = None,
    clip_seconds: Annotated[float, typer.Option(metavar="SECONDS", help="Videos are cut in clips of this length.")] = 4.0,
    root: Annotated[Path | None, typer.Option(metavar="DIR", help="A csv's videos lie here; default: beside it.")] = None,
    llm: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="OpenAI-compatible endpoint that rewrites, else PALMIST_LLM_URL; key in PALMIST_LLM_KEY."
        ),
    ] = None,
    llm_model: Annotated[str | None, typer.Option(metavar="NAME", help="Its model; else PALMIST_LLM_MODEL.")] = None,
    no_llm: Annotated[bool, typer.Option("--no-llm", help="No rewriting, whatever PALMIST_LLM_URL says.")] = False,
    ray: Annotated[int | None, typer.Option(metavar="N", min=1, help="Narrate with N workers of Ray Data.")] = None,
    ray_address: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Of a Ray cluster; default: this machine.")] = None,
    picture: Annotated[bool, typer.Option("--picture", help="Write a picture of each clip to DIR/pictures.")] = False,
    json_file: JsonFile = None,
) -> None:
    """Say in sentences how hands and the things that they hold move."""
    from palmist.narration.many import DetectorChoice, RayOptions

    workers = None if ray is None and ray_address is None else RayOptions(ray or 2, ray_address)
    choice = DetectorChoice(detector, weights, detections)
    run_narrate(source, out, choice, clip_seconds, root, LanguageModel(llm, llm_model, no_llm), workers, picture, json_file)


@dataclass(frozen=True)
class LanguageModel:
    """Who rewrites; None: PALMIST_LLM_URL and PALMIST_LLM_MODEL. off: nobody, whatever these say."""

    url: str | None = None
    model: str | None = None
    off: bool = False

    def open(self) -> Rewriter | None:
        """The rewriter, None where no endpoint is named."""
        from palmist.files.fetch import cache_folder
        from palmist.narration.chat import ChatEndpoint
        from palmist.narration.rewrite import Rewriter

        if self.off:
            return None
        endpoint = ChatEndpoint.from_options(self.url, self.model)
        return None if endpoint is None else Rewriter(endpoint, cache_folder() / "rewrites")


def run_narrate(
    source: str,
    out: Path | None,
    detector: DetectorChoice,
    clip_seconds: float,
    root: Path | None,
    language: LanguageModel,
    ray: RayOptions | None,
    picture: bool,
    json_file: str | None,
) -> None:
    """Narrate a source: a table, with --out the files, with --picture a picture of each clip."""
    from palmist.narration.many import Job
    from palmist.narration.output import NarrationFolder
    from palmist.narration.run import narrate_listing, run_settings
    from palmist.narration.sources import list_spans

    if picture and out is None:
        raise InputError("--picture needs --out DIR, the folder for the pictures")
    listing = list_spans(source, root, clip_seconds)
    rewriter, job = language.open(), Job(detector, pictures=picture)
    use_one_thread()
    with contextlib.ExitStack() as stack:
        folder = None
        if out is not None:
            folder = stack.enter_context(NarrationFolder(out, run_settings(source, clip_seconds, job, rewriter)))
            if folder.dropped:
                say(f"dropped {_count(folder.dropped, 'damaged line')} of {folder.lines}; what they held is done again")
        if listing.spans:
            detector.check()
        draw = None if out is None or not picture else _Pictures(out / "pictures")
        advance = stack.enter_context(progress("narrating", len(listing.spans)))
        summary = narrate_listing(listing, job, folder, rewriter, ray, draw=draw, advance=advance)
    _show(summary, rewriter, out, json_file)
    write_json(json_file, _json(source, detector.name, summary))
    if not summary.rows:
        first = summary.failures[0] if summary.failures else f"{source} holds no clip"
        more = f" ({len(summary.failures)} failed, this is the first)" if len(summary.failures) > 1 else ""
        raise InputError(f"nothing could be narrated: {first}{more}")


class _Pictures:
    """Writes one PNG per clip."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, outcome: Outcome, narration: Narration) -> None:
        import cv2

        from palmist.view.narration_picture import draw_narration

        if outcome.frame is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        data = cv2.imencode(".png", draw_narration(outcome.frame, narration)[..., ::-1])[1].tobytes()
        (self.folder / f"{_file_name(outcome.span.uid)}.png").write_bytes(data)


def _file_name(uid: str) -> str:
    """A name that every file system takes, another one for every uid."""
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", uid).lstrip(".")[:100]
    return name if name == uid else f"{name}_{hashlib.sha256(uid.encode()).hexdigest()[:8]}"


def _show(summary: Summary, rewriter: Rewriter | None, out: Path | None, json_file: str | None) -> None:
    """The table, counts, and on stderr what failed."""
    shown = console(json_file)
    several = len({row.video_id for row in summary.rows}) > 1
    columns = [("video", "left")] * several + [("seconds", "right"), ("narration", "left")]
    columns += [("words by", "left")] * (rewriter is not None)
    rows = table(None, *columns)
    for row in summary.rows[:_MOST_ROWS]:
        text = escape(row.text) if row.seen else f"[dim]{escape(row.text)}[/]"
        cells = [escape(row.video_id)] * several + [f"{row.start:.1f} to {row.end:.1f}", text]
        rows.add_row(*cells, *[row.outcome] * (rewriter is not None))
    if summary.rows:
        shown.print(rows)
    if len(summary.rows) > _MOST_ROWS:
        shown.print(f"... and {len(summary.rows) - _MOST_ROWS} more")
    counts = [f"{_count(summary.narrated, 'clip')} narrated"]
    counts += [f"{summary.kept} there before"] * bool(summary.kept)
    counts += [f"{summary.unseen} with hands in too few frames (not in the csv)"] * bool(summary.unseen)
    counts += [f"{len(summary.failures)} failed"] * bool(summary.failures)
    shown.print(", ".join(counts), highlight=False)
    if rewriter is not None:
        shown.print("words by: " + ", ".join(f"{name} {n}" for name, n in sorted(summary.rewrites.items())), highlight=False)
        for reason, count in summary.reasons.most_common(3):
            say(f"template kept {_count(count, 'time')}: {reason}")
    if out is not None:
        shown.print(f"written: {out / 'narrations.csv'}, {out / 'narrations.jsonl'}", highlight=False, soft_wrap=True)
    for failure in summary.failures[:_MOST_FAILURES]:
        say(f"failed: {failure}")
    if len(summary.failures) > _MOST_FAILURES:
        say(f"... and {len(summary.failures) - _MOST_FAILURES} more failed")


def _json(source: str, detector: str, summary: Summary) -> dict[str, Any]:
    outcomes = Counter(row.outcome for row in summary.rows)
    return {
        "format": "palmist-narrate",
        "version": 1,
        "source": source,
        "detector": detector,
        "clips": [
            {
                "uid": row.uid, "video_id": row.video_id, "start_second": row.start, "end_second": row.end, "text": row.text,
                "words_by": row.outcome, "enough_hands": row.seen, "facts": row.facts,
            }
            for row in summary.rows
        ],
        "narrated": summary.narrated,
        "there_before": summary.kept,
        "failures": summary.failures,
        "words_by": dict(sorted(outcomes.items())),
    }  # fmt: skip


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"

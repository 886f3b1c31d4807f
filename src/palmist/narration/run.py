"""A whole run: clips in, narrations out, rewritten and written as they come; goes on where an earlier run stopped.

>>> listing = list_spans("videos")
>>> with NarrationFolder("out", run_settings(listing_options, job, rewriter)) as folder:
...     summary = narrate_listing(listing, job, folder, rewriter)
>>> summary.narrated, summary.kept, summary.failures
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from palmist.narration.many import Job, Outcome, RayOptions, narrate_many
from palmist.narration.output import LEAST_HANDS, NarrationFolder, line_of, narration_of
from palmist.narration.pipeline import Narration
from palmist.narration.rewrite import Rewrite, Rewriter
from palmist.narration.sources import Listing, Span

__all__ = ["Row", "Summary", "narrate_listing", "run_settings"]


@dataclass(frozen=True)
class Row:
    """What a table shows of one clip. outcome: of its rewriting; seen: hands in enough frames; new: of this run."""

    uid: str
    video_id: str
    start: float
    end: float
    text: str
    outcome: str
    seen: bool
    new: bool
    facts: Mapping[str, Any]

    @classmethod
    def of(cls, line: Mapping[str, Any], new: bool) -> Row:
        """From a line of narrations.jsonl."""
        return cls(
            line["uid"], line["video_id"], line["start_second"], line["end_second"], line["text"], line["rewrite"]["outcome"],
            line["hands_seen"] >= LEAST_HANDS, new, line["facts"],
        )  # fmt: skip


@dataclass
class Summary:
    """What a run did. rows: of all clips in the order of the source, done now or before; failures: one sentence each;
    rewrites: how often each outcome of rewriting came, reasons: of those that kept the template."""

    rows: list[Row] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    rewrites: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)

    @property
    def narrated(self) -> int:
        """How many clips were done in this run."""
        return sum(row.new for row in self.rows)

    @property
    def kept(self) -> int:
        """How many clips an earlier run had done."""
        return len(self.rows) - self.narrated

    @property
    def unseen(self) -> int:
        """In how many clips hands were found in too few frames."""
        return sum(not row.seen for row in self.rows)


def run_settings(source: str | Path, clip_seconds: float, job: Job, rewriter: Rewriter | None) -> dict[str, Any]:
    """All that the narrations of a run depend on; a run with others cannot go on in its folder."""
    from importlib import metadata

    files = {"weights": job.detector.weights, "detections": job.detector.detections}
    settings = json.dumps(dataclasses.asdict(job.settings), sort_keys=True, default=str)
    return {
        "palmist": metadata.version("palmist"),
        "source": Path(source).name,
        "clip_seconds": clip_seconds,
        "detector": job.detector.name,
        **{name: None if path is None else f"{path.name} {_digest(path)}" for name, path in files.items()},
        "narration": json.loads(settings),
        "rewriting": None if rewriter is None else rewriter.describe(),
    }


def narrate_listing(
    listing: Listing,
    job: Job,
    folder: NarrationFolder | None = None,
    rewriter: Rewriter | None = None,
    ray: RayOptions | None = None,
    *,
    draw: Callable[[Outcome, Narration], None] | None = None,
    advance: Callable[[str], None] = lambda name: None,
) -> Summary:
    """Narrate all clips of a listing that the folder does not have yet.

    Args:
        folder: where lines are written, one after each clip; None writes nothing.
        rewriter: says the sentences more fluently; clips whose earlier question had no answer are asked about again.
        ray: workers; None narrates in this process.
        draw: called with every new outcome and its final narration before its line is written.
        advance: called with the video's name after every clip.

    Raises:
        InputError: what no clip could be narrated with: no Ray, a wrong key of the language model. A clip's own faults are
            counted in the summary.
    """
    summary = Summary(failures=list(listing.failures))
    rows: dict[str, Row] = {}
    missing: list[Span] = []
    if folder is not None:
        folder.expect(span.uid for span in listing.spans)
    for span in listing.spans:
        if folder is None or span.uid not in folder:
            missing.append(span)
            continue
        line = folder.line(span.uid)
        if rewriter is not None and folder.outcome(span.uid) == "failed":
            narration = dataclasses.replace(narration_of(line), text=line["template"])
            line = _finished(span, narration, rewriter, summary)[1]
            folder.append(line)
        rows[span.uid] = Row.of(line, new=False)
        advance(span.video_id)
    for outcome in narrate_many(missing, job, ray):
        span = outcome.span
        if outcome.narration is None:
            summary.failures.append(f"{span.video_id} {span.start:g} to {span.end:g} s: {outcome.failure}")
        else:
            narration, line = _finished(span, outcome.narration, rewriter, summary)
            if draw is not None:
                draw(outcome, narration)
            if folder is not None:
                folder.append(line)
            rows[span.uid] = Row.of(line, new=True)
        advance(span.video_id)
    summary.rows = [rows[span.uid] for span in listing.spans if span.uid in rows]
    return summary


def _finished(
    span: Span, narration: Narration, rewriter: Rewriter | None, summary: Summary
) -> tuple[Narration, dict[str, Any]]:
    """The narration with its final text, and its line."""
    template = narration.text
    made = Rewrite(template, "template")
    if rewriter is not None:
        made = rewriter.rewrite(template, narration.facts, narration.original)
    summary.rewrites[made.outcome] += 1
    if made.reason:
        summary.reasons[f"{made.outcome}: {made.reason}"] += 1
    narration = dataclasses.replace(narration, text=made.text, rewritten=made.outcome in ("llm", "cache"))
    return narration, line_of(span, narration, template, made)


def _digest(path: Path) -> str:
    """A short mark of a file's content, or of the names and sizes in a folder."""
    sha = hashlib.sha256()
    for part in _contents(path):
        sha.update(part)
    return sha.hexdigest()[:12]


def _contents(path: Path) -> Iterator[bytes]:
    if path.is_dir():
        for file in sorted(path.rglob("*")):
            if file.is_file():
                yield f"{file.relative_to(path).as_posix()} {file.stat().st_size}\n".encode()
    else:
        with path.open("rb") as data:
            while part := data.read(1 << 20):
                yield part

"""`palmist index` and `palmist search`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from palmist.cli.options import JsonFile
from palmist.cli.output import busy, console, progress, say, table, write_json
from palmist.errors import InputError

DEFAULT_VIDEO_TEXT = "egovideo-words"


def index(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="A video, a folder of videos, a rendered folder, or a store of recordings.")
    ],
    out: Annotated[Path, typer.Option(metavar="INDEX", help="Folder of the index; a run adds to one that is there.")],
    model: Annotated[str, typer.Option("--model", "-m", help="A video-text model's name or folder.")] = DEFAULT_VIDEO_TEXT,
    clip_seconds: Annotated[float, typer.Option(metavar="SECONDS", help="How long clips are, about.")] = 4.0,
    json_file: JsonFile = None,
) -> None:
    """Make videos searchable: cut them into clips and keep a vector of each. Needs the extra 'search'."""
    run_index(source, out, model, clip_seconds, json_file)


def search(
    index_path: Annotated[Path, typer.Argument(metavar="INDEX", help="A folder made by palmist index.")],
    text: Annotated[str | None, typer.Argument(metavar="[SENTENCE]", help="For example 'right hand lifts the cup'.")] = None,
    like: Annotated[Path | None, typer.Option(metavar="VIDEO", help="Look for clips like this video instead.")] = None,
    top: Annotated[int, typer.Option(min=1, help="How many clips.")] = 10,
    model: Annotated[str | None, typer.Option("--model", "-m", help="Where the index's model lies; default: its name.")] = None,
    json_file: JsonFile = None,
) -> None:
    """Find clips in an index by a sentence or by a video. Needs the extra 'search'."""
    run_search(index_path, text, like, model, top, json_file)


def run_index(source: str, out: Path, model: str, clip_seconds: float, json_file: str | None) -> None:
    """Embed the clips of a source that an index does not have yet."""
    from palmist.inference.video_text import load_video_text
    from palmist.search import ClipIndex, index_videos

    with busy("loading the model"):  # the index remembers a folder by its whole path, so that it is found from anywhere
        embedder = load_video_text(str(Path(model).resolve()) if Path(model).is_dir() else model)
    with progress("indexing", None) as advance:
        done = index_videos(source, out, embedder, clip_seconds, advance)
    for video, why in done.left_out:
        say(f"left out {video}: {why}")
    index = ClipIndex.open(out)
    console(json_file).print(
        f"{done.added} clips added, {done.known} were in; {len(index)} in {out}, by {embedder.name}", soft_wrap=True
    )
    write_json(
        json_file,
        {
            "format": "palmist-index", "version": 1, "source": source, "index": str(out), "model": embedder.name,
            "fingerprint": embedder.fingerprint, "clips": len(index), "added": done.added, "known": done.known,
            "left_out": [{"video": video, "why": why} for video, why in done.left_out],
        },
    )  # fmt: skip


def run_search(
    index_path: Path, text: str | None, like: Path | None, model: str | None, top: int, json_file: str | None
) -> None:
    """The clips closest to a sentence, or to a video."""
    from palmist.inference.video_text import load_video_text
    from palmist.search import ClipIndex, search_like, search_text

    if (text is None) == (like is None):
        found = "neither" if text is None else "both"
        raise InputError(f"found {found} of a sentence and --like VIDEO, expected one: palmist search INDEX 'lifts the cup'")
    with busy("loading the index and its model"):
        index = ClipIndex.open(index_path)
        embedder = load_video_text(model or index.head["model"])
    hits = search_text(index, embedder, text, top) if text is not None else search_like(index, embedder, str(like), top)
    shown = table(None, ("score", "right"), ("from … to, s", "right"), ("video", "left"), ("label", "left"))
    listing: list[dict[str, Any]] = []
    for rank, (clip, score) in enumerate(hits, 1):
        shown.add_row(f"{score:.3f}", f"{clip.start:.2f} … {clip.end:.2f}", escape(clip.name), escape(clip.label or ""))
        listing.append(
            {
                "rank": rank, "score": round(score, 6), "video": clip.video, "start": clip.start, "end": clip.end,
                "name": clip.name, "label": clip.label,
            }
        )  # fmt: skip
    console(json_file).print(shown if hits else f"{index_path} holds no clips; add some with: palmist index VIDEOS --out ...")
    write_json(
        json_file,
        {
            "format": "palmist-search", "version": 1, "index": str(index_path), "model": embedder.name, "text": text,
            "like": None if like is None else str(like), "clips": len(index), "hits": listing,
        },
    )  # fmt: skip

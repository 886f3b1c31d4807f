"""Videos into an index, and questions to it: by a sentence, or by another video."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from palmist.errors import InputError
from palmist.perception.video import Video
from palmist.search.clips import FRAMES, SourceVideo, clip_frames, cut_video, find_videos, open_video, source_kind, video_digest
from palmist.search.embedder import VideoTextEmbedder
from palmist.search.index import ClipIndex, Hit, IndexedClip, IndexWriter

__all__ = ["Indexing", "index_videos", "search_like", "search_text"]

CLIP_SECONDS = 4.0


@dataclass(frozen=True)
class Indexing:
    """What a run did. added: clips embedded; known: clips that were in; left_out: (video, why) of those that cannot be read."""

    added: int
    known: int
    left_out: tuple[tuple[str, str], ...]


def index_videos(
    source: str | Path,
    out: str | Path,
    embedder: VideoTextEmbedder,
    clip_seconds: float = CLIP_SECONDS,
    progress: Callable[[str], object] | None = None,
) -> Indexing:
    """Add the videos of a source to an index; clips that are in are not embedded again, whatever their file is called.

    Args:
        source: a video, a folder of videos, a rendered folder, or recordings, which are drawn first: see `find_videos`.
        out: a new folder, or an index made with the same model and clip length. A run that was stopped, by kill -9 too, goes
            on where it was.
        embedder: the video-text model.
        clip_seconds: how long clips are, about: a video is cut evenly.
        progress: called with the name of each recording that was drawn, and of each video that is done.

    Raises:
        InputError: a source, folder or model that does not fit, or the one video given cannot be read. Of several videos
            those that cannot be read are left out and named.
        MissingExtraError: FAISS is not installed.

    Example:
        >>> index_videos("holiday_videos", "out/index", load_video_text("egovideo-words")).added
        312
    """
    out = Path(out)
    if source_kind(source) == "video":  # refused before a folder is made for it
        Video(source)
    added = known = 0
    left_out: list[tuple[str, str]] = []
    with IndexWriter(out, embedder, {"clip_seconds": float(clip_seconds), "frames": FRAMES}) as writer:
        videos = find_videos(source, out / "drawn", progress)
        for entry in videos:
            try:
                new, old = _add_video(writer, embedder, entry, clip_seconds)
                added, known = added + new, known + old
            except InputError as error:
                if len(videos) == 1:
                    raise
                left_out.append((str(entry.path), str(error)))
            if progress is not None:
                progress(entry.name)
    if len(left_out) == len(videos):
        raise InputError(f"none of the {len(videos)} videos of {source} can be indexed; the first: {left_out[0][1]}")
    return Indexing(added, known, tuple(left_out))


def _add_video(writer: IndexWriter, embedder: VideoTextEmbedder, entry: SourceVideo, clip_seconds: float) -> tuple[int, int]:
    """How many clips were added, and how many were in."""
    digest = video_digest(entry.path)
    there = writer.videos.get(digest, set())
    if writer.has_all_of(digest):
        return 0, len(there)
    video = open_video(entry.path)
    spans = cut_video(video, clip_seconds)
    missing = [span for span in spans if span.number not in there]
    for span in missing:
        clip = IndexedClip(
            str(entry.path), digest, span.number, len(spans), round(span.start, 6), round(span.end, 6), entry.name, entry.label
        )
        writer.add(clip, embedder.embed_clip(clip_frames(video, span)))
    return len(missing), len(spans) - len(missing)


def search_text(index: ClipIndex, embedder: VideoTextEmbedder, text: str, top: int = 10) -> list[Hit]:
    """The clips whose vectors lie closest to a sentence's.

    Raises:
        InputError: an empty sentence, top below 1, or the index was made with another model.

    Example:
        >>> search_text(ClipIndex.open("out/index"), load_video_text("egovideo-words"), "right hand lifts the cup")[0].score
        0.41
    """
    index.refuse_other_model(embedder)
    if not isinstance(text, str) or not text.strip():
        raise InputError(f"found the query {text!r}, expected a sentence such as 'right hand lifts the cup'")
    return index.search(embedder.embed_texts([text]), top)[0]


def search_like(index: ClipIndex, embedder: VideoTextEmbedder, video: str | Path, top: int = 10) -> list[Hit]:
    """The clips most like a video: it is cut as the indexed ones were, and each clip's score is its best over those pieces.
    The video's own clips are among the hits where it is indexed itself.

    Raises:
        InputError: a video that cannot be read, top below 1, or the index was made with another model.
    """
    index.refuse_other_model(embedder)
    opened = open_video(Path(video))
    spans = cut_video(opened, float(_cutting(index)["clip_seconds"]))
    queries = np.stack([embedder.embed_clip(clip_frames(opened, span)) for span in spans])
    best: dict[IndexedClip, float] = {}
    for hit in (hit for hits in index.search(queries, top) for hit in hits):
        best[hit.clip] = max(hit.score, best.get(hit.clip, -2.0))
    return sorted((Hit(clip, score) for clip, score in best.items()), key=lambda hit: -hit.score)[:top]


def _cutting(index: ClipIndex) -> dict[str, Any]:
    cutting = dict(index.head["cutting"])
    if not isinstance(cutting.get("clip_seconds"), float):
        raise InputError(f"{index.path / 'index.json'} is damaged at 'cutting'; make the index again with palmist index")
    return cutting

"""An index of clips on disk: vectors in FAISS, and beside them where each clip is found.

    index.json                 format, version, model, fingerprint of its weights, dimension, how videos were cut
    segments/000001.faiss      vectors of some clips: a flat FAISS index of inner products
    segments/000001.json       the clips in the same order, and the checksum of the vectors
    drawn/                     videos drawn from a store of recordings, if one was indexed

A segment counts when its .json is there: that is written after its vectors, both whole under another name first. So a run
that is killed at any moment leaves an index that can be read and appended to; what it had not written yet is embedded again.
Small segments are put together when a later run begins to write.

Why FAISS (faiss-cpu 1.15, MIT) and not LanceDB 0.40 (Apache-2.0), both tried on Python 3.11: FAISS takes 65 MB and needs
little else, LanceDB 446 MB with pyarrow and what that brings; importing takes 0.07 against 1.5 seconds of one core; both have
wheels. LanceDB appends by itself (what a crash does to it was not tried), FAISS writes one file at a time: the segments above
are the price.
Search is exact: every clip is compared.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import UnionType
from typing import Any, NamedTuple, Self

import numpy as np

from palmist.errors import InputError, MissingExtraError
from palmist.files.folder_lock import lock_folder
from palmist.files.input_files import one_line, read_json, read_text
from palmist.files.whole_file import write_whole
from palmist.search.embedder import VideoTextEmbedder

__all__ = ["ClipIndex", "Hit", "IndexWriter", "IndexedClip"]

FORMAT = "palmist-clip-index"
VERSION = 1
SEGMENT = 1024  # clips of a segment that is left alone
_UNFINISHED = "index.json.part"  # all that a run leaves that is killed at its very start
_MANY = 16  # small segments that are put together
_SECONDS = 20.0  # of embedding, at most, that a killed run loses


_CLIP_FIELDS: dict[str, type | UnionType] = {
    "video": str, "digest": str, "number": int, "of": int, "start": int | float, "end": int | float, "name": str,
    "label": str | None,
}  # fmt: skip


@dataclass(frozen=True)
class IndexedClip:
    """Where a clip is found.

    video: path of the file. digest: of the video's bytes, so that it is known again under another path. number, of: which
    of how many clips of the video. start, end: seconds on the video's own clock. name: of the recording or the file within
    its folder; label: where one is known.
    """

    video: str
    digest: str
    number: int
    of: int
    start: float
    end: float
    name: str
    label: str | None = None


class Hit(NamedTuple):
    """A clip that was found; score: cosine of the angle between its vector and the query's, -1 to 1."""

    clip: IndexedClip
    score: float


@dataclass(frozen=True)
class _Segment:
    number: int
    clips: tuple[IndexedClip, ...]
    vectors: np.ndarray  # (n, E) float32


class ClipIndex:
    """An index opened for reading: a fixed view; clips that are added meanwhile are seen when it is opened again.

    Example:
        >>> index = ClipIndex.open("out/index")
        >>> index.refuse_other_model(reader)
        >>> index.search(reader.embed_texts(["right hand lifts the cup"]), top=5)[0][0].clip.video
        '/videos/kitchen.mp4'
    """

    def __init__(self, path: Path, head: Mapping[str, Any], segments: Sequence[_Segment]) -> None:
        self.path, self.head = path, dict(head)
        self.clips: tuple[IndexedClip, ...] = tuple(clip for segment in segments for clip in segment.clips)
        self._flat = _faiss().IndexFlatIP(self.dimension)
        for segment in segments:
            self._flat.add(segment.vectors)

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Read an index.

        Raises:
            InputError: the folder is no index, of a version that is not known, or damaged.
            MissingExtraError: FAISS is not installed.
        """
        path = Path(path)
        head = _read_head(path)
        if head is None:
            raise InputError(f"{path} is no index of clips (no index.json); make one with: palmist index VIDEOS --out {path}")
        return cls(path, head, _read_segments(path, int(head["dimension"])))

    @property
    def dimension(self) -> int:
        return int(self.head["dimension"])

    def __len__(self) -> int:
        return len(self.clips)

    def refuse_other_model(self, embedder: VideoTextEmbedder) -> None:
        """InputError when the index was made with another model: its vectors mean nothing to this one."""
        _refuse_other_model(self.path, self.head, embedder)

    def search(self, queries: np.ndarray, top: int = 10) -> list[list[Hit]]:
        """The closest clips.

        Args:
            queries: (Q, E) float32, rows of norm 1.
            top: hits per query, at most; fewer where the index holds fewer clips.

        Returns:
            One list per query, the best hit first.

        Raises:
            InputError: queries of another shape, or top below 1.
        """
        queries = np.ascontiguousarray(queries, np.float32)
        if queries.ndim != 2 or queries.shape[1] != self.dimension or not np.isfinite(queries).all():
            raise InputError(
                f"queries have shape {queries.shape}, expected (N, {self.dimension}) finite numbers; embed them with "
                f"the model of the index, {self.head['model']}"
            )
        if top < 1:
            raise InputError(f"found top {top}, expected at least 1 hit")
        if not len(self) or not len(queries):
            return [[] for _ in queries]
        scores, places = self._flat.search(queries, min(top, len(self)))
        found = []
        for row_scores, row_places in zip(scores, places, strict=True):
            order = np.lexsort((row_places, -row_scores))  # of equal scores the clip that comes first in the index
            found.append([Hit(self.clips[row_places[place]], float(row_scores[place])) for place in order])
        return found


class IndexWriter:
    """An index opened for adding clips; made when it is not there. One at a time per folder; use it in a `with` statement.

    `videos`: digest -> numbers of the clips that are in.

    Raises:
        InputError: the folder is something else, belongs to another model or another way of cutting, or is being written.
        MissingExtraError: FAISS is not installed.

    Example:
        >>> with IndexWriter("out/index", reader, {"clip_seconds": 4.0}) as writer:
        ...     writer.add(clip, reader.embed_clip(frames))
    """

    def __init__(self, path: str | Path, embedder: VideoTextEmbedder, cutting: Mapping[str, Any]) -> None:
        self.path = Path(path)
        _faiss()
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"{self.path} is a file; expected a new or empty folder for the index")
        self.path.mkdir(parents=True, exist_ok=True)
        self.videos: dict[str, set[int]] = {}
        self._of: dict[str, int] = {}
        self._waiting: list[tuple[IndexedClip, np.ndarray]] = []
        self._next = 1
        self._lock = lock_folder(self.path)
        try:
            self._begin(embedder, dict(cutting))
        except BaseException:
            self._unlock()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.flush()
        finally:
            self._unlock()

    def add(self, clip: IndexedClip, vector: np.ndarray) -> None:
        """Add a clip; it is on disk after `flush`, which comes by itself after 1,024 clips or 20 seconds, and at the end.

        Raises InputError for a vector that is not (E,), finite and of norm 1, or a clip that is in already.
        """
        vector = np.asarray(vector, np.float32)
        E = int(self.head["dimension"])
        if vector.shape != (E,) or not np.isclose(np.linalg.norm(vector), 1, atol=1e-2):
            raise InputError(
                f"the vector of {clip.name} has shape {vector.shape} and norm {np.linalg.norm(vector):.3g}, expected ({E},) "
                "and 1; the model is damaged, or does not give unit vectors"
            )
        if clip.number in self.videos.get(clip.digest, ()):
            raise InputError(f"clip {clip.number} of {clip.video} is in {self.path} already; leave it out")
        self._note(clip)
        self._waiting.append((clip, vector))
        if len(self._waiting) >= SEGMENT or time.monotonic() - self._written > _SECONDS:
            self.flush()

    def has_all_of(self, digest: str) -> bool:
        """Whether every clip of a video is in."""
        return digest in self.videos and len(self.videos[digest]) >= self._of[digest]

    def flush(self) -> None:
        """Write what was added."""
        if self._waiting:
            clips, vectors = zip(*self._waiting, strict=True)
            _write_segment(self.path, _Segment(self._next, clips, np.stack(vectors)), ())
            self._waiting, self._next = [], self._next + 1
        self._written = time.monotonic()

    def _begin(self, embedder: VideoTextEmbedder, cutting: dict[str, Any]) -> None:
        """Read what is there, or make the head of a new index."""
        head = _read_head(self.path)
        if head is None:
            if {file.name for file in self.path.iterdir()} - {_UNFINISHED}:
                raise InputError(f"{self.path} exists and is no index of clips; expected a new or empty folder")
            head = {
                "format": FORMAT, "version": VERSION, "model": embedder.name, "fingerprint": embedder.fingerprint,
                "dimension": embedder.dimension, "cutting": cutting,
            }  # fmt: skip
            write_whole(self.path / "index.json", json.dumps(head, ensure_ascii=False, indent=1).encode() + b"\n")
        _refuse_other_model(self.path, head, embedder)
        if head["cutting"] != cutting:
            raise InputError(
                f"{self.path} was made with {_words(head['cutting'])}, not {_words(cutting)}; pass the same to go on, "
                "or choose another folder"
            )
        self.head = head
        (self.path / "segments").mkdir(exist_ok=True)
        segments = self._tidy(_read_segments(self.path, embedder.dimension))
        for clip in (clip for segment in segments for clip in segment.clips):
            self._note(clip)
        self._next = max((segment.number for segment in segments), default=0) + 1
        self._written = time.monotonic()

    def _note(self, clip: IndexedClip) -> None:
        self.videos.setdefault(clip.digest, set()).add(clip.number)
        self._of[clip.digest] = clip.of

    def _tidy(self, segments: list[_Segment]) -> list[_Segment]:
        """Take away what a killed run left unfinished, and put many small segments together."""
        kept = {segment.number for segment in segments}
        for file in (self.path / "segments").iterdir():
            if file.name.endswith(".part") or not file.stem.isdigit() or int(file.stem) not in kept:
                file.unlink()
        small = [segment for segment in segments if len(segment.clips) < SEGMENT]
        if len(small) < _MANY:
            return segments
        number = max(kept) + 1
        clips = tuple(clip for segment in small for clip in segment.clips)
        joined = _Segment(number, clips, np.concatenate([segment.vectors for segment in small]))
        _write_segment(self.path, joined, [segment.number for segment in small])
        for segment in small:
            for suffix in (".json", ".faiss"):
                _segment_file(self.path, segment.number, suffix).unlink()
        return [segment for segment in segments if len(segment.clips) >= SEGMENT] + [joined]

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


# --------------------------------------------------------------------------------------------------------------------
# Files


def _faiss() -> Any:
    try:
        import faiss
    except ImportError as error:
        raise MissingExtraError("search", "an index of clips") from error
    return faiss


def _read_head(path: Path) -> dict[str, Any] | None:
    """index.json; None when there is none. InputError when it is something else."""
    file = path / "index.json"
    if not file.is_file():
        return None
    head = read_json(file, "the head of an index that palmist index made")
    if not isinstance(head, dict) or head.get("format") != FORMAT:
        raise InputError(f"{file} does not name the format '{FORMAT}'; expected a folder that palmist index made")
    if head.get("version") != VERSION:
        raise InputError(
            f"{path} is an index of version {head.get('version')}; this Palmist reads version {VERSION}; "
            "update it with: pip install -U palmist, or make the index again with palmist index"
        )
    wanted = {"model": str, "fingerprint": str, "dimension": int, "cutting": dict}
    wrong = next((key for key, kind in wanted.items() if type(head.get(key)) is not kind), None)
    if wrong is not None or head["dimension"] < 1:
        raise InputError(f"{file} is damaged at '{wrong or 'dimension'}'; make the index again with palmist index")
    return head


def _refuse_other_model(path: Path, head: Mapping[str, Any], embedder: VideoTextEmbedder) -> None:
    if (embedder.fingerprint, embedder.dimension) != (head["fingerprint"], head["dimension"]):
        raise InputError(
            f"{path} was made with the model {head['model']} (weights {head['fingerprint']}), not {embedder.name} (weights "
            f"{embedder.fingerprint}); take that model, or make another index with palmist index --model {embedder.name}"
        )


def _words(cutting: Mapping[str, Any]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in cutting.items())


def _segment_file(path: Path, number: int, suffix: str) -> Path:
    return path / "segments" / f"{number:06d}{suffix}"


def _read_segments(path: Path, dimension: int) -> list[_Segment]:
    """All segments that count, in the order of their numbers."""
    listed: dict[int, tuple[Path, tuple[IndexedClip, ...], str]] = {}
    replaced: set[int] = set()
    for file in sorted((path / "segments").glob("*.json")):
        if not (file.stem.isascii() and file.stem.isdigit()):
            continue  # what a file manager leaves
        try:
            facts = json.loads(read_text(file, "the clips of a segment"))
            replaced.update(int(number) for number in facts["replaces"])
            clips = tuple(_checked(IndexedClip(**clip)) for clip in facts["clips"])
            listed[int(file.stem)] = (file.with_suffix(".faiss"), clips, str(facts["sha256"]))
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise InputError(f"{file} is damaged ({one_line(error)}); make the index again with palmist index") from error
    return [
        _Segment(number, clips, _read_vectors(file, checksum, (len(clips), dimension)))
        for number, (file, clips, checksum) in sorted(listed.items())
        if number not in replaced
    ]


def _checked(clip: IndexedClip) -> IndexedClip:
    """The clip itself; ValueError for a field of another type or times that cannot be."""
    for name, kind in _CLIP_FIELDS.items():
        value = getattr(clip, name)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise ValueError(f"{name} is {value!r}")
    if not (0 <= clip.number < clip.of and -math.inf < clip.start < clip.end < math.inf):
        raise ValueError(f"clip {clip.number} of {clip.of}, from {clip.start} to {clip.end} s")
    return clip


def _read_vectors(file: Path, checksum: str, shape: tuple[int, int]) -> np.ndarray:
    data = file.read_bytes() if file.is_file() else b""
    if hashlib.sha256(data).hexdigest() != checksum:  # checked before FAISS reads a byte of it
        what = "has changed since it was written" if data else "is missing or empty"
        raise InputError(f"{file} {what}; copy the index again, or make it again with palmist index")
    flat = _faiss().deserialize_index(np.frombuffer(data, np.uint8))
    if (flat.ntotal, flat.d) != shape:
        raise InputError(f"{file} holds {flat.ntotal} vectors of {flat.d} numbers, expected {shape}; make the index again")
    vectors: np.ndarray = flat.reconstruct_n(0, flat.ntotal)
    return vectors


def _write_segment(path: Path, segment: _Segment, replaces: Sequence[int]) -> None:
    """Vectors first, the list of clips last: with it the segment counts."""
    faiss = _faiss()
    flat = faiss.IndexFlatIP(segment.vectors.shape[1])
    flat.add(np.ascontiguousarray(segment.vectors, np.float32))
    data = faiss.serialize_index(flat).tobytes()
    facts = {
        "clips": [asdict(clip) for clip in segment.clips], "sha256": hashlib.sha256(data).hexdigest(),
        "replaces": list(replaces),
    }  # fmt: skip
    write_whole(_segment_file(path, segment.number, ".faiss"), data)
    write_whole(_segment_file(path, segment.number, ".json"), json.dumps(facts, ensure_ascii=False).encode())

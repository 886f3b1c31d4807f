"""Rendered recordings on disk: a folder of videos with their truth, and an index that makes it a data set.

    index.json              format, version, settings, seed, source, complete, and per clip name, label, subject, frames, ...
    clips/NAME.mp4          H.264, S x S, constant frame rate
    clips/NAME.npz          the truth, see palmist.render.Truth

A clip counts when its truth is there: it is written after its video, and both get their names only when they are whole.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from types import UnionType
from typing import Any

from palmist.errors import InputError
from palmist.files.input_files import damage_named, read_json
from palmist.perception.video_writer import write_video
from palmist.recording import Recording
from palmist.render.clip import render_clip
from palmist.render.settings import RenderSettings, random_stream
from palmist.render.stage import NothingToDrawError
from palmist.render.truth import Truth, main_label, read_truth, write_truth

__all__ = ["RenderedClip", "choose", "read_rendered", "render_folder", "source_recordings"]

FORMAT = "palmist-rendered"
VERSION = 1
_QUALITY = 16  # H.264's constant rate factor: a little finer than for looking at
_INDEX_EVERY = 64  # clips between two writings of the index


@dataclass(frozen=True)
class RenderedClip:
    """One entry of a rendered folder: paths of video and truth, and what the index says without opening them."""

    name: str
    video: Path
    truth_file: Path
    label: str | None
    subject: str | None
    frames: int
    rate: float
    size: int
    splits: dict[str, str]

    def truth(self) -> Truth:
        """Everything that is known about the clip."""
        return read_truth(self.truth_file)


def source_recordings(source: str) -> list[Recording]:
    """Recordings of what a user typed: the name of an open set, a store's folder or one .npz file."""
    from palmist.readers import OPEN_SETS, open_data
    from palmist.store import open_source

    if source in OPEN_SETS:
        return open_data(source)
    if not Path(source).exists():
        raise InputError(
            f"'{source}' is neither a file or folder nor an open set; expected one of {', '.join(OPEN_SETS)}, "
            "a store made by palmist prepare, or a recording (.npz)"
        )
    return list(open_source(source))


def choose(recordings: Sequence[Recording], subjects: Sequence[str] | None, limit: int | None) -> list[Recording]:
    """The recordings of the given people (None: everybody), or `limit` of them, evenly spaced: neighbours are often alike.

    Raises InputError for a subject that nobody is.
    """
    chosen = list(recordings)
    if subjects is not None:
        wanted = {subject.strip() for subject in subjects}
        known = {recording.subject for recording in recordings if recording.subject}
        if wanted - known:
            there = ", ".join(sorted(known)) or "none"
            raise InputError(f"no recording is of subject {', '.join(sorted(wanted - known))}; the subjects are: {there}")
        chosen = [recording for recording in chosen if recording.subject in wanted]
    if limit is None or limit >= len(chosen):
        return chosen
    return [chosen[i * len(chosen) // limit] for i in range(limit)]


def render_folder(
    recordings: Sequence[Recording],
    out: str | Path,
    settings: RenderSettings | None = None,
    seed: int = 0,
    jobs: int = 1,
    source: str | None = None,
    progress: Callable[[str], object] | None = None,
) -> dict[str, Any]:
    """Draw recordings into a folder; what an earlier run with the same settings finished is kept.

    Recordings of which nothing is known are left out and named in the index.

    Args:
        out: a new folder, an empty one, or one that this function made with the same settings and seed.
        jobs: processes to draw with. source: written into the index. progress: called with each clip's name.

    Returns:
        The index as written.

    Raises:
        InputError: the folder holds something else or other settings; a name occurs twice; there is no recording.
    """
    out, settings = Path(out), settings or RenderSettings()
    if not recordings:
        raise InputError("there is no recording to draw; expected at least one (look at --subjects and --limit)")
    if jobs < 1:
        raise InputError(f"jobs is {jobs}; expected a number of processes, 1 or more")
    random_stream(seed, "order", "")  # refuses a wrong seed before anything is written
    stems = [_stem(recording.name) for recording in recordings]
    if len(set(stems)) < len(stems):
        twice = next(stem for i, stem in enumerate(stems) if stem in stems[:i])
        raise InputError(
            f"two recordings are called '{twice}'; expected unique names; rename one with recording.replace(name=...)"
        )
    head = {"format": FORMAT, "version": VERSION, "source": source, "seed": seed, "settings": settings.to_json()}
    entries = _resume(out, head)
    (out / "clips").mkdir(parents=True, exist_ok=True)
    _write_index(out, head, entries, complete=False)
    waiting = []
    for recording, stem in zip(recordings, stems, strict=True):
        if stem in entries and _is_whole(out, entries[stem]):
            if progress is not None:
                progress(recording.name)
        else:
            entries.pop(stem, None)
            waiting.append((recording, stem))
    for count, (stem, entry) in enumerate(_draw_all(waiting, out, settings, seed, jobs), 1):
        entries[stem] = entry
        if progress is not None:
            progress(entry["name"])
        if count % _INDEX_EVERY == 0:
            _write_index(out, head, entries, complete=False)
    return _write_index(out, head, entries, complete=True)


def read_rendered(folder: str | Path) -> Iterator[RenderedClip]:
    """The clips of a rendered folder, in the order of their names. Read-only; also works on one that is not complete.

    Raises InputError when the folder is not one that `palmist render` made, or of a version that is not known.

    >>> for clip in read_rendered("out/rendered"):
    ...     print(clip.video, clip.label, clip.truth().joints.shape)
    """
    folder = Path(folder)
    index = _read_index(folder)
    if index is None:
        raise InputError(f"{folder} is no rendered folder (no index.json); expected one made by palmist render")
    for entry in index["clips"]:
        if "left_out" not in entry:
            yield RenderedClip(
                entry["name"], folder / entry["video"], folder / entry["truth"], entry["label"], entry["subject"],
                entry["frames"], entry["rate"], index["settings"]["size"], entry["splits"],
            )  # fmt: skip


# --------------------------------------------------------------------------------------------------------------------
# Drawing


def _stem(name: str) -> str:
    """A file name for a recording's name: letters, digits, dot, dash and underscore."""
    return "".join(c if c.isalnum() or c in "._-" else "_" for c in name).lstrip(".") or "clip"


def _draw(recording: Recording, stem: str, out: Path, settings: RenderSettings, seed: int) -> tuple[str, dict[str, Any]]:
    """Draw one clip into its two files, the truth last, and return its index entry."""
    name = recording.name
    try:
        clip = render_clip(recording, settings, seed)
    except NothingToDrawError as error:
        return stem, {"name": name, "left_out": str(error)}
    facts = clip.truth.metadata
    video, truth = f"clips/{stem}.mp4", f"clips/{stem}.npz"
    write_video(out / video, clip.frames, rate=facts["rate"], quality=_QUALITY)
    write_truth(out / truth, clip.truth)
    return stem, {
        "name": name, "label": main_label(recording), "subject": recording.subject, "frames": len(clip.frames),
        "rate": facts["rate"], "background": facts["background"], "splits": facts["splits"], "licence": facts["licence"],
        "video": video, "truth": truth,
    }  # fmt: skip


def _draw_all(
    waiting: list[tuple[Recording, str]], out: Path, settings: RenderSettings, seed: int, jobs: int
) -> Iterator[tuple[str, dict[str, Any]]]:
    if jobs == 1 or len(waiting) < 2:
        for recording, stem in waiting:
            yield _draw(recording, stem, out, settings, seed)
        return
    # "spawn": a forked child would inherit the locks of threads that it does not have.
    with ProcessPoolExecutor(min(jobs, len(waiting)), get_context("spawn"), initializer=_one_thread) as pool:
        running: set[Future[tuple[str, dict[str, Any]]]] = set()
        for recording, stem in waiting:
            if len(running) >= 4 * jobs:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
            running.add(pool.submit(_draw, recording, stem, out, settings, seed))
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()


def _one_thread() -> None:
    import cv2

    cv2.setNumThreads(1)


# --------------------------------------------------------------------------------------------------------------------
# The index


def _read_index(folder: Path) -> dict[str, Any] | None:
    """The index of a rendered folder; None when there is none. InputError when it is something else."""
    file = folder / "index.json"
    if not file.is_file():
        return None
    index = read_json(file, "the index of a folder made by palmist render")
    if not isinstance(index, dict) or index.get("format") != FORMAT:
        raise InputError(f"{file} does not name the format '{FORMAT}'; expected a folder made by palmist render")
    if index.get("version") != VERSION:
        raise InputError(
            f"{folder} is a rendered folder of version {index.get('version')}; this Palmist reads version {VERSION}; "
            "draw it again with palmist render"
        )
    with damage_named(file, "the index of a folder made by palmist render"):
        _check_index(index)
    return index


def _check_index(index: dict[str, Any]) -> None:
    """LookupError, TypeError or ValueError for an index that palmist render did not write so."""
    missing = {"source", "seed", "settings", "clips"} - set(index)
    if missing or not isinstance(index["settings"]["size"], int) or not isinstance(index["clips"], list):
        raise ValueError(f"no {', '.join(sorted(missing)) or 'size or list of clips'}")
    for entry in index["clips"]:
        if not isinstance(entry["name"], str):
            raise ValueError(f"the name {entry['name']!r}")
        if "left_out" in entry:
            continue
        for key, kind in _ENTRY.items():
            if not isinstance(entry[key], kind) or isinstance(entry[key], bool):
                raise ValueError(f"{key} of {entry['name']!r} is {entry[key]!r}")
        if not (entry["frames"] > 0 and 0 < entry["rate"] < 1e6):
            raise ValueError(f"{entry['frames']} frames at {entry['rate']} per second")
        places = [Path(entry["video"]), Path(entry["truth"])]
        if any(place.is_absolute() or ".." in place.parts for place in places):
            raise ValueError(f"the files {entry['video']!r} and {entry['truth']!r}, outside the folder")


_ENTRY: dict[str, type | UnionType] = {
    "video": str, "truth": str, "label": str | None, "subject": str | None, "frames": int, "rate": int | float, "splits": dict,
}  # fmt: skip


def _resume(out: Path, head: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Entries by file name of an earlier run with the same head, those included that its index does not name yet."""
    index = _read_index(out) if out.is_dir() else None
    if index is None:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise InputError(f"{out} exists and was not made by palmist render; expected a new or empty folder")
        return {}
    for key in ("source", "seed", "settings"):
        if index[key] != head[key]:
            found, wanted = index[key], head[key]
            if key == "settings":
                names = [name for name in {**found, **wanted} if found.get(name) != wanted.get(name)]
                found, wanted = ({name: side.get(name) for name in names} for side in (found, wanted))
            raise InputError(
                f"{out} was drawn with {key} {found}, not {wanted}; pass the same to go on, or choose another folder"
            )
    entries = {_stem(entry["name"]): entry for entry in index["clips"] if "left_out" not in entry}
    for file in sorted((out / "clips").glob("*.npz")):
        if file.stem not in entries:  # finished after the index was last written
            facts = read_truth(file)
            meta = facts.metadata
            entries[file.stem] = {
                "name": meta["name"], "label": meta["label"], "subject": meta["subject"], "frames": len(facts.time),
                "rate": meta["rate"], "background": meta["background"], "splits": meta["splits"],
                "licence": meta["licence"], "video": f"clips/{file.stem}.mp4", "truth": f"clips/{file.name}",
            }  # fmt: skip
    return entries


def _is_whole(out: Path, entry: dict[str, Any]) -> bool:
    return (out / entry["video"]).is_file() and (out / entry["truth"]).is_file()


def _write_index(out: Path, head: dict[str, Any], entries: dict[str, dict[str, Any]], complete: bool) -> dict[str, Any]:
    """Write index.json in one step; returns what it holds."""
    index = {**head, "complete": complete, "clips": [entries[stem] for stem in sorted(entries)]}
    unfinished = out / "index.json.part"
    unfinished.write_text(json.dumps(index, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    unfinished.replace(out / "index.json")
    return index

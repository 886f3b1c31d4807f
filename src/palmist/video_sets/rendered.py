"""Open recordings drawn as video (`palmist.render`) once at the start, and kept in memory or in a folder as 8-bit frames."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from palmist import render
from palmist.config import build_config
from palmist.errors import InputError
from palmist.readers import open_data
from palmist.recording import Recording
from palmist.render import RenderSettings, render_clip
from palmist.splits import recordings_of
from palmist.video_sets.videos import MemoryVideos

__all__ = ["RenderedConfig", "rendered_videos"]


@dataclass(frozen=True)
class RenderedConfig:
    """recordings: an open set's name; subjects: people, None for all; limit: at most so many recordings, evenly spaced; seed:
    of looks, backgrounds and cameras; settings: of `palmist.render.RenderSettings`, where `tracks` is 0 unless it is given:
    with tracks, those of a drawing are kept with its frames. folder: where drawings without tracks stay for the next time,
    None for nowhere; they are drawn again when anything above or the drawing code changes."""

    recordings: str = "asl_words"
    subjects: tuple[str, ...] | None = None
    limit: int | None = None
    seed: int = 0
    settings: dict[str, Any] = field(default_factory=dict)
    folder: str | None = None


def rendered_videos(config: RenderedConfig) -> MemoryVideos:
    """Draw the recordings; a progress bar on stderr tells how far it is.

    Labels are those of all recordings of the set, sorted, whoever was chosen. Raises InputError for an unknown set or person, a
    recording without a label, or wrong settings.
    """
    settings = build_config(RenderSettings, {"tracks": 0, **config.settings}, "settings")
    everything = open_data(config.recordings)
    labels = tuple(sorted({segment.label for recording in everything for segment in recording.segments}))
    chosen = [recording for recording in recordings_of(everything, config.subjects) if recording.segments]
    if not chosen:
        people = sorted({str(recording.subject) for recording in everything})
        found = f"{config.recordings} has no labelled recording of {config.subjects}"
        raise InputError(f"{found}; expected some of {', '.join(people)}")
    if config.limit is not None and config.limit < len(chosen):
        chosen = [chosen[place] for place in np.linspace(0, len(chosen) - 1, max(1, config.limit)).round().astype(int)]
    tracks: list[tuple[np.ndarray, np.ndarray]] | None = [] if settings.tracks else None
    kept = None if config.folder is None or settings.tracks else _kept_at(Path(config.folder), chosen, settings, config.seed)
    if kept is not None and kept.with_suffix(".json").is_file():
        frames, numbers = _read_kept(kept)
    else:
        frames, numbers = _draw(chosen, settings, config, tracks)
        if kept is not None and frames:
            _keep(kept, frames, numbers)
            frames, numbers = _read_kept(kept)
    drawn = [chosen[number] for number in numbers]
    return MemoryVideos(
        frames,
        [recording.segments[0].label for recording in drawn],
        labels,
        names=[recording.name for recording in drawn],
        rate=drawn[0].rate if drawn else None,
        tracks=tracks,
        subjects=[recording.subject for recording in drawn],
    )


def _draw(
    chosen: Sequence[Recording],
    settings: RenderSettings,
    config: RenderedConfig,
    tracks: list[tuple[np.ndarray, np.ndarray]] | None,
) -> tuple[list[np.ndarray], list[int]]:
    """Frames of the recordings in which anything is known, and their places in `chosen`; `tracks` is filled beside them."""
    from rich.console import Console
    from rich.progress import track

    frames, numbers = [], []
    title = f"drawing {len(chosen)} recordings of {config.recordings}"
    for number, recording in enumerate(track(chosen, title, console=Console(stderr=True), transient=True)):
        try:
            clip = render_clip(recording, settings, config.seed)
        except InputError:
            continue  # neither hand nor body is known in any frame
        frames.append(clip.frames)
        numbers.append(number)
        if tracks is not None:
            tracks.append((clip.truth.tracks, clip.truth.tracks_visible))
    return frames, numbers


def _kept_at(folder: Path, chosen: Sequence[Recording], settings: RenderSettings, seed: int) -> Path:
    """The file of these drawings, named by all that they depend on."""
    facts = [settings.to_json(), seed, [(recording.name, len(recording)) for recording in chosen]]
    key = hashlib.sha256(json.dumps(facts).encode())
    for source in sorted(Path(render.__file__).parent.glob("*.py")):
        key.update(source.read_bytes())
    return folder / f"drawn-{key.hexdigest()[:24]}.npy"


def _keep(path: Path, frames: Sequence[np.ndarray], numbers: Sequence[int]) -> None:
    """All frames one after the other; the list that says what they are comes last, so that half a file is never read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part.npy")
    np.save(unfinished, np.concatenate(frames))
    unfinished.replace(path)
    path.with_suffix(".json").write_text(json.dumps({"numbers": list(numbers), "lengths": [len(video) for video in frames]}))


def _read_kept(path: Path) -> tuple[list[np.ndarray], list[int]]:
    """What `_keep` wrote, the frames mapped from disk. InputError for a damaged file."""
    try:
        facts = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        everything = np.load(path, mmap_mode="r", allow_pickle=False)
        if sum(facts["lengths"]) != len(everything):
            raise ValueError(f"{len(everything)} frames instead of {sum(facts['lengths'])}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"the drawings in {path} cannot be read ({error}); delete the file, they are drawn again") from error
    return np.split(everything, np.cumsum(facts["lengths"])[:-1]), facts["numbers"]

"""Open recordings drawn as video (`palmist.render`) once at the start, and kept in memory as 8-bit frames."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from palmist.config import build_config
from palmist.errors import InputError
from palmist.readers import open_data
from palmist.render import RenderSettings, render_clip
from palmist.splits import recordings_of
from palmist.video_sets.videos import MemoryVideos

__all__ = ["RenderedConfig", "rendered_videos"]


@dataclass(frozen=True)
class RenderedConfig:
    """recordings: an open set's name; subjects: people, None for all; limit: at most so many recordings, evenly spaced; seed:
    of looks, backgrounds and cameras; settings: of `palmist.render.RenderSettings`, where `tracks` is 0 unless it is given:
    with tracks, those of a drawing are kept with its frames."""

    recordings: str = "asl_words"
    subjects: tuple[str, ...] | None = None
    limit: int | None = None
    seed: int = 0
    settings: dict[str, Any] = field(default_factory=dict)


def rendered_videos(config: RenderedConfig) -> MemoryVideos:
    """Draw the recordings; a progress bar on stderr tells how far it is.

    Labels are those of all recordings of the set, sorted, whoever was chosen. Raises InputError for an unknown set or person, a
    recording without a label, or wrong settings.
    """
    from rich.console import Console
    from rich.progress import track

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
    frames, drawn, tracks = [], [], []
    title = f"drawing {len(chosen)} recordings of {config.recordings}"
    for recording in track(chosen, title, console=Console(stderr=True), transient=True):
        try:
            clip = render_clip(recording, settings, config.seed)
        except InputError:
            continue  # neither hand nor body is known in any frame
        frames.append(clip.frames)
        drawn.append(recording)
        tracks.append((clip.truth.tracks, clip.truth.tracks_visible))
    return MemoryVideos(
        frames,
        [recording.segments[0].label for recording in drawn],
        labels,
        names=[recording.name for recording in drawn],
        rate=drawn[0].rate if drawn else None,
        tracks=tracks if settings.tracks else None,
        subjects=[recording.subject for recording in drawn],
    )

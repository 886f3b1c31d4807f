"""Point tracks of the videos of a set: made once, kept in a file beside the video, in a folder, or in memory.

>>> reader = TrackReader(videos, TrackConfig())
>>> points, visible = reader.read(3, videos.open(3), (240, 320))     # (T, 900, 2) pixels, (T, 900), all frames of the video

Letters: T frames of the video, P points.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from palmist.config import build_config
from palmist.errors import InputError
from palmist.perception.points import LucasKanade, PointTracker
from palmist.perception.stored_tracks import Queries, foreground_points, named_generator, stored_tracks, track
from palmist.perception.video import Frame
from palmist.video_sets.videos import MemoryVideos, OpenVideo, StoredVideos, Videos

__all__ = ["TRACKERS", "TrackConfig", "TrackReader"]

TRACKERS = ("lucas_kanade", "cotracker", "truth")
_AT_ONCE = 64  # frames that are decoded together
_MOST_MEMORY = 2 << 30  # bytes of tracks that are kept in memory


@dataclass(frozen=True)
class TrackConfig:
    """Which points are followed, by what, and where the tracks are kept.

    tracker: "lucas_kanade" with `settings` (`palmist.perception.points.LucasKanade`); "cotracker" from the local file `weights`
    on `device`; "truth": the points of a drawing where they really are, an oracle that no video has. points, seed: of the first
    frame. folder: for track files; None keeps them beside videos on disk, and those of drawn videos in memory.
    use: a fixed random subset of so many points, None for all. foreground: leave out points that move as most do
    (`foreground_points`), and fill up with repetitions; bandwidth: of its density.
    """

    tracker: str = "lucas_kanade"
    settings: dict[str, Any] = field(default_factory=dict)
    weights: str | None = None
    device: str = "cpu"
    points: int = 900
    seed: int = 0
    folder: str | None = None
    use: int | None = None
    foreground: bool = False
    bandwidth: str | float = "scott"

    def __post_init__(self) -> None:
        if self.tracker not in TRACKERS:
            raise InputError(f"unknown tracker '{self.tracker}'; expected one of {', '.join(TRACKERS)}")
        if (self.weights is not None) != (self.tracker == "cotracker"):
            raise InputError(
                f"tracker is {self.tracker} and weights {self.weights}; expected weights for cotracker and it alone"
            )
        if self.settings and self.tracker != "lucas_kanade":
            raise InputError(f"{self.tracker} has no settings; expected none, or tracker lucas_kanade")
        if self.points < 1 or self.seed < 0 or (self.use is not None and self.use < 1):
            raise InputError(
                f"found {self.points} points, seed {self.seed}, {self.use} to use; expected 1 or more points and a seed from 0"
            )

    def open(self) -> PointTracker | None:
        """The tracker, None for the truth. InputError for wrong settings or weights."""
        if self.tracker == "cotracker":
            from palmist.perception.cotracker import CoTracker

            assert self.weights is not None
            return CoTracker(self.weights, self.device)
        return build_config(LucasKanade, self.settings, "tracks.settings") if self.tracker == "lucas_kanade" else None

    @property
    def description(self) -> str:
        """For a checkpoint's card."""
        if self.tracker == "truth":
            return "the true ones of the drawings, an oracle: with a real tracker on real videos expect less"
        return f"{self.points} points by {self.tracker}"


class TrackReader:
    """Tracks by a video's number.

    Raises InputError where the truth is wanted of videos that were not drawn with tracks.
    """

    def __init__(self, videos: Videos, config: TrackConfig) -> None:
        self.videos, self.config, self.tracker = videos, config, config.open()
        self._memory: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self._bytes = 0
        if self.tracker is None and getattr(videos, "tracks", None) is None:
            raise InputError(
                "tracker is truth, and these videos have no true tracks; expected kind rendered with "
                f"options.settings.tracks {config.points}, or another tracker"
            )

    def read(self, number: int, video: OpenVideo, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Points (T, P, 2) float32 pixels of the video's frames and visible (T, P) bool; a lost point stays where it was.

        size: height and width of the frames as they are read; a file of tracks in other pixels is made anew.
        Raises InputError if the video cannot be read, or its track file is damaged.
        """
        if number in self._memory:
            return self._memory[number]
        points, visible = self._truth(number) if self.tracker is None else self._tracked(number, video, size)
        points, visible = self._chosen(points, visible, self.videos.names[number])
        on_disk = isinstance(self.videos, StoredVideos) or self.config.folder is not None
        if not on_disk and self._bytes < _MOST_MEMORY:
            self._memory[number] = points, visible
            self._bytes += points.nbytes + visible.nbytes
        return points, visible

    def _truth(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        assert isinstance(self.videos, MemoryVideos)
        assert self.videos.tracks is not None
        points, visible = self.videos.tracks[number]
        # As a tracker would leave them: a point that is not seen stays where it was last seen.
        last = np.maximum.accumulate(np.where(visible, np.arange(len(visible))[:, None], 0))
        return np.take_along_axis(points, last[..., None], 0), visible

    def _tracked(self, number: int, video: OpenVideo, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        assert self.tracker is not None
        queries = Queries(self.config.points, self.config.seed, self.videos.names[number])
        path = self._path(number, video)
        if path is None:
            found = track(_frames(video), self.tracker, queries, video.rate)
        else:
            shape = (video.frames, *size)
            found = stored_tracks(path, self.tracker, lambda: _frames(video), queries, video.rate, shape)
        if len(found.tracks) != video.frames:
            raise InputError(f"{len(found.tracks)} frames of {queries.name} were tracked; expected all {video.frames} of it")
        return found.tracks, found.visible

    def _path(self, number: int, video: OpenVideo) -> Path | None:
        if self.config.folder is None:
            if not isinstance(self.videos, StoredVideos):
                return None
            path = self.videos.entries[number].path
            return path.with_name(f"{path.name}.tracks.npz")
        name = self.videos.names[number]
        if isinstance(self.videos, StoredVideos):
            key = hashlib.sha256(name.encode())
        else:  # drawn videos: by what they show
            key = hashlib.sha256()
            for image, _ in _frames(video):
                key.update(str(image.shape).encode() + np.ascontiguousarray(image).tobytes())
        return Path(self.config.folder) / f"{Path(name).name}-{key.hexdigest()[:24]}.tracks.npz"

    def _chosen(self, points: np.ndarray, visible: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
        """The points that count, in a random order that depends on seed and name alone."""
        config, count = self.config, points.shape[1]
        if config.use is None and not config.foreground:
            return points, visible
        order = named_generator(config.seed, f"{name} in order").permutation(count)
        if config.foreground:
            kept = order[foreground_points(points, config.bandwidth)[order]]
            order = kept[np.arange(count) % len(kept)]
        order = order[: config.use]
        return np.ascontiguousarray(points[:, order]), np.ascontiguousarray(visible[:, order])


def _frames(video: OpenVideo) -> Iterable[Frame]:
    """All frames one after the other; time counts frames where the rate is not known."""
    for start in range(0, video.frames, _AT_ONCE):
        indices = np.arange(start, min(start + _AT_ONCE, video.frames))
        for index, image in zip(indices.tolist(), video.read(indices), strict=True):
            yield Frame(image, index / (video.rate or 1.0))

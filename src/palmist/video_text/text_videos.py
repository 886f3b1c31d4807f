"""Clips with texts as videos that training and tests can read: a span of a file, or of a folder of 15 s pieces."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from palmist.errors import InputError
from palmist.perception.video import Video
from palmist.video_sets.videos import OpenVideo
from palmist.video_text.clips import TextClip
from palmist.video_text.lazy import LazySequence

__all__ = ["Captions", "TextVideos"]


class TextVideos:
    """`palmist.video_sets.Videos` of clips with texts. They have no labels; names are the clips' uids."""

    def __init__(self, clips: Sequence[TextClip], short_side: int | None = None) -> None:
        self.clips, self.short_side = clips, short_side
        self.labels: tuple[str, ...] = ()
        self.label = np.full(len(clips), -1, np.int64)
        self.names: Sequence[str] = _Names(clips)
        self.replaced: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self.clips)

    def open(self, number: int) -> OpenVideo:
        """The frames of clip `number` alone. InputError if its video is not there or has no frame in the span."""
        return _Span(self.clips[number], self.short_side, self.replaced)

    def captions(self) -> Captions:
        """The texts of every clip, read when they are asked for."""
        return Captions(self.clips)


class Captions(LazySequence[Sequence[str]]):
    """The texts of clips."""

    def __init__(self, clips: Sequence[TextClip]) -> None:
        self.clips = clips

    def __len__(self) -> int:
        return len(self.clips)

    def _item(self, number: int) -> Sequence[str]:
        return self.clips[number].texts


class _Names(LazySequence[str]):
    def __init__(self, clips: Sequence[TextClip]) -> None:
        self.clips = clips

    def __len__(self) -> int:
        return len(self.clips)

    def _item(self, number: int) -> str:
        return self.clips[number].uid


class _Span:
    """The frames of a clip, one file after the other."""

    def __init__(self, clip: TextClip, short_side: int | None, replaced: dict[str, int]) -> None:
        self.clip, self.replaced = clip, replaced
        self.files: list[tuple[Video, np.ndarray]] = []
        for piece in clip.pieces():
            video = Video(piece.path, short_side)
            inside = video.times[(video.times >= piece.start - 1e-4) & (video.times <= piece.end + 1e-4)]
            if not len(inside) and len(video.times):  # a span shorter than a frame lasts
                inside = (
                    video.times[[int(np.abs(video.times - piece.start).argmin())]] if piece.start <= video.times[-1] else inside
                )
            self.files.append((video, inside))
        self.ends = np.cumsum([len(times) for _, times in self.files])
        if not self.ends[-1]:
            raise InputError(
                f"clip {clip.uid} has no frame from {clip.start:g} to {clip.end:g} s of {clip.path}; expected a longer video; "
                "check the list's times"
            )

    @property
    def frames(self) -> int:
        return int(self.ends[-1])

    @property
    def rate(self) -> float | None:
        return self.files[0][0].info.rate

    def read(self, indices: np.ndarray) -> np.ndarray:
        """(T, H, W, 3) uint8; InputError where files of one clip differ in size."""
        indices = np.asarray(indices, np.int64)
        owner = np.searchsorted(self.ends, indices, side="right")
        parts: list[np.ndarray | None] = [None] * len(indices)
        for number in np.unique(owner):
            video, times = self.files[int(number)]
            rows = np.flatnonzero(owner == number)
            first = int(self.ends[number - 1]) if number else 0
            wanted = times[indices[rows] - first]
            found = video.read(wanted)
            lost = int((np.abs(found.time - wanted) > 1e-4).sum())
            if lost:
                self.replaced[self.clip.uid] = max(lost, self.replaced.get(self.clip.uid, 0))
            for row, image in zip(rows, found.images, strict=True):
                parts[int(row)] = image
        images = [part for part in parts if part is not None]
        if len({image.shape for image in images}) > 1:
            raise InputError(f"the files of clip {self.clip.uid} differ in size; expected one size; cut the video again")
        return np.stack(images)

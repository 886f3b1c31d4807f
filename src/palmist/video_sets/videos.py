"""Labelled videos by number: files and folders of pictures on disk, or frames in memory.

Letters: T frames, H, W rows and columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from palmist.errors import InputError
from palmist.perception.decoding import resize, scaled_size

__all__ = ["MemoryVideos", "OpenVideo", "StoredVideos", "VideoEntry", "VideoList", "Videos", "label_numbers"]


@dataclass(frozen=True)
class VideoEntry:
    """One line of a data set's list.

    path: a video file, or the folder of a video's pictures; label: None where the set does not tell; split: official part;
    name: unique within the set; pictures: how the picture of a number is called ("{:05d}.jpg"; numbers begin at 1), None for a
    file; frames: how many pictures there are, None to count them; rate: frames per second of pictures.
    """

    path: Path
    label: str | None
    split: str | None
    name: str
    pictures: str | None = None
    frames: int | None = None
    rate: float | None = None
    subject: str | None = None


@dataclass(frozen=True)
class VideoList:
    """What a reader gives: all videos, and all labels in the set's official order."""

    entries: tuple[VideoEntry, ...]
    labels: tuple[str, ...]

    def of_split(self, split: str | None) -> VideoList:
        """The videos of one official part, None for all; InputError lists the parts."""
        if split is None:
            return self
        chosen = tuple(entry for entry in self.entries if entry.split == split)
        if not chosen:
            there = sorted({str(entry.split) for entry in self.entries})
            raise InputError(f"there is no video of split '{split}'; expected one of {', '.join(there)}")
        return VideoList(chosen, self.labels)


class OpenVideo(Protocol):
    """A video that can be read."""

    @property
    def frames(self) -> int:
        """How many."""

    @property
    def rate(self) -> float | None:
        """Frames per second, None if it is not known."""

    def read(self, indices: np.ndarray) -> np.ndarray:
        """Frames by number, from 0 on: (T, H, W, 3) uint8 RGB."""


class Videos(Protocol):
    """A data set of videos. labels: the names of the label numbers; label (N,) int64, -1 where it is not known; names: of the
    videos; replaced: how many frames could not be decoded and were filled from beside, by name."""

    labels: tuple[str, ...]
    label: np.ndarray
    names: Sequence[str]
    replaced: dict[str, int]

    def __len__(self) -> int: ...

    def open(self, number: int) -> OpenVideo:
        """InputError if it cannot be read."""


def label_numbers(found: Sequence[str | None], labels: Sequence[str]) -> np.ndarray:
    """The number of each label, -1 for None and for labels that are not in the list; (N,) int64."""
    row = {label: number for number, label in enumerate(labels)}
    return np.array([row.get(label, -1) if label is not None else -1 for label in found], np.int64)


class StoredVideos:
    """Videos on disk, decoded when they are asked for.

    entries: what a reader found; labels: names of the label numbers; short_side: scale frames while reading, None for as they
    are.
    """

    def __init__(self, entries: Sequence[VideoEntry], labels: Sequence[str], short_side: int | None = None) -> None:
        self.entries, self.labels, self.short_side = tuple(entries), tuple(labels), short_side
        self.label = label_numbers([entry.label for entry in entries], labels)
        self.names: Sequence[str] = [entry.name for entry in entries]
        self.replaced: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self.entries)

    def open(self, number: int) -> OpenVideo:
        entry = self.entries[number]
        if entry.pictures is not None:
            return _PictureFolder(entry, entry.pictures, self.short_side)
        return _VideoFile(entry, self.short_side, self.replaced)


class _VideoFile:
    def __init__(self, entry: VideoEntry, short_side: int | None, replaced: dict[str, int]) -> None:
        from palmist.perception.video import Video

        self.entry, self.replaced = entry, replaced
        self.video = Video(entry.path, short_side)
        self.times = self.video.times
        self.video.warn_if_cut()
        if not len(self.times):
            raise InputError(f"{entry.path} has 0 frames; expected at least one; fetch it again")

    @property
    def frames(self) -> int:
        return len(self.times)

    @property
    def rate(self) -> float | None:
        return self.video.info.rate

    def read(self, indices: np.ndarray) -> np.ndarray:
        wanted = self.times[indices]
        clip = self.video.read(wanted)
        lost = int((np.abs(clip.time - wanted) > 1e-4).sum())
        if lost:
            self.replaced[self.entry.name] = max(lost, self.replaced.get(self.entry.name, 0))
        return clip.images


class _PictureFolder:
    def __init__(self, entry: VideoEntry, pattern: str, short_side: int | None) -> None:
        self.entry, self.pattern, self.short_side = entry, pattern, short_side
        self.rate = entry.rate
        if not entry.path.is_dir():
            raise InputError(f"{entry.path} is not a folder; expected the pictures {pattern.format(1)} and so on in it")
        self.frames = self._count() if entry.frames is None else entry.frames
        if self.frames < 1:
            raise InputError(f"{entry.path} holds no picture {pattern.format(1)}; expected at least one; unpack the set again")

    def _count(self) -> int:
        """How many pictures follow each other from number 1 on."""
        there = {file.name for file in self.entry.path.iterdir()}
        count = 0
        while self.pattern.format(count + 1) in there:
            count += 1
        return count

    def read(self, indices: np.ndarray) -> np.ndarray:
        import cv2

        images: dict[int, np.ndarray] = {}
        for index in np.unique(indices):
            path = self.entry.path / self.pattern.format(int(index) + 1)
            data = np.fromfile(path, np.uint8) if path.is_file() else np.zeros(0, np.uint8)
            image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
            if image is None:
                found = "is damaged" if data.size else "is missing or empty"
                raise InputError(f"{path} {found}; expected a picture; unpack the set again")
            height, width = image.shape[:2]
            images[int(index)] = resize(image[..., ::-1], scaled_size((width, height), self.short_side))
        if len({image.shape for image in images.values()}) > 1:
            raise InputError(f"the pictures in {self.entry.path} differ in size; expected one size; unpack the set again")
        return np.stack([images[int(index)] for index in indices])


class MemoryVideos:
    """Videos whose frames are in memory: each (T, H, W, 3) uint8 RGB.

    tracks: of each video, if there are any: points (T, P, 2) float32 pixels and visible (T, P) bool.
    """

    def __init__(
        self,
        frames: Sequence[np.ndarray],
        found: Sequence[str | None],
        labels: Sequence[str],
        names: Sequence[str] | None = None,
        rate: float | None = None,
        tracks: Sequence[tuple[np.ndarray, np.ndarray]] | None = None,
        subjects: Sequence[str | None] | None = None,
    ) -> None:
        if len(frames) != len(found) or any(video.dtype != np.uint8 or video.ndim != 4 or not len(video) for video in frames):
            raise InputError(
                f"found {len(frames)} videos and {len(found)} labels; expected one label for each video, and videos of "
                "(T, H, W, 3) uint8 with a frame or more"
            )
        self.frames, self.labels, self.rate, self.tracks = frames, tuple(labels), rate, tracks
        self.label = label_numbers(found, labels)
        self.names: Sequence[str] = [str(number) for number in range(len(frames))] if names is None else names
        self.subjects = [None] * len(frames) if subjects is None else list(subjects)
        self.replaced: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self.frames)

    def open(self, number: int) -> OpenVideo:
        return _Frames(self.frames[number], self.rate)


class _Frames:
    def __init__(self, images: np.ndarray, rate: float | None) -> None:
        self.images, self.rate, self.frames = images, rate, len(images)

    def read(self, indices: np.ndarray) -> np.ndarray:
        return self.images[indices]

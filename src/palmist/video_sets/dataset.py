"""Clips of labelled videos for training and testing, whatever the model.

>>> dataset = VideoDataset(videos, ClipConfig(frames=8, size=64), AugmentationConfig())
>>> batch = dataset.batch(np.arange(4), torch.Generator())
>>> batch["video"].shape, batch["label"].shape
(torch.Size([4, 8, 64, 64, 3]), torch.Size([4]))

A video that cannot be decoded is skipped: another one takes its place in a training batch, a test leaves it out. `faults` says
which and why, `report()` in one line.

Letters: B clips, V views of a video, T frames, S side in pixels, P points.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from palmist.errors import InputError
from palmist.models import global_batch
from palmist.perception.clip_sampling import dense_view_indices, segment_view_indices
from palmist.skeleton import mirror_words
from palmist.video_sets.augmentation import AugmentationConfig, Augmented, augment_clip, evaluation_crop
from palmist.video_sets.mixing import MixConfig, Mixture, draw_mixture, mix
from palmist.video_sets.tracked import TrackReader
from palmist.video_sets.videos import OpenVideo, Videos

__all__ = ["ClipConfig", "VideoDataset", "mirrored_labels"]

_TRIES = 10  # videos in a row that may be damaged before that is the user's to mend
SAMPLINGS = ("segments", "dense")


@dataclass(frozen=True)
class ClipConfig:
    """What a clip is. frames: T; size: S.

    sampling: "segments" spreads the frames over the whole video, "dense" takes every `stride`-th one from some place on; with a
    `rate`, frames per second, the stride is that of a video at this rate.
    """

    frames: int = 16
    size: int = 224
    sampling: str = "segments"
    stride: int = 4
    rate: float | None = None

    def __post_init__(self) -> None:
        if self.frames < 1 or self.size < 1 or self.stride < 1:
            raise InputError(f"frames {self.frames}, size {self.size}, stride {self.stride}; expected 1 or more of each")
        if self.sampling not in SAMPLINGS:
            raise InputError(f"sampling is '{self.sampling}'; expected one of {', '.join(SAMPLINGS)}")

    def indices(
        self, video: OpenVideo, view: int = 0, views: int = 1, generator: np.random.Generator | None = None
    ) -> np.ndarray:
        """Frame numbers (T,) of one clip: a random one, or number `view` of `views`."""
        if self.sampling == "segments":
            return segment_view_indices(video.frames, self.frames, view, views, generator)
        step = float(self.stride)
        if self.rate is not None and video.rate:
            step *= video.rate / self.rate
        return dense_view_indices(video.frames, self.frames, step, view, views, generator)


class ClipBatch(NamedTuple):
    """Rows that one video gives: clips, frame numbers (T,), number of the video, label."""

    clips: list[Augmented]
    indices: np.ndarray
    item: int
    label: list[int]
    tracks: list[Tracks]


Tracks = tuple[np.ndarray, np.ndarray]  # points (T, P, 2) float32 pixels, visible (T, P) bool


def clip_tracks(tracks: Tracks, indices: np.ndarray, clip: Augmented) -> Tracks:
    """Tracks of a whole video as they are in a clip of its frames `indices`; what lies outside the clip is not visible."""
    points, visible = tracks[0][indices], tracks[1][indices]
    matrix = clip.matrix.astype(np.float32)
    moved = points @ matrix[:, :2].T + matrix[:, 2]
    size = clip.video.shape[1]
    return moved, visible & ((moved >= -0.5) & (moved <= size - 0.5)).all(-1)


def mirrored_labels(labels: tuple[str, ...]) -> np.ndarray:
    """(L,) int64: the label that a flipped video has; InputError where the labels lack it."""
    row = {label: number for number, label in enumerate(labels)}
    for label in labels:
        if mirror_words(label) not in row:
            raise InputError(
                f"label '{label}' would become '{mirror_words(label)}' when videos are flipped, which is no label; "
                "set augment.flip to 0"
            )
    return np.array([row[mirror_words(label)] for label in labels], np.int64)


class VideoDataset:
    """Videos as batches of clips (`palmist.train.task.BatchedDataset`).

    Args:
        videos: what there is.
        clip: frames and size.
        augment: None for the middle view of each video, as for validation.
        mix: MixUp and CutMix; batches then have `other_label` and `label_share`.
        repeats: clips that one reading of a video gives, in one batch, with augmentations of their own. A pass is `repeats`
            clips of each video.
        workers: threads that decode.
        tracks: of the videos; every clip then has its tracks.

    Raises:
        InputError: no video; a flip where labels speak of left and right, unless `augment.mirror_labels` exchanges them.
    """

    def __init__(
        self,
        videos: Videos,
        clip: ClipConfig,
        augment: AugmentationConfig | None = None,
        mix: MixConfig | None = None,
        repeats: int = 1,
        workers: int = 0,
        tracks: TrackReader | None = None,
    ) -> None:
        if tracks is not None and mix is not None:
            raise InputError("clips are mixed, and they have tracks, which cannot be mixed; remove mix")
        if not len(videos):
            raise InputError("there are no videos; check the set's split, subjects and limit")
        if repeats < 1 or workers < 0:
            raise InputError(f"repeats is {repeats} and workers {workers}; expected 1 or more, and 0 or more")
        self.videos, self.clip, self.augment, self.mix = videos, clip, augment, mix
        self.repeats, self.workers, self.tracks = repeats, workers, tracks
        self.faults: dict[str, str] = {}
        self.mirrored = np.arange(len(videos.labels))
        if augment is not None and augment.flip > 0:
            sided = [label for label in videos.labels if mirror_words(label) != label]
            if sided and not augment.mirror_labels:
                raise InputError(
                    f"augment.flip is {augment.flip:g}, but {len(sided)} labels speak of left and right, such as '{sided[0]}'; "
                    "set it to 0, or augment.mirror_labels to true so that flipped videos get the other label"
                )
            self.mirrored = mirrored_labels(videos.labels) if augment.mirror_labels else self.mirrored
        self._pool = ThreadPoolExecutor(workers) if workers else None

    def __len__(self) -> int:
        return len(self.videos)

    def batch(self, indices: np.ndarray, generator: torch.Generator) -> dict[str, Tensor]:
        """Clips of the videos `indices` (B,); equal numbers in a row share one reading.

        Returns:
            video (B, T, S, S, 3) uint8 RGB, label (B,) (-1 not known); item (B,) which video it really is, frame (B, T) which
            frames of it, matrix (B, 2, 3) from its pixels to the clip's (`Augmented.matrix`), mirrored (B,); with MixUp or
            CutMix also other_label (B,), label_share (B,); with tracks (B, T, P, 2) float32 pixels of the clip, visible
            (B, T, P). In a share of a batch (`palmist.models.global_batch`) only its rows, and
            those that are mixed into them, are read; the others are black.
        """
        count = len(indices)
        seeds = torch.randint(0, 2**62, (count + 1,), generator=generator).tolist()
        mixture = Mixture()
        if self.mix is not None and self.augment is not None:
            mixture = draw_mixture(self.mix, self.clip.size, np.random.default_rng(seeds[count]))
        groups = _groups(indices)
        wanted = _rows_needed(count, mixture.share < 1)
        groups = [rows for rows in groups if wanted[rows].any()]
        jobs = [(int(indices[rows.start]), seeds[rows]) for rows in groups]
        made = list(self._pool.map(self._read_group, jobs)) if self._pool else [self._read_group(job) for job in jobs]

        T, S = self.clip.frames, self.clip.size
        video, matrix = np.zeros((count, T, S, S, 3), np.uint8), np.zeros((count, 2, 3), np.float32)
        label, item = np.full(count, -1, np.int64), np.asarray(indices, np.int64).copy()
        frame, mirrored = np.zeros((count, T), np.int64), np.zeros(count, bool)
        for rows, found in zip(groups, made, strict=True):
            item[rows], frame[rows], label[rows] = found.item, found.indices, found.label
            for row, clip in zip(range(rows.start, rows.stop), found.clips, strict=True):
                video[row], matrix[row], mirrored[row] = clip.video, clip.matrix, clip.mirrored
        parts = {
            "video": mix(video, mixture), "label": label, "item": item, "frame": frame, "matrix": matrix, "mirrored": mirrored,
        }  # fmt: skip
        if self.mix is not None and self.augment is not None:
            parts |= {"other_label": label[::-1].copy(), "label_share": np.full(count, mixture.share, np.float32)}
        if self.tracks is not None:
            parts |= _track_rows(count, groups, [found.tracks for found in made])
        return {name: torch.from_numpy(array) for name, array in parts.items()}

    def _read_group(self, job: tuple[int, list[int]]) -> ClipBatch:
        """The rows of one video; of another one, drawn anew, if it cannot be read."""
        number, seeds = job
        generator = np.random.default_rng(seeds[0])
        for _ in range(_TRIES):
            try:
                video = self.videos.open(number)
                chosen = self.clip.indices(video, generator=None if self.augment is None else generator)
                images = video.read(chosen)
                whole = None if self.tracks is None else self.tracks.read(number, video, images.shape[1:3])
                break
            except InputError as error:
                self._note(number, error)
                first = str(error)
                number = int(generator.integers(len(self.videos)))
        else:
            raise InputError(f"{_TRIES} videos in a row could not be read, the last: {first}; check where the videos lie")
        clips = []
        for place, seed in enumerate(seeds):
            if self.augment is None:
                clips.append(evaluation_crop(images, self.clip.size))
            else:
                own = generator if place == 0 else np.random.default_rng(seed)
                clips.append(augment_clip(images, self.clip.size, self.augment, own))
        label = int(self.videos.label[number])
        labels = [int(self.mirrored[label]) if clip.mirrored and label >= 0 else label for clip in clips]
        tracks = [] if whole is None else [clip_tracks(whole, chosen, clip) for clip in clips]
        return ClipBatch(clips, chosen, number, labels, tracks)

    def views(self, number: int, clips: int = 1, crops: int = 1) -> np.ndarray:
        """All views of one video for testing: (clips * crops, T, S, S, 3) uint8, crops of a clip side by side.

        The short side is S; clips are spread over the video, crops along the long side. InputError if it cannot be read.
        """
        return self.view_parts(number, clips, crops)[0]

    def view_parts(self, number: int, clips: int = 1, crops: int = 1) -> tuple[np.ndarray, ...]:
        """What a network's `recognise` takes of one video: its `views` alone, or with tracks (V, T, P, 2) and visible
        (V, T, P)."""
        if clips < 1 or crops < 1:
            raise InputError(f"the test takes {clips} clips and {crops} crops; expected 1 or more of each")
        video = self.videos.open(number)
        views, tracks = [], []
        whole: Tracks | None = None
        for clip in range(clips):
            indices = self.clip.indices(video, clip, clips)
            images = video.read(indices)
            made = [evaluation_crop(images, self.clip.size, crop, crops) for crop in range(crops)]
            views += [view.video for view in made]
            if self.tracks is not None:
                whole = whole or self.tracks.read(number, video, images.shape[1:3])
                tracks += [clip_tracks(whole, indices, view) for view in made]
        return (np.stack(views), *(np.stack(part) for part in zip(*tracks, strict=True)))

    def evaluation_items(
        self, clips: int = 1, crops: int = 1, order: np.random.Generator | None = None
    ) -> Iterator[tuple[int, tuple[np.ndarray, ...]]]:
        """Number and `view_parts` of every video with a known label that can be read, in random order if `order` is given; the
        others are noted in `faults`."""
        numbers = np.nonzero(self.videos.label >= 0)[0]
        for number in numbers if order is None else order.permutation(numbers):
            try:
                yield int(number), self.view_parts(int(number), clips, crops)
            except InputError as error:
                self._note(int(number), error)

    def _note(self, number: int, error: InputError) -> None:
        name = self.videos.names[number]
        if not self.faults:
            warnings.warn(f"a video is skipped: {error}; more of them are only counted", stacklevel=3)
        self.faults.setdefault(name, str(error))

    def report(self, with_reason: bool = True) -> str:
        """What could not be read so far, in one line; with_reason: also why, for the first one, which names its path."""
        skipped, replaced = len(self.faults), self.videos.replaced
        text = f"{len(self.videos)} videos, {skipped} skipped because they cannot be decoded"
        if skipped and with_reason:
            text += f" (the first: {next(iter(self.faults.values()))})"
        if replaced:
            text += f", {sum(replaced.values())} damaged frames of {len(replaced)} videos filled from the frame before"
        return text


def _track_rows(count: int, groups: list[slice], made: list[list[Tracks]]) -> dict[str, np.ndarray]:
    """tracks (B, T, P, 2) and visible (B, T, P) of all rows; those that were not read are 0."""
    rows = [row for group in groups for row in range(group.start, group.stop)]
    found = [clip for clips in made for clip in clips]
    tracks = np.zeros((count, *found[0][0].shape), np.float32)
    visible = np.zeros((count, *found[0][1].shape), bool)
    for row, (points, seen) in zip(rows, found, strict=True):
        tracks[row], visible[row] = points, seen
    return {"tracks": tracks, "visible": visible}


def _groups(indices: np.ndarray) -> list[slice]:
    """Runs of equal numbers."""
    starts = np.nonzero(np.r_[True, indices[1:] != indices[:-1]])[0]
    return [slice(int(a), int(b)) for a, b in zip(starts, np.r_[starts[1:], len(indices)], strict=True)]


def _rows_needed(count: int, mixed: bool) -> np.ndarray:
    """(B,) bool: the rows of this process, and where rows are mixed their partners."""
    needed = np.zeros(count, bool)
    needed[global_batch.rows_of_share(count)] = True
    return needed | needed[::-1] if mixed else needed

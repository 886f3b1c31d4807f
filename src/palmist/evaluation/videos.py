"""Scores of video networks with several views of each video: accuracy of the first and the first five labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from palmist.checkpoint import load_checkpoint
from palmist.errors import InputError
from palmist.evaluation.benchmark_record import BenchmarkRecord, make_record
from palmist.metrics.classification import mean_class_accuracy, top_k_accuracy
from palmist.metrics.intervals import Metric
from palmist.models.trec import INPUTS, TRec, check_inputs
from palmist.models.uniformer import UniFormer
from palmist.splits import named_split
from palmist.tasks.trec import load_trec, with_true_tracks
from palmist.tasks.videos import VideoSetConfig, load_video_network, read_videos
from palmist.video_sets import VIDEO_SETS, TrackConfig, TrackReader, Videos
from palmist.video_sets.dataset import ClipConfig, VideoDataset

__all__ = [
    "TrackTest", "VideoRecognition", "evaluate_video_checkpoint", "load_tested", "recognise_tested", "recognise_videos",
]  # fmt: skip

#: Videos of the direction task that are tested: drawn from another seed than any training.
TEST_DIRECTIONS, TEST_SEED = 1000, 10_000


#: How the tests on "rendered_..." are drawn: near the hands, by a camera that stands still.
DRAWING = {"framing": "hands", "camera_motion": 0.0}
#: Videos of a batch whose accuracies TRec's spread is taken over.
BATCH = 32


class Recogniser(Protocol):
    @property
    def recognise(self) -> Callable[..., Tensor]: ...


@dataclass(frozen=True, eq=False)
class VideoRecognition:
    """probabilities (N, L); truth (N,) label numbers; items (N,) numbers of the videos; skipped: name and reason of each video
    that could not be read."""

    probabilities: np.ndarray
    truth: np.ndarray
    items: np.ndarray
    skipped: dict[str, str] = field(default_factory=dict)


@torch.no_grad()
def recognise_videos(
    network: Recogniser,
    dataset: VideoDataset,
    clips: int = 1,
    crops: int = 1,
    batch_size: int = 16,
    order: np.random.Generator | None = None,
) -> VideoRecognition:
    """Probabilities of every labelled video, averaged over `clips` x `crops` views; in random order if `order` is given.

    network: `recognise` takes (B, V, T, S, S, 3) uint8, and with tracks (B, V, T, P, 2) and (B, V, T, P), and gives (B, L). In
    random order no batch has one video alone, where there are more. InputError if no video can be read.
    """
    items: list[int] = []
    found: list[np.ndarray] = []
    waiting: list[tuple[np.ndarray, ...]] = []
    videos = max(1, batch_size // (clips * crops))
    kept = 0 if order is None else 2

    def recognise(count: int) -> None:
        parts = [torch.from_numpy(np.stack(part)) for part in zip(*waiting[:count], strict=True)]
        found.append(network.recognise(*parts).numpy())
        del waiting[:count]

    for item, views in dataset.evaluation_items(clips, crops, order):
        items.append(item)
        waiting.append(views)
        if len(waiting) >= videos + kept:
            recognise(videos)
    if waiting:
        recognise(len(waiting))
    if not items:
        raise InputError(f"no video could be tested: {dataset.report()}")
    numbers = np.array(items)
    return VideoRecognition(np.concatenate(found), dataset.videos.label[numbers], numbers, dict(dataset.faults))


def evaluation_set(data: str, split: str, frames: int, size: int) -> tuple[str, VideoSetConfig]:
    """The name and the settings of what `palmist evaluate --data DATA --split SPLIT` tests on.

    data: "directions"; "rendered_" and an open set's name, its split by person, drawn by `DRAWING`; or KIND:FOLDER of a set of
    videos on disk, with one of its official splits.
    """
    if data == "directions":
        options: dict[str, Any] = {"videos": TEST_DIRECTIONS, "frames": frames, "size": size, "seed": TEST_SEED}
        return data, VideoSetConfig("directions", options=options)
    if data.startswith("rendered_"):
        name = data.removeprefix("rendered_")
        people = named_split(name, split).test
        settings = {**DRAWING, "size": max(32, size + size // 8)}
        return data, VideoSetConfig("rendered", options={"recordings": name, "subjects": people, "settings": settings})
    kind, colon, root = data.partition(":")
    if not colon or kind not in VIDEO_SETS:
        known = ", ".join(f"{name}:FOLDER" for name in VIDEO_SETS)
        raise InputError(f"a video network cannot be tested on '{data}'; expected directions, rendered_asl_words, or {known}")
    return kind, VideoSetConfig(kind, root=root, split=None if split == "all" else split)


def batch_deviation(correct: np.ndarray, size: int = BATCH) -> Metric:
    """Standard deviation of the accuracies of whole batches, in the order of `correct` (N,) bool; n counts batches."""
    batches = len(correct) // size
    return Metric(float(correct[: batches * size].reshape(batches, size).mean(1).std()), batches)


def accuracies(result: VideoRecognition, labels: int) -> dict[str, Metric]:
    """Accuracy of the first label, its mean over the classes, and that of the first five where there are more labels."""
    measured = {
        "accuracy": top_k_accuracy(result.probabilities, result.truth),
        "class_mean_accuracy": mean_class_accuracy(result.probabilities.argmax(1), result.truth, labels),
    }
    if labels > 5:
        measured["top5_accuracy"] = top_k_accuracy(result.probabilities, result.truth, 5)
    return measured


@dataclass(frozen=True)
class TrackTest:
    """How TRec is tested. points: a fixed random subset of so many, None for all; foreground: only points that do not move as
    most do; control: what it sees in the test, a name in `palmist.models.trec.INPUTS`; None: what it was trained with."""

    points: int | None = None
    foreground: bool = False
    control: str | None = None

    def name(self, trained: str) -> str:
        """How records call the network: rgb_only if it was trained without tracks; what differs in the test comes after it."""
        own = {"frames_and_tracks": "trec", "frames": "rgb_only"}.get(trained, f"trec_{trained}")
        parts = [own, f"{self.points}_points" * (self.points is not None), "foreground" * self.foreground]
        return "_".join(part for part in (*parts, f"sees_{self.control}" if self.control else "") if part)

    @property
    def options(self) -> str:
        """As `palmist evaluate` takes them."""
        points = f" --points {self.points}" if self.points is not None else ""
        return points + " --foreground" * self.foreground + (f" --control {self.control}" if self.control else "")


class Tested(NamedTuple):
    """A trained network as it is to be tested: what records call it, the network, its clips and tracks (None: it sees none)."""

    name: str
    network: UniFormer | TRec
    clip: ClipConfig
    tracks: TrackConfig | None


def load_tested(checkpoint: str | Path, test: TrackTest | None = None) -> Tested:
    """A video network from its checkpoint. InputError for another kind, or a `test` of a network that has no tracks."""
    if load_checkpoint(checkpoint).config.get("model") != "trec":
        kind, plain, clip = load_video_network(checkpoint)
        if test is not None:
            raise InputError(f"{checkpoint} ({kind}) has no point tracks; leave --points, --foreground and --control out")
        return Tested(kind, plain, clip, None)
    network, clip, tracks = load_trec(checkpoint)
    test = test or TrackTest()
    if test.control is not None:
        check_inputs(test.control)
        network.inputs = test.control
    tracks = replace(tracks, use=test.points if test.points is not None else tracks.use)
    tracks = replace(tracks, foreground=test.foreground or tracks.foreground)
    sees_tracks = INPUTS[network.inputs].tracks != "none"
    return Tested(test.name(network.config.inputs), network, clip, tracks if sees_tracks else None)


def recognise_tested(found: Tested, videos: Videos, clips: int = 1, crops: int = 1) -> VideoRecognition:
    """`recognise_videos` of a loaded network; label numbers of `videos` become the network's. InputError for a label that it
    does not know."""
    _renumber(videos, found.network.config.labels, f"{found.name} does not know label '{{}}'")
    dataset = VideoDataset(videos, found.clip, tracks=None if found.tracks is None else TrackReader(videos, found.tracks))
    # Controls that exchange frames between videos need neighbours of any label.
    order = np.random.default_rng(0) if isinstance(found.network, TRec) else None
    return recognise_videos(found.network, dataset, clips, crops, order=order)


def evaluate_video_checkpoint(
    checkpoint: str | Path, data: str, split: str = "all", clips: int = 1, crops: int = 1, test: TrackTest | None = None
) -> list[BenchmarkRecord]:
    """Accuracy of a checkpoint of a video network on the test part of a set (`evaluation_set`), by `clips` x `crops` views.

    Raises InputError for an unknown set, a checkpoint of another kind, other labels than the network knows, or a `test` of a
    network that has no tracks.
    """
    found = load_tested(checkpoint, test)
    name, config = evaluation_set(data, split, found.clip.frames, found.clip.size)
    videos = read_videos(name, with_true_tracks(config, name, found.tracks) if found.tracks is not None else config)
    result = recognise_tested(found, videos, clips, crops)
    shown = "CHECKPOINT" if Path(checkpoint).is_absolute() else str(checkpoint)
    source = f"{name}:FOLDER" if ":" in data else data
    command = f"palmist evaluate {shown} --data {source} --split {split} --clips {clips} --crops {crops}"
    command += test.options if test is not None else ""
    measured = accuracies(result, len(found.network.config.labels))
    if isinstance(found.network, TRec) and len(result.truth) >= 2 * BATCH:
        # What stands behind the +- in TRec's table, as far as can be told; videos come in random order.
        measured["accuracy_deviation_of_batches_of_32"] = batch_deviation(result.probabilities.argmax(1) == result.truth)
    return [
        make_record(f"{name}/{split}/{found.name}/{metric}", value.value, "share", value.n, command, value.interval)
        for metric, value in measured.items()
    ]


def _renumber(videos: Videos, known: tuple[str, ...], stranger: str) -> None:
    """Label numbers of the network in place of the set's own."""
    if videos.labels == known:
        return
    for label in videos.labels:
        if label not in known:
            raise InputError(f"{stranger.format(label)}; expected a network trained on that set")
    row = np.array([known.index(label) for label in videos.labels])
    videos.label = np.where(videos.label >= 0, row[videos.label], -1)
    videos.labels = known

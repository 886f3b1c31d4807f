"""Scores of video networks with several views of each video: accuracy of the first and the first five labels."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from palmist.benchmark_record import BenchmarkRecord, make_record
from palmist.errors import InputError
from palmist.metrics.classification import mean_class_accuracy, top_k_accuracy
from palmist.splits import named_split
from palmist.video_sets import VIDEO_SETS
from palmist.video_sets.dataset import VideoDataset
from palmist.video_tasks import VideoSetConfig, load_video_network, read_videos

__all__ = ["VideoRecognition", "evaluate_video_checkpoint", "recognise_videos"]

#: Videos of the direction task that are tested: drawn from another seed than any training.
TEST_DIRECTIONS, TEST_SEED = 1000, 10_000


class Recogniser(Protocol):
    def recognise(self, views: Tensor) -> Tensor: ...


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
    network: Recogniser, dataset: VideoDataset, clips: int = 1, crops: int = 1, batch_size: int = 16
) -> VideoRecognition:
    """Probabilities of every labelled video, averaged over `clips` x `crops` views.

    network: `recognise` takes (B, V, T, S, S, 3) uint8 and gives (B, L). InputError if no video can be read.
    """
    items: list[int] = []
    found: list[np.ndarray] = []
    waiting: list[np.ndarray] = []

    def flush() -> None:
        if waiting:
            found.append(network.recognise(torch.from_numpy(np.stack(waiting))).numpy())
            waiting.clear()

    for item, views in dataset.evaluation_items(clips, crops):
        items.append(item)
        waiting.append(views)
        if len(waiting) * clips * crops >= batch_size:
            flush()
    flush()
    if not items:
        raise InputError(f"no video could be tested: {dataset.report()}")
    numbers = np.array(items)
    return VideoRecognition(np.concatenate(found), dataset.videos.label[numbers], numbers, dict(dataset.faults))


def evaluation_set(data: str, split: str, frames: int, size: int) -> tuple[str, VideoSetConfig]:
    """The name and the settings of what `palmist evaluate --data DATA --split SPLIT` tests on.

    data: "directions"; "rendered_" and an open set's name, its split by person; or KIND:FOLDER of a set of videos on disk, with
    one of its official splits.
    """
    if data == "directions":
        options: dict[str, Any] = {"videos": TEST_DIRECTIONS, "frames": frames, "size": size, "seed": TEST_SEED}
        return data, VideoSetConfig("directions", options=options)
    if data.startswith("rendered_"):
        name = data.removeprefix("rendered_")
        people = named_split(name, split).test
        return data, VideoSetConfig(
            "rendered", options={"recordings": name, "subjects": people, "settings": {"size": max(32, size)}}
        )  # fmt: skip
    kind, colon, root = data.partition(":")
    if not colon or kind not in VIDEO_SETS:
        known = ", ".join(f"{name}:FOLDER" for name in VIDEO_SETS)
        raise InputError(f"a video network cannot be tested on '{data}'; expected directions, rendered_asl_words, or {known}")
    return kind, VideoSetConfig(kind, root=root, split=None if split == "all" else split)


def evaluate_video_checkpoint(
    checkpoint: str | Path, data: str, split: str = "all", clips: int = 1, crops: int = 1
) -> list[BenchmarkRecord]:
    """Accuracy of a checkpoint of a video network on the test part of a set (`evaluation_set`), by `clips` x `crops` views.

    Raises InputError for an unknown set, a checkpoint of another kind, or other labels than the network knows.
    """
    kind, network, clip = load_video_network(checkpoint)
    name, config = evaluation_set(data, split, clip.frames, clip.size)
    videos = read_videos(name, config)
    if videos.labels != network.config.labels:
        known = set(network.config.labels)
        if not set(videos.labels) <= known:
            stranger = next(label for label in videos.labels if label not in known)
            raise InputError(f"{checkpoint} does not know label '{stranger}' of {name}; expected a network trained on that set")
        row = np.array([network.config.labels.index(label) for label in videos.labels])
        videos.label = np.where(videos.label >= 0, row[videos.label], -1)
        videos.labels = network.config.labels
    result = recognise_videos(network, VideoDataset(videos, clip), clips, crops)
    shown = "CHECKPOINT" if Path(checkpoint).is_absolute() else str(checkpoint)
    source = f"{name}:FOLDER" if ":" in data else data
    command = f"palmist evaluate {shown} --data {source} --split {split} --clips {clips} --crops {crops}"
    labels = len(network.config.labels)
    measured = {
        "accuracy": top_k_accuracy(result.probabilities, result.truth),
        "class_mean_accuracy": mean_class_accuracy(result.probabilities.argmax(1), result.truth, labels),
    }
    if labels > 5:
        measured["top5_accuracy"] = top_k_accuracy(result.probabilities, result.truth, 5)
    return [
        make_record(f"{name}/{split}/{kind}/{metric}", value.value, "share", value.n, command, value.interval)
        for metric, value in measured.items()
    ]

"""Tests of a video-text model without training: `palmist evaluate CHECKPOINT --data epic_kitchens:FOLDER --split retrieval`.

Sets that have labels and no texts (directions, rendered_asl_words, KIND:FOLDER of labelled videos) are classified: each label
is a sentence, and a clip belongs to the closest.

In the published tests a clip whose video is not there or cannot be decoded ends the test with one sentence: scores over another
set of clips than the published one cannot be compared with anything.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from palmist.errors import InputError
from palmist.evaluation.benchmark_record import BenchmarkRecord, make_record
from palmist.evaluation.videos import VideoRecognition, accuracies, evaluation_set, recognise_videos
from palmist.inference.video_text import VideoTextReader, load_video_text
from palmist.inference.zero_shot import class_vectors
from palmist.tasks.videos import VideoSetConfig, read_videos
from palmist.video_sets import VIDEO_SETS, Videos
from palmist.video_sets.dataset import VideoDataset
from palmist.video_text import text_set
from palmist.video_text.captions import labelled
from palmist.video_text.clips import TextClip
from palmist.video_text.protocols import PROTOCOLS, Embedders, zero_shot
from palmist.video_text.text_videos import TextVideos

__all__ = ["TESTS", "embedders", "evaluate_video_text_checkpoint", "recognise_by_sentences"]

#: data set -> the part that `--split` names -> the test; "all" stands for the first.
TESTS: dict[str, dict[str, str]] = {
    "epic_kitchens": {"retrieval": "epic_retrieval", "classes": "epic_classes"},
    "egtea": {"test1": "egtea_classes"},
    "egomcq": {"all": "egomcq"},
}


def embedders(reader: VideoTextReader) -> Embedders:
    """A model as the protocols take it: clips are read from their files, evenly spaced frames over the whole span."""

    def clips(items: list[TextClip]) -> np.ndarray:
        videos = TextVideos(items)
        read = []
        for number in range(len(items)):
            video = videos.open(number)
            read.append(video.read(reader.clip.indices(video)))
        return reader.embed_clips(read)

    return Embedders(reader.embed_texts, clips, batch=16)


def evaluate_video_text_checkpoint(
    checkpoint: str | Path, data: str, split: str = "all", clips: int = 1, crops: int = 1
) -> list[BenchmarkRecord]:
    """Retrieval, classes in words or multiple choice, as `data` (KIND:FOLDER) and `split` say (see `TESTS`); of other sets, the
    accuracy of the labels as sentences by `clips` x `crops` views.

    Raises InputError for an unknown set or part, or clips of a published test whose videos are missing.
    """
    kind, colon, root = data.partition(":")
    tests = TESTS.get(kind, {}) if colon else {}
    if not tests and data != "directions" and not data.startswith("rendered_") and not (colon and kind in VIDEO_SETS):
        known = ", ".join(f"{name}:FOLDER" for name in dict.fromkeys((*TESTS, *VIDEO_SETS)))
        raise InputError(
            f"a video-text model cannot be tested on '{data}'; expected directions, rendered_asl_words, or one of {known}"
        )
    if tests and split not in tests and split != "all":
        raise InputError(f"{kind} has no part '{split}'; expected one of {', '.join(tests)}")
    reader = load_video_text(checkpoint)
    shown = "CHECKPOINT" if Path(checkpoint).is_absolute() else str(checkpoint)
    command = f"palmist evaluate {shown} --data {f'{kind}:FOLDER' if colon else data} --split {split}"
    if not tests:
        return _labels(reader, data, split, (clips, crops), command)
    protocol = tests.get(split) or next(iter(tests.values()))
    assert protocol in PROTOCOLS
    return zero_shot(protocol, text_set(kind).read(root), embedders(reader), "egovideo", command)


def _labels(reader: VideoTextReader, data: str, split: str, views: tuple[int, int], command: str) -> list[BenchmarkRecord]:
    name, config = evaluation_set(data, split, reader.clip.frames, reader.clip.size)
    videos = read_videos(name, config)
    result = recognise_by_sentences(reader, videos, name, config, *views)
    command += f" --clips {views[0]} --crops {views[1]}"
    return [
        make_record(f"{name}/{split}/egovideo/{metric}", value.value, "share", value.n, command, value.interval)
        for metric, value in accuracies(result, len(videos.labels)).items()
    ]


def recognise_by_sentences(
    reader: VideoTextReader, videos: Videos, name: str, config: VideoSetConfig, clips: int = 1, crops: int = 1
) -> VideoRecognition:
    """`recognise_videos` by the labels of a set as sentences.

    videos: what `palmist.tasks.videos.read_videos` gives for `name` and `config`. InputError for a set with fewer than two
    labels, or if no video can be read.
    """
    if len(videos.labels) < 2:
        raise InputError(f"{name} has {len(videos.labels)} labels; expected two or more to choose between")
    sentences = [labelled(label, name, config) for label in videos.labels]
    return recognise_videos(_Sentences(reader, sentences), VideoDataset(videos, reader.clip), clips, crops)


class _Sentences:
    """Chooses between sentences at the model's own temperature."""

    def __init__(self, reader: VideoTextReader, sentences: list[str]) -> None:
        self.network, self.classes = reader.network, torch.from_numpy(class_vectors(reader, sentences))

    def recognise(self, views: Tensor) -> Tensor:
        """Probabilities (B, L), the mean over the views (B, V, T, S, S, 3)."""
        scale = self.network.log_scale.exp()
        found = self.network.embed_video(views.flatten(0, 1)) @ self.classes.t()
        return (scale * found).softmax(-1).unflatten(0, views.shape[:2]).mean(1)

"""Tests of a video-text model without training: `palmist evaluate CHECKPOINT --data epic_kitchens:FOLDER --split retrieval`.

A clip whose video is not there or cannot be decoded ends the test with one sentence: scores over another set of clips than the
published one cannot be compared with anything.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from palmist.errors import InputError
from palmist.evaluation.benchmark_record import BenchmarkRecord
from palmist.inference.video_text import VideoTextReader, load_video_text
from palmist.video_text import text_set
from palmist.video_text.clips import TextClip
from palmist.video_text.protocols import PROTOCOLS, Embedders, zero_shot
from palmist.video_text.text_videos import TextVideos

__all__ = ["TESTS", "embedders", "evaluate_video_text_checkpoint"]

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


def evaluate_video_text_checkpoint(checkpoint: str | Path, data: str, split: str = "all") -> list[BenchmarkRecord]:
    """Retrieval, classes in words or multiple choice, as `data` (KIND:FOLDER) and `split` say; see `TESTS`.

    Raises InputError for an unknown set or part, or clips whose videos are missing.
    """
    kind, colon, root = data.partition(":")
    if not colon or kind not in TESTS:
        known = ", ".join(f"{name}:FOLDER" for name in TESTS)
        raise InputError(
            f"a video-text model cannot be tested on '{data}'; expected {known} (drawn words: palmist benchmark quality --only "
            "video_text)"
        )
    parts = TESTS[kind]
    if split not in parts and split != "all":
        raise InputError(f"{kind} has no part '{split}'; expected one of {', '.join(parts)}")
    protocol = parts.get(split) or next(iter(parts.values()))
    assert protocol in PROTOCOLS
    reader = load_video_text(checkpoint)
    shown = "CHECKPOINT" if Path(checkpoint).is_absolute() else str(checkpoint)
    command = f"palmist evaluate {shown} --data {kind}:FOLDER --split {split}"
    return zero_shot(protocol, text_set(kind).read(root), embedders(reader), "egovideo", command)

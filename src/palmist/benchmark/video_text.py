"""EgoVideo and its twins on drawn words: `palmist benchmark quality --only video_text`.

Four models with three seeds each (`palmist.benchmark.plan.video_text_jobs`): captions that narrate the hands' motion beside
the label, or the label alone, both with and without motion adapters. All are tested on drawings of the signer of cross-signer
A, who is in no training:

- retrieval by narrations: every clip's caption tells its label and how its hands moved; texts find clips and clips texts. The
  relevancy of a pair is that of EPIC-KITCHENS-100: half for the same label, half for the overlap of what is claimed of hands.
- retrieval by labels: the 16 labels as sentences.
- zero-shot classification by classes in words: the labels, and the ways in which the right hand moves farthest.

A class is the mean of prompts in the form of the captions that a model knows: a direction is told behind every label, and for
models of narrations a label is told before every direction and before rest.

What moved is known from the recordings' own joints, not from pixels. Intervals resample seeds and, within them, sessions or
texts.
"""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np

from palmist.benchmark import plan
from palmist.benchmark.kept import measured
from palmist.checkpoint import load_checkpoint
from palmist.evaluation.benchmark_record import BenchmarkRecord, make_record
from palmist.evaluation.videos import evaluation_set
from palmist.inference.video_text import VideoTextReader
from palmist.inference.zero_shot import class_vectors
from palmist.metrics.intervals import Metric, over_seeds
from palmist.metrics.retrieval import average_precisions, relevancy
from palmist.narration.facts import DIRECTIONS, STAYS, Facts
from palmist.narration.sentences import claims
from palmist.readers import open_data
from palmist.render import RenderSettings
from palmist.tasks.videos import read_videos
from palmist.video_sets import Videos
from palmist.video_text.captions import label_caption, narrated_drawing

__all__ = ["direction_sentence", "main_direction", "video_text", "word_answers"]

_DATA, _SPLIT = "rendered_asl_words", "cross_signer_a"
_COMMAND = "palmist benchmark quality --only video_text"


def video_text(train: bool = True) -> list[BenchmarkRecord]:
    """Retrieval and zero-shot accuracy. train: first train what is not there yet; else what is not finished is left out."""
    if train:
        plan.train_missing({job.name for job in plan.video_text_jobs()})
    return [record for model in plan.VIDEO_TEXT for record in _records(model)]


def _records(model: str) -> list[BenchmarkRecord]:
    folders = {seed: plan.ROOT / f"v{seed}_{model}" for seed in plan.TABLE_SEEDS}
    seeds = tuple(seed for seed, folder in folders.items() if (folder / "finished").is_file())
    if not seeds:
        return []
    found = [_vectors(folders[seed], model) for seed in seeds]
    known = _known()
    values: dict[str, Metric] = {}
    for query, texts, right in (("", known.captions, known.relevancy), ("labels_", known.labels, known.same_label)):
        scores = [_both_ways(row["clips"] @ row["labels" if query else "captions"].T, right) for row in found]
        for number, metric in enumerate(("map", "ndcg")):
            videos = over_seeds(np.stack([score[0][number] for score in scores]), known.sessions)
            sentences = over_seeds(np.stack([score[1][number] for score in scores]), np.arange(len(texts)))
            values[f"{query}{metric}_video_to_text"] = videos
            values[f"{query}{metric}_text_to_video"] = sentences
            values[f"{query}{metric}"] = _mean(videos, sentences)
    words = np.stack([(row["clips"] @ row["labels"].T).argmax(1) == known.label for row in found]).astype(float)
    values["zero_shot_words_accuracy"] = over_seeds(words, known.sessions)
    moving = known.direction >= 0
    ways = np.stack([(row["clips"] @ row["directions"].T).argmax(1) == known.direction for row in found]).astype(float)
    values["zero_shot_directions_accuracy"] = over_seeds(ways[:, moving], known.sessions[moving])
    return [
        make_record(f"hod/rendered/{model}/{metric}", value.value, "share", value.n, _COMMAND, value.interval, seeds=seeds)
        for metric, value in values.items()
    ]


def _vectors(run: Path, model: str) -> dict[str, np.ndarray]:
    measure = functools.partial(_measure, run / "last", "labels" not in model)
    return measured(run.name, [run / "last"], [__file__], measure)


def word_answers(run: Path, model: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[str, ...]]:
    """What a trained model says of the unseen signer's words, its labels as sentences, at its own temperature: names (N,),
    probabilities (N, L), truth (N,), labels."""
    vectors, videos = _vectors(run, model), _videos(8, 64)
    scale = float(load_checkpoint(run / "last").state["log_scale"].exp())
    logits = scale * (vectors["clips"] @ vectors["labels"].T).astype(np.float64)
    shares = np.exp(logits - logits.max(1, keepdims=True))
    probabilities = shares / shares.sum(1, keepdims=True)
    return np.array(videos.names), probabilities, np.asarray(videos.label), tuple(videos.labels)


def _mean(first: Metric, second: Metric) -> Metric:
    """Of both ways; its bounds are the mean bounds, the widest that they can be."""
    assert first.interval is not None
    assert second.interval is not None
    low, high = ((a + b) / 2 for a, b in zip(first.interval, second.interval, strict=True))
    return Metric((first.value + second.value) / 2, first.n + second.n, (low, high))


def _both_ways(similarity: np.ndarray, right: np.ndarray) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
    """(average precision, nDCG) of every clip as a query, and of every text."""
    return average_precisions(similarity, right), average_precisions(similarity.T, right.T)


def _measure(checkpoint: Path, narrated: bool) -> dict[str, np.ndarray]:
    """Vectors of clips (N, E), of captions, labels and directions; narrated: the captions of the training told of motion."""
    reader = VideoTextReader(str(checkpoint), checkpoint)
    videos, known = _videos(reader.clip.frames, reader.clip.size), _known()
    ways = [*(direction_sentence(way) for way in DIRECTIONS), "The right hand stays still."]
    clips = reader.embed_clips([videos.open(n).read(np.arange(videos.open(n).frames)) for n in range(len(videos))])
    return {
        "clips": clips,
        "captions": reader.embed_texts(known.captions),
        "labels": class_vectors(reader, known.labels, [f"{{}} {way}" for way in ways] if narrated else ["{}"]),
        "directions": class_vectors(reader, DIRECTIONS, [f"{label} {direction_sentence('{}')}" for label in known.labels]),
    }


@functools.lru_cache(maxsize=1)
def _videos(frames: int, size: int) -> Videos:
    name, config = evaluation_set(_DATA, _SPLIT, frames, size)
    options = {**config.options, "folder": str(plan.DRAWN)}
    return read_videos(name, type(config)(config.kind, options=options))


# --------------------------------------------------------------------------------------------------------------------
# What is known of the tested clips


def direction_sentence(direction: str) -> str:
    """The class of a direction in words.

    >>> direction_sentence("up")
    'The right hand moves up.'
    """
    return f"The right hand moves {direction}."


def main_direction(facts: Facts) -> str | None:
    """The direction in which the right hand moves farthest; None where it is not seen or stays."""
    hand = facts.hands.get("right")
    moves: dict[str, float] = {}
    for piece in hand.pieces if hand is not None else ():
        if piece.direction != STAYS:
            moves[piece.direction] = moves.get(piece.direction, 0.0) + piece.distance
    return max(moves, key=lambda way: moves[way]) if moves else None


class _Known:
    """Captions (M) without repetition, labels (L) as sentences; relevancy (N, M), same_label (N, L); label (N,), direction (N,)
    number in DIRECTIONS or -1, sessions (N,)."""

    def __init__(self) -> None:
        videos = _videos(8, 64)
        _, config = evaluation_set(_DATA, _SPLIT, 8, 64)
        settings = RenderSettings(**{"tracks": 0, **config.options["settings"]})
        recordings = {recording.name: recording for recording in open_data("asl_words")}
        narrations = [narrated_drawing(recordings[name], settings) for name in videos.names]
        self.label = np.asarray(videos.label)
        self.labels = [label_caption(label, "asl_words") for label in videos.labels]
        ways = [main_direction(narration.facts) for narration in narrations]
        self.direction = np.array([-1 if way is None else DIRECTIONS.index(way) for way in ways])
        self.sessions = np.array([str(recordings[name].session) for name in videos.names])
        said = [
            f"{self.labels[label]} {narration.text}".strip() for label, narration in zip(self.label, narrations, strict=True)
        ]
        self.captions = sorted(set(said))
        numbers = {claim: place for place, claim in enumerate(sorted({claim for text in said for claim in claims(text)}))}
        nouns = {text: {numbers[claim] for claim in claims(text)} for text in self.captions}
        verbs = {text: int(label) for text, label in zip(said, self.label, strict=True)}
        self.relevancy = relevancy(
            self.label,
            [nouns[text] for text in said],
            [verbs[text] for text in self.captions],
            [nouns[t] for t in self.captions],
        )
        self.same_label = (self.label[:, None] == np.arange(len(self.labels))).astype(float)


_known = functools.lru_cache(maxsize=1)(_Known)

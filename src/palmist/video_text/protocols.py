"""EgoVideo's tests without training, for any model: all that they need is a function that embeds sentences and one that embeds
clips.

>>> model = Embedders(embed_texts, embed_clips)
>>> records = zero_shot("epic_retrieval", read_epic_kitchens(root), model, "egovideo", "palmist evaluate ...")

What a clip's frames are is the model's affair; EgoVideo takes 16 frames, the middle ones of equal parts of the clip, resized
and cropped to the centre (its loaders: to 224 pixels, even for models of 336).

Protocols as EgoVideo's code has them (`PROTOCOLS`):
- epic_retrieval: EPIC-KITCHENS-100 multi-instance retrieval, every row against every unique sentence;
- epic_classes: its 3,806 "verb:noun" classes, each told by the mean of **all** distinct sentences of train and validation that
  have it, so the labels' sentences are not of the training part alone; rows of the retrieval test part;
- egtea_classes: 106 actions by their bare names, test part of the first split;
- egomcq: five clips for a sentence, each type on its own.

Letters: N items, D width, V videos, T texts, L classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from palmist.errors import InputError
from palmist.evaluation.benchmark_record import BenchmarkRecord, make_record
from palmist.metrics.classification import mean_class_accuracy, top_k_accuracy
from palmist.metrics.intervals import Array, ArrayLike, Metric, as_array
from palmist.metrics.retrieval import multi_instance_retrieval, multiple_choice
from palmist.video_text.clips import TextClip
from palmist.video_text.egomcq import EgoMcq
from palmist.video_text.egtea import Egtea
from palmist.video_text.epic_kitchens import EpicKitchens, EpicRetrieval

__all__ = ["PROTOCOLS", "Embedders", "egomcq", "egtea_classes", "epic_classes", "epic_retrieval", "zero_shot"]


@dataclass(frozen=True)
class Embedders:
    """A model of videos and texts.

    texts: N sentences to (N, D); clips: N clips to (N, D), any length of vectors, numpy or torch. batch: how many at a time.
    """

    texts: Callable[[list[str]], ArrayLike]
    clips: Callable[[list[TextClip]], ArrayLike]
    batch: int = 64

    def unit_texts(self, sentences: Sequence[str]) -> Array:
        """(N, D) float32 of length 1; InputError where the model gives another shape, nan or nothing."""
        return _unit(self.texts, sentences, self.batch, "texts")

    def unit_clips(self, clips: Sequence[TextClip]) -> Array:
        """(N, D) float32 of length 1; InputError where the model gives another shape, nan or nothing."""
        return _unit(self.clips, clips, self.batch, "clips")


def epic_retrieval(part: EpicRetrieval, model: Embedders) -> dict[str, Metric]:
    """mAP and nDCG of both directions and their mean; intervals of video queries draw whole recordings."""
    similarity = model.unit_clips(part.clips) @ model.unit_texts(part.sentences).T  # (V, T)
    found = multi_instance_retrieval(similarity, part.relevancy(), [clip.video for clip in part.clips])
    named = {"": found.mean, "_video_to_text": found.video_to_text, "_text_to_video": found.text_to_video}
    maps = {f"map{name}": direction.mean_average_precision for name, direction in named.items()}
    return maps | {f"ndcg{name}": direction.ndcg for name, direction in named.items()}


def epic_classes(kitchens: EpicKitchens, part: EpicRetrieval, model: Embedders) -> dict[str, Metric]:
    """Top-1 and top-5 of the "verb:noun" classes of `kitchens`, over the clips of `part`."""
    texts = kitchens.class_texts()
    number = {label: place for place, label in enumerate(texts)}
    distinct = list(dict.fromkeys(text for own in texts.values() for text in own))
    row = {text: place for place, text in enumerate(distinct)}
    embedded = model.unit_texts(distinct)
    means = np.stack([embedded[[row[text] for text in own]].mean(0) for own in texts.values()])
    classes = _normalise(means, "classes")  # (L, D)
    unknown = sorted({str(clip.label) for clip in part.clips} - set(number))
    if unknown:
        raise InputError(
            f"action class {unknown[0]} of the retrieval rows is in no action list; expected both from one version"
        )
    scores = model.unit_clips(part.clips) @ classes.T  # (V, L)
    labels = [number[str(clip.label)] for clip in part.clips]
    return {f"top{k}": top_k_accuracy(scores, labels, k) for k in (1, 5)}


def egtea_classes(contents: Egtea, model: Embedders, split: str = "test1") -> dict[str, Metric]:
    """Top-1 and mean class accuracy over all actions."""
    clips = contents.of_split(split)
    scores = model.unit_clips(clips) @ model.unit_texts(contents.class_texts()).T
    labels = [contents.actions.index(str(clip.label)) for clip in clips]
    mean = mean_class_accuracy(scores.argmax(1), labels, len(contents.actions))
    return {"top1": top_k_accuracy(scores, labels), "mean_class_accuracy": mean}


def egomcq(contents: EgoMcq, model: Embedders) -> dict[str, Metric]:
    """Accuracy of each type, "inter" and "intra"; there is no mean of both."""
    clips = [clip for question in contents.questions for clip in question.choices]
    spans = [(clip.video, clip.start, clip.end) for clip in clips]
    first = {span: place for place, span in reversed(list(enumerate(spans)))}  # many clips are asked for again
    row = {span: place for place, span in enumerate(first)}
    embedded = model.unit_clips([clips[place] for place in first.values()])
    choices = embedded[[row[span] for span in spans]].reshape(len(contents.questions), -1, embedded.shape[1])  # (Q, 5, D)
    texts = model.unit_texts([question.text for question in contents.questions])
    scores = np.einsum("qkd,qd->qk", choices, texts)
    answers = [question.answer for question in contents.questions]
    found = multiple_choice(scores, answers, [question.type for question in contents.questions])
    return {f"{kind}_accuracy": metric for kind, metric in found.items()}


#: name: data set (`palmist.video_text.TEXT_SETS`), part, and what measures it.
PROTOCOLS: Mapping[str, tuple[str, str, Callable[[Any, Embedders], dict[str, Metric]]]] = {
    "epic_retrieval": ("epic_kitchens", "retrieval_test", lambda read, model: epic_retrieval(_test_part(read), model)),
    "epic_classes": ("epic_kitchens", "validation", lambda read, model: epic_classes(read, _test_part(read), model)),
    "egtea_classes": ("egtea", "test1", egtea_classes),
    "egomcq": ("egomcq", "all", egomcq),
}


def zero_shot(protocol: str, contents: Any, model: Embedders, name: str, command: str) -> list[BenchmarkRecord]:
    """Run one of `PROTOCOLS` and give its numbers as records.

    contents: what the reader of the protocol's data set gave; name: of the model, in records; command: what repeats it.
    Raises InputError for an unknown protocol or contents of another set.
    """
    if protocol not in PROTOCOLS:
        raise InputError(f"unknown test '{protocol}'; expected one of {', '.join(PROTOCOLS)}")
    data, part, measure = PROTOCOLS[protocol]
    expected = {"epic_kitchens": EpicKitchens, "egtea": Egtea, "egomcq": EgoMcq}[data]
    if not isinstance(contents, expected):
        raise InputError(f"{protocol} came with {type(contents).__name__}; expected what the reader of {data} gives")
    found = measure(contents, model)
    return [
        make_record(f"{data}/{part}/{name}/{metric}", value.value, "share", value.n, command, value.interval)
        for metric, value in found.items()
        if value.n
    ]


def _test_part(kitchens: EpicKitchens) -> EpicRetrieval:
    if "test" not in kitchens.retrieval:
        raise InputError(
            "the retrieval lists of EPIC-KITCHENS-100 are missing; expected retrieval_annotations/EPIC_100_retrieval_test.csv "
            "beside its action lists"
        )
    return kitchens.retrieval["test"]


def _unit(embed: Callable[[list[Any]], ArrayLike], items: Sequence[Any], batch: int, what: str) -> Array:
    if not len(items):
        raise InputError(f"there are no {what} to embed; expected one or more")
    found = []
    for start in range(0, len(items), batch):
        chosen = list(items[start : start + batch])
        vectors = as_array(embed(chosen), np.float32)
        if vectors.ndim != 2 or len(vectors) != len(chosen):
            raise InputError(f"the model gave {vectors.shape} for {len(chosen)} {what}; expected ({len(chosen)}, width)")
        found.append(_normalise(vectors, what))
    return np.concatenate(found)


def _normalise(vectors: Array, what: str) -> Array:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not (np.isfinite(length).all() and (length > 0).all()):
        raise InputError(f"the model's vectors of {what} hold nan, infinity or only zeros; expected numbers")
    return vectors / length

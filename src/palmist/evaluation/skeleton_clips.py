"""Accuracy on skeleton clips: over all, by class, on the actions of the hands, and of streams added up."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from palmist.errors import InputError
from palmist.evaluation.hand_intensive import PALMIST_HAND_8_V1, PALMIST_HAND_27_V1, subset_accuracy
from palmist.inputs.clip_source import ClipSource, open_clips
from palmist.metrics.classification import accuracy, mean_class_accuracy, top_k_accuracy
from palmist.metrics.intervals import Metric
from palmist.model_zoo import checkpoint_path
from palmist.models.bharnet import ensemble
from palmist.readers.ntu_names import ACTIONS
from palmist.tasks.skeleton_clips import load_clip_model, recognise_clips

__all__ = ["clip_scores", "score_clips"]

Row = tuple[str, str, Metric]


def clip_scores(
    checkpoint: str | Path, data: str | Path, split: str = "all", others: Sequence[str | Path] = ()
) -> tuple[str, list[Row]]:
    """The data set's name and (model, metric, value) of a checkpoint of the task bharnet_clips.

    Args:
        data: a store, or a folder of clip files. split: "all", or a part of a split such as "xsub_test".
        others: checkpoints of other streams (bone, joint_motion, bone_motion); their probabilities are added 2 : 2 : 1 : 1.

    Raises InputError for checkpoints that do not belong together, and for clips without a label that they know.
    """
    source = open_clips(data).chosen(None if split == "all" else split)
    networks = [load_clip_model(checkpoint_path(one)) for one in (checkpoint, *others)]
    labels = networks[0].model.config.labels
    streams = [network.stream for network in networks]
    if any(network.model.config.labels != labels for network in networks):
        raise InputError("the checkpoints know different labels; expected trainings on one store, one for each stream")
    if len(set(streams)) < len(streams):
        raise InputError(f"the checkpoints are of the streams {', '.join(streams)}; expected each stream once")
    row = {label: place for place, label in enumerate(labels)}
    truth = np.array([row.get(one.label or "", -1) for one in source.facts])
    if (truth < 0).all():
        raise InputError(f"{data} has no clip with a label of {checkpoint}; expected the data set that it was trained on")
    if others:  # a stream without a weight is refused before the networks run, which may take an hour
        ensemble({stream: torch.zeros(1, 1) for stream in streams})
    found = {network.stream: recognise_clips(network, source) for network in networks}
    official = _ntu_numbers(source)
    name = source.facts[0].name.split("/")[0]
    if not others:
        return name, [("bharnet", *measured) for measured in score_clips(found[streams[0]], truth, labels, official)]
    rows: list[Row] = [(f"bharnet_{stream}", "accuracy", accuracy(p.argmax(1), truth)) for stream, p in found.items()]
    return name, rows + [("bharnet_ensemble", *measured) for measured in score_clips(ensemble(found), truth, labels, official)]


def _ntu_numbers(source: ClipSource) -> bool:
    """Whether the labels are NTU RGB+D's own, by number and name."""
    return all(
        one.number is not None and 1 <= one.number <= len(ACTIONS) and one.label == ACTIONS[one.number - 1]
        for one in source.facts
        if one.label is not None
    )


def score_clips(probabilities: Tensor, truth: np.ndarray, labels: Sequence[str], ntu: bool = False) -> list[tuple[str, Metric]]:
    """Accuracy, top-5, class mean, then for NTU RGB+D the subset of hand actions, then every class that occurs.

    probabilities (N, L); truth (N,) rows of labels, -1 = not labelled. A class's accuracy is called accuracy_of_ITS_NAME.
    """
    predicted = probabilities.argmax(1).numpy()
    rows = [("accuracy", accuracy(predicted, truth))]
    if len(labels) > 5:
        rows.append(("top5_accuracy", top_k_accuracy(probabilities.numpy(), truth, 5)))
    rows.append(("class_mean_accuracy", mean_class_accuracy(predicted, truth, len(labels))))
    if ntu:
        subset = PALMIST_HAND_27_V1 if any(label in labels for label in ACTIONS[60:]) else PALMIST_HAND_8_V1
        numbers = [labels.index(label) + 1 for label in subset.values() if label in labels]
        rows.append((f"palmist_hand_{len(subset)}_v1_accuracy", subset_accuracy(predicted, truth, numbers)))
    for place, label in enumerate(labels):
        own = np.where(truth == place, truth, -1)
        if (own >= 0).any():
            words = re.sub(r"[^a-z0-9]+", "_", label.lower()).strip("_")
            rows.append((f"accuracy_of_{words}", accuracy(predicted, own)))
    return rows

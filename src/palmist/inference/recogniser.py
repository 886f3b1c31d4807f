"""Recognisers: networks that name the action of a whole recording and nothing else, in the place of G-HTT's A-block.

`palmist.load("bharnet-words")` gives a Reader whose poses and futures are the shipped G-HTT's and whose actions are the
recogniser's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from palmist.checkpoint import Checkpoint, load_model_state
from palmist.config import build_config
from palmist.errors import InputError
from palmist.inference.action_curve import prefix_lengths
from palmist.recording import Recording

__all__ = ["RECOGNISERS", "Recogniser", "SkeletonRecogniser", "choose_labels"]

#: Moments of the curve over time; each is a run of the network.
_MOMENTS = 40


class Recogniser(Protocol):
    """labels: all that it knows; taxonomies: name -> {"labels", "space", "body"}."""

    labels: tuple[str, ...]
    taxonomies: Mapping[str, Any]

    def probabilities(self, recordings: Sequence[Recording], candidates: Tensor) -> Tensor:
        """(N, L) of whole recordings of one space, 0 outside `candidates` (L,) bool."""
        ...


def choose_labels(
    recogniser: Recogniser, name: str, space: str, body: bool, labels: str | Sequence[str] | None
) -> tuple[tuple[str, ...], Tensor]:
    """The labels to choose from and their rows (L,) bool; see `Reader.read` for what `labels` may be.

    A recogniser has a plain classifier: a list of labels must be among its own.
    """
    table, taxonomies = recogniser.labels, recogniser.taxonomies
    if isinstance(labels, str):
        if labels not in taxonomies:
            raise InputError(f"{name} has no taxonomy '{labels}'; it has {', '.join(taxonomies) or 'none'}")
        chosen = set(taxonomies[labels]["labels"])
    elif labels is not None:
        chosen = set(labels)
        unknown = sorted(chosen - set(table))
        if unknown or not chosen:
            raise InputError(
                f"{name} does not know the label {', '.join(unknown) or '(none given)'}; it knows {', '.join(table)}; "
                "labels of your own need a G-HTT checkpoint, which reads them as text"
            )
    else:
        fitting = [entry["labels"] for entry in taxonomies.values() if entry["space"] == space and entry["body"] == body]
        chosen = {label for entry in fitting for label in entry}
    names = tuple(label for label in table if label in chosen) or table
    return names, torch.tensor([label in names for label in table], dtype=torch.bool)


def recognise_over_time(recogniser: Recogniser, recording: Recording, candidates: Tensor) -> dict[str, np.ndarray]:
    """The action of the whole recording and of its frames up to each moment: the fields of a Reading."""
    rate = (len(recording) - 1) / max(float(recording.time[-1] - recording.time[0]), 1e-6)
    ends = prefix_lengths(len(recording), min(rate, 1000.0), least=min(8, len(recording)))
    ends = ends[torch.linspace(0, len(ends) - 1, min(len(ends), _MOMENTS)).round().long()]
    seen = [end for end in ends.tolist() if recording.known[:end].any()]
    parts = [recording.slice(0, end) for end in seen] or [recording]
    share = recogniser.probabilities(parts, candidates)[:, candidates].numpy().astype(np.float64)
    return {
        "probabilities": share[-1],
        "action_time": np.asarray([part.time[-1] for part in parts]),
        "action_probabilities": share,
    }


class SkeletonRecogniser:
    """BHaRNet as a recogniser."""

    def __init__(self, checkpoint: Checkpoint, path: Path) -> None:
        from palmist.models.bharnet import BHaRNet, BHaRNetConfig

        self.model = BHaRNet(build_config(BHaRNetConfig, checkpoint.config["bharnet"], "bharnet"))
        load_model_state(self.model, checkpoint.state, str(path))
        self.model.eval().requires_grad_(False)
        self.labels = self.model.config.labels
        self.taxonomies: Mapping[str, Any] = checkpoint.config.get("taxonomies", {})

    def probabilities(self, recordings: Sequence[Recording], candidates: Tensor) -> Tensor:
        """See `Recogniser.probabilities`."""
        from palmist.inputs.body_hand import skeleton_batch

        return self.model.recognise(**skeleton_batch(recordings, self.model.config), candidates=candidates)


#: kind of checkpoint -> how it becomes a recogniser.
RECOGNISERS = {"bharnet": SkeletonRecogniser}

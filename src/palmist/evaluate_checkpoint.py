"""`palmist evaluate`: every metric that a checkpoint and the data allow, on one split by person."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from palmist.benchmark_record import BenchmarkRecord, make_record
from palmist.errors import InputError
from palmist.evaluate import forecast, load_ghtt, recognise, refine_vectors, score_refinement
from palmist.forecast_protocol import PROTOCOLS, forecast_windows, score_forecasts
from palmist.metrics.classification import accuracy, mean_class_accuracy
from palmist.metrics.intervals import Metric, mean_metric
from palmist.model_zoo import checkpoint_path
from palmist.models.ghtt import GHTT
from palmist.readers import OPEN_SETS, open_data
from palmist.recording import Recording
from palmist.splits import named_split, recordings_of
from palmist.store import Store
from palmist.tasks import labelled_parts
from palmist.windows import to_pose_sequence

__all__ = ["evaluate_checkpoint"]


def _recordings(data: str) -> tuple[str, list[Recording]]:
    """The data set's name and its recordings, from an open set's name or a store's folder."""
    if data in OPEN_SETS:
        return data, open_data(data)
    recordings = list(Store.open(Path(data)))
    if not recordings:
        raise InputError(f"{data} is an empty store; prepare one with: palmist prepare DATASET --root DIR --out STORE")
    return recordings[0].name.split("/")[0], recordings


def evaluate_checkpoint(checkpoint: str | Path, data: str, split: str = "all") -> list[BenchmarkRecord]:
    """Refinement, recognition and prediction of a checkpoint on the test people of a split.

    Args:
        checkpoint: the folder of a checkpoint, or a model's name.
        data: an open set's name, or the folder of a store.
        split: a name in `palmist.splits.SPLITS` ("all": every recording; the caller knows whom the model has seen).

    Returns:
        Records named data/split/model/metric. Sets without labels that the model knows have no accuracy, sets without a
        forecast protocol no prediction error.

    Raises:
        InputError: unknown checkpoint, data set or split; nothing to evaluate.

    Example:
        >>> evaluate_checkpoint("ghtt-small", "asl_words", "cross_signer_a")[0].name
        'asl_words/cross_signer_a/ghtt/accuracy'
    """
    model = load_ghtt(checkpoint_path(checkpoint))
    name, recordings = _recordings(data)
    chosen = recordings_of(recordings, named_split(name, split).test)
    if not chosen:
        raise InputError(f"{data} holds no recording of the test people of split '{split}'; expected at least one")
    shown = "CHECKPOINT" if Path(checkpoint).is_absolute() else str(checkpoint)
    command = f"palmist evaluate {shown} --data {name} --split {split}"
    measured = [*_recognition(model, chosen), *_refinement(model, chosen), *_prediction(model, name, chosen)]
    return [
        make_record(f"{name.lower()}/{split}/ghtt/{metric}", value.value, unit, value.n, command, value.interval)
        for metric, value, unit in measured
    ]


_Row = tuple[str, Metric, str]


def _recognition(model: GHTT, recordings: Sequence[Recording]) -> list[_Row]:
    if model.a is None:
        return []
    items = [part for recording in recordings for part in labelled_parts(recording, None)]
    known = [item for item in items if item[1] in model.a.config.labels]
    if not known:
        return []
    labels = tuple(sorted({label for _, label in known}))
    result = recognise(model, known, labels)
    return [
        ("accuracy", accuracy(result.predicted, result.truth), "share"),
        ("class_mean_accuracy", mean_class_accuracy(result.predicted, result.truth, len(labels)), "share"),
    ]


def _refinement(model: GHTT, recordings: Sequence[Recording]) -> list[_Row]:
    seen = [recording for recording in recordings if recording.valid.any()]
    if not seen:
        return []
    sequences = [to_pose_sequence(recording, model.p.config.rate) for recording in seen]
    groups = [str(recording.session or recording.subject or recording.name) for recording in seen]
    score = score_refinement(functools.partial(refine_vectors, model.p), sequences, groups)
    ratio = Metric(float(score.refined.sum() / score.noisy.sum()), len(score.refined))
    return [
        ("refine_error_ratio", ratio, "ratio"),
        ("refine_clean_shift", mean_metric(score.clean, interval=True, groups=list(score.groups)), "hand sizes"),
    ]


def _prediction(model: GHTT, name: str, recordings: Sequence[Recording]) -> list[_Row]:
    windows = list(forecast_windows(name, recordings)) if name in PROTOCOLS else []
    if not windows:
        return []
    certain, sampled = forecast(model.p, windows)
    row = {id(window): i for i, window in enumerate(windows)}

    def scores(futures: list[np.ndarray]) -> dict[str, Metric]:
        return score_forecasts(windows, lambda window: futures[row[id(window)]])[0]

    one, many, unit = scores(certain), scores(sampled), windows[0].recording_unit
    return [("ade", one["ade"], unit), ("fde", one["fde"], unit), ("ade_k20", many["ade_best"], unit)]

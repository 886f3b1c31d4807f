"""The plain transformer on signed words: `palmist benchmark quality --only plain_transformer`.

Three seeds on each split (`palmist.benchmark.plan.plain_jobs`), on the people, batches and labels of the section bharnet. An
interval resamples seeds and, within them, sessions.
"""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np

from palmist.benchmark import plan
from palmist.benchmark.kept import measured
from palmist.evaluation.benchmark_record import BenchmarkRecord, make_record
from palmist.metrics.intervals import over_seeds
from palmist.readers import open_data
from palmist.recording import Recording
from palmist.splits import FOLDS, recordings_of
from palmist.tasks.labelled import labelled_parts
from palmist.tasks.plain_transformer import load_plain, recognise_plain

__all__ = ["plain_transformer"]

COMMAND = "palmist benchmark quality --only plain_transformer"


def plain_transformer(train: bool = True) -> list[BenchmarkRecord]:
    """Accuracy on both splits. train: first train what is not there yet; else seeds that are not trained are left out."""
    if train:
        plan.train_missing({job.name for job in plan.plain_jobs()})
    records = []
    for split, number in (("a", 1), ("b", 2)):
        runs = {seed: plan.ROOT / f"s{seed}_{split}_plain_transformer" for seed in plan.TABLE_SEEDS}
        runs = {seed: run for seed, run in runs.items() if (run / "finished").is_file()}
        if not runs:
            continue
        test = recordings_of(open_data("asl_words"), FOLDS[number].signers)
        items = [part for recording in test for part in labelled_parts(recording, None)]
        found = [
            measured(run.name, [run / "last"], [__file__], functools.partial(_hits, run / "last", items))["hits"]
            for run in runs.values()
        ]
        mean = over_seeds(np.stack(found), np.array([str(recording.session) for recording, _ in items]))
        name = f"asl_words/cross_signer_{split}/plain_transformer/accuracy"
        records.append(make_record(name, mean.value, "share", mean.n, COMMAND, mean.interval, seeds=tuple(runs)))
    return records


def _hits(checkpoint: Path, items: list[tuple[Recording, str]]) -> dict[str, np.ndarray]:
    labels = tuple(sorted({label for _, label in items}))
    probabilities, truth = recognise_plain(load_plain(checkpoint), items, labels)
    return {"hits": (probabilities.argmax(1) == truth).numpy().astype(float)}

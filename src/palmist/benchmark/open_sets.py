"""What the recognisers make of every open set with joints: `palmist benchmark quality --only open_sets`.

The section ghtt-tables has G-HTT's family on the words of signer S2, the section bharnet the skeleton networks on both splits
of the words. Here is what is left of the one table, three seeds each:

    words B   G-HTT's family (G-HTT, HTT, recognition only, flattened VAE), trained on fold 2 with the steps of ghtt-tables
    words A   the flattened VAE, which names actions by its latent
    letters   signer S2 unseen: G-HTT's family and the flattened VAE as they are after ghtt-tables, whose trainings have letters
              among their sets; the hand expert, the plain transformer and a linear model on letters alone
    reach     the thing's size from the reach alone, persons P1 and P2 unseen: G-HTT's family and the skeleton networks trained
              on reaches, the flattened VAE as it is after ghtt-tables (it saw whole recordings)

Letters show one hand and no body, so what couples body and hands has nothing to couple there. The linear model is logistic
regression on the plain transformer's features at ten frames. An interval resamples seeds and, within them, sessions (words),
recordings (letters) or trials (reaches; two people are too few to resample).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from palmist.benchmark import plan
from palmist.benchmark.kept import measured
from palmist.checkpoint import load_checkpoint
from palmist.evaluation.benchmark_record import BenchmarkRecord, make_record
from palmist.evaluation.ghtt import load_ghtt, recognise
from palmist.inputs.action_bank import pad_sequences
from palmist.inputs.body_hand import body_hand_input
from palmist.inputs.windows import to_pose_sequence
from palmist.metrics.intervals import over_seeds
from palmist.models.baselines.plain_transformer import wrist_local
from palmist.models.baselines.simple import LogisticRegression
from palmist.readers import open_data
from palmist.recording import Recording
from palmist.splits import FOLDS, recordings_of
from palmist.tasks.generative import load_flattened
from palmist.tasks.labelled import labelled_parts
from palmist.tasks.plain_transformer import load_plain, recognise_plain
from palmist.tasks.rivals import load_rival, recognise_rival
from palmist.tasks.skeletons import load_bharnet, recognise_skeletons

__all__ = ["LETTERS", "REACH", "linear", "open_sets", "recogniser"]

_COMMAND = "palmist benchmark quality --only open_sets"
WORDS_A, WORDS_B = "asl_words/cross_signer_a", "asl_words/cross_signer_b"
LETTERS, REACH = "asl_letters/leave_out_s2", "reach_to_grasp/leave_out_p1_p2"
Items = list[tuple[Recording, str]]
_FAMILY = {"ghtt": "a", "htt": "htt", "recognition_only": "recognition_only", "flattened": "flattened"}
#: part of the table -> model of G-HTT's family -> its training
_TRAINED: dict[str, dict[str, str]] = {
    WORDS_A: {"flattened": "t{}_flattened"},
    WORDS_B: {model: f"t{{}}_b_{run}" for model, run in _FAMILY.items()},
    LETTERS: {model: f"t{{}}_{run}" for model, run in _FAMILY.items()},
    REACH: {model: f"t{{}}_reach_{run}" if model != "flattened" else f"t{{}}_{run}" for model, run in _FAMILY.items()},
}
#: part of the table -> name of its other trainings in `plan.SKELETONS_ELSEWHERE`
_ELSEWHERE = {LETTERS: "letters", REACH: "reach"}
_LINEAR_FRAMES = 10


def items_of(part: str) -> tuple[Items, Items]:
    """(recording, label) of the people that a part of the table trains on, and of those that it tests."""
    name = part.split("/")[0]
    fold = FOLDS[2 if part == WORDS_B else 1]
    recordings = open_data(name)
    unseen = {recording.name for recording in recordings_of(recordings, fold.people if part == REACH else fold.signers)}
    seen, tested = ([r for r in recordings if (r.name in unseen) == wanted] for wanted in (False, True))
    span = "reach_phase" if part == REACH else None
    train, test = ([item for r in chosen for item in labelled_parts(r, span)] for chosen in (seen, tested))
    return train, test


def open_sets(train: bool = True) -> list[BenchmarkRecord]:
    """Accuracies; see the head of this file. train: first train what is not there yet; else seeds that lack it are left out."""
    if train:
        runs = {run.format(seed) for runs in _TRAINED.values() for run in runs.values() for seed in plan.TABLE_SEEDS}
        kinds = (plan.other_fold_jobs, plan.skeletons_elsewhere_jobs, plan.reach_jobs)
        plan.train_missing(runs | {job.name for jobs in kinds for job in jobs()} | {f"t{seed}_p" for seed in plan.TABLE_SEEDS})
    records = []
    for part, models in _TRAINED.items():
        seen, items = items_of(part)
        labels = tuple(sorted({label for _, label in (*seen, *items)}))
        groups = np.array([str(r.session) if part in (WORDS_A, WORDS_B) else str(r.name) for r, _ in items])
        named = {f"{model}_equal_budget": run for model, run in models.items()}
        if part in _ELSEWHERE:
            named |= {model: f"s{{}}_{_ELSEWHERE[part]}_{model}" for model in plan.SKELETONS_ELSEWHERE[_ELSEWHERE[part]]}
            hits = linear(seen, items, labels)[None]
            records.append(_record(part, "linear", hits, groups, (0,)))
        for model, run in named.items():
            folders = {seed: plan.ROOT / run.format(seed) for seed in plan.TABLE_SEEDS}
            folders = {seed: folder for seed, folder in folders.items() if (folder / "finished").is_file()}
            if folders:
                rows = [_kept(folder, part, items, labels) for folder in folders.values()]
                records.append(_record(part, model, np.stack(rows), groups, tuple(folders)))
    return records


def linear(seen: Items, items: Items, labels: tuple[str, ...]) -> np.ndarray:
    """Which of `items` logistic regression names rightly, (N,), fitted on `seen`."""
    model = LogisticRegression(inverse_penalty=1.0, iterations=200)
    model.fit(_features(seen), np.array([labels.index(label) for _, label in seen]), len(labels))
    return np.asarray(model.predict(_features(items)).numpy() == [labels.index(label) for _, label in items], dtype=float)


def _features(items: Items) -> np.ndarray:
    rows = []
    for first in range(0, len(items), 256):
        sequences = [to_pose_sequence(recording) for recording, _ in items[first : first + 256]]
        batch = body_hand_input(pad_sequences(sequences), _LINEAR_FRAMES, sequences[0].space == "metric")
        rows.append(wrist_local(batch["hands"][:, 0], batch["hands_known"][:, 0]).flatten(1).numpy())
    return np.concatenate(rows)


def _kept(folder: Path, part: str, items: Items, labels: tuple[str, ...]) -> np.ndarray:
    name = f"{folder.name}_{part.replace('/', '_')}"
    return measured(name, [folder / "last"], [__file__], functools.partial(_hits, folder, items, labels))["hits"]


def _hits(folder: Path, items: Items, labels: tuple[str, ...]) -> dict[str, np.ndarray]:
    truth = np.array([labels.index(label) for _, label in items])
    return {"hits": (recogniser(folder / "last")(items, labels).argmax(1) == truth).astype(float)}


def recogniser(checkpoint: Path) -> Callable[[Items, tuple[str, ...]], np.ndarray]:
    """What gives a trained model's probabilities (N, L) of items among labels."""
    kind = load_checkpoint(checkpoint).config["model"]
    if kind == "ghtt":
        ghtt = load_ghtt(checkpoint)
        return lambda items, labels: recognise(ghtt, items, labels).probabilities
    if kind == "bharnet":
        bharnet = load_bharnet(checkpoint)
        return lambda items, labels: np.asarray(recognise_skeletons(bharnet, items, labels)[0]["fused"])
    if kind == "plain_transformer":
        plain = load_plain(checkpoint)
        return lambda items, labels: np.asarray(recognise_plain(plain, items, labels)[0])
    rival = load_flattened(checkpoint) if kind == "flattened" else load_rival(checkpoint)
    return lambda items, labels: np.asarray(recognise_rival(rival, items, labels)[0])


def _record(part: str, model: str, hits: np.ndarray, groups: np.ndarray, seeds: Sequence[int]) -> BenchmarkRecord:
    mean = over_seeds(hits, groups)
    return make_record(f"{part}/{model}/accuracy", mean.value, "share", mean.n, _COMMAND, mean.interval, seeds=tuple(seeds))

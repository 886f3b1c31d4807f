"""Body and hand experts and their rivals on signed words: `palmist benchmark quality --only bharnet`.

Every model is trained with three seeds, the same steps and the same batches (`palmist.benchmark.plan.body_hand_jobs`) on the
people of each split. `score_sum` adds the logits of `body_only` and `hand_only`, which were trained apart. Beside accuracy
stand parameters and multiply-adds of one recording with body and both hands, and, on every third recording of cross-signer A,
how accuracy falls

- when each frame is lost with a chance (`frames_lost_30`: 30 %), body and hands together;
- when each joint is disturbed (`noise_10`: 0.10 hand sizes in x and y, the body's joints likewise);
- when the right, the left or both hands are never seen (`no_right_hand`).

An interval resamples seeds and, within them, sessions.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from palmist.benchmark import plan
from palmist.benchmark.kept import measured
from palmist.evaluation.benchmark_record import BenchmarkRecord, make_record
from palmist.inputs.windows import REFERENCE_HAND_SIZE, to_model_space
from palmist.metrics.intervals import Metric, over_seeds
from palmist.models.bharnet import PRESETS, BHaRNet
from palmist.models.skeleton_graph import graph
from palmist.readers import open_data
from palmist.recording import Recording
from palmist.splits import FOLDS, recordings_of
from palmist.tasks.labelled import labelled_parts
from palmist.tasks.skeletons import load_bharnet, recognise_batches, skeleton_batch

__all__ = ["DAMAGE", "body_hand", "damaged"]

COMMAND = "palmist benchmark quality --only bharnet"
_SPLITS = (("a", "cross_signer_a", 1), ("b", "cross_signer_b", 2))
#: Damage of the test recordings; the clean ones are the first.
DAMAGE = (
    "clean", "frames_lost_10", "frames_lost_30", "frames_lost_50", "noise_05", "noise_10", "noise_20", "no_right_hand",
    "no_left_hand", "no_hands",
)  # fmt: skip
#: Of the test recordings every third is damaged: the network's time for all of them is long.
DAMAGED_EVERY = 3
_PARTS = ("body_only", "hand_only")  # of score_sum


def damaged(recording: Recording, damage: str, seed: int) -> Recording:
    """A recording with one of DAMAGE; the same seed gives the same damage to every model."""
    generator = np.random.default_rng([seed, int.from_bytes(recording.name.encode()[-7:], "big")])
    valid, joints, body = np.array(recording.valid), np.array(recording.joints), recording.body
    kind, _, size = damage.rpartition("_")
    if kind == "frames_lost":
        kept = generator.random(len(recording)) >= int(size) / 100
        valid &= kept[:, None]
        body = None if body is None else replace(body, valid=body.valid & kept[:, None])
    elif kind == "noise":
        hand = REFERENCE_HAND_SIZE / np.maximum(to_model_space(recording).numpy(), 1e-6)  # in the recording's own unit
        spread = hand * int(size) / 100 * np.array([1.0, 1.0, 0.0])
        joints = joints + generator.normal(size=joints.shape) * spread
        if body is not None:
            body = replace(body, joints=body.joints + generator.normal(size=body.joints.shape) * spread)
    elif damage in ("no_right_hand", "no_left_hand", "no_hands"):
        gone = {"no_right_hand": [1], "no_left_hand": [0], "no_hands": [0, 1]}[damage]
        valid[:, gone] = False
    present = valid[:, :, None, None]
    confidence = None if recording.confidence is None else recording.confidence * valid[..., None]
    if body is not None:
        body = replace(body, joints=np.where(body.valid[..., None], body.joints, 0).astype(np.float32))
    return recording.replace(
        joints=np.where(present, joints, 0).astype(np.float32), valid=valid, body=body, confidence=confidence
    )


def _test_items(number: int) -> list[tuple[Recording, str]]:
    recordings = recordings_of(open_data("asl_words"), FOLDS[number].signers)
    return [part for recording in recordings for part in labelled_parts(recording, None)]


def _folder(seed: int, split: str, model: str) -> Path:
    return plan.ROOT / f"s{seed}_{split}_{model}" / "last"


@functools.lru_cache(maxsize=2)
def _batches(number: int, damage: str) -> tuple[list[dict[str, Tensor]], tuple[str, ...], np.ndarray]:
    """The damaged test recordings as every model takes them, the labels, and the true index."""
    items = _test_items(number)
    labels = tuple(sorted({label for _, label in items}))
    chosen = _damaged_items(items, damage)
    recordings = [damaged(recording, damage, seed=0) for recording, _ in chosen]
    batches = [skeleton_batch(recordings[first : first + 128], PRESETS["small"]) for first in range(0, len(recordings), 128)]
    return batches, labels, np.array([labels.index(label) for _, label in chosen])


def _damaged_items(items: list[tuple[Recording, str]], damage: str) -> list[tuple[Recording, str]]:
    return items if damage == DAMAGE[0] else items[::DAMAGED_EVERY]


def _scores(seed: int, split: str, number: int, model: str, damage: str) -> dict[str, np.ndarray]:
    """Probabilities (N, L) of every head on the damaged test recordings."""
    batches, labels, truth = _batches(number, damage)
    found = recognise_batches(load_bharnet(_folder(seed, split, model)), batches, labels)
    return {**{name: values.numpy() for name, values in found.items()}, "truth": truth}


def _of(seed: int, split: str, number: int, model: str, damage: str) -> dict[str, np.ndarray]:
    if model == "score_sum":
        parts = [_of(seed, split, number, part, damage) for part in _PARTS]
        return {"fused": np.sum([np.log(part["fused"] + 1e-9) for part in parts], axis=0), "truth": parts[0]["truth"]}
    measure = functools.partial(_scores, seed, split, number, model, damage)
    return measured(f"s{seed}_{split}_{model}_{damage}", [_folder(seed, split, model)], [__file__], measure)


def _seeds(split: str, *models: str) -> tuple[int, ...]:
    """The seeds with which all of these models are trained."""
    runs = {seed: [plan.ROOT / f"s{seed}_{split}_{model}" / "finished" for model in models] for seed in plan.TABLE_SEEDS}
    return tuple(seed for seed, files in runs.items() if all(file.is_file() for file in files))


def _parts(model: str) -> tuple[str, ...]:
    return _PARTS if model == "score_sum" else (model,)


def _hits(found: dict[str, np.ndarray]) -> np.ndarray:
    return (found["fused"].argmax(1) == found["truth"]).astype(float)


def _class_mean(hits: np.ndarray, truth: np.ndarray) -> float:
    return float(np.mean([hits[:, truth == label].mean() for label in np.unique(truth)]))


def _size(model: BHaRNet) -> tuple[int, int]:
    """Parameters, and multiply-adds of one recording with body and both hands."""
    frames, joints = model.config.frames, graph(model.config.body_graph).joints
    body, hands = torch.zeros(1, 1, frames, joints, 3), torch.zeros(1, 1, 2, frames, 21, 3)
    known = torch.ones(body.shape[:-1], dtype=torch.bool), torch.ones(hands.shape[:-1], dtype=torch.bool)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(body, known[0], hands, known[1])
    return sum(weight.numel() for weight in model.parameters()), counter.get_total_flops() // 2


def _accuracy_records(split: str, name: str, number: int, model: str) -> list[BenchmarkRecord]:
    seeds = _seeds(split, *_parts(model))
    if not seeds:
        return []
    sessions = np.array([str(recording.session) for recording, _ in _test_items(number)])
    found = [_of(seed, split, number, model, "clean") for seed in seeds]
    hits, truth = np.stack([_hits(one) for one in found]), found[0]["truth"]
    prefix = f"asl_words/{name}/{model}"
    whole = over_seeds(hits, sessions)
    per_seed = [_class_mean(row[None], truth) for row in hits]
    classes = Metric(_class_mean(hits, truth), whole.n, (min(per_seed), max(per_seed)))
    return [
        make_record(f"{prefix}/{metric}", value.value, "share", value.n, COMMAND, value.interval, seeds=seeds)
        for metric, value in (("accuracy", whole), ("class_mean_accuracy", classes))
    ]


def _size_records(model: str) -> list[BenchmarkRecord]:
    parts = _parts(model)
    if not (seeds := _seeds("a", *parts)):
        return []
    sizes = [_size(load_bharnet(_folder(seeds[0], "a", part))) for part in parts]
    columns = zip(("parameters", "multiply_adds"), ("weights", "multiply-adds"), zip(*sizes, strict=True), strict=True)
    return [
        make_record(f"asl_words/cross_signer_a/{model}/{metric}", float(sum(values)), unit, 1, COMMAND)
        for metric, unit, values in columns
    ]


def _robustness_records(models: Sequence[str]) -> list[BenchmarkRecord]:
    from rich.progress import track

    records = []
    sessions = np.array([str(recording.session) for recording, _ in _damaged_items(_test_items(1), DAMAGE[1])])
    for damage in track(DAMAGE[1:], "damaged recordings"):
        for model in models:
            if not (seeds := _seeds("a", *_parts(model))):
                continue
            found = over_seeds(np.stack([_hits(_of(seed, "a", 1, model, damage)) for seed in seeds]), sessions)
            name = f"asl_words/cross_signer_a/{model}/accuracy_{damage}"
            records.append(make_record(name, found.value, "share", found.n, COMMAND, found.interval, seeds=seeds))
    return records


def body_hand(train: bool = True) -> list[BenchmarkRecord]:
    """Accuracy of every model on both splits, sizes, and accuracy on damaged recordings; see the head of this file.

    train: first train what is not there yet; else models and seeds without a finished training are left out.
    """
    if train:
        plan.train_missing({job.name for job in plan.body_hand_jobs()})
    records = []
    for split, name, number in _SPLITS:
        models = plan.BODY_HAND if split == "a" else plan.BODY_HAND_BOTH
        for model in (*models, "score_sum"):
            records += _accuracy_records(split, name, number, model)
    for model in (*plan.BODY_HAND, "score_sum"):
        records += _size_records(model)
    return records + _robustness_records((*plan.BODY_HAND_BOTH, "bharnet_noisy_or", "score_sum"))

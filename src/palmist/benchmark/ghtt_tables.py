"""G-HTT's Tables 1 to 4 (arXiv 2311.17366) in kind, on open data: `palmist benchmark quality --only ghtt-tables`.

All models are trained on fold 1 (`palmist.splits.FOLDS`) with three seeds and about the same budget, 10 to 16 minutes of one
core for each (`palmist.benchmark.plan.table_jobs`); G-HTT's is shared by its P-block, its refiner and its A-block. Test people:
signer S2 of asl_words (Table 1), persons P1 and P2 of reach_to_grasp (Tables 2 to 4).

- Table 1, recognition: every joint of the input is disturbed by itself. "2d" disturbs x and y, "25d" also z, three times as
  much; "low" and "high" are 0.05 and 0.15 hand sizes. These levels stand in the place of the paper's cameras, and the
  disturbed input in the place of its image estimator. Errors in millimetres of a hand of 90 mm from wrist to knuckles,
  over every second frame at 30 fps (HTT's rate).
- Tables 2 to 4, prediction: windows of up to 112 frames at 30 fps, 16 observed, as `palmist.evaluation.long_futures`.

An interval resamples seeds and, within them, sessions (words) or windows (reach). That of an FID, which has one value a
seed, is its smallest and largest value.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from palmist import pose_vector
from palmist.benchmark import plan
from palmist.benchmark.kept import measured
from palmist.evaluation import long_futures
from palmist.evaluation.benchmark_record import BenchmarkRecord, make_record
from palmist.evaluation.ghtt import load_ghtt, recognise
from palmist.evaluation.long_futures import (
    FACTOR,
    SAMPLES,
    LongWindow,
    MotionScore,
    Predictor,
    flattened_predictor,
    ghtt_predictor,
    long_windows,
    posegpt_predictor,
    true_features,
)
from palmist.inputs.action_bank import pad_sequences
from palmist.inputs.augment import HandBatch
from palmist.inputs.windows import to_model_space, to_pose_sequence
from palmist.metrics.intervals import over_seeds
from palmist.metrics.motion import frechet_distance
from palmist.metrics.pose import mpjpe_pa_errors, mpjpe_ra_errors
from palmist.models.baselines.flattened import STRONGER, WEAKER
from palmist.models.baselines.htt import HTT
from palmist.models.feature_network import FeatureNetwork, weights_hash
from palmist.models.ghtt import GHTT, cut_clips
from palmist.readers import open_data
from palmist.recording import Recording
from palmist.splits import FOLDS, recordings_of
from palmist.tasks.features import load_feature_network
from palmist.tasks.generative import load_flattened, load_posegpt
from palmist.tasks.labelled import labelled_parts
from palmist.tasks.rivals import frame_tokens, load_rival, recognise_rival

__all__ = ["LEVELS", "disturbed", "ghtt_tables"]

COMMAND = "palmist benchmark quality --only ghtt-tables"
WORDS, REACH = "asl_words/cross_signer_a", "reach_to_grasp/leave_people_out"
HAND = 0.09  # metres from wrist to knuckles in model space
#: Standard deviation of each joint in hand sizes: x and y, z.
LEVELS: dict[str, tuple[float, float]] = {
    "clean": (0.0, 0.0),
    "2d_low": (0.05, 0.0),
    "2d_high": (0.15, 0.0),
    "25d_low": (0.05, 0.15),
    "25d_high": (0.15, 0.45),
}
#: model of Table 1 -> the trainings that it needs.
RECOGNISERS: dict[str, tuple[str, ...]] = {
    "input": (),
    "ghtt": ("a", "r"),
    "recognition_only": ("recognition_only",),
    "htt": ("htt",),
    "htt_inside_ghtt": ("htt_inside_ghtt",),
}
#: model of Tables 2 to 4 -> the training that it needs.
PREDICTORS: dict[str, str] = {
    "ghtt_pa": "a",
    "ghtt_pb": "a",
    "ghtt_pb_given": "a",
    "prediction_only_pb": "a_prediction_only",
    "posegpt": "posegpt",
    "flattened_weaker": "flattened",
    "flattened_stronger": "flattened",
}
FLATTENED = {"flattened_weaker": WEAKER, "flattened_stronger": STRONGER}
SIDES = ("left", "right")


def disturbed(recordings: Sequence[Recording], level: str, seed: int) -> list[Recording]:
    """The recordings with noise on every known joint, see `LEVELS`."""
    flat, deep = LEVELS[level]
    generator = np.random.default_rng(seed)
    result = []
    for recording in recordings:
        spread = HAND * np.array([flat, flat, deep]) / to_model_space(recording).numpy()
        noise = generator.normal(size=recording.joints.shape) * spread * np.asarray(recording.known)[..., None]
        result.append(replace(recording, joints=(recording.joints + noise).astype(np.float32)))
    return result


# ---------------------------------------------------------------------------------------------------- Table 1


def _poses(refine: Callable[[HandBatch, str], Tensor], noisy: Sequence[Recording], true: Sequence[Recording]) -> np.ndarray:
    """RA and PA of each recording and hand, (N, 2 metrics, 2 hands) millimetres, over every second frame."""
    rows = []
    for first in range(0, len(true), 128):
        part = slice(first, first + 128)
        clean = [to_pose_sequence(recording) for recording in true[part]]
        given = [to_pose_sequence(n, scale=c.scale) for n, c in zip(noisy[part], clean, strict=True)]
        hands, truth = pad_sequences(given), pad_sequences(clean)
        estimate = refine(hands, clean[0].space)[:, ::2]
        known = truth.known[:, ::2] & truth.frames[:, ::2, None, None]
        errors = [
            np.where(found.counted, found.error, np.nan)  # (B, T, 2)
            for found in (
                metric(estimate.numpy(), truth.joints[:, ::2].numpy(), known.numpy())
                for metric in (mpjpe_ra_errors, mpjpe_pa_errors)
            )
        ]
        counted = [np.isfinite(error).sum(1) for error in errors]
        rows.append(np.stack([np.nansum(e, 1) / np.where(c, c, np.nan) for e, c in zip(errors, counted, strict=True)], 1))
    return np.concatenate(rows) * 1000


def _as_given(hands: HandBatch, space: str) -> Tensor:
    return hands.joints


def _refined_by_ghtt(model: GHTT, hands: HandBatch, space: str) -> Tensor:
    code = pose_vector.encode(hands.joints, hands.known & hands.frames[..., None, None], space)
    joints = model.refine(cut_clips(code, space=space, frames=hands.frames)).joints  # (B, N, T, 2, 21, 3)
    return joints.flatten(1, 2)[:, : hands.frames.shape[1]]


def _refined_by_htt(model: HTT, hands: HandBatch, space: str) -> Tensor:
    """HTT's joints of every second frame, turned as the given palms; other frames as given."""
    half = HandBatch(*(getattr(hands, name)[:, ::2] for name in hands.__dataclass_fields__))
    tokens = frame_tokens(half, space)
    with torch.no_grad():
        out = model(tokens.frames, tokens.known, tokens.mask, tokens.context, tokens.context_known)
    palms = pose_vector.encode(half.joints, half.known & half.frames[..., None, None], space).palms
    local = out.refined.unflatten(-1, (2, 21, 3)) * palms.size[..., None, None]
    joints = hands.joints.clone()
    joints[:, ::2] = local @ palms.rotation.transpose(-1, -2)
    return joints


def _recognition(seed: int, model: str) -> dict[str, np.ndarray]:
    """name of the record -> one value per test recording."""
    true = recordings_of(open_data("asl_words"), FOLDS[1].signers)
    labels = tuple(sorted({segment.label for recording in open_data("asl_words") for segment in recording.segments}))
    found: dict[str, np.ndarray] = {}
    for level in LEVELS:
        noisy = disturbed(true, level, seed)
        items = [part for recording in noisy for part in labelled_parts(recording, None)]
        refine: Callable[[HandBatch, str], Tensor] | None = None
        prefix = f"{WORDS}/{model}_equal_budget"
        if model == "input":
            prefix, refine = f"{WORDS}/input", _as_given
        elif model == "ghtt":
            result = recognise(load_ghtt(_folder(seed, "a")), items, labels)
            found[f"{prefix}/accuracy_{level}"] = result.predicted == result.truth
            refine = functools.partial(_refined_by_ghtt, load_ghtt(_folder(seed, "r")))
        else:
            rival = load_rival(_folder(seed, model))
            probabilities, truth = recognise_rival(rival, items, labels)
            found[f"{prefix}/accuracy_{level}"] = (probabilities.argmax(1) == truth).numpy()
            refine = functools.partial(_refined_by_htt, rival) if isinstance(rival, HTT) else None
        if refine is not None:
            errors = _poses(refine, noisy, true)
            for row, metric in enumerate(("mpjpe_ra", "mpjpe_pa")):
                for hand, side in enumerate(SIDES):
                    found[f"{prefix}/{metric}_{side}_{level}"] = errors[:, row, hand]
    return found


# ---------------------------------------------------------------------------------------------------- Tables 2 to 4


def _predictor(seed: int, way: str) -> Predictor:
    if way.startswith("ghtt_"):
        return ghtt_predictor(load_ghtt(_folder(seed, "a")), way.removeprefix("ghtt_"))
    if way == "prediction_only_pb":
        return ghtt_predictor(load_ghtt(_folder(seed, "a_prediction_only")), "pb")
    if way == "posegpt":
        return posegpt_predictor(load_posegpt(_folder(seed, "posegpt")))
    return flattened_predictor(load_flattened(_folder(seed, "flattened")), FLATTENED[way])


def _prediction(seed: int, way: str, windows: Sequence[LongWindow], network: FeatureNetwork) -> dict[str, np.ndarray]:
    return asdict(MotionScore.of(_predictor(seed, way), windows, network))


def _folder(seed: int, name: str) -> str:
    return str(plan.ROOT / f"t{seed}_{name}" / "last")


def _trained(seed: int, names: Sequence[str]) -> bool:
    return all((Path(_folder(seed, name)).parent / "finished").is_file() for name in names)


def _measured(name: str, checkpoints: Sequence[str], measure: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return measured(name, checkpoints, (__file__, long_futures.__file__), measure)


# ---------------------------------------------------------------------------------------------------- records


def _prediction_records(
    way: str, found: dict[int, dict[str, np.ndarray]], windows: Sequence[LongWindow], reference: np.ndarray, network: str
) -> list[BenchmarkRecord]:
    records = []
    lengths, seeds = np.array([len(window.sequence) for window in windows]), tuple(found)
    factor = "none" if way == "posegpt" else f"{FLATTENED.get(way, FACTOR):g}"
    note = f"{COMMAND}  # f {factor}, network {network}, {SAMPLES} samples of each of n sequences"
    prefix = f"{REACH}/{way}_equal_budget"
    for seconds in (1, 2):
        kept = lengths >= 30 * seconds
        distances = [
            frechet_distance(score["features"][kept].reshape(-1, reference.shape[1]), reference[kept]).value
            for score in found.values()
        ]
        value, interval = float(np.mean(distances)), (min(distances), max(distances))
        unit, n = "squared feature units", int(kept.sum())
        records.append(make_record(f"{prefix}/fid_{seconds}s", value, unit, n, note, interval, seeds))
        columns = {f"apd_{side}": [score["apd"][kept, hand] for score in found.values()] for hand, side in enumerate(SIDES)}
        columns["ade_k20"] = [score["ade_best"][kept, 1] for score in found.values()]
        for metric, values in columns.items():
            mean = over_seeds(np.stack(values), np.arange(n))
            records.append(make_record(f"{prefix}/{metric}_{seconds}s", mean.value, "px", mean.n, note, mean.interval, seeds))
    return records


def ghtt_tables(train: bool = True) -> list[BenchmarkRecord]:
    """Tables 1 to 4 in kind; see the head of this file.

    train: first train what is not there yet; else models and seeds without a finished training are left out.
    """
    from rich.progress import track

    if train:
        plan.train_missing({"feature_reach", *(job.name for job in plan.table_jobs())})
    test = recordings_of(open_data("asl_words"), FOLDS[1].signers)
    sessions = np.array([str(recording.session) for recording in test])
    records = []
    for model, needs in track(RECOGNISERS.items(), "Table 1, model by model"):
        seeds = tuple(seed for seed in plan.TABLE_SEEDS if _trained(seed, needs))
        found = [
            _measured(f"t{seed}_{model}", [_folder(seed, n) for n in needs], functools.partial(_recognition, seed, model))
            for seed in seeds
        ]
        for name in found[0] if found else ():
            unit = "share" if "accuracy" in name else "mm of a 90 mm hand"
            value, n, interval = over_seeds(np.stack([values[name] for values in found]), sessions)
            records.append(make_record(name, value, unit, n, COMMAND, interval, seeds))
    features = str(plan.ROOT / "feature_reach" / "last")
    network = load_feature_network(features)
    windows = long_windows(recordings_of(open_data("reach_to_grasp"), FOLDS[1].people), shortest=30, hands=(1,))
    reference = true_features(network, windows)
    for way, need in track(PREDICTORS.items(), "Tables 2 to 4, model by model"):
        scores = {
            seed: _measured(
                f"t{seed}_{way}", [_folder(seed, need), features], functools.partial(_prediction, seed, way, windows, network)
            )
            for seed in plan.TABLE_SEEDS
            if _trained(seed, [need])
        }
        if scores:
            records += _prediction_records(way, scores, windows, reference, weights_hash(network))
    return records

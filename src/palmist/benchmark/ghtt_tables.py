"""G-HTT's Tables 1 to 4 (arXiv 2311.17366) in kind, on open data: `palmist benchmark quality --only ghtt-tables`.

All models are trained on fold 1 (`palmist.splits.FOLDS`) with three seeds and the same budget, about 10 minutes of one core
for each (`palmist.benchmark.plan.table_jobs`); G-HTT's is shared by its P-block, its refiner and its A-block. Test people:
signer S2 of asl_words (Table 1), persons P1 and P2 of reach_to_grasp (Tables 2 to 4).

- Table 1, recognition: every joint of the input is disturbed by itself. "2d" disturbs x and y, "25d" also z, three times as
  much; "low" and "high" are 0.05 and 0.15 hand sizes. These levels stand in the place of the paper's cameras, and the
  disturbed input in the place of its image estimator. Errors in millimetres of a hand of 90 mm from wrist to knuckles,
  over every second frame at 30 fps (HTT's rate).
- Tables 2 to 4, prediction: windows of up to 112 frames at 30 fps, 16 observed, as `palmist.long_futures`.

An interval resamples seeds and, within them, sessions (words) or windows (reach). That of an FID, which has one value a
seed, is its smallest and largest value.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from palmist import pose_vector
from palmist.action_bank import pad_sequences
from palmist.augment import HandBatch
from palmist.benchmark import plan
from palmist.benchmark_record import BenchmarkRecord, make_record
from palmist.evaluate import load_ghtt, recognise
from palmist.feature_task import load_feature_network
from palmist.generative_tasks import load_flattened, load_posegpt
from palmist.long_futures import (
    FACTOR,
    SAMPLES,
    LongWindow,
    MotionScore,
    flattened_predictor,
    ghtt_predictor,
    long_windows,
    posegpt_predictor,
    true_features,
)
from palmist.metrics.motion import frechet_distance
from palmist.metrics.pose import mpjpe_pa_errors, mpjpe_ra_errors
from palmist.models.baselines.flattened import STRONGER, WEAKER
from palmist.models.baselines.htt import HTT
from palmist.models.feature_network import FeatureNetwork, weights_hash
from palmist.models.ghtt import GHTT, cut_clips
from palmist.readers import open_data
from palmist.recording import Recording
from palmist.rival_tasks import frame_tokens, load_rival, recognise_rival
from palmist.splits import FOLDS, recordings_of
from palmist.tasks import labelled_parts
from palmist.windows import to_model_space, to_pose_sequence

__all__ = ["LEVELS", "disturbed", "ghtt_tables"]

COMMAND = "palmist benchmark quality --only ghtt-tables"
SECTION = "ghtt-tables"
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
RECOGNISERS = ("recognition_only", "htt", "htt_inside_ghtt")
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


def _recognition(seed: int) -> dict[str, np.ndarray]:
    """name of the record -> one value per test recording, or per recording and hand."""
    true = recordings_of(open_data("asl_words"), FOLDS[1].signers)
    labels = tuple(sorted({segment.label for recording in open_data("asl_words") for segment in recording.segments}))
    ghtt, refiner = load_ghtt(_folder(seed, "a")), load_ghtt(_folder(seed, "r"))
    rivals = {kind: load_rival(_folder(seed, kind)) for kind in RECOGNISERS}
    found: dict[str, np.ndarray] = {}
    for level in LEVELS:
        noisy = disturbed(true, level, seed)
        items = [part for recording in noisy for part in labelled_parts(recording, None)]
        result = recognise(ghtt, items, labels)
        found[f"{WORDS}/ghtt_equal_budget/accuracy_{level}"] = result.predicted == result.truth
        for kind, rival in rivals.items():
            probabilities, truth = recognise_rival(rival, items, labels)
            found[f"{WORDS}/{kind}_equal_budget/accuracy_{level}"] = (probabilities.argmax(1) == truth).numpy()
        ways: dict[str, Callable[[HandBatch, str], Tensor]] = {
            "input": _as_given,
            "ghtt_equal_budget": lambda hands, space: _refined_by_ghtt(refiner, hands, space),
        }
        for kind in ("htt", "htt_inside_ghtt"):
            rival = rivals[kind]
            assert isinstance(rival, HTT)
            ways[f"{kind}_equal_budget"] = lambda hands, space, rival=rival: _refined_by_htt(rival, hands, space)  # type: ignore[misc]
        for name, refine in ways.items():
            errors = _poses(refine, noisy, true)
            for row, metric in enumerate(("mpjpe_ra", "mpjpe_pa")):
                for hand, side in enumerate(SIDES):
                    found[f"{WORDS}/{name}/{metric}_{side}_{level}"] = errors[:, row, hand]
    return found


# ---------------------------------------------------------------------------------------------------- Tables 2 to 4


def _prediction(seed: int, windows: Sequence[LongWindow], network: FeatureNetwork) -> dict[str, MotionScore]:
    ghtt, alone = load_ghtt(_folder(seed, "a")), load_ghtt(_folder(seed, "a_prediction_only"))
    flattened, posegpt = load_flattened(_folder(seed, "flattened")), load_posegpt(_folder(seed, "posegpt"))
    ways = {
        "ghtt_pa": ghtt_predictor(ghtt, "pa"),
        "ghtt_pb": ghtt_predictor(ghtt, "pb"),
        "ghtt_pb_given": ghtt_predictor(ghtt, "pb_given"),
        "prediction_only_pb": ghtt_predictor(alone, "pb"),
        "posegpt": posegpt_predictor(posegpt),
        "flattened_weaker": flattened_predictor(flattened, WEAKER),
        "flattened_stronger": flattened_predictor(flattened, STRONGER),
    }
    return {name: MotionScore.of(predict, windows, network) for name, predict in ways.items()}


def _folder(seed: int, name: str) -> str:
    return str(plan.ROOT / f"t{seed}_{name}" / "last")


# ---------------------------------------------------------------------------------------------------- records


def _over_seeds(values: np.ndarray, groups: np.ndarray) -> tuple[float, int, tuple[float, float]]:
    """Mean of values (S, N), n, and an interval that resamples seeds and groups; nan does not count."""
    there = np.isfinite(values).all(0)
    values, groups = values[:, there].astype(float), groups[there]
    names, index = np.unique(groups, return_inverse=True)
    sums = np.stack([np.bincount(index, row, len(names)) for row in values])  # (S, G)
    counts = np.bincount(index, minlength=len(names))
    generator = np.random.default_rng(0)
    means = []
    for _ in range(2000):
        seeds, drawn = generator.integers(0, len(sums), len(sums)), generator.integers(0, len(names), len(names))
        means.append(sums[seeds][:, drawn].sum() / (len(sums) * counts[drawn].sum()))
    low, high = np.quantile(means, [0.025, 0.975])
    return float(values.mean()), int(there.sum()), (float(low), float(high))


def _prediction_records(
    found: Sequence[dict[str, MotionScore]], windows: Sequence[LongWindow], reference: np.ndarray, network: str
) -> list[BenchmarkRecord]:
    records = []
    lengths = np.array([len(window.sequence) for window in windows])
    for seconds, least in ((1, 30), (2, 60)):
        kept = lengths >= least
        where = np.arange(int(kept.sum()))
        for name in found[0]:
            prefix = f"{REACH}/{name}_equal_budget"
            distances = [
                frechet_distance(motions[name].features[kept].reshape(-1, reference.shape[1]), reference[kept]).value
                for motions in found
            ]
            note = f"{COMMAND}  # f {_factor(name)}, network {network}, {SAMPLES} samples of each of n sequences"
            interval = (min(distances), max(distances))
            value = float(np.mean(distances))
            seeds = plan.TABLE_SEEDS[: len(found)]
            unit = "squared feature units"
            records.append(make_record(f"{prefix}/fid_{seconds}s", value, unit, int(kept.sum()), note, interval, seeds))
            columns = {f"apd_{side}": np.stack([m[name].apd[kept, hand] for m in found]) for hand, side in enumerate(SIDES)}
            columns["ade_k20"] = np.stack([m[name].ade_best[kept, 1] for m in found])
            for metric, values in columns.items():
                value, n, interval = _over_seeds(values, where)
                records.append(make_record(f"{prefix}/{metric}_{seconds}s", value, "px", n, note, interval, seeds))
    return records


def _factor(name: str) -> str:
    return {"posegpt": "none", "flattened_stronger": f"{STRONGER:g}"}.get(name, f"{FACTOR:g}")


def ghtt_tables(seeds: Sequence[int] = plan.TABLE_SEEDS) -> list[BenchmarkRecord]:
    """Tables 1 to 4 in kind; see the head of this file."""
    from rich.progress import track

    plan.train_missing({"feature_reach", *(job.name for job in plan.table_jobs() if int(job.name[1]) in seeds)})
    test = recordings_of(open_data("asl_words"), FOLDS[1].signers)
    sessions = np.array([str(recording.session) for recording in test])
    recognition = [_recognition(seed) for seed in track(seeds, "Table 1, seed by seed")]
    records = []
    for name in recognition[0]:
        unit = "share" if "accuracy" in name else "mm of a 90 mm hand"
        value, n, interval = _over_seeds(np.stack([found[name] for found in recognition]), sessions)
        records.append(make_record(name, value, unit, n, COMMAND, interval, seeds))
    network = load_feature_network(plan.ROOT / "feature_reach" / "last")
    windows = long_windows(recordings_of(open_data("reach_to_grasp"), FOLDS[1].people), shortest=30, hands=(1,))
    reference = true_features(network, windows)
    prediction = [_prediction(seed, windows, network) for seed in track(seeds, "Tables 2 to 4, seed by seed")]
    return records + _prediction_records(prediction, windows, reference, weights_hash(network))

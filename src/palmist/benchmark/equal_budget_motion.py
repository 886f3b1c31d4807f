"""Refinement and the next half second by G-HTT's family, three seeds: `palmist benchmark quality --only equal_budget_motion`.

The trainings of the section ghtt-tables (fold 1, about the same budget each) on the protocols of the sections refinement and
prediction: signer S2 of asl_words, persons P1 and P2 of reach_to_grasp, fold 1's takes of leap_recordings. HTT and the
flattened VAE were not trained on takes, PoseGPT knows no label of theirs. HTT works at half the rate: even and odd frames of a
clip are refined as two sequences. PoseGPT is told the true action, as in the paper's comparison, and sees an even number of
frames.

Refinement is the refined error over the noisy one; prediction stands beside the last pose on the same windows. Intervals
resample seeds and, within them, sessions, people or takes (trials where there are two people); the interval of a ratio leaves
out the uncertainty of what it is divided by.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from palmist import pose_vector
from palmist.benchmark import plan
from palmist.benchmark.kept import measured
from palmist.benchmark.quality import plain_forecast, smoothing_width, unseen
from palmist.evaluation.benchmark_record import BenchmarkRecord, make_record
from palmist.evaluation.forecasts import ForecastWindow, forecast_windows
from palmist.evaluation.ghtt import (
    Refine,
    at_future_times,
    forecast,
    load_ghtt,
    observed_sequence,
    refine_vectors,
    score_refinement,
    smooth_vectors,
)
from palmist.evaluation.long_futures import SAMPLES
from palmist.inputs.augment import HandBatch
from palmist.inputs.windows import to_pose_sequence
from palmist.metrics.intervals import over_seeds
from palmist.models.baselines.flattened import STRONGER, FlattenedVAE
from palmist.models.baselines.htt import HTT
from palmist.models.baselines.posegpt import PoseGPT
from palmist.models.baselines.simple import last_pose
from palmist.recording import Recording
from palmist.tasks.generative import load_flattened, load_posegpt
from palmist.tasks.rivals import frame_tokens, load_rival

__all__ = ["equal_budget_motion", "forecast_by_frames", "refined_by_htt"]

_COMMAND = "palmist benchmark quality --only equal_budget_motion"
#: set -> its part of the records' names
PARTS = {
    "asl_words": "asl_words/cross_signer_a",
    "reach_to_grasp": "reach_to_grasp/leave_out_p1_p2",
    "leap_recordings": "leap_recordings/leave_out_takes_1",
}
_NO_TAKES = ("asl_words", "reach_to_grasp")
#: model -> the training that refines, the sets it can
_REFINERS = {"ghtt": ("r", tuple(PARTS)), "htt": ("htt", _NO_TAKES), "htt_inside_ghtt": ("htt_inside_ghtt", _NO_TAKES)}
#: model -> the training that predicts, the sets it can
_PREDICTORS = {"ghtt": ("p", tuple(PARTS)), "posegpt": ("posegpt", _NO_TAKES), "flattened": ("flattened", _NO_TAKES)}


def equal_budget_motion(train: bool = True) -> list[BenchmarkRecord]:
    """Refinement and prediction; see the head of this file. train: first train what is not there yet; else seeds that lack a
    training are left out."""
    if train:
        plan.train_missing({job.name for job in plan.table_jobs()})
    records = []
    for name, part in PARTS.items():
        recordings = [recording for recording in unseen(name, 1) if recording.valid.any()]
        records += _refinements(name, part, recordings)
        records += _predictions(name, part, recordings)
    return records


def _group(name: str, recording: Recording) -> str:
    return str(recording.session) if name == "asl_words" else str(recording.name)


# ---------------------------------------------------------------------------------------------------- refinement


def refined_by_htt(model: HTT, vector: Tensor, known: Tensor, frames: Tensor, planar: bool) -> Tensor:
    """Clips (B, T, 153) at 30 fps with HTT's joints in the palms' frames; palm motions stay as they are given."""
    result = vector.clone()
    identity = torch.eye(3).expand(len(vector), 2, 3, 3)
    joints = pose_vector.decode(vector, identity, torch.zeros(len(vector), 2, 3), torch.full((2,), 0.09), planar)
    seen = known[..., :126].unflatten(-1, (2, 21, 3)).any(-1) & frames[..., None, None]
    for first in (0, 1):
        half = slice(first, None, 2)
        B, T = frames[:, half].shape
        body, no_body = torch.zeros(B, T, 7, 3), torch.zeros(B, T, 7, dtype=torch.bool)
        hands = HandBatch(joints[:, half], seen[:, half], body, no_body, frames[:, half])
        tokens = frame_tokens(hands, "planar" if planar else "metric")
        out = model(tokens.frames, tokens.known, tokens.mask, tokens.context, tokens.context_known)
        result[:, half, :126] = torch.where(known[:, half, :126], out.refined, vector[:, half, :126])
    return result


def _refiner(run: Path, model: str) -> Refine:
    if model == "ghtt":
        return functools.partial(refine_vectors, load_ghtt(run / "last").p)
    htt = load_rival(run / "last")
    assert isinstance(htt, HTT)
    return functools.partial(refined_by_htt, htt)


def _refinements(name: str, part: str, recordings: Sequence[Recording]) -> list[BenchmarkRecord]:
    sequences = [to_pose_sequence(recording) for recording in recordings]
    groups = [_group(name, recording) for recording in recordings]

    def errors(refine: Callable[[], Refine]) -> dict[str, np.ndarray]:
        score = score_refinement(refine(), sequences, groups)
        return {"refined": score.refined, "noisy": score.noisy, "groups": score.groups.astype(str)}

    width = smoothing_width(name, 1)
    smoothed = errors(lambda: functools.partial(smooth_vectors, width))
    records = [_ratio(part, "gaussian_smoothing_equal_budget", [smoothed], (0,))]
    for model, (training, sets) in _REFINERS.items():
        runs = _runs(training) if name in sets else {}
        found = [
            measured(f"{run.name}_refine_{name}", [run / "last"], [__file__],
                     functools.partial(errors, functools.partial(_refiner, run, model)))
            for run in runs.values()
        ]  # fmt: skip
        if found:
            records.append(_ratio(part, f"{model}_equal_budget", found, tuple(runs)))
    return records


def _ratio(part: str, model: str, found: Sequence[dict[str, np.ndarray]], seeds: tuple[int, ...]) -> BenchmarkRecord:
    noisy = found[0]["noisy"]
    assert all(np.array_equal(one["noisy"], noisy) for one in found), "every model is given the same noise"
    mean = over_seeds(np.stack([one["refined"] for one in found]) / noisy.mean(), found[0]["groups"])
    name = f"{part}/{model}/refine_error_ratio"
    return make_record(name, mean.value, "ratio", mean.n, _COMMAND, mean.interval, seeds=seeds)


# ---------------------------------------------------------------------------------------------------- prediction


@torch.no_grad()
def forecast_by_frames(
    model: FlattenedVAE | PoseGPT, windows: Sequence[ForecastWindow], samples: int = SAMPLES, seed: int = 0
) -> list[np.ndarray]:
    """Futures (K, T', 21, 3) of protocol windows in the recordings' own unit, by a rival that predicts frame by frame."""
    generator = torch.Generator().manual_seed(seed)
    even = isinstance(model, PoseGPT)
    sequences = [observed_sequence(window, 30.0, 16) for window in windows]
    alike: dict[tuple[int, str], list[int]] = {}
    for i, sequence in enumerate(sequences):
        sequence = sequences[i] = sequence.slice(len(sequence) % 2) if even else sequence
        alike.setdefault((len(sequence), sequence.space), []).append(i)
    futures: list[np.ndarray] = [np.zeros(0)] * len(windows)
    for (_, space), members in alike.items():
        for part in (members[k : k + 64] for k in range(0, len(members), 64)):
            joints = torch.stack([sequences[i].joints for i in part])
            code = pose_vector.encode(joints, torch.stack([sequences[i].known for i in part]), space)
            vector, known = pose_vector.reset_first_motion(code.vector, code.known, code.palms.valid)
            planar = space == "planar"
            if isinstance(model, PoseGPT):
                label = torch.tensor([model.config.labels.index(windows[i].recording.segments[0].label) for i in part])
                found = model.predict(vector, known, code.palms, label, 16, samples, generator, planar)
            else:
                frames = torch.ones(vector.shape[:2], dtype=torch.bool)
                found = model.predict(vector, known, frames, code.palms, 16, samples, STRONGER, generator, planar)
            for i, future in zip(part, found, strict=True):
                futures[i] = at_future_times(windows[i], sequences[i], future.numpy())
    return futures


def _errors(windows: Sequence[ForecastWindow], futures: Sequence[np.ndarray]) -> np.ndarray:
    """The mean error of each window's best future over what counts, in the set's unit, (W,)."""
    best = []
    for window, future in zip(windows, futures, strict=True):
        chosen = list(window.coordinates)
        distance = np.linalg.norm((future - window.truth)[..., chosen], axis=-1) / window.unit_length  # (K, T', 21)
        best.append(distance[:, window.counted].mean(1).min())
    return np.array(best)


def _sampled(run: Path, model: str, windows: Sequence[ForecastWindow]) -> dict[str, np.ndarray]:
    if model == "ghtt":
        futures = forecast(load_ghtt(run / "last").p, windows)[1]
    elif model == "posegpt":
        futures = forecast_by_frames(load_posegpt(run / "last"), windows)
    else:
        futures = forecast_by_frames(load_flattened(run / "last"), windows)
    return {"best": _errors(windows, futures)}


def _predictions(name: str, part: str, recordings: Sequence[Recording]) -> list[BenchmarkRecord]:
    windows = list(forecast_windows(name, recordings))
    groups = np.array([_group(name, window.recording) for window in windows])
    unit = windows[0].recording_unit
    still = over_seeds(_errors(windows, [plain_forecast(last_pose, window) for window in windows])[None], groups)
    records = [make_record(f"{part}/last_pose_equal_budget/ade", still.value, unit, still.n, _COMMAND, still.interval)]
    for model, (training, sets) in _PREDICTORS.items():
        runs = _runs(training) if name in sets else {}
        if not runs:
            continue
        rows = [
            measured(f"{run.name}_next_{name}", [run / "last"], [__file__], functools.partial(_sampled, run, model, windows))
            for run in runs.values()
        ]
        mean = over_seeds(np.stack([row["best"] for row in rows]), groups)
        name_of = f"{part}/{model}_equal_budget/ade_k{SAMPLES}"
        records.append(make_record(name_of, mean.value, unit, mean.n, _COMMAND, mean.interval, seeds=tuple(runs)))
    return records


def _runs(training: str) -> dict[int, Path]:
    runs = {seed: plan.ROOT / f"t{seed}_{training}" for seed in plan.TABLE_SEEDS}
    return {seed: run for seed, run in runs.items() if (run / "finished").is_file()}

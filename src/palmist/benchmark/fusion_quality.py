"""Signed words by several models together: `palmist benchmark quality --only fusion`.

Five models that never saw signer S2 read her words: G-HTT (one training) and BHaRNet (three seeds) the recordings, TRec, EMIM
and EgoVideo, which knows the words as sentences, (three seeds) drawings of them; row by row the same recordings
(`palmist.benchmark.word_predictions`). Fused as `palmist read` fuses (`palmist.inference.fusion`), with equal weights:

    fusion                all but EgoVideo                    fusion_of_poses     G-HTT and BHaRNet
    fusion_uncalibrated   the same, temperatures 1            fusion_of_pixels    TRec and EMIM
    fusion_with_egovideo  all five

Temperatures are fitted across folds: that of a model that is tested on S2 comes from its twin that was trained on S2 and reads
S1 and S3, with the same seed; so a person never calibrates a model that is tested on her. The others have no twin (they are
trained on S1 and S3 alone), and all of those signers' sessions are in their training: their temperature is 1. On cross-signer
B, where S1 and S3 are tested, there are the two pose models, calibrated on S2.

Beside accuracy stands the expected calibration error (15 bins); of members also after calibration, where there is a
temperature. Intervals of accuracy resample seeds and sessions; those of calibration errors span the seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from palmist.benchmark import plan
from palmist.benchmark.word_predictions import EVERYONE, MEMBERS, PIXELS, POSES, aligned, run_of, seeds_of, word_predictions
from palmist.evaluation.benchmark_record import BenchmarkRecord, make_record
from palmist.inference.calibration import Calibration, temper
from palmist.inference.fusion import fuse
from palmist.metrics.classification import expected_calibration_error
from palmist.metrics.intervals import Metric, over_seeds
from palmist.readers import open_data
from palmist.splits import FOLDS

__all__ = ["Answers", "across_folds", "fusion"]

_COMMAND = "palmist benchmark quality --only fusion"
_SPLITS = {1: "cross_signer_a", 2: "cross_signer_b"}
_OTHER_FOLD = {1: 2, 2: 1}
_BINS = 15


@dataclass(frozen=True, eq=False)
class Answers:
    """What one seed's models say of the same recordings: names (N,), raw and tempered probabilities (N, L) by model,
    truth (N,); temperatures of the models that have one."""

    names: np.ndarray
    raw: dict[str, np.ndarray]
    tempered: dict[str, np.ndarray]
    truth: np.ndarray
    temperatures: dict[str, float]


def fusion(train: bool = True) -> list[BenchmarkRecord]:
    """Accuracy and calibration of the members and of their fusions. train: first train what is not there yet; else seeds that
    lack a training are left out."""
    if train:
        pose_blocks = {f"p_fold{number}" for number in _SPLITS}
        runs = [run_of(member, seed, number) for member in EVERYONE for seed in plan.TABLE_SEEDS for number in _SPLITS]
        plan.train_missing({run.name for run in runs if run is not None} | pose_blocks)
    return _records(1, EVERYONE) + _records(2, POSES)


def across_folds(member: str, seed: int, number: int) -> Calibration | None:
    """The calibration of the model that is tested on fold `number`, from its twin's answers on the other fold; None where there
    is no twin."""
    other = word_predictions(member, seed, _OTHER_FOLD[number])
    if other is None:
        return None
    signers = " and ".join(FOLDS[_OTHER_FOLD[number]].signers)
    data = f"words of asl_words by {signers}, read by a twin that was trained without them"
    return Calibration.of(other.probabilities, other.truth, data)


def _records(number: int, members: Sequence[str]) -> list[BenchmarkRecord]:
    seeds = seeds_of(members, number)
    if not seeds:
        return []
    sessions = {recording.name: str(recording.session) for recording in open_data("asl_words")}
    answers = [_answers(seed, number, members) for seed in seeds]
    groups = np.array([sessions[name] for name in answers[0].names.tolist()])
    prefix = f"asl_words/{_SPLITS[number]}"
    return [
        make_record(f"{prefix}/{name}", value.value, unit, value.n, _COMMAND, value.interval, seeds=used)
        for name, value, unit, used in measure(answers, seeds, groups)
    ]


def _answers(seed: int, number: int, members: Sequence[str]) -> Answers:
    parts = []
    for member in members:
        part = word_predictions(member, seed, number)
        assert part is not None, f"{member} of seed {seed} is not trained"
        parts.append(part)
    names, probabilities, truth = aligned(parts)
    raw = dict(zip(members, probabilities, strict=True))
    found = {member: across_folds(member, seed, number) for member in members}
    temperatures = {member: one.temperature for member, one in found.items() if one is not None}
    tempered = {member: temper(raw[member], temperatures.get(member, 1.0)) for member in members}
    return Answers(names, raw, tempered, truth, temperatures)


_Row = tuple[str, Metric, str, tuple[int, ...]]


def measure(answers: Sequence[Answers], seeds: tuple[int, ...], groups: np.ndarray) -> list[_Row]:
    """(model/metric, value, unit, seeds) of members and fusions; groups (N,): what an interval resamples."""
    first = answers[0]
    members, rows = tuple(first.raw), []
    for member in members:
        # G-HTT is one training, which every seed's fusion has in it.
        own = answers[:1] if member == "ghtt" else answers
        used = (0,) if member == "ghtt" else seeds
        raw = [one.raw[member] for one in own]
        rows.append((f"fusion/accuracy_of_{member}", _accuracy(raw, first.truth, groups), "share", used))
        rows.append((f"{member}/expected_calibration_error", _calibration_error(raw, first.truth), "share", used))
        if member in first.temperatures:
            tempered = [one.tempered[member] for one in own]
            error = _calibration_error(tempered, first.truth)
            rows.append((f"{member}/expected_calibration_error_calibrated", error, "share", used))
            rows.append((f"{member}/temperature", _over([one.temperatures[member] for one in own]), "", used))
    for name, chosen, calibrated in _FUSIONS:
        if set(chosen) - set(members):
            continue
        parts = [[(one.tempered if calibrated else one.raw)[member] for member in chosen] for one in answers]
        fused = [fuse(part) for part in parts]
        rows.append((f"{name}/accuracy", _accuracy(fused, first.truth, groups), "share", seeds))
        rows.append((f"{name}/expected_calibration_error", _calibration_error(fused, first.truth), "share", seeds))
    return rows


#: name, its members, whether with their temperatures.
_FUSIONS = (
    ("fusion", MEMBERS, True),
    ("fusion_uncalibrated", MEMBERS, False),
    ("fusion_with_egovideo", EVERYONE, True),
    ("fusion_of_poses", POSES, True),
    ("fusion_of_pixels", PIXELS, True),
)


def _accuracy(rows: Sequence[np.ndarray], truth: np.ndarray, groups: np.ndarray) -> Metric:
    return over_seeds(np.stack([(row.argmax(1) == truth).astype(float) for row in rows]), groups)


def _calibration_error(rows: Sequence[np.ndarray], truth: np.ndarray) -> Metric:
    errors = [expected_calibration_error(row, truth, _BINS) for row in rows]
    return _over([error.value for error in errors], errors[0].n)


def _over(values: Sequence[float], n: int | None = None) -> Metric:
    """The mean over seeds, from the least to the largest."""
    interval = (min(values), max(values)) if len(values) > 1 else None
    return Metric(float(np.mean(values)), len(values) if n is None else n, interval)

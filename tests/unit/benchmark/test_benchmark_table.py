"""What fills the one table, on made-up models and recordings: HTT's refinement of clips, forecasts by frames, times by logs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from palmist import pose_vector
from palmist.benchmark import open_sets, plan
from palmist.benchmark.equal_budget_motion import forecast_by_frames, refined_by_htt
from palmist.benchmark.open_sets import LETTERS, REACH, WORDS_A, WORDS_B, items_of, linear
from palmist.benchmark.quality import unseen
from palmist.benchmark.times import TRAINED, training_minutes
from palmist.evaluation.forecasts import forecast_windows
from palmist.models.baselines.flattened import FlattenedConfig, FlattenedVAE
from palmist.models.baselines.htt import HTT, HTTConfig
from palmist.splits import FOLDS


def people(items: open_sets.Items) -> set[str]:
    return {str(recording.subject) for recording, _ in items}


@pytest.mark.parametrize("part", [WORDS_A, WORDS_B, LETTERS, REACH])
def test_nobody_of_a_test_is_trained_on(part: str) -> None:
    seen, tested = items_of(part)
    assert seen
    assert tested
    assert not people(seen) & people(tested)
    fold = FOLDS[2 if part == WORDS_B else 1]
    assert people(tested) == set(fold.people if part == REACH else fold.signers)


def test_the_plans_trainings_leave_out_the_same_people() -> None:
    for job in (*plan.reach_jobs(), *plan.skeletons_elsewhere_jobs()):
        sets = {key.split(".")[2]: people for key, people in job.settings.items() if key.endswith(".subjects")}
        for name, subjects in sets.items():
            assert not set(subjects) & {*FOLDS[1].people, *FOLDS[1].signers}, (job.name, name)
    for job in plan.other_fold_jobs():
        for key, subjects in job.settings.items():
            if key.endswith(".subjects"):
                assert not set(subjects) & {*FOLDS[2].people, *FOLDS[2].signers}, job.name


def test_every_training_that_is_measured_is_planned() -> None:
    jobs = (plan.table_jobs, plan.other_fold_jobs, plan.reach_jobs, plan.skeletons_elsewhere_jobs, plan.body_hand_jobs)
    jobs += (plan.plain_jobs, plan.motion_jobs, plan.video_text_jobs)
    planned = {job.name for kind in jobs for job in kind()}
    measured = {run.format(0) for runs in open_sets._TRAINED.values() for run in runs.values()}
    costed = {run.format(0) for runs, _ in TRAINED.values() for run in runs}
    assert measured | costed <= planned


def test_a_linear_model_learns_what_is_plain_to_see() -> None:
    seen, tested = items_of(LETTERS)
    first = [next(item for item in seen if item[1] == label) for label in sorted({label for _, label in seen})[:3]]
    labels = tuple(label for _, label in first)
    assert linear(first * 3, first, labels).tolist() == [1.0] * len(labels)
    assert tested


def htt() -> HTT:
    torch.manual_seed(0)
    config = HTTConfig(width=32, heads=4, feedforward=64, labels=("a", "b"))
    return HTT(config).eval().requires_grad_(False)


def test_htt_refines_even_and_odd_frames_apart() -> None:
    generator = torch.Generator().manual_seed(0)
    joints = torch.randn((2, 16, 2, 21, 3), generator=generator) * 0.03
    code = pose_vector.encode(joints, torch.ones(2, 16, 2, 21, dtype=torch.bool))
    frames = torch.ones(2, 16, dtype=torch.bool)
    vector, known = code.vector, code.known
    refined = refined_by_htt(htt(), vector, known, frames, False)
    assert refined.shape == vector.shape
    assert not torch.equal(refined[..., :126], vector[..., :126])
    torch.testing.assert_close(refined[..., 126:], vector[..., 126:])  # palm motions stay
    other = vector.clone()
    other[:, 1::2, :126] += 0.05  # only odd frames differ, and so does only what is made of them
    again = refined_by_htt(htt(), other, known, frames, False)
    assert not torch.equal(again[:, 1::2, :126], refined[:, 1::2, :126])
    hidden = known.clone()
    hidden[:, :, :63] = False
    kept = refined_by_htt(htt(), vector, hidden, frames, False)
    torch.testing.assert_close(kept[..., :63], vector[..., :63])  # what is not known is not touched


def test_futures_by_frames_are_the_protocols_own() -> None:
    windows = list(forecast_windows("asl_words", unseen("asl_words", 1)[::40]))[:3]
    assert windows
    torch.manual_seed(0)
    config = FlattenedConfig(layers=2, width=32, heads=4, feedforward=64, labels=("a",))
    model = FlattenedVAE(config).eval().requires_grad_(False)
    futures = forecast_by_frames(model, windows, samples=4)
    for window, future in zip(windows, futures, strict=True):
        assert future.shape == (4, len(window.future_frames), 21, 3)
        assert np.isfinite(future).all()
    again = forecast_by_frames(model, windows, samples=4)
    np.testing.assert_array_equal(futures[0], again[0])


def test_minutes_are_windows_over_their_speed(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"batch_size": 60}))
    rows = [
        {"step": 10, "split": "train", "windows_per_second": 10.0},  # 10 x 60 / 10 = 60 s
        {"step": 10, "split": "validation", "loss": 1.0},
        {"step": 30, "split": "train", "windows_per_second": 20.0},  # 20 x 60 / 20 = 60 s
    ]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert training_minutes(tmp_path) == pytest.approx(2.0)

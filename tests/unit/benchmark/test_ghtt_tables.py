"""What G-HTT's tables on open data are made of: noise levels, errors, intervals, windows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from palmist.benchmark import ghtt_tables as tables
from palmist.evaluation.ghtt import load_ghtt
from palmist.evaluation.long_futures import LONGEST, OBSERVED, ghtt_predictor, long_windows
from palmist.metrics.intervals import over_seeds
from palmist.model_zoo import checkpoint_path
from palmist.readers import open_data
from palmist.splits import recordings_of


def test_a_level_disturbs_what_it_says_and_nothing_unknown() -> None:
    recordings = recordings_of(open_data("asl_words"), ["S3"])[:5]
    for level, (flat, deep) in tables.LEVELS.items():
        for before, after in zip(recordings, tables.disturbed(recordings, level, 1), strict=True):
            known = np.asarray(before.known)
            change = np.asarray(after.joints) - np.asarray(before.joints)
            assert (change[~known] == 0).all()
            moved = np.abs(change[known]).max(0) > 0
            assert moved.tolist() == [flat > 0, flat > 0, deep > 0]


def test_errors_of_the_input_are_zero_without_noise_and_grow_with_it() -> None:
    recordings = recordings_of(open_data("asl_words"), ["S3"])[:8]
    errors = [
        np.nanmean(tables._poses(tables._as_given, tables.disturbed(recordings, level, 0), recordings))
        for level in ("clean", "2d_low", "2d_high", "25d_high")
    ]
    assert errors[0] < 1e-3
    assert errors[0] < errors[1] < errors[2] < errors[3]


def test_refined_hands_come_back_where_they_were() -> None:
    """Both models' frames are put together with the right palms: clean hands stay close to themselves."""
    recordings = recordings_of(open_data("asl_words"), ["S3"])[:8]
    model = load_ghtt(checkpoint_path("ghtt-small"))
    errors = tables._poses(lambda hands, space: tables._refined_by_ghtt(model, hands, space), recordings, recordings)
    assert np.nanmean(errors) < 5  # mm of a 90 mm hand


def test_an_interval_holds_the_mean_and_widens_with_the_seeds() -> None:
    values = np.random.default_rng(0).normal(size=(1, 60)) + np.array([[-1.0], [0.0], [1.0]])
    groups = np.repeat(np.arange(20), 3)
    value, n, (low, high) = over_seeds(values, groups)
    assert n == 60
    assert low < value < high
    _, _, alone = over_seeds(values[1:2], groups)
    assert high - low > 2 * (alone[1] - alone[0])
    assert over_seeds(np.where(groups == 3, np.nan, values), groups)[1] == 57


def test_windows_keep_what_they_observe_and_short_ones_can_be_given_their_first_clip() -> None:
    recordings = recordings_of(open_data("reach_to_grasp"), ["P1"])[:12]
    windows = long_windows(recordings, shortest=30)
    assert {len(window.sequence) for window in windows} - {LONGEST}
    assert all(30 <= len(window.sequence) <= LONGEST for window in windows)
    assert len(long_windows(recordings)) < len(windows)
    assert {window.label for window in windows} <= {"grasp small", "grasp medium", "grasp large"}
    model = load_ghtt(checkpoint_path("ghtt-small"))
    short = min(windows, key=lambda window: len(window.sequence))
    future = ghtt_predictor(model, "pb_given")(short, torch.Generator().manual_seed(0))
    assert future.shape[1] >= short.ahead == len(short.sequence) - OBSERVED
    assert torch.isfinite(future).all()


def test_what_was_measured_is_kept_until_a_checkpoint_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables.plan, "ROOT", tmp_path)
    weights = tmp_path / "run" / "model.safetensors"
    weights.parent.mkdir()
    weights.write_bytes(b"first")
    calls = []

    def measure() -> dict[str, np.ndarray]:
        calls.append(1)
        return {"asl_words/x/y/z": np.arange(3.0)}

    for content, times in ((b"first", 1), (b"first", 1), (b"second", 2)):
        weights.write_bytes(content)
        found = tables._measured("t0_x", [str(weights.parent)], measure)
        assert found["asl_words/x/y/z"].tolist() == [0, 1, 2]
        assert len(calls) == times


def test_every_model_of_the_tables_has_its_training() -> None:
    jobs = {job.name.split("_", 1)[1] for job in tables.plan.table_jobs()}
    needed = {name for names in tables.RECOGNISERS.values() for name in names} | set(tables.PREDICTORS.values())
    assert needed <= jobs
    assert jobs - needed == {"p", "posegpt_codec"}  # what the others stand on

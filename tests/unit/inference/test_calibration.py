"""Temperatures: found again on made-up logits, never worse, never another label; files that do not belong are refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from palmist.checkpoint import save_checkpoint
from palmist.errors import InputError
from palmist.inference.calibration import (
    FILE,
    UNCALIBRATED,
    Calibration,
    fit_temperature,
    load_calibration,
    temper,
    write_calibration,
)
from palmist.metrics.classification import expected_calibration_error, negative_log_likelihood


def softmax(logits: np.ndarray) -> np.ndarray:
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def overconfident(factor: float, n: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """Truth drawn from softmax(logits), and probabilities of logits that are `factor` times too large."""
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(n, 5)) * 1.5
    truth = np.array([generator.choice(5, p=row) for row in softmax(logits)])
    return softmax(logits * factor), truth


@pytest.mark.parametrize("factor", [0.5, 3.0])
def test_the_temperature_that_was_put_in_is_found_again(factor: float) -> None:
    probabilities, truth = overconfident(factor)
    temperature = fit_temperature(probabilities, truth)
    assert temperature == pytest.approx(factor, rel=0.08)
    cooled = temper(probabilities, temperature)
    assert negative_log_likelihood(cooled, truth).value < negative_log_likelihood(probabilities, truth).value - 0.02
    assert expected_calibration_error(cooled, truth).value < 0.03 < expected_calibration_error(probabilities, truth).value
    assert (cooled.argmax(1) == probabilities.argmax(1)).all()


def test_no_temperature_on_a_grid_is_better() -> None:
    probabilities, truth = overconfident(2.0, n=300)
    best = negative_log_likelihood(temper(probabilities, fit_temperature(probabilities, truth)), truth).value
    grid = [negative_log_likelihood(temper(probabilities, t), truth).value for t in np.geomspace(0.1, 10, 200)]
    assert best <= min(grid) + 1e-9


def test_temper_by_hand() -> None:
    np.testing.assert_allclose(temper(np.array([0.8, 0.2]), 2.0), [2 / 3, 1 / 3])  # square roots 2 : 1
    np.testing.assert_allclose(temper(np.array([[0.8, 0.2]]), 0.5), [[16 / 17, 1 / 17]])  # squares 16 : 1
    np.testing.assert_allclose(temper(np.array([0.7, 0.3]), 1.0), [0.7, 0.3])
    assert temper(np.array([1.0, 0.0]), 1.0)[1] == pytest.approx(1e-6)
    with pytest.raises(InputError, match="above 0"):
        temper(np.array([0.5, 0.5]), 0.0)


def test_nothing_to_fit_on_is_said() -> None:
    with pytest.raises(InputError, match="no sample of 1"):
        fit_temperature(np.array([[0.5, 0.5]]), np.array([-1]))


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return save_checkpoint(tmp_path / "model", {"weight": torch.zeros(2)}, {"model": "none"})


def test_what_is_written_is_read_again(checkpoint: Path) -> None:
    assert load_calibration(checkpoint) is UNCALIBRATED
    made = Calibration.of(*overconfident(3.0, n=500), data="made up")
    write_calibration(checkpoint, made)
    back = load_calibration(checkpoint)
    assert back.temperature == pytest.approx(made.temperature, abs=1e-6)
    assert (back.n, back.data) == (500, "made up")
    assert back.error_after < back.error_before


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"version": 2}, "delete it or calibrate again"),
        ({"format": "other"}, "delete it or calibrate again"),
        ({"weights": 1}, "other weights"),
        ({"temperature": 0}, "from 0.05 to 20"),
        ({"temperature": "warm"}, "something else than expected"),
        ({"n": None}, "something else than expected"),
    ],
)
def test_a_file_that_does_not_belong_is_refused(checkpoint: Path, change: dict[str, object], sentence: str) -> None:
    file = write_calibration(checkpoint, Calibration(2.0, 10, "made up", 0.2, 0.1))
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    with pytest.raises(InputError, match=sentence):
        load_calibration(checkpoint)


def test_a_cut_file_and_a_folder_without_weights_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    (checkpoint / FILE).write_text('{"format":')
    with pytest.raises(InputError, match="not whole JSON"):
        load_calibration(checkpoint)
    with pytest.raises(InputError, match="expected the folder of a checkpoint"):
        write_calibration(tmp_path, UNCALIBRATED)

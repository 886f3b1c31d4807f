"""The benchmark of fusions on made-up answers: rows by name, temperatures from the other fold, records; what is shipped."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest

from palmist.benchmark import fusion_quality, plan, quality, word_predictions
from palmist.benchmark.fusion_quality import Answers, across_folds, measure
from palmist.benchmark.word_predictions import EVERYONE, MEMBERS, WordPredictions, aligned, run_of, seeds_of
from palmist.inference.calibration import UNCALIBRATED, fit_temperature, read_calibration, temper
from palmist.metrics.classification import accuracy, expected_calibration_error
from palmist.model_zoo import checkpoint_path
from palmist.readers import open_data
from palmist.splits import FOLDS

SURE, UNSURE = np.array([0.9, 0.1]), np.array([0.4, 0.6])


def predictions(names: list[str], rows: list[np.ndarray], truth: list[int]) -> WordPredictions:
    return WordPredictions(np.array(names), np.stack(rows), np.array(truth))


def test_rows_are_brought_together_by_name() -> None:
    first = predictions(["c", "a", "b"], [SURE, UNSURE, SURE], [0, 1, 0])
    second = predictions(["a", "c", "d"], [SURE, UNSURE, SURE], [1, 0, 1])
    names, (of_first, of_second), truth = aligned([first, second])
    assert names.tolist() == ["a", "c"]
    np.testing.assert_allclose(of_first, [UNSURE, SURE])
    np.testing.assert_allclose(of_second, [SURE, UNSURE])
    assert truth.tolist() == [1, 0]


def test_names_that_mean_different_words_are_noticed() -> None:
    with pytest.raises(AssertionError):
        aligned([predictions(["a"], [SURE], [0]), predictions(["a"], [SURE], [1])])


def test_a_fusion_is_measured_by_hand() -> None:
    """ghtt is sure and wrong, bharnet surer and right: the product is right. Without the pixels no fusion of all is named."""
    raw = {"ghtt": np.array([[0.7, 0.3]] * 2), "bharnet": np.array([[0.1, 0.9]] * 2)}
    tempered = {"ghtt": temper(raw["ghtt"], 2.0), "bharnet": raw["bharnet"]}
    one = Answers(np.array(["a", "b"]), raw, tempered, np.array([1, 1]), {"ghtt": 2.0})
    rows = {name: value for name, value, _, _ in measure([one], (0,), np.array(["s", "t"]))}
    assert rows["fusion/accuracy_of_ghtt"].value == 0
    assert rows["ghtt/expected_calibration_error"].value == pytest.approx(0.7)
    assert rows["ghtt/expected_calibration_error_calibrated"].value == pytest.approx(
        np.sqrt(0.7) / (np.sqrt(0.7) + np.sqrt(0.3))
    )
    assert rows["ghtt/temperature"].value == 2
    assert "bharnet/temperature" not in rows
    fused = np.sqrt(tempered["ghtt"][0] * [0.1, 0.9])
    fused /= fused.sum()
    assert rows["fusion_of_poses/accuracy"].value == 1
    assert rows["fusion_of_poses/expected_calibration_error"].value == pytest.approx(1 - fused[1])
    assert "fusion/accuracy" not in rows


def test_seeds_are_averaged_and_ghtt_counts_once() -> None:
    truth = np.zeros(4, int)
    good, bad = np.tile([0.8, 0.2], (4, 1)), np.tile([0.2, 0.8], (4, 1))
    answers = []
    for of_others in (good, bad):
        raw = {"ghtt": np.tile([0.51, 0.49], (4, 1)), **dict.fromkeys(EVERYONE[1:], of_others)}
        answers.append(Answers(np.array(list("abcd")), raw, raw, truth, {}))
    rows = {name: (value, seeds) for name, value, _, seeds in measure(answers, (0, 2), np.array(list("aabb")))}
    assert rows["fusion/accuracy"][0].value == 0.5
    assert rows["fusion/accuracy"][1] == (0, 2)
    value, seeds = rows["fusion/accuracy_of_ghtt"]
    assert (value.value, seeds) == (1, (0,))
    error = rows["trec/expected_calibration_error"][0]
    assert error.interval == (pytest.approx(0.2), pytest.approx(0.8))
    assert error.n == 4
    fusions = ("fusion", "fusion_uncalibrated", "fusion_with_egovideo", "fusion_of_poses", "fusion_of_pixels")
    assert {f"{name}/accuracy" for name in fusions} <= set(rows)


@functools.lru_cache
def some_names(number: int) -> list[str]:
    return sorted(recording.name for recording in open_data("asl_words") if recording.subject in FOLDS[number].signers)[:200]


def fake_predictions(member: str, seed: int, number: int) -> WordPredictions | None:
    """Of every recording of the fold's signers; right by 0.6 whatever the confidence, 0.95 on fold 2, is."""
    if run_of(member, seed, number) is None:
        return None
    names = some_names(number)
    generator = np.random.default_rng([seed, number, EVERYONE.index(member)])
    truth = np.arange(len(names)) % 16
    said = np.where(generator.random(len(names)) < 0.6, truth, (truth + 1) % 16)
    rows = np.full((len(names), 16), 0.05 / 15)
    rows[np.arange(len(names)), said] = 0.95
    return WordPredictions(np.array(names), rows, truth)


def test_records_of_both_splits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(plan, "ROOT", tmp_path)
    monkeypatch.setattr(fusion_quality, "word_predictions", fake_predictions)
    assert fusion_quality.fusion(train=False) == []
    for member in EVERYONE:
        for number in (1, 2):
            for seed in (0, 1):
                if (run := run_of(member, seed, number)) is not None:
                    run.mkdir(exist_ok=True)
                    (run / "finished").touch()
    assert seeds_of(EVERYONE, 1) == (0, 1)
    assert seeds_of(MEMBERS, 2) == ()
    records = {record.name: record for record in fusion_quality.fusion(train=False)}
    together = records["asl_words/cross_signer_a/fusion/accuracy"]
    alone = [records[f"asl_words/cross_signer_a/fusion/accuracy_of_{member}"].value for member in MEMBERS]
    assert together.value > max(alone)  # they err on different recordings
    assert together.seeds == (0, 1)
    assert together.n == 200
    assert "asl_words/cross_signer_b/fusion_of_poses/accuracy" in records
    assert "asl_words/cross_signer_b/fusion/accuracy" not in records
    for member in ("ghtt", "bharnet"):
        after = records[f"asl_words/cross_signer_a/{member}/expected_calibration_error_calibrated"]
        assert after.value < 0.15 < 0.25 < records[f"asl_words/cross_signer_a/{member}/expected_calibration_error"].value
    assert "asl_words/cross_signer_a/trec/expected_calibration_error_calibrated" not in records


def test_the_temperature_comes_from_the_people_of_the_other_fold(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def spy(member: str, seed: int, number: int) -> WordPredictions | None:
        asked.append((member, seed, number))
        return fake_predictions(member, seed, number)

    monkeypatch.setattr(fusion_quality, "word_predictions", spy)
    found = across_folds("bharnet", 1, 1)
    assert asked == [("bharnet", 1, 2)]
    other = fake_predictions("bharnet", 1, 2)
    assert found is not None
    assert other is not None
    assert found.temperature == pytest.approx(fit_temperature(other.probabilities, other.truth))
    assert "S1 and S3" in found.data
    assert found.error_after < found.error_before
    assert across_folds("trec", 0, 1) is None


def test_answers_of_poses_carry_the_names_of_the_recordings(monkeypatch: pytest.MonkeyPatch) -> None:
    """The shipped BHaRNet, which never saw S2, on some of her recordings."""
    some = [recording for recording in open_data("asl_words") if recording.subject == "S2"][::60]
    monkeypatch.setattr(word_predictions, "recordings_of", lambda recordings, people: some)
    found = word_predictions._of_poses("bharnet", checkpoint_path("bharnet-words"), 1)
    assert found["names"].tolist() == [recording.name for recording in some]
    labels = [word_predictions.word_labels()[row] for row in found["truth"]]
    assert labels == [recording.segments[0].label for recording in some]
    assert accuracy(found["probabilities"].argmax(1), found["truth"]).value > 0.8
    assert expected_calibration_error(found["probabilities"], found["truth"]).n == len(some)


def test_it_is_a_section_and_the_shipped_pose_models_are_calibrated() -> None:
    assert "fusion" in quality.SECTIONS
    for name in ("ghtt-small", "bharnet-words"):
        found = read_calibration(checkpoint_path(name))
        assert found.n == 2460
        assert found.error_after < found.error_before
    assert read_calibration(checkpoint_path("emim-words")) is UNCALIBRATED

"""Training, checkpoints and evaluation of the image side, on the smallest network that can be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from conftest import smooth_hands, tiny_recording
from palmist.config import TrainConfig
from palmist.errors import InputError
from palmist.evaluation.checkpoints import evaluate_checkpoint
from palmist.evaluation.images import Answers, estimate, mean_answers, score_answers, score_clips, truths
from palmist.inputs.image_bank import DrawConfig, draw_frames
from palmist.models.resnet import ResNet18
from palmist.perception.image_estimator import load_estimator
from palmist.recording import Recording
from palmist.splits import FOLDS
from palmist.store import write_store
from palmist.tasks import TASKS
from palmist.tasks.images import ClipDataset, clip_features
from palmist.train import train

TINY = {"base_width": 4, "width": 16, "cells": 4, "input_width": 64, "input_height": 36}
THINGS = ["ball", "book"]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def hands(name: str, subject: str) -> Recording:
    joints = smooth_hands(30, seed=len(name)) * [1, -1, 1] + [0.5, 0.6, -0.5]
    changes = {"space": "image", "frame": "image", "name": name, "subject": subject, "aspect": 4 / 3}
    return tiny_recording(30, joints=joints, **changes)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("hands") / "store"
    write_store(path, [hands("set/one", "A"), hands("set/another", "B")])
    return path


def settings(store: Path, task: str = "image_estimator", steps: int = 4, **data: Any) -> TrainConfig:
    draw = {"clips": 8, "frames": 2, "size": 48, "held": THINGS, "held_share": 1.0}
    if task == "clip_object":
        draw |= {"frames": 5, "spacing": 1}
    sets = {"mine": {"store": str(store), "subjects": ["A"]}}
    return TrainConfig(
        task=task, steps=steps, batch_size=4, learning_rate=1e-3, checkpoint_every=2, validate_every=2, log_every=1,
        tensorboard=False, model=TINY if task == "image_estimator" else {"layers": 1, "heads": 2, "feedforward": 32},
        data={"sets": sets, "validation": sets, "validation_clips": 2, "draw": draw, **data},
    )  # fmt: skip


@pytest.fixture(scope="module")
def runs(store: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The folders of a finished E^I and of an E^PO over it."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("runs")
    first = train(settings(store), TASKS["image_estimator"](), folder / "i")
    config = settings(store, "clip_object", i_checkpoint=str(first / "last"))
    return first / "last", train(config, TASKS["clip_object"](), folder / "po") / "last"


def test_a_run_that_was_stopped_ends_with_the_same_weights(store: Path, runs: tuple[Path, Path], tmp_path: Path) -> None:
    half = train(settings(store, steps=2), TASKS["image_estimator"](), tmp_path / "run")
    train(settings(store), TASKS["image_estimator"](), half, resume=True)
    first, second = (load_file(folder / "model.safetensors") for folder in (runs[0], half / "last"))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_checkpoint_of_both_tasks_loads_as_an_estimator(runs: tuple[Path, Path]) -> None:
    alone, detector = load_estimator(runs[0])
    assert detector is None
    model, detector = load_estimator(runs[1])
    assert detector is not None
    assert model.config.objects == detector.config.objects == tuple(THINGS)
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in alone.state_dict().items())  # it stays frozen
    assert detector.config.width == model.backbone.width == 32
    with pytest.raises(InputError, match="kind 'ghtt'"):
        load_estimator("ghtt-small")


def test_batches_follow_the_generator_and_validation_is_always_the_same(store: Path) -> None:
    task = TASKS["image_estimator"]()
    training, fixed = task.train_data(settings(store)), task.validation_data(settings(store))
    rows = np.array([0, 3, 5])
    one, same, other = (training.batch(rows, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["images"], other["images"])
    assert one["images"].shape == (3, 3, 36, 64)
    assert -0.5 <= float(one["images"].min()) < float(one["images"].max()) <= 0.5
    assert torch.equal(*(fixed.batch(np.array([1]), torch.Generator().manual_seed(seed))["images"] for seed in (0, 1)))
    assert one["known"].any()
    assert set(one["object"].tolist()) <= {-1, 0, 1}


def test_a_backbone_from_a_file_keeps_its_statistics(store: Path, tmp_path: Path) -> None:
    torch.manual_seed(3)
    other = ResNet18(4)
    other.bn1.running_mean.fill_(0.25)
    save_file(other.state_dict(), tmp_path / "weights.safetensors")
    task = TASKS["image_estimator"]()
    config = settings(store, backbone=str(tmp_path / "weights.safetensors"))
    model = task.build_model(config).train()
    assert torch.equal(model.backbone.conv1.weight, other.conv1.weight)
    model.loss(task.train_data(config).batch(np.arange(4), torch.Generator().manual_seed(0)))
    assert torch.equal(model.backbone.bn1.running_mean, other.bn1.running_mean)
    trained = task.build_model(settings(store)).train()
    before = trained.backbone.bn1.running_mean.clone()
    trained.loss(task.train_data(config).batch(np.arange(4), torch.Generator().manual_seed(0)))
    assert not torch.equal(trained.backbone.bn1.running_mean, before)


def test_what_does_not_fit_is_one_sentence(store: Path, runs: tuple[Path, Path]) -> None:
    with pytest.raises(InputError, match="i_checkpoint is empty"):
        TASKS["clip_object"]().build_model(settings(store, "clip_object"))
    config = settings(store, "clip_object", i_checkpoint=str(runs[0]))
    config = config.model_copy(update={"data": {**config.data, "draw": {"held": ["box"]}}})
    with pytest.raises(InputError, match=r"knows the objects ball, book, data\.draw\.held has box"):
        TASKS["clip_object"]().build_model(config)
    with pytest.raises(InputError, match=r"data\.sets is empty"):
        TASKS["image_estimator"]().train_data(TrainConfig(task="image_estimator", steps=1))


def test_in_training_frames_of_a_clip_are_lost_but_never_the_first() -> None:
    data = ClipDataset(torch.zeros(6, 9, 4), torch.ones(6, 9, dtype=torch.bool), torch.zeros(6), augment=True)
    frames = data.batch(np.arange(6), torch.Generator().manual_seed(0))["frames"]
    assert frames[:, 0].all()
    assert 0.3 < float(frames.float().mean()) < 0.8
    data.augment = False
    assert data.batch(np.arange(6), torch.Generator())["frames"].all()


# ---------------------------------------------------------------------------------------------------- evaluation


@pytest.fixture(scope="module")
def bank() -> Any:
    config = DrawConfig(clips=5, frames=3, size=48, held=("ball", "book"), held_share=0.7, mirror=False)
    return draw_frames([([hands("set/one", "A"), hands("set/another", "B")], 1.0)], config, 0)


def test_the_truth_has_no_error_and_a_shift_is_measured_in_pixels(bank: Any) -> None:
    true = truths(bank)
    groups = [bank.names[clip] for clip in bank.clip]
    perfect = {name: metric.value for name, metric, _ in score_answers(true, true, groups)}
    assert perfect["presence_accuracy"] == perfect["object_accuracy"] == 1
    assert max(perfect[name] for name in ("pixel_error", "depth_error", "mpjpe_ra", "mpjpe_pa")) < 1e-6
    moved = replace(true, codes=true.codes + np.array([0.03, 0.04, 0.5], np.float32), present=~true.present)
    scores = {name: metric for name, metric, _ in score_answers(moved, true, groups)}
    assert scores["pixel_error"].value == pytest.approx(5, abs=1e-3)
    assert scores["depth_error"].value == pytest.approx(12, abs=1e-3)  # 0.5 * 240 * 1e-4 m
    assert scores["presence_accuracy"].value == 0
    assert scores["presence_accuracy"].n == 2 * len(bank)
    assert scores["pixel_error"].n == int(true.known[..., 0].any(-1).sum())  # type: ignore[index]


def test_the_baseline_is_the_mean_of_the_training_frames(bank: Any) -> None:
    true = truths(bank)
    assert true.known is not None
    guess = mean_answers(bank, 7)
    assert guess.codes.shape == (7, 2, 21, 3)
    known = true.known[:, 1, 8, 0]
    assert guess.codes[3, 1, 8, 0] == pytest.approx(true.codes[known, 1, 8, 0].mean(), abs=1e-5)
    named = true.object[true.object >= 0]
    assert (named == guess.object[0]).mean() >= 0.5


def test_answers_of_a_network_do_not_depend_on_the_batch(bank: Any, runs: tuple[Path, Path]) -> None:
    model, detector = load_estimator(runs[1])
    one, two = estimate(model, bank, 64), estimate(model, bank, 4)
    np.testing.assert_allclose(one.codes, two.codes, atol=1e-4)
    assert isinstance(one, Answers)
    assert detector is not None
    objects, frames, label = clip_features(model, bank)
    assert objects.shape == (5, 3, 32)
    assert frames.all()
    assert label.tolist() == [int(bank.object[bank.clip == clip].max()) for clip in range(5)]
    for metric in score_clips(model, detector, bank):
        assert 0 <= metric.value <= 1
        assert metric.n == int((label >= 0).sum())


def test_palmist_evaluate_measures_an_estimator(store: Path, runs: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("palmist.evaluation.images.CLIPS", 6)
    records = evaluate_checkpoint(runs[1], str(store))
    names = {record.name: record for record in records}
    assert "rendered_set/all/image_estimator/pixel_error" in names
    assert names["rendered_set/all/clip_object/object_accuracy"].unit == "share"
    assert all(np.isfinite(record.value) for record in records)
    assert "/" not in records[0].command.split("--data")[0].removeprefix("palmist evaluate CHECKPOINT")


def test_the_shipped_configurations_see_nobody_of_fold_1() -> None:
    import yaml

    folder = Path(__file__).resolve().parents[3] / "configs/ghtt"
    for name in ("e_i_small", "e_po_small"):
        data = yaml.safe_load((folder / f"{name}.yaml").read_text())["data"]
        for sets in (data["sets"], data["validation"]):
            assert not set(sets.get("asl_words", {}).get("subjects", [])) & set(FOLDS[1].signers)
            assert not set(sets.get("asl_letters", {}).get("subjects", [])) & set(FOLDS[1].signers)
        assert set(data["sets"]["leap_recordings"]["exclude"]) == set(FOLDS[1].takes)

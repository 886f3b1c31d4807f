"""Training on skeleton clips: where they are read from, what a batch depends on, labels, and the scores."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from palmist.checkpoint import save_checkpoint
from palmist.config import TrainConfig
from palmist.errors import InputError
from palmist.evaluation.skeleton_clips import clip_scores, score_clips
from palmist.inputs.clip_source import open_clips, parts_of
from palmist.inputs.skeleton_clips import ClipInput
from palmist.models.bharnet import BHaRNet, BHaRNetConfig
from palmist.models.graph_backbones import TrunkConfig
from palmist.readers.ntu_names import ACTIONS
from palmist.skeleton_clip import SkeletonClip, write_clip
from palmist.store import write_store
from palmist.tasks.skeleton_clips import (
    ClipDataConfig,
    ClipDataset,
    ClipTask,
    TrainedClips,
    labels_of,
    load_clip_model,
    recognise_clips,
)
from palmist.train.loop import make_optimizer

MODEL = BHaRNetConfig(
    trunk=TrunkConfig(width=12, blocks=2, widen=()), labels=("bow", "wave"), frames=16, hand_origin="wrist", pool_attention=True
)


def clip(number: int, frames: int = 100, persons: int = 1, with_hands: bool = False, **changes: Any) -> SkeletonClip:
    draw = np.random.default_rng(number)
    fields: dict[str, Any] = {
        "keypoint": np.cumsum(draw.normal(size=(persons, frames, 25, 3)), 1) * 0.05,
        "mask": np.ones((persons, frames, 25), bool),
        "layout": "kinect25",
        "fps": 30.0,
        "name": f"ntu60/{number:03d}",
        "label": ("wave", "bow")[number % 2],
        "label_number": 2 - number % 2,
        "splits": {"xsub": ("train", "test")[number // 2 % 2], "xview": "train"},
    }
    if with_hands:
        fields |= {"hands": draw.normal(size=(persons, 2, frames, 21, 3)), "hand_valid": np.ones((persons, 2, frames), bool)}
        fields |= {"hand_space": "image", "aspect": 16 / 9}
    return SkeletonClip(**{**fields, **changes})


def dataset(clips: list[SkeletonClip], use_augmentation: bool, **changes: Any) -> ClipDataset:
    return ClipDataset(clips, [0] * len(clips), MODEL, ClipDataConfig(**changes), use_augmentation)


def batch_of(data: ClipDataset, indices: list[int], seed: int = 0) -> dict[str, torch.Tensor]:
    return data.batch(np.array(indices), torch.Generator().manual_seed(seed))


@pytest.fixture
def store(tmp_path: Path) -> Path:
    recordings = [one for i in range(4) for one in clip(i, persons=1 + i % 2).to_recordings("xsub")]
    write_store(tmp_path / "store", recordings)
    return tmp_path / "store"


def test_a_store_is_read_clip_by_clip_and_split_by_name(store: Path) -> None:
    source = open_clips(store)
    assert [one.persons for one in source] == [1, 2, 1, 2]
    assert parts_of(source.facts) == ["test", "train", "xsub_test", "xsub_train", "xview_train"]
    for part in ("test", "xsub_test"):
        assert [one.name for one in source.chosen(part)] == ["ntu60/002", "ntu60/003"]
    np.testing.assert_array_equal(source.chosen("xsub_test")[1].keypoint, clip(3, persons=2).keypoint)
    assert labels_of(source) == ("bow", "wave")  # by the set's own numbers, of all splits
    with pytest.raises(InputError, match="expected one of test, train, xsub_test"):
        source.chosen("xset_train")


def test_a_folder_of_clip_files_is_a_source_too(tmp_path: Path) -> None:
    for i in range(3):
        write_clip(tmp_path / f"{i}.npz", clip(i, with_hands=True))
    source = open_clips(tmp_path)
    assert [one.hand_space for one in source.chosen("xsub_train")] == ["image", "image"]
    made = batch_of(dataset(list(source), False), [0, 1])
    assert made["hands_known"][:, 0].all()
    np.savez(tmp_path / "3.npz", joints=np.zeros(3))
    with pytest.raises(InputError, match=r"3\.npz"):
        open_clips(tmp_path)


def test_a_batch_depends_on_its_indices_and_the_generator_alone() -> None:
    data = dataset([clip(i) for i in range(4)], True)
    first = batch_of(data, [2, 0])
    batch_of(data, [1, 3], seed=5)
    again, other = batch_of(data, [2, 0]), batch_of(data, [2, 0], seed=1)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["body"], other["body"])
    short = batch_of(data, [2])
    assert torch.equal(short["label"], torch.tensor([0]))


@pytest.mark.parametrize(("frames", "least"), [(100, 64), (300, 150), (40, 40)])
def test_training_windows_show_half_of_the_clip_or_64_frames_at_least(frames: int, least: int) -> None:
    # A joint that moves one unit a frame: what a window spans is what it shows.
    keypoint = np.zeros((1, frames, 25, 3))
    keypoint[..., 0] = np.arange(frames)[None, :, None] * 0.1
    data = dataset([clip(0, frames, keypoint=keypoint)], True, rotation=0.0)
    x = batch_of(data, [0] * 200)["body"][:, 0, :, 0, 0] * 10
    shown = (x[:, -1] - x[:, 0]) * 16 / 15  # 16 frames read in the middle of sixteenths
    assert shown.min() >= least - 0.1
    assert shown.max() <= frames + 0.1
    assert x.min() >= -1e-3
    assert x.max() <= frames - 1
    if frames > 64:
        assert shown.min() < least + 0.1 * frames
        assert shown.max() > 0.9 * frames
    middle = batch_of(dataset([clip(0, frames, keypoint=keypoint)], False), [0])["body"][0, 0, :, 0, 0] * 10
    start = int(0.05 * frames / 2)
    assert float(middle[0]) == pytest.approx(start + (frames - 2 * start) / 32 - 0.5, abs=1e-2)


def test_a_turn_is_small_and_keeps_distances() -> None:
    plain, turned = (batch_of(dataset([clip(0, 40)], True, rotation=angle), [0] * 8)["body"] for angle in (0.0, 0.3))
    torch.testing.assert_close(plain.norm(dim=-1), turned.norm(dim=-1))
    cosine = torch.cosine_similarity(plain, turned, dim=-1)[plain.norm(dim=-1) > 0.1]
    assert float(cosine.min()) > np.cos(0.3 * np.sqrt(3)) - 1e-3
    assert float(cosine.min()) < 0.999


def test_without_hands_the_body_speaks_alone_and_with_hands_both() -> None:
    torch.manual_seed(0)
    model = BHaRNet(MODEL).eval()
    for with_hands in (False, True):
        batch = batch_of(dataset([clip(0, with_hands=with_hands)], False), [0])
        label = batch.pop("label")
        scores = model(**batch)
        assert (bool(scores.evidence["body"]), bool(scores.evidence["hand"])) == (True, with_hands)
        loss, _ = model.train().loss({**batch, "label": label})
        loss.backward()
        moved = [weight.grad.abs().sum() > 0 for weight in model.experts["hand"].parameters() if weight.grad is not None]
        assert any(moved) == with_hands
        model.zero_grad(set_to_none=True)
        model.eval()


def test_task_and_checkpoint(store: Path, tmp_path: Path) -> None:
    settings = {
        "preset": "paper", "frames": 16, "streams": ["bone"],
        "trunk": {"width": 12, "blocks": 2, "widen": [], "kind": "stgcn"},
    }  # fmt: skip
    sets = {"clips": {"store": str(store), "split": "xsub_train"}}
    config = TrainConfig(task="bharnet_clips", steps=1, model=settings, data={"sets": sets, "input": {"persons": 3}})
    task = ClipTask()
    data = task.train_data(config)
    assert (len(data), data.label.tolist(), task.validation_data(config)) == (2, [1, 0], None)
    assert batch_of(data, [0, 1])["body"].shape == (2, 3, 16, 25, 3)
    content = task.collect(task.build_model(config), config)
    path = save_checkpoint(tmp_path / "run", content.state, content.config, content.statistics)
    trained = load_clip_model(path)
    assert (trained.stream, trained.input) == ("bone", ClipInput(persons=3))
    found = recognise_clips(trained, open_clips(store), batch_size=3)
    torch.testing.assert_close(found.sum(1), torch.ones(4))
    torch.testing.assert_close(found, recognise_clips(trained, open_clips(store), batch_size=1))
    name, rows = clip_scores(path, store, "xsub_test")
    assert (name, rows[0][:2], rows[0][2].n) == ("ntu60", ("bharnet", "accuracy"), 2)
    with pytest.raises(InputError, match=r"data\.sets is empty"):
        ClipTask().train_data(TrainConfig(task="bharnet_clips", steps=1))
    other = replace(trained.model.config, labels=("sit", "stand"))
    state = BHaRNet(other).state_dict()
    content.config["bharnet"] = {**content.config["bharnet"], "labels": ["sit", "stand"]}
    strange = save_checkpoint(tmp_path / "other", dict(state), content.config, content.statistics)
    with pytest.raises(InputError, match="no clip with a label"):
        clip_scores(strange, store)
    with pytest.raises(InputError, match="different labels"):
        clip_scores(path, store, others=[strange])


def test_a_layout_that_the_network_does_not_know_is_named() -> None:
    twenty = clip(0, keypoint=np.zeros((1, 9, 20, 3)), mask=np.ones((1, 9, 20), bool), layout="kinect20")
    with pytest.raises(InputError, match=r"--model\.body_graph kinect20"):
        batch_of(dataset([twenty], False), [0])


def test_scores_by_hand() -> None:
    labels = ACTIONS[:13]  # reading, writing and tear up paper are of the hands
    truth = np.array([0, 0, 10, 11, 12, -1])
    predicted = torch.tensor([0, 5, 10, 11, 0, 3])
    rows = dict(score_clips(torch.nn.functional.one_hot(predicted, 13).float(), truth, labels, ntu=True))
    assert (rows["accuracy"].value, rows["accuracy"].n) == (0.6, 5)
    assert rows["class_mean_accuracy"].value == pytest.approx((0.5 + 1 + 1 + 0) / 4)
    subset = rows["palmist_hand_8_v1_accuracy"]
    assert (subset.value, subset.n) == (pytest.approx(2 / 3), 3)
    assert (rows["accuracy_of_drink_water"].value, rows["accuracy_of_tear_up_paper"].value) == (0.5, 0.0)
    assert "accuracy_of_eat_meal" not in rows
    assert "palmist_hand_8_v1_accuracy" not in dict(score_clips(torch.eye(13)[:6], truth, labels))


def test_a_handful_of_clips_is_learnt_with_the_recipe_of_the_configurations() -> None:
    clips = [clip(i, 70, with_hands=i % 2 == 0) for i in range(6)]
    label = [0, 1, 1, 0, 1, 0]
    torch.manual_seed(0)
    model = BHaRNet(MODEL).train()
    data = ClipDataset(clips, label, MODEL, ClipDataConfig(), use_augmentation=True)
    config = TrainConfig(task="bharnet_clips", steps=40, optimizer="sgd", learning_rate=0.05, weight_decay=5e-4)
    optimizer = make_optimizer(config, list(model.parameters()))
    for step in range(40):
        optimizer.zero_grad()
        loss, _ = model.loss(data.batch(np.arange(6), torch.Generator().manual_seed(step)))
        loss.backward()
        optimizer.step()
    found = recognise_clips(TrainedClips(model.eval(), ClipInput()), clips)
    assert found.argmax(1).tolist() == label

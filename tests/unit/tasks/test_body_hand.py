"""Body and hands as skeleton networks take them, the training task, the recogniser behind `palmist.load`, damage."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch

import palmist
from palmist.benchmark import plan
from palmist.benchmark.body_hand import DAMAGE, damaged
from palmist.checkpoint import Checkpoint, save_checkpoint
from palmist.config import TrainConfig, load_config
from palmist.errors import InputError
from palmist.inputs.action_bank import pad_sequences
from palmist.inputs.augment import HandBatch, resize_frames
from palmist.inputs.body_hand import body_hand_input
from palmist.inputs.windows import to_pose_sequence
from palmist.models.bharnet import BHaRNet, BHaRNetConfig
from palmist.models.graph_backbones import TrunkConfig
from palmist.readers import open_data
from palmist.recording import Recording
from palmist.tasks.labelled import labelled_parts
from palmist.tasks.skeletons import SkeletonTask, load_bharnet, recognise_skeletons, skeleton_batch

TINY = BHaRNetConfig(body_graph="upper7", trunk=TrunkConfig(width=16, blocks=2, widen=(2,)), frames=20, rate=20.0)


@pytest.fixture(scope="module")
def words() -> list[Recording]:
    return [recording for recording in open_data("asl_words")[::97] if recording.valid.any()][:24]


def save(path: Path, checkpoint: Checkpoint) -> None:
    save_checkpoint(path, checkpoint.state, checkpoint.config)


def hands_of(recordings: list[Recording]) -> HandBatch:
    return pad_sequences([to_pose_sequence(recording, 20.0) for recording in recordings])


def test_origin_is_between_the_shoulders_and_the_unit_their_width(words: list[Recording]) -> None:
    batch = body_hand_input(hands_of(words), 20)
    left, right = batch["body"][:, 0, :, 0], batch["body"][:, 0, :, 1]
    seen = batch["body_known"][:, 0, :, :2].all(-1)
    middle = ((left + right) / 2)[..., :2]
    assert float(middle[seen].abs().median()) < 0.02
    width = torch.linalg.vector_norm((left - right)[..., :2], dim=-1)
    assert float((width[seen] - 1).abs().median()) < 0.02
    assert batch["body"][..., 2].abs().max() == 0  # depth of a 2.5D body is left out
    assert batch["hands"].shape == (len(words), 1, 2, 20, 21, 3)
    for points, known in (("body", "body_known"), ("hands", "hands_known")):
        assert batch[points][~batch[known]].abs().max() == 0
        assert torch.isfinite(batch[points]).all()


def test_place_and_size_of_a_person_do_not_matter(words: list[Recording]) -> None:
    hands = hands_of(words)
    seen = hands.known.unsqueeze(-1), hands.body_known.unsqueeze(-1)
    shift = torch.tensor([0.3, -0.2, 0.0])
    moved = replace(hands, joints=(1.7 * hands.joints + shift) * seen[0], body=(1.7 * hands.body + shift) * seen[1])
    one, other = body_hand_input(hands, 20), body_hand_input(moved, 20)
    torch.testing.assert_close(one["hands"], other["hands"], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(one["body"], other["body"], atol=1e-4, rtol=1e-4)


def test_without_shoulders_the_hands_give_origin_and_unit(words: list[Recording]) -> None:
    hands = hands_of(words)
    bare = replace(hands, body=torch.zeros_like(hands.body), body_known=torch.zeros_like(hands.body_known))
    batch = body_hand_input(bare, 20)
    assert not batch["body_known"].any()
    wrist = batch["hands"][:, 0, :, :, 0]
    palm = torch.linalg.vector_norm(batch["hands"][:, 0, :, :, 9] - wrist, dim=-1)
    known = batch["hands_known"][:, 0, :, :, 9] & batch["hands_known"][:, 0, :, :, 0]
    assert 0.2 < float(palm[known].median()) < 0.3  # a quarter of four hand sizes


def test_frames_are_mixed_over_the_length_of_each_recording() -> None:
    joints = torch.arange(6.0).view(1, 6, 1, 1, 1).expand(2, 6, 2, 21, 3).clone()
    frames = torch.tensor([[True] * 6, [True] * 3 + [False] * 3])
    known = frames[:, :, None, None].expand(2, 6, 2, 21)
    batch = HandBatch(joints, known, torch.zeros(2, 6, 7, 3), torch.zeros(2, 6, 7, dtype=torch.bool), frames)
    longer = resize_frames(batch, 11)
    torch.testing.assert_close(longer.joints[0, :, 0, 0, 0], torch.linspace(0, 5, 11))
    torch.testing.assert_close(longer.joints[1, :, 0, 0, 0], torch.linspace(0, 2, 11))
    assert longer.frames.all()
    assert longer.known.all()
    holes = replace(batch, known=known & (torch.arange(6) != 2)[None, :, None, None])
    halves = resize_frames(holes, 11).known[0, :, 0, 0].tolist()  # frame 2 lies at 4 of 0 .. 10
    assert halves == [True] * 3 + [False] * 2 + [True] * 6  # halfway, the later neighbour decides
    assert torch.equal(resize_frames(batch.rows(torch.tensor([0])), 6).joints, joints[:1])


def test_the_task_trains_and_its_checkpoint_is_read(tmp_path: Path, words: list[Recording]) -> None:
    overrides = {
        "steps": 2, "batch_size": 8, "model.trunk.width": 16, "model.trunk.blocks": 2, "model.trunk.widen": [2],
        "model.fork_after": 1, "warmup_steps": 1,
    }  # fmt: skip
    config = load_config(TrainConfig, "configs/bharnet/bharnet_small.yaml", overrides)
    task = SkeletonTask()
    data, model = task.train_data(config), task.build_model(config)
    generator = torch.Generator().manual_seed(0)
    batch = data.batch(np.arange(8), generator)
    total, _ = model.loss(batch, generator)  # type: ignore[operator]
    total.backward()
    again = data.batch(np.arange(8), torch.Generator().manual_seed(0))
    assert torch.equal(again["hands"], batch["hands"])
    save(tmp_path / "model", task.collect(model, config))
    loaded = load_bharnet(tmp_path / "model")
    items = [part for recording in words for part in labelled_parts(recording, None)]
    found, truth = recognise_skeletons(loaded, items, loaded.config.labels)
    assert set(found) == {"fused", "body", "hand"}
    assert found["fused"].shape == (len(items), 16)
    torch.testing.assert_close(found["fused"].sum(1), torch.ones(len(items)))
    assert [loaded.config.labels[row] for row in truth] == [label for _, label in items]

    reader = palmist.load(tmp_path / "model")
    reading = reader.read(items[0][0], futures=2, horizon=0.5)
    torch.testing.assert_close(torch.tensor(reading.probabilities), found["fused"][0].double(), atol=1e-5, rtol=1e-4)
    assert reading.label == loaded.config.labels[int(found["fused"][0].argmax())]
    assert reading.futures.shape[0] == 2
    assert reading.action_probabilities.shape == (len(reading.action_time), 16)
    assert reader.read(items[0][0], futures=0, labels=["tea", "no"]).label in ("tea", "no")
    with pytest.raises(InputError, match="does not know the label dance"):
        reader.read(items[0][0], futures=0, labels=["dance"])
    with pytest.raises(InputError, match="recognises whole recordings"):
        reader.stream(30.0)


def test_a_checkpoint_of_another_kind_is_named(tmp_path: Path) -> None:
    model = BHaRNet(replace(TINY, labels=("a", "b")))
    facts = {"model": "bharnet", "bharnet": asdict(model.config)}
    save(tmp_path / "whole", Checkpoint(dict(model.state_dict()), facts, {}, card=""))
    assert load_bharnet(tmp_path / "whole").config == model.config
    state = {name: value for name, value in model.state_dict().items() if name != "classifier.hand.bias"}
    save(tmp_path / "part", Checkpoint(state, facts, {}, card=""))
    with pytest.raises(InputError, match=r"classifier\.hand\.bias"):
        load_bharnet(tmp_path / "part")
    with pytest.raises(InputError, match="kind 'ghtt'"):
        load_bharnet(palmist.model_zoo.checkpoint_path("ghtt-small"))


def test_damage_is_what_it_says_and_the_same_every_time(words: list[Recording]) -> None:
    whole = next(recording for recording in words if recording.valid.all(0).all())
    for damage in DAMAGE:
        once, twice = damaged(whole, damage, 0), damaged(whole, damage, 0)
        assert np.array_equal(once.joints, twice.joints)
        assert np.array_equal(once.valid, twice.valid)
        assert not once.joints[~once.valid].any()
    assert np.array_equal(damaged(whole, "clean", 0).joints, whole.joints)
    assert damaged(whole, "no_right_hand", 0).valid.any(0).tolist() == [True, False]
    assert not damaged(whole, "no_hands", 0).valid.any()
    lost = np.mean([1 - damaged(whole, "frames_lost_30", seed).valid.mean() for seed in range(60)])
    assert 0.24 < lost < 0.36
    moved = damaged(whole, "noise_10", 0).joints - whole.joints
    assert not moved[..., 2].any()
    size = np.linalg.norm((whole.joints[:, :, 9] - whole.joints[:, :, 0])[..., :2] * [whole.aspect or 1, 1], axis=-1)
    ratio = moved[..., 1].std() / np.median(size)
    assert 0.06 < ratio < 0.16  # about 0.10 hand sizes; a hand seen from its edge looks smaller


def test_every_model_of_the_table_can_be_built_and_takes_the_same_batches(words: list[Recording]) -> None:
    names = [job.name for job in plan.body_hand_jobs()]
    assert len(names) == len(set(names)) == 3 * (2 * len(plan.BODY_HAND_BOTH) + len(plan.BODY_HAND) - len(plan.BODY_HAND_BOTH))
    batch = skeleton_batch(words[:2], TINY)
    for job in plan.body_hand_jobs():
        if not job.name.startswith("s0_a"):
            continue
        config = load_config(TrainConfig, job.config, {**job.settings, "model.trunk.width": 16})
        model = SkeletonTask().build_model(config)
        assert isinstance(model, BHaRNet)
        assert model.eval().recognise(**batch).shape == (2, 16)

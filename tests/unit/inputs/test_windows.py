"""Model space, resampling, windows and augmentation: nothing unknown becomes known, nothing of the future leaks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from palmist.errors import InputError
from palmist.inputs.action_bank import ActionDataset, ActionGroup, clip_tokens, pad_sequences
from palmist.inputs.augment import AugmentConfig, HandBatch, TrackingFaults, add_tracking_faults, augment, make_unsigned
from palmist.inputs.pose_bank import PoseBank, WindowDataset, add_pose_noise, mirror_sequence
from palmist.inputs.windows import body_context, frame_grid, resample, to_model_space, to_pose_sequence
from palmist.models.ghtt_action_block import ABlockConfig
from palmist.models.ghtt_pose_block import PBlock, PBlockConfig
from palmist.pose_vector import encode
from palmist.readers import open_data
from palmist.splits import FOLDS, SPLITS, named_split, recordings_of


@pytest.fixture(scope="module")
def words() -> list:
    recordings = open_data("asl_words")
    chosen = [r for r in recordings if r.valid[:, 1].all()][:6] + [r for r in recordings if not r.valid.any()][:2]
    return [*chosen, *[r for r in recordings if 3 < r.valid[:, 1].sum() < 17][:4]]


@pytest.fixture(scope="module")
def sequences(words: list) -> list:
    return [to_pose_sequence(recording) for recording in words]


def test_resample_is_linear_between_known_neighbours_and_silent_across_gaps() -> None:
    time = np.array([0.0, 0.05, 0.10, 0.40])
    values = np.stack([time * 2, time * 3, time * 0], -1)[:, None].astype(np.float32)
    known = np.array([[True], [True], [False], [True]])
    grid = np.array([0.025, 0.05, 0.075, 0.25, 0.40, 0.45])
    got, ok = resample(time, values, known, grid)
    assert ok[:, 0].tolist() == [True, True, False, False, True, False]
    np.testing.assert_allclose(got[0, 0], [0.05, 0.075, 0.0], atol=1e-6)
    assert (got[~ok[:, 0]] == 0).all()


def test_the_grid_hits_the_anchored_end() -> None:
    time = np.linspace(0.013, 0.963, 20)
    assert frame_grid(time, 30.0)[0] == time[0]
    assert frame_grid(time, 30.0, "end")[-1] == time[-1]
    assert np.allclose(np.diff(frame_grid(time, 30.0, "end")), 1 / 30)


def test_non_metric_recordings_get_hands_of_the_reference_size(words: list) -> None:
    from palmist.pose_vector import hand_sizes

    sequence = to_pose_sequence(words[0])
    size, valid = hand_sizes(sequence.joints, sequence.known)
    assert size[valid].median().item() == pytest.approx(0.09, rel=0.05)
    assert to_model_space(open_data("leap_recordings")[0]).tolist() == [1, 1, 1]
    planar = to_model_space(open_data("reach_to_grasp")[0])
    assert planar[2] == 0


def test_a_recording_without_any_palm_is_refused_with_a_sentence(words: list) -> None:
    recording = words[0]
    confidence = np.ones((len(recording), 2, 21), np.float32)
    confidence[:, :, [5, 9, 13, 17]] = 0
    with pytest.raises(InputError, match="two knuckles"):
        to_model_space(recording.replace(confidence=confidence))


def test_body_context_moves_with_the_hand_not_with_the_camera(sequences: list) -> None:
    s = sequences[0]

    def context(joints: torch.Tensor, body: torch.Tensor) -> torch.Tensor:
        palms = encode(joints, s.known, s.space).palms
        return body_context(joints, s.known, palms.rotation, palms.valid, body, s.body_known)[0]

    base = context(s.joints, s.body)
    step = torch.tensor([0.2, -0.1, 0.0])
    shifted = context(
        torch.where(s.known.unsqueeze(-1), s.joints + step, s.joints),
        torch.where(s.body_known.unsqueeze(-1), s.body + step, s.body),
    )
    torch.testing.assert_close(shifted, base, rtol=0, atol=1e-4)
    alone = context(torch.where(s.known.unsqueeze(-1), s.joints + step, s.joints), s.body)
    assert (alone - base).abs().max() > 0.1


def test_windows_hold_only_what_is_known(sequences: list) -> None:
    data = WindowDataset(PoseBank(sequences), cut_probability=0.5)
    batch = data.batch(np.arange(len(data)), torch.Generator().manual_seed(0))
    for part in ("observed", "future"):
        known, frames = batch[f"{part}_known"], batch[f"{part}_frames"]
        assert not known[~frames].any()
    lengths = batch["observed_frames"].sum(1)
    assert lengths.min() >= 1
    assert (lengths < 16).any()
    # In each window a hand starts without a motion.
    assert not batch["observed_known"][:, 0, 126:144].any()


def test_the_future_follows_the_observed_frames_also_when_these_are_cut(sequences: list) -> None:
    bank = PoseBank(sequences)
    data = WindowDataset(bank, cut_probability=1.0)
    window = data.window(np.array([0]), torch.tensor([7]))
    start = int(data.starts[0])
    torch.testing.assert_close(window["future"][0, 0, :126], bank.vector[start + 7, :126])
    torch.testing.assert_close(window["future"][0, 0, 135:144], bank.vector[start + 7, 135:144])


def test_noise_touches_known_entries_only_and_clean_windows_stay_clean(sequences: list) -> None:
    bank = PoseBank(sequences)
    generator = torch.Generator().manual_seed(0)
    noisy = add_pose_noise(bank.vector, bank.known, generator)
    assert torch.equal(noisy[~bank.known], bank.vector[~bank.known])
    moved = (noisy - bank.vector)[:, 63:126][bank.known[:, 63:126]]
    assert moved.std().item() == pytest.approx(0.025, rel=0.05)
    data = WindowDataset(bank, clean_probability=1.0)
    batch = data.batch(np.arange(8), generator)
    assert torch.equal(batch["observed"], batch["observed_clean"])


def test_two_mirrors_give_the_sequence_back(sequences: list) -> None:
    once = mirror_sequence(sequences[0])
    assert torch.equal(once.known[:, 0], sequences[0].known[:, 1])
    twice = mirror_sequence(once)
    assert torch.equal(twice.joints, sequences[0].joints)
    assert torch.equal(twice.body_known, sequences[0].body_known)


def test_augmentation_never_makes_a_joint_known(sequences: list) -> None:
    hands = pad_sequences(sequences)
    config = replace(AugmentConfig(), crop=0.0, speed_bend=0.0)
    changed = augment(hands, config, torch.Generator().manual_seed(0))
    assert not (changed.known & ~hands.known).any()
    assert (changed.joints[~changed.known] == 0).all()
    assert (changed.joints - hands.joints)[changed.known].abs().max() > 0.01
    still = AugmentConfig(**dict.fromkeys(AugmentConfig.__dataclass_fields__, 0.0))
    same = augment(hands, still, torch.Generator().manual_seed(0))
    torch.testing.assert_close(same.joints, hands.joints, rtol=0, atol=1e-5)


def test_planar_augmentation_stays_in_the_plane() -> None:
    sequences = [to_pose_sequence(r) for r in open_data("reach_to_grasp")[:3]]
    hands = pad_sequences(sequences, 64)
    changed = augment(hands, AugmentConfig(), torch.Generator().manual_seed(0), planar=True)
    assert changed.joints[..., 2].abs().max() == 0


def test_unsigned_hands_keep_the_frames_and_stay_masked(sequences: list) -> None:
    hands = pad_sequences(sequences)
    made = make_unsigned(hands, hands.rows(torch.arange(len(sequences)).flip(0)), torch.Generator().manual_seed(0))
    assert torch.equal(made.frames, hands.frames)
    assert not (made.known & ~hands.known).any()
    assert torch.isfinite(made.joints).all()


def tiny_block() -> PBlock:
    torch.manual_seed(0)
    return PBlock(PBlockConfig(layers=1, width=32, heads=2, feedforward=32, residual=True)).eval().requires_grad_(False)


def test_padding_does_not_change_clip_tokens(sequences: list) -> None:
    block = tiny_block()
    short = clip_tokens(pad_sequences(sequences[:2]), "image", block, ABlockConfig(body_context=True))
    long = clip_tokens(pad_sequences(sequences[:2], 64), "image", block, ABlockConfig(body_context=True))
    assert long.clips.sum() == short.clips.sum()
    count = short.clips.shape[1]
    torch.testing.assert_close(long.mid_levels[:, :count], short.mid_levels, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(long.context[:, :count], short.context)


def test_action_batches_split_into_past_and_future(sequences: list) -> None:
    label = torch.arange(len(sequences)) % 3
    group = ActionGroup("words", pad_sequences(sequences), label, torch.ones(3, dtype=torch.bool), "image", unsigned_label=0)
    data = ActionDataset([group], tiny_block(), whole_probability=0.3)
    batch = data.batch(np.arange(40), torch.Generator().manual_seed(0))
    observed, total = batch["clips"].sum(1), data.clip_length
    assert observed.min() >= 1
    assert batch["future_clips"].any()
    rows = torch.nonzero(batch["future_clips"][:, 0]).flatten()
    first_ahead = batch["mid_levels"][rows, observed[rows]]
    torch.testing.assert_close(batch["future_mid_levels"][rows, 0], first_ahead)
    assert torch.equal(batch["future_phase"][rows, 0], batch["phase"][rows, observed[rows]])
    assert total == 16


def test_splits_and_folds_never_mix_people() -> None:
    for name, splits in SPLITS.items():
        for split in splits.values():
            if split.train is not None and split.test is not None:
                assert not set(split.train) & set(split.test), name
    people = [person for fold in FOLDS.values() for person in fold.people]
    assert sorted(people) == [f"P{i}" for i in range(1, 9)]
    takes = [take for fold in FOLDS.values() for take in fold.takes]
    assert sorted(takes) == sorted(r.name for r in open_data("leap_recordings"))
    chosen = recordings_of(open_data("asl_words"), named_split("asl_words", "cross_signer_a").test)
    assert {r.subject for r in chosen} == {"S2"}
    with pytest.raises(InputError, match="cross_signer_a"):
        named_split("asl_words", "random")


def test_context_of_clips_holds_pose_vectors_with_their_masks_when_asked(sequences: list) -> None:
    hands = pad_sequences(sequences[:2])
    body = clip_tokens(hands, "image", tiny_block(), ABlockConfig(body_context=True))
    both = clip_tokens(hands, "image", tiny_block(), ABlockConfig(body_context=True, pose_context=True))
    alone = clip_tokens(hands, "image", tiny_block(), ABlockConfig(pose_context=True))
    assert clip_tokens(hands, "image", tiny_block(), ABlockConfig()).context is None
    assert both.context is not None
    assert body.context is not None
    assert alone.context is not None
    assert both.context.shape[-1] == 26 + 153
    torch.testing.assert_close(both.context[..., :26], body.context)
    torch.testing.assert_close(both.context[..., 26:], alone.context)
    assert both.context_known is not None
    assert both.context_known.shape == both.context.shape
    assert not both.context_known[..., 26:][~both.clips].any()


def test_tracking_faults_take_whole_frames_and_shake_joints_in_their_share_of_recordings() -> None:
    joints, body = torch.ones(400, 20, 2, 21, 3), torch.ones(400, 20, 7, 3)
    known, body_known = torch.ones(400, 20, 2, 21, dtype=torch.bool), torch.ones(400, 20, 7, dtype=torch.bool)
    hands = HandBatch(joints, known, body, body_known, torch.ones(400, 20, dtype=torch.bool))
    faults = TrackingFaults(share=0.5, lose_frames=0.4, noise=0.2)

    found = add_tracking_faults(hands, faults, 0.09, torch.Generator().manual_seed(0))

    lost = ~found.body_known.any(-1)  # (400, 20)
    assert torch.equal(lost, ~found.body_known.all(-1))  # all points of a frame or none
    assert torch.equal(lost, ~found.known.flatten(2).any(-1))
    assert torch.equal(lost, ~found.known.flatten(2).all(-1))
    assert (found.joints[lost] == 0).all()
    assert (found.body[lost] == 0).all()
    assert 0.4 < (lost.any(1)).float().mean() < 0.55  # half of them, but for those that lose no frame by chance
    assert 0.15 < lost[lost.any(1)].float().mean() < 0.27  # 0 to 0.4, 0.2 on average
    seen = torch.where(lost[..., None, None], torch.nan, found.body)
    assert (seen[..., 2].nan_to_num(1.0) == 1).all()  # the body keeps its depth
    spread = torch.stack([row[~row.isnan()].std() for row in seen[..., 0]]) / 0.09
    shaken = spread > 0
    assert 0.4 < shaken.float().mean() < 0.6
    assert spread.max() < 0.24
    assert 0.07 < spread[shaken].mean() < 0.13
    same = add_tracking_faults(hands, TrackingFaults(share=0.0), 0.09, torch.Generator())
    assert torch.equal(same.joints, joints)
    assert torch.equal(same.known, known)
    assert torch.equal(same.body, body)

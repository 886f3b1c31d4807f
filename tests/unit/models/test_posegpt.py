"""PoseGPT: frames and back, causality, straight-through codes, the cached sampler, learning by heart."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from palmist import pose_vector
from palmist.errors import InputError
from palmist.inputs.windows import to_pose_sequence
from palmist.models.baselines.posegpt import (
    FRAME_DIM,
    MotionCodec,
    MotionGPT,
    PoseGPTConfig,
    to_frames,
    to_joints,
)
from palmist.readers import open_data

TINY = PoseGPTConfig(
    codec_layers=2, codec_width=32, codec_heads=2, centroids=16, code_dim=16, layers=2, width=32, heads=2, block=64,
    dropout=0.0, label_dim=12, top_k=5,
)  # fmt: skip


def leap(frames: int = 32) -> tuple[torch.Tensor, torch.Tensor]:
    """(1, T, 2, 21, 3) joints and their mask, of a take with both hands."""
    for recording in open_data("leap_recordings"):
        sequence = to_pose_sequence(recording)
        both = sequence.known.flatten(1).all(1)
        for start in range(0, len(sequence) - frames, frames):
            if bool(both[start : start + frames].all()):
                part = sequence.slice(start, start + frames)
                return part.joints[None], part.known[None]
    raise AssertionError("no take shows both hands")


def test_frames_have_141_numbers_and_give_the_joints_back() -> None:
    joints, known = leap()
    code = pose_vector.encode(joints.double(), known)
    vector, mask = pose_vector.reset_first_motion(code.vector, code.known, code.palms.valid)
    frames = to_frames(vector, mask)
    assert frames.frames.shape[-1] == FRAME_DIM == 126 + 6 + 9
    rotation, translation, _ = pose_vector.observed_palm(code.palms, first=True)
    size = code.palms.size[:, :1]
    back = to_joints(frames.frames, rotation, translation, size[:, 0])
    scale = code.palms.size / size  # a frame's own size against the first one's
    wrist = joints[..., :1, :].double()
    torch.testing.assert_close(back[..., :1, :], wrist, rtol=0, atol=1e-6)
    relative = (joints.double() - wrist) / scale[..., None, None]
    torch.testing.assert_close(back - back[..., :1, :], relative, rtol=0, atol=1e-6)


def test_what_is_not_known_is_never_looked_at() -> None:
    joints, known = leap()
    known = known.clone()
    known[:, 10, 1] = False
    code = pose_vector.encode(joints, known)
    vector, mask = pose_vector.reset_first_motion(code.vector, code.known, code.palms.valid)
    frames = to_frames(vector, mask)
    assert not frames.known[0, 10, 63:126].any()
    codec = MotionCodec(TINY)
    batch = {"frames": frames.frames, "known": frames.known, "mask": torch.ones(1, 32, dtype=torch.bool)}
    spoilt = torch.where(frames.known, frames.frames, torch.full_like(frames.frames, 1e3))
    codec.eval()
    assert codec.loss(batch)[0] == codec.loss({**batch, "frames": spoilt})[0]


def test_a_code_depends_on_its_own_and_earlier_frames_only() -> None:
    torch.manual_seed(0)
    codec = MotionCodec(TINY).eval()
    frames, known = torch.randn(2, 20, FRAME_DIM), torch.ones(2, 20, FRAME_DIM, dtype=torch.bool)
    changed = frames.clone()
    changed[:, 12:] += 1
    before, after = codec._encoded(frames, known), codec._encoded(changed, known)
    torch.testing.assert_close(before[:, :6], after[:, :6])
    assert not torch.allclose(before[:, 6], after[:, 6])
    with pytest.raises(InputError, match="even number"):
        codec.encode(frames[:, :19], known[:, :19])


def test_the_gradient_passes_straight_through_the_codes_and_padding_changes_nothing() -> None:
    torch.manual_seed(0)
    codec = MotionCodec(TINY)
    frames = torch.randn(2, 16, FRAME_DIM)
    batch = {"frames": frames, "known": torch.ones_like(frames, dtype=torch.bool), "mask": torch.ones(2, 16, dtype=torch.bool)}
    batch["mask"][1, 10:] = False
    codec.eval()
    loss, parts = codec.loss(batch)
    loss.backward()
    assert codec.enter.weight.grad is not None
    assert codec.enter.weight.grad.abs().sum() > 0
    assert codec.quantiser.centroids.grad is not None
    assert codec.quantiser.centroids.grad.abs().sum() > 0
    padded = {name: value.clone() for name, value in batch.items()}
    padded["frames"][1, 10:] = 7.0
    for name, value in codec.loss(padded)[1].items():
        torch.testing.assert_close(value, parts[name])


def test_unused_centroids_are_put_where_codes_are_needed() -> None:
    torch.manual_seed(0)
    codec = MotionCodec(TINY).train()
    codec.quantiser.centroids.data[:, 1:] += 100  # far from everything
    frames = torch.randn(8, 32, FRAME_DIM)
    batch = {"frames": frames, "known": torch.ones_like(frames, dtype=torch.bool), "mask": torch.ones(8, 32, dtype=torch.bool)}
    known = batch["known"]
    assert len(codec.encode(frames, known).unique()) == 1
    codec.quantiser.usage.mul_(1e-6)
    codec.loss(batch)
    assert len(codec.encode(frames, known)[..., 0].unique()) > 4


def test_the_cached_sampler_equals_the_plain_one() -> None:
    torch.manual_seed(0)
    gpt = MotionGPT(TINY).eval()
    past, action = torch.randint(0, 16, (4, 8, 2)), torch.randn(4, 12)
    length = torch.full((4,), 48)
    with_cache, without = (
        gpt.sample(past, action, length, torch.Generator().manual_seed(1), cached=cached) for cached in (True, False)
    )
    assert with_cache.shape == (4, 24, 2)
    assert torch.equal(with_cache, without)
    assert torch.equal(with_cache[:, :8], past)  # 8 codes: the 16 observed frames
    logits, _ = gpt(with_cache[:, :-1], action, length)
    first, cache = gpt(with_cache[:, :8], action, length)
    torch.testing.assert_close(first, logits[:, :9], rtol=1e-5, atol=1e-5)
    second, _ = gpt(with_cache[:, 8:9], action, length, cache, 9)
    torch.testing.assert_close(second[:, 0], logits[:, 9], rtol=1e-5, atol=1e-5)


def test_a_later_code_does_not_change_earlier_logits_and_the_best_code_is_not_random() -> None:
    torch.manual_seed(0)
    gpt = MotionGPT(replace(TINY, top_k=1)).eval()
    codes, action, length = torch.randint(0, 16, (2, 10, 2)), torch.randn(2, 12), torch.tensor([40, 40])
    changed = codes.clone()
    changed[:, 6] = (changed[:, 6] + 1) % 16
    first, _ = gpt(codes, action, length)
    second, _ = gpt(changed, action, length)
    torch.testing.assert_close(first[:, :7], second[:, :7])
    assert not torch.allclose(first[:, 7], second[:, 7])
    one, other = (gpt.sample(codes[:, :8], action, length, torch.Generator().manual_seed(s)) for s in (1, 2))
    assert torch.equal(one, other)
    with pytest.raises(InputError, match="block of 64"):
        gpt.sample(codes, action, torch.tensor([200, 200]))


def test_both_stages_learn_a_few_sequences_by_heart() -> None:
    torch.manual_seed(0)
    joints, known = leap(64)
    code = pose_vector.encode(joints, known)
    frames, mask = to_frames(*pose_vector.reset_first_motion(code.vector, code.known, code.palms.valid))
    frames, mask = (
        frames.unfold(1, 32, 32)[0].transpose(1, 2).contiguous(),
        mask.unfold(1, 32, 32)[0].transpose(1, 2).contiguous(),
    )
    batch = {"frames": frames, "known": mask, "mask": torch.ones(frames.shape[:2], dtype=torch.bool)}
    codec = MotionCodec(replace(TINY, codec_width=64, centroids=32)).train()
    optimiser = torch.optim.Adam(codec.parameters(), 3e-3)
    start = codec.loss(batch)[1]["numbers"]
    for _ in range(150):
        optimiser.zero_grad()
        loss, parts = codec.loss(batch)
        loss.backward()
        optimiser.step()
    assert parts["numbers"] < 0.4 * start
    codec.eval()
    codes = codec.encode(frames, mask)
    gpt = MotionGPT(replace(TINY, centroids=32)).train()
    optimiser = torch.optim.Adam(gpt.parameters(), 3e-3)
    given = {
        "codes": codes, "valid": torch.ones(codes.shape[:2], dtype=torch.bool),
        "action": torch.eye(12)[: len(codes)], "length": torch.full((len(codes),), 32),
    }  # fmt: skip
    for _ in range(150):
        optimiser.zero_grad()
        loss, parts = gpt.loss(given)
        loss.backward()
        optimiser.step()
    assert parts["accuracy"] > 0.95
    gpt.eval()
    again = MotionGPT(replace(TINY, centroids=32, top_k=1)).eval()
    again.load_state_dict(gpt.state_dict())
    assert torch.equal(again.sample(codes[:, :2], given["action"], given["length"]), codes)

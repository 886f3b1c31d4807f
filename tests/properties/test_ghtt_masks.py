"""Whatever stands in an unknown entry, a padded frame or a padded clip changes nothing in G-HTT."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from palmist.models.ghtt import ABlock, ABlockConfig, PBlock, PBlockConfig

TINY = {"layers": 2, "width": 32, "heads": 4, "feedforward": 64}
SEEDS = st.integers(0, 10_000)
GARBAGE = st.sampled_from([0.0, 1e6, -37.5, float("nan"), float("inf")])
QUICK = settings(max_examples=12, deadline=None, derandomize=True)


def pose_batch(seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    batch = {}
    for name in ("observed", "future"):
        batch[name] = torch.randn(3, 16, 153, generator=generator)
        batch[f"{name}_known"] = torch.rand(3, 16, 153, generator=generator) < torch.rand(3, 16, 1, generator=generator)
        batch[f"{name}_frames"] = torch.arange(16) < torch.randint(1, 17, (3, 1), generator=generator)
        axes = torch.randn(3, 16, 3, 3, generator=generator)
        batch[f"{name}_axes"] = torch.nn.functional.normalize(axes, dim=-1)
    batch["observed_clean"] = batch["observed"] + 0.1
    return batch


def action_batch(seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    count = torch.randint(1, 5, (3, 1), generator=generator)
    future = torch.randint(0, 4, (3, 1), generator=generator)
    return {
        "mid_levels": torch.randn(3, 4, 32, generator=generator),
        "clips": torch.arange(4) < count,
        "phase": torch.arange(4).expand(3, 4),
        "objects": torch.randn(3, 4, 8, generator=generator),
        "objects_known": torch.rand(3, 4, generator=generator) < 0.6,
        "context": torch.randn(3, 4, 16, 26, generator=generator),
        "context_known": torch.rand(3, 4, 16, generator=generator) < 0.6,
        "future_mid_levels": torch.randn(3, 3, 32, generator=generator),
        "future_clips": torch.arange(3) < future,
        "future_phase": count + torch.arange(3),
        "label": torch.tensor([1, -1, 0]),
    }


@pytest.fixture(scope="module")
def pose_block() -> PBlock:
    torch.manual_seed(0)
    return PBlock(PBlockConfig(**TINY))


@pytest.fixture(scope="module")
def action_block() -> ABlock:
    torch.manual_seed(0)
    options = {"mid_level_dim": 32, "object_dim": 8, "label_dim": 6, "body_context": True, "token_dropout": 0.2}
    block = ABlock(ABlockConfig(**TINY, **options))  # type: ignore[arg-type]
    block.set_labels(["a", "b", "c"], torch.randn(3, 6))
    return block


@QUICK
@given(seed=SEEDS, garbage=GARBAGE)
def test_unknown_entries_never_reach_the_encoder(pose_block: PBlock, seed: int, garbage: float) -> None:
    batch = pose_batch(seed)
    vector, known, frames = batch["observed"], batch["observed_known"], batch["observed_frames"]
    other = torch.where(known & frames.unsqueeze(-1), vector, torch.full_like(vector, garbage))
    with torch.no_grad():
        before, after = (pose_block.encode(values, known, frames) for values in (vector, other))
    for ours, theirs in zip(before, after, strict=True):
        assert torch.equal(ours, theirs)
        assert theirs.isfinite().all()


@QUICK
@given(seed=SEEDS, garbage=GARBAGE)
@pytest.mark.parametrize("training", [True, False])
def test_unknown_entries_never_reach_the_pose_loss(pose_block: PBlock, training: bool, seed: int, garbage: float) -> None:
    batch = pose_batch(seed)
    other = dict(batch)
    for name, mask in (("observed", "observed"), ("observed_clean", "observed"), ("future", "future")):
        counted = batch[f"{mask}_known"] & batch[f"{mask}_frames"].unsqueeze(-1)
        other[name] = torch.where(counted, batch[name], torch.full_like(batch[name], garbage))
    pose_block.train(training)
    results = []
    for values in (batch, other):
        pose_block.zero_grad()
        total, _ = pose_block.loss(values, torch.Generator().manual_seed(1))
        total.backward()
        results.append((total.detach(), [p.grad.clone() for p in pose_block.parameters() if p.grad is not None]))
    assert torch.equal(results[0][0], results[1][0])
    assert results[0][0].isfinite()
    assert all(torch.equal(a, b) and a.isfinite().all() for a, b in zip(results[0][1], results[1][1], strict=True))


@QUICK
@given(seed=SEEDS, extra=st.integers(1, 14))
def test_padded_frames_do_not_change_mu(pose_block: PBlock, seed: int, extra: int) -> None:
    """A clip of T - extra frames, with and without its padding, has the same posterior."""
    generator = torch.Generator().manual_seed(seed)
    count = 16 - extra
    vector, known = torch.randn(2, 16, 153, generator=generator), torch.ones(2, 16, 153, dtype=torch.bool)
    frames = (torch.arange(16) < count).expand(2, 16)
    with torch.no_grad():
        padded = pose_block.encode(vector, known, frames)
        short = pose_block.encode(vector[:, :count], known[:, :count], frames[:, :count])
    torch.testing.assert_close(padded.mean, short.mean, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(padded.log_variance, short.log_variance, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(padded.refined[:, :count], short.refined, rtol=1e-4, atol=1e-5)
    # The mask does something: showing the frames changes the posterior.
    with torch.no_grad():
        shown = pose_block.encode(vector, known, torch.ones_like(frames))
    assert not torch.allclose(shown.mean, padded.mean, atol=1e-3)


@QUICK
@given(seed=SEEDS, garbage=GARBAGE)
def test_padded_clips_do_not_change_mu(action_block: ABlock, seed: int, garbage: float) -> None:
    batch = action_batch(seed)
    inputs = ("mid_levels", "objects", "context")
    other = dict(batch)
    for name in inputs:
        mask = batch["clips"].view(3, 4, *[1] * (batch[name].dim() - 2))
        other[name] = torch.where(mask, batch[name], torch.full_like(batch[name], garbage))
    names = ("mid_levels", "clips", "phase", "objects", "context", "context_known", "objects_known")
    with torch.no_grad():
        before, after = (action_block.encode(*(part[name] for name in names)) for part in (batch, other))
        longer = action_block.encode(*(torch.cat((batch[n], torch.zeros_like(batch[n][:, :2])), dim=1) for n in names))
    assert torch.equal(before.mean, after.mean)
    torch.testing.assert_close(before.mean, longer.mean, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(before.log_variance, longer.log_variance, rtol=1e-4, atol=1e-5)


@QUICK
@given(seed=SEEDS, garbage=GARBAGE)
@pytest.mark.parametrize("training", [True, False])
def test_unknown_parts_never_reach_the_action_loss(action_block: ABlock, training: bool, seed: int, garbage: float) -> None:
    batch = action_batch(seed)
    other = dict(batch)
    known = {
        "mid_levels": batch["clips"][..., None],
        "objects": (batch["objects_known"] & batch["clips"])[..., None],
        "context": (batch["context_known"] & batch["clips"].unsqueeze(-1))[..., None],
        "future_mid_levels": batch["future_clips"][..., None],
    }
    for name, mask in known.items():
        other[name] = torch.where(mask, batch[name], torch.full_like(batch[name], garbage))
    other["context_known"] = batch["context_known"] & batch["clips"].unsqueeze(-1)
    action_block.train(training)
    results = []
    for values in (batch, other):
        action_block.zero_grad()
        total, _ = action_block.loss(values, torch.Generator().manual_seed(1))
        total.backward()
        results.append((total.detach(), [p.grad.clone() for p in action_block.parameters() if p.grad is not None]))
    assert torch.equal(results[0][0], results[1][0])
    assert all(torch.equal(a, b) and a.isfinite().all() for a, b in zip(results[0][1], results[1][1], strict=True))


@QUICK
@given(seed=SEEDS)
def test_known_entries_do_matter(pose_block: PBlock, seed: int) -> None:
    batch = pose_batch(seed)
    known = torch.ones_like(batch["observed_known"])
    frames = torch.ones_like(batch["observed_frames"])
    with torch.no_grad():
        before = pose_block.encode(batch["observed"], known, frames)
        after = pose_block.encode(batch["observed"] + 0.5, known, frames)
    assert not torch.allclose(before.mean, after.mean, atol=1e-3)

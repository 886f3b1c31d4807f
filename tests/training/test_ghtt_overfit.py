"""Both blocks of G-HTT learn a handful of examples by heart."""

from __future__ import annotations

import torch

from conftest import smooth_hands
from palmist import pose_vector
from palmist.models.ghtt import GHTT, ABlockConfig, GHTTConfig, PBlockConfig, cut_clips

TINY = {"layers": 2, "width": 64, "heads": 4, "feedforward": 128}


def pose_windows() -> dict[str, torch.Tensor]:
    joints = torch.stack([torch.from_numpy(smooth_hands(32, seed)) for seed in range(4)])
    known = torch.ones(joints.shape[:-1], dtype=torch.bool)
    known[1, :, 0] = False  # one window without its left hand
    encoded = pose_vector.encode(joints, known)
    frames = torch.ones(4, 16, dtype=torch.bool)
    return {
        "observed": encoded.vector[:, :16],
        "observed_clean": encoded.vector[:, :16],
        "observed_known": encoded.known[:, :16],
        "observed_axes": encoded.depth_axes[:, :16],
        "observed_frames": frames,
        "future": encoded.vector[:, 16:],
        "future_known": encoded.known[:, 16:],
        "future_axes": encoded.depth_axes[:, 16:],
        "future_frames": frames,
    }


def fit(block: torch.nn.Module, batch: dict[str, torch.Tensor], steps: int, rate: float) -> list[dict[str, float]]:
    generator = torch.Generator().manual_seed(0)
    optimiser = torch.optim.AdamW(block.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps, pct_start=0.1)
    history = []
    for _ in range(steps):
        total, parts = block.loss(batch, generator)  # type: ignore[operator]
        optimiser.zero_grad()
        total.backward()
        torch.nn.utils.clip_grad_norm_(block.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        history.append({name: value.item() for name, value in parts.items()})
    return history


def test_pose_block_learns_four_windows_by_heart() -> None:
    torch.manual_seed(0)
    model = GHTT(GHTTConfig(PBlockConfig(**TINY, drop_thumb_cmc=False))).train()
    batch = pose_windows()
    with torch.no_grad():
        start = model.p.eval().loss(batch)[1]
    fit(model.p.train(), batch, steps=400, rate=1e-3)
    with torch.no_grad():
        end = model.p.eval().loss(batch)[1]
    for part, share in (("observed", 0.05), ("future", 0.05), ("trajectory", 0.4)):
        assert end[part] < share * start[part], (part, start[part], end[part])
    # In metres: the deterministic future is closer to the truth than the last pose repeated.
    joints = torch.stack([torch.from_numpy(smooth_hands(32, seed)) for seed in (0, 2, 3)])
    encoded = pose_vector.encode(joints[:, :16], torch.ones(3, 16, 2, 21, dtype=torch.bool))
    future = model.predict_short(cut_clips(encoded), 1, 1, 0.0).joints[:, 0]
    error = (future - joints[:, 16:]).norm(dim=-1).mean()
    repeated = (joints[:, 15:16] - joints[:, 16:]).norm(dim=-1).mean()
    assert error < 0.5 * repeated, (error, repeated)


def test_action_block_learns_six_sequences_by_heart() -> None:
    torch.manual_seed(0)
    options = {"mid_level_dim": 64, "object_dim": 0, "label_dim": 16, "mid_level_noise": 0.1, "body_context": True}
    labels = ("grab", "pour", "close")
    model = GHTT(GHTTConfig(PBlockConfig(**TINY), ABlockConfig(**TINY, **options)))  # type: ignore[arg-type]
    assert model.a is not None
    model.a.set_labels(labels, torch.randn(3, 16))
    batch = {
        "mid_levels": torch.randn(6, 3, 64),
        "clips": torch.ones(6, 3, dtype=torch.bool),
        "phase": torch.arange(3).expand(6, 3),
        "context": torch.randn(6, 3, 16, 26),
        "context_known": torch.ones(6, 3, 16, dtype=torch.bool),
        "future_mid_levels": torch.randn(6, 2, 64),
        "future_clips": torch.tensor([[1, 1]] * 5 + [[0, 0]], dtype=torch.bool),
        "future_phase": torch.tensor([[3, 4]] * 6),
        "label": torch.tensor([0, 1, 2, 0, 1, 2]),
    }
    fit(model.a.train(), batch, steps=200, rate=2e-3)
    with torch.no_grad():
        _, end = model.a.eval().loss(batch)
    assert end["accuracy"] == 1
    assert end["contrast"] < 0.2
    assert end["motion"] < 0.4  # 0.8 when it knows nothing: the mean of |N(0, 1)|

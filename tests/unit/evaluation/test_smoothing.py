"""Gaussian smoothing, refinement's linear rival, against a slow version."""

from __future__ import annotations

import numpy as np
import torch

from palmist.evaluation.ghtt import smooth_vectors


def test_smoothing_equals_the_slow_version_and_leaves_the_rest_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    vector = torch.randn(2, 16, 153, generator=generator)
    known = torch.rand(2, 16, 153, generator=generator) < 0.7
    frames = torch.arange(16) < torch.tensor([[16], [9]])
    smooth = smooth_vectors(0.8, vector, known, frames, planar=False)
    for row, frame, entry in ((0, 0, 3), (0, 7, 60), (1, 8, 125), (1, 12, 5)):
        there = [t for t in range(16) if known[row, t, entry] and frames[row, t]]
        weight = np.exp(-0.5 * ((np.array(there) - frame) / 0.8) ** 2)
        expected = float((weight * vector[row, there, entry].numpy()).sum() / weight.sum())
        if not known[row, frame, entry]:
            expected = float(vector[row, frame, entry])
        assert abs(float(smooth[row, frame, entry]) - expected) < 1e-5
    assert torch.equal(smooth[..., 126:], vector[..., 126:])
    spoilt = torch.where(known & frames.unsqueeze(-1), vector, torch.full_like(vector, 1e3))
    changed = smooth_vectors(0.8, spoilt, known, frames, planar=False)
    seen = (known & frames.unsqueeze(-1))[..., :126]
    torch.testing.assert_close(changed[..., :126][seen], smooth[..., :126][seen])
    still = torch.ones(1, 16, 153)
    every = torch.ones_like(still, dtype=torch.bool)
    torch.testing.assert_close(smooth_vectors(1.5, still, every, every[..., 0], planar=True), still)

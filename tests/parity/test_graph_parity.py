"""ST-GCN++ with joints first gives what the plain form gives: values, gradients, running statistics."""

from __future__ import annotations

import copy

import pytest
import torch

from palmist.models.graph_backbones import GraphTrunk, TrunkConfig
from palmist.models.skeleton_graph import graph


def pair(name: str) -> tuple[GraphTrunk, GraphTrunk]:
    torch.manual_seed(0)
    trunk = GraphTrunk(TrunkConfig(channels=4, width=20, blocks=4, widen=(2, 4)), graph(name)).double()
    plain = copy.deepcopy(trunk)
    plain.joints_first = False
    return trunk, plain


@pytest.mark.parametrize(
    ("name", "instances", "frames"), [("hand21", 3, 20), ("upper7", 16, 9), ("kinect25", 2, 3), ("upper7", 2, 1)]
)
def test_training(name: str, instances: int, frames: int) -> None:
    trunk, plain = pair(name)
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(instances, 4, frames, graph(name).joints, generator=generator, dtype=torch.float64)
    code = torch.randn(instances, 20, generator=generator, dtype=torch.float64)
    fast, slow = trunk(x, code), plain(x, code)
    torch.testing.assert_close(fast, slow, atol=1e-9, rtol=1e-9)
    weight = torch.randn(fast.shape, generator=generator, dtype=torch.float64)
    (fast * weight).sum().backward()
    (slow * weight).sum().backward()
    for (key, one), other in zip(trunk.named_parameters(), plain.parameters(), strict=True):
        assert one.grad is not None
        assert other.grad is not None
        scale = float(other.grad.abs().max()) + 1.0
        assert float((one.grad - other.grad).abs().max()) < 1e-7 * scale, key
    for (key, one), other in zip(trunk.named_buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(one, other, msg=key)


def test_evaluation_in_single_precision() -> None:
    trunk, plain = (part.float() for part in pair("hand21"))
    x = torch.randn(7, 4, 20, 21, generator=torch.Generator().manual_seed(2))
    trunk.train()(x)  # other running statistics than 0 and 1
    plain.load_state_dict(trunk.state_dict())
    trunk.eval()
    plain.eval()
    with torch.no_grad():
        fast, slow = trunk(x), plain(x)
    torch.testing.assert_close(fast, slow, atol=1e-4 * float(slow.abs().max()), rtol=0)

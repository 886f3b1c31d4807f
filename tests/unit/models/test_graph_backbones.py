"""Graph networks: published sizes, and spatial and temporal parts against literal loops."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from palmist.errors import InputError
from palmist.models.graph_backbones import (
    KINDS,
    ChannelwiseGraph,
    DeformableTime,
    DynamicGroups,
    GraphTrunk,
    LearnedGraph,
    SixBranches,
    TrunkConfig,
)
from palmist.models.skeleton_graph import graph

# network, graph, frames, instances, millions of parameters, thousand millions of multiply-adds (specification, 7.2)
PUBLISHED = [
    ("stgcn", "kinect25", 100, 2, 3.08, 5.70),
    ("stgcn++", "kinect25", 100, 2, 1.39, 2.93),
    ("ctrgcn", "kinect25", 100, 2, 1.43, 2.97),
    ("dgstgcn", "kinect25", 100, 2, 1.69, 2.50),
    ("stgcn++", "kinect25", 64, 2, 1.39, 1.87),
    ("dgstgcn", "kinect25", 64, 2, 1.69, 1.61),
    ("stgcn++", "hand21", 64, 2, 1.38, 1.55),
    ("dgstgcn", "hand21", 64, 2, 1.67, 1.34),
    ("stgcn++", "hand21", 64, 4, 1.38, 3.10),
    ("degcn", "kinect25", 64, 2, 0.71, 0.98),
]


@pytest.mark.parametrize(("kind", "name", "frames", "instances", "parameters", "products"), PUBLISHED)
def test_sizes_are_the_published_ones(
    kind: str, name: str, frames: int, instances: int, parameters: float, products: float
) -> None:
    joints = graph(name)
    trunk = GraphTrunk(TrunkConfig(kind), joints).eval().to("meta")  # shapes alone
    given = torch.zeros(instances, 3, frames, joints.joints, device="meta")
    count = sum(weight.numel() for weight in trunk.parameters())
    if kind == "degcn":  # its count includes the classifier of 120 classes
        count += 256 * 120 + 120
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        out = trunk(given)
    assert out.shape == (instances, 256, frames // 4, joints.joints)
    assert count / 1e6 == pytest.approx(parameters, rel=0.01)
    assert counter.get_total_flops() / 2e9 == pytest.approx(products, rel=0.01)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_part_learns_and_frames_are_halved_at_the_widening_blocks(kind: str) -> None:
    torch.manual_seed(0)
    trunk = GraphTrunk(TrunkConfig(kind, width=16, blocks=4, widen=(2, 4)), graph("hand21"))
    out = trunk(torch.randn(3, 3, 11, 21))
    assert out.shape == (3, 64, 3, 21)
    (out**2).mean().backward()
    still = {name for name, weight in trunk.named_parameters() if weight.grad is None or not weight.grad.abs().max() > 0}
    # Terms whose strength starts at 0 give their inputs no gradient in the first step; so does a bias before a batch norm,
    # up to rounding.
    starts_at_zero = ("relate", "query", "key", "left", "right")
    assert {name for name in still if name.split(".")[-2] not in starts_at_zero and not name.endswith("bias")} == set()


def test_learned_graph_is_the_sum_over_matrices_and_joints() -> None:
    torch.manual_seed(0)
    layer = LearnedGraph(4, 6, graph("upper7").adjacency()).eval()
    x = torch.randn(2, 4, 3, 7)
    weight = layer.conv.weight.view(3, 6, 4)
    bias = layer.conv.bias
    assert bias is not None
    expected = torch.zeros(2, 6, 3, 7)
    for k in range(3):
        for v in range(7):
            value = torch.einsum("oc,nct->not", weight[k], x[..., v]) + bias.view(3, 6)[k][None, :, None]
            for w in range(7):
                expected[..., w] += layer.adjacency[k, v, w] * value
    expected = torch.relu(expected / (1 + layer.norm.eps) ** 0.5 + layer.shortcut(x))
    torch.testing.assert_close(layer(x), expected, atol=1e-5, rtol=1e-5)


def test_channelwise_graph_refines_each_channel() -> None:
    torch.manual_seed(0)
    layer = ChannelwiseGraph(16, 8, graph("upper7").adjacency()).eval()
    nn.init.constant_(layer.strength, 0.7)
    x = torch.randn(2, 16, 3, 7)
    query, key = (part(x).mean(2).view(2, 3, 8, 7) for part in (layer.query, layer.key))
    value = layer.value(x).view(2, 3, 8, 3, 7)
    expected = torch.zeros(2, 8, 3, 7)
    for k in range(3):
        weight = layer.relate.weight.view(3, 8, 8)[k]
        bias = layer.relate.bias
        assert bias is not None
        for u in range(7):
            for v in range(7):
                relation = torch.tanh(query[:, k, :, u] - key[:, k, :, v]) @ weight.T + bias.view(3, 8)[k]
                # As released: joint u takes from joint v by row u of the matrix.
                expected[..., u] += (0.7 * relation + layer.adjacency[k, u, v])[:, :, None] * value[:, k, :, :, v]
    result = layer.norm(expected) + layer.shortcut(x)
    torch.testing.assert_close(layer(x), torch.relu(result), atol=1e-5, rtol=1e-5)


def test_dynamic_groups_add_both_terms_of_the_sample() -> None:
    torch.manual_seed(0)
    layer = DynamicGroups(8, 16, graph("upper7").adjacency()).eval()
    nn.init.constant_(layer.difference_strength, 0.5)
    nn.init.constant_(layer.product_strength, 0.25)
    x = torch.randn(1, 8, 3, 7)
    values = layer.enter(x).view(8, 2, 3, 7)
    mean = x.mean(2, keepdim=True)
    left, right = layer.left(mean).view(8, 2, 7), layer.right(mean).view(8, 2, 7)
    expected = torch.zeros(8, 2, 3, 7)
    for k in range(8):
        product = (left[k].T @ right[k]).softmax(0)
        for v in range(7):
            for w in range(7):
                for c in range(2):
                    entry = layer.adjacency[k, v, w] + 0.5 * torch.tanh(left[k, c, v] - right[k, c, w]) + 0.25 * product[v, w]
                    expected[k, c, :, w] += entry * values[k, c, :, v]
    result = layer.norm(layer.leave(expected.view(1, 16, 3, 7))) + layer.shortcut(x)
    torch.testing.assert_close(layer(x), torch.relu(result), atol=1e-5, rtol=1e-5)


def test_the_mean_joint_counts_from_nothing() -> None:
    torch.manual_seed(0)
    plain, mean = SixBranches(18, 1, 7).eval(), SixBranches(18, 1, 7, joint_mean=True).eval()
    mean.load_state_dict(plain.state_dict(), strict=False)
    x = torch.randn(2, 18, 6, 7)
    torch.testing.assert_close(mean(x), plain(x))
    assert mean.mean_weight is not None
    nn.init.ones_(mean.mean_weight)
    assert (mean(x) - plain(x)).abs().max() > 1e-3


def test_deformable_offsets_read_between_frames_and_learn() -> None:
    layer = DeformableTime(1, 1, 1, count=1).eval()
    nn.init.ones_(layer.conv.weight)
    assert layer.conv.bias is not None
    nn.init.zeros_(layer.conv.bias)
    nn.init.constant_(layer.offset, 0.25)
    ramp = torch.arange(6.0).view(1, 1, 6, 1)
    out = layer(ramp) * (1 + layer.norm.eps) ** 0.5
    torch.testing.assert_close(out.flatten(), torch.tensor([0.25, 1.25, 2.25, 3.25, 4.25, 5.0]))
    out.sum().backward()
    assert layer.offset.grad is not None
    assert layer.offset.grad.item() == pytest.approx(5.0, rel=1e-4)


def test_an_unknown_network_is_named() -> None:
    with pytest.raises(InputError, match="ctrgcn"):
        TrunkConfig("gcn")

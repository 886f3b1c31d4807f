"""ST-GCN++ run with joints first: the same weights and the same numbers as `graph_backbones`, several times faster on a CPU.

With joints first, (V, T, N, C), every step is one large matrix product or a slice: mixing joints is (K V, V) times
(V, T N C), a 1 x 1 convolution is (V T N, C) times its weight, looking along time is a slice of T, and the six branches
share one product on entering and one for their four dilated convolutions. As matrices of joints and of channels commute,
joints are mixed before the convolution, on the narrower side.

Letters: V joints, T frames, N instances, C channels, K matrices of the graph.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from palmist.models.graph_backbones import GraphBlock, GraphTrunk, LearnedGraph, SixBranches
from palmist.models.layers import affine

__all__ = ["run"]


def run(trunk: GraphTrunk, x: Tensor, code: Tensor | None = None) -> Tensor:
    """`GraphTrunk.forward` of ST-GCN++'s blocks: (N, C, T, V) -> (N, D, T', V); code (N, width)."""
    N, C, T, V = x.shape
    x = x.permute(3, 2, 0, 1)  # (V, T, N, C)
    if trunk.norm is not None:
        per_frame = x.permute(1, 2, 0, 3).reshape(T * N, V * C)
        x = _norm(trunk.norm, per_frame).view(T, N, V, C).permute(2, 0, 1, 3)
    x = x.contiguous()
    for number, block in enumerate(trunk.blocks):
        assert isinstance(block, GraphBlock)
        x = _block(block, x)
        if number == 0 and code is not None:
            x = x + code
    return x.permute(2, 3, 1, 0)


def _norm(norm: nn.modules.batchnorm._BatchNorm, rows: Tensor) -> Tensor:
    """A batch norm of (..., C) over all but the last dimension, with the module's statistics."""
    if norm.training and norm.num_batches_tracked is not None:
        norm.num_batches_tracked.add_(1)
    flat = rows.reshape(-1, rows.shape[-1])
    momentum = 0.1 if norm.momentum is None else norm.momentum
    out = F.batch_norm(
        flat, norm.running_mean, norm.running_var, norm.weight, norm.bias, norm.training, momentum, norm.eps
    )  # fmt: skip
    return out.view(rows.shape)


def _product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """(..., C) times weight (outputs, C), and a bias."""
    rows = x.shape[:-1].numel()
    if rows % 16:
        return F.linear(x, weight, bias)
    return affine(x.reshape(16, rows // 16, -1), weight, bias).view(*x.shape[:-1], -1)


def _point(layers: nn.Sequential, x: Tensor) -> Tensor:
    """A 1 x 1 convolution, then the batch norm."""
    conv, norm = layers[0], layers[1]
    assert isinstance(conv, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    return _norm(norm, _product(x[:, :: conv.stride[0]], conv.weight.flatten(1), conv.bias))


def _shortcut(layers: nn.Module, x: Tensor) -> Tensor:
    return _point(layers, x) if isinstance(layers, nn.Sequential) else x


def _block(block: GraphBlock, x: Tensor) -> Tensor:
    """(V, T, N, C) -> (V, T / stride, N, outputs)."""
    spatial, temporal = block.spatial, block.temporal
    assert isinstance(spatial, LearnedGraph)
    assert isinstance(temporal, SixBranches)
    y = _temporal(temporal, _spatial(spatial, x))
    return F.relu(y + _shortcut(block.shortcut, x) if block.residual else y)


def _spatial(layer: LearnedGraph, x: Tensor) -> Tensor:
    V, T, N, C = x.shape
    K = len(layer.adjacency)
    mixed = (layer.adjacency.permute(2, 0, 1).reshape(V * K, V) @ x.view(V, -1)).view(V, K, T, N, C)
    weight = layer.conv.weight.view(K, -1, C)  # (K, outputs, C)
    y = _product(mixed.permute(0, 2, 3, 1, 4).reshape(V, T, N, K * C), weight.permute(1, 0, 2).flatten(1), None)
    if layer.conv.bias is not None:  # what the bias of each group becomes on its way to each joint
        y = y + (layer.adjacency.sum(1).T @ layer.conv.bias.view(K, -1))[:, None, None]
    return F.leaky_relu(_norm(layer.norm, y) + _shortcut(layer.shortcut, x), layer.leak)


def _temporal(layer: SixBranches, x: Tensor) -> Tensor:
    """All six branches: five enter through one product; the four convolutions leave through one with zeros between them."""
    *entering, last = (cast(nn.Sequential, branch) for branch in layer.branches)
    points = [cast(nn.Conv2d, branch[0]) for branch in (*entering, last)]
    stride = points[-1].stride[0]
    weight = torch.cat([conv.weight.flatten(1) for conv in points])
    bias = torch.cat([cast(Tensor, conv.bias) for conv in points])
    widths = [conv.out_channels for conv in points]
    entered = _product(x, weight, bias)
    inner, alone = entered.split([sum(widths[:-1]), widths[-1]], dim=-1)
    inner = F.relu(_joint_norm([cast(nn.BatchNorm2d, branch[1]) for branch in entering], inner))
    parts = inner.split(widths[:-1], dim=-1)
    convolutions = [cast(nn.Conv2d, branch[3]) for branch in entering[:-1]]
    taps = [tap for part, conv in zip(parts, convolutions, strict=False) for tap in _taps(part, conv.dilation[0], stride)]
    kernels = [conv.weight.squeeze(-1).transpose(1, 2).flatten(1) for conv in convolutions]  # (outputs, 3 * inputs), tap first
    convolved = _product(
        torch.cat(taps, -1), torch.block_diag(*kernels), torch.cat([cast(Tensor, conv.bias) for conv in convolutions])
    )  # fmt: skip
    before, here, after = _taps(parts[-1], 1, stride, float("-inf"))
    largest = torch.maximum(torch.maximum(before, here), after)
    y = torch.cat((convolved, largest, alone[:, ::stride]), dim=-1)
    first, conv = cast(nn.BatchNorm2d, layer.join[0]), cast(nn.Conv2d, layer.join[2])
    return _norm(layer.norm, _product(F.relu(_norm(first, y)), conv.weight.flatten(1), conv.bias))


def _joint_norm(norms: list[nn.BatchNorm2d], x: Tensor) -> Tensor:
    """The batch norms of neighbouring channels as one."""
    training, eps, momentum = norms[0].training, norms[0].eps, norms[0].momentum or 0.1
    mean = torch.cat([norm.running_mean for norm in norms])  # type: ignore[misc]
    variance = torch.cat([norm.running_var for norm in norms])  # type: ignore[misc]
    weight, bias = torch.cat([norm.weight for norm in norms]), torch.cat([norm.bias for norm in norms])
    y = F.batch_norm(x.reshape(-1, x.shape[-1]), mean, variance, weight, bias, training, momentum, eps).view(x.shape)
    if training:
        with torch.no_grad():
            sizes = [norm.num_features for norm in norms]
            for norm, new_mean, new_variance in zip(norms, mean.split(sizes), variance.split(sizes), strict=True):
                assert norm.running_mean is not None
                assert norm.running_var is not None
                assert norm.num_batches_tracked is not None
                norm.running_mean.copy_(new_mean)
                norm.running_var.copy_(new_variance)
                norm.num_batches_tracked.add_(1)
    return y


def _taps(x: Tensor, dilation: int, stride: int, outside: float = 0.0) -> tuple[Tensor, Tensor, Tensor]:
    """x (V, T, N, C) `dilation` frames before, here and after, at every `stride`-th frame; `outside` beyond the ends."""
    V, T, N, C = x.shape
    edge = x.new_full((V, min(dilation, T), N, C), outside)
    before = torch.cat((edge, x[:, : max(0, T - dilation)]), dim=1)
    after = torch.cat((x[:, dilation:], edge), dim=1)
    return before[:, ::stride], x[:, ::stride], after[:, ::stride]

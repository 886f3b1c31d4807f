"""Graph networks for skeletons on one common block: ST-GCN, ST-GCN++, CTR-GCN, DG-STGCN and a DeGCN-like one.

Papers: ST-GCN (arXiv 1801.07455), CTR-GCN (arXiv 2107.12213), ST-GCN++ (PySKL, arXiv 2205.09443), DG-STGCN (arXiv 2210.05895),
DeGCN (IEEE TIP 2024). Sizes as in public code (specification, 7.2 and 8.2): parameters and multiply-adds are tested.

In reading order: the spatial parts (what a joint takes from other joints of its frame), the temporal parts (what it takes
from its own past and future), the block that joins them, and the trunk of ten blocks.

Numbered deviations, and why:

1. DeGCN's deformable spatial layer is not published; the channel-wise graph of CTR-GCN stands in, as in its public code.
2. Joints are normalised per joint and channel over all persons, in DeGCN too (its public code keeps the persons apart), so
   that a network takes any number of persons.

Letters: N instances (persons or hands), C channels, T frames, V joints, K groups or matrices of the graph.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from palmist.errors import InputError
from palmist.models.skeleton_graph import SkeletonGraph

__all__ = ["KINDS", "GraphBlock", "GraphTrunk", "TrunkConfig"]

_LEAK = 0.1  # slope of DeGCN's leaky ReLU
_DILATIONS = (1, 2, 3, 4)  # of the four convolutions of the six branches


def _point(inputs: int, outputs: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """A 1 x 1 convolution with batch norm, every `stride`-th frame."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, (stride, 1), groups=groups), nn.BatchNorm2d(outputs))


def _along_time(inputs: int, outputs: int, kernel: int, stride: int, dilation: int = 1) -> nn.Conv2d:
    """A convolution over frames that keeps their number (or its `stride`-th part)."""
    padding = dilation * (kernel - 1) // 2
    return nn.Conv2d(inputs, outputs, (kernel, 1), (stride, 1), (padding, 0), (dilation, 1))


# --------------------------------------------------------------------------------------------------------------------
# Spatial parts: (N, C, T, V) -> (N, outputs, T, V)


class WeightedGraph(nn.Module):
    """ST-GCN: the skeleton's matrices, each entry times a learned importance."""

    def __init__(self, inputs: int, outputs: int, adjacency: Tensor) -> None:
        super().__init__()
        self.adjacency: Tensor
        self.register_buffer("adjacency", adjacency.clone(), persistent=False)
        self.importance = nn.Parameter(torch.ones_like(adjacency))
        self.conv = nn.Conv2d(inputs, outputs * len(adjacency), 1)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        N, _, T, V = x.shape
        groups = self.conv(x).view(N, len(self.importance), -1, T, V)  # (N, K, outputs, T, V)
        mixed = torch.einsum("nkctv,kvw->nctw", groups, self.adjacency * self.importance)
        return F.relu(self.norm(mixed))


class LearnedGraph(nn.Module):
    """ST-GCN++: learned matrices that start from the skeleton's, and a residual path."""

    def __init__(self, inputs: int, outputs: int, adjacency: Tensor, leak: float = 0.0) -> None:
        super().__init__()
        self.leak = leak
        self.adjacency = nn.Parameter(adjacency.clone())
        self.conv = nn.Conv2d(inputs, outputs * len(adjacency), 1)
        self.norm = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Identity() if inputs == outputs else _point(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        N, _, T, V = x.shape
        groups = self.conv(x).view(N, len(self.adjacency), -1, T, V)
        mixed = torch.einsum("nkctv,kvw->nctw", groups, self.adjacency)
        return F.leaky_relu(self.norm(mixed) + self.shortcut(x), self.leak)


class ChannelwiseGraph(nn.Module):
    """CTR-GCN: each channel refines the shared matrices by the differences of the joints' features.

    `groups` splits the channels, as the DeGCN-like network does.
    """

    def __init__(self, inputs: int, outputs: int, adjacency: Tensor, groups: int = 1, leak: float = 0.0) -> None:
        super().__init__()
        K = len(adjacency)
        relation = 8 if inputs <= 16 else inputs // 8
        self.groups, self.leak = groups, leak
        self.adjacency = nn.Parameter(adjacency.clone())
        self.query = nn.Conv2d(inputs, relation * K, 1, groups=groups)
        self.key = nn.Conv2d(inputs, relation * K, 1, groups=groups)
        self.value = nn.Conv2d(inputs, outputs * K, 1, groups=groups)
        self.relate = nn.Conv2d(relation * K, outputs * K, 1, groups=groups * K)
        self.strength = nn.Parameter(torch.zeros(1))
        self.norm = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Identity() if inputs == outputs else _point(inputs, outputs, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        N, _, T, V = x.shape
        G, K = self.groups, len(self.adjacency)
        query, key = self.query(x).mean(-2), self.key(x).mean(-2)  # (N, relation * K, V)
        relation = self.relate(torch.tanh(query.unsqueeze(-1) - key.unsqueeze(-2)))  # (N, outputs * K, V, V)
        matrices = relation.view(N, G, K, -1, V, V) * self.strength + self.adjacency.view(1, 1, K, 1, V, V)
        mixed = torch.einsum("ngkcvu,ngkctu->ngctv", matrices, self.value(x).view(N, G, K, -1, T, V))
        return F.leaky_relu(self.norm(mixed.reshape(N, -1, T, V)) + self.shortcut(x), self.leak)


class DynamicGroups(nn.Module):
    """DG-STGCN: eight matrices that are learned from noise, each with two terms that depend on the sample."""

    def __init__(self, inputs: int, outputs: int, adjacency: Tensor, groups: int = 8) -> None:
        super().__init__()
        V, width = adjacency.shape[-1], outputs // groups
        self.groups = groups
        self.adjacency = nn.Parameter(0.04 + 0.02 * torch.randn(groups, V, V))
        self.enter = nn.Sequential(*_point(inputs, width * groups), nn.ReLU())
        self.left = nn.Conv2d(inputs, width * groups, 1)
        self.right = nn.Conv2d(inputs, width * groups, 1)
        self.difference_strength = nn.Parameter(torch.zeros(groups))
        self.product_strength = nn.Parameter(torch.zeros(groups))
        self.leave = nn.Conv2d(width * groups, outputs, 1)
        self.norm = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Identity() if inputs == outputs else _point(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        N, _, T, V = x.shape
        K = self.groups
        groups = self.enter(x).view(N, K, -1, T, V)
        mean = x.mean(-2, keepdim=True)
        left, right = self.left(mean).view(N, K, -1, V), self.right(mean).view(N, K, -1, V)
        difference = torch.tanh(left.unsqueeze(-1) - right.unsqueeze(-2))  # (N, K, C, V, V)
        product = torch.einsum("nkcv,nkcw->nkvw", left, right).softmax(-2).unsqueeze(2)
        matrices = self.adjacency.view(1, K, 1, V, V) + difference * self.difference_strength.view(1, K, 1, 1, 1)
        matrices = matrices + product * self.product_strength.view(1, K, 1, 1, 1)
        mixed = torch.einsum("nkctv,nkcvw->nkctw", groups, matrices).reshape(N, -1, T, V)
        return F.relu(self.norm(self.leave(mixed)) + self.shortcut(x))


# --------------------------------------------------------------------------------------------------------------------
# Temporal parts: (N, C, T, V) -> (N, C, T / stride, V)


class PlainTemporal(nn.Module):
    """ST-GCN: one convolution over nine frames."""

    def __init__(self, width: int, stride: int, joints: int) -> None:
        super().__init__()
        self.conv = _along_time(width, width, 9, stride)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.norm(self.conv(x))
        return result


class SixBranches(nn.Module):
    """ST-GCN++: four dilated convolutions, a maximum over three frames and the frame itself, side by side.

    With `joint_mean` (DG-STGCN) the mean over joints runs along as one more joint, and what becomes of it is added back
    to every joint with a learned weight.
    """

    def __init__(self, width: int, stride: int, joints: int, joint_mean: bool = False) -> None:
        super().__init__()
        narrow = width // 6
        first = width - 5 * narrow
        widths = (first, narrow, narrow, narrow)

        def enter(outputs: int) -> list[nn.Module]:
            return [*_point(width, outputs), nn.ReLU()]

        branches = [
            nn.Sequential(*enter(outputs), _along_time(outputs, outputs, 3, stride, dilation))
            for outputs, dilation in zip(widths, _DILATIONS, strict=True)
        ]
        branches.append(nn.Sequential(*enter(narrow), nn.MaxPool2d((3, 1), (stride, 1), (1, 0))))
        branches.append(nn.Sequential(nn.Conv2d(width, narrow, 1, (stride, 1))))
        self.branches = nn.ModuleList(branches)
        self.join = nn.Sequential(nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, width, 1))
        self.norm = nn.BatchNorm2d(width)
        self.mean_weight = nn.Parameter(torch.zeros(joints)) if joint_mean else None

    def forward(self, x: Tensor) -> Tensor:
        if self.mean_weight is not None:
            x = torch.cat((x, x.mean(-1, keepdim=True)), dim=-1)
        y = torch.cat([branch(x) for branch in self.branches], dim=1)
        if self.mean_weight is not None:
            y = y[..., :-1] + y[..., -1:] * self.mean_weight
        result: Tensor = self.norm(self.join(y))
        return result


class DeformableTime(nn.Module):
    """DeGCN: a convolution over frames at `count` learned distances from each one, read between frames linearly."""

    def __init__(self, width: int, stride: int, dilation: int, count: int = 4) -> None:
        super().__init__()
        reach = float(2 * dilation)
        self.stride = stride
        self.offset = nn.Parameter(torch.linspace(-reach, reach, count))
        self.conv = nn.Conv3d(width, width, (count, 1, 1))
        self.norm = nn.BatchNorm3d(width)

    def forward(self, x: Tensor) -> Tensor:
        N, C, T, V = x.shape
        place = self.offset.view(-1, 1) + torch.arange(0, T, self.stride, dtype=x.dtype, device=x.device)
        before = place.detach().floor()
        weight = (place - before).view(-1, 1)  # of the later frame
        early, late = (x[:, :, index.clamp(0, T - 1).long().flatten()] for index in (before, before + 1))
        read = (early + (late - early) * weight).view(N, C, len(self.offset), -1, V)
        result: Tensor = self.norm(self.conv(read)).squeeze(2)
        return result


class FourBranches(nn.Module):
    """CTR-GCN: convolutions over five frames at dilations 1 and 2, a maximum, and the frame itself.

    With `deformable` the two convolutions are DeGCN's.
    """

    def __init__(self, width: int, stride: int, joints: int, deformable: bool = False) -> None:
        super().__init__()
        narrow = width // 4
        act: Callable[[], nn.Module] = (lambda: nn.LeakyReLU(_LEAK)) if deformable else nn.ReLU

        def convolution(dilation: int) -> list[nn.Module]:
            if deformable:
                return [DeformableTime(narrow, stride, dilation)]
            return [_along_time(narrow, narrow, 5, stride, dilation), nn.BatchNorm2d(narrow)]

        branches = [nn.Sequential(*_point(width, narrow), act(), *convolution(dilation)) for dilation in (1, 2)]
        pool = nn.MaxPool2d((3, 1), (stride, 1), (1, 0))
        branches.append(nn.Sequential(*_point(width, narrow), act(), pool, nn.BatchNorm2d(narrow)))
        branches.append(_point(width, narrow, stride))
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches], dim=1)


# --------------------------------------------------------------------------------------------------------------------
# Block and trunk


@dataclass(frozen=True)
class Kind:
    """One published network: its spatial part (with that of the first block), its temporal part, and the block's slope."""

    spatial: Callable[[int, int, Tensor], nn.Module]
    temporal: Callable[[int, int, int], nn.Module]
    first: Callable[[int, int, Tensor], nn.Module] | None = None  # None: as in the other blocks
    leak: float = 0.0  # of the block's last activation
    groups: int = 1  # of the block's shortcut


KINDS: dict[str, Kind] = {
    "stgcn": Kind(WeightedGraph, PlainTemporal),
    "stgcn++": Kind(LearnedGraph, SixBranches),
    "ctrgcn": Kind(ChannelwiseGraph, FourBranches),
    "dgstgcn": Kind(DynamicGroups, partial(SixBranches, joint_mean=True)),
    "degcn": Kind(
        partial(ChannelwiseGraph, groups=4, leak=_LEAK),
        partial(FourBranches, deformable=True),
        first=partial(LearnedGraph, leak=_LEAK),
        leak=_LEAK,
        groups=4,
    ),
}


class GraphBlock(nn.Module):
    """The common block: spatial part, temporal part, and a path around both, which the `first` block does without."""

    def __init__(self, kind: str, inputs: int, outputs: int, adjacency: Tensor, stride: int = 1, first: bool = False) -> None:
        super().__init__()
        parts = KINDS[kind]
        spatial = parts.first if first and parts.first is not None else parts.spatial
        self.leak, self.residual = parts.leak, not first
        self.spatial = spatial(inputs, outputs, adjacency)
        self.temporal = parts.temporal(outputs, stride, adjacency.shape[-1])
        same = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if same or first else _point(inputs, outputs, stride, parts.groups)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, T, V) -> (N, outputs, T / stride, V)."""
        y = self.temporal(self.spatial(x))
        if self.residual:
            y = y + self.shortcut(x)
        return F.leaky_relu(y, self.leak)


@dataclass(frozen=True)
class TrunkConfig:
    """A stack of blocks; the defaults are the published size.

    channels: coordinates per joint. widen: blocks (counted from 1) that double the width and halve the frames.
    """

    kind: str = "stgcn++"
    channels: int = 3
    width: int = 64
    blocks: int = 10
    widen: tuple[int, ...] = (5, 8)

    def __post_init__(self) -> None:
        object.__setattr__(self, "widen", tuple(self.widen))
        if self.kind not in KINDS:
            raise InputError(f"there is no graph network '{self.kind}'; expected one of {', '.join(KINDS)}")

    @property
    def out_width(self) -> int:
        """Channels of the last block."""
        return self.width * 2 ** sum(block <= self.blocks for block in self.widen)


class GraphTrunk(nn.Module):
    """Blocks `first` to `last` of a graph network; with first = 1 the joints are normalised before.

    Example:
        >>> from palmist.models.skeleton_graph import graph
        >>> trunk = GraphTrunk(TrunkConfig(width=16, blocks=3, widen=(3,)), graph("hand21"))
        >>> trunk(torch.zeros(4, 3, 20, 21)).shape
        torch.Size([4, 32, 10, 21])
    """

    def __init__(self, config: TrunkConfig, joints: SkeletonGraph, first: int = 1, last: int | None = None) -> None:
        super().__init__()
        self.config = config
        self.joints_first = True  # the faster form where there is one (graph_joints_first.py)
        last = config.blocks if last is None else last
        adjacency = joints.adjacency()
        self.norm = nn.BatchNorm1d(config.channels * joints.joints) if first == 1 else None
        blocks = []
        for number in range(1, last + 1):
            doubled = sum(block <= number for block in config.widen)
            outputs = config.width * 2**doubled
            inputs = config.channels if number == 1 else outputs // (2 if number in config.widen else 1)
            if number >= first:
                stride = 2 if number in config.widen else 1
                blocks.append(GraphBlock(config.kind, inputs, outputs, adjacency, stride, first=number == 1))
        self.blocks = nn.ModuleList(blocks)
        _initialise(self)

    def forward(self, x: Tensor, code: Tensor | None = None) -> Tensor:
        """(N, C, T, V) -> (N, D, T', V); code (N, width) is added to what the first block gives."""
        if self.joints_first and self.config.kind == "stgcn++" and x.device.type == "cpu":
            from palmist.models.graph_joints_first import run

            return run(self, x, code)
        if self.norm is not None:
            N, C, T, V = x.shape
            x = self.norm(x.permute(0, 3, 1, 2).reshape(N, V * C, T)).view(N, V, C, T).permute(0, 2, 3, 1)
        for number, block in enumerate(self.blocks):
            x = block(x)
            if number == 0 and code is not None:
                x = x + code[:, :, None, None]
        return x


def _initialise(network: nn.Module) -> None:
    """Convolutions for the activation that follows them (He et al., fan out); biases 0."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)

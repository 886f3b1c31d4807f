"""UniFormer for video, plain and with EMIM's motion attention in every second global block.

Papers: "UniFormer: Unified Transformer for Efficient Spatiotemporal Representation Learning" (arXiv 2201.04676), and EMIM
(`palmist.models.emim`, whose header names its deviations 1 to 6). Parameters have UniFormer's public names, so its weight
files load (`load_weights`).

In reading order: four stages (embedding, then blocks: local ones of convolutions in stages 1 and 2, global ones of attention in
stages 3 and 4), norm, mean over all tokens, classifier. EMIM keeps all that, with a stem that does not halve the time and with
`MotionAttention` in the even blocks of stages 3 and 4.

Numbered deviations, and why (numbers go on from those of `palmist.models.emim`):

7. Colours are in the order red, green, blue; EMIM's published code reads images as blue, green, red.
8. `convolve_time` False gives every convolution a temporal kernel of 1, so that frames meet in attention alone: plain UniFormer
   then does not know the order of frames. For experiments on what sees motion.
9. Presets "small" are ours: sizes that two CPU cores can train. At 64 pixels the maps of stages 3 and 4 are 8 x 8 and 4 x 4.
10. Stochastic depth draws from the generator of the loss, so that a run does not depend on the number of processes.

Letters: B clips, T frames of the clip or of the map, H, W rows and columns, C channels, N = T H W tokens, L labels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from palmist.errors import InputError
from palmist.files.weights import read_weights
from palmist.models.emim import MotionAttention, displacements
from palmist.models.global_batch import masked_mean
from palmist.models.layers import Batch, Linear, Parts, standard_normal

__all__ = ["PRESETS", "UniFormer", "UniFormerConfig", "load_weights", "soft_cross_entropy"]

MEAN, DEVIATION = 0.45, 0.225  # of pixels in 0..1, all three colours


@dataclass(frozen=True)
class UniFormerConfig:
    """Sizes; the defaults are UniFormer-S. Stages have four entries each.

    depths: blocks; widths: C; strides: pixels or places that one place of the next map covers; head_size: C of a head.
    temporal_stride: of the stem, 2 for UniFormer, 1 for EMIM. motion_blocks: "none", "even" (EMIM) or "all".
    window, border, last_frame, motion_branch, motion_start: see `MotionAttention`. convolve_time: deviation 8.
    drop_path: chance that the last block is skipped, rising from 0 over all blocks. frames, size: the clip that it is made for.
    """

    depths: tuple[int, ...] = (3, 4, 8, 3)
    widths: tuple[int, ...] = (64, 128, 320, 512)
    strides: tuple[int, ...] = (4, 2, 2, 2)
    head_size: int = 64
    mlp_ratio: int = 4
    temporal_stride: int = 2
    convolve_time: bool = True
    motion_blocks: str = "none"
    window: int = 7
    border: str = "padded"
    last_frame: str = "copy"
    motion_branch: bool = True
    motion_start: str = "zero"
    drop_path: float = 0.0
    label_smoothing: float = 0.0
    frames: int = 16
    size: int = 224
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("depths", "widths", "strides"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
            if len(getattr(self, name)) != 4:
                raise InputError(f"{name} has {len(getattr(self, name))} entries; expected 4, one for each stage")
        object.__setattr__(self, "labels", tuple(self.labels))
        if any(width % self.head_size for width in self.widths[2:]):
            raise InputError(f"widths {self.widths[2:]} of the global stages are not multiples of head_size {self.head_size}")
        if self.motion_blocks not in ("none", "even", "all"):
            raise InputError(f"motion_blocks is '{self.motion_blocks}'; expected none, even or all")


_PLAIN: dict[str, UniFormerConfig] = {
    "paper": UniFormerConfig(),
    "base": UniFormerConfig(depths=(5, 8, 20, 7)),
    "small": UniFormerConfig(
        depths=(1, 2, 4, 2), widths=(32, 64, 96, 128), strides=(4, 2, 1, 2), head_size=32, frames=8, size=64
    ),
}
#: model -> preset -> configuration. "paper" is S; the papers' other size is "base".
PRESETS: dict[str, dict[str, UniFormerConfig]] = {
    "uniformer": _PLAIN,
    "emim": {name: replace(plain, temporal_stride=1, motion_blocks="even") for name, plain in _PLAIN.items()},
}
PRESETS["emim"]["small"] = replace(PRESETS["emim"]["small"], motion_start="matched")  # it is trained from scratch


def channels_last(x: Tensor) -> Tensor:
    """(B, C, T, H, W) -> (B, T H W, C)."""
    return x.flatten(2).transpose(1, 2)


def channels_first(tokens: Tensor, grid: tuple[int, int, int]) -> Tensor:
    """(B, T H W, C) -> (B, C, T, H, W)."""
    return tokens.transpose(1, 2).unflatten(2, grid)


class PatchEmbed(nn.Module):
    """A convolution that takes the map apart into patches, and LayerNorm over channels."""

    def __init__(self, inputs: int, outputs: int, stride: int, times: int, temporal_stride: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(outputs)
        self.proj = nn.Conv3d(
            inputs, outputs, (times, stride, stride), (temporal_stride, stride, stride), (times // 2, 0, 0)
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, T, H, W) -> (B, outputs, T / temporal_stride, H / stride, W / stride), spatial sizes rounded down."""
        x = self.proj(x)
        return channels_first(self.norm(channels_last(x)), (x.shape[2], x.shape[3], x.shape[4]))


class SkipPath(nn.Module):
    """Stochastic depth: in training a clip's branch is left out with this chance, the others grow to make up for it."""

    def __init__(self, chance: float) -> None:
        super().__init__()
        self.chance = chance
        self.kept: Tensor | None = None  # (2, B) bool of this step, set by the network

    def forward(self, branch: Tensor, which: int) -> Tensor:
        """Branch 0 or 1 of the block, (B, ...) -> (B, ...)."""
        if not self.training or self.chance == 0 or self.kept is None:
            return branch
        kept = self.kept[which].view(-1, *[1] * (branch.dim() - 1))
        return branch * kept.to(branch.dtype) / (1 - self.chance)


def depthwise(width: int, kernel: int, convolve_time: bool) -> nn.Conv3d:
    """A convolution of every channel by itself that keeps the size."""
    times = kernel if convolve_time else 1
    return nn.Conv3d(width, width, (times, kernel, kernel), padding=(times // 2, kernel // 2, kernel // 2), groups=width)


class ConvolutionMlp(nn.Module):
    """1 x 1 x 1 convolution, GELU, 1 x 1 x 1 convolution."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv3d(width, hidden, 1)
        self.fc2 = nn.Conv3d(hidden, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return result


class Mlp(nn.Module):
    """Linear, GELU, Linear."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = Linear(width, hidden)
        self.fc2 = Linear(hidden, width)

    def forward(self, tokens: Tensor) -> Tensor:
        result: Tensor = self.fc2(F.gelu(self.fc1(tokens)))
        return result


class LocalBlock(nn.Module):
    """Position by a 3 x 3 x 3 convolution; a 5 x 5 x 5 neighbourhood; MLP."""

    def __init__(self, width: int, mlp_ratio: int, chance: float, convolve_time: bool) -> None:
        super().__init__()
        self.pos_embed = depthwise(width, 3, convolve_time)
        self.norm1 = nn.BatchNorm3d(width)
        self.conv1 = nn.Conv3d(width, width, 1)
        self.conv2 = nn.Conv3d(width, width, 1)
        self.attn = depthwise(width, 5, convolve_time)
        self.norm2 = nn.BatchNorm3d(width)
        self.mlp = ConvolutionMlp(width, mlp_ratio * width)
        self.skip = SkipPath(chance)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) -> the same."""
        x = x + self.pos_embed(x)
        x = x + self.skip(self.conv2(self.attn(self.conv1(self.norm1(x)))), 0)
        result: Tensor = x + self.skip(self.mlp(self.norm2(x)), 1)
        return result


class GlobalAttention(nn.Module):
    """Attention of every token to all tokens of all frames."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = Linear(width, 3 * width)
        self.proj = Linear(width, width)

    def forward(self, tokens: Tensor, grid: tuple[int, int, int]) -> Tensor:
        """(B, N, C) -> (B, N, C); the grid is not looked at."""
        B, N, C = tokens.shape
        query, key, value = self.qkv(tokens).view(B, N, 3, self.heads, C // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        mixed = F.scaled_dot_product_attention(query, key, value)  # (B, E, N, d)
        result: Tensor = self.proj(mixed.transpose(1, 2).reshape(B, N, C))
        return result


class GlobalBlock(nn.Module):
    """Position by a 3 x 3 x 3 convolution; attention; MLP."""

    def __init__(self, config: UniFormerConfig, width: int, with_motion: bool, chance: float) -> None:
        super().__init__()
        heads = width // config.head_size
        self.pos_embed = depthwise(width, 3, config.convolve_time)
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn: nn.Module
        if with_motion:
            self.attn = MotionAttention(
                width,
                heads,
                config.window,
                config.border,
                config.last_frame,
                motion=config.motion_branch,
                motion_start=config.motion_start,
            )
        else:
            self.attn = GlobalAttention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = Mlp(width, config.mlp_ratio * width)
        self.skip = SkipPath(chance)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) -> the same."""
        x = x + self.pos_embed(x)
        grid = (x.shape[2], x.shape[3], x.shape[4])
        tokens = channels_last(x)
        tokens = tokens + self.skip(self.attn(self.norm1(tokens), grid), 0)
        tokens = tokens + self.skip(self.mlp(self.norm2(tokens)), 1)
        return channels_first(tokens, grid)


class UniFormer(nn.Module):
    """Clips to scores of labels.

    Example:
        >>> network = UniFormer(replace(PRESETS["emim"]["small"], labels=("left", "right")))
        >>> network(torch.zeros(2, 8, 64, 64, 3, dtype=torch.uint8)).shape
        torch.Size([2, 2])
    """

    def __init__(self, config: UniFormerConfig) -> None:
        super().__init__()
        self.config = config
        blocks_in_all = sum(config.depths)
        chances = [config.drop_path * number / max(1, blocks_in_all - 1) for number in range(blocks_in_all)]
        inputs, number = 3, 0
        for stage, (depth, width, stride) in enumerate(zip(config.depths, config.widths, config.strides, strict=True), 1):
            times = 3 if stage == 1 and config.convolve_time else 1
            embed = PatchEmbed(inputs, width, stride, times, config.temporal_stride if stage == 1 else 1)
            blocks = nn.ModuleList()
            for block in range(depth):
                chance = chances[number]
                if stage <= 2:
                    blocks.append(LocalBlock(width, config.mlp_ratio, chance, config.convolve_time))
                else:
                    chosen = config.motion_blocks == "all" or (config.motion_blocks == "even" and block % 2 == 0)
                    blocks.append(GlobalBlock(config, width, chosen, chance))
                number += 1
            self.add_module(f"patch_embed{stage}", embed)
            self.add_module(f"blocks{stage}", blocks)
            inputs = width
        self.norm = nn.BatchNorm3d(inputs)
        self.head = Linear(inputs, len(config.labels))
        for name, module in self.named_modules():
            # The motion networks keep a start of their own.
            if isinstance(module, nn.Linear) and ".motion." not in name:
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
        for module in self.modules():
            if isinstance(module, MotionAttention):
                module.start_matched()

    def set_labels(self, names: Sequence[str]) -> None:
        """Name the L rows of the classifier; a new classifier is made when their number changes."""
        if len(names) != len(self.config.labels):
            self.head = Linear(self.head.in_features, len(names))
            nn.init.trunc_normal_(self.head.weight, std=0.02)
            nn.init.zeros_(self.head.bias)
        self.config = replace(self.config, labels=tuple(names))

    def features(self, video: Tensor) -> Tensor:
        """Maps before the mean over tokens: (B, T, H, W, 3) -> (B, C, T', H', W'), after the last norm.

        video: uint8 0..255 or float 0..1, red, green, blue.

        Raises InputError for another shape, or a picture smaller than one place of the last map.
        """
        if video.dim() != 5 or video.shape[-1] != 3:
            raise InputError(f"the video has shape {tuple(video.shape)}; expected (B, T, H, W, 3)")
        smallest = math.prod(self.config.strides)
        if min(video.shape[2:4]) < smallest:
            raise InputError(f"pictures are {video.shape[3]} x {video.shape[2]}; expected {smallest} pixels or more each way")
        weight = self.norm.weight
        scale = 255.0 if video.dtype == torch.uint8 else 1.0
        x = (video.to(weight.dtype) / scale - MEAN) / DEVIATION
        x = x.permute(0, 4, 1, 2, 3)  # (B, 3, T, H, W)
        for stage in range(1, 5):
            x = getattr(self, f"patch_embed{stage}")(x)
            for block in getattr(self, f"blocks{stage}"):
                x = block(x)
        return self.norm(x)

    def forward(self, video: Tensor) -> Tensor:
        """(B, T, H, W, 3) as in `features` -> scores (B, L)."""
        scores: Tensor = self.head(self.features(video).flatten(2).mean(-1))
        return scores

    @torch.no_grad()
    def displacements(self, video: Tensor, block: int = 0) -> Tensor:
        """Where each place of EMIM's `block`-th attention looks in the next frame, (B, T, H, W, 3) as in `features` ->
        (B, T - 1, H', W', 2) pixels of the clip, x to the right and y down. InputError for a network without such a block."""
        attentions = [module for module in self.modules() if isinstance(module, MotionAttention)]
        if not 0 <= block < len(attentions):
            raise InputError(f"motion attention {block} is asked for; the network has {len(attentions)}")
        found: list[Tensor] = []

        def look(attention: nn.Module, given: tuple[Tensor, tuple[int, int, int]]) -> None:
            assert isinstance(attention, MotionAttention)
            found.append(displacements(attention.cost_volume(*given)[0]))

        handle = attentions[block].register_forward_pre_hook(look)
        try:
            self.features(video)
        finally:
            handle.remove()
        pixels = video.shape[3] / found[0].shape[3]
        return found[0][:, : video.shape[1] - 1] * pixels

    @torch.no_grad()
    def recognise(self, views: Tensor) -> Tensor:
        """Probabilities (B, L): the mean over V views of each video, (B, V, T, H, W, 3)."""
        B, V = views.shape[:2]
        return self(views.flatten(0, 1)).float().softmax(-1).view(B, V, -1).mean(1)

    def loss(self, batch: Batch, generator: torch.Generator | None = None) -> tuple[Tensor, Parts]:
        """Cross-entropy with label smoothing, for clips that may be mixtures of two.

        Args:
            batch: video (B, T, H, W, 3), label (B,); in mixed batches also other_label (B,) and label_share (B,), the share of
                `label`; label -1 does not count. rows: see `palmist.models.global_batch`.
            generator: random source of stochastic depth.
        """
        if self.training and self.config.drop_path > 0:
            self._draw_skips(batch, generator)
        scores = self(batch["video"]).float()
        smoothing = self.config.label_smoothing if self.training else 0.0
        loss = soft_cross_entropy(scores, batch, smoothing)
        correct = (scores.argmax(-1) == batch["label"]).to(scores.dtype)
        accuracy = masked_mean(correct, batch["label"] >= 0)
        return loss, {"accuracy": accuracy.detach()}

    def _draw_skips(self, batch: Batch, generator: torch.Generator | None) -> None:
        """One draw of each clip and branch for all blocks at once."""
        paths = [module for module in self.modules() if isinstance(module, SkipPath)]
        video = batch["video"]
        noise = standard_normal((video.shape[0], len(paths), 2), self.norm.weight, generator, batch.get("rows"))
        uniform = torch.special.ndtr(noise)  # (B, blocks, 2)
        for number, path in enumerate(paths):
            path.kept = (uniform[:, number] >= path.chance).T


def soft_cross_entropy(scores: Tensor, batch: Batch, smoothing: float) -> Tensor:
    """Mean cross-entropy of scores (B, L) with `label`, and where a batch has them with `other_label`, weighed by
    `label_share`; `smoothing` of the target is spread over all labels. Label -1 does not count."""
    log_probability = scores.log_softmax(-1)

    def entropy(label: Tensor) -> Tensor:
        chosen = log_probability.gather(1, label.clamp_min(0).unsqueeze(1)).squeeze(1)
        return -(1 - smoothing) * chosen - smoothing * log_probability.mean(-1)

    label = batch["label"]
    value, counted = entropy(label), label >= 0
    if "other_label" in batch:
        share, other = batch["label_share"].to(scores.dtype), batch["other_label"]
        value = share * value + (1 - share) * entropy(other)
        counted = counted & (other >= 0)
    return masked_mean(value, counted)




def load_weights(network: UniFormer, path: str | Path) -> tuple[str, ...]:
    """Load a local file of UniFormer weights (.pth, .pt, .safetensors) into a plain network or one with motion.

    Weights of the image model are inflated: repeated along time and divided by the length of the kernel. A classifier for
    another number of labels is left out.

    Returns:
        The names that the file does not have and that keep their start: of a plain UniFormer's file, those of the position
        bias and the motion network, and the classifier's if it was left out.

    Raises:
        InputError: no such file, not tensors, another network's weights. The network is then unchanged.

    Example:
        >>> load_weights(network, "uniformer_small_k400_16x4.pth")[:2]
        ('blocks3.0.attn.position_bias', 'blocks3.0.attn.motion.enter.weight')
    """
    given = read_weights(Path(path), "a file of UniFormer weights (.pth, .safetensors)", ("model", "model_state", "state_dict"))
    own = network.state_dict()
    fitted: dict[str, Tensor] = {}
    wrong: list[str] = []
    for name, tensor in given.items():
        if name not in own:
            wrong.append(name)
        elif tensor.shape == own[name].shape:
            fitted[name] = tensor
        elif tensor.dim() == 4 and own[name].dim() == 5 and tensor.shape == own[name][:, :, 0].shape:
            times = own[name].shape[2]
            fitted[name] = tensor.unsqueeze(2).repeat(1, 1, times, 1, 1) / times
        elif not name.startswith("head."):
            wrong.append(name)
    missing = [name for name in own if name not in fitted and not name.endswith("num_batches_tracked")]
    lacking = [name for name in missing if not _may_be_missing(name)]
    if lacking or wrong:
        found = f"lacks {lacking[0]}" if lacking else f"has {wrong[0]}, which does not fit"
        raise InputError(
            f"{path} {found}; expected the weights of a UniFormer with depths {network.config.depths} and widths "
            f"{network.config.widths}; choose the preset that the file was made for"
        )
    network.load_state_dict(fitted, strict=False)
    return tuple(missing)


def _may_be_missing(name: str) -> bool:
    return name.startswith("head.") or ".attn.motion." in name or name.endswith(".attn.position_bias")

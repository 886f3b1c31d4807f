"""HTT in its pose-input form: refines hand poses in short windows and names the action over all of them.

Paper: "Hierarchical Temporal Transformer for 3D Hand Pose Estimation and Action Recognition from Egocentric RGB Videos"
(arXiv 2209.09484). The pose-input form stands in G-HTT's comparison (arXiv 2311.17366).

In reading order: frames to tokens, P (two layers over windows of 16 frames: refined poses), A (two layers over all frames'
tokens and an action token: the action). A sequence longer than 128 tokens is read window by window, class probabilities
added.

Numbered deviations, and why:

1. There are no images: a frame is its 126 local joint numbers with flags that say which are known, or, with
   `motion_input`, all 153 numbers of the pose vector (open recordings tell actions apart by motion too).
2. Two forms: HTT's own, with a linear classifier and cross-entropy (`classifier` "linear"), and the one inside G-HTT's code
   ("text"), where distances and contrasts to text features name the action.
3. No object is named in open recordings, so the object branch is left out. In the form inside G-HTT the body context stands
   in the object feature's place (`context_channels`), as in G-HTT's own deviation.

Letters: B batch, T frames (tokens), C context channels, D width, L labels. Masks are True where known or valid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from palmist.errors import InputError
from palmist.models.global_batch import masked_mean
from palmist.models.label_table import LabelTable, cross_entropy, over_windows
from palmist.models.layers import Batch, EncoderLayer, Linear, Parts, sinusoidal_code
from palmist.pose_vector import DIM

JOINTS = 126


@dataclass(frozen=True)
class HTTConfig:
    """Sizes; the defaults are the paper's. `window`: frames of a P window, `max_tokens`: of an A window.

    `classifier`: "linear" or "text"; `context_channels`: width of the body context, 0 leaves it out.
    """

    pose_layers: int = 2
    action_layers: int = 2
    width: int = 512
    heads: int = 8
    feedforward: int = 2048
    window: int = 16
    max_tokens: int = 128
    rate: float = 15.0
    label_dim: int = 512
    labels: tuple[str, ...] = ()
    motion_input: bool = False
    classifier: str = "linear"
    context_channels: int = 0
    temperature: float = 0.07
    pose_weight: float = 1.0
    action_weight: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", tuple(self.labels))
        if self.classifier not in ("linear", "text"):
            raise InputError(f"classifier is '{self.classifier}'; expected 'linear' or 'text'")
        if self.max_tokens % self.window:
            raise InputError(f"max_tokens is {self.max_tokens}; expected a multiple of the window of {self.window} frames")


_SMALL = HTTConfig(pose_layers=4, action_layers=4, width=128, heads=4, feedforward=512, label_dim=384, motion_input=True)
PRESETS: dict[str, HTTConfig] = {
    "paper": HTTConfig(),
    "paper_inside_ghtt": HTTConfig(classifier="text", context_channels=26),
    "small": _SMALL,
    "small_inside_ghtt": replace(_SMALL, classifier="text", context_channels=26),
}


class HTTOutput(NamedTuple):
    """refined (B, T, 126) local joints in hand sizes; action (B, D)."""

    refined: Tensor
    action: Tensor


class HTT(nn.Module):
    """Pose sequences to refined poses and the action.

    Example:
        >>> model = HTT(HTTConfig(width=32, heads=2, feedforward=64))
        >>> frames = torch.zeros(2, 40, 153)
        >>> model(frames, torch.ones_like(frames, dtype=torch.bool), torch.ones(2, 40, dtype=torch.bool)).action.shape
        torch.Size([2, 32])
    """

    def __init__(self, config: HTTConfig) -> None:
        super().__init__()
        self.config = config
        W = config.width
        self.enter = Linear(2 * (DIM if config.motion_input else JOINTS), W)
        self.context_in = Linear(2 * config.context_channels, W) if config.context_channels else None
        self.join_context = Linear(2 * W, W) if config.context_channels else None
        self.pose_layers = nn.ModuleList(EncoderLayer(W, config.heads, config.feedforward) for _ in range(config.pose_layers))
        self.pose_norm = nn.LayerNorm(W)
        self.pose_head = nn.Sequential(Linear(W, W), nn.ReLU(), Linear(W, W), nn.ReLU(), Linear(W, JOINTS))
        self.pose_code = Linear(JOINTS, W)
        self.join = Linear(2 * W, W)
        self.action_token = nn.Parameter(torch.randn(W))
        self.action_layers = nn.ModuleList(
            EncoderLayer(W, config.heads, config.feedforward) for _ in range(config.action_layers)
        )
        self.action_norm = nn.LayerNorm(W)
        text = config.classifier == "text"
        self.labels = LabelTable(len(config.labels), config.label_dim, W, config.temperature) if text else None
        self.classifier = None if text else Linear(W, len(config.labels))

    def set_labels(self, names: Sequence[str], features: Tensor) -> None:
        """Swap the label table: L names and their text features (L, label_dim).

        InputError for a wrong shape, and for other names than those that a linear classifier was made for.
        """
        if self.labels is not None:
            self.labels.set_features(features, names)
        elif tuple(names) != self.config.labels:
            raise InputError(f"this network's linear classifier knows {len(self.config.labels)} labels; train it for others")
        self.config = replace(self.config, labels=tuple(names))

    def scores(self, action: Tensor, candidates: Tensor | None = None) -> Tensor:
        """Logits (B, L) of action features (B, D); minus infinity outside `candidates` ((L,) or (B, L) bool)."""
        if self.labels is not None:
            return self.labels.scores(action, candidates)
        assert self.classifier is not None
        scores: Tensor = self.classifier(action).float()
        return scores if candidates is None else scores.masked_fill(~candidates, float("-inf"))

    def forward(
        self,
        frames: Tensor,
        known: Tensor,
        mask: Tensor,
        context: Tensor | None = None,
        context_known: Tensor | None = None,
    ) -> HTTOutput:
        """Refined poses and the action's feature.

        frames, known (B, T, 153) pose vectors, mask (B, T) bool, padding at the end; T at most `max_tokens`. context
        (B, T, C), context_known (B, T) bool: the body context, not looked at with `context_channels` 0.
        """
        B, T = mask.shape
        if self.config.max_tokens < T:
            raise InputError(f"{T} frames are too many for one window; expected up to {self.config.max_tokens}, use recognise")
        part = slice(0, DIM if self.config.motion_input else JOINTS)
        seen = (known & mask.unsqueeze(-1))[..., part]
        given = torch.where(seen, frames[..., part], torch.zeros_like(frames[..., part]))
        tokens = self.enter(torch.cat((given, seen.to(given.dtype)), dim=-1))  # (B, T, D)
        if self.context_in is not None and self.join_context is not None:
            shape = (B, T, self.config.context_channels)
            value = frames.new_zeros(shape) if context is None else context
            there = mask.new_zeros((B, T)) if context_known is None else context_known & mask
            flag = there.unsqueeze(-1).expand(shape)
            value = torch.where(flag, value, torch.zeros_like(value))
            companion = self.context_in(torch.cat((value, flag.to(value.dtype)), dim=-1))
            tokens = self.join_context(torch.cat((tokens, companion), dim=-1))
        tokens = self._windows(tokens, mask)
        refined = self.pose_head(tokens)
        tokens = self.join(torch.cat((tokens, self.pose_code(refined)), dim=-1))
        tokens = torch.cat((self.action_token.to(tokens.dtype).expand(B, 1, -1), tokens), dim=1)
        position = sinusoidal_code(torch.arange(1 + T, device=mask.device), tokens.shape[-1]).to(tokens.dtype)
        visible = F.pad(mask, (1, 0), value=True)
        for layer in self.action_layers:
            tokens = layer(tokens, position, visible)
        return HTTOutput(refined, self.action_norm(tokens[:, 0]))

    def _windows(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """P: every window of frames by itself, (B, T, D) -> (B, T, D)."""
        B, T = mask.shape
        size = self.config.window
        pad = -T % size
        cut = F.pad(tokens, (0, 0, 0, pad)).unflatten(1, (-1, size)).flatten(0, 1)
        visible = F.pad(mask, (0, pad)).unflatten(1, (-1, size)).flatten(0, 1)
        visible = visible | ~visible.any(-1, keepdim=True)  # a window of padding alone is computed and never read
        position = sinusoidal_code(torch.arange(size, device=mask.device), tokens.shape[-1]).to(tokens.dtype)
        for layer in self.pose_layers:
            cut = layer(cut, position, visible)
        return self.pose_norm(cut).unflatten(0, (B, -1)).flatten(1, 2)[:, :T]

    @torch.no_grad()
    def recognise(
        self,
        frames: Tensor,
        known: Tensor,
        mask: Tensor,
        candidates: Tensor | None = None,
        context: Tensor | None = None,
        context_known: Tensor | None = None,
    ) -> Tensor:
        """Label probabilities (B, L): those of all windows of `max_tokens` frames, added and divided by their sum."""

        def probabilities(start: int, mask: Tensor, frames: Tensor, known: Tensor, *body: Tensor | None) -> Tensor:
            return self.scores(self(frames, known, mask, *body).action, candidates).softmax(-1)

        return over_windows(probabilities, self.config.max_tokens, mask, frames, known, context, context_known)

    def loss(self, batch: Batch, generator: torch.Generator | None = None) -> tuple[Tensor, Parts]:
        """L1 of the refined joints against the clean ones, and the action's cross-entropy, with "text" also its distance.

        Args:
            batch: frames (noisy), frames_clean, known (B, T, 153), mask (B, T), label (B,) with -1 = unlabelled, optional
                candidates, context, context_known. generator: not used, nothing is random.
        """
        out = self(batch["frames"], batch["known"], batch["mask"], batch.get("context"), batch.get("context_known"))
        seen = (batch["known"] & batch["mask"].unsqueeze(-1))[..., :JOINTS]
        pose = masked_mean((out.refined - batch["frames_clean"][..., :JOINTS]).abs(), seen)
        label, candidates = batch["label"], batch.get("candidates")
        if self.labels is not None:
            distance, contrast, accuracy = self.labels.loss(out.action, label, candidates)
        else:
            distance = out.action.new_zeros(())
            contrast, accuracy = cross_entropy(self.scores(out.action, candidates), label)
        total = self.config.pose_weight * pose + self.config.action_weight * (distance + contrast)
        parts = {"pose": pose, "distance": distance, "contrast": contrast, "accuracy": accuracy}
        return total, {name: value.detach() for name, value in parts.items()}

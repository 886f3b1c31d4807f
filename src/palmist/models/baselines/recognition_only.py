"""A transformer that only recognises: the rival that shows whether modelling motion helps recognition.

No published system: the encoder of G-HTT's size over the frames of a whole recording, with the same input, the same body
context, the same labels and the same losses for the action as G-HTT's A-block, and nothing else to do.

Letters: B batch, T frames, C context channels, D width, L labels. Masks are True where known or valid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from palmist.errors import InputError
from palmist.models.label_table import LabelTable, over_windows
from palmist.models.layers import Batch, EncoderLayer, Linear, Parts, sinusoidal_code
from palmist.pose_vector import DIM


@dataclass(frozen=True)
class RecognitionOnlyConfig:
    """Sizes; `context_channels` 0 leaves the body context out."""

    layers: int = 18
    width: int = 512
    heads: int = 8
    feedforward: int = 2048
    context_channels: int = 0
    max_frames: int = 256
    rate: float = 30.0
    label_dim: int = 512
    labels: tuple[str, ...] = ()
    temperature: float = 0.07
    dropout: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", tuple(self.labels))


PRESETS: dict[str, RecognitionOnlyConfig] = {
    "paper": RecognitionOnlyConfig(),
    "small": RecognitionOnlyConfig(layers=8, width=128, heads=4, feedforward=512, context_channels=26, label_dim=384),
}


class RecognitionOnly(nn.Module):
    """Pose sequences to an action.

    Example:
        >>> model = RecognitionOnly(RecognitionOnlyConfig(layers=1, width=32, heads=2, feedforward=64))
        >>> frames = torch.zeros(2, 40, 153)
        >>> model(frames, torch.ones_like(frames, dtype=torch.bool), torch.ones(2, 40, dtype=torch.bool)).shape
        torch.Size([2, 32])
    """

    def __init__(self, config: RecognitionOnlyConfig) -> None:
        super().__init__()
        self.config = config
        W = config.width
        self.enter = nn.Sequential(Linear(2 * (DIM + config.context_channels), W), nn.GELU(), Linear(W, W))
        self.drop = nn.Dropout(config.dropout)
        self.action_token = nn.Parameter(torch.randn(W))
        self.layers = nn.ModuleList(EncoderLayer(W, config.heads, config.feedforward) for _ in range(config.layers))
        self.norm = nn.LayerNorm(W)
        self.labels = LabelTable(len(config.labels), config.label_dim, W, config.temperature)

    def set_labels(self, names: Sequence[str], features: Tensor) -> None:
        """Swap the label table: L names and their text features (L, label_dim); InputError for a wrong shape."""
        self.labels.set_features(features, names)
        self.config = replace(self.config, labels=tuple(names))

    def forward(
        self,
        frames: Tensor,
        known: Tensor,
        mask: Tensor,
        context: Tensor | None = None,
        context_known: Tensor | None = None,
    ) -> Tensor:
        """The action's feature (B, D).

        frames, known (B, T, 153) pose vectors, mask (B, T) bool; context (B, T, C) body context, context_known (B, T) bool.
        """
        B, T = mask.shape
        if self.config.max_frames < T:
            raise InputError(f"{T} frames are too many; this network takes up to {self.config.max_frames}, use recognise")
        values, flags = [frames], [known]
        if self.config.context_channels:
            shape = (B, T, self.config.context_channels)
            values.append(frames.new_zeros(shape) if context is None else context)
            flags.append(known.new_zeros(shape) if context_known is None else context_known.unsqueeze(-1).expand(shape))
        value, flag = torch.cat(values, dim=-1), torch.cat(flags, dim=-1) & mask.unsqueeze(-1)
        value = torch.where(flag, value, torch.zeros_like(value))
        tokens = self.drop(self.enter(torch.cat((value, flag.to(value.dtype)), dim=-1)))
        tokens = torch.cat((self.action_token.to(tokens.dtype).expand(B, 1, -1), tokens), dim=1)
        position = sinusoidal_code(torch.arange(1 + T, device=mask.device), tokens.shape[-1]).to(tokens.dtype)
        visible = F.pad(mask, (1, 0), value=True)
        for layer in self.layers:
            tokens = layer(tokens, position, visible)
        return self.norm(tokens[:, 0])

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
        """Label probabilities (B, L): those of all windows of `max_frames` frames, added and divided by their sum."""

        def probabilities(start: int, mask: Tensor, frames: Tensor, known: Tensor, *body: Tensor | None) -> Tensor:
            return self.labels.scores(self(frames, known, mask, *body), candidates).softmax(-1)

        return over_windows(probabilities, self.config.max_frames, mask, frames, known, context, context_known)

    def loss(self, batch: Batch, generator: torch.Generator | None = None) -> tuple[Tensor, Parts]:
        """The action's distance and contrast (G-HTT, Eq. 4 and 5).

        Args:
            batch: frames, known (B, T, 153), mask (B, T), label (B,), optional candidates, context, context_known.
        """
        feature = self(batch["frames"], batch["known"], batch["mask"], batch.get("context"), batch.get("context_known"))
        distance, contrast, accuracy = self.labels.loss(feature, batch["label"], batch.get("candidates"))
        parts = {"distance": distance, "contrast": contrast, "accuracy": accuracy}
        return distance + contrast, {name: value.detach() for name, value in parts.items()}

"""A plain transformer over the frames of a recording: the rival that shows what graphs, experts and cascades add.

No published system: a standard pre-norm encoder of a few layers on what the linear baseline of the benchmark sees (hands about
their own wrists, wrists about the shoulders, which hands are seen), frame by frame, then a mean over frames and one linear
layer. `recognition_only` is something else: G-HTT's own encoder, of its size, on its pose vectors and text labels.

Letters: B batch, F frames, J joints (21), D width, L labels. Masks are True where known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from palmist.errors import InputError
from palmist.models.layers import Parts

FEATURES = 2 * 21 * 3 + 2 * 2 + 2  # joints about their wrist, wrists' x and y, hands seen


@dataclass(frozen=True)
class PlainTransformerConfig:
    """Sizes; frames and rate (per second) to which every recording is brought."""

    layers: int = 3
    width: int = 128
    heads: int = 4
    feedforward: int = 256
    dropout: float = 0.2
    frames: int = 20
    rate: float = 20.0
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", tuple(self.labels))


PRESETS: dict[str, PlainTransformerConfig] = {"small": PlainTransformerConfig()}


def wrist_local(hands: Tensor, known: Tensor) -> Tensor:
    """The features (B, F, 132) of a frame: 0 where not known.

    Args:
        hands: (B, 2, F, 21, 3) in shoulder widths about the middle of the shoulders. known: (B, 2, F, 21) bool.
    """
    seen = known[..., 0]  # without its wrist a hand has no place to be measured from
    local = (hands - hands[..., :1, :]) * (known & seen.unsqueeze(-1)).unsqueeze(-1)
    wrist = hands[..., 0, :2] * seen.unsqueeze(-1)
    parts = (local.flatten(-2), wrist, seen.unsqueeze(-1).to(hands.dtype))
    return torch.cat(parts, dim=-1).transpose(1, 2).flatten(2)  # (B, F, 2 hands x 66)


class PlainTransformer(nn.Module):
    """Hands of a recording to an action.

    Example:
        >>> model = PlainTransformer(PlainTransformerConfig(layers=1, width=32, labels=("wave", "grasp")))
        >>> hands, known = torch.zeros(2, 1, 2, 20, 21, 3), torch.ones(2, 1, 2, 20, 21, dtype=torch.bool)
        >>> model(hands, known).shape
        torch.Size([2, 2])
    """

    def __init__(self, config: PlainTransformerConfig) -> None:
        super().__init__()
        self.config = config
        W = config.width
        self.enter = nn.Linear(FEATURES, W)
        self.position = nn.Parameter(torch.randn(config.frames, W) * 0.02)
        layer = nn.TransformerEncoderLayer(
            W, config.heads, config.feedforward, config.dropout, "gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, config.layers, nn.LayerNorm(W), enable_nested_tensor=False)
        self.drop = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(W, len(config.labels))

    def forward(self, hands: Tensor, hands_known: Tensor) -> Tensor:
        """Scores (B, L).

        Args:
            hands: (B, 1, 2, F, 21, 3), one person's, see `palmist.inputs.body_hand`. hands_known: (B, 1, 2, F, 21) bool.

        Raises:
            InputError: another number of frames than the network has places for.
        """
        if hands.shape[3] != self.config.frames:
            raise InputError(
                f"{hands.shape[3]} frames were given; this network takes {self.config.frames}, bring recordings to them with "
                "palmist.inputs.body_hand"
            )
        tokens = self.drop(self.enter(wrist_local(hands[:, 0], hands_known[:, 0])) + self.position)  # (B, F, D)
        return self.classifier(self.drop(self.encoder(tokens).mean(1)))

    def loss(self, batch: Mapping[str, Any], generator: torch.Generator | None = None) -> tuple[Tensor, Parts]:
        """Cross-entropy among the batch's labels.

        Args:
            batch: hands, hands_known (`forward`), label (B,), candidates (B, L) bool.
        """
        logits = self(batch["hands"], batch["hands_known"])
        logits = logits.masked_fill(~batch["candidates"], float("-inf"))
        accuracy = (logits.argmax(1) == batch["label"]).float().mean()
        return F.cross_entropy(logits, batch["label"]), {"accuracy": accuracy.detach()}

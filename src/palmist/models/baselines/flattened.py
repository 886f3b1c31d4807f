"""The flattened VAE: G-HTT without mid-levels, one transformer VAE over the frames of a whole action.

Paper: the ablation of "Generative Hierarchical Temporal Transformer for Hand Pose and Action Modeling" (arXiv 2311.17366,
Table 4). Every observed frame is a hand token and an object token with a code of its frame number since the start of the
action; one bottleneck names the action and, with the frames' outputs as skip tokens, is decoded to all future frames.
Losses are those of G-HTT's P-block plus the action loss of its A-block on the bottleneck.

Numbered deviations, and why:

1. As in `palmist.models.ghtt`, deviations 1, 2, 4, 5, 8 and 9: unknown entries, depth, absent objects, several taxonomies,
   the head's start, wrists at the origin.
2. The depth is the paper-sized P- and A-block's together (18 + 18 layers); preset `small` has G-HTT small's (8 + 8).

Letters: B batch, T observed frames, U future frames, K futures, D width, L labels. Masks are True where known or valid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from palmist import pose_vector
from palmist.errors import InputError
from palmist.models.ghtt_pose_block import component_loss, free_entries, neutral_vector, trajectory_loss
from palmist.models.label_table import LabelTable, over_windows
from palmist.models.layers import (
    Batch,
    Decoder,
    Linear,
    Parts,
    VariationalEncoder,
    draw_skip,
    kl_divergence,
    sample_latent,
    sinusoidal_code,
)
from palmist.pose_vector import DIM

WEAKER, STRONGER = 5.0, 10.0
"""Sampling factors f at test time; the paper's two strengths are not stated, both are to be reported."""


@dataclass(frozen=True)
class FlattenedConfig:
    """Sizes and loss weights; the defaults are the paper's."""

    layers: int = 18
    width: int = 512
    heads: int = 8
    feedforward: int = 2048
    label_dim: int = 512
    labels: tuple[str, ...] = ()
    max_frames: int = 256
    rate: float = 30.0
    skip_probability: float = 0.5
    temperature: float = 0.07
    component_weight: float = 1.0
    trajectory_weight: float = 1.0
    action_weight: float = 0.1
    kl_weight: float = 1e-5
    log_variance_offset: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", tuple(self.labels))


PRESETS: dict[str, FlattenedConfig] = {
    "paper": FlattenedConfig(),
    "small": FlattenedConfig(layers=8, width=128, heads=4, feedforward=512, log_variance_offset=-5.0),
}


class EncodedFrames(NamedTuple):
    """What the encoder says of the observed frames."""

    mean: Tensor  # (B, D)
    log_variance: Tensor  # (B, D)
    tokens: Tensor  # (B, T, D) outputs at the hand tokens, the skip tokens
    refined: Tensor  # (B, T, 153)


class FlattenedVAE(nn.Module):
    """One VAE over frames.

    Example:
        >>> model = FlattenedVAE(FlattenedConfig(layers=1, width=32, heads=2, feedforward=64))
        >>> frames = torch.zeros(2, 24, 153)
        >>> code = model.encode(frames, torch.ones_like(frames, dtype=torch.bool), torch.ones(2, 24, dtype=torch.bool))
        >>> model.decode(code.mean, torch.arange(24, 56).expand(2, -1), code.tokens).shape
        torch.Size([2, 32, 153])
    """

    def __init__(self, config: FlattenedConfig) -> None:
        super().__init__()
        self.config = config
        W = config.width
        self.placeholder = nn.Parameter(torch.randn(DIM))
        self.enter = Linear(DIM, W)
        self.null_object = nn.Parameter(torch.randn(W))
        self.encoder = VariationalEncoder(config.layers, W, config.heads, config.feedforward, config.log_variance_offset)
        self.decoder = Decoder(config.layers, W, config.heads, config.feedforward)
        last = Linear(W, DIM)
        self.head = nn.Sequential(Linear(W, W), nn.LeakyReLU(), Linear(W, W), nn.LeakyReLU(), last)
        for module in (self.enter, *self.head):
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
        with torch.no_grad():
            last.bias.copy_(neutral_vector())
            last.weight.mul_(0.01)
        self.labels = LabelTable(len(config.labels), config.label_dim, W, config.temperature)
        self.register_buffer("free", free_entries(), persistent=False)
        self.free: Tensor

    def set_labels(self, names: Sequence[str], features: Tensor) -> None:
        """Swap the label table: L names and their text features (L, label_dim); InputError for a wrong shape."""
        self.labels.set_features(features, names)
        self.config = replace(self.config, labels=tuple(names))

    def encode(self, observed: Tensor, known: Tensor, frames: Tensor, first: Tensor | None = None) -> EncodedFrames:
        """Encode observed frames.

        Args:
            observed, known: (B, T, 153) pose vectors; frames: (B, T) bool, padding at the end.
            first: (B,) number of the first frame since the start of the action, 0 if absent.
        """
        B, T = frames.shape
        if self.config.max_frames < T:
            raise InputError(f"{T} observed frames are too many; this model takes up to {self.config.max_frames}, cut them")
        known = known & frames.unsqueeze(-1)
        hands = self.enter(torch.where(known, observed, self.placeholder.to(observed.dtype)))  # (B, T, D)
        pairs = torch.stack((hands, self.null_object.to(hands.dtype).expand_as(hands)), dim=2)  # (B, T, 2, D)
        number = torch.arange(T, device=frames.device) + (0 if first is None else first.unsqueeze(1))
        phase = sinusoidal_code(number.expand(B, T), hands.shape[-1]).to(hands.dtype)
        pairs = torch.where(frames[..., None, None], pairs + phase.unsqueeze(2), torch.zeros_like(pairs))
        mean, log_variance, tokens = self.encoder(pairs.flatten(1, 2), frames.repeat_interleave(2, dim=1))
        tokens = tokens[:, ::2]
        return EncodedFrames(mean, log_variance, tokens, self.head(tokens) * self.free)

    def decode(
        self,
        latent: Tensor,
        numbers: Tensor,
        tokens: Tensor | None = None,
        frames: Tensor | None = None,
        future_frames: Tensor | None = None,
    ) -> Tensor:
        """Future frames (B, U, 153).

        latent: (B, D). numbers: (B, U) frame numbers since the start of the action. tokens: (B, T, D), the skip, with frames
        (B, T) bool. future_frames: (B, U) bool, other frames are padding.
        """
        memory, visible = latent.unsqueeze(1), None
        if tokens is not None:
            memory = torch.cat((memory, tokens), dim=1)
            visible = None if frames is None else F.pad(frames, (1, 0), value=True)
        content = sinusoidal_code(numbers, self.config.width).to(latent.dtype)
        return self.head(self.decoder(numbers.shape[1], memory, visible, content, future_frames)) * self.free

    @torch.no_grad()
    def recognise(self, observed: Tensor, known: Tensor, frames: Tensor, candidates: Tensor | None = None) -> Tensor:
        """Label probabilities (B, L) of whole actions, among `candidates` ((L,) or (B, L) bool); windows of `max_frames`."""

        def probabilities(start: int, frames: Tensor, observed: Tensor, known: Tensor) -> Tensor:
            first = torch.full((len(frames),), start, device=frames.device)
            return self.labels.scores(self.encode(observed, known, frames, first).mean, candidates).softmax(-1)

        return over_windows(probabilities, self.config.max_frames, frames, observed, known)

    @torch.no_grad()
    def predict(
        self,
        observed: Tensor,
        known: Tensor,
        frames: Tensor,
        palms: pose_vector.PalmFrames,
        count: int,
        futures: int = 20,
        factor: float = WEAKER,
        generator: torch.Generator | None = None,
        planar: bool = False,
        first: Tensor | None = None,
    ) -> Tensor:
        """K futures of `count` frames, (B, K, count, 2, 21, 3) metres, from the last seen palms at the observed size.

        observed, known (B, T, 153), frames (B, T): the observation, with its palm frames (B, T, 2, ...). first: (B,) number
        of its first frame since the start of the action, 0 if absent.
        """
        code = self.encode(observed, known, frames, first)
        mean, spread = (part.repeat_interleave(futures, 0) for part in (code.mean, code.log_variance))
        latent = sample_latent(mean, spread, factor, generator)
        length = frames.sum(1) + (0 if first is None else first)
        numbers = (length.unsqueeze(1) + torch.arange(count, device=length.device)).repeat_interleave(futures, 0)
        tokens, seen = (part.repeat_interleave(futures, 0) for part in (code.tokens, frames))
        vector = self.decode(latent, numbers, tokens, seen)
        rotation, translation = (part.repeat_interleave(futures, 0) for part in pose_vector.last_palm(palms))
        size = pose_vector.observed_hand_size(palms, planar).repeat_interleave(futures, 0)
        return pose_vector.decode(vector, rotation, translation, size, planar).unflatten(0, (-1, futures))

    def loss(self, batch: Batch, generator: torch.Generator | None = None) -> tuple[Tensor, Parts]:
        """The P-block's losses on observed and future frames, and the A-block's on the bottleneck.

        Args:
            batch: observed, observed_clean, observed_known (B, T, 153), observed_axes (B, T, 3, 3), observed_frames (B, T);
                future, future_known (B, U, 153), future_axes, future_frames; label (B,) with -1 = unlabelled; optional
                candidates (L,) or (B, L) bool, first (B,), rows.
        """
        config, frames, ahead = self.config, batch["observed_frames"], batch["future_frames"]
        code = self.encode(batch["observed"], batch["observed_known"], frames, batch.get("first"))
        latent, tokens = code.mean, code.tokens
        skip: Tensor | None = tokens
        if self.training:
            latent = sample_latent(code.mean, code.log_variance, 1.0, generator, batch.get("rows"))
            skip = tokens if draw_skip(config.skip_probability, latent, generator) else None
        start = frames.sum(1) + (0 if batch.get("first") is None else batch["first"])
        numbers = start.unsqueeze(1) + torch.arange(ahead.shape[1], device=ahead.device)
        predicted = self.decode(latent, numbers, skip, frames, ahead).float()
        known = batch["future_known"] & ahead.unsqueeze(-1)
        seen = batch["observed_known"] & frames.unsqueeze(-1)
        parts = {
            "observed": component_loss(code.refined.float(), batch["observed_clean"], seen, batch["observed_axes"]),
            "future": component_loss(predicted, batch["future"], known, batch["future_axes"]),
            "trajectory": trajectory_loss(predicted, batch["future"], known, batch["future_axes"]),
            "kl": kl_divergence(code.mean.float(), code.log_variance.float()),
        }
        distance, contrast, accuracy = self.labels.loss(latent, batch["label"], batch.get("candidates"))
        total = config.component_weight * (parts["observed"] + parts["future"])
        total = total + config.trajectory_weight * parts["trajectory"] + config.kl_weight * parts["kl"]
        total = total + config.action_weight * (distance + contrast)
        parts |= {"distance": distance, "contrast": contrast, "accuracy": accuracy}
        return total, {name: value.detach() for name, value in parts.items()}

"""G-HTT's A-block: the mid-levels of observed clips to the action, and to the mid-levels of the clips to come.

The header of `palmist.models.ghtt` names the paper and the numbered deviations; numbers in this file refer to them.
Letters: B batch, T frames, N observed clips, M future clips, D width, L labels.  Masks are True where known or valid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from palmist.errors import InputError
from palmist.models.global_batch import masked_mean
from palmist.models.label_table import unit_features
from palmist.models.layers import (
    Batch,
    Decoder,
    EncoderLayer,
    Linear,
    Parts,
    VariationalEncoder,
    draw_skip,
    kl_divergence,
    position_table,
    sample_latent,
    sinusoidal_code,
    standard_normal,
)
from palmist.pose_vector import DIM


@dataclass(frozen=True)
class ABlockConfig:
    """The A-block's size, loss weights and training options; the defaults are the paper's.

    `labels` names the rows of the label table; `mid_level_dim` is the width of the P-block it was trained with;
    `object_dim` 0 means that objects are never named.
    """

    layers: int = 9
    width: int = 512
    heads: int = 8
    feedforward: int = 2048
    mid_level_dim: int = 512
    object_dim: int = 512
    label_dim: int = 512
    labels: tuple[str, ...] = ()
    max_clips: int = 16
    clip_length: int = 16
    body_context: bool = False
    pose_context: bool = False
    context_channels: int = 26
    context_layers: int = 2
    mid_level_noise: float = 1.0
    token_dropout: float = 0.0
    skip_probability: float = 0.5
    temperature: float = 0.07
    label_smoothing: float = 0.0
    action_on_mean: bool = False
    motion_weight: float = 1.0
    action_weight: float = 0.1
    kl_weight: float = 1e-5
    log_variance_offset: float = 0.0
    pooled_tokens: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", tuple(self.labels))
        if self.width % 2:
            raise InputError(f"A-block width is {self.width}; the phase code needs an even number")


class EncodedAction(NamedTuple):
    """What E^A says of a sequence of clips."""

    mean: Tensor  # (B, D) of the bottleneck alpha
    log_variance: Tensor  # (B, D)
    tokens: Tensor  # (B, N, D) eta_m: encoder outputs at the mid-level positions, the skip tokens


def clip_context(
    config: ABlockConfig, vector: Tensor, known: Tensor, body: Tensor | None = None, body_known: Tensor | None = None
) -> tuple[Tensor | None, Tensor | None]:
    """What the context encoder reads of clips: the body context (deviation 3), then the pose vectors (deviation 15).

    Args:
        config: says which of the two; without either there is no context.
        vector, known: (..., T, 153) pose vectors and which entries are known.
        body: (..., T, context_channels) body context, with body_known (..., T) bool; unknown if absent.

    Returns:
        context (..., T, C) and known (..., T, C), C channels of the parts that are on.
    """
    parts, masks = [], []
    if config.body_context:
        shape = (*vector.shape[:-1], config.context_channels)
        parts.append(vector.new_zeros(shape) if body is None else body)
        masks.append(known.new_zeros(shape) if body_known is None else body_known.unsqueeze(-1).expand(shape))
    if config.pose_context:
        parts.append(vector)
        masks.append(known)
    return (torch.cat(parts, dim=-1), torch.cat(masks, dim=-1)) if parts else (None, None)


class ContextEncoder(nn.Module):
    """Context of a clip (`clip_context`) to one token.

    A frame's numbers (a placeholder where they are not known) and the flags that say which are known become a token;
    pre-norm layers follow; a summary token is the result.
    """

    def __init__(self, channels: int, layers: int, width: int, heads: int, feedforward: int) -> None:
        super().__init__()
        self.channels = channels
        self.placeholder = nn.Parameter(torch.zeros(channels))
        self.frame_in = nn.Sequential(Linear(2 * channels, width), nn.GELU(), Linear(width, width))
        self.summary = nn.Parameter(torch.randn(width))
        self.layers = nn.ModuleList(EncoderLayer(width, heads, feedforward) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.out = Linear(width, width)

    def forward(self, context: Tensor, known: Tensor) -> Tensor:
        """context (B, T, C) float, known (B, T) or (B, T, C) bool -> (B, D)."""
        if known.dim() == context.dim() - 1:
            known = known.unsqueeze(-1)
        known = known.expand_as(context)
        filled = torch.where(known, context, self.placeholder.to(context.dtype))
        tokens = self.frame_in(torch.cat((filled, known.to(context.dtype)), dim=-1))  # (B, T, D)
        tokens = torch.cat((self.summary.to(tokens.dtype).expand(tokens.shape[0], 1, -1), tokens), dim=1)
        position = position_table(tokens.shape[1], tokens.shape[2], tokens.device)
        for layer in self.layers:
            tokens = layer(tokens, position.to(tokens.dtype))
        return self.out(self.norm(tokens[:, 0]))


def _linear_unless_equal(source: int, target: int) -> nn.Module:
    return nn.Identity() if source == target else Linear(source, target)


class ABlock(nn.Module):
    """Action block: mid-levels of observed clips to the action, and to the mid-levels of the clips to come.

    Example:
        >>> block = ABlock(ABlockConfig(layers=1, width=32, heads=2, feedforward=64, mid_level_dim=32))
        >>> m, clips, phase = torch.randn(2, 3, 32), torch.ones(2, 3, dtype=torch.bool), torch.arange(3).expand(2, 3)
        >>> code = block.encode(m, clips, phase)
        >>> block.decode(code.mean, phase + 3, code.tokens, clips).shape
        torch.Size([2, 3, 32])
    """

    def __init__(self, config: ABlockConfig) -> None:
        super().__init__()
        self.config = config
        W = config.width
        self.mid_level_in = _linear_unless_equal(config.mid_level_dim * (1 + config.pooled_tokens), W)
        self.object_in = _linear_unless_equal(config.object_dim, W) if config.object_dim else None
        self.mid_level_out = _linear_unless_equal(W, config.mid_level_dim)
        self.null_mid_level = nn.Parameter(torch.randn(W)) if config.token_dropout else None
        self.null_object = nn.Parameter(torch.randn(W))
        channels = config.context_channels * config.body_context + DIM * config.pose_context
        self.context = (
            ContextEncoder(channels, config.context_layers, W, config.heads, config.feedforward) if channels else None
        )
        self.label_in = Linear(config.label_dim, W)
        self.encoder = VariationalEncoder(config.layers, W, config.heads, config.feedforward, config.log_variance_offset)
        self.decoder = Decoder(config.layers, W, config.heads, config.feedforward)
        for module in (self.mid_level_in, self.object_in, self.mid_level_out, self.label_in):
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        self.register_buffer("label_table", torch.zeros(len(config.labels), config.label_dim))
        self.label_table: Tensor
        self._label_cache: tuple[tuple[Any, ...], Tensor] | None = None

    def set_labels(self, names: Sequence[str], features: Tensor) -> None:
        """Swap the label table.

        Args:
            names: L label names.
            features: (L, label_dim) features of a text encoder, one per name (normalised to length 1 here).

        Raises:
            InputError: wrong number of rows or channels.
        """
        self.label_table = unit_features(features, (len(names), self.config.label_dim), self.label_in.weight)
        self.config = replace(self.config, labels=tuple(names))

    def label_features(self) -> Tensor:
        """Projected label features (L, D)."""
        return self.label_in(self.label_table)

    def label_directions(self) -> Tensor:
        """Projected label features of length 1, (L, D); kept between calls when no gradient is needed."""
        if torch.is_grad_enabled():
            return F.normalize(self.label_features(), dim=-1)
        sources = (self.label_in.weight, self.label_in.bias, self.label_table)
        if any(source.is_inference() for source in sources):
            return F.normalize(self.label_features(), dim=-1)  # such tensors do not count their changes
        key = tuple((part.data_ptr(), part._version, part.dtype, part.device, part.shape) for part in sources)
        if self._label_cache is None or self._label_cache[0] != key:
            self._label_cache = (key, F.normalize(self.label_features(), dim=-1))
        return self._label_cache[1]

    def similarities(self, alpha: Tensor) -> Tensor:
        """Cosine between alpha (B, D) and every projected label -> (B, L)."""
        return F.normalize(alpha, dim=-1) @ self.label_directions().T

    def probabilities(self, alpha: Tensor, candidates: Tensor | None = None) -> Tensor:
        """Softmax of the similarities over the temperature, among `candidates` ((L,) or (B, L) bool) -> (B, L)."""
        return _among(self.similarities(alpha).float() / self.config.temperature, candidates).softmax(dim=-1)

    def encode(
        self,
        mid_levels: Tensor,
        clips: Tensor,
        phase: Tensor,
        objects: Tensor | None = None,
        context: Tensor | None = None,
        context_known: Tensor | None = None,
        objects_known: Tensor | None = None,
        hidden: tuple[Tensor, Tensor] | None = None,
        encoded_context: Tensor | None = None,
    ) -> EncodedAction:
        """Encode a sequence of clips.

        Args:
            mid_levels: (B, N, mid_level_dim), or twice as wide with `pooled_tokens` (see `clip_features`).
            clips: (B, N) bool; other clips are padding.
            phase: (B, N) whole number of clips since the start of the action.
            objects: (B, N, object_dim) text feature of the object, of length 1; None = not known.
            context, context_known: (B, N, T, C), see `clip_context`; used only with `body_context` or `pose_context`.
            objects_known: (B, N) bool; all known if absent.
            encoded_context: (B, N, D) of `encode_context`, instead of context and context_known.
            hidden: two (B, N) bool: clips whose mid-level / object token gives way to the null token (`token_dropout`).
        """
        B, N = clips.shape
        W = self.config.width
        # Masked before the products: what stands in padding must not even reach the gradient of a weight.
        mid_levels = torch.where(clips.unsqueeze(-1), mid_levels, torch.zeros_like(mid_levels))
        content = self.mid_level_in(mid_levels)  # (B, N, D)
        null_object = self.null_object.to(content.dtype)
        companion = null_object.expand(B, N, W)
        if objects is not None:
            if self.object_in is None:
                raise InputError("this A-block takes no object features (object_dim is 0); leave `objects` out")
            named = (clips if objects_known is None else clips & objects_known).unsqueeze(-1)
            objects = torch.where(named, objects, torch.zeros_like(objects))
            companion = torch.where(named, self.object_in(objects), null_object)
        if self.context is not None:
            if encoded_context is None:
                encoded_context = self.encode_context(clips, context, context_known)
            companion = companion + encoded_context
        if hidden is not None and self.null_mid_level is not None:
            content = torch.where(hidden[0].unsqueeze(-1), self.null_mid_level.to(content.dtype), content)
            companion = torch.where(hidden[1].unsqueeze(-1), null_object, companion)
        pairs = torch.stack((content, companion), dim=2)  # (B, N, 2, D): m_1, omega_1, m_2, omega_2, ...
        pairs = pairs + sinusoidal_code(phase, W).to(pairs.dtype).unsqueeze(2)
        pairs = torch.where(clips[:, :, None, None], pairs, torch.zeros_like(pairs))
        mean, log_variance, tokens = self.encoder(pairs.flatten(1, 2), clips.repeat_interleave(2, dim=1))
        return EncodedAction(mean, log_variance, tokens[:, ::2])

    def encode_context(self, clips: Tensor, context: Tensor | None, known: Tensor | None) -> Tensor:
        """Context (B, N, T, C) to (B, N, D); a sequence without any is one with every frame unknown."""
        assert self.context is not None
        B, N = clips.shape
        if context is None or known is None:
            blank = (1, self.config.clip_length, self.context.channels)
            like = self.label_in.weight
            empty = self.context(like.new_zeros(blank), torch.zeros(blank, dtype=torch.bool, device=like.device))
            return empty.expand(B, N, -1)
        return self.context(context.flatten(0, 1), known.flatten(0, 1)).unflatten(0, (B, N))

    def decode(
        self,
        alpha: Tensor,
        future_phase: Tensor,
        tokens: Tensor | None = None,
        clips: Tensor | None = None,
        future_clips: Tensor | None = None,
    ) -> Tensor:
        """Mid-levels of future clips.

        Args:
            alpha: (B, D).
            future_phase: (B, M) whole number of clips since the start of the action.
            tokens: (B, N, D) eta_m, the skip (always used at test time), with clips (B, N) bool.
            future_clips: (B, M) bool; other clips are padding.

        Returns:
            (B, M, mid_level_dim): m^A of clips n + 1 ... n + M; the P-block decodes them to clips n + 2 ... n + M + 1.
        """
        memory, visible = alpha.unsqueeze(1), None
        if tokens is not None:
            memory = torch.cat((memory, tokens), dim=1)  # (B, 1 + N, D)
            visible = None if clips is None else F.pad(clips, (1, 0), value=True)
        content = sinusoidal_code(future_phase, self.config.width).to(alpha.dtype)
        decoded = self.decoder(future_phase.shape[1], memory, visible, content, future_clips)
        return self.mid_level_out(decoded)

    def loss(self, batch: Batch, generator: torch.Generator | None = None) -> tuple[Tensor, Parts]:
        """Total loss (specification 6.5) and its parts.

        In training mode alpha is sampled, mid-levels are noised and tokens dropped as configured, skip tokens join with
        `skip_probability`; in evaluation mode alpha = mu, no noise, and always the skip.

        Args:
            batch: mid_levels (B, N, mid_level_dim), clips (B, N), phase (B, N); future_mid_levels
                (B, M, mid_level_dim), future_clips (B, M), future_phase (B, M); label (B,) with -1 = unlabelled;
                optional objects, objects_known, context, context_known (see `encode`), candidates (L,) or (B, L)
                bool, rows.
            generator: explicit random source.
        """
        config, rows = self.config, batch.get("rows")
        mid_levels = batch["mid_levels"]
        hidden: tuple[Tensor, Tensor] | None = None
        if self.training and config.mid_level_noise:
            noise = standard_normal(mid_levels.shape, mid_levels, generator, rows)
            mid_levels = mid_levels + config.mid_level_noise * noise
        if self.training and config.token_dropout:
            # Normal numbers below a quantile: one kind of draw serves all.
            quantile = torch.special.ndtri(torch.tensor(config.token_dropout, dtype=torch.float64)).item()
            draw = standard_normal((*batch["clips"].shape, 2), mid_levels, generator, rows) < quantile
            hidden = (draw[..., 0], draw[..., 1])
        optional = {name: batch.get(name) for name in ("objects", "context", "context_known", "objects_known")}
        code = self.encode(mid_levels, batch["clips"], batch["phase"], hidden=hidden, **optional)
        alpha = code.mean
        tokens: Tensor | None = code.tokens
        if self.training:
            alpha = sample_latent(code.mean, code.log_variance, 1.0, generator, rows)
            tokens = code.tokens if draw_skip(config.skip_probability, alpha, generator) else None
        predicted = self.decode(alpha, batch["future_phase"], tokens, batch["clips"], batch["future_clips"])
        with torch.autocast(predicted.device.type, enabled=False):
            motion = masked_mean((predicted.float() - batch["future_mid_levels"]).abs(), batch["future_clips"].unsqueeze(-1))
            named = code.mean if config.action_on_mean else alpha
            distance, contrast, accuracy = self._action_loss(named.float(), batch["label"], batch.get("candidates"))
            kl = kl_divergence(code.mean.float(), code.log_variance.float())
            total = config.motion_weight * motion + config.action_weight * (distance + contrast) + config.kl_weight * kl
        parts = {"motion": motion, "distance": distance, "contrast": contrast, "kl": kl, "accuracy": accuracy}
        return total, {name: value.detach() for name, value in parts.items()}

    def _action_loss(self, alpha: Tensor, label: Tensor, candidates: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Paper Eq. 4-5: L1 to the projected label, cross-entropy of cosines over the temperature; and the accuracy."""
        labelled = label >= 0
        if not len(self.config.labels):
            zero = alpha.sum() * 0
            return zero, zero, zero
        index = label.clamp_min(0)
        features = self.label_features().float()  # (L, D)
        distance = masked_mean((alpha - features[index]).abs(), labelled.unsqueeze(-1))
        cosine = F.normalize(alpha, dim=-1) @ F.normalize(features, dim=-1).T
        scores = _among(cosine / self.config.temperature, candidates).log_softmax(dim=-1)  # (B, L)
        cross_entropy = -scores.gather(1, index.unsqueeze(1)).squeeze(1)
        if self.config.label_smoothing:
            allowed = scores.isfinite()
            spread = -torch.where(allowed, scores, torch.zeros_like(scores)).sum(dim=1) / allowed.sum(dim=1)
            cross_entropy = torch.lerp(cross_entropy, spread, self.config.label_smoothing)
        correct = masked_mean((scores.argmax(dim=-1) == label).to(alpha.dtype), labelled)
        return distance, masked_mean(cross_entropy, labelled), correct


def _among(scores: Tensor, candidates: Tensor | None) -> Tensor:
    """Minus infinity at labels that are no candidates; a row without candidates has all of them."""
    if candidates is None:
        return scores
    candidates = candidates | ~candidates.any(dim=-1, keepdim=True)
    return scores.masked_fill(~candidates, float("-inf"))

"""PoseGPT as it was retrained for the comparison with G-HTT: hand motion as discrete codes, and a GPT that writes them.

Papers: "PoseGPT: Quantization-based 3D Human Motion Generation and Forecasting" (arXiv 2210.10542); the retrained form is
that of "Generative Hierarchical Temporal Transformer for Hand Pose and Action Modeling" (arXiv 2311.17366).

In reading order: the 141 numbers of a frame (`to_frames`, `to_joints`), the quantiser, the auto-encoder `MotionCodec` (causal
encoder at half the frame rate, product quantisation, decoder over all codes), `MotionGPT`, which predicts the codes of
both codebooks at once from the action's text feature, the length and the codes so far, with a key/value-cached sampler, and
`PoseGPT`, both together: observed hands and an action to futures.

Numbered deviations, and why:

1. Entries that a recording does not know are zeros with a flag at the input, and are left out of every loss.
2. Centroids that nothing used for a while, at the start all of them, are put on encoder outputs of the batch: in a short
   training most of 256 random centroids are otherwise never used.
3. Preset `small` gives the accumulated path a small weight: a step's error counts again in every later frame, and in a short
   training little else is learnt.

Letters: B batch, T frames, N = T / 2 codes, C codebooks (2), K centroids of a codebook, D width, L labels. Masks are True
where known or valid.
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
from palmist.models.global_batch import masked_mean
from palmist.models.layers import Batch, Parts, sinusoidal_code

FRAME_DIM = 141
_JOINTS, _STEPS, _INTER = slice(0, 126), slice(126, 132), slice(132, 141)


class FrameCode(NamedTuple):
    """frames (B, T, 141) and known (B, T, 141) bool, see `to_frames`."""

    frames: Tensor
    known: Tensor


def to_frames(vector: Tensor, known: Tensor, planar: bool = False) -> FrameCode:
    """Pose vectors as PoseGPT's frames.

    Args:
        vector, known: (B, T, 153) of `palmist.pose_vector`, the first frame's motion reset.

    Returns:
        Per frame both hands' joints from their wrist, turned as the first frame's palm and in hand sizes (126), both
        wrists' steps in the first frame's palm coordinates times 10 (6), and the inter-hand transform (9). A hand's turn is
        known as long as each of its motions up to that frame is.
    """
    rotation, translation = pose_vector.accumulate(vector, planar)  # (B, T, 2, 3, 3), (B, T, 2, 3)
    local = vector[..., :126].unflatten(-1, (2, 21, 3))
    joints = (local @ rotation).flatten(-3)
    steps = torch.diff(translation, dim=1, prepend=torch.zeros_like(translation[:, :1])).flatten(-2)
    motions = slice(pose_vector.LEFT_MOTION.start, pose_vector.RIGHT_MOTION.stop)
    moved = known[..., motions].unflatten(-1, (2, 9)).any(-1)  # (B, T, 2)
    seen = known[..., :126].unflatten(-1, (2, 63))
    shown = seen.any(-1)
    started = shown.cumsum(1) > 0
    first = started & (started.cumsum(1) == 1)
    chain = ((moved & shown) | first | ~started).long().cumprod(1).bool() & started  # (B, T, 2)
    ever = seen.any(1, keepdim=True)
    joints_known = (chain.unsqueeze(-1) & seen & ever).flatten(-2)
    steps_known = (chain & moved).unsqueeze(-1).expand(*chain.shape, 3)
    if planar:
        steps_known = steps_known & torch.tensor([True, True, False], device=vector.device)
    inter = vector[..., pose_vector.INTER_HAND]
    inter_known = known[..., pose_vector.INTER_HAND]
    frames = torch.cat((joints, steps, inter), dim=-1)
    mask = torch.cat((joints_known, steps_known.flatten(-2), inter_known), dim=-1)
    return FrameCode(torch.where(mask, frames, torch.zeros_like(frames)), mask)


def to_joints(frames: Tensor, rotation: Tensor, translation: Tensor, size: Tensor, planar: bool = False) -> Tensor:
    """Frames back to joints; hands are brought to the observed size, those of planar recordings stay in the plane.

    Args:
        frames: (..., T, 141). rotation (..., 2, 3, 3), translation (..., 2, 3): the first frame's palms, world -> local.
        size: (..., 2) metres.

    Returns:
        joints (..., T, 2, 21, 3) metres, in the frame of the palms.
    """
    local = frames[..., _JOINTS].unflatten(-1, (2, 21, 3))
    steps = frames[..., _STEPS].unflatten(-1, (2, 3))
    if planar:
        flat = frames.new_tensor([1.0, 1.0, 0.0])
        local, steps = local * flat, steps * flat
    palm = local[..., list(pose_vector.PALM_JOINTS), :]
    own = torch.linalg.vector_norm(palm[..., 1:, :] - palm[..., :1, :], dim=-1).mean(-1)
    own = torch.where(own > 1e-6, own, torch.ones_like(own))
    path = steps.cumsum(-3) / pose_vector.MOTION_SCALE
    base = local * (size.unsqueeze(-2) / own)[..., None, None] + path.unsqueeze(-2)
    return (base - translation[..., None, :, None, :]) @ rotation.transpose(-1, -2).unsqueeze(-4)


@dataclass(frozen=True)
class PoseGPTConfig:
    """Sizes and loss weights; the defaults are the original's."""

    codec_layers: int = 6
    codec_width: int = 384
    codec_heads: int = 4
    codebooks: int = 2
    centroids: int = 256
    code_dim: int = 256
    commitment: float = 0.25
    codebook_weight: float = 0.25
    path_weight: float = 1.0
    layers: int = 8
    width: int = 256
    heads: int = 4
    block: int = 512
    dropout: float = 0.2
    label_dim: int = 512
    labels: tuple[str, ...] = ()
    max_frames: int = 256
    rate: float = 30.0
    top_k: int = 20
    temperature: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", tuple(self.labels))
        if self.code_dim % self.codebooks:
            raise InputError(f"code_dim is {self.code_dim}; expected a multiple of the {self.codebooks} codebooks")


PRESETS: dict[str, PoseGPTConfig] = {
    "paper": PoseGPTConfig(),
    "small": PoseGPTConfig(
        codec_layers=3, codec_width=128, code_dim=128, layers=4, width=128, block=128, label_dim=384, path_weight=0.02
    ),
}

Cache = list[tuple[Tensor, Tensor]]


class Layer(nn.Module):
    """Pre-norm self-attention (causal or not) and feed-forward; keys and values of earlier tokens may come from a cache."""

    def __init__(self, width: int, heads: int, dropout: float, causal: bool) -> None:
        super().__init__()
        self.heads, self.dropout, self.causal = heads, dropout, causal
        self.attention_norm, self.forward_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.project, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.feed = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width), nn.Dropout(dropout))
        self.residual_drop = nn.Dropout(dropout)

    def forward(
        self, tokens: Tensor, visible: Tensor | None = None, past: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """tokens (B, N, D), visible (B, N) bool -> the same shape, and this layer's keys and values so far."""
        B, N, D = tokens.shape
        query, key, value = (
            part.view(B, N, self.heads, D // self.heads).transpose(1, 2)
            for part in self.project(self.attention_norm(tokens)).split(D, dim=-1)
        )
        if past is not None:
            key, value = torch.cat((past[0], key), dim=2), torch.cat((past[1], value), dim=2)
        mask = None if visible is None else visible[:, None, None, :]
        if self.causal and N > 1:
            order = torch.arange(key.shape[2], device=tokens.device)
            before = order <= order[key.shape[2] - N :, None]  # (N, all)
            mask = before if mask is None else mask & before
        drop = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=drop)
        tokens = tokens + self.residual_drop(self.out(mixed.transpose(1, 2).reshape(B, N, D)))
        return tokens + self.feed(self.forward_norm(tokens)), (key, value)


class Quantiser(nn.Module):
    """Product quantisation: each part of a vector goes to the nearest centroid of its own codebook, straight through."""

    def __init__(self, config: PoseGPTConfig) -> None:
        super().__init__()
        self.config = config
        part = config.code_dim // config.codebooks
        self.centroids = nn.Parameter(torch.randn(config.codebooks, config.centroids, part) / part**0.5)
        self.register_buffer("usage", torch.zeros(config.codebooks, config.centroids))
        self.usage: Tensor

    def forward(self, encoded: Tensor, valid: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """encoded (B, N, code_dim), valid (B, N) -> quantised like it, indices (B, N, C), and the codebook loss."""
        parts = encoded.unflatten(-1, (self.config.codebooks, -1))  # (B, N, C, d)
        index = self.nearest(encoded)
        chosen = self.lookup(index)  # (B, N, C, d)
        if self.training:
            self._track(parts.detach(), index, valid)
        weight = valid[..., None, None]
        loss = masked_mean((chosen - parts.detach()).square(), weight)
        loss = loss + self.config.commitment * masked_mean((chosen.detach() - parts).square(), weight)
        straight = parts + (chosen - parts).detach()
        return straight.flatten(-2), index, loss

    def nearest(self, encoded: Tensor) -> Tensor:
        """Indices (B, N, C) of the nearest centroids."""
        parts = encoded.unflatten(-1, (self.config.codebooks, -1))
        distance = torch.cdist(parts.flatten(0, 1).transpose(0, 1), self.centroids)  # (C, B * N, K)
        return distance.argmin(-1).T.unflatten(0, encoded.shape[:2])

    def lookup(self, index: Tensor) -> Tensor:
        """Centroids of indices (B, N, C) -> (B, N, C, d)."""
        books = torch.arange(self.config.codebooks, device=index.device)
        return self.centroids[books, index]

    @torch.no_grad()
    def _track(self, parts: Tensor, index: Tensor, valid: Tensor) -> None:
        """Moving average of how often each centroid is used; deviation 2 for those that nothing uses."""
        for book in range(self.config.codebooks):
            counts = torch.bincount(index[..., book][valid], minlength=self.config.centroids).to(self.usage)
            self.usage[book].mul_(0.95).add_(0.05 * counts)
            idle = torch.nonzero(self.usage[book] < 0.05 * counts.sum() / self.config.centroids).flatten()
            pool = parts[:, :, book][valid]
            if len(idle) and len(pool):
                rows = torch.arange(len(idle), device=pool.device) * 7919 % len(pool)
                self.centroids.data[book, idle] = pool[rows]
                self.usage[book, idle] = counts.sum() / self.config.centroids


class MotionCodec(nn.Module):
    """The auto-encoder: 141 numbers a frame to codes at half the frame rate, and back.

    Example:
        >>> codec = MotionCodec(PRESETS["small"]).eval()
        >>> frames, known = torch.zeros(2, 32, 141), torch.ones(2, 32, 141, dtype=torch.bool)
        >>> codec.encode(frames, known).shape
        torch.Size([2, 16, 2])
    """

    def __init__(self, config: PoseGPTConfig) -> None:
        super().__init__()
        self.config = config
        W = config.codec_width
        self.enter = nn.Linear(2 * 2 * FRAME_DIM, W)  # two frames with their flags: a convolution of width and stride 2
        self.encoder = nn.ModuleList(Layer(W, config.codec_heads, 0.0, causal=True) for _ in range(config.codec_layers))
        self.to_code = nn.Sequential(nn.LayerNorm(W), nn.Linear(W, config.code_dim))
        self.quantiser = Quantiser(config)
        self.from_code = nn.Linear(config.code_dim, W)
        self.decoder = nn.ModuleList(Layer(W, config.codec_heads, 0.0, causal=False) for _ in range(config.codec_layers))
        self.leave = nn.Sequential(nn.LayerNorm(W), nn.Linear(W, 2 * FRAME_DIM))

    def _encoded(self, frames: Tensor, known: Tensor) -> Tensor:
        if frames.shape[1] % 2:
            raise InputError(f"a sequence has {frames.shape[1]} frames; PoseGPT's codes cover two each, give an even number")
        both = torch.cat((torch.where(known, frames, torch.zeros_like(frames)), known.to(frames.dtype)), dim=-1)
        tokens = self.enter(both.unflatten(1, (-1, 2)).flatten(2))  # (B, N, D)
        tokens = tokens + sinusoidal_code(torch.arange(tokens.shape[1], device=tokens.device), tokens.shape[2])
        for layer in self.encoder:
            tokens, _ = layer(tokens)
        return self.to_code(tokens)

    def encode(self, frames: Tensor, known: Tensor) -> Tensor:
        """Codes (B, N, C) of frames (B, T, 141); a code depends on its own and earlier frames only."""
        return self.quantiser.nearest(self._encoded(frames, known))

    def decode(self, codes: Tensor, valid: Tensor | None = None) -> Tensor:
        """Frames (B, T, 141) of codes (B, N, C), valid (B, N) bool."""
        return self._decoded(self.quantiser.lookup(codes).flatten(-2), valid)

    def _decoded(self, quantised: Tensor, valid: Tensor | None) -> Tensor:
        tokens = self.from_code(quantised)
        tokens = tokens + sinusoidal_code(torch.arange(tokens.shape[1], device=tokens.device), tokens.shape[2])
        for layer in self.decoder:
            tokens, _ = layer(tokens, valid)
        return self.leave(tokens).unflatten(-1, (2, FRAME_DIM)).flatten(1, 2)

    def loss(self, batch: Batch, generator: torch.Generator | None = None) -> tuple[Tensor, Parts]:
        """L1 on the 141 numbers and on the accumulated wrist paths, and the codebook loss.

        Args:
            batch: frames, known (B, T, 141), mask (B, T) bool, padding at the end. generator: not used.
        """
        frames, mask = batch["frames"], batch["mask"]
        known = batch["known"] & mask.unsqueeze(-1)
        valid = mask.unflatten(1, (-1, 2)).any(-1)
        quantised, _, codebook = self.quantiser(self._encoded(frames, known), valid)
        made = self._decoded(quantised, valid)
        numbers = masked_mean((made - frames).abs(), known)
        unbroken = known[..., _STEPS] | (torch.arange(mask.shape[1], device=mask.device) == 0)[:, None]
        chain = unbroken.long().cumprod(1).bool() & known[..., _STEPS]
        true_path = torch.where(known[..., _STEPS], frames[..., _STEPS], torch.zeros_like(frames[..., _STEPS])).cumsum(1)
        path = masked_mean((made[..., _STEPS].cumsum(1) - true_path).abs(), chain)
        total = numbers + self.config.path_weight * path + self.config.codebook_weight * codebook
        parts = {"numbers": numbers, "path": path, "codebook": codebook}
        return total, {name: value.detach() for name, value in parts.items()}


class MotionGPT(nn.Module):
    """The prior over codes: at every step the action, the length and the codes so far give both next indices.

    Example:
        >>> gpt = MotionGPT(PRESETS["small"]).eval()
        >>> past = torch.zeros(3, 8, 2, dtype=torch.long)
        >>> gpt.sample(past, torch.randn(3, 384), torch.full((3,), 112), torch.Generator().manual_seed(0)).shape
        torch.Size([3, 56, 2])
    """

    def __init__(self, config: PoseGPTConfig) -> None:
        super().__init__()
        self.config = config
        W = config.width
        self.start = nn.Parameter(torch.zeros(config.codebooks, W))
        self.codes = nn.ModuleList(nn.Embedding(config.centroids, W) for _ in range(config.codebooks))
        self.action = nn.Linear(config.label_dim, W)
        self.length = nn.Embedding(config.max_frames + 1, W)
        self.join = nn.Linear((2 + config.codebooks) * W, W)
        self.position = nn.Embedding(config.block, W)
        self.layers = nn.ModuleList(Layer(W, config.heads, config.dropout, causal=True) for _ in range(config.layers))
        self.norm = nn.LayerNorm(W)
        self.heads = nn.ModuleList(nn.Linear(W, config.centroids) for _ in range(config.codebooks))

    def forward(
        self, before: Tensor | None, action: Tensor, length: Tensor, cache: Cache | None = None, first: int = 0
    ) -> tuple[Tensor, Cache]:
        """Logits of each next code.

        Args:
            before: (B, N, C) codes; token n sees codes up to n - 1. Without a cache a start token is put in front, so there
                are N + 1 outputs; None gives the start token alone.
            action: (B, label_dim) text feature. length: (B,) frames of the whole sequence.
            cache: keys and values of the `first` tokens, which then are not given again.

        Returns:
            logits (B, N or N + 1, C, K), and the cache.
        """
        B = len(action)
        embedded: list[Tensor] = []
        count = 0 if before is None else before.shape[1]
        for book, table in enumerate(self.codes):
            parts = [] if cache is not None else [self.start[book].expand(B, 1, -1)]
            if before is not None:
                parts.append(table(before[..., book]))
            embedded.append(torch.cat(parts, dim=1))
        count = embedded[0].shape[1]
        if first + count > self.config.block:
            raise InputError(f"{first + count} codes do not fit the block of {self.config.block}; give a shorter sequence")
        conditions = [self.action(action), self.length(length)]
        given = [condition.unsqueeze(1).expand(B, count, -1) for condition in conditions]
        tokens = self.join(torch.cat((*given, *embedded), dim=-1))
        tokens = tokens + self.position(torch.arange(first, first + count, device=tokens.device))
        kept: Cache = []
        for number, layer in enumerate(self.layers):
            tokens, entries = layer(tokens, None, None if cache is None else cache[number])
            kept.append(entries)
        tokens = self.norm(tokens)
        return torch.stack([head(tokens) for head in self.heads], dim=2), kept

    def loss(self, batch: Batch, generator: torch.Generator | None = None) -> tuple[Tensor, Parts]:
        """Cross-entropy of every code given those before it.

        Args:
            batch: codes (B, N, C), valid (B, N) bool, action (B, label_dim), length (B,) frames. generator: not used
                (dropout draws from torch's own).
        """
        codes, valid = batch["codes"], batch["valid"]
        logits, _ = self(codes[:, :-1], batch["action"], batch["length"])
        entropy = F.cross_entropy(logits.flatten(0, 2), codes.flatten(), reduction="none").view_as(codes)
        loss = masked_mean(entropy, valid.unsqueeze(-1))
        hit = masked_mean((logits.argmax(-1) == codes).to(logits.dtype), valid.unsqueeze(-1))
        return loss, {"cross_entropy": loss.detach(), "accuracy": hit.detach()}

    @torch.no_grad()
    def sample(
        self,
        past: Tensor,
        action: Tensor,
        length: Tensor,
        generator: torch.Generator | None = None,
        cached: bool = True,
    ) -> Tensor:
        """Continue codes to the longest `length`.

        Args:
            past: (B, N, C) observed codes, 8 of them cover 16 frames. action: (B, label_dim); length: (B,) frames.
            generator: explicit random source; with `top_k` 1 nothing is random.
            cached: keep keys and values (the same codes in less time).

        Returns:
            (B, length / 2, C): the observed codes and the new ones.
        """
        codes, cache = past, None
        wanted = int(length.max()) // 2
        while codes.shape[1] < wanted:
            if cache is None or not cached:
                logits, cache = self(codes, action, length)
            else:
                logits, cache = self(codes[:, -1:], action, length, cache, codes.shape[1])
            chosen = self._draw(logits[:, -1], generator)
            codes = torch.cat((codes, chosen.unsqueeze(1)), dim=1)
        return codes

    def _draw(self, logits: Tensor, generator: torch.Generator | None) -> Tensor:
        """Indices (B, C) from logits (B, C, K): the top k, at a temperature."""
        scores = logits / self.config.temperature
        count = min(self.config.top_k, scores.shape[-1])
        best, place = scores.topk(count, dim=-1)
        share = best.softmax(-1).flatten(0, 1)
        drawn = torch.multinomial(share, 1, generator=generator).view(*best.shape[:2], 1)
        return place.gather(-1, drawn).squeeze(-1)


class PoseGPT(nn.Module):
    """A finished codec, frozen, and the prior over its codes.

    Example:
        >>> model = PoseGPT(PRESETS["small"]).eval()
        >>> model.set_labels(["pour"], torch.randn(1, 384))
        >>> model.config.labels
        ('pour',)
    """

    def __init__(self, config: PoseGPTConfig) -> None:
        super().__init__()
        self.config = config
        self.codec = MotionCodec(config).requires_grad_(False)
        self.gpt = MotionGPT(config)
        self.register_buffer("label_features", torch.zeros(len(config.labels), config.label_dim))
        self.label_features: Tensor

    def train(self, mode: bool = True) -> PoseGPT:
        """The codec never changes."""
        super().train(mode)
        self.codec.eval()
        return self

    def set_labels(self, names: Sequence[str], features: Tensor) -> None:
        """The L actions that motion can be asked of, with their text features (L, label_dim)."""
        if tuple(features.shape) != (len(names), self.config.label_dim):
            raise InputError(
                f"label features have shape {tuple(features.shape)}, expected {(len(names), self.config.label_dim)}; "
                "encode each label once with the text encoder of this network"
            )
        self.label_features = F.normalize(features.detach().to(self.label_features), dim=-1)
        self.config = replace(self.config, labels=tuple(names))

    def loss(self, batch: Batch, generator: torch.Generator | None = None) -> tuple[Tensor, Parts]:
        """`MotionGPT.loss` of a batch with codes (B, N, C), valid (B, N), label (B,), length (B,)."""
        action = self.label_features[batch["label"]]
        return self.gpt.loss({**batch, "action": action}, generator)

    @torch.no_grad()
    def predict(
        self,
        observed: Tensor,
        known: Tensor,
        palms: pose_vector.PalmFrames,
        label: Tensor,
        count: int,
        futures: int = 20,
        generator: torch.Generator | None = None,
        planar: bool = False,
    ) -> Tensor:
        """K futures of `count` frames, (B, K, count, 2, 21, 3) metres, at the observed hand size.

        Args:
            observed, known: (B, T, 153) pose vectors of T frames (an even number), the first frame's motion reset, with
                their palm frames (B, T, 2, ...).
            label: (B,) row of the action. What the observation says of its own frames is taken from it, not from its codes.
        """
        T = observed.shape[1]
        code = to_frames(observed, known, planar)
        past = self.codec.encode(code.frames, code.known).repeat_interleave(futures, 0)
        action = self.label_features[label].repeat_interleave(futures, 0)
        length = torch.full((len(past),), T + count + count % 2, device=past.device)
        codes = self.gpt.sample(past, action, length, generator)
        frames = self.codec.decode(codes)
        given, there = (part.repeat_interleave(futures, 0) for part in (code.frames, code.known))
        frames = torch.cat((torch.where(there, given, frames[:, :T]), frames[:, T:]), dim=1)
        rotation, translation, _ = pose_vector.observed_palm(palms, first=True)
        size = pose_vector.observed_hand_size(palms, planar)
        rotation, translation, size = (part.repeat_interleave(futures, 0) for part in (rotation, translation, size))
        joints = to_joints(frames, rotation, translation, size, planar)
        return joints[:, T : T + count].unflatten(0, (-1, futures))

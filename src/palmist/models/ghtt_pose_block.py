"""G-HTT's P-block: 16 observed frames to a mid-level feature, refined frames and the next 16 frames.

The header of `palmist.models.ghtt` names the paper and the numbered deviations; numbers in this file refer to them.
Letters: B batch, T frames, D width.  Masks are True where known or valid.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from palmist.errors import InputError
from palmist.models.global_batch import masked_mean
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
)
from palmist.pose_vector import (
    DIM,
    IDENTITY_6D,
    INTER_HAND,
    LEFT_JOINTS,
    LEFT_MOTION,
    RIGHT_JOINTS,
    RIGHT_MOTION,
    THUMB_CMC_SLOTS,
    accumulate,
)

_JOINTS = slice(LEFT_JOINTS.start, RIGHT_JOINTS.stop)
_MOTIONS = slice(LEFT_MOTION.start, RIGHT_MOTION.stop)
_TRANSFORMS = slice(LEFT_MOTION.start, INTER_HAND.stop)


SKIP_SPREAD = 16.0


@dataclass(frozen=True)
class PBlockConfig:
    """The P-block's size, loss weights and training options; the defaults are the paper's.

    `rate` (frames per second) and `clip_length` say what the weights were trained on. `residual`: deviation 10,
    `refine_layers`: deviation 17.
    """

    layers: int = 9
    width: int = 512
    heads: int = 8
    feedforward: int = 2048
    clip_length: int = 16
    rate: float = 30.0
    drop_thumb_cmc: bool = True
    skip_probability: float = 0.5
    component_weight: float = 1.0
    trajectory_weight: float = 1.0
    kl_weight: float = 1e-5
    log_variance_offset: float = 0.0
    residual: bool = False
    refine_layers: int = 0

    def __post_init__(self) -> None:
        if self.width % 4:
            raise InputError(f"P-block width is {self.width}; the frame token needs a multiple of 4")


class EncodedClip(NamedTuple):
    """What E^P says of a clip."""

    mean: Tensor  # (B, D) of the mid-level m
    log_variance: Tensor  # (B, D)
    tokens: Tensor  # (B, T, D) encoder outputs, the skip tokens
    refined: Tensor  # (B, T, 153)


def clip_features(mean: Tensor, tokens: Tensor, frames: Tensor, pooled: bool) -> Tensor:
    """What the A-block reads of a clip: m, and with `pooled` (deviation 14) the mean of E^P's output tokens behind it.

    mean (..., D), tokens (..., T, D), frames (..., T) bool -> (..., D) or (..., 2 D).
    """
    if not pooled:
        return mean
    weight = frames.unsqueeze(-1).to(tokens.dtype)
    return torch.cat((mean, (tokens * weight).sum(dim=-2) / weight.sum(dim=-2).clamp_min(1.0)), dim=-1)


class FrameMixer(nn.Module):
    """Deviation 10: each output frame starts from a mixture of the observed frames, chosen by attention.

    Five groups of entries (each hand's joints, each palm's motion, the inter-hand transform) mix by themselves. Entries
    that a frame does not know have no weight; a null slot holds the neutral vector. Before training, a refined frame is
    mostly the input frame itself, and a predicted frame repeats the last pose without motion.
    """

    SIZES = (63, 63, 9, 9, 9)

    def __init__(self, width: int) -> None:
        super().__init__()
        groups = len(self.SIZES)
        self.channels = 16
        self.query = Linear(width, groups * self.channels)
        self.key = Linear(width, groups * self.channels)
        with torch.no_grad():
            self.query.weight.mul_(0.1)  # start from the distance alone
        # Rows: refined, predicted. Logits fall by this much per frame of distance, and the null slot's logit.
        self.slope = nn.Parameter(torch.tensor([[1.5] * groups, [3.0] * groups]))
        moving = [-12.0, -12.0, 3.0, 3.0, -12.0]
        self.null = nn.Parameter(torch.tensor([[-12.0] * groups, moving]))

    def forward(self, outputs: Tensor, inputs: Tensor, observed: Tensor, known: Tensor, ahead: bool) -> Tensor:
        """Mixtures less the neutral vector.

        Args:
            outputs: (B, T', D) tokens of the output frames. inputs: (B, T, D) tokens of the observed frames.
            observed, known: (B, T, 153). ahead: the output frames follow the observed ones.

        Returns:
            (B, T', 153).
        """
        row, groups = int(ahead), len(self.SIZES)
        query = self.query(outputs).unflatten(-1, (groups, self.channels))
        key = self.key(inputs).unflatten(-1, (groups, self.channels))
        logits = torch.einsum("btgc,bsgc->bgts", query, key) / self.channels**0.5  # (B, G, T', T)
        frame = torch.arange(inputs.shape[1], device=inputs.device, dtype=logits.dtype)
        distance = frame[-1] - frame if ahead else (frame.unsqueeze(1) - frame).abs()
        logits = logits - self.slope[row][:, None, None] * distance
        null = self.null[row][:, None, None].expand(*logits.shape[:3], 1)
        weight = torch.cat((null, logits), dim=-1).softmax(dim=-1)
        neutral = neutral_vector().to(observed)
        given = torch.where(known, observed - neutral, torch.zeros_like(observed))
        mixed, start = [], 0
        for group, size in enumerate(self.SIZES):
            part = slice(start, start + size)
            share = weight[:, group, :, 1:]
            total = share @ known[..., part].to(given.dtype) + weight[:, group, :, :1]
            mixed.append(share @ given[..., part] / total.clamp_min(1e-9))
            start += size
        return torch.cat(mixed, dim=-1)


class Refiner(nn.Module):
    """Deviation 17: refined frames from layers of their own, which look at the observed frames again."""

    def __init__(self, layers: int, width: int, heads: int) -> None:
        super().__init__()
        self.enter = Linear(2 * DIM, width)
        self.layers = nn.ModuleList(EncoderLayer(width, heads, 2 * width) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = _output_head(width)
        self.mixer = FrameMixer(width)

    def forward(self, tokens: Tensor, observed: Tensor, known: Tensor, frames: Tensor) -> Tensor:
        """tokens (B, T, D) of E^P; observed, known (B, T, 153); frames (B, T) -> refined (B, T, 153)."""
        given = torch.where(known, observed, torch.zeros_like(observed))
        tokens = tokens + self.enter(torch.cat((given, known.to(given.dtype)), dim=-1))
        position = position_table(tokens.shape[1], tokens.shape[2], tokens.device)
        for layer in self.layers:
            tokens = layer(tokens, position.to(tokens.dtype), frames)
        tokens = self.norm(tokens)
        return self.head(tokens) + self.mixer(tokens, tokens, observed, known, ahead=False)


class PBlock(nn.Module):
    """Pose block: a clip of observed frames to its mid-level, refined frames and the next clip.

    Example:
        >>> block = PBlock(PBlockConfig(layers=1, width=32, heads=2, feedforward=64))
        >>> clip = torch.zeros(2, 16, 153)
        >>> code = block.encode(clip, torch.ones_like(clip, dtype=torch.bool), torch.ones(2, 16, dtype=torch.bool))
        >>> block.decode(code.mean).shape
        torch.Size([2, 16, 153])
    """

    def __init__(self, config: PBlockConfig) -> None:
        super().__init__()
        self.config = config
        W = config.width
        self.placeholder = nn.Parameter(torch.randn(DIM))
        self.joints_in = Linear(126, W // 2)
        self.motions_in = Linear(18, W // 4)
        self.inter_hand_in = Linear(9, W // 4)
        self.encoder = VariationalEncoder(config.layers, W, config.heads, config.feedforward, config.log_variance_offset)
        self.decoder = Decoder(config.layers, W, config.heads, config.feedforward)
        # Shared by refined and predicted frames; deviation 10 gives frames decoded from m alone a head of their own.
        self.head = _output_head(W)
        self.own_head = _output_head(W) if config.residual else None
        self.mixer = FrameMixer(W) if config.residual else None
        self.refiner = Refiner(config.refine_layers, W, config.heads) if config.refine_layers else None
        for module in (self.joints_in, self.motions_in, self.inter_hand_in):
            nn.init.xavier_uniform_(module.weight)
        usable = torch.ones(DIM, dtype=torch.bool)
        if config.drop_thumb_cmc:
            for part in THUMB_CMC_SLOTS:
                usable[part] = False
        self.register_buffer("usable", usable, persistent=False)
        self.usable: Tensor
        self.register_buffer("free", free_entries(), persistent=False)
        self.free: Tensor

    def encode(self, observed: Tensor, known: Tensor, frames: Tensor) -> EncodedClip:
        """Encode clips.

        Args:
            observed: (B, T, 153) pose vectors (`palmist.pose_vector`), first frame's motion reset.
            known: (B, T, 153) bool; the values of unknown entries are never looked at.
            frames: (B, T) bool; other frames are padding.

        Returns:
            The posterior of the mid-level, the skip tokens and the refined frames.
        """
        known = known & self.usable & frames.unsqueeze(-1)
        vector = torch.where(known, observed, self.placeholder.to(observed.dtype))
        tokens = torch.cat(
            (
                self.joints_in(vector[..., _JOINTS]),
                self.motions_in(vector[..., _MOTIONS]),
                self.inter_hand_in(vector[..., INTER_HAND]),
            ),
            dim=-1,
        )  # (B, T, D)
        mean, log_variance, tokens = self.encoder(tokens, frames)
        if self.refiner is not None:
            refined = self.refiner(tokens, observed, known, frames)
        else:
            refined = self.head(tokens)
            if self.mixer is not None:
                refined = refined + self.mixer(tokens, tokens, observed, known, ahead=False)
        return EncodedClip(mean, log_variance, tokens, refined * self.free)

    @property
    def skip_spread(self) -> float:
        """What the sampling factor is multiplied by where skip tokens join (deviation 12)."""
        return SKIP_SPREAD if self.config.residual else 1.0

    @property
    def future_head(self) -> nn.Module:
        """The head of frames that are decoded from m alone."""
        return self.head if self.own_head is None else self.own_head

    def decode(
        self,
        mid_level: Tensor,
        tokens: Tensor | None = None,
        frames: Tensor | None = None,
        observed: Tensor | None = None,
        known: Tensor | None = None,
    ) -> Tensor:
        """Decode mid-levels to the next clip.

        Args:
            mid_level: (B, D).
            tokens: (B, T, D) the skip tokens, with frames (B, T) bool.
            observed, known: (B, T, 153) the clips that the tokens encode; needed with tokens in a `residual` block.

        Returns:
            (B, T, 153); the first motion is relative to the last frame of the encoded clip.
        """
        memory, visible = mid_level.unsqueeze(1), None
        if tokens is None:
            return self.future_head(self.decoder(self.config.clip_length, memory, visible)) * self.free
        memory = torch.cat((memory, tokens), dim=1)  # (B, 1 + T, D)
        visible = None if frames is None else F.pad(frames, (1, 0), value=True)
        decoded = self.decoder(self.config.clip_length, memory, visible)
        predicted = self.head(decoded)
        if self.mixer is not None:
            if observed is None or known is None:
                raise InputError("a residual P-block decodes skip tokens together with the clip that they encode")
            known = known & self.usable
            if frames is not None:
                known = known & frames.unsqueeze(-1)
            predicted = predicted + self.mixer(decoded, tokens, observed, known, ahead=True)
        return predicted * self.free

    def continue_clip(self, mid_levels: Tensor, tokens: Tensor, frames: Tensor, observed: Tensor, known: Tensor) -> Tensor:
        """K continuations of each clip with skip tokens: the numbers of `decode` in less time.

        mid_levels: (B, K, D); the other arguments are those of `decode`.  Returns (B, K, T, 153).
        """
        K, T = mid_levels.shape[1], self.config.clip_length
        decoded = self.decoder.decode_shared(T, mid_levels, tokens, frames).flatten(1, 2)  # (B, K * T, D)
        predicted = self.head(decoded)
        if self.mixer is not None:
            known = known & self.usable & frames.unsqueeze(-1)
            predicted = predicted + self.mixer(decoded, tokens, observed, known, ahead=True)
        return (predicted * self.free).unflatten(1, (K, T))

    def decode_collapsed(self, mid_level: Tensor) -> Tensor:
        """`decode(mid_level)` without skip tokens in less time: same numbers to rounding.  (B, D) -> (B, T, 153)."""
        return self.future_head(self.decoder.decode_single(self.config.clip_length, mid_level)) * self.free

    def loss(self, batch: Batch, generator: torch.Generator | None = None) -> tuple[Tensor, Parts]:
        """Total loss (specification 5.2) and its parts.

        In training mode m is sampled and skip tokens join with `skip_probability` (one draw per batch); in evaluation
        mode m = mu and there is no skip.

        Args:
            batch: observed (noisy), observed_clean, observed_known (B, T, 153), observed_axes (B, T, 3, 3),
                observed_frames (B, T); the same for future, future_known, future_axes, future_frames; optional `rows` =
                (first, total), see `standard_normal`.
            generator: explicit random source.
        """
        config = self.config
        observed_frames, future_frames = batch["observed_frames"], batch["future_frames"]
        code = self.encode(batch["observed"], batch["observed_known"], observed_frames)
        mid_level = code.mean
        tokens: Tensor | None = None
        if self.training:
            mid_level = sample_latent(code.mean, code.log_variance, 1.0, generator, batch.get("rows"))
            tokens = code.tokens if draw_skip(config.skip_probability, code.mean, generator) else None
        predicted = self.decode(mid_level, tokens, observed_frames, batch["observed"], batch["observed_known"])
        with torch.autocast(predicted.device.type, enabled=False):
            known = batch["future_known"] & self.usable & future_frames.unsqueeze(-1)
            observed_known = batch["observed_known"] & self.usable & observed_frames.unsqueeze(-1)
            parts = {
                "observed": component_loss(
                    code.refined.float(), batch["observed_clean"], observed_known, batch["observed_axes"]
                ),
                "future": component_loss(predicted.float(), batch["future"], known, batch["future_axes"]),
                "trajectory": trajectory_loss(predicted.float(), batch["future"], known, batch["future_axes"]),
                "kl": kl_divergence(code.mean.float(), code.log_variance.float()),
            }
            total = (
                config.component_weight * (parts["observed"] + parts["future"])
                + config.trajectory_weight * parts["trajectory"]
                + config.kl_weight * parts["kl"]
            )
        return total, {name: value.detach() for name, value in parts.items()}

    def refinement_loss(self, batch: Batch) -> tuple[Tensor, Parts]:
        """The observed clip's part of `loss` alone, which is all that a refiner is trained by."""
        code = self.encode(batch["observed"], batch["observed_known"], batch["observed_frames"])
        known = batch["observed_known"] & self.usable & batch["observed_frames"].unsqueeze(-1)
        with torch.autocast(code.refined.device.type, enabled=False):
            loss = component_loss(code.refined.float(), batch["observed_clean"], known, batch["observed_axes"])
        return loss, {"observed": loss.detach()}


def free_entries() -> Tensor:
    """1 at the entries that the head decides, 0 at the two wrists, the origins of their palm frames (deviation 9)."""
    free = torch.ones(DIM)
    for part in (LEFT_JOINTS, RIGHT_JOINTS):
        free[part.start : part.start + 3] = 0
    return free


def _output_head(width: int) -> nn.Sequential:
    """MLP to the 153 numbers that starts close to the neutral vector (deviation 8)."""
    last = Linear(width, DIM)
    head = nn.Sequential(Linear(width, width), nn.LeakyReLU(), Linear(width, width), nn.LeakyReLU(), last)
    for module in head:
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
    with torch.no_grad():
        last.bias.copy_(neutral_vector())
        last.weight.mul_(0.01)
    return head


def neutral_vector() -> Tensor:
    """The pose vector of a hand pair that is not known: zeros and identity rotations, (153,)."""
    transform = torch.tensor([*IDENTITY_6D, 0.0, 0.0, 0.0])
    return torch.cat((torch.zeros(_TRANSFORMS.start), transform.repeat(3)))


def remove_component(residual: Tensor, axis: Tensor) -> Tensor:
    """Take the component along `axis` (unit or zero vector) out of `residual`; both (..., 3)."""
    return residual - (residual * axis).sum(dim=-1, keepdim=True) * axis


def component_loss(predicted: Tensor, target: Tensor, known: Tensor, depth_axes: Tensor) -> Tensor:
    """L_comp: mean absolute error over the known numbers, without the unknown direction of the translations.

    predicted, target, known (B, T, 153); depth_axes (B, T, 3, 3) for left motion, right motion, inter-hand -> scalar.
    """
    residual = torch.where(known, predicted - target, torch.zeros_like(predicted))
    transforms = residual[..., _TRANSFORMS].unflatten(-1, (3, 9))  # (B, T, 3, 9)
    shifts = remove_component(transforms[..., 6:], depth_axes)
    transforms = torch.cat((transforms[..., :6], shifts), dim=-1).flatten(-2)
    return masked_mean(torch.cat((residual[..., _JOINTS], transforms), dim=-1).abs(), known)


def trajectory_loss(predicted: Tensor, target: Tensor, known: Tensor, depth_axes: Tensor) -> Tensor:
    """L_trj: L1 between accumulated transforms frame -> last observed frame; 6D rotation, 10 x translation, per hand.

    A frame counts for a hand if the hand is seen in it and every motion of the hand between the last observed frame
    and it is known; a hand out of sight for a while comes back with its motion since it was last seen, which keeps the
    chain.  Arguments as in `component_loss`; the unknown direction in the base frame is that of the first future
    frame's motions, which are written in the base frame.
    """
    motion_known = known[..., _MOTIONS].unflatten(-1, (2, 9))  # (B, T, 2, 9)
    moved = motion_known.any(dim=-1)
    seen = torch.stack([known[..., part].any(dim=-1) for part in (LEFT_JOINTS, RIGHT_JOINTS)], dim=-1)
    broken = (seen & ~moved).cumsum(dim=1) > 0  # (B, T, 2)
    ever = motion_known.any(dim=1, keepdim=True)  # (B, 1, 2, 9): planar recordings never know some entries
    counted = (moved & ~broken).unsqueeze(-1) & ever
    neutral = neutral_vector().to(predicted)
    target = torch.where(known, target, neutral)
    # Entries that are never known must not turn the prediction: they take their neutral value.
    never = F.pad(~ever.flatten(-2), (_MOTIONS.start, DIM - _MOTIONS.stop))  # (B, 1, 153)
    rotation, translation = accumulate(torch.where(never, neutral, predicted))
    true_rotation, true_translation = accumulate(target)
    turns = (rotation - true_rotation)[..., :2, :].flatten(-2)  # (B, T, 2, 6): the two rows of the 6D rotation
    shifts = torch.where(counted[..., 6:], translation - true_translation, torch.zeros_like(translation))
    shifts = remove_component(shifts, depth_axes[:, :1, :2])
    return masked_mean(torch.cat((turns, shifts), dim=-1).abs(), counted)

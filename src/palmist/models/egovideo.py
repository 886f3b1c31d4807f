"""EgoVideo: a video tower that looks twice, at few and at many frames, and a text tower, aligned by a contrastive loss.

Paper: "Modeling Fine-Grained Hand-Object Dynamics for Egocentric Video Representation Learning" (Pei et al., ICLR 2025, arXiv
2503.00986). The same transformer sees T frames (sparse pass) and 4 T frames (dense pass); after each block of the dense pass a
small motion adapter mixes every place over time; both vectors are fused and compared with the text's.

In reading order: weights that may be held fast, transformer block, `MotionAdapter`, `VideoTower`, `TextTower`, `EgoVideo`, and
the losses: InfoNCE over the global batch, EgoNCE (Lin et al., NeurIPS 2022), hand boxes (Helping Hands, Zhang et al., ICCV
2023), max-margin ranking.

Numbered deviations from the released code, and choices, and why:

1. In the dense pass the tower's weights are constants and activations keep their gradient, so that every block's adapter
   learns. The released code cuts activations at every block: only its last adapter learns. `dense_weights` "trained" lets
   the dense pass train the tower too, which a tower that begins from random weights needs.
2. The sparse pass has gradient whatever the number of tokens, and the released code's rule (785 tokens) is not kept.
3. The table of times is resized with its gradient; the released code wraps the result in a new parameter.
4. One normalisation for all frames: CLIP's mean and spread of values from 0 to 1.
5. The adapter is told (T, H, W); nothing is fixed to 14 x 14 places or 16 frames. There is one adapter for each block; the
   second one of the released code is never used.
6. `adapter` "spatial" (the probable design of the paper) puts a 3 x 3 convolution and a ReLU for each frame before the
   convolution over time; "temporal" is the released form. The batch normalisation of the released code's unused variant is
   left out, as a typing error keeps it from running there.
7. The sparse frames are the middle ones of T equal parts of the dense frames; the released loader reads them separately.
8. The text tower keeps CLIP's QuickGELU; the video tower has GELU, as the released code.
9. Hand boxes come from the mean patch token of each sparse frame by an MLP; the paper's head is not known.
10. `stem` "convolutions" (preset "small", ours) puts three strided convolutions before the patches: a transformer that begins
    from random weights learns little from small data without them. `learn_temperature` is off in the released code.
11. The class token bypasses the adapters, so that what the last one does would reach no vector and it would never learn. The
    mean of its change over all patches is added to the class token.

Letters: B clips, T frames, H W patches down and across, N tokens, D width, E embedding, L text tokens, h hidden width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from palmist.errors import InputError
from palmist.models.global_batch import gather_rows
from palmist.models.layers import Batch, Parts, affine

__all__ = [
    "PRESETS", "EgoVideo", "EgoVideoConfig", "MotionAdapter", "VideoTower", "ego_nce", "hand_box_loss", "info_nce",
    "max_margin_ranking",
]  # fmt: skip

_MEAN, _SPREAD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # of CLIP's pictures
ADAPTERS = ("temporal", "spatial", "none")
LOSSES = ("info_nce", "ego_nce", "max_margin")


@dataclass(frozen=True)
class EgoVideoConfig:
    """Sizes and mechanisms; the defaults are EgoVideo-B.

    size, patch: side of a frame and of a patch in pixels; sparse_frames, dense_frames: T of the two passes. dense_frames None:
    the sparse pass alone (the base model). adapter: a name in ADAPTERS. dense_weights: "held" or "trained" (deviation 1).
    vocabulary: number of text tokens, the last one ends a text. stem: "none" or "convolutions" (deviation 10).
    loss: a name in LOSSES; hand_boxes: weight of the hand-box loss, 0 for no head.
    """

    size: int = 224
    patch: int = 16
    stem: str = "none"
    width: int = 768
    layers: int = 12
    heads: int = 12
    sparse_frames: int = 4
    dense_frames: int | None = 16
    adapter: str = "temporal"
    dense_weights: str = "held"
    text_width: int = 512
    text_layers: int = 12
    text_heads: int = 8
    text_length: int = 77
    vocabulary: int = 49408
    embedding: int = 512
    temperature: float = 0.07
    learn_temperature: bool = False
    loss: str = "info_nce"
    hand_boxes: float = 0.0

    def __post_init__(self) -> None:
        if self.size % self.patch:
            raise InputError(f"size {self.size} is not a multiple of the patch, {self.patch}; expected whole patches")
        for what, width, heads in (("width", self.width, self.heads), ("text_width", self.text_width, self.text_heads)):
            if width % heads:
                raise InputError(f"{what} {width} is not a multiple of its {heads} heads; expected one that is")
        dense = self.dense_frames
        if self.sparse_frames < 1 or (dense is not None and (dense < self.sparse_frames or dense % self.sparse_frames)):
            raise InputError(
                f"sparse_frames is {self.sparse_frames}, dense_frames {dense}; expected a whole multiple of the sparse frames"
            )
        for what, value, allowed in (
            ("adapter", self.adapter, ADAPTERS),
            ("loss", self.loss, LOSSES),
            ("dense_weights", self.dense_weights, ("held", "trained")),
            ("stem", self.stem, ("none", "convolutions")),
        ):
            if value not in allowed:
                raise InputError(f"{what} is '{value}'; expected one of {', '.join(allowed)}")
        if self.stem == "convolutions" and self.patch % 8:
            raise InputError(
                f"patch is {self.patch} behind convolutions that halve a frame three times; expected a multiple of 8"
            )
        if self.temperature <= 0:
            raise InputError(f"temperature is {self.temperature}; expected a number above 0")

    @property
    def frames(self) -> int:
        """T of a clip as `EgoVideo` takes it."""
        return self.dense_frames or self.sparse_frames


PRESETS: dict[str, EgoVideoConfig] = {
    "base": EgoVideoConfig(),
    "large": EgoVideoConfig(size=336, patch=14, width=1024, layers=24, heads=16, text_width=768, text_heads=12),
    "small": EgoVideoConfig(
        size=64,
        stem="convolutions",
        width=128,
        layers=4,
        heads=4,
        sparse_frames=2,
        dense_frames=8,
        dense_weights="trained",
        text_width=96,
        text_layers=2,
        text_heads=4,
        text_length=64,
        vocabulary=1024,
        embedding=96,
        learn_temperature=True,
    ),
}


# --------------------------------------------------------------------------------------------------------------------
# Transformer block


def weight_of(parameter: Tensor, held: bool) -> Tensor:
    """The parameter, or where it is held fast the same numbers without a gradient of their own."""
    return parameter.detach() if held else parameter


def linear(x: Tensor, layer: nn.Linear, held: bool) -> Tensor:
    return affine(x, weight_of(layer.weight, held), None if layer.bias is None else weight_of(layer.bias, held))


def layer_norm(x: Tensor, layer: nn.LayerNorm, held: bool) -> Tensor:
    return F.layer_norm(x, layer.normalized_shape, weight_of(layer.weight, held), weight_of(layer.bias, held), layer.eps)


class SelfAttention(nn.Module):
    """Multi-head attention with CLIP's names."""

    def __init__(self, width: int, heads: int, layers: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.randn(3 * width, width) * width**-0.5)
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out = nn.Linear(width, width)
        nn.init.normal_(self.out.weight, std=(2 * width * layers) ** -0.5)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor, causal: bool = False, held: bool = False) -> Tensor:
        B, N, D = x.shape
        projected = affine(x, weight_of(self.in_proj_weight, held), weight_of(self.in_proj_bias, held))
        query, key, value = projected.view(B, N, 3, self.heads, D // self.heads).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=causal)  # (B, heads, N, D / heads)
        return linear(mixed.transpose(1, 2).reshape(B, N, D), self.out, held)


class QuickGELU(nn.Module):
    """x sigmoid(1.702 x)."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)


class Block(nn.Module):
    """Pre-norm attention and MLP."""

    def __init__(self, width: int, heads: int, layers: int, activation: nn.Module) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = SelfAttention(width, heads, layers)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), activation, nn.Linear(4 * width, width))
        for layer, spread in ((self.mlp[0], (2 * width) ** -0.5), (self.mlp[2], (2 * width * layers) ** -0.5)):
            assert isinstance(layer, nn.Linear)
            nn.init.normal_(layer.weight, std=spread)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, causal: bool = False, held: bool = False) -> Tensor:
        """(B, N, D) -> (B, N, D); held: the weights are constants."""
        x = x + self.attention(layer_norm(x, self.norm1, held), causal, held)
        inside, outside = self.mlp[0], self.mlp[2]
        assert isinstance(inside, nn.Linear)
        assert isinstance(outside, nn.Linear)
        return x + linear(self.mlp[1](linear(layer_norm(x, self.norm2, held), inside, held)), outside, held)


class MotionAdapter(nn.Module):
    """X + gamma ((Z + pointwise(depthwise(Z))) W_up + b), Z = GELU(X W_down + b); the convolutions run over time at each place.

    W_up begins at zero, so that the adapter begins as the identity. kind: "temporal" or "spatial" (deviation 6).

    Example:
        >>> adapter = MotionAdapter(768)
        >>> sum(parameter.numel() for parameter in adapter.parameters())
        740353
    """

    def __init__(self, width: int, kind: str = "temporal") -> None:
        super().__init__()
        h = width // 2
        self.down, self.up = nn.Linear(width, h), nn.Linear(h, width)
        self.depthwise = nn.Conv1d(h, h, 3, padding=1, groups=h)
        self.pointwise = nn.Conv1d(h, h, 1)
        self.spatial = nn.Conv2d(h, h, 3, padding=1) if kind == "spatial" else None
        self.gamma = nn.Parameter(torch.ones(()))
        nn.init.trunc_normal_(self.down.weight, std=0.02)
        for matrix in (self.up.weight, self.up.bias, self.down.bias, self.depthwise.bias, self.pointwise.bias):
            assert matrix is not None
            nn.init.zeros_(matrix)
        nn.init.normal_(self.depthwise.weight, std=math.sqrt(2 / 3))
        nn.init.normal_(self.pointwise.weight, std=math.sqrt(2 / h))

    def forward(self, patches: Tensor, grid: tuple[int, int, int]) -> Tensor:
        """(B, T H W, D) with grid (T, H, W) -> the same shape. InputError where the grid does not fit."""
        B, N, _ = patches.shape
        T, H, W = grid
        if T * H * W != N:
            raise InputError(f"there are {N} patch tokens; expected {T} x {H} x {W}")
        z = F.gelu(self.down(patches))  # (B, T H W, h)
        h = z.shape[-1]
        y = z
        if self.spatial is not None:
            images = y.view(B * T, H, W, h).permute(0, 3, 1, 2)
            y = F.relu(self.spatial(images)).permute(0, 2, 3, 1).reshape(B, N, h)
        series = y.view(B, T, H * W, h).permute(0, 2, 3, 1).reshape(B * H * W, h, T)
        series = self.pointwise(self.depthwise(series))
        y = series.view(B, H * W, h, T).permute(0, 3, 1, 2).reshape(B, N, h)
        result: Tensor = patches + self.gamma * self.up(z + y)
        return result


# --------------------------------------------------------------------------------------------------------------------
# Towers


class VideoTower(nn.Module):
    """Joint attention of all patches of all frames and one class token; CLIP's names. The class token is the clip's vector."""

    def __init__(self, config: EgoVideoConfig) -> None:
        super().__init__()
        self.config = config
        D, side = config.width, config.size // config.patch
        channels, patch = 3, config.patch
        self.stem = None
        if config.stem == "convolutions":
            channels, patch = 64, config.patch // 8
            self.stem = nn.Sequential(
                nn.Conv2d(3, 16, 3, 2, 1),
                nn.GELU(),
                nn.Conv2d(16, 32, 3, 2, 1),
                nn.GELU(),
                nn.Conv2d(32, 64, 3, 2, 1),
                nn.GELU(),
            )
        self.patch_side = patch
        self.patch = nn.Linear(channels * patch * patch, D, bias=False)
        self.class_token = nn.Parameter(torch.randn(D) * D**-0.5)
        self.class_position = nn.Parameter(torch.randn(D) * D**-0.5)
        self.position = nn.Parameter(torch.randn(side * side, D) * D**-0.5)
        self.time = nn.Parameter(torch.zeros(config.frames, D))
        self.before = nn.LayerNorm(D)
        self.blocks = nn.ModuleList(Block(D, config.heads, config.layers, nn.GELU()) for _ in range(config.layers))
        self.adapters = nn.ModuleList(
            MotionAdapter(D, config.adapter)
            for _ in range(config.layers if config.adapter != "none" and config.dense_frames else 0)
        )
        self.after = nn.LayerNorm(D)
        self.projection = nn.Linear(D, config.embedding, bias=False)
        nn.init.normal_(self.projection.weight, std=D**-0.5)

    def forward(self, video: Tensor, dense: bool = False) -> tuple[Tensor, Tensor]:
        """One pass over normalised frames (B, T, 3, S, S): vector (B, E) and patch tokens (B, T, H W, D).

        dense: adapters are used, and the tower's weights are held fast unless the configuration trains them.
        """
        B, T = video.shape[:2]
        held = dense and self.config.dense_weights == "held"
        patches, (H, W) = self._patches(video.flatten(0, 1), held)  # (B T, H W, D)
        place = weight_of(self.position, held).view(1, 1, H * W, -1)
        patches = patches.view(B, T, H * W, -1) + place + resized(self.time, T).view(1, T, 1, -1)  # times learn in both passes
        first = weight_of(self.class_token, held) + weight_of(self.class_position, held)
        x = torch.cat((first.expand(B, 1, -1), patches.flatten(1, 2)), 1)  # (B, 1 + T H W, D)
        x = layer_norm(x, self.before, held)
        for number, block in enumerate(self.blocks):
            x = block(x, held=held)
            if dense and self.adapters:
                first, patches = x[:, :1], x[:, 1:]
                adapted = self.adapters[number](patches, (T, H, W))
                if number == len(self.blocks) - 1:  # no block follows that would carry it to the class token: deviation 11
                    first = first + (adapted - patches).mean(1, keepdim=True)
                x = torch.cat((first, adapted), 1)
        vector = self.projection(layer_norm(x[:, 0], self.after, held))
        return vector, x[:, 1:].unflatten(1, (T, H * W))

    def _patches(self, frames: Tensor, held: bool) -> tuple[Tensor, tuple[int, int]]:
        """(F, 3, S, S) -> (F, H W, D), rows of the picture one after the other."""
        if self.stem is not None:
            for layer in self.stem:
                if isinstance(layer, nn.Conv2d):
                    assert layer.bias is not None
                    weight, bias = weight_of(layer.weight, held), weight_of(layer.bias, held)
                    frames = F.conv2d(frames, weight, bias, layer.stride, layer.padding)
                else:
                    frames = layer(frames)
        side = self.patch_side
        H, W = frames.shape[2] // side, frames.shape[3] // side
        flat = frames.unflatten(2, (H, side)).unflatten(4, (W, side)).permute(0, 2, 4, 1, 3, 5)  # (F, H, W, C, side, side)
        return linear(flat.flatten(3).flatten(1, 2), self.patch, held), (H, W)


def resized(table: Tensor, frames: int) -> Tensor:
    """A table of times (T', D) for another number of frames, (T, D): linear, and its gradient goes through."""
    if len(table) == frames:
        return table
    return F.interpolate(table.t()[None], size=frames, mode="linear", align_corners=False)[0].t()


class TextTower(nn.Module):
    """CLIP's causal transformer; the token that ends the text gives the vector."""

    def __init__(self, config: EgoVideoConfig) -> None:
        super().__init__()
        D = config.text_width
        self.end = config.vocabulary - 1
        self.tokens = nn.Embedding(config.vocabulary, D)
        self.position = nn.Parameter(torch.randn(config.text_length, D) * 0.01)
        self.blocks = nn.ModuleList(
            Block(D, config.text_heads, config.text_layers, QuickGELU()) for _ in range(config.text_layers)
        )
        self.after = nn.LayerNorm(D)
        self.projection = nn.Linear(D, config.embedding, bias=False)
        nn.init.normal_(self.tokens.weight, std=0.02)
        nn.init.normal_(self.projection.weight, std=D**-0.5)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, L) token numbers, each row with an end -> (B, E). InputError for a text that never ends or is too long."""
        if tokens.shape[1] > len(self.position):
            raise InputError(f"texts have {tokens.shape[1]} tokens; expected {len(self.position)} at most")
        ends = tokens == self.end
        if not bool(ends.any(1).all()):
            raise InputError(f"a text lacks the token that ends it, {self.end}; expected texts from the model's own tokenizer")
        last = int(ends.int().argmax(1).max()) + 1  # what follows the longest text is seen by none
        x = self.tokens(tokens[:, :last]) + self.position[:last]
        for block in self.blocks:
            x = block(x, causal=True)
        x = self.after(x[torch.arange(len(x), device=x.device), ends.int().argmax(1)])
        result: Tensor = self.projection(x)
        return result


# --------------------------------------------------------------------------------------------------------------------
# The two towers


class EgoVideo(nn.Module):
    """Clips and texts to unit vectors of one space.

    Example:
        >>> network = EgoVideo(PRESETS["small"]).eval()
        >>> network.embed_video(torch.zeros(2, 8, 64, 64, 3, dtype=torch.uint8)).shape
        torch.Size([2, 96])
    """

    mean: Tensor
    spread: Tensor

    def __init__(self, config: EgoVideoConfig) -> None:
        super().__init__()
        self.config = config
        E = config.embedding
        self.vision, self.text = VideoTower(config), TextTower(config)
        self.fusion = nn.Linear(2 * E, E, bias=False) if config.dense_frames else None
        if self.fusion is not None:
            nn.init.trunc_normal_(self.fusion.weight, std=(2 * E) ** -0.5)
        self.boxes = None
        if config.hand_boxes:
            self.boxes = nn.Sequential(nn.Linear(config.width, config.width), nn.GELU(), nn.Linear(config.width, 8))
        scale = torch.tensor(math.log(1 / config.temperature))
        self.log_scale = nn.Parameter(scale, requires_grad=config.learn_temperature)
        self.register_buffer("mean", torch.tensor(_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("spread", torch.tensor(_SPREAD).view(3, 1, 1), persistent=False)

    def embed_video(self, video: Tensor) -> Tensor:
        """Unit vectors (B, E) of clips (B, T, S, S, 3), uint8 or 0 to 1; T is `config.frames`. InputError for other shapes."""
        return self._look(video)[0]

    def embed_text(self, tokens: Tensor) -> Tensor:
        """Unit vectors (B, E) of texts, (B, L) token numbers."""
        return F.normalize(self.text(tokens), dim=-1)

    def _look(self, video: Tensor) -> tuple[Tensor, Tensor]:
        """Unit vectors (B, E), and the patch tokens of the sparse pass (B, T, H W, D)."""
        T, S = self.config.frames, self.config.size
        if video.dim() != 5 or video.shape[1:] != (T, S, S, 3):
            raise InputError(f"the video has shape {tuple(video.shape)}; expected (B, {T}, {S}, {S}, 3)")
        whole = video.to(self.mean.dtype) / 255 if video.dtype == torch.uint8 else video
        whole = (whole.permute(0, 1, 4, 2, 3) - self.mean) / self.spread  # (B, T, 3, S, S)
        if self.fusion is None:
            vector, patches = self.vision(whole)
            return F.normalize(vector, dim=-1), patches
        every = T // self.config.sparse_frames
        sparse, patches = self.vision(whole[:, every // 2 :: every])
        dense, _ = self.vision(whole, dense=True)
        return F.normalize(self.fusion(torch.cat((sparse, dense), -1)), dim=-1), patches

    def loss(self, batch: Batch, generator: torch.Generator | None = None) -> tuple[Tensor, Parts]:
        """The contrastive loss over the global batch, and the hand-box loss where it has a weight.

        Args:
            batch: video (B, T, S, S, 3), tokens (B, L); for EgoNCE verbs (B, V) and nouns (B, M) bool, each text's classes;
                for hand boxes boxes (B, 2, T_sparse, 4) from 0 to 1 and boxes_known (B, 2) bool.
        """
        clips, patches = self._look(batch["video"])
        texts = self.embed_text(batch["tokens"])
        all_clips, all_texts = gather_rows(clips.float()), gather_rows(texts.float())
        similarity = all_clips @ all_texts.t()
        scale = self.log_scale.exp().clamp(max=100)
        if self.config.loss == "ego_nce":
            verbs, nouns = gather_rows(batch["verbs"].float()), gather_rows(batch["nouns"].float())
            loss = ego_nce(similarity, verbs, nouns)
        elif self.config.loss == "max_margin":
            loss = max_margin_ranking(similarity)
        else:
            loss = info_nce(similarity * scale)
        row = torch.arange(len(similarity), device=similarity.device)
        parts = {"found_of_batch": (similarity.argmax(1) == row).float().mean().detach()}
        if self.boxes is not None:
            found = self.boxes(patches.mean(2)).sigmoid()  # (B, T_sparse, 8)
            left_right = found.unflatten(-1, (2, 4)).transpose(1, 2)  # (B, 2, T_sparse, 4)
            parts["hand_boxes"] = hand_box_loss(left_right, batch["boxes"], batch["boxes_known"])
            loss = loss + self.config.hand_boxes * parts["hand_boxes"]
        return loss, {**parts, "scale": scale.detach()}


# --------------------------------------------------------------------------------------------------------------------
# Losses


def info_nce(logits: Tensor) -> Tensor:
    """Symmetric cross-entropy of (B, B) scaled similarities, clips down and texts across; pairs lie on the diagonal."""
    row = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, row) + F.cross_entropy(logits.t(), row)) / 2


def ego_nce(similarity: Tensor, verbs: Tensor, nouns: Tensor, temperature: float = 0.05) -> Tensor:
    """EgoNCE: minus the logarithm of the summed probability of all positives, both directions.

    Positives of a row are its own pair and every pair that shares a verb class and a noun class with it.

    Args:
        similarity: (B, B) cosines; verbs (B, V), nouns (B, M): 1 where a text has the class.
    """
    positive = ((verbs @ verbs.t()) > 0) & ((nouns @ nouns.t()) > 0)
    positive |= torch.eye(len(similarity), dtype=torch.bool, device=similarity.device)
    logits = similarity / temperature
    there = torch.where(positive, logits, -torch.inf)
    forward = logits.logsumexp(1) - there.logsumexp(1)
    back = logits.logsumexp(0) - there.logsumexp(0)  # positives are symmetric
    return (forward.mean() + back.mean()) / 2


def hand_box_loss(found: Tensor, boxes: Tensor, known: Tensor) -> Tensor:
    """L1 between boxes (B, 2, T, 4): for each side the sum over the clips where it is known / (their number x T); mean of both.

    Source: the released code of EgoVideo, for T = 4, after Helping Hands.
    """
    weight = known[..., None, None].to(found.dtype)  # (B, 2, 1, 1)
    summed = (torch.where(weight > 0, (found - boxes).abs(), 0.0)).sum((0, 2, 3))  # (2,)
    return (summed / (known.sum(0).clamp_min(1) * found.shape[2])).mean()


def max_margin_ranking(similarity: Tensor, margin: float = 0.2) -> Tensor:
    """Mean of max(0, margin - s_ii + s_ij) over both directions and all pairs off the diagonal, for (B, B) similarities."""
    own = similarity.diagonal()
    cost = F.relu(margin - own[:, None] + similarity) + F.relu(margin - own[None, :] + similarity)
    others = ~torch.eye(len(similarity), dtype=torch.bool, device=similarity.device)
    return cost[others].sum() / (2 * others.sum().clamp_min(1))

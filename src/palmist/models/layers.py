"""Transformer parts shared by the two blocks of G-HTT.

What is implemented: pre-norm encoder and decoder layers whose sinusoidal position code is added to queries and keys
in *every* layer and never to values (as in DETR), GELU, no dropout, a final LayerNorm, Xavier-uniform matrices; a
variational encoder with a trainable mean token and a trainable log-variance token in front; sampling and KL term.

Letters: B batch, N tokens, M memory tokens, D width, E heads.  Masks are True where a token is *visible*.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from palmist.errors import InputError

Batch = Mapping[str, Any]
Parts = dict[str, Tensor]


def sinusoidal_code(positions: Tensor, width: int) -> Tensor:
    """Sinusoidal code of integer positions, base 10000, sine and cosine interleaved.

    Args:
        positions: (...) whole numbers, any integer or float type.
        width: number of channels D, even.

    Returns:
        (..., D) float code: channel 2i is sin(p / 10000^(2i/D)), channel 2i+1 the cosine.

    Example:
        >>> sinusoidal_code(torch.arange(16), 128).shape
        torch.Size([16, 128])
    """
    pairs = torch.arange(0, width, 2, device=positions.device, dtype=torch.float32)
    angle = positions.to(torch.float32).unsqueeze(-1) / torch.pow(10000.0, pairs / width)
    return torch.stack((angle.sin(), angle.cos()), dim=-1).flatten(-2)


@lru_cache(maxsize=64)
def position_table(count: int, width: int, device: torch.device) -> Tensor:
    """`sinusoidal_code` of 0, 1, 2, ..., (count, width), kept between calls; do not write to it."""
    with torch.inference_mode(False), torch.no_grad():  # such a table also serves training
        return sinusoidal_code(torch.arange(count, device=device), width)


def standard_normal(
    shape: tuple[int, ...] | torch.Size,
    like: Tensor,
    generator: torch.Generator | None,
    rows: tuple[int, int] | None = None,
) -> Tensor:
    """Standard normal numbers of `shape` on the device and in the type of `like`.

    A generator may live on another device than `like` (a CPU generator makes the same draw everywhere); None = torch's
    own.  `rows` = (first, total) says that this batch is a part of a larger one (`palmist.models.global_batch`): the whole is
    drawn and the part cut out.
    """
    first, total = rows if rows is not None else (0, shape[0])
    device = generator.device if generator is not None else like.device
    noise = torch.randn((total, *shape[1:]), generator=generator, device=device)
    return noise[first : first + shape[0]].to(device=like.device, dtype=like.dtype)


def sample_latent(
    mean: Tensor,
    log_variance: Tensor,
    factor: float = 1.0,
    generator: torch.Generator | None = None,
    rows: tuple[int, int] | None = None,
) -> Tensor:
    """Draw z = mean + factor * sigma * eps (G-HTT: factor 1 in training, 5 at test time, 0 gives the mean).

    Args:
        mean, log_variance: (B, ...) of the posterior.
        factor: sampling factor f; 0 draws nothing from the generator.
        generator, rows: see `standard_normal`.
    """
    if factor == 0:
        return mean
    noise = standard_normal(mean.shape, mean, generator, rows)
    return mean + factor * (0.5 * log_variance).exp() * noise


def kl_divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL of N(mean, exp(log_variance)) against N(0, I): summed over D, mean over the batch.  (B, D) -> scalar."""
    terms = 1 + log_variance - mean.square() - log_variance.exp()
    return -0.5 * terms.sum(dim=-1).mean()


def draw_skip(probability: float, like: Tensor, generator: torch.Generator | None) -> bool:
    """One draw per batch: do the skip tokens join the decoder's memory?"""
    device = generator.device if generator is not None else like.device
    return bool(torch.rand((), generator=generator, device=device) < probability)


def affine(tokens: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`F.linear`; for many float32 tokens (B, N, C) on a CPU the same product as a 1 x 1 convolution, channels last.

    That reaches oneDNN's kernels; a plain product goes to MKL, which leaves half of an AMD processor's vector width
    unused (forward and backward took twice the time on a Zen 5 server).  torch hands a convolution to oneDNN only from
    16 images on, so the tokens are regrouped into 16.
    """
    rows = tokens.shape[:-1].numel()
    usable = (
        tokens.dim() == 3
        and tokens.device.type == "cpu"
        and tokens.dtype == weight.dtype == torch.float32
        and rows >= 160
        and (rows % 16 == 0 or tokens.shape[0] >= 16)
        and torch.backends.mkldnn.is_available()
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    )
    if not usable:
        return F.linear(tokens, weight, bias)
    images = 16 if rows % 16 == 0 else tokens.shape[0]
    grid = tokens.contiguous().view(images, -1, 1, tokens.shape[2]).permute(0, 3, 1, 2)  # (16, C, rows / 16, 1)
    return F.conv2d(grid, weight[:, :, None, None], bias).permute(0, 2, 3, 1).reshape(*tokens.shape[:2], -1)


class Linear(nn.Linear):
    """`nn.Linear` through `affine`."""

    def forward(self, input: Tensor) -> Tensor:
        return affine(input, self.weight, self.bias)


def _split_heads(tokens: Tensor, heads: int) -> Tensor:
    B, N, D = tokens.shape
    return tokens.view(B, N, heads, D // heads).transpose(1, 2)  # (B, E, N, D/E)


class Attention(nn.Module):
    """Multi-head attention with one fused query-key-value matrix, as self- or as cross-attention.

    As positions enter queries and keys only, W (x + p) = W x + W p lets one fused product serve q, k and v: W p is a
    small product that does not depend on the batch.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise InputError(f"width {width} cannot be split into {heads} heads; choose a width that is a multiple of {heads}")
        self.width, self.heads = width, heads
        self.project = Linear(width, 3 * width)  # rows: queries, keys, values
        self.out = Linear(width, width)
        for linear in (self.project, self.out):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)

    def _attend(self, queries: Tensor, keys: Tensor, values: Tensor, visible: Tensor | None) -> Tensor:
        B, N, D = queries.shape
        mask = None if visible is None else visible[:, None, None, :]  # (B, 1, 1, M)
        query, key, value = (_split_heads(part, self.heads) for part in (queries, keys, values))
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return self.out(mixed.transpose(1, 2).reshape(B, N, D))

    def attend_self(self, tokens: Tensor, position: Tensor, visible: Tensor | None = None) -> Tensor:
        """Self-attention.  tokens (B, N, D), position (N, D), visible (B, N) bool -> (B, N, D)."""
        D = self.width
        queries, keys, values = self.project(tokens).split(D, dim=-1)
        shift = F.linear(position, self.project.weight[: 2 * D])  # (N, 2D)
        return self._attend(queries + shift[:, :D], keys + shift[:, D:], values, visible)

    def attend_memory(
        self, tokens: Tensor, position: Tensor, memory: Tensor, memory_position: Tensor, visible: Tensor | None = None
    ) -> Tensor:
        """Cross-attention.  tokens (B, N, D), memory (B, M, D), visible (B, M) bool -> (B, N, D)."""
        return self.attend_entries(tokens, position, *self.memory_entries(memory, memory_position), visible)

    def memory_entries(self, memory: Tensor, memory_position: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of a memory (B, M, D) at positions (M, D): two of (B, M, D)."""
        D, weight, bias = self.width, self.project.weight, self.project.bias
        keys, values = affine(memory, weight[D:], bias[D:]).split(D, dim=-1)
        return keys + F.linear(memory_position, weight[D : 2 * D]), values

    def attend_entries(
        self, tokens: Tensor, position: Tensor, keys: Tensor, values: Tensor, visible: Tensor | None = None
    ) -> Tensor:
        """Cross-attention to the entries of a memory (`memory_entries`)."""
        D = self.width
        queries = affine(tokens + position, self.project.weight[:D], self.project.bias[:D])
        return self._attend(queries, keys, values, visible)

    def attend_single(self, memory: Tensor) -> Tensor:
        """Cross-attention to a memory of one token: its weight is 1 for every query, so the result is a constant.

        memory (B, D) -> (B, 1, D), equal to `attend_memory` at every query.
        """
        D = self.width
        return self.out(affine(memory.unsqueeze(1), self.project.weight[2 * D :], self.project.bias[2 * D :]))


class FeedForward(nn.Module):
    """Linear, GELU, Linear."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.enter = Linear(width, hidden)
        self.leave = Linear(hidden, width)
        for linear in (self.enter, self.leave):
            nn.init.xavier_uniform_(linear.weight)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.leave(F.gelu(self.enter(tokens)))


class EncoderLayer(nn.Module):
    """Pre-norm self-attention and feed-forward."""

    def __init__(self, width: int, heads: int, feedforward: int) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.feedforward_norm = nn.LayerNorm(width)
        self.feedforward = FeedForward(width, feedforward)

    def forward(self, tokens: Tensor, position: Tensor, visible: Tensor | None = None) -> Tensor:
        tokens = tokens + self.attention.attend_self(self.attention_norm(tokens), position, visible)
        return tokens + self.feedforward(self.feedforward_norm(tokens))


class DecoderLayer(nn.Module):
    """Pre-norm self-attention, cross-attention to a memory, feed-forward."""

    def __init__(self, width: int, heads: int, feedforward: int) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.memory_norm = nn.LayerNorm(width)
        self.memory_attention = Attention(width, heads)
        self.feedforward_norm = nn.LayerNorm(width)
        self.feedforward = FeedForward(width, feedforward)

    def attend_self(self, tokens: Tensor, position: Tensor, visible: Tensor | None = None) -> Tensor:
        return tokens + self.attention.attend_self(self.attention_norm(tokens), position, visible)

    def feed(self, tokens: Tensor) -> Tensor:
        return tokens + self.feedforward(self.feedforward_norm(tokens))

    def forward(
        self,
        tokens: Tensor,
        position: Tensor,
        memory: Tensor,
        memory_position: Tensor,
        visible: Tensor | None = None,
        memory_visible: Tensor | None = None,
    ) -> Tensor:
        tokens = self.attend_self(tokens, position, visible)
        tokens = tokens + self.memory_attention.attend_memory(
            self.memory_norm(tokens), position, memory, memory_position, memory_visible
        )
        return self.feed(tokens)


class VariationalEncoder(nn.Module):
    """Pre-norm transformer encoder with a mean token and a log-variance token in front of the content.

    The two tokens are trainable (normal start) and always visible; positions 0, 1, 2, ... run over all tokens.
    `log_variance_offset` is added to the log variance: after the last LayerNorm it has mean 0, as much noise as signal.
    """

    def __init__(self, layers: int, width: int, heads: int, feedforward: int, log_variance_offset: float = 0.0) -> None:
        super().__init__()
        self.log_variance_offset = log_variance_offset
        self.posterior = nn.Parameter(torch.randn(2, width))
        self.layers = nn.ModuleList(EncoderLayer(width, heads, feedforward) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, content: Tensor, visible: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Encode content tokens.

        Args:
            content: (B, N, D).
            visible: (B, N) bool; hidden tokens change neither the posterior nor the other tokens.

        Returns:
            mean (B, D), log variance (B, D), the content tokens at the output (B, N, D).
        """
        B, N, D = content.shape
        tokens = torch.cat((self.posterior.to(content.dtype).expand(B, 2, D), content), dim=1)  # (B, 2 + N, D)
        position = position_table(2 + N, D, content.device).to(content.dtype)
        visible = F.pad(visible, (2, 0), value=True)
        for layer in self.layers:
            tokens = layer(tokens, position, visible)
        tokens = self.norm(tokens)
        return tokens[:, 0], tokens[:, 1] + self.log_variance_offset, tokens[:, 2:]


class Decoder(nn.Module):
    """Parallel pre-norm transformer decoder: no causal mask, positions 0, 1, 2, ... on queries and on memory.

    Without `content` the queries' content is the position code itself.
    """

    def __init__(self, layers: int, width: int, heads: int, feedforward: int) -> None:
        super().__init__()
        self.width = width
        self.layers = nn.ModuleList(DecoderLayer(width, heads, feedforward) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def positions(self, count: int, like: Tensor) -> Tensor:
        return position_table(count, self.width, like.device).to(like.dtype)

    def forward(
        self,
        count: int,
        memory: Tensor,
        memory_visible: Tensor | None = None,
        content: Tensor | None = None,
        visible: Tensor | None = None,
    ) -> Tensor:
        """Decode `count` query tokens.

        Args:
            count: number of queries N.
            memory: (B, M, D); memory_visible: (B, M) bool.
            content: (B, N, D) content of the queries; None = the position code.
            visible: (B, N) bool, queries that take part; a row without any is computed as if all did.

        Returns:
            (B, N, D).
        """
        position = self.positions(count, memory)
        memory_position = self.positions(memory.shape[1], memory)
        if content is None:
            content = position.expand(memory.shape[0], -1, -1)
        if visible is not None:
            visible = visible | ~visible.any(dim=-1, keepdim=True)
        tokens = content
        for layer in self.layers:
            tokens = layer(tokens, position, memory, memory_position, visible, memory_visible)
        return self.norm(tokens)

    def decode_single(self, count: int, memory: Tensor) -> Tensor:
        """The same result for a memory of one token (B, D) and default queries, with less work -> (B, N, D).

        Cross-attention to one token is a constant per item and layer, and the first self-attention sees the same
        queries in every item, so it is computed once.
        """
        position = self.positions(count, memory)
        tokens = position.unsqueeze(0)  # (1, N, D)
        for layer in self.layers:
            assert isinstance(layer, DecoderLayer)
            constant = layer.memory_attention.attend_single(memory)  # (B, 1, D)
            tokens = layer.feed(layer.attend_self(tokens, position) + constant)
        return self.norm(tokens)

    def decode_shared(self, count: int, single: Tensor, shared: Tensor, shared_visible: Tensor | None = None) -> Tensor:
        """The result of `forward` for K memories an item that differ in their first token alone, with less work.

        The entries of the shared tokens, and the first self-attention, are computed once for all K.

        Args:
            count: number of queries N.
            single: (B, K, D) first memory tokens; shared: (B, M, D) the others, with shared_visible (B, M) bool.

        Returns:
            (B, K, N, D).
        """
        B, K, D = single.shape
        position = self.positions(count, single)
        memory_position = self.positions(1 + shared.shape[1], single)
        visible = None if shared_visible is None else F.pad(shared_visible, (1, 0), value=True).repeat_interleave(K, 0)
        tokens = position.unsqueeze(0)  # (1, N, D)
        for layer in self.layers:
            assert isinstance(layer, DecoderLayer)
            attention = layer.memory_attention
            first = attention.memory_entries(single.reshape(B * K, 1, D), memory_position[:1])
            others = attention.memory_entries(shared, memory_position[1:])
            keys, values = (
                torch.cat((one, many.repeat_interleave(K, dim=0)), dim=1) for one, many in zip(first, others, strict=True)
            )  # (B * K, 1 + M, D)
            tokens = layer.attend_self(tokens, position).expand(B * K, -1, -1)
            queries = layer.memory_norm(tokens)
            tokens = layer.feed(tokens + attention.attend_entries(queries, position, keys, values, visible))
        return self.norm(tokens).unflatten(0, (B, K))

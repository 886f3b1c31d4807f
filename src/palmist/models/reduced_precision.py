"""The P-block's single-token decoder in reduced precision, for CPUs: an option that trades a little accuracy for time.

Weights are copied, so later changes of the block do not reach a decoder made here.  Residual sums, LayerNorm and the
cross-attention (one vector per clip) stay in float32; the large products run in bfloat16, or with int8 weights and
dynamically quantised activations.

Letters: B batch, T frames, D width.
"""

from __future__ import annotations

import copy
import warnings
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from palmist.errors import InputError
from palmist.models.ghtt_pose_block import PBlock, free_entries
from palmist.models.layers import DecoderLayer

PRECISIONS = ("bfloat16", "int8")


class _HalfLinear(nn.Module):
    """A Linear with bfloat16 weights that takes any floating type and returns bfloat16."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.register_buffer("weight", linear.weight.detach().to(torch.bfloat16))
        self.register_buffer("bias", linear.bias.detach().to(torch.bfloat16))
        self.weight: Tensor
        self.bias: Tensor

    def forward(self, tokens: Tensor) -> Tensor:
        return F.linear(tokens.to(torch.bfloat16), self.weight, self.bias)


class _Products(nn.Module):
    """The four large products of a decoder layer."""

    def __init__(self, layer: DecoderLayer) -> None:
        super().__init__()
        self.project: nn.Module = _plain(layer.attention.project)
        self.out: nn.Module = _plain(layer.attention.out)
        self.enter: nn.Module = _plain(layer.feedforward.enter)
        self.leave: nn.Module = _plain(layer.feedforward.leave)


def _plain(linear: nn.Linear) -> nn.Module:
    """A plain nn.Linear with a copy of the weights: what the quantiser knows."""
    plain = nn.Linear(linear.in_features, linear.out_features)
    plain.load_state_dict({name: value.detach().clone() for name, value in linear.state_dict().items()})
    return plain


def _reduce(module: nn.Module, precision: str) -> nn.Module:
    if precision == "bfloat16":
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Linear):
                setattr(module, name, _HalfLinear(child))
            else:
                _reduce(child, precision)
        return module
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the quantiser announces that it will move to another package
        from torch.ao.quantization import per_channel_dynamic_qconfig, quantize_dynamic

        return quantize_dynamic(module, {nn.Linear: per_channel_dynamic_qconfig})


class ReducedDecoder(nn.Module):
    """`PBlock.decode_collapsed` in reduced precision: (B, D) float32 -> (B, T, 153) float32.

    Args:
        block: a trained P-block on the CPU; its weights are copied.
        precision: "bfloat16" or "int8".

    Raises:
        InputError: unknown precision.
    """

    def __init__(self, block: PBlock, precision: str) -> None:
        super().__init__()
        if precision not in PRECISIONS:
            raise InputError(f"there is no precision '{precision}'; choose one of: float32, {', '.join(PRECISIONS)}")
        decoder = block.decoder
        self.heads = block.config.heads
        layers = [layer for layer in decoder.layers if isinstance(layer, DecoderLayer)]
        with torch.no_grad():
            position = decoder.positions(block.config.clip_length, decoder.norm.weight)
            D = block.config.width
            shifts = [F.linear(position, layer.attention.project.weight[: 2 * D]) for layer in layers]
            constants = [_fold_single(layer) for layer in layers]
            start = layers[0].attend_self(position.unsqueeze(0), position)
        self.register_buffer("start", start)  # (1, T, D): the first self-attention sees the same queries in every clip
        self.register_buffer("shifts", torch.stack(shifts))  # (layers, T, 2D)
        self.register_buffer("constant_weight", torch.cat([weight for weight, _ in constants]))  # (layers * D, D)
        self.register_buffer("constant_bias", torch.cat([bias for _, bias in constants]))
        self.register_buffer("free", free_entries())
        self.start: Tensor
        self.free: Tensor
        self.shifts: Tensor
        self.constant_weight: Tensor
        self.constant_bias: Tensor
        self.attention_norms = nn.ModuleList(copy.deepcopy(layer.attention_norm) for layer in layers)
        self.feedforward_norms = nn.ModuleList(copy.deepcopy(layer.feedforward_norm) for layer in layers)
        self.norm = copy.deepcopy(decoder.norm)
        self.products = nn.ModuleList(_reduce(_Products(layer), precision) for layer in layers)
        parts = block.future_head.children()
        head = nn.Sequential(*(_plain(part) if isinstance(part, nn.Linear) else nn.LeakyReLU() for part in parts))
        self.head = _reduce(head, precision)
        self.eval().requires_grad_(False)

    def _attend(self, tokens: Tensor, index: int) -> Tensor:
        B, T, D = tokens.shape
        products = cast(_Products, self.products[index])
        mixed = products.project(self.attention_norms[index](tokens))  # (B, T, 3D)
        mixed[..., : 2 * D] += self.shifts[index]
        query, key, value = mixed.view(B, T, 3, self.heads, D // self.heads).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(query, key, value)
        return products.out(attended.transpose(1, 2).reshape(B, T, D))

    @torch.inference_mode()
    def forward(self, mid_level: Tensor) -> Tensor:
        constants = F.linear(mid_level, self.constant_weight, self.constant_bias)
        constants = constants.unflatten(1, (len(self.products), 1, -1))  # (B, layers, 1, D)
        tokens = self.start
        for index, module in enumerate(self.products):
            products = cast(_Products, module)
            if index:
                tokens = tokens + self._attend(tokens, index)
            tokens = tokens + constants[:, index]  # (B, T, D)
            hidden = F.gelu(products.enter(self.feedforward_norms[index](tokens)))
            tokens = tokens + products.leave(hidden)
        return self.head(self.norm(tokens)).float() * self.free


def _fold_single(layer: DecoderLayer) -> tuple[Tensor, Tensor]:
    """Value and output product of a cross-attention to one token, folded into one matrix (in float64)."""
    attention = layer.memory_attention
    D = attention.width
    value, value_bias = attention.project.weight[2 * D :].double(), attention.project.bias[2 * D :].double()
    out = attention.out.weight.double()
    weight, bias = out @ value, out @ value_bias + attention.out.bias.double()
    return weight.to(attention.out.weight), bias.to(attention.out.bias)

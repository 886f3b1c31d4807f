"""G-HTT against slow literal versions of its formulas, and its fast paths against the plain ones."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from palmist import pose_vector
from palmist.models.ghtt import GHTT, ABlock, ABlockConfig, PBlock, PBlockConfig
from palmist.models.ghtt_pose_block import component_loss, trajectory_loss
from palmist.models.layers import (
    Attention,
    DecoderLayer,
    EncoderLayer,
    Linear,
    kl_divergence,
    sample_latent,
    sinusoidal_code,
)
from palmist.models.reduced_precision import ReducedDecoder

TINY = {"layers": 2, "width": 32, "heads": 4, "feedforward": 64}


def shaken(module: nn.Module, seed: int = 0) -> nn.Module:
    """Biases and norms away from their neutral start, so that a forgotten one shows."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return module.eval()


def literal_code(position: int, width: int) -> torch.Tensor:
    code = torch.zeros(width)
    for i in range(width // 2):
        code[2 * i] = math.sin(position / 10000 ** (2 * i / width))
        code[2 * i + 1] = math.cos(position / 10000 ** (2 * i / width))
    return code


def literal_codes(count: int, width: int) -> torch.Tensor:
    return torch.stack([literal_code(position, width) for position in range(count)])


def literal_attention(
    attention: Attention,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    visible: torch.Tensor | None = None,
) -> torch.Tensor:
    """torch's own multi-head attention with the same weights; batch first."""
    plain = nn.MultiheadAttention(attention.width, attention.heads, batch_first=True)
    plain.load_state_dict(
        {
            "in_proj_weight": attention.project.weight,
            "in_proj_bias": attention.project.bias,
            "out_proj.weight": attention.out.weight,
            "out_proj.bias": attention.out.bias,
        }
    )
    mask = None if visible is None else ~visible
    return plain(query, key, value, key_padding_mask=mask, need_weights=False)[0]


def literal_feedforward(layer: EncoderLayer | DecoderLayer, tokens: torch.Tensor) -> torch.Tensor:
    normed, part = layer.feedforward_norm(tokens), layer.feedforward
    hidden = F.gelu(F.linear(normed, part.enter.weight, part.enter.bias))
    return tokens + F.linear(hidden, part.leave.weight, part.leave.bias)


def literal_encoder(block: PBlock, tokens: torch.Tensor, visible: torch.Tensor) -> torch.Tensor:
    """[mean, log variance, tokens] through the encoder; positions added to queries and keys, never to values."""
    D = tokens.shape[2]
    tokens = torch.cat((block.encoder.posterior.expand(len(tokens), 2, D), tokens), dim=1)
    visible = torch.cat((torch.ones(len(tokens), 2, dtype=torch.bool), visible), dim=1)
    position = literal_codes(tokens.shape[1], D)
    for layer in block.encoder.layers:
        assert isinstance(layer, EncoderLayer)
        normed = layer.attention_norm(tokens)
        tokens = tokens + literal_attention(layer.attention, normed + position, normed + position, normed, visible)
        tokens = literal_feedforward(layer, tokens)
    return block.encoder.norm(tokens)


def literal_decoder(block: PBlock | ABlock, content: torch.Tensor, memory: torch.Tensor) -> torch.Tensor:
    position, memory_position = (literal_codes(part.shape[1], part.shape[2]) for part in (content, memory))
    tokens = content
    for layer in block.decoder.layers:
        assert isinstance(layer, DecoderLayer)
        normed = layer.attention_norm(tokens)
        tokens = tokens + literal_attention(layer.attention, normed + position, normed + position, normed)
        query = layer.memory_norm(tokens) + position
        tokens = tokens + literal_attention(layer.memory_attention, query, memory + memory_position, memory)
        tokens = literal_feedforward(layer, tokens)
    return block.decoder.norm(tokens)


@pytest.fixture(scope="module")
def block() -> PBlock:
    return shaken(PBlock(PBlockConfig(**TINY)))  # type: ignore[return-value]


def test_position_code_equals_the_formula() -> None:
    torch.testing.assert_close(sinusoidal_code(torch.arange(20), 32), literal_codes(20, 32), rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_encoder_equals_the_literal_version(block: PBlock) -> None:
    generator = torch.Generator().manual_seed(1)
    observed = torch.randn(3, 16, 153, generator=generator)
    known = torch.rand(3, 16, 153, generator=generator) < 0.7
    frames = torch.arange(16) < torch.tensor([[16], [9], [2]])
    code = block.encode(observed, known, frames)
    cmc = torch.zeros(153, dtype=torch.bool)
    cmc[3:6] = cmc[66:69] = True
    vector = observed.clone()
    for b in range(3):
        for t in range(16):
            for i in range(153):
                if not known[b, t, i] or not frames[b, t] or cmc[i]:
                    vector[b, t, i] = block.placeholder[i]
    parts = (
        (block.joints_in, slice(0, 126)),
        (block.motions_in, slice(126, 144)),
        (block.inter_hand_in, slice(144, 153)),
    )
    tokens = torch.cat([F.linear(vector[..., part], layer.weight, layer.bias) for layer, part in parts], dim=-1)
    assert [layer.out_features for layer, _ in parts] == [16, 8, 8]
    expected = literal_encoder(block, tokens, frames)
    torch.testing.assert_close(code.mean, expected[:, 0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(code.log_variance, expected[:, 1], rtol=1e-4, atol=1e-5)
    seen = frames.unsqueeze(-1)
    torch.testing.assert_close(code.tokens * seen, expected[:, 2:] * seen, rtol=1e-4, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("skip", [False, True])
def test_decoder_equals_the_literal_version(block: PBlock, skip: bool) -> None:
    memory = torch.randn(3, 17 if skip else 1, 32, generator=torch.Generator().manual_seed(2))
    predicted = block.decode(memory[:, 0], memory[:, 1:] if skip else None)
    tokens = literal_decoder(block, literal_codes(16, 32).expand(3, -1, -1), memory)
    head = [module for module in block.head if isinstance(module, nn.Linear)]
    for index, layer in enumerate(head):
        tokens = F.linear(tokens, layer.weight, layer.bias)
        tokens = F.leaky_relu(tokens) if index < 2 else tokens
    tokens[..., :3] = tokens[..., 63:66] = 0  # the wrists
    torch.testing.assert_close(predicted, tokens, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_action_decoder_equals_the_literal_version() -> None:
    block = shaken(ABlock(ABlockConfig(**TINY, mid_level_dim=32, object_dim=32)))
    assert isinstance(block, ABlock)
    alpha, tokens = torch.randn(2, 32), torch.randn(2, 3, 32)
    phase = torch.tensor([[3, 4], [7, 8]])
    content = torch.stack([torch.stack([literal_code(int(p), 32) for p in row]) for row in phase])
    expected = literal_decoder(block, content, torch.cat((alpha.unsqueeze(1), tokens), dim=1))
    torch.testing.assert_close(block.decode(alpha, phase, tokens), expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_action_encoder_reads_pairs_with_their_phase() -> None:
    block = shaken(ABlock(ABlockConfig(**TINY, mid_level_dim=32, object_dim=32)))
    assert isinstance(block, ABlock)
    mid_levels, objects = torch.randn(1, 2, 32), torch.randn(1, 2, 32)
    code = block.encode(mid_levels, torch.ones(1, 2, dtype=torch.bool), torch.tensor([[5, 6]]), objects)
    five, six = literal_code(5, 32), literal_code(6, 32)
    pairs = [mid_levels[0, 0] + five, objects[0, 0] + five, mid_levels[0, 1] + six, objects[0, 1] + six]
    expected = literal_encoder(block, torch.stack(pairs).unsqueeze(0), torch.ones(1, 4, dtype=torch.bool))  # type: ignore[arg-type]
    torch.testing.assert_close(code.mean, expected[:, 0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(code.log_variance, expected[:, 1], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(code.tokens, expected[:, [2, 4]], rtol=1e-4, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize(("preset", "clips"), [("small", 20), ("paper", 2)])
def test_collapsed_decoder_equals_the_plain_one(preset: str, clips: int) -> None:
    torch.manual_seed(3)
    block = GHTT.from_preset(preset).p.eval()
    last = block.head[-1]
    assert isinstance(last, nn.Linear)
    last.weight.mul_(100)  # undo the small start, so that a difference would show
    mid_levels = torch.randn(clips, block.config.width)
    plain, collapsed = block.decode(mid_levels), block.decode_collapsed(mid_levels)
    assert plain.std() > 0.1
    assert (plain - collapsed).abs().max() <= 2e-6 * max(1.0, plain.abs().max().item())


@torch.no_grad()
def test_folded_cross_attention_of_the_reduced_decoder_is_exact(block: PBlock, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the reduction itself left out, the reduced decoder is the plain one."""
    monkeypatch.setattr("palmist.models.reduced_precision._reduce", lambda module, _precision: module)
    mid_levels = torch.randn(5, 32, generator=torch.Generator().manual_seed(4))
    torch.testing.assert_close(ReducedDecoder(block, "bfloat16")(mid_levels), block.decode(mid_levels), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(20, 16), (1, 320), (17, 18), (3, 5), (160, 1)])
def test_products_and_their_gradients_equal_plain_ones(shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(5)
    layer = Linear(24, 40)
    tokens = torch.randn(*shape, 24, generator=generator, requires_grad=True)
    other = tokens.detach().clone().requires_grad_()
    weights = torch.randn(*shape, 40, generator=generator)
    plain = F.linear(other, layer.weight, layer.bias)
    torch.testing.assert_close(layer(tokens), plain, rtol=1e-5, atol=1e-5)
    fast_gradients = torch.autograd.grad((layer(tokens) * weights).sum(), (tokens, layer.weight, layer.bias))
    gradients = torch.autograd.grad((plain * weights).sum(), (other, layer.weight, layer.bias))
    for ours, theirs in zip(fast_gradients, gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_kl_equals_the_literal_sum() -> None:
    generator = torch.Generator().manual_seed(6)
    mean, log_variance = torch.randn(4, 7, generator=generator), torch.randn(4, 7, generator=generator)
    total = 0.0
    for b in range(4):
        for d in range(7):
            mu, variance = mean[b, d].item(), math.exp(log_variance[b, d].item())
            total += -0.5 * (1 + math.log(variance) - mu**2 - variance)
    assert kl_divergence(mean, log_variance).item() == pytest.approx(total / 4, rel=1e-5)
    # And torch's own: KL(N(mu, sigma) || N(0, 1)).
    posterior = torch.distributions.Normal(mean, (0.5 * log_variance).exp())
    prior = torch.distributions.Normal(torch.zeros_like(mean), 1.0)
    expected = torch.distributions.kl_divergence(posterior, prior).sum(-1).mean()
    torch.testing.assert_close(kl_divergence(mean, log_variance), expected)


def test_samples_have_the_wanted_spread() -> None:
    generator = torch.Generator().manual_seed(7)
    mean, log_variance = torch.full((20000, 1), 3.0), torch.full((20000, 1), math.log(0.25))
    for factor in (1.0, 5.0):
        drawn = sample_latent(mean, log_variance, factor, generator)
        assert drawn.mean().item() == pytest.approx(3.0, abs=0.05 * factor)
        assert drawn.std().item() == pytest.approx(0.5 * factor, rel=0.03)


def test_component_loss_equals_the_literal_mean() -> None:
    generator = torch.Generator().manual_seed(8)
    predicted, target = (torch.randn(2, 3, 153, generator=generator) for _ in range(2))
    known = torch.rand(2, 3, 153, generator=generator) < 0.6
    axes = F.normalize(torch.randn(2, 3, 3, 3, generator=generator), dim=-1)
    axes[0] = 0
    total, count = 0.0, 0
    for b in range(2):
        for t in range(3):
            residual = (predicted[b, t] - target[b, t]) * known[b, t]
            for slot, first in enumerate((132, 141, 150)):
                axis = axes[b, t, slot]
                shift = residual[first : first + 3].clone()
                residual[first : first + 3] = shift - float(shift @ axis) * axis
            for i in range(153):
                if known[b, t, i]:
                    total += abs(residual[i].item())
                    count += 1
    assert component_loss(predicted, target, known, axes).item() == pytest.approx(total / count, rel=1e-5)


def test_trajectory_loss_equals_the_literal_chain() -> None:
    generator = torch.Generator().manual_seed(9)
    predicted, target = (torch.randn(2, 4, 153, generator=generator) for _ in range(2))
    known = torch.ones(2, 4, 153, dtype=torch.bool)
    known[1, 2:, 126:135] = False  # the left hand of row 1 is seen, but its motion is not known: the chain breaks
    axes = torch.zeros(2, 4, 3, 3)

    def accumulated(vector: torch.Tensor, hand: int) -> list[torch.Tensor]:
        rotation, shift, result = torch.eye(3), torch.zeros(3), []
        for t in range(4):
            motion = vector[t, 126 + 9 * hand : 135 + 9 * hand]
            first = motion[:3] / motion[:3].norm()
            second = motion[3:6] - (first @ motion[3:6]) * first
            second = second / second.norm()
            step = torch.stack((first, second, torch.linalg.cross(first, second)))
            shift = motion[6:] @ rotation + shift
            rotation = step @ rotation
            result.append(torch.cat((rotation[0], rotation[1], shift)))
        return result

    total, count = 0.0, 0
    for b in range(2):
        for hand in range(2):
            ours, theirs = accumulated(predicted[b], hand), accumulated(target[b], hand)
            for t in range(4 if (b, hand) != (1, 0) else 2):
                total += (ours[t] - theirs[t]).abs().sum().item()
                count += 9
    assert trajectory_loss(predicted, target, known, axes).item() == pytest.approx(total / count, rel=1e-4)
    assert pose_vector.MOTION_SCALE == 10.0  # translations of motions are stored as 10 x metres


def test_action_loss_equals_the_literal_formulas() -> None:
    torch.manual_seed(10)
    block = shaken(ABlock(ABlockConfig(**TINY, mid_level_dim=32, object_dim=0, label_dim=6, label_smoothing=0.2)))
    assert isinstance(block, ABlock)
    block.set_labels(["a", "b", "c", "d"], torch.randn(4, 6))
    alpha, labels = torch.randn(3, 32), torch.tensor([2, -1, 0])
    candidates = torch.tensor([True, False, True, True])
    distance, contrast, accuracy = block._action_loss(alpha, labels, candidates)
    features = [F.linear(row, block.label_in.weight, block.label_in.bias) for row in block.label_table]
    total_distance, total_contrast, correct = 0.0, 0.0, 0
    for b, label in ((0, 2), (2, 0)):
        total_distance += (alpha[b] - features[label]).abs().mean().item()
        scores = {i: F.cosine_similarity(alpha[b], features[i], dim=0).item() / 0.07 for i in (0, 2, 3)}
        normaliser = math.log(sum(math.exp(score) for score in scores.values()))
        nll = {i: normaliser - score for i, score in scores.items()}
        total_contrast += 0.8 * nll[label] + 0.2 * sum(nll.values()) / 3
        correct += max(scores, key=scores.__getitem__) == label
    assert distance.item() == pytest.approx(total_distance / 2, rel=1e-4)
    assert contrast.item() == pytest.approx(total_contrast / 2, rel=1e-4)
    assert accuracy.item() == pytest.approx(correct / 2)

"""EMIM's operator against its formula written out as loops, and its three forms against each other."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from palmist.errors import InputError
from palmist.models.emim import FORMS, MotionAttention, choose_form, motion_attention


def literal(query: Tensor, key: Tensor, value: Tensor, bias: Tensor, masked: bool) -> tuple[Tensor, Tensor]:
    """A and F, number by number."""
    B, E, T, H, W, d = query.shape
    w = bias.shape[-1]
    r = w // 2
    affinity, gathered = torch.zeros(B, E, T, H, W, w * w, dtype=query.dtype), torch.zeros_like(query)
    for b, e, t, y, x in itertools.product(range(B), range(E), range(T), range(H), range(W)):
        row, values, counted = [], [], []
        for dy, dx in itertools.product(range(-r, r + 1), range(-r, r + 1)):
            inside = 0 <= y + dy < H and 0 <= x + dx < W
            there = key[b, e, t, y + dy, x + dx] if inside else torch.full((d,), 1e-6, dtype=query.dtype)
            row.append((query[b, e, t, y, x] * there).sum() / d**0.5 + bias[e, dy + r, dx + r])
            values.append(value[b, e, t, y + dy, x + dx] if inside else torch.full((d,), 1e-6, dtype=query.dtype))
            counted.append(inside or not masked)
        scores, kept = torch.stack(row), torch.tensor(counted)
        weight = torch.where(kept, scores - scores[kept].max(), torch.tensor(-torch.inf, dtype=query.dtype)).exp()
        gathered[b, e, t, y, x] = ((weight / weight.sum()).unsqueeze(1) * torch.stack(values)).sum(0)
        affinity[b, e, t, y, x] = torch.where(kept, scores, torch.zeros_like(scores))
    return affinity, gathered


def frames(*shape: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    query, key, value = torch.randn(3, *shape, generator=generator, dtype=torch.float64).unbind(0)
    return query, key, value


@pytest.mark.parametrize("border", ["padded", "masked"])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("window", "size"), [(3, (4, 5)), (5, (3, 6)), (7, (2, 5)), (11, (4, 1))])
def test_every_form_is_the_formula(form: str, border: str, window: int, size: tuple[int, int]) -> None:
    query, key, value = frames(1, 2, 2, *size, 4)
    bias = torch.randn(2, window, window, dtype=torch.float64)
    expected = literal(query, key, value, bias, border == "masked")
    for found, wanted in zip(motion_attention(query, key, value, bias, border, form), expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-6)  # the softmax is taken in float32


@pytest.mark.parametrize("border", ["padded", "masked"])
@pytest.mark.parametrize("window", [3, 5, 7, 9, 11])
@pytest.mark.parametrize("shape", [(2, 2, 3, 14, 14), (1, 1, 1, 9, 4), (2, 3, 2, 1, 13)])
def test_the_forms_agree_in_float32_with_their_gradients(shape: tuple[int, ...], window: int, border: str) -> None:
    generator = torch.Generator().manual_seed(window)
    parts = torch.randn(3, *shape, 16, generator=generator)
    bias = torch.randn(shape[1], window, window, generator=generator)
    pull = torch.randn(*shape, window * window, generator=generator)
    results = []
    for form in FORMS:
        leaves = [part.clone().requires_grad_() for part in (*parts, bias)]
        affinity, gathered = motion_attention(*leaves, border, form)
        ((affinity * pull).mean() + gathered.square().mean()).backward()
        results.append([affinity.detach(), gathered.detach(), *(leaf.grad for leaf in leaves)])
    for other in results[1:]:
        for one, two in zip(results[0], other, strict=True):
            torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("border", ["padded", "masked"])
def test_gradients_are_those_of_differences(form: str, border: str) -> None:
    query, key, value = (part.requires_grad_() for part in frames(1, 1, 1, 2, 3, 64))
    bias = torch.randn(1, 3, 3, dtype=torch.float64, requires_grad=True)
    inputs = (query, key, value, bias)
    # The softmax is taken in float32, so differences are only good to about 1e-3.
    assert torch.autograd.gradcheck(
        lambda *parts: motion_attention(*parts, border, form), inputs, eps=1e-2, atol=2e-3, rtol=2e-3, fast_mode=True
    )


def test_borders_matter() -> None:
    query, key, value = frames(1, 1, 1, 4, 4, 8)
    bias = torch.zeros(1, 5, 5, dtype=torch.float64)
    padded, masked = (motion_attention(query, key, value, bias, border)[1] for border in ("padded", "masked"))
    assert (padded - masked).abs().max() > 0.05
    huge = torch.full_like(value, 3.0)
    torch.testing.assert_close(motion_attention(query, key, huge, bias, "masked")[1], huge, rtol=1e-6, atol=0)


@pytest.mark.parametrize("form", FORMS)
def test_a_translated_map_has_its_peak_at_the_translation(form: str) -> None:
    generator = torch.Generator().manual_seed(0)
    first = torch.nn.functional.normalize(torch.randn(1, 1, 1, 12, 12, 32, generator=generator), dim=-1)
    for dy, dx in ((0, 0), (2, -3), (-1, 1), (3, 3)):
        second = torch.roll(first, (dy, dx), (3, 4))
        affinity, _ = motion_attention(first, second, second, torch.zeros(1, 7, 7), form=form)
        inner = affinity[0, 0, 0, 3:9, 3:9].argmax(-1)
        assert (inner == (dy + 3) * 7 + dx + 3).all()


def local_attention(module: MotionAttention, tokens: Tensor, grid: tuple[int, int, int]) -> Tensor:
    """Next-frame neighbourhood attention with loops over frames and places, without a motion branch and a bias."""
    T, H, W = grid
    C, E = tokens.shape[-1], module.heads
    r = module.position_bias.shape[-1] // 2
    query, key, value = module.qkv(tokens).view(T, H, W, 3, E, C // E).permute(3, 0, 1, 2, 4, 5)
    out = torch.zeros(T, H, W, E, C // E)
    for t, y, x in itertools.product(range(T - 1), range(H), range(W)):
        for e in range(E):
            keys, values = [], []
            for dy, dx in itertools.product(range(-r, r + 1), range(-r, r + 1)):
                inside = 0 <= y + dy < H and 0 <= x + dx < W
                keys.append(key[t + 1, y + dy, x + dx, e] if inside else torch.full((C // E,), 1e-6))
                values.append(value[t + 1, y + dy, x + dx, e] if inside else torch.full((C // E,), 1e-6))
            weight = (torch.stack(keys) @ query[t, y, x, e] / (C // E) ** 0.5).softmax(0)
            out[t, y, x, e] = weight @ torch.stack(values)
    out[-1] = out[-2]
    return module.proj(out.view(1, T * H * W, C))


def test_a_new_block_is_next_frame_attention_and_copies_the_last_frame() -> None:
    torch.manual_seed(0)
    module = MotionAttention(16, 2, window=3)
    torch.nn.init.zeros_(module.position_bias)
    tokens = torch.randn(1, 3 * 4 * 3, 16)
    found = module(tokens, (3, 4, 3))
    torch.testing.assert_close(found, local_attention(module, tokens, (3, 4, 3)), rtol=1e-5, atol=1e-5)
    by_frame = found.view(3, -1)
    assert torch.equal(by_frame[1], by_frame[2])
    own = MotionAttention(16, 2, window=3, last_frame="own")
    own.load_state_dict(module.state_dict())
    by_frame_too = own(tokens, (3, 4, 3)).view(3, -1)
    torch.testing.assert_close(by_frame_too[:2], by_frame[:2])
    alone = MotionAttention(16, 2, window=3)
    alone.load_state_dict(module.state_dict())
    torch.testing.assert_close(by_frame_too[2], alone(tokens[:, 24:], (1, 4, 3)).view(-1))  # it sees itself


def test_the_whole_module_is_the_formula_with_motion_and_bias() -> None:
    torch.manual_seed(0)
    module = MotionAttention(8, 2, window=3).double()
    assert module.motion is not None
    torch.nn.init.normal_(module.motion.leave.weight)
    tokens = torch.randn(1, 2 * 3 * 4, 8, dtype=torch.float64)
    query, key, value = module.qkv(tokens).view(1, 2, 3, 4, 3, 2, 4).permute(4, 0, 5, 1, 2, 3, 6)
    affinity, gathered = literal(query[:, :, :1], key[:, :, 1:], value[:, :, 1:], module.position_bias, False)
    motion = torch.zeros_like(gathered)
    for place in itertools.product(range(2), range(3), range(4)):
        e, y, x = place
        hidden = module.motion.enter.weight @ affinity[0, e, 0, y, x] + module.motion.enter.bias
        hidden = hidden / (1 + (-1.702 * hidden).exp())
        motion[0, e, 0, y, x] = module.motion.leave.weight @ hidden + module.motion.leave.bias
    frame = (gathered + motion)[0, :, 0].permute(1, 2, 0, 3).reshape(12, 8)  # heads side by side
    expected = module.proj(torch.cat((frame, frame)).unsqueeze(0))
    torch.testing.assert_close(module(tokens, (2, 3, 4)), expected, rtol=0, atol=1e-5)


def test_every_channel_of_a_head_gets_value_and_gradient() -> None:
    torch.manual_seed(0)
    parts = [torch.randn(1, 2, 1, 5, 5, 64, requires_grad=True) for _ in range(3)]
    _, gathered = motion_attention(*parts, torch.zeros(2, 7, 7))
    (gathered * torch.randn_like(gathered)).sum().backward()
    assert (gathered.abs().amax((0, 1, 2, 3, 4)) > 0).all()
    for part in parts:
        assert part.grad is not None
        assert (part.grad.abs().amax((0, 1, 2, 3, 4)) > 0).all()


def test_motion_starts_at_zero_and_learns() -> None:
    torch.manual_seed(0)
    module = MotionAttention(16, 2, window=5)
    without = MotionAttention(16, 2, window=5, motion=False)
    left = without.load_state_dict(module.state_dict(), strict=False)
    assert not left.missing_keys
    tokens = torch.randn(2, 2 * 6 * 6, 16)
    torch.testing.assert_close(module(tokens, (2, 6, 6)), without(tokens, (2, 6, 6)))
    module(tokens, (2, 6, 6)).square().sum().backward()
    assert module.motion is not None
    assert module.motion.leave.weight.grad is not None
    assert module.motion.leave.weight.grad.abs().max() > 0


def test_small_maps_are_dense_and_large_ones_shifted() -> None:
    assert choose_form(14, 14, 7) == choose_form(7, 7, 7) == "dense"
    assert choose_form(56, 56, 7) == choose_form(56, 56, 7, gradients=True) == "shifted"


def test_what_does_not_fit_is_refused_with_a_sentence() -> None:
    part = torch.zeros(1, 2, 1, 4, 4, 8)
    with pytest.raises(InputError, match="expected \\(B, E, T, H, W, d\\)"):
        motion_attention(part, part, part[..., :4], torch.zeros(2, 3, 3))
    with pytest.raises(InputError, match="with an odd w"):
        motion_attention(part, part, part, torch.zeros(2, 4, 4))
    with pytest.raises(InputError, match="expected one of dense, shifted, unfold"):
        motion_attention(part, part, part, torch.zeros(2, 3, 3), form="cuda")
    with pytest.raises(InputError, match="window is 4; expected one of 3, 5"):
        MotionAttention(16, 2, window=4)
    with pytest.raises(InputError, match="expected 32"):
        MotionAttention(16, 2)(torch.zeros(1, 30, 16), (2, 4, 4))

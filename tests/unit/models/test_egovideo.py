from __future__ import annotations

import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F

from palmist.errors import InputError
from palmist.models.egovideo import (
    PRESETS,
    EgoVideo,
    EgoVideoConfig,
    MotionAdapter,
    TextTower,
    ego_nce,
    hand_box_loss,
    info_nce,
    max_margin_ranking,
    resized,
)

TINY = EgoVideoConfig(
    size=16, patch=8, width=16, layers=2, heads=2, sparse_frames=2, dense_frames=4, text_width=8, text_layers=1, text_heads=2,
    text_length=6, vocabulary=20, embedding=8,
)  # fmt: skip


def clips(count: int = 3, config: EgoVideoConfig = TINY) -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.randint(0, 256, (count, config.frames, config.size, config.size, 3), dtype=torch.uint8, generator=generator)


def texts(count: int = 3) -> torch.Tensor:
    tokens = torch.randint(0, 18, (count, 6), generator=torch.Generator().manual_seed(6))
    tokens[:, 4], tokens[:, 5] = 19, 0
    return tokens


def test_adapters_have_the_published_numbers_of_parameters() -> None:
    assert sum(p.numel() for p in MotionAdapter(768).parameters()) == 740_353
    assert sum(p.numel() for p in MotionAdapter(1024).parameters()) == 1_314_817


def test_towers_have_clips_sizes() -> None:
    """ViT-B/16 of CLIP: 86,192,640 parameters in the video tower (without the table of times), 63,428,096 in the text tower."""
    with torch.device("meta"):
        network = EgoVideo(PRESETS["base"])
        tower = sum(p.numel() for name, p in network.vision.named_parameters() if not name.startswith("adapters."))
        assert tower - network.vision.time.numel() == 86_192_640
        assert sum(p.numel() for p in network.text.parameters()) == 63_428_096
        assert len(network.vision.adapters) == 12


@pytest.mark.parametrize("kind", ["temporal", "spatial"])
def test_an_adapter_begins_as_the_identity(kind: str) -> None:
    adapter = MotionAdapter(16, kind)
    x = torch.randn(2, 3 * 2 * 2, 16)
    assert torch.equal(adapter(x, (3, 2, 2)), x)
    with pytest.raises(InputError, match="3 x 2 x 3"):
        adapter(x, (3, 2, 3))


def moved(adapter: MotionAdapter) -> MotionAdapter:
    torch.manual_seed(1)
    torch.nn.init.normal_(adapter.up.weight)
    torch.nn.init.normal_(adapter.up.bias)
    return adapter


def test_an_adapter_equals_its_formula_step_by_step() -> None:
    adapter = moved(MotionAdapter(8)).double()
    T, places = 5, 4
    x = torch.randn(2, T * places, 8, dtype=torch.float64)
    z = F.gelu(x @ adapter.down.weight.t() + adapter.down.bias).view(2, T, places, 4)
    expected = torch.empty(2, T, places, 8, dtype=torch.float64)
    for place in range(places):
        for t in range(T):
            mixed = adapter.depthwise.bias.clone()
            for k in range(3):
                if 0 <= t + k - 1 < T:
                    mixed = mixed + z[:, t + k - 1, place] * adapter.depthwise.weight[:, 0, k]
            y = mixed @ adapter.pointwise.weight[:, :, 0].t() + adapter.pointwise.bias
            change = (z[:, t, place] + y) @ adapter.up.weight.t() + adapter.up.bias
            expected[:, t, place] = x.view(2, T, places, 8)[:, t, place] + adapter.gamma * change
    torch.testing.assert_close(adapter(x, (T, 2, 2)), expected.flatten(1, 2))


def test_permuting_places_commutes_with_the_adapter_over_time_and_not_with_the_spatial_one() -> None:
    order = torch.tensor([2, 0, 3, 1])
    x = torch.randn(1, 3, 4, 16)
    for kind, same in (("temporal", True), ("spatial", False)):
        adapter = moved(MotionAdapter(16, kind))
        there = adapter(x[:, :, order].flatten(1, 2), (3, 2, 2)).view(1, 3, 4, 16)
        back = adapter(x.flatten(1, 2), (3, 2, 2)).view(1, 3, 4, 16)[:, :, order]
        assert torch.allclose(there, back, atol=1e-5) == same


@pytest.mark.parametrize("dense_weights", ["held", "trained"])
@pytest.mark.parametrize("kind", ["temporal", "spatial"])
def test_every_adapter_learns(kind: str, dense_weights: str) -> None:
    network = EgoVideo(dataclasses.replace(TINY, adapter=kind, dense_weights=dense_weights))
    batch = {"video": clips(), "tokens": texts()}
    network.loss(batch)[0].backward()
    for adapter in network.vision.adapters:
        assert adapter.up.weight.grad.abs().max() > 0
        assert adapter.down.weight.grad.abs().max() == 0  # up is zero in the first step
        moved(adapter)
    network.zero_grad()
    network.loss(batch)[0].backward()
    for adapter in network.vision.adapters:
        for name, parameter in adapter.named_parameters():
            assert parameter.grad.abs().max() > 0, name


def test_held_weights_learn_from_the_sparse_pass_alone() -> None:
    network = EgoVideo(TINY)
    for adapter in network.vision.adapters:
        moved(adapter)
    video = (clips().permute(0, 1, 4, 2, 3) / 255 - network.mean) / network.spread
    network.vision(video, dense=True)[0].sum().backward()
    learnt = {name for name, p in network.vision.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}
    assert learnt == {"time", "projection.weight"} | {name for name in learnt if name.startswith("adapters.")}
    assert {name.split(".")[1] for name in learnt if name.startswith("adapters.")} == {"0", "1"}
    network.zero_grad()
    network.vision(video[:, ::2])[0].sum().backward()
    assert network.vision.blocks[0].attention.in_proj_weight.grad.abs().max() > 0
    assert network.vision.patch.weight.grad.abs().max() > 0
    assert all(p.grad is None for p in network.vision.adapters.parameters())


def test_holding_weights_changes_gradients_and_not_values() -> None:
    torch.manual_seed(0)
    held = EgoVideo(TINY).eval()
    free = EgoVideo(dataclasses.replace(TINY, dense_weights="trained")).eval()
    free.load_state_dict(held.state_dict())
    torch.testing.assert_close(held.embed_video(clips()), free.embed_video(clips()))


@pytest.mark.parametrize("side", ["B", "L"])
def test_the_sparse_pass_has_a_gradient_for_the_token_counts_of_both_sizes(side: str) -> None:
    size, patch = (224, 16) if side == "B" else (336, 14)
    config = dataclasses.replace(TINY, size=size, patch=patch, layers=1, sparse_frames=4, dense_frames=16)
    network = EgoVideo(config)
    video = torch.randn(1, 4, 3, size, size)
    vector, patches = network.vision(video)
    assert 1 + patches.shape[1] * patches.shape[2] == {"B": 785, "L": 2305}[side]
    vector.sum().backward()
    assert network.vision.blocks[0].mlp[0].weight.grad.abs().max() > 0


def test_the_class_token_passes_an_adapter_untouched() -> None:
    network = EgoVideo(TINY).eval()
    inside: list[torch.Tensor] = []
    network.vision.blocks[0].register_forward_hook(lambda module, inputs, output: inside.append(output))
    network.vision.blocks[1].register_forward_pre_hook(lambda module, inputs: inside.append(inputs[0]))
    moved(network.vision.adapters[0])
    network.vision(torch.randn(2, 4, 3, 16, 16), dense=True)
    out_of_first, into_second = inside
    assert torch.equal(out_of_first[:, 0], into_second[:, 0])
    assert not torch.allclose(out_of_first[:, 1:], into_second[:, 1:])


def test_a_table_of_times_is_resized_with_its_gradient() -> None:
    table = torch.nn.Parameter(torch.arange(4.0).view(4, 1).repeat(1, 2))
    long = resized(table, 8)
    assert long.shape == (8, 2)
    assert long[0, 0] == 0
    assert long[-1, 0] == 3
    assert (long.diff(dim=0) >= 0).all()
    long.sum().backward()
    torch.testing.assert_close(table.grad.sum(), torch.tensor(16.0))
    assert resized(table, 4) is table


def test_both_passes_see_frames_of_mean_zero_and_spread_one() -> None:
    network = EgoVideo(TINY)
    seen: list[torch.Tensor] = []
    network.vision.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    noise = clips(16)
    network.embed_video(noise)
    sparse, dense = seen
    assert sparse.shape[1] == 2
    assert dense.shape[1] == 4
    torch.testing.assert_close(sparse, dense[:, [1, 3]])  # the middle of each half, the later one of two
    for frames in (sparse, dense):
        assert abs(float(frames.mean())) < 0.3
        assert 0.7 < float(frames.std()) < 1.4
    torch.testing.assert_close(network.embed_video(noise), network.embed_video(noise / 255))


def test_vectors_are_of_length_one_and_shapes_are_checked() -> None:
    network = EgoVideo(TINY).eval()
    for vectors in (network.embed_video(clips()), network.embed_text(texts())):
        assert vectors.shape == (3, 8)
        torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(3))
    with pytest.raises(InputError, match=r"expected \(B, 4, 16, 16, 3\)"):
        network.embed_video(clips()[:, :2])
    with pytest.raises(InputError, match="ends"):
        network.embed_text(texts().clamp(max=18))


def test_a_text_depends_on_nothing_after_its_end() -> None:
    tower = TextTower(TINY).eval()
    one = texts()
    other = one.clone()
    other[:, 5] = 7
    torch.testing.assert_close(tower(one), tower(other))
    other = one.clone()
    other[:, 1] = (one[:, 1] + 1) % 18
    assert not torch.allclose(tower(one), tower(other))


def test_the_base_model_has_one_pass() -> None:
    network = EgoVideo(dataclasses.replace(TINY, dense_frames=None))
    assert network.fusion is None
    assert not len(network.vision.adapters)
    assert network.embed_video(clips()[:, :2]).shape == (3, 8)


def test_info_nce_equals_a_double_loop() -> None:
    logits = torch.randn(5, 5, dtype=torch.float64)
    total = 0.0
    for i in range(5):
        total -= math.log(math.exp(logits[i, i]) / sum(math.exp(logits[i, j]) for j in range(5)))
        total -= math.log(math.exp(logits[i, i]) / sum(math.exp(logits[j, i]) for j in range(5)))
    assert float(info_nce(logits)) == pytest.approx(total / 10)


def test_ego_nce_with_own_pairs_alone_is_info_nce_and_else_sums_positives() -> None:
    similarity = torch.randn(4, 4, dtype=torch.float64)
    verbs, nouns = torch.eye(4, dtype=torch.float64), torch.eye(4, dtype=torch.float64)
    torch.testing.assert_close(ego_nce(similarity, verbs, nouns), info_nce(similarity / 0.05))
    same_verb = verbs.clone()
    same_verb[1] = verbs[0]
    torch.testing.assert_close(ego_nce(similarity, same_verb, nouns), info_nce(similarity / 0.05))  # no noun is shared
    same_noun = nouns.clone()
    same_noun[1, 0] = 1
    p = (similarity / 0.05).softmax(1)
    q = (similarity / 0.05).softmax(0)
    rows = [p[0, :2].sum(), p[1, :2].sum(), p[2, 2], p[3, 3]]
    columns = [q[:2, 0].sum(), q[:2, 1].sum(), q[2, 2], q[3, 3]]
    expected = -torch.stack(rows + columns).log().mean()
    torch.testing.assert_close(ego_nce(similarity, same_verb, same_noun), expected)


def test_hand_boxes_are_scored_over_known_hands_only() -> None:
    boxes = torch.zeros(2, 2, 4, 4)
    found = boxes.clone()
    found[0, 0] += 0.1  # 4 frames x 4 numbers
    found[1, 1] += 9  # not known
    known = torch.tensor([[True, True], [True, False]])
    left, right = 16 * 0.1 / (2 * 4), 0.0
    assert float(hand_box_loss(found, boxes, known)) == pytest.approx((left + right) / 2)


def test_max_margin_ranking_by_hand() -> None:
    similarity = torch.tensor([[0.5, 0.4], [0.1, 0.9]])
    # rows: 0.2 - 0.5 + 0.4, 0.2 - 0.9 + 0.1; columns: 0.2 - 0.5 + 0.1, 0.2 - 0.9 + 0.4
    assert float(max_margin_ranking(similarity)) == pytest.approx(0.1 / 4)


def test_the_loss_trains_hand_boxes_and_tells_its_parts() -> None:
    network = EgoVideo(dataclasses.replace(TINY, hand_boxes=1.0, loss="ego_nce"))
    batch = {
        "video": clips(), "tokens": texts(), "verbs": torch.eye(3), "nouns": torch.eye(3), "boxes": torch.rand(3, 2, 2, 4),
        "boxes_known": torch.ones(3, 2, dtype=torch.bool),
    }  # fmt: skip
    loss, parts = network.loss(batch)
    loss.backward()
    assert network.boxes[0].weight.grad.abs().max() > 0
    assert set(parts) == {"found_of_batch", "hand_boxes", "scale"}
    assert network.log_scale.grad is None


@pytest.mark.parametrize(
    "changes",
    [{"size": 20}, {"heads": 3}, {"sparse_frames": 3}, {"adapter": "none at all"}, {"loss": "sum"}, {"temperature": 0.0}],
)
def test_settings_that_cannot_be_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(InputError, match="expected"):
        dataclasses.replace(TINY, **changes)

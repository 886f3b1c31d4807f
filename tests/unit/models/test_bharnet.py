"""BHaRNet: experts, attention between them, fusion and loss."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from palmist.errors import InputError
from palmist.models.bharnet import BHaRNet, BHaRNetConfig, Features, PooledAttention, Scores, ensemble, fuse
from palmist.models.graph_backbones import TrunkConfig

TINY = BHaRNetConfig(
    body_graph="upper7",
    trunk=TrunkConfig(width=16, blocks=3, widen=(2,)),
    fork_after=2,
    labels=("wave", "grasp", "point"),
    frames=8,
)
VARIANTS = {
    "plain": TINY,
    "noisy_or": replace(TINY, fusion="noisy_or"),
    "pool_attention": replace(TINY, pool_attention=True),
    "expert_branch": replace(TINY, expert_branch=True),
    "both": replace(TINY, pool_attention=True, expert_branch=True),
}


def sample(persons: int = 1, batch: int = 3, seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    return {
        "body": draw(batch, persons, 8, 7, 3),
        "body_known": torch.ones(batch, persons, 8, 7, dtype=torch.bool),
        "hands": draw(batch, persons, 2, 8, 21, 3),
        "hands_known": torch.ones(batch, persons, 2, 8, 21, dtype=torch.bool),
    }


def network(config: BHaRNetConfig) -> BHaRNet:
    torch.manual_seed(1)
    model = BHaRNet(config)
    for expert in model.experts.values():
        if expert.side is not None:
            nn.init.normal_(expert.side)
    return model.eval()


@pytest.mark.parametrize("name", sorted(VARIANTS))
def test_every_variant_scores_and_learns(name: str) -> None:
    model = network(VARIANTS[name]).train()
    batch = sample() | {"label": torch.tensor([0, 2, -1])}
    heads = {"body", "hand"} | ({"body_expertized", "hand_expertized"} if "expert" in name or name == "both" else set())
    total, parts = model.loss(batch)
    assert set(model(**sample()).logits) == heads
    assert set(parts) == {"couple", "body", "hand", "accuracy"}
    total.backward()
    without = [n for n, weight in model.named_parameters() if weight.grad is None]
    assert without == []
    assert torch.allclose(model.recognise(**sample()).sum(1), torch.ones(3))


@pytest.mark.parametrize("name", sorted(VARIANTS))
def test_a_lost_hand_equals_its_instance_left_away_and_persons_have_no_order(name: str) -> None:
    model = network(VARIANTS[name])
    given = sample(persons=2)
    given["hands_known"][:, 1, 0] = False  # the second person's left hand
    given["hands"][:, 1, 0] = 7.0  # whatever stands there is not read
    scores = model(**given)
    blank = given | {"hands": given["hands"] * given["hands_known"].unsqueeze(-1)}
    for head, values in model(**blank).logits.items():
        torch.testing.assert_close(scores.logits[head], values)
    order = torch.tensor([1, 0])
    turned = {key: values[:, order] for key, values in given.items()}
    for head, values in model(**turned).logits.items():
        torch.testing.assert_close(scores.logits[head], values, atol=1e-5, rtol=1e-5)
    # One more person of whom nothing is known changes nothing.
    more = {key: torch.cat((values, torch.zeros_like(values[:, :1])), dim=1) for key, values in given.items()}
    for head, values in model(**more).logits.items():
        torch.testing.assert_close(scores.logits[head], values, atol=1e-5, rtol=1e-5)


def test_sides_are_told_apart() -> None:
    model, given = network(TINY), sample()
    mirror = torch.tensor([-1.0, 1.0, 1.0])
    swapped = given | {"hands": given["hands"].flip(2) * mirror}  # the same movements by the other hand
    assert (model(**given).logits["hand"] - model(**swapped).logits["hand"]).abs().max() > 1e-4
    for expert in model.experts.values():
        if expert.side is not None:
            nn.init.zeros_(expert.side)
    torch.testing.assert_close(model(**given).logits["hand"], model(**swapped).logits["hand"], atol=1e-5, rtol=1e-5)


def test_without_attention_the_hand_loss_does_not_reach_the_body() -> None:
    model = network(TINY)
    model(**sample()).logits["hand"].sum().backward()
    assert all(weight.grad is None for weight in model.experts["body"].parameters())
    coupled = network(VARIANTS["both"])
    coupled(**sample()).logits["hand_expertized"].sum().backward()
    assert all(weight.grad is None for weight in coupled.experts["body"].parameters())
    coupled(**sample()).logits["hand"].sum().backward()
    assert any(weight.grad is not None and weight.grad.abs().max() > 0 for weight in coupled.experts["body"].parameters())


@pytest.mark.parametrize("rule", ["logit_sum", "noisy_or"])
def test_no_hand_leaves_the_ranking_of_the_body(rule: str) -> None:
    model = network(replace(TINY, fusion=rule))
    given = sample()
    given["hands_known"][:] = False
    scores = model(**given)
    assert not scores.evidence["hand"].any()
    assert scores.evidence["body"].all()
    fused = fuse(scores, rule)
    assert torch.equal(fused.argsort(-1), scores.logits["body"].argsort(-1))
    if rule == "noisy_or":  # p_H = 0 gives p_B
        torch.testing.assert_close(fused.exp(), scores.logits["body"].softmax(-1), atol=1e-5, rtol=1e-4)
    given["body_known"][:] = False
    even = fuse(model(**given), rule)
    torch.testing.assert_close(even, even[:, :1].expand(-1, 3))


def test_noisy_or_by_hand() -> None:
    body, hand = torch.tensor([[0.7, 0.2, 0.1]]), torch.tensor([[0.25, 0.5, 0.25]])
    seen = torch.tensor([True])
    both = Scores({"body": body.log(), "hand": hand.log()}, {"body": seen, "hand": seen})
    torch.testing.assert_close(fuse(both, "noisy_or").exp(), torch.tensor([[0.775, 0.6, 0.325]]))
    uniform = Scores({"body": body.log(), "hand": torch.zeros(1, 3)}, {"body": seen, "hand": seen})
    assert torch.equal(fuse(uniform, "noisy_or").argsort(-1), body.argsort(-1))
    # Only the labels to choose from share the probability.
    candidates = torch.tensor([True, False, True])
    chosen = fuse(both, "noisy_or", candidates)
    torch.testing.assert_close(chosen.exp()[0, [0, 2]], torch.tensor([1 - 0.125 * 0.5, 1 - 0.875 * 0.5]))
    assert chosen[0, 1] == -torch.inf
    with pytest.raises(InputError, match="noisy_or"):
        fuse(both, "mean")


def test_loss_is_the_sum_of_its_parts_and_leaves_out_what_is_not_seen() -> None:
    model = network(replace(TINY, body_weight=0.5, hand_weight=2.0))
    batch = sample() | {"label": torch.tensor([0, 2, 1])}
    batch["hands_known"][1] = False
    total, parts = model.loss(batch)
    scores = model(**{key: batch[key] for key in sample()})
    entropy = nn.functional.cross_entropy
    summed = scores.logits["body"] + torch.tensor([[1.0], [0.0], [1.0]]) * scores.logits["hand"]
    expected = {
        "couple": entropy(summed, batch["label"]),
        "body": entropy(scores.logits["body"], batch["label"]),
        "hand": entropy(scores.logits["hand"][[0, 2]], batch["label"][[0, 2]]),
    }
    for name, value in expected.items():
        torch.testing.assert_close(parts[name], value)
    torch.testing.assert_close(total, expected["couple"] + 0.5 * expected["body"] + 2.0 * expected["hand"])


def test_noisy_or_is_trained_by_the_probability_of_the_true_label() -> None:
    model = network(replace(TINY, fusion="noisy_or"))
    batch = sample() | {"label": torch.tensor([0, 2, 1])}
    scores = model(**sample())
    body, hand = scores.logits["body"].softmax(-1), scores.logits["hand"].softmax(-1)
    either = (1 - (1 - body) * (1 - hand)).gather(1, batch["label"].unsqueeze(1))
    torch.testing.assert_close(model.loss(batch)[1]["couple"], -either.log().mean())


def test_pooled_attention_by_hand() -> None:
    """One token, one head, identity weights: the result is the token plus the other stream's mean, normalised."""
    torch.manual_seed(0)
    pool = PooledAttention(4, 1, ("instance",))
    attention = pool.attention["instance"]
    nn.init.zeros_(attention.project.weight)
    with torch.no_grad():
        attention.project.weight[8:].copy_(torch.eye(4))
        attention.out.weight.copy_(torch.eye(4))
    own = Features(torch.randn(1, 1, 4, 5, 7), torch.ones(1, 1, 5, dtype=torch.bool))
    seen = torch.tensor([[[True] * 5, [True, True, False, False, False], [False] * 5]])
    other = Features(torch.randn(1, 3, 4, 5, 21), seen)
    norm = nn.functional.layer_norm
    whole = other.values[0, 0].mean((1, 2))
    part = other.values[0, 1][:, :2].mean((1, 2))
    expected = own.values[0, 0].mean((1, 2)) + (norm(whole, (4,)) + norm(part, (4,))) / 2
    torch.testing.assert_close(pool(own, other)[0], expected, atol=1e-5, rtol=1e-5)
    nothing = Features(other.values, torch.zeros_like(seen))
    torch.testing.assert_close(pool(own, nothing)[0], own.values[0, 0].mean((1, 2)))


def test_rivals_are_one_network_each() -> None:
    given = sample()
    for experts, joints in ((("body",), 7), (("hand",), 21), (("unified",), 49)):
        model = network(replace(TINY, experts=experts))
        assert list(model(**given).logits) == list(experts)
        assert model.experts[experts[0]].graph.joints == joints
        assert model.recognise(**given).shape == (3, 3)
    # The unified graph reads both hands and the body.
    unified = network(replace(TINY, experts=("unified",)))
    base = unified(**given).logits["unified"]
    for key, place in (("body", (0, 0, 3, 6)), ("hands", (0, 0, 0, 3, 4)), ("hands", (0, 0, 1, 3, 4))):
        changed = given[key].clone()
        changed[place] += 1.0
        assert (unified(**(given | {key: changed})).logits["unified"] - base)[0].abs().max() > 1e-6


def test_ensemble_weighs_streams() -> None:
    one, two = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    torch.testing.assert_close(ensemble({"joint": one, "joint_motion": two}), torch.tensor([[2 / 3, 1 / 3]]))
    torch.testing.assert_close(ensemble({"joint": one, "rgb": two}, {"joint": 1, "rgb": 3}), torch.tensor([[0.25, 0.75]]))
    with pytest.raises(InputError, match="rgb"):
        ensemble({"joint": one, "rgb": two})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"experts": ("face",)}, "experts are"),
        ({"streams": ("speed",)}, "streams are"),
        ({"fusion": "max"}, "fusion is 'max'"),
        ({"expert_branch": True, "fork_after": 3}, "fork_after is 3; expected 1 to 2"),
        ({"experts": ("hand",), "pool_attention": True}, "couple two experts"),
    ],
)
def test_bad_settings_are_named(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(TINY, **changes)  # type: ignore[arg-type]


def test_a_wrong_number_of_joints_is_named() -> None:
    given = sample()
    given["body"], given["body_known"] = torch.zeros(3, 1, 8, 25, 3), torch.ones(3, 1, 8, 25, dtype=torch.bool)
    with pytest.raises(InputError, match="there are 25 joints; the graph upper7 has 7"):
        network(TINY)(**given)

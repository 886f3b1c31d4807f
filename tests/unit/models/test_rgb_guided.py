"""The RGB branch: collages by hand, the guidance against a literal version, the network, fusion."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from palmist.errors import InputError
from palmist.models.bharnet import BHaRNet, BHaRNetConfig, Features, Insight, Scores, ensemble, fuse
from palmist.models.graph_backbones import TrunkConfig
from palmist.models.rgb_guided import (
    PARTS,
    PRESETS,
    ROW_JOINTS,
    RGBGuided,
    RGBGuidedConfig,
    arrange,
    collage,
    cut_tiles,
    energy_range,
    guidance_weights,
    heads,
    joint_energy,
    moments,
)
from palmist.models.skeleton_graph import GRAPHS
from palmist.skeleton import BODY_LAYOUTS

GUIDE = BHaRNetConfig(
    body_graph="upper7", trunk=TrunkConfig(width=16, blocks=2, widen=(2,)), labels=("wave", "grasp", "point"), frames=8
)
TINY = RGBGuidedConfig(GUIDE, width=8, tile=16, crop_pixels=16, guide_top=2)


# ------------------------------------------------------------------------------------------------------------ collage


def coded(frames: int = 1, height: int = 20, width: int = 30) -> np.ndarray:
    """Pixels that tell where they are from: red x, green y, blue frame + 1."""
    picture = np.zeros((frames, height, width, 3), np.uint8)
    picture[..., 0] = np.arange(width)
    picture[..., 1] = np.arange(height)[:, None]
    picture[..., 2] = np.arange(1, frames + 1)[:, None, None]
    return picture


def one_person(points: list[tuple[float, float]], frames: int = 1) -> tuple[np.ndarray, np.ndarray]:
    where = np.broadcast_to(np.array(points, float), (frames, 1, PARTS, 2)).copy()
    return where, np.ones((frames, 1, PARTS), bool)


MIDDLE = [(10.0, 8.0)] * PARTS


def test_five_inner_points_of_six_intervals() -> None:
    assert moments(25).tolist() == [4, 8, 12, 16, 20]
    assert moments(7).tolist() == [1, 2, 3, 4, 5]
    assert moments(1).tolist() == [0] * 5
    drawn = np.stack([moments(61, torch.Generator().manual_seed(seed)) for seed in range(200)])
    assert (np.diff(drawn, axis=1) >= 0).all()
    assert drawn.min() >= 5  # a twelfth of the 60 steps: half the clip is the shortest stretch
    assert drawn.max() <= 55
    span = drawn[:, 4] - drawn[:, 0]  # two thirds of the stretch, which is at least half of 60 steps
    assert span.min() >= 19
    assert span.max() <= 41
    assert np.unique(drawn[:, 2]).size > 10
    with pytest.raises(InputError, match="0 frames"):
        moments(0)


def test_a_crop_holds_the_pixels_around_its_point() -> None:
    points, known = one_person([(10, 8), (10.4, 8), (10.5, 8), (1, 1), (29, 19)])
    tiles, seen = cut_tiles(coded(), points, known, 5, 5)
    assert seen.all()
    for part, (x, y) in enumerate([(8, 6), (8, 6), (8, 6)]):  # the middle of five pixels is the point's own
        assert np.array_equal(tiles[0, part], coded()[0, y : y + 5, x : x + 5])
    # Over the edge it is black, and what is in the picture is in its place.
    assert not tiles[0, 3, 0].any()
    assert not tiles[0, 3, :, 0].any()
    assert np.array_equal(tiles[0, 3, 1:, 1:], coded()[0, :4, :4])
    assert np.array_equal(tiles[0, 4, :3, :3], coded()[0, 17:, 27:])
    assert not tiles[0, 4, 3:].any()
    even, _ = cut_tiles(coded(), points, known, 4, 4)  # an even side: one more pixel before the point
    assert np.array_equal(even[0, 0], coded()[0, 6:10, 8:12])


def test_crops_are_brought_to_the_tile() -> None:
    points, known = one_person(MIDDLE)
    smaller, _ = cut_tiles(coded(), points, known, 6, 3)
    block = coded()[0, 5:11, 7:13].astype(float).reshape(3, 2, 3, 2, 3).mean((1, 3))
    assert np.abs(smaller[0, 0] - block).max() <= 0.5
    larger, _ = cut_tiles(coded(), points, known, 5, 15)
    assert np.abs(larger[0, 0, 7::15, 7::15].astype(int) - [[[10, 8, 1]]]).max() == 0  # the middle is the point


def test_missing_parts_are_blank() -> None:
    points, known = one_person(MIDDLE, frames=3)
    known[1, 0, 2] = False
    points[2, 0, 4] = np.nan
    points[0, 0, 3] = (-3.0, 8.0)  # five pixels around it end at x = -1
    points[0, 0, 0] = (-2.0, 8.0)  # one more column reaches the picture
    tiles, seen = cut_tiles(coded(3), points, known, 5, 5)
    expected = np.ones((3, PARTS), bool)
    expected[1, 2] = expected[2, 4] = expected[0, 3] = False
    assert np.array_equal(seen, expected)
    assert not tiles[~expected].any()
    assert all(tile.any() for tile in tiles[expected])
    assert np.array_equal(tiles[0, 0, :, 4], coded()[0, 6:11, 0])


def test_rows_are_parts_and_columns_are_times() -> None:
    frames = coded(25)
    points, known = one_person([(4, 4), (8, 6), (12, 8), (16, 10), (20, 12)], frames=25)
    known[8, 0, 3] = False
    picture, seen = collage(frames, points, known, 3, tile=3)
    assert picture.shape == (15, 15, 3)
    centre = picture[1::3, 1::3]  # of each tile, [row, column]
    shown = np.ones((5, 5), bool)
    shown[3, 1] = False
    assert np.array_equal(seen, shown)
    assert np.array_equal(centre[..., 2], np.where(shown, np.array([5, 9, 13, 17, 21]), 0))  # the frame's number + 1
    assert np.array_equal(centre[..., 0], np.where(shown, np.array([4, 8, 12, 16, 20])[:, None], 0))
    published, _ = collage(np.zeros((30, 200, 200, 3), np.uint8), *one_person(MIDDLE, 30), 96)
    assert published.shape == (225, 225, 3)


def test_two_persons_share_a_tile_and_one_alone_has_it_whole() -> None:
    points = np.zeros((1, 2, PARTS, 2))
    points[0, 0], points[0, 1] = (6.0, 10.0), (24.0, 10.0)
    known = np.ones((1, 2, PARTS), bool)
    known[0, 1, 4] = False
    tiles, seen = cut_tiles(coded(), points, known, 8, 8)
    assert np.array_equal(tiles[0, 0, :, :4], coded()[0, 6:14, 4:8])
    assert np.array_equal(tiles[0, 0, :, 4:], coded()[0, 6:14, 22:26])
    assert seen.all()
    assert tiles[0, 4, :, :4].any()
    assert not tiles[0, 4, :, 4:].any()  # the half of a part that is not seen
    alone, _ = cut_tiles(coded(), points, known & np.array([False, True])[None, :, None], 8, 8)
    assert np.array_equal(alone[0, 0], coded()[0, 6:14, 20:28])


def test_a_mirrored_clip_gives_mirrored_tiles_with_the_sides_exchanged() -> None:
    generator = np.random.default_rng(0)
    frames = generator.integers(0, 256, (25, 40, 50, 3), np.uint8)
    points = generator.uniform(0, 40, (25, 1, PARTS, 2))
    known = generator.random((25, 1, PARTS)) < 0.8
    other = [0, 2, 1, 4, 3]
    flipped = points[:, :, other] * [-1, 1] + [49, 0]
    picture, seen = collage(frames, points, known, 11, tile=11)
    mirrored, mirrored_seen = collage(frames[:, :, ::-1], flipped, known[:, :, other], 11, tile=11)
    tiles = picture.reshape(5, 11, 5, 11, 3)
    assert np.array_equal(mirrored.reshape(5, 11, 5, 11, 3), tiles[other][:, :, :, ::-1])
    assert np.array_equal(mirrored_seen, seen[other])


def test_rows_of_every_layout_name_the_same_parts() -> None:
    upper = ("nose", "right_wrist", "left_wrist", "right_elbow", "left_elbow")
    assert tuple(BODY_LAYOUTS["mediapipe25"][joint] for joint in ROW_JOINTS["mediapipe25"]) == upper
    assert tuple(BODY_LAYOUTS["openpose8"][joint] for joint in ROW_JOINTS["openpose8"]) == ("neck", *upper[1:])
    from palmist.inputs.windows import BODY_POINTS

    assert tuple(BODY_POINTS[joint] for joint in ROW_JOINTS["upper7"]) == upper
    assert ROW_JOINTS["kinect25"] == (3, 11, 7, 18, 14)
    for name, joints in ROW_JOINTS.items():
        assert len(joints) == PARTS
        if name in GRAPHS:
            assert max(joints) < GRAPHS[name].joints


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"frames": np.zeros((1, 20, 30, 3))}, "expected .* of uint8"),
        ({"points": np.zeros((1, 1, 4, 2))}, "points have shape"),
        ({"known": np.ones((1, 5), bool)}, "known has shape"),
        ({"side": 1.0}, "side of a crop is 1"),
        ({"side": float("nan")}, "side of a crop is nan"),
    ],
)
def test_bad_input_is_named(change: dict[str, object], message: str) -> None:
    points, known = one_person(MIDDLE)
    given = {"frames": coded(), "points": points, "known": known, "side": 5.0, "tile": 5} | change
    with pytest.raises(InputError, match=message):
        cut_tiles(**given)  # type: ignore[arg-type]


# ----------------------------------------------------------------------------------------------------------- guidance


def literal_weights(values: Tensor, seen: Tensor, joints: tuple[int, ...], top: int) -> list[list[float]]:
    """MMNet's recipe by loops over plain numbers; values (B, M, D, T, V)."""
    B, M, D, T, V = values.shape
    number = values.tolist()
    energy = [
        [[[sum(number[b][m][d][t][v] ** 2 for d in range(D)) ** 0.5 for v in range(V)] for t in range(T)] for m in range(M)]
        for b in range(B)
    ]
    shown = [(b, m, t) for b in range(B) for m in range(M) for t in range(T) if seen[b, m, t]]
    every = [energy[b][m][t][v] for b, m, t in shown for v in range(V)]
    low, high = min(every), max(every)
    weights = []
    for b in range(B):
        level = [[[255 * (energy[b][m][t][v] - low) / (high - low) if seen[b, m, t] else None for v in range(V)]
                  for t in range(T)] for m in range(M)]  # fmt: skip
        totals = [sum(value for row in level[m] for value in row if value is not None) for m in range(M)]
        person = level[totals.index(max(totals))]
        row = []
        for joint in joints:
            times = sorted((at[joint] for at in person if at[joint] is not None), reverse=True)[:top]
            row.append(sum(times) / len(times) / 127 if times else 0.0)
        weights.append(row)
    return weights


@pytest.mark.parametrize("top", [1, 3, 15])
def test_weights_are_the_published_recipe(top: int) -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(4, 2, 3, 6, 7, generator=generator) * torch.rand(4, 2, 1, 6, 7, generator=generator)
    seen = torch.rand(4, 2, 6, generator=generator) < 0.7
    seen[1, 0], seen[2] = False, False
    features = Features(values, seen)
    energy = joint_energy(features)
    limits = energy_range(energy, seen)
    assert limits is not None
    joints = ROW_JOINTS["upper7"]
    found = guidance_weights(energy, seen, joints, limits, top)
    torch.testing.assert_close(found, torch.tensor(literal_weights(values, seen, joints, top)))
    assert not found[2].any()
    assert 0 <= found.min() <= found.max() <= 255 / 127
    assert energy_range(energy[2:3], seen[2:3]) is None


def test_weights_by_hand() -> None:
    """One person, one channel, four times, two joints: energies 0..8 are levels 0..255."""
    energy = torch.tensor([[0.0, 8.0], [4.0, 2.0], [6.0, 2.0], [2.0, 2.0]]).view(1, 1, 4, 2)
    seen = torch.ones(1, 1, 4, dtype=torch.bool)
    limits = torch.tensor([0.0, 8.0])
    expected = torch.tensor([[5 / 8, 5 / 8]]) * 255 / 127  # means of (6, 4) and of (8, 2)
    torch.testing.assert_close(guidance_weights(energy, seen, (0, 1), limits, 2), expected)
    seen[0, 0, 0] = False
    expected = torch.tensor([[5 / 8, 2 / 8]]) * 255 / 127
    torch.testing.assert_close(guidance_weights(energy, seen, (0, 1), limits, 2), expected)
    # The more energetic of two persons guides, whichever place he has.
    both = torch.cat((energy / 10, energy), dim=1)
    visible = torch.ones(1, 2, 4, dtype=torch.bool)
    alone = guidance_weights(energy, visible[:, :1], (0, 1), limits, 2)
    torch.testing.assert_close(guidance_weights(both, visible, (0, 1), limits, 2), alone)
    torch.testing.assert_close(guidance_weights(both.flip(1), visible, (0, 1), limits, 2), alone)


# ------------------------------------------------------------------------------------------------------------ network


def sample(batch: int = 3, seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        "collage": torch.randint(0, 256, (batch, 80, 80, 3), generator=generator, dtype=torch.uint8),
        "seen": torch.ones(batch, 5, 5, dtype=torch.bool),
        "body": torch.randn(batch, 1, 8, 7, 3, generator=generator),
        "body_known": torch.ones(batch, 1, 8, 7, dtype=torch.bool),
        "hands": torch.randn(batch, 1, 2, 8, 21, 3, generator=generator),
        "hands_known": torch.ones(batch, 1, 2, 8, 21, dtype=torch.bool),
    }


def network(config: RGBGuidedConfig = TINY) -> RGBGuided:
    torch.manual_seed(1)
    return RGBGuided(config).eval()


def look(model: RGBGuided, given: dict[str, Tensor]) -> Insight:
    return model.skeleton.look(*(given[name] for name in ("body", "body_known", "hands", "hands_known")))


def test_rows_are_multiplied_and_blank_ones_are_nothing() -> None:
    model, given = network(), sample(1)
    weights = torch.tensor([[0.0, 0.5, 1.0, 1.5, 2.0]])
    given["seen"][0, 2, 3] = False
    shown = model.picture(given["collage"], given["seen"], weights)
    mean, spread = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    plain = torch.tensor((given["collage"][0].numpy() / 255 - mean) / spread, dtype=torch.float32).permute(2, 0, 1)
    for row in range(5):
        for column in range(5):
            part = (0, slice(None), slice(16 * row, 16 * row + 16), slice(16 * column, 16 * column + 16))
            factor = 0.0 if (row, column) == (2, 3) else float(weights[0, row])
            torch.testing.assert_close(shown[part], factor * plain[part[1:]], atol=1e-5, rtol=1e-5)
    with pytest.raises(InputError, match="the collage has shape"):
        model.picture(given["collage"][:, :79], given["seen"], weights)


def test_what_stands_in_blank_tiles_is_not_read() -> None:
    model, given = network(), sample()
    given["seen"][:, 1] = False
    given["seen"][:, 4, 2] = False
    base = model(**given).logits["rgb"]
    painted = given["collage"].clone()
    painted[:, 16:32] = 255
    painted[:, 64:, 32:48] = 0
    torch.testing.assert_close(model(**(given | {"collage": painted})).logits["rgb"], base)
    painted[:, 0:16] = 255
    assert (model(**(given | {"collage": painted})).logits["rgb"] - base).abs().max() > 1e-5


def test_weights_come_from_the_body_then_the_hands_then_stay_one() -> None:
    model, given = network(), sample(4)
    given["body_known"][1:] = False  # the second sample shows hands alone, the third the right hand, the last nothing
    given["hands_known"][2:, :, 0] = False
    given["hands_known"][3] = False
    given["seen"][0, 4] = False
    insight = look(model, given)
    weights = model.row_weights(insight, given["seen"])
    body, hand = insight.features["body"], insight.features["hand"]
    limits = energy_range(joint_energy(body), body.seen)
    assert limits is not None
    expected = guidance_weights(joint_energy(body), body.seen, ROW_JOINTS["upper7"], limits, 2)[0]
    torch.testing.assert_close(weights[0], expected * torch.tensor([1, 1, 1, 1, 0]))
    hand_limits = energy_range(joint_energy(hand), hand.seen)
    assert hand_limits is not None
    for row, instance in ((1, 1), (2, 0)):
        mean = joint_energy(hand)[1:2, instance : instance + 1].mean(-1, keepdim=True)
        own = guidance_weights(mean, hand.seen[1:2, instance : instance + 1], (0,), hand_limits, 2)
        torch.testing.assert_close(weights[1, row], own[0, 0])
    assert weights[1, [0, 3, 4]].tolist() == [1, 1, 1]
    assert weights[2, [0, 2, 3, 4]].tolist() == [1, 1, 1, 1]
    assert weights[3].tolist() == [1, 1, 1, 1, 1]
    assert network(replace(TINY, guided=False)).row_weights(insight, given["seen"]).tolist()[0] == [1, 1, 1, 1, 0]


def test_in_evaluation_a_sample_does_not_depend_on_its_neighbours() -> None:
    model = network()
    batch = sample(4) | {"label": torch.tensor([0, 1, 2, -1])}
    model.train().loss(batch)
    assert model.limits_known.all()
    first = model.limits.clone()
    whole = model(**sample(4)).logits["rgb"]  # moves the running limits by a tenth
    features = look(model, sample(4)).features["body"]
    own = energy_range(joint_energy(features), features.seen)
    assert own is not None
    torch.testing.assert_close(model.limits[0], first[0].lerp(own, 0.1))
    model.eval()
    given = sample(4)
    whole = model(**given).logits["rgb"]
    alone = torch.cat([model(**{name: values[i : i + 1] for name, values in given.items()}).logits["rgb"] for i in range(4)])
    torch.testing.assert_close(whole, alone, atol=1e-5, rtol=1e-5)
    # Here the batch's own limits would differ.
    loud = given["body"].clone()
    loud[1:] *= 30
    torch.testing.assert_close(model(**(given | {"body": loud})).logits["rgb"][0], whole[0], atol=1e-5, rtol=1e-5)
    model.train()
    assert (model.row_weights(look(model, given | {"body": loud}), given["seen"])[0]
            - model.row_weights(look(model, given), given["seen"])[0]).abs().max() > 0.05  # fmt: skip


def test_late_fusion_adds_scores_and_a_blank_picture_changes_nothing() -> None:
    model, given = network(), sample()
    scores = model(**given)
    assert set(scores.logits) == {"body", "hand", "rgb"}
    expected = scores.logits["body"] + scores.logits["hand"] + scores.logits["rgb"]
    torch.testing.assert_close(model.recognise(**given), expected.softmax(-1))
    given["seen"][:] = False
    skeleton = model.skeleton.recognise(*(given[name] for name in ("body", "body_known", "hands", "hands_known")))
    torch.testing.assert_close(model.recognise(**given), skeleton)
    parts = heads(model, model(**given))
    torch.testing.assert_close(parts.skeleton, skeleton)
    torch.testing.assert_close(parts.rgb, torch.full((3, 3), 1 / 3))
    candidates = torch.tensor([True, False, True])
    assert not model.recognise(**sample(), candidates=candidates)[:, 1].any()


def test_noisy_or_and_ensembles_take_the_picture_as_one_more_opinion() -> None:
    model = network(replace(TINY, skeleton=replace(GUIDE, fusion="noisy_or")))
    scores = model(**sample())
    share = {name: values.softmax(-1) for name, values in scores.logits.items()}
    either = 1 - (1 - share["body"]) * (1 - share["hand"]) * (1 - share["rgb"])
    torch.testing.assert_close(model.opinion(scores).exp(), either)
    parts = heads(model, scores)
    mixed = ensemble({"joint": parts.skeleton, "rgb": parts.rgb}, {"joint": 2, "rgb": 1})
    torch.testing.assert_close(mixed, (2 * parts.skeleton + parts.rgb) / 3)


def test_feature_fusion_reads_body_hands_and_picture() -> None:
    model, given = network(replace(TINY, fusion="feature")), sample()
    base = model(**given)
    assert set(base.logits) == {"body", "hand", "rgb", "joint"}
    torch.testing.assert_close(model.recognise(**given), base.logits["joint"].softmax(-1))
    for name in ("body", "hands", "collage"):
        changed = given[name].clone()
        changed[0] = changed[0] // 2 if name == "collage" else -changed[0]
        moved = model(**(given | {name: changed})).logits["joint"]
        assert (moved - base.logits["joint"])[0].abs().max() > 1e-5
        if name == "collage":
            torch.testing.assert_close(moved[1:], base.logits["joint"][1:])
    # Nothing seen at all: every label alike.
    blank = {name: torch.zeros_like(values) if values.dtype == torch.bool else values for name, values in given.items()}
    torch.testing.assert_close(model.recognise(**blank), torch.full((3, 3), 1 / 3))


@pytest.mark.parametrize("fusion", ["late", "feature"])
@pytest.mark.parametrize("train_skeleton", [False, True])
def test_the_loss_reaches_what_it_should(fusion: str, train_skeleton: bool) -> None:
    config = replace(TINY, fusion=fusion, train_skeleton=train_skeleton, rgb_weight=0.5)
    model = network(config).train()
    assert model.skeleton.training == train_skeleton
    before = {name: values.clone() for name, values in model.skeleton.state_dict().items()}
    batch = sample() | {"label": torch.tensor([0, 2, -1])}
    total, parts = model.loss(batch)
    expected = parts["rgb"] if fusion == "late" else parts["joint"] + 0.5 * parts["rgb"]
    torch.testing.assert_close(total.detach(), expected + (parts["skeleton"] if train_skeleton else 0.0))
    total.backward()
    learning = {name.split(".")[0] for name, weight in model.named_parameters() if weight.grad is not None}
    assert learning == {"backbone", "classifier"} | ({"norm", "joint_classifier"} if fusion == "feature" else set()) | (
        {"skeleton"} if train_skeleton else set()
    )
    if not train_skeleton:  # not even the running statistics of its BatchNorm move
        assert all(torch.equal(values, before[name]) for name, values in model.skeleton.state_dict().items())


def test_the_guide_gets_no_gradient() -> None:
    """With late fusion the picture's loss reaches the skeleton by no way: the weights of the rows are detached."""
    model = network(replace(TINY, train_skeleton=True)).train()
    model(**sample()).logits["rgb"].sum().backward()
    assert all(weight.grad is None for weight in model.skeleton.parameters())


def test_samples_without_picture_or_label_do_not_count() -> None:
    model = network()
    batch = sample() | {"label": torch.tensor([0, 2, -1])}
    batch["seen"][1] = False
    _, parts = model.loss(batch)
    scores = model(**sample())
    torch.testing.assert_close(parts["rgb"], nn.functional.cross_entropy(scores.logits["rgb"][:1], torch.tensor([0])))


def test_unified_graphs_and_bodies_alone_guide_too() -> None:
    for experts in (("unified",), ("body",), ("hand",)):
        model = network(replace(TINY, skeleton=replace(GUIDE, experts=experts), fusion="feature"))
        weights = model.row_weights(look(model, sample()), sample()["seen"])
        assert weights.shape == (3, 5)
        ones = weights == 1
        assert ones[:, [0, 3, 4]].all() == (experts == ("hand",))
        assert not ones[:, [1, 2]].any()
        assert model.recognise(**sample()).shape == (3, 3)


def test_published_sizes() -> None:
    config = replace(PRESETS["paper"], skeleton=replace(BHaRNetConfig(), labels=tuple(map(str, range(60)))))
    model = RGBGuided(config)
    resnet = sum(weight.numel() for weight in model.backbone.parameters())
    assert resnet == 11_176_512  # ResNet-18 without its classifier
    assert sum(weight.numel() for weight in model.classifier.parameters()) == 512 * 60 + 60
    assert (config.tile * 5, config.crop_pixels, config.guide_top) == (225, 96, 15)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fusion": "early"}, "fusion is 'early'"),
        ({"tile": 0}, "tile is 0"),
        ({"skeleton": replace(GUIDE, body_graph="hand21")}, "no rows for the body graph 'hand21'"),
    ],
)
def test_bad_settings_are_named(change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(TINY, **change)  # type: ignore[arg-type]


def test_looking_gives_the_same_scores_as_the_plain_call() -> None:
    model = BHaRNet(replace(GUIDE, pool_attention=True)).eval()
    given = [sample()[name] for name in ("body", "body_known", "hands", "hands_known")]
    insight = model.look(*given)
    for name, values in model(*given).logits.items():
        torch.testing.assert_close(values, insight.scores.logits[name])
        torch.testing.assert_close(model.classifier[name](insight.pooled[name]), values)
    one = Scores({"body": insight.scores.logits["body"]}, {"body": insight.scores.evidence["body"]})
    assert torch.equal(fuse(one, "logit_sum"), insight.scores.logits["body"])


def test_tiles_are_arranged_without_mixing() -> None:
    tiles = np.arange(25, dtype=np.uint8).reshape(5, 5, 1, 1, 1).repeat(2, 2).repeat(2, 3).repeat(3, 4)
    assert np.array_equal(arrange(tiles)[::2, ::2, 0], np.arange(25).reshape(5, 5).T)

"""TRec's network: what the order and the number of points change, masks, controls, and features against literal versions."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from palmist.errors import InputError
from palmist.models.layers import Linear
from palmist.models.trec import (
    INPUTS,
    PRESETS,
    TRec,
    TRecConfig,
    controlled,
    differences_to_anchors,
    draw_points,
    first_differences,
    normalised_tracks,
    oriented_histogram,
)

TINY = TRecConfig(
    width=16, layers=2, heads=2, image_width=4, train_points=(5, 9), frames=4, size=32, labels=("a", "b", "c")
)  # fmt: skip
EVERYTHING = replace(
    TINY, balanced=True, visibility=True, differences=True, orientations=8, pairwise=3, sampled_appearance=True
)


def clip(points: int = 12, batch: int = 3, seed: int = 0, size: int = 32) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    video = torch.randint(0, 256, (batch, 4, size, size, 3), generator=generator, dtype=torch.uint8)
    tracks = torch.rand(batch, 4, points, 2, generator=generator) * (size - 1)
    return video, tracks, torch.rand(batch, 4, points, generator=generator) < 0.7


def network(config: TRecConfig = TINY, seed: int = 0) -> TRec:
    torch.manual_seed(seed)
    return TRec(config).eval()


@pytest.mark.parametrize("config", [TINY, EVERYTHING], ids=["plain", "everything"])
def test_the_order_of_points_does_not_matter(config: TRecConfig) -> None:
    video, tracks, visible = clip()
    order = torch.randperm(12, generator=torch.Generator().manual_seed(3))
    model = network(config)
    scores = model(video, tracks, visible)
    assert torch.allclose(scores, model(video, tracks[:, :, order], visible[:, :, order]), atol=1e-5)
    # ... and the points do: tracks of another clip give other scores.
    assert not torch.allclose(scores, model(video, tracks.roll(1, 0), visible.roll(1, 0)), atol=1e-4)


@pytest.mark.parametrize("config", [TINY, EVERYTHING], ids=["plain", "everything"])
@pytest.mark.parametrize("points", [1, 10, 900])
def test_the_same_weights_take_any_number_of_points(config: TRecConfig, points: int) -> None:
    scores = network(config)(*clip(points))
    assert scores.shape == (3, 3)
    assert torch.isfinite(scores).all()


def test_balanced_attention_does_not_count_tokens() -> None:
    """Every point twice changes nothing, where it does without the balance."""
    video, tracks, visible = clip()
    twice = (video, tracks.repeat(1, 1, 2, 1), visible.repeat(1, 1, 2))
    balanced, plain = network(replace(TINY, balanced=True)), network()
    assert torch.allclose(balanced(video, tracks, visible), balanced(*twice), atol=1e-5)
    assert not torch.allclose(plain(video, tracks, visible), plain(*twice), atol=1e-4)
    for inputs in ("frames", "tracks"):  # alone there is nothing to balance
        balanced.inputs = plain.inputs = inputs
        assert torch.equal(balanced(video, tracks, visible), plain(video, tracks, visible))


def test_still_tracks_have_no_differences() -> None:
    video, tracks, visible = clip()
    still, seen = controlled(tracks, visible, "still")
    assert (first_differences(still) == 0).all()
    assert (first_differences(tracks)[:, 1:] == tracks[:, 1:] - tracks[:, :-1]).all()
    assert (first_differences(tracks)[:, 0] == 0).all()
    assert (oriented_histogram(still) == 0).all()
    assert (seen == visible[:, :1]).all()
    model = network(EVERYTHING)
    model.inputs = "frames_and_still_tracks"
    expected = network(EVERYTHING)(video, tracks[:, :1].expand_as(tracks), visible[:, :1].expand_as(visible))
    assert torch.equal(model(video, tracks, visible), expected)


def masked_scores(model: TRec, video: torch.Tensor, tracks: torch.Tensor, visible: torch.Tensor, kept: slice) -> torch.Tensor:
    """The whole network by hand in float64, with all tokens in the sequence and attention to those in `kept` alone."""
    model = model.double()
    with torch.no_grad():
        images = (video.double() / 255 - model.colour_mean) / model.colour_spread
        pooled = model.backbone(images.flatten(0, 1).permute(0, 3, 1, 2)).unflatten(0, video.shape[:2])
        frames = model.image_projection(pooled) + model.image_time + model.kind[0]
        points = normalised_tracks(tracks.double(), video.shape[3], video.shape[2])
        x = torch.cat((frames, model.track_tokens(points, visible) + model.kind[1]), 1)
        allowed = torch.zeros(x.shape[1], dtype=torch.bool)
        allowed[kept] = True

        def attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
            B, M, D = query.shape
            heads = [part.view(B, -1, 2, D // 2).transpose(1, 2) for part in (query, key, value)]
            affinity = heads[0] @ heads[1].transpose(2, 3) / math.sqrt(D // 2)
            weight = affinity.masked_fill(~allowed, -math.inf).softmax(-1)
            return (weight @ heads[2]).transpose(1, 2).reshape(B, M, D)

        for layer in model.layers:
            x = x + layer.out(attend(*layer.qkv(layer.norm1(x)).chunk(3, -1)))
            x = x + layer.mlp(layer.norm2(x))
        pool = model.pool
        key, value = pool.key_value(pool.norm(x)).chunk(2, -1)
        pooled = pool.out(attend(pool.query.expand(len(x), 1, -1), key, value))[:, 0]
        return model.head(pooled)


@pytest.mark.parametrize(
    ("inputs", "kept"), [("frames", slice(0, 4)), ("tracks", slice(4, None)), ("frames_and_tracks", slice(None))]
)
def test_left_out_tokens_are_masked_tokens_of_the_full_network(inputs: str, kept: slice) -> None:
    video, tracks, visible = clip()
    model = network()
    model.inputs = inputs
    scores = model(video, tracks, visible)
    assert torch.allclose(scores.double(), masked_scores(network(), video, tracks, visible, kept), atol=1e-4)


def test_rgb_only_has_the_weights_of_the_full_network_and_never_looks_at_tracks() -> None:
    video, tracks, visible = clip()
    full, rgb = network(), network(replace(TINY, inputs="frames"))
    rgb.load_state_dict(full.state_dict())
    assert torch.equal(rgb(video), rgb(video, tracks, visible))
    full.inputs = "frames"
    assert torch.equal(rgb(video), full(video, tracks, visible))
    loss, _ = rgb.train().loss({"video": video, "label": torch.tensor([0, 1, 2])})
    loss.backward()
    assert all(parameter.grad is None for parameter in rgb.track_tokens.parameters())
    assert rgb.backbone.conv1.weight.grad is not None


def test_controls_change_what_they_name_and_nothing_else() -> None:
    video, tracks, visible = clip()
    other = clip(seed=1)[0]
    model = network(EVERYTHING)

    def scores(inputs: str, pixels: torch.Tensor = video, points: torch.Tensor = tracks) -> torch.Tensor:
        model.inputs = inputs
        return model(pixels, points, visible)

    later = video.clone()
    later[:, 1:] = other[:, 1:]
    assert torch.equal(scores("first_frame_and_tracks"), scores("first_frame_and_tracks", later))
    assert not torch.allclose(scores("first_frame_and_tracks"), scores("first_frame_and_tracks", other), atol=1e-4)
    assert torch.equal(scores("first_frame"), scores("first_frame", later, tracks + 5))
    assert torch.equal(scores("blank_frames_and_tracks"), scores("blank_frames_and_tracks", other))
    assert torch.equal(scores("tracks"), scores("tracks", other))
    assert torch.equal(scores("shuffled_frames_and_tracks"), scores("frames_and_tracks", video.roll(1, 0)))
    model.inputs = "frames_and_reversed_tracks"
    backwards = model(video, tracks.flip(1), visible.flip(1))
    assert torch.allclose(backwards, scores("frames_and_tracks"), atol=1e-6)
    assert not torch.allclose(scores("frames_and_reversed_tracks"), scores("frames_and_tracks"), atol=1e-4)
    model.inputs = "shuffled_frames_and_tracks"
    with pytest.raises(InputError, match="1 clip, and frames are to be exchanged"):
        model.recognise(video[:1, None], tracks[:1, None], visible[:1, None])


@pytest.mark.parametrize("inputs", list(INPUTS))
def test_every_input_trains(inputs: str) -> None:
    video, tracks, visible = clip()
    model = network(replace(EVERYTHING, inputs=inputs)).train()
    batch = {"video": video, "tracks": tracks, "visible": visible, "label": torch.tensor([0, -1, 2])}
    loss, parts = model.loss(batch, torch.Generator().manual_seed(0))
    loss.backward()
    assert torch.isfinite(loss)
    assert 0 <= float(parts["accuracy"]) <= 1


def test_horizontal_flip_is_a_sign_of_x() -> None:
    tracks = torch.tensor([[0.0, 0.0], [31.0, 9.5], [15.5, 31.5]])
    places = normalised_tracks(tracks, 32, 32)
    assert places.tolist() == [[-1 + 1 / 32, -1 + 1 / 32], [1 - 1 / 32, -0.375], [0, 1]]
    flipped = torch.stack((31 - tracks[:, 0], tracks[:, 1]), -1)
    assert torch.allclose(normalised_tracks(flipped, 32, 32), places * torch.tensor([-1.0, 1.0]))


def test_oriented_histograms_equal_the_literal_ones() -> None:
    tracks = clip(6)[1].double()
    tracks[0, 2, 3] = tracks[0, 1, 3]  # no step at all
    found = oriented_histogram(tracks, 32)
    for b in range(3):
        for t in range(4):
            for p in range(6):
                expected = [0.0] * 32
                if t:
                    dx, dy = (tracks[b, t, p] - tracks[b, t - 1, p]).tolist()
                    turn = math.atan2(dy, dx) % (2 * math.pi) / (2 * math.pi) * 32
                    low = math.floor(turn)
                    expected[low % 32] += (1 - (turn - low)) * math.hypot(dx, dy)
                    expected[(low + 1) % 32] += (turn - low) * math.hypot(dx, dy)
                assert found[b, t, p].tolist() == pytest.approx(expected, abs=1e-9)
    line = torch.tensor([[0.0, 0.0], [2.0, 0.0], [2.0, 3.0]]).view(1, 3, 1, 2)  # right by 2, then down by 3
    by_hand = oriented_histogram(line, 4)[0, :, 0]
    assert by_hand.tolist() == [[0, 0, 0, 0], [2, 0, 0, 0], [0, pytest.approx(3), 0, 0]]


def test_differences_to_anchors_equal_the_literal_ones() -> None:
    _, tracks, visible = clip(7)
    tracks = normalised_tracks(tracks, 32, 32).double()
    found = differences_to_anchors(tracks, visible, 3)
    assert found.shape == (3, 4, 7, 18)
    for b in range(3):
        anchors = []
        for row in range(3):
            for column in range(3):
                place = ((column + 0.5) * 2 / 3 - 1, (row + 0.5) * 2 / 3 - 1)
                anchors.append(min(range(7), key=lambda p: math.dist(place, tracks[b, 0, p].tolist())))
        for t in range(4):
            for p in range(7):
                expected = []
                for anchor in anchors:
                    both = bool(visible[b, t, p] and visible[b, t, anchor])
                    expected += ((tracks[b, t, anchor] - tracks[b, t, p]) * both).tolist()
                assert found[b, t, p].tolist() == pytest.approx(expected)


def test_appearance_is_sampled_where_the_points_are() -> None:
    model = network(replace(TINY, sampled_appearance=True))
    assert model.appearance is not None
    assert model.appearance_time is not None
    maps = torch.randn(1, 2, 32, 3, 3)  # of frames 0 and 3; a place covers a third of the clip
    times = torch.tensor([0, 3])
    points = torch.zeros(1, 4, 2, 2)
    points[0, 0] = torch.tensor([[0.0, 0.0], [-2 / 3, 2 / 3]])  # the middle; the centre of the place below at the left
    points[0, 3] = torch.tensor([[1 / 3, 0.0], [5.0, 5.0]])  # half way to the right; far outside
    visible = torch.ones(1, 4, 2, dtype=torch.bool)
    visible[0, 0, 1] = False
    between = (maps[0, 1, :, 1, 1] + maps[0, 1, :, 1, 2]) / 2
    code = model.appearance_time
    first = (model.appearance(maps[0, 0, :, 1, 1]) + code[0] + model.appearance(between) + code[3]) / 2
    second = model.appearance(maps[0, 1, :, 2, 2]) + code[3]
    found = model._sampled(maps, times, points, visible)[0]
    assert torch.allclose(found, torch.stack((first, second)), atol=1e-5)
    visible[:] = False
    assert (model._sampled(maps, times, points, visible) == 0).all()


def test_training_takes_a_random_subset_that_the_generator_decides() -> None:
    sizes, seen = set(), set()
    for seed in range(60):
        chosen = draw_points(20, (5, 9), torch.Generator().manual_seed(seed))
        assert torch.equal(chosen, draw_points(20, (5, 9), torch.Generator().manual_seed(seed)))
        assert len(set(chosen.tolist())) == len(chosen)
        sizes.add(len(chosen))
        seen |= set(chosen.tolist())
    assert sizes == {5, 6, 7, 8, 9}
    assert seen == set(range(20))
    assert len(draw_points(3, (5, 9), None)) == 3


def test_views_are_averaged_and_frames_are_exchanged_between_videos() -> None:
    video, tracks, visible = clip(batch=6)
    model = network()
    views = [part.unflatten(0, (3, 2)) for part in (video, tracks, visible)]
    each = model(video, tracks, visible).softmax(-1).view(3, 2, 3).mean(1)
    assert torch.allclose(model.recognise(*views), each, atol=1e-6)
    model.inputs = "shuffled_frames_and_tracks"
    shuffled = model.recognise(*views)
    model.inputs = "frames_and_tracks"
    moved = model.recognise(views[0].roll(1, 0), *views[1:])
    assert torch.allclose(shuffled, moved, atol=1e-6)


def test_fewer_frames_for_the_images() -> None:
    video, tracks, visible = clip()
    model = network(replace(TINY, image_frames=2))
    scores = model(video, tracks, visible)
    changed = video.clone()
    changed[:, 1:3] = 0
    assert torch.equal(scores, model(changed, tracks, visible))
    changed[:, 3] = 0
    assert not torch.allclose(scores, model(changed, tracks, visible), atol=1e-4)


def test_presets_have_the_sizes_that_their_head_says() -> None:
    paper = PRESETS["paper"]
    assert (paper.width, paper.layers, paper.heads, paper.frames, paper.size) == (256, 4, 8, 16, 224)
    with torch.device("meta"):
        counts = {
            name: sum(p.numel() for p in TRec(replace(c, labels=("a",) * 174)).parameters()) for name, c in PRESETS.items()
        }
    resnet, layers = 11_176_512, 4 * (12 * 256**2 + 13 * 256)
    assert resnet + layers < counts["paper"] < resnet + layers + 600_000
    assert counts["small"] < 1_100_000


def test_new_labels_change_the_last_layer_alone() -> None:
    model = network()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.set_labels(("x", "y", "z"))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    model.set_labels(("x", "y"))
    assert model(*clip()).shape == (3, 2)
    assert isinstance(model.head[-1], Linear)


def test_wrong_settings_and_shapes_are_refused() -> None:
    video, tracks, visible = clip()
    for changes, found in (
        ({"width": 30, "heads": 4}, "width 30 is not a multiple of the 4 heads"),
        ({"inputs": "pictures"}, "unknown inputs 'pictures'; expected one of frames_and_tracks, frames,"),
        ({"train_points": (5, 4)}, r"train_points is \(5, 4\); expected the least and the most"),
        ({"image_frames": 5}, "image_frames is 5; expected 1 to the clip's 4 frames"),
        ({"pairwise": -1}, "pairwise -1; expected 0 for none"),
    ):
        with pytest.raises(InputError, match=found):
            replace(TINY, **changes)
    model = network()
    with pytest.raises(InputError, match=r"the video has shape .*; expected \(B, 4, H, W, 3\)"):
        model(video[:, :3], tracks, visible)
    with pytest.raises(InputError, match="there are no tracks, and inputs is 'frames_and_tracks'"):
        model(video)
    with pytest.raises(InputError, match=r"tracks have shape .*; expected \(3, 4, P, 2\)"):
        model(video, tracks[:, :3], visible)


def test_a_hand_made_network_of_one_token_reads_directions_off_tracks() -> None:
    """Moving right or left is a linear function of a trajectory: the MLP's first layer can be written down."""
    model = network(replace(TINY, layers=0, labels=("right", "left"), inputs="tracks"))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        first, _, last = model.track_tokens.mlp
        first.weight[0, 6], first.weight[0, 0] = 8, -8  # x in frame 3 less x in frame 0
        first.weight[1] = -first.weight[0]
        last.weight[0, 0] = last.weight[1, 1] = 1
        pool, head = model.pool, model.head
        pool.norm.weight.fill_(1)
        pool.key_value.weight[16:] = torch.eye(16)
        pool.out.weight.copy_(torch.eye(16))
        head[0].weight.fill_(1)
        head[1].weight.copy_(torch.eye(16))
        head[3].weight[0, 0] = head[3].weight[1, 1] = 1
    generator = np.random.default_rng(0)
    start, step = generator.uniform(8, 24, (40, 1, 5, 2)), np.where(np.arange(40) % 2, -1.0, 1.0)
    tracks = start + np.arange(4)[None, :, None, None] * step[:, None, None, None] * [1, 0]
    video = torch.zeros(40, 4, 32, 32, 3, dtype=torch.uint8)
    scores = model(video, torch.from_numpy(tracks).float(), torch.ones(40, 4, 5, dtype=torch.bool))
    assert scores.argmax(-1).tolist() == (np.arange(40) % 2).tolist()
    assert F.cross_entropy(scores, torch.arange(40) % 2) < 0.5

"""G-HTT's networks and flows, and the traps that the specification lists."""

from __future__ import annotations

import pytest
import torch

from conftest import smooth_hands
from palmist import geometry, pose_vector
from palmist.errors import InputError
from palmist.models.ghtt import (
    GHTT,
    PRESETS,
    ABlock,
    ABlockConfig,
    Clips,
    GHTTConfig,
    PBlock,
    PBlockConfig,
    cut_clips,
)
from palmist.models.ghtt_flows import go_on_from_last_hand, medoid
from palmist.models.ghtt_pose_block import component_loss, trajectory_loss
from palmist.models.reduced_precision import ReducedDecoder

TINY = {"layers": 2, "width": 32, "heads": 4, "feedforward": 64}
LABELS = ("grab", "pour", "open", "close")


def tiny_model(**action: object) -> GHTT:
    torch.manual_seed(0)
    options = {"mid_level_dim": 32, "label_dim": 12, "object_dim": 8, "max_clips": 4, **action}
    model = GHTT(GHTTConfig(PBlockConfig(**TINY), ABlockConfig(**TINY, **options)))  # type: ignore[arg-type]
    assert model.a is not None
    model.a.set_labels(LABELS, torch.randn(len(LABELS), 12))
    with torch.no_grad():  # a latent spread that shows
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape))
    return model.eval()


def hands(frames: int = 48, rows: int = 2) -> torch.Tensor:
    return torch.stack([torch.from_numpy(smooth_hands(frames, seed)) for seed in range(rows)])


def observe(frames: int = 48, rows: int = 2, space: str = "metric", anchor: str = "end", hide_left: bool = False) -> Clips:
    joints = hands(frames, rows)
    known = torch.ones(joints.shape[:-1], dtype=torch.bool)
    if hide_left:
        known[:, :, 0] = False
    return cut_clips(pose_vector.encode(joints, known, space), space=space, anchor=anchor)


@pytest.fixture(scope="module")
def model() -> GHTT:
    return tiny_model()


# ------------------------------------------------------------------------------------------------------- networks


def test_paper_preset_has_the_counted_parameters() -> None:
    with torch.device("meta"):
        paper = GHTT(PRESETS["paper"])
    assert paper.a is not None
    for block in (paper.p, paper.a):
        assert sum(p.numel() for p in block.encoder.layers.parameters()) == 28_371_456
        assert sum(p.numel() for p in block.decoder.layers.parameters()) == 37_836_288
        assert sum(p.numel() for p in block.encoder.norm.parameters()) == 1024
    assert isinstance(paper.a.mid_level_in, torch.nn.Identity)
    assert isinstance(paper.a.object_in, torch.nn.Identity)
    assert (paper.config.p.clip_length, paper.config.p.rate, paper.config.a.max_clips) == (16, 30.0, 16)


def test_small_preset_shapes() -> None:
    model = GHTT.from_preset("small", LABELS, torch.randn(4, 30)).eval()
    clips = observe(48)
    code = model.encode_clips(clips)
    assert code.mean.shape == code.log_variance.shape == (2, 3, 128)
    assert code.refined.shape == (2, 3, 16, 153)
    future = model.predict_long(clips, future_clips=2, futures=3)
    assert future.joints.shape == (2, 3, 32, 2, 21, 3)
    assert future.mid_levels.shape == (2, 3, 2, 128)
    assert model.recognise(clips).probabilities.shape == (2, 4)


def test_presets_refuse_what_does_not_fit() -> None:
    with pytest.raises(InputError, match="no preset 'large'; choose one of: paper, small"):
        GHTT.from_preset("large")
    with pytest.raises(InputError, match="without features"):
        GHTT.from_preset("small", LABELS)
    with pytest.raises(InputError, match="mid_level_dim"):
        GHTTConfig(PBlockConfig(width=64), ABlockConfig())
    with pytest.raises(InputError, match="does not fit this version"):
        GHTTConfig.from_dict({"p": {"depth": 3}})
    with pytest.raises(InputError, match="multiple of 3"):
        PBlock(PBlockConfig(layers=1, width=32, heads=3))


@pytest.mark.parametrize("name", PRESETS)
def test_configuration_survives_json(name: str) -> None:
    import json

    assert GHTTConfig.from_dict(json.loads(json.dumps(PRESETS[name].to_dict()))) == PRESETS[name]


def test_frames_of_any_width_and_features_of_any_dimension_work() -> None:
    block = ABlock(ABlockConfig(layers=1, width=24, heads=2, feedforward=16, mid_level_dim=10, object_dim=7, label_dim=5))
    block.set_labels(["a"], torch.randn(1, 5))
    clips = torch.ones(2, 3, dtype=torch.bool)
    phase = torch.arange(3).expand(2, 3)
    code = block.encode(torch.randn(2, 3, 10), clips, phase, torch.randn(2, 3, 7))
    assert block.decode(code.mean, phase, code.tokens, clips).shape == (2, 3, 10)
    with pytest.raises(InputError, match=r"shape \(1, 4\), expected \(1, 5\)"):
        block.set_labels(["a"], torch.randn(1, 4))


def test_head_starts_at_identity_motion() -> None:
    block = PBlock(PBlockConfig(**TINY))
    last = block.head[-1]
    assert isinstance(last, torch.nn.Linear)
    rotation, translation = pose_vector.accumulate(last.bias.detach().expand(4, 153))
    torch.testing.assert_close(rotation, torch.eye(3).expand(4, 2, 3, 3))
    assert not translation.any()


# --------------------------------------------------------------------------------------------------------- losses


def random_batch(seed: int = 0, rows: int = 3) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)

    def draw() -> torch.Tensor:
        return torch.randn(rows, 16, 153, generator=generator)

    def known() -> torch.Tensor:
        return torch.rand(rows, 16, 153, generator=generator) < 0.8

    axes = torch.nn.functional.normalize(torch.randn(rows, 16, 3, 3, generator=generator), dim=-1)
    ones = torch.ones(rows, 16, dtype=torch.bool)
    return {
        "observed": draw(),
        "observed_clean": draw(),
        "observed_known": known(),
        "observed_axes": axes,
        "observed_frames": ones,
        "future": draw(),
        "future_known": known(),
        "future_axes": axes,
        "future_frames": ones,
    }


@pytest.mark.parametrize("parity", [True, False])
def test_no_gradient_reaches_the_thumb_cmc_in_parity_mode(parity: bool) -> None:
    block = PBlock(PBlockConfig(**TINY, drop_thumb_cmc=parity))
    batch = random_batch()
    outputs: list[torch.Tensor] = []
    block.head.register_forward_hook(lambda _module, _inputs, output: (output.retain_grad(), outputs.append(output))[1])
    block.loss(batch, torch.Generator().manual_seed(0))[0].backward()
    assert len(outputs) == 2  # refined and predicted
    for output in outputs:
        assert output.grad is not None
        slots = output.grad[..., [3, 4, 5, 66, 67, 68]]
        assert slots.any() != parity
        assert output.grad[..., 6:9].any()


def test_all_unknown_batch_gives_a_finite_zero_loss_and_zero_gradients() -> None:
    block = PBlock(PBlockConfig(**TINY, kl_weight=0.0))
    batch = random_batch()
    batch["observed_known"] = torch.zeros_like(batch["observed_known"])
    batch["future_known"] = torch.zeros_like(batch["future_known"])
    for name in ("observed", "observed_clean", "future"):
        batch[name] = torch.full_like(batch[name], torch.nan)
    total, _ = block.loss(batch, torch.Generator().manual_seed(0))
    total.backward()
    assert total.item() == 0
    assert all(p.grad is None or not p.grad.any() for p in block.parameters())
    assert all(p.grad is None or p.grad.isfinite().all() for p in block.parameters())


def test_component_loss_ignores_motion_along_the_depth_axis() -> None:
    batch = random_batch()
    known = torch.ones_like(batch["future_known"])
    target, axes = batch["future"], batch["future_axes"]
    moved = target.clone()
    for slot, part in enumerate((pose_vector.LEFT_MOTION, pose_vector.RIGHT_MOTION, pose_vector.INTER_HAND)):
        moved[..., part.start + 6 : part.stop] += 3.0 * axes[..., slot, :]
    assert component_loss(moved, target, known, axes).item() < 1e-6
    assert component_loss(moved, target, known, torch.zeros_like(axes)).item() > 0.01


def test_trajectory_loss_counts_frames_with_a_known_chain_only() -> None:
    joints = hands(33, 1)
    known = torch.ones(joints.shape[:-1], dtype=torch.bool)
    known[:, 20:24, 0] = False  # out of sight for four frames: comes back with its motion since it was last seen
    encoded = pose_vector.encode(joints, known)
    target, target_known = encoded.vector[:, 17:], encoded.known[:, 17:]
    axes = torch.zeros(1, 16, 3, 3)
    assert trajectory_loss(target, target, target_known, axes).item() == 0
    wrong = target.clone()
    wrong[:, 0, 132] += 1.0  # the left hand jumps by 10 cm in the first frame: every later left frame is off
    loss = trajectory_loss(wrong, target, target_known, axes)
    # 12 of 16 left frames and 16 right frames count, 9 numbers each; the left frames are off by about 1.
    shift = (wrong[0, 0, 132:135] - target[0, 0, 132:135]).abs().sum()
    torch.testing.assert_close(loss, shift * 12 / ((12 + 16) * 9), rtol=0.2, atol=0)
    # A hand that is first seen in frame 7 has no chain to the base frame, though its later motions are known.
    never = target_known.clone()
    never[:, :7, :63] = False
    never[:, :8, 126:135] = False
    assert trajectory_loss(wrong, target, never, axes).item() == 0


def test_trajectory_loss_along_the_depth_axis_of_the_base_frame_is_zero() -> None:
    joints = hands(33, 1)
    encoded = pose_vector.encode(joints, torch.ones(joints.shape[:-1], dtype=torch.bool), "image")
    deeper = joints.clone()
    deeper[..., 2] += torch.linspace(0, 0.3, 33)[:, None, None]  # both hands move away from the camera
    other = pose_vector.encode(deeper, torch.ones(joints.shape[:-1], dtype=torch.bool), "image")
    part = slice(17, 33)
    arguments = (other.vector[:, part], encoded.vector[:, part], encoded.known[:, part])
    assert trajectory_loss(*arguments, encoded.depth_axes[:, part]).item() < 1e-5
    assert trajectory_loss(*arguments, torch.zeros(1, 16, 3, 3)).item() > 0.01


def action_batch(seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    clips = torch.tensor([[1, 1, 1], [1, 1, 0], [1, 0, 0]], dtype=torch.bool)
    return {
        "mid_levels": torch.randn(3, 3, 32, generator=generator),
        "clips": clips,
        "phase": torch.arange(3).expand(3, 3),
        "objects": torch.randn(3, 3, 8, generator=generator),
        "future_mid_levels": torch.randn(3, 2, 32, generator=generator),
        "future_clips": torch.tensor([[1, 1], [1, 0], [0, 0]], dtype=torch.bool),
        "future_phase": torch.tensor([[3, 4], [2, 3], [1, 2]]),
        "label": torch.tensor([2, 0, -1]),
    }


def test_unlabelled_rows_and_foreign_labels_have_no_action_loss(model: GHTT) -> None:
    batch = action_batch()
    assert model.a is not None
    _, parts = model.a.loss({**batch, "label": torch.full((3,), -1)})
    assert parts["distance"] == parts["contrast"] == parts["accuracy"] == 0
    assert parts["motion"] > 0
    # With the true label as the only candidate there is nothing to tell apart.
    only = torch.tensor([[0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 0]], dtype=torch.bool)
    _, parts = model.a.loss({**batch, "candidates": only})
    assert parts["contrast"] == 0
    assert parts["distance"] > 0
    _, shared = model.a.loss({**batch, "candidates": torch.tensor([True, False, True, False])})
    _, everything = model.a.loss(batch)
    assert 0 < shared["contrast"] < everything["contrast"]


def test_action_loss_is_finite_without_future_and_with_every_option() -> None:
    model = tiny_model(token_dropout=0.4, label_smoothing=0.1, action_on_mean=True, body_context=True).train()
    assert model.a is not None
    batch = action_batch() | {
        "context": torch.full((3, 3, 16, 26), torch.nan),
        "context_known": torch.zeros(3, 3, 16, dtype=torch.bool),
        "candidates": torch.tensor([[0, 1, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0]], dtype=torch.bool),
    }
    total, _ = model.a.loss(batch, torch.Generator().manual_seed(3))
    total.backward()
    assert total.isfinite()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.a.parameters())


def test_part_of_a_larger_batch_draws_the_same_noise(model: GHTT) -> None:
    assert model.a is not None
    block = tiny_model().a
    assert block is not None
    block.train()
    batch = action_batch()
    whole: list[torch.Tensor] = []
    block.encoder.register_forward_hook(lambda _module, inputs, _output: whole.append(inputs[0]))
    block.loss(batch, torch.Generator().manual_seed(5))
    part = {name: value[1:] for name, value in batch.items()}
    block.loss({**part, "rows": (1, 3)}, torch.Generator().manual_seed(5))
    torch.testing.assert_close(whole[1], whole[0][1:])


def test_continuations_share_the_memory_and_equal_the_plain_decoder() -> None:
    torch.manual_seed(0)
    for residual in (False, True):
        block = PBlock(PBlockConfig(layers=2, width=32, heads=2, feedforward=32, residual=residual)).eval()
        vector, known = torch.randn(3, 16, 153), torch.rand(3, 16, 153) < 0.8
        frames = torch.arange(16) < torch.tensor([[16], [9], [1]])
        mid_levels = torch.randn(3, 4, 32)
        with torch.no_grad():
            tokens = block.encode(vector, known, frames).tokens
            several = block.continue_clip(mid_levels, tokens, frames, vector, known)
            rows = [part.repeat_interleave(4, dim=0) for part in (tokens, frames, vector, known)]
            plain = block.decode(mid_levels.flatten(0, 1), *rows).unflatten(0, (3, 4))
        torch.testing.assert_close(several, plain, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("planar", [False, True])
def test_predicted_hands_start_as_the_last_observed_ones_where_those_were_seen(planar: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    hands = torch.randn(1, 16, 2, 21, 3, generator=generator) * 0.05
    hands = hands * torch.tensor([1.0, 1.0, 0.0]) if planar else hands
    known = torch.ones(1, 16, 2, 21, dtype=torch.bool)
    known[:, :, 0, 7] = False  # a joint that was never seen
    code = pose_vector.encode(hands, known, "planar" if planar else "metric")
    future = torch.randn(1, 3, 80, 2, 21, 3, generator=generator) * 0.05
    moved = go_on_from_last_hand(future, code.vector, code.known, code.palms, planar)
    torch.testing.assert_close(moved[..., 0, :], future[..., 0, :])
    torch.testing.assert_close(moved[:, :, :, 0, 7], future[:, :, :, 0, 7])
    torch.testing.assert_close(moved[:, :, 64:], future[:, :, 64:])
    start, size = moved - moved[..., :1, :], pose_vector.observed_hand_size(code.palms, planar=True)
    last = (hands - hands[..., :1, :])[:, -1] * (size / code.palms.size[:, -1])[..., None, None]
    coordinates = slice(0, 2 if planar else 3)
    for joint in (3, 8, 20):
        torch.testing.assert_close(start[:, 0, 0, :, joint, coordinates], last[:, :, joint, coordinates], rtol=1e-4, atol=1e-5)
    change = (future - future[..., :1, :])[:, :, 1] - (future - future[..., :1, :])[:, :, 0]
    expected = start[:, :, 0] + (0.25 if planar else 1.0) * change
    free = (future - future[..., :1, :])[:, :, 1]
    mixed = expected * (63 / 64) + free / 64
    torch.testing.assert_close(start[:, :, 1, 1, 5, coordinates], mixed[:, :, 1, 5, coordinates], rtol=1e-3, atol=1e-4)


# ---------------------------------------------------------------------------------------------------------- clips


def test_clips_are_cut_from_either_end_and_start_with_the_identity_motion() -> None:
    for anchor, counts in (("start", [16, 16, 8]), ("end", [8, 16, 16])):
        clips = observe(40, 1, anchor=anchor)
        assert clips.frames.sum(-1).tolist() == [counts]
        first = clips.vector[:, :, 0]
        identity = torch.tensor([1.0, 0, 0, 0, 1, 0, 0, 0, 0])
        for part in (pose_vector.LEFT_MOTION, pose_vector.RIGHT_MOTION):
            torch.testing.assert_close(first[..., part], identity.expand(1, 3, 9))
            assert not clips.known[:, :, 0, part].any()
            assert clips.known[:, :, 1, part].all()
        # A short clip holds its frames in front, as in training.
        assert all(not frames[count:].any() for frames, count in zip(clips.frames[0], counts, strict=True))
    joints, rotation = hands(40, 1), clips.palms.rotation
    encoded = pose_vector.encode(joints, torch.ones(joints.shape[:-1], dtype=torch.bool))
    torch.testing.assert_close(rotation[0, 0, :8], encoded.palms.rotation[0, :8])
    torch.testing.assert_close(rotation[0, 1], encoded.palms.rotation[0, 8:24])
    torch.testing.assert_close(clips.last().vector[:, 0], clips.vector[:, 2])


def test_rows_of_different_length_equal_rows_alone() -> None:
    joints = hands(40, 2)
    encoded = pose_vector.encode(joints, torch.ones(joints.shape[:-1], dtype=torch.bool))
    frames = torch.ones(2, 40, dtype=torch.bool)
    frames[1, 23:] = False
    for anchor in ("start", "end"):
        both = cut_clips(encoded, anchor=anchor, frames=frames)
        short = pose_vector.encode(joints[1:, :23], torch.ones(1, 23, 2, 21, dtype=torch.bool))
        alone = cut_clips(short, anchor=anchor)
        assert both.valid[1].tolist() == [True, True, False]
        torch.testing.assert_close(both.known[1, :2], alone.known[0])
        torch.testing.assert_close(both.vector[1, :2] * both.known[1, :2], alone.vector[0] * alone.known[0])
        torch.testing.assert_close(both.last().palms.translation[1], alone.last().palms.translation[0])


# ---------------------------------------------------------------------------------------------------------- flows


def chain(model: GHTT, mid_levels: list[torch.Tensor], clips: Clips) -> torch.Tensor:
    """Decode each mid-level (B, D) with D^P and chain the clips from base to base, literally."""
    palms = clips.all_palms()
    rotation, translation = pose_vector.last_palm(palms)
    size = pose_vector.mean_hand_size(palms)
    joints = []
    for mid_level in mid_levels:
        vector = model.p.decode(mid_level)
        joints.append(pose_vector.decode(vector, rotation, translation, size))
        turn, shift = pose_vector.accumulate(vector)
        back = geometry.invert(turn[:, -1], shift[:, -1] / pose_vector.MOTION_SCALE)
        rotation, translation = geometry.compose((rotation, translation), back)
    return torch.cat(joints, dim=1)


@torch.no_grad()
def test_each_mid_level_decodes_to_the_clip_after_its_own(model: GHTT, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the true m^P of the coming clips in place of m^A, P.b is: decode each true m, chain."""
    whole = observe(96)
    observed = Clips(*(part[:, :3] if isinstance(part, torch.Tensor) else part for part in whole))
    observed = observed._replace(palms=pose_vector.PalmFrames(*(part[:, :3] for part in whole.palms)))
    true = model.encode_clips(whole).mean  # (B, 6, D); observed are clips 0, 1, 2
    monkeypatch.setattr(model, "_future_mid_levels", lambda *_: true[:, 3:5])
    future = model.predict_long(observed, future_clips=3, futures=1, factor=0.0)
    expected = chain(model, [true[:, 2], true[:, 3], true[:, 4]], observed)
    torch.testing.assert_close(future.joints[:, 0], expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(future.mid_levels[:, 0], true[:, 2:5])


@torch.no_grad()
def test_long_prediction_takes_the_action_blocks_mid_levels_in_order(model: GHTT) -> None:
    clips = observe(48)
    assert model.a is not None
    code = model.encode_clips(clips)
    action = model.a.encode(code.mean, clips.valid, clips.phase)
    later = model.a.decode(action.mean, torch.tensor([[3, 4]]).expand(2, 2), action.tokens, clips.valid)
    future = model.predict_long(clips, future_clips=3, futures=2, factor=0.0)
    expected = torch.cat((code.mean[:, 2:], later), dim=1)
    torch.testing.assert_close(future.mid_levels[:, 0], expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(future.joints[:, 0], future.joints[:, 1])


@torch.no_grad()
def test_clips_after_a_given_one_start_where_it_ends_in_a_residual_model() -> None:
    action = ABlockConfig(**TINY, mid_level_dim=TINY["width"])  # type: ignore[arg-type]
    model = GHTT(GHTTConfig(PBlockConfig(**TINY, residual=True), action)).eval()  # type: ignore[arg-type]
    true = hands(64)
    encoded = pose_vector.encode(true, torch.ones(true.shape[:-1], dtype=torch.bool))
    given = model.predict_long(observe(48), 3, 2, 0.0, first_clip=encoded.vector[:, 48:])
    torch.testing.assert_close(given.vector[0, 1, :16], encoded.vector[0, 48:])
    alone = model.decode_mid_levels(given.mid_levels[0, :, 1])
    end = given.vector[0, :, 15, :126]
    torch.testing.assert_close(given.vector[0, :, 16, :126] - end, (alone[:, 0, :126] - end) / 9, rtol=1e-3, atol=1e-5)


@torch.no_grad()
def test_given_first_clip_replaces_the_predicted_one(model: GHTT) -> None:
    clips = observe(48)
    true = hands(64)
    encoded = pose_vector.encode(true, torch.ones(true.shape[:-1], dtype=torch.bool))
    given = model.predict_long(clips, 3, 2, 0.0, first_clip=encoded.vector[:, 48:])
    free = model.predict_long(clips, 3, 2, 0.0)
    assert (given.joints[:, 0, :16] - true[:, 48:]).abs().max() < 1e-3  # up to the mean hand size
    torch.testing.assert_close(given.vector[:, :, 16:], free.vector[:, :, 16:])


@torch.no_grad()
def test_short_prediction_feeds_back_unit_hands_with_a_reset_first_motion(model: GHTT, monkeypatch: pytest.MonkeyPatch) -> None:
    clips = observe(48)
    encode, seen = model.p.encode, []

    def spy(vector: torch.Tensor, known: torch.Tensor, frames: torch.Tensor) -> object:
        seen.append((vector, known))
        return encode(vector, known, frames)

    monkeypatch.setattr(model.p, "encode", spy)
    future = model.predict_short(clips, future_clips=3, futures=2, factor=0.0)
    assert len(seen) == 3  # the last clip, then two predicted ones
    for step, (vector, known) in enumerate(seen[1:]):
        torch.testing.assert_close(vector[:, 0, 126:129], torch.tensor([1.0, 0, 0]).expand(4, 3))
        assert not vector[:, 0, 132:135].any()
        assert not known[:, 0, 126:144].any()
        local = vector[..., :126].unflatten(-1, (2, 21, 3))
        size = (local[..., [5, 9, 13, 17], :] - local[..., :1, :]).norm(dim=-1).mean(-1)
        torch.testing.assert_close(size, torch.ones_like(size))
        # Everything else is what was predicted.
        predicted = future.vector.flatten(0, 1)[:, 16 * step : 16 * (step + 1)]
        torch.testing.assert_close(vector[:, 1:, 126:], predicted[:, 1:, 126:])
    # The literal chain: the next clip's base is the last predicted palm; D^P decodes with the skip tokens.
    last = clips.last()
    code = encode(last.vector[:, 0], last.known[:, 0], last.frames[:, 0])
    first = model.p.decode(code.mean, code.tokens, last.frames[:, 0])
    torch.testing.assert_close(future.vector[:, 0, :16], first, rtol=1e-4, atol=1e-5)
    rotation, translation = pose_vector.last_palm(clips.all_palms())
    size = pose_vector.mean_hand_size(clips.all_palms())
    turn, shift = pose_vector.accumulate(first)
    back = geometry.invert(turn[:, -1], shift[:, -1] / pose_vector.MOTION_SCALE)
    base = geometry.compose((rotation, translation), back)
    second = pose_vector.decode(future.vector[:, 0, 16:32], *base, size)
    torch.testing.assert_close(future.joints[:, 0, 16:32], second, rtol=1e-4, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("flow", ["predict_short", "predict_long", "refine"])
def test_hand_size_is_the_observed_one_never_the_predicted(model: GHTT, flow: str) -> None:
    clips = observe(48)
    wild = tiny_model()
    last = wild.p.head[-1]
    assert isinstance(last, torch.nn.Linear)
    last.bias[:126] += 2.0 * torch.randn(126)  # hands of absurd size in the head's output
    result = getattr(wild, flow)(clips, **({} if flow == "refine" else {"futures": 2, "future_clips": 2}))
    palm = result.joints[..., [5, 9, 13, 17], :] - result.joints[..., :1, :]
    size = palm.norm(dim=-1).mean(-1)
    expected = pose_vector.mean_hand_size(clips.all_palms())
    torch.testing.assert_close(size, expected[:, None, None].expand_as(size), rtol=1e-4, atol=1e-6)


@torch.no_grad()
def test_sampling_factor_zero_repeats_and_larger_factors_spread(model: GHTT) -> None:
    clips = observe(48)
    for flow in (model.predict_short, model.predict_long):
        runs = [flow(clips, 2, 6, 0.0, torch.Generator().manual_seed(seed)) for seed in (0, 1)]
        torch.testing.assert_close(runs[0].joints, runs[1].joints, rtol=0, atol=0)
        spreads = []
        for factor in (1.0, 5.0):
            future = flow(clips, 2, 6, factor, torch.Generator().manual_seed(0))
            again = flow(clips, 2, 6, factor, torch.Generator().manual_seed(0))
            torch.testing.assert_close(future.joints, again.joints, rtol=0, atol=0)
            spreads.append(torch.cdist(future.joints.flatten(2), future.joints.flatten(2)).mean())
            other = flow(clips, 2, 6, factor, torch.Generator().manual_seed(1))
            assert not torch.equal(future.joints, other.joints)
        assert 0 < spreads[0] < spreads[1]


@torch.no_grad()
def test_refinement_keeps_the_palm_pose_at_both_ends(model: GHTT) -> None:
    joints = hands(40, 1)
    known = torch.ones(joints.shape[:-1], dtype=torch.bool)
    known[:, 14:16, 0] = False  # the left hand is away at the end of the first clip
    known[:, 20:23, 0] = False  # and in the middle of the second
    clips = cut_clips(pose_vector.encode(joints, known))
    refined = model.refine(clips)
    start = pose_vector.observed_palm(clips.palms, first=True)
    turn, shift = pose_vector.accumulate(refined.vector)
    for clip, last in ((0, 13), (1, 15), (2, 7)):
        for frame in (0, last):
            # world -> local(first) -> local(frame) is the observed palm frame.
            back = geometry.invert(turn[0, clip, frame, 0], shift[0, clip, frame, 0] / pose_vector.MOTION_SCALE)
            rotation, translation = geometry.compose((start[0][0, clip, 0], start[1][0, clip, 0]), back)
            torch.testing.assert_close(rotation, clips.palms.rotation[0, clip, frame, 0], rtol=0, atol=1e-5)
            torch.testing.assert_close(translation, clips.palms.translation[0, clip, frame, 0], rtol=0, atol=1e-5)
            wrist = refined.joints[0, clip, frame, 0, 0]
            torch.testing.assert_close(wrist, joints[0, 16 * clip + frame, 0, 0], rtol=0, atol=1e-5)
            assert refined.valid[0, clip, frame, 0]
    assert not refined.valid[0, 0, 14:, 0].any()
    assert not refined.valid[0, 2, 8:].any()


@torch.no_grad()
def test_image_space_keeps_the_unknown_distance(model: GHTT) -> None:
    clips = observe(48, space="image")
    _, translation = pose_vector.last_palm(clips.all_palms())
    rotation, _ = pose_vector.last_palm(clips.all_palms())
    depth = -(translation.unsqueeze(-2) @ rotation.transpose(-1, -2))[..., 0, 2]  # (B, 2) the last seen wrists' z
    for future in (model.predict_short(clips, 2, 3), model.predict_long(clips, 2, 3)):
        wrist = future.joints[..., 0, 2]
        torch.testing.assert_close(wrist, depth[:, None, None].expand_as(wrist), rtol=1e-4, atol=1e-4)
    refined = model.refine(clips, frame_size=True)
    torch.testing.assert_close(refined.joints[..., 0, 2], hands(48).unflatten(1, (3, 16))[..., 0, 2], atol=1e-5, rtol=0)


@torch.no_grad()
def test_absent_hand_stays_unknown_when_predictions_are_fed_back(model: GHTT, monkeypatch: pytest.MonkeyPatch) -> None:
    clips = observe(32, hide_left=True)
    encode, seen = model.p.encode, []
    monkeypatch.setattr(model.p, "encode", lambda *parts: (seen.append(parts[1]), encode(*parts))[1])
    future = model.predict_short(clips, future_clips=2, futures=2)
    assert not seen[1][..., :63].any()
    assert not seen[1][..., 126:135].any()
    assert not seen[1][..., 144:].any()
    assert seen[1][..., 69:126].all()
    assert future.valid.tolist() == [[False, True]] * 2
    assert future.joints.isfinite().all()


@torch.no_grad()
def test_recognition_is_unchanged_when_labels_are_permuted() -> None:
    model = tiny_model()
    assert model.a is not None
    clips = observe(48)
    before = model.recognise(clips)
    order = [2, 0, 3, 1]
    table = model.a.label_table.clone()
    model.a.set_labels([LABELS[i] for i in order], table[order])
    after = model.recognise(clips)
    torch.testing.assert_close(after.probabilities, before.probabilities[:, order])
    assert [model.a.config.labels[i] for i in after.label] == [LABELS[i] for i in before.label]


@torch.no_grad()
def test_cached_label_directions_follow_the_weights() -> None:
    model = tiny_model()
    assert model.a is not None
    first = model.a.label_directions()
    assert model.a.label_directions() is first  # kept
    model.a.label_in.weight.mul_(-1).add_(0.3)
    changed = model.a.label_directions()
    assert not torch.equal(changed, first)
    with torch.enable_grad():
        torch.testing.assert_close(model.a.label_directions(), changed)


@torch.no_grad()
def test_long_recordings_add_the_probabilities_of_their_windows(model: GHTT) -> None:
    clips = observe(16 * 6)  # max_clips is 4
    code = model.encode_clips(clips)
    sequence = model.clip_sequence(clips, code)
    parts = [model.recognise_sequence(sequence.slice(0, 4)), model.recognise_sequence(sequence.slice(4, 6))]
    expected = (parts[0].probabilities + parts[1].probabilities) / 2
    torch.testing.assert_close(model.recognise(clips).probabilities, expected)
    assert model.predict_long(clips, 2, 2).joints.isfinite().all()


@torch.no_grad()
def test_a_given_action_steers_the_future(model: GHTT) -> None:
    clips = observe(48)
    futures = [model.predict_action(clips, label, 3, futures=1, factor=0.0) for label in (0, 1)]
    torch.testing.assert_close(futures[0].mid_levels[:, :, 0], futures[1].mid_levels[:, :, 0])  # from the last clip
    assert not torch.allclose(futures[0].mid_levels[:, :, 1:], futures[1].mid_levels[:, :, 1:])
    rows = model.predict_action(clips, torch.tensor([0, 1]), 3, futures=1, factor=0.0)
    torch.testing.assert_close(rows.mid_levels[0], futures[0].mid_levels[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(rows.mid_levels[1], futures[1].mid_levels[1], rtol=1e-4, atol=1e-5)
    started = model.transition(clips, 1, 3, futures=1, factor=0.0)  # phase counts from 0
    assert not torch.allclose(started.mid_levels[:, :, 1:], futures[1].mid_levels[:, :, 1:])


@torch.no_grad()
def test_interpolation_lies_between_its_ends(model: GHTT) -> None:
    clips = observe(48)
    first, last = clips.last(), observe(40).last()
    means = [model.encode_clips(part).mean[:, 0] for part in (first, last)]
    torch.testing.assert_close(
        model.interpolate_mid_levels(first, last, 0.5),
        model.p.decode(means[0] * 0.5 + means[1] * 0.5),
        rtol=1e-4,
        atol=1e-5,
    )
    torch.testing.assert_close(model.interpolate_mid_levels(first, last, 0.0), model.p.decode(means[0]), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_stream_step_equals_the_whole_flows(model: GHTT) -> None:
    clips = observe(48)
    steps = []
    past = None
    for k in range(3):
        part = Clips(*(value[:, k : k + 1] if isinstance(value, torch.Tensor) else value for value in clips))
        part = part._replace(palms=pose_vector.PalmFrames(*(value[:, k : k + 1] for value in clips.palms)))
        steps.append(model.read_latest(part, past, future_clips=2, futures=2, factor=0.0))
        past = steps[-1].sequence
    whole = model.recognise(clips)
    assert steps[-1].recognition is not None
    torch.testing.assert_close(steps[-1].recognition.probabilities, whole.probabilities, rtol=1e-4, atol=1e-6)
    future = model.predict_long(clips, 2, 2, 0.0)
    torch.testing.assert_close(steps[-1].futures.mid_levels, future.mid_levels, rtol=1e-4, atol=1e-5)
    # A long past is cut to what the A-block reads: the cost stays flat.
    long = past.followed_by(past).followed_by(past) if past is not None else None
    assert model.read_latest(part, long, futures=2).sequence.valid.shape[1] == 4


def test_medoid_is_the_central_future() -> None:
    centre = torch.randn(1, 1, 4, 2, 21, 3)
    cloud = centre + torch.tensor([0.5, -0.4, 0.1])[None, :, None, None, None, None]
    assert medoid(cloud).tolist() == [2]


def test_pose_block_alone_says_what_it_cannot_do() -> None:
    model = GHTT(GHTTConfig(PBlockConfig(**TINY))).eval()
    clips = observe(32)
    assert model.predict_short(clips, 2, 2).joints.shape == (2, 2, 32, 2, 21, 3)
    assert model.predict_long(clips, 1, 2).joints.shape == (2, 2, 16, 2, 21, 3)
    assert model.read_latest(clips.last(), futures=2).recognition is None
    with pytest.raises(InputError, match="need an A-block"):
        model.recognise(clips)


@torch.no_grad()
@pytest.mark.parametrize("precision", ["bfloat16", "int8"])
def test_reduced_precision_is_close_and_stays_out_of_the_checkpoint(precision: str) -> None:
    model = tiny_model()
    names = set(model.state_dict())
    mid_levels = torch.randn(6, 32)
    exact = model.decode_mid_levels(mid_levels)
    model.set_precision(precision)
    reduced = model.decode_mid_levels(mid_levels)
    assert not torch.equal(reduced, exact)
    error = (reduced - exact).abs().mean() / exact.abs().mean()
    assert error < 0.1
    assert set(model.state_dict()) == names
    model.set_precision("float32")
    torch.testing.assert_close(model.decode_mid_levels(mid_levels), exact, rtol=0, atol=0)
    with pytest.raises(InputError, match="no precision 'int4'"):
        ReducedDecoder(model.p, "int4")

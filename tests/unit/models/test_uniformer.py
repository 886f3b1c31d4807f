"""UniFormer and EMIM's network: sizes against the published tables, weight files, sizes of clips, losses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch.utils.flop_counter import FlopCounterMode

from palmist.errors import InputError
from palmist.models.emim import MotionAttention
from palmist.models.uniformer import PRESETS, SkipPath, UniFormer, UniFormerConfig, load_weights, soft_cross_entropy

TINY = UniFormerConfig(
    depths=(1, 1, 2, 2), widths=(8, 8, 16, 16), strides=(4, 2, 1, 2), head_size=8, window=3, labels=("a", "b", "c")
)  # fmt: skip
TINY_EMIM = replace(TINY, temporal_stride=1, motion_blocks="even")


def cost(config: UniFormerConfig, frames: int) -> tuple[float, float]:
    """Million parameters and multiply-adds in 10^9 of one view of 224 x 224 with 174 labels, without computing anything."""
    with torch.device("meta"), torch.no_grad():
        network = UniFormer(replace(config, labels=tuple(map(str, range(174))))).eval()
        for module in network.modules():
            if isinstance(module, MotionAttention):
                module.form = "unfold"  # the form whose products are those of the formula
        with FlopCounterMode(display=False) as counter:
            network(torch.empty(1, frames, 224, 224, 3))
    return sum(parameter.numel() for parameter in network.parameters()) / 1e6, counter.get_total_flops() / 2e9


@pytest.mark.parametrize(
    ("model", "preset", "stride", "frames", "parameters", "products"),
    [
        ("uniformer", "paper", 2, 16, 21.3, 41.7),
        ("uniformer", "base", 2, 16, 49.7, 96.6),
        ("uniformer", "paper", 1, 16, 21.3, 109),
        ("emim", "paper", 1, 16, 21.4, 85),
        ("emim", "paper", 2, 16, 21.4, 36),
        ("emim", "base", 1, 16, 50.0, 198),
        ("emim", "base", 1, 32, 50.0, 526),
    ],
)
def test_sizes_are_the_published_ones(
    model: str, preset: str, stride: int, frames: int, parameters: float, products: float
) -> None:
    found = cost(replace(PRESETS[model][preset], temporal_stride=stride), frames)
    assert found == (pytest.approx(parameters, rel=0.01), pytest.approx(products, rel=0.01))


@pytest.mark.parametrize(("preset", "extra"), [("paper", 136_212), ("base", 317_730)])
def test_motion_adds_what_the_formula_says(preset: str, extra: int) -> None:
    """22,408 numbers of g in each block, and 49 of the bias for each head."""
    with torch.device("meta"):
        counts = [
            sum(p.numel() for p in UniFormer(replace(PRESETS[model][preset], labels=("a",))).parameters())
            for model in ("uniformer", "emim")
        ]
        third, fourth = (4, 2) if preset == "paper" else (10, 4)
    assert counts[1] - counts[0] == extra == 22_408 * (third + fourth) + 49 * (5 * third + 8 * fourth)


#: Some parameters of the public UniFormer-S of Kinetics-400, by the names and shapes of its file.
PUBLIC = {
    "patch_embed1.proj.weight": (64, 3, 3, 4, 4),
    "patch_embed1.norm.weight": (64,),
    "patch_embed4.proj.weight": (512, 320, 1, 2, 2),
    "blocks1.0.pos_embed.weight": (64, 1, 3, 3, 3),
    "blocks1.2.norm1.running_mean": (64,),
    "blocks1.0.conv1.weight": (64, 64, 1, 1, 1),
    "blocks2.3.attn.weight": (128, 1, 5, 5, 5),
    "blocks2.0.mlp.fc1.weight": (512, 128, 1, 1, 1),
    "blocks3.7.attn.qkv.weight": (960, 320),
    "blocks3.0.attn.qkv.bias": (960,),
    "blocks3.0.attn.proj.weight": (320, 320),
    "blocks4.2.mlp.fc2.weight": (512, 2048),
    "blocks4.2.norm2.bias": (512,),
    "norm.running_var": (512,),
    "norm.weight": (512,),
    "head.weight": (400, 512),
}


@pytest.mark.parametrize("model", ["uniformer", "emim"])
def test_parameters_have_their_public_names_and_shapes(model: str) -> None:
    with torch.device("meta"):
        state = UniFormer(replace(PRESETS[model]["paper"], labels=tuple(map(str, range(400))))).state_dict()
    assert {name: tuple(state[name].shape) for name in PUBLIC} == PUBLIC
    counters = sum(name.endswith("num_batches_tracked") for name in state)
    # 4 embeddings of 4 tensors, 7 local blocks of 20 with counters, 11 global ones of 14, last norm and classifier.
    assert len([name for name in state if ".motion." not in name and "position_bias" not in name]) == 16 + 7 * 22 + 11 * 14 + 7
    assert counters == 15


def plain_state() -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    network = UniFormer(TINY)
    return {
        name: torch.randn_like(value) if value.is_floating_point() else value for name, value in network.state_dict().items()
    }


def test_a_plain_file_lacks_only_bias_and_motion(tmp_path: Path) -> None:
    state = plain_state()
    torch.save({"model_state": state}, tmp_path / "plain.pth")
    save_file(state, tmp_path / "plain.safetensors")
    torch.save({f"module.{name}": value for name, value in state.items()}, tmp_path / "parallel.pth")
    for file in ("plain.pth", "plain.safetensors", "parallel.pth"):
        network = UniFormer(TINY_EMIM)
        missing = load_weights(network, tmp_path / file)
        assert {name.rsplit(".attn.", 1)[1] for name in missing} == {
            "position_bias", "motion.enter.weight", "motion.enter.bias", "motion.leave.weight", "motion.leave.bias",
        }  # fmt: skip
        assert {name.split(".attn")[0] for name in missing} == {"blocks3.0", "blocks4.0"}
        loaded = network.state_dict()
        assert all(torch.equal(loaded[name], value) for name, value in state.items())
    assert load_weights(UniFormer(TINY), tmp_path / "plain.pth") == ()


def test_another_classifier_is_left_out_and_pictures_are_inflated(tmp_path: Path) -> None:
    state = plain_state()
    flat = {name: value[:, :, 0] * 2 if value.dim() == 5 else value for name, value in state.items()}
    torch.save(flat, tmp_path / "pictures.pth")
    network = UniFormer(replace(TINY, labels=("one", "two")))
    assert load_weights(network, tmp_path / "pictures.pth") == ("head.weight", "head.bias")
    kernel = network.state_dict()["blocks1.0.attn.weight"]
    torch.testing.assert_close(kernel.sum(2), flat["blocks1.0.attn.weight"])  # a still video is seen as the picture was
    assert torch.equal(kernel[:, :, 0], kernel[:, :, 4])


class Runs:
    def __reduce__(self) -> tuple[object, ...]:
        return (print, ("this must never be run",))


def test_wrong_files_are_refused_with_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = UniFormer(TINY_EMIM)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(InputError, match=r"does not exist; expected a file of UniFormer weights"):
        load_weights(network, tmp_path / "no.pth")
    (tmp_path / "text.pth").write_text("hello")
    torch.save({"model": Runs()}, tmp_path / "code.pth")
    for name in ("text.pth", "code.pth"):
        with pytest.raises(InputError, match="cannot be read as weights"):
            load_weights(network, tmp_path / name)
    torch.save({"epoch": 3}, tmp_path / "other.pth")
    with pytest.raises(InputError, match="something else than named tensors"):
        load_weights(network, tmp_path / "other.pth")
    state = plain_state()
    torch.save({**state, "blocks1.7.conv1.weight": torch.zeros(2)}, tmp_path / "larger.pth")
    with pytest.raises(InputError, match=r"has blocks1.7.conv1.weight, which does not fit; .* choose the preset"):
        load_weights(network, tmp_path / "larger.pth")
    del state["norm.weight"]
    torch.save(state, tmp_path / "cut.pth")
    with pytest.raises(InputError, match=r"lacks norm.weight"):
        load_weights(network, tmp_path / "cut.pth")
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert "never" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "config", [TINY, TINY_EMIM, replace(TINY_EMIM, motion_blocks="all", border="masked", last_frame="own")]
)
@pytest.mark.parametrize("shape", [(1, 16, 16), (5, 24, 40), (8, 17, 35)])
def test_any_number_of_frames_and_any_picture(config: UniFormerConfig, shape: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    network = UniFormer(config).eval()
    video = torch.randint(0, 256, (2, *shape, 3), dtype=torch.uint8)
    scores = network(video)
    assert scores.shape == (2, 3)
    torch.testing.assert_close(network(video.float() / 255), scores)
    torch.testing.assert_close(network(video[1:]), scores[1:], rtol=1e-4, atol=1e-5)


def test_clips_that_do_not_fit_are_refused() -> None:
    network = UniFormer(TINY)
    with pytest.raises(InputError, match="expected \\(B, T, H, W, 3\\)"):
        network(torch.zeros(2, 3, 8, 16, 16))
    with pytest.raises(InputError, match="expected 16 pixels or more"):
        network(torch.zeros(2, 8, 15, 16, 3))
    with pytest.raises(InputError, match="expected none, even or all"):
        replace(TINY, motion_blocks="odd")
    with pytest.raises(InputError, match="multiples of head_size"):
        replace(TINY, head_size=12)


def test_without_convolutions_in_time_a_plain_network_does_not_know_the_order_of_frames() -> None:
    torch.manual_seed(0)
    video = torch.rand(1, 6, 16, 16, 3)
    shuffled = video[:, [3, 0, 5, 1, 4, 2]]
    for config, ordered in (
        (TINY, True),
        (replace(TINY, convolve_time=False), False),
        (replace(TINY_EMIM, convolve_time=False), True),
    ):
        network = UniFormer(replace(config, temporal_stride=1)).eval()
        for module in network.modules():
            if isinstance(module, MotionAttention):
                assert module.motion is not None
                torch.nn.init.normal_(module.motion.leave.weight)
        same = torch.allclose(network(video), network(shuffled), atol=1e-5)
        assert same != ordered


def test_the_loss_of_mixed_and_smoothed_labels() -> None:
    scores = torch.tensor([[2.0, 0.0, -1.0], [0.5, 0.1, 0.3]])
    log_probability = scores.log_softmax(-1)
    batch = {"label": torch.tensor([0, 2]), "other_label": torch.tensor([2, 0]), "label_share": torch.tensor([0.7, 0.7])}
    target = torch.tensor([[0.7, 0.0, 0.3], [0.3, 0.0, 0.7]]) * 0.9 + 0.1 / 3
    expected = -(target * log_probability).sum(-1).mean()
    torch.testing.assert_close(soft_cross_entropy(scores, batch, 0.1), expected)
    plain = {"label": torch.tensor([0, -1])}
    torch.testing.assert_close(soft_cross_entropy(scores, plain, 0.0), -log_probability[0, 0])


def test_stochastic_depth_skips_branches_by_the_generator() -> None:
    network = UniFormer(replace(TINY_EMIM, drop_path=0.9)).train()
    chances = [module.chance for module in network.modules() if isinstance(module, SkipPath)]
    assert chances == pytest.approx([0.18 * number for number in range(6)])
    batch = {"video": torch.rand(4, 4, 16, 16, 3), "label": torch.tensor([0, 1, 2, 0])}
    first, second, other = (float(network.loss(batch, torch.Generator().manual_seed(seed))[0].detach()) for seed in (0, 0, 1))
    assert first == second != other
    path = SkipPath(0.5).train()
    path.kept = torch.tensor([[True, False], [False, True]])
    torch.testing.assert_close(path(torch.ones(2, 3), 0), torch.tensor([[2.0] * 3, [0.0] * 3]))
    torch.testing.assert_close(path.eval()(torch.ones(2, 3), 0), torch.ones(2, 3))


def test_views_are_averaged() -> None:
    network = UniFormer(TINY_EMIM).eval()
    views = torch.rand(2, 3, 4, 16, 16, 3)
    expected = torch.stack([network(views[:, view]).softmax(-1) for view in range(3)]).mean(0)
    torch.testing.assert_close(network.recognise(views), expected)


def test_new_labels_get_a_new_classifier() -> None:
    network = UniFormer(TINY)
    network.set_labels(("x", "y"))
    assert network(torch.zeros(1, 4, 16, 16, 3)).shape == (1, 2)
    assert network.config.labels == ("x", "y")

"""100DOH's network: names, sizes, weights from files, rows of a tiny random one."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from palmist.errors import InputError
from palmist.models.box_layers import roi_align
from palmist.perception.doh_network import HandObjectNetwork, NetworkConfig, NetworkHandObjects, _padded, load_network

TINY = NetworkConfig(
    blocks=(1, 1, 2, 1), width=4, proposal_width=8, contact_width=4, scales=(1, 2), short_side=96, long_side=160,
    proposals=(200, 20),
)  # fmt: skip


def tiny_network(seed: int = 0) -> HandObjectNetwork:
    torch.manual_seed(seed)
    return HandObjectNetwork(TINY).eval()


@pytest.fixture
def frame() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (72, 128, 3), np.uint8)


def test_the_full_network_has_the_published_names_and_shapes() -> None:
    with torch.device("meta"):
        state = HandObjectNetwork().state_dict()
    shapes = {
        "RCNN_base.0.weight": (64, 3, 7, 7),
        "RCNN_base.1.running_mean": (64,),
        "RCNN_base.4.0.downsample.0.weight": (256, 64, 1, 1),
        "RCNN_base.5.3.conv2.weight": (128, 128, 3, 3),
        "RCNN_base.6.22.conv3.weight": (1024, 256, 1, 1),
        "RCNN_rpn.RPN_Conv.weight": (512, 1024, 3, 3),
        "RCNN_rpn.RPN_cls_score.weight": (24, 512, 1, 1),
        "RCNN_rpn.RPN_bbox_pred.bias": (48,),
        "RCNN_top.0.2.bn3.weight": (2048,),
        "RCNN_cls_score.weight": (3, 2048),
        "RCNN_bbox_pred.weight": (12, 2048),
        "extension_layer.hand_contact_state_layer.0.weight": (32, 2048),
        "extension_layer.hand_contact_state_layer.3.weight": (5, 32),
        "extension_layer.hand_dydx_layer.weight": (3, 2048),
        "extension_layer.hand_lr_layer.bias": (1,),
    }
    assert {name: tuple(state[name].shape) for name in shapes} == shapes
    # ResNet-101 without its classifier has 42,500,160 parameters.
    resnet = [value for name, value in state.items() if re.match(r"RCNN_(base|top)\..*(weight|bias)$", name)]
    assert sum(value.numel() for value in resnet) == 42_500_160


def test_the_sizes_of_the_feature_map_are_those_of_caffe_pooling() -> None:
    # 161 columns: 81 after the first convolution, 40 after pooling without a margin, 20, 10; 100 rows: 50, 25, 13, 7.
    with torch.no_grad():
        assert tiny_network().RCNN_base(torch.zeros(1, 3, 100, 161)).shape == (1, 64, 7, 10)


def test_a_tiny_network_gives_rows_inside_the_picture(frame: np.ndarray) -> None:
    hands, things = tiny_network().rows(frame, 0.0, 0.0)
    for rows in (hands, things):
        assert rows.shape[1] == 10
        assert 1 <= len(rows) <= 20
        assert (np.diff(rows[:, 4]) <= 0).all()
        assert rows[:, [0, 1]].min() >= 0
        assert rows[:, 2].max() < 128
        assert rows[:, 3].max() < 72
        assert set(rows[:, 5]) <= set(range(5))
        assert np.allclose(np.hypot(rows[:, 7], rows[:, 8]), 0.1)
        assert set(rows[:, 9]) <= {0, 1}
    assert np.array_equal(tiny_network().rows(frame, 0.0, 0.0)[0], hands)
    top = float(hands[:, 4].max())
    assert len(tiny_network().rows(frame, top, 0.0)[0]) == 0


def test_the_rows_come_from_the_heads_of_their_own_box(frame: np.ndarray) -> None:
    """The contact state from the padded box and the side from the plain one, computed step by step."""
    network = tiny_network(1)
    picture = torch.randn(1, 3, 96, 160, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        scores, boxes, about = network(picture)
        features = network.RCNN_base(picture)
        proposals = network.RCNN_rpn(features, 96, 160)
        plain = network.RCNN_top(roi_align(features[0], proposals, 7, 1 / 16)).mean((2, 3))
        padded = _padded(proposals, 96, 160, TINY)
        wide = network.RCNN_top(roi_align(features[0], padded, 7, 1 / 16)).mean((2, 3))
        heads = network.extension_layer
    assert scores.shape == (len(proposals), 3)
    assert boxes.shape == (len(proposals), 3, 4)
    assert torch.allclose(scores.sum(1), torch.ones(len(scores)))
    assert torch.equal(about[:, 0].long(), heads.hand_contact_state_layer(wide).argmax(-1))
    assert torch.allclose(about[:, 1], heads.hand_dydx_layer(wide)[:, 0], atol=1e-5)
    assert torch.equal(about[:, 4] > 0, torch.sigmoid(heads.hand_lr_layer(plain)[:, 0]) > 0.5)


def test_padding_with_the_limits_of_the_public_code_and_with_sound_ones() -> None:
    box = torch.tensor([[100.0, 10, 150, 60]])
    assert _padded(box, 96, 160, TINY).tolist() == [[85, 0, 96, 75]]  # x1 limited by the height
    sound = NetworkConfig(mixed_up_sides=False)
    assert _padded(box, 96, 160, sound).tolist() == [[85, 0, 160, 75]]


def test_weights_come_back_from_every_kind_of_file(tmp_path: Path, frame: np.ndarray) -> None:
    network = tiny_network(2)
    expected = network.rows(frame, 0.0, 0.0)
    state = network.state_dict()
    save_file(state, tmp_path / "net.safetensors")
    torch.save(state, tmp_path / "plain.pth")
    wrapped = {f"module.{name}": value for name, value in state.items() if not name.endswith("num_batches_tracked")}
    torch.save({"session": 1, "epoch": 9, "model": wrapped, "pooling_mode": "align"}, tmp_path / "training.pth")
    for name in ("net.safetensors", "plain.pth", "training.pth"):
        found = load_network(tmp_path / name, TINY).rows(frame, 0.0, 0.0)
        assert all(np.array_equal(one, two) for one, two in zip(found, expected, strict=True)), name


class _Trap:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, ("raise SystemExit('a pickle was run')",)


def test_files_that_do_not_fit_are_refused_in_one_sentence(tmp_path: Path) -> None:
    state = tiny_network().state_dict()
    lacking = {name: value for name, value in state.items() if "hand_lr" not in name}
    odd = {**state, "RCNN_cls_score.weight": torch.zeros(21, 128), "extra": torch.zeros(1)}
    files = {
        "lacks 2 (extension_layer.hand_lr_layer.weight, extension_layer.hand_lr_layer.bias)": lacking,
        "has the unknown 1 (extra) and has with another shape 1 (RCNN_cls_score.weight)": odd,
        "was trained with pooling 'crop'": {"model": state, "pooling_mode": "crop"},
        "holds something else than named tensors": {"model": 3},
        "cannot be read as weights": {"model": _Trap()},
    }
    for number, (message, content) in enumerate(files.items()):
        path = tmp_path / f"{number}.pth"
        torch.save(content, path)
        with pytest.raises(InputError, match=re.escape(message)):
            load_network(path, TINY)
    (tmp_path / "cut.pth").write_bytes((tmp_path / "0.pth").read_bytes()[:500])
    with pytest.raises(InputError, match="cannot be read as weights"):
        load_network(tmp_path / "cut.pth", TINY)
    with pytest.raises(InputError, match="does not exist"):
        load_network(tmp_path / "none.pth", TINY)


def test_as_a_detector(frame: np.ndarray) -> None:
    detector = NetworkHandObjects(tiny_network(), hand_threshold=0.0, object_threshold=0.0)
    found = detector.detect(0.0, frame)
    assert found.hands
    assert found.objects
    touching = [hand for hand in found.hands if hand.contact > 0]
    assert all(hand.object is not None for hand in touching)
    assert detector.describe()["detector"] == "100DOH network"
    with pytest.raises(InputError, match="hand threshold is 1"):
        NetworkHandObjects(tiny_network(), hand_threshold=1.0)
    with pytest.raises(InputError, match=r"expected \(height, width, 3\) RGB uint8"):
        detector.detect(0.0, frame[..., 0])

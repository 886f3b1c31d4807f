"""E^I and E^PO of G-HTT: the camera's codes, ResNet-18's names and weights, losses, learning by heart."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from palmist.errors import InputError
from palmist.models.ghtt_image import (
    CENTRE_X,
    CENTRE_Y,
    FOCAL,
    PRESETS,
    ClipObjectConfig,
    ClipObjectDetector,
    ImageEstimator,
    ImageEstimatorConfig,
    decode_25d,
    encode_25d,
    to_normalised_camera,
)
from palmist.models.resnet import ResNet18, load_backbone


def joints() -> torch.Tensor:
    """(2, 21, 3) metres before a camera."""
    generator = torch.Generator().manual_seed(0)
    centre = torch.tensor([[[-0.1, 0.02, 0.5]], [[0.1, -0.03, 0.45]]])
    return centre + 0.05 * torch.randn(2, 21, 3, generator=generator)


def test_codes_are_those_of_the_specification() -> None:
    codes = encode_25d(torch.tensor([0.1, -0.05, 0.5]))
    # pixel = 240 + 240 * 0.1 / 0.5 = 288, so dx = 0.48; dy = -0.24; z = (0.5 - 0.4) / (240 * 1e-4) = 4.1667
    torch.testing.assert_close(codes, torch.tensor([0.48, -0.24, 4.16667]), rtol=0, atol=1e-4)
    torch.testing.assert_close(decode_25d(encode_25d(joints())), joints(), rtol=0, atol=1e-5)


def test_another_focal_length_is_taken_to_the_normalised_camera() -> None:
    """A camera with another focal length sees the hand at the pixels at which the normalised one sees the result."""
    real = joints()[0].double().numpy()
    pixels = 300 * real[:, :2] / real[:, 2:] + np.array([CENTRE_X, CENTRE_Y])
    there = to_normalised_camera(real, pixels)
    seen = FOCAL * there[:, :2] / there[:, 2:] + np.array([CENTRE_X, CENTRE_Y])
    assert np.abs(seen - pixels).mean() < 3  # another focal length is not quite a rigid motion
    assert there[:, 2].mean() < 0.9 * real[:, 2].mean()  # nearer, since the normalised camera sees wider
    edges = np.linalg.norm(real[1:] - real[:-1], axis=1)
    np.testing.assert_allclose(np.linalg.norm(there[1:] - there[:-1], axis=1), edges, rtol=1e-6)  # rigid
    with pytest.raises(InputError, match="at least 4"):
        to_normalised_camera(real[:3], pixels[:3])


def test_resnet_18_has_its_known_size_and_names() -> None:
    network = ResNet18()
    assert sum(parameter.numel() for parameter in network.parameters()) == 11_176_512  # 11,689,512 less fc
    names = set(network.state_dict())
    assert {"conv1.weight", "bn1.running_mean", "layer1.0.conv1.weight", "layer4.0.downsample.1.bias"} <= names
    assert "layer1.0.downsample.0.weight" not in names
    assert network.maps(torch.zeros(1, 3, 90, 160)).shape == (1, 512, 3, 5)


def test_weights_are_loaded_from_a_file_and_bad_files_are_named(tmp_path: Path) -> None:
    torch.manual_seed(1)
    other = ResNet18()
    state = {**other.state_dict(), "fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)}
    save_file(state, tmp_path / "weights.safetensors")
    torch.save(state, tmp_path / "weights.pth")
    for name in ("weights.safetensors", "weights.pth"):
        network = load_backbone(ResNet18(), tmp_path / name)
        assert torch.equal(network.layer3[0].conv1.weight, other.layer3[0].conv1.weight)  # type: ignore[index,union-attr,operator]
    del state["layer2.1.bn2.weight"]
    save_file(state, tmp_path / "short.safetensors")
    with pytest.raises(InputError, match=r"lacks layer2\.1\.bn2\.weight"):
        load_backbone(ResNet18(), tmp_path / "short.safetensors")
    (tmp_path / "evil.pth").write_bytes(pickle.dumps({"conv1.weight": print}))
    (tmp_path / "cut.pth").write_bytes((tmp_path / "weights.pth").read_bytes()[:1000])
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "weights.safetensors").read_bytes()[:1000])
    for name in ("evil.pth", "cut.pth", "cut.safetensors", "absent.pth"):
        with pytest.raises(InputError):
            load_backbone(ResNet18(), tmp_path / name)


def test_a_narrow_resnet_has_narrow_stages() -> None:
    network = ResNet18(24)
    assert network.width == 192
    assert network.layer3[0].conv1.weight.shape == (96, 48, 3, 3)  # type: ignore[index,union-attr,operator]
    assert network.maps(torch.zeros(1, 3, 36, 64)).shape == (1, 192, 2, 2)
    assert network(torch.zeros(1, 3, 36, 64)).shape == (1, 192)


def batch() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    codes = torch.randn(4, 2, 21, 3, generator=generator)
    return {
        "images": torch.randn(4, 3, 36, 64, generator=generator), "codes": codes,
        "known": torch.ones(4, 2, 21, 3, dtype=torch.bool), "present": torch.tensor([[True, True]] * 3 + [[True, False]]),
        "object": torch.tensor([0, 1, -1, 1]),
    }  # fmt: skip


def estimator() -> ImageEstimator:
    torch.manual_seed(0)
    model = ImageEstimator(ImageEstimatorConfig(width=32, input_width=64, input_height=36, label_dim=8, depth_weight=1.0))
    model.set_objects(["cup", "box"], torch.eye(8)[:2])
    return model


def test_unknown_joints_are_never_looked_at_and_sizes_are_checked() -> None:
    model, given = estimator().eval(), batch()
    given["known"][:, 1, 5:] = False
    spoilt = {**given, "codes": torch.where(given["known"], given["codes"], torch.full_like(given["codes"], 1e4))}
    torch.testing.assert_close(model.loss(spoilt)[0], model.loss(given)[0])
    with pytest.raises(InputError, match="64 x 36"):
        model(torch.zeros(1, 3, 270, 480))


def test_it_learns_four_frames_by_heart() -> None:
    model, given = estimator(), batch()
    optimiser = torch.optim.Adam(model.parameters(), 1e-3)
    model.eval()  # statistics of BatchNorm stay frozen, as in the authors' training
    first = float(model.loss(given)[0].detach())
    for _ in range(40):
        optimiser.zero_grad()
        loss, _ = model.loss(given)
        loss.backward()
        optimiser.step()
    assert float(loss.detach()) < 0.5 * first


def test_presets_build() -> None:
    paper = PRESETS["paper"]
    assert (paper.input_width, paper.base_width, paper.cells, paper.object_weight) == (480, 64, 0, 1.0)
    small = ImageEstimator(PRESETS["small"])
    assert small.config.input_height == 90
    assert sum(parameter.numel() for parameter in small.parameters()) < 2.5e6
    assert small(torch.zeros(2, 3, 90, 160)).codes.shape == (2, 2, 21, 3)


def test_cells_tell_where_and_a_mean_does_not() -> None:
    """A blob that moves by whole strides changes what the hand head sees only where it sees the maps cell by cell."""
    torch.manual_seed(0)
    images = torch.zeros(2, 3, 96, 256)
    images[0, :, 32:64, 64:96] = images[1, :, 32:64, 160:192] = 1.0
    for cells, moves in ((0, False), (8, True)):
        config = ImageEstimatorConfig(base_width=4, width=16, cells=cells, input_width=256, input_height=96)
        model = ImageEstimator(config).eval()
        model.backbone.maps = lambda x: torch.nn.functional.avg_pool2d(x.repeat(1, 11, 1, 1)[:, :32], 32)  # type: ignore[method-assign]
        one, other = model(images).codes
        assert bool((one - other).abs().max() > 1e-3) == moves


def test_frozen_statistics_stay_in_training() -> None:
    model = ImageEstimator(ImageEstimatorConfig(base_width=4, width=16, frozen_statistics=True)).train()
    assert model.hands.training
    assert not any(module.training for module in model.backbone.modules())
    assert all(module.training for module in ImageEstimator(ImageEstimatorConfig(base_width=4, width=16)).train().modules())


def test_the_clip_detector_snaps_to_a_name_and_padding_changes_nothing() -> None:
    torch.manual_seed(0)
    model = ClipObjectDetector(ClipObjectConfig(layers=1, width=32, heads=2, feedforward=64, label_dim=8)).eval()
    with pytest.raises(InputError, match="no object names"):
        model.detect(torch.zeros(1, 4, 32), torch.ones(1, 4, dtype=torch.bool))
    names = torch.eye(8)[:3]
    model.set_objects(["cup", "box", "pen"], names)
    objects, frames = torch.randn(5, 16, 32), torch.arange(16) < torch.tensor([[16], [4], [9], [16], [12]])
    row, feature = model.detect(objects, frames)
    assert torch.equal(feature, names[row])
    objects[1, 4:] = 1e3
    torch.testing.assert_close(model(objects, frames)[1], model(objects[1:2, :4], frames[1:2, :4])[0])


def test_the_clip_detector_learns() -> None:
    torch.manual_seed(0)
    model = ClipObjectDetector(ClipObjectConfig(layers=1, width=32, heads=2, feedforward=64, label_dim=8)).train()
    model.set_objects(["cup", "box", "pen"], torch.eye(8)[:3])
    given = {
        "objects": torch.randn(6, 16, 32), "frames": torch.ones(6, 16, dtype=torch.bool),
        "object": torch.tensor([0, 1, 2, 0, 1, 2]),
    }  # fmt: skip
    optimiser = torch.optim.Adam(model.parameters(), 3e-3)
    for step in range(60):
        optimiser.zero_grad()
        loss, _ = model.loss(given, torch.Generator().manual_seed(step))
        loss.backward()
        optimiser.step()
    assert torch.equal(model.eval().detect(given["objects"], given["frames"])[0], given["object"])

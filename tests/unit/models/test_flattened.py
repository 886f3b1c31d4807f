"""The flattened VAE: masks, padding, size, learning by heart, futures."""

from __future__ import annotations

import pytest
import torch

from palmist import pose_vector
from palmist.errors import InputError
from palmist.models.baselines.flattened import PRESETS, FlattenedConfig, FlattenedVAE
from palmist.models.ghtt import GHTT, GHTTConfig
from palmist.models.ghtt import PRESETS as GHTT_PRESETS

TINY = FlattenedConfig(layers=2, width=32, heads=2, feedforward=64, label_dim=8)


def model() -> FlattenedVAE:
    torch.manual_seed(0)
    network = FlattenedVAE(TINY)
    network.set_labels(["a", "b", "c"], torch.eye(8)[:3])
    return network


def batch() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    hands = torch.randn(4, 40, 2, 21, 3, generator=generator) * 0.02 + torch.randn(4, 1, 2, 21, 3, generator=generator) * 0.05
    known = torch.ones(4, 40, 2, 21, dtype=torch.bool)
    code = pose_vector.encode(hands, known)
    vector, mask = pose_vector.reset_first_motion(code.vector, code.known, code.palms.valid)
    frames = torch.arange(24) < torch.tensor([[24], [20], [24], [9]])
    ahead = torch.arange(16) < torch.tensor([[16], [10], [16], [16]])
    return {
        "observed": vector[:, :24], "observed_clean": vector[:, :24], "observed_known": mask[:, :24],
        "observed_axes": code.depth_axes[:, :24], "observed_frames": frames,
        "future": vector[:, 24:], "future_known": mask[:, 24:], "future_axes": code.depth_axes[:, 24:],
        "future_frames": ahead, "label": torch.tensor([0, 1, 2, -1]),
    }  # fmt: skip


def test_what_is_not_known_and_padding_change_nothing() -> None:
    network, given = model().eval(), batch()
    given["observed_known"] = given["observed_known"].clone()
    given["observed_known"][:, 5, 30:60] = False
    loss, _ = network.loss(given)
    spoilt = {name: value.clone() for name, value in given.items()}
    spoilt["observed"][~given["observed_known"]] = 1e3
    spoilt["observed"][~given["observed_frames"]] = 1e3
    spoilt["future"][~given["future_frames"]] = 1e3
    torch.testing.assert_close(network.loss(spoilt)[0], loss)


def test_size_is_comparable_to_both_blocks_of_ghtt() -> None:
    def count(network: torch.nn.Module) -> int:
        return sum(parameter.numel() for parameter in network.parameters())

    flattened, blocks = count(FlattenedVAE(PRESETS["paper"])), count(GHTT(GHTTConfig(**vars(GHTT_PRESETS["paper"]))))
    assert abs(flattened / blocks - 1) < 0.1


def test_it_learns_four_sequences_by_heart() -> None:
    network, given = model().train(), batch()
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    generator = torch.Generator().manual_seed(1)
    start = network.eval().loss(given)[1]
    network.train()
    for _ in range(200):
        optimiser.zero_grad()
        loss, _ = network.loss(given, generator)
        loss.backward()
        optimiser.step()
    end = network.eval().loss(given)[1]
    assert end["future"] < 0.7 * start["future"]
    assert end["accuracy"] == 1
    probabilities = network.recognise(given["observed"], given["observed_known"], given["observed_frames"])
    assert probabilities[:3].argmax(1).tolist() == [0, 1, 2]
    only = torch.tensor([False, True, False])
    assert network.recognise(given["observed"], given["observed_known"], given["observed_frames"], only)[0, 1] == 1


def test_futures_start_from_the_last_seen_palm_and_grow_apart_with_the_factor() -> None:
    network = model().eval()
    hands, known = torch.randn(2, 20, 2, 21, 3) * 0.05, torch.ones(2, 20, 2, 21, dtype=torch.bool)
    code = pose_vector.encode(hands, known)
    frames = torch.ones(2, 20, dtype=torch.bool)

    def predict(factor: float) -> torch.Tensor:
        generator = torch.Generator().manual_seed(0)
        return network.predict(code.vector, code.known, frames, code.palms, 24, 5, factor, generator)

    still, near, far = predict(0.0), predict(5.0), predict(10.0)
    assert still.shape == (2, 5, 24, 2, 21, 3)
    torch.testing.assert_close(still[:, 0], still[:, 4])
    assert far.std(1).mean() > near.std(1).mean() > 0
    torch.testing.assert_close(still[:, 0, 0, :, 0], hands[:, -1, :, 0], rtol=0, atol=0.05)


def test_what_does_not_fit_is_refused() -> None:
    network = model()
    with pytest.raises(InputError, match="up to 256"):
        network.encode(
            torch.zeros(1, 300, 153), torch.ones(1, 300, 153, dtype=torch.bool), torch.ones(1, 300, dtype=torch.bool)
        )
    with pytest.raises(InputError, match=r"expected \(2, 8\)"):
        network.set_labels(["a", "b"], torch.zeros(2, 4))

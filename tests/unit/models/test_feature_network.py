"""The FID feature network: shapes, masks, loss, learning, and the hash of its weights."""

import pytest
import torch

from palmist.errors import InputError
from palmist.models import feature_network as fn

TINY = fn.FeatureNetworkConfig(layers=2, width=32, heads=2, feedforward=64, label_dim=8)


@pytest.fixture
def network():
    torch.manual_seed(0)
    network = fn.FeatureNetwork(TINY).eval()
    network.set_labels(["open", "close", "pour"], torch.randn(3, 8))
    return network


@pytest.fixture
def batch():
    torch.manual_seed(1)
    mask = torch.ones(4, 12, dtype=torch.bool)
    mask[1, 7:] = False
    return {
        "frames": torch.randn(4, 12, 153),
        "known": torch.rand(4, 12, 153) > 0.3,
        "mask": mask,
        "label": torch.tensor([0, 2, 1, -1]),
    }


def features(network, batch):
    with torch.no_grad():
        return network.features(batch["frames"], batch["known"], batch["mask"])


def test_shape(network, batch):
    assert features(network, batch).shape == (4, 32)


def test_padded_and_unknown_entries_do_not_change_features(network, batch):
    before = features(network, batch)
    unseen = ~batch["known"] | ~batch["mask"].unsqueeze(-1)
    changed = {**batch, "frames": torch.where(unseen, torch.full((), float("nan")), batch["frames"])}
    torch.testing.assert_close(features(network, changed), before, rtol=0, atol=0)
    longer = {
        "frames": torch.cat((batch["frames"], torch.randn(4, 5, 153)), dim=1),
        "known": torch.cat((batch["known"], torch.ones(4, 5, 153, dtype=torch.bool)), dim=1),
        "mask": torch.cat((batch["mask"], torch.zeros(4, 5, dtype=torch.bool)), dim=1),
    }
    torch.testing.assert_close(features(network, longer), before, rtol=1e-5, atol=1e-5)


def test_known_entries_do(network, batch):
    changed = {**batch, "frames": batch["frames"].clone()}
    batch["known"][0, 3, 20] = True
    before = features(network, batch)
    changed["frames"][0, 3, 20] += 1
    assert (features(network, changed) - before)[0].abs().max() > 1e-4


def test_the_motion_of_frame_0_and_the_thumb_base_never_count(network, batch):
    before = features(network, batch)
    changed = {**batch, "frames": batch["frames"].clone()}
    changed["frames"][:, 0, 126:144] += 5
    changed["frames"][..., 3:6] += 5
    changed["frames"][..., 66:69] += 5
    torch.testing.assert_close(features(network, changed), before, rtol=0, atol=0)


def test_frame_order_counts(network, batch):
    batch["known"][:] = True
    batch["mask"][:] = True
    flipped = {**batch, "frames": batch["frames"].flip(1)}
    assert (features(network, flipped) - features(network, batch)).abs().max() > 1e-3


def test_loss_by_its_definition(network, batch):
    total, parts = network.loss(batch)
    feature = features(network, batch)[:3]
    with torch.no_grad():
        projected = network.label_table @ network.label_in.weight.T + network.label_in.bias
    distance, contrast = 0.0, 0.0
    for row, label in enumerate([0, 2, 1]):
        distance += (feature[row] - projected[label]).abs().mean() / 3
        cosines = torch.stack([torch.cosine_similarity(feature[row], other, dim=0) for other in projected]) / 0.07
        contrast += -(cosines[label] - cosines.logsumexp(0)) / 3
    torch.testing.assert_close(parts["distance"], distance)
    torch.testing.assert_close(parts["contrast"], contrast)
    torch.testing.assert_close(total.detach(), distance + contrast)


def test_an_unlabelled_batch_has_no_loss(network, batch):
    total, parts = network.loss({**batch, "label": torch.full((4,), -1)})
    assert total.item() == 0
    assert parts["accuracy"].item() == 0


def test_it_learns_a_handful(network, batch):
    network.train()
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3)
    first = network.loss(batch)[0].item()
    for _ in range(60):
        optimiser.zero_grad()
        loss, parts = network.loss(batch)
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.4 * first
    assert parts["accuracy"].item() == 1


def test_hash_names_the_weights(network):
    before = fn.weights_hash(network)
    assert len(before) == 12
    assert int(before, 16) >= 0
    copy = fn.FeatureNetwork(network.config)
    assert fn.weights_hash(copy) != before
    copy.load_state_dict(network.state_dict())
    assert fn.weights_hash(copy) == before
    copy.set_labels(["one"], torch.randn(1, 8))
    assert fn.weights_hash(copy) == before
    with torch.no_grad():
        copy.norm.bias[3] += 1e-6
    assert fn.weights_hash(copy) != before


def test_presets_and_configuration():
    assert (fn.PRESETS["paper"].layers, fn.PRESETS["paper"].width, fn.PRESETS["paper"].max_frames) == (9, 512, 256)
    for config in fn.PRESETS.values():
        assert fn.FeatureNetworkConfig.from_dict(config.to_dict()) == config
    with pytest.raises(InputError, match="does not fit"):
        fn.FeatureNetworkConfig.from_dict({"depth": 3})
    with pytest.raises(InputError, match="multiple of 4"):
        fn.FeatureNetworkConfig(width=30)


def test_wrong_input_is_refused(network, batch):
    with pytest.raises(InputError, match="up to 256"):
        network.features(torch.zeros(1, 257, 153), torch.zeros(1, 257, 153).bool(), torch.ones(1, 257).bool())
    with pytest.raises(InputError, match="expected"):
        network.features(batch["frames"][..., :100], batch["known"], batch["mask"])
    with pytest.raises(InputError, match="label features"):
        network.set_labels(["a"], torch.zeros(2, 8))
    with pytest.raises(InputError, match="no labels"):
        fn.FeatureNetwork(TINY).loss(batch)

"""Last pose, constant velocity and logistic regression on cases worked by hand."""

import numpy as np
import pytest
import torch

from palmist.errors import InputError
from palmist.models.baselines import simple

TIME = np.array([0.0, 0.1, 0.3, 0.4])
AHEAD = np.array([0.5, 0.8])


@pytest.fixture
def moving():
    """One hand of 21 joints that moves 2 units/s along x and stays at y = 7."""
    joints = np.zeros((4, 1, 21, 3))
    joints[..., 0] = 2 * TIME[:, None, None]
    joints[..., 1] = 7
    return joints, np.ones((4, 1, 21), bool)


def test_last_pose(moving):
    joints, known = moving
    joints[3, 0, 5], known[3, 0, 5] = 99, False  # was last known at 0.3 s
    known[:, 0, 9] = False
    result = simple.last_pose(joints, known, TIME, AHEAD)
    assert result.joints.shape == (2, 1, 21, 3)
    assert result.joints[:, 0, 4].tolist() == [[0.8, 7, 0]] * 2
    assert result.joints[:, 0, 5].tolist() == [[0.6, 7, 0]] * 2
    assert result.known[:, 0].sum(1).tolist() == [20, 20]
    assert not result.known[:, 0, 9].any()
    assert np.isfinite(result.joints).all()


def test_constant_velocity_follows_irregular_times(moving):
    result = simple.constant_velocity(*moving, TIME, AHEAD)
    np.testing.assert_allclose(result.joints[:, 0, :, 0], np.repeat([[1.0], [1.6]], 21, 1))
    assert (result.joints[..., 1] == 7).all()


def test_constant_velocity_uses_the_last_two_known_frames(moving):
    joints, known = moving
    for frame, joint in ((2, 5), (3, 5), (3, 6)):
        joints[frame, 0, joint], known[frame, 0, joint] = 99, False
    joints[1:, 0, 7], known[1:, 0, 7] = np.nan, False  # known once: it stays
    result = simple.constant_velocity(joints, known, TIME, AHEAD)
    np.testing.assert_allclose(result.joints[:, 0, [5, 6], 0], [[1.0, 1.0], [1.6, 1.6]])
    assert result.joints[:, 0, 7].tolist() == [[0, 7, 0]] * 2
    assert result.known.all()


def test_one_frame_stays(moving):
    joints, known = moving
    result = simple.constant_velocity(joints[:1], known[:1], TIME[:1], AHEAD)
    assert (result.joints == joints[0]).all()


def test_wrong_input_is_refused(moving):
    joints, known = moving
    with pytest.raises(InputError, match="expected"):
        simple.last_pose(joints, known[:2], TIME, AHEAD)
    with pytest.raises(InputError, match="later"):
        simple.last_pose(joints, known, TIME, TIME)


def blobs(n=60):
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), n)
    return rng.normal(size=(3 * n, 2)) + 4 * np.array([[0, 0], [1, 0], [0, 1]])[labels], labels


def test_logistic_regression_separates_blobs():
    features, labels = blobs()
    model = simple.LogisticRegression().fit(features, labels)
    assert (model.predict(features).numpy() == labels).mean() > 0.95
    assert torch.allclose(model.predict_probabilities(features).sum(1), torch.ones(180, dtype=torch.float64))


def test_logistic_regression_is_at_the_minimum_of_its_objective():
    features, labels = blobs(20)
    model = simple.LogisticRegression(inverse_penalty=0.5, standardise=False).fit(features, labels)
    onehot = np.eye(3)[labels]
    residual = model.predict_probabilities(features).numpy() - onehot
    np.testing.assert_allclose(features.T @ residual + model.weight.numpy() / 0.5, 0, atol=1e-3)
    np.testing.assert_allclose(residual.sum(0), 0, atol=1e-3)


def test_standardised_features_do_not_depend_on_units():
    features, labels = blobs()
    first = simple.LogisticRegression().fit(features, labels).predict_probabilities(features)
    scaled = features * [1000.0, 0.01] + 5
    second = simple.LogisticRegression().fit(scaled, labels).predict_probabilities(scaled)
    torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-4)


def test_a_stronger_penalty_gives_smaller_weights_and_a_constant_feature_none():
    features, labels = blobs()
    features = np.concatenate((features, np.full((len(features), 1), 3.0)), axis=1)
    weak, strong = (simple.LogisticRegression(c).fit(features, labels) for c in (10.0, 0.001))
    assert strong.weight.norm() < 0.2 * weak.weight.norm()
    assert weak.weight[2].abs().max() == 0


def test_logistic_regression_refuses_wrong_input():
    features, labels = blobs()
    for x, y, classes, words in (
        (features[0], labels, None, "expected"),
        (features, labels[:3], None, "expected"),
        (features * np.nan, labels, None, "nan"),
        (features, labels, 2, "expected 0 to 1"),
        (features, labels - 1, None, "labels run"),
    ):
        with pytest.raises(InputError, match=words):
            simple.LogisticRegression().fit(x, y, classes)
    with pytest.raises(InputError, match="fit first"):
        simple.LogisticRegression().predict(features)
    with pytest.raises(InputError, match="positive"):
        simple.LogisticRegression(0.0)


def test_classes_without_samples_keep_a_column():
    features, labels = blobs()
    assert simple.LogisticRegression().fit(features, labels, classes=5).predict_probabilities(features).shape == (
        180,
        5,
    )

"""Rotations and fits, against roma and against what they must leave unchanged."""

from __future__ import annotations

import math

import pytest
import roma
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from palmist import geometry
from palmist.palm_template import PALM_JOINTS, mean_palm, palm_template
from palmist.readers import data_root


def random_rotation(count: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return geometry.axis_angle_to_matrix(torch.randn(count, 3, generator=generator, dtype=torch.float64) * 2)


def test_axis_angle_agrees_with_roma() -> None:
    vectors = torch.randn(500, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * 2
    # roma writes column-vector matrices, Palmist row-vector ones.
    torch.testing.assert_close(geometry.axis_angle_to_matrix(vectors).mT, roma.rotvec_to_rotmat(vectors))


@given(st.floats(0.0, math.pi - 1e-6), st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_axis_angle_round_trip(angle: float, seed: int) -> None:
    axis = torch.randn(3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    vector = axis / axis.norm() * angle
    back = geometry.matrix_to_axis_angle(geometry.axis_angle_to_matrix(vector))
    torch.testing.assert_close(back, vector, rtol=0, atol=1e-8)


def test_rotation_6d_round_trip_and_unset_rows_give_the_identity() -> None:
    rotation = random_rotation(200)
    six = geometry.matrix_to_rotation_6d(rotation)
    torch.testing.assert_close(six[:, :3], rotation[:, 0])  # the first two rows, as G-HTT uses them
    torch.testing.assert_close(geometry.rotation_6d_to_matrix(six), rotation, rtol=0, atol=1e-12)
    torch.testing.assert_close(geometry.rotation_6d_to_matrix(torch.zeros(6)), torch.eye(3))


def test_compose_and_invert() -> None:
    r1, r2 = random_rotation(5, 1), random_rotation(5, 2)
    c1, c2 = torch.randn(2, 5, 3, dtype=torch.float64)
    points = torch.randn(5, 7, 3, dtype=torch.float64)
    both = geometry.compose((r1, c1), (r2, c2))
    expected = geometry.transform(geometry.transform(points, r1, c1), r2, c2)
    torch.testing.assert_close(geometry.transform(points, *both), expected)
    torch.testing.assert_close(geometry.transform(geometry.transform(points, r1, c1), *geometry.invert(r1, c1)), points)


def test_rigid_fit_recovers_the_motion_and_never_reflects() -> None:
    rotation, shift = random_rotation(20), torch.randn(20, 3, dtype=torch.float64)
    points = torch.randn(20, 5, 3, dtype=torch.float64)
    found = geometry.fit_rigid(points, geometry.transform(points, rotation, shift))
    torch.testing.assert_close(found[0], rotation, rtol=0, atol=1e-9)
    torch.testing.assert_close(found[1], shift, rtol=0, atol=1e-9)
    mirrored = points * torch.tensor([-1.0, 1.0, 1.0], dtype=torch.float64)
    assert torch.det(geometry.fit_rigid(points, mirrored)[0]).min() > 0.999


def test_rigid_fit_leaves_out_points_without_weight() -> None:
    rotation, points = random_rotation(1)[0], torch.randn(5, 3, dtype=torch.float64)
    target = points @ rotation
    target[4] += 10.0
    weights = torch.tensor([1.0, 1.0, 1.0, 1.0, 0.0], dtype=torch.float64)
    torch.testing.assert_close(geometry.fit_rigid(points, target, weights)[0], rotation, rtol=0, atol=1e-9)
    assert (geometry.fit_rigid(points, target)[0] - rotation).abs().max() > 0.01


def test_planar_fit_turns_in_the_plane_only() -> None:
    angle = torch.tensor(0.7, dtype=torch.float64)
    turn = geometry.axis_angle_to_matrix(torch.stack([angle * 0, angle * 0, angle]))
    points = torch.randn(5, 3, dtype=torch.float64) * torch.tensor([1.0, 1.0, 0.0])
    found, _ = geometry.fit_rigid_planar(points, points @ turn)
    torch.testing.assert_close(found, turn)
    tilted, _ = geometry.fit_rigid_planar(points, torch.randn(5, 3, dtype=torch.float64))
    assert tilted[2].tolist() == [0.0, 0.0, 1.0]


def test_similarity_fit_recovers_the_scale() -> None:
    points, rotation = torch.randn(9, 3, dtype=torch.float64), random_rotation(1)[0]
    scale, found, shift = geometry.fit_similarity(points, 2.5 * points @ rotation + 1.0)
    assert scale.item() == pytest.approx(2.5)
    torch.testing.assert_close(found, rotation, rtol=0, atol=1e-9)
    torch.testing.assert_close(shift, torch.ones(3, dtype=torch.float64))


def test_the_template_is_what_the_open_recording_gives() -> None:
    import numpy as np

    with np.load(data_root() / "hand_video_pair" / "human_hand_joints.npz", allow_pickle=False) as data:
        palms = torch.from_numpy(data["joints"])[:, PALM_JOINTS]
    left, right = palm_template()
    torch.testing.assert_close(mean_palm(palms), right, rtol=0, atol=2e-6)
    torch.testing.assert_close(left, right * torch.tensor([1.0, -1.0, 1.0], dtype=torch.float64))
    assert right[1:].norm(dim=-1).mean().item() == pytest.approx(1.0, abs=1e-6)

"""Rigid geometry for hands: rotations, transforms and least-squares fits, as pure functions on torch tensors.

All transforms use **row vectors**: a point ``x`` (3,) goes to ``x @ R + c``. Leading dimensions are free and broadcast.

Sources: 6D rotation: Zhou et al., "On the Continuity of Rotation Representations in Neural Networks", CVPR 2019
(first two *rows* of the matrix, as G-HTT uses it). Rigid fit: Kabsch 1976 and Umeyama 1991.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = [
    "axis_angle_to_matrix",
    "compose",
    "fit_rigid",
    "fit_rigid_planar",
    "fit_similarity",
    "invert",
    "matrix_to_axis_angle",
    "matrix_to_rotation_6d",
    "rotation_6d_to_matrix",
    "transform",
]


def transform(points: Tensor, rotation: Tensor, translation: Tensor) -> Tensor:
    """Apply ``x @ R + c``.

    Args:
        points: (..., N, 3).
        rotation: (..., 3, 3).
        translation: (..., 3), in the unit of the points.

    Returns:
        (..., N, 3) points in the new frame.
    """
    return points @ rotation + translation.unsqueeze(-2)


def compose(first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """The transform that applies ``first`` and then ``second``; each is (rotation (..., 3, 3), translation (..., 3))."""
    rotation = first[0] @ second[0]
    translation = (first[1].unsqueeze(-2) @ second[0]).squeeze(-2) + second[1]
    return rotation, translation


def invert(rotation: Tensor, translation: Tensor) -> tuple[Tensor, Tensor]:
    """The inverse of ``x @ R + c``: (R^T, -c R^T)."""
    inverse = rotation.transpose(-1, -2)
    return inverse, -(translation.unsqueeze(-2) @ inverse).squeeze(-2)


def matrix_to_rotation_6d(rotation: Tensor) -> Tensor:
    """(..., 3, 3) rotation matrices to their first two rows, (..., 6)."""
    return rotation[..., :2, :].reshape(*rotation.shape[:-2], 6)


def rotation_6d_to_matrix(rotation_6d: Tensor) -> Tensor:
    """(..., 6) to a proper rotation matrix (..., 3, 3) by Gram-Schmidt on the two rows.

    Rows of zero length give the identity's rows, so that an unset entry decodes to a finite matrix.
    """
    first, second = rotation_6d[..., :3], rotation_6d[..., 3:]
    x = _unit(first, axis=0)
    y = _unit(second - (x * second).sum(-1, keepdim=True) * x, axis=1)
    return torch.stack([x, y, torch.linalg.cross(x, y)], dim=-2)


def _unit(vector: Tensor, axis: int) -> Tensor:
    length = torch.linalg.vector_norm(vector, dim=-1, keepdim=True)
    fallback = torch.zeros_like(vector)
    fallback[..., axis] = 1.0
    tiny = torch.finfo(vector.dtype).tiny ** 0.5
    return torch.where(length > tiny, vector / length.clamp_min(tiny), fallback)


def axis_angle_to_matrix(axis_angle: Tensor) -> Tensor:
    """Axis times angle in radians, (..., 3), to the row-vector rotation (..., 3, 3) that turns points by that angle.

    The row-vector matrix is the transpose of the usual column-vector one (Rodrigues' formula).
    """
    angle = torch.linalg.vector_norm(axis_angle, dim=-1)[..., None, None]
    x, y, z = axis_angle.unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).reshape(*x.shape, 3, 3)
    # sin(a)/a and (1 - cos(a))/a^2, finite at a = 0 (torch.sinc is normalised by pi).
    sin_ratio = torch.sinc(angle / torch.pi)
    cos_ratio = 0.5 * torch.sinc(angle / (2 * torch.pi)) ** 2
    identity = torch.eye(3, dtype=axis_angle.dtype, device=axis_angle.device)
    return (identity + sin_ratio * cross + cos_ratio * cross @ cross).transpose(-1, -2)


def matrix_to_axis_angle(rotation: Tensor) -> Tensor:
    """Row-vector rotation (..., 3, 3) to axis times angle, (..., 3), angle in 0..pi radians.

    Goes through the quaternion with the largest component as pivot, which stays accurate at angles near pi.
    """
    m = rotation.transpose(-1, -2)  # the usual column-vector matrix
    m00, m11, m22 = m[..., 0, 0], m[..., 1, 1], m[..., 2, 2]
    squares = torch.stack(
        [1 + m00 + m11 + m22, 1 + m00 - m11 - m22, 1 - m00 + m11 - m22, 1 - m00 - m11 + m22], dim=-1
    ).clamp_min(0)
    a, b, c = m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1]
    d, e, f = m[..., 1, 0] + m[..., 0, 1], m[..., 0, 2] + m[..., 2, 0], m[..., 2, 1] + m[..., 1, 2]
    w, x, y, z = squares.unbind(-1)
    candidates = torch.stack(
        [
            torch.stack([w, a, b, c], dim=-1),
            torch.stack([a, x, d, e], dim=-1),
            torch.stack([b, d, y, f], dim=-1),
            torch.stack([c, e, f, z], dim=-1),
        ],
        dim=-2,
    )
    pivot = squares.argmax(-1)[..., None, None].expand(*squares.shape[:-1], 1, 4)
    quaternion = candidates.gather(-2, pivot).squeeze(-2)
    quaternion = quaternion / torch.linalg.vector_norm(quaternion, dim=-1, keepdim=True)
    quaternion = torch.where(quaternion[..., :1] < 0, -quaternion, quaternion)
    sine = torch.linalg.vector_norm(quaternion[..., 1:], dim=-1, keepdim=True)
    angle = 2 * torch.atan2(sine, quaternion[..., :1])
    # Near zero the ratio angle / sin(angle / 2) tends to 2.
    ratio = torch.where(sine > 1e-12, angle / sine.clamp_min(1e-12), torch.full_like(sine, 2.0))
    return quaternion[..., 1:] * ratio


def _centre(points: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    total = weights.sum(-1, keepdim=True).clamp_min(1e-12)
    mean = (points * weights.unsqueeze(-1)).sum(-2) / total
    return points - mean.unsqueeze(-2), mean


def fit_rigid(source: Tensor, target: Tensor, weights: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Least-squares rotation and translation (no scale, no reflection) with ``source @ R + c`` close to ``target``.

    Args:
        source: (..., N, 3).
        target: (..., N, 3), broadcasts against ``source``.
        weights: (..., N), zero leaves a point out; all ones if absent.

    Returns:
        rotation (..., 3, 3) and translation (..., 3).
    """
    source, target = torch.broadcast_tensors(source, target)
    if weights is None:
        weights = torch.ones(source.shape[:-1], dtype=source.dtype, device=source.device)
    weights = weights.expand(source.shape[:-1])
    a, mean_a = _centre(source, weights)
    b, mean_b = _centre(target, weights)
    covariance = (a * weights.unsqueeze(-1)).transpose(-1, -2) @ b  # H = A^T B = U S V^T
    u, _, vt = torch.linalg.svd(covariance)
    sign = torch.det(u @ vt).sign()
    flip = torch.ones(*covariance.shape[:-1], dtype=source.dtype, device=source.device)
    flip = torch.cat([flip[..., :2], sign.unsqueeze(-1)], dim=-1)
    rotation = (u * flip.unsqueeze(-2)) @ vt
    translation = mean_b - (mean_a.unsqueeze(-2) @ rotation).squeeze(-2)
    return rotation, translation


def fit_rigid_planar(source: Tensor, target: Tensor, weights: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """As :func:`fit_rigid`, but the rotation stays in the x-y plane: for recordings whose depth is not known."""
    source, target = torch.broadcast_tensors(source, target)
    if weights is None:
        weights = torch.ones(source.shape[:-1], dtype=source.dtype, device=source.device)
    weights = weights.expand(source.shape[:-1])
    a, mean_a = _centre(source, weights)
    b, mean_b = _centre(target, weights)
    w = weights
    cosine = (w * (a[..., 0] * b[..., 0] + a[..., 1] * b[..., 1])).sum(-1)
    sine = (w * (a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0])).sum(-1)
    length = torch.hypot(cosine, sine)
    safe = length > 0
    cosine = torch.where(safe, cosine / length.clamp_min(1e-30), torch.ones_like(cosine))
    sine = torch.where(safe, sine / length.clamp_min(1e-30), torch.zeros_like(sine))
    zero, one = torch.zeros_like(cosine), torch.ones_like(cosine)
    rows = [cosine, sine, zero, -sine, cosine, zero, zero, zero, one]
    rotation = torch.stack(rows, dim=-1).reshape(*cosine.shape, 3, 3)
    translation = mean_b - (mean_a.unsqueeze(-2) @ rotation).squeeze(-2)
    return rotation, translation


def fit_similarity(source: Tensor, target: Tensor, weights: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Least-squares similarity (Umeyama 1991, no reflection): ``scale * source @ R + c`` close to ``target``.

    Returns:
        scale (...,), rotation (..., 3, 3), translation (..., 3). A source without extent gives scale 0.
    """
    source, target = torch.broadcast_tensors(source, target)
    if weights is None:
        weights = torch.ones(source.shape[:-1], dtype=source.dtype, device=source.device)
    rotation, _ = fit_rigid(source, target, weights)
    a, mean_a = _centre(source, weights)
    b, mean_b = _centre(target, weights)
    w = weights.unsqueeze(-1)
    turned = a @ rotation
    spread = (w * a * a).sum((-1, -2))
    scale = torch.where(spread > 0, (w * turned * b).sum((-1, -2)) / spread.clamp_min(1e-30), torch.zeros_like(spread))
    translation = mean_b - scale.unsqueeze(-1) * (mean_a.unsqueeze(-2) @ rotation).squeeze(-2)
    return scale, rotation, translation

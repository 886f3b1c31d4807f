"""From image and world landmarks to metres in the camera's frame, with a stated pinhole camera."""

from __future__ import annotations

import cv2
import numpy as np

from palmist.perception.detection import HandDetection

FOCAL_NOTE = "focal length assumed as the longer side of the image (a field of view of 53 degrees)"
_WORST_FIT = 0.25  # of the hand's extent in the image: beyond it the placement means nothing


def assumed_focal(size: tuple[int, int]) -> float:
    """A guess of the focal length in pixels for an image of (width, height): its longer side."""
    return float(max(size))


def camera_joints(hand: HandDetection, size: tuple[int, int], focal: float) -> tuple[np.ndarray, float] | None:
    """A hand in metres in the camera's frame (x right, y down, z forward).

    Args:
        hand: with `world`, and `image` or `translation`. size: (width, height) in pixels. focal: in pixels.

    Returns:
        joints (21, 3) and the mean reprojection error in pixels (0 where the tracker gave the place itself), or None
        where the hand cannot be placed in front of the camera so that it fits the image.
    """
    if hand.world is None:
        return None
    world = np.asarray(hand.world, np.float64)
    if hand.translation is not None:
        return (world + hand.translation).astype(np.float32), 0.0
    pixels = np.asarray(hand.image[:, :2], np.float64) * size
    intrinsics = np.array([[focal, 0, size[0] / 2], [0, focal, size[1] / 2], [0, 0, 1]])
    found, turn, shift = _solve(world, pixels, intrinsics)
    if not found:
        return None
    joints = world @ cv2.Rodrigues(turn)[0].T + shift.ravel()
    if not np.isfinite(joints).all() or joints[:, 2].min() <= 0:
        return None
    projected = joints[:, :2] / joints[:, 2:] * focal + (size[0] / 2, size[1] / 2)
    error = float(np.linalg.norm(projected - pixels, axis=1).mean())
    return None if error > _WORST_FIT * np.ptp(pixels, axis=0).max() else (joints.astype(np.float32), error)


def _solve(world: np.ndarray, pixels: np.ndarray, intrinsics: np.ndarray) -> tuple[bool, np.ndarray, np.ndarray]:
    # World landmarks already stand as the camera sees them, so no rotation is the place to start from; a start from
    # nothing lands now and then in the mirrored solution of a flat hand.
    focal, middle = intrinsics[0, 0], intrinsics[:2, 2]
    spread = max(float(np.linalg.norm(pixels - pixels.mean(0), axis=1).mean()), 1e-6)
    depth = focal * float(np.linalg.norm(world[:, :2] - world[:, :2].mean(0), axis=1).mean()) / spread
    depth = max(depth, 0.05)
    start = np.append((pixels.mean(0) - middle) / focal * depth, depth) - world.mean(0)
    try:
        return cv2.solvePnP(world, pixels, intrinsics, None, np.zeros((3, 1)), start[:, None], True, cv2.SOLVEPNP_ITERATIVE)
    except cv2.error:
        return False, np.zeros(3), np.zeros(3)

"""How the camera moved from one picture to the next: the similarity that most of the background follows."""

from __future__ import annotations

import cv2
import numpy as np

__all__ = ["background_motion"]

_POINTS = 300
_ENOUGH = 12  # points that must agree
_REACH = 1.5  # pixels that a point may be off


def background_motion(before: np.ndarray, after: np.ndarray, background: np.ndarray | None = None) -> np.ndarray:
    """(2, 3) float64: where a point of the background, in pixels of `before`, is in `after`.

    before, after: (H, W) uint8 grey, one size. background: (H, W) bool, where to look; None: everywhere.
    Corners are followed by pyramidal Lucas-Kanade; most of them decide (RANSAC, the same for the same pictures). Where too
    few agree, as on a plain wall, the camera counts as still.
    """
    mask = None if background is None else background.astype(np.uint8)
    corners = cv2.goodFeaturesToTrack(before, _POINTS, 0.01, max(4, before.shape[1] // 60), mask=mask, blockSize=5)
    still = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    if corners is None or len(corners) < _ENOUGH:
        return still
    moved, there, _ = cv2.calcOpticalFlowPyrLK(before, after, corners, np.empty_like(corners), winSize=(15, 15), maxLevel=3)
    kept = there[:, 0] == 1
    if kept.sum() < _ENOUGH:
        return still
    fit, agree = cv2.estimateAffinePartial2D(corners[kept], moved[kept], method=cv2.RANSAC, ransacReprojThreshold=_REACH)
    return still if fit is None or agree.sum() < _ENOUGH else np.asarray(fit, np.float64)

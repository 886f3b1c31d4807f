"""Where a hand and its forearm lie in a picture, from its 21 joints, and how it moved as a rigid thing."""

from __future__ import annotations

import cv2
import numpy as np

from palmist.skeleton import BONES, PALM

__all__ = ["forearm_mask", "hand_box", "hand_mask", "palm_length", "palm_motion", "tip_mask"]

_TIPS = tuple(joint for finger in range(5) for joint in range(3 + 4 * finger, 5 + 4 * finger))
#: In palm lengths (wrist to middle knuckle): half a finger's thickness, and half the forearm's at the wrist and behind it.
_FINGER, _WRIST, _ELBOW, _FOREARM_LENGTH = 0.12, 0.4, 0.6, 4.0


def palm_length(points: np.ndarray) -> float:
    """The longest of what a palm seen from any side leaves of its length, of (21, 2) pixels; at least 1."""
    spans = (points[9] - points[0], points[5] - points[0], points[17] - points[0], 1.3 * (points[5] - points[17]))
    return max(1.0, *(float(np.hypot(*span)) for span in spans))


def hand_box(points: np.ndarray, width: int, height: int) -> np.ndarray:
    """(4,) x0, y0, x1, y1 pixels around the joints (21, 2) and their flesh, inside the picture."""
    margin = _FINGER * palm_length(points)
    low, high = points.min(0) - margin, points.max(0) + margin
    size = np.array([width, height], np.float64)
    low, high = np.clip(low, 0, size), np.clip(high, 0, size)
    return np.concatenate([low, high])


def hand_mask(points: np.ndarray, shape: tuple[int, int], margin: float = 0.0) -> np.ndarray:
    """(H, W) bool: the flesh around the joints (21, 2) pixels; margin in palm lengths on every side."""
    canvas = np.zeros(shape, np.uint8)
    thickness = max(1, round(2 * (_FINGER + margin) * palm_length(points)))
    places = np.round(points).astype(np.int32)
    for start, end in BONES:
        cv2.line(canvas, places[start].tolist(), places[end].tolist(), 1, thickness)
    palm = cv2.convexHull(places[[0, 1, 2, 5, 9, 13, 17]])
    cv2.fillConvexPoly(canvas, palm, 1)
    return canvas.astype(bool)


def forearm_mask(points: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """(H, W) bool: where the forearm may be: behind the wrist, straight on, a little wider than an arm."""
    canvas = np.zeros(shape, np.uint8)
    length = palm_length(points)
    back = points[0] - points[9]
    back = back / max(float(np.hypot(*back)), 1e-6)
    across = np.array([-back[1], back[0]])
    far = points[0] + _FOREARM_LENGTH * length * back
    near = points[0] - 0.2 * length * back
    corners = [near + _WRIST * length * across, near - _WRIST * length * across]
    corners += [far - _ELBOW * length * across, far + _ELBOW * length * across]
    cv2.fillConvexPoly(canvas, np.round(np.stack(corners)).astype(np.int32), 1)
    cv2.circle(canvas, np.round(points[0]).astype(int).tolist(), round(0.5 * length), 1, -1)
    return canvas.astype(bool)


def tip_mask(points: np.ndarray, shape: tuple[int, int], reach: float) -> np.ndarray:
    """(H, W) bool: within `reach` palm lengths of a finger's outer joints or of a knuckle, where a held thing must come."""
    canvas = np.zeros(shape, np.uint8)
    radius = round(reach * palm_length(points))
    for joint in (*_TIPS, *PALM[1:]):
        cv2.circle(canvas, np.round(points[joint]).astype(int).tolist(), radius, 1, -1)
    return canvas.astype(bool)


def palm_motion(before: np.ndarray, after: np.ndarray, resize: bool = True) -> np.ndarray:
    """(2, 3) float64: the similarity that moves the palm's joints of `before` (21, 2) to those of `after` best (least squares,
    no mirror), and with them whatever the hand holds fast. resize=False: turning and shifting only."""
    joints = list(PALM)
    one, two = before[joints].astype(np.float64), after[joints].astype(np.float64)
    first, second = one.mean(0), two.mean(0)
    one, two = one - first, two - second
    size = max(float((one**2).sum()), 1e-9)
    cosine = float((one * two).sum()) / size
    sine = float((one[:, 0] * two[:, 1] - one[:, 1] * two[:, 0]).sum()) / size
    if not resize:
        length = max(float(np.hypot(cosine, sine)), 1e-9)
        cosine, sine = cosine / length, sine / length
    turn = np.array([[cosine, -sine], [sine, cosine]])
    return np.concatenate([turn, (second - turn @ first)[:, None]], 1)

"""What a video network sees of motion, drawn onto the frames: arrows of a displacement field, tails of point tracks.

Colours tell the direction: red to the right, yellow-green down, cyan to the left, violet up.

Letters: H, W pixels, T frames, P points.
"""

from __future__ import annotations

import numpy as np

__all__ = ["draw_arrows", "draw_tails", "side_by_side"]

_SHIFT = 4  # OpenCV draws at sixteenths of a pixel
_STILL = 0.25  # pixels; what moves less is drawn grey


def draw_arrows(frame: np.ndarray, places: np.ndarray, moves: np.ndarray, magnify: float = 1.0) -> None:
    """Draw an arrow from each place, in place.

    Args:
        frame: (H, W, 3) uint8 RGB, contiguous. places: (N, 2) pixels. moves: (N, 2) pixels to the next frame, drawn `magnify`
            times as long.
    """
    import cv2

    for place, move, colour in zip(places, moves, _colours(moves), strict=True):
        ends = [tuple(round(float(value) * (1 << _SHIFT)) for value in end) for end in (place, place + magnify * move)]
        cv2.line(frame, ends[0], ends[1], (20, 20, 20), 5, cv2.LINE_AA, _SHIFT)
        cv2.line(frame, ends[0], ends[1], colour, 3, cv2.LINE_AA, _SHIFT)
        cv2.circle(frame, ends[1], 4 << _SHIFT, colour, -1, cv2.LINE_AA, _SHIFT)


def draw_tails(frame: np.ndarray, tracks: np.ndarray, visible: np.ndarray, length: int = 12) -> None:
    """Draw each point where it is in the last frame of `tracks`, with its way of the last `length` frames, in place.

    Args:
        frame: (H, W, 3) uint8 RGB, contiguous: the picture of the last of the T frames. tracks: (T, P, 2) pixels.
        visible: (T, P); a point that is lost now is not drawn.
    """
    import cv2

    tails = np.asarray(tracks)[-length:]
    shown = np.flatnonzero(visible[-1])
    for point, colour in zip(shown, _colours(tails[-1, shown] - tails[0, shown]), strict=True):
        way = np.round(tails[:, point] * (1 << _SHIFT)).astype(np.int32)
        cv2.polylines(frame, [way[:, None]], False, colour, 2, cv2.LINE_AA, _SHIFT)
        cv2.circle(frame, tuple(map(int, way[-1])), 2 << _SHIFT, colour, -1, cv2.LINE_AA, _SHIFT)


def side_by_side(pictures: list[np.ndarray], columns: int) -> np.ndarray:
    """Pictures of one size in rows of `columns`, black where there is none."""
    height, width = pictures[0].shape[:2]
    rows = -(-len(pictures) // columns)
    sheet = np.zeros((rows * height, columns * width, 3), np.uint8)
    for number, picture in enumerate(pictures):
        row, column = divmod(number, columns)
        sheet[row * height : (row + 1) * height, column * width : (column + 1) * width] = picture
    return sheet


def _colours(moves: np.ndarray) -> list[tuple[int, int, int]]:
    """RGB of each of (N, 2) moves: hue by direction."""
    import cv2

    moves = np.asarray(moves, np.float64).reshape(-1, 2)
    if not len(moves):
        return []
    hue = (np.degrees(np.arctan2(moves[:, 1], moves[:, 0])) % 360 / 2).astype(np.uint8)
    far = np.linalg.norm(moves, axis=1) >= _STILL
    hsv = np.stack([hue, np.where(far, 220, 0), np.where(far, 255, 190)], -1).astype(np.uint8)
    rgb = cv2.cvtColor(hsv[None], cv2.COLOR_HSV2RGB)[0]
    return [(int(r), int(g), int(b)) for r, g, b in rgb]

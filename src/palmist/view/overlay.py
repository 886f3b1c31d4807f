"""Readings drawn onto the frames that they were read from: skeletons, the action, futures as fans.

Colours (RGB): the raw tracker grey, the refined left hand blue, the right one orange, futures thin, the most likely one gold.
Joints are fractions of the image (space "image"); what is not known is not drawn.

Letters: H, W pixels, K futures, T' future frames, L labels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from palmist.skeleton import BONES, FINGERTIPS

__all__ = ["draw_action", "draw_fan", "draw_hands", "draw_text"]

Colour = tuple[int, int, int]
RAW: Colour = (170, 170, 170)
SIDES: tuple[Colour, Colour] = ((70, 150, 255), (255, 140, 40))
GOLD: Colour = (255, 205, 60)
_SHIFT = 4  # OpenCV draws at sixteenths of a pixel
_FAN_JOINTS = (0, *FINGERTIPS[1:3])  # the wrist and two fingertips say where a future goes; more would hide the hand


def draw_hands(
    frame: np.ndarray, joints: np.ndarray, known: np.ndarray, colours: Sequence[Colour] = SIDES, thickness: int = 2
) -> None:
    """Draw two skeletons onto a frame, in place.

    Args:
        frame: (H, W, 3) uint8 RGB, contiguous. joints: (2, 21, 2 or 3), x and y as fractions of the image.
        known: (2, 21) bool. colours: of the left and the right hand. thickness: of a bone, pixels.
    """
    import cv2

    pixels = _pixels(frame, joints)
    for hand, colour in enumerate(colours):
        for a, b in BONES:
            if known[hand, a] and known[hand, b]:
                ends = (tuple(map(int, pixels[hand, a])), tuple(map(int, pixels[hand, b])))
                cv2.line(frame, *ends, colour, thickness, cv2.LINE_AA, _SHIFT)
        for joint in np.nonzero(known[hand])[0]:
            centre = tuple(map(int, pixels[hand, joint]))
            cv2.circle(frame, centre, (thickness + 1) << _SHIFT, colour, -1, cv2.LINE_AA, _SHIFT)


def draw_fan(
    frame: np.ndarray,
    futures: np.ndarray,
    valid: np.ndarray,
    most_likely: int,
    colours: Sequence[Colour] = SIDES,
    thickness: int = 1,
) -> None:
    """Draw the paths of K futures as a fan that fades with time, in place; the most likely one last, in gold.

    Args:
        frame: (H, W, 3) uint8 RGB. futures: (K, T', 2, 21, 2 or 3), fractions of the image. valid: (2,) bool, hands to draw.
            colours: of the left and the right hand. thickness: of a path, pixels; the most likely one has a pixel more.
    """
    import cv2

    if not len(futures):
        return
    pixels = _pixels(frame, futures[:, :, :, list(_FAN_JOINTS)])  # (K, T', 2, 3, 2)
    paths = np.ascontiguousarray(pixels.transpose(0, 2, 3, 1, 4))  # (K, 2, 3, T', 2)
    faint = frame.copy()
    order = [k for k in range(len(futures)) if k != most_likely]
    for hand in np.nonzero(valid)[0]:
        for k in order:
            for joint in range(len(_FAN_JOINTS)):
                cv2.polylines(faint, [paths[k, hand, joint]], False, colours[int(hand)], thickness, cv2.LINE_AA, _SHIFT)
    cv2.addWeighted(faint, 0.55, frame, 0.45, 0, dst=frame)
    for hand in np.nonzero(valid)[0]:
        for joint in range(len(_FAN_JOINTS)):
            cv2.polylines(frame, [paths[most_likely, hand, joint]], False, GOLD, thickness + 1, cv2.LINE_AA, _SHIFT)


def draw_action(frame: np.ndarray, labels: Sequence[str], probabilities: np.ndarray, count: int = 3) -> None:
    """Draw the most probable actions as bars in the upper left corner, in place.

    Args:
        frame: (H, W, 3) uint8 RGB. labels: L names. probabilities: (L,).
    """
    import cv2

    if not len(labels):
        return
    best = np.argsort(probabilities)[::-1][:count]
    row, width = max(18, frame.shape[0] // 20), frame.shape[1] // 3
    for line, index in enumerate(best):
        top = 8 + line * (row + 4)
        box = frame[top : top + row, 8 : 8 + width]
        box //= 3  # darkens what is behind the text
        filled = int(width * float(probabilities[index]))
        cv2.rectangle(frame, (8, top), (8 + filled, top + row - 1), (60, 110, 60) if line == 0 else (70, 70, 70), -1)
        draw_text(frame, f"{labels[index]} {probabilities[index]:.0%}", (14, top + row - 5), row / 34)


def draw_text(frame: np.ndarray, text: str, place: tuple[int, int], scale: float = 0.6) -> None:
    """White text with a dark rim, in place; place: lower left corner in pixels. Letters outside ASCII become '?'."""
    import cv2

    plain = text.encode("ascii", "replace").decode()
    for colour, thickness in (((20, 20, 20), 3), ((255, 255, 255), 1)):
        cv2.putText(frame, plain, place, cv2.FONT_HERSHEY_SIMPLEX, scale, colour, thickness, cv2.LINE_AA)


def _pixels(frame: np.ndarray, joints: np.ndarray) -> np.ndarray:
    """Fractions of the image to sixteenths of a pixel, int32; far outside is kept near, so that nothing overflows."""
    size = np.array([frame.shape[1], frame.shape[0]])
    place = np.nan_to_num(np.clip(np.asarray(joints)[..., :2], -4, 5)) * size
    return np.asarray(np.round(place * (1 << _SHIFT)), np.int32)

"""A narrated clip in one picture: the frame in its middle, boxes, sides, contact, the way of each hand, the sentence beneath.

Colours as in overlay.py: left hand blue, right hand orange; things gold. A way begins at a ring and ends at an arrow; with a
moving camera it is drawn as seen from the middle frame. Boxes of frames in which nothing was found are dashed.

Letters: H, W pixels, T frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from palmist.view.overlay import GOLD, SIDES, Colour

if TYPE_CHECKING:
    from palmist.narration.camera_motion import CameraMotion
    from palmist.narration.pipeline import Narration
    from palmist.narration.tracks import HandRecord, HandTrack, ObjectRecord, ObjectTrack

__all__ = ["draw_narration"]

_SHIFT = 4  # OpenCV draws at sixteenths of a pixel
_SMALLEST = 480  # pixels of the shorter side, so that letters can be read
_CONTACTS = {
    "self": "touching oneself", "other person": "touching somebody", "portable object": "holding",
    "stationary object": "touching",
}  # fmt: skip
_DARK, _LIGHT = (24, 24, 24), (240, 240, 240)


def draw_narration(frame: np.ndarray, narration: Narration) -> np.ndarray:
    """Draw a narration.

    Args:
        frame: (H, W, 3) uint8 RGB, of the clip's middle, of any size with the video's proportions.
        narration: of this clip.

    Returns:
        (H', W', 3) uint8 RGB: the frame, enlarged if it is small, with a strip beneath that holds the sentence.
    """
    import cv2

    tracks = narration.tracks
    scale = max(1.0, _SMALLEST / min(frame.shape[:2]))
    picture = cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC) if scale > 1 else frame.copy()
    picture = np.ascontiguousarray(picture)
    zoom = np.array([picture.shape[1] / tracks.width, picture.shape[0] / tracks.height])
    middle = int(np.abs(tracks.time - (narration.start + narration.end) / 2).argmin())
    stroke = max(2, round(min(picture.shape[:2]) / 240))
    drawn: list[tuple[HandTrack | ObjectTrack, Colour, str]] = [
        (track, GOLD, track.name or "object") for track in tracks.objects if _is_held(narration, track)
    ]
    drawn += [(track, SIDES[track.side == "right"], f"{track.side} hand") for track in tracks.hands]
    for track, colour, _ in drawn:
        way = _seen_from(_centres(narration, track), narration.camera, middle) * zoom
        _draw_way(picture, way, colour, stroke)
    labels: list[tuple[np.ndarray, Colour, str]] = []
    for track, colour, name in drawn:
        records: Sequence[HandRecord | ObjectRecord] = track.records
        record = min(records, key=lambda record: abs(record.frame - middle))
        if abs(record.frame - middle) > max(2, len(tracks.time) // 8):
            continue  # it was not there then
        corners = record.box.reshape(2, 2) * zoom
        _draw_box(picture, corners, colour, stroke, record.filled)
        contact = _CONTACTS.get(getattr(record, "contact", ""))
        labels.append((corners, colour, name if contact is None else f"{name}, {contact}"))
    _draw_labels(picture, labels)
    return np.concatenate([picture, _strip(narration, picture.shape[1])])


def _centres(narration: Narration, track: HandTrack | ObjectTrack) -> np.ndarray:
    """(T, 2) pixels: the centre of the track's box in each frame, NaN where it is not known."""
    boxes = narration.tracks.boxes(track)
    return (boxes[:, :2] + boxes[:, 2:]) / 2


def _seen_from(centres: np.ndarray, camera: CameraMotion | None, frame: int) -> np.ndarray:
    """(T, 2) pixels of their own frames as pixels of one frame, so that a way lies where the scene is; as they are without a
    known camera."""
    if camera is None:
        return centres
    linear, shift = camera.matrices[frame][:, :2], camera.matrices[frame][:, 2]
    return np.asarray((camera.apply(centres) - shift) @ np.linalg.inv(linear).T)


def _is_held(narration: Narration, track: ObjectTrack) -> bool:
    """A hand touches it in some frame."""
    return any(record.object == track.number for hand in narration.tracks.hands for record in hand.records)


def _draw_way(picture: np.ndarray, way: np.ndarray, colour: Colour, stroke: int) -> None:
    """A path with a ring at its start and an arrow at its end; thin where frames are missing."""
    import cv2

    known = np.flatnonzero(np.isfinite(way).all(1))
    if not len(known):
        return
    points = _fixed(way[known])
    for rim, width in ((_DARK, stroke + 2), (colour, stroke)):
        for before, after in pairwise(range(len(known))):
            whole = known[after] - known[before] == 1
            cv2.line(picture, points[before], points[after], rim, width if whole else 1, cv2.LINE_AA, _SHIFT)
    cv2.circle(picture, points[0], (3 * stroke) << _SHIFT, _LIGHT, -1, cv2.LINE_AA, _SHIFT)
    cv2.circle(picture, points[0], (3 * stroke) << _SHIFT, colour, stroke, cv2.LINE_AA, _SHIFT)
    end = way[known[-1]]
    far = [number for number in known if np.linalg.norm(way[number] - end) > 6 * stroke]
    if far:
        ahead = end - way[far[-1]]
        ahead /= np.linalg.norm(ahead)
        across = np.array([-ahead[1], ahead[0]])
        back = end - 3 * stroke * ahead
        tip = np.array([end + 4 * stroke * ahead, back + 4 * stroke * across, back - 4 * stroke * across])
        corners = np.array(_fixed(tip), np.int32)
        cv2.fillPoly(picture, [corners], colour, cv2.LINE_AA, _SHIFT)
        cv2.polylines(picture, [corners], True, _DARK, 1, cv2.LINE_AA, _SHIFT)


def _draw_box(picture: np.ndarray, corners: np.ndarray, colour: Colour, stroke: int, dashed: bool) -> None:
    """A box, corners (2, 2)."""
    import cv2

    (left, top), (right, bottom) = np.clip(corners, 0, np.array(picture.shape[1::-1]) - 1)
    outline = np.array([(left, top), (right, top), (right, bottom), (left, bottom), (left, top)])
    for start, end in pairwise(outline):
        steps = max(2, 2 * round(float(np.linalg.norm(end - start)) / (10 * stroke)) + 1) if dashed else 2
        marks = np.linspace(start, end, steps)
        for number in range(0, steps - 1, 2):
            a, b = _fixed(marks[number : number + 2])
            cv2.line(picture, a, b, colour, stroke, cv2.LINE_AA, _SHIFT)


def _draw_labels(picture: np.ndarray, labels: Sequence[tuple[np.ndarray, Colour, str]]) -> None:
    """The name of each box (2, 2) above it, or as near below as there is room that no other name has."""
    import cv2

    scale = max(0.5, picture.shape[0] / 1000)
    taken: list[tuple[int, int, int, int]] = []
    for corners, colour, label in labels:
        (width, height), below = cv2.getTextSize(label, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
        step = height + below + 4
        left, top = int(corners[0, 0]), int(corners[0, 1])
        x = min(max(left, 2), max(2, picture.shape[1] - width - 6))
        y = max(top - step, 0)
        while any(x < right and a < x + width + 5 and y < bottom and b < y + step for a, b, right, bottom in taken):
            y += step
        taken.append((x, y, x + width + 5, y + step))
        cv2.rectangle(picture, (x - 2, y), (x + width + 3, y + step - 1), colour, -1)
        _write(picture, label, (x, y + height + 2), scale, _DARK)


def _strip(narration: Narration, width: int) -> np.ndarray:
    """The sentence on a dark strip as wide as the picture, with the clip's name and times above it."""
    import cv2

    scale = max(0.55, width / 1400)
    height = round(38 * scale)
    room = width - 2 * height
    head = f"{narration.source}  {narration.start:.1f} to {narration.end:.1f} s".strip()
    lines: list[str] = []
    for word in narration.text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        fits = cv2.getTextSize(longer, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)[0][0] <= room
        if lines and fits:
            lines[-1] = longer
        else:
            lines.append(word)
    strip = np.full(((len(lines) + 2) * height, width, 3), _DARK, np.uint8)
    _write(strip, head, (height, height), 0.75 * scale, (160, 160, 160))
    for number, line in enumerate(lines):
        _write(strip, line, (height, (number + 2) * height), scale, _LIGHT)
    return strip


def _write(picture: np.ndarray, text: str, place: tuple[int, int], scale: float, colour: Colour) -> None:
    """Plain text, place: lower left corner in pixels. Letters outside ASCII become '?'."""
    import cv2

    plain = text.encode("ascii", "replace").decode()
    cv2.putText(picture, plain, place, cv2.FONT_HERSHEY_SIMPLEX, scale, colour, 1, cv2.LINE_AA)


def _fixed(points: np.ndarray) -> list[tuple[int, int]]:
    """(N, 2) pixels as OpenCV's sixteenths; what is far outside is kept near."""
    fixed = np.round(np.clip(points, -4000, 12000) * (1 << _SHIFT))
    return [(int(x), int(y)) for x, y in fixed]

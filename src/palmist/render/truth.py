"""What is known about a drawn clip, and its file: arrays in an .npz without pickle.

Pixels: x right, y down, the centre of the first pixel is (0, 0), after the camera's motion. Letters: T frames, H = 2 hands
(0 left, 1 right), J = 21 joints, N tracks, S the picture's side.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from palmist.errors import InputError
from palmist.files.npz import load_arrays, save_arrays
from palmist.recording import Recording, check_time
from palmist.recording_file import metadata, plain
from palmist.render.parts import Scene, codes_at_joint, hand_of_code
from palmist.render.scene import Backdrop
from palmist.render.settings import RenderSettings
from palmist.render.stage import Stage, apply_affine, compose_affine
from palmist.render.tracks import follow

__all__ = ["Truth", "know", "read_truth", "write_truth"]

FORMAT = "palmist-render-truth"
VERSION = 1


@dataclass(frozen=True)
class Truth:
    """Everything that is known about a clip.

    Attributes:
        time: (T,) seconds on the recording's clock.
        joints: (T, 2, 21, 2) float32 pixels; 0 where not known.
        known: (T, 2, 21) bool, the recording knows the joint; visible: known and inside the picture; uncovered: visible, and
            the pixel there shows a part that this joint belongs to (nothing nearer covers it).
        joints_25d: (T, 2, 21, 3) float32 pixels: the joints with a depth relative to joint 0 of the hand in the same scale,
            smaller = nearer. metadata["depth_known"] is False for planar recordings, whose depth is 0.
        depth: (T, 2, 21) float32, the value that hands were painted by (smaller = nearer), comparable between the hands where
            hand_order_known (T,) is True; elsewhere the nearer hand was drawn by lot.
        boxes: (T, 2, 4) float32 x0, y0, x1, y1 of the drawn pixels of each hand, edges of pixels; 0 where none is seen.
        camera: (T, 2, 3) float64, picture = camera[:, :, :2] @ stage + camera[:, :, 2].
        background_motion: (T, 2, 3) float64, where a background point given by its stage pixels in frame 0 is on the stage.
        tracks: (T, N, 2) float32 pixels of points that frame 0 shows; tracks_known (T, N): the part is drawn in this frame;
            tracks_visible (T, N): known, inside the picture and not covered; track_parts (N,) uint8: the part code they lie
            on, 0 background (`palmist.render.hand_of_code` tells the hand).
        metadata: label, segments, subject, session, split facts, source, licence, rate, size, seed, settings, projection, and
            held, the name of a held thing, where there is one.
    """

    time: np.ndarray
    joints: np.ndarray
    known: np.ndarray
    visible: np.ndarray
    uncovered: np.ndarray
    joints_25d: np.ndarray
    depth: np.ndarray
    hand_order_known: np.ndarray
    boxes: np.ndarray
    camera: np.ndarray
    background_motion: np.ndarray
    tracks: np.ndarray
    tracks_known: np.ndarray
    tracks_visible: np.ndarray
    track_parts: np.ndarray
    metadata: dict[str, Any]

    @property
    def label(self) -> str | None:
        """The label of the segment that covers most of the clip; None for an unlabelled recording."""
        return self.metadata["label"]

    @property
    def subject(self) -> str | None:
        return self.metadata["subject"]


def know(
    recording: Recording,
    stage: Stage,
    scene: Scene,
    camera: np.ndarray,
    behind: Backdrop,
    parts: np.ndarray,
    settings: RenderSettings,
    seed: int,
) -> Truth:
    """The truth of a clip that was painted from these."""
    size = settings.size
    zoom = np.sqrt(np.abs(np.linalg.det(camera[:, :, :2])))[:, None, None]
    known = stage.known
    joints = np.where(known[..., None], apply_affine(camera, stage.joints[..., :2]), 0)
    visible = known & in_picture(joints, size)
    relative = np.where(known, stage.joints[..., 2] * zoom, 0)
    background = compose_affine(camera, behind.motion)
    tracks, tracks_known, track_parts = follow(scene, background, parts, settings, seed, recording.name)
    shown = tracks_known & in_picture(tracks, size)
    return Truth(
        time=np.array(stage.time),
        joints=joints.astype(np.float32),
        known=known.copy(),
        visible=visible,
        uncovered=_uncovered(joints, visible, parts),
        joints_25d=np.concatenate([joints, relative[..., None]], -1).astype(np.float32),
        depth=stage.depth.astype(np.float32),
        hand_order_known=stage.hand_order_known,
        boxes=_boxes(parts),
        camera=camera,
        background_motion=behind.motion,
        tracks=np.where(tracks_known[..., None], tracks, 0).astype(np.float32),
        tracks_known=tracks_known,
        tracks_visible=shown & (pixel_values(parts, tracks, shown) == track_parts),
        track_parts=track_parts,
        metadata=_facts(recording, stage, behind, settings, seed),
    )


def in_picture(points: np.ndarray, size: int) -> np.ndarray:
    """Whether pixels (..., 2) lie inside the picture."""
    return np.all((points >= -0.5) & (points < size - 0.5), axis=-1)


def pixel_values(parts: np.ndarray, points: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Entries of the part map (T, S, S) nearest to points (T, ..., 2); 0 where not `inside`."""
    whole = np.where(inside[..., None], np.floor(points + 0.5), 0).astype(np.int64)
    frame = np.arange(len(parts)).reshape(-1, *(1,) * (points.ndim - 2))
    return np.where(inside, parts[frame, whole[..., 1], whole[..., 0]], 0)


def _uncovered(joints: np.ndarray, visible: np.ndarray, parts: np.ndarray) -> np.ndarray:
    seen = pixel_values(parts, joints, visible)
    own = np.zeros((2, 21, 256), bool)
    for hand in range(2):
        for joint in range(21):
            own[hand, joint, list(codes_at_joint(hand, joint))] = True
    return visible & own[np.arange(2)[:, None], np.arange(21), seen]


def _boxes(parts: np.ndarray) -> np.ndarray:
    boxes = np.zeros((len(parts), 2, 4), np.float32)
    lookup = hand_of_code(np.arange(256))
    for frame, codes in enumerate(parts):
        hands = lookup[codes]
        for hand in range(2):
            mask = hands == hand
            rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            if len(rows):
                boxes[frame, hand] = columns[0] - 0.5, rows[0] - 0.5, columns[-1] + 0.5, rows[-1] + 0.5
    return boxes


def _facts(recording: Recording, stage: Stage, behind: Backdrop, settings: RenderSettings, seed: int) -> dict[str, Any]:
    from palmist.readers import READERS
    from palmist.splits import SPLITS

    data = recording.name.split("/")[0]
    entry = READERS.get(data)
    splits = {}
    for name, split in SPLITS.get(data, {}).items():
        sides = [side for side in ("train", "test") if recording.subject in (getattr(split, side) or ())]
        if sides:
            splits[name] = sides[0]
    about = metadata(recording)
    licence = entry.licence if entry else recording.provenance.get("licence")
    return {
        "name": recording.name,
        "label": main_label(recording),
        "segments": about.get("segments", []),
        "subject": recording.subject,
        "session": recording.session,
        "split": recording.split,
        "splits": splits,
        "source": recording.source,
        "licence": licence if isinstance(licence, str) else "not stated; that of the source",
        "credit": entry.credit if entry else None,
        "provenance": about.get("provenance", {}),
        "rate": float(stage.rate),
        "depth_known": stage.depth_known,
        "background": behind.kind,
        "projection": plain(stage.projection, "projection"),
        "seed": seed,
        "settings": settings.to_json(),
        **({} if settings.held is None else {"held": settings.held}),
    }


def main_label(recording: Recording) -> str | None:
    """The label that covers most of the recording's time."""
    covered: dict[str, float] = {}
    first, last = float(recording.time[0]), float(recording.time[-1])
    for segment in recording.segments:
        overlap = min(segment.end, last) - max(segment.start, first)
        covered[segment.label] = covered.get(segment.label, 0.0) + max(overlap, 0.0)
    return max(covered, key=lambda label: covered[label]) if covered else None


# --------------------------------------------------------------------------------------------------------------------
# Files

_ARRAYS = tuple(field.name for field in fields(Truth) if field.name != "metadata")


_FAR = 1e7  # pixels or seconds
#: type of the numbers, and shape (T, N: see the head of this module)
_SHAPES: dict[str, tuple[Any, ...]] = {
    "time": ("f8", "T"), "joints": ("f4", "T", 2, 21, 2), "known": ("b1", "T", 2, 21), "visible": ("b1", "T", 2, 21),
    "uncovered": ("b1", "T", 2, 21), "joints_25d": ("f4", "T", 2, 21, 3), "depth": ("f4", "T", 2, 21),
    "hand_order_known": ("b1", "T"), "boxes": ("f4", "T", 2, 4), "camera": ("f8", "T", 2, 3),
    "background_motion": ("f8", "T", 2, 3), "tracks": ("f4", "T", "N", 2), "tracks_known": ("b1", "T", "N"),
    "tracks_visible": ("b1", "T", "N"), "track_parts": ("u1", "N"),
}  # fmt: skip


def write_truth(path: Path, truth: Truth) -> None:
    """Write the truth as .npz, whole or not at all. Tracks are rounded to 1/64 pixel."""
    head = {"format": FORMAT, "version": VERSION, **truth.metadata}
    arrays: dict[str, Any] = {name: getattr(truth, name) for name in _ARRAYS}
    arrays["tracks"] = np.round(truth.tracks * 64) / np.float32(64)
    arrays["metadata"] = json.dumps(head, ensure_ascii=False)
    save_arrays(path, arrays)


def read_truth(path: str | Path) -> Truth:
    """Read what `palmist render` wrote beside a video.

    Raises InputError, one sentence, for a file that is missing, damaged, something else or of an unknown version.
    """
    path = Path(path)
    arrays = load_arrays(path)
    if "metadata" not in arrays:
        raise InputError(f"{path} holds no truth of a rendered clip; expected a file that palmist render wrote")
    try:
        head = json.loads(str(arrays.pop("metadata")))
        form, version = head.pop("format"), head.pop("version")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{path} holds no truth of a rendered clip; expected a file that palmist render wrote") from error
    if form != FORMAT:
        raise InputError(f"{path} holds no truth of a rendered clip ({form}); expected a file that palmist render wrote")
    if version != VERSION:
        raise InputError(
            f"{path} is {FORMAT} version {version}; this Palmist reads version {VERSION}; draw it again with palmist render"
        )
    missing = [name for name in _ARRAYS if name not in arrays]
    if missing:
        raise InputError(f"{path} has no array {', '.join(missing)}; draw it again with palmist render")
    _check_arrays(path, arrays)
    return Truth(**{name: arrays[name] for name in _ARRAYS}, metadata=head)


def _check_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """InputError for an array of a wrong type or shape, a number that is none or far from any picture, times that fall back."""
    time, tracks = arrays["time"], arrays["tracks"]
    sizes = {"T": len(time) if time.ndim else 0, "N": tracks.shape[1] if tracks.ndim == 3 else 0}
    for name, (wanted, *letters) in _SHAPES.items():
        array, shape = arrays[name], tuple(sizes.get(str(letter), letter) for letter in letters)
        if array.dtype.kind != wanted[0] or array.shape != shape:
            raise InputError(
                f"{path}: {name} is of type {array.dtype} and shape {array.shape}; expected {shape}; "
                "draw it again with palmist render"
            )
        if array.dtype.kind == "f" and not (np.abs(array) < _FAR).all():
            raise InputError(
                f"{path}: {name} is not finite, or beyond {_FAR:g}, in {int((~(np.abs(array) < _FAR)).sum())} places; "
                "draw it again with palmist render"
            )
        arrays[name] = array.astype(wanted, copy=False)
    check_time(time, len(time))

"""Frames with known truth in memory, for the image estimator: open recordings are drawn, put into the normalised camera and
coloured anew.

Drawing is slower than learning from what was drawn, so a run draws once, each clip of a few frames with its own person, room,
camera motion and thing in the hand, all from (seed, number of the clip); every batch then places and colours its frames anew.

Numbered deviations from G-HTT's data (specification, section 8.1), and why:

1. Pictures are drawn hands (`palmist.render`), not photographs: no open set has photographs with joints of both hands.
2. A drawn picture is square. It is put into the 480 x 270 picture whole, or larger and cut; what it does not cover has one
   colour. So there is a scale jitter, which the authors do not have, besides their shift.
3. Recordings without metric depth (image space): the hand is taken to be 0.09 m from wrist to knuckles, which with the
   normalised camera's focal length gives its distance (weak perspective); depth within the hand is the recording's. Planar
   recordings have no depth at all, and none is learnt from them.
4. Where the recording is metric, EPnP gives the depth; pixels stay those of the picture. Where it does not fit, no depth
   is learnt.
5. Recordings whose root is the palm's centre get a wrist where the drawn palm begins: as far behind it as the knuckles
   are in front.

Letters: N frames, M clips, B frames of a batch, S the drawn picture's side, H = 2 hands, J = 21 joints.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from palmist.errors import InputError
from palmist.inputs.windows import REFERENCE_HAND_SIZE
from palmist.models.ghtt_image import (
    CENTRE_X,
    CENTRE_Y,
    DEPTH_OFFSET,
    DEPTH_SCALE,
    FOCAL,
    IMAGE_HEIGHT,
    IMAGE_WIDTH,
    PIXEL_SCALE,
    to_normalised_camera,
)
from palmist.recording import Recording
from palmist.render import RenderSettings, is_held, render_clip
from palmist.render.settings import HELD_THINGS
from palmist.render.stage import NothingToDrawError
from palmist.skeleton import mirror

__all__ = ["DrawConfig", "FrameBank", "Placement", "draw_frames", "draw_placed", "place", "recolour", "targets"]

_KNUCKLES = [5, 9, 13, 17]
_PRESENT = 7  # joints inside the picture from which on a hand counts as present
_SEEN = 12  # pixels from which on a held thing counts as seen
_BEYOND = 0.15  # of the picture's sides: joints further outside are not learnt
_WORST_FIT = 8.0  # px of 480 x 270: mean distance from which on EPnP's camera does not fit
_NEAREST, _FURTHEST = 0.04, 4.0  # metres: beyond them depth is not learnt


@dataclass(frozen=True)
class DrawConfig:
    """What is drawn: M = `clips` clips of `frames` frames, `size` pixels square.

    spacing: recorded frames from one drawn frame to the next, 0 spreads them over a second. held: things that are drawn in a
    share of the clips. mirror: half of the clips, left for right.
    """

    clips: int = 2500
    frames: int = 4
    size: int = 128
    spacing: int = 0
    held: tuple[str, ...] = ()
    held_share: float = 0.6
    mirror: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "held", tuple(self.held))
        unknown = [name for name in self.held if name not in HELD_THINGS]
        if unknown:
            raise InputError(f"held names {unknown[0]!r}; expected some of {', '.join(HELD_THINGS)}")
        if self.clips < 1 or self.frames < 1:
            raise InputError(f"{self.clips} clips of {self.frames} frames were asked for; expected 1 or more of both")


@dataclass(frozen=True)
class FrameBank:
    """N drawn frames.

    images (N, S, S, 3) uint8 RGB. pixels (N, H, J, 2) float32, the centre of the first pixel is (0, 0). solid (N, H, J, 3)
    float32: metres in any rigid frame where metric, else pixels with depth from joint 0 in the same scale. known (N, H, J) and
    shown (N, H, J) bool: shown joints are also inside the picture. metric, deep (N,) bool: metres are known; depth is known at
    all. object (N,) int64: row of the seen thing's name, -1 = none. clip (N,) int64, increasing; names: M recordings' names.
    """

    images: np.ndarray
    pixels: np.ndarray
    solid: np.ndarray
    known: np.ndarray
    shown: np.ndarray
    metric: np.ndarray
    deep: np.ndarray
    object: np.ndarray
    clip: np.ndarray
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.images)


def draw_frames(sets: Sequence[tuple[Sequence[Recording], float]], config: DrawConfig, seed: int) -> FrameBank:
    """Draw clips of recordings; the same arguments give the same bank.

    Args:
        sets: recordings and the share of the clips that comes from them.

    Raises:
        InputError: no recording in which anything can be drawn.
    """
    usable = [([r for r in recordings if r.valid.any()], share) for recordings, share in sets]
    usable = [(recordings, share) for recordings, share in usable if recordings and share > 0]
    if not usable:
        raise InputError("no hand is known in any recording; expected recordings with hands to draw")
    bounds = np.cumsum([share for _, share in usable])
    parts: list[FrameBank] = []
    for number in track(range(config.clips), "drawing frames", transient=True, console=Console(stderr=True)):
        generator = np.random.default_rng([seed, number])
        # Sets by turns, so that few clips hold some of each.
        recordings = usable[int(np.searchsorted(bounds, (number + 0.5) * 0.618034 % 1 * bounds[-1], side="right"))][0]
        part = None
        while part is None:
            part = _draw_clip(recordings[int(generator.integers(len(recordings)))], config, number, seed, generator)
        parts.append(part)
    arrays = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in FrameBank.__dataclass_fields__
        if name != "names"
    }
    return FrameBank(**arrays, names=tuple(part.names[0] for part in parts))


def _draw_clip(
    recording: Recording, config: DrawConfig, number: int, seed: int, generator: np.random.Generator
) -> FrameBank | None:
    """One clip, or None where nothing can be drawn in the frames that were chosen."""
    frames = _choose(recording, config, generator)
    own = recording.replace(
        joints=recording.joints[frames], valid=recording.valid[frames], time=recording.time[frames], segments=(),
        confidence=None if recording.confidence is None else recording.confidence[frames], interpolated=None, objects=None,
        body=None
        if recording.body is None
        else replace(recording.body, joints=recording.body.joints[frames], valid=recording.body.valid[frames]),
    )  # fmt: skip
    if config.mirror and generator.uniform() < 0.5:
        own = mirror(own)
    row = int(generator.integers(len(config.held))) if config.held and generator.uniform() < config.held_share else -1
    framing = "hands" if number % 4 else "scene"  # E^I is made for hands that fill a good part of the picture
    held = config.held[row] if row >= 0 else None
    settings = RenderSettings(size=config.size, framing=framing, camera_motion=1.0, tracks=0, held=held)
    try:
        clip = render_clip(own, settings, seed * 1_000_003 + number)
    except NothingToDrawError:
        return None
    truth, count = clip.truth, len(frames)
    known, pixels, metric = truth.known.copy(), truth.joints.copy(), recording.space == "metric"
    solid = np.array(own.joints if metric else truth.joints_25d, np.float32)
    if recording.root == "palm_centre":
        known[:, :, 0] &= known[:, :, _KNUCKLES].all(-1)
        for points in (pixels, solid):
            points[:, :, 0] = 2 * points[:, :, 0] - points[:, :, _KNUCKLES].mean(2)
    seen = is_held(clip.parts).sum((1, 2)) >= _SEEN
    return FrameBank(
        images=clip.frames, pixels=pixels, solid=solid, known=known, shown=truth.visible,
        metric=np.full(count, metric), deep=np.full(count, recording.space != "planar"),
        object=np.where(seen, row, -1), clip=np.full(count, number), names=(recording.name,),
    )  # fmt: skip


def _choose(recording: Recording, config: DrawConfig, generator: np.random.Generator) -> np.ndarray:
    """Frame numbers of a clip: increasing, as many as the configuration says if the recording has them."""
    total = len(recording)
    if config.spacing:
        spacing = max(1, min(config.spacing, (total - 1) // max(config.frames - 1, 1)))
        count = min(config.frames, total)
        first = int(generator.integers(total - (count - 1) * spacing))
        return np.asarray(first + spacing * np.arange(count))
    span = min(total, max(config.frames, round(recording.rate)))
    first = int(generator.integers(total - span + 1))
    return np.unique(first + np.linspace(0, span - 1, config.frames).round().astype(int))


# --------------------------------------------------------------------------------------------------------------------
# Into the normalised camera


@dataclass(frozen=True)
class Placement:
    """Where drawn squares lie in the 480 x 270 picture: factor (B,) and shift (B, 2), a place p of the square in pixels from
    its upper left corner is at factor * p + shift; fill (B, 3) uint8, the colour of what they leave free.
    """

    factor: np.ndarray
    shift: np.ndarray
    fill: np.ndarray


def place(size: int, count: int, generator: torch.Generator | None) -> Placement:
    """Whole squares in the middle with black bars, as `letterbox` does; with a generator larger, shifted, other bars."""
    if generator is None:
        factor = np.full(count, IMAGE_HEIGHT / size)
        shift = np.array([[(IMAGE_WIDTH - IMAGE_HEIGHT) / 2, 0.0]]).repeat(count, 0)
        return Placement(factor, shift, np.zeros((count, 3), np.uint8))
    lot = torch.rand((count, 7), generator=generator).double().numpy()
    side = IMAGE_HEIGHT * (IMAGE_WIDTH / IMAGE_HEIGHT) ** (1.15 * lot[:, 0] - 0.1)
    middle = np.array([IMAGE_WIDTH, IMAGE_HEIGHT]) / 2 + 0.2 * (lot[:, 1:3] - 0.5) * side[:, None]
    fill = (255 * lot[:, 3:6] * (lot[:, 6:] < 0.5)).astype(np.uint8)
    return Placement(side / size, middle - side[:, None] / 2, fill)


def draw_placed(images: np.ndarray, placement: Placement, width: int, height: int) -> np.ndarray:
    """Squares (B, S, S, 3) as pictures (B, height, width, 3) uint8 of the normalised camera."""
    out = np.empty((len(images), height, width, 3), np.uint8)
    per_canvas = np.array([width / IMAGE_WIDTH, height / IMAGE_HEIGHT])
    for i, image in enumerate(images):
        factor, shift = placement.factor[i] * per_canvas, placement.shift[i] * per_canvas
        matrix = np.column_stack([np.diag(factor), 0.5 * factor + shift - 0.5])
        fill = placement.fill[i].tolist()
        cv2.warpAffine(image, matrix, (width, height), out[i], cv2.INTER_LINEAR, cv2.BORDER_CONSTANT, fill)
    return out


def targets(bank: FrameBank, rows: np.ndarray, placement: Placement) -> dict[str, Tensor]:
    """What E^I should say of placed frames: codes, known (B, H, J, 3), present (B, H), object (B,), see ImageEstimator."""
    factor = placement.factor[:, None, None, None]
    canvas = factor * (bank.pixels[rows] + 0.5) + placement.shift[:, None, None]  # (B, H, J, 2)
    size = np.array([IMAGE_WIDTH, IMAGE_HEIGHT])
    inside = ((canvas >= 0) & (canvas < size)).all(-1)
    near = ((canvas >= -_BEYOND * size) & (canvas < (1 + _BEYOND) * size)).all(-1)
    present = (inside & bank.shown[rows]).sum(-1) >= _PRESENT
    known = bank.known[rows] & near & present[..., None]
    depth, depth_known = _weak_depth(bank, rows, placement.factor)
    for i in np.flatnonzero(bank.metric[rows]):
        depth[i], depth_known[i] = _metric_depth(bank, int(rows[i]), canvas[i])
    depth_known &= (depth > _NEAREST) & (depth < _FURTHEST)
    codes = np.concatenate([(canvas - size / 2) / PIXEL_SCALE, ((depth - DEPTH_OFFSET) / (FOCAL * DEPTH_SCALE))[..., None]], -1)
    whole = np.stack([known, known, known & depth_known], -1)
    return {
        "codes": torch.from_numpy(np.where(whole, codes, 0).astype(np.float32)), "known": torch.from_numpy(whole),
        "present": torch.from_numpy(present), "object": torch.from_numpy(bank.object[rows]),
    }  # fmt: skip


def _weak_depth(bank: FrameBank, rows: np.ndarray, factor: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Metres (B, H, J) from the hand's size in the picture, and where there is one: deviation 3."""
    solid = bank.solid[rows].astype(np.float64)
    sizes = np.linalg.norm(solid[:, :, _KNUCKLES] - solid[:, :, :1], axis=-1).mean(-1)
    measured = bank.known[rows][:, :, [0, *_KNUCKLES]].all(-1) & bank.deep[rows, None] & ~bank.metric[rows, None] & (sizes > 0)
    scale = np.where(measured, sizes, 1) * factor[:, None] / REFERENCE_HAND_SIZE  # px of 480 x 270 per metre
    depth = FOCAL / scale[..., None] + solid[..., 2] * factor[:, None, None] / scale[..., None]
    return depth, np.repeat(measured[..., None], depth.shape[-1], -1)


def _metric_depth(bank: FrameBank, row: int, canvas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Metres (H, J) of a metric frame by EPnP on all known joints of both hands: deviation 4."""
    known = bank.known[row]
    depth = np.zeros(known.shape)
    if known.sum() < 6:
        return depth, np.zeros_like(known)
    try:
        there = to_normalised_camera(bank.solid[row][known].astype(np.float64), canvas[known])
    except (InputError, cv2.error):
        return depth, np.zeros_like(known)
    seen = FOCAL * there[:, :2] / np.maximum(there[:, 2:], 1e-3) + (CENTRE_X, CENTRE_Y)
    if there[:, 2].min() < _NEAREST or np.linalg.norm(seen - canvas[known], axis=-1).mean() > _WORST_FIT:
        return depth, np.zeros_like(known)
    depth[known] = there[:, 2]
    return depth, known


# --------------------------------------------------------------------------------------------------------------------
# Colours

_TO_YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
_GRAIN = np.random.default_rng(0).standard_normal((540, 960, 3), np.float32)  # any part of it is the noise of a picture


def recolour(pictures: np.ndarray, generator: torch.Generator, strength: float = 1.0) -> np.ndarray:
    """Brightness, contrast and saturation by up to 0.5, hue by up to 0.15 of a turn, blur of up to half a pixel, and noise.

    pictures: (B, H, W, 3) uint8 RGB; new ones of the same shape come back. strength: of all changes of colour.
    """
    lot = torch.rand((len(pictures), 8), generator=generator).double().numpy()
    height, width = pictures.shape[1:3]
    out = np.empty_like(pictures)
    for picture, made, one in zip(pictures, out, lot, strict=True):
        brightness, contrast, saturation = 1 + strength * (one[:3] - 0.5)
        hue = 2 * np.pi * 0.3 * strength * (one[3] - 0.5)
        turn = np.eye(3)
        turn[1:, 1:] = saturation * np.array([[np.cos(hue), -np.sin(hue)], [np.sin(hue), np.cos(hue)]])
        matrix = brightness * np.linalg.inv(_TO_YIQ) @ turn @ _TO_YIQ
        grey = float((matrix @ cv2.mean(picture)[:3]).mean())
        changed = cv2.transform(picture, np.column_stack([contrast * matrix, np.full(3, (1 - contrast) * grey)]))
        changed = cv2.GaussianBlur(changed, (3, 3), 0.1 + 0.4 * one[4])
        y, x = (one[5:7] * (_GRAIN.shape[0] - height, _GRAIN.shape[1] - width)).astype(int)
        cv2.add(changed, 8 * one[7] * _GRAIN[y : y + height, x : x + width], made, dtype=cv2.CV_8U)
    return out

"""Pictures of five body parts from videos and drawn clips: where the parts are in the pixels, and batches for `RGBGuided`.

>>> path, recording = demo_video()
>>> batch = video_batch(path, recording, model.config)
>>> batch["collage"].shape
torch.Size([1, 160, 160, 3])
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from palmist.errors import InputError
from palmist.inputs.body_hand import skeleton_batch
from palmist.models.rgb_guided import HAND_ROWS, PARTS, ROW_JOINTS, RGBGuidedConfig, arrange, collage, cut_tiles, moments
from palmist.recording import Recording
from palmist.render import RenderSettings, render_clip
from palmist.render.stage import BODY, apply_affine, set_stage
from palmist.skeleton import BODY_SIDES

__all__ = ["PartPoints", "drawn_batch", "drawn_parts", "recording_parts", "video_batch"]

#: Shoulder width over hand size (wrist to middle knuckle), where no shoulders are seen; as in `palmist.inputs.body_hand`.
_SHOULDERS_PER_HAND = 4.0
_SMALLEST_CROP = 4.0  # pixels
_MIDDLE_KNUCKLE = 9
_STAGE_ROWS = tuple(BODY.index(name) for name in ("head", "right_wrist", "left_wrist", "right_elbow", "left_elbow"))


@dataclass(frozen=True)
class PartPoints:
    """Where the parts of one person are in a picture.

    points: (T, 1, 5, 2) x, y in pixels, the centre of the first pixel is (0, 0); known: (T, 1, 5) bool. shoulders: their
    width in pixels (a median over the clip).
    """

    points: np.ndarray
    known: np.ndarray
    shoulders: float

    def side(self, config: RGBGuidedConfig) -> float:
        """Side of a crop in pixels."""
        if config.crop_pixels is not None:
            return config.crop_pixels
        return max(_SMALLEST_CROP, config.crop_shoulders * self.shoulders)


def recording_parts(recording: Recording, width: int, height: int) -> PartPoints:
    """The parts of a recording that was tracked in the picture itself: space "image" (fractions) or "planar" (pixels).

    Hands are taken at the middle knuckle, else the wrist, else the body's wrist; heads and elbows from the body.

    Raises InputError for a metric recording, whose place in the picture is not known.
    """
    if recording.space == "metric":
        raise InputError(
            f"{recording.name} is metric, so where its joints are in the picture is not known; expected space image or planar "
            "(track the video with palmist read, or palmist.perception.hands.track_hands)"
        )
    # Fractions run from edge to edge, pixels from centre to centre.
    size, offset = (np.array([width, height]), 0.5) if recording.space == "image" else (np.ones(2), 0.0)
    hands = recording.joints[..., :2] * size - offset
    body, body_known, shoulders = np.zeros((len(recording), PARTS, 2)), np.zeros((len(recording), PARTS), bool), None
    if recording.body is not None:
        where = recording.body.joints[..., :2] * size - offset
        rows = list(ROW_JOINTS[recording.body.layout])
        body, body_known = where[:, rows], recording.body.valid[:, rows]
        pair = list(BODY_SIDES[recording.body.layout].shoulder)
        shoulders = _median_distance(where[:, pair], recording.body.valid[:, pair])
    return _parts(hands, recording.known, body, body_known, shoulders)


def drawn_parts(recording: Recording, settings: RenderSettings, seed: int, camera: np.ndarray) -> PartPoints:
    """The parts of a drawn clip (`palmist.render`), after the camera's motion (T, 2, 3)."""
    stage = set_stage(recording, settings, seed)
    hands = apply_affine(camera, stage.joints[..., :2])
    body = apply_affine(camera, stage.body)
    pair = [BODY.index("left_shoulder"), BODY.index("right_shoulder")]
    shoulders = _median_distance(body[:, pair], stage.body_known[:, pair])
    rows = list(_STAGE_ROWS)
    return _parts(hands, stage.known, body[:, rows], stage.body_known[:, rows], shoulders)


def _parts(
    hands: np.ndarray, hands_known: np.ndarray, body: np.ndarray, body_known: np.ndarray, shoulders: float | None
) -> PartPoints:
    """hands (T, 2, 21, 2) and rows of the body (T, 5, 2) in pixels."""
    points, known = body.astype(np.float64), body_known.copy()
    for row, side in HAND_ROWS.items():
        for joint in (0, _MIDDLE_KNUCKLE):  # the later one wins
            here = hands_known[:, side, joint]
            points[here, row] = hands[here, side, joint]
            known[:, row] |= here
    if shoulders is None:
        palm = [0, _MIDDLE_KNUCKLE]
        size = _median_distance(hands[:, :, palm].reshape(-1, 2, 2), hands_known[:, :, palm].reshape(-1, 2))
        shoulders = _SHOULDERS_PER_HAND * size if size is not None else 0.0
    return PartPoints(np.where(known[..., None], points, 0.0)[:, None], known[:, None], shoulders)


def _median_distance(pairs: np.ndarray, known: np.ndarray) -> float | None:
    """Median distance of (N, 2, 2) pairs of points that are both known; None without any."""
    both = known.all(-1)
    return float(np.median(np.linalg.norm(pairs[both, 0] - pairs[both, 1], axis=-1))) if both.any() else None


def _as_batch(picture: np.ndarray, seen: np.ndarray, recording: Recording, config: RGBGuidedConfig) -> dict[str, Tensor]:
    pixels = {"collage": torch.from_numpy(picture).unsqueeze(0), "seen": torch.from_numpy(seen.copy()).unsqueeze(0)}
    return pixels | skeleton_batch([recording], config.skeleton)


def video_batch(
    video: str | Path, recording: Recording, config: RGBGuidedConfig, generator: torch.Generator | None = None
) -> dict[str, Tensor]:
    """A batch of one from a real video and what was tracked in it: the arguments of `RGBGuided.recognise`.

    Only the five frames are decoded. The recording's times are the video's own (slices of a longer track will do).

    Args:
        generator: draws the frames as in training; None takes the same every time.

    Raises:
        InputError: the video cannot be read or is shorter than the recording; the recording is metric.
    """
    from palmist.perception.video import Video

    source = Video(video)
    parts = recording_parts(recording, source.info.width, source.info.height)
    chosen = moments(len(recording), generator)
    images = source.read(recording.time[chosen]).images
    tiles, seen = cut_tiles(images, parts.points[chosen], parts.known[chosen], parts.side(config), config.tile)
    return _as_batch(arrange(tiles), seen.T, recording, config)


def drawn_batch(recording: Recording, settings: RenderSettings, config: RGBGuidedConfig, seed: int = 0) -> dict[str, Tensor]:
    """A batch of one from a recording that is drawn first, see `palmist.render.render_clip`."""
    settings = replace(settings, tracks=0)
    clip = render_clip(recording, settings, seed)
    parts = drawn_parts(recording, settings, seed, clip.truth.camera)
    picture, seen = collage(clip.frames, parts.points, parts.known, parts.side(config), config.tile)
    return _as_batch(picture, seen, recording, config)


def join_batches(batches: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Batches of one as one batch."""
    return {name: torch.cat([batch[name] for batch in batches]) for name in batches[0]}

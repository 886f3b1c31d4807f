"""Hands by G-HTT's own image estimator E^I (`palmist.models.ghtt_image`), as a HandTracker; and the estimator's checkpoints.

A frame is fitted into the 480 x 270 picture of the normalised camera with black bars (`letterbox`), the network gives 2.5D
joints and how likely each hand is there, and these go back to the frame. Every frame is judged by itself.

Numbered deviation: 1. The authors take joints to the real camera by PnP. Its focal length is not known for a video, so joints
are handed on as fractions of the image and as metres about the hand's own centre; who knows the focal length places them
(`palmist.perception.hands.metric_recording`, by PnP).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from palmist.checkpoint import load_checkpoint, load_model_state
from palmist.errors import InputError
from palmist.model_zoo import checkpoint_path
from palmist.models.ghtt_image import (
    FOCAL,
    IMAGE_HEIGHT,
    IMAGE_WIDTH,
    PIXEL_SCALE,
    ClipObjectConfig,
    ClipObjectDetector,
    ImageEstimator,
    ImageEstimatorConfig,
    decode_25d,
)
from palmist.perception.detection import HandDetection, check_frame

__all__ = ["DEFAULT_ESTIMATOR", "EstimatorHands", "as_input", "letterbox", "load_estimator"]

#: The estimator that the package carries.
DEFAULT_ESTIMATOR = "estimator-small"
_NEAREST = 0.05  # metres: a joint nearer than this to the camera is a wild guess of the depth


def load_estimator(name_or_path: str | Path) -> tuple[ImageEstimator, ClipObjectDetector | None]:
    """E^I of a checkpoint, and E^PO if it holds one, in evaluation mode and without gradients.

    Raises:
        InputError: no such checkpoint, a damaged one, or one of another kind.
    """
    path = checkpoint_path(name_or_path)
    checkpoint = load_checkpoint(path)
    kind = checkpoint.config.get("model")
    if kind != "image_estimator":
        raise InputError(
            f"{name_or_path} holds a model of kind {kind!r}; expected an image estimator, such as palmist train writes for "
            "the tasks image_estimator and clip_object"
        )
    try:
        model = ImageEstimator(ImageEstimatorConfig(**checkpoint.config["image_estimator"]))
        clip = checkpoint.config.get("clip_object")
        detector = None if clip is None else ClipObjectDetector(ClipObjectConfig(**clip))
    except (KeyError, TypeError) as error:
        raise InputError(f"{path} has settings that no image estimator has ({error}); copy the checkpoint again") from error
    for part, network in (("i.", model), ("po.", detector)):
        if network is not None:
            state = {name.removeprefix(part): value for name, value in checkpoint.state.items() if name.startswith(part)}
            load_model_state(network, state, str(path))
            network.eval().requires_grad_(False)
    return model, detector


def letterbox(frame: np.ndarray, width: int, height: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A frame in the middle of a picture of (width, height) pixels, black where it does not reach.

    Args:
        frame: (H, W, 3) uint8.

    Returns:
        picture (height, width, 3) uint8; factor (2,) and shift (2,): a place p of the frame, in pixels from its upper left
        corner, is at factor * p + shift of the 480 x 270 picture.
    """
    rows, columns = frame.shape[:2]
    full = min(IMAGE_WIDTH / columns, IMAGE_HEIGHT / rows)
    per_canvas = np.array([width / IMAGE_WIDTH, height / IMAGE_HEIGHT])
    wide, high = (full * per_canvas * (columns, rows)).round().astype(int).clip(1, (width, height)).tolist()
    small = cv2.resize(frame, (wide, high), interpolation=cv2.INTER_AREA if wide < columns else cv2.INTER_LINEAR)
    left, top = (width - wide) // 2, (height - high) // 2
    picture = np.zeros((height, width, 3), np.uint8)
    picture[top : top + high, left : left + wide] = small
    return picture, np.array([wide, high]) / per_canvas / (columns, rows), np.array([left, top]) / per_canvas


def as_input(pictures: np.ndarray) -> Tensor:
    """(B, H, W, 3) uint8 RGB -> (B, 3, H, W) as E^I takes it: 0 to 1 less 0.5."""
    return torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float() / 255 - 0.5


class EstimatorHands:
    """Hands by E^I (a HandTracker). Needs no package beside Palmist; close is there for the sake of `with`.

    Args:
        checkpoint: a model's name ("estimator-small") or the folder of a checkpoint that the tasks image_estimator and
            clip_object write.
        mirrored: the images are mirrored, as selfie cameras show them; they are turned round first (see MediaPipeHands).
        threshold: how likely a hand has to be there, 0 to 1.

    Raises:
        InputError: the checkpoint is missing, damaged or of another kind; a threshold outside 0 to 1.

    >>> with EstimatorHands("runs/e_i_small/last") as tracker:
    ...     recording = track_hands(frames, tracker)
    """

    def __init__(self, checkpoint: str | Path, mirrored: bool = False, threshold: float = 0.5) -> None:
        if not 0 <= threshold <= 1:
            raise InputError(f"threshold is {threshold}; expected how likely a hand has to be there, 0 to 1")
        self._model, _ = load_estimator(checkpoint)
        self._mirrored, self._threshold = mirrored, threshold
        self._name = checkpoint if isinstance(checkpoint, str) else checkpoint.name

    def detect(self, time: float, frame: np.ndarray) -> Sequence[HandDetection]:
        """The hands of one frame, (H, W, 3) uint8 RGB; the time is not used."""
        frame = check_frame(frame)
        if self._mirrored:
            frame = cv2.flip(frame, 1)
        config = self._model.config
        picture, factor, shift = letterbox(frame, config.input_width, config.input_height)
        with torch.inference_mode():
            out = self._model(as_input(picture[None]))
            joints = decode_25d(out.codes)[0].numpy()
            codes, likely = out.codes[0].numpy(), out.presence[0].sigmoid().numpy()
        size = np.array([frame.shape[1], frame.shape[0]])
        return [
            _detection(side, float(likely[side]), codes[side], joints[side], factor, shift, size)
            for side in (0, 1)
            if likely[side] >= self._threshold
        ]

    def describe(self) -> Mapping[str, Any]:
        config = self._model.config
        size = f"{config.input_width} x {config.input_height}"
        return {
            "tracker": "G-HTT image estimator", "model": self._name, "input": size, "mirrored": self._mirrored,
            "threshold": self._threshold,
        }  # fmt: skip

    def close(self) -> None:
        """Nothing to close."""

    def __enter__(self) -> EstimatorHands:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _detection(
    side: int, likely: float, codes: np.ndarray, joints: np.ndarray, factor: np.ndarray, shift: np.ndarray, size: np.ndarray
) -> HandDetection:
    """One hand in the frame: codes (21, 3) and joints (21, 3) of the normalised camera; see `letterbox`, size (2,) pixels."""
    canvas = PIXEL_SCALE * codes[:, :2] + (IMAGE_WIDTH / 2, IMAGE_HEIGHT / 2)
    pixels = (canvas - shift) / factor
    nearest = max(float(joints[:, 2].mean()), _NEAREST)
    depth = (joints[:, 2] - joints[0, 2]) * FOCAL / nearest / factor.mean()  # metres in pixels of the frame at the hand
    image = np.concatenate([pixels / size, depth[:, None] / size[0]], -1).astype(np.float32)
    world = (joints - joints.mean(0)).astype(np.float32)
    return HandDetection(side, min(max(likely, 0.5), 1.0), image, world)

"""What training does to a clip, with one draw for all its frames, and the crops of testing.

The recipe of UniFormer and EMIM: RandAugment (arXiv 1909.13719; each operation with chance 0.5, strengths that grow with the
magnitude), random resized crop, flip where it is allowed, random erasing (arXiv 1708.04896); MixUp (arXiv 1710.09412) and
CutMix (arXiv 1905.04899) are in `palmist.video_sets.mixing`.

Numbered deviations, and why:

1. All geometry (rotation, shear, translation, crop, flip) is composed into one map of pixels, so that pictures are resampled
   once and point tracks can follow (`Augmented.matrix`). Colours change after it, so operations that look at a picture's
   histogram see the crop.
2. Clips stay 8-bit until the network: the noise of random erasing is cut at black and white.

Letters: T frames, H, W rows and columns of the video, S side of the clip in pixels. Points are (x, y) in pixels, x to the
right, y down, the centre of the first pixel at (0, 0).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from palmist.errors import InputError

__all__ = ["AugmentationConfig", "Augmented", "augment_clip", "evaluation_crop"]

_FILL = 115  # the mean of all colours, 0.45
_LARGEST = 10.0  # the largest magnitude
_SMOOTH = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]], np.float32) / 13


@dataclass(frozen=True)
class AugmentationConfig:
    """Strengths; the defaults are the recipe's.

    crop_area, crop_aspect: ranges of the random resized crop, share of the picture and width / height.
    flip: chance of exchanging left and right; refused where labels name a side, unless mirror_labels exchanges them too.
    operations: how many of RandAugment's are drawn, 0 for none; magnitude 0 to 10 and its standard deviation.
    erase: chance that a rectangle becomes noise.
    """

    crop_area: tuple[float, float] = (0.08, 1.0)
    crop_aspect: tuple[float, float] = (3 / 4, 4 / 3)
    flip: float = 0.0
    mirror_labels: bool = False
    operations: int = 4
    magnitude: float = 7.0
    magnitude_deviation: float = 0.5
    erase: float = 0.25

    def __post_init__(self) -> None:
        for name in ("crop_area", "crop_aspect"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise InputError(f"{name} is {low} to {high}; expected two positive numbers, the smaller one first")
        for name in ("flip", "erase"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} is {getattr(self, name)}; expected a chance from 0 to 1")
        if self.operations < 0 or not 0 <= self.magnitude <= _LARGEST:
            raise InputError(
                f"operations is {self.operations} and magnitude {self.magnitude}; expected 0 or more, and 0 to {_LARGEST:g}"
            )


@dataclass(frozen=True, eq=False)
class Augmented:
    """video (T, S, S, 3) uint8; matrix (2, 3) float64: a point (x, y) of the read frames lies at matrix @ (x, y, 1) in the
    clip; mirrored: left and right were exchanged."""

    video: np.ndarray
    matrix: np.ndarray
    mirrored: bool = False


def augment_clip(images: np.ndarray, size: int, config: AugmentationConfig, generator: np.random.Generator) -> Augmented:
    """One augmented clip: (T, H, W, 3) uint8 to (T, S, S, 3), one draw for all frames."""
    height, width = images.shape[1:3]
    geometric, painted = _draw_operations(config, generator)
    matrix = np.eye(3)
    for name, strength in geometric:
        matrix = _GEOMETRY[name](strength, width, height) @ matrix
    matrix = _random_crop(width, height, size, config, generator) @ matrix
    mirrored = bool(generator.random() < config.flip)
    if mirrored:
        matrix = np.array([[-1.0, 0, size - 1], [0, 1, 0], [0, 0, 1]]) @ matrix
    video = _warp(images, matrix, size, replicate=not geometric)
    for name, strength in painted:
        video = _PAINT[name](video, strength)
    if generator.random() < config.erase:
        video = _erase(video, generator)
    return Augmented(np.ascontiguousarray(video), matrix[:2], mirrored)


def evaluation_crop(images: np.ndarray, size: int, crop: int = 0, crops: int = 1) -> Augmented:
    """The short side scaled to `size`, then square number `crop` of `crops` along the long side; one alone is in the middle."""
    if not 0 <= crop < crops:
        raise InputError(f"the crop is number {crop} of {crops}; expected 0 to {max(crops, 1) - 1}")
    height, width = images.shape[1:3]
    side = min(width, height)
    place = 0.5 if crops == 1 else crop / (crops - 1)
    x, y = round((width - side) * place), round((height - side) * place)
    matrix = _crop_matrix(x, y, side, side, size)
    return Augmented(_warp(images, matrix, size, replicate=True), matrix[:2])


def _crop_matrix(x: float, y: float, width: float, height: float, size: int) -> np.ndarray:
    """A rectangle of the picture (its corner, width and height, in pixels from the picture's edge) to the clip's square."""
    across, down = size / width, size / height
    return np.array([[across, 0, (0.5 - x) * across - 0.5], [0, down, (0.5 - y) * down - 0.5], [0, 0, 1]])


def _random_crop(width: int, height: int, size: int, config: AugmentationConfig, generator: np.random.Generator) -> np.ndarray:
    for _ in range(10):
        area = width * height * generator.uniform(*config.crop_area)
        aspect = math.exp(generator.uniform(math.log(config.crop_aspect[0]), math.log(config.crop_aspect[1])))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            x, y = int(generator.integers(width - w + 1)), int(generator.integers(height - h + 1))
            return _crop_matrix(x, y, w, h, size)
    # No such rectangle fits: the largest one in the middle with an allowed aspect.
    aspect = min(max(width / height, config.crop_aspect[0]), config.crop_aspect[1])
    w, h = min(width, round(height * aspect)), min(height, round(width / aspect))
    return _crop_matrix((width - w) // 2, (height - h) // 2, w, h, size)


def _warp(images: np.ndarray, matrix: np.ndarray, size: int, replicate: bool) -> np.ndarray:
    if images.shape[1:3] == (size, size) and np.allclose(matrix, np.eye(3)):
        return images.copy()
    # Each step of a bilinear map sees four pixels, so a much larger picture is first shrunk by area.
    shrink = int(1 / max(math.sqrt(abs(np.linalg.det(matrix[:2, :2]))), 1e-6) + 1e-6)
    height, width = images.shape[1:3]
    if shrink >= 2:
        small = (max(1, width // shrink), max(1, height // shrink))
        images = np.stack([cv2.resize(image, small, interpolation=cv2.INTER_AREA) for image in images])
        across, down = small[0] / width, small[1] / height
        shrunk = np.array([[across, 0, 0.5 * across - 0.5], [0, down, 0.5 * down - 0.5], [0, 0, 1]])
        matrix = matrix @ np.linalg.inv(shrunk)
    mode = cv2.BORDER_REPLICATE if replicate else cv2.BORDER_CONSTANT
    flat, fill = matrix[:2], (_FILL, _FILL, _FILL)
    frames = (np.ascontiguousarray(image) for image in images)
    return np.stack([cv2.warpAffine(image, flat, (size, size), None, cv2.INTER_LINEAR, mode, fill) for image in frames])


def _about_the_middle(linear: list[list[float]], width: int, height: int) -> np.ndarray:
    x, y = (width - 1) / 2, (height - 1) / 2
    (a, b), (c, d) = linear
    return np.array([[a, b, x - a * x - b * y], [c, d, y - c * x - d * y], [0, 0, 1]])


def _rotation(strength: float, width: int, height: int) -> np.ndarray:
    angle = math.radians(30 * strength)
    return _about_the_middle([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]], width, height)


#: name -> strength (-1 to 1), width, height -> (3, 3)
_GEOMETRY: dict[str, Callable[[float, int, int], np.ndarray]] = {
    "rotate": _rotation,
    "shear_x": lambda strength, w, h: _about_the_middle([[1, 0.3 * strength], [0, 1]], w, h),
    "shear_y": lambda strength, w, h: _about_the_middle([[1, 0], [0.3 * strength, 1]], w, h),
    "translate_x": lambda strength, w, h: np.array([[1, 0, 0.45 * strength * w], [0, 1, 0], [0, 0, 1.0]]),
    "translate_y": lambda strength, w, h: np.array([[1, 0, 0], [0, 1, 0.45 * strength * h], [0, 0, 1.0]]),
}


def _blend(video: np.ndarray, other: np.ndarray, strength: float) -> np.ndarray:
    """1 keeps the video, 0 takes the other, above 1 goes away from it; strength -1 to 1 is 0.1 to 1.9."""
    factor = 1 + 0.9 * strength
    return np.clip(other + factor * (video.astype(np.float32) - other) + 0.5, 0, 255).astype(np.uint8)


def _grey(video: np.ndarray) -> np.ndarray:
    """(T, S, S, 1) float32 brightness (ITU-R 601)."""
    return video.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)[:, None]


def _contrast(video: np.ndarray, strength: float) -> np.ndarray:
    return _blend(video, _grey(video).mean((1, 2, 3), keepdims=True), strength)


def _sharpness(video: np.ndarray, strength: float) -> np.ndarray:
    smooth = np.stack([cv2.filter2D(image, -1, _SMOOTH) for image in video]).astype(np.float32)
    smooth[:, (0, -1)], smooth[:, :, (0, -1)] = video[:, (0, -1)], video[:, :, (0, -1)]  # edges stay as they are
    return _blend(video, smooth, strength)


def _auto_contrast(video: np.ndarray, _: float) -> np.ndarray:
    """Every colour of every frame stretched from black to white."""
    low, high = (edge.astype(np.float32) for edge in (video.min((1, 2), keepdims=True), video.max((1, 2), keepdims=True)))
    scale = np.where(high > low, 255 / np.maximum(high - low, 1), 1)
    return np.clip((video - np.where(high > low, low, 0)) * scale, 0, 255).astype(np.uint8)


def _equalize(video: np.ndarray, _: float) -> np.ndarray:
    frames = [cv2.merge([cv2.equalizeHist(np.ascontiguousarray(image[..., c])) for c in range(3)]) for image in video]
    return np.stack(frames)


def _posterize(video: np.ndarray, strength: float) -> np.ndarray:
    bits = 4 - int(abs(strength) * 4)
    return video & np.uint8(256 - 2 ** (8 - bits) if bits else 0)


def _solarize(video: np.ndarray, strength: float) -> np.ndarray:
    return np.where(video < 256 - int(abs(strength) * 256), video, 255 - video)


def _solarize_add(video: np.ndarray, strength: float) -> np.ndarray:
    brighter = np.minimum(video.astype(np.int16) + int(abs(strength) * 110), 255).astype(np.uint8)
    return np.where(video < 128, brighter, video)


#: name -> clip, strength (-1 to 1) -> clip
_PAINT: dict[str, Callable[[np.ndarray, float], np.ndarray]] = {
    "auto_contrast": _auto_contrast,
    "equalize": _equalize,
    "invert": lambda video, _: 255 - video,
    "posterize": _posterize,
    "solarize": _solarize,
    "solarize_add": _solarize_add,
    "colour": lambda video, strength: _blend(video, _grey(video), strength),
    "contrast": _contrast,
    "brightness": lambda video, strength: _blend(video, np.zeros(1, np.float32), strength),
    "sharpness": _sharpness,
}


def _draw_operations(
    config: AugmentationConfig, generator: np.random.Generator
) -> tuple[list[tuple[str, float]], list[tuple[str, float]]]:
    """The operations on places and on colours, each with its strength from -1 to 1."""
    names = [*_GEOMETRY, *_PAINT]
    geometric: list[tuple[str, float]] = []
    painted: list[tuple[str, float]] = []
    for _ in range(config.operations):
        name = names[generator.integers(len(names))]
        magnitude = min(max(generator.normal(config.magnitude, config.magnitude_deviation), 0), _LARGEST)
        sign = 1 if generator.random() < 0.5 else -1
        if generator.random() < 0.5:
            (geometric if name in _GEOMETRY else painted).append((name, sign * magnitude / _LARGEST))
    return geometric, painted


def _erase(video: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """A rectangle of 2 to 33 % of the picture becomes noise, the same in all frames."""
    size = video.shape[1]
    for _ in range(10):
        area = size * size * generator.uniform(0.02, 1 / 3)
        aspect = math.exp(generator.uniform(math.log(0.3), -math.log(0.3)))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w < size and 0 < h < size:
            x, y = generator.integers(size - w + 1), generator.integers(size - h + 1)
            noise = 255 * (0.45 + 0.225 * generator.standard_normal((h, w, 3)))
            video = video.copy()
            video[:, y : y + h, x : x + w] = np.clip(noise, 0, 255).astype(np.uint8)
            break
    return video

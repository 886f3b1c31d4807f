"""G-HTT's image side: E^I, hands and object of each frame from a ResNet-18, and E^PO, the object of a clip.

Paper: "Generative Hierarchical Temporal Transformer for Hand Pose and Action Modeling" (arXiv 2311.17366); input size, heads,
camera and codes as in the authors' code (specification, section 8).

In reading order: the normalised camera and the codes of 2.5D joints in it (`encode_25d`, `decode_25d`), `to_normalised_camera`
(EPnP), `ImageEstimator` (E^I), `ClipObjectDetector` (E^PO).

Numbered deviations, and why:

1. Joints that are not known, and hands that are not in the image, are left out of the loss; a third output says how likely
   each hand is to be in the image (the papers' data always has both).
2. The input may be smaller than 480 x 270: pixels are counted at the full size whatever the input's.
3. Frames without a named object do not train the object head.
4. `base_width` narrows the ResNet, and D with it, for a checkpoint that fits a package.
5. `cells` > 0 gives the hand head and the presence the last maps cell by cell (squeezed to so many channels) beside their mean:
   a mean over the picture says little of where a small hand is.
6. A backbone that starts from ImageNet keeps its BatchNorm statistics (`frozen_statistics`, as in the authors' code); one that
   starts from nothing learns them.

Letters: B frames, T frames of a clip, D width (8 base widths, 512), L object names. Masks are True where known or valid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from palmist.errors import InputError
from palmist.models.global_batch import masked_mean
from palmist.models.label_table import LabelTable
from palmist.models.layers import Batch, EncoderLayer, Linear, Parts, sinusoidal_code
from palmist.models.resnet import WIDTH, ResNet18

#: The normalised camera: width, height, focal length, principal point, all in pixels.
IMAGE_WIDTH, IMAGE_HEIGHT, FOCAL, CENTRE_X, CENTRE_Y = 480.0, 270.0, 240.0, 240.0, 135.0
PIXEL_SCALE, DEPTH_SCALE, DEPTH_OFFSET = 100.0, 1e-4, 0.4
#: How far codes (dx, dy, z) spread. The hand head counts in these units, or z alone would shape its layers.
_CODE_SPREAD = (1.0, 1.0, 10.0)


def encode_25d(joints: Tensor) -> Tensor:
    """Joints (..., 3) in metres in the normalised camera (x right, y down, z forward) to codes (dx, dy, z)."""
    depth = joints[..., 2:].clamp_min(1e-3)
    pixel = FOCAL * joints[..., :2] / depth + joints.new_tensor([CENTRE_X, CENTRE_Y])
    offset = (pixel - joints.new_tensor([IMAGE_WIDTH / 2, IMAGE_HEIGHT / 2])) / PIXEL_SCALE
    return torch.cat((offset, (depth - DEPTH_OFFSET) / (FOCAL * DEPTH_SCALE)), dim=-1)


def decode_25d(codes: Tensor) -> Tensor:
    """The inverse of `encode_25d`: codes (..., 3) to metres in the normalised camera."""
    depth = FOCAL * (DEPTH_SCALE * codes[..., 2:]) + DEPTH_OFFSET
    pixel = PIXEL_SCALE * codes[..., :2] + codes.new_tensor([IMAGE_WIDTH / 2, IMAGE_HEIGHT / 2])
    return torch.cat(((pixel - codes.new_tensor([CENTRE_X, CENTRE_Y])) * depth / FOCAL, depth), dim=-1)


def to_normalised_camera(joints: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Joints re-expressed so that the normalised camera sees them where the real one does (EPnP on the joint pairs).

    Args:
        joints: (N, 3) metres in any rigid frame, N at least 4. pixels: (N, 2) in the 480 x 270 image.

    Returns:
        (N, 3) metres in the normalised camera. InputError where no pose of the camera fits.
    """
    import cv2

    camera = np.array([[FOCAL, 0, CENTRE_X], [0, FOCAL, CENTRE_Y], [0, 0, 1.0]])
    if len(joints) < 4 or len(joints) != len(pixels):
        raise InputError(f"{len(joints)} joints and {len(pixels)} pixels; EPnP needs at least 4 pairs")
    good, turn, shift = cv2.solvePnP(
        np.ascontiguousarray(joints, np.float64), np.ascontiguousarray(pixels, np.float64), camera, None,
        flags=cv2.SOLVEPNP_EPNP,
    )  # fmt: skip
    if not good:
        raise InputError("no camera pose fits the joints and their pixels; check units (metres, pixels of a 480 x 270 image)")
    rotation, _ = cv2.Rodrigues(turn)
    return np.asarray(joints @ rotation.T + shift[:, 0])


@dataclass(frozen=True)
class ImageEstimatorConfig:
    """Sizes and loss weights; the defaults are the paper's. `objects`: names the object head knows."""

    base_width: int = 64
    width: int = WIDTH
    cells: int = 0
    frozen_statistics: bool = False
    input_width: int = 480
    input_height: int = 270
    label_dim: int = 512
    objects: tuple[str, ...] = ()
    temperature: float = 0.07
    pixel_weight: float = 1.0
    depth_weight: float = 100.0
    object_weight: float = 1.0
    presence_weight: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "objects", tuple(self.objects))


PRESETS: dict[str, ImageEstimatorConfig] = {
    "paper": ImageEstimatorConfig(),
    "small": ImageEstimatorConfig(
        base_width=24,
        width=256,
        cells=32,
        input_width=160,
        input_height=90,
        label_dim=384,
        depth_weight=0.05,
        object_weight=0.2,
    ),
}


class Estimate(NamedTuple):
    """codes (B, 2, 21, 3) of 2.5D joints, presence (B, 2) logits, objects (B, D) features."""

    codes: Tensor
    presence: Tensor
    objects: Tensor


def _head(inputs: int, width: int, outputs: int) -> nn.Sequential:
    layers = [Linear(inputs, width), nn.LeakyReLU(), Linear(width, width), nn.LeakyReLU(), Linear(width, outputs)]
    for layer in layers:
        if isinstance(layer, Linear):  # torch's own start shrinks what differs between frames fivefold
            nn.init.kaiming_normal_(layer.weight, nonlinearity="leaky_relu")
            nn.init.zeros_(layer.bias)
    return nn.Sequential(*layers)


class ImageEstimator(nn.Module):
    """E^I: one frame to the 2.5D joints of both hands and an object feature.

    Example:
        >>> model = ImageEstimator(PRESETS["small"]).eval()
        >>> model(torch.zeros(2, 3, 90, 160)).codes.shape
        torch.Size([2, 2, 21, 3])
    """

    def __init__(self, config: ImageEstimatorConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = ResNet18(config.base_width)
        D, inputs = self.backbone.width, self.backbone.width
        self.squeeze: nn.Module | None = None
        if config.cells:
            self.squeeze = nn.Sequential(nn.Conv2d(D, config.cells, 1), nn.LeakyReLU())
            inputs += config.cells * (-(-config.input_width // 32)) * (-(-config.input_height // 32))
        self.hands = _head(inputs, config.width, 2 * 21 * 3)
        self.presence = Linear(inputs, 2)
        self.object = Linear(D, D)
        self.labels = LabelTable(len(config.objects), config.label_dim, D, config.temperature)

    def set_objects(self, names: Sequence[str], features: Tensor) -> None:
        """Swap the object names: L names and their text features (L, label_dim)."""
        self.labels.set_features(features, names)
        self.config = replace(self.config, objects=tuple(names))

    def train(self, mode: bool = True) -> ImageEstimator:
        """Training or evaluation mode; frozen statistics stay as they are in both."""
        super().train(mode)
        if self.config.frozen_statistics:
            self.backbone.eval()
        return self

    def forward(self, images: Tensor) -> Estimate:
        """images (B, 3, H, W), RGB in 0 .. 1 less 0.5, of the configured size."""
        B, _, H, W = images.shape
        if (self.config.input_width, self.config.input_height) != (W, H):
            expected = f"{self.config.input_width} x {self.config.input_height}"
            raise InputError(f"images are {W} x {H} pixels; this estimator takes {expected}, resize them")
        maps = self.backbone.maps(images.contiguous(memory_format=torch.channels_last))  # (B, D, H / 32, W / 32)
        mean = feature = maps.mean(dim=(2, 3))
        if self.squeeze is not None:
            feature = torch.cat((mean, self.squeeze(maps).flatten(1)), dim=1)
        codes = self.hands(feature).view(B, 2, 21, 3) * feature.new_tensor(_CODE_SPREAD)
        return Estimate(codes, self.presence(feature), self.object(mean))

    def loss(self, batch: Batch, generator: torch.Generator | None = None) -> tuple[Tensor, Parts]:
        """L1 of pixels and depth codes of known joints, presence, and the object's distance and contrast.

        Args:
            batch: images (B, 3, H, W); codes (B, 2, 21, 3) with known (B, 2, 21, 3) bool; present (B, 2) bool; object (B,)
                with -1 = not named. generator: not used.
        """
        out = self(batch["images"])
        error, known = (out.codes - batch["codes"]).abs(), batch["known"]
        pixel, depth = masked_mean(error[..., :2], known[..., :2]), masked_mean(error[..., 2:], known[..., 2:])
        present = batch["present"]
        presence = masked_mean(
            F.binary_cross_entropy_with_logits(out.presence, present.to(out.presence.dtype), reduction="none"),
            torch.ones_like(present),
        )
        distance, contrast, accuracy = self.labels.loss(out.objects, batch["object"])
        config = self.config
        total = config.pixel_weight * pixel + config.depth_weight * depth + config.presence_weight * presence
        total = total + config.object_weight * (distance + contrast)
        parts = {"pixel": pixel, "depth": depth, "presence": presence, "distance": distance, "contrast": contrast}
        parts["object_accuracy"] = accuracy
        return total, {name: value.detach() for name, value in parts.items()}


@dataclass(frozen=True)
class ClipObjectConfig:
    """Sizes of E^PO; the defaults are the paper's."""

    layers: int = 2
    width: int = WIDTH
    heads: int = 8
    feedforward: int = 2048
    label_dim: int = 512
    objects: tuple[str, ...] = ()
    temperature: float = 0.07
    noise: float = 0.01

    def __post_init__(self) -> None:
        object.__setattr__(self, "objects", tuple(self.objects))


class ClipObjectDetector(nn.Module):
    """E^PO: the object features of a clip's frames to one object.

    Example:
        >>> model = ClipObjectDetector(ClipObjectConfig(layers=1, width=32, heads=2, feedforward=64))
        >>> model(torch.zeros(2, 16, 32), torch.ones(2, 16, dtype=torch.bool)).shape
        torch.Size([2, 32])
    """

    def __init__(self, config: ClipObjectConfig) -> None:
        super().__init__()
        self.config = config
        W = config.width
        self.token = nn.Parameter(torch.randn(W))
        self.layers = nn.ModuleList(EncoderLayer(W, config.heads, config.feedforward) for _ in range(config.layers))
        self.labels = LabelTable(len(config.objects), config.label_dim, W, config.temperature)

    def set_objects(self, names: Sequence[str], features: Tensor) -> None:
        """Swap the object names: L names and their text features (L, label_dim)."""
        self.labels.set_features(features, names)
        self.config = replace(self.config, objects=tuple(names))

    def forward(self, objects: Tensor, frames: Tensor) -> Tensor:
        """objects (B, T, D) of E^I, frames (B, T) bool -> the clip's feature (B, D)."""
        B, T, W = objects.shape
        tokens = torch.cat((self.token.to(objects.dtype).expand(B, 1, W), objects), dim=1)
        position = sinusoidal_code(torch.arange(1 + T, device=objects.device), W).to(objects.dtype)
        visible = F.pad(frames, (1, 0), value=True)
        for layer in self.layers:
            tokens = layer(tokens, position, visible)
        return tokens[:, 0]

    @torch.no_grad()
    def detect(self, objects: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        """The nearest object name's row (B,) and its text feature (B, label_dim), which is what the A-block is given."""
        if not len(self.labels):
            raise InputError("this detector knows no object names; give it some with set_objects")
        row = self.labels.similarities(self(objects, frames)).argmax(-1)
        return row, self.labels.features[row]

    def loss(self, batch: Batch, generator: torch.Generator | None = None) -> tuple[Tensor, Parts]:
        """Distance to the object's text feature and contrast; in training the input is disturbed (sigma 0.01).

        Args:
            batch: objects (B, T, D) of E^I, frames (B, T) bool, object (B,) with -1 = not named.
            generator: explicit random source.
        """
        objects = batch["objects"]
        if self.training and self.config.noise:
            noise = torch.randn(objects.shape, generator=generator).to(objects)
            objects = objects + self.config.noise * noise
        distance, contrast, accuracy = self.labels.loss(self(objects, batch["frames"]), batch["object"])
        parts = {"distance": distance, "contrast": contrast, "accuracy": accuracy}
        return distance + contrast, {name: value.detach() for name, value in parts.items()}

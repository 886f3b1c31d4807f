"""The network whose features an FID is measured on: an action recogniser over whole pose sequences.

Source: G-HTT, arXiv 2311.17366 (evaluation: "last-layer features of a pretrained transformer action recogniser"). It is
the encoder of G-HTT's transformer with one trainable token in front of the frames; the token's output after the last
LayerNorm is the feature. Trained to name the action: distance to the projected text feature of the label plus
cross-entropy over the cosines to all labels, divided by 0.07, weighted 1:1.

Where this departs from the source, and why:
1. Entries that a recording does not know are replaced by a learned placeholder (the source has complete 3D hands), and
   the motion of frame 0, which has nothing to move from, is always one of them.
2. The frame token is the P-block's (joints, palm motions, inter-hand transform through three linear maps), since the
   source says no more than "frames as the 153-d vectors".

FID values of two different networks cannot be compared: store `weights_hash` with each.
Letters: B batch, T frames, D width, L labels. Masks are True where known or valid.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from palmist.errors import InputError
from palmist.models.global_batch import masked_mean
from palmist.models.label_table import unit_features
from palmist.models.layers import Batch, EncoderLayer, Linear, Parts, sinusoidal_code
from palmist.pose_vector import DIM, INTER_HAND, LEFT_JOINTS, LEFT_MOTION, RIGHT_JOINTS, RIGHT_MOTION, THUMB_CMC_SLOTS

_JOINTS = slice(LEFT_JOINTS.start, RIGHT_JOINTS.stop)
_MOTIONS = slice(LEFT_MOTION.start, RIGHT_MOTION.stop)


@dataclass(frozen=True)
class FeatureNetworkConfig:
    """Size and training options; the defaults are the paper's. `labels` names the rows of the label table."""

    layers: int = 9
    width: int = 512
    heads: int = 8
    feedforward: int = 2048
    label_dim: int = 512
    labels: tuple[str, ...] = ()
    max_frames: int = 256
    drop_thumb_cmc: bool = True
    temperature: float = 0.07
    distance_weight: float = 1.0
    contrast_weight: float = 1.0

    def __post_init__(self) -> None:
        """Check the sizes; a list of labels becomes a tuple."""
        object.__setattr__(self, "labels", tuple(self.labels))
        if self.width % 4:
            raise InputError(f"feature network width is {self.width}; the frame token needs a multiple of 4")

    def to_dict(self) -> dict[str, Any]:
        """JSON types only."""
        return {**asdict(self), "labels": list(self.labels)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> FeatureNetworkConfig:
        """The inverse of `to_dict`; unknown keys are errors."""
        try:
            return cls(**values)
        except TypeError as error:
            raise InputError(f"the feature network's configuration does not fit this version: {error}") from error


PRESETS: dict[str, FeatureNetworkConfig] = {
    "paper": FeatureNetworkConfig(),
    "small": FeatureNetworkConfig(layers=4, width=128, heads=4, feedforward=512, drop_thumb_cmc=False),
}


class FeatureNetwork(nn.Module):
    """Pose sequences to features, and to the similarity with every label.

    Example:
        >>> network = FeatureNetwork(FeatureNetworkConfig(layers=1, width=32, heads=2, feedforward=64))
        >>> frames = torch.zeros(2, 40, 153)
        >>> known, mask = torch.ones_like(frames, dtype=torch.bool), torch.ones(2, 40, dtype=torch.bool)
        >>> network.features(frames, known, mask).shape
        torch.Size([2, 32])
    """

    def __init__(self, config: FeatureNetworkConfig) -> None:
        super().__init__()
        self.config = config
        W = config.width
        self.placeholder = nn.Parameter(torch.randn(DIM))
        self.summary = nn.Parameter(torch.randn(W))
        self.joints_in = Linear(126, W // 2)
        self.motions_in = Linear(18, W // 4)
        self.inter_hand_in = Linear(9, W // 4)
        self.layers = nn.ModuleList(EncoderLayer(W, config.heads, config.feedforward) for _ in range(config.layers))
        self.norm = nn.LayerNorm(W)
        self.label_in = Linear(config.label_dim, W)
        for linear in (self.joints_in, self.motions_in, self.inter_hand_in, self.label_in):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)
        self.register_buffer("label_table", torch.zeros(len(config.labels), config.label_dim))
        self.label_table: Tensor
        usable = torch.ones(DIM, dtype=torch.bool)
        if config.drop_thumb_cmc:
            for part in THUMB_CMC_SLOTS:
                usable[part] = False
        self.register_buffer("usable", usable, persistent=False)
        self.usable: Tensor

    def set_labels(self, names: Sequence[str], features: Tensor) -> None:
        """Give the label table: L names and their text features (L, label_dim), normalised to length 1 here.

        Raises InputError for a wrong number of rows or channels.
        """
        self.label_table = unit_features(features, (len(names), self.config.label_dim), self.label_in.weight)
        self.config = replace(self.config, labels=tuple(names))

    def features(self, frames: Tensor, known: Tensor, mask: Tensor) -> Tensor:
        """Features of pose sequences.

        Args:
            frames: (B, T, 153) pose vectors (`palmist.pose_vector`), T at most `max_frames`.
            known: (B, T, 153) bool; the values of unknown entries are never looked at. When generated and true
                sequences are compared, both must be given the true recording's mask, or the FID measures masks.
            mask: (B, T) bool; other frames are padding.

        Returns:
            (B, D).

        Raises:
            InputError: wrong shapes or too many frames.
        """
        B, T = mask.shape
        if frames.shape != (B, T, DIM) or known.shape != frames.shape:
            raise InputError(f"frames {tuple(frames.shape)} and known {tuple(known.shape)} were given; expected {(B, T, DIM)}")
        if self.config.max_frames < T:
            raise InputError(
                f"a sequence has {T} frames; this network takes up to {self.config.max_frames}; cut it into windows"
            )
        movable = torch.ones_like(known)
        movable[:, :1, _MOTIONS] = False  # departure 1
        usable = known & self.usable & movable & mask.unsqueeze(-1)
        vector = torch.where(usable, frames, self.placeholder.to(frames.dtype))
        tokens = torch.cat(
            (
                self.joints_in(vector[..., _JOINTS]),
                self.motions_in(vector[..., _MOTIONS]),
                self.inter_hand_in(vector[..., INTER_HAND]),
            ),
            dim=-1,
        )  # (B, T, D)
        tokens = torch.cat((self.summary.to(tokens.dtype).expand(B, 1, -1), tokens), dim=1)  # (B, 1 + T, D)
        position = sinusoidal_code(torch.arange(1 + T, device=tokens.device), tokens.shape[-1]).to(tokens.dtype)
        visible = F.pad(mask, (1, 0), value=True)
        for layer in self.layers:
            tokens = layer(tokens, position, visible)
        return self.norm(tokens[:, 0])

    def similarities(self, features: Tensor) -> Tensor:
        """Cosine between features (B, D) and every projected label, (B, L); the largest names the action."""
        return F.normalize(features, dim=-1) @ F.normalize(self.label_in(self.label_table), dim=-1).T

    def loss(self, batch: Batch, generator: torch.Generator | None = None) -> tuple[Tensor, Parts]:
        """Distance to the true label's projected feature plus contrastive cross-entropy; nothing is random.

        Args:
            batch: frames (B, T, 153), known (B, T, 153) bool, mask (B, T) bool, label (B,) long with -1 = unlabelled.
            generator: not used.

        Returns:
            The total, and its parts with the accuracy.
        """
        if not self.config.labels:
            raise InputError("the feature network has no labels to learn; call set_labels first")
        label = batch["label"]
        labelled, index = label >= 0, label.clamp_min(0)
        feature = self.features(batch["frames"], batch["known"], batch["mask"])
        with torch.autocast(feature.device.type, enabled=False):
            feature = feature.float()
            target = self.label_in(self.label_table)[index].float()
            distance = masked_mean((feature - target).abs(), labelled.unsqueeze(-1))
            scores = self.similarities(feature).float() / self.config.temperature
            contrast = masked_mean(F.cross_entropy(scores, index, reduction="none"), labelled)
            accuracy = masked_mean((scores.argmax(dim=-1) == label).float(), labelled)
            total = self.config.distance_weight * distance + self.config.contrast_weight * contrast
        parts = {"distance": distance, "contrast": contrast, "accuracy": accuracy}
        return total, {name: value.detach() for name, value in parts.items()}


def weights_hash(network: nn.Module) -> str:
    """Name of a network's weights: first 12 hex digits of the SHA-256 over its tensors, sorted by name.

    Label tensors are left out, since features do not depend on them. Equal on every device.

    Example:
        >>> weights_hash(network)
        '3f0c9a...'
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        if name.startswith(("label_in.", "label_table")):
            continue
        array = tensor.detach().cpu().contiguous().numpy()
        digest.update(f"{name} {array.dtype.str} {array.shape} ".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()[:12]

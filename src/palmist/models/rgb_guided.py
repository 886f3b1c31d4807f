"""Colour guided by the skeleton: five body parts at five moments as one picture, weighted by what the body expert sees.

Paper: "MMNet: A Model-Based Multimodal Network for Human Action Recognition in RGB-D Videos" (Yu et al., TPAMI 2022), which
BHaRNet (arXiv 2503.14960) names as the model of its RGB branch without details.

MMNet as published: a clip is split into 6 intervals, whose 5 inner points are its frames (training: random interval). Around
head, right and left hand, right and left ankle 96 x 96 pixels are cut; classes of two persons get 48-pixel-wide crops of each.
5 rows (parts) x 5 columns (times) make 480 x 480, resized to 225 x 225. A frozen skeleton network guides: per joint and time
the L2 norm over channels, brought to 0..255 by the batch's least and greatest value; of the five joints of the more energetic
person the mean of the 15 largest times, divided by 127, multiplies the row. A ResNet-18 (ImageNet) reads the picture; its
scores are added to those of the skeletons.

In reading order: which joint a row shows (`ROW_JOINTS`), the collage (`moments`, `cut_tiles`, `arrange`), the guidance
(`joint_energy`, `energy_range`, `guidance_weights`), and the network (`RGBGuided`) with late and feature-level fusion.

Numbered deviations and choices, and why:

1. Two persons share a tile where two are seen in the clip: which class it is of is not known when it has to be recognised.
2. Each crop is resized to its tile by itself, so crops may differ in size: `crop_shoulders` follows the person's distance
   from the camera; `crop_pixels` = 96 is the paper's.
3. "Random interval" is read as: the six intervals divide a random stretch of at least half the clip.
4. What lies outside the picture is black; a part that is not seen is blank (0 after the colours are normalised), and a row
   without any part has weight 0.
5. The guide is the body expert of BHaRNet, whose last block has fewer times than MMNet's ST-GCN: `guide_top` of them, at most
   those that were seen.
6. The least and greatest energy are the batch's in training, and their running means in evaluation: a recording's scores
   do not depend on its neighbours.
7. Upper bodies show elbows in place of ankles. Hand rows are guided by the hand expert where no body is seen. A row with
   pictures and no guide has weight 1, the middle of the scale.
8. Fusion of features (MMNet adds scores only): the pooled vectors of the experts and of the picture, each normalised, side by
   side into one classifier; the picture keeps a classifier of its own.

Letters: B batch, M persons, T frames of a clip, P parts (5), N moments (5), S side of a tile, V joints, D width, L labels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from palmist.errors import InputError
from palmist.models.bharnet import PRESETS as SKELETON_PRESETS
from palmist.models.bharnet import BHaRNet, BHaRNetConfig, Features, Insight, Scores, fuse
from palmist.models.global_batch import masked_mean
from palmist.models.layers import Batch, Parts
from palmist.models.resnet import ResNet18

__all__ = [
    "MOMENTS", "PARTS", "PRESETS", "ROW_JOINTS", "RGBGuided", "RGBGuidedConfig", "arrange", "collage", "cut_tiles",
    "energy_range", "guidance_weights", "joint_energy", "moments",
]  # fmt: skip

PARTS = MOMENTS = 5
#: Layout -> joint of each row: head, right hand, left hand, then right and left ankle, or elbow where legs are not recorded.
#: Graphs of the skeleton networks (which guide) and layouts of points in the picture (which are cut around).
ROW_JOINTS: dict[str, tuple[int, ...]] = {
    "kinect25": (3, 11, 7, 18, 14),
    "kinect20": (3, 11, 7, 18, 14),
    "coco18": (0, 4, 7, 10, 13),
    "upper7": (6, 5, 4, 3, 2),
    "mediapipe25": (0, 16, 15, 14, 13),
    "openpose8": (0, 3, 6, 2, 5),  # the neck for the head, which it lacks
}
#: Row -> hand (0 left, 1 right).
HAND_ROWS = {1: 1, 2: 0}
_COLOUR_MEAN, _COLOUR_SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet
_UNIT = 127.0  # what an energy of 0..255 is divided by


# --------------------------------------------------------------------------------------------------------------------
# The collage


def moments(frames: int, generator: torch.Generator | None = None) -> np.ndarray:
    """The 5 frames of a clip, (5,) int64, never decreasing: inner points of 6 equal intervals of the whole clip, or with a
    generator of a random stretch of at least half of it.

    >>> moments(25)
    array([ 4,  8, 12, 16, 20])
    """
    if frames < 1:
        raise InputError(f"the clip has {frames} frames; expected at least one")
    start, share = 0.0, 1.0
    if generator is not None:
        length, place = torch.rand(2, generator=generator).tolist()
        share = 0.5 + 0.5 * length
        start = place * (1 - share)
    inner = np.arange(1, MOMENTS + 1) / (MOMENTS + 1)
    return np.rint((start + share * inner) * (frames - 1)).astype(np.int64)


def cut_tiles(
    frames: np.ndarray, points: np.ndarray, known: np.ndarray, side: float, tile: int
) -> tuple[np.ndarray, np.ndarray]:
    """Square crops around the five parts of one or two persons, each brought to one tile.

    Two persons who are both seen somewhere in the clip share each tile, left and right, with crops of half the width.

    Args:
        frames: (T, H, W, 3) uint8. points: (T, M, 5, 2) x, y in pixels, the centre of the first pixel is (0, 0), M = 1 or 2;
            known: (T, M, 5) bool. side: of a crop in pixels. tile: S.

    Returns:
        tiles (T, 5, S, S, 3) uint8 and which show something (T, 5) bool. Blank where the part is not known or the crop does
        not meet the picture.
    """
    T = len(frames)
    if frames.ndim != 4 or frames.shape[3] != 3 or frames.dtype != np.uint8:
        raise InputError(f"frames have shape {frames.shape}, {frames.dtype}; expected (frames, height, width, 3) of uint8")
    if points.shape[:1] + points.shape[2:] != (T, PARTS, 2) or points.shape[1] not in (1, 2):
        raise InputError(f"points have shape {points.shape}; expected ({T} frames, 1 or 2 persons, {PARTS} parts, 2)")
    if known.shape != points.shape[:-1]:
        raise InputError(f"known has shape {known.shape}; expected {points.shape[:-1]}, one flag per point")
    if not (math.isfinite(side) and side >= 2):
        raise InputError(f"the side of a crop is {side:.3g} pixels; expected 2 or more")
    known = known & np.isfinite(points).all(-1)
    persons = np.flatnonzero(known.any((0, 2))).tolist()
    height = round(side)
    widths = (height,) if len(persons) < 2 else (height // 2, height // 2)
    edges = (0, tile) if len(persons) < 2 else (0, tile // 2, tile)
    tiles, seen = np.zeros((T, PARTS, tile, tile, 3), np.uint8), np.zeros((T, PARTS), bool)
    for place, person in enumerate(persons):
        left, right = edges[place : place + 2]
        for t, part in np.argwhere(known[:, person]).tolist():
            found = _crop(frames[t], points[t, person, part], widths[place], height)
            if found is not None:
                tiles[t, part, :, left:right] = _resize(found, right - left, tile)
                seen[t, part] = True
    return tiles, seen


def _crop(picture: np.ndarray, point: np.ndarray, width: int, height: int) -> np.ndarray | None:
    """(height, width, 3) around a point, black beyond the edges; None where nothing of the picture is in it."""
    H, W, _ = picture.shape
    centre = np.clip(point, -1e6, 1e6)
    x, y = math.ceil(float(centre[0]) - width / 2), math.ceil(float(centre[1]) - height / 2)
    left, right, top, bottom = max(x, 0), min(x + width, W), max(y, 0), min(y + height, H)
    if left >= right or top >= bottom:
        return None
    window = np.zeros((height, width, 3), np.uint8)
    window[top - y : bottom - y, left - x : right - x] = picture[top:bottom, left:right]
    return window


def _resize(window: np.ndarray, width: int, height: int) -> np.ndarray:
    import cv2

    shrinks = width <= window.shape[1] and height <= window.shape[0]
    return np.asarray(cv2.resize(window, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR))


def arrange(tiles: np.ndarray) -> np.ndarray:
    """Tiles (5 moments, 5 parts, S, S, 3) as one picture (5 S, 5 S, 3): a row per part, a column per moment."""
    side = PARTS * tiles.shape[2]
    return np.ascontiguousarray(tiles.transpose(1, 2, 0, 3, 4)).reshape(side, MOMENTS * tiles.shape[3], 3)


def collage(
    frames: np.ndarray,
    points: np.ndarray,
    known: np.ndarray,
    side: float,
    tile: int = 45,
    generator: torch.Generator | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The picture of a clip, (5 S, 5 S, 3) uint8, and which of its tiles show something, (5 parts, 5 moments) bool.

    See `moments` for the frames and `cut_tiles` for the arguments. The published size is side 96, tile 45.
    """
    chosen = moments(len(frames), generator)
    tiles, seen = cut_tiles(frames[chosen], points[chosen], known[chosen], side, tile)
    return arrange(tiles), seen.T


# --------------------------------------------------------------------------------------------------------------------
# The guidance


def joint_energy(features: Features) -> Tensor:
    """L2 norm over channels of features (B, M, D, T, V) -> (B, M, T, V)."""
    return torch.linalg.vector_norm(features.values, dim=2)


def energy_range(energy: Tensor, seen: Tensor) -> Tensor | None:
    """(2,) least and greatest energy (B, M, T, V) over what was seen (B, M, T) in the batch; None where nothing was."""
    values = energy[seen]
    return torch.stack((values.min(), values.max())) if len(values) else None


def guidance_weights(energy: Tensor, seen: Tensor, joints: Sequence[int], limits: Tensor, top: int = 15) -> Tensor:
    """How much each row counts: MMNet's recipe, see the head of this file.

    Args:
        energy: (B, M, T, V), seen (B, M, T) bool. joints: one per row. limits: (2,) energies that become 0 and 255.

    Returns:
        (B, rows) from 0 to 2.008 for energies within the limits; 0 for a sample in which nobody was seen.
    """
    low, high = limits.unbind()
    level = (energy - low) / (high - low).clamp_min(1e-6) * 255.0
    level = torch.where(seen.unsqueeze(-1), level.clamp(0.0, 255.0), torch.zeros_like(level))
    person = level.sum((2, 3)).argmax(1)  # the more energetic one
    rows = torch.arange(len(level), device=level.device)
    own, count = level[rows, person][:, :, list(joints)], seen[rows, person].sum(1)  # (B, T, rows), (B,)
    ranked = own.sort(dim=1, descending=True).values
    # Times that were not seen are 0, so they come last.
    taken = count.clamp(max=top)
    first = torch.arange(own.shape[1], device=level.device) < taken.unsqueeze(1)
    return (ranked * first.unsqueeze(-1)).sum(1) / taken.clamp_min(1).unsqueeze(1) / _UNIT


# --------------------------------------------------------------------------------------------------------------------
# The network


@dataclass(frozen=True)
class RGBGuidedConfig:
    """Sizes and mechanisms; the defaults are MMNet's with BHaRNet's experts on Kinect bodies.

    skeleton: of the guide, whose labels are the network's. width: channels of the ResNet-18 after its first layer. crop_pixels:
    side of a crop; None: `crop_shoulders` times the shoulders' width in the picture. guided: False lets every row count alike.
    fusion: "late" (sum of scores) or "feature". train_skeleton: the experts learn on; else they are frozen.
    rgb_weight: of the picture's own classifier in the loss, beside the joint one.
    """

    skeleton: BHaRNetConfig = field(default_factory=BHaRNetConfig)
    width: int = 64
    tile: int = 45
    crop_pixels: float | None = 96.0
    crop_shoulders: float = 0.7
    guided: bool = True
    guide_top: int = 15
    fusion: str = "late"
    train_skeleton: bool = False
    rgb_weight: float = 1.0
    dropout: float = 0.0
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        if self.fusion not in ("late", "feature"):
            raise InputError(f"fusion is {self.fusion!r}; expected late (sum of scores) or feature")
        for name in ("width", "tile", "guide_top"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; expected 1 or more")
        if self.skeleton.body_graph not in ROW_JOINTS:
            raise InputError(
                f"there are no rows for the body graph '{self.skeleton.body_graph}'; expected one of {', '.join(ROW_JOINTS)}, "
                "or a new entry in palmist.models.rgb_guided.ROW_JOINTS"
            )

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, in the order of the scores."""
        return self.skeleton.labels


PRESETS: dict[str, RGBGuidedConfig] = {
    "paper": RGBGuidedConfig(),
    "small": RGBGuidedConfig(
        skeleton=SKELETON_PRESETS["small"], width=16, tile=32, crop_pixels=None, guide_top=2, dropout=0.2, label_smoothing=0.1
    ),
}


class RGBGuided(nn.Module):
    """A collage and the skeletons of the same clip to an action.

    Example:
        >>> from palmist.models.graph_backbones import TrunkConfig
        >>> guide = BHaRNetConfig(body_graph="upper7", trunk=TrunkConfig(width=16, blocks=2, widen=()), labels=("wave", "no"))
        >>> model = RGBGuided(RGBGuidedConfig(guide, width=8, tile=16)).eval()
        >>> picture, seen = torch.zeros(1, 80, 80, 3, dtype=torch.uint8), torch.ones(1, 5, 5, dtype=torch.bool)
        >>> body, hands = torch.zeros(1, 1, 12, 7, 3), torch.zeros(1, 1, 2, 12, 21, 3)
        >>> known = torch.ones(1, 1, 12, 7, dtype=torch.bool), torch.ones(1, 1, 2, 12, 21, dtype=torch.bool)
        >>> model.recognise(picture, seen, body, known[0], hands, known[1]).shape
        torch.Size([1, 2])
    """

    limits: Tensor
    limits_known: Tensor
    colour_mean: Tensor
    colour_spread: Tensor

    def __init__(self, config: RGBGuidedConfig) -> None:
        super().__init__()
        self.config = config
        labels = len(config.labels)
        self.skeleton = BHaRNet(config.skeleton)
        self.backbone = ResNet18(config.width)
        self.drop = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(self.backbone.width, labels)
        self.norm = nn.ModuleDict()
        self.joint_classifier: nn.Linear | None = None
        if config.fusion == "feature":
            widths = {name: config.skeleton.trunk_of(name).out_width for name in config.skeleton.experts}
            widths["rgb"] = self.backbone.width
            self.norm = nn.ModuleDict({name: nn.LayerNorm(width) for name, width in widths.items()})
            self.joint_classifier = nn.Linear(sum(widths.values()), labels)
        # Running means of the body's and the hands' least and greatest energy, and whether there are any yet.
        self.register_buffer("limits", torch.tensor([[0.0, 1.0], [0.0, 1.0]]))
        self.register_buffer("limits_known", torch.zeros(2, dtype=torch.bool))
        self.register_buffer("colour_mean", torch.tensor(_COLOUR_MEAN), persistent=False)
        self.register_buffer("colour_spread", torch.tensor(_COLOUR_SPREAD), persistent=False)
        if not config.train_skeleton:
            self.skeleton.requires_grad_(False)

    def train(self, mode: bool = True) -> Self:
        """A frozen skeleton stays in evaluation mode."""
        super().train(mode)
        if not self.config.train_skeleton:
            self.skeleton.eval()
        return self

    def forward(
        self, collage: Tensor, seen: Tensor, body: Tensor, body_known: Tensor, hands: Tensor, hands_known: Tensor
    ) -> Scores:
        """Scores of the picture ("rgb"), of the skeleton's heads, and with fusion of features of both ("joint").

        Args:
            collage: (B, 5 S, 5 S, 3) uint8, seen (B, 5 parts, 5 moments) bool. The others as in `BHaRNet.forward`.
        """
        insight = self.skeleton.look(body, body_known, hands, hands_known)
        there = seen.any((1, 2))
        rgb = self.backbone(self.picture(collage, seen, self.row_weights(insight, seen)))  # (B, 8 width)
        rgb = torch.where(there.unsqueeze(1), rgb, torch.zeros_like(rgb))
        logits = {**insight.scores.logits, "rgb": self.classifier(self.drop(rgb))}
        evidence = {**insight.scores.evidence, "rgb": there}
        if self.joint_classifier is not None:
            pooled = {**insight.pooled, "rgb": rgb}
            features = torch.cat([norm(pooled[name]) for name, norm in self.norm.items()], dim=-1)
            logits["joint"] = self.joint_classifier(self.drop(features))
            evidence["joint"] = torch.stack([insight.scores.evidence[name] for name in insight.pooled] + [there]).any(0)
        return Scores(logits, evidence)

    def row_weights(self, insight: Insight, seen: Tensor) -> Tensor:
        """What each row of the picture is multiplied by, (B, 5); 0 where nothing of it is seen. In training it moves the
        running limits."""
        rows = seen.any(2)
        weights = rows.to(torch.float32)
        if not self.config.guided:
            return weights
        features = insight.features
        hand, body = features.get("hand"), features.get("body", features.get("unified"))
        if hand is not None:
            energy, visible = joint_energy(hand).detach(), hand.seen  # instances: left, right, left, right, ...
            limits = self._limits(1, energy, visible)
            for row, side in HAND_ROWS.items():
                energy_of, visible_of = energy[:, side::2].mean(-1, keepdim=True), visible[:, side::2]
                own = guidance_weights(energy_of, visible_of, (0,), limits, self.config.guide_top)
                weights[:, row] = torch.where(visible_of.any((1, 2)), own[:, 0], weights[:, row])
        if body is not None:
            energy, visible = joint_energy(body).detach(), body.seen
            limits = self._limits(0, energy, visible)
            joints = ROW_JOINTS[self.config.skeleton.body_graph]
            own = guidance_weights(energy, visible, joints, limits, self.config.guide_top)
            weights = torch.where(visible.any((1, 2)).unsqueeze(1), own, weights)
        return weights * rows

    @torch.no_grad()
    def _limits(self, which: int, energy: Tensor, visible: Tensor) -> Tensor:
        """The limits (2,) of this batch; in evaluation, or where nobody is seen, the running ones."""
        known = bool(self.limits_known[which])
        if known and not self.training:
            return self.limits[which]
        found = energy_range(energy, visible)
        if found is None:
            return self.limits[which]
        if self.training:
            self.limits[which] = found if not known else self.limits[which].lerp(found, 0.1)
            self.limits_known[which] = True
        return found

    def picture(self, collage: Tensor, seen: Tensor, weights: Tensor) -> Tensor:
        """The normalised picture (B, 3, 5 S, 5 S), each row times its weight (B, 5), blank tiles 0."""
        side = collage.shape[1]
        if side % PARTS or collage.shape[1:] != (side, side, 3):
            raise InputError(f"the collage has shape {tuple(collage.shape)}; expected (batch, 5 tiles, 5 tiles, 3)")
        colours = (collage.to(torch.float32) / 255.0 - self.colour_mean) / self.colour_spread
        factor = weights.unsqueeze(2) * seen  # (B, 5 parts, 5 moments)
        factor = factor.repeat_interleave(side // PARTS, 1).repeat_interleave(side // MOMENTS, 2)
        return (colours * factor.unsqueeze(-1)).permute(0, 3, 1, 2)

    def opinion(self, scores: Scores, candidates: Tensor | None = None) -> Tensor:
        """Log scores (B, L) of the fusion: skeleton and picture by the skeleton's rule, or the joint classifier's."""
        if self.joint_classifier is not None:
            chosen = Scores({"joint": scores.logits["joint"]}, {"joint": scores.evidence["joint"]})
            return fuse(chosen, "logit_sum", candidates)
        return fuse(scores, self.config.skeleton.fusion, candidates)

    @torch.no_grad()
    def recognise(
        self,
        collage: Tensor,
        seen: Tensor,
        body: Tensor,
        body_known: Tensor,
        hands: Tensor,
        hands_known: Tensor,
        candidates: Tensor | None = None,
    ) -> Tensor:
        """Label probabilities (B, L); candidates: (L,) or (B, L) bool, labels to choose from."""
        scores = self(collage, seen, body, body_known, hands, hands_known)
        return self.opinion(scores, candidates).softmax(-1)

    def loss(self, batch: Batch, generator: torch.Generator | None = None) -> tuple[Tensor, Parts]:
        """Cross-entropy of the picture's classifier; with fusion of features that of the joint one, plus rgb_weight times it;
        with train_skeleton BHaRNet's own loss in addition.

        Args:
            batch: collage, seen, body, body_known, hands, hands_known as in `forward`; label (B,), -1 does not count.
        """
        names = ("collage", "seen", "body", "body_known", "hands", "hands_known")
        scores = self(*(batch[name] for name in names))
        label = batch["label"]
        parts = {"rgb": self._entropy(scores, "rgb", label)}
        total = parts["rgb"]
        if self.joint_classifier is not None:
            parts["joint"] = self._entropy(scores, "joint", label)
            total = parts["joint"] + self.config.rgb_weight * total
        if self.config.train_skeleton:
            heads = [name for name in scores.logits if name not in ("rgb", "joint")]
            own = Scores({name: scores.logits[name] for name in heads}, {name: scores.evidence[name] for name in heads})
            parts["skeleton"], _ = self.skeleton.loss_of(own, batch)
            total = total + parts["skeleton"]
        for name, guess in (("accuracy_rgb", scores.logits["rgb"]), ("accuracy", self.opinion(scores))):
            parts[name] = masked_mean((guess.argmax(-1) == label).to(guess.dtype), label >= 0)
        return total, {name: value.detach() for name, value in parts.items()}

    def _entropy(self, scores: Scores, head: str, label: Tensor) -> Tensor:
        """Of the samples that have a label and show something."""
        smooth = self.config.label_smoothing if self.training else 0.0
        each = F.cross_entropy(scores.logits[head], label.clamp_min(0), reduction="none", label_smoothing=smooth)
        return masked_mean(each, (label >= 0) & scores.evidence[head])


class Heads(NamedTuple):
    """Probabilities (N, L) of the picture alone, the skeleton alone, and the fusion."""

    rgb: Tensor
    skeleton: Tensor
    fused: Tensor


def heads(model: RGBGuided, scores: Scores, candidates: Tensor | None = None) -> Heads:
    """Every part's probabilities, for tables and for `palmist.models.bharnet.ensemble` with further networks."""

    def of(names: Sequence[str], rule: str) -> Tensor:
        part = Scores({name: scores.logits[name] for name in names}, {name: scores.evidence[name] for name in names})
        return fuse(part, rule, candidates).softmax(-1)

    own = [name for name in scores.logits if name not in ("rgb", "joint")]
    skeleton = of(own, model.config.skeleton.fusion)
    return Heads(of(["rgb"], "logit_sum"), skeleton, model.opinion(scores, candidates).softmax(-1))

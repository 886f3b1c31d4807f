"""100DOH's hand-object detector: Faster R-CNN on ResNet-101 with contact, offset and side of every hand, for local weights.

Paper: "Understanding Human Hands in Contact at Internet Scale" (Shan et al., CVPR 2020); the detector is Faster R-CNN (arXiv
1506.01497) on ResNet-101 (arXiv 1512.03385). The parameter names are those of the authors' repository (hand_object_detector)
and of the code that it builds on (faster-rcnn.pytorch), so that their checkpoints load. Weights are never shipped.

Known from public code: names, heads, pixel means, sizes, box codes, thresholds, padding of the boxes, anchors of scales
8, 16, 32, 64 (some descriptions of the code it builds on say 4, 8, 16, 32, its choice for COCO: `scales`). Not tried here for
lack of the weights themselves: that the numbers that come out are those of the authors' program.

1. Inference only: no losses, no sampling of training boxes.
2. An overlap of exactly the threshold is not suppressed (the public CPU and GPU code differ in this).
3. Small proposals are kept; the public settings name a least size, and not every version of the public code uses it.
4. The public code pads boxes for contact and offset by 0.3 of their size and then limits x1 by the picture's height and y1 by
   its width. The weights were trained so; `mixed_up_sides` does the same.

Letters: C channels, H, W cells of the feature map (16 pixels each), N proposals, A anchors per cell (12).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from palmist.errors import InputError
from palmist.files.weights import named_tensors, read_plain
from palmist.models.box_layers import clip_boxes, decode_boxes, grid_anchors, roi_align, suppress
from palmist.perception.detection import check_frame
from palmist.perception.hand_object_rows import THRESHOLD, from_rows
from palmist.perception.objects import CONTACTS, HandObjects

__all__ = ["HandObjectNetwork", "NetworkConfig", "NetworkHandObjects", "load_network"]

_PIXEL_MEANS = (102.9801, 115.9465, 122.7717)  # blue, green, red
_CODE_SCALES = (0.1, 0.1, 0.2, 0.2)  # of the class boxes' codes
_OBJECT, _HAND = 1, 2  # classes; 0 is background
_CLASSES = 3


@dataclass(frozen=True)
class NetworkConfig:
    """blocks per stage, width: of the first stage (x 4 with every block's expansion). short_side, long_side: pixels that a
    picture is scaled to, at most. proposals: kept before and after suppression. padding: for contact and offset."""

    blocks: tuple[int, int, int, int] = (3, 4, 23, 3)
    width: int = 64
    proposal_width: int = 512
    contact_width: int = 32
    scales: tuple[float, ...] = (8, 16, 32, 64)
    ratios: tuple[float, ...] = (0.5, 1, 2)
    stride: int = 16
    bins: int = 7
    short_side: int = 600
    long_side: int = 1000
    proposals: tuple[int, int] = (6000, 300)
    proposal_overlap: float = 0.7
    overlap: float = 0.3
    padding: float = 0.3
    mixed_up_sides: bool = True


class Bottleneck(nn.Module):
    """1 x 1, 3 x 3 and 1 x 1 convolutions and a shortcut; the first one strides, as in Caffe's ResNet."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 1, stride, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Sequential | None = None
        if stride != 1 or inputs != 4 * width:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, 4 * width, 1, stride, bias=False), nn.BatchNorm2d(4 * width))

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, 4 width, H / stride, W / stride), rounded up."""
        shortcut = x if self.downsample is None else self.downsample(x)
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        result: Tensor = self.relu(self.bn3(self.conv3(y)) + shortcut)
        return result


def _stage(inputs: int, width: int, blocks: int, stride: int) -> nn.Sequential:
    first = Bottleneck(inputs, width, stride)
    return nn.Sequential(first, *(Bottleneck(4 * width, width, 1) for _ in range(blocks - 1)))


class ProposalNetwork(nn.Module):
    """Where something may be: (1, C, H, W) features to (N, 4) boxes in the picture's pixels."""

    def __init__(self, inputs: int, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        anchors = len(config.scales) * len(config.ratios)
        self.RPN_Conv = nn.Conv2d(inputs, config.proposal_width, 3, 1, 1)
        self.RPN_cls_score = nn.Conv2d(config.proposal_width, 2 * anchors, 1)
        self.RPN_bbox_pred = nn.Conv2d(config.proposal_width, 4 * anchors, 1)

    def forward(self, features: Tensor, height: int, width: int) -> Tensor:
        """height, width: of the picture, pixels."""
        config = self.config
        hidden = torch.relu(self.RPN_Conv(features))
        rows, columns = features.shape[2:]
        # The first A channels are the background's, the last A the anchors' own.
        something = self.RPN_cls_score(hidden).reshape(2, -1, rows, columns).softmax(0)[1]  # (A, H, W)
        scores = something.permute(1, 2, 0).reshape(-1)
        codes = self.RPN_bbox_pred(hidden)[0].permute(1, 2, 0).reshape(-1, 4)
        anchors = grid_anchors(rows, columns, config.stride, config.scales, config.ratios).to(codes)
        boxes = clip_boxes(decode_boxes(anchors, codes), height, width)
        before, after = config.proposals
        best = torch.argsort(scores, descending=True, stable=True)[:before]
        kept = suppress(boxes[best], scores[best], config.proposal_overlap, after)
        return boxes[best[kept]]


class HandHeads(nn.Module):
    """What is known of a hand: contact state, offset to its object, side. (N, D) features of the boxes."""

    def __init__(self, inputs: int, config: NetworkConfig) -> None:
        super().__init__()
        self.hand_contact_state_layer = nn.Sequential(
            nn.Linear(inputs, config.contact_width), nn.ReLU(), nn.Dropout(0.5), nn.Linear(config.contact_width, len(CONTACTS))
        )
        self.hand_dydx_layer = nn.Linear(inputs, 3)
        self.hand_lr_layer = nn.Linear(inputs, 1)

    def forward(self, features: Tensor, padded: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """State (N,), offset (N, 3): magnitude and a direction of length 0.1, side (N,) 0 left, 1 right. Contact and offset
        look at the padded boxes."""
        state = self.hand_contact_state_layer(padded).argmax(-1)
        offset = self.hand_dydx_layer(padded)
        direction = 0.1 * nn.functional.normalize(offset[:, 1:], dim=-1)
        side = self.hand_lr_layer(features)[:, 0] > 0  # sigmoid above one half
        return state, torch.cat([offset[:, :1], direction], -1), side


class HandObjectNetwork(nn.Module):
    """A picture to 100DOH's rows; see `rows`."""

    def __init__(self, config: NetworkConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or NetworkConfig()
        width, blocks = config.width, config.blocks
        # Numbers 0 to 6 are part of the names.
        self.RCNN_base = nn.Sequential(
            nn.Conv2d(3, width, 7, 2, 3, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 2, 0, ceil_mode=True),
            _stage(width, width, blocks[0], 1),
            _stage(4 * width, 2 * width, blocks[1], 2),
            _stage(8 * width, 4 * width, blocks[2], 2),
        )
        self.RCNN_rpn = ProposalNetwork(16 * width, config)
        self.RCNN_top = nn.Sequential(_stage(16 * width, 8 * width, blocks[3], 2))
        self.RCNN_cls_score = nn.Linear(32 * width, _CLASSES)
        self.RCNN_bbox_pred = nn.Linear(32 * width, 4 * _CLASSES)
        self.extension_layer = HandHeads(32 * width, config)

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """picture (1, 3, height, width), blue, green, red less their means. Returns scores (N, 3) of the classes, boxes
        (N, 3, 4) of each, in the picture's pixels, and (N, 5) state, magnitude, dx, dy, side."""
        config = self.config
        height, width = picture.shape[2:]
        features = self.RCNN_base(picture)
        proposals = self.RCNN_rpn(features, height, width)
        plain = self._pooled(features, proposals)
        state, offset, side = self.extension_layer(plain, self._pooled(features, _padded(proposals, height, width, config)))
        scores = self.RCNN_cls_score(plain).softmax(-1)
        codes = self.RCNN_bbox_pred(plain).reshape(-1, 4) * plain.new_tensor(_CODE_SCALES)
        boxes = clip_boxes(decode_boxes(proposals.repeat_interleave(_CLASSES, 0), codes), height, width)
        about = torch.cat([state[:, None].to(offset), offset, side[:, None].to(offset)], -1)
        return scores, boxes.reshape(-1, _CLASSES, 4), about

    def _pooled(self, features: Tensor, boxes: Tensor) -> Tensor:
        """(N, D) features of boxes (N, 4)."""
        cells = roi_align(features[0], boxes, self.config.bins, 1 / self.config.stride)
        pooled: Tensor = self.RCNN_top(cells).mean((2, 3))
        return pooled

    @torch.no_grad()
    def rows(self, frame: np.ndarray, hand_threshold: float, object_threshold: float) -> tuple[np.ndarray, np.ndarray]:
        """Hands (n, 10) and objects (m, 10), best first, of a frame (height, width, 3) uint8 RGB, in its pixels."""
        config = self.config
        height, width = frame.shape[:2]
        scale = config.short_side / min(height, width)
        if round(scale * max(height, width)) > config.long_side:
            scale = config.long_side / max(height, width)
        less = frame[..., ::-1].astype(np.float32) - np.array(_PIXEL_MEANS, np.float32)
        scaled = cv2.resize(less, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
        place = self.RCNN_cls_score.weight
        scores, boxes, about = self(torch.from_numpy(scaled).permute(2, 0, 1)[None].to(place))
        found = []
        for kind, threshold in ((_HAND, hand_threshold), (_OBJECT, object_threshold)):
            chosen = scores[:, kind] > threshold
            own_boxes, own_scores = boxes[chosen, kind], scores[chosen, kind]
            kept = suppress(own_boxes, own_scores, config.overlap)
            table = torch.cat([own_boxes / scale, own_scores[:, None], about[chosen]], -1)[kept]
            found.append(table.double().cpu().numpy())
        return found[0], found[1]


def _padded(boxes: Tensor, height: int, width: int, config: NetworkConfig) -> Tensor:
    """(N, 4) boxes grown on every side by a share of their size; see deviation 4 for their limits."""
    grow = config.padding * (boxes[:, 2:] - boxes[:, :2])
    limit = boxes.new_tensor([height, width] if config.mixed_up_sides else [width, height])
    return torch.cat([(boxes[:, :2] - grow).clamp(min=0), torch.minimum(boxes[:, 2:] + grow, limit)], -1)


_EXPECTED = "weights of 100DOH's detector (.pth or .safetensors)"


def load_network(path: str | Path, config: NetworkConfig | None = None) -> HandObjectNetwork:
    """The network with local weights: a checkpoint of the authors' program (.pth) or its tensors as .safetensors.

    Nothing in a file is run. Raises InputError when it is missing, damaged or holds more than tensors and settings, and when
    parameters are missing, unknown or of another shape (the sentence counts and names them).
    """
    path = Path(path)
    state = read_plain(path, _EXPECTED)
    if isinstance(state, dict) and isinstance(state.get("model"), dict):
        mode = state.get("pooling_mode", "align")
        if mode != "align":
            raise InputError(f"{path} was trained with pooling '{mode}'; expected 'align', which 100DOH's detector uses")
    network, given = HandObjectNetwork(config), named_tensors(state, path, _EXPECTED, ("model",))
    own = network.state_dict()
    groups = {
        "lacks": [name for name in own if name not in given and not name.endswith("num_batches_tracked")],
        "has the unknown": [name for name in given if name not in own],
        "has with another shape": [name for name in own if name in given and own[name].shape != given[name].shape],
    }
    problems = [f"{what} {len(names)} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
                for what, names in groups.items() if names]  # fmt: skip
    if problems:
        raise InputError(f"{path} {' and '.join(problems)} of {len(own)} parameters; expected 100DOH's ResNet-101 detector")
    network.load_state_dict(given, strict=False)
    return network.eval()


class NetworkHandObjects:
    """100DOH's network, frame by frame: a HandObjectDetector.

    Args:
        weights: a file, see `load_network`, or a network.
        hand_threshold, object_threshold: scores, 0 to 1, that count. device: "cpu" or "cuda".

    Sides are taken one hand at a time, so that both hands may get the same one.

    >>> detector = NetworkHandObjects("faster_rcnn_1_8_132028.pth")
    >>> detector.detect(0.0, frame).hands
    """

    def __init__(
        self,
        weights: str | Path | HandObjectNetwork,
        hand_threshold: float = THRESHOLD,
        object_threshold: float = THRESHOLD,
        device: str = "cpu",
    ) -> None:
        for what, value in (("hand", hand_threshold), ("object", object_threshold)):
            if not 0 <= value < 1:
                raise InputError(f"the {what} threshold is {value}; expected a score from 0 to below 1")
        network = weights if isinstance(weights, HandObjectNetwork) else load_network(weights)
        self._name = "a network" if isinstance(weights, HandObjectNetwork) else Path(weights).name
        self._network = network.eval().to(device)
        self._thresholds = (hand_threshold, object_threshold)

    def detect(self, time: float, frame: np.ndarray) -> HandObjects:
        """The hands and objects of one frame (height, width, 3) uint8 RGB, in its pixels; the time is not looked at."""
        return from_rows(*self._network.rows(check_frame(frame), *self._thresholds), *self._thresholds)

    def describe(self) -> Mapping[str, Any]:
        hand, thing = self._thresholds
        config = asdict(self._network.config)
        return {
            "detector": "100DOH network",
            "weights": self._name,
            "hand_threshold": hand,
            "object_threshold": thing,
            **config,
        }

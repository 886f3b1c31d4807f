"""Boxes in detectors of the Faster R-CNN family: anchors, codes, suppression, ROI align. Pure functions in plain torch.

Boxes are (N, 4) x0, y0, x1, y1 in pixels and, as in the first public code of that family, ends are inside: a box is
x1 - x0 + 1 pixels wide. Papers: "Faster R-CNN" (arXiv 1506.01497), "Mask R-CNN" (arXiv 1703.06870, ROI align).

Letters: B pictures, C channels, H, W cells of a feature map, N boxes, A anchors per cell, P bins per side.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["clip_boxes", "decode_boxes", "encode_boxes", "grid_anchors", "overlaps", "roi_align", "suppress"]

_CHUNK = 16  # boxes that ROI align pools at once; more would only need more memory


def grid_anchors(height: int, width: int, stride: int, scales: Sequence[float], ratios: Sequence[float]) -> Tensor:
    """(H * W * A, 4) anchors of a feature map, rows first, the anchors of one cell together (ratio by ratio, scale by scale).

    A ratio is height / width. As in the public code, sides are rounded at scale 1 and then multiplied, about the middle of
    the cell's first `stride` pixels.
    """
    cell = []
    middle = (stride - 1) / 2
    for ratio in ratios:
        across = round((stride * stride / ratio) ** 0.5)
        down = round(across * ratio)
        for scale in scales:
            half_width, half_height = (across * scale - 1) / 2, (down * scale - 1) / 2
            cell.append((middle - half_width, middle - half_height, middle + half_width, middle + half_height))
    rows, columns = torch.meshgrid(torch.arange(height) * stride, torch.arange(width) * stride, indexing="ij")
    shifts = torch.stack([columns, rows, columns, rows], -1).reshape(-1, 1, 4)
    return (torch.tensor(cell) + shifts).reshape(-1, 4)


def encode_boxes(anchors: Tensor, boxes: Tensor) -> Tensor:
    """(N, 4) codes (Faster R-CNN eq. 2): shift of the middle in anchor sizes, logarithm of the change of size."""
    size, middle = _size_and_middle(anchors)
    new_size, new_middle = _size_and_middle(boxes)
    return torch.cat([(new_middle - middle) / size, torch.log(new_size / size)], -1)


def decode_boxes(anchors: Tensor, codes: Tensor) -> Tensor:
    """(N, 4) boxes from codes (N, 4). As in the public code the end is middle + size / 2, one pixel further than the inverse
    of `encode_boxes` has it."""
    size, middle = _size_and_middle(anchors)
    new_middle = codes[:, :2] * size + middle
    new_size = torch.exp(codes[:, 2:].clamp(max=10.0)) * size
    return torch.cat([new_middle - new_size / 2, new_middle + new_size / 2], -1)


def clip_boxes(boxes: Tensor, height: int, width: int) -> Tensor:
    """(N, 4) boxes inside a picture: 0 to width - 1 and height - 1."""
    low = boxes.clamp(min=0)
    return torch.minimum(low, low.new_tensor([width - 1, height - 1, width - 1, height - 1]))


def overlaps(one: Tensor, many: Tensor) -> Tensor:
    """Intersection over union of a box (4,) with boxes (N, 4): (N,)."""
    low, high = torch.maximum(one[:2], many[:, :2]), torch.minimum(one[2:], many[:, 2:])
    common = (high - low + 1).clamp(min=0).prod(-1)
    return common / ((one[2:] - one[:2] + 1).prod() + (many[:, 2:] - many[:, :2] + 1).prod(-1) - common)


def suppress(boxes: Tensor, scores: Tensor, threshold: float, most: int | None = None) -> Tensor:
    """Non-maximum suppression: places (M,) of the boxes that stay, best first, at most `most`.

    A box goes if its overlap with a better one that stays is above the threshold. Of equal scores the earlier box is better.
    """
    order = torch.argsort(scores, descending=True, stable=True)
    kept: list[Tensor] = []
    while len(order) and (most is None or len(kept) < most):
        best, order = order[0], order[1:]
        kept.append(best)
        order = order[overlaps(boxes[best], boxes[order]) <= threshold]
    return torch.stack(kept) if kept else order


def roi_align(maps: Tensor, boxes: Tensor, bins: int, scale: float) -> Tensor:
    """Feature maps (C, H, W) under boxes (N, 4) of picture pixels: (N, C, bins, bins).

    `scale` is cells per pixel. Every bin is the mean over ceil(box side in cells / bins) samples per side, evenly spread and
    interpolated between cells; samples more than a cell outside count as 0; a box is at least one cell large. No half-pixel
    shift (the first version of ROI align).

    Sampling is separable, so each box takes two small matrices: rows (bins, H) and columns (bins, W).
    """
    channels, height, width = maps.shape
    if not len(boxes):
        return maps.new_zeros(0, channels, bins, bins)
    cells = boxes * scale
    pooled = []
    for some in cells.split(_CHUNK):
        rows = _sampling(some[:, 1], some[:, 3], bins, height)  # (n, P, H)
        columns = _sampling(some[:, 0], some[:, 2], bins, width)  # (n, P, W)
        pooled.append(torch.einsum("nph,chw,nqw->ncpq", rows, maps, columns))
    return torch.cat(pooled)


def _sampling(start: Tensor, end: Tensor, bins: int, length: int) -> Tensor:
    """(N, bins, length): the weight of every cell of one axis in every bin of intervals start, end (N,)."""
    side = (end - start).clamp(min=1.0)
    count = torch.ceil(side / bins)  # samples per bin
    number = torch.arange(int(count.max()), device=start.device)  # (S,)
    bin_size = side / bins
    first = start[:, None] + torch.arange(bins, device=start.device) * bin_size[:, None]  # (N, P)
    place = first[..., None] + ((number + 0.5) * (bin_size / count)[:, None])[:, None]  # (N, P, S)
    counted = (number < count[:, None])[:, None] & (place >= -1) & (place <= length)
    place = place.clamp(0, length - 1)
    low = place.floor().long()
    share = place - low
    weight = counted / count[:, None, None]
    out = start.new_zeros(len(start), bins, length)
    out.scatter_add_(2, low, weight * (1 - share))
    out.scatter_add_(2, (low + 1).clamp(max=length - 1), weight * share)
    return out


def _size_and_middle(boxes: Tensor) -> tuple[Tensor, Tensor]:
    size = boxes[:, 2:] - boxes[:, :2] + 1
    return size, boxes[:, :2] + size / 2

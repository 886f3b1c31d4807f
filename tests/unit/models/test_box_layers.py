"""Anchors, box codes, suppression and ROI align against hand-worked cases and slow literal versions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from palmist.models.box_layers import clip_boxes, decode_boxes, encode_boxes, grid_anchors, overlaps, roi_align, suppress


def some_boxes(count: int, seed: int, size: float = 100.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    low = size * torch.rand(count, 2, generator=generator)
    return torch.cat([low, low + 1 + 0.6 * size * torch.rand(count, 2, generator=generator)], 1)


def test_anchors_are_the_nine_that_the_first_public_code_lists() -> None:
    anchors = grid_anchors(1, 1, 16, (8, 16, 32), (0.5, 1, 2))
    assert anchors.tolist() == [
        [-84, -40, 99, 55], [-176, -88, 191, 103], [-360, -184, 375, 199],
        [-56, -56, 71, 71], [-120, -120, 135, 135], [-248, -248, 263, 263],
        [-36, -80, 51, 95], [-80, -168, 95, 183], [-168, -344, 183, 359],
    ]  # fmt: skip


def test_anchors_run_along_rows_first() -> None:
    anchors = grid_anchors(2, 3, 16, (8,), (1,)).reshape(2, 3, 4)
    assert torch.equal(anchors[1, 2] - anchors[0, 0], torch.tensor([32.0, 16, 32, 16]))


def test_codes_and_back_give_the_box_with_its_end_a_pixel_on() -> None:
    anchors, boxes = some_boxes(20, 0), some_boxes(20, 1)
    end = torch.tensor([0.0, 0, 1, 1])
    assert torch.allclose(decode_boxes(anchors, encode_boxes(anchors, boxes)), boxes + end, atol=1e-3)
    assert torch.allclose(decode_boxes(anchors, torch.zeros(20, 4)), anchors + end)
    moved = decode_boxes(torch.tensor([[0.0, 0, 9, 9]]), torch.tensor([[1.0, 0, math.log(2), 0]]))
    assert torch.allclose(moved, torch.tensor([[5.0, 0, 25, 10]]), atol=1e-4)  # middle 5 + 10, width 20


def test_boxes_end_in_the_picture() -> None:
    boxes = torch.tensor([[-5.0, -2, 300, 90], [10, 20, 30, 40]])
    assert clip_boxes(boxes, 80, 200).tolist() == [[0, 0, 199, 79], [10, 20, 30, 40]]


def test_overlap_counts_end_pixels() -> None:
    # 10 x 10 and 10 x 10, 5 x 10 in common.
    assert overlaps(torch.tensor([0.0, 0, 9, 9]), torch.tensor([[5.0, 0, 14, 9], [20, 0, 29, 9]])).tolist() == pytest.approx(
        [50 / 150, 0]
    )


def literal_suppression(boxes: np.ndarray, scores: np.ndarray, threshold: float) -> list[int]:
    left, kept = sorted(range(len(boxes)), key=lambda n: -scores[n]), []
    while left:
        best = left.pop(0)
        kept.append(best)
        stay = []
        for n in left:
            width = min(boxes[best][2], boxes[n][2]) - max(boxes[best][0], boxes[n][0]) + 1
            height = min(boxes[best][3], boxes[n][3]) - max(boxes[best][1], boxes[n][1]) + 1
            common = max(width, 0) * max(height, 0)
            areas = [(boxes[k][2] - boxes[k][0] + 1) * (boxes[k][3] - boxes[k][1] + 1) for k in (best, n)]
            if common / (sum(areas) - common) <= threshold:
                stay.append(n)
        left = stay
    return kept


@pytest.mark.parametrize("threshold", [0.3, 0.7])
def test_suppression_equals_the_literal_one(threshold: float) -> None:
    boxes, scores = some_boxes(150, 2).double(), torch.rand(150, generator=torch.Generator().manual_seed(3)).double()
    scores[40:60] = 0.5  # ties
    kept = suppress(boxes, scores, threshold).tolist()
    assert kept == literal_suppression(boxes.numpy(), scores.numpy(), threshold)
    assert 5 < len(kept) < 150
    assert suppress(boxes, scores, threshold, most=4).tolist() == kept[:4]
    assert suppress(boxes[:0], scores[:0], threshold).tolist() == []


def literal_roi_align(maps: np.ndarray, box: np.ndarray, bins: int, scale: float) -> np.ndarray:
    channels, height, width = maps.shape
    x0, y0, x1, y1 = box * scale
    size_x, size_y = max(x1 - x0, 1.0), max(y1 - y0, 1.0)
    count_x, count_y = math.ceil(size_x / bins), math.ceil(size_y / bins)
    out = np.zeros((channels, bins, bins))
    for p in range(bins):
        for q in range(bins):
            for i in range(count_y):
                for j in range(count_x):
                    y = y0 + p * size_y / bins + (i + 0.5) * size_y / bins / count_y
                    x = x0 + q * size_x / bins + (j + 0.5) * size_x / bins / count_x
                    if y < -1 or y > height or x < -1 or x > width:
                        continue
                    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
                    row, column = int(y), int(x)
                    below, right = min(row + 1, height - 1), min(column + 1, width - 1)
                    a, b = y - row, x - column
                    out[:, p, q] += (1 - a) * ((1 - b) * maps[:, row, column] + b * maps[:, row, right])
                    out[:, p, q] += a * ((1 - b) * maps[:, below, column] + b * maps[:, below, right])
    return out / (count_x * count_y)


def test_roi_align_equals_the_literal_one() -> None:
    maps = torch.randn(3, 12, 17, generator=torch.Generator().manual_seed(4)).double()
    boxes = some_boxes(30, 5, 200.0).double()  # the map covers 272 x 192 pixels, some boxes end outside
    edges = [[0, 0, 271, 191], [-60, -60, 20, 20], [250, 180, 330, 260], [40, 40, 42, 41], [50, 40, 30, 20.0]]
    boxes = torch.cat([boxes, torch.tensor(edges).double()])
    fast = roi_align(maps, boxes, 4, 1 / 16)
    slow = np.stack([literal_roi_align(maps.numpy(), box, 4, 1 / 16) for box in boxes.numpy()])
    assert fast.shape == (35, 3, 4, 4)
    assert np.allclose(fast.numpy(), slow, atol=1e-12)


def test_roi_align_of_a_slope_is_the_slope() -> None:
    slope = torch.arange(20.0).repeat(15, 1)[None]  # value = column
    pooled = roi_align(slope, torch.tensor([[32.0, 32, 32 + 16 * 8, 32 + 16 * 6]]), 2, 1 / 16)
    assert torch.allclose(pooled[0, 0], torch.tensor([4.0, 8.0]).repeat(2, 1))  # middles of 2..6 and 6..10
    assert roi_align(slope, torch.zeros(0, 4), 2, 1 / 16).shape == (0, 1, 2, 2)

"""The rigid palm template: wrist and four finger MCPs of an average hand, made from open data (no MANO file).

The numbers are the mean aligned palm of the right hand in `data/hand_video_pair` (621 frames of one real hand, MIT,
(c) 2023 Yuzhe Qin), scaled to a mean wrist-to-MCP distance of 1; :func:`mean_palm` regenerates them and a test compares.
Axes: origin at the wrist, x towards the middle finger's MCP, z along the palm's normal. The left hand is the mirror
image in y. A user who holds a MANO licence can pass a template of their own to every function that takes one.
"""

from __future__ import annotations

import torch
from torch import Tensor

from palmist import geometry

__all__ = ["PALM_JOINTS", "mean_palm", "palm_template"]

PALM_JOINTS = [0, 5, 9, 13, 17]
_RIGHT_PALM = (
    (0.000000, 0.000000, 0.000000),
    (1.025446, 0.266279, -0.073613),
    (1.036465, 0.000000, 0.000000),
    (0.971424, -0.235155, -0.033199),
    (0.797341, -0.414149, -0.073613),
)


def palm_template() -> Tensor:
    """The default template: (2, 5, 3) float64, left then right, unit palm size, wrist at the origin."""
    right = torch.tensor(_RIGHT_PALM, dtype=torch.float64)
    left = right * right.new_tensor([1.0, -1.0, 1.0])
    return torch.stack([left, right])


def mean_palm(palms: Tensor, iterations: int = 10) -> Tensor:
    """The mean of palms after rigid alignment (generalised Procrustes), in the axes of the template.

    Args:
        palms: (N, 5, 3) wrist and four MCPs of *right* hands, any unit and orientation.

    Returns:
        (5, 3) float64, wrist at the origin, mean wrist-to-MCP distance 1.
    """
    palms = palms.to(torch.float64)
    palms = palms - palms[:, :1]
    palms = palms / torch.linalg.vector_norm(palms[:, 1:], dim=-1).mean(-1)[:, None, None]
    mean = palms[0]
    for _ in range(iterations):
        rotation, _ = geometry.fit_rigid(palms, mean)
        mean = (palms @ rotation).mean(0)
        mean = mean - mean[:1]
        mean = mean / torch.linalg.vector_norm(mean[1:], dim=-1).mean()
    x = mean[2] / torch.linalg.vector_norm(mean[2])
    normal = torch.linalg.cross(x, mean[1] - mean[4])
    z = normal / torch.linalg.vector_norm(normal)
    axes = torch.stack([x, torch.linalg.cross(z, x), z], dim=-1)
    return mean @ axes

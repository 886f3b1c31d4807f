"""ResNet-18 in plain torch, with the parameter names of torchvision (and timm), so that their weight files load.

Paper: "Deep Residual Learning for Image Recognition" (arXiv 1512.03385), Table 1 and Figure 5 (left), option B. torchvision
itself is not needed: its wheels do not load beside a CPU build of torch.

Numbered deviation: 1. `base_width` (64 in the paper) narrows every stage alike, for small checkpoints.

Letters: B images, C channels, H, W pixels, D features (8 base widths, 512).
"""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from palmist.errors import InputError
from palmist.files.weights import read_weights

__all__ = ["ResNet18", "load_backbone"]

WIDTH = 512
_BASE = 64
_STAGES = ((1, 1), (2, 2), (4, 2), (8, 2))  # width in base widths, stride


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions and a shortcut; `stride` halves the image and a 1 x 1 convolution fits the shortcut to it."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Sequential | None = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H / stride, W / stride)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        y = self.relu(self.bn1(self.conv1(x)))
        result: Tensor = self.relu(self.bn2(self.conv2(y)) + shortcut)
        return result


class ResNet18(nn.Module):
    """Images to feature maps and features of `width` = 8 base widths.

    Example:
        >>> import torch
        >>> ResNet18()(torch.zeros(2, 3, 64, 96)).shape
        torch.Size([2, 512])
    """

    def __init__(self, base_width: int = _BASE) -> None:
        super().__init__()
        self.width = _STAGES[-1][0] * base_width
        self.conv1 = nn.Conv2d(3, base_width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(base_width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        inputs = base_width
        for number, (times, stride) in enumerate(_STAGES, 1):
            width = times * base_width
            stage = nn.Sequential(BasicBlock(inputs, width, stride), BasicBlock(width, width, 1))
            setattr(self, f"layer{number}", stage)
            inputs = width
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def maps(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> feature maps (B, D, H / 32, W / 32), rounded up."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        for number in range(1, len(_STAGES) + 1):
            x = getattr(self, f"layer{number}")(x)
        return x

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> features (B, D), the mean over the last maps."""
        return self.maps(images).mean(dim=(2, 3))


def load_backbone(network: ResNet18, path: str | Path) -> ResNet18:
    """Load ImageNet weights from a local file of torchvision's or timm's ResNet-18 (.safetensors, .pth or .pt).

    The classifier (`fc`) is left out. InputError for a file that is not there, holds more than tensors, or does not fit.
    """
    path = Path(path)
    state = read_weights(path, "a file of ResNet-18 weights (.safetensors, .pth)")
    own = network.state_dict()
    given = {name: value for name, value in state.items() if not name.startswith("fc.")}
    missing = sorted(name for name in own if name not in given and not name.endswith("num_batches_tracked"))
    wrong = sorted(name for name, value in given.items() if name not in own or own[name].shape != value.shape)
    if missing or wrong:
        found = f"lacks {missing[0]}" if missing else f"has {wrong[0]}, which does not fit"
        raise InputError(f"{path} {found}; expected the weights of torchvision's or timm's ResNet-18")
    network.load_state_dict(given, strict=False)
    return network

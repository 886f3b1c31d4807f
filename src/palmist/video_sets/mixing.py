"""MixUp and CutMix of whole clips: every clip of a batch with the one at the mirrored place, one draw for the batch."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from palmist.errors import InputError

__all__ = ["MixConfig", "Mixture", "draw_mixture", "mix"]


@dataclass(frozen=True)
class MixConfig:
    """mixup, cutmix: parameters of the symmetric Beta distributions of the share, 0 for neither; switch: chance of CutMix where
    both are on; chance: of any mixture in a batch. The defaults are the recipe's."""

    mixup: float = 0.8
    cutmix: float = 1.0
    switch: float = 0.5
    chance: float = 1.0

    def __post_init__(self) -> None:
        if self.mixup < 0 or self.cutmix < 0 or not 0 <= self.switch <= 1 or not 0 <= self.chance <= 1:
            raise InputError(
                f"mix has mixup {self.mixup}, cutmix {self.cutmix}, switch {self.switch}, chance {self.chance}; "
                "expected parameters from 0 on and chances from 0 to 1"
            )


@dataclass(frozen=True)
class Mixture:
    """share: of a clip's own label; box (x0, y0, x1, y1) in pixels that comes from the partner, None: all pixels are mixed."""

    share: float = 1.0
    box: tuple[int, int, int, int] | None = None


def draw_mixture(config: MixConfig, size: int, generator: np.random.Generator) -> Mixture:
    """The mixture of one batch of clips of `size` pixels; share 1 where nothing is mixed."""
    if generator.random() >= config.chance or config.mixup == config.cutmix == 0:
        return Mixture()
    use_cutmix = config.cutmix > 0 and (config.mixup == 0 or generator.random() < config.switch)
    share = float(generator.beta(config.cutmix, config.cutmix) if use_cutmix else generator.beta(config.mixup, config.mixup))
    if not use_cutmix:
        return Mixture(share)
    side = round(size * math.sqrt(1 - share))
    x, y = (int(generator.integers(size)) for _ in range(2))
    x0, y0 = max(0, x - side // 2), max(0, y - side // 2)
    x1, y1 = min(size, x + side // 2), min(size, y + side // 2)
    return Mixture(1 - (x1 - x0) * (y1 - y0) / size**2, (x0, y0, x1, y1))


def mix(clips: np.ndarray, mixture: Mixture) -> np.ndarray:
    """(B, T, S, S, 3) uint8 -> the same; clip i takes its part from clip B - 1 - i. Rounded to 8 bits."""
    if mixture.share == 1:
        return clips
    if mixture.box is not None:
        x0, y0, x1, y1 = mixture.box
        mixed = clips.copy()
        mixed[:, :, y0:y1, x0:x1] = clips[::-1, :, y0:y1, x0:x1]
        return mixed
    mixed = np.empty_like(clips)
    for number, (own, partner) in enumerate(zip(clips, clips[::-1], strict=True)):
        mixed[number] = mixture.share * own.astype(np.float32) + (1 - mixture.share) * partner + 0.5
    return mixed

"""A stand-in for a video-text model: it reads the numbers in the frames of tiny videos (see tiny_video)."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from tiny_video import number_of


class NumberEmbedder:
    """A clip is the angle of its mean frame number, and so is the text "frame 12". `clips` counts what was embedded."""

    def __init__(self, name: str = "numbers", fingerprint: str = "0123abcd", dimension: int = 4) -> None:
        self.name, self.fingerprint, self.dimension = name, fingerprint, dimension
        self.clips = 0
        self.texts: list[str] = []

    def vector(self, number: float) -> np.ndarray:
        row = np.zeros(self.dimension, np.float32)
        row[:2] = np.cos(number / 100), np.sin(number / 100)
        return row

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        self.texts += list(texts)
        numbers = [float(found[1]) if (found := re.search(r"frame ([\d.]+)", text)) else 0.0 for text in texts]
        return np.stack([self.vector(number) for number in numbers])

    def embed_clip(self, frames: np.ndarray) -> np.ndarray:
        assert frames.dtype == np.uint8
        assert frames.ndim == 4
        self.clips += 1
        return self.vector(float(np.mean([number_of(image) for image in frames])))

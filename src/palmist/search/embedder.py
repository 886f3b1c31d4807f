"""What searching asks of a video-text model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

__all__ = ["VideoTextEmbedder"]


class VideoTextEmbedder(Protocol):
    """Clips and texts to unit vectors of one space; `palmist.inference.video_text.load_video_text` gives one.

    name: as `palmist models` lists it, or the folder of a checkpoint. fingerprint: of the weights; vectors of two models with
    different fingerprints are never compared. dimension: E, numbers per vector.
    """

    name: str
    fingerprint: str
    dimension: int

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """N texts to (N, E) float32, rows of norm 1."""

    def embed_clip(self, frames: np.ndarray) -> np.ndarray:
        """Frames (T, H, W, 3) uint8 RGB, spread over the clip, to (E,) float32 of norm 1."""

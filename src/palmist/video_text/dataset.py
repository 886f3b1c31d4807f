"""Clips of videos with a caption each, as a video-text model is trained on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from palmist.errors import InputError
from palmist.skeleton import mirror_words
from palmist.video_sets.dataset import VideoDataset

__all__ = ["CaptionedDataset", "Tokenizer"]


class Tokenizer(Protocol):
    """Texts to token numbers (`palmist.text.byte_pairs`)."""

    @property
    def size(self) -> int: ...

    def batch(self, texts: Sequence[str], length: int = 77) -> np.ndarray:
        """(N, length) int64, each row ended by the last token of the vocabulary."""
        ...


class CaptionedDataset:
    """A `VideoDataset` whose clips have captions in the place of labels (`palmist.train.task.BatchedDataset`).

    A video with several captions gives one of them by chance, in validation its first. Where a clip is flipped, "left" and
    "right" change places in its caption.

    Args:
        clips: the videos; captions: of each of them, one or more; tokenizer, length: how they become tokens.

    Raises InputError for another number of captions than of videos.
    """

    def __init__(
        self, clips: VideoDataset, captions: Sequence[Sequence[str]], tokenizer: Tokenizer, length: int, train: bool = True
    ) -> None:
        if len(captions) != len(clips):
            raise InputError(f"there are {len(captions)} captions for {len(clips)} videos; expected some for each")
        self.clips, self.captions, self.tokenizer, self.length, self.train = clips, captions, tokenizer, length, train
        self.repeats = clips.repeats

    def __len__(self) -> int:
        return len(self.clips)

    def batch(self, indices: np.ndarray, generator: torch.Generator) -> dict[str, Tensor]:
        """Clips and captions of the videos `indices` (B,).

        Returns:
            video (B, T, S, S, 3) uint8, tokens (B, L) int64, label (B,). InputError for a video without a caption.
        """
        found = self.clips.batch(indices, generator)
        lots = torch.rand(len(indices), generator=generator).tolist()
        texts = []
        for item, mirrored, lot in zip(found["item"].tolist(), found["mirrored"].tolist(), lots, strict=True):
            several = self.captions[item]
            if not several:
                name = self.clips.videos.names[item]
                raise InputError(f"video {name} has no caption; leave it out of the list, or run palmist narrate on it")
            text = several[int(lot * len(several)) if self.train else 0]
            texts.append(mirror_words(text) if mirrored else text)
        tokens = torch.from_numpy(self.tokenizer.batch(texts, self.length))
        return {"video": found["video"], "tokens": tokens, "label": found["label"]}

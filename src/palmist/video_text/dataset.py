"""Clips of videos with a caption each, as a video-text model is trained on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from palmist.errors import InputError
from palmist.skeleton import mirror_words
from palmist.video_sets.dataset import VideoDataset

__all__ = ["CLASSES", "CaptionedDataset", "Tokenizer", "boxes_in_clip"]

#: Verb and noun classes that EgoNCE's rows have room for; the sets' own numbers are below it.
CLASSES = 1024
#: (T, 2, 4) x0, y0, x1, y1 pixels of a video's left and right hand in each of its frames, and (T, 2) where they are known.
Boxes = tuple[np.ndarray, np.ndarray]


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
        classes: verb and noun classes of a video by its number, for EgoNCE; boxes: its hands, for the hand-box loss, in every
            `sparse`-th of a clip's frames, from the middle of the first `sparse` on.

    Raises InputError for another number of captions than of videos.
    """

    def __init__(
        self,
        clips: VideoDataset,
        captions: Sequence[Sequence[str]],
        tokenizer: Tokenizer,
        length: int,
        train: bool = True,
        classes: Callable[[int], tuple[Sequence[int], Sequence[int]]] | None = None,
        boxes: Callable[[int], Boxes] | None = None,
        sparse: int = 1,
    ) -> None:
        if len(captions) != len(clips):
            raise InputError(f"there are {len(captions)} captions for {len(clips)} videos; expected some for each")
        self.clips, self.captions, self.tokenizer, self.length, self.train = clips, captions, tokenizer, length, train
        self.classes, self.boxes, self.sparse = classes, boxes, sparse
        self.repeats = clips.repeats

    def __len__(self) -> int:
        return len(self.clips)

    def batch(self, indices: np.ndarray, generator: torch.Generator) -> dict[str, Tensor]:
        """Clips and captions of the videos `indices` (B,).

        Returns:
            video (B, T, S, S, 3) uint8, tokens (B, L) int64, label (B,); with `classes` verbs and nouns (B, CLASSES) bool, with
            `boxes` boxes (B, 2, T', 4) from 0 to 1 and boxes_known (B, 2). InputError for a video without a caption.
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
        parts = {"video": found["video"], "tokens": tokens, "label": found["label"]}
        if self.classes is not None:
            parts |= self._classes(found["item"].tolist())
        if self.boxes is not None:
            parts |= self._boxes(found)
        return parts

    def _classes(self, items: Sequence[int]) -> dict[str, Tensor]:
        assert self.classes is not None
        rows = {name: torch.zeros((len(items), CLASSES), dtype=torch.bool) for name in ("verbs", "nouns")}
        for row, item in enumerate(items):
            for name, numbers in zip(rows, self.classes(item), strict=True):
                if any(not 0 <= number < CLASSES for number in numbers):
                    raise InputError(
                        f"video {self.clips.videos.names[item]} has {name} {list(numbers)}; expected 0 to {CLASSES - 1}"
                    )
                rows[name][row, list(numbers)] = True
        return rows

    def _boxes(self, found: dict[str, Tensor]) -> dict[str, Tensor]:
        assert self.boxes is not None
        size, chosen = found["video"].shape[2], slice(self.sparse // 2, None, self.sparse)
        boxes, known = [], []
        for item, frame, matrix, mirrored in zip(
            found["item"].tolist(), found["frame"].numpy(), found["matrix"].numpy(), found["mirrored"].tolist(), strict=True
        ):
            places, there = self.boxes(item)
            inside, seen = boxes_in_clip(places[frame[chosen]], there[frame[chosen]], matrix, size, mirrored)
            boxes.append(inside.transpose(1, 0, 2))
            known.append(seen.all(0))
        return {"boxes": torch.from_numpy(np.stack(boxes)), "boxes_known": torch.from_numpy(np.stack(known))}


def boxes_in_clip(
    boxes: np.ndarray, known: np.ndarray, matrix: np.ndarray, size: int, mirrored: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Boxes of both hands as they are in an augmented clip.

    Args:
        boxes: (T, 2, 4) x0, y0, x1, y1 pixels of the read frames; known: (T, 2). matrix: (2, 3), `Augmented.matrix`; size: of
            the clip; mirrored: the left hand is then the right one.

    Returns:
        (T, 2, 4) float32 from 0 to 1, edge to edge, cut at the clip's border; (T, 2) known, and some of the box is inside.
    """
    corners = boxes[..., [[0, 1], [2, 1], [0, 3], [2, 3]]].astype(np.float64)  # (T, 2, 4 corners, 2)
    moved = corners @ np.asarray(matrix, np.float64)[:, :2].T + np.asarray(matrix, np.float64)[:, 2]
    share = np.clip((np.concatenate([moved.min(2), moved.max(2)], -1) + 0.5) / size, 0, 1)
    there = known & (share[..., 2] > share[..., 0]) & (share[..., 3] > share[..., 1])
    if mirrored:
        share, there = share[:, ::-1], there[:, ::-1]
    return np.ascontiguousarray(share, np.float32), np.ascontiguousarray(there)

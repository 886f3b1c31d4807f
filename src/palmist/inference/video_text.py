"""A video-text model that is ready to read: clips and sentences to vectors of one space.

>>> reader = load_video_text("egovideo-words")
>>> clip, texts = reader.embed_clip(frames), reader.embed_texts(["The right hand moves up.", "The right hand stays still."])
>>> (texts @ clip).argmax()
0
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from palmist.checkpoint import load_checkpoint
from palmist.errors import InputError
from palmist.inference.videos import VideoAction
from palmist.inference.zero_shot import class_vectors, classify
from palmist.model_zoo import VIDEO_TEXT_KINDS, checkpoint_path, kind_of
from palmist.perception.clip_sampling import segment_view_indices
from palmist.tasks.video_text import load_video_text_network
from palmist.video_sets import StoredVideos, VideoEntry
from palmist.video_sets.augmentation import evaluation_crop

__all__ = ["VideoTextReader", "load_video_text"]

_BATCH = 64


def load_video_text(name_or_path: str | Path) -> VideoTextReader:
    """A video-text model by a name of `palmist models` or its folder. InputError for a checkpoint of another kind."""
    kind = kind_of(name_or_path)
    if kind not in VIDEO_TEXT_KINDS:
        known = ", ".join(VIDEO_TEXT_KINDS)
        raise InputError(f"{name_or_path} holds a model of kind '{kind}', which knows no sentences; expected one of {known}")
    return VideoTextReader(str(name_or_path), checkpoint_path(name_or_path))


class VideoTextReader:
    """See `load_video_text`.

    name; fingerprint: of the weights, so that vectors of different models are not mixed; dimension: E; labels: sentences of
    the labels that it was trained with, if there were any.
    """

    def __init__(self, name: str, path: Path) -> None:
        self.name, self.path = name, path
        self.network, self.clip, self.tokenizer = load_video_text_network(path)
        self.dimension = self.network.config.embedding
        self.labels = tuple(str(label) for label in load_checkpoint(path).config.get("labels", ()))
        digest = hashlib.sha256((path / "model.safetensors").read_bytes())
        self.fingerprint = digest.hexdigest()[:16]

    @torch.no_grad()
    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Unit vectors (N, E) float32."""
        if not len(texts):
            return np.zeros((0, self.dimension), np.float32)
        tokens = torch.from_numpy(self.tokenizer.batch(texts, self.network.config.text_length))
        return torch.cat([self.network.embed_text(part) for part in tokens.split(_BATCH)]).numpy()

    def embed_clip(self, frames: np.ndarray) -> np.ndarray:
        """Unit vector (E,) float32 of a clip, (T, H, W, 3) uint8 RGB, of which as many frames are seen as the model takes,
        spread over the whole; as many as it takes are seen as they are. InputError for no frames, or frames that are none."""
        return self.embed_clips([frames])[0]

    @torch.no_grad()
    def embed_clips(self, clips: Sequence[np.ndarray]) -> np.ndarray:
        """Unit vectors (N, E) of several clips, as `embed_clip`."""
        rows = [np.zeros((0, self.dimension), np.float32)]
        for start in range(0, len(clips), _BATCH // 4):
            video = torch.from_numpy(np.stack([self._seen(frames) for frames in clips[start : start + _BATCH // 4]]))
            rows.append(self.network.embed_video(video).numpy())
        return np.concatenate(rows)

    def read(self, source: str | Path, labels: Sequence[str] | None = None) -> VideoAction:
        """Which of some sentences a whole video file fits best; `labels` None: the labels that it was trained with.

        InputError where there is none, or the file cannot be decoded.
        """
        names = self.labels if labels is None else tuple(labels)
        if len(names) < 2:
            raise InputError(f'{self.name} compares a video with sentences, and there are {len(names)}; give --labels "a,b,c"')
        path = Path(source)
        video = StoredVideos([VideoEntry(path, None, None, path.stem)], ()).open(0)
        clip = self.embed_clip(video.read(self.clip.indices(video)))
        temperature = float((-self.network.log_scale).exp())
        return VideoAction(path.stem, names, classify(clip, class_vectors(self, names), temperature))

    def _seen(self, frames: np.ndarray) -> np.ndarray:
        """(T, S, S, 3) uint8."""
        frames = np.asarray(frames)
        if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3 or 0 in frames.shape:
            raise InputError(
                f"a clip has shape {frames.shape} and type {frames.dtype}; expected (frames, height, width, 3) RGB uint8"
            )
        if len(frames) == self.clip.frames:  # chosen already, in the way that the model was trained with
            return evaluation_crop(frames, self.clip.size).video
        indices = segment_view_indices(len(frames), self.clip.frames, 0, 1, None)
        return evaluation_crop(frames[indices], self.clip.size).video

"""Video networks (EMIM, UniFormer, TRec) as readers of videos: the action, and pictures of the motion that they see.

>>> reader = load_video_reader("emim-words")
>>> found = reader.read("sign.mp4", clips=2)
>>> found.label, found.probability
('hello', 0.61)
>>> reader.draw("sign.mp4", "out/sign_motion.png")

They see pixels only: no hands are tracked, and a Reading's poses and futures are G-HTT's (`palmist.load`).
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from palmist.errors import InputError
from palmist.evaluation.videos import load_tested
from palmist.inference.label_shares import LabelShares
from palmist.model_zoo import VIDEO_KINDS, VIDEO_TEXT_KINDS, checkpoint_path, kind_of
from palmist.models.trec import TRec
from palmist.video_sets import StoredVideos, TrackReader, VideoEntry
from palmist.video_sets.augmentation import evaluation_crop
from palmist.video_sets.dataset import VideoDataset
from palmist.view.motion import draw_arrows, draw_tails, side_by_side

__all__ = ["VideoAction", "VideoReader", "load_video_reader"]

_SIDE, _COLUMNS = 480, 4  # of a picture in `draw`


@dataclass(frozen=True)
class VideoAction(LabelShares):
    """The action of a video: every label with its probability, in the network's order. views: clips times crops."""

    name: str
    labels: tuple[str, ...]
    probabilities: np.ndarray
    views: int = 1

    def to_json(self) -> dict[str, Any]:
        """Plain values: name, label, probability, probabilities by label, views."""
        return {"name": self.name, **self.shares_to_json(), "views": self.views}


def load_video_reader(name_or_path: str | Path) -> VideoReader:
    """A video network by a name of `palmist models` or its folder. InputError for a checkpoint of another kind."""
    kind = kind_of(name_or_path)
    kinds = [known for known in VIDEO_KINDS if known not in VIDEO_TEXT_KINDS]
    if kind not in kinds:
        raise InputError(f"{name_or_path} holds a model of kind '{kind}'; expected one of {', '.join(kinds)}")
    return VideoReader(str(name_or_path), checkpoint_path(name_or_path))


class VideoReader:
    """A video network that is ready to read; see `load_video_reader`."""

    def __init__(self, name: str, path: Path) -> None:
        self.name, self.path = name, path
        self.tested = load_tested(path)
        if self.tested.tracks is not None:  # nothing is left beside a video that is only read
            self._folder = tempfile.TemporaryDirectory(prefix="palmist-tracks-")
            self.tested = self.tested._replace(tracks=replace(self.tested.tracks, folder=self._folder.name))

    @property
    def labels(self) -> tuple[str, ...]:
        return self.tested.network.config.labels

    def _dataset(self, source: str | Path) -> VideoDataset:
        path = Path(source)
        videos = StoredVideos([VideoEntry(path, self.labels[0], None, path.stem)], self.labels)
        clip, tracks = self.tested.clip, self.tested.tracks
        if tracks is not None and tracks.tracker == "truth":
            raise InputError(
                f"{self.name} was trained on the true tracks of drawings, which {path} does not have; expected a network "
                "that was trained on tracks by lucas_kanade or cotracker"
            )
        return VideoDataset(videos, clip, tracks=None if tracks is None else TrackReader(videos, tracks))

    def read(self, source: str | Path, clips: int = 1, crops: int = 1) -> VideoAction:
        """Recognise a whole video file, the mean over `clips` x `crops` views. InputError if it cannot be decoded."""
        parts = [torch.from_numpy(part)[None] for part in self._dataset(source).view_parts(0, clips, crops)]
        with torch.no_grad():
            probabilities = self.tested.network.recognise(*parts)[0].numpy()
        return VideoAction(Path(source).stem, self.labels, probabilities, clips * crops)

    def draw(self, source: str | Path, path: str | Path) -> Path:
        """Draw the motion that the network sees in the middle clip, as one .png: EMIM's displacement field, TRec's tracks.

        InputError for a network that sees no motion of its own, as plain UniFormer, or a file that cannot be decoded.
        """
        dataset, clip = self._dataset(source), self.tested.clip
        video = dataset.videos.open(0)
        indices = clip.indices(video)
        images = video.read(indices)
        pictures = self._tails(dataset, indices, images) if dataset.tracks is not None else self._arrows(images)
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        sheet = side_by_side(pictures, min(_COLUMNS, len(pictures)))
        done, data = cv2.imencode(".png", np.ascontiguousarray(sheet[..., ::-1]))
        if not done:
            raise InputError(
                f"{path} cannot be written; expected a picture of {sheet.shape[1]} x {sheet.shape[0]} pixels to fit"
            )
        path.write_bytes(data.tobytes())
        return path

    def _arrows(self, images: np.ndarray) -> list[np.ndarray]:
        """A picture of every frame that has a next one, with the field of the first motion attention, less that of a still."""
        network = self.tested.network
        if isinstance(network, TRec) or network.config.motion_blocks == "none" or network.config.temporal_stride != 1:
            raise InputError(f"{self.name} sees no motion that could be drawn; expected EMIM, or TRec with tracks")
        crop = evaluation_crop(images, self.tested.clip.size)
        video = torch.from_numpy(crop.video)
        # A field leans inwards at borders and hangs on to textures: what it would be without motion is taken away.
        still = network.displacements(video[:-1, None].expand(-1, len(video), -1, -1, -1))[:, 0]
        field = (network.displacements(video[None])[0] - still).numpy()  # (T - 1, H', W', 2)
        rows, columns = field.shape[1:3]
        step = crop.video.shape[1] / rows
        x, y = np.meshgrid((np.arange(columns) + 0.5) * step, (np.arange(rows) + 0.5) * step)
        back = np.linalg.inv(np.vstack([crop.matrix, [0, 0, 1]]))[:2]  # clip pixels to pixels of the video
        places = np.stack([x.ravel(), y.ravel()], -1) @ back[:, :2].T + back[:, 2]
        pictures = []
        for image, moves in zip(images[:-1], field, strict=True):
            picture, scale = _enlarged(image)
            draw_arrows(picture, places * scale, moves.reshape(-1, 2) @ back[:, :2].T * scale)
            pictures.append(picture)
        return pictures

    def _tails(self, dataset: VideoDataset, indices: np.ndarray, images: np.ndarray) -> list[np.ndarray]:
        assert dataset.tracks is not None
        tracks, visible = dataset.tracks.read(0, dataset.videos.open(0), images.shape[1:3])
        pictures = []
        for image, index in zip(images, indices, strict=True):
            picture, scale = _enlarged(image)
            draw_tails(picture, tracks[: index + 1] * scale, visible[: index + 1])
            pictures.append(picture)
        return pictures


def _enlarged(image: np.ndarray) -> tuple[np.ndarray, float]:
    """A copy whose short side has `_SIDE` pixels, and how much longer it is than the image's."""
    height, width = image.shape[:2]
    scale = _SIDE / min(height, width)
    size = (round(width * scale), round(height * scale))
    return np.ascontiguousarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)), scale

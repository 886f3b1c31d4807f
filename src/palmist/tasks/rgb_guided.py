"""What `palmist train` does with `rgb_guided`: pictures of body parts, drawn from recordings or cut from real videos, are
held in memory, and a trained BHaRNet guides."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from palmist.checkpoint import Checkpoint, load_checkpoint, with_weights
from palmist.config import TrainConfig, build_config, merge
from palmist.errors import InputError
from palmist.inputs.rgb import PartPoints, drawn_parts, join_batches, recording_parts
from palmist.models.bharnet import BHaRNet
from palmist.models.resnet import load_backbone
from palmist.models.rgb_guided import PRESETS, Heads, RGBGuided, RGBGuidedConfig, arrange, cut_tiles, heads, moments
from palmist.recording import Recording
from palmist.recording_file import read_recording
from palmist.render import RenderSettings, render_clip
from palmist.render.folder import choose
from palmist.render.stage import NothingToDrawError
from palmist.tasks.labelled import SetConfig, labelled_parts, load_recordings, preset_settings
from palmist.tasks.skeletons import load_bharnet, skeleton_batch

__all__ = ["PictureStore", "RGBDataConfig", "RGBDataset", "RGBTask", "load_rgb_guided", "recognise_pictures", "tracked_videos"]

_VIDEOS = (".mp4", ".mov", ".mkv", ".avi", ".webm")
_SKELETON = ("body", "body_known", "hands", "hands_known")


@dataclass(frozen=True)
class RGBDataConfig:
    """`data` of the task rgb_guided.

    skeleton_checkpoint: folder of the trained BHaRNet that guides. sets, validation: recordings that are drawn. videos,
    validation_videos: folders of real videos, each with its tracks beside it (clip.mp4, clip.npz), whose segments are its
    actions. clips: most recordings of a set, evenly spaced; None all. render, render_seed: how they are drawn. pictures: frames
    of a clip that are kept, evenly spaced, of which a batch takes five. shift: of the crops in training, in sides of a crop;
    colour: standard deviation of the log of gain and contrast. backbone_weights: a local file of ImageNet weights.
    """

    skeleton_checkpoint: str = ""
    sets: dict[str, SetConfig] = field(default_factory=dict)
    validation: dict[str, SetConfig] = field(default_factory=dict)
    videos: list[str] = field(default_factory=list)
    validation_videos: list[str] = field(default_factory=list)
    clips: int | None = None
    render: RenderSettings = field(default_factory=RenderSettings)
    render_seed: int = 0
    pictures: int = 12
    augment: bool = True
    shift: float = 0.1
    colour: float = 0.15
    backbone_weights: str | None = None


# --------------------------------------------------------------------------------------------------------------------
# Pictures in memory


class PictureStore:
    """Tiles of labelled clips, with a margin for shifted crops, and the skeletons of the same clips."""

    def __init__(self, config: RGBGuidedConfig, pictures: int, shift: float) -> None:
        self.config, self.pictures = config, pictures
        self.margin = round(shift * config.tile)
        self.tiles: list[np.ndarray] = []  # (N, 5, S + 2 margin, S + 2 margin, 3) uint8
        self.seen: list[np.ndarray] = []  # (N, 5) bool
        self.skeletons: list[dict[str, Tensor]] = []
        self.labels: list[str] = []

    def __len__(self) -> int:
        return len(self.labels)

    def kept(self, frames: int) -> np.ndarray:
        """The frames of a clip that are kept."""
        return np.unique(np.rint(np.linspace(0, frames - 1, min(self.pictures, frames))).astype(np.int64))

    def add(self, frames: np.ndarray, chosen: np.ndarray, parts: PartPoints, recording: Recording, label: str) -> None:
        """A clip by its kept `frames` (N, H, W, 3), which are the frames `chosen` (N,) of `parts`."""
        whole = self.config.tile + 2 * self.margin
        side = parts.side(self.config) * whole / self.config.tile
        tiles, seen = cut_tiles(frames, parts.points[chosen], parts.known[chosen], side, whole)
        self.tiles.append(tiles)
        self.seen.append(seen)
        self.skeletons.append(skeleton_batch([recording], self.config.skeleton))
        self.labels.append(label)

    def draw(self, recording: Recording, label: str, settings: RenderSettings, seed: int) -> None:
        """Draw a recording and keep it; nothing happens where there is nothing to draw."""
        settings = replace(settings, tracks=0)
        try:
            clip = render_clip(recording, settings, seed)
        except NothingToDrawError:
            return
        parts = drawn_parts(recording, settings, seed, clip.truth.camera)
        chosen = self.kept(len(clip.frames))
        self.add(clip.frames[chosen], chosen, parts, recording, label)

    def read(self, video: Path, recording: Recording, label: str) -> None:
        """Keep a labelled part of a real video."""
        from palmist.perception.video import Video

        source = Video(video)
        parts = recording_parts(recording, source.info.width, source.info.height)
        chosen = self.kept(len(recording))
        self.add(source.read(recording.time[chosen]).images, chosen, parts, recording, label)


def tracked_videos(folder: str | Path) -> Iterator[tuple[Path, Recording]]:
    """The videos of a folder with the tracks beside them, CLIP.npz by CLIP.mp4 (`palmist.recording_file`).

    Raises InputError for a folder without videos, or a video without tracks.
    """
    folder = Path(folder)
    videos = sorted(file for file in folder.glob("*") if file.suffix.lower() in _VIDEOS) if folder.is_dir() else []
    if not videos:
        raise InputError(f"{folder} holds no video; expected a folder of {', '.join(_VIDEOS)}, each with its tracks as .npz")
    for video in videos:
        tracks = video.with_suffix(".npz")
        if not tracks.is_file():
            raise InputError(
                f"{video} has no tracks beside it; expected {tracks.name}, a recording (track its hands with "
                "palmist.perception.hands.track_hands and keep them with palmist.recording_file.write_recording)"
            )
        yield video, read_recording(tracks)


class RGBDataset:
    """Batches of a PictureStore. In training every label has the same chance, and pictures are varied if `data.augment`; else
    labels that the model does not know become -1."""

    def __init__(self, store: PictureStore, data: RGBDataConfig, training: bool) -> None:
        if not len(store):
            raise InputError("there is no labelled clip with something to see; name a labelled set in data.sets or data.videos")
        table = {label: row for row, label in enumerate(store.config.labels)}
        unknown = sorted(set(store.labels) - set(table))
        if unknown and training:
            raise InputError(
                f"the skeleton checkpoint does not know the label {', '.join(unknown)}; it knows {', '.join(table)}; train it "
                "on the same sets first"
            )
        self.store, self.colour, self.use_augmentation = store, data.colour, training and data.augment
        self.label = np.array([table.get(label, -1) for label in store.labels])
        self.weights = 1.0 / np.bincount(self.label)[self.label] if training else None

    def __len__(self) -> int:
        return len(self.store)

    @cached_property
    def _skeletons(self) -> dict[str, Tensor]:
        return join_batches(self.store.skeletons)

    def batch(self, indices: np.ndarray, generator: torch.Generator) -> dict[str, Tensor]:
        """collage, seen, body, body_known, hands, hands_known, label: see `RGBGuided.loss`."""
        found = [self._picture(int(index), generator) for index in indices]
        rows = torch.from_numpy(np.asarray(indices, np.int64))
        return {
            "collage": torch.from_numpy(np.stack([picture for picture, _ in found])),
            "seen": torch.from_numpy(np.stack([seen for _, seen in found])),
            **{name: self._skeletons[name][rows] for name in _SKELETON},
            "label": torch.from_numpy(self.label)[rows],
        }

    def _picture(self, index: int, generator: torch.Generator) -> tuple[np.ndarray, np.ndarray]:
        tiles, seen = self.store.tiles[index], self.store.seen[index]
        chosen = moments(len(tiles), generator if self.use_augmentation else None)
        side, margin = self.store.config.tile, self.store.margin
        start = np.full((5, 2), margin)
        if self.use_augmentation and margin:
            start = torch.randint(0, 2 * margin + 1, (5, 2), generator=generator).numpy()
        cut = [tiles[chosen, row, y : y + side, x : x + side] for row, (y, x) in enumerate(start.tolist())]
        picture = arrange(np.stack(cut, 1))
        if self.use_augmentation and self.colour:
            gain, contrast = torch.exp(self.colour * torch.randn(2, generator=generator)).tolist()
            values = np.clip(((np.arange(256) - 127.5) * contrast + 127.5) * gain, 0, 255)
            picture = values.astype(np.uint8)[picture]
        return picture, seen[chosen].T.copy()


# --------------------------------------------------------------------------------------------------------------------
# Task


class RGBTask:
    """Train the RGB branch over a trained BHaRNet."""

    def _read(self, config: TrainConfig) -> RGBDataConfig:
        data = build_config(RGBDataConfig, config.data, "data")
        for name, entry in {**data.sets, **data.validation}.items():
            if entry.unsigned_label is not None or entry.augment:
                raise InputError(
                    f"set '{name}' asks for augmented joints, of which there are no pictures; remove augment and unsigned_label"
                )
        return data

    def _skeleton(self, data: RGBDataConfig) -> BHaRNet:
        if not data.skeleton_checkpoint:
            raise InputError(
                "data.skeleton_checkpoint is empty; name the folder of a trained BHaRNet, such as runs/bharnet_small/last"
            )
        return load_bharnet(data.skeleton_checkpoint)

    def _config(self, config: TrainConfig, skeleton: BHaRNet) -> RGBGuidedConfig:
        settings = preset_settings(config.model, PRESETS, "rgb_guided")
        return build_config(RGBGuidedConfig, merge(settings, {"skeleton": asdict(skeleton.config)}), "model")

    def _dataset(self, config: TrainConfig, sets: Mapping[str, SetConfig], videos: list[str], training: bool) -> RGBDataset:
        data = self._read(config)
        shift = data.shift if training and data.augment else 0.0
        store = PictureStore(self._config(config, self._skeleton(data)), data.pictures, shift)
        for name, entry in sets.items():
            for recording in choose(load_recordings(name, entry), None, data.clips):
                for part, label in labelled_parts(recording, entry.span):
                    store.draw(part, label, data.render, data.render_seed)
        for folder in videos:
            for video, recording in tracked_videos(folder):
                for part, label in labelled_parts(recording, None):
                    store.read(video, part, label)
        return RGBDataset(store, data, training)

    def train_data(self, config: TrainConfig) -> RGBDataset:
        data = self._read(config)
        return self._dataset(config, data.sets, data.videos, True)

    def validation_data(self, config: TrainConfig) -> RGBDataset | None:
        data = self._read(config)
        if not data.validation and not data.validation_videos:
            return None
        return self._dataset(config, data.validation, data.validation_videos, False)

    def build_model(self, config: TrainConfig) -> nn.Module:
        data = self._read(config)
        skeleton = self._skeleton(data)
        torch.manual_seed(config.seed)
        model = RGBGuided(self._config(config, skeleton))
        model.skeleton.load_state_dict(skeleton.state_dict())
        if data.backbone_weights is not None:
            load_backbone(model.backbone, data.backbone_weights)
        return model

    def collect(self, model: nn.Module, config: TrainConfig) -> Checkpoint:
        assert isinstance(model, RGBGuided)
        return Checkpoint(dict(model.state_dict()), {"model": "rgb_guided", "rgb_guided": asdict(model.config)}, {}, card="")


def load_rgb_guided(path: str | Path) -> RGBGuided:
    """A trained RGB branch with its skeleton, in evaluation mode and without gradients; InputError for another kind."""
    checkpoint = load_checkpoint(path, "rgb_guided")
    return with_weights(RGBGuided(build_config(RGBGuidedConfig, checkpoint.config["rgb_guided"], "rgb_guided")), checkpoint)


@torch.no_grad()
def recognise_pictures(model: RGBGuided, data: RGBDataset, batch_size: int = 64) -> tuple[Heads, Tensor]:
    """Probabilities (N, L) of picture, skeleton and fusion for a dataset without augmentation, and its true labels (N,)."""
    generator, found, truth = torch.Generator(), [], []
    for first in range(0, len(data), batch_size):
        batch = data.batch(np.arange(first, min(first + batch_size, len(data))), generator)
        truth.append(batch.pop("label"))
        found.append(heads(model, model(**batch)))
    return Heads(*(torch.cat(part) for part in zip(*found, strict=True))), torch.cat(truth)

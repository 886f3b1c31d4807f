"""Training of G-HTT's image side: E^I on drawn frames (`palmist.inputs.image_bank`), then E^PO on what E^I says of clips.

The networks are in `palmist.models.ghtt_image`. A checkpoint of either task holds E^I, the second also E^PO.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from palmist.checkpoint import Checkpoint
from palmist.config import TrainConfig, build_config, merge
from palmist.errors import InputError
from palmist.inputs.image_bank import DrawConfig, FrameBank, draw_frames, draw_placed, place, recolour, targets
from palmist.models.ghtt_image import PRESETS, ClipObjectConfig, ClipObjectDetector, ImageEstimator, ImageEstimatorConfig
from palmist.models.resnet import load_backbone
from palmist.perception.image_estimator import as_input, load_estimator
from palmist.tasks.labelled import SetConfig, preset_settings, read_set

__all__ = ["ClipDataset", "ClipObjectTask", "ImageDataset", "ImageTask", "clip_features"]

#: Added to the seed of the training clips for those of the validation and of the second training.
_VALIDATION_SEED, _CLIP_SEED = 1_000, 2_000
#: E^PO of a narrow E^I; the width is E^I's.
_CLIP_PRESETS = {"paper": ClipObjectConfig(), "small": ClipObjectConfig(heads=4, feedforward=384, label_dim=384)}


@dataclass(frozen=True)
class ImageDataConfig:
    """`data` of the task image_estimator.

    draw: see `DrawConfig`. validation_clips: drawn of the validation sets. colour: strength of the colour jitter, 1 = the
    authors'. backbone: a local file with ImageNet weights of a ResNet-18 (base width 64); None starts from nothing.
    """

    sets: dict[str, SetConfig] = field(default_factory=dict)
    validation: dict[str, SetConfig] = field(default_factory=dict)
    draw: DrawConfig = field(default_factory=DrawConfig)
    validation_clips: int = 100
    text_encoder: str = "hashed"
    augment: bool = True
    colour: float = 1.0
    backbone: str | None = None


@dataclass(frozen=True)
class ClipDataConfig(ImageDataConfig):
    """`data` of the task clip_object. i_checkpoint: the folder of a finished E^I; its objects must be those that are drawn."""

    i_checkpoint: str = ""


class ImageDataset:
    """Frames of a bank, placed and coloured anew for every batch, or whole and as drawn without augmentation."""

    def __init__(self, bank: FrameBank, width: int, height: int, augment: bool, colour: float = 1.0) -> None:
        self.bank, self.width, self.height, self.augment, self.colour = bank, width, height, augment, colour

    def __len__(self) -> int:
        return len(self.bank)

    def batch(self, indices: np.ndarray, generator: torch.Generator) -> dict[str, Tensor]:
        """images (B, 3, H, W), codes and known (B, 2, 21, 3), present (B, 2), object (B,)."""
        placement = place(self.bank.images.shape[1], len(indices), generator if self.augment else None)
        pictures = draw_placed(self.bank.images[indices], placement, self.width, self.height)
        if self.augment:
            pictures = recolour(pictures, generator, self.colour)
        return {"images": as_input(pictures), **targets(self.bank, indices, placement)}


def _draw(data: ImageDataConfig, name: str, config: DrawConfig, seed: int) -> FrameBank:
    sets: Mapping[str, SetConfig] = getattr(data, name)
    if not sets:
        raise InputError("data.sets is empty; name at least one set, for example asl_words: {}")
    return draw_frames([(read_set(key, entry), entry.share) for key, entry in sets.items()], config, seed)


class ImageTask:
    """Train E^I."""

    def _model_config(self, config: TrainConfig) -> ImageEstimatorConfig:
        return build_config(ImageEstimatorConfig, preset_settings(config.model, PRESETS, "image_estimator"), "model")

    def _dataset(self, config: TrainConfig, name: str) -> ImageDataset | None:
        data = build_config(ImageDataConfig, config.data, "data")
        training = name == "sets"
        if not training and not data.validation:
            return None
        drawn = data.draw if training else replace(data.draw, clips=data.validation_clips, mirror=False)
        bank = _draw(data, name, drawn, config.seed if training else config.seed + _VALIDATION_SEED)
        model = self._model_config(config)
        return ImageDataset(bank, model.input_width, model.input_height, data.augment and training, data.colour)

    def train_data(self, config: TrainConfig) -> ImageDataset:
        data = self._dataset(config, "sets")
        assert data is not None
        return data

    def validation_data(self, config: TrainConfig) -> ImageDataset | None:
        return self._dataset(config, "validation")

    def build_model(self, config: TrainConfig) -> nn.Module:
        from palmist.text.encoder import encode_labels

        data = build_config(ImageDataConfig, config.data, "data")
        settings = self._model_config(config)
        names = data.draw.held
        features, _ = encode_labels(names, data.text_encoder)
        torch.manual_seed(config.seed)
        frozen = data.backbone is not None
        label_dim = features.shape[1] if names else settings.label_dim
        model = ImageEstimator(replace(settings, label_dim=label_dim, frozen_statistics=frozen))
        if data.backbone is not None:
            load_backbone(model.backbone, data.backbone)
        model.set_objects(names, torch.as_tensor(features).reshape(len(names), label_dim))
        return model

    def collect(self, model: nn.Module, config: TrainConfig) -> Checkpoint:
        assert isinstance(model, ImageEstimator)
        data = build_config(ImageDataConfig, config.data, "data")
        return _checkpoint(model, None, data)


def _checkpoint(model: ImageEstimator, detector: ClipObjectDetector | None, data: ImageDataConfig) -> Checkpoint:
    state = {f"i.{name}": tensor for name, tensor in model.state_dict().items()}
    settings: dict[str, Any] = {"model": "image_estimator", "image_estimator": asdict(model.config), "clip_object": None}
    if detector is not None:
        state |= {f"po.{name}": tensor for name, tensor in detector.state_dict().items()}
        settings["clip_object"] = asdict(detector.config)
    settings |= {"draw": asdict(data.draw), "text_encoder": data.text_encoder}
    return Checkpoint(state, settings, {}, card="")


# --------------------------------------------------------------------------------------------------------------------
# E^PO


@torch.no_grad()
def clip_features(
    model: ImageEstimator, bank: FrameBank, seed: int | None = None, colour: float = 1.0
) -> tuple[Tensor, Tensor, Tensor]:
    """What E^I says of the things in every clip of a bank.

    Args:
        seed: of places and colours; None: whole squares as drawn. colour: strength of the colour jitter.

    Returns:
        objects (M, T, D), frames (M, T) bool, and the clips' objects (M,): the one that any frame shows, -1 = none.
    """
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    size, width, height = bank.images.shape[1], model.config.input_width, model.config.input_height
    count, found = len(bank.names), []
    longest = int(np.bincount(bank.clip).max())
    frames = torch.zeros((count, longest), dtype=torch.bool)
    label = torch.full((count,), -1)
    objects = torch.zeros((count, longest, model.backbone.width))
    model.eval()
    for number in range(count):
        rows = np.flatnonzero(bank.clip == number)
        one = place(size, 1, generator)  # the same for all frames, as one video has it
        placement = replace(one, **{name: getattr(one, name).repeat(len(rows), 0) for name in one.__dataclass_fields__})
        pictures = draw_placed(bank.images[rows], placement, width, height)
        if generator is not None:
            pictures = recolour(pictures, generator, colour)
        objects[number, : len(rows)] = model(as_input(pictures)).objects
        frames[number, : len(rows)] = True
        seen = bank.object[rows]
        found.append(int(seen.max()))
    label[:] = torch.tensor(found)
    return objects, frames, label


class ClipDataset:
    """Clips' object features; in training a random part of each."""

    def __init__(self, objects: Tensor, frames: Tensor, label: Tensor, augment: bool) -> None:
        self.objects, self.frames, self.label, self.augment = objects, frames, label, augment

    def __len__(self) -> int:
        return len(self.objects)

    def batch(self, indices: np.ndarray, generator: torch.Generator) -> dict[str, Tensor]:
        """objects (B, T, D), frames (B, T), object (B,): see `ClipObjectDetector.loss`."""
        frames = self.frames[indices]
        if self.augment:  # half of the frames are lost, never the first
            lost = torch.rand(frames.shape, generator=generator) < 0.5
            lost[:, 0] = False
            frames = frames & ~lost
        return {"objects": self.objects[indices], "frames": frames, "object": self.label[indices]}


class ClipObjectTask:
    """Train E^PO on the object features of a finished E^I, which stays as it is."""

    def _read(self, config: TrainConfig) -> tuple[ClipDataConfig, ImageEstimator]:
        data = build_config(ClipDataConfig, config.data, "data")
        if not data.i_checkpoint:
            raise InputError("data.i_checkpoint is empty; name the folder of a finished E^I, such as runs/e_i_small/last")
        model, _ = load_estimator(data.i_checkpoint)
        if model.config.objects != data.draw.held or not data.draw.held:
            known, drawn = ", ".join(model.config.objects) or "none", ", ".join(data.draw.held) or "none"
            raise InputError(f"E^I in {data.i_checkpoint} knows the objects {known}, data.draw.held has {drawn}; draw the same")
        return data, model

    def _dataset(self, config: TrainConfig, name: str) -> ClipDataset:
        data, model = self._read(config)
        training = name == "sets"
        drawn = data.draw if training else replace(data.draw, clips=data.validation_clips, mirror=False)
        seed = config.seed + _CLIP_SEED + (0 if training else _VALIDATION_SEED)
        bank = _draw(data, name, drawn, seed)
        augment = training and data.augment
        return ClipDataset(*clip_features(model, bank, seed if augment else None, data.colour), augment)

    def train_data(self, config: TrainConfig) -> ClipDataset:
        return self._dataset(config, "sets")

    def validation_data(self, config: TrainConfig) -> ClipDataset | None:
        return self._dataset(config, "validation") if build_config(ClipDataConfig, config.data, "data").validation else None

    def build_model(self, config: TrainConfig) -> nn.Module:
        _, model = self._read(config)
        torch.manual_seed(config.seed)
        settings = preset_settings(config.model, _CLIP_PRESETS, "clip_object")
        labels = model.labels.features
        settings = merge(settings, {"width": model.backbone.width, "label_dim": labels.shape[1]})
        detector = ClipObjectDetector(build_config(ClipObjectConfig, settings, "model"))
        detector.set_objects(model.config.objects, labels)
        return detector

    def collect(self, model: nn.Module, config: TrainConfig) -> Checkpoint:
        assert isinstance(model, ClipObjectDetector)
        data, estimator = self._read(config)
        return _checkpoint(estimator, model, data)

"""Train BHaRNet on skeleton clips: NTU RGB+D, PKU-MMD, Northwestern-UCLA and whatever else `palmist.skeleton_clip` holds.

`palmist.tasks.skeletons` is the same network on recordings of signed words, about the shoulders of one person.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from palmist.checkpoint import Checkpoint, load_checkpoint, with_weights
from palmist.config import TrainConfig, build_config, merge
from palmist.errors import InputError
from palmist.inputs.clip_source import ClipSource, open_clips
from palmist.inputs.skeleton_clips import ClipArrays, ClipInput, clip_batch, prepare_clip, rotate_batch
from palmist.models.bharnet import PRESETS, BHaRNet, BHaRNetConfig, fuse
from palmist.skeleton_clip import SkeletonClip
from palmist.tasks.labelled import preset_settings

__all__ = ["ClipDataset", "ClipTask", "TrainedClips", "labels_of", "load_clip_model", "recognise_clips"]

KIND = "bharnet_clips"
_TEST_SHARE = 0.95  # of a clip, its middle (specification, 8.1)


@dataclass(frozen=True)
class ClipSetConfig:
    """store: a folder that `palmist prepare` or `write_clip` filled. split: a part of an official split, "xsub_train"; None:
    all clips."""

    store: str = ""
    split: str | None = None


@dataclass(frozen=True)
class ClipDataConfig:
    """`data` of the task bharnet_clips.

    crop: the smallest share of a clip that a training window shows; shortest: frames that it shows at least. rotation: largest
    angle of a random turn about each axis, radians.
    """

    sets: dict[str, ClipSetConfig] = field(default_factory=dict)
    validation: dict[str, ClipSetConfig] = field(default_factory=dict)
    input: ClipInput = field(default_factory=ClipInput)
    augment: bool = True
    crop: float = 0.5
    shortest: int = 64
    rotation: float = 0.3

    def __post_init__(self) -> None:
        if not 0 < self.crop <= 1 or self.shortest < 1 or self.rotation < 0:
            raise InputError(
                f"crop is {self.crop}, shortest {self.shortest}, rotation {self.rotation}; expected a share above 0 up to 1, "
                "1 or more frames, and an angle of 0 or more"
            )


class ClipDataset:
    """Batches of clips; with augmentation each a random part of its clip, turned a little.

    A clip is read when it is asked for, so that a set need not fit into memory.
    """

    def __init__(
        self,
        clips: Sequence[SkeletonClip],
        label: Sequence[int],
        model: BHaRNetConfig,
        data: ClipDataConfig,
        use_augmentation: bool = False,
    ) -> None:
        self.clips, self.label = clips, torch.tensor(list(label), dtype=torch.long)
        self.model, self.data, self.use_augmentation = model, data, use_augmentation

    def __len__(self) -> int:
        return len(self.label)

    def batch(self, indices: np.ndarray, generator: torch.Generator) -> dict[str, Tensor]:
        """body (B, M, F, V, 3), body_known, hands (B, M, 2, F, 21, 3), hands_known, label (B,), -1 = not labelled."""
        parts = [self._prepare(self.clips[int(index)]) for index in indices]
        total = np.array([len(part) for part in parts])
        drawn = torch.rand((len(parts), 5), generator=generator, dtype=torch.float64)
        if self.use_augmentation:
            share = self.data.crop + (1 - self.data.crop) * drawn[:, 0].numpy()
            length = np.minimum(np.maximum((total * share).astype(int), self.data.shortest), total)
            start = (drawn[:, 1].numpy() * (total - length + 1)).astype(int)
        else:
            start = ((1 - _TEST_SHARE) * total / 2).astype(int)
            length = total - 2 * start
        batch = clip_batch(parts, self.data.input.persons, self.model.frames, start, length)
        if self.use_augmentation and self.data.rotation:
            rotate_batch(batch, ((2 * drawn[:, 2:] - 1) * self.data.rotation).float(), parts)
        return {**batch, "label": self.label[torch.from_numpy(np.asarray(indices))]}

    def _prepare(self, clip: SkeletonClip) -> ClipArrays:
        if clip.layout != self.model.body_graph:
            raise InputError(
                f"'{clip.name}' has a body of layout '{clip.layout}', the network one of '{self.model.body_graph}'; expected "
                f"the same; train with --model.body_graph {clip.layout}"
            )
        return prepare_clip(clip, self.data.input, self.model.hand_origin)


class JoinedClips(Sequence[SkeletonClip]):
    """Several sources, one after the other."""

    def __init__(self, sources: Sequence[ClipSource]) -> None:
        self._place = [(source, row) for source in sources for row in range(len(source))]

    def __len__(self) -> int:
        return len(self._place)

    def __getitem__(self, position: Any) -> Any:
        source, row = self._place[position]
        return source[row]


def labels_of(source: ClipSource) -> tuple[str, ...]:
    """All labels of a source, whatever the split: in the order of the set's own numbers, those without one by name."""
    found = {(one.number is None, one.number or 0, one.label) for one in source.facts if one.label is not None}
    return tuple(dict.fromkeys(label for _, _, label in sorted(found)))


class ClipTask:
    """The task bharnet_clips; `collect` also keeps how clips are prepared, for `load_clip_model`."""

    def _read(self, config: TrainConfig) -> ClipDataConfig:
        return build_config(ClipDataConfig, config.data, "data")

    def _model(self, config: TrainConfig, labels: Sequence[str]) -> BHaRNetConfig:
        settings = merge(preset_settings(config.model, PRESETS, "bharnet"), {"labels": list(labels)})
        return build_config(BHaRNetConfig, settings, "model")

    def _labels(self, config: TrainConfig) -> tuple[str, ...]:
        sets = self._read(config).sets
        if not sets:
            raise InputError(
                "data.sets is empty; name at least one, for example clips: {store: stores/ntu60, split: xsub_train}"
            )
        labels = tuple(dict.fromkeys(label for entry in sets.values() for label in labels_of(open_clips(entry.store))))
        if not labels:
            raise InputError(
                f"the clips of {', '.join(entry.store for entry in sets.values())} have no labels; expected one each; prepare "
                "untrimmed videos with --option form=instances"
            )
        return labels

    def _data(self, config: TrainConfig, name: str) -> ClipDataset | None:
        data, labels = self._read(config), self._labels(config)
        entries: dict[str, ClipSetConfig] = getattr(data, name)
        if not entries:
            return None
        sources = [open_clips(entry.store).chosen(entry.split) for entry in entries.values()]
        row = {label: place for place, label in enumerate(labels)}
        label = [row.get(one.label or "", -1) for source in sources for one in source.facts]
        training = name == "sets"
        return ClipDataset(JoinedClips(sources), label, self._model(config, labels), data, training and data.augment)

    def train_data(self, config: TrainConfig) -> ClipDataset:
        data = self._data(config, "sets")
        assert data is not None
        return data

    def validation_data(self, config: TrainConfig) -> ClipDataset | None:
        return self._data(config, "validation")

    def build_model(self, config: TrainConfig) -> nn.Module:
        torch.manual_seed(config.seed)
        return BHaRNet(self._model(config, self._labels(config)))

    def collect(self, model: nn.Module, config: TrainConfig) -> Checkpoint:
        assert isinstance(model, BHaRNet)
        facts = {"model": KIND, "bharnet": asdict(model.config), "clips": asdict(self._read(config).input)}
        return Checkpoint(dict(model.state_dict()), facts, {}, card="")


@dataclass(frozen=True)
class TrainedClips:
    """A BHaRNet trained on clips, in evaluation mode, and how it wants its clips."""

    model: BHaRNet
    input: ClipInput

    @property
    def stream(self) -> str:
        """Its input streams as one name: "bone", or "joint+bone" for a network that takes both."""
        return "+".join(self.model.config.streams)


def load_clip_model(path: str | Path) -> TrainedClips:
    """A checkpoint of the task bharnet_clips; InputError for one of another kind."""
    checkpoint = load_checkpoint(path, KIND)
    model = with_weights(BHaRNet(build_config(BHaRNetConfig, checkpoint.config["bharnet"], "bharnet")), checkpoint)
    return TrainedClips(model, build_config(ClipInput, checkpoint.config["clips"], "clips"))


@torch.no_grad()
def recognise_clips(trained: TrainedClips, clips: Sequence[SkeletonClip], batch_size: int = 64) -> Tensor:
    """Probabilities (N, L) of the network's labels, from the middle of every clip; on a GPU where there is one."""
    model, device = trained.model, torch.device("cuda" if torch.cuda.is_available() else "cpu")
    data = ClipDataset(clips, [-1] * len(clips), model.config, ClipDataConfig(input=trained.input))
    model.to(device)
    found = []
    for first in range(0, len(data), batch_size):
        batch = data.batch(np.arange(first, min(first + batch_size, len(data))), torch.Generator())
        batch.pop("label")
        scores = model(**{name: tensor.to(device) for name, tensor in batch.items()})
        found.append(fuse(scores, model.config.fusion).softmax(-1).cpu())
    return torch.cat(found)

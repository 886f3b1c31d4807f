"""What `palmist train` can train: the two blocks of G-HTT, one after the other.

``ghtt_p`` takes every recording whatever its labels, and so does ``ghtt_refine``, for a finished P-block's refiner alone;
``ghtt_a`` takes labelled ones and a finished P-block, which stays frozen.
All read the project's open data by name, or a user's store by path.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from palmist.action_bank import ActionDataset, ActionGroup, HandStore, as_json
from palmist.augment import AugmentConfig
from palmist.checkpoint import Checkpoint, load_checkpoint
from palmist.config import TrainConfig, build_config, merge
from palmist.errors import InputError
from palmist.models.ghtt import GHTT, PRESETS, GHTTConfig
from palmist.models.ghtt_action_block import ABlockConfig
from palmist.models.ghtt_pose_block import PBlock, PBlockConfig
from palmist.pose_bank import NoiseConfig, PoseBank, WindowDataset, mirror_sequence
from palmist.readers import READERS, open_data
from palmist.recording import Recording
from palmist.splits import recordings_of
from palmist.windows import PoseSequence, to_pose_sequence

__all__ = ["TASKS", "ActionTask", "LabelledDataConfig", "LabelledTask", "PoseTask", "preset_settings"]


@dataclass(frozen=True)
class SetConfig:
    """One source of recordings.

    reader: an open set's name (default: the key it stands under), or None with ``store`` = the folder of a store.
    subjects: people to train on, None for all. split: only recordings of this official split, for example "train".
    exclude: names of recordings to leave out (a set that names nobody is split by recording).
    share: chance of a training window to come from this set.
    span: a name in a recording's provenance that holds [start, end] seconds to train on, None for the whole.
    unsigned_label: label for synthetic recordings without a sign, see `palmist.augment.make_unsigned`; unsigned_share: their
        share of a batch.
    """

    reader: str | None = None
    store: str | None = None
    subjects: list[str] | None = None
    split: str | None = None
    exclude: list[str] = field(default_factory=list)
    share: float = 1.0
    span: str | None = None
    unsigned_label: str | None = None
    unsigned_share: float = 0.08
    augment: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class PoseDataConfig:
    """`data` of the task ghtt_p."""

    sets: dict[str, SetConfig] = field(default_factory=dict)
    validation: dict[str, SetConfig] = field(default_factory=dict)
    mirror: bool = False
    noise: NoiseConfig = field(default_factory=NoiseConfig)
    cut_probability: float = 0.25
    clean_probability: float = 0.0


@dataclass(frozen=True)
class RefineDataConfig(PoseDataConfig):
    """`data` of the task ghtt_refine. p_checkpoint: the folder of a finished P-block."""

    p_checkpoint: str = ""


@dataclass(frozen=True)
class LabelledDataConfig:
    """`data` of every task on labelled recordings."""

    sets: dict[str, SetConfig] = field(default_factory=dict)
    validation: dict[str, SetConfig] = field(default_factory=dict)
    text_encoder: str = "auto"
    augment: bool = True
    whole_probability: float = 0.5
    max_clips: int = 8


@dataclass(frozen=True)
class ActionDataConfig(LabelledDataConfig):
    """`data` of the task ghtt_a. p_checkpoint: the folder of a finished P-block."""

    p_checkpoint: str = ""


def load_recordings(name: str, config: SetConfig) -> list[Recording]:
    """The recordings of a set, of the named people only."""
    if config.store is not None:
        from palmist.store import Store

        recordings = list(Store.open(Path(config.store)))
    else:
        known = config.reader or name
        if known not in READERS:
            raise InputError(f"data set '{known}' is not known; expected one of {', '.join(READERS)}, or give a store")
        recordings = open_data(known)
    chosen = [r for r in recordings_of(recordings, config.subjects) if r.name not in config.exclude]
    if not chosen:
        there = sorted({str(recording.subject) for recording in recordings})
        raise InputError(f"set '{name}' has no recording of {config.subjects}; expected subjects among {there}")
    if config.split is not None:
        splits = sorted({str(recording.split) for recording in chosen})
        chosen = [recording for recording in chosen if recording.split == config.split]
        if not chosen:
            raise InputError(f"set '{name}' has no recording of split '{config.split}'; expected one of {', '.join(splits)}")
    return chosen


def _sequences(recordings: list[Recording], rate: float) -> list[PoseSequence]:
    return [to_pose_sequence(recording, rate) for recording in recordings]


class PoseTask:
    """Train a P-block on all recordings, whatever their labels."""

    data_config: type[PoseDataConfig] = PoseDataConfig

    def _data(self, config: TrainConfig, name: str) -> WindowDataset | None:
        data = build_config(self.data_config, config.data, "data")
        sets: Mapping[str, SetConfig] = getattr(data, name)
        if not sets:
            return None
        model = self._model_config(config)
        sequences: list[PoseSequence] = []
        chances: list[np.ndarray] = []
        for key, entry in sets.items():
            recordings = [r for r in load_recordings(key, entry) if r.valid.any()]
            here = _sequences(recordings, model.rate)
            if data.mirror and name == "sets":
                here = here + [mirror_sequence(sequence) for sequence in here]
            frames = sum(len(sequence) for sequence in here)
            sequences += here
            chances.append(np.full(len(here), entry.share / frames))
        return WindowDataset(
            PoseBank(sequences),
            np.concatenate(chances),
            clip_length=model.clip_length,
            cut_probability=data.cut_probability if name == "sets" else 0.0,
            clean_probability=data.clean_probability if name == "sets" else 0.0,
            noise=data.noise,
            stride=1 if name == "sets" else model.clip_length,
        )

    def _model_config(self, config: TrainConfig) -> PBlockConfig:
        return build_config(PBlockConfig, _ghtt_settings(config.model, "p"), "model")

    def train_data(self, config: TrainConfig) -> WindowDataset:
        data = self._data(config, "sets")
        if data is None:
            raise InputError("data.sets is empty; name at least one set, for example asl_words: {}")
        return data

    def validation_data(self, config: TrainConfig) -> WindowDataset | None:
        return self._data(config, "validation")

    def build_model(self, config: TrainConfig) -> nn.Module:
        torch.manual_seed(config.seed)
        return PBlock(self._model_config(config))

    def collect(self, model: nn.Module, config: TrainConfig) -> Checkpoint:
        block = model
        assert isinstance(block, PBlock)
        state = {f"p.{name}": tensor for name, tensor in block.state_dict().items()}
        settings = {"model": "ghtt", "ghtt": GHTTConfig(block.config, None).to_dict()}
        return Checkpoint(state, settings, {}, card="")


def preset_settings(model: Mapping[str, Any], presets: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """`{preset: small, width: 96}` as the settings of one of `presets` (dataclasses) with the changes."""
    changes = dict(model)
    name = changes.pop("preset", "small")
    if name not in presets:
        raise InputError(f"there is no preset '{name}' of {kind}; choose one of: {', '.join(presets)}")
    return merge(asdict(presets[name]), changes)


def _ghtt_settings(model: Mapping[str, Any], part: str) -> dict[str, Any]:
    """The settings of one block, "p" or "a", of a G-HTT preset."""
    return preset_settings(model, {name: getattr(preset, part) for name, preset in PRESETS.items()}, "ghtt")


def load_p_block(path: str | Path) -> PBlock:
    """The P-block of a G-HTT checkpoint, in evaluation mode and without gradients."""
    from palmist.checkpoint import load_model_state

    checkpoint = load_checkpoint(path)
    settings = GHTTConfig.from_dict(checkpoint.config["ghtt"])
    block = PBlock(settings.p)
    state = {name[2:]: tensor for name, tensor in checkpoint.state.items() if name.startswith("p.")}
    load_model_state(block, state)
    return block.eval().requires_grad_(False)


class RefinerTraining(nn.Module):
    """A P-block of which only the refiner learns."""

    def __init__(self, block: PBlock) -> None:
        super().__init__()
        self.block = block.requires_grad_(False)
        assert block.refiner is not None
        block.refiner.requires_grad_(True)

    def loss(self, batch: Mapping[str, Any], generator: torch.Generator | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        return self.block.refinement_loss(batch)


class RefineTask(PoseTask):
    """Train the refiner of a finished P-block (deviation 17), all else frozen: an A-block over it stays valid."""

    data_config = RefineDataConfig

    def _finished(self, config: TrainConfig) -> PBlock:
        data = build_config(RefineDataConfig, config.data, "data")
        if not data.p_checkpoint:
            raise InputError("data.p_checkpoint is empty; name the folder of a finished P-block, such as runs/p_small/last")
        return load_p_block(data.p_checkpoint)

    def _model_config(self, config: TrainConfig) -> PBlockConfig:
        wanted = build_config(PBlockConfig, _ghtt_settings(config.model, "p"), "model")
        if not wanted.refine_layers:
            raise InputError("model.refine_layers is 0, so there is nothing to train; expected 1 or more")
        return replace(self._finished(config).config, refine_layers=wanted.refine_layers)

    def build_model(self, config: TrainConfig) -> nn.Module:
        torch.manual_seed(config.seed)
        block = PBlock(self._model_config(config))
        block.load_state_dict(self._finished(config).state_dict(), strict=False)
        return RefinerTraining(block)

    def collect(self, model: nn.Module, config: TrainConfig) -> Checkpoint:
        assert isinstance(model, RefinerTraining)
        return super().collect(model.block, config)


class LabelledTask(ABC):
    """What the tasks on labelled recordings share: sets become groups, labels text features."""

    data_config: type[LabelledDataConfig] = LabelledDataConfig

    def __init__(self) -> None:
        self._taxonomies: dict[str, Any] = {}
        self._encoder_name = "auto"

    @abstractmethod
    def _rate(self, config: TrainConfig) -> float:
        """Frames per second of the sequences."""

    @abstractmethod
    def _dataset(self, config: TrainConfig, groups: list[ActionGroup], use_augmentation: bool) -> ActionDataset:
        """Batches of the groups."""

    def _read(self, config: TrainConfig) -> Any:
        return build_config(self.data_config, config.data, "data")

    def _labels(self, data: LabelledDataConfig) -> tuple[str, ...]:
        """All labels of the training sets in order of appearance of the sets, sorted within each."""
        labels: list[str] = []
        for key, entry in data.sets.items():
            here = {segment.label for recording in load_recordings(key, entry) for segment in recording.segments}
            labels += sorted(here - set(labels))
        return tuple(labels)

    def _groups(self, data: LabelledDataConfig, name: str, labels: tuple[str, ...], rate: float) -> list[ActionGroup]:
        row = {label: i for i, label in enumerate(labels)}
        sets: Mapping[str, SetConfig] = getattr(data, name)
        groups = []
        for key, entry in sets.items():
            items = [item for recording in load_recordings(key, entry) for item in labelled_parts(recording, entry.span)]
            if not items:
                raise InputError(f"set '{key}' has no labelled part; prepare it with its labels or leave it out of data.{name}")
            sequences = [to_pose_sequence(recording, rate) for recording, _ in items]
            label = torch.tensor([row.get(label, -1) for _, label in items])
            candidates = torch.zeros(len(labels), dtype=torch.bool)
            candidates[[row[text] for text in {t for _, t in items} if text in row]] = True
            unsigned = row.get(entry.unsigned_label) if entry.unsigned_label is not None else None
            groups.append(
                ActionGroup(
                    name=key,
                    hands=HandStore(sequences),
                    label=label,
                    candidates=candidates,
                    space=sequences[0].space,
                    share=entry.share,
                    unsigned_label=unsigned,
                    unsigned_share=entry.unsigned_share,
                    augment=build_config(AugmentConfig, entry.augment, f"data.sets.{key}.augment"),
                )
            )
        return groups

    def _data(self, config: TrainConfig, name: str) -> ActionDataset | None:
        data: LabelledDataConfig = self._read(config)
        if not getattr(data, name):
            return None
        labels = self._labels(data)
        groups = self._groups(data, name, labels, self._rate(config))
        if name == "sets":
            self._taxonomies = {group.name: as_json(group, labels) for group in groups}
        return self._dataset(config, groups, data.augment and name == "sets")

    def train_data(self, config: TrainConfig) -> ActionDataset:
        data = self._data(config, "sets")
        if data is None:
            raise InputError("data.sets is empty; name at least one labelled set, for example asl_words: {}")
        return data

    def validation_data(self, config: TrainConfig) -> ActionDataset | None:
        return self._data(config, "validation")

    def _features(self, config: TrainConfig) -> tuple[tuple[str, ...], Tensor]:
        """The labels and their text features (L, width)."""
        from palmist.text.encoder import encode_labels

        data: LabelledDataConfig = self._read(config)
        labels = self._labels(data)
        features, self._encoder_name = encode_labels(labels, data.text_encoder)
        return labels, torch.as_tensor(features)

    def _facts(self, kind: str, settings: Mapping[str, Any]) -> dict[str, Any]:
        """What the checkpoint of a model of this kind says of itself."""
        return {"model": kind, kind: dict(settings), "taxonomies": self._taxonomies, "text_encoder": self._encoder_name}


class ActionTask(LabelledTask):
    """Train an A-block on labelled recordings over a frozen P-block."""

    data_config = ActionDataConfig

    def _rate(self, config: TrainConfig) -> float:
        return load_p_block(self._read(config).p_checkpoint).config.rate

    def _dataset(self, config: TrainConfig, groups: list[ActionGroup], use_augmentation: bool) -> ActionDataset:
        data: ActionDataConfig = self._read(config)
        return ActionDataset(
            groups,
            load_p_block(data.p_checkpoint),
            use_augmentation=use_augmentation,
            whole_probability=data.whole_probability,
            max_clips=data.max_clips,
            config=build_config(ABlockConfig, _ghtt_settings(config.model, "a"), "model"),
        )

    def build_model(self, config: TrainConfig) -> nn.Module:
        from palmist.models.ghtt_action_block import ABlock

        torch.manual_seed(config.seed)
        labels, features = self._features(config)
        block = load_p_block(self._read(config).p_checkpoint)
        settings = merge(
            _ghtt_settings(config.model, "a"),
            {"mid_level_dim": block.config.width, "label_dim": features.shape[1], "labels": list(labels)},
        )
        model = ABlock(build_config(ABlockConfig, settings, "model"))
        model.set_labels(labels, features)
        return model

    def collect(self, model: nn.Module, config: TrainConfig) -> Checkpoint:
        from palmist.models.ghtt_action_block import ABlock

        assert isinstance(model, ABlock)
        block = load_p_block(self._read(config).p_checkpoint)
        whole = GHTTConfig(block.config, model.config)
        state = {f"p.{name}": tensor for name, tensor in block.state_dict().items()}
        state.update({f"a.{name}": tensor for name, tensor in model.state_dict().items()})
        return Checkpoint(state, self._facts("ghtt", whole.to_dict()), {}, card="")


def labelled_parts(recording: Recording, span: str | None) -> list[tuple[Recording, str]]:
    """A recording's labelled segments, each cut out with its label; ``span`` cuts the whole to a provenance interval."""
    parts = []
    for segment in recording.segments:
        start, end = segment.start, segment.end
        if span is not None:
            if span not in recording.provenance:
                continue
            start, end = recording.provenance[span]
        inside = np.nonzero((recording.time >= start - 1e-6) & (recording.time < end + 1e-6))[0]
        if len(inside) >= 2:
            parts.append((recording.slice(int(inside[0]), int(inside[-1]) + 1), segment.label))
    return parts


def _feature_task() -> Any:
    from palmist.feature_task import FeatureTask

    return FeatureTask()


def _rival_task(kind: str) -> Any:
    from palmist.rival_tasks import RivalTask

    return RivalTask(kind)


def _skeleton_task() -> Any:
    from palmist.skeleton_task import SkeletonTask

    return SkeletonTask()


def _plain_task() -> Any:
    from palmist.plain_task import PlainTask

    return PlainTask()


def _clip_task() -> Any:
    from palmist.clip_task import ClipTask

    return ClipTask()


def _rgb_task() -> Any:
    from palmist.rgb_task import RGBTask

    return RGBTask()


def _generative_task(name: str) -> Any:
    from palmist import generative_tasks

    return getattr(generative_tasks, name)()


def _image_task(name: str) -> Any:
    from palmist import image_task

    return getattr(image_task, name)()


def _video_task(kind: str) -> Any:
    from palmist.video_tasks import VideoTask

    return VideoTask(kind)


def _trec_task() -> Any:
    from palmist.trec_task import TRecTask

    return TRecTask()


def _video_text_task() -> Any:
    from palmist.video_text_task import VideoTextTask

    return VideoTextTask()


TASKS: dict[str, Callable[[], Any]] = {
    "ghtt_p": PoseTask,
    "ghtt_refine": RefineTask,
    "ghtt_a": ActionTask,
    "feature_network": _feature_task,
    "htt": partial(_rival_task, "htt"),
    "recognition_only": partial(_rival_task, "recognition_only"),
    "plain_transformer": _plain_task,
    "bharnet": _skeleton_task,
    "bharnet_clips": _clip_task,
    "rgb_guided": _rgb_task,
    "flattened": partial(_generative_task, "FlattenedTask"),
    "posegpt_codec": partial(_generative_task, "CodecTask"),
    "posegpt": partial(_generative_task, "PoseGPTTask"),
    "image_estimator": partial(_image_task, "ImageTask"),
    "clip_object": partial(_image_task, "ClipObjectTask"),
    "emim": partial(_video_task, "emim"),
    "uniformer": partial(_video_task, "uniformer"),
    "trec": _trec_task,
    "egovideo": _video_text_task,
}

__all__ += ["GHTT", "labelled_parts", "load_p_block", "load_recordings"]

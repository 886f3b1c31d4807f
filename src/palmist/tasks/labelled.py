"""What training on recordings shares: sets and their people, labelled parts, and the tasks on labelled recordings."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from palmist.config import TrainConfig, build_config, merge
from palmist.errors import InputError
from palmist.inputs.action_bank import ActionDataset, ActionGroup, HandStore, as_json
from palmist.inputs.augment import AugmentConfig
from palmist.inputs.windows import to_pose_sequence
from palmist.readers import READERS, open_data
from palmist.recording import Recording
from palmist.splits import recordings_of

__all__ = ["LabelledDataConfig", "LabelledTask", "SetConfig", "labelled_parts", "preset_settings", "read_set"]


@dataclass(frozen=True)
class SetConfig:
    """One source of recordings.

    reader: an open set's name (default: the key it stands under), or None with ``store`` = the folder of a store.
    subjects: people to train on, None for all. split: only recordings of this official split, for example "train".
    exclude: names of recordings to leave out (a set that names nobody is split by recording).
    share: chance of a training window to come from this set.
    span: a name in a recording's provenance that holds [start, end] seconds to train on, None for the whole.
    unsigned_label: label for synthetic recordings without a sign, see `palmist.inputs.augment.make_unsigned`; unsigned_share:
        their share of a batch.
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
class LabelledDataConfig:
    """`data` of every task on labelled recordings."""

    sets: dict[str, SetConfig] = field(default_factory=dict)
    validation: dict[str, SetConfig] = field(default_factory=dict)
    text_encoder: str = "auto"
    augment: bool = True
    whole_probability: float = 0.5
    max_clips: int = 8


def read_set(name: str, config: SetConfig) -> list[Recording]:
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


def preset_settings(model: Mapping[str, Any], presets: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """`{preset: small, width: 96}` as the settings of one of `presets` (dataclasses) with the changes."""
    changes = dict(model)
    name = changes.pop("preset", "small")
    if name not in presets:
        raise InputError(f"there is no preset '{name}' of {kind}; choose one of: {', '.join(presets)}")
    return merge(asdict(presets[name]), changes)


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
            here = {segment.label for recording in read_set(key, entry) for segment in recording.segments}
            labels += sorted(here - set(labels))
        return tuple(labels)

    def _groups(self, data: LabelledDataConfig, name: str, labels: tuple[str, ...], rate: float) -> list[ActionGroup]:
        row = {label: i for i, label in enumerate(labels)}
        sets: Mapping[str, SetConfig] = getattr(data, name)
        groups = []
        for key, entry in sets.items():
            items = [item for recording in read_set(key, entry) for item in labelled_parts(recording, entry.span)]
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

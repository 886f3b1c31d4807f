"""Where skeleton clips are read from, one by one: a store, or a folder of clip files.

A store holds what `palmist prepare` made. Clips whose hands were found in another space than their bodies do not fit into a
store; `palmist.skeleton_clip.write_clip` keeps them as files.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count, groupby
from pathlib import Path
from typing import Any

from palmist.errors import InputError
from palmist.files.npz import load_arrays
from palmist.skeleton_clip import SkeletonClip, clips_of, read_clip
from palmist.store import Store

__all__ = ["ClipFacts", "ClipSource", "open_clips", "parts_of"]


@dataclass(frozen=True)
class ClipFacts:
    """What is known of a clip without its arrays. parts: the parts of splits that it is in, such as "xsub_train", and "train"
    where the store was prepared for one split. where: its rows in the store, or its file.
    """

    name: str
    label: str | None
    number: int | None
    parts: frozenset[str]
    where: tuple[int, ...] | Path


class ClipSource(Sequence[SkeletonClip]):
    """A sequence of clips, each read when it is asked for; `facts` are those of every clip."""

    def __init__(self, path: Path, store: Store | None, facts: Sequence[ClipFacts]) -> None:
        self.path, self._store, self.facts = path, store, tuple(facts)

    def __len__(self) -> int:
        return len(self.facts)

    def __getitem__(self, position: Any) -> Any:
        where = self.facts[position].where
        if isinstance(where, Path):
            return read_clip(where)
        assert self._store is not None
        (clip,) = clips_of(self._store[row] for row in where)
        return clip

    def chosen(self, part: str | None) -> ClipSource:
        """The clips of one part, such as "xsub_train"; None: all. InputError names the parts that there are."""
        if part is None:
            return self
        facts = [one for one in self.facts if part in one.parts]
        if not facts:
            raise InputError(
                f"{self.path} has no clip of split '{part}'; expected one of {', '.join(parts_of(self.facts)) or 'none'}"
            )
        return ClipSource(self.path, self._store, facts)


def parts_of(facts: Sequence[ClipFacts]) -> list[str]:
    """All parts of splits, sorted."""
    return sorted(frozenset().union(*(one.parts for one in facts)))


def open_clips(path: str | Path) -> ClipSource:
    """A store, or a folder with the .npz of `write_clip`; nothing but names, labels and splits is read yet.

    Raises InputError when the folder is neither, is empty, or holds a damaged file.

    >>> open_clips("stores/ntu60").chosen("xsub_test")[0].label
    'clapping'
    """
    path = Path(path)
    files = sorted(path.glob("*.npz")) if not (path / "index.json").is_file() else []
    if files:
        return ClipSource(path, None, [_file_facts(file) for file in files])
    store = Store.open(path)
    if not len(store):
        raise InputError(f"{path} is an empty store; prepare one with: palmist prepare DATASET --root DIR --out STORE")
    return ClipSource(path, store, _store_facts(store))


def _store_facts(store: Store) -> list[ClipFacts]:
    """Rows in a row that are persons of one clip are one clip, as in `clips_of`."""
    own, found = count(), []
    rows = [(row, entry, dict(entry.get("provenance", {})).get("skeleton", {})) for row, entry in enumerate(store.index)]
    for _, group in groupby(rows, lambda item: item[2].get("clip", next(own))):
        persons = list(group)
        _, entry, shared = persons[0]
        labels = [segment["label"] for segment in entry.get("segments", ())]
        label = shared.get("label") or (labels[0] if len(labels) == 1 else None)
        parts = _parts(shared.get("splits", {})) | ({str(entry["split"])} if entry.get("split") else set())
        where = tuple(row for row, _, _ in persons)
        name = shared.get("clip", entry["name"])
        found.append(ClipFacts(name, label, shared.get("label_number"), frozenset(parts), where))
    return found


def _file_facts(file: Path) -> ClipFacts:
    try:
        facts = json.loads(str(load_arrays(file, ["metadata"])["metadata"]))
        splits = dict(facts.get("splits", {}))
        parts = _parts(splits) | (set(splits.values()) if len(splits) == 1 else set())
        return ClipFacts(str(facts["name"]), facts.get("label"), facts.get("label_number"), frozenset(parts), file)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{file} is not a skeleton clip ({error}); expected a file of write_clip") from error


def _parts(splits: dict[str, str]) -> set[str]:
    return {f"{name}_{part}" for name, part in splits.items()}

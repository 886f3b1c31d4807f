"""The checkpoints that Palmist knows by name, and where they lie.

>>> [model.name for model in models()]
['ghtt-small', 'bharnet-words', 'emim-words', 'trec-words', 'egovideo-words', 'estimator-small']
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from palmist.errors import InputError
from palmist.files.input_files import read_json

__all__ = ["DEFAULT_MODEL", "VIDEO_KINDS", "VIDEO_TEXT_KINDS", "Model", "checkpoint_path", "kind_of", "model_card", "models"]

DEFAULT_MODEL = "ghtt-small"
#: Kinds that know sentences (`palmist.inference.video_text`).
VIDEO_TEXT_KINDS = ("egovideo",)
#: Kinds of checkpoints that read the pixels of videos and nothing else (`palmist.inference`: videos, video_text).
VIDEO_KINDS = ("emim", "uniformer", "trec", "egovideo")


@dataclass(frozen=True)
class Model:
    """One named checkpoint.

    licence: of the weights; where: how to get it; path: its folder, None while it is not on this machine;
    taxonomies: name -> {"labels": [...], "space": ..., "body": bool}; size: bytes of the folder.
    """

    name: str
    description: str
    licence: str
    where: str
    path: Path | None = None
    taxonomies: Mapping[str, Any] = field(default_factory=dict)
    size: int = 0

    def to_json(self) -> dict[str, Any]:
        """Plain values: name, description, licence, where, installed, size_bytes, taxonomies."""
        return {
            "name": self.name,
            "description": self.description,
            "licence": self.licence,
            "where": self.where,
            "installed": self.path is not None,
            "size_bytes": self.size,
            "taxonomies": {name: dict(entry) for name, entry in self.taxonomies.items()},
        }


#: name -> (description, licence of the weights, where to get it)
_KNOWN: dict[str, tuple[str, str, str]] = {
    "ghtt-small": (
        "G-HTT, preset small: refines poses, recognises 16 signs, 28 letters and 3 grasps, predicts futures",
        "Apache-2.0; trained on recordings under MIT and Apache-2.0",
        "part of the package",
    ),
    "bharnet-words": (
        "BHaRNet, preset small: body and hand experts that recognise 16 signs; poses and futures are ghtt-small's",
        "Apache-2.0; trained on recordings under MIT",
        "part of the package",
    ),
    "emim-words": (
        "EMIM of a small size: recognises 16 signs in videos; trained on drawn recordings, not on photographs",
        "Apache-2.0; trained on recordings under MIT",
        "part of the package",
    ),
    "trec-words": (
        "TRec, preset small: recognises 16 signs in videos from frames and point tracks; trained on drawn recordings",
        "Apache-2.0; trained on recordings under MIT",
        "part of the package",
    ),
    "egovideo-words": (
        "EgoVideo, preset small: puts videos and sentences into one space; trained on drawn recordings and their narrations",
        "Apache-2.0; trained on recordings under MIT",
        "part of the package",
    ),
    "estimator-small": (
        "G-HTT's image estimator, preset small: finds hands in images (palmist read --hands estimator); trained on drawn hands",
        "Apache-2.0; trained on recordings under MIT and Apache-2.0",
        "part of the package",
    ),
}


def _shipped() -> Path:
    return Path(str(files("palmist"))) / "assets" / "checkpoints"


def models() -> list[Model]:
    """Every checkpoint that Palmist knows by name, shipped ones with their labels."""
    found = []
    for name, (description, licence, where) in _KNOWN.items():
        folder = _shipped() / name
        if not (folder / "config.json").is_file():
            found.append(Model(name, description, licence, where))
            continue
        config = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("config", {})
        size = sum(file.stat().st_size for file in folder.iterdir() if file.is_file())
        found.append(Model(name, description, licence, where, folder, config.get("taxonomies", {}), size))
    return found


def checkpoint_path(name_or_path: str | Path) -> Path:
    """The folder of a checkpoint, given by name ("ghtt-small") or by path.

    Raises:
        InputError: it is neither a known name nor an existing folder, or a named one is not on this machine.
    """
    name = str(name_or_path)
    if name in _KNOWN:
        folder = _shipped() / name
        if folder.is_dir():
            return folder
        if not Path(name).is_dir():
            raise InputError(
                f"the checkpoint '{name}' is missing from this installation; install Palmist again, "
                "or give the folder of a checkpoint, for example runs/a_small/last"
            )
    if not name or not Path(name).exists():
        raise InputError(
            f"no model or checkpoint '{name}'; expected one of {', '.join(_KNOWN)} or the folder of a checkpoint "
            "that palmist train wrote"
        )
    return Path(name)


def kind_of(name_or_path: str | Path) -> str | None:
    """The kind of network in a checkpoint ("ghtt", "emim", ...), None where its config.json does not tell.

    Raises InputError, as `checkpoint_path` does, if there is no such checkpoint.
    """
    folder = checkpoint_path(name_or_path)
    try:
        kind = read_json(folder / "config.json", "the settings of a checkpoint")["config"]["model"]
    except (InputError, LookupError, TypeError):
        return None  # whoever loads it says what is wrong
    return kind if isinstance(kind, str) else None


def model_card(name_or_path: str | Path) -> str:
    """The model card of a checkpoint, as Markdown; empty if it has none."""
    file = checkpoint_path(name_or_path) / "card.md"
    return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""

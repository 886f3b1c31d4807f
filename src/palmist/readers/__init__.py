"""Readers: one file per data set, each yields Recordings; the dict READERS names them.

>>> recordings = open_data("asl_words")
>>> recordings[0].segments[0].label
'idle'
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from palmist.errors import InputError
from palmist.readers.asl import read_letters, read_words
from palmist.readers.h2o import read_h2o
from palmist.readers.leap import read_leap
from palmist.readers.reach_to_grasp import read_reach_to_grasp
from palmist.recording import Recording

__all__ = ["OPEN_SETS", "READERS", "Reader", "data_root", "open_data", "reader"]


@dataclass(frozen=True)
class Reader:
    """How one data set becomes Recordings, and on what terms it may be used.

    read(root, **options) yields Recordings from the folder `root`; folder: where the project's own copy lies under
    data/, None when the set must be fetched by the user; gated: it needs a registration.
    """

    name: str
    description: str
    licence: str
    url: str
    credit: str
    read: Callable[..., Iterator[Recording]]
    folder: str | None = None
    gated: bool = False


READERS: dict[str, Reader] = {
    entry.name: entry
    for entry in (
        Reader(
            "asl_words",
            "16 signed words, both hands and upper body, 2.5D, 3 signers, 3,868 recordings of 20 frames",
            "MIT",
            "https://github.com/traduttore/traduttore-model",
            "Copyright (c) 2022 traduttore",
            read_words,
            folder="asl_words",
        ),
        Reader(
            "asl_letters",
            "28 classes of fingerspelling, 2.5D, 3 signers, 3,121 recordings of 20 frames",
            "MIT",
            "https://github.com/traduttore/traduttore-model",
            "Copyright (c) 2022 traduttore",
            read_letters,
            folder="asl_words",
        ),
        Reader(
            "reach_to_grasp",
            "8 people reach for cubes of 3 sizes, both hands and upper body, 2D, about 30 Hz, 715 recordings",
            "MIT",
            "https://github.com/nsoul97/object_size_prediction",
            "Copyright (c) 2022 Roboskel, NCSR Demokritos; Dagioglou, Soulounias, Giannakopoulos, HCII 2022",
            read_reach_to_grasp,
            folder="reach_to_grasp",
        ),
        Reader(
            "leap_recordings",
            "14 takes of a Leap Motion controller, metric 3D, one and two hands, 60 to 115 Hz, unlabelled",
            "Apache-2.0",
            "https://github.com/leapmotion/leapjs-playback",
            "Leap Motion, Inc.",
            read_leap,
            folder="leap_recordings",
        ),
        Reader(
            "h2o",
            "two hands and an object, 4 people, 36 actions, metric 3D, 30 Hz, 184 sequences",
            "own terms, registration needed",
            "https://taeinkwon.com/projects/h2o",
            "Kwon, Tekin, Stühmer, Bogo, Pollefeys, H2O: Two Hands Manipulating Objects, ICCV 2021",
            read_h2o,
            gated=True,
        ),
    )
}

#: The sets that the project carries in data/.
OPEN_SETS: tuple[str, ...] = tuple(name for name, entry in READERS.items() if entry.folder is not None)


def reader(name: str) -> Reader:
    """The reader of a data set; InputError lists the known names."""
    if name not in READERS:
        raise InputError(f"unknown data set '{name}'; expected one of {', '.join(READERS)}")
    return READERS[name]


def data_root() -> Path:
    """The folder with the project's open data: $PALMIST_DATA, else data/ of the repository, else ./data."""
    named = os.environ.get("PALMIST_DATA")
    if named:
        if not Path(named).is_dir():
            raise InputError(f"PALMIST_DATA names {named}, which is not a folder; expected the project's data folder")
        return Path(named)
    for candidate in (Path(__file__).resolve().parents[3] / "data", Path.cwd() / "data"):
        if (candidate / "asl_words").is_dir():
            return candidate
    raise InputError("the open data were not found; set PALMIST_DATA to the data folder of Palmist's repository")


def open_data(name: str) -> list[Recording]:
    """All recordings of one of the open sets, read once per process from the project's data folder.

    Raises InputError for an unknown or gated name, or when the data folder is missing.
    """
    entry = reader(name)
    if entry.folder is None:
        raise InputError(
            f"'{name}' is not shipped with Palmist ({entry.licence}); fetch it from {entry.url} and run "
            f"palmist prepare {name} --root FOLDER --out STORE"
        )
    return list(_read_once(name, data_root() / entry.folder))


@lru_cache(maxsize=8)
def _read_once(name: str, root: Path) -> tuple[Recording, ...]:
    return tuple(READERS[name].read(root))

"""Readers: one file per data set, each yields Recordings; the dict READERS names them.

>>> recordings = open_data("asl_words")
>>> recordings[0].segments[0].label
'idle'
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from palmist.errors import InputError
from palmist.readers.asl import read_letters, read_words
from palmist.readers.assembly101 import read_assembly101
from palmist.readers.assembly101_example import write_assembly101_example
from palmist.readers.assemblyhands import read_assemblyhands
from palmist.readers.assemblyhands_example import write_assemblyhands_example
from palmist.readers.dhg import read_dhg
from palmist.readers.dhg_example import write_dhg_example, write_shrec17_example
from palmist.readers.fpha import read_fpha
from palmist.readers.fpha_example import write_fpha_example
from palmist.readers.h2o import read_h2o
from palmist.readers.h2o_example import write_h2o_example
from palmist.readers.ipn_hand import read_ipn_hand_poses
from palmist.readers.kinect_sets_example import write_n_ucla_example, write_pku_mmd_example
from palmist.readers.labelled_video_example import write_ipn_hand_example, write_taco_example
from palmist.readers.leap import read_leap
from palmist.readers.n_ucla import read_n_ucla
from palmist.readers.ntu import read_ntu60, read_ntu120
from palmist.readers.ntu_example import write_ntu60_example, write_ntu120_example
from palmist.readers.pku_mmd import read_pku_mmd
from palmist.readers.pyskl import read_pyskl
from palmist.readers.pyskl_example import write_pyskl_example
from palmist.readers.reach_to_grasp import read_reach_to_grasp
from palmist.readers.shrec17 import read_shrec17
from palmist.readers.taco import read_taco_poses
from palmist.recording import Recording

__all__ = ["OPEN_SETS", "READERS", "Reader", "data_root", "open_data", "reader", "reader_options"]


@dataclass(frozen=True)
class Reader:
    """How one data set becomes Recordings, and on what terms it may be used.

    read(root, **options) yields Recordings from the folder `root`; folder: where the project's own copy lies under
    data/, None when the set must be fetched by the user; gated: it needs a registration; example(root) writes a tiny data
    set of the exact layout and returns root.
    """

    name: str
    description: str
    licence: str
    url: str
    credit: str
    read: Callable[..., Iterator[Recording]]
    folder: str | None = None
    gated: bool = False
    example: Callable[[Path], Path] | None = None


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
            example=write_h2o_example,
        ),
        Reader(
            "assembly101",
            "two hands take toys apart and build them, 1,380 fine and 202 coarse actions, metric 3D, 60 Hz, 362 sequences",
            "CC BY-NC 4.0",
            "https://assembly-101.github.io",
            "Sener, Chatterjee, Shelepov, He, Singhania, Wang, Yao, Assembly101, CVPR 2022",
            read_assembly101,
            gated=True,
            example=write_assembly101_example,
        ),
        Reader(
            "assemblyhands",
            "3D joints for Assembly101's videos, two hands, metric, about 30 Hz, with head-mounted cameras and boxes",
            "CC BY-NC 4.0",
            "https://assemblyhands.github.io",
            "Ohkawa, He, Sener, Hodan, Tran, Keskin, AssemblyHands, CVPR 2023",
            read_assemblyhands,
            gated=True,
            example=write_assemblyhands_example,
        ),
        Reader(
            "fpha",
            "one right hand, 45 actions of 6 people in first person, metric 3D, 30 Hz",
            "academic, non-commercial research only",
            "https://guiggh.github.io/publications/first-person-hands",
            "Garcia-Hernando, Yuan, Baek, Kim, First-Person Hand Action Benchmark, CVPR 2018",
            read_fpha,
            gated=True,
            example=write_fpha_example,
        ),
        Reader(
            "shrec17",
            "one right hand, 14 gestures in two ways of 28 people, metric 3D, 30 Hz, 2,800 sequences",
            "research only",
            "http://www-rech.telecom-lille.fr/shrec2017-hand",
            "De Smedt, Wannous, Vandeborre, Guerry, Le Saux, Filliat, SHREC'17 track, 3DOR 2017",
            read_shrec17,
            gated=True,
            example=write_shrec17_example,
        ),
        Reader(
            "dhg",
            "one right hand, 14 gestures in two ways of 20 people, metric 3D, 30 Hz, 2,800 sequences",
            "research only",
            "http://www-rech.telecom-lille.fr/DHGdataset",
            "De Smedt, Wannous, Vandeborre, Skeleton-based dynamic hand gesture recognition, CVPR workshops 2016",
            read_dhg,
            gated=True,
            example=write_dhg_example,
        ),
        Reader(
            "ipn_hand",
            "labels of 13 gestures and none in 200 videos of 50 people, 30 Hz; joins hands that you tracked there",
            "CC BY 4.0",
            "https://github.com/GibranBenitez/IPN-hand",
            "Benitez-Garcia et al., IPN Hand, ICPR 2020",
            read_ipn_hand_poses,
            example=write_ipn_hand_example,
        ),
        Reader(
            "taco",
            "labels of 2,317 videos: a verb, a tool, what it is used on; joins hands that you tracked there",
            "CC BY 4.0",
            "https://github.com/leolyliu/TACO-Instructions",
            "Liu et al., TACO, CVPR 2024",
            read_taco_poses,
            example=write_taco_example,
        ),
        Reader(
            "ntu60",
            "bodies (Kinect v2, 25 joints) of 40 people, 60 actions, metric 3D, 30 Hz, 56,880 samples of one or two people",
            "research only, registration needed",
            "https://rose1.ntu.edu.sg/dataset/actionRecognition",
            "Shahroudy, Liu, Ng, Wang, NTU RGB+D, CVPR 2016",
            read_ntu60,
            gated=True,
            example=write_ntu60_example,
        ),
        Reader(
            "ntu120",
            "NTU RGB+D and its extension: bodies of 106 people, 120 actions, metric 3D, 30 Hz, 114,480 samples",
            "research only, registration needed",
            "https://rose1.ntu.edu.sg/dataset/actionRecognition",
            "Liu, Shahroudy, Perez, Wang, Duan, Kot, NTU RGB+D 120, TPAMI 2020",
            read_ntu120,
            gated=True,
            example=write_ntu120_example,
        ),
        Reader(
            "pyskl",
            "skeletons of many sets in PySKL's pickles, 3D (Kinect) or 2D (17 joints); read without running anything in them",
            "Apache-2.0 tool; the skeletons on the terms of their own sets",
            "https://github.com/kennymckormick/pyskl",
            "Duan, Wang, Chen, Lin, PYSKL, ACM Multimedia 2022",
            read_pyskl,
            gated=True,
            example=write_pyskl_example,
        ),
        Reader(
            "pku_mmd",
            "bodies (Kinect v2) of 66 people in 1,076 untrimmed videos, 51 actions, 21,545 instances, metric 3D, 30 Hz",
            "registration needed; its repository Apache-2.0",
            "https://github.com/ECHO960/PKU-MMD",
            "Liu, Hu, Li, Song, Liu, PKU-MMD, ACM Multimedia workshops 2017",
            read_pku_mmd,
            gated=True,
            example=write_pku_mmd_example,
        ),
        Reader(
            "n_ucla",
            "one body (Kinect v1, 20 joints) from three views, 10 people, 10 actions, 1,484 clips, in CTR-GCN's JSON form",
            "own terms, research",
            "https://wangjiangb.github.io/my_data.html",
            "Wang, Nie, Xia, Wu, Zhu, Cross-view Action Modeling, Learning and Recognition, CVPR 2014",
            read_n_ucla,
            gated=True,
            example=write_n_ucla_example,
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


def reader_options(entry: Reader, words: Sequence[str]) -> dict[str, Any]:
    """["camera=0", "end_inclusive=true"] as arguments of a reader, each of the kind of its default.

    Raises InputError for an option that the reader does not have, or a value of another kind.

    >>> reader_options(reader("h2o"), ["camera=0", "splits=train,val"])
    {'camera': 0, 'splits': ('train', 'val')}
    """
    known = {name: p.default for name, p in list(inspect.signature(entry.read).parameters.items())[1:]}
    options: dict[str, Any] = {}
    for word in words:
        name, found, value = word.partition("=")
        if not found or name not in known:
            there = ", ".join(known) or "no options"
            raise InputError(f"'{word}' is no option of {entry.name}; expected NAME=VALUE with one of {there}")
        default = known[name]
        try:
            if isinstance(default, bool):
                options[name] = {"true": True, "false": False}[value.lower()]
            elif isinstance(default, tuple):
                options[name] = tuple(value.split(","))
            else:
                options[name] = int(value) if isinstance(default, int) else value
        except (KeyError, ValueError) as error:
            kind = "true or false" if isinstance(default, bool) else "a whole number"
            raise InputError(f"option {name} is {value!r}; expected {kind}, such as {name}={default}") from error
    return options


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

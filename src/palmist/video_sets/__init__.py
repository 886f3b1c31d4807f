"""Labelled videos: one reader for each data set, and the clips that networks are trained and tested on.

>>> listed = VIDEO_SETS["ssv2"].read("something-something-v2").of_split("train")
>>> videos = StoredVideos(listed.entries, listed.labels)

`palmist.video_sets.dataset` makes batches of clips of them; it alone needs torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from palmist.errors import InputError
from palmist.video_sets.augmentation import AugmentationConfig, Augmented
from palmist.video_sets.class_folders import read_class_folders
from palmist.video_sets.directions import DirectionsConfig, DirectionVideos
from palmist.video_sets.diving48 import read_diving48
from palmist.video_sets.examples import (
    write_class_folders_example,
    write_diving48_example,
    write_kinetics_example,
    write_ssv1_example,
    write_ssv2_example,
)
from palmist.video_sets.kinetics import read_kinetics
from palmist.video_sets.mixing import MixConfig
from palmist.video_sets.rendered import RenderedConfig, rendered_videos
from palmist.video_sets.something_something import read_frame_list, read_ssv1, read_ssv2
from palmist.video_sets.tracked import TrackConfig, TrackReader
from palmist.video_sets.videos import MemoryVideos, StoredVideos, VideoEntry, VideoList, Videos

__all__ = [
    "VIDEO_SETS",
    "AugmentationConfig",
    "Augmented",
    "DirectionVideos",
    "DirectionsConfig",
    "MemoryVideos",
    "MixConfig",
    "RenderedConfig",
    "StoredVideos",
    "TrackConfig",
    "TrackReader",
    "VideoEntry",
    "VideoList",
    "VideoSet",
    "Videos",
    "read_frame_list",
    "rendered_videos",
    "video_set",
]


@dataclass(frozen=True)
class VideoSet:
    """How one data set of videos is read, and on what terms it may be used.

    read(root, videos=None) lists the videos below `root`; example(root) writes a tiny set of the exact layout.
    """

    name: str
    description: str
    licence: str
    url: str
    read: Callable[..., VideoList]
    example: Callable[[Path], Path]


VIDEO_SETS: dict[str, VideoSet] = {
    entry.name: entry
    for entry in (
        VideoSet(
            "ssv1",
            "Something-Something v1: 108,499 videos of 174 actions with things, as pictures",
            "own terms, registration needed, research only",
            "https://www.qualcomm.com/developer/artificial-intelligence/datasets",
            read_ssv1,
            write_ssv1_example,
        ),
        VideoSet(
            "ssv2",
            "Something-Something v2: 220,847 videos of 174 actions with things, 12 Hz",
            "own terms, registration needed, research only",
            "https://www.qualcomm.com/developer/artificial-intelligence/datasets",
            read_ssv2,
            write_ssv2_example,
        ),
        VideoSet(
            "diving48",
            "Diving48 with the labels of version 2: competitive dives in 48 classes",
            "own terms",
            "http://www.svcl.ucsd.edu/projects/resound/dataset.html",
            read_diving48,
            write_diving48_example,
        ),
        VideoSet(
            "kinetics",
            "Kinetics, or any videos listed in csv files with a path and a label number",
            "own terms",
            "https://github.com/cvdfoundation/kinetics-dataset",
            read_kinetics,
            write_kinetics_example,
        ),
        VideoSet(
            "class_folders",
            "any videos in a folder for each class",
            "yours",
            "",
            read_class_folders,
            write_class_folders_example,
        ),
    )
}


def video_set(name: str) -> VideoSet:
    """The reader of a data set of videos; InputError lists the known names."""
    if name not in VIDEO_SETS:
        raise InputError(f"unknown data set of videos '{name}'; expected one of {', '.join(VIDEO_SETS)}")
    return VIDEO_SETS[name]

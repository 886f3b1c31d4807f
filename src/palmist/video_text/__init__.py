"""Videos with sentences about them: one reader for each data set, and the tests that need no training.

>>> clips = TEXT_SETS["epic_kitchens"].read("EPIC-KITCHENS-100").of_split("train")

`palmist.video_text.protocols` runs the zero-shot tests with any two functions that embed sentences and clips.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from palmist.errors import InputError
from palmist.video_text.clips import Listing, Piece, TextClip, TextContents
from palmist.video_text.ego4d_tasks import read_mq, read_nlq, read_state_changes
from palmist.video_text.ego_hod import read_ego_hod
from palmist.video_text.egoclip import read_egoclip
from palmist.video_text.egomcq import read_egomcq
from palmist.video_text.egtea import read_egtea
from palmist.video_text.epic_kitchens import read_epic_kitchens
from palmist.video_text.examples import (
    write_ego_hod_example,
    write_egoclip_example,
    write_egomcq_example,
    write_egtea_example,
    write_epic_kitchens_example,
    write_mq_example,
    write_nlq_example,
    write_state_changes_example,
)

__all__ = ["TEXT_SETS", "Listing", "Piece", "TextClip", "TextContents", "TextSet", "text_set"]


@dataclass(frozen=True)
class TextSet:
    """How one data set of videos with sentences is read, and on what terms it may be used.

    read(root) gives its contents, which have a `listing()`; example(root) writes a tiny set of the exact layout.
    """

    name: str
    description: str
    licence: str
    url: str
    read: Callable[..., TextContents]
    example: Callable[[str | Path], Path]


_EGO4D = "Ego4D's own licence agreement, signed"
_EGO4D_URL = "https://ego4d-data.org"

TEXT_SETS: dict[str, TextSet] = {
    entry.name: entry
    for entry in (
        TextSet(
            "epic_kitchens",
            "EPIC-KITCHENS-100: 90,000 actions in kitchens with sentences, verb and noun classes; retrieval both ways",
            "annotations CC BY-NC 4.0",
            "https://github.com/epic-kitchens/epic-kitchens-100-annotations",
            read_epic_kitchens,
            write_epic_kitchens_example,
        ),
        TextSet(
            "egtea",
            "EGTEA Gaze+: trimmed clips of 106 kitchen actions, three splits",
            "own terms, research only",
            "https://cbs.ic.gatech.edu/fpv/",
            read_egtea,
            write_egtea_example,
        ),
        TextSet(
            "egoclip",
            "EgoClip: 3.8 million narrated spans of Ego4D, the training set of EgoVLP",
            f"list MIT (EgoVLP), narrations and videos {_EGO4D}",
            "https://github.com/showlab/EgoVLP",
            read_egoclip,
            write_egoclip_example,
        ),
        TextSet(
            "ego_hod",
            "EgoHOD: clips of Ego4D and HowTo100M with sentences on how hands and objects move",
            f"none stated for the lists; videos {_EGO4D}",
            "https://huggingface.co/datasets/Jazzcharles/EgoHOD",
            read_ego_hod,
            write_ego_hod_example,
        ),
        TextSet(
            "egomcq",
            "EgoMCQ: which of five clips does a sentence tell of",
            f"list MIT (EgoVLP), narrations and videos {_EGO4D}",
            "https://github.com/showlab/EgoVLP",
            read_egomcq,
            write_egomcq_example,
        ),
        TextSet(
            "ego4d_nlq",
            "Ego4D NLQ: when does a video answer a question",
            _EGO4D,
            _EGO4D_URL,
            read_nlq,
            write_nlq_example,
        ),
        TextSet(
            "ego4d_mq",
            "Ego4D MQ: when do moments of a class happen",
            _EGO4D,
            _EGO4D_URL,
            read_mq,
            write_mq_example,
        ),
        TextSet(
            "ego4d_state_change",
            "Ego4D OSCC and PNR: does an object change its state, and when",
            _EGO4D,
            _EGO4D_URL,
            read_state_changes,
            write_state_changes_example,
        ),
    )
}


def text_set(name: str) -> TextSet:
    """The reader of a data set of videos with sentences; InputError lists the known names."""
    if name not in TEXT_SETS:
        raise InputError(f"unknown data set of videos with texts '{name}'; expected one of {', '.join(TEXT_SETS)}")
    return TEXT_SETS[name]

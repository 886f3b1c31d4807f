"""Label lists of video sets whose hands Palmist tracks itself: IPN Hand, and TACO's tool-action-object triplets.

    IPN Hand   ROOT/annotations/Annot_List.txt, Annot_TrainList.txt, Annot_TestList.txt: video,label,id,t_start,t_end,frames
               with or without that header; frames count from 1 at 30 Hz, both ends belong to the segment
    TACO       ROOT/*/(action, tool, object)/SEQUENCE: folders name the triplet; hand poses there are pickles and stay unread

Formats from the sets' own pages, unverified on the real files.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from palmist.errors import InputError
from palmist.readers.annotation_files import find_below, whole_number
from palmist.recording import ActionSegment

__all__ = ["IPN_LABELS", "LabelledVideo", "Triplet", "read_ipn_hand", "read_taco"]

IPN_RATE = 30.0
#: Codes of IPN Hand's 14 classes; D0X is no gesture.
IPN_LABELS: dict[str, str] = {
    "D0X": "no gesture", "B0A": "pointing with one finger", "B0B": "pointing with two fingers",
    "G01": "click with one finger", "G02": "click with two fingers", "G03": "throw up", "G04": "throw down",
    "G05": "throw left", "G06": "throw right", "G07": "open twice", "G08": "double click with one finger",
    "G09": "double click with two fingers", "G10": "zoom in", "G11": "zoom out",
}  # fmt: skip
_IPN_FILES = (("train", "Annot_TrainList.txt"), ("test", "Annot_TestList.txt"), (None, "Annot_List.txt"))
_TRIPLET = re.compile(r"^\(([^,]+), ([^,]+), ([^,]+)\)$")


@dataclass(frozen=True)
class LabelledVideo:
    """A video's name, its labelled segments in seconds, and the split that the set puts it in."""

    name: str
    segments: tuple[ActionSegment, ...]
    split: str | None = None


@dataclass(frozen=True)
class Triplet:
    """What happens in a sequence of TACO, all of it: the action, the tool, and the object that it is done to."""

    name: str
    action: str
    tool: str
    object: str

    @property
    def label(self) -> str:
        """For example "stir bowl with spoon"."""
        return f"{self.action} {self.object} with {self.tool}"


def read_ipn_hand(root: str | Path) -> list[LabelledVideo]:
    """The videos of IPN Hand with their segments, in the order of their names; train and test lists go before the whole one.

    Raises InputError when no list is there, or a line is not what it should be.
    """
    root = Path(root)
    folder = find_below(root, ("annotations", "."), "annotations")
    lists = [(split, folder / name) for split, name in _IPN_FILES if (folder / name).is_file()]
    if not lists:
        raise InputError(
            f"{folder} has none of {', '.join(name for _, name in _IPN_FILES)}; expected the annotation lists there"
        )
    found: dict[str, tuple[str | None, dict[tuple[int, int], ActionSegment]]] = {}
    for split, file in lists:
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
            cells = [cell.strip() for cell in line.split(",")]
            if not line.strip() or (number == 1 and cells[0] == "video"):
                continue
            if len(cells) != 6:
                raise InputError(
                    f"{file}, line {number}: found {len(cells)} columns, expected video,label,id,t_start,t_end,frames"
                )
            video, code = cells[:2]
            start, end, frames = (whole_number(cell, file, f"a number in line {number}") for cell in cells[3:])
            if code not in IPN_LABELS:
                raise InputError(f"{file}, line {number}: label {code!r}; expected one of {', '.join(IPN_LABELS)}")
            if not 1 <= start <= end or frames != end - start + 1:
                raise InputError(
                    f"{file}, line {number}: frames {start} to {end} are not {frames}; expected both ends to count, from 1"
                )
            segment = ActionSegment((start - 1) / IPN_RATE, end / IPN_RATE, IPN_LABELS[code])
            known_split, segments = found.setdefault(video, (split, {}))
            if split not in (None, known_split):
                raise InputError(f"{file}, line {number}: {video} stands in the {known_split} list too; expected it in one")
            if segments.setdefault((start, end), segment) != segment:
                raise InputError(
                    f"{file}, line {number}: {video}, frames {start} to {end}, is '{segment.label}' here and "
                    f"'{segments[start, end].label}' before; expected one label"
                )
    return [
        LabelledVideo(video, tuple(segments[key] for key in sorted(segments)), split)
        for video, (split, segments) in sorted(found.items())
    ]


def read_taco(root: str | Path) -> list[Triplet]:
    """The sequences of TACO with their triplets, in the order of their names; one that several archives hold comes once.

    Raises InputError when no folder is called "(action, tool, object)".
    """
    root = Path(root)
    if not root.is_dir():
        raise InputError(f"{root} is not a folder; expected one with folders such as Hand_Poses/(stir, spoon, bowl) in it")
    found: dict[str, Triplet] = {}
    for folder in sorted(path for path in (*root.glob("*"), *root.glob("*/*")) if path.is_dir()):
        match = _TRIPLET.match(folder.name)
        if match is None:
            continue
        for sequence in (path for path in folder.iterdir() if path.is_dir() or path.suffix == ".mp4"):
            name = f"{folder.name}/{sequence.stem}"
            found[name] = Triplet(name, *match.groups())
    if not found:
        raise InputError(f"{root} holds no folder called '(action, tool, object)' with sequences; expected TACO's own folders")
    return [found[name] for name in sorted(found)]

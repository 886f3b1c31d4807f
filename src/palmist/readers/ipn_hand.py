"""IPN Hand: label lists of continuous gestures, 13 classes and "no gesture", 200 videos of 50 people at 30 Hz.

    ROOT/trainlistall.txt, vallistall.txt                    ./frames/VIDEO class first last; also under annotation_ipnGesture/
    ROOT/classIndAll.txt                                     class code: 14 lines "1 D0X", "2 B0A" ...
    ROOT/trainlistall_but_None.txt, vallistall_but_None.txt, classIndAllbutNone.txt: without "no gesture"; its classes count
                                                             from 1 again, so a class number means nothing alone
    ROOT/poses/VIDEO.npz                                     hands that the user tracked in the video; optional

Frames count from 1, both ends belong to the segment, and in the full lists each segment begins where the one before ended.
The older table of the same segments, Annot_TrainList.txt and Annot_TestList.txt under ROOT/annotations (video,label,id,
t_start,t_end,frames, with or without that header), is read where the lists are not there (unverified on the real file, as are
the words for the codes and the rate). The set has no hand poses. Licence of the lists: CC BY 4.0.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from palmist.errors import InputError
from palmist.files.input_files import read_text
from palmist.readers.annotation_files import find_below, whole_number
from palmist.readers.labelled_video import LabelledVideo, labelled_recordings
from palmist.recording import ActionSegment, Recording

RATE = 30.0
SOURCE = "IPN Hand (github.com/GibranBenitez/IPN-hand)"
NO_GESTURE = "D0X"
#: Codes of the classes, in the order of classIndAll.txt.
LABELS: dict[str, str] = {
    "D0X": "no gesture", "B0A": "pointing with one finger", "B0B": "pointing with two fingers",
    "G01": "click with one finger", "G02": "click with two fingers", "G03": "throw up", "G04": "throw down",
    "G05": "throw left", "G06": "throw right", "G07": "open twice", "G08": "double click with one finger",
    "G09": "double click with two fingers", "G10": "zoom in", "G11": "zoom out",
}  # fmt: skip
_PLACES = (".", "annotation_ipnGesture", "annotations")
#: (train, val, class index) of the full lists, and of those without "no gesture".
_LISTS = {
    14: ("trainlistall.txt", "vallistall.txt", "classIndAll.txt"),
    13: ("trainlistall_but_None.txt", "vallistall_but_None.txt", "classIndAllbutNone.txt"),
}
_TABLES = (("train", "Annot_TrainList.txt"), ("test", "Annot_TestList.txt"), (None, "Annot_List.txt"))

#: video, code, first and last frame, place in a file for error messages
_Row = tuple[str, str, int, int, str]


def read_ipn_hand(root: str | Path, classes: int = 14) -> list[LabelledVideo]:
    """The videos of IPN Hand with their segments in seconds, in the order of their names.

    classes: 14, or 13 to leave "no gesture" out (the full lists serve both). Splits are named as the files are: "train"
    and "val" by the lists, "train" and "test" by the older table, None where only its whole list is there.

    Raises InputError when no list is there, a class has no code, a line is not what it should be, or a video has two
    splits or two labels for the same frames.
    """
    if classes not in _LISTS:
        raise InputError(f"classes is {classes}; expected 14, or 13 without 'no gesture'")
    root = Path(root)
    find_below(root, (".",), "annotations")
    for place in _PLACES:
        for count in sorted({classes, 14}):
            if all((root / place / name).is_file() for name in _LISTS[count]):
                return _videos(_list_rows(root / place, count), classes)
    for place in _PLACES:
        if any((root / place / name).is_file() for _, name in _TABLES):
            return _videos(_table_rows(root / place), classes)
    there = [name for place in _PLACES for names in _LISTS.values() for name in names if (root / place / name).is_file()]
    raise InputError(
        f"{root} holds {', '.join(there) or 'none of the lists'}; expected {', '.join(_LISTS[classes])} "
        "(or Annot_TrainList.txt, Annot_TestList.txt); fetch annotation_ipnGesture/ of the set's repository again"
    )


def read_ipn_hand_poses(root: str | Path, classes: int = 14) -> Iterator[Recording]:
    """One Recording per video that was tracked (ROOT/poses/VIDEO.npz), with the set's segments and split.

    The lists do not say who is seen, so `subject` stays None. See `read_ipn_hand` and `labelled_recordings`.
    """
    return labelled_recordings(Path(root), "ipn_hand", SOURCE, read_ipn_hand(root, classes))


def _list_rows(folder: Path, count: int) -> Iterator[tuple[str | None, _Row]]:
    train, val, index = (folder / name for name in _LISTS[count])
    codes: dict[int, str] = {}
    for number, line in enumerate(read_text(index).splitlines(), 1):
        words = line.split()
        if not words:
            continue
        if len(words) != 2 or words[1] not in LABELS:
            raise InputError(f"{index}, line {number}: found '{line}', expected a number and one of {', '.join(LABELS)}")
        codes[whole_number(words[0], index, f"the class in line {number}")] = words[1]
    if len(set(codes.values())) != count:
        raise InputError(f"{index} names {len(set(codes.values()))} classes; expected {count}; it may be cut off")
    for split, file in (("train", train), ("val", val)):
        for number, line in enumerate(read_text(file).splitlines(), 1):
            words = line.split()
            if not words:
                continue
            if len(words) != 4:
                raise InputError(f"{file}, line {number}: found {len(words)} words, expected ./frames/VIDEO class first last")
            kind, first, last = (whole_number(word, file, f"a number in line {number}") for word in words[1:])
            if kind not in codes:
                raise InputError(f"{file}, line {number}: class {kind}; expected 1 to {count}, as {index.name} names them")
            if not 1 <= first <= last:
                raise InputError(f"{file}, line {number}: frames {first} to {last}; expected first to last, from 1")
            yield split, (words[0].rsplit("/", 1)[-1], codes[kind], first, last, f"{file}, line {number}")


def _table_rows(folder: Path) -> Iterator[tuple[str | None, _Row]]:
    for split, name in _TABLES:
        file = folder / name
        lines = read_text(file).splitlines() if file.is_file() else []
        for number, line in enumerate(lines, 1):
            cells = [cell.strip() for cell in line.split(",")]
            if not line.strip() or (number == 1 and cells[0] == "video"):
                continue
            if len(cells) != 6:
                raise InputError(
                    f"{file}, line {number}: found {len(cells)} columns, expected video,label,id,t_start,t_end,frames"
                )
            first, last, frames = (whole_number(cell, file, f"a number in line {number}") for cell in cells[3:])
            if cells[1] not in LABELS:
                raise InputError(f"{file}, line {number}: label {cells[1]!r}; expected one of {', '.join(LABELS)}")
            if not 1 <= first <= last or frames != last - first + 1:
                raise InputError(
                    f"{file}, line {number}: frames {first} to {last} are not {frames}; expected both ends to count, from 1"
                )
            yield split, (cells[0], cells[1], first, last, f"{file}, line {number}")


def _videos(rows: Iterable[tuple[str | None, _Row]], classes: int) -> list[LabelledVideo]:
    found: dict[str, tuple[str | None, dict[tuple[int, int], str]]] = {}
    for split, (video, code, first, last, where) in rows:
        known_split, codes = found.setdefault(video, (split, {}))
        if split not in (None, known_split):
            raise InputError(f"{where}: {video} stands in the {known_split} list too; expected it in one")
        if codes.setdefault((first, last), code) != code:
            raise InputError(
                f"{where}: {video}, frames {first} to {last}, is '{LABELS[code]}' here and "
                f"'{LABELS[codes[first, last]]}' before; expected one label"
            )
    return [
        LabelledVideo(
            name=video,
            segments=tuple(
                ActionSegment((first - 1) / RATE, last / RATE, LABELS[code])
                for (first, last), code in sorted(codes.items())
                if classes == 14 or code != NO_GESTURE
            ),
            split=split,
        )
        for video, (split, codes) in sorted(found.items())
    ]

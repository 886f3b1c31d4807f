"""Tiny label lists in the layouts that `label_lists` reads, for IPN Hand and TACO; names and times are made up."""

from __future__ import annotations

from pathlib import Path

from palmist.errors import InputError

HEADER = "video,label,id,t_start,t_end,frames"
#: list, video, (code, first frame, last frame) one after the other
IPN_VIDEOS = (
    ("Train", "1CM1_1_R_#217", (("D0X", 1, 30), ("B0A", 31, 90), ("G01", 91, 105))),
    ("Train", "1CM1_2_R_#218", (("D0X", 1, 60), ("G05", 61, 84))),
    ("Test", "4CM11_2_R_#12", (("D0X", 1, 9), ("G11", 10, 39))),
)
#: (action, tool, object), sequence
TACO_SEQUENCES = (
    (("stir", "spoon", "bowl"), "20231005_038"),
    (("stir", "spoon", "bowl"), "20231005_039"),
    (("cut off", "knife", "plate"), "20231006_001"),
)


def _new_folder(root: str | Path) -> Path:
    root = Path(root)
    if root.exists() and any(root.iterdir()):
        raise InputError(f"{root} is not empty; expected a new folder for the example")
    return root


def write_ipn_hand_example(root: str | Path) -> Path:
    """The three lists of IPN Hand below `root` (a new or empty folder), 1-based frames at 30 Hz; returns root.

    Raises InputError when root is not empty.
    """
    root = _new_folder(root)
    folder = root / "annotations"
    folder.mkdir(parents=True)
    codes = ["D0X", "B0A", "B0B", *(f"G{number:02d}" for number in range(1, 12))]
    lines = [
        (split, f"{video},{code},{codes.index(code) + 1},{first},{last},{last - first + 1}")
        for split, video, segments in IPN_VIDEOS
        for code, first, last in segments
    ]
    for split in ("Train", "Test"):
        rows = [line for where, line in lines if where == split]
        (folder / f"Annot_{split}List.txt").write_text("\n".join(rows) + "\n")
    (folder / "Annot_List.txt").write_text("\n".join([HEADER, *(line for _, line in lines)]) + "\n")
    return root


def write_taco_example(root: str | Path) -> Path:
    """TACO's folders of triplets below `root` (a new or empty folder), one archive of poses and one of videos; returns root.

    The folders and videos are empty: only their names are read. Raises InputError when root is not empty.
    """
    root = _new_folder(root)
    for (action, tool, thing), sequence in TACO_SEQUENCES:
        triplet = f"({action}, {tool}, {thing})"
        (root / "Hand_Poses" / triplet / sequence).mkdir(parents=True)
        videos = root / "Egocentric_RGB_Videos" / triplet
        videos.mkdir(parents=True, exist_ok=True)
        (videos / f"{sequence}.mp4").touch()
    return root

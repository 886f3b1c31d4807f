"""Names, actions, official splits and known-bad samples of NTU RGB+D 60 and 120: everything that needs no skeleton file.

A sample is called SsssCcccPpppRrrrAaaa: setup, camera, performer, repetition, action. Each of the 60 actions that a
performer did in a setup was done twice and seen by three cameras, so `PERFORMERS` (who was in which setup) gives the name
of every sample: 56,880 of NTU RGB+D, 114,480 of NTU RGB+D 120.

Splits and action names: the set's own papers and repository (shahroudy/NTURGB-D). Who was in which setup and which
skeletons are bad: public statistics of the names (CTR-GCN) and the authors' list. Without the listed samples the splits
count 40,091 + 16,487 (xsub) and 37,646 + 18,932 (xview) of 60, 63,026 + 50,919 (xsub) and 54,468 + 59,477 (xset) of 120,
the numbers that public code reports. 50,922 (xsub) and 54,471 (xset) are also seen: three samples more than this list leaves.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from palmist.errors import InputError
from palmist.files.input_files import read_text

__all__ = [
    "ACTIONS", "ONE_SHOT_EXEMPLARS", "PERFORMERS", "SPLITS_OF", "SampleName", "all_names", "missing_samples", "official_splits",
    "parse_name", "read_missing_list",
]  # fmt: skip

CAMERAS, REPETITIONS = (1, 2, 3), (1, 2)
_SETUPS_60 = 17

#: Performers of the cross-subject training part.
XSUB_TRAIN_60 = frozenset((1, 2, 4, 5, 8, 9, *range(13, 20), 25, 27, 28, 31, 34, 35, 38))
XSUB_TRAIN_120 = XSUB_TRAIN_60 | {
    45, 46, 47, 49, 50, *range(52, 60), 70, 74, 78, *range(80, 87), 89, *range(91, 96), 97, 98, 100, 103,
}  # fmt: skip

#: Names of the splits of each edition (60 or 120 actions).
SPLITS_OF: dict[int, tuple[str, ...]] = {60: ("xsub", "xview"), 120: ("xsub", "xset", "one_shot")}

#: Actions of the one-shot evaluation (every sixth), and the one sample of each that may be seen.
ONE_SHOT_ACTIONS = tuple(range(1, 121, 6))
ONE_SHOT_EXEMPLARS = tuple(f"S{1 if action <= 60 else 18:03d}C003P008R001A{action:03d}" for action in ONE_SHOT_ACTIONS)

#: Setup -> performers, each twice before three cameras; setups 1-17 show actions 1-60, the others 61-120.
PERFORMERS: dict[int, tuple[int, ...]] = {
    1: (1, 2, 3, 4, 5, 6, 7, 8),
    2: (3, 7, 8, 9, 10, 11, 12, 13, 14),
    3: (1, 2, 7, 8, 15, 16, 17, 18, 19),
    4: (3, 7, 8, 20),
    5: (4, 10, 13, 15, 16, 17, 18, 21),
    6: (1, 7, 8, 15, 16, 17, 19, 22, 23, 24),
    7: (1, 7, 8, 15, 16, 17, 18, 19, 25, 26, 27, 28),
    8: (1, 7, 8, 15, 19, 25, 29, 30, 31, 32, 33, 34, 35, 36),
    9: (7, 8, 15, 16, 17, 19, 25),
    10: (7, 8, 13, 15, 16, 17, 18, 19, 21, 25),
    11: (1, 2, 7, 8, 15, 16, 17, 18, 19, 25, 27, 28, 38),
    12: (7, 8, 15, 16, 17, 18, 19, 25, 27, 28, 37),
    13: (7, 8, 15, 16, 17, 18, 19, 25, 27, 28, 37),
    14: (7, 8, 15, 17, 19, 25, 27, 37, 39),
    15: (7, 8, 15, 16, 17, 19, 25, 37),
    16: (7, 8, 19, 21, 25, 39, 40),
    17: (3, 7, 8, 9, 15, 16, 17, 20),
    18: (8, 41, 42, 43, 44, 45),
    19: (8, 41, 42, 46, 47, 48, 49, 50, 51),
    20: (8, 41, 43, 44, 52, 53, 54),
    21: (55, 56, 57, 58, 59, 60),
    22: (61, 62, 63, 64, 65, 66, 67),
    23: tuple(range(55, 69)),
    24: (57, 60, 61, 62, 63, 64, 67),
    25: (55, 56, 58, 59, 65, 66, 68),
    26: (8, 41, 44, 49, 50, 51, 69, 70, 71, 72, 74, 75, 76, 77),
    27: (6, 8, 11, 41, 43, 44, *range(78, 87)),
    28: (8, 41, 42, 43, 46, 48, 70, 73, 87),
    29: (6, 8, 41, 43, 44, 48, 49, 51, 67, 74, 75, 80, 88, 89, 90),
    30: (8, 11, 41, 43, 44, 48, 67, 75, 76, 81, 85, 88, *range(91, 97)),
    31: (6, 8, 41, 42, 43, 44, 51, 67, 82, 85, *range(96, 102)),
    32: (8, 41, 43, 44, 67, *range(102, 107)),
}

#: Names of actions 1 to 120.
ACTIONS: tuple[str, ...] = (
    "drink water", "eat meal", "brush teeth", "brush hair", "drop", "pick up", "throw", "sit down", "stand up", "clapping",
    "reading", "writing", "tear up paper", "put on jacket", "take off jacket", "put on a shoe", "take off a shoe",
    "put on glasses", "take off glasses", "put on a hat", "take off a hat", "cheer up", "hand waving", "kicking something",
    "reach into pocket", "hopping", "jump up", "phone call", "play with phone or tablet", "type on a keyboard",
    "point to something", "taking a selfie", "check time", "rub two hands", "nod head", "shake head", "wipe face", "salute",
    "put palms together", "cross hands in front", "sneeze or cough", "staggering", "falling down", "touch head",
    "touch chest", "touch back", "touch neck", "vomiting", "fan self", "punch or slap", "kicking", "pushing",
    "pat on back", "point finger at the other person", "hugging", "giving something", "touch pocket", "shaking hands",
    "walking towards", "walking apart",
    "put on headphone", "take off headphone", "shoot at basket", "bounce ball", "tennis bat swing",
    "juggle table tennis ball", "hush", "flick hair", "thumb up", "thumb down", "make OK sign", "make victory sign",
    "staple book", "counting money", "cutting nails", "cutting paper", "snap fingers", "open bottle", "sniff", "squat down",
    "toss a coin", "fold paper", "ball up paper", "play magic cube", "apply cream on face", "apply cream on hand",
    "put on bag", "take off bag", "put something into a bag", "take something out of a bag", "open a box",
    "move heavy objects", "shake fist", "throw up cap", "hands up", "cross arms", "arm circles", "arm swings",
    "run on the spot", "butt kicks", "cross toe touch", "side kick", "yawn", "stretch oneself", "blow nose",
    "hit with something", "wield knife", "knock over", "grab stuff", "shoot with a gun", "step on foot", "high-five",
    "cheers and drink", "carry something together", "take a photo", "follow", "whisper", "exchange things",
    "support somebody", "rock-paper-scissors",
)  # fmt: skip

_NAME = re.compile(r"S(\d{3})C(\d{3})P(\d{3})R(\d{3})A(\d{3})")


class SampleName(NamedTuple):
    """The five numbers of a sample's name; str() gives the name back."""

    setup: int
    camera: int
    performer: int
    repetition: int
    action: int

    def __str__(self) -> str:
        return f"S{self.setup:03d}C{self.camera:03d}P{self.performer:03d}R{self.repetition:03d}A{self.action:03d}"


def parse_name(text: str) -> SampleName:
    """The numbers of "S001C002P003R002A013", with or without what follows it; InputError when the name is not one.

    >>> parse_name("S001C002P003R002A013.skeleton").action
    13
    """
    match = _NAME.match(text)
    if match is None:
        raise InputError(f"'{text}' is no name of NTU RGB+D; expected one like S001C002P003R002A013")
    return SampleName(*(int(number) for number in match.groups()))


def official_splits(name: SampleName, edition: int = 60) -> dict[str, str]:
    """The part of every official split that a sample is in; edition: 60 or 120 (actions).

    xsub (by performer), xview (60: camera 1 tests), xset (120: even setups train): "train" or "test".
    one_shot (120): "auxiliary" for the 100 actions to learn from; of the 20 others "exemplar" (one sample each) or "test".

    >>> official_splits(parse_name("S001C002P003R002A013"))
    {'xsub': 'test', 'xview': 'train'}
    """
    if edition not in SPLITS_OF:
        raise InputError(f"edition is {edition!r}; expected 60 or 120")
    parts = ("test", "train")
    if edition == 60:
        return {"xsub": parts[name.performer in XSUB_TRAIN_60], "xview": parts[name.camera != 1]}
    shot = "auxiliary" if name.action % 6 != 1 else "exemplar" if str(name) in ONE_SHOT_EXEMPLARS else "test"
    return {"xsub": parts[name.performer in XSUB_TRAIN_120], "xset": parts[name.setup % 2 == 0], "one_shot": shot}


def all_names(edition: int = 60) -> Iterator[SampleName]:
    """Every sample of the set, bad ones too, in the order of the names: 56,880 or 114,480."""
    if edition not in SPLITS_OF:
        raise InputError(f"edition is {edition!r}; expected 60 or 120")
    for setup, performers in PERFORMERS.items():
        if edition == 60 and setup > _SETUPS_60:
            return
        actions = range(1, 61) if setup <= _SETUPS_60 else range(61, 121)
        for camera in CAMERAS:
            for performer in performers:
                for repetition in REPETITIONS:
                    for action in actions:
                        yield SampleName(setup, camera, performer, repetition, action)


@lru_cache(maxsize=1)
def missing_samples() -> frozenset[str]:
    """Names of the 535 samples whose skeletons the set's authors list as missing or incomplete (302 in NTU RGB+D 60)."""
    text = (Path(__file__).resolve().parents[1] / "assets" / "ntu" / "missing_skeletons.txt").read_text(encoding="utf-8")
    names = []
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        who, _, actions = line.partition(":")
        setup, camera, performer, repetition = (int(number) for number in who.split())
        for action in _ranges(actions.split()):
            names.append(str(SampleName(setup, camera, performer, repetition, action)))
    return frozenset(names)


def _ranges(words: Iterable[str]) -> Iterator[int]:
    for word in words:
        first, _, last = word.partition("-")
        yield from range(int(first), int(last or first) + 1)


def read_missing_list(file: Path) -> frozenset[str]:
    """The names in a list of bad samples, one a line (headings and file endings are passed over).

    Raises InputError when the file is missing or names nothing.
    """
    if not file.is_file():
        raise InputError(f"{file} does not exist; expected the list of samples with missing skeletons")
    found = (_NAME.match(line.strip()) for line in read_text(file, errors="replace").splitlines())
    names = frozenset(match.group(0) for match in found if match)
    if not names:
        raise InputError(f"{file} names no sample; expected lines like S001C002P005R002A008; download it again")
    return names

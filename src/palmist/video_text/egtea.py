"""EGTEA Gaze+: cooking seen from the head, trimmed clips of 106 actions, three official splits.

`action_idx.txt`: a name, which may hold spaces, and after the last space its number **from 1**;
`{train,test}_split{1,2,3}.txt`: clip id, action, verb and noun numbers, from 1; `cropped_clips/<recording>/<clip id>.mp4`. A
clip id is `<recording>-<start ms>-<end ms>-F<start>-F<end>`, where the recording is its first three parts, for example
`OP01-R01-PastaSalad-66680-68130-F001600-F001634`. Numbers come out from 0.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from palmist.errors import InputError
from palmist.readers.annotation_files import find_below, read_lines, whole_number
from palmist.video_text.clips import Listing, TextClip, VideoPlaces

__all__ = ["Egtea", "read_egtea"]

SPLITS = (1, 2, 3)
_VIDEOS = ("cropped_clips/{recording}/{video}.mp4", "{recording}/{video}.mp4", "cropped_clips/{video}.mp4")
_CLIP = re.compile(r"(?P<recording>[^-\s]+-[^-\s]+-[^-\s]+)-(?P<start>\d+)-(?P<end>\d+)-F\d+-F\d+")


@dataclass(frozen=True)
class Egtea:
    """The clips of the three splits, and the names of the actions by number, as the set writes them.

    A clip is a trimmed file: it runs from 0 to its length, `extra` has the recording and its seconds there. `split` is
    "train1", "test1" and so on; each clip stands once for each split.
    """

    clips: tuple[TextClip, ...]
    actions: tuple[str, ...]

    def of_split(self, split: str) -> tuple[TextClip, ...]:
        """The clips of "train1", "test1", "train2" and so on; InputError if that list is not there."""
        chosen = tuple(clip for clip in self.clips if clip.split == split)
        if not chosen:
            there = ", ".join(sorted({str(clip.split) for clip in self.clips}))
            raise InputError(f"there is no clip of split '{split}'; expected one of {there}")
        return chosen

    def class_texts(self) -> tuple[str, ...]:
        """What each action is called in zero-shot tests: lower case, spaces for underscores, no sentence around it."""
        return tuple(name.lower().replace("_", " ") for name in self.actions)

    def listing(self) -> Listing:
        """Clips of each split, distinct trimmed files, and the number of actions."""
        videos = {clip.video: clip.path for clip in self.clips}
        splits = dict(sorted(Counter(str(clip.split) for clip in self.clips).items()))
        return Listing(splits, len(videos), sum(path is None for path in videos.values()), {"actions": len(self.actions)})


def read_egtea(root: str | Path) -> Egtea:
    """Read the lists in `root` or `root/action_annotation`; InputError, with file and line, for a damaged one."""
    root = Path(root)
    names = find_below(root, ["action_idx.txt", "action_annotation/action_idx.txt"], "list of actions")
    actions = _actions(names)
    places = VideoPlaces(root, _VIDEOS)
    clips = [
        clip
        for split in SPLITS
        for part in ("train", "test")
        for clip in _split(names.with_name(f"{part}_split{split}.txt"), f"{part}{split}", actions, places)
    ]
    if not clips:
        raise InputError(
            f"{names.parent} has no list of clips; expected train_split1.txt and test_split1.txt beside {names.name}"
        )
    return Egtea(tuple(clips), actions)


def _actions(file: Path) -> tuple[str, ...]:
    found = {}
    for line, text in enumerate(read_lines(file, "a name and a number a line"), 1):
        if not text.strip():
            continue
        name, _, number = text.strip().rpartition(" ")
        found[whole_number(number, file, f"the last word of line {line}") - 1] = name.strip()
    if sorted(found) != list(range(len(found))) or not found or not all(found.values()):
        raise InputError(
            f"{file} numbers {len(found)} actions otherwise than 1, 2, 3 and so on; expected a name and a number a line"
        )
    return tuple(found[number] for number in range(len(found)))


def _split(file: Path, split: str, actions: tuple[str, ...], places: VideoPlaces) -> list[TextClip]:
    clips: list[TextClip] = []
    for line, text in enumerate(read_lines(file, "a clip a line") if file.is_file() else (), 1):
        words = text.split()
        if not words:
            continue
        named = _CLIP.fullmatch(words[0])
        if named is None or len(words) < 2:
            raise InputError(
                f"{file}, line {line}: found {text[:60]!r}; expected RECORDING-START-END-F0-F0 and the numbers of its "
                "action, verb and nouns"
            )
        action, *parts = (whole_number(word, file, f"a number in line {line}") - 1 for word in words[1:])
        if not 0 <= action < len(actions) or min(parts, default=0) < 0:
            raise InputError(f"{file}, line {line}: action {action + 1}; expected numbers from 1, actions up to {len(actions)}")
        start, end = int(named["start"]) / 1000, int(named["end"]) / 1000
        if end < start:
            raise InputError(f"{file}, line {line}: the clip runs from {start} to {end} s; expected an end after the start")
        path, _ = places.find(words[0], recording=named["recording"])
        name = actions[action]
        clips.append(
            TextClip(
                words[0], path, 0.0, end - start, (name.lower().replace("_", " "),), words[0], tuple(parts[:1]),
                tuple(parts[1:]), name, split, extra={"recording": named["recording"], "start": start, "end": end},
            )
        )  # fmt: skip
    return clips

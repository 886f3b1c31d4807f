"""EPIC-KITCHENS-100: 700 videos of cooking with a sentence, a verb class and noun classes for each action.

Of the annotations (CC BY-NC 4.0) this reads `EPIC_100_{train,validation}.csv`, `EPIC_100_test_timestamps.csv`, the verb and
noun classes, the list of unseen participants, and of `retrieval_annotations/` the rows
(`EPIC_100_retrieval_{train,test}.csv`) and the unique sentences (`EPIC_100_retrieval_{train,test}_sentence.csv`).
Relevancies are computed from these; the pickle of them that the set brings is never opened.

Traps: list columns hold Python lists as text; frame numbers depend on each video's rate, so times are used; an action class is
"verb:noun" by number, and classes are sorted as text ("0:10" before "0:2").
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from palmist.errors import InputError
from palmist.metrics.retrieval import relevancy
from palmist.readers.annotation_files import find_below, read_table, whole_number
from palmist.video_text.clips import Listing, TextClip, VideoPlaces, class_list

__all__ = ["EpicKitchens", "EpicRetrieval", "read_epic_kitchens", "read_epic_retrieval", "seconds_of"]

_ACTION_FILES = {
    "train": "EPIC_100_train.csv",
    "validation": "EPIC_100_validation.csv",
    "test": "EPIC_100_test_timestamps.csv",
}
_RETRIEVAL = "EPIC_100_retrieval_{}.csv", "EPIC_100_retrieval_{}_sentence.csv"
_VIDEOS = (
    "EPIC-KITCHENS/{participant}/videos/{video}.MP4",
    "{participant}/videos/{video}.MP4",
    "videos/{participant}/{video}.MP4",
    "videos/{video}.MP4",
    "videos/{video}.mp4",
)
_TIME = re.compile(r"(\d+):([0-5]?\d):([0-5]?\d(?:\.\d+)?)")
_OTHER_SHARE = 0.01  # of the sentences may differ from their rows; more means files of two versions
_LABELLED = ("narration", "verb_class", "noun_class", "all_noun_classes")


@dataclass(frozen=True)
class EpicRetrieval:
    """One part of multi-instance retrieval: V videos in the order of the rows, T sentences in that of the sentence file.

    sentences (T,): each once; columns (T,): the row whose sentence each is; verbs (T,), nouns: its classes, those of the first
    row that says it.
    """

    clips: tuple[TextClip, ...]
    sentences: tuple[str, ...]
    columns: np.ndarray
    verbs: np.ndarray
    nouns: tuple[tuple[int, ...], ...]

    def relevancy(self, rows: slice = slice(None)) -> np.ndarray:
        """How right each sentence is for each of these videos, (rows, T) float64.

        297 MB for all of the test part; 8.6 GB for all of the training part, so ask for that in slices.
        """
        chosen = self.clips[rows]
        return relevancy([clip.verbs[0] for clip in chosen], [clip.nouns for clip in chosen], self.verbs, self.nouns)

    def positives(self, row: int, above: float = 0.1) -> np.ndarray:
        """Numbers of the sentences that training may pair with a video: relevancy above 0.1, as LaViLa fine-tunes.

        Fast enough to be asked for each sample: no row of the relevancies is kept.
        """
        clip, (by_noun, counts) = self.clips[row], self._noun_index
        own = set(clip.nouns)
        shared = np.zeros(len(self.sentences))
        for noun in own:
            shared[by_noun.get(noun, [])] += 1
        union = counts + len(own) - shared
        overlap = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
        return np.flatnonzero(0.5 * (self.verbs == clip.verbs[0]) + 0.5 * overlap > above)

    @cached_property
    def _noun_index(self) -> tuple[dict[int, list[int]], np.ndarray]:
        """The sentences of each noun, and how many distinct nouns each sentence has (T,)."""
        by_noun: dict[int, list[int]] = {}
        for number, nouns in enumerate(self.nouns):
            for noun in set(nouns):
                by_noun.setdefault(noun, []).append(number)
        return by_noun, np.array([len(set(nouns)) for nouns in self.nouns], np.float64)


@dataclass(frozen=True)
class EpicKitchens:
    """All labelled spans, the names of verbs and nouns by number, and the retrieval parts that are there.

    A clip's `verbs` is its verb, `nouns` all its nouns, `label` "verb:noun" with its main noun; test clips have none of these.
    unseen: participants of the validation part whom training has not seen.
    """

    clips: tuple[TextClip, ...]
    verbs: tuple[str, ...]
    nouns: tuple[str, ...]
    unseen: tuple[str, ...]
    retrieval: Mapping[str, EpicRetrieval]
    places: VideoPlaces

    def of_split(self, split: str) -> tuple[TextClip, ...]:
        """The clips of train, validation or test; InputError if that part is not there."""
        chosen = tuple(clip for clip in self.clips if clip.split == split)
        if not chosen:
            raise InputError(f"there is no clip of split '{split}'; expected {_ACTION_FILES.get(split, 'train or validation')}")
        return chosen

    def action_classes(self) -> tuple[str, ...]:
        """Every "verb:noun" of train and validation, sorted as text: 3,806 in the full set."""
        return tuple(sorted({clip.label for clip in self.clips if clip.label is not None}))

    def class_texts(self) -> dict[str, tuple[str, ...]]:
        """For each action class all distinct sentences of train and validation that have it, in order of appearance."""
        texts: dict[str, dict[str, None]] = {label: {} for label in self.action_classes()}
        for clip in self.clips:
            if clip.label is not None:
                texts[clip.label] |= dict.fromkeys(clip.texts)
        return {label: tuple(own) for label, own in texts.items()}

    def listing(self) -> Listing:
        """Clips of each split, videos, and the sizes of the class lists and retrieval parts."""
        facts = {"verb classes": len(self.verbs), "noun classes": len(self.nouns), "action classes": len(self.action_classes())}
        facts |= {f"retrieval {part} sentences": len(own.sentences) for part, own in self.retrieval.items()}
        videos = {clip.video: clip.path for clip in self.clips}
        missing = sum(path is None for path in videos.values())
        return Listing(dict(Counter(str(clip.split) for clip in self.clips)), len(videos), missing, facts)


def read_epic_kitchens(root: str | Path) -> EpicKitchens:
    """Read the annotations in `root` or in `root/epic-kitchens-100-annotations`, and find the videos below `root`.

    Raises InputError, with file and line, for a missing or damaged file.
    """
    root = Path(root)
    name = _ACTION_FILES["train"]
    folder = find_below(root, [name, f"epic-kitchens-100-annotations/{name}", f"annotations/{name}"], "action list").parent
    places = VideoPlaces(root, _VIDEOS)
    verbs, nouns = (_class_names(folder / f"EPIC_100_{kind}_classes.csv") for kind in ("verb", "noun"))
    clips: list[TextClip] = []
    for split, file in _ACTION_FILES.items():
        if (folder / file).is_file():
            clips += _rows(folder / file, split, places, labelled=split != "test", classes=(len(verbs), len(nouns)))
    unseen_file = folder / "EPIC_100_unseen_participant_ids_validation.csv"
    unseen = (
        tuple(row["participant_id"] for row in read_table(unseen_file, [["participant_id"]])) if unseen_file.is_file() else ()
    )
    parts = {
        part: read_epic_retrieval(folder, part, places)
        for part in ("train", "test")
        if (folder / "retrieval_annotations" / _RETRIEVAL[0].format(part)).is_file()
    }
    return EpicKitchens(tuple(clips), verbs, nouns, unseen, parts, places)


def read_epic_retrieval(folder: Path, part: str, places: VideoPlaces) -> EpicRetrieval:
    """One part of multi-instance retrieval, "train" or "test", from the annotations' folder.

    A sentence is what its row says; the sentence file may write a few otherwise. Raises InputError for a damaged file, a
    sentence whose row is not there, or over 1 % of them that say something else than their rows.
    """
    rows_file, sentence_file = (folder / "retrieval_annotations" / name.format(part) for name in _RETRIEVAL)
    clips = tuple(_rows(rows_file, part, places, labelled=True))
    row_of = {clip.uid: number for number, clip in enumerate(clips)}
    first_of: dict[str, int] = {}
    for number, clip in enumerate(clips):
        first_of.setdefault(clip.texts[0], number)
    sentences, columns, others, other = [], [], 0, ""
    for line, row in enumerate(read_table(sentence_file, [["narration_id"], ["narration"]]), 2):
        number = row_of.get(row["narration_id"], -1)
        said = clips[number].texts[0] if number >= 0 else ""
        if _plain(said) != _plain(row["narration"]):
            found = f"says {said!r} there" if number >= 0 else "is not in it"
            other = other or f"line {line}: {row['narration_id']} ({row['narration']!r}) {found}"
            others += 1
        sentences.append(said)
        columns.append(number)
    if min(columns, default=-1) < 0 or others > _OTHER_SHARE * len(columns):
        raise InputError(
            f"{sentence_file}, {other or 'line 2: there is no sentence'}; expected the sentences of {rows_file.name}, both "
            "from one version"
        )
    own = [clips[first_of[sentence]] for sentence in sentences]
    verbs = np.array([clip.verbs[0] for clip in own], np.int64)
    return EpicRetrieval(clips, tuple(sentences), np.array(columns, np.int64), verbs, tuple(clip.nouns for clip in own))


def _plain(sentence: str) -> str:
    return " ".join(sentence.casefold().split())


def seconds_of(text: str, where: str) -> float:
    """Seconds of "HH:MM:SS.ss"; InputError, which names `where`, for anything else.

    >>> seconds_of("01:02:03.5", "here")
    3723.5
    """
    found = _TIME.fullmatch(text.strip())
    if not found:
        raise InputError(f"{where}: found the time {text!r}; expected HH:MM:SS.ss")
    hours, minutes, seconds = found.groups()
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)


def _rows(
    file: Path, split: str, places: VideoPlaces, labelled: bool, classes: tuple[int, int] | None = None
) -> list[TextClip]:
    needed = ["narration_id", "participant_id", "video_id", "start_timestamp", "stop_timestamp"]
    clips = []
    for line, row in enumerate(read_table(file, [[name] for name in (*needed, *(_LABELLED if labelled else ()))]), 2):
        where = f"{file}, line {line}"
        start, end = (seconds_of(row[name], where) for name in ("start_timestamp", "stop_timestamp"))
        if end < start:
            raise InputError(f"{where}: found a clip from {start} to {end} s; expected an end not before the start")
        path, _ = places.find(row["video_id"], participant=row["participant_id"])
        extra = {"participant": row["participant_id"]}
        if not labelled:
            clips.append(TextClip(row["video_id"], path, start, end, (), row["narration_id"], split=split, extra=extra))
            continue
        verb, noun = (whole_number(row[name], file, f"{name} in line {line}") for name in ("verb_class", "noun_class"))
        nouns = class_list(row["all_noun_classes"], f"{where}, all_noun_classes")
        if classes is not None and not (0 <= verb < classes[0] and 0 <= noun < classes[1]):
            raise InputError(f"{where}: verb {verb} and noun {noun}; expected 0 to {classes[0] - 1} and 0 to {classes[1] - 1}")
        clips.append(
            TextClip(
                row["video_id"], path, start, end, (row["narration"],), row["narration_id"], (verb,), nouns,
                f"{verb}:{noun}", split, extra=extra,
            )
        )  # fmt: skip
    return clips


def _class_names(file: Path) -> tuple[str, ...]:
    """The keys of a list of classes, in the order of their numbers, which run from 0."""
    names = {}
    for line, row in enumerate(read_table(file, [["id"], ["key"]]), 2):
        names[whole_number(row["id"], file, f"the id in line {line}")] = row["key"]
    if sorted(names) != list(range(len(names))) or not names:
        raise InputError(f"{file} numbers {len(names)} classes otherwise than 0, 1, 2 and so on; download it again")
    return tuple(names[number] for number in range(len(names)))

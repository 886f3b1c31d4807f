"""EgoMCQ: which of five clips does a sentence tell of? EgoVLP's test on Ego4D's videos.

`egomcq.json` maps numbers in text to questions: `query` (clip_text and tags), `choices` ("0" to "4", each with video_uid,
clip_start, clip_end, clip_text and tags), `answer` (a number), `types` (1: clips of different videos, 2: of one video).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from palmist.errors import InputError
from palmist.readers.annotation_files import entry, find_below, read_json, whole_number
from palmist.video_text.clips import Listing, TextClip, VideoPlaces, class_list
from palmist.video_text.egoclip import EGO4D_VIDEOS

__all__ = ["CHOICES", "TYPES", "EgoMcq", "Question", "read_egomcq"]

CHOICES = 5
TYPES = {1: "inter", 2: "intra"}


@dataclass(frozen=True, slots=True)
class Question:
    """A sentence, five clips, the number of the right one, and the type: "inter" (different videos) or "intra" (one video)."""

    uid: str
    text: str
    choices: tuple[TextClip, ...]
    answer: int
    type: str


@dataclass(frozen=True)
class EgoMcq:
    """All questions, in file order."""

    questions: tuple[Question, ...]

    def listing(self) -> Listing:
        """Questions of each type, distinct videos and missing ones."""
        videos = {clip.video: clip.path for question in self.questions for clip in question.choices}
        types = Counter(question.type for question in self.questions)
        return Listing(dict(sorted(types.items())), len(videos), sum(path is None for path in videos.values()))


def read_egomcq(root: str | Path) -> EgoMcq:
    """Read `egomcq.json` in `root`; InputError, with file and question, for a damaged one."""
    root = Path(root)
    file = find_below(root, ["egomcq.json", "EgoMCQ/egomcq.json", "annotations/egomcq.json"], "list of questions")
    items = read_json(file, "EgoMCQ's questions by number")
    if not isinstance(items, Mapping) or not items:
        raise InputError(f"{file} holds {type(items).__name__}; expected an object with a question for each number")
    places = VideoPlaces(root, EGO4D_VIDEOS)
    return EgoMcq(tuple(_question(str(number), item, file, places) for number, item in items.items()))


def _question(number: str, item: Any, file: Path, places: VideoPlaces) -> Question:
    where = f"question {number}"
    choices, query = entry(item, "choices", file, where), entry(item, "query", file, where)
    if not isinstance(choices, Mapping) or sorted(choices) != [str(k) for k in range(CHOICES)]:
        found = ", ".join(sorted(map(str, choices))) if isinstance(choices, Mapping) else type(choices).__name__
        raise InputError(f"{file}, {where}: found the choices {found}; expected 0 to {CHOICES - 1}")
    answer = whole_number(str(entry(item, "answer", file, where)), file, f"the answer of {where}")
    kind = whole_number(str(entry(item, "types", file, where)), file, f"the type of {where}")
    if not 0 <= answer < CHOICES or kind not in TYPES:
        raise InputError(f"{file}, {where}: answer {answer} and type {kind}; expected 0 to {CHOICES - 1} and type 1 or 2")
    clips = tuple(_clip(choices[str(k)], f"{number}_{k}", file, f"{where}, choice {k}", places) for k in range(CHOICES))
    return Question(number, str(entry(query, "clip_text", file, f"{where}, query")), clips, answer, TYPES[kind])


def _clip(item: Any, uid: str, file: Path, where: str, places: VideoPlaces) -> TextClip:
    video = str(entry(item, "video_uid", file, where))
    times = [entry(item, name, file, where) for name in ("clip_start", "clip_end")]
    try:
        start, end = max(float(times[0]), 0.0), float(times[1])
        path, chunked = places.find(video)
        verbs, nouns = (class_list(item.get(name) or [], f"{file}, {where}, {name}") for name in ("tag_verb", "tag_noun"))
        texts = (str(item["clip_text"]),) if item.get("clip_text") else ()
        return TextClip(video, path, start, end, texts, uid, verbs, nouns, chunked=chunked)
    except InputError as error:
        sentence = str(error)
        raise InputError(sentence if sentence.startswith(str(file)) else f"{file}, {where}: {sentence}") from error
    except (TypeError, ValueError) as error:
        raise InputError(f"{file}, {where}: found the times {times}; expected seconds") from error

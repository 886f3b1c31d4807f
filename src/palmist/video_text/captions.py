"""Captions of videos: their labels as sentences, narrations of what the hands do, or a file of narrations.

>>> captions_of("narrations", "rendered", entry, videos)[0]
('The person signs hello. The right hand moves up and then to the right.',)
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track

import palmist.narration
from palmist.config import build_config
from palmist.errors import InputError
from palmist.files.input_files import damage_named, parse_json, read_json, read_text
from palmist.files.whole_file import write_whole
from palmist.narration.drawn import drawn_detections
from palmist.narration.pipeline import Narration, narrate_detections
from palmist.readers import open_data
from palmist.recording import Recording
from palmist.render import RenderSettings
from palmist.tasks.videos import VideoSetConfig
from palmist.video_sets import RenderedConfig, Videos
from palmist.video_text.text_videos import TextVideos

__all__ = [
    "CAPTIONS",
    "captions_of",
    "classes_of",
    "hand_boxes",
    "label_caption",
    "label_of_caption",
    "labelled",
    "narrated_drawing",
]

CAPTIONS = ("narrations", "labels", "texts")
#: open set -> how a label becomes a sentence; labels of other sets are sentences already.
_LABEL_SENTENCES = {
    "asl_words": "The person signs {}.",
    "asl_letters": "The person spells the letter {}.",
    "reach_to_grasp": "The hand grasps a {} object.",
}


def label_caption(label: str, data: str = "") -> str:
    """A label as a sentence; `data` is an open set's name.

    >>> label_caption("hello", "asl_words")
    'The person signs hello.'
    """
    return _LABEL_SENTENCES.get(data, "{}").format(label.replace("_", " "))


def label_of_caption(sentence: str) -> str:
    """What `label_caption` made a sentence of, for any open set; another sentence stays as it is.

    >>> label_of_caption("The person signs thank-you.")
    'thank-you'
    """
    for template in _LABEL_SENTENCES.values():
        before, after = template.split("{}")
        if sentence.startswith(before) and sentence.endswith(after) and len(sentence) > len(before) + len(after):
            return sentence[len(before) : len(sentence) - len(after)]
    return sentence


def labelled(label: str, name: str, entry: VideoSetConfig) -> str:
    """`label_caption` for a set under its name, with its settings."""
    drawn = (entry.kind or name) == "rendered"
    return label_caption(label, build_config(RenderedConfig, entry.options, f"{name}.options").recordings if drawn else "")


def narrated_drawing(recording: Recording, settings: RenderSettings, seed: int = 0) -> Narration:
    """The narration of a drawn recording, from the boxes around its projected joints (`palmist.narration.drawn`).

    The first frame is left out where there are others: in asl_words it often shows the hands somewhere else.
    """
    time, detections = drawn_detections(recording, settings, seed)
    if len(time) > 1:
        time, detections = time[1:], detections[1:]
    size = (settings.size, settings.size)
    return narrate_detections(time, size, detections, source=recording.name, detector={"name": "projected joints"})


def captions_of(kind: str, name: str, entry: VideoSetConfig, videos: Videos) -> Sequence[Sequence[str]]:
    """Captions of every video of a set.

    Args:
        kind: one of `CAPTIONS` ("texts" for sets of clips with sentences, and only for those), or the path of a .jsonl file of
            `palmist narrate`.
        name, entry: of the set, as `palmist.tasks.videos.read_videos` takes them. videos: what it gave.

    Raises InputError for an unknown kind, narrations of a set that is not drawn, or a file without a video's narration.
    """
    drawn = (entry.kind or name) == "rendered"
    config = build_config(RenderedConfig, entry.options, f"{name}.options") if drawn else None
    if isinstance(videos, TextVideos):
        if kind != "texts":
            raise InputError(f"captions of set '{name}' are '{kind}'; expected texts, the sentences that its list gives")
        return videos.captions()
    if kind not in CAPTIONS:
        return _of_file(Path(kind), videos.names)
    labels = [videos.labels[number] if number >= 0 else "" for number in videos.label.tolist()]
    sentences = [labelled(label, name, entry) for label in labels]
    if kind == "texts":
        raise InputError(f"set '{name}' has labels and no texts; expected captions narrations, labels or a .jsonl file")
    if kind == "labels":
        return [(sentence,) for sentence in sentences]
    if config is None:
        raise InputError(
            f"captions of set '{name}' are to be narrations, which are made at once for drawn recordings only; "
            "run palmist narrate and give its narrations.jsonl"
        )
    settings = build_config(RenderSettings, {"tracks": 0, **config.settings}, "settings")
    told = _narrations(config, settings, videos.names)
    return [(f"{sentence} {text}".strip(),) for sentence, text in zip(sentences, told, strict=True)]


def _narrations(config: RenderedConfig, settings: RenderSettings, names: Sequence[str]) -> list[str]:
    """Narrations of drawn recordings; those of a set with a folder are kept there, named by all that they depend on."""
    recordings = _by_name(config.recordings)
    kept = None
    if config.folder is not None:
        key = hashlib.sha256(json.dumps([config.recordings, settings.to_json(), config.seed, list(names)]).encode())
        for source in sorted(Path(palmist.narration.__file__).parent.glob("*.py")):
            key.update(source.read_bytes())
        kept = Path(config.folder) / f"narrated-{key.hexdigest()[:24]}.json"
        if kept.is_file():
            with damage_named(kept, "kept narrations; delete it, they are made again"):
                texts = [str(text) for text in read_json(kept, "kept narrations")]
                if len(texts) != len(names):
                    raise ValueError(f"{len(texts)} narrations of {len(names)} recordings")
                return texts
    title = f"narrating {len(names)} recordings of {config.recordings}"
    told = [
        narrated_drawing(recordings[name], settings, config.seed).text
        for name in track(names, title, console=Console(stderr=True), transient=True)
    ]
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_whole(kept, json.dumps(told))
    return told


def hand_boxes(name: str, entry: VideoSetConfig, videos: Videos) -> Callable[[int], tuple[np.ndarray, np.ndarray]]:
    """For each video of a drawn set (T, 2, 4) pixels of both hands, left first, and (T, 2) known. InputError for others."""
    if (entry.kind or name) != "rendered":
        raise InputError(f"model.hand_boxes needs boxes of hands, which set '{name}' does not have; expected a drawn set, or 0")
    config = build_config(RenderedConfig, entry.options, f"{name}.options")
    settings = build_config(RenderSettings, {"tracks": 0, **config.settings}, "settings")
    recordings = _by_name(config.recordings)

    @cache
    def boxes(number: int) -> tuple[np.ndarray, np.ndarray]:
        _, frames = drawn_detections(recordings[videos.names[number]], settings, config.seed)
        places, known = np.zeros((len(frames), 2, 4), np.float32), np.zeros((len(frames), 2), bool)
        for row, frame in enumerate(frames):
            for hand in frame.hands:
                places[row, hand.side], known[row, hand.side] = hand.box, True
        return places, known

    return boxes


def classes_of(videos: Videos) -> Callable[[int], tuple[Sequence[int], Sequence[int]]]:
    """Verb and noun classes of each video: those of a set with sentences, else its label stands for both."""
    if isinstance(videos, TextVideos):
        clips = videos.clips
        return lambda number: (clips[number].verbs, clips[number].nouns)
    labels = videos.label.tolist()
    return lambda number: ([labels[number]], [labels[number]]) if labels[number] >= 0 else ([], [])


@lru_cache(maxsize=4)
def _by_name(data: str) -> dict[str, Recording]:
    return {recording.name: recording for recording in open_data(data)}


def _of_file(path: Path, names: Sequence[str]) -> list[tuple[str, ...]]:
    """The narrations of the named videos, several where a video was narrated in several clips."""
    if path.suffix != ".jsonl" or not path.is_file():
        known = ", ".join(CAPTIONS)
        raise InputError(f"captions is '{path}'; expected {known}, or an existing .jsonl file that palmist narrate wrote")
    found: dict[str, list[str]] = {}
    expected = "a narration, as palmist narrate writes it"
    for number, line in enumerate(read_text(path, "narrations of palmist narrate").split("\n"), 1):
        entry = parse_json(line, f"{path}, line {number}", expected) if line.strip() else {}
        if not isinstance(entry, dict) or not isinstance(entry.get("source", ""), str | None):
            raise InputError(f"{path}, line {number} is no narration; expected what palmist narrate wrote")
        if "text" in entry:
            if not isinstance(entry["text"], str) or not isinstance(entry.get("source"), str):
                raise InputError(f"{path}, line {number} has no text or no source; expected what palmist narrate wrote")
            found.setdefault(entry["source"], []).append(entry["text"])
    missing = [name for name in names if name not in found]
    if missing:
        raise InputError(
            f"{path} narrates {len(found)} videos, not {missing[0]} and {len(missing) - 1} others; narrate them too"
        )
    return [tuple(found[name]) for name in names]

"""EMIM, TRec, EgoVideo and their twins on videos: `palmist benchmark quality --only directions` and `--only rendered_words`.

Every model is trained with three seeds (`palmist.benchmark.plan.motion_jobs`) on the same videos. `directions` tests on 1,000
videos of textures drawn from another seed than any training; `rendered_words` on drawings of the signer of cross-signer A, who
is in no training. EgoVideo chooses between the labels as sentences (on drawn words: `--only video_text`). TRec is trained with
all points that a batch's subset is drawn from, and then also tested

- with fewer points (`trec_10_points`), and without the points that move as most do (`trec_foreground`);
- with controls (`trec_sees_...`): pixels of another video, no pixels, tracks that stand still or run backwards, or one frame.

Tracks and drawings are kept in runs/tracks and runs/drawn. An interval resamples seeds and, within them, sessions (of signed
words) or videos (of textures).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from palmist.benchmark import plan
from palmist.benchmark.kept import measured
from palmist.checkpoint import load_checkpoint
from palmist.evaluation.benchmark_record import BenchmarkRecord, make_record
from palmist.evaluation.video_text import recognise_by_sentences
from palmist.evaluation.videos import Tested, TrackTest, VideoRecognition, evaluation_set, load_tested, recognise_tested
from palmist.inference.video_text import VideoTextReader
from palmist.metrics.intervals import over_seeds
from palmist.readers import open_data
from palmist.tasks.videos import read_videos
from palmist.video_sets import Videos

__all__ = ["directions", "rendered_words"]

#: task -> data and split, as `palmist evaluate` takes them.
_DATA = {"directions": ("directions", "all"), "words": ("rendered_asl_words", "cross_signer_a")}
_POINTS = (10, 25, 50, 100, 200, 400)
_CONTROLS = (
    "first_frame_and_tracks", "shuffled_frames_and_tracks", "blank_frames_and_tracks", "frames_and_still_tracks",
    "frames_and_reversed_tracks",
)  # fmt: skip
#: What TRec is tested with beside all of its points.
TESTS = (
    *(TrackTest(points=count) for count in _POINTS),
    TrackTest(foreground=True),
    *(TrackTest(control=name) for name in _CONTROLS),
)


def directions(train: bool = True) -> list[BenchmarkRecord]:
    """Accuracy on the direction task; train: as `rendered_words`."""
    return _section("directions", train, lambda videos: np.arange(len(videos)))


def rendered_words(train: bool = True) -> list[BenchmarkRecord]:
    """Accuracy on drawn words of the unseen signer. train: first train what is not there yet; else models and seeds without a
    finished training are left out."""
    sessions = {recording.name: str(recording.session) for recording in open_data("asl_words")}
    return _section("words", train, lambda videos: np.array([sessions[name] for name in videos.names]))


def _section(task: str, train: bool, groups: Callable[[Videos], np.ndarray]) -> list[BenchmarkRecord]:
    if train:
        plan.train_missing({job.name for job in plan.motion_jobs() if job.name.split("_")[1] == task})
    records = []
    for model in plan.MOTION[task]:
        records += _records(task, model, None, groups)
    if task == "words":
        for test in TESTS:
            records += _records(task, "trec", test, groups)
    return records


def _records(task: str, model: str, test: TrackTest | None, groups: Callable[[Videos], np.ndarray]) -> list[BenchmarkRecord]:
    folders = {seed: plan.ROOT / f"m{seed}_{task}_{model}" for seed in plan.TABLE_SEEDS}
    seeds = tuple(seed for seed, folder in folders.items() if (folder / "finished").is_file())
    if not seeds:
        return []
    name = model if test is None else test.name("frames_and_tracks")
    found = []
    for seed in seeds:
        checkpoint = folders[seed] / "last"
        measure = functools.partial(_measure, task, checkpoint, test)
        found.append(measured(f"m{seed}_{task}_{name}", [checkpoint], [__file__], measure))
    first = found[0]
    result = over_seeds(np.stack([row["hits"] for row in found]), groups(_videos(task, *_clip(first)))[first["items"]])
    data, split = _DATA[task]
    command = f"palmist benchmark quality --only {'directions' if task == 'directions' else 'rendered_words'}"
    return [
        make_record(
            f"{data}/{split}/{name}/accuracy", result.value, "share", result.n, command, result.interval, seeds=seeds
        )
    ]  # fmt: skip


def _measure(task: str, checkpoint: Path, test: TrackTest | None) -> dict[str, np.ndarray]:
    """hits (N,) 0 or 1 in the order of items (N,), numbers of the videos; clip: frames and side of a clip."""
    if load_checkpoint(checkpoint).config["model"] == "egovideo":
        return _measure_sentences(task, checkpoint)
    tested: Tested = load_tested(checkpoint, test)
    if tested.tracks is not None:
        tested = tested._replace(tracks=replace(tested.tracks, folder=str(plan.TRACKS)))
    clip = np.array([tested.clip.frames, tested.clip.size])
    return _hits(recognise_tested(tested, _videos(task, *clip.tolist())), clip)


def _measure_sentences(task: str, checkpoint: Path) -> dict[str, np.ndarray]:
    """As `_measure`, of a video-text model: the labels as sentences."""
    reader = VideoTextReader(str(checkpoint), checkpoint)
    clip = np.array([reader.clip.frames, reader.clip.size])
    _, config = evaluation_set(*_DATA[task], *clip.tolist())
    return _hits(recognise_by_sentences(reader, _videos(task, *clip.tolist()), _DATA[task][0], config), clip)


def _hits(result: VideoRecognition, clip: np.ndarray) -> dict[str, np.ndarray]:
    order = np.argsort(result.items)
    hits = (result.probabilities.argmax(1) == result.truth)[order].astype(float)
    return {"hits": hits, "items": result.items[order], "clip": clip}


def _clip(found: dict[str, np.ndarray]) -> tuple[int, int]:
    frames, size = found["clip"].tolist()
    return frames, size


@functools.lru_cache(maxsize=2)
def _videos(task: str, frames: int, size: int) -> Videos:
    data, split = _DATA[task]
    name, config = evaluation_set(data, split, frames, size)
    if task == "words":
        config = replace(config, options={**config.options, "folder": str(plan.DRAWN)})
    return read_videos(name, config)

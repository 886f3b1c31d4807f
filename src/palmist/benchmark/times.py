"""What the models of the one table cost: `palmist benchmark quality --only times`.

    minutes       of training on one core, by a run's log (others ran beside it), mean and range of the seeds;
                  everything that a model stands on is counted
    parameters    numbers in the checkpoint that is read with
    milliseconds  of CPU time of one thread to read one recording: a word of 20 frames as joints, or its drawing as a video of
                  112 pixels, decoding and point tracks included; median and range of the repeats, one after the other
"""

from __future__ import annotations

import json
import math
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from palmist.benchmark import plan
from palmist.benchmark.open_sets import recogniser
from palmist.benchmark.word_predictions import word_labels
from palmist.checkpoint import load_checkpoint
from palmist.evaluation.benchmark_record import BenchmarkRecord, make_record
from palmist.inference.video_text import load_video_text
from palmist.inference.videos import load_video_reader
from palmist.readers import open_data
from palmist.render import RenderSettings, render_folder
from palmist.splits import FOLDS, recordings_of
from palmist.tasks.labelled import labelled_parts

__all__ = ["TRAINED", "times", "training_minutes"]

_COMMAND = "palmist benchmark quality --only times"
_REPEATS = 20
_JOINTS, _PIXELS, _WORDS, _NOTHING = "joints", "pixels", "words", ""
#: model -> its trainings, the last of which is read with, and what that sees
TRAINED: dict[str, tuple[tuple[str, ...], str]] = {
    "ghtt": (("t{}_p", "t{}_a"), _JOINTS),
    "htt": (("t{}_htt",), _JOINTS),
    "recognition_only": (("t{}_recognition_only",), _JOINTS),
    "posegpt": (("t{}_posegpt_codec", "t{}_posegpt"), _NOTHING),
    "flattened": (("t{}_flattened",), _JOINTS),
    **{
        model: ((f"s{{}}_a_{model}",), _JOINTS)
        for model in ("bharnet", "unified_graph", "published_graph", "body_only", "hand_only", "plain_transformer")
    },
    **{model: ((f"m{{}}_words_{model}",), _PIXELS) for model in ("emim", "trec", "rgb_only", "uniformer")},
    "egovideo": (("v{}_egovideo",), _WORDS),
}


def training_minutes(run: Path) -> float:
    """Minutes of a training by its log: windows of each logged stretch over its windows per second."""
    batch = json.loads((run / "config.json").read_text(encoding="utf-8"))["batch_size"]
    seconds, before = 0.0, 0
    for line in (run / "log.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if row["split"] == "train" and row["step"] > before:
            seconds += (row["step"] - before) * batch / row["windows_per_second"]
            before = row["step"]
    return seconds / 60


def times() -> list[BenchmarkRecord]:
    """Of every model with a finished training; nothing is trained here."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with tempfile.TemporaryDirectory() as folder:
            recording = recordings_of(open_data("asl_words"), FOLDS[1].signers)[0]
            render_folder([recording], Path(folder), RenderSettings(112, tracks=0))
            (video,) = Path(folder).rglob("*.mp4")
            found = [_of_model(model, video) for model in TRAINED]
        return [record for records in found for record in records]
    finally:
        torch.set_num_threads(threads)


def _of_model(model: str, video: Path) -> list[BenchmarkRecord]:
    trainings, sees = TRAINED[model]
    runs = {seed: [plan.ROOT / name.format(seed) for name in trainings] for seed in plan.TABLE_SEEDS}
    runs = {seed: parts for seed, parts in runs.items() if all((part / "finished").is_file() for part in parts)}
    if not runs:
        return []
    seeds = tuple(runs)
    minutes = [sum(training_minutes(part) for part in parts) for parts in runs.values()]
    last = runs[seeds[0]][-1] / "last"
    parameters = sum(math.prod(tensor.shape) for tensor in load_checkpoint(last).state.values())
    prefix, span = f"training/fold_1/{model}", (min(minutes), max(minutes))
    records = [
        make_record(f"{prefix}/minutes", float(np.mean(minutes)), "minutes of a core", len(minutes), _COMMAND, span, seeds),
        make_record(f"{prefix}/parameters", parameters, "numbers", 1, _COMMAND, seeds=seeds[:1]),
    ]
    if sees:
        taken = _milliseconds(_reading(sees, last, video))
        span = (float(taken.min()), float(taken.max()))
        name = f"asl_words/one_recording/{model}/milliseconds"
        records.append(make_record(name, float(np.median(taken)), "ms", len(taken), _COMMAND, span, seeds[:1], threads=1))
    return records


def _reading(sees: str, checkpoint: Path, video: Path) -> Callable[[], object]:
    if sees == _JOINTS:
        read, labels = recogniser(checkpoint), word_labels()
        items = labelled_parts(recordings_of(open_data("asl_words"), FOLDS[1].signers)[0], None)
        return lambda: read(items, labels)
    if sees == _PIXELS:
        reader = load_video_reader(checkpoint)
        return lambda: reader.read(video)
    two_towers = load_video_text(checkpoint)
    return lambda: two_towers.read(video, word_labels())


def _milliseconds(call: Callable[[], object]) -> np.ndarray:
    call()
    taken = []
    for _ in range(_REPEATS):
        start = time.process_time()
        call()
        taken.append(time.process_time() - start)
    return 1000 * np.array(taken)

"""The image estimator in numbers: drawn frames of a signer and of takes that it never saw, and a real clip."""

from __future__ import annotations

import numpy as np

from palmist.benchmark import plan
from palmist.demo_data import demo_video
from palmist.evaluation.benchmark_record import BenchmarkRecord, make_record
from palmist.evaluation.images import CLIPS, FRAMES, evaluation_bank, mean_answers, score_answers, score_estimator, truths
from palmist.inputs.image_bank import DrawConfig, draw_frames
from palmist.metrics.intervals import Metric, mean_metric
from palmist.perception.hands import track_hands
from palmist.perception.image_estimator import EstimatorHands, load_estimator
from palmist.perception.video import Video
from palmist.readers import open_data
from palmist.recording import Recording
from palmist.splits import FOLDS, named_split, recordings_of

__all__ = ["estimator"]

#: The training of `palmist.benchmark.plan` that is measured, and the fold that it never saw.
TRAINING, FOLD = "estimator_po", FOLDS[1]
_COMMAND = "palmist benchmark quality --only estimator"
_BASELINE_CLIPS = 300


def estimator() -> list[BenchmarkRecord]:
    """Drawn words of the unseen signer and drawn takes that were left out, beside the training set's mean pose; a real clip."""
    plan.train_missing({"estimator_i", TRAINING})
    checkpoint = plan.ROOT / TRAINING / "last"
    model, detector = load_estimator(checkpoint)
    records = []
    words, takes = open_data("asl_words"), open_data("leap_recordings")
    split = named_split("asl_words", "cross_signer_a")
    unseen_takes, seen_takes = ([take for take in takes if (take.name in FOLD.takes) == unseen] for unseen in (True, False))
    sets = (
        ("asl_words/cross_signer_a", recordings_of(words, split.test), recordings_of(words, split.train)),
        ("leap_recordings/leave_takes_out", unseen_takes, seen_takes),
    )
    for name, unseen, seen in sets:
        rows = score_estimator(model, detector, unseen) + _mean_pose(unseen, seen, model.config.objects)
        records += [_record(f"rendered_{name}/{who}/{metric}", value, unit) for who, metric, value, unit in rows]
    return records + _real_clip(EstimatorHands(checkpoint))


def _record(name: str, metric: Metric, unit: str) -> BenchmarkRecord:
    return make_record(name, metric.value, unit, metric.n, _COMMAND, metric.interval, seeds=(0,))


def _mean_pose(unseen: list[Recording], seen: list[Recording], things: tuple[str, ...]) -> list[tuple[str, str, Metric, str]]:
    """The baseline on the same frames: what training frames are on average."""
    bank = evaluation_bank(unseen, things, CLIPS, FRAMES)
    training = draw_frames([(seen, 1.0)], DrawConfig(_BASELINE_CLIPS, held=things), seed=0)
    rows = score_answers(mean_answers(training, len(bank)), truths(bank), [bank.names[clip] for clip in bank.clip])
    return [("mean_pose", *row) for row in rows]


def _real_clip(tracker: EstimatorHands) -> list[BenchmarkRecord]:
    """The demo's clip of a right hand: how often each hand is said to be there, and how far MediaPipe's joints are from the
    nearest hand that was found, whatever side it was given.
    """
    path, reference = demo_video()
    frames = ((time, image) for number, (image, time) in enumerate(Video(path)) if number < len(reference))
    found = track_hands(frames, tracker)
    size = np.array([1.0, 1.0 / (found.aspect or 1.0)])  # in image widths
    away = np.linalg.norm((found.joints - reference.joints[:, 1:])[..., :2] * size, axis=-1).mean(-1)  # (T, 2)
    nearest = np.where(found.valid & reference.valid[:, 1:], away, np.inf).min(1)
    distance = mean_metric(np.where(np.isfinite(nearest), nearest, np.nan))
    prefix, records = "videos/hand_video/image_estimator", []
    for hand, side in enumerate(("left", "right")):
        share = Metric(float(found.valid[:, hand].mean()), len(found))
        records.append(_record(f"{prefix}/found_{side}", share, "share"))
    if distance.n:
        records.append(_record(f"{prefix}/distance_to_mediapipe", distance, "image widths"))
    return records

"""How well E^I and E^PO do on drawn frames with known truth, beside a baseline that looks at nothing.

Pixels are those of the 480 x 270 picture. Millimetres of recordings without metric depth are those of a hand of 90 mm from
wrist to knuckles (`palmist.inputs.image_bank`, deviation 3). Pictures are read whole, with black bars, as a video is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from palmist.inputs.image_bank import DrawConfig, FrameBank, draw_frames
from palmist.metrics.intervals import Metric, mean_metric
from palmist.metrics.pose import mpjpe_pa_errors, mpjpe_ra_errors
from palmist.models.ghtt_image import DEPTH_SCALE, FOCAL, PIXEL_SCALE, ClipObjectDetector, ImageEstimator, decode_25d
from palmist.recording import Recording
from palmist.tasks.images import ImageDataset, clip_features

__all__ = ["Answers", "estimate", "mean_answers", "score_answers", "score_clips", "score_estimator", "truths"]

#: Of the frames that models are measured on; trainings draw with seeds of their own.
SEED = 77_000
CLIPS, FRAMES, CLIP_FRAMES = 400, 4, 16

Row = tuple[str, Metric, str]


@dataclass(frozen=True)
class Answers:
    """codes (N, 2, 21, 3), present (N, 2) bool and object (N,) int64 (-1: names none) of N frames; what is true also says
    which codes are known (N, 2, 21, 3).
    """

    codes: np.ndarray
    present: np.ndarray
    object: np.ndarray
    known: np.ndarray | None = None


def evaluation_bank(
    recordings: Sequence[Recording], things: Sequence[str], clips: int, frames: int, size: int = 128
) -> FrameBank:
    """Frames to measure on: a few are spread over a second, longer clips are of consecutive frames and always show a thing."""
    spacing = 1 if frames > FRAMES else 0
    share = 1.0 if spacing else 0.6
    config = DrawConfig(clips, frames, size, spacing, tuple(things), share if things else 0.0, mirror=False)
    return draw_frames([(recordings, 1.0)], config, SEED + spacing)


def truths(bank: FrameBank) -> Answers:
    """What is true of the frames of a bank, placed whole."""
    given = ImageDataset(bank, 32, 18, augment=False).batch(np.arange(len(bank)), torch.Generator())
    return Answers(*(given[name].numpy() for name in ("codes", "present", "object", "known")))


@torch.no_grad()
def estimate(model: ImageEstimator, bank: FrameBank, batch_size: int = 64) -> Answers:
    """What E^I says of the frames of a bank, placed whole."""
    data = ImageDataset(bank, model.config.input_width, model.config.input_height, augment=False)
    found: list[tuple[np.ndarray, ...]] = []
    for first in range(0, len(bank), batch_size):
        rows = np.arange(first, min(first + batch_size, len(bank)))
        out = model(data.batch(rows, torch.Generator())["images"])
        named = model.labels.similarities(out.objects).argmax(-1) if len(model.labels) else torch.full((len(rows),), -1)
        found.append((out.codes.numpy(), (out.presence > 0).numpy(), named.numpy()))
    return Answers(*(np.concatenate(parts) for parts in zip(*found, strict=True)))


def mean_answers(training: FrameBank, count: int) -> Answers:
    """The baseline: the training frames' mean pose at its mean place, the more frequent presence, the most frequent thing."""
    true = truths(training)
    assert true.known is not None
    codes = (true.codes * true.known).sum(0) / np.maximum(true.known.sum(0), 1)
    named = true.object[true.object >= 0]
    thing = int(np.bincount(named).argmax()) if len(named) else -1
    present = true.present.mean(0) >= 0.5
    return Answers(np.repeat(codes[None], count, 0), np.repeat(present[None], count, 0), np.full(count, thing))


def score_answers(answers: Answers, true: Answers, groups: list[str]) -> list[Row]:
    """Metrics of frames: (name, value with interval, unit). Hands count where they are present and known.

    Args:
        groups: (N,) an id per frame; intervals draw whole groups.
    """
    assert true.known is not None
    hands = [group for group in groups for _ in range(2)]

    def per_hand(error: np.ndarray, known: np.ndarray) -> np.ndarray:
        count = known.sum(-1)
        return np.where(count > 0, (error * known).sum(-1) / np.maximum(count, 1), np.nan)

    difference = answers.codes.astype(np.float64) - true.codes
    pixel = per_hand(PIXEL_SCALE * np.linalg.norm(difference[..., :2], axis=-1), true.known[..., 0])
    depth = per_hand(1000 * FOCAL * DEPTH_SCALE * np.abs(difference[..., 2]), true.known[..., 2])
    solid = true.known.all(-1)
    found, joints = (1000 * decode_25d(torch.from_numpy(codes.astype(float))).numpy() for codes in (answers.codes, true.codes))
    rows: list[Row] = [
        ("pixel_error", mean_metric(pixel, True, hands), "px of 480 x 270"),
        ("depth_error", mean_metric(depth, True, hands), "mm"),
        ("mpjpe_ra", mean_metric(mpjpe_ra_errors(found, joints, solid).error, True, hands), "mm"),
        ("mpjpe_pa", mean_metric(mpjpe_pa_errors(found, joints, solid).error, True, hands), "mm"),
        ("presence_accuracy", mean_metric(answers.present == true.present, True, hands), "share"),
    ]
    named = true.object >= 0
    if named.any() and (answers.object >= 0).any():
        right = np.where(named, answers.object == true.object, np.nan)
        rows.append(("object_accuracy", mean_metric(right, True, groups), "share"))
    return [row for row in rows if row[1].n]


def score_clips(model: ImageEstimator, detector: ClipObjectDetector, bank: FrameBank) -> tuple[Metric, Metric]:
    """Accuracy of the clips' things by E^PO, and by counting E^I's frames; clips in which a thing is seen."""
    objects, frames, label = clip_features(model, bank)
    row, _ = detector.detect(objects, frames)
    single = model.labels.similarities(objects.flatten(0, 1)).argmax(-1).view(frames.shape)
    votes = torch.stack([((single == name) & frames).sum(1) for name in range(len(model.labels))], -1)
    named = label >= 0
    groups = [name for name, is_named in zip(bank.names, named.tolist(), strict=True) if is_named]
    by_detector, by_vote = (mean_metric((guess == label)[named].double(), True, groups) for guess in (row, votes.argmax(-1)))
    return by_detector, by_vote


def score_estimator(
    model: ImageEstimator, detector: ClipObjectDetector | None, recordings: Sequence[Recording]
) -> list[tuple[str, str, Metric, str]]:
    """Every metric of a checkpoint on drawn recordings: (model's name, metric, value, unit)."""
    things = model.config.objects
    bank = evaluation_bank(recordings, things, CLIPS, FRAMES)
    groups = [bank.names[clip] for clip in bank.clip]
    rows = [("image_estimator", *row) for row in score_answers(estimate(model, bank), truths(bank), groups)]
    if detector is not None:
        clips = evaluation_bank(recordings, things, CLIPS // 2, CLIP_FRAMES)
        by_detector, by_vote = score_clips(model, detector, clips)
        rows.append(("clip_object", "object_accuracy", by_detector, "share"))
        rows.append(("image_estimator", "object_accuracy_of_clips", by_vote, "share"))
    return rows

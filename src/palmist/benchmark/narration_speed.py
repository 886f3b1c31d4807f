"""How fast narrations are made: `palmist benchmark speed --only narrate`.

The demo's real clip of one hand, with detections replayed from the tracks that lie beside it, so that the detector's own time
is not counted; decoding, the camera's motion, tracks, facts and sentence are. On Ray the same span is done eight times by one
and by two workers, in wall time; the outcomes are first found equal to those of this process.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np

from palmist.benchmark.speed import COMMAND, _measure, _seconds
from palmist.demo_data import demo_video
from palmist.errors import InputError, MissingExtraError
from palmist.evaluation.benchmark_record import BenchmarkRecord, make_record
from palmist.narration.many import DetectorChoice, Job, Outcome, RayOptions, narrate_many, narrate_span, ray_session
from palmist.narration.sources import Span
from palmist.perception.hand_object_files import DetectedHandObjects, write_hand_objects
from palmist.perception.video import Video

__all__ = ["narrate", "replayed_demo"]

_COPIES = 8
_RAY_REPEATS = 5


def narrate(repeats: int) -> list[BenchmarkRecord]:
    """Frames per second of CPU time of the pipeline, and how many times faster two of Ray's workers are than one."""
    import cv2

    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        with tempfile.TemporaryDirectory() as folder:
            span, job, frames = replayed_demo(Path(folder))
            if (failure := narrate_span(span, job).failure) is not None:
                raise InputError(f"the demo's clip cannot be narrated: {failure}")
            rates = frames / _measure([lambda: narrate_span(span, job)], repeats)[:, 0]
            records = [_seconds("speed/narrate/pipeline/frames_per_second", rates, "frames/s")]
            try:
                with ray_session(RayOptions(2)):
                    records += _ray_gain(span, job, min(repeats, _RAY_REPEATS))
            except MissingExtraError:
                pass  # the optional part is not installed
            return records
    finally:
        cv2.setNumThreads(threads)


def replayed_demo(folder: Path) -> tuple[Span, Job, int]:
    """The demo's clip as a span, a job that replays its hands from a file in `folder`, and the number of frames."""
    path, recording = demo_video()
    info = Video(path).info
    hands = []
    for points, known in zip(recording.joints[..., :2] * (info.width, info.height), recording.known, strict=True):
        rows = [
            [*points[side][known[side]].min(0) - 10, *points[side][known[side]].max(0) + 10, 0.9, 0, 0, 0, 0, side]
            for side in range(2)
            if known[side].any()
        ]
        hands.append(np.array(rows, np.float64).reshape(-1, 10))
    none = np.zeros((0, 5))
    found = DetectedHandObjects(recording.time, tuple(hands), (none,) * len(hands), (info.width, info.height))
    file = write_hand_objects(folder / "hands.npz", found)
    end = float(recording.time[-1]) + 0.5 / (info.rate or 30.0)
    return Span(path, "hand_video", info.start, end, "hand_video"), Job(DetectorChoice("detections", None, file)), len(hands)


def _ray_gain(span: Span, job: Job, repeats: int) -> list[BenchmarkRecord]:
    """One worker's seconds over two workers': of all, workers' start included, and of what comes after the first clips."""
    expected = narrate_span(span, job).narration
    assert expected is not None
    whole, running = np.zeros((repeats, 2)), np.zeros((repeats, 2))
    for row in range(repeats):
        for column, workers in enumerate((1, 2)):
            start = time.perf_counter()
            outcomes: list[Outcome] = []
            ends = []
            for outcome in narrate_many([span] * _COPIES, job, RayOptions(workers)):
                outcomes.append(outcome)
                ends.append(time.perf_counter())
            whole[row, column] = ends[-1] - start
            running[row, column] = (ends[-1] - ends[0]) / (_COPIES - workers)
            if any(o.narration is None or o.narration.to_json() != expected.to_json() for o in outcomes):
                raise InputError("Ray's narrations differ from those of this process; expected the same")
    return [
        _gain("speed/narrate/ray_2_workers/ratio", whole),
        _gain("speed/narrate/ray_2_workers_running/ratio", running),
    ]


def _gain(name: str, seconds: np.ndarray) -> BenchmarkRecord:
    """The median of the paired ratios with the smallest and the largest: the repeats are too few for a bootstrap."""
    ratios = seconds[:, 0] / seconds[:, 1]
    interval = (float(ratios.min()), float(ratios.max()))
    return make_record(name, float(np.median(ratios)), "times", len(ratios), COMMAND, interval, threads=2)

"""Many clips: in this process, or on Ray Data's workers, here or on a cluster; the same results in the same order.

Every clip gets a detector of its own, or one that remembers nothing, so that nothing of one clip can reach another, whoever did
it before. Workers send back
narrations as JSON; rewriting by a language model and writing of files stay in the process that asked, so that keys and folders
do not travel.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import os
import pickle
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from palmist.errors import InputError, MissingExtraError
from palmist.narration.pipeline import Narration, NarrationSettings, narrate_frames
from palmist.narration.sources import Span, frames_of
from palmist.perception.video import Frame

if TYPE_CHECKING:
    from palmist.perception.objects import HandObjectDetector

__all__ = ["DetectorChoice", "Job", "Outcome", "RayOptions", "narrate_many", "narrate_span", "ray_session"]

_WITHOUT_MEMORY = ("network", "detections")  # what these find in a frame depends on no other; they are loaded once a process
_DETECTIONS_ENDINGS = (".npz", ".json")
_MOST_BLOCKS = 20_000  # of Ray's: one clip each, as long as that is not too many for it
_DIED = "the worker that did it died, twice; try this clip alone, without --ray"


@dataclass(frozen=True)
class DetectorChoice:
    """Who finds hands and things: a name of object_detectors.DETECTORS, with its weights or its file of detections; for several
    videos a folder of such files, named as the videos are."""

    name: str = "mediapipe"
    weights: Path | None = None
    detections: Path | None = None

    def open(self, span: Span | None = None) -> HandObjectDetector:
        """A new detector for a span; without a span, one that shows whether there can be any.

        Raises InputError: see `object_detectors.make_detector`; or the folder has no file for the span's video.
        """
        detections = self.detections
        if detections is not None and detections.is_dir():
            files = [detections / f"{span.video_id if span else '*'}{ending}" for ending in _DETECTIONS_ENDINGS]
            if span is None:
                there = [file for pattern in files for file in sorted(detections.rglob(pattern.name))]
            else:
                there = [file for file in files if file.is_file()]
            if not there:
                of = f"of {span.video_id}" if span else "at all"
                raise InputError(f"--detections {detections} holds none {of}; expected VIDEO_ID.npz or VIDEO_ID.json")
            detections = there[0]
        choice = replace(self, detections=detections)
        return _shared(choice) if self.name in _WITHOUT_MEMORY else _made(choice)

    def check(self) -> None:
        """Make one and let it go, so that what is wrong with all clips is said once. Raises InputError, see `open`."""
        close = getattr(self.open(), "close", None)
        if close is not None:
            close()


def _made(choice: DetectorChoice) -> HandObjectDetector:
    from palmist.perception.object_detectors import make_detector

    return make_detector(choice.name, choice.weights, choice.detections)


_shared = functools.lru_cache(maxsize=4)(_made)


@dataclass(frozen=True)
class Job:
    """How each clip is narrated. pictures: also bring the frame in the middle of each clip."""

    detector: DetectorChoice = field(default_factory=DetectorChoice)
    settings: NarrationSettings = field(default_factory=NarrationSettings)
    pictures: bool = False


@dataclass(frozen=True, eq=False)
class Outcome:
    """What became of a span: its narration, or one sentence that says why there is none; frame: (H, W, 3) uint8 RGB, the
    middle of the clip where it was asked for."""

    span: Span
    narration: Narration | None = None
    failure: str | None = None
    frame: np.ndarray | None = None


@dataclass(frozen=True)
class RayOptions:
    """workers: processes that narrate; address: of a cluster, None for this machine."""

    workers: int = 2
    address: str | None = None

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise InputError(f"--ray is {self.workers}; expected 1 worker or more")


def narrate_span(span: Span, job: Job) -> Outcome:
    """Narrate one clip. Whatever goes wrong with it becomes the outcome's sentence; nothing but a stop is raised."""
    detector: Any = None
    middle = _Middle(span)
    try:
        detector = job.detector.open(span)
        frames: Iterator[Frame] = frames_of(span)
        narration = narrate_frames(
            middle.watch(frames) if job.pictures else frames, detector, job.settings, span.text, source=span.video_id
        )
        # Through JSON, as Ray brings it: then everything after is the same, to the last digit.
        return Outcome(span, Narration.from_json(json.loads(json.dumps(narration.to_json()))), frame=middle.image)
    except (InputError, OSError) as error:
        return Outcome(span, failure=" ".join(str(error).split()))
    except Exception as error:  # one video must not end the work on thousands
        return Outcome(span, failure=" ".join(f"{type(error).__name__}: {error}".split()))
    finally:
        close = getattr(detector, "close", None)
        if close is not None:
            close()


def narrate_many(spans: Sequence[Span], job: Job, ray: RayOptions | None = None) -> Iterator[Outcome]:
    """Narrate clips, in the order given, each as soon as it and those before it are done.

    ray: None narrates in this process.

    Raises:
        InputError: Ray is asked for and is not there (`MissingExtraError`), or its cluster does not answer.
    """
    if not spans:
        return iter(())
    if ray is None:
        return (narrate_span(span, job) for span in spans)
    return _on_ray(spans, job, ray)


class _Middle:
    """Keeps the frame nearest to the middle of a span while the frames pass."""

    def __init__(self, span: Span) -> None:
        self.image: np.ndarray | None = None
        self._time, self._apart = (span.start + span.end) / 2, np.inf

    def watch(self, frames: Iterator[Frame]) -> Iterator[Frame]:
        for image, time in frames:
            if abs(time - self._time) < self._apart:
                self._apart, self.image = abs(time - self._time), image
            yield Frame(image, time)


class _Worker:
    """One of Ray's workers: gets batches of pickled (span, job), gives outcomes as plain values."""

    def __init__(self) -> None:
        import cv2
        import torch

        torch.set_num_threads(1)  # the workers are the parallelism
        cv2.setNumThreads(1)

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, list[Any]]:
        outcomes = [narrate_span(*pickle.loads(work)) for work in batch["work"]]  # our own, made below
        return {
            "number": [int(number) for number in batch["number"]],
            "narration": ["" if o.narration is None else json.dumps(o.narration.to_json()) for o in outcomes],
            "failure": [o.failure or "" for o in outcomes],
            "frame": [b"" if o.frame is None else _packed(o.frame) for o in outcomes],
        }


def _on_ray(spans: Sequence[Span], job: Job, options: RayOptions) -> Iterator[Outcome]:
    """The outcomes in order; a clip whose worker died with it, twice, is one that failed."""
    with ray_session(options) as data:
        rows = [{"number": number, "work": pickle.dumps((span, job))} for number, span in enumerate(spans)]
        pool = data.ActorPoolStrategy(size=min(options.workers, len(rows)))
        numbers = data.from_items(rows, override_num_blocks=min(len(rows), _MOST_BLOCKS))
        with warnings.catch_warnings():
            # Ray would do a clip that kills its worker again for ever; this option goes in 2.64, and has no heir in 2.60.
            warnings.filterwarnings("ignore", message=".*ray_remote_args.*")
            done = numbers.map_batches(_Worker, batch_size=1, compute=pool, num_cpus=1, max_task_retries=1)
        following = 0
        for row in done.iter_rows():
            number = int(row["number"])
            yield from (Outcome(span, failure=_DIED) for span in spans[following:number])
            following = number + 1
            if row["failure"]:
                yield Outcome(spans[number], failure=row["failure"])
            else:
                narration = Narration.from_json(json.loads(row["narration"]))
                yield Outcome(spans[number], narration, frame=_unpacked(row["frame"]) if row["frame"] else None)
        yield from (Outcome(span, failure=_DIED) for span in spans[following:])


@contextlib.contextmanager
def ray_session(options: RayOptions) -> Iterator[Any]:
    """The module ray.data, with Ray started and stopped after it, unless it was running before.

    Raises InputError: Ray is not installed (`MissingExtraError`), or nothing answers at the address.
    """
    quiet = {
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "RAY_USAGE_STATS_ENABLED": "0",  # nobody asked to send any
    }
    for name, value in quiet.items():
        os.environ.setdefault(name, value)
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise MissingExtraError("distributed", "narrating with --ray") from error
    began = not ray.is_initialized()
    if began:
        local = {} if options.address is not None else {"num_cpus": options.workers, "include_dashboard": False}
        try:
            ray.init(address=options.address, log_to_driver=False, logging_level="ERROR", **local)
        except (ConnectionError, ValueError, RuntimeError) as error:
            place = "on this machine" if options.address is None else f"at {options.address}"
            raise InputError(f"Ray does not answer {place} ({error}); check --ray-address, or leave --ray out") from error
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_options.preserve_order = True
    context.max_errored_blocks = -1  # a clip that kills its worker must not end the work on the others
    try:
        yield ray.data
    finally:
        if began:
            ray.shutdown()


def _packed(image: np.ndarray) -> bytes:
    """A frame as PNG."""
    import cv2

    return cv2.imencode(".png", np.ascontiguousarray(image[..., ::-1]))[1].tobytes()


def _unpacked(data: bytes) -> np.ndarray:
    import cv2

    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None  # it was packed above
    return np.ascontiguousarray(image[..., ::-1])

"""Live reading: frames as a camera gives them, hands, refined poses, action and futures, at the pace of the machine.

A thread takes frames from the source and keeps the newest one alone; what is read is always that one. So a slow machine drops
frames and says how many, and never falls behind. Every frame costs the same however long the stream has run.

>>> for step in reader.stream(open_frames("webcam:0"), tracker=MediaPipeHands()):
...     print(step.reading.label, step.latency, step.dropped)
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Any

import numpy as np

from palmist.errors import InputError
from palmist.inference.stream import Stream, StreamStep
from palmist.perception.hands import HandDetection, HandStream, HandTracker

if TYPE_CHECKING:
    from palmist.reader import Reader

__all__ = ["LiveStep", "NewestFrame", "read_live"]

_SETTLED = 8  # frames after which the source's rate is known well enough


@dataclass(frozen=True, eq=False)
class LiveStep:
    """What one frame brought.

    image: (H, W, 3) uint8 RGB; time: seconds on the source's clock
    joints (2, 21, 3), known (2, 21): the hands as tracked, fractions of the image
    reading: refined hands, action, futures; labels: L names of its probabilities
    latency: seconds from the frame's arrival to this step; dropped: frames that were left out so far
    """

    image: np.ndarray
    time: float
    joints: np.ndarray
    known: np.ndarray
    reading: StreamStep
    labels: tuple[str, ...]
    latency: float
    dropped: int


class NewestFrame:
    """Takes frames from a source in a thread of its own and hands out the newest one; counts those that nobody took.

    Args:
        frames: (image, time) pairs. pace: whether to deliver a file's frames at their own times, as a camera would.
    """

    def __init__(self, frames: Iterable[tuple[np.ndarray, float]], pace: bool = False) -> None:
        self._frames, self._pace = frames, pace
        self._ready = threading.Condition()
        self._newest: tuple[np.ndarray, float, float] | None = None  # image, time, arrival
        self._ended, self._stopped = False, False
        self._error: BaseException | None = None
        self.dropped = 0
        self._thread = threading.Thread(target=self._run, name="palmist-frames", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        begun, first = monotonic(), None
        try:
            for image, time in self._frames:
                first = time if first is None else first
                if self._pace:
                    self._wait(begun + time - first - monotonic())
                with self._ready:
                    if self._stopped:
                        return
                    self.dropped += self._newest is not None
                    self._newest = (image, float(time), monotonic())
                    self._ready.notify()
        except BaseException as error:  # told to the reader, who waits in another thread
            self._error = error
        finally:
            with self._ready:
                self._ended = True
                self._ready.notify()

    def _wait(self, seconds: float) -> None:
        if seconds > 0:
            threading.Event().wait(seconds)

    def __iter__(self) -> Iterator[tuple[np.ndarray, float, float]]:
        """(image, time, arrival on the monotonic clock) of the newest frame, until the source ends or `stop`."""
        while True:
            with self._ready:
                self._ready.wait_for(lambda: self._newest is not None or self._ended or self._stopped)
                newest, self._newest = self._newest, None
            if newest is None or self._stopped:
                if self._error is not None and not self._stopped:
                    raise self._error
                return
            yield newest

    def stop(self) -> None:
        """End the iteration; the thread ends with its next frame."""
        with self._ready:
            self._stopped = True
            self._ready.notify()


def read_live(
    reader: Reader,
    frames: Iterable[tuple[np.ndarray, float]],
    tracker: HandTracker,
    *,
    rate: float | None = None,
    pace: bool = False,
    every_frame: bool = False,
    **options: Any,
) -> Generator[LiveStep, None, None]:
    """Read frames as they come; see `palmist.reader.Reader.stream`.

    Args:
        frames: (image (H, W, 3) uint8 RGB, time in seconds), such as `palmist.perception.video.open_frames` gives.
        tracker: finds hands in a frame. Sides are decided at once, without looking ahead.
        rate: frames per second of the source; None: measured from the first ones.
        pace: deliver a file's frames at their own times. every_frame: wait for each frame instead of dropping any.
        options: of `palmist.inference.stream.Stream` (futures, labels, ...).

    Raises:
        InputError: frames of different sizes, or times that do not increase.
    """
    hands = HandStream(tracker, delay=0)
    stream: Stream | None = None
    times: list[float] = []
    newest = None if every_frame else NewestFrame(frames, pace)
    taken = ((image, time, monotonic()) for image, time in frames) if newest is None else iter(newest)
    try:
        for image, time, arrival in taken:
            decided = hands.push(time, image)
            if len(decided) != 1:  # with delay 0 each frame is decided at once
                raise InputError(f"{len(decided)} frames were decided at {time} s; expected one for each frame")
            joints, known = _arrays(decided[0].hands)
            if stream is None or (rate is None and len(times) == _SETTLED):
                stream = _stream(reader, rate, times, image, options)
            if len(times) <= _SETTLED:
                times.append(time)
            step = stream.push(joints, known, time)
            dropped = 0 if newest is None else newest.dropped
            yield LiveStep(image, time, joints, known, step, stream.labels, monotonic() - arrival, dropped)
    finally:
        if newest is not None:
            newest.stop()


def _stream(reader: Reader, rate: float | None, times: list[float], image: np.ndarray, options: dict[str, Any]) -> Stream:
    if rate is None:
        rate = 30.0 if len(times) < 2 else (len(times) - 1) / (times[-1] - times[0])
    aspect = image.shape[1] / image.shape[0]
    return Stream(reader, float(np.clip(rate, 10, 1000)), space="image", aspect=aspect, **options)


def _arrays(hands: tuple[HandDetection | None, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Joints (2, 21, 3), zeros where there is no hand, and known (2, 21)."""
    joints, known = np.zeros((2, 21, 3), np.float32), np.zeros((2, 21), bool)
    for side, hand in enumerate(hands):
        if hand is not None:
            joints[side], known[side] = hand.image, True
    return joints, known

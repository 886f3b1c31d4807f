"""Live reading: the newest frame counts, dropped ones are counted, a file-fed stream equals pushed joints."""

from __future__ import annotations

import itertools
import threading
import time as clock
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

import palmist
from palmist.errors import InputError
from palmist.inference.live import NewestFrame
from palmist.perception.detection import HandDetection
from palmist.view.live_page import LivePage


class Scripted:
    """Finds the hands of a recording, frame after frame, and takes its time."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.recording = next(r for r in palmist.demo_recordings() if r.space == "image")
        self.seconds, self.number = seconds, -1

    def detect(self, time: float, frame: np.ndarray) -> Sequence[HandDetection]:
        self.number += 1
        clock.sleep(self.seconds)
        row = self.number % len(self.recording)
        return [
            HandDetection(side, 0.9, np.asarray(self.recording.joints[row, side]))
            for side in (0, 1)
            if self.recording.known[row, side].all()
        ]

    def describe(self) -> Mapping[str, Any]:
        return {"tracker": "scripted"}


def frames(count: int, rate: float = 20.0) -> Iterator[tuple[np.ndarray, float]]:
    image = np.zeros((48, 64, 3), np.uint8)
    return ((image, number / rate) for number in range(count))


def test_every_frame_of_a_file_is_read_and_equals_pushed_joints() -> None:
    reader, tracker = palmist.load(), Scripted()
    steps = list(reader.stream(frames(12), tracker=tracker, rate=20.0, every_frame=True, futures=2))
    assert [step.time for step in steps] == [number / 20 for number in range(12)]
    assert all(step.dropped == 0 and step.latency > 0 for step in steps)
    pushed = reader.stream(20.0, space="image", aspect=64 / 48, futures=2)
    for step in steps:
        expected = pushed.push(step.joints, step.known, step.time)
        np.testing.assert_array_equal(step.reading.refined, expected.refined)
        np.testing.assert_array_equal(step.reading.futures, expected.futures)
    assert steps[-1].known.any()
    assert steps[-1].reading.label is not None


def test_a_slow_machine_drops_frames_and_never_falls_behind() -> None:
    steps = list(palmist.load().stream(frames(20, 50.0), tracker=Scripted(0.08), rate=50.0, pace=True, futures=0))
    assert len(steps) + steps[-1].dropped >= 19  # the last frame may wait unread when the source ends
    assert steps[-1].dropped > 5
    assert all(step.latency < 1.0 for step in steps)
    assert all(a.time < b.time for a, b in itertools.pairwise(steps))


def test_a_damaged_source_is_told_to_the_reader() -> None:
    def broken() -> Iterator[tuple[np.ndarray, float]]:
        yield from frames(2)
        raise InputError("the camera was pulled out")

    with pytest.raises(InputError, match="pulled out"):
        list(palmist.load().stream(broken(), tracker=Scripted(), futures=0))
    with pytest.raises(InputError, match="tracker needs frames"):
        palmist.load().stream(30.0, tracker=Scripted())


def test_the_thread_ends_when_nobody_reads_on() -> None:
    endless = NewestFrame((np.zeros((4, 4, 3), np.uint8), float(n)) for n in range(10**9))
    next(iter(endless))
    endless.stop()
    endless._thread.join(timeout=5)
    assert not endless._thread.is_alive()
    assert list(endless) == []


def test_the_live_page_serves_the_newest_frame() -> None:
    with LivePage() as page:
        assert b"/stream" in urllib.request.urlopen(page.url, timeout=5).read()
        answer = urllib.request.urlopen(f"{page.url}stream", timeout=5)
        shower = threading.Timer(0.2, page.show, [np.full((20, 30, 3), 200, np.uint8)])
        shower.start()
        received = answer.read(200)
        assert received.startswith(b"--frame")
        assert b"\xff\xd8\xff" in received  # a JPEG begins
        with pytest.raises(InputError, match="--port"):
            LivePage(port=int(page.url.rsplit(":", 1)[1].strip("/")))

"""A camera as a source of frames, by OpenCV."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Self

from palmist.errors import InputError
from palmist.perception.decoding import resize, scaled_size

if TYPE_CHECKING:
    from palmist.perception.video import DecodeReport, Frame, VideoInfo


class Webcam:
    """The camera `source` = "webcam:NUMBER"; frames come as the camera delivers them, until it stops or is closed.

    Times are seconds since the first frame by the machine's monotonic clock, taken when a frame arrives. Frames are as
    the camera sees, not mirrored. short_side: resize so that the shorter side has this many pixels.

    Raises InputError if there is no such camera or it delivers nothing.
    """

    def __init__(self, source: str, short_side: int | None = None) -> None:
        import cv2

        from palmist.perception.video import DecodeReport, VideoInfo

        kind, _, number = source.partition(":")
        if kind != "webcam" or not (number.isascii() and number.isdigit()):
            raise InputError(f"'{source}' names no camera; expected webcam:0 for the first one, webcam:1 for the next")
        if short_side is not None and short_side < 1:
            raise InputError(f"short_side is {short_side}; expected a number of pixels, 1 or more, or None")
        level = cv2.utils.logging.getLogLevel()
        cv2.utils.logging.setLogLevel(0)  # OpenCV would print its own lines about a missing camera
        try:
            self._capture = cv2.VideoCapture(int(number))
            opened, image = self._capture.read() if self._capture.isOpened() else (False, None)
        finally:
            cv2.utils.logging.setLogLevel(level)
        if not opened or image is None:
            self._capture.release()
            raise InputError(
                f"camera {number} cannot be opened or delivers no frame; expected a connected camera that no other program "
                "uses; plug it in, allow access to it, or give a video file"
            )
        height, width = image.shape[:2]
        self._size = scaled_size((width, height), short_side)
        rate = float(self._capture.get(cv2.CAP_PROP_FPS))
        self._info = VideoInfo(source, self._size[0], self._size[1], rate=rate if 0 < rate < 1000 else None, codec="camera")
        self._report = DecodeReport(source)
        self._began: float | None = None

    @property
    def info(self) -> VideoInfo:
        """Size and, if the camera tells, rate; a camera has no duration."""
        return self._info

    @property
    def report(self) -> DecodeReport:
        """How many frames came, and whether the camera stopped by itself."""
        return self._report

    def __iter__(self) -> Iterator[Frame]:
        """Frames from now on; a second pass goes on with the same clock."""
        import cv2

        from palmist.perception.video import DecodeReport, Frame

        count, latest = self._report.frames, self._report.end
        while self._capture.isOpened():
            delivered, image = self._capture.read()
            now = time.monotonic()
            if not delivered or image is None:
                stopped = (f"{self.info.path} stopped delivering frames",)
                self._report = DecodeReport(self.info.path, count, latest, faults=stopped)
                return
            self._began = now if self._began is None else self._began
            seconds = now - self._began
            if latest is not None and seconds <= latest:
                continue  # two frames within one tick of the clock
            count, latest = count + 1, seconds
            self._report = DecodeReport(self.info.path, count, latest)
            yield Frame(resize(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), self._size), seconds)

    def close(self) -> None:
        """Give the camera back; iterating then ends."""
        self._capture.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

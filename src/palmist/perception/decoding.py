"""One pass over a video file with PyAV: packets in, upright RGB frames with their true times out, faults counted.

`palmist.perception.video` is what callers use.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from palmist.errors import InputError

if TYPE_CHECKING:
    import av
    from av.video.stream import VideoStream

#: Frames beyond this are refused by the decoder: a damaged header must not ask for all the memory there is.
MOST_PIXELS = 2**26
#: A file of one of these formats would open other files, or is text drawn as a picture.
_NO_VIDEO = {"hls": "a playlist", "concat": "a playlist", "dash": "a playlist", "tty": "a text file", "image2": "a picture"}
_CONTAINER_STARTS = (
    (4, b"ftyp"),
    (4, b"moov"),
    (4, b"mdat"),
    (0, b"\x1aE\xdf\xa3"),
    (8, b"AVI "),
    (0, b"FLV\x01"),
    (0, b"OggS"),
)
_CONVERT = "convert it with: ffmpeg -i {} -c:v libx264 converted.mp4"


@dataclass(frozen=True)
class Stamps:
    """When every frame of a file is shown. times (T,) float64 seconds, increasing; keyframes (M,) seconds at which
    decoding can begin, with their time stamps in the stream's own unit."""

    times: np.ndarray
    keyframes: np.ndarray
    keyframe_stamps: np.ndarray


@dataclass
class Faults:
    """What went wrong in one pass."""

    broken: int = 0  # packets that the decoder or the container marks as damaged
    first_broken: float | None = None  # seconds
    frozen: int = 0  # frames whose time does not increase
    resized: int = 0  # frames of another size than the first
    reading: str = ""  # why reading stopped early


class Decoder:
    """One open video file, read from the front or from a keyframe on; close it when done.

    Raises InputError, one sentence, for everything that is not a readable video.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.container = open_container(path)
        try:
            self.stream = _video_stream(self.container, path)
        except BaseException:
            self.container.close()
            raise
        rate = self.stream.average_rate or self.stream.guessed_rate
        self.rate = float(rate) if rate else None
        self.faults = Faults()
        self.frames = 0
        self.discarded = 0
        self.packets = 0
        self.unstamped = 0
        self.time: float | None = None  # of the latest frame

    def __enter__(self) -> Decoder:
        return self

    def __exit__(self, *_: object) -> None:
        self.container.close()

    def decode(self) -> Iterator[tuple[float, av.VideoFrame]]:
        """(seconds, frame) in the order of showing; damaged packets are counted and left out."""
        import av

        packets = self.container.demux(self.stream)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except (av.FFmpegError, OSError, EOFError) as error:
                self.faults.reading = _reason(error)
                return
            if packet.size:  # the last, empty packet flushes the decoder
                self.packets += 1
                self.discarded += packet.is_discard
            if packet.is_corrupt:
                self._count_broken(packet.pts)
            try:
                decoded = packet.decode()
            except (av.FFmpegError, ValueError, MemoryError):
                if packet.size:
                    self._count_broken(packet.pts)
                continue
            for frame in decoded:
                if (time := self._time(frame)) is not None:
                    yield time, frame

    def _time(self, frame: av.VideoFrame) -> float | None:
        """Seconds of a frame, None if it has to be left out because time would not increase."""
        if frame.pts is None or frame.time_base is None:
            self.unstamped += 1
            time = 0.0 if self.time is None else self.time + 1 / (self.rate or 25.0)
        else:
            time = float(frame.pts * frame.time_base)
        if self.time is not None and time <= self.time:
            self.faults.frozen += 1
            return None
        if frame.is_corrupt:
            self._count_broken(frame.pts)
        self.time = time
        self.frames += 1
        return time

    def _count_broken(self, pts: int | None) -> None:
        if not self.faults.broken:
            self.faults.first_broken = self.time if pts is None else float(pts * (self.stream.time_base or Fraction(0)))
        self.faults.broken += 1

    def seek(self, stamp: int | None) -> bool:
        """Go on from the keyframe at `stamp` (the stream's own unit), or from the very start for None; False if the
        format cannot."""
        import av

        self.time = None
        try:
            if stamp is None:
                stamp = min(0, self.stream.start_time or 0)
            self.container.seek(stamp, stream=self.stream, backward=True)
        except (av.FFmpegError, OSError):
            return False
        return True

    def scan(self) -> Stamps:
        """The times of all frames, from the packets alone where they carry them (fast), else by decoding."""
        import av

        unit = self.stream.time_base or Fraction(0)
        stamps: list[int] = []
        keyframes: list[int] = []
        with suppress(av.FFmpegError, OSError, EOFError):
            for packet in self.container.demux(self.stream):
                if not packet.size or packet.is_discard:
                    continue
                if packet.pts is None:
                    return self._scan_by_decoding()
                stamps.append(packet.pts)
                if packet.is_keyframe:
                    keyframes.append(packet.pts)
        keyframes = sorted(set(keyframes))
        return Stamps(
            np.array([float(stamp * unit) for stamp in sorted(set(stamps))]),
            np.array([float(stamp * unit) for stamp in keyframes]),
            np.array(keyframes, np.int64),
        )

    def _scan_by_decoding(self) -> Stamps:
        with Decoder(self.path) as decoder:
            times = np.array([time for time, _ in decoder.decode()])
        return Stamps(times, np.zeros(0), np.zeros(0, np.int64))

    def declared_frames(self) -> int | None:
        """How many frames the container says it holds, None where it does not say."""
        return self.stream.frames or None

    def declared_end(self) -> float | None:
        """Second at which the container says that the last frame's display ends, None where it does not say."""
        start = float((self.stream.start_time or 0) * (self.stream.time_base or 0))
        if self.stream.duration and self.stream.time_base:
            return start + float(self.stream.duration * self.stream.time_base)
        if "DURATION" in self.stream.metadata:  # Matroska: 00:00:02.000000000
            with suppress(ValueError):
                hours, minutes, seconds = self.stream.metadata["DURATION"].split(":")
                return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
        if self.container.duration and len(self.container.streams) == 1:
            return start + self.container.duration / 1_000_000
        return None


def open_container(path: Path) -> av.container.InputContainer:
    """Open a file for reading; InputError says what is wrong with it."""
    import av

    _check_file(path)
    try:
        # Only local files: a playlist must not make us fetch anything.
        container = av.open(str(path.resolve()), options={"protocol_whitelist": "file"}, metadata_errors="replace")
    except PermissionError as error:
        raise InputError(f"{path} cannot be opened ({error.strerror}); expected a readable video file") from error
    except EOFError as error:  # a header with nothing behind it
        raise InputError(f"{path} has 0 frames; expected at least one; record or export it again") from error
    except (av.FFmpegError, OSError, ValueError, MemoryError) as error:
        raise InputError(_why_not_opened(path)) from error
    name = container.format.name
    found = "a picture" if name.endswith("_pipe") else _NO_VIDEO.get(name)
    if found:
        container.close()
        raise InputError(f"{path} is {found}, not a video; expected a video file such as .mp4, .mov, .mkv, .webm or .avi")
    return container


def _check_file(path: Path) -> None:
    if path.is_dir():
        raise InputError(f"{path} is a folder; expected a video file; give the path of one file in it")
    if not path.exists():
        raise InputError(f"{path} does not exist; expected a video file there; check the path")
    if not path.is_file():  # reading a pipe or a device could wait forever
        raise InputError(f"{path} is not a regular file; expected a video file; copy the video into a file first")
    if not path.stat().st_size:
        raise InputError(f"{path} is empty (0 bytes); expected a video file; copy or export it again")


def _why_not_opened(path: Path) -> str:
    try:
        with path.open("rb") as file:
            start = file.read(16)
    except OSError as error:
        return f"{path} cannot be opened ({error.strerror}); expected a readable video file"
    if any(start[place : place + len(mark)] == mark for place, mark in _CONTAINER_STARTS):
        return (
            f"{path} starts like a video but its header is missing or damaged, as when a recording or a copy was cut off; "
            "expected a whole file; copy or record it again"
        )
    return (
        f"{path} is not a video (it starts with {start[:6]!r}); expected a video file such as .mp4, .mov, .mkv, .webm "
        "or .avi; export it again"
    )


def _video_stream(container: av.container.InputContainer, path: Path) -> VideoStream:
    import av

    # The cover of a sound file is a video stream too, with one picture.
    streams = [stream for stream in container.streams.video if not stream.disposition & av.stream.Disposition.attached_pic]
    if not streams:
        kinds = sorted({stream.type for stream in container.streams})
        if not kinds:
            raise InputError(f"{path} has 0 frames and no stream at all; expected a video; record or export it again")
        found = "only sound" if set(kinds) <= {"audio", "video"} else f"no video ({', '.join(kinds)})"
        raise InputError(f"{path} holds {found}; expected a video stream; give the file that has the picture")
    stream = streams[0]
    if stream.codec_context is None:
        raise InputError(
            f"{path} is coded in a way that no decoder here knows; "
            f"expected a common codec such as H.264; {_CONVERT.format(path)}"
        )
    stream.thread_type = "AUTO"
    stream.codec_context.options = {"max_pixels": str(MOST_PIXELS)}
    return stream


def _reason(error: BaseException) -> str:
    return getattr(error, "strerror", None) or type(error).__name__


@dataclass(frozen=True)
class Orientation:
    """How stored frames are turned before they are shown, from the file's display matrix.

    rotation: degrees clockwise, one of 0, 90, 180, 270; mirrored: left and right are swapped after the rotation.
    A matrix with another angle counts as the nearest right angle.
    """

    rotation: int = 0
    mirrored: bool = False

    def apply(self, image: np.ndarray) -> np.ndarray:
        """The upright image of a stored one, (H, W, 3) -> (H, W, 3) or (W, H, 3)."""
        if self.rotation:
            image = np.rot90(image, -self.rotation // 90)
        return image[:, ::-1] if self.mirrored else image


def orientation(frame: av.VideoFrame) -> Orientation:
    """Orientation of a decoded frame.

    The matrix holds 16.16 fixed-point numbers a b u, c d v, x y w: a stored point (p, q), y down, is shown at
    (a p + c q, b p + d q) (ISO/IEC 14496-12, 6.2.2).
    """
    data: Any = frame.side_data.get("DISPLAYMATRIX")
    if data is None or data.buffer_size < 36:
        return Orientation()
    a, b, _, c, d = (float(number) for number in np.frombuffer(bytes(data), "<i4", count=5))
    mirrored = a * d - b * c < 0
    if mirrored:  # matrix = rotation, then x -> -x
        a, c = -a, -c
    if a == b == 0:
        return Orientation()
    return Orientation(round(math.degrees(math.atan2(b, a)) / 90) * 90 % 360, mirrored)


def scaled_size(size: tuple[int, int], short_side: int | None) -> tuple[int, int]:
    """(width, height) with the shorter side at `short_side` and the same aspect, rounded to whole pixels."""
    if short_side is None:
        return size
    factor = short_side / min(size)
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Image (H, W, 3) at another (width, height): by area when it shrinks, else bilinear."""
    import cv2

    height, width = image.shape[:2]
    if (width, height) == size:
        return np.ascontiguousarray(image)
    method = cv2.INTER_AREA if size[0] < width else cv2.INTER_LINEAR
    return cv2.resize(np.ascontiguousarray(image), size, interpolation=method)

"""Video files and webcams as one thing: frames with their true times.

>>> video = open_frames("cups.mp4")
>>> video.info
VideoInfo(path='cups.mp4', width=1280, height=720, duration=9.43, rate=29.97, frames=283, ...)
>>> for image, time in video:              # (H, W, 3) uint8 RGB, upright; seconds
...     ...
>>> print(video.report)                    # what could not be decoded, if anything
>>> clip = video.sample_segments(16)       # Clip(images (16, H, W, 3), time (16,))

Frames are streamed: one is held at a time, however long the video is. Letters: T frames, H rows, W columns.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol, Self

import numpy as np

from palmist.errors import InputError
from palmist.perception.clip_sampling import dense_indices, segment_indices
from palmist.perception.decoding import Decoder, Faults, Orientation, Stamps, orientation, resize, scaled_size
from palmist.perception.video_writer import write_video

if TYPE_CHECKING:
    import av

__all__ = ["Clip", "DecodeReport", "Frame", "FrameSource", "Video", "VideoInfo", "open_frames", "write_video"]

# A time that was written down with six digits still means the frame that it was taken from.
_TOLERANCE = 1e-5
# How many frame durations a file may end earlier than declared before that is called damage.
_SLACK = 2.5


class Frame(NamedTuple):
    """image (H, W, 3) uint8 RGB, upright; time in seconds on the file's own clock (a webcam's starts at 0)."""

    image: np.ndarray
    time: float


@dataclass(frozen=True, eq=False)
class Clip:
    """Some frames of a video: images (T, H, W, 3) uint8 RGB and the true time (T,) float64 of each, in seconds.
    Iterating gives its frames, so that a clip goes wherever a video goes."""

    images: np.ndarray
    time: np.ndarray

    def __len__(self) -> int:
        return len(self.images)

    def __iter__(self) -> Iterator[Frame]:
        return (Frame(image, float(time)) for image, time in zip(self.images, self.time, strict=True))


@dataclass(frozen=True)
class VideoInfo:
    """What is known of a source before it is read to its end.

    width, height: pixels of the frames as they are delivered, upright and resized; duration: seconds, start: time of
    the first frame in seconds; rate: nominal frames per second, the frames' own times may differ; frames: as the file
    declares; each None if unknown. rotation: degrees clockwise by which stored frames were turned; mirrored: and
    flipped left to right after it. pixel_aspect: width / height of one pixel as displayed, not applied to the frames.
    times_assumed: the file has no time stamps, frames are taken as regular.
    """

    path: str
    width: int
    height: int
    duration: float | None = None
    start: float = 0.0
    rate: float | None = None
    frames: int | None = None
    rotation: int = 0
    mirrored: bool = False
    pixel_aspect: float = 1.0
    codec: str = ""
    times_assumed: bool = False


@dataclass(frozen=True)
class DecodeReport:
    """How far the latest pass over a source came. frames: how many were delivered or stepped over; end: time of the
    last one in seconds; declared_frames: as the file says, None if it does not; faults: one clause each, none if all
    is well. `str(report)` is one line for a terminal."""

    path: str
    frames: int = 0
    end: float | None = None
    declared_frames: int | None = None
    faults: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """True if nothing went wrong."""
        return not self.faults

    def __str__(self) -> str:
        of = f" of {self.declared_frames}" if self.declared_frames else ""
        until = "" if self.end is None else f", until {self.end:.3f} s"
        return "; ".join([f"{self.path}: {self.frames}{of} frames decoded{until}", *self.faults])


class FrameSource(Protocol):
    """What files and webcams have in common; a context manager that closes itself."""

    @property
    def info(self) -> VideoInfo:
        """Size and rate."""

    @property
    def report(self) -> DecodeReport:
        """How far the latest pass came, and what went wrong in it."""

    def __iter__(self) -> Iterator[Frame]:
        """Frames in order, times strictly increasing."""

    def close(self) -> None:
        """Let go of the device or file."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


def open_frames(source: str | Path, short_side: int | None = None) -> FrameSource:
    """A video file by its path, or a camera by "webcam:0", "webcam:1" and so on.

    short_side: resize every frame so that its shorter side has this many pixels. Raises InputError, one sentence.
    """
    if isinstance(source, str) and source.startswith("webcam:"):
        from palmist.perception.webcam import Webcam

        return Webcam(source, short_side)
    return Video(source, short_side)


class Video:
    """A video file. Opening decodes the first frame, so that a file without a readable one is refused at once.

    path: of a local file; short_side: resize every frame so that its shorter side has this many pixels (by area).

    Raises InputError, one sentence, if the file is missing, empty, damaged at its head, not a video, without a picture
    or in a codec that cannot be read. Damage further on raises nothing: what can be decoded comes, `report` tells the rest.

    Every pass opens the file anew, so several may run at the same time and nothing has to be closed.
    """

    def __init__(self, path: str | Path, short_side: int | None = None) -> None:
        if short_side is not None and short_side < 1:
            raise InputError(f"short_side is {short_side}; expected a number of pixels, 1 or more, or None")
        self.path = Path(path)
        with Decoder(self.path) as decoder:
            first = next(decoder.decode(), None)
            if first is None:
                raise InputError(_no_frames(decoder))
            time, frame = first
            self._orientation: Orientation = orientation(frame)
            width, height = frame.width, frame.height
            if self._orientation.rotation in (90, 270):
                width, height = height, width
            self._size = scaled_size((width, height), short_side)
            end = decoder.declared_end()
            aspect = decoder.stream.sample_aspect_ratio
            self.info = VideoInfo(
                path=str(path),
                width=self._size[0],
                height=self._size[1],
                duration=None if end is None else end - time,
                start=time,
                rate=decoder.rate,
                frames=decoder.declared_frames(),
                rotation=self._orientation.rotation,
                mirrored=self._orientation.mirrored,
                pixel_aspect=float(aspect) if aspect else 1.0,
                codec=decoder.stream.codec_context.name,
                times_assumed=decoder.unstamped > 0,
            )
        self._report = DecodeReport(str(path), declared_frames=self.info.frames)

    def __repr__(self) -> str:
        info = self.info
        length = "unknown length" if info.duration is None else f"{info.duration:.2f} s"
        return f"Video('{info.path}', {info.width}x{info.height}, {length}, {info.codec})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Nothing to let go of; here because every source has it."""

    @property
    def report(self) -> DecodeReport:
        """How far the latest pass came; `read` and `frame_at` leave it alone."""
        return self._report

    @cached_property
    def stamps(self) -> Stamps:
        """Times of all frames and keyframes, read once from the packets without decoding them.

        In a damaged file some of these frames cannot be decoded.
        """
        with Decoder(self.path) as decoder:
            return decoder.scan()

    @property
    def times(self) -> np.ndarray:
        """(T,) float64 seconds at which each frame is shown, increasing."""
        return self.stamps.times

    def warn_if_cut(self) -> None:
        """Warn where a file of the MP4 family holds clearly fewer frames than it says; for those who read only some of them.

        Others count loosely (a streamed .avi states a length that it never had).
        """
        declared, there = self.info.frames, len(self.times)
        if Path(self.info.path).suffix.lower() not in (".mp4", ".mov", ".m4v") or declared is None:
            return
        if there < 0.9 * declared - _SLACK:
            warnings.warn(f"{self.info.path} is cut off: {there} of {declared} frames are there; copy it again", stacklevel=3)

    def __iter__(self) -> Iterator[Frame]:
        return self.frames()

    def frames(self, start: float | None = None, stop: float | None = None, stride: int = 1) -> Generator[Frame, None, None]:
        """Every `stride`-th of the frames with start <= time < stop (seconds), in order; None is an open end."""
        if stride < 1:
            raise InputError(f"stride is {stride}; expected 1 or more")
        for what, value in (("start", start), ("stop", stop)):
            if value is not None and not math.isfinite(value):
                raise InputError(f"{what} is {value}; expected a time in seconds")
        return self._frames(start, stop, stride)

    def _frames(self, start: float | None, stop: float | None, stride: int) -> Generator[Frame, None, None]:
        with Decoder(self.path) as decoder:
            reached_end = False
            try:
                count = 0
                for time, frame in self._decode_from(decoder, start):
                    if start is not None and time < start - _TOLERANCE:
                        continue
                    if stop is not None and time >= stop - _TOLERANCE:
                        break
                    if count % stride == 0:
                        yield Frame(self._image(frame, decoder.faults), time)
                    count += 1
                else:
                    reached_end = True
            finally:  # also when the caller stops early
                self._report = _report(decoder, self.info, whole=start is None, reached_end=reached_end)

    def _decode_from(self, decoder: Decoder, start: float | None) -> Iterator[tuple[float, av.VideoFrame]]:
        """Decode from the last keyframe at or before `start`; from the front if the format cannot seek."""
        if start is not None and (stamp := self._keyframe(start)) is not None and decoder.seek(stamp):
            frames = decoder.decode()
            first = next(frames, None)
            if first is not None and first[0] <= start + _TOLERANCE:
                yield first
                yield from frames
                return
            decoder.seek(None)
        yield from decoder.decode()

    def _keyframe(self, time: float) -> int | None:
        """Stamp of the last keyframe at or before `time`; None for the first one, which needs no seeking."""
        place = int(np.searchsorted(self.stamps.keyframes, time + _TOLERANCE, side="right")) - 1
        return int(self.stamps.keyframe_stamps[place]) if place > 0 else None

    def frame_at(self, time: float) -> Frame:
        """The frame that is on the screen at `time` (seconds): the last one that begins at or before it.

        Its own time is in the result. Raises InputError if `time` is before the first frame or after the end.
        """
        clip = self.read([time])
        return Frame(clip.images[0], float(clip.time[0]))

    def read(self, times: Sequence[float] | np.ndarray) -> Clip:
        """The frames on the screen at `times` (seconds, any order, repeats allowed), as for `frame_at`.

        A frame that cannot be decoded is replaced by the last good one before it (at the head of the file, by the first
        good one): `Clip.time` has the times of what was really delivered.
        """
        wanted = self._check_times(times)
        images = np.empty((len(wanted), self.info.height, self.info.width, 3), np.uint8)
        shown = np.empty(len(wanted))
        order = np.argsort(wanted, kind="stable")
        with Decoder(self.path) as decoder:
            cursor = _Cursor(self, decoder)
            for place in order:
                time, frame = cursor.at(float(wanted[place]))
                images[place], shown[place] = self._image(frame, decoder.faults), time
        return Clip(images, shown)

    def sample_segments(self, segments: int, generator: np.random.Generator | None = None) -> Clip:
        """One frame from each of `segments` equal parts (see clip_sampling.segment_indices)."""
        return self.read(self.times[segment_indices(len(self.times), segments, generator)])

    def sample_dense(
        self, length: int, stride: int = 1, start: int | None = None, generator: np.random.Generator | None = None
    ) -> Clip:
        """`length` frames, `stride` frames apart, from frame number `start` on (see clip_sampling.dense_indices)."""
        return self.read(self.times[dense_indices(len(self.times), length, stride, start, generator)])

    def _check_times(self, times: Sequence[float] | np.ndarray) -> np.ndarray:
        wanted = np.asarray(times, np.float64)
        if wanted.ndim != 1 or not len(wanted):
            raise InputError(f"times have shape {wanted.shape}; expected one list with at least one time in seconds")
        # Where the head of a file is damaged, its packets begin earlier than what can be decoded.
        first = min(self.info.start, *self.times[:1])
        last = max(self.info.start + (self.info.duration or 0.0), *(self.times[-1:] + 1 / (self.info.rate or 1.0)))
        outside = ~((wanted >= first - _TOLERANCE) & (wanted <= last + _TOLERANCE))
        if outside.any():
            raise InputError(
                f"time {wanted[outside][0]:.6g} s lies outside {self.info.path}; expected {first:.6g} to {last:.6g} s"
            )
        return wanted

    def _image(self, frame: av.VideoFrame, faults: Faults) -> np.ndarray:
        """Upright RGB of the announced size; a frame of another size is scaled to it and counted."""
        image = self._orientation.apply(frame.to_ndarray(format="rgb24"))
        expected, found = self.info.width / self.info.height, image.shape[1] / image.shape[0]
        faults.resized += abs(found / expected - 1) > 0.05  # beyond what rounding to whole pixels does
        return resize(image, self._size)


class _Cursor:
    """A place in a file that moves forward: by decoding where that is shortest, else by jumping to a keyframe."""

    def __init__(self, video: Video, decoder: Decoder) -> None:
        self.video, self.decoder = video, decoder
        self.frames: Iterator[tuple[float, av.VideoFrame]] | None = None
        self.shown: tuple[float, av.VideoFrame] | None = None
        self.coming: tuple[float, av.VideoFrame] | None = None
        self.jumped = False

    def at(self, time: float) -> tuple[float, av.VideoFrame]:
        """The last decodable frame at or before `time`; times must not go backwards from call to call."""
        keyframe = self.video._keyframe(time)
        if self.frames is None or (keyframe is not None and self.coming is not None and self._ahead(time)):
            self._start(keyframe)
        self._advance(time)
        if self.shown is None and self.jumped:  # it landed behind `time`, or on damage
            self._start(None)
            self._advance(time)
        found = self.shown or self.coming
        if found is None:
            raise InputError(f"{self.video.path} has no frame that can be decoded at {time:.3f} s; copy or export it again")
        return found

    def _ahead(self, time: float) -> bool:
        """A keyframe lies between the coming frame and `time`, so that jumping skips some decoding."""
        keyframes = self.video.stamps.keyframes
        place = int(np.searchsorted(keyframes, time + _TOLERANCE, side="right")) - 1
        return self.coming is not None and bool(keyframes[place] > self.coming[0])

    def _start(self, keyframe: int | None) -> None:
        if self.frames is not None or keyframe is not None:
            self.decoder.seek(keyframe)
        self.frames, self.jumped = self.decoder.decode(), keyframe is not None
        self.shown, self.coming = None, next(self.frames, None)

    def _advance(self, time: float) -> None:
        assert self.frames is not None
        while self.coming is not None and self.coming[0] <= time + _TOLERANCE:
            self.shown, self.coming = self.coming, next(self.frames, None)


def _no_frames(decoder: Decoder) -> str:
    path, codec = decoder.path, decoder.stream.codec_context.name
    if not decoder.packets:
        return f"{path} has 0 frames; expected at least one; record or export it again"
    return (
        f"{path} holds {decoder.packets} pieces of {codec} video but not one frame could be decoded, the file is damaged; "
        "expected a readable video; copy or export it again"
    )


def _report(decoder: Decoder, info: VideoInfo, whole: bool, reached_end: bool) -> DecodeReport:
    """The report of a pass. Missing frames are only spoken of after a pass over the whole file."""
    faults, clauses = decoder.faults, []
    declared = None if info.frames is None else info.frames - decoder.discarded
    if faults.broken:
        first = "" if faults.first_broken is None else f", the first at {faults.first_broken:.3f} s"
        clauses.append(f"{faults.broken} damaged {'piece' if faults.broken == 1 else 'pieces'}{first}")
    if faults.frozen:
        clauses.append(f"{faults.frozen} frames left out because their time stamps do not increase")
    if faults.resized:
        clauses.append(f"{faults.resized} frames of another shape, scaled to {info.width}x{info.height}")
    if faults.reading:
        clauses.append(f"reading stopped: {faults.reading}")
    if whole and reached_end and decoder.time is not None:
        end = decoder.declared_end()
        early = 0.0 if end is None else end - decoder.time
        if declared is not None and decoder.frames < declared and (clauses or early > _SLACK / (info.rate or 1.0)):
            clauses.append(f"{declared - decoder.frames} of {declared} frames are missing")
        elif declared is None and early > max(_SLACK / (info.rate or 1.0), min(0.5, 0.2 * (early + decoder.time - info.start))):
            clauses.append(f"the last {early:.2f} of {(end or 0.0) - info.start:.2f} s are missing")
    return DecodeReport(info.path, decoder.frames, decoder.time, declared, tuple(clauses))

"""Videos from end to end: pixels to hands, to a Reading, and back onto the frames.

>>> result = read_video("cups.mp4", palmist.load(), MediaPipeHands())
>>> result.reading.label, result.found
('get', (0.74, 0.67))
>>> write_overlay("out/cups.mp4", "cups.mp4", result, palmist.load())
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from palmist.errors import InputError
from palmist.metrics.pose import jerk
from palmist.perception.hands import BodyTracker, HandTracker, identity_swaps, track_hands
from palmist.perception.read_ahead import read_ahead
from palmist.perception.video import Video, write_video
from palmist.reading import Reading
from palmist.recording import Recording

if TYPE_CHECKING:
    from palmist.reader import Reader

__all__ = ["VideoReading", "read_tracked", "read_video", "write_overlay"]

Progress = Callable[[], None]


class ReadsRecordings(Protocol):
    """A Reader, or anything else whose `read` takes a Recording and options and gives a Reading."""

    @property
    def read(self) -> Callable[..., Reading]: ...


@dataclass(frozen=True, eq=False)
class VideoReading:
    """A video's Reading and what is known of how it came about.

    recording: the tracked hands of all frames, space "image". found: (left, right) share of frames with the hand.
    swaps: how often the tracks trade places. jerk: (raw, refined) mean third difference over time, in hand sizes per second
    cubed, NaN where it cannot be measured. seconds: of wall time for "track" (decoding and tracker) and "read". faults: what
    the file's damage cost, a sentence each.
    """

    reading: Reading
    recording: Recording
    found: tuple[float, float]
    swaps: int
    jerk: tuple[float, float]
    seconds: dict[str, float] = field(default_factory=dict)
    faults: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain values: frames, found, swaps, jerk, seconds, faults."""
        left, right = self.found
        raw, refined = (None if np.isnan(value) else value for value in self.jerk)
        return {
            "frames": len(self.recording), "found": {"left": left, "right": right}, "swaps": self.swaps,
            "jerk": {"raw": raw, "refined": refined}, "seconds": self.seconds, "faults": list(self.faults),
        }  # fmt: skip


def read_video(
    source: str | Path,
    reader: ReadsRecordings,
    tracker: HandTracker,
    body: BodyTracker | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> VideoReading:
    """Track the hands of a video file and read them as a recording.

    Args:
        source: a video file. tracker, body: find hands and body in a frame, see `palmist.perception.hands`.
        progress: called after every frame, for a progress bar. options: of `Reader.read`.

    Raises:
        InputError: the file cannot be decoded, or shows no hand.
    """
    video, begun = Video(source), perf_counter()

    def frames() -> Iterator[tuple[float, np.ndarray]]:
        for image, time in read_ahead(video.frames()):
            yield time, image
            if progress is not None:
                progress()

    name = Path(source).stem
    recording = track_hands(frames(), tracker, body=body, name=name, source=Path(source).name)
    seconds = {"track": round(perf_counter() - begun, 3)}
    if not recording.valid.any():
        raise InputError(
            f"no hand was found in the {len(recording)} frames of {source}; expected hands that are in view, lit and not "
            "too small (try a higher resolution)"
        )
    result = read_tracked(recording, reader, **options)
    return replace(result, seconds={**seconds, **result.seconds}, faults=tuple(video.report.faults))


def read_tracked(recording: Recording, reader: ReadsRecordings, **options: Any) -> VideoReading:
    """Read the hands of a video that were tracked before (`palmist.perception.hands.track_hands`), space "image"."""
    begun = perf_counter()
    reading = reader.read(recording, **options)
    left, right = (round(float(share), 4) for share in recording.valid.mean(0))
    seconds = {"read": round(perf_counter() - begun, 3)}
    return VideoReading(reading, recording, (left, right), len(identity_swaps(recording)), _jerks(reading), seconds)


def _jerks(reading: Reading) -> tuple[float, float]:
    """Mean jerk of the raw and of the refined joints, over joints that both have, in hand sizes per second cubed."""
    time = reading.time
    if len(time) < 4:
        return float("nan"), float("nan")
    rate = (len(time) - 1) / float(time[-1] - time[0])
    known = reading.refined_known & reading.recording.known[: len(time)]
    flat = np.asarray(reading.scale) * np.array([1, 1, 0])  # the depth of image space is a guess
    raw, refined = (
        jerk(np.asarray(joints) * flat, rate, known).value / reading.hand_size
        for joints in (reading.observed[: len(time)], reading.refined)
    )
    return float(raw), float(refined)


def write_overlay(
    path: str | Path,
    source: str | Path,
    result: VideoReading,
    reader: Reader,
    futures: int = 20,
    progress: Progress | None = None,
) -> Path:
    """Write the video with what was read drawn on it, as an .mp4.

    Grey: the raw tracker. Blue and orange: the refined hands. The bars show the action from the frames so far, the fan
    the next half second as it was predicted at that moment (a stream sees only what came before).
    """
    from palmist.reader import load
    from palmist.view.overlay import RAW, draw_action, draw_fan, draw_hands

    recording, reading = result.recording, result.reading
    rate = 30.0 if len(recording) < 2 else (len(recording) - 1) / float(recording.time[-1] - recording.time[0])
    # The stream chooses among the labels that the reading chose from.
    known = {name: set(entry["labels"]) for name, entry in reader.taxonomies.items()}
    labels = next((name for name, own in known.items() if own == set(reading.action_labels)), None)
    # A reading of several models tells its actions itself.
    own = reader.recogniser is None and reading.model == reader.name
    poses = reader if reader.recogniser is None else load()
    stream = poses.stream(
        rate=float(np.clip(rate, 10, 1000)), futures=futures, space="image", aspect=recording.aspect,
        labels=labels if own else None,
    )  # fmt: skip

    def drawn() -> Iterator[np.ndarray]:
        for number, (image, time) in enumerate(Video(source)):
            if number >= len(recording):
                return
            picture = np.ascontiguousarray(image)
            step = stream.push(recording.joints[number], recording.known[number], time)
            draw_fan(picture, step.futures, step.futures_valid & step.valid, step.most_likely)
            draw_hands(picture, recording.joints[number], recording.known[number], (RAW, RAW), 1)
            if number < len(reading.time):
                draw_hands(picture, reading.refined[number], reading.refined_known[number])
            if own and step.label is not None and step.valid.any():
                draw_action(picture, stream.labels, step.probabilities)
            so_far = int(np.searchsorted(reading.action_time, time + 1e-6)) - 1
            if not own and so_far >= 0 and step.valid.any():
                draw_action(picture, reading.action_labels, reading.action_probabilities[so_far])
            if progress is not None:
                progress()
            yield picture

    begin = float(recording.time[0])
    return write_video(path, drawn(), [float(time) - begin for time in recording.time])

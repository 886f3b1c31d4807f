"""From frames to a sentence: detect, follow, take the camera's motion away, name the directions, write.

>>> narration = narrate_frames(Video("cups.mp4"), detector, original="#C C picks up the cup")
>>> narration.text
'The right hand moves up and then to the right, holding the cup; the left hand stays still.'

Letters: T frames.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from palmist.errors import InputError
from palmist.narration.camera_motion import CameraMotion, CameraSettings, background_tracks, camera_motion
from palmist.narration.describe_motion import DescribeSettings, describe_motion
from palmist.narration.facts import Facts
from palmist.narration.motion_pieces import PieceSettings
from palmist.narration.sentences import sentence
from palmist.narration.tracks import LinkSettings, Tracks, link_tracks
from palmist.perception.clip_sampling import segment_indices
from palmist.perception.objects import HandObjectDetector, HandObjects
from palmist.perception.points import PointTracker, checked_frames
from palmist.perception.video import Frame

__all__ = ["Narration", "NarrationSettings", "narrate_detections", "narrate_frames"]

FORMAT = "palmist-narration"
VERSION = 1


@dataclass(frozen=True)
class NarrationSettings:
    """How a clip is narrated.

    samples: in how many frames the detector looks, one from the middle of each of so many equal parts of the clip; None for all
    of them. remove_camera: take the camera's own motion away before directions are named. The others: of the parts.

    With `samples`, a source that does not know its length (a generator) is held in memory.
    """

    samples: int | None = None
    remove_camera: bool = True
    link: LinkSettings = field(default_factory=LinkSettings)
    camera: CameraSettings = field(default_factory=CameraSettings)
    pieces: PieceSettings = field(default_factory=PieceSettings)
    describe: DescribeSettings = field(default_factory=DescribeSettings)

    def __post_init__(self) -> None:
        if self.samples is not None and self.samples < 2:
            raise InputError(f"samples is {self.samples}; expected 2 frames or more, or none for all frames")


@dataclass(frozen=True, eq=False)
class Narration:
    """A clip in words, and what the words rest on.

    source: name of the clip; start, end: seconds; text; facts; tracks: in pixels of their own frames; detector: what
    found the hands (`HandObjectDetector.describe`); rewritten: somebody else than the template wrote the text; original: the
    caption that was there before, None for none; camera: each frame's pixels in the first picture, None where it was not
    looked at.
    """

    source: str
    start: float
    end: float
    text: str
    facts: Facts
    tracks: Tracks
    detector: Mapping[str, Any] = field(default_factory=dict)
    rewritten: bool = False
    original: str | None = None
    camera: CameraMotion | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values; `from_json` reads them."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "source": self.source,
            "start": self.start,
            "end": self.end,
            "text": self.text,
            "rewritten": self.rewritten,
            "original": self.original,
            "facts": self.facts.to_json(),
            "detector": dict(self.detector),
            "tracks": self.tracks.to_json(),
            "camera": None if self.camera is None else self.camera.to_json(),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Narration:
        """What `to_json` gave. Raises InputError for anything else or another version."""
        try:
            found = data["format"], data["version"]
            if found != (FORMAT, VERSION):
                expected = f"{FORMAT} version {VERSION}; narrate the clip again"
                raise InputError(f"this is {found[0]} version {found[1]}; this Palmist reads {expected}")
            return cls(
                str(data["source"]),
                float(data["start"]),
                float(data["end"]),
                str(data["text"]),
                Facts.from_json(data["facts"]),
                Tracks.from_json(data["tracks"]),
                dict(data["detector"]),
                bool(data["rewritten"]),
                data["original"],
                None if data["camera"] is None else CameraMotion.from_json(data["camera"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"this is no narration ({error}); expected what Palmist's narration wrote") from error


def narrate_frames(
    frames: Iterable[Frame],
    detector: HandObjectDetector,
    settings: NarrationSettings | None = None,
    original: str | None = None,
    *,
    source: str = "",
    tracker: PointTracker | None = None,
) -> Narration:
    """Narrate a clip.

    Args:
        frames: a Video, a Clip, anything that gives (image (H, W, 3) uint8 RGB, time in seconds); read once.
        detector: a new one for every clip.
        original: the caption that is there already, for the names of things.
        tracker: follows the points that tell the camera's motion; Lucas-Kanade by default.

    Raises InputError for no frames, or frames that change their size.

    >>> narrate_frames(video.frames(2.0, 5.0), detector).text
    'The right hand moves up and then to the right, holding an object; the left hand stays still.'
    """
    settings = settings or NarrationSettings()
    frames, sampled = _sampled(frames, settings.samples)
    time: list[float] = []
    chosen: list[int] = []
    detections: list[HandObjects] = []
    size = [0, 0]

    def watched() -> Iterator[Frame]:
        """The frames, each shown to the detector on its way."""
        for number, (image, moment) in enumerate(checked_frames(frames)):
            size[:] = image.shape[1], image.shape[0]
            if sampled is None or number in sampled:
                chosen.append(number)
                time.append(moment)
                detections.append(detector.detect(moment, image))
            yield Frame(image, moment)

    camera = None
    if settings.remove_camera:
        points = background_tracks(watched(), tracker, settings.camera)
        whole = camera_motion(points, _boxes_of_all(detections, chosen, len(points.tracks)), settings.camera)
        camera = whole.take(chosen)
    else:
        for _ in watched():
            pass
    if not time:
        raise InputError("found 0 frames to narrate; expected at least one")
    return narrate_detections(
        np.array(time), (size[0], size[1]), detections, camera, settings, original, source=source, detector=detector.describe()
    )


def narrate_detections(
    time: np.ndarray,
    size: tuple[int, int],
    detections: Sequence[HandObjects],
    camera: CameraMotion | None = None,
    settings: NarrationSettings | None = None,
    original: str | None = None,
    *,
    source: str = "",
    detector: Mapping[str, Any] | None = None,
) -> Narration:
    """Narrate what a detector found elsewhere.

    Args:
        time: (T,) seconds, increasing. size: width and height of the frames in pixels. detections: one per time.
        camera: of the same frames, None for a camera that stands still or is not known.
        detector: what found them, as plain values.

    Raises InputError for times that go backwards, or numbers of frames that differ.
    """
    settings = settings or NarrationSettings()
    tracks = link_tracks(time, size, detections, settings.link)
    facts = describe_motion(tracks, camera, original, settings.pieces, settings.describe)
    start, end = float(tracks.time[0]), float(tracks.time[-1])
    text = sentence(facts, original)
    return Narration(source, start, end, text, facts, tracks, dict(detector or {}), False, original, camera)


def _sampled(frames: Iterable[Frame], samples: int | None) -> tuple[Iterable[Frame], set[int] | None]:
    """The frames and the numbers of those that the detector looks at, None for all."""
    if samples is None:
        return frames, None
    times = getattr(frames, "times", None)  # a Video knows them without decoding
    if times is None and not hasattr(frames, "__len__"):
        frames = list(frames)
    count = len(times) if times is not None else len(frames)  # type: ignore[arg-type]
    return frames, None if count <= samples else {int(number) for number in segment_indices(count, samples)}


def _boxes_of_all(detections: Sequence[HandObjects], chosen: Sequence[int], count: int) -> list[np.ndarray]:
    """Boxes of each of `count` frames: where the detector did not look, those of the frames before and after that it saw."""
    found = [
        np.array([thing.box for thing in (*frame.hands, *frame.objects)], np.float64).reshape(-1, 4) for frame in detections
    ]
    out = []
    for number in range(count):
        after = int(np.searchsorted(chosen, number))
        seen = after < len(chosen) and chosen[after] == number
        near = {after} if seen else {max(after - 1, 0), min(after, len(found) - 1)}
        out.append(np.concatenate([found[place] for place in sorted(near)]) if found else np.zeros((0, 4)))
    return out

"""Point tracks: where chosen points of the first frame are in every later one.

>>> video = Video("cups.mp4", short_side=240)
>>> queries = random_points(900, video.info.width, video.info.height, np.random.default_rng(0))
>>> tracks = LucasKanade()(video, queries)         # PointTracks, tracks (T, 900, 2)
>>> tracks.save("cups_tracks.npz")

Letters: T frames, N points, H rows, W columns. Coordinates are pixels (x right, y down); the centre of the first pixel
is (0, 0), so an image covers 0..W-1 and 0..H-1.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from palmist.errors import InputError
from palmist.files.npz import load_arrays, save_arrays
from palmist.perception.video import Frame

FORMAT = "palmist-point-tracks"
VERSION = 1


_FARTHEST, _LATEST = 1e7, 1e9  # pixels and seconds of no real video


@dataclass(frozen=True, eq=False)
class PointTracks:
    """Tracks of N points over T frames, read-only, with what made them.

    tracks (T, N, 2) float32: x, y in pixels of the frames that were tracked; a point that is not visible stays where it
    was last seen. visible (T, N) bool. time (T,) float64: seconds, never decreasing (a clip may repeat a frame).
    width, height: of the tracked frames in pixels. tracker, tracker_version: what made the tracks, with its settings.
    seeded (T, N) bool: the point was placed here, not tracked here: all of frame 0, and wherever a lost point was placed
    anew; None means frame 0 only. error (T, N) float32 or None: distance in pixels between a point and its way forward
    and back, NaN where it was not measured.

    Raises InputError for wrong shapes, types or numbers.
    """

    tracks: np.ndarray
    visible: np.ndarray
    time: np.ndarray
    width: int
    height: int
    tracker: str
    tracker_version: str = ""
    seeded: np.ndarray | None = None
    error: np.ndarray | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        tracks = _array(self.tracks, np.float32, "tracks")
        if tracks.ndim != 3 or tracks.shape[2] != 2 or not tracks.shape[0]:
            raise InputError(f"tracks have shape {tracks.shape}; expected (frames, points, 2), x and y in pixels")
        frames, points = tracks.shape[:2]
        if not np.isfinite(tracks).all():
            raise InputError("some tracks are NaN or infinite; expected pixels everywhere, with visible false where unknown")
        visible = _array(self.visible, np.bool_, "visible")
        time = _array(self.time, np.float64, "times")
        if self.seeded is None:
            seeded = np.zeros((frames, points), bool)
            seeded[0] = True
        else:
            seeded = _array(self.seeded, np.bool_, "seeded")
        error = None if self.error is None else _array(self.error, np.float32, "errors")
        for what, array in (("visible", visible), ("seeded", seeded), ("error", error)):
            if array is not None and array.shape != (frames, points):
                raise InputError(f"{what} has shape {array.shape}; expected ({frames}, {points}), one per frame and point")
        if time.shape != (frames,):
            raise InputError(f"time has shape {time.shape}; expected ({frames},), one time in seconds per frame")
        if not np.isfinite(time).all() or (np.diff(time) < 0).any():
            raise InputError("times are not finite or go backwards; expected seconds that never decrease")
        if (np.abs(tracks) > _FARTHEST).any() or (np.abs(time) > _LATEST).any():
            raise InputError(
                f"tracks reach {np.abs(tracks).max(initial=0):.3g} pixels, times {np.abs(time).max(initial=0):.3g} s; expected "
                f"{_FARTHEST:g} and {_LATEST:g} at most, the file is damaged"
            )
        if self.width < 1 or self.height < 1:
            raise InputError(f"the frames are {self.width}x{self.height}; expected width and height of 1 pixel or more")
        for name, value in (("tracks", tracks), ("visible", visible), ("time", time), ("seeded", seeded), ("error", error)):
            if value is not None:
                value.flags.writeable = False
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        frames, points = self.visible.shape
        last = f", {self.visible[-1].mean():.0%} visible at the end" if points else ""
        return f"PointTracks({points} points, {frames} frames, {self.width}x{self.height}, {self.tracker}{last})"

    def take(self, indices: Sequence[int] | np.ndarray) -> PointTracks:
        """The tracks at some of the frames only: indices (T',) never decreasing.

        A point that was placed anew between two taken frames counts as seeded in the later one, and in the first taken
        frame every point does.
        """
        rows = np.asarray(indices, np.int64)
        frames = len(self.tracks)
        if rows.ndim != 1 or not len(rows) or rows.min() < 0 or rows.max() >= frames or (np.diff(rows) < 0).any():
            raise InputError(f"frame indices are {rows.tolist()}; expected never decreasing numbers from 0 to {frames - 1}")
        assert self.seeded is not None  # __post_init__ fills it
        count = np.cumsum(self.seeded, axis=0)[rows]
        seeded = np.diff(count, axis=0, prepend=count[:1] - 1) > 0
        error = None if self.error is None else self.error[rows]
        return replace(
            self, tracks=self.tracks[rows], visible=self.visible[rows], time=self.time[rows], seeded=seeded, error=error
        )

    def save(self, path: str | Path) -> Path:
        """Write one .npz without pickles (the ending is added if it lacks) and give its path."""
        path = Path(path)
        if path.suffix != ".npz":
            path = path.with_name(path.name + ".npz")
        meta = {
            "format": FORMAT,
            "version": VERSION,
            "width": self.width,
            "height": self.height,
            "tracker": self.tracker,
            "tracker_version": self.tracker_version,
            "settings": dict(self.settings),
        }
        arrays = {"tracks": self.tracks, "visible": self.visible, "time": self.time, "seeded": self.seeded}
        if self.error is not None:
            arrays["error"] = self.error
        save_arrays(path, {"metadata": np.array(json.dumps(meta)), **arrays})
        return path


def load_point_tracks(path: str | Path) -> PointTracks:
    """Read what `PointTracks.save` wrote.

    Raises InputError, one sentence, if the file is missing, damaged, holds a pickle or is something else.
    """
    path = Path(path)
    arrays = load_arrays(path)
    required = ("tracks", "visible", "time", "metadata")
    missing = [name for name in required if name not in arrays]
    if missing:
        raise InputError(
            f"{path} has no array {', '.join(missing)}; it has {', '.join(arrays) or 'none'}; "
            "expected a file of point tracks that Palmist wrote"
        )
    try:
        meta = json.loads(str(arrays["metadata"]))
        found = meta["format"], meta["version"]
        fields: dict[str, Any] = {
            "width": int(meta["width"]),
            "height": int(meta["height"]),
            "tracker": str(meta["tracker"]),
            "tracker_version": str(meta["tracker_version"]),
            "settings": dict(meta["settings"]),
        }
    except (ValueError, TypeError, LookupError, ArithmeticError, RecursionError) as error:
        raise InputError(f"{path}: the array 'metadata' is not the JSON text that Palmist writes ({error})") from error
    if found != (FORMAT, VERSION):
        raise InputError(
            f"{path} has format {found[0]} version {found[1]}; this Palmist reads {FORMAT} version {VERSION}; "
            "update Palmist with: pip install -U palmist"
        )
    try:
        return PointTracks(
            arrays["tracks"],
            arrays["visible"],
            arrays["time"],
            seeded=arrays.get("seeded"),
            error=arrays.get("error"),
            **fields,
        )
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


class PointTracker(Protocol):
    """Anything that follows points: a callable with a name and a version."""

    @property
    def name(self) -> str:
        """What is written into `PointTracks.tracker`."""

    @property
    def version(self) -> str:
        """What is written into `PointTracks.tracker_version`."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """What is written into `PointTracks.settings`: everything that the tracks depend on, of JSON types."""

    def __call__(self, frames: Iterable[Frame], queries: np.ndarray) -> PointTracks:
        """Follow points through frames.

        frames: (image (H, W, 3) uint8 RGB, time in seconds) one after the other, all of one size: a Video, a Clip, a
        webcam. queries: (N, 2) x, y in pixels of the first frame. Raises InputError for no frames, frames that change
        their size, or points outside the image.
        """


def random_points(
    count: int, width: int, height: int, generator: np.random.Generator, keep_off_edge: float = 0.0
) -> np.ndarray:
    """`count` points spread evenly at random over the image, (count, 2) float32 pixels.

    keep_off_edge: pixels along each edge that get no points.
    """
    _check_size(count, width, height)
    span = np.array([width - 1, height - 1]) - 2 * keep_off_edge
    if (span < 0).any() or keep_off_edge < 0:
        raise InputError(f"keep_off_edge is {keep_off_edge} px; expected 0 to half of the {width}x{height} image")
    return (keep_off_edge + generator.random((count, 2)) * span).astype(np.float32)


def grid_points(columns: int, rows: int, width: int, height: int) -> np.ndarray:
    """The centres of columns x rows equal cells, row after row, (columns * rows, 2) float32 pixels."""
    _check_size(min(columns, rows), width, height)
    x = (np.arange(columns) + 0.5) * width / columns - 0.5
    y = (np.arange(rows) + 0.5) * height / rows - 0.5
    return np.stack(np.meshgrid(x, y), -1).reshape(-1, 2).astype(np.float32)


def _check_size(count: int, width: int, height: int) -> None:
    if count < 1 or width < 1 or height < 1:
        raise InputError(f"found {count} points on a {width}x{height} image; expected 1 or more of each")


def inside(points: np.ndarray, width: int, height: int) -> np.ndarray:
    """(...) bool: which of the points (..., 2) lie on the image. NaN lies outside."""
    return np.asarray(((points >= 0) & (points <= (width - 1, height - 1))).all(-1))


def check_queries(queries: np.ndarray, width: int, height: int) -> np.ndarray:
    """Queries as (N, 2) float32, else InputError that says which point is wrong."""
    points = np.asarray(queries)
    if points.ndim != 2 or points.shape[1] != 2 or not len(points) or points.dtype.kind not in "fiu":
        raise InputError(f"query points have shape {points.shape} and type {points.dtype}; expected (points, 2) x, y in pixels")
    outside = ~inside(points, width, height)
    if outside.any():
        x, y = points[outside][0].tolist()
        raise InputError(
            f"{int(outside.sum())} of {len(points)} query points lie outside the {width}x{height} image, the first at "
            f"({x:.6g}, {y:.6g}); expected 0 to {width - 1} and 0 to {height - 1}"
        )
    return points.astype(np.float32)


def checked_frames(frames: Iterable[Frame]) -> Iterator[tuple[np.ndarray, float]]:
    """The frames one by one; InputError for anything but RGB images of one size, or none at all."""
    shape: tuple[int, ...] | None = None
    for number, (image, time) in enumerate(frames):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise InputError(
                f"frame {number} has shape {image.shape} and type {image.dtype}; expected (height, width, 3) uint8 RGB"
            )
        if shape is not None and image.shape != shape:
            raise InputError(f"frame {number} has shape {image.shape} and the first {shape}; expected frames of one size")
        shape = image.shape
        yield image, time
    if shape is None:
        raise InputError("found 0 frames to track in; expected at least one")


@dataclass(frozen=True)
class LucasKanade:
    """Pyramidal Lucas-Kanade (OpenCV), frame after frame, with a check forward and back. Needs no weights, and holds two
    frames at a time.

    window: side of the square that is compared, pixels; levels: pyramid levels above the base; iterations, precision:
    when the search for one point stops; most_error: a point is lost when following it to the next frame and back ends
    further than this from where it was, pixels (None: no check, a third less work). A point is also lost when OpenCV gives
    it up or when it leaves the image. Lost points stay where they were last seen and are never visible again, unless
    `reseed` places them anew at random (generator seeded by `seed`), flagged in `PointTracks.seeded`.

    Source: Bouguet, "Pyramidal Implementation of the Lucas Kanade Feature Tracker" (2000); the check: Kalal et al.,
    "Forward-Backward Error" (2010).
    """

    window: int = 15
    levels: int = 3
    iterations: int = 20
    precision: float = 0.03
    most_error: float | None = 1.0
    reseed: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if self.window < 3 or self.levels < 0 or self.iterations < 1:
            raise InputError(
                f"window is {self.window}, levels {self.levels}, iterations {self.iterations}; "
                "expected at least 3 pixels, 0 levels and 1 iteration"
            )
        if self.most_error is not None and not self.most_error > 0:
            raise InputError(f"most_error is {self.most_error}; expected a number of pixels above 0, or None for no check")

    @property
    def name(self) -> str:
        return "lucas_kanade"

    @property
    def version(self) -> str:
        """OpenCV's version: it does the work."""
        import cv2

        return f"opencv {cv2.__version__}"

    @property
    def settings(self) -> dict[str, Any]:
        """All fields."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    def __call__(self, frames: Iterable[Frame], queries: np.ndarray) -> PointTracks:
        """Follow points (see PointTracker); frames are read one at a time."""
        import cv2

        generator = np.random.default_rng(self.seed)
        times: list[float] = []
        rows: list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]] = []  # points, alive, seeded, error
        previous: np.ndarray = np.zeros((0, 0), np.uint8)
        for image, time in checked_frames(frames):
            grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
            height, width = grey.shape
            if not rows:
                points = check_queries(queries, width, height)
                alive, seeded = np.ones(len(points), bool), np.ones(len(points), bool)
                error = np.full(len(points), np.nan, np.float32)
            else:
                points, alive, error = self._step(previous, grey, *rows[-1][:2])
                seeded = np.zeros(len(points), bool)
                if self.reseed and not alive.all():
                    seeded = ~alive
                    points[seeded] = random_points(int(seeded.sum()), width, height, generator)
                    alive, error[seeded] = np.ones(len(points), bool), np.nan
            rows.append((points, alive, seeded, error))
            times.append(time)
            previous = grey
        tracks, visible, placed, errors = (np.stack(column) for column in zip(*rows, strict=True))
        return PointTracks(
            tracks=tracks,
            visible=visible,
            time=np.array(times),
            width=previous.shape[1],
            height=previous.shape[0],
            tracker=self.name,
            tracker_version=self.version,
            seeded=placed,
            error=None if self.most_error is None else errors,
            settings=self.settings,
        )

    def _step(
        self, previous: np.ndarray, grey: np.ndarray, points: np.ndarray, alive: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Points (N, 2), alive (N,) and error (N,) one frame on. Only living points are followed."""
        import cv2

        points, alive = points.copy(), alive.copy()
        error = np.full(len(points), np.nan, np.float32)
        living = np.flatnonzero(alive)
        if not len(living):
            return points, alive, error
        options: dict[str, Any] = {
            "winSize": (self.window, self.window),
            "maxLevel": self.levels,
            "criteria": (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, self.iterations, self.precision),
        }
        follow: Any = cv2.calcOpticalFlowPyrLK  # its types do not allow None for the first guess
        start = points[living]
        end, found, _ = follow(previous, grey, start, None, **options)
        kept = (found.ravel() == 1) & inside(end, grey.shape[1], grey.shape[0])
        if self.most_error is not None and kept.any():
            back, found, _ = follow(grey, previous, end[kept], None, **options)
            distance = np.linalg.norm(back - start[kept], axis=-1)
            error[living[kept]] = distance
            kept[np.flatnonzero(kept)[(found.ravel() != 1) | ~(distance <= self.most_error)]] = False
        points[living[kept]] = end[kept]
        alive[living[~kept]] = False
        return points, alive, error


def _array(value: Any, dtype: type, what: str) -> np.ndarray:
    array = np.asarray(value)
    if array.dtype.kind not in ("b" if dtype is np.bool_ else "fiu"):
        expected = "true/false flags (bool)" if dtype is np.bool_ else f"real numbers ({np.dtype(dtype).name})"
        raise InputError(f"{what} are of type {array.dtype}; expected {expected}")
    if array.dtype == dtype and not array.flags.writeable:
        return array
    return array.astype(dtype)

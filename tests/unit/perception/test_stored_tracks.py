"""Tracks that are kept: reused while everything agrees, made anew otherwise, the same for the same name; the foreground."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.stats import norm

from palmist.errors import InputError
from palmist.perception.points import LucasKanade, PointTracker, PointTracks, load_point_tracks
from palmist.perception.stored_tracks import Queries, foreground_points, named_generator, stored_tracks, track
from palmist.perception.video import Frame


def panning(frames: int = 5, width: int = 40, height: int = 32, speed: float = 1.0, seed: int = 0) -> np.ndarray:
    """A smooth texture that moves right: (T, H, W, 3) uint8."""
    noise = np.random.default_rng(seed).standard_normal((height, width + 40)).astype(np.float32)
    texture = 128 + 200 * cv2.GaussianBlur(noise, (0, 0), 2.0)
    images = []
    for t in range(frames):
        shift = np.array([[1, 0, -20 + speed * t], [0, 1, 0]], np.float32)
        grey = cv2.warpAffine(texture, shift, (width, height), flags=cv2.INTER_CUBIC)
        images.append(np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., None], 3, -1))
    return np.stack(images)


class Counting:
    """Frames that say how often they were asked for."""

    def __init__(self, images: np.ndarray) -> None:
        self.images, self.asked = images, 0

    def __call__(self) -> Iterator[Frame]:
        self.asked += 1
        return iter([Frame(image, number / 10) for number, image in enumerate(self.images)])


def test_tracks_are_made_once_and_again_when_anything_differs(tmp_path: Path) -> None:
    frames, path, tracker = Counting(panning()), tmp_path / "deep" / "a.tracks.npz", LucasKanade(window=9)
    queries = Queries(30, 0, "a")
    first = stored_tracks(path, tracker, frames, queries, 10.0, (5, 32, 40))
    again = stored_tracks(path, tracker, frames, queries, 10.0, (5, 32, 40))
    assert frames.asked == 1
    for name in ("tracks", "visible", "time", "error"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    assert again.settings["queries"] == {"points": 30, "seed": 0, "name": "a"}
    assert (again.settings["window"], again.settings["rate"], again.tracker) == (9, 10.0, "lucas_kanade")
    asked = 1
    for changed_tracker, changed, rate, shape in (
        (LucasKanade(window=11), queries, 10.0, (5, 32, 40)),
        (tracker, Queries(31, 0, "a"), 10.0, (5, 32, 40)),
        (tracker, Queries(30, 1, "a"), 10.0, (5, 32, 40)),
        (tracker, Queries(30, 0, "b"), 10.0, (5, 32, 40)),
        (tracker, queries, 12.0, (5, 32, 40)),
        (tracker, queries, 10.0, (6, 32, 40)),  # the video is longer now
        (tracker, queries, 10.0, (5, 64, 80)),  # or larger
    ):
        stored_tracks(path, changed_tracker, frames, changed, rate, shape)
        asked += 1
        assert frames.asked == asked
        stored_tracks(path, tracker, frames, queries, 10.0)
        asked = frames.asked
    assert [file.name for file in path.parent.iterdir()] == ["a.tracks.npz"]


def test_another_version_of_the_tracker_is_another_tracker(tmp_path: Path) -> None:
    class Newer:
        name, version = "lucas_kanade", "opencv 99"
        settings = LucasKanade().settings

        def __call__(self, frames: Iterable[Frame], queries: np.ndarray) -> PointTracks:
            return LucasKanade()(frames, queries)

    frames, path = Counting(panning()), tmp_path / "a.npz"
    newer: PointTracker = Newer()
    for tracker, asked in ((LucasKanade(), 1), (LucasKanade(), 1), (newer, 2)):
        stored_tracks(path, tracker, frames, Queries(10, 0, "a"))
        assert frames.asked == asked


def test_points_belong_to_the_name() -> None:
    one, same, other = (Queries(900, 3, name).draw(40, 32) for name in ("a", "a", "b"))
    assert (one == same).all()
    assert (one != other).any()
    assert (one >= 0).all()
    assert (one <= [39, 31]).all()
    assert named_generator(0, "cups.mp4").integers(1 << 30) == 254368376  # on every machine, in every version
    assert abs(one.mean(0) - [19.5, 15.5]).max() < 1.5


def test_a_panning_texture_is_followed_and_the_mirrored_video_gives_mirrored_tracks() -> None:
    images = panning(6)
    found = track(Counting(images)(), LucasKanade(), Queries(60, 0, "pan"))
    inner = found.visible.all(0)
    assert inner.sum() > 20
    moved = (found.tracks[-1] - found.tracks[0])[inner]
    assert np.abs(np.median(moved, 0) - [5, 0]).max() < 0.1
    mirrored = (Frame(np.ascontiguousarray(image[:, ::-1]), number / 10) for number, image in enumerate(images))
    queries = found.tracks[0] * [-1, 1] + np.array([39, 0])
    flipped = LucasKanade()(mirrored, queries.astype(np.float32))
    both = inner & flipped.visible.all(0)
    assert both.sum() > 0.9 * inner.sum()
    difference = flipped.tracks[:, both] - (found.tracks[:, both] * [-1, 1] + [39, 0])
    assert np.quantile(np.abs(difference), 0.95) < 0.05


@pytest.mark.parametrize("damage", ["cut", "empty", "text", "pickle", "other"])
def test_damaged_files_are_refused_in_one_sentence(tmp_path: Path, damage: str) -> None:
    path, frames = tmp_path / "a.tracks.npz", Counting(panning())
    stored_tracks(path, LucasKanade(), frames, Queries(10, 0, "a"))
    content = path.read_bytes()
    if damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "text":
        path.write_text("tracks")
    elif damage == "pickle":
        with path.open("wb") as file:
            np.savez(file, tracks=np.array([{"a": 1}], object), metadata=np.array("{}"))
    else:
        arrays = {"tracks": np.zeros((5, 10, 2), np.float32), "visible": np.ones((5, 10), bool), "time": np.arange(5.0)}
        np.savez(path, metadata=np.array(json.dumps({"format": "something else"})), **arrays)  # type: ignore[arg-type]
    with pytest.raises(InputError) as error:
        stored_tracks(path, LucasKanade(), frames, Queries(10, 0, "a"))
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    assert frames.asked == 1


def test_a_video_without_frames_and_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="found 0 frames to track in"):
        track(iter([]), LucasKanade(), Queries(3))
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        stored_tracks(tmp_path / "file" / "a.npz", LucasKanade(), Counting(panning()), Queries(3))
    assert load_point_tracks(LucasKanade()(Counting(panning())(), Queries(3).draw(40, 32)).save(tmp_path / "b")).width == 40


def test_foreground_moves_as_few_points_do() -> None:
    generator = np.random.default_rng(0)
    steps = np.zeros((9, 100, 2))
    steps[...] = [0.5, 0]  # the camera pans
    steps[:, :80] += generator.normal(0, 0.01, (9, 80, 2))
    steps[:, 80:] += generator.uniform(2, 6, (20, 1)) * np.array([0, 1])[None, None].repeat(9, 0)[:, :1]
    tracks = np.cumsum(np.concatenate([np.zeros((1, 100, 2)), steps]), 0).astype(np.float32)
    chosen = foreground_points(tracks)
    assert chosen[80:].all()
    assert not chosen[:80].any()
    assert foreground_points(np.zeros((9, 5, 2))).all()
    assert foreground_points(np.zeros((1, 5, 2))).all()


def test_the_density_is_the_literal_one() -> None:
    generator = np.random.default_rng(1)
    tracks = np.cumsum(generator.normal(0, generator.uniform(0.1, 2, (1, 40, 1)), (8, 40, 2)), 0)
    motion = np.array([np.mean([np.linalg.norm(tracks[t + 1, p] - tracks[t, p]) for t in range(7)]) for p in range(40)])
    width = 40 ** (-1 / 5) * motion.std(ddof=1)  # Scott's rule in one dimension
    density = np.array([np.mean([norm.pdf(a, b, width) for b in motion]) for a in motion])
    assert (foreground_points(tracks) == (density < density.max() / 2)).all()
    assert (foreground_points(tracks, 0.05) != foreground_points(tracks)).any()

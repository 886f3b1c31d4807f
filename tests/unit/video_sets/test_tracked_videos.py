"""Tracks of a set's videos: where they are kept, subsets, truth; in clips they move with the pixels."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from palmist.errors import InputError
from palmist.perception.points import load_point_tracks
from palmist.video_sets import (
    VIDEO_SETS,
    AugmentationConfig,
    DirectionsConfig,
    DirectionVideos,
    MemoryVideos,
    MixConfig,
    StoredVideos,
    TrackConfig,
    TrackReader,
    Videos,
)
from palmist.video_sets.dataset import ClipConfig, VideoDataset

SIZE = (32, 32)


def directions(count: int = 4) -> DirectionVideos:
    return DirectionVideos(DirectionsConfig(videos=count, size=32, speed=(2.0, 3.0)))


def dots(count: int = 3, frames: int = 6, size: int = 48) -> MemoryVideos:
    """A bright dot on black that goes its way, and its true track, twice; the second one is lost after frame 2."""
    videos, tracks = [], []
    for number in range(count):
        generator = np.random.default_rng(number)
        path = 20 + 8 * generator.random(2) + np.arange(frames)[:, None] * generator.uniform(-1.5, 1.5, 2)
        y, x = np.mgrid[:size, :size]
        distance = (x - path[:, 0, None, None]) ** 2 + (y - path[:, 1, None, None]) ** 2
        images = np.repeat((250 * np.exp(-distance / 8))[..., None], 3, -1).astype(np.uint8)
        visible = np.ones((frames, 2), bool)
        visible[3:, 1] = False
        videos.append(images)
        tracks.append((np.repeat(path[:, None], 2, 1).astype(np.float32), visible))
    return MemoryVideos(videos, ["a", "b", "a"][:count], ("a", "b"), names=[f"dot/{n}" for n in range(count)], tracks=tracks)


def centre_of_brightness(image: np.ndarray) -> np.ndarray:
    weight = image.astype(np.float64).mean(-1)
    y, x = np.mgrid[: len(image), : image.shape[1]]
    return np.array([(x * weight).sum(), (y * weight).sum()]) / weight.sum()


PLAIN = {"operations": 0, "erase": 0}


@pytest.mark.parametrize(
    "augment",
    [None, AugmentationConfig((0.7, 1.0), flip=0.5, **PLAIN), AugmentationConfig((0.5, 1.0), flip=1, **PLAIN)],
    ids=["none", "crop", "flip"],
)
def test_tracks_follow_the_pixels_through_augmentation(augment: AugmentationConfig | None) -> None:
    videos = dots()
    data = VideoDataset(videos, ClipConfig(4, 40), augment, tracks=TrackReader(videos, TrackConfig("truth")))
    compared = 0
    for seed in range(6):
        batch = data.batch(np.arange(3), torch.Generator().manual_seed(seed))
        assert batch["tracks"].shape == (3, 4, 2, 2)
        assert batch["visible"].shape == (3, 4, 2)
        for row in range(3):
            for t in range(4):
                image, place = batch["video"][row, t].numpy(), batch["tracks"][row, t, 0].numpy()
                inside = bool(((place >= 0) & (place <= 39)).all())
                if inside:
                    assert batch["visible"][row, t, 0]
                if ((place > 9) & (place < 30)).all():  # the whole dot is in the clip
                    assert np.abs(centre_of_brightness(image) - place).max() < 0.2
                    compared += 1
    assert compared > 20


def test_a_flip_of_the_clip_is_a_flip_of_the_video() -> None:
    """The flipped clip with its tracks equals the clip of the flipped video with flipped tracks."""
    videos = dots(size=40)
    mirrored = MemoryVideos(
        [video[:, :, ::-1] for video in videos.frames], ["a", "b", "a"], ("a", "b"), names=videos.names,
        tracks=[(points * np.float32([-1, 1]) + np.float32([39, 0]), seen) for points, seen in videos.tracks or ()],
    )  # fmt: skip
    whole = AugmentationConfig((1.0, 1.0), (1.0, 1.0), flip=1, operations=0, erase=0)
    flipped, plain = (
        VideoDataset(these, ClipConfig(6, 40, "dense", 1), augment, tracks=TrackReader(these, TrackConfig("truth")))
        for these, augment in ((videos, whole), (mirrored, None))
    )
    one, two = (data.batch(np.arange(3), torch.Generator()) for data in (flipped, plain))
    assert torch.equal(one["video"], two["video"])
    assert torch.allclose(one["tracks"], two["tracks"], atol=1e-4)
    assert torch.equal(one["visible"], two["visible"])


def test_what_leaves_the_clip_is_not_visible() -> None:
    videos = MemoryVideos(
        [np.zeros((2, 20, 40, 3), np.uint8)], ["a"], ("a",),
        tracks=[(np.tile(np.float32([[5, 5], [12, 5], [20, 19.4]]), (2, 1, 1)), np.ones((2, 3), bool))],
    )  # fmt: skip
    data = VideoDataset(videos, ClipConfig(2, 10), tracks=TrackReader(videos, TrackConfig("truth")))
    _, tracks, visible = data.view_parts(0)  # the middle square, 10 to 29 across, at half size
    assert visible[0].tolist() == [[False, True, True]] * 2
    assert tracks[0, 0].tolist() == [[-2.75, 2.25], [0.75, 2.25], [4.75, pytest.approx(9.45)]]
    _, tracks, visible = data.view_parts(0, crops=3)
    assert visible[:, 0].tolist() == [[True, True, False], [False, True, True], [False, False, True]]


def test_clips_take_the_tracks_of_their_frames() -> None:
    videos = dots(frames=12)
    data = VideoDataset(videos, ClipConfig(3, 48), tracks=TrackReader(videos, TrackConfig("truth")))
    views, tracks, visible = data.view_parts(1, clips=2)
    assert videos.tracks is not None
    assert np.allclose(tracks[1, :, 0], videos.tracks[1][0][[2, 6, 9], 0], atol=1e-4)
    assert np.allclose(tracks[0, :, 0], videos.tracks[1][0][[1, 4, 8], 0], atol=1e-4)
    assert (views[0] == videos.frames[1][[1, 4, 8]]).all()
    assert np.allclose(tracks[0, 1:, 1], videos.tracks[1][0][2, 1])  # lost after frame 2: it stays
    assert visible[0].tolist() == [[True, True], [True, False], [True, False]]


def test_drawn_videos_are_tracked_once_in_memory() -> None:
    videos = directions()
    reader = TrackReader(videos, TrackConfig(points=40))
    points, visible = reader.read(2, videos.open(2), SIZE)
    assert points.shape == (8, 40, 2)
    assert visible[0].all()
    assert reader.read(2, videos.open(2), SIZE)[0] is points
    again = TrackReader(videos, TrackConfig(points=40)).read(2, videos.open(2), SIZE)
    assert (again[0] == points).all()
    other = TrackReader(videos, TrackConfig(points=40, seed=1)).read(2, videos.open(2), SIZE)
    assert (other[0][0] != points[0]).any()


def test_a_folder_keeps_the_tracks_of_drawn_videos_by_what_they_show(tmp_path: Path) -> None:
    config = TrackConfig(points=20, folder=str(tmp_path / "tracks"))
    videos = directions()
    first = TrackReader(videos, config).read(0, videos.open(0), SIZE)
    files = list((tmp_path / "tracks").iterdir())
    assert [file.name[:2] for file in files] == ["0-"]
    stamp = files[0].stat().st_mtime_ns
    assert (TrackReader(videos, config).read(0, videos.open(0), SIZE)[0] == first[0]).all()
    assert files[0].stat().st_mtime_ns == stamp
    others = DirectionVideos(DirectionsConfig(videos=4, size=32, seed=5))
    TrackReader(others, config).read(0, others.open(0), SIZE)
    assert len(list((tmp_path / "tracks").iterdir())) == 2


@pytest.mark.parametrize("name", ["class_folders", "ssv1"])
def test_tracks_lie_beside_videos_and_folders_of_pictures(name: str, tmp_path: Path) -> None:
    root = VIDEO_SETS[name].example(tmp_path / "set")
    entries = [entry for entry in VIDEO_SETS[name].read(root).entries if entry.label is not None]
    videos = StoredVideos(entries, VIDEO_SETS[name].read(root).labels, short_side=32)
    data = VideoDataset(videos, ClipConfig(3, 32), tracks=TrackReader(videos, TrackConfig(points=15)))
    batch = data.batch(np.arange(len(videos)), torch.Generator())
    assert batch["tracks"].shape == (len(videos), 3, 15, 2)
    for number, entry in enumerate(entries):
        kept = load_point_tracks(entry.path.with_name(entry.path.name + ".tracks.npz"))
        assert len(kept.tracks) == videos.open(number).frames
        assert min(kept.width, kept.height) == 32
        assert kept.settings["queries"]["name"] == entry.name
        assert kept.settings["rate"] == videos.open(number).rate
    assert len([entry for entry in VIDEO_SETS[name].read(root).entries if entry.label is not None]) == len(entries)
    # At another size the tracks are made anew.
    larger = StoredVideos(entries, videos.labels, short_side=40)
    TrackReader(larger, TrackConfig(points=15)).read(0, larger.open(0), larger.open(0).read(np.zeros(1, int)).shape[1:3])
    kept = load_point_tracks(entries[0].path.with_name(entries[0].path.name + ".tracks.npz"))
    assert min(kept.width, kept.height) == 40


def test_a_damaged_track_file_leaves_its_video_out_and_is_named(tmp_path: Path) -> None:
    root = VIDEO_SETS["class_folders"].example(tmp_path / "set")
    listed = VIDEO_SETS["class_folders"].read(root)
    videos = StoredVideos(listed.entries, listed.labels)
    TrackReader(videos, TrackConfig(points=5)).read(0, videos.open(0), SIZE)
    file = listed.entries[0].path.with_name(listed.entries[0].path.name + ".tracks.npz")
    file.write_bytes(file.read_bytes()[:200])
    data = VideoDataset(videos, ClipConfig(2, 16), tracks=TrackReader(videos, TrackConfig(points=5)))
    with pytest.warns(UserWarning, match=r"a video is skipped: .*tracks.npz cannot be read"):
        assert [number for number, _ in data.evaluation_items()] == [1, 2]


def test_a_subset_is_fixed_and_the_foreground_is_filled_up(monkeypatch: pytest.MonkeyPatch) -> None:
    videos: Videos = directions()
    everything = TrackReader(videos, TrackConfig(points=60)).read(1, videos.open(1), SIZE)[0]
    small, large = (TrackReader(videos, TrackConfig(points=60, use=use)).read(1, videos.open(1), SIZE)[0] for use in (10, 25))
    assert small.shape == (8, 10, 2)
    assert (large[:, :10] == small).all()
    there = {tuple(point) for point in everything[0].tolist()}
    assert {tuple(point) for point in large[0].tolist()} <= there
    assert len({tuple(point) for point in large[0].tolist()}) == 25
    moving = np.linalg.norm(everything[-1] - everything[0], axis=-1) > 1
    monkeypatch.setattr("palmist.video_sets.tracked.foreground_points", lambda tracks, bandwidth: moving)
    filled = TrackReader(videos, TrackConfig(points=60, foreground=True)).read(1, videos.open(1), SIZE)[0]
    assert filled.shape == everything.shape
    assert {tuple(p) for p in filled[0].tolist()} == {tuple(p) for p in everything[0][moving].tolist()}


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(InputError, match="unknown tracker 'raft'; expected one of lucas_kanade, cotracker, truth"):
        TrackConfig("raft")
    with pytest.raises(InputError, match="expected weights for cotracker"):
        TrackConfig("cotracker")
    with pytest.raises(InputError, match="truth has no settings"):
        TrackConfig("truth", {"window": 3})
    with pytest.raises(InputError, match="unknown key 'windows'; the nearest known key is 'window'"):
        TrackReader(directions(), TrackConfig(settings={"windows": 3}))
    with pytest.raises(InputError, match="have no true tracks; expected kind rendered"):
        TrackReader(directions(), TrackConfig("truth"))
    with pytest.raises(InputError, match="does not exist or is no file"):
        TrackReader(directions(), TrackConfig("cotracker", weights="nowhere.pth"))
    with pytest.raises(InputError, match="which cannot be mixed"):
        VideoDataset(dots(), ClipConfig(), AugmentationConfig(), MixConfig(), tracks=TrackReader(dots(), TrackConfig("truth")))


def test_one_texture_is_enough_to_tell_that_lost_points_stay() -> None:
    """Lucas-Kanade on noise without any relation between frames loses its points, which then stay."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 255, (4, 32, 32, 3), dtype=np.uint8)
    images = np.stack([cv2.GaussianBlur(image, (0, 0), 1.0) for image in images])
    videos = MemoryVideos([images], ["a"], ("a",))
    points, visible = TrackReader(videos, TrackConfig(points=50)).read(0, videos.open(0), SIZE)
    lost = ~visible
    assert lost[-1].mean() > 0.5
    assert (points[-1][lost[-2]] == points[-2][lost[-2]]).all()

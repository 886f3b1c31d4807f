"""Clips for training and testing: sampling, repeats, flips and labels, mixing, shares of a batch, damage."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from palmist.errors import InputError
from palmist.models.global_batch import Share, sharing
from palmist.perception.clip_sampling import dense_view_indices, segment_view_indices
from palmist.train.sampling import Sampler
from palmist.video_sets import (
    VIDEO_SETS,
    AugmentationConfig,
    DirectionsConfig,
    DirectionVideos,
    MemoryVideos,
    MixConfig,
    StoredVideos,
)
from palmist.video_sets.dataset import ClipConfig, VideoDataset, mirrored_labels
from tiny_video import write_tiny

SIDES = ("hold", "push left to right", "push right to left")


def numbered(count: int = 6, frames: int = 12, size: int = 16, labels: tuple[str, ...] = ("a", "b", "c")) -> MemoryVideos:
    """Video v shows frame number t as brightness 16 v + t."""
    videos = [np.full((frames, size, size, 3), 16 * v, np.uint8) + np.arange(frames, dtype=np.uint8)[:, None, None, None]
              for v in range(count)]  # fmt: skip
    return MemoryVideos(videos, [labels[v % len(labels)] for v in range(count)], labels, rate=10.0)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_segments_of_test_views_interleave_and_training_stays_in_its_part() -> None:
    assert segment_view_indices(41, 4).tolist() == [5, 15, 25, 35]
    assert segment_view_indices(41, 4, 0, 2).tolist() == [3, 13, 23, 33]
    assert segment_view_indices(41, 4, 1, 2).tolist() == [6, 16, 26, 36]
    assert segment_view_indices(5, 8).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert segment_view_indices(1, 3).tolist() == [0, 0, 0]
    drawn = np.stack([segment_view_indices(41, 4, generator=np.random.default_rng(seed)) for seed in range(300)])
    assert drawn.min(0).tolist() == [0, 10, 20, 30]
    assert drawn.max(0).tolist() == [9, 19, 29, 39]


def test_dense_views_spread_from_the_first_to_the_last_start() -> None:
    assert [dense_view_indices(100, 4, 8, view, 3)[0] for view in range(3)] == [0, 37, 75]
    assert dense_view_indices(100, 4, 8).tolist() == [37, 45, 53, 61]
    assert dense_view_indices(100, 3, 2.5, 0, 2).tolist() == [0, 2, 5]
    assert dense_view_indices(5, 4, 3).tolist() == [0, 3, 4, 4]
    starts = {int(dense_view_indices(20, 4, 3, generator=np.random.default_rng(seed))[0]) for seed in range(200)}
    assert starts == set(range(10))
    with pytest.raises(InputError, match="number 2 of 2; expected 0 to 1"):
        dense_view_indices(20, 4, 3, 2, 2)


def test_the_stride_counts_at_the_wanted_rate() -> None:
    video = numbered().open(0)
    assert ClipConfig(frames=3, sampling="dense", stride=4, rate=20.0).indices(video).tolist() == [3, 5, 7]  # 2 frames at 10 Hz
    assert ClipConfig(frames=3, sampling="dense", stride=4).indices(video).tolist() == [1, 5, 9]
    assert ClipConfig(frames=3, sampling="segments").indices(video).tolist() == [1, 5, 9]


def test_validation_gives_the_middle_view() -> None:
    data = VideoDataset(numbered(), ClipConfig(frames=3, size=16))
    batch = data.batch(np.array([2, 0]), seeded())
    assert batch["video"][..., 0, 0, 0].tolist() == [[33, 37, 41], [1, 5, 9]]
    assert batch["frame"].tolist() == [[1, 5, 9], [1, 5, 9]]
    assert batch["label"].tolist() == [2, 0]
    assert torch.equal(batch["video"], data.batch(np.array([2, 0]), seeded(1))["video"])
    assert batch["matrix"].tolist() == [[[1, 0, 0], [0, 1, 0]]] * 2
    assert "other_label" not in batch


def test_training_depends_on_the_generator_alone() -> None:
    config = AugmentationConfig(flip=0.5)
    one, two = (VideoDataset(numbered(), ClipConfig(frames=4, size=12), config, workers=workers) for workers in (0, 2))
    indices = np.array([0, 3, 3, 5])
    first, again, other = one.batch(indices, seeded()), two.batch(indices, seeded()), one.batch(indices, seeded(1))
    for name, tensor in first.items():
        assert torch.equal(tensor, again[name]), name
    assert not torch.equal(first["video"], other["video"])


def test_repeats_read_once_and_differ_in_augmentation() -> None:
    opened: list[int] = []

    class Counting(MemoryVideos):
        def open(self, number: int):  # type: ignore[no-untyped-def]
            opened.append(number)
            return super().open(number)

    plain = numbered()
    videos = Counting(plain.frames, ["a"] * 6, ("a",))
    data = VideoDataset(videos, ClipConfig(frames=4, size=12), AugmentationConfig(erase=1), repeats=2)
    indices = Sampler(len(data), 4, 0, repeats=data.repeats).indices(0)
    assert indices[0] == indices[1]
    assert indices[2] == indices[3] != indices[0]
    batch = data.batch(indices, seeded())
    assert len(opened) == 2
    assert torch.equal(batch["frame"][0], batch["frame"][1])
    assert not torch.equal(batch["video"][0], batch["video"][1])
    passes = np.concatenate([Sampler(6, 4, 0, repeats=2).indices(step) for step in range(3)])
    assert sorted(passes.tolist()) == sorted([*range(6), *range(6)])


def test_flips_are_refused_where_labels_speak_of_sides() -> None:
    videos = numbered(labels=SIDES)
    with pytest.raises(InputError, match=r"2 labels speak of left and right, such as 'push left to right'; set it to 0"):
        VideoDataset(videos, ClipConfig(), AugmentationConfig(flip=0.5))
    VideoDataset(videos, ClipConfig(), AugmentationConfig(flip=0))
    data = VideoDataset(videos, ClipConfig(frames=2, size=8), AugmentationConfig(flip=0.5, mirror_labels=True))
    batch = data.batch(np.arange(6), seeded())
    mirrored = batch["mirrored"].tolist()
    assert 0 < sum(mirrored) < 6
    for number, (flipped, label) in enumerate(zip(mirrored, batch["label"].tolist(), strict=True)):
        assert label == ([0, 2, 1] if flipped else [0, 1, 2])[number % 3]
    with pytest.raises(InputError, match="would become 'push right' when videos are flipped"):
        mirrored_labels(("push left",))


def test_mixing_pairs_first_with_last() -> None:
    data = VideoDataset(numbered(), ClipConfig(frames=2, size=8), AugmentationConfig(), MixConfig())
    batch = data.batch(np.array([0, 1, 2, 4]), seeded())
    assert batch["label"].tolist() == [0, 1, 2, 1]
    assert batch["other_label"].tolist() == [1, 2, 1, 0]
    assert len(set(batch["label_share"].tolist())) == 1
    plain = VideoDataset(numbered(), ClipConfig(frames=2, size=8), AugmentationConfig()).batch(np.array([0, 1, 2, 4]), seeded())
    assert not torch.equal(plain["video"], batch["video"])


@pytest.mark.parametrize("mixing", [None, MixConfig()])
def test_a_share_has_the_rows_of_the_whole_batch_and_reads_no_others(mixing: MixConfig | None) -> None:
    data = VideoDataset(numbered(), ClipConfig(frames=2, size=8), AugmentationConfig(), mixing)
    indices = np.array([0, 1, 2, 3, 4, 5, 0, 1])
    whole = data.batch(indices, seeded())
    for rank in range(4):
        with sharing(Share(rank, 4)):
            part = data.batch(indices, seeded())
        rows = slice(2 * rank, 2 * rank + 2)
        for name in whole:
            assert torch.equal(part[name][rows], whole[name][rows]), name
        others = np.delete(np.arange(8), [*range(8)[rows], *(7 - row for row in range(8)[rows])])
        assert (part["video"][others] == 0).all()


def test_views_cover_clips_and_crops() -> None:
    videos = MemoryVideos([np.zeros((41, 16, 32, 3), np.uint8)], ["a"], ("a",))
    videos.frames[0][...] = np.arange(41, dtype=np.uint8)[:, None, None, None]
    videos.frames[0][:, :, :, 1] = np.arange(32, dtype=np.uint8)
    data = VideoDataset(videos, ClipConfig(frames=4, size=16))
    views = data.views(0, clips=2, crops=3)
    assert views.shape == (6, 4, 16, 16, 3)
    assert views[:, 0, 0, 0, 0].tolist() == [3, 3, 3, 6, 6, 6]
    assert views[:, 0, 0, 0, 1].tolist() == [0, 8, 16, 0, 8, 16]
    with pytest.raises(InputError, match="expected 1 or more of each"):
        data.views(0, clips=0)


def test_videos_that_cannot_be_decoded_are_skipped_counted_and_reported(tmp_path: Path) -> None:
    root = VIDEO_SETS["kinetics"].example(tmp_path / "set")
    (root / "stir" / "c.mp4").write_bytes(b"not a video at all")
    listed = VIDEO_SETS["kinetics"].read(root)
    data = VideoDataset(StoredVideos(listed.entries, listed.labels), ClipConfig(frames=2, size=16), AugmentationConfig())
    with pytest.warns(UserWarning, match="a video is skipped: .*c.mp4 is not a video"):
        batch = data.batch(np.array([0, 1, 2, 1]), seeded())
    replaced = batch["item"].tolist()
    assert replaced[0] == 0
    assert replaced[2] == 2
    assert 1 not in replaced
    assert batch["label"].tolist() == [int(data.videos.label[item]) for item in replaced]
    assert list(data.faults) == ["stir/c.mp4"]
    assert "3 videos, 1 skipped because they cannot be decoded (the first:" in data.report()
    tested = VideoDataset(data.videos, ClipConfig(frames=2, size=16))
    with pytest.warns(UserWarning, match="skipped"):
        assert [number for number, _ in tested.evaluation_items()] == [0, 2]
    assert "1 skipped" in tested.report()


@pytest.mark.filterwarnings("ignore:a video is skipped")
def test_where_nothing_can_be_read_that_is_an_error(tmp_path: Path) -> None:
    root = VIDEO_SETS["ssv1"].example(tmp_path / "set")
    listed = VIDEO_SETS["ssv1"].read(root).of_split("train")
    for picture in (root / "20bn-something-something-v1").rglob("*.jpg"):
        picture.write_bytes(picture.read_bytes()[:40])
    data = VideoDataset(StoredVideos(listed.entries, listed.labels), ClipConfig(frames=2, size=16))
    with pytest.raises(InputError, match=r"10 videos in a row could not be read, the last: .* is damaged"):
        data.batch(np.array([0]), seeded())
    with pytest.raises(InputError, match="there are no videos"):
        VideoDataset(StoredVideos([], listed.labels), ClipConfig())


def test_damaged_frames_are_filled_and_reported(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    path = write_tiny(tmp_path / "a" / "holed.mp4", 40, noise=20.0)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 6000] = bytes(6000)
    path.write_bytes(bytes(content))
    listed = VIDEO_SETS["class_folders"].read(tmp_path)
    clip = ClipConfig(frames=40, size=32, sampling="dense", stride=1)
    data = VideoDataset(StoredVideos(listed.entries, listed.labels), clip)
    assert data.views(0).shape == (1, 40, 32, 32, 3)
    assert 0 < data.videos.replaced["a/holed.mp4"] < 20
    assert "damaged frames of 1 videos filled from the frame before" in data.report()


def test_directions_are_seeded_even_and_free_of_appearance() -> None:
    config = DirectionsConfig(videos=64, size=32)
    one, two = DirectionVideos(config), DirectionVideos(config)
    assert np.bincount(one.label).tolist() == [8] * 8
    assert (one.open(5).read(np.arange(3)) == two.open(5).read(np.arange(3))).all()
    assert (
        one.open(5).read(np.arange(1))
        != DirectionVideos(DirectionsConfig(videos=64, size=32, seed=1)).open(5).read(np.arange(1))
    ).any()
    # Nothing of the first frame is drawn from the label: with other labels the same videos begin alike.
    turned = DirectionVideos(config)
    turned.label = (turned.label + 3) % 8
    for number in range(8):
        begin, other = one.open(number).read(np.arange(2)), turned.open(number).read(np.arange(2))
        assert (begin[0] == other[0]).all()
        assert (begin[1] != other[1]).any()
    assert DirectionVideos(DirectionsConfig(videos=8, directions=2)).labels == ("moving right", "moving left")


def test_a_patch_moves_in_its_direction() -> None:
    config = DirectionsConfig(videos=16, size=48, speed=(4.0, 4.0), patch=(1.0, 1.0), grain=(2.0, 2.0))
    videos = DirectionVideos(config)
    steps = {"moving right": (4, 0), "moving down": (0, 4), "moving left": (-4, 0), "moving up": (0, -4)}
    for number in range(16):
        label = videos.labels[videos.label[number]]
        if label in steps:
            x, y = steps[label]
            first, second = videos.open(number).read(np.arange(2)).astype(int)
            expected = np.roll(first, (y, x), (0, 1))
            assert np.abs(second - expected).max() <= 1


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(InputError, match="expected 2, 4 or 8"):
        DirectionsConfig(directions=3)
    with pytest.raises(InputError, match="expected one of segments, dense"):
        ClipConfig(sampling="uniform")
    with pytest.raises(InputError, match="expected one label for each video"):
        MemoryVideos([np.zeros((2, 4, 4, 3), np.uint8)], [], ())

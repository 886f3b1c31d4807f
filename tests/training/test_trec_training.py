"""TRec learns directions from tracks and not from one frame; the common command trains it, and its controls are evaluated."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from palmist.checkpoint import load_checkpoint
from palmist.config import TrainConfig
from palmist.errors import InputError
from palmist.evaluation.checkpoints import evaluate_checkpoint
from palmist.evaluation.videos import TrackTest, batch_deviation, recognise_videos
from palmist.models.trec import TRec, TRecConfig
from palmist.tasks.trec import TRecTask, load_trec
from palmist.train import train_from_file
from palmist.video_sets import VIDEO_SETS, DirectionsConfig, DirectionVideos, TrackConfig, TrackReader
from palmist.video_sets.dataset import ClipConfig, VideoDataset

TINY = """
task: trec
model: {width: 16, layers: 1, heads: 2, image_width: 4, train_points: [10, 20]}
data:
  sets:
    directions: {options: {videos: 32, frames: 4, size: 32, directions: 2, speed: [2.0, 4.0]}}
  validation:
    directions: {options: {videos: 8, frames: 4, size: 32, directions: 2, seed: 1, speed: [2.0, 4.0]}}
  clip: {frames: 4, size: 32, sampling: dense, stride: 1}
  tracks: {settings: {window: 7}, points: 30}
steps: 8
batch_size: 8
learning_rate: 1.0e-3
schedule: cosine
validate_every: 4
checkpoint_every: 3
log_every: 4
tensorboard: false
"""


def test_tracks_tell_the_direction_and_the_first_frame_does_not() -> None:
    """Four directions of unseen textures: chance is 0.25."""
    options = DirectionsConfig(videos=320, frames=4, size=32, directions=4, speed=(2.0, 4.0))
    clip, batches = ClipConfig(4, 32, "dense", 1), {}
    for part, seed, count in (("train", 0, 320), ("test", 1, 120)):
        videos = DirectionVideos(replace(options, seed=seed, videos=count))
        tracks = TrackReader(videos, TrackConfig(settings={"window": 9, "iterations": 8}, points=60))
        batches[part] = VideoDataset(videos, clip, tracks=tracks).batch(np.arange(count), torch.Generator())
    accuracy = {}
    for inputs in ("tracks", "first_frame"):
        torch.manual_seed(0)
        config = TRecConfig(
            width=32, layers=1, heads=2, image_width=4, train_points=(30, 30), inputs=inputs, frames=4, size=32,
            labels=("right", "down", "left", "up"),
        )  # fmt: skip
        network = TRec(config)
        optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3)
        generator = torch.Generator().manual_seed(0)
        for _ in range(80):
            chosen = torch.randint(320, (32,), generator=generator)
            loss, _ = network.train().loss({name: part[chosen] for name, part in batches["train"].items()}, generator)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        with torch.no_grad():
            accuracy[inputs] = float(network.eval().loss(batches["test"])[1]["accuracy"])
    assert accuracy["tracks"] > 0.9
    assert accuracy["first_frame"] < 0.4


def test_the_common_command_trains_the_same_twice_and_controls_are_evaluated(tmp_path: Path) -> None:
    file = tmp_path / "tiny.yaml"
    file.write_text(TINY)
    run = train_from_file(file, {"out": str(tmp_path / "run")})
    again = train_from_file(file, {"out": str(tmp_path / "again")})
    checkpoint = load_checkpoint(run / "last")
    for name, tensor in checkpoint.state.items():
        assert torch.equal(tensor, load_checkpoint(again / "last").state[name]), name
    assert "Tracks: 30 points by lucas_kanade" in checkpoint.card
    assert "32 videos, 0 skipped" in checkpoint.card
    network, clip, tracks = load_trec(run / "last")
    assert (clip.frames, clip.size, tracks.points, network.config.labels) == (4, 32, 30, ("moving right", "moving left"))

    videos = DirectionVideos(DirectionsConfig(videos=11, frames=4, size=32, directions=2, seed=2))
    data = VideoDataset(videos, clip, tracks=TrackReader(videos, tracks))
    plain, shuffled = (
        recognise_videos(network, data, batch_size=4, order=None if seed is None else np.random.default_rng(seed))
        for seed in (None, 0)
    )
    order = np.argsort(shuffled.items)
    assert shuffled.items.tolist() != sorted(shuffled.items.tolist())
    assert plain.items.tolist() == shuffled.items[order].tolist() == list(range(11))
    assert np.allclose(plain.probabilities, shuffled.probabilities[order], atol=1e-6)


def test_no_batch_is_left_with_one_video() -> None:
    counts: list[int] = []

    class Counting:
        def recognise(self, views: torch.Tensor) -> torch.Tensor:
            counts.append(len(views))
            return torch.ones(len(views), 8) / 8

    for videos in range(2, 12):
        counts.clear()
        data = VideoDataset(DirectionVideos(DirectionsConfig(videos=videos, frames=4, size=32)), ClipConfig(4, 32))
        assert len(recognise_videos(Counting(), data, batch_size=4, order=np.random.default_rng(0)).items) == videos
        assert sum(counts) == videos
        assert min(counts) >= 2


def test_records_say_what_was_trained_and_what_was_tested(tmp_path: Path) -> None:
    root = VIDEO_SETS["class_folders"].example(tmp_path / "videos")
    settings = yaml.safe_load(TINY) | {"steps": 1, "batch_size": 2}
    settings["data"] |= {"sets": {"class_folders": {"root": str(root)}}, "validation": {}}
    names = {}
    for inputs in ("frames_and_tracks", "frames", "first_frame_and_tracks"):
        file = tmp_path / f"{inputs}.yaml"
        file.write_text(yaml.safe_dump(settings | {"model": settings["model"] | {"inputs": inputs}}))
        run = train_from_file(file, {"out": str(tmp_path / inputs)})
        records = evaluate_checkpoint(run / "last", f"class_folders:{root}")
        names[inputs] = records[0].name
        assert records[0].n == 3
    assert names == {
        "frames_and_tracks": "class_folders/all/trec/accuracy",
        "frames": "class_folders/all/rgb_only/accuracy",
        "first_frame_and_tracks": "class_folders/all/trec_first_frame_and_tracks/accuracy",
    }
    run = tmp_path / "frames_and_tracks" / "last"
    for test, name, options in (
        (TrackTest(points=7), "trec_7_points", "--points 7"),
        (TrackTest(foreground=True), "trec_foreground", "--foreground"),
        (
            TrackTest(control="blank_frames_and_tracks"),
            "trec_sees_blank_frames_and_tracks",
            "--control blank_frames_and_tracks",
        ),
        (TrackTest(5, True, "tracks"), "trec_5_points_foreground_sees_tracks", "--points 5 --foreground --control tracks"),
        (TrackTest(control="shuffled_frames_and_tracks"), "trec_sees_shuffled_frames_and_tracks", ""),
    ):
        record = evaluate_checkpoint(run, f"class_folders:{root}", views=(2, 1), test=test)[0]
        assert record.name == f"class_folders/all/{name}/accuracy"
        assert record.command.endswith(f"--clips 2 --crops 1 {options}") or not options
    with pytest.raises(InputError, match="unknown inputs 'dark'"):
        evaluate_checkpoint(run, f"class_folders:{root}", test=TrackTest(control="dark"))
    with pytest.raises(InputError, match="--points, --foreground and --control are for trec alone"):
        evaluate_checkpoint("ghtt-small", "asl_words", test=TrackTest(points=5))


def test_true_tracks_are_an_oracle_and_the_card_says_so() -> None:
    rendered = {"options": {"subjects": ["S3"], "settings": {"size": 32}}, "limit": 2}
    data = {"sets": {"rendered": rendered}, "clip": {"frames": 4, "size": 32}, "tracks": {"tracker": "truth", "points": 12}}
    model = yaml.safe_load(TINY)["model"]
    config = TrainConfig(task="trec", steps=1, data=data, model=model)
    task = TRecTask()
    batch = task.train_data(config).batch(np.arange(2), torch.Generator())
    assert batch["tracks"].shape == (2, 4, 12, 2)
    network = task.build_model(config)
    assert "oracle" in task.collect(network, config).card
    assert torch.isfinite(network.loss(batch)[0])  # type: ignore[operator]
    for changes, found in (
        ({"mix": {}}, "tracks of two clips cannot be mixed"),
        ({"sets": {"directions": {}}}, "have no true tracks"),
    ):
        with pytest.raises(InputError, match=found):
            TRecTask().train_data(TrainConfig(task="trec", steps=1, data={**data, **changes}, model=model))


def test_the_spread_of_batches_is_that_of_a_share() -> None:
    correct = np.random.default_rng(0).random(32 * 400 + 5) < 0.61
    found = batch_deviation(correct)
    assert found.n == 400
    assert found.value == pytest.approx((0.61 * 0.39 / 32) ** 0.5, rel=0.1)  # 8.6 points, as in TRec's table
    assert batch_deviation(np.array([True, False] * 32)).value == 0


def test_what_looks_at_no_tracks_is_not_tracked() -> None:
    config = yaml.safe_load(TINY)
    config["model"]["inputs"] = "frames"
    data = TRecTask().train_data(TrainConfig(**config))
    assert data.tracks is None
    assert "tracks" not in data.batch(np.arange(2), torch.Generator())

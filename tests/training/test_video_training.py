"""EMIM and UniFormer learn clips by heart; the common command trains, resumes, and its checkpoints are evaluated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from palmist.checkpoint import load_checkpoint
from palmist.config import TrainConfig
from palmist.errors import InputError
from palmist.evaluation.checkpoints import evaluate_checkpoint
from palmist.evaluation.videos import evaluate_video_checkpoint, recognise_videos
from palmist.models.uniformer import UniFormer, UniFormerConfig
from palmist.tasks.videos import VideoSetConfig, VideoTask, load_video_network, read_videos
from palmist.train import learning_rate, train_from_file
from palmist.train.loop import _groups
from palmist.video_sets import VIDEO_SETS, DirectionsConfig, DirectionVideos, StoredVideos
from palmist.video_sets.dataset import ClipConfig, VideoDataset

TINY = """
task: emim
model: {depths: [1, 1, 1, 1], widths: [8, 8, 16, 16], head_size: 8, window: 3, drop_path: 0.1}
data:
  sets:
    directions: {options: {videos: 32, frames: 4, size: 32, directions: 2}}
  validation:
    directions: {options: {videos: 8, frames: 4, size: 32, directions: 2, seed: 1}}
  clip: {frames: 4, size: 32, sampling: dense, stride: 1}
  augment: {operations: 2}
  mix: {}
  repeats: 2
epochs: 2
warmup_epochs: 0.5
batch_size: 8
learning_rate: 1.0e-3
least_learning_rate: 1.0e-5
decay_vectors: false
schedule: cosine
validate_every: 4
checkpoint_every: 3
log_every: 4
tensorboard: false
"""


@pytest.mark.parametrize("kind", ["emim", "uniformer"])
def test_a_handful_of_directions_is_learnt_by_heart(kind: str) -> None:
    torch.manual_seed(0)
    motion = {"motion_blocks": "even", "motion_start": "matched"} if kind == "emim" else {}
    videos = DirectionVideos(DirectionsConfig(videos=8, frames=4, size=32, speed=(4.0, 8.0)))
    config = UniFormerConfig(
        depths=(1, 1, 1, 1), widths=(16, 16, 32, 32), strides=(4, 1, 2, 1), head_size=16, window=5, temporal_stride=1,
        labels=videos.labels, **motion,
    )  # fmt: skip
    network = UniFormer(config).train()
    batch = VideoDataset(videos, ClipConfig(4, 32, "dense", 1)).batch(np.arange(8), torch.Generator())
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3)
    for _ in range(60):
        loss, parts = network.loss(batch, torch.Generator())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if parts["accuracy"] == 1 and loss < 0.1:
            return
    raise AssertionError(f"loss {loss.item():.3f}, accuracy {parts['accuracy'].item():.2f}")


def test_the_command_trains_the_same_weights_twice(tmp_path: Path) -> None:
    file = tmp_path / "tiny.yaml"
    file.write_text(TINY)
    run = train_from_file(file, {"out": str(tmp_path / "run")})
    config = load_checkpoint(run / "last").config
    assert config["training"]["steps"] == 16  # two passes over 32 videos, two clips each, 8 clips a step
    assert config["videos_skipped"] == 0
    assert "32 videos, 0 skipped" in load_checkpoint(run / "last").card
    again = train_from_file(file, {"out": str(tmp_path / "again")})
    for name, tensor in load_checkpoint(run / "last").state.items():
        assert torch.equal(tensor, load_checkpoint(again / "last").state[name]), name

    kind, network, clip = load_video_network(run / "last")
    assert (kind, clip.frames, clip.size) == ("emim", 4, 32)
    assert network.config.labels == ("moving right", "moving left")
    assert not network.training
    root = VIDEO_SETS["class_folders"].example(tmp_path / "videos")
    with pytest.raises(InputError, match="does not know label 'pour water'"):
        evaluate_video_checkpoint(run / "last", f"class_folders:{root}")
    with pytest.raises(InputError, match="cannot be tested on 'asl_words'; expected directions, rendered_asl_words"):
        evaluate_checkpoint(run / "last", "asl_words")


@pytest.mark.filterwarnings("ignore:a video is skipped")
def test_videos_on_disk_are_trained_on_and_damaged_ones_left_out_of_the_test(tmp_path: Path) -> None:
    root = VIDEO_SETS["class_folders"].example(tmp_path / "videos")
    file = tmp_path / "tiny.yaml"
    settings = yaml.safe_load(TINY) | {"task": "uniformer", "epochs": 1, "batch_size": 4, "out": str(tmp_path / "run")}
    settings["data"] |= {"sets": {"class_folders": {"root": str(root)}}, "validation": {}}
    file.write_text(yaml.safe_dump(settings))
    run = train_from_file(file)
    records = evaluate_checkpoint(run / "last", f"class_folders:{root}", views=(2, 3))
    assert [record.name for record in records] == [
        "class_folders/all/uniformer/accuracy", "class_folders/all/uniformer/class_mean_accuracy",
    ]  # fmt: skip
    assert records[0].n == 3
    assert records[0].command.endswith("--data class_folders:FOLDER --split all --clips 2 --crops 3")
    (root / "stir" / "b.mp4").write_bytes(b"damaged")
    assert evaluate_checkpoint(run / "last", f"class_folders:{root}")[0].n == 2


def test_recognition_takes_every_video_once_in_batches() -> None:
    videos = DirectionVideos(DirectionsConfig(videos=7, frames=4, size=32))

    class Brightness:
        def recognise(self, views: torch.Tensor) -> torch.Tensor:
            mean = views.float().mean((1, 2, 3, 4, 5))
            return torch.nn.functional.one_hot((mean * 0 + len(views)).long().clamp_max(7), 8).float()

    result = recognise_videos(Brightness(), VideoDataset(videos, ClipConfig(4, 32)), clips=2, crops=1, batch_size=4)
    assert result.items.tolist() == list(range(7))
    assert result.truth.tolist() == videos.label.tolist()
    assert result.probabilities.argmax(1).tolist() == [2, 2, 2, 2, 2, 2, 1]


def test_settings_of_sets_are_checked() -> None:
    for entry, found in (
        (VideoSetConfig("ssv2"), "set 'x' has no root; expected the folder where ssv2 lies"),
        (VideoSetConfig("ssv9"), "unknown kind of videos 'ssv9'; expected one of ssv1"),
        (VideoSetConfig("ssv2", root=".", options={"videos": 3}), "has options, which ssv2 does not know"),
        (VideoSetConfig("directions", options={"video": 3}), "unknown key 'video'; the nearest known key is 'videos'"),
    ):
        with pytest.raises(InputError, match=found):
            read_videos("x", entry)
    two = {"directions": {}, "rendered": {}}
    with pytest.raises(InputError, match=r"names 2 sets .*; expected one"):
        VideoTask("emim").train_data(TrainConfig(task="emim", steps=1, data={"sets": two}))
    with pytest.raises(InputError, match="name one set of videos"):
        VideoTask("emim").train_data(TrainConfig(task="emim", steps=1))


def test_rendered_recordings_are_drawn_once_by_person() -> None:
    options = {"subjects": ["S3"], "settings": {"size": 32, "tracks": 20}}
    videos = read_videos("rendered", VideoSetConfig(options=options, limit=3))
    assert len(videos) == 3
    assert len(videos.labels) == 16
    assert all(name.startswith("asl_words/") for name in videos.names)
    assert videos.subjects == ["S3"] * 3  # type: ignore[attr-defined]
    points, visible = videos.tracks[0]  # type: ignore[attr-defined]
    assert points.shape == (*visible.shape, 2) == (20, 20, 2)
    again = read_videos("rendered", VideoSetConfig(options=options, limit=3))
    assert (videos.open(1).read(np.arange(4)) == again.open(1).read(np.arange(4))).all()
    with pytest.raises(InputError, match=r"has no labelled recording of .*'S9'.*; expected some of S1"):
        read_videos("rendered", VideoSetConfig(options={"subjects": ["S9"]}))


def test_warm_up_in_passes_and_the_least_rate() -> None:
    config = TrainConfig(
        task="x", epochs=10, warmup_epochs=2, learning_rate=1.0, least_learning_rate=0.1, schedule="cosine"
    )  # fmt: skip
    rates = [learning_rate(config, step, 100) for step in range(100)]
    assert rates[0] == pytest.approx(0.1 + 0.9 / 20)
    assert rates[19] == rates[20] == pytest.approx(1.0)
    assert rates[60] == pytest.approx(0.55)
    assert 0.1 < rates[99] < 0.101
    with pytest.raises(ValueError, match="warmup_epochs needs 'epochs'"):
        TrainConfig(task="x", steps=10, warmup_epochs=2)


def test_vectors_may_be_left_out_of_weight_decay() -> None:
    network = UniFormer(UniFormerConfig(depths=(1, 1, 1, 1), widths=(8,) * 4, head_size=8, motion_blocks="even", labels=("a",)))
    parameters = list(network.parameters())
    one = _groups(parameters, TrainConfig(task="x", steps=1, weight_decay=0.05))
    assert [len(group["params"]) for group in one] == [len(parameters)]
    decayed, kept = _groups(parameters, TrainConfig(task="x", steps=1, weight_decay=0.05, decay_vectors=False))
    assert (decayed["weight_decay"], kept["weight_decay"]) == (0.05, 0.0)
    assert all(parameter.dim() == 1 for parameter in kept["params"])
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    assert any(names[id(parameter)].endswith("position_bias") for parameter in decayed["params"])
    assert len(decayed["params"]) + len(kept["params"]) == len(parameters)


def test_stored_videos_keep_their_label_numbers(tmp_path: Path) -> None:
    root = VIDEO_SETS["ssv2"].example(tmp_path / "set")
    videos = read_videos("ssv2", VideoSetConfig(root=str(root)))
    assert isinstance(videos, StoredVideos)
    assert videos.label.tolist() == [1, 2, 0, 2]  # the test part has no labels
    assert len(read_videos("ssv2", VideoSetConfig(root=str(root), limit=2, split="train"))) == 2
    with pytest.raises(InputError, match="no labelled video of split test"):
        read_videos("ssv2", VideoSetConfig(root=str(root), split="test"))

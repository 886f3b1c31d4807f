"""EgoVideo learns captions by heart; the common command trains it; flips swap the sides in a caption."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from palmist.checkpoint import load_checkpoint
from palmist.errors import InputError
from palmist.models.egovideo import EgoVideo, EgoVideoConfig
from palmist.skeleton import mirror_words
from palmist.text.byte_pairs import BytePairs, learn_merges
from palmist.train import train_from_file
from palmist.video_sets import DirectionsConfig, DirectionVideos, MemoryVideos
from palmist.video_sets.augmentation import AugmentationConfig
from palmist.video_sets.dataset import ClipConfig, VideoDataset
from palmist.video_tasks import VideoSetConfig
from palmist.video_text.captions import captions_of, label_caption
from palmist.video_text.dataset import CaptionedDataset
from palmist.video_text_reader import load_video_text

TINY = """
task: egovideo
model: {width: 16, layers: 1, heads: 2, patch: 8, stem: none, sparse_frames: 2, dense_frames: 4, text_width: 16, text_layers: 1,
  text_heads: 2, text_length: 24, embedding: 8}
data:
  sets:
    directions: {options: {videos: 16, frames: 4, size: 32, directions: 4}}
  captions: labels
  learnt: 20
  clip: {frames: 4, size: 32, sampling: dense, stride: 1}
steps: 6
batch_size: 8
learning_rate: 1.0e-3
checkpoint_every: 3
log_every: 2
tensorboard: false
"""


def words(*texts: str) -> BytePairs:
    return BytePairs(learn_merges([*texts, *(mirror_words(text) for text in texts)], 40))


def test_a_handful_of_captions_is_learnt_by_heart() -> None:
    """Videos that differ in their motion alone: after training each finds its caption."""
    torch.manual_seed(0)
    videos = DirectionVideos(DirectionsConfig(videos=4, frames=4, size=32, directions=4, speed=(4.0, 8.0)))
    sentences = [
        f"The right hand moves {label}, clip {number}." for number, label in enumerate(videos.labels[i] for i in videos.label)
    ]
    captions = [(sentence,) for sentence in sentences]
    config = EgoVideoConfig(
        size=32, stem="convolutions", patch=8, width=32, layers=2, heads=2, sparse_frames=2, dense_frames=4,
        dense_weights="trained", text_width=32, text_layers=1, text_heads=2, text_length=40, embedding=16,
        vocabulary=words(*sentences).size, learn_temperature=True,
    )  # fmt: skip
    network = EgoVideo(config).train()
    data = CaptionedDataset(VideoDataset(videos, ClipConfig(4, 32, "dense", 1)), captions, words(*sentences), 40, train=False)
    batch = data.batch(np.arange(4), torch.Generator())
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3)
    for _ in range(300):
        loss, parts = network.loss(batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if parts["found_of_batch"] == 1 and loss < 0.3:
            return
    raise AssertionError(f"loss {loss.item():.3f}, found {parts['found_of_batch'].item():.2f}")


def test_the_command_trains_the_same_weights_twice_and_its_checkpoint_reads(tmp_path: Path) -> None:
    file = tmp_path / "tiny.yaml"
    file.write_text(TINY)
    whole = train_from_file(file, {"out": str(tmp_path / "whole")})
    again = train_from_file(file, {"out": str(tmp_path / "again")})
    first, second = load_checkpoint(whole / "last"), load_checkpoint(again / "last")
    assert all(torch.equal(first.state[name], second.state[name]) for name in first.state)
    assert first.config["captions"] == "labels"
    reader = load_video_text(whole / "last")
    assert reader.dimension == 8
    vectors = reader.embed_texts(["up", "down"])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    frames = np.random.default_rng(0).integers(0, 256, (9, 40, 48, 3), dtype=np.uint8)
    np.testing.assert_allclose(np.linalg.norm(reader.embed_clip(frames)), 1, rtol=1e-5)
    assert reader.embed_texts([]).shape == (0, 8)
    with pytest.raises(InputError, match="RGB uint8"):
        reader.embed_clip(frames[0])


def test_a_flip_swaps_the_sides_in_the_caption() -> None:
    pixels = np.zeros((2, 4, 32, 32, 3), np.uint8)
    pixels[:, :, :, :16] = 255  # bright on the left
    videos = MemoryVideos(list(pixels), ["lifts", "lifts"], ["lifts"])
    text = "The right hand moves to the left."
    augment = AugmentationConfig(crop_area=(1.0, 1.0), flip=0.5, operations=0, erase=0)
    tokens = words(text)
    data = CaptionedDataset(VideoDataset(videos, ClipConfig(4, 32), augment), [(text,), (text,)], tokens, 40)
    seen = set()
    for seed in range(12):
        batch = data.batch(np.array([0, 1]), torch.Generator().manual_seed(seed))
        for video, row in zip(batch["video"].numpy(), batch["tokens"].tolist(), strict=True):
            flipped = bool(video[0, 16, 28].mean() > video[0, 16, 4].mean())
            said = tokens.decode(row).replace(" .", ".")
            expected = mirror_words(text) if flipped else text
            assert expected.lower() in said
            seen.add(flipped)
    assert seen == {False, True}


def test_several_captions_are_drawn_and_the_first_is_for_validation() -> None:
    videos = MemoryVideos([np.zeros((4, 32, 32, 3), np.uint8)], ["a"], ["a"])
    tokens = words("one", "two")
    for train, expected in ((True, {"one", "two"}), (False, {"one"})):
        data = CaptionedDataset(VideoDataset(videos, ClipConfig(4, 32)), [("one", "two")], tokens, 20, train)
        rows = [data.batch(np.array([0]), torch.Generator().manual_seed(seed))["tokens"][0] for seed in range(10)]
        assert {word for row in rows for word in ("one", "two") if word in tokens.decode(row.tolist())} == expected
    with pytest.raises(InputError, match="no caption"):
        CaptionedDataset(VideoDataset(videos, ClipConfig(4, 32)), [()], tokens, 20).batch(np.array([0]), torch.Generator())


def test_captions_are_labels_narrations_or_a_file(tmp_path: Path) -> None:
    videos = MemoryVideos([np.zeros((4, 32, 32, 3), np.uint8)], ["thank-you"], ["thank-you"], names=["first"])
    drawn = VideoSetConfig("rendered", options={"recordings": "asl_words"})
    assert captions_of("labels", "words", drawn, videos) == [("The person signs thank-you.",)]
    assert label_caption("up") == "up"
    file = tmp_path / "narrations.jsonl"
    file.write_text('{"source": "first", "text": "The left hand stays still."}\n{"source": "first", "text": "It moves."}\n')
    plain = VideoSetConfig("class_folders", root=str(tmp_path))
    assert captions_of(str(file), "mine", plain, videos) == [("The left hand stays still.", "It moves.")]
    with pytest.raises(InputError, match="palmist narrate"):
        captions_of("narrations", "mine", plain, videos)
    file.write_text('{"source": "other", "text": "It moves."}\n')
    with pytest.raises(InputError, match="first"):
        captions_of(str(file), "mine", plain, videos)
    file.write_text("no json\n")
    with pytest.raises(InputError, match="line 1"):
        captions_of(str(file), "mine", plain, videos)
    with pytest.raises(InputError, match="labels"):
        captions_of("nothing", "mine", plain, videos)

"""EgoVideo learns captions by heart; the common command trains it; flips swap the sides in a caption."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from palmist.checkpoint import load_checkpoint
from palmist.errors import InputError
from palmist.evaluation.checkpoints import evaluate_checkpoint
from palmist.evaluation.video_text import recognise_by_sentences
from palmist.evaluation.videos import TrackTest
from palmist.inference.video_text import load_video_text
from palmist.inference.zero_shot import class_vectors
from palmist.models.egovideo import EgoVideo, EgoVideoConfig
from palmist.perception.video_writer import write_video
from palmist.skeleton import mirror_words
from palmist.tasks.videos import VideoSetConfig
from palmist.text.byte_pairs import BytePairs, learn_merges
from palmist.train import train_from_file
from palmist.video_sets import VIDEO_SETS, DirectionsConfig, DirectionVideos, MemoryVideos, StoredVideos, VideoEntry
from palmist.video_sets.augmentation import AugmentationConfig
from palmist.video_sets.dataset import ClipConfig, VideoDataset
from palmist.video_text import TEXT_SETS, Piece, TextClip
from palmist.video_text.captions import captions_of, label_caption
from palmist.video_text.dataset import CaptionedDataset, boxes_in_clip
from palmist.video_text.text_videos import TextVideos

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
    clip = write_video(tmp_path / "clip.mp4", list(frames), rate=10.0)
    assert set(reader.labels) == {"moving right", "moving down", "moving left", "moving up"}
    found = reader.read(clip)
    assert found.labels == reader.labels
    assert found.probabilities.sum() == pytest.approx(1, abs=1e-5)
    assert reader.read(clip, ["it rises", "it falls"]).labels == ("it rises", "it falls")
    with pytest.raises(InputError, match="sentences"):
        reader.read(clip, ["alone"])
    with pytest.raises(InputError, match="RGB uint8"):
        reader.embed_clip(frames[0])


def test_labels_of_a_set_are_sentences_to_choose_between(tmp_path: Path) -> None:
    file = tmp_path / "tiny.yaml"
    file.write_text(TINY)
    run = train_from_file(file, {"out": str(tmp_path / "run")})
    reader = load_video_text(run / "last")
    videos = DirectionVideos(DirectionsConfig(videos=6, frames=4, size=32))
    found = recognise_by_sentences(reader, videos, "directions", VideoSetConfig())
    assert found.probabilities.shape == (6, 8)  # the model was trained with 4 of the sentences
    assert found.truth.tolist() == [0, 1, 2, 3, 4, 5]
    clips = reader.embed_clips([videos.open(number).read(np.arange(4)) for number in range(6)])
    cosines = clips @ class_vectors(reader, videos.labels).T
    expected = torch.from_numpy(cosines * float(reader.network.log_scale.exp().detach())).softmax(1).numpy()
    np.testing.assert_allclose(found.probabilities, expected, atol=1e-5)
    records = {record.name: record for record in evaluate_checkpoint(run / "last", "directions")}
    assert set(records) == {f"directions/all/egovideo/{name}" for name in ("accuracy", "class_mean_accuracy", "top5_accuracy")}
    assert all(record.n == 1000 for name, record in records.items() if "mean" not in name)
    with pytest.raises(InputError, match="'asl_words'; expected directions, rendered_asl_words, or one of epic_kitchens:FOLD"):
        evaluate_checkpoint(run / "last", "asl_words")
    with pytest.raises(InputError, match="are for trec alone; leave them out"):
        evaluate_checkpoint(run / "last", "directions", test=TrackTest(points=10))
    root = VIDEO_SETS["class_folders"].example(tmp_path / "videos")
    (record, *_) = evaluate_checkpoint(run / "last", f"class_folders:{root}")
    assert record.name == "class_folders/all/egovideo/accuracy"
    single = MemoryVideos([np.zeros((4, 32, 32, 3), np.uint8)], ["a"], ["a"])
    with pytest.raises(InputError, match="1 labels; expected two or more"):
        recognise_by_sentences(reader, single, "directions", VideoSetConfig())


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


def test_boxes_follow_a_clip_into_its_crop_and_its_mirror() -> None:
    """The left hand at pixels 2 to 5 of 8, enlarged twice; mirrored it is the right hand on the other side."""
    boxes, known = np.zeros((1, 2, 4)), np.array([[True, False]])
    boxes[0, 0] = [1.5, 0.5, 4.5, 2.5]
    matrix = np.array([[2.0, 0, 0.5], [0, 2.0, 0.5]])
    found, there = boxes_in_clip(boxes, known, matrix, 16, mirrored=False)
    np.testing.assert_allclose(found[0, 0], [4 / 16, 2 / 16, 10 / 16, 6 / 16])
    assert there.tolist() == [[True, False]]
    flip = np.array([[-1.0, 0, 15], [0, 1, 0], [0, 0, 1]]) @ np.vstack([matrix, [0, 0, 1]])
    found, there = boxes_in_clip(boxes, known, flip[:2], 16, mirrored=True)
    np.testing.assert_allclose(found[0, 1], [6 / 16, 2 / 16, 12 / 16, 6 / 16])
    assert there.tolist() == [[False, True]]
    outside = np.array([[2.0, 0, 100], [0, 2.0, 0]])
    assert not boxes_in_clip(boxes, known, outside, 16, mirrored=False)[1].any()


def test_drawn_words_train_with_ego_nce_and_hand_boxes(tmp_path: Path) -> None:
    drawn = "rendered: {limit: 6, options: {recordings: asl_words, subjects: [S1], settings: {size: 40, framing: hands}}}"
    file = tmp_path / "tiny.yaml"
    text = TINY.replace("directions: {options: {videos: 16, frames: 4, size: 32, directions: 4}}", drawn)
    text = text.replace("captions: labels", "captions: narrations").replace("batch_size: 8", "batch_size: 4")
    file.write_text(
        text.replace("embedding: 8}", "embedding: 8, loss: ego_nce, hand_boxes: 1.0}").replace("dense, stride: 1", "segments")
    )
    run = train_from_file(file, {"out": str(tmp_path / "run"), "steps": 2})
    config = load_checkpoint(run / "last").config
    assert config["egovideo"]["loss"] == "ego_nce"
    assert len(config["labels"]) == 16
    with pytest.raises(InputError, match="hand_boxes"):
        train_from_file(write_tiny_config(tmp_path), {"out": str(tmp_path / "no"), "model.hand_boxes": 1.0})


def write_tiny_config(folder: Path) -> Path:
    (folder / "plain.yaml").write_text(TINY)
    return folder / "plain.yaml"


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


TESTED = [("epic_kitchens", "retrieval"), ("epic_kitchens", "classes"), ("egtea", "all"), ("egomcq", "all")]


@pytest.mark.parametrize(("kind", "split"), TESTED)
def test_a_checkpoint_runs_the_tests_without_training(
    kind: str, split: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On made-up sets of the exact layout, whose videos are read; what a number must be is tested with the protocols."""
    file = tmp_path / "tiny.yaml"
    file.write_text(TINY)
    run = train_from_file(file, {"out": str(tmp_path / "run"), "steps": 1})
    root = TEXT_SETS[kind].example(tmp_path / kind)
    # The example's videos are few and shorter than its spans: one video stands for all of them.
    frames = [np.full((32, 48, 3), second, np.uint8) for second in range(60)]
    video = write_video(tmp_path / "any.mp4", frames, rate=1.0)
    monkeypatch.setattr(TextClip, "pieces", lambda clip: (Piece(video, clip.start % 50, clip.start % 50 + 2),))
    records = evaluate_checkpoint(run / "last", f"{kind}:{root}", split)
    assert records
    assert all("/egovideo/" in record.name and 0 <= record.value <= 1 for record in records)
    with pytest.raises(InputError, match="expected"):
        evaluate_checkpoint(run / "last", f"{kind}:{root}", "nothing")
    with pytest.raises(InputError, match="FOLDER"):
        evaluate_checkpoint(run / "last", "asl_words")


def test_clips_with_texts_are_read_from_their_files(tmp_path: Path) -> None:
    """A span over two pieces of 15 s, and a video that is not there."""
    for number in range(2):
        frames = [np.full((32, 48, 3), 100 * number + second * 5, np.uint8) for second in range(15)]
        write_video(tmp_path / "v" / f"{number:04d}.mp4", frames, rate=1.0)
    clip = TextClip("v", tmp_path / "v", 13.0, 16.0, ("it rises", "up"), "first", chunked=True)
    videos = TextVideos([clip, TextClip("w", None, 0.0, 1.0, ("gone",), "second")])
    found = videos.open(0)
    means = found.read(np.arange(found.frames)).mean((1, 2, 3))
    np.testing.assert_allclose(means, [65, 70, 100, 105], atol=4)
    assert videos.captions()[0] == ("it rises", "up")
    assert list(videos.names) == ["first", "second"]
    with pytest.raises(InputError, match="not there"):
        videos.open(1)


def test_a_file_that_is_cut_off_is_read_with_a_warning(tmp_path: Path) -> None:
    """An .mp4 whose table of frames stands first plays as far as it goes: what is missing is said, once it is much."""
    clip = Path(__file__).resolve().parents[2] / "data/videos/mp_hand_test.mp4"
    content = clip.read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(content[: len(content) // 2])
    with pytest.warns(UserWarning, match="is cut off"):
        StoredVideos([VideoEntry(cut, None, None, "cut")], ()).open(0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        StoredVideos([VideoEntry(clip, None, None, "whole")], ()).open(0)

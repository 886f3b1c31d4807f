"""An index of clips of tiny videos, with a stand-in for the model that knows the number of every frame."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from conftest import tiny_recording
from fake_embedder import NumberEmbedder
from palmist.cli import app
from palmist.errors import InputError, MissingExtraError
from palmist.perception.video import Video
from palmist.render import RenderSettings, render_folder
from palmist.search import ClipIndex, IndexedClip, IndexWriter, index_videos, search_like, search_text
from palmist.search import index as index_module
from palmist.search.clips import clip_frames, cut_video, find_videos, video_digest
from palmist.store import write_store
from tiny_video import write_tiny

faiss = pytest.importorskip("faiss")

CUTTING = {"clip_seconds": 0.4, "frames": 32}


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Frames 0 to 39 and 0 to 89, at 25 per second; and a file that is no video."""
    folder = tmp_path_factory.mktemp("videos")
    (folder / "inner").mkdir()
    write_tiny(folder / "short.mp4", 40)
    write_tiny(folder / "inner" / "long.mp4", 90)
    (folder / "notes.txt").write_text("nothing", encoding="utf-8")
    return folder


def a_clip(number: int, digest: str = "a") -> IndexedClip:
    return IndexedClip(f"/{digest}.mp4", digest, number, 100, number * 1.0, number + 1.0, digest)


# --------------------------------------------------------------------------------------------------------------------
# Cutting


def test_cutting_by_hand(videos: Path) -> None:
    video = Video(videos / "short.mp4")  # 1.6 seconds
    assert [(round(s.start, 3), round(s.end, 3)) for s in cut_video(video, 0.4)] == [
        (0, 0.4),
        (0.4, 0.8),
        (0.8, 1.2),
        (1.2, 1.6),
    ]
    assert [(round(s.start, 3), round(s.end, 3)) for s in cut_video(video, 1.0)] == [(0, 0.8), (0.8, 1.6)]
    assert len(cut_video(video, 60)) == 1
    assert len(cut_video(video, 1e-6)) == 40  # never more clips than frames
    for seconds in (0.0, -1.0, float("nan")):
        with pytest.raises(InputError, match="expected a number above 0"):
            cut_video(video, seconds)


def test_every_frame_is_in_one_clip(videos: Path) -> None:
    video = Video(videos / "inner" / "long.mp4")
    for seconds in (0.4, 0.7, 3.6):
        spans = cut_video(video, seconds)
        assert all(0.66 * seconds <= span.end - span.start <= 1.5 * seconds for span in spans)
        assert sum(len(clip_frames(video, span, frames=1000)) for span in spans) == 90


def test_frames_are_spread_over_the_clip(videos: Path) -> None:
    video = Video(videos / "inner" / "long.mp4")
    spans = cut_video(video, 1.2)  # 30 frames each
    picked = clip_frames(video, spans[1], frames=3)
    wanted = [video.frame_at(number / 25).image for number in (35, 45, 55)]  # the middles of 30-39, 40-49, 50-59
    np.testing.assert_array_equal(picked, wanted)


def test_the_digest_knows_content_not_names(videos: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.mp4"
    data = (videos / "short.mp4").read_bytes()
    copy.write_bytes(data)
    assert video_digest(copy) == video_digest(videos / "short.mp4")
    copy.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert video_digest(copy) != video_digest(videos / "short.mp4")


# --------------------------------------------------------------------------------------------------------------------
# Building and asking


def test_a_sentence_finds_its_clip(videos: Path, tmp_path: Path) -> None:
    model = NumberEmbedder()
    done = index_videos(videos, tmp_path / "index", model, 0.4)
    assert (done.added, done.known, done.left_out) == (4 + 9, 0, ())
    index = ClipIndex.open(tmp_path / "index")
    assert len(index) == 13
    assert {clip.name for clip in index.clips} == {"short.mp4", "inner/long.mp4"}
    hits = search_text(index, model, "frame 64.5", top=3)
    assert [hit.clip.number for hit in hits] == [6, 7, 5] or [hit.clip.number for hit in hits] == [6, 5, 7]
    assert hits[0].score == pytest.approx(1, abs=1e-5)
    assert hits[1].score == pytest.approx(np.cos(0.1), abs=1e-5)  # ten frames away
    assert (hits[0].clip.start, hits[0].clip.end) == (2.4, 2.8)
    assert hits[0].clip.video == str((videos / "inner" / "long.mp4").resolve())


def test_search_equals_comparing_with_every_clip() -> None:
    generator = np.random.default_rng(0)
    vectors = generator.normal(size=(50, 6)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    parts = [(range(20), 1), (range(20, 50), 2)]
    segments = [index_module._Segment(n, tuple(a_clip(i) for i in rows), vectors[list(rows)]) for rows, n in parts]
    index = ClipIndex(Path("x"), {"dimension": 6, "model": "m"}, segments)
    queries = vectors[[3, 30]] + 0.1
    for query, hits in zip(queries, index.search(queries, 7), strict=True):
        scores = vectors @ query
        best = np.argsort(-scores)[:7]
        assert [hit.clip.number for hit in hits] == best.tolist()
        np.testing.assert_allclose([hit.score for hit in hits], scores[best], atol=1e-5)
    assert len(index.search(queries, 999)[0]) == 50
    with pytest.raises(InputError, match=r"shape \(2, 5\), expected \(N, 6\)"):
        index.search(queries[:, :5])
    with pytest.raises(InputError, match="at least 1"):
        index.search(queries, 0)


def test_a_video_finds_what_is_like_it(videos: Path, tmp_path: Path) -> None:
    model = NumberEmbedder()
    index_videos(videos / "inner", tmp_path / "index", model, 0.4)
    hits = search_like(ClipIndex.open(tmp_path / "index"), model, videos / "short.mp4", top=9)
    assert {hit.clip.number for hit in hits[:4]} == {0, 1, 2, 3}  # frames 0 to 39 are in both
    assert all(hit.score == pytest.approx(1, abs=1e-5) for hit in hits[:4])
    assert [hit.clip.number for hit in hits[4:]] == [4, 5, 6, 7, 8]  # then by distance to the closest of the four
    assert hits[4].score == pytest.approx(np.cos(0.1), abs=1e-5)


def test_clips_that_are_in_are_not_embedded_again(videos: Path, tmp_path: Path) -> None:
    model, out = NumberEmbedder(), tmp_path / "index"
    assert index_videos(videos / "short.mp4", out, model, 0.4).added == 4
    done = index_videos(videos, out, model, 0.4)  # the folder has the same file and another
    assert (done.added, done.known) == (9, 4)
    copy = tmp_path / "copy.mp4"
    copy.write_bytes((videos / "short.mp4").read_bytes())
    done = index_videos(copy, out, model, 0.4)
    assert (done.added, done.known) == (0, 4)
    assert model.clips == 13
    assert len(ClipIndex.open(out)) == 13


def test_a_video_that_was_half_done_is_completed(videos: Path, tmp_path: Path) -> None:
    class Stops(NumberEmbedder):
        def embed_clip(self, frames: np.ndarray) -> np.ndarray:
            if self.clips == 3:
                raise KeyboardInterrupt
            return super().embed_clip(frames)

    out = tmp_path / "index"
    with pytest.raises(KeyboardInterrupt):
        index_videos(videos / "inner", out, Stops(), 0.4)
    assert len(ClipIndex.open(out)) == 3
    model = NumberEmbedder()
    done = index_videos(videos / "inner", out, model, 0.4)
    assert (done.added, done.known, model.clips) == (6, 3, 6)
    assert sorted(clip.number for clip in ClipIndex.open(out).clips) == list(range(9))


def test_another_model_is_refused(videos: Path, tmp_path: Path) -> None:
    out = tmp_path / "index"
    index_videos(videos / "short.mp4", out, NumberEmbedder(), 0.4)
    other = NumberEmbedder("letters", "ffff0000")
    with pytest.raises(InputError, match=r"made with the model numbers \(weights 0123abcd\), not letters \(weights ffff0000\)"):
        search_text(ClipIndex.open(out), other, "frame 3")
    with pytest.raises(InputError, match="not letters"):
        search_like(ClipIndex.open(out), other, videos / "short.mp4")
    with pytest.raises(InputError, match="not letters"):
        index_videos(videos / "inner", out, other, 0.4)
    with pytest.raises(InputError, match=r"made with clip seconds 0.4, frames 32, not clip seconds 0.5"):
        index_videos(videos / "inner", out, NumberEmbedder(), 0.5)
    assert other.clips == 0
    renamed = NumberEmbedder("moved/folder")  # the same weights by another name
    assert search_text(ClipIndex.open(out), renamed, "frame 3")


def test_queries_that_say_nothing(videos: Path, tmp_path: Path) -> None:
    index_videos(videos / "short.mp4", tmp_path / "index", NumberEmbedder(), 0.4)
    with pytest.raises(InputError, match="expected a sentence"):
        search_text(ClipIndex.open(tmp_path / "index"), NumberEmbedder(), "  ")


def test_broken_videos_are_left_out(videos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    (folder / "good.mp4").write_bytes((videos / "short.mp4").read_bytes())
    (folder / "bad.mp4").write_bytes(b"no video at all")
    done = index_videos(folder, tmp_path / "index", NumberEmbedder(), 0.4)
    assert done.added == 4
    assert [Path(video).name for video, _ in done.left_out] == ["bad.mp4"]
    with pytest.raises(InputError, match=r"bad\.mp4"):
        index_videos(folder / "bad.mp4", tmp_path / "alone", NumberEmbedder(), 0.4)
    assert not (tmp_path / "alone").exists()
    (folder / "good.mp4").write_bytes(b"none either")
    with pytest.raises(InputError, match="none of the 2 videos"):
        index_videos(folder, tmp_path / "index2", NumberEmbedder(), 0.4)


@pytest.mark.parametrize("vector", [np.zeros(4), np.ones(4), np.full(4, np.nan), np.eye(5)[0]])
def test_vectors_that_are_none_are_refused(vector: np.ndarray, tmp_path: Path) -> None:
    with IndexWriter(tmp_path / "index", NumberEmbedder(), CUTTING) as writer:
        with pytest.raises(InputError, match=r"expected \(4,\) and 1"):
            writer.add(a_clip(0), vector)
        writer.add(a_clip(0), np.eye(4)[0])
        with pytest.raises(InputError, match="already"):
            writer.add(a_clip(0), np.eye(4)[0])
    assert len(ClipIndex.open(tmp_path / "index")) == 1


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    with (
        IndexWriter(tmp_path / "index", NumberEmbedder(), CUTTING),
        pytest.raises(InputError, match="being written by another process"),
    ):
        IndexWriter(tmp_path / "index", NumberEmbedder(), CUTTING)
    IndexWriter(tmp_path / "index", NumberEmbedder(), CUTTING).__exit__()


# --------------------------------------------------------------------------------------------------------------------
# Sources


def test_recordings_are_drawn_first(tmp_path: Path) -> None:
    recordings = [tiny_recording(12, seed=seed, name=f"take {seed}") for seed in range(2)]
    store = tmp_path / "store"
    write_store(store, recordings)
    model = NumberEmbedder()
    done = index_videos(store, tmp_path / "index", model, 4.0)
    assert (done.added, model.clips) == (2, 2)
    index = ClipIndex.open(tmp_path / "index")
    assert {clip.name for clip in index.clips} == {"take 0", "take 1"}
    assert all(Path(clip.video).is_file() for clip in index.clips)
    again = index_videos(store, tmp_path / "index", model, 4.0)
    assert (again.added, again.known, model.clips) == (0, 2, 2)


def test_rendered_folders_keep_names_and_labels(tmp_path: Path) -> None:
    recording = tiny_recording(12, name="a/b")
    render_folder([recording], tmp_path / "rendered", RenderSettings(size=64))
    (found,) = find_videos(tmp_path / "rendered", tmp_path / "drawn")
    assert (found.name, found.path.suffix) == ("a/b", ".mp4")
    assert not (tmp_path / "drawn").exists()


def test_sources_that_are_none(videos: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no video, folder, store or recording"):
        find_videos(tmp_path / "none", tmp_path / "drawn")
    with pytest.raises(InputError, match="no video, folder, store or recording"):
        find_videos(videos / "notes.txt", tmp_path / "drawn")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no video"):
        find_videos(tmp_path / "empty", tmp_path / "drawn")


# --------------------------------------------------------------------------------------------------------------------
# On disk


def test_small_segments_are_put_together(tmp_path: Path) -> None:
    model, out = NumberEmbedder(), tmp_path / "index"
    for number in range(20):
        with IndexWriter(out, model, CUTTING) as writer:
            writer.add(a_clip(number), model.vector(number))
    files = sorted(file.name for file in (out / "segments").glob("*.json"))
    assert len(files) < index_module._MANY
    assert len(list((out / "segments").iterdir())) == 2 * len(files)
    index = ClipIndex.open(out)
    assert sorted(clip.number for clip in index.clips) == list(range(20))
    for number in range(20):  # every vector is still its clip's
        assert index.search(model.vector(number)[None], 1)[0][0].clip.number == number


def test_wrong_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is no index of clips.*palmist index"):
        ClipIndex.open(tmp_path)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").write_text("dear", encoding="utf-8")
    with pytest.raises(InputError, match="expected a new or empty folder"):
        IndexWriter(tmp_path / "other", NumberEmbedder(), CUTTING)
    with pytest.raises(InputError, match="is a file"):
        IndexWriter(tmp_path / "other" / "letter.txt", NumberEmbedder(), CUTTING)
    IndexWriter(tmp_path / "index", NumberEmbedder(), CUTTING).__exit__()
    head = json.loads((tmp_path / "index" / "index.json").read_text(encoding="utf-8"))
    for change, message in (
        ({"version": 99}, "of version 99; this Palmist reads version 1"),
        ({"format": "else"}, "does not name the format"),
        ({"dimension": "4"}, "damaged at 'dimension'"),
        ({"dimension": 0}, "damaged at 'dimension'"),
    ):
        (tmp_path / "index" / "index.json").write_text(json.dumps({**head, **change}), encoding="utf-8")
        with pytest.raises(InputError, match=message):
            ClipIndex.open(tmp_path / "index")


def test_faiss_is_asked_for_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(MissingExtraError, match=r"palmist\[search\]"):
        IndexWriter(tmp_path / "index", NumberEmbedder(), CUTTING)
    assert not (tmp_path / "index").exists()


# --------------------------------------------------------------------------------------------------------------------
# The command line


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> NumberEmbedder:
    import palmist.inference.video_text as module

    model = NumberEmbedder()
    monkeypatch.setattr(module, "load_video_text", lambda name: replace_name(model, name))
    return model


def replace_name(model: NumberEmbedder, name: str) -> NumberEmbedder:
    model.name = name
    return model


def test_the_commands(videos: Path, tmp_path: Path, reader: NumberEmbedder) -> None:
    run, index = CliRunner(), str(tmp_path / "index")
    made = run.invoke(app, ["index", str(videos), "--out", index, "--model", "numbers", "--clip-seconds", "0.4", "--json", "-"])
    assert made.exit_code == 0, made.stderr
    facts = json.loads(made.stdout)
    assert (facts["format"], facts["clips"], facts["added"], facts["known"], facts["model"]) == (
        "palmist-index", 13, 13, 0, "numbers",
    )  # fmt: skip
    found = run.invoke(app, ["search", index, "frame 64", "--top", "2", "--json", str(tmp_path / "hits.json")])
    assert found.exit_code == 0, found.stderr
    assert "inner/long.mp4" in found.stdout
    facts = json.loads((tmp_path / "hits.json").read_text(encoding="utf-8"))
    assert facts["format"] == "palmist-search"
    assert [hit["rank"] for hit in facts["hits"]] == [1, 2]
    assert (facts["hits"][0]["start"], facts["hits"][0]["end"]) == (2.4, 2.8)
    assert reader.name == "numbers"  # the name in the index, as none was given
    like = run.invoke(app, ["search", index, "--like", str(videos / "short.mp4"), "--json", "-"])
    assert json.loads(like.stdout)["hits"][0]["score"] == pytest.approx(1, abs=1e-5)


def test_the_commands_refuse_in_one_sentence(videos: Path, tmp_path: Path, reader: NumberEmbedder) -> None:
    run, index = CliRunner(), str(tmp_path / "index")
    for arguments, message in (
        (["search", index, "x"], "is no index of clips"),
        (["search", index], "found neither of a sentence and --like"),
        (["search", index, "x", "--like", "y.mp4"], "found both"),
        (["index", str(tmp_path / "none"), "--out", index], "no video, folder, store or recording"),
    ):
        refused = run.invoke(app, arguments)
        assert refused.exit_code == 2
        assert message in " ".join(refused.stderr.split())
    assert not Path(index).exists()  # nothing was made for a source that is none


def test_a_real_network_from_a_folder(videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An untrained EgoVideo through the commands: its vectors are those of the index, and its folder is found again."""
    import torch

    from palmist.checkpoint import save_checkpoint
    from palmist.inference.video_text import load_video_text
    from palmist.models.egovideo import EgoVideo, EgoVideoConfig
    from palmist.text.byte_pairs import BytePairs

    pairs = BytePairs([])
    config = EgoVideoConfig(
        size=32, patch=16, width=16, layers=1, heads=2, sparse_frames=1, dense_frames=2, text_width=16, text_layers=1,
        text_heads=2, text_length=16, vocabulary=pairs.size, embedding=8,
    )  # fmt: skip
    torch.manual_seed(0)
    facts = {
        "model": "egovideo", "egovideo": asdict(config), "clip": {"frames": 2, "size": 32}, "tokenizer": pairs.to_json(),
    }  # fmt: skip
    save_checkpoint(tmp_path / "model", EgoVideo(config).state_dict(), facts)
    run = CliRunner()
    monkeypatch.chdir(tmp_path)
    made = run.invoke(app, ["index", str(videos / "short.mp4"), "--out", "index", "-m", "model", "--clip-seconds", "0.4"])
    assert made.exit_code == 0, made.stderr
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    found = run.invoke(app, ["search", "../index", "the hand moves up", "--json", "-"])
    assert found.exit_code == 0, found.stderr
    reader = load_video_text(tmp_path / "model")
    text = reader.embed_texts(["the hand moves up"])[0]
    video = Video(videos / "short.mp4")
    scores = [float(reader.embed_clip(clip_frames(video, span)) @ text) for span in cut_video(video, 0.4)]
    hits = json.loads(found.stdout)["hits"]
    assert [hit["score"] for hit in hits] == pytest.approx(sorted(scores, reverse=True), abs=1e-5)
    assert hits[0]["start"] == pytest.approx(0.4 * int(np.argmax(scores)))

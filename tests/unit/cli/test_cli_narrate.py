"""palmist narrate as a user types it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import cv2
import pytest
from typer.testing import CliRunner

from chat_server import chat_server, narration
from narrated_clips import write_clip
from palmist.cli import app

runner = CliRunner()


def call(*words: str | Path, **environment: str):
    return runner.invoke(app, ["narrate", *(str(word) for word in words)], env={"COLUMNS": "200", **environment})


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("PALMIST_CACHE", str(tmp_path / "cache"))
    for name in ("PALMIST_LLM_URL", "PALMIST_LLM_MODEL", "PALMIST_LLM_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    write_clip(folder, "a", 25)
    write_clip(folder, "b", 25, (-2, 0))
    return folder


def replayed(clips: Path) -> list[str | Path]:
    return ["--detector", "detections", "--detections", clips / "detections"]


def test_a_video_without_files(clips: Path, tmp_path: Path) -> None:
    result = call(clips / "a.mp4", *replayed(clips), "--clip-seconds", "0.5")
    assert result.exit_code == 0, result.output
    assert "The right hand moves up" in result.stdout
    assert "0.0 to 0.5" in result.stdout
    assert "2 clips narrated" in result.stdout
    assert not (tmp_path / "out").exists()


def test_a_folder_with_files_pictures_and_json_and_again(clips: Path, tmp_path: Path) -> None:
    out, to = tmp_path / "out", tmp_path / "narrate.json"
    words = [clips, *replayed(clips), "--out", out, "--picture", "--json", to]
    result = call(*words)
    assert result.exit_code == 0, result.output
    with (out / "narrations.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["video_id"] for row in rows] == ["a", "b"]
    facts = json.loads(to.read_text())
    assert (facts["format"], facts["version"], facts["narrated"], facts["failures"]) == ("palmist-narrate", 1, 2, [])
    assert [clip["text"] for clip in facts["clips"]] == [row["text"] for row in rows]
    assert facts["clips"][0]["facts"]["hands"]["right"]["pieces"][0]["direction"] == "up"
    pictures = sorted((out / "pictures").glob("*.png"))
    assert [picture.name for picture in pictures] == ["a_0.000_1.000.png", "b_0.000_1.000.png"]
    assert cv2.imread(str(pictures[0])) is not None
    again = call(*words)
    assert again.exit_code == 0
    assert "0 clips narrated, 2 there before" in again.stdout
    assert json.loads(to.read_text())["clips"] == facts["clips"]


def test_its_csv_is_a_source(clips: Path, tmp_path: Path) -> None:
    assert call(clips, *replayed(clips), "--out", tmp_path / "one").exit_code == 0
    result = call(tmp_path / "one" / "narrations.csv", "--root", clips, *replayed(clips), "--out", tmp_path / "two")
    assert result.exit_code == 0, result.output
    with (tmp_path / "one" / "narrations.csv").open(newline="") as file:
        first = list(csv.DictReader(file))
    with (tmp_path / "two" / "narrations.csv").open(newline="") as file:
        second = list(csv.DictReader(file))
    for name in ("dataset", "video_id", "start_second", "end_second", "uid"):
        assert [row[name] for row in first] == [row[name] for row in second]


def test_a_failing_video_is_said_and_does_not_end_the_run(clips: Path, tmp_path: Path) -> None:
    folder = tmp_path / "videos"
    write_clip(folder, "a", 10)
    (folder / "broken.mp4").write_bytes(b"nothing")
    result = call(folder, *replayed(folder), "--json", "-")
    assert result.exit_code == 0, result.output
    facts = json.loads(result.stdout)
    assert len(facts["clips"]) == 1
    assert len(facts["failures"]) == 1
    assert "failed: broken: " in result.stderr
    assert "1 clip narrated, 1 failed" in result.stderr


def test_nothing_at_all_is_an_error(clips: Path, tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "x.mp4").write_bytes(b"nothing")
    result = call(tmp_path / "videos", *replayed(clips), "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "nothing could be narrated" in result.stderr


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["webcam:0"], "has no end"), (["none.mp4"], "none.mp4"), (["CLIPS", "--clip-seconds", "0"], "--clip-seconds is 0"),
        (["CLIPS", "--detector", "eyes"], "no detector 'eyes'"), (["CLIPS", "--picture"], "--picture needs --out"),
        (["CLIPS", "--detector", "detections"], "needs a file of detections"), (["CLIPS", "--llm-model", "m"], "--llm URL"),
        (["CLIPS", "--detector", "network"], "weights"), (["CLIPS", "--llm", "here", "--llm-model", "m"], "is no address"),
        (["CLIPS", "--llm", "http://127.0.0.1:9/v1"], "--llm-model"), (["CLIPS", "--root", "."], "leave it out"),
    ],
)  # fmt: skip
def test_wrong_options_get_one_sentence(words: list[str], sentence: str, clips: Path) -> None:
    result = call(*[str(clips) if word == "CLIPS" else word for word in words])
    assert result.exit_code == 2, result.output
    assert sentence in " ".join(result.stderr.split())
    assert "Traceback" not in result.output


def test_other_settings_in_the_same_folder(clips: Path, tmp_path: Path) -> None:
    assert call(clips / "a.mp4", *replayed(clips), "--out", tmp_path).exit_code == 0
    result = call(clips / "a.mp4", *replayed(clips), "--out", tmp_path, "--clip-seconds", "0.5")
    assert result.exit_code == 2
    assert "begun with clip_seconds 4.0 instead of 0.5" in " ".join(result.stderr.split())


def test_with_a_language_model_and_from_its_cache(clips: Path, tmp_path: Path) -> None:
    text = "The right hand rises while the left hand stays still."
    with chat_server(narration(text)) as server:
        environment = {"PALMIST_LLM_URL": server.url, "PALMIST_LLM_MODEL": "tiny", "PALMIST_LLM_KEY": "sk-secret-1"}
        first = call(clips / "a.mp4", *replayed(clips), "--out", tmp_path / "one", **environment)
        assert first.exit_code == 0, first.output
        assert text in first.stdout
        assert "words by: llm 1" in first.stdout
        second = call(clips / "a.mp4", *replayed(clips), "--out", tmp_path / "two", **environment)
        assert "words by: cache 1" in second.stdout
        assert len(server.asked) == 1
        plain = call(clips / "a.mp4", *replayed(clips), "--no-llm", **environment)
        assert text not in plain.stdout
    for file in tmp_path.rglob("*"):
        assert file.is_dir() or b"sk-secret-1" not in file.read_bytes()


def test_a_false_rewrite_is_rejected_and_said(clips: Path) -> None:
    with chat_server(narration("The left hand rises while the right hand stays still.")) as server:
        result = call(clips / "a.mp4", *replayed(clips), "--llm", server.url, "--llm-model", "tiny")
    assert result.exit_code == 0
    assert "The right hand moves up" in result.stdout
    assert "words by: rejected 1" in result.stdout
    assert "it adds left hand: up" in " ".join(result.stderr.split())


def test_damaged_lines_are_said_and_done_again(clips: Path, tmp_path: Path) -> None:
    words = [clips, *replayed(clips), "--out", tmp_path]
    call(*words)
    lines = (tmp_path / "narrations.jsonl").read_bytes()
    (tmp_path / "narrations.jsonl").write_bytes(lines[:-40])
    result = call(*words)
    assert "dropped 1 damaged line" in result.stderr
    assert "1 clip narrated, 1 there before" in result.stdout
    assert (tmp_path / "narrations.jsonl").read_bytes() == lines

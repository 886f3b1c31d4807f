"""Every command as a user types it: exit codes, one sentence per error, JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from palmist.cli import app
from palmist.demo_data import demo_recordings
from palmist.recording_file import write_recording

runner = CliRunner()


def call(*words: str | Path):
    return runner.invoke(app, [str(word) for word in words], env={"COLUMNS": "160"})


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    return write_recording(tmp_path / "coffee.npz", demo_recordings()[0])


COMMANDS = [
    "demo", "read", "check", "prepare", "train", "evaluate", "benchmark", "models", "datasets", "fetch", "render", "index",
    "search", "narrate",
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_of_the_architecture_has_help(command: str) -> None:
    assert call(command, "--help").exit_code == 0


def test_import_is_quick_and_without_torch() -> None:
    code = "import sys, palmist, palmist.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_demo_writes_one_page_and_json(tmp_path: Path) -> None:
    result = call("demo", "--out", tmp_path, "--json", tmp_path / "demo.json")
    assert result.exit_code == 0, result.output
    page = (tmp_path / "palmist_demo.html").read_text(encoding="utf-8")
    assert page.count("<canvas") or "canvas" in page
    readings = json.loads((tmp_path / "demo.json").read_text())["readings"]
    assert len(readings) == 7
    assert readings[-1]["name"] == "hand_video_pair"
    assert (tmp_path / "palmist_demo_video.mp4").stat().st_size > 50_000
    assert all(len(reading["futures"]["joints"]) == 20 for reading in readings)


def test_read_a_file_to_page_json_and_recording(recording: Path, tmp_path: Path) -> None:
    out, to = tmp_path / "out", tmp_path / "reading.json"
    result = call("read", recording, "--futures", "3", "--horizon", "0.5", "--out", out, "--json", to)
    assert result.exit_code == 0, result.output
    assert "coffee" in result.output
    assert (out / "palmist.html").stat().st_size > 100_000
    assert list((out / "recordings").glob("*.npz"))
    assert json.loads(to.read_text())["readings"][0]["label"] == "coffee"


def test_read_without_futures_writes_a_page_too(recording: Path, tmp_path: Path) -> None:
    result = call("read", recording, "--futures", "0", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "out" / "palmist.html").stat().st_size > 100_000


def test_prepare_the_example_of_h2o_and_check_a_store(tmp_path: Path) -> None:
    store = tmp_path / "store"
    prepared = call("prepare", "leap_recordings", "--root", "data/leap_recordings", "--out", store)
    assert prepared.exit_code == 0, prepared.output
    example = call("prepare", "h2o", "--example", "--root", tmp_path / "h2o", "--out", tmp_path / "h2o_store")
    assert example.exit_code == 0, example.output
    assert call("read", tmp_path / "h2o_store", "--futures", "2").exit_code == 0
    assert call("prepare", "h2o", "--example", "--out", tmp_path / "x").exit_code == 2
    checked = call("check", store, "--json", tmp_path / "report.json")
    assert checked.exit_code == 0, checked.output
    assert json.loads((tmp_path / "report.json").read_text())


def test_evaluate_prints_records(tmp_path: Path) -> None:
    from palmist.store import write_store

    write_store(tmp_path / "store", [r for r in demo_recordings() if r.space == "image"])
    result = call("evaluate", "ghtt-small", "--data", tmp_path / "store", "--split", "all", "--json", tmp_path / "r.json")
    assert result.exit_code == 0, result.output
    names = {record["name"] for record in json.loads((tmp_path / "r.json").read_text())}
    assert {"asl_words/all/ghtt/accuracy", "asl_words/all/ghtt/refine_error_ratio", "asl_words/all/ghtt/ade"} <= names


def bad_files(folder: Path) -> dict[str, Path]:
    good = write_recording(folder / "good.npz", demo_recordings()[0]).read_bytes()
    joints, time = np.array(demo_recordings()[0].joints), np.array(demo_recordings()[0].time)

    def save(name: str, **arrays: np.ndarray) -> Path:
        np.savez(folder / name, **arrays)
        return folder / name

    made = {
        "empty": folder / "empty.npz",
        "truncated": folder / "truncated.npz",
        "text": folder / "text.npz",
        "nan": save("nan.npz", joints=np.full_like(joints, np.nan), time=time),
        "joints": save("joints.npz", joints=np.zeros((20, 2, 22, 3)), time=time),
        "length": save("length.npz", joints=joints[:0], time=time[:0]),
        "time": save("time.npz", joints=joints, time=time[::-1].copy()),
        "pickle": save("pickle.npz", joints=np.array([{"a": 1}], dtype=object), time=time),
        "missing": folder / "missing.npz",
    }
    made["empty"].write_bytes(b"")
    made["truncated"].write_bytes(good[: len(good) // 2])
    made["text"].write_text("not a recording")
    return made


@pytest.mark.parametrize("kind", ["empty", "truncated", "text", "nan", "joints", "length", "time", "pickle", "missing"])
def test_a_bad_file_is_one_sentence_and_exit_code_2(kind: str, tmp_path: Path) -> None:
    result = call("read", bad_files(tmp_path)[kind])
    assert result.exit_code == 2, result.output
    lines = [line for line in result.stderr.splitlines() if line.strip()]
    assert len(lines) <= 2  # one sentence, folded by the terminal at the most
    assert "Traceback" not in result.output + result.stderr


def test_a_checkpoint_with_a_missing_or_wrong_tensor_names_it(recording: Path, tmp_path: Path) -> None:
    from palmist.checkpoint import load_checkpoint, save_checkpoint
    from palmist.model_zoo import checkpoint_path

    checkpoint = load_checkpoint(checkpoint_path("ghtt-small"))
    state = dict(checkpoint.state)
    name = next(key for key in state if key.endswith("weight") and state[key].ndim == 2)
    without = {key: value for key, value in state.items() if key != name}
    save_checkpoint(tmp_path / "missing", without, checkpoint.config)
    save_checkpoint(tmp_path / "wrong", {**state, name: state[name][:1]}, checkpoint.config)
    for folder in ("missing", "wrong"):
        result = call("read", recording, "--model", tmp_path / folder)
        assert result.exit_code == 2
        assert name in result.stderr.replace("\n", "")


def test_a_cut_store_opens_up_to_its_last_whole_recording(tmp_path: Path) -> None:
    from palmist.store import write_store

    recordings = [r for r in demo_recordings() if r.space == "image"]
    write_store(tmp_path / "store", recordings)
    joints = tmp_path / "store" / "joints.npy"
    joints.write_bytes(joints.read_bytes()[:-2000])
    result = call("read", tmp_path / "store", "--futures", "0", "--json", tmp_path / "r.json")
    assert result.exit_code == 0, result.output
    assert len(json.loads((tmp_path / "r.json").read_text())["readings"]) == len(recordings) - 1
    assert "store" in result.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("read", "clip.mp4"),
        ("prepare", "nothing", "--root", ".", "--out", "x"),
        ("train", "--config", "missing.yaml"),
        ("evaluate", "ghtt-small", "--data", "asl_words", "--split", "random"),
        ("benchmark", "taste"),
        ("benchmark", "quality", "--only", "taste"),
        ("read", "clip.npz", "--model", "missing"),
    ],
)
def test_wrong_words_are_exit_code_2(words: tuple[str, ...]) -> None:
    result = call(*words)
    assert result.exit_code == 2, result.output
    assert "error:" in result.stderr


@pytest.mark.parametrize("module", ["palmist", "palmist.cli"])
def test_the_command_runs_as_a_module(module: str) -> None:
    said = subprocess.run([sys.executable, "-m", module, "--version"], capture_output=True, text=True, check=True).stdout
    assert said.startswith("palmist ")

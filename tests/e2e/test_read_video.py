"""`palmist read` of a video and of a live source, with a tracker that is scripted: no MediaPipe is needed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

import palmist
from palmist.cli import app
from palmist.cli.video import HandOptions
from palmist.perception.detection import HandDetection
from palmist.perception.video import Video, write_video

FRAMES, RATE = 20, 20.0


class Scripted:
    """Finds the hands of a shipped recording in the frames of any video."""

    def __init__(self) -> None:
        self.recording = next(r for r in palmist.demo_recordings() if r.space == "image")
        self.number = -1

    def detect(self, time: float, frame: np.ndarray) -> Sequence[HandDetection]:
        self.number += 1
        known = self.recording.known[self.number % len(self.recording)].all(-1)
        joints = np.asarray(self.recording.joints[self.number % len(self.recording)])
        return [HandDetection(side, 0.9, joints[side]) for side in (0, 1) if known[side]]

    def describe(self) -> Mapping[str, Any]:
        return {"tracker": "scripted"}

    def __enter__(self) -> Scripted:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class Blind(Scripted):
    def detect(self, time: float, frame: np.ndarray) -> Sequence[HandDetection]:
        return []


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    images = np.random.default_rng(0).integers(60, 90, (FRAMES, 96, 128, 3), np.uint8)
    return write_video(tmp_path / "clip.mp4", images, rate=RATE)


def read(monkeypatch: pytest.MonkeyPatch, tracker: type[Scripted], *words: object) -> Result:
    monkeypatch.setattr(HandOptions, "open", lambda self: tracker())
    return CliRunner().invoke(app, ["read", *(str(word) for word in words)])


def test_a_video_becomes_overlay_page_recordings_and_json(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    result = read(monkeypatch, Scripted, clip, "--futures", 4, "--out", out, "--json", tmp_path / "r.json")
    assert result.exit_code == 0, result.output
    assert "20 frames" in result.output
    found = json.loads((tmp_path / "r.json").read_text())
    assert found["video"]["frames"] == FRAMES
    assert found["video"]["swaps"] == 0
    assert max(found["video"]["found"].values()) == 1.0
    assert len(found["readings"]) == 1
    overlay = Video(out / "clip.mp4")
    assert overlay.info.frames == FRAMES
    plain, drawn = next(iter(Video(clip))).image, [frame.image for frame in overlay][10]
    assert np.abs(drawn.astype(int) - plain.astype(int)).max() > 100  # something bright was drawn
    tracked = palmist.read_recording(out / "recordings" / "clip_tracked.npz")
    assert tracked.space == "image"
    assert tracked.aspect == pytest.approx(128 / 96)
    assert (out / "palmist.html").stat().st_size > 10_000


def test_a_video_without_hands_is_one_sentence(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = read(monkeypatch, Blind, clip)
    assert result.exit_code == 2
    assert "no hand was found" in result.output


def test_a_file_fed_live_source_is_read_and_reported(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    words = (clip, "--live", "--futures", 2, "--out", out, "--json", tmp_path / "live.json")
    result = read(monkeypatch, Scripted, *words)
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "live.json").read_text())
    assert 1 <= found["frames"] <= FRAMES
    assert found["frames"] + found["dropped"] >= FRAMES - 1
    assert found["latency_ms"]["median"] <= found["latency_ms"]["p99"]
    assert len(palmist.read_recording(out / "recordings" / "clip_tracked.npz")) == found["frames"]


def test_a_missing_camera_and_a_broken_video_are_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    for source in ("webcam:63", tmp_path / "broken.mp4", tmp_path / "absent.mp4"):
        result = read(monkeypatch, Scripted, source)
        assert result.exit_code == 2
        assert len(result.output.strip().splitlines()) <= 4

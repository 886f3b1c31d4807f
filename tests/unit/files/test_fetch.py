"""palmist fetch: what is whole is stored, what is not leaves nothing behind."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import subprocess
import zipfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from palmist.cli import app
from palmist.files import fetch as fetching

BUNDLE = fetching.FETCHABLE["hands"]
CONTENTS = {part.in_wheel: f"weights of {part.name}".encode() * 100 for part in BUNDLE.parts}
runner = CliRunner()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder, and hashes of made-up weights in the place of the pinned ones."""
    parts = tuple(
        dataclasses.replace(part, sha256=hashlib.sha256(CONTENTS[part.in_wheel]).hexdigest()) for part in BUNDLE.parts
    )
    monkeypatch.setitem(fetching.FETCHABLE, "hands", dataclasses.replace(BUNDLE, parts=parts))
    monkeypatch.delenv("PALMIST_HAND_MODEL", raising=False)
    monkeypatch.setenv("PALMIST_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def zipped(path: Path, entries: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return path


def call(*words: str | Path):
    return runner.invoke(app, ["fetch", "hands", *map(str, words)], env={"COLUMNS": "300"})


def refused(result, cache: Path) -> str:
    """The error sentence of a call that was refused and left nothing behind."""
    assert result.exit_code == 2, result.output
    assert not cache.exists() or not list(cache.iterdir())
    assert len(result.stderr.strip().splitlines()) == 1
    return result.stderr


def test_a_wheel_becomes_a_bundle_that_is_found(cache: Path, tmp_path: Path) -> None:
    wheel = zipped(tmp_path / "mediapipe-0.10.21.whl", {**CONTENTS, "mediapipe/__init__.py": b""})
    result = call("--wheel", wheel)
    assert result.exit_code == 0, result.output
    assert "Apache-2.0" in result.stdout
    assert [file.name for file in cache.iterdir()] == ["hand_landmarker.task"]
    with zipfile.ZipFile(fetching.find_model("hands")) as bundle:
        assert {entry.filename: bundle.read(entry) for entry in bundle.infolist()} == {
            part.name: CONTENTS[part.in_wheel] for part in BUNDLE.parts
        }
        assert all(entry.compress_type == zipfile.ZIP_STORED for entry in bundle.infolist())
    first = fetching.find_model("hands").read_bytes()
    assert call("--wheel", wheel).exit_code == 0
    assert fetching.find_model("hands").read_bytes() == first


def test_wrong_weights_are_refused_and_a_good_bundle_stays(cache: Path, tmp_path: Path) -> None:
    changed = {name: content + b"!" for name, content in CONTENTS.items()}
    wheel = zipped(tmp_path / "changed.whl", changed)
    assert "SHA-256" in refused(call("--wheel", wheel), cache)
    assert call("--wheel", zipped(tmp_path / "good.whl", CONTENTS)).exit_code == 0
    before = fetching.find_model("hands").read_bytes()
    assert call("--wheel", wheel).exit_code == 2
    assert [file.read_bytes() for file in cache.iterdir()] == [before]


def test_a_wheel_without_models_is_refused(cache: Path, tmp_path: Path) -> None:
    name = BUNDLE.parts[0].in_wheel
    wheel = zipped(tmp_path / "newer.whl", {key: value for key, value in CONTENTS.items() if key != name})
    assert name in refused(call("--wheel", wheel), cache)


def test_a_cut_or_changed_zip_is_refused(cache: Path, tmp_path: Path) -> None:
    whole = zipped(tmp_path / "whole.whl", CONTENTS).read_bytes()
    half = tmp_path / "half.whl"
    half.write_bytes(whole[: len(whole) // 2])
    assert "cut off" in refused(call("--wheel", half), cache)
    flipped = zipped(tmp_path / "flipped.whl", CONTENTS, zipfile.ZIP_STORED)
    content = bytearray(flipped.read_bytes())
    content[200] ^= 1
    flipped.write_bytes(content)
    assert "cut off or no zip" in refused(call("--wheel", flipped), cache)
    assert "not a file" in refused(call("--wheel", tmp_path / "absent.whl"), cache)


def test_a_full_disk_leaves_no_half_file(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(source: str, target: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(target))

    monkeypatch.setattr(fetching.os, "replace", full)
    assert "no space" in refused(call("--wheel", zipped(tmp_path / "good.whl", CONTENTS)), cache)


def test_a_task_of_ones_own_is_checked_and_copied(cache: Path, tmp_path: Path) -> None:
    entries = {part.name: b"other weights" for part in BUNDLE.parts}
    own = zipped(tmp_path / "own.task", entries, zipfile.ZIP_STORED)
    assert call("--task", own).exit_code == 0
    assert fetching.find_model("hands").read_bytes() == own.read_bytes()


@pytest.mark.parametrize("kind", ["no zip", "missing entry", "compressed", "both"])
def test_a_wrong_task_is_refused(kind: str, cache: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.task"
    entries = {part.name: b"weights" * 100 for part in BUNDLE.parts}
    if kind == "no zip":
        own.write_bytes(b"not a bundle")
    elif kind == "missing entry":
        zipped(own, {BUNDLE.parts[0].name: b"weights"}, zipfile.ZIP_STORED)
    elif kind == "compressed":
        zipped(own, entries)
    more = ["--wheel", zipped(tmp_path / "good.whl", CONTENTS)] if kind == "both" else []
    refused(call("--task", own, *more), cache)


def fake_pip(monkeypatch: pytest.MonkeyPatch, code: int, stderr: str, wheel: dict[str, bytes] | None) -> list[list[str]]:
    calls: list[list[str]] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        calls.append(command)
        if wheel is not None:
            zipped(Path(command[command.index("--dest") + 1]) / "mediapipe-0.10.21-any.whl", wheel)
        return subprocess.CompletedProcess(command, code, "", stderr)

    monkeypatch.setattr(fetching.subprocess, "run", run)
    return calls


def test_the_wheel_is_downloaded_with_pip(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = fake_pip(monkeypatch, 0, "", CONTENTS)
    assert call().exit_code == 0
    assert fetching.find_model("hands").is_file()
    assert calls[0][1:4] == ["-m", "pip", "download"]
    assert calls[0][-1] == "mediapipe==0.10.21"
    assert not Path(calls[0][calls[0].index("--dest") + 1]).exists()  # the wheel is not kept


@pytest.mark.parametrize(
    ("code", "stderr", "message"),
    [
        (1, "WARNING: Retrying after connection broken by 'NewConnectionError'\nERROR: No matching distribution", "reached"),
        (1, "ERROR: No matching distribution found for mediapipe==0.10.21", "No matching distribution"),
        (1, "python: No module named pip", "No module named pip"),
        (0, "", "gave no reason"),
    ],
)
def test_a_failed_download_is_one_sentence(
    code: int, stderr: str, message: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_pip(monkeypatch, code, stderr, None)
    sentence = refused(call(), cache)
    assert message in sentence
    assert "--wheel FILE" in sentence


def test_an_unknown_name_lists_the_known_ones(cache: Path) -> None:
    result = runner.invoke(app, ["fetch", "feet"])
    assert "hands" in refused(result, cache)


def test_the_cache_follows_the_platform(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("PALMIST_CACHE", raising=False)
    monkeypatch.setattr(fetching.sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert fetching.cache_folder() == tmp_path / "palmist"
    monkeypatch.setattr(fetching.sys, "platform", "darwin")
    assert fetching.cache_folder().parts[-3:] == ("Library", "Caches", "palmist")

"""A file is there whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from palmist.files.whole_file import write_whole


def test_bytes_and_text_are_written_as_they_are(tmp_path: Path) -> None:
    assert write_whole(tmp_path / "a.bin", b"\x00\xff").read_bytes() == b"\x00\xff"
    assert write_whole(tmp_path / "a.txt", "Hände\n").read_bytes() == "Hände\n".encode()
    assert sorted(os.listdir(tmp_path)) == ["a.bin", "a.txt"]


def test_a_failing_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write_whole(tmp_path / "index.json", "old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_whole(file, "new")
    assert file.read_text() == "old"


def test_another_folder_is_refused_by_the_system(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(IsADirectoryError):
        write_whole(tmp_path / "taken", "text")

"""An index whose writing ends at any moment is readable, and a later run completes it (kill -9: test_kill.py)."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from fake_embedder import NumberEmbedder
from palmist.errors import InputError
from palmist.search import ClipIndex, IndexedClip, IndexWriter
from palmist.search import index as module

pytest.importorskip("faiss")

CUTTING = {"clip_seconds": 1.0, "frames": 32}
CLIPS = 40


def a_clip(number: int) -> IndexedClip:
    return IndexedClip("/a.mp4", "a", number, CLIPS, number, number + 1, "a")


def write(out: Path, model: NumberEmbedder, per_segment: int = 2, clips: int = CLIPS) -> None:
    with IndexWriter(out, model, CUTTING) as writer:
        for number in sorted(set(range(clips)) - writer.videos.get("a", set())):
            writer.add(a_clip(number), model.vector(number))
            if number % per_segment == per_segment - 1:
                writer.flush()


def write_twice(out: Path, model: NumberEmbedder) -> None:
    for _ in range(2):
        write(out, model, clips=10)


def check_whole(out: Path, model: NumberEmbedder, clips: int = CLIPS) -> None:
    index = ClipIndex.open(out)
    assert sorted(clip.number for clip in index.clips) == list(range(clips))
    for number in range(clips):
        assert index.search(model.vector(number)[None], 1)[0][0].clip.number == number


class StoppedError(Exception):
    pass


def test_every_step_may_be_the_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Renaming and deleting are the steps that change an index; each in turn does not happen any more."""
    model = NumberEmbedder()
    rename, delete = Path.replace, Path.unlink
    left = [0]

    def count() -> None:
        if left[0] == 0:
            raise StoppedError
        left[0] -= 1

    monkeypatch.setattr(Path, "replace", lambda self, target: (count(), rename(self, target))[1])
    monkeypatch.setattr(Path, "unlink", lambda self, missing_ok=False: (count(), delete(self, missing_ok))[1])
    monkeypatch.setattr(module, "_MANY", 5)
    monkeypatch.setattr(module.os, "fsync", lambda _: None)
    for step in range(23):  # head and 5 segments of two files: 11 steps; joining them, in a second run: 2 and 10
        out = tmp_path / str(step)
        left[0] = step
        with pytest.raises(StoppedError):
            write_twice(out, model)
        left[0] = step % 4  # and the run that goes on is stopped as well
        before = len(ClipIndex.open(out)) if step else 0
        with suppress(StoppedError):
            write_twice(out, model)
        left[0] = 10_000
        if step:
            assert len(ClipIndex.open(out)) >= before
        write_twice(out, model)
        check_whole(out, model, 10)
    left[0] = 23
    write_twice(tmp_path / "all", model)
    assert left[0] == 0


@pytest.mark.parametrize("suffix", [".faiss", ".json"])
def test_changed_bytes_are_noticed(tmp_path: Path, suffix: str) -> None:
    write(tmp_path / "index", NumberEmbedder(), per_segment=CLIPS)
    (file,) = (tmp_path / "index" / "segments").glob(f"*{suffix}")
    data = bytearray(file.read_bytes())
    for change in (data[: len(data) // 2], bytes(data[:-9]) + b"\x00" + bytes(data[-8:]), b""):
        file.write_bytes(bytes(change))
        with pytest.raises(InputError, match=rf"{suffix}.*(damaged|changed|missing).*make (the index|it) again"):
            ClipIndex.open(tmp_path / "index")


def test_a_clip_list_of_other_vectors_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "index", NumberEmbedder(dimension=4), per_segment=CLIPS)
    head = tmp_path / "index" / "index.json"
    head.write_text(head.read_text(encoding="utf-8").replace('"dimension": 4', '"dimension": 5'), encoding="utf-8")
    with pytest.raises(InputError, match=r"40 vectors of 4 numbers, expected \(40, 5\)"):
        ClipIndex.open(tmp_path / "index")


def test_the_largest_segment_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SEGMENT", 10)
    monkeypatch.setattr(module, "_MANY", 2)
    model = NumberEmbedder()
    for numbers in (range(10), range(10, 12), range(12, 14), range(14, 15)):
        with IndexWriter(tmp_path / "index", model, CUTTING) as writer:
            for number in numbers:
                writer.add(a_clip(number), model.vector(number))
    sizes = [len(segment.clips) for segment in module._read_segments(tmp_path / "index", 4)]
    assert sizes == [10, 4, 1]
    found = np.array([hit.clip.number for hit in ClipIndex.open(tmp_path / "index").search(model.vector(14)[None], 3)[0]])
    assert found.tolist() == [14, 13, 12]

"""Store: what goes in comes out, memory-mapped; a store cut off anywhere opens up to its last whole recording."""

from __future__ import annotations

import json
import shutil
import warnings

import numpy as np
import pytest

from conftest import tiny_body, tiny_recording
from palmist.errors import InputError
from palmist.recording import Body, Recording
from palmist.store import Store, open_source, write_store

ARRAYS = ("joints", "valid", "time", "confidence", "interpolated")


def assert_same(found: Recording, expected: Recording) -> None:
    for name in ARRAYS:
        a, b = getattr(found, name), getattr(expected, name)
        assert (a is None) == (b is None), name
        if b is not None:
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)
    assert (found.body is None) == (expected.body is None)
    if expected.body is not None:
        assert found.body.layout == expected.body.layout
        np.testing.assert_array_equal(found.body.joints, expected.body.joints)
        np.testing.assert_array_equal(found.body.valid, expected.body.valid)
        assert (found.body.confidence is None) == (expected.body.confidence is None)
        if expected.body.confidence is not None:
            np.testing.assert_array_equal(found.body.confidence, expected.body.confidence)
    assert (found.camera is None) == (expected.camera is None)
    if expected.camera is not None:
        assert found.camera.keys() == expected.camera.keys()
        for key, value in expected.camera.items():
            np.testing.assert_array_equal(found.camera[key], value)
    for name in (
        "space", "name", "frame", "root", "absent_joints", "aspect", "aspect_assumed", "objects", "segments", "subject",
        "session", "split", "source", "provenance",
    ):  # fmt: skip
        assert getattr(found, name) == getattr(expected, name), name


def sure_body(frames: int, layout: str) -> Body:
    body = tiny_body(frames, layout)
    return Body(body.joints, body.valid, layout, np.linspace(0, 1, body.valid.size).reshape(body.valid.shape))


def mixed_recordings(full: Recording) -> list[Recording]:
    """Different lengths, spaces and optional arrays, two body layouts."""
    return [
        tiny_recording(5, seed=1),
        full,
        tiny_recording(7, seed=2, space="image", aspect=4 / 3, aspect_assumed=True, body=sure_body(7, "mediapipe25")),
        tiny_recording(3, seed=3, confidence=np.full((3, 2, 21), 0.5), camera={"pose": np.eye(4)}),
    ]


def test_everything_comes_back(tmp_path, full_recording):
    recordings = mixed_recordings(full_recording)
    store = write_store(tmp_path / "s", recordings)
    assert len(store) == 4
    assert store.report is None
    for found, expected in zip(store, recordings, strict=True):
        assert_same(found, expected)
        np.testing.assert_array_equal(found.known, expected.known)
    assert store.names == [r.name for r in recordings]
    assert_same(store[full_recording.name], full_recording)
    assert_same(store[-1], recordings[-1])
    assert [r.name for r in store[1:3]] == store.names[1:3]
    assert store.index[1]["frames"] == 18
    assert store.index[1]["subject"] == "A"
    assert store.verify() == []
    with pytest.raises(IndexError):
        store[4]
    with pytest.raises(InputError, match="no recording 'nobody'"):
        store["nobody"]


def test_reads_are_memory_mapped_and_read_only(tmp_path, full_recording):
    store = write_store(tmp_path / "s", mixed_recordings(full_recording))
    window = store[1].slice(2, 10)
    base = window.joints
    while isinstance(base, np.ndarray) and not isinstance(base, np.memmap):
        base = base.base
    assert isinstance(base, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        window.joints[0] = 1
    np.testing.assert_array_equal(window.joints, full_recording.joints[2:10])


def test_closed_store_is_plain_numpy(tmp_path, full_recording):
    recordings = mixed_recordings(full_recording)
    write_store(tmp_path / "s", recordings)
    np.testing.assert_array_equal(np.load(tmp_path / "s" / "joints.npy"), np.concatenate([r.joints for r in recordings]))
    assert np.load(tmp_path / "s" / "confidence.npy").shape == (18 + 3, 2, 21)


def test_append_to_an_open_store_is_seen_at_once(tmp_path):
    store = write_store(tmp_path / "s", [tiny_recording(5, seed=1)])
    assert len(store[0]) == 5
    store.append(tiny_recording(6, seed=2))
    assert len(store) == 2
    assert_same(store[1], tiny_recording(6, seed=2))
    assert len(Store.open(tmp_path / "s")) == 2  # before it is closed: every append is on the disk
    store.close()
    assert Store.open(tmp_path / "s").report is None


def test_recordings_before_a_failing_source_are_kept(tmp_path):
    def failing():
        yield tiny_recording(5, seed=1)
        raise RuntimeError("source broke")

    with pytest.raises(RuntimeError, match="source broke"), Store.create(tmp_path / "s") as store:
        store.extend(failing())
    assert Store.open(tmp_path / "s").names == ["tiny/001"]


def test_names_are_unique(tmp_path):
    with Store.create(tmp_path / "s") as store:
        store.append(tiny_recording(4))
        with pytest.raises(InputError, match="already has a recording 'tiny/000'"):
            store.append(tiny_recording(4))
        with pytest.raises(InputError, match="already has a recording 'tiny/002'"):
            store.extend([tiny_recording(4, seed=2), tiny_recording(4, seed=2)])
    assert Store.open(tmp_path / "s").names == ["tiny/000", "tiny/002"]


def test_create_refuses_to_destroy(tmp_path):
    write_store(tmp_path / "s", [tiny_recording(4)])
    with pytest.raises(InputError, match="already holds a store"):
        Store.create(tmp_path / "s")
    Store.create(tmp_path / "s", overwrite=True)
    assert len(Store.open(tmp_path / "s")) == 0
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"x")
    with pytest.raises(InputError, match="not a store"):
        Store.create(tmp_path / "photos", overwrite=True)
    assert (tmp_path / "photos" / "a.jpg").exists()


def bodies_without_hands() -> list[Recording]:
    nothing = {"joints": np.zeros((6, 2, 21, 3)), "valid": np.zeros((6, 2), bool)}
    plain, sure = tiny_body(6, "kinect25"), sure_body(6, "coco17")
    return [
        tiny_recording(6, seed=1, name="plain", body=plain, **nothing),
        tiny_recording(4, seed=2, name="hands"),
        tiny_recording(6, seed=3, name="sure", body=sure, **nothing),
    ]


def test_a_body_without_hands_takes_no_rows_for_hands(tmp_path):
    recordings = bodies_without_hands()
    store = write_store(tmp_path / "s", recordings)
    for found, expected in zip(store, recordings, strict=True):
        assert_same(found, expected)
    assert len(np.load(tmp_path / "s" / "joints.npy")) == 4
    assert store["plain"].slice(1, 3).joints.shape == (2, 2, 21, 3)
    versions = [json.loads(line)["version"] for line in (tmp_path / "s" / "index.jsonl").read_text().splitlines()]
    assert versions == [2, 1, 2]
    assert store.verify() == []


def test_a_store_of_before_body_confidence_opens_without_a_word(tmp_path):
    write_store(tmp_path / "s", [tiny_recording(4, seed=2, name="hands")])
    (tmp_path / "s" / "body_confidence.npy").unlink()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        store = Store.open(tmp_path / "s")
    store.extend(bodies_without_hands()[2:])
    store.close()
    np.testing.assert_allclose(Store.open(tmp_path / "s")["sure"].body.confidence[-1, -1], 1)


def test_unknown_version_and_foreign_folders_say_what_to_do(tmp_path):
    write_store(tmp_path / "s", [tiny_recording(4)])
    (tmp_path / "s" / "index.json").write_text(json.dumps({"format": "palmist-store", "version": 7}))
    with pytest.raises(InputError, match=r"version 7; this Palmist reads version 1; update"):
        Store.open(tmp_path / "s")
    (tmp_path / "s" / "index.json").write_text("{}")
    with pytest.raises(InputError, match="palmist-store"):
        Store.open(tmp_path / "s")
    with pytest.raises(InputError, match="not a Palmist store"):
        Store.open(tmp_path)


def test_one_writer_at_a_time(tmp_path):
    pytest.importorskip("fcntl")
    with Store.create(tmp_path / "s") as first:
        first.append(tiny_recording(4))
        second = Store.open(tmp_path / "s")
        first.append(tiny_recording(4, seed=1))
        with pytest.raises(InputError, match="another process"):
            second.append(tiny_recording(4, seed=2))
    with pytest.raises(InputError, match="changed since it was opened"):
        second.append(tiny_recording(4, seed=2))
    for found, expected in zip(Store.open(tmp_path / "s"), (0, 1), strict=True):
        assert_same(found, tiny_recording(4, seed=expected))


def test_verify_finds_a_flipped_bit(tmp_path):
    write_store(tmp_path / "s", [tiny_recording(4), tiny_recording(4, seed=1)])
    file = tmp_path / "s" / "joints.npy"
    data = bytearray(file.read_bytes())
    data[-5] ^= 1
    file.write_bytes(data)
    assert Store.open(tmp_path / "s").verify() == ["tiny/001"]


def expected_whole(recordings, name: str, size: int, full_size: int, line_ends: list[int]) -> int:
    """Literal count of recordings that are whole when file `name` is cut to `size` bytes."""
    if name == "index.json":
        return len(recordings)
    if name == "index.jsonl":
        return sum(end <= size for end in line_ends)
    whole = end = 0
    row = {"joints": 504, "valid": 2, "time": 8, "confidence": 168, "interpolated": 2, "body_joints": 12,
           "body_valid": 1, "body_confidence": 4, "camera_pose": 128}[name.removesuffix(".npy")]  # fmt: skip
    for recording in recordings:
        rows = {
            "confidence": 0 if recording.confidence is None else len(recording),
            "interpolated": 0 if recording.interpolated is None else len(recording),
            "body_joints": 0 if recording.body is None else recording.body.valid.size,
            "body_valid": 0 if recording.body is None else recording.body.valid.size,
            "body_confidence": getattr(recording.body, "confidence", None) is not None and recording.body.valid.size,
            "camera_pose": 0 if recording.camera is None else np.reshape(recording.camera["pose"], (-1, 4, 4)).shape[0],
        }.get(name.removesuffix(".npy"), len(recording))
        end += rows * row
        if rows and 128 + end > size:
            break
        whole += 1
    assert full_size == 128 + end or whole < len(recordings)
    return whole


def test_cut_off_anywhere_opens_up_to_the_last_whole_recording(tmp_path, full_recording):
    recordings = mixed_recordings(full_recording)
    source = tmp_path / "whole"
    write_store(source, recordings)
    lines = (source / "index.jsonl").read_bytes()
    line_ends = [i + 1 for i, byte in enumerate(lines) if byte == ord("\n")]
    generator = np.random.default_rng(0)
    copy = tmp_path / "copy"
    shutil.copytree(source, copy)
    for file in sorted(source.iterdir()):
        data = file.read_bytes()
        positions = set(generator.integers(0, len(data), 60).tolist()) | {0, 1, 127, 128, len(data) - 1}
        if file.name == "index.json":
            positions = set(range(len(data)))
        for size in sorted(p for p in positions if p < len(data)):
            (copy / file.name).write_bytes(data[:size])
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                store = Store.open(copy)
            count = expected_whole(recordings, file.name, size, len(data), line_ends)
            assert len(store) == count, (file.name, size)
            assert store.report is not None, (file.name, size)
            assert str(copy) in store.report
            assert [str(w.message) for w in caught] == [store.report]
            if size % 7 == 0:  # comparing every time would be slow
                for found, expected in zip(store, recordings, strict=False):
                    assert_same(found, expected)
        (copy / file.name).write_bytes(data)


@pytest.mark.parametrize(
    ("name", "size"),
    [("joints.npy", 3000), ("index.jsonl", 700), ("index.json", 3), ("time.npy", 20), ("body_valid.npy", 140)],
)
def test_a_cut_off_store_can_be_appended_to(tmp_path, full_recording, name, size):
    recordings = mixed_recordings(full_recording)
    write_store(tmp_path / "s", recordings)
    file = tmp_path / "s" / name
    file.write_bytes(file.read_bytes()[:size])
    with pytest.warns(UserWarning, match="last whole recording"):
        store = Store.open(tmp_path / "s")
    kept = len(store)
    with store:
        store.extend(recordings[kept:])
        store.append(tiny_recording(4, seed=9))
    store = Store.open(tmp_path / "s")
    assert store.report is None
    assert store.verify() == []
    for found, expected in zip(store, [*recordings, tiny_recording(4, seed=9)], strict=True):
        assert_same(found, expected)


def test_crash_between_arrays_and_index_line_loses_only_that_recording(tmp_path, monkeypatch):
    store = write_store(tmp_path / "s", [tiny_recording(4)])
    monkeypatch.setattr(Store, "_commit", lambda self, lines: [f.flush() for f in self._files.values()])
    monkeypatch.setattr(Store, "close", lambda self: None)
    store.append(tiny_recording(5, seed=1))
    with pytest.warns(UserWarning, match="no index line"):
        opened = Store.open(tmp_path / "s")
    assert opened.names == ["tiny/000"]
    assert_same(opened[0], tiny_recording(4))


def test_open_source_takes_stores_and_files(tmp_path):
    write_store(tmp_path / "s", [tiny_recording(4)])
    assert [r.name for r in open_source(tmp_path / "s")] == ["tiny/000"]
    with pytest.raises(InputError, match="does not exist"):
        open_source(tmp_path / "missing.npz")


def test_rows_left_by_a_crash_are_cut_off_before_the_next_append(tmp_path):
    """Longer left-overs than the next recording must not lie behind it, should the next append crash as well."""
    write_store(tmp_path / "s", [tiny_recording(4)])
    with (tmp_path / "s" / "joints.npy").open("ab") as file:
        file.write(b"\x01" * 504 * 30)
    with pytest.warns(UserWarning, match="no index line"):
        store = Store.open(tmp_path / "s")
    store.append(tiny_recording(5, seed=1))
    while_open = Store.open(tmp_path / "s")  # not closed yet: as after a crash
    assert while_open.report is None
    assert_same(while_open[1], tiny_recording(5, seed=1))
    store.close()

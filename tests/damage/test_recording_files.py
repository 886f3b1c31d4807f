"""Damaged files get one clear sentence; a broken clock is reported and repaired; users' own files are read."""

from __future__ import annotations

import io
import pickle
import zipfile

import numpy as np
import pytest

from conftest import smooth_hands, tiny_recording
from palmist.damage import check, repair
from palmist.errors import InputError
from palmist.recording_file import read_recording, write_recording
from palmist.store import Store, open_source, write_store

TIME = np.arange(24) / 30.0


def save(path, **arrays):
    arrays = {"joints": smooth_hands(24), "time": TIME, "space": "metric"} | arrays
    np.savez(path, **{key: value for key, value in arrays.items() if value is not None})
    return path


def test_written_file_is_read_back_with_everything(tmp_path, full_recording):
    path = write_recording(tmp_path / "one", full_recording)
    assert path.name == "one.npz"
    found = read_recording(path)
    for name in ("joints", "valid", "time", "confidence", "interpolated", "known"):
        np.testing.assert_array_equal(getattr(found, name), getattr(full_recording, name))
    np.testing.assert_array_equal(found.body.joints, full_recording.body.joints)
    np.testing.assert_array_equal(found.camera["pose"], full_recording.camera["pose"])
    for name in ("segments", "objects", "provenance", "name", "subject", "session", "split", "absent_joints", "source"):
        assert getattr(found, name) == getattr(full_recording, name), name
    with np.load(path, allow_pickle=False) as archive:  # plain numpy, no pickle inside
        assert set(archive.files) >= {"joints", "time", "valid", "metadata"}


def test_users_own_file_with_few_keys(tmp_path):
    joints = smooth_hands(24)
    joints[5, 0] = 0  # how trackers write "not found"
    joints[6, 1, 4] = np.nan
    np.savez(tmp_path / "wave.npz", joints=joints.astype(np.float64), rate=30)
    recording = read_recording(tmp_path / "wave.npz")
    assert (recording.name, recording.space, len(recording)) == ("wave", "metric", 24)
    assert recording.rate == pytest.approx(30)
    assert not recording.valid[5, 0]
    assert not recording.known[6, 1, 4]
    assert recording.known.sum() == 24 * 42 - 22
    assert "not stated" in recording.provenance["space"]


def test_users_own_file_with_many_keys(tmp_path):
    path = save(
        tmp_path / "a.npz",
        space="image",
        aspect=16 / 9,
        name="greeting",
        subject="me",
        valid=np.ones((24, 2), np.int64),
        absent_joints=[1],
        body_joints=np.zeros((24, 8, 3)),
        body_layout="openpose8",
    )
    recording = read_recording(path)
    assert (recording.name, recording.frame, recording.subject) == ("greeting", "image", "me")
    assert recording.aspect == pytest.approx(16 / 9)
    assert recording.absent_joints == (1,)
    assert recording.body.valid.all()


def pickle_inside(path):
    np.savez(path, joints=np.array([{"a": 1}], dtype=object), time=TIME)


def plain_pickle(path):
    path.write_bytes(pickle.dumps({"joints": [1, 2]}))


def single_array(path):
    with path.open("wb") as file:
        np.save(file, smooth_hands(3))


def zip_without_arrays(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")


WRONG = [
    (lambda p: p.write_bytes(b""), "is empty"),
    (lambda p: p.write_text("hello, world"), r"not an \.npz file"),
    (plain_pickle, "pickle"),
    (pickle_inside, "pickle"),
    (single_array, r"single \.npy"),
    (zip_without_arrays, "no array 'joints'"),
    (lambda p: p.mkdir(), "is a folder"),
    (lambda p: None, "does not exist"),
    (lambda p: save(p, joints=np.full((24, 2, 21, 3), np.nan)), "every joint is NaN"),
    (lambda p: save(p, joints=np.zeros((24, 2, 22, 3))), "found 22 joints per hand, expected 21"),
    (lambda p: save(p, joints=np.zeros((0, 2, 21, 3)), time=np.zeros(0)), "0 frames"),
    (lambda p: save(p, joints=np.zeros((24, 63))), r"expected \(frames, 2 hands, 21 joints"),
    (lambda p: save(p, joints=np.full((24, 2, 21, 3), "x")), "type <U1; expected real numbers"),
    (lambda p: save(p, joints=np.zeros((24, 2, 21, 3), complex)), "type complex128"),
    (lambda p: save(p, joints=None), "no array 'joints'; it has time, space"),
    (lambda p: save(p, time=None), "neither 'time'"),
    (lambda p: save(p, time=None, rate=-3), "rate is -3"),
    (lambda p: save(p, time=TIME[::-1]), "time must increase"),
    (lambda p: save(p, time=TIME[:-1]), r"expected \(24,\)"),
    (lambda p: save(p, time=np.full(24, "now")), "times are of type"),
    (lambda p: save(p, space="feet"), "space is 'feet'; expected one of metric, image, planar"),
    (lambda p: save(p, space=3), "expected one piece of text"),
    (lambda p: save(p, aspect=np.ones(2)), "expected numbers"),
    (lambda p: save(p, absent_joints=np.array(["thumb"])), "expected numbers"),
    (lambda p: save(p, valid=np.full((24, 2), 0.5)), "true/false"),
    (lambda p: save(p, joints=smooth_hands(24) * 1000), "divide millimetres"),
    (lambda p: save(p, metadata="{not json"), "metadata"),
    (lambda p: save(p, metadata='{"segments": [{"begin": 1}]}'), "metadata"),
    (lambda p: save(p, metadata='{"format": "palmist-recording", "version": 9}'), "version 9 is unknown.*pip install"),
    (lambda p: save(p, body_joints=np.zeros((24, 9, 3))), r"expects \(frames, 25, 3\)"),
    (lambda p: save(p, body_joints=np.full((24, 25, 3), "x")), "body joints are of type"),
]


@pytest.mark.parametrize(("write", "sentence"), WRONG, ids=[sentence for _, sentence in WRONG])
def test_wrong_files_get_one_sentence_that_names_them(tmp_path, write, sentence):
    path = tmp_path / "broken.npz"
    write(path)
    with pytest.raises(InputError, match=sentence) as caught:
        read_recording(path)
    assert "\n" not in str(caught.value)
    assert "broken.npz" in str(caught.value)


def test_a_file_cut_off_anywhere_is_never_a_crash_and_never_half_a_recording(tmp_path):
    whole = write_recording(tmp_path / "whole", tiny_recording(12)).read_bytes()
    path = tmp_path / "cut.npz"
    for size in range(0, len(whole), max(1, len(whole) // 150)):
        path.write_bytes(whole[:size])
        with pytest.raises(InputError, match=r"cut\.npz"):
            read_recording(path)


def test_flipped_bytes_are_an_input_error_or_harmless(tmp_path):
    recording = tiny_recording(12)
    whole = write_recording(tmp_path / "whole", recording).read_bytes()
    path = tmp_path / "flipped.npz"
    generator = np.random.default_rng(0)
    refused = 0
    for position in generator.integers(0, len(whole), 200):
        data = bytearray(whole)
        data[position] ^= 0xFF
        path.write_bytes(data)
        try:
            found = read_recording(path)
        except InputError:
            refused += 1
        else:
            np.testing.assert_array_equal(found.joints, recording.joints)
    assert refused > 100


def test_interrupted_writing_leaves_the_old_file(tmp_path, monkeypatch):
    path = write_recording(tmp_path / "one", tiny_recording(12))
    before = path.read_bytes()

    def fail(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez_compressed", fail)
    with pytest.raises(InputError, match="disk full"):
        write_recording(path, tiny_recording(13))
    assert path.read_bytes() == before


def bad_clock(name: str) -> tuple[np.ndarray, list[int]]:
    """A clock and the frames of it that should be left."""
    time, kept = TIME.copy(), list(range(24))
    if name == "nan":
        time[4] = np.nan
        kept.remove(4)
    elif name == "repeated":
        time[9] = time[8]
        kept.remove(9)
    elif name == "exchanged":
        time[[5, 6]] = time[[6, 5]]
        kept.remove(5)
    elif name == "broken end":
        time[-1] = -1.6e9
        kept.remove(23)
    elif name == "backwards":
        time, kept = TIME[::-1].copy(), kept[::-1]
    return time, kept


@pytest.mark.parametrize("name", ["nan", "repeated", "exchanged", "broken end", "backwards"])
def test_a_broken_clock_is_a_finding_and_is_repaired(tmp_path, name):
    time, kept = bad_clock(name)
    joints = smooth_hands(24)
    confidence = np.random.default_rng(0).uniform(0.1, 1, (24, 2, 21)).astype(np.float32)
    path = save(tmp_path / "clock.npz", time=time, joints=joints, confidence=confidence)
    with pytest.raises(InputError, match="palmist check --repair"):
        read_recording(path)
    report = check(path)
    assert not report.ok
    assert report.repairable
    assert {f.kind for f in report.findings} & {"nan_time", "repeated_time", "reversed_time"}
    mended = repair(path)
    if name in ("repeated", "exchanged"):  # which of the two is dropped is a matter of taste
        assert len(mended) == len(kept)
    else:
        np.testing.assert_array_equal(mended.joints, joints[kept])
        np.testing.assert_array_equal(mended.confidence, confidence[kept])
        np.testing.assert_array_equal(mended.time, time[kept])
    assert (np.diff(mended.time) > 0).all()
    assert mended.provenance["repairs"][0]["kind"] == "time"
    assert read_recording(write_recording(tmp_path / "mended", mended)).provenance == mended.provenance


def test_a_clock_without_any_time_is_an_error(tmp_path):
    path = save(tmp_path / "clock.npz", time=np.full(24, np.nan))
    with pytest.raises(InputError, match="no time is a finite number"):
        check(path)


def test_check_and_open_source_refuse_unreadable_files(tmp_path):
    (tmp_path / "a.npz").write_bytes(b"PK\x03\x04 and nothing more")
    for function in (check, repair, read_recording, open_source):
        with pytest.raises(InputError, match="cut off or damaged"):
            function(tmp_path / "a.npz")


def test_repaired_recordings_survive_the_store(tmp_path):
    joints = smooth_hands(24)
    joints[7, 1] = np.nan
    mended = repair(tiny_recording(24, joints=joints))
    store = write_store(tmp_path / "s", [mended])
    np.testing.assert_array_equal(store[0].interpolated, mended.interpolated)
    np.testing.assert_array_equal(store[0].known, mended.known)
    assert not store[0].known[7, 1].any()
    assert store[0].provenance == mended.provenance


def test_memory_file_objects_in_provenance_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"provenance\.x holds a BytesIO"):
        write_recording(tmp_path / "a", tiny_recording(4, provenance={"x": io.BytesIO()}))
    with Store.create(tmp_path / "s") as store, pytest.raises(InputError, match=r"provenance\.x holds a BytesIO"):
        store.append(tiny_recording(4, provenance={"x": io.BytesIO()}))
    assert len(Store.open(tmp_path / "s")) == 0


def test_a_place_that_cannot_be_written_to_is_named(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(InputError, match="cannot be written"):
        write_recording(tmp_path / "file" / "one.npz", tiny_recording(12))

"""Reading recordings and streams with the shipped model: units, masks, determinism, and what the future may not tell."""

from __future__ import annotations

import json

import numpy as np
import pytest

import palmist
from palmist.demo_data import demo_recordings
from palmist.errors import InputError
from palmist.reader import Reader


@pytest.fixture(scope="module")
def reader() -> Reader:
    return palmist.load()


@pytest.fixture(scope="module")
def words() -> list:
    return [r for r in demo_recordings() if r.space == "image"]


def test_the_demo_people_are_not_in_the_training_set() -> None:
    from palmist.splits import FOLDS

    people = {r.subject for r in demo_recordings()}
    assert people <= {*FOLDS[1].signers, *FOLDS[1].people}


def test_a_reading_has_the_shapes_that_it_promises(reader: Reader, words: list) -> None:
    reading = reader.read(words[0], futures=7, horizon=0.8, observe_until=0.6)
    frames = len(reading.time)
    assert frames == int((words[0].time <= 0.6 + 1e-6).sum())
    assert reading.refined.shape == (frames, 2, 21, 3)
    assert reading.futures.shape == (7, 24, 2, 21, 3)
    assert reading.futures_time[0] == pytest.approx(reading.time[-1] + 1 / 30)
    assert reading.probabilities.sum() == pytest.approx(1.0)
    assert len(reading.action_labels) == 16
    assert 0 <= reading.most_likely < 7


def test_most_demo_words_are_read_right(reader: Reader, words: list) -> None:
    assert sum(reader.read(r, futures=0).label == r.segments[0].label for r in words) >= len(words) - 1


def test_the_future_is_never_looked_at(reader: Reader, words: list) -> None:
    whole = words[1]
    cut = whole.slice(0, 12)
    other = reader.read(cut)
    same = reader.read(whole, observe_until=float(cut.time[-1]))
    np.testing.assert_array_equal(same.futures, other.futures)
    np.testing.assert_array_equal(same.refined, other.refined)
    assert same.truth is not None
    assert other.truth is None


def test_the_same_seed_gives_the_same_futures_and_another_one_others(reader: Reader, words: list) -> None:
    first, again = reader.read(words[0], seed=3), reader.read(words[0], seed=3)
    np.testing.assert_array_equal(first.futures, again.futures)
    assert np.abs(first.futures - reader.read(words[0], seed=4).futures).max() > 0
    still = reader.read(words[0], factor=0.0, futures=3)
    np.testing.assert_allclose(still.futures, np.repeat(still.deterministic[None], 3, 0), atol=1e-5)


def test_a_hand_that_was_not_seen_is_not_invented(reader: Reader, words: list) -> None:
    one_handed = next(r for r in words if not r.valid[:, 0].any())
    reading = reader.read(one_handed)
    assert not reading.refined_valid[:, 0].any()
    assert not reading.futures_valid[:, 0].any()
    assert np.abs(reading.futures[:, :, 0]).max() == 0


def test_refined_hands_stay_close_and_planar_depth_stays_zero(reader: Reader, words: list) -> None:
    for recording in words:
        reading = reader.read(recording, futures=0)
        assert reading.shift < 0.15 * reading.hand_size
    planar = next(r for r in demo_recordings() if r.space == "planar")
    reading = reader.read(planar.slice(0, 60))
    assert np.abs(reading.refined[..., 2]).max() == 0
    assert np.abs(reading.futures[..., 2]).max() == 0
    assert np.abs(reading.futures[:, 0, 1, 0, :2] - planar.joints[59, 1, 0, :2]).max() < 25  # pixels, near the last frame


def test_json_and_recording_round_trips(reader: Reader, words: list, tmp_path) -> None:
    reading = reader.read(words[0], futures=2)
    saved = json.loads(reading.save(tmp_path / "reading.json").read_text())
    assert saved["format"] == "palmist-reading"
    assert saved["label"] == reading.label
    back = palmist.read_recording(reading.save(tmp_path / "refined.npz"))
    np.testing.assert_allclose(back.joints, reading.refined, atol=1e-6)
    appended = reading.to_recording("most_likely")
    assert len(appended) == len(reading.time) + len(reading.futures_time)
    assert not appended.known[len(reading.time) :].any()


def test_wrong_options_are_one_sentence(reader: Reader, words: list) -> None:
    with pytest.raises(InputError, match="taxonomy"):
        reader.read(words[0], labels="nothing")
    with pytest.raises(InputError, match="futures"):
        reader.read(words[0], futures=-1)
    with pytest.raises(InputError, match="observe_until"):
        reader.read(words[0], observe_until=-5.0)
    with pytest.raises(InputError, match="missing-model"):
        palmist.load("missing-model")

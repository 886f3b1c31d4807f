"""What a Reading says of itself: measures against numbers worked out by hand, strict JSON, and recordings that are odd."""

from __future__ import annotations

import json

import numpy as np
import pytest

import palmist
from conftest import tiny_body, tiny_recording
from palmist.checkpoint import load_checkpoint, save_checkpoint
from palmist.errors import InputError
from palmist.model_zoo import checkpoint_path
from palmist.reader import Reader
from palmist.reading import Reading
from palmist.recording import ActionSegment, Recording


@pytest.fixture(scope="module")
def reader() -> Reader:
    return palmist.load()


def by_hand(**changes: object) -> Reading:
    """Four observed frames of a right hand that stands still, three futures that moved 10, 20 and 60 mm along x."""
    joints = np.zeros((4, 2, 21, 3), np.float32)
    joints[..., 2] = 0.5
    valid = np.tile([False, True], (4, 1))
    recording = Recording(joints=joints, valid=valid, time=np.arange(4) / 30, space="metric", name="still")
    known = np.zeros((2, 21), bool)
    known[1] = True
    future = np.repeat(joints[:2][None], 3, 0) * known[..., None]
    for k, shift in enumerate((0.01, 0.02, 0.06)):
        future[k, :, 1, :, 0] += shift
    refined = joints * known[..., None]
    refined[:, 1, :, 1] += 0.003
    fields: dict[str, object] = {
        "recording": recording,
        "model": "by hand",
        "refined": refined,
        "refined_known": np.repeat(known[None], 4, 0),
        "futures": future,
        "futures_time": np.array([4, 5]) / 30,
        "futures_known": known,
        "deterministic": future[0],
        "most_likely": 1,
        "scale": np.ones(3),
        "hand_size": 0.09,
        "truth": np.repeat(joints[:2], 1, 0),
        "truth_known": np.repeat(known[None], 2, 0),
    }
    return Reading(**{**fields, **changes})  # type: ignore[arg-type]


def test_measures_are_those_worked_out_by_hand() -> None:
    reading = by_hand()
    assert reading.shift == pytest.approx(0.003)
    assert reading.spread == pytest.approx((0.01 + 0.05 + 0.04) / 3)
    assert reading.future_error("most_likely") == pytest.approx(0.02)
    assert reading.future_error("best") == pytest.approx(0.01)
    assert reading.future_error("deterministic") == pytest.approx(0.01)
    assert reading.future_error("last_pose") == pytest.approx(0.0, abs=1e-9)
    assert reading.in_own_terms(0.003) == "3.0 mm"
    assert np.isnan(by_hand(truth=None, truth_known=None).future_error())
    assert np.isnan(by_hand(truth_known=np.zeros((2, 2, 21), bool)).future_error())
    with pytest.raises(InputError, match="last_pose"):
        reading.future_error("worst")


def test_json_is_strict_and_marks_the_unknown() -> None:
    recording = by_hand().recording.replace(
        body=tiny_body(4), segments=(ActionSegment(0.0, 0.03, "a"), ActionSegment(0.03, 9.0, "b"))
    )
    saved = json.loads(json.dumps(by_hand(recording=recording).to_json(), allow_nan=False))
    assert list(saved) == [
        "format", "version", "name", "model", "space", "unit", "frame", "aspect", "absent_joints", "rate", "subject",
        "label", "probability", "true_label", "observed", "refined", "body", "actions", "futures", "truth_future",
        "timing", "notes", "attribution",
    ]  # fmt: skip
    assert saved["label"] is None
    assert saved["actions"] is None
    assert saved["true_label"] == "b"  # it covers more of the observed part
    for key in ("observed", "refined"):
        joints = np.array(saved[key]["joints"], np.float64)
        assert joints.shape == (4, 2, 21, 3)
        assert np.isnan(joints[:, 0]).all()  # the left hand was never seen
        assert np.isfinite(joints[:, 1]).all()
        assert saved[key]["valid"] == [[False, True]] * 4
    assert np.array(saved["futures"]["joints"], np.float64).shape == (3, 2, 2, 21, 3)
    assert saved["futures"]["most_likely"] == 1
    assert saved["body"]["valid"][0][-1] is False
    assert saved["body"]["joints"][0][-1] == [None, None, None]


def test_a_future_is_never_known(tmp_path) -> None:
    recording = by_hand().recording.replace(body=tiny_body(4), objects=("cup",) * 4)
    whole = by_hand(recording=recording).to_recording(2)
    assert len(whole) == 6
    assert whole.known[:4, 1].all()
    assert not whole.known[4:].any()
    assert whole.present[4:, 1].all()
    np.testing.assert_allclose(whole.joints[4:, 1, :, 0], 0.06)
    with pytest.raises(InputError, match="below 3"):
        by_hand().to_recording(3)
    with pytest.raises(InputError, match=r"\.json"):
        by_hand().save(tmp_path / "reading.txt")


def test_odd_recordings_are_read(reader: Reader) -> None:
    single = reader.read(tiny_recording(1), futures=2, horizon=0.2)
    assert single.refined_valid.all()
    assert single.futures.shape == (2, 6, 2, 21, 3)
    absent = reader.read(tiny_recording(20, valid=np.zeros((20, 2), bool)), futures=2)
    assert absent.label in reader.labels
    assert not absent.refined_valid.any()
    assert not absent.futures_valid.any()
    assert absent.in_own_terms(absent.shift) == "–"
    long = reader.read(tiny_recording(600), futures=1, horizon=2.0)
    assert long.futures.shape[1] == 60
    assert len(long.action_time) <= 300
    assert (np.diff(long.action_time) > 0).all()
    assert reader.read(tiny_recording(30), futures=0, horizon=0.0).to_json()["futures"] is None


def test_gaps_and_unknown_joints_stay_unknown(reader: Reader) -> None:
    valid = np.ones((40, 2), bool)
    valid[10:14, 0] = False
    confidence = np.ones((40, 2, 21), np.float32)
    confidence[20:25, 1, 7] = 0
    recording = tiny_recording(40, valid=valid, confidence=confidence, absent_joints=(1,))
    reading = reader.read(recording)
    np.testing.assert_array_equal(reading.refined_known, recording.known)
    assert not reading.refined[~recording.known].any()
    assert not reading.futures_known[:, 1].any()
    assert not reading.futures[:, :, :, 1].any()


def test_what_was_recognised_up_to_a_moment_knows_nothing_of_later(reader: Reader) -> None:
    recording = tiny_recording(60)
    whole, part = reader.read(recording, futures=0), reader.read(recording.slice(0, 30), futures=0)
    same = np.isin(whole.action_time.round(6), part.action_time.round(6))
    assert same.sum() >= 5
    shared = np.isin(part.action_time.round(6), whole.action_time.round(6))
    np.testing.assert_allclose(whole.action_probabilities[same], part.action_probabilities[shared], atol=1e-5)
    np.testing.assert_allclose(whole.action_probabilities[-1], whole.probabilities, atol=1e-5)


def test_own_labels_and_a_pose_block_alone(reader: Reader, tmp_path) -> None:
    recording = tiny_recording(30)
    own = reader.read(recording, labels=["tea", "coffee", "water"], futures=0)
    assert own.action_labels == ("tea", "coffee", "water")
    assert own.probabilities.sum() == pytest.approx(1.0)
    turned = reader.read(recording, labels=["water", "tea", "coffee"], futures=0)
    assert turned.label == own.label
    with pytest.raises(InputError, match="empty"):
        reader.read(recording, labels=[])
    checkpoint = load_checkpoint(checkpoint_path("ghtt-small"))
    state = {name: tensor for name, tensor in checkpoint.state.items() if name.startswith("p.")}
    config = {**checkpoint.config, "ghtt": {**checkpoint.config["ghtt"], "a": None}, "taxonomies": {}}
    save_checkpoint(tmp_path / "p", state, config)
    alone = palmist.load(tmp_path / "p")
    reading = alone.read(recording, futures=3)
    assert reading.label is None
    assert reading.futures.shape == (3, 30, 2, 21, 3)
    np.testing.assert_allclose(reading.refined, own.refined, atol=1e-6)
    assert alone.stream(futures=1).push(recording.joints[0], recording.known[0], 0.0).label is None
    with pytest.raises(InputError, match="P-block only"):
        alone.read(recording, labels=["tea"])

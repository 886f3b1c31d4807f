"""Streams: a step equals reading the same frames from a recording, mid-levels that were kept equal those computed anew,
and nothing grows with the stream."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import palmist
from conftest import smooth_hands
from palmist.demo_data import demo_recordings
from palmist.errors import InputError
from palmist.inference.stream import Stream, StreamStep
from palmist.inputs.windows import BODY_POINTS, body_context
from palmist.models.ghtt import cut_clips
from palmist.pose_vector import encode
from palmist.reader import Reader
from palmist.recording import Recording
from palmist.skeleton import BODY_LAYOUTS

KNOWN = np.ones((2, 21), bool)


@pytest.fixture(scope="module")
def reader() -> Reader:
    return palmist.load()


def push_recording(stream: Stream, recording: Recording) -> StreamStep:
    body = recording.body
    assert body is not None
    names = BODY_LAYOUTS[body.layout]
    places = [names.index(point) if point in names else -1 for point in BODY_POINTS]
    here = np.array([place >= 0 for place in places])
    for i in range(len(recording)):
        step = stream.push(
            recording.joints[i], recording.known[i], float(recording.time[i]), body.joints[i, places],
            body.valid[i, places] & here,
        )  # fmt: skip
    return step


@pytest.mark.parametrize("number", [0, 5])  # image space at 20 frames/s, planar at about 30
def test_a_step_equals_reading_the_same_frames(reader: Reader, number: int) -> None:
    recording = demo_recordings()[number].slice(0, 20)
    reading = reader.read(recording, futures=0)
    stream = reader.stream(recording.rate, futures=2, factor=0.0, space=recording.space, aspect=recording.aspect)
    step = push_recording(stream, recording)
    size = float(np.ptp(recording.joints[..., :2]))
    np.testing.assert_array_equal(step.known, reading.refined_known[-1])
    np.testing.assert_allclose(step.refined, reading.refined[-1], atol=1e-4 * size)
    # The reading takes the mean hand size over all 20 frames, the stream over the latest 16.
    np.testing.assert_allclose(step.futures[0], reading.deterministic[:16], atol=2e-3 * size)
    np.testing.assert_allclose(step.futures_time, reading.futures_time[:16])
    assert np.abs(step.futures[0]).max() > 0


def test_kept_mid_levels_equal_those_computed_anew(reader: Reader) -> None:
    frames = 56
    joints = smooth_hands(frames)
    stream = reader.stream(30.0, futures=0, labels="asl_words")
    for i in range(frames):
        step = stream.push(joints[i], KNOWN, i / 30)
    hands, known = torch.from_numpy(joints)[None], torch.ones(1, frames, 2, 21, dtype=torch.bool)
    encoded = encode(hands, known)
    nobody = (torch.zeros(1, frames, 7, 3), torch.zeros(1, frames, 7, dtype=torch.bool))
    context, context_known = body_context(hands, known, encoded.palms.rotation, encoded.palms.valid, *nobody)
    clips = cut_clips(encoded, anchor="end", context=context, context_known=context_known)
    assert clips.frames.sum(-1).tolist() == [[8, 16, 16, 16]]
    candidates = torch.tensor([name in stream.labels for name in reader.labels])
    expected = reader.model.recognise(clips, candidates).probabilities[0, candidates]
    np.testing.assert_allclose(step.probabilities, expected.numpy(), atol=1e-4)


def test_a_long_stream_keeps_as_much_as_a_short_one_and_forgets(reader: Reader) -> None:
    def run(first: int) -> tuple[Stream, StreamStep]:
        stream = reader.stream(30.0, futures=1, factor=0.0, memory=1.1)
        joints = smooth_hands(150, seed=2)
        for i in range(first, 150):
            step = stream.push(joints[i], KNOWN, i / 30)
        return stream, step

    (long, late), (short, early) = run(0), run(80)
    assert len(long._past) == len(short._past)
    assert len(long._frames) == len(short._frames) <= 18
    np.testing.assert_allclose(late.probabilities, early.probabilities, atol=1e-5)
    np.testing.assert_allclose(late.futures, early.futures, atol=1e-5)


def test_another_rate_is_resampled(reader: Reader) -> None:
    fast, model_rate = reader.stream(90.0, futures=1, factor=0.0), reader.stream(30.0, futures=1, factor=0.0)
    joints = smooth_hands(180, rate=90.0)
    for i in range(180):
        step = fast.push(joints[i], KNOWN, i / 90)
    for i in range(2, 180, 3):
        other = model_rate.push(joints[i], KNOWN, i / 90)
    np.testing.assert_allclose(step.refined, other.refined, atol=1e-5)
    np.testing.assert_allclose(step.futures, other.futures, atol=1e-4)


def test_hands_come_and_go_without_being_invented(reader: Reader) -> None:
    stream = reader.stream(30.0, futures=2)
    joints = smooth_hands(40)
    known = KNOWN.copy()
    known[0] = False
    step = stream.push(joints[0], known, 0.0)
    assert step.valid.tolist() == [False, True]
    assert step.futures_valid.tolist() == [False, True]
    assert not step.refined[0].any()
    assert not step.futures[:, :, 0].any()
    for i in range(1, 40):
        step = stream.push(np.full_like(joints[i], np.nan), KNOWN, i / 30)
    assert not step.valid.any()
    assert not step.futures_valid.any()  # last seen over a clip ago
    assert np.isfinite(step.futures).all()


def test_own_labels_and_taxonomies(reader: Reader) -> None:
    pose = smooth_hands(1)[0]
    step = reader.stream(futures=0, labels=["tea", "coffee"]).push(pose, KNOWN, 0.0)
    assert step.label in ("tea", "coffee")
    assert step.probabilities.sum() == pytest.approx(1.0)
    assert reader.stream(space="planar").labels == tuple(reader.taxonomies["reach_to_grasp"]["labels"])
    assert reader.stream(space="metric").labels == reader.labels


def test_a_stream_refuses_wrong_frames(reader: Reader) -> None:
    stream = reader.stream(30.0, futures=1)
    pose = smooth_hands(1)[0]
    stream.push(pose, KNOWN, 0.0)
    with pytest.raises(InputError, match="not later"):
        stream.push(pose, KNOWN, 0.0)
    with pytest.raises(InputError, match="not later"):
        stream.push(pose, KNOWN, float("nan"))
    with pytest.raises(InputError, match="expected"):
        stream.push(pose[:1], KNOWN, 1.0)
    with pytest.raises(InputError, match="nose"):
        stream.push(pose, KNOWN, 1.0, body=np.zeros((5, 3)), body_known=np.zeros(5, bool))
    with pytest.raises(InputError, match="frames/s"):
        reader.stream(2.0)
    with pytest.raises(InputError, match="space"):
        reader.stream(space="polar")
    with pytest.raises(InputError, match="taxonomy"):
        reader.stream(labels="nothing")

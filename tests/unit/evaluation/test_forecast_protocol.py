"""The forecast protocol: its windows, what counts, and the figures of repeating the last pose."""

import numpy as np
import pytest

from palmist.errors import InputError
from palmist.evaluation.forecasts import PROTOCOLS, forecast_windows, score_forecasts
from palmist.models.baselines.simple import last_pose
from palmist.readers import open_data
from palmist.recording import Body, Recording


def repeat_last(window):
    hand = slice(window.hand, window.hand + 1)
    recording = window.recording
    times = recording.time[window.observed], recording.time[window.future]
    return last_pose(recording.joints[window.observed, hand], recording.known[window.observed, hand], *times).joints[None, :, 0]


@pytest.mark.parametrize(
    ("name", "value", "tolerance", "n"),
    [("asl_words", 0.261, 0.0005, 3038), ("reach_to_grasp", 7.85, 0.005, 6678), ("leap_recordings", 36.0, 0.05, 261)],
)
def test_last_pose_repeated(name, value, tolerance, n):
    scores, horizon = score_forecasts(list(forecast_windows(name)), repeat_last)
    assert scores["ade"].value == pytest.approx(value, abs=tolerance)
    assert scores["ade"].n == n
    assert scores["ade_best"] == scores["ade"]
    assert len(horizon) == PROTOCOLS[name].predicted
    assert (np.diff(horizon) > 0).all()


def test_the_published_reach_to_grasp_figure_counts_missing_joints_as_zeros():
    distances = []
    for recording in open_data("reach_to_grasp"):
        points = recording.joints[:, 1, :, :2]
        for start in range(0, len(points) - 31, 16):
            window = points[start : start + 32]
            distances.append(np.linalg.norm(window[16:] - window[15], axis=-1).mean())
    assert len(distances) == 6678
    assert np.mean(distances) == pytest.approx(10.8, abs=0.05)


def recording(frames=40, **changes):
    joints = np.zeros((frames, 2, 21, 3))
    joints[..., 0] = np.arange(frames)[:, None, None]
    fields = {"valid": np.ones((frames, 2), bool), "time": np.arange(frames) / 30, "space": "planar", "subject": "P1"}
    return Recording(joints=joints, **{**fields, **changes})


def test_windows_of_a_made_up_recording():
    windows = list(forecast_windows("reach_to_grasp", [recording(70)]))
    assert [(w.observed, w.future) for w in windows] == [
        (slice(0, 16, 1), slice(16, 32, 1)),
        (slice(16, 32, 1), slice(32, 48, 1)),
        (slice(32, 48, 1), slice(48, 64, 1)),
    ]
    assert {w.hand for w in windows} == {1}
    assert {w.group for w in windows} == {"P1"}
    assert windows[1].truth[0, 0, 0] == 32
    scores, horizon = score_forecasts(windows, repeat_last)
    assert scores["ade"].value == pytest.approx(8.5)
    assert scores["fde"].value == pytest.approx(16)
    assert horizon == pytest.approx(np.arange(1, 17))


def test_every_fourth_frame_and_both_hands():
    valid = np.ones((160, 2), bool)
    valid[2, 0] = False  # between the frames that are used
    valid[4 * 33, 1] = False
    windows = list(forecast_windows("leap_recordings", [recording(160, valid=valid, space="planar")]))
    starts = [(w.hand, w.observed_frames[0], w.future_frames[-1]) for w in windows]
    assert starts == [(0, 0, 116), (0, 24, 140), (1, 0, 116)]
    assert (np.diff(windows[1].observed_frames) == 4).all()
    assert (len(windows[0].observed_frames), len(windows[0].future_frames)) == (15, 15)
    assert windows[0].future_frames[0] - windows[0].observed_frames[-1] == 4


def test_joints_count_only_when_recorded_before_and_after():
    confidence = np.ones((32, 2, 21), np.float32)
    confidence[:16, 1, 4] = 0  # never observed
    confidence[20:, 1, 8] = 0  # lost in the future
    confidence[3:16, 1, 12] = 0  # observed early only
    [window] = forecast_windows("reach_to_grasp", [recording(32, confidence=confidence)])
    assert not window.counted[:, 4].any()
    assert window.counted[:, 8].sum() == 4
    assert window.counted[:, 12].all()
    confidence[16:, 1] = 0
    assert list(forecast_windows("reach_to_grasp", [recording(32, confidence=confidence)])) == []


def test_shoulder_widths_come_from_the_observed_frames():
    body = np.zeros((20, 25, 3))
    body[:10, 11, 0], body[10:, 11, 0] = 2.0, 100.0
    seen = np.ones((20, 25), bool)
    seen[4, 12] = False
    words = [recording(20, body=Body(body, seen, "mediapipe25"), session="s")]
    [window] = forecast_windows("asl_words", words)
    assert window.unit_length == 2.0
    assert score_forecasts([window], repeat_last)[0]["ade"].value == pytest.approx(5.5 / 2)
    seen[:10, 12] = False
    assert list(forecast_windows("asl_words", [recording(20, body=Body(body, seen, "mediapipe25"))])) == []
    assert list(forecast_windows("asl_words", [recording(20)])) == []


def test_best_of_several_futures():
    [window] = forecast_windows("reach_to_grasp", [recording(32)])
    perfect_and_poor = np.stack((window.truth, window.truth + np.array([3.0, 4.0, 0.0])))
    scores, _ = score_forecasts([window], lambda _: perfect_and_poor)
    assert scores["ade"].value == pytest.approx(2.5)
    assert scores["ade_best"].value == 0


def test_unknown_set():
    with pytest.raises(InputError, match="no forecast protocol"):
        list(forecast_windows("nothing"))
    assert score_forecasts([], repeat_last)[0]["ade"].n == 0

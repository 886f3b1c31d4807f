"""The page as a file: what it holds, what it never holds, and how small it stays."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from palmist.errors import InputError
from palmist.view.page import render_page, write_page
from palmist.view.payload import dequantise, pack_reading, quantise


def still_hands(frames: int) -> np.ndarray:
    """(T, 2, 21, 3) two open hands that drift to the right."""
    joints = np.zeros((frames, 2, 21, 3))
    for finger in range(5):
        for step in range(4):
            joints[:, :, 1 + 4 * finger + step] = (0.02 * (finger - 2), 0.03 * (step + 1) + 0.03, 0.0)
    joints[:, 1, :, 0] += 0.3
    joints[..., 0] += np.linspace(0.0, 0.1, frames)[:, None, None]
    return joints


def whole_reading(name: str = "wave", frames: int = 6, ahead: int = 4, count: int = 3) -> dict:
    time = np.arange(frames) / 20
    later = time[-1] + (np.arange(ahead) + 1) / 20
    joints = still_hands(frames)
    futures = np.repeat(still_hands(ahead)[None], count, axis=0) + np.arange(count)[:, None, None, None, None] * 0.01
    chances = np.stack([np.linspace(0.5, 0.9, frames), np.linspace(0.5, 0.1, frames)], axis=1)
    return {
        "name": name,
        "space": "metric",
        "frame": "device",
        "observed": {"time": time, "joints": joints, "valid": np.ones((frames, 2), dtype=bool)},
        "refined": {"time": time, "joints": joints},
        "futures": {"time": later, "joints": futures, "most_likely": 1},
        "truth_future": {"time": later, "joints": still_hands(ahead)},
        "actions": {"labels": ["wave", "rest"], "time": time, "probabilities": chances},
        "true_label": "wave",
        "timing": {"refine": 0.01},
        "model": "test",
        "notes": ["made for a test"],
    }


def page_data(text: str) -> dict:
    found = re.search(r'<script type="application/json" id="palmist-data">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def test_quantised_joints_come_back_within_half_a_step() -> None:
    values = np.random.default_rng(0).normal(size=(7, 2, 21, 3)) * (1.0, 100.0, 0.01)
    values[3, 1, 4] = np.nan
    back = dequantise(quantise(values))
    steps = (np.nanmax(values, axis=(0, 1, 2)) - np.nanmin(values, axis=(0, 1, 2))) / 65534
    assert np.array_equal(np.isnan(back), np.isnan(values))
    assert (np.nanmax(np.abs(back - values), axis=(0, 1, 2)) <= 0.5001 * steps).all()


def test_quantised_constants_and_unknowns_are_exact() -> None:
    values = np.array([[1.5, np.nan, 0.0], [1.5, np.nan, 0.0]])
    np.testing.assert_array_equal(dequantise(quantise(values)), values)


def test_missing_hands_and_absent_joints_carry_no_coordinates() -> None:
    reading = whole_reading()
    reading["observed"]["valid"][2, 0] = False
    reading["absent_joints"] = [1]
    joints = dequantise(pack_reading(reading)["observed"]["joints"])
    assert np.isnan(joints[2, 0]).all()
    assert np.isnan(joints[:, :, 1]).all()
    assert np.isfinite(joints[2, 1, 2:]).all()


def test_a_hand_unseen_at_the_end_has_no_future() -> None:
    reading = whole_reading()
    reading["observed"]["valid"][-1, 0] = False
    del reading["refined"]
    futures = dequantise(pack_reading(reading)["futures"]["joints"])
    assert np.isnan(futures[:, :, 0]).all()
    assert np.isfinite(futures[:, :, 1]).all()


@pytest.mark.parametrize(
    ("space", "frame", "expected"),
    [
        ("image", "image", ("down", "away")),
        ("planar", "image", ("down", "away")),
        ("metric", "camera", ("down", "away")),
        ("metric", "device", ("up", "towards")),
    ],
)
def test_each_space_knows_where_up_is(space: str, frame: str, expected: tuple[str, str]) -> None:
    packed = pack_reading({**whole_reading(), "space": space, "frame": frame})
    assert (packed["y_axis"], packed["z_axis"]) == expected


def test_hostile_names_stay_text() -> None:
    hostile = "</script><script>document.title='owned'</script><!-- \u2028 & {{script}}"
    reading = whole_reading(hostile)
    reading["actions"]["labels"] = [hostile, "rest"]
    text = render_page([reading], title=hostile)
    assert page_data(text)["readings"][0]["name"] == hostile
    assert page_data(text)["title"] == hostile
    assert text.count("<script") == len(re.findall(r"<script", render_page([whole_reading()])))
    assert "<title>&lt;/script&gt;" in text


def test_the_page_loads_nothing(tmp_path: Path) -> None:
    text = write_page([whole_reading()], tmp_path / "new" / "page.html").read_text(encoding="utf-8")
    markup = re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL)
    assert not re.search(r"https?://", markup)
    assert re.findall(r"\b(?:src|href|action|data)\s*=\s*(\S+?)[\s>]", markup) == ['"data:,"']
    assert not re.search(r"@import|url\(", markup)
    assert "default-src 'none'" in markup


def test_the_page_carries_the_licence_of_three() -> None:
    assert "Permission is hereby granted, free of charge" in render_page([whole_reading()])


def test_six_recordings_with_twenty_futures_stay_under_four_megabytes() -> None:
    readings = [whole_reading(f"take {i}", frames=60, ahead=48, count=20) for i in range(6)]
    assert len(render_page(readings).encode()) < 4_000_000


def test_null_coordinates_in_json_are_unknown() -> None:
    reading = whole_reading()
    plain = json.loads(json.dumps(reading, default=lambda array: array.tolist()))
    plain["observed"]["joints"][1][0][8] = [None, None, None]
    joints = dequantise(pack_reading(plain)["observed"]["joints"])
    assert np.isnan(joints[1, 0, 8]).all()
    assert np.isfinite(joints[1, 0, 7]).all()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"observed": None}, "no 'observed' track"),
        ({"space": "pixels"}, "space is 'pixels'"),
        ({"observed": {"time": [0.0], "joints": np.zeros((1, 2, 20, 3))}}, "expected (any, 2, 21, 3)"),
        ({"observed": {"time": [0.0, 0.0], "joints": np.zeros((2, 2, 21, 3))}}, "increasing"),
        ({"observed": {"time": [0.0], "joints": [[1, 2], [3]]}}, "not an array of numbers"),
        ({"futures": {"time": [9.0], "joints": np.zeros((2, 1, 2, 21, 3)), "most_likely": 2}}, "there are 2 futures"),
        ({"actions": {"labels": ["a"], "time": [0.0], "probabilities": [[7.0]]}}, "between 0 and 1"),
        ({"timing": {"refine": float("nan")}}, "timing"),
    ],
)
def test_wrong_fields_are_named(change: dict, said: str) -> None:
    with pytest.raises(InputError, match=re.escape(said)):
        pack_reading({**whole_reading(), **change})


def test_no_readings_is_an_error() -> None:
    with pytest.raises(InputError, match="no readings"):
        render_page([])


def test_objects_with_to_json_are_read() -> None:
    class Spoken:
        def to_json(self) -> str:
            return json.dumps(whole_reading("spoken"), default=lambda array: array.tolist())

    assert page_data(render_page([Spoken()]))["readings"][0]["name"] == "spoken"


def test_a_video_needs_its_reading_and_its_file(tmp_path: Path) -> None:
    pose = np.zeros((2, 2, 21, 3)) + np.arange(21)[:, None] * 0.01
    still = {"name": "still", "observed": {"time": [0.0, 0.05], "joints": pose}}
    for videos, says in (({"other": tmp_path / "a.mp4"}, "no reading"), ({"still": tmp_path / "a.mp4"}, "no file")):
        with pytest.raises(InputError, match=says):
            render_page([still], videos=videos)
    (tmp_path / "a.mp4").write_bytes(b"film")
    assert '"video":"ZmlsbQ=="' in render_page([still], videos={"still": tmp_path / "a.mp4"})

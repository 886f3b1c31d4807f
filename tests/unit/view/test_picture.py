"""Still pictures of recordings and readings: what is known is drawn, in its place, and nothing else."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from conftest import tiny_recording
from palmist.errors import InputError
from palmist.reading import Reading
from palmist.recording import Recording
from palmist.view import draw_reading, draw_recording
from palmist.view.overlay import GOLD, SIDES


def colours(pixels: np.ndarray) -> set[tuple[int, ...]]:
    return {tuple(int(value) for value in colour) for colour in np.unique(pixels.reshape(-1, 3), axis=0)}


def reading(recording: Recording, futures: int) -> Reading:
    ahead = np.repeat(recording.joints[-1:], 10, 0)[None].repeat(futures, 0) + 0.01 * np.arange(10)[None, :, None, None, None]
    return Reading(
        recording=recording, model="none", refined=recording.joints, refined_known=recording.known, futures=ahead,
        futures_time=recording.time[-1] + np.arange(1, 11) / 30, futures_known=np.ones((2, 21), bool),
        deterministic=recording.joints[-10:], most_likely=0, scale=np.ones(3), hand_size=0.09,
    )  # fmt: skip


def test_moments_stand_side_by_side_and_only_known_hands_are_drawn() -> None:
    both = draw_recording(tiny_recording(), moments=3, size=120).pixels
    assert both.shape == (120, 360, 3)
    assert {*SIDES} <= colours(both)
    left_only = tiny_recording(valid=np.tile([True, False], (24, 1)))
    assert SIDES[1] not in colours(draw_recording(left_only).pixels)


def test_up_is_up_in_world_coordinates_and_down_in_a_cameras() -> None:
    recording = tiny_recording(valid=np.tile([True, False], (24, 1)))  # fingers point to larger y
    rows = {}
    for frame in ("camera", "world"):
        pixels = draw_recording(tiny_recording(valid=recording.valid, frame=frame), moments=1, size=200).pixels
        drawn = np.argwhere((pixels == SIDES[0]).all(-1))[:, 0]
        rows[frame] = drawn.mean() - (drawn.min() + drawn.max()) / 2  # the fingers' side has more ink
    assert rows["camera"] > 0 > rows["world"]


def test_a_reading_with_futures_has_a_panel_more_with_gold() -> None:
    recording = tiny_recording()
    plain, with_futures = draw_reading(reading(recording, 0)), draw_reading(reading(recording, 3))
    assert plain.pixels.shape == (240, 4 * 240, 3)
    assert with_futures.pixels.shape == (240, 5 * 240, 3)
    assert GOLD not in colours(plain.pixels)
    assert GOLD in colours(with_futures.pixels[:, 4 * 240 :])


def test_a_picture_is_saved_as_it_is_shown(tmp_path: Path) -> None:
    picture = draw_recording(tiny_recording(), size=64)
    file = picture.save(tmp_path / "new" / "hands.png")
    assert file.read_bytes() == picture._repr_png_()
    assert np.array_equal(cv2.imread(str(file))[..., ::-1], picture.pixels)
    with pytest.raises(InputError, match="does not end in"):
        picture.save(tmp_path / "hands.jpg")


def test_nothing_to_draw_is_said() -> None:
    with pytest.raises(InputError, match="no joint of tiny/000 is known"):
        draw_recording(tiny_recording(valid=np.zeros((24, 2), bool)))
    with pytest.raises(InputError, match="at least 1"):
        draw_recording(tiny_recording(), moments=0)

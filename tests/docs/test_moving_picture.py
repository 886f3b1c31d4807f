"""The README's moving picture: its size and length, and that its tool draws what it says."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

Image = pytest.importorskip("PIL.Image")

ROOT = Path(__file__).resolve().parents[2]
PICTURE = ROOT / "docs/images/palmist.gif"


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_moving_picture", ROOT / "tools/make_moving_picture.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["make_moving_picture"] = module  # named tuples look themselves up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def scene(tool: ModuleType) -> object:
    tool.LABELS = tool.LABELS[:1]
    return tool.scene(tool.readings()[0])


def share_of(picture: np.ndarray, colour: tuple[int, int, int]) -> float:
    return float((np.abs(np.asarray(picture)[..., :3].astype(int) - colour).max(-1) < 40).mean())


def test_the_picture_is_small_and_moves_for_eight_to_ten_seconds(tool: ModuleType) -> None:
    assert PICTURE.stat().st_size < 1_500_000
    with Image.open(PICTURE) as picture:
        assert picture.size == (tool.WIDTH, tool.HEIGHT) == (640, 400)
        assert picture.info["loop"] == 0
        length = 0
        for index in range(picture.n_frames):
            picture.seek(index)
            length += picture.info["duration"]
    assert picture.n_frames > 60
    assert 8_000 <= length <= 10_000


def test_readme_and_index_show_it() -> None:
    assert re.search(r"!\[[^\]]+\]\(docs/images/palmist\.gif\)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert re.search(r"!\[[^\]]+\]\(images/palmist\.gif\)", (ROOT / "docs/index.md").read_text(encoding="utf-8"))


def test_hands_first_and_gold_futures_after(tool: ModuleType, scene: object) -> None:
    side = tool.HEIGHT
    first, seen = (np.asarray(tool.frame(scene, step))[:, :side] for step in (0, tool.SEEN - 1))
    last = np.asarray(tool.frame(scene, tool.SEEN + tool.AHEAD - 1))[:, :side]
    for picture in (first, seen):
        assert share_of(picture, tool.SIDES[0]) > 0.003
        assert share_of(picture, tool.SIDES[1]) > 0.003
        assert share_of(picture, tool.GOLD) == 0
    assert share_of(last, tool.GOLD) > 0.003
    assert (first != seen).any()


def test_the_actions_bar_grows(tool: ModuleType, scene: object) -> None:
    column = slice(tool.HEIGHT + 4, None)
    start, end = (np.asarray(tool.frame(scene, step))[120:150, column] for step in (0, tool.SEEN - 1))
    assert share_of(end, tool.SIDES[0]) > share_of(start, tool.SIDES[0])


def test_between_frames_is_what_both_neighbours_know(tool: ModuleType) -> None:
    values = np.zeros((3, 2, 21, 3))
    values[1], values[2] = 1.0, 3.0
    known = np.ones((3, 2, 21), bool)
    known[2, 1] = False
    joints, both = tool.between(values, known, 1.25)
    np.testing.assert_allclose(joints, 1.5)
    assert both[0].all()
    assert not both[1].any()
    joints, both = tool.between(values, known, 2.0)
    np.testing.assert_allclose(joints, 3.0)


def test_a_gif_is_written_frame_by_frame(tool: ModuleType, tmp_path: Path) -> None:
    pictures = []
    for step in range(4):
        pixels = np.zeros((tool.HEIGHT, tool.WIDTH, 3), np.uint8)
        pixels[:, : 100 * (step + 1)] = tool.GOLD
        pictures.append(Image.fromarray(pixels))
    tool.save(pictures, tmp_path / "a.gif")
    with Image.open(tmp_path / "a.gif") as written:
        assert written.n_frames == 4
        written.seek(2)
        assert share_of(np.asarray(written.convert("RGB")), tool.GOLD) == pytest.approx(300 / tool.WIDTH, abs=0.01)

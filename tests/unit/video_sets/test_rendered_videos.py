"""Drawn recordings as videos: kept drawings are the drawings, and half a file is not read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from palmist.errors import InputError
from palmist.video_sets import RenderedConfig, rendered_videos
from palmist.video_sets import rendered as module

SMALL = {"size": 32}


def test_kept_drawings_are_read_instead_of_drawn_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = RenderedConfig(limit=3, settings=SMALL, folder=str(tmp_path))
    fresh = rendered_videos(RenderedConfig(limit=3, settings=SMALL))
    first = rendered_videos(config)
    monkeypatch.setattr(module, "render_clip", lambda *_: pytest.fail("it was drawn again"))
    second = rendered_videos(config)
    for videos in (first, second):
        assert videos.names == fresh.names
        assert videos.labels == fresh.labels
        assert np.array_equal(videos.label, fresh.label)
        assert all(np.array_equal(a, b) for a, b in zip(videos.frames, fresh.frames, strict=True))


def test_other_settings_draw_anew(tmp_path: Path) -> None:
    for settings, seed in ((SMALL, 0), (SMALL, 1), ({"size": 34}, 0)):
        rendered_videos(RenderedConfig(limit=1, seed=seed, settings=settings, folder=str(tmp_path)))
    assert len(list(tmp_path.glob("drawn-*.npy"))) == 3


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    config = RenderedConfig(limit=2, settings=SMALL, folder=str(tmp_path))
    rendered_videos(config)
    (file,) = tmp_path.glob("*.npy")
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(InputError, match=r"drawn-.*delete the file"):
        rendered_videos(config)
    file.with_suffix(".json").unlink()  # as if the writing had been cut off
    assert len(rendered_videos(config)) == 2

"""docs/own-data.md, "In ten minutes": all its blocks in turn, on takes of a made-up glove and a cut of a real video."""

from __future__ import annotations

import re
import shlex
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import palmist
from palmist.cli import app
from palmist.demo_data import demo_video
from palmist.perception.video import Video, write_video

ROOT = Path(__file__).resolve().parents[2]
SECTION = (ROOT / "docs/own-data.md").read_text(encoding="utf-8").split("## In ten minutes")[1].split("\n## ")[0]
BLOCKS = re.findall(r"```(python|sh|yaml)\n(.*?)```", SECTION, flags=re.S)


def glove() -> Any:
    """The made-up glove of the example."""
    script = (ROOT / "examples/own_data.py").read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    exec(script.split("# %%\n")[1], names)
    return names["glove"]


def run(command: str) -> str:
    words = shlex.split(command, comments=True)[1:]
    quick = ["--steps", "3"] if words[0] == "train" else []
    result = CliRunner().invoke(app, [*words, *quick], env={"COLUMNS": "160"})
    assert result.exit_code == 0, f"{command}: {result.output}"
    return result.output


def test_the_section_runs_from_beginning_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("takes").mkdir()
    make = glove()
    for number, person in enumerate(("anna", "ben", "carl")):
        for label in ("grip", "wave"):
            for take in range(2):
                np.save(f"takes/{person}_{label}_{take}.npy", make(label, 10 * number + take))
    frames = list(islice(Video(demo_video()[0]), 60, 84))
    write_video("clip.mp4", [image[::4, ::4] for image, _ in frames], [time for _, time in frames])
    names: dict[str, Any] = {}
    said: dict[str, str] = {}
    for kind, text in BLOCKS:
        if kind == "python":
            exec(compile(text, "own-data.md", "exec", dont_inherit=True), names)
        elif kind == "yaml":
            Path(text.splitlines()[0].removeprefix("# ")).write_text(text, encoding="utf-8")
        else:
            said |= {line: run(line) for line in text.splitlines() if line.startswith("palmist ")}
    assert [kind for kind, _ in BLOCKS] == ["python", "sh", "yaml", "sh", "sh"]
    assert "12 recordings, 540 frames: 12 sound" in next(text for line, text in said.items() if " check " in line)
    assert "glove/test/bharnet/accuracy" in next(text for line, text in said.items() if " evaluate " in line)
    _the_glove_is_in_its_place(names["recordings"][0], make("grip", 0))


def _the_glove_is_in_its_place(recording: palmist.Recording, millimetres: np.ndarray) -> None:
    known = recording.known
    assert not known[:, 0].any()
    assert known[:, 1].sum(1).tolist() == [17] * len(recording)
    little_tip, index_tip = recording.joints[:, 1, 20], recording.joints[:, 1, 8]  # the canonical order's own numbers
    assert np.allclose(little_tip, millimetres[:, 4] / 1000, atol=1e-6)
    assert np.allclose(index_tip, millimetres[:, 16] / 1000, atol=1e-6)
    assert not known[:, 1, 1:5].any()  # the thumb

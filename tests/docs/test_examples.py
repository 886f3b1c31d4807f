"""examples/: every script runs (with a training of two steps), and its notebook holds its cells with their outputs."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted((ROOT / "examples").glob("*.py"))
NAMES = [script.stem for script in SCRIPTS]


def load(tool: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(tool, ROOT / f"tools/{tool}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[tool] = module
    spec.loader.exec_module(module)
    return module


def built(name: str) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = json.loads((ROOT / f"examples/{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    return listed


def test_there_is_a_notebook_for_each_main_use() -> None:
    assert NAMES == ["own_data", "predict_futures", "read_a_video", "refine_and_recognise"]
    assert {file.stem for file in (ROOT / "examples").glob("*.ipynb")} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_holds_the_cells_of_its_script(name: str) -> None:
    cells = load("make_notebooks").cells((ROOT / f"examples/{name}.py").read_text(encoding="utf-8"))
    assert [(cell["cell_type"], "".join(cell["source"])) for cell in built(name)] == [tuple(cell) for cell in cells]
    assert cells[0].kind == "markdown"
    assert cells[0].text.startswith("# ")
    for cell in built(name):
        assert cell["cell_type"] == "markdown" or cell["outputs"] or not _prints("".join(cell["source"]))
    shown = json.dumps(built(name))
    assert "image/png" in shown
    assert str(ROOT) not in shown
    assert "Traceback" not in shown


def _prints(source: str) -> bool:
    return any(line.startswith("print(") for line in source.splitlines())


@pytest.mark.parametrize("name", NAMES)
def test_an_example_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tool = load("make_notebooks")
    script = (ROOT / f"examples/{name}.py").read_text(encoding="utf-8").replace("steps: 60", "steps: 2")
    names: dict[str, Any] = {"__name__": "__main__"}
    with contextlib.redirect_stderr(io.StringIO()):
        outputs = [tool.run_cell(cell.text, names) for cell in tool.cells(script) if cell.kind == "code"]
    kept = [cell["outputs"] for cell in built(name) if cell["cell_type"] == "code"]
    assert [_kinds(now) for now in outputs] == [_kinds(then) for then in kept]
    if "steps: 2" not in script:
        assert _words(outputs) == _words(kept)


def _kinds(outputs: list[dict[str, Any]]) -> list[tuple[str, list[str]]]:
    return [(output["output_type"], sorted(output.get("data", {}))) for output in outputs]


def _words(outputs: list[list[dict[str, Any]]]) -> list[str]:
    """What was printed, without numbers, which may differ in the last figure from machine to machine."""
    text = "".join("".join(output.get("text", [])) for cell in outputs for output in cell)
    return [word for word in text.split() if word.strip("#,()").isalpha()]


def test_the_tool_shows_what_a_cell_prints_and_its_last_value() -> None:
    tool = load("make_notebooks")
    script = "ignored\n# %% [markdown]\n# # Title\n#\n# text\n\n# %%\nx = 1\nprint('one')\nx + 1\n\n\n# %%\nx = 3\n"
    cells = tool.cells(script)
    assert [tuple(cell) for cell in cells] == [
        ("markdown", "# Title\n\ntext"), ("code", "x = 1\nprint('one')\nx + 1"), ("code", "x = 3"),
    ]  # fmt: skip
    names: dict[str, Any] = {}
    printed, value = tool.run_cell(cells[1].text, names)
    assert printed["text"] == ["one\n"]
    assert value["data"]["text/plain"] == ["2"]
    assert tool.run_cell(cells[2].text, names) == []
    with pytest.raises(ZeroDivisionError):
        tool.run_cell("1 / 0", names)


def test_a_page_of_the_site_is_made_of_a_notebook() -> None:
    text, pictures = load("site_notebooks").page_of({"cells": built("predict_futures")}, "predict_futures")
    assert text.startswith("# Predict many futures\n")
    assert "```python\nimport numpy as np" in text
    assert len(pictures) == text.count("](predict_futures_") == 1
    assert all(data.startswith(b"\x89PNG") for data in pictures.values())

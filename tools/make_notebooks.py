"""Build examples/*.ipynb: the cells of each examples/*.py, run one after the other, with what they print and draw.

    python tools/make_notebooks.py [NAME ...]

A script's cells begin with `# %%`, those of text with `# %% [markdown]`, as editors and Jupyter know them. A cell's last line
is shown as Jupyter shows it: by `_repr_png_` if its value has that, else by `repr`. Each runs in a folder of its own.
"""

from __future__ import annotations

import ast
import base64
import contextlib
import io
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

FOLDER = Path(__file__).resolve().parents[1] / "examples"


class Cell(NamedTuple):
    kind: str  # "markdown" or "code"
    text: str


def cells(script: str) -> list[Cell]:
    """The cells of a script, in order; what stands before the first `# %%` is left out."""
    found = []
    for part in ("\n" + script).split("\n# %%")[1:]:
        head, _, body = part.partition("\n")
        if "[markdown]" in head:
            lines = [line.removeprefix("#").removeprefix(" ") for line in body.strip("\n").splitlines()]
            found.append(Cell("markdown", "\n".join(lines)))
        else:
            found.append(Cell("code", body.strip("\n")))
    return found


def run_cell(code: str, names: dict[str, Any]) -> list[dict[str, Any]]:
    """Run a cell and return its outputs in the notebook format: what it printed, then the value of its last line."""
    tree = ast.parse(code)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    printed, value = io.StringIO(), None
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, "cell", "exec", dont_inherit=True), names)
        if last is not None:
            value = eval(compile(ast.Expression(last.value), "cell", "eval", dont_inherit=True), names)  # type: ignore[attr-defined]
    outputs: list[dict[str, Any]] = []
    if printed.getvalue():
        outputs.append({"output_type": "stream", "name": "stdout", "text": printed.getvalue().splitlines(keepends=True)})
    if value is not None:
        data: dict[str, Any] = {"text/plain": repr(value).splitlines(keepends=True)}
        if hasattr(value, "_repr_png_"):
            data["image/png"] = base64.b64encode(value._repr_png_()).decode()
        outputs.append({"output_type": "execute_result", "data": data, "metadata": {}, "execution_count": None})
    return outputs


def notebook(script: str) -> dict[str, Any]:
    """A script as a notebook with outputs, run in a new folder."""
    names: dict[str, Any] = {"__name__": "__main__"}
    listed = []
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            for number, cell in enumerate(cells(script)):
                entry: dict[str, Any] = {
                    "id": f"cell-{number:02d}", "cell_type": cell.kind, "metadata": {},
                    "source": cell.text.splitlines(keepends=True),
                }  # fmt: skip
                if cell.kind == "code":
                    entry |= {"execution_count": None, "outputs": run_cell(cell.text, names)}
                listed.append(entry)
        finally:
            os.chdir(before)
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    facts = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return {"cells": listed, "metadata": facts, "nbformat": 4, "nbformat_minor": 5}


def main() -> None:
    for file in sorted(FOLDER.glob("*.py")):
        if len(sys.argv) > 1 and file.stem not in sys.argv[1:]:
            continue
        built = json.dumps(notebook(file.read_text(encoding="utf-8")), indent=1, ensure_ascii=False)
        file.with_suffix(".ipynb").write_text(built + "\n", encoding="utf-8")
        print(f"{file.with_suffix('.ipynb').name}: {len(built) // 1024} KiB")


if __name__ == "__main__":
    main()

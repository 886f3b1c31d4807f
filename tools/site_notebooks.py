"""A hook of MkDocs: every notebook of examples/ becomes a page of the site, with its outputs and pictures."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

FOLDER = Path(__file__).resolve().parents[1] / "examples"


def page_of(notebook: dict[str, Any], name: str) -> tuple[str, dict[str, bytes]]:
    """The Markdown of a notebook, and its pictures by file name."""
    parts: list[str] = []
    pictures: dict[str, bytes] = {}
    for cell in notebook["cells"]:
        text = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(text)
            continue
        parts.append(f"```python\n{text}\n```")
        for output in cell["outputs"]:
            data = output.get("data", {})
            if "image/png" in data:
                picture = f"{name}_{len(pictures)}.png"
                pictures[picture] = base64.b64decode(data["image/png"])
                parts.append(f"![Output of the cell above]({picture})")
            else:
                shown = "".join(output.get("text") or data["text/plain"]).rstrip("\n")
                parts.append(f"```text\n{shown}\n```")
    parts.append(f"This page is the notebook `examples/{name}.ipynb`, built from `examples/{name}.py`.")
    return "\n\n".join(parts) + "\n", pictures


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Called by MkDocs before pages are made."""
    from mkdocs.structure.files import File

    for file in sorted(FOLDER.glob("*.ipynb")):
        text, pictures = page_of(json.loads(file.read_text(encoding="utf-8")), file.stem)
        files.append(File.generated(config, f"examples/{file.stem}.md", content=text))
        for name, data in pictures.items():
            files.append(File.generated(config, f"examples/{name}", content=data))
    return files

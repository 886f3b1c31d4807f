"""An extension of Griffe for the site's reference: Palmist's docstrings in the form that mkdocstrings knows.

`Example:` and bare `>>>` become code, and indented lists under a plain heading ("Shapes and units") keep their layout.
"""

from __future__ import annotations

import re
from typing import Any

import griffe


def adapted(text: str) -> str:
    """A cleaned docstring with its examples and indented lists as fenced code."""
    text = re.sub(r"^Example:$", "Examples:", text, flags=re.M)
    lines: list[str] = []
    fence = ""  # what the open fence ends at: "" none, "list" a line that is not indented, "example" an empty line
    section = False  # inside a section that Griffe knows, such as Args:
    for line in [*text.splitlines(), ""]:
        inside = line.startswith("    ")
        if (fence == "list" and line and not inside) or (fence == "example" and not line.strip()):
            lines += ["```", ""]
            fence = ""
        if not fence and not inside and line.strip():
            section = re.fullmatch(r"(Args|Returns|Yields|Raises|Attributes|Examples):", line) is not None
            if line.startswith(">>>"):
                lines += ["", "```python"]
                fence = "example"
        elif not fence and inside and not section:
            lines += ["", "```text"]
            fence = "list"
        lines.append(line[4:] if fence == "list" else line)
    return "\n".join([*lines, "```"] if fence else lines).strip()


class Docstrings(griffe.Extension):
    """Rewrites every docstring as it is read."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = adapted(obj.docstring.value)

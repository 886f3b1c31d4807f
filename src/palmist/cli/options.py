"""Options that several commands have."""

from __future__ import annotations

from typing import Annotated

import typer

JsonFile = Annotated[str | None, typer.Option("--json", metavar="FILE", help="Also write the result as JSON (- = stdout).")]
ModelName = Annotated[str, typer.Option("--model", "-m", help="A model's name or the folder of a checkpoint.")]

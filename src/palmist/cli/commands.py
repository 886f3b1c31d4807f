"""The command `palmist`: which commands there are, in the order in which `palmist --help` shows them.

Each command is a function beside its work, in the file of its group: parse and call. Tables go to stdout, logs and progress to
stderr; `--json FILE` writes the same facts as JSON ("-": stdout). Nothing heavy is imported before a command needs it, so that
`palmist --help` answers at once.
"""

from __future__ import annotations

from typing import Annotated

import typer

from palmist.cli.check import check
from palmist.cli.data import datasets, prepare, render
from palmist.cli.demo import demo
from palmist.cli.models import fetch, models
from palmist.cli.narrate import narrate
from palmist.cli.output import guarded
from palmist.cli.read import read
from palmist.cli.search import index, search
from palmist.cli.training import benchmark, evaluate, train

__all__ = ["app", "main"]

app = typer.Typer(
    name="palmist",
    help="Palmist reads hands: what they are doing, and what they will do next.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)


def main(arguments: list[str] | None = None) -> None:
    """Entry point of the command `palmist`."""
    app(args=arguments, prog_name="palmist")


def _version(wanted: bool) -> None:
    if wanted:
        from importlib import metadata

        print(f"palmist {metadata.version('palmist')}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


#: of a command that takes the settings of a file as options of their own names
_ANY_OPTION = {"allow_extra_args": True, "ignore_unknown_options": True}

for _command in (
    demo, read, narrate, check, prepare, render, train, evaluate, benchmark, index, search, fetch, models, datasets,
):  # fmt: skip
    app.command(context_settings=_ANY_OPTION if _command is train else None)(guarded(_command))

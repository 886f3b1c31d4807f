"""The command `palmist`: thin, each command parses and calls the function of the same name."""

from palmist.cli.commands import app, main

__all__ = ["app", "main"]

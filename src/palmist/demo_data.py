"""The recordings that the package carries for the demo and the examples."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from palmist.recording import Recording
from palmist.store import Store

__all__ = ["demo_recordings"]


def demo_recordings() -> list[Recording]:
    """Five signed words of signer S2 and one reach of person P1, whom the shipped model has never seen.

    Their licences lie beside them in the package (assets/demo).

    Example:
        >>> demo_recordings()[0].segments[0].label
        'coffee'
    """
    return list(Store.open(Path(str(files("palmist"))) / "assets" / "demo"))

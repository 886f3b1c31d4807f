"""Palmist reads hands: what they are doing, and what they will do next.

>>> import palmist
>>> reader = palmist.load("ghtt-small")
>>> reading = reader.read("coffee.npz")
>>> print(reading.label, f"{reading.probability:.0%}")
>>> reading.save("coffee.html")

`import palmist` is quick: torch is imported when a name needs it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from palmist.damage import check, repair
    from palmist.demo_data import demo_recordings
    from palmist.errors import InputError
    from palmist.model_zoo import models
    from palmist.reader import Reader, load
    from palmist.readers import open_data
    from palmist.reading import Reading
    from palmist.recording import ActionSegment, Body, Recording
    from palmist.recording_file import read_recording, write_recording
    from palmist.store import Store, write_store
    from palmist.view import write_page

_HOME = {
    "ActionSegment": "recording",
    "Body": "recording",
    "InputError": "errors",
    "Reader": "reader",
    "Reading": "reading",
    "Recording": "recording",
    "Store": "store",
    "check": "damage",
    "demo_recordings": "demo_data",
    "load": "reader",
    "models": "model_zoo",
    "open_data": "readers",
    "read_recording": "recording_file",
    "repair": "damage",
    "write_page": "view",
    "write_recording": "recording_file",
    "write_store": "store",
}

__all__ = [
    "ActionSegment",
    "Body",
    "InputError",
    "Reader",
    "Reading",
    "Recording",
    "Store",
    "check",
    "demo_recordings",
    "load",
    "models",
    "open_data",
    "read_recording",
    "repair",
    "write_page",
    "write_recording",
    "write_store",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib import metadata

        return metadata.version("palmist")
    if name not in _HOME:
        raise AttributeError(f"palmist has no attribute {name!r}")
    value = getattr(import_module(f"palmist.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__, "__version__"])

"""A user's text and JSON files, read with one sentence for whatever is wrong: missing, a folder, a pipe, another encoding.

>>> with damage_named(path, "a table of labels"):
...     labels = [row["label"] for row in read_json(path, "a table of labels")]
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from palmist.errors import InputError

__all__ = ["check_file", "damage_named", "decode_json", "one_line", "parse_json", "read_json", "read_text"]

#: What code raises on content of another shape than it expects.
_SHAPE = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError, AssertionError, OSError)

_DIGITS = 300  # a float holds numbers of 308


def one_line(error: BaseException) -> str:
    """What an error says, on one line and not too long."""
    text = " ".join(str(error).split())
    named = f"{type(error).__name__}: {text}" if isinstance(error, LookupError | RecursionError) or not text else text
    return named if len(named) <= 200 else f"{named[:200]}..."


def check_file(path: Path, expected: str) -> None:
    """InputError unless path is a regular file: reading a pipe or a device could last for ever."""
    try:
        found = "is a folder" if path.is_dir() else "does not exist" if not path.exists() else "is not a regular file"
        regular = path.is_file()
    except (OSError, ValueError) as error:  # a loop of links, a name that no file can have
        raise InputError(f"{str(path)!r} cannot be opened ({one_line(error)}); expected {expected}") from error
    if not regular:
        raise InputError(f"{path} {found}; expected {expected}")


def read_text(path: Path, expected: str = "a text file", encoding: str = "utf-8", errors: str = "strict") -> str:
    """The text of a file; InputError when it is not there, no regular file, or in another encoding."""
    check_file(path, expected)
    try:
        return path.read_text(encoding=encoding, errors=errors)
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is not text in {encoding.upper()} (byte {error.object[error.start]:#04x} at {error.start}); "
            f"expected {expected}; save it in that encoding, or download it again"
        ) from error
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error}); expected {expected}") from error


def decode_json(text: str | bytes) -> Any:
    """What a JSON text holds. ValueError when it is none or has a whole number that no float can be, RecursionError when it is
    nested without end."""
    return json.loads(text, parse_int=_whole_number)


def parse_json(text: str | bytes, where: str, expected: str) -> Any:
    """What a JSON text holds; InputError when it is none, nested without end, or has a whole number that no float can be."""
    try:
        return decode_json(text)
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{where} is not whole JSON ({one_line(error)}); expected {expected}; copy or download it again"
        ) from error


def _whole_number(digits: str) -> int:
    if len(digits) > _DIGITS:
        raise ValueError(f"a number of {len(digits)} digits")
    return int(digits)


def read_json(path: Path, expected: str) -> Any:
    """What a JSON file holds; InputError when it is missing, or is not JSON (a half-finished download)."""
    return parse_json(read_text(path, expected), str(path), expected)


@contextlib.contextmanager
def damage_named(where: str | Path, expected: str) -> Iterator[None]:
    """Turn what code raises on content of another shape (a missing key, text for a number) into an InputError."""
    try:
        yield
    except InputError:
        raise
    except _SHAPE as error:
        raise InputError(
            f"{where} holds something else than expected ({one_line(error)}); expected {expected}; copy or download it again"
        ) from error

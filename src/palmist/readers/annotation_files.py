"""What readers of text annotations share: JSON and CSV files with errors in one sentence, and where folders may lie."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from palmist.errors import InputError
from palmist.files.input_files import read_json, read_text

__all__ = ["find_below", "joint_block", "read_json", "read_lines", "read_table", "whole_number"]


def find_below(root: Path, places: Sequence[str], what: str) -> Path:
    """The first of `places` (relative paths) that exists below root.

    Raises InputError when root is no folder, or none of them is there: `what` says what was looked for.
    """
    if not root.is_dir():
        raise InputError(f"{root} is not a folder; expected one with {places[0]} in it")
    for place in places:
        if (root / place).exists():
            return root / place
    raise InputError(f"{root} has no {what}; expected {' or '.join(places)} in it; unpack the archive that holds it there")


def read_lines(path: Path, expected: str) -> list[str]:
    """The lines of a text file; InputError when it is missing, or is no UTF-8 text."""
    return read_text(path, expected, "utf-8-sig").splitlines()


def read_table(path: Path, needed: Iterable[Sequence[str]]) -> list[dict[str, str]]:
    """The rows of a CSV file with a header.

    needed: for each needed column the names that it may have; a row has it under the first of them.

    Raises InputError when the file or a column is missing, or a row is too short.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist; expected the annotation file of that name")
    text = read_text(path, "a table with commas", "utf-8-sig")
    try:
        reader = csv.DictReader(io.StringIO(text, newline=""))
        header = reader.fieldnames or []
        rows = list(reader)
    except csv.Error as error:
        raise InputError(f"{path} is no table with commas ({error}); download it again") from error
    rename: dict[str, str] = {}
    for names in needed:
        found = next((name for name in names if name in header), None)
        if found is None:
            raise InputError(
                f"{path} has the columns {', '.join(header) or '(none)'}; expected one called {' or '.join(names)}"
            )
        rename[names[0]] = found
    for number, row in enumerate(rows, 2):
        if any(row[name] is None for name in rename.values()):
            raise InputError(
                f"{path}, line {number}: found {sum(v is not None for v in row.values())} columns, expected {len(header)}"
            )
        row.update({name: row[source] for name, source in rename.items()})
    return rows


def whole_number(text: str, path: Path, what: str) -> int:
    """`text` as a whole number; InputError names the file and what the number is."""
    try:
        return int(text)
    except ValueError as error:
        raise InputError(f"{path}: {what} is {text!r}; expected a whole number") from error


def joint_block(numbers: Any, shape: tuple[int, ...], path: Path, where: str) -> np.ndarray:
    """Nested numbers as float64 of this shape; InputError names the file and the place in it."""
    try:
        block = np.array(numbers, np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}, {where}: {error}; expected {shape} numbers") from error
    if block.shape != shape:
        raise InputError(f"{path}, {where}: found numbers of shape {block.shape}, expected {shape}")
    return block


def entry(mapping: Any, key: str, path: Path, where: str) -> Any:
    """mapping[key]; InputError when it is not a mapping or lacks the key."""
    if not isinstance(mapping, Mapping) or key not in mapping:
        found = ", ".join(map(str, list(mapping)[:4])) if isinstance(mapping, Mapping) else type(mapping).__name__
        raise InputError(f"{path}, {where}: found {found or 'nothing'}, expected '{key}'; is it another version of the file?")
    return mapping[key]

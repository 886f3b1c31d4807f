"""The page of the house names every room that there is, and none that there is not."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src/palmist"
PAGE = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")


def rows(page: str) -> list[tuple[list[str], list[str]]]:
    """Of each row of the table of rooms: paths in its first column, and in the second."""
    cells = [line.strip("|").split("|", 1) for line in page.splitlines() if line.startswith("| `")]
    return [tuple(re.findall(r"`([\w./]+(?:\.py|/))`", cell) for cell in row) for row in cells]  # type: ignore[misc]


def rooms() -> set[str]:
    """Modules in the root, and packages with their folders' names, as the page writes them."""
    packages = {f"{file.parent.relative_to(PACKAGE).as_posix()}/" for file in PACKAGE.rglob("*/__init__.py")}
    return packages | {file.name for file in PACKAGE.glob("*.py")}


def faults(page: str) -> list[str]:
    """What the page leaves out, names twice, or names and is not there."""
    named = [name for first, _ in rows(page) for name in first]
    found = [f"{name} is in no room" for name in sorted(rooms() - set(named))]
    found += [f"{name} is named twice" for name in sorted(set(named)) if named.count(name) > 1]
    for first, second in rows(page):
        found += [f"{name} is not there" for name in first if name not in rooms()]
        folders = [name for name in first if name.endswith("/")] or [""]
        for name in second:
            places = [PACKAGE / folder / name for folder in (*folders, "")]
            found += [f"{name} is not there"] * (not any(place.exists() for place in places))
    return found


def test_every_room_is_named_and_is_there() -> None:
    assert faults(PAGE) == []


def test_a_page_that_is_not_true_is_found() -> None:
    assert "store/ is in no room" in faults(PAGE.replace("| `store/` |", "| |"))
    assert "utils/ is not there" in faults(PAGE.replace("| `store/` |", "| `store/`, `utils/` |"))
    assert "helpers.py is not there" in faults(PAGE.replace("`npz.py`", "`helpers.py`"))
    assert "view/ is named twice" in faults(PAGE.replace("| `store/` |", "| `store/`, `view/` |"))


def test_the_rooms_of_the_page_are_not_few() -> None:
    assert len(rooms()) > 40
    assert len(rows(PAGE)) > 20


def test_unit_tests_mirror_the_package() -> None:
    folders = {f"{folder.relative_to(ROOT / 'tests/unit').as_posix()}/" for folder in (ROOT / "tests/unit").rglob("*/")}
    folders = {folder for folder in folders if "__pycache__" not in folder and folder != "./"}
    assert folders <= rooms()
    assert len(folders) > 15
    names = [file.name for file in (ROOT / "tests").rglob("test_*.py")]
    assert [name for name in set(names) if names.count(name) > 1] == []

"""README: its example runs and prints what it says, its tables are the committed records, its commands exist."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import re
from pathlib import Path
from types import ModuleType

import pytest

from palmist.cli import app

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_python_example_prints_what_the_readme_says() -> None:
    code, output = re.findall(r"```(?:python|text)\n(.*?)```", README, flags=re.S)[:2]
    assert len([line for line in code.splitlines() if line.strip()]) <= 5
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "README.md", "exec"), {})
    assert printed.getvalue() == output


def load(tool: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(tool, ROOT / f"tools/{tool}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tables_are_made_from_the_records() -> None:
    module = load("make_results")
    assert module.updated(README) == README
    assert module.PAGE.read_text(encoding="utf-8") == module.page()
    assert len(module.records()) > 20


def test_the_page_of_ghtts_tables_is_made_from_the_records() -> None:
    module = load("make_ghtt_tables")
    assert module.PAGE.read_text(encoding="utf-8") == module.page()


def test_the_card_shows_the_records() -> None:
    module = load("ship_checkpoint")
    assert module.results_table() in (module.SHIPPED / "card.md").read_text(encoding="utf-8")


def test_the_estimators_card_shows_the_records(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    module = load("ship_estimator")
    assert module.results_table() in (module.SHIPPED / "card.md").read_text(encoding="utf-8")
    assert len(module.results_table().splitlines()) > 12


def test_bharnets_card_shows_the_records() -> None:
    module = load("ship_bharnet")
    assert module.results_table() in (module.SHIPPED / "card.md").read_text(encoding="utf-8")


def test_commands_and_links_of_the_readme_exist() -> None:
    names = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    used = set(re.findall(r"palmist (demo|[a-z]+)\b(?= )", " ".join(re.findall(r"```sh\n(.*?)```", README, flags=re.S))))
    assert used
    assert used <= names
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_the_quick_start_is_two_commands() -> None:
    quick = README.split("## Quick start")[1].split("##")[0]
    assert re.findall(r"^make (\w+)", quick, flags=re.M) == ["demo", "test"]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "demo:" in makefile
    assert "test:" in makefile


def test_nothing_names_this_machine() -> None:
    patterns = ("*.md", "docs/*.md", "benchmarks/results/*.json", "src/palmist/assets/**/*.json")
    for file in [file for pattern in patterns for file in ROOT.glob(pattern)]:
        text = file.read_text(encoding="utf-8")
        assert not re.search(r"\"/[a-z]+/", text), file
        assert str(ROOT) not in text, file

"""The pages of the site: sentences that the code says, sets that are read, names that are public, links that lead somewhere."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from types import ModuleType

import pytest
import typer
import yaml
from typer.core import TyperGroup

import palmist
from palmist.cli import app
from palmist.config import TrainConfig
from palmist.readers import READERS
from palmist.video_sets import VIDEO_SETS
from palmist.video_text import TEXT_SETS

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))
GAP = "…"


def load(tool: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(tool, ROOT / f"tools/{tool}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[tool] = module  # dataclasses and named tuples look themselves up
    spec.loader.exec_module(module)
    return module


def read(page: str) -> str:
    return (DOCS / page).read_text(encoding="utf-8")


@lru_cache
def sentences() -> tuple[str, ...]:
    """Every text of the package's code; what is filled in is GAP."""
    found = []
    for file in sorted((ROOT / "src/palmist").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
            elif isinstance(node, ast.JoinedStr):
                found.append("".join(part.value if isinstance(part, ast.Constant) else GAP for part in node.values))
    return tuple(found)


def quoted() -> list[str]:
    return re.findall(r"^> (.*)$", read("troubleshooting.md"), flags=re.M)


def test_troubleshooting_quotes_enough() -> None:
    assert len(quoted()) >= 25
    assert len(set(quoted())) == len(quoted())


@pytest.mark.parametrize("sentence", quoted())
def test_an_error_that_troubleshooting_quotes_is_in_the_code(sentence: str) -> None:
    assert max(len(part) for part in sentence.split(GAP)) > 12, "too little of it is fixed to be looked for"
    pattern = re.compile(".*".join(re.escape(part) for part in sentence.split(GAP)), flags=re.S)
    assert any(pattern.search(text) for text in sentences()), sentence


def test_a_changed_sentence_would_be_noticed() -> None:
    assert not any("expected (frames, 2 hands, 22 joints" in text for text in sentences())
    assert any("expected (frames, 2 hands, 21 joints" in text for text in sentences())


def test_the_page_of_data_sets_is_made_from_the_readers() -> None:
    module = load("make_dataset_page")
    assert module.PAGE.read_text(encoding="utf-8") == module.page()


def test_every_set_has_a_chapter_with_a_picture_of_its_folder() -> None:
    chapters = re.split(r"^### ", read("datasets.md"), flags=re.M)[1:]
    pictured = {chapter.split("\n", 1)[0] for chapter in chapters if "```text\n" in chapter}
    assert pictured == {*READERS, *VIDEO_SETS, *TEXT_SETS}


def test_the_reference_names_every_public_name_and_nothing_that_is_not_there() -> None:
    named = re.findall(r"^::: ([\w.]+)$", read("api.md"), flags=re.M)
    assert {f"palmist.{name}" for name in palmist.__all__} <= set(named)
    assert len(named) == len(set(named))
    for path in named:
        home, name = path.rsplit(".", 1)
        assert getattr(importlib.import_module(home), name).__doc__, path


def test_every_page_is_in_the_navigation_and_every_link_leads_somewhere() -> None:
    config = yaml.safe_load(re.sub(r"!!\S+", "", (ROOT / "mkdocs.yml").read_text(encoding="utf-8")))
    listed = set(re.findall(r"[\w/-]+\.md", json.dumps(config["nav"])))
    made = {f"examples/{file.stem}.md" for file in NOTEBOOKS}
    assert {f"{file.relative_to(DOCS)}" for file in DOCS.rglob("*.md")} | made == listed
    for page in DOCS.rglob("*.md"):
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert target in made or (page.parent / target).exists(), f"{page.name}: {target}"


def _command_lines() -> Iterator[tuple[str, list[str]]]:
    """Page and words of every line "palmist ..." in a block of commands."""
    for page in (*DOCS.rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"):
        for block in re.findall(r"```(?:sh|bash|console)\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.S):
            for line in block.replace("\\\n", " ").splitlines():
                if line.removeprefix("$ ").startswith("palmist "):
                    yield page.name, shlex.split(line.removeprefix("$ "), comments=True)


def test_commands_and_options_of_the_pages_exist() -> None:
    commands = typer.main.get_command(app)
    assert isinstance(commands, TyperGroup)
    settings = set(TrainConfig.model_fields)
    lines = list(_command_lines())
    assert len(lines) > 100
    for page, (_, name, *words) in lines:
        if name.startswith("--"):
            continue
        assert name in commands.commands, f"{page}: palmist {name}"
        command = commands.commands[name]
        known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        for word in words:
            option = word.split("=")[0]
            if option.startswith("--") and option not in {*known, "--help"}:
                free = command.context_settings.get("ignore_unknown_options", False)  # settings of a configuration
                assert free, f"{page}: palmist {name} {option}"
                assert option[2:].split(".")[0] in settings, f"{page}: palmist {name} {option}"


def test_configurations_and_modules_of_the_pages_exist() -> None:
    for page in DOCS.rglob("*.md"):
        text = page.read_text(encoding="utf-8")
        for config in re.findall(r"configs/[\w/]+\.yaml", text):
            assert (ROOT / config).is_file(), f"{page.name}: {config}"
        for module in re.findall(r"`(palmist(?:\.[a-z_0-9]+)+)`", text):
            assert _exists(module), f"{page.name}: {module}"


def _exists(path: str) -> bool:
    """`palmist.a.b`: a module, or a name in one."""
    home, _, name = path.rpartition(".")
    try:
        if importlib.util.find_spec(path) is not None:
            return True
    except (ModuleNotFoundError, AttributeError):
        pass
    return hasattr(importlib.import_module(home), name)


def test_the_index_lists_every_command() -> None:
    commands = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    assert set(re.findall(r"`palmist ([a-z]+)", read("index.md"))) == commands


def test_the_site_is_built_without_a_warning_and_fetches_nothing(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs")
    pytest.importorskip("mkdocstrings")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    built = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, env={**os.environ, "NO_MKDOCS_2_WARNING": "true"}
    )
    assert built.returncode == 0, built.stdout + built.stderr
    for page in (tmp_path / "site").rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert not re.search(r"<(?:script|img|iframe)[^>]*src=.?https?:", text), page.name
        assert not re.search(r"<link[^>]*rel=.?(?:stylesheet|preconnect)[^>]*https?:", text), page.name
        assert ">>>" not in re.sub(r"<[^>]+>", "", re.sub(r"<(pre|code)\b.*?</\1>", "", text, flags=re.S)), page.name

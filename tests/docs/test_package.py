"""What a wheel and a source archive must and must not hold; the whole check, built and installed, is marked slow."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("check_package", ROOT / "tools/check_package.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def wheel_names() -> list[str]:
    """The names that a wheel of this tree has, by the patterns of pyproject.toml."""
    package = ROOT / "src/palmist"
    patterns = PROJECT["tool"]["setuptools"]["package-data"]["palmist"]
    files = {file for pattern in ("**/*.py", *patterns) for file in package.glob(pattern) if file.is_file()}
    names = [f"palmist/{file.relative_to(package).as_posix()}" for file in files if "__pycache__" not in file.parts]
    return names + [f"palmist-0.1.0.dist-info/licenses/{name}" for name in PROJECT["project"]["license-files"]]


def archive_names() -> list[str]:
    kept = [*ROOT.glob("*.md"), ROOT / "LICENSE", ROOT / "CITATION.cff", ROOT / "constraints.txt", *ROOT.glob("src/**/*.py")]
    kept += [*ROOT.glob("data/*/LICEN*"), ROOT / "data/README.md"]
    return [f"palmist-0.1.0/{file.relative_to(ROOT).as_posix()}" for file in kept if "__pycache__" not in file.parts]


def test_a_wheel_of_this_tree_is_whole(tool: ModuleType) -> None:
    assert list(tool.wheel_faults(wheel_names())) == []
    assert list(tool.archive_faults(archive_names())) == []


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("tests/unit/test_store.py", "outside the package"),
        ("data/asl_words/asl_words.npz", "outside the package"),
        ("palmist/tests/test_store.py", "does not belong"),
        ("palmist/assets/runs/model.pt", "does not belong"),
        ("palmist/assets/demo/02_cups.mp4", "is a video"),
    ],
)
def test_what_does_not_belong_in_a_wheel_is_found(tool: ModuleType, name: str, fault: str) -> None:
    found = list(tool.wheel_faults([*wheel_names(), name]))
    assert all(name in sentence for sentence in found)
    assert any(fault in sentence for sentence in found)


@pytest.mark.parametrize("name", ["py.typed", "LICENCES.txt", "page.js", "LICENSE-three.txt"])
def test_what_is_missing_from_a_wheel_is_found(tool: ModuleType, name: str) -> None:
    left = [other for other in wheel_names() if not other.endswith(f"/{name}")]
    assert any(name in fault for fault in tool.wheel_faults(left))


def test_what_is_wrong_in_a_source_archive_is_found(tool: ModuleType) -> None:
    names = archive_names()
    for extra in ("data/asl_words/asl_words.npz", "data/videos/02_cups.mp4", "tests/conftest.py", "viewer/node_modules/a.js"):
        assert any(extra in fault for fault in tool.archive_faults([*names, f"palmist-0.1.0/{extra}"]))
    for file in ("LICENSE", "data/videos/LICENSE-Apache-2.0.txt", "src/palmist/recording.py"):
        left = [name for name in names if name != f"palmist-0.1.0/{file}"]
        assert len(left) == len(names) - 1
        assert len(list(tool.archive_faults(left))) == 1


def test_help_needs_no_torch(tool: ModuleType) -> None:
    assert subprocess.run([sys.executable, "-c", tool.HELP_WITHOUT_TORCH], check=False, capture_output=True).returncode == 0


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_package_is_built_installed_and_used(tmp_path: Path) -> None:
    command = [sys.executable, "tools/check_package.py", "--keep", str(tmp_path)]
    outside = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}  # it would stand in for the wheel
    done = subprocess.run(command, cwd=ROOT, env=outside, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr

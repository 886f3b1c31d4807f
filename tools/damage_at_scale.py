"""Damage by the thousand over everything that reads a user's file: `python tools/damage_at_scale.py --cases 12000 --seed 0`.

Every case damages one file of a small whole example (damage_targets.py, damaged_inputs.py) and reads it in a process that is
watched: 10 seconds, 2 GiB beyond what it began with, no file written outside the folder it may write to, nothing started. What
came out is one of

    refused    InputError, one sentence            harmless   the very object of the undamaged file
    valid      another object, legal in its format, that passes its own checks
    crash      any other error, or the end of the process       hang, memory, escape     as said above
    silent     accepted although the damage had to be noticed (rules: damaged_inputs.py), or an object that breaks its checks

`--json FILE` writes the counts by target, by damage and rule, and every bad case with what it needs to be repeated;
`--only NAME` takes one target, `--case N` one case of it, with its traceback.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import random
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from damage_targets import TARGETS, OpenedStore, Target, WatchedVideo, faults, fingerprint, warm_up
from damaged_inputs import CUTS, DAMAGES, Damage, flip_bits, kind_of, rule_of

from palmist.errors import InputError
from palmist.evaluation.benchmark_record import code_commit, machine_description

SECONDS = 10
BYTES = 2 * 2**30
BAD = ("crash", "hang", "memory", "escape", "silent")
OUTCOMES = ("refused", "harmless", "valid", *BAD)
_LAST_FRAMES = 3  # of a video that was cut within them nothing need be said: files do not say their length so exactly
_BATCH = 200  # cases of a process before a fresh one takes over


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


# --------------------------------------------------------------------------------------------------------------------
# In the process that is watched


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
            for path in arguments[:2] if event in ("os.rename", "os.symlink", "os.link") else arguments[:1]:
                if isinstance(path, str | bytes | os.PathLike):
                    self._check(event, path)

    def _check(self, event: str, path: Any) -> None:
        whole = os.path.realpath(os.path.join(os.getcwd(), os.fsdecode(path)))
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
        files = sorted(path.relative_to(self.whole) for path in self.whole.rglob("*") if path.is_file())
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
        case = Case(self.target.name, number, damage.name, rule_of(damage, kind), str(file), "")
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
            except (ValueError, KeyError, IndexError, RecursionError):  # such as JSON damage to a file that is none
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


def _alarm(*_: Any) -> None:
    raise Hang


def _work(target: Target, box: Path, seed: int, numbers: range, pipe: int) -> None:
    """Try cases one after the other; a line before and a line after each."""
    signal.signal(signal.SIGALRM, _alarm)
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


# --------------------------------------------------------------------------------------------------------------------
# Outside


def run_target(target: Target, cases: int, seed: int, box: Path) -> Iterator[Case]:
    """All cases of one target, each in a process that is watched and replaced when it ends early."""
    done = 0
    while done < cases:
        reading, writing = os.pipe()
        process = os.fork()
        if not process:
            os.close(reading)
            code = 1
            try:
                null = os.open(os.devnull, os.O_RDWR)
                for stream in (1, 2):
                    os.dup2(null, stream)
                _work(target, box, seed, range(done, min(cases, done + _BATCH)), writing)
                code = 0
            except BaseException:
                (box / "fault.txt").write_text(traceback.format_exc())
            os._exit(code)
        os.close(writing)
        begun: int | None = None
        late = False
        with os.fdopen(reading, "rb", 0) as pipe:
            for line in _lines(pipe, 3 * SECONDS + 30):
                if line is None:
                    late = True
                    os.kill(process, signal.SIGKILL)
                    break
                message = json.loads(line)
                if "begins" in message:
                    begun = message["begins"]
                else:
                    begun, done = None, message["number"] + 1
                    yield Case(**message)
        _, status = os.waitpid(process, 0)
        if begun is not None:
            how = f"the process ended with {os.waitstatus_to_exitcode(status)}"
            yield Case(target.name, begun, "", "", "", "hang" if late else "crash", how)
            done = begun + 1
        elif os.waitstatus_to_exitcode(status):
            raise RuntimeError(f"{target.name} cannot be tried: {(box / 'fault.txt').read_text()}")


def _lines(pipe: Any, seconds: float) -> Iterator[bytes | None]:
    """Lines of a pipe; None when nothing came for so long."""
    held = b""
    while True:
        if not select.select([pipe], [], [], seconds)[0]:
            yield None
            return
        data = pipe.read(1 << 16)
        if not data:
            return
        *lines, held = (held + data).split(b"\n")
        yield from lines


def run_all(targets: list[Target], cases: int, seed: int, say: Any = None) -> list[Case]:
    """`cases` cases in all, shared between the targets by their `share`."""
    warm_up()
    total = sum(target.share for target in targets)
    found: list[Case] = []
    for target in targets:
        box = Path(os.path.realpath(tempfile.mkdtemp(prefix="palmist-damage-")))
        started = time.monotonic()
        try:
            own = list(run_target(target, max(1, round(cases * target.share / total)), seed, box))
        finally:
            shutil.rmtree(box, ignore_errors=True)
        found += own
        if say is not None:
            counts = Counter(case.outcome for case in own)
            bad = {name: counts[name] for name in BAD if counts[name]}
            say(
                f"{target.name:18} {len(own):5} cases {time.monotonic() - started:6.1f} s  refused {counts['refused']}, "
                f"harmless {counts['harmless']}, valid {counts['valid']} {bad or ''}"
            )
    return found


def report(cases: list[Case], seed: int, command: str) -> dict[str, Any]:
    """Counts by target and by damage, and the bad cases."""

    def counts(chosen: list[Case]) -> dict[str, int]:
        return {outcome: sum(case.outcome == outcome for case in chosen) for outcome in OUTCOMES}

    rules = {damage.name: damage.rule for damage in DAMAGES}
    targets = list(dict.fromkeys(case.target for case in cases))
    return {
        "format": "palmist-damage-record",
        "version": 1,
        "cases": len(cases),
        "seed": seed,
        "limits": {"seconds": SECONDS, "bytes": BYTES},
        "outcomes": counts(cases),
        "slowest_seconds": max(case.seconds for case in cases),
        "by_target": {name: counts([case for case in cases if case.target == name]) for name in targets},
        "by_damage": {name: {"rule": rules[name], **counts([case for case in cases if case.damage == name])} for name in rules},
        "bad": [asdict(case) for case in cases if case.outcome in BAD],
        "command": command,
        "commit": code_commit(),
        "machine": machine_description(1),
        "date": datetime.date.today().isoformat(),
    }


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=12000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=list(TARGETS), metavar="NAME", help="these targets alone")
    parser.add_argument("--case", type=int, help="one case of it, with its traceback")
    parser.add_argument("--json", help="file for the record")
    given = parser.parse_args(arguments)
    targets = [TARGETS[name] for name in given.only or TARGETS]
    if given.case is not None:
        warm_up()
        signal.signal(signal.SIGALRM, _alarm)
        with tempfile.TemporaryDirectory() as folder:
            print(asdict(Bench(targets[0], Path(os.path.realpath(folder)), given.seed).run(given.case, show=True)))
        return 0
    cases = run_all(targets, given.cases, given.seed, lambda line: print(line, flush=True))
    words = f"python tools/damage_at_scale.py --cases {given.cases} --seed {given.seed}" + (
        f" --only {given.only}" if given.only else ""
    )
    made = report(cases, given.seed, words)
    for case in made["bad"][:400]:
        print(f"{case['outcome']:7} {case['target']} #{case['number']} {case['damage']} {case['file']}: {case['detail']}")
    print(made["outcomes"])
    if given.json:
        Path(given.json).write_text(json.dumps(made, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return 1 if made["bad"] else 0


if __name__ == "__main__":
    sys.exit(main())

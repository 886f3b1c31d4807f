"""Damage by the thousand over everything that reads a user's file: `python tools/damage_at_scale.py --cases 12000 --seed 0`.

Every case damages one file of a small whole example (fuzzing/targets, fuzzing/inputs) and reads it in a process that is
watched: 10 seconds, 2 GiB beyond what it began with, no file written outside the folder it may write to, nothing started. What
came out is one of

    refused    InputError, one sentence            harmless   the very object of the undamaged file
    valid      another object, legal in its format, that passes its own checks
    crash      any other error, or the end of the process       hang, memory, escape     as said above
    silent     accepted although the damage had to be noticed (rules: fuzzing/inputs), or an object that breaks its checks

`--json FILE` writes the counts by target, by damage and rule, and every bad case with what it needs to be repeated;
`--only NAME` takes one target, `--case N` one case of it, with its traceback.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fuzzing import bench
from fuzzing.bench import Case
from fuzzing.inputs import DAMAGES
from fuzzing.targets import TARGETS
from fuzzing.targets.target import Target

from palmist.evaluation.benchmark_record import code_commit, machine_description

BAD = ("crash", "hang", "memory", "escape", "silent")
OUTCOMES = ("refused", "harmless", "valid", *BAD)
_BATCH = 200  # cases of a process before a fresh one takes over


def warm_up() -> None:
    """Load all that reading needs, once for all the processes that are forked later."""
    import cv2
    import torch

    cv2.setNumThreads(1)
    torch.set_num_threads(1)


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
                bench.work(target, box, seed, range(done, min(cases, done + _BATCH)), writing)
                code = 0
            except BaseException:
                (box / "fault.txt").write_text(traceback.format_exc())
            os._exit(code)
        os.close(writing)
        begun: int | None = None
        late = False
        with os.fdopen(reading, "rb", 0) as pipe:
            for line in _lines(pipe, 3 * bench.SECONDS + 30):
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


def run_all(targets: list[Target], cases: int, seed: int, say: Any = None, keep: Path | None = None) -> list[Case]:
    """`cases` cases in all, shared between the targets by their `share`; keep: a folder in which those of a target that is done
    are kept, so that a later run with the same numbers takes them as they are."""
    warm_up()
    total = sum(target.share for target in targets)
    found: list[Case] = []
    for target in targets:
        number = max(1, round(cases * target.share / total))
        file = None if keep is None else keep / f"{target.name}-{number}-{seed}.json"
        box = Path(os.path.realpath(tempfile.mkdtemp(prefix="palmist-damage-")))
        started = time.monotonic()
        try:
            own = _kept(file) or list(run_target(target, number, seed, box))
        finally:
            shutil.rmtree(box, ignore_errors=True)
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps([asdict(case) for case in own]), encoding="utf-8")
        found += own
        if say is not None:
            counts = Counter(case.outcome for case in own)
            bad = {name: counts[name] for name in BAD if counts[name]}
            say(
                f"{target.name:18} {len(own):5} cases {time.monotonic() - started:6.1f} s  refused {counts['refused']}, "
                f"harmless {counts['harmless']}, valid {counts['valid']} {bad or ''}"
            )
    return found


def _kept(file: Path | None) -> list[Case]:
    """What an earlier run kept of a target; nothing where there is none, or a case was bad and is to be tried again."""
    if file is None or not file.is_file():
        return []
    cases = [Case(**case) for case in json.loads(file.read_text(encoding="utf-8"))]
    return [] if any(case.outcome in BAD for case in cases) else cases


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
        "limits": {"seconds": bench.SECONDS, "bytes": bench.BYTES},
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
    parser.add_argument("--keep", type=Path, help="folder for the cases of targets that are done; those without a bad one stay")
    given = parser.parse_args(arguments)
    targets = [TARGETS[name] for name in given.only or TARGETS]
    if given.case is not None:
        warm_up()
        signal.signal(signal.SIGALRM, bench.alarm)
        with tempfile.TemporaryDirectory() as folder:
            print(asdict(bench.Bench(targets[0], Path(os.path.realpath(folder)), given.seed).run(given.case, show=True)))
        return 0
    cases = run_all(targets, given.cases, given.seed, lambda line: print(line, flush=True), given.keep)
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

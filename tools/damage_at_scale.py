"""Damage by the thousand over everything that reads a user's file: `python tools/damage_at_scale.py --cases 12000 --seed 0`.

Every case damages one file of a small whole example (fuzzing/targets, fuzzing/inputs) and reads it in a process that is
watched: 10 seconds, 2 GiB beyond what it began with, no file written outside the folder it may write to, nothing started. What
came out is one of

    refused    InputError, one sentence            harmless   the very object of the undamaged file
    valid      another object, legal in its format, that passes its own checks
    crash      any other error, or the end of the process       hang, memory, escape     as said above
    silent     accepted although the damage had to be noticed (rules: fuzzing/inputs), or an object that breaks its checks

`--json FILE` writes the counts by target, by damage and rule, and every bad case with what it needs to be repeated;
`--only NAME` takes one target, `--case N` one case of it, with its traceback. `--keep FOLDER` keeps the cases of every target
that is done: a run that is given the same folder and numbers tries only what is missing or was bad, and the record names under
`kept_from` the commit of each target that was tried with other code.
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
    """`cases` cases in all, shared between the targets by their `share`; keep: see `main`."""
    warm_up()
    total = sum(target.share for target in targets)
    found: list[Case] = []
    for target in targets:
        started = time.monotonic()
        own = _done(target, max(1, round(cases * target.share / total)), seed, keep)
        found += own
        if say is not None:
            counts = Counter(case.outcome for case in own)
            bad = {name: counts[name] for name in BAD if counts[name]}
            say(
                f"{target.name:18} {len(own):5} cases {time.monotonic() - started:6.1f} s  refused {counts['refused']}, "
                f"harmless {counts['harmless']}, valid {counts['valid']} {bad or ''}"
            )
    return found


def _done(target: Target, cases: int, seed: int, keep: Path | None) -> list[Case]:
    """The cases of one target: tried now, or kept by an earlier run that found nothing bad."""
    file = None if keep is None else keep / f"{target.name}-{cases}-{seed}.json"
    if file is not None and file.is_file():
        kept = [Case(**case) for case in json.loads(file.read_text(encoding="utf-8"))["cases"]]
        if not any(case.outcome in BAD for case in kept):
            return kept
    box = Path(os.path.realpath(tempfile.mkdtemp(prefix="palmist-damage-")))
    try:
        own = list(run_target(target, cases, seed, box))
    finally:
        shutil.rmtree(box, ignore_errors=True)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        facts = {"target": target.name, "commit": code_commit(), "cases": [asdict(case) for case in own]}
        file.write_text(json.dumps(facts), encoding="utf-8")
    return own


def _commits(keep: Path | None, chosen: set[str]) -> dict[str, str]:
    """Target -> commit of the code that it was tried with, of those that an earlier run kept."""
    if keep is None:
        return {}
    facts = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(keep.glob("*.json"))]
    now = code_commit()
    return {one["target"]: one["commit"] for one in facts if one["target"] in chosen and one["commit"] != now}


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
    parser.add_argument("--keep", type=Path, help="folder for the cases of targets that are done, to go on from")
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
    made = report(cases, given.seed, words) | {"kept_from": _commits(given.keep, {target.name for target in targets})}
    for case in made["bad"][:400]:
        print(f"{case['outcome']:7} {case['target']} #{case['number']} {case['damage']} {case['file']}: {case['detail']}")
    print(made["outcomes"])
    if given.json:
        Path(given.json).write_text(json.dumps(made, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return 1 if made["bad"] else 0


if __name__ == "__main__":
    sys.exit(main())

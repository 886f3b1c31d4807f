"""A look at every kind of result in under ten minutes of two cores: `palmist benchmark quality --quick`.

One seed of the small networks, trained for a few dozen to a few hundred steps on the people of fold 1 (`palmist.splits.FOLDS`),
tested on all of its unseen people, from nothing but a checkout: no earlier training is read. Such numbers show that all parts
work and in which order of magnitude they lie; they are worse than those of the tables, and every name begins with `quick/`,
which no results file takes.

Trainings lie in runs/quick. A run that was stopped goes on where it was; after a change of the code or of the steps all of them
are made anew.
"""

from __future__ import annotations

import functools
import hashlib
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from palmist.benchmark.plan import Job, train_job
from palmist.errors import InputError
from palmist.evaluation.benchmark_record import QUICK, BenchmarkRecord, code_commit, make_record

__all__ = ["STEPS", "QuickResult", "run_quick"]

ROOT = Path("runs/quick")
COMMAND = "palmist benchmark quality --quick"
_WORDS = ("asl_words", "cross_signer_a")


@dataclass(frozen=True)
class Trained:
    """A shortened training (the last of `jobs` is measured, the others are what it stands on), and what it is tested on."""

    jobs: tuple[Job, ...]
    data: str
    split: str

    def __call__(self) -> list[BenchmarkRecord]:
        from palmist.evaluation.checkpoints import evaluate_checkpoint

        checkpoint = [train_job(job, ROOT) for job in self.jobs][-1]
        return evaluate_checkpoint(checkpoint, self.data, self.split)


def _job(name: str, config: str, steps: int, after: str | None = None, **changes: Any) -> Job:
    settings: dict[str, Any] = {"steps": steps, "warmup_steps": steps // 10, "seed": 0}
    if after is not None:
        settings["data.p_checkpoint"] = str(ROOT / after / "last")
    return Job(name, f"configs/{config}.yaml", settings | {key.replace("__", "."): value for key, value in changes.items()})


def round_trip() -> list[BenchmarkRecord]:
    """joints -> pose vector -> joints."""
    from palmist.benchmark import quality

    return quality.round_trip()


def linear() -> list[BenchmarkRecord]:
    """Logistic regression on signed words."""
    from palmist.benchmark import quality

    return quality.linear_words(_WORDS[1], 1)


def last_pose() -> list[BenchmarkRecord]:
    """What a prediction of signed words has to beat: the last pose repeated."""
    from palmist.benchmark.quality import plain_forecast, unseen
    from palmist.evaluation.forecasts import forecast_windows, score_forecasts
    from palmist.models.baselines import simple

    windows = list(forecast_windows(_WORDS[0], unseen(_WORDS[0], 1)))
    found, _ = score_forecasts(windows, functools.partial(plain_forecast, simple.last_pose))
    name, value = f"{'/'.join(_WORDS)}/last_pose/ade", found["ade"]
    return [make_record(name, value.value, windows[0].recording_unit, value.n, COMMAND, value.interval)]


#: The configurations' own people are those of fold 1. EMIM and TRec draw their videos as they go.
STEPS: dict[str, Callable[[], list[BenchmarkRecord]]] = {
    "round_trip": round_trip,
    "linear": linear,
    "last_pose": last_pose,
    "plain_transformer": Trained((_job("plain_transformer", "rivals/plain_transformer_small", 250),), *_WORDS),
    "bharnet": Trained((_job("bharnet", "bharnet/bharnet_small", 90),), *_WORDS),
    "trec": Trained((_job("trec", "trec/directions", 80, validate_every=10**6),), "directions", "all"),
    "emim": Trained((_job("emim", "emim/directions", 160, validate_every=10**6),), "directions", "all"),
    "ghtt": Trained((_job("p", "ghtt/p_small", 250), _job("a", "ghtt/a_small", 250, after="p")), *_WORDS),
}


class QuickResult(NamedTuple):
    """What was measured; stopped: the wish to stop (Ctrl-C) that cut it short, None for a whole run."""

    records: list[BenchmarkRecord]
    stopped: KeyboardInterrupt | None


def run_quick(
    only: str | None = None, tell: Callable[[str], None] = lambda text: None, steps: Sequence[str] | None = None
) -> QuickResult:
    """Measure all STEPS, or the one called `only`; nothing is written but trainings under runs/quick.

    Args:
        tell: is told which step begins.
        steps: names of STEPS in the place of all of them.

    Raises:
        InputError: an unknown step, or a folder that is not a checkout of the project.
    """
    if only is not None and only not in STEPS:
        raise InputError(f"there is no step '{only}' in the quick benchmark; expected one of {', '.join(STEPS)}")
    if not Path("configs/ghtt").is_dir():
        raise InputError(f"{Path.cwd().name} has no configs/ghtt; run benchmarks in a checkout of Palmist")
    names = [only] if only is not None else list(STEPS if steps is None else steps)
    _forget_older_code()
    records: list[BenchmarkRecord] = []
    try:
        for number, name in enumerate(names, start=1):
            tell(f"{number} of {len(names)}: {name.replace('_', ' ')}")
            records += [_marked(record) for record in STEPS[name]()]
    except KeyboardInterrupt as stopped:
        return QuickResult(records, stopped)
    return QuickResult(records, None)


def _marked(record: BenchmarkRecord) -> BenchmarkRecord:
    return replace(record, name=QUICK + record.name, command=COMMAND, seeds=(0,))


@functools.cache
def _plan() -> str:
    text = code_commit() + repr([step.jobs for step in STEPS.values() if isinstance(step, Trained)])
    return hashlib.sha256(text.encode()).hexdigest()


def _forget_older_code() -> None:
    """Remove trainings that another state of the code, or another plan, left in ROOT."""
    stamp = ROOT / "plan.sha256"
    if not (stamp.is_file() and stamp.read_text(encoding="utf-8").strip() == _plan()):
        for step in STEPS.values():
            for job in step.jobs if isinstance(step, Trained) else ():
                shutil.rmtree(ROOT / job.name, ignore_errors=True)
        ROOT.mkdir(parents=True, exist_ok=True)
        stamp.write_text(_plan() + "\n", encoding="utf-8")

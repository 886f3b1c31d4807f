"""Training: `train` for a task object, `train_from_file` for `palmist train`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from palmist.config import (
    TrainConfig,
    apply_overrides,
    build_config,
    load_config,
    merge,
    nearest,
    parse_overrides,
    read_yaml,
)
from palmist.errors import InputError
from palmist.train.interrupt import TrainingInterrupted
from palmist.train.loop import learning_rate, read_run_config, train
from palmist.train.task import BatchedDataset, Task

__all__ = ["BatchedDataset", "Task", "TrainConfig", "TrainingInterrupted", "learning_rate", "train", "train_from_file"]


def train_from_file(
    config_file: str | Path | None,
    overrides: Mapping[str, Any] | Sequence[str] = (),
    resume: str | Path | None = None,
    tasks: Mapping[str, Any] | None = None,
) -> Path:
    """What `palmist train --config FILE [--resume RUN] [--key value ...]` does.

    Args:
        config_file: YAML file of a `TrainConfig`; may be None when resuming, the run knows its own.
        overrides: dotted settings, a mapping or command-line words.
        resume: the folder of a run to go on with.
        tasks: task name -> class or function that makes the task; None: `palmist.tasks.TASKS`.

    Returns:
        The folder of the run.

    Raises:
        InputError: see `train` and `load_config`.
        TrainingInterrupted: Ctrl-C; the message has been shown, the command ends with exit code 130.

    Example:
        >>> train_from_file("configs/ghtt_p_small.yaml", ["--steps", "100", "--out", "runs/short"])
        PosixPath('runs/short')
    """
    config = _resolve(config_file, overrides, resume)
    if tasks is None:
        from palmist.tasks import TASKS

        tasks = TASKS
    if config.task not in tasks:
        known = f"; the nearest known task is {nearest(config.task, tasks)!r}" if tasks else ""
        raise InputError(f"unknown task {config.task!r}{known}")
    run = Path(resume) if resume is not None else _run_folder(config, config_file)
    return train(config, tasks[config.task](), run, resume=resume is not None)


def _resolve(
    config_file: str | Path | None, overrides: Mapping[str, Any] | Sequence[str], resume: str | Path | None
) -> TrainConfig:
    if resume is None:
        if config_file is None:
            raise InputError("no configuration given; use --config FILE, or --resume RUN")
        return load_config(TrainConfig, config_file, overrides)
    stored = read_run_config(Path(resume))
    changes = read_yaml(config_file) if config_file is not None else {}
    words = overrides if isinstance(overrides, Mapping) else parse_overrides(overrides)
    if words.get("steps") is not None or changes.get("steps") is not None:
        stored["epochs"] = None
    elif words.get("epochs") is not None or changes.get("epochs") is not None:
        stored["steps"] = None
    return build_config(TrainConfig, apply_overrides(merge(stored, changes), words), f"the run in {resume}")


def _run_folder(config: TrainConfig, config_file: str | Path | None) -> Path:
    if config.out is not None:
        return Path(config.out)
    return Path("runs") / (Path(config_file).stem if config_file is not None else config.task)

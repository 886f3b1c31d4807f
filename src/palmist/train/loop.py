"""The training loop. It never knows which model it trains: a `Task` gives the data and a network with a `loss`.

Lightning Fabric brings devices, precision and processes; it is imported here only. Every step is a function of the
weights before it, the configuration and the step's number (`palmist.train.sampling`), so a run that is killed and
resumed ends with the same weights, bit for bit on the CPU with the same number of threads. With several processes every
one builds the global batch and trains on its rows; `palmist.models.global_batch` says what keeps the loss curve the same.

    RUN/config.json   the resolved configuration         RUN/log.jsonl, RUN/tensorboard   losses
    RUN/early         a first checkpoint to look at      RUN/best   lowest validation loss
    RUN/last          the newest checkpoint              RUN/state  what resuming needs
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from palmist.checkpoint import load_model_state, save_checkpoint, settle_folder, write_text
from palmist.config import TrainConfig, to_mapping
from palmist.errors import InputError, MissingExtraError
from palmist.files.input_files import read_json
from palmist.models.global_batch import Share, sharing
from palmist.train.interrupt import TrainingInterrupted, listening
from palmist.train.logs import RunLog
from palmist.train.processes import leave_together
from palmist.train.sampling import (
    Sampler,
    augmentation_generator,
    loss_generator,
    seed_global_generators,
    validation_generator,
)
from palmist.train.state import RunState, flatten_optimizer, read_state, restore_optimizer, write_state
from palmist.train.task import Task

# Settings that do not change the weights after a given step, so a resumed run may change them.
_FREE_TO_CHANGE = {"processes", "validate_every", "checkpoint_every", "log_every", "storage", "out", "tensorboard"}


def train(config: TrainConfig, task: Task, run: str | Path, resume: bool = False) -> Path:
    """Train a model, or go on with a run that was stopped or killed.

    Args:
        config: see `TrainConfig`.
        task: data, network and what a checkpoint holds.
        run: the folder of the run; it must not hold a run already, unless `resume`.
        resume: go on from the newest state in `run`, or from the beginning if it was killed before the first one.

    Returns:
        The folder of the run, with the checkpoints `last`, `early` and, if there is validation data, `best`.

    Raises:
        InputError: a configuration that does not fit the machine, the run or the data; a loss that is not finite.
        TrainingInterrupted: Ctrl-C; the checkpoint `last` and the state for resuming have been written.

    Example:
        >>> train(TrainConfig(task="toy", steps=10, batch_size=4), ToyTask(), "runs/toy")
        PosixPath('runs/toy')
    """
    run = Path(run)
    fabric = _make_fabric(config)
    _open_run(config, run, resume)
    with listening():
        outcome = fabric.launch(_train_in_process, config, task, run)
    if outcome.get("error"):
        raise InputError(outcome["error"])
    if outcome.get("interrupted"):
        raise TrainingInterrupted(outcome["interrupted"])
    return run


def learning_rate(config: TrainConfig, step: int, steps: int) -> float:
    """Learning rate of step `step` (from 0) of `steps`: linear warm-up, then constant or half a cosine down to the least."""
    least, most = config.least_learning_rate, config.learning_rate
    warmup = config.warmup(steps)
    if step < warmup:
        return least + (most - least) * (step + 1) / warmup
    if config.schedule == "constant":
        return most
    progress = (step - warmup) / max(1, steps - warmup)
    return least + (most - least) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def _groups(parameters: list[Tensor], config: TrainConfig) -> list[dict[str, Any]]:
    """Parameters with and without weight decay; one group in their own order where all of them decay."""
    if config.decay_vectors:
        return [{"params": parameters, "weight_decay": config.weight_decay}]
    matrices = [parameter for parameter in parameters if parameter.dim() > 1]
    vectors = [parameter for parameter in parameters if parameter.dim() <= 1]
    return [{"params": matrices, "weight_decay": config.weight_decay}, {"params": vectors, "weight_decay": 0.0}]


def make_optimizer(config: TrainConfig, parameters: list[Tensor]) -> torch.optim.Optimizer:
    """AdamW, or stochastic gradient descent with Nesterov's momentum."""
    groups, rate = _groups(parameters, config), config.learning_rate
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=rate, momentum=config.momentum, nesterov=True)
    fused = config.precision != "16-mixed"  # the loss scaler's unscaling and gradient clipping exclude fused AdamW
    return torch.optim.AdamW(groups, lr=rate, fused=fused)


def _make_fabric(config: TrainConfig) -> Any:
    try:
        from lightning.fabric import Fabric
        from lightning.fabric.plugins.precision import MixedPrecision, Precision
        from lightning.fabric.strategies import DDPStrategy
    except ImportError as error:
        raise MissingExtraError("train", "training") from error
    gpus = torch.cuda.device_count() if config.accelerator != "cpu" else 0
    if config.accelerator == "gpu" and not gpus:
        raise InputError("accelerator is 'gpu', but PyTorch finds no GPU here; use accelerator: cpu")
    if gpus and config.processes > gpus:
        raise InputError(f"processes is {config.processes}, but there are {gpus} GPUs; use one process per GPU")
    if config.precision != "32-true" and not gpus:
        raise InputError(
            f"precision is {config.precision!r}, but this run is on the CPU, where it is slower and less exact; "
            "use precision: 32-true, or a GPU"
        )
    # The plug-in is made here, not by name, because the loss scaler's state belongs to the state of the run.
    precision = Precision() if config.precision == "32-true" else MixedPrecision(config.precision, device="cuda")
    strategy: Any = "auto"
    if config.processes > 1:
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # DDP would warn of what the next lines say
        # A network may leave a part unused in a step (skip connections by chance): DDP has to look for such parts.
        started_by_torchrun = "TORCHELASTIC_RUN_ID" in os.environ
        strategy = DDPStrategy(
            start_method="popen" if started_by_torchrun else "spawn",
            process_group_backend="nccl" if gpus else "gloo",
            find_unused_parameters=True,
        )
    accelerator = "cuda" if gpus else "cpu"
    return Fabric(accelerator=accelerator, devices=config.processes, strategy=strategy, plugins=[precision])


def _open_run(config: TrainConfig, run: Path, resume: bool) -> None:
    file = run / "config.json"
    if not resume:
        if file.exists():
            raise InputError(f"{run} already holds a run; go on with --resume {run}, or give another folder with --out")
        run.mkdir(parents=True, exist_ok=True)
    else:
        before = read_run_config(run)
        now = to_mapping(config)
        free = _FREE_TO_CHANGE | ({"steps", "epochs"} if config.schedule == "constant" else set())
        for key, value in now.items():
            if key not in free and value != before[key]:
                raise InputError(
                    f"the run in {run} has {key} {before[key]!r}, this configuration has {value!r}; "
                    "resume with the same value, or start a new run"
                )
    write_text(file, json.dumps(to_mapping(config), indent=2) + "\n")


def read_run_config(run: Path) -> dict[str, Any]:
    """The resolved configuration that a run was started with, with today's defaults for settings it did not know."""
    file = run / "config.json"
    if not file.is_file():
        raise InputError(f"no run in {run}: config.json is missing; give the folder that palmist train wrote")
    stored = read_json(file, "the settings of a run; start a new run")
    try:
        return {name: field.get_default(call_default_factory=True) for name, field in _fields().items()} | dict(stored)
    except (ValueError, TypeError) as error:
        raise InputError(f"{file} is damaged ({error}); start a new run") from error


def _fields() -> dict[str, Any]:
    return {name: field for name, field in TrainConfig.model_fields.items() if not field.is_required()}


def _train_in_process(fabric: Any, config: TrainConfig, task: Task, run: Path) -> dict[str, str]:
    """One process's part; errors are returned, since a child process's exception would reach the user as a trace."""
    trainer: _Trainer | None = None
    try:
        with listening() as interrupt:
            trainer = _Trainer(fabric, config, task, run)
            try:
                outcome = trainer.run_steps(interrupt)
            finally:
                trainer.log.close()
            fabric.barrier()  # no process leaves while the first one still writes
    except InputError as error:
        outcome = {"error": str(error)}
    leave_together(trainer)
    return outcome


class _Trainer:
    """One process's training: the state of the run between two steps, and what a step does."""

    def __init__(self, fabric: Any, config: TrainConfig, task: Task, run: Path) -> None:
        self.fabric, self.config, self.task, self.run = fabric, config, task, run
        self.first = fabric.global_rank == 0
        self.share = Share(
            fabric.global_rank,
            fabric.world_size,
            (lambda tensor: fabric.all_reduce(tensor, reduce_op="sum")) if fabric.world_size > 1 else (lambda tensor: tensor),
            (lambda tensor: fabric.all_gather(tensor, sync_grads=True).flatten(0, 1))
            if fabric.world_size > 1
            else (lambda tensor: tensor),
        )
        self.train_data = task.train_data(config)
        self.validation_data = task.validation_data(config)
        windows = len(self.train_data)
        if not windows:
            raise InputError("the training data holds no window; check the data settings: split, clip length, recordings")
        repeats = getattr(self.train_data, "repeats", 1)
        if config.batch_size % repeats:
            raise InputError(f"batch_size is {config.batch_size}; expected a multiple of the {repeats} repeats of each window")
        self.steps = config.total_steps(windows * repeats)
        self.early = max(1, min(config.checkpoint_every, self.steps // 20))
        weights = getattr(self.train_data, "weights", None)
        self.sampler = Sampler(windows, config.batch_size, config.seed, weights, repeats)
        seed_global_generators(config.seed, 0, 0)  # the same first weights in every process
        self.module: nn.Module = task.build_model(config)
        self.parameters: list[Tensor] = [parameter for parameter in self.module.parameters() if parameter.requires_grad]
        self.wrapped, self.optimizer = fabric.setup(self.module, make_optimizer(config, self.parameters))
        self.wrapped.mark_forward_method("loss")
        self.average = [parameter.detach().clone() for parameter in self.parameters] if config.ema_decay else None
        self.step = 0
        self.best = math.inf
        self.validation: float | None = None
        self.sums: dict[str, float] = {}
        self.summed = 0
        self.seconds_before = 0.0
        self._restore()
        self.started = self.logged = time.monotonic()
        self.log = RunLog(run, self.step, self.steps, config.tensorboard, active=self.first)

    def run_steps(self, interrupt: Any) -> dict[str, str]:
        """All remaining steps; says how the run ended."""
        config = self.config
        if self.step >= self.steps:
            self.log.say(f"the run in {self.run} already has its {self.steps} steps")
            return {}
        while self.step < self.steps:
            self._train_step()
            self.step += 1
            stop = self._anybody_wants(interrupt.wanted)
            at_end = self.step == self.steps
            self.log.advance(self.step)
            if self.step % config.log_every == 0 or at_end:
                self._write_log_entry()
            if self.validation_data is not None and (self.step % config.validate_every == 0 or at_end):
                self._validate()
            if self.step == self.early and self.first:
                self._save_model("early")
            if self.step % config.checkpoint_every == 0 or at_end or stop:
                self._save()
            if stop and not at_end:
                message = (
                    f"stopped at step {self.step} of {self.steps}; the checkpoint is in {self.run / 'last'}; "
                    f"go on with: palmist train --resume {self.run}"
                )
                self.log.say(message)
                return {"interrupted": message}
        return {}

    def _train_step(self) -> None:
        config, step = self.config, self.step
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(config, step, self.steps)
        seed_global_generators(config.seed, step, self.share.rank)
        with sharing(self.share):
            batch = self._batch(step)
        self.wrapped.train()
        self.optimizer.zero_grad(set_to_none=True)
        with sharing(self.share):
            loss, parts = self.wrapped.loss(batch, loss_generator(config.seed, step))
        values = self._average_over_processes(loss, parts)
        self._refuse_non_finite(values)
        self.fabric.backward(loss)
        if config.gradient_clip is not None:
            self.fabric.clip_gradients(self.wrapped, self.optimizer, max_norm=config.gradient_clip, error_if_nonfinite=False)
        self.optimizer.step()
        if self.average is not None:
            # The average begins short and grows to its full length, so that early checkpoints are usable.
            decay = min(config.ema_decay, (1 + step) / (10 + step))
            torch._foreach_lerp_(self.average, [parameter.detach() for parameter in self.parameters], 1 - decay)
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        self.summed += 1

    def _batch(self, step: int) -> dict[str, Any]:
        """This process's rows of the step's global batch, on its device."""
        config = self.config
        batch = self.train_data.batch(self.sampler.indices(step), augmentation_generator(config.seed, step))
        rows = config.batch_size // self.share.processes
        first = self.share.rank * rows
        for name, tensor in batch.items():
            if tensor.shape[0] != config.batch_size:
                raise ValueError(f"batch[{name!r}] has {tensor.shape[0]} rows, expected {config.batch_size}, one per window")
        mine = self.fabric.to_device({name: tensor[first : first + rows] for name, tensor in batch.items()})
        return {**mine, "rows": (first, config.batch_size)} if self.share.processes > 1 else mine

    def _average_over_processes(self, loss: Tensor, parts: Mapping[str, Any]) -> dict[str, float]:
        """Loss ("loss") and parts, averaged over the processes, as numbers."""
        names = ["loss", *parts]
        with torch.no_grad():
            values = torch.stack(
                [torch.as_tensor(value, device=loss.device).detach().float() for value in (loss, *parts.values())]
            )
            if self.share.processes > 1:
                values = self.share.sum_over_processes(values) / self.share.processes
        return dict(zip(names, values.tolist(), strict=True))

    def _refuse_non_finite(self, values: Mapping[str, float]) -> None:
        bad = [name for name, value in values.items() if not math.isfinite(value)]
        if not bad:
            return
        name = bad[1] if len(bad) > 1 else bad[0]  # a part says more than the sum
        what = "the loss" if name == "loss" else f"the loss part {name!r}"
        kept = self._save() if self.step else False
        where = f"the weights before it are in {self.run / 'last'}" if kept else f"earlier checkpoints are kept in {self.run}"
        raise InputError(
            f"{what} became {values[name]} in step {self.step + 1}; {where}; lower learning_rate (now "
            f"{self.config.learning_rate:g}), set gradient_clip, or look for wrong values with palmist check"
        )

    def _anybody_wants(self, wanted: bool) -> bool:
        """Whether any process was interrupted; all have to stop at the same step."""
        if self.share.processes == 1:
            return wanted
        return bool(self.share.sum_over_processes(torch.tensor(float(wanted), device=self.fabric.device)).item() > 0)

    def _write_log_entry(self) -> None:
        now = time.monotonic()
        speed = self.summed * self.config.batch_size / max(now - self.logged, 1e-9)
        means = {name: total / self.summed for name, total in self.sums.items()}
        loss = means.pop("loss")
        rate = learning_rate(self.config, self.step - 1, self.steps)
        self.log.entry(self.step, "train", loss, means, learning_rate=rate, windows_per_second=round(speed, 1))
        self.sums, self.summed, self.logged = {}, 0, now

    def _validate(self) -> None:
        """Mean loss over the validation windows; whole batches are dealt out to the processes."""
        assert self.validation_data is not None
        windows, size = len(self.validation_data), self.config.batch_size
        totals: dict[str, float] = {}
        with torch.no_grad(), self._averaged_weights(), self.fabric.autocast():
            self.module.eval()
            for number, start in enumerate(range(0, windows, size)):
                if number % self.share.processes != self.share.rank:
                    continue
                indices = np.arange(start, min(start + size, windows))
                generator = validation_generator(self.config.seed, number)
                batch = self.fabric.to_device(self.validation_data.batch(indices, generator))
                loss, parts = self.module.loss(batch, generator)  # type: ignore[operator]
                for name, value in {"loss": loss, **parts}.items():
                    totals[name] = totals.get(name, 0.0) + float(value) * len(indices)
        totals = self._sum_of_mappings(totals)
        means = {name: total / windows for name, total in totals.items()}
        loss = self.validation = means.pop("loss", math.nan)
        self.log.entry(self.step, "validation", loss, means)
        if loss < self.best:
            self.best = loss
            if self.first:
                self._save_model("best")

    def _sum_of_mappings(self, mapping: dict[str, float]) -> dict[str, float]:
        """The mappings of all processes added up; a process without a batch has an empty one."""
        if self.share.processes == 1:
            return mapping
        gathered: list[Any] = [None] * self.share.processes
        torch.distributed.all_gather_object(gathered, mapping)
        names = dict.fromkeys(name for part in gathered for name in part)
        return {name: sum(part.get(name, 0.0) for part in gathered) for name in names}

    @contextmanager
    def _averaged_weights(self) -> Iterator[None]:
        """Inside, the module has the averaged weights, if the run averages."""
        if self.average is None:
            yield
            return
        kept = [parameter.detach().clone() for parameter in self.parameters]
        with torch.no_grad():
            torch._foreach_copy_(list(self.parameters), self.average)
        try:
            yield
        finally:
            with torch.no_grad():
                torch._foreach_copy_(list(self.parameters), kept)

    def _seconds(self) -> float:
        return self.seconds_before + time.monotonic() - self.started

    def _save_model(self, name: str) -> None:
        facts = {
            "step": self.step,
            "steps": self.steps,
            "windows": len(self.train_data),
            "seconds": round(self._seconds(), 1),
            "validation_loss": self.validation,
            "processes": self.share.processes,
            "settings": {name: value for name, value in to_mapping(self.config).items() if name != "out"},
        }
        with self._averaged_weights():
            content = self.task.collect(self.module, self.config)
            config = {**content.config, "training": facts}
            card = content.card.rstrip("\n") + "\n\n" + _describe_run(facts)
            save_checkpoint(self.run / name, content.state, config, content.statistics, card, self.config.storage)

    def _save(self) -> bool:
        """Write `last` and the state for resuming, unless a weight is not finite; then the older ones stay."""
        if not all(bool(torch.isfinite(parameter).all()) for parameter in self.parameters):
            return False
        if self.first:
            self._save_model("last")
            tensors = {f"model/{name}": tensor for name, tensor in self.module.state_dict().items()}
            tensors.update(flatten_optimizer(self.optimizer))
            for number, tensor in enumerate(self.average or []):
                tensors[f"average/{number}"] = tensor
            scaler = self.fabric.strategy.precision.state_dict()
            facts = {
                "windows": len(self.train_data),
                "best": None if math.isinf(self.best) else self.best,
                "validation": self.validation,
                "seconds": self._seconds(),
                "sums": self.sums,
                "summed": self.summed,
                "scaler": scaler,
            }
            write_state(self.run, RunState(self.step, tensors, facts))
        return True

    def _restore(self) -> None:
        for name in ("last", "best", "early"):
            settle_folder(self.run / name)
        state = read_state(self.run)
        if state is None:
            return
        windows = state.facts["windows"]
        if windows != len(self.train_data):
            raise InputError(
                f"the run in {self.run} was trained on {windows} windows, the data now has {len(self.train_data)}; "
                "resume with the same data, or start a new run"
            )
        model = {name[6:]: tensor for name, tensor in state.tensors.items() if name.startswith("model/")}
        load_model_state(self.module, model, f"the state in {self.run}")
        restore_optimizer(self.optimizer, state.tensors)
        for number, tensor in enumerate(self.average or []):
            tensor.copy_(state.tensors[f"average/{number}"])
        facts = state.facts
        self.step = state.step
        self.best = math.inf if facts["best"] is None else facts["best"]
        self.validation = facts["validation"]
        self.seconds_before = facts["seconds"]
        self.sums, self.summed = facts["sums"], facts["summed"]
        if facts["scaler"]:
            self.fabric.strategy.precision.load_state_dict(facts["scaler"])


def _describe_run(facts: Mapping[str, Any]) -> str:
    """The paragraph about the run at the end of a model card."""
    settings = facts["settings"]
    lines = [
        "## The training run",
        "",
        f"- task {settings['task']}, step {facts['step']} of {facts['steps']}, {facts['windows']} training windows",
        f"- {settings['optimizer']}, batch {settings['batch_size']}, learning rate {settings['learning_rate']:g} "
        f"({settings['schedule']}), seed {settings['seed']}, precision {settings['precision']}, "
        f"{facts['processes']} process(es)",
        f"- wall time {facts['seconds']:.0f} s",
    ]
    if facts["validation_loss"] is not None:
        lines.append(f"- validation loss {facts['validation_loss']:.6g}")
    return "\n".join(lines) + "\n"

"""The state of an unfinished run on disk: tensors in safetensors, the rest in JSON, never a pickle.

    RUN/state/step-00000500/tensors.safetensors    model/NAME, average/NAME, optimizer/NUMBER/NAME
    RUN/state/step-00000500/state.json             step, best validation loss, seconds, log sums, loss scaler

A new state is written beside the old one and renamed when complete; only then is the old one removed.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from palmist.checkpoint import file_checksum, read_tensors, write_folder
from palmist.errors import InputError
from palmist.files.input_files import check_file, read_json

FORMAT = "palmist-training-state"
VERSION = 1


@dataclass
class RunState:
    """Everything that step s + 1 needs besides the configuration and the data.

    Random generators are not in it: they are seeded for every step (`palmist.train.sampling`), and so is the learning
    rate a function of the step.
    """

    step: int
    tensors: dict[str, Tensor]
    facts: dict[str, Any] = field(default_factory=dict)


def write_state(run: Path, state: RunState) -> None:
    """Write the state of a run and remove older ones."""
    folder = run / "state" / f"step-{state.step:08d}"
    tensors = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in state.tensors.items()}
    facts = {"format": FORMAT, "version": VERSION, "step": state.step, **state.facts}

    def fill(temporary: Path) -> None:
        save_file(tensors, temporary / "tensors.safetensors")
        facts["crc32"] = file_checksum(temporary / "tensors.safetensors")
        (temporary / "state.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")

    write_folder(folder, fill)
    for other in folder.parent.iterdir():
        if other != folder:
            shutil.rmtree(other, ignore_errors=True)


def read_state(run: Path) -> RunState | None:
    """The newest whole state of a run, None if the run stopped before its first one."""
    folders = sorted((run / "state").glob("step-*"))
    if not folders:
        return None
    file, weights = folders[-1] / "state.json", folders[-1] / "tensors.safetensors"
    try:
        facts = read_json(file, "the state of a training run")
    except InputError as error:
        raise InputError(f"{file} is missing or damaged ({error}); start the run anew in another folder") from error
    if not isinstance(facts, dict) or facts.pop("format", None) != FORMAT or facts.pop("version", None) != VERSION:
        raise InputError(f"{file} is not a training state of version {VERSION}; resume with the Palmist that wrote it")
    step, checksum = facts.pop("step", None), facts.pop("crc32", None)
    if not isinstance(step, int) or step < 0:
        raise InputError(f"{file} says step {step!r}; expected a whole number; start the run anew in another folder")
    check_file(weights, "the tensors of the state; start the run anew in another folder")
    if checksum is not None and checksum != file_checksum(weights):
        raise InputError(f"{weights} is cut off or damaged (its checksum is another); start the run anew in another folder")
    return RunState(step, read_tensors(weights), facts)


def flatten_optimizer(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """An optimiser's tensors by number of parameter and name; its settings come from the configuration."""
    return {
        f"optimizer/{number}/{name}": torch.as_tensor(value)
        for number, values in optimizer.state_dict()["state"].items()
        for name, value in values.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """The inverse of `flatten_optimizer`."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        if key.startswith("optimizer/"):
            _, number, name = key.split("/")
            state.setdefault(int(number), {})[name] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})

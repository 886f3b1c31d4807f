"""Weights that others trained, from local files; nothing in a file is run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from palmist.errors import InputError

__all__ = ["named_tensors", "read_state"]


def read_state(path: str | Path, whose: str) -> Any:
    """What a .safetensors, .pth, .pt or .bin file holds, on the CPU; whose: for an error, "a ResNet-18".

    InputError for a file that is not there, is damaged, or holds more than tensors and plain values.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} does not exist; expected a file of the weights of {whose} (.safetensors, .pth)")
    try:
        # Tensors only: a pickle that would run code is refused by torch.
        return load_file(path) if path.suffix == ".safetensors" else torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can fail in any way
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path} cannot be read as weights ({reason}); expected tensors of {whose}") from error


def named_tensors(state: Any, path: str | Path, whose: str, wrappings: tuple[str, ...] = ()) -> dict[str, Tensor]:
    """A state dict out of the wrappings that trainers put around it, without the "module." of parallel training.

    InputError for something else than names with tensors.
    """
    for wrapping in wrappings:
        if isinstance(state, Mapping) and isinstance(state.get(wrapping), Mapping):
            state = state[wrapping]
    if not isinstance(state, Mapping) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError(f"{path} holds something else than named tensors; expected a state dict of {whose}")
    return {str(name).removeprefix("module."): value for name, value in state.items()}

"""Tensors in files that a user brings from elsewhere: .safetensors, or what torch.save wrote. Nothing in a file is run.

>>> state = read_weights(Path("resnet18.pth"), "tensors of a ResNet-18", ("model", "state_dict"))
"""

from __future__ import annotations

import pickle
import struct
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from palmist.errors import InputError
from palmist.files.input_files import check_file

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["check_finite", "is_torchscript", "named_tensors", "read_plain", "read_weights"]

_ZIP_DAMAGE = (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, struct.error)


def read_plain(path: Path, expected: str) -> Any:
    """What a file of tensors holds: a mapping of names for .safetensors, for others anything of tensors and plain values.

    Raises InputError, one sentence that ends with what was `expected`, when the file is missing, no regular file, damaged, or
    a pickle of more than tensors and plain values.
    """
    import torch
    from safetensors.torch import load_file

    check_file(path, expected)
    try:
        # Tensors only: a pickle that would run code is refused by torch.
        safe = path.suffix == ".safetensors"
        return load_file(path) if safe else torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path} cannot be read as weights: it is a pickle that could run code, or damaged, and was not loaded; expected "
            f"{expected}; get the file from its authors again"
        ) from error
    except Exception as error:  # a damaged file can fail in any way
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path} cannot be read as weights ({reason}); expected {expected}") from error


def read_weights(path: Path, expected: str, wrappings: Sequence[str] = (), finite: bool = True) -> dict[str, Tensor]:
    """`named_tensors` of a file.

    Raises InputError as `read_plain` and `named_tensors`.
    """
    return named_tensors(read_plain(path, expected), path, expected, wrappings, finite)


def named_tensors(
    found: Any, path: Path, expected: str, wrappings: Sequence[str] = (), finite: bool = True
) -> dict[str, Tensor]:
    """A state dict out of the wrappings that trainers put around it, without the "module." of parallel training.

    Raises InputError for something else than named tensors; and, unless `finite` is False, for a number that is not finite.
    """
    import torch

    for wrapping in wrappings:
        if isinstance(found, Mapping) and isinstance(found.get(wrapping), Mapping):
            found = found[wrapping]
    if not isinstance(found, Mapping) or not found or not all(isinstance(value, torch.Tensor) for value in found.values()):
        raise InputError(f"{path} holds something else than named tensors; expected {expected}")
    state = {str(name).removeprefix("module."): value for name, value in found.items()}
    if finite:
        check_finite(state, str(path))
    return state


def check_finite(state: Mapping[str, Tensor], source: str) -> None:
    """InputError that names the first tensor with a number that is not finite: a training that diverged, a damaged file."""
    import torch

    for name, tensor in state.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            count = int((~torch.isfinite(tensor)).sum())
            raise InputError(
                f"{source} holds {count} numbers in {name} that are not finite; expected finite weights; copy or download them "
                "again, or take those of before the training diverged"
            )


def is_torchscript(path: Path) -> bool:
    """Whether a file is a TorchScript archive: a zip with a folder of code in it. Damaged zips are none."""
    try:
        if not path.is_file() or not zipfile.is_zipfile(path):  # a pipe would be waited for
            return False
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/constants.pkl") or "/code/" in name for name in archive.namelist())
    except _ZIP_DAMAGE:
        return False

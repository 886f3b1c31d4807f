"""Checkpoints: a folder that holds a trained model and everything that is needed to use it.

    model.safetensors   the weights, and under the prefix "statistics/" the arrays that travel with them
    config.json         format name and version, the resolved configuration, small statistics, checksums
    card.md             the model card

Nothing in it is a pickle, so loading a stranger's checkpoint runs no foreign code. A folder is written beside its
final place and renamed when it is complete, so a crash never leaves half a checkpoint under the final name.
"""

from __future__ import annotations

import json
import os
import shutil
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from palmist.errors import InputError
from palmist.files.input_files import read_json
from palmist.files.weights import check_finite

FORMAT = "palmist-checkpoint"
VERSION = 1
WEIGHTS_FILE = "model.safetensors"
CONFIG_FILE = "config.json"
CARD_FILE = "card.md"
_STATISTICS_PREFIX = "statistics/"
Network = TypeVar("Network", bound=nn.Module)
_STORAGE = {"float32": torch.float32, "float16": torch.float16}


@dataclass(frozen=True)
class Checkpoint:
    """A trained model in memory.

    Attributes:
        state: tensor name -> tensor, as `Module.state_dict()` gives it; floating-point tensors are float32.
        config: the resolved configuration, JSON types only (preset, label names, the model's own settings).
        statistics: what the model needs besides its weights (label features, templates): arrays, or JSON values.
        card: the model card, Markdown.
        path: the folder that it was loaded from, None if it was not.
    """

    state: Mapping[str, Tensor]
    config: Mapping[str, Any]
    statistics: Mapping[str, Any] = field(default_factory=dict)
    card: str = ""
    path: Path | None = None

    @property
    def kind(self) -> str:
        """What model it holds, for example "ghtt"; "None" where the configuration does not say."""
        return str(self.config.get("model"))


def save_checkpoint(
    path: str | Path,
    model_state: Mapping[str, Tensor],
    config: Mapping[str, Any],
    statistics: Mapping[str, Any] | None = None,
    card: str = "",
    dtype: str = "float32",
) -> Path:
    """Write a checkpoint folder; an older checkpoint at the same place is replaced when the new one is complete.

    Args:
        path: the folder.
        model_state: `Module.state_dict()`, on any device.
        config: JSON types only.
        statistics: arrays and tensors go to the weights file unchanged; other values must be JSON types.
        card: Markdown text.
        dtype: "float32" or "float16": how floating-point weights are stored. Half precision halves the file (relative
            rounding 5e-4); `load_checkpoint` gives float32 back in both cases.

    Returns:
        The folder.

    Raises:
        InputError: an unknown dtype, a weight too large for float16, or a configuration that JSON cannot hold.

    Example:
        >>> save_checkpoint("runs/demo/last", model.state_dict(), {"preset": "small"}, card="# Demo")
    """
    path = Path(path)
    tensors, plain = _split_statistics(statistics or {})
    header = {
        "format": FORMAT,
        "version": VERSION,
        "storage": dtype,
        "config": dict(config),
        "statistics": plain,
    }
    try:
        text = json.dumps(header, indent=2, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InputError(f"the checkpoint's config holds a value that JSON cannot store ({error}); use plain values") from error
    tensors.update(_stored_tensors(model_state, dtype))

    def fill(folder: Path) -> None:
        save_file(tensors, folder / WEIGHTS_FILE, metadata={"format": "pt"})
        checksums = {"config": _text_checksum(text), "weights": file_checksum(folder / WEIGHTS_FILE)}
        whole = json.dumps({**header, "crc32": checksums}, indent=2, ensure_ascii=False)
        (folder / CONFIG_FILE).write_text(whole + "\n", encoding="utf-8")
        (folder / CARD_FILE).write_text(card.rstrip("\n") + "\n", encoding="utf-8")

    write_folder(path, fill)
    return path


def load_checkpoint(path: str | Path, *kinds: str) -> Checkpoint:
    """Read a checkpoint folder to the CPU; with `kinds` only one that holds a model of these.

    Raises:
        InputError: the folder or a file in it is missing, damaged, cut off, of a version that is not known, or of another
            kind.

    Example:
        >>> checkpoint = load_checkpoint("runs/demo/best", "trec")
        >>> network = with_weights(TRec(config), checkpoint)
    """
    path = settle_folder(Path(path))
    if not path.is_dir():
        what = "is a file" if path.exists() else "does not exist"
        raise InputError(f"no checkpoint at {path}: it {what}; give a folder that holds {WEIGHTS_FILE} and {CONFIG_FILE}")
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        if not (path / name).is_file():
            raise InputError(f"{path} is not a whole checkpoint: {name} is missing; copy the folder again, with every file")
    header = _read_header(path / CONFIG_FILE)
    _check_sums(path, header)
    tensors = read_tensors(path / WEIGHTS_FILE)
    state: dict[str, Tensor] = {}
    statistics: dict[str, Any] = header.get("statistics", {})
    if not isinstance(statistics, dict):
        raise InputError(f"{path / CONFIG_FILE}: 'statistics' is a {type(statistics).__name__}; expected names with values")
    statistics = dict(statistics)
    for name, tensor in tensors.items():
        if name.startswith(_STATISTICS_PREFIX):
            statistics[name.removeprefix(_STATISTICS_PREFIX)] = tensor.numpy()
        else:
            state[name] = tensor.float() if tensor.is_floating_point() else tensor
    card = path / CARD_FILE
    text = card.read_text(encoding="utf-8", errors="replace") if card.is_file() else ""
    check_finite(state, str(path))
    checkpoint = Checkpoint(state=state, config=header["config"], statistics=statistics, card=text, path=path)
    if kinds and checkpoint.kind not in kinds:
        expected = kinds[0] if len(kinds) == 1 else f"one of {', '.join(kinds)}"
        raise InputError(f"{path} holds a model of kind '{checkpoint.kind}'; expected {expected}")
    return checkpoint


def with_weights(network: Network, checkpoint: Checkpoint) -> Network:
    """`network` with a checkpoint's weights, in evaluation mode and without gradients; InputError as `load_model_state`."""
    load_model_state(network, checkpoint.state, str(checkpoint.path or "the checkpoint"))
    return network.eval().requires_grad_(False)


def load_model_state(module: nn.Module, state: Mapping[str, Tensor], source: str = "the checkpoint") -> None:
    """Copy `state` into `module`; every tensor must be there, with its shape, and no other.

    Args:
        module: the network.
        state: tensor name -> tensor.
        source: how an error names where the state came from.

    Raises:
        InputError: one sentence that names the tensors that are missing, unexpected or of a wrong shape. The module
            is then unchanged.
    """
    wanted = module.state_dict()
    problems = []
    missing = [name for name in wanted if name not in state]
    unexpected = [name for name in state if name not in wanted]
    shapes = [
        f"{name} {list(state[name].shape)} instead of {list(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in state and state[name].shape != tensor.shape
    ]
    for title, names in (("missing", missing), ("unexpected", unexpected), ("of a wrong shape", shapes)):
        if names:
            problems.append(f"{title}: {_shorten(names)}")
    if problems:
        raise InputError(
            f"{source} does not fit this model; tensors {'; '.join(problems)}; "
            "use the configuration and the Palmist version that it was written with, or copy it again"
        )
    module.load_state_dict(dict(state), strict=True)


def read_tensors(file: Path) -> dict[str, Tensor]:
    """Every tensor of a safetensors file, or an InputError that says that the file is damaged."""
    try:
        with safe_open(file, framework="pt", device="cpu") as stored:
            return {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 (not a mapping)
    except (SafetensorError, OSError, ValueError, TypeError, KeyError, RuntimeError) as error:
        size = file.stat().st_size if file.exists() else 0
        raise InputError(
            f"{file} ({size} bytes) is cut off or damaged ({error}); copy it again or use another checkpoint"
        ) from error


def write_folder(path: Path, fill: Any) -> None:
    """Make a folder by `fill(temporary_folder)`, then move it to `path` in one rename.

    A folder cannot be renamed over another one, so an older folder is first set aside as `.NAME.old`; if the process
    dies between the two renames, `settle_folder` puts it back.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    settle_folder(path)
    temporary = path.parent / f".{path.name}.new-{os.getpid()}"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        fill(temporary)
        for file in temporary.iterdir():
            _flush_to_disk(file)
        set_aside = path.parent / f".{path.name}.old"
        if path.exists():
            os.replace(path, set_aside)
        os.replace(temporary, path)
        _flush_to_disk(path.parent)
        shutil.rmtree(set_aside, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def settle_folder(path: Path) -> Path:
    """Finish or undo a replacement of `path` that a crash interrupted; returns `path`."""
    set_aside = path.parent / f".{path.name}.old"
    if set_aside.is_dir():
        if path.exists():
            shutil.rmtree(set_aside, ignore_errors=True)
        else:
            os.replace(set_aside, path)
    return path


def write_text(file: Path, text: str) -> None:
    """Write a text file so that a crash leaves either the old or the new content."""
    temporary = file.parent / f".{file.name}.new-{os.getpid()}"
    temporary.write_text(text, encoding="utf-8")
    _flush_to_disk(temporary)
    os.replace(temporary, file)


def file_checksum(file: Path) -> int:
    """CRC-32 of a file's bytes."""
    checksum = 0
    with file.open("rb") as stream:
        while block := stream.read(1 << 22):
            checksum = zlib.crc32(block, checksum)
    return checksum


def _text_checksum(text: str) -> int:
    return zlib.crc32(text.encode("utf-8", "backslashreplace"))


def _check_sums(path: Path, header: dict[str, Any]) -> None:
    """InputError when a file is not what was written; checkpoints of before checksums have none, and are taken as they are."""
    checksums = header.pop("crc32", None)
    if checksums is None:
        return
    text = json.dumps(header, indent=2, ensure_ascii=False)
    if not isinstance(checksums, dict) or checksums.get("config") != _text_checksum(text):
        raise InputError(
            f"{path / CONFIG_FILE} has changed since it was written (its checksum is another); copy the checkpoint again, or "
            "take 'crc32' out of it if you changed it on purpose"
        )
    weights = path / WEIGHTS_FILE
    if checksums.get("weights") != file_checksum(weights):
        raise InputError(
            f"{weights} ({weights.stat().st_size} bytes) is cut off or damaged (its checksum is another); copy it again, or "
            f"take 'crc32' out of {CONFIG_FILE} if you changed it on purpose"
        )


def _read_header(file: Path) -> dict[str, Any]:
    try:
        header = read_json(file, "the configuration of a checkpoint")
    except InputError as error:
        raise InputError(f"{file} is not readable JSON: {error}") from error
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        found = header.get("format") if isinstance(header, dict) else type(header).__name__
        raise InputError(f"{file} names the format {found!r}, expected {FORMAT!r}; give a folder that palmist train wrote")
    version = header.get("version")
    if version != VERSION:
        newer = isinstance(version, int) and version > VERSION
        fix = "update with pip install --upgrade palmist" if newer else "train the model again or copy the checkpoint again"
        raise InputError(f"{file} has checkpoint version {version!r}, this Palmist reads version {VERSION}; {fix}")
    if not isinstance(header.get("config"), dict):
        raise InputError(f"{file} holds no 'config'; copy the checkpoint again")
    return header


def _split_statistics(statistics: Mapping[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    tensors: dict[str, Tensor] = {}
    plain: dict[str, Any] = {}
    for name, value in statistics.items():
        if isinstance(value, np.ndarray):
            tensors[_STATISTICS_PREFIX + name] = torch.from_numpy(np.array(value, order="C"))
        elif isinstance(value, Tensor):
            tensors[_STATISTICS_PREFIX + name] = value.detach().cpu().contiguous().clone()
        else:
            plain[name] = value
    return tensors, plain


def _stored_tensors(state: Mapping[str, Tensor], dtype: str) -> dict[str, Tensor]:
    if dtype not in _STORAGE:
        raise InputError(f"a checkpoint's dtype is {dtype!r}, expected one of {', '.join(_STORAGE)}")
    stored = {}
    for name, tensor in state.items():
        if name.startswith(_STATISTICS_PREFIX):
            raise InputError(f"a weight is called {name!r}; names that begin with {_STATISTICS_PREFIX!r} are reserved")
        copy = tensor.detach().to("cpu", copy=True).contiguous()  # copied: safetensors refuses tensors that share memory
        if copy.is_floating_point():
            finite_before = bool(torch.isfinite(copy).all())
            copy = copy.to(_STORAGE[dtype])
            if finite_before and not bool(torch.isfinite(copy).all()):
                raise InputError(f"the weight {name} does not fit in {dtype} (largest 65504); store float32 instead")
        stored[name] = copy
    return stored


def _flush_to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:
        pass  # some file systems refuse to sync a folder; the rename is still atomic
    finally:
        os.close(descriptor)


def _shorten(names: list[str], limit: int = 3) -> str:
    shown = ", ".join(names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"

"""Typed configurations: a class gives the names, types and defaults, a YAML file holds only the differences.

A key that the class does not know is an error that names the key and the nearest known one; so is a key given twice.
A file may begin from another one with `base: other.yaml` (relative to itself).
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from palmist.errors import InputError
from palmist.files.input_files import one_line, read_text

ConfigType = TypeVar("ConfigType")


class TrainConfig(BaseModel):
    """What `palmist train` does; every field may stand in the YAML file or be overridden as `--field value`.

    `model` and `data` belong to the task, which checks their keys with `build_config`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    task: str = Field(description="name in palmist.tasks.TASKS, for example ghtt_p")
    model: dict[str, Any] = Field(default_factory=dict, description="settings of the network, or a preset's name")
    data: dict[str, Any] = Field(default_factory=dict, description="recordings, splits, augmentation")
    steps: int | None = Field(default=None, ge=1, description="optimiser steps; give steps or epochs")
    epochs: float | None = Field(default=None, gt=0, description="passes over the training windows")
    batch_size: int = Field(default=256, ge=1, description="windows per step, all processes together")
    learning_rate: float = Field(default=1e-4, gt=0)
    optimizer: Literal["adamw", "sgd"] = Field(default="adamw", description="sgd: with Nesterov's momentum")
    momentum: float = Field(default=0.9, gt=0, lt=1, description="of sgd")
    weight_decay: float = Field(default=0.01, ge=0, description="of AdamW; with sgd part of the gradient, as in its papers")
    decay_vectors: bool = Field(default=True, description="weight decay also on biases and norms, not on matrices alone")
    schedule: Literal["constant", "cosine"] = "constant"
    least_learning_rate: float = Field(default=0.0, ge=0, description="where warm-up begins and the cosine ends")
    warmup_steps: int = Field(default=0, ge=0, description="the learning rate rises linearly over these steps")
    warmup_epochs: float = Field(default=0.0, ge=0, description="or over these passes, where the run has epochs")
    gradient_clip: float | None = Field(default=None, gt=0, description="largest norm of the gradient; none: no clipping")
    seed: int = Field(default=0, ge=0)
    precision: Literal["32-true", "16-mixed", "bf16-mixed"] = "32-true"
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    processes: int = Field(default=1, ge=1, description="one per GPU, or CPU processes")
    validate_every: int = Field(default=500, ge=1, description="steps")
    checkpoint_every: int = Field(default=500, ge=1, description="steps")
    log_every: int = Field(default=20, ge=1, description="steps; a log line holds the mean since the line before")
    ema_decay: float = Field(default=0.0, ge=0, lt=1, description="moving average of the weights; 0: none")
    storage: Literal["float32", "float16"] = Field(default="float32", description="how checkpoints store weights")
    out: str | None = Field(default=None, description="folder of the run; none: runs/NAME_OF_THE_CONFIG_FILE")
    tensorboard: bool = Field(default=True, description="also log to TensorBoard, where it is installed")

    @model_validator(mode="after")
    def _check_together(self) -> TrainConfig:
        if (self.steps is None) == (self.epochs is None):
            found = "neither" if self.steps is None else "both"
            raise ValueError(f"found {found} of 'steps' and 'epochs', expected exactly one")
        if self.warmup_epochs and (self.epochs is None or self.warmup_steps):
            raise ValueError("warmup_epochs needs 'epochs' and no 'warmup_steps'; give one length of the warm-up")
        if self.batch_size % self.processes:
            raise ValueError(
                f"batch_size {self.batch_size} cannot be shared equally by {self.processes} processes; "
                f"use {max(1, self.batch_size // self.processes) * self.processes}"
            )
        return self

    def warmup(self, steps: int) -> int:
        """Steps of warm-up of a run of `steps`."""
        if not self.warmup_epochs:
            return self.warmup_steps
        assert self.epochs is not None
        return round(steps * min(1.0, self.warmup_epochs / self.epochs))

    def total_steps(self, windows: int) -> int:
        """Optimiser steps of the whole run, for a training set of that many windows."""
        if self.steps is not None:
            return self.steps
        assert self.epochs is not None
        return max(1, math.ceil(self.epochs * windows / self.batch_size))


def load_config(
    kind: type[ConfigType],
    file: str | Path | None,
    overrides: Mapping[str, Any] | Sequence[str] = (),
) -> ConfigType:
    """Read a YAML file into `kind` (a pydantic model or a dataclass).

    Args:
        kind: the class.
        file: YAML file with the differences from the class's defaults; None: overrides alone.
        overrides: dotted names with values ({"model.width": 128}), or command-line words (["--model.width", "128"]).

    Raises:
        InputError: a missing or unreadable file, an unknown key, a value of a wrong type.

    Example:
        >>> load_config(TrainConfig, "configs/ghtt_p_small.yaml", ["--steps", "10"]).steps
        10
    """
    mapping = read_yaml(file) if file is not None else {}
    if not isinstance(overrides, Mapping):
        overrides = parse_overrides(overrides)
    where = str(file) if file is not None else "the configuration"
    return build_config(kind, apply_overrides(mapping, overrides), where)


def build_config(kind: type[ConfigType], mapping: Mapping[str, Any], where: str = "the configuration") -> ConfigType:
    """Make a `kind` (pydantic model or dataclass) of a mapping; `where` is how an error names its origin."""
    if not isinstance(mapping, Mapping):
        raise InputError(f"{where} holds {type(mapping).__name__}, expected names with values")
    _refuse_unknown_keys(kind, mapping, where, ())
    try:
        return TypeAdapter(kind).validate_python(dict(mapping))
    except ValidationError as error:
        raise InputError(f"{where}: {_first_problem(error)}") from error


def to_mapping(config: Any) -> dict[str, Any]:
    """The resolved configuration in JSON types, the inverse of `build_config`."""
    resolved: dict[str, Any] = TypeAdapter(type(config)).dump_python(config, mode="json")
    return resolved


def read_yaml(file: str | Path) -> dict[str, Any]:
    """A YAML file's mapping, merged over its `base` file if it names one."""
    return _read_with_base(Path(file), ())


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `changes` laid over it, mapping by mapping; neither is modified."""
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        merged[key] = merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def parse_overrides(words: Iterable[str]) -> dict[str, Any]:
    """Command-line words `--model.width 128 --seed=3` as {"model.width": 128, "seed": 3}; values are YAML."""
    overrides: dict[str, Any] = {}
    remaining = list(words)
    while remaining:
        word = remaining.pop(0)
        if not word.startswith("--") or len(word) < 3:
            raise InputError(f"found {word!r} where the name of a setting was expected; write --name value")
        name, equals, value = word[2:].partition("=")
        if not equals:
            if not remaining or (remaining[0].startswith("--") and len(remaining[0]) > 2):
                raise InputError(f"--{name} has no value; write --{name} VALUE")
            value = remaining.pop(0)
        overrides[name.replace("-", "_")] = _parse_value(value)
    return overrides


def apply_overrides(mapping: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """`mapping` with dotted names set; intermediate mappings are made where they are missing."""
    result = dict(mapping)
    for name, value in overrides.items():
        keys = name.split(".")
        inner: Any = value
        for key in reversed(keys):
            inner = {key: inner}
        for depth in range(1, len(keys)):
            above = _look_up(result, keys[:depth])
            if above is not None and not isinstance(above, Mapping):
                raise InputError(f"--{name}: {'.'.join(keys[:depth])} is a single value ({above!r}) and has no parts")
        result = merge(result, inner)
    return result


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name that looks most like `name`."""
    return difflib.get_close_matches(name, list(known), n=1, cutoff=0.0)[0]


_MOST_VALUES, _DEEPEST = 100_000, 50


class _UniqueKeyLoader(yaml.SafeLoader):
    """YAML allows a key twice and keeps the last; in a configuration that is always a mistake."""


def _construct_unique_mapping(loader: _UniqueKeyLoader, node: yaml.MappingNode) -> dict[Hashable, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node, deep=True)
        if key in seen:
            raise InputError(f"the key {key!r} is given twice (line {key_node.start_mark.line + 1}); keep one")
        seen.add(key)
    return loader.construct_mapping(node, deep=True)


_UniqueKeyLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _construct_unique_mapping)


def _read_with_base(file: Path, above: tuple[Path, ...]) -> dict[str, Any]:
    if not _is_there(file):
        raise InputError(f"no configuration at {file}: the file does not exist; check the name")
    if file.resolve() in above:
        raise InputError(f"{file} names itself as its base; remove the 'base' line")
    try:
        mapping = yaml.load(read_text(file, "a configuration in YAML"), Loader=_UniqueKeyLoader)
        _check_extent(mapping)
    except InputError as error:
        raise InputError(f"{file}: {error}") from error
    except (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise InputError(f"{file} is not readable YAML ({one_line(error)}); mend that line") from error
    if mapping is None:
        mapping = {}
    if not isinstance(mapping, dict):
        raise InputError(f"{file} holds {type(mapping).__name__}, expected names with values (key: value)")
    base = mapping.pop("base", None)
    if base is None:
        return mapping
    return merge(_read_with_base(file.parent / str(base), (*above, file.resolve())), mapping)


def _is_there(file: Path) -> bool:
    try:
        return file.is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False


def _check_extent(mapping: Any) -> None:
    """InputError when the aliases of a file unfold without end, or to more than any configuration holds."""
    pending, count = [(mapping, 0)], 0
    while pending:
        value, depth = pending.pop()
        count += 1
        if count > _MOST_VALUES or depth > _DEEPEST:
            raise InputError(
                f"it unfolds to over {_MOST_VALUES} values, or deeper than {_DEEPEST}; write it without aliases (*)"
            )
        if isinstance(value, dict):
            pending += [(item, depth + 1) for item in value.values()]
        elif isinstance(value, list | tuple | set):
            pending += [(item, depth + 1) for item in value]


def _parse_value(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def _look_up(mapping: Mapping[str, Any], keys: Sequence[str]) -> Any:
    value: Any = mapping
    for key in keys:
        if not isinstance(value, Mapping) or key not in value:
            return None
        value = value[key]
    return value


def _field_types(kind: Any) -> dict[str, Any] | None:
    """Field name -> type of a pydantic model or dataclass; None for anything else."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return {name: field.annotation for name, field in kind.model_fields.items()}
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        return {field.name: hints[field.name] for field in dataclasses.fields(kind) if field.init}
    return None


def _refuse_unknown_keys(kind: Any, mapping: Mapping[str, Any], where: str, path: tuple[str, ...]) -> None:
    fields = _field_types(kind)
    if fields is None:
        return
    for key, value in mapping.items():
        name = ".".join((*path, str(key)))
        if key not in fields:
            known = ".".join((*path, nearest(str(key), fields)))
            raise InputError(f"{where}: unknown key {name!r}; the nearest known key is {known!r}")
        if isinstance(value, Mapping):
            choices = typing.get_args(fields[key]) if _is_union(fields[key]) else (fields[key],)
            nested = [choice for choice in choices if _field_types(choice) is not None]
            if len(nested) == 1:
                _refuse_unknown_keys(nested[0], value, where, (*path, str(key)))


def _is_union(kind: Any) -> bool:
    return typing.get_origin(kind) in (typing.Union, types.UnionType)


def _first_problem(error: ValidationError) -> str:
    problem = error.errors(include_url=False)[0]
    name = ".".join(str(part) for part in problem["loc"])
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "missing":
        return f"the key {name!r} is missing; add it"
    if problem["type"] == "value_error" or not name:
        return f"{name + ': ' if name else ''}{message}"
    expected = message[0].lower() + message[1:]
    return f"{name!r} is {problem['input']!r}; {expected}"

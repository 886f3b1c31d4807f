"""Pickles of plain data, read without running anything in them.

A pickle is a program: loading one may call any function of any package. Here every name that a pickle asks for is looked up
in a short table of stand-ins, which hold numbers and call nothing; a name that is not in the table ends the reading. What
can come out is dict, list, tuple, text, bytes, numbers, True, False, None, and numpy arrays and scalars of numbers.
Both spellings of numpy's own module are known (numpy 1: numpy.core, numpy 2: numpy._core).
"""

from __future__ import annotations

import pickle
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import numpy as np

from palmist.errors import InputError

__all__ = ["load_plain_pickle"]

_DEEPEST = 32
_LEAVES = (str, bytes, bytearray, bool, int, float, np.number, np.bool_)
_NUMBER_TYPE = re.compile(r"[<>=|]?(?:b1|[iu][1248]|f[248])")


class _Refused(pickle.UnpicklingError):
    """The pickle asks for something that is not plain data."""


class _Type:
    """Stand-in of numpy.dtype: the name of a number type and, from its state, the byte order."""

    def __init__(self, name: object, *_: object) -> None:
        text = name.decode("ascii", "replace") if isinstance(name, bytes) else name
        if not isinstance(text, str) or not _NUMBER_TYPE.fullmatch(text):
            raise _Refused(f"an array of type {name!r}")
        self.dtype = np.dtype(text)

    def __setstate__(self, state: object) -> None:
        order = state[1] if isinstance(state, tuple) and len(state) > 1 else None
        if order not in ("<", ">", "=", "|") or (isinstance(state, tuple) and any(part is not None for part in state[2:5])):
            raise _Refused("an array of records")
        self.dtype = self.dtype.newbyteorder(order)


class _Array:
    """Stand-in of numpy.ndarray: built from shape, type and bytes."""

    def __init__(self) -> None:
        self.values: np.ndarray = np.empty(0)

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise _Refused("an array without a state")
        _, shape, kind, by_columns, data = state
        self.values = _from_bytes(data, kind, shape, "F" if by_columns else "C")


def _from_bytes(data: object, kind: object, shape: object, order: str) -> np.ndarray:
    if isinstance(data, str):  # protocol 2 of Python 2 wrote bytes as text
        data = data.encode("latin1")
    if not isinstance(kind, _Type) or not isinstance(data, bytes | bytearray):
        raise _Refused("an array of objects")
    if not isinstance(shape, tuple) or not all(isinstance(size, int) and size >= 0 for size in shape):
        raise _Refused(f"an array of shape {shape!r}")
    if order not in ("C", "F"):
        raise _Refused(f"an array in order {order!r}")
    return np.frombuffer(bytes(data), kind.dtype).reshape(shape, order="C" if order == "C" else "F")


def _reconstruct(*_: object) -> _Array:
    return _Array()


def _from_buffer(data: object, kind: object, shape: object, order: object) -> _Array:
    array = _Array()
    array.values = _from_bytes(data, kind, shape, str(order))
    return array


def _scalar(kind: object, data: object) -> Any:
    return _from_bytes(data, kind, (1,), "C")[0]


def _encode(text: object, encoding: object) -> bytes:
    if not isinstance(text, str) or encoding != "latin1":
        raise _Refused(f"codec {encoding!r}")
    return text.encode("latin1")


def _no_bytes(*arguments: object) -> bytes:
    if arguments:
        raise _Refused("bytes made of something")
    return b""


def _array_class(*_: object) -> None:
    raise _Refused("a call of numpy.ndarray")


class _Name:
    """All that a pickle gets for a name: it can be called, and nothing can be set on it."""

    __slots__ = ("_call",)

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call

    def __call__(self, *arguments: object) -> Any:
        return self._call(*arguments)

    def __setstate__(self, _: object) -> None:
        raise _Refused("a name to be changed")


_STAND_INS: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "ndarray"): _array_class,
    ("numpy", "dtype"): _Type,
    ("_codecs", "encode"): _encode,
    ("__builtin__", "bytes"): _no_bytes,  # how old protocols write an empty array
    ("builtins", "bytes"): _no_bytes,
    **{
        (f"numpy.{core}.{module}", name): stand_in
        for core in ("core", "_core")
        for module, name, stand_in in (
            ("multiarray", "_reconstruct", _reconstruct),
            ("multiarray", "scalar", _scalar),
            ("numeric", "_frombuffer", _from_buffer),
        )
    },
}


class _WholeReads:
    """A stream that is never asked for more than it has: memory is set aside for what is asked for."""

    def __init__(self, stream: BinaryIO, size: int) -> None:
        self._stream, self._size = stream, size
        self.readline = stream.readline

    def read(self, count: int = -1) -> bytes:
        if count > self._size:
            raise EOFError(f"{count} bytes are asked for, the file has {self._size}")
        return self._stream.read(count)


class _PlainUnpickler(pickle._Unpickler):  # in Python: the one in C sets memory aside for any memo number it is told
    def load_bytearray8(self) -> None:
        """Read first, then set aside."""
        (size,) = struct.unpack("<Q", self.read(8))  # type: ignore[attr-defined]
        self.append(bytearray(self.read(size)))  # type: ignore[attr-defined]

    dispatch: ClassVar[dict[int, Any]] = {**pickle._Unpickler.dispatch, pickle.BYTEARRAY8[0]: load_bytearray8}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _STAND_INS:
            raise _Refused(f"{module}.{name}")
        return _Name(_STAND_INS[module, name])


def load_plain_pickle(file: Path) -> Any:
    """What a pickle of plain data holds. Nothing in the file is run, whatever it says.

    Raises InputError, one sentence, when the file is missing or cut off, or asks for anything that is not plain data (the
    sentence names it).
    """
    if not file.is_file():
        raise InputError(f"{file} does not exist; expected a pickle of plain data")
    try:
        with file.open("rb") as stream:
            loaded = _PlainUnpickler(_WholeReads(stream, file.stat().st_size)).load()
        return _plain(loaded, {}, 0)
    except _Refused as error:
        raise InputError(
            f"{file} asks for {error}, which is never loaded; expected a pickle of dicts, lists, text, numbers and arrays of "
            "numbers only; do not open it with anything else unless you know who made it"
        ) from error
    except Exception as error:  # a damaged pickle can raise nearly anything, from inside C code
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"{file} cannot be read as a pickle, it is cut off or damaged ({reason}); download it again"
        ) from error


def _plain(value: Any, known: dict[int, Any], depth: int) -> Any:
    """value with arrays in the place of their stand-ins; what occurs twice is looked at once."""
    if isinstance(value, _Array):
        return value.values
    if value is None or isinstance(value, _LEAVES):
        return value
    if not isinstance(value, dict | list | tuple):
        raise _Refused(f"an object of its own making ({type(value).__name__.lstrip('_')})")
    if depth > _DEEPEST:
        raise _Refused(f"data nested deeper than {_DEEPEST}")
    if id(value) in known:
        return known[id(value)]
    if isinstance(value, dict):
        made: Any = {_plain(key, known, depth + 1): _plain(item, known, depth + 1) for key, item in value.items()}
    else:
        made = type(value)(_plain(item, known, depth + 1) for item in value)
    known[id(value)] = made
    return made

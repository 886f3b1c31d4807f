"""Damage to the arrays of a .npz: shapes, types, values, times, sides, the text in them."""

from __future__ import annotations

import io
from collections.abc import Callable
from random import Random

import numpy as np

from fuzzing.inputs.documents import another_json_document, lose_json_value, odd_json_value, rename_json_key, wrap_json_value


def _arrays(data: bytes) -> dict[str, np.ndarray]:
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        return {name: archive[name].copy() for name in archive.files}


def _saved(arrays: dict[str, np.ndarray]) -> bytes:
    out = io.BytesIO()
    np.savez_compressed(out, **arrays)
    return out.getvalue()


def _some_array(r: Random, arrays: dict[str, np.ndarray], kinds: str, least_size: int = 1) -> str | None:
    names = [name for name, array in arrays.items() if array.dtype.kind in kinds and array.size >= least_size]
    return r.choice(names) if names else None


def lose_an_array(r: Random, data: bytes) -> bytes:
    arrays = _arrays(data)
    arrays.pop(r.choice(list(arrays)))
    return _saved(arrays)


def rename_an_array(r: Random, data: bytes) -> bytes:
    arrays = _arrays(data)
    name = r.choice(list(arrays))
    arrays[r.choice((name.upper(), f"{name}_", "arr_0", f"{name}.npy"))] = arrays.pop(name)
    return _saved(arrays)


def exchange_arrays(r: Random, data: bytes) -> bytes:
    arrays = _arrays(data)
    a, b = r.choice(list(arrays)), r.choice(list(arrays))
    arrays[a], arrays[b] = arrays[b], arrays[a]
    return _saved(arrays)


def wrong_shape(r: Random, data: bytes) -> bytes:
    arrays = _arrays(data)
    name = r.choice(list(arrays))
    array = arrays[name]
    ways: list[Callable[[], np.ndarray]] = [lambda: array[None], lambda: array[..., None], lambda: array.ravel()[:0]]
    if array.ndim:
        ways += [
            lambda: array[:-1],
            lambda: array[:1],
            lambda: array[:0],
            lambda: np.concatenate([array, array[:1]]),
            lambda: array[0],
            lambda: array[..., :-1],
            lambda: array.ravel(),
            lambda: np.moveaxis(array, 0, -1),
            lambda: np.repeat(array, 2, -1),
        ]
    arrays[name] = r.choice(ways)()
    return _saved(arrays)


def wrong_type(r: Random, data: bytes) -> bytes:
    arrays = _arrays(data)
    name = r.choice(list(arrays))
    array = arrays[name]
    kind = r.choice(("U8", "S8", "c16", "?", "i8", "u1", "f2", "M8[s]", "m8[s]", "i1"))
    with np.errstate(all="ignore"):
        try:
            arrays[name] = array.astype(kind)
        except (ValueError, TypeError):
            arrays[name] = np.full(array.shape, "text")
    return _saved(arrays)


def same_numbers_otherwise(r: Random, data: bytes) -> bytes:
    """The other byte order, columns first, a wider float: the same numbers."""
    arrays = _arrays(data)
    for name, array in arrays.items():
        ways = [lambda a: a, np.asfortranarray]
        if array.dtype.kind in "fiu":
            ways.append(lambda a: a.astype(a.dtype.newbyteorder(">")))
        if array.dtype == np.float32:
            ways.append(lambda a: a.astype(np.float64))
        arrays[name] = r.choice(ways)(array)
    return _saved(arrays)


def _values(r: Random, data: bytes, words: tuple[float, ...], share: float) -> bytes:
    arrays = _arrays(data)
    name = _some_array(r, arrays, "f")
    if name is None:
        return data
    array = arrays[name]
    array[np.random.default_rng(r.randrange(2**32)).random(array.shape) < share] = r.choice(words)
    if array.size:
        array.flat[r.randrange(array.size)] = r.choice(words)
    return _saved(arrays)


def not_a_number(r: Random, data: bytes) -> bytes:
    return _values(r, data, (np.nan,), r.choice((0, 0.01, 0.5, 1)))


def infinite(r: Random, data: bytes) -> bytes:
    return _values(r, data, (np.inf, -np.inf), r.choice((0, 0.01, 0.5)))


def absurd_value(r: Random, data: bytes) -> bytes:
    return _values(r, data, (1e30, -1e30, 3e38, 1e12), r.choice((0, 0.01, 0.5)))


def absurd_whole_number(r: Random, data: bytes) -> bytes:
    arrays = _arrays(data)
    name = _some_array(r, arrays, "iu")
    if name is None:
        return data
    array, limits = arrays[name], np.iinfo(arrays[name].dtype)
    array.flat[r.randrange(array.size)] = r.choice((limits.max, limits.min, limits.max // 2, 1))
    return _saved(arrays)


def _times(r: Random, data: bytes, change: Callable[[np.ndarray], np.ndarray]) -> bytes:
    arrays = _arrays(data)
    names = [name for name in arrays if "time" in name and arrays[name].ndim == 1 and arrays[name].size > 2]
    if not names:
        return data
    name = r.choice(names)
    arrays[name] = change(arrays[name])
    return _saved(arrays)


def reversed_times(r: Random, data: bytes) -> bytes:
    return _times(r, data, lambda time: time[::-1].copy())


def repeated_time(r: Random, data: bytes) -> bytes:
    def change(time: np.ndarray) -> np.ndarray:
        at = r.randrange(1, len(time))
        time[at] = time[at - 1]
        return time

    return _times(r, data, change)


def absurd_time(r: Random, data: bytes) -> bytes:
    def change(time: np.ndarray) -> np.ndarray:
        time[r.randrange(len(time))] = r.choice((np.nan, np.inf, -1e18, 1e300, -np.inf))
        return time

    return _times(r, data, change)


def exchanged_hands(r: Random, data: bytes) -> bytes:
    """From a random frame on the hands change sides."""
    arrays = _arrays(data)
    for name, array in arrays.items():
        if array.ndim >= 2 and array.shape[1] == 2 and len(array) > 1:
            start = r.randrange(len(array))
            array[start:] = array[start:, ::-1]
            arrays[name] = array
    return _saved(arrays)


def odd_text_in_array(r: Random, data: bytes) -> bytes:
    """The text of a member, such as its JSON, damaged as JSON or exchanged for another."""
    arrays = _arrays(data)
    name = _some_array(r, arrays, "U")
    if name is None:
        return data
    text = str(arrays[name].ravel()[0])
    if text.startswith("{"):
        damaged = r.choice(
            (odd_json_value, odd_json_value, lose_json_value, wrap_json_value, rename_json_key, another_json_document)
        )
        text = damaged(r, text.encode()).decode("utf-8", "replace")
    else:
        text = r.choice(("", "x", "../../x", "\u202e", "9" * 1000, text.upper()))
    new = arrays[name].astype(f"U{max(len(text), 1)}")
    new.flat[0] = text
    arrays[name] = new
    return _saved(arrays)

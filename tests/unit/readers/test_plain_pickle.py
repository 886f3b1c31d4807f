"""Pickles of plain data: whatever a file says, nothing in it is run."""

from __future__ import annotations

import collections
import io
import os
import pickle
import pickletools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from palmist.errors import InputError
from palmist.readers.plain_pickle import load_plain_pickle

PLAIN = {
    "text": "ä",
    "list": [1, 2.5, True, None, b"raw", (1, (2, 3))],
    "half": np.arange(24, dtype=np.float16).reshape(2, 3, 4),
    "columns": np.asfortranarray(np.arange(6, dtype=np.int64).reshape(2, 3)),
    "big": np.arange(3, dtype=">f4"),
    "flags": np.array([True, False]),
    "empty": np.zeros((0, 3), np.uint8),
    "number": np.int64(7),
    "share": np.float32(0.5),
}


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("protocol", range(6))
def test_plain_data_come_back_with_their_types(tmp_path: Path, protocol: int) -> None:
    found = load_plain_pickle(write(tmp_path / "a.pkl", pickle.dumps(PLAIN, protocol)))
    assert list(found) == list(PLAIN)
    for key, expected in PLAIN.items():
        if isinstance(expected, np.ndarray | np.generic):
            assert found[key].dtype == expected.dtype, key
            np.testing.assert_array_equal(found[key], expected)
        else:
            assert found[key] == expected
            assert type(found[key]) is type(expected)


@pytest.mark.parametrize("protocol", [0, 2])
def test_numpy_one_called_its_module_otherwise(tmp_path: Path, protocol: int) -> None:
    data = pickle.dumps(PLAIN, protocol)
    assert b"numpy._core." in data
    found = load_plain_pickle(write(tmp_path / "a.pkl", data.replace(b"numpy._core.", b"numpy.core.")))
    np.testing.assert_array_equal(found["half"], PLAIN["half"])


class Runs:
    """Pickles as a call."""

    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> Any:
        return self.call[0], tuple(self.call[1:])


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("wrap", [lambda bad: bad, lambda bad: {"annotations": [bad]}, lambda bad: [PLAIN, (bad,)]])
def test_a_call_of_anything_else_is_named_and_never_made(tmp_path: Path, protocol: int, wrap: Any) -> None:
    trace = tmp_path / "trace"
    for call, named in (
        (Runs(os.system, f"touch {trace}"), "posix.system"),
        (Runs(eval, f"open({str(trace)!r}, 'w')"), "eval"),
        (Runs(os.mkdir, str(trace)), "mkdir"),
        (Runs(np.fromfile, str(trace)), "fromfile"),
        (Runs(collections.OrderedDict), "OrderedDict"),
        (Runs(getattr, "", "upper"), "getattr"),
    ):
        with pytest.raises(InputError, match=f"asks for .*{named}.*never loaded"):
            load_plain_pickle(write(tmp_path / "a.pkl", pickle.dumps(wrap(call), protocol)))
        assert not trace.exists()
    pickle.loads(pickle.dumps(Runs(os.mkdir, str(trace))))
    assert trace.exists()  # the same file runs when Python itself loads it: the test can fail


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"cnumpy\nndarray.__subclasses__\n.", "ndarray.__subclasses__"),
        (b"cnumpy\nndarray\n(tR.", "a call of numpy.ndarray"),
        (b"cnumpy\nndarray\n.", "an object of its own making"),
        (b"cnumpy\ndtype\n(S'O'\ntR.", "type 'O'"),
        (b"cnumpy\ndtype\n(S'f8,i4'\ntR.", "type 'f8,i4'"),
        (b"cnumpy\ndtype\n(S'f8'\ntR(I3\nS'<'\nS'sub'\ntb.", "records"),
        (b"cnumpy\ndtype\n}S'x'\nI1\nsb.", "a name to be changed"),
        (b"c_codecs\nencode\n(S'a'\nS'zlib'\ntR.", "codec 'zlib'"),
        (b"cbuiltins\nset\n.", "builtins.set"),
        (b"cbuiltins\nbytes\n(I9\ntR.", "bytes made of something"),
        (b"\x80\x04\x8f.", "an object of its own making"),
    ],
)
def test_abuse_of_the_known_names_is_refused(tmp_path: Path, data: bytes, says: str) -> None:
    pickletools.dis(data, io.StringIO())  # a well-formed program, not a damaged one
    with pytest.raises(InputError, match=says):
        load_plain_pickle(write(tmp_path / "a.pkl", data))


def test_arrays_of_objects_and_of_wrong_length_are_refused(tmp_path: Path) -> None:
    objects = np.array([{"a": 1}, None], dtype=object)
    records = np.zeros(2, [("a", "f4"), ("b", "i4")])
    for array in (objects, records, np.array(["text"]), np.array(["2020-01-01"], "M8[D]"), np.zeros(2, complex)):
        with pytest.raises(InputError, match="an array of"):
            load_plain_pickle(write(tmp_path / "a.pkl", pickle.dumps(array, 2)))
    whole = pickle.dumps(np.arange(4, dtype=np.uint8), 2)
    longer = whole.replace(b"K\x04\x85", b"K\x09\x85")
    assert longer != whole
    with pytest.raises(InputError, match="cut off or damaged"):
        load_plain_pickle(write(tmp_path / "a.pkl", longer))


def test_loops_and_depth_end(tmp_path: Path) -> None:
    loop: list[Any] = []
    loop.append(loop)
    deep: list[Any] = []
    for _ in range(200):
        deep = [deep]
    many: list[Any] = [0]
    for _ in range(30):
        many = [many] * 2 if len(many) < 2 else [many, many]
    for data in (loop, deep):
        with pytest.raises(InputError, match="nested deeper"):
            load_plain_pickle(write(tmp_path / "a.pkl", pickle.dumps(data)))
    load_plain_pickle(write(tmp_path / "a.pkl", pickle.dumps(many)))  # 2 ** 30 entries if each were looked at


def test_cut_off_files_are_one_sentence(tmp_path: Path) -> None:
    for protocol in (2, 5):
        data = pickle.dumps({"a": np.arange(5.0), "b": ["x", 1]}, protocol)
        for size in range(protocol % 2, len(data), 3):
            with pytest.raises(InputError, match=r"cut off or damaged|never loaded"):
                load_plain_pickle(write(tmp_path / "a.pkl", data[:size]))
    with pytest.raises(InputError, match="does not exist"):
        load_plain_pickle(tmp_path / "nothing.pkl")

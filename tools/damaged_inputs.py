"""Seeded damage to the files that a user may hand to Palmist: bytes, text, JSON, YAML, .npz, pickles, folders.

Every damage is a function of (random, bytes) or, for folders, of (random, path); the same seed gives the same damage.
`DAMAGES` names them with the kinds of file they fit and the rule by which what comes out is judged:

    data     the damaged file is legal in its format; refused, or an object that passes its own checks
    same     refused, or the very object of the undamaged file: the format has a length or a checksum, or nothing changed
    noticed  refused, unknown in the result, or named by the damage report of the result
"""



from __future__ import annotations

import io
import json
import os
import pickle
import random
import re
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Random = random.Random
TEXT = frozenset({"text", "json", "jsonl", "yaml"})
BYTES = frozenset({"text", "json", "jsonl", "yaml", "npz", "npy", "pickle", "safetensors", "video", "picture"})
ARRAYS = frozenset({"npz"})
#: Formats with a length or a checksum of their own, in which a cut cannot go unseen.
FRAMED = frozenset({"npz", "json", "pickle", "safetensors"})


@dataclass(frozen=True)
class Damage:
    """name; kinds of file it fits; rule (see above); apply(random, bytes) -> bytes, or None for damage to the folder."""

    name: str
    kinds: frozenset[str]
    rule: str
    apply: Callable[[Random, bytes], bytes] | None = None
    place: Callable[[Random, Path], None] | None = None


def kind_of(path: Path) -> str:
    """What a file is, by its name: one of BYTES."""
    kinds = {
        ".json": "json",
        ".jsonl": "jsonl",
        ".yaml": "yaml",
        ".npz": "npz",
        ".npy": "npy",
        ".pkl": "pickle",
        ".safetensors": "safetensors",
        ".mp4": "video",
        ".webm": "video",
        ".avi": "video",
        ".jpg": "picture",
    }
    return kinds.get(path.suffix, "text")


# --------------------------------------------------------------------------------------------------------------------
# Bytes


def cut(r: Random, data: bytes) -> bytes:
    return data[: r.randrange(max(1, len(data)))]


def cut_near_an_end(r: Random, data: bytes) -> bytes:
    size = r.randrange(1, 64)
    return data[:size] if r.random() < 0.3 else data[: max(0, len(data) - size)]


def flip_bits(r: Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(r.choice((1, 1, 2, 8, 64))):
        if changed:
            changed[r.randrange(len(changed))] ^= 1 << r.randrange(8)
    return bytes(changed)


def flip_early_bits(r: Random, data: bytes) -> bytes:
    """Headers stand at the front, of a zip at the end."""
    changed = bytearray(data)
    width = min(len(changed), 512)
    for _ in range(r.choice((1, 2, 4))):
        if width:
            at = r.randrange(width)
            changed[at if r.random() < 0.5 else -1 - at] = r.choice((0, 1, 0x7F, 0x80, 0xFF, r.randrange(256)))
    return bytes(changed)


def zero_block(r: Random, data: bytes) -> bytes:
    """What a file system leaves of a file that was being written when the power went."""
    at = r.randrange(max(1, len(data)))
    size = r.choice((16, 512, 4096))
    return data[:at] + bytes(min(size, len(data) - at)) + data[at + size :]


def lose_block(r: Random, data: bytes) -> bytes:
    at = r.randrange(max(1, len(data)))
    return data[:at] + data[at + r.choice((1, 2, 16, 512, 4096)) :]


def repeat_block(r: Random, data: bytes) -> bytes:
    at = r.randrange(max(1, len(data)))
    size = r.choice((1, 16, 512, 4096))
    return data[: at + size] + data[at:]


def append_noise(r: Random, data: bytes) -> bytes:
    return data + r.choice((b"\0" * 100, b"\n\n", r.randbytes(r.randrange(1, 300)), data[:2000]))


def only_noise(r: Random, data: bytes) -> bytes:
    return r.randbytes(r.choice((1, 7, 100, 5000)))


def nothing(r: Random, data: bytes) -> bytes:
    return b""


def another_format(r: Random, data: bytes) -> bytes:
    """The start of a pickle, a zip, a picture, a web page that a proxy sent, a file that stands in for a large one."""
    return r.choice(
        (
            pickle.dumps({"joints": [1.0]}),
            b"PK\x03\x04" + r.randbytes(60),
            b"\x89PNG\r\n\x1a\n" + r.randbytes(60),
            b"<!DOCTYPE html><html><body>Please log in</body></html>\n",
            b"\x93NUMPY\x01\x00v\x00{'descr'",
            b"\x1f\x8b\x08" + data[:90],
            b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
        )
    )


# --------------------------------------------------------------------------------------------------------------------
# Text

_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
ODD_WORDS = (
    b"nan",
    b"NaN",
    b"inf",
    b"-inf",
    b"1e999",
    b"-1",
    b"0",
    b"99999999999999999999",
    b"1e30",
    b"-1e30",
    b"",
    b"x",
    b"0x10",
    b"1_0",
    b"\xd9\xa3",
    b"1,5",
    b"null",
    b"true",
    b"../../../../etc/passwd",
    b"/etc/passwd",
    b"2147483648",
    b"-0.0",
    b"3.7",
    b"9" * 5000,
    b"\xff\xfe",
    b"\0",
    b"a b",
    b'"',
    b"[",
    b"{}",
    b"%s%n",
)


def odd_number(r: Random, data: bytes) -> bytes:
    """One number of the text becomes something else."""
    found = list(_NUMBER.finditer(data[:200_000]))
    if not found:
        return data + r.choice(ODD_WORDS)
    chosen = r.choice(found)
    return data[: chosen.start()] + r.choice(ODD_WORDS) + data[chosen.end() :]


def many_odd_numbers(r: Random, data: bytes) -> bytes:
    word, share = r.choice(ODD_WORDS[:16]), r.choice((0.01, 0.2, 1.0))
    return _NUMBER.sub(lambda match: word if r.random() < share else match.group(), data)


def odd_word(r: Random, data: bytes) -> bytes:
    found = list(re.finditer(rb"[A-Za-z_]{2,}", data[:200_000]))
    if not found:
        return r.choice(ODD_WORDS) + data
    chosen = r.choice(found)
    return (
        data[: chosen.start()] + r.choice((*ODD_WORDS, chosen.group().swapcase(), chosen.group() * 50)) + data[chosen.end() :]
    )


def _lines(r: Random, data: bytes, change: Callable[[list[bytes]], list[bytes]]) -> bytes:
    return b"".join(change(data.splitlines(keepends=True)))


def lose_lines(r: Random, data: bytes) -> bytes:
    lines = data.splitlines(keepends=True)
    for _ in range(r.choice((1, 1, 3))):
        if lines:
            lines.pop(r.randrange(len(lines)))
    return b"".join(lines)


def repeat_lines(r: Random, data: bytes) -> bytes:
    lines = data.splitlines(keepends=True)
    if lines:
        at = r.randrange(len(lines))
        lines[at:at] = [lines[at]] * r.choice((1, 1, 2, 100))
    return b"".join(lines)


def reverse_lines(r: Random, data: bytes) -> bytes:
    return b"".join(reversed(data.splitlines(keepends=True)))


def exchange_lines(r: Random, data: bytes) -> bytes:
    lines = data.splitlines(keepends=True)
    if len(lines) > 1:
        a, b = r.randrange(len(lines)), r.randrange(len(lines))
        lines[a], lines[b] = lines[b], lines[a]
    return b"".join(lines)


def _one_line(r: Random, data: bytes, change: Callable[[list[bytes]], list[bytes]]) -> bytes:
    lines = data.split(b"\n")
    at = r.randrange(len(lines))
    gap = next((mark for mark in (b",", b";", b" ", b":") if mark in lines[at]), b" ")
    lines[at] = gap.join(change(lines[at].split(gap)))
    return b"\n".join(lines)


def lose_a_column(r: Random, data: bytes) -> bytes:
    return _one_line(r, data, lambda words: words[:-1] if r.random() < 0.5 else words[1:])


def add_a_column(r: Random, data: bytes) -> bytes:
    return _one_line(r, data, lambda words: [*words, r.choice(ODD_WORDS[:20])])


def empty_a_column(r: Random, data: bytes) -> bytes:
    def change(words: list[bytes]) -> list[bytes]:
        words[r.randrange(len(words))] = b""
        return words

    return _one_line(r, data, change)


def another_encoding(r: Random, data: bytes) -> bytes:
    text = data.decode("utf-8", "replace")
    name = r.choice(("utf-16", "utf-16-be", "utf-32", "utf-7", "cp037"))
    return text.encode(name, "replace")


def bad_utf8(r: Random, data: bytes) -> bytes:
    at = r.randrange(len(data) + 1)
    bad = r.choice((b"\xff", b"\xc3\x28", b"\xe9t\xe9", b"\xed\xa0\x80", b"\xf8\x88\x80\x80\x80", b"\x80"))
    return data[:at] + bad + data[at:]


def odd_white_space(r: Random, data: bytes) -> bytes:
    """Windows line ends or blank lines at the end, as an editor leaves them."""
    return r.choice((data.replace(b"\n", b"\r\n"), data + b"\n \n", data.rstrip(b"\n")))


def odd_characters(r: Random, data: bytes) -> bytes:
    at = r.randrange(len(data) + 1)
    odd = r.choice(
        (b"\0", b"\x1b[31m", b"\x85", "\u2028".encode(), "\u202e".encode(), b"\x0c", b"\x1c", b"\x1a", b"\xef\xbb\xbf")
    )
    return data[:at] + odd + data[at:]


def one_long_line(r: Random, data: bytes) -> bytes:
    return r.choice((data.replace(b"\n", b" "), data + b"7" * 3_000_000, data + b"1 " * 1_000_000))


# --------------------------------------------------------------------------------------------------------------------
# JSON and YAML

ODD_VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    10**30,
    1e308,
    float("nan"),
    float("inf"),
    "",
    "x",
    "../../x",
    [],
    {},
    [[]],
    [None],
    {"a": 1},
    2**31,
    2**63,
    0.5,
    [1, 2, 3],
    "\ud800",
    "9" * 400,
)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of the values in a JSON document; of long lists the first few."""
    found = [path] if path else []
    items = value.items() if isinstance(value, dict) else enumerate(value[:6]) if isinstance(value, list) else ()
    for key, item in items:
        found += _places(item, (*path, key))
    return found


def _change_json(r: Random, data: bytes, change: Callable[[Any, Any], None]) -> bytes:
    """change(container, key) somewhere in the document; of a JSON-lines file in one line."""
    lines = data.splitlines() if b"}\n{" in data.strip() else [data]
    at = r.randrange(len(lines))
    document = json.loads(lines[at])
    places = _places(document)
    if not places:
        return json.dumps(r.choice(ODD_VALUES)).encode()
    depth = r.randrange(1, max(map(len, places)) + 1)
    path = r.choice([place for place in places if len(place) <= depth])
    inner = document
    for key in path[:-1]:
        inner = inner[key]
    change(inner, path[-1])
    lines[at] = json.dumps(document).encode()
    return b"\n".join(lines) + b"\n"


def odd_json_value(r: Random, data: bytes) -> bytes:
    def change(inner: Any, key: Any) -> None:
        inner[key] = r.choice(ODD_VALUES)

    return _change_json(r, data, change)


def lose_json_value(r: Random, data: bytes) -> bytes:
    def change(inner: Any, key: Any) -> None:
        del inner[key]

    return _change_json(r, data, change)


def rename_json_key(r: Random, data: bytes) -> bytes:
    def change(inner: Any, key: Any) -> None:
        if isinstance(inner, dict):
            inner[r.choice(("", "x", f"{key}_", str(key).upper(), "__class__", "../x", "-1"))] = inner.pop(key)
        else:
            inner.insert(key, inner[key])

    return _change_json(r, data, change)


def wrap_json_value(r: Random, data: bytes) -> bytes:
    def change(inner: Any, key: Any) -> None:
        inner[key] = r.choice((lambda v: [v], lambda v: {"value": v}, str, lambda v: [v, v], lambda v: None))(inner[key])

    return _change_json(r, data, change)


def another_json_document(r: Random, data: bytes) -> bytes:
    deep = r.choice((500, 100_000))
    return r.choice(
        (b"[" * deep + b"]" * deep, b'{"a":' * deep + b"1" + b"}" * deep, b"1", b"null", b'"x"', b"[]", b"{}", b"NaN", b"[1, 2")
    )


YAML_TRICKS = (
    b"a: &a [x, x, x, x, x, x, x, x, x]\n"
    + b"".join(b"%c: &%c [%s]\n" % (k, k, b", ".join([b"*%c" % (k - 1)] * 9)) for k in range(98, 108)),
    b"model: &m {width: *m}\n",
    b"model: &m\n  self: *m\n",
    b"!!python/object/apply:os.system ['touch escaped']\n",
    b"steps: 2001-99-99\n",
    b"steps: !!int x\n",
    b"? [a, b]\n: 1\n",
    b"? {a: 1}\n: 1\n",
    b"<<: 3\n",
    b"<<: [1]\n",
    b"base: ../../../../etc/passwd\n",
    b"base: .\n",
    b"base: [x]\n",
    b"base: /dev/zero\n",
    b'base: "a\\0b"\n',
    b"1: 2\n",
    b"null: 1\n",
    b"model: {1: 2, null: 3}\n",
    b"seed: " + b"9" * 5000 + b"\n",
    b"--- a\n--- b\n",
    b"[" * 3000,
    b"a: " * 2000,
    b"steps: 1:2:3\n",
    b"steps: .nan\n",
    b"learning_rate: .inf\n",
    b"seed: 0o17\n",
    b"steps: !!binary x\n",
    b"%YAML 9.9\n---\na: 1\n",
    b"model: !!set {a, b}\n",
    b"model: !!timestamp 2001-01-01\n",
    b"steps: !!float ''\n",
)


def yaml_trick(r: Random, data: bytes) -> bytes:
    trick = r.choice(YAML_TRICKS)
    return r.choice((trick, trick + data, data + trick))


# --------------------------------------------------------------------------------------------------------------------
# .npz: the archive


def _members(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _archive(members: list[tuple[str, bytes]], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    import warnings

    out = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(out, "w", method) as archive:
        warnings.simplefilter("ignore")  # two members of one name
        for name, content in members:
            archive.writestr(name, content)
    return out.getvalue()


def npy_claiming(shape: str, descr: str = "'<f4'", body: bytes = b"") -> bytes:
    """A .npy whose header says what it likes."""
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode("latin1") + body


def zip_names(r: Random, data: bytes) -> bytes:
    """A member with a name that leads out of the folder, beside the others or in the place of one."""
    members = list(_members(data).items())
    name, content = r.choice(members)
    bad = r.choice(
        (
            "../../escaped.npy",
            "/tmp/palmist_escaped.npy",
            "..\\..\\escaped.npy",
            "a" * 300 + ".npy",
            "\u202e.npy",
            ".npy",
            "x\0y.npy",
        )
    )
    return _archive([*(members if r.random() < 0.5 else [m for m in members if m[0] != name]), (bad, content)])


def zip_twice(r: Random, data: bytes) -> bytes:
    """One member twice, the second of them different."""
    members = list(_members(data).items())
    name, _ = r.choice(members)
    return _archive([*members, (name, r.choice(members)[1])])


def zip_bomb(r: Random, data: bytes) -> bytes:
    """A few kilobytes (of a stored test: megabytes) that unpack to gigabytes of zeros."""
    members = _members(data)
    name = r.choice(list(members))
    rows = r.choice((2**28, 2**29))  # 3 and 6 GiB of float32 x 3
    head = npy_claiming(f"({rows}, 3)")
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = bytearray(packer.compress(head))
    block, total, crc = bytes(1 << 24), 12 * rows, zlib.crc32(head)
    unit = _deflated_zeros(packer, block)
    for _ in range(total // len(block)):
        body += unit
    body += packer.flush()
    size = total + len(head)
    return _raw_zip(name, bytes(body), size, crc)


_ZEROS: dict[int, bytes] = {}


def _deflated_zeros(packer: Any, block: bytes) -> bytes:
    """One block of zeros as a deflate part that ends on a byte and refers to nothing before it."""
    if len(block) not in _ZEROS:
        fresh = zlib.compressobj(9, zlib.DEFLATED, -15)
        _ZEROS[len(block)] = fresh.compress(block) + fresh.flush(zlib.Z_FULL_FLUSH)
    return packer.flush(zlib.Z_FULL_FLUSH) + _ZEROS[len(block)]


def _raw_zip(name: str, body: bytes, size: int, crc: int) -> bytes:
    raw = name.encode()
    small = min(size, 0xFFFFFFFF)
    extra = b"" if small == size else struct.pack("<HHQ", 1, 8, size)
    local = struct.pack("<4sHHHHHIIIHH", b"PK\3\4", 45, 0, 8, 0, 33, crc, len(body), small, len(raw), len(extra)) + raw + extra
    central = struct.pack(
        "<4sHHHHHHIIIHHHHHII", b"PK\1\2", 45, 45, 0, 8, 0, 33, crc, len(body), small, len(raw), len(extra), 0, 0, 0, 0, 0
    )
    central += raw + extra
    start = len(local) + len(body)
    return local + body + central + struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 1, 1, len(central), start, 0)


def zip_fields(r: Random, data: bytes) -> bytes:
    """Sizes, methods and flags of the zip's directory say something else: encrypted, another method, 4 GB."""
    changed = bytearray(data)
    starts = [match.start() for match in re.finditer(rb"PK\x01\x02", data)]
    if not starts:
        return flip_bits(r, data)
    at, (offset, size) = r.choice(starts), r.choice(((8, 2), (10, 2), (16, 4), (20, 4), (24, 4), (28, 2), (42, 4)))
    value = r.choice((0, 1, 99, 2 ** (8 * size) - 1, 2 ** (8 * size) - 2, r.randrange(2 ** (8 * size))))
    changed[at + offset : at + offset + size] = value.to_bytes(size, "little")
    return bytes(changed)


def huge_header(r: Random, data: bytes) -> bytes:
    members = _members(data)
    name = r.choice(list(members))
    shape = r.choice(
        (
            "(1099511627776,)",
            "(24, 2, 21, 3000000000)",
            "(4294967296, 4294967296)",
            "(-1,)",
            "(600000000,)",
            "(9" + "9" * 300 + ",)",
        )
    )
    members[name] = npy_claiming(shape, body=bytes(64))
    return _archive(list(members.items()))


def odd_npy_header(r: Random, data: bytes) -> bytes:
    members = _members(data)
    name = r.choice(list(members))
    members[name] = r.choice(
        (
            npy_claiming("(4,)", "'|O'", pickle.dumps([1, 2, 3, 4])),
            npy_claiming("(4,)", "[('a', '<f4'), ('b', '|O')]", bytes(64)),
            npy_claiming("(2,)", "[('a', '<f4'), ('b', '<i4')]", bytes(16)),
            npy_claiming("()", "'<M8[s]'", bytes(8)),
            npy_claiming("(4,)", "'<c16'", bytes(64)),
            npy_claiming("(4,)", "'|S16'", bytes(64)),
            npy_claiming("(0, 2, 21, 3)"),
            npy_claiming("(2,)", "'|V8'", bytes(16)),
            npy_claiming("__import__('os').system('touch escaped')"),
            npy_claiming("(3"),
            npy_claiming("(4,)", "'<f4'", bytes(8)),
            npy_claiming("(True,)", "'<f4'", bytes(4)),
            b"\x93NUMPY\x09\x00" + bytes(40),
            b"\x93NUMPY\x02\x00\xff\xff\xff\x7f" + bytes(40),
            members[name][:-1],
            b"",
            b"text, no array",
            npy_claiming("(" * 90 + ")" * 90),
            npy_claiming("()", "'<U400000000'", bytes(8)),
            npy_claiming("(1,)", "'<U0'"),
        )
    )
    return _archive(list(members.items()))


# --------------------------------------------------------------------------------------------------------------------
# .npz: the arrays


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


# --------------------------------------------------------------------------------------------------------------------
# Pickles and safetensors

_PICKLE_TRICKS = (
    b"cos\nsystem\n(S'touch escaped'\ntR.",
    b"c__builtin__\neval\n(S'1'\ntR.",
    b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x0etouch escaped\x85R.",
    b"\x80\x02cnumpy.core.multiarray\n_reconstruct\nq\x01.",
    b"\x80\x02r\xff\xff\xff\x7f.",
    b"\x80\x02N\x72\xff\xff\xff\x0f.",
    b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7fN.",
    b"\x80\x04\x8e\x00\x00\x00\x00\x00\x01\x00\x00.",
    b"\x80\x04\x8d\xff\xff\xff\xff\x00\x00\x00\x00.",
    b"\x80\x02\x8b\xff\xff\xff\x7f.",
    b"\x80\x05\x96\x00\x00\x00\x00\x00\x02\x00\x00.",
    b"(" * 100_000 + b"t" * 100_000 + b".",
    b"]" * 200_000 + b"a" * 199_999 + b".",
    b"\x80\x02]q\x00h\x00a.",
    b"\x80\x02cnumpy\nndarray\n)\x81.",
    b"\x80\x02cbuiltins\ngetattr\n.",
    b"\x80\x04\x8c\x05numpy\x8c\x05dtype\x93\x8c\x02O8\x85R.",
    b"\x80\x63.",
    b"P1\n.",
    b"\x80\x02K\x01\x51.",
)


def pickle_trick(r: Random, data: bytes) -> bytes:
    """Opcodes that run something, claim gigabytes, nest without end or count a memo up to two billion."""
    trick = r.choice(_PICKLE_TRICKS)
    return trick if r.random() < 0.6 else data[:2] + trick[2:] if trick[:1] == b"\x80" else data[:-1] + trick


def odd_pickle(r: Random, data: bytes) -> bytes:
    """The pickle of another tree: a value exchanged for one of another type."""
    document = pickle.loads(data)  # our own
    item = r.choice(document["annotations"])
    key = r.choice(list(item))
    values = (
        *ODD_VALUES[:20],
        np.zeros((1, 5, 25, 3), np.float16),
        np.full((1, 5, 25, 3), np.nan),
        np.zeros((0, 5, 25, 3)),
        np.zeros((1, 2, 25, 4)),
        np.array(3),
        np.full((1, 5, 25, 3), 1e30),
        np.zeros((1, 5, 25, 3), "U3"),
        b"x",
        (1, 2),
        np.float64("nan"),
        np.zeros((1, 4, 17, 2), complex),
    )
    way = r.randrange(5)
    if way == 0:
        del item[key]
    elif way == 1:
        document["split"] = r.choice(ODD_VALUES[:20])
    elif way == 2:
        document["split"][r.choice(list(document["split"]))] = r.choice(values)
    else:
        item[r.choice((key, "keypoint", "img_shape", "keypoint_score"))] = r.choice(values)
    return pickle.dumps(document, protocol=r.choice((2, 3, 4, 5)))


def safetensors_header(r: Random, data: bytes) -> bytes:
    """Its JSON head changed: other types, offsets, shapes; or a length of gigabytes."""
    size = int.from_bytes(data[:8], "little")
    if r.random() < 0.3:
        return r.choice((2**40, 2**63, 0, size - 1, size + 1, 1)).to_bytes(8, "little") + data[8:]
    head = r.choice((odd_json_value, lose_json_value, wrap_json_value, rename_json_key))(r, data[8 : 8 + size]).strip()
    return len(head).to_bytes(8, "little") + head + data[8 + size :]


# --------------------------------------------------------------------------------------------------------------------
# Videos


def video_fields(r: Random, data: bytes) -> bytes:
    """A number behind a box's or a tag's name becomes huge, zero or negative: sizes, counts, durations, time scales."""
    names = (
        b"tkhd",
        b"mdhd",
        b"mvhd",
        b"stts",
        b"stsc",
        b"stsz",
        b"stco",
        b"avc1",
        b"avcC",
        b"stsd",
        b"moov",
        b"mdat",
        b"trak",
        b"elst",
        b"ctts",
        b"stss",
        b"\x2a\xd7\xb1",
        b"\x44\x89",
        b"\xb0",
        b"\xba",
        b"\xe7",
        b"\xa3",
        b"\x16\x54\xae\x6b",
        b"\x1f\x43\xb6\x75",
        b"\x86",
    )
    places = [match.start() for name in names if name in data for match in re.finditer(re.escape(name), data)]
    if not places:
        return flip_early_bits(r, data)
    changed = bytearray(data)
    for _ in range(r.choice((1, 1, 3))):
        at = r.choice(places) + r.choice((-4, 3, 4, 8, 12, 16, 20, 24, 28, 32, 36, 80, 84))
        if 0 <= at <= len(changed) - 4:
            changed[at : at + 4] = r.choice(
                (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\1", b"\0\0\xff\xff", r.randbytes(4))
            )
    return bytes(changed)


# --------------------------------------------------------------------------------------------------------------------
# Folders: the file itself is not what it was


def lose_the_file(r: Random, path: Path) -> None:
    path.unlink()


def folder_instead(r: Random, path: Path) -> None:
    path.unlink()
    path.mkdir()


def pipe_instead(r: Random, path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def endless_device_instead(r: Random, path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def link_to_itself(r: Random, path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def another_file_instead(r: Random, path: Path) -> None:
    """A sibling in its place, as two downloads under one name."""
    others = sorted(other for other in path.parent.iterdir() if other.is_file() and other != path)
    if others:
        shutil.copyfile(r.choice(others), path)


def odd_name(r: Random, path: Path) -> None:
    stem, suffix = path.stem, path.suffix
    new = r.choice(
        (
            f"{stem} (1){suffix}",
            f"{stem}{suffix}.part",
            f"-{stem}{suffix}",
            f"{stem}\n{suffix}",
            f"{stem}{suffix.upper()}",
            f"{stem}\u202e{suffix}",
        )
    )
    path.rename(path.with_name(new))


def file_beside_it(r: Random, path: Path) -> None:
    """What systems leave in folders."""
    name, content = r.choice(
        (("Thumbs.db", b"\0"), (".DS_Store", b"\0"), (f"._{path.name}", b"\0\5\x16\7"), (f"{path.stem}_copy{path.suffix}", b""))
    )
    if path.with_name(name) != path:
        path.with_name(name).write_bytes(content)


_BYTE_DAMAGES = (
    cut,
    cut_near_an_end,
    flip_bits,
    flip_early_bits,
    zero_block,
    lose_block,
    repeat_block,
    append_noise,
    only_noise,
    nothing,
    another_format,
)
_TEXT_DAMAGES = (
    odd_number,
    many_odd_numbers,
    odd_word,
    lose_lines,
    repeat_lines,
    reverse_lines,
    exchange_lines,
    lose_a_column,
    add_a_column,
    empty_a_column,
    another_encoding,
    bad_utf8,
    odd_characters,
    one_long_line,
    odd_white_space,
)
_JSON_DAMAGES = (odd_json_value, lose_json_value, rename_json_key, wrap_json_value, another_json_document)
_NPZ_DAMAGES = {
    "same": (huge_header, zip_bomb, same_numbers_otherwise),
    "data": (
        zip_names,
        zip_twice,
        zip_fields,
        odd_npy_header,
        lose_an_array,
        rename_an_array,
        exchange_arrays,
        wrong_shape,
        wrong_type,
        absurd_whole_number,
        exchanged_hands,
        odd_text_in_array,
    ),
    "noticed": (not_a_number, infinite, absurd_value, reversed_times, repeated_time, absurd_time),
}
_PLACE_DAMAGES = (
    lose_the_file,
    folder_instead,
    pipe_instead,
    endless_device_instead,
    link_to_itself,
    another_file_instead,
    odd_name,
    file_beside_it,
)

DAMAGES: tuple[Damage, ...] = (
    *(Damage(f.__name__, BYTES, "data", f) for f in _BYTE_DAMAGES),
    *(Damage(f.__name__, TEXT, "data", f) for f in _TEXT_DAMAGES),
    *(Damage(f.__name__, frozenset({"json", "jsonl"}), "data", f) for f in _JSON_DAMAGES),
    *(Damage(f.__name__, ARRAYS, rule, f) for rule, functions in _NPZ_DAMAGES.items() for f in functions),
    Damage("yaml_trick", frozenset({"yaml"}), "data", yaml_trick),
    Damage("pickle_trick", frozenset({"pickle"}), "data", pickle_trick),
    Damage("odd_pickle", frozenset({"pickle"}), "data", odd_pickle),
    Damage("safetensors_header", frozenset({"safetensors"}), "same", safetensors_header),
    Damage("video_fields", frozenset({"video"}), "data", video_fields),
    *(Damage(f.__name__, BYTES, "data", None, f) for f in _PLACE_DAMAGES),
)

#: Damage to bytes that a format with a checksum (.npz, safetensors with ours) must notice.
BYTE_DAMAGES = frozenset(f.__name__ for f in _BYTE_DAMAGES)
CUTS = frozenset({"cut", "cut_near_an_end"})


def rule_of(damage: Damage, kind: str) -> str:
    """The rule for a damage to a file of this kind (head of this module)."""
    if damage.name in BYTE_DAMAGES and kind in ("npz", "safetensors"):
        return "same"
    if damage.name in CUTS and kind in FRAMED:
        return "same"
    return "same" if damage.name == "odd_white_space" and kind in ("json", "yaml", "jsonl") else damage.rule

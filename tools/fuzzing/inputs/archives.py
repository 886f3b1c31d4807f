"""Damage to zip archives: names that lead elsewhere, bombs, directories and headers that lie."""

from __future__ import annotations

import gzip
import io
import pickle
import re
import struct
import warnings
import zipfile
import zlib
from random import Random
from typing import Any

from fuzzing.inputs.raw import flip_bits


def _members(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _archive(members: list[tuple[str, bytes]], method: int = zipfile.ZIP_DEFLATED) -> bytes:

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


def gzip_trick(r: Random, data: bytes) -> bytes:
    """A gzip that unpacks to gigabytes, with a wrong checksum or length, with another behind it, or with noise inside."""
    plain = gzip.decompress(data)
    return r.choice(
        (
            lambda: _gzip_bomb(),
            lambda: data[:-8] + r.randbytes(8),
            lambda: data[:-4] + (2**32 - 1).to_bytes(4, "little"),
            lambda: data + data,
            lambda: data + gzip.compress(r.randbytes(200)),
            lambda: gzip.compress(flip_bits(r, plain)),
            lambda: gzip.compress(plain[: r.randrange(len(plain))]),
            lambda: gzip.compress(gzip.compress(plain)),
            lambda: gzip.compress(b""),
            lambda: data[:3] + bytes([r.randrange(256)]) + data[4:],
        )
    )()


def _gzip_bomb(gigabytes: int = 3) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    block = bytes(1 << 24)
    unit = _deflated_zeros(packer, block)
    return unit + _ZEROS[len(block)] * (64 * gigabytes - 1) + packer.flush()

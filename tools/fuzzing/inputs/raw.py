"""Damage to the bytes of a file, whatever it holds."""

from __future__ import annotations

import pickle
from random import Random


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

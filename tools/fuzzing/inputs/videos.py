"""Damage to the containers of videos."""

from __future__ import annotations

import re
from random import Random

from fuzzing.inputs.raw import flip_early_bits


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

"""Damage to text: numbers, words, lines, columns, encodings, white space."""

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random

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

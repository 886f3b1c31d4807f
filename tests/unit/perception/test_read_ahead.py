"""Reading ahead gives the same items, errors in their place, and closes what it reads."""

from __future__ import annotations

import threading
from collections.abc import Generator

import pytest

from palmist.perception.read_ahead import read_ahead


def test_items_come_in_order_and_the_next_is_made_meanwhile() -> None:
    made = [threading.Event() for _ in range(4)]

    def numbers() -> Generator[int, None, None]:
        for number in range(3):
            made[number].set()
            yield number

    found = []
    for number in read_ahead(numbers()):
        found.append(number)
        if number < 2:
            assert made[number + 1].wait(5)  # while this one is in use
    assert found == [0, 1, 2]
    assert list(read_ahead(numbers())) == [0, 1, 2]


def test_an_error_comes_after_the_items_before_it() -> None:
    def broken() -> Generator[int, None, None]:
        yield 1
        raise ValueError("the second is broken")

    reader = read_ahead(broken())
    assert next(reader) == 1
    with pytest.raises(ValueError, match="second"):
        next(reader)


def test_closing_early_closes_the_source_and_its_thread() -> None:
    closed = []

    def endless() -> Generator[int, None, None]:
        try:
            while True:
                yield 0
        finally:
            closed.append(True)

    reader = read_ahead(endless())
    next(reader)
    reader.close()
    assert closed == [True]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("palmist-ahead")]

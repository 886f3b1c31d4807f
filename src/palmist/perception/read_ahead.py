"""The next item of an iterator is made in a second thread while the caller works on the one before."""

from __future__ import annotations

from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

__all__ = ["read_ahead"]

Item = TypeVar("Item")


def read_ahead(items: Generator[Item, None, None]) -> Generator[Item, None, None]:
    """The same items in the same order, one of them made in advance; errors come where they came before.

    Useful where making an item leaves Python's lock free, as decoding does. `items` is closed when this generator is.
    """
    nothing = object()
    try:
        with ThreadPoolExecutor(1, thread_name_prefix="palmist-ahead") as pool:
            coming = pool.submit(next, items, nothing)
            while (item := coming.result()) is not nothing:
                coming = pool.submit(next, items, nothing)
                yield item  # type: ignore[misc]  # only the last one is `nothing`
    finally:
        items.close()

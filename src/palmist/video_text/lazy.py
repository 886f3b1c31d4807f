"""Sequences whose items are made when they are asked for."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TypeVar, overload

__all__ = ["LazySequence"]

Item = TypeVar("Item", covariant=True)


class LazySequence(Sequence[Item]):
    """Give `__len__` and `_item`; a slice is a list, and a negative number counts from the end, as for any sequence."""

    @abstractmethod
    def _item(self, number: int) -> Item:
        """Item 0 <= number < len(self)."""

    @overload
    def __getitem__(self, number: int) -> Item: ...

    @overload
    def __getitem__(self, number: slice) -> list[Item]: ...

    def __getitem__(self, number: int | slice) -> Item | list[Item]:
        if isinstance(number, slice):
            return [self._item(each) for each in range(*number.indices(len(self)))]
        return self._item(range(len(self))[number])

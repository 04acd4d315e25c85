"""The latest of what was sent, numbered and bounded: what a client that comes back may have missed."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Window(Generic[T]):
    """Items in the order of their numbers, 1 and up. The oldest leave when there are too many, or too much of them.

    The newest always stays, however large it is.
    """

    __slots__ = ("_items", "_most_items", "_most_size", "_size", "last")

    def __init__(self, most_items: int, most_size: int) -> None:
        self._items: deque[tuple[T, int]] = deque()
        self._most_items = most_items
        self._most_size = most_size
        self._size = 0
        self.last = 0
        """The number of the newest item, 0 before there was one."""

    def add(self, item: T, size: int) -> int:
        """Keep an item, and return its number."""
        self.last += 1
        self._items.append((item, size))
        self._size += size
        while len(self._items) > 1 and (len(self._items) > self._most_items or self._size > self._most_size):
            self._size -= self._items.popleft()[1]
        return self.last

    def since(self, number: int) -> list[tuple[int, T]] | None:
        """What came after a number, with the numbers; None if it was never given, or some of that is gone."""
        missed = self.last - number
        if number < 0 or not 0 <= missed <= len(self._items):
            return None
        items = list(self._items)[len(self._items) - missed :]
        return [(number + 1 + index, item) for index, (item, _size) in enumerate(items)]

    def __len__(self) -> int:
        return len(self._items)

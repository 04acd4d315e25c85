"""Who has which id on the other nodes, as these say themselves.

Every node numbers what happens to its ids: that is its log. Who misses a number asks for all ids of that node, so it
does not matter what the backplane loses or in which order it delivers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, KeysView

MAX_NODES: Final = 1_000
MAX_IDS: Final = 1_000_000
"""Bounds of what other nodes may make this one remember. An id costs some 400 bytes."""


class Entry(NamedTuple):
    """A registration."""

    stamp: int
    """Microseconds since 1970 by the clock of its node, later than all before on that node. It decides between two."""
    digest: str
    """Of the id's token: the same for the same client."""


def wins(one: Entry, of_one: bytes, other: Entry, of_other: bytes) -> bool:
    """Whether the first of two registrations of one id stays. Every node comes to the same answer.

    Of one client it is the one that came last, as with a take-over; else the one that came first.
    """
    if one.digest == other.digest:
        return (one.stamp, of_one) > (other.stamp, of_other)
    return (one.stamp, of_one) < (other.stamp, of_other)


class Shelf:
    """The ids of another node."""

    __slots__ = ("_parts", "asked", "entries", "latest", "number")

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.number = 0
        """Up to where in its log these are its ids."""
        self.latest = 0
        """How far its log goes."""
        self.asked = False
        """Whether it was asked for all, and has not answered yet."""
        self._parts: tuple[int, int, dict[str, Entry]] = (0, 0, {})

    @property
    def is_behind(self) -> bool:
        return self.number < self.latest

    def gather(self, number: int, part: int, parts: int, entries: dict[str, Entry]) -> dict[str, Entry] | None:
        """Take one part of all ids, in order. They are returned with the last one."""
        got = self._parts if part else (number, 0, {})
        if got[:2] != (number, part) or part >= parts:
            return None
        gathered = {**got[2], **entries}
        self._parts = (number, part + 1, gathered)
        if part + 1 < parts:
            return None
        self._parts = (0, 0, {})
        return gathered


class Directory:
    """The ids of all other nodes."""

    def __init__(self) -> None:
        self._shelves: dict[bytes, Shelf] = {}
        self._holders: dict[str, bytes] = {}
        self._size = 0

    @property
    def nodes(self) -> set[bytes]:
        return set(self._shelves)

    def meet(self, node: bytes) -> bool:
        """A node has spoken. True: it was not known."""
        if node in self._shelves or len(self._shelves) >= MAX_NODES:
            return False
        self._shelves[node] = Shelf()
        return True

    def drop(self, node: bytes) -> None:
        """A node is gone, and its ids with it."""
        shelf = self._shelves.pop(node, None)
        if shelf is not None:
            self._size -= len(shelf.entries)
            for id in shelf.entries:
                self._let_go(id, node)

    def find(self, id: str) -> tuple[bytes, Entry] | None:
        """The node that has an id, and its registration there."""
        node = self._holders.get(id)
        return None if node is None else (node, self._shelves[node].entries[id])

    def is_behind(self, node: bytes) -> bool:
        """Whether something of a node's log is missing here."""
        shelf = self._shelves.get(node)
        return shelf is None or shelf.is_behind

    def shared(self, node: bytes, ids: KeysView[str]) -> set[str]:
        """Those of some ids that a node has too."""
        shelf = self._shelves.get(node)
        return set() if shelf is None else ids & shelf.entries.keys()

    def has_to_ask(self, node: bytes, latest: int) -> bool:
        """A node's log goes that far. True: we have missed something, and it has not been asked for it yet."""
        shelf = self._shelves.get(node)
        if shelf is None:
            return False
        shelf.latest = max(shelf.latest, latest)
        if not shelf.is_behind or shelf.asked:
            return False
        shelf.asked = True
        return True

    def has_no_answer(self, node: bytes) -> None:
        """What a node was asked for has been lost: it may be asked again."""
        shelf = self._shelves.get(node)
        if shelf is not None:
            shelf.asked = False

    def joined(self, node: bytes, number: int, id: str, entry: Entry) -> bool:
        """An entry of a node's log. False: it is none that comes next."""
        shelf = self._next(node, number)
        if shelf is None or (id not in shelf.entries and self._size >= MAX_IDS):
            return False
        self._put(node, shelf, id, entry)
        return True

    def left(self, node: bytes, number: int, id: str) -> None:
        """The same, of an id that is free again there."""
        shelf = self._next(node, number)
        if shelf is not None and shelf.entries.pop(id, None) is not None:
            self._size -= 1
            self._let_go(id, node)

    def replace(self, node: bytes, number: int, part: int, parts: int, entries: dict[str, Entry]) -> list[str]:
        """A part of all the ids of a node. With the last of them: the ids that are new."""
        shelf = self._shelves.get(node)
        all_entries = None if shelf is None else shelf.gather(number, part, parts, entries)
        if shelf is None or all_entries is None:
            return []
        shelf.asked = False
        if number < shelf.number or self._size - len(shelf.entries) + len(all_entries) > MAX_IDS:
            return []
        before, shelf.number, shelf.latest = shelf.entries, number, max(number, shelf.latest)
        for id in before.keys() - all_entries.keys():
            del before[id]
            self._size -= 1
            self._let_go(id, node)
        new = [id for id, entry in all_entries.items() if before.get(id) != entry]
        for id in new:
            self._put(node, shelf, id, all_entries[id])
        return new

    def __iter__(self) -> Iterator[tuple[str, Entry]]:
        for id, node in self._holders.items():
            yield id, self._shelves[node].entries[id]

    def __len__(self) -> int:
        return len(self._holders)

    # Inside.

    def _next(self, node: bytes, number: int) -> Shelf | None:
        shelf = self._shelves.get(node)
        if shelf is None:
            return None
        shelf.latest = max(shelf.latest, number)
        if number != shelf.number + 1:
            return None
        shelf.number = number
        return shelf

    def _put(self, node: bytes, shelf: Shelf, id: str, entry: Entry) -> None:
        was_there = id in shelf.entries
        shelf.entries[id] = entry
        self._size += not was_there
        if was_there or self._holders.setdefault(id, node) != node:
            self._choose(id)

    def _let_go(self, id: str, node: bytes) -> None:
        """A node has an id no more."""
        if self._holders.get(id) == node:
            self._choose(id)

    def _choose(self, id: str) -> None:
        """Say who has an id, while two nodes may be sorting out whose it is."""
        best: tuple[bytes, Entry] | None = None
        for node, shelf in self._shelves.items():
            entry = shelf.entries.get(id)
            if entry is not None and (best is None or wins(entry, node, best[1], best[0])):
                best = (node, entry)
        if best is None:
            self._holders.pop(id, None)
        else:
            self._holders[id] = best[0]

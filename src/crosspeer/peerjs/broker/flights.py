"""Messages that are on their way to clients of other nodes, until these say that they have them.

Time comes in as an argument.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from crosspeer.peerjs.broker.directory import Entry
    from crosspeer.peerjs.broker.room import Room, Waiting


class Flight(NamedTuple):
    """One message."""

    node: bytes
    """Where it goes to."""
    entry: Entry
    """The registration that it is for."""
    dst: str
    message: Waiting
    due: float
    """When its sender is told that nobody has it."""


class Flights:
    """All of them, by their numbers.

    Args:
        room: shared with the messages that wait for absent peers.
        timeout: seconds until the answer is no longer waited for.
    """

    def __init__(self, room: Room, timeout: float) -> None:
        self._room = room
        self._timeout = timeout
        self._flights: dict[int, Flight] = {}
        """By age, and so by when they are due."""
        self._last = 0

    def start(self, node: bytes, entry: Entry, dst: str, message: Waiting, now: float) -> int:
        """Note a message that leaves. Its number is returned."""
        self._last += 1
        self._flights[self._last] = Flight(node, entry, dst, message, now + self._timeout)
        return self._last

    def end(self, node: bytes, number: int) -> Flight | None:
        """A node has answered. None: it was not asked, or too long ago."""
        flight = self._flights.get(number)
        if flight is None or flight.node != node:
            return None
        del self._flights[number]
        self._room.give_back(flight.message)
        return flight

    def due(self) -> float | None:
        """When the next one is overdue; None while none is on its way."""
        for flight in self._flights.values():
            return flight.due
        return None

    def expire(self, now: float) -> list[tuple[str, str]]:
        """Give up what was not answered in time: each pair of a receiver and a sender, once."""
        pairs: dict[tuple[str, str], None] = {}
        for flight in self._flights.values():
            if flight.due > now:
                break
            pairs[flight.dst, flight.message.src] = None
        if pairs:
            # What went after it between the two means nothing without it.
            for number, flight in list(self._flights.items()):
                if (flight.dst, flight.message.src) in pairs:
                    del self._flights[number]
                    self._room.give_back(flight.message)
        return list(pairs)

    def __len__(self) -> int:
        return len(self._flights)

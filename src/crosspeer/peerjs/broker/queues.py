"""Messages for peers that are not there yet: bounded in every way, and given back as EXPIRE when their time is over.

Time comes in as an argument.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from crosspeer.peerjs.broker.room import Room, Waiting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crosspeer.peerjs.broker.limits import BrokerLimits

MAX_TOLD: Final = 10_000
"""Pairs of ids that are remembered after an EXPIRE."""


class Queue:
    """What waits for one id."""

    __slots__ = ("due", "messages")

    def __init__(self, due: float) -> None:
        self.due = due
        self.messages: list[Waiting] = []


class Queues:
    """All that waits, by the id that it waits for.

    Args:
        expire_timeout: seconds from the first message for an id to the EXPIRE for all of them.
        sweep: seconds between two looks at the queues, at least: what falls due meanwhile expires together.
    """

    def __init__(self, limits: BrokerLimits, expire_timeout: float, sweep: float) -> None:
        self._most = limits.waiting_per_peer
        self._timeout = expire_timeout
        self._sweep = sweep
        self._queues: dict[str, Queue] = {}
        """By age: every queue has the same time, so the first one is due first."""
        self.room = Room(limits)
        self._told: dict[tuple[str, str], float] = {}
        """Sender and absent peer of an EXPIRE, and until when it need not be said again."""
        self._next_sweep = 0.0

    def put(self, src: str, dst: str, kind: str, text: str, now: float) -> bool:
        """Keep a message for an absent peer. False: there is no room for it."""
        queue = self._queues.get(dst)
        if queue is not None and len(queue.messages) >= self._most:
            return False
        message = self.room.take(src, kind, text)
        if message is None:
            return False
        if queue is None:
            queue = self._queues[dst] = Queue(now + self._timeout)
        queue.messages.append(message)
        return True

    def take(self, dst: str) -> list[Waiting]:
        """What waits for a peer that has come, in order."""
        queue = self._queues.pop(dst, None)
        if queue is None:
            return []
        self._forget(queue)
        return queue.messages

    def __iter__(self) -> Iterator[str]:
        """The peers that something waits for."""
        return iter(tuple(self._queues))

    def due(self, now: float) -> float | None:
        """When the next messages expire; None while none wait."""
        for queue in self._queues.values():
            return max(queue.due, min(self._next_sweep, now + self._sweep))
        return None

    def expire(self, now: float) -> list[tuple[str, str]]:
        """Drop what has waited long enough: each pair of an absent peer and a sender to be told, once."""
        pairs: dict[tuple[str, str], None] = {}
        for dst, queue in list(self._queues.items()):
            if queue.due > now:
                break
            del self._queues[dst]
            self._forget(queue)
            pairs.update(((dst, message.src), None) for message in queue.messages)
        if pairs:
            self._next_sweep = now + self._sweep
        return list(pairs)

    # A candidate that trickles in behind an EXPIRE is no new attempt, and not worth a second one.

    def tell(self, src: str, dst: str, now: float) -> None:
        """Remember that a sender was told of an absent peer."""
        self._told.pop((src, dst), None)
        if len(self._told) >= MAX_TOLD:
            del self._told[next(iter(self._told))]
        self._told[src, dst] = now + self._timeout

    def was_told(self, src: str, dst: str, now: float) -> bool:
        return self._told.get((src, dst), 0.0) > now

    def untell(self, src: str, dst: str) -> None:
        """A new attempt begins."""
        self._told.pop((src, dst), None)

    def _forget(self, queue: Queue) -> None:
        for message in queue.messages:
            self.room.give_back(message)

"""Messages for peers that are not there yet: bounded in every way, and given back as EXPIRE when their time is over.

Time comes in as an argument.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from crosspeer.peerjs.broker.limits import BrokerLimits

OVERHEAD: Final = 200
"""Bytes that a waiting message costs beside its text."""
MAX_TOLD: Final = 10_000
"""Pairs of ids that are remembered after an EXPIRE."""


class Waiting(NamedTuple):
    """A message that waits."""

    src: str
    type: str
    text: str
    size: int


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
        self._limits = limits
        self._timeout = expire_timeout
        self._sweep = sweep
        self._queues: dict[str, Queue] = {}
        """By age: every queue has the same time, so the first one is due first."""
        self._of_sender: Counter[str] = Counter()
        """Bytes that wait for each sender."""
        self._told: dict[tuple[str, str], float] = {}
        """Sender and absent peer of an EXPIRE, and until when it need not be said again."""
        self._next_sweep = 0.0
        self.messages = 0
        self.size = 0

    def put(self, src: str, dst: str, kind: str, text: str, now: float) -> bool:
        """Keep a message for an absent peer. False: there is no room for it."""
        size = text.__sizeof__() + OVERHEAD
        queue = self._queues.get(dst)
        limits = self._limits
        if (
            (queue is not None and len(queue.messages) >= limits.waiting_per_peer)
            or self._of_sender[src] + size > limits.waiting_per_sender
            or self.size + size > limits.waiting_total
        ):
            if not self._of_sender[src]:
                del self._of_sender[src]
            return False
        if queue is None:
            queue = self._queues[dst] = Queue(now + self._timeout)
        queue.messages.append(Waiting(src, kind, text, size))
        self._of_sender[src] += size
        self.messages += 1
        self.size += size
        return True

    def take(self, dst: str) -> list[Waiting]:
        """What waits for a peer that has come, in order."""
        queue = self._queues.pop(dst, None)
        if queue is None:
            return []
        self._forget(queue)
        return queue.messages

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
            left = self._of_sender[message.src] - message.size
            if left:
                self._of_sender[message.src] = left
            else:
                del self._of_sender[message.src]
            self.messages -= 1
            self.size -= message.size

"""The memory that messages may take which wait: for a peer that is not there, or for the answer of another node."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from crosspeer.peerjs.broker.limits import BrokerLimits

OVERHEAD: Final = 200
"""Bytes that a waiting message costs beside its text."""


class Waiting(NamedTuple):
    """A message that waits."""

    src: str
    type: str
    text: str
    size: int


class Room:
    """How much waits, in all and of each sender, and that it is not too much."""

    def __init__(self, limits: BrokerLimits) -> None:
        self._limits = limits
        self._of_sender: Counter[str] = Counter()
        self.messages = 0
        self.size = 0

    def take(self, src: str, kind: str, text: str) -> Waiting | None:
        """Let a message wait. None: there is no room for it."""
        size = text.__sizeof__() + OVERHEAD
        limits = self._limits
        held = self._of_sender.get(src, 0) + size
        if held > limits.waiting_per_sender or self.size + size > limits.waiting_total:
            return None
        self._of_sender[src] = held
        self.messages += 1
        self.size += size
        return Waiting(src, kind, text, size)

    def give_back(self, message: Waiting) -> None:
        """A message waits no more."""
        left = self._of_sender[message.src] - message.size
        if left:
            self._of_sender[message.src] = left
        else:
            del self._of_sender[message.src]
        self.messages -= 1
        self.size -= message.size

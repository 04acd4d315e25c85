"""The outgoing queue of one peer: bounded, counted, with a named policy for what does not fit."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crosspeer.core.limits import Limits
    from crosspeer.core.outgoing import Outgoing


class Outbox:
    """Messages between `send` and the connection that writes them."""

    __slots__ = ("_items", "_limit", "_policy", "dropped", "size")

    def __init__(self, limits: Limits) -> None:
        self._items: deque[Outgoing] = deque()
        self._limit = limits.max_queue_size
        self._policy = limits.overflow
        self.size = 0
        """Bytes that wait."""
        self.dropped = 0
        """Messages that a policy threw away."""

    def push(self, item: Outgoing, taken: int = 0) -> bool:
        """Queue a message. False: it does not fit and the policy is to close the peer.

        `taken` is what the connection has taken out and not yet written; it counts against the limit.
        """
        if self.size + taken + item.size > self._limit and (self._items or taken):
            return self._overflow(item, taken)
        self._items.append(item)
        self.size += item.size
        return True

    def pop(self) -> Outgoing | None:
        """Take the oldest message out, None when there is none."""
        if not self._items:
            return None
        item = self._items.popleft()
        self.size -= item.size
        return item

    def clear(self) -> None:
        self._items.clear()
        self.size = 0

    def __len__(self) -> int:
        return len(self._items)

    def _overflow(self, item: Outgoing, taken: int) -> bool:
        if self._policy == "close":
            return False
        if self._policy == "drop_oldest" and item.size <= self._limit:
            while self._items and self.size + taken + item.size > self._limit:
                self.pop()
                self.dropped += 1
            # Alone it may stand behind what is half written: the newest is what this policy is for.
            self._items.append(item)
            self.size += item.size
            return True
        self.dropped += 1
        return True

"""Logs in the memory of a process: what Redis and NATS have is here for the hubs of a process, or of a machine."""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Final

from crosspeer.core.history import MAX_LOGS
from crosspeer.sync.port import Page
from crosspeer.wire.logged import stamp

if TYPE_CHECKING:
    from crosspeer.core.history import History
    from crosspeer.sync.port import Append, Ask

MAX_SENDERS: Final = 1000
"""Whose numbers a log knows: those that appended last."""


class StoredLog:
    """One log."""

    def __init__(self) -> None:
        self.epoch = secrets.token_hex(8)
        self.offset = 0
        self._items: deque[tuple[float, int, bytes]] = deque()
        self._bytes = 0
        self._numbers: OrderedDict[str, int] = OrderedDict()

    def append(self, new: Append, now: float) -> bytes | None:
        """Keep a message and stamp it. None: it is here already."""
        if new.number <= self._numbers.get(new.sender, 0):
            return None
        self._numbers[new.sender] = new.number
        self._numbers.move_to_end(new.sender)
        if len(self._numbers) > MAX_SENDERS:
            self._numbers.popitem(last=False)
        self.offset += 1
        self._items.append((now, self.offset, new.data))
        self._bytes += len(new.data)
        self.forget(new.log.kept, now)
        return stamp(self.epoch, self.offset - 1, self.offset, new.data)

    def read(self, after: int | None) -> Page:
        if after is None:
            return Page(self.epoch, self.offset, self.offset, [])
        # Backwards: most who ask have missed little.
        entries: list[tuple[int, bytes]] = []
        for _, offset, data in reversed(self._items):
            if offset <= after:
                break
            entries.append((offset, data))
        entries.reverse()
        return Page(self.epoch, self.offset, self.offset - len(entries), entries)

    def forget(self, kept: History, now: float) -> None:
        items = self._items
        while items and (len(items) > kept.size or self._bytes > kept.bytes or now - items[0][0] > kept.seconds):
            self._bytes -= len(items.popleft()[2])


class LogStore:
    """All logs of one backplane, by their channels. The one that was quiet for longest goes when there are too many."""

    def __init__(self) -> None:
        self._logs: OrderedDict[str, StoredLog] = OrderedDict()

    def append(self, new: Append) -> bytes | None:
        """Keep a message. What is returned is to be published on the channel of the log; None: it was here."""
        return self._log(new.log.channel).append(new, time.monotonic())

    def read(self, ask: Ask) -> Page:
        log = self._log(ask.log.channel)
        log.forget(ask.log.kept, time.monotonic())
        return log.read(ask.after)

    def renew(self, channel: str, epoch: str) -> bytes | None:
        """Begin a log anew if this is its epoch. What is returned is to be published on its channel."""
        if self._log(channel).epoch != epoch:
            return None
        del self._logs[channel]
        return stamp(self._log(channel).epoch, 0, 0, b"")

    def _log(self, channel: str) -> StoredLog:
        log = self._logs.get(channel)
        if log is None:
            log = self._logs[channel] = StoredLog()
        self._logs.move_to_end(channel)
        if len(self._logs) > MAX_LOGS:
            self._logs.popitem(last=False)
        return log

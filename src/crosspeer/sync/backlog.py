"""What is to be appended to logs: in order, bounded, and once more when nobody knows whether it was."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from crosspeer.core.outgoing import Outgoing
    from crosspeer.sync.port import LogName

MAX_WAITING: Final = 8 * 1024 * 1024
"""Bytes that wait for the logs. Beyond it the oldest are lost for other nodes, and counted."""
BATCH: Final = 256
"""Messages that are appended at once."""


@dataclass(slots=True, eq=False)
class Pending:
    """A message that its log does not have yet, or that has not come back from it."""

    log: LogName
    writer: str
    """Whose number it is (`Append.sender`)."""
    number: int
    data: bytes
    since: float
    item: Outgoing | None = None
    """None: it is of another node."""
    sender: Any = None
    """The session that has published it."""
    was_delivered: bool = False
    """Here, before it came from the log."""
    is_stored: bool = False


class Backlog:
    """Messages on their way to the logs.

    Args:
        lost: called with each that has to go because too much waits.
    """

    def __init__(self, lost: Callable[[Pending], None]) -> None:
        self._queue: deque[Pending] = deque()
        self._sent: list[Pending] = []
        self._bytes = 0
        self._lost = lost

    def __len__(self) -> int:
        return len(self._queue) + len(self._sent)

    @property
    def oldest(self) -> Pending | None:
        return self._sent[0] if self._sent else self._queue[0] if self._queue else None

    def add(self, pending: Pending) -> None:
        self._queue.append(pending)
        self._bytes += len(pending.data)
        while self._bytes > MAX_WAITING and len(self._queue) > 1:
            oldest = self._queue.popleft()
            self._bytes -= len(oldest.data)
            self._lost(oldest)

    def send(self) -> list[Pending]:
        """What is to be appended now. `stored` says when that is done."""
        self._sent = [self._queue.popleft() for _ in range(min(BATCH, len(self._queue)))]
        return self._sent

    def stored(self) -> list[Pending]:
        """The logs have what was sent."""
        sent, self._sent = self._sent, []
        for pending in sent:
            self._bytes -= len(pending.data)
            pending.is_stored = True
        return sent

    def resend(self) -> None:
        """The connection broke: what was sent may be there or not."""
        self._queue.extendleft(reversed(self._sent))
        self._sent = []

    def drop(self) -> int:
        """Give all of it up, and say how many that were."""
        dropped = len(self)
        self._queue.clear()
        self._sent, self._bytes = [], 0
        return dropped


class Returning:
    """Messages of this node that are to come back from their logs, by channel and number."""

    def __init__(self) -> None:
        self._pending: dict[str, dict[int, Pending]] = {}

    def __bool__(self) -> bool:
        return bool(self._pending)

    def add(self, pending: Pending) -> None:
        self._pending.setdefault(pending.log.channel, {})[pending.number] = pending

    def of(self, channel: str) -> list[Pending]:
        """Those of a log, in order."""
        return list(self._pending.get(channel, {}).values())

    def channels(self) -> list[str]:
        return list(self._pending)

    def take(self, channel: str, number: int) -> Pending | None:
        """Wait no longer for one of them. None: nobody did."""
        pending = self._pending.get(channel, {}).pop(number, None)
        if not self._pending.get(channel, True):
            del self._pending[channel]
        return pending

    def clear(self) -> None:
        self._pending.clear()

"""The file descriptors of the process: clients never take the last of them.

The system gives out the lowest number that is free, so the number of a new connection tells how full the table is.
Connections among the last ones are answered 503 while there is still room to do so, and files, databases and whatever
else the application opens find some.
"""

from __future__ import annotations

import logging
import sys
import time
from typing import TYPE_CHECKING, Final

if sys.platform != "win32":
    import resource

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger("crosspeer")

RESERVE: Final = 32
"""Descriptors that are kept from clients, or a quarter of all where that is less."""
QUIET: Final = 1.0
"""Seconds between two lines in the log, at least."""


def first_reserved() -> int:
    """The lowest descriptor that a client's connection may not have, as the process is limited now."""
    if sys.platform == "win32":
        # It counts its handles otherwise.
        return 2**31 - 1
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 2**31 - 1 if soft == resource.RLIM_INFINITY else soft - min(RESERVE, soft // 4)


class Notice:
    """Says in the log that connections are turned away, once in a while and with their number."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._count = 0
        self._said_at = -QUIET

    def turned_away(self, count: int = 1) -> None:
        self._count += count
        now = self._clock()
        if self._count and now - self._said_at >= QUIET:
            text = "nearly no file descriptor is left (ulimit -n): %d connections were turned away with 503"
            logger.warning(text, self._count)
            self._count, self._said_at = 0, now

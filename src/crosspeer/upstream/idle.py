"""The end of a client that is silent for too long, by a clock that forgives a loop which stood still."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

LOOKS: Final = 4
"""Looks after the time is over. Between two of them what has arrived is read."""
PAUSE: Final = 0.05
"""Seconds between these looks."""


class Idle:
    """Calls `expired` after so many seconds without `heard`, and then again and again until it is stopped."""

    def __init__(self, timeout: float, expired: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._timeout = timeout
        self._expired = expired
        self._since = self._loop.time()
        self._looks = 0
        self._timer = self._loop.call_later(timeout, self._look)

    def heard(self) -> None:
        self._since = self._loop.time()
        self._looks = 0

    def stop(self) -> None:
        self._timer.cancel()

    def _look(self) -> None:
        left = self._since + self._timeout - self._loop.time()
        if left <= 0:
            self._looks += 1
            left = PAUSE
        self._timer = self._loop.call_later(left, self._look)
        if self._looks > LOOKS:
            self._expired()

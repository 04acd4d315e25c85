"""The broker's clock: that of event loops, which no change of the wall clock moves, and what waits on it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

Event = asyncio.Event
"""Something that several wait for."""
sleep = asyncio.sleep

LOST: Final = 5.0
"""Seconds after which a timer that did not fire belonged to a loop that is gone."""


class Handle(Protocol):
    def cancel(self) -> None: ...


class Clock(Protocol):
    """What a broker needs of an event loop, and what a test may put in its place."""

    def time(self) -> float:
        """Seconds that never go back."""
        ...

    def call_at(self, when: float, callback: Callable[[], Any]) -> Handle: ...


class LoopClock:
    """The clock of whatever loop is running."""

    time = staticmethod(time.monotonic)
    """What every loop counts by, without asking for the loop at each message."""

    def call_at(self, when: float, callback: Callable[[], Any]) -> Handle:
        return asyncio.get_running_loop().call_later(max(0.0, when - self.time()), callback)


def soon(callback: Callable[[], Any]) -> None:
    """Call it when this turn of the loop is over."""
    asyncio.get_running_loop().call_soon(callback)


async def wait(event: Event, within: float) -> bool:
    """Wait for something. False: it has not happened in these seconds."""
    try:
        async with asyncio.timeout(max(0.0, within)):
            await event.wait()
    except TimeoutError:
        return event.is_set()
    return True


class Alarm:
    """One timer for all that will be due."""

    def __init__(self, clock: Clock, look: Callable[[float], None]) -> None:
        self._clock = clock
        self._look = look
        self._due: float | None = None
        self._handle: Handle | None = None

    def set(self, due: float | None) -> None:
        """Look at this time, or earlier if that was wanted before. None: never."""
        if due is None:
            self._stop()
        elif self._due is None or due < self._due or self._clock.time() > self._due + LOST:
            self._stop()
            self._due = due
            self._handle = self._clock.call_at(due, self._ring)

    def _stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._due = self._handle = None

    def _ring(self) -> None:
        self._due = self._handle = None
        self._look(self._clock.time())

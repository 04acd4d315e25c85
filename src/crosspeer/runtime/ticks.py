"""A repeated look at deadlines that does not take a loop which stood still for peers that did."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from crosspeer.core.limits import Limits


class Ticks:
    """Calls `look` every `pause` seconds until it is stopped.

    A look that comes late by more than a pause is left out: the loop was held up, and what peers have sent
    meanwhile is read before the next one judges them.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, pause: float, look: Callable[[], None]) -> None:
        self._loop = loop
        self._pause = pause
        self._look = look
        self._wait()

    def stop(self) -> None:
        self._timer.cancel()

    def _wait(self) -> None:
        self._timer = self._loop.call_later(self._pause, self._tick, self._loop.time() + self._pause)

    def _tick(self, due: float) -> None:
        # First, so that a look may stop it.
        self._wait()
        if self._loop.time() - due <= self._pause:
            self._look()


def early(limits: Limits, pause: float) -> Limits:
    """Limits whose pings are due two looks earlier, with a look every `pause` seconds.

    A ping may be late by one look and a missing pong found out late by another, and a peer that is gone is nevertheless
    known to be gone within `ping_interval` and `ping_timeout` together.
    """
    interval = limits.ping_interval
    return limits if interval is None else replace(limits, ping_interval=interval - 2 * pause)

"""What the server does when its memory is above `Limits.max_memory`: it parts with those who take most of it."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from crosspeer.core.memory import HighWater
from crosspeer.runtime.ticks import Ticks

if TYPE_CHECKING:
    from crosspeer.core.hub import Hub

logger = logging.getLogger("crosspeer")

PAUSE: Final = 1.0
"""Seconds between two looks: what was freed before is seen in the next one."""


class Pressure:
    """Closes the peers with the longest outgoing queues with 1013, as many as hold what is above the bound.

    New handshakes are refused meanwhile, by the gate.
    """

    def __init__(self, hub: Hub, most: int) -> None:
        self._hub = hub
        self._water = HighWater(most)
        self._ticks = Ticks(asyncio.get_running_loop(), PAUSE, self._look)

    def stop(self) -> None:
        self._ticks.stop()

    def _look(self) -> None:
        excess = self._water.excess()
        if excess <= 0:
            return
        queues = [(session.buffered_amount, session) for session in self._hub.sessions()]
        queues.sort(key=lambda entry: entry[0], reverse=True)
        closed = freed = 0
        for size, session in queues:
            if freed >= excess or not size:
                break
            session.overflow()
            closed, freed = closed + 1, freed + size
        text = "memory is %d MiB above Limits.max_memory: new peers are refused, %d with %d KiB in their queues closed"
        logger.warning(text, excess >> 20, closed, freed >> 10)

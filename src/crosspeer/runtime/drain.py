"""Part with every peer of a hub, spread out so that they do not all come back in the same moment."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Final

from crosspeer.wire.closing import CloseCode

if TYPE_CHECKING:
    from crosspeer.core.hub import Hub

BATCH: Final = 100
"""Peers that are closed in one turn of the loop."""
MAX_PAUSE: Final = 0.25
"""Longest pause between two batches, in seconds. The real one is drawn below it."""


async def drain(hub: Hub, *, within: float, code: int = CloseCode.SERVICE_RESTART, reason: str = "restart") -> None:
    """Close every peer in jittered batches and wait for their `close` hooks; drop what is left after `within` seconds.

    A third of the time at most goes into the spreading; the rest is for the answers.
    """
    with hub.gate.refusing():
        sessions = hub.sessions()
        random.shuffle(sessions)
        batches = [sessions[start : start + BATCH] for start in range(0, len(sessions), BATCH)]
        pause = min(MAX_PAUSE, within / 3 / len(batches)) if batches else 0.0
        try:
            async with asyncio.timeout(within):
                for number, batch in enumerate(batches):
                    if number:
                        await asyncio.sleep(random.uniform(0, pause))
                    for session in batch:
                        session.close(code, reason)
                for session in sessions:
                    await session.wait_closed()
        except TimeoutError:
            for session in sessions:
                session.terminate()

"""One GET that carries a peer's stream for a while."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crosspeer.runtime.exchange import Exchange

logger = logging.getLogger("crosspeer")


class Lease:
    """Made in the coroutine that answers the GET, to wait in `exchange.left` until the client goes or is let go."""

    __slots__ = ("_is_aborted", "_task", "exchange", "is_released")

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.is_released = False
        self._is_aborted = False
        self._task: asyncio.Task[Any] | None = asyncio.current_task()

    def release(self) -> None:
        """The stream is over for this one; its coroutine is woken and ends it."""
        if not self.is_released and self._task is not None:
            self.is_released = True
            self._task.cancel()

    def leave(self) -> None:
        """The coroutine goes on to something else: it is not to be woken any more."""
        self._task = None

    def abort(self) -> None:
        """The same, without waiting for the reader, where the server lets us."""
        self._is_aborted = self.exchange.has_abort
        self.exchange.abort()
        self.release()

    def is_ours(self) -> bool:
        """Whether the cancellation that was just caught was `release`, and no one else's too. Takes it back then."""
        return self.is_released and self._task is not None and self._task.uncancel() == 0

    async def finish(self, within: float) -> None:
        """End the answer, and drop the connection if its reader takes too long."""
        if self._is_aborted:
            return
        try:
            async with asyncio.timeout(within):
                await self.exchange.end()
        except Exception as error:
            logger.debug("an event stream was not read to its end: %r", error)
            self.exchange.abort()

"""The transport of a peer that comes by `EventSource`: the ordinary one, and it may be on its own for a while."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from crosspeer.core.hooks import CloseDetails
from crosspeer.core.origins import home_of
from crosspeer.core.positions import positions_of
from crosspeer.core.session import ReadyState
from crosspeer.runtime.connection import Connection
from crosspeer.runtime.sse.channel import EventChannel
from crosspeer.runtime.sse.lease import Lease
from crosspeer.wire.closing import CloseCode

if TYPE_CHECKING:
    from collections.abc import Callable

    from crosspeer.core.request import Request
    from crosspeer.core.session import Session
    from crosspeer.core.sse import SSE
    from crosspeer.runtime.exchange import Exchange


logger = logging.getLogger("crosspeer")


class EventConnection(Connection):
    """One peer, over as many GETs and POSTs as it takes.

    Args:
        exchange: its first GET.
        over: called once, when nothing more can come: `end` is to be awaited then.
    """

    _channel: EventChannel

    def __init__(
        self, session: Session, options: SSE, exchange: Exchange, over: Callable[[EventConnection], None]
    ) -> None:
        positions = positions_of(session.request) if session.hub.history is not None else {}
        super().__init__(session, EventChannel(options, exchange.has_backpressure, positions, self._ended))
        self._homes = [home_of(session.request)]
        self._is_page_known = "origin" in session.request.headers
        self.posting = asyncio.Lock()
        """One POST after the other, in the order in which they came."""
        self.posted = 0
        """Messages that came with a number."""
        self._over: Callable[[EventConnection], None] | None = over
        self._sign: asyncio.Task[None] | None = None

    @property
    def channel(self) -> EventChannel:
        return self._channel

    @property
    def is_open(self) -> bool:
        return self._session.state is ReadyState.OPEN

    def belongs_to(self, request: Request) -> bool:
        """Whether a request comes from the page that this peer is of, on the path that it is on."""
        home = home_of(request)
        if not self._is_page_known and home not in self._homes and self._session.hub.gate.origin_allowed(request):
            # Browsers say nothing of the origin in a GET, and what the Host header says may be a proxy's word.
            self._is_page_known = True
            self._homes.append(home)
        return home in self._homes and request.scope["path"] == self._session.request.scope["path"]

    @property
    def is_over(self) -> bool:
        return self._over is None

    async def serve(self, exchange: Exchange, number: int | None) -> None:
        """Carry the stream over a GET whose head is sent, from behind a message; None: it is the first GET."""
        if self.is_over:
            # It ended while the head was sent. A client that comes back once more is a new peer.
            await exchange.end()
            return
        lease = Lease(exchange)
        self._channel.take(lease)
        exchange.on_shutdown(self._restart)
        try:
            if number is None:
                self.start()
            await self._begin(lease, number)
            await exchange.left()
        except asyncio.CancelledError:
            if not lease.is_ours():
                # The server stops us: hooks that still run are cancelled, and `close` has the last word.
                self._tasks.cancel()
                self._channel.finish()
                await self.wait_closed()
                raise
        except Exception as error:
            # Whatever a server raises here means that the client has gone.
            logger.debug("the stream of peer %s was cut", self._session.peer, exc_info=error)
        finally:
            lease.leave()
            self._channel.let_go(lease)
        if lease.is_released:
            await lease.finish(self._session.hub.limits.close_timeout)

    async def post(self, message: str | bytes | tuple[int, str]) -> None:
        """Take a message, or a close, that came by a POST. Waits while the peer's hooks have enough to do."""
        await self._readable.wait()
        if self.is_over:
            return
        if isinstance(message, tuple):
            self._channel.finish(CloseDetails(*message))
        else:
            self.received(message)

    def fail(self, code: int, reason: str) -> None:
        """The other side broke the protocol: say so, and have done with it."""
        self._session.finish(code, reason)

    def beat(self) -> None:
        """Keep the stream alive if it was silent."""
        if self._pump is None and self._sign is None and self._channel.wants_a_sign():
            self._sign = self._tasks.start(self._channel.give_a_sign())
            self._sign.add_done_callback(self._signed)

    # Transport.

    def close(self, code: int, reason: str, *, now: bool) -> None:
        # What waits for somebody who is not there waits no longer.
        super().close(code, reason, now=now or self._channel.is_away)

    # Inside.

    async def _begin(self, lease: Lease, number: int | None) -> None:
        if self._pump is not None and number is not None:
            # It may be stuck in the GET before. What it was at is in the window.
            pump: asyncio.Task[Any] = self._pump
            pump.cancel()
            await asyncio.wait({pump})
        await self._channel.begin(lease, number or 0, resumed=number is not None)
        if self._pump is None and self._session.outbox:
            self._pump = self._tasks.start(self._empty_outbox())

    def _signed(self, _sign: asyncio.Task[None]) -> None:
        self._sign = None

    def _restart(self) -> None:
        if self.is_open:
            self._session.close(CloseCode.SERVICE_RESTART, "restart")

    def _stop_reading(self) -> None:
        self._channel.finish()

    def _ended(self) -> None:
        if self._over is not None:
            over, self._over = self._over, None
            if self._sign is not None:
                self._sign.cancel()
            self.resume_reading()
            over(self)

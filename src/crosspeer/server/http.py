"""uvicorn's HTTP with what it leaves out: the bounds of a request, in bytes and in time, and upgrades to an engine."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any, Final

import h11
from uvicorn.protocols.http.flow_control import CLOSE_HEADER
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from crosspeer.core.hosts import HOSTS_KEY
from crosspeer.runtime.exchange import HTTP_CONTROL
from crosspeer.server.lingering import linger
from crosspeer.server.logs import ACCESS_LOG, UVICORN_LOG
from crosspeer.server.requests import Requests
from crosspeer.wire.handshake import Refusal, check_handshake, is_upgrade, refusal

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from starlette.types import Receive, Scope, Send

    from crosspeer.core.hosts import ServedHosts
    from crosspeer.core.limits import Limits
    from crosspeer.server.engine import Engine

_LATE: Final = Refusal(408, [], b"")
_FULL: Final = Refusal(503, [(b"retry-after", b"1")], b"")


class HTTPProtocol(H11Protocol):
    """HTTP/1.1 whose requests have to be complete in time and of a sound form.

    What comes behind a refusal is read and thrown away.
    """

    conn: Requests

    def __init__(
        self, *, limits: Limits, hosts: ServedHosts = (), engine: Engine | None = None, **uvicorn: Any
    ) -> None:
        super().__init__(**uvicorn)
        self.conn = Requests()
        self.logger = UVICORN_LOG  # type: ignore[assignment]
        self.access_logger = ACCESS_LOG  # type: ignore[assignment]
        self._limits = limits
        self._hosts = hosts
        self._engine = engine
        self._deadline: asyncio.TimerHandle | None = None
        self._is_refused = False
        self.turned_away = False
        """There is no room for another connection: all that it gets is 503."""
        self._application = self.app
        self.app = self._serve
        self._at_shutdown: Callable[[], None] | None = None

    # HTTPControl, for the application.

    def abort(self) -> None:
        self.transport.abort()

    def drop_when_silent(self, seconds: float) -> None:
        connection: socket.socket | None = self.transport.get_extra_info("socket")
        if connection is not None and connection.family != socket.AF_UNIX and hasattr(socket, "TCP_USER_TIMEOUT"):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(seconds * 1000))

    def on_shutdown(self, callback: Callable[[], None]) -> None:
        self._at_shutdown = callback

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request to the application, with what ASGI has no words for."""
        scope[HOSTS_KEY] = self._hosts
        scope["extensions"] = {HTTP_CONTROL: self}
        self._at_shutdown = None
        if any(name == b"transfer-encoding" for name, _ in self.headers):
            # h11 lets a bare LF end the last chunk: where that is may be read in two ways, so nothing comes behind it.
            self.cycle.default_headers = [*self.cycle.default_headers, CLOSE_HEADER]
        await self._application(scope, receive, send)

    # What uvicorn does otherwise.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if self.turned_away:
            self._refuse(_FULL)
        else:
            self._await_request()

    def data_received(self, data: bytes) -> None:
        if self._is_refused:
            return
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE and not self._is_refused:
            self._stop_waiting()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.conn.their_state is h11.IDLE and not self._is_refused:
            self._await_request()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        self._stop_waiting()
        early, _ = self.conn.trailing_data
        if self._engine is not None:
            self.connections.discard(self)
            self._engine.handshake({**self.scope, HOSTS_KEY: self._hosts}, self.transport, early)
            return
        wrong = check_handshake(self.scope["method"], self.scope["http_version"], self.headers)
        if wrong is not None:
            self._refuse(wrong)
            return
        super().handle_websocket_upgrade(event)
        if early and not self.transport.is_closing():
            # uvicorn forgets what came in one piece with the handshake.
            self.transport.get_protocol().data_received(early)  # type: ignore[attr-defined]

    def send_400_response(self, msg: str) -> None:
        """Answer what cannot be read, with the status that is its due."""
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and not cycle.response_complete:
            # The application is not to answer behind us.
            cycle.disconnected = True
            cycle.message_event.set()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self._refuse(self.conn.refusal)
        else:
            self.transport.close()

    def shutdown(self) -> None:
        if self._is_refused:
            self.transport.close()
        else:
            super().shutdown()
            if self._at_shutdown is not None:
                self._at_shutdown()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def _should_upgrade(self) -> bool:
        return is_upgrade(self.scope["http_version"], self.headers)

    def _await_request(self) -> None:
        self._stop_waiting()
        self._deadline = self.loop.call_later(self._limits.handshake_timeout, self._request_is_late)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _request_is_late(self) -> None:
        if not self.transport.is_closing():
            self._refuse(_LATE)

    def _refuse(self, answer: Refusal) -> None:
        """Answer a request ourselves, and hear nothing of what is behind it."""
        self._is_refused = True
        self._stop_waiting()
        self._unset_keepalive_if_required()
        self.transport.write(refusal(answer))
        self._deadline = linger(self.transport, self._limits.close_timeout)

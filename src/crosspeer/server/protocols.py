"""uvicorn's connections with what it leaves out: the bounds of a request, pings, terminate, true close details."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame, Opcode
from websockets.http11 import Request as Handshake

from crosspeer.adapters.asgi import CONTROL
from crosspeer.core.hosts import HOSTS_KEY
from crosspeer.core.transport import Capabilities
from crosspeer.server.lingering import linger
from crosspeer.server.logs import Redacting
from crosspeer.server.requests import Requests
from crosspeer.wire.closing import CloseCode
from crosspeer.wire.handshake import Refusal, check_handshake, is_upgrade, refusal

if TYPE_CHECKING:
    import asyncio

    from crosspeer.core.hosts import ServedHosts
    from crosspeer.core.limits import Limits
    from crosspeer.core.session import Session
    from crosspeer.server.engine import Engine

_LATE: Final = Refusal(408, [], b"")

_ACCESS: Final = Redacting(logging.getLogger("uvicorn.access"))
_LOG: Final = Redacting(logging.getLogger("uvicorn.error"))


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
        self.logger = _LOG  # type: ignore[assignment]
        self.access_logger = _ACCESS  # type: ignore[assignment]
        self._limits = limits
        self._hosts = hosts
        self._engine = engine
        self._deadline: asyncio.TimerHandle | None = None
        self._is_refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
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


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """WebSocket connections that give the ASGI adapter its `Control`."""

    capabilities = Capabilities()

    def __init__(self, *, limits: Limits, hosts: ServedHosts = (), **uvicorn: Any) -> None:
        super().__init__(**uvicorn)
        self.logger = self.conn.logger = _LOG  # type: ignore[assignment]
        self.close_timeout = limits.close_timeout
        self._hosts = hosts
        self._session: Session | None = None
        self._early: list[bytes] | None = []
        """What came before the 101, None once that is written."""

    # Control, for the adapter.

    @property
    def extensions(self) -> str:
        return self.response.headers.get("Sec-WebSocket-Extensions", "")

    def attach(self, session: Session) -> None:
        self._session = session

    def ping(self, data: bytes) -> None:
        if not self._is_ending():
            self.conn.send_ping(data)
            self._write()

    def close(self, code: int, reason: str) -> None:
        """Send the close frame, and drop the connection if no answer comes in time."""
        if self._is_ending():
            return
        self.conn.send_close(code, reason)
        self._write()
        self.close_sent = True
        # The answer has to be read, even if messages before it are still waiting.
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        self.close_timer = self.loop.call_later(self.close_timeout, self.transport.abort)

    def abort(self) -> None:
        self.transport.abort()

    # What uvicorn does otherwise.

    def data_received(self, data: bytes) -> None:
        if self.handshake_initiated and self._early is not None:
            # Nothing is read before the 101: the pong to an early ping would stand in front of it.
            self._early.append(data)
            self.transport.pause_reading()
            return
        super().data_received(data)
        if not self.handshake_initiated:
            # The library has limits of its own, a little below ours, and uvicorn waits for a request that never comes.
            self._write()
            self.transport.close()

    def handle_connect(self, event: Handshake) -> None:
        super().handle_connect(event)
        if not self.close_sent:
            # The application's task is made by now and has not run yet.
            scope: dict[str, Any] = self.scope  # type: ignore[assignment]
            scope[HOSTS_KEY] = self._hosts
            scope["extensions"][CONTROL] = self

    def handle_events(self) -> None:
        for event in self.conn.events_received():
            if isinstance(event, Handshake):
                self.handle_connect(event)
            elif isinstance(event, Frame):
                self._handle_frame(event)

    def _handle_frame(self, frame: Frame) -> None:
        if frame.opcode is Opcode.PING:
            self.handle_ping()
            if self._session is not None:
                self._session.pinged(bytes(frame.data))
        elif frame.opcode is Opcode.PONG:
            if bytes(frame.data) == self.pending_ping_payload:
                self.handle_pong(frame)
            elif self._session is not None:
                self._session.ponged(bytes(frame.data))
        elif frame.opcode is Opcode.TEXT:
            self.handle_text(frame)
        elif frame.opcode is Opcode.BINARY:
            self.handle_bytes(frame)
        elif frame.opcode is Opcode.CONT:
            self.handle_cont(frame)
        else:
            self.handle_close(frame)

    async def send(self, message: Any) -> None:
        if message["type"] == "websocket.close" and self.handshake_complete:
            await self.writable.wait()
            self.close(message.get("code", CloseCode.NORMAL), message.get("reason") or "")
        else:
            await super().send(message)
            if message["type"] == "websocket.accept":
                # Behind what the application does at once: it may still want to hear of a ping.
                self.loop.call_soon(self._go_on)
            if self.initial_response is not None and self.close_sent:
                # A refusal is a complete handshake; uvicorn would report it as an application's mistake.
                self.handshake_complete = True

    def handle_close(self, event: Frame) -> None:
        if self.close_sent and self.conn.close_rcvd is not None:
            # The answer to our close frame; uvicorn reports the end when the frame is sent.
            self._report(self.conn.close_rcvd.code, self.conn.close_rcvd.reason, was_clean=True)
        super().handle_close(event)

    def handle_parser_exception(self) -> None:
        if self.conn.close_sent is not None:
            self._report(self.conn.close_sent.code, self.conn.close_sent.reason, was_clean=False)
        super().handle_parser_exception()
        self._drop_later()

    def keepalive_timeout(self) -> None:
        super().keepalive_timeout()
        self._drop_later()

    def connection_lost(self, exc: Exception | None) -> None:
        # uvicorn says 1005, as for a close frame without a code. Whatever was reported before counts.
        self._report(CloseCode.ABNORMAL, "", was_clean=False)
        super().connection_lost(exc)

    def _report(self, code: int, reason: str, *, was_clean: bool) -> None:
        event: Any = {"type": "websocket.disconnect", "code": code, "reason": reason, "was_clean": was_clean}
        self.queue.put_nowait(event)

    def _go_on(self) -> None:
        """The 101 is written: read what came before it."""
        early, self._early = b"".join(self._early or ()), None
        if early and not self.transport.is_closing():
            self.transport.resume_reading()
            self.data_received(early)

    def _is_ending(self) -> bool:
        return self.close_sent or self.transport.is_closing()

    def _write(self) -> None:
        self.transport.write(b"".join(self.conn.data_to_send()))

    def _drop_later(self) -> None:
        """A polite close waits for a reader that may never come."""
        self.loop.call_later(self.close_timeout, self.transport.abort)

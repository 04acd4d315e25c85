"""uvicorn's WebSockets with what it leaves out: pings, terminate, true close details, the bounds of what comes in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame, Opcode
from websockets.http11 import Request as Handshake

from crosspeer.adapters.asgi import CONTROL
from crosspeer.core.hosts import HOSTS_KEY
from crosspeer.core.transport import Capabilities
from crosspeer.runtime.budget import BURST, RATE, Budget
from crosspeer.server.logs import UVICORN_LOG
from crosspeer.wire.closing import CloseCode
from crosspeer.wire.frames import too_many_fragments

if TYPE_CHECKING:
    from crosspeer.core.hosts import ServedHosts
    from crosspeer.core.limits import Limits
    from crosspeer.core.session import Session

PIECE: Final = 4096
"""Bytes that are parsed in one go: the library makes objects of all frames in them before it gives the first away."""


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """WebSocket connections that give the ASGI adapter its `Control`."""

    capabilities = Capabilities()

    def __init__(self, *, limits: Limits, hosts: ServedHosts = (), **uvicorn: Any) -> None:
        super().__init__(**uvicorn)
        self.logger = self.conn.logger = UVICORN_LOG  # type: ignore[assignment]
        # Where a handshake comes from and what it offers is the hub's to judge.
        conn: Any = self.conn
        conn.process_origin = conn.process_subprotocol = lambda headers: None
        self.close_timeout = limits.close_timeout
        self._hosts = hosts
        self._session: Session | None = None
        self._budget = Budget(RATE, BURST)
        self._unread = bytearray()
        """What came before the 101, or while the application has not taken what came before."""
        self._is_answered = False
        self._fragments = bytearray()
        self._count = 0

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
            # Not from inside the hook that closes.
            self.loop.call_soon(self._read)
        self.close_timer = self.loop.call_later(self.close_timeout, self.transport.abort)

    def abort(self) -> None:
        self.transport.abort()

    # What uvicorn does otherwise.

    def data_received(self, data: bytes) -> None:
        self._unread += data
        self._read()
        if not self.handshake_initiated:
            # The library has limits of its own, a little below ours, and uvicorn waits for a request that never comes.
            self._write()
            self.transport.close()

    def _read(self) -> None:
        """Parse what has come in, as long as somebody takes it.

        Nothing is read before the 101: the pong to an early ping would stand in front of it.
        """
        while self._unread and not self.transport.is_closing():
            if self.handshake_initiated and (self.read_paused or not self._is_answered):
                self.transport.pause_reading()
                return
            piece = bytes(self._unread[:PIECE])
            del self._unread[:PIECE]
            super().data_received(piece)

    async def receive(self) -> Any:
        message = await super().receive()
        self._read()
        return message

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
        if frame.opcode in (Opcode.PING, Opcode.PONG) and not self._budget.allows(self.loop.time()):
            self._fail(CloseCode.POLICY, "too many pings")
        elif frame.opcode is Opcode.PING:
            self.handle_ping()
            if self._session is not None:
                self._session.pinged(bytes(frame.data))
        elif frame.opcode is Opcode.PONG:
            if bytes(frame.data) == self.pending_ping_payload:
                self.handle_pong(frame)
            elif self._session is not None:
                self._session.ponged(bytes(frame.data))
        elif frame.opcode is Opcode.CLOSE:
            self.handle_close(frame)
        else:
            self._gather(frame)

    def _gather(self, frame: Frame) -> None:
        """Put the fragments of a message together in one buffer: each costs its bytes, whatever their number."""
        if frame.opcode is not Opcode.CONT:
            self.curr_msg_data_type = "text" if frame.opcode is Opcode.TEXT else "bytes"
            self._fragments, self._count = bytearray(), 0
        self._count += 1
        if too_many_fragments(self._count, len(self._fragments)):
            self._fail(CloseCode.POLICY, "too many small fragments")
            return
        self._fragments += frame.data
        if frame.fin:
            self.frames, self._fragments = [bytes(self._fragments)], bytearray()
            self.send_receive_event_to_app()

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
        self._is_answered = True
        if not self.transport.is_closing():
            self.transport.resume_reading()
            self._read()

    def _fail(self, code: int, reason: str) -> None:
        self.conn.fail(code, reason)
        self.handle_parser_exception()

    def _is_ending(self) -> bool:
        return self.close_sent or self.transport.is_closing()

    def _write(self) -> None:
        self.transport.write(b"".join(self.conn.data_to_send()))

    def _drop_later(self) -> None:
        """A polite close waits for a reader that may never come."""
        self.loop.call_later(self.close_timeout, self.transport.abort)

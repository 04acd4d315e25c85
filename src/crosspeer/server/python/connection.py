"""One connection of the Python engine: a protocol under a session, without a task while it is idle."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

from crosspeer.core.hooks import CloseDetails
from crosspeer.core.transport import Capabilities
from crosspeer.runtime.tasks import Tasks
from crosspeer.server.lingering import end_our_half
from crosspeer.server.python.batch import Batch, frame_of
from crosspeer.server.python.budget import BURST, RATE, Budget
from crosspeer.wire.closing import CloseCode
from crosspeer.wire.frames import (
    CLOSE,
    PING,
    PONG,
    FrameReader,
    ProtocolError,
    decode_close,
    encode_close,
    encode_frame,
)

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from crosspeer.core.outgoing import Outgoing
    from crosspeer.core.session import Session
    from crosspeer.runtime.deflating import Deflating
    from crosspeer.server.python.engine import PythonEngine

logger = logging.getLogger("crosspeer")

HIGH_WATER: Final = 64 * 1024
"""Bytes in the transport's buffer at which messages wait in the peer's own queue, where the policies are."""

LOST: Final = CloseDetails(CloseCode.ABNORMAL, "", was_clean=False)


class PythonConnection(asyncio.Protocol):
    """A WebSocket after its handshake: the transport of a session over a socket of asyncio.

    Its life: open; then `_closing` once our close frame is sent; then `_ended` once the session knows how it ended.
    After that, bytes are read and thrown away until the other side is gone, so that it can read our last words.
    """

    capabilities = Capabilities()

    def __init__(
        self, engine: PythonEngine, session: Session, socket: asyncio.Transport, deflating: Deflating | None
    ) -> None:
        self.session = session
        self.deflating = deflating
        self.extensions = "" if deflating is None else deflating.params.header
        self.out = bytearray()
        """What is written at the end of this turn."""
        self.ready = True
        """Whether the socket takes what it gets, so that frames may be gathered in `out`."""
        self.protocol = session.accepted.protocol or ""
        self._engine = engine
        self._batch: Batch = engine.batch
        self._socket = socket
        most = session.hub.limits.max_message_size
        self._reader = FrameReader(most, None if deflating is None else deflating.inflater(most, engine.loop.time))
        self._budget = Budget(RATE, BURST)
        self._tasks: Tasks | None = None
        self._reading = True
        self._closing = False
        self._ended = False
        self._held_up = False
        self._last_words: bytes | None = None
        self._pong: bytes | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._drain_waiters: list[tuple[int, asyncio.Future[None]]] = []
        self._finished: asyncio.Future[None] | None = None
        self.ping_sent_at = 0.0
        self.ping_payload: bytes | None = None
        self._unsent = 0
        socket.set_write_buffer_limits(high=HIGH_WATER, low=0)

    def start(self, early: bytes) -> None:
        """The 101 is written: open the session, and read what came with the handshake."""
        self._engine.entered(self)
        self.session.start(self, self._batch)
        if early:
            self.data_received(early)

    # asyncio.Protocol.

    def data_received(self, data: bytes) -> None:
        if self._ended:
            return
        self._reader.feed(data)
        if self._reading:
            self._read()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._engine.left(self)
        if self._deadline is not None:
            self._deadline.cancel()
        self.ready = False
        self.out.clear()
        self._end(LOST)

    def pause_writing(self) -> None:
        self.ready = False
        self._held_up = True

    def resume_writing(self) -> None:
        """The socket has taken everything: go on with the queue, as far as it goes."""
        self.ready = True
        if self._pong is not None:
            pong, self._pong = self._pong, None
            self._batch.gather(self, encode_frame(PONG, pong))
        outbox = self.session.outbox
        while self.ready and (item := outbox.pop()) is not None:
            self._socket.write(self._frame_of(item))
        if self.ready and self._last_words is not None:
            self._socket.write(self._last_words)
            self._last_words = None
        self._release_waiters()
        if self.ready and self._held_up:
            self._held_up = False
            self.session.drained()

    # Transport.

    @property
    def taken(self) -> int:
        return len(self.out) + (0 if self.ready else self._socket.get_write_buffer_size())

    def push(self, item: Outgoing) -> bool:
        if self.ready:
            self._batch.gather(self, frame_of(item) if self.deflating is None else self._frame_of(item))
            return True
        return self.session.outbox.push(item, self.taken)

    def pause_reading(self) -> None:
        self._reading = False
        self._socket.pause_reading()

    def resume_reading(self) -> None:
        if not self._reading and not self._ended:
            self._reading = True
            self._socket.resume_reading()
            # Not from inside the hook that made room.
            self._engine.loop.call_soon(self._read)

    def ping(self, data: bytes) -> None:
        if self.ready:
            self._batch.gather(self, encode_frame(PING, data))

    def close(self, code: int, reason: str, *, now: bool) -> None:
        self._closing = True
        last_words = encode_close(code, reason)
        if self.ready:
            self._batch.gather(self, last_words)
        elif now:
            self._socket.write(last_words)
        else:
            self._last_words = last_words
        self._start_deadline()
        # The answer has to be read, however slow the hook is.
        self.resume_reading()

    def abort(self) -> None:
        self.ready = False
        self.out.clear()
        self._socket.abort()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        if self._tasks is None:
            self._tasks = Tasks()
        self._engine.watch(self._tasks.start(work), self.session)

    async def wait_for_drain(self, threshold: int) -> None:
        if self._ended or self.session.outbox.size + self.taken <= threshold:
            return
        waiter: asyncio.Future[None] = self._engine.loop.create_future()
        self._drain_waiters.append((threshold, waiter))
        await waiter

    async def wait_closed(self) -> None:
        if not self._ended:
            if self._finished is None:
                self._finished = self._engine.loop.create_future()
            await asyncio.shield(self._finished)
        if self._tasks is not None:
            await self._tasks.wait()

    # For the engine.

    def write_out(self) -> None:
        """Write what this turn has gathered."""
        out = self.out
        if out:
            self._socket.write(bytes(out))
            out.clear()
            if self._drain_waiters:
                self._release_waiters()

    def beat(self, now: float) -> None:
        """Send the heartbeat's ping when it is time, and drop a peer that did not answer the last one."""
        limits = self._engine.limits
        if limits.ping_interval is None or not self._reading or self._closing or self._ended:
            return
        if not self.ready:
            # A ping would wait behind everything: a reader is alive as long as it reads.
            unsent = self._socket.get_write_buffer_size()
            if unsent != self._unsent:
                self._unsent, self.ping_sent_at = unsent, now
            elif now - self.ping_sent_at >= limits.ping_interval + limits.ping_timeout:
                self.abort()
        elif self.ping_payload is not None:
            if now - self.ping_sent_at >= limits.ping_timeout:
                self.abort()
        elif now - self.ping_sent_at >= limits.ping_interval:
            self.ping_sent_at = now
            self.ping_payload = self._engine.ping_payload()
            self.ping(self.ping_payload)

    # Inside.

    def _frame_of(self, item: Outgoing) -> bytes:
        deflating = self.deflating
        return (deflating and deflating.frame_of(item)) or frame_of(item)

    def _read(self) -> None:
        """Hand over what has arrived, until the session wants a pause."""
        reader, session = self._reader, self.session
        try:
            while self._reading and not self._ended:
                event = reader.next()
                if event is None:
                    return
                opcode, payload = event
                if opcode < CLOSE:
                    session.receive(payload)
                else:
                    self._control(opcode, payload)  # type: ignore[arg-type]
        except ProtocolError as error:
            self._fail(error.code, error.reason)

    def _control(self, opcode: int, payload: bytes) -> None:
        if opcode == CLOSE:
            self._closed_by_peer(*decode_close(payload))
            return
        if not self._budget.allows(self._engine.loop.time()):
            raise ProtocolError(CloseCode.POLICY, "too many pings")
        if opcode == PING:
            self._answer_ping(payload)
            self.session.pinged(payload)
        elif payload == self.ping_payload:
            self.ping_payload = None
        else:
            self.session.ponged(payload)

    def _answer_ping(self, payload: bytes) -> None:
        if self._closing:
            return
        if self.ready:
            self._batch.gather(self, encode_frame(PONG, payload))
        else:
            # Only the latest is answered (RFC 6455 section 5.5.3): pongs never queue up.
            self._pong = payload

    def _closed_by_peer(self, code: int, reason: str) -> None:
        if not self._closing:
            self._say(encode_close(code, ""))
        self._hang_up()
        self._end(CloseDetails(code, reason))

    def _fail(self, code: int, reason: str) -> None:
        """The other side broke the protocol: say so, and read nothing more."""
        if not self._closing:
            self._say(encode_close(code, reason))
        # Not closed at once: a reset would take our last words from a client that is still sending.
        if self._socket.can_write_eof():
            end_our_half(self._socket)
            self._start_deadline()
        else:
            self._hang_up()
        self._end(CloseDetails(code, reason, was_clean=False))

    def _say(self, last_words: bytes) -> None:
        """Write what was gathered and the close frame; what is queued behind a slow reader is dropped."""
        self._closing = True
        self.out += last_words
        self.write_out()
        self.ready = False

    def _hang_up(self) -> None:
        self.write_out()
        self._socket.close()
        self._start_deadline()

    def _start_deadline(self) -> None:
        """Whatever the other side does or does not do, the connection is gone in time."""
        if self._deadline is None:
            timeout = self.session.hub.limits.close_timeout
            self._deadline = self._engine.loop.call_later(timeout, self._socket.abort)

    def _end(self, details: CloseDetails) -> None:
        if self._ended:
            return
        self._ended = True
        self.ready = False
        self.session.closed(details)
        self._release_waiters()
        if self._finished is not None:
            self._finished.set_result(None)
        if not self._socket.is_closing():
            # A reader that was paused would never see the end of the other side.
            self._socket.resume_reading()

    def _release_waiters(self) -> None:
        unsent = 0 if self._ended else self.session.outbox.size + self.taken
        waiting = self._drain_waiters
        self._drain_waiters = [entry for entry in waiting if entry[0] < unsent]
        for threshold, waiter in waiting:
            if threshold >= unsent and not waiter.done():
                waiter.set_result(None)

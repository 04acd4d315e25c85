"""WebSocket frames of our own on the bytes of a server's connection, for adapters whose server has lesser ones.

What such an adapter brings is its server's handshake and a `Stream`; all else is kept here, the same for each of them.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Protocol

from crosspeer.core.hooks import CloseDetails
from crosspeer.core.session import Session
from crosspeer.core.transport import Capabilities
from crosspeer.runtime.budget import BURST, RATE, Budget
from crosspeer.runtime.connection import Connection
from crosspeer.wire.closing import CloseCode
from crosspeer.wire.frames import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    FrameReader,
    ProtocolError,
    decode_close,
    encode_close,
    encode_frame,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from crosspeer.core.outgoing import Outgoing
    from crosspeer.runtime.deflating import Deflating
    from crosspeer.runtime.negotiation import Accepted

HIGH_WATER: Final = 64 * 1024
"""Bytes that a server may hold back for a reader. Whatever is beyond waits in the peer's own queue, with its policy."""

LOST: Final = CloseDetails(CloseCode.ABNORMAL, "", was_clean=False)


class Sink(Protocol):
    """The outgoing bytes of one connection, as a server takes them. Only `drain` may raise."""

    @property
    def unsent(self) -> int:
        """Bytes that were written and that the reader holds up."""
        ...

    def write(self, data: bytes) -> None:
        """Send behind what was written before. MUST NOT wait; on a lost connection it does nothing."""
        ...

    async def drain(self) -> None:
        """Wait while more than `HIGH_WATER` is unsent.

        Raises:
            ConnectionResetError: the connection is lost.
        """
        ...

    def write_eof(self) -> None:
        """Say that nothing more comes, and go on reading, where that is possible; else close."""
        ...

    def close(self) -> None:
        """Let what was written leave, and close the connection."""
        ...

    def abort(self) -> None:
        """Drop the connection."""
        ...


class Stream(Sink, Protocol):
    """Both directions of one connection."""

    async def read(self) -> bytes:
        """What has arrived, nothing at the end. While nobody waits here no more than a little is read."""
        ...


class FramedChannel:
    """The channel of a connection whose frames are ours (RFC 6455)."""

    capabilities = Capabilities()

    def __init__(self, session: Session, sink: Sink, deflating: Deflating | None) -> None:
        self.protocol = session.accepted.protocol or ""
        self.extensions = "" if deflating is None else deflating.params.header
        self.details = LOST
        self._session = session
        self._sink = sink
        self._deflating = deflating
        self._loop = asyncio.get_running_loop()
        most = session.hub.limits.max_message_size
        self.reader: Final = FrameReader(most, None if deflating is None else deflating.inflater(most, self._loop.time))
        self._budget = Budget(RATE, BURST)
        self._out = bytearray()
        """What is written at the end of this turn of the loop, with one system call."""
        self._pong: bytes | None = None
        self._closing = False

    # Channel.

    async def send(self, item: Outgoing) -> None:
        self._write(self._frame_of(item))
        self.flush()
        await self._sink.drain()
        if self._pong is not None:
            pong, self._pong = self._pong, None
            self._write(encode_frame(PONG, pong))

    def send_now(self, item: Outgoing) -> bool:
        if self._unsent + item.size > HIGH_WATER:
            return False
        self._write(self._frame_of(item))
        return True

    async def close(self, code: int, reason: str, *, now: bool) -> None:
        self._say(code, reason)

    def ping(self, data: bytes) -> None:
        if not self._closing and self._unsent <= HIGH_WATER:
            self._write(encode_frame(PING, data))

    def abort(self) -> None:
        self._out.clear()
        self._closing = True
        self._sink.abort()

    # Frames that came in.

    def control(self, opcode: int, payload: bytes) -> bool:
        """Take a control frame. True: it was the last frame, and `details` are known.

        Raises:
            ProtocolError: it breaks the protocol (`fail` is to be called), or there are too many.
        """
        if opcode == CLOSE:
            code, reason = decode_close(payload)
            self._say(code, "")
            self.details = CloseDetails(code, reason)
            self._sink.close()
            return True
        if not self._budget.allows(self._loop.time()):
            raise ProtocolError(CloseCode.POLICY, "too many pings")
        if opcode == PING:
            self._answer(payload)
            self._session.pinged(payload)
        else:
            self._session.ponged(payload)
        return False

    def fail(self, error: ProtocolError) -> None:
        """The other side broke the protocol: say so. What it still sends is to be read and thrown away.

        A connection that is closed with something unread is reset, which would take our last words from the client.
        """
        self._say(error.code, error.reason)
        self.details = CloseDetails(error.code, error.reason, was_clean=False)
        self._sink.write_eof()

    def flush(self) -> None:
        """Write what this turn has gathered."""
        if self._out:
            data = bytes(self._out)
            self._out.clear()
            self._sink.write(data)

    # Inside.

    @property
    def _unsent(self) -> int:
        return len(self._out) + self._sink.unsent

    def _frame_of(self, item: Outgoing) -> bytes:
        deflating = self._deflating
        return (deflating and deflating.frame_of(item)) or frame_of(item)

    def _write(self, frame: bytes) -> None:
        if not self._out:
            self._loop.call_soon(self.flush)
        self._out += frame

    def _say(self, code: int, reason: str) -> None:
        """Our close frame, if it is not said yet. At once: the connection may be closed behind it."""
        if not self._closing:
            self._closing = True
            self._write(encode_close(code, reason))
            self.flush()

    def _answer(self, ping: bytes) -> None:
        if self._closing:
            return
        if self._unsent <= HIGH_WATER:
            self._write(encode_frame(PONG, ping))
        else:
            # Only the latest is answered (RFC 6455 section 5.5.3): pongs never queue up.
            self._pong = ping


class StreamChannel(FramedChannel):
    """The same over a stream that is read here."""

    def __init__(self, session: Session, stream: Stream, deflating: Deflating | None) -> None:
        super().__init__(session, stream, deflating)
        self._stream = stream

    async def incoming(self) -> AsyncIterator[str | bytes]:
        reader = self.reader
        try:
            while True:
                event = reader.next()
                if event is None:
                    data = await self._stream.read()
                    if not data:
                        return
                    reader.feed(data)
                elif event[0] < CLOSE:
                    yield event[1]
                elif self.control(*event):  # type: ignore[arg-type]
                    return
        except ProtocolError as error:
            self.fail(error)


async def carry(accepted: Accepted, stream: Stream) -> None:
    """Carry a peer whose 101 is sent from `open` to `close`, and leave the connection closed."""
    session = Session(accepted.admission)
    channel = StreamChannel(session, stream, accepted.deflating)
    try:
        await Connection(session, channel, keeps_alive=True).run()
        stream.write_eof()
        async with asyncio.timeout(session.hub.limits.close_timeout):
            while await stream.read():
                pass
    except TimeoutError:
        pass  # It got its time.
    finally:
        stream.abort()


def frame_of(item: Outgoing) -> bytes:
    """The frame of a message, encoded once for all that it goes to."""
    if item.frame is None:
        item.frame = encode_frame(TEXT if item.is_text else BINARY, item.payload)
    return item.frame

"""A connection of asyncio as a stream: its outgoing half, and all of it, taken over from a server's protocol."""

from __future__ import annotations

import asyncio

from crosspeer.runtime.framed import HIGH_WATER


class TransportSink:
    """A `Sink` over an asyncio transport. Whoever is the transport's protocol hands its flow control on."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._writable = asyncio.Event()
        self._writable.set()
        transport.set_write_buffer_limits(high=HIGH_WATER, low=0)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    @property
    def unsent(self) -> int:
        return self._transport.get_write_buffer_size()

    def write(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(data)

    async def drain(self) -> None:
        await self._writable.wait()
        if self._transport.is_closing():
            raise ConnectionResetError("the connection is lost")

    def write_eof(self) -> None:
        if self._transport.is_closing():
            return
        if self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            self._transport.close()

    def close(self) -> None:
        self._transport.close()

    def abort(self) -> None:
        self._transport.abort()


class Takeover(TransportSink, asyncio.Protocol):
    """A `Stream` over an asyncio transport.

    The server's protocol hears nothing more until `give_back`; then, that the connection is lost, so that its books
    are right. Not before: some servers cancel the task that our hooks run in.

    Args:
        transport: of a connection that is open, or closing.
        early: what came behind the request and was read already.
    """

    def __init__(self, transport: asyncio.Transport, early: bytes = b"") -> None:
        super().__init__(transport)
        # None where the connection is gone, and the server knows it.
        self._server: asyncio.BaseProtocol | None = transport.get_protocol()
        self._arrived = bytearray(early)
        self._news = asyncio.Event()
        self._over = transport.is_closing()
        self._lost: tuple[Exception | None] | None = None
        self._given_back = False
        transport.set_protocol(self)
        transport.resume_reading()

    # asyncio.Protocol.

    def data_received(self, data: bytes) -> None:
        self._arrived += data
        if len(self._arrived) >= HIGH_WATER:
            self._transport.pause_reading()
        self._news.set()

    def eof_received(self) -> bool:
        # Whoever half-closes a WebSocket has left it.
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._over = True
        self._lost = (exc,)
        self._news.set()
        self._writable.set()
        if self._given_back:
            self._tell_server()

    # Stream.

    async def read(self) -> bytes:
        while not self._arrived and not self._over:
            self._transport.resume_reading()
            self._news.clear()
            await self._news.wait()
        data = bytes(self._arrived)
        self._arrived.clear()
        return data

    def give_back(self) -> None:
        """The server may know from now on how the connection ended."""
        self._given_back = True
        if self._lost is not None:
            self._tell_server()

    def _tell_server(self) -> None:
        if self._server is not None and self._lost is not None:
            self._server.connection_lost(self._lost[0])

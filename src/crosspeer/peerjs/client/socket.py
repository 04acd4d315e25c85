"""The WebSocket to the broker, from its opening to its end."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI

from crosspeer.wire.peerjs import HEARTBEAT_TEXT

if TYPE_CHECKING:
    from collections.abc import Callable

OPEN_TIMEOUT: Final = 10.0
CLOSE_TIMEOUT: Final = 2.0
MAX_FRAME: Final = 1024 * 1024
"""Bytes of a frame from the broker: sixteen times what an offer may have."""


class BrokerSocket:
    """One signalling socket."""

    def __init__(self, url: str, ping_interval: float) -> None:
        self._url = url
        self._ping_interval = ping_interval
        self._outgoing: asyncio.Queue[str] = asyncio.Queue()

    def send(self, text: str) -> None:
        """Send a message, as soon as the socket is open and those before it have left."""
        self._outgoing.put_nowait(text)

    async def run(self, connected: Callable[[], None], received: Callable[[str | bytes], None]) -> str:
        """Connect, and hand over every frame until the end. Cancelling this closes the socket.

        Returns:
            why it ended.
        """
        try:
            socket = await connect(
                self._url, compression=None, max_size=MAX_FRAME, open_timeout=OPEN_TIMEOUT, close_timeout=CLOSE_TIMEOUT
            )
        except (OSError, TimeoutError, InvalidHandshake, InvalidURI) as error:
            return f"could not connect: {error}"
        writing = asyncio.create_task(self._write(socket))
        connected()
        try:
            async for frame in socket:
                received(frame)
        except ConnectionClosed as closed:
            return str(closed)
        finally:
            writing.cancel()
            try:
                await socket.close()
            finally:
                # Also when there is no time left for a closing handshake.
                socket.transport.abort()
        return "closed by the server"

    async def _write(self, socket: ClientConnection) -> None:
        """Send what there is to send, and a heartbeat each time that its time has come, whatever else was sent."""
        clock = asyncio.get_running_loop().time
        due = clock() + self._ping_interval
        with suppress(ConnectionClosed):
            while True:
                try:
                    async with asyncio.timeout_at(due):
                        text = await self._outgoing.get()
                except TimeoutError:
                    text, due = HEARTBEAT_TEXT, clock() + self._ping_interval
                await socket.send(text)

"""The same client over a real socket, on the `websockets` library."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import websockets
from starlette.datastructures import Headers
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as dial

from crosspeer.testing.client import DEFAULT_TIMEOUT, Client, Connecting, ConnectionClosed, HandshakeRefused
from crosspeer.wire.closing import CloseCode

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class connect(Connecting["SocketClient"]):
    """Connect to `ws://...`; the arguments are those of the in-memory `connect`."""

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
        origin: str | None = None,
        subprotocols: Iterable[str] = (),
        timeout: float = DEFAULT_TIMEOUT,
    ) -> None:
        self._timeout = timeout
        self._dial = dial(
            url,
            additional_headers=headers,
            origin=None if origin is None else websockets.Origin(origin),
            subprotocols=[websockets.Subprotocol(name) for name in subprotocols] or None,
            compression=None,
            proxy=None,
            open_timeout=None,
            ping_interval=None,
            max_size=None,
            close_timeout=timeout,
        )

    async def _open(self) -> SocketClient:
        try:
            async with asyncio.timeout(self._timeout):
                return SocketClient(await self._dial, self._timeout)
        except websockets.InvalidStatus as refused:
            answer = refused.response
            raise HandshakeRefused(
                answer.status_code, _headers(answer.headers.raw_items()), bytes(answer.body or b"")
            ) from None


class SocketClient(Client):
    """The client's end of a WebSocket."""

    def __init__(self, connection: ClientConnection, timeout: float) -> None:
        response = connection.response
        assert response is not None
        super().__init__(connection.subprotocol or "", _headers(response.headers.raw_items()), timeout)
        self._connection = connection

    def terminate(self) -> None:
        self._connection.transport.abort()
        self._closed()

    def freeze(self) -> None:
        self._connection.transport.pause_reading()

    async def ping(self, data: bytes = b"") -> None:
        await self._within(None, await self._connection.ping(data))

    async def _send(self, data: str | bytes) -> None:
        try:
            await self._connection.send(data)
        except websockets.ConnectionClosed:
            raise self._closed() from None

    async def _receive(self) -> str | bytes:
        try:
            return await self._connection.recv()
        except websockets.ConnectionClosed:
            raise self._closed() from None

    async def _close(self, code: int, reason: str) -> None:
        # Without a code, as the web's `close()` does it: the library knows that as None.
        await self._connection.close(None if code == CloseCode.NO_STATUS else code, reason)  # type: ignore[arg-type]
        self._closed()

    def _closed(self) -> ConnectionClosed:
        if self.close_code is None:
            self.close_code = self._connection.close_code or 1006
            self.close_reason = self._connection.close_reason or ""
        return ConnectionClosed(self.close_code, self.close_reason)


def _headers(items: Iterable[tuple[str, str]]) -> Headers:
    return Headers(raw=[(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in items])

"""The client that tests hold, whatever is under it: memory or a socket."""

from __future__ import annotations

import asyncio
import json
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Generator
    from types import TracebackType

    from starlette.datastructures import Headers

DEFAULT_TIMEOUT = 5.0


class HandshakeRefused(Exception):
    """The server answered the handshake with a response that is not 101."""

    def __init__(self, status: int, headers: Headers, body: bytes) -> None:
        super().__init__(f"the handshake was refused with {status}: {body[:200].decode(errors='replace')}")
        self.status = status
        self.headers = headers
        self.body = body


class ConnectionClosed(Exception):
    """The connection is closed: nothing more comes, and nothing can be sent."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"closed with {code} {reason!r}")
        self.code = code
        self.reason = reason


class Client(ABC):
    """One connected client. Everything that waits has a timeout in seconds, and raises `TimeoutError` after it."""

    def __init__(self, protocol: str, headers: Headers, timeout: float) -> None:
        self.protocol = protocol
        """The subprotocol that the server chose, empty if none."""
        self.headers = headers
        """The headers of the 101 answer."""
        self._timeout = timeout
        self.close_code: int | None = None
        """The code that it was closed with, 1006 if it was lost; None while it is open."""
        self.close_reason = ""

    async def send(self, data: str | bytes, *, timeout: float | None = None) -> None:
        """Send a text or a binary message. Waits while the server does not read.

        Raises:
            ConnectionClosed: the connection is closed.
        """
        if self.close_code is not None:
            raise ConnectionClosed(self.close_code, self.close_reason)
        await self._within(timeout, self._send(data))

    async def send_json(self, value: Any, *, timeout: float | None = None) -> None:
        """Send a value as JSON text."""
        await self.send(json.dumps(value), timeout=timeout)

    async def receive(self, *, timeout: float | None = None) -> str | bytes:
        """The next message: `str` of a text frame, `bytes` of a binary one.

        Raises:
            ConnectionClosed: the connection was closed, and all that came before is read.
        """
        return await self._within(timeout, self._receive())

    async def receive_json(self, *, timeout: float | None = None) -> Any:
        """The next message, parsed as JSON."""
        return json.loads(await self.receive(timeout=timeout))

    async def wait_closed(self, *, timeout: float | None = None) -> int:
        """Wait until the connection is closed, throw away what still comes, and return the close code."""

        async def read_on() -> int:
            while True:
                try:
                    await self._receive()
                except ConnectionClosed as closed:
                    return closed.code

        return await self._within(timeout, read_on())

    async def close(self, code: int = 1000, reason: str = "", *, timeout: float | None = None) -> None:
        """Close politely and wait for the server's answer; 1005 sends no code. A second time does nothing."""
        if self.close_code is None:
            await self._within(timeout, self._close(code, reason))

    async def __aiter__(self) -> AsyncIterator[str | bytes]:
        """The messages until the connection is closed. Each is waited for as long as `receive` waits."""
        while True:
            try:
                message = await self.receive()
            except ConnectionClosed:
                return
            yield message

    @abstractmethod
    def terminate(self) -> None:
        """Vanish without a close frame."""

    @abstractmethod
    def freeze(self) -> None:
        """Be connected and do nothing any more, as a machine that fell asleep: no message is read, no ping answered."""

    @abstractmethod
    async def ping(self, data: bytes = b"") -> None:
        """Send a ping and wait for its pong."""

    @abstractmethod
    async def _send(self, data: str | bytes) -> None: ...

    @abstractmethod
    async def _receive(self) -> str | bytes: ...

    @abstractmethod
    async def _close(self, code: int, reason: str) -> None: ...

    async def _within(self, timeout: float | None, work: Awaitable[T]) -> T:
        async with asyncio.timeout(self._timeout if timeout is None else timeout):
            return await work


T = TypeVar("T")
C = TypeVar("C", bound=Client)


class Connecting(ABC, Generic[C]):
    """What `connect` returns: await it for a client, or use it as a context manager that closes the client."""

    _client: C | None = None

    @abstractmethod
    async def _open(self) -> C: ...

    def __await__(self) -> Generator[Any, Any, C]:
        return self._open().__await__()

    async def __aenter__(self) -> C:
        self._client = await self._open()
        return self._client

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._client is None:
            return
        try:
            if kind is None:
                await self._client.close()
        except BaseException:
            self._client.terminate()
            raise
        if kind is not None:
            self._client.terminate()

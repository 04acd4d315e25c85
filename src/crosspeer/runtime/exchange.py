"""The port of an HTTP request whose answer may be a stream, and its ASGI side."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

    from starlette.types import Receive, Scope, Send

    Headers = Iterable[tuple[bytes, bytes]]

HTTP_CONTROL: Final = "crosspeer.http"
"""The ASGI scope extension by which a server gives what ASGI has no words for: an `HTTPControl`."""


class ClientLeft(ConnectionError):
    """The client has gone in the middle of its request, or of the answer."""


class HTTPControl(Protocol):
    """The server's side of `HTTP_CONTROL`, of one request."""

    def abort(self) -> None:
        """Drop the connection, and what waits for its reader."""
        ...

    def drop_when_silent(self, seconds: float) -> None:
        """Have the connection dropped that acknowledges nothing for so long, if the system can do that."""
        ...

    def on_shutdown(self, callback: Callable[[], None]) -> None:
        """Call this, and nothing that was asked for before, when the server stops before the answer has ended."""
        ...


class Exchange(Protocol):
    """One request and its answer, as a server has them."""

    has_abort: bool
    """`abort` really drops the connection."""

    def body(self) -> AsyncIterator[bytes]:
        """The body, piece by piece as it comes.

        Raises:
            ClientLeft: it ended in the middle.
        """
        ...

    async def start(self, status: int, headers: Headers) -> None:
        """Send the head of an answer."""
        ...

    async def write(self, data: bytes) -> None:
        """Send a part of it. Waits for a slow reader; whatever it raises means that the client has gone."""
        ...

    async def end(self) -> None:
        """Send that this was all."""
        ...

    async def left(self) -> None:
        """Wait until the client has gone. Not to be called while the body is being read."""
        ...

    def abort(self) -> None: ...

    def drop_when_silent(self, seconds: float) -> None: ...

    def on_shutdown(self, callback: Callable[[], None]) -> None: ...


class ASGIExchange:
    """A request of any ASGI server."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        control: HTTPControl | None = (scope.get("extensions") or {}).get(HTTP_CONTROL)
        self._control = control
        self.has_abort = control is not None

    async def body(self) -> AsyncIterator[bytes]:
        more = True
        while more:
            event = await self._receive()
            if event["type"] == "http.disconnect":
                raise ClientLeft("the client left in the middle of its request")
            more = event.get("more_body", False)
            if data := event.get("body", b""):
                yield data

    async def start(self, status: int, headers: Headers) -> None:
        await self._send({"type": "http.response.start", "status": status, "headers": list(headers)})

    async def write(self, data: bytes) -> None:
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self) -> None:
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def left(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass

    def abort(self) -> None:
        if self._control is not None:
            self._control.abort()

    def drop_when_silent(self, seconds: float) -> None:
        if self._control is not None:
            self._control.drop_when_silent(seconds)

    def on_shutdown(self, callback: Callable[[], None]) -> None:
        if self._control is not None:
            self._control.on_shutdown(callback)


async def answer(exchange: Exchange, status: int, headers: Headers, body: bytes = b"") -> None:
    """Send a whole answer. A client that did not wait for it has not waited."""
    length: Any = [(b"content-length", b"%d" % len(body))] if status != 204 else []
    known = [(name, value) for name, value in headers if name != b"content-length"]
    with suppress(OSError):
        await exchange.start(status, [*known, *length])
        if body:
            await exchange.write(body)
        await exchange.end()

"""The port of an HTTP request whose answer may be a stream, for ASGI, and for connections that are taken over."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from starlette.types import Receive, Scope, Send

    from crosspeer.runtime.framed import Stream
    from crosspeer.wire.handshake import Headers


HTTP_CONTROL: Final = "crosspeer.http"
"""The ASGI scope extension by which a server gives what ASGI has no words for: an `HTTPControl`."""


NO_CONTENT: Final = 204


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
    has_backpressure: bool
    """`write` really waits for a slow reader."""

    async def answer(self, status: int, headers: Headers, body: bytes) -> None:
        """Send a whole answer. A client that did not wait for it has not waited."""
        ...

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

    def __init__(self, scope: Scope, receive: Receive, send: Send, *, has_backpressure: bool = True) -> None:
        self.has_backpressure = has_backpressure
        self._receive = receive
        self._send = send
        control: HTTPControl | None = (scope.get("extensions") or {}).get(HTTP_CONTROL)
        self._control = control
        self.has_abort = control is not None

    async def answer(self, status: int, headers: Headers, body: bytes) -> None:
        known = [(name, value) for name, value in headers if name != b"content-length"]
        length = [] if status == NO_CONTENT else [(b"content-length", b"%d" % len(body))]
        with suppress(OSError):
            await self.start(status, [*known, *length])
            await self._send({"type": "http.response.body", "body": body})

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


class TakenExchange:
    """The answer on a connection that was taken over from its server, once the head is sent: nothing follows on it.

    A subclass brings `answer`, `body` and `start`, which is to call `_take`.
    """

    has_abort = True
    has_backpressure = True

    _stream: Stream
    _is_chunked = True

    def _take(self, stream: Stream, *, is_chunked: bool) -> None:
        self._stream = stream
        self._is_chunked = is_chunked

    async def write(self, data: bytes) -> None:
        if data:
            self._stream.write(b"%x\r\n%b\r\n" % (len(data), data) if self._is_chunked else data)
            await self._stream.drain()

    async def end(self) -> None:
        if self._is_chunked:
            self._stream.write(b"0\r\n\r\n")
        self._stream.close()

    async def left(self) -> None:
        while await self._stream.read():
            pass

    def abort(self) -> None:
        self._stream.abort()

    def drop_when_silent(self, seconds: float) -> None:
        """The server's to know."""

    def on_shutdown(self, callback: Callable[[], None]) -> None:
        """The server's to know."""

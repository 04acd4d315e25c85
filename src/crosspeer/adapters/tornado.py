"""Hooks in a Tornado application, beside its request handlers.

```python
from crosspeer.adapters.tornado import Adapter

app = tornado.web.Application([Adapter(Chat()).rule(r"/ws/.*")])      # or Adapter(hub)
```

Tornado does the HTTP; behind the 101 the stream is detached and its frames are ours. Its own `WebSocketHandler` drops a
client that breaks the protocol without a close frame, and does not tell a lost connection from an empty close frame.
"""

from __future__ import annotations

import asyncio
import functools
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar, Final

from crosspeer.adapters._extras import extra
from crosspeer.core.hub import Hub, as_hub
from crosspeer.core.transport import Capabilities
from crosspeer.runtime import sse
from crosspeer.runtime.drain import drain
from crosspeer.runtime.exchange import TakenExchange
from crosspeer.runtime.framed import HIGH_WATER, carry
from crosspeer.runtime.negotiation import Accepted, negotiate, request_of

with extra("tornado"):
    from tornado.iostream import SSLIOStream, StreamClosedError
    from tornado.routing import URLSpec
    from tornado.web import RequestHandler

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tornado.httputil import HTTPServerRequest
    from tornado.iostream import IOStream

    from crosspeer.core.hooks import HooksLike
    from crosspeer.core.request import Request
    from crosspeer.runtime.eventstream import EventStream
    from crosspeer.wire.handshake import Headers, Refusal

CAPABILITIES: Final = Capabilities()
"""Everything: the frames are ours."""


class Adapter:
    """Serves peers on rules of Tornado applications.

    Args:
        hooks: hooks in any form, or a hub.
        shutdown_timeout: seconds that `shutdown` takes at most.
    """

    def __init__(self, hooks: HooksLike | Hub, *, shutdown_timeout: float = 10.0) -> None:
        self.hub: Final = as_hub(hooks)
        self.handler: Final[type[PeerHandler]] = type("Handler", (PeerHandler,), {"adapter": self})
        """A handler class, to be routed to or to inherit from: `(r"/ws/.*", adapter.handler)`."""
        self._shutdown_timeout = shutdown_timeout

    def rule(self, pattern: str) -> URLSpec:
        """Route the paths of a pattern to peers."""
        return URLSpec(pattern, self.handler)

    async def shutdown(self) -> None:
        """Close all peers with 1012 and wait for their last hooks. Tornado has nobody who would call it."""
        await drain(self.hub, within=self._shutdown_timeout)


class PeerHandler(RequestHandler):
    """Carries one peer. What `prepare` and `set_default_headers` do in a subclass counts for its handshake."""

    adapter: ClassVar[Adapter]

    def check_xsrf_cookie(self) -> None:
        """What is posted here has a secret of its own."""

    async def post(self, *_args: Any, **_kwargs: Any) -> None:
        if not await self._respond(is_last=True):
            await self._handshake()

    async def options(self, *_args: Any, **_kwargs: Any) -> None:
        if not await self._respond(is_last=False):
            await self._handshake()

    async def get(self, *_args: Any, **_kwargs: Any) -> None:
        if not await self._respond(is_last=True):
            await self._handshake()

    async def _respond(self, *, is_last: bool) -> bool:
        """Serve a peer that comes by `EventSource`. False: this request is none of one."""
        request = _request(self.request)
        if not sse.concerns(request.method, request.scope["headers"]):
            return False
        exchange = _Exchange(self)
        try:
            return await sse.respond(self.adapter.hub, request, exchange, is_last=is_last)
        finally:
            exchange.leave()

    async def _handshake(self) -> None:
        answer = await negotiate(self.adapter.hub, _request(self.request))
        if not isinstance(answer, Accepted):
            await self._refuse(answer)
            return
        try:
            stream = self._upgrade(answer)
        except BaseException:
            answer.release()
            raise
        if stream.closed():
            # The client left in the middle of its handshake: no peer, so no hook has anything to close.
            answer.release()
        else:
            await carry(answer, _Stream(stream))

    def _upgrade(self, accepted: Accepted) -> IOStream:
        self.set_status(101)
        self.clear_header("Content-Type")
        for name, value in accepted.headers:
            self.add_header(name, value)
        return self._finish_and_detach()[0]

    async def _refuse(self, answer: Refusal) -> None:
        self.set_status(answer.status)
        self.clear_header("Content-Type")
        for name, value in answer.headers:
            self.add_header(name.decode("latin-1"), value.decode("latin-1"))
        self.set_header("Connection", "close")
        stream, sent = self._finish_and_detach(answer.body)
        try:
            await sent
        except StreamClosedError:
            return
        # Nothing behind it is read: a proxy in front may believe that a tunnel is open.
        stream.close()

    def _finish_and_detach(self, body: bytes | None = None) -> tuple[IOStream, asyncio.Future[None]]:
        sent = self.finish(body)
        return self.detach(), sent


async def send_events(handler: RequestHandler, stream: EventStream) -> None:
    """Answer a request with an event stream: `await send_events(self, EventStream(source))` in a handler's method."""
    exchange = _Exchange(handler)
    try:
        await stream.run(exchange, _headers(handler.request), is_head=handler.request.method == "HEAD")
    finally:
        exchange.leave()


class _Exchange(TakenExchange):
    """A request whose answer may be a stream. Tornado has read all of its body."""

    def __init__(self, handler: RequestHandler) -> None:
        self._handler = handler
        self._taken: _Stream | None = None

    async def answer(self, status: int, headers: Headers, body: bytes) -> None:
        self._head(status, headers)
        # It may not have waited for it.
        with suppress(StreamClosedError):
            await self._handler.finish(body or None)

    async def body(self) -> AsyncIterator[bytes]:
        if self._handler.request.body:
            yield self._handler.request.body

    async def start(self, status: int, headers: Headers) -> None:
        self._head(status, headers)
        self._handler.set_header("Connection", "close")
        await self._handler.flush()
        self._taken = _Stream(self._handler.detach())
        self._take(self._taken, is_chunked=self._handler.request.version != "HTTP/1.0")

    def leave(self) -> None:
        """The answer is over, and its connection."""
        if self._taken is not None:
            self._taken.close()

    def _head(self, status: int, headers: Headers) -> None:
        self._handler.set_status(status)
        self._handler.clear_header("Content-Type")
        for name, value in headers:
            if name != b"content-length":
                self._handler.add_header(name.decode("latin-1"), value.decode("latin-1"))


class _Stream:
    """The bytes of a detached stream."""

    def __init__(self, stream: IOStream) -> None:
        self._stream = stream
        self._written: asyncio.Future[None] | None = None
        """Done when the last write has left."""
        self.unsent = 0
        stream.set_nodelay(True)

    async def read(self) -> bytes:
        try:
            return await self._stream.read_bytes(HIGH_WATER, partial=True)
        except StreamClosedError:
            return b""

    def write(self, data: bytes) -> None:
        if self._stream.closed():
            return
        self.unsent += len(data)
        self._written = self._stream.write(data)
        self._written.add_done_callback(functools.partial(self._sent, len(data)))

    async def drain(self) -> None:
        if self.unsent > HIGH_WATER and self._written is not None:
            await asyncio.wait({self._written})
        if self._stream.closed():
            raise ConnectionResetError("the connection is lost")

    def write_eof(self) -> None:
        if isinstance(self._stream, SSLIOStream):
            self.close()
        else:
            self._afterwards(self._half_close)

    def close(self) -> None:
        self._afterwards(self._stream.close)

    def abort(self) -> None:
        self._stream.close()

    def _afterwards(self, step: Any) -> None:
        """Tornado throws away what is not written yet when a stream is closed."""
        if self.unsent and self._written is not None:
            self._written.add_done_callback(lambda _written: step())
        else:
            step()

    def _half_close(self) -> None:
        if not self._stream.closed():
            self._stream.socket.shutdown(socket.SHUT_WR)

    def _sent(self, size: int, written: asyncio.Future[None]) -> None:
        self.unsent -= size
        if not written.cancelled():
            # A lost connection is seen by who reads.
            written.exception()


def _headers(request: HTTPServerRequest) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in request.headers.get_all()]


def _request(request: HTTPServerRequest) -> Request:
    connection: Any = request.connection
    address = connection.context.address
    return request_of(
        request.method or "",
        (request.uri or "").encode("latin-1"),
        _headers(request),
        # The address is that of `xheaders`, where the application trusts a proxy.
        client=(request.remote_ip, *address[1:]) if isinstance(address, tuple) else None,
        secure=request.protocol == "https",
        http_version=request.version.removeprefix("HTTP/"),
    )

"""Hooks in a Sanic application, beside its HTTP handlers.

```python
from crosspeer.adapters.sanic import Adapter

app = Sanic("chat")
Adapter(Chat()).attach(app, "/ws/<path:path>")      # or Adapter(hub)
```

Sanic does the HTTP with its middleware; behind the 101 the connection is ours. Its own WebSockets have no headers on
the 101 and no pings to see, and take each piece that arrives in a task of its own, which may change the order.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from crosspeer.adapters._extras import extra
from crosspeer.core.hub import Hub, as_hub
from crosspeer.core.transport import Capabilities
from crosspeer.runtime import sse
from crosspeer.runtime.drain import drain
from crosspeer.runtime.exchange import ClientLeft, TakenExchange
from crosspeer.runtime.framed import carry
from crosspeer.runtime.negotiation import Accepted, negotiate, request_of
from crosspeer.runtime.takeover import Takeover

with extra("sanic"):
    from sanic.compat import Header
    from sanic.exceptions import ServerError
    from sanic.response import BaseHTTPResponse, HTTPResponse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    import sanic

    from crosspeer.core.hooks import HooksLike
    from crosspeer.core.request import Request
    from crosspeer.runtime.eventstream import EventStream
    from crosspeer.wire.handshake import Headers, Refusal

CAPABILITIES: Final = Capabilities()
"""Everything: the frames are ours."""


class Adapter:
    """Serves peers on routes of Sanic applications. Each worker process has peers of its own.

    Args:
        hooks: hooks in any form, or a hub.
        shutdown_timeout: seconds that `shutdown` takes at most.
    """

    def __init__(self, hooks: HooksLike | Hub, *, shutdown_timeout: float = 10.0) -> None:
        self.hub: Final = as_hub(hooks)
        self.handler: Final = _handler(self)
        """The request handler, for those who add their routes themselves."""
        self._shutdown_timeout = shutdown_timeout

    def attach(self, app: sanic.Sanic[Any, Any] | sanic.Blueprint, path: str, *, name: str = "crosspeer") -> None:
        """Serve peers on a path, in Sanic's notation, and part with them when the server stops.

        Args:
            name: of the route; each route of an application has its own.
        """
        # POST and OPTIONS are for peers that come by `EventSource`.
        app.add_route(self.handler, path, methods=["GET", "POST", "OPTIONS"], name=name, stream=True)
        app.listener("before_server_stop")(self.shutdown)

    async def shutdown(self, *_app_and_loop: Any) -> None:
        """Close all peers with 1012 and wait for their last hooks. `attach` has Sanic call it: `before_server_stop`."""
        await drain(self.hub, within=self._shutdown_timeout)

    async def _serve(self, request: sanic.Request[Any, Any]) -> HTTPResponse | None:
        if request.app.asgi:
            raise ServerError("under an ASGI server, mount crosspeer.adapters.asgi.Adapter beside Sanic")
        asked = _request(request)
        if sse.concerns(asked.method, asked.scope["headers"]):
            exchange = _Exchange(request)
            if await sse.respond(self.hub, asked, exchange, is_last=asked.method != "OPTIONS"):
                return exchange.response
        answer = await negotiate(self.hub, asked)
        if not isinstance(answer, Accepted):
            return _refusal(answer)
        transport: Any = request.transport
        if transport.is_closing():
            # The client left in the middle of its handshake: no peer, so no hook has anything to close.
            answer.release()
            return None
        transport.write(answer.head)
        await carry(answer, _take(transport))
        return None


async def send_events(request: sanic.Request[Any, Any], stream: EventStream) -> None:
    """Answer a request with an event stream: `return await send_events(request, EventStream(source))`."""
    await stream.run(_Response(request), _headers(request), is_head=request.method == "HEAD")


class _Exchange(TakenExchange):
    """A request of a peer."""

    def __init__(self, request: sanic.Request[Any, Any]) -> None:
        self._request = request
        self.response: HTTPResponse | None = None
        """What the handler is to return."""

    async def answer(self, status: int, headers: Headers, body: bytes) -> None:
        self.response = HTTPResponse(body or None, status, content_type=None)
        for name, value in headers:
            if name != b"content-length":
                self.response.headers.add(name.decode("latin-1"), value.decode("latin-1"))

    async def body(self) -> AsyncIterator[bytes]:
        try:
            stream: Any = self._request.stream
            while data := await stream.read():
                yield data
        except Exception as error:
            raise ClientLeft("the client left in the middle of its request") from error

    async def start(self, status: int, headers: Headers) -> None:
        transport: Any = self._request.transport
        if transport.is_closing():
            raise ClientLeft("the client did not wait for the answer")
        is_chunked = self._request.version != "1.0"
        more = [(b"connection", b"close"), *([(b"transfer-encoding", b"chunked")] if is_chunked else [])]
        lines = b"".join(b"%b: %b\r\n" % pair for pair in [*headers, *more])
        transport.write(b"HTTP/1.1 %d %b\r\n%b\r\n" % (status, HTTPStatus(status).phrase.encode(), lines))
        # As for a WebSocket: no time is set for the response.
        stream: Any = self._request.stream
        stream.upgrade_websocket = True
        self._take(_take(transport), is_chunked=is_chunked)


class _Response:
    """A request whose answer is Sanic's own, with all that its middleware adds."""

    has_abort = True
    has_backpressure = True

    def __init__(self, request: sanic.Request[Any, Any]) -> None:
        self._request = request
        self._response: BaseHTTPResponse | None = None

    async def answer(self, status: int, headers: Headers, body: bytes) -> None:
        await self.start(status, headers)
        await self.write(body)
        await self.end()

    async def body(self) -> AsyncIterator[bytes]:
        yield self._request.body

    async def start(self, status: int, headers: Headers) -> None:
        pairs = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]
        self._response = await self._request.respond(status=status, headers=Header(pairs), content_type=None)
        await self._response.send(b"", False)

    async def write(self, data: bytes) -> None:
        if self._response is not None:
            await self._response.send(data, False)

    async def end(self) -> None:
        if self._response is not None:
            await self._response.send(end_stream=True)

    async def left(self) -> None:
        # Sanic cancels the handler when the client has gone.
        await asyncio.Event().wait()

    def abort(self) -> None:
        transport: Any = self._request.transport
        transport.abort()

    def drop_when_silent(self, seconds: float) -> None:
        """Sanic's to know."""

    def on_shutdown(self, callback: Callable[[], None]) -> None:
        """Sanic's to know."""


def _take(transport: Any) -> Takeover:
    """Take a connection. Sanic hears that it is lost when the handler has ended: it would cancel it."""
    stream = Takeover(transport, bytes(transport.get_protocol().recv_buffer))
    task = asyncio.current_task()
    if task is not None:
        task.add_done_callback(lambda _done: stream.give_back())
    return stream


def _handler(adapter: Adapter) -> Callable[..., Coroutine[Any, Any, HTTPResponse | None]]:
    async def peers(request: sanic.Request[Any, Any], **_path: str) -> HTTPResponse | None:
        return await adapter._serve(request)

    # From such a handler Sanic expects no response.
    peers.is_websocket = True  # type: ignore[attr-defined]
    return peers


def _request(request: sanic.Request[Any, Any]) -> Request:
    peername = request.transport.get_extra_info("peername")
    return request_of(
        request.method,
        request.raw_url,
        _headers(request),
        # The address is the one before the proxies that the application's configuration trusts.
        client=(request.client_ip, *peername[1:]) if isinstance(peername, tuple) else None,
        secure=request.scheme in ("https", "wss"),
        http_version=request.version,
    )


def _headers(request: sanic.Request[Any, Any]) -> Headers:
    return [(_bytes(name).lower(), _bytes(value)) for name, value in request.headers.items()]


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _refusal(answer: Refusal) -> HTTPResponse:
    response = HTTPResponse(answer.body, answer.status, content_type="text/plain; charset=utf-8")
    for name, value in answer.headers:
        response.headers.add(name.decode("latin-1"), value.decode("latin-1"))
    return response

"""Hooks in an aiohttp application, beside its HTTP handlers.

```python
from crosspeer.adapters.aiohttp import Adapter

app = web.Application()
Adapter(Chat()).attach(app, "/ws/{tail:.*}")      # or Adapter(hub)
```

aiohttp does the HTTP with its middlewares and signals; behind the 101 the connection is ours. Its own WebSockets wait
half a heartbeat for a pong, take frames without a mask, and reset a client whose message is too big before it has read
why.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from crosspeer.adapters._extras import extra
from crosspeer.core.hub import Hub, as_hub
from crosspeer.core.transport import Capabilities
from crosspeer.runtime import sse
from crosspeer.runtime.drain import drain
from crosspeer.runtime.exchange import ClientLeft, TakenExchange
from crosspeer.runtime.framed import carry
from crosspeer.runtime.negotiation import Accepted, negotiate, request_of
from crosspeer.runtime.takeover import Takeover

with extra("aiohttp"):
    from aiohttp import web

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator

    from crosspeer.core.hooks import HooksLike
    from crosspeer.core.request import Request
    from crosspeer.runtime.eventstream import EventStream
    from crosspeer.wire.handshake import Headers, Refusal

CAPABILITIES: Final = Capabilities()
"""Everything: the frames are ours."""


class Adapter:
    """Serves peers on routes of aiohttp applications.

    Args:
        hooks: hooks in any form, or a hub.
        shutdown_timeout: seconds that `shutdown` takes at most.
    """

    def __init__(self, hooks: HooksLike | Hub, *, shutdown_timeout: float = 10.0) -> None:
        self.hub: Final = as_hub(hooks)
        self._shutdown_timeout = shutdown_timeout

    def attach(self, app: web.Application, path: str) -> None:
        """Serve peers on a path, in aiohttp's notation, and part with them when the application shuts down."""
        for method in ("GET", "POST", "OPTIONS"):
            # The last two are for peers that come by `EventSource`.
            app.router.add_route(method, path, self.handler)
        app.on_shutdown.append(self.shutdown)

    async def handler(self, request: web.Request) -> web.StreamResponse:
        """The request handler, for those who add their routes themselves: `web.get(path, adapter.handler)`."""
        if sse.concerns(request.method, _headers(request)):
            exchange = _Exchange(request)
            try:
                if await sse.respond(self.hub, _request(request), exchange, is_last=request.method != "OPTIONS"):
                    return exchange.response
            finally:
                exchange.leave()
        answer = await negotiate(self.hub, _request(request))
        if not isinstance(answer, Accepted):
            return _refusal(answer)
        response = web.StreamResponse(status=101, headers=answer.headers)
        try:
            stream = await _upgrade(request, response)
        except BaseException:
            answer.release()
            raise
        if stream is None:
            # The client left in the middle of its handshake: no peer, so no hook has anything to close.
            answer.release()
            return response
        try:
            await carry(answer, stream)
        finally:
            stream.give_back()
        return response

    async def shutdown(self, app: web.Application | None = None) -> None:
        """Close all peers with 1012 and wait for their last hooks. `attach` calls it: `app.on_shutdown`."""
        await drain(self.hub, within=self._shutdown_timeout)


async def send_events(request: web.Request, stream: EventStream) -> web.StreamResponse:
    """Answer a request with an event stream: `return await send_events(request, EventStream(source))`."""
    exchange = _Exchange(request)
    try:
        await stream.run(exchange, _headers(request), is_head=request.method == "HEAD")
    finally:
        exchange.leave()
    return exchange.response


class _Exchange(TakenExchange):
    """A request whose answer may be a stream."""

    def __init__(self, request: web.Request) -> None:
        self._request = request
        self._taken: Takeover | None = None
        self.response: web.StreamResponse
        """What the handler is to return."""

    async def answer(self, status: int, headers: Headers, body: bytes) -> None:
        self.response = web.Response(status=status, body=body, headers=_pairs(headers))

    async def body(self) -> AsyncIterator[bytes]:
        try:
            async for data in self._request.content.iter_any():
                yield data
        except Exception as error:
            raise ClientLeft("the client left in the middle of its request") from error

    async def start(self, status: int, headers: Headers) -> None:
        self.response = web.StreamResponse(status=status, headers=_pairs(headers))
        self.response.force_close()
        self._taken = await _upgrade(self._request, self.response)
        if self._taken is None:
            raise ClientLeft("the client did not wait for the answer")
        self._take(self._taken, is_chunked="transfer-encoding" in self.response.headers)

    def leave(self) -> None:
        """The answer is over, and its connection."""
        if self._taken is not None:
            self._taken.close()
            self._taken.give_back()


class _Early:
    """Takes what aiohttp has read behind the request."""

    def __init__(self) -> None:
        self.data = b""

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self.data += data
        return False, b""

    def feed_eof(self) -> None:
        """The stream that takes over sees the end by itself."""


async def _upgrade(request: web.Request, response: web.StreamResponse) -> Takeover | None:
    """Send a head with what the application's signals add to it, and take the connection, if it is still there."""
    if _transport(request) is None:
        return None
    await response.prepare(request)
    transport = _transport(request)
    if transport is None:
        return None
    early = _Early()
    request.protocol.set_parser(early)  # type: ignore[arg-type] # As aiohttp's own WebSockets do.
    request.protocol.keep_alive(False)
    return Takeover(transport, early.data)


def _transport(request: web.Request) -> asyncio.Transport | None:
    """None: the connection is gone."""
    transport = request.transport
    return None if transport is None or transport.is_closing() else transport


def _request(request: web.Request) -> Request:
    peername = None if request.transport is None else request.transport.get_extra_info("peername")
    if isinstance(peername, tuple) and request.remote is not None:
        # A middleware that trusts a proxy may have set it.
        peername = (request.remote, *peername[1:])
    return request_of(
        request.method,
        request.raw_path.encode("utf-8", "surrogateescape"),
        _headers(request),
        client=peername,
        secure=request.secure,
        http_version=f"{request.version.major}.{request.version.minor}",
    )


def _headers(request: web.Request) -> list[tuple[bytes, bytes]]:
    return [(name.lower(), value) for name, value in request.raw_headers]


def _pairs(headers: Headers) -> list[tuple[str, str]]:
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers if name != b"content-length"]


def _refusal(answer: Refusal) -> web.Response:
    response = web.Response(status=answer.status, body=answer.body, headers=_pairs(answer.headers))
    # A proxy in front may believe that a tunnel is open.
    response.force_close()
    return response

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
from crosspeer.runtime.drain import drain
from crosspeer.runtime.framed import carry
from crosspeer.runtime.negotiation import Accepted, negotiate, request_of
from crosspeer.runtime.takeover import Takeover

with extra("aiohttp"):
    from aiohttp import web

if TYPE_CHECKING:
    import asyncio

    from crosspeer.core.hooks import HooksLike
    from crosspeer.core.request import Request
    from crosspeer.wire.handshake import Refusal

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
        app.router.add_get(path, self.handler)
        app.on_shutdown.append(self.shutdown)

    async def handler(self, request: web.Request) -> web.StreamResponse:
        """The request handler, for those who add their routes themselves: `web.get(path, adapter.handler)`."""
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
    """Send the 101 with what the application's signals add to it, and take the connection, if it is still there."""
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
        request.raw_headers,
        client=peername,
        secure=request.secure,
        http_version=f"{request.version.major}.{request.version.minor}",
    )


def _refusal(answer: Refusal) -> web.Response:
    response = web.Response(status=answer.status, body=answer.body)
    for name, value in answer.headers:
        if name != b"content-length":
            response.headers.add(name.decode("latin-1"), value.decode("latin-1"))
    # A proxy in front may believe that a tunnel is open.
    response.force_close()
    return response

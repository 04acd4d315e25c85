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
from typing import TYPE_CHECKING, Any, Final

from crosspeer.adapters._extras import extra
from crosspeer.core.hub import Hub, as_hub
from crosspeer.core.transport import Capabilities
from crosspeer.runtime.drain import drain
from crosspeer.runtime.framed import carry
from crosspeer.runtime.negotiation import Accepted, negotiate, request_of
from crosspeer.runtime.takeover import Takeover

with extra("sanic"):
    from sanic.exceptions import ServerError
    from sanic.response import HTTPResponse

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    import sanic

    from crosspeer.core.hooks import HooksLike
    from crosspeer.core.request import Request
    from crosspeer.wire.handshake import Refusal

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
        app.add_route(self.handler, path, methods=["GET"], name=name)
        app.listener("before_server_stop")(self.shutdown)

    async def shutdown(self, *_app_and_loop: Any) -> None:
        """Close all peers with 1012 and wait for their last hooks. `attach` has Sanic call it: `before_server_stop`."""
        await drain(self.hub, within=self._shutdown_timeout)

    async def _serve(self, request: sanic.Request[Any, Any]) -> HTTPResponse | None:
        if request.app.asgi:
            raise ServerError("under an ASGI server, mount crosspeer.adapters.asgi.Adapter beside Sanic")
        answer = await negotiate(self.hub, _request(request))
        if not isinstance(answer, Accepted):
            return _refusal(answer)
        transport: Any = request.transport
        if transport.is_closing():
            # The client left in the middle of its handshake: no peer, so no hook has anything to close.
            answer.release()
            return None
        transport.write(answer.head)
        stream = Takeover(transport, bytes(transport.get_protocol().recv_buffer))
        task = asyncio.current_task()
        if task is not None:
            # Sanic cancels it when it hears that the connection is lost.
            task.add_done_callback(lambda _done: stream.give_back())
        await carry(answer, stream)
        return None


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
        [(_bytes(name), _bytes(value)) for name, value in request.headers.items()],
        # The address is the one before the proxies that the application's configuration trusts.
        client=(request.client_ip, *peername[1:]) if isinstance(peername, tuple) else None,
        secure=request.scheme in ("https", "wss"),
        http_version=request.version,
    )


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _refusal(answer: Refusal) -> HTTPResponse:
    response = HTTPResponse(answer.body, answer.status, content_type="text/plain; charset=utf-8")
    for name, value in answer.headers:
        response.headers.add(name.decode("latin-1"), value.decode("latin-1"))
    return response

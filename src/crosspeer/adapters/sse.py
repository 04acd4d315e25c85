"""Hooks for peers that come by `EventSource` alone, on any ASGI server: events one way, POSTs the other.

```python
from crosspeer.adapters import sse

app = Starlette(routes=[Mount("/events", sse.Adapter(Chat()))])
```

`asgi.Adapter`, `serve` and `Server` do the same beside WebSockets, on every path with hooks. `Hub(sse=...)` sets the
bounds, `docs/sse.md` has what goes over the wire.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from starlette.responses import PlainTextResponse

from crosspeer.adapters.dialects import dialect_of
from crosspeer.adapters.mounts import restored
from crosspeer.core.hub import Hub, as_hub
from crosspeer.core.request import HUB_KEY, Request
from crosspeer.core.sse import SSE
from crosspeer.runtime import sse
from crosspeer.runtime.exchange import ASGIExchange
from crosspeer.wire.sse import MEDIA_TYPE

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from crosspeer.core.hooks import HooksLike

__all__ = ["SSE", "Adapter", "concerns", "serve"]


def concerns(scope: Scope) -> bool:
    """Whether a request may be one of a peer. Of most requests this is all that is asked."""
    return scope["type"] == "http" and sse.concerns(scope["method"], scope["headers"])


async def serve(hub: Hub, scope: Scope, receive: Receive, send: Send, *, is_last: bool) -> bool:
    """Answer a request that `concerns` is true for. False: it is not meant for peers, and nothing was sent.

    Args:
        is_last: nobody else could answer it: then what is not found is 404.
    """
    # A copy: what hooks and their resolver leave in it is no business of whoever answers instead.
    has_backpressure = dialect_of(scope).capabilities.backpressure
    exchange = ASGIExchange(scope, receive, send, has_backpressure=has_backpressure)
    return await sse.respond(hub, Request(dict(scope)), exchange, is_last=is_last)


class Adapter:
    """An ASGI application that serves peers over event streams, and hands all other requests to another one.

    Args:
        hooks: hooks in any form, or a hub.
        http: the application for the rest. Without one it is answered 406.
    """

    def __init__(self, hooks: HooksLike | Hub, *, http: ASGIApp | None = None) -> None:
        self.hub: Final = as_hub(hooks)
        self._http = http

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope = restored(scope)
        if concerns(scope) and await serve(self.hub, scope, receive, send, is_last=self._http is None):
            return
        if self._http is not None:
            await self._http({**scope, HUB_KEY: self.hub}, receive, send)
        elif scope["type"] == "http":
            answer = PlainTextResponse(f"Not Acceptable: this is for clients that accept {MEDIA_TYPE}", 406)
            await answer(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000, "reason": ""})

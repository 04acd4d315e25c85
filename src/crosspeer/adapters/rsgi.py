"""Hooks on granian's own interface, RSGI.

```python
from crosspeer.adapters import rsgi

app = rsgi.Adapter(Chat())                # granian --interface rsgi module:app
```

RSGI has no words for much of a handshake: a subprotocol cannot be chosen, nor headers be added to the 101, a refusal is
a bare status, and no close frame carries a code or a reason. Headers that are not ASCII are missing from the request.
On granian's ASGI interface `asgi.Adapter` does more.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import quote

from starlette.responses import Response

from crosspeer.core.hooks import CloseDetails, HooksLike
from crosspeer.core.hub import Hub, as_hub
from crosspeer.core.request import Request
from crosspeer.core.session import Session
from crosspeer.core.transport import Capabilities
from crosspeer.runtime import sse
from crosspeer.runtime.connection import Connection
from crosspeer.runtime.exchange import NO_CONTENT, ClientLeft
from crosspeer.runtime.handshake import admit, tell_once
from crosspeer.wire.closing import CloseCode

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Awaitable, Callable

    from crosspeer.core.outgoing import Outgoing
    from crosspeer.runtime.eventstream import EventStream
    from crosspeer.wire.handshake import Headers

    RSGIApp = Callable[[Any, Any], Awaitable[None]]

logger = logging.getLogger("crosspeer")

RSGI: Final = Capabilities(
    denial_response=False,
    response_headers=False,
    subprotocol=False,
    close_code_received=False,
    close_reason_received=False,
    close_code_sent=False,
    close_reason_sent=False,
    ping=False,
    terminate=False,
)
"""What RSGI 1.6 can do."""

_METHODS: Final = ("GET", "POST", "OPTIONS")
_CLOSE: Final = 0
"""The kind of a message that stands for the client's close frame."""


class WebSocketTransport(Protocol):
    """An accepted connection, as granian has it."""

    async def receive(self) -> Any: ...
    async def send_bytes(self, data: bytes) -> None: ...
    async def send_str(self, data: str) -> None: ...


class WebSocketProtocol(Protocol):
    """A handshake, as granian has it; later the way to end the connection."""

    async def accept(self) -> WebSocketTransport: ...
    def close(self, status: int | None = None) -> Any: ...


class Adapter:
    """An RSGI application that serves peers, and hands plain HTTP to another one.

    Args:
        hooks: hooks in any form, or a hub.
        http: the RSGI application for plain HTTP. Without one every request is answered 426, as h3 answers it.
    """

    def __init__(self, hooks: HooksLike | Hub, *, http: RSGIApp | Any | None = None) -> None:
        self.hub: Final = as_hub(hooks)
        self._http = http
        self._answer: RSGIApp = _upgrade_required if http is None else getattr(http, "__rsgi__", http)

    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """The worker starts. It is said to the other application too."""
        if (init := getattr(self._http, "__rsgi_init__", None)) is not None:
            init(loop)

    def __rsgi_del__(self, loop: asyncio.AbstractEventLoop) -> None:
        if (delete := getattr(self._http, "__rsgi_del__", None)) is not None:
            delete(loop)

    async def __rsgi__(self, scope: Any, protocol: Any) -> None:
        if scope.proto == "ws":
            await self._serve_peer(scope, protocol)
        elif not await self._serve_events(scope, protocol):
            await self._answer(scope, protocol)

    async def _serve_events(self, scope: Any, protocol: Any) -> bool:
        """Serve a peer that comes by `EventSource`. False: this request is none of one."""
        if scope.method not in _METHODS:
            return False
        asked = {**_asgi_scope(scope), "type": "http", "method": scope.method, "scheme": scope.scheme}
        if not sse.concerns(scope.method, asked["headers"]):
            return False
        return await sse.respond(self.hub, Request(asked), _Exchange(protocol), is_last=self._http is None)

    async def _serve_peer(self, scope: Any, protocol: WebSocketProtocol) -> None:
        admitted = await admit(self.hub, Request(_asgi_scope(scope)))
        if isinstance(admitted, Response):
            # No headers and no body: a status is all that RSGI takes.
            protocol.close(admitted.status_code)
            return
        session = Session(admitted)
        if admitted.accepted.protocol or admitted.accepted.header_pairs:
            tell_once("headers and the subprotocol that upgrade answers do not reach the client")
        try:
            transport = await protocol.accept()
        except Exception as error:
            # The client left in the middle of its handshake: no peer, so no hook has anything to close.
            logger.debug("the handshake for %r ended early", scope.path, exc_info=error)
            session.abandon()
            return
        except BaseException:
            session.abandon()
            raise
        channel = _Channel(protocol, transport)
        # Ours is the last hold on it from here on: see `leave`.
        del transport
        try:
            await Connection(session, channel).run()
        finally:
            channel.leave()


class _Channel:
    """One accepted RSGI connection."""

    capabilities = RSGI
    has_heartbeat = False
    protocol = ""
    extensions = ""

    def __init__(self, protocol: WebSocketProtocol, transport: WebSocketTransport) -> None:
        self.details = CloseDetails(CloseCode.ABNORMAL, "", was_clean=False)
        self._protocol = protocol
        self._transport = transport
        self._closed_with = CloseDetails()

    async def incoming(self) -> AsyncIterator[str | bytes]:
        # A lost connection raises.
        while (message := await self._transport.receive()).kind != _CLOSE:
            yield message.data
        self.details = self._closed_with

    async def send(self, item: Outgoing) -> None:
        if isinstance(item.data, str):
            await self._transport.send_str(item.data)
        else:
            await self._transport.send_bytes(item.data)

    async def close(self, code: int, reason: str, *, now: bool) -> None:
        self._closed_with = CloseDetails(code, reason)
        # The code is for a refusal only; the close frame has none.
        self._protocol.close(code)

    def ping(self, data: bytes) -> None:
        """RSGI has no pings."""

    def abort(self) -> None:
        """The return of the application ends the connection."""

    def leave(self) -> None:
        """Let go of the connection: granian ends it with the last reference, and a peer may be kept for long."""
        del self._transport, self._protocol


async def send_events(scope: Any, protocol: Any, stream: EventStream) -> None:
    """Answer a request with an event stream: `await send_events(scope, protocol, EventStream(source))`."""
    await stream.run(_Exchange(protocol), _asgi_scope(scope)["headers"], is_head=scope.method == "HEAD")


class _Exchange:
    """A request whose answer may be a stream. It ends when the application returns."""

    has_abort = False
    has_backpressure = False

    def __init__(self, protocol: Any) -> None:
        self._protocol = protocol
        self._transport: Any = None

    async def answer(self, status: int, headers: Headers, body: bytes) -> None:
        pairs = [pair for pair in _texts(headers) if pair[0] != "content-length"]
        if status == NO_CONTENT:
            self._protocol.response_empty(status, pairs)
        else:
            self._protocol.response_bytes(status, pairs, body)

    async def body(self) -> AsyncIterator[bytes]:
        try:
            async for data in self._protocol:
                yield bytes(data)
        except Exception as error:
            raise ClientLeft("the client left in the middle of its request") from error

    async def start(self, status: int, headers: Headers) -> None:
        self._transport = self._protocol.response_stream(status, _texts(headers))

    async def write(self, data: bytes) -> None:
        if data:
            await self._transport.send_bytes(data)

    async def end(self) -> None:
        """The return of the application does it."""

    async def left(self) -> None:
        await self._protocol.client_disconnect()

    def abort(self) -> None:
        """RSGI has no word for it."""

    def drop_when_silent(self, seconds: float) -> None:
        """Nor for this."""

    def on_shutdown(self, callback: Callable[[], None]) -> None:
        """Nor for this."""


def _texts(headers: Headers) -> list[tuple[str, str]]:
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]


async def _upgrade_required(scope: Any, protocol: Any) -> None:
    headers = [("content-type", "text/plain; charset=utf-8"), ("upgrade", "websocket")]
    protocol.response_str(426, headers, "WebSocket upgrade is required.")


def _asgi_scope(scope: Any) -> dict[str, Any]:
    """What ASGI would say of the same handshake: that is what a `Request` is made of."""
    return {
        "type": "websocket",
        "http_version": scope.http_version,
        "scheme": {"http": "ws", "https": "wss"}.get(scope.scheme, scope.scheme),
        "path": scope.path,
        "raw_path": quote(scope.path).encode("ascii"),
        "root_path": "",
        "query_string": scope.query_string.encode(),
        "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in scope.headers.items()],
        "client": _address(scope.client),
        "server": _address(scope.server),
    }


def _address(text: str) -> tuple[str, int] | None:
    """Host and port of `127.0.0.1:80` or `[::1]:80`; a Unix socket has none."""
    host, _, port = text.rpartition(":")
    return (host.strip("[]"), int(port)) if port.isdigit() else None

"""Hooks on any ASGI server, alone or mounted in Starlette, FastAPI, Litestar, Quart or Django Channels.

```python
from crosspeer.adapters import asgi

app = asgi.Adapter(Chat())                # or asgi.Adapter(hub, http=other_asgi_app)
```
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final, Protocol

from starlette.responses import PlainTextResponse, Response

from crosspeer.adapters import browser, health, sse
from crosspeer.adapters.dialects import DENIAL, dialect_of
from crosspeer.adapters.mounts import restored
from crosspeer.core.hooks import CloseDetails, HooksLike
from crosspeer.core.hub import Hub, as_hub
from crosspeer.core.request import HUB_KEY, Request
from crosspeer.core.session import Session
from crosspeer.runtime.connection import Connection
from crosspeer.runtime.handshake import admit, tell_once
from crosspeer.wire.closing import CloseCode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from crosspeer.core.outgoing import Outgoing
    from crosspeer.core.transport import Capabilities

CONTROL: Final = "crosspeer.control"
"""The scope extension by which a server gives the adapter what ASGI has no words for."""


class Control(Protocol):
    """The server's side of `CONTROL`, of one connection."""

    capabilities: Capabilities

    @property
    def extensions(self) -> str:
        """The negotiated extensions, as the 101 names them."""
        ...

    def attach(self, session: Session) -> None:
        """Report pings and pongs to this session."""
        ...

    def ping(self, data: bytes) -> None: ...

    def close(self, code: int, reason: str) -> None:
        """Send the close frame without waiting for the reader."""
        ...

    def abort(self) -> None: ...


class Adapter:
    """An ASGI application that serves peers, and hands plain HTTP and lifespan to another one.

    Args:
        hooks: hooks in any form, or a hub.
        http: the application for plain HTTP. Without one every request is answered 426, as h3 answers it.
    """

    def __init__(self, hooks: HooksLike | Hub, *, http: ASGIApp | None = None) -> None:
        self.hub: Final = as_hub(hooks)
        self._http = http

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope = restored(scope)
        if scope["type"] == "websocket":
            await self._serve_peer(scope, receive, send)
        elif sse.concerns(scope) and await sse.serve(
            self.hub, _mended(scope), receive, send, is_last=self._http is None
        ):
            return
        elif browser.concerns(scope):
            await browser.serve(scope, receive, send)
        elif health.concerns(scope):
            await health.serve(self.hub, scope, receive, send)
        elif scope["type"] == "lifespan":
            http = self._http or _no_lifespan
            await http({**scope, HUB_KEY: self.hub}, receive, self._live(send))
        elif self._http is not None:
            await self._http({**scope, HUB_KEY: self.hub}, receive, send)
        else:
            answer = PlainTextResponse("WebSocket upgrade is required.", 426, {"upgrade": "websocket"})
            await answer(scope, receive, send)

    def _live(self, send: Send) -> Send:
        """Be with the other nodes for as long as the server runs, where it tells of that."""
        sync = self.hub.sync

        async def told(event: Message) -> None:
            if sync is not None and event["type"] == "lifespan.startup.complete":
                await sync.start()
            elif sync is not None and event["type"].startswith("lifespan.shutdown."):
                await sync.close()
            await send(event)

        return told

    async def _serve_peer(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (await receive())["type"] != "websocket.connect":
            return
        admitted = await admit(self.hub, Request(_mended(scope)))
        if isinstance(admitted, Response):
            await _refuse(admitted, scope, receive, send)
            return
        session = Session(admitted)
        channel = _Channel(session, scope, receive, send)
        try:
            await channel.accept()
        except Exception:
            # The client left in the middle of its handshake: no peer, so no hook has anything to close.
            session.abandon()
            return
        except BaseException:
            session.abandon()
            raise
        await Connection(session, channel, has_heartbeat=channel.has_heartbeat).run()
        await channel.leave()


class _Channel:
    """One accepted ASGI connection."""

    def __init__(self, session: Session, scope: Scope, receive: Receive, send: Send) -> None:
        self._session = session
        self._send = send
        self._control: Control | None = scope.get("extensions", {}).get(CONTROL)
        self._dialect = dialect_of(scope)
        self._unread = _Unread(receive) if self._dialect.closes_unread else None
        self._receive = receive if self._unread is None else self._unread
        known = self._dialect if self._control is None else self._control
        self.capabilities: Capabilities = known.capabilities
        self.has_heartbeat: Final = self._control is not None
        self.protocol = session.accepted.protocol or ""
        self.extensions = ""
        self.details = CloseDetails(CloseCode.ABNORMAL, "", was_clean=False)
        self._aborted = False
        self._said: CloseDetails | None = None
        """What our close frame said."""

    async def accept(self) -> None:
        accepted = self._session.accepted
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in accepted.header_pairs]
        if headers and not self.capabilities.response_headers:
            tell_once("headers that upgrade answers do not reach the client")
        await self._send({"type": "websocket.accept", "subprotocol": accepted.protocol, "headers": headers})
        if self._control is not None:
            self._control.attach(self._session)
            self.extensions = self._control.extensions

    async def incoming(self) -> AsyncIterator[str | bytes]:
        while True:
            event = await self._receive()
            if event["type"] == "websocket.disconnect":
                self.details = self._details(event)
                return
            text: str | None = event.get("text")
            yield text if text is not None else event["bytes"]

    async def send(self, item: Outgoing) -> None:
        kind, data = ("text" if item.is_text else "bytes"), item.data
        if not data and item.is_text and self._dialect.takes_empty_for_none:
            data = _EMPTY
        await self._send({"type": "websocket.send", kind: data})

    async def close(self, code: int, reason: str, *, now: bool) -> None:
        if self._control is None:
            self._said = CloseDetails(code, reason)
        elif now:
            self._control.close(code, reason)
            return
        async with contextlib.nullcontext() if self._unread is None else self._unread:
            await self._send_close(code, reason)

    def ping(self, data: bytes) -> None:
        if self._control is not None:
            self._control.ping(data)

    def abort(self) -> None:
        self._aborted = True
        if self._control is not None:
            self._control.abort()

    async def leave(self) -> None:
        """The application is about to return, which is what ends a connection that was dropped."""
        if self._aborted and self._dialect.stays_open:
            with contextlib.suppress(Exception):
                await self._send_close(CloseCode.INTERNAL_ERROR, "")

    async def _send_close(self, code: int, reason: str) -> None:
        await self._send({"type": "websocket.close", "code": self._on_the_wire(code), "reason": reason})

    def _on_the_wire(self, code: int) -> int:
        low = CloseCode.NORMAL < code < 3000
        # No member of an enumeration: daphne takes an `int` and nothing else.
        return code + 2000 if low and not self.capabilities.low_close_codes else int(code)

    def _details(self, event: Any) -> CloseDetails:
        code, reason = event.get("code"), event.get("reason")
        # None: the code of a close frame without one, in daphne. Others have an enumeration of their own.
        code = CloseCode.NO_STATUS if code is None else int(code)
        said = self._said
        if said is not None and code in (self._on_the_wire(said.code), CloseCode.NORMAL, CloseCode.NO_STATUS):
            # The answer to our close frame, of which some servers say nothing but that it came.
            return said
        if code == CloseCode.NO_STATUS and reason is None and self._dialect.loss_has_no_reason:
            code = CloseCode.ABNORMAL
        return CloseDetails(code, reason or "", was_clean=event.get("was_clean", code != CloseCode.ABNORMAL))


class _Unread:
    """A `receive` that is taken back for as long as the context lasts, for `Dialect.closes_unread`."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._reader: asyncio.Task[Any] | None = None
        self._idle = asyncio.Event()
        self._idle.set()
        self._may_read = asyncio.Event()
        self._may_read.set()

    async def __call__(self) -> Any:
        while True:
            await self._may_read.wait()
            self._reader = reader = asyncio.current_task()
            self._idle.clear()
            try:
                return await self._receive()
            except asyncio.CancelledError:
                if self._may_read.is_set() or reader is None or reader.uncancel() > 0:
                    raise
            finally:
                self._reader = None
                self._idle.set()

    async def __aenter__(self) -> None:
        self._may_read.clear()
        if self._reader is not None:
            self._reader.cancel()
        await self._idle.wait()

    async def __aexit__(self, *_: object) -> None:
        self._may_read.set()


class _Empty(str):
    """An empty text that is true, for servers that take an empty one for none."""

    __slots__ = ()

    def __bool__(self) -> bool:
        return True


_EMPTY: Final = _Empty()


def _mended(scope: Scope) -> Scope:
    """Put right what single servers get wrong in a handshake."""
    client = scope.get("client")
    if client is not None and isinstance(client[1], str):
        # granian
        scope = {**scope, "client": (client[0], int(client[1]))}
    offered, headers = scope.get("subprotocols"), scope["headers"]
    if offered and all(name != b"sec-websocket-protocol" for name, _ in headers):
        # uvicorn on wsproto
        line = (b"sec-websocket-protocol", ", ".join(offered).encode("latin-1"))
        scope = {**scope, "headers": [*headers, line]}
    return scope


async def _refuse(response: Response, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a handshake with a response where the server can (`DENIAL`), else with its 403."""
    try:
        if DENIAL in scope.get("extensions", {}):
            await response(scope, receive, send)
        else:
            tell_once("every refusal is a bare 403")
            await send({"type": "websocket.close", "code": CloseCode.POLICY, "reason": ""})
    except OSError:
        pass  # The client did not wait for its answer.


async def _no_lifespan(scope: Scope, receive: Receive, send: Send) -> None:
    while True:
        event = await receive()
        await send({"type": f"{event['type']}.complete"})
        if event["type"] == "lifespan.shutdown":
            return

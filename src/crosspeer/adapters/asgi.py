"""Hooks on any ASGI server, alone or mounted in Starlette, FastAPI, Litestar, Quart or Django Channels.

```python
from crosspeer.adapters import asgi

app = asgi.Adapter(Chat())                # or asgi.Adapter(hub, http=other_asgi_app)
```
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final, Protocol

from starlette.responses import PlainTextResponse, Response

from crosspeer.adapters.dialects import DENIAL, dialect_of
from crosspeer.core.hooks import CloseDetails, HooksLike
from crosspeer.core.hub import Hub, as_hub
from crosspeer.core.request import HUB_KEY, Request
from crosspeer.core.session import Session
from crosspeer.runtime.connection import Connection
from crosspeer.runtime.handshake import admit
from crosspeer.wire.closing import CloseCode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.types import ASGIApp, Receive, Scope, Send

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
        if scope["type"] == "websocket":
            await self._serve_peer(scope, receive, send)
        elif self._http is not None:
            await self._http({**scope, HUB_KEY: self.hub}, receive, send)
        elif scope["type"] == "lifespan":
            await _no_lifespan(receive, send)
        else:
            answer = PlainTextResponse("WebSocket upgrade is required.", 426, {"upgrade": "websocket"})
            await answer(scope, receive, send)

    async def _serve_peer(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (await receive())["type"] != "websocket.connect":
            return
        admitted = await admit(self.hub, Request(_with_port(scope)))
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
        self._receive = receive
        self._send = send
        self._control: Control | None = scope.get("extensions", {}).get(CONTROL)
        self._dialect = dialect_of(scope)
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
        await self._send({"type": "websocket.close", "code": code, "reason": reason})

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
                await self._send({"type": "websocket.close", "code": CloseCode.INTERNAL_ERROR})

    def _details(self, event: Any) -> CloseDetails:
        code, reason = event.get("code"), event.get("reason")
        # None: the code of a close frame without one, in daphne. Others have an enumeration of their own.
        code = CloseCode.NO_STATUS if code is None else int(code)
        if self._said is not None and code in (self._said.code, CloseCode.NORMAL, CloseCode.NO_STATUS):
            # The answer to our close frame, of which some servers say nothing but that it came.
            return self._said
        if code == CloseCode.NO_STATUS and reason is None and self._dialect.loss_has_no_reason:
            code = CloseCode.ABNORMAL
        return CloseDetails(code, reason or "", was_clean=event.get("was_clean", code != CloseCode.ABNORMAL))


class _Empty(str):
    """An empty text that is true, for servers that take an empty one for none."""

    __slots__ = ()

    def __bool__(self) -> bool:
        return True


_EMPTY: Final = _Empty()


def _with_port(scope: Scope) -> Scope:
    """Granian gives the client's port as a string."""
    client = scope.get("client")
    if client is not None and isinstance(client[1], str):
        return {**scope, "client": (client[0], int(client[1]))}
    return scope


async def _refuse(response: Response, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a handshake with a response where the server can (`DENIAL`), else with its 403."""
    try:
        if DENIAL in scope.get("extensions", {}):
            await response(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": CloseCode.POLICY, "reason": ""})
    except OSError:
        pass  # The client did not wait for its answer.


async def _no_lifespan(receive: Receive, send: Send) -> None:
    while True:
        event = await receive()
        await send({"type": f"{event['type']}.complete"})
        if event["type"] == "lifespan.shutdown":
            return

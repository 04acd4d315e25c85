"""Hooks on the server of the `websockets` library.

```python
from crosspeer.adapters.websockets import Adapter

async with Adapter(Chat()).serve("127.0.0.1", 3000):      # or Adapter(hub)
    await asyncio.get_running_loop().create_future()
```
"""

from __future__ import annotations

import asyncio
import functools
import http
from contextlib import asynccontextmanager
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, Final

from crosspeer.adapters._extras import extra
from crosspeer.core.hooks import CloseDetails
from crosspeer.core.hub import Hub, as_hub
from crosspeer.core.session import Session
from crosspeer.core.transport import Capabilities
from crosspeer.runtime.budget import BURST, RATE, Budget
from crosspeer.runtime.connection import Connection
from crosspeer.runtime.deflating import wanted
from crosspeer.runtime.drain import drain
from crosspeer.runtime.framed import HIGH_WATER, LOST
from crosspeer.runtime.negotiation import Accepted, negotiate, request_of
from crosspeer.wire.closing import CloseCode

with extra("websockets"):
    from websockets.asyncio.server import ServerConnection, broadcast, serve
    from websockets.datastructures import Headers
    from websockets.exceptions import ConnectionClosed
    from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
    from websockets.frames import Frame, Opcode
    from websockets.http11 import Response
    from websockets.protocol import OPEN
    from websockets.typing import Subprotocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from websockets.asyncio.server import Server
    from websockets.http11 import Request as Handshake
    from websockets.protocol import Event

    from crosspeer.core.admission import Admission
    from crosspeer.core.hooks import HooksLike
    from crosspeer.core.limits import Limits
    from crosspeer.core.outgoing import Outgoing
    from crosspeer.core.request import Request
    from crosspeer.wire.deflate import Deflate
    from crosspeer.wire.handshake import Refusal

    ProcessRequest = Callable[[ServerConnection, Handshake], Awaitable[Response | None] | Response | None]

CAPABILITIES: Final = Capabilities()
"""Everything."""


class Adapter:
    """Serves peers, as the handler of `websockets.asyncio.server.serve`.

    Args:
        hooks: hooks in any form, or a hub.
        shutdown_timeout: seconds that `shutdown` takes at most.
    """

    def __init__(self, hooks: HooksLike | Hub, *, shutdown_timeout: float = 10.0) -> None:
        self.hub: Final = as_hub(hooks)
        self._shutdown_timeout = shutdown_timeout

    @asynccontextmanager
    async def serve(self, host: str | None = None, port: int | None = None, **options: Any) -> AsyncIterator[Server]:
        """Serve meanwhile; peers are closed with 1012 in the end.

        Args:
            options: what `websockets.asyncio.server.serve` takes beside the handler, `sock` and `ssl` for instance. A
                `process_request` is asked first; with a response it has the last word.
        """
        async with serve(self, host, port, **self.options(**options)) as server:
            try:
                yield server
            finally:
                await self.shutdown()

    def options(self, *, process_request: ProcessRequest | None = None, **more: Any) -> dict[str, Any]:
        """The options for those who call the library themselves: `serve(adapter, host, port, **adapter.options())`.

        All limits and times are the hub's, and whether to compress.
        """
        limits = self.hub.limits
        return {
            "process_request": functools.partial(self._process_request, process_request),
            "create_connection": functools.partial(PeerConnection, limits=limits),
            "compression": None,
            # Both are kept by ours: the library's pings drop a peer whose pongs wait behind a slow hook.
            "open_timeout": None,
            "ping_interval": None,
            "close_timeout": limits.close_timeout,
            "max_size": limits.max_message_size,
            "write_limit": (HIGH_WATER, 0),
            **more,
        }

    async def shutdown(self) -> None:
        """Close all peers with 1012 and wait for their last hooks. `serve` does it in the end."""
        await drain(self.hub, within=self._shutdown_timeout)

    async def __call__(self, connection: ServerConnection) -> None:
        """The connection handler."""
        if not isinstance(connection, PeerConnection) or connection.admission is None:
            raise TypeError(
                "serve it by adapter.serve(...), or by websockets' serve(adapter, ..., **adapter.options())"
            )
        session = connection.session = Session(connection.admission)
        connection.admission = None
        await Connection(session, _Channel(session, connection), keeps_alive=True).run()

    async def _process_request(
        self, first: ProcessRequest | None, connection: PeerConnection, handshake: Handshake
    ) -> Response | None:
        answer = None if first is None else first(connection, handshake)
        if isawaitable(answer):
            answer = await answer
        if answer is not None:
            return answer
        accepting = await negotiate(self.hub, _request(connection, handshake))
        if not isinstance(accepting, Accepted):
            return _refusal(accepting)
        admission, accepted = accepting.admission, accepting.admission.accepted
        connection.protocol.available_extensions = _extensions(wanted(self.hub, accepted.compress))
        response = connection.protocol.accept(handshake)
        if response.status_code != http.HTTPStatus.SWITCHING_PROTOCOLS:
            admission.release()
            return response
        if accepted.protocol is not None:
            response.headers["Sec-WebSocket-Protocol"] = accepted.protocol
            connection.protocol.subprotocol = Subprotocol(accepted.protocol)
        for name, value in accepted.header_pairs:
            # They are added: these headers are no dict.
            response.headers[name] = value
        if connection.connection_lost_waiter.done():
            # The client left in the middle of its handshake: no peer, so no hook has anything to close.
            admission.release()
        else:
            connection.admission = admission
        return response


class PeerConnection(ServerConnection):
    """The library's connection with what it leaves out: pings for hooks, and deadlines for silent clients."""

    def __init__(self, *args: Any, limits: Limits, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.admission: Admission | None = None
        """From the accepted handshake until the handler takes it."""
        self.session: Session | None = None
        self._limits = limits
        self._budget = Budget(RATE, BURST)
        self._deadline: asyncio.TimerHandle | None = None

    async def handshake(self, *args: Any, **kwargs: Any) -> None:
        async with asyncio.timeout(self._limits.handshake_timeout):
            await asyncio.wait([self.request_rcvd, self.connection_lost_waiter], return_when=asyncio.FIRST_COMPLETED)
        await super().handshake(*args, **kwargs)

    def process_event(self, event: Event) -> None:
        super().process_event(event)
        if self.session is None or not isinstance(event, Frame) or event.opcode not in (Opcode.PING, Opcode.PONG):
            return
        if not self._budget.allows(self.loop.time()):
            self.protocol.fail(CloseCode.POLICY, "too many pings")
            self.send_data()
        elif event.opcode is Opcode.PING:
            self.session.pinged(bytes(event.data))
        else:
            self.session.ponged(bytes(event.data))

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._deadline is None and self.protocol.close_expected():
            # The library leaves it to the other side when the connection ends.
            self._deadline = self.loop.call_later(self._limits.close_timeout, self.transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._deadline is not None:
            self._deadline.cancel()
        if self.admission is not None:
            self.admission.release()
            self.admission = None


class _Channel:
    """One accepted connection."""

    capabilities = CAPABILITIES

    def __init__(self, session: Session, connection: PeerConnection) -> None:
        self._connection = connection
        self.protocol = session.accepted.protocol or ""
        response = connection.response
        self.extensions = "" if response is None else response.headers.get("Sec-WebSocket-Extensions", "")

    async def incoming(self) -> AsyncIterator[str | bytes]:
        while True:
            try:
                message = await self._connection.recv()
            except ConnectionClosed:
                return
            yield message

    @property
    def details(self) -> CloseDetails:
        received, sent = self._connection.protocol.close_rcvd, self._connection.protocol.close_sent
        if received is not None and sent is not None:
            return CloseDetails(received.code, received.reason)
        # Without an answer ours counts: it says what the client did wrong.
        return LOST if sent is None else CloseDetails(sent.code, sent.reason, was_clean=False)

    async def send(self, item: Outgoing) -> None:
        await self._connection.send(item.payload, text=item.is_text)
        if self._connection.connection_lost_waiter.done():
            raise ConnectionResetError("the connection is lost")

    def send_now(self, item: Outgoing) -> bool:
        connection = self._connection
        if connection.transport.get_write_buffer_size() + item.size > HIGH_WATER:
            return False
        broadcast((connection,), item.payload, text=item.is_text)
        return True

    async def close(self, code: int, reason: str, *, now: bool) -> None:
        await self._connection.close(code, reason)

    def ping(self, data: bytes) -> None:
        if self._connection.state is OPEN:
            self._connection.protocol.send_ping(data)
            self._connection.send_data()

    def abort(self) -> None:
        self._connection.transport.abort()


def _request(connection: ServerConnection, handshake: Handshake) -> Request:
    return request_of(
        handshake.method,
        _bytes(handshake.path),
        [(_bytes(name), _bytes(value)) for name, value in handshake.headers.raw_items()],
        client=connection.remote_address,
        secure=connection.transport.get_extra_info("ssl_object") is not None,
        http_version=handshake.protocol.removeprefix("HTTP/"),
    )


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _extensions(config: Deflate | None) -> list[ServerPerMessageDeflateFactory] | None:
    """The library's own compression, which knows no threshold."""
    if config is None:
        return None
    factory = ServerPerMessageDeflateFactory(
        server_no_context_takeover=config.server_no_context_takeover,
        client_no_context_takeover=config.client_no_context_takeover,
        server_max_window_bits=config.server_max_window_bits,
        client_max_window_bits=config.client_max_window_bits,
        compress_settings={"level": config.level},
    )
    return [factory]


def _refusal(answer: Refusal) -> Response:
    headers = Headers((name.decode("latin-1"), value.decode("latin-1")) for name, value in answer.headers)
    if "content-length" not in headers:
        headers["content-length"] = str(len(answer.body))
    headers["connection"] = "close"
    try:
        phrase = http.HTTPStatus(answer.status).phrase
    except ValueError:
        phrase = ""
    return Response(answer.status, phrase, headers, answer.body)

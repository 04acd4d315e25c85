"""Hooks on a picows server.

```python
from crosspeer.adapters.picows import Adapter

server = await Adapter(Chat()).create_server("127.0.0.1", 3000)      # or Adapter(hub)
await server.serve_forever()
```

picows reads the handshake and the frames, in C. It sends its 101 before an `async` hook could be asked, knows no client
address by then, and checks neither UTF-8 nor the order of fragments: all that is done here.
"""

from __future__ import annotations

import asyncio
from collections import deque
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from crosspeer.adapters._extras import extra
from crosspeer.core.hooks import CloseDetails
from crosspeer.core.hub import Hub, as_hub
from crosspeer.core.session import Session
from crosspeer.core.transport import Capabilities
from crosspeer.runtime.connection import Connection
from crosspeer.runtime.drain import drain
from crosspeer.runtime.framed import HIGH_WATER, LOST, FramedChannel
from crosspeer.runtime.negotiation import Accepted, negotiate, request_of
from crosspeer.runtime.takeover import TransportSink
from crosspeer.runtime.tasks import Tasks
from crosspeer.wire.frames import CLOSE, ProtocolError
from crosspeer.wire.handshake import check_handshake, is_upgrade, refusal

with extra("picows"):
    from picows import (
        WSFrame,
        WSListener,
        WSTransport,
        WSUpgradeRequest,
        WSUpgradeResponse,
        WSUpgradeResponseWithListener,
        ws_create_server,
    )

if TYPE_CHECKING:
    from collections.abc import Callable

    from crosspeer.core.hooks import HooksLike
    from crosspeer.core.request import Request
    from crosspeer.wire.handshake import Headers

    HTTPHandler = Callable[[WSUpgradeRequest], WSUpgradeResponse | None]

CAPABILITIES: Final = Capabilities()
"""Everything."""
FRAME_COST: Final = 128
"""Bytes that a waiting frame takes beside its payload."""


class Adapter:
    """Serves peers, as the listener factory of `picows.ws_create_server`.

    Args:
        hooks: hooks in any form, or a hub.
        http: answers plain GET requests, in picows's own terms; None is 404. Without one they are answered 426.
        shutdown_timeout: seconds that `shutdown` takes at most.
    """

    def __init__(
        self, hooks: HooksLike | Hub, *, http: HTTPHandler | None = None, shutdown_timeout: float = 10.0
    ) -> None:
        self.hub: Final = as_hub(hooks)
        self._tasks: Final = Tasks()
        self._http = http
        self._shutdown_timeout = shutdown_timeout

    async def create_server(self, host: str | None = None, port: int | None = None, **options: Any) -> asyncio.Server:
        """Listen. The options are those of `picows.ws_create_server`, `sock` and `ssl` for instance."""
        return await ws_create_server(self, host, port, **self.options(**options))

    def options(self, **more: Any) -> dict[str, Any]:
        """The options for those who call the library themselves: `ws_create_server(adapter, **adapter.options())`.

        All limits are the hub's. The library's pings are off: they would drop a peer whose pongs wait behind a slow
        hook, and it could not have a longer time to answer than between two of them.
        """
        limits = self.hub.limits
        return {
            "websocket_handshake_timeout": limits.handshake_timeout,
            "max_frame_size": limits.max_message_size,
            "enable_auto_ping": False,
            "enable_auto_pong": False,
            **more,
        }

    async def shutdown(self) -> None:
        """Close all peers with 1012 and wait for their last hooks. Closing an `asyncio.Server` leaves them alone."""
        await drain(self.hub, within=self._shutdown_timeout)

    def __call__(self, request: WSUpgradeRequest) -> WSUpgradeResponseWithListener | None:
        """The listener factory."""
        headers = _headers(request)
        if self._http is not None and not is_upgrade("1.1", headers):
            response = self._http(request)
            return None if response is None else WSUpgradeResponseWithListener(response, None)
        wrong = check_handshake("GET", "1.1", headers)
        if wrong is not None:
            return WSUpgradeResponseWithListener(_Written(wrong.status, refusal(wrong)), None)
        # picows wants to see this alone; Firefox sends "keep-alive, Upgrade".
        request.headers["connection"] = "Upgrade"
        listener = _Listener(self, request.path, headers)
        return WSUpgradeResponseWithListener(_Written(HTTPStatus.SWITCHING_PROTOCOLS, b""), listener)


class _Written(WSUpgradeResponse):
    """An answer whose bytes are ours. The 101 has none yet: the listener writes it, once the peer is admitted."""

    def __init__(self, status: int, data: bytes) -> None:
        blank = WSUpgradeResponse.create_101_response()
        self.version, self.headers, self.body = blank.version, blank.headers, None
        self.status = status  # type: ignore[assignment] # Any number, and only compared.
        self._data = data

    def to_bytes(self) -> bytearray:
        return bytearray(self._data)


class _Listener(WSListener):
    """One connection, from its handshake to its end."""

    def __init__(self, adapter: Adapter, target: bytes, headers: Headers) -> None:
        self._adapter = adapter
        self._target = target
        self._headers = headers
        self._transport: asyncio.Transport
        self._sink: TransportSink
        self._negotiation: asyncio.Task[None] | None = None
        self._channel: FramedChannel | None = None
        self._connection: _Connection | None = None
        self._waiting: deque[tuple[int, bytes]] = deque()
        """Frames that came before the peer was admitted, and those that picows had read before it could be paused."""
        self._waiting_size = 0
        self._ended = False
        self._deadline: asyncio.TimerHandle | None = None

    # WSListener.

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport.underlying_transport
        self._sink = TransportSink(self._transport)
        self._negotiation = self._adapter._tasks.start(self._negotiate(self._request(transport)))

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if self._ended:
            return
        # A bit each, as on the wire.
        first = frame.fin << 7 | frame.rsv1 << 6 | frame.rsv2 << 5 | frame.rsv3 << 4 | frame.msg_type.value
        payload = frame.get_payload_as_bytes()
        if self._waiting or self._connection is None or self._connection.is_paused:
            self._wait(first, payload)
        else:
            self._take(first, payload)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        if self._channel is None:
            # The client left in the middle of its handshake: no peer, so no hook has anything to close.
            if self._negotiation is not None:
                self._negotiation.cancel()
            return
        self._sink.resume_writing()
        closing: Any = transport.close_handshake
        if self._channel.details is LOST and closing is not None and closing.sent is not None:
            # picows has closed: the client broke the protocol in a way that it looks for.
            self._channel.details = CloseDetails(closing.sent.code.value, closing.sent.reason, was_clean=False)
        self._end()

    def pause_writing(self) -> None:
        self._sink.pause_writing()

    def resume_writing(self) -> None:
        self._sink.resume_writing()

    # For the connection.

    def pause_reading(self) -> None:
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        # Not from inside the hook that made room.
        asyncio.get_running_loop().call_soon(self._go_on)

    # Inside.

    def _request(self, transport: WSTransport) -> Request:
        peername = self._transport.get_extra_info("peername")
        return request_of("GET", self._target, self._headers, client=peername, secure=transport.is_secure)

    async def _negotiate(self, request: Request) -> None:
        try:
            answer = await negotiate(self._adapter.hub, request)
        except Exception:
            # Nobody else would answer.
            self._transport.abort()
            raise
        if not isinstance(answer, Accepted):
            self._transport.write(refusal(answer))
            self._transport.close()
        elif self._transport.is_closing():
            answer.release()
        else:
            self._accept(answer)

    def _accept(self, accepted: Accepted) -> None:
        self._transport.write(accepted.head)
        session = Session(accepted.admission)
        self._channel = FramedChannel(session, self._sink, accepted.deflating)
        self._connection = _Connection(self, session, self._channel)
        self._connection.start()
        self._go_on()

    def _wait(self, first: int, payload: bytes) -> None:
        self._waiting.append((first, payload))
        self._waiting_size += FRAME_COST + len(payload)
        if self._waiting_size > HIGH_WATER:
            self._transport.pause_reading()

    def _go_on(self) -> None:
        """Take what waits, as far as the hooks let us, then read on."""
        while self._waiting and not self._ended:
            if self._connection is None or self._connection.is_paused:
                return
            first, payload = self._waiting.popleft()
            self._waiting_size -= FRAME_COST + len(payload)
            self._take(first, payload)
        if self._connection is not None and not self._connection.is_paused:
            self._transport.resume_reading()

    def _take(self, first: int, payload: bytes) -> None:
        channel, connection = self._channel, self._connection
        assert channel is not None
        assert connection is not None
        try:
            event = channel.reader.take(first, payload)
            if event is None:
                return
            opcode, data = event
            if opcode < CLOSE:
                connection.received(data)
            elif channel.control(opcode, payload):
                self._end()
        except ProtocolError as error:
            channel.fail(error)
            self._end()

    def _end(self) -> None:
        """The session knows how it ended; the connection gets a little time to end too."""
        if self._ended or self._connection is None:
            return
        self._ended = True
        self._adapter._tasks.start(self._connection.end())
        if not self._transport.is_closing():
            self._transport.resume_reading()
            timeout = self._adapter.hub.limits.close_timeout
            self._deadline = asyncio.get_running_loop().call_later(timeout, self._transport.abort)


class _Connection(Connection):
    """The transport of a session whose messages come by callbacks."""

    def __init__(self, listener: _Listener, session: Session, channel: FramedChannel) -> None:
        super().__init__(session, channel, keeps_alive=True)
        self._listener = listener

    def pause_reading(self) -> None:
        super().pause_reading()
        self._listener.pause_reading()

    def resume_reading(self) -> None:
        super().resume_reading()
        self._listener.resume_reading()


def _headers(request: WSUpgradeRequest) -> Headers:
    return [
        (name.lower().encode("ascii", "surrogateescape"), value.encode("ascii", "surrogateescape"))
        for name, value in request.headers.items()
    ]

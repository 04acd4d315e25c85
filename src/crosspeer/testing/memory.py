"""Hooks in memory: the reference that every adapter is measured against, and the client for users' tests."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote
from weakref import WeakKeyDictionary

from starlette.datastructures import Headers
from starlette.responses import Response

from crosspeer.core.hooks import CloseDetails, Hooks, HooksLike
from crosspeer.core.hub import Hub, as_hub
from crosspeer.core.request import Request
from crosspeer.core.session import Session
from crosspeer.core.transport import Capabilities
from crosspeer.runtime.connection import Connection
from crosspeer.runtime.handshake import admit, rendered
from crosspeer.server.routes import Routes
from crosspeer.testing.client import DEFAULT_TIMEOUT, Client, Connecting, ConnectionClosed, HandshakeRefused
from crosspeer.wire.closing import CloseCode, check_close

if TYPE_CHECKING:
    from crosspeer.core.outgoing import Outgoing

WINDOW: Final = 64 * 1024
"""Bytes that a client holds unread before its server is held up, as a socket's buffers would."""

_hubs: WeakKeyDictionary[Hooks, Hub] = WeakKeyDictionary()


class connect(Connecting["MemoryClient"]):
    """Connect to hooks in memory: no server, no socket, no port.

    ```python
    async with connect(Chat(), "/rooms/lobby?name=Ada") as client: ...
    client = await connect(hub, "/rooms/lobby", origin="https://example.com")
    ```

    Clients of one `Hooks` instance, or of one hub, meet each other.

    Args:
        hooks: hooks in any form, a hub, or `Routes`.
        path: the path with its query.
        headers: of the request, as a mapping or as pairs.
        origin: the `Origin` header, as a browser would send it.
        subprotocols: what the client offers.
        timeout: seconds for the handshake, and for each call of the client that has none of its own.
        client: the address that the server sees.

    Raises (when it is awaited or entered):
        HandshakeRefused: with the status, headers and body of the answer.
    """

    def __init__(
        self,
        hooks: HooksLike | Hub | Routes,
        path: str = "/",
        *,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
        origin: str | None = None,
        subprotocols: Iterable[str] = (),
        timeout: float = DEFAULT_TIMEOUT,
        client: tuple[str, int] = ("127.0.0.1", 50_000),
    ) -> None:
        self._hub = _hub_of(hooks)
        self._scope = _scope(path, headers, origin, list(subprotocols), client)
        self._timeout = timeout

    async def _open(self) -> MemoryClient:
        async with asyncio.timeout(self._timeout):
            admitted = await admit(self._hub, Request(self._scope))
            if isinstance(admitted, Response):
                answer = await rendered(admitted)
                raise HandshakeRefused(answer.status, Headers(raw=answer.headers), answer.body)
        client = MemoryClient(Session(admitted), self._timeout)
        try:
            # One turn of the loop: the peer is there and `open` has begun when the caller goes on.
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            client.terminate()
            raise
        return client


class MemoryClient(Client):
    """The client's end of a connection in memory."""

    def __init__(self, session: Session, timeout: float) -> None:
        accepted = session.accepted
        super().__init__(accepted.protocol or "", Headers(raw=_raw(accepted.header_pairs)), timeout)
        self._channel = _Channel(session, self)
        self._unread: deque[str | bytes] = deque()
        self._unread_size = 0
        self._frozen = False
        self._changed = asyncio.Condition()
        self._server = asyncio.create_task(Connection(session, self._channel).run())

    def terminate(self) -> None:
        self._ended(CloseCode.ABNORMAL, "")
        self._channel.end(CloseDetails(CloseCode.ABNORMAL, "", was_clean=False))

    def freeze(self) -> None:
        self._frozen = True

    async def ping(self, data: bytes = b"") -> None:
        if self.close_code is not None:
            raise ConnectionClosed(self.close_code, self.close_reason)
        await self._within(None, self._channel.put(_Ping(data)))

    async def _send(self, data: str | bytes) -> None:
        await self._channel.put(data)

    async def _receive(self) -> str | bytes:
        async with self._changed:
            await self._changed.wait_for(lambda: self._unread or self.close_code is not None)
            if self._unread:
                data = self._unread.popleft()
                self._unread_size -= len(data)
                self._changed.notify_all()
                return data
        assert self.close_code is not None
        await self._finish()
        raise ConnectionClosed(self.close_code, self.close_reason)

    async def _close(self, code: int, reason: str) -> None:
        if code != CloseCode.NO_STATUS:
            check_close(code, reason)
        self._ended(code, reason)
        self._channel.end(CloseDetails(code, reason, was_clean=True))
        await self._finish()

    async def _finish(self) -> None:
        """The server's last hook has ended too, so that a test may look at what it did."""
        await asyncio.wait({self._server})

    async def _take(self, data: str | bytes) -> None:
        """The server sends: wait while too much is unread, as a socket would make it."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._unread_size < WINDOW or self.close_code is not None)
            self._unread.append(data)
            self._unread_size += len(data)
            self._changed.notify_all()

    def _ended(self, code: int, reason: str) -> None:
        if self.close_code is None:
            self.close_code, self.close_reason = code, reason
            self._wake = asyncio.ensure_future(self._notify())

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()


@dataclass(frozen=True, slots=True)
class _Ping:
    data: bytes


class _Channel:
    """The server's end. The client answers a close frame and a ping at once, as browsers do."""

    capabilities = Capabilities()
    extensions = ""

    def __init__(self, session: Session, client: MemoryClient) -> None:
        self.session = session
        self.protocol = session.accepted.protocol or ""
        self.details = CloseDetails(CloseCode.ABNORMAL, "", was_clean=False)
        self._client = client
        self._arriving: deque[str | bytes | _Ping] = deque()
        self._is_over = False
        self._news = asyncio.Event()
        self._read = asyncio.Event()

    async def put(self, data: str | bytes | _Ping) -> None:
        """Hand a message over; wait while the one before is not read yet."""
        while self._arriving and not self._is_over:
            self._read.clear()
            await self._read.wait()
        self._arriving.append(data)
        self._news.set()

    def end(self, details: CloseDetails) -> None:
        """The connection is over, once what arrived is read."""
        if not self._is_over:
            self._is_over = True
            self.details = details
            self._news.set()
            self._read.set()

    async def incoming(self) -> AsyncIterator[str | bytes]:
        while True:
            while not self._arriving:
                if self._is_over:
                    return
                self._news.clear()
                await self._news.wait()
            arrived = self._arriving.popleft()
            self._read.set()
            if isinstance(arrived, _Ping):
                self.session.pinged(arrived.data)
            else:
                yield arrived

    async def send(self, item: Outgoing) -> None:
        await self._client._take(item.data)

    async def close(self, code: int, reason: str, *, now: bool) -> None:
        self._client._ended(code, reason)
        self.end(CloseDetails(code, reason, was_clean=True))

    def ping(self, data: bytes) -> None:
        if not self._client._frozen:
            asyncio.get_running_loop().call_soon(self.session.ponged, data)

    def abort(self) -> None:
        self._client._ended(CloseCode.ABNORMAL, "")


def _hub_of(hooks: HooksLike | Hub | Routes) -> Hub:
    if isinstance(hooks, Routes):
        return Hub(resolve=hooks.resolve, namespace=hooks.namespace)
    if not isinstance(hooks, Hooks):
        return as_hub(hooks)
    try:
        return _hubs.setdefault(hooks, Hub(hooks))
    except TypeError:  # hooks that cannot be hashed, a dataclass for instance
        return Hub(hooks)


def _scope(
    path: str,
    headers: Mapping[str, str] | Iterable[tuple[str, str]] | None,
    origin: str | None,
    subprotocols: list[str],
    client: tuple[str, int],
) -> dict[str, Any]:
    raw_path, _, query = path.partition("?")
    pairs = [("host", "testserver"), ("connection", "Upgrade"), ("upgrade", "websocket")]
    given = list(headers.items() if isinstance(headers, Mapping) else headers or ())
    if any(name.lower() == "host" for name, _ in given):
        del pairs[0]
    pairs += given
    if origin is not None:
        pairs.append(("origin", origin))
    if subprotocols:
        pairs.append(("sec-websocket-protocol", ", ".join(subprotocols)))
    return {
        "type": "websocket",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "scheme": "ws",
        "server": ("testserver", 80),
        "client": client,
        "root_path": "",
        "path": unquote(raw_path),
        "raw_path": raw_path.encode(),
        "query_string": query.encode(),
        "headers": _raw(pairs),
        "subprotocols": subprotocols,
        "extensions": {"websocket.http.response": {}},
    }


def _raw(headers: Any) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers or ()]

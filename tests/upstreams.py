"""Real upstreams for the proxy: crosspeer's own engines, the `websockets` library, and sockets that say what they like.

And real servers in front of it, whose hooks are the proxy's.
"""

from __future__ import annotations

import asyncio
import functools
import socket
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest
from websockets.asyncio.client import connect as dial
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from crosspeer import CloseDetails, Hub, Limits, Server
from crosspeer.testing import connect as connect_in_memory
from crosspeer.testing import sockets
from crosspeer.testing.contracts.harness import Recorder
from crosspeer.upstream import UpstreamClosed
from plain import plain_uvicorn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from crosspeer import Message, Peer, Request
    from crosspeer.testing.contracts.harness import Connect

FRONTS = ("native", "python", "uvicorn", "plain", "memory")
"""What the proxy's hooks are served by."""
UPSTREAMS = ("native", "python", "websockets")


class Upstream(Recorder):
    """An echo that remembers what it was asked: `request`, `message`, `ping` and `close` are its events."""

    def __init__(self, *, protocol: str | None = None) -> None:
        super().__init__()
        self.url = ""
        self.protocol = protocol
        self.connections: list[Any] = []

    def upgrade(self, request: Request) -> dict[str, Any]:
        path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        self.note("request", (path, request.headers.items(), request.offered_protocols))
        return {"protocol": self.protocol}

    def message(self, peer: Peer, message: Message) -> None:
        self.note("message", message.data)
        peer.send(message.data)

    async def close_all(self, code: int | None, reason: str = "") -> None:
        for peer in self.peers:
            peer.close(code, reason)
        for connection in self.connections:
            await connection.close(code, reason)

    def drop_all(self) -> None:
        for peer in self.peers:
            peer.terminate()
        for connection in self.connections:
            connection.transport.abort()

    async def __call__(self, connection: ServerConnection) -> None:
        """The same for the `websockets` library."""
        request = connection.request
        assert request is not None
        headers = [(name.lower(), value) for name, value in request.headers.raw_items()]
        offered = [
            part.strip() for line in request.headers.get_all("sec-websocket-protocol") for part in line.split(",")
        ]
        self.note("request", (request.path, headers, offered))
        self.connections.append(connection)
        self.note("open", None)
        try:
            while True:
                data = await connection.recv()
                self.note("message", data)
                await connection.send(data)
        except ConnectionClosed as closed:
            code, reason = (closed.rcvd.code, closed.rcvd.reason) if closed.rcvd else (1006, "")
            self.note("close", CloseDetails(code, reason, was_clean=closed.rcvd is not None))


@asynccontextmanager
async def upstream(kind: str, hooks: Upstream | None = None, **options: Any) -> AsyncIterator[Upstream]:
    """Run an upstream of a kind."""
    hooks = hooks or Upstream()
    if kind == "websockets":
        async with serve(hooks, "127.0.0.1", 0, compression=None, ping_interval=None, **options) as server:
            hooks.url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            yield hooks
    else:
        need(kind)
        async with Server(hooks, port=0, engine=kind, shutdown_timeout=3) as running:
            hooks.url = running.url.replace("http", "ws")
            yield hooks


Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def raw_upstream(behave: Behaviour) -> AsyncIterator[str]:
    """A socket that does what `behave` does for each connection, with small buffers."""
    writers: list[asyncio.StreamWriter] = []

    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await behave(reader, writer)

    server = await asyncio.start_server(serve_one, sock=small_listener())
    try:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()


@asynccontextmanager
async def front(kind: str, hooks: Any, *, limits: Limits | None = None, **hub: Any) -> AsyncIterator[Connect]:
    """Serve hooks, the proxy's, by one of `FRONTS`."""
    made = Hub(hooks, limits=limits or Limits(close_timeout=1.0), **hub)
    if kind == "memory":
        yield functools.partial(connect_in_memory, made)
        await made.close()
        return
    need(kind)
    server = plain_uvicorn(made) if kind == "plain" else served(made, kind)
    async with server as url:

        def connect(path: str = "/", **options: Any) -> sockets.connect:
            return sockets.connect(url.replace("http", "ws", 1) + path, **options)

        yield connect


@asynccontextmanager
async def served(hub: Hub, engine: str, listener: socket.socket | None = None) -> AsyncIterator[str]:
    async with Server(hub, port=0, engine=engine, shutdown_timeout=3, sock=listener) as server:
        yield server.url


SMALL: int = 64 * 1024
"""Bytes that the system may hold for a connection with small buffers."""


def small(connection: socket.socket) -> socket.socket:
    """Let the system hold little: what is sent then waits where it is counted. A listener's connections inherit it."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
    return connection


def small_listener() -> socket.socket:
    listener = small(socket.socket())
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    return listener


def small_dial(url: str, *, sock: socket.socket, **options: Any) -> Any:
    """A proxy's `connect` over small buffers."""
    return dial(url, sock=small(sock), **options)


def need(engine: str) -> None:
    """Skip what needs an engine that is not built."""
    if engine == "native":
        pytest.importorskip("crosspeer_engine", reason="the native engine is not built here: it needs cargo")


class Callbacks:
    """Remembers what a proxy calls back."""

    def __init__(self) -> None:
        self.events = Recorder()

    @property
    def options(self) -> dict[str, Any]:
        return {
            "on_upstream_connect": lambda peer, url: self.events.note("connect", url),
            "on_upstream_open": lambda peer, url: self.events.note("open", url),
            "on_upstream_close": lambda peer, closed: self.events.note("close", closed),
        }

    async def closed(self) -> UpstreamClosed:
        closed: UpstreamClosed = await self.events.wait_for("close")
        return closed

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.events.events]


async def echo(client: Any, text: str = "open?") -> None:
    await client.send(text)
    assert await client.receive() == text


async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """An upstream that takes the connection and never answers."""
    while await reader.read(65_536):
        pass

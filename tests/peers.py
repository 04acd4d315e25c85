"""Python peers at a broker of ours, and a broker that says whatever a test wants it to say."""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from crosspeer import Server
from crosspeer.peerjs import Peer, PeerServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from crosspeer.peerjs import DataConnection

NPM = Path(__file__).parent / "interop" / "npm-peerjs" / "node_modules"
"""Where `make setup` puts the npm packages `peer` and `peerjs`, if there is an npm."""
DEADLINE = 20.0
"""Seconds for whatever a test waits for."""
LOCAL: dict[str, Any] = {"iceServers": []}
"""A config without servers: all peers are on this machine."""


@asynccontextmanager
async def own_broker(**options: Any) -> AsyncIterator[dict[str, Any]]:
    """Our own broker on a free port: the options by which a peer finds it."""
    async with Server(PeerServer(**options), port=0, shutdown_timeout=3) as server:
        where = urlsplit(server.url)
        yield {"host": where.hostname, "port": where.port, "config": LOCAL}


class Peers:
    """Makes peers at one broker, and destroys them."""

    def __init__(self, where: dict[str, Any]) -> None:
        self.where = where
        self.made: list[Peer] = []

    def begin(self, id: str | None = None, **options: Any) -> Peer:
        """A peer that is on its way."""
        self.made.append(Peer(id, **{**self.where, "timeout": DEADLINE, **options}))
        return self.made[-1]

    async def open(self, id: str | None = None, **options: Any) -> Peer:
        """A peer that the broker knows."""
        return await self.begin(id, **options)

    async def pair(
        self, *, alice: dict[str, Any] | None = None, bob: dict[str, Any] | None = None, **options: Any
    ) -> Pair:
        """Two peers and an open connection from alice to bob."""
        caller = await self.open("alice", **(alice or {}))
        callee = await self.open("bob", **(bob or {}))
        return await connected(caller, callee, **options)

    async def destroy(self) -> None:
        for peer in self.made:
            async with asyncio.timeout(DEADLINE):
                await peer.destroy()


class Pair:
    """Both ends of a data connection."""

    def __init__(self, here: DataConnection, there: DataConnection) -> None:
        self.here = here
        self.there = there


async def connected(caller: Peer, callee: Peer, **options: Any) -> Pair:
    """Connect two peers."""
    assert callee.id is not None
    incoming = callee.incoming()
    arriving = asyncio.ensure_future(anext(incoming))
    try:
        async with asyncio.timeout(DEADLINE):
            here = await caller.connect(callee.id, **options)
            return Pair(here, await arriving)
    finally:
        arriving.cancel()
        await incoming.aclose()


class Heard:
    """The events of something, in their order."""

    def __init__(self, source: Any, *events: str) -> None:
        self.events: list[tuple[str, Any]] = []
        self._changed = asyncio.Event()
        for event in events or sorted(source.EVENTS):
            source.on(event, self._noting(event))

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.events]

    def of(self, event: str) -> list[Any]:
        return [value for name, value in self.events if name == event]

    async def wait_for(self, event: str, count: int = 1) -> Any:
        """Wait until an event has happened so often, and return its value."""
        await self.until(lambda: len(self.of(event)) >= count)
        return self.of(event)[count - 1]

    async def until(self, is_so: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE):
            while not is_so():
                self._changed.clear()
                await self._changed.wait()

    def _noting(self, event: str) -> Callable[..., None]:
        def note(value: Any = None) -> None:
            self.events.append((event, value))
            self._changed.set()

        return note


async def until(is_so: Callable[[], bool]) -> None:
    """Wait for something that nobody announces."""
    async with asyncio.timeout(DEADLINE):
        while not is_so():
            await asyncio.sleep(0.005)


class ScriptedBroker:
    """A real socket, and no rules: it accepts everybody and says only what the test says."""

    def __init__(self) -> None:
        self.clients: dict[str, ServerConnection] = {}
        """The last socket of each id."""
        self.queries: list[dict[str, str]] = []
        self.frames: list[tuple[str, dict[str, Any]]] = []
        """What came, and from whom."""
        self.greeting: str | None = '{"type":"OPEN"}'
        self.answers: dict[str, tuple[int, bytes]] = {}
        """HTTP answers by the end of the path."""
        self.relay: Callable[[str, dict[str, Any]], None] | None = None
        self.where: dict[str, Any] = {}
        self._changed = asyncio.Event()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[ScriptedBroker]:
        async with serve(self._serve, "127.0.0.1", 0, process_request=self._http, max_size=None) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            self.where = {"host": "127.0.0.1", "port": port, "config": LOCAL}
            yield self

    async def client(self, id: str) -> ServerConnection:
        """The socket of a peer, as soon as there is one."""
        await self._until(lambda: id in self.clients)
        return self.clients[id]

    async def say(self, id: str, message: Any) -> None:
        """Send a frame to a peer: text and bytes as they are, else JSON."""
        client = await self.client(id)
        await client.send(message if isinstance(message, (str, bytes)) else json.dumps(message))

    async def frame(self, type: str, count: int = 1) -> dict[str, Any]:
        """Wait for a message of this type, of anybody."""

        def found() -> list[dict[str, Any]]:
            return [frame for _, frame in self.frames if frame.get("type") == type]

        await self._until(lambda: len(found()) >= count)
        return found()[count - 1]

    async def _until(self, is_so: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE):
            while not is_so():
                self._changed.clear()
                await self._changed.wait()

    def _http(self, connection: ServerConnection, request: Request) -> Response | None:
        path = urlsplit(request.path).path
        for end, (status, body) in self.answers.items():
            if path.endswith(end):
                headers = Headers([("Content-Length", str(len(body))), ("Connection", "close")])
                return Response(status, HTTPStatus(status).phrase, headers, body)
        return None

    async def _serve(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        query = {key: values[0] for key, values in parse_qs(urlsplit(connection.request.path).query).items()}
        self.queries.append(query)
        if self.greeting is not None:
            await connection.send(self.greeting)
        self.clients[query["id"]] = connection
        self._changed.set()
        try:
            async for text in connection:
                frame = json.loads(text)
                self.frames.append((query["id"], frame))
                self._changed.set()
                if self.relay is not None and "dst" in frame:
                    self.relay(query["id"], frame)
        except ConnectionClosed:
            return


@asynccontextmanager
async def npm_broker() -> AsyncIterator[dict[str, Any]]:
    """The npm package `peer`, as its command line runs it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [NPM / ".bin" / "peerjs", "--port", str(port), "--host", "127.0.0.1", "--allow_discovery"]
    process = await asyncio.create_subprocess_exec(*map(str, command), stdout=asyncio.subprocess.PIPE)
    try:
        assert process.stdout is not None
        async with asyncio.timeout(DEADLINE):
            line = await process.stdout.readline()
        assert line.startswith(b"Started PeerServer"), line
        yield {"host": "127.0.0.1", "port": port, "config": LOCAL}
    finally:
        process.kill()
        await process.wait()

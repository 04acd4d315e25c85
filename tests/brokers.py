"""Brokers under test: a clock that is moved by hand, clients that say what `peerjs` says, servers of all kinds."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import json
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode

import uvicorn

from crosspeer import Server
from crosspeer.testing import connect, sockets

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from starlette.types import ASGIApp

    from crosspeer.peerjs import PeerServer
    from crosspeer.testing import Client

OPEN: Final = {"type": "OPEN"}
HEARTBEAT: Final = {"type": "HEARTBEAT"}
OFFER: Final = {"sdp": {"type": "offer", "sdp": "v=0\r\n"}, "type": "data", "connectionId": "dc_1", "reliable": False}


class HandClock:
    """Time that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._timers: list[tuple[float, int, _Timer]] = []
        self._count = itertools.count()

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[], Any]) -> _Timer:
        timer = _Timer(callback)
        heapq.heappush(self._timers, (when, next(self._count), timer))
        return timer

    @property
    def timers(self) -> int:
        """How many are set."""
        return sum(not timer.cancelled for _, _, timer in self._timers)

    async def advance(self, seconds: float) -> None:
        """Let time pass, with turns of the loop in which what was sent arrives."""
        end = self.now + seconds
        while self._timers and self._timers[0][0] <= end:
            when, _, timer = heapq.heappop(self._timers)
            if not timer.cancelled:
                self.now = max(self.now, when)
                timer.callback()
                await settle()
        self.now = end
        await settle()


class _Timer:
    def __init__(self, callback: Callable[[], Any]) -> None:
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


async def settle() -> None:
    """Turns of the loop, enough for a message in memory to arrive and to be answered."""
    for _ in range(20):
        await asyncio.sleep(0)


def query(id: str | None, token: str | None = "t", key: str | None = "peerjs") -> str:
    """The query of a signalling socket, without what is None."""
    given = {"key": key, "id": id, "token": token}
    return urlencode({name: value for name, value in given.items() if value is not None}, quote_via=quote)


class Clients:
    """Clients in memory of one broker, closed at the end."""

    def __init__(self, broker: PeerServer) -> None:
        self.broker = broker
        self._clients: list[Client] = []

    async def dial(
        self, id: str | None = "a", token: str | None = "t", key: str | None = "peerjs", **options: Any
    ) -> Client:
        """Connect, and say nothing of what the broker answers."""
        client = await connect(self.broker.hub, f"/peerjs?{query(id, token, key)}", **options)
        self._clients.append(client)
        return client

    async def join(self, id: str, token: str = "t", **options: Any) -> Client:
        """Connect, and be registered."""
        client = await self.dial(id, token, **options)
        assert await client.receive_json() == OPEN
        return client

    async def close(self) -> None:
        for client in self._clients:
            client.terminate()
        await settle()


def signal(kind: str, dst: Any, payload: Any = None, **more: Any) -> str:
    """A message as `peerjs` writes it."""
    message = {"type": kind, "payload": OFFER if payload is None else payload, "dst": dst, **more}
    return json.dumps(message, separators=(",", ":"))


async def relays(first: Client, first_id: str, second: Client, second_id: str) -> None:
    """A message passes from one client to the other, and nothing else has come before."""
    await first.send(signal("CANDIDATE", second_id, {"n": 1}))
    received = await second.receive_json()
    assert received == {"type": "CANDIDATE", "src": first_id, "dst": second_id, "payload": {"n": 1}}


async def refused(client: Client) -> tuple[dict[str, Any], int]:
    """What a connection that is not taken is told, and the close code behind it."""
    told = await client.receive_json()
    return told, await client.wait_closed()


def error(message: str) -> dict[str, Any]:
    return {"type": "ERROR", "payload": {"msg": message}}


@asynccontextmanager
async def serving(broker: PeerServer, engine: str) -> AsyncIterator[str]:
    """The broker on the default server."""
    async with Server(broker, port=0, engine=engine, shutdown_timeout=5) as server:
        yield server.url


@asynccontextmanager
async def on_uvicorn(app: ASGIApp) -> AsyncIterator[str]:
    """An ASGI application on uvicorn as it comes."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        app, log_level="warning", lifespan="off", timeout_graceful_shutdown=3, ws="websockets-sansio"
    )
    server = uvicorn.Server(config)
    running = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await running
        listener.close()


async def join(url: str, id: str, token: str = "t", key: str = "peerjs", base: str = "/") -> sockets.SocketClient:
    """A client on a real server, registered."""
    client = await sockets.connect(f"{url.replace('http', 'ws', 1)}{base}peerjs?{query(id, token, key)}")
    assert await client.receive_json() == OPEN
    return client

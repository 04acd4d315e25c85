"""Backpressure from one leg of a proxy to the other, with readers that really stop: memory stays bounded both ways."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import tracemalloc
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from crosspeer import Hub, Limits, proxy
from crosspeer.testing.contracts.harness import Recorder
from plain import plain_uvicorn
from raw import BINARY, FIN, PING, Raw, frame
from upstreams import need, raw_upstream, served, small, small_dial, small_listener

MESSAGE = 10_000
COUNT = 1500
"""15 MB."""
MOST = 3_000_000
"""Bytes that may be under way, in the system's buffers and in ours."""
MOST_OURS = 4_000_000
"""Bytes that Python may hold at most: what came early (1 MiB), copies in the making, and the test's own ends."""
FRONTS = ("native", "python", "uvicorn", "plain")

Serve = Callable[[Hub], AbstractAsyncContextManager[str]]


@pytest.fixture(params=FRONTS)
def server(request: pytest.FixtureRequest) -> Serve:
    """What serves the proxy, with small buffers under its connections."""
    need(request.param)
    if request.param == "plain":
        return lambda hub: plain_uvicorn(hub, small_listener())
    return lambda hub: served(hub, request.param, small_listener())


class Scene:
    """A client, its proxy, and what the proxy's peer has seen."""

    def __init__(self, client: Raw, made: Any, recorder: Recorder) -> None:
        self.client, self.made, self.recorder = client, made, recorder

    def stop_reading(self) -> None:
        self.client.writer.transport.pause_reading()  # type: ignore[attr-defined]

    def read_on(self) -> None:
        self.client.writer.transport.resume_reading()  # type: ignore[attr-defined]


@asynccontextmanager
async def scene(server: Serve, handler: Any, **limits: Any) -> AsyncIterator[Scene]:
    # A reader that stops is no dead one here.
    bounds = Limits(**{"ping_interval": None, "close_timeout": 20.0, "max_waiting_messages": 4} | limits)
    recorder = Recorder()
    handlers: list[asyncio.Task[Any]] = []

    async def handle(connection: ServerConnection) -> None:
        handlers.append(asyncio.current_task())  # type: ignore[arg-type]
        with contextlib.suppress(asyncio.CancelledError):
            await handler(connection)

    up = serve(handle, sock=small_listener(), compression=None, ping_interval=None, close_timeout=0.5)
    async with up as running:
        made = proxy(f"ws://127.0.0.1:{running.sockets[0].getsockname()[1]}", connect=small_dial)
        hub = Hub(recorder, resolve=lambda request: made, limits=bounds)
        try:
            async with server(hub) as url, Raw(url) as client:
                small(client.writer.get_extra_info("socket"))
                yield Scene(await client.upgrade(), made, recorder)
        finally:
            # A handler that waits for its test would be waited for.
            for task in handlers:
                task.cancel()


class Progress:
    """Counts what moves, and tells when nothing does any more."""

    def __init__(self) -> None:
        self.bytes = 0

    async def stops(self) -> int:
        """Wait until it has stood still for a while, and say where."""
        async with asyncio.timeout(40):
            seen = -1
            while seen != self.bytes:
                seen = self.bytes
                await asyncio.sleep(0.7)
        return seen


def message(number: int) -> bytes:
    return number.to_bytes(4, "big") * (MESSAGE // 4)


@contextlib.contextmanager
def traced() -> Any:
    """Yields a function that says how much Python has allocated at most since."""
    tracemalloc.start()
    try:
        yield lambda: tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


async def test_a_client_that_does_not_read_holds_the_upstream_up(server: Serve) -> None:
    sent = Progress()

    async def talk(connection: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            for number in range(COUNT):
                await connection.send(message(number))
                sent.bytes += MESSAGE
            await connection.close(4000, "all")

    async with scene(server, talk) as stage:
        stage.stop_reading()
        with traced() as most:
            assert await sent.stops() < MOST
            assert most() < MOST_OURS
        assert stage.recorder.peers[0].buffered_amount <= 2 * 64 * 1024
        assert stage.recorder.of("close") == [], "it is slow, not gone"
        stage.read_on()
        for number in range(COUNT):
            assert await stage.client.frame() == (BINARY, message(number))
        assert await stage.client.close_code() == (4000, "all")


async def test_an_upstream_that_does_not_read_holds_the_client_up(server: Serve) -> None:
    sent, received, go_on = Progress(), Progress(), asyncio.Event()
    all_is_there = asyncio.Event()

    async def listen(connection: ServerConnection) -> None:
        connection.transport.pause_reading()
        await go_on.wait()
        connection.transport.resume_reading()
        for number in range(COUNT):
            assert await connection.recv() == message(number)
            received.bytes += MESSAGE
        all_is_there.set()

    async with scene(server, listen) as stage:

        async def send() -> None:
            for number in range(COUNT):
                stage.client.send(frame(FIN | BINARY, message(number), key=b"\0\0\0\0"))
                await stage.client.writer.drain()
                sent.bytes += MESSAGE

        sending = asyncio.create_task(send())
        try:
            with traced() as most:
                assert await sent.stops() < MOST
                assert most() < MOST_OURS
            assert stage.recorder.of("close") == []
            go_on.set()
            await asyncio.wait_for(all_is_there.wait(), 30)
        finally:
            sending.cancel()
            await asyncio.wait({sending})
        assert received.bytes == COUNT * MESSAGE


async def test_two_sides_that_both_do_not_read_are_let_go_with_the_client(server: Serve) -> None:
    """The hook waits for the upstream, the upstream for the client, and the client leaves."""

    async def behave(connection: ServerConnection) -> None:
        connection.transport.pause_reading()
        with contextlib.suppress(ConnectionClosed):
            while True:
                await connection.send(message(0))

    # So much may wait that the client's end is read, behind all that it has sent.
    async with scene(server, behave, max_waiting_messages=1000, close_timeout=0.5) as stage:
        stage.stop_reading()
        for _ in range(100):
            stage.client.send(frame(FIN | BINARY, message(0), key=b"\0\0\0\0"))
        (link,) = stage.made._links.values()
        async with asyncio.timeout(20):
            while link._watching is None:
                await asyncio.sleep(0.01)
        stage.client.writer.transport.abort()
        await stage.recorder.wait_for("close", timeout=20)
        async with asyncio.timeout(10):
            while stage.made._links or stage.made._tasks:
                await asyncio.sleep(0.01)


async def test_an_upstream_that_reads_late_is_told_how_the_peer_was_closed(server: Serve) -> None:
    """Its hook waited for the upstream when the hub closed it."""
    go_on, told = asyncio.Event(), asyncio.Event()
    seen: list[Any] = []

    async def behave(connection: ServerConnection) -> None:
        connection.transport.pause_reading()
        await go_on.wait()
        connection.transport.resume_reading()
        try:
            while True:
                await connection.recv()
        except ConnectionClosed as closed:
            seen.append(closed.rcvd)
            told.set()

    async with scene(server, behave) as stage:
        for _ in range(100):
            stage.client.send(frame(FIN | BINARY, message(0), key=b"\0\0\0\0"))
        (link,) = stage.made._links.values()
        async with asyncio.timeout(20):
            while link._watching is None:
                await asyncio.sleep(0.01)
        stage.recorder.peers[0].close(4000, "enough")
        assert await stage.client.close_code() == (4000, "enough")
        stage.client.writer.transport.abort()
        await stage.recorder.wait_for("close", timeout=20)
        async with asyncio.timeout(20):
            while link._end is None:
                await asyncio.sleep(0.01)
        go_on.set()
        await asyncio.wait_for(told.wait(), 20)
        assert (seen[0].code, seen[0].reason) == (4000, "enough")


async def test_the_limit_of_a_peers_queue_is_never_reached(server: Serve) -> None:
    """Messages as large as the queue wait until it is empty, and are not taken for a reader that does not read."""
    sizes = [60_000, 10, 100_000, 99_990, 100_000, 1, 64_000, 40_000] * 5

    async def talk(connection: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            for size in sizes:
                await connection.send("ü" * (size // 2) + "x" * (size % 2))
            await connection.close()

    async with scene(server, talk, max_queue_size=100_000) as stage:
        for size in sizes:
            assert len((await stage.client.frame())[1]) == size
            await asyncio.sleep(0.002)
        assert (await stage.client.close_code())[0] == 1000


async def test_an_upstream_that_never_reads_is_dropped_in_time() -> None:
    """Its close frame cannot be written: everything before it waits."""
    recorder, is_open, gone = Recorder(), asyncio.Event(), asyncio.Event()

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(accepted(await reader.readuntil(b"\r\n\r\n")))
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        while not writer.is_closing():
            # What it sends tells it that nobody is there any more.
            writer.write(frame(FIN | PING, b"", masked=False))
            await asyncio.sleep(0.02)
        gone.set()

    async with raw_upstream(behave) as url:
        made = proxy(url, connect=small_dial, on_upstream_open=lambda peer, url: is_open.set())
        hub = Hub(recorder, resolve=lambda request: made, limits=Limits(close_timeout=0.5))
        async with served(hub, "python") as front, Raw(front) as client:
            await client.upgrade()
            await asyncio.wait_for(is_open.wait(), 10)
            for _ in range(2000):
                client.send(frame(FIN | BINARY, message(0), key=b"\0\0\0\0"))
            (link,) = made._links.values()
            async with asyncio.timeout(20):
                while link._watching is None:
                    await asyncio.sleep(0.01)
            recorder.peers[0].close(4000, "enough")
            await recorder.wait_for("close", timeout=20)
            await asyncio.wait_for(gone.wait(), 20)
            async with asyncio.timeout(10):
                await made._tasks.wait()


def accepted(head: bytes) -> bytes:
    """The 101 for a handshake."""
    lines = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
    key = next(value for name, value in lines.items() if name.lower() == b"sec-websocket-key")
    digest = hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11", usedforsecurity=False).digest()
    answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    return answer + b"Sec-WebSocket-Accept: " + base64.b64encode(digest) + b"\r\n\r\n"

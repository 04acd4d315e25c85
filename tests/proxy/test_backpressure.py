"""Backpressure from one leg of a proxy to the other, with readers that really stop: memory stays bounded both ways."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import tracemalloc
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from crosspeer import Hub, Limits, proxy
from crosspeer.testing.contracts.harness import Recorder
from plain import plain_uvicorn
from raw import BINARY, FIN, Raw, frame
from upstreams import need, raw_upstream, served

MESSAGE = 50_000
COUNT = 1500
"""75 MB: much more than all buffers of two connections on the loopback hold."""
MOST = 30_000_000
"""Bytes that may be under way: the system's buffers of two connections, and a little of ours."""
MOST_OURS = 6_000_000
"""Bytes that Python may hold of them."""
QUIET = Limits(ping_interval=None, close_timeout=1.0)
"""A reader that stops is no dead one here."""

FRONTS = ("native", "python", "uvicorn", "plain")


@pytest.fixture(params=FRONTS)
def server(request: pytest.FixtureRequest) -> Any:
    need(request.param)
    return plain_uvicorn if request.param == "plain" else lambda hub: served(hub, request.param)


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
                await asyncio.sleep(1.0)
        return seen


@contextlib.asynccontextmanager
async def ended(work: asyncio.Task[Any]) -> Any:
    try:
        yield
    finally:
        work.cancel()
        await asyncio.wait({work})


async def test_a_client_that_does_not_read_holds_the_upstream_up(server: Any) -> None:
    sent, recorder = Progress(), Recorder()

    async def talk(connection: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            for number in range(COUNT):
                await connection.send(number.to_bytes(4, "big") * (MESSAGE // 4))
                sent.bytes += MESSAGE
            await connection.close(4000, "all")

    async with serve(talk, "127.0.0.1", 0, compression=None, ping_interval=None) as up:
        made = proxy(f"ws://127.0.0.1:{up.sockets[0].getsockname()[1]}")
        async with server(Hub(recorder, resolve=lambda request: made, limits=QUIET)) as url, Raw(url) as client:
            await client.upgrade()
            client.writer.transport.pause_reading()  # type: ignore[attr-defined]
            tracemalloc.start()
            try:
                stopped = await sent.stops()
                _, ours = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
            assert stopped < MOST
            assert ours < MOST_OURS
            assert recorder.peers[0].buffered_amount <= 2 * 64 * 1024
            assert recorder.of("close") == [], "it is slow, not gone"
            client.writer.transport.resume_reading()  # type: ignore[attr-defined]
            for number in range(COUNT):
                assert await client.frame() == (BINARY, number.to_bytes(4, "big") * (MESSAGE // 4))
            assert await client.close_code() == (4000, "all")


async def test_an_upstream_that_does_not_read_holds_the_client_up(server: Any) -> None:
    sent, recorder, go_on, received = Progress(), Recorder(), asyncio.Event(), Progress()

    async def listen(connection: ServerConnection) -> None:
        connection.transport.pause_reading()
        await go_on.wait()
        connection.transport.resume_reading()
        with contextlib.suppress(ConnectionClosed):
            async for message in connection:
                assert message == (received.bytes // MESSAGE).to_bytes(4, "big") * (MESSAGE // 4)
                received.bytes += len(message)

    async with serve(listen, "127.0.0.1", 0, compression=None, ping_interval=None) as up:
        made = proxy(f"ws://127.0.0.1:{up.sockets[0].getsockname()[1]}")
        limits = Limits(max_waiting_messages=4, ping_interval=None, close_timeout=1.0)
        async with server(Hub(recorder, resolve=lambda request: made, limits=limits)) as url, Raw(url) as client:
            await client.upgrade()

            async def send() -> None:
                for number in range(COUNT):
                    client.send(frame(FIN | BINARY, number.to_bytes(4, "big") * (MESSAGE // 4), key=b"\0\0\0\0"))
                    await client.writer.drain()
                    sent.bytes += MESSAGE

            sending = asyncio.create_task(send())
            async with ended(sending):
                tracemalloc.start()
                try:
                    stopped = await sent.stops()
                    _, ours = tracemalloc.get_traced_memory()
                finally:
                    tracemalloc.stop()
                assert stopped < MOST
                assert ours < MOST_OURS
                assert recorder.of("close") == []
                go_on.set()
                async with asyncio.timeout(40):
                    await sending
                    while received.bytes < COUNT * MESSAGE:
                        await asyncio.sleep(0.05)


async def test_two_sides_that_both_do_not_read_are_let_go_with_the_client(server: Any) -> None:
    """The hook waits for the upstream, the upstream for the client, and the client leaves."""
    recorder = Recorder()
    stuck = asyncio.Event()

    async def behave(connection: ServerConnection) -> None:
        connection.transport.pause_reading()
        with contextlib.suppress(ConnectionClosed):
            while True:
                await connection.send(b"x" * MESSAGE)
                if connection.transport.get_write_buffer_size():
                    stuck.set()

    async with serve(behave, "127.0.0.1", 0, compression=None, ping_interval=None, close_timeout=0.5) as up:
        made = proxy(f"ws://127.0.0.1:{up.sockets[0].getsockname()[1]}")
        limits = Limits(max_waiting_messages=1000, ping_interval=None, close_timeout=0.5)
        async with server(Hub(recorder, resolve=lambda request: made, limits=limits)) as url, Raw(url) as client:
            client.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
            await client.upgrade()
            client.writer.transport.pause_reading()  # type: ignore[attr-defined]
            for _ in range(160):
                client.send(frame(FIN | BINARY, b"y" * MESSAGE, key=b"\0\0\0\0"))
            await asyncio.wait_for(stuck.wait(), 20)
            (link,) = made._links.values()
            async with asyncio.timeout(20):
                while link._watching is None:
                    await asyncio.sleep(0.01)
            client.writer.transport.abort()
            await recorder.wait_for("close", timeout=20)
            async with asyncio.timeout(10):
                while made._links or made._tasks:
                    await asyncio.sleep(0.01)


async def test_the_limit_of_a_peers_queue_is_never_reached(server: Any) -> None:
    """Messages as large as the queue wait until it is empty, and are not taken for a reader that does not read."""
    recorder = Recorder()
    sizes = [60_000, 10, 100_000, 99_990, 100_000, 1, 64_000, 40_000] * 10

    async def talk(connection: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            for size in sizes:
                await connection.send("ü" * (size // 2) + "x" * (size % 2))
            await connection.close()

    limits = Limits(max_queue_size=100_000, ping_interval=None, close_timeout=1.0)
    async with serve(talk, "127.0.0.1", 0, compression=None, ping_interval=None) as up:
        made = proxy(f"ws://127.0.0.1:{up.sockets[0].getsockname()[1]}")
        async with server(Hub(recorder, resolve=lambda request: made, limits=limits)) as url, Raw(url) as client:
            client.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
            await client.upgrade()
            for size in sizes:
                assert len((await client.frame())[1]) == size
                await asyncio.sleep(0.002)
            assert (await client.close_code())[0] == 1000


async def test_an_upstream_that_never_reads_is_closed_in_time() -> None:
    """The client closes, and the close frame cannot be written: the connection is dropped."""
    recorder, gone = Recorder(), asyncio.Event()

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        key = head.lower().split(b"sec-websocket-key: ")[1].split(b"\r\n")[0]
        del key
        writer.write(accept(head))
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(frame(FIN | 0x9, b"", masked=False))
                await writer.drain()
                await asyncio.sleep(0.05)
                if writer.is_closing():
                    break
        gone.set()

    async with raw_upstream(behave) as url:
        made = proxy(url)
        hub = Hub(recorder, resolve=lambda request: made, limits=Limits(close_timeout=0.5))
        async with served(hub, "python") as front, Raw(front) as client:
            await client.upgrade()
            for _ in range(200):
                client.send(frame(FIN | BINARY, b"y" * MESSAGE, key=b"\0\0\0\0"))
            client.writer.transport.abort()
            await recorder.wait_for("close", timeout=20)
            async with asyncio.timeout(10):
                await made._tasks.wait()
            await asyncio.wait_for(gone.wait(), 20)


def accept(head: bytes) -> bytes:
    """The 101 for a handshake of the `websockets` library."""
    import base64
    import hashlib

    lines = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
    key = next(value for name, value in lines.items() if name.lower() == b"sec-websocket-key")
    digest = hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11", usedforsecurity=False).digest()
    answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    return answer + b"Sec-WebSocket-Accept: " + base64.b64encode(digest) + b"\r\n\r\n"

"""The fault proxy itself: each fault does what it says, on real connections, and healing undoes it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from faults.proxy import Direction, Proxy, proxy

QUIET = 0.1
"""Seconds in which nothing comes where nothing is to come."""
TIMEOUT = 20.0
DATA = bytes(range(256)) * 100


class Scene:
    """A client, what it reaches through the proxy, and the server's end of the connection."""

    def __init__(self, between: Proxy) -> None:
        self.between = between
        self.ends: list[asyncio.StreamWriter] = []
        self.arrived: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()

    async def connect(self) -> tuple[End, End]:
        """A connection: the client's end and the server's."""
        client = await self.dial(self.between.url)
        async with asyncio.timeout(TIMEOUT):
            return client, End(*await self.arrived.get())

    async def dial(self, url: str) -> End:
        host, port = url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        self.ends.append(writer)
        return End(reader, writer)


class End:
    """One end of a connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def say(self, data: bytes) -> None:
        self.writer.write(data)

    async def hears(self, data: bytes) -> None:
        async with asyncio.timeout(TIMEOUT):
            assert await self.reader.readexactly(len(data)) == data

    async def hears_nothing(self) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(QUIET):
                await self.reader.read(1)

    async def ended(self) -> bytes:
        """What still comes before the end."""
        async with asyncio.timeout(TIMEOUT):
            return await self.reader.read()


@asynccontextmanager
async def scene() -> AsyncIterator[Scene]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        here.ends.append(writer)
        here.arrived.put_nowait((reader, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        async with proxy(f"http://127.0.0.1:{port}") as between:
            here = Scene(between)
            try:
                yield here
            finally:
                for writer in here.ends:
                    writer.transport.abort()
    finally:
        server.close()


async def talk(client: End, server: End) -> None:
    client.say(b"question")
    await server.hears(b"question")
    server.say(b"answer")
    await client.hears(b"answer")


async def test_it_passes_on_what_is_said_and_the_end() -> None:
    async with scene() as here:
        client, server = await here.connect()
        await talk(client, server)
        client.say(DATA)
        await server.hears(DATA)
        assert here.between.connections == 1
        server.say(b"last words")
        server.writer.close()
        assert await client.ended() == b"last words"


async def test_cut_ends_what_there_is_and_lets_in_what_comes() -> None:
    async with scene() as here:
        client, server = await here.connect()
        here.between.cut()
        assert [await client.ended(), await server.ended()] == [b"", b""]
        assert here.between.cuts == 1
        await talk(*await here.connect())


async def test_reset_is_one() -> None:
    async with scene() as here:
        client, server = await here.connect()
        await talk(client, server)
        here.between.reset()
        for end in (client, server):
            with pytest.raises(ConnectionResetError):
                await end.ended()


async def test_down_hangs_up_on_who_comes() -> None:
    async with scene() as here:
        here.between.is_down = True
        client = await here.dial(here.between.url)
        assert await client.ended() == b""
        here.between.heal()
        await talk(*await here.connect())


@pytest.mark.parametrize("directions", [(), ("up",), ("down",)])
async def test_a_blackhole_keeps_what_is_said_until_it_heals(directions: tuple[Direction, ...]) -> None:
    async with scene() as here:
        client, server = await here.connect()
        await talk(client, server)
        here.between.blackhole(*directions)
        client.say(b"up")
        server.say(b"down")
        for direction, end, data in (("up", server, b"up"), ("down", client, b"down")):
            if not directions or direction in directions:
                await end.hears_nothing()
            else:
                await end.hears(data)
        here.between.heal()
        for direction, end, data in (("up", server, b"up"), ("down", client, b"down")):
            if not directions or direction in directions:
                await end.hears(data)
        await talk(client, server)


async def test_half_open_leaves_the_other_end_in_its_belief() -> None:
    async with scene() as here:
        client, server = await here.connect()
        await talk(client, server)
        here.between.half_open()
        assert await client.ended() == b""
        server.say(b"are you there?")
        await server.hears_nothing()
        client, server = await here.connect()
        here.between.half_open("server")
        assert await server.ended() == b""
        client.say(b"are you there?")
        await client.hears_nothing()


async def test_slow_is_a_rate() -> None:
    async with scene() as here:
        client, server = await here.connect()
        here.between.slow(20_000, "up")
        started = asyncio.get_running_loop().time()
        client.say(bytes(8_000))
        await server.hears(bytes(8_000))
        assert asyncio.get_running_loop().time() - started >= 0.3
        server.say(DATA)
        await client.hears(DATA)


async def test_slices_arrive_one_by_one() -> None:
    async with scene() as here:
        client, server = await here.connect()
        here.between.slice(1)
        client.say(b"abc")
        first = await server.reader.read(100)
        assert first
        await server.hears(b"abc"[len(first) :])
        here.between.slice(1000, "down")
        server.say(DATA)
        await client.hears(DATA)


async def test_delay_is_late_and_in_order() -> None:
    async with scene() as here:
        client, server = await here.connect()
        here.between.delay(0.1, "up", jitter=0.05)
        started = asyncio.get_running_loop().time()
        for number in range(10):
            client.say(bytes([number]))
            await asyncio.sleep(0.005)
        await server.hears(bytes(range(10)))
        assert asyncio.get_running_loop().time() - started >= 0.1


async def test_close_after_a_number_of_bytes() -> None:
    async with scene() as here:
        client, server = await here.connect()
        here.between.close_after(1000, "down")
        server.say(DATA)
        assert await client.ended() == DATA[:1000]


async def test_who_says_what_is_unwanted_is_hung_up_on() -> None:
    async with scene() as here:
        here.between.unwanted = b"upgrade: websocket"
        client = await here.dial(here.between.url)
        client.say(b"GET / HTTP/1.1\r\nUpgrade: WebSocket\r\n\r\n")
        assert await client.ended() == b""
        client = await here.dial(here.between.url)
        client.say(b"GET / HTTP/1.1\r\n\r\n")
        async with asyncio.timeout(TIMEOUT):
            server = End(*await here.arrived.get())
        await server.hears(b"GET / HTTP/1.1\r\n\r\n")


async def test_it_is_a_command() -> None:
    async with scene() as here:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(Path(__file__).with_name("proxy.py")),
            here.between.url,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            async with asyncio.timeout(TIMEOUT):
                url = (await process.stdout.readline()).decode().strip()
                client = await here.dial(url)
                server = End(*await here.arrived.get())
                await talk(client, server)
                process.stdin.write(b"nonsense\nslow much\nslice 1 down\ncut\n")
                assert await client.ended() == b""
                process.stdin.close()
                assert await process.wait() == 0
                assert b"no fault 'nonsense'" in await process.stderr.read()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

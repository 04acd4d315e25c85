"""F13: SIGTERM under load. Nobody new, 1012 for all in batches, nothing lost that was acknowledged, gone in time."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from crosspeer.testing import ConnectionClosed, sockets
from crowd import descriptors
from hostile.stage import ENGINES, needed
from process import serving
from raw import CLOSE, FIN, PING, PONG, Raw, frame, handshake

PROMISE: Final = 10.0
SPEAKERS: Final = 10

CHAT: Final = """
from collections import Counter
from crosspeer import Hooks, Hub

class Chat(Hooks):
    taken = Counter()

    def open(self, peer):
        peer.subscribe("news" if peer.namespace == "/" else "hall")
        peer.send("ready")

    def message(self, peer, message):
        number = message.json()
        hub.publish("news", [peer.id, number])
        if number % EVERY == 0:
            hub.publish("hall", number)
        peer.send({"taken": number})
        self.taken[peer.id] = number

    async def close(self, peer, details):
        print("closed", details.code, self.taken[peer.id], flush=True)

hub = Hub(Chat())
"""


class Speaker:
    """Sends a number after the other, and keeps what it hears."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.taken = 0
        self.heard: dict[str, list[int]] = {}
        self.code = 0

    async def run(self) -> None:
        speaking = asyncio.create_task(self._speak())
        try:
            while True:
                text = await self.client.receive(timeout=30)
                if text == "ready":
                    continue
                said = json.loads(text)
                if isinstance(said, dict):
                    self.taken = said["taken"]
                else:
                    self.heard.setdefault(said[0], []).append(said[1])
        except ConnectionClosed as closed:
            self.code = closed.code
        finally:
            speaking.cancel()
            await asyncio.wait([speaking])

    async def _speak(self) -> None:
        number = 0
        with contextlib.suppress(ConnectionClosed):
            while True:
                number += 1
                await self.client.send(str(number))
                await asyncio.sleep(0.01)


class Audience:
    """Raw clients that listen, and answer the close frame: thousands of them cost little."""

    def __init__(self) -> None:
        self.codes: list[int] = []

    async def listen(self, client: Raw) -> None:
        try:
            while True:
                first, size = await client.reader.readexactly(2)
                payload = await client.reader.readexactly(size)
                if first == FIN | PING:
                    client.send(frame(FIN | PONG, payload))
                elif first == FIN | CLOSE:
                    self.codes.append(int.from_bytes(payload[:2], "big"))
                    client.send(frame(FIN | CLOSE, payload))
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            self.codes.append(1006)


@asynccontextmanager
async def audience(url: str, count: int) -> AsyncIterator[Audience]:
    here, clients = Audience(), [Raw(url) for _ in range(count)]
    listening: list[asyncio.Task[None]] = []
    try:
        for start in range(0, count, 100):
            some = clients[start : start + 100]
            await asyncio.gather(*(client.__aenter__() for client in some))
            await asyncio.gather(*(client.upgrade("/hall") for client in some))
            listening += [asyncio.create_task(here.listen(client)) for client in some]
        yield here
        async with asyncio.timeout(30):
            await asyncio.gather(*listening)
    finally:
        for task in listening:
            task.cancel()
        for client in clients:
            if hasattr(client, "writer"):
                client.writer.transport.abort()


async def refused(url: str) -> bool:
    try:
        async with Raw(url):
            return False
    except ConnectionError:
        return True


async def drain(engine: str, folder: Path, listeners: int) -> float:
    """Stop a server with this many peers under load: the seconds until it is gone."""
    # Some 10,000 deliveries a second, however many they are.
    (folder / "chat.py").write_text(CHAT.replace("EVERY", str(listeners // 10)))
    loop = asyncio.get_running_loop()
    async with serving("chat:hub", "--engine", needed(engine), cwd=folder) as server:
        async with audience(server.url, listeners) as heard, AsyncExitStack() as stack:
            dial = [await sockets.connect(server.url.replace("http", "ws"), timeout=30) for _ in range(SPEAKERS)]
            speakers = [Speaker(client) for client in dial]
            running = [asyncio.create_task(speaker.run()) for speaker in speakers]
            async with asyncio.timeout(20):
                while any(speaker.taken < 5 for speaker in speakers):
                    await asyncio.sleep(0.01)
            health = await stack.enter_async_context(Raw(server.url))
            assert await healthy(health) == 200
            begin = loop.time()
            server.signal(signal.SIGTERM)
            await server.printed("once more to stop now")
            async with asyncio.timeout(5):
                # The log says so first.
                while not await refused(server.url):
                    pass
            assert await healthy(health) in (503, None)
            await asyncio.gather(*running)
        assert await server.ended() == 0
        took = loop.time() - begin
    assert heard.codes == [1012] * listeners
    assert [speaker.code for speaker in speakers] == [1012] * SPEAKERS
    closed = [line.split()[1:] for line in server.output.splitlines() if line.startswith("closed")]
    assert len(closed) == listeners + SPEAKERS
    assert sorted(int(taken) for _, taken in closed if int(taken)) == sorted(each.taken for each in speakers)
    for speaker in speakers:
        # What was published while it was there: each speaker's numbers without a hole.
        for numbers in speaker.heard.values():
            assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    return took


async def healthy(client: Raw) -> int | None:
    """Ask for the health of a server on a connection from before; None: it is closed already."""
    client.send(b"GET /_crosspeer/health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    try:
        status, headers = await client.head()
        await client.reader.readexactly(int(headers.get("content-length", 0)))
        return status
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


@pytest.mark.parametrize("engine", ENGINES)
async def test_fifty_peers_are_told_to_come_back(engine: str, tmp_path: Path) -> None:
    assert await drain(engine, tmp_path, listeners=50) < PROMISE


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.skipif(sys.platform != "linux", reason="it takes thousands of descriptors")
@pytest.mark.parametrize("engine", ["native", "python"])
async def test_five_thousand(engine: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with descriptors(5000) as count:
        took = await drain(engine, tmp_path, listeners=count - SPEAKERS)
    with capsys.disabled():
        print(f"\n{engine}: {count} peers in {took:.1f} s")  # noqa: T201
    assert took < PROMISE


SLOW: Final = """
    def __init__(self):
        self.closing = __import__("asyncio").Event()

    async def upgrade(self, request):
        if request.url.path == "/slow":
            print("asked", flush=True)
            await self.closing.wait()

"""
STAYS: Final = """    async def close(self, peer, details):
        self.closing.set()
        await __import__("asyncio").sleep(0.2)

    async def was_close"""
STUCK: Final = """
    async def close(self, peer, details):
        import asyncio
        await asyncio.Event().wait()
"""


@pytest.mark.parametrize("engine", ENGINES)
async def test_the_second_signal_is_now(engine: str, tmp_path: Path) -> None:
    (tmp_path / "chat.py").write_text(CHAT.replace("EVERY", "1").replace("hub = Hub", f"{STUCK}\nhub = Hub"))
    async with serving("chat:hub", "--engine", needed(engine), cwd=tmp_path) as server:
        client = await sockets.connect(server.url.replace("http", "ws"), timeout=20)
        assert await client.receive() == "ready"
        server.signal()
        assert await client.wait_closed() == 1012
        server.signal()
        assert await server.ended() == 128 + signal.SIGTERM


@pytest.mark.parametrize("engine", ENGINES)
async def test_a_handshake_that_took_too_long_is_refused_at_the_end(engine: str, tmp_path: Path) -> None:
    """Its `upgrade` hook ends when the drain has begun: it would be a peer for a moment only."""
    chat = CHAT.replace("EVERY", "1").replace("    def open", SLOW + "    def open", 1)
    (tmp_path / "chat.py").write_text(chat.replace("    async def close", STAYS, 1))
    async with serving("chat:hub", "--engine", needed(engine), cwd=tmp_path) as server:
        peer = await sockets.connect(server.url.replace("http", "ws"), timeout=20)
        assert await peer.receive() == "ready"
        async with Raw(server.url) as late:
            late.send(handshake("/slow"))
            await server.printed("asked")
            server.signal()
            assert await peer.wait_closed() == 1012
            assert (await late.head())[0] == 503
        assert await server.ended() == 0

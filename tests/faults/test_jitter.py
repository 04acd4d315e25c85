"""F15: a network that drops everybody, again and again. Whoever comes back with its position misses nothing.

(The module for browsers does the same over event streams: `tests/interop/test_sse_browser.py`.)
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from typing import Any, Final

import pytest
from websockets.exceptions import WebSocketException

from crosspeer import History, Hub, Limits, Peer, Server
from crosspeer.testing import ConnectionClosed, sockets
from crosspeer.testing.contracts.harness import Recorder
from crowd import descriptors
from faults.proxy import Proxy, proxy
from hostile.stage import ENGINES, needed

RETRY: Final = 0.1
"""Seconds until a client that was dropped comes again, at most: with jitter."""


class News(Recorder):
    """Subscribes each peer from where it was, and says where there is a gap."""

    def open(self, peer: Peer) -> None:
        since = peer.request.query_params.get("since")
        recovery = peer.subscribe("news", since=since)
        assert recovery is not None
        if not recovery.recovered:
            peer.send({"gap": str(recovery.position)})


class Reader:
    """A client that comes back: what it has read, and from where."""

    def __init__(self, url: str) -> None:
        self._url = url.replace("http", "ws")
        self.position = ""
        self.read: list[int] = []
        self.gaps = self.returns = 0
        self.is_in = asyncio.Event()

    async def run(self) -> None:
        while True:
            try:
                client = await sockets.connect(f"{self._url}/?since={self.position}", timeout=30)
            except (OSError, WebSocketException):
                await asyncio.sleep(RETRY * random.random())
                continue
            try:
                await self._read(client)
            finally:
                client.terminate()
            self.returns += 1

    async def _read(self, client: Any) -> None:
        try:
            while True:
                said = json.loads(await client.receive(timeout=60))
                if "gap" in said:
                    self.gaps += 1
                    self.position = said["gap"]
                    self.is_in.set()
                else:
                    self.read.append(int(said["data"]))
                    self.position = said["position"]
        except ConnectionClosed:
            return


async def drop(between: Proxy, seconds: float, how: int) -> None:
    """Lose everybody, or let nothing through, for a while."""
    if how % 3 == 2:
        between.blackhole()
    else:
        between.is_down = True
        (between.reset, between.cut)[how % 3]()
    await asyncio.sleep(seconds)
    between.heal()


async def jitter(engine: str, readers: int, drops: int, seconds: float, every: float, rate: float) -> int:
    """Publish to readers whose network is dropped: how many messages each has read, without loss."""
    history = {"*": History(tagged=True, size=10_000)}
    hub = Hub(News(), history=history, limits=Limits(ping_interval=20, ping_timeout=10))
    said = 0

    async def publish() -> None:
        nonlocal said
        while True:
            hub.publish("news", str(said), namespace="/")
            said += 1
            await asyncio.sleep(1 / rate)

    async with Server(hub, port=0, engine=needed(engine), shutdown_timeout=5) as server, proxy(server.url) as between:
        clients = [Reader(between.url) for _ in range(readers)]
        work = [asyncio.create_task(client.run()) for client in clients]
        try:
            async with asyncio.timeout(60):
                for client in clients:
                    await client.is_in.wait()
            publishing = asyncio.create_task(publish())
            work.append(publishing)
            for number in range(drops):
                await asyncio.sleep(every - seconds)
                async with asyncio.timeout(60):
                    while between.connections < readers:
                        await asyncio.sleep(0.01)
                await drop(between, seconds, number)
            publishing.cancel()
            expected = list(range(said))
            async with asyncio.timeout(60):
                for client in clients:
                    while len(client.read) < said:
                        await asyncio.sleep(0.01)
        finally:
            for task in work:
                task.cancel()
            await asyncio.wait(work)
        assert all(client.read == expected for client in clients), "each once, and in order"
        assert all(client.gaps == 1 for client in clients), "the one at the beginning, when it knew of no position"
        assert all(client.returns for client in clients)
    return said


@pytest.mark.parametrize("engine", ENGINES)
async def test_whoever_comes_back_with_its_position_misses_nothing(engine: str) -> None:
    assert await jitter(engine, readers=20, drops=6, seconds=0.15, every=0.3, rate=200) > 50


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(sys.platform != "linux", reason="it takes thousands of descriptors")
@pytest.mark.parametrize("engine", ["native", "python"])
async def test_two_seconds_of_every_ten(engine: str, capsys: pytest.CaptureFixture[str]) -> None:
    with descriptors(2000):
        said = await jitter(engine, readers=500, drops=6, seconds=2, every=10, rate=10)
    with capsys.disabled():
        print(f"\n{engine}: {said * 500} deliveries, none lost")  # noqa: T201

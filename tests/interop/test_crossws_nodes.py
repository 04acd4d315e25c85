"""A fleet of Python nodes and of the real crossws (npm) on one Redis: its topics are one."""

from __future__ import annotations

import asyncio
import shutil
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from backplanes import BROKERS
from crosspeer import Hub, Server
from crosspeer.sync import connect as open_sync
from crosspeer.testing.sockets import connect
from fleet import Chat, relay_of, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from backplanes import Broker
    from crosspeer.testing import Client

FOLDER = Path(__file__).parent / "npm-crossws"
NODE = shutil.which("node")
CHANNEL = "the fleet's: *?[a]"
"""Used as it is, by both."""
TIMEOUT = 20.0

pytestmark = pytest.mark.skipif(
    NODE is None or not (FOLDER / "node_modules" / "ioredis").is_dir(),
    reason="crossws and ioredis are not installed: `npm ci` in tests/interop/npm-crossws, by scripts/setup test",
)


@asynccontextmanager
async def crossws(redis: Broker) -> AsyncIterator[str]:
    """A node of crossws, by its URL."""
    assert NODE is not None
    port = redis.url.rpartition(":")[2].partition("/")[0]
    process = await asyncio.create_subprocess_exec(
        NODE, str(FOLDER / "node.mjs"), port, CHANNEL, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(TIMEOUT):
            yield f"ws://127.0.0.1:{int(await process.stdout.readline())}"
    finally:
        process.kill()
        await process.communicate()


@pytest.fixture
async def redis() -> AsyncIterator[Broker]:
    async with BROKERS["redis"]() as broker:
        yield broker


async def test_a_topic_is_shared_both_ways(redis: Broker) -> None:
    hub = Hub(Chat(), sync=open_sync(redis.url, crossws=CHANNEL))
    async with (
        crossws(redis) as url,
        Server(hub, port=0) as server,
        connect(f"{url}/room") as theirs,
        connect(f"{server.url.replace('http', 'ws')}/room?topic=chat") as ours,
        connect(f"{server.url.replace('http', 'ws')}/other?topic=chat") as elsewhere,
    ):
        await until(lambda: hub.topics > 0 and relay_of(hub).is_up)
        await both_hear(ours, theirs)
        for data in ("text", "ünï 🎉\n\u2028", "", b"\x00\x01\xff", b"", "x" * 50_000):
            await ours.send(data)
            assert await theirs.receive() == data
            await theirs.send(data)
            assert await ours.receive() == data
        hub.publish("chat", "to all of every node")
        for client in (ours, theirs, elsewhere):
            assert await client.receive() == "to all of every node", (
                "and nothing before it: no echo, no other namespace"
            )


async def both_hear(ours: Client, theirs: Client) -> None:
    """Neither says when its subscription at Redis stands: talk until each has heard the other."""
    for speaker, hearer in ((ours, theirs), (theirs, ours)):
        heard = asyncio.create_task(hearer.receive(timeout=TIMEOUT))
        while not heard.done():
            await speaker.send("hello")
            await asyncio.wait({heard}, timeout=0.2)
        assert await heard == "hello"
    # What was said twice is still to come.
    for speaker, hearer in ((ours, theirs), (theirs, ours)):
        await speaker.send("now")
        while await hearer.receive() != "now":
            pass

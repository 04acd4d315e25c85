"""The npm client of crossws (0.4, `crossws/websocket/sse`) under node, against our event streams."""

from __future__ import annotations

import asyncio
import json
import shutil
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from crosspeer import SSE, Hub, Server
from crosspeer.testing.contracts.adapter import Echo
from faults.proxy import proxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

FOLDER = Path(__file__).parent / "npm-crossws"
NODE = shutil.which("node")
TIMEOUT = 20.0

pytestmark = pytest.mark.skipif(
    NODE is None or not (FOLDER / "node_modules" / "crossws").is_dir(),
    reason="crossws is not installed: `npm ci` in tests/interop/npm-crossws, which scripts/setup test does",
)


class Client:
    """A node process with a crossws client in it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    def send(self, data: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(data).encode() + b"\n")

    async def next(self, kind: str = "message") -> Any:
        """The next event of a kind; what comes before it is thrown away."""
        assert self.process.stdout is not None
        async with asyncio.timeout(TIMEOUT):
            while line := await self.process.stdout.readline():
                event = json.loads(line)
                if event["type"] == kind:
                    return event.get("data")
        raise AssertionError("the client has ended")


@asynccontextmanager
async def connect(url: str, **options: Any) -> AsyncIterator[Client]:
    assert NODE is not None
    process = await asyncio.create_subprocess_exec(
        NODE,
        str(FOLDER / "client.mjs"),
        url,
        json.dumps(options),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=4 * 1024 * 1024,
    )
    client = Client(process)
    try:
        await client.next("open")
        yield client
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        assert process.stdin is not None
        process.stdin.close()
        process._transport.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("stream", [True, False])
async def test_the_crossws_client_talks_in_compatible_mode(stream: bool) -> None:
    echo = Echo()
    async with (
        Server(Hub(echo, sse=SSE(crossws=True)), port=0) as server,
        connect(server.url + "/room", stream=stream) as client,
    ):
        for text in ("one", "zwö 🎉", "two\nlines", "x" * 10_000):
            client.send(text)
            assert await client.next() == text
        echo.peers[0].send(b"\x01\x02")
        assert await client.next() == "data:application/octet-stream;base64,AQI="
        echo.peers[0].close(4500, "done")
        await client.next("close")


async def test_the_crossws_client_talks_in_the_safe_mode_too() -> None:
    async with Server(Hub(Echo()), port=0) as server, connect(server.url + "/room", stream=False) as client:
        for text in ("one", "zwö 🎉", "two\nlines", "x" * 300_000):
            client.send(text)
            assert await client.next() == text


async def test_the_crossws_client_misses_nothing_when_it_is_cut() -> None:
    """What it could not do with crossws: there it comes back as another peer."""
    echo = Echo()
    hub = Hub(echo, sse=SSE(crossws=True, retry=0.05))
    async with (
        Server(hub, port=0) as server,
        proxy(server.url) as between,
        connect(between.url + "/room", stream=False) as client,
    ):
        await echo.wait_for("open")
        for number in range(10):
            if number % 3 == 2:
                between.cut()
            echo.peers[0].send(str(number))
            assert await client.next() == str(number)
        assert len(echo.peers) == 1

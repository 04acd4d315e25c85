"""F6 and F15 once more, on two hosts: network namespaces with a cable between them that is pulled. It takes root."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from crosspeer import Hub, Limits, Peer, Server
from crosspeer.testing.contracts.harness import Recorder
from hostile.stage import ENGINES, needed

pytestmark = pytest.mark.slow

HERE, THERE = "198.18.{}.1", "198.18.{}.2"
"""Addresses for tests between networks (RFC 2544)."""
CLIENT: Final = """
import asyncio, sys
from crosspeer.testing import sockets

async def main():
    async with sockets.connect(sys.argv[1], timeout=60) as client:
        print("open", flush=True)
        while True:
            print(await client.receive(), flush=True)

asyncio.run(main())
"""


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


class Cable:
    """A namespace that is another host, and the cable to it."""

    def __init__(self, number: int) -> None:
        tag = secrets.token_hex(3)
        self.namespace, self._here, self._there = f"cp-{tag}", f"cpa-{tag}", f"cpb-{tag}"
        self.address = HERE.format(number)
        self._other = THERE.format(number)

    def plug_in(self) -> None:
        ip("netns", "add", self.namespace)
        ip("link", "add", self._here, "type", "veth", "peer", "name", self._there)
        ip("link", "set", self._there, "netns", self.namespace)
        ip("addr", "add", f"{self.address}/30", "dev", self._here)
        ip("-n", self.namespace, "addr", "add", f"{self._other}/30", "dev", self._there)
        ip("link", "set", self._here, "up")
        ip("-n", self.namespace, "link", "set", self._there, "up")

    def pull(self) -> None:
        """Nothing arrives any more, and nobody is told."""
        ip("-n", self.namespace, "link", "set", self._there, "down")

    def push(self) -> None:
        ip("-n", self.namespace, "link", "set", self._there, "up")

    def remove(self) -> None:
        for words in (("link", "del", self._here), ("netns", "del", self.namespace)):
            subprocess.run(["ip", *words], check=False, capture_output=True)


@pytest.fixture
def cable() -> Iterator[Cable]:
    if sys.platform != "linux" or shutil.which("ip") is None or os.geteuid() != 0:
        pytest.skip("it takes Linux, root and `ip` to have a second host here")
    made = Cable(secrets.randbelow(256))
    try:
        made.plug_in()
    except subprocess.CalledProcessError as error:
        made.remove()
        pytest.skip(f"no network namespace can be made here: {error.stderr.decode().strip()}")
    yield made
    made.remove()


class Room(Recorder):
    def open(self, peer: Peer) -> None:
        peer.subscribe("news")
        super().open(peer)


@asynccontextmanager
async def far_client(cable: Cable, url: str, folder: Path) -> AsyncIterator[asyncio.StreamReader]:
    """A client on the other host: what it prints."""
    script = folder / "client.py"
    script.write_text(CLIENT)
    process = await asyncio.create_subprocess_exec(
        *("ip", "netns", "exec", cable.namespace, sys.executable, str(script), url.replace("http", "ws")),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        assert await said(process.stdout) == "open"
        yield process.stdout
    finally:
        process.kill()
        await process.wait()


async def said(output: asyncio.StreamReader) -> str:
    async with asyncio.timeout(20):
        return (await output.readline()).decode().strip()


@asynccontextmanager
async def scene(engine: str, cable: Cable, folder: Path, limits: Limits) -> AsyncIterator[tuple[Hub, Room, Any]]:
    room = Room()
    hub = Hub(room, limits=limits)
    async with (
        Server(hub, host=cable.address, port=0, engine=needed(engine), shutdown_timeout=3) as server,
        far_client(cable, server.url, folder) as output,
    ):
        yield hub, room, output


@pytest.mark.parametrize("engine", ENGINES)
async def test_a_host_without_power_is_gone_in_time(engine: str, cable: Cable, tmp_path: Path) -> None:
    limits = Limits(ping_interval=0.5, ping_timeout=0.5)
    async with scene(engine, cable, tmp_path, limits) as (hub, room, output):
        hub.publish("news", "before")
        assert await said(output) == "before"
        cable.pull()
        details = await room.wait_for("close", timeout=20)
        assert (details.code, hub.connections, hub.topics) == (1006, 0, 0)
        assert len(room.of("close")) == 1


@pytest.mark.parametrize("engine", ENGINES)
async def test_a_cable_that_is_put_back_soon_costs_nothing(engine: str, cable: Cable, tmp_path: Path) -> None:
    async with scene(engine, cable, tmp_path, Limits(ping_interval=20, ping_timeout=10)) as (hub, room, output):
        for number in range(3):
            cable.pull()
            hub.publish("news", f"news {number}")
            await asyncio.sleep(0.3)
            cable.push()
            assert await said(output) == f"news {number}"
        assert room.of("close") == []

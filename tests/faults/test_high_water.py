"""F10: memory runs low. Nobody new gets in, and those who hold most of it are parted with."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from crosspeer.core.memory import FRESH, HighWater, resident
from crosspeer.testing import sockets
from faults.watching import MIB, Watched
from hostile.stage import ENGINES, needed
from process import Command, serving
from raw import BINARY, FIN, TEXT, Raw, frame, handshake

linux = pytest.mark.skipif(sys.platform != "linux", reason="resident memory is read from /proc")
ROOM: Final = 24
"""MiB above what the server takes at the beginning."""

APPLICATION: Final = f"""
import os
from crosspeer import Hooks, Hub, Limits
from crosspeer.core.memory import resident

class Flood(Hooks):
    closed = []

    def message(self, peer, message):
        if peer.namespace == "/witness":
            peer.send(self.closed if message.data == "closed" else message.data)
        else:
            for _ in range(60):
                peer.send(os.urandom(16_000))

    def close(self, peer, details):
        self.closed.append(details.code)

hub = Hub(Flood(), limits=Limits(max_memory=resident() + {ROOM} * 1024 * 1024, close_timeout=1))
"""


@asynccontextmanager
async def bounded(engine: str, folder: Path) -> AsyncIterator[tuple[Command, Any]]:
    (folder / "bounded.py").write_text(APPLICATION)
    async with (
        serving("bounded:hub", "--engine", needed(engine), cwd=folder) as server,
        sockets.connect(server.url.replace("http", "ws") + "/witness", timeout=20) as witness,
    ):
        yield server, witness


async def join(stack: AsyncExitStack, url: str) -> tuple[int, dict[str, str]]:
    """A client that asks for a MiB and does not read it: how its handshake is answered."""
    client = await stack.enter_async_context(Raw(url))
    client.send(handshake())
    status, headers = await client.head()
    if status == 101:
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        client.send(frame(FIN | TEXT, b"go"))
    return status, headers


@linux
@pytest.mark.parametrize("engine", ["native", "python"])
async def test_above_the_high_water_nobody_new_gets_in_and_the_longest_queues_go(engine: str, tmp_path: Path) -> None:
    async with bounded(engine, tmp_path) as (server, witness), AsyncExitStack() as stack:
        async with asyncio.timeout(40):
            while (answer := await join(stack, server.url))[0] == 101:
                await witness.send("still here?")
                assert await witness.receive() == "still here?"
            status, headers = answer
            assert (status, headers["retry-after"]) == (503, "1")
            await server.printed("above Limits.max_memory")
            closed = "[]"
            while closed == "[]":
                await witness.send("closed")
                closed = await witness.receive()
            assert set(closed.strip("[]").split(",")) == {"1013"}


@linux
def test_memory_is_read_anew_after_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert resident() > MIB
    now, taken = [0.0], [100]
    monkeypatch.setattr("crosspeer.core.memory.time.monotonic", lambda: now[0])
    monkeypatch.setattr("crosspeer.core.memory.resident", lambda: taken[0])
    water = HighWater(150)
    assert not water.is_high()
    taken[0] = 200
    assert not water.is_high(), "it was read just now"
    now[0] += FRESH
    assert water.is_high()
    assert water.excess() == 50
    assert not HighWater(None).is_high()


CGROUPS: Final = Path("/sys/fs/cgroup/memory")
"""The memory cgroups of version 1; version 2 has one tree."""


@asynccontextmanager
async def cgroup(limit: int) -> AsyncIterator[Path]:
    """A memory cgroup, where we may make one."""
    is_old = (CGROUPS / "memory.limit_in_bytes").exists()
    parent = CGROUPS if is_old else Path("/sys/fs/cgroup")
    group = parent / f"crosspeer-{os.getpid()}"
    try:
        group.mkdir()
        (group / ("memory.limit_in_bytes" if is_old else "memory.max")).write_text(str(limit))
    except OSError as error:
        if group.is_dir():
            group.rmdir()
        pytest.skip(f"no memory cgroup can be made here: {error}")
    try:
        yield group
    finally:
        group.rmdir()


@linux
@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("engine", ENGINES)
async def test_in_a_small_cgroup_it_is_never_killed(engine: str, tmp_path: Path) -> None:
    """Messages without end, giants, and readers that stall, all at once, in 256 MB."""
    async with cgroup(256 * 1000 * 1000) as group, bounded(engine, tmp_path) as (server, witness):
        (group / "cgroup.procs").write_text(str(server.process.pid))
        watched = Watched(server.process.pid)
        async with AsyncExitStack() as stack:
            for _ in range(400):
                await join(stack, server.url)
                client = await stack.enter_async_context(Raw(server.url))
                client.send(handshake() + frame(BINARY, b"x", key=bytes(4)) + frame(0, bytes(1000), key=bytes(4)) * 200)
                client.send(frame(FIN | BINARY, b"", length=MIB))
            await witness.send("still here?")
            assert await witness.receive() == "still here?"
            assert server.process.returncode is None
            assert watched.peak() < 256 * 1000 * 1000

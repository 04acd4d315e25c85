"""F9: no descriptor is left. Those who are there are served, those who come are told to come later."""

from __future__ import annotations

import asyncio
import contextlib
import re
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from crosspeer.server.descriptors import RESERVE, Notice
from crosspeer.testing import sockets
from faults.watching import Watched
from hostile.stage import needed
from process import Command, serving
from raw import Raw, handshake

linux = pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")

LIMIT: Final = 128
ACCEPTING: Final = ("native", "python")
"""The engine `uvicorn` accepts as the Python engine does."""
WINDOW: Final = 1.0
"""Seconds in which the CPU time is looked at."""

APPLICATION: Final = f"""
import resource
from crosspeer import Hooks, Hub

resource.setrlimit(resource.RLIMIT_NOFILE, ({LIMIT}, {LIMIT}))

class Echo(Hooks):
    def message(self, peer, message):
        peer.send(message.data)

hub = Hub(Echo())
"""


@asynccontextmanager
async def limited(engine: str, folder: Path) -> AsyncIterator[tuple[Command, Any]]:
    """A server that may have few descriptors, and a client that is there before all others."""
    (folder / "limited.py").write_text(APPLICATION)
    async with (
        serving("limited:hub", "--engine", needed(engine), cwd=folder) as server,
        sockets.connect(server.url.replace("http", "ws"), timeout=20) as witness,
    ):
        yield server, witness


async def answer(client: Raw) -> int | None:
    """The status that a handshake is answered with; None: it is not even accepted yet."""
    client.send(handshake())
    try:
        async with asyncio.timeout(0.5):
            return (await client.head())[0]
    except (TimeoutError, asyncio.IncompleteReadError, ConnectionError):
        return None


async def echoes(witness: Any) -> None:
    await witness.send("still here?")
    assert await witness.receive() == "still here?"


async def open_again(url: str) -> None:
    """A new client gets in, now that there is room."""
    async with asyncio.timeout(10):
        while True:
            with contextlib.suppress(OSError):
                async with Raw(url) as client:
                    if await answer(client) == 101:
                        return


@linux
@pytest.mark.parametrize("engine", ACCEPTING)
async def test_who_finds_no_descriptor_is_told_to_come_later(engine: str, tmp_path: Path) -> None:
    async with limited(engine, tmp_path) as (server, witness):
        async with AsyncExitStack() as stack:
            statuses = []
            for _ in range(LIMIT):
                # Each leaves when it is told to, as clients do.
                client = Raw(server.url)
                await client.__aenter__()
                statuses.append(await answer(client))
                if statuses[-1] == 101:
                    stack.push_async_exit(client)
                else:
                    await client.__aexit__()
            assert set(statuses) == {101, 503}
            assert statuses.count(101) <= LIMIT - RESERVE
            await echoes(witness)
            await server.printed("nearly no file descriptor is left")
        await open_again(server.url)
        await echoes(witness)
    assert "Traceback" not in server.output


@linux
@pytest.mark.parametrize("engine", ACCEPTING)
async def test_a_crowd_that_stays_is_not_fed_and_nobody_runs_in_circles(engine: str, tmp_path: Path) -> None:
    async with limited(engine, tmp_path) as (server, witness):
        watched = Watched(server.process.pid)
        loop = asyncio.get_running_loop()
        begin = loop.time()
        async with AsyncExitStack() as stack:
            for _ in range(2 * LIMIT):
                # They say nothing, and stay whatever they are told.
                await stack.enter_async_context(Raw(server.url))
            async with asyncio.timeout(10):
                while watched.descriptors() < LIMIT:
                    await asyncio.sleep(0.01)
            before = watched.cpu()
            await asyncio.sleep(WINDOW)
            share = (watched.cpu() - before) / WINDOW
            assert share < 0.5, f"a loop that runs in circles takes all of a core, this one {share:.0%}"
            await echoes(witness)
        await open_again(server.url)
        await echoes(witness)
        lines = [line for line in server.output.splitlines() if "descriptor" in line]
        assert 1 <= len(lines) <= loop.time() - begin + 1
        assert all(re.search(r"\d+ connections were turned away with 503", line) for line in lines)
    assert "Traceback" not in server.output


def test_the_log_has_a_line_a_second_at_most(caplog: pytest.LogCaptureFixture) -> None:
    clock = iter([0.0, 0.1, 0.9, 1.0, 1.5, 2.5]).__next__
    notice = Notice(clock)
    for _ in range(5):
        notice.turned_away()
    notice.turned_away(0)
    said = [re.findall(r"(\d+) connections", record.getMessage())[0] for record in caplog.records]
    assert said == ["1", "3", "1"]

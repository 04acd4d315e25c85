"""F21: one of several workers is killed, again and again. Another takes its place, and the others do not notice."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import pytest

from crosspeer.testing import sockets
from crosspeer.testing.client import ConnectionClosed
from process import Command, serving

KILLS: Final = 3
DEADLINE: Final = 30.0

APPLICATION: Final = """
import os
from crosspeer import Hooks

class Room(Hooks):
    def message(self, peer, message):
        peer.send(f"{message.text()} {os.getpid()}")
"""


async def enter(stack: AsyncExitStack, command: Command) -> tuple[int, Any]:
    """A client, and the process that serves it."""
    client = await stack.enter_async_context(sockets.connect(command.url.replace("http", "ws"), timeout=DEADLINE))
    await client.send("who")
    return int((await client.receive()).removeprefix("who ")), client


async def another(stack: AsyncExitStack, command: Command, than: set[int]) -> tuple[int, Any]:
    """A client of a process that is none of these: the system spreads connections as it likes."""
    async with asyncio.timeout(DEADLINE):
        while True:
            with contextlib.suppress(OSError, ConnectionClosed):
                found, client = await enter(stack, command)
                if found not in than:
                    return found, client
                await client.close()
            await asyncio.sleep(0.01)


@pytest.mark.slow
@pytest.mark.timeout(90)
async def test_a_killed_worker_is_replaced_and_the_other_is_untouched(tmp_path: Path) -> None:
    (tmp_path / "room.py").write_text(APPLICATION)
    async with serving("room:Room", "--workers", "2", cwd=tmp_path) as command, AsyncExitStack() as stack:
        steady, witness = await enter(stack, command)
        victim, client = await another(stack, command, {steady})
        gone: set[int] = set()
        for count in range(1, KILLS + 1):
            os.kill(victim, signal.SIGKILL)
            gone.add(victim)
            assert await client.wait_closed() == 1006
            await command.printed("another takes its place", count)
            victim, client = await another(stack, command, gone | {steady})
            await witness.send("still here?")
            assert await witness.receive() == f"still here? {steady}"

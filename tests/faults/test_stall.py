"""F12: a hook that blocks the loop. Nobody is dropped for it, and the log says whose hook it is."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

import pytest

from crosspeer.testing import sockets
from hostile.stage import ENGINES, needed
from process import serving

APPLICATION: Final = """
import time
from crosspeer import Hooks, Hub, Limits

class Chat(Hooks):
    def message(self, peer, message):
        if message.data != "hello":
            time.sleep(float(message.data))
        peer.send(message.data)

class Async(Chat):
    async def message(self, peer, message):
        super().message(peer, message)

HOOKS = {"/": Chat(), "/async": Async()}
hub = Hub(resolve=lambda request: HOOKS.get(request.url.path), limits=Limits(ping_interval=%s, ping_timeout=%s))
"""


async def stall(engine: str, folder: Path, seconds: float, limits: tuple[float, float], path: str = "/") -> str:
    """Stall a server; what it has logged."""
    (folder / "stalling.py").write_text(APPLICATION % limits)
    async with serving("stalling:hub", "--engine", needed(engine), cwd=folder) as server:
        url = server.url.replace("http", "ws")
        async with sockets.connect(url + path, timeout=20) as culprit:
            others = [await sockets.connect(url, timeout=20) for _ in range(5)]
            await culprit.send(str(seconds))
            assert await culprit.receive() == str(seconds)
            # Time enough to be dropped in, for who is taken for a dead one.
            await asyncio.sleep(limits[1])
            for client in (culprit, *others):
                await client.send("hello")
                assert await client.receive() == "hello"
            await server.printed("the event loop goes on")
            for client in others:
                await client.close()
    return server.output


async def test_a_hook_that_blocks_is_named_and_nobody_is_dropped(tmp_path: Path) -> None:
    kinds = [("native", "/"), ("python", "/"), ("uvicorn", "/async")]
    runs = (stall(needed(engine), tmp_path, 2.2, (0.3, 0.3), path) for engine, path in kinds)
    for log, hook in zip(await asyncio.gather(*runs), ("Chat.message", "Chat.message", "Async.message"), strict=True):
        assert f"the event loop has stood still for 1.0 s, in {hook} (" in log
        assert "stalling.py:" in log
        assert log.count("stood still") == 1


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
async def test_five_seconds(engine: str, tmp_path: Path) -> None:
    await stall(engine, tmp_path, 5, (2, 2))

"""F11: the wall clock jumps by ten years, or two minutes, or goes at another pace. Only what lasts is measured here."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from crosspeer import History, Hub, Limits, Peer, Server
from crosspeer.testing import events, sockets
from crosspeer.testing.client import Client
from crosspeer.testing.contracts.harness import Recorder, talk
from hostile.stage import ENGINES, needed
from process import serving

YEARS: Final = 10 * 365 * 86_400
JUMPS: Final = (YEARS, -YEARS, 120, -120)
LIMITS: Final = Limits(ping_interval=0.2, ping_timeout=2)
BEATS: Final = 0.4
"""Seconds after each jump, in which there are heartbeats."""
LIBRARIES: Final = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))


class Room(Recorder):
    def open(self, peer: Peer) -> None:
        recovery = peer.subscribe("room")
        assert recovery is not None
        peer.context["since"] = recovery.position
        super().open(peer)

    def message(self, peer: Peer, message: Any) -> None:
        peer.send(message.data)


async def test_a_jump_disconnects_nobody_and_expires_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the clocks of Python: whoever asks for the time of day gets a wrong one."""
    ahead = [0.0]
    real, real_ns = time.time, time.time_ns
    monkeypatch.setattr(time, "time", lambda: real() + ahead[0])
    monkeypatch.setattr(time, "time_ns", lambda: real_ns() + int(ahead[0] * 1e9))
    async with AsyncExitStack() as stack:
        rooms = [await stack.enter_async_context(room(needed(engine))) for engine in ENGINES]
        for jump in JUMPS:
            ahead[0] += jump
            for hub, _, clients in rooms:
                hub.publish("room", "before or after?")
                for client in clients:
                    assert await client.receive() == "before or after?"
            await asyncio.sleep(BEATS)
            for _, _, clients in rooms:
                await talk(*clients)
        for hub, hooks, _ in rooms:
            assert hooks.of("close") == []
            assert hub.history is not None
            missed = hub.history.since("/", "room", hooks.peers[0].context["since"])
            assert missed is not None
            assert len(missed) == len(JUMPS)


@asynccontextmanager
async def room(engine: str) -> AsyncIterator[tuple[Hub, Room, list[Client]]]:
    """A server on this engine, with a peer by WebSocket and one by event stream."""
    hooks = Room()
    hub = Hub(hooks, limits=LIMITS, history={"*": History()})
    async with (
        Server(hub, port=0, engine=engine) as server,
        sockets.connect(server.url.replace("http", "ws")) as socket,
        events.connect(server.url) as stream,
    ):
        yield hub, hooks, [socket, stream]


APPLICATION: Final = """
import time
from crosspeer import Hooks, Hub, Limits

class Room(Hooks):
    def message(self, peer, message):
        peer.send(str(time.time()) if message.data == "time" else message.data)

hub = Hub(Room(), limits=Limits(ping_interval=0.2, ping_timeout=2))
"""


@pytest.mark.slow
@pytest.mark.skipif(not LIBRARIES, reason="libfaketime is not installed: apt-get install libfaketime")
async def test_a_process_whose_clock_jumps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the clocks of the whole process, by libfaketime: the engine's in Rust and the loop's in C too."""
    (tmp_path / "jumping.py").write_text(APPLICATION)
    clock = tmp_path / "clock"
    clock.write_text("+0")
    for name, value in (
        ("LD_PRELOAD", str(LIBRARIES[0])),
        ("FAKETIME_TIMESTAMP_FILE", str(clock)),
        ("FAKETIME_NO_CACHE", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ):
        monkeypatch.setitem(os.environ, name, value)
    async with AsyncExitStack() as stack:
        clients = []
        for engine in ENGINES:
            server = await stack.enter_async_context(serving("jumping:hub", "--engine", needed(engine), cwd=tmp_path))
            connecting = sockets.connect(server.url.replace("http", "ws"), timeout=20)
            clients.append(await stack.enter_async_context(connecting))
        for offset in ("+10y", "-10y", "+2m", "-2m", "+0 x10"):
            clock.write_text(offset)
            for client in clients:
                await client.send("time")
                jumped = float(str(await client.receive())) - time.time()
                assert "x" in offset or abs(jumped) > 100
            await asyncio.sleep(BEATS)
            for client in clients:
                await client.send("still here?")
                assert await client.receive() == "still here?"

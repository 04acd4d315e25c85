"""F18: whoever runs a server, or waits for its end, is cancelled at each of its awaits: nothing is left behind."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import random
import sys
import types
from collections.abc import Coroutine, Generator
from typing import Any, Final

import pytest

from crosspeer import Hub, Message, Peer, Server
from crosspeer.testing import connect, events, sockets
from crosspeer.testing.contracts.harness import Recorder
from hostile.stage import ENGINES, needed

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it counts the descriptors in /proc")

SEED: Final = 20261121
POINTS: Final = 16
"""Awaits of a scene that are chosen from, where not all are tried."""


class Chat(Recorder):
    """Hooks that wait, each a few times."""

    async def upgrade(self, request: Any) -> None:
        await asyncio.sleep(0)

    async def message(self, peer: Peer, message: Message) -> None:
        await asyncio.sleep(0)
        peer.subscribe("chat")
        peer.send(message.data)
        await peer.wait_for_drain()

    async def close(self, peer: Peer, details: Any) -> None:
        await asyncio.sleep(0)
        self.note("close", details)


@types.coroutine
def cancelled_at(point: int, work: Coroutine[Any, Any, Any]) -> Generator[Any, Any, bool]:
    """Run a coroutine, and cancel the task that it runs in when it waits for so many times. False: it never did."""
    count, give, step = 0, None, work.send
    while True:
        try:
            waits_for = step(give)  # type: ignore[arg-type]
        except StopIteration:
            return count > point
        if count == point:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
        count += 1
        try:
            give, step = (yield waits_for), work.send
        except BaseException as raised:
            give, step = raised, work.throw  # type: ignore[assignment]


async def converse(client: Any) -> None:
    await client.send("hello")
    assert await client.receive() == "hello"


async def serving(engine: str) -> None:
    """From the start of a server to its end, with a peer that goes and one that stays."""
    hub = Hub(Chat())
    async with Server(hub, port=0, engine=engine, shutdown_timeout=0.5) as server:
        stays = await sockets.connect(server.url.replace("http", "ws"))
        try:
            await converse(stays)
            async with sockets.connect(server.url.replace("http", "ws")) as goes:
                await converse(goes)
        except BaseException:
            stays.terminate()
            raise
    stays.terminate()


async def streaming(engine: str) -> None:
    """The same with a peer that comes by event stream."""
    async with (
        Server(Hub(Chat()), port=0, engine=engine, shutdown_timeout=0.5) as server,
        events.connect(server.url) as client,
    ):
        await converse(client)


async def closing(engine: str) -> None:
    """The end of a hub, in memory."""
    hub = Hub(Chat())
    async with connect(hub) as client, connect(hub):
        await converse(client)
        await hub.close()


SCENES: Final = {"serving": serving, "streaming": streaming, "closing": closing}


RUNS: Final = [(scene, engine) for scene in ("serving", "streaming") for engine in ENGINES] + [("closing", "python")]

SOME: Final = [("serving", "native"), ("serving", "python"), ("streaming", "python"), ("closing", "python")]


def descriptors() -> list[str]:
    found = []
    for number in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{number}"))
        except OSError:
            continue
    return sorted(name for name in found if name.startswith(("socket:", "anon_inode:", "pipe:")))


def attempt(scene: str, engine: str, point: int) -> bool:
    """Run a scene on a loop of its own, cancelled at a point. False: it has fewer than that."""
    complaints: list[dict[str, Any]] = []
    # Of other tests.
    gc.collect()
    before = descriptors()

    async def run() -> bool:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: complaints.append(context))
        task = asyncio.create_task(_bool(cancelled_at(point, SCENES[scene](engine))))
        await asyncio.wait([task])
        # What is closed is gone in the next turns.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):
                while len(asyncio.all_tasks()) > 1:
                    await asyncio.sleep(0)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert left == set(), f"{scene} on {engine}, cancelled at {point}: {left}"
        for _ in range(3):
            await asyncio.sleep(0)
        return task.cancelled() or task.result()

    async def _bool(work: Any) -> bool:
        return bool(await work)

    with asyncio.Runner() as runner:
        reached = runner.run(run())
        gc.collect()
        assert complaints == [], f"{scene} on {engine}, cancelled at {point}: {complaints}"
    gc.collect()
    left = descriptors()
    assert left == before, f"{scene} on {engine}, cancelled at {point}: {left} of {before}"
    return reached


@pytest.mark.parametrize(("scene", "engine"), SOME)
def test_cancelled_at_some_of_its_awaits_it_leaves_nothing(scene: str, engine: str) -> None:
    chance = random.Random(f"{SEED} {scene} {engine}")
    for point in sorted(chance.sample(range(POINTS), 2)):
        attempt(scene, needed(engine), point)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("scene", "engine"), RUNS)
def test_cancelled_at_each_of_its_awaits_it_leaves_nothing(scene: str, engine: str) -> None:
    point = 0
    while attempt(scene, needed(engine), point):
        point += 1
    assert point > 4

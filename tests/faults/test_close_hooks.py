"""A peer that goes in the very moment in which its server stops: its `close` hook runs, once, and to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

import pytest

from crosspeer import Hooks, Server
from crosspeer.testing import sockets
from hostile.stage import ENGINES, needed

TIMES = 10
"""Servers that are stopped in that moment: it is one turn of the loop."""


class Closing(Hooks):
    """Takes its time to say goodbye."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.called = self.begun = self.ended = 0
        self.is_called = asyncio.Event()

    def close(self, peer: Any, details: Any) -> Awaitable[None]:
        # Not `async`: what is called may not have begun yet.
        self.called += 1
        self.is_called.set()
        return self._close()

    async def _close(self) -> None:
        self.begun += 1
        await asyncio.sleep(self.seconds)
        self.ended += 1

    @property
    def counts(self) -> tuple[int, int, int]:
        return self.called, self.begun, self.ended


def dial(server: Server) -> sockets.connect:
    return sockets.connect(server.url.replace("http", "ws"))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("politely", [True, False])
async def test_a_peer_that_goes_as_the_server_stops_is_taken_leave_of(engine: str, politely: bool) -> None:
    hooks = Closing()

    async def once() -> None:
        async with Server(hooks, port=0, engine=needed(engine)) as server:
            client = await dial(server)
            if politely:
                await client.close()
            else:
                client.terminate()

    await asyncio.gather(*(once() for _ in range(TIMES)))
    assert hooks.counts == (TIMES, TIMES, TIMES)


@pytest.mark.parametrize("engine", ENGINES)
async def test_a_goodbye_that_was_said_and_not_begun_is_said_to_its_end(engine: str) -> None:
    many = [Closing() for _ in range(TIMES)]

    async def once(hooks: Closing) -> None:
        async with Server(hooks, port=0, engine=needed(engine)) as server:
            (await dial(server)).terminate()
            await hooks.is_called.wait()

    await asyncio.gather(*map(once, many))
    assert [hooks.counts for hooks in many] == [(1, 1, 1)] * TIMES


@pytest.mark.parametrize("engine", ENGINES)
async def test_a_long_goodbye_is_waited_for(engine: str) -> None:
    hooks = Closing(seconds=0.3)
    async with Server(hooks, port=0, engine=needed(engine)) as server:
        (await dial(server)).terminate()
        stays = await dial(server)
        await hooks.is_called.wait()
    assert hooks.counts == (2, 2, 2)
    assert await stays.wait_closed() == 1012


@pytest.mark.parametrize("engine", ENGINES)
async def test_a_hook_that_never_ends_does_not_take_the_goodbye_with_it(engine: str) -> None:
    stuck = asyncio.Event()

    class Stuck(Closing):
        async def message(self, peer: Any, message: Any) -> None:
            stuck.set()
            await asyncio.Event().wait()

    hooks = Stuck(seconds=0.02)
    async with Server(hooks, port=0, engine=needed(engine), shutdown_timeout=1.0) as server:
        client = await dial(server)
        await client.send("x")
        await stuck.wait()
    assert hooks.counts == (1, 1, 1)
    await client.wait_closed()


@pytest.mark.parametrize("engine", ENGINES)
async def test_a_hook_of_this_very_turn_does_not_take_the_goodbye_with_it(engine: str) -> None:
    """What it returned is not awaited yet when its task is cancelled."""

    class Stuck(Closing):
        def message(self, peer: Any, message: Any) -> Awaitable[None]:
            stopping.append(asyncio.ensure_future(server.stop()))
            return self._message()

        async def _message(self) -> None:
            await asyncio.Event().wait()

    stopping: list[asyncio.Future[None]] = []
    hooks = Stuck()
    server = Server(hooks, port=0, engine=needed(engine), shutdown_timeout=0.5)
    await server.start()
    client = await dial(server)
    await client.send("x")
    await client.wait_closed()
    await stopping[0]
    assert hooks.counts == (1, 1, 1)


@pytest.mark.parametrize("engine", ENGINES)
async def test_a_goodbye_without_end_does_not_hold_the_shutdown(engine: str) -> None:
    hooks = Closing(seconds=3600)
    server = Server(hooks, port=0, engine=needed(engine), shutdown_timeout=0.5)
    await server.start()
    client = await dial(server)
    async with asyncio.timeout(5):
        await server.stop()
    assert hooks.counts == (1, 1, 0)
    await client.wait_closed()

"""What is hard to bring about from outside: cancelled hooks, events in unlucky moments."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from crosspeer import CloseDetails, Hooks, Hub, Message, Peer
from crosspeer.testing import connect


class Logged(Hooks):
    def __init__(self) -> None:
        self.log: list[Any] = []

    def close(self, peer: Peer, details: CloseDetails) -> None:
        self.log.append(("close", details.code))


async def test_what_came_in_before_the_close_is_seen_before_it() -> None:
    class Slow(Logged):
        async def message(self, peer: Peer, message: Message) -> None:
            await asyncio.sleep(0.001)
            self.log.append(message.text())

    hooks = Slow()
    async with connect(hooks) as client:
        for text in "abc":
            await client.send(text)
    assert hooks.log == ["a", "b", "c", ("close", 1000)]


async def test_what_comes_in_after_our_close_is_not_seen() -> None:
    class Closing(Logged):
        async def message(self, peer: Peer, message: Message) -> None:
            self.log.append(message.text())
            await asyncio.sleep(0.005)
            peer.close(4000)

    hooks = Closing()
    client = await connect(hooks)
    await client.send("a")
    await client.send("b")
    assert await client.wait_closed() == 4000
    assert hooks.log == ["a", ("close", 4000)]


async def test_a_cancelled_hook_ends_its_peer_and_close_still_runs() -> None:
    class Cancelling(Logged):
        async def message(self, peer: Peer, message: Message) -> None:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.sleep(1)
            self.log.append("went on")

    hooks = Cancelling()
    client = await connect(hooks)
    await client.send("x")
    assert await client.wait_closed() == 1006
    assert hooks.log == [("close", 1006)]


async def test_an_async_error_hook_is_awaited_before_the_next_message() -> None:
    class Careful(Logged):
        def message(self, peer: Peer, message: Message) -> None:
            if message.data == "bad":
                raise ValueError("bad")
            self.log.append(message.data)

        async def error(self, peer: Peer, error: Exception) -> None:  # type: ignore[override]
            await asyncio.sleep(0.005)
            self.log.append(str(error) + " handled")

    hooks = Careful()
    async with connect(hooks) as client:
        await client.send("bad")
        await client.send("good")
    assert hooks.log == ["bad handled", "good", ("close", 1000)]


async def test_the_default_error_can_be_extended() -> None:
    class Extended(Logged):
        def message(self, peer: Peer, message: Message) -> None:
            raise ValueError("bad")

        def error(self, peer: Peer, error: Exception) -> None:
            self.log.append(str(error))
            super().error(peer, error)

    hooks = Extended()
    client = await connect(hooks)
    await client.send("x")
    assert await client.wait_closed() == 1011
    assert hooks.log == ["bad", ("close", 1011)]


async def test_a_peer_cannot_be_subscribed_after_it_left() -> None:
    entered, leave = asyncio.Event(), asyncio.Event()

    class Late(Hooks):
        async def open(self, peer: Peer) -> None:
            entered.set()
            await leave.wait()
            peer.subscribe("chat")

    hub = Hub(Late())
    client = await connect(hub)
    await entered.wait()
    client.terminate()
    for _ in range(5):
        await asyncio.sleep(0)
    leave.set()
    await client.wait_closed()
    assert hub.topics == 0
    assert hub.peers == {}


@pytest.mark.parametrize("exception", [KeyboardInterrupt, SystemExit])
async def test_an_interrupt_is_not_a_hooks_error(exception: type[BaseException]) -> None:
    class Session(Logged):
        def error(self, peer: Peer, error: Exception) -> None:
            self.log.append("error")

    from crosspeer.core.admission import Admission
    from crosspeer.core.hooks import HookTable
    from crosspeer.core.session import Session as Real
    from crosspeer.core.upgrade import Upgrade

    hooks = Session()

    async def interrupted() -> None:
        raise exception

    session = Real(Admission(Hub(hooks), None, HookTable.of(hooks), Upgrade(), "/"))  # type: ignore[arg-type]
    with pytest.raises(exception):
        await session._settle(interrupted())
    assert hooks.log == []


async def test_an_end_that_is_reported_twice_is_told_once() -> None:
    hooks = Logged()
    hub = Hub(hooks)
    async with connect(hub):
        (session,) = hub.sessions()
        session.closed(CloseDetails(1006, "", was_clean=False))
        session.closed(CloseDetails(1000))
    assert hooks.log == [("close", 1006)]
    assert hub.connections == 0

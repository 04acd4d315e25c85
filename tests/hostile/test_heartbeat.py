"""Clients that are there and say nothing, on a server without pings. They are the rows F6, W13 and W14 of a hub whose
heartbeat has to do without the server's help."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from crosspeer import Heartbeat, Hub, Limits, Message, Peer
from crosspeer.testing import sockets
from crosspeer.testing.contracts.harness import Recorder
from plain import plain_uvicorn
from raw import CLOSE, FIN, PING, PONG, TEXT, Raw, frame

HEARTBEAT = Heartbeat(interval=0.3, timeout=0.5)
LIMITS = Limits(close_timeout=0.3)


class Echo(Recorder):
    def message(self, peer: Peer, message: Message) -> None:
        self.note("message", message.data)
        peer.send(message.data)


async def keep_sending(client: Raw, data: bytes) -> None:
    while True:
        client.send(data)
        await asyncio.sleep(0.05)


def nothing(client: Raw) -> Any:
    return None


def stops_reading(client: Raw) -> Any:
    client.writer.transport.pause_reading()  # type: ignore[attr-defined]


def half_a_frame(client: Raw) -> Any:
    client.send(frame(FIN | TEXT, b"x" * 100)[:50])


def a_message_without_end(client: Raw) -> Any:
    client.send(frame(TEXT, b"x"))
    return keep_sending(client, frame(0, b"x"))


def pings_alone(client: Raw) -> Any:
    """uvicorn answers them and tells nobody, so they are no sign of life here."""
    return keep_sending(client, frame(FIN | PING, b"hello"))


def pongs_alone(client: Raw) -> Any:
    return keep_sending(client, frame(FIN | PONG, b""))


MUTE = [nothing, stops_reading, half_a_frame, a_message_without_end, pings_alone, pongs_alone]


@pytest.mark.parametrize("behave", MUTE)
async def test_who_answers_nothing_is_gone_in_time(behave: Callable[[Raw], Any]) -> None:
    hooks, witness_hooks = Echo(), Echo()
    hub = Hub(
        resolve=lambda request: {"/": hooks, "/witness": witness_hooks}.get(request.url.path),
        limits=LIMITS,
        heartbeat=HEARTBEAT,
    )
    async with plain_uvicorn(hub) as url, sockets.connect(url.replace("http", "ws") + "/witness") as witness:
        talking = asyncio.create_task(answer(witness))
        async with Raw(url) as client:
            await client.upgrade()
            await hooks.wait_for("open")
            doing = behave(client)
            task = None if doing is None else asyncio.create_task(doing)
            try:
                details = await hooks.wait_for("close", timeout=20)
            finally:
                if task is not None:
                    task.cancel()
            assert details.code == 1001
            assert details.reason == "no sign of life"
            assert hooks.of("message") == hooks.of("error") == []
            if behave is nothing:
                assert await client.frame() == (TEXT, b"crosspeer:ping")
                assert await client.close_code() == (1001, "no sign of life")
        assert hub.connections == 1
        await witness_hooks.wait_for("message", 3)
        assert witness_hooks.of("close") == []
        talking.cancel()
        assert {kind for kind, _ in witness_hooks.events} == {"open", "message"}


async def answer(witness: Any) -> None:
    """A client that is never silent for long, and whose own words are answer enough."""
    while True:
        await witness.send("still here")
        while await witness.receive() != "still here":
            pass
        await asyncio.sleep(0.02)


async def test_who_goes_on_after_the_goodbye_is_not_heard() -> None:
    """It neither answers the close frame nor leaves. The connection is the server's from then on."""
    hooks = Echo()
    async with plain_uvicorn(Hub(hooks, limits=LIMITS, heartbeat=HEARTBEAT)) as url, Raw(url) as client:
        await client.upgrade()
        while (await client.frame())[0] != CLOSE:
            pass
        for _ in range(5):
            client.send(frame(FIN | TEXT, b"crosspeer:pong"))
        details = await hooks.wait_for("close", timeout=20)
        assert details.code == 1001
        assert hooks.of("message") == []

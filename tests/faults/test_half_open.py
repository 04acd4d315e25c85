"""F6: a client whose network is gone. It says nothing, and nothing that is said to it arrives."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from crosspeer import Hub, Limits, Peer, Server
from crosspeer.testing import sockets
from crosspeer.testing.contracts.harness import Recorder, talk
from faults.proxy import Proxy, proxy
from hostile.stage import ENGINES, needed

QUICK = Limits(ping_interval=0.4, ping_timeout=0.4)
PROMISE = Limits().ping_timeout + (Limits().ping_interval or 0)


class Room(Recorder):
    def open(self, peer: Peer) -> None:
        peer.subscribe(peer.namespace)
        super().open(peer)

    def message(self, peer: Peer, message: Any) -> None:
        peer.send(message.data)


def blackhole(between: Proxy) -> None:
    between.blackhole()


def only_up(between: Proxy) -> None:
    """Its pongs do not arrive."""
    between.blackhole("up")


def only_down(between: Proxy) -> None:
    """Our pings do not."""
    between.blackhole("down")


def half_open(between: Proxy) -> None:
    between.half_open()


async def lose(engine: str, limits: Limits, fault: Any, timeout: float) -> float:
    """Lose a client by a fault: seconds until its `close` hook has run."""
    rooms = {"/": Room(), "/witness": Room()}
    hub = Hub(resolve=lambda request: rooms.get(request.url.path), limits=limits)
    async with (
        Server(hub, port=0, engine=needed(engine), shutdown_timeout=5) as server,
        proxy(server.url) as between,
        sockets.connect(server.url.replace("http", "ws") + "/witness") as witness,
    ):
        lost = await sockets.connect(between.url.replace("http", "ws"))
        await talk(lost, witness)
        assert (hub.connections, hub.topics) == (2, 2)
        loop = asyncio.get_running_loop()
        begin = loop.time()
        fault(between)
        details = await rooms["/"].wait_for("close", timeout=timeout)
        took = loop.time() - begin
        assert (details.code, details.was_clean) == (1006, False)
        assert (hub.connections, hub.topics) == (1, 1)
        await talk(witness, witness)
        assert [kind for kind, _ in rooms["/"].events] == ["open", "close"], "exactly once"
        assert rooms["/witness"].of("close") == []
        lost.terminate()
    return took


@pytest.mark.parametrize("engine", ENGINES)
async def test_a_client_without_a_network_is_gone_soon(engine: str) -> None:
    faults = (blackhole, only_up, only_down, half_open)
    await asyncio.gather(*(lose(engine, QUICK, fault, timeout=20) for fault in faults))


@pytest.mark.slow
@pytest.mark.timeout(90)
async def test_by_default_it_is_gone_within_thirty_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    engines = [needed(engine) for engine in ENGINES]
    took = await asyncio.gather(*(lose(engine, Limits(), blackhole, PROMISE + 5) for engine in engines))
    with capsys.disabled():
        print({engine: f"{seconds:.1f} s" for engine, seconds in zip(engines, took, strict=True)})  # noqa: T201
    assert max(took) < PROMISE + 5

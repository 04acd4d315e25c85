"""What becomes of a fleet when its backplane restarts, freezes, or is not there at all (rows F2 to F5)."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, Any

import pytest

from backplanes import BROKERS, free_port
from crosspeer import Hub, Server
from crosspeer.sync import Relay, link, open_backend
from crosspeer.testing import connect
from faults.proxy import proxy
from fleet import Chat, node, nodes, relay_of, settled, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from backplanes import Broker


@pytest.fixture(params=["redis", "nats", "postgres"])
async def server(request: pytest.FixtureRequest) -> AsyncIterator[Broker]:
    async with BROKERS[request.param]() as broker:
        yield broker


async def test_a_restart_is_survived_and_told(server: Broker) -> None:
    async with (
        nodes(server, 2) as (one, two),
        connect(one, "/?topic=chat") as near,
        connect(two, "/?topic=chat") as far,
    ):
        await settled(one, two)
        await server.kill()
        await until(lambda: not relay_of(one).is_up and not relay_of(two).is_up)
        assert relay_of(one).counts.outages == 1
        two.publish("chat", "local delivery goes on")
        assert await far.receive() == "local delivery goes on"
        await server.start()
        await until(lambda: relay_of(one).is_up and relay_of(two).is_up)
        await settled(one, two)
        one.publish("chat", "it is back")
        while (message := await far.receive()) != "it is back":
            # What waited for the backplane may still come, once.
            assert message == "local delivery goes on"
        assert await near.receive() in ("it is back", "local delivery goes on")


async def test_a_connection_that_only_looks_alive_is_found_out(server: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Row F4: the server is frozen, so its sockets stay open and say nothing."""
    assert link.CHECK_EVERY + link.CHECK_WITHIN < 10
    monkeypatch.setattr(link, "CHECK_EVERY", 0.3)
    monkeypatch.setattr(link, "CHECK_WITHIN", 1.0)
    async with nodes(server, 1) as (hub,):
        server.send(signal.SIGSTOP)
        try:
            await until(lambda: not relay_of(hub).is_up)
        finally:
            server.send(signal.SIGCONT)
        await until(lambda: relay_of(hub).is_up)


async def test_a_server_starts_without_its_backplane_and_finds_it_later() -> None:
    """Redis on a port where nobody listens yet."""
    hub = Hub(Chat(), sync=f"redis://127.0.0.1:{free_port()}/0")
    async with Server(hub, port=0) as running, connect(hub, "/?topic=chat") as client:
        assert running.url
        assert not relay_of(hub).is_up
        hub.publish("chat", "to our own")
        assert await client.receive() == "to our own"


async def test_the_first_of_local_nodes_goes_and_another_takes_its_place() -> None:
    async with BROKERS["local"]() as broker:
        first = node(broker)
        assert first.sync is not None
        await first.sync.start()
        async with nodes(broker, 2) as (one, two), connect(two, "/?topic=chat") as client:
            await settled(one, two)
            await first.close()
            await until(lambda: relay_of(one).counts.outages == relay_of(two).counts.outages == 1)
            await until(lambda: relay_of(one).is_up and relay_of(two).is_up)
            await settled(one, two)
            # Its own subscriptions are at the new exchange before a check on the same connection is answered.
            await relay_of(two)._backend.check()
            one.publish("chat", "after")
            assert await client.receive() == "after"


async def test_the_application_is_told_what_may_be_missing(server: Broker) -> None:
    told: list[str] = []
    hub = Hub(Chat(), sync=Relay(open_backend(server.url)), outage=told.append)
    assert hub.sync is not None
    await hub.sync.start()
    assert told == []
    await server.kill()
    await until(lambda: told == ["lost"])
    assert hub.status == "degraded"
    await server.start()
    await until(lambda: told == ["lost", "back"])
    assert hub.status == "ok"
    await hub.close()
    assert told == ["lost", "back"], "who leaves is not cut off"


async def test_the_outage_of_another_node_is_told_before_its_next_message() -> None:
    told: list[str] = []
    async with BROKERS["redis"]() as broker, proxy(broker.url) as way, nodes(broker, 1) as (hub,):
        hub._outage = told.append
        far = Hub(Chat(), sync=Relay(open_backend(way.url.replace("http", "redis"))))
        assert far.sync is not None
        await far.sync.start()
        async with connect(hub, "/?topic=chat") as client:
            await settled(hub, far)
            way.cut()
            await until(lambda: relay_of(far).counts.outages == 1)
            far.publish("chat", "after the gap")
            assert await client.receive() == "after the gap"
            assert told == ["gap"]
        await far.close()


async def test_a_nats_client_that_throws_messages_away_is_connected_anew() -> None:
    """It does so when its queue is full, and only tells its error callback."""
    from nats.errors import SlowConsumerError

    told: list[str] = []
    async with BROKERS["nats"]() as broker, nodes(broker, 1) as (hub,), connect(hub, "/?topic=chat") as client:
        hub._outage = told.append
        await settled(hub)
        backend: Any = relay_of(hub)._backend
        (subscription, *_) = backend._subscriptions.values()
        await backend._client._error_cb(SlowConsumerError(subject="chat", reply="", sid=1, sub=subscription))
        await until(lambda: told == ["lost", "back"])
        hub.publish("chat", "here")
        assert await client.receive() == "here"


async def test_a_callback_that_fails_breaks_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def fails(outage: str) -> None:
        raise RuntimeError(outage)

    Hub(outage=fails).interrupted("gap")
    assert "the outage callback failed" in caplog.text


async def test_publications_that_were_lost_are_told_to_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crosspeer.sync.link.MAX_WAITING", 10_000)
    told: list[str] = []
    one = Hub(sync="memory://lossy")
    two = Hub(Chat(), sync="memory://lossy", outage=told.append)
    assert one.sync is not None
    assert two.sync is not None
    await asyncio.gather(one.sync.start(), two.sync.start())
    async with connect(two, "/?topic=chat") as client:
        await settled(two)
        for topic in ("chat", "other", "chat/2"):
            one.publish(topic, "x" * 6_000, namespace="/")
        await until(lambda: relay_of(one).lost == 2)
        one.publish("chat", "behind the gap", namespace="/")
        assert await client.receive() == "behind the gap"
        assert told == ["gap"]
    await asyncio.gather(one.close(), two.close())


async def test_what_waits_for_the_backplane_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crosspeer.sync.link.MAX_WAITING", 100_000)
    hub = Hub(Chat(), sync=f"redis://127.0.0.1:{free_port()}/0")
    for _ in range(50):
        hub.publish("chat", "x" * 10_000)
        await asyncio.sleep(0)
    waiting = relay_of(hub)._link
    assert waiting is not None
    assert waiting._bytes <= 100_000
    assert relay_of(hub).lost >= 40
    await hub.close()


def test_a_wrong_address_is_an_error_at_once() -> None:
    for url in ("", "redis", "mysql://localhost", "local://", "local://relative"):
        with pytest.raises(ValueError, match=r"backend|local:"):
            Hub(sync=url)
    with pytest.raises(ValueError, match="prefix"):
        Relay(open_backend("memory://"), prefix="a.b")


async def test_a_hub_lives_on_in_another_loop() -> None:
    """A hub of a module is older than its loop, and tests run it in many."""
    hub = Hub(Chat(), sync="memory://again")
    for _ in range(2):
        async with connect(hub, "/?topic=chat") as client:
            hub.publish("chat", "here")
            assert await client.receive() == "here"
        await hub.close()
        assert not relay_of(hub).is_up

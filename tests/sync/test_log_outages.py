"""Topics with history while the backplane restarts, loses its data or is out of reach: filled, or told (F2 to F5)."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any

import pytest

from backplanes import BROKERS
from crosspeer import History, Hub, Position
from crosspeer.sync import Relay, backlog, journal, open_backend
from crosspeer.testing import connect
from crosspeer.testing.contracts.harness import Recorder
from faults.proxy import proxy
from fleet import nodes_with, relay_of, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from backplanes import Broker
    from crosspeer import Message, Peer
    from crosspeer.testing.client import Client


class Room(Recorder):
    async def open(self, peer: Peer) -> None:
        recovery = peer.subscribe("chat", since=peer.request.query_params.get("since"))
        assert recovery is not None
        await recovery
        peer.send({"welcome": recovery.recovered, "position": str(recovery.position)})
        super().open(peer)

    def message(self, peer: Peer, message: Message) -> None:
        peer.publish("chat", message.data)


def kept(**more: Any) -> dict[str, History]:
    return {"chat": History(tagged=True, **more)}


async def tag(client: Client) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(await client.receive())
    return found


async def data(client: Client, count: int) -> list[str]:
    """The next messages, whatever is told between them."""
    texts: list[str] = []
    while len(texts) < count:
        found = await tag(client)
        if "data" in found:
            texts.append(found["data"])
    return texts


async def told(client: Client) -> dict[str, Any]:
    """What is told next, behind whatever messages."""
    while "recovered" not in (found := await tag(client)):
        pass
    return found


def backlog_of(hub: Hub) -> backlog.Backlog:
    known = relay_of(hub).journal
    assert known is not None
    return known._backlog


def both_up(*hubs: Hub) -> bool:
    return all(relay_of(hub).is_up for hub in hubs)


@pytest.fixture(params=["redis", "nats"])
async def server(request: pytest.FixtureRequest) -> AsyncIterator[Broker]:
    async with BROKERS[request.param]() as broker:
        yield broker


async def test_a_restart_that_keeps_the_data_is_survived_without_a_gap(server: Broker) -> None:
    async with (
        nodes_with(server, 2, Room, kept()) as (one, two),
        connect(one, "/") as near,
        connect(two, "/") as far,
    ):
        await tag(near)
        start = (await tag(far))["position"]
        one.publish("chat", "before", namespace="/")
        assert await data(near, 1) == await data(far, 1) == ["before"]
        await server.kill()
        await until(lambda: not relay_of(one).is_up and not relay_of(two).is_up)
        one.publish("chat", "meanwhile", namespace="/")
        alone = await tag(near)
        assert alone["data"] == "meanwhile", "local delivery goes on"
        assert Position.parse(alone["position"]).epoch != Position.parse(start).epoch  # type: ignore[union-attr]
        await server.start()
        # Other nodes get it late, ours do not get it twice, and both are told where they stand.
        assert await data(far, 1) == ["meanwhile"]
        again = await told(near)
        assert again["recovered"]
        assert Position.parse(again["position"]).epoch == Position.parse(start).epoch  # type: ignore[union-attr]
        two.publish("chat", "after", namespace="/")
        assert await data(near, 1) == await data(far, 1) == ["after"]
        async with connect(two, f"/?since={start}") as late:
            assert await data(late, 3) == ["before", "meanwhile", "after"]
            assert (await tag(late))["welcome"]
        async with connect(one, f"/?since={alone['position']}") as late:
            assert not (await tag(late))["welcome"], "a position of the outage is none any more"


async def test_a_backplane_that_has_lost_its_data_begins_anew_and_that_is_told(server: Broker) -> None:
    lost: list[Any] = []
    history = kept(lost=lambda *what: lost.append(what))
    async with (
        nodes_with(server, 2, Room, history) as (one, two),
        connect(one, "/") as near,
        connect(two, "/") as far,
    ):
        await tag(near)
        start = (await tag(far))["position"]
        one.publish("chat", "before", namespace="/")
        assert await data(near, 1) == await data(far, 1) == ["before"]
        await server.kill()
        server.lose()
        await server.start()
        for client in (near, far):
            gap = await told(client)
            assert not gap["recovered"]
            assert Position.parse(gap["position"]).epoch != Position.parse(start).epoch  # type: ignore[union-attr]
        assert sorted(namespace + topic for namespace, topic, _ in lost) == ["/chat", "/chat"]
        async with connect(two, f"/?since={start}") as late:
            assert not (await tag(late))["welcome"]
        one.publish("chat", "after", namespace="/")
        assert await data(near, 1) == await data(far, 1) == ["after"]
        assert relay_of(one).health()["gaps"] == relay_of(two).health()["gaps"] == 1


@pytest.mark.parametrize("most", [100, 5], ids=["filled", "told"])
async def test_a_node_that_was_cut_off_fills_the_gap_or_tells_it(server: Broker, most: int) -> None:
    history = kept(size=most)
    async with proxy(server.url) as between, nodes_with(server, 1, Room, history) as (one,):
        away = Hub(Room(), history=history, sync=Relay(open_backend(through(server.url, between.url))))
        assert away.sync is not None
        try:
            await away.sync.start()
            async with connect(one, "/") as near, connect(away, "/") as far:
                await tag(near)
                await tag(far)
                one.publish("chat", "first", namespace="/")
                assert await data(near, 1) == await data(far, 1) == ["first"]
                between.blackhole()
                between.cut()
                await until(lambda: not relay_of(away).is_up)
                for number in range(10):
                    one.publish("chat", str(number), namespace="/")
                seen = await data(near, 10)
                between.heal()
                await until(lambda: both_up(away))
                if most > 10:
                    assert await data(far, 10) == seen
                else:
                    assert not (await told(far))["recovered"]
                one.publish("chat", "last", namespace="/")
                assert await data(near, 1) == await data(far, 1) == ["last"]
        finally:
            await away.close()


def through(url: str, proxied: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{proxied.partition('://')[2]}/{rest.partition('/')[2]}".rstrip("/")


async def test_a_message_that_was_lost_on_its_way_is_noticed_and_filled(
    server: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "CHECK_EVERY", 0.2)
    async with nodes_with(server, 2, Room, kept()) as (one, two), connect(two, "/") as client:
        await tag(client)
        known = relay_of(two)._journal
        assert known is not None
        receive, dropping = known.received, {"2", "4", "9"}

        def lossy(channel: str, message: bytes) -> None:
            if message[-1:].decode() in dropping:
                dropping.discard(message[-1:].decode())
            else:
                receive(channel, message)

        monkeypatch.setattr(known, "received", lossy)
        for number in range(10):
            one.publish("chat", str(number), namespace="/")
        # The last one is missed by nobody but by who looks after the log.
        assert await data(client, 10) == [str(number) for number in range(10)]
        assert not dropping
        one.publish("chat", "x", namespace="/")
        assert await data(client, 1) == ["x"]


async def test_a_frozen_backplane_does_not_hold_up_our_own_peers(
    server: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "PATIENCE", 0.2)
    async with (
        nodes_with(server, 2, Room, kept()) as (one, two),
        connect(one, "/") as near,
        connect(two, "/") as far,
    ):
        await tag(near)
        await tag(far)
        server.send(signal.SIGSTOP)
        try:
            one.publish("chat", "one", namespace="/")
            assert await data(near, 1) == ["one"]
            one.publish("chat", "two", namespace="/")
            assert await data(near, 1) == ["two"]
        finally:
            server.send(signal.SIGCONT)
        assert await data(far, 2) == ["one", "two"]
        assert (await told(near))["recovered"]
        two.publish("chat", "three", namespace="/")
        assert await data(near, 1) == await data(far, 1) == ["three"]


async def test_a_peer_that_comes_in_an_outage_is_served_and_told_afterwards(server: Broker) -> None:
    async with nodes_with(server, 1, Room, kept()) as (hub,):
        await server.kill()
        await until(lambda: not relay_of(hub).is_up)
        async with connect(hub, f"/?since={'0' * 16}:5") as client, connect(hub, "/") as other:
            first = await tag(client)
            assert not first["welcome"]
            await tag(other)
            await other.send("alone")
            found = await tag(client)
            assert found["data"] == "alone"
            async with connect(hub, f"/?since={first['position']}") as late:
                assert await data(late, 1) == ["alone"]
                assert (await tag(late))["welcome"]
            await server.start()
            gap = await told(client)
            assert not gap["recovered"], "nobody knows what others have published before we came"
            await until(lambda: not backlog_of(hub))
            hub.publish("chat", "together", namespace="/")
            assert await data(client, 1) == ["together"]


async def test_what_waits_for_the_log_has_a_bound_and_its_loss_is_counted(
    server: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog, "MAX_WAITING", 10_000)
    async with nodes_with(server, 2, Room, kept()) as (one, two), connect(two, "/") as far, connect(one, "/") as near:
        await tag(near)
        await tag(far)
        await server.kill()
        await until(lambda: not relay_of(one).is_up and not relay_of(two).is_up)
        for number in range(30):
            one.publish("chat", f"{number:0900}", namespace="/")
        assert [int(text) for text in await data(near, 30)] == list(range(30))
        lost = relay_of(one).lost
        assert 15 <= lost <= 25
        await server.start()
        assert [int(text) for text in await data(far, 30 - lost)] == list(range(lost, 30))
        assert (await told(near))["recovered"]


async def test_a_log_that_went_back_is_begun_anew() -> None:
    """Redis was restored from an older copy: offsets that were given once are not given to other messages."""
    async with (
        BROKERS["redis"]() as server,
        nodes_with(server, 2, Room, kept()) as (one, two),
        connect(one, "/") as near,
        connect(two, "/") as far,
    ):
        await tag(near)
        await tag(far)
        for number in range(5):
            one.publish("chat", str(number), namespace="/")
        assert await data(near, 5) == await data(far, 5)
        client = relay_of(one)._backend._client  # type: ignore[attr-defined]
        (head,) = await client.keys("*:head")
        await client.hset(head, "offset", "2")
        known = relay_of(one)._journal
        assert known is not None
        for follower in known._followers.values():
            known.look_up(follower)
        assert [(await told(client))["recovered"] for client in (near, far)] == [False, False]
        two.publish("chat", "after", namespace="/")
        assert await data(near, 1) == await data(far, 1) == ["after"]

"""One contract over every backend that keeps logs, on the real servers: one log for all, and nothing missed untold."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from backplanes import BROKERS
from crosspeer import History, Hub, Position, Recovery, Server
from crosspeer.sync import Relay, open_backend
from crosspeer.testing import connect
from crosspeer.testing.contracts.harness import Recorder
from crosspeer.testing.sockets import connect as dial
from fleet import nodes_with, relay_of, settled, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from backplanes import Broker
    from crosspeer import Message, Peer
    from crosspeer.testing.client import Client

KEPT = {"chat/*": History(size=20, seconds=60, tagged=True), "plain": History(size=20)}


class Room(Recorder):
    """Subscribes where the query says, says what became of it, and publishes what comes."""

    async def open(self, peer: Peer) -> None:
        query = peer.request.query_params
        recovery = await asked(peer.subscribe(query.get("topic", "chat/1"), since=query.get("since")))
        peer.send(["welcome", recovery.recovered, str(recovery.position), recovery.replayed])
        super().open(peer)

    def message(self, peer: Peer, message: Message) -> None:
        peer.publish(peer.request.query_params.get("topic", "chat/1"), message.data)


async def asked(recovery: Recovery | None) -> Recovery:
    assert recovery is not None
    return await recovery


async def welcome(client: Client) -> tuple[bool, str, int]:
    """What comes first for who has no replay."""
    _, recovered, position, replayed = json.loads(await client.receive())
    return recovered, position, replayed


async def told(client: Client, count: int) -> list[tuple[str, str]]:
    """The data and the positions of the next messages."""
    tags = [json.loads(await client.receive()) for _ in range(count)]
    return [(tag["data"], tag["position"]) for tag in tags]


def is_at_or_behind(position: str, other: str) -> bool:
    """Whether a position is the same, or one behind what other topics have got meanwhile: they may share a count."""
    first, second = Position.parse(position), Position.parse(other)
    return first is not None and second is not None and first.epoch == second.epoch and first.offset >= second.offset


@pytest.fixture(params=["memory", "local", "redis", "nats"])
async def server(request: pytest.FixtureRequest) -> AsyncIterator[Broker]:
    async with BROKERS[request.param]() as broker:
        yield broker


async def test_all_nodes_agree_on_order_and_positions(server: Broker) -> None:
    async with (
        nodes_with(server, 3, Room, KEPT) as (one, two, three),
        connect(one, "/") as a,
        connect(two, "/") as b,
        connect(three, "/") as c,
    ):
        for client in (a, b, c):
            assert not (await welcome(client))[0]
        for number in range(30):
            for name, hub in (("one", one), ("two", two), ("three", three)):
                hub.publish("chat/1", f"{name} {number}", namespace="/")
            if number % 7 == 0:
                await asyncio.sleep(0)
        first, second, third = [await told(client, 90) for client in (a, b, c)]
        assert first == second == third
        for name in ("one", "two", "three"):
            numbers = [int(data.split()[1]) for data, _ in first if data.startswith(name)]
            assert numbers == list(range(30))
        places = [Position.parse(position) for _, position in first]
        assert len({place.epoch for place in places if place}) == 1
        offsets = [place.offset for place in places if place]
        assert offsets == sorted(set(offsets))


async def test_who_comes_back_to_another_node_gets_what_it_missed(server: Broker) -> None:
    async with nodes_with(server, 3, Room, KEPT) as (one, two, three):
        async with connect(one, "/") as client, connect(two, "/") as other:
            await welcome(client)
            await welcome(other)
            await client.send("to others, not back")
            ((_, start),) = await told(other, 1)
        for number in range(5):
            two.publish("chat/1", str(number), namespace="/")
        two.publish("chat/1", "elsewhere", namespace="/other")
        # The second is a node that knows the topic, the third one that does not.
        async with connect(two, "/") as witness:
            await welcome(witness)
            for hub in (two, three):
                async with connect(hub, f"/?since={start}") as client:
                    missed = await told(client, 5)
                    assert [data for data, _ in missed] == ["0", "1", "2", "3", "4"]
                    recovered, position, replayed = await welcome(client)
                    assert (recovered, replayed) == (True, 5)
                    assert is_at_or_behind(position, missed[-1][1])
                async with connect(hub, f"/?since={missed[-1][1]}") as client:
                    assert (await welcome(client))[::2] == (True, 0)
                async with connect(hub, f"/?since={missed[2][1]}") as client:
                    assert [data for data, _ in await told(client, 2)] == ["3", "4"]


async def test_what_is_no_longer_kept_or_absurd_is_told(server: Broker) -> None:
    async with nodes_with(server, 2, Room, KEPT) as (one, two), connect(one, "/") as witness:
        _, start, _ = await welcome(witness)
        for number in range(25):
            one.publish("chat/1", str(number), namespace="/")
        seen = await told(witness, 25)
        end = Position.parse(seen[-1][1])
        assert end is not None
        absurd = [
            start,
            seen[3][1],
            f"{end.epoch}:{end.offset + 1000}",
            f"{'f' * 16}:{end.offset}",
            "99999999999999999999",
            f"{end.epoch}:-1",
            "x" * 5000,
        ]
        for since in absurd:
            for hub in (one, two):
                async with connect(hub, f"/?since={since}") as client:
                    assert await welcome(client) == (False, str(end), 0), since
        async with connect(two, f"/?since={seen[4][1]}") as client:
            assert len(await told(client, 20)) == 20
            assert (await welcome(client))[0]


async def test_nothing_comes_twice_while_others_publish(server: Broker) -> None:
    """Peers come and go on two nodes with the last position that they have seen: together they see everything, once."""
    kept = {"chat/*": History(size=5000, tagged=True)}
    async with nodes_with(server, 2, Room, kept) as (one, two), connect(one, "/") as witness:
        _, position, _ = await welcome(witness)
        publishing = asyncio.create_task(publish_slowly([one, two], 400))
        seen: list[int] = []
        turn = 0
        while len(seen) < 400:
            turn += 1
            async with connect((one, two)[turn % 2], f"/?since={position}") as client:
                for _ in range(7):
                    tag = json.loads(await client.receive())
                    if isinstance(tag, list):
                        assert tag[1], "recovered"
                        continue
                    seen.append(int(tag["data"]))
                    position = tag["position"]
                    if len(seen) == 400:
                        break
        await publishing
        assert sorted(seen) == list(range(400))
        assert [int(data) for data, _ in await told(witness, 400)] == seen


async def publish_slowly(hubs: list[Hub], count: int) -> None:
    for number in range(count):
        hubs[number % len(hubs)].publish("chat/1", str(number), namespace="/")
        await asyncio.sleep(0.001)


async def test_an_untagged_topic_is_recovered_too(server: Broker) -> None:
    async with nodes_with(server, 2, Room, KEPT) as (one, two), connect(one, "/?topic=plain") as client:
        _, start, _ = await welcome(client)
        one.publish("plain", "text")
        assert await client.receive() == "text"
        two.publish("plain", b"\x00\xff")
        assert await client.receive() == b"\x00\xff"
        async with connect(two, f"/?topic=plain&since={start}") as late:
            assert [await late.receive(), await late.receive()] == ["text", b"\x00\xff"]
            assert (await welcome(late))[0]


async def test_a_publication_for_all_namespaces_goes_to_each_log_once(server: Broker) -> None:
    async with (
        nodes_with(server, 3, Room, KEPT) as (one, two, three),
        connect(one, "/red") as red,
        connect(two, "/red") as also_red,
        connect(two, "/blue") as blue,
    ):
        starts = [(await welcome(client))[1] for client in (red, also_red, blue)]
        await settled(one, two, three)
        three.publish("chat/1", "to all")
        three.publish("chat/1", "to red", namespace="/red")
        two.publish("chat/1", "last")
        for client, wanted in ((red, {"to all", "to red", "last"}), (also_red, {"to all", "to red", "last"})):
            assert {data for data, _ in await told(client, 3)} == wanted
        assert {data for data, _ in await told(blue, 2)} == {"to all", "last"}
        async with connect(three, f"/blue?since={starts[2]}") as late:
            assert len(await told(late, 2)) == 2
            assert (await welcome(late))[0]


async def test_names_cannot_break_out_of_the_log(server: Broker) -> None:
    """Row P2: patterns and separators are just characters, in topics and in namespaces."""
    topics = ["chat/a.b", "chat/*", "chat/>", "chat/{x}", "chat/:log:", 'chat/"', "chat/ ", "chat/ü"]
    async with nodes_with(server, 2, Room, {"chat/*": History()}) as (one, two):
        for topic in topics:
            async with connect(two, "/") as client:
                await welcome(client)
                (peer,) = two.peers["/"]
                await asked(peer.subscribe(topic))
                for other in topics:
                    one.publish(other, other, namespace="/")
                one.publish(topic, "end", namespace="/")
                assert [await client.receive(), await client.receive()] == [topic, "end"]


@pytest.mark.parametrize("engine", ["native", "python"])
async def test_engines_recover(server: Broker, engine: str) -> None:
    if engine == "native":
        pytest.importorskip("crosspeer_engine", reason="the native engine is not built here: it needs cargo")
    one, two = (Hub(Room(), history=KEPT, sync=Relay(open_backend(server.url))) for _ in range(2))
    async with Server(one, port=0, engine=engine) as first, Server(two, port=0, engine=engine) as second:
        urls = [server.url.replace("http", "ws") for server in (first, second)]
        async with dial(urls[0] + "/") as client, dial(urls[1] + "/") as other:
            await welcome(client)
            _, start, _ = await welcome(other)
            await client.send("not back")
            await other.send("to the first")
            assert [data for data, _ in await told(client, 1)] == ["to the first"]
            assert [data for data, _ in await told(other, 1)] == ["not back"]
        async with dial(urls[0] + f"/?since={start}") as client:
            assert {data for data, _ in await told(client, 2)} == {"to the first", "not back"}
            assert (await welcome(client))[0]
        await until(lambda: one.topics == 0)
        assert relay_of(one).journal is not None
        await until(lambda: not relay_of(one)._journal._followers)  # type: ignore[union-attr]


async def test_what_a_peer_has_missed_can_be_asked_for_at_once_where_it_is_known(server: Broker) -> None:
    """A node that follows a topic has a copy of it: thousands that come back at once do not all ask the backplane."""
    async with nodes_with(server, 1, Room, KEPT) as (hub,), connect(hub, "/") as client, connect(hub, "/") as other:
        _, start, _ = await welcome(client)
        await welcome(other)
        hub.publish("chat/1", "one", namespace="/")
        await told(client, 1)
        peer = next(iter(hub.peers["/"]))
        assert "not known" in repr(peer.subscribe("chat/2"))
        with pytest.raises(RuntimeError, match="await"):
            peer.subscribe("chat/3").recovered  # type: ignore[union-attr]  # noqa: B018
        peer.unsubscribe("chat/1")
        recovery: Any = peer.subscribe("chat/1", since=start)
        assert (recovery.recovered, recovery.replayed) == (True, 1)
        assert await recovery is recovery


def test_a_hub_with_history_lives_on_in_another_loop() -> None:
    """A hub of a module is older than its loop, and tests run it in many."""
    hub = Hub(Room(), history=KEPT, sync="memory://again-and-again")

    async def once() -> None:
        assert hub.sync is not None
        await hub.sync.start()
        async with connect(hub, "/") as client, connect(hub, "/") as other:
            await welcome(client)
            await welcome(other)
            await other.send("here")
            assert [data for data, _ in await told(client, 1)] == ["here"]
        await hub.close()

    for _ in range(3):
        asyncio.run(once())

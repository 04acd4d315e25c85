"""One contract over every backend, on the real servers: what is published on one hub is delivered on the others."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from crosspeer import Hub, Limits, Server
from crosspeer.sync import Relay, open_backend
from crosspeer.testing import connect
from crosspeer.testing.sockets import connect as dial
from fleet import Chat, node, nodes, relay_of, settled, until

if TYPE_CHECKING:
    from backplanes import Broker


async def test_a_publication_reaches_the_subscribers_of_every_node_once(broker: Broker) -> None:
    async with nodes(broker, 3) as (one, two, three), AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(connect(hub, "/room?topic=chat")) for hub in (one, one, two, three)]
        elsewhere = await stack.enter_async_context(connect(two, "/other?topic=chat"))
        await settled(one, two, three)
        await clients[0].send("hello")
        for client in clients[1:]:
            assert await client.receive() == "hello"
        two.publish("chat", b"\x00binary\xff", namespace="/room")
        two.publish("chat", "to all")
        for client in clients:
            assert await client.receive() == b"\x00binary\xff"
            assert await client.receive() == "to all"
        assert await elsewhere.receive() == "to all", "and nothing before it"
        three.publish("chat", "last")
        for client in (*clients, elsewhere):
            assert await client.receive() == "last", "and nothing twice"


async def test_the_order_of_one_publisher_is_kept(broker: Broker) -> None:
    async with nodes(broker, 2) as (one, two), connect(two, "/?topic=chat") as client:
        await settled(one, two)
        for number in range(1000):
            one.publish("chat", str(number), namespace="/" if number % 3 else None)
            if number % 100 == 0:
                await asyncio.sleep(0)
        numbers = [int(await client.receive()) for _ in range(1000)]
        # Publications for one namespace and those for all are two streams.
        for third in (True, False):
            stream = [number for number in numbers if (number % 3 == 0) is third]
            assert stream == sorted(stream)
        assert sorted(numbers) == list(range(1000))


async def test_one_subscription_a_topic_however_many_peers(broker: Broker) -> None:
    async with nodes(broker, 1) as (hub,), AsyncExitStack() as stack:
        link = relay_of(hub)._link
        assert link is not None
        base = len(link._wanted)
        clients = [await stack.enter_async_context(connect(hub, "/?topic=a&topic=b")) for _ in range(5)]
        await until(lambda: hub.topics == 2)
        await settled(hub)
        assert len(link._held) == base + 2
        for client in clients:
            await client.close()
        await until(lambda: hub.topics == 0)
        await settled(hub)
        assert len(link._held) == base


async def test_names_mean_nothing_to_the_backend(broker: Broker) -> None:
    """Row P2: patterns, separators and quotes are just characters."""
    topics = ["a.b", "a.*", ">", "*", "$SYS.>", 'quo"te', "spa ce", "_INBOX.x", "ünï", "x" * 255, "?[a-z]", "%s", "a:b"]
    async with nodes(broker, 2) as (one, two):
        for topic in topics:
            async with connect(two, "/") as client:
                (peer,) = two.peers["/"]
                peer.subscribe(topic)
                await settled(one, two)
                for other in topics:
                    one.publish(other, other, namespace="/")
                one.publish(topic, "end", namespace="/")
                assert await client.receive() == topic
                assert await client.receive() == "end"


async def test_a_large_message_arrives(broker: Broker) -> None:
    """Over what a notification of PostgreSQL holds, and over many chunks of a socket."""
    async with nodes(broker, 2) as (one, two), connect(two, "/?topic=chat") as client:
        await settled(one, two)
        for size in (5_000, 8_001, 70_000, 900_000):
            data = bytes(range(256)) * (size // 256)
            one.publish("chat", data)
            assert await client.receive() == data
            one.publish("chat", "between")
            assert await client.receive() == "between"


async def test_fleets_with_other_names_hear_nothing_of_each_other(broker: Broker) -> None:
    async with (
        nodes(broker, 1, prefix="blue") as (blue,),
        nodes(broker, 2, prefix="green") as (green, other),
        connect(green, "/?topic=chat") as client,
    ):
        await settled(blue, green, other)
        blue.publish("chat", "blue")
        other.publish("chat", "green")
        assert await client.receive() == "green"


async def test_what_is_no_envelope_is_dropped_and_counted(broker: Broker) -> None:
    """Row P12: a pickle, garbage, another version, our own id, and a message for another topic."""
    async with nodes(broker, 1) as (hub,), connect(hub, "/?topic=chat") as client:
        await settled(hub)
        relay, stranger = relay_of(hub), open_backend(broker.url)
        await stranger.open(lambda channel, data: None)
        try:
            channel, head = relay._channel("/", "chat"), b"xp\x01\x01" + bytes(16)
            elsewhere = b"\x01\x00\x01\x00\x01\x00\x00\x00\x01/xy"
            bad = [
                b"",
                b"\x80\x04\x95\x05\x00.",
                b"xp\x02\x01" + bytes(16),
                b"xp\x01\x09" + bytes(16),
                head + b"\x01\x00",
                head + b"\x01\x00\x01\x00\x04\xff\xff\xff\xff/chat",
                head + b"\x01\x00\x01\x00\x04\x00\x00\x00\x09/chatcut",
                head + b"\x01\x00\x01\x00\x04\x00\x00\x00\x01/chat\xff",
                head + b"\xff\x00\x01\x00\x04\x00\x00\x00\x01/chatx",
                head + b"\x03\x00\x01\x00\x04\x00\x00\x00\x01/chatx",
                head + elsewhere,
                b"xp\x01\x02" + bytes(16) + b"[" * 100_000,
            ]
            await stranger.publish([(channel, data) for data in bad])
            await until(lambda: relay.counts.refused == len(bad))
            own = b"xp\x01\x01" + relay.node.bytes + b"\x01\x00\x01\x00\x04\x00\x00\x00\x05/chatforge"
            good = head + b"\x01\x00\x01\x00\x04\x00\x00\x00\x04/chatgood"
            await stranger.publish([(channel, own), (channel, good)])
            assert await client.receive() == "good"
        finally:
            await stranger.close()


async def test_a_message_over_the_limit_of_the_receiver_is_dropped(broker: Broker) -> None:
    small = Hub(Chat(), sync=Relay(open_backend(broker.url)), limits=Limits(max_message_size=1000))
    async with nodes(broker, 1) as (one,), connect(small, "/?topic=chat") as client:
        try:
            assert small.sync is not None
            await small.sync.start()
            await settled(small)
            one.publish("chat", "x" * 1001)
            await until(lambda: relay_of(small).counts.refused == 1)
            one.publish("chat", "small")
            assert await client.receive() == "small"
        finally:
            await small.close()


@pytest.mark.parametrize("engine", ["native", "python"])
async def test_engines_take_part(broker: Broker, engine: str) -> None:
    if engine == "native":
        pytest.importorskip("crosspeer_engine", reason="the native engine is not built here: it needs cargo")
    one, two = node(broker), node(broker)
    async with (
        Server(one, port=0, engine=engine) as first,
        Server(two, port=0, engine=engine) as second,
        dial(first.url.replace("http", "ws") + "/?topic=chat") as near,
        dial(second.url.replace("http", "ws") + "/?topic=chat") as far,
    ):
        await until(lambda: one.topics == two.topics == 1)
        await settled(one, two)
        await near.send("from the first")
        assert await far.receive() == "from the first"
        await far.send("back")
        assert await near.receive() == "back"
        one.publish("chat", "to both")
        assert await near.receive() == await far.receive() == "to both"
        await far.close()
        await until(lambda: two.topics == 0)
        await settled(two)
    assert not relay_of(one).is_up, "a server that is stopped has left the fleet"

"""Redis Cluster with its shard channels, and a master that a sentinel names: what fails or moves, we follow."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest
from redis.crc import key_slot

from crosspeer.sync import open_backend
from crosspeer.sync.redis import RedisBackend
from crosspeer.sync.redis_cluster import RedisClusterBackend
from crosspeer.testing import connect
from fleet import nodes, relay_of, settled, until
from redises import client, cluster, sentinel

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from redises import Cluster


class Url:
    """What `fleet` needs of a backplane."""

    def __init__(self, url: str) -> None:
        self.url = url


@pytest.fixture
async def three_masters() -> AsyncIterator[Cluster]:
    async with cluster() as made:
        yield made


async def test_topics_of_all_slots_pass_through_a_cluster(three_masters: Cluster) -> None:
    topics = [f"topic{number}" for number in range(30)]
    async with nodes(three_masters, 2) as (one, two), AsyncExitStack() as stack:  # type: ignore[arg-type]
        clients = [await stack.enter_async_context(connect(two, f"/?topic={topic}")) for topic in topics]
        await settled(one, two)
        backend = relay_of(two)._backend
        assert isinstance(backend, RedisClusterBackend)
        assert len(backend._masters) == 3
        assert all(master._sharded for master in backend._masters.values())
        for n in range(20):
            for topic in topics:
                one.publish(topic, f"{topic} {n}", namespace="/")
        for topic, peer in zip(topics, clients, strict=True):
            assert [await peer.receive() for _ in range(20)] == [f"{topic} {n}" for n in range(20)]
        one.publish(topics[0], "to all")
        assert await clients[0].receive() == "to all"
        used = 0
        for node in three_masters.nodes:
            async with client(node) as redis:
                used += len(await redis.execute_command("PUBSUB SHARDCHANNELS")) > 0
        assert used == 3, "each slot's channels are with its master"
        for peer in clients[1:]:
            await peer.close()
        await until(lambda: two.topics == 1)
        await settled(two)
        one.publish(topics[0], "still", namespace="/")
        assert await clients[0].receive() == "still"
        assert relay_of(two).counts.outages == 0, "leaving a channel is no outage"


async def test_a_slot_that_moves_is_followed(three_masters: Cluster) -> None:
    async with nodes(three_masters, 2) as (one, two), connect(two, "/?topic=chat") as peer:  # type: ignore[arg-type]
        await settled(one, two)
        channel = relay_of(two)._channel("/", "chat")
        await three_masters.move(key_slot(channel.encode()))
        await until(lambda: relay_of(two).counts.outages >= 1 and relay_of(two).is_up)
        await settled(two)
        # Who publishes learns of the move by what fails and is lost with it: at most once.
        hearing = asyncio.create_task(peer.receive(timeout=20))
        while not hearing.done():
            one.publish("chat", "there", namespace="/")
            await asyncio.wait({hearing}, timeout=0.2)
        assert await hearing == "there"
        assert relay_of(one).counts.outages >= 1


async def test_a_master_that_dies_is_followed_by_its_sentinel() -> None:
    async with (
        sentinel() as (url, master),
        nodes(Url(url), 2) as (one, two),  # type: ignore[arg-type]
        connect(two, "/?topic=chat") as peer,
    ):
        await settled(one, two)
        one.publish("chat", "before", namespace="/")
        assert await peer.receive() == "before"
        await master.kill()
        await until(lambda: not relay_of(one).is_up and not relay_of(two).is_up)
        await until(lambda: relay_of(one).is_up and relay_of(two).is_up)
        await settled(one, two)
        one.publish("chat", "after", namespace="/")
        assert await peer.receive(timeout=20) == "after"


def test_urls_are_read() -> None:
    backend = open_backend("rediss+cluster://ada:pw@one.example:7000,two.example?ssl_cert_reqs=none")
    assert isinstance(backend, RedisClusterBackend)
    assert list(backend._known) == ["one.example:7000", "two.example:6379"]
    assert backend._url("[::1]:7000") == "rediss://ada:pw@[::1]:7000/0?ssl_cert_reqs=none"
    assert backend._address([b"", 7001], "10.0.0.1:7000") == "10.0.0.1:7001"
    assert backend._address([b"::1", 7001], "10.0.0.1:7000") == "[::1]:7001"
    assert isinstance(open_backend("redis+sentinel://one,two:26380/main/2"), RedisBackend)

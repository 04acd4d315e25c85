"""Whoever can write to the backplane writes nonsense into logs: it is dropped and counted, and nothing is missed."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from backplanes import BROKERS
from crosspeer import History, Hub, Limits, Position
from crosspeer.core import history
from crosspeer.sync import Relay, journal, open_backend
from crosspeer.sync.port import Append, LogName
from crosspeer.testing import connect
from crosspeer.wire.envelope import Publication, entry
from crosspeer.wire.logged import encode_numbered, stamp
from fleet import nodes_with, relay_of, until
from sync.test_logs import KEPT, Room, told, welcome

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from backplanes import Broker

NODE = bytes(16)


@pytest.fixture(params=["memory", "local", "redis", "nats"])
async def server(request: pytest.FixtureRequest) -> AsyncIterator[Broker]:
    async with BROKERS[request.param]() as broker:
        yield broker


def message(text: str, number: int = 1, node: bytes = NODE, topic: str = "chat/1") -> bytes:
    return encode_numbered(node, number, entry(Publication("/", topic, text), text.encode()), is_spread=False)


NONSENSE = [
    b"",
    b"\x80\x04\x95\x05\x00.",
    b"xn",
    b"xn\x02\x00" + bytes(8) + b"xp\x01\x01" + bytes(16),
    b"xn\x01\xff" + bytes(8) + b"xp\x01\x01" + bytes(16),
    b"xn\x01\x00" + bytes(8) + b'xp\x01\x02{"do":"leave"}' + bytes(16),
    b"xn\x01\x00" + bytes(8) + b"xp\x01\x01" + bytes(16),
    message("cut off")[:-3],
    message("of another topic", topic="chat/2"),
    message("too big" * 200_000),
]


async def test_nonsense_in_the_log_is_a_place_with_nothing_in_it(server: Broker) -> None:
    kept = {"chat/*": History(size=20, bytes=1 << 24, tagged=True)}
    async with nodes_with(server, 2, Room, kept) as (one, two), connect(one, "/") as client:
        _, start, _ = await welcome(client)
        relay, stranger = relay_of(one), open_backend(server.url)
        name = LogName(relay._channel("/", "chat/1"), "chat/*", kept["chat/*"])
        await stranger.open(lambda channel, data: None)
        listening = asyncio.create_task(stranger.listen())
        try:
            one.publish("chat/1", "before", namespace="/")
            assert [data for data, _ in await told(client, 1)] == ["before"]
            fits = [data for data in NONSENSE if len(data) < stranger.max_payload]
            writing: Any = stranger
            await writing.append([Append(name, "stranger", n, data) for n, data in enumerate(fits, 1)])
            await writing.append([Append(name, "stranger", 100, message("well made"))])
            assert [data for data, _ in await told(client, 1)] == ["well made"]
            assert relay.counts.refused >= len(fits)
            one.publish("chat/1", "after", namespace="/")
            assert [data for data, _ in await told(client, 1)] == ["after"]
            # Another node reads the same out of the log.
            async with connect(two, f"/?since={start}") as late:
                assert [data for data, _ in await told(late, 3)] == ["before", "well made", "after"]
                assert (await welcome(late))[0]
            assert relay_of(two).counts.refused >= len(fits)
        finally:
            listening.cancel()
            await stranger.close()


async def test_forged_stamps_are_not_believed(server: Broker) -> None:
    """What was never in the log costs a look at it. It is not delivered, and nothing is missed because of it."""
    async with nodes_with(server, 1, Room, KEPT) as (hub,), connect(hub, "/") as client:
        _, start, _ = await welcome(client)
        place = Position.parse(start)
        assert place is not None
        known = relay_of(hub)._journal
        assert known is not None
        channel = relay_of(hub)._channel("/", "chat/1")
        forged = [
            stamp(place.epoch, 1 << 50, (1 << 50) + 1, message("far ahead")),
            stamp("f" * 16, 0, 1, message("of another epoch")),
            stamp("f" * 16, 0, 0, b""),
            stamp(place.epoch, 0, 0, message("behind")),
        ]
        absurd = [
            b"xl",
            b"xlnonsense:1:2\n",
            b"x" * 10_000,
            b"xl" + b"0" * 16 + b":9:3\n",
            b"xl" + b"0" * 16 + b":-1:3\n",
        ]
        before = relay_of(hub).counts.refused
        for data in (*forged, *absurd):
            relay_of(hub)._receive(channel, data)
        assert relay_of(hub).counts.refused == before + len(absurd)
        follower = known._followers[channel]
        await until(lambda: not follower._is_holding)
        hub.publish("chat/1", "alive", namespace="/")
        assert [data for data, _ in await told(client, 1)] == ["alive"]
        assert known.gaps == 0


async def test_our_own_id_forged_is_a_message_like_any_other(server: Broker) -> None:
    async with nodes_with(server, 1, Room, KEPT) as (hub,), connect(hub, "/") as client:
        await welcome(client)
        relay = relay_of(hub)
        name = LogName(relay._channel("/", "chat/1"), "chat/*", KEPT["chat/*"])
        backend: Any = relay._backend
        await backend.append([Append(name, "stranger", 1, message("forged", 10**6, relay.node.bytes))])
        assert [data for data, _ in await told(client, 1)] == ["forged"]
        hub.publish("chat/1", "ours", namespace="/")
        assert [data for data, _ in await told(client, 1)] == ["ours"]


async def test_a_fleet_with_a_key_takes_sealed_entries_only(server: Broker) -> None:
    key = b"0123456789abcdef"
    async with nodes_with(server, 2, Room, KEPT, key=key) as (one, two), connect(one, "/") as client:
        _, start, _ = await welcome(client)
        relay = relay_of(one)
        name = LogName(relay._channel("/", "chat/1"), "chat/*", KEPT["chat/*"])
        backend: Any = relay._backend
        await backend.append([Append(name, "stranger", 1, message("unsealed"))])
        two.publish("chat/1", "sealed", namespace="/")
        two.publish("chat/1", "to all")
        assert {data for data, _ in await told(client, 2)} == {"sealed", "to all"}
        assert relay.counts.refused >= 1
        async with connect(two, f"/?since={start}") as late:
            assert {data for data, _ in await told(late, 2)} == {"sealed", "to all"}


async def test_keys_of_redis_that_hold_something_else_are_replaced() -> None:
    async with BROKERS["redis"]() as server, nodes_with(server, 2, Room, KEPT) as (one, two):
        relay = relay_of(one)
        channel = relay._channel("/", "chat/1")
        client: Any = relay._backend._client  # type: ignore[attr-defined]
        await client.set(f"{{{channel}}}:head", "no hash")
        await client.lpush(f"{{{channel}}}:items", "no stream")
        await client.hset(f"{{{relay._channel('/', 'chat/2')}}}:head", mapping={"epoch": "../..", "offset": "1e400"})
        for topic in ("chat/1", "chat/2"):
            async with connect(one, f"/?topic={topic}") as near, connect(two, f"/?topic={topic}") as far:
                assert not (await welcome(near))[0]
                assert not (await welcome(far))[0]
                one.publish(topic, "text", namespace="/")
                assert await told(near, 1) == await told(far, 1)
        (items,) = [key for key in await client.keys("*:items") if channel.encode() in key]
        await client.xadd(items, {"neither": "this", "nor": "that"})
        await client.xadd(items, {"o": "\x00", "d": "x"})
        async with connect(two, "/") as late:
            assert not (await welcome(late))[0]
            one.publish("chat/1", "after", namespace="/")
            assert [data for data, _ in await told(late, 1)] == ["after"]


@pytest.mark.parametrize("backend", ["memory", "redis"])
async def test_replays_have_a_budget(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Row P11: who comes when it is spent is told so, and the next second is another one."""
    monkeypatch.setattr(history, "REPLAY_RATE", 5_000)
    async with BROKERS[backend]() as server, nodes_with(server, 1, Room, KEPT) as (hub,), connect(hub, "/") as witness:
        _, start, _ = await welcome(witness)
        for _ in range(4):
            hub.publish("chat/1", "x" * 500, namespace="/")
        await told(witness, 4)
        outcomes = []
        for _ in range(4):
            async with connect(hub, f"/?since={start}") as client:
                first = json.loads(await client.receive())
                outcomes.append(isinstance(first, dict))
        assert outcomes[:2] == [True, True]
        assert not all(outcomes)


def test_a_budget_is_refilled() -> None:
    now = 0.0
    budget = history.Budget(100, lambda: now)
    assert budget.take(100)
    assert not budget.take(1)
    now = 0.5
    assert budget.take(50)
    assert not budget.take(1)
    now = 1000.0
    assert not budget.take(101)
    assert budget.take(100)


async def test_a_message_that_no_log_takes_is_delivered_here_and_counted() -> None:
    async with BROKERS["nats"]() as server, nodes_with(server, 1, Room, KEPT) as (hub,), connect(hub, "/") as client:
        await welcome(client)
        hub.publish("chat/1", "x" * (1024 * 1024 - 100), namespace="/")
        assert len(await client.receive()) == 1024 * 1024 - 100
        assert relay_of(hub).counts.refused == 1
        hub.publish("chat/1", "small", namespace="/")
        assert [data for data, _ in await told(client, 1)] == ["small"]


async def test_a_backplane_without_logs_leaves_history_to_each_node(caplog: pytest.LogCaptureFixture) -> None:
    for sync in (Relay(open_backend("postgres://localhost/x")), Relay(open_backend("memory://"), crossws="channel")):
        hub = Hub(history={"*": History()}, sync=sync)
        assert sync.journal is None
        assert hub.sync is sync
    assert caplog.text.count("for itself") == 2


async def test_nats_without_jetstream_is_said_to_be(caplog: pytest.LogCaptureFixture) -> None:
    async with BROKERS["nats"]() as server:
        await server.kill()
        server._command = [word for word in server._command if word != "-js"]
        await server.start()
        hub = Hub(Room(), history={"*": History()}, sync=Relay(open_backend(server.url)), limits=Limits())
        assert hub.sync is not None
        await hub.sync.start()
        async with connect(hub, "/") as client:
            hub.publish("chat/1", "alone", namespace="/")
            await until(lambda: "start it with -js" in caplog.text)
            assert await client.receive()
        await hub.close()


def test_the_times_are_those_that_are_promised() -> None:
    assert journal.PATIENCE <= 2
    assert journal.CHECK_EVERY <= 10

"""A fleet of brokers whose backplane or nodes fail: nothing is lost without a word, and all comes right again."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from backplanes import BROKERS
from brokerfleet import SOON, fleet_of, known, nodes, relay
from brokers import OPEN, Clients, join, query, refused, relays, signal
from crosspeer.sync import relay as relay_module
from crosspeer.testing import sockets
from fleet import until
from process import Command, crosspeer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from backplanes import Broker

ID_TAKEN = {"type": "ID-TAKEN", "payload": {"msg": "ID is taken"}}


@pytest.fixture(params=["redis", "nats", "postgres"])
async def backplane(request: pytest.FixtureRequest) -> AsyncIterator[Broker]:
    async with BROKERS[request.param]() as broker:
        yield broker


@pytest.fixture
async def redis() -> AsyncIterator[Broker]:
    async with BROKERS["redis"]() as broker:
        yield broker


async def cut(backplane: Broker, *fleet: Clients) -> None:
    await backplane.kill()
    await until(lambda: not any(relay(node).is_up for node in fleet))


async def heal(backplane: Broker, *fleet: Clients) -> None:
    await backplane.start()
    await until(lambda: all(relay(node).is_up for node in fleet))


def expire(absent: str, to: str) -> dict[str, str]:
    return {"type": "EXPIRE", "src": absent, "dst": to}


async def health(node: Clients) -> tuple[int, str]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(node.broker.asgi), base_url="http://x") as http:
        answer = await http.get("/_crosspeer/health")
        return answer.status_code, answer.json()["status"]


async def test_an_outage_is_survived_told_and_forgotten(backplane: Broker) -> None:
    async with nodes(backplane, **SOON) as (one, two):
        alice, anna, bob = await one.join("alice"), await one.join("anna"), await two.join("bob", "secret")
        await known("bob", one)
        assert await health(one) == (200, "ok")
        await cut(backplane, one, two)
        assert await health(one) == (503, "degraded")
        await relays(alice, "alice", anna, "anna")
        # What cannot be known: a peer of another node is as good as absent, and an id that it had stays its own.
        await alice.send(signal("OFFER", "bob"))
        assert await alice.receive_json() == expire("bob", "alice")
        assert await refused(await one.dial("bob", "other")) == (ID_TAKEN, 4504)
        dora = await one.join("dora")
        await heal(backplane, one, two)
        await known("dora", two)
        await known("bob", one)
        await relays(bob, "bob", dora, "dora")
        await relays(alice, "alice", bob, "bob")
        assert await health(one) == (200, "ok")


async def test_what_waits_in_a_short_outage_arrives(redis: Broker) -> None:
    async with nodes(redis, expire_timeout=30) as (one, two):
        alice, bob = await one.join("alice"), await two.join("bob")
        await known("bob", one)
        await cut(redis, one, two)
        for n in range(5):
            await alice.send(signal("CANDIDATE", "bob", n))
        await until(lambda: one.broker.metrics.waiting_messages == 5)
        await heal(redis, one, two)
        assert [(await bob.receive_json())["payload"] for _ in range(5)] == list(range(5))
        await until(lambda: one.broker.metrics.waiting_messages == 0)


async def test_what_was_under_way_expires_if_nobody_confirms_it() -> None:
    async with nodes("memory://silence", **SOON) as (one, two):
        alice, bob = await one.join("alice"), await two.join("bob")
        await known("bob", one)
        deafen(two)
        for kind in ("OFFER", "CANDIDATE", "CANDIDATE"):
            await alice.send(signal(kind, "bob"))
        assert await alice.receive_json() == expire("bob", "alice")
        await relays(bob, "bob", bob, "bob")
        assert (one.broker.metrics.expired, one.broker.metrics.waiting_bytes) == (1, 0)


async def test_an_expire_follows_its_receiver_to_another_node() -> None:
    async with nodes("memory://following", expire_timeout=1.5, cleanup_out_msgs=0.05) as (one, two):
        alice = await one.join("alice")
        await alice.send(signal("OFFER", "ghost"))
        await relays(alice, "alice", alice, "alice")
        again = await two.join("alice")
        assert await again.receive_json() == expire("ghost", "alice")


@pytest.mark.parametrize("first", [0, 1])
async def test_two_holders_of_one_id_become_one(redis: Broker, first: int) -> None:
    """Both nodes gave it away while they could not reach each other: to two clients, and to one that came twice."""
    async with nodes(redis) as fleet:
        before, after = fleet[first], fleet[1 - first]
        await cut(redis, *fleet)
        early, late = await before.join("a", "one"), await after.join("a", "two")
        stale, fresh = await before.join("b", "same"), await after.join("b", "same")
        await heal(redis, *fleet)
        assert await refused(late) == (ID_TAKEN, 4504)
        assert await stale.wait_closed() == 4501
        await until(lambda: (list(before.broker.clients), list(after.broker.clients)) == (["a"], ["b"]))
        await known("a", after)
        await known("b", before)
        await relays(early, "a", fresh, "b")
        await relays(fresh, "b", early, "a")
        assert [node.broker.metrics.conflicts for node in (before, after)] == [1, 1]


async def test_a_conflict_is_settled_though_words_of_it_are_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_module, "ANNOUNCE_EVERY", 0.1)
    async with nodes("memory://contested") as (one, two):
        await one.join("a", "one")
        await known("a", two)
        # As after a partition; and nobody hears of it at first.
        undo = deafen(one), deafen(two)
        fleet_of(two)._directory.drop(relay(one).node.bytes)
        late = await two.join("a", "two")
        for step in undo:
            step()
        assert await refused(late) == (ID_TAKEN, 4504)
        assert list(one.broker.clients) == ["a"]


async def test_lost_words_are_noticed_and_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_module, "ANNOUNCE_EVERY", 0.1)
    async with nodes("memory://losing") as (one, two):
        lose_every(3, two)
        clients = await asyncio.gather(*(one.join(f"id{n}") for n in range(30)))
        for client in clients[::2]:
            await client.close()
        there = {f"id{n}" for n in range(1, 30, 2)}
        await until(lambda: set(fleet_of(two).ids()) == there)


async def test_a_node_that_says_nothing_more_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crosspeer.sync.members.GONE_AFTER", 0.5)
    monkeypatch.setattr(relay_module, "ANNOUNCE_EVERY", 0.1)
    async with nodes("memory://dying") as (one, two):
        await two.join("bob", "secret")
        await known("bob", one)
        deafen(one)
        await until(lambda: one.broker.metrics.registered_elsewhere == 0)
        await one.join("bob", "other")


def deafen(node: Clients) -> Callable[[], None]:
    """Let nothing that comes from the others reach a node, until the result is called."""
    return replace_receive(node, lambda receive, channel, data: None)


def lose_every(number: int, node: Clients) -> None:
    count = 0

    def lossy(receive: Any, channel: str, data: bytes) -> None:
        nonlocal count
        count += 1
        if count % number:
            receive(channel, data)

    replace_receive(node, lossy)


def replace_receive(node: Clients, by: Any) -> Callable[[], None]:
    backend: Any = relay(node)._backend
    receive = backend._receive
    backend._receive = lambda channel, data: by(receive, channel, data)

    def undo() -> None:
        backend._receive = receive

    return undo


# Real processes.


async def started(stack: AsyncExitStack, redis: Broker) -> tuple[Command, str]:
    arguments = ["--port", "0", "--host", "127.0.0.1", "--sync", redis.url, "-t", "1000", "--allow_discovery"]
    command = await stack.enter_async_context(crosspeer("peerserver", *arguments))
    port = (await command.printed(r"Started PeerServer on 127\.0\.0\.1, port: (\d+), path: /\n"))[1]
    return command, f"http://127.0.0.1:{port}"


async def is_listed(id: str, url: str) -> bool:
    async with httpx.AsyncClient() as http:
        return id in (await http.get(f"{url}/peerjs/peers")).json()


async def test_a_node_that_is_killed_leaves_its_clients_a_way_back(redis: Broker) -> None:
    async with AsyncExitStack() as stack:
        (first, one), (_, two) = await started(stack, redis), await started(stack, redis)
        alice, bob = await join(one, "alice"), await join(two, "bob")
        while not await is_listed("bob", one) or not await is_listed("alice", two):
            await asyncio.sleep(0.02)
        await relays(alice, "alice", bob, "bob")
        first.process.kill()
        await first.process.wait()
        await bob.send(signal("OFFER", "alice"))
        assert await bob.receive_json(timeout=20) == expire("alice", "bob")
        again = await join(two, "alice")
        await relays(bob, "bob", again, "alice")
        await again.close()
        await bob.close()


@pytest.mark.slow
async def test_the_ids_of_a_killed_node_are_free_within_15_seconds(redis: Broker) -> None:
    async with AsyncExitStack() as stack:
        (first, one), (_, two) = await started(stack, redis), await started(stack, redis)
        await join(one, "alice", "hers")
        while not await is_listed("alice", two):
            await asyncio.sleep(0.02)
        first.process.kill()
        killed = asyncio.get_running_loop().time()
        while await is_listed("alice", two):
            await asyncio.sleep(0.1)
        assert asyncio.get_running_loop().time() - killed < 15.5
        client = await sockets.connect(f"{two.replace('http', 'ws')}/peerjs?{query('alice', 'his')}")
        assert await client.receive_json() == OPEN
        await client.close()

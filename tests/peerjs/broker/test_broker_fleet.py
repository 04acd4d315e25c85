"""One broker of many nodes, over every backend on the real servers: clients cannot tell it from one node."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import httpx
import pytest

from backplanes import BROKERS
from brokerfleet import SOON, forgotten, known, nodes, relay
from brokers import OPEN, Clients, error, refused, relays, serving, signal
from crosspeer.peerjs import BrokerLimits, PeerServer
from crosspeer.sync import Relay, connect, open_backend
from crosspeer.testing import Client
from fleet import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from backplanes import Broker

ID_TAKEN = {"type": "ID-TAKEN", "payload": {"msg": "ID is taken"}}


@pytest.fixture(params=list(BROKERS))
async def backplane(request: pytest.FixtureRequest) -> AsyncIterator[Broker]:
    async with BROKERS[request.param]() as broker:
        yield broker


async def numbers(client: Client, count: int) -> list[int]:
    return [(await client.receive_json())["payload"]["n"] for _ in range(count)]


async def test_clients_of_two_nodes_meet_in_order_and_part(backplane: Broker) -> None:
    async with nodes(backplane) as (one, two):
        alice, bob = await one.join("alice"), await two.join("bob")
        await known("bob", one)
        await known("alice", two)
        await relays(alice, "alice", bob, "bob")
        await relays(bob, "bob", alice, "alice")
        for n in range(200):
            await alice.send(signal("CANDIDATE", "bob", {"n": n}))
        assert await numbers(bob, 200) == list(range(200))
        odd = {"text": 'ünï 🎉 \\ " \u2028', "numbers": [1, 2.5, None, True], "deep": [[[{}]]]}
        await alice.send(signal("OFFER", "bob", odd))
        assert await bob.receive_json() == {"type": "OFFER", "src": "alice", "dst": "bob", "payload": odd}
        await bob.send(signal("LEAVE", "alice"))
        assert (await alice.receive_json())["type"] == "LEAVE"
        counted = two.broker.metrics.snapshot()
        assert counted["relayed"] == {"CANDIDATE": 201, "OFFER": 1}
        assert counted["forwarded"] == {"CANDIDATE": 1, "LEAVE": 1}
        assert (counted["nodes"], counted["registered_elsewhere"], counted["refused"]) == (2, 1, {})
        await until(lambda: one.broker.metrics.waiting_messages == 0)


async def test_an_id_belongs_to_one_client_of_the_fleet(backplane: Broker) -> None:
    async with nodes(backplane, 3) as (one, two, three):
        first = await one.join("a", "mine")
        # Whether or not the others have heard of it.
        thief = await two.dial("a", "other")
        assert await refused(thief) == (ID_TAKEN, 4504)
        again = await three.join("a", "mine")
        assert await first.wait_closed() == 4501
        await known("a", one, two)
        other = await one.join("b")
        await relays(other, "b", again, "a")
        await again.close()
        await forgotten("a", one, two)
        await two.join("a", "other")
        assert sum(node.broker.metrics.registered for node in (one, two, three)) == 2


async def test_who_comes_a_moment_later_on_another_node_gets_what_waits(backplane: Broker) -> None:
    async with nodes(backplane, expire_timeout=30) as (one, two):
        alice = await one.join("alice")
        for n in range(20):
            await alice.send(signal("CANDIDATE" if n else "OFFER", "bob", {"n": n}))
        await until(lambda: one.broker.metrics.waiting_messages == 20)
        bob = await two.join("bob")
        assert await numbers(bob, 20) == list(range(20))
        await bob.send(signal("ANSWER", "alice"))
        assert (await alice.receive_json())["type"] == "ANSWER"
        await until(lambda: one.broker.metrics.waiting_bytes == 0)


async def test_one_id_is_asked_for_everywhere_at_once(backplane: Broker) -> None:
    """Fifty rounds: each client with a token of its own, all in the same moment."""
    async with nodes(backplane, 3) as fleet:
        for n in range(50):
            clients = await asyncio.gather(*(node.dial(f"id{n}", f"token{at}") for at, node in enumerate(fleet)))
            told = [(await client.receive_json())["type"] for client in clients]
            assert sorted(told) == ["ID-TAKEN", "ID-TAKEN", "OPEN"], told
            for client, word in zip(clients, told, strict=True):
                if word != "OPEN":
                    assert await client.wait_closed() == 4504
            assert sum(f"id{n}" in node.broker.clients for node in fleet) == 1
        assert sum(node.broker.metrics.conflicts for node in fleet) == 0


async def test_one_client_comes_everywhere_at_once(backplane: Broker) -> None:
    """As with `disconnect()` and `reconnect()` behind a balancer: in the end it is let in, in one place."""
    async with nodes(backplane, 3) as fleet:
        for n in range(10):
            clients = await asyncio.gather(*(node.dial(f"id{n}", "same") for node in fleet))
            assert [await client.receive_json() for client in clients] == [OPEN] * 3
            await until(lambda n=n: sum(f"id{n}" in node.broker.clients for node in fleet) == 1)
            holder = next(node for node in fleet if f"id{n}" in node.broker.clients)
            closed = [client for client, node in zip(clients, fleet, strict=True) if node is not holder]
            assert [await client.wait_closed() for client in closed] == [4501, 4501]
        assert sum(node.broker.metrics.conflicts for node in fleet) == 0


# The rest is the same whatever carries it.


async def test_who_never_comes_expires_once() -> None:
    async with nodes("memory://ghosts", **SOON) as (one, two):
        alice, bob = await one.join("alice"), await two.join("bob")
        await known("bob", one)
        for kind in ("OFFER", "CANDIDATE", "CANDIDATE"):
            await alice.send(signal(kind, "ghost"))
        assert await alice.receive_json() == {"type": "EXPIRE", "src": "ghost", "dst": "alice"}
        await alice.send(signal("CANDIDATE", "ghost"))
        await relays(bob, "bob", alice, "alice")
        assert one.broker.metrics.expired == 1


async def test_the_whole_fleet_is_listed() -> None:
    made = iter(["bob", "free"])
    async with nodes("memory://listed", allow_discovery=True, generate_client_id=lambda: next(made)) as (one, two):
        for node, id in ((two, "zoe"), (one, "alice"), (two, "bob")):
            await node.join(id)
            await known(id, two if node is one else one)
        for node in (one, two):
            async with httpx.AsyncClient(transport=httpx.ASGITransport(node.broker.http), base_url="http://x") as http:
                assert (await http.get("/peerjs/peers")).json() == ["zoe", "alice", "bob"]
        async with httpx.AsyncClient(transport=httpx.ASGITransport(one.broker.http), base_url="http://x") as http:
            assert (await http.get("/peerjs/id")).text == "free", "and not one of another node"


async def test_a_take_over_keeps_what_is_sent_to_the_client() -> None:
    async with nodes("memory://moving", expire_timeout=30) as (one, two):
        alice, bob = await one.join("alice"), await two.join("bob")
        await known("bob", one)
        sent = 0
        got: list[int] = []
        for turn in range(6):
            for _ in range(5):
                await alice.send(signal("CANDIDATE", "bob", {"n": sent}))
                sent += 1
            got += await numbers(bob, 5)
            bob = await (one, two)[turn % 2].join("bob")
        assert got == list(range(sent))
        assert one.broker.metrics.takeovers + two.broker.metrics.takeovers == 6


async def test_messages_that_find_nobody_go_after_who_has_moved() -> None:
    """The directory of the sender's node is behind: the one it asks says so."""
    async with nodes("memory://behind", 3, expire_timeout=30) as (one, two, three):
        alice = await one.join("alice")
        await two.join("bob")
        await known("bob", one)
        bob = await three.join("bob")
        for n in range(3):
            await alice.send(signal("CANDIDATE", "bob", {"n": n}))
        assert sorted(await numbers(bob, 3)) == [0, 1, 2]
        assert one.broker.metrics.waiting_messages <= 3
        await until(lambda: one.broker.metrics.waiting_messages == 0)


async def test_wrong_tokens_are_counted_where_the_id_is() -> None:
    async with nodes("memory://guessing", 3) as (one, two, three):
        await one.join("a", "secret")
        codes = [await (await node.dial("a", "guess")).wait_closed() for node in (two, three, two, three, two, three)]
        assert codes == [4504] * 5 + [4004]
        assert await (await two.dial("a", "secret")).wait_closed() == 4004, "not even the right one is looked at"


async def test_the_limit_is_that_of_each_node() -> None:
    async with nodes("memory://full", concurrent_limit=1) as (one, two):
        first = await one.join("a")
        await two.join("b")
        full = error("Server has reached its concurrent user limit")
        assert await refused(await one.dial("c")) == (full, 1013)
        # Nor does a take-over that finds no room cost the client its place.
        assert await refused(await two.dial("a")) == (full, 1013)
        await relays(first, "a", first, "a")


async def test_another_key_is_another_fleet_and_a_relay_of_ones_own_is_taken() -> None:
    one, two = (Clients(PeerServer(sync="memory://keys", key=key)) for key in ("k1", "k2"))
    three, four = (Clients(PeerServer(sync=connect("memory://keys", prefix="mine"), key=key)) for key in ("k1", "k2"))
    everybody = (one, two, three, four)
    try:
        for node in everybody:
            await node.join("a" if node is not four else "b", key=node.broker.options.key)
        assert [node.broker.metrics.nodes for node in everybody] == [1, 1, 2, 2]
    finally:
        for node in everybody:
            await node.close()
            await node.broker.hub.close()


async def test_it_can_be_served_with_a_sync_of_the_server() -> None:
    from crosspeer import Server

    broker = PeerServer()
    async with Server(broker, port=0, sync="memory://served") as server, nodes("memory://served", 1):
        assert server.hub is broker.hub
        assert isinstance(broker.hub.sync, Relay)


async def test_what_a_broker_cannot_use_is_an_error_at_once() -> None:
    for sync in ("mysql://x", Relay(open_backend("memory://"), crossws="channel")):
        with pytest.raises(ValueError, match=r"backend|crossws"):
            PeerServer(sync=sync)


async def test_bounds_hold_on_the_way_to_another_node() -> None:
    """Rows B6, B7 and B8: a flood to a peer that is elsewhere, while nobody confirms anything."""
    limits = BrokerLimits(waiting_per_sender=50_000, max_message_size=1 << 20)
    async with nodes("memory://flood", expire_timeout=30, limits=limits) as (one, two):
        alice, bob = await one.join("alice"), await two.join("bob")
        await known("bob", one)
        relay(two)._link._receive = lambda channel, data: None  # type: ignore[union-attr]
        relay(two)._backend._receive = relay(two)._link._receive  # type: ignore[attr-defined, union-attr]
        for _ in range(10):
            await alice.send(signal("OFFER", "bob", "x" * 9_000))
        told = [await alice.receive_json() for _ in range(5)]
        assert told == [{"type": "EXPIRE", "src": "bob", "dst": "alice"}] * 5
        assert one.broker.metrics.waiting_bytes <= 50_000
        assert one.broker.metrics.refused == {"no room to wait": 5}
        await alice.send(signal("OFFER", "bob", "x" * 200_000))
        assert await alice.receive_json() == error("message too large for a peer on another node")
        await relays(bob, "bob", bob, "bob")


async def test_a_largest_message_passes() -> None:
    async with nodes("memory://large") as (one, two):
        alice, bob = await one.join("alice"), await two.join("bob")
        await known("bob", one)
        room = 64 * 1024 - len(signal("OFFER", "bob", "").encode())
        for payload in ("x" * room, "é" * (room // 2), "🎉" * (room // 4), '"' * (room // 2)):
            text = '{"type":"OFFER","payload":' + json.dumps(payload, ensure_ascii=False) + ',"dst":"bob"}'
            await alice.send(text)
            assert (await bob.receive_json())["payload"] == payload


async def test_a_hub_of_a_fleet_lives_on_in_another_turn_of_its_life() -> None:
    async with nodes("memory://twice", 1) as (one,):
        broker = PeerServer(sync="memory://twice")
        for _ in range(2):
            async with serving(broker, "python"):
                again = Clients(broker)
                await again.join("a")
                await known("a", one)
                await again.close()
            await forgotten("a", one)

"""Messages for those who are not there: how long they wait, how many may, and what their sender is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from brokers import Clients, HandClock, relays, settle, signal
from crosspeer.peerjs import BrokerLimits
from crosspeer.peerjs.broker.queues import Queues

MakeClients = Callable[..., Clients]


def expire(absent: str, to: str) -> dict[str, str]:
    return {"type": "EXPIRE", "src": absent, "dst": to}


@pytest.mark.parametrize("kind", ["OFFER", "ANSWER", "CANDIDATE"])
async def test_expire_comes_after_the_time_and_not_before(clients: Clients, clock: HandClock, kind: str) -> None:
    alice = await clients.join("alice")
    await alice.send(signal(kind, "ghost"))
    await settle()
    await clock.advance(4.9)
    await relays(alice, "alice", alice, "alice")
    await clock.advance(0.2)
    assert await alice.receive() == '{"type":"EXPIRE","src":"ghost","dst":"alice"}'
    assert clients.broker.metrics.waiting_messages == 0
    assert clients.broker.metrics.expired == 1


async def test_later_messages_do_not_put_it_off_and_are_told_of_once(clients: Clients, clock: HandClock) -> None:
    alice = await clients.join("alice")
    for _ in range(4):
        await alice.send(signal("CANDIDATE", "ghost"))
        await settle()
        await clock.advance(1)
    await clock.advance(1)
    assert await alice.receive_json() == expire("ghost", "alice")
    await relays(alice, "alice", alice, "alice")


async def test_each_sender_is_told_of_each_absent_peer_once(clients: Clients, clock: HandClock) -> None:
    alice, bob = await clients.join("alice"), await clients.join("bob")
    for ghost in ("ghost1", "ghost2", "ghost1"):
        await alice.send(signal("OFFER", ghost))
    await bob.send(signal("OFFER", "ghost1"))
    await settle()
    await clock.advance(6)
    assert [await alice.receive_json() for _ in range(2)] == [expire("ghost1", "alice"), expire("ghost2", "alice")]
    assert await bob.receive_json() == expire("ghost1", "bob")
    await relays(alice, "alice", bob, "bob")


async def test_nobody_is_told_who_has_left(clients: Clients, clock: HandClock) -> None:
    alice = await clients.join("alice")
    await alice.send(signal("OFFER", "ghost"))
    await settle()
    await alice.close()
    await clock.advance(6)
    assert clients.broker.metrics.expired == 0


async def test_what_waits_is_handed_over_in_order_behind_open(clients: Clients, clock: HandClock) -> None:
    alice, bob = await clients.join("alice"), await clients.join("bob")
    for number in range(3):
        await alice.send(signal("OFFER", "carol", {"n": number}))
        await bob.send(signal("CANDIDATE", "carol", {"n": number}))
    await settle()
    await clock.advance(4.9)
    carol = await clients.join("carol")
    received = [await carol.receive_json() for _ in range(6)]
    assert [(one["src"], one["payload"]["n"]) for one in received] == [
        ("alice", 0), ("bob", 0), ("alice", 1), ("bob", 1), ("alice", 2), ("bob", 2),
    ]  # fmt: skip
    assert clients.broker.metrics.relayed == {"OFFER": 3, "CANDIDATE": 3}
    await clock.advance(10)
    await relays(alice, "alice", carol, "carol")


async def test_candidates_behind_an_expire_do_not_bring_another_one(clients: Clients, clock: HandClock) -> None:
    """A browser goes on looking for candidates; its page is told only once that the peer is not there."""
    alice = await clients.join("alice")
    await alice.send(signal("OFFER", "ghost"))
    await settle()
    await clock.advance(5.5)
    assert await alice.receive_json() == expire("ghost", "alice")
    await alice.send(signal("CANDIDATE", "ghost"))
    await settle()
    await clock.advance(4)
    await relays(alice, "alice", alice, "alice")
    await alice.send(signal("OFFER", "ghost"))
    await alice.send(signal("CANDIDATE", "ghost"))
    await settle()
    await clock.advance(5.5)
    assert await alice.receive_json() == expire("ghost", "alice")


async def test_an_id_that_nobody_can_have_is_absent_at_once(clients: Clients) -> None:
    alice = await clients.join("alice")
    await alice.send(signal("OFFER", '<b>"'))
    assert await alice.receive_json() == expire('<b>"', "alice")


async def test_several_expire_together_at_most_once_a_sweep(make: MakeClients, clock: HandClock) -> None:
    clients = make(expire_timeout=2.0, cleanup_out_msgs=1.0)
    alice = await clients.join("alice")
    for number in range(10):
        await alice.send(signal("OFFER", f"ghost{number}"))
        await settle()
        await clock.advance(0.1)
    await clock.advance(1.01)
    assert await alice.receive_json() == expire("ghost0", "alice")
    await clock.advance(0.9)
    await relays(alice, "alice", alice, "alice")
    await clock.advance(0.1)
    for number in range(1, 10):
        assert await alice.receive_json() == expire(f"ghost{number}", "alice")


async def test_there_is_one_timer_and_none_when_there_is_nothing_to_do(clients: Clients, clock: HandClock) -> None:
    assert clock.timers == 0
    alice = await clients.join("alice")
    for number in range(20):
        await alice.send(signal("OFFER", f"ghost{number}"))
    await settle()
    assert clock.timers == 1
    await clock.advance(6)
    for _ in range(20):
        await alice.receive()
    assert clock.timers == 1
    await alice.close()
    assert clock.timers == 0


async def test_what_waits_expires_though_everybody_has_left(clients: Clients, clock: HandClock) -> None:
    alice = await clients.join("alice")
    await alice.send(signal("OFFER", "ghost"))
    await settle()
    await alice.close()
    assert clients.broker.metrics.waiting_messages == 1
    await clock.advance(6)
    assert clients.broker.metrics.waiting_messages == 0
    assert clock.timers == 0


# Bounds.


BOUNDS = [
    ({"waiting_per_peer": 2}, [("ghost", 1), ("ghost", 1), ("other", 1)], ("ghost", 1)),
    ({"waiting_per_sender": 3000}, [("g1", 1000)], ("g2", 2000)),
    ({"waiting_total": 3000, "waiting_per_sender": 10_000}, [("g1", 1000)], ("g2", 2000)),
]


@pytest.mark.parametrize(("limits", "first", "last"), BOUNDS, ids=[next(iter(row[0])) for row in BOUNDS])
async def test_what_has_no_room_expires_at_once(
    make: MakeClients, clock: HandClock, limits: Any, first: list[tuple[str, int]], last: tuple[str, int]
) -> None:
    clients = make(limits=BrokerLimits(**limits))
    alice = await clients.join("alice")
    for ghost, size in first:
        await alice.send(signal("OFFER", ghost, "x" * size))
    await alice.send(signal("OFFER", last[0], "x" * last[1]))
    assert await alice.receive_json() == expire(last[0], "alice")
    # What trickles in behind it is dropped in silence, a new attempt is not.
    await alice.send(signal("CANDIDATE", last[0], "x" * last[1]))
    await relays(alice, "alice", alice, "alice")
    assert clients.broker.metrics.waiting_messages == len(first)
    await clock.advance(6)
    for ghost in dict.fromkeys(ghost for ghost, _ in first):
        assert await alice.receive_json() == expire(ghost, "alice")
    await alice.send(signal("OFFER", last[0], "x"))
    await settle()
    assert clients.broker.metrics.waiting_messages == 1
    assert clients.broker.metrics.refused == {"no room to wait": 1}


def test_the_accounts_are_even_in_the_end() -> None:
    queues = Queues(BrokerLimits(), 5.0, 1.0)
    for number in range(300):
        assert queues.put(f"s{number % 7}", f"d{number % 50}", "OFFER", "x" * number, float(number) / 100)
    assert queues.room.messages == 300
    assert sum(map(len, map(queues.take, ["d0", "d1", "d1", "nobody"]))) == 12
    assert len(queues.expire(7.5)) == len({(f"d{n % 50}", f"s{n % 7}") for n in range(300) if n % 50 > 1})
    assert (queues.room.messages, queues.room.size, len(queues.room._of_sender), len(queues._queues)) == (0, 0, 0, 0)
    assert queues.due(8.0) is None


def test_a_refused_message_leaves_no_trace_of_its_sender() -> None:
    queues = Queues(BrokerLimits(waiting_per_sender=10), 5.0, 1.0)
    assert not queues.put("s", "d", "OFFER", "x", 0.0)
    assert len(queues.room._of_sender) == 0
    assert queues.due(0.0) is None


def test_who_was_told_is_forgotten_in_time() -> None:
    queues = Queues(BrokerLimits(), 5.0, 1.0)
    for number in range(20_000):
        queues.tell("s", f"d{number}", 0.0)
    assert len(queues._told) == 10_000
    assert queues.was_told("s", "d19999", 4.9)
    assert not queues.was_told("s", "d19999", 5.1)
    assert not queues.was_told("s", "d0", 1.0)

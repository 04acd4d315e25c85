"""Who is taken for alive, and for how long."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from brokers import Clients, HandClock, relays, serving, settle
from crosspeer.peerjs import PeerServer
from raw import CLOSE, FIN, PING, PONG, TEXT, Raw, frame

MakeClients = Callable[..., Clients]


async def test_a_client_that_answers_pings_stays(clients: Clients, clock: HandClock) -> None:
    """PeerJS 0.3 has no heartbeat, and a browser throttles the one of a page in the background."""
    alice = await clients.join("alice")
    for _ in range(30):
        await clock.advance(60)
    await relays(alice, "alice", alice, "alice")


async def test_a_silent_client_is_given_up_after_its_time_and_not_before(clients: Clients, clock: HandClock) -> None:
    left: list[str] = []
    clients.broker.on("disconnect", lambda client: left.append(client.id))
    alice, bob = await clients.join("alice"), await clients.join("bob")
    alice.freeze()
    for _ in range(89):
        await clock.advance(1)
    assert left == []
    for _ in range(10):
        await clock.advance(1)
    assert left == ["alice"]
    assert list(clients.broker.clients) == ["bob"]
    await relays(bob, "bob", bob, "bob")
    assert clients.broker.metrics.refused == {"silent": 1}
    again = await clients.join("alice", "another token")
    await relays(bob, "bob", again, "alice")


@pytest.mark.parametrize("sign", ['{"type":"HEARTBEAT"}', '{"ping":"once"}', '{"type":"NOPE"}', "{"])
async def test_every_frame_is_a_sign_of_life(clients: Clients, clock: HandClock, sign: str) -> None:
    alice = await clients.join("alice")
    alice.freeze()
    for _ in range(8):
        await clock.advance(60)
        await alice.send(sign)
        await settle()
    assert list(clients.broker.clients) == ["alice"]


async def test_a_ping_is_one_too(clients: Clients, clock: HandClock) -> None:
    alice = await clients.join("alice")
    alice.freeze()
    for _ in range(8):
        await clock.advance(60)
        await alice.ping()
        await settle()
    assert list(clients.broker.clients) == ["alice"]


async def test_a_take_over_begins_a_new_time(clients: Clients, clock: HandClock) -> None:
    await clients.join("alice")
    clients._clients[0].freeze()
    for _ in range(80):
        await clock.advance(1)
    await clients.join("alice")
    clients._clients[1].freeze()
    for _ in range(80):
        await clock.advance(1)
    assert list(clients.broker.clients) == ["alice"]


async def test_who_has_left_and_stays_silent_is_closed_too(clients: Clients, clock: HandClock) -> None:
    alice = await clients.join("alice")
    await alice.send('{"type":"LEAVE"}')
    await settle()
    for _ in range(8):
        await clock.advance(60)
    alice.freeze()
    for _ in range(120):
        await clock.advance(1)
    assert await alice.wait_closed() == 1001
    assert clock.timers == 0


async def test_one_connection_that_fails_does_not_stop_the_look_after_the_others(
    clients: Clients, clock: HandClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    alice, bob = await clients.join("alice"), await clients.join("bob")

    def fail(*args: object) -> None:
        raise OSError("a bad connection")

    monkeypatch.setattr(clients.broker.clients["alice"], "peer", SimpleNamespace(ping=fail, close=fail))
    for client in (alice, bob):
        client.freeze()
    for _ in range(120):
        await clock.advance(1)
    assert await bob.wait_closed() == 1001
    assert "a bad connection" in caplog.text
    monkeypatch.undo()


async def test_thousands_are_looked_after_by_one_timer(clients: Clients, clock: HandClock) -> None:
    for number in range(1000):
        await clients.join(f"c{number}")
    assert clock.timers == 1
    for client in clients._clients[:500]:
        client.freeze()
    for _ in range(120):
        await clock.advance(1)
    assert len(clients.broker.clients) == 500


async def test_a_step_of_the_wall_clock_drops_nobody(clients: Clients, monkeypatch: pytest.MonkeyPatch) -> None:
    """Row B16."""
    alice = await clients.join("alice")
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 120)
    await settle()
    await relays(alice, "alice", alice, "alice")


@pytest.mark.parametrize("engine", ["native", "python", "uvicorn"])
async def test_on_every_engine_the_silent_are_asked_and_given_up(engine: str) -> None:
    broker = PeerServer(alive_timeout=0.6)
    async with serving(broker, engine) as url, Raw(url) as silent, Raw(url) as lively:
        await silent.upgrade("/peerjs?key=peerjs&id=silent&token=t")
        await lively.upgrade("/peerjs?key=peerjs&id=lively&token=t")
        assert await silent.frame() == (TEXT, b'{"type":"OPEN"}')
        assert await lively.frame() == (TEXT, b'{"type":"OPEN"}')
        for _ in range(3):
            opcode, payload = await lively.frame()
            assert opcode == PING
            lively.send(frame(FIN | PONG, payload))
        assert (await silent.frame())[0] == PING
        assert (await silent.frame())[0] == CLOSE
        assert "silent" not in broker.clients
        lively.send(frame(FIN | TEXT, b'{"type":"OFFER","dst":"lively"}'))
        while (received := await lively.frame())[0] == PING:
            lively.send(frame(FIN | PONG, received[1]))
        assert received == (TEXT, b'{"type":"OFFER","src":"lively","dst":"lively"}')

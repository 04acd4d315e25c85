"""What happens to the messages of a client, and what an application hears of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from brokers import HEARTBEAT, OFFER, Clients, HandClock, error, relays, settle, signal
from crosspeer.peerjs import BrokerLimits

MakeClients = Callable[..., Clients]

SIGNALS = ("OFFER", "ANSWER", "CANDIDATE")


@pytest.mark.parametrize("kind", SIGNALS)
async def test_a_message_is_built_anew_in_this_order_of_keys(clients: Clients, kind: str) -> None:
    alice, bob = await clients.join("alice"), await clients.join("bob")
    payload = '{"sdp":{"type":"offer","sdp":"v=0\\r\\no=- \\u00fc \\ud83d\\ude00"},"n":1.50,"big":12345678901234567890}'
    await alice.send(f'{{"type":"{kind}","payload":{payload},"dst":"bob"}}')
    assert await bob.receive() == f'{{"type":"{kind}","src":"alice","dst":"bob","payload":{payload}}}'
    assert clients.broker.metrics.relayed == {kind: 1}


BODIES = [
    # what is sent, what of the payload arrives (... for none)
    ('{"type":"OFFER","dst":"bob"}', ...),
    ('{"type":"OFFER","payload":null,"dst":"bob"}', None),
    ('{"type":"OFFER","payload":"text","dst":"bob"}', "text"),
    ('{"type":"OFFER","payload":[1,{"a":[]}],"dst":"bob"}', [1, {"a": []}]),
    ('{"dst":"bob","payload":{"a":1},"type":"OFFER"}', {"a": 1}),
    ('  {"type" : "OFFER", "dst":\n"bob", "payload": {"a": "\\u00e9 \\ud800"}}  ', {"a": "é \ud800"}),
    ('{"type":"OFFER","payload":1,"payload":2,"dst":"bob"}', 2),
    ('{"type":"OFFER","payload":1,"dst":"carol","dst":"bob"}', 1),
    ('{"type":"OFFER","payload":1,"d\\u0073t":"carol","dst":"bob"}', 1),
    ('{"type":"OFFER","payload":{"x":1},"dst":"bob","connectionId":"c","src":"alice"}', {"x": 1}),
    ('{"type":"OFFER","payload":"\\",\\"dst\\":\\"carol","dst":"bob"}', '","dst":"carol'),
    ('{"type":"OFFER","payload":1,"x":{"payload":2},"dst":"bob"}', 1),
    ('{"ty\\u0070e":"OFFER","p\\u0061yload":1,"dst":"b\\u006fb"}', 1),
]


@pytest.mark.parametrize(("sent", "payload"), BODIES)
@pytest.mark.parametrize("as_bytes", [False, True])
async def test_payloads_pass_and_other_fields_do_not(clients: Clients, sent: str, payload: Any, as_bytes: bool) -> None:
    alice, bob = await clients.join("alice"), await clients.join("bob")
    await alice.send(sent.encode() if as_bytes else sent)
    text = await bob.receive()
    assert isinstance(text, str)
    expected = {"type": "OFFER", "src": "alice", "dst": "bob"} | ({} if payload is ... else {"payload": payload})
    assert json.loads(text) == expected
    assert list(json.loads(text)) == list(expected)


@pytest.mark.parametrize(
    "sent",
    [
        '{"type":"OFFER","src":"carol","payload":1,"dst":"bob"}',
        '{"type":"OFFER","payload":1,"dst":"bob","src":"carol"}',
        '{"type":"OFFER","payload":1,"src":"carol","dst":"bob"}',
        '{"src":"carol","payload":1,"dst":"bob","type":"OFFER"}',
    ],
)
async def test_the_source_is_the_sender_whatever_it_says(clients: Clients, sent: str) -> None:
    alice, bob = await clients.join("alice"), await clients.join("bob")
    await alice.send(sent)
    assert await bob.receive() == '{"type":"OFFER","src":"alice","dst":"bob","payload":1}'
    assert clients.broker.metrics.refused == {"forged source": 1}
    await relays(bob, "bob", alice, "alice")


async def test_messages_to_oneself_arrive(clients: Clients) -> None:
    alice = await clients.join("alice")
    await relays(alice, "alice", alice, "alice")


async def test_messages_keep_their_order(clients: Clients) -> None:
    alice, bob = await clients.join("alice"), await clients.join("bob")
    for number in range(50):
        await alice.send(signal("CANDIDATE", "bob", {"n": number}))
    assert [(await bob.receive_json())["payload"]["n"] for _ in range(50)] == list(range(50))


# LEAVE and EXPIRE.


@pytest.mark.parametrize("kind", ["LEAVE", "EXPIRE"])
async def test_goodbyes_pass_between_those_who_have_talked(clients: Clients, kind: str, clock: HandClock) -> None:
    alice, bob = await clients.join("alice"), await clients.join("bob")
    await relays(alice, "alice", bob, "bob")
    await bob.send(signal(kind, "alice", {"why": 1}))
    assert await alice.receive_json() == {"type": kind, "src": "bob", "dst": "alice", "payload": {"why": 1}}
    await clock.advance(59)
    await alice.send(f'{{"type":"{kind}","dst":"bob"}}')
    assert await bob.receive_json() == {"type": kind, "src": "alice", "dst": "bob"}


@pytest.mark.parametrize("kind", ["LEAVE", "EXPIRE"])
async def test_goodbyes_of_strangers_do_not_pass_and_are_no_error(
    clients: Clients, kind: str, clock: HandClock
) -> None:
    alice, bob = await clients.join("alice"), await clients.join("bob")
    await alice.send(signal(kind, "bob"))
    await relays(alice, "alice", bob, "bob")
    await clock.advance(61)
    await bob.send(signal(kind, "alice"))
    await relays(bob, "bob", alice, "alice")
    assert clients.broker.metrics.refused == {"stranger": 2}


async def test_goodbyes_to_the_absent_are_dropped(clients: Clients, clock: HandClock) -> None:
    alice = await clients.join("alice")
    await alice.send(signal("OFFER", "bob"))
    await settle()
    bob = await clients.join("bob")
    assert (await bob.receive_json())["type"] == "OFFER"
    await bob.close()
    await alice.send(signal("LEAVE", "bob"))
    await settle()
    assert clients.broker.metrics.waiting_messages == 0
    await clock.advance(10)
    await relays(alice, "alice", alice, "alice")


# What is refused.


WRONG = [
    ('{"type":"NOPE"}', "unknown message type"),
    ('{"type":"OPEN","dst":"bob"}', "unknown message type"),
    ('{"type":"ERROR","dst":"bob"}', "unknown message type"),
    ('{"type":"ID-TAKEN","dst":"bob"}', "unknown message type"),
    ('{"type":"offer","dst":"bob"}', "unknown message type"),
    ('{"type":5,"dst":"bob"}', "unknown message type"),
    ('{"type":{"a":1},"dst":"bob"}', "unknown message type"),
    ('{"type":["OFFER"],"dst":"bob"}', "unknown message type"),
    ('{"type":"OFFER"}', "dst is not the id of a peer"),
    ('{"type":"OFFER","dst":null}', "dst is not the id of a peer"),
    ('{"type":"OFFER","dst":""}', "dst is not the id of a peer"),
    ('{"type":"OFFER","dst":7}', "dst is not the id of a peer"),
    ('{"type":"OFFER","dst":{"a":1}}', "dst is not the id of a peer"),
    ('{"type":"EXPIRE"}', "dst is not the id of a peer"),
    ("{", "bad message: not JSON"),
    ("", "bad message: not JSON"),
    ("not json", "bad message: not JSON"),
    ("null", "bad message: not a JSON object"),
    ("5", "bad message: not a JSON object"),
    ('"s"', "bad message: not a JSON object"),
    ("[]", "bad message: not a JSON object"),
    ("[" * 50_000, "bad message: not JSON"),
    ('{"a":' * 10_000 + "1" + "}" * 10_000, "bad message: not JSON"),
    ('{"type":"OFFER","payload":NaN,"dst":"bob"}', "bad message: NaN is no JSON"),
    ('{"type":"OFFER","payload":-Infinity,"dst":"bob"}', "bad message: -Infinity is no JSON"),
    ('{"dst":"bob","type":"OFFER","payload":1e999}', "bad message: a number is too large"),
    ('{"type":"OFFER","payload":' + "9" * 5000 + ',"dst":"bob"}', "bad message: not JSON"),
    ('{"type":"OFFER","payload":1,"dst":"bob"}}', "bad message: more than one JSON value"),
    ('{"type":"OFFER","payload":1},"src":"carol","x":{"dst":"bob"}', "bad message: more than one JSON value"),
    ('{"type":"OFFER","payload":{"a":"\t"},"dst":"bob"}', "bad message: not JSON"),
    (b"\xff\xfe", "bad message: not JSON"),
]


@pytest.mark.parametrize(("sent", "says"), WRONG, ids=[str(row[0][:24]) for row in WRONG])
async def test_a_wrong_message_is_answered_and_survived(clients: Clients, sent: str | bytes, says: str) -> None:
    heard: list[Exception] = []
    clients.broker.on("error", heard.append)
    alice, bob = await clients.join("alice"), await clients.join("bob")
    await alice.send(sent)
    assert await alice.receive_json() == error(says)
    await relays(alice, "alice", bob, "bob")
    await relays(bob, "bob", alice, "alice")
    assert [str(one) for one in heard] == ([says.removeprefix("bad message: ")] if says.startswith("bad") else [])


@pytest.mark.parametrize(
    "sent", ["{}", '{"ping":"once"}', '{"type":null}', '{"type":"HEARTBEAT"}', json.dumps(HEARTBEAT)]
)
async def test_heartbeats_and_what_has_no_type_are_not_answered(clients: Clients, sent: str) -> None:
    alice, bob = await clients.join("alice"), await clients.join("bob")
    await alice.send(sent)
    await relays(alice, "alice", bob, "bob")
    await relays(bob, "bob", alice, "alice")


async def test_the_eleventh_bad_message_is_the_last(clients: Clients) -> None:
    alice, bob = await clients.join("alice"), await clients.join("bob")
    for _ in range(10):
        await alice.send("{")
        assert (await alice.receive_json())["type"] == "ERROR"
    await relays(alice, "alice", bob, "bob")
    await alice.send("{")
    assert await alice.wait_closed() == 4502
    await relays(bob, "bob", bob, "bob")
    again = await clients.join("alice")
    await again.send("{")
    assert (await again.receive_json())["type"] == "ERROR", "a new connection begins anew"


# Rates.


async def test_too_many_messages_are_refused_until_there_is_room_again(make: MakeClients, clock: HandClock) -> None:
    clients = make(limits=BrokerLimits(relay_rate=2, relay_burst=3))
    alice, bob = await clients.join("alice"), await clients.join("bob")
    for _ in range(3):
        await relays(alice, "alice", bob, "bob")
    await alice.send(signal("OFFER", "bob"))
    assert await alice.receive_json() == error("too many messages, try later")
    await relays(bob, "bob", alice, "alice")
    await clock.advance(0.5)
    await relays(alice, "alice", bob, "bob")


async def test_too_many_strangers_are_refused_and_answers_are_free(make: MakeClients, clock: HandClock) -> None:
    clients = make(limits=BrokerLimits(strangers_per_minute=1, strangers_burst=2))
    host = await clients.join("host")
    guests = [await clients.join(f"guest{number}") for number in range(5)]
    for number, guest in enumerate(guests):
        await relays(guest, f"guest{number}", host, "host")
        await relays(host, "host", guest, f"guest{number}")
    for ghost in ("ghost1", "ghost2", "ghost1"):
        await host.send(signal("OFFER", ghost))
    await host.send(signal("OFFER", "ghost3"))
    assert await host.receive_json() == error("too many peers, try later")
    assert clients.broker.metrics.refused == {"too many peers": 1}


async def test_a_flood_of_heartbeats_ends_the_connection(clients: Clients, clock: HandClock) -> None:
    alice, bob = await clients.join("alice"), await clients.join("bob")
    for _ in range(60):
        await alice.send('{"type":"HEARTBEAT"}')
    await settle()
    await clock.advance(2)
    for _ in range(61):
        await alice.send('{"type":"HEARTBEAT"}')
    assert await alice.wait_closed() == 1008
    await relays(bob, "bob", bob, "bob")


# A receiver that is about to go.


async def test_who_writes_to_a_peer_that_is_about_to_go_is_told_so(clients: Clients) -> None:
    alice = await clients.join("alice")
    await clients.join("bob")
    here, there = (clients.broker.clients[id].peer for id in ("alice", "bob"))
    there.close(4000, "bye")
    # In the same turn of the loop, so that the end of the other is not known yet.
    here._session.receive(signal("OFFER", "bob"))
    assert await alice.receive_json() == {"type": "LEAVE", "src": "bob", "dst": "alice"}


# Authorisation.


@pytest.mark.parametrize("is_async", [False, True])
async def test_authorize_is_asked_with_both_ids_and_the_type(make: MakeClients, is_async: bool) -> None:
    asked: list[tuple[str, str, str]] = []

    def may(src: str, dst: str, kind: str) -> bool:
        asked.append((src, dst, kind))
        return dst != "carol"

    async def may_later(src: str, dst: str, kind: str) -> bool:
        await asyncio.sleep(0)
        return may(src, dst, kind)

    clients = make(authorize=may_later if is_async else may)
    alice, bob, carol = [await clients.join(id) for id in ("alice", "bob", "carol")]
    await alice.send(signal("OFFER", "carol"))
    await alice.send(signal("CANDIDATE", "carol"))
    await alice.send(signal("ANSWER", "carol"))
    await relays(alice, "alice", bob, "bob")
    assert await alice.receive_json() == {"type": "EXPIRE", "src": "carol", "dst": "alice"}
    assert asked == [("alice", "carol", "OFFER"), ("alice", "carol", "CANDIDATE"), ("alice", "carol", "ANSWER"),
                     ("alice", "bob", "CANDIDATE")]  # fmt: skip
    assert clients.broker.metrics.refused == {"not authorized": 3}
    await relays(carol, "carol", alice, "alice")


@pytest.mark.parametrize("is_async", [False, True])
async def test_an_authorize_that_fails_allows_nothing(
    make: MakeClients, is_async: bool, caplog: pytest.LogCaptureFixture
) -> None:
    def may(src: str, dst: str, kind: str) -> bool:
        raise RuntimeError("broken")

    async def may_later(src: str, dst: str, kind: str) -> bool:
        raise RuntimeError("broken")

    clients = make(authorize=may_later if is_async else may)
    alice = await clients.join("alice")
    await clients.join("bob")
    await alice.send(signal("OFFER", "bob"))
    assert await alice.receive_json() == {"type": "EXPIRE", "src": "bob", "dst": "alice"}
    assert "authorize failed" in caplog.text


# Events.


async def test_events_come_in_order_and_with_what_they_are_about(clients: Clients) -> None:
    heard: list[Any] = []
    broker = clients.broker
    broker.on("connection", lambda client: heard.append(("connection", client.id)))

    @broker.on("message")
    def message(client: Any, message: Any) -> None:
        heard.append(("message", client.id, message))

    @broker.on("disconnect")
    async def gone(client: Any) -> None:
        await asyncio.sleep(0)
        heard.append(("disconnect", client.id))

    alice = await clients.join("alice")
    await alice.send('{"type":"HEARTBEAT"}')
    await alice.send('{"type":"NOPE","src":"carol"}')
    await alice.send(signal("OFFER", "alice", 1))
    assert (await alice.receive_json())["type"] == "ERROR"
    assert (await alice.receive_json())["type"] == "OFFER"
    await alice.close()
    assert heard == [
        ("connection", "alice"),
        ("message", "alice", {"type": "HEARTBEAT", "src": "alice"}),
        ("message", "alice", {"type": "NOPE", "src": "alice"}),
        ("message", "alice", {"type": "OFFER", "payload": 1, "dst": "alice", "src": "alice"}),
        ("disconnect", "alice"),
    ]


async def test_connection_comes_behind_what_has_waited(clients: Clients) -> None:
    alice = await clients.join("alice")
    await alice.send(signal("OFFER", "bob", 1))
    await settle()
    clients.broker.on("connection", lambda client: client.send({"type": "HELLO"}))
    bob = await clients.join("bob")
    assert [(await bob.receive_json())["type"] for _ in range(2)] == ["OFFER", "HELLO"]


async def test_a_slow_handler_holds_its_own_client_up_alone(clients: Clients) -> None:
    go_on = asyncio.Event()

    @clients.broker.on("message")
    async def slow(client: Any, message: Any) -> None:
        if client.id == "alice":
            await go_on.wait()

    alice, bob = await clients.join("alice"), await clients.join("bob")
    await alice.send(signal("OFFER", "bob", {"n": 0}))
    await relays(bob, "bob", bob, "bob")
    go_on.set()
    assert (await bob.receive_json())["src"] == "alice"


@pytest.mark.parametrize("event", ["connection", "disconnect", "message", "error"])
@pytest.mark.parametrize("is_async", [False, True])
async def test_what_a_handler_raises_is_logged_and_disturbs_nobody(
    clients: Clients, event: Any, is_async: bool, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*args: Any) -> None:
        raise RuntimeError("a bad handler")

    async def fail_later(*args: Any) -> None:
        raise RuntimeError("a bad handler")

    clients.broker.on(event, fail_later if is_async else fail)
    alice, bob = await clients.join("alice"), await clients.join("bob")
    await alice.send("{")
    assert (await alice.receive_json())["type"] == "ERROR"
    await relays(alice, "alice", bob, "bob")
    await bob.close()
    assert "a bad handler" in caplog.text
    await relays(alice, "alice", alice, "alice")


def test_there_are_four_events(clients: Clients) -> None:
    with pytest.raises(ValueError, match="there is no event 'open': events are connection, disconnect, message, error"):
        clients.broker.on("open", print)  # type: ignore[call-overload]


async def test_an_application_can_send_and_look(clients: Clients) -> None:
    alice = await clients.join("alice")
    client = clients.broker.clients["alice"]
    client.send({"type": "HELLO"})
    assert await alice.receive_json() == {"type": "HELLO"}
    assert repr(client) == "<Client 'alice'>"
    assert OFFER["type"] == "data"


# Metrics.


async def test_metrics_hang_on_the_hub(clients: Clients) -> None:
    alice, bob = await clients.join("alice"), await clients.join("bob")
    await relays(alice, "alice", bob, "bob")
    await alice.send(signal("OFFER", "carol"))
    await alice.send("{")
    assert (await alice.receive_json())["type"] == "ERROR"
    metrics = clients.broker.hub.metrics
    assert metrics is clients.broker.metrics
    snapshot = metrics.snapshot()
    assert snapshot.pop("waiting_bytes") == metrics.waiting_bytes > 200
    assert snapshot == {
        "registered": 2,
        "waiting_messages": 1,
        "registrations": 2,
        "takeovers": 0,
        "expired": 0,
        "relayed": {"CANDIDATE": 1},
        "refused": {"bad message": 1},
    }

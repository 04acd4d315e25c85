"""What a hub knows of peers that are connected elsewhere, and can do to them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from crosspeer import Hub, Server, Upgrade
from crosspeer.sync import Relay, open_backend
from crosspeer.sync.members import ANNOUNCE_EVERY, GONE_AFTER, Members
from crosspeer.testing import ConnectionClosed, connect
from crosspeer.testing.sockets import connect as dial
from crosspeer.wire.envelope import encode_note
from fleet import Chat, nodes, relay_of, settled, until

if TYPE_CHECKING:
    from backplanes import Broker
    from crosspeer import Request
    from crosspeer.testing.client import Client


class Users(Chat):
    def upgrade(self, request: Request) -> Upgrade:
        return Upgrade(context={"user": request.query_params.get("user")})


async def closed(client: Client) -> tuple[int, str]:
    with pytest.raises(ConnectionClosed) as end:
        await client.receive()
    return end.value.code, end.value.reason


async def test_peers_are_counted_addressed_and_disconnected_across_nodes(broker: Broker) -> None:
    async with nodes(broker, 2) as (one, two):
        two.gate._hooks = Hub(Users()).gate._hooks
        async with (
            connect(one, "/") as near,
            connect(two, "/?user=ada") as ada,
            connect(two, "/other?user=ada") as again,
            connect(two, "/?user=bob") as bob,
        ):
            await settled(one, two)
            await until(lambda: one.peers_count() == two.peers_count() == 4)
            assert relay_of(one).nodes == 2
            (here,) = one.peers["/"]
            there = next(peer for peer in two.peers["/"] if peer.context["user"] == "bob")
            one.send_to(there.id, "to bob")
            one.send_to(there.id, b"\x00\xff")
            one.send_to(here.id, {"to": "ourselves"})
            two.send_to(here.id, "from afar")
            one.send_to("nobody", "nothing")
            assert [await bob.receive(), await bob.receive()] == ["to bob", b"\x00\xff"]
            assert [await near.receive(), await near.receive()] == ['{"to":"ourselves"}', "from afar"]
            one.disconnect(where={"user": "ada"}, reason="signed out")
            assert await closed(ada) == await closed(again) == (4500, "signed out")
            one.disconnect(there.id, code=4123)
            assert await closed(bob) == (4123, "disconnected")
            await until(lambda: one.peers_count() == 1)


@pytest.mark.parametrize("engine", ["native", "python"])
async def test_peers_of_engines_are_found_by_their_id(engine: str) -> None:
    if engine == "native":
        pytest.importorskip("crosspeer_engine", reason="the native engine is not built here: it needs cargo")
    chat = Users()
    hub = Hub(chat)
    async with Server(hub, port=0, engine=engine) as server:
        url = server.url.replace("http", "ws")
        async with dial(url + "/?user=ada") as ada, dial(url + "/?user=bob") as bob:
            await chat.wait_for("open", 2)
            assert hub.peers_count() == 2
            peer = next(peer for peer in hub.peers["/"] if peer.context["user"] == "bob")
            hub.send_to(peer.id, "found")
            assert await bob.receive() == "found"
            hub.disconnect(where={"user": "ada"})
            assert await closed(ada) == (4500, "disconnected")
        await chat.wait_for("close", 2)
        hub.send_to(peer.id, "gone")
        hub.disconnect(peer.id)


@pytest.mark.parametrize("arguments", [{}, {"peer_id": "x", "where": {}}, {"peer_id": "x", "code": 1006}], ids=str)
def test_disconnect_says_what_it_takes(arguments: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        Hub().disconnect(**arguments)


def test_a_silent_node_is_forgotten_within_fifteen_seconds() -> None:
    members = Members()
    assert members.heard(b"a", 3, 0.0)
    assert members.heard(b"b", 4, 0.0)
    assert not members.heard(b"b", 5, 5.0)
    for wrong in (-1, True, "3", None, 1.5):
        assert not members.heard(b"c", wrong, 0.0)
    assert members.forget(GONE_AFTER) == []
    assert (len(members), members.peers) == (2, 8)
    # Whoever announces itself looks around at the same time.
    assert GONE_AFTER + ANNOUNCE_EVERY / 2 <= 15
    assert members.forget(GONE_AFTER + 0.1) == [b"a"]
    assert (len(members), members.peers) == (1, 5)
    members.left(b"b")
    assert members.peers == 0


NOTES = [
    None,
    [],
    "leave",
    {},
    {"do": "unknown"},
    {"do": "here"},
    {"do": "disconnect", "peer": 5, "code": 1000, "reason": ""},
    {"do": "disconnect", "peer": "x", "code": 1006, "reason": ""},
    {"do": "disconnect", "peer": "x", "code": "1000", "reason": ""},
    {"do": "disconnect", "peer": "x", "code": 1000, "reason": "r" * 200},
    {"do": "disconnect", "where": [], "code": 1000, "reason": ""},
    {"do": "send", "peer": "x"},
    {"do": "send", "peer": "x", "binary": "no base64!"},
    {"do": "send", "peer": ["x"], "text": "y"},
]


async def test_notes_that_mean_nothing_do_nothing() -> None:
    hub = Hub(Chat(), sync="memory://notes")
    async with connect(hub, "/?topic=chat") as client:
        relay, stranger = relay_of(hub), open_backend("memory://notes")
        await relay.start()
        await stranger.open(lambda channel, data: None)
        everywhere, topic = relay._everywhere, relay._channel("/", "chat")
        told = [note for note in NOTES if note is not None]
        await stranger.publish([(everywhere, encode_note(bytes(16), note)) for note in told])
        # A note has its own channel: who may publish to a topic may not close peers.
        await stranger.publish([(topic, encode_note(bytes(16), {"do": "disconnect", "where": {}, "code": 1000}))])
        await until(lambda: relay.counts.refused >= len(told))
        assert hub.peers_count() == 1
        hub.publish("chat", "alive")
        assert await client.receive() == "alive"
        await stranger.close()
    await hub.close()


async def test_a_node_that_leaves_is_missed_at_once() -> None:
    one, two = (Hub(Chat(), sync=Relay(open_backend("memory://leaving"))) for _ in range(2))
    assert one.sync is not None
    assert two.sync is not None
    await asyncio.gather(one.sync.start(), two.sync.start())
    async with connect(two, "/"):
        await until(lambda: relay_of(one).nodes == 2)
    await two.close()
    await until(lambda: relay_of(one).nodes == 1)
    await one.close()

"""The hub: views, namespaces, the relay to other hubs, and what happens at its end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from crosspeer import Hooks, Hub, Message, Peer, Request, define_hooks
from crosspeer.testing import ConnectionClosed, HandshakeRefused, connect
from fleet import LonelySync

if TYPE_CHECKING:
    from crosspeer.core.outgoing import Outgoing


class Chat(Hooks):
    def open(self, peer: Peer) -> None:
        peer.subscribe("chat")

    def message(self, peer: Peer, message: Message) -> None:
        peer.publish("chat", message.data)


async def test_the_namespace_is_the_path_unless_the_hub_says_otherwise() -> None:
    def by_team(request: Request) -> str:
        return request.query_params["team"]

    hub = Hub(Chat(), namespace=by_team)
    async with connect(hub, "/a?team=red") as one, connect(hub, "/b?team=red") as two:
        assert list(hub.peers) == ["red"]
        await one.send("hi")
        assert await two.receive() == "hi"
    with pytest.raises(HandshakeRefused) as refused:
        await connect(hub, "/a")
    assert refused.value.status == 500


async def test_the_views_may_be_walked_while_peers_come_and_go() -> None:
    hub = Hub(Chat())
    clients = [await connect(hub, path) for path in ("/a", "/a", "/b")]
    await clients[0].send("started")
    assert await clients[1].receive() == "started"
    assert {name: len(peers) for name, peers in hub.peers.items()} == {"/a": 2, "/b": 1}
    one, two = hub.peers["/a"]
    assert hub.peers["/a"] == {one, two} == one.peers
    assert one.peers - {one} == {two}
    assert "/c" not in hub.peers
    with pytest.raises(KeyError):
        hub.peers["/c"]
    for _namespace, peers in hub.peers.items():
        for peer in peers:
            peer.terminate()
            await clients[0].wait_closed()
    for client in clients:
        await client.wait_closed()
    assert dict(hub.peers) == {}


class Wire(LonelySync):
    """Joins hubs in one process, as a broker joins machines."""

    others: tuple[Hub, ...] = ()

    def relay(self, namespace: str | None, topic: str, item: Outgoing) -> None:
        super().relay(namespace, topic, item)
        for hub in self.others:
            hub.deliver(topic, item.data, namespace=namespace)


async def test_publications_are_relayed_once_and_not_echoed() -> None:
    wire, back = Wire(), Wire()
    hubs = [Hub(Chat(), sync=wire), Hub(Chat(), sync=back)]
    wire.others, back.others = (hubs[1],), (hubs[0],)
    async with connect(hubs[0], "/a") as near, connect(hubs[1], "/a") as far, connect(hubs[1], "/b") as elsewhere:
        await near.send("from a peer")
        assert await far.receive() == "from a peer"
        hubs[0].publish("chat", {"to": "all"})
        for client in (near, far, elsewhere):
            assert await client.receive() == '{"to":"all"}'
    assert wire.relayed == [("/a", "chat", "from a peer"), (None, "chat", '{"to":"all"}')]
    assert back.relayed == []
    assert back.interests == [("/a", "chat", True), ("/b", "chat", True), ("/b", "chat", False), ("/a", "chat", False)]


async def test_a_relay_that_fails_does_not_stop_the_local_delivery(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(LonelySync):
        def relay(self, namespace: str | None, topic: str, item: Outgoing) -> None:
            raise ConnectionError("the broker is away")

    hub = Hub(Chat(), sync=Broken())
    async with connect(hub) as one, connect(hub) as two:
        await one.send("hi")
        assert await two.receive() == "hi"
    assert "the broker is away" in caplog.text


async def test_one_bad_peer_does_not_stop_a_publication() -> None:
    hub = Hub(Chat())
    async with connect(hub) as one, connect(hub) as two, connect(hub) as three:
        await one.send("x")
        assert await two.receive() == await three.receive() == "x"
        two.terminate()
        await one.send("y")
        assert await three.receive() == "y"


async def test_handshakes_are_refused_while_the_hub_closes_and_welcome_again_after() -> None:
    leave = asyncio.Event()

    async def close(peer, details) -> None:  # type: ignore[no-untyped-def]
        await leave.wait()

    hub = Hub(define_hooks(close=close))
    client = await connect(hub)
    closing = asyncio.create_task(hub.close(4000, "over"))
    await asyncio.sleep(0.01)
    with pytest.raises(HandshakeRefused) as refused:
        await connect(hub)
    assert refused.value.status == 503
    assert not closing.done(), "it waits for the last hook"
    leave.set()
    await closing
    with pytest.raises(ConnectionClosed) as closed:
        await client.receive()
    assert (closed.value.code, closed.value.reason) == (4000, "over")
    async with connect(hub):
        pass


async def test_closing_with_a_bad_code_closes_nobody() -> None:
    hub = Hub(Chat())
    async with connect(hub):
        with pytest.raises(ValueError, match="1005"):
            await hub.close(1005)
    assert hub.connections == 0


@pytest.mark.parametrize("leaves", ["in resolve", "in upgrade"])
async def test_a_handshake_that_is_cancelled_gives_its_place_back(leaves: str) -> None:
    reached = asyncio.Event()

    async def wait(request: Request) -> Hooks:
        reached.set()
        await asyncio.Event().wait()
        return Chat()

    hub = Hub(resolve=wait) if leaves == "in resolve" else Hub(define_hooks(upgrade=wait))
    connecting = asyncio.ensure_future(connect(hub)._open())
    await reached.wait()
    assert hub.connections == 1
    connecting.cancel()
    await asyncio.wait({connecting})
    assert hub.connections == 0

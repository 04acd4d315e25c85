"""Our peers at the npm package `peer`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from crosspeer.peerjs import Peer, PeerError
from peers import NPM, Heard, Peers, connected, npm_broker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.skipif(not NPM.exists(), reason="the npm package peer is not installed here: it needs npm")


@pytest.fixture
async def peers() -> AsyncIterator[Peers]:
    async with npm_broker() as where:
        peers = Peers(where)
        try:
            yield peers
        finally:
            await peers.destroy()


async def test_a_life_of_a_peer(peers: Peers) -> None:
    alice, nameless = await peers.open("alice"), await peers.open()
    assert len(nameless.id or "") == 36
    assert sorted(await alice.list_all_peers()) == sorted(["alice", nameless.id or ""])
    pair = await connected(nameless, alice, metadata={"ü": 1}, reliable=True)
    assert pair.there.metadata == {"ü": 1}
    await pair.here.send(b"x" * 100_000)
    assert await pair.there.receive() == b"x" * 100_000

    taken = peers.begin("alice")
    with pytest.raises(PeerError) as raised:
        await taken
    assert raised.value.type == "unavailable-id"

    heard = Heard(alice)
    with pytest.raises(PeerError) as raised:
        await alice.connect("nobody")
    assert raised.value.type == "peer-unavailable"
    assert heard.names == ["error"]


async def test_coming_back(peers: Peers) -> None:
    alice, bob = await peers.open("alice"), await peers.open("bob")
    for _ in range(2):
        # The broker does not say OPEN to a peer whose old socket it still has.
        alice.disconnect()
        alice.reconnect()
        await alice
    pair = await connected(bob, alice)
    assert pair.here.open


async def test_a_wrong_key_and_a_wrong_path(peers: Peers) -> None:
    for options, type in (({"key": "wrong"}, "server-error"), ({"path": "/nowhere"}, "network")):
        arguments: dict[str, Any] = {**peers.where, **options}
        peer = Peer("alice", **arguments)
        with pytest.raises(PeerError) as raised:
            await peer
        assert raised.value.type == type
        await peer.destroy()

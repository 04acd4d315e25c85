"""What a broker makes of a backplane that others write to as well: nothing, and it counts."""

from __future__ import annotations

from typing import Any

import pytest

from brokerfleet import fleet_of, known, nodes, relay
from brokers import Clients, relays
from crosspeer.peerjs import PeerServer
from crosspeer.peerjs.broker.directory import Entry
from crosspeer.sync import connect, open_backend
from crosspeer.wire.envelope import MAX_NOTE, Publication, encode, encode_note, entry
from crosspeer.wire.peerjs import relayed
from fleet import until

STRANGER = b"s" * 16
DIGEST = "0" * 32


class Writer:
    """Somebody with access to the backplane, and no key."""

    def __init__(self, name: str, *fleet: Clients) -> None:
        self._backend = open_backend(name)
        self._fleet = fleet
        self._everywhere = relay(fleet[0])._everywhere

    async def open(self) -> None:
        await self._backend.open(lambda channel, data: None)

    async def write(self, data: bytes, to: Clients | None = None) -> None:
        channel = self._everywhere if to is None else relay(to)._inbox(relay(to).node.bytes)
        await self._backend.publish([(channel, data)])

    async def say(self, *words: Any, to: Clients | None = None, node: bytes = STRANGER) -> None:
        await self.write(encode_note(node, {"do": "part", "say": list(words)}), to)

    async def close(self) -> None:
        await self._backend.close()


async def test_bytes_that_are_no_words_are_dropped_and_counted() -> None:
    async with nodes("memory://garbage") as (one, two):
        alice, bob = await one.join("alice"), await two.join("bob")
        await known("bob", one)
        writer = Writer("memory://garbage", one)
        await writer.open()
        good = encode_note(STRANGER, {"do": "part", "say": [["here", 0]]})
        own = relay(one).node.bytes
        bad = [
            b"",
            b"\x80\x04\x95pickle",
            good[:10],
            good[:-1],
            b"xq" + good[2:],
            good[:2] + b"\x09" + good[3:],
            encode_note(STRANGER, {"do": "part"}),
            encode_note(STRANGER, {"do": "part", "say": "here"}),
            encode_note(STRANGER, {"do": "part", "say": [["here"], ["nonsense", 1], 7, None]}),
            good[:20] + b"[" * 100_000,
            good[:20] + b'"' + b"x" * MAX_NOTE + b'"',
            encode_note(own, {"do": "part", "say": [["left", 2, "alice"]]}),
            encode(own, [entry(Publication(None, "t", "x"), b"x")]),
        ]
        before = relay(one).counts.refused
        for data in bad:
            await writer.write(data, to=one)
        await until(lambda: relay(one).counts.refused == before + len(bad))
        assert one.broker.metrics.refused == {"said by another node": 4}
        await relays(alice, "alice", bob, "bob")
        await relays(bob, "bob", alice, "alice")
        await writer.close()


async def test_words_of_a_stranger_do_little() -> None:
    """Without a key whoever writes to the backplane is a node; even so it ends nobody's connection by a message."""
    async with nodes("memory://strange") as (one, two):
        alice, bob = await one.join("alice"), await two.join("bob")
        await known("bob", one)
        writer = Writer("memory://strange", one)
        await writer.open()
        for word in (
            ["got", 1],
            ["none", 1],
            ["lost", 1],
            ["yes", 1, 0],
            ["no", 1, "taken"],
            ["no", 1, "because"],
            ["left", 1, "bob"],
            ["ids", 1, 0, 1, [["a--b", 1, DIGEST]]],
            ["ids", 1, 5, 3, []],
            ["expired", "bob", "nobody"],
            ["message", 0, relayed("LEAVE", "carol", "alice", None)],
            ["message", 0, relayed("EXPIRE", "carol", "alice", None)],
            ["message", 0, '{"type":"OPEN","src":"bob","dst":"alice"}'],
            ["message", 0, '{"type":"OFFER","src":"bob","dst":"alice","payload":1},{"type":"OPEN"}'],
            ["message", 0, relayed("OFFER", "bob", "alice", '"' + "x" * 70_000 + '"')],
        ):
            await writer.say(word, to=one)
        await until(lambda: one.broker.metrics.refused["said by another node"] == 5)
        assert one.broker.metrics.refused["stranger"] == 2
        assert fleet_of(one).knows("bob")
        await relays(alice, "alice", bob, "bob")
        await relays(bob, "bob", alice, "alice")
        await writer.close()


async def test_a_node_that_keeps_silent_when_it_is_asked_is_not_waited_for_twice() -> None:
    async with nodes("memory://mute", 1) as (one,):
        writer = Writer("memory://mute", one)
        await writer.open()
        await writer.say(["here", 1])
        await until(lambda: one.broker.metrics.nodes == 2)
        client = await one.dial("first")
        assert await client.receive_json(timeout=10) == {"type": "OPEN"}
        assert fleet_of(one).claims._silent == {STRANGER}
        await one.join("second")
        await writer.say(["left", 2, "nobody"])
        await until(lambda: not fleet_of(one).claims._silent)
        await writer.close()


async def test_a_fleet_with_a_key_hears_nobody_else() -> None:
    made = [Clients(PeerServer(sync=connect("memory://sealed", prefix="mine", key="k" * 16))) for _ in range(2)]
    writer = Writer("memory://sealed", *made)
    try:
        for node in made:
            await relay(node).start()
        alice, bob = await made[0].join("alice"), await made[1].join("bob")
        await known("bob", made[0])
        await writer.open()
        before = relay(made[0]).counts.refused
        await writer.say(["mine", "alice", 1, DIGEST], to=made[0])
        await writer.say(["claim", 1, "alice", 1, DIGEST])
        await until(lambda: relay(made[0]).counts.refused == before + 2)
        assert made[0].broker.metrics.nodes == 2
        await relays(alice, "alice", bob, "bob")
    finally:
        await writer.close()
        for node in made:
            await node.close()
            await node.broker.hub.close()


@pytest.mark.parametrize("size", [0, 1, 499, 500, 501, 1700])
async def test_a_node_that_comes_late_learns_of_all(size: int) -> None:
    async with nodes("memory://late", 1) as (one,):
        fleet = fleet_of(one)
        for number in range(size):
            fleet._log.join(f"id{number}", Entry(number, DIGEST))
        late = Clients(PeerServer(sync="memory://late"))
        await relay(late).start()
        await until(lambda: late.broker.metrics.nodes == 2 and late.broker.metrics.registered_elsewhere == size)
        await late.broker.hub.close()

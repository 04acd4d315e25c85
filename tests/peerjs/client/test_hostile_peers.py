"""A peer at the other end that sends what no PeerJS sends: an `error`, bounded memory, and nobody else notices."""

from __future__ import annotations

import asyncio
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest

from crosspeer.peerjs import PeerLimits, Serializer
from crosspeer.wire.binarypack import pack
from peers import DEADLINE, Heard, connected, until

if TYPE_CHECKING:
    from peers import Pair, Peers

MIB = 1024 * 1024


class Frames(Serializer):
    """Sends frames as they are, under whatever name."""

    def encode(self, value: Any) -> str | bytes:
        frame: str | bytes = value
        return frame

    def decode(self, frame: str | bytes) -> list[Any]:
        return [frame]


EVIL = {"serializers": dict.fromkeys(("binary", "json", "MsgPack"), Frames)}
GOOD = {"binary": pack("still here"), "json": b'"still here"', "MsgPack": b"\xaastill here"}


def chunk(transfer: Any, n: Any, data: Any, total: Any) -> bytes:
    return pack({"__peerData": transfer, "n": n, "data": data, "total": total})


FRAMES: dict[str, dict[str, bytes | str]] = {
    "binary": {
        "nothing": b"",
        "a text that ends too early": b"\xb5ab",
        "an array of 4 billion": b"\xdd\xff\xff\xff\xff",
        "arrays in arrays": b"\x91" * 200_000,
        "text that is no UTF-8": b"\xb2\xff\xff",
        "a text frame with characters beyond Latin-1": "中",
        "a control that nobody knows": pack({"__peerData": {"type": "dance"}}),
        "a slice without a header": pack({"__peerData": 1}),
        "a slice with a total of 0": chunk(1, 0, b"", 0),
        "a slice beyond its total": chunk(1, 9, b"", 3),
        "a header with absurd sizes": chunk(1, 2**62, b"", 2**62),
        "a total above the limit": chunk(1, 0, b"", 2**40),
        "a slice of text": chunk(1, 0, "text", 2),
        "a slice of a transfer never begun": chunk(77, 5, b"data", 10),
        "a transfer of one slice that is no message": chunk(1, 0, b"\xdd\xff\xff\xff\xff", 1),
        "a negative transfer": chunk(-1, 0, b"", 2),
    },
    "json": {
        "nothing": b"",
        "half a value": b'{"a":',
        "no UTF-8": b"\xff\xfe",
        "no JSON": b"NaN",
        "arrays in arrays": b"[" * 200_000,
        "a number of 5000 digits": b"9" * 5000,
    },
}


@pytest.fixture
async def pair(peers: Peers, serialization: str) -> Pair:
    """An honest peer, called by one that is not, on a channel that keeps the order."""
    return await peers.pair(alice=EVIL, serialization=serialization, reliable=True)


@pytest.mark.parametrize(
    ("serialization", "frame"),
    [
        pytest.param(serialization, frame, id=f"{serialization}: {name}")
        for serialization, frames in FRAMES.items()
        for name, frame in frames.items()
    ],
)
async def test_a_frame_that_is_no_message(pair: Pair, serialization: str, frame: bytes | str) -> None:
    heard = Heard(pair.there)
    await pair.here.send(frame)
    error = await heard.wait_for("error")
    assert error.type == "invalid-message"
    assert str(error).startswith("alice sent something that is no message: ")
    await pair.here.send(GOOD[serialization])
    assert await heard.wait_for("data") == "still here"
    assert heard.names == ["error", "data"]


@pytest.mark.parametrize("frame", [b"\xc1", b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\x81\x90\x01", "text"])
@pytest.mark.parametrize("serialization", ["MsgPack"])
async def test_a_stream_that_makes_no_sense_any_more(pair: Pair, frame: bytes | str) -> None:
    heard = Heard(pair.there)
    await pair.here.send(frame)
    await heard.wait_for("close")
    assert [error.type for error in heard.of("error")] == ["invalid-message"]


async def test_a_stream_of_one_endless_message(peers: Peers) -> None:
    bob = {"limits": PeerLimits(max_message_size=1 * MIB)}
    pair = await peers.pair(alice=EVIL, bob=bob, serialization="MsgPack", reliable=True)
    heard = Heard(pair.there)
    pair.here.send(b"\xdc\xff\xff")
    for _ in range(100):
        pair.here.send(b"\xda\xff\xff" + b"x" * 0xFFFF)
    await heard.wait_for("close")
    assert [error.type for error in heard.of("error")] == ["invalid-message"]
    assert "passes the limit" in str(heard.of("error")[0])


@pytest.mark.parametrize("serialization", ["binary"])
async def test_a_total_that_does_not_match(pair: Pair) -> None:
    heard = Heard(pair.there)
    for frame in (chunk(1, 0, b"a", 3), chunk(1, 1, b"b", 4), chunk(1, 2, b"c", 3), pack("still here")):
        await pair.here.send(frame)
    assert await heard.wait_for("data") == "still here"
    assert [str(error) for error in heard.of("error")] == [
        "alice sent something that is no message: slice 1 of 4 does not fit transfer 1, of 3 slices"
    ]


async def test_transfers_that_never_end_take_bounded_memory(peers: Peers) -> None:
    bob = {"limits": PeerLimits(max_message_size=1 * MIB)}
    pair = await peers.pair(alice=EVIL, bob=bob)
    heard = Heard(pair.there, "error", "data", "close")
    tracemalloc.start()
    try:
        for number in range(1, 1000):
            await pair.here.send(chunk(number, 1, b"x" * 16_000, 1000))
        await pair.here.send(pack("still here"))
        await heard.wait_for("data")
        assert tracemalloc.get_traced_memory()[0] < 8 * MIB
    finally:
        tracemalloc.stop()
    assert {error.type for error in heard.of("error")} == {"invalid-message"}
    assert pair.there.open


async def test_a_message_above_the_limit(peers: Peers) -> None:
    bob = {"limits": PeerLimits(max_message_size=1 * MIB, max_items=1000)}
    pair = await peers.pair(bob=bob, reliable=True)
    heard = Heard(pair.there, "error", "data")
    await pair.here.send(b"x" * (1 * MIB - 5))
    await pair.here.send(b"x" * (1 * MIB))
    await pair.here.send([0] * 1001)
    await pair.here.send("still here")
    await heard.wait_for("data", 2)
    assert [len(value) for value in heard.of("data")] == [1 * MIB - 5, len("still here")]
    assert ["limit" in str(error) or "too many items" in str(error) for error in heard.of("error")] == [True, True]


async def test_others_are_not_touched(peers: Peers) -> None:
    bob = await peers.open("bob")
    mallory = await peers.open("mallory", **EVIL)
    alice = await peers.open("alice")
    honest, evil = await connected(alice, bob, reliable=True), await connected(mallory, bob, reliable=True)
    heard = Heard(evil.there, "error")
    told = Heard(bob, "error")
    for _ in range(200):
        evil.here.send(b"\xdd\xff\xff\xff\xff")
    await heard.wait_for("error", 200)
    await honest.here.send("still here")
    async with asyncio.timeout(DEADLINE):
        assert await honest.there.receive() == "still here"
    assert told.events == []


class TestChannels:
    """Row R4: channels beside the one that PeerJS opens."""

    async def test_a_stray_channel_is_closed(self, engine_peers: Peers) -> None:
        pair = await engine_peers.pair()
        pair.here._negotiator.link.open_channel("stray", ordered=True)
        await until(lambda: pair.there._strays == 1)
        await pair.here.send("still here")
        async with asyncio.timeout(DEADLINE):
            assert await pair.there.receive() == "still here"

    async def test_one_channel_after_the_other_ends_it(self, engine_peers: Peers) -> None:
        pair = await engine_peers.pair()
        heard = Heard(pair.there, "error", "close")
        for number in range(40):
            pair.here._negotiator.link.open_channel(f"stray {number}", ordered=True)
        await heard.wait_for("close")
        assert [error.type for error in heard.of("error")] == ["invalid-message"]


class TestClosing:
    """PeerJS's own way to flush: a request to close, sent behind the last message."""

    @pytest.mark.parametrize("serialization", ["binary", "json", "MsgPack"])
    async def test_a_request_to_close_is_heeded(self, pair: Pair, serialization: str) -> None:
        heard = Heard(pair.there)
        request = {
            "binary": pack({"__peerData": {"type": "close"}}),
            "json": b'{"__peerData":{"type":"close"}}',
            "MsgPack": bytes.fromhex("81aa5f5f706565724461746181a474797065a5636c6f7365"),
        }[serialization]
        pair.here.send(GOOD[serialization])
        pair.here.send(request)
        await heard.wait_for("close")
        assert heard.events == [("data", "still here"), ("close", None)]

    async def test_slices_that_are_on_their_way_are_waited_for(self, peers: Peers) -> None:
        pair = await peers.pair(alice=EVIL)
        heard = Heard(pair.there)
        packed = pack("x" * 20)
        pair.here.send(chunk(1, 0, packed[:10], 2))
        pair.here.send(pack({"__peerData": {"type": "close"}}))
        pair.here.send(chunk(1, 1, packed[10:], 2))
        await heard.wait_for("close")
        assert heard.events == [("data", "x" * 20), ("close", None)]

    async def test_but_not_for_ever(self, peers: Peers, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("crosspeer.peerjs.client.data.FLUSH_PATIENCE", 0.05)
        pair = await peers.pair(alice=EVIL)
        heard = Heard(pair.there)
        pair.here.send(chunk(1, 0, b"x", 2))
        pair.here.send(pack({"__peerData": {"type": "close"}}))
        await heard.wait_for("close")
        assert heard.names == ["close"]


async def test_a_serializer_that_fails_is_contained(peers: Peers, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Frames):
        def decode(self, frame: str | bytes) -> list[Any]:
            raise RuntimeError("bug")

    alice, bob = {"serializers": {"own": Frames}}, {"serializers": {"own": Broken}}
    pair = await peers.pair(alice=alice, bob=bob, serialization="own")
    heard = Heard(pair.there)
    await pair.here.send(b"x")
    error = await heard.wait_for("error")
    assert error.type == "invalid-message"
    assert "the serializer of a connection failed" in caplog.text
    assert pair.there.open

"""Rows R2 and R4 behind the handshake: an accepted peer whose SCTP is malformed, floods, or never ends a message."""

from __future__ import annotations

import asyncio
import os
import random
import struct
import time
from typing import TYPE_CHECKING, Any

import pytest
from aiortc import RTCSctpTransport
from google_crc32c import value as crc32c

from crosspeer.peerjs.rtc.choose import NAMES
from crosspeer.peerjs.rtc.guard import MAX_WAITING, WINDOW_SLACK, is_harmless
from peers import DEADLINE, Heard, Pair, Peers, connected, own_broker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

MIB = 1024 * 1024
DATA, INIT, SACK, HEARTBEAT, ABORT, RECONFIG, FORWARD_TSN = 0, 1, 3, 4, 6, 130, 192
WHOLE, FIRST = 3, 2
UNORDERED = 4
DCEP, BINARY = 50, 53


def chunk(kind: int, body: bytes, flags: int = 0) -> bytes:
    return struct.pack("!BBH", kind, flags, len(body) + 4) + body + bytes(-len(body) % 4)


def data_chunk(tsn: int, stream: int, sequence: int, protocol: int, body: bytes, flags: int = WHOLE) -> bytes:
    return chunk(DATA, struct.pack("!LHHL", tsn % 2**32, stream, sequence, protocol) + body, flags)


def packet(*chunks: bytes, tag: int = 0) -> bytes:
    head, body = struct.pack("!HHL", 5000, 5000, tag), b"".join(chunks)
    return head + struct.pack("<L", crc32c(head + bytes(4) + body)) + body


class Attacker:
    """Has a data connection, and writes into its DTLS whatever it likes."""

    def __init__(self, pair: Pair) -> None:
        self.pair = pair
        self._sctp: Any = pair.here.peer_connection.sctp
        self.tsn = self._sctp._local_tsn + 100

    async def send(self, *chunks: bytes) -> None:
        await self._sctp.transport._send_data(packet(*chunks, tag=self._sctp._remote_verification_tag))

    async def send_bytes(self, data: bytes) -> None:
        await self._sctp.transport._send_data(data)

    def ignore_bounds(self) -> Any:
        """Its data channel, which now sends messages of any size."""
        self._sctp._remote_max_message_size = 0
        return self.pair.here.data_channel


@pytest.fixture(params=NAMES)
async def stage(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Attacker, Pair, list[str]]]:
    """Bob on each engine, with a connection of mallory and one of alice; and what nobody has caught."""
    uncaught: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: uncaught.append(str(context)))
    async with own_broker() as where:
        peers = Peers(where)
        try:
            bob = await peers.open("bob", engine=request.param)
            evil = await connected(await peers.open("mallory", engine="aiortc"), bob, reliable=True)
            good = await connected(await peers.open("alice"), bob, reliable=True)
            yield Attacker(evil), good, uncaught
        finally:
            await peers.destroy()


async def still_talk(good: Pair) -> None:
    for text in ("still", "here"):
        await good.here.send(text)
        async with asyncio.timeout(DEADLINE):
            assert await good.there.receive() == text


def spoiled(chance: random.Random, count: int) -> list[bytes]:
    """Chunks of every kind with something wrong in them."""
    good = [
        data_chunk(7, 0, 0, BINARY, b"x" * 40),
        data_chunk(7, 65_535, 0, DCEP, b"\x03" + bytes(11)),
        chunk(INIT, struct.pack("!LLHHL", 5, 1000, 65_535, 65_535, 9) + struct.pack("!HHL", 0x8008, 8, 0)),
        chunk(2, struct.pack("!LLHHL", 5, 1000, 0, 0, 9) + b"\x00\x07\x00\x00"),
        chunk(SACK, struct.pack("!LLHHHH", 9, 1000, 1, 0, 1, 65_535)),
        chunk(HEARTBEAT, b"\x00\x01\x00\x08abcd"),
        chunk(RECONFIG, b"\x00\x0d\x00\x10" + bytes(12)),
        chunk(FORWARD_TSN, struct.pack("!LHH", 9, 1, 1)),
        chunk(9, b"\x00\x01\x00\x08abcd"),
        chunk(10, b"cookie"),
    ]
    made = []
    for _ in range(count):
        data = bytearray(chance.choice(good))
        for _ in range(chance.randint(1, 4)):
            data[chance.randrange(1, len(data))] = chance.choice((0, 1, 3, 4, 255, chance.randrange(256)))
        made.append(bytes(data[: chance.randint(4, len(data))]))
    return made


LOOPS = {
    "a parameter of no length": [chunk(HEARTBEAT, b"\x00\x01\x00\x00"), chunk(RECONFIG, b"\x00\x0d\x00\x00abcd")],
    "an INIT with such a parameter": [chunk(INIT, struct.pack("!LLHHL", 1, 1, 1, 1, 1) + bytes(4))],
    "a chunk of no length": [struct.pack("!BBH", HEARTBEAT, 0, 0), struct.pack("!BBH", DATA, 3, 3)],
    "a SACK that covers everything many times": [
        chunk(SACK, struct.pack("!LLHH", 9, 1000, 250, 0) + struct.pack("!HH", 1, 65_535) * 250)
    ],
    "a SACK that says more than it has": [chunk(SACK, struct.pack("!LLHH", 9, 1000, 65_535, 65_535))],
}


@pytest.mark.parametrize("chunks", LOOPS.values(), ids=LOOPS)
async def test_what_would_never_end(stage: tuple[Attacker, Pair, list[str]], chunks: list[bytes]) -> None:
    attacker, good, uncaught = stage
    started = time.process_time()
    for _ in range(20):
        for each in chunks:
            await attacker.send(each)
    await still_talk(good)
    assert time.process_time() - started < 5
    assert uncaught == []


async def test_packets_at_random(stage: tuple[Attacker, Pair, list[str]]) -> None:
    attacker, good, uncaught = stage
    chance = random.Random(7)
    started = time.process_time()
    for each in spoiled(chance, 400):
        await attacker.send(each)
    for _ in range(100):
        await attacker.send_bytes(os.urandom(chance.randint(1, 200)))
    await still_talk(good)
    assert time.process_time() - started < 10
    assert uncaught == []


async def test_a_message_without_end(stage: tuple[Attacker, Pair, list[str]]) -> None:
    """Far above the size that was agreed on: it is not put together, and what has come of it is not kept."""
    attacker, good, uncaught = stage
    heard = Heard(attacker.pair.there, "data", "close")
    transport = getattr(attacker.pair.there.peer_connection, "sctp", None)
    attacker.ignore_bounds().send(b"x" * (12 * MIB))
    await heard.wait_for("close")
    if isinstance(transport, RTCSctpTransport):
        assert transport._advertised_rwnd >= -WINDOW_SLACK - 2000, "what it holds beyond its window"
    assert heard.of("data") == []
    await still_talk(good)
    assert uncaught == []


async def test_channels_by_the_thousand(stage: tuple[Attacker, Pair, list[str]]) -> None:
    attacker, good, uncaught = stage
    heard = Heard(attacker.pair.there, "close", "error")
    for stream in range(1001, 21_001, 2):
        attacker.tsn += 1
        await attacker.send(data_chunk(attacker.tsn, stream % 65_534, 0, DCEP, b"\x03" + bytes(11), WHOLE))
        if heard.of("close"):
            break
    await still_talk(good)
    assert uncaught == []


async def test_pieces_without_a_beginning() -> None:
    """Each of a byte, and none complete: the window alone would let half a million of them wait."""
    async with own_broker() as where:
        peers = Peers({**where, "engine": "aiortc"})
        try:
            pair = await connected(await peers.open("mallory"), await peers.open("bob"))
            attacker, heard = Attacker(pair), Heard(pair.there, "close")
            sent = 0
            while not heard.of("close"):
                pieces = [data_chunk(attacker.tsn + 2 * n, n, 0, BINARY, b"x", UNORDERED) for n in range(50)]
                attacker.tsn += 100
                await attacker.send(*pieces)
                sent += 50
                await asyncio.sleep(0)
                assert sent < 3 * MAX_WAITING
        finally:
            await peers.destroy()


@pytest.mark.parametrize(
    ("chunks", "harmless"),
    [
        ([chunk(SACK, struct.pack("!LLHHHHHH", 9, 1000, 2, 0, 2, 3, 5, 9))], True),
        ([chunk(SACK, struct.pack("!LLHH", 9, 1000, 0, 0))], True),
        ([chunk(SACK, struct.pack("!LLHHHHHH", 9, 1000, 2, 0, 1, 65_535, 1, 65_535))], False),
        ([chunk(HEARTBEAT, b"\x00\x01\x00\x08abcd")], True),
        ([chunk(HEARTBEAT, b"\x00\x01\x00\x08abcd\x00\x01\x00\x00")], False),
        ([chunk(ABORT, b"")], True),
        ([data_chunk(1, 0, 0, BINARY, b"x"), chunk(RECONFIG, bytes(4))], False),
        ([chunk(INIT, bytes(16))], True),
        ([chunk(INIT, bytes(20))], False),
        ([chunk(200, bytes(4))], True),
        ([], True),
    ],
)  # fmt: skip
def test_what_is_let_through(chunks: list[bytes], harmless: bool) -> None:
    assert is_harmless(packet(*chunks)) is harmless


def test_any_packet_is_looked_at_to_its_end() -> None:
    chance = random.Random(3)
    for each in spoiled(chance, 2000):
        is_harmless(packet(each))
    for _ in range(2000):
        is_harmless(chance.randbytes(chance.randint(0, 60)))

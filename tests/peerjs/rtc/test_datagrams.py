"""Rows R1, R2 and R5: datagrams of strangers on the port of a live connection."""

from __future__ import annotations

import asyncio
import os
import random
import re
import socket
import struct
import time
from typing import TYPE_CHECKING

import pytest

import stun
from crosspeer.peerjs.rtc.choose import NAMES
from peers import DEADLINE, Peers, connected, own_broker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from peers import Pair

HELLO = bytes.fromhex(
    # A DTLS 1.2 ClientHello without extensions: record, handshake header, version, random, no session, no cookie.
    "16feff0000000000000000003f010000330000000000000033fefd" + "5a" * 32 + "00000002c02b0100" + "0000"
)


@pytest.fixture(params=NAMES)
async def pair(request: pytest.FixtureRequest) -> AsyncIterator[Pair]:
    async with own_broker() as where:
        peers = Peers({**where, "engine": request.param})
        try:
            yield await connected(await peers.open("alice"), await peers.open("bob"), reliable=True)
        finally:
            await peers.destroy()


def ports_of(pair: Pair) -> list[tuple[str, int]]:
    """The UDP addresses at which one end listens."""
    native = pair.there.peer_connection
    description = native.local_description if hasattr(native, "local_description") else native.localDescription
    found = re.findall(r"candidate:\S+ 1 udp \d+ (\d+\.\d+\.\d+\.\d+) (\d+) typ host", description.sdp, re.IGNORECASE)
    return [(address, int(port)) for address, port in found]


def datagrams(chance: random.Random) -> list[bytes]:
    """STUN, DTLS, SRTP and nothing, whole and spoiled."""
    requests = [
        stun.message(stun.BINDING, []),
        stun.message(
            stun.BINDING, [(0x0006, b"some:body"), (0x0024, b"\x7f\xff\xff\xff"), (0x8029, os.urandom(8))], b"key"
        ),
        stun.message(stun.BINDING, [(0x0006, b"x" * 600)]),
        stun.message(stun.BINDING | stun.SUCCESS, []),
        stun.message(stun.ALLOCATE, []),
        struct.pack("!HHI12s", 1, 0xFFFF, stun.COOKIE, os.urandom(12)),
        struct.pack("!HHI12sHH", 1, 4, stun.COOKIE, os.urandom(12), 6, 0xFFFF),
        HELLO,
        HELLO[:13],
        b"\x16\xfe\xfd" + b"\x00" * 8 + b"\xff\xff",
        b"\x17\xfe\xfd" + os.urandom(60),
        b"\x15\xfe\xfd\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x02\x28",
        b"\x80\x60" + os.urandom(200),
        b"\x80\xc8" + os.urandom(26),
        b"",
        b"\x00",
        os.urandom(1400),
    ]
    for _ in range(300):
        data = bytearray(chance.choice(requests) or b"\x01")
        for _ in range(chance.randint(1, 8)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        requests.append(bytes(data[: chance.randint(1, len(data))]))
    return requests


async def test_strangers_get_no_answer_and_do_no_harm(pair: Pair) -> None:
    addresses = ports_of(pair)
    assert addresses, "there is a port to send to"
    sent = received = 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.setblocking(False)
        started = time.process_time()
        for data in datagrams(random.Random(11)):
            for address in addresses:
                sent += stranger.sendto(data, address)
            await asyncio.sleep(0)
        for text in ("still", "here"):
            await pair.here.send(text)
            async with asyncio.timeout(DEADLINE):
                assert await pair.there.receive() == text
            await pair.there.send(text)
            async with asyncio.timeout(DEADLINE):
                assert await pair.here.receive() == text
        assert time.process_time() - started < 10
        while True:
            try:
                received += len(stranger.recv(65536))
            except BlockingIOError:
                break
    assert received <= 1.2 * sent, "nobody is amplified"


async def test_a_hello_of_a_stranger_does_not_win_the_race() -> None:
    """While the connection is being made: the ports are known, the handshake has not begun."""
    async with own_broker() as where:
        for engine in NAMES:
            peers = Peers({**where, "engine": engine})
            stop = asyncio.Event()
            try:
                alice, bob = await peers.open("alice"), await peers.open("bob")
                attack = asyncio.create_task(say_hello(bob, stop))
                pair = await connected(alice, bob)
                stop.set()
                assert await attack > 0
                await pair.here.send("the right one")
                async with asyncio.timeout(DEADLINE):
                    assert await pair.there.receive() == "the right one"
            finally:
                stop.set()
                await peers.destroy()


async def say_hello(victim: object, stop: asyncio.Event) -> int:
    """Send a ClientHello to every UDP port of this process, again and again."""
    count = 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        while not stop.is_set():
            for address in open_ports():
                stranger.sendto(HELLO, address)
                count += 1
            await asyncio.sleep(0.001)
    return count


def open_ports() -> list[tuple[str, int]]:
    """The UDP sockets of this process over IPv4, as the system lists them."""
    mine = set()
    for number in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{number}")
        except OSError:
            continue
        if target.startswith("socket:["):
            mine.add(target[8:-1])
    found = []
    with open("/proc/net/udp") as table:
        for line in list(table)[1:]:
            columns = line.split()
            address, _, port = columns[1].partition(":")
            if columns[9] in mine and int(port, 16):
                found.append((socket.inet_ntoa(bytes.fromhex(address)[::-1]), int(port, 16)))
    return found

"""What hostile clients may cost a server: a process of its own, whose resident memory is looked at meanwhile.

Each kind of client comes twice, first a few of them, so that what is allocated once is there, then many more. What the
second time adds is what such clients cost, and it has a bound however many bytes they send.
"""

from __future__ import annotations

import json
import os
import sys
import zlib
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import cache, partial
from pathlib import Path
from typing import Final

import pytest

from brokers import join, query, relays, signal
from crosspeer.testing import sockets
from crosspeer.testing.contracts.harness import talk
from hostile.handshakes import ROWS, SMUGGLED, request
from hostile.outcomes import OUTCOMES
from hostile.stage import ENGINES, needed
from hostile.table import SERVERS, bound
from hostile.test_broker import BAD, IDS
from hostile.test_wire import FRAMES
from process import crosspeer, serving
from raw import BINARY, FIN, PING, PONG, TEXT, Raw, frame, handshake

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="resident memory is read from /proc")

KIB: Final = 1024
MIB: Final = 1024 * 1024
FEW: Final = 1
MANY: Final = 8
CONT: Final = 0
RSV1: Final = 0x40
OFFER: Final = "Sec-WebSocket-Extensions: permessage-deflate"

APPLICATION: Final = """
import asyncio
from crosspeer import Hooks, Hub

class Echo(Hooks):
    def message(self, peer, message):
        peer.send(message.data)

class Slow(Hooks):
    async def upgrade(self, request):
        await asyncio.Event().wait()

class Failing(Hooks):
    def upgrade(self, request):
        return {"headers": {"x-a": "a\\\\r\\\\nSet-Cookie: x=1"}}

class Stuck(Hooks):
    async def message(self, peer, message):
        await asyncio.Event().wait()

class Flood(Hooks):
    async def message(self, peer, message):
        for _ in range(2000):
            peer.send(b"x" * 16_000)
            await asyncio.sleep(0)

class Firehose(Hooks):
    async def open(self, peer):
        for _ in range(2000):
            peer.send("x" * 16_000)
            await asyncio.sleep(0)

class Reader(Hooks):
    def message(self, peer, message):
        message.json()

class Greedy(Hooks):
    def message(self, peer, message):
        peer.subscribe(message.text())

class Sink(Hooks):
    def message(self, peer, message):
        pass

HOOKS = {"/": Echo(), "/slow": Slow(), "/failing": Failing(), "/stuck": Stuck(), "/flood": Flood()}
HOOKS |= {"/firehose": Firehose(), "/reader": Reader(), "/greedy": Greedy(), "/sink": Sink()}
DEEP = Sink()
hub = Hub(
    resolve=lambda request: DEEP if request.url.path.startswith("/deep/") else HOOKS.get(request.url.path),
    compression=True,
)
"""


class Watch:
    """Looks at the server while it is under attack: it serves the witness, and has so much memory."""

    def __init__(self, process: int, talk: Callable[[], Awaitable[None]]) -> None:
        self._memory = Path(f"/proc/{process}/statm")
        self._talk = talk
        self.most = 0

    async def look(self, times: int = 1) -> None:
        for _ in range(times):
            await self._talk()
            self.most = max(self.most, int(self._memory.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"))


Attack = Callable[[str, Watch, int], Awaitable[None]]


async def answered(url: str, watch: Watch, data: list[bytes], times: int) -> None:
    """Send each of these on a connection of its own, and read the answer."""
    for _ in range(times):
        for one in data:
            async with Raw(url) as client:
                client.send(one + SMUGGLED)
                await client.head()
        await watch.look()


def rows(name: str) -> Attack:
    """The inputs of a row, again and again. What was accepted is followed by what is no frame."""
    data = [row.data for row in ROWS[name]]
    times = max(1, 40 // len(data))
    return lambda url, watch, scale: answered(url, watch, data, times * scale)


async def held(url: str, watch: Watch, data: bytes, count: int) -> None:
    """Send this on many connections at once, and stay."""
    async with AsyncExitStack() as stack:
        for _ in range(count):
            client = await stack.enter_async_context(Raw(url))
            client.send(data)
        await watch.look(20)


async def slow(url: str, watch: Watch, scale: int) -> None:
    """Row H4: the most of a request that is never complete."""
    await held(url, watch, request("X: " + "a" * 3000)[:-2], 30 * scale)


async def silent(url: str, watch: Watch, scale: int) -> None:
    """Row H5."""
    await held(url, watch, b"", 50 * scale)


async def failing(url: str, watch: Watch, scale: int) -> None:
    """Row H12."""
    await answered(url, watch, [handshake("/failing")], 100 * scale)


async def early(url: str, watch: Watch, scale: int) -> None:
    """Row H11: two clients that do not wait for the 101."""
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(Raw(url)) for _ in range(2)]
        for client in clients:
            client.send(handshake("/slow"))
        for _ in range(4 * scale):
            for client in clients:
                client.send(large(BINARY, bytes(MIB)))
            await watch.look()
        await watch.look(20)


async def stream(url: str, watch: Watch, start: bytes, data: bytes, times: int) -> None:
    """Open a WebSocket and send without reading, until the server has enough or all is sent."""
    async with Raw(url) as client:
        await client.upgrade()
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        client.send(start)
        for _ in range(times):
            if client.writer.transport.is_closing():
                break
            client.send(data)
            await watch.look()
        await watch.look(10)


async def fragments(url: str, watch: Watch, scale: int) -> None:
    """Row W3: a message that never ends."""
    await stream(url, watch, frame(BINARY, b"x"), frame(CONT, bytes(KIB)) * KIB, 4 * scale)


async def tiny_fragments(url: str, watch: Watch, scale: int) -> None:
    """Row W4."""
    for payload in (b"", b"x"):
        await stream(url, watch, frame(TEXT, b"x"), frame(CONT, payload) * 20_000, 4 * scale)


async def lies(url: str, watch: Watch, scale: int) -> None:
    """Row W5: lengths that nothing follows."""
    async with AsyncExitStack() as stack:
        for length in (2**62, 1 << 30, MIB) * (3 * scale):
            client = await stack.enter_async_context(Raw(url))
            await client.upgrade()
            client.send(frame(FIN | BINARY, b"", length=length))
        await watch.look(20)


async def pings(url: str, watch: Watch, scale: int) -> None:
    """Row W11."""
    await stream(url, watch, b"", frame(FIN | PING, bytes(100)) * 5000, 4 * scale)


async def pongs(url: str, watch: Watch, scale: int) -> None:
    """Row W12."""
    await stream(url, watch, b"", frame(FIN | PONG, bytes(100)) * 5000, 4 * scale)


async def messages(url: str, watch: Watch, scale: int) -> None:
    """Row W13: a hook that takes its time over the first of them."""
    async with Raw(url) as client:
        await client.upgrade("/stuck")
        for _ in range(8 * scale):
            client.send(frame(FIN | TEXT, b"x") * 20_000)
            await watch.look()
        await watch.look(10)


async def stalled(url: str, watch: Watch, scale: int) -> None:
    """Row W15: readers that stop while they are sent 32 MB each."""
    async with AsyncExitStack() as stack:
        for _ in range(scale):
            client = await stack.enter_async_context(Raw(url))
            await client.upgrade("/flood")
            client.writer.transport.pause_reading()  # type: ignore[attr-defined]
            client.send(frame(FIN | TEXT, b"go"))
        await watch.look(200)


async def upgraded(client: Raw, path: str = "/", *lines: str) -> None:
    client.send(handshake(path, lines=lines))
    assert (await client.head())[0] == 101


def large(opcode: int, payload: bytes) -> bytes:
    """A frame whose mask is zero, made without looking at each byte."""
    return frame(FIN | opcode, length=len(payload), key=bytes(4)) + payload


@cache
def bomb(mibs: int) -> bytes:
    """A message of so many MiB of zeros, compressed."""
    context = zlib.compressobj(9, zlib.DEFLATED, -15)
    zeros = bytes(MIB)
    data = b"".join(context.compress(zeros) for _ in range(mibs)) + context.flush(zlib.Z_SYNC_FLUSH)
    return data[:-4]


async def bombs(url: str, watch: Watch, scale: int) -> None:
    """Row W1: 64 MiB each, in one frame and in two."""
    data = bomb(64)
    whole = large(RSV1 | BINARY, data)
    halves = frame(RSV1 | BINARY, data[:30_000], key=bytes(4)) + frame(FIN, data[30_000:], key=bytes(4))
    for _ in range(2 * scale):
        for one in (whole, halves):
            async with Raw(url) as client:
                await upgraded(client, "/sink", OFFER)
                client.send(one)
                await client.close_code()
        await watch.look()


async def many_bombs(url: str, watch: Watch, scale: int) -> None:
    """Row W2: each keeps the limit, and nobody waits for the answer."""
    one = frame(FIN | RSV1 | BINARY, bomb_of(MIB - KIB), key=bytes(4))
    for _ in range(scale):
        async with Raw(url) as client:
            await upgraded(client, "/sink", OFFER)
            for _ in range(25):
                client.send(one * 4)
                await watch.look()


@cache
def bomb_of(size: int) -> bytes:
    context = zlib.compressobj(9, zlib.DEFLATED, -15)
    return (context.compress(bytes(size)) + context.flush(zlib.Z_SYNC_FLUSH))[:-4]


async def broken(url: str, watch: Watch, scale: int, *, words: tuple[str, ...]) -> None:
    """Frames that break a rule, each on a connection of its own."""
    data = [data for name, data, _ in FRAMES if any(word in name for word in words)]
    for _ in range(max(1, 40 // len(data)) * scale):
        for one in data:
            async with Raw(url) as client:
                await upgraded(client)
                client.send(one)
                await client.close_code()
        await watch.look()


async def unreadable(url: str, watch: Watch, scale: int, *, data: list[bytes]) -> None:
    """Rows P4 and W16: what is no JSON, and much of it."""
    for _ in range(scale):
        for one in data:
            async with Raw(url) as client:
                await upgraded(client, "/reader")
                client.send(one)
                assert (await client.close_code())[0] == 1007
            await watch.look()


async def greedy(url: str, watch: Watch, scale: int) -> None:
    """Row P1: as many topics as a peer may have, and one more. Half of the peers stay."""
    async with AsyncExitStack() as stack:
        for peer in range(4 * scale):
            client = await stack.enter_async_context(Raw(url))
            await upgraded(client, "/greedy")
            names = [f"topic {number} of {peer}".encode() for number in range(128 + peer % 2)]
            client.send(b"".join(frame(FIN | TEXT, name, key=bytes(4)) for name in names))
        await watch.look(20)


async def deep(url: str, watch: Watch, scale: int) -> None:
    """Row P20: namespaces that nobody else has, of 4 KiB."""
    async with AsyncExitStack() as stack:
        for number in range(10 * scale):
            client = await stack.enter_async_context(Raw(url))
            await upgraded(client, f"/deep/{number:03}" + "/a" * 2000)
        await watch.look(10)


def streaming(path: str, **headers: str) -> bytes:
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return request("Accept: text/event-stream", *lines, path=path)


async def posts(url: str, watch: Watch, scale: int) -> None:
    """Row P8: secrets that are guessed, with messages behind them."""
    for number in range(10 * scale):
        body = "x" * 100_000
        lines = (f"X-Crossws-Id: {number:022}", "Content-Type: text/plain", f"Content-Length: {len(body)}")
        async with Raw(url) as client:
            client.send(request(*lines, method="POST", body=body))
            assert (await client.head())[0] == 404
        await watch.look()


async def positions(url: str, watch: Watch, scale: int) -> None:
    """Row P9: streams that go on where nobody was, and end at once. Each is kept for a while, should it come back."""
    for number in range(10 * scale):
        async with Raw(url) as client:
            client.send(streaming("/", Last_Event_ID=f"{number:022}.{'9' * 15}" + "x" * (7000 * (number % 2))))
            assert (await client.head())[0] == 200
        await watch.look()


async def stalled_streams(url: str, watch: Watch, scale: int) -> None:
    """Row P10: as W15, by `EventSource`."""
    async with AsyncExitStack() as stack:
        for _ in range(scale):
            client = await stack.enter_async_context(Raw(url))
            client.send(streaming("/firehose"))
            await client.head()
            client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await watch.look(200)


DEEP_JSON: Final = [large(TEXT, text) for text in (b"[" * MIB, b'{"a":' * 200_000, b"9" * 5000)]
NO_JSON: Final = [large(BINARY, data) for data in (bytes(MIB), b"\xff" * MIB, b"\x89PNG")]

KINDS: Final[dict[str, Attack]] = {
    "H1": rows("H1"),
    "H2": rows("H2"),
    "H3": rows("H3"),
    "H4": slow,
    "H5": silent,
    "H6": rows("H6"),
    "H7": rows("H7"),
    "H8": rows("H8"),
    "H9": rows("H9"),
    "H10": rows("H10"),
    "H11": early,
    "H12": failing,
    "H13": rows("H13"),
    "W1": bombs,
    "W2": many_bombs,
    "W3": fragments,
    "W4": tiny_fragments,
    "W5": lies,
    "W6": partial(broken, words=("unmasked",)),
    "W8": partial(broken, words=("rsv", "reserved", "ping", "continuation", "start")),
    "W9": partial(broken, words=("utf-8",)),
    "W10": partial(broken, words=("close",)),
    "W11": pings,
    "W12": pongs,
    "W13": messages,
    "W15": stalled,
    "W16": partial(unreadable, data=NO_JSON),
    "P1": greedy,
    "P4": partial(unreadable, data=DEEP_JSON),
    "P8": posts,
    "P9": positions,
    "P10": stalled_streams,
    "P20": deep,
}


@pytest.mark.timeout(180)
@pytest.mark.parametrize("group", ["H", "W", "P"])
@pytest.mark.parametrize("engine", ENGINES)
async def test_what_hostile_clients_cost_is_bounded(
    engine: str, group: str, tmp_path: Path, subtests: pytest.Subtests, pytestconfig: pytest.Config
) -> None:
    (tmp_path / "attacked.py").write_text(APPLICATION)
    async with (
        serving("attacked:hub", "--engine", needed(engine), cwd=tmp_path) as command,
        sockets.connect(command.url.replace("http", "ws")) as witness,
    ):
        for name, attack in ((name, attack) for name, attack in KINDS.items() if name.startswith(group)):
            with subtests.test(msg=name):
                grown = await growth(command.url, Watch(command.process.pid, lambda: talk(witness, witness)), attack)
                pytestconfig.stash[OUTCOMES].cost(name, SERVERS[engine], grown / MIB)
                assert grown <= bound(name) * MIB, f"{grown / MIB:.1f} MiB"
        assert command.process.returncode is None


async def growth(url: str, watch: Watch, attack: Attack) -> int:
    """The bytes that many clients cost beyond what a few did."""
    await attack(url, watch, FEW)
    await watch.look(10)
    before, watch.most = watch.most, 0
    await attack(url, watch, MANY)
    return watch.most - before


# The broker.


def place(id: str, token: str = "t", key: str = "peerjs") -> str:
    return f"/peerjs?{query(id, token, key)}"


async def turned_away(url: str, watch: Watch, scale: int, *, paths: list[str]) -> None:
    """Rows B1 and B11: who is told why, and closed."""
    for _ in range(max(1, 20 // len(paths)) * scale):
        for path in paths:
            async with Raw(url) as client:
                await upgraded(client, path)
                await client.close_code()
        await watch.look()


async def taking_over(url: str, watch: Watch, scale: int) -> None:
    """Row B2: the same client, again and again, which never leaves."""
    async with AsyncExitStack() as stack:
        for _ in range(10 * scale):
            client = await stack.enter_async_context(Raw(url))
            await upgraded(client, place("again"))
            await watch.look()


async def parking(url: str, watch: Watch, scale: int) -> None:
    """Row B7: each sender leaves the most that it may."""
    async with AsyncExitStack() as stack:
        for sender in range(4 * scale):
            client = await stack.enter_async_context(Raw(url))
            await upgraded(client, place(f"mallory{sender}"))
            for ghost in range(20):
                text = signal("OFFER", f"ghost{sender}x{ghost}", "x" * 60_000)
                client.send(large(TEXT, text.encode()))
            await watch.look()
        await watch.look(10)


async def huge(url: str, watch: Watch, scale: int) -> None:
    """Row B8."""
    for _ in range(scale):
        for size in (64 * KIB + 1, 8 * MIB):
            async with Raw(url) as client:
                await upgraded(client, place("mallory"))
                client.send(large(TEXT, bytes(size)))
                assert (await client.close_code())[0] == 1009
        await watch.look()


async def bad_json(url: str, watch: Watch, scale: int) -> None:
    """Row B9: until the broker has enough."""
    data = b"".join(frame(FIN | TEXT, text.encode(), key=bytes(4)) for text in [*BAD, "{"])
    for _ in range(5 * scale):
        async with Raw(url) as client:
            await upgraded(client, place("mallory"))
            client.send(data)
            assert (await client.close_code())[0] == 4502
        await watch.look()


async def ids(url: str, watch: Watch, scale: int) -> None:
    """Row B13: beyond the rate they are answered with 429, and cost nothing either."""
    for _ in range(4 * scale):
        async with AsyncExitStack() as stack:
            for _ in range(20):
                client = await stack.enter_async_context(Raw(url))
                client.send(request(path="/peerjs/id"))
                assert (await client.head())[0] in (200, 429)
        await watch.look()


async def heartbeats(url: str, watch: Watch, scale: int) -> None:
    """Row B17."""
    data = frame(FIN | TEXT, json.dumps({"type": "HEARTBEAT"}).encode(), key=bytes(4)) * 5000
    for _ in range(scale):
        async with Raw(url) as client:
            await upgraded(client, place("mallory"))
            client.send(data)
            assert (await client.close_code())[0] == 1008
        await watch.look()


BROKER_KINDS: Final[dict[str, Attack]] = {
    "B1": partial(turned_away, paths=[place("witness", "guess")]),
    "B2": taking_over,
    "B7": parking,
    "B8": huge,
    "B9": bad_json,
    "B11": partial(turned_away, paths=[place(id) for id in IDS]),
    "B13": ids,
    "B17": heartbeats,
}


@pytest.mark.timeout(180)
async def test_what_hostile_clients_cost_a_broker_is_bounded(
    subtests: pytest.Subtests, pytestconfig: pytest.Config
) -> None:
    async with crosspeer("peerserver", "--port", "0", "--host", "127.0.0.1") as command:
        port = (await command.printed(r"Started PeerServer on \S+, port: (\d+)"))[1]
        url = f"http://127.0.0.1:{port}"
        witness = await join(url, "witness")
        try:
            for name, attack in BROKER_KINDS.items():
                with subtests.test(msg=name):
                    watch = Watch(command.process.pid, lambda: relays(witness, "witness", witness, "witness"))
                    grown = await growth(url, watch, attack)
                    pytestconfig.stash[OUTCOMES].cost(name, "broker", grown / MIB)
                    assert grown <= bound(name) * MIB, f"{grown / MIB:.1f} MiB"
        finally:
            witness.terminate()
        assert command.process.returncode is None

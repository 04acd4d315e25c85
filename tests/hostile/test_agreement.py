"""The two engines are one: the same bytes have the same effects on both, however they are cut."""

from __future__ import annotations

import asyncio
import importlib.util
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any, NamedTuple

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from crosspeer import CloseDetails, Hooks, Hub, Limits, Message, Peer, Server
from hostile.test_wire import FRAMES, HANDSHAKES
from raw import BINARY, CLOSE, FIN, PONG, TEXT, frame, handshake
from streams import CONT, FAULTS, MOST, RSV1, TEXTS, cuts, deflated, pieces, streams

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(
        importlib.util.find_spec("crosspeer_engine") is None,
        reason="the native engine is not built here: it needs cargo",
    ),
]

LIMITS = Limits(max_message_size=MOST, close_timeout=2, ping_interval=None)
DEADLINE = 5.0
TAIL = bytes(3 * MOST)
"""Whatever is only partly there is completed by these, and behind that they are no frames: every stream comes to an
end that does not have to be waited for."""


class Seen(NamedTuple):
    """What one connection did, as its hooks and its client saw it."""

    status: int
    told: list[tuple[str, Any]]
    """The hooks in their order."""
    answers: list[tuple[int, bytes]]
    """Messages that were echoed."""
    pongs: list[bytes]
    closed: int | None
    """The code of the close frame: 1005 if it has none, None if there is no such frame."""


class Echo(Hooks):
    """Remembers one connection at a time."""

    def reset(self) -> None:
        self.told: list[tuple[str, Any]] = []
        self.ended = asyncio.Event()

    def open(self, peer: Peer) -> None:
        self.told.append(("open", peer.websocket.extensions))

    def message(self, peer: Peer, message: Message) -> None:
        self.told.append(("message", message.data))
        peer.send(message.data, compress=False)

    def ping(self, peer: Peer, data: bytes) -> None:
        self.told.append(("ping", data))

    def pong(self, peer: Peer, data: bytes) -> None:
        self.told.append(("pong", data))

    def error(self, peer: Peer, error: Exception) -> None:
        self.told.append(("error", error))

    def close(self, peer: Peer, details: CloseDetails) -> None:
        # The words of a refusal are each engine's own; those of the client are the client's.
        self.told.append(("close", (details.code, details.was_clean, details.reason if details.was_clean else None)))
        self.ended.set()


class Stage:
    """One engine with its hooks."""

    def __init__(self, server: Server, hooks: Echo) -> None:
        self.address = ("127.0.0.1", int(server.url.rpartition(":")[2]))
        self.hooks = hooks

    async def observe(self, chunks: list[bytes], opening: bytes) -> Seen:
        """Open a connection, send the chunks, and see what comes of it until the server has ended it."""
        self.hooks.reset()
        async with asyncio.timeout(DEADLINE):
            status, frames = await converse(self.address, opening, chunks)
            if status == 101:
                await self.hooks.ended.wait()
        answers = [(opcode, payload) for opcode, payload in frames if opcode in (TEXT, BINARY)]
        codes = [int.from_bytes(payload[:2], "big") or 1005 for opcode, payload in frames if opcode == CLOSE]
        pongs = [payload for opcode, payload in frames if opcode == PONG]
        assert len(codes) <= 1
        return Seen(status, self.hooks.told, answers, pongs, codes[0] if codes else None)


async def converse(
    address: tuple[str, int], opening: bytes, chunks: list[bytes]
) -> tuple[int, list[tuple[int, bytes]]]:
    """The status and all frames of the server. Raw sockets: what has arrived is read whatever happens to the rest."""
    loop = asyncio.get_running_loop()
    with socket.socket() as client:
        client.setblocking(False)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await loop.sock_connect(client, address)
        received = b""
        try:
            await loop.sock_sendall(client, opening)
            for chunk in chunks:
                await loop.sock_sendall(client, chunk)
                # Two turns: the server reads this chunk before the next one is written, mostly.
                await asyncio.sleep(0)
                await asyncio.sleep(0)
        except ConnectionError:
            pass  # It has ended the connection; what it said before that is still to be read.
        try:
            while data := await loop.sock_recv(client, 65_536):
                received += data
        except ConnectionError:
            pass
    head, _, rest = received.partition(b"\r\n\r\n")
    status = int(head.split(b" ", 2)[1])
    return status, parsed(rest) if status == 101 else []


def parsed(data: bytes) -> list[tuple[int, bytes]]:
    frames = []
    while data:
        size, start = data[1] & 0x7F, 2
        if size == 126:
            size, start = int.from_bytes(data[2:4], "big"), 4
        frames.append((data[0] & 0xF, data[start : start + size]))
        assert data[0] & 0x70 == 0
        assert len(frames[-1][1]) == size, "a frame is cut"
        data = data[start + size :]
    return frames


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stages() -> AsyncIterator[list[Stage]]:
    async with AsyncExitStack() as stack:
        found = []
        for engine in ("native", "python"):
            hooks = Echo()
            hub = Hub(hooks, limits=LIMITS, compression=True)
            server = await stack.enter_async_context(Server(hub, port=0, engine=engine, shutdown_timeout=3))
            found.append(Stage(server, hooks))
        yield found


def opening(compression: bool = False) -> bytes:
    return handshake(Sec_WebSocket_Extensions="permessage-deflate") if compression else handshake()


async def agreed(stages: list[Stage], *ways: list[bytes], compression: bool = False) -> Seen:
    """What all engines saw, in all ways to cut the same bytes."""
    first, *others = [await stage.observe(way, opening(compression)) for way in ways for stage in stages]
    for other in others:
        assert other == first
    assert first.status == 101
    assert first.told[-1][0] == "close"
    return first


def each(data: bytes) -> list[bytes]:
    """Byte by byte, but for the tail."""
    return [*(data[at : at + 1] for at in range(len(data) - len(TAIL))), TAIL]


@pytest.mark.parametrize(("data", "code"), [row[1:] for row in FRAMES], ids=[row[0] for row in FRAMES])
async def test_a_broken_frame(stages: list[Stage], data: bytes, code: int) -> None:
    seen = await agreed(stages, [data + TAIL], each(data[:200] + TAIL) if len(data) < 200 else [data, TAIL])
    assert seen.closed == code


@pytest.mark.parametrize("data", [row[1] for row in HANDSHAKES], ids=[row[0] for row in HANDSHAKES])
async def test_a_bad_handshake(stages: list[Stage], data: bytes) -> None:
    path = data.split(b" ", 2)[1] if data.startswith(b"GET") else b""
    for stage in stages:
        seen = await stage.observe([TAIL], data)
        # Both hubs have hooks on every path.
        assert (seen.status == 101) == (path == b"/unknown")


LATE = frame(FIN | TEXT, b"late")
ROWS = [
    ("a text", frame(FIN | TEXT, b"hi"), False),
    ("everything at once", frame(FIN | TEXT, b"hi") + frame(FIN | 0x9, b"p") + frame(FIN | CLOSE, b"\x03\xe8"), False),
    ("data after close", frame(FIN | CLOSE, b"\x0f\xa0bye") + LATE, False),
    ("an empty close", frame(FIN | CLOSE) + LATE, False),
    ("a message, then a fault", frame(FIN | TEXT, b"a") + frame(FIN | 0x3) + LATE, False),
    ("a close inside a message", frame(TEXT, b"a") + frame(FIN | CLOSE, b"\x03\xe8") + frame(FIN, b"b"), False),
    ("a ping inside a character", frame(TEXT, b"\xce") + frame(FIN | 0x9) + frame(FIN, b"\xba"), False),
    ("a flood of pings", frame(FIN | 0x9, b"p") * 100, False),
    ("a flood of pongs", frame(FIN | 0xA, b"p") * 100, False),
    ("many empty fragments", frame(TEXT) + frame(CONT) * 4094 + frame(FIN, b"x"), False),
    ("one empty fragment too many", frame(TEXT) + frame(CONT) * 4095 + frame(FIN, b"x"), False),
    ("endless empty fragments", frame(TEXT) + frame(CONT) * 10_000, False),
    ("fragments that are paid for", frame(TEXT, b"x" * 64) + frame(CONT) * 4096 + frame(FIN, b"x"), False),
    ("1000 one-byte fragments", frame(TEXT, b"x") + frame(CONT, b"x") * 998 + frame(FIN, b"x"), False),
    ("compressed", frame(FIN | RSV1 | TEXT, deflated("grün".encode())) + LATE, True),
    ("compressed, not agreed on", frame(FIN | RSV1 | TEXT, deflated(b"hi")) + LATE, False),
    ("no deflate", frame(FIN | RSV1 | TEXT, b"\x07") + LATE, True),
    ("a bomb", frame(FIN | RSV1 | BINARY, deflated(bytes(100_000))) + LATE, True),
    ("a bomb of no text", frame(FIN | RSV1 | TEXT, deflated(b"\xff" + bytes(100_000))) + LATE, True),
    ("just fits", frame(FIN | RSV1 | BINARY, deflated(bytes(MOST))) + LATE, True),
    ("one over", frame(FIN | RSV1 | BINARY, deflated(bytes(MOST + 1))) + LATE, True),
]


@pytest.mark.parametrize(("data", "compression"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
async def test_a_stream(stages: list[Stage], data: bytes, compression: bool) -> None:
    await agreed(stages, [data + TAIL], pieces(data + TAIL, range(0, len(data), 97)), compression=compression)


@pytest.mark.parametrize("compression", [False, True], ids=["plain", "deflate"])
@pytest.mark.parametrize("before", [b"", LATE, frame(TEXT, b"a")], ids=["alone", "behind a text", "inside a text"])
async def test_every_fault(stages: list[Stage], compression: bool, before: bytes) -> None:
    for fault in FAULTS:
        await agreed(stages, [before + fault + TAIL], [before, fault, TAIL], compression=compression)


@pytest.mark.parametrize("compression", [False, True], ids=["plain", "deflate"])
@given(data=st.data())
async def test_any_stream(stages: list[Stage], compression: bool, data: st.DataObject) -> None:
    stream = data.draw(streams(compression=compression)) + TAIL
    places = data.draw(cuts(6, len(stream) - len(TAIL)))
    await agreed(stages, [stream], pieces(stream, places), compression=compression)


@given(TEXTS, st.integers(0, 20))
async def test_a_stream_behind_its_handshake(stages: list[Stage], text: str, cut: int) -> None:
    """Row H11: what comes with the request is read when the peer is open."""
    data = frame(FIN | TEXT, text.encode()) + TAIL
    seen = [await stage.observe([data[cut:]], opening() + data[:cut]) for stage in stages]
    assert seen[0] == seen[1]
    assert ("message", text) in seen[0].told

"""Bytes that no honest client sends, on every engine of the default server. A second peer keeps talking throughout."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from crosspeer import CloseDetails, Hub, Limits, Server
from crosspeer.testing import sockets
from crosspeer.testing.contracts.harness import Recorder, talk
from raw import BINARY, CLOSE, FIN, PING, TEXT, Raw, frame, handshake

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from crosspeer import Message, Peer

LIMITS = Limits(max_message_size=1000, close_timeout=0.5)


class Echo(Recorder):
    def message(self, peer: Peer, message: Message) -> None:
        peer.send(message.data)


class Scene:
    """A server, its hooks, and the witness."""

    def __init__(self, server: Server, hooks: Echo, witness: Any) -> None:
        self.url, self.hub, self.hooks, self.witness = server.url, server.hub, hooks, witness

    async def undisturbed(self) -> None:
        await talk(self.witness, self.witness)


SceneMaker = Callable[..., AbstractAsyncContextManager[Scene]]


@pytest.fixture(params=["native", "python", "uvicorn"])
def scene(request: pytest.FixtureRequest) -> SceneMaker:
    return functools.partial(set_up, request.param)


@asynccontextmanager
async def set_up(engine: str, limits: Limits = LIMITS) -> AsyncIterator[Scene]:
    witness_hooks, hooks = Echo(), Echo()
    hub = Hub(
        resolve=lambda request: {"/": hooks, "/witness": witness_hooks}.get(request.url.path),
        limits=limits,
    )
    async with (
        Server(hub, port=0, engine=engine, shutdown_timeout=3) as server,
        sockets.connect(server.url.replace("http", "ws") + "/witness") as witness,
    ):
        yield Scene(server, hooks, witness)


FRAMES = [
    # id, bytes, close code, was the peer told of a message
    ("unmasked", frame(FIN | TEXT, b"hi", masked=False), 1002),
    ("rsv1 without an extension", frame(FIN | 0x40 | TEXT, b"hi"), 1002),
    ("rsv2", frame(FIN | 0x20 | TEXT, b"hi"), 1002),
    ("rsv3", frame(FIN | 0x10 | TEXT, b"hi"), 1002),
    ("reserved data opcode", frame(FIN | 0x3, b"hi"), 1002),
    ("reserved control opcode", frame(FIN | 0xB, b"hi"), 1002),
    ("long ping", frame(FIN | PING, b"x" * 126), 1002),
    ("fragmented ping", frame(PING, b"x"), 1002),
    ("continuation without a start", frame(FIN | 0x0, b"x"), 1002),
    ("a start inside a message", frame(TEXT, b"a") + frame(FIN | TEXT, b"b"), 1002),
    ("close of one byte", frame(FIN | CLOSE, b"x"), 1002),
    ("close 999", frame(FIN | CLOSE, (999).to_bytes(2, "big")), 1002),
    ("close 1005", frame(FIN | CLOSE, (1005).to_bytes(2, "big")), 1002),
    ("close 1006", frame(FIN | CLOSE, (1006).to_bytes(2, "big")), 1002),
    ("close 2999", frame(FIN | CLOSE, (2999).to_bytes(2, "big")), 1002),
    ("invalid utf-8", frame(FIN | TEXT, b"\xce\xba\xed\xa0\x80"), 1007),
    ("utf-8 cut at the end", frame(FIN | TEXT, b"abc\xf0\x9f"), 1007),
    ("invalid utf-8 over fragments", frame(TEXT, b"\xce") + frame(FIN | 0x0, b"\xce"), 1007),
    ("invalid utf-8 in the reason", frame(FIN | CLOSE, b"\x03\xe8\xff"), 1007),
    ("too big", frame(FIN | BINARY, b"x" * 1001), 1009),
    ("too big over fragments", frame(BINARY, b"x" * 600) + frame(FIN | 0x0, b"x" * 600), 1009),
    ("a length that is only claimed", frame(FIN | BINARY, b"", length=2**62), 1009),
]


@pytest.mark.parametrize(("data", "code"), [row[1:] for row in FRAMES], ids=[row[0] for row in FRAMES])
async def test_a_broken_frame_closes_its_peer_alone(
    scene: SceneMaker, data: bytes, code: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "crosspeer")
    async with scene() as stage, Raw(stage.url) as client:
        await client.upgrade()
        client.send(data)
        assert (await client.close_code())[0] == code
        await client.ended()
        details = await stage.hooks.wait_for("close")
        assert details.code == code
        assert not details.was_clean
        assert stage.hooks.of("error") == [], "no hook of the application failed"
        assert stage.hub.violations.counts == {code: 1}
        (line,) = [record.getMessage() for record in caplog.records if "closed a peer" in record.getMessage()]
        assert line.startswith(f"closed a peer from 127.0.0.1 with {code}: ")
        assert line.isprintable()
        await stage.undisturbed()
        assert stage.hub.connections == 1


HANDSHAKES = [
    ("post", handshake().replace(b"GET", b"POST", 1), {400, 405, 426}),
    ("version 8", handshake(Sec_WebSocket_Version="8"), {400, 426}),
    ("version 777", handshake(Sec_WebSocket_Version="777"), {400, 426}),
    ("no version", handshake(drop=("Sec-WebSocket-Version",)), {400, 426}),
    ("no key", handshake(drop=("Sec-WebSocket-Key",)), {400, 426}),
    ("short key", handshake(Sec_WebSocket_Key="c2hvcnQ="), {400, 426}),
    ("key that is no base64", handshake(Sec_WebSocket_Key="!" * 24), {400, 426}),
    ("no upgrade header", handshake(drop=("Upgrade",)), {400, 426}),
    ("no connection header", handshake(drop=("Connection",)), {400, 426}),
    ("another protocol", handshake(Upgrade="h2c"), {400, 426}),
    ("no host", handshake(drop=("Host",)), {400, 426}),
    ("a foreign origin", handshake(Origin="https://evil.example"), {403}),
    ("an unknown path", handshake("/unknown"), {404}),
    ("not even http", b"\x16\x03\x01\x02\x00\x01\x00" * 10 + b"\r\n\r\n", {400}),
    ("NUL in a header", handshake(X_Bad="a\x00b"), {400}),
    ("space before the colon", handshake().replace(b"Upgrade:", b"Upgrade :"), {400}),
]


@pytest.mark.parametrize(("data", "statuses"), [row[1:] for row in HANDSHAKES], ids=[row[0] for row in HANDSHAKES])
async def test_a_bad_handshake_gets_an_answer_and_no_peer(scene: SceneMaker, data: bytes, statuses: set[int]) -> None:
    async with scene() as stage, Raw(stage.url) as client:
        client.send(data)
        status, headers = await client.head()
        assert status in statuses
        if status == 426 and b"Upgrade: websocket" in data:
            assert headers.get("sec-websocket-version", "13") == "13"
        assert stage.hooks.events == []
        await stage.undisturbed()
        assert stage.hub.connections == 1


async def test_a_request_behind_a_bad_handshake_is_never_answered(scene: SceneMaker) -> None:
    """Row H10: a proxy in front may think that a tunnel is open."""
    async with scene() as stage, Raw(stage.url) as client:
        client.send(handshake(Sec_WebSocket_Version="777") + b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n")
        status, headers = await client.head()
        assert status == 426
        assert headers["sec-websocket-version"] == "13"
        assert headers["connection"].lower() == "close" or "upgrade" in headers["connection"].lower()
        assert b"HTTP/1.1" not in await client.ended()


async def test_frames_sent_with_the_handshake_arrive_after_open(scene: SceneMaker) -> None:
    """Row H11."""
    async with scene() as stage, Raw(stage.url) as client:
        client.send(handshake() + frame(FIN | TEXT, b"early") + frame(FIN | TEXT, b"bird"))
        assert (await client.head())[0] == 101
        assert await client.frame() == (TEXT, b"early")
        assert await client.frame() == (TEXT, b"bird")
        assert stage.hooks.events[0][0] == "open"


async def test_a_frame_may_come_byte_by_byte(scene: SceneMaker) -> None:
    async with scene() as stage, Raw(stage.url) as client:
        await client.upgrade()
        for byte in frame(FIN | TEXT, "grün".encode()):
            client.send(bytes((byte,)))
            await client.writer.drain()
        assert await client.frame() == (TEXT, "grün".encode())


@pytest.mark.parametrize("part", [b"", b"GET / HTT", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n"])
async def test_a_request_that_does_not_come_is_ended_in_time(scene: SceneMaker, part: bytes) -> None:
    """Rows H4 and H5: slow and silent clients."""
    async with scene(Limits(handshake_timeout=0.2)) as stage, Raw(stage.url) as client:
        client.send(part)
        status, _ = await client.head()
        assert status == 408
        await client.ended()
        await stage.undisturbed()


async def test_a_second_request_of_a_connection_has_its_time_too(scene: SceneMaker) -> None:
    async with scene(Limits(handshake_timeout=0.3)) as stage, Raw(stage.url) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nGET / HT")
        status, headers = await client.head()
        assert status == 426
        await client.reader.readexactly(int(headers["content-length"]))
        assert (await client.head())[0] == 408
        await client.ended()


async def test_a_peer_that_answers_no_ping_is_dropped(scene: SceneMaker) -> None:
    async with scene(Limits(ping_interval=0.1, ping_timeout=0.1, close_timeout=0.2)) as stage, Raw(stage.url) as client:
        await client.upgrade()
        opcode, _ = await client.frame()
        assert opcode == PING
        details = await stage.hooks.wait_for("close")
        assert details == CloseDetails(1006, "", was_clean=False)
        await client.ended()
        await stage.undisturbed()
        assert stage.hooks.of("pong") == []


async def test_a_peer_that_answers_pings_stays_and_its_hook_sees_no_heartbeat(scene: SceneMaker) -> None:
    async with scene(Limits(ping_interval=0.05, ping_timeout=1)) as stage, Raw(stage.url) as client:
        await client.upgrade()
        for _ in range(3):
            opcode, payload = await client.frame()
            assert opcode == PING
            client.send(frame(FIN | 0xA, payload))
        client.send(frame(FIN | TEXT, b"here"))
        while (received := await client.frame())[0] == PING:
            client.send(frame(FIN | 0xA, received[1]))
        assert received == (TEXT, b"here")
        assert stage.hooks.of("pong") == []


async def test_a_close_that_is_not_answered_ends_in_time(scene: SceneMaker) -> None:
    """Row W14: the client neither answers nor leaves, and goes on sending."""
    async with scene(Limits(close_timeout=0.2)) as stage, Raw(stage.url) as client:
        await client.upgrade()
        await stage.hooks.wait_for("open")
        stage.hooks.peers[0].close(4000, "over")
        client.send(frame(FIN | TEXT, b"data after close"))
        assert await client.close_code() == (4000, "over")
        details = await stage.hooks.wait_for("close")
        assert details == CloseDetails(4000, "over", was_clean=False)
        await client.ended()
        assert [name for name, _ in stage.hooks.events] == ["open", "close"]
        await stage.undisturbed()


async def test_a_reader_that_stops_is_gone_with_what_it_was_sent(scene: SceneMaker) -> None:
    """Row W15, and the peer never reads its close frame either."""
    limits = Limits(max_queue_size=64 * 1024, close_timeout=0.3)
    async with scene(limits) as stage, Raw(stage.url) as client:
        await client.upgrade()
        await stage.hooks.wait_for("open")
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        peer = stage.hooks.peers[0]
        while not peer.websocket.ready_state > 1:
            peer.send(b"x" * 16_000)
            await stage.undisturbed()
        details = await stage.hooks.wait_for("close")
        assert (details.code, details.was_clean) == (1013, False)
        assert peer.buffered_amount == 0
        assert stage.hub.connections == 1

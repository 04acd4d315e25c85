"""Bytes that no honest client sends, on every server that has an adapter of its own."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

import running
from crosspeer import Hub, Limits
from crosspeer.testing.contracts.harness import Recorder, talk
from hostile.test_wire import FRAMES, HANDSHAKES
from raw import BINARY, FIN, PING, PONG, TEXT, Raw, frame, handshake

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from crosspeer import Message, Peer, Request

LIMITS = Limits(max_message_size=1000, close_timeout=1, handshake_timeout=1)

pytestmark = pytest.mark.parametrize("server", running.SERVERS)


class Echo(Recorder):
    def message(self, peer: Peer, message: Message) -> None:
        self.note("message", message.data)
        peer.send(message.data)


class Stage:
    def __init__(self, url: str, hub: Hub, hooks: Echo) -> None:
        self.url, self.hub, self.hooks = url, hub, hooks


@asynccontextmanager
async def stage(server: str, limits: Limits = LIMITS) -> AsyncIterator[Stage]:
    """A server, and a witness that is served throughout."""
    hooks, witnesses = Echo(), Echo()
    hub = Hub(resolve=lambda request: {"/": hooks, "/witness": witnesses}.get(request.url.path), limits=limits)
    async with running.SERVERS[server](hub) as url, running.dialer(url)("/witness") as witness:
        yield Stage(url, hub, hooks)
        await talk(witness, witness)
        assert hub.connections == 1


@pytest.mark.parametrize(("data", "code"), [row[1:] for row in FRAMES], ids=[row[0] for row in FRAMES])
async def test_a_broken_frame_closes_its_peer_alone(server: str, data: bytes, code: int) -> None:
    async with stage(server) as scene, Raw(scene.url) as client:
        await client.upgrade()
        client.send(data)
        assert (await client.close_code())[0] == code
        client.writer.write_eof()
        details = await scene.hooks.wait_for("close")
        assert details.code == code
        assert not details.was_clean
        assert scene.hooks.of("error") == [], "no hook of the application failed"
        assert scene.hub.violations.counts == {code: 1}


@pytest.mark.parametrize("data", [row[1] for row in HANDSHAKES], ids=[row[0] for row in HANDSHAKES])
async def test_a_bad_handshake_makes_no_peer(server: str, data: bytes) -> None:
    async with stage(server) as scene, Raw(scene.url) as client:
        client.send(data)
        try:
            status, _ = await client.head()
        except asyncio.IncompleteReadError:
            pass  # Some servers close without a word.
        else:
            assert 400 <= status < 500 or status == 505
        assert scene.hooks.events == []


async def test_a_request_behind_a_bad_handshake_is_never_answered(server: str) -> None:
    """Row H10: a proxy in front may think that a tunnel is open."""
    async with stage(server) as scene, Raw(scene.url) as client:
        client.send(handshake(Sec_WebSocket_Version="777") + b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n")
        # `websockets` takes it for a frame and says nothing at all.
        answer = await client.ended()
        assert answer.startswith(b"HTTP/1.1 426 ") or (server == "websockets" and not answer)
        assert answer.count(b"HTTP/1.1") <= 1


async def test_frames_sent_with_the_handshake_arrive_after_open(server: str) -> None:
    """Row H11."""
    async with stage(server) as scene, Raw(scene.url) as client:
        frames = [frame(FIN | TEXT, str(number).encode()) for number in range(300)]
        client.send(handshake() + b"".join(frames))
        status, _ = await client.head()
        assert status == 101
        assert [(await client.frame())[1] for _ in frames] == [str(number).encode() for number in range(300)]
        assert scene.hooks.events[0][0] == "open"


async def test_a_frame_may_come_byte_by_byte_and_in_fragments(server: str) -> None:
    async with stage(server) as scene, Raw(scene.url) as client:
        await client.upgrade()
        for byte in frame(TEXT, "ü".encode()[:1]) + frame(FIN | PING, b"p") + frame(FIN | 0x0, "ü".encode()[1:]):
            client.send(bytes([byte]))
            await asyncio.sleep(0)
        assert await client.frame() == (PONG, b"p")
        assert await client.frame() == (TEXT, "ü".encode())
        assert await scene.hooks.wait_for("ping") == b"p"


async def test_a_flood_of_pings_ends(server: str) -> None:
    async with stage(server) as scene, Raw(scene.url) as client:
        await client.upgrade()
        client.send(frame(FIN | PING, b"p") * 200)
        assert (await client.close_code())[0] == 1008
        client.writer.write_eof()
        assert (await scene.hooks.wait_for("close")).code == 1008


async def test_last_words_reach_a_client_that_is_still_sending(server: str) -> None:
    """A connection that is closed with bytes left to read is reset, which takes the close frame away."""
    limits = Limits(max_message_size=100_000, close_timeout=5)
    async with stage(server, limits) as scene, Raw(scene.url) as client:
        await client.upgrade()
        client.send(frame(FIN | BINARY, b"x" * 4_000_000))
        assert (await client.close_code())[0] == 1009
        client.writer.write_eof()
        assert (await scene.hooks.wait_for("close")).code == 1009


async def test_a_close_that_is_not_answered_ends_in_time(server: str) -> None:
    async with stage(server) as scene, Raw(scene.url) as client:
        await client.upgrade()
        await scene.hooks.wait_for("open")
        scene.hooks.peers[0].close(4000, "bye")
        assert await client.close_code() == (4000, "bye")
        await client.ended()
        details = await scene.hooks.wait_for("close")
        assert (details.code, details.was_clean) == (4000, False)


async def test_a_broken_client_that_stays_is_dropped_in_time(server: str) -> None:
    async with stage(server) as scene, Raw(scene.url) as client:
        await client.upgrade()
        client.send(frame(FIN | 0x20 | TEXT, b"hi"))
        assert (await client.close_code())[0] == 1002
        await client.ended()
        assert (await scene.hooks.wait_for("close")).code == 1002


async def test_a_client_that_leaves_in_the_middle_of_upgrade_was_never_there(server: str) -> None:
    asked, release = asyncio.Event(), asyncio.Event()

    class Slow(Echo):
        async def upgrade(self, request: Request) -> None:
            if request.url.path == "/slow":
                asked.set()
                await release.wait()

    slow = Slow()
    hub = Hub(slow, limits=LIMITS)
    async with running.SERVERS[server](hub) as url, running.dialer(url)() as other:
        async with Raw(url) as client:
            client.send(handshake("/slow"))
            await asyncio.wait_for(asked.wait(), 5)
        # The server has read on by the time that it has answered somebody else.
        await talk(other, other)
        release.set()
        await talk(other, other)
        assert hub.connections == 1, "the place of the one that left is free again"
        assert len(slow.of("open")) == 1

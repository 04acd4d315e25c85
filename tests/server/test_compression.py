"""permessage-deflate (RFC 7692) on both engines: what is agreed on, both directions, what hostile bytes may cost."""

from __future__ import annotations

import asyncio
import os
import zlib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

from crosspeer import Deflate, Hub, Limits, Server, Upgrade
from crosspeer.testing.contracts.harness import Recorder
from raw import BINARY, FIN, TEXT, Raw, frame, handshake

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from crosspeer import Message, Peer, Request

RSV1 = 0x40
SHARED = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
LONG = "the quick brown fox " * 200
MIB = 1024 * 1024


@pytest.fixture(params=["native", "python"])
def engine(request: pytest.FixtureRequest) -> str:
    if request.param == "native":
        pytest.importorskip("crosspeer_engine", reason="the native engine is not built here: it needs cargo")
    return str(request.param)


class Echo(Recorder):
    """Sends back what comes, with the wish about compression that the path names."""

    answer: Upgrade | None = None

    def upgrade(self, request: Request) -> Upgrade | None:
        return self.answer

    def open(self, peer: Peer) -> None:
        peer.subscribe("all")
        super().open(peer)

    def message(self, peer: Peer, message: Message) -> None:
        wish = {"/always": True, "/never": False}.get(peer.request.url.path)
        peer.send(message.data, compress=wish)


@asynccontextmanager
async def serving(engine: str, hooks: Echo, **options: Any) -> AsyncIterator[tuple[Server, Hub]]:
    hub = Hub(hooks, **options)
    async with Server(hub, port=0, engine=engine, shutdown_timeout=5) as server:
        yield server, hub


def dial(server: Server, path: str = "/", **parameters: Any) -> connect:
    """A client that offers compression with these parameters."""
    extension = ClientPerMessageDeflateFactory(**parameters)
    return connect(
        server.url.replace("http", "ws", 1) + path, extensions=[extension], compression=None, proxy=None, max_size=None
    )


def agreed(client: ClientConnection) -> str | None:
    assert client.response is not None
    return client.response.headers.get("Sec-WebSocket-Extensions")


def deflated(data: bytes, level: int = 9) -> bytes:
    context = zlib.compressobj(level, zlib.DEFLATED, -15)
    return (context.compress(data) + context.flush(zlib.Z_SYNC_FLUSH))[:-4]


async def raw_frame(client: Raw) -> tuple[int, bytes]:
    """The first byte, reserved bits and all, and the payload of the next frame."""
    async with asyncio.timeout(10):
        first, second = await client.reader.readexactly(2)
        size = second & 0x7F
        if size >= 126:
            size = int.from_bytes(await client.reader.readexactly(2 if size == 126 else 8), "big")
        return first, await client.reader.readexactly(size)


async def upgraded(client: Raw, offer: str = "permessage-deflate", path: str = "/") -> str | None:
    client.send(handshake(path, Sec_WebSocket_Extensions=offer))
    status, headers = await client.head()
    assert status == 101
    return headers.get("sec-websocket-extensions")


OFFERS = [
    # what is offered, what the hub wants, what is agreed on (row H13: what is wrong is not agreed on)
    ("permessage-deflate", Deflate(), SHARED),
    ("permessage-deflate; client_max_window_bits", Deflate(), SHARED),
    ("permessage-deflate; client_max_window_bits=10", Deflate(), f"{SHARED}; client_max_window_bits=10"),
    ('permessage-deflate; server_max_window_bits="11"', Deflate(), f"{SHARED}; server_max_window_bits=11"),
    ("permessage-deflate; server_max_window_bits=8", Deflate(), None),
    ("permessage-deflate; server_max_window_bits=8, permessage-deflate", Deflate(), SHARED),
    ("PERMESSAGE-DEFLATE", Deflate(), SHARED),
    ("x-other, , permessage-deflate ;server_no_context_takeover", Deflate(), SHARED),
    ("x-other", Deflate(), None),
    ("permessage-deflate; client_max_window_bits=99", Deflate(), None),
    ("permessage-deflate; client_max_window_bits=7", Deflate(), None),
    ("permessage-deflate; client_max_window_bits=015", Deflate(), None),
    ('permessage-deflate; server_max_window_bits=""', Deflate(), None),
    ("permessage-deflate; server_max_window_bits", Deflate(), None),
    ("permessage-deflate; server_no_context_takeover=1", Deflate(), None),
    ("permessage-deflate; server_no_context_takeover; server_no_context_takeover", Deflate(), None),
    ("permessage-deflate; client_max_window_bits=9; client_max_window_bits=9", Deflate(), None),
    ("permessage-deflate; unknown", Deflate(), None),
    ('permessage-deflate; a="b', Deflate(), None),
    ("permessage-deflate;;", Deflate(), None),
    ("permessage-deflate", None, None),
    (
        "permessage-deflate; client_max_window_bits",
        Deflate(server_no_context_takeover=False, client_no_context_takeover=False, client_max_window_bits=12),
        "permessage-deflate; client_max_window_bits=12",
    ),
    (
        "permessage-deflate; server_no_context_takeover",
        Deflate(server_no_context_takeover=False, client_no_context_takeover=False, server_max_window_bits=10),
        "permessage-deflate; server_no_context_takeover; server_max_window_bits=10",
    ),
]


@pytest.mark.parametrize(("offer", "wanted", "answer"), OFFERS, ids=[f"{row[0]}-{row[1] and 1}" for row in OFFERS])
async def test_what_is_agreed_on(engine: str, offer: str, wanted: Deflate | None, answer: str | None) -> None:
    hooks = Echo()
    async with serving(engine, hooks, compression=wanted or False) as (server, _), Raw(server.url) as client:
        assert await upgraded(client, offer) == answer
        await hooks.wait_for("open")
        assert hooks.peers[0].websocket.extensions == (answer or "")


async def test_an_offer_is_read_in_linear_time(engine: str) -> None:
    """Row H8: were it not, eight kilobytes of these would take minutes."""
    async with serving(engine, Echo(), compression=True) as (server, _):
        for part in ('a;b="\\\\', "permessage-deflate,", "a; ", '"a\\', ' ="'):
            async with Raw(server.url) as client:
                await upgraded(client, part * (8000 // len(part)))


async def test_upgrade_has_the_last_word(engine: str) -> None:
    hooks = Echo()
    async with serving(engine, hooks) as (server, _):
        async with dial(server) as client:
            assert agreed(client) is None
        hooks.answer = Upgrade(compress=True)
        async with dial(server) as client:
            assert agreed(client) == SHARED
            await client.send(LONG)
            assert await client.recv() == LONG
    hooks = Echo()
    hooks.answer = Upgrade(compress=False)
    async with serving(engine, hooks, compression=True) as (server, _), dial(server) as client:
        assert agreed(client) is None


PARAMETERS = [
    {},
    {"server_no_context_takeover": True, "client_no_context_takeover": True},
    {"client_max_window_bits": 9},
    {"server_max_window_bits": 9, "client_max_window_bits": 9},
]


@pytest.mark.parametrize("takeover", [False, True])
@pytest.mark.parametrize("parameters", PARAMETERS, ids=str)
async def test_messages_go_both_ways(engine: str, takeover: bool, parameters: dict[str, Any]) -> None:
    wanted = Deflate(
        server_no_context_takeover=not takeover, client_no_context_takeover=not takeover, threshold=0, level=9
    )
    async with serving(engine, Echo(), compression=wanted) as (server, _), dial(server, **parameters) as client:
        assert "permessage-deflate" in (agreed(client) or "")
        for message in ["", "a", "a", LONG, LONG, "schön " * 5000, b"", os.urandom(70_000), bytes(900_000), "a"]:
            await client.send(message)
            assert await client.recv() == message
        await client.send(LONG[at : at + 50] for at in range(0, len(LONG), 50))
        assert await client.recv() == LONG


async def test_only_what_is_worth_it_is_compressed_unless_the_sender_wishes(engine: str) -> None:
    async with serving(engine, Echo(), compression=Deflate(threshold=100)) as (server, _):
        rows = [("/", 99, 0), ("/", 100, RSV1), ("/always", 50, RSV1), ("/never", 5000, 0)]
        for path, size, bit in rows:
            async with Raw(server.url) as client:
                await upgraded(client, path=path)
                client.send(frame(FIN | TEXT, b"x" * size))
                first, payload = await raw_frame(client)
                assert first == FIN | TEXT | bit, (path, size)
                assert len(payload) < size or not bit
        noise = os.urandom(5000)
        async with Raw(server.url) as client:
            await upgraded(client)
            client.send(frame(FIN | BINARY, noise))
            assert await raw_frame(client) == (FIN | BINARY, noise), "what does not get smaller goes as it is"


async def test_a_published_message_reaches_everyone_in_its_own_form(engine: str) -> None:
    """Peers with windows of their own, one that takes contexts over, one that does not compress, one from memory."""
    hooks = Echo()
    wanted = Deflate(server_no_context_takeover=False)
    async with (
        serving(engine, hooks, compression=wanted) as (server, hub),
        dial(server) as keeping,
        dial(server, server_no_context_takeover=True) as shared,
        dial(server, server_no_context_takeover=True) as same,
        dial(server, server_no_context_takeover=True, server_max_window_bits=9) as narrow,
        connect(server.url.replace("http", "ws", 1), compression=None, proxy=None) as plain,
    ):
        await hooks.wait_for("open", 5)
        for _ in range(3):
            hub.publish("all", LONG)
            hub.publish("all", LONG.encode(), compress=False)
            hub.publish("all", "short", compress=True)
            for client in (keeping, shared, same, narrow, plain):
                async with asyncio.timeout(5):
                    assert [await client.recv() for _ in range(3)] == [LONG, LONG.encode(), "short"]
        assert "server_no_context_takeover" not in (agreed(keeping) or "")
        assert agreed(plain) is None


async def test_messages_that_may_be_dropped_do_not_refer_to_each_other(engine: str) -> None:
    limits = Limits(max_queue_size=64 * 1024, overflow="drop_oldest", ping_interval=None)
    wanted = Deflate(server_no_context_takeover=False, threshold=0)
    hooks = Echo()
    async with serving(engine, hooks, compression=wanted, limits=limits) as (server, hub), dial(server) as client:
        assert "server_no_context_takeover" in (agreed(client) or "")
        await hooks.wait_for("open")
        client.transport.pause_reading()
        numbers = 0
        while hooks.peers[0].dropped < 100:
            # Noise with a hint of repetition, so that it is compressed and yet fills the socket.
            noise = os.urandom(20_000)
            for _ in range(20):
                hub.publish("all", numbers.to_bytes(4, "big") + noise + noise[:2000])
                numbers += 1
            await asyncio.sleep(0)
        client.transport.resume_reading()
        hub.publish("all", "the end")
        seen = []
        async with asyncio.timeout(20):
            while isinstance(message := await client.recv(), bytes):
                seen.append(int.from_bytes(message[:4], "big"))
                assert message[4:2004] == message[-2000:], "every message that came is whole"
        assert seen == sorted(set(seen))
        assert len(seen) < numbers


BOMBS = [
    ("a bomb", [frame(FIN | RSV1 | BINARY, deflated(bytes(64 * MIB)))], 1009),
    (
        "a bomb in fragments",
        [
            frame(RSV1 | BINARY, deflated(bytes(64 * MIB))[:1000]),
            frame(FIN, deflated(bytes(64 * MIB))[1000:]),
        ],
        1009,
    ),
    ("garbage", [frame(FIN | RSV1 | TEXT, b"\xff\xff\xff")], 1007),
    ("text that is no text", [frame(FIN | RSV1 | TEXT, deflated(b"\xff\xfe"))], 1007),
    ("rsv1 on a continuation", [frame(RSV1 | TEXT, deflated(b"a")), frame(FIN | RSV1, b"")], 1002),
    ("rsv1 on a ping", [frame(FIN | RSV1 | 0x9, b"")], 1002),
    ("rsv1 on a close", [frame(FIN | RSV1 | 0x8, b"")], 1002),
    ("rsv2", [frame(FIN | RSV1 | 0x20 | TEXT, deflated(b"a"))], 1002),
    ("a length that cannot fit", [frame(FIN | RSV1 | TEXT, b"", length=2 * MIB)], 1009),
]


@pytest.mark.parametrize(("data", "code"), [row[1:] for row in BOMBS], ids=[row[0] for row in BOMBS])
async def test_hostile_bytes(engine: str, data: list[bytes], code: int) -> None:
    """Rows W1 and W8: the answer comes after at most one byte more than a message may have."""
    hooks = Echo()
    async with serving(engine, hooks, compression=True) as (server, _), dial(server) as witness, Raw(server.url) as bad:
        await upgraded(bad)
        for piece in data:
            bad.send(piece)
        while (first := await raw_frame(bad))[0] != FIN | 0x8:
            pytest.fail(f"something else came: {first!r}")
        assert int.from_bytes(first[1][:2], "big") == code
        await bad.ended()
        await witness.send(LONG)
        assert await witness.recv() == LONG
        details = await hooks.wait_for("close")
        assert details.code == code


async def test_many_bombs_that_each_keep_the_limit(engine: str) -> None:
    """Row W2: a mebibyte of zeros in a kibibyte is allowed once, and not for ever."""
    hooks = Echo()
    hooks.message = lambda peer, message: None  # type: ignore[method-assign]
    async with serving(engine, hooks, compression=True) as (server, _), Raw(server.url) as bad:
        await upgraded(bad)
        bomb = frame(FIN | RSV1 | BINARY, deflated(bytes(MIB)))
        for _ in range(1000):
            bad.send(bomb)
        first, payload = await raw_frame(bad)
        assert (first, payload[:2]) == (FIN | 0x8, (1008).to_bytes(2, "big"))


async def test_streams_that_end_all_the_time_are_refused(engine: str) -> None:
    """Each pair of bytes is a whole stream of nothing; a message may have a few (RFC 7692 section 7.2.3.4)."""
    hooks = Echo()
    async with serving(engine, hooks, compression=True) as (server, _), Raw(server.url) as client:
        await upgraded(client)
        client.send(frame(FIN | RSV1 | TEXT, b"\x03\x00" * 3 + deflated(b"after them")))
        assert await raw_frame(client) == (FIN | TEXT, b"after them")
        client.send(frame(FIN | RSV1 | TEXT, b"\x03\x00" * 400_000))
        first, payload = await raw_frame(client)
        assert (first, payload[:2]) == (FIN | 0x8, (1007).to_bytes(2, "big"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"server_max_window_bits": 8},
        {"server_max_window_bits": 16},
        {"client_max_window_bits": 7},
        {"client_max_window_bits": True},
        {"level": 0},
        {"level": 10},
        {"threshold": -1},
        {"threshold": "1"},
    ],
    ids=str,
)
def test_parameters_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Deflate(**wrong)

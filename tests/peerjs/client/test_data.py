"""Data connections between two Python peers, the same on each engine."""

from __future__ import annotations

import asyncio
import gc
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from crosspeer.peerjs import PeerError, PeerLimits, PeerTimeout
from peers import DEADLINE, Heard, connected, until

if TYPE_CHECKING:
    from crosspeer.peerjs import DataConnection
    from peers import Peers

UNICODE = "broccoli🥦līp𨘋grin😃ok\x00end"
NESTED = {"a": {"b": {"c": [1, 2, {"d": None, "e": [True, False, 0.5]}]}}, "empty": {}, "list": []}
JSON_VALUES = [1, -1, 1.5, 2**40, "x", UNICODE, "x" * 16_297, "x" * 16_298, True, [], {}, NESTED, list(range(30_000))]
BINARY_VALUES = [b"", b"x" * 16_297, b"x" * 16_298, b"x" * 1_000_000, {"data": b"y" * 70_000}, list(range(50_000))]
SERIALIZATIONS = {
    "binary": [None, *JSON_VALUES, *BINARY_VALUES],
    "binary-utf8": [*JSON_VALUES, *BINARY_VALUES],
    "json": [None, *JSON_VALUES],
    "raw": ["", "x", UNICODE, b"", b"x", b"x" * 16_298, "x" * 200_000],
    "none": ["x", b"x"],
    "MsgPack": [*JSON_VALUES, *BINARY_VALUES],
}


async def echo(connection: DataConnection) -> None:
    async for value in connection:
        await connection.send(value)


@pytest.mark.parametrize("serialization", SERIALIZATIONS)
async def test_values_go_there_and_back(engine_peers: Peers, serialization: str) -> None:
    pair = await engine_peers.pair(serialization=serialization, reliable=True)
    assert pair.there.serialization == serialization.replace("none", "raw")
    echoing = asyncio.create_task(echo(pair.there))
    async with asyncio.timeout(DEADLINE):
        for value in SERIALIZATIONS[serialization]:
            await pair.here.send(value)
            assert await pair.here.receive() == value
        await pair.here.close()
        await echoing


async def test_both_sides_know_the_same(engine_peers: Peers) -> None:
    pair = await engine_peers.pair(label="chät", metadata={"name": "Ada"}, serialization="json", reliable=True)
    for end, other in ((pair.here, "bob"), (pair.there, "alice")):
        assert end.peer == other
        assert end.label == "chät"
        assert end.metadata == {"name": "Ada"}
        assert end.serialization == "json"
        assert end.reliable
        assert end.open
        assert end.type == "data"
        assert end.connection_id == pair.here.connection_id
        assert end.buffer_size == 0
        assert end.data_channel is not None
        assert end.peer_connection is not None
        assert end.error is None
    assert (pair.here.id, pair.there.id) == ("alice", "bob")
    assert (pair.here.is_incoming, pair.there.is_incoming) == (False, True)
    assert pair.here.connection_id.startswith("dc_")


async def test_defaults_are_those_of_peerjs(engine_peers: Peers) -> None:
    pair = await engine_peers.pair()
    assert pair.there.serialization == "binary"
    assert not pair.there.reliable
    assert pair.there.label == pair.there.connection_id
    assert pair.there.metadata is None


async def test_two_hundred_messages_keep_their_order(engine_peers: Peers) -> None:
    pair = await engine_peers.pair(reliable=True)
    messages = [{"n": n, "data": b"x" * (n * 500)} for n in range(200)]
    for message in messages:
        pair.here.send(message)
        pair.there.send(message)
    async with asyncio.timeout(DEADLINE):
        assert [await pair.there.receive() for _ in messages] == messages
        assert [await pair.here.receive() for _ in messages] == messages


async def test_without_order_nothing_is_lost(engine_peers: Peers) -> None:
    pair = await engine_peers.pair()
    sizes = [n * 1000 for n in range(60)]
    for size in sizes:
        pair.here.send(b"x" * size)
    async with asyncio.timeout(DEADLINE):
        assert sorted([len(await pair.there.receive()) for _ in sizes]) == sizes


async def test_as_peerjs_has_it_with_events_and_without_await(engine_peers: Peers) -> None:
    alice, bob = engine_peers.begin("alice"), engine_peers.begin("bob")
    arrived: list[Any] = []
    done = asyncio.Event()

    @bob.on("connection")
    def connected(connection: DataConnection) -> None:
        @connection.on("data")
        def received(value: Any) -> None:
            arrived.append(value)
            connection.send(value + 1)

    await bob
    # Before the broker knows alice: the offer waits, and what is sent waits for the connection.
    connection = alice.connect("bob", reliable=True)
    for number in range(10):
        connection.send(number)
    assert connection.buffer_size == 10
    answers: list[int] = []
    connection.on("data", lambda value: (answers.append(value), len(answers) == 10 and done.set()))
    async with asyncio.timeout(DEADLINE):
        await done.wait()
    assert arrived == list(range(10))
    assert answers == list(range(1, 11))


async def test_what_came_before_a_handler_is_not_lost(engine_peers: Peers) -> None:
    pair = await engine_peers.pair(reliable=True)
    for number in range(5):
        await pair.here.send(number)
    await until(lambda: len(pair.there._inbox) == 5)
    heard = Heard(pair.there, "data")
    await pair.here.send(5)
    await heard.wait_for("data", 6)
    assert heard.of("data") == list(range(6))


async def test_handlers_and_readers_both_get_everything(engine_peers: Peers) -> None:
    pair = await engine_peers.pair(reliable=True)
    heard = Heard(pair.there, "data")
    reading = asyncio.create_task(collect(pair.there))
    await asyncio.sleep(0)
    for number in range(5):
        await pair.here.send(number)
    async with asyncio.timeout(DEADLINE):
        await pair.here.close(flush=True)
        assert await reading == heard.of("data") == list(range(5))


async def collect(connection: DataConnection) -> list[Any]:
    return [value async for value in connection]


@pytest.mark.parametrize("closer", ["here", "there"])
async def test_closing_is_noticed_at_both_ends_once(engine_peers: Peers, closer: str) -> None:
    pair = await engine_peers.pair()
    heard = Heard(pair.here), Heard(pair.there)
    reading = asyncio.create_task(collect(pair.here))
    await asyncio.sleep(0)
    async with asyncio.timeout(DEADLINE):
        await getattr(pair, closer).close()
        for each in heard:
            await each.wait_for("close")
        assert await reading == []
    for end, each in ((pair.here, heard[0]), (pair.there, heard[1])):
        assert not end.open
        assert end.error is None
        assert end.peer_connection is None
        assert end.data_channel is None
        assert each.of("close") == [None]
        assert each.of("error") == []
        await end.close()
        with pytest.raises(PeerError) as raised:
            end.send(1)
        assert raised.value.type == "not-open-yet"
        with pytest.raises(PeerError, match="closed"):
            await end.receive()
    for peer in engine_peers.made:
        assert peer.connections == {}


@pytest.mark.parametrize("serialization", ["binary", "json", "raw", "MsgPack"])
@pytest.mark.parametrize("reliable", [False, True])
async def test_a_flush_lets_everything_arrive(engine_peers: Peers, serialization: str, reliable: bool) -> None:
    pair = await engine_peers.pair(serialization=serialization, reliable=reliable)
    reading = asyncio.create_task(collect(pair.there))
    for _ in range(100):
        pair.here.send("x" * 16_000)
    async with asyncio.timeout(DEADLINE):
        await pair.here.close(flush=True)
        assert await reading == ["x" * 16_000] * 100
    with pytest.raises(PeerError):
        pair.here.send("too late")


async def test_leaving_a_connection_or_a_peer_flushes(engine_peers: Peers) -> None:
    bob = await engine_peers.open("bob")
    received: list[int] = []

    async def read_all() -> None:
        async for connection in bob.incoming():
            received.extend([len(value) async for value in connection])

    reading = asyncio.create_task(read_all())
    async with asyncio.timeout(DEADLINE):
        async with engine_peers.begin("alice") as alice:
            async with alice.connect("bob", reliable=True) as first:
                first.send(b"x" * 3_000_000)
            second = await alice.connect("bob", reliable=True)
            second.send(b"y" * 3_000_000)
        assert alice.destroyed
        await until(lambda: len(received) == 2)
        await bob.destroy()
        await reading
    assert received == [3_000_000, 3_000_000]


async def test_who_awaits_goes_no_faster_than_the_network(engine_peers: Peers) -> None:
    pair = await engine_peers.pair(reliable=True)
    heard = Heard(pair.there, "data")
    most = 0
    async with asyncio.timeout(50):
        for _ in range(8):
            await pair.here.send(b"x" * 1_000_000)
            most = max(most, pair.here.buffered_amount)
        await heard.wait_for("data", 8)
    assert most < 2_000_000
    assert pair.here.buffer_size == 0


async def test_who_does_not_is_queued_and_sees_how_far_it_is(engine_peers: Peers) -> None:
    pair = await engine_peers.pair(reliable=True)
    heard, drained = Heard(pair.there, "data"), Heard(pair.here, "drain")
    steps: list[tuple[int, int]] = []
    first = pair.here.send(b"x" * 3_000_000, progress=lambda sent, total: steps.append((sent, total)))
    second = pair.here.send("last")
    assert pair.here.buffer_size == 2
    assert pair.here.buffered_amount > 2_000_000
    assert not first.is_done
    assert 0 < first.sent < first.total == 3_000_005
    async with asyncio.timeout(50):
        await second
        assert first.is_done
        await heard.wait_for("data", 2)
    assert [sent for sent, _ in steps] == sorted(sent for sent, _ in steps)
    assert steps[-1] == (3_000_005, 3_000_005)
    assert (await pair.here.send("done")) is None
    assert drained.names == ["drain"]


async def test_the_queue_has_a_bound(engine_peers: Peers) -> None:
    pair = await engine_peers.pair(alice={"limits": PeerLimits(max_unsent=6_000_000)}, reliable=True)
    pair.here.send(b"x" * 20_000_000)
    with pytest.raises(PeerError) as raised:
        pair.here.send(b"x" * 20_000_000)
    assert raised.value.type == "buffer-full"
    assert pair.here.open


async def test_a_close_ends_those_who_wait_to_send(engine_peers: Peers) -> None:
    pair = await engine_peers.pair()
    sending = asyncio.ensure_future(wait_for(pair.here.send(b"x" * 20_000_000)))
    await asyncio.sleep(0)
    async with asyncio.timeout(DEADLINE):
        await pair.here.close()
        with pytest.raises(PeerError) as raised:
            await sending
    assert raised.value.type == "connection-closed"


async def wait_for(awaitable: Any) -> Any:
    return await awaitable


async def test_messages_that_nobody_reads_have_a_bound(engine_peers: Peers) -> None:
    pair = await engine_peers.pair(bob={"limits": PeerLimits(max_unread=2_000_000)}, reliable=True)
    heard = Heard(pair.there, "error", "close")
    for _ in range(6):
        pair.here.send(b"x" * 500_000)
    await heard.wait_for("close")
    assert [error.type for error in heard.of("error")] == ["buffer-full"]
    with pytest.raises(PeerError, match="faster than they are read"):
        await collect(pair.there)


@pytest.mark.parametrize("serialization", ["json", "raw"])
async def test_a_message_that_fits_into_no_frame(engine_peers: Peers, serialization: str) -> None:
    pair = await engine_peers.pair(serialization=serialization, reliable=True)
    heard = Heard(pair.here, "error")
    with pytest.raises(PeerError) as raised:
        pair.here.send("x" * 262_145)
    assert raised.value.type == "message-too-big"
    assert heard.of("error") == [raised.value]
    await pair.here.send("still here")
    async with asyncio.timeout(DEADLINE):
        assert await pair.there.receive() == "still here"


@dataclass
class Point:
    x: int


@pytest.mark.parametrize(
    ("serialization", "value"),
    [
        ("binary", object()),
        ("binary", {"__peerData": 1}),
        ("json", object()),
        ("json", b"bytes"),
        ("json", float("nan")),
        ("raw", 5),
        ("MsgPack", object()),
        ("MsgPack", None),
        ("MsgPack", {"__peerData": {"type": "close"}}),
    ],
    ids=str,
)
async def test_a_value_without_a_form_harms_nobody(peers: Peers, serialization: str, value: Any) -> None:
    pair = await peers.pair(serialization=serialization, reliable=True)
    with pytest.raises((TypeError, ValueError)):
        pair.here.send(value)
    await pair.here.send("still here")
    async with asyncio.timeout(DEADLINE):
        assert await pair.there.receive() == "still here"


@pytest.mark.parametrize("serialization", ["binary", "json", "MsgPack"])
async def test_dataclasses_are_maps(peers: Peers, serialization: str) -> None:
    pair = await peers.pair(serialization=serialization)
    await pair.here.send([Point(1)])
    async with asyncio.timeout(DEADLINE):
        assert await pair.there.receive() == [{"x": 1}]


async def test_waiting_for_a_connection_can_be_given_up(engine_peers: Peers) -> None:
    alice = await engine_peers.open("alice")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await alice.connect("nobody")
    assert alice.connections == {}


async def test_a_connection_that_does_not_open_in_time(engine_peers: Peers) -> None:
    alice = await engine_peers.open("alice")
    connection = alice.connect("nobody", timeout=0.1)
    heard = Heard(connection)
    with pytest.raises(PeerTimeout) as raised:
        await connection
    assert raised.value.type == "negotiation-failed"
    assert isinstance(raised.value, TimeoutError)
    assert heard.names == ["error"], "PeerJS has no `close` for what was never open"
    with pytest.raises(PeerTimeout):
        await connection
    with pytest.raises(PeerTimeout):
        await connection.receive()


async def test_connections_are_freed(engine_peers: Peers) -> None:
    alice, bob = await engine_peers.open("alice"), await engine_peers.open("bob")
    ends: list[weakref.ref[Any]] = []
    for turn in range(6):
        pair = await connected(alice, bob)
        ends += [weakref.ref(pair.here), weakref.ref(pair.there)]
        heard = Heard(pair.there, "close")
        await pair.here.send("x")
        await (pair.here if turn % 2 else pair.there).close()
        await heard.wait_for("close")
        del pair, heard

    def are_gone() -> bool:
        gc.collect()
        return not any(end() for end in ends)

    await until(are_gone)

"""The rows B1 to B19: what is done to a broker by those who mean no good. Two witnesses keep relaying throughout.

Each row says what is done, what its sender gets, what is counted, and that it is logged in one line without anything in
it that was sent. Afterwards the broker is alive and the witnesses have noticed nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import json
import logging
import time
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokers import OPEN, Clients, HandClock, error, join, query, refused, relays, serving, settle, signal
from crosspeer.peerjs import BrokerLimits, PeerServer
from crosspeer.testing import Client, ConnectionClosed, HandshakeRefused, sockets

KIB, MIB = 1024, 1024 * 1024
ID_TAKEN = {"type": "ID-TAKEN", "payload": {"msg": "ID is taken"}}


class Scene:
    """A broker on a real server, and the witnesses."""

    def __init__(self, broker: PeerServer, url: str) -> None:
        self.broker = broker
        self.url = url
        self.websocket_url = url.replace("http", "ws", 1)
        self._clients: list[Client] = []
        self._witnesses: list[Client] = []

    async def prepare(self) -> None:
        self._witnesses = [await self.join(name) for name in ("witness1", "witness2")]

    async def join(self, id: str, token: str = "t") -> Client:
        self._clients.append(await join(self.url, id, token))
        return self._clients[-1]

    async def dial(self, id: str, token: str = "t", key: str = "peerjs", **options: Any) -> Client:
        url = f"{self.websocket_url}/peerjs?{query(id, token, key)}"
        self._clients.append(await sockets.connect(url, **options))
        return self._clients[-1]

    async def undisturbed(self) -> None:
        first, second = self._witnesses
        await relays(first, "witness1", second, "witness2")
        await relays(second, "witness2", first, "witness1")

    async def get(self, path: str, **headers: str) -> httpx.Response:
        async with httpx.AsyncClient() as http:
            return await http.get(self.url + path, headers=headers)

    async def close(self) -> None:
        for client in self._clients:
            if client.close_code is None:
                client.terminate()


@asynccontextmanager
async def scene(engine: str = "auto", **options: Any) -> AsyncIterator[Scene]:
    broker = PeerServer(**options)
    async with serving(broker, engine) as url:
        made = Scene(broker, url)
        try:
            await made.prepare()
            yield made
            await made.undisturbed()
        finally:
            await made.close()


@dataclass(frozen=True)
class Row:
    """An attack, and what has to come of it."""

    id: str
    attack: Callable[[Scene], Awaitable[None]]
    counted: dict[str, int]
    """What `metrics.refused` has grown by; -1 is some. As many lines are logged, but for what is only counted."""
    options: dict[str, Any] = field(default_factory=dict)
    unlogged: int = 0


async def hijack(scene: Scene) -> None:
    owner = await scene.join("alice", "right")
    for _ in range(5):
        assert await refused(await scene.dial("alice", "wrong")) == (ID_TAKEN, 4504)
    await relays(owner, "alice", owner, "alice")


async def replace(scene: Scene) -> None:
    first = await scene.join("alice", "mine")
    second = await scene.join("alice", "mine")
    assert await first.wait_closed() == 4501
    assert first.close_reason == "replaced"
    await relays(second, "alice", second, "alice")


async def guess_tokens(scene: Scene) -> None:
    await scene.join("alice", "right")
    codes = [(await refused(await scene.dial("alice", f"guess{number}")))[1] for number in range(8)]
    assert codes == [4504] * 5 + [4004] * 3
    # Now not even the right one is looked at: who guesses learns nothing.
    assert await refused(await scene.dial("alice", "right")) == (ID_TAKEN, 4004)
    await scene.join("bob")


async def spoof(scene: Scene) -> None:
    mallory, alice = await scene.join("mallory"), await scene.join("alice")
    await scene.join("carol")
    await mallory.send('{"type":"OFFER","src":"carol","payload":1,"dst":"alice"}')
    assert await alice.receive_json() == {"type": "OFFER", "src": "mallory", "dst": "alice", "payload": 1}
    await mallory.send('{"type":"OFFER","payload":1,"src":"carol","dst":"carol","dst":"alice"}')
    assert await alice.receive_json() == {"type": "OFFER", "src": "mallory", "dst": "alice", "payload": 1}


async def forge(scene: Scene) -> None:
    mallory, alice, bob = [await scene.join(id) for id in ("mallory", "alice", "bob")]
    for kind in ("OPEN", "ID-TAKEN", "ERROR", "INVALID-KEY"):
        await mallory.send(signal(kind, "alice", {"msg": "go away"}))
        assert await mallory.receive_json() == error("unknown message type")
    for kind in ("LEAVE", "EXPIRE"):
        await mallory.send(signal(kind, "alice"))
    await relays(mallory, "mallory", mallory, "mallory")
    await relays(bob, "bob", alice, "alice")
    await alice.send('{"type":"LEAVE","dst":"bob"}')
    assert await bob.receive_json() == {"type": "LEAVE", "src": "alice", "dst": "bob"}


async def relay_to_anyone(scene: Scene) -> None:
    mallory, alice = await scene.join("mallory"), await scene.join("alice")
    for number in range(60):
        await mallory.send(signal("OFFER", f"ghost{number}"))
    await mallory.send(signal("OFFER", "alice"))
    assert await mallory.receive_json() == error("too many peers, try later")
    await relays(alice, "alice", mallory, "mallory")
    told = await send_until_closed(alice, signal("CANDIDATE", "mallory", {"n": 0}))
    assert told == [error("too many messages, try later")] * 10
    assert alice.close_code == 4502


async def send_until_closed(client: Client, text: str) -> list[Any]:
    """Send more often than any bound allows, and return what comes back."""
    with contextlib.suppress(ConnectionClosed):
        for _ in range(20_000):
            await client.send(text)
    return [json.loads(message) async for message in client]


async def park(scene: Scene) -> None:
    """400 x 60 KiB to peers who are not there, by one who has ten connections for it."""
    big = "x" * 60_000
    floods = [await scene.join(f"mallory{number}") for number in range(10)]
    for number, mallory in enumerate(floods):
        for ghost in range(40):
            await mallory.send(signal("OFFER", f"ghost{number}-{ghost}", big))
        await mallory.send(signal("OFFER", f"mallory{number}", "end"))
    expired = 0
    for mallory in floods:
        while (message := await mallory.receive_json(timeout=10))["type"] == "EXPIRE":
            expired += 1
        assert message["payload"] == "end"
    kept = scene.broker.metrics.waiting_messages
    assert kept + expired == 400
    assert kept * 60_000 <= scene.broker.metrics.waiting_bytes <= 16 * MIB
    assert kept == 10 * (MIB // 60_300), "what one sender may have, of each"
    await floods[0].send(signal("OFFER", "witness1", 1))
    await floods[0].close()
    assert (await scene._witnesses[0].receive_json())["src"] == "mallory0"
    for number in range(64):
        await floods[1].send(signal("CANDIDATE", "other", {"n": number}))


async def huge_frames(scene: Scene) -> None:
    for size in (64 * KIB + 1, 60 * MIB):
        mallory = await scene.join("mallory")
        # It may be closed before it has said all of it.
        with contextlib.suppress(ConnectionClosed):
            await mallory.send("x" * size, timeout=10)
        assert await mallory.wait_closed(timeout=10) == 1009
    fits = await scene.join("mallory")
    text = signal("OFFER", "mallory", "x" * (64 * KIB - len(signal("OFFER", "mallory", "x")) + 1))
    assert len(text) == 64 * KIB
    await fits.send(text)
    assert len((await fits.receive_json())["payload"]) > 60_000


BAD = ["{", "null", "5", '"s"', "", "[" * 50_000, "[]", "\x00", '{"type":"OFFER","payload":NaN,"dst":"a"}', "not json"]


async def bad_json(scene: Scene) -> None:
    mallory = await scene.join("mallory")
    for text in BAD:
        await mallory.send(text)
        told = await mallory.receive_json()
        assert told["type"] == "ERROR"
        assert told["payload"]["msg"].startswith("bad message: ")
    await relays(mallory, "mallory", mallory, "mallory")
    await mallory.send("{")
    assert await mallory.wait_closed() == 4502


async def unknown_types(scene: Scene) -> None:
    mallory = await scene.join("mallory")
    for message in (
        {"type": "NOPE"},
        {"type": "OFFER", "dst": {"a": 1}},
        {"type": {"a": 1}},
        {"type": "OFFER", "dst": 5},
    ):
        await mallory.send_json(message)
        assert (await mallory.receive_json())["type"] == "ERROR"
    assert scene.broker.metrics.waiting_messages == 0
    await relays(mallory, "mallory", mallory, "mallory")


IDS = ["x" * 7000, "a\r\nb<script>", "é", "\u202ea", "a\x00b", "__proto__", "../../etc"]


async def bad_ids(scene: Scene) -> None:
    for id in IDS:
        assert await refused(await scene.dial(id)) == (error("Invalid id"), 1008)
    assert (await refused(await scene.dial("")))[0]["type"] == "ERROR"
    answer = await scene.get("/peerjs/id")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["x-content-type-options"] == "nosniff"


async def discover(scene: Scene) -> None:
    for path in ("/peerjs/peers", "/peerjs/peers/", "/PEERJS/peers", "/peerjs/%70eers"):
        assert (await scene.get(path)).status_code == 401
    assert "witness" not in (await scene.get("/peerjs/peers")).text


async def flood_ids(scene: Scene) -> None:
    assert BrokerLimits().requests_per_address == 50
    started = time.monotonic()
    async with httpx.AsyncClient() as http:
        statuses = [(await http.get(f"{scene.url}/peerjs/id")).status_code for _ in range(60)]
    assert statuses[:2] == [200, 200]
    assert 429 in statuses
    assert statuses.count(200) <= 3 + 2 * (time.monotonic() - started)
    assert scene.broker.metrics.registered == 2
    await scene.join("alice")


async def foreign_pages(scene: Scene) -> None:
    good, evil = "https://good.example", "https://evil.example"
    for origin, allowed in ((good, good), (evil, None), (f"{good}.evil.example", None), ("null", None)):
        answer = await scene.get("/peerjs/id", origin=origin)
        assert answer.headers.get("access-control-allow-origin") == allowed
        assert "access-control-allow-credentials" not in answer.headers
    for origin in (evil, f"{good}.evil.example", "null"):
        with pytest.raises(HandshakeRefused) as caught:
            await scene.dial("mallory", origin=origin)
        assert caught.value.status == 403
    assert await (await scene.dial("alice", origin=good)).receive_json() == OPEN


async def fill_up(scene: Scene) -> None:
    for number in range(3):
        await scene.join(f"alice{number}")
    limit = error("Server has reached its concurrent user limit")
    assert await refused(await scene.dial("mallory")) == (limit, 1013)


async def fill_up_from_one_address(scene: Scene) -> None:
    limit = error("Server has reached its concurrent user limit")
    assert await refused(await scene.dial("mallory")) == (limit, 1013)


async def flood_heartbeats(scene: Scene) -> None:
    mallory = await scene.join("mallory")
    assert await send_until_closed(mallory, '{"type":"HEARTBEAT"}') == []
    assert mallory.close_code == 1008


async def guess_keys(scene: Scene) -> None:
    codes = [(await refused(await scene.dial("alice", key=f"guess{number}")))[1] for number in range(22)]
    assert codes == [4503] * 20 + [4004] * 2
    assert await refused(await scene.dial("alice")) == (error("Invalid key provided"), 4004)
    assert (await scene.get("/peerjs/id")).status_code == 401


async def secrets_in_payloads(scene: Scene) -> None:
    mallory = await scene.join("mallory")
    secret = "candidate:1 1 udp 1 192.168.1.7 9 typ host SECRET"
    for text in (
        signal("CANDIDATE", "mallory", secret),
        signal("CANDIDATE", "ghost", secret),
        signal("NOPE", "x", secret),
        signal("OFFER", {"SECRET": 1}, secret),
        signal("LEAVE", "witness1", secret),
        f'{{"SECRET": {secret}',
    ):
        await mallory.send(text)
    for _ in range(4):
        await mallory.receive()
    await relays(mallory, "mallory", mallory, "mallory")


ROWS = [
    Row("B1 id hijack", hijack, {"id taken": 5}),
    Row("B2 take-over by token", replace, {}),
    Row("B3 weak tokens", guess_tokens, {"id taken": 5, "too many failures": 4}),
    Row("B4 spoofed source", spoof, {"forged source": 2}, unlogged=2),
    Row("B5 forged server types", forge, {"unknown type": 4, "stranger": 2}),
    Row("B6 relay to anyone", relay_to_anyone, {"too many peers": 1, "too many messages": 11}),
    Row("B7 parking flood", park, {"no room to wait": 230}),
    Row("B8 huge frames", huge_frames, {}),
    Row("B9 bad JSON", bad_json, {"bad message": 11}),
    Row("B10 unknown types", unknown_types, {"unknown type": 2, "no destination": 2}),
    Row("B11 id grammar", bad_ids, {"invalid id": 7, "no parameters": 1}),
    Row("B12 discovery", discover, {"wrong key": 1}),
    Row("B13 flood of ids", flood_ids, {"too many requests": -1}, {"limits": BrokerLimits(requests_per_address=2)}),
    Row("B14 foreign pages", foreign_pages, {}, {"cors": ["https://good.example"], "origins": ["https://good.example"]}),
    Row("B15 connection cap", fill_up, {"full": 1}, {"concurrent_limit": 5}),
    Row("B15 cap of an address", fill_up_from_one_address, {"address full": 1},
        {"limits": BrokerLimits(max_clients_per_address=2)}),
    Row("B17 flood of heartbeats", flood_heartbeats, {"too many heartbeats": 1}),
    Row("B18 key guessing", guess_keys, {"wrong key": 20, "too many failures": 4}),
    Row("B19 payloads in logs", secrets_in_payloads, {"unknown type": 1, "no destination": 1, "bad message": 1,
                                                      "stranger": 1}),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=[row.id for row in ROWS])
@pytest.mark.parametrize("engine", ["native", "python", "uvicorn"])
async def test_a_row(engine: str, row: Row, caplog: pytest.LogCaptureFixture) -> None:
    if engine == "native":
        pytest.importorskip("crosspeer_engine", reason="the native engine is not built here: it needs cargo")
    caplog.set_level(logging.INFO, "crosspeer.peerjs")
    async with scene(engine, **row.options) as stage:
        await row.attack(stage)
        await stage.undisturbed()
        counted = dict(stage.broker.metrics.refused)
    if -1 in row.counted.values():
        assert set(counted) == set(row.counted)
    else:
        assert counted == row.counted
    lines = [record.getMessage() for record in caplog.records if record.name == "crosspeer.peerjs"]
    assert len(lines) == sum(counted.values()) - row.unlogged
    for line in lines:
        assert line.startswith("refused: ")
        assert line.isprintable()
        assert len(line) < 500
        assert "SECRET" not in line
        assert "<script>" not in line or "'" in line
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_a_step_of_the_clock_drops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Row B16."""
    async with scene(alive_timeout=30) as stage:
        alice = await stage.join("alice")
        await alice.send(signal("OFFER", "ghost"))
        now = time.time()
        monkeypatch.setattr(time, "time", lambda: now + 120)
        await relays(alice, "alice", alice, "alice")
        assert stage.broker.metrics.registered == 3
        assert stage.broker.metrics.waiting_messages == 1


# Memory.


async def test_what_a_flood_may_cost_is_given_back() -> None:
    """Rows B7 and B13: the most that waits, and nothing of it afterwards."""
    clock = HandClock()
    clients = Clients(PeerServer(clock=clock))
    senders = [await clients.join(f"mallory{number}") for number in range(20)]
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for number, mallory in enumerate(senders):
            for ghost in range(40):
                await mallory.send(signal("OFFER", f"ghost{number}-{ghost % 7}", "x" * 60_000))
            await settle()
            mallory.terminate()
        await settle()
        gc.collect()
        assert clients.broker.metrics.waiting_bytes <= 16 * MIB
        assert tracemalloc.get_traced_memory()[0] - before < 18 * MIB
        await clock.advance(10)
        gc.collect()
        assert clients.broker.metrics.waiting_bytes == 0
        assert tracemalloc.get_traced_memory()[0] - before < 2 * MIB
    finally:
        tracemalloc.stop()
        await clients.close()


async def test_what_is_remembered_of_strangers_is_bounded() -> None:
    clock = HandClock()
    clients = Clients(PeerServer(clock=clock, concurrent_limit=100_000))
    star = await clients.join("star")
    for number in range(300):
        guest = await clients.join(f"guest{number}")
        await guest.send(signal("CANDIDATE", "star", {"n": 1}))
        await star.receive()
        await guest.close()
        await clock.advance(1)
    contacts = clients.broker.clients["star"].contacts
    assert contacts is not None
    assert len(contacts) <= 62
    await clients.close()


# Whatever else may come as JSON.

SCRAPS = st.sampled_from(
    [
        '{"type":"OFFER","payload":',
        ',"dst":"bob"}',
        ',"dst":"mallory"}',
        '{"type":"',
        '"src":"alice"',
        "HEARTBEAT",
        "LEAVE",
        *'"{}[]:,\\ \u2028\x00',
        "null",
        "1e5",
        "\\ud800",
    ]
)
TEXTS = st.lists(SCRAPS, max_size=10).map("".join) | st.text(max_size=30) | st.binary(max_size=30)
MESSAGES = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["OFFER", "ANSWER", "CANDIDATE", "LEAVE", "EXPIRE", "HEARTBEAT", "OPEN", None, 1, []]),
        "dst": st.sampled_from(["bob", "mallory", "ghost", "", "a b", "a..b", None, 1, {}, []]),
        "src": st.sampled_from(["alice", "mallory", None]),
        "payload": st.recursive(
            st.none() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=2)
        ),
    },
).map(json.dumps)


@given(st.lists(TEXTS | MESSAGES, max_size=8))
def test_nothing_that_a_client_sends_harms_another(frames: list[str | bytes]) -> None:
    """The sender is answered or closed in order, its next good message works, and the others notice nothing."""
    asyncio.run(_attack(frames))


async def _attack(frames: list[str | bytes]) -> None:
    failures: list[Exception] = []
    clients = Clients(PeerServer(clock=HandClock()))
    clients.broker.on("error", lambda error: failures.append(error))
    alice, mallory = await clients.join("alice"), await clients.join("mallory")
    bob = await clients.join("bob")
    for frame in frames:
        await mallory.send(frame)
    await settle()
    if "mallory" not in clients.broker.clients:
        # It has said LEAVE.
        assert any(b"LEAVE" in (frame if isinstance(frame, bytes) else frame.encode()) for frame in frames)
    else:
        await mallory.send(signal("CANDIDATE", "mallory", {"the": "end"}))
        kinds = {"ERROR", "EXPIRE", "OFFER", "ANSWER", "CANDIDATE", "LEAVE"}
        for _ in itertools.count():
            message = await mallory.receive_json()
            assert message["type"] in kinds
            assert (
                message.get("src", "mallory") in ("mallory", "ghost", "a..b", "a b", "") or message["type"] == "EXPIRE"
            )
            if message.get("payload") == {"the": "end"}:
                break
    await alice.send(signal("CANDIDATE", "bob", {"the": "end"}))
    while (message := await bob.receive_json())["src"] == "mallory":
        assert message["dst"] == "bob"
    assert message == {"type": "CANDIDATE", "src": "alice", "dst": "bob", "payload": {"the": "end"}}
    await relays(bob, "bob", alice, "alice")
    assert all(type(failure).__name__ == "BadMessage" for failure in failures)
    await clients.close()
    assert clients.broker.metrics.registered == 0

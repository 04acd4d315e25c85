"""The heartbeat of a hub on servers without pings: in memory and on a plain uvicorn."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from websockets.exceptions import ConnectionClosed as Closed
from websockets.sync.client import connect as dial

from crosspeer import Heartbeat, Hub, Limits, define_hooks
from crosspeer.core.transport import Capabilities
from crosspeer.runtime import heart
from crosspeer.testing import connect, memory, sockets
from crosspeer.testing.contracts.harness import Recorder
from plain import plain_uvicorn
from raw import CLOSE, Raw

if TYPE_CHECKING:
    from crosspeer import Message, Peer

QUICK = Heartbeat(interval=0.2, timeout=0.4)


@pytest.fixture
def without_pings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections in memory that can do no more than ASGI."""
    monkeypatch.setattr(memory._Channel, "capabilities", Capabilities(ping=False, terminate=False))


class Chat(Recorder):
    def open(self, peer: Peer) -> None:
        peer.subscribe("chat")
        super().open(peer)

    def message(self, peer: Peer, message: Message) -> None:
        self.note("message", message.data)


class Answering(threading.Thread):
    """A client with a life of its own: it answers whatever the loop of the test is doing."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.answers = 0
        self._url = url.replace("http", "ws")
        self._leaving = threading.Event()

    def run(self) -> None:
        with dial(self._url, proxy=None, compression=None, ping_interval=None) as client:
            try:
                while not self._leaving.is_set():
                    if client.recv() == "crosspeer:ping":
                        client.send("crosspeer:pong")
                        self.answers += 1
            except Closed:
                pass

    async def leave(self) -> None:
        """With the next question."""
        self._leaving.set()
        await asyncio.to_thread(self.join, 10)


async def until(condition: Any, timeout: float = 20.0) -> None:
    async with asyncio.timeout(timeout):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("delay", [0.0, 0.05, 0.35], ids=["question not sent", "answer not read", "just before"])
async def test_a_loop_that_stands_still_costs_no_healthy_peer_its_life(
    monkeypatch: pytest.MonkeyPatch, delay: float
) -> None:
    chat = Chat()
    ask = heart.PeerPulse.ask
    pauses = [0.6, 1.1]

    def ask_and_stand_still(pulse: heart.PeerPulse) -> None:
        ask(pulse)
        if pauses:
            asyncio.get_running_loop().call_later(delay, time.sleep, pauses.pop())

    async with plain_uvicorn(Hub(chat, heartbeat=QUICK)) as url:
        clients = [Answering(url) for _ in range(5)]
        try:
            for client in clients:
                client.start()
            await until(lambda: all(client.answers for client in clients))
            monkeypatch.setattr(heart.PeerPulse, "ask", ask_and_stand_still)
            await until(lambda: not pauses)
            seen = [client.answers for client in clients]
            await until(lambda: all(client.answers > before + 2 for client, before in zip(clients, seen, strict=True)))
            assert chat.of("close") == []
            assert chat.of("message") == [], "answers are not the application's business"
        finally:
            for client in clients:
                await client.leave()
        await chat.wait_for("close", 5)


@pytest.mark.usefixtures("without_pings")
async def test_one_timer_for_all_and_none_for_nobody() -> None:
    hub = Hub(define_hooks(), heartbeat=Heartbeat(interval=60))
    before = asyncio.all_tasks()
    first = await connect(hub)
    beating = heart._hearts[hub]
    timer = beating._timer
    assert timer is not None
    others = [await connect(hub) for _ in range(50)]
    assert heart._hearts[hub] is beating
    assert beating._timer is timer
    assert len(asyncio.all_tasks() - before) == 51, "a connection has one, a heartbeat none"
    await first.close()
    assert not timer.cancelled()
    for client in others:
        await client.close()
    assert timer.cancelled()
    assert beating._timer is None
    assert asyncio.all_tasks() <= before


async def test_without_a_heartbeat_there_is_no_timer() -> None:
    hub = Hub(Recorder())
    async with connect(hub):
        assert hub not in heart._hearts


@pytest.mark.usefixtures("without_pings")
def test_a_hub_goes_on_on_another_loop() -> None:
    hub = Hub(define_hooks(), limits=Limits(close_timeout=0.2), heartbeat=Heartbeat(interval=0.05, timeout=0.1))

    async def once() -> None:
        client = await connect(hub)
        assert await client.receive() == "crosspeer:ping"
        assert await client.wait_closed() == 1001

    for _ in range(2):
        with asyncio.Runner() as runner:
            runner.run(once())


@pytest.mark.usefixtures("without_pings")
async def test_a_peer_that_we_do_not_read_is_not_taken_for_dead() -> None:
    """Its hook is slow, so what it sends waits: even its answers."""
    go_on = asyncio.Event()
    recorder = Recorder()

    async def message(peer: Peer, message: Message) -> None:
        await go_on.wait()
        recorder.note("message", message.data)

    recorder.message = message  # type: ignore[method-assign]
    hub = Hub(recorder, limits=Limits(max_waiting_messages=2), heartbeat=Heartbeat(interval=0.05, timeout=0.1))
    async with connect(hub) as client:
        for number in range(3):
            await client.send(str(number))
        held_up = asyncio.create_task(client.send("3"))
        for _ in range(4):
            await asyncio.sleep(0.2)
            assert recorder.of("close") == []
        go_on.set()
        await held_up
        await recorder.wait_for("message", 4)


@pytest.mark.usefixtures("without_pings")
@pytest.mark.parametrize("policy", ["close", "drop_oldest", "drop_newest"])
async def test_no_message_is_dropped_for_a_question(policy: Any) -> None:
    """A queue without room asks by itself."""
    recorder = Recorder()
    limits = Limits(max_queue_size=1000, overflow=policy, close_timeout=0.2)
    hub = Hub(recorder, limits=limits, heartbeat=Heartbeat(interval=0.1, timeout=0.2))
    client = await connect(hub)
    peer = recorder.peers[0]
    # As much as a client holds unread, then one that waits to be taken, then a full queue.
    for size in (memory.WINDOW, 10, 985):
        peer.send("x" * size)
        for _ in range(3):
            await asyncio.sleep(0)
    details = await recorder.wait_for("close", timeout=20)
    assert details.code == 1001
    assert peer.dropped == 0
    assert len(await client.receive()) == memory.WINDOW


async def test_a_slow_reader_lives_as_long_as_it_reads() -> None:
    """It says nothing, and the question waits behind what it was sent: its reading is the answer."""
    chat = Chat()
    limits = Limits(max_queue_size=64 * 1024 * 1024, close_timeout=0.3)
    hub = Hub(chat, limits=limits, heartbeat=Heartbeat(interval=0.3, timeout=0.5))
    async with plain_uvicorn(hub) as url, Raw(url) as client:
        await client.upgrade()
        await chat.wait_for("open")
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        for _ in range(400):
            chat.peers[0].send(b"x" * 50_000)
            await asyncio.sleep(0)
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        loop = asyncio.get_running_loop()
        start = loop.time()
        while loop.time() < start + 2.5:
            await client.frame()
            await asyncio.sleep(0.02)
        assert chat.of("close") == [], "it reads, so it lives"
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        details = await chat.wait_for("close", timeout=20)
        assert details.code == 1001


async def test_a_server_that_raises_for_one_peer_does_not_stop_the_heart(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder()
    hub = Hub(recorder, heartbeat=Heartbeat(interval=0.05, timeout=0.1))

    def fail(channel: Any, data: bytes) -> None:
        if channel.session.namespace == "/bad":
            raise RuntimeError("this server is strange")
        asyncio.get_running_loop().call_soon(channel.session.ponged, data)

    monkeypatch.setattr(memory._Channel, "ping", fail)
    async with connect(hub, "/bad") as bad, connect(hub, "/good") as good:
        assert await bad.wait_closed() == 1006
        for _ in range(4):
            await asyncio.sleep(0.1)
        assert good.close_code is None
    assert recorder.of("pong") == []


async def test_the_pong_of_an_application_reaches_its_hook() -> None:
    recorder = Recorder()
    hub = Hub(recorder, heartbeat=Heartbeat(interval=0.02))
    async with connect(hub):
        recorder.peers[0].ping(b"mine")
        assert await recorder.wait_for("pong") == b"mine"
        for _ in range(5):
            await asyncio.sleep(0.02)
    assert recorder.of("pong") == [b"mine"]


async def test_a_peer_that_is_closing_is_not_asked() -> None:
    """On a plain uvicorn, where the other side takes its time to answer the close frame."""
    recorder = Recorder()
    hub = Hub(recorder, limits=Limits(close_timeout=1.0), heartbeat=Heartbeat(interval=0.1, timeout=0.1))
    async with plain_uvicorn(hub) as url, Raw(url) as client:
        await client.upgrade()
        await recorder.wait_for("open")
        recorder.peers[0].close(4000, "over")
        details = await recorder.wait_for("close")
        assert details.code == 4000
        kinds = [(await client.frame())[0]]
        while kinds[-1] != CLOSE:
            kinds.append((await client.frame())[0])
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                kinds.append((await client.frame())[0])
        assert kinds.count(CLOSE) == 1


async def test_a_heartbeat_by_messages_works_without_any_hook() -> None:
    hub = Hub(define_hooks(), heartbeat=Heartbeat(interval=0.05, timeout=5))
    async with plain_uvicorn(hub) as url, sockets.connect(url.replace("http", "ws")) as client:
        for _ in range(3):
            assert await client.receive() == "crosspeer:ping"
            await client.send("crosspeer:pong")

"""The choice of an engine, TLS, and what only the Python engine's inside shows."""

from __future__ import annotations

import asyncio
import importlib.util
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets

from crosspeer import Hooks, Hub, Limits, Message, Peer, Server, define_hooks
from crosspeer.server.python.budget import BURST, RATE, Budget
from crosspeer.testing import connect, sockets
from crosspeer.testing.contracts.harness import Recorder
from raw import FIN, PING, PONG, TEXT, Raw, frame, handshake

BEST = "native" if importlib.util.find_spec("crosspeer_engine") else "python"


class Echo(Hooks):
    def message(self, peer: Peer, message: Message) -> None:
        peer.send(message.data)


class Chat(Recorder):
    def open(self, peer: Peer) -> None:
        peer.subscribe("chat")
        super().open(peer)

    def message(self, peer: Peer, message: Message) -> None:
        peer.publish("chat", message.data)


@pytest.mark.parametrize(
    ("argument", "environment", "name"),
    [
        (None, None, BEST),
        ("auto", None, BEST),
        ("auto", "python", BEST),
        ("python", "uvicorn", "python"),
        (None, "python", "python"),
        (None, "uvicorn", "uvicorn"),
        ("", "", BEST),
    ],
)
async def test_the_choice(
    monkeypatch: pytest.MonkeyPatch, argument: str | None, environment: str | None, name: str
) -> None:
    if environment is not None:
        monkeypatch.setenv("CROSSPEER_ENGINE", environment)
    async with Server(Echo(), port=0, engine=argument) as server:
        assert server.engine == name
        async with sockets.connect(server.url.replace("http", "ws")) as client:
            await client.send("x")
            assert await client.receive() == "x"


async def test_without_the_package_auto_says_so_and_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "crosspeer")
    monkeypatch.setitem(sys.modules, "crosspeer_engine", None)
    for name in [name for name in sys.modules if name.startswith("crosspeer.server.native")]:
        monkeypatch.delitem(sys.modules, name)
    async with Server(Echo(), port=0) as server:
        assert server.engine == "python"
    assert "the native engine is not installed" in caplog.text
    with pytest.raises(ValueError, match=r"pip install 'crosspeer\[native\]'"):
        async with Server(Echo(), port=0, engine="native"):
            pass


def test_an_engine_that_is_not_there_is_named() -> None:
    with pytest.raises(ValueError, match=r"no engine 'warp': choose auto"):
        Server(Echo(), engine="warp")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate of the test's own, good for a day."""
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "cert.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-days", "1", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    return certificate, key


@pytest.mark.parametrize("engine", ["auto", "python", "uvicorn"])
async def test_tls(certificate: tuple[Path, Path], engine: str) -> None:
    recorder = Recorder()
    recorder.message = lambda peer, message: peer.send(message.data)  # type: ignore[method-assign]
    trust = ssl.create_default_context(cafile=str(certificate[0]))
    options: dict[str, Any] = {"ssl_certfile": certificate[0], "ssl_keyfile": certificate[1], "engine": engine}
    async with Server(recorder, port=0, **options) as server:
        assert server.url.startswith("https://")
        url = server.url.replace("https", "wss")
        async with websockets.connect(url, ssl=trust, proxy=None) as client:
            await client.send("secret")
            assert await client.recv() == "secret"
            peer = recorder.peers[0]
            assert peer.request.url.scheme == "https"
            assert peer.websocket.url.startswith("wss://")
            await client.close(4000, "bye")
        details = await recorder.wait_for("close")
        assert (details.code, details.was_clean) == (4000, True)
        async with websockets.connect(url, ssl=trust, proxy=None) as client:
            client.transport.write(frame(FIN | 0x3))
            with pytest.raises(websockets.ConnectionClosed):
                await client.recv()
            assert client.close_code == 1002
        async with httpx.AsyncClient(verify=trust) as http:
            assert (await http.get(server.url)).status_code == 426


async def test_native_and_pure_peers_of_a_hub_hear_each_other() -> None:
    """Peers of an engine and peers of another transport meet in the same topics."""
    hub = Hub(Chat())
    async with (
        Server(hub, port=0, engine="python") as server,
        sockets.connect(server.url.replace("http", "ws") + "/room") as far,
        connect(hub, "/room") as near,
    ):
        while len(hub.peers["/room"]) < 2:
            await asyncio.sleep(0)
        await near.send("from memory")
        assert await far.receive() == "from memory"
        await far.send("from a socket")
        assert await near.receive() == "from a socket"
        hub.publish("chat", "to both", namespace="/room")
        assert await near.receive() == await far.receive() == "to both"
    assert hub.topics == 0


async def test_what_one_turn_gathers_leaves_in_one_piece() -> None:
    hub = Hub(define_hooks(open=lambda peer: [peer.send(str(number)) for number in range(100)]))
    async with Server(hub, port=0, engine="python") as server, Raw(server.url) as client:
        await client.upgrade()
        assert [await client.frame() for _ in range(100)] == [(TEXT, str(number).encode()) for number in range(100)]


async def test_a_turn_that_gathers_too_much_is_written_in_the_middle() -> None:
    """A hook that publishes without end holds the loop, not the memory."""
    chat = Chat()
    hub = Hub(chat, limits=Limits(close_timeout=0.3))
    async with Server(hub, port=0, engine="python") as server, Raw(server.url) as client:
        await client.upgrade()
        await chat.wait_for("open")
        most = 0
        for _ in range(40):
            hub.publish("chat", b"x" * 500_000)
            most = max(most, chat.peers[0].buffered_amount)
        assert most < 6 * 1024 * 1024
        assert chat.peers[0].websocket.ready_state == 2
        details = await chat.wait_for("close")
        assert details.code == 1013


@pytest.mark.parametrize("engine", ["native", "python"])
async def test_a_reader_that_stops_is_dropped_by_the_heartbeat_and_a_slow_one_is_not(engine: str) -> None:
    """Behind what is queued a ping would never arrive, so it is the reading that counts."""
    if engine == "native":
        pytest.importorskip("crosspeer_engine", reason="the native engine is not built here: it needs cargo")
    chat = Chat()
    limits = Limits(max_queue_size=64 * 1024 * 1024, ping_interval=1.5, ping_timeout=1.5, close_timeout=30)
    hub = Hub(chat, limits=limits)
    loop = asyncio.get_running_loop()
    async with Server(hub, port=0, engine=engine, shutdown_timeout=5) as server:
        client = socket.socket()
        with client:
            # Little room here and there: what is not read is felt by the server soon.
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
            client.setblocking(False)
            await loop.sock_connect(client, ("127.0.0.1", int(server.url.rpartition(":")[2])))
            await loop.sock_sendall(client, handshake())
            await chat.wait_for("open")
            for _ in range(40):
                hub.publish("chat", b"x" * 500_000)
            until = loop.time() + 2 * (limits.ping_interval + limits.ping_timeout)
            while loop.time() < until:
                # Slowly, and it never answers a ping.
                assert await loop.sock_recv(client, 64 * 1024)
                await asyncio.sleep(0.05)
            assert chat.of("close") == [], "it reads, so it lives"
            details = await chat.wait_for("close", timeout=30)
            assert details.code == 1006


@pytest.mark.parametrize("engine", ["native", "python"])
async def test_a_unix_socket(tmp_path: Path, engine: str) -> None:
    if engine == "native":
        pytest.importorskip("crosspeer_engine", reason="the native engine is not built here: it needs cargo")
    recorder = Recorder()
    recorder.message = lambda peer, message: peer.send([message.data, peer.remote_address])  # type: ignore[method-assign]
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "s"))
    listener.listen()
    async with Server(recorder, sock=listener, engine=engine) as server:
        assert server.url == f"unix:{tmp_path / 's'}"
        async with websockets.unix_connect(str(tmp_path / "s"), "ws://localhost/") as client:
            await client.send("hi")
            assert await client.recv() == '["hi",null]'


def test_the_budget_of_control_frames() -> None:
    budget = Budget(RATE, BURST)
    assert [budget.allows(100.0) for _ in range(BURST + 1)] == [True] * BURST + [False]
    assert [budget.allows(101.0) for _ in range(RATE)].count(True) >= RATE - 1


async def test_a_flood_of_pings_is_1008() -> None:
    """Row W11."""
    recorder = Recorder()
    async with Server(recorder, port=0, engine="python") as server, Raw(server.url) as client:
        await client.upgrade()
        client.send(frame(FIN | PING, b"x") * 1000)
        assert (await client.close_code())[0] == 1008
        await recorder.wait_for("close")
        assert len(recorder.of("ping")) <= BURST


async def test_pongs_do_not_queue_up_for_a_peer_that_does_not_read() -> None:
    """Row W11: only the latest ping is answered."""
    chat = Chat()
    hub = Hub(chat, limits=Limits(max_queue_size=8 * 1024 * 1024))
    async with Server(hub, port=0, engine="python") as server, Raw(server.url) as client:
        await client.upgrade()
        await chat.wait_for("open")
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        connection: Any = chat.peers[0]._session.transport
        while connection.ready:
            hub.publish("chat", b"x" * 60_000)
            await asyncio.sleep(0)
        for number in range(20):
            client.send(frame(FIN | PING, str(number).encode()))
        await chat.wait_for("ping", 20)
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        pongs = []
        while not pongs:
            opcode, payload = await client.frame()
            if opcode == PONG:
                pongs.append(payload)
        assert pongs == [b"19"]


@pytest.mark.parametrize("engine", ["native", "python"])
async def test_a_loop_that_stood_still_blames_nobody(engine: str) -> None:
    """Whoever answered in time is read first, however late the loop comes to it."""
    if engine == "native":
        pytest.importorskip("crosspeer_engine", reason="the native engine is not built here: it needs cargo")
    chat = Chat()
    hub = Hub(chat, limits=Limits(ping_interval=0.4, ping_timeout=0.4))
    async with Server(hub, port=0, engine=engine) as server, Raw(server.url) as client:
        await client.upgrade()
        await chat.wait_for("open")
        for _ in range(3):
            opcode, payload = await client.frame()
            assert opcode == PING
            client.send(frame(FIN | PONG, payload))
            time.sleep(1.0)
            await asyncio.sleep(0.05)
            assert chat.of("close") == []

"""Handshakes and requests that no honest client sends, on every engine. A second peer is served throughout."""

from __future__ import annotations

import asyncio
import re
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from crosspeer import Hub, Limits, Request, Server
from crosspeer.testing import sockets
from crosspeer.testing.contracts.harness import talk
from hostile.handshakes import GOOD, ROWS, SMUGGLED, Row, request
from hostile.stage import ENGINES, Echo, Stage, needed, stage
from process import TIMEOUT, serving
from raw import FIN, PING, TEXT, Raw, frame, handshake

if TYPE_CHECKING:
    from pathlib import Path

    from crosspeer import Message, Peer

UNREADABLE = r"Invalid HTTP request received\."
"""uvicorn's word for every request that it refuses."""


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    return needed(request.param)


@pytest.mark.parametrize("row", ROWS)
async def test_a_row_has_the_answer_of_the_table(engine: str, row: str, subtests: pytest.Subtests) -> None:
    async with stage(engine, origins=GOOD) as scene:
        for case in ROWS[row]:
            with subtests.test(msg=case.name):
                await play(scene, case)
                await scene.undisturbed()
                scene.logged(UNREADABLE)


async def play(scene: Stage, row: Row) -> None:
    before = len(scene.hooks.of("upgrade"))
    async with Raw(scene.url) as client:
        client.send(row.data if row.status == 101 else row.data + SMUGGLED)
        status, headers = await client.head()
        assert status == row.status
        for name, value in row.headers.items():
            assert headers.get(name, "") == value
        if status == 101:
            client.send(frame(FIN | TEXT, b"hello"))
            assert await client.frame() == (TEXT, b"hello")
        elif status != 200:
            assert headers["connection"].lower() == "close"
            assert not re.search(rb"HTTP/1\.1 \d", await client.ended()), "a second answer"
            assert "/smuggled" not in scene.pages.asked
    assert len(scene.hooks.of("upgrade")) - before == (status == 101)
    scene.pages.asked.clear()
    while scene.hub.connections > 1:
        await asyncio.sleep(0.001)


# H3: who may be reached as what.


@pytest.mark.parametrize(
    ("hub", "server", "host", "status"),
    [
        ("example.com", None, "example.com", 101),
        ("example.com", None, "localhost", 101),
        ("example.com", None, "evil.example", 421),
        (None, ["testserver", "*.example.com"], "testserver:80", 101),
        (None, ["testserver", "*.example.com"], "a.example.com", 101),
        (None, ["testserver", "*.example.com"], "localhost", 101),
        (None, ["testserver", "*.example.com"], "evil.example", 421),
        ("*", None, "evil.example", 101),
        (None, "*", "evil.example", 101),
    ],
)
async def test_hosts_can_be_listed(engine: str, hub: Any, server: Any, host: str, status: int) -> None:
    async with stage(engine, allowed_hosts=hub, server={"allowed_hosts": server}) as scene, Raw(scene.url) as client:
        client.send(handshake(Host=host))
        assert (await client.head())[0] == status
        scene.logged()


async def test_a_rebound_page_gets_no_further_on_a_connection_that_has_served_it(engine: str) -> None:
    """Plain HTTP is the application's; the upgrade on the same connection is ours."""
    async with stage(engine) as scene, Raw(scene.url) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n")
        status, headers = await client.head()
        assert status == 200
        await client.reader.readexactly(int(headers["content-length"]))
        client.send(handshake(Host="evil.example", Origin="http://evil.example"))
        assert (await client.head())[0] == 421
        assert scene.hooks.events == []
        scene.logged()


# H4 and H5: clients that take their time.


async def test_slow_clients_are_ended_in_time_and_others_served_meanwhile(engine: str) -> None:
    """Row H4: a byte now and then does not put the deadline off."""
    endless = request("X: " + "a" * 8000)

    async def drip(client: Raw) -> int:
        answer = asyncio.ensure_future(client.head())
        for byte in endless[:-4]:
            client.send(bytes((byte,)))
            if (await asyncio.wait({answer}, timeout=0.02))[0]:
                break
        status, _ = await answer
        await client.ended()
        return status

    async with stage(engine, limits=Limits(handshake_timeout=0.5, close_timeout=1)) as scene:
        clients = [Raw(scene.url) for _ in range(20)]
        try:
            for client in clients:
                await client.__aenter__()
            dripping = asyncio.gather(*map(drip, clients))
            while not dripping.done():
                async with sockets.connect(scene.url.replace("http", "ws")) as other:
                    await talk(other, scene.witness)
            assert await dripping == [408] * 20
        finally:
            for client in clients:
                await client.__aexit__()
        await scene.undisturbed()
        scene.logged()


async def test_silent_clients_are_ended_in_time(engine: str) -> None:
    """Row H5."""
    async with stage(engine, limits=Limits(handshake_timeout=0.5, close_timeout=1)) as scene:
        clients = [Raw(scene.url) for _ in range(100)]
        try:
            for client in clients:
                await client.__aenter__()
            await scene.undisturbed()
            assert [(await client.head())[0] for client in clients] == [408] * 100
            assert [await client.ended() for client in clients] == [b""] * 100
        finally:
            for client in clients:
                await client.__aexit__()
        await scene.undisturbed()
        scene.logged()


@pytest.mark.parametrize("engine", ["auto", "uvicorn"])
async def test_a_client_that_never_speaks_tls_is_ended_in_time(tmp_path: Path, engine: str) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-days", "1", "-subj", "/CN=localhost", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    options: dict[str, Any] = {"ssl_certfile": certificate, "ssl_keyfile": key, "engine": engine}
    hub = Hub(Echo(), limits=Limits(handshake_timeout=0.3))
    async with Server(hub, port=0, **options) as server:
        for hello in (b"", b"\x16\x03\x01\x02\x00\x01"):
            async with Raw(server.url.replace("https", "http")) as client:
                client.send(hello)
                await client.ended()


# H11: what comes before the 101.


async def test_early_frames_arrive_in_order_after_open(engine: str) -> None:
    """However long `upgrade` takes; and the pong to an early ping does not stand before the 101."""
    asked, answer = asyncio.Event(), asyncio.Event()

    class Slow(Echo):
        async def upgrade(self, request: Request) -> None:  # type: ignore[override]
            asked.set()
            await answer.wait()

    slow = Slow()
    numbers = [str(number).encode() for number in range(2000)]
    async with stage(engine, routes={"/slow": slow}) as scene, Raw(scene.url) as client:
        client.send(handshake("/slow") + frame(FIN | PING, b"early") + frame(FIN | TEXT, numbers[0]))
        await asked.wait()
        for number in numbers[1:]:
            client.send(frame(FIN | TEXT, number))
            await client.writer.drain()
        await talk(scene.witness, scene.witness)
        answer.set()
        assert (await client.head())[0] == 101
        frames = [await client.frame() for _ in range(len(numbers) + 1)]
        assert frames == [(0xA, b"early"), *((TEXT, number) for number in numbers)]
        assert [name for name, _ in slow.events[:3]] == ["open", "ping", "message"]
        scene.logged()


async def test_early_bytes_are_bounded(engine: str) -> None:
    """What a client sends while `upgrade` takes its time stays with the client, but for a piece."""
    asked, answer = asyncio.Event(), asyncio.Event()

    class Slow(Echo):
        async def upgrade(self, request: Request) -> None:  # type: ignore[override]
            asked.set()
            await answer.wait()

        def message(self, peer: Peer, message: Message) -> None:
            self.note("message", len(message.data))

    slow, size, count = Slow(), 500_000, 80
    async with stage(engine, routes={"/slow": slow}) as scene, Raw(scene.url) as client:
        client.send(handshake("/slow"))
        await asked.wait()
        client.writer.transport.set_write_buffer_limits(0)
        sent = 0

        async def flood() -> None:
            nonlocal sent
            for _ in range(count):
                client.send(frame(FIN | TEXT, b"x" * size, key=b"\0\0\0\0"))
                await client.writer.drain()
                sent += 1

        flooding = asyncio.ensure_future(flood())
        try:
            before = -1
            while before < sent:
                # As long as anything moves; the system's buffers take some MiB.
                before = sent
                for _ in range(50):
                    await talk(scene.witness, scene.witness)
            assert sent < count, "nothing holds it up"
            answer.set()
            assert (await client.head())[0] == 101
            await flooding
            await slow.wait_for("message", count, timeout=TIMEOUT)
            assert slow.of("message") == [size] * count
        finally:
            flooding.cancel()
        scene.logged()


# H17: what logs tell.

APPLICATION = """
from crosspeer import Hooks, Hub
from starlette.responses import PlainTextResponse

class Rooms(Hooks):
    def upgrade(self, request):
        if request.url.path == "/broken":
            raise RuntimeError("broken")

    def message(self, peer, message):
        raise RuntimeError("broken too")

hub = Hub(Rooms())
"""


async def test_no_secret_of_a_query_is_logged(engine: str, tmp_path: Path) -> None:
    (tmp_path / "rooms.py").write_text(APPLICATION)
    async with serving("rooms:hub", "--engine", engine, "--log-level", "debug", cwd=tmp_path) as command:
        query = "?room=7&token=SECRET&apiKey=SECRET"
        async with Raw(command.url) as client:
            client.send(request(f"Referer: http://localhost/{query}", path="/page" + query))
            assert (await client.head())[0] == 426
        async with Raw(command.url) as client:
            client.send(handshake("/broken" + query))
            assert (await client.head())[0] == 500
        async with Raw(command.url) as client:
            client.send(handshake("/refused" + query, Origin="https://evil.example"))
            assert (await client.head())[0] == 403
        async with Raw(command.url) as client:
            client.send(handshake("/peer" + query))
            assert (await client.head())[0] == 101
            client.send(frame(FIN | TEXT, b"x"))
            assert (await client.close_code())[0] == 1011
        command.signal()
        await command.ended()
        assert "SECRET" not in command.output
        assert "/page?room=7&token=[redacted]&apiKey=[redacted]" in command.output

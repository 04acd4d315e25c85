"""Handshakes and requests that no honest client sends, on every engine. A second peer is served throughout."""

from __future__ import annotations

import asyncio
import re
import subprocess
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from starlette.exceptions import HTTPException

from crosspeer import Hooks, Hub, Limits, Request, Response, Server, Upgrade
from crosspeer.core.hosts import LOOPBACK
from crosspeer.core.origins import origin_check
from crosspeer.core.redact import redact
from crosspeer.testing import HandshakeRefused, sockets
from crosspeer.testing.contracts.harness import talk
from crosspeer.wire.handshake import check_handshake
from crosspeer.wire.head import HeadReader
from hostile.handshakes import GOOD, ROWS, SMUGGLED, Row, request
from hostile.stage import ENGINES, Echo, Stage, stage
from process import TIMEOUT, serving
from raw import FIN, PING, TEXT, Raw, frame, handshake

if TYPE_CHECKING:
    from pathlib import Path

    from crosspeer import Message, Peer

UNREADABLE = r"Invalid HTTP request received\."
"""uvicorn's word for every request that it refuses."""


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    if request.param == "native":
        pytest.importorskip("crosspeer_engine", reason="the native engine is not built here: it needs cargo")
    return request.param


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


# H8: nothing that is sent takes time out of proportion.

SIZE = 20_000
WORK: dict[str, tuple[Callable[[str], object], Callable[[int], str]]] = {
    "spaces in a protocol": (
        lambda text: asked({"sec-websocket-protocol": text}).offered_protocols,
        lambda size: "b" + " " * size + "x",
    ),
    "commas in a protocol": (
        lambda text: asked({"sec-websocket-protocol": text}).offered_protocols,
        lambda size: "," * size,
    ),
    "parts of a connection": (
        lambda text: check_handshake("GET", "1.1", asked({"connection": text}).scope["headers"]),
        lambda size: "a ," * size,
    ),
    "dots of an origin": (
        lambda text: origin_check("https://good.example")(asked({"origin": text})),
        lambda size: "https://" + "." * size,
    ),
    "dots of a host": (LOOPBACK.include, lambda size: "." * size + ":"),
    "colons of a host": (LOOPBACK.include, lambda size: "[" + ":" * size),
    "question marks": (redact, lambda size: "?" * size),
    "names without values": (redact, lambda size: "?a" * size),
    "secrets": (redact, lambda size: "&token=?token=" * size),
    "spaces of a header": (
        lambda text: HeadReader().look_at(text.encode()),
        lambda size: "GET / HTTP/1.1\r\nX:" + " " * 8000 + "\r\n" + "Y: \t\r\n" * size,
    ),
}


def asked(headers: dict[str, str]) -> Request:
    pairs = [(name.encode(), value.encode()) for name, value in {"host": "localhost", **headers}.items()]
    return Request({"type": "websocket", "path": "/", "query_string": b"", "headers": pairs})


@pytest.mark.parametrize(("work", "text"), WORK.values(), ids=WORK)
def test_eight_times_the_input_is_eight_times_the_work(
    work: Callable[[str], object], text: Callable[[int], str]
) -> None:
    def cost(size: int) -> float:
        given, times = text(size), []
        for _ in range(5):
            started = time.process_time()
            for _ in range(5):
                work(given)
            times.append(time.process_time() - started)
        return min(times)

    # Eight for what is linear, sixty-four for what is quadratic; a millisecond for what takes none.
    assert cost(8 * SIZE) < 24 * cost(SIZE) + 0.001


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


# H12: hooks that hand on what a client has given them.

SPLIT = "a\r\nSet-Cookie: x=1"
ANSWERS: dict[str, Callable[[], Any]] = {
    "a value": lambda: {"headers": {"x-a": SPLIT}},
    "a value with LF alone": lambda: {"headers": {"x-a": "a\nSet-Cookie: x=1"}},
    "a value with CR alone": lambda: Upgrade(headers=[("x-a", "a\rSet-Cookie: x=1")]),
    "a value with NUL": lambda: Upgrade(headers={"x-a": "a\0"}),
    "a name": lambda: {"headers": {"x-a: b\r\nSet-Cookie": "x=1"}},
    "an empty name": lambda: {"headers": {"": "x=1"}},
    "a header of the server": lambda: {"headers": {"Sec-WebSocket-Accept": "x"}},
    "letters that HTTP cannot send": lambda: {"headers": {"x-a": "\u20ac"}},
    "a refusal's value": lambda: Response("no", 403, {"x-a": SPLIT}),
    "a refusal's name": lambda: Response("no", 403, {"x-a: b\r\nSet-Cookie": "x=1"}),
    "a redirect": lambda: Response(status_code=307, headers={"location": f"/{SPLIT}"}),
    "an exception's value": lambda: raised(HTTPException(403, "no", {"x-a": SPLIT})),
    "an exception's letters": lambda: raised(HTTPException(403, "no", {"x-a": "\u20ac"})),
    "a status that switches": lambda: Response(status_code=101),
    "a status that there is not": lambda: Response(status_code=1000),
}


def raised(error: Exception) -> None:
    raise error


class Splitting(Hooks):
    def __init__(self, answer: Callable[[], Any], is_async: bool) -> None:
        if is_async:

            async def upgrade(request: Request) -> Any:
                await asyncio.sleep(0)
                return answer()

            self.upgrade = upgrade  # type: ignore[method-assign, assignment]
        else:
            self.upgrade = lambda request: answer()  # type: ignore[method-assign, assignment]


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
async def test_no_answer_of_a_hook_makes_two_headers(engine: str, is_async: bool, subtests: pytest.Subtests) -> None:
    routes = {f"/{number}": Splitting(answer, is_async) for number, answer in enumerate(ANSWERS.values())}
    async with stage(engine, routes=routes) as scene:
        for path, name in zip(routes, ANSWERS, strict=True):
            with subtests.test(msg=name):
                async with Raw(scene.url) as client:
                    client.send(handshake(path))
                    status, headers = await client.head()
                    assert status == 500
                    assert "set-cookie" not in headers
                    assert "x-a" not in headers
                    assert b"x=1" not in await client.ended()
                await scene.undisturbed()
                assert scene.log.lines == [f"the handshake for {path!r} failed"]
                scene.log.lines.clear()


async def test_a_refusal_that_can_be_sent_is_sent(engine: str) -> None:
    refusal = Response("no", 403, {"x-a": "b\xfc\tc"})
    async with stage(engine, routes={"/refused": Splitting(lambda: refusal, False)}) as scene:
        with pytest.raises(HandshakeRefused) as refused:
            await sockets.connect(scene.url.replace("http", "ws") + "/refused")
        assert (refused.value.status, refused.value.headers["x-a"]) == (403, "b\xfc\tc")
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

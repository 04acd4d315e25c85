"""Rows P14, P15 and P16: a proxy as a way into a network, as a buffer, and as a way for bytes into a handshake."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import tracemalloc
from typing import Any
from urllib.parse import quote

import pytest
from websockets.asyncio.server import serve

from crosspeer import Hub, Limits, Peer, proxy
from crosspeer.testing import connect
from crosspeer.testing.contracts.harness import Recorder
from crosspeer.upstream import UpstreamClosed
from plain import plain_uvicorn
from raw import BINARY, FIN, Raw, frame, handshake
from upstreams import Upstream, need, raw_upstream, served, upstream

FRONTS = ("native", "python", "uvicorn", "plain")


def serving(hub: Hub, server: str) -> Any:
    need(server)
    return plain_uvicorn(hub) if server == "plain" else served(hub, server)


class Untouched:
    """Listens on loopback where a target leads, and sees whether anybody comes."""

    def __init__(self) -> None:
        self.visits = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.visits += 1
        writer.transport.abort()


# P14: targets that follow from what a client sent.

TARGETS = [
    # id, target ({port} is one that somebody listens on), allow
    ("metadata service", "ws://169.254.169.254/latest/meta-data", None),
    ("http to it", "http://169.254.169.254/", None),
    ("loopback", "ws://127.0.0.1:{port}/", None),
    ("another loopback", "ws://127.8.8.8:{port}/", None),
    ("any", "ws://0.0.0.0:{port}/", None),
    ("loopback of IPv6", "ws://[::1]:{port}/", None),
    ("mapped loopback", "ws://[::ffff:127.0.0.1]:{port}/", None),
    ("mapped loopback in hex", "ws://[::ffff:7f00:1]:{port}/", None),
    ("compatible loopback", "ws://[::127.0.0.1]:{port}/", None),
    ("link-local", "ws://[fe80::1]:{port}/", None),
    ("private", "ws://10.0.0.1:{port}/", None),
    ("short form", "ws://127.1:{port}/", None),
    ("decimal form", "ws://2130706433:{port}/", None),
    ("hexadecimal form", "ws://0x7f000001:{port}/", None),
    ("octal form", "ws://0177.0.0.1:{port}/", None),
    ("name of loopback", "ws://localhost:{port}/", None),
    ("name with its dot", "ws://localhost.:{port}/", None),
    ("credentials", "ws://user:pw@127.0.0.1:{port}/", None),
    ("credentials for one on the list", "ws://user:pw@127.0.0.1:{port}/", ["127.0.0.1"]),
    ("a host in the user", "ws://example.com@127.0.0.1:{port}/", ["example.com"]),
    ("a host before a backslash", "ws://example.com\\@127.0.0.1:{port}/", ["example.com"]),
    ("a host in the fragment", "ws://127.0.0.1:{port}#@example.com/", ["example.com"]),
    (
        "a suffix of the list",
        "ws://127.0.0.1.example.com@127.0.0.1:{port}/",
        ["*.example.com"],
    ),
    ("not on the list", "ws://127.0.0.1:{port}/", ["example.com", "10.0.0.0/8"]),
    ("mapped and not on the list", "ws://[::ffff:127.0.0.1]:{port}/", ["10.0.0.0/8"]),
    ("public and not on the list", "ws://93.184.215.14:{port}/", ["10.0.0.0/8"]),
    ("an empty list", "ws://127.0.0.1:{port}/", []),
    ("file", "file:///etc/passwd", None),
    ("unix", "unix:/run/app.sock", None),
    ("unix for WebSockets", "ws+unix:///run/app.sock:/", None),
    ("unix beside the list", "ws+unix:///run/app.sock:/", ["/run/other.sock"]),
    ("unix above the list", "ws+unix:///run/x/../app.sock:/", ["/run/app.sock"]),
    ("unix and any host", "ws+unix:///run/app.sock:/", ["*"]),
    ("gopher", "gopher://127.0.0.1:{port}/", ["*"]),
    ("a header in the path", "ws://127.0.0.1:{port}/ HTTP/1.1\r\nx: y", ["*"]),
    ("a name too long", "ws://" + "a" * 70 + ".example/", None),
]


@pytest.mark.parametrize(("target", "allow"), [row[1:] for row in TARGETS], ids=[row[0] for row in TARGETS])
async def test_a_target_that_is_not_allowed_is_never_dialled(target: str, allow: Any) -> None:
    listener = Untouched()
    async with raw_upstream(listener) as url:
        port = url.rsplit(":", 1)[1]
        text = target.replace("{port}", port)
        # A client names the target itself: the worst way to use a proxy.
        made = proxy(lambda peer: peer.request.query_params["to"], allow=allow)
        client = await connect(made, f"/?to={quote(text, safe='')}")
        assert (await client.wait_closed(), client.close_reason) == (1011, "upstream setup failed")
        assert listener.visits == 0


ALLOWED = [
    ("address", "ws://127.0.0.1:{port}/", ["127.0.0.1"]),
    ("network", "ws://127.0.0.1:{port}/", ["10.0.0.0/8", "127.0.0.0/8"]),
    ("mapped, by its network", "ws://[::ffff:127.0.0.1]:{port}/", ["127.0.0.0/8"]),
    ("name", "ws://localhost:{port}/", ["localhost"]),
    ("name with its dot", "ws://LOCALHOST.:{port}/", ["localhost"]),
    ("name, by its address", "ws://localhost:{port}/", ["127.0.0.1"]),
    ("pattern", "ws://api.localhost:{port}/", ["*.localhost"]),
    ("any", "ws://127.0.0.1:{port}/", "*"),
    ("one text", "ws://127.0.0.1:{port}/", "127.0.0.1"),
]


@pytest.mark.parametrize(("target", "allow"), [row[1:] for row in ALLOWED], ids=[row[0] for row in ALLOWED])
async def test_a_target_on_the_list_is_dialled(target: str, allow: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    if "api.localhost" in target:
        # Not every system resolves it (RFC 6761 lets it).
        resolve = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", lambda host, *rest, **more: resolve("127.0.0.1", *rest, **more))
    async with upstream("websockets") as up:
        text = target.replace("{port}", up.url.rsplit(":", 1)[1])
        async with connect(proxy(lambda peer: text, allow=allow)) as client:
            await client.send("x")
            assert await client.receive() == "x"


async def test_a_fixed_target_is_the_operators_own_word() -> None:
    """Loopback, and a password, are what many of them are about; a list holds for them too."""
    async with upstream("websockets") as up:
        async with connect(proxy(up.url.replace("//", "//user:pw@"))) as client:
            await client.send("x")
            assert await client.receive() == "x"
        client = await connect(proxy(up.url, allow=["10.0.0.0/8"]))
        assert (await client.wait_closed(), client.close_reason) == (1011, "upstream setup failed")


async def test_a_name_that_changes_its_address_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS rebinding: the first answer is allowed, and every later one leads inside."""
    listener, asked = Untouched(), []
    resolve = socket.getaddrinfo

    async with upstream("websockets") as up, raw_upstream(listener) as inside:
        port, inner_port = int(up.url.rsplit(":", 1)[1]), int(inside.rsplit(":", 1)[1])

        def rebinding(host: Any, *rest: Any, **more: Any) -> Any:
            if host != "rebinding.example":
                return resolve(host, *rest, **more)
            asked.append(host)
            place = ("127.0.0.2", port) if len(asked) == 1 else ("127.0.0.1", inner_port)
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", place)]

        monkeypatch.setattr(socket, "getaddrinfo", rebinding)
        made = proxy(lambda peer: f"ws://rebinding.example:{port}/", allow=["127.0.0.2"])
        client = await connect(made)
        # Nobody listens on 127.0.0.2, and it is not looked up again.
        assert (await client.wait_closed(), client.close_reason) == (1011, "upstream error")
        assert asked == ["rebinding.example"]
        assert listener.visits == 0
        assert up.of("request") == []


async def test_only_the_allowed_ones_of_several_addresses_are_dialled(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve = socket.getaddrinfo

    async with upstream("websockets") as up:
        port = int(up.url.rsplit(":", 1)[1])

        def mixed(host: Any, *rest: Any, **more: Any) -> Any:
            if host != "mixed.example":
                return resolve(host, *rest, **more)
            return [
                (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in ("127.0.0.9", "127.0.0.1")
            ]

        monkeypatch.setattr(socket, "getaddrinfo", mixed)
        async with connect(proxy(lambda peer: f"ws://mixed.example:{port}/", allow=["127.0.0.1"])) as client:
            await client.send("x")
            assert await client.receive() == "x"
        assert dict(up.of("request")[0][1])["host"] == f"mixed.example:{port}"
        client = await connect(proxy(lambda peer: f"ws://mixed.example:{port}/", allow=["127.0.0.9"]))
        assert (await client.wait_closed(), client.close_reason) == (1011, "upstream error")


REDIRECTS = [
    (301, "ws://127.0.0.1:{port}/"),
    (302, "ws://127.0.0.1:{port}/inside"),
    (303, "/elsewhere"),
    (307, "http://127.0.0.1:{port}/"),
    (308, "file:///etc/passwd"),
    (300, "ws://user:pw@127.0.0.1:{port}/"),
]


@pytest.mark.parametrize(("status", "location"), REDIRECTS)
@pytest.mark.parametrize("kind", ["fixed", "function"])
async def test_redirects_are_not_followed(status: int, location: str, kind: str) -> None:
    listener, asked = Untouched(), []

    async with raw_upstream(listener) as inside:

        async def redirect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            asked.append(await reader.readuntil(b"\r\n\r\n"))
            where = location.replace("{port}", inside.rsplit(":", 1)[1])
            writer.write(f"HTTP/1.1 {status} Moved\r\nLocation: {where}\r\nContent-Length: 0\r\n\r\n".encode())
            await writer.drain()

        async with raw_upstream(redirect) as url:
            target: Any = url if kind == "fixed" else lambda peer: url
            client = await connect(proxy(target, allow="127.0.0.1", headers={"authorization": "secret"}))
            assert (await client.wait_closed(), client.close_reason) == (1011, "upstream error")
        assert len(asked) == 1
        assert listener.visits == 0


async def test_a_proxy_of_the_environment_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    listener = Untouched()
    async with upstream("websockets") as up, raw_upstream(listener) as other:
        for name in ("ws_proxy", "http_proxy", "socks_proxy", "all_proxy"):
            monkeypatch.setenv(name, other.replace("ws", "http"))
        monkeypatch.setenv("no_proxy", "")
        async with connect(proxy(up.url)) as client:
            await client.send("x")
            assert await client.receive() == "x"
        assert listener.visits == 0


# Upstreams that do not play along.

ANSWERS = [
    ("nothing", b""),
    ("no HTTP", b"\x16\x03\x01\x02\x00\x01\x00" * 10 + b"\r\n\r\n"),
    ("200", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
    ("401", b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"),
    ("101 without an accept", b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"),
    (
        "101 with a wrong accept",
        b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: AAAA\r\n\r\n",
    ),
    ("a header without end", b"HTTP/1.1 101 " + b"x" * 100_000),
    ("headers without end", b"HTTP/1.1 101 x\r\n" + b"x: y\r\n" * 10_000),
    ("a body without end", b"HTTP/1.1 404 x\r\n\r\n" + b"x" * 3_000_000),
]


@pytest.mark.parametrize("answer", [row[1] for row in ANSWERS], ids=[row[0] for row in ANSWERS])
async def test_an_upstream_that_is_no_websocket_is_1011(answer: bytes) -> None:
    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        if not answer:
            writer.close()

    async with raw_upstream(behave) as url:
        # What is no answer at all is waited for, as long as an upstream has to open.
        client = await connect(proxy(url, connect_timeout=1.0))
        assert await client.wait_closed() == 1011
        assert client.close_reason in ("upstream error", "upstream connect timeout")


FRAMES = [
    ("masked", frame(FIN | BINARY, b"x")),
    ("reserved bits", frame(FIN | 0x30 | BINARY, b"x", masked=False)),
    ("compressed without having asked", frame(FIN | 0x40 | BINARY, b"x", masked=False)),
    ("reserved opcode", frame(FIN | 0x5, b"x", masked=False)),
    ("a length that is only claimed", frame(FIN | BINARY, b"", masked=False, length=2**62)),
    ("no UTF-8", frame(FIN | 0x1, b"\xff", masked=False)),
    ("a close code that is none", frame(FIN | 0x8, (1005).to_bytes(2, "big"), masked=False)),
    ("endless fragments", frame(BINARY, b"x" * 1000, masked=False) + frame(0, b"x" * 1000, masked=False) * 2000),
    ("empty fragments", frame(BINARY, b"", masked=False) + frame(0, b"", masked=False) * 100_000),
    ("nothing more", b""),
]


@pytest.mark.parametrize("data", [row[1] for row in FRAMES], ids=[row[0] for row in FRAMES])
async def test_an_upstream_that_breaks_the_protocol_is_1011(data: bytes) -> None:
    async def behave(connection: Any) -> None:
        connection.transport.write(data)
        if not data:
            connection.transport.close()
        with contextlib.suppress(Exception):
            await connection.recv()

    async with serve(behave, "127.0.0.1", 0, compression=None) as server:
        made = proxy(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        client = await connect(Hub(made, limits=Limits(close_timeout=0.5)))
        assert (await client.wait_closed(), client.close_reason) == (1011, "upstream error")
        async with asyncio.timeout(5):
            await made._tasks.wait()


# P15: an upstream that never opens.


@pytest.mark.parametrize("server", FRONTS)
@pytest.mark.parametrize(
    ("limit", "reason"), [("bytes", "proxy buffer limit exceeded"), ("time", "upstream connect timeout")]
)
async def test_what_waits_for_an_upstream_is_bounded(server: str, limit: str, reason: str) -> None:
    """A client sends 100 MB, or little and for ever."""
    ends: list[UpstreamClosed] = []
    recorder = Recorder()

    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(65_536):
            pass

    async with raw_upstream(never) as url:
        made = proxy(
            url,
            connect_timeout=0.5 if limit == "time" else 30,
            on_upstream_close=lambda peer, closed: ends.append(closed),
        )
        hub = Hub(recorder, resolve=lambda request: made, limits=Limits(close_timeout=0.5))
        async with serving(hub, server) as front, Raw(front) as client:
            await client.upgrade()
            sent = 0
            tracemalloc.start()
            try:
                with contextlib.suppress(ConnectionError):
                    while sent < 100_000_000 and not recorder.of("close"):
                        size = 50_000 if limit == "bytes" else 10
                        client.send(frame(FIN | BINARY, b"x" * size, key=b"\0\0\0\0"))
                        sent += size
                        await client.writer.drain()
                        await asyncio.sleep(0)
                details = await recorder.wait_for("close", timeout=20)
                _, most = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
            assert (details.code, details.reason) == (1011, reason)
            assert most < 6_000_000
        await asyncio.wait_for(made._tasks.wait(), 10)
        assert [(end.source, end.code, end.reason) for end in ends] == [("proxy", 1011, reason)]
        assert made._links == {}


@pytest.mark.parametrize(("size", "fits"), [(1000, True), (1001, False)])
async def test_the_limit_of_the_buffer_is_exact(size: int, fits: bool) -> None:
    """It counts bytes as they would be sent."""
    go_on = asyncio.Event()
    async with upstream("websockets") as up:

        async def found(peer: Peer) -> str:
            await go_on.wait()
            return up.url

        client = await connect(proxy(found, allow="127.0.0.1", max_buffer_size=1000))
        await client.send("ü" * 250)
        await client.send(b"x" * (size - 500))
        if fits:
            go_on.set()
            assert await client.receive() == "ü" * 250
            await client.close()
        else:
            assert (await client.wait_closed(), client.close_reason) == (1011, "proxy buffer limit exceeded")


# P16: bytes on their way into a handshake.

PROTOCOLS = ["a\r\nX: y", "a b", "a,b c", "ü", "a\x00b", '"quoted"', "(comment)", "a@b"]


@pytest.mark.parametrize("name", PROTOCOLS)
async def test_a_subprotocol_that_is_no_token_is_dropped(name: str) -> None:
    """Whatever says it: the client, a list, a mapping, a function."""
    forms: list[Any] = [True, [name, "fine"], {"fine": name}, lambda peer: name, lambda peer: [name, "fine"]]
    for forward in forms:
        async with upstream("websockets") as up:
            async with connect(proxy(up.url, forward_protocol=forward), subprotocols=[name, "fine"]) as client:
                assert client.protocol == ("a" if name.startswith("a,") else "")
                await client.send("x")
                assert await client.receive() == "x"
            _, headers, offered = up.of("request")[0]
            assert set(offered) <= {"fine", "a"}
            assert "x" not in dict(headers)


@pytest.mark.parametrize("server", FRONTS)
@pytest.mark.parametrize("name", ["a b", "a@b", "(x)"])
async def test_a_subprotocol_that_is_no_token_is_not_echoed(server: str, name: str) -> None:
    """An engine may refuse the handshake for it; none says it back."""
    async with upstream("websockets") as up, serving(Hub(proxy(up.url)), server) as front, Raw(front) as client:
        client.send(handshake(Sec_WebSocket_Protocol=name))
        status, headers = await client.head()
        assert status in (101, 400)
        assert "sec-websocket-protocol" not in headers


HEADERS = [
    ("a value with a line", {"x-a": "1\r\nx-b: 2"}),
    ("a value with NUL", {"x-a": "1\x002"}),
    ("a name with a line", {"x-a\r\nx-b": "1"}),
    ("a name with a colon", {"x-a: 1\r\nx-b": "1"}),
    ("an empty name", {"": "1"}),
    ("a value beyond latin-1", {"x-a": "κ"}),
]


@pytest.mark.parametrize("headers", [row[1] for row in HEADERS], ids=[row[0] for row in HEADERS])
async def test_a_header_that_would_break_out_of_its_line_is_never_sent(headers: dict[str, str]) -> None:
    async with upstream("websockets") as up:
        client = await connect(proxy(up.url, headers=lambda peer: headers))
        assert (await client.wait_closed(), client.close_reason) == (1011, "upstream setup failed")
        assert up.of("request") == []


async def test_all_headers_of_a_client_are_no_way_to_the_upstreams_hop() -> None:
    """`headers=lambda peer: peer.request.headers` is what many will write."""
    up = Upstream()
    async with (
        upstream("websockets", up),
        served(
            Hub(proxy(lambda peer: up.url, allow="127.0.0.1", headers=lambda peer: peer.request.headers)), "python"
        ) as front,
        Raw(front) as client,
    ):
        client.send(
            handshake(
                "/",
                Connection="Upgrade, X-Secret-Hop",
                X_Secret_Hop="1",
                X_Kept="2",
                Sec_WebSocket_Extensions="permessage-deflate",
                Proxy_Authorization="Basic xyz",
                TE="trailers",
                Cookie="a=1",
            )
        )
        assert (await client.head())[0] == 101
        await up.wait_for("request")
        _, headers, _ = up.of("request")[0]
        names = [name for name, _ in headers]
        assert len(names) == len(set(names))
        assert dict(headers)["host"] == up.url.removeprefix("ws://")
        assert {"x-kept", "cookie"} <= set(names)
        assert not {"x-secret-hop", "sec-websocket-extensions", "proxy-authorization", "te"} & set(names)

"""The options of a proxy: its targets, and what goes with the handshake."""

from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest
from starlette.datastructures import URL
from websockets.asyncio.client import connect as websockets_connect
from websockets.asyncio.server import unix_serve

from crosspeer import Hub, Peer, Server, proxy
from crosspeer.testing import connect
from upstreams import Upstream, echo, served, upstream

# Targets.


@pytest.mark.parametrize("form", ["text", "url", "function", "async function", "function of a url"])
async def test_the_forms_of_a_target(form: str) -> None:
    async with upstream("websockets") as up:

        def found(peer: Peer) -> str:
            return f"{up.url}{peer.request.url.path}"

        async def found_later(peer: Peer) -> str:
            await asyncio.sleep(0)
            return found(peer)

        target: Any = {
            "text": up.url + "/room",
            "url": URL(up.url + "/room"),
            "function": found,
            "async function": found_later,
            "function of a url": lambda peer: URL(found(peer)),
        }[form]
        async with connect(proxy(target, allow=["127.0.0.1"]), "/room") as client:
            await echo(client)
        assert up.of("request")[0][0] == "/room"


@pytest.mark.parametrize(
    ("text", "path"), [("{}", "/"), ("{}:", "/"), ("{}:/chat?x=1", "/chat?x=1"), ("{}:chat", "/chat")]
)
@pytest.mark.parametrize("listed", [False, True])
async def test_a_unix_socket(tmp_path: Path, text: str, path: str, listed: bool) -> None:
    place = str(tmp_path / "app.sock")
    up = Upstream()
    target = "ws+unix://" + text.format(place)
    made = proxy(lambda peer: target, allow=[place]) if listed else proxy(target)
    async with unix_serve(up, place, ping_interval=None):
        async with connect(made) as client:
            await echo(client)
        seen, headers, _ = up.of("request")[0]
        assert (seen, dict(headers)["host"]) == (path, "localhost")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate of the test's own, good for a day."""
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "cert.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-days", "1", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    return certificate, key


async def test_tls_upstreams_are_checked_by_their_name(certificate: tuple[Path, Path]) -> None:
    up = Upstream()
    trust = ssl.create_default_context(cafile=str(certificate[0]))
    async with Server(up, port=0, ssl_certfile=certificate[0], ssl_keyfile=certificate[1]) as server:
        port = server.url.rsplit(":", 1)[1]
        good = proxy(f"wss://localhost:{port}/", websocket_options={"ssl": trust})
        async with connect(good) as client:
            await echo(client)
        # Another name, and nobody whom we trust: each is an upstream that did not open.
        for target, options in ((f"wss://127.0.0.1:{port}", {"ssl": trust}), (f"wss://localhost:{port}", {})):
            client = await connect(proxy(target, websocket_options=options))
            assert (await client.wait_closed(), client.close_reason) == (1011, "upstream error")


@pytest.mark.parametrize(
    "target",
    [
        "http://example.com",
        "https://example.com",
        "file:///etc/passwd",
        "unix:/run/app.sock",
        "ws://",
        "ws:///path",
        "ws://host:port",
        "ws://host:70000",
        "ws://host/#fragment",
        "ws://ho st/",
        "ws://host/a\r\nb",
        "ws+unix://relative.sock:/x",
        "ws+unix://",
        "example.com",
        "",
        "ws://[::1",
    ],
)
def test_a_fixed_target_that_is_none_is_refused_when_the_proxy_is_made(target: str) -> None:
    with pytest.raises(ValueError, match=r"target|socket"):
        proxy(target)


@pytest.mark.parametrize("target", [None, 1, b"ws://host", {"target": "ws://host"}])
def test_what_is_no_target_is_refused(target: Any) -> None:
    with pytest.raises(TypeError, match="target"):
        proxy(target)


@pytest.mark.parametrize(
    "options",
    [
        {"max_buffer_size": 0},
        {"max_buffer_size": 1.5},
        {"connect_timeout": 0},
        {"connect_timeout": True},
        {"client_idle_timeout": -1},
        {"connect": "websockets"},
        {"on_upstream_open": "open"},
        {"websocket_options": {"host": "other.example"}},
        {"websocket_options": {"sock": None, "proxy": "http://p"}},
        {"allow": ["example.com:80"]},
        {"allow": ["ws://example.com"]},
    ],
)
def test_an_impossible_option_is_refused_when_the_proxy_is_made(options: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError)):
        proxy("ws://example.com", **options)


# What goes with the handshake.


@pytest.mark.parametrize("form", ["mapping", "pairs", "iterator", "function", "async function"])
async def test_headers(form: str) -> None:
    async def later(peer: Peer) -> Any:
        return {"x-user": peer.namespace, "cookie": "a=1"}

    value: Any = {
        "mapping": {"x-user": "/ada", "cookie": "a=1"},
        "pairs": [("x-user", "/ada"), ("cookie", "a=1")],
        "iterator": iter([("x-user", "/ada"), ("cookie", "a=1")]),
        "function": lambda peer: [("x-user", peer.namespace), ("cookie", "a=1")],
        "async function": later,
    }[form]
    async with upstream("websockets") as up:
        made = proxy(up.url, headers=value)
        for _ in range(2):
            async with connect(made, "/ada") as client:
                await echo(client)
        for _, headers, _ in up.of("request"):
            assert ("x-user", "/ada") in headers
            assert ("cookie", "a=1") in headers


async def test_headers_win_over_those_of_the_options_and_of_the_url() -> None:
    async with upstream("websockets") as up:
        url = up.url.replace("ws://", "ws://ada:p%40ss@")
        given = {"additional_headers": {"x-one": "option", "x-two": "option"}}
        async with connect(proxy(url, headers={"X-One": "header"}, websocket_options=given)) as client:
            await echo(client)
        async with connect(proxy(url, headers={"Authorization": "Bearer t"})) as client:
            await echo(client)
        first, second = (headers for _, headers, _ in up.of("request"))
        assert [value for name, value in first if name == "x-one"] == ["header"]
        assert ("x-two", "option") in first
        assert ("authorization", "Basic YWRhOnBAc3M=") in first
        assert [value for name, value in second if name == "authorization"] == ["Bearer t"]


async def test_options_may_follow_from_the_peer_and_reach_the_client_library() -> None:
    async with upstream("websockets") as up:
        asked = []

        def options(peer: Peer) -> dict[str, Any]:
            asked.append(peer.namespace)
            return {"user_agent_header": "a proxy"}

        async with connect(proxy(up.url, websocket_options=options), "/room") as client:
            await echo(client)
        assert ("user-agent", "a proxy") in up.of("request")[0][1]
        assert asked == ["/room"]


async def test_an_option_of_a_function_that_is_the_proxys_closes_the_peer() -> None:
    async with upstream("websockets") as up:
        client = await connect(proxy(up.url, websocket_options=lambda peer: {"host": "127.0.0.1"}))
        assert (await client.wait_closed(), client.close_reason) == (1011, "upstream setup failed")
        assert up.of("request") == []


async def test_another_client_can_take_the_place_of_websockets() -> None:
    calls: list[dict[str, Any]] = []
    nodelay = []

    def dial(url: str, **options: Any) -> Any:
        calls.append({"url": url, **options})
        nodelay.append(options["sock"].getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        return websockets_connect(url, **options)

    async with upstream("websockets") as up:
        async with connect(proxy(up.url + "/x", connect=dial), subprotocols=["a"]) as client:
            await echo(client)
        [call] = calls
        assert nodelay == [1]
        assert call["url"] == up.url + "/x"
        assert call["subprotocols"] == ["a"]
        assert isinstance(call["sock"], socket.socket)


async def test_compression_is_for_the_client_alone() -> None:
    async with upstream("websockets") as up:
        for wanted, negotiated in ((None, False), (True, True), (False, False)):
            async with (
                served(Hub(proxy(up.url, compress=wanted)), "python") as url,
                websockets_connect(url.replace("http", "ws"), proxy=None) as client,
            ):
                await client.send("x")
                assert await client.recv() == "x"
                assert client.response is not None
                assert (
                    "permessage-deflate" in client.response.headers.get("Sec-WebSocket-Extensions", "")
                ) is negotiated
        assert all("sec-websocket-extensions" not in dict(headers) for _, headers, _ in up.of("request"))

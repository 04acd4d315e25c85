"""The default server as a library: embedding, plain HTTP beside peers, its end."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import Any

import httpx
import pytest

from crosspeer import Hooks, Hub, Message, Peer, Request, Response, Server, define_hooks
from crosspeer.core.request import HUB_KEY
from crosspeer.testing import ConnectionClosed, HandshakeRefused, sockets
from raw import Raw


class Echo(Hooks):
    def message(self, peer: Peer, message: Message) -> None:
        peer.send(message.data)


def dial(server: Server, path: str = "/") -> sockets.connect:
    return sockets.connect(server.url.replace("http", "ws") + path)


async def get(server: Server, path: str = "/") -> httpx.Response:
    async with httpx.AsyncClient() as client:
        return await client.get(server.url + path)


async def test_peers_and_plain_http_share_a_port() -> None:
    async def http(scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope, receive)
        names = [len(peers) for peers in request.hub.peers.values()]
        request.hub.publish("news", "from http")
        await Response(f"{request.url.path} {names}")(scope, receive, send)

    hub = Hub(define_hooks(open=lambda peer: peer.subscribe("news")))
    async with Server(hub, http=http, port=0) as server, dial(server) as client:
        for _ in range(100):
            if hub.peers:
                break
            await asyncio.sleep(0.01)
        answer = await get(server, "/page")
        assert (answer.status_code, answer.text) == (200, "/page [1]")
        assert await client.receive() == "from http"


async def test_without_an_application_plain_http_is_told_to_upgrade() -> None:
    async with Server(Echo, port=0) as server:
        answer = await get(server)
        assert (answer.status_code, answer.headers["upgrade"]) == (426, "websocket")


async def test_a_plain_asgi_application_is_served_whole() -> None:
    seen = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])
        if scope["type"] == "lifespan":
            while True:
                event = await receive()
                await send({"type": event["type"] + ".complete"})
                if event["type"].endswith("shutdown"):
                    seen.append("stopped")
                    return
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.send", "text": "own"})
            await send({"type": "websocket.close", "code": 4000})
        else:
            assert HUB_KEY not in scope
            await Response("own")(scope, receive, send)

    async with Server(application, port=0) as server:
        assert server.hub is None
        assert (await get(server)).text == "own"
        async with dial(server) as client:
            assert await client.receive() == "own"
            with pytest.raises(ConnectionClosed) as closed:
                await client.receive()
            assert closed.value.code == 4000
    assert seen == ["lifespan", "http", "websocket", "stopped"]


async def test_an_application_that_does_not_start() -> None:
    async def broken(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})

    with pytest.raises(RuntimeError, match="did not start"):
        async with Server(broken, port=0):
            pass


@pytest.mark.parametrize("target", [None, 3, "chat", object()])
def test_what_cannot_be_served(target: Any) -> None:
    with pytest.raises(TypeError, match="cannot be served"):
        Server(target)


async def test_http_goes_with_hooks_only() -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None: ...

    with pytest.raises(TypeError, match="its own HTTP"):
        Server(application, http=application)


async def test_the_url_is_known_while_it_runs() -> None:
    server = Server(Echo(), port=0)
    with pytest.raises(RuntimeError, match="not running"):
        _ = server.url
    async with server:
        assert server.url.startswith("http://127.0.0.1:")
        with pytest.raises(RuntimeError, match="already"):
            await server.start()
    with pytest.raises(RuntimeError, match="not running"):
        _ = server.url
    await server.stop()


async def test_ipv6() -> None:
    if not socket.has_ipv6:
        pytest.skip("no IPv6 on this machine")
    try:
        server = Server(Echo(), host="::1", port=0)
        await server.start()
    except OSError as error:
        pytest.skip(f"no IPv6 loopback on this machine: {error}")
    assert server.url.startswith("http://[::1]:")
    async with dial(server) as client:
        await client.send("six")
        assert await client.receive() == "six"
    await server.stop()


async def test_a_taken_port_is_an_os_error() -> None:
    async with Server(Echo(), port=0) as server:
        port = int(server.url.rpartition(":")[2])
        with pytest.raises(OSError, match="in use"):
            await Server(Echo(), port=port).start()


async def test_it_can_start_again_on_the_same_hub() -> None:
    hub = Hub(Echo())
    server = Server(hub, port=0)
    for _ in range(2):
        async with server, dial(server) as client:
            await client.send("again")
            assert await client.receive() == "again"


async def test_stopping_closes_peers_with_1012_after_their_queue_and_runs_their_hooks() -> None:
    closed = []
    hub = Hub(define_hooks(close=lambda peer, details: closed.append(details.code)))
    server = Server(hub, port=0)
    await server.start()
    clients = [await dial(server) for _ in range(250)]
    hub_peers = [peer for peers in hub.peers.values() for peer in peers]
    assert len(hub_peers) == 250
    for peer in hub_peers:
        peer.send("last words")
    stopping = asyncio.create_task(server.stop())
    for client in clients:
        assert await client.receive() == "last words"
        assert await client.wait_closed() == 1012
        assert client.close_reason == "restart"
    await stopping
    assert closed == [1012] * 250
    assert hub.connections == 0


async def test_nothing_is_accepted_while_it_stops() -> None:
    release = asyncio.Event()

    async def close(peer: Peer, details: Any) -> None:
        await release.wait()

    server = Server(Hub(define_hooks(close=close)), port=0)
    await server.start()
    url = server.url
    client = await dial(server)
    stopping = asyncio.create_task(server.stop())
    assert await client.wait_closed() == 1012
    with pytest.raises(OSError, match=r"[Cc]onnect"):
        await sockets.connect(url.replace("http", "ws"))
    release.set()
    await stopping


async def test_a_hook_that_never_ends_does_not_hold_the_shutdown(caplog: pytest.LogCaptureFixture) -> None:
    ended = []

    class Stuck(Hooks):
        async def message(self, peer: Peer, message: Message) -> None:
            await asyncio.Event().wait()

        def close(self, peer: Peer, details: Any) -> None:
            ended.append(details.code)

    server = Server(Stuck(), port=0, shutdown_timeout=1.0)
    await server.start()
    client = await dial(server)
    await client.send("x")
    started = time.monotonic()
    await server.stop()
    assert time.monotonic() - started < 3
    assert len(ended) == 1, "close runs even so"
    await client.wait_closed()


async def test_a_request_under_way_is_answered_before_the_end() -> None:
    started, release = asyncio.Event(), asyncio.Event()

    async def http(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            started.set()
            await release.wait()
            await Response("finished")(scope, receive, send)

    server = Server(Echo(), http=http, port=0, shutdown_timeout=5)
    await server.start()
    answer = asyncio.create_task(get(server))
    await started.wait()
    stopping = asyncio.create_task(server.stop())
    await asyncio.sleep(0)
    release.set()
    assert (await answer).text == "finished"
    await stopping


async def test_a_handshake_during_a_drain_is_503() -> None:
    release = asyncio.Event()

    async def close(peer: Peer, details: Any) -> None:
        await release.wait()

    hub = Hub(define_hooks(close=close))
    async with Server(hub, port=0) as server:
        client = await dial(server)
        closing = asyncio.create_task(hub.close())
        assert await client.wait_closed() == 1001
        with pytest.raises(HandshakeRefused) as refused:
            await dial(server)
        assert refused.value.status == 503
        release.set()
        await closing


async def test_the_server_says_nothing_of_its_version() -> None:
    async with Server(Echo(), port=0) as server, Raw(server.url) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        _, headers = await client.head()
        assert "server" not in headers

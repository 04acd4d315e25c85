"""The broker on every engine and mounted in applications: WebSocket and HTTP below one path."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from brokers import join, on_uvicorn, query, relays, serving, signal
from crosspeer import Hub, Server
from crosspeer.peerjs import PeerServer
from crosspeer.testing import HandshakeRefused, sockets
from raw import Raw, handshake

if TYPE_CHECKING:
    from starlette.types import ASGIApp

Served = tuple[PeerServer, str, str]
"""A broker, the URL of its server, and its base path."""


@asynccontextmanager
async def on_engine(engine: str) -> AsyncIterator[Served]:
    broker = PeerServer(path="/myapp", allow_discovery=True, alive_timeout=60)
    async with serving(broker, engine) as url:
        yield broker, url, "/myapp/"


@asynccontextmanager
async def mounted(make: Callable[[ASGIApp], ASGIApp], path: str, base: str) -> AsyncIterator[Served]:
    broker = PeerServer(path=path, allow_discovery=True)
    async with on_uvicorn(make(broker.asgi)) as url:
        yield broker, url, base


def in_starlette(broker: ASGIApp) -> ASGIApp:
    async def home(request: Any) -> PlainTextResponse:
        return PlainTextResponse("home")

    return Starlette(routes=[Route("/", home), Mount("/broker", broker)])


def in_fastapi(broker: ASGIApp) -> ASGIApp:
    app = FastAPI()
    app.mount("/broker", broker)
    return app


def deep_in_both(broker: ASGIApp) -> ASGIApp:
    app = FastAPI()
    app.mount("/api", Starlette(routes=[Mount("/v1/broker", broker)]))
    return app


SERVERS: dict[str, Callable[[], AbstractAsyncContextManager[Served]]] = {
    "native": lambda: on_engine("native"),
    "python": lambda: on_engine("python"),
    "uvicorn": lambda: on_engine("uvicorn"),
    "alone on uvicorn": lambda: mounted(lambda app: app, "/", "/"),
    "in Starlette": lambda: mounted(in_starlette, "/", "/broker/"),
    "in Starlette, with a path": lambda: mounted(in_starlette, "/myapp", "/broker/myapp/"),
    "in FastAPI": lambda: mounted(in_fastapi, "/", "/broker/"),
    "deep in both": lambda: mounted(deep_in_both, "/x", "/api/v1/broker/x/"),
}


@pytest.fixture(params=SERVERS)
async def served(request: pytest.FixtureRequest) -> AsyncIterator[Served]:
    if request.param == "native":
        pytest.importorskip("crosspeer_engine", reason="the native engine is not built here: it needs cargo")
    async with SERVERS[request.param]() as served:
        yield served


async def test_clients_meet_and_the_routes_are_beside_them(served: Served) -> None:
    broker, url, base = served
    alice, bob = await join(url, "alice", base=base), await join(url, "bob", base=base)
    await relays(alice, "alice", bob, "bob")
    await relays(bob, "bob", alice, "alice")
    async with httpx.AsyncClient(base_url=url) as http:
        about = await http.get(base)
        assert about.json()["name"] == "PeerJS Server"
        assert len((await http.get(f"{base}peerjs/id", headers={"origin": "https://a.example"})).text) == 36
        assert (await http.get(f"{base}peerjs/peers")).json() == ["alice", "bob"]
        for accepted in ("*/*", "text/event-stream"):
            assert (await http.get(f"{base}peerjs", headers={"accept": accepted})).status_code == 404
        preflight = await http.options(f"{base}peerjs/id", headers={"origin": "https://a.example"})
        assert (preflight.status_code, preflight.headers["access-control-allow-origin"]) == (204, "https://a.example")
    await alice.send("{")
    assert (await alice.receive_json())["type"] == "ERROR"
    await relays(alice, "alice", bob, "bob")
    again = await join(url, "alice", base=base)
    assert await alice.wait_closed() == 4501
    await relays(again, "alice", bob, "bob")
    taken = await sockets.connect(f"{url.replace('http', 'ws')}{base}peerjs?{query('bob', 'other')}")
    assert await taken.receive_json() == {"type": "ID-TAKEN", "payload": {"msg": "ID is taken"}}
    assert await taken.wait_closed() == 4504
    for client in (again, bob):
        await client.close()
    async with asyncio.timeout(10):
        while broker.metrics.registered:
            await asyncio.sleep(0)


@pytest.mark.parametrize("path", ["peerjs/", "PEERJS", "peerjs/id", "x/peerjs"])
async def test_another_path_is_refused_in_the_handshake(served: Served, path: str) -> None:
    _, url, base = served
    with pytest.raises(HandshakeRefused) as caught:
        await sockets.connect(f"{url.replace('http', 'ws')}{base}{path}?{query('a')}")
    assert caught.value.status == 400


async def test_expire_comes_by_the_loop_s_own_clock(served: Served) -> None:
    broker, url, base = served
    broker._state.queues._timeout = 0.1
    alice = await join(url, "alice", base=base)
    started = asyncio.get_running_loop().time()
    await alice.send(signal("OFFER", "ghost"))
    assert await alice.receive_json(timeout=10) == {"type": "EXPIRE", "src": "ghost", "dst": "alice"}
    assert asyncio.get_running_loop().time() - started > 0.09
    await alice.close()


@pytest.mark.parametrize("engine", ["native", "python", "uvicorn"])
async def test_a_stop_closes_clients_with_1012_and_leaves_nothing(engine: str) -> None:
    broker = PeerServer()
    async with serving(broker, engine) as url:
        alice = await join(url, "alice")
        await alice.send(signal("OFFER", "ghost"))
        await relays(alice, "alice", alice, "alice")
    assert await alice.wait_closed() == 1012
    assert broker.metrics.registered == 0


@pytest.mark.parametrize("engine", ["native", "python"])
async def test_an_ordinary_proxy_in_front_of_a_loopback_address_is_let_in(engine: str) -> None:
    """It sends the public name as Host, and pages of any origin may connect anyway."""
    asked = handshake(f"/peerjs?{query('a')}", Host="broker.example", Origin="https://app.example")
    for origins, status in (("*", 101), (["https://app.example"], 421)):
        async with serving(PeerServer(origins=origins), engine) as url, Raw(url) as client:
            client.send(asked)
            assert (await client.head())[0] == status


def test_a_broker_needs_no_adapter_and_no_server_until_it_is_mounted() -> None:
    script = """
import sys
from crosspeer.peerjs import PeerServer
broker = PeerServer()
def loaded():
    return {name for name in sys.modules if name.startswith(("crosspeer.adapters", "crosspeer.server", "uvicorn"))}
assert loaded() == set(), loaded()
broker.asgi
assert "crosspeer.adapters.asgi" in loaded()
assert not any(name.startswith(("crosspeer.server", "uvicorn")) for name in loaded()), loaded()
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=30)


async def test_it_can_be_served_in_all_its_forms() -> None:
    broker = PeerServer()
    assert broker.asgi is broker.asgi
    for target, options in ((broker, {}), (broker.asgi, {}), (broker.hub, {"http": broker.http})):
        async with Server(target, port=0, **options) as server, httpx.AsyncClient() as http:  # type: ignore[arg-type]
            assert server.hub is broker.hub
            assert isinstance(server.hub, Hub)
            assert (await http.get(server.url)).json()["name"] == "PeerJS Server"
            client = await join(server.url, "a")
            await client.close()

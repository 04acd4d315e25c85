"""Peers beside the handlers of real applications, each in a process of its own."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest

import running
from crosspeer.testing import events
from crosspeer.testing.client import HandshakeRefused
from crosspeer.testing.contracts.harness import Connect
from serving import Served, served

TESTS = Path(__file__).parent.parent


@dataclass(frozen=True)
class Framework:
    """One application, and what its framework and server make of it."""

    command: str
    root_path: str
    """That of a peer at /ws/lobby/7."""
    parameters: dict[str, str]
    cookie: str
    """Where the session is."""
    banned: int = 403
    """How the framework's own refusal arrives."""
    denies: bool = True
    """The server sends the refusals of `upgrade` as they are."""
    internal_error: int = 1011
    has_lifespan: bool = True
    module: str = "/ws/_crosspeer/client.js"
    """Where the module for browsers is given out."""
    has_threads: bool = False
    """There is a handler that runs in a thread."""


UVICORN = "uvicorn frameworks.{}_app:app --port 3000"
FRAMEWORKS = {
    "starlette": Framework(UVICORN.format("starlette"), "/ws", {}, "session"),
    "fastapi": Framework(UVICORN.format("fastapi"), "/ws", {}, "session", banned=451, has_threads=True),
    "litestar": Framework(UVICORN.format("litestar"), "/ws", {}, "session"),
    "quart": Framework("hypercorn frameworks.quart_app:app --bind 127.0.0.1:3000", "/ws", {}, "session"),
    "django": Framework(
        "daphne frameworks.django_app:app --port 3000",
        "",
        {"room": "lobby/7"},
        "sessionid",
        denies=False,
        internal_error=3011,
        has_lifespan=False,
        module="/_crosspeer/client.js",
        has_threads=True,
    ),
}
FRAMEWORKS |= {
    "quart on uvicorn": replace(FRAMEWORKS["quart"], command=UVICORN.format("quart")),
    "django on uvicorn": replace(
        FRAMEWORKS["django"], command=UVICORN.format("django"), denies=True, internal_error=1011
    ),
}

pytestmark = pytest.mark.parametrize("name", FRAMEWORKS)


class Stage:
    """A running application, and a user of it who is logged in."""

    def __init__(self, server: Served, http: httpx.AsyncClient) -> None:
        self.server, self.http = server, http
        self.connect: Connect = running.dialer(server.url)

    @property
    def credentials(self) -> dict[str, str]:
        return {"cookie": "; ".join(f"{name}={value}" for name, value in self.http.cookies.items())}

    def join(self, path: str = "/ws/lobby", *, origin: str | None = None, **headers: str) -> Any:
        return self.connect(path, headers=self.credentials | headers, origin=origin)

    async def post(self, path: str, text: str) -> None:
        answer = await self.http.post(path, content=text, headers={"content-type": "text/plain"})
        assert answer.status_code in (200, 201), answer.text

    async def peers(self) -> Any:
        return (await self.http.get("/peers")).json()


@asynccontextmanager
async def stage(name: str, folder: Path) -> AsyncIterator[Stage]:
    async with (
        served(FRAMEWORKS[name].command, folder, path=TESTS) as server,
        httpx.AsyncClient(base_url=server.url, trust_env=False, timeout=20) as http,
    ):
        scene = Stage(server, http)
        await scene.post("/login", "ada")
        yield scene


async def test_the_request_of_a_peer_is_what_the_framework_made_of_it(name: str, tmp_path: Path) -> None:
    framework = FRAMEWORKS[name]
    async with stage(name, tmp_path) as scene, scene.join("/ws/lobby/7?x=1") as client:
        await client.send("tell")
        told = json.loads(await client.receive())
    assert told["path"] == told["namespace"] == "/ws/lobby/7"
    assert told["root_path"] == framework.root_path
    assert told["url"] == f"{scene.server.url}/ws/lobby/7?x=1"
    assert told["user"] == "ada", "the session of the framework"
    assert framework.cookie in told["cookies"]
    assert told["parameters"] == framework.parameters
    assert told["greeting"] == ("hello" if framework.has_lifespan else None), "what the lifespan left"


async def test_handlers_publish_and_list_peers(name: str, tmp_path: Path) -> None:
    async with (
        stage(name, tmp_path) as scene,
        scene.join() as ada,
        scene.join() as bob,
        scene.join("/ws/kitchen") as eve,
    ):
        paths = ["/announce", "/announce-from-a-thread"] if FRAMEWORKS[name].has_threads else ["/announce"]
        for path in paths:
            await scene.post(path, f"by {path}")
            assert [await client.receive() for client in (ada, bob, eve)] == [f"by {path}"] * 3
        await ada.send("hello")
        assert await bob.receive() == "hello"
        assert await scene.peers() == {"/ws/lobby": 2, "/ws/kitchen": 1}


async def test_peers_come_by_event_streams_too(name: str, tmp_path: Path) -> None:
    async with stage(name, tmp_path) as scene, scene.join() as witness:
        url = f"{scene.server.url}/ws/lobby"
        async with events.connect(url, headers=scene.credentials) as client:
            await scene.post("/announce", "dinner!")
            assert [await client.receive(), await witness.receive()] == ["dinner!", "dinner!"]
            await client.send("hello")
            assert await witness.receive() == "hello"
            await client.send("tell")
            told = json.loads(await client.receive())
            assert told["path"] == told["namespace"] == "/ws/lobby"
            assert told["root_path"] == FRAMEWORKS[name].root_path
            assert told["user"] == "ada"
        with pytest.raises(HandshakeRefused) as unknown:
            await events.connect(url)
        assert unknown.value.status == 401
        module = await scene.http.get(FRAMEWORKS[name].module)
        assert module.headers["content-type"].startswith("text/javascript")


async def test_refusals_stay_refusals(name: str, tmp_path: Path) -> None:
    framework = FRAMEWORKS[name]
    async with stage(name, tmp_path) as scene:
        with pytest.raises(HandshakeRefused) as banned:
            await scene.join("/ws/banned", **{"x-banned": "1"})
        assert banned.value.status == framework.banned
        assert "upgrade /ws/banned" not in scene.server.output, "no hook was asked"
        with pytest.raises(HandshakeRefused) as unknown:
            await scene.connect("/ws/lobby")
        assert unknown.value.status == (401 if framework.denies else 403)
        if framework.denies:
            assert unknown.value.body == b"log in first"
            assert unknown.value.headers["www-authenticate"] == "Form"
        with pytest.raises(HandshakeRefused) as foreign:
            await scene.join(origin="https://evil.example")
        assert foreign.value.status == 403
        with pytest.raises(HandshakeRefused):
            await scene.join("/elsewhere")
        assert await scene.peers() == {}


async def test_what_a_hook_raises_does_not_reach_the_framework(name: str, tmp_path: Path) -> None:
    framework = FRAMEWORKS[name]
    async with stage(name, tmp_path) as scene, scene.join() as witness:
        async with scene.join() as client:
            await client.send("raise")
            assert await client.wait_closed() == framework.internal_error
        with pytest.raises(HandshakeRefused) as refused:
            await scene.join("/ws/lobby?raise=1")
        assert refused.value.status == (500 if framework.denies else 403)
        assert b"secret" not in refused.value.body
        await scene.post("/announce", "still here")
        assert await witness.receive() == "still here"
        assert await scene.peers() == {"/ws/lobby": 1}
    output = scene.server.output
    for complaint in ("Exception in ASGI", "Error in ASGI", "Exception inside application", "Uncaught exception"):
        assert complaint not in output


async def test_the_application_stops_with_peers_connected(name: str, tmp_path: Path) -> None:
    async with stage(name, tmp_path) as scene:
        clients = [await scene.join() for _ in range(3)]
        await scene.post("/announce", "here")
        assert [await client.receive() for client in clients] == ["here"] * 3
        await scene.server.stop()
        for client in clients:
            await client.wait_closed()
    assert scene.server.process.returncode is not None
    if FRAMEWORKS[name].has_lifespan:
        assert "stopped" in scene.server.output
        assert scene.server.output.count("close /ws/lobby") == 3, "each peer's last hook has run"

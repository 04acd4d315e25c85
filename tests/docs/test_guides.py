"""Every guide shows a chat that works: its code is run, served on a free port, and talked to.

A new guide is a row of `GUIDES`: its page, how to serve what its examples have made, and where its peers are. A guide's
chat sends each message to everybody, the sender included, and its HTTP handlers publish and list peers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

import running
from pages import ROOT, example, run
from serving import served

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

Serve = Callable[[Any], AbstractAsyncContextManager[str]]


@asynccontextmanager
async def tornado(guide: Any) -> AsyncIterator[str]:
    async with running.tornado(guide.app) as url:
        try:
            yield url
        finally:
            await guide.adapter.shutdown()


@asynccontextmanager
async def websockets(guide: Any) -> AsyncIterator[str]:
    async with guide.adapter.serve("127.0.0.1", 0, process_request=guide.pages) as server:
        yield running.address(server.sockets[0])


@dataclass(frozen=True)
class Guide:
    """One page, and what its reader has in the end."""

    page: str
    """Its path below docs/."""
    serve: Serve
    """Serves what the examples have made, a module, and yields the URL."""
    peers: str = "/ws/lobby"
    """Where a client connects."""
    announce: tuple[str, str] = ("POST", "/announce")
    """The method and path of the handler that publishes "dinner!", which is the body of a POST."""
    listing: str = "/peers"
    """Where a GET answers with JSON that says how many peers are in `peers`."""


def typed(page: str, command: str) -> Guide:
    """A guide whose reader has files in the end, and types a command that begins so."""

    @asynccontextmanager
    async def serve(_: Any) -> AsyncIterator[str]:
        lines = [line for line in (ROOT / "docs" / page).read_text().splitlines() if line.startswith(command)]
        assert len(lines) == 1, f"{page} has {len(lines)} lines that begin with {command!r}"
        async with served(lines[0], Path.cwd()) as server:
            yield server.url

    return Guide(page, serve)


GUIDES = [
    Guide("servers/aiohttp.md", lambda guide: running.aiohttp(guide.app)),
    typed("servers/daphne.md", "daphne chat:app"),
    typed("servers/django.md", "daphne mysite.asgi:application"),
    typed("servers/fastapi.md", "uvicorn chat:app"),
    typed("servers/granian.md", "granian chat:app"),
    typed("servers/granian.md", "granian native:app"),
    typed("servers/gunicorn.md", "gunicorn chat:app"),
    typed("servers/hypercorn.md", "hypercorn chat:app"),
    typed("servers/litestar.md", "uvicorn chat:app"),
    Guide("servers/picows.md", lambda guide: running.picows(guide.adapter), announce=("GET", "/announce")),
    typed("servers/quart.md", "hypercorn chat:app"),
    Guide("servers/sanic.md", lambda guide: running.sanic(guide.app)),
    typed("servers/starlette.md", "uvicorn chat:app"),
    Guide("servers/tornado.md", tornado),
    typed("servers/uvicorn.md", "uvicorn chat:app"),
    Guide("servers/websockets.md", websockets, announce=("GET", "/announce")),
]


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.page)
async def test_a_guide_shows_a_chat_that_works(guide: Guide, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = ROOT / "docs" / guide.page
    with example(page, tmp_path, monkeypatch) as module:
        await run(page, module, tmp_path)
        async with guide.serve(module) as url:
            await talk(guide, url)


async def talk(guide: Guide, url: str) -> None:
    connect = running.dialer(url)
    async with connect(guide.peers) as ada, connect(guide.peers) as bob:
        await ada.send("hello")
        assert [await ada.receive(), await bob.receive()] == ["hello", "hello"]
        async with asyncio.timeout(20), httpx.AsyncClient(base_url=url, trust_env=False) as http:
            method, path = guide.announce
            answer = await http.request(method, path, content="dinner!" if method == "POST" else None)
            assert answer.status_code == 200
            assert [await ada.receive(), await bob.receive()] == ["dinner!", "dinner!"]
            assert (await http.get(guide.listing)).json() == {guide.peers: 2}


def test_every_guide_of_a_server_is_tried() -> None:
    pages = {f"servers/{path.name}" for path in (ROOT / "docs" / "servers").glob("*.md")}
    assert pages - {"servers/README.md"} <= {guide.page for guide in GUIDES}


def test_every_guide_of_a_server_is_in_the_table() -> None:
    folder = ROOT / "docs" / "servers"
    table = (folder / "README.md").read_text()
    assert [
        path.name for path in folder.glob("*.md") if path.name != "README.md" and f"({path.name})" not in table
    ] == []

"""The adapter contract in a Sanic application, and what is special there."""

from __future__ import annotations

import uuid
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import httpx
import pytest
from sanic import Blueprint, HTTPResponse, Request, Sanic, text

import running
from crosspeer import Hub, Server
from crosspeer.adapters.sanic import CAPABILITIES, Adapter
from crosspeer.testing import HandshakeRefused
from crosspeer.testing.contracts import AdapterContract
from crosspeer.testing.contracts.harness import Recorder, talk

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from crosspeer import Message, Peer
    from crosspeer.testing.contracts.harness import Connect


class Harness:
    capabilities = CAPABILITIES

    @asynccontextmanager
    async def serve(self, hub: Hub) -> AsyncIterator[Connect]:
        async with running.SERVERS["sanic"](hub) as url:
            yield running.dialer(url)


class TestSanic(AdapterContract):
    column = "sanic"

    @pytest.fixture
    def harness(self) -> Harness:
        return Harness()


class Echo(Recorder):
    def message(self, peer: Peer, message: Message) -> None:
        peer.send(message.data)


@pytest.fixture
def app() -> Iterator[Sanic]:
    made = Sanic(f"test-{uuid.uuid4().hex}")
    yield made
    Sanic.unregister_app(made)


async def test_a_middleware_refuses_before_any_hook(app: Sanic) -> None:
    @app.on_request
    async def members_only(request: Request) -> HTTPResponse | None:
        return None if "member" in request.cookies else text("members only", 401, {"x-why": "no cookie"})

    echo = Echo()
    Adapter(echo).attach(app, "/ws/<room:str>")
    async with running.sanic(app) as url:
        connect = running.dialer(url)
        with pytest.raises(HandshakeRefused) as refused:
            await connect("/ws/lobby")
        assert (refused.value.status, refused.value.body) == (401, b"members only")
        assert refused.value.headers["x-why"] == "no cookie"
        assert echo.events == []
        async with connect("/ws/lobby", headers={"cookie": "member=1"}) as client:
            await talk(client, client)
        with pytest.raises(HandshakeRefused) as refused:
            await connect("/elsewhere", headers={"cookie": "member=1"})
        assert refused.value.status == 404


async def test_routes_and_blueprints_share_a_hub_beside_ordinary_handlers(app: Sanic) -> None:
    @app.get("/page")
    async def page(request: Request) -> HTTPResponse:
        return text("a page")

    echo = Echo()
    adapter = Adapter(Hub(echo))
    part = Blueprint("part", url_prefix="/part")
    adapter.attach(part, "/ws")
    app.blueprint(part)
    adapter.attach(app, "/ws")
    async with running.sanic(app) as url, httpx.AsyncClient(base_url=url, trust_env=False) as http:
        assert (await http.get("/ws")).status_code == 426
        async with running.dialer(url)("/ws") as one, running.dialer(url)("/part/ws") as two:
            await talk(one, two)
            assert (await http.get("/page")).text == "a page"
            assert {peer.namespace for peer in echo.peers} == {"/ws", "/part/ws"}


async def test_under_an_asgi_server_it_says_what_to_do(app: Sanic) -> None:
    Adapter(Echo()).attach(app, "/ws")
    app.config.TOUCHUP = False
    async with Server(app, port=0) as server, httpx.AsyncClient(base_url=server.url, trust_env=False) as http:
        answer = await http.get("/ws", headers={"accept": "text/plain"})
        assert answer.status_code == 500
        assert "crosspeer.adapters.asgi" in answer.text

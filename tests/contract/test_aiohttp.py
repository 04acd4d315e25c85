"""The adapter contract in an aiohttp application, and what is special there."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from aiohttp import web

import running
from crosspeer import Hub
from crosspeer.adapters.aiohttp import CAPABILITIES, Adapter
from crosspeer.testing import HandshakeRefused
from crosspeer.testing.contracts import AdapterContract
from crosspeer.testing.contracts.harness import Recorder, talk

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from crosspeer import Message, Peer
    from crosspeer.testing.contracts.harness import Connect


class Harness:
    capabilities = CAPABILITIES

    @asynccontextmanager
    async def serve(self, hub: Hub) -> AsyncIterator[Connect]:
        async with running.SERVERS["aiohttp"](hub) as url:
            yield running.dialer(url)


class TestAiohttp(AdapterContract):
    column = "aiohttp"

    @pytest.fixture
    def harness(self) -> Harness:
        return Harness()


class Echo(Recorder):
    def message(self, peer: Peer, message: Message) -> None:
        peer.send(message.data)


async def test_a_middleware_refuses_before_any_hook_and_signals_reach_the_101() -> None:
    @web.middleware
    async def members_only(request: web.Request, handler: Any) -> web.StreamResponse:
        if "member" not in request.cookies:
            return web.Response(status=401, text="members only", headers={"x-why": "no cookie"})
        return await handler(request.clone(remote="192.0.2.7"))

    async def sign(request: web.Request, response: web.StreamResponse) -> None:
        response.headers["x-signed"] = "yes"

    echo = Echo()
    app = web.Application(middlewares=[members_only])
    app.on_response_prepare.append(sign)
    Adapter(echo).attach(app, "/ws/{room}")
    async with running.aiohttp(app) as url:
        connect = running.dialer(url)
        with pytest.raises(HandshakeRefused) as refused:
            await connect("/ws/lobby")
        assert (refused.value.status, refused.value.body) == (401, b"members only")
        assert refused.value.headers["x-why"] == "no cookie"
        assert echo.events == []
        async with connect("/ws/lobby", headers={"cookie": "member=1"}) as client:
            await talk(client, client)
            assert client.headers["x-signed"] == "yes"
            assert echo.peers[0].remote_address == "192.0.2.7", "as the middleware says that it trusts"
        with pytest.raises(HandshakeRefused) as refused:
            await connect("/elsewhere", headers={"cookie": "member=1"})
        assert refused.value.status == 404


async def test_applications_and_routes_share_a_hub() -> None:
    echo = Echo()
    adapter = Adapter(Hub(echo))
    app, part = web.Application(), web.Application()
    part.router.add_get("/ws", adapter.handler)
    app.add_subapp("/part", part)
    adapter.attach(app, "/ws")
    async with (
        running.aiohttp(app) as url,
        running.dialer(url)("/ws") as one,
        running.dialer(url)("/part/ws") as two,
    ):
        await talk(one, two)
        assert {peer.namespace for peer in echo.peers} == {"/ws", "/part/ws"}


async def test_plain_http_goes_on_after_a_refusal_and_a_peer() -> None:
    app = web.Application()
    Adapter(Echo()).attach(app, "/ws")
    app.router.add_get("/page", page)
    async with running.aiohttp(app) as url, httpx.AsyncClient(base_url=url, trust_env=False) as http:
        assert (await http.get("/ws")).status_code == 426
        async with running.dialer(url)("/ws") as client:
            await talk(client, client)
            assert (await http.get("/page")).text == "a page"


async def page(request: web.Request) -> web.Response:
    return web.Response(text="a page")

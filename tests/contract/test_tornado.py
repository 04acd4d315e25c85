"""The adapter contract in a Tornado application, and what is special there."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import httpx
import pytest
from tornado.web import Application, RequestHandler

import running
from crosspeer import Hub
from crosspeer.adapters.tornado import CAPABILITIES, Adapter
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
        async with running.SERVERS["tornado"](hub) as url:
            yield running.dialer(url)


class TestTornado(AdapterContract):
    column = "tornado"

    @pytest.fixture
    def harness(self) -> Harness:
        return Harness()


class Echo(Recorder):
    def message(self, peer: Peer, message: Message) -> None:
        peer.send(message.data)


async def test_prepare_refuses_before_any_hook_and_default_headers_stand_on_the_101() -> None:
    echo = Echo()
    adapter = Adapter(echo)

    class Members(adapter.handler):  # type: ignore[name-defined,misc]
        def set_default_headers(self) -> None:
            self.set_header("x-signed", "yes")

        def prepare(self) -> None:
            if not self.get_cookie("member"):
                self.set_status(401)
                self.set_header("x-why", "no cookie")
                self.finish("members only")

    async with running.tornado(Application([(r"/ws/.*", Members)])) as url:
        connect = running.dialer(url)
        with pytest.raises(HandshakeRefused) as refused:
            await connect("/ws/lobby")
        assert (refused.value.status, refused.value.body) == (401, b"members only")
        assert refused.value.headers["x-why"] == "no cookie"
        assert echo.events == []
        async with connect("/ws/lobby", headers={"cookie": "member=1"}) as client:
            await talk(client, client)
            assert client.headers["x-signed"] == "yes"
        with pytest.raises(HandshakeRefused) as refused:
            await connect("/elsewhere")
        assert refused.value.status == 404
        await adapter.shutdown()


async def test_several_rules_share_a_hub_beside_ordinary_handlers() -> None:
    class Page(RequestHandler):
        def get(self) -> None:
            self.write("a page")

    echo = Echo()
    adapter = Adapter(Hub(echo))
    app = Application([adapter.rule(r"/ws"), (r"/other", adapter.handler), (r"/page", Page)])
    async with running.tornado(app) as url, httpx.AsyncClient(base_url=url, trust_env=False) as http:
        assert (await http.get("/ws")).status_code == 426
        async with running.dialer(url)("/ws") as one, running.dialer(url)("/other") as two:
            await talk(one, two)
            assert (await http.get("/page")).text == "a page"
            assert {peer.namespace for peer in echo.peers} == {"/ws", "/other"}
        await adapter.shutdown()

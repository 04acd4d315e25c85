"""The adapter contract on a picows server, and what is special there."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import httpx
import pytest
from picows import WSUpgradeRequest, WSUpgradeResponse, WSUpgradeResponseWithListener, ws_create_server

import running
from crosspeer import Hub
from crosspeer.adapters.picows import CAPABILITIES, Adapter
from crosspeer.testing import HandshakeRefused
from crosspeer.testing.contracts import AdapterContract
from crosspeer.testing.contracts.harness import Recorder, talk
from raw import Raw, handshake

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from crosspeer import Message, Peer
    from crosspeer.testing.contracts.harness import Connect


class Harness:
    capabilities = CAPABILITIES

    @asynccontextmanager
    async def serve(self, hub: Hub) -> AsyncIterator[Connect]:
        async with running.SERVERS["picows"](hub) as url:
            yield running.dialer(url)


class TestPicows(AdapterContract):
    column = "picows"

    @pytest.fixture
    def harness(self) -> Harness:
        return Harness()


class Echo(Recorder):
    def message(self, peer: Peer, message: Message) -> None:
        peer.send(message.data)


async def test_a_factory_of_the_user_refuses_before_any_hook() -> None:
    echo = Echo()
    adapter = Adapter(Hub(echo))

    def factory(request: WSUpgradeRequest) -> WSUpgradeResponseWithListener | None:
        if "cookie" not in request.headers:
            refusal = WSUpgradeResponse.create_error_response(401, b"members only", {"x-why": "no cookie"})
            return WSUpgradeResponseWithListener(refusal, None)
        return adapter(request)

    server = await ws_create_server(factory, "127.0.0.1", 0, **adapter.options())
    try:
        connect = running.dialer(running.address(server.sockets[0]))
        with pytest.raises(HandshakeRefused) as refused:
            await connect("/")
        assert (refused.value.status, refused.value.body) == (401, b"members only")
        assert echo.events == []
        client = await connect("/", headers={"cookie": "member=1"})
        await talk(client, client)
    finally:
        server.close()
        await adapter.shutdown()
    assert await client.wait_closed() == 1012


async def test_plain_http_is_answered_beside_peers() -> None:
    def pages(request: WSUpgradeRequest) -> WSUpgradeResponse | None:
        return WSUpgradeResponse.create_ok_response(b"a page") if request.path == b"/page" else None

    async with running.picows(Adapter(Echo(), http=pages)) as url:
        async with httpx.AsyncClient(base_url=url, trust_env=False) as http:
            assert (await http.get("/page")).text == "a page"
            assert (await http.get("/elsewhere")).status_code == 404
        async with running.dialer(url)("/page") as client:
            await talk(client, client)
    async with running.picows(Adapter(Echo())) as url, httpx.AsyncClient(base_url=url, trust_env=False) as http:
        assert (await http.get("/page")).status_code == 426


async def test_the_handshake_of_firefox() -> None:
    """Its Connection header has two tokens; picows by itself refuses that."""
    async with running.picows(Adapter(Echo())) as url, Raw(url) as client:
        client.send(handshake().replace(b"Connection: Upgrade", b"Connection: keep-alive, Upgrade"))
        status, _ = await client.head()
        assert status == 101

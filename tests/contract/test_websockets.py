"""The adapter contract on the server of `websockets`, and what is special there."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from websockets.asyncio.server import basic_auth, serve

import running
from crosspeer import Hub
from crosspeer.adapters.websockets import CAPABILITIES, Adapter
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
        async with running.SERVERS["websockets"](hub) as url:
            yield running.dialer(url)


class TestWebsockets(AdapterContract):
    column = "websockets"

    @pytest.fixture
    def harness(self) -> Harness:
        return Harness()


class Echo(Recorder):
    def message(self, peer: Peer, message: Message) -> None:
        peer.send(message.data)


async def test_a_process_request_of_the_user_refuses_before_any_hook() -> None:
    echo = Echo()
    login = basic_auth(realm="chat", credentials=("ada", "lovelace"))
    async with Adapter(echo).serve("127.0.0.1", 0, process_request=login) as server:
        connect = running.dialer(running.address(server.sockets[0]))
        with pytest.raises(HandshakeRefused) as refused:
            await connect("/")
        assert refused.value.status == 401
        assert refused.value.headers["www-authenticate"].startswith('Basic realm="chat"')
        assert echo.events == []
        async with connect("/", headers={"authorization": "Basic YWRhOmxvdmVsYWNl"}) as client:
            await talk(client, client)


async def test_the_server_of_the_library_itself_closes_with_1001() -> None:
    echo = Echo()
    adapter = Adapter(Hub(echo))
    async with serve(adapter, "127.0.0.1", 0, **adapter.options()) as server:
        client = await running.dialer(running.address(server.sockets[0]))("/")
        await talk(client, client)
    assert [(details.code, details.was_clean) for details in echo.of("close")] == [(1001, True)]
    assert await client.wait_closed() == 1001
    assert adapter.hub.connections == 0


async def test_without_its_options_it_says_what_to_do(caplog: pytest.LogCaptureFixture) -> None:
    async with serve(Adapter(Echo()), "127.0.0.1", 0) as server:
        client = await running.dialer(running.address(server.sockets[0]))("/")
        assert await client.wait_closed() == 1011
    assert "adapter.options()" in caplog.text

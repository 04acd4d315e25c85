"""The adapter contract on the default server with its engines, and on the ASGI adapter under a plain uvicorn."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import uvicorn

from crosspeer import Hub, Server
from crosspeer.adapters import asgi
from crosspeer.core.transport import Capabilities
from crosspeer.testing import sockets
from crosspeer.testing.contracts import AdapterContract

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from crosspeer.testing.contracts.harness import Connect


def dialer(url: str) -> Connect:
    def connect(path: str = "/", **options: Any) -> sockets.connect:
        return sockets.connect(url.replace("http", "ws", 1) + path, **options)

    return connect


class ServerHarness:
    capabilities = Capabilities()

    def __init__(self, engine: str) -> None:
        self.engine = engine

    @asynccontextmanager
    async def serve(self, hub: Hub) -> AsyncIterator[Connect]:
        async with Server(hub, port=0, engine=self.engine, shutdown_timeout=5) as server:
            yield dialer(server.url)


class UvicornHarness:
    """A server that knows nothing of crosspeer, as a user runs it."""

    capabilities = asgi.PLAIN

    def __init__(self, ws: str) -> None:
        self.ws = ws

    @asynccontextmanager
    async def serve(self, hub: Hub) -> AsyncIterator[Connect]:
        listener = socket.create_server(("127.0.0.1", 0))
        config = uvicorn.Config(asgi.Adapter(hub), ws=self.ws, log_config=None, timeout_graceful_shutdown=2)
        server = uvicorn.Server(config)
        running = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started:
            await asyncio.sleep(0.005)
        try:
            yield dialer(f"http://127.0.0.1:{listener.getsockname()[1]}")
        finally:
            server.should_exit = True
            await running


class TestPythonEngine(AdapterContract):
    @pytest.fixture
    def harness(self) -> ServerHarness:
        return ServerHarness("python")


class TestServerOnUvicorn(AdapterContract):
    @pytest.fixture
    def harness(self) -> ServerHarness:
        return ServerHarness("uvicorn")


class TestPlainUvicorn(AdapterContract):
    @pytest.fixture
    def harness(self) -> UvicornHarness:
        return UvicornHarness("websockets-sansio")


class TestNativeEngine(AdapterContract):
    @pytest.fixture
    def harness(self) -> ServerHarness:
        pytest.importorskip("crosspeer_engine", reason="the native engine is not built here: it needs cargo")
        return ServerHarness("native")

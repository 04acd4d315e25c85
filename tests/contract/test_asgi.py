"""The adapter contract on the default server, with each of its engines."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from crosspeer import Hub, Server
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


class TestPythonEngine(AdapterContract):
    column = "Python engine"

    @pytest.fixture
    def harness(self) -> ServerHarness:
        return ServerHarness("python")


class TestServerOnUvicorn(AdapterContract):
    column = "uvicorn engine"

    @pytest.fixture
    def harness(self) -> ServerHarness:
        return ServerHarness("uvicorn")


class TestNativeEngine(AdapterContract):
    column = "native engine"

    @pytest.fixture
    def harness(self) -> ServerHarness:
        pytest.importorskip("crosspeer_engine", reason="the native engine is not built here: it needs cargo")
        return ServerHarness("native")

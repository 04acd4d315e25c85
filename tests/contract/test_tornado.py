"""The adapter contract in a Tornado application, and what is special there."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from tornado.web import Application, RequestHandler

import running
from crosspeer.adapters.tornado import CAPABILITIES, Adapter
from crosspeer.testing.contracts import AdapterContract

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from crosspeer import Hub
    from crosspeer.testing.contracts.harness import Connect


class Harness:
    capabilities = CAPABILITIES

    @asynccontextmanager
    async def serve(self, hub: Hub) -> AsyncIterator[Connect]:
        adapter = Adapter(hub, shutdown_timeout=running.SHUTDOWN)
        async with running.tornado(Application([adapter.rule(r"/.*")])) as url:
            yield running.dialer(url)
            await adapter.shutdown()


class TestTornado(AdapterContract):
    column = "tornado"

    @pytest.fixture
    def harness(self) -> Harness:
        return Harness()

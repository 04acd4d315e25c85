"""The adapter contract in an aiohttp application, and what is special there."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

import running
from crosspeer.adapters.aiohttp import CAPABILITIES, Adapter
from crosspeer.testing.contracts import AdapterContract

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from crosspeer import Hub
    from crosspeer.testing.contracts.harness import Connect


class Harness:
    capabilities = CAPABILITIES

    @asynccontextmanager
    async def serve(self, hub: Hub) -> AsyncIterator[Connect]:
        app = web.Application()
        Adapter(hub, shutdown_timeout=running.SHUTDOWN).attach(app, "/{tail:.*}")
        async with running.aiohttp(app) as url:
            yield running.dialer(url)


class TestAiohttp(AdapterContract):
    column = "aiohttp"

    @pytest.fixture
    def harness(self) -> Harness:
        return Harness()

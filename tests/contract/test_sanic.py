"""The adapter contract in a Sanic application, and what is special there."""

from __future__ import annotations

import uuid
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from sanic import Sanic

import running
from crosspeer.adapters.sanic import CAPABILITIES, Adapter
from crosspeer.testing.contracts import AdapterContract

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from crosspeer import Hub
    from crosspeer.testing.contracts.harness import Connect


class Harness:
    capabilities = CAPABILITIES

    @asynccontextmanager
    async def serve(self, hub: Hub) -> AsyncIterator[Connect]:
        app = Sanic(f"contract-{uuid.uuid4().hex}")
        adapter = Adapter(hub, shutdown_timeout=running.SHUTDOWN)
        adapter.attach(app, "/", name="root")
        adapter.attach(app, "/<path:path>")
        async with running.sanic(app) as url:
            yield running.dialer(url)


class TestSanic(AdapterContract):
    column = "sanic"

    @pytest.fixture
    def harness(self) -> Harness:
        return Harness()

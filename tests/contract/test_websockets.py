"""The adapter contract on the server of `websockets`, and what is special there."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

import running
from crosspeer.adapters.websockets import CAPABILITIES
from crosspeer.testing.contracts import AdapterContract

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from crosspeer import Hub
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

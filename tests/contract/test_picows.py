"""The adapter contract on a picows server, and what is special there."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

import running
from crosspeer.adapters.picows import CAPABILITIES
from crosspeer.testing.contracts import AdapterContract

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from crosspeer import Hub
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

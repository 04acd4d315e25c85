"""The adapter contract in memory: the reference."""

from __future__ import annotations

import functools
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from crosspeer.core.transport import Capabilities
from crosspeer.testing import connect
from crosspeer.testing.contracts import AdapterContract

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from crosspeer import Hub
    from crosspeer.testing.contracts.harness import Connect


class MemoryHarness:
    capabilities = Capabilities()

    @asynccontextmanager
    async def serve(self, hub: Hub) -> AsyncIterator[Connect]:
        yield functools.partial(connect, hub)


class TestMemory(AdapterContract):
    @pytest.fixture
    def harness(self) -> MemoryHarness:
        return MemoryHarness()

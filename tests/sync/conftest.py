from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from backplanes import BROKERS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from backplanes import Broker


@pytest.fixture(params=list(BROKERS))
async def broker(request: pytest.FixtureRequest) -> AsyncIterator[Broker]:
    async with BROKERS[request.param]() as broker:
        yield broker

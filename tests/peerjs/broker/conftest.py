from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from brokers import Clients, HandClock
from crosspeer.peerjs import PeerServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
async def make(clock: HandClock) -> AsyncIterator[Callable[..., Clients]]:
    """Make a broker on the clock that is moved by hand, and clients for it."""
    made: list[Clients] = []

    def make(**options: Any) -> Clients:
        made.append(Clients(PeerServer(clock=clock, **options)))
        return made[-1]

    yield make
    for clients in made:
        await clients.close()
        assert clients.broker.metrics.registered == 0, "who is gone is not registered any more"


@pytest.fixture
def clients(make: Callable[..., Clients]) -> Clients:
    """Clients of a broker with all its defaults."""
    return make()

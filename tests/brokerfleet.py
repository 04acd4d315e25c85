"""Brokers of one fleet in one process, each with clients in memory."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from brokers import Clients
from crosspeer.peerjs import PeerServer
from fleet import relay_of, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from backplanes import Broker
    from crosspeer.sync import Relay

SOON = {"expire_timeout": 0.3, "cleanup_out_msgs": 0.05}
"""Options of a broker that does not wait long for absent peers."""


def relay(node: Clients) -> Relay:
    """A node's way to the others."""
    return relay_of(node.broker.hub)


@asynccontextmanager
async def nodes(backplane: Broker | str, count: int = 2, **options: Any) -> AsyncIterator[list[Clients]]:
    """Brokers that know each other."""
    url = backplane if isinstance(backplane, str) else backplane.url
    made = [Clients(PeerServer(sync=url, **options)) for _ in range(count)]
    try:
        await asyncio.gather(*(relay(node).start() for node in made))
        await until(lambda: all(node.broker.metrics.nodes == count for node in made))
        yield made
    finally:
        for node in made:
            await stop(node)


async def stop(node: Clients) -> None:
    await node.close()
    await node.broker.hub.close()


async def known(id: str, *to: Clients) -> None:
    """Wait until these know where an id is on another node, and reach that."""
    await until(lambda: all(fleet_of(node).carrier.place(id) for node in to))


async def forgotten(id: str, *by: Clients) -> None:
    """Wait until none of these thinks that another node has an id."""
    await until(lambda: not any(fleet_of(node).knows(id) for node in by))


def fleet_of(node: Clients) -> Any:
    return node.broker._state.fleet

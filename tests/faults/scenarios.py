"""What is done to a fleet while its clients talk. Each leaves it as it was, after about so many seconds."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from faults.rig import Fleet

Scenario = Callable[["Fleet"], Awaitable[None]]

DOWN: Final = 2.0
"""Seconds that a backplane is down, a client is cut off."""
PERIOD: Final = 10.0
"""Seconds from one cut of all clients to the next."""
NOTICED_WITHIN: Final = 10.0
"""Seconds in which a node has to say that it cannot reach the others (rows F4 and F5)."""


def _random(fleet: Fleet) -> random.Random:
    return random.Random(fleet.plan.seed)


async def none(fleet: Fleet) -> None:
    """Nothing: a fleet that is left alone."""
    await asyncio.sleep(fleet.plan.seconds)


async def kill_node(fleet: Fleet) -> None:
    """`kill -9` of a node; a new one takes its place later (F1)."""
    third = fleet.plan.seconds / 3
    await asyncio.sleep(third)
    node = _random(fleet).choice(fleet.nodes)
    await node.kill()
    await fleet.moved()
    await asyncio.sleep(third)
    await node.start()
    await fleet.moved()
    await asyncio.sleep(third)


async def restart_kept(fleet: Fleet) -> None:
    """The backplane dies and comes back with its data (F2, F3)."""
    await _restart(fleet, lose=False)


async def restart_lost(fleet: Fleet) -> None:
    """The backplane dies and comes back without its data."""
    await _restart(fleet, lose=True)


async def _restart(fleet: Fleet, *, lose: bool) -> None:
    rest = max(1.0, fleet.plan.seconds - DOWN)
    await asyncio.sleep(rest / 2)
    await fleet.broker.kill()
    if lose:
        fleet.broker.lose()
    await asyncio.sleep(DOWN)
    await fleet.broker.start()
    await asyncio.sleep(rest / 2)


async def partition(fleet: Fleet) -> None:
    """One node is cut off from the backplane, while its clients reach it (F5)."""
    quarter = fleet.plan.seconds / 4
    await asyncio.sleep(quarter)
    node = _random(fleet).choice(fleet.nodes)
    assert node.way is not None
    node.way.is_down = True
    node.way.cut()
    seconds = await fleet.degraded(node)
    assert seconds < NOTICED_WITHIN, f"the node said nothing for {seconds:.1f} s"
    await asyncio.sleep(2 * quarter)
    node.way.heal()
    await asyncio.sleep(quarter)


async def half_open(fleet: Fleet) -> None:
    """The connection of one node to the backplane stays open, and nothing moves (F4)."""
    quarter = fleet.plan.seconds / 4
    await asyncio.sleep(quarter)
    node = _random(fleet).choice(fleet.nodes)
    assert node.way is not None
    node.way.blackhole()
    seconds = await fleet.degraded(node)
    assert seconds < NOTICED_WITHIN, f"the node said nothing for {seconds:.1f} s"
    node.way.heal()
    await asyncio.sleep(2 * quarter)


async def cut_clients(fleet: Fleet) -> None:
    """All clients are cut off for two seconds, again and again (F15)."""
    pause = max(0.5, min(PERIOD, fleet.plan.seconds / 2) - DOWN)
    for _ in range(max(1, round(fleet.plan.seconds / (pause + DOWN)))):
        await asyncio.sleep(pause)
        await fleet.tell("cut", DOWN)
        await asyncio.sleep(DOWN)
    await asyncio.sleep(pause)


async def rolling_restart(fleet: Fleet) -> None:
    """One node after the other is stopped politely and started again (F14)."""
    pause = fleet.plan.seconds / (len(fleet.nodes) + 1)
    for node in fleet.nodes:
        await asyncio.sleep(pause)
        await node.stop()
        await fleet.moved()
        await node.start()
        await fleet.moved()
    await asyncio.sleep(pause)


SCENARIOS: Final[dict[str, Scenario]] = {
    "none": none,
    "kill-node": kill_node,
    "restart-kept": restart_kept,
    "restart-lost": restart_lost,
    "partition": partition,
    "half-open": half_open,
    "cut-clients": cut_clients,
    "rolling-restart": rolling_restart,
}


def fits(name: str, backend: str) -> bool:
    """Whether a fault can befall a backplane: the local one is no server, and PostgreSQL loses nothing."""
    if backend == "local":
        return name in ("none", "kill-node", "cut-clients", "rolling-restart")
    return not (name == "restart-lost" and backend == "postgres")

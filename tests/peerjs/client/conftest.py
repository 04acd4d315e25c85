from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from crosspeer.peerjs.rtc.choose import NAMES
from peers import Peers, ScriptedBroker, own_broker, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture(params=NAMES)
def engine(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
async def broker() -> AsyncIterator[dict[str, Any]]:
    async with own_broker() as where:
        yield where


@pytest.fixture
async def peers(broker: dict[str, Any]) -> AsyncIterator[Peers]:
    """Peers of the engine that is preferred."""
    peers = Peers(broker)
    try:
        yield peers
    finally:
        await peers.destroy()
    await until(nothing_runs)


@pytest.fixture
async def engine_peers(broker: dict[str, Any], engine: str) -> AsyncIterator[Peers]:
    """Peers of each engine in turn."""
    peers = Peers({**broker, "engine": engine})
    try:
        yield peers
    finally:
        await peers.destroy()
    await until(nothing_runs)


@pytest.fixture
async def scripted() -> AsyncIterator[ScriptedBroker]:
    async with ScriptedBroker().running() as broker:
        yield broker


@pytest.fixture
async def scripted_peers(scripted: ScriptedBroker) -> AsyncIterator[Peers]:
    peers = Peers(scripted.where)
    try:
        yield peers
    finally:
        await peers.destroy()
    await until(nothing_runs)


def nothing_runs() -> bool:
    """No task of the client is left."""
    return not any("crosspeer/peerjs/client" in task.get_coro().cr_code.co_filename for task in tasks())  # type: ignore[union-attr]


def tasks() -> list[asyncio.Task[Any]]:
    return [task for task in asyncio.all_tasks() if hasattr(task.get_coro(), "cr_code")]

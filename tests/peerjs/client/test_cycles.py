"""Connections that come and go leave nothing behind: no memory, descriptors, threads or tasks."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

from crosspeer.peerjs import BrokerLimits
from peers import own_broker

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="what a process holds is read from /proc")

SCRIPT = Path(__file__).parents[2] / "cycling.py"
MUCH = 1_000_000
LIMITS = BrokerLimits(relay_rate=MUCH, relay_burst=MUCH, strangers_per_minute=MUCH, strangers_burst=MUCH)
"""Hundreds of connections in a row are no honest client."""


async def held_after(engine: str, *counts: int) -> list[dict[str, int]]:
    """What a process of its own holds after so many connections, and so many more."""
    async with own_broker(limits=LIMITS) as where:
        command = [sys.executable, str(SCRIPT), engine, where["host"], str(where["port"]), *map(str, counts)]
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        try:
            output, errors = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    assert process.returncode == 0, errors.decode()
    assert errors == b""
    return [json.loads(line) for line in output.splitlines()]


async def test_some_connections_leave_nothing(engine: str) -> None:
    before, after = await held_after(engine, 10, 40)
    for name in ("descriptors", "threads", "tasks"):
        assert after[name] <= before[name], f"{name}: {before} {after}"
    assert after["objects"] - before["objects"] < 40 * 20, f"{before} {after}"


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_five_hundred_connections_leave_nothing(engine: str) -> None:
    # The allocator takes its time to find out how much such connections need: some hundreds of them.
    before, after = await held_after(engine, 500, 500)
    for name in ("descriptors", "threads", "tasks"):
        assert after[name] <= before[name], f"{name}: {before} {after}"
    assert after["objects"] - before["objects"] < 500, f"{before} {after}"
    assert after["kib"] - before["kib"] < 4096, f"{before} {after}"

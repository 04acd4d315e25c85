"""A process that opens and closes data connections, one after the other, and says what it holds in between.

    python tests/cycling.py ENGINE HOST PORT COUNT [COUNT ...]

After each COUNT of them it prints a line of JSON.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from crosspeer.peerjs import Peer

DEADLINE = 30.0
SETTLING = 5.0
"""Seconds that engines get to give back what they still have of the last connection."""


async def main(engine: str, host: str, port: str, *counts: str) -> None:
    options: dict[str, Any] = {"host": host, "port": int(port), "config": {"iceServers": []}, "engine": engine}
    async with Peer("alice", **options) as alice, Peer("bob", **options) as bob:
        before: dict[str, int] = {}
        for count in counts:
            for turn in range(int(count)):
                async with asyncio.timeout(DEADLINE):
                    await cycle(alice, bob, turn)
            before = await settled(before)
            sys.stdout.write(json.dumps(before) + "\n")


async def cycle(alice: Peer, bob: Peer, turn: int) -> None:
    """A connection that carries a message each way and is closed: by the caller, by the called one, with a flush."""
    incoming = bob.incoming()
    here = await alice.connect("bob")
    there = await anext(incoming)
    await incoming.aclose()
    await here.send({"turn": turn, "data": b"x" * 20_000})
    await there.send(await there.receive())
    assert (await here.receive())["turn"] == turn
    closing, other = (here, there) if turn % 2 else (there, here)
    gone = asyncio.Event()
    other.on("close", gone.set)
    await closing.close(flush=turn % 3 == 0)
    await gone.wait()
    await other.close()
    assert (alice.connections, bob.connections) == ({}, {})


async def settled(before: dict[str, int]) -> dict[str, int]:
    """What the process holds, as soon as it is no more than before, or does not become less for long."""
    end = time.monotonic() + SETTLING
    while True:
        gc.collect()
        now = held()
        is_less = all(now[name] <= before.get(name, now[name]) for name in ("descriptors", "threads", "tasks"))
        if is_less or time.monotonic() > end:
            return now
        await asyncio.sleep(0.05)


def held() -> dict[str, int]:
    status = Path("/proc/self/status").read_text()
    found = dict(line.split(":", 1) for line in status.splitlines())
    return {
        "kib": int(found["VmRSS"].split()[0]),
        "threads": int(found["Threads"]),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "tasks": len(asyncio.all_tasks()),
        "objects": len(gc.get_objects()),
    }


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

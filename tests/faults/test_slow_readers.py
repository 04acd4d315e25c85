"""F7: readers that stop, and readers that are slow, among others who are served as if they were not there."""

from __future__ import annotations

import json
import socket
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from crowd import DEADLINE, Client, Crowd, descriptors
from faults.watching import MIB, Watched
from hostile.stage import ENGINES, needed
from process import Command, serving
from raw import handshake

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc and uses epoll")

PIECE: Final = 16_000
ROUND: Final = 8
"""Messages between two looks at the readers."""
ROUNDS: Final = 12
"""Together 1.5 MB for each reader: more than a queue of 1 MiB and what the system holds."""

HALL: Final = """
from collections import Counter
from crosspeer import Hooks, Hub, Limits

class Hall(Hooks):
    closed = Counter()

    def open(self, peer):
        if peer.namespace == "/crowd":
            peer.subscribe("news")
        peer.send("ready")

    def message(self, peer, message):
        if peer.namespace == "/speaker":
            size, count = message.json()
            for _ in range(count):
                hub.publish("news", b"x" * size)
        elif message.data == "report":
            peer.send(self.closed)
        else:
            peer.send(message.data)

    def close(self, peer, details):
        self.closed[str(details.code)] += 1

hub = Hub(Hall(), limits=Limits(close_timeout=1, ping_interval=3600, ping_timeout=3600))
"""


@asynccontextmanager
async def hall(engine: str, folder: Path) -> AsyncIterator[tuple[Command, tuple[str, int]]]:
    (folder / "hall.py").write_text(HALL)
    async with serving("hall:hub", "--engine", engine, cwd=folder) as server:
        yield server, ("127.0.0.1", int(server.url.rpartition(":")[2]))


@contextmanager
def stalled(address: tuple[str, int], count: int) -> Iterator[list[socket.socket]]:
    """Clients with little room that have read their greeting and read no more."""
    sockets: list[socket.socket] = []
    try:
        for _ in range(count):
            client = socket.socket()
            sockets.append(client)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.settimeout(DEADLINE)
            client.connect(address)
            client.sendall(handshake("/crowd"))
            greeting = b""
            while not greeting.endswith(b"ready"):
                greeting += client.recv(1)
        yield sockets
    finally:
        for client in sockets:
            client.close()


def report(client: Client) -> dict[str, int]:
    """How many peers were closed with each code."""
    client.say("report")
    head = client._receive(2)
    text = b""
    while len(text) < head[1]:
        text += client._receive(head[1] - len(text))
    found: dict[str, int] = json.loads(text)
    return found


async def stall(engine: str, folder: Path, readers: int, sleepers: int) -> dict[str, Any]:
    """Publish to readers and sleepers: what it took."""
    frame = b"\x82\x7e" + PIECE.to_bytes(2, "big") + b"x" * PIECE
    with descriptors(readers + sleepers):
        async with hall(engine, folder) as (server, address):
            watched = Watched(server.process.pid)
            speaker, other = Client(address, "/speaker").opened(), Client(address, "/other").opened()
            crowd = Crowd(address, "/crowd", readers)
            try:
                with stalled(address, sleepers):
                    quiet = max(other.echo(f"quiet {number}") for number in range(ROUNDS))
                    before, most, echoes = watched.resident(), 0, []
                    for _ in range(ROUNDS):
                        speaker.say(json.dumps([PIECE, ROUND]))
                        echoes.append(other.echo("still here?"))
                        crowd.hear(frame * ROUND)
                        most = max(most, watched.resident())
                    end = time.monotonic() + DEADLINE
                    while (closed := report(other)) != {"1013": sleepers}:
                        # Each has a moment to answer our close frame.
                        assert time.monotonic() < end, closed
                        time.sleep(0.05)
                    return {
                        "grown": (most - before) / MIB,
                        "echo": max(echoes) * 1000,
                        "quiet": quiet * 1000,
                    }
            finally:
                crowd.close()
                speaker.close()
                other.close()


@pytest.mark.parametrize("engine", ["native", "python"])
async def test_who_stalls_is_cut_off_and_the_others_are_served(engine: str, tmp_path: Path) -> None:
    found = await stall(needed(engine), tmp_path, readers=36, sleepers=4)
    assert found["grown"] < 4 * 1.25 + 8


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("engine", ENGINES)
async def test_a_hundred_of_a_thousand(engine: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = await stall(needed(engine), tmp_path, readers=900, sleepers=100)
    with capsys.disabled():
        print(f"\n{engine}: {found}")  # noqa: T201
    assert found["grown"] < 120

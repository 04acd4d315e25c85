"""F8: a server is killed and starts again, and everybody comes back in the same moment."""

from __future__ import annotations

import random
import select
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from crowd import Client, Crowd, descriptors
from faults.watching import Watched
from hostile.stage import ENGINES, needed
from process import serving
from raw import handshake

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc and uses epoll")

RETRY: Final = 1.0
"""Seconds until a client that was refused comes again: what a naive one does."""
WITHIN: Final = 120.0

CLUB: Final = """
from crosspeer import Hooks, Hub, Limits

class Club(Hooks):
    asked = 0

    def upgrade(self, request):
        type(self).asked += 1

    def open(self, peer):
        peer.subscribe("news")
        peer.send("ready")

    def message(self, peer, message):
        peer.send(str(self.asked) if message.data == "asked" else message.data)

hub = Hub(Club(), limits=Limits(ping_interval=3600, ping_timeout=3600))
"""


class Storm:
    """Clients that all want in at once: raw sockets, each of which comes again when it is turned away."""

    def __init__(self, address: tuple[str, int], count: int) -> None:
        self._address = address
        self._sockets: dict[int, socket.socket] = {}
        self._received: dict[int, bytes] = {}
        self._later: list[float] = []
        self._poll = select.epoll()
        self.failures = 0
        """Connections that came to nothing."""
        self.waits: list[float] = []
        """Seconds until each was in."""
        self._count = count

    def blow(self) -> None:
        """Until everybody is in."""
        begin = time.monotonic()
        for _ in range(self._count):
            self._dial()
        while len(self.waits) < self._count:
            now = time.monotonic()
            assert now - begin < WITHIN, f"only {len(self.waits)} of {self._count} are in"
            due, self._later = [when for when in self._later if when <= now], [w for w in self._later if w > now]
            for _ in due:
                self._dial()
            for number, flags in self._poll.poll(0.05, 4096):
                self._step(number, flags, begin)

    def close(self) -> None:
        for client in self._sockets.values():
            client.close()
        self._poll.close()

    def _dial(self) -> None:
        client = socket.socket()
        client.setblocking(False)
        self._sockets[client.fileno()] = client
        self._received[client.fileno()] = b""
        client.connect_ex(self._address)
        self._poll.register(client.fileno(), select.EPOLLOUT)

    def _step(self, number: int, flags: int, begin: float) -> None:
        client = self._sockets[number]
        try:
            if flags & select.EPOLLOUT and not flags & (select.EPOLLERR | select.EPOLLHUP):
                client.sendall(handshake("/"))
                self._poll.modify(number, select.EPOLLIN)
                return
            data = client.recv(2000)
        except OSError:
            data = b""
        self._received[number] += data
        if not data or b" 503 " in self._received[number]:
            self.failures += 1
            self._poll.unregister(number)
            self._sockets.pop(number).close()
            self._later.append(time.monotonic() + RETRY * random.uniform(0.5, 1.5))
        elif self._received[number].endswith(b"ready"):
            self._poll.unregister(number)
            self.waits.append(time.monotonic() - begin)


@contextmanager
def storm(address: tuple[str, int], count: int) -> Iterator[Storm]:
    here = Storm(address, count)
    try:
        here.blow()
        yield here
    finally:
        here.close()


async def come_back(engine: str, folder: Path, count: int) -> dict[str, float]:
    """Kill a server full of peers, start it again, and let all of them come at once."""
    (folder / "club.py").write_text(CLUB)
    options = ("--engine", needed(engine))
    with descriptors(count) as count:
        async with serving("club:hub", *options, cwd=folder) as server:
            address = ("127.0.0.1", int(server.url.rpartition(":")[2]))
            crowd = Crowd(address, "/", count - 1)
            server.signal(signal.SIGKILL)
            await server.ended()
            crowd.close()
        async with serving("club:hub", "--port", str(address[1]), *options, cwd=folder) as server:
            watched = Watched(server.process.pid)
            with storm(address, count - 1) as here:
                client = Client(address, "/").opened()
                client.echo("still here?")
                client.say("asked")
                asked = client._receive(100)[2:].decode()
                client.close()
                assert int(asked) == count, "each handshake reached the `upgrade` hook once"
                waits = sorted(here.waits)
                return {
                    "peers": count,
                    "all back in s": waits[-1],
                    "median s": waits[len(waits) // 2],
                    "turned away": here.failures,
                    "peak over steady memory": watched.peak() / watched.resident(),
                }


@pytest.mark.parametrize("engine", ["native", "python"])
async def test_three_hundred_come_back_at_once(engine: str, tmp_path: Path) -> None:
    found = await come_back(engine, tmp_path, 300)
    assert found["turned away"] == 0


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("engine", ENGINES)
async def test_ten_thousand_come_back_at_once(engine: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = await come_back(engine, tmp_path, 10_000)
    with capsys.disabled():
        print(f"\n{engine}: { ({name: round(value, 2) for name, value in found.items()}) }")  # noqa: T201
    assert found["turned away"] == 0
    assert found["peak over steady memory"] < 1.5

"""Ten thousand peers of one server: those who are idle cost nothing, and a publish to all holds nobody up."""

from __future__ import annotations

import importlib.util
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final, NamedTuple

import pytest
import pytest_asyncio

from crowd import Client, Crowd, descriptors, text
from process import serving

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(180),
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc and uses epoll"),
]

PEERS: Final = 10_000
PUBLISHES: Final = 10
WINDOW: Final = 3.0
"""Seconds in which idle peers are watched."""
IDLE_SHARE: Final = 0.01
"""Of one core, for all of them: without a heartbeat there is nothing to do but the loop's own timers."""
ECHO_DEADLINE: Final = 2.0

HALL = """
from crosspeer import Hooks, Hub, Limits


class Hall(Hooks):
    def open(self, peer):
        if peer.namespace == "/crowd":
            peer.subscribe("news")
        peer.send("ready")

    def message(self, peer, message):
        if peer.namespace == "/speaker":
            hub.publish("news", message.data)
        else:
            peer.send(message.data)


hub = Hub(Hall(), limits=Limits(ping_interval=3600, ping_timeout=3600))
"""


class Hall(NamedTuple):
    """A server full of people."""

    engine: str
    pid: int
    address: tuple[str, int]
    crowd: Crowd
    arrival: float
    """Seconds in which the crowd came in."""

    def cpu(self) -> float:
        """Seconds of CPU that the server has taken so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        user, system = fields[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["native", "python"])
async def hall(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Hall]:
    engine = request.param
    if engine == "native" and importlib.util.find_spec("crosspeer_engine") is None:
        pytest.skip("the native engine is not built here: it needs cargo")
    folder = tmp_path_factory.mktemp("hall")
    (folder / "hall.py").write_text(HALL)
    with descriptors(PEERS) as count:
        async with serving("hall:hub", "--engine", engine, cwd=folder) as server:
            address = ("127.0.0.1", int(server.url.rpartition(":")[2]))
            begin = time.perf_counter()
            crowd = Crowd(address, "/crowd", count)
            try:
                yield Hall(engine, server.process.pid, address, crowd, time.perf_counter() - begin)
            finally:
                crowd.close()


@pytest.fixture
def tell(hall: Hall, capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Put a figure into the output, whatever becomes of the test."""

    def tell(line: str) -> None:
        with capsys.disabled():
            sys.stdout.write(f"\n{hall.engine}: {line}\n")

    return tell


async def test_idle_peers_cost_no_cpu(hall: Hall, tell: Callable[[str], None]) -> None:
    shares = []
    # The first window may have the end of what their coming took.
    while len(shares) < 3 and (not shares or shares[-1] >= IDLE_SHARE):
        before = hall.cpu()
        time.sleep(WINDOW)
        shares.append((hall.cpu() - before) / WINDOW)
    tell(f"{len(hall.crowd.clients)} peers came in {hall.arrival:.1f} s; idle they take {shares[-1]:.2%} of a core")
    assert shares[-1] < IDLE_SHARE


async def test_a_publish_to_all_does_not_hold_up_an_echo(hall: Hall, tell: Callable[[str], None]) -> None:
    speaker, other = Client(hall.address, "/speaker").opened(), Client(hall.address, "/other").opened()
    try:
        quiet = max(other.echo(f"quiet {number}") for number in range(PUBLISHES))
        news = [f"news {number}: {'x' * 100}" for number in range(PUBLISHES)]
        echoes = []
        before = hall.cpu()
        for item in news:
            speaker.say(item)
            echoes.append(other.echo("still here?"))
        hall.crowd.hear(b"".join(text(item) for item in news))
        spent = hall.cpu() - before
    finally:
        speaker.close()
        other.close()
    deliveries = len(hall.crowd.clients) * PUBLISHES
    tell(
        f"{deliveries} deliveries took {spent / deliveries * 1e6:.1f} us of CPU each; an echo meanwhile took "
        f"{max(echoes) * 1000:.0f} ms at most, {quiet * 1000:.2f} ms before"
    )
    assert max(echoes) < ECHO_DEADLINE

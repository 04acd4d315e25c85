"""What hostile clients may cost a server: a process of its own, whose resident memory is looked at meanwhile.

Each kind of client comes twice, first a few of them, so that what is allocated once is there, then many more. What the
second time adds is what such clients cost, and it has a bound however many bytes they send.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from crosspeer.testing import sockets
from crosspeer.testing.contracts.harness import talk
from hostile.handshakes import ROWS, SMUGGLED, request
from hostile.stage import ENGINES, needed
from process import serving
from raw import BINARY, FIN, PING, PONG, TEXT, Raw, frame, handshake

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="resident memory is read from /proc")

KIB: Final = 1024
MIB: Final = 1024 * 1024
BOUND: Final = 4 * MIB
"""For every kind of client, beside what its queue may hold."""
FEW: Final = 1
MANY: Final = 8
CONT: Final = 0

APPLICATION: Final = """
import asyncio
from crosspeer import Hooks, Hub

class Echo(Hooks):
    def message(self, peer, message):
        peer.send(message.data)

class Slow(Hooks):
    async def upgrade(self, request):
        await asyncio.Event().wait()

class Failing(Hooks):
    def upgrade(self, request):
        return {"headers": {"x-a": "a\\\\r\\\\nSet-Cookie: x=1"}}

class Stuck(Hooks):
    async def message(self, peer, message):
        await asyncio.Event().wait()

class Flood(Hooks):
    async def message(self, peer, message):
        for _ in range(2000):
            peer.send(b"x" * 16_000)
            await asyncio.sleep(0)

HOOKS = {"/": Echo(), "/slow": Slow(), "/failing": Failing(), "/stuck": Stuck(), "/flood": Flood()}
hub = Hub(resolve=lambda request: HOOKS.get(request.url.path))
"""


class Watch:
    """Looks at the server while it is under attack: it serves the witness, and has so much memory."""

    def __init__(self, process: int, witness: Any) -> None:
        self._memory = Path(f"/proc/{process}/statm")
        self._witness = witness
        self.most = 0

    async def look(self, times: int = 1) -> None:
        for _ in range(times):
            await talk(self._witness, self._witness)
            self.most = max(self.most, int(self._memory.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"))


Attack = Callable[[str, Watch, int], Awaitable[None]]


async def answered(url: str, watch: Watch, data: list[bytes], times: int) -> None:
    """Send each of these on a connection of its own, and read the answer."""
    for _ in range(times):
        for one in data:
            async with Raw(url) as client:
                client.send(one + SMUGGLED)
                await client.head()
        await watch.look()


def rows(name: str) -> Attack:
    """The inputs of a row, again and again. What was accepted is followed by what is no frame."""
    data = [row.data for row in ROWS[name]]
    times = max(1, 100 // len(data))
    return lambda url, watch, scale: answered(url, watch, data, times * scale)


async def held(url: str, watch: Watch, data: bytes, count: int) -> None:
    """Send this on many connections at once, and stay."""
    async with AsyncExitStack() as stack:
        for _ in range(count):
            client = await stack.enter_async_context(Raw(url))
            client.send(data)
        await watch.look(20)


async def slow(url: str, watch: Watch, scale: int) -> None:
    """Row H4: the most of a request that is never complete."""
    await held(url, watch, request("X: " + "a" * 3000)[:-2], 30 * scale)


async def silent(url: str, watch: Watch, scale: int) -> None:
    """Row H5."""
    await held(url, watch, b"", 50 * scale)


async def failing(url: str, watch: Watch, scale: int) -> None:
    """Row H12."""
    await answered(url, watch, [handshake("/failing")], 100 * scale)


async def early(url: str, watch: Watch, scale: int) -> None:
    """Row H11: two clients that do not wait for the 101."""
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(Raw(url)) for _ in range(2)]
        for client in clients:
            client.send(handshake("/slow"))
        for _ in range(4 * scale):
            for client in clients:
                client.send(frame(FIN | BINARY, bytes(MIB), key=bytes(4)))
            await watch.look()
        await watch.look(20)


async def stream(url: str, watch: Watch, start: bytes, data: bytes, times: int) -> None:
    """Open a WebSocket and send without reading, until the server has enough or all is sent."""
    async with Raw(url) as client:
        await client.upgrade()
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        client.send(start)
        for _ in range(times):
            if client.writer.transport.is_closing():
                break
            client.send(data)
            await watch.look()
        await watch.look(10)


async def fragments(url: str, watch: Watch, scale: int) -> None:
    """Row W3: a message that never ends."""
    await stream(url, watch, frame(BINARY, b"x"), frame(CONT, bytes(KIB)) * KIB, 4 * scale)


async def tiny_fragments(url: str, watch: Watch, scale: int) -> None:
    """Row W4."""
    for payload in (b"", b"x"):
        await stream(url, watch, frame(TEXT, b"x"), frame(CONT, payload) * 20_000, 4 * scale)


async def lies(url: str, watch: Watch, scale: int) -> None:
    """Row W5: lengths that nothing follows."""
    async with AsyncExitStack() as stack:
        for length in (2**62, 1 << 30, MIB) * (3 * scale):
            client = await stack.enter_async_context(Raw(url))
            await client.upgrade()
            client.send(frame(FIN | BINARY, b"", length=length))
        await watch.look(20)


async def pings(url: str, watch: Watch, scale: int) -> None:
    """Row W11."""
    await stream(url, watch, b"", frame(FIN | PING, bytes(100)) * 5000, 4 * scale)


async def pongs(url: str, watch: Watch, scale: int) -> None:
    """Row W12."""
    await stream(url, watch, b"", frame(FIN | PONG, bytes(100)) * 5000, 4 * scale)


async def messages(url: str, watch: Watch, scale: int) -> None:
    """Row W13: a hook that takes its time over the first of them."""
    async with Raw(url) as client:
        await client.upgrade("/stuck")
        for _ in range(8 * scale):
            client.send(frame(FIN | TEXT, b"x") * 20_000)
            await watch.look()
        await watch.look(10)


async def stalled(url: str, watch: Watch, scale: int) -> None:
    """Row W15: readers that stop while they are sent 32 MB each."""
    async with AsyncExitStack() as stack:
        for _ in range(scale):
            client = await stack.enter_async_context(Raw(url))
            await client.upgrade("/flood")
            client.writer.transport.pause_reading()  # type: ignore[attr-defined]
            client.send(frame(FIN | TEXT, b"go"))
        await watch.look(200)


class Kind(NamedTuple):
    attack: Attack
    queues: int = 0
    """Outgoing queues of 1 MiB that may be full."""


KINDS: Final = {
    "H1": Kind(rows("H1")),
    "H2": Kind(rows("H2")),
    "H3": Kind(rows("H3")),
    "H4": Kind(slow),
    "H5": Kind(silent),
    "H6": Kind(rows("H6")),
    "H7": Kind(rows("H7")),
    "H8": Kind(rows("H8")),
    "H9": Kind(rows("H9")),
    "H10": Kind(rows("H10")),
    "H11": Kind(early),
    "H12": Kind(failing),
    "H13": Kind(rows("H13")),
    "W3": Kind(fragments),
    "W4": Kind(tiny_fragments),
    "W5": Kind(lies),
    "W11": Kind(pings),
    "W12": Kind(pongs),
    "W13": Kind(messages),
    "W15": Kind(stalled, queues=MANY),
}


@pytest.mark.parametrize("engine", ENGINES)
async def test_what_hostile_clients_cost_is_bounded(engine: str, tmp_path: Path, subtests: pytest.Subtests) -> None:
    (tmp_path / "attacked.py").write_text(APPLICATION)
    async with (
        serving("attacked:hub", "--engine", needed(engine), cwd=tmp_path) as command,
        sockets.connect(command.url.replace("http", "ws")) as witness,
    ):
        for name, kind in KINDS.items():
            with subtests.test(msg=name):
                grown = await growth(command.url, Watch(command.process.pid, witness), kind.attack)
                assert grown <= BOUND + kind.queues * (MIB + 128 * KIB), f"{grown / MIB:.1f} MiB"
        assert command.process.returncode is None


async def growth(url: str, watch: Watch, attack: Attack) -> int:
    """The bytes that many clients cost beyond what a few did."""
    await attack(url, watch, FEW)
    await watch.look(10)
    before, watch.most = watch.most, 0
    await attack(url, watch, MANY)
    return watch.most - before

"""A long run under steady load: whatever a server takes, it gives back.

    python tests/faults/soak.py --seconds 1200

Listeners stay in rooms and hear everything that is said there, once; 50 connections a second come, talk and go, every
other one without a word. The load is what takes 30 % of a core of the server, as far as this process can make it.
Memory, descriptors and tasks are looked at all the time, and are to be as flat at the end as after the beginning.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Final, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

import raw
from faults.watching import MIB, Watched
from process import serving
from raw import CLOSE, FIN, PING, PONG, TEXT, Raw, frame, handshake

ROOMS: Final = 10
LISTENERS: Final = 10
"""In each room."""
CHURN: Final = 50.0
"""Connections a second."""
SHARE: Final = 0.3
"""Of one core of the server."""
BEHIND: Final = 0.2
"""Seconds that the listeners may be behind before the load is lowered for good."""
LEAST_RATE: Final = 10.0
MOST_RATE: Final = 100_000.0
"""Messages a second that this process makes, at least and at most."""
PATIENCE: Final = 30.0
"""Seconds that a guest waits for anything, on a machine that may be busy otherwise."""
SAMPLES: Final = 120
WARM_UP: Final = 1 / 4
"""Of the time: what is allocated once is there by then."""
MOST_GROWTH: Final = 2.0
"""MiB between the medians of the first and last third after that, beside `MOST_SLOPE`: the noise of an allocator."""
MOST_SLOPE: Final = 1.0
"""MiB an hour."""

APPLICATION: Final = """
import asyncio
from crosspeer import Hooks, Hub

class Room(Hooks):
    async def open(self, peer):
        await asyncio.sleep(0)
        peer.subscribe(peer.namespace)

    def message(self, peer, message):
        if message.data == "status":
            peer.send({"tasks": len(asyncio.all_tasks()), "connections": hub.connections, "topics": hub.topics})
        else:
            peer.publish(peer.namespace, message.data)
            if peer.namespace == "/churn":
                peer.send(message.data)

    async def close(self, peer, details):
        await asyncio.sleep(0)

hub = Hub(Room())
"""


class Sample(NamedTuple):
    """One look at the server."""

    at: float
    memory: float
    """MiB."""
    descriptors: int
    tasks: int


class Listener(asyncio.Protocol):
    """A peer that hears what is said in its room, and answers pings."""

    def __init__(self, room: str) -> None:
        self._room = room
        self._buffer = bytearray()
        self._is_open = False
        self.heard = 0
        self.is_lost = False
        self.opened = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(handshake(self._room))

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        if not self._is_open:
            head, end, rest = buffer.partition(b"\r\n\r\n")
            if not end:
                return
            self._is_open = True
            buffer[:] = rest
            self.opened.set_result(head.startswith(b"HTTP/1.1 101 "))
        at = 0
        while len(buffer) >= at + 2 and len(buffer) >= at + 2 + buffer[at + 1]:
            size = buffer[at + 1]
            if buffer[at] == FIN | PING:
                self.transport.write(frame(FIN | PONG, bytes(buffer[at + 2 : at + 2 + size])))
            elif buffer[at] == FIN | TEXT:
                self.heard += 1
            at += 2 + size
        del buffer[:at]

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True


class Load:
    """What clients do to the server."""

    def __init__(self, url: str, watched: Watched) -> None:
        self._url = url
        self._watched = watched
        host, port = url.removeprefix("http://").split(":")
        self._address = (host, int(port))
        self.listeners: list[list[Listener]] = []
        self.said = [0] * ROOMS
        self.came = 0
        self.turned_away: list[str] = []
        """Guests that were not served, and why."""
        self.share = 0.0
        self._rate = 2_000.0
        """Messages a second, in all rooms."""
        self._most = MOST_RATE
        self._guests: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        for room in range(ROOMS):
            self.listeners.append([])
            for _ in range(LISTENERS + 1):
                _, listener = await loop.create_connection(lambda room=room: Listener(f"/{room}"), *self._address)
                assert await listener.opened
                self.listeners[-1].append(listener)

    async def talk(self, warm: float) -> None:
        """Say something in each room in turn, as much as makes the server so busy; from `warm` on no more than then."""
        loop, room = asyncio.get_running_loop(), 0
        looked, cpu, due = loop.time(), self._watched.cpu(), loop.time()
        message = frame(FIN | TEXT, b"x" * 100, key=bytes(4))
        while True:
            count = max(1, int(self._rate / 100))
            self.listeners[room][0].transport.write(message * count)
            self.said[room] += count
            room = (room + 1) % ROOMS
            due = max(due + count / self._rate, loop.time() - 1)
            await asyncio.sleep(max(0.0, due - loop.time()))
            if (now := loop.time()) - looked >= 1:
                spent = self._watched.cpu()
                self.share = (spent - cpu) / (now - looked)
                if self.missing() > self._rate * LISTENERS * BEHIND:
                    # Whoever it is, the server or this process: no faster than what is said is heard.
                    self._most = max(self._rate * 0.7, LEAST_RATE)
                faster = min(2.0, max(0.5, SHARE / max(self.share, 0.01))) ** 0.5
                # Higher at the beginning only: more load takes more memory, which is no growth.
                self._rate = min(self._rate * (faster if now < warm else min(1.0, faster)), self._most)
                looked, cpu = now, spent

    async def churn(self) -> None:
        """Let guests come and go."""
        while True:
            task = asyncio.create_task(self._visit(politely=self.came % 2 == 0))
            self._guests.add(task)
            task.add_done_callback(self._guests.discard)
            self.came += 1
            await asyncio.sleep(1 / CHURN)

    async def status(self) -> dict[str, int]:
        """What the server says of itself."""
        async with Raw(self._url) as client:
            await client.upgrade("/status")
            client.send(frame(FIN | TEXT, b"status"))
            found: dict[str, int] = json.loads((await client.frame())[1])
            return found

    async def settle(self) -> None:
        """Wait until everything that was said is heard, and every guest has gone."""
        async with asyncio.timeout(30):
            await asyncio.gather(*self._guests)
            while self.missing():
                await asyncio.sleep(0.05)
            while (await self.status())["connections"] > ROOMS * (LISTENERS + 1) + 1:
                await asyncio.sleep(0.05)

    def missing(self) -> int:
        """Messages that were said and not heard by those who stay."""
        return sum(
            said * LISTENERS - sum(listener.heard for listener in listeners[1:])
            for said, listeners in zip(self.said, self.listeners, strict=True)
        )

    def stop(self) -> None:
        for listeners in self.listeners:
            for listener in listeners:
                listener.transport.abort()

    async def _visit(self, politely: bool) -> None:
        try:
            async with asyncio.timeout(PATIENCE), Raw(self._url) as client:
                await client.upgrade("/churn")
                client.send(frame(FIN | TEXT, b"hello"))
                await client.frame()
                if politely:
                    client.send(frame(FIN | CLOSE, (1000).to_bytes(2, "big")))
                    await client.close_code()
        except (OSError, EOFError, TimeoutError) as error:
            self.turned_away.append(repr(error))


async def soak(engine: str, seconds: float) -> list[Sample]:
    """Run for so long; the samples.

    Raises:
        AssertionError: a message was lost, or a peer that was to stay.
    """
    samples: list[Sample] = []
    raw.TIMEOUT = PATIENCE
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "soaking.py").write_text(APPLICATION)
        async with serving("soaking:hub", "--engine", engine, cwd=Path(folder)) as server:
            watched = Watched(server.process.pid)
            load = Load(server.url, watched)
            try:
                await load.start()
                loop = asyncio.get_running_loop()
                begin, shares = loop.time(), []
                work = [
                    asyncio.create_task(load.talk(begin + seconds * WARM_UP * 0.8)),
                    asyncio.create_task(load.churn()),
                ]
                try:
                    while (now := loop.time() - begin) < seconds:
                        samples.append(await look(load, watched, now))
                        shares.append(load.share)
                        await asyncio.sleep(seconds / SAMPLES)
                        assert not any(task.done() for task in work), [task.exception() for task in work if task.done()]
                finally:
                    for task in work:
                        task.cancel()
                    await asyncio.wait(work)
                await load.settle()
                assert load.missing() == 0
                assert load.turned_away == [], load.turned_away[:5]
                assert not any(listener.is_lost for listeners in load.listeners for listener in listeners)
                report(engine, samples, load, statistics.median(shares))
            finally:
                load.stop()
    return samples


async def look(load: Load, watched: Watched, now: float) -> Sample:
    status = await load.status()
    return Sample(now, watched.resident() / MIB, watched.descriptors(), status["tasks"])


def report(engine: str, samples: list[Sample], load: Load, share: float) -> None:
    steady = [sample for sample in samples if sample.at >= samples[-1].at * WARM_UP]
    slope = statistics.linear_regression([each.at for each in steady], [each.memory for each in steady]).slope * 3600
    say(
        f"{engine}: {samples[-1].at:.0f} s at {share:.0%} of a core, {sum(load.said)} messages to {LISTENERS} each, "
        f"none lost, {load.came} guests"
    )
    say(f"  memory {steady[0].memory:.1f} to {steady[-1].memory:.1f} MiB, {slope:+.2f} MiB an hour")
    say(f"  descriptors {steady[0].descriptors} to {steady[-1].descriptors}")
    say(f"  tasks {steady[0].tasks} to {steady[-1].tasks}")


def growth(samples: list[Sample]) -> list[str]:
    """What has grown; nothing, if all is well."""
    steady = [sample for sample in samples if sample.at >= samples[-1].at * WARM_UP]
    third = max(1, len(steady) // 3)
    first, last = steady[:third], steady[-third:]
    grown = []
    for name in ("memory", "descriptors", "tasks"):
        before, after = (statistics.median(getattr(each, name) for each in part) for part in (first, last))
        # Guests come and go all the time: some are there in each sample.
        most = MOST_GROWTH + MOST_SLOPE * samples[-1].at / 3600 if name == "memory" else 10 + before / 10
        if after - before > most:
            grown.append(f"{name} grew from {before:.1f} to {after:.1f}")
    return grown


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


async def main() -> int:
    parser = argparse.ArgumentParser(description="Soak a server: flat memory, descriptors and tasks, and no loss.")
    parser.add_argument("--seconds", type=float, default=1200.0, help="how long, for each engine")
    parser.add_argument("--engine", action="append", choices=("native", "python", "uvicorn"), help="may be repeated")
    options = parser.parse_args()
    engines = options.engine or ["native" if importlib.util.find_spec("crosspeer_engine") else "python"]
    grown = []
    for engine in engines:
        grown += [f"{engine}: {line}" for line in growth(await soak(engine, options.seconds))]
    for line in grown:
        say(line)
    return 1 if grown else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))

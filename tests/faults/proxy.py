"""A TCP proxy that does to connections what networks do to them, without any rights on any machine.

As a library: `async with proxy(server.url) as between: ...; between.blackhole()`. As a command, whose faults are lines
of its standard input, named as the methods of `Proxy`:

    python tests/faults/proxy.py http://127.0.0.1:3000
    blackhole down
    slow 1000
    heal
"""

from __future__ import annotations

import argparse
import asyncio
import random
import socket
import struct
import sys
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

READ: Final = 64 * 1024
WAITING: Final = 16
"""Pieces of one direction that may be under way, while they are late or slow."""
RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)
"""SO_LINGER that is on, with no time: closing sends RST."""

Direction = Literal["up", "down"]
"""`up` is to the server, `down` to the client."""
DIRECTIONS: Final[tuple[Direction, ...]] = ("up", "down")


class Faults:
    """What happens to the bytes of one direction."""

    def __init__(self) -> None:
        self.passes = asyncio.Event()
        self.heal()

    def heal(self) -> None:
        self.passes.set()
        self.rate: float | None = None
        """Bytes a second."""
        self.piece = READ
        """Bytes of one write."""
        self.delay = self.jitter = 0.0
        """Seconds that bytes are late: always, and at most beside that."""
        self.close_after: int | None = None
        """Bytes of a connection, after which it is closed."""


class Lane:
    """One direction of one connection."""

    def __init__(self, faults: Faults, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._faults = faults
        self._reader = reader
        self._writer = writer
        self._under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(WAITING)
        self._carried = 0

    async def carry(self) -> None:
        """Carry bytes until either end is gone, or has been told to go."""
        reading = asyncio.create_task(self._read())
        try:
            with suppress(ConnectionError):
                while await self._write(*await self._under_way.get()):
                    pass
        finally:
            reading.cancel()
            with suppress(asyncio.CancelledError):
                await reading

    async def _read(self) -> None:
        loop, data = asyncio.get_running_loop(), b"any"
        while data:
            await self._faults.passes.wait()
            try:
                data = await self._reader.read(READ)
            except ConnectionError:
                data = b""
            late = self._faults.delay + random.random() * self._faults.jitter
            await self._under_way.put((loop.time() + late, data))

    async def _write(self, due: float, data: bytes) -> bool:
        """Pass on what was read; False at the end."""
        faults = self._faults
        await asyncio.sleep(due - asyncio.get_running_loop().time())
        while data:
            await faults.passes.wait()
            most = faults.piece if faults.rate is None else min(faults.piece, max(1, int(faults.rate / 20)))
            if faults.close_after is not None:
                most = min(most, faults.close_after - self._carried)
                if most <= 0:
                    return False
            piece, data = data[:most], data[most:]
            self._writer.write(piece)
            await self._writer.drain()
            self._carried += len(piece)
            if faults.close_after is not None and self._carried >= faults.close_after:
                return False
            if faults.rate is not None:
                await asyncio.sleep(len(piece) / faults.rate)
            elif data and faults.piece < READ:
                # Let each piece arrive for itself.
                await asyncio.sleep(0)
            if not data:
                return True
        await faults.passes.wait()
        return False


class Proxy:
    """Stands between clients and a server. Faults hold for the connections there are and for those that come."""

    def __init__(self, upstream: str) -> None:
        parts = urlsplit(upstream if "//" in upstream else f"//{upstream}")
        self._upstream = (parts.hostname, parts.port)
        self._faults: dict[str, Faults] = {direction: Faults() for direction in DIRECTIONS}
        self._pairs: dict[asyncio.Task[None], tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._halves: set[asyncio.StreamWriter] = set()
        self.url = ""
        self.is_down = False
        """Whoever comes is hung up on."""
        self.unwanted: bytes | None = None
        """Who says this, in lower case, in what it says first is hung up on."""
        self.cuts = 0
        """Connections that were cut, reset or left half open."""

    @property
    def connections(self) -> int:
        """How many go through it."""
        return len(self._pairs)

    def blackhole(self, *directions: Direction) -> None:
        """Let nothing through, and keep both ends open. What is under way arrives when it heals, as TCP does it."""
        for faults in self._of(directions):
            faults.passes.clear()

    def slow(self, rate: float, *directions: Direction) -> None:
        """Let so many bytes through in a second, on each connection."""
        for faults in self._of(directions):
            faults.rate = rate

    def slice(self, size: int = 1, *directions: Direction) -> None:
        """Write so many bytes at once."""
        for faults in self._of(directions):
            faults.piece = size

    def delay(self, seconds: float, *directions: Direction, jitter: float = 0.0) -> None:
        """Let everything arrive late, by up to `jitter` seconds more, and in its order."""
        for faults in self._of(directions):
            faults.delay, faults.jitter = seconds, jitter

    def close_after(self, count: int, *directions: Direction) -> None:
        """Close each connection behind so many bytes."""
        for faults in self._of(directions):
            faults.close_after = count

    def heal(self) -> None:
        """Pass everything on again. What was cut stays cut."""
        self.is_down = False
        for faults in self._faults.values():
            faults.heal()

    def cut(self) -> None:
        """End all connections that there are; whoever comes anew is let through."""
        for task, pair in tuple(self._pairs.items()):
            for writer in pair:
                writer.transport.abort()
            self._leave(task)

    def reset(self) -> None:
        """The same, with RST to both sides."""
        for writer in (writer for pair in self._pairs.values() for writer in pair):
            connection: socket.socket = writer.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        self.cut()

    def half_open(self, gone: Literal["client", "server"] = "client") -> None:
        """Let one end vanish without a word to the other, which goes on in the belief that it is connected."""
        for task, pair in tuple(self._pairs.items()):
            down, up = pair
            lost, left = (down, up) if gone == "client" else (up, down)
            self._halves.add(left)
            left.transport.pause_reading()  # type: ignore[attr-defined]
            self._leave(task)
            lost.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._serve(task, reader, writer)
        except asyncio.CancelledError:
            # It was cut. asyncio's streams make an error of a task that says so.
            pass
        finally:
            self._tasks.discard(task)
            if writer not in self._halves:
                writer.transport.abort()

    async def stop(self) -> None:
        self.cut()
        for writer in self._halves:
            writer.transport.abort()
        for task in tuple(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    # Inside.

    def _of(self, directions: tuple[Direction, ...]) -> list[Faults]:
        return [self._faults[direction] for direction in directions or DIRECTIONS]

    def _leave(self, task: asyncio.Task[None]) -> None:
        self.cuts += 1
        del self._pairs[task]
        task.cancel()

    async def _serve(
        self, task: asyncio.Task[None], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if self.is_down:
            return
        first = b""
        if self.unwanted is not None:
            first = await reader.read(READ)
            if self.unwanted in first.lower():
                return
        try:
            upstream_reader, upstream = await asyncio.open_connection(*self._upstream)
        except OSError:
            return
        try:
            upstream.write(first)
            self._pairs[task] = (writer, upstream)
            lanes = (
                Lane(self._faults["up"], reader, upstream),
                Lane(self._faults["down"], upstream_reader, writer),
            )
            carrying = [asyncio.create_task(lane.carry()) for lane in lanes]
            try:
                # Whichever direction ends, the other ends too.
                await asyncio.wait(carrying, return_when=asyncio.FIRST_COMPLETED)
                self._pairs.pop(task, None)
                for end in (writer, upstream):
                    end.close()
                await asyncio.gather(_closed(writer), _closed(upstream))
            finally:
                for each in carrying:
                    each.cancel()
                await asyncio.wait(carrying)
        finally:
            self._pairs.pop(task, None)
            if upstream not in self._halves:
                upstream.transport.abort()


async def _closed(writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        await writer.wait_closed()


@asynccontextmanager
async def proxy(upstream: str, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[Proxy]:
    """Proxy to the server of a URL, or of `host:port`."""
    made = Proxy(upstream)
    listener = await asyncio.start_server(made.serve, host, port, backlog=1024)
    made.url = f"http://{host}:{listener.sockets[0].getsockname()[1]}"
    try:
        yield made
    finally:
        listener.close()
        await made.stop()


WITH_A_NUMBER: Final = {"slow": float, "slice": int, "delay": float, "close_after": int}
WITHOUT: Final = ("blackhole", "heal", "cut", "reset", "half_open")


def obey(made: Proxy, line: str) -> None:
    """Do what a line says.

    Raises:
        IndexError, KeyError, TypeError, ValueError: it says nothing that can be done.
    """
    name, *words = line.split()
    if name in WITH_A_NUMBER:
        getattr(made, name)(WITH_A_NUMBER[name](words[0]), *words[1:])
    elif name in WITHOUT:
        getattr(made, name)(*words)
    else:
        raise ValueError(f"there is no fault {name!r}")


async def main() -> None:
    parser = argparse.ArgumentParser(description="A TCP proxy with faults: each line of standard input is one.")
    parser.add_argument("upstream", help="http://host:port")
    parser.add_argument("--port", type=int, default=0, help="port to listen on; 0 takes a free one")
    options = parser.parse_args()
    async with proxy(options.upstream, port=options.port) as made:
        sys.stdout.write(f"{made.url}\n")
        sys.stdout.flush()
        while line := await asyncio.to_thread(sys.stdin.readline):
            try:
                if line.strip():
                    obey(made, line)
            except (IndexError, KeyError, TypeError, ValueError) as error:
                sys.stderr.write(f"{line.strip()}: {error}\n")


if __name__ == "__main__":
    asyncio.run(main())

"""The clients of a fleet, many in one process: raw WebSockets that write down everything that they hear.

Run as `python -m faults.clients`, with a `Crew` as the first line of standard input and a command in each line behind
it; each is answered with a line. A client that loses its connection goes to the next node, after a pause that grows.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlsplit

from faults.checker import Came, Entry, Heard, Moved, Published, Stream, Told
from raw import CLOSE, FIN, PING, PONG, TEXT, frame, handshake

FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 1.0
"""Seconds before a lost client comes again."""
HANDSHAKE_WITHIN: Final = 5.0


@dataclass(frozen=True, slots=True)
class Crew:
    """What one process of clients is."""

    name: str
    count: int
    publishers: int
    """How many of them publish, from the first."""
    rate: float
    """Publications a second, of each publisher."""
    topics: list[str]
    each: int
    """Topics of a client."""
    urls: list[str]
    seed: int


class Client(asyncio.Protocol):
    """One member."""

    def __init__(self, crowd: Crowd, number: int) -> None:
        crew = crowd.crew
        self.name = f"{crew.name}{number}"
        self._crowd = crowd
        self._random = random.Random(f"{crew.seed}/{self.name}")
        self.topics = self._random.sample(crew.topics, crew.each)
        self.logs: dict[str, list[Entry]] = {topic: [] for topic in self.topics}
        self.published: list[Published] = []
        self._streams: dict[str, Published] = {}
        """Of this connection."""
        self._positions: dict[str, str] = {}
        self._early: dict[str, list[Entry]] = {}
        """What was heard of each topic before its subscription was answered: a replay."""
        self._session = 0
        self._node = number
        self._attempt = 0
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._is_open = False
        self._away_until = 0.0
        self._lost_at: float | None = None
        self._closed_by_us = False

    @property
    def is_whole(self) -> bool:
        """Whether it is connected and all of its subscriptions were answered."""
        return self._is_open and not self._early

    async def come(self) -> None:
        """Connect; if that fails, again and again."""
        while True:
            await asyncio.sleep(max(0.0, self._away_until - time.monotonic()))
            urls = self._crowd.urls
            parts = urlsplit(urls[self._node % len(urls)])
            try:
                async with asyncio.timeout(HANDSHAKE_WITHIN):
                    await self._crowd.loop.create_connection(lambda: self, parts.hostname, parts.port)
                return
            except OSError:
                await self._pause()

    def publish(self) -> None:
        """Say the next thing to the next topic, if it is connected."""
        if not self.is_whole or self._transport is None:
            return
        topic = self._random.choice(self.topics)
        stream = self._streams.get(topic)
        if stream is None:
            stream = Published(topic, Stream(self.name, self._session), time.monotonic(), 0, 0)
            self._streams[topic] = stream
            self.published.append(stream)
        text = f"{topic} {self.name} {self._session} {stream.attempted}"
        stream.attempted += 1
        self._transport.write(frame(FIN | TEXT, text.encode()))

    def leave(self, seconds: float) -> None:
        """Be cut off for a while."""
        self._away_until = time.monotonic() + seconds
        if self._transport is not None:
            self._transport.abort()

    # asyncio.Protocol.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._session += 1
        self._streams = {}
        self._buffer = b""
        self._early = {topic: [] for topic in self.topics}
        query = "&".join(f"topic={quote(topic)}&since={self._positions.get(topic, '')}" for topic in self.topics)
        transport.write(handshake(f"/room?{query}"))

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._is_open:
            head, found, rest = self._buffer.partition(b"\r\n\r\n")
            if not found:
                return
            if not head.startswith(b"HTTP/1.1 101 "):
                self._end()
                return
            self._is_open, self._buffer = True, rest
        self._frames()

    def connection_lost(self, error: Exception | None) -> None:
        if self._lost_at is None:
            self._lost_at = time.monotonic()
        self._transport = None
        self._is_open = False
        for stream in self._streams.values():
            stream.broken = not self._closed_by_us
        for topic, entries in self._early.items():
            # What came of a replay that did not end is heard all the same.
            self.logs[topic] += entries
        self._closed_by_us = False
        self._node += 1
        if not self._crowd.is_over:
            self._crowd.start(self._return())

    # Inside.

    async def _return(self) -> None:
        await self._pause()
        await self.come()

    async def _pause(self) -> None:
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2**self._attempt)
        self._attempt += 1
        self._node += 1
        await asyncio.sleep(pause * self._random.uniform(0.5, 1.0))

    def _end(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _frames(self) -> None:
        buffer, at = self._buffer, 0
        while len(buffer) - at >= 2:
            size, start = buffer[at + 1] & 0x7F, at + 2
            if size >= 126:
                start += 2 if size == 126 else 8
                size = int.from_bytes(buffer[at + 2 : start], "big")
            if len(buffer) < start + size:
                break
            self._frame(buffer[at] & 0xF, buffer[start : start + size])
            at = start + size
        self._buffer = buffer[at:]

    def _frame(self, opcode: int, payload: bytes) -> None:
        if opcode == TEXT:
            self._hear(payload.decode())
        elif self._transport is None:
            return
        elif opcode == PING:
            self._transport.write(frame(FIN | PONG, payload))
        elif opcode == CLOSE:
            # The node has read all that we sent before it closed, or it tells that it has not.
            self._closed_by_us = int.from_bytes(payload[:2], "big") in (1000, 1001, 1012)
            self._transport.write(frame(FIN | CLOSE, payload[:2]))
            self._transport.close()

    def _hear(self, text: str) -> None:
        if text[0] == "[":
            self._note(*json.loads(text))
            return
        if text[0] == "{":
            self._hear_tagged(**json.loads(text))
        else:
            self._keep(text)

    def _hear_tagged(self, topic: str, position: str, data: str | None = None, recovered: bool = True) -> None:
        self._positions[topic] = position
        epoch, _, offset = position.partition(":")
        if data is None:
            moved = Moved(time.monotonic(), recovered, epoch, int(offset))
            self._early.get(topic, self.logs[topic]).append(moved)
        else:
            self._keep(data, epoch, int(offset))

    def _keep(self, text: str, epoch: str = "", offset: int = 0) -> None:
        topic, publisher, session, number = text.split(" ")
        entry = Heard(self._crowd.stream(publisher, int(session)), int(number), epoch, offset)
        waiting = self._early.get(topic)
        (self.logs[topic] if waiting is None else waiting).append(entry)
        self._crowd.heard += 1
        if epoch and publisher == self.name:
            self._confirm(topic, int(session), int(number))

    def _note(self, what: str, *arguments: Any) -> None:
        now = time.monotonic()
        if what == "came":
            topic, is_whole, position = arguments
            epoch, offset = "", "0"
            if position is not None:
                self._positions[topic] = position
                epoch, _, offset = position.partition(":")
            self.logs[topic] += [Came(now, is_whole, epoch, int(offset)), *self._early.pop(topic)]
            if not self._early:
                self._crowd.back(None if self._lost_at is None else now - self._lost_at)
                self._lost_at, self._attempt = None, 0
        elif what == "told":
            for topic, log in self.logs.items():
                if not topic.startswith("kept/"):
                    log.append(Told(now))
        elif what == "ok":
            self._confirm(*arguments)

    def _confirm(self, topic: str, session: int, number: int) -> None:
        stream = self._streams.get(topic)
        if stream is not None and stream.stream.session == session:
            stream.confirmed = max(stream.confirmed, number + 1)


class Crowd:
    """All of this process."""

    def __init__(self, crew: Crew) -> None:
        self.crew = crew
        self.urls = crew.urls
        self.loop = asyncio.get_running_loop()
        self.heard = 0
        self.is_over = False
        self._returns: list[float] = []
        self._streams: dict[tuple[str, int], Stream] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._publishing: asyncio.Task[None] | None = None
        self._clients = [Client(self, number) for number in range(crew.count)]

    def start(self, work: Any) -> None:
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def stream(self, publisher: str, session: int) -> Stream:
        """One object for each, however often it is heard of."""
        return self._streams.setdefault((publisher, session), Stream(publisher, session))

    def back(self, after: float | None) -> None:
        """A client is there, perhaps again, so many seconds after it was lost."""
        if after is not None:
            self._returns.append(after)

    def obey(self, name: str, *arguments: Any) -> Any:
        """Do what a line says, and answer."""
        if name == "come":
            for client in self._clients:
                self.start(client.come())
        elif name == "nodes":
            (self.urls,) = arguments
        elif name == "cut":
            for client in self._clients:
                client.leave(arguments[0])
        elif name == "publish":
            self._publishing = self.loop.create_task(self._publish())
        elif name == "quiet" and self._publishing is not None:
            self._publishing.cancel()
        elif name == "dump":
            self.is_over = True
            self._dump(Path(arguments[0]))
        return {
            "whole": sum(client.is_whole for client in self._clients),
            "heard": self.heard,
            "returns": self._returns if name == "dump" else len(self._returns),
        }

    async def _publish(self) -> None:
        """Evenly, one publisher after the other."""
        publishers = self._clients[: self.crew.publishers]
        if not publishers:
            return
        pause = 1 / (self.crew.rate * len(publishers))
        due = self.loop.time()
        while True:
            for client in publishers:
                client.publish()
                due += pause
                await asyncio.sleep(due - self.loop.time())

    def _dump(self, path: Path) -> None:
        with path.open("w") as file:
            for client in self._clients:
                for stream in client.published:
                    file.write(json.dumps(["published", asdict(stream)]) + "\n")
            for client in self._clients:
                for topic, entries in client.logs.items():
                    rows = [[type(entry).__name__, *entry] for entry in entries]
                    file.write(json.dumps(["log", client.name, topic, rows], separators=(",", ":")) + "\n")


async def main() -> None:
    lines = asyncio.StreamReader(limit=1024 * 1024)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    crowd = Crowd(Crew(**json.loads(await lines.readline())))
    while line := await lines.readline():
        sys.stdout.write(json.dumps(crowd.obey(*json.loads(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main())

"""The workers of one machine, over a Unix socket, without a server of its own: `local:///run/chat.sock`.

Whoever is first listens there for the others; when it goes, another takes its place.

    message = length(4) kind(1) channel_length(2) channel data
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import struct
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from crosspeer.sync.logs import LogStore
from crosspeer.sync.records import decode_append, decode_ask, decode_page, encode_append, encode_ask, encode_page

if TYPE_CHECKING:
    from collections.abc import Sequence

    from crosspeer.sync.port import Append, Ask, LogName, Page, Receive

PUBLISH: Final = 1
SUBSCRIBE: Final = 2
UNSUBSCRIBE: Final = 3
CHECK: Final = 4
APPEND: Final = 5
READ: Final = 6
PAGE: Final = 7
RENEW: Final = 8

MAX_MESSAGE: Final = 8 * 1024 * 1024
MAX_PAGE: Final = MAX_MESSAGE - 64 * 1024
MAX_BEHIND: Final = 16 * 1024 * 1024
"""Bytes that wait for one worker. Beyond them it is cut off: it connects again, and knows that it missed something."""

_HEAD: Final = struct.Struct("!IBH")


def encode(kind: int, channel: str, data: bytes = b"") -> bytes:
    name = channel.encode()
    return _HEAD.pack(3 + len(name) + len(data), kind, len(name)) + name + data


async def read(reader: asyncio.StreamReader) -> tuple[int, str, bytes]:
    """The kind, the channel and the data of the next message.

    Raises:
        ConnectionError: it is too long, or no message.
        asyncio.IncompleteReadError: the connection has ended.
    """
    length, kind, size = _HEAD.unpack(await reader.readexactly(_HEAD.size))
    if not 3 + size <= length <= MAX_MESSAGE:
        raise ConnectionError("a message that is too long")
    body = await reader.readexactly(length - 3)
    try:
        return kind, body[:size].decode(), body[size:]
    except UnicodeDecodeError:
        raise ConnectionError("a channel that is no text") from None


class Exchange:
    """What listens: it hands on each message to those that have subscribed to its channel, and keeps the logs."""

    def __init__(self) -> None:
        self._logs = LogStore()
        self._channels: dict[str, dict[asyncio.StreamWriter, None]] = {}
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self, path: str) -> None:
        self._server = await asyncio.start_unix_server(self._serve, path)
        os.chmod(path, 0o600)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for writer in tuple(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        held: set[str] = set()
        try:
            while True:
                kind, channel, data = await read(reader)
                if kind == PUBLISH:
                    self._hand_on(channel, encode(PUBLISH, channel, data))
                elif kind == SUBSCRIBE:
                    held.add(channel)
                    self._channels.setdefault(channel, {})[writer] = None
                elif kind == UNSUBSCRIBE:
                    held.discard(channel)
                    self._leave(channel, writer)
                elif kind == CHECK:
                    writer.write(encode(CHECK, channel))
                else:
                    self._log(kind, channel, data, writer)
        except (ConnectionError, asyncio.IncompleteReadError, ValueError):
            # Also a worker that says what means nothing: it begins again.
            pass
        finally:
            for channel in held:
                self._leave(channel, writer)
            self._writers.discard(writer)
            writer.transport.abort()

    def _log(self, kind: int, channel: str, data: bytes, writer: asyncio.StreamWriter) -> None:
        if kind == APPEND:
            self._publish(channel, self._logs.append(decode_append(channel, data)))
        elif kind == READ:
            question, ask = decode_ask(channel, data)
            writer.write(encode(PAGE, str(question), encode_page(self._logs.read(ask), MAX_PAGE)))
        elif kind == RENEW:
            self._publish(channel, self._logs.renew(channel, data.decode()))

    def _publish(self, channel: str, stamped: bytes | None) -> None:
        if stamped is not None:
            self._hand_on(channel, encode(PUBLISH, channel, stamped))

    def _hand_on(self, channel: str, message: bytes) -> None:
        for writer in tuple(self._channels.get(channel, ())):
            if writer.transport.get_write_buffer_size() > MAX_BEHIND:
                writer.transport.abort()
            else:
                writer.write(message)

    def _leave(self, channel: str, writer: asyncio.StreamWriter) -> None:
        members = self._channels.get(channel)
        if members is not None:
            members.pop(writer, None)
            if not members:
                del self._channels[channel]


class LocalBackend:
    """A connection to the exchange, which it opens itself where there is none."""

    max_payload = MAX_MESSAGE - 1024

    def __init__(self, path: str) -> None:
        self._path = path
        self._exchange: Exchange | None = None
        self._lock: IO[str] | None = None
        self._receive: Receive | None = None
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._answers: dict[str, asyncio.Future[bytes]] = {}
        self._asked = 0

    async def open(self, receive: Receive) -> None:
        self._receive = receive
        if self._lock is None and self._lock_path():
            self._exchange = Exchange()
            await self._exchange.start(self._path)
        self._reader, self._writer = await asyncio.open_unix_connection(self._path)

    async def subscribe(self, channels: Sequence[str]) -> None:
        await self._write(b"".join(encode(SUBSCRIBE, channel) for channel in channels))

    async def unsubscribe(self, channels: Sequence[str]) -> None:
        await self._write(b"".join(encode(UNSUBSCRIBE, channel) for channel in channels))

    async def publish(self, batch: Sequence[tuple[str, bytes]]) -> None:
        await self._write(b"".join(encode(PUBLISH, channel, data) for channel, data in batch))

    async def listen(self) -> None:
        assert self._reader is not None
        while True:
            kind, channel, data = await read(self._reader)
            if kind == PUBLISH and self._receive is not None:
                self._receive(channel, data)
            elif kind in (CHECK, PAGE) and (waiting := self._answers.get(channel)) is not None and not waiting.done():
                waiting.set_result(data)

    async def check(self) -> None:
        name, answer = self._expect()
        try:
            await self._write(encode(CHECK, name))
            await answer
        finally:
            del self._answers[name]

    async def append(self, batch: Sequence[Append]) -> None:
        await self._write(b"".join(encode(APPEND, new.log.channel, encode_append(new)) for new in batch))
        await self.check()

    async def read(self, asks: Sequence[Ask]) -> list[Page | None]:
        answers = [self._expect() for _ in asks]
        try:
            questions = zip(asks, answers, strict=True)
            await self._write(
                b"".join(encode(READ, ask.log.channel, encode_ask(int(name), ask)) for ask, (name, _) in questions)
            )
            return [decode_page(await answer) for _, answer in answers]
        finally:
            for name, _ in answers:
                del self._answers[name]

    async def renew(self, log: LogName, epoch: str) -> None:
        await self._write(encode(RENEW, log.channel, epoch.encode()))

    async def close(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.transport.abort()
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            await exchange.stop()
        if self._lock is not None:
            # With the file goes the lock; the next one may be first.
            self._lock.close()
            self._lock = None

    def _expect(self) -> tuple[str, asyncio.Future[bytes]]:
        """The name of a question, and what its answer will be."""
        self._asked += 1
        name = str(self._asked)
        answer = self._answers[name] = asyncio.get_running_loop().create_future()
        return name, answer

    def _lock_path(self) -> bool:
        """Be the one that listens, if nobody is. The lock decides between two, and does not outlive its process."""
        lock = open(f"{self._path}.lock", "w")  # noqa: SIM115 - it is held for as long as we listen
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            return False
        self._lock = lock
        Path(self._path).unlink(missing_ok=True)
        return True

    async def _write(self, data: bytes) -> None:
        if self._writer is None:
            raise ConnectionError("not connected")
        self._writer.write(data)
        await self._writer.drain()

"""A TCP proxy whose connections can be cut, as networks do it: without a word, in the middle of anything."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

READ = 64 * 1024


class Cutter:
    """Stands between a client and a server. Where `takes_websockets` is false, it drops whoever asks for an upgrade."""

    def __init__(self, upstream: str) -> None:
        parts = urlsplit(upstream)
        self._upstream = (parts.hostname, parts.port)
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.url = ""
        self.takes_websockets = True
        self.cuts = 0
        """Connections that were cut."""

    def cut(self) -> None:
        """End all connections that there are."""
        for writer in self._writers:
            self.cuts += 1
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            upstream_reader, upstream_writer = await asyncio.open_connection(*self._upstream)
            pair = {writer, upstream_writer}
            self._writers |= pair
            try:
                # Whichever direction ends, the other ends too.
                await asyncio.wait(
                    {
                        asyncio.ensure_future(self._carry(reader, upstream_writer)),
                        asyncio.ensure_future(self._carry(upstream_reader, writer)),
                    }
                )
            finally:
                self._writers -= pair
        finally:
            self._tasks.discard(task)

    async def stop(self) -> None:
        self.cut()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(READ):
                if not self.takes_websockets and b"upgrade: websocket" in data.lower():
                    break
                writer.write(data)
                await writer.drain()
        writer.close()


@asynccontextmanager
async def cutter(upstream: str) -> AsyncIterator[Cutter]:
    """Proxy to the server of a URL."""
    proxy = Cutter(upstream)
    listener = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        listener.close()
        await proxy.stop()

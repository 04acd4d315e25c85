"""PostgreSQL, by LISTEN and NOTIFY: `postgres://`, `postgresql://`."""

from __future__ import annotations

import asyncio
import base64
from typing import TYPE_CHECKING, Any, Final

from crosspeer.sync.extras import extra

with extra("postgres", "asyncpg"):
    import asyncpg  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from crosspeer.sync.port import Receive

INLINE: Final = 5_900
"""Bytes of a publication that fit into a notification (8,000 bytes of text) in base64. Larger ones go by a table."""
KEPT: Final = 60
"""Seconds that the table keeps a publication for nodes that have not fetched it yet."""

_TABLE: Final = """
CREATE UNLOGGED TABLE IF NOT EXISTS crosspeer_payload (
    id bigserial PRIMARY KEY, data bytea NOT NULL, at timestamptz NOT NULL DEFAULT clock_timestamp()
)"""
_LOCK: Final = 0x63_72_6F_73_73
"""So that two nodes do not make the table at the same time, which PostgreSQL answers with an error to one."""


class PostgresBackend:
    """One connection that listens and one that notifies and fetches.

    A transaction that notifies holds a lock of the whole server: this is for hundreds of publications a second, not for
    more. It needs a session of its own, so a pooler in transaction mode does not do.
    """

    max_payload = 4 * 1024 * 1024

    def __init__(self, url: str) -> None:
        self._url = url
        self._listener: Any = None
        self._sender: Any = None
        self._receive: Receive | None = None
        self._gone: asyncio.Future[None] | None = None
        self._arrived: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
        self._sending = asyncio.Lock()
        self._listening = asyncio.Lock()
        self._has_table = False

    async def open(self, receive: Receive) -> None:
        self._receive = receive
        self._arrived = asyncio.Queue()
        gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._gone = gone
        self._listener = await asyncpg.connect(self._url, timeout=3)
        self._listener.add_termination_listener(_ending(gone))
        self._sender = await asyncpg.connect(self._url, timeout=3)

    async def subscribe(self, channels: Sequence[str]) -> None:
        async with self._listening:
            for channel in channels:
                await self._listener.add_listener(channel, self._take)

    async def unsubscribe(self, channels: Sequence[str]) -> None:
        async with self._listening:
            for channel in channels:
                await self._listener.remove_listener(channel, self._take)

    async def publish(self, batch: Sequence[tuple[str, bytes]]) -> None:
        async with self._sending:
            if any(len(data) > INLINE for _, data in batch):
                await self._make_table()
            async with self._sender.transaction():
                for channel, data in batch:
                    await self._sender.execute("SELECT pg_notify($1, $2)", channel, await self._payload(data))

    async def listen(self) -> None:
        """Hand on what has arrived, in order: one that lies in the table holds up those behind it."""
        fetching = asyncio.create_task(self._hand_on())
        gone = self._gone
        assert gone is not None
        try:
            await asyncio.wait({fetching, gone}, return_when=asyncio.FIRST_COMPLETED)
            if fetching.done():
                await fetching
        finally:
            fetching.cancel()

    async def check(self) -> None:
        async with self._listening:
            await self._listener.execute("SELECT 1")

    async def close(self) -> None:
        connections = [self._listener, self._sender]
        self._listener = self._sender = None
        for connection in connections:
            if connection is not None:
                connection.terminate()

    # Inside.

    def _take(self, _connection: Any, _process: int, channel: str, payload: str) -> None:
        self._arrived.put_nowait((channel, payload))

    async def _hand_on(self) -> None:
        while True:
            channel, payload = await self._arrived.get()
            data = await self._data(payload)
            if data is not None and self._receive is not None:
                self._receive(channel, data)

    async def _payload(self, data: bytes) -> str:
        if len(data) <= INLINE:
            return "b" + base64.b64encode(data).decode()
        number = await self._sender.fetchval("INSERT INTO crosspeer_payload (data) VALUES ($1) RETURNING id", data)
        return f"t{number}"

    async def _data(self, payload: str) -> bytes | None:
        """The bytes of a notification, None for one that is not ours: anybody may notify."""
        try:
            if payload.startswith("b"):
                return base64.b64decode(payload[1:], validate=True)
            if payload.startswith("t"):
                number = int(payload[1:20])
                async with self._sending:
                    found = await self._sender.fetchval("SELECT data FROM crosspeer_payload WHERE id = $1", number)
                return None if found is None else bytes(found)
        except ValueError:
            pass
        return None

    async def _make_table(self) -> None:
        if not self._has_table:
            async with self._sender.transaction():
                await self._sender.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
                await self._sender.execute(_TABLE)
            self._has_table = True
        await self._sender.execute(
            "DELETE FROM crosspeer_payload WHERE at < clock_timestamp() - make_interval(secs => $1)", float(KEPT)
        )


def _ending(gone: asyncio.Future[None]) -> Callable[[Any], None]:
    def ended(_connection: Any) -> None:
        if not gone.done():
            gone.set_result(None)

    return ended

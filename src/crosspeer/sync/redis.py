"""Redis or Valkey, by publish and subscribe: `redis://`, `rediss://`, `unix://`, and through Sentinel `redis+sentinel://`."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from crosspeer.sync.extras import extra
from crosspeer.sync.redis_logs import RedisLogs

with extra("redis"):
    from redis.asyncio import Redis
    from redis.asyncio.retry import Retry
    from redis.asyncio.sentinel import Sentinel
    from redis.backoff import NoBackoff

if TYPE_CHECKING:
    from collections.abc import Sequence

    from crosspeer.sync.port import Append, Ask, LogName, Page, Receive

CONNECT_WITHIN = 3.0


class RedisBackend:
    """One connection that receives and one that sends.

    Args:
        url: as redis-py reads it. `redis+sentinel://host:26379,host2:26379/service/db` asks sentinels for the master.
        sharded: use shard channels (Redis 7), which a cluster does not copy to every node.
    """

    max_payload = 4 * 1024 * 1024
    """Redis takes 512 MB; a batch of this size does not hold its loop up for long."""

    def __init__(self, url: str, *, sharded: bool = False) -> None:
        self._url = url
        self._sharded = sharded
        self._command = "SPUBLISH" if sharded else "PUBLISH"
        self._client: Any = None
        self._logs: RedisLogs | None = None
        """Their scripts are loaded when the first log is asked for."""
        self._pubsub: Any = None
        self._sender: Any = None
        """The connection that publishes."""
        self._receive: Receive | None = None
        self._pong = asyncio.Event()
        self._checking = asyncio.Lock()
        self._subscribed = asyncio.Event()
        self._left: set[str] = set()
        """Shard channels that we left, until Redis confirms it."""

    async def open(self, receive: Receive) -> None:
        self._receive = receive
        self._checking = asyncio.Lock()
        self._left = set()
        # The link tries again, and tells of it: retries in here would hide an outage.
        options = {
            "retry": Retry(NoBackoff(), 0),
            "health_check_interval": 0,
            "socket_connect_timeout": CONNECT_WITHIN,
            "protocol": 2,
        }
        self._client = _client(self._url, options)
        self._sender = self._client.connection_pool.make_connection()
        await self._sender.connect()
        self._pubsub = self._client.pubsub()

    async def subscribe(self, channels: Sequence[str]) -> None:
        await (self._pubsub.ssubscribe if self._sharded else self._pubsub.subscribe)(*channels)
        self._subscribed.set()

    async def unsubscribe(self, channels: Sequence[str]) -> None:
        if self._sharded:
            self._left.update(channels)
        await (self._pubsub.sunsubscribe if self._sharded else self._pubsub.unsubscribe)(*channels)

    async def publish(self, batch: Sequence[tuple[str, bytes]]) -> None:
        # Not by a pipeline of the client: its pool, retries and metrics cost more than all the rest of a publication.
        sender = self._sender
        await sender.send_packed_command(sender.pack_commands([(self._command, *each) for each in batch]))
        for _ in batch:
            await sender.read_response()

    async def append(self, batch: Sequence[Append]) -> None:
        await (await self._loaded()).append(batch)

    async def read(self, asks: Sequence[Ask]) -> list[Page | None]:
        return await (await self._loaded()).read(asks)

    async def renew(self, log: LogName, epoch: str) -> None:
        await (await self._loaded()).renew(log, epoch)

    async def listen(self) -> None:
        # Before its first subscription there is nothing that one could read from.
        await self._subscribed.wait()
        while True:
            message = await self._pubsub.get_message(timeout=None)
            if message is None:
                continue
            if message["type"] in ("message", "smessage") and self._receive is not None:
                self._receive(message["channel"].decode(), message["data"])
            elif message["type"] == "pong":
                self._pong.set()
            elif message["type"] == "sunsubscribe":
                self._dismissed(message["channel"].decode())

    def _dismissed(self, channel: str) -> None:
        if channel not in self._left:
            raise ConnectionError("the slot of a channel has moved to another node of the cluster")
        self._left.discard(channel)

    async def check(self) -> None:
        # One at a time: the pong has to be the one to our ping.
        async with self._checking:
            if self._subscribed.is_set():
                self._pong.clear()
                await self._pubsub.ping()
                await self._pong.wait()
            await self._client.ping()

    async def close(self) -> None:
        client, pubsub, sender = self._client, self._pubsub, self._sender
        self._client = self._pubsub = self._sender = None
        self._logs = None
        self._subscribed.clear()
        async with AsyncExitStack() as stack:
            if client is not None:
                stack.push_async_callback(client.aclose)
                # Those who were asked for the master are clients too, and nobody else closes them.
                for asked in getattr(getattr(client.connection_pool, "sentinel_manager", None), "sentinels", ()):
                    stack.push_async_callback(asked.aclose)
            if sender is not None:
                stack.push_async_callback(sender.disconnect, nowait=True)
            if pubsub is not None:
                stack.push_async_callback(pubsub.aclose)

    async def _loaded(self) -> RedisLogs:
        if self._logs is None:
            logs = RedisLogs(self._client, self._command)
            await logs.load()
            self._logs = logs
        return self._logs


def _client(url: str, options: dict[str, Any]) -> Any:
    parts = urlsplit(url)
    if parts.scheme != "redis+sentinel":
        return Redis.from_url(url, **options)
    service, _, database = parts.path.strip("/").partition("/")
    hosts = parts.netloc.rpartition("@")[2].split(",")
    pairs = [(host, int(port or 26379)) for host, _, port in (entry.partition(":") for entry in hosts)]
    login: dict[str, Any] = {"username": parts.username, "password": parts.password, **dict(parse_qsl(parts.query))}
    chosen: dict[str, Any] = {name: value for name, value in login.items() if value}
    sentinel: Any = Sentinel(pairs, **options)  # type: ignore[no-untyped-call]
    return sentinel.master_for(service or "mymaster", db=int(database or 0), **chosen, **options)

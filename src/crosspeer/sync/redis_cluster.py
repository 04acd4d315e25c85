"""A Redis Cluster: `redis+cluster://host:7000,host2:7000`, `rediss+cluster://`.

Each channel and each log has a slot, and each slot a master: a `RedisBackend` for each of them, of which none knows the
others. From Redis 7 on it uses shard channels, which the cluster does not copy to every node.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from crosspeer.sync.extras import extra
from crosspeer.sync.redis import CONNECT_WITHIN, RedisBackend

with extra("redis"):
    from redis.asyncio import Redis
    from redis.crc import key_slot
    from redis.exceptions import RedisError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Sequence

    from crosspeer.sync.port import Append, Ask, LogName, Page, Receive

    T = TypeVar("T")

SHARD_CHANNELS_SINCE = 7


class RedisClusterBackend:
    """All masters of a cluster. When one is gone or a slot moves, the link opens it again, and it finds out anew."""

    max_payload = RedisBackend.max_payload

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        login, at, hosts = parts.netloc.rpartition("@")
        self._scheme = parts.scheme.removesuffix("+cluster")
        self._before = f"{login}{at}"
        self._after = f"/0?{parts.query}" if parts.query else "/0"
        self._known: dict[str, None] = dict.fromkeys(
            host if ":" in host else f"{host}:6379" for host in hosts.split(",")
        )
        """Addresses of nodes, those of the URL and those that the cluster has named."""
        self._slots: list[tuple[range, str]] = []
        self._masters: dict[str, RedisBackend] = {}

    async def open(self, receive: Receive) -> None:
        self._slots, is_sharded = await self._find_slots()
        masters = {address for _, address in self._slots}
        self._masters = {address: RedisBackend(self._url(address), sharded=is_sharded) for address in masters}
        await self._all(lambda master: master.open(receive))

    async def subscribe(self, channels: Sequence[str]) -> None:
        # One slot at a time: a command that names channels of several is refused.
        for _, (master, some) in self._by_slot(channels, str).items():
            await master.subscribe(some)

    async def unsubscribe(self, channels: Sequence[str]) -> None:
        for _, (master, some) in self._by_slot(channels, str).items():
            await master.unsubscribe(some)

    async def publish(self, batch: Sequence[tuple[str, bytes]]) -> None:
        parts: dict[int, tuple[RedisBackend, list[tuple[str, bytes]]]] = {}
        for each in batch:
            master = self._master(each[0])
            parts.setdefault(id(master), (master, []))[1].append(each)
        await _together(master.publish(part) for master, part in parts.values())

    async def append(self, batch: Sequence[Append]) -> None:
        await _together(
            master.append(some) for master, some in self._by_slot(batch, lambda each: each.log.channel).values()
        )

    async def read(self, asks: Sequence[Ask]) -> list[Page | None]:
        pages: list[Page | None] = []
        for ask in asks:
            pages += await self._master(ask.log.channel).read([ask])
        return pages

    async def renew(self, log: LogName, epoch: str) -> None:
        await self._master(log.channel).renew(log, epoch)

    async def listen(self) -> None:
        await self._all(lambda master: master.listen())

    async def check(self) -> None:
        await self._all(lambda master: master.check())

    async def close(self) -> None:
        masters, self._masters = self._masters, {}
        await asyncio.gather(*(master.close() for master in masters.values()), return_exceptions=True)

    # Inside.

    def _url(self, address: str) -> str:
        return f"{self._scheme}://{self._before}{address}{self._after}"

    async def _find_slots(self) -> tuple[list[tuple[range, str]], bool]:
        """Which master has which slots, by the first node that answers, and whether there are shard channels."""
        failure: Exception = ConnectionError("no node of the cluster is known")
        for address in tuple(self._known):
            client: Any = Redis.from_url(
                self._url(address),
                protocol=2,
                socket_connect_timeout=CONNECT_WITHIN / 3,
                socket_timeout=CONNECT_WITHIN / 3,
            )
            try:
                rows = await client.execute_command("CLUSTER SLOTS")
                version = (await client.info("server"))["redis_version"]
            except (RedisError, OSError) as error:
                failure = error
            else:
                slots = [(range(row[0], row[1] + 1), self._address(row[2], address)) for row in rows]
                self._known |= dict.fromkeys(self._address(node, address) for row in rows for node in row[2:])
                if slots:
                    return slots, int(version.partition(".")[0]) >= SHARD_CHANNELS_SINCE
            finally:
                await client.aclose()
        raise failure

    def _address(self, node: Sequence[Any], asked: str) -> str:
        """A node that does not know how it is reached is where it was asked."""
        host = node[0].decode() if node[0] else asked.rpartition(":")[0]
        return f"[{host}]:{node[1]}" if ":" in host and not host.startswith("[") else f"{host}:{node[1]}"

    def _master(self, channel: str) -> RedisBackend:
        slot = key_slot(channel.encode())
        for slots, address in self._slots:
            if slot in slots:
                return self._masters[address]
        raise ConnectionError(f"nobody has the slot {slot} of the cluster")

    def _by_slot(self, items: Sequence[T], channel: Callable[[T], str]) -> dict[int, tuple[RedisBackend, list[T]]]:
        parts: dict[int, tuple[RedisBackend, list[T]]] = {}
        for item in items:
            name = channel(item)
            parts.setdefault(key_slot(name.encode()), (self._master(name), []))[1].append(item)
        return parts

    async def _all(self, step: Callable[[RedisBackend], Coroutine[Any, Any, None]]) -> None:
        await _together(step(master) for master in self._masters.values())


async def _together(steps: Iterable[Coroutine[Any, Any, None]]) -> None:
    """All at once. What one raises ends the others, and is raised."""
    async with asyncio.TaskGroup() as group:
        for step in steps:
            group.create_task(step)

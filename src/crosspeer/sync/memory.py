"""The reference backend: hubs of one process, by a name that they share."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from crosspeer.sync.logs import LogStore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from crosspeer.sync.port import Append, Ask, LogName, Page, Receive


class Bus:
    """What a server is to the other backends."""

    def __init__(self) -> None:
        self.members: dict[MemoryBackend, None] = {}
        self.logs = LogStore()

    def publish(self, channel: str, data: bytes) -> None:
        for member in tuple(self.members):
            member.take(channel, data)


_buses: Final[dict[str, Bus]] = {}


class MemoryBackend:
    """`memory://name`."""

    max_payload = 1 << 30

    def __init__(self, name: str = "") -> None:
        self._name = name
        self._bus: Bus | None = None
        self._receive: Receive | None = None
        self._channels: set[str] = set()

    def take(self, channel: str, data: bytes) -> None:
        if channel in self._channels and self._receive is not None:
            # As from a socket: never inside of the publisher's call.
            asyncio.get_running_loop().call_soon(self._receive, channel, data)

    async def open(self, receive: Receive) -> None:
        self._receive = receive
        self._bus = _buses.setdefault(self._name, Bus())
        self._bus.members[self] = None

    async def subscribe(self, channels: Sequence[str]) -> None:
        self._channels.update(channels)

    async def unsubscribe(self, channels: Sequence[str]) -> None:
        self._channels.difference_update(channels)

    async def publish(self, batch: Sequence[tuple[str, bytes]]) -> None:
        if self._bus is not None:
            for channel, data in batch:
                self._bus.publish(channel, data)

    async def append(self, batch: Sequence[Append]) -> None:
        if self._bus is not None:
            for new in batch:
                stamped = self._bus.logs.append(new)
                if stamped is not None:
                    self._bus.publish(new.log.channel, stamped)

    async def read(self, asks: Sequence[Ask]) -> list[Page | None]:
        return [None if self._bus is None else self._bus.logs.read(ask) for ask in asks]

    async def renew(self, log: LogName, epoch: str) -> None:
        if self._bus is not None:
            told = self._bus.logs.renew(log.channel, epoch)
            if told is not None:
                self._bus.publish(log.channel, told)

    async def listen(self) -> None:
        await asyncio.get_running_loop().create_future()

    async def check(self) -> None:
        """There is nothing between the two."""

    async def close(self) -> None:
        bus, self._bus = self._bus, None
        self._channels.clear()
        if bus is not None:
            bus.members.pop(self, None)
            if not bus.members and _buses.get(self._name) is bus:
                del _buses[self._name]

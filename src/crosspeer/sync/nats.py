"""NATS, core: `nats://`, `tls://`."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from crosspeer.sync.extras import extra
from crosspeer.sync.port import LOG_MARK

with extra("nats"):
    import nats
    from nats.errors import Error as NatsError
    from nats.errors import SlowConsumerError

    from crosspeer.sync.nats_logs import NatsLogs, channel_of, subject_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from crosspeer.sync.port import Append, Ask, LogName, Page, Receive


class NatsBackend:
    """One connection. Channels are subjects of their own: they hold no dot, star or space (`Relay`).

    Those of logs are where JetStream publishes what it has stored.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._client: Any = None
        self._receive: Receive | None = None
        self._subscriptions: dict[str, Any] = {}
        self._logs: NatsLogs | None = None
        self._gone: asyncio.Future[None] | None = None
        self.max_payload = 1024 * 1024
        """What the server says, once it is connected."""

    async def open(self, receive: Receive) -> None:
        self._receive = receive
        self._subscriptions = {}
        gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._gone = gone

        async def ended(*_: Any) -> None:
            if not gone.done():
                gone.set_result(None)

        async def failed(error: Exception) -> None:
            # A client that cannot keep up throws messages away and goes on. What is lost has to be told, so it ends
            # here; of all else the link hears by what fails.
            if isinstance(error, SlowConsumerError):
                await ended()

        # The link tries again, and tells of it.
        self._client = await nats.connect(
            self._url,
            allow_reconnect=False,
            connect_timeout=3,
            ping_interval=3600,
            error_cb=failed,
            disconnected_cb=ended,
            closed_cb=ended,
        )
        self.max_payload = self._client.max_payload

    async def subscribe(self, channels: Sequence[str]) -> None:
        for channel in channels:
            if LOG_MARK in channel:
                taking = await self._client.subscribe(subject_of(channel), cb=self._take_stored)
            else:
                taking = await self._client.subscribe(channel, cb=self._take)
            self._subscriptions[channel] = taking
        await self._client.flush(timeout=3)

    async def unsubscribe(self, channels: Sequence[str]) -> None:
        for channel in channels:
            subscription = self._subscriptions.pop(channel, None)
            if subscription is not None:
                await subscription.unsubscribe()

    async def publish(self, batch: Sequence[tuple[str, bytes]]) -> None:
        for channel, data in batch:
            await self._client.publish(channel, data)

    async def append(self, batch: Sequence[Append]) -> None:
        await self._kept().append(batch)

    async def read(self, asks: Sequence[Ask]) -> list[Page | None]:
        return await self._kept().read(asks)

    async def renew(self, log: LogName, epoch: str) -> None:
        await self._kept().renew(log, epoch)

    async def listen(self) -> None:
        if self._gone is not None:
            await self._gone

    async def check(self) -> None:
        # A ping and its pong, on the connection that does all.
        await self._client.flush(timeout=3)

    async def close(self) -> None:
        client, self._client = self._client, None
        self._logs = None
        if client is not None and not client.is_closed:
            # It may have been lost before.
            with suppress(NatsError):
                await client.close()

    async def _take(self, message: Any) -> None:
        if self._receive is not None:
            self._receive(message.subject, message.data)

    async def _take_stored(self, message: Any) -> None:
        stamped = None if self._logs is None else self._logs.stamped(message)
        if stamped is not None and self._receive is not None:
            self._receive(channel_of(message.subject), stamped)

    def _kept(self) -> NatsLogs:
        if self._logs is None:
            self._logs = NatsLogs(self._client)
        return self._logs

"""NATS, core: `nats://`, `tls://`."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from crosspeer.sync.extras import extra

with extra("nats"):
    import nats
    from nats.errors import Error as NatsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from crosspeer.sync.port import Receive


class NatsBackend:
    """One connection. Channels are subjects of their own: they hold no dot, star or space (`Relay`)."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._client: Any = None
        self._receive: Receive | None = None
        self._subscriptions: dict[str, Any] = {}
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

        # The link tries again, and tells of it.
        self._client = await nats.connect(
            self._url,
            allow_reconnect=False,
            connect_timeout=3,
            ping_interval=3600,
            error_cb=_ignored,
            disconnected_cb=ended,
            closed_cb=ended,
        )
        self.max_payload = self._client.max_payload

    async def subscribe(self, channels: Sequence[str]) -> None:
        for channel in channels:
            self._subscriptions[channel] = await self._client.subscribe(channel, cb=self._take)
        await self._client.flush(timeout=3)

    async def unsubscribe(self, channels: Sequence[str]) -> None:
        for channel in channels:
            subscription = self._subscriptions.pop(channel, None)
            if subscription is not None:
                await subscription.unsubscribe()

    async def publish(self, batch: Sequence[tuple[str, bytes]]) -> None:
        for channel, data in batch:
            await self._client.publish(channel, data)

    async def listen(self) -> None:
        if self._gone is not None:
            await self._gone

    async def check(self) -> None:
        # A ping and its pong, on the connection that does all.
        await self._client.flush(timeout=3)

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None and not client.is_closed:
            # It may have been lost before.
            with suppress(NatsError):
                await client.close()

    async def _take(self, message: Any) -> None:
        if self._receive is not None:
            self._receive(message.subject, message.data)


async def _ignored(error: Exception) -> None:
    """The link hears of it by what fails."""

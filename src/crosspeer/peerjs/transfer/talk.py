"""The messages of a transfer over one data connection, with an end to all patience."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, Protocol

from crosspeer.peerjs.transfer.errors import TransferError
from crosspeer.peerjs.transfer.messages import read, write

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from crosspeer.peerjs.transfer.messages import Message

PATIENCE: Final = 120.0
"""Seconds without a word of the other side: longer than it needs to hash or to write what it has."""


class Connection(Protocol):
    """What a transfer needs of a `DataConnection`."""

    peer: str
    metadata: Any

    def send(self, data: Any) -> Awaitable[None]: ...

    async def receive(self) -> Any: ...

    def close(self, *, flush: bool = False) -> Awaitable[None]: ...


class Talk:
    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.heard_at = 0.0
        """When the other side has said something, by the clock of the event loop."""
        self._heard_now()

    async def say(self, message: Message) -> None:
        """Send a message, no faster than the network.

        Raises:
            PeerError: the connection has ended.
        """
        await self.connection.send(write(message))

    async def hear(self, patience: float = PATIENCE) -> Message:
        """The next message of the other side.

        Raises:
            PeerError: the connection has ended.
            ProtocolError: it makes no sense.
            TransferError: nothing came.
        """
        try:
            async with asyncio.timeout(patience):
                value = await self.connection.receive()
        except TimeoutError:
            raise TransferError(f"nothing was heard for {patience:g} seconds") from None
        self._heard_now()
        return read(value)

    def _heard_now(self) -> None:
        self.heard_at = asyncio.get_running_loop().time()

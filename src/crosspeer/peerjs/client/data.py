"""DataConnection: values to and from one other peer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar, Final

from crosspeer.peerjs.client.connection import BaseConnection
from crosspeer.peerjs.client.errors import ErrorType, PeerError
from crosspeer.peerjs.client.inbox import Inbox, Turns
from crosspeer.peerjs.client.later import Later
from crosspeer.peerjs.client.sending import Outbox, Sending
from crosspeer.peerjs.client.serializers import CLOSE, BrokenStream, InvalidMessage, TooBig
from crosspeer.runtime.tasks import Tasks

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Generator
    from types import TracebackType

    from crosspeer.peerjs.client.connection import Provider
    from crosspeer.peerjs.client.events import Registered
    from crosspeer.peerjs.client.sending import Progress
    from crosspeer.peerjs.client.serializers import Serializer
    from crosspeer.peerjs.rtc.port import Channel, RTCError
    from crosspeer.wire.signalling import Description

FLUSH_PATIENCE: Final = 5.0
"""Seconds without any progress after which a flush gives up."""


class DataConnection(BaseConnection):
    """A data connection of PeerJS. Made by `peer.connect`, or handed to who listens for `connection`.

    Events: `open()`, `data(value)`, `close()`, `error(PeerError)`, `ice_state_changed(state)`. Handlers of `data` get
    one message after the other; a coroutine function ends before the next message is handed over.

    Messages that come before somebody reads them wait, up to `PeerLimits.max_unread`.
    """

    type: ClassVar[str] = "data"
    PREFIX: ClassVar[str] = "dc_"
    EVENTS: ClassVar[frozenset[str]] = frozenset({"open", "data", "close", "error", "ice_state_changed"})

    def __init__(
        self,
        peer: str,
        provider: Provider,
        serializer: Serializer,
        *,
        serialization: str,
        label: str = "",
        metadata: Any = None,
        reliable: bool = False,
        offer: Description | None = None,
        timeout: float = 30.0,
    ) -> None:
        super().__init__(peer, provider, metadata=metadata, offer=offer, timeout=timeout)
        self.label = label or self.connection_id
        self.serialization = serialization
        self.reliable = reliable or serializer.ordered
        """Whether messages keep their order. None is lost either way."""
        limits = provider.options.limits
        self._serializer = serializer
        self._outbox = Outbox(limits.max_unsent, self._refused)
        self._inbox = Inbox(limits.max_unread)
        self._turns = Turns(limits.max_unread)
        self._channel: Channel | None = None
        self._tasks = Tasks()
        self._readers = 0
        self._flushing: Later | None = None
        if offer is None:
            self._attach(self._negotiator.link.open_channel(self.label, ordered=self.reliable))
            self._negotiator.offer()
        else:
            if offer.is_old:
                serializer.remote_is_old()
            self._negotiator.answer(offer.sdp)

    @property
    def data_channel(self) -> Any:
        """The engine's RTCDataChannel; None before there is one, and after the end."""
        return None if self._channel is None or self._is_ended else self._channel.native

    @property
    def buffer_size(self) -> int:
        """Messages that wait here because the network is slower than who sends."""
        return len(self._outbox)

    @property
    def buffered_amount(self) -> int:
        """Bytes that wait: here, and in the engine."""
        waiting = self._outbox.size
        return waiting if self._channel is None or self._is_ended else waiting + self._channel.buffered_amount

    def send(self, data: Any, *, progress: Progress | None = None) -> Sending:
        """Send a value. Before the connection is open it is queued, as PeerJS's documents promise.

        Await what is returned to go no faster than the network; its `sent` and `total` tell how far it is.

        Args:
            progress: called with the bytes that have left so far, and all bytes of the message.

        Raises:
            PeerError: not-open-yet: the connection has ended. message-too-big: for json, raw. buffer-full: more than
                `PeerLimits.max_unsent` waits.
            TypeError, ValueError: the value has no form in this serialization.
        """
        if self._is_ended or self._flushing is not None:
            raise self._told(
                PeerError(
                    ErrorType.NOT_OPEN_YET,
                    "Connection is not open. You should listen for the `open` event before sending messages.",
                )
            )
        try:
            return self._outbox.push(self._serializer.encode(data), progress)
        except TooBig as error:
            raise self._told(PeerError(ErrorType.MESSAGE_TOO_BIG, str(error))) from None

    async def receive(self) -> Any:
        """The next message.

        Raises:
            PeerError: the connection has ended, and everything that came before is read.
        """
        self._readers += 1
        try:
            if not await self._inbox.wait():
                raise self.error or PeerError(ErrorType.CONNECTION_CLOSED, f"Connection to {self.peer} closed.")
            return self._inbox.take()[0]
        finally:
            self._readers -= 1

    def close(self, *, flush: bool = False) -> Awaitable[None]:
        """Close. Await what is returned, or do not, to know that it is done and everything is freed.

        Args:
            flush: let the other side have first what was sent. Without it, what has not left by now is lost.
        """
        if not flush or not self.open:
            return super().close()
        if self._flushing is None:
            self._flushing = self._freed
            self._tasks.start(self._flush())
        return self._freed

    def __aiter__(self) -> AsyncGenerator[Any, None]:
        """The messages until the connection is closed. A connection that fails raises its `PeerError` at the end."""
        return self._iterate()

    def __await__(self) -> Generator[Any, None, DataConnection]:
        """Wait until it is open.

        Raises:
            PeerError: it does not open: peer-unavailable, negotiation-failed (also a `TimeoutError`), webrtc.
        """
        yield from self._wait_open().__await__()
        return self

    async def __aenter__(self) -> DataConnection:
        return await self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close(flush=kind is None)

"""DataConnection: values to and from one other peer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar, Final

from crosspeer.peerjs.client.connection import BaseConnection
from crosspeer.peerjs.client.errors import ErrorType, PeerError
from crosspeer.peerjs.client.inbox import Inbox, Turns
from crosspeer.peerjs.client.log import logger
from crosspeer.peerjs.client.sending import Outbox, Sending
from crosspeer.peerjs.client.serializers import CLOSE, BrokenStream, InvalidMessage, TooBig
from crosspeer.peerjs.rtc.port import ChannelEvents
from crosspeer.runtime.tasks import Tasks

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Coroutine, Generator
    from types import TracebackType

    from crosspeer.peerjs.client.connection import Provider
    from crosspeer.peerjs.client.events import Registered
    from crosspeer.peerjs.client.sending import Progress
    from crosspeer.peerjs.client.serializers import Serializer
    from crosspeer.peerjs.rtc.port import Channel, RTCError
    from crosspeer.wire.signalling import Description

Kind = type[BaseException]
FLUSH_PATIENCE: Final = 5.0
"""Seconds without any progress after which a flush gives up."""


class DataConnection(BaseConnection):
    """A data connection of PeerJS. Made by `peer.connect`, or handed to who listens for `connection`.

    Events: `open()`, `data(value)`, `drain()`, `close()`, `error(PeerError)`, `ice_state_changed(state)`. Handlers of
    `data` get one message after the other; a coroutine function ends before the next message is handed over. `drain`
    comes when messages had to wait for the network, and the last of them has left.

    Messages that come before somebody reads them wait, up to `PeerLimits.max_unread`.
    """

    type: ClassVar[str] = "data"
    PREFIX: ClassVar[str] = "dc_"
    EVENTS: ClassVar[frozenset[str]] = frozenset({"open", "data", "drain", "close", "error", "ice_state_changed"})

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
        self._outbox = Outbox(limits.max_unsent, self._refused, self._drained)
        self._inbox = Inbox(limits.max_unread)
        self._turns = Turns(limits.max_unread)
        self._channel: Channel | None = None
        self._tasks = Tasks()
        self._readers = 0
        self._is_flushing = False
        self._unassigned = 0
        """Bytes that came since the last message was complete: the next one counts as so many."""
        self._is_asked_to_close = False
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
        if self._is_ended or self._is_flushing:
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
            self._turns.drop()
            return super().close()
        if not self._is_flushing:
            self._is_flushing = True
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

    async def __aexit__(self, kind: Kind | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close(flush=kind is None)

    # For the peer.

    def _answered(self, answer: Description) -> None:
        if answer.is_old:
            self._serializer.remote_is_old()
        super()._answered(answer)

    # The channel.

    def _adopt(self, channel: Channel) -> None:
        if self._channel is None:
            self._attach(channel)
        else:
            super()._adopt(channel)

    def _attach(self, channel: Channel) -> None:
        self._channel = channel
        self._serializer.channel_is_known(ordered=channel.ordered)
        channel.attach(
            ChannelEvents(
                opened=self._channel_opened,
                received=self._received,
                drained=self._outbox.resume,
                closed=self._channel_closed,
            )
        )

    def _channel_opened(self) -> None:
        if self._channel is not None and not self._is_ended and not self.open:
            self.open = True
            self._outbox.start(self._channel, self._serializer.leaving)
            self._opened()

    def _channel_closed(self) -> None:
        self._end(None if self.open else PeerError(ErrorType.CONNECTION_CLOSED, f"Connection to {self.peer} closed."))

    def _received(self, frame: str | bytes) -> None:
        if self._is_ended:
            return
        try:
            values = self._serializer.decode(frame)
        except Exception as error:
            self._misunderstood(error)
            return
        self._unassigned += len(frame)
        for value in values:
            if value is CLOSE:
                self._asked_to_close()
            else:
                self._deliver(value, self._unassigned)
                self._unassigned = 0
        if self._is_asked_to_close and self._serializer.is_complete:
            self._end(None)

    def _misunderstood(self, error: Exception) -> None:
        told = PeerError(ErrorType.INVALID_MESSAGE, f"{self.peer} sent something that is no message: {error}")
        if isinstance(error, BrokenStream):
            self._end(told)
            return
        if not isinstance(error, InvalidMessage):
            logger.error("the serializer of a connection failed", exc_info=error)
        self._told(told)

    def _asked_to_close(self) -> None:
        """The other side has sent everything. On a channel without order some of it may still be on its way."""
        self._is_asked_to_close = True
        if not self._serializer.is_complete:
            asyncio.get_running_loop().call_later(FLUSH_PATIENCE, self._end, None)

    def _deliver(self, value: Any, size: int) -> None:
        has_room = True
        if listened := bool(self._handlers.get("data")):
            if len(self._inbox) and not self._readers:
                self._hand_over()
            has_room = self._turns.give(value, size, self._data_handlers)
        if self._readers or not listened:
            has_room &= self._inbox.put(value, size)
        if not has_room:
            text = f"Messages of {self.peer} come faster than they are read: too many wait."
            self._end(PeerError(ErrorType.BUFFER_FULL, text))

    # Who reads.

    def _data_handlers(self) -> tuple[Registered, ...]:
        return self._taken("data")

    def _changed(self, event: str) -> None:
        if event == "data" and len(self._inbox):
            # Not from here: who adds a handler does not expect to be called by that.
            asyncio.get_running_loop().call_soon(self._hand_over)

    def _hand_over(self) -> None:
        """Give the handlers what came before there was one."""
        while len(self._inbox) and not self._readers and self._handlers.get("data"):
            self._turns.give(*self._inbox.take(), self._data_handlers)

    async def _iterate(self) -> AsyncGenerator[Any, None]:
        self._readers += 1
        try:
            while await self._inbox.wait():
                while len(self._inbox):
                    yield self._inbox.take()[0]
        finally:
            self._readers -= 1
        if self.error is not None:
            raise self.error

    # The end.

    async def _flush(self) -> None:
        """Only a channel that is closed by itself delivers everything, with both engines."""
        try:
            if self._channel is not None and await self._moves(self._outbox.emptied()):
                self._channel.close()
                await self._moves(self._over.wait())
        finally:
            self._end(None)

    async def _moves(self, work: Coroutine[Any, Any, Any]) -> bool:
        """Wait for the end of something, as long as the bytes that wait become fewer."""
        task = asyncio.ensure_future(work)
        try:
            while True:
                before = self.buffered_amount
                await asyncio.wait({task}, timeout=FLUSH_PATIENCE)
                if task.done():
                    return task.exception() is None
                if self.buffered_amount >= before:
                    return False
        finally:
            task.cancel()

    def _drained(self) -> None:
        self._emit("drain")

    def _refused(self, error: RTCError) -> None:
        self._end(PeerError(ErrorType.CONNECTION_CLOSED, f"Connection to {self.peer} takes nothing more: {error}"))

    def _end(self, error: PeerError | None) -> None:
        if self._is_ended:
            return
        super()._end(error)
        self._outbox.fail(error or PeerError(ErrorType.CONNECTION_CLOSED, f"Connection to {self.peer} closed."))
        self._inbox.end()

    def _emit_close(self) -> None:
        # Handlers of `data` come first, also those that still run.
        self._turns.then(super()._emit_close)

    def _offer_extra(self) -> dict[str, Any]:
        serialization = "raw" if self.serialization == "none" else self.serialization
        return {"label": self.label, "reliable": self.reliable, "serialization": serialization}

    def _told(self, error: PeerError) -> PeerError:
        """Tell the handlers of `error`; the caller may raise it too."""
        self._emit("error", error)
        return error
